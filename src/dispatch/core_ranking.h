// core_ranking.h - the best of many cores, without a look at each.
//
// For one thread that makes all calls (Callers::kOneThread): a simulated machine has
// thousands of cores. Rejected where each core has its own thread: whatever one of them
// does would write lines that all read, and of 256 cores at most a look at each costs
// less.
//
// A tournament: the leaves are the cores' keys, each node above has the better of its
// two, the lower core among equals. A change costs the tree's height at most.

#pragma once

#include <algorithm>
#include <bit>
#include <compare>
#include <cstdint>
#include <vector>

#include "yamanote/task.h"

namespace yamanote::dispatch {

// Of fewer cores a look at each costs less: 16 that join the shortest queue simulate an
// eighth slower when they are ranked (2-vCPU Cascade Lake VM, 2026-11-27).
inline constexpr unsigned kLeastRanked = 64;

// `Key`: totally ordered; the least is the best.
template <typename Key>
class CoreRanking {
 public:
  // All of `cores`, >= 1, have the key `worst`: no other is worse.
  CoreRanking(unsigned cores, Key worst)
      : leaves_(std::bit_ceil(cores)), nodes_(2 * std::size_t{leaves_}) {
    for (unsigned i = 0; i < leaves_; ++i) nodes_[leaves_ + i] = {worst, i};
    for (unsigned i = leaves_ - 1; i >= 1; --i) nodes_[i] = nodes_[2 * i];
  }

  void Set(CoreId core, Key key) {
    std::size_t i = leaves_ + core;
    if (nodes_[i].key == key) return;
    nodes_[i].key = key;
    for (i /= 2; i >= 1; i /= 2) {
      const Node& better = Better(nodes_[2 * i], nodes_[2 * i + 1]);
      if (nodes_[i] == better) return;
      nodes_[i] = better;
    }
  }

  Key key(CoreId core) const { return nodes_[leaves_ + core].key; }

  // The best core, the lowest among equals.
  CoreId Best() const { return nodes_[1].core; }

  // The best core; among equals the first from `first` on, round the end.
  CoreId BestFrom(CoreId first) const {
    if (first == 0) return Best();
    // What lies right of the way up comes after `first`, in order; what lies left of it
    // comes before, the highest last.
    Node after = nodes_[leaves_ + first];
    Node before = after;
    for (std::size_t i = leaves_ + first; i > 1; i /= 2) {
      if (i % 2 == 0) {
        if (nodes_[i + 1].key < after.key) after = nodes_[i + 1];
      } else if (!(before.key < nodes_[i - 1].key)) {
        before = nodes_[i - 1];
      }
    }
    return before.key < after.key ? before.core : after.core;
  }

  // The first core from `from` on, not round the end, whose key is less than `key`;
  // kNoCore: none is.
  CoreId NextBelow(CoreId from, Key key) const {
    std::size_t i = leaves_ + from;
    // Up to the first node from there on that has one, ...
    while (!(nodes_[i].key < key)) {
      while (i % 2 == 1) i /= 2;  // The last one below its ancestor.
      if (i == 0) return kNoCore;
      ++i;
    }
    // ... and down again.
    while (i < leaves_) i = nodes_[2 * i].key < key ? 2 * i : 2 * i + 1;
    return static_cast<CoreId>(i - leaves_);
  }

 private:
  struct Node {
    Key key;
    CoreId core = 0;
    bool operator==(const Node&) const = default;
  };

  static const Node& Better(const Node& lower, const Node& higher) {
    return higher.key < lower.key ? higher : lower;
  }

  const unsigned leaves_;
  std::vector<Node> nodes_;  // [1] is the root, the leaves are the second half.
};

}  // namespace yamanote::dispatch
