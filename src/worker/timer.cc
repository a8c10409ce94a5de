// timer.cc - an intrusive 4-ary heap of timers under a spin lock.

#include "worker/timer.h"

#include <algorithm>
#include <mutex>

#include "base/backoff.h"
#include "base/check.h"

namespace yamanote::worker {
namespace {

constexpr size_t kChildren = 4;

// Identifies the calling kernel thread while it does not switch user threads.
// Not inlined: a user thread must not keep another kernel thread's address.
__attribute__((noinline)) const void* ThreadKey() {
  static thread_local char key;
  const void* result = &key;
  asm volatile("" : "+r"(result));
  return result;
}

}  // namespace

void TimerQueue::Reserve(size_t timers) {
  const std::lock_guard guard(lock_);
  heap_.reserve(timers);
}

size_t TimerQueue::Size() const {
  const std::lock_guard guard(lock_);
  return heap_.size();
}

bool TimerQueue::Add(Timer& timer, Instant when) {
  const std::lock_guard guard(lock_);
  YAMANOTE_CHECK(timer.index_ == Timer::kIdle, "a timer was added twice");
  heap_.push_back({when, &timer});
  SiftUp(heap_.size() - 1, {when, &timer});
  PublishNext();
  return timer.index_ == 0;
}

bool TimerQueue::Cancel(Timer& timer) {
  uint64_t finished = 0;
  {
    const std::lock_guard guard(lock_);
    if (timer.index_ != Timer::kIdle) {
      RemoveAt(timer.index_);
      timer.index_ = Timer::kIdle;
      PublishNext();
      return true;
    }
    if (running_ != &timer || running_thread_ == ThreadKey()) return false;
    finished = finished_;
  }
  for (base::Backoff backoff;;) {
    {
      const std::lock_guard guard(lock_);
      if (finished_ != finished) break;
    }
    backoff.Wait();
  }
  // Its callback may have added it again while we waited.
  const std::lock_guard guard(lock_);
  if (timer.index_ == Timer::kIdle) return false;
  RemoveAt(timer.index_);
  timer.index_ = Timer::kIdle;
  PublishNext();
  return true;
}

int TimerQueue::RunExpired(Instant now, int budget) {
  // Relaxed look first: a failing exchange would steal the holder's line.
  if (running_expired_.load(std::memory_order_relaxed) ||
      running_expired_.exchange(true, std::memory_order_acquire)) {
    return 0;
  }
  int count = 0;
  for (;;) {
    void (*callback)(void*) = nullptr;
    void* argument = nullptr;
    {
      const std::lock_guard guard(lock_);
      if (running_ != nullptr) ++finished_;
      running_ = nullptr;
      if (count == budget || heap_.empty() || heap_[0].when > now) break;
      Timer* const timer = heap_[0].timer;
      RemoveAt(0);
      timer->index_ = Timer::kIdle;
      PublishNext();
      running_ = timer;
      running_thread_ = ThreadKey();
      callback = timer->callback_;
      argument = timer->argument_;
    }
    callback(argument);
    ++count;
  }
  running_expired_.store(false, std::memory_order_release);
  return count;
}

void TimerQueue::Place(size_t index, Entry entry) {
  heap_[index] = entry;
  entry.timer->index_ = static_cast<uint32_t>(index);
}

// Moves the hole at `index` up to where `entry` belongs and fills it.
void TimerQueue::SiftUp(size_t index, Entry entry) {
  while (index > 0) {
    const size_t parent = (index - 1) / kChildren;
    if (heap_[parent].when <= entry.when) break;
    Place(index, heap_[parent]);
    index = parent;
  }
  Place(index, entry);
}

// Moves the hole at `index` down to where `entry` belongs and fills it.
void TimerQueue::SiftDown(size_t index, Entry entry) {
  for (;;) {
    const size_t first = index * kChildren + 1;
    if (first >= heap_.size()) break;
    const size_t end = std::min(first + kChildren, heap_.size());
    size_t least = first;
    for (size_t child = first + 1; child < end; ++child) {
      if (heap_[child].when < heap_[least].when) least = child;
    }
    if (entry.when <= heap_[least].when) break;
    Place(index, heap_[least]);
    index = least;
  }
  Place(index, entry);
}

void TimerQueue::RemoveAt(size_t index) {
  const Entry last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  if (index > 0 && last.when < heap_[(index - 1) / kChildren].when) {
    SiftUp(index, last);
  } else {
    SiftDown(index, last);
  }
}

void TimerQueue::PublishNext() {
  const Instant next = heap_.empty() ? kNever : heap_[0].when;
  // Relaxed: see Next().
  next_.store(ToNanos(next), std::memory_order_relaxed);
}

}  // namespace yamanote::worker
