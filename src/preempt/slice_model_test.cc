// slice_model_test.cc - the models against queueing theory, and what is chosen by them.

#include "preempt/slice_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
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

double InTurnSlowdown(const ServiceTimes& services, Usage usage, Duration slice,
                      Duration cost) {
  return InTurn(services, usage, slice, cost).slowdown;
}

double ShortFirstSlowdown(const ServiceTimes& services, Usage usage,
                          Duration slice, Duration cost) {
  return ShortFirst(services, usage, slice, cost).slowdown;
}

// M/D/1: 1 + load / (2 (1 - load)).
TEST(InTurnTest, IsThatOfAQueueWhereNobodyIsPreempted) {
  EXPECT_NEAR(InTurnSlowdown(Only(10us), {.tasks = 0.5}, 1ms, kCost), 1.5,
              0.01);
  EXPECT_NEAR(InTurnSlowdown(Only(10us), {.tasks = 0.8}, 1ms, kCost), 3.0,
              0.01);
}

// The same queue of 15 us, of which 10 are the task's.
TEST(InTurnTest, WhatIsDoneBesideTasksMakesThemWait) {
  EXPECT_NEAR(
      InTurnSlowdown(Only(10us), {.tasks = 0.5, .beside = 0.25}, 1ms, kCost),
      1.5 + 0.75 * 1.5 / (2 * 0.25), 0.05);
}

// Processor sharing: 1 / (1 - load), whatever the distribution.
TEST(InTurnTest, ApproachesProcessorSharingWithShortSlices) {
  EXPECT_NEAR(InTurnSlowdown(Bimodal(50us, 5ms), {.tasks = 0.5}, 200ns, 0ns),
              2.0, 0.05);
  EXPECT_NEAR(InTurnSlowdown(Only(1ms), {.tasks = 0.8}, 1us, 0ns), 5.0, 0.1);
}

TEST(InTurnTest, MoreThanTheCoresCanDoIsWorseTheMoreItIs) {
  const ServiceTimes services = Bimodal(5us, 500us);
  const double at_2us = InTurnSlowdown(services, {.tasks = 0.97}, 2us, kCost);
  EXPECT_GT(at_2us, InTurnSlowdown(services, {.tasks = 0.97}, 10us, kCost));
}

TEST(ShortFirstTest, IsThatOfAQueueWhereNobodyIsPreempted) {
  for (const Usage usage :
       {Usage{.tasks = 0.8}, Usage{.tasks = 0.5, .beside = 0.25}})
    EXPECT_NEAR(ShortFirstSlowdown(Only(10us), usage, 1ms, kCost),
                InTurnSlowdown(Only(10us), usage, 1ms, kCost), 1e-9);
}

// By hand, for 995 of 10 us and 5 of 1 ms in slices of the short ones' length. A long one
// is on a level that holds all, behind the short ones and 0.7 of each long one.
TEST(ShortFirstTest, ShortTasksWaitForShortOnesAndASlice) {
  const ServiceTimes services = Bimodal(10us, 1ms);
  const Duration slice = ServiceTimes::EndOf(ServiceTimes::BinOf(10us));
  const auto small = static_cast<double>(slice.count());
  const auto large = static_cast<double>(
      ServiceTimes::EndOf(ServiceTimes::BinOf(1ms)).count());
  const double rate = 0.7 / (0.995 * small + 0.005 * large);
  const double first = rate * small;  // How busy the first level is.
  const double wait =
      (rate * small * small + (0.7 - first) * small) / 2 / (1 - first);
  const double of_small = (wait + small) / small;
  const double squares = 0.995 * small * small + 0.005 * large * large;
  const double before =
      rate * (0.995 * small + 0.005 * large / std::numbers::sqrt2);
  const double of_large =
      (rate * squares / 2 / 0.3 + large) / (1 - before) / large;
  EXPECT_NEAR(ShortFirstSlowdown(services, {.tasks = 0.7}, slice, 0ns),
              std::pow(of_small, 0.995) * std::pow(of_large, 0.005), 1e-6);
}

TEST(ShortFirstTest, WhomNobodyOvertakesLosesLittle) {
  const ServiceTimes services = Only(800us);
  const double work = static_cast<double>(
      ServiceTimes::EndOf(ServiceTimes::BinOf(800us)).count());
  // 9 slices and a bit, so as many preemptions.
  const auto lost = [&](SliceModel& model, double busy) {
    return model(services, {.tasks = busy}, 100us, kCost).lost * work / 1000;
  };
  EXPECT_NEAR(lost(InTurn, 1e-6), 9, 0.01);
  EXPECT_NEAR(lost(ShortFirst, 1e-6), 8.0 / 8, 0.01);
  // Others wait the first time, and come in a tenth of the later slices.
  EXPECT_NEAR(lost(ShortFirst, 0.9), 0.9 / 2 + 8 * (0.1 / 2 + 0.9 / 8), 0.1);
}

TEST(ShortFirstTest, NoTasksAndTheOddestOnesGiveNumbers) {
  EXPECT_EQ(ShortFirstSlowdown({}, {.tasks = 0.5}, 10us, kCost), 1);
  EXPECT_EQ(ShortFirstSlowdown(Only(10us), {.tasks = 0}, 10us, kCost), 1);
  EXPECT_EQ(InTurnSlowdown(Only(10us), {.tasks = 0}, 10us, kCost), 1);
  ServiceTimes all;
  for (double& count : all.counts) count = 1e-9;
  for (const Duration slice : {Duration(1), Duration(100us), Duration(10s)}) {
    const Prediction given = ShortFirst(all, {.tasks = 1}, slice, kCost);
    EXPECT_TRUE(std::isfinite(given.slowdown));
    EXPECT_TRUE(std::isfinite(given.lost));
  }
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
    best = std::min(best, InTurnSlowdown(services, kUsage, slice, kCost));
  const double gain = InTurnSlowdown(services, kUsage, 100us, kCost) - best;
  for (const Duration slice : kCandidates) {
    const double given_away =
        InTurnSlowdown(services, kUsage, slice, kCost) - best;
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

// Which cost nothing where who is long goes on at once.
TEST(BestSliceTest, ShortFirstTakesShorterSlicesForLongTasks) {
  ServiceTimes services;
  services.counts[ServiceTimes::BinOf(1us)] = 1;
  services.counts[ServiceTimes::BinOf(100us)] = 1;
  const Usage usage{.tasks = 0.7};
  EXPECT_LT(BestSlice(services, usage, kCost, kCandidates, ShortFirst),
            BestSlice(services, usage, kCost, kCandidates, InTurn));
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

}  // namespace
}  // namespace yamanote::preempt
