// driver.h - one thread that sends what is due and reads what comes back.
//
// It polls and never blocks: send what is due, look for answers, look at the
// clock. Its connections are its own, so threads share nothing. Bounded: at most
// kMaxBacklogBytes wait in user space for each connection, what is due beyond
// them is never sent and counts as lost; the run ends `drain` after the last
// request is due, whatever the server does.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "tools/load/gaps.h"
#include "tools/load/ledger.h"
#include "tools/load/sockets.h"
#include "tools/load/wire.h"

namespace yamanote::load {

inline constexpr size_t kMaxBacklogBytes = 1 << 20;

struct DriverOptions {
  Transport transport = Transport::kUdp;
  Duration drain = std::chrono::seconds(1);
  Duration gap_threshold = std::chrono::microseconds(20);
  // Closed loop with this many outstanding (for filling a store); 0: open loop,
  // as every measurement is.
  unsigned window = 0;
  unsigned threads = 1;  // Sample.connection / threads is the lane.
  const std::atomic<bool>* stop = nullptr;    // Ends the run early.
  std::atomic<uint64_t>* progress = nullptr;  // Requests due so far, added to.
};

// What one thread saw.
struct ThreadLog {
  std::vector<Sample> samples{};
  GapLog gaps{0};
  Counters counters{};
  // Share of the time until the last request was due that went into passes which
  // sent or received. Near 1: a lower latency or a higher load may be the
  // generator's limit, not the server's.
  double busy = 0;
  bool stopped = false;
};

class Driver {
 public:
  // `connections` are this thread's, at least one; `samples` in the order they are
  // due; `epoll` from epoll_create1.
  Driver(const DriverOptions& options, Descriptor epoll,
         std::vector<Descriptor> connections, std::unique_ptr<Wire> wire,
         std::vector<Sample> samples);
  ~Driver();

  // Runs to the end. `start` is the instant 0 of the samples. Call once.
  ThreadLog Run(Instant start);

 private:
  struct Connection;
  struct Pending;

  int64_t Look();
  void CountBusy(int64_t now_ns);
  void QueueDue(int64_t now_ns);
  void Flush();
  void FlushStream(Connection& connection);
  void FlushDatagrams(Connection& connection);
  void CompactOut(Connection& connection);
  void Receive();
  void ReceiveStream(Connection& connection);
  void ReceiveDatagrams(Connection& connection);
  void WatchWritable(Connection& connection, bool wanted);
  void CloseConnection(Connection& connection);
  bool Finished(int64_t now_ns);

  const DriverOptions options_;
  std::vector<Connection> connections_;
  std::unique_ptr<Wire> wire_;
  Ledger ledger_;
  GapLog gaps_;
  Descriptor epoll_;
  Instant start_{};
  size_t next_ = 0;
  size_t open_ = 0;
  int64_t end_ns_ = 0;
  int64_t pass_start_ns_ = 0;
  int64_t busy_ns_ = 0;
  bool pass_worked_ = false;
  std::vector<uint32_t> dirty_;  // Lanes with bytes to send.
  std::vector<char> scratch_;
};

}  // namespace yamanote::load
