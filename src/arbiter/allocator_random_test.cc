// allocator_random_test.cc - what holds of the allocator whatever happens.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "arbiter/allocator.h"
#include "base/random.h"

namespace yamanote::arbiter {
namespace {

// Random wishes, obedience that comes late or not at all, arrivals and departures.
class RandomLife {
 public:
  RandomLife(uint64_t seed, Homes homes)
      : random_(seed),
        cores_(1 + static_cast<unsigned>(random_.Below(12))),
        homes_(homes),
        allocator_(Siblings(cores_), 6, homes) {}

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
    switch (random_.Below(homes_ == Homes::kAssigned ? 10 : 8)) {
      case 8: {  // A host comes, or leaves again.
        const auto core = static_cast<CoreId>(random_.Below(cores_));
        const AppId host = allocator_.home(core);
        if (host == kNobody) return;
        const bool there = allocator_.at_home(core);
        EXPECT_EQ(allocator_.Came(host, core), !there);
        if (there) {
          EXPECT_TRUE(allocator_.Released(host, core));
        }
        return;
      }
      case 9:
        if (apps_.empty()) return;
        if (random_.Below(2) == 0) {
          allocator_.Bar(Any(apps_), static_cast<CoreId>(random_.Below(cores_)),
                         random_.Below(4) == 0);
        } else {
          allocator_.Adopt(Any(apps_),
                           static_cast<CoreId>(random_.Below(cores_)));
        }
        return;
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
      if (allocator_.Keep(owner, core)) return;
      EXPECT_EQ(allocator_.owner(core), owner) << "it is not left by that";
    }
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
    std::map<AppId, unsigned> kept;
    std::map<AppId, unsigned> promised;
    std::map<AppId, unsigned> homes;
    unsigned leaving = 0;
    for (CoreId core = 0; core < cores_; ++core) {
      const AppId owner = allocator_.owner(core);
      const CoreState state = allocator_.state(core);
      if (const AppId host = allocator_.home(core); host != kNobody) {
        EXPECT_TRUE(apps_.contains(host));
        EXPECT_NE(owner, host);
        ++homes[host];
        if (allocator_.at_home(core)) {
          ++held[host];
          EXPECT_TRUE(owner == kNobody ||
                      allocator_.limits(owner).best_effort ||
                      state == CoreState::kRevoked);
        }
      } else {
        EXPECT_FALSE(allocator_.at_home(core));
      }
      EXPECT_EQ(owner == kNobody, state == CoreState::kIdle);
      if (owner == kNobody) continue;
      EXPECT_TRUE(apps_.contains(owner)) << "a core of who is gone";
      EXPECT_EQ(believed_[core], owner) << "a grant was not told";
      if (state == CoreState::kKept) {
        EXPECT_EQ(allocator_.home(core), kNobody);
        EXPECT_FALSE(allocator_.limits(owner).best_effort);
        EXPECT_FALSE(allocator_.hungry(owner)) << "it can come back";
        ++kept[owner];
      } else {
        ++held[owner];
      }
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
      EXPECT_EQ(homes[app], homes_ == Homes::kAssigned
                                ? allocator_.limits(app).guaranteed
                                : 0);
      // Those that it is losing beside those that come.
      EXPECT_LE(held[app] + kept[app] + promised[app],
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
  const Homes homes_;
  Allocator allocator_;
  std::set<AppId> apps_;
  std::map<CoreId, AppId> believed_;
};

TEST(AllocatorTest, OneOwnerPerCoreWhateverHappens) {
  for (const Homes homes : {Homes::kNone, Homes::kAssigned}) {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed) +
                   (homes == Homes::kAssigned ? ", with home cores" : ""));
      RandomLife(seed, homes).Run();
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace yamanote::arbiter
