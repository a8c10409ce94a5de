// park.cc - protocol P of park.h.

#include "worker/park.h"

#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"

namespace yamanote::worker {
namespace {

template <typename Word>
long FutexWait(std::atomic<Word>& word, Word expected,
               const timespec* longest) {
  return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, longest,
                 nullptr, 0);
}

template <typename Word>
void FutexWake(std::atomic<Word>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace

Parking::Parking(unsigned cores, bool work_moves, bool trusts_spinners)
    : cores_(cores),
      work_moves_(work_moves),
      trusts_spinners_(trusts_spinners),
      slots_(new Slot[cores]) {
  for (CoreId core = 0; core < cores; ++core) {
    slots_[core].poller = std::make_unique<io::Poller>();
    if (!work_moves_) continue;
    nested_.push_back(std::make_unique<Nested>(*slots_[core].poller));
    const Result<void> added =
        watch_.Add(slots_[core].poller->descriptor(), EPOLLIN, *nested_.back());
    YAMANOTE_CHECK(added.has_value(), "can't nest an epoll set in another");
  }
}

Parking::~Parking() {
  for (CoreId core = 0; core < nested_.size(); ++core) {
    watch_.Remove(slots_[core].poller->descriptor(), *nested_[core]);
  }
}

void Parking::NotifySomebody(dispatch::Placed placed) {
  std::atomic_thread_fence(std::memory_order_seq_cst);  // E2; pairs with W3.
  if (placed.notify == dispatch::Notify::kCore) {
    TryWake(placed.core);
    return;
  }
  if (placed.notify == dispatch::Notify::kEveryone) {
    for (CoreId core = 0; core < cores_; ++core) TryWake(core);
    return;
  }
  if (parked_.load(std::memory_order_relaxed) == 0) return;
  if (trusts_spinners_ && spinning_.load(std::memory_order_relaxed) > 0)
    return;  // E3
  const CoreId first = placed.core == kNoCore ? 0 : placed.core;
  for (CoreId i = 0; i < cores_; ++i) {
    if (TryWake((first + i) % cores_)) return;  // E4
  }
}

void Parking::NotifyAll() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (CoreId core = 0; core < cores_; ++core) TryWake(core);
}

bool Parking::TryWake(CoreId core) {
  Slot& slot = slots_[core];
  State expected = State::kParked;
  if (slot.state.load(std::memory_order_relaxed) != expected ||
      !slot.state.compare_exchange_strong(expected, State::kSpinning)) {
    return false;
  }
  spinning_.fetch_add(1);
  parked_.fetch_sub(1);
  wakes_.fetch_add(1, std::memory_order_relaxed);
  // Both orders are safe: if it became watching after this load, it re-reads
  // its state, finds Spinning and does not sleep.
  if (slot.watching.load()) {
    (work_moves_ ? watch_ : *slot.poller).Wake();
  } else {
    FutexWake(slot.state);
  }
  return true;
}

void Parking::BeginSpin(CoreId core) {
  slots_[core].state.store(State::kSpinning);
  spinning_.fetch_add(1);
}

bool Parking::EndSpinWithWork(CoreId core) {
  slots_[core].state.store(State::kRunning);
  // Below 1: its waker has not counted it yet.
  const bool last = spinning_.fetch_sub(1) <= 1;
  if (!last) return false;
  // Pairs with E2: what an enqueuer left to this spinner is visible to the
  // caller.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return parked_.load(std::memory_order_relaxed) != 0;
}

void Parking::BeginPark(CoreId core) {
  Slot& slot = slots_[core];
  parked_.fetch_add(1);
  slot.state.store(State::kParked);  // W2
  spinning_.fetch_sub(1);            // W3; seq_cst, so a full fence.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Parking::CancelPark(CoreId core) {
  State expected = State::kParked;
  if (slots_[core].state.compare_exchange_strong(expected, State::kSpinning)) {
    spinning_.fetch_add(1);
    parked_.fetch_sub(1);
  }
  // Else a waker made it Spinning and counted it.
}

bool Parking::BeAway(CoreId core) {
  Slot& slot = slots_[core];
  State expected = State::kParked;
  if (slot.state.compare_exchange_strong(expected, State::kAway)) {
    parked_.fetch_sub(1);
  } else if (expected == State::kSpinning) {
    return false;
  } else {
    slot.state.store(State::kAway);
  }
  away_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void Parking::ComeBack(CoreId core) {
  away_.fetch_sub(1, std::memory_order_relaxed);
  slots_[core].state.store(State::kRunning);
}

void Parking::SleepOnWord(Slot& slot, Duration longest) {
  // On the state itself: the call of a waker that comes late spoils nothing.
  if (longest == Duration::max()) {
    while (slot.state.load() == State::kParked)
      FutexWait(slot.state, State::kParked, nullptr);
    return;
  }
  const timespec time{.tv_sec = longest.count() / 1'000'000'000,
                      .tv_nsec = longest.count() % 1'000'000'000};
  // A signal ends it: with a time, the kernel does not begin it anew.
  while (slot.state.load() == State::kParked) {
    if (FutexWait(slot.state, State::kParked, &time) != 0 &&
        (errno == EINTR || errno == ETIMEDOUT))
      return;
  }
}

void Parking::Sleep(CoreId core, const std::function<Instant()>& earliest,
                    Duration longest) {
  Slot& slot = slots_[core];
  if (work_moves_ && watched_.exchange(true)) {
    SleepOnWord(slot, longest);
    CancelPark(core);
    return;
  }
  slot.watching.store(true);
  if (slot.state.load() == State::kParked) {
    Instant until;
    do {
      until = earliest();
      watch_until_.store(ToNanos(until));
      // See NotifyTimer().
      std::atomic_thread_fence(std::memory_order_seq_cst);
    } while (earliest() < until);
    const Duration wait =
        until == kNever ? Duration::max() : until - Clock::now();
    if (wait > Duration::zero())
      (work_moves_ ? watch_ : *slot.poller).Poll(std::min(wait, longest));
  }
  slot.watching.store(false);
  if (work_moves_) {
    watch_until_.store(INT64_MIN);
    watched_.store(false);
  }
  CancelPark(core);
}

// Either the watcher's second look at the timers finds the new one, or its
// watch_until_ is visible here (store, full fence, load on both sides).
void Parking::NotifyTimer(Instant when) {
  if (!work_moves_) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (ToNanos(when) < watch_until_.load()) watch_.Wake();
}

}  // namespace yamanote::worker
