// hint_table.cc - cells of hints: claimed, written, read.

#include "native/hint_table.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace yamanote::native {

namespace {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

constexpr int64_t kLeastDue = 1000;
constexpr int64_t kMostDue = 3'600'000'000'000;
// A bucket of 8 has 2 claimed cells in the mean then, so hardly one of ten thousand is full.
constexpr uint32_t kCellsPerThread = 4;

int64_t Monotonic() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// `tid`'s cell, a free one if it had none; nullptr: none is free.
HintCell* Claim(std::span<HintCell> bucket, int32_t tid) {
  if (HintCell* const own = FindHint(bucket, tid)) return own;
  for (HintCell& cell : bucket) {
    int32_t free = 0;
    if (cell.tid.load(memory_order_relaxed) == 0 &&
        cell.tid.compare_exchange_strong(free, tid))
      return &cell;
  }
  return nullptr;
}

Result<void> Check(const Hint& hint) {
  if (hint.weight > kMostHintWeight) {
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("weight is {}; it must be 1 .. {}, or 0 for the one that "
                    "the thread has anyway",
                    hint.weight, kMostHintWeight));
  }
  const int64_t due = ToNanos(hint.due);
  if (due != 0 && (due < kLeastDue || due > kMostDue)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("due is {} ns; it must be 1us .. 1h, or 0 "
                                 "for none",
                                 due));
  }
  return {};
}

}  // namespace

HintCell* FindHint(std::span<HintCell> bucket, int32_t tid) {
  for (HintCell& cell : bucket) {
    // Pairs with ForgetHint()'s release: what is read then is not of its last owner.
    if (cell.tid.load(memory_order_acquire) == tid) return &cell;
  }
  return nullptr;
}

Result<void> WriteHint(std::span<HintCell> bucket, int32_t tid,
                       const Hint& hint) {
  if (Result<void> fits = Check(hint); !fits) return fits;
  HintCell* const cell = Claim(bucket, tid);
  if (cell == nullptr) {
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("there is no room for a hint of thread {}; "
                                 "raise --max-threads of the enclave",
                                 tid));
  }
  // The deadline crosses processes, whose clocks differ by what they were calibrated to.
  const int64_t deadline =
      hint.deadline == kNever
          ? 0
          : Monotonic() + ToNanos(hint.deadline - Clock::now());
  cell->deadline.store(deadline, memory_order_relaxed);
  cell->due.store(ToNanos(hint.due), memory_order_relaxed);
  cell->what.store(uint32_t{hint.weight} << 16 | hint.request_class,
                   memory_order_relaxed);
  return {};
}

void ForgetHint(std::span<HintCell> bucket, int32_t tid) {
  // There may be two, if two have claimed one for it at once. One look at each: whoever else
  // has the memory may write the number again and again.
  for (HintCell& cell : bucket) {
    if (cell.tid.load(memory_order_relaxed) != tid) continue;
    cell.what.store(0, memory_order_relaxed);
    cell.deadline.store(0, memory_order_relaxed);
    cell.due.store(0, memory_order_relaxed);
    // Pairs with FindHint()'s acquire.
    cell.tid.store(0, memory_order_release);
  }
}

Result<HintTable> HintTable::Create(uint32_t max_threads) {
  const uint32_t buckets = std::bit_ceil(
      std::max(max_threads, 1U) * kCellsPerThread / kHintsPerBucket + 1);
  const std::size_t bytes = sizeof(HintHeader) + std::size_t{buckets} *
                                                     kHintsPerBucket *
                                                     sizeof(HintCell);
  Result<arbiter::SharedMemory> memory = arbiter::SharedMemory::Create(
      "yamanote-hints", bytes, arbiter::SharedMemory::Writer::kBoth);
  if (!memory) return tl::unexpected(memory.error());
  auto* const header = static_cast<HintHeader*>(memory->data());
  header->magic = kHintMagic;
  header->version = kHintVersion;
  header->buckets = buckets;
  return HintTable(*std::move(memory), buckets);
}

std::span<HintCell> HintTable::Bucket(pid_t tid) const {
  auto* const header = static_cast<HintHeader*>(memory_.data());
  return BucketOf(reinterpret_cast<HintCell*>(header + 1), buckets_, tid);
}

std::optional<Hint> HintTable::Read(pid_t tid, Instant now) const {
  const HintCell* const cell = FindHint(Bucket(tid), tid);
  if (cell == nullptr) return std::nullopt;
  const uint32_t what = cell->what.load(memory_order_relaxed);
  const int64_t deadline = cell->deadline.load(memory_order_relaxed);
  const int64_t due = cell->due.load(memory_order_relaxed);
  Hint hint;
  hint.request_class = static_cast<ClassId>(what & 0xffff);
  hint.weight = static_cast<uint16_t>(what >> 16);
  if (hint.weight > kMostHintWeight) hint.weight = 0;
  if (due >= kLeastDue && due <= kMostDue) {
    hint.due = Duration(due);
    hint.deadline = now + hint.due;
  }
  if (deadline > 0) {
    // More than an hour ahead is no deadline.
    const int64_t left = deadline - Monotonic();
    if (left > 0 && left <= kMostDue) hint.deadline = now + Duration(left);
  }
  return hint;
}

Result<void> HintTable::Write(pid_t tid, const Hint& hint) {
  return WriteHint(Bucket(tid), tid, hint);
}

void HintTable::Inherit(pid_t tid, pid_t parent) {
  if (parent == 0 || FindHint(Bucket(tid), tid) != nullptr) return;
  std::optional<Hint> hint = Read(parent, Instant());
  if (!hint) return;
  hint->deadline = kNever;
  // Without room for it it has none.
  [[maybe_unused]] const Result<void> written = Write(tid, *hint);
}

void HintTable::Forget(pid_t tid) { ForgetHint(Bucket(tid), tid); }

}  // namespace yamanote::native
