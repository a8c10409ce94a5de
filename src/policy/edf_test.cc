// edf_test.cc - deadlines, and what stands in for them.

#include <gmock/gmock.h>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

Instant At(Duration time) { return Instant(time); }

TEST(EdfTest, TheNearestDeadlineGoesFirst) {
  const auto edf = MakePolicy("edf");
  Tasks t;
  t[0].deadline = At(30us);
  t[1].deadline = At(10us);
  t[2].deadline = At(20us);
  for (int i = 0; i < 3; ++i) edf->Enqueue(t[i], Wake::kArrival, At(0us));
  EXPECT_THAT(PickAll(*edf), ElementsAre(2, 3, 1));
}

TEST(EdfTest, EqualDeadlinesKeepTheirOrder) {
  const auto edf = MakePolicy("edf");
  Tasks t;
  for (Task& task : t) {
    task.deadline = At(10us);
    edf->Enqueue(task, Wake::kArrival, At(0us));
  }
  EXPECT_THAT(PickAll(*edf), ElementsAre(1, 2, 3, 4));
}

// Without a deadline it is the objective after the time of becoming runnable.
TEST(EdfTest, TheObjectiveOfTheClassStandsInForADeadline) {
  const auto edf =
      MakePolicy("edf", {.classes = {{.name = "long", .slo = 100us},
                                     {.name = "short", .slo = 10us}}});
  Tasks t;
  edf->Enqueue(t[0], Wake::kArrival, At(0us));  // Due at 100 us.
  t[1].request_class = 1;
  edf->Enqueue(t[1], Wake::kArrival, At(91us));  // Due at 101 us.
  t[2].request_class = 1;
  edf->Enqueue(t[2], Wake::kArrival, At(89us));  // Due at 99 us.
  t[3].deadline = At(50us);
  edf->Enqueue(t[3], Wake::kArrival, At(92us));
  EXPECT_THAT(PickAll(*edf), ElementsAre(4, 3, 1, 2));
}

TEST(EdfTest, PreemptionDoesNotPostponeAndAWakeUpDoes) {
  const auto edf =
      MakePolicy("edf", {.classes = {{.name = "only", .slo = 100us}}});
  for (const Wake why :
       {Wake::kPreempted, Wake::kMigrated, Wake::kWakeup, Wake::kYield}) {
    Tasks t;
    edf->Enqueue(t[0], Wake::kArrival, At(0us));  // Due at 100 us.
    edf->PickNext(0, At(1us));
    edf->Enqueue(t[1], Wake::kArrival, At(2us));  // Due at 102 us.
    edf->Enqueue(t[0], why, At(5us));             // Still 100, or 105 us.
    if (why == Wake::kPreempted || why == Wake::kMigrated) {
      EXPECT_THAT(PickAll(*edf), ElementsAre(1, 2));
    } else {
      EXPECT_THAT(PickAll(*edf), ElementsAre(2, 1));
    }
  }
}

}  // namespace
}  // namespace yamanote
