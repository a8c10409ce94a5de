// daemon_test.cc - applications that are threads, over real sockets and futexes.

#include "arbiter/daemon.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>

#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "arbiter/test_app.h"
#include "arbiter/test_daemon.h"

namespace yamanote::arbiter {
namespace {

using testing::HasSubstr;

// In both modes; polling, here, as often as two cores bear it.
class DaemonTest : public testing::TestWithParam<DaemonOptions::Mode> {
 protected:
  DaemonOptions Options() const {
    DaemonOptions options = TestOptions(folder_.socket());
    options.mode = GetParam();
    options.interval = std::chrono::microseconds(200);
    return options;
  }
  const TestFolder folder_;
};

INSTANTIATE_TEST_SUITE_P(, DaemonTest,
                         testing::Values(DaemonOptions::Mode::kEvents,
                                         DaemonOptions::Mode::kPolling),
                         [](const auto& one) {
                           return one.param == DaemonOptions::Mode::kEvents
                                      ? "Events"
                                      : "Polling";
                         });

TEST_P(DaemonTest, WelcomesAndTellsWhichCoresThereAre) {
  TestDaemon daemon(Options());
  ASSERT_EQ(daemon.error.message, "");
  TestApp app(folder_.socket(), TestHello("app", 1, 0));
  ASSERT_TRUE(app.ok()) << app.welcome().message;
  EXPECT_EQ(app.welcome().cores, 2);
  EXPECT_EQ(app.welcome().home[0] + app.welcome().home[1], 1);
  EXPECT_EQ(app.welcome().timed, 1);
  EXPECT_TRUE(Eventually([&] { return app.Running() == 1; }));
  EXPECT_EQ(app.connection().List(), "1");
}

TEST_P(DaemonTest, SharedMemoryCannotBeTurnedAgainstOthers) {
  TestDaemon daemon(Options());
  TestConnection app(folder_.socket());
  ASSERT_TRUE(app.Send(TestHello("app", 0, 0)));
  ASSERT_TRUE(app.Hear());
  ASSERT_EQ(app.descriptors.size(), 3);
  EXPECT_NE(ftruncate(app.descriptors[2], 0), 0);
  const int signals = app.descriptors[0];
  const int board = app.descriptors[1];
  EXPECT_NE(ftruncate(signals, 0), 0);
  EXPECT_NE(ftruncate(board, 0), 0);
  EXPECT_EQ(
      mmap(nullptr, kBoardBytes, PROT_READ | PROT_WRITE, MAP_SHARED, board, 0),
      MAP_FAILED);
  EXPECT_LT(write(board, "x", 1), 0);
  EXPECT_NE(
      fallocate(board, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
}

TEST_P(DaemonTest, MovesACoreFromBestEffortToWhoNeedsIt) {
  TestDaemon daemon(Options());
  TestApp batch(folder_.socket(), TestHello("batch", 0, 0, true));
  TestApp service(folder_.socket(), TestHello("service", 0, 0));
  ASSERT_TRUE(batch.ok() && service.ok());
  batch.Need();
  EXPECT_TRUE(Eventually([&] { return batch.Running() == 2; }));
  service.Need();
  EXPECT_TRUE(Eventually(
      [&] { return service.Running() == 2 && batch.Running() == 0; }));
  service.NeedNoMore();
}

std::atomic<int> g_signals{0};

TEST_P(DaemonTest, WhoDoesNotLeaveIsSignalledAndMoved) {
  const DaemonOptions options = Options();
  TestDaemon daemon(options);
  struct sigaction action{};
  action.sa_handler = [](int) { ++g_signals; };
  struct sigaction before{};
  sigaction(kLateSignal, &action, &before);
  g_signals = 0;
  TestApp deaf(folder_.socket(), TestHello("deaf", 0, 0));
  ASSERT_TRUE(deaf.ok());
  deaf.manners = Manners::kDeaf;
  deaf.Need();
  ASSERT_TRUE(Eventually([&] { return deaf.Running() == 2; }));
  // It comes to its home core. The guest there is asked, and does not hear.
  TestApp service(folder_.socket(), TestHello("service", 1, 1));
  ASSERT_TRUE(service.ok());
  EXPECT_TRUE(Eventually([&] { return service.Running() == 1; }));
  const unsigned home = service.welcome().home[0] != 0 ? 0 : 1;
  const auto cpus_of = [&] {
    cpu_set_t set;
    sched_getaffinity(deaf.tid(home), sizeof set, &set);
    return static_cast<std::size_t>(CPU_COUNT(&set));
  };
  EXPECT_TRUE(Eventually(
      [&] { return cpus_of() == options.arbiter.elsewhere.size(); }));
  // It was sent before the move. Its handler runs when the thread next does.
  EXPECT_TRUE(Eventually([] { return g_signals > 0; }));
  if (Linux().Restores()) {
    EXPECT_TRUE(Eventually(
        [&] { return sched_getscheduler(deaf.tid(home)) == SCHED_IDLE; }));
    EXPECT_EQ(sched_getscheduler(service.tid(home)), SCHED_OTHER);
  }
  deaf.manners = Manners::kGood;
  deaf.NeedNoMore();
  EXPECT_TRUE(Eventually([&] { return !deaf.Running(home); }));
  EXPECT_TRUE(Eventually([&] { return cpus_of() == 1; }));
  sigaction(kLateSignal, &before, nullptr);
}

TEST_P(DaemonTest, WhatAnApplicationHadIsFreeWhenItIsGone) {
  TestDaemon daemon(Options());
  TestApp waiting(folder_.socket(), TestHello("waiting", 0, 0));
  {
    TestApp first(folder_.socket(), TestHello("first", 2, 2));
    ASSERT_TRUE(first.ok());
    EXPECT_TRUE(Eventually([&] { return first.Running() == 2; }));
    TestConnection second(folder_.socket());
    ASSERT_TRUE(second.Send(TestHello("second", 1, 1)));
    const auto refusal = second.Hear();
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->error, static_cast<uint32_t>(ENOSPC));
    EXPECT_THAT(refusal->message, HasSubstr("0 cores are not guaranteed yet"));
    waiting.Need();
  }
  EXPECT_TRUE(Eventually([&] { return waiting.Running() == 2; }));
}

TEST_P(DaemonTest, RestartsUnderItsApplications) {
  auto daemon = std::make_unique<TestDaemon>(Options());
  TestApp before(folder_.socket(), TestHello("app", 0, 0));
  ASSERT_TRUE(before.ok());
  before.Need();
  ASSERT_TRUE(Eventually([&] { return before.Running() == 2; }));
  daemon.reset();
  EXPECT_TRUE(before.connection().Closed());
  EXPECT_EQ(before.Running(), 2) << "they run on";
  daemon = std::make_unique<TestDaemon>(Options());
  ASSERT_EQ(daemon->error.message, "");
  Hello hello = TestHello("app", 0, 0);
  hello.held[0] = hello.held[1] = 1;
  TestApp after(folder_.socket(), hello);
  ASSERT_TRUE(after.ok());
  EXPECT_TRUE(Eventually([&] { return after.Running() == 2; }));
}

// ---- Peers that mean harm ---------------------------------------------------

struct Nonsense {
  std::vector<char> bytes;
  uint32_t error;
  const char* says;
};

std::vector<Nonsense> AllNonsense() {
  std::vector<Nonsense> all;
  const auto add = [&](const auto& message, int error, const char* says) {
    const char* const bytes = reinterpret_cast<const char*>(&message);
    all.push_back(
        {{bytes, bytes + sizeof message}, static_cast<uint32_t>(error), says});
  };
  add(int{0}, EINVAL, "4 bytes");
  Header header = TestHeader(Kind::kHello);
  add(header, EINVAL, "instead of");
  header.kind = Kind::kWelcome;
  add(header, EINVAL, "kind = 2");
  header.version = 9;
  add(header, EPROTO, "version = 9");
  header.magic = 9;
  add(header, EPROTO, "magic = 9");
  Workers workers{};
  workers.header = TestHeader(Kind::kWorkers);
  add(workers, EINVAL, "Hello first");
  add(TestHello("", 0, 0), EINVAL, "name is empty");
  add(TestHello("\x1b[31m", 0, 0), EINVAL, "not printable");
  Hello hello = TestHello("x", 0, 0);
  std::memset(hello.name, 'x', sizeof hello.name);
  add(hello, EINVAL, "does not end");
  hello = TestHello("x", 0, 0);
  hello.allocation[0] = '?';
  add(hello, EINVAL, "choose one of static, congestion");
  add(TestHello("x", 3, 0), EINVAL, "guaranteed = 3");
  add(TestHello("x", 2, 1), EINVAL, "most = 1");
  add(TestHello("x", 1, 0, true), EINVAL, "leave one of them out");
  hello = TestHello("x", 0, 0);
  hello.opaque = 2;
  add(hello, EINVAL, "opaque = 2");
  hello.opaque = 0;
  hello.keeps = 2;
  add(hello, EINVAL, "keeps = 2");
  hello = TestHello("x", 0, 0);
  hello.held[2] = 1;
  add(hello, EINVAL, "held[2] = 1");
  return all;
}

TEST_P(DaemonTest, SaysWhatIsWrongAndCloses) {
  TestDaemon daemon(Options());
  for (const Nonsense& one : AllNonsense()) {
    SCOPED_TRACE(one.says);
    TestConnection peer(folder_.socket());
    ASSERT_TRUE(peer.Send(one.bytes.data(), one.bytes.size()));
    const std::optional<Welcome> answer = peer.Hear();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->error, one.error);
    EXPECT_THAT(answer->message, HasSubstr(one.says));
    EXPECT_TRUE(peer.Closed());
  }
}

TEST_P(DaemonTest, ThreadsOfOthersAreNotItsWorkers) {
  TestDaemon daemon(Options());
  TestConnection peer(folder_.socket());
  ASSERT_TRUE(peer.Send(TestHello("x", 0, 0)));
  ASSERT_TRUE(peer.Hear());
  Workers workers{};
  workers.header = TestHeader(Kind::kWorkers);
  workers.tids[0] = 1;  // init
  ASSERT_TRUE(peer.Send(workers));
  const auto answer = peer.Hear();
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->message, HasSubstr("no thread of process"));
}

TEST_P(DaemonTest, AFloodHurtsNobodyElse) {
  DaemonOptions options = Options();
  options.server.hello_timeout = std::chrono::milliseconds(50);
  TestDaemon daemon(options);
  TestApp app(folder_.socket(), TestHello("app", 0, 0));
  ASSERT_TRUE(app.ok());
  std::atomic<bool> end{false};
  std::thread kicker([&] {
    TestConnection peer(folder_.socket());
    peer.Send(TestHello("kicker", 0, 0));
    peer.Hear();
    while (!end && peer.Send(Kick{TestHeader(Kind::kKick)})) {
    }
  });
  std::thread comer([&] {
    // All at once and again, most of them silent.
    while (!end) {
      std::vector<std::unique_ptr<TestConnection>> many;
      for (int i = 0; i < 40 && !end; ++i)
        many.push_back(std::make_unique<TestConnection>(folder_.socket()));
    }
  });
  for (int i = 0; i < 20; ++i) {
    app.Need();
    EXPECT_TRUE(Eventually([&] { return app.Running() == 2; }));
    app.NeedNoMore();
    app.manners = Manners::kGood;
    TestApp host(folder_.socket(), TestHello("host", 2, 2));
    // Where the flood has all places it is refused, in words.
    if (host.ok()) {
      EXPECT_TRUE(Eventually([&] { return app.Running() == 0; }));
    }
  }
  end = true;
  kicker.join();
  comer.join();
}

TEST_P(DaemonTest, WhoSaysNothingIsSentAway) {
  DaemonOptions options = Options();
  options.server.hello_timeout = std::chrono::milliseconds(20);
  TestDaemon daemon(options);
  TestConnection silent(folder_.socket());
  EXPECT_TRUE(silent.Closed());
}

TEST_P(DaemonTest, UsersHaveWhatTheyAreAllowed) {
  DaemonOptions options = Options();
  options.server.rights.users = {
      {geteuid(), {.guaranteed = 1, .burst = 0, .apps = 2}}};
  TestDaemon daemon(options);
  TestConnection first(folder_.socket());
  ASSERT_TRUE(first.Send(TestHello("first", 1, 0)));
  EXPECT_EQ(first.Hear()->error, 0) << "as many as it may";
  TestConnection second(folder_.socket());
  ASSERT_TRUE(second.Send(TestHello("second", 1, 1)));
  EXPECT_THAT(second.Hear()->message, HasSubstr("2 guaranteed cores of 1"));
  TestConnection third(folder_.socket());
  ASSERT_TRUE(third.Send(TestHello("third", 0, 0)));
  EXPECT_EQ(third.Hear()->error, static_cast<uint32_t>(EPERM));
  TestConnection batch(folder_.socket());
  ASSERT_TRUE(batch.Send(TestHello("batch", 0, 0, true)));
  EXPECT_EQ(batch.Hear()->error, 0);
  TestConnection more(folder_.socket());
  ASSERT_TRUE(more.Send(TestHello("more", 0, 0, true)));
  EXPECT_THAT(more.Hear()->message, HasSubstr("application number 3 of 2"));
}

// ---- The socket's file ------------------------------------------------------

TEST_P(DaemonTest, ALiveDaemonIsNotReplacedADeadOneIs) {
  {
    TestDaemon first(Options());
    TestDaemon second(Options());
    EXPECT_THAT(second.error.message, HasSubstr("running yamanoted"));
    EXPECT_TRUE(TestConnection(folder_.socket()).connected());
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.socket()));
  // One that was killed leaves its file.
  const int dead = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, folder_.socket().c_str());
  ASSERT_EQ(bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address),
            0);
  close(dead);
  TestDaemon third(Options());
  EXPECT_EQ(third.error.message, "");
  EXPECT_TRUE(TestConnection(folder_.socket()).connected());
}

TEST_P(DaemonTest, AFileInItsPlaceStays) {
  std::ofstream(folder_.socket()) << "mine";
  TestDaemon daemon(Options());
  EXPECT_THAT(daemon.error.message, HasSubstr("no socket"));
  EXPECT_TRUE(std::filesystem::exists(folder_.socket()));
}

}  // namespace
}  // namespace yamanote::arbiter
