// visits.h - whether somebody else came to a place on the same core meanwhile.
//
// Not compiled with probes: the count and the core's number are read by calls that a
// compiler can neither move nor merge, unlike std::this_thread::get_id(), which it
// may call once for both ends of a stretch.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>

#include "yamanote/task.h"

namespace yamanote::tests {

// Of one place that tasks visit.
class Visits {
 public:
  static constexpr unsigned kMostCores = 64;

  // From here to Undisturbed() the caller wants to have its core for itself.
  struct Stretch {
    CoreId core = 0;
    uint64_t count = 0;
  };

  Stretch Begin();
  // Whether the caller is on the core where `stretch` began, and no other has begun
  // there since.
  bool Undisturbed(const Stretch& stretch) const;

 private:
  std::array<std::atomic<uint64_t>, kMostCores> counts_{};
};

// A kernel thread that sends `signal`, once, to the calling one.
std::thread SignalThisThread(int signal);

}  // namespace yamanote::tests
