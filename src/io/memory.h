// memory.h - a network in memory, in virtual time, with faults at will: for
// tests.
//
// Everything happens in Step(), one event at a time, in the order of virtual
// time; handlers are called from there and from nowhere else. The same seed and
// the same calls give the same run, so a failure is replayed from its seed.
//
//   MemoryNetwork network({.seed = seed, .short_read = 0.3});
//   auto [client, server] = network.Connect();
//   server->Watch(handler);
//   client->Write(bytes);
//   network.RunUntilIdle();
//
// Not thread-safe, except now(). It must outlive its streams and sockets.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <utility>
#include <vector>

#include "base/random.h"
#include "io/stream.h"
#include "yamanote/address.h"

namespace yamanote::io {

struct MemoryOptions {
  uint64_t seed = 1;
  Duration latency = std::chrono::microseconds(10);  // One way. >= 0.
  // Stream bytes written and not yet read, per direction; more would block.
  // >= 1.
  size_t buffer_bytes = 64 * 1024;
  // Datagrams that a socket holds unread; later ones are dropped. >= 1.
  size_t datagram_queue = 64;

  // Probabilities, 0 .. 1, of each single call or datagram.
  double short_read = 0;   // A Read() moves less than it could.
  double short_write = 0;  // A Write() moves less than it could.
  double would_block = 0;  // A Read() or Write() that could move bytes refuses.
  double reset = 0;        // A Write() breaks the connection instead.
  double drop = 0;         // A datagram vanishes.
  double duplicate = 0;    // A datagram arrives twice.
  double reorder = 0;      // A datagram takes up to reorder_delay longer.
  Duration reorder_delay = std::chrono::microseconds(100);
};

struct MemoryStats {
  uint64_t datagrams_sent = 0;
  uint64_t datagrams_dropped = 0;      // By chance.
  uint64_t datagrams_overflowed = 0;   // The receiver's queue was full.
  uint64_t datagrams_unreachable = 0;  // Nobody was bound there on arrival.
  uint64_t resets = 0;                 // By chance.
};

class MemoryDatagramSocket;

class MemoryNetwork {
 public:
  explicit MemoryNetwork(MemoryOptions options = {});
  ~MemoryNetwork();
  MemoryNetwork(const MemoryNetwork&) = delete;
  MemoryNetwork& operator=(const MemoryNetwork&) = delete;

  // Virtual time; starts one second after the origin, as zero means "unknown".
  Instant now() const { return now_; }

  // Returns the two ends of a new connection.
  std::pair<std::unique_ptr<ByteStream>, std::unique_ptr<ByteStream>> Connect();

  // Breaks the connection that `stream`, made by Connect(), is an end of: at
  // once on this end, after the latency on the other. Unread bytes are lost.
  void Reset(ByteStream& stream);

  // Returns a datagram socket. kInvalidArgument if `address` is taken.
  Result<std::unique_ptr<MemoryDatagramSocket>> Bind(
      const SocketAddress& address);

  // Runs `action` when virtual time reaches `when`, or at once if it has.
  void At(Instant when, std::function<void()> action);

  // Does the next thing and moves the clock to it. Returns false if there is
  // nothing left to do.
  bool Step();

  // Does all that is due by `when` and moves the clock there.
  void RunUntil(Instant when);

  // Returns false if there was still something to do after `max_steps`.
  bool RunUntilIdle(uint64_t max_steps = 1'000'000);

  const MemoryStats& stats() const { return stats_; }

 private:
  friend class MemoryStream;
  friend class MemoryDatagramSocket;

  struct Event {
    Instant when;
    uint64_t sequence;  // Breaks ties in the order of the calls.
    std::function<void()> action;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.when != b.when ? a.when > b.when : a.sequence > b.sequence;
    }
  };

  bool Chance(double probability) { return random_.Uniform() < probability; }
  void Deliver(const SocketAddress& to, const SocketAddress& from,
               std::vector<std::byte> bytes);

  const MemoryOptions options_;
  base::Random random_;
  Instant now_ = FromNanos(1'000'000'000);
  uint64_t next_sequence_ = 0;
  std::priority_queue<Event, std::vector<Event>, Later> events_;
  std::map<SocketAddress, MemoryDatagramSocket*> sockets_;
  MemoryStats stats_;
};

// A datagram socket of a MemoryNetwork, bound to one address.
class MemoryDatagramSocket {
 public:
  using ConstBytes = std::span<const std::byte>;
  static constexpr size_t kMaxBytes = 65507;  // What IPv4 can carry.

  ~MemoryDatagramSocket();
  MemoryDatagramSocket(const MemoryDatagramSocket&) = delete;
  MemoryDatagramSocket& operator=(const MemoryDatagramSocket&) = delete;

  // Never blocks. kError with EMSGSIZE if it is longer than kMaxBytes.
  Transfer SendTo(ConstBytes bytes, const SocketAddress& to);

  // Takes the oldest datagram; what does not fit into `buffer` is lost. kDone
  // with 0 bytes is an empty datagram.
  Transfer ReceiveFrom(std::span<std::byte> buffer, SocketAddress& from);

  // As ByteStream's; events are EPOLLIN and, once, EPOLLOUT.
  void Watch(EventHandler& handler);
  void Unwatch() { *handler_ = nullptr; }

  const SocketAddress& address() const { return address_; }

 private:
  friend class MemoryNetwork;
  struct Datagram {
    SocketAddress from;
    std::vector<std::byte> bytes;
  };

  MemoryDatagramSocket(MemoryNetwork& network, const SocketAddress& address)
      : network_(network), address_(address) {}
  void Arrive(Datagram datagram);

  MemoryNetwork& network_;
  const SocketAddress address_;
  std::deque<Datagram> queue_;
  // Shared with events under way, which outlive the socket.
  std::shared_ptr<EventHandler*> handler_ =
      std::make_shared<EventHandler*>(nullptr);
};

}  // namespace yamanote::io
