// kept_test.cc - cores that their owner has left and may come back to
// (docs/adr/0031-kept-cores.md).

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "arbiter/arbiter_fixture.h"

namespace yamanote::arbiter {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// ---- The allocator ----------------------------------------------------------

Allocator Empty(unsigned cores) {
  return Allocator(std::vector<CoreId>(cores, kNoCore), 4, Homes::kAssigned);
}

// `app` is granted a core and comes; which one.
CoreId Gets(Allocator& allocator, AppId app) {
  allocator.Want(app, Wish::kMore);
  allocator.Settle();
  EXPECT_EQ(allocator.changes().size(), 1);
  const CoreId core = allocator.changes().back().core;
  allocator.TakeChanges();
  allocator.Started(app, core);
  return core;
}

TEST(AllocatorKeptTest, WhoLeavesMayComeBack) {
  Allocator allocator = Empty(2);
  const AppId app = allocator.Add(kBursting);
  const CoreId core = Gets(allocator, app);
  EXPECT_TRUE(allocator.Keep(app, core));
  EXPECT_FALSE(allocator.Keep(app, core)) << "it is kept already";
  EXPECT_EQ(allocator.state(core), CoreState::kKept);
  EXPECT_EQ(allocator.held(app), 0);
  // It is to come back first.
  allocator.Want(app, Wish::kMore);
  EXPECT_FALSE(allocator.hungry(app));
  allocator.Settle();
  EXPECT_TRUE(allocator.changes().empty());
  allocator.Started(app, core);
  EXPECT_EQ(allocator.state(core), CoreState::kRunning);
  EXPECT_EQ(allocator.held(app), 1);
  EXPECT_TRUE(allocator.hungry(app));
}

TEST(AllocatorKeptTest, WhatIsKeptIsInNobodysWay) {
  Allocator allocator = Empty(1);
  const AppId first = allocator.Add(kBursting);
  const AppId second = allocator.Add(kBursting);
  ASSERT_TRUE(allocator.Keep(first, Gets(allocator, first)));
  allocator.Want(second, Wish::kMore);
  allocator.Settle();
  ASSERT_EQ(allocator.changes().size(), 1);
  EXPECT_EQ(allocator.changes()[0], (Change{.kind = Change::Kind::kRevoke,
                                            .app = first,
                                            .core = 0,
                                            .heir = second}));
  EXPECT_TRUE(allocator.Released(first, 0));
  EXPECT_EQ(allocator.owner(0), second);
}

TEST(AllocatorKeptTest, WhatIsIdleGoesFirst) {
  Allocator allocator = Empty(2);
  const AppId first = allocator.Add(kBursting);
  const AppId second = allocator.Add(kBursting);
  ASSERT_TRUE(allocator.Keep(first, Gets(allocator, first)));
  EXPECT_EQ(Gets(allocator, second), 1);
}

// But what is nobody's home goes before another's home core.
TEST(AllocatorKeptTest, BeforeAnothersHome) {
  Allocator allocator = Empty(2);
  allocator.Add(kService);  // Away from core 0.
  const AppId first = allocator.Add(kBursting);
  const AppId second = allocator.Add(kBursting);
  ASSERT_EQ(Gets(allocator, first), 1);
  ASSERT_TRUE(allocator.Keep(first, 1));
  allocator.Want(second, Wish::kMore);
  allocator.Settle();
  ASSERT_EQ(allocator.changes().size(), 1);
  EXPECT_EQ(allocator.changes()[0].kind, Change::Kind::kRevoke);
  EXPECT_EQ(allocator.changes()[0].core, 1);
}

TEST(AllocatorKeptTest, NotWhereSomebodyWaits) {
  Allocator allocator = Empty(1);
  const AppId first = allocator.Add(kBursting);
  const AppId second = allocator.Add(kBursting);
  const CoreId core = Gets(allocator, first);
  allocator.Want(second, Wish::kMore);
  allocator.Settle();
  EXPECT_FALSE(allocator.Keep(first, core));
  allocator.Recall(core);
  EXPECT_TRUE(allocator.Released(first, core));
  EXPECT_EQ(allocator.owner(core), second);
}

TEST(AllocatorKeptTest, NeitherGuestsNorBestEffortKeepAnything) {
  Allocator allocator = Empty(2);
  allocator.Add(kService);  // Away from core 0.
  const AppId batch = allocator.Add(kBatch);
  EXPECT_FALSE(allocator.Keep(batch, Gets(allocator, batch)));
  const AppId guest = allocator.Add(kBursting);
  ASSERT_EQ(Gets(allocator, guest), 0) << "batch has the other";
  EXPECT_FALSE(allocator.Keep(guest, 0));
}

TEST(AllocatorKeptTest, BestEffortGetsWhatIsKept) {
  Allocator allocator = Empty(1);
  const AppId service = allocator.Add(kBursting);
  const AppId batch = allocator.Add(kBatch);
  ASSERT_TRUE(allocator.Keep(service, Gets(allocator, service)));
  allocator.Want(batch, Wish::kMore);
  allocator.Settle();
  EXPECT_TRUE(allocator.Released(service, 0));
  EXPECT_EQ(allocator.owner(0), batch);
}

TEST(AllocatorKeptTest, AHomeIsNotKeptForAnother) {
  Allocator allocator = Empty(1);
  const AppId first = allocator.Add(kBursting);
  ASSERT_TRUE(allocator.Keep(first, Gets(allocator, first)));
  allocator.Add(kService);
  ASSERT_EQ(allocator.changes().size(), 1);
  EXPECT_EQ(allocator.changes()[0].kind, Change::Kind::kRevoke);
  EXPECT_TRUE(allocator.Released(first, 0));
  EXPECT_EQ(allocator.owner(0), kNobody);
}

TEST(AllocatorKeptTest, TheDeadKeepNothing) {
  Allocator allocator = Empty(1);
  const AppId first = allocator.Add(kBursting);
  ASSERT_TRUE(allocator.Keep(first, Gets(allocator, first)));
  allocator.Remove(first);
  EXPECT_EQ(allocator.state(0), CoreState::kIdle);
  const AppId next = allocator.Add(kBursting);
  EXPECT_EQ(next, first);
  EXPECT_EQ(allocator.held(next), 0);
  EXPECT_EQ(Gets(allocator, next), 0);
}

// ---- The arbiter ------------------------------------------------------------

class KeptTest : public ArbiterTest {
 protected:
  std::unique_ptr<App> AddKeeping(const Limits& limits) {
    auto app = std::make_unique<App>();
    Applicant asks = Asks(*app, limits);
    asks.keeps = true;
    Register(*app, std::move(asks));
    return app;
  }

  // It is granted `core`, and leaves it by itself.
  void GetAndLeave(App& app, CoreId core) {
    Need(app);
    Pass();
    ASSERT_EQ(Owner(core), app.id);
    Come(app, core);
    Pass();
    NeedNoMore(app);
    Leave(app, core);
    Pass();
  }
};

TEST_F(KeptTest, WhoLeavesByItselfComesBackWithoutAsking) {
  Start(2);
  const auto app = AddKeeping(kService);
  Come(*app, 0);
  GetAndLeave(*app, 1);
  EXPECT_EQ(State(1), CoreState::kKept);
  EXPECT_EQ(Word(*app, 1), CommandWord(1, Command::kGranted));
  EXPECT_EQ(CommandFor(*app, 1).keep.load(), 1);
  EXPECT_EQ(arbiter_->NextDue(kernel_.now, milliseconds(1)), Duration::max());
  // For how long is all one.
  Pass(std::chrono::seconds(10));
  EXPECT_EQ(State(1), CoreState::kKept);
  Come(*app, 1);
  Pass();
  EXPECT_EQ(State(1), CoreState::kRunning);
  EXPECT_EQ(Counters(*app).grants, 1);
  EXPECT_EQ(Counters(*app).revocations, 0);
  EXPECT_EQ(Counters(*app).no_shows, 0);
  EXPECT_EQ(Counters(*app).forgeries, 0);
  EXPECT_TRUE(kernel_.signalled.empty());
}

// In one pass: nobody has to leave.
TEST_F(KeptTest, WhoNeedsAKeptCoreHasItAtOnce) {
  Start(1);
  const auto first = AddKeeping(kBursting);
  const auto second = AddKeeping(kBursting);
  GetAndLeave(*first, 0);
  kernel_.woken.clear();
  Need(*second);
  Pass();
  EXPECT_EQ(Owner(0), second->id);
  EXPECT_EQ(State(0), CoreState::kGranted);
  EXPECT_EQ(Word(*first, 0), CommandWord(1, Command::kRevoked));
  EXPECT_EQ(Word(*second, 0), CommandWord(1, Command::kGranted));
  EXPECT_TRUE(Woken(*second, 0));
  // Its tasks are to go elsewhere.
  EXPECT_EQ(kernel_.signalled, std::vector<int>({Tid(*first, 0)}));
  EXPECT_FALSE(kernel_.cpus.contains(Tid(*first, 0)) &&
               kernel_.cpus[Tid(*first, 0)] != std::vector<int>({10}))
      << "it has no home";
  // It comes to itself, finds that out and goes; so for a moment it may be seen.
  (*first)[0].presence = Presence(1, true);
  Pass();
  (*first)[0].presence = Presence(1, false);
  Pass();
  EXPECT_EQ(Counters(*first).forgeries, 0);
  EXPECT_EQ(Owner(0), second->id);
  // And has it again, by a new grant.
  Come(*second, 0);
  Pass();
  NeedNoMore(*second);
  Leave(*second, 0);
  (*first)[0].enqueued = 2;
  (*first)[0].oldest_since = 1;
  Pass();
  Pass();
  EXPECT_EQ(Owner(0), first->id);
  EXPECT_EQ(Word(*first, 0), CommandWord(2, Command::kGranted));
}

// Where it is in nobody's way, and need not wait for anybody else.
TEST_F(KeptTest, WhoLosesAKeptCoreComesToItselfAtHome) {
  Start(2);
  const auto first = AddKeeping(kService);
  const auto second = AddKeeping(kBursting);
  Come(*first, 0);
  GetAndLeave(*first, 1);
  ASSERT_EQ(State(1), CoreState::kKept);
  Need(*second);
  Pass();
  EXPECT_EQ(Owner(1), second->id);
  EXPECT_EQ(kernel_.cpus[Tid(*first, 1)], std::vector<int>({10}));
  EXPECT_EQ(kernel_.signalled, std::vector<int>({Tid(*first, 1)}));
  Come(*second, 1);
  Pass();
  NeedNoMore(*second);
  Leave(*second, 1);
  (*first)[0].enqueued = 2;
  (*first)[0].oldest_since = 1;
  Pass();
  Pass();
  EXPECT_EQ(Owner(1), first->id);
  EXPECT_EQ(kernel_.cpus[Tid(*first, 1)], std::vector<int>({11}));
}

// Between the look at its presence and the command.
TEST_F(KeptTest, WhoComesBackJustThenIsAskedToLeave) {
  Start(1);
  const auto first = AddKeeping(kBursting);
  const auto second = AddKeeping(kBursting);
  GetAndLeave(*first, 0);
  Need(*second);
  kernel_.on_wake = [&] { Come(*first, 0); };
  Pass();
  kernel_.on_wake = nullptr;
  EXPECT_EQ(Owner(0), first->id);
  EXPECT_EQ(State(0), CoreState::kRevoked);
  EXPECT_EQ(Word(*second, 0), CommandWord(1, Command::kNext));
  // If it does not it is late, like anybody.
  Pass(microseconds(100));
  EXPECT_EQ(kernel_.signalled, std::vector<int>({Tid(*first, 0)}));
  Pass(milliseconds(2));
  EXPECT_EQ(Counters(*first).moves, 1);
  EXPECT_EQ(Owner(0), second->id);
}

TEST_F(KeptTest, WhoIsRevokedAndHasLeftIsNotWaitedFor) {
  Start(1);
  const auto first = AddKeeping(kBursting);
  const auto second = AddKeeping(kBursting);
  Need(*first);
  Pass();
  Come(*first, 0);
  Need(*second);
  // It leaves before it sees that it has to.
  kernel_.on_wake = [&] { Leave(*first, 0); };
  for (unsigned i = 0; i < Allocator::kPatience; ++i) {
    EXPECT_EQ(Owner(0), first->id);
    Pass();
  }
  Pass();  // Its turn.
  EXPECT_EQ(Owner(0), second->id);
  EXPECT_EQ(State(0), CoreState::kGranted);
  EXPECT_EQ(kernel_.signalled, std::vector<int>({Tid(*first, 0)}));
}

TEST_F(KeptTest, AGuestKeepsNothing) {
  Start(1);
  const auto guest = AddKeeping(kBursting);
  Need(*guest);
  Pass();
  Come(*guest, 0);
  Pass();
  EXPECT_EQ(CommandFor(*guest, 0).keep.load(), 1);
  const auto host = AddKeeping(kService);
  EXPECT_EQ(CommandFor(*guest, 0).keep.load(), 0);
  // It may have looked just before. Then it is told.
  NeedNoMore(*guest);
  Leave(*guest, 0);
  Pass();
  EXPECT_EQ(Owner(0), kNobody);
  EXPECT_EQ(Word(*guest, 0), CommandWord(1, Command::kRevoked));
  Need(*guest);
  (*guest)[0].enqueued = 2;
  Pass();
  EXPECT_EQ(Owner(0), guest->id);
  EXPECT_EQ(CommandFor(*guest, 0).keep.load(), 0);
}

// The host is gone before anybody has seen it.
TEST_F(KeptTest, WhoWasAGuestInBetweenAsksAgain) {
  Start(1);
  const auto guest = AddKeeping(kBursting);
  Need(*guest);
  Pass();
  Come(*guest, 0);
  Pass();
  auto host = AddKeeping(kService);
  arbiter_->Remove(host->id);
  NeedNoMore(*guest);
  Leave(*guest, 0);  // For good: it may not keep it.
  Pass();
  EXPECT_EQ(Owner(0), kNobody);
  Need(*guest);
  (*guest)[0].enqueued = 2;
  Pass();
  EXPECT_EQ(Owner(0), guest->id);
  EXPECT_EQ(Word(*guest, 0), CommandWord(2, Command::kGranted));
}

// A wish alone gets what is idle, not what another may come back to.
TEST_F(KeptTest, WhoNeedsNothingTakesNothing) {
  Start(1);
  const auto first = AddKeeping(kBursting);
  App second;
  Applicant asks = Asks(second, kBursting);
  asks.policy = FindCorePolicy("static");
  asks.keeps = true;
  Register(second, std::move(asks));
  Need(*first);
  Pass();
  Come(*first, 0);
  NeedNoMore(*first);
  Leave(*first, 0);
  Pass();
  Pass();
  EXPECT_EQ(Owner(0), first->id);
  EXPECT_EQ(State(0), CoreState::kKept);
  EXPECT_FALSE(arbiter_->AnybodyWaits());
  EXPECT_EQ(arbiter_->NextDue(kernel_.now, milliseconds(1)), Duration::max());
  Need(second);
  Pass();
  EXPECT_EQ(Owner(0), second.id);
}

// Both are SCHED_IDLE, and would share the core.
TEST_F(KeptTest, WhoIsBeneathMakesRoomForAGuest) {
  Start(1);
  const auto host = Add(kService);
  const auto guest = Add(kBursting);
  App program;
  Applicant asks = Asks(program, kBatch);
  asks.opaque = true;
  program.pid = ++pids_;
  program.id = arbiter_->Add(std::move(asks), TestProcess(program.pid));
  Pass();
  EXPECT_EQ(CommandOf(Word(program, 0)), Command::kGranted);
  Need(*guest);
  Pass();
  ASSERT_EQ(Owner(0), guest->id);
  EXPECT_EQ(CommandOf(Word(program, 0)), Command::kRevoked);
  // Another that is beneath finds it so, after the next pass.
  App other;
  asks = Asks(other, kBatch);
  asks.opaque = true;
  other.pid = ++pids_;
  other.id = arbiter_->Add(std::move(asks), TestProcess(other.pid));
  Pass();
  EXPECT_EQ(CommandOf(Word(program, 0)), Command::kRevoked);
  EXPECT_EQ(CommandOf(Word(other, 0)), Command::kAway);
  Come(*guest, 0);
  NeedNoMore(*guest);
  Pass();
  Leave(*guest, 0);
  Pass();
  EXPECT_EQ(CommandOf(Word(program, 0)), Command::kGranted);
  EXPECT_EQ(CommandOf(Word(other, 0)), Command::kGranted);
}

// A policy that wants fewer would have it ask again for what it leaves by itself.
TEST_F(KeptTest, NobodyIsAskedForWhatHeLeavesByHimself) {
  for (const bool parks : {true, false}) {
    SCOPED_TRACE(parks);
    Start(2);
    App app;
    Applicant asks = Asks(app, kBursting);
    asks.policy = FindCorePolicy("delay-range");
    asks.keeps = true;
    asks.parks = parks;
    Register(app, std::move(asks));
    Need(app);
    Pass();
    const CoreId core = Granted(app);
    ASSERT_NE(core, kNoCore);
    Come(app, core);
    NeedNoMore(app);
    Pass();
    app[core].idle_since = kernel_.now.count();
    Pass();
    Pass();
    EXPECT_EQ(State(core), parks ? CoreState::kRunning : CoreState::kRevoked);
    arbiter_.reset();
    *board_ = {};
  }
}

// Who does not say that its workers look may not come back.
TEST_F(KeptTest, OnlyWhoCanKeepsCores) {
  Start(1);
  const auto app = Add(kBursting);
  GetAndLeave(*app, 0);
  EXPECT_EQ(Owner(0), kNobody);
  EXPECT_EQ(CommandFor(*app, 0).keep.load(), 0);
}

TEST_F(KeptTest, SomebodyWaits) {
  Start(1);
  const auto first = AddKeeping(kBursting);
  const auto second = AddKeeping(kBursting);
  Need(*first);
  Pass();
  Come(*first, 0);
  Pass();
  EXPECT_FALSE(arbiter_->AnybodyWaits()) << "it has all cores";
  Need(*second);
  Pass();
  EXPECT_TRUE(arbiter_->AnybodyWaits());
  NeedNoMore(*first);
  Leave(*first, 0);
  Pass();
  EXPECT_EQ(Owner(0), second->id);
  EXPECT_EQ(Word(*first, 0), CommandWord(1, Command::kRevoked));
  EXPECT_FALSE(arbiter_->AnybodyWaits());
}

// Not in vain: the host says when it leaves.
TEST_F(KeptTest, SomebodyWaitsForAHome) {
  Start(1);
  const auto host = AddKeeping(kService);
  const auto other = AddKeeping(kBursting);
  Come(*host, 0);
  Need(*other);
  Pass();
  EXPECT_EQ(Owner(0), kNobody);
  EXPECT_TRUE(arbiter_->AnybodyWaits());
  Leave(*host, 0);
  Pass();
  EXPECT_EQ(Owner(0), other->id);
  EXPECT_FALSE(arbiter_->AnybodyWaits());
}

}  // namespace
}  // namespace yamanote::arbiter
