// core_set.h - a set of cores: a bit for each, so that sets of hundreds meet in a few words.

#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "yamanote/task.h"

namespace yamanote::base {

class CoreSet {
 public:
  CoreSet() = default;
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
  void Set(CoreId core, bool member) { member ? Add(core) : Remove(core); }
  // Requires: of as many cores.
  void Unite(const CoreSet& other) {
    size_ = 0;
    for (std::size_t i = 0; i < words_.size(); ++i) {
      words_[i] |= other.words_[i];
      size_ += static_cast<unsigned>(std::popcount(words_[i]));
    }
  }
  void Clear() {
    std::ranges::fill(words_, 0);
    size_ = 0;
  }
  unsigned size() const { return size_; }
  // Core c is bit c % 64 of word c / 64.
  std::span<const uint64_t> words() const { return words_; }

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

}  // namespace yamanote::base
