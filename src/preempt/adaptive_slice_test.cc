// adaptive_slice_test.cc - the model against queueing theory, and what the rule
// settles on for loads whose best slice is known.

#include "preempt/adaptive_slice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"

namespace yamanote::preempt {
namespace {

using namespace std::chrono_literals;

constexpr Duration kCost = 1us;

ServiceTimes Only(Duration service) {
  ServiceTimes services;
  services.counts[ServiceTimes::BinOf(service)] = 1;
  return services;
}

// 99.5% of `small`, 0.5% of `large`.
ServiceTimes Bimodal(Duration small, Duration large) {
  ServiceTimes services;
  services.counts[ServiceTimes::BinOf(small)] = 995;
  services.counts[ServiceTimes::BinOf(large)] = 5;
  return services;
}

ServiceTimes Exponential(Duration mean) {
  ServiceTimes services;
  base::Random random(1);
  for (int i = 0; i < 100'000; ++i) {
    const auto ns = static_cast<int64_t>(
        random.Exponential(static_cast<double>(mean.count())));
    ++services.counts[ServiceTimes::BinOf(Duration(ns))];
  }
  return services;
}

TEST(ServiceTimesTest, ABinHoldsItsMiddle) {
  for (size_t bin = 0; bin < ServiceTimes::kBins; ++bin)
    EXPECT_EQ(ServiceTimes::BinOf(ServiceTimes::MiddleOf(bin)), bin);
  EXPECT_EQ(ServiceTimes::BinOf(0ns), 0U);
  EXPECT_EQ(ServiceTimes::BinOf(24h), ServiceTimes::kBins - 1);
}

// M/D/1: 1 + load / (2 (1 - load)).
TEST(MeanSlowdownTest, IsThatOfAQueueWhereNobodyIsPreempted) {
  EXPECT_NEAR(MeanSlowdown(Only(10us), {.tasks = 0.5}, 1ms, kCost), 1.5, 0.01);
  EXPECT_NEAR(MeanSlowdown(Only(10us), {.tasks = 0.8}, 1ms, kCost), 3.0, 0.01);
}

// The same queue of 15 us, of which 10 are the task's.
TEST(MeanSlowdownTest, WhatIsDoneBesideTasksMakesThemWait) {
  EXPECT_NEAR(
      MeanSlowdown(Only(10us), {.tasks = 0.5, .beside = 0.25}, 1ms, kCost),
      1.5 + 0.75 * 1.5 / (2 * 0.25), 0.05);
}

// Processor sharing: 1 / (1 - load), whatever the distribution.
TEST(MeanSlowdownTest, ApproachesProcessorSharingWithShortSlices) {
  EXPECT_NEAR(MeanSlowdown(Bimodal(50us, 5ms), {.tasks = 0.5}, 200ns, 0ns), 2.0,
              0.05);
  EXPECT_NEAR(MeanSlowdown(Only(1ms), {.tasks = 0.8}, 1us, 0ns), 5.0, 0.1);
}

TEST(MeanSlowdownTest, MoreThanTheCoresCanDoIsWorseTheMoreItIs) {
  const ServiceTimes services = Bimodal(5us, 500us);
  const double at_2us = MeanSlowdown(services, {.tasks = 0.97}, 2us, kCost);
  EXPECT_GT(at_2us, MeanSlowdown(services, {.tasks = 0.97}, 10us, kCost));
}

const std::vector<Duration> kCandidates = {2us,  3us,  5us,  7us,  10us,
                                           14us, 20us, 28us, 50us, 100us};

TEST(BestSliceTest, TasksThatAreAlikeAreNotCut) {
  EXPECT_EQ(BestSlice(Only(10us), {.tasks = 0.7}, kCost, kCandidates), 14us);
}

TEST(BestSliceTest, AlmostAllIsGainedWithTheLongestSliceThatDoes) {
  const ServiceTimes services = Exponential(10us);
  constexpr Usage kUsage = {.tasks = 0.7};
  const Duration chosen = BestSlice(services, kUsage, kCost, kCandidates);
  double best = 1e9;
  for (const Duration slice : kCandidates)
    best = std::min(best, MeanSlowdown(services, kUsage, slice, kCost));
  const double gain = MeanSlowdown(services, kUsage, 100us, kCost) - best;
  for (const Duration slice : kCandidates) {
    const double given_away =
        MeanSlowdown(services, kUsage, slice, kCost) - best;
    if (slice == chosen) {
      EXPECT_LE(given_away, 0.02 * gain);
    } else if (slice > chosen) {
      EXPECT_GT(given_away, 0.02 * gain);
    }
  }
}

TEST(BestSliceTest, ShortTasksJustFitWhereLongOnesAreAmongThem) {
  const Duration best =
      BestSlice(Bimodal(5us, 500us), {.tasks = 0.7}, kCost, kCandidates);
  EXPECT_GT(best, 5us) << "one that is a little late would be cut";
  EXPECT_LE(best, 10us);
}

TEST(BestSliceTest, ExpensivePreemptionsMakeLongSlices) {
  const ServiceTimes services = Exponential(10us);
  const Duration cheap =
      BestSlice(services, {.tasks = 0.7}, 100ns, kCandidates);
  const Duration dear = BestSlice(services, {.tasks = 0.7}, 20us, kCandidates);
  EXPECT_LT(cheap, dear);
}

TEST(BestSliceTest, BusyCoresMakeLongSlices) {
  const ServiceTimes services = Bimodal(5us, 500us);
  const Duration alone =
      BestSlice(services, {.tasks = 0.3}, kCost, kCandidates);
  const Duration busy =
      BestSlice(services, {.tasks = 0.3, .beside = 0.6}, kCost, kCandidates);
  EXPECT_LT(alone, busy);
}

TEST(BestSliceTest, FullCoresLoseLittleToPreemptions) {
  const ServiceTimes services = Exponential(10us);
  const Usage kBusy{.tasks = 0.8, .beside = 0.1};
  const Usage kFull{.tasks = 0.8, .beside = 0.2};
  // Of 20 us and 10: exp(-2) + exp(-4) + .. = 0.157 us of 10, 0.58 of 10.
  EXPECT_LT(BestSlice(services, kBusy, kCost, kCandidates), 20us);
  EXPECT_GE(BestSlice(services, kFull, kCost, kCandidates), 20us);
  // All cut: the longest, which is not asked.
  EXPECT_EQ(BestSlice(Only(10ms), kFull, 100us, kCandidates), 100us);
}

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
