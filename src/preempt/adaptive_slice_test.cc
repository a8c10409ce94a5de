// adaptive_slice_test.cc - what the rule settles on for loads whose best slice is known.

#include "preempt/adaptive_slice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"

namespace yamanote::preempt {
namespace {

using namespace std::chrono_literals;

// A stream of tasks as cores would report it.
class Stream {
 public:
  explicit Stream(AdaptiveSlice& slice) : slice_(slice) {}

  // Runs for `length` at a load of about 0.7 on one core.
  void Run(Duration length, Duration small, Duration large,
           double large_share) {
    const double mean = static_cast<double>(small.count()) * (1 - large_share) +
                        static_cast<double>(large.count()) * large_share;
    const Instant end = now_ + length;
    while (now_ < end) {
      const bool is_large = random_.Uniform() < large_share;
      slice_.EndIdle(0, now_);
      slice_.Record(0, is_large ? large : small);
      slice_.BeginIdle(0, now_ + Duration(static_cast<int64_t>(mean)));
      now_ += Duration(static_cast<int64_t>(mean / 0.7));
      slice_.Adapt(now_);
    }
  }

 private:
  AdaptiveSlice& slice_;
  base::Random random_{1};
  Instant now_{1s};
};

TEST(AdaptiveSliceTest, FollowsTheTasks) {
  AdaptiveSlice slice(2us, 100us, 1);
  Stream stream(slice);
  stream.Run(2s, 5us, 500us, 0.005);
  EXPECT_GE(slice.current(), 5us);
  EXPECT_LE(slice.current(), 12us);
  stream.Run(2s, 40us, 40us, 0);
  EXPECT_GE(slice.current(), 40us);
  stream.Run(2s, 5us, 500us, 0.005);
  EXPECT_LE(slice.current(), 12us);
}

// A task of 0.5 us, or of 100, every 10 us, of which core 0 is busy for so many.
Duration Settled(Duration busy, unsigned cores) {
  AdaptiveSlice slice(2us, 100us, cores);
  Instant now{1s};
  for (CoreId core = 1; core < cores; ++core) slice.BeginIdle(core, now);
  for (int i = 0; i < 100'000; ++i) {
    slice.EndIdle(0, now);
    slice.Record(0, i % 200 == 0 ? 100us : 500ns);
    slice.BeginIdle(0, now + busy);
    now += 10us;
    slice.Adapt(now);
  }
  return slice.current();
}

TEST(AdaptiveSliceTest, WhatIsDoneBesideTasksMakesLongSlices) {
  EXPECT_LT(Settled(2us, 1), Settled(9400ns, 1));
}

TEST(AdaptiveSliceTest, ACoreThatSleepsIsIdle) {
  EXPECT_LT(Settled(9400ns, 2), Settled(9400ns, 1));
}

TEST(AdaptiveSliceTest, StaysWithinItsBoundsAndStillWithoutTasks) {
  AdaptiveSlice slice(5us, 20us, 1);
  const Duration before = slice.current();
  for (int i = 0; i < 100; ++i) slice.Adapt(Instant(i * 10ms));
  EXPECT_EQ(slice.current(), before);
  Stream stream(slice);
  stream.Run(1s, 15us, 15us, 0);
  EXPECT_EQ(slice.current(), 20us);
}

}  // namespace
}  // namespace yamanote::preempt
