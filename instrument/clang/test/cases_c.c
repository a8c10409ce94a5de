// cases_c.c - what C programs do around probes; see main.cc.

#include <alloca.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>

#include "instrument/clang/test/stand_in.h"

#define NOINLINE __attribute__((noinline))

static NOINLINE uint64_t Mix(uint64_t seed, uint64_t n) {
  for (uint64_t i = 0; i < n; ++i) {
    seed = (seed ^ i) * 0x9e3779b97f4a7c15ULL;
    __asm__ volatile("" : "+r"(seed));
  }
  return seed;
}

static jmp_buf g_out;
static _Thread_local volatile uint64_t t_value;

static NOINLINE void Jump(uint64_t depth) {
  if (Mix(depth, 3) == 0 || depth == 0) longjmp(g_out, 7);
  Jump(depth - 1);
  Mix(depth, 1);
}

uint64_t case_longjmp(uint64_t n) {
  volatile uint64_t sum = 0;
  for (volatile uint64_t i = 0; i < n; ++i) {
    const int came = setjmp(g_out);
    if (came == 0) Jump(i % 7);
    sum = sum * 5 + (uint64_t)came;
  }
  return sum;
}

static NOINLINE void JumpGuarded(uint64_t depth) {
  t_value = depth;
  g_stand_in.expect_guarded = 1;
  Jump(depth);
}

// A jump leaves the guard behind, until the next probe further up.
uint64_t case_longjmp_guarded(uint64_t n) {
  volatile uint64_t sum = 0;
  for (volatile uint64_t i = 0; i < n; ++i) {
    const int came = setjmp(g_out);
    if (came == 0) JumpGuarded(i % 7);
    g_stand_in.expect_guarded = -1;
    for (uint64_t k = 0; k < n; ++k) sum = sum * 5 + (uint64_t)came;
    g_stand_in.expect_guarded = 0;
    sum += Mix(sum, 2);
    g_stand_in.expect_guarded = -1;
  }
  return sum;
}

// An interpreter: computed gotos, and a cycle with two ways in.
uint64_t case_goto(uint64_t n) {
  static const void* const kSteps[] = {&&add, &&twist, &&skip, &&test};
  uint64_t state = n & 1;
  uint64_t left = n;
  if (state != 0) goto middle;
top:
  state = state * 3 + 1;
middle:
  state ^= state >> 3;
  __asm__ volatile("" : "+r"(state));
  if (state % 11 != 4 && left-- > n / 2) goto top;
next:
  goto* kSteps[(state >> 5) & 3];
add:
  state += 0x1234567;
  if (left == 0) return state;
  --left;
  goto next;
twist:
  state = (state << 9) ^ (state >> 55) ^ left;
  if (left < 2) return state;
  left -= 2;
  goto next;
skip:
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  goto next;
test:
  if (left == 0) return state ^ 1;
  --left;
  state += 0x9876543;
  goto next;
}

uint64_t case_alloca(uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 1; i < n; ++i) {
    uint64_t array[i];
    char* text = alloca(i);
    memset(text, (int)i, i);
    for (uint64_t k = 0; k < i; ++k) array[k] = Mix(k, 1) + (uint64_t)text[k];
    for (uint64_t k = 0; k < i; ++k) sum += array[k] * (k + 1);
  }
  return sum;
}

uint64_t case_switch(uint64_t n) {
  uint64_t state = 1;
  for (uint64_t i = 0; i < n; ++i) {
    switch (state % 9) {
      case 0: state += 5; break;
      case 1: state = Mix(state, 1); break;
      case 2: state ^= i; continue;
      case 3: state = state * 7 + 1; break;
      case 4: state -= i; continue;
      case 5: state = (state >> 1) | (state << 63); break;
      case 6: state += Mix(i, 2); break;
      default: state += 3;
    }
    state ^= state >> 7;
  }
  return state;
}

// Four numbers live in the x87 registers throughout.
uint64_t case_x87(uint64_t n) {
  long double a = 1;
  long double b = 2;
  long double c = 0.5L;
  long double d = 3;
  for (uint64_t i = 0; i < n; ++i) {
    a = a * 0.75L + b;
    b = b * 0.5L + c;
    c = c * 0.25L + d;
    d = (a + b) * 0.125L;
  }
  const long double sum = a + b + c + d;
  uint64_t bits;
  memcpy(&bits, &sum, sizeof bits);
  return bits;
}

static NOINLINE uint64_t Even(uint64_t n, uint64_t sum);
static NOINLINE uint64_t Odd(uint64_t n, uint64_t sum) {
  if (n == 0) return sum;
  __attribute__((musttail)) return Even(n - 1, sum * 3);
}
// Guarded, and must not be left guarded by its tail call.
static NOINLINE uint64_t Even(uint64_t n, uint64_t sum) {
  if (n == 0) return sum;
  t_value = n;
  __attribute__((musttail)) return Odd(n - 1, sum + t_value);
}
uint64_t case_musttail(uint64_t n) {
  const uint64_t sum = Odd(n, 1);
  g_stand_in.expect_guarded = 0;
  const uint64_t mixed = Mix(sum, 3);
  g_stand_in.expect_guarded = -1;
  return mixed;
}

// Loops that are cut into strips: any length, up, down, and round the end.
#define COUNT(name, type, step, value)                       \
  static NOINLINE uint64_t name(type from, type to) {        \
    uint64_t sum = 1;                                        \
    do {                                                     \
      sum = sum * 31 + (uint64_t)(value);                    \
      __asm__ volatile("" : "+r"(sum));                      \
      from += (step);                                        \
    } while (from != to);                                    \
    return sum;                                              \
  }
COUNT(CountUp, uint32_t, 1, from)
COUNT(CountDown, uint64_t, -1, from)
COUNT(CountFives, uint32_t, 5, from)
COUNT(CountPointers, const char*, 3, *from)
COUNT(CountPointersDown, const char*, -1, *from)

uint64_t case_strips(uint64_t n) {
  static const char kArray[4096];
  uint64_t sum = 0;
  for (uint32_t i = 1; i < n; ++i) {
    const uint32_t high = UINT32_MAX - 50;
    sum = sum * 7 + CountUp(3, 3 + i) + CountUp(high, high + i);
    sum = sum * 7 + CountDown(i + 5, 5) + CountDown(i / 2, (uint64_t)i / 2 - i);
    sum = sum * 7 + CountFives(high, high + 5 * i);
    sum = sum * 7 + CountPointers(kArray, kArray + 3 * i);
    sum = sum * 7 + CountPointersDown(kArray + i, kArray);
  }
  return sum;
}
