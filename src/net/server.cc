// server.cc - starts and stops what a server consists of.

#include "yamanote/server.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>

#include "net/host.h"
#include "net/tcp_listener.h"
#include "net/udp_endpoint.h"
#include "preempt/mechanism.h"
#include "yamanote/thread.h"

namespace yamanote {
namespace {

using net::Counter;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kShortestSweep = milliseconds(10);
constexpr Duration kLongestSweep = seconds(1);
constexpr size_t kSweepBatch = 256;  // Connections looked at before giving way.
constexpr Duration kStopPoll = milliseconds(1);

Result<void> CheckRange(const char* name, uint64_t value, uint64_t least,
                        uint64_t most) {
  if (value >= least && value <= most) return {};
  return MakeError(ErrorCode::kInvalidArgument,
                   std::string(name) + " = " + std::to_string(value) +
                       " must be " + std::to_string(least) + " .. " +
                       std::to_string(most));
}

Result<void> CheckPositive(const char* name, Duration value) {
  if (value > Duration::zero()) return {};
  return MakeError(
      ErrorCode::kInvalidArgument,
      std::string(name) + " = " + std::to_string(ToNanos(value)) +
          " ns must be > 0; for no timeout use the largest Duration");
}

// Who wrote a mechanism down knows what it is for. Programs without a server are
// left alone: not every few user threads need slices that end in time.
void TellOfMissingProbes(const worker::Engine& engine) {
  if (engine.mechanism() != Mechanism::kProbe ||
      engine.asked_mechanism() != Mechanism::kAuto ||
      preempt::ProgramHasProbes())
    return;
  std::fputs(
      "yamanote: note: this program was compiled without probes, so slices end "
      "where a handler blocks, yields or calls CheckPreempt() only. Compile it "
      "with yamanote_preemptible() (docs/probes.md), or set "
      "RuntimeOptions::preemption to kNone.\n",
      stderr);
}

Result<void> Validate(const ServerOptions& o) {
  Result<void> result =
      CheckRange("listen: number of addresses", o.listen.size(), 1, 64);
  if (result && !o.tcp && !o.udp) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "tcp and udp are both off; a server needs one of them");
  }
  if (result)
    result = CheckRange("max_connections", o.max_connections, 1, 1 << 20);
  if (result)
    result = CheckRange("max_request_bytes", o.max_request_bytes, 64, 1 << 30);
  if (result)
    result = CheckRange("max_reply_bytes", o.max_reply_bytes, 64, 1 << 30);
  if (result)
    result =
        CheckRange("max_udp_reply_bytes", o.max_udp_reply_bytes, 256, 1 << 30);
  if (result) {
    // A buffer that grows exists twice for a moment.
    const size_t least = 2 * std::max(o.max_request_bytes, o.max_reply_bytes);
    result = CheckRange("max_buffer_bytes", o.max_buffer_bytes, least,
                        size_t{1} << 40);
    if (!result) {
      result.error().message +=
          ": at least twice max_request_bytes and max_reply_bytes; raise it or "
          "lower those";
    }
  }
  if (result)
    result = CheckRange("max_datagram_bytes", o.max_datagram_bytes, 64, 65507);
  if (result)
    result = CheckRange("max_datagrams", o.max_datagrams, 256, 16 << 20);
  if (result) result = CheckPositive("idle_timeout", o.idle_timeout);
  if (result) result = CheckPositive("request_timeout", o.request_timeout);
  if (result) result = CheckPositive("send_timeout", o.send_timeout);
  if (result && (o.drain_timeout < Duration::zero() ||
                 o.reply_delay < Duration::zero())) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "drain_timeout and reply_delay must not be negative");
  }
  for (const ClassOptions& c : o.classes) {
    if (result)
      result = CheckRange(("limit of class " + c.name).c_str(), c.limit, 1,
                          UINT32_MAX);
  }
  return result;
}

// Runs `function` on a user thread and waits for it.
template <typename F>
Result<void> OnUserThread(F function) {
  Result<void> result;
  auto thread =
      Thread::Spawn({.name = "server start"}, [&] { result = function(); });
  if (!thread) return tl::unexpected(thread.error());
  thread->join();
  return result;
}

}  // namespace

class Server::Impl {
 public:
  Impl(worker::Engine& engine, ServerOptions options, const Protocol& protocol,
       Service& service)
      : options_(std::move(options)),
        service_(service),
        memory_(options_.max_buffer_bytes),
        host_(engine, options_, protocol, service, memory_) {}

  ~Impl() { Stop(); }

  Result<void> Start();
  void Stop();
  ServerStats stats() const;

  const ServerOptions options_;
  std::vector<SocketAddress> tcp_addresses_;
  std::vector<SocketAddress> udp_addresses_;

 private:
  Result<void> Listen(const SocketAddress& address);
  Result<void> AddUdp(const SocketAddress& address);
  void SweepLoop(const std::stop_token& stop);
  void Drain();

  Service& service_;
  net::MemoryBudget memory_;
  net::Host host_;
  std::vector<std::unique_ptr<net::TcpListener>> tcp_;
  std::vector<std::unique_ptr<net::UdpEndpoint>> udp_;
  std::stop_source sweeper_stop_;
  Thread sweeper_;
  bool pumping_ = false;

  enum class Phase : uint8_t { kServing, kStopping, kStopped };
  std::atomic<Phase> phase_{Phase::kServing};  // Only forwards.
};

Result<void> Server::Impl::AddUdp(const SocketAddress& address) {
  // Where cores share their work, they share a socket; else each has its own and
  // the kernel spreads the peers over them.
  const PlacementKind placement = host_.engine().options().scheduling.placement;
  const bool per_core =
      host_.cores() > 1 && (placement == PlacementKind::kPartitioned ||
                            placement == PlacementKind::kStealing);
  if (per_core && address.port() != 0) {
    // Sockets that share a port would share another server's, too.
    auto alone = io::OpenUdp(address, io::PortSharing::kExclusive,
                             options_.socket_buffer_bytes);
    if (!alone) return tl::unexpected(alone.error());
    close(*alone);
  }
  SocketAddress bound = address;
  for (CoreId core = 0; core < (per_core ? host_.cores() : 1); ++core) {
    auto fd = io::OpenUdp(
        bound,
        per_core ? io::PortSharing::kShared : io::PortSharing::kExclusive,
        options_.socket_buffer_bytes);
    if (!fd) return tl::unexpected(fd.error());
    udp_.push_back(std::make_unique<net::UdpEndpoint>(
        host_, *fd, per_core ? core : kNoCore));
    if (core == 0) bound = net::BoundAddress(*fd);
  }
  udp_addresses_.push_back(bound);
  host_.AddUdpPort(bound.port());
  return {};
}

Result<void> Server::Impl::Listen(const SocketAddress& address) {
  SocketAddress udp_address = address;
  if (options_.tcp) {
    auto fd = net::OpenTcp(address);
    if (!fd) return tl::unexpected(fd.error());
    tcp_.push_back(std::make_unique<net::TcpListener>(host_, *fd));
    tcp_addresses_.push_back(net::BoundAddress(*fd));
    udp_address = tcp_addresses_.back();
  }
  return options_.udp ? AddUdp(udp_address) : Result<void>{};
}

Result<void> Server::Impl::Start() {
  // Before the service starts: a wrong address is told at once.
  for (const SocketAddress& address : options_.listen) {
    if (auto listening = Listen(address); !listening) return listening;
  }
  auto initialised = OnUserThread([&] { return service_.Init(host_.cores()); });
  if (!initialised) return initialised;
  host_.engine().SetPump(&host_);
  pumping_ = true;
  if (auto cores = host_.InitCores(); !cores) return cores;
  for (auto& endpoint : udp_) {
    if (auto watched = endpoint->Watch(); !watched) return watched;
  }
  for (auto& listener : tcp_) {
    if (auto watched = listener->Watch(); !watched) return watched;
  }
  auto sweeper = Thread::Spawn({.name = "server sweeper"}, [this] {
    SweepLoop(sweeper_stop_.get_token());
  });
  if (!sweeper) return tl::unexpected(sweeper.error());
  sweeper_ = std::move(*sweeper);
  return {};
}

void Server::Impl::SweepLoop(const std::stop_token& stop) {
  const Duration shortest = std::min(
      {options_.idle_timeout, options_.request_timeout, options_.send_timeout});
  const Duration interval =
      std::clamp(shortest / 8, kShortestSweep, kLongestSweep);
  do {
    const Instant now = Clock::now();
    // Late rather than early: idle time must not begin before the reply.
    host_.SetAboutNow(now + interval);
    if (host_.open_connections() == 0) continue;
    size_t next = 0;
    do {
      next = host_.Sweep(next, kSweepBatch, now);
      this_thread::yield();
    } while (next != 0);
  } while (this_thread::sleep_for(interval, stop));
}

// Waits for what runs and for clients to take their replies; then insists.
void Server::Impl::Drain() {
  const Instant start = Clock::now();
  bool aborted = false;
  for (;;) {
    if (host_.open_connections() == 0 && host_.Quiet()) return;
    if (!aborted && Clock::now() - start >= options_.drain_timeout) {
      host_.AbortAll();
      aborted = true;
    } else if (!aborted) {
      host_.CheckAll();
    }
    this_thread::sleep_for(kStopPoll);
  }
}

void Server::Impl::Stop() {
  Phase serving = Phase::kServing;
  if (!phase_.compare_exchange_strong(serving, Phase::kStopping)) {
    while (phase_.load() != Phase::kStopped) this_thread::sleep_for(kStopPoll);
    return;
  }
  host_.StartDraining();
  for (auto& listener : tcp_) listener->Close();
  Drain();
  for (auto& endpoint : udp_) {
    endpoint->Unwatch();
    endpoint->RefuseQueued();
  }
  // A datagram that was taken in just before StartDraining() may have begun after
  // Drain() looked.
  while (!host_.Quiet()) this_thread::sleep_for(kStopPoll);
  if (sweeper_.joinable()) {
    sweeper_stop_.request_stop();
    sweeper_.join();
  }
  if (pumping_) host_.engine().SetPump(nullptr);
  host_.FlushAllUdp();
  phase_.store(Phase::kStopped);
}

ServerStats Server::Impl::stats() const {
  const auto sum = [this](Counter counter) { return host_.Sum(counter); };
  ServerStats stats;
  stats.accepted = sum(Counter::kAccepted);
  stats.open = host_.served_connections();
  stats.refused_connections = sum(Counter::kRefusedConnections);
  stats.requests = sum(Counter::kRequests);
  stats.replies = sum(Counter::kReplies);
  stats.overloaded = sum(Counter::kOverloaded);
  stats.too_large = sum(Counter::kTooLarge);
  stats.malformed = sum(Counter::kMalformed);
  stats.shutdown = sum(Counter::kShutdown);
  stats.truncated = sum(Counter::kTruncated);
  stats.timed_out = sum(Counter::kTimedOut);
  stats.dropped = sum(Counter::kDropped);
  for (const auto& endpoint : udp_)
    stats.kernel_dropped += endpoint->kernel_drops();
  stats.unsent = sum(Counter::kUnsent);
  stats.bytes_in = sum(Counter::kBytesIn);
  stats.bytes_out = sum(Counter::kBytesOut);
  stats.buffer_bytes = memory_.used();
  stats.receive_batches = sum(Counter::kReceiveBatches);
  stats.send_batches = sum(Counter::kSendBatches);
  return stats;
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::Start(ServerOptions options,
                                              const Protocol& protocol,
                                              Service& service) {
  if (auto valid = Validate(options); !valid)
    return tl::unexpected(valid.error());
  worker::Engine* const engine = worker::Engine::Current();
  if (engine == nullptr) {
    return MakeError(
        ErrorCode::kUnavailable,
        "no Runtime in this process: create one before the server");
  }
  if (engine->pump() != nullptr) {
    return MakeError(
        ErrorCode::kUnavailable,
        "the runtime has a server already; give that one more addresses");
  }
  auto impl =
      std::make_unique<Impl>(*engine, std::move(options), protocol, service);
  if (auto started = impl->Start(); !started)
    return tl::unexpected(started.error());
  TellOfMissingProbes(*engine);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::Stop() { impl_->Stop(); }
const std::vector<SocketAddress>& Server::tcp_addresses() const {
  return impl_->tcp_addresses_;
}
const std::vector<SocketAddress>& Server::udp_addresses() const {
  return impl_->udp_addresses_;
}
ServerStats Server::stats() const { return impl_->stats(); }
const ServerOptions& Server::options() const { return impl_->options_; }

}  // namespace yamanote
