// clock_test.cc - the scaled time-stamp counter beside the kernel's clock.

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <thread>

#include "yamanote/time.h"

namespace yamanote {
namespace {

int64_t KernelNanos() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

// Read between two reads of the kernel's clock, however far these are apart on a
// busy machine, it lies between them but for the calibration's error, which at
// 10 ppm would be 0.1 ms only after ten seconds.
TEST(ClockTest, ItIsTheKernelsMonotonicClock) {
  constexpr int64_t kErrorNanos = 1'000'000;
  for (int i = 0; i < 100; ++i) {
    const int64_t before = KernelNanos();
    const int64_t now = ToNanos(Clock::now().time_since_epoch());
    const int64_t after = KernelNanos();
    EXPECT_GE(now, before - kErrorNanos);
    EXPECT_LE(now, after + kErrorNanos);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(ClockTest, OnOneThreadItNeverGoesBack) {
  Instant last = Clock::now();
  for (int i = 0; i < 1'000'000; ++i) {
    const Instant now = Clock::now();
    ASSERT_LE(last, now);
    last = now;
  }
}

}  // namespace
}  // namespace yamanote
