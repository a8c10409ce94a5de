// slo_ratio_test.cc - which class goes first, and when it changes.

#include <gmock/gmock.h>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

// Class 0: objective 10 us; class 1: objective 100 us.
PolicyOptions TwoClasses(Rejoin rejoin = Rejoin::kTail) {
  return {.slice = 5us,
          .rejoin = rejoin,
          .classes = {{.name = "short", .slo = 10us},
                      {.name = "long", .slo = 100us}}};
}

Instant At(Duration time) { return Instant(time); }

void Arrive(Policy& policy, Task& task, ClassId c, Duration arrival) {
  task.request_class = c;
  task.arrival = At(arrival);
  policy.Enqueue(task, Wake::kArrival, At(arrival));
}

TEST(SloRatioTest, TheClassThatWaitedMostOfItsObjectiveGoesFirst) {
  const auto policy = MakePolicy("slo-ratio", TwoClasses());
  Tasks t;
  Arrive(*policy, t[0], 1, 0us);
  Arrive(*policy, t[1], 0, 30us);
  // At 33 us the long one has waited 33/100, the short one 3/10: long first.
  EXPECT_EQ(policy->PickNext(0, At(33us))->id, 1u);
  Arrive(*policy, t[0], 1, 0us);
  // At 34 us it is 34/100 against 4/10: the short one overtakes.
  EXPECT_THAT(PickAll(*policy, At(34us)), ElementsAre(2, 1));
}

TEST(SloRatioTest, WithinAClassTheOldestGoesFirst) {
  const auto policy = MakePolicy("slo-ratio", TwoClasses());
  Tasks t;
  Arrive(*policy, t[0], 1, 0us);
  Arrive(*policy, t[1], 1, 1us);
  Arrive(*policy, t[2], 1, 2us);
  EXPECT_THAT(PickAll(*policy, At(50us)), ElementsAre(1, 2, 3));
}

TEST(SloRatioTest, TiesGoToTheLowerClass) {
  const auto policy = MakePolicy("slo-ratio", TwoClasses());
  Tasks t;
  Arrive(*policy, t[0], 1, 5us);
  Arrive(*policy, t[1], 0, 5us);
  EXPECT_THAT(PickAll(*policy, At(5us)), ElementsAre(2, 1));
}

TEST(SloRatioTest, PreemptedTaskRejoinsItsOwnQueueWhereAsked) {
  for (const Rejoin rejoin : {Rejoin::kHead, Rejoin::kTail}) {
    const auto policy = MakePolicy("slo-ratio", TwoClasses(rejoin));
    Tasks t;
    Arrive(*policy, t[0], 1, 0us);
    Arrive(*policy, t[1], 1, 1us);
    Task* const first = policy->PickNext(0, At(2us));
    policy->Enqueue(*first, Wake::kPreempted, At(7us));
    if (rejoin == Rejoin::kHead) {
      EXPECT_THAT(PickAll(*policy, At(8us)), ElementsAre(1, 2));
    } else {
      EXPECT_THAT(PickAll(*policy, At(8us)), ElementsAre(2, 1));
    }
  }
}

TEST(SloRatioTest, UnknownClassIsClassZero) {
  const auto policy = MakePolicy("slo-ratio", TwoClasses());
  Tasks t;
  Arrive(*policy, t[0], 1, 0us);
  Arrive(*policy, t[1], 999, 0us);
  EXPECT_THAT(PickAll(*policy, At(1us)), ElementsAre(2, 1));
}

}  // namespace
}  // namespace yamanote
