// core_ranking_test.cc - the ranking against a look at each core.

#include "dispatch/core_ranking.h"

#include <gtest/gtest.h>

#include <random>

namespace yamanote::dispatch {
namespace {

// Few different keys, so that most are equal to others.
TEST(CoreRankingTest, FindsWhatALookAtEachCoreFinds) {
  for (unsigned cores = 1; cores <= 70; ++cores) {
    SCOPED_TRACE(cores);
    std::mt19937 random(cores);
    CoreRanking<unsigned> ranking(cores, 9);
    std::vector<unsigned> keys(cores, 9);
    for (int step = 0; step < 500; ++step) {
      const CoreId core = random() % cores;
      keys[core] = random() % 4;
      ranking.Set(core, keys[core]);
      const CoreId first = random() % cores;
      CoreId best = first;
      for (unsigned i = 0; i < cores; ++i) {
        const CoreId one = (first + i) % cores;
        if (keys[one] < keys[best]) best = one;
      }
      ASSERT_EQ(ranking.BestFrom(first), best) << "step " << step;
      ASSERT_EQ(ranking.Best(),
                static_cast<CoreId>(std::distance(
                    keys.begin(), std::ranges::min_element(keys))));
      ASSERT_EQ(ranking.key(core), keys[core]);
      const unsigned limit = random() % 5;
      CoreId next = first;
      while (next < cores && keys[next] >= limit) ++next;
      ASSERT_EQ(ranking.NextBelow(first, limit), next < cores ? next : kNoCore);
    }
  }
}

}  // namespace
}  // namespace yamanote::dispatch
