// store_clock.h - turns instants and the protocol's expiry times into the
// seconds that the store counts in.
//
// The protocol's rule: 0 never expires, negative is expired already, up to 30
// days is relative to now, more is a Unix time.

#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <limits>

#include "apps/kv/blocks.h"
#include "yamanote/time.h"

namespace yamanote::kv {

class StoreClock {
 public:
  // A second that is over at any time, and not kNeverExpires.
  static constexpr Seconds kLongAgo = 1;
  static constexpr int64_t kMaxRelative = 60 * 60 * 24 * 30;

  // `origin` is the Unix time `unix_origin`, in seconds.
  StoreClock(Instant origin, int64_t unix_origin)
      : origin_(origin), unix_origin_(unix_origin) {}

  // The clock that agrees with the system's wall clock now.
  static StoreClock System() {
    return {Clock::now(), static_cast<int64_t>(std::time(nullptr))};
  }

  // Instants before the origin count as it. Never kLongAgo or less.
  Seconds At(Instant now) const {
    const int64_t elapsed = (now - origin_) / std::chrono::seconds(1);
    return Clamp(kFirst + std::max<int64_t>(elapsed, 0));
  }

  int64_t UnixTime(Seconds now) const { return unix_origin_ + now - kFirst; }

  // Returns the second from which on `exptime`, as a client sends it, is over.
  Seconds Expiry(int64_t exptime, Seconds now) const {
    if (exptime == 0) return kNeverExpires;
    if (exptime < 0) return kLongAgo;
    if (exptime <= kMaxRelative) return Clamp(now + exptime);
    return Clamp(std::max<int64_t>(exptime - unix_origin_, kLongAgo - kFirst) +
                 kFirst);
  }

 private:
  static constexpr int64_t kFirst = 2;

  static Seconds Clamp(int64_t value) {
    return static_cast<Seconds>(
        std::min<int64_t>(value, std::numeric_limits<Seconds>::max()));
  }

  Instant origin_;
  int64_t unix_origin_;
};

}  // namespace yamanote::kv
