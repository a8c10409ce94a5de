// side.h - what each of the two kinds of units does with the same functions.

#ifndef YAMANOTE_INSTRUMENT_GCC_TESTS_COPIES_SIDE_H_
#define YAMANOTE_INSTRUMENT_GCC_TESTS_COPIES_SIDE_H_

#include <cstdint>

struct Use {
  const char* name;
  uint64_t (*run)(uint64_t n);
  bool crosses = false;  // May run the other kind's copy.
};

struct Side {
  const Use* begin;
  const Use* end;
  const uint64_t* initialised;
  uint64_t* (*counter)();
};

extern const Side without_probes;
extern const Side with_probes;

#endif  // YAMANOTE_INSTRUMENT_GCC_TESTS_COPIES_SIDE_H_
