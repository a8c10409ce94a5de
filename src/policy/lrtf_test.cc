// lrtf_test.cc - who has run least, and who is near.

#include <gmock/gmock.h>

#include <random>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

// Cores 0 and 1 share a cache, 2 is on their node, 3 is not.
const PolicyOptions kMachine = {.cores = 4,
                                .locality = {{0, 0}, {0, 0}, {1, 0}, {2, 1}}};

TEST(LrtfTest, WhoHasRunLeastGoesFirst) {
  const auto lrtf = MakePolicy("lrtf");
  Tasks t;
  t[0].attained = 30us;
  t[1].attained = 0us;
  t[2].attained = 10us;
  t[3].attained = 0us;
  for (Task& task : t) lrtf->Enqueue(task, Wake::kPreempted, {});
  EXPECT_THAT(PickAll(*lrtf), ElementsAre(2, 4, 3, 1));
}

// Ran last on 3, 2, 1 and 0, the furthest least; core 0 asks.
TEST(LrtfTest, TheNearestOfThoseThatRanLeastGoesFirst) {
  const auto lrtf = MakePolicy("lrtf", kMachine);
  Tasks t;
  for (CoreId i = 0; i < 4; ++i) {
    t[i].last_core = 3 - i;
    t[i].attained = 1us * (i + 1);
    lrtf->Enqueue(t[i], Wake::kWakeup, {});
  }
  EXPECT_THAT(PickAll(*lrtf), ElementsAre(4, 3, 2, 1));
}

TEST(LrtfTest, OneThatHasNotRunYetIsAtHomeEverywhere) {
  const auto lrtf = MakePolicy("lrtf", kMachine);
  Tasks t;
  t[0].last_core = 0;
  t[0].attained = 1us;
  lrtf->Enqueue(t[0], Wake::kPreempted, {});
  lrtf->Enqueue(t[1], Wake::kArrival, {});
  EXPECT_THAT(PickAll(*lrtf), ElementsAre(2, 1));
}

TEST(LrtfTest, PatienceEndsAfter100us) {
  const auto lrtf = MakePolicy("lrtf", kMachine);
  Tasks t;
  const auto enqueue = [&](Task& task, CoreId core, Duration ran, Duration at) {
    task.last_core = core;
    task.attained = ran;
    lrtf->Enqueue(task, Wake::kWakeup, Instant(at));
  };
  enqueue(t[0], 3, 1us, 10us);
  enqueue(t[1], 0, 2us, 20us);
  enqueue(t[2], 0, 3us, 20us);
  EXPECT_EQ(lrtf->PickNext(0, Instant(110us)), &t[1]);
  EXPECT_EQ(lrtf->PickNext(0, Instant(110us + 1ns)), &t[0]);
  EXPECT_EQ(lrtf->PickNext(0, Instant(110us + 1ns)), &t[2]);
}

TEST(LrtfTest, WithoutLocalityOnlyTheSameCoreIsNear) {
  const auto lrtf = MakePolicy("lrtf", {.cores = 4});
  Tasks t;
  for (CoreId i = 0; i < 4; ++i) {
    t[i].last_core = 3 - i;
    t[i].attained = 1us * (i + 1);
    lrtf->Enqueue(t[i], Wake::kWakeup, {});
  }
  EXPECT_THAT(PickAll(*lrtf), ElementsAre(4, 1, 2, 3));
}

// The ninth is not looked at until another has gone.
TEST(LrtfTest, OnlyEightAreLookedAt) {
  const auto lrtf = MakePolicy("lrtf", kMachine);
  std::array<Task, 9> t;
  for (size_t i = 0; i < t.size(); ++i) {
    t[i].attained = 1us * static_cast<int64_t>(i + 1);
    t[i].last_core = i == 8 ? 0 : 3;
    lrtf->Enqueue(t[i], Wake::kWakeup, {});
  }
  EXPECT_EQ(lrtf->PickNext(0, {}), &t[0]);
  EXPECT_EQ(lrtf->PickNext(0, {}), &t[8]);
  EXPECT_EQ(lrtf->PickNext(0, {}), &t[1]);
}

// However many come and go, it is the order of las where all ran on the same core.
TEST(LrtfTest, IsLasOnOneCore) {
  std::mt19937 random(1);
  const auto lrtf = MakePolicy("lrtf");
  const auto las = MakePolicy("las");
  std::array<Task, 200> ours;
  std::array<Task, 200> theirs;
  std::vector<size_t> out(ours.size());
  for (size_t i = 0; i < out.size(); ++i) {
    ours[i].id = theirs[i].id = i;
    out[i] = i;
  }
  size_t waiting = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (!out.empty() && (waiting == 0 || random() % 2 == 0)) {
      const size_t i = out[random() % out.size()];
      std::erase(out, i);
      const Duration ran(static_cast<int64_t>(random() % 4));
      for (Task* const task : {&ours[i], &theirs[i]}) {
        task->attained += ran;
        task->last_core = 0;
      }
      lrtf->Enqueue(ours[i], Wake::kPreempted, Instant(Duration(step)));
      las->Enqueue(theirs[i], Wake::kPreempted, Instant(Duration(step)));
      ++waiting;
    } else {
      const Task* const picked = lrtf->PickNext(0, Instant(Duration(step)));
      const Task* const expected = las->PickNext(0, Instant(Duration(step)));
      ASSERT_NE(picked, nullptr);
      ASSERT_NE(expected, nullptr);
      ASSERT_EQ(picked->id, expected->id) << "step " << step;
      out.push_back(picked->id);
      --waiting;
    }
  }
}

TEST(LrtfTest, HasAFiniteSliceByDefault) {
  EXPECT_EQ(MakePolicy("lrtf")->Slice(Task()), 20us);
}

}  // namespace
}  // namespace yamanote
