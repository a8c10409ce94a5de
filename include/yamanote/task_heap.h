// task_heap.h - an intrusive priority queue of tasks, first-in first-out among
// equals.
//
// A pairing heap. Links live in the tasks, so no operation allocates or fails.
// Push is O(1), Pop O(log n) amortised and O(n) at worst. A task's key must not
// change while it is in the heap. Not thread-safe: the domain's lock guards it.
//
// Why equals leave in order without a sequence number: every subtree holds the
// pushes of one unbroken stretch of time (its root aside), and a node's children
// are kept youngest first. Melding only ever joins neighbouring stretches; the
// older root wins a tie, and the loser becomes the winner's first child if it is
// the younger, its last child if it is the older.
//
// Source: Fredman, Sedgewick, Sleator and Tarjan, "The pairing heap: a new form
// of self-adjusting heap", Algorithmica 1, 1986 (two-pass variant).

#pragma once

#include "yamanote/task.h"

namespace yamanote {

// `Before` is a stateless strict weak order: Before()(a, b) if `a` leaves first.
template <typename Before>
class TaskHeap {
 public:
  bool Empty() const { return root_ == nullptr; }

  // Returns the task that Pop() would return, nullptr if there is none.
  Task* Top() const { return root_; }

  void Push(Task& task) {
    task.next_ = nullptr;
    task.other_ = nullptr;
    root_ = root_ == nullptr ? &task : Meld(*root_, task);
  }

  // Returns the first task, removed; nullptr if the heap is empty.
  Task* Pop() {
    Task* const top = root_;
    if (top == nullptr) return nullptr;
    root_ = MeldChildren(*top);
    top->other_ = nullptr;
    return top;
  }

 private:
  // Children form a ring: other_ is the last (oldest), its next_ the first
  // (youngest), so that both ends are one step away.

  // Returns the root of both trees; everything in `older` was pushed first.
  static Task* Meld(Task& older, Task& younger) {
    if (Before()(younger, older)) {
      AddChild(younger, older);
      younger.other_ = &older;  // The oldest child is the last.
      return &younger;
    }
    AddChild(older, younger);
    return &older;
  }

  // Puts `child` in front of the ring's first node.
  static void AddChild(Task& parent, Task& child) {
    if (parent.other_ == nullptr) {
      child.next_ = &child;
      parent.other_ = &child;
    } else {
      child.next_ = parent.other_->next_;
      parent.other_->next_ = &child;
    }
  }

  // Makes one tree of the children of `parent`: neighbours in pairs from the
  // youngest on, then all pairs from the oldest back.
  static Task* MeldChildren(Task& parent) {
    Task* const last = parent.other_;
    if (last == nullptr) return nullptr;
    Task* child = last->next_;
    last->next_ = nullptr;
    Task* pairs = nullptr;  // A stack: the oldest pair on top.
    while (child != nullptr) {
      Task* const younger = child;
      Task* const older = younger->next_;
      child = older == nullptr ? nullptr : older->next_;
      Task* const pair = older == nullptr ? younger : Meld(*older, *younger);
      pair->next_ = pairs;
      pairs = pair;
    }
    Task* root = pairs;  // Not null: there was a child.
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference)
    for (Task* pair = root->next_; pair != nullptr;) {
      Task* const rest = pair->next_;
      root = Meld(*root, *pair);
      pair = rest;
    }
    root->next_ = nullptr;
    return root;
  }

  Task* root_ = nullptr;
};

}  // namespace yamanote
