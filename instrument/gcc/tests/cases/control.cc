// control.cc - unusual ways through a function.

#include <alloca.h>
#include <unwind.h>

#include <csetjmp>
#include <cstdint>
#include <cstring>

#include "instrument/gcc/tests/stand_in.h"

namespace {

// Makes a loop one that is not counted, for it may end early.
volatile uint64_t never = 0;

[[gnu::noinline]] uint64_t Interpret(const unsigned char* code, uint64_t n) {
  uint64_t value = 1;
  for (uint64_t at = 0; at < n; ++at) {
    switch (code[at]) {
      case 0:
        value += 3;
        break;
      case 1:
        value *= 5;
        break;
      case 2:
        value ^= value >> 3;
        break;
      case 3:
        value = ~value;
        break;
      case 4:
        value -= at;
        break;
      case 5:
        value = (value << 7) | (value >> 57);
        break;
      case 6:
        at += value & 1;
        break;
      default:
        return value;
    }
  }
  return value;
}

// Two ways into the loop, so neither block is its head.
[[gnu::noinline]] uint64_t TwoEntries(uint64_t n, bool second) {
  uint64_t value = n;
  if (second) goto middle;
top:
  value = value * 3 + 1;
  if (n % 5 == 2) value ^= n;
middle:
  value += value >> 5;
  if (n-- != 0 && never == 0) goto top;
  return value;
}

}  // namespace

extern "C" uint64_t case_switch() {
  unsigned char code[211];
  for (uint64_t i = 0; i < sizeof(code); ++i) {
    code[i] = static_cast<unsigned char>(i * i % 7);
  }
  return Interpret(code, sizeof(code)) + Interpret(code + 5, 100);
}

extern "C" uint64_t case_irreducible() {
  return stand_in_call_given([](uint64_t n) { return TwoEntries(n, false); },
                             100, 100) ^
         stand_in_call_given([](uint64_t n) { return TwoEntries(n, true); }, 77,
                             76);
}

__extension__ extern "C" uint64_t case_computed_goto() {
  static void* const targets[] = {&&add, &&multiply, &&mix, &&end};
  uint64_t value = 1;
  uint64_t at = 0;
  goto* targets[0];
add:
  value += 7;
  goto* targets[++at % 2 + 1];
multiply:
  value *= 3;
  goto* targets[++at % 3];
mix:
  value ^= value >> 4;
  if (++at > 300) goto* targets[3];
  goto* targets[(value ^ at) & 1];
end:
  return value;
}

namespace {

[[gnu::noinline]] uint64_t OnStack(uint64_t n) {
  auto* bytes = static_cast<unsigned char*>(alloca(n));
  std::memset(bytes, static_cast<int>(n), n);
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) {
    auto* more = static_cast<unsigned char*>(alloca(1 + i % 3));
    more[0] = static_cast<unsigned char>(bytes[i] + i);
    sum = sum * 31 + more[0];
  }
  return sum;
}

jmp_buf start;

[[gnu::noinline]] void Deep(uint64_t depth) {
  for (uint64_t i = 0; i < 5; ++i) {
    if (depth == 0 && i == 3) longjmp(start, 1);
    if (depth != 0) Deep(depth - 1);
  }
}

[[gnu::noinline, gnu::cold]] uint64_t Rare(uint64_t n) {
  uint64_t value = n;
  for (uint64_t i = 0; value % 97 != 5 && i < 300; ++i) value = value * 3 + i;
  return value;
}

[[gnu::noinline]] uint64_t HotAndCold(uint64_t n) {
  uint64_t value = 0;
  for (uint64_t i = 0; i < n; ++i) {
    value = value * 7 + i;
    if (__builtin_expect(value % 64 == 9, 0)) {
      value += Rare(i);
      for (uint64_t k = 0; k < 40 + (value & 7); ++k) value ^= value << 1;
      if (value == 0) throw n;
    }
  }
  return value;
}

}  // namespace

extern "C" uint64_t case_alloca() {
  uint64_t result = 0;
  for (uint64_t i = 1; i < 60; i += 7) result = result * 3 + OnStack(i);
  return result;
}

extern "C" uint64_t case_setjmp() {
  volatile uint64_t rounds = 0;
  uint64_t result = 0;
  for (volatile int i = 0; i < 4;) {
    i = i + 1;
    if (setjmp(start) == 0) {
      rounds = rounds + 1;
      Deep(6);
    }
    rounds = rounds * 5 + 1;
  }
  for (uint64_t i = 0; i < 50; ++i) result = result * 3 + rounds + i;
  return result;
}

extern "C" uint64_t case_cold() { return HotAndCold(900); }

namespace {

struct Frames {
  uintptr_t functions[3];
  unsigned found;
};

// The functions below, from the inside out, one after the other.
_Unwind_Reason_Code Match(_Unwind_Context* context, void* data) {
  auto* frames = static_cast<Frames*>(data);
  void* function = _Unwind_FindEnclosingFunction(
      reinterpret_cast<void*>(_Unwind_GetIP(context)));
  if (frames->found < 3 && frames->functions[frames->found] ==
                               reinterpret_cast<uintptr_t>(function)) {
    ++frames->found;
  }
  return _URC_NO_REASON;
}

// Each round has a probe.
[[gnu::noipa]] uint64_t Inner(uint64_t n) {
  uint64_t value = n;
  for (uint64_t i = 0; i < n && never == 0; ++i) {
    value = value * 3 + (value >> 2);
  }
  return value;
}
[[gnu::noipa]] uint64_t Middle(uint64_t n) { return Inner(n) + 1; }
[[gnu::noipa]] uint64_t Outer(uint64_t n) { return Middle(n + 1) * 2; }

volatile uint64_t matched = 0;

void Observe(uintptr_t) {
  Frames frames = {{reinterpret_cast<uintptr_t>(&Inner),
                    reinterpret_cast<uintptr_t>(&Middle),
                    reinterpret_cast<uintptr_t>(&Outer)},
                   0};
  _Unwind_Backtrace(Match, &frames);
  if (frames.found == 3) matched = matched + 1;
}

}  // namespace

extern "C" uint64_t case_backtrace() {
  stand_in_observer = Observe;
  const uint64_t result = Outer(60);
  stand_in_observer = nullptr;
  stand_in_expect(matched >= 60, "the callers of an interrupted loop are lost");
  return result;
}
