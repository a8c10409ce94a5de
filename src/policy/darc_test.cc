// darc_test.cc - what is reserved for whom, and who never waits for ever.

#include <gmock/gmock.h>

#include <deque>
#include <random>

#include "policy/order_test.h"

namespace yamanote {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

struct Seen {
  unsigned count;
  Duration service;
};

class DarcTest : public testing::Test {
 protected:
  void Make(unsigned cores, size_t classes, CoreId first_core = 0) {
    cores_ = cores;
    first_core_ = first_core;
    PolicyOptions options{.cores = cores, .first_core = first_core};
    for (size_t c = 0; c < classes; ++c)
      options.classes.push_back({.name = std::to_string(c)});
    darc_ = MakePolicy("darc", options);
  }

  // By class: what finishes. 10,000 tasks make a profile.
  void Finish(const std::vector<Seen>& classes) {
    Task task;
    for (ClassId c = 0; c < classes.size(); ++c) {
      task.request_class = c;
      task.attained = classes[c].service;
      for (unsigned i = 0; i < classes[c].count; ++i)
        darc_->OnStop(task, 0, Stop::kFinished, 1us);
    }
  }

  Task& Arrive(ClassId c) {
    Task& task = tasks_.emplace_back();
    task.id = tasks_.size();
    task.request_class = c;
    darc_->Enqueue(task, Wake::kArrival, {});
    return task;
  }

  // The cores that would run a task of class `c`.
  std::vector<CoreId> ServedBy(ClassId c) {
    Arrive(c);
    std::vector<CoreId> cores;
    for (CoreId core = first_core_; core < first_core_ + cores_; ++core) {
      if (darc_->HasWork(core)) cores.push_back(core);
    }
    darc_->PickNext(first_core_ + cores_ - 1, {});  // The last serves all.
    return cores;
  }

  static std::vector<CoreId> From(CoreId first, CoreId last) {
    std::vector<CoreId> cores;
    while (first <= last) cores.push_back(first++);
    return cores;
  }

  uint64_t Pick(CoreId core) {
    const bool has = darc_->HasWork(core);
    const Task* const task = darc_->PickNext(core, {});
    EXPECT_EQ(has, task != nullptr);
    return task == nullptr ? 0 : task->id;
  }

  // Two classes of 1 and 100 us, on four cores. Short work is a 101th of all, so
  // core 0 is reserved for it; 3 serves all.
  void MakeTwo() {
    Make(4, 2);
    Finish({{5'000, 1us}, {5'000, 100us}});
  }

  unsigned cores_ = 0;
  CoreId first_core_ = 0;
  std::unique_ptr<Policy> darc_;
  std::deque<Task> tasks_;  // Ids from 1.
};

// The paper's workloads, on its 14 workers. TPC-C: Payment 44% of 5.7 us and
// OrderStatus 4% of 6 us are alike, as are Delivery 4% of 88 us and StockLevel 4%
// of 100 us; NewOrder, 44% of 20 us, is by itself. Of 19.07 us a request takes on
// average that is 2.75, 8.8 and 7.52 us, hence 2.02, 6.46 and 5.52 cores.
TEST_F(DarcTest, ReservesTheShareOfTheWorkRounded) {
  Make(14, 5);
  Finish({{400, 88us},       // Delivery.
          {400, 6us},        // OrderStatus.
          {4'400, 20us},     // NewOrder.
          {4'400, 5'700ns},  // Payment.
          {400, 100us}});    // StockLevel.
  // Two cores reserved for the shortest, and those of the longer groups.
  EXPECT_EQ(ServedBy(3), From(0, 13));
  EXPECT_EQ(ServedBy(1), From(0, 13));
  EXPECT_EQ(ServedBy(2), From(2, 13));  // Six.
  EXPECT_EQ(ServedBy(0), From(8, 13));  // Six.
  EXPECT_EQ(ServedBy(4), From(8, 13));
}

// Half of 1 us, half of 100 us: the short ones need 0.14 of 14 cores.
TEST_F(DarcTest, ReservesAtLeastOneCore) {
  Make(14, 2);
  Finish({{5'000, 100us}, {5'000, 1us}});
  EXPECT_EQ(ServedBy(1), From(0, 13));
  EXPECT_EQ(ServedBy(0), From(1, 13));
}

// 99.5% of 0.5 us, 0.5% of 500 us: 0.4975 of 2.9975 us are the short ones'; 2.32
// of 14 cores.
TEST_F(DarcTest, ReservesTwoCoresForTheExtremeBimodalWorkload) {
  Make(14, 2);
  Finish({{9'950, 500ns}, {50, 500us}});
  EXPECT_EQ(ServedBy(0), From(0, 13));
  EXPECT_EQ(ServedBy(1), From(2, 13));
}

// 1.4, 1.3 and 1.3 of 4 cores make one each; the longest get the fourth too.
TEST_F(DarcTest, TheLongestGroupGetsWhatRoundingLeaves) {
  Make(4, 3);
  Finish({{5'000, 14us}, {2'600, 25us}, {2'400, 27'083ns * 2}});
  EXPECT_EQ(ServedBy(0), From(0, 3));
  EXPECT_EQ(ServedBy(1), From(1, 3));
  EXPECT_EQ(ServedBy(2), From(2, 3));
}

// Nearly all work is short, so all four cores are reserved for it. The long ones
// share the last.
TEST_F(DarcTest, WhoGetsNoCoreSharesTheLast) {
  Make(4, 2);
  Finish({{9'999, 10us}, {1, 100us}});
  EXPECT_EQ(ServedBy(0), From(0, 3));
  EXPECT_THAT(ServedBy(1), ElementsAre(3));
}

TEST_F(DarcTest, BeforeTheFirstProfileItIsFifoOnAllCores) {
  Make(2, 2);
  Finish({{4'999, 1us}, {5'000, 100us}});  // One is missing.
  Arrive(1);
  Arrive(0);
  Arrive(1);
  EXPECT_EQ(Pick(0), 1u);
  EXPECT_EQ(Pick(1), 2u);
  EXPECT_EQ(Pick(0), 3u);
  EXPECT_EQ(Pick(0), 0u);
}

TEST_F(DarcTest, ACoreStaysFreeForTheShort) {
  MakeTwo();
  for (int i = 0; i < 4; ++i) Arrive(1);
  // Three run; core 0 idles although a fourth waits,
  EXPECT_EQ(Pick(0), 0u);
  EXPECT_EQ(Pick(1), 1u);
  EXPECT_EQ(Pick(2), 2u);
  EXPECT_EQ(Pick(3), 3u);
  EXPECT_EQ(Pick(0), 0u);
  // and a short one that comes now runs at once.
  Arrive(0);
  EXPECT_EQ(Pick(0), 5u);
}

TEST_F(DarcTest, ShortOnesGoFirstAlsoOnCoresOfTheLong) {
  MakeTwo();
  Arrive(1);
  Arrive(0);
  Arrive(1);
  Arrive(0);
  EXPECT_EQ(Pick(1), 2u);
  EXPECT_EQ(Pick(2), 4u);
  EXPECT_EQ(Pick(1), 1u);
  EXPECT_EQ(Pick(2), 3u);
}

// However many short ones there are: the last core serves in order of arrival.
TEST_F(DarcTest, TheLongDoNotStarve) {
  MakeTwo();
  Arrive(0);
  Arrive(1);
  for (int i = 0; i < 100; ++i) Arrive(0);
  EXPECT_EQ(Pick(3), 1u);
  EXPECT_EQ(Pick(3), 2u);
}

TEST_F(DarcTest, AClassThatTheProfileDidNotSeeHasTheLastCoreAndDoesNotStarve) {
  Make(4, 3);
  Finish({{5'000, 1us}, {5'000, 100us}});
  EXPECT_THAT(ServedBy(2), ElementsAre(3));
  for (int i = 0; i < 3; ++i) Arrive(0), Arrive(1);
  const uint64_t unknown = Arrive(2).id;
  for (int i = 0; i < 100; ++i) Arrive(0), Arrive(1);
  uint64_t picked = 0;
  for (int i = 0; i < 7; ++i) picked = Pick(3);
  EXPECT_EQ(picked, unknown);
  // Then the next profile sees it: 1, 100 and 10 us.
  Finish({{4'900, 1us}, {4'900, 100us}, {200, 10us}});
  while (Pick(3) != 0) {
  }
  EXPECT_EQ(ServedBy(2), From(1, 3));
}

TEST_F(DarcTest, WithOneCoreAllShareItInOrderOfArrival) {
  Make(1, 2);
  Finish({{5'000, 1us}, {5'000, 100us}});
  Arrive(1);
  Arrive(0);
  Arrive(1);
  EXPECT_EQ(Pick(0), 1u);
  EXPECT_EQ(Pick(0), 2u);
  EXPECT_EQ(Pick(0), 3u);
}

// A dispatcher whose workers are all busy takes what came first.
TEST_F(DarcTest, ACoreThatLendsAHandServesAll) {
  Make(3, 2, /*first_core=*/1);
  Finish({{5'000, 1us}, {5'000, 100us}});
  EXPECT_EQ(ServedBy(1), From(2, 3));  // Core 1 is the short ones'.
  Arrive(1);
  EXPECT_EQ(Pick(1), 0u);
  EXPECT_EQ(Pick(0), 2u);
}

// Ten cores. 4.4 for the short: 4. Then 4.6 would make 5, but neither class moved
// by a tenth; then 5.5 does: 6, for half is rounded up beyond .5 only.
TEST_F(DarcTest, ATenthMoreOrLessMakesANewReservation) {
  Make(10, 2);
  Finish({{8'800, 10us}, {1'200, 93'334ns}});
  EXPECT_EQ(ServedBy(1), From(4, 9));
  Finish({{9'200, 10us}, {800, 135us}});
  EXPECT_EQ(ServedBy(1), From(4, 9));
  Finish({{9'000, 10us}, {1'000, 70us}});  // 5.6 and 4.4.
  EXPECT_EQ(ServedBy(1), From(6, 9));
}

TEST_F(DarcTest, OnlyWhatFinishesIsProfiled) {
  Make(4, 2);
  Task task;
  for (int i = 0; i < 20'000; ++i) {
    task.request_class = static_cast<ClassId>(i % 2);
    task.attained = i % 2 == 0 ? 1us : 100us;
    for (const Stop why : {Stop::kPreempted, Stop::kYielded, Stop::kBlocked})
      darc_->OnStop(task, 0, why, 1us);
  }
  EXPECT_EQ(ServedBy(1), From(0, 3));
}

TEST_F(DarcTest, TasksWithoutServiceAreNoReasonToReserve) {
  Make(4, 2);
  Finish({{5'000, 0us}, {5'000, 0us}});
  EXPECT_EQ(ServedBy(0), From(0, 3));
  EXPECT_EQ(ServedBy(1), From(0, 3));
}

// Whatever was profiled, nothing is lost, and a core is refused only what it is
// told it has not.
TEST_F(DarcTest, RandomProfilesLoseNothing) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto cores = 1 + static_cast<unsigned>(random() % 8);
    const size_t classes = 1 + random() % 5;
    Make(cores, classes);
    size_t waiting = 0;
    for (int round = 0; round < 5; ++round) {
      std::vector<Seen> seen(classes);
      for (unsigned left = 10'000; left > 0;) {
        const auto some =
            std::min(left, 1 + static_cast<unsigned>(random() % 5'000));
        seen[random() % classes].count += some;
        left -= some;
      }
      for (Seen& c : seen) c.service = Duration(1 + random() % 100'000);
      Finish(seen);
      for (int step = 0; step < 200; ++step) {
        if (random() % 2 == 0) {
          Arrive(static_cast<ClassId>(random() % (classes + 1)));
          ++waiting;
        } else if (Pick(random() % cores) != 0) {
          --waiting;
        }
      }
    }
    while (Pick(cores - 1) != 0) --waiting;  // It serves all.
    EXPECT_EQ(waiting, 0u);
  }
}

}  // namespace
}  // namespace yamanote
