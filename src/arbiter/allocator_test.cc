// allocator_test.cc - who gets which core, by hand; and what holds whatever happens.

#include "arbiter/allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "base/random.h"

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
  explicit Obeyed(std::vector<CoreId> siblings, unsigned most_apps = 8)
      : Allocator(std::move(siblings), most_apps) {}

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

// ---- Whatever happens -------------------------------------------------------

// Random wishes, obedience that comes late or not at all, arrivals and departures.
class RandomLife {
 public:
  explicit RandomLife(uint64_t seed)
      : random_(seed),
        cores_(1 + static_cast<unsigned>(random_.Below(12))),
        allocator_(Siblings(cores_), 6) {}

  void Run() {
    for (int step = 0; step < 3000; ++step) {
      Step();
      Apply();
      Check();
      if (testing::Test::HasFailure()) return;
    }
  }

 private:
  static std::vector<CoreId> Siblings(unsigned cores) {
    std::vector<CoreId> siblings(cores, kNoCore);
    for (CoreId core = 0; core + 1 < cores; core += 2) {
      siblings[core] = core + 1;
      siblings[core + 1] = core;
    }
    return siblings;
  }

  void Step() {
    switch (random_.Below(8)) {
      case 0:
        Add();
        return;
      case 1:
        if (random_.Below(8) == 0 && !apps_.empty()) {
          const AppId gone = Any(apps_);
          allocator_.Remove(gone);
          apps_.erase(gone);
        }
        return;
      case 2:
      case 3:
        Leave();
        return;
      default:
        Pass();
    }
  }

  void Add() {
    const auto guaranteed = static_cast<unsigned>(random_.Below(cores_ + 1));
    const bool best_effort = random_.Below(3) == 0;
    const Limits limits{
        .guaranteed = best_effort ? 0 : guaranteed,
        .most = std::max(
            1U, guaranteed + static_cast<unsigned>(random_.Below(cores_))),
        .best_effort = best_effort};
    const bool fits = apps_.size() < 6 &&
                      allocator_.guaranteed() + limits.guaranteed <= cores_;
    const AppId app = allocator_.Add(limits);
    EXPECT_EQ(app != kNobody, fits);
    if (app != kNobody) apps_.insert(app);
  }

  void Leave() {
    const auto core = static_cast<CoreId>(random_.Below(cores_));
    const AppId owner = allocator_.owner(core);
    if (owner == kNobody) return;
    if (random_.Below(2) == 0) allocator_.Started(owner, core);
    if (random_.Below(2) == 0) {
      EXPECT_TRUE(allocator_.Released(owner, core));
    }
  }

  void Pass() {
    for (const AppId app : apps_) {
      const auto wish = static_cast<Wish>(random_.Below(3));
      allocator_.Want(app, wish, static_cast<CoreId>(random_.Below(cores_)));
    }
    allocator_.Settle();
  }

  // What somebody who only listens to the changes believes.
  void Apply() {
    for (const Change& change : allocator_.changes()) {
      if (change.kind == Change::Kind::kGrant) {
        believed_[change.core] = change.app;
      } else {
        EXPECT_EQ(believed_[change.core], change.app);
      }
    }
    allocator_.TakeChanges();
  }

  void Check() {
    std::map<AppId, unsigned> held;
    std::map<AppId, unsigned> promised;
    unsigned leaving = 0;
    for (CoreId core = 0; core < cores_; ++core) {
      const AppId owner = allocator_.owner(core);
      const CoreState state = allocator_.state(core);
      EXPECT_EQ(owner == kNobody, state == CoreState::kIdle);
      if (owner == kNobody) continue;
      EXPECT_TRUE(apps_.contains(owner)) << "a core of who is gone";
      EXPECT_EQ(believed_[core], owner) << "a grant was not told";
      ++held[owner];
      if (state == CoreState::kRevoked) ++leaving;
      if (const AppId heir = allocator_.heir(core); heir != kNobody) {
        EXPECT_EQ(state, CoreState::kRevoked);
        EXPECT_NE(heir, owner);
        EXPECT_TRUE(apps_.contains(heir));
        ++promised[heir];
      }
    }
    for (const AppId app : apps_) {
      EXPECT_EQ(allocator_.held(app), held[app]);
      // Those that it is losing beside those that come.
      EXPECT_LE(held[app] + promised[app],
                allocator_.limits(app).most + leaving);
    }
  }

  template <typename Set>
  AppId Any(const Set& set) {
    auto at = set.begin();
    std::advance(at, random_.Below(set.size()));
    return *at;
  }

  base::Random random_;
  const unsigned cores_;
  Allocator allocator_;
  std::set<AppId> apps_;
  std::map<CoreId, AppId> believed_;
};

TEST(AllocatorTest, OneOwnerPerCoreWhateverHappens) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomLife(seed).Run();
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace yamanote::arbiter
