// guards.cc - functions that must not be preempted, and how they are left.

#include <cerrno>
#include <csetjmp>
#include <cstdint>
#include <cstdlib>

#include "instrument/gcc/tests/stand_in.h"

#ifdef YAMANOTE_PREEMPTIBLE
#define NO_PREEMPT __attribute__((yamanote_no_preempt))
#else
#define NO_PREEMPT
#endif

// noipa: a copy made for one argument could lose what is looked at here.
namespace {

thread_local uint64_t counter = 1;
jmp_buf out;

// Has probes of its own.
volatile uint64_t never = 0;

// Not counted, for it may end early: each round has a probe.
[[gnu::noipa]] uint64_t Loop(uint64_t rounds) {
  uint64_t value = rounds;
  for (uint64_t i = 0; i < rounds && never == 0; ++i) {
    value = value * 31 + (value >> 7);
  }
  return value;
}

[[gnu::noipa]] uint64_t Bump(uint64_t by) {
  for (uint64_t i = 0; i < 20; ++i) counter += Loop(by + i);
  return counter;
}

[[gnu::noipa]] uint64_t BumpTwice(uint64_t by) {
  counter += 1;
  Bump(by);
  stand_in_expect(stand_in_guard() != 0, "the inner guard dropped the outer");
  return Loop(by) + counter;
}

[[gnu::noipa]] void BumpAndJump(uint64_t by) {
  counter += Loop(by);
  std::longjmp(out, 1);
}

[[gnu::noipa]] uint64_t Throws(uint64_t by) {
  counter += Loop(by);
  if (by != 0) throw by;
  return counter;
}

}  // namespace

extern "C" uint64_t case_thread_local() {
  uint64_t result = Loop(5);
  for (uint64_t i = 1; i < 10; ++i) {
    result += stand_in_call_held(Bump, i);
    result += stand_in_call_held(BumpTwice, i);
    result += stand_in_call_given(Loop, i, i - 1);
  }
  return result;
}

extern "C" uint64_t case_longjmp() {
  volatile uint64_t rounds = 0;
  if (setjmp(out) == 0 || rounds < 9) {
    rounds = rounds + 1;
    BumpAndJump(rounds);
  }
  // The jump left the guard as it was; the first probe up here clears it.
  uint64_t result = 0;
  for (uint64_t i = 0; i < rounds * 50; ++i) {
    result = result * 5 + (result >> 3) + i;
  }
  stand_in_expect(stand_in_guard() == 0, "a guard outlived its frame");
  for (uint64_t by = 0; by < 4; ++by) {
    try {
      result += Throws(by);
    } catch (uint64_t thrown) {
      result += thrown;
    }
    for (uint64_t i = 0; i < by + 50; ++i) {
      result = result * 7 + (result >> 3);
    }
    result += stand_in_call_given(Loop, by + 50, 49);
  }
  return result;
}

namespace {

[[gnu::noipa]] uint64_t ParseAll(uint64_t rounds) {
  const char* const texts[] = {"1", "99999999999999999999999", "-5", "x"};
  uint64_t failed = 0;
  for (const char* text : texts) {
    errno = 0;
    (void)std::strtol(text, nullptr, 10);
    if (errno == ERANGE) ++failed;
    failed += Loop(rounds);
  }
  return failed;
}

uint64_t shared = 0;

// Would be inlined, and lose the attribute, if the plug-in did not see to it.
NO_PREEMPT inline uint64_t Marked(uint64_t n) {
  shared = n;
  shared += Loop(n);
  return shared;
}

[[gnu::noipa]] uint64_t CallsMarked(uint64_t n) { return Marked(n) + 1; }

[[gnu::noipa]] uint64_t Helper(uint64_t* value, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) *value = *value * 3 + i;
  return *value;
}

// If the call became a jump, it would run without the guard.
[[gnu::noipa]] uint64_t TailCaller(uint64_t n) { return Helper(&counter, n); }

// A function with an argument area of its own, and two ways out.
[[gnu::noipa]] uint64_t TwoReturns(uint64_t n) {
  if (n > 40) return Loop(n) + counter;
  counter += n;
  for (uint64_t i = 0; i < n; ++i) counter ^= Loop(i);
  return counter;
}

}  // namespace

extern "C" uint64_t case_errno() {
  return Loop(9) + stand_in_call_held(ParseAll, 12);
}

extern "C" uint64_t case_attribute() {
  uint64_t result = Loop(4);
  for (uint64_t i = 1; i < 5; ++i) {
    result += stand_in_call_held(Marked, i * 20);
    result += CallsMarked(i);
    result += stand_in_call_given(Loop, i * 20, i * 20 - 1);
  }
  return result;
}

extern "C" uint64_t case_tail_call() {
  return Loop(4) + stand_in_call_held(TailCaller, 500) +
         stand_in_call_held(TwoReturns, 41) +
         stand_in_call_held(TwoReturns, 40);
}
