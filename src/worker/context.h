// context.h - where a suspended computation continues: its stack pointer.
//
// The switch saves what the ABI says a callee must preserve, on the stack it
// leaves, and nothing else: no signal mask, no floating-point control words (a
// task that changes rounding or exception masks must restore them before it
// blocks). 3-8 ns one way.
//
// Protocol (why a task may be made runnable before it has left its core):
//   1. A context that runs has sp == nullptr.
//   2. YamanoteSwitch() saves the registers, then publishes `from->sp`
//      (release) and does not touch that stack again.
//   3. It waits until `to->sp` is set (acquire), clears it and continues there.
// So a waker may enqueue a task whose core is still on its way from deciding to
// block to step 2: the core that picks it waits in step 3. Each core publishes
// before it waits, so two cores that swap tasks cannot wait for each other.

#pragma once

namespace yamanote::worker {

struct Context {
  // Not std::atomic: read and written by the assembly alone, which on x86-64
  // needs plain moves for release and acquire.
  void* sp = nullptr;
};

extern "C" {

// Suspends the caller in `from` and continues `to`, where its own call returns
// `message`. So it returns what whoever continues the caller one day passes:
// its worker, which saves reading a thread-local.
void* YamanoteSwitch(Context* from, Context* to, void* message) noexcept;

// Suspends the caller in `from` and calls `entry(argument)` on the stack that
// ends at `stack_top` (16-byte aligned). `entry` must not return. Returns the
// message of whoever continues the caller.
void* YamanoteStart(Context* from, void* stack_top, void (*entry)(void*),
                    void* argument) noexcept;

// Continues `to`, where its call returns `message`; the caller's stack is
// abandoned.
[[noreturn]] void YamanoteJump(Context* to, void* message) noexcept;

}  // extern "C"

}  // namespace yamanote::worker
