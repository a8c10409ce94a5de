// wait_list.h - what a blocking primitive embeds: its lock and its waiters.
//
// A public header for the layout only; not for users' programs. The operations
// and the protocol are in src/worker/wait.h.

#pragma once

#include "yamanote/detail/spin_lock.h"

namespace yamanote::worker {

class Waiter;

// A doubly linked list of waiters, oldest first. Guarded by its owner's lock.
class WaitList {
 public:
  constexpr WaitList() = default;
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;

  bool Empty() const { return head_ == nullptr; }
  Waiter* Front() const { return head_; }

  // Both require: `waiter` is in no list.
  void PushBack(Waiter& waiter);
  void PushFront(Waiter& waiter);

  // Takes `waiter` out; does nothing if it is in no list.
  void Remove(Waiter& waiter);

  // Returns the oldest waiter, taken out; nullptr if there is none.
  Waiter* PopFront();

 private:
  Waiter* head_ = nullptr;
  Waiter* tail_ = nullptr;
};

}  // namespace yamanote::worker
