// safety_test.cc - docs/preemption-safety.md, line by line.
//
// Every work runs on one core and on two, preempted at nearly every probe, and must
// compute what it computes undisturbed; what has no probes is stopped by signals.
// Last, all of them at once, preempted as the timekeeper does it.

#include <gtest/gtest.h>

#include <string>

#include "tests/preempt/campaign.h"
#include "tests/preempt/storm.h"
#include "tests/preempt/works.h"

namespace yamanote::tests {
namespace {

std::vector<NamedWork> AllWorks() {
  std::vector<NamedWork> all = LibraryWorks();
  for (const auto& more : {LanguageWorks(), LockWorks(), RuntimeWorks()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

constexpr uint64_t kPreemptions = 500;

class SafetyTest : public testing::TestWithParam<NamedWork> {};

TEST_P(SafetyTest, ComputesTheSameWhilePreempted) {
  const NamedWork& work = GetParam();
  if (!work.possible) GTEST_SKIP() << "this processor has no " << work.name;
  for (const unsigned cores : {1u, 2u}) {
    const Outcome outcome = RunStorm({.cores = cores,
                                      .tasks = 6,
                                      .most_probes_between = 2,
                                      .preemptions = kPreemptions},
                                     work.work);
    EXPECT_EQ(outcome.wrong, 0U)
        << work.name << " on " << cores << " core(s), " << outcome.rounds
        << " rounds, " << outcome.preemptions << " preemptions";
    EXPECT_GE(outcome.preemptions, kPreemptions)
        << work.name << " has no probes";
  }
}

INSTANTIATE_TEST_SUITE_P(Works, SafetyTest, testing::ValuesIn(AllWorks()),
                         [](const auto& work) {
                           return std::string(work.param.name);
                         });

class MarkedTest : public testing::TestWithParam<NamedWork> {};

TEST_P(MarkedTest, ComputesTheSameWhileSignalsStopIt) {
  const NamedWork& work = GetParam();
  for (const unsigned cores : {1u, 2u}) {
    const Outcome outcome = RunStorm({.cores = cores,
                                      .tasks = 6,
                                      .by_core = false,
                                      .signals = true,
                                      .preemptions = kPreemptions},
                                     work.work);
    EXPECT_EQ(outcome.wrong, 0U)
        << work.name << " on " << cores << " core(s), " << outcome.rounds
        << " rounds, " << outcome.preemptions << " preemptions";
  }
}

INSTANTIATE_TEST_SUITE_P(Works, MarkedTest, testing::ValuesIn(MarkedWorks()),
                         [](const auto& work) {
                           return std::string(work.param.name);
                         });

TEST(SafetyMixTest, AllWorksBesideEachOther) {
  const std::vector<NamedWork> works = AllWorks();
  for (const char* preset : {"yamanote", "tq", "shinjuku"}) {
    for (const unsigned cores : {1u, 2u}) {
      const Outcome outcome = RunCampaign(
          {.preset = preset, .cores = cores, .tasks = 20, .preemptions = 500},
          [&](unsigned task, unsigned round) {
            return works[(task + round * 7) % works.size()].work(task, round);
          });
      EXPECT_EQ(outcome.wrong, 0U) << preset << " on " << cores << " core(s)";
    }
  }
}

}  // namespace
}  // namespace yamanote::tests
