// schedule_test.cc - schedules repeat, keep their rate and do not know threads.

#include "tools/load/schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

namespace yamanote::load {
namespace {

using std::chrono::seconds;

Workload Spin(const char* text) {
  return *Workload::Parse(Application::kSpin, text);
}

ScheduleOptions Options(const char* arrivals) {
  ScheduleOptions options;
  options.rate_rps = 100'000;
  options.length = seconds(1);
  options.arrivals = *Arrivals::Parse(arrivals);
  options.connections = 12;
  return options;
}

using Row = std::tuple<int64_t, uint16_t, uint8_t, uint32_t>;

std::vector<Row> Rows(const std::vector<std::vector<Sample>>& threads) {
  std::vector<Row> rows;
  for (const auto& samples : threads) {
    for (const Sample& s : samples) {
      rows.emplace_back(s.intended_ns, s.connection, s.request_class,
                        s.service_ns);
    }
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

TEST(ScheduleTest, TheSeedDecidesAndThreadsDoNot) {
  const Workload workload = Spin("bimodal:90%:5us,10%:50us");
  ScheduleOptions options = Options("poisson");
  const auto one = Rows(*BuildSchedule(options, workload));
  options.threads = 3;
  const auto three = BuildSchedule(options, workload);
  EXPECT_EQ(one, Rows(*three));
  for (size_t t = 0; t < 3; ++t) {
    EXPECT_TRUE(std::is_sorted((*three)[t].begin(), (*three)[t].end(),
                               [](const Sample& a, const Sample& b) {
                                 return a.intended_ns < b.intended_ns;
                               }));
    for (const Sample& s : (*three)[t]) ASSERT_EQ(s.connection % 3, t);
  }
  options.seed = 2;
  EXPECT_NE(one, Rows(*BuildSchedule(options, workload)));
}

// 100,000 expected with a standard deviation of 316; the intervals of a Poisson
// process have a coefficient of variation of 1.
TEST(ScheduleTest, PoissonKeepsItsRateAndVariation) {
  const auto threads = BuildSchedule(Options("poisson"), Spin("fixed:1us"));
  const auto& samples = threads->front();
  EXPECT_NEAR(static_cast<double>(samples.size()), 100'000, 1600);
  double sum = 0, square = 0;
  for (size_t i = 1; i < samples.size(); ++i) {
    const auto gap = static_cast<double>(samples[i].intended_ns -
                                         samples[i - 1].intended_ns);
    sum += gap;
    square += gap * gap;
  }
  const auto n = static_cast<double>(samples.size() - 1);
  const double mean = sum / n;
  EXPECT_NEAR(square / n / (mean * mean) - 1, 1, 0.05);
}

TEST(ScheduleTest, FixedRateIsExact) {
  const auto threads = BuildSchedule(Options("fixed"), Spin("fixed:1us"));
  const auto& samples = threads->front();
  ASSERT_EQ(samples.size(), 100'000u);
  for (size_t i = 0; i < samples.size(); ++i) {
    ASSERT_EQ(samples[i].intended_ns, static_cast<int64_t>(i) * 10'000);
  }
}

// Bursts of 8 at once; 12,500 of them expected, standard deviation 112.
TEST(ScheduleTest, BurstsAreDueTogether) {
  const auto threads = BuildSchedule(Options("burst:8"), Spin("fixed:1us"));
  const auto& samples = threads->front();
  ASSERT_EQ(samples.size() % 8, 0u);
  EXPECT_NEAR(static_cast<double>(samples.size()), 100'000, 4500);
  for (size_t i = 0; i < samples.size(); i += 8) {
    ASSERT_EQ(samples[i].intended_ns, samples[i + 7].intended_ns);
  }
}

TEST(ScheduleTest, EmptyAndEndlessRunsAreRefused) {
  ScheduleOptions options = Options("poisson");
  options.rate_rps = 1;
  options.length = Duration(1000);
  auto schedule = BuildSchedule(options, Spin("fixed:1us"));
  ASSERT_FALSE(schedule);
  EXPECT_THAT(schedule.error().message,
              testing::HasSubstr("raise --rate or --duration"));
  options.rate_rps = 1e8;
  options.length = seconds(3600);
  schedule = BuildSchedule(options, Spin("fixed:1us"));
  ASSERT_FALSE(schedule);
  EXPECT_THAT(schedule.error().message,
              testing::HasSubstr("shorten --duration"));
}

TEST(ScheduleTest, ArrivalsAreReadOrRefused) {
  EXPECT_EQ(Arrivals::Parse("burst:16")->burst, 16u);
  for (const char* bad :
       {"", "uniform", "burst", "burst:0", "burst:x", "burst:99999"}) {
    EXPECT_FALSE(Arrivals::Parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace yamanote::load
