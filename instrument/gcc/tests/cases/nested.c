/* nested.c - what C has and C++ has not: nested functions, arrays of any length. */

#include <stdint.h>

static uint64_t apply(uint64_t (*function)(uint64_t), uint64_t n) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < n; ++i) sum = sum * 3 + function(i);
  return sum;
}

uint64_t case_nested(void) {
  __label__ out;
  uint64_t calls = 0;
  uint64_t words[calls + 17];
  uint64_t add(uint64_t value) {
    for (uint64_t i = 0; i < value % 9; ++i) words[(value + i) % 17] += i;
    if (++calls == 70) goto out;
    return words[value % 17] + calls;
  }
  for (uint64_t i = 0; i < 17; ++i) words[i] = i;
  uint64_t sum = apply(add, 40);
  sum += apply(add, 40);
  return sum;
out:
  for (uint64_t i = 0; i < 17; ++i) calls = calls * 5 + words[i];
  return calls;
}
