// strip_search.h - which loops can be cut into strips, and how; see strip.h.

#ifndef YAMANOTE_INSTRUMENT_GCC_STRIP_SEARCH_H_
#define YAMANOTE_INSTRUMENT_GCC_STRIP_SEARCH_H_

#include <optional>

#include "instrument/gcc/facts.h"

namespace yamanote::instrument {

struct Strip {
  class loop* loop = nullptr;
  edge stay = nullptr;   // From the exit test to the header.
  edge leave = nullptr;  // From the exit test.
  gphi* counter = nullptr;
  tree tested = NULL_TREE;  // What the exit test compares
  tree bound = NULL_TREE;   // with what the loop does not change.
  bool tests_next = false;  // `tested` is of the counter's next value.
  HOST_WIDE_INT step = 0;
  int rounds = 0;
};

// Says how `loop` can be cut; nothing if it cannot, or would gain too little.
std::optional<Strip> FindStrip(class loop* loop);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_GCC_STRIP_SEARCH_H_
