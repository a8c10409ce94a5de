// admission_test.cc - the limit is exact, per class, on any number of threads.

#include "dispatch/admission.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace yamanote::dispatch {
namespace {

TEST(AdmissionTest, RefusesOverTheLimitAndCountsIt) {
  Admission admission(
      {{.name = "short", .limit = 2}, {.name = "long", .limit = 1}});
  EXPECT_TRUE(admission.TryAdmit(0));
  EXPECT_TRUE(admission.TryAdmit(0));
  EXPECT_FALSE(admission.TryAdmit(0));
  EXPECT_EQ(admission.InSystem(0), 2u);
  EXPECT_EQ(admission.Refused(0), 1u);
  // A full class leaves the others alone.
  EXPECT_TRUE(admission.TryAdmit(1));
  EXPECT_FALSE(admission.TryAdmit(1));

  admission.Release(0);
  EXPECT_TRUE(admission.TryAdmit(0));
  EXPECT_EQ(admission.Refused(0), 1u);
  EXPECT_EQ(admission.Refused(1), 1u);
}

TEST(AdmissionTest, UnknownClassCountsAsClassZero) {
  Admission admission(std::vector{ClassOptions{.limit = 1}});
  EXPECT_TRUE(admission.TryAdmit(7));
  EXPECT_EQ(admission.InSystem(0), 1u);
  EXPECT_FALSE(admission.TryAdmit(0));
  admission.Release(7);
  EXPECT_EQ(admission.InSystem(0), 0u);
}

TEST(AdmissionTest, NoClassesMeanTheDefaultOne) {
  Admission admission(std::vector<ClassOptions>{});
  EXPECT_TRUE(admission.TryAdmit(0));
}

TEST(AdmissionDeathTest, ReleaseWithoutAdmitIsABug) {
  Admission admission(std::vector{ClassOptions{.limit = 1}});
  EXPECT_DEATH(admission.Release(0), "without TryAdmit");
}

// Never more than the limit inside, whoever comes; all released at the end.
TEST(AdmissionTest, HoldsTheLimitAmongThreads) {
  constexpr uint32_t kLimit = 2;
  constexpr int kTries = 3000;
  Admission admission(std::vector{ClassOptions{.limit = kLimit}});
  std::atomic<uint32_t> inside{0};
  std::atomic<uint32_t> most{0};
  std::atomic<uint64_t> admitted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kTries; ++i) {
        if (!admission.TryAdmit(0)) continue;
        const uint32_t now = inside.fetch_add(1) + 1;
        uint32_t seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        admitted.fetch_add(1);
        inside.fetch_sub(1);
        admission.Release(0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most.load(), kLimit);
  EXPECT_EQ(admission.InSystem(0), 0u);
  EXPECT_EQ(admitted.load() + admission.Refused(0), 4u * kTries);
}

}  // namespace
}  // namespace yamanote::dispatch
