// task.h - the unit that policies order: a request, a user thread, a native
// thread or a simulated job.
//
// A policy reads what is known about the task (class, arrival, deadline, service
// it has had) and may keep three words of its own in it. Everything else about the
// task - stack, connection, kernel thread - belongs to the engine that runs it.

#pragma once

#include <array>
#include <cstdint>

#include "yamanote/time.h"

namespace yamanote {

namespace dispatch {
class TaskInbox;
}

// A core's index within the runtime: 0 .. cores-1. Not the operating system's
// CPU number; base/topology.h maps one to the other.
using CoreId = uint32_t;
inline constexpr CoreId kNoCore = UINT32_MAX;

// A request class's index in the configuration: 0 is the default class.
using ClassId = uint16_t;

// Why a task became runnable.
enum class Wake : uint8_t {
  kArrival,    // New: a request was admitted, a thread was spawned.
  kWakeup,     // What it blocked on happened.
  kPreempted,  // Its slice ended while something waited.
  kYield,      // It gave way by itself.
  kMigrated,   // A thief moved it here from another domain.
};

// Why a task left its core.
enum class Stop : uint8_t { kFinished, kBlocked, kPreempted, kYielded };

// The fields are grouped by who writes them. None is atomic: a task is owned by
// exactly one party at a time (its domain while it waits, its core while it
// runs), and ownership passes through the domain's lock.
class Task {
 public:
  Task() = default;
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;

  // Written by the engine before the first Enqueue(); constant afterwards.
  uint64_t id = 0;
  Instant arrival{};          // When the system first knew of it.
  Instant deadline = kNever;  // When it should have finished.
  ClassId request_class = 0;
  uint16_t weight = 1;  // Share relative to others; 1 is normal. 1 .. 10000.

  // Written by the engine while the task does not run.
  CoreId last_core = kNoCore;  // Where it last ran.
  Duration attained{0};        // Service so far. Kept only for policies that
                               // declare ClockUse::kRunTime; else zero.
  uint32_t quanta = 0;         // Times it gave way and waited on; saturates.
                               // Kept by a two-level placement only; else zero.

  // The policy's own, as policy_words below, but on the line that all orders touch.
  uint32_t policy_count = 0;

 private:
  friend class TaskQueue;
  friend class TaskDeque;
  template <typename Before>
  friend class TaskHeap;
  friend class dispatch::TaskInbox;

  Task* next_ = nullptr;   // Queue successor, heap sibling or inbox link.
  Task* other_ = nullptr;  // Deque: predecessor. Heap: last child.

 public:
  // Owned by the policy from Enqueue() to the end of OnStop(). Last, so that what
  // precedes is one cache line: an order without words of its own touches no other.
  std::array<uint64_t, 2> policy_words{};
};

}  // namespace yamanote
