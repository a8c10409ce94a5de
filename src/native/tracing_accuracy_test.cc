// tracing_accuracy_test.cc - how exactly tracing does what the policy says.
//
// Busy threads note when they were on the CPU. What is measured is printed; the bounds
// are wide, because a virtual machine's CPUs pause. docs/native-tracing.md has the numbers.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "native/tracing.h"
#include "native/tracing_fixture.h"

namespace yamanote::native {
namespace {

using namespace std::chrono_literals;

constexpr int kBusyThreads = 4;
constexpr uint32_t kMostRuns = 20000;
// What an interrupt takes, or reading the clock while it is slow.
constexpr uint64_t kShortestGapNs = 15'000;

struct Turn {
  uint64_t begin = 0;
  uint64_t end = 0;
  int thread = 0;
};
struct Log {
  std::atomic<uint32_t> runs[kBusyThreads];
  Turn turn[kBusyThreads][kMostRuns];
};

void Spin(Log& log, int thread, uint64_t until) {
  uint32_t count = 0;
  uint64_t begin = MonotonicNanos();
  uint64_t last = begin;
  while (last < until && count < kMostRuns) {
    const uint64_t now = MonotonicNanos();
    if (now - last > kShortestGapNs) {
      log.turn[thread][count++] = {begin, last, thread};
      begin = now;
    }
    last = now;
  }
  if (count < kMostRuns) log.turn[thread][count++] = {begin, last, thread};
  log.runs[thread] = count;
}

// Who had the CPU when, in order; a thread's runs that nobody else's came between are one.
std::vector<Turn> Timeline(const Log& log) {
  std::vector<Turn> all;
  for (int i = 0; i < kBusyThreads; ++i)
    all.insert(all.end(), log.turn[i], log.turn[i] + log.runs[i]);
  std::sort(all.begin(), all.end(),
            [](const Turn& a, const Turn& b) { return a.begin < b.begin; });
  std::vector<Turn> merged;
  for (const Turn& run : all) {
    if (!merged.empty() && merged.back().thread == run.thread) {
      merged.back().end = run.end;
    } else {
      merged.push_back(run);
    }
  }
  return merged;
}

double Quantile(std::vector<uint64_t> values, double at) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto index = static_cast<std::size_t>(
      at * static_cast<double>(values.size() - 1) + 0.5);
  return static_cast<double>(values[index]) / 1e3;
}

class TracingAccuracyTest : public TracingTest,
                            public testing::WithParamInterface<int> {};

TEST_P(TracingAccuracyTest, Slices) {
  const Duration slice = std::chrono::microseconds(GetParam());
  auto* const log =
      static_cast<Log*>(mmap(nullptr, sizeof(Log), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  Gate gate;
  Program program([&](Board&) {
    gate.Wait();
    const uint64_t until = MonotonicNanos() + 800'000'000;
    std::vector<std::thread> all;
    for (int i = 0; i < kBusyThreads; ++i)
      all.emplace_back([&, i] { Spin(*log, i, until); });
    for (std::thread& thread : all) thread.join();
  });
  const auto kernel = Make();
  NEEDS_TRACING(kernel);
  const auto driver = Drive(*kernel, AgentsOf("rr", slice));
  ASSERT_NE(driver, nullptr);
  ASSERT_TRUE(kernel->Add(program.pid()));
  gate.Open();
  EXPECT_TRUE(program.Ends());
  EXPECT_EQ(driver->Ended(), "");

  const std::vector<Turn> timeline = Timeline(*log);
  ASSERT_GT(timeline.size(), 20u);
  std::vector<uint64_t> lengths;
  std::vector<uint64_t> gaps;
  uint64_t had[kBusyThreads] = {};
  // Not while they begin and end.
  for (std::size_t i = kBusyThreads; i + kBusyThreads < timeline.size(); ++i) {
    const uint64_t length = timeline[i].end - timeline[i].begin;
    lengths.push_back(length);
    had[timeline[i].thread] += length;
    if (timeline[i].begin > timeline[i - 1].end)
      gaps.push_back(timeline[i].begin - timeline[i - 1].end);
  }
  uint64_t sum = 0;
  for (const uint64_t one : had) sum += one;
  const double fair = static_cast<double>(sum) / kBusyThreads;
  double worst = 0;
  for (const uint64_t one : had)
    worst = std::max(worst, std::abs(static_cast<double>(one) - fair) / fair);
  const double wanted = static_cast<double>(ToNanos(slice)) / 1e3;
  const double median = Quantile(lengths, 0.5);
  std::printf(
      "slice %.0f us: %zu runs, p1 %.0f, p50 %.0f, p99 %.0f, longest %.0f us; "
      "between two p50 %.1f, p99 %.1f us; shares off by %.1f%% at most; "
      "%.2f passes a run\n",
      wanted, lengths.size(), Quantile(lengths, 0.01), median,
      Quantile(lengths, 0.99), Quantile(lengths, 1), Quantile(gaps, 0.5),
      Quantile(gaps, 0.99), worst * 100,
      static_cast<double>(driver->passes()) /
          static_cast<double>(timeline.size()));
  EXPECT_GT(median, wanted * 0.8);
  EXPECT_LT(median, wanted * 1.5 + 500);
  EXPECT_LT(worst, 0.4);
  munmap(log, sizeof(Log));
}

std::string SliceOf(const testing::TestParamInfo<int>& slice) {
  return "Of" + std::to_string(slice.param) + "us";
}

INSTANTIATE_TEST_SUITE_P(All, TracingAccuracyTest,
                         testing::Values(200, 1000, 5000), SliceOf);

}  // namespace
}  // namespace yamanote::native
