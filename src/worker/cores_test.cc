// cores_test.cc - a runtime whose cores an arbiter hands out; the test is the arbiter.

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstring>
#include <string>
#include <thread>

#include "arbiter/abi.h"
#include "base/cpu.h"
#include "base/random.h"
#include "base/topology.h"
#include "worker/engine.h"
#include "worker/test_turns.h"
#include "yamanote/condition_variable.h"
#include "yamanote/mutex.h"
#include "yamanote/preempt.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;
using arbiter::Command;
using arbiter::CommandWord;
using arbiter::EpochOf;
using arbiter::Presence;

// Serves one application: core 0 is its home core, the others are what the test says.
class TestArbiter {
 public:
  explicit TestArbiter(unsigned cores, bool parks = true)
      : cores_(cores), parks_(parks) {
    char folder[] = "/tmp/yamanote-cores-XXXXXX";
    EXPECT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    std::strncpy(address.sun_path, path().c_str(),
                 sizeof(address.sun_path) - 1);
    EXPECT_EQ(
        bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
        0);
    EXPECT_EQ(listen(listener_, 1), 0);
    signals_fd_ = memfd_create("signals", MFD_CLOEXEC);
    board_fd_ = memfd_create("board", MFD_CLOEXEC);
    handover_fd_ = memfd_create("handover", MFD_CLOEXEC);
    EXPECT_EQ(ftruncate(handover_fd_, arbiter::kHandoverBytes), 0);
    EXPECT_EQ(ftruncate(signals_fd_, arbiter::kSignalsBytes), 0);
    EXPECT_EQ(ftruncate(board_fd_, arbiter::kBoardBytes), 0);
    signals_ = static_cast<arbiter::CoreSignals*>(
        mmap(nullptr, arbiter::kSignalsBytes, PROT_READ, MAP_SHARED,
             signals_fd_, 0));
    board_ = static_cast<arbiter::BoardHeader*>(
        mmap(nullptr, arbiter::kBoardBytes, PROT_READ | PROT_WRITE, MAP_SHARED,
             board_fd_, 0));
    handover_ = static_cast<arbiter::Handover*>(
        mmap(nullptr, arbiter::kHandoverBytes, PROT_READ | PROT_WRITE,
             MAP_SHARED, handover_fd_, 0));
    commands_ = reinterpret_cast<arbiter::CoreCommand*>(board_ + 1);
    commands_[0].word = CommandWord(1, Command::kGranted);
    server_ = std::thread([this] { Serve(); });
  }
  ~TestArbiter() {
    shutdown(listener_, SHUT_RDWR);
    Close();
    server_.join();
    close(peer_);
    close(listener_);
    close(signals_fd_);
    close(board_fd_);
    close(handover_fd_);
    munmap(handover_, arbiter::kHandoverBytes);
    munmap(signals_, arbiter::kSignalsBytes);
    munmap(board_, arbiter::kBoardBytes);
    unlink(path().c_str());
    rmdir(folder_.c_str());
  }

  std::string path() const { return folder_ + "/arbiter.sock"; }
  RuntimeOptions Options(const char* order = "fifo") const {
    RuntimeOptions options;
    options.scheduling = Scheduling{};
    options.scheduling.order = order;
    options.scheduling.allocation = "congestion";
    options.arbiter.socket = path();
    return options;
  }

  // `keep`: its worker may come back to it, until Take().
  void Grant(CoreId core, bool keep = false) {
    commands_[core].keep = keep ? 1 : 0;
    Command_(core, EpochOf(commands_[core].word) + 1, Command::kGranted);
  }
  void Revoke(CoreId core) {
    Command_(core, EpochOf(commands_[core].word), Command::kRevoked);
  }
  // False: its worker has come back just then, and leaves again.
  bool Take(CoreId core) {
    Revoke(core);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!Away(core)) return false;
    syscall(SYS_tgkill, getpid(), workers().tids[core], arbiter::kLateSignal);
    return true;
  }
  bool Granted(CoreId core) const {
    return arbiter::CommandOf(commands_[core].word) == Command::kGranted;
  }
  // Once `app` has left by the grant `epoch`; and that.
  void GrantAfter(CoreId core, uint32_t app, uint32_t epoch) {
    commands_[core].after = arbiter::Departure(app, epoch);
    Command_(core, EpochOf(commands_[core].word) + 1, Command::kNext);
  }
  void Depart(CoreId core, uint32_t app, uint32_t epoch) {
    handover_[core].left = arbiter::Departure(app, epoch);
    syscall(SYS_futex, &commands_[core].word, FUTEX_WAKE, INT_MAX, nullptr,
            nullptr, 0);
  }
  bool Left(CoreId core) const {
    return handover_[core].left ==
           arbiter::Departure(0, EpochOf(commands_[core].word));
  }
  bool Present(CoreId core) const {
    return signals_[core].presence.load(std::memory_order_acquire) ==
           Presence(EpochOf(commands_[core].word), true);
  }
  bool Away(CoreId core) const {
    return signals_[core].presence.load(std::memory_order_acquire) ==
           Presence(EpochOf(commands_[core].word), false);
  }
  uint32_t Waiting(CoreId core) const {
    return signals_[core].enqueued - signals_[core].taken;
  }
  void Sleep(bool sleeps) { board_->sleeping = sleeps ? 1 : 0; }
  void SleepWaitedFor() { board_->sleeping = arbiter::kWaitedFor; }
  void Refuse(std::string why) { refusal_ = std::move(why); }
  // As if it crashed.
  void Close() {
    const int fd = peer_;
    if (fd >= 0) shutdown(fd, SHUT_RDWR);
  }

  // What the application has said. They wait until it has.
  const arbiter::Hello& hello() const {
    Await(1);
    return hello_;
  }
  const arbiter::Workers& workers() const {
    Await(2);
    return workers_;
  }
  std::atomic<int> messages{0};  // After those.

 private:
  void Command_(CoreId core, uint32_t epoch, Command command) {
    commands_[core].heir = arbiter::kNoApp;
    commands_[core].word.store(CommandWord(epoch, command),
                               std::memory_order_release);
    syscall(SYS_futex, &commands_[core].word, FUTEX_WAKE, INT_MAX, nullptr,
            nullptr, 0);
  }

  void Await(int heard) const {
    // Acquire: pairs with Serve().
    while (heard_.load(std::memory_order_acquire) < heard)
      std::this_thread::sleep_for(100us);
  }

  void Serve() {
    const int fd = accept(listener_, nullptr, nullptr);
    if (fd < 0) return;
    peer_ = fd;
    EXPECT_EQ(recv(fd, &hello_, sizeof(hello_), 0), sizeof(hello_));
    heard_.store(1, std::memory_order_release);
    arbiter::Welcome welcome{};
    welcome.header = {arbiter::kMagic, arbiter::kVersion,
                      arbiter::Kind::kWelcome};
    welcome.cores = cores_;
    const std::vector<int> allowed = base::AllowedCpus();
    for (unsigned core = 0; core < cores_; ++core)
      welcome.cpus[core] = allowed[core % allowed.size()];
    welcome.home[0] = 1;
    welcome.timed = 1;
    welcome.parks = parks_ ? 1 : 0;
    welcome.park_after_ns = 2000;
    if (!refusal_.empty()) {
      welcome.error = EPERM;
      refusal_.copy(welcome.message, sizeof(welcome.message) - 1);
    }
    iovec part{&welcome, sizeof(welcome)};
    alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(3 * sizeof(int));
    const int fds[] = {signals_fd_, board_fd_, handover_fd_};
    std::memcpy(CMSG_DATA(header), fds, sizeof(fds));
    EXPECT_EQ(sendmsg(fd, &message, 0), sizeof(welcome));
    if (!refusal_.empty()) return;
    EXPECT_EQ(recv(fd, &workers_, sizeof(workers_), 0), sizeof(workers_));
    heard_.store(2, std::memory_order_release);
    char more[4096];
    while (recv(fd, more, sizeof(more), 0) > 0) ++messages;
  }

  const unsigned cores_;
  const bool parks_;
  std::string folder_;
  std::string refusal_;
  int listener_ = -1;
  int signals_fd_ = -1;
  int board_fd_ = -1;
  int handover_fd_ = -1;
  std::atomic<int> peer_{-1};
  arbiter::Hello hello_{};
  arbiter::Workers workers_{};
  std::atomic<int> heard_{0};  // Of those; release: they are written.
  arbiter::CoreSignals* signals_ = nullptr;
  arbiter::BoardHeader* board_ = nullptr;
  arbiter::Handover* handover_ = nullptr;
  arbiter::CoreCommand* commands_ = nullptr;
  std::thread server_;
};

// Until it holds, for as long as a busy machine may need.
template <typename Condition>
bool Eventually(Condition condition) {
  const Instant end = Clock::now() + 20s;
  while (!condition()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(100us);
  }
  return true;
}

std::unique_ptr<Runtime> Start(const RuntimeOptions& options) {
  auto runtime = Runtime::Create(options);
  EXPECT_TRUE(runtime) << runtime.error().message;
  return runtime ? std::move(*runtime) : nullptr;
}

TEST(CoresTest, RegistersAndRunsOnItsHomeCore) {
  TestArbiter arbiter(2);
  RuntimeOptions options = arbiter.Options();
  options.arbiter.name = "tested";
  options.arbiter.burst = 1;
  const auto runtime = Start(options);
  ASSERT_NE(runtime, nullptr);
  EXPECT_EQ(runtime->cores(), 2);
  runtime->Run([] {
    Thread other([] {});
    other.join();
  });
  EXPECT_STREQ(arbiter.hello().name, "tested");
  EXPECT_STREQ(arbiter.hello().allocation, "congestion");
  EXPECT_EQ(arbiter.hello().guaranteed, 1);
  EXPECT_EQ(arbiter.hello().most, 2);
  EXPECT_TRUE(Eventually([&] { return arbiter.workers().tids[1] != 0; }));
  EXPECT_EQ(runtime->stats().grants, 0);
  // Nothing to do: it is not there.
  EXPECT_TRUE(Eventually([&] { return arbiter.Away(0); }));
}

// The second runs only where the first does not.
TEST(CoresTest, AGrantedCoreRunsWhatWaits) {
  TestArbiter arbiter(2);
  const auto runtime = Start(arbiter.Options());
  ASSERT_NE(runtime, nullptr);
  std::atomic<bool> ran{false};
  std::atomic<bool> spawned{false};
  std::thread granter([&] {
    EXPECT_TRUE(Eventually([&] { return spawned.load(); }));
    EXPECT_EQ(arbiter.Waiting(0), 1);
    arbiter.Grant(1);
  });
  runtime->Run([&] {
    Thread second([&] { ran = true; });
    spawned = true;
    while (!ran) base::Pause();  // Does not give way.
    second.join();
  });
  granter.join();
  EXPECT_EQ(runtime->stats().grants, 1);
  // And gives the core back, since it finds nothing more.
  EXPECT_TRUE(Eventually([&] { return arbiter.Away(1); }));
}

// It comes back by itself when there is something to do, and not once it is taken.
TEST(CoresTest, AKeptCoreIsComeBackTo) {
  TestArbiter arbiter(2);
  const auto runtime = Start(arbiter.Options());
  ASSERT_NE(runtime, nullptr);
  EXPECT_EQ(arbiter.hello().keeps, 1);
  // Spawns one that can only run on core 1, and waits for it for so long.
  const auto runs_there = [&](Duration patience) {
    std::atomic<bool> ran{false};
    const Instant end = Clock::now() + patience;
    bool in_time = false;
    runtime->Run([&] {
      Thread second([&] { ran = true; });
      while (!ran && Clock::now() < end) base::Pause();
      in_time = ran;
      second.join();
    });
    return in_time;
  };
  arbiter.Grant(1, /*keep=*/true);
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(runs_there(20s)) << i;
    EXPECT_TRUE(Eventually([&] { return arbiter.Away(1); }));
  }
  EXPECT_EQ(runtime->stats().grants, 1);
  EXPECT_TRUE(arbiter.Granted(1));
  EXPECT_TRUE(arbiter.Take(1));
  EXPECT_FALSE(runs_there(20ms));
  EXPECT_TRUE(arbiter.Away(1));
  arbiter.Grant(1, /*keep=*/true);
  EXPECT_TRUE(runs_there(20s));
  EXPECT_EQ(runtime->stats().grants, 2);
}

TEST(CoresTest, AnIdleCoreIsKeptWhereThePolicySaysSo) {
  TestArbiter arbiter(2, /*parks=*/false);
  const auto runtime = Start(arbiter.Options());
  ASSERT_NE(runtime, nullptr);
  arbiter.Grant(1);
  EXPECT_TRUE(Eventually([&] { return arbiter.Present(1); }));
  std::this_thread::sleep_for(20ms);
  EXPECT_TRUE(arbiter.Present(1));
  arbiter.Revoke(1);
  EXPECT_TRUE(Eventually([&] { return arbiter.Away(1); }));
}

// A task that gives way now and then goes on elsewhere.
TEST(CoresTest, ARevokedCoresTaskGoesOn) {
  TestArbiter arbiter(2);
  RuntimeOptions options = arbiter.Options("rr");
  options.scheduling.slice = 50us;
  const auto runtime = Start(options);
  ASSERT_NE(runtime, nullptr);
  std::atomic<int> on_granted{0};
  std::atomic<bool> end{false};
  std::atomic<int> begun{0};
  std::thread granter([&] {
    // Else the granted core finds nothing, and is left at once.
    EXPECT_TRUE(Eventually([&] { return begun == 3; }));
    for (int i = 0; i < 50; ++i) {
      arbiter.Grant(1);
      EXPECT_TRUE(Eventually([&] { return arbiter.Present(1); }));
      arbiter.Revoke(1);
      EXPECT_TRUE(Eventually([&] { return arbiter.Away(1); })) << i;
    }
    end = true;
  });
  runtime->Run([&] {
    std::vector<Thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        ++begun;
        while (!end) CheckPreempt();
        ++on_granted;
      });
    }
    for (Thread& thread : threads) thread.join();
  });
  granter.join();
  EXPECT_EQ(on_granted, 3);
  EXPECT_EQ(runtime->stats().grants, 50);
}

TEST(CoresTest, AnHeirComesWhenTheOneBeforeHasLeft) {
  TestArbiter arbiter(2, /*parks=*/false);
  const auto runtime = Start(arbiter.Options());
  ASSERT_NE(runtime, nullptr);
  arbiter.GrantAfter(1, 7, 3);
  arbiter.Depart(1, 7, 2);  // An earlier time.
  arbiter.Depart(1, 6, 3);  // Another one.
  std::this_thread::sleep_for(5ms);
  EXPECT_FALSE(arbiter.Present(1));
  arbiter.Depart(1, 7, 3);
  EXPECT_TRUE(Eventually([&] { return arbiter.Present(1); }));
  // And says so itself.
  arbiter.Revoke(1);
  EXPECT_TRUE(Eventually([&] { return arbiter.Left(1); }));
}

TEST(CoresTest, AGrantThatIsRevokedAtOnceIsAnswered) {
  TestArbiter arbiter(2, /*parks=*/false);
  const auto runtime = Start(arbiter.Options());
  ASSERT_NE(runtime, nullptr);
  arbiter.GrantAfter(1, 7, 3);  // Who never leaves.
  arbiter.Revoke(1);
  EXPECT_TRUE(Eventually([&] { return arbiter.Away(1); }));
  arbiter.Grant(1);
  EXPECT_TRUE(Eventually([&] { return arbiter.Present(1); }));
}

// While the arbiter sleeps it is told that something waits.
TEST(CoresTest, KicksAnArbiterThatSleeps) {
  TestArbiter arbiter(2);
  arbiter.Sleep(true);
  const auto runtime = Start(arbiter.Options());
  ASSERT_NE(runtime, nullptr);
  runtime->Run([&] {
    Thread second([] {});
    const Instant begin = Clock::now();
    while (arbiter.messages == 0 && Clock::now() - begin < 20s) {
      Thread third([] {});
      third.join();
    }
    second.join();
  });
  EXPECT_GE(arbiter.messages, 1);
}

// It knows then; what it does not know is when a core is left.
TEST(CoresTest, AsksSeldomAnArbiterThatIsWaitedFor) {
  TestArbiter arbiter(2);
  const auto runtime = Start(arbiter.Options());
  runtime->Run([&] {
    Thread second([] {});
    arbiter.SleepWaitedFor();
    const int before = arbiter.messages;
    const Instant begin = Clock::now();
    while (Clock::now() - begin < 20ms ||
           (arbiter.messages == before && Clock::now() - begin < 20s)) {
      Thread third([] {});
      third.join();
    }
    EXPECT_GT(arbiter.messages, before);
    EXPECT_LE(arbiter.messages - before, (Clock::now() - begin) / 1ms + 1);
    arbiter.Sleep(false);
    second.join();
  });
}

TEST(CoresTest, WhoLeavesItsHomeTellsAnArbiterThatIsWaitedFor) {
  TestArbiter arbiter(1);
  const auto runtime = Start(arbiter.Options());
  ASSERT_TRUE(Eventually([&] { return arbiter.Away(0); }));
  arbiter.Sleep(true);
  runtime->Run([] {});
  ASSERT_TRUE(Eventually([&] { return arbiter.Away(0); }));
  EXPECT_EQ(arbiter.messages, 0);
  arbiter.SleepWaitedFor();
  runtime->Run([] {});
  EXPECT_TRUE(Eventually([&] { return arbiter.messages > 0; }));
}

// A task that comes to no scheduling point makes no pass; the kernel's tick asks for it.
// Without slices, so that nothing else counts time.
TEST(CoresTest, ATaskThatMakesNoPassHasItsNeedToldAllTheSame) {
  TestArbiter arbiter(2);
  const auto runtime = Start(arbiter.Options());
  ASSERT_NE(runtime, nullptr);
  runtime->Run([&] {
    Thread second([] {});
    arbiter.Sleep(true);
    const int before = arbiter.messages;
    const Instant begin = Clock::now();
    while (arbiter.messages == before && Clock::now() - begin < 10s)
      base::Pause();
    EXPECT_GT(arbiter.messages, before);
    arbiter.Sleep(false);
    second.join();
  });
}

// Whose core is away sleeps on a word of the arbiter's, and is woken all the same; missed,
// it would sleep on for up to 250 ms.
TEST(CoresTest, AVisitIsNotMissed) {
  TestArbiter arbiter(2);
  const auto runtime = Start(arbiter.Options());
  ASSERT_NE(runtime, nullptr);
  ASSERT_TRUE(Eventually([&] { return runtime->impl().parking().IsAway(1); }));
  class Counts final : public worker::Pump {
   public:
    bool Run(CoreId core, Instant, Moment) override {
      if (core == 1) ++visits;
      return false;
    }
    bool Help(CoreId) override { return false; }
    std::atomic<int> visits{0};
  } pump;
  runtime->impl().SetPump(&pump);
  int missed = 0;
  for (int i = 0; i < 1000; ++i) {
    const int before = pump.visits;
    const Instant begin = Clock::now();
    runtime->impl().VisitCore(1);
    // At once: then the next one comes when the worker is about to sleep.
    while (pump.visits == before && Clock::now() - begin < 20s) base::Pause();
    ASSERT_GT(pump.visits, before);
    if (Clock::now() - begin >= 200ms) ++missed;
  }
  EXPECT_LT(missed, 3);
  runtime->impl().SetPump(nullptr);
}

TEST(CoresTest, GoesOnWithoutTheArbiter) {
  TestArbiter arbiter(2);
  const auto runtime = Start(arbiter.Options());
  ASSERT_NE(runtime, nullptr);
  arbiter.Grant(1);
  arbiter.Close();
  int ran = 0;
  runtime->Run([&] {
    for (int i = 0; i < 100; ++i) {
      Thread one([&] { ++ran; });
      one.join();
    }
  });
  EXPECT_EQ(ran, 100);
}

TEST(CoresTest, SaysWhyItCannotRegister) {
  RuntimeOptions options;
  options.arbiter.socket = "/nonexistent/arbiter.sock";
  auto runtime = Runtime::Create(options);
  ASSERT_FALSE(runtime);
  EXPECT_NE(runtime.error().message.find("start yamanoted"), std::string::npos)
      << runtime.error().message;

  TestArbiter arbiter(2);
  arbiter.Refuse("guaranteed is 1; the limit for this user is 0");
  runtime = Runtime::Create(arbiter.Options());
  ASSERT_FALSE(runtime);
  EXPECT_NE(runtime.error().message.find("the limit for this user is 0"),
            std::string::npos)
      << runtime.error().message;

  options = arbiter.Options();
  options.cores = 2;
  runtime = Runtime::Create(options);
  ASSERT_FALSE(runtime);
  EXPECT_NE(runtime.error().message.find("leave them out"), std::string::npos);

  options = arbiter.Options();
  options.scheduling.placement = PlacementKind::kPartitioned;
  runtime = Runtime::Create(options);
  ASSERT_FALSE(runtime);
  EXPECT_NE(runtime.error().message.find("an arbiter may take any core"),
            std::string::npos);
}

// Cores come and go at random while tasks spawn, block and wake each other.
TEST(CoresTest, NothingIsLostWhateverCoresComeAndGo) {
  for (const char* preset : {"shenango", "yamanote", "custom"}) {
    SCOPED_TRACE(preset);
    constexpr unsigned kCores = 4;
    TestArbiter arbiter(kCores);
    RuntimeOptions options = arbiter.Options();
    if (std::string_view(preset) != "custom")
      options.scheduling = FindPreset(preset).value();
    const auto runtime = Start(options);
    ASSERT_NE(runtime, nullptr);
    std::atomic<bool> end{false};
    std::thread granter([&] {
      base::Random random(7);
      while (!end) {
        const auto core = static_cast<CoreId>(1 + random.Below(kCores - 1));
        if (arbiter.Away(core)) {
          if (arbiter.Granted(core)) {  // Kept.
            if (random.Below(4) != 0 || !arbiter.Take(core)) continue;
          }
          arbiter.Grant(core, random.Below(2) == 0);
        } else if (arbiter.Present(core)) {
          arbiter.Revoke(core);
        }
        if (random.Below(4) == 0) std::this_thread::sleep_for(20us);
      }
    });
    int rounds = 0;
    while (rounds < 1 || runtime->stats().grants < 20) {
      ++rounds;
      TakeTurns(*runtime, 16, 300);
    }
    end = true;
    granter.join();
  }
}

}  // namespace
}  // namespace yamanote
