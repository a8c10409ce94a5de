// barrier.h - a meeting point where a fixed number of threads meet repeatedly.
//
//   yamanote::Barrier barrier(4, []() noexcept { SwapBuffers(); });
//   for (int round = 0; round < rounds; ++round) {  // In each of 4 threads.
//     Work();
//     barrier.arrive_and_wait();
//   }
//
// A phase ends when the expected number of arrivals has been made: the last
// arriver runs the completion function, then all who wait go on.
//
// Memory ordering: everything before an arrival happens before the completion
// function, and that before everything after the waits of its phase.
//
// Any thread, user or kernel; a thread may arrive more than once in a phase.
// May be destroyed as soon as every wait() of the last phase has returned.
//
// A wait that gives up does not take its arrival back.

#pragma once

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <utility>

#include "yamanote/detail/wait_list.h"
#include "yamanote/stop.h"
#include "yamanote/time.h"

namespace yamanote {

// What does not depend on the completion function; use Barrier.
class BarrierBase {
 public:
  // A phase: arrive() returns the one that wait() is to wait for.
  class arrival_token {
   public:
    arrival_token(arrival_token&&) = default;
    arrival_token& operator=(arrival_token&&) = default;

   private:
    friend class BarrierBase;
    explicit arrival_token(uint64_t phase) : phase_(phase) {}
    uint64_t phase_;
  };

  BarrierBase(const BarrierBase&) = delete;
  BarrierBase& operator=(const BarrierBase&) = delete;

  // Waits until the token's phase has ended.
  void wait(arrival_token token) { Wait(token.phase_, kNever, nullptr); }

  // As wait(), but give up (see stop.h); return whether the phase has ended.
  // The token stays good for another try.
  bool wait(const arrival_token& token, const std::stop_token& stop) {
    return Wait(token.phase_, kNever, &stop);
  }
  bool wait_until(const arrival_token& token, Instant deadline) {
    return Wait(token.phase_, deadline, nullptr);
  }
  bool wait_until(const arrival_token& token, const std::stop_token& stop,
                  Instant deadline) {
    return Wait(token.phase_, deadline, &stop);
  }
  bool wait_for(const arrival_token& token, Duration timeout) {
    return Wait(token.phase_, DeadlineIn(timeout), nullptr);
  }

 protected:
  constexpr explicit BarrierBase(ptrdiff_t expected)
      : expected_(expected), missing_(expected) {}

  static arrival_token Token(uint64_t phase) { return arrival_token(phase); }

  // Counts `n` arrivals. Returns whether they were the last: the caller then
  // runs the completion function and calls EndPhase(). `*phase`: the current.
  bool Arrive(ptrdiff_t n, uint64_t* phase);
  void EndPhase();
  void Drop();

 private:
  bool Wait(uint64_t phase, Instant deadline, const std::stop_token* stop);

  base::SpinLock lock_;
  // Guarded by lock_.
  worker::WaitList waiters_;  // All of the current phase.
  uint64_t phase_ = 0;
  ptrdiff_t expected_;  // Arrivals that the next phase begins with.
  ptrdiff_t missing_;   // Arrivals that the current phase still needs.
};

struct NoCompletion {
  void operator()() const noexcept {}
};

template <typename Completion = NoCompletion>
class Barrier : public BarrierBase {
 public:
  // Requires: expected >= 0. `completion` must not throw; it may block.
  constexpr explicit Barrier(ptrdiff_t expected,
                             Completion completion = Completion())
      : BarrierBase(expected), completion_(std::move(completion)) {}

  // Makes `n` arrivals without waiting. Aborts unless 0 < n <= what the phase
  // still needs.
  [[nodiscard]] arrival_token arrive(ptrdiff_t n = 1) {
    uint64_t phase;
    if (Arrive(n, &phase)) {
      completion_();
      EndPhase();
    }
    return Token(phase);
  }

  void arrive_and_wait() { wait(arrive()); }

  // Arrives, and expects one arrival less from the next phase on.
  void arrive_and_drop() {
    Drop();
    static_cast<void>(arrive());
  }

 private:
  [[no_unique_address]] Completion completion_;
};

}  // namespace yamanote
