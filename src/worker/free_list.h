// free_list.h - a core's private stock of pooled objects.
//
// Takes from and returns to a shared pool in batches, so that the pool's lock
// is taken once per kBatch objects. Used by one core; not thread-safe. What lies in
// a stock is out of others' reach: a pool that must be able to give N objects has
// kMost more for each stock.
//
// Pool: Result<void> Take(size_t count, T*& head, size_t& taken);
//       void Return(T* head, size_t count);

#pragma once

#include <cstddef>

namespace yamanote::worker {

template <typename T, T* T::* kNext, typename Pool>
class FreeList {
 public:
  static constexpr size_t kBatch = 32;
  static constexpr size_t kMost = 2 * kBatch;

  explicit FreeList(Pool& pool) : pool_(pool) {}
  ~FreeList() {
    if (head_ != nullptr) pool_.Return(head_, count_);
  }
  FreeList(const FreeList&) = delete;
  FreeList& operator=(const FreeList&) = delete;

  // The next Take() asks the pool.
  bool Empty() const { return head_ == nullptr; }

  // Returns an object, nullptr if the pool has none either.
  T* Take() {
    if (head_ == nullptr && !Refill()) return nullptr;
    T* const object = head_;
    head_ = object->*kNext;
    --count_;
    return object;
  }

  void Return(T* object) {
    object->*kNext = head_;
    head_ = object;
    if (++count_ > kMost) Spill();
  }

 private:
  [[gnu::noinline]] bool Refill() {
    size_t taken = 0;
    const bool taken_any = pool_.Take(kBatch, head_, taken).has_value();
    count_ += taken;
    return taken_any;
  }

  // Gives back the objects that were returned longest ago.
  [[gnu::noinline]] void Spill() {
    T* last = head_;
    for (size_t i = 1; i < kBatch; ++i) last = last->*kNext;
    T* const cold = last->*kNext;
    last->*kNext = nullptr;
    pool_.Return(cold, count_ - kBatch);
    count_ = kBatch;
  }

  Pool& pool_;
  T* head_ = nullptr;
  size_t count_ = 0;
};

}  // namespace yamanote::worker
