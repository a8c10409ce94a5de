// timeline.h - what each core does next, and which of them is first.
//
// A tournament: the leaves are the cores' next events, each node above has the earlier
// of its two. Changing one event costs the tree's height, whatever the number of
// requests; the first one is read at the root. Of equal times the lowest core is first.

#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::sim {

class Timeline {
 public:
  // Nothing happens on any of `cores`, >= 1.
  explicit Timeline(unsigned cores)
      : leaves_(std::bit_ceil(cores)), nodes_(2 * std::size_t{leaves_}) {
    for (unsigned i = 0; i < leaves_; ++i)
      nodes_[leaves_ + i] = {.when = kNever, .core = i};
    for (unsigned i = leaves_ - 1; i >= 1; --i)
      nodes_[i] = Earlier(nodes_[2 * i], nodes_[2 * i + 1]);
  }

  // `core`'s next event; kNever: none.
  void Set(CoreId core, Instant when) {
    std::size_t i = leaves_ + core;
    nodes_[i].when = when;
    while (i > 1) {
      i /= 2;
      nodes_[i] = Earlier(nodes_[2 * i], nodes_[2 * i + 1]);
    }
  }

  Instant At(CoreId core) const { return nodes_[leaves_ + core].when; }

  Instant FirstTime() const { return nodes_[1].when; }
  CoreId FirstCore() const { return nodes_[1].core; }

 private:
  struct Node {
    Instant when;
    CoreId core = 0;
  };
  static const Node& Earlier(const Node& left, const Node& right) {
    return right.when < left.when ? right : left;
  }

  const unsigned leaves_;
  std::vector<Node> nodes_;  // [1] is the root, the leaves are the second half.
};

}  // namespace yamanote::sim
