// park.h - idle workers sleep, and no work is left waiting while they do.
//
// A worker is Running, Spinning (looking for work) or Parked. Protocol P:
//
//   enqueuer                            worker with nothing to do
//   E1 put the task into a domain       W1 Spinning; look for a while
//   E2 full fence                       W2 state = Parked
//   E3 a spinner? it will look (W4)     W3 spinning count -1; full fence
//   E4 else wake one Parked worker      W4 look once more; found: un-park
//                                       W5 sleep until woken, event or timer
//
// Either E3 sees the spinner gone and E4 sees it Parked, or W4 sees the task
// (store-load pairs E1/E3 and W2-W3/W4). A woken worker starts as Spinning, so
// a burst of tasks wakes workers one after another, not all at once; one that
// finds work and was the last spinner (count -1; full fence) looks whether more
// waits, as in W4, and if so wakes the next: E3 left those tasks to it.
//
// A waker counts the spinner it makes after it made it, and may be interrupted in
// between; meanwhile the woken one may have found work already. So the count may
// be too low for a while, even below 0, which costs a look or a wake-up that finds
// nothing. Rejected: to count first, and take it back if another waker was first;
// then E3 leaves a task to a spinner that there is not.
//
// Where an arbiter hands out the cores a spinner may be one whose core has just been taken, or
// that was moved beneath others for being late: it has no CPU for as long as others like.
// So E3 wakes somebody all the same.
//
// There a worker may also be Away: its core is another
// application's, so only the arbiter wakes it. E4 passes it over; what it would have
// taken is in the domains of cores that are held, or will be (dispatch/placement.h).
//
// Events of file descriptors: where work may move between cores, one sleeper
// (the watcher) sleeps on all cores' pollers, so that a core held by a long
// task does not delay its connections; the others sleep on a word of their own.
// The watcher hands the role on when it finds work. Where work may not move,
// each worker sleeps in its own poller.

#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "base/cpu.h"
#include "dispatch/placement.h"
#include "io/poller.h"
#include "yamanote/time.h"

namespace yamanote::worker {

class Parking {
 public:
  // `work_moves`: a task or event of one core may be taken by another. `trusts_spinners`:
  // whoever is Spinning has its CPU, or will soon, so E3 leaves it what there is.
  Parking(unsigned cores, bool work_moves, bool trusts_spinners = true);
  ~Parking();
  Parking(const Parking&) = delete;
  Parking& operator=(const Parking&) = delete;

  // E2-E4 for what the placement asked. Any thread.
  void Notify(dispatch::Placed placed) {
    if (placed.notify != dispatch::Notify::kNobody) NotifySomebody(placed);
  }

  // Wakes every parked worker; for shutdown. Any thread.
  void NotifyAll();

  // The calling worker, in this order: BeginSpin, then either
  // EndSpinWithWork(), or BeginPark (W2, W3), the look of W4, and CancelPark()
  // or Sleep().
  void BeginSpin(CoreId core);
  // Returns true if it was the last that looked and others sleep: the caller
  // wakes another if more work waits that others can take, or if
  // NeedsWatcher(). Then it is a full fence.
  bool EndSpinWithWork(CoreId core);
  // Nobody would see an event of a core that is busy.
  bool NeedsWatcher() const {
    return work_moves_ && !watched_.load(std::memory_order_relaxed);
  }
  void BeginPark(CoreId core);
  // The look found work: the caller is Spinning again.
  void CancelPark(CoreId core);
  // Sleeps until woken, until an event, a signal, or until the instant that `earliest`
  // returns (the earliest timer the caller is responsible for; called again
  // whenever it may have changed); for `longest` at most. The caller is Spinning
  // afterwards.
  void Sleep(CoreId core, const std::function<Instant()>& earliest,
             Duration longest = Duration::max());

  // After a timer was added: makes the watcher, if it sleeps longer than
  // `when`, sleep anew. Any thread.
  void NotifyTimer(Instant when);

  // The calling worker's core is somebody else's from now on: nobody wakes it here. After
  // BeginPark(): false if it has been woken meanwhile, so it is Spinning and there is
  // work. Else from Running.
  bool BeAway(CoreId core);
  // It is the application's again: the caller is Running.
  void ComeBack(CoreId core);
  bool IsAway(CoreId core) const {
    // seq_cst: as IsParked().
    return slots_[core].state.load(std::memory_order_seq_cst) == State::kAway;
  }
  // Any that could be woken: a hint.
  bool AnyParked() const {
    return parked_.load(std::memory_order_relaxed) != 0;
  }
  unsigned away() const { return away_.load(std::memory_order_relaxed); }

  // True while `core` sleeps, or is about to, or is away.
  // seq_cst: see Engine::SetPump(), which relies on it.
  bool IsParked(CoreId core) const {
    const State state = slots_[core].state.load(std::memory_order_seq_cst);
    return state == State::kParked || state == State::kAway;
  }

  // True if a worker looks for work. A hint unless a full fence precedes.
  bool AnySpinning() const {
    return spinning_.load(std::memory_order_relaxed) > 0;
  }

  // A worker that will sleep as the watcher sleeps for all: it must use the
  // earliest timer of all cores.
  bool work_moves() const { return work_moves_; }

  // Parked workers that were woken, so far. Any thread.
  uint64_t wakes() const { return wakes_.load(std::memory_order_relaxed); }

  io::Poller& poller(CoreId core) const { return *slots_[core].poller; }

 private:
  enum class State : uint32_t { kRunning, kSpinning, kParked, kAway };

  struct alignas(base::kNoSharing) Slot {
    std::atomic<State> state{
        State::kRunning};  // Futex of one that does not watch.
    std::atomic<bool> watching{
        false};  // It sleeps (or is about to) in a poller.
    std::unique_ptr<io::Poller> poller;
  };

  // Forwards an event of a core's poller, seen by the watcher.
  class Nested final : public io::EventHandler {
   public:
    explicit Nested(io::Poller& poller) : poller_(poller) {}
    void OnEvents(uint32_t) override { poller_.Poll(Duration::zero()); }

   private:
    io::Poller& poller_;
  };

  void NotifySomebody(dispatch::Placed placed);
  bool TryWake(CoreId core);  // Parked -> Spinning, and end its sleep.
  void SleepOnWord(Slot& slot, Duration longest);

  const unsigned cores_;
  const bool work_moves_;
  const bool trusts_spinners_;
  std::unique_ptr<Slot[]> slots_;
  std::vector<std::unique_ptr<Nested>> nested_;
  io::Poller watch_;

  alignas(base::kNoSharing) std::atomic<int32_t> spinning_{0};
  std::atomic<uint32_t> parked_{0};
  std::atomic<uint32_t> away_{0};  // A hint, for who stops the workers.
  std::atomic<uint64_t> wakes_{0};
  std::atomic<bool> watched_{false};             // Somebody is the watcher.
  std::atomic<int64_t> watch_until_{INT64_MIN};  // When it wakes by itself, ns.
};

}  // namespace yamanote::worker
