// cursors.h - what the numbers mean that SCAN gives its clients.
//
// Clients of Redis expect a cursor to be a number, and a place between keys is a
// key. So the last kCapacity places are remembered, each under a number of its
// own; who comes back later than that begins again. Bounded by that many keys.
// Rejected: the ordinal of the key, which costs a walk over all keys before it.
//
// Any thread. While the lock is held there is no scheduling point, and preemption
// is held off: who waits for the lock spins, and would keep the core from a holder
// that waits for it.

#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "base/spin_lock.h"
#include "yamanote/preempt.h"

namespace yamanote::rocks {

class Cursors {
 public:
  static constexpr size_t kCapacity = 1024;

  // Returns the number, never 0, under which `key` can be found again.
  uint64_t Remember(std::string key) {
    const NoPreempt no_preempt;
    const std::lock_guard guard(lock_);
    const uint64_t number = ++last_;
    Place& place = places_[number % kCapacity];
    place.number = number;
    place.key.swap(key);  // The former one is freed outside the lock.
    return number;
  }

  // Nothing if `number` was never given out or is too old.
  std::optional<std::string> Find(uint64_t number) const {
    std::string key;
    key.reserve(kReserved);
    const NoPreempt no_preempt;
    const std::lock_guard guard(lock_);
    const Place& place = places_[number % kCapacity];
    if (number == 0 || place.number != number) return std::nullopt;
    key = place.key;
    return key;
  }

 private:
  friend class CursorsTest;

  static constexpr size_t kReserved = 1024;  // The longest key.

  struct Place {
    uint64_t number = 0;
    std::string key{};
  };

  mutable base::SpinLock lock_;
  uint64_t last_ = 0;  // Guarded by lock_, as what follows.
  std::array<Place, kCapacity> places_;
};

}  // namespace yamanote::rocks
