// rr_test.cc - takes turns, with a slice of its own.

#include <gmock/gmock.h>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

TEST(RoundRobinTest, HasAFiniteSliceByDefault) {
  EXPECT_EQ(MakePolicy("rr")->Slice(Task()), 20us);
  EXPECT_EQ(MakePolicy("rr", {.slice = 2us})->Slice(Task()), 2us);
}

// Whatever `rejoin` says: with the head it would not go round.
TEST(RoundRobinTest, PreemptedTaskRejoinsAtTheTail) {
  const auto rr = MakePolicy("rr", {.rejoin = Rejoin::kHead});
  Tasks t;
  rr->Enqueue(t[0], Wake::kArrival, {});
  rr->Enqueue(t[1], Wake::kArrival, {});
  for (const uint64_t expected : {1, 2, 1, 2}) {
    Task* const task = rr->PickNext(0, {});
    ASSERT_NE(task, nullptr);
    EXPECT_EQ(task->id, expected);
    rr->Enqueue(*task, Wake::kPreempted, {});
  }
  EXPECT_THAT(PickAll(*rr), ElementsAre(1, 2));
}

// Also of the orders fifo and slo-ratio, which have the same part.
TEST(BackgroundTest, RunsWhileNobodyElseWaitsAndGivesWayAtOnce) {
  for (const char* const order : {"rr", "fifo", "slo-ratio"}) {
    SCOPED_TRACE(order);
    const auto policy =
        MakePolicy(order, {.slice = 20us,
                           .classes = {{.name = "server"},
                                       {.name = "batch", .background = true}}});
    Tasks t;
    t[0].request_class = t[1].request_class = 1;
    for (Task& task : t) policy->Enqueue(task, Wake::kArrival, {});
    Task* const server = policy->PickNext(0, {});
    ASSERT_EQ(server, &t[2]);
    EXPECT_EQ(policy->Slice(*server), 20us);
    // While task 4 waits.
    EXPECT_EQ(policy->Slice(t[0]), 1ns);
    EXPECT_EQ(policy->PickNext(0, {}), &t[3]);
    EXPECT_EQ(policy->Slice(t[0]), 20us);
    Task* const batch = policy->PickNext(0, {});
    ASSERT_EQ(batch, &t[0]);
    policy->Enqueue(*batch, Wake::kPreempted, {});
    EXPECT_THAT(PickAll(*policy), ElementsAre(2, 1));
  }
}

}  // namespace
}  // namespace yamanote
