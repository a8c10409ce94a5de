// placement_callers_test.cc - a placement that one thread calls for all cores, and so
// ranks them instead of looking at each, decides as one that each core's thread calls.

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>
#include <vector>

#include "dispatch/placement.h"

namespace yamanote::dispatch {
namespace {

using namespace std::chrono_literals;

// Two placements of the same kind that are told the same.
class Pair {
 public:
  Pair(const Scheduling& scheduling, unsigned cores, Supply supply)
      : each_(MakePlacement(scheduling, cores, Callers::kManyThreads, supply)),
        one_(MakePlacement(scheduling, cores, Callers::kOneThread, supply)),
        running_(cores) {}

  void Arrive(uint64_t flow, CoreId from) {
    Twins& twins = tasks_.emplace_back();
    for (Task* const task : {&twins.each, &twins.one}) task->id = tasks_.size();
    twins.each.policy_count = twins.one.policy_count = 0;
    Same(each_->Enqueue(twins.each, Wake::kArrival, flow, from, Instant()),
         one_->Enqueue(twins.one, Wake::kArrival, flow, from, Instant()));
  }

  // What a core does at a scheduling point, `choice` of it.
  void Step(CoreId core, unsigned choice) {
    Twins* const current = running_[core];
    if (choice == 0 && current != nullptr) {
      each_->Leave(core);
      one_->Leave(core);
      running_[core] = nullptr;
    } else if (choice <= 2 && current != nullptr) {
      current->each.last_core = current->one.last_core = core;
      running_[core] = nullptr;
      Ran(core,
          each_->Exchange(current->each, Wake::kPreempted, core, Instant()),
          one_->Exchange(current->one, Wake::kPreempted, core, Instant()));
    } else if (choice <= 4) {
      Same(each_->Dispatch(core, Instant()), one_->Dispatch(core, Instant()));
      running_[core] = nullptr;
      Ran(core, each_->PickNext(core, Instant()),
          one_->PickNext(core, Instant()));
    } else if (current == nullptr) {
      Ran(core, each_->FindWork(core, Instant()),
          one_->FindWork(core, Instant()));
    }
    EXPECT_EQ(each_->HasWork(core), one_->HasWork(core));
    EXPECT_EQ(each_->HasOwnWork(core), one_->HasOwnWork(core));
  }

  void SetHeld(CoreId core, bool held) {
    Same(each_->SetHeld(core, held, Instant()),
         one_->SetHeld(core, held, Instant()));
  }

  unsigned ran() const { return ran_; }

 private:
  struct Twins {
    Task each;
    Task one;
  };

  static void Same(Placed each, Placed one) {
    EXPECT_EQ(each.notify, one.notify);
    EXPECT_EQ(each.core, one.core);
  }
  void Ran(CoreId core, const Task* each, const Task* one) {
    ASSERT_EQ(each == nullptr, one == nullptr);
    if (each == nullptr) return;
    ASSERT_EQ(each->id, one->id);
    running_[core] = &tasks_[each->id - 1];
    ++ran_;
  }

  std::unique_ptr<Placement> each_;
  std::unique_ptr<Placement> one_;
  std::deque<Twins> tasks_;
  std::vector<Twins*> running_;  // By core.
  unsigned ran_ = 0;
};

std::vector<Scheduling> Schedulings() {
  using P = PlacementKind;
  using D = DispatcherKind;
  return {
      {.placement = P::kCentral, .dispatcher = D::kDedicated, .slots = 1},
      {.placement = P::kCentral, .dispatcher = D::kDedicated, .slots = 3},
      {.placement = P::kPartitioned},
      {.placement = P::kStealing},
      {.placement = P::kTwoLevel},
      {.placement = P::kTwoLevel, .steal = true},
  };
}

void Compare(const Scheduling& scheduling, unsigned cores, Supply supply,
             uint32_t seed) {
  SCOPED_TRACE(std::string(ToString(scheduling.placement)) + " on " +
               std::to_string(cores) + " cores, seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Pair pair(scheduling, cores, supply);
  for (int step = 0; step < 3000 && !testing::Test::HasFailure(); ++step) {
    const CoreId core = random() % cores;
    switch (random() % 5) {
      case 0:
      case 1:
        pair.Arrive(random() % 3 == 0 ? 0 : random() % 50 + 1,
                    random() % 3 == 0 ? core : kNoCore);
        break;
      case 2:
        if (supply == Supply::kArbiter) {
          pair.SetHeld(core, random() % 2 == 0);
        } else {
          pair.Step(0, 3);  // A dispatcher has more to do than the others.
        }
        break;
      default:
        pair.Step(core, random() % 8);
    }
  }
  EXPECT_GT(pair.ran(), 100U);
}

TEST(PlacementCallersTest, OneThreadThatRanksDecidesAsManyThatLook) {
  for (Scheduling scheduling : Schedulings()) {
    scheduling.order = "rr";
    scheduling.slice = 5us;
    for (const unsigned cores : {5U, 64U, 70U, 150U}) {
      for (uint32_t seed = 1; seed <= 5; ++seed)
        Compare(scheduling, cores, Supply::kOwn, seed);
    }
  }
}

TEST(PlacementCallersTest, SoItDoesWhereCoresComeAndGo) {
  using P = PlacementKind;
  for (Scheduling scheduling :
       {Scheduling{.placement = P::kStealing},
        Scheduling{.placement = P::kTwoLevel, .steal = true}}) {
    scheduling.order = "rr";
    scheduling.slice = 5us;
    for (const unsigned cores : {5U, 64U, 70U}) {
      const Result<Scheduling> fit = ForArbiter(scheduling, cores);
      ASSERT_TRUE(fit) << fit.error().message;
      for (uint32_t seed = 1; seed <= 5; ++seed)
        Compare(*fit, cores, Supply::kArbiter, seed);
    }
  }
}

}  // namespace
}  // namespace yamanote::dispatch
