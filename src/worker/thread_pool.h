// thread_pool.h - the control blocks of user threads, reused.
//
// Bounded by max_threads, rounded up to a slab. Blocks are never given back to
// the system before the runtime ends: a stale pointer finds a block, not a
// hole.

#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/spin_lock.h"
#include "worker/free_list.h"
#include "worker/user_thread.h"
#include "yamanote/result.h"

namespace yamanote::worker {

class ThreadPool {
 public:
  explicit ThreadPool(size_t max_threads) : max_threads_(max_threads) {}

  // As FreeList wants it. Any thread.
  Result<void> Take(size_t count, UserThread*& head, size_t& taken) {
    const std::lock_guard guard(lock_);
    taken = 0;
    while (taken < count) {
      if (free_ == nullptr && !AddSlab()) break;
      UserThread* const thread = free_;
      free_ = thread->next_free;
      thread->next_free = head;
      head = thread;
      ++taken;
    }
    if (taken > 0) return {};
    return MakeError(ErrorCode::kResourceExhausted,
                     "user threads alive: " + std::to_string(made_) +
                         ", max_threads is " + std::to_string(max_threads_) +
                         "; raise it or wait for threads to end");
  }

  void Return(UserThread* head, size_t /*count*/) {
    const std::lock_guard guard(lock_);
    while (head != nullptr) {
      UserThread* const next = head->next_free;
      head->next_free = free_;
      free_ = head;
      head = next;
    }
  }

 private:
  static constexpr size_t kSlab = 128;

  bool AddSlab() {
    if (made_ >= max_threads_) return false;
    auto slab = std::make_unique<UserThread[]>(kSlab);
    for (size_t i = kSlab; i-- > 0;) {
      slab[i].next_free = free_;
      free_ = &slab[i];
    }
    slabs_.push_back(std::move(slab));
    made_ += kSlab;
    return true;
  }

  const size_t max_threads_;
  base::SpinLock lock_;  // Guards what follows.
  UserThread* free_ = nullptr;
  size_t made_ = 0;
  std::vector<std::unique_ptr<UserThread[]>> slabs_;
};

using ThreadStock = FreeList<UserThread, &UserThread::next_free, ThreadPool>;
using StackStock = FreeList<Stack, &Stack::next, StackPool>;

}  // namespace yamanote::worker
