// arbiter_test.cc - the pass, in virtual time: who is told what, and what lies are worth.

#include "arbiter/arbiter.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "arbiter/arbiter_fixture.h"

namespace yamanote::arbiter {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST_F(ArbiterTest, AHomeCoreIsGrantedForEver) {
  Start(2);
  const auto app = Add(kService);
  EXPECT_EQ(Word(*app, 0), CommandWord(1, Command::kGranted));
  EXPECT_EQ(Word(*app, 1), CommandWord(0, Command::kAway));
  Come(*app, 0);
  Pass();
  EXPECT_TRUE(arbiter_->allocator().at_home(0));
  Leave(*app, 0);
  Pass();
  EXPECT_FALSE(arbiter_->allocator().at_home(0));
  EXPECT_EQ(Word(*app, 0), CommandWord(1, Command::kGranted));
}

TEST_F(ArbiterTest, GrantsAndWakesWhoeverNeedsOne) {
  Start(2);
  const auto app = Add(kService);
  Come(*app, 0);
  Need(*app);
  Pass();
  EXPECT_EQ(Word(*app, 1), CommandWord(1, Command::kGranted));
  EXPECT_TRUE(Woken(*app, 1));
  EXPECT_EQ(State(1), CoreState::kGranted);
  Come(*app, 1);
  Pass();
  EXPECT_EQ(State(1), CoreState::kRunning);
  NeedNoMore(*app);
  Leave(*app, 1);
  Pass();
  EXPECT_EQ(State(1), CoreState::kIdle);
  EXPECT_EQ(Counters(*app).grants, 1);
}

TEST_F(ArbiterTest, NobodyIsGrantedACoreThatItHasNoWorkerFor) {
  Start(2);
  App app;
  app.pid = ++pids_;
  app.id = arbiter_->Add(Asks(app, kBursting), TestProcess(app.pid));
  Need(app);
  Pass();
  EXPECT_EQ(arbiter_->allocator().held(app.id), 0);
  std::array<int32_t, kMostCores> tids{};
  tids[1] = Tid(app, 1);
  ASSERT_TRUE(arbiter_->SetWorkers(app.id, tids));
  Pass();
  Pass();
  EXPECT_EQ(arbiter_->allocator().held(app.id), 1);
  EXPECT_EQ(Owner(1), app.id);
  tids[0] = 99999;
  EXPECT_FALSE(arbiter_->SetWorkers(app.id, tids));
}

// The owner, told to leave, finds the heir's grant written already.
TEST_F(ArbiterTest, HandsACoreOverToTheHeir) {
  Start(1);
  const auto batch = Add(kBatch);
  const auto service = Add(kBursting);
  Need(*batch);
  Pass();
  Come(*batch, 0);
  Pass();
  EXPECT_EQ(kernel_.classes[Tid(*batch, 0)], ThreadClass::kBeneath);

  kernel_.woken.clear();
  Need(*service);
  Pass();
  EXPECT_EQ(Word(*batch, 0), CommandWord(1, Command::kRevoked));
  EXPECT_EQ(CommandFor(*batch, 0).heir.load(), service->id);
  EXPECT_TRUE(Woken(*batch, 0));
  EXPECT_EQ(Word(*service, 0), CommandWord(1, Command::kNext));
  EXPECT_EQ(CommandFor(*service, 0).after.load(), Departure(batch->id, 1));
  EXPECT_FALSE(Woken(*service, 0));
  EXPECT_EQ(kernel_.classes[Tid(*service, 0)], ThreadClass::kNormal);

  // The heir may be seen first.
  Come(*service, 0);
  Pass();
  EXPECT_EQ(Owner(0), batch->id);
  Leave(*batch, 0);
  Pass();
  EXPECT_EQ(Owner(0), service->id);
  Pass();
  EXPECT_EQ(State(0), CoreState::kRunning);
  EXPECT_EQ(Word(*service, 0), CommandWord(1, Command::kGranted));
  EXPECT_EQ(Counters(*service).forgeries, 0);
  EXPECT_EQ(Counters(*batch).signals, 0);
}

TEST_F(ArbiterTest, ALateWorkerIsSignalledThenMoved) {
  Start(1);
  const auto batch = Add(kBatch);
  const auto service = Add(kBursting);
  Need(*batch);
  Pass();
  Come(*batch, 0);
  Pass();
  Need(*service);
  Pass();
  const Duration asked = kernel_.now;
  Pass(microseconds(99));
  EXPECT_TRUE(kernel_.signalled.empty());
  EXPECT_EQ(arbiter_->NextDue(kernel_.now, milliseconds(1)),
            asked + microseconds(100));
  Pass(microseconds(1));
  EXPECT_EQ(kernel_.signalled, std::vector<int>({Tid(*batch, 0)}));
  Pass(microseconds(900));
  EXPECT_EQ(kernel_.signalled.size(), 1);
  Pass(microseconds(100));
  EXPECT_EQ(kernel_.signalled.size(), 2);

  Pass(asked + milliseconds(2) - kernel_.now);
  EXPECT_EQ(Counters(*batch).moves, 1);
  EXPECT_EQ(kernel_.cpus[Tid(*batch, 0)], std::vector<int>({0, 1}));
  EXPECT_EQ(kernel_.classes[Tid(*batch, 0)], ThreadClass::kBeneath);
  EXPECT_EQ(Owner(0), service->id);
  EXPECT_TRUE(Woken(*service, 0));
  Come(*service, 0);
  Pass();

  // It may not have the core before it has answered; then its thread is put back.
  NeedNoMore(*service);
  Pass();
  Leave(*service, 0);
  Pass();
  Pass();
  EXPECT_EQ(Owner(0), kNobody);
  Leave(*batch, 0);
  Pass();
  EXPECT_EQ(kernel_.cpus[Tid(*batch, 0)], std::vector<int>({10}));
  Pass();
  EXPECT_EQ(Owner(0), batch->id);
  EXPECT_EQ(Word(*batch, 0), CommandWord(2, Command::kGranted));
  EXPECT_EQ(Counters(*batch).forgeries, 0);
}

// As when its process was stopped.
TEST_F(ArbiterTest, WhoDoesNotComeIsGivenUp) {
  Start(1);
  const auto stopped = Add(kBursting);
  Need(*stopped);
  Pass();
  kernel_.woken.clear();
  Pass(microseconds(100));
  EXPECT_TRUE(Woken(*stopped, 0));
  EXPECT_TRUE(kernel_.signalled.empty());
  Pass(microseconds(100));
  EXPECT_EQ(kernel_.signalled.size(), 1);
  Pass(milliseconds(2));
  EXPECT_EQ(Owner(0), kNobody);
  EXPECT_EQ(Word(*stopped, 0), CommandWord(1, Command::kRevoked));
  EXPECT_EQ(Counters(*stopped).no_shows, 1);
  Pass();
  EXPECT_EQ(Owner(0), kNobody) << "it still wants one";
  Leave(*stopped, 0);
  Pass();
  Pass();
  EXPECT_EQ(Owner(0), stopped->id);
}

// It runs beneath others, who may leave it no time.
TEST_F(ArbiterTest, ABestEffortWorkerMayComeLate) {
  Start(1);
  const auto batch = Add(kBatch);
  Need(*batch);
  Pass();
  Pass(milliseconds(50));
  EXPECT_EQ(Owner(0), batch->id);
  EXPECT_EQ(Counters(*batch).no_shows, 0);
}

TEST_F(ArbiterTest, AGuestRunsBeneathAndLeavesWhenTheHostComes) {
  Start(1);
  const auto host = Add(kService);
  const auto guest = Add(kBursting);
  Need(*guest);
  Pass();
  EXPECT_EQ(Owner(0), guest->id);
  EXPECT_EQ(kernel_.classes[Tid(*guest, 0)], ThreadClass::kBeneath);
  Come(*guest, 0);
  Pass();
  Come(*host, 0);
  Pass();
  EXPECT_EQ(State(0), CoreState::kRevoked);
  Leave(*guest, 0);
  Pass();
  EXPECT_EQ(Owner(0), kNobody);
  EXPECT_EQ(kernel_.classes[Tid(*host, 0)], ThreadClass::kNormal);
}

TEST_F(ArbiterTest, ABestEffortGuestStaysBeneathItsHost) {
  Start(1);
  const auto host = Add(kService);
  const auto guest = Add(kBatch);
  Come(*host, 0);
  Pass();
  Need(*guest);
  Pass();
  EXPECT_EQ(Owner(0), guest->id);
  Come(*guest, 0);
  Pass();
  EXPECT_EQ(State(0), CoreState::kRunning);
  EXPECT_TRUE(arbiter_->allocator().at_home(0));
}

// Without the right to raise a class nobody is lowered who would have to be raised.
TEST_F(ArbiterTest, AGuestKeepsItsClassWhereItCannotBeRestored) {
  kernel_.restores = false;
  Start(1);
  const auto host = Add(kService);
  const auto guest = Add(kBursting);
  Need(*guest);
  Pass();
  EXPECT_EQ(Owner(0), guest->id);
  EXPECT_EQ(kernel_.classes[Tid(*guest, 0)], ThreadClass::kNormal);
  // Nor is who is late.
  Come(*guest, 0);
  Pass();
  Come(*host, 0);
  Pass();
  // The signal first, however late.
  Pass(milliseconds(2));
  EXPECT_EQ(Counters(*guest).moves, 0);
  Pass(microseconds(100));
  EXPECT_EQ(Counters(*guest).moves, 1);
  EXPECT_EQ(kernel_.cpus[Tid(*guest, 0)], std::vector<int>({0, 1}));
  EXPECT_EQ(kernel_.classes[Tid(*guest, 0)], ThreadClass::kNormal);
}

// There it is in nobody else's way.
TEST_F(ArbiterTest, AGuestGoesOnAtItsOwnHomeWhenTheHostComes) {
  Start(2);
  const auto host = Add(kService);
  const auto guest = Add(kService);
  const CoreId home = arbiter_->allocator().homes(guest->id).NextFrom(0);
  const CoreId away = 1 - home;
  Come(*guest, home);
  Need(*guest);
  Pass();
  Pass();
  EXPECT_EQ(Owner(away), guest->id);
  EXPECT_EQ(kernel_.classes[Tid(*guest, away)], ThreadClass::kBeneath);
  Come(*guest, away);
  Pass();
  Come(*host, away);
  Pass();
  const auto is_home = [&] {
    return kernel_.cpus[Tid(*guest, away)] ==
               std::vector<int>{static_cast<int>(10 + home)} &&
           kernel_.classes[Tid(*guest, away)] == ThreadClass::kNormal;
  };
  EXPECT_EQ(State(away), CoreState::kRevoked);
  EXPECT_TRUE(is_home());
  EXPECT_EQ(Counters(*guest).moves, 0);
  // Nor does one that is late go anywhere else.
  Pass(milliseconds(2));  // The signal first.
  Pass(microseconds(100));
  EXPECT_EQ(Counters(*guest).moves, 1);
  EXPECT_TRUE(is_home());
  // It answers; the next time it is a guest where it belongs.
  Leave(*guest, away);
  Leave(*host, away);
  for (int i = 0; i < 3; ++i) Pass();
  EXPECT_EQ(Owner(away), guest->id);
  EXPECT_EQ(kernel_.cpus[Tid(*guest, away)],
            std::vector<int>{static_cast<int>(10 + away)});
  EXPECT_EQ(kernel_.classes[Tid(*guest, away)], ThreadClass::kBeneath);
}

TEST_F(ArbiterTest, WhoIsThereBecomesAGuest) {
  Start(1);
  const auto first = Add(kBursting);
  Need(*first);
  Pass();
  Come(*first, 0);
  Pass();
  EXPECT_EQ(kernel_.classes[Tid(*first, 0)], ThreadClass::kNormal);
  auto host = Add(kService);
  EXPECT_EQ(kernel_.classes[Tid(*first, 0)], ThreadClass::kBeneath);
  arbiter_->Remove(host->id);
  EXPECT_EQ(kernel_.classes[Tid(*first, 0)], ThreadClass::kNormal);
}

// One system call when it changes, none else.
TEST_F(ArbiterTest, ClassesAreRemembered) {
  Start(1);
  const auto app = Add(kBursting);
  Need(*app);
  Pass();
  const unsigned calls = kernel_.calls;
  for (int i = 0; i < 10; ++i) {
    Come(*app, 0);
    Pass();
    Leave(*app, 0);
    Pass();
    Pass();
  }
  EXPECT_GE(Counters(*app).grants, 5);
  EXPECT_EQ(kernel_.calls, calls);
}

// ---- Lies -------------------------------------------------------------------

TEST_F(ArbiterTest, PresenceOnWhatItDoesNotHoldIsIgnored) {
  Start(2);
  const auto honest = Add(kService);
  const auto liar = Add(kBursting);
  Come(*honest, 0);
  (*liar)[0].presence = Presence(7, true);
  (*liar)[1].presence = Presence(0, true);
  Pass();
  Pass();
  EXPECT_EQ(Owner(0), kNobody);
  EXPECT_EQ(Owner(1), kNobody);
  EXPECT_EQ(Counters(*liar).forgeries, 2) << "each once";
  (*liar)[1].presence = Presence(3, false);
  Need(*liar);
  Pass();
  ASSERT_EQ(Owner(1), liar->id);
  // Neither an old nor a future epoch is an answer.
  for (const uint32_t epoch : {0u, 2u}) {
    (*liar)[1].presence = Presence(epoch, true);
    Pass();
    EXPECT_EQ(State(1), CoreState::kGranted);
    (*liar)[1].presence = Presence(epoch, false);
    Pass();
    EXPECT_EQ(Owner(1), liar->id);
  }
  EXPECT_EQ(Counters(*honest).forgeries, 0);
}

TEST_F(ArbiterTest, ATaskFromTheFutureDoesNotWait) {
  Start(1);
  const auto app = Add(kBursting);
  (*app)[0].enqueued = 1;
  (*app)[0].oldest_since = INT64_MAX;
  Pass();
  // delay: only who is stranded gets one. It is.
  EXPECT_EQ(Owner(0), app->id);
  Shown shown;
  CoreSample sample;
  EXPECT_TRUE(shown.Read((*app)[0], kernel_.now, sample));
  EXPECT_EQ(sample.oldest, Duration(0));
  (*app)[0].oldest_since = 1;
  kernel_.now += std::chrono::hours(1);
  shown.Read((*app)[0], kernel_.now, sample);
  EXPECT_EQ(sample.oldest, kOldest);
  (*app)[0].oldest_since = INT64_MIN;
  shown.Read((*app)[0], kernel_.now, sample);
  EXPECT_EQ(sample.oldest, Duration(0));
}

TEST_F(ArbiterTest, IdleTimeNeitherFallsNorRuns) {
  CoreSignals signals{};
  Shown shown;
  CoreSample sample;
  signals.idle = 1000;
  EXPECT_TRUE(shown.Read(signals, milliseconds(1), sample));
  EXPECT_EQ(sample.idle, Duration(1000));
  signals.idle = 10;
  EXPECT_FALSE(shown.Read(signals, milliseconds(2), sample));
  EXPECT_EQ(sample.idle, Duration(1000));
  signals.idle = INT64_MAX;
  signals.idle_since = 1;
  EXPECT_TRUE(shown.Read(signals, milliseconds(3), sample));
  EXPECT_EQ(sample.idle, Duration(1000) + milliseconds(1));
  // More have left than have come.
  signals.taken = 5;
  signals.enqueued = 3;
  shown.Read(signals, milliseconds(4), sample);
  EXPECT_EQ(sample.Waiting(), 0);
}

// ---- The end ----------------------------------------------------------------

TEST_F(ArbiterTest, WhatTheDeadHadGoesOnAtOnce) {
  Start(1);
  const auto batch = Add(kBatch);
  const auto service = Add(kBursting);
  Need(*batch);
  Pass();
  Come(*batch, 0);
  Pass();
  Need(*service);
  Pass();
  kernel_.woken.clear();
  arbiter_->Remove(batch->id);
  EXPECT_EQ(Owner(0), service->id);
  EXPECT_TRUE(Woken(*service, 0));
  // Its row is somebody else's, from the start.
  const auto next = Add(kBatch);
  EXPECT_EQ(next->id, batch->id);
  // Its epochs go on, so that no departure of the dead is taken for one of its own.
  EXPECT_EQ(Word(*next, 0), CommandWord(1, Command::kAway));
}

TEST_F(ArbiterTest, AdoptsWhatAnApplicationHeldBefore) {
  Start(3);
  App app;
  Applicant asks = Asks(app, kService);
  asks.held[0] = true;  // Its home core, as it turns out.
  asks.held[2] = true;
  Register(app, std::move(asks));
  EXPECT_EQ(Owner(2), app.id);
  EXPECT_EQ(Owner(1), kNobody);
  EXPECT_EQ(Word(app, 2), CommandWord(1, Command::kGranted));
  EXPECT_EQ(arbiter_->status().apps[0].cores.back().why, Why::kAdopted);
  // It may be in the middle of something.
  Pass(milliseconds(50));
  EXPECT_EQ(Owner(2), app.id);
  Pass(milliseconds(50));
  EXPECT_EQ(Owner(2), kNobody);
}

// After a restart whoever comes first has it; the other is where it must not be.
TEST_F(ArbiterTest, WhatItCannotAdoptIsLeftLikeALateCore) {
  Start(3);
  const auto other = Add(kBursting);
  Need(*other);
  Pass();
  const CoreId core = 0;
  ASSERT_EQ(Owner(core), other->id);
  App app;
  Applicant asks = Asks(app, kBursting);
  asks.held[core] = true;
  Register(app, std::move(asks));
  EXPECT_EQ(Owner(core), other->id);
  EXPECT_EQ(Word(app, core), CommandWord(1, Command::kRevoked));
  EXPECT_EQ(kernel_.cpus[Tid(app, core)], std::vector<int>({0, 1}));
  EXPECT_EQ(kernel_.classes[Tid(app, core)], ThreadClass::kNormal)
      << "it may run a task";
  EXPECT_EQ(kernel_.signalled, std::vector<int>({Tid(app, core)}));
  // It has gone over, and left.
  app[core].presence = Presence(1, false);
  Pass();
  EXPECT_EQ(kernel_.cpus[Tid(app, core)], std::vector<int>({10}));
  EXPECT_EQ(kernel_.classes[Tid(app, core)], ThreadClass::kNormal);
  EXPECT_EQ(Counters(app).forgeries, 0);
}

TEST_F(ArbiterTest, HomeCoresStayWhereTheyWere) {
  Start(3);
  App app;
  Applicant asks = Asks(app, {.guaranteed = 2, .most = 2});
  asks.homes[1] = asks.homes[2] = true;
  Register(app, std::move(asks));
  EXPECT_EQ(arbiter_->allocator().home(0), kNobody);
  EXPECT_EQ(arbiter_->allocator().home(1), app.id);
  EXPECT_EQ(arbiter_->allocator().home(2), app.id);
  // Where they are somebody's it gets others.
  App late;
  asks = Asks(late, {.guaranteed = 1, .most = 1});
  asks.homes[1] = true;
  Register(late, std::move(asks));
  EXPECT_EQ(arbiter_->allocator().home(0), late.id);
  EXPECT_EQ(Word(late, 1), CommandWord(1, Command::kRevoked));
}

TEST_F(ArbiterTest, AnOpaqueApplicationMayBeBeneathEverybody) {
  Start(2);
  const auto service = Add(kBursting);
  App program;
  Applicant asks = Asks(program, kBatch);
  asks.opaque = true;
  program.pid = ++pids_;
  program.id = arbiter_->Add(std::move(asks), TestProcess(program.pid));
  Need(*service);
  Pass();
  // Neither takes anything from the other.
  EXPECT_EQ(arbiter_->allocator().held(service->id), 1);
  for (CoreId core = 0; core < 2; ++core)
    EXPECT_EQ(CommandOf(Word(program, core)), Command::kGranted);
  EXPECT_EQ(arbiter_->status().apps[1].cores.size(), 2);
  arbiter_->Remove(program.id);
  EXPECT_EQ(arbiter_->allocator().held(service->id), 1);
}

TEST_F(ArbiterTest, AnOpaqueApplicationHasWhatNobodyWants) {
  Start(3);
  const auto service = Add(kBursting);
  App program;
  Applicant asks =
      Asks(program, {.guaranteed = 0, .most = 2, .best_effort = true});
  asks.opaque = true;
  program.pid = ++pids_;
  program.id = arbiter_->Add(std::move(asks), TestProcess(program.pid));
  Pass();
  Pass();
  EXPECT_EQ(arbiter_->allocator().held(program.id), 2);
  // It shows nothing, and it is beneath whoever comes.
  Need(*service);
  Pass();
  EXPECT_EQ(arbiter_->allocator().held(service->id), 1);
  Pass();
  EXPECT_EQ(arbiter_->allocator().held(service->id), 2);
  EXPECT_EQ(arbiter_->allocator().held(program.id), 1);
  EXPECT_EQ(CommandOf(Word(program, Owner(0) == service->id ? 0 : 1)),
            Command::kRevoked);
  EXPECT_EQ(Counters(program).moves, 0);
}

TEST_F(ArbiterTest, AnOpaqueOneThatIsNotBeneathHasADeadline) {
  Start(2);
  App program;
  Applicant asks = Asks(program, kBursting);
  asks.opaque = true;
  program.pid = ++pids_;
  program.id = arbiter_->Add(std::move(asks), TestProcess(program.pid));
  Pass();
  Pass();
  EXPECT_EQ(arbiter_->allocator().held(program.id), 2);
  const auto service = Add(kBursting);
  Need(*service);
  Pass();
  EXPECT_EQ(arbiter_->allocator().held(service->id), 0);
  Pass(microseconds(100));
  EXPECT_EQ(arbiter_->allocator().held(service->id), 1);
}

TEST_F(ArbiterTest, WhoWasMovedIsPutBackBeforeTheEnd) {
  Start(1);
  const auto batch = Add(kBatch);
  const auto service = Add(kBursting);
  Need(*batch);
  Pass();
  Come(*batch, 0);
  Pass();
  Need(*service);
  Pass();
  Pass(milliseconds(2));
  Pass(microseconds(100));
  EXPECT_EQ(kernel_.cpus[Tid(*batch, 0)], std::vector<int>({0, 1}));
  arbiter_->Restore();
  EXPECT_EQ(kernel_.cpus[Tid(*batch, 0)], std::vector<int>({10}));
}

}  // namespace
}  // namespace yamanote::arbiter
