// las_test.cc - who has run least goes first.

#include <gmock/gmock.h>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

TEST(LasTest, WhoHasRunLeastGoesFirst) {
  const auto las = MakePolicy("las");
  Tasks t;
  t[0].attained = 30us;
  t[1].attained = 0us;
  t[2].attained = 10us;
  t[3].attained = 0us;
  for (Task& task : t) las->Enqueue(task, Wake::kPreempted, {});
  EXPECT_THAT(PickAll(*las), ElementsAre(2, 4, 3, 1));
}

// A newcomer overtakes a task that has had a slice, and only until it had one.
TEST(LasTest, TasksOfEqualAgeShareInTurn) {
  const auto las = MakePolicy("las", {.slice = 5us});
  Tasks t;
  las->Enqueue(t[0], Wake::kArrival, {});
  las->Enqueue(t[1], Wake::kArrival, {});
  std::vector<uint64_t> ran;
  for (int i = 0; i < 4; ++i) {
    Task* const task = las->PickNext(0, {});
    ran.push_back(task->id);
    task->attained += las->Slice(*task);
    las->Enqueue(*task, Wake::kPreempted, {});
  }
  EXPECT_THAT(ran, ElementsAre(1, 2, 1, 2));
}

TEST(LasTest, HasAFiniteSliceByDefault) {
  EXPECT_EQ(MakePolicy("las")->Slice(Task()), 20us);
}

}  // namespace
}  // namespace yamanote
