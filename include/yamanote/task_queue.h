// task_queue.h - intrusive queues of tasks: TaskQueue, first in, first out, and
// TaskDeque, which also gives up its newest.
//
// Links live in the tasks, so no operation allocates or fails. A task is in at
// most one queue. Not thread-safe: the domain's lock guards it.
//
// They keep no size: a count that goes up and down with every yield is its longest
// chain of dependent stores and loads, and the domain counts anyway.

#pragma once

#include "yamanote/task.h"

namespace yamanote {

class TaskQueue {
 public:
  bool Empty() const { return head_ == nullptr; }

  // Returns the task that PopFront() would return, nullptr if there is none.
  Task* Front() const { return head_; }

  void PushBack(Task& task) {
    task.next_ = nullptr;
    if (head_ == nullptr) {
      head_ = &task;
    } else {
      tail_->next_ = &task;
    }
    tail_ = &task;
  }

  void PushFront(Task& task) {
    task.next_ = head_;
    if (head_ == nullptr) tail_ = &task;
    head_ = &task;
  }

  // Returns the front task, removed; nullptr if the queue is empty.
  Task* PopFront() {
    Task* task = head_;
    if (task == nullptr) return nullptr;
    head_ = task->next_;
    task->next_ = nullptr;
    return task;
  }

 private:
  Task* head_ = nullptr;
  Task* tail_ = nullptr;  // Meaningless while head_ is null.
};

class TaskDeque {
 public:
  void PushBack(Task& task) {
    task.next_ = nullptr;
    task.other_ = back_;
    (back_ == nullptr ? front_ : back_->next_) = &task;
    back_ = &task;
  }

  void PushFront(Task& task) {
    task.next_ = front_;
    task.other_ = nullptr;
    (front_ == nullptr ? back_ : front_->other_) = &task;
    front_ = &task;
  }

  // Both return nullptr if the deque is empty.
  Task* PopFront() {
    Task* const task = front_;
    if (task == nullptr) return nullptr;
    front_ = task->next_;
    (front_ == nullptr ? back_ : front_->other_) = nullptr;
    return task;
  }
  Task* PopBack() {
    Task* const task = back_;
    if (task == nullptr) return nullptr;
    back_ = task->other_;
    (back_ == nullptr ? front_ : back_->next_) = nullptr;
    return task;
  }

 private:
  Task* front_ = nullptr;
  Task* back_ = nullptr;
};

}  // namespace yamanote
