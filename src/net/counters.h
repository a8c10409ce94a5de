// counters.h - what the server counts, one set per core.
//
// A core writes only its own set, so counting costs a load and a store to a line
// that no other core writes; ServerStats sums the sets when somebody asks.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/cpu.h"
#include "yamanote/service.h"

namespace yamanote::net {

enum class Counter : uint8_t {
  kAccepted,            // Connections.
  kClosed,              // Connections, whoever closed them.
  kRefusedConnections,  // max_connections was reached.
  kRequests,            // Handed to the service.
  kReplies,             // Written by the service, empty ones not counted.
  kOverloaded,          // Requests refused, by reason.
  kTooLarge,
  kMalformed,
  kShutdown,
  kTruncated,  // Input ended inside a request.
  kTimedOut,   // Connections closed by a timeout.
  kDropped,    // Datagrams that were not worth an answer.
  kUnsent,     // Replies that could not be sent: the peer is gone.
  kBytesIn,
  kBytesOut,
  kReceiveBatches,  // System calls that brought at least one datagram.
  kSendBatches,     // System calls that took at least one.
  kSpawned,         // User threads that the server started, and
  kFinished,        // those that will not touch it any more.
  kCount,
};

// The counter of requests that were refused for this reason.
inline Counter CounterOf(Refusal why) {
  switch (why) {
    case Refusal::kOverloaded:
      return Counter::kOverloaded;
    case Refusal::kTooLarge:
      return Counter::kTooLarge;
    case Refusal::kMalformed:
      return Counter::kMalformed;
    case Refusal::kShutdown:
      return Counter::kShutdown;
  }
  return Counter::kMalformed;
}

class alignas(base::kNoSharing) Counters {
 public:
  // Called by the owning core, or under the lock of a shared set.
  void Add(Counter counter, uint64_t n = 1) {
    // Not one step: there is one writer. Release pairs with Get(): who sees that
    // the last user thread has finished may take the server apart.
    auto& cell = cells_[static_cast<size_t>(counter)];
    cell.store(cell.load(std::memory_order_relaxed) + n,
               std::memory_order_release);
  }

  // Any thread. Acquire: see Add().
  uint64_t Get(Counter counter) const {
    return cells_[static_cast<size_t>(counter)].load(std::memory_order_acquire);
  }

 private:
  std::array<std::atomic<uint64_t>, static_cast<size_t>(Counter::kCount)>
      cells_{};
};

}  // namespace yamanote::net
