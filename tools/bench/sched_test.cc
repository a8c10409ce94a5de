// sched_test.cc - a measurement ends, and counts every request once.
//
// On any machine, however busy: nothing here looks at a time.

#include "tools/bench/sched.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

// Some 40 requests of 10 ms within 100 ms, four times what a core can do.
SchedOptions Overload() {
  SchedOptions options;
  options.scheduling = FindPreset("tq").value();
  options.service = "fixed:10ms";
  options.load = 4;
  options.length = 100ms;
  options.warmup = 0;
  return options;
}

TEST(SchedTest, WhatIsLeftOverIsAbandonedAndCountsAsUnfinished) {
  SchedOptions options = Overload();
  options.drain = 0ms;
  const SchedResult result = RunSched(options).value();
  EXPECT_GT(result.unfinished, 0);
  EXPECT_EQ(result.refused, 0);
  EXPECT_EQ(result.classes[0].latency_us.samples, result.requests);
  EXPECT_THAT(result.classes[0].latency_us.p99, testing::Eq(HUGE_VAL));
}

TEST(SchedTest, BeyondTheLimitRequestsAreRefusedAndTheOthersEnd) {
  SchedOptions options = Overload();
  options.service = "fixed:2ms";
  options.limit = 2;
  for (const Body body : {Body::kClock, Body::kWork, Body::kBare}) {
    options.body = body;
    const SchedResult result = RunSched(options).value();
    EXPECT_GT(result.refused, 0);
    EXPECT_LT(result.refused, result.requests);
    EXPECT_EQ(result.unfinished, 0);
    EXPECT_EQ(result.classes[0].latency_us.samples, result.requests);
  }
}

TEST(SchedTest, WhatTheServiceAsksForMustHaveAMean) {
  SchedOptions options = Overload();
  options.service = "pareto:alpha=0.9,min=1us";
  EXPECT_EQ(RunSched(options).error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace yamanote::bench
