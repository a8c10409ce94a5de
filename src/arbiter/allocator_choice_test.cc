// allocator_choice_test.cc - who is next on a core, and which core is chosen, rule by rule.

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "arbiter/allocator.h"

namespace yamanote::arbiter {
namespace {

constexpr Limits kMayBurst{.most = 8};
constexpr Limits kLeftovers{.most = 8, .best_effort = true};

class AllocatorChoiceTest : public testing::Test {
 protected:
  void Start(std::vector<CoreId> siblings, Homes homes = Homes::kNone) {
    allocator_ = std::make_unique<Allocator>(std::move(siblings), 8, homes);
  }
  void StartWithout(unsigned cores, Homes homes = Homes::kNone) {
    Start(std::vector<CoreId>(cores, kNoCore), homes);
  }
  AppId Add(const Limits& limits) { return allocator_->Add(limits); }

  // `app` gets a core, and it is `core`.
  void Give(AppId app, CoreId core) {
    Want(app);
    allocator_->Settle();
    Calm(app);
    Come();
    EXPECT_EQ(allocator_->owner(core), app);
  }
  // The same, where it would choose another.
  void Put(AppId app, CoreId core) {
    for (CoreId other = 0; other < allocator_->cores(); ++other)
      allocator_->Bar(app, other, other != core);
    Give(app, core);
    for (CoreId other = 0; other < allocator_->cores(); ++other)
      allocator_->Bar(app, other, false);
  }
  void Want(AppId app) { allocator_->Want(app, Wish::kMore); }
  void Calm(AppId app) { allocator_->Want(app, Wish::kSame); }
  void Come() {
    allocator_->TakeChanges();
    for (CoreId core = 0; core < allocator_->cores(); ++core) {
      if (allocator_->owner(core) != kNobody)
        allocator_->Started(allocator_->owner(core), core);
    }
  }
  void Leave(CoreId core) {
    ASSERT_TRUE(allocator_->Released(allocator_->owner(core), core));
  }
  AppId owner(CoreId core) const { return allocator_->owner(core); }

  std::unique_ptr<Allocator> allocator_;
};

// ---- Who is next, Shenango's order ------------------------------------------

// Who ran there before goes ahead of the sibling's owner, of who has just left, and of
// who has fewer.
TEST_F(AllocatorChoiceTest, WhoRanThereBeforeIsNext) {
  // 0-1 and 2-3 are siblings.
  Start({1, 0, 3, 2});
  const AppId before = Add(kMayBurst);
  const AppId last = Add(kMayBurst);
  const AppId beside = Add(kMayBurst);
  const AppId other = Add(kMayBurst);
  Give(before, 0);
  Leave(0);
  Give(last, 0);
  Put(beside, 1);
  for (const AppId app : {before, last, beside, other}) Want(app);
  Leave(0);
  EXPECT_EQ(owner(0), before);
}

TEST_F(AllocatorChoiceTest, ThenTheSiblingsOwner) {
  Start({1, 0});
  const AppId last = Add(kMayBurst);
  const AppId beside = Add(kMayBurst);
  const AppId other = Add(kMayBurst);
  Give(last, 0);
  Give(beside, 1);
  for (const AppId app : {last, beside, other}) Want(app);
  Leave(0);
  EXPECT_EQ(owner(0), beside);
}

TEST_F(AllocatorChoiceTest, ThenWhoHasJustLeftIt) {
  StartWithout(2);
  const AppId other = Add(kMayBurst);
  const AppId last = Add(kMayBurst);
  Give(last, 0);
  Want(other);
  Want(last);
  Leave(0);
  EXPECT_EQ(owner(0), last);
}

TEST_F(AllocatorChoiceTest, ThenWhoHasTheFewest) {
  StartWithout(4);
  const AppId rich = Add(kMayBurst);
  const AppId poor = Add(kMayBurst);
  const AppId last = Add(kMayBurst);
  Give(rich, 0);
  Give(rich, 1);
  Give(poor, 2);
  Give(last, 3);
  Want(rich);
  Want(poor);
  Leave(3);
  EXPECT_EQ(owner(3), poor);
}

TEST_F(AllocatorChoiceTest, BestEffortIsLastEvenWhereItRanBefore) {
  StartWithout(1);
  const AppId batch = Add(kLeftovers);
  const AppId last = Add(kMayBurst);
  const AppId other = Add(kMayBurst);
  Give(batch, 0);
  Leave(0);
  Give(last, 0);
  Want(batch);
  Want(other);
  Leave(0);
  EXPECT_EQ(owner(0), other);
}

TEST_F(AllocatorChoiceTest, WhoIsBarredIsNotNext) {
  StartWithout(1);
  const AppId before = Add(kMayBurst);
  const AppId last = Add(kMayBurst);
  const AppId other = Add(kMayBurst);
  Give(before, 0);
  Leave(0);
  Give(last, 0);
  allocator_->Bar(before, 0, true);
  Want(before);
  Leave(0);
  EXPECT_EQ(owner(0), kNobody);
  Want(other);
  allocator_->Settle();
  EXPECT_EQ(owner(0), other);
}

// One need, one core.
TEST_F(AllocatorChoiceTest, WhoInheritsOneHasWhatItWanted) {
  StartWithout(2);
  const AppId one = Add(kMayBurst);
  const AppId other = Add(kMayBurst);
  Give(one, 0);
  Give(one, 1);
  Want(other);
  Leave(0);
  Leave(1);
  EXPECT_EQ(owner(0), other);
  EXPECT_EQ(owner(1), kNobody);
}

TEST_F(AllocatorChoiceTest, ANewApplicationIsNotItsPredecessor) {
  StartWithout(1);
  const AppId before = Add(kMayBurst);
  const AppId last = Add(kMayBurst);
  Give(before, 0);
  Leave(0);
  Give(last, 0);
  allocator_->Remove(before);
  const AppId heir = Add(kMayBurst);
  ASSERT_EQ(heir, before);
  Want(heir);
  Want(last);
  Leave(0);
  EXPECT_EQ(owner(0), last) << "nobody has run there before";
}

// The same, of the one before the last.
TEST_F(AllocatorChoiceTest, NorIfOthersRanThereSince) {
  StartWithout(1);
  const AppId before = Add(kMayBurst);
  const AppId last = Add(kMayBurst);
  Give(before, 0);
  Leave(0);
  Give(last, 0);
  Leave(0);
  allocator_->Remove(before);
  const AppId heir = Add(kMayBurst);
  ASSERT_EQ(heir, before);
  Give(last, 0);
  Want(heir);
  Want(last);
  Leave(0);
  EXPECT_EQ(owner(0), last);
}

// ---- Which core -------------------------------------------------------------

// However much better the one in use would be.
TEST_F(AllocatorChoiceTest, AnIdleCoreBeforeOneInUse) {
  for (const unsigned guaranteed : {0u, 2u}) {
    Start({1, 0, 3, 2});
    const AppId batch = Add(kLeftovers);
    const AppId service = Add({.guaranteed = guaranteed, .most = 4});
    Put(service, 0);
    Put(batch, 1);
    Put(batch, 2);
    Give(service, 3);
    EXPECT_EQ(owner(1), batch) << "the sibling, but in use";
  }
}

// Who is below its guarantee takes from best effort before from who bursts.
TEST_F(AllocatorChoiceTest, BestEffortIsTakenFromFirst) {
  StartWithout(2);
  const AppId bursting = Add(kMayBurst);
  const AppId batch = Add(kLeftovers);
  const AppId service = Add({.guaranteed = 1, .most = 1});
  Give(bursting, 0);
  Give(batch, 1);
  Want(service);
  allocator_->Settle();
  EXPECT_EQ(allocator_->heir(1), service);
  EXPECT_EQ(allocator_->heir(0), kNobody);
}

// What was granted and not come for may be taken back; what is revoked, not again.
TEST_F(AllocatorChoiceTest, NeverOneThatIsRevoked) {
  StartWithout(1);
  const AppId batch = Add(kLeftovers);
  const AppId one = Add(kMayBurst);
  const AppId other = Add(kMayBurst);
  Give(batch, 0);
  Want(one);
  allocator_->Settle();
  Want(other);
  allocator_->Settle();
  EXPECT_EQ(allocator_->heir(0), one);
  EXPECT_EQ(allocator_->inherits(one).size(), 1);
  EXPECT_EQ(allocator_->inherits(other).size(), 0);
}

TEST_F(AllocatorChoiceTest, NobodysHomeBeforeTheSibling) {
  Start({1, 0, 3, 2}, Homes::kAssigned);
  const AppId app = Add(kMayBurst);
  Give(app, 0);
  const AppId host = Add({.guaranteed = 1, .most = 1});
  ASSERT_EQ(allocator_->home(1), host);
  Give(app, 2);
}

// Two homes are siblings where they can be, and one does not break a pair.
TEST_F(AllocatorChoiceTest, HomesKeepPairsTogether) {
  Start({1, 0, 3, 2}, Homes::kAssigned);
  const AppId single = Add({.guaranteed = 1, .most = 1});
  ASSERT_EQ(allocator_->home(0), single);
  const AppId pair = Add({.guaranteed = 2, .most = 2});
  EXPECT_EQ(allocator_->home(2), pair);
  EXPECT_EQ(allocator_->home(3), pair);

  allocator_->Remove(single);
  allocator_->Remove(pair);
  const AppId first = Add({.guaranteed = 2, .most = 2});
  ASSERT_EQ(allocator_->home(1), first);
  const AppId half = Add({.guaranteed = 1, .most = 1});
  ASSERT_EQ(allocator_->home(2), half);
  allocator_->Remove(first);
  const AppId other = Add({.guaranteed = 1, .most = 1});
  EXPECT_EQ(allocator_->home(3), other);
}

// Sixty-four in a word: beyond, too.
TEST_F(AllocatorChoiceTest, CoresOfAllWords) {
  StartWithout(200);
  const AppId app = Add({.most = 200});
  for (CoreId core = 0; core < 200; ++core)
    allocator_->Bar(app, core, core != 199);
  Give(app, 199);
  EXPECT_EQ(allocator_->owned(app).size(), 1);
  Leave(199);
  allocator_->Bar(app, 130, false);
  Give(app, 199);
  Give(app, 130);
}

// ---- Limits -----------------------------------------------------------------

// An idle core that it does without is given back; what has not started is not.
TEST_F(AllocatorChoiceTest, OnlyItsOwnRunningCoreIsSpare) {
  StartWithout(2);
  const AppId app = Add(kMayBurst);
  const AppId other = Add(kMayBurst);
  Give(app, 0);
  Give(other, 1);
  allocator_->Want(app, Wish::kFewer, 1);
  EXPECT_EQ(allocator_->state(1), CoreState::kRunning);
  allocator_->Want(app, Wish::kFewer, 0);
  EXPECT_EQ(allocator_->state(0), CoreState::kRevoked);
  allocator_->TakeChanges();
  // Once.
  allocator_->Want(app, Wish::kFewer, 0);
  EXPECT_TRUE(allocator_->changes().empty());
}

TEST_F(AllocatorChoiceTest, OneCoreInAPass) {
  StartWithout(4);
  const AppId batch = Add(kLeftovers);
  const AppId service = Add({.guaranteed = 3, .most = 4});
  Want(batch);
  Want(service);
  allocator_->Settle();
  EXPECT_EQ(allocator_->held(batch), 1);
  EXPECT_EQ(allocator_->held(service), 1);
  // Neither by leaving.
  Come();
  Leave(0);
  EXPECT_EQ(allocator_->held(batch) + allocator_->held(service), 1);
}

}  // namespace
}  // namespace yamanote::arbiter
