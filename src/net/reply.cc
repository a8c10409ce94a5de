// reply.cc - the buffer that handlers answer into.

#include <algorithm>
#include <utility>

#include "net/memory_budget.h"
#include "yamanote/service.h"

namespace yamanote {

Reply::~Reply() { Free(); }

bool Reply::Reserve(size_t bytes) {
  if (bytes > limit_ - (buffer_.size() - start_)) return false;
  const size_t needed = buffer_.size() + bytes;
  return needed <= buffer_.capacity() || Grow(needed);
}

bool Reply::Append(Bytes bytes) {
  if (!Reserve(bytes.size())) return false;
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return true;
}

bool Reply::Grow(size_t needed) {
  const size_t doubled = std::min(2 * buffer_.capacity(), start_ + limit_);
  size_t capacity = std::max(needed, doubled);
  // What needs no share of the budget is not refused for one.
  constexpr size_t kFree = net::MemoryBudget::kFreeBytes;
  if (needed <= kFree) capacity = std::min(capacity, kFree);
  if (budget_ != nullptr && !budget_->TryTake(capacity)) {
    // A smaller step may fit. Not less: each step copies everything so far.
    capacity = std::max(needed, buffer_.capacity() + buffer_.capacity() / 4);
    if (!budget_->TryTake(capacity)) return false;
  }
  buffer_.reserve(capacity);
  // The former buffer was there until now, so it counted until now.
  if (budget_ != nullptr) budget_->Give(std::exchange(counted_, capacity));
  return true;
}

void Reply::Free() {
  std::vector<std::byte>().swap(buffer_);
  if (budget_ != nullptr) budget_->Give(std::exchange(counted_, 0));
}

void Reply::Discard(size_t keep) {
  buffer_.resize(start_ + keep);
  if (counted_ <= net::MemoryBudget::kFreeBytes) return;
  if (buffer_.size() > net::MemoryBudget::kFreeBytes) return;
  // What is left may wait long for its reader: it gets a buffer of its size.
  std::vector<std::byte> rest(buffer_);
  Free();
  buffer_.swap(rest);
}

void Reply::Clear(size_t keep_bytes) {
  buffer_.clear();
  if (buffer_.capacity() > keep_bytes) Free();
  start_ = 0;
  datagram_bytes_ = 0;
  close_ = false;
}

}  // namespace yamanote
