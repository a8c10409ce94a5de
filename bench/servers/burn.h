// burn.h - what every C++ peer does with a spin message: burns the time it asks.
//
// The message is 32 bytes, little-endian: u64 stamp, u64 service time in ns, u32
// flow, u32 sequence, u32 class, u32 reserved; the reply is the same bytes.

#pragma once

#include <cstdint>
#include <cstring>

#include "base/cpu.h"
#include "yamanote/time.h"

namespace bench {

inline constexpr size_t kMessageBytes = 32;

inline void Burn(const char* message) {
  uint64_t nanos = 0;
  std::memcpy(&nanos, message + 8, sizeof(nanos));
  const yamanote::Instant end =
      yamanote::Clock::now() + yamanote::Duration(static_cast<int64_t>(nanos));
  while (yamanote::Clock::now() < end) yamanote::base::Pause();
}

}  // namespace bench
