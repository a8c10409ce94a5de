// flow.h - one request of a connection in flight at a time, and replies that go
// home.
//
// Flow is ZygOS's connection state. What is scheduled is the connection, not the
// request: whoever dequeues it serves its oldest request alone, so requests of a
// connection never run at once and their replies keep their order, on whichever
// core they run.
//
//            Arrive()            Start()             Finish()
//   kIdle ------------> kReady ------------> kBusy -------------> kIdle
//                        ^ |                  | ^
//                        | '- Arrive() stays  | | Arrive()
//                        |                    v |
//                        '----- Finish() - kBusyReady  (Arrive() stays)
//
// Everything else is a bug and CHECKs. The step into kReady is seen by exactly
// one caller, who must enqueue the connection.
//
// Why no request is forgotten: a reader that appends input calls Arrive() after
// it; the runner calls Start() or Finish() before it looks at the input again.
// Both change the state by one atomic step, also where the state stays the same,
// so one comes first: if Arrive() does, the runner sees the input (release and
// acquire); if not, Arrive() sees the later state and says what it demands.
//
// Source: Prekas et al., "ZygOS", SOSP 2017, section 4.2 (connection states).

#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "base/spin_lock.h"

namespace yamanote::dispatch {

// Bit 0: input waits. Bit 1: a core runs a request of it.
enum class FlowState : uint8_t {
  kIdle = 0,
  kReady = 1,
  kBusy = 2,
  kBusyReady = 3
};

// Whether the caller must enqueue the connection now.
enum class FlowAction : uint8_t { kNothing, kEnqueue };

class Flow {
 public:
  // Input waits. After the input was appended. Any thread; the runner too, if it
  // leaves input behind.
  FlowAction Arrive() {
    // Release: pairs with Start() and Finish(). Acquire: for Finish()'s work.
    const uint8_t before =
        state_.fetch_or(kInputBit, std::memory_order_acq_rel);
    return before == 0 ? FlowAction::kEnqueue : FlowAction::kNothing;
  }

  // The connection was dequeued: the caller is its runner until Finish(), and
  // should look at the input now.
  void Start() {
    // Acquire: pairs with Arrive() and with the last runner's Finish().
    const uint8_t before = state_.exchange(
        static_cast<uint8_t>(FlowState::kBusy), std::memory_order_acq_rel);
    YAMANOTE_CHECK(before == static_cast<uint8_t>(FlowState::kReady),
                   "Start() of a connection that is not ready");
  }

  // The request's reply is on its way. kEnqueue: more came meanwhile. After this
  // call the connection may run elsewhere.
  FlowAction Finish() {
    // Release: pairs with the next Start(), so that runners follow each other.
    const uint8_t before =
        state_.fetch_and(kInputBit, std::memory_order_acq_rel);
    YAMANOTE_CHECK((before & kBusyBit) != 0,
                   "Finish() of a connection that is not busy");
    return (before & kInputBit) != 0 ? FlowAction::kEnqueue
                                     : FlowAction::kNothing;
  }

  // Any thread; may be stale.
  FlowState State() const {
    return static_cast<FlowState>(state_.load(std::memory_order_relaxed));
  }

 private:
  static constexpr uint8_t kInputBit = 1;
  static constexpr uint8_t kBusyBit = 2;

  std::atomic<uint8_t> state_{0};
};

// What became of a reply that was to go through its home core.
enum class Pushed : uint8_t {
  kFirst,   // The queue was empty: see to it that somebody drains it.
  kQueued,  // Somebody was told already.
  kFull,    // Not taken: send it from here.
};

// Replies of requests that ran away from home, for the home core to send; an
// idle core may do it for a home that is busy. Any thread pushes, one at a time
// drains, so replies leave in the order in which they came.
//
// A lock, not a lock-free ring: ZygOS uses one too, a push is a few
// instructions, and a full queue must refuse exactly.
template <typename T>
class ReplyQueue {
 public:
  // `capacity` >= 1. Allocates once.
  explicit ReplyQueue(size_t capacity) : ring_(capacity) {
    YAMANOTE_CHECK(capacity >= 1, "a reply queue needs room");
  }

  // Any thread. Moves from `reply` unless the answer is kFull.
  Pushed TryPush(T& reply) {
    const std::lock_guard guard(lock_);
    const size_t size = size_.load(std::memory_order_relaxed);
    if (size == ring_.size()) return Pushed::kFull;
    ring_[(head_ + size) % ring_.size()] = std::move(reply);
    size_.store(size + 1, std::memory_order_relaxed);
    return size == 0 ? Pushed::kFirst : Pushed::kQueued;
  }

  // Calls send(T&&) for at most `budget` replies, oldest first; returns how
  // many. 0 also if another core drains just now. `send` must not block, and may
  // push to other queues.
  template <typename Send>
  size_t Drain(size_t budget, Send&& send) {
    size_t sent = 0;
    while (sent < budget && !Empty() && draining_.try_lock()) {
      const std::lock_guard draining(draining_, std::adopt_lock);
      T reply;
      while (sent < budget && Pop(reply)) {
        send(std::move(reply));
        ++sent;
      }
      // And again: who pushed since may have found the lock taken.
    }
    return sent;
  }

  // Any thread; a hint unless a seq_cst fence precedes (placement.h).
  bool Empty() const { return size_.load(std::memory_order_relaxed) == 0; }

 private:
  bool Pop(T& reply) {
    const std::lock_guard guard(lock_);
    const size_t size = size_.load(std::memory_order_relaxed);
    if (size == 0) return false;
    reply = std::move(ring_[head_]);
    head_ = (head_ + 1) % ring_.size();
    size_.store(size - 1, std::memory_order_relaxed);
    return true;
  }

  // Held while replies are sent, so that two cores can't swap their order.
  alignas(base::kNoSharing) base::SpinLock draining_;

  alignas(base::kNoSharing) base::SpinLock lock_;
  std::atomic<size_t> size_{0};  // Written under lock_, read without it.
  size_t head_ = 0;              // Guarded by lock_.
  std::vector<T> ring_;          // Guarded by lock_.
};

}  // namespace yamanote::dispatch
