// context.h - where a suspended computation continues: its stack pointer.
//
// The switch saves what the ABI says a callee must preserve, on the stack it
// leaves, and nothing else: no signal mask, no floating-point control words (a
// task that changes rounding or exception masks must restore them before it
// blocks). 3-8 ns one way.
//
// Protocol (why a task may be made runnable before it has left its core):
//   1. A context that runs has sp == nullptr.
//   2. YamanoteSwitch() saves the registers. If `to->sp` is set (acquire), it clears
//      it, moves there, and publishes `from->sp` (release).
//   3. Else it moves to the free end of the core's base stack, publishes, and waits
//      there until `to->sp` is set.
// So a waker may enqueue a task whose core is still on its way from deciding to
// block to step 2: the core that picks it waits in step 3. Each core publishes
// before it waits, so two cores that swap tasks cannot wait for each other.
//
// A stack is published by who has left it: another core may run there at once, and the
// kernel may put a signal's frame below our stack pointer at any instruction.
// (Publishing first, from the stack itself, let handlers of the program's overwrite what
// another core had there: preempt_endurance died of it within a million preemptions.)

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
// its worker, which saves reading a thread-local. `base`: the core's base context, which is
// suspended unless it is `from`.
void* YamanoteSwitch(Context* from, Context* to, void* message,
                     const Context* base) noexcept;

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
