// timeline.h - what each core does next, and which of them is first.
//
// A tournament: the leaves are the cores' next events, each node above has the earlier
// of its two. Changing one event costs the tree's height, whatever the number of
// requests; the first one is read at the root. Of equal times the lowest core is first:
// time and core are one number, of which the least wins.

#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::sim {

class Timeline {
 public:
  static constexpr unsigned kCoreBits = 12;
  // The last time that there is: 26 days.
  static constexpr Instant kEnd{Duration((int64_t{1} << (63 - kCoreBits)) - 1)};

  // Nothing happens on any of `cores`, 1 .. 2^kCoreBits.
  explicit Timeline(unsigned cores)
      : leaves_(std::bit_ceil(cores)), nodes_(2 * std::size_t{leaves_}) {
    for (unsigned i = 0; i < leaves_; ++i) nodes_[leaves_ + i] = Pack(i, kEnd);
    for (unsigned i = leaves_ - 1; i >= 1; --i)
      nodes_[i] = std::min(nodes_[2 * i], nodes_[2 * i + 1]);
  }

  // `core`'s next event, before kEnd; kNever: none.
  void Set(CoreId core, Instant when) {
    YAMANOTE_CHECK(when < kEnd || when == kNever,
                   "the simulated time is longer than 26 days");
    std::size_t i = leaves_ + core;
    uint64_t first = Pack(core, std::min(when, kEnd));
    nodes_[i] = first;
    while (i > 1) {
      first = std::min(first, nodes_[i ^ 1]);
      i /= 2;
      nodes_[i] = first;
    }
  }

  // kNever: nothing happens any more.
  Instant FirstTime() const {
    const Instant first{Duration(static_cast<int64_t>(nodes_[1] >> kCoreBits))};
    return first == kEnd ? kNever : first;
  }
  CoreId FirstCore() const {
    return static_cast<CoreId>(nodes_[1] & ((1U << kCoreBits) - 1));
  }

 private:
  static uint64_t Pack(CoreId core, Instant when) {
    return static_cast<uint64_t>(ToNanos(when)) << kCoreBits | core;
  }

  const unsigned leaves_;
  std::vector<uint64_t>
      nodes_;  // [1] is the root, the leaves are the second half.
};

}  // namespace yamanote::sim
