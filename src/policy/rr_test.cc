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

}  // namespace
}  // namespace yamanote
