// wait_group_test.cc - wait group: on user threads, on kernel threads, and between both.

#include "yamanote/wait_group.h"

#include <gtest/gtest.h>

#include <memory>

#include "worker/sync/crew.h"

namespace yamanote {
namespace {

class WaitGroupTest : public CrewTest {};

TEST_P(WaitGroupTest, WaitsForAllJobsAndIsReusable) {
  Run([](Crew& crew) {
    WaitGroup jobs;
    jobs.wait();  // Nothing to wait for.
    for (int round = 0; round < 20; ++round) {
      int results[4] = {};
      for (int& result : results) {
        jobs.add();
        crew.Start([&] {
          result = 1;
          jobs.done();
        });
      }
      jobs.wait();
      for (const int result : results) EXPECT_EQ(result, 1);
      crew.Join();
    }
  });
}

TEST_P(WaitGroupTest, JobsMayAddJobs) {
  Run([](Crew& crew) {
    WaitGroup jobs;
    std::atomic<int> done{0};
    jobs.add();
    crew.Start([&] {
      jobs.add(2);
      jobs.add(-1);
      ++done;
      jobs.done();
      ++done;
      jobs.done();
    });
    jobs.wait();
    EXPECT_EQ(done, 2);
    crew.Join();
  });
}

TEST_P(WaitGroupTest, ReleasesAllWaiters) {
  Run([](Crew& crew) {
    WaitGroup jobs;
    jobs.add();
    bool written = false;
    std::atomic<int> waiting{0};
    crew.Start(4, [&] {
      ++waiting;
      jobs.wait();
      EXPECT_TRUE(written);
    });
    Crew::Until([&] { return waiting == 4; });
    written = true;
    jobs.done();
    crew.Join();
  });
}

TEST_P(WaitGroupTest, GivesUp) {
  Run([](Crew& crew) {
    WaitGroup jobs;
    std::stop_source source;
    jobs.add();
    EXPECT_FALSE(jobs.try_wait());
    EXPECT_FALSE(jobs.wait_until(Instant::min()));
    const Instant deadline = Clock::now() + kShort;
    EXPECT_FALSE(jobs.wait_until(deadline));
    EXPECT_GE(Clock::now(), deadline);
    std::atomic<int> gave_up{0};
    std::atomic<int> waiting{0};
    crew.Start(3, [&] {
      ++waiting;
      EXPECT_FALSE(jobs.wait(source.get_token()));
      EXPECT_FALSE(jobs.wait_until(source.get_token(), Clock::now() + kLong));
      ++gave_up;
      EXPECT_TRUE(jobs.wait_for(kLong));
    });
    Crew::Until([&] { return waiting == 3; });
    source.request_stop();
    Crew::Until([&] { return gave_up == 3; });
    jobs.done();
    crew.Join();
    EXPECT_TRUE(jobs.try_wait());
  });
}

TEST_P(WaitGroupTest, MayBeDestroyedAfterTheWait) {
  Run([](Crew& crew) {
    for (int round = 0; round < 100; ++round) {
      auto jobs = std::make_unique<WaitGroup>();
      jobs->add(2);
      crew.Start(2, [&jobs = *jobs] { jobs.done(); });
      jobs->wait();
      jobs.reset();
      crew.Join();
    }
  });
}

YAMANOTE_CREW_TESTS(WaitGroupTest);

TEST(WaitGroupDeathTest, MoreDoneThanAdded) {
  WaitGroup jobs;
  EXPECT_DEATH(jobs.done(), "more done");
}

}  // namespace
}  // namespace yamanote
