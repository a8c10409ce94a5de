// hint_table.h - the hints of an enclave's threads, in memory that they write.
//
// A table of cells, each a thread's, found by its number; the program claims them and fills
// them (yamanote/hints.h), an enclave's agents read them. Values are looked at one by one and
// each is checked, so whatever is in them is some hint. What was written by two at once may be
// half of each.
//
// Thread safety: all of it by any thread of any process.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "arbiter/memory.h"
#include "yamanote/hints.h"

namespace yamanote::native {

inline constexpr uint32_t kHintMagic = 0x746e6968;  // "hint"
inline constexpr uint32_t kHintVersion = 1;

struct HintCell {
  // Whose it is; 0: free. Release when it is freed, and acquire where it is looked up, so
  // that what its last owner said is gone.
  std::atomic<int32_t> tid;
  // Class and weight << 16. This and the next two: relaxed, each by itself.
  std::atomic<uint32_t> what;
  std::atomic<int64_t> deadline;  // Of CLOCK_MONOTONIC, in ns; 0: none.
  std::atomic<int64_t> due;       // ns; 0: none.
  uint64_t unused;
};
static_assert(sizeof(HintCell) == 32);

struct HintHeader {
  uint32_t magic;
  uint32_t version;
  uint32_t buckets;  // A power of two.
  uint32_t unused[13];
};
static_assert(sizeof(HintHeader) == 64);

inline constexpr uint16_t kMostHintWeight = 10000;

// Cells that one thread's hint may be in.
inline constexpr uint32_t kHintsPerBucket = 8;

// Those cells. `buckets`: a power of two.
inline std::span<HintCell> BucketOf(HintCell* cells, uint32_t buckets,
                                    int32_t tid) {
  const uint32_t mixed = static_cast<uint32_t>(tid) * 0x9e3779b9U;
  const uint32_t bucket = (mixed >> 16 ^ mixed) & (buckets - 1);
  return {cells + std::size_t{bucket} * kHintsPerBucket, kHintsPerBucket};
}

// nullptr: it has none.
HintCell* FindHint(std::span<HintCell> bucket, int32_t tid);
// Errors: Hints::Set()'s.
Result<void> WriteHint(std::span<HintCell> bucket, int32_t tid,
                       const Hint& hint);
void ForgetHint(std::span<HintCell> bucket, int32_t tid);

// The enclave's side.
class HintTable {
 public:
  // Room for `max_threads`. Errors: kResourceExhausted.
  static Result<HintTable> Create(uint32_t max_threads);

  // For who is to write.
  int descriptor() const { return memory_.descriptor(); }

  // What thread `tid` has said last, or what was said for it; nullopt: nothing. Its deadline
  // is made of `due` if that is what was said, or is kNever. `now`: the agent's.
  std::optional<Hint> Read(pid_t tid, Instant now) const;
  // On behalf of `tid`. Errors: Hints::Set()'s.
  Result<void> Write(pid_t tid, const Hint& hint);
  // `tid` was made by `parent`: without a hint of its own it has that one's, but no deadline.
  void Inherit(pid_t tid, pid_t parent);
  // It has ended.
  void Forget(pid_t tid);

 private:
  explicit HintTable(arbiter::SharedMemory memory, uint32_t buckets)
      : memory_(std::move(memory)), buckets_(buckets) {}
  std::span<HintCell> Bucket(pid_t tid) const;

  arbiter::SharedMemory memory_;
  uint32_t buckets_;  // What stands in the header may be changed by who writes.
};

}  // namespace yamanote::native
