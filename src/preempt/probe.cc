// probe.cc - the part of a probe that is C++: errno, and whom to ask.

#include "preempt/probe.h"

#include <cpuid.h>
#include <xmmintrin.h>

#include <atomic>
#include <cerrno>

#include "preempt/flag.h"
#include "yamanote/preempt.h"

namespace yamanote::preempt {

extern "C" {
uint8_t yamanote_preempt_vectors = 0;
void yamanote_preempt_hit();
}

namespace {

// Release in SetHandler() pairs with acquire in yamanote_preempt_hit().
std::atomic<Handler> g_handler{nullptr};

// Functions of their own, because the compiler takes errno's address for a
// constant, and a task may go on on another kernel thread.
[[gnu::noinline]] int ReadErrno() {
  asm volatile("");  // Nothing that is known at compile time.
  return errno;
}
[[gnu::noinline]] void WriteErrno(int value) {
  asm volatile("");
  errno = value;
}

}  // namespace

[[gnu::noinline]] ThreadState& OwnState() {
  asm volatile("");
  return yamanote_preempt_state;
}

ThreadState& AdoptThread() {
  ThreadState& state = OwnState();
  state.mxcsr = _mm_getcsr();
  return state;
}

// All registers are saved; the task's stack pointer was that of an interrupted
// function.
void yamanote_preempt_hit() {
  const Handler handler = g_handler.load(std::memory_order_acquire);
  if (handler == nullptr) {
    Answer(OwnState());
    return;
  }
  const int saved = ReadErrno();
  handler();
  WriteErrno(saved);
}

Vectors BestVectors() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned kOsXsave = 1U << 27;
  constexpr unsigned kAvx = 1U << 28;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 ||
      (ecx & (kOsXsave | kAvx)) != (kOsXsave | kAvx)) {
    return Vectors::kFxsave;
  }
  constexpr unsigned kXgetbvInUse = 1U << 2;
  if (__get_cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx) == 0)
    return Vectors::kXsave;
  return (eax & kXgetbvInUse) != 0 ? Vectors::kInUse : Vectors::kXsave;
}

void UseVectors(Vectors vectors) {
  yamanote_preempt_vectors = static_cast<uint8_t>(vectors);
}

void SetHandler(Handler handler) {
  UseVectors(BestVectors());
  g_handler.store(handler, std::memory_order_release);
}

}  // namespace yamanote::preempt

namespace yamanote::detail {

void DisablePreemption() noexcept { ++preempt::OwnState().disabled; }

void EnablePreemption() noexcept {
  if (--preempt::OwnState().disabled == 0) Probe();
}

}  // namespace yamanote::detail
