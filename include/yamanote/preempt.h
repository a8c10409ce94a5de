// preempt.h - where a task may be preempted, and where not.
//
// Code that is compiled with probes (yamanote_preemptible() in CMake, see
// docs/probes.md) gives way at any function entry and loop when its slice is over
// and something waits. Code that is not (libraries, libc, RocksDB) is never
// preempted, so its locks and thread-local data are safe by construction.
//
//   {
//     yamanote::NoPreempt guard;    // This scope runs in one go.
//     shared_buffer.push_back(x);   // E.g. data that all tasks of a core share.
//   }
//   yamanote::CallSafe([&] { LegacyCallback(); });
//
//   YAMANOTE_INTERRUPTIBLE void Multiply(...) { ... }   // Without probes.
//
// A whole function:  YAMANOTE_NO_PREEMPT void Update() { ... }
//
// docs/preemption-safety.md says what is safe without any of these.

#pragma once

#include <utility>

#include "yamanote/result.h"

// A function with this attribute has no probes, and neither it nor what it calls
// is preempted while it runs. Nothing, and nothing needed, where the file is not
// compiled with probes: but then functions that it calls may be preempted, if they
// are; use NoPreempt there.
#if !defined(YAMANOTE_PREEMPTIBLE)
#define YAMANOTE_NO_PREEMPT
#elif defined(__clang__)
#define YAMANOTE_NO_PREEMPT [[clang::annotate("yamanote_no_preempt")]]
#else
#define YAMANOTE_NO_PREEMPT __attribute__((yamanote_no_preempt))
#endif

// A function without probes that a signal or a user interrupt may stop at any
// instruction (Mechanism::kSignal), when it does not give way otherwise: a long
// loop that some other compiler makes. Not what it calls, unless that is inlined
// into it or marked too. It must use neither a thread_local nor errno: it may go
// on on another kernel thread with the first one's address in a register. The program
// must link yamanote::locks, as yamanote_preemptible() does: a caller may hold a
// std::mutex. Else such code is never stopped (Runtime::mechanism()).
#define YAMANOTE_INTERRUPTIBLE \
  __attribute__((section("yamanote_interruptible"), noinline))

namespace yamanote {

// The same for the code between two addresses, of a function from elsewhere.
// Before Runtime::Create(), which looks whether there is any; never taken back.
// kInvalidArgument, kResourceExhausted (64 ranges). Any thread.
Result<void> AddInterruptible(const void* begin, const void* end);

namespace detail {
void DisablePreemption() noexcept;
void EnablePreemption() noexcept;
}  // namespace detail

// A probe by hand, for code that the plug-ins do not compile: gives way if this
// core was asked to. Costs a compare and a branch that is not taken. Any thread;
// no effect where nobody asks. Not with a std::mutex held, unless the program links
// yamanote::locks. It keeps every register: this function may be inlined into one
// that is compiled for other processors.
inline void Probe() noexcept {
#if defined(__x86_64__)
  // The bytes: testb $0xe7, %al; subq $-128, %rsp; jmp 2b. The runtime reads them, so
  // no assembler may put anything between.
#if defined(__PIC__) && !defined(__PIE__)
  unsigned long offset;
  asm volatile(
      "movq yamanote_preempt_flag@gottpoff(%%rip), %0\n\t"
      "cmpb $0, %%fs:(%0)\n\t"
      "jne 1f\n"
      "2:\n\t"
      ".subsection 1\n"
      "1:\n\t"
      "leaq -128(%%rsp), %%rsp\n\t"
      "call *yamanote_preempt_probe@gotpcrel(%%rip)\n\t"
      ".byte 0xa8, 0xe7, 0x48, 0x83, 0xec, 0x80, 0xe9\n\t"
      ".long 2b - . - 4\n\t"
      ".previous"
      : "=&r"(offset)
      :
      : "cc");
#else
  asm volatile(
      "cmpb $0, %%fs:yamanote_preempt_flag@tpoff\n\t"
      "jne 1f\n"
      "2:\n\t"
      ".subsection 1\n"
      "1:\n\t"
      "leaq -128(%%rsp), %%rsp\n\t"
      "call yamanote_preempt_probe\n\t"
      ".byte 0xa8, 0xe7, 0x48, 0x83, 0xec, 0x80, 0xe9\n\t"
      ".long 2b - . - 4\n\t"
      ".previous" ::
          : "cc");
#endif
#endif
}

// While one lives, the task that made it is not preempted. Nests. It belongs to
// the task, so the task may block meanwhile, and take it along to another core
// (whatever that protects: see docs/preemption-safety.md). Must end on the task
// that made it. Any thread; no effect outside of tasks. Costs 2 ns.
class [[nodiscard]] NoPreempt {
 public:
  NoPreempt() noexcept { detail::DisablePreemption(); }
  ~NoPreempt() { detail::EnablePreemption(); }
  NoPreempt(const NoPreempt&) = delete;
  NoPreempt& operator=(const NoPreempt&) = delete;
};

// Calls `function` without preemption and returns what it returns. Source:
// call_safe() of Kaffes et al., "Shinjuku", NSDI 2019.
template <typename F>
decltype(auto) CallSafe(F&& function) {
  const NoPreempt guard;
  return std::forward<F>(function)();
}

}  // namespace yamanote
