// core_set.h - a set of cores in which the next member is found quickly.

#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "yamanote/task.h"

namespace yamanote::sim {

class CoreSet {
 public:
  explicit CoreSet(unsigned cores) : words_((cores + 63) / 64) {}

  void Add(CoreId core) {
    uint64_t& word = words_[core / 64];
    const uint64_t bit = uint64_t{1} << (core % 64);
    size_ += (word & bit) == 0 ? 1 : 0;
    word |= bit;
  }
  void Remove(CoreId core) {
    uint64_t& word = words_[core / 64];
    const uint64_t bit = uint64_t{1} << (core % 64);
    size_ -= (word & bit) != 0 ? 1 : 0;
    word &= ~bit;
  }
  bool Contains(CoreId core) const {
    return (words_[core / 64] >> (core % 64) & 1) != 0;
  }
  unsigned size() const { return size_; }

  // The lowest member that is not below `from`; kNoCore: none is.
  CoreId NextFrom(CoreId from) const {
    std::size_t i = from / 64;
    if (i >= words_.size()) return kNoCore;
    uint64_t word = words_[i] & (~uint64_t{0} << (from % 64));
    while (word == 0) {
      if (++i == words_.size()) return kNoCore;
      word = words_[i];
    }
    return static_cast<CoreId>(64 * i) +
           static_cast<CoreId>(std::countr_zero(word));
  }

 private:
  std::vector<uint64_t> words_;
  unsigned size_ = 0;
};

}  // namespace yamanote::sim
