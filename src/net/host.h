// host.h - what the server's parts share: the runtime under them, the service
// above them, counters, limits and the pump.
//
// The pump is what the workers run between tasks on the net room's behalf:
// replies that must leave through this core, batches that must not wait longer.

#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "dispatch/admission.h"
#include "dispatch/flow.h"
#include "net/connection.h"
#include "net/counters.h"
#include "net/udp_core.h"
#include "worker/engine.h"
#include "worker/spawn.h"
#include "yamanote/server.h"

namespace yamanote::net {

class Host final : public ConnectionHost, public worker::Pump {
 public:
  Host(worker::Engine& engine, const ServerOptions& options,
       const Protocol& protocol, Service& service, MemoryBudget& memory);

  ~Host() override;

  // ConnectionHost; for connections.
  Counters& counters() override { return core_counters_[CoreIndex()]; }
  Instant Now() override { return Clock::now(); }
  Instant AboutNow() override {
    return FromNanos(about_now_ns_.load(std::memory_order_relaxed));
  }
  bool Admit(ClassId request_class) override {
    return admission_.TryAdmit(request_class);
  }
  void Release(ClassId request_class) override {
    admission_.Release(request_class);
  }
  bool Spawn(Connection& connection) override;
  bool SpawnContinue(Connection& connection) override;
  bool NothingElseWaits() override;
  Duration TurnTime() const override {
    const SliceRange slice = engine_.options().scheduling.slice;
    return std::min(Connection::kTurnTime,
                    slice.Adapts() ? slice.most : slice.least);
  }
  void Handle(const Request& request, Reply& reply) override {
    service_.Handle(request, reply);
  }
  bool SendHome(Connection& connection) override;
  bool draining() const override {
    return draining_.load(std::memory_order_relaxed);
  }
  void Closed(Connection& connection) override;

  // worker::Pump.
  bool Run(CoreId core, Instant now, Moment moment) override;
  bool Help(CoreId core) override;

  // Runs `entry(argument)` on a user thread and counts it, so that Stop() can
  // wait for it; `entry` ends with Finished(). False if there are too many.
  bool SpawnCounted(const worker::SpawnOptions& options, void (*entry)(void*),
                    void* argument);
  void Finished() { counters().Add(Counter::kFinished); }

  // Calls service.InitPerCore(core) on every core and returns the first error.
  // Requires: the pump is set.
  Result<void> InitCores();

  // Takes an accepted socket into service, or refuses it.
  void OpenConnection(int fd);
  // Those that are being refused included.
  unsigned open_connections() const {
    return open_.load(std::memory_order_acquire);
  }
  unsigned served_connections() const;
  // What AboutNow() says until the next call.
  void SetAboutNow(Instant now) {
    about_now_ns_.store(ToNanos(now), std::memory_order_relaxed);
  }
  // Check()s those of `count` connections from `first` on whose time has come.
  // Returns where to go on; 0 after the last one.
  size_t Sweep(size_t first, size_t count, Instant now);
  // One signal to each connection. From threads that are no worker only while
  // one of them at a time does it.
  void CheckAll();
  void AbortAll();

  void StartDraining() { draining_.store(true, std::memory_order_seq_cst); }
  // True if no user thread of the server is alive.
  bool Quiet() const;

  // Datagrams from `port` would be a server's; see UdpEndpoint::Accept().
  void AddUdpPort(uint16_t port) {
    udp_ports_.push_back(port);
    udp_pool_.Prepare();
  }
  bool IsServicePort(uint16_t port) const {
    return port < kFirstUserPort ||
           std::ranges::find(udp_ports_, port) != udp_ports_.end();
  }

  uint64_t Sum(Counter counter) const;

  worker::Engine& engine() { return engine_; }
  io::Poller& poller(CoreId core) { return engine_.parking().poller(core); }
  unsigned cores() const { return cores_; }
  const ServerOptions& options() const { return options_; }
  const Protocol& protocol() const { return protocol_; }
  UdpCore& udp() { return *udp_cores_[CoreIndex()]; }
  // A flow whose home is `core`, for SpawnOptions.
  uint64_t FlowOf(CoreId core) const { return core_flows_[core]; }
  CoreId CoreIndex() const {
    const CoreId core = worker::CurrentCore();
    return core < cores_ ? core : cores_;
  }
  void FlushAllUdp();

 private:
  static constexpr size_t kHomeReplies = 4096;
  static constexpr uint16_t kFirstUserPort = 1024;

  using HomeQueue = dispatch::ReplyQueue<Connection*>;

  struct CoreInit;

  // A closed connection, nullptr if kMostRefusing are being refused.
  Connection* TakeConnection(CoreId& home, Connection::Welcome& welcome);
  void PutBack(Connection& connection, Connection::Welcome welcome);
  size_t MadeConnections() const;
  bool DrainHome(CoreId core);

  worker::Engine& engine_;
  const unsigned cores_;
  const ServerOptions options_;
  const Protocol& protocol_;
  Service& service_;
  const StreamLimits limits_;
  const bool replies_go_home_;
  std::vector<uint64_t> core_flows_;
  dispatch::Admission admission_;

  // By core; the last one is for threads that are no worker, under Stop()'s lock.
  std::unique_ptr<Counters[]> core_counters_;
  UdpPool udp_pool_;
  std::vector<std::unique_ptr<UdpCore>> udp_cores_;
  std::vector<std::unique_ptr<HomeQueue>> home_replies_;

  std::atomic<bool> draining_{false};

  // Connections: made when needed, never freed before the server.
  mutable base::SpinLock connections_lock_;
  std::vector<std::unique_ptr<Connection>> connections_;
  Connection* free_connections_ = nullptr;
  CoreId next_home_ = 0;
  // Taken and not put back. Guarded by connections_lock_.
  unsigned serving_ = 0;
  // At most kMostRefusing, each for at most Connection::kLingerTime after its peer
  // has the refusal.
  unsigned refusing_ = 0;
  std::atomic<unsigned> open_{0};

  std::atomic<uint64_t> next_flow_{1};

  // Written by the sweeper, read by all; orders nothing.
  std::atomic<int64_t> about_now_ns_{ToNanos(Clock::now())};

  std::vector<uint16_t> udp_ports_;  // Constant once datagrams come.

  std::atomic<bool> initialising_{false};
  const std::unique_ptr<CoreInit> core_init_;
};

}  // namespace yamanote::net
