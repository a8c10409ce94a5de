// allocator_test.cc - who gets which core, by hand.

#include "arbiter/allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace yamanote::arbiter {
namespace {

constexpr Limits kService{.guaranteed = 1, .most = 8};
constexpr Limits kBursting{.guaranteed = 0, .most = 8};
constexpr Limits kBatch{.guaranteed = 0, .most = 8, .best_effort = true};

std::vector<CoreId> NoSiblings(unsigned cores) {
  return std::vector<CoreId>(cores, kNoCore);
}

// An allocator whose applications do at once what they are told.
class Obeyed : public Allocator {
 public:
  explicit Obeyed(std::vector<CoreId> siblings, Homes homes = Homes::kNone)
      : Allocator(std::move(siblings), 8, homes) {}

  // All say what they want, and the pass ends.
  void Pass(const std::map<AppId, Wish>& wishes) {
    for (const auto& [app, wish] : wishes) Want(app, wish);
    Settle();
    Obey();
  }
  void Obey() {
    while (!changes().empty()) {
      const std::vector<Change> now(changes().begin(), changes().end());
      TakeChanges();
      for (const Change& change : now) {
        if (change.kind == Change::Kind::kGrant) {
          Started(change.app, change.core);
        } else {
          Released(change.app, change.core);
        }
      }
    }
  }
  void Release(AppId app, CoreId core) {
    EXPECT_TRUE(Released(app, core));
    Obey();
  }
  std::set<CoreId> Of(AppId app) const {
    std::set<CoreId> held;
    for (CoreId core = 0; core < cores(); ++core) {
      if (owner(core) == app) held.insert(core);
    }
    return held;
  }
};

TEST(AllocatorTest, GetsOneIdleCoreInAPass) {
  Obeyed allocator(NoSiblings(4));
  const AppId app = allocator.Add(kService);
  allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.held(app), 1);
  allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.held(app), 2);
  allocator.Pass({{app, Wish::kSame}});
  EXPECT_EQ(allocator.held(app), 2);
}

TEST(AllocatorTest, NeverHasMoreThanItsMost) {
  Obeyed allocator(NoSiblings(4));
  const AppId app = allocator.Add({.guaranteed = 1, .most = 2});
  for (int i = 0; i < 4; ++i) allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.held(app), 2);
}

TEST(AllocatorTest, AGuaranteeIsTakenFromWhoHasMoreThanHis) {
  Obeyed allocator(NoSiblings(2));
  const AppId greedy = allocator.Add(kBursting);
  const AppId late = allocator.Add(kService);
  for (int i = 0; i < 2; ++i) allocator.Pass({{greedy, Wish::kMore}});
  EXPECT_EQ(allocator.held(greedy), 2);

  allocator.Pass({{greedy, Wish::kMore}, {late, Wish::kMore}});
  EXPECT_EQ(allocator.held(late), 1);
  EXPECT_EQ(allocator.held(greedy), 1);
}

TEST(AllocatorTest, NobodyIsPushedBelowHisGuarantee) {
  Obeyed allocator(NoSiblings(2));
  const AppId one = allocator.Add(kService);
  const AppId other = allocator.Add(kService);
  for (int i = 0; i < 6; ++i)
    allocator.Pass({{one, Wish::kMore}, {other, Wish::kMore}});
  EXPECT_EQ(allocator.held(one), 1);
  EXPECT_EQ(allocator.held(other), 1);
}

TEST(AllocatorTest, MoreCannotBeGuaranteedThanThereIs) {
  Allocator allocator(NoSiblings(2), 8);
  EXPECT_NE(allocator.Add({.guaranteed = 2, .most = 2}), kNobody);
  EXPECT_EQ(allocator.Add({.guaranteed = 1, .most = 1}), kNobody);
  EXPECT_NE(allocator.Add(kBursting), kNobody);
}

TEST(AllocatorTest, BestEffortGetsWhatIsLeftAndGivesItBack) {
  Obeyed allocator(NoSiblings(4));
  const AppId batch = allocator.Add(kBatch);
  const AppId service = allocator.Add(kService);
  for (int i = 0; i < 4; ++i) allocator.Pass({{batch, Wish::kMore}});
  EXPECT_EQ(allocator.held(batch), 4);

  // Beyond its guarantee, too.
  for (int i = 1; i <= 3; ++i) {
    allocator.Pass({{batch, Wish::kMore}, {service, Wish::kMore}});
    EXPECT_EQ(allocator.held(service), i);
  }
  // What it leaves, the batch program has at once.
  allocator.Pass({{batch, Wish::kMore}, {service, Wish::kSame}});
  allocator.Release(service, *allocator.Of(service).begin());
  EXPECT_EQ(allocator.held(batch), 2);
}

// Beyond its guarantee nobody takes from an equal, unless to be equals.
TEST(AllocatorTest, BurstingEqualsShareFairly) {
  Obeyed allocator(NoSiblings(8));
  const AppId first = allocator.Add(kBursting);
  const AppId second = allocator.Add(kBursting);
  for (int i = 0; i < 8; ++i) allocator.Pass({{first, Wish::kMore}});
  EXPECT_EQ(allocator.held(first), 8);

  for (int i = 0; i < 4; ++i)
    allocator.Pass({{first, Wish::kMore}, {second, Wish::kMore}});
  EXPECT_EQ(allocator.held(first), 4);
  EXPECT_EQ(allocator.held(second), 4);
  // And then it rests.
  for (CoreId core = 0; core < 8; ++core)
    EXPECT_EQ(allocator.state(core), CoreState::kRunning);
  allocator.Pass({{first, Wish::kMore}, {second, Wish::kMore}});
  EXPECT_EQ(allocator.held(first), 4);
}

TEST(AllocatorTest, BestEffortEqualsShareFairlyToo) {
  Obeyed allocator(NoSiblings(6));
  const AppId first = allocator.Add(kBatch);
  const AppId second = allocator.Add(kBatch);
  const AppId third = allocator.Add(kBatch);
  for (int i = 0; i < 6; ++i) allocator.Pass({{first, Wish::kMore}});
  for (int i = 0; i < 6; ++i)
    allocator.Pass(
        {{first, Wish::kMore}, {second, Wish::kMore}, {third, Wish::kMore}});
  EXPECT_EQ(allocator.held(first), 2);
  EXPECT_EQ(allocator.held(second), 2);
  EXPECT_EQ(allocator.held(third), 2);
}

// Three want the only core: each has it for kPatience passes.
TEST(AllocatorTest, MoreApplicationsThanCoresTakeTurns) {
  Obeyed allocator(NoSiblings(1));
  std::map<AppId, Wish> all;
  for (int i = 0; i < 3; ++i) all[allocator.Add(kBursting)] = Wish::kMore;
  std::map<AppId, unsigned> passes;
  for (unsigned i = 0; i < 30 * Allocator::kPatience; ++i) {
    allocator.Pass(all);
    ++passes[allocator.owner(0)];
  }
  for (const auto& [app, wish] : all)
    EXPECT_NEAR(passes[app], 10 * Allocator::kPatience, Allocator::kPatience);
}

// As many as there may be, on the smallest machine, with one that was there first: each
// has a core as long as any other, and nobody waits longer than for all others' turns.
TEST(AllocatorTest, SixtyFourApplicationsOnTwoCoresAllHaveTheirTurn) {
  constexpr unsigned kApps = 64;
  constexpr unsigned kRound = Allocator::kPatience * kApps / 2;
  for (const bool best_effort : {false, true}) {
    Allocator allocator(NoSiblings(2), kApps);
    for (unsigned i = 0; i < kApps; ++i)
      allocator.Add({.most = 2, .best_effort = best_effort});
    std::vector<unsigned> passes(kApps);
    std::vector<unsigned> last(kApps);
    unsigned moves = 0;
    for (unsigned pass = 1; pass <= 10 * kRound; ++pass) {
      for (AppId app = 0; app < kApps; ++app) allocator.Want(app, Wish::kMore);
      allocator.Settle();
      while (!allocator.changes().empty()) {
        const Change change = allocator.changes().front();
        allocator.TakeChanges();
        if (change.kind == Change::Kind::kRevoke) {
          ++moves;
          allocator.Released(change.app, change.core);
        }
      }
      for (const CoreId core : {0u, 1u}) {
        const AppId owner = allocator.owner(core);
        ASSERT_NE(owner, kNobody);
        ++passes[owner];
        last[owner] = pass;
      }
      if (pass < 2 * kRound) continue;
      for (AppId app = 0; app < kApps; ++app)
        ASSERT_LE(pass - last[app], kRound + kApps) << "application " << app;
    }
    for (AppId app = 0; app < kApps; ++app) {
      EXPECT_NEAR(passes[app], 2 * 10 * kRound / kApps,
                  3 * Allocator::kPatience)
          << "application " << app;
    }
    // A core stays where it is for kPatience passes.
    EXPECT_LE(moves, 2 * 10 * kRound / Allocator::kPatience + 2);
  }
}

// ---- Which core -------------------------------------------------------------

TEST(AllocatorTest, PrefersTheSiblingOfACoreItHas) {
  // 0-2 and 1-3 are siblings.
  Obeyed allocator({2, 3, 0, 1});
  const AppId app = allocator.Add(kService);
  allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.Of(app), std::set<CoreId>({0}));
  allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.Of(app), std::set<CoreId>({0, 2}));
}

TEST(AllocatorTest, ThenTheCoreThatItLeftLast) {
  Obeyed allocator(NoSiblings(4));
  const AppId app = allocator.Add({.guaranteed = 4, .most = 4});
  for (int i = 0; i < 4; ++i) allocator.Pass({{app, Wish::kMore}});
  for (const CoreId core : {0u, 2u, 1u, 3u}) {
    allocator.Want(app, Wish::kSame);
    allocator.Release(app, core);
  }
  allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.Of(app), std::set<CoreId>({3}));
  allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.Of(app), std::set<CoreId>({1, 3}));
}

TEST(AllocatorTest, TheSiblingIsTakenFromABurstingNeighbour) {
  Obeyed allocator({2, 3, 0, 1});
  const AppId app = allocator.Add({.guaranteed = 2, .most = 2});
  const AppId batch = allocator.Add(kBatch);
  allocator.Pass({{app, Wish::kMore}});
  for (int i = 0; i < 3; ++i) allocator.Pass({{batch, Wish::kMore}});
  allocator.Pass({{app, Wish::kMore}, {batch, Wish::kMore}});
  EXPECT_EQ(allocator.Of(app), std::set<CoreId>({0, 2}));
}

// ---- A core's journey -------------------------------------------------------

TEST(AllocatorTest, ACoreGoesToTheOneItWasRevokedFor) {
  Allocator allocator(NoSiblings(1), 4);
  const AppId batch = allocator.Add(kBatch);
  const AppId service = allocator.Add(kService);
  allocator.Want(batch, Wish::kMore);
  allocator.Settle();
  ASSERT_EQ(allocator.changes().size(), 1);
  EXPECT_EQ(allocator.state(0), CoreState::kGranted);
  allocator.Started(batch, 0);
  EXPECT_EQ(allocator.state(0), CoreState::kRunning);
  allocator.TakeChanges();

  allocator.Want(service, Wish::kMore);
  allocator.Settle();
  ASSERT_EQ(allocator.changes().size(), 1);
  EXPECT_EQ(allocator.changes()[0], (Change{.kind = Change::Kind::kRevoke,
                                            .app = batch,
                                            .core = 0,
                                            .heir = service}));
  EXPECT_EQ(allocator.state(0), CoreState::kRevoked);
  allocator.TakeChanges();
  // Once is enough.
  allocator.Want(service, Wish::kMore);
  allocator.Settle();
  EXPECT_TRUE(allocator.changes().empty());

  EXPECT_TRUE(allocator.Released(batch, 0));
  ASSERT_EQ(allocator.changes().size(), 1);
  EXPECT_EQ(allocator.changes()[0],
            (Change{.kind = Change::Kind::kGrant, .app = service, .core = 0}));
}

TEST(AllocatorTest, WhoDoesNotHoldACoreCannotLeaveIt) {
  Obeyed allocator(NoSiblings(1));
  const AppId one = allocator.Add(kService);
  const AppId other = allocator.Add(kBursting);
  allocator.Pass({{one, Wish::kMore}});
  EXPECT_FALSE(allocator.Released(other, 0));
  allocator.Started(other, 0);
  EXPECT_EQ(allocator.owner(0), one);
}

TEST(AllocatorTest, ItGivesUpTheCoreThatItCanDoWithout) {
  Obeyed allocator(NoSiblings(2));
  const AppId app = allocator.Add({.guaranteed = 2, .most = 2});
  for (int i = 0; i < 2; ++i) allocator.Pass({{app, Wish::kMore}});
  allocator.Want(app, Wish::kFewer, 1);
  allocator.Settle();
  allocator.Obey();
  EXPECT_EQ(allocator.Of(app), std::set<CoreId>({0}));
  // None of them is idle.
  allocator.Want(app, Wish::kFewer, kNoCore);
  allocator.Settle();
  EXPECT_TRUE(allocator.changes().empty());
}

TEST(AllocatorTest, WhatALeavingApplicationHadGoesOn) {
  Obeyed allocator(NoSiblings(2));
  const AppId one = allocator.Add(kService);
  const AppId other = allocator.Add(kBursting);
  for (int i = 0; i < 2; ++i) allocator.Pass({{one, Wish::kMore}});
  allocator.Pass({{one, Wish::kSame}, {other, Wish::kMore}});
  EXPECT_EQ(allocator.held(other), 0)
      << "beyond no guarantee, nothing is taken";
  allocator.Remove(one);
  allocator.Obey();
  EXPECT_EQ(allocator.held(other), 1);
  EXPECT_EQ(allocator.guaranteed(), 0);
  EXPECT_NE(allocator.Add(kService), kNobody) << "its place is free";
}

TEST(AllocatorTest, AnHeirThatIsGoneGetsNothing) {
  Allocator allocator(NoSiblings(1), 4);
  const AppId batch = allocator.Add(kBatch);
  const AppId service = allocator.Add(kService);
  allocator.Want(batch, Wish::kMore);
  allocator.Settle();
  allocator.Want(service, Wish::kMore);
  allocator.Settle();
  allocator.Remove(service);
  allocator.TakeChanges();
  EXPECT_TRUE(allocator.Released(batch, 0));
  EXPECT_TRUE(allocator.changes().empty());
  EXPECT_EQ(allocator.state(0), CoreState::kIdle);
}

// ---- Home cores -------------------------------------------------------------

std::set<CoreId> HomesOf(const Allocator& allocator, AppId app) {
  std::set<CoreId> homes;
  for (CoreId core = 0; core < allocator.cores(); ++core) {
    if (allocator.home(core) == app) homes.insert(core);
  }
  return homes;
}

TEST(AllocatorHomesTest, SiblingsStayTogether) {
  // 0-2 and 1-3 are siblings.
  Obeyed allocator({2, 3, 0, 1}, Homes::kAssigned);
  const AppId one = allocator.Add({.guaranteed = 1, .most = 1});
  const AppId two = allocator.Add({.guaranteed = 2, .most = 2});
  const AppId last = allocator.Add({.guaranteed = 1, .most = 1});
  EXPECT_EQ(HomesOf(allocator, one), std::set<CoreId>({0}));
  EXPECT_EQ(HomesOf(allocator, two), std::set<CoreId>({1, 3}));
  EXPECT_EQ(HomesOf(allocator, last), std::set<CoreId>({2}));
  EXPECT_EQ(allocator.Add({.guaranteed = 1, .most = 1}), kNobody);
  allocator.Remove(two);
  EXPECT_EQ(allocator.home(1), kNobody);
}

TEST(AllocatorHomesTest, AnIdleCoreBecomesHomeBeforeOneInUse) {
  Obeyed allocator(NoSiblings(3), Homes::kAssigned);
  const AppId burst = allocator.Add(kBursting);
  allocator.Pass({{burst, Wish::kMore}});
  EXPECT_EQ(allocator.owner(0), burst);
  EXPECT_EQ(HomesOf(allocator, allocator.Add(kService)), std::set<CoreId>({1}));
}

// It comes without being asked, and counts.
TEST(AllocatorHomesTest, AHomeCoreIsNeverGrantedToItsOwn) {
  Obeyed allocator(NoSiblings(2), Homes::kAssigned);
  const AppId app = allocator.Add({.guaranteed = 1, .most = 2});
  for (int i = 0; i < 3; ++i) allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.held(app), 0) << "its own core would do";
  EXPECT_TRUE(allocator.Came(app, 0));
  EXPECT_FALSE(allocator.Came(app, 0));
  EXPECT_FALSE(allocator.Came(app, 1));
  for (int i = 0; i < 3; ++i) allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.held(app), 2);
  EXPECT_EQ(allocator.owner(0), kNobody);
  EXPECT_EQ(allocator.owner(1), app);
  EXPECT_TRUE(allocator.Released(app, 0));
  EXPECT_EQ(allocator.held(app), 1);
}

TEST(AllocatorHomesTest, AGuestLeavesWhenItsHostComes) {
  Allocator allocator(NoSiblings(1), 4, Homes::kAssigned);
  const AppId host = allocator.Add(kService);
  const AppId guest = allocator.Add(kBursting);
  allocator.Want(guest, Wish::kMore);
  allocator.Settle();
  EXPECT_EQ(allocator.owner(0), guest);
  allocator.TakeChanges();
  EXPECT_TRUE(allocator.Came(host, 0));
  ASSERT_EQ(allocator.changes().size(), 1);
  EXPECT_EQ(allocator.changes()[0],
            (Change{.kind = Change::Kind::kRevoke, .app = guest, .core = 0}));
  allocator.TakeChanges();
  EXPECT_TRUE(allocator.Released(guest, 0));
  allocator.Want(guest, Wish::kMore);
  allocator.Settle();
  EXPECT_TRUE(allocator.changes().empty()) << "somebody is at home";
  // And is it not, the guest may come at once.
  EXPECT_TRUE(allocator.Released(host, 0));
  EXPECT_EQ(allocator.owner(0), guest);
}

TEST(AllocatorHomesTest, BestEffortGuestsStayAndCome) {
  Obeyed allocator(NoSiblings(2), Homes::kAssigned);
  const AppId host = allocator.Add({.guaranteed = 2, .most = 2});
  const AppId batch = allocator.Add(kBatch);
  allocator.Pass({{batch, Wish::kMore}});
  allocator.Came(host, 0);
  allocator.Came(host, 1);
  allocator.Pass({{batch, Wish::kMore}, {host, Wish::kMore}});
  EXPECT_EQ(allocator.held(batch), 2);
  EXPECT_EQ(allocator.held(host), 2);
}

TEST(AllocatorHomesTest, WhatIsNobodysHomeIsGrantedFirst) {
  Obeyed allocator(NoSiblings(3), Homes::kAssigned);
  allocator.Add({.guaranteed = 2, .most = 2});
  const AppId guest = allocator.Add(kBursting);
  allocator.Pass({{guest, Wish::kMore}});
  EXPECT_EQ(allocator.owner(2), guest);
}

// The heir was told before the host came: it is granted, and revoked at once.
TEST(AllocatorHomesTest, AnHeirComesTooLate) {
  Allocator allocator(NoSiblings(1), 4, Homes::kAssigned);
  const AppId host = allocator.Add(kService);
  const AppId batch = allocator.Add(kBatch);
  const AppId heir = allocator.Add(kBursting);
  allocator.Want(batch, Wish::kMore);
  allocator.Settle();
  allocator.Want(heir, Wish::kMore);
  allocator.Settle();
  ASSERT_EQ(allocator.heir(0), heir);
  allocator.Came(host, 0);
  allocator.TakeChanges();
  EXPECT_TRUE(allocator.Released(batch, 0));
  ASSERT_EQ(allocator.changes().size(), 2);
  EXPECT_EQ(allocator.changes()[0],
            (Change{.kind = Change::Kind::kGrant, .app = heir, .core = 0}));
  EXPECT_EQ(allocator.changes()[1],
            (Change{.kind = Change::Kind::kRevoke, .app = heir, .core = 0}));
}

TEST(AllocatorHomesTest, ABarredCoreIsNotGranted) {
  Obeyed allocator(NoSiblings(2), Homes::kAssigned);
  const AppId app = allocator.Add(kBursting);
  allocator.Bar(app, 0, true);
  allocator.Pass({{app, Wish::kMore}});
  allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.Of(app), std::set<CoreId>({1}));
  allocator.Bar(app, 0, false);
  allocator.Pass({{app, Wish::kMore}});
  EXPECT_EQ(allocator.Of(app), std::set<CoreId>({0, 1}));
}

// One waits for what it may not have; the other has its turn all the same.
TEST(AllocatorHomesTest, WhoIsBarredKeepsNobodyFromHisTurn) {
  Obeyed allocator(NoSiblings(1), Homes::kAssigned);
  const AppId barred = allocator.Add(kBursting);
  const AppId rich = allocator.Add(kBursting);
  const AppId waiting = allocator.Add(kBursting);
  allocator.Bar(barred, 0, true);
  allocator.Pass({{rich, Wish::kMore}});
  ASSERT_EQ(allocator.held(rich), 1);
  for (unsigned i = 0; i <= Allocator::kPatience; ++i)
    allocator.Pass({{barred, Wish::kMore}, {waiting, Wish::kMore}});
  EXPECT_EQ(allocator.held(waiting), 1);
}

TEST(AllocatorHomesTest, AdoptsWhatNobodyHas) {
  Obeyed allocator(NoSiblings(3), Homes::kAssigned);
  const AppId app = allocator.Add({.guaranteed = 1, .most = 2});
  const AppId other = allocator.Add(kBursting);
  EXPECT_FALSE(allocator.Adopt(app, 0)) << "its home";
  EXPECT_TRUE(allocator.Adopt(app, 2));
  EXPECT_FALSE(allocator.Adopt(app, 1)) << "its most";
  EXPECT_FALSE(allocator.Adopt(other, 2)) << "somebody's";
  EXPECT_TRUE(allocator.Adopt(other, 1));
  EXPECT_EQ(allocator.changes().size(), 2);
}

}  // namespace
}  // namespace yamanote::arbiter
