// account_test.cc - lateness, losses, gaps and windows, in virtual time.

#include "tools/load/account.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace yamanote::load {
namespace {

constexpr int64_t kMicro = 1000;
constexpr int64_t kMilli = 1'000'000;

// One thread whose requests are due every 100 us, are sent in time and answered
// after 20 us; spin with 10 us of service.
class AccountTest : public testing::Test {
 protected:
  AccountTest()
      : workload_(*Workload::Parse(Application::kSpin, "fixed:10us")) {
    log_.gaps = GapLog(20 * kMicro);
    for (int64_t i = 0; i < 10'000; ++i) {
      Sample sample;
      sample.intended_ns = i * 100 * kMicro;
      sample.sent_ns = sample.intended_ns;
      sample.received_ns = sample.intended_ns + 20 * kMicro;
      sample.service_ns = 10'000;
      sample.status = Status::kAnswered;
      log_.samples.push_back(sample);
    }
  }

  // The window is all of the second that the samples cover.
  PointResult Point(Window window = {0, 1000 * kMilli}) {
    Account account(workload_, {kNoFigure});
    account.AddRun(std::span(&log_, 1), window, 20);
    return account.ToPoint(10'000);
  }

  void Delay(size_t index, int64_t by_ns) {
    log_.samples[index].sent_ns += by_ns;
    log_.samples[index].received_ns += by_ns;
  }
  void Lose(size_t index) {
    log_.samples[index].status = Status::kSent;
    log_.samples[index].received_ns = -1;
  }

  Workload workload_;
  ThreadLog log_;
};

TEST_F(AccountTest, LatencyAndSlowdownOfAnUndisturbedRun) {
  const PointResult point = Point();
  EXPECT_TRUE(point.valid) << point.why_invalid;
  EXPECT_EQ(point.sent, 10'000u);
  EXPECT_NEAR(point.latency_us.p99, 20, 0.1);
  EXPECT_NEAR(point.slowdown.p99, 2, 0.01);
  EXPECT_NEAR(point.achieved_rps, 10'000, 1);
  EXPECT_EQ(point.late, 0u);
}

// The busiest thread is the one that limits the load.
TEST_F(AccountTest, GeneratorIsAsBusyAsItsBusiestThread) {
  std::vector<ThreadLog> logs(2);
  logs[0].busy = 0.75;
  logs[1].busy = 0.25;
  Account account(workload_, {kNoFigure});
  account.AddRun(logs, {0, 1000 * kMilli}, 20);
  Account sum(workload_, {kNoFigure});
  sum.Merge(account);
  EXPECT_EQ(sum.ToPoint(10'000).generator_busy, 0.75);
}

// The server was quick, but the request waited 5 ms in the generator: the client
// would have waited, too.
TEST_F(AccountTest, LatencyCountsFromTheIntendedTime) {
  Delay(5, 5 * kMilli);
  const PointResult point = Point();
  EXPECT_NEAR(point.latency_us.max, 5020, 1);
  EXPECT_EQ(point.late, 1u);
  EXPECT_NEAR(point.late_max_us, 5000, 1);
}

// 10 of 10,000 late ones are 0.1%: still valid. 11 are not.
TEST_F(AccountTest, MoreThanOnePerMilleOfLateSendsRefuseThePoint) {
  for (size_t i = 0; i < 10; ++i) Delay(i * 100, 30 * kMicro);
  EXPECT_TRUE(Point().valid);
  Delay(5000, 30 * kMicro);
  const PointResult point = Point();
  EXPECT_FALSE(point.valid);
  EXPECT_EQ(point.late, 11u);
  EXPECT_THAT(point.why_invalid, testing::HasSubstr("0.11% of the requests"));
}

// The delay of 15 us is below the p99 from the send, 20 us: not late.
TEST_F(AccountTest, SmallDelaysAreNotLate) {
  for (size_t i = 0; i < 5000; ++i) Delay(i, 15 * kMicro);
  EXPECT_EQ(Point().late, 0u);
  EXPECT_TRUE(Point().valid);
}

// 200 of 10,000 lost: p50 stands, p99 is infinite, the slowdown's as well.
TEST_F(AccountTest, LostRequestsAreInfinite) {
  for (size_t i = 0; i < 200; ++i) Lose(i * 50);
  const PointResult point = Point();
  EXPECT_EQ(point.lost, 200u);
  EXPECT_EQ(point.answered, 9800u);
  EXPECT_NEAR(point.latency_us.p50, 20, 0.1);
  EXPECT_TRUE(std::isinf(point.latency_us.p99));
  EXPECT_TRUE(std::isinf(point.slowdown.p99));
  EXPECT_NEAR(point.achieved_rps, 9800, 1);
}

TEST_F(AccountTest, RefusedRequestsAreInfiniteToo) {
  for (size_t i = 0; i < 200; ++i)
    log_.samples[i * 50].status = Status::kRefused;
  const PointResult point = Point();
  EXPECT_EQ(point.refused, 200u);
  EXPECT_EQ(point.lost, 0u);
  EXPECT_TRUE(std::isinf(point.latency_us.p99));
}

TEST_F(AccountTest, NothingAnsweredIsInvalid) {
  for (size_t i = 0; i < log_.samples.size(); ++i) Lose(i);
  const PointResult point = Point();
  EXPECT_FALSE(point.valid);
  EXPECT_THAT(point.why_invalid, testing::HasSubstr("no request was answered"));
}

TEST_F(AccountTest, EverythingRefusedIsInvalidForAnotherReason) {
  for (Sample& sample : log_.samples) sample.status = Status::kRefused;
  const PointResult point = Point();
  EXPECT_FALSE(point.valid);
  EXPECT_THAT(point.why_invalid,
              testing::HasSubstr("every request was refused (10000)"));
}

TEST_F(AccountTest, AServerThatFallsSilentIsInvalid) {
  for (size_t i = 8000; i < log_.samples.size(); ++i) Lose(i);
  const PointResult point = Point();
  EXPECT_FALSE(point.valid);
  EXPECT_FALSE(point.valid_undisturbed);
  EXPECT_THAT(point.why_invalid,
              testing::HasSubstr("nothing came back in the last 200 ms of the "
                                 "run although 2000 requests were due then"));
}

// 200 ms behind at the end: what came back until then was due long before.
TEST_F(AccountTest, AnOverloadedServerIsNotSilent) {
  for (size_t i = 0; i < 8000; ++i) {
    log_.samples[i].received_ns = static_cast<int64_t>(i) * 125 * kMicro + 1;
  }
  for (size_t i = 8000; i < log_.samples.size(); ++i) Lose(i);
  const PointResult point = Point();
  EXPECT_TRUE(point.valid) << point.why_invalid;
  EXPECT_TRUE(std::isinf(point.latency_us.p99));
}

TEST_F(AccountTest, WarmUpIsCut) {
  Delay(0, 50 * kMilli);  // Due in the warm-up.
  const PointResult point = Point({500 * kMilli, 1000 * kMilli});
  EXPECT_EQ(point.sent, 5000u);
  EXPECT_NEAR(point.latency_us.max, 20, 0.1);
  EXPECT_NEAR(point.achieved_rps, 10'000, 1);
}

// A gap from 10.0 to 12.0 ms: requests 100 to 119 were due in it, sent at its
// end. They are tagged, and the undisturbed figures don't see them.
TEST_F(AccountTest, SamplesThatOverlapAGapAreTagged) {
  log_.gaps.Tick(10'000 * kMicro);
  log_.gaps.Tick(12'000 * kMicro);
  for (size_t i = 100; i < 120; ++i) {
    const int64_t wait = 12'000 * kMicro - log_.samples[i].intended_ns;
    Delay(i, wait);
  }
  const PointResult point = Point();
  EXPECT_EQ(point.gaps.count, 1u);
  EXPECT_NEAR(point.gaps.max_us, 2000, 0.1);
  EXPECT_EQ(point.gaps.tagged, 20u);
  EXPECT_FALSE(point.valid);  // 0.2% late.
  EXPECT_TRUE(point.valid_undisturbed);
  EXPECT_GT(point.latency_us.p999, 1000);
  EXPECT_NEAR(point.latency_us_undisturbed.p999, 20, 0.1);
  EXPECT_EQ(point.latency_us_undisturbed.samples, 9980u);
}

// A gap must not hide that a request was lost.
TEST_F(AccountTest, LostRequestsAreNeverTagged) {
  log_.gaps.Tick(0);
  log_.gaps.Tick(900 * kMilli);
  for (size_t i = 0; i < 500; ++i) Lose(i);
  const PointResult point = Point();
  EXPECT_TRUE(std::isinf(point.latency_us_undisturbed.p99));
}

// What was not yet due when the user interrupted is not the server's loss.
TEST_F(AccountTest, InterruptedRunsAreInvalid) {
  log_.stopped = true;
  for (size_t i = 5000; i < log_.samples.size(); ++i)
    log_.samples[i].status = Status::kPlanned;
  const PointResult point = Point();
  EXPECT_FALSE(point.valid);
  EXPECT_EQ(point.sent, 5000u);
  EXPECT_EQ(point.lost, 0u);
}

TEST_F(AccountTest, SeedsAddUp) {
  Account first(workload_, {kNoFigure}), sum(workload_, {kNoFigure});
  first.AddRun(std::span(&log_, 1), {0, 1000 * kMilli}, 20);
  sum.Merge(first);
  Lose(0);
  Account second(workload_, {kNoFigure});
  second.AddRun(std::span(&log_, 1), {0, 1000 * kMilli}, 20);
  sum.Merge(second);
  const PointResult point = sum.ToPoint(10'000);
  EXPECT_EQ(point.sent, 20'000u);
  EXPECT_EQ(point.lost, 1u);
  EXPECT_NEAR(point.achieved_rps, 9999.5, 1);
}

// kv: the base of the slowdown is the floor of the request's class.
TEST(AccountKvTest, SlowdownIsOverTheFloorOfTheClass) {
  const auto workload =
      Workload::Parse(Application::kKv, "get:50%,mget500:50%");
  ThreadLog log;
  for (int i = 0; i < 100; ++i) {
    Sample sample;
    sample.sent_ns = 0;
    sample.request_class = static_cast<uint8_t>(i % 2);
    sample.received_ns = i % 2 == 0 ? 30 * kMicro : 400 * kMicro;
    sample.status = Status::kAnswered;
    log.samples.push_back(sample);
  }
  Account account(*workload, {10.0, 200.0});
  account.AddRun(std::span(&log, 1), {0, kMilli}, 20);
  const PointResult point = account.ToPoint(100);
  EXPECT_NEAR(point.classes[0].slowdown.p50, 3, 0.02);
  EXPECT_NEAR(point.classes[1].slowdown.p50, 2, 0.02);
  EXPECT_EQ(point.classes[1].floor_us, 200);
}

}  // namespace
}  // namespace yamanote::load
