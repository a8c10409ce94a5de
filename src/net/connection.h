// connection.h - one connection: a Stream, the bytes under it, and who owns it.
//
// At any time one thread at most owns a connection (dispatch/flow.h: kBusy), and
// only the owner touches it. Everything that happens to it - readiness, a
// timeout, the server stopping - is a bit in signals_ and an Arrive(); whoever
// brings an idle connection to life owns it and takes a turn:
//
//   event --> Turn: read, frame, admit --> Host::Spawn --> [queue] --> RunRequests
//     ^                                                                  |
//     '--- idle <-- Turn: send, next request or read <-- [home core] <---'
//
// While a request waits or runs, the bytes behind it stay in the kernel: a
// client that sends faster than it is served is slowed down by TCP itself.
//
// What the rest of the server does for a connection is behind ConnectionHost, so
// that tests run it over io/memory.h in virtual time without a runtime.

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "dispatch/flow.h"
#include "io/stream.h"
#include "net/counters.h"
#include "net/stream.h"

namespace yamanote::net {

class Connection;

class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;

  virtual Counters& counters() = 0;  // Of the calling core.
  virtual Instant Now() = 0;
  // Now, or somewhat later; costs no look at the clock.
  virtual Instant AboutNow() = 0;

  // Counts a request of `request_class` in, false if the limit is reached; and
  // out again.
  virtual bool Admit(ClassId request_class) = 0;
  virtual void Release(ClassId request_class) = 0;
  // Has connection.RunRequests() called once, when the policy says so. False if
  // that is not possible now.
  virtual bool Spawn(Connection& connection) = 0;
  // The same for connection.Continue(): the connection gives way to others.
  virtual bool SpawnContinue(Connection& connection) = 0;
  // Whether the calling core has nothing else to run.
  virtual bool NothingElseWaits() = 0;
  // How long requests may share a turn where others wait: at most kTurnTime and
  // the slice. Constant.
  virtual Duration TurnTime() const = 0;
  // The service.
  virtual void Handle(const Request& request, Reply& reply) = 0;
  // True if the replies go out through the home core, which was told: it will
  // call connection.Continue(), and the caller owns the connection no more.
  virtual bool SendHome(Connection& connection) = 0;

  virtual bool draining() const = 0;
  // `connection` is closed and may be used again. The last thing it calls.
  virtual void Closed(Connection& connection) = 0;
};

class Connection final : public io::EventHandler {
 public:
  // A turn's reads and writes cost several microseconds of system calls, so
  // pipelined requests share one: so many at most, and where others wait for the
  // core only those of one class that are expected, going by those before, to end
  // within kTurnTime, or the slice if that is shorter. (memcached: 20 requests, whatever they cost.)
  static constexpr int kRequestsPerTurn = 64;
  static constexpr Duration kTurnTime = std::chrono::microseconds(10);
  // Reads in one turn before the connection gives way, lingering too.
  static constexpr int kReadsPerTurn = 8;
  // Bytes read, and sent, in one turn: the kernel takes some 20 us for so many, and nobody
  // preempts it. Others would wait for all of a reply, or a value, of a megabyte.
  static constexpr size_t kBytesPerTurn = 64 << 10;
  // How long input of a connection that the server closes is thrown away, so
  // that the last reply is not lost to a reset, and how much of it.
  static constexpr Duration kLingerTime = std::chrono::seconds(1);
  static constexpr size_t kLingerBytes = 4 << 20;

  // All must outlive it. Closed at first.
  Connection(ConnectionHost& host, const Protocol& protocol,
             const StreamLimits& limits);

  enum class Welcome : uint8_t {
    kServe,
    kRefuse,  // One too many: it gets the protocol's refusal and is closed.
  };

  // Takes `bytes` into service. Error: Watch() refused; then it stays closed.
  // Requires: closed. Any thread.
  Result<void> Open(std::unique_ptr<io::ByteStream> bytes, CoreId home,
                    uint64_t flow, Welcome welcome = Welcome::kServe);

  // Readiness. Any thread.
  void OnEvents(uint32_t events) override;
  // The server drains, or Deadline() may have passed: look. Any thread, also
  // while the connection is closed.
  void Check() { Signal(kCheck); }
  // Close without further replies once the running request is done. Any thread.
  void Abort() { Signal(kAbort); }

  // See ConnectionHost.
  void RunRequests();
  void Continue() { Turn(); }

  // When to Check() next; kNever: not because of time. Any thread.
  Instant deadline() const {
    return FromNanos(deadline_ns_.load(std::memory_order_relaxed));
  }

  ConnectionHost& host() const { return host_; }
  // Constant while open.
  CoreId home() const { return home_; }
  Welcome welcome() const { return welcome_; }
  // Of the request that Spawn() is called for.
  const Frame& frame() const { return stream_.frame(); }
  Instant arrival() const { return stream_.arrival(); }
  Instant request_deadline() const;

  Connection* next_free = nullptr;  // Of the host's, while closed.

 private:
  static constexpr uint32_t kReadable = 1;
  static constexpr uint32_t kWritable = 2;
  static constexpr uint32_t kHangup = 4;
  static constexpr uint32_t kCheck = 8;
  static constexpr uint32_t kAbort = 16;

  enum class Step : uint8_t {
    kAgain,  // Something was done: look again.
    kWait,   // Nothing can be done until the next signal.
    kGone,   // Somebody else owns the connection now, or it is closed.
  };

  void Signal(uint32_t signals);
  void Turn();
  void Absorb(uint32_t signals);
  void CheckTime();
  Step TakeStep();
  Step StartRequest();
  bool GiveWay();
  Step Read();
  Step BeginClose();
  Step Linger();
  Step Close();
  Step Flush();
  void HandleOne();
  bool MayGoOn(ClassId first, int done, Duration elapsed) const;
  void PublishDeadline();

  ConnectionHost& host_;
  Stream stream_;

  // Anybody. Release in Signal() pairs with acquire in Turn().
  std::atomic<uint32_t> signals_{0};
  dispatch::Flow flow_;
  // Written by the owner, read by whoever watches the time; orders nothing.
  std::atomic<int64_t> deadline_ns_{INT64_MAX};

  // The owner.
  std::unique_ptr<io::ByteStream> bytes_;
  CoreId home_ = 0;
  Welcome welcome_ = Welcome::kServe;
  uint64_t hash_ = 0;
  size_t lingered_bytes_ = 0;
  Instant linger_until_ = kNever;
  int reads_ = 0;             // In this turn.
  size_t read_bytes_ = 0;     // The same.
  size_t written_bytes_ = 0;  // The same.
  bool may_read_ = false;
  bool may_write_ = false;
  // The peer closed: read to the end even after a short read.
  bool hangup_ = false;
  bool ended_ = false;  // And the end was read.
  bool broken_ = false;
};

}  // namespace yamanote::net
