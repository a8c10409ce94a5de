// slab_pool.h - objects of one kind, made in slabs on huge pages, reused, and
// given back to the system with the pool.
//
// Objects are made one at a time, so the bound is exact, but a slab is mapped and
// faulted in at once, before its first object is needed.

#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <new>
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

  // Requires: every object was returned.
  ~SlabPool() {
    size_t left = made_;
    for (const base::HugePages& slab : slabs_) {
      const size_t here = std::min(left, slab.size() / stride_);
      for (size_t i = 0; i < here; ++i) ObjectAt(slab, i)->~T();
      left -= here;
    }
  }
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;

  // Puts up to `count` objects in front of the list `head`, new ones made by
  // make(place, tail), which constructs a T at `place`. Returns how many: 0 if all
  // are taken, or the system has no memory. Any thread.
  template <typename Make>
  size_t Take(size_t count, T*& head, Make&& make) {
    const std::lock_guard guard(lock_);
    size_t taken = 0;
    for (; taken < count; ++taken) {
      T* object = free_;
      if (object != nullptr) {
        free_ = object->*kNext;
      } else if (made_ < most_ && (unused_ > 0 || AddSlab())) {
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

  size_t most() const { return most_; }

 private:
  T* ObjectAt(const base::HugePages& slab, size_t index) const {
    return std::launder(reinterpret_cast<T*>(slab.data() + index * stride_));
  }

  bool AddSlab() {
    base::HugePages slab(std::min((most_ - made_) * stride_,
                                  std::max(stride_, base::HugePages::kBytes)));
    if (slab.data() == nullptr) return false;
    slab.Populate();
    unused_ = slab.size() / stride_;
    slabs_.push_back(std::move(slab));
    return true;
  }

  const size_t most_;
  const size_t stride_;
  base::SpinLock lock_;  // Guards what follows.
  T* free_ = nullptr;
  size_t made_ = 0;
  size_t unused_ = 0;  // Places at the end of the last slab.
  std::vector<base::HugePages> slabs_;
};

}  // namespace yamanote::worker
