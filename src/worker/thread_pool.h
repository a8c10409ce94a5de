// thread_pool.h - the control blocks of user threads, reused.
//
// Bounded by max_threads and what cores keep in stock. Blocks are never given back
// to the system before the runtime ends: a stale pointer finds a block, not a
// hole.

#pragma once

#include <cstddef>
#include <new>

#include "worker/free_list.h"
#include "worker/slab_pool.h"
#include "worker/user_thread.h"
#include "yamanote/result.h"

namespace yamanote::worker {

class ThreadPool {
 public:
  explicit ThreadPool(size_t most) : threads_(most, 0) {}

  // As FreeList wants it. Any thread.
  Result<void> Take(size_t count, UserThread*& head, size_t& taken) {
    taken = threads_.Take(count, head, [](std::byte* place, std::byte*) {
      return new (place) UserThread();
    });
    if (taken > 0) return {};
    return MakeError(ErrorCode::kResourceExhausted,
                     OutOfMemory() ? "no memory for another user thread"
                                   : "too many user threads");
  }
  bool OutOfMemory() const { return threads_.OutOfMemory(); }

  void Return(UserThread* head, size_t /*count*/) { threads_.Return(head); }

 private:
  SlabPool<UserThread, &UserThread::next_free> threads_;
};

using ThreadStock = FreeList<UserThread, &UserThread::next_free, ThreadPool>;
using StackStock = FreeList<Stack, &Stack::next, StackPool>;

}  // namespace yamanote::worker
