// inject.h - has an interrupted thread call the probe's code where it stands.
//
// For handlers: general registers only, because a user interrupt saves no others.

#pragma once

#include <cstdint>

#include "preempt/flag.h"

// For functions that handlers of user interrupts call. (GCC's builds alone have any.)
#if defined(__GNUC__) && !defined(__clang__)
#define YAMANOTE_GENERAL_REGISTERS [[gnu::target("general-regs-only")]]
#else
#define YAMANOTE_GENERAL_REGISTERS
#endif

namespace yamanote::preempt {

// The task that the calling kernel thread runs.
struct RunningTask {
  const char* name = nullptr;  // nullptr: none.
  uint64_t id = 0;
  uintptr_t stack_bottom = 0;
};

// Has the interrupted thread, which would go on at `ip` with stack pointer `sp`,
// call the probe's code first, if it runs `task` in interruptible code that no
// guard protects, its flag is set, and there is room on the stack.
void InjectProbe(uintptr_t& ip, uintptr_t& sp, const RunningTask& task);

// True if the code at `address` may be interrupted. Async-signal-safe.
bool IsInterruptible(uintptr_t address);
// Any code of the program may.
bool HasInterruptible();
// False: there is no room for another range. Any thread.
bool AddRange(uintptr_t begin, uintptr_t end);

}  // namespace yamanote::preempt
