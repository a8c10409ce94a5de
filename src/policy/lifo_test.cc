// lifo_test.cc - newest first, and those that give way last.

#include <gmock/gmock.h>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

TEST(LifoTest, RunsTheNewestFirst) {
  const auto lifo = MakePolicy("lifo");
  Tasks t;
  for (Task& task : t) lifo->Enqueue(task, Wake::kArrival, {});
  EXPECT_THAT(PickAll(*lifo), ElementsAre(4, 3, 2, 1));
  EXPECT_EQ(lifo->PickNext(0, {}), nullptr);
}

TEST(LifoTest, WokenTasksCountAsNew) {
  const auto lifo = MakePolicy("lifo");
  Tasks t;
  lifo->Enqueue(t[0], Wake::kArrival, {});
  lifo->Enqueue(t[1], Wake::kWakeup, {});
  EXPECT_THAT(PickAll(*lifo), ElementsAre(2, 1));
}

// Else two threads that yield to a third would only ever see each other.
TEST(LifoTest, WhoGivesWayGoesBehindAllOthers) {
  const auto lifo = MakePolicy("lifo", {.slice = 5us});
  Tasks t;
  lifo->Enqueue(t[0], Wake::kArrival, {});
  lifo->Enqueue(t[1], Wake::kYield, {});
  lifo->Enqueue(t[2], Wake::kPreempted, {});
  lifo->Enqueue(t[3], Wake::kArrival, {});
  EXPECT_THAT(PickAll(*lifo), ElementsAre(4, 1, 2, 3));
  EXPECT_EQ(lifo->Slice(t[0]), 5us);
}

TEST(LifoTest, ThievesTakeTheLast) {
  const auto lifo = MakePolicy("lifo");
  Tasks t;
  for (Task& task : t) lifo->Enqueue(task, Wake::kArrival, {});
  EXPECT_EQ(lifo->Steal(1, {}), &t[0]);
  EXPECT_EQ(lifo->PickNext(0, {}), &t[3]);
  EXPECT_EQ(lifo->Steal(1, {}), &t[1]);
  EXPECT_EQ(lifo->Steal(1, {}), &t[2]);
  EXPECT_EQ(lifo->Steal(1, {}), nullptr);
  // Not one that gave way while there are others: it would run at once there.
  lifo->Enqueue(t[0], Wake::kYield, {});
  lifo->Enqueue(t[1], Wake::kArrival, {});
  EXPECT_EQ(lifo->Steal(1, {}), &t[1]);
  EXPECT_EQ(lifo->Steal(1, {}), &t[0]);
  // One that comes back goes through both ends.
  lifo->Enqueue(t[1], Wake::kMigrated, {});
  EXPECT_EQ(lifo->PickNext(0, {}), &t[1]);
  EXPECT_EQ(lifo->PickNext(0, {}), nullptr);
}

}  // namespace
}  // namespace yamanote
