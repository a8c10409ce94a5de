// fifo_test.cc - the order of arrival, and where the preempted rejoin.

#include <gmock/gmock.h>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

TEST(FifoTest, RunsInTheOrderOfArrival) {
  const auto fifo = MakePolicy("fifo");
  Tasks t;
  for (Task& task : t) fifo->Enqueue(task, Wake::kArrival, {});
  EXPECT_THAT(PickAll(*fifo), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(fifo->PickNext(0, {}), nullptr);
}

TEST(FifoTest, PreemptedTaskRejoinsAtTheTail) {
  const auto fifo = MakePolicy("fifo", {.slice = 5us});
  Tasks t;
  fifo->Enqueue(t[0], Wake::kArrival, {});
  fifo->Enqueue(t[1], Wake::kPreempted, {});
  fifo->Enqueue(t[2], Wake::kArrival, {});
  EXPECT_THAT(PickAll(*fifo), ElementsAre(1, 2, 3));
  EXPECT_EQ(fifo->Slice(t[0]), 5us);
}

TEST(FifoTest, PreemptedTaskRejoinsAtTheHeadIfAsked) {
  const auto fifo = MakePolicy("fifo", {.slice = 5us, .rejoin = Rejoin::kHead});
  Tasks t;
  fifo->Enqueue(t[0], Wake::kArrival, {});
  fifo->Enqueue(t[1], Wake::kPreempted, {});
  // Who gives way by itself means it: the tail.
  fifo->Enqueue(t[2], Wake::kYield, {});
  EXPECT_THAT(PickAll(*fifo), ElementsAre(2, 1, 3));
}

TEST(FifoTest, HasNoSliceByDefault) {
  EXPECT_EQ(MakePolicy("fifo")->Slice(Task()), kNoPreemption);
}

}  // namespace
}  // namespace yamanote
