// slab_pool.h - objects of one kind, made in slabs, reused, and given back to the
// system with the pool.
//
// A slab is mapped and faulted in at once, on a huge page where there is one, and
// outside of the lock; objects in it are made one at a time, so the bound is exact.
// Objects with large tails, of which most stay untouched, are faulted in by use.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "base/huge_pages.h"
#include "base/spin_lock.h"

namespace yamanote::worker {

template <typename T, T* T::* kNext>
class SlabPool {
 public:
  // At most `most` objects, each followed by `tail_bytes` of memory.
  SlabPool(size_t most, size_t tail_bytes)
      : most_(most),
        stride_((sizeof(T) + tail_bytes + alignof(T) - 1) / alignof(T) *
                alignof(T)) {}

  // Requires: nobody uses an object any more.
  ~SlabPool() {
    size_t left = made_;
    for (const base::HugePages& slab : slabs_) {
      const size_t here = std::min(left, slab.size() / stride_);
      for (size_t i = 0; i < here; ++i)
        std::launder(reinterpret_cast<T*>(slab.data() + i * stride_))->~T();
      left -= here;
    }
  }
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;

  // Puts up to `count` objects in front of the list `head`, new ones made by
  // make(place, tail), which constructs a T at `place`. Returns how many: 0 if all
  // are taken or OutOfMemory(). May wait while another thread maps a slab. Any
  // thread.
  template <typename Make>
  size_t Take(size_t count, T*& head, Make&& make) {
    size_t taken = TakeReady(count, head, make);
    while (taken == 0 && Grow()) taken = TakeReady(count, head, make);
    return taken;
  }

  // Takes the list `head` back. Any thread.
  void Return(T* head) {
    const std::lock_guard guard(lock_);
    while (head != nullptr) {
      T* const next = head->*kNext;
      head->*kNext = free_;
      free_ = head;
      head = next;
    }
  }

  // Makes the first slab if there is none, so that no Take() needs to. Any thread.
  void Prepare() { Grow(); }

  // The system refused the last slab. Relaxed: for messages.
  bool OutOfMemory() const {
    return out_of_memory_.load(std::memory_order_relaxed);
  }
  size_t most() const { return most_; }

 private:
  // Beyond, an object has pages of its own that may never be used.
  static constexpr size_t kSmallStride = 8192;
  static constexpr size_t kFewObjects = 32;

  template <typename Make>
  size_t TakeReady(size_t count, T*& head, Make& make) {
    const std::lock_guard guard(lock_);
    size_t taken = 0;
    for (; taken < count; ++taken) {
      T* object = free_;
      if (object != nullptr) {
        free_ = object->*kNext;
      } else if (unused_ > 0 && made_ < most_) {
        const base::HugePages& slab = slabs_.back();
        std::byte* const place =
            slab.data() + (slab.size() / stride_ - unused_) * stride_;
        object = make(place, place + sizeof(T));
        --unused_;
        ++made_;
      } else {
        break;
      }
      object->*kNext = head;
      head = object;
    }
    return taken;
  }

  // Makes sure that there was something to take. False if there can't be.
  bool Grow() {
    // Not held by anybody who has what to take: Return() needs only lock_.
    const std::lock_guard growing(grow_lock_);
    size_t left = 0;
    {
      const std::lock_guard guard(lock_);
      left = most_ - made_;
      if (free_ != nullptr || (unused_ > 0 && left > 0)) return true;
    }
    if (left == 0) return false;
    base::HugePages slab = Map(left);
    out_of_memory_.store(slab.data() == nullptr, std::memory_order_relaxed);
    if (slab.data() == nullptr) return false;
    const std::lock_guard guard(lock_);
    slabs_.push_back(std::move(slab));
    unused_ = slabs_.back().size() / stride_;
    return true;
  }

  // A slab for at most `left` objects; less if that is all there is.
  base::HugePages Map(size_t left) const {
    const bool small = stride_ <= kSmallStride;
    // Of plain pages if it is less than a huge one.
    const size_t most = base::HugePages::kBytes - (small ? 0 : kSmallStride);
    const size_t fit = std::max<size_t>(most / stride_, 1);
    base::HugePages slab(fit <= left
                             ? (small ? base::HugePages::kBytes : fit * stride_)
                             : left * stride_);
    if (slab.data() == nullptr)
      slab = base::HugePages(std::min(left, kFewObjects) * stride_);
    if (small) slab.Populate();
    return slab;
  }

  const size_t most_;
  const size_t stride_;
  std::mutex grow_lock_;  // One thread maps at a time.
  std::atomic<bool> out_of_memory_{false};
  base::SpinLock lock_;  // Guards what follows.
  T* free_ = nullptr;
  size_t made_ = 0;
  size_t unused_ = 0;  // Places at the end of the last slab.
  std::vector<base::HugePages> slabs_;
};

}  // namespace yamanote::worker
