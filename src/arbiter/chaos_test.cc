// chaos_test.cc - processes that die, stop, lie and flood, daemons that are killed; and an
// application that must not notice for long.
//
// All is drawn from a seed, which is printed; YAMANOTE_SEED replays it.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "arbiter/test_app.h"
#include "arbiter/test_daemon.h"
#include "base/random.h"
#include "yamanote/core_policy.h"

namespace yamanote::arbiter {
namespace {

using std::chrono::milliseconds;

// What the test and one application's process tell each other.
struct Control {
  std::atomic<bool> need{false};
  std::atomic<unsigned> running{0};
  std::atomic<unsigned> registered{0};  // How often.
};

class SharedControl {
 public:
  SharedControl()
      : control_(new(mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Control) {}
  ~SharedControl() { munmap(control_, sizeof(Control)); }
  SharedControl(const SharedControl&) = delete;
  SharedControl& operator=(const SharedControl&) = delete;
  Control& operator*() const { return *control_; }
  Control* operator->() const { return control_; }

 private:
  Control* const control_;
};

// A child that is gone when this is.
class Child {
 public:
  explicit Child(const std::function<void()>& work) {
    pid_ = fork();
    if (pid_ != 0) return;
    work();
    _exit(0);
  }
  ~Child() { End(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void Signal(int number) const { kill(pid_, number); }
  void End() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  pid_t pid_ = 0;
};

// How many there are; then, for a failure, who has what.
std::string Describe(const Status& status) {
  std::string text = std::to_string(status.apps.size()) + "\n";
  for (const AppStatus& app : status.apps) {
    text += app.name + (app.limits.best_effort ? " (best effort)" : "") +
            (app.wants ? " wants more" : "") + ", " +
            std::to_string(app.counters.moves) + " moves, " +
            std::to_string(app.counters.no_shows) + " no shows, " +
            std::to_string(app.counters.forgeries) + " forgeries:";
    for (const HeldCore& core : app.cores) {
      text += " " + std::to_string(core.core) + " ";
      text += ToString(core.why);
      text += " ";
      text += ToString(core.state);
    }
    text += "\n";
  }
  return text;
}

void RunDaemon(const std::string& path, rlim_t files) {
  if (files != 0) {
    // UBSan looks at an object of a class that it meets for the first time through a pipe,
    // and says that it is none if there is no descriptor for one.
    for (const CorePolicyInfo* const info : CorePolicies()) {
      const std::unique_ptr<CorePolicy> policy = info->make({.cores = 1});
      const CoreSample core{};
      static_cast<void>(policy->Decide(
          {.cores = {&core, 1}, .held = 0, .elapsed = milliseconds(1)}));
    }
    const rlimit limit{.rlim_cur = files, .rlim_max = files};
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  Linux kernel;
  DaemonOptions options = TestOptions(path);
  options.server.hello_timeout = milliseconds(100);
  options.server.list = Describe;
  const auto daemon = Daemon::Create(std::move(options), kernel);
  if (daemon) (*daemon)->Run();
}

bool IsOpen(const std::string& path) {
  return TestConnection(path).connected();
}

// Registers, and again whenever the arbiter is lost.
void RunApp(const std::string& path, Hello hello, Manners manners,
            Control& control) {
  for (;;) {
    TestApp app(path, hello);
    if (!app.ok()) {
      std::this_thread::sleep_for(milliseconds(2));
      continue;
    }
    ++control.registered;
    app.manners = manners;
    bool needs = false;
    while (!app.connection().Lost()) {
      control.running = app.Running();
      if (control.need != needs) {
        needs = control.need;
        needs ? app.Need() : app.NeedNoMore();
      }
      if (needs) app.Kick();
      for (unsigned core = 0; core < app.welcome().cores; ++core)
        hello.held[core] = app.Running(core) ? 1 : 0;
      std::this_thread::sleep_for(milliseconds(1));
    }
    // Who is deaf hears that there is nobody left to be deaf to.
    app.manners = Manners::kGood;
    control.running = 0;
  }
}

uint64_t Seed() {
  if (const char* const given = std::getenv("YAMANOTE_SEED"))
    return std::strtoull(given, nullptr, 10);
  return std::random_device()();
}

class Chaos {
 public:
  explicit Chaos(uint64_t seed) : random_(seed) { StartDaemon(); }

  void Run() {
    Control& victim = *victim_;
    const Child service([&] {
      RunApp(folder_.socket(), TestHello("victim", 1, 2), Manners::kGood,
             victim);
    });
    ASSERT_TRUE(Eventually([&] { return victim.registered == 1; }));
    apps_.resize(4);
    controls_.resize(apps_.size());
    for (auto& control : controls_) control = std::make_unique<SharedControl>();
    for (std::size_t i = 0; i < apps_.size(); ++i) StartApp(i);
    for (int round = 0; round < 30; ++round) {
      SCOPED_TRACE("round " + std::to_string(round));
      for (int i = 0; i < 4; ++i) Disturb();
      victim.need = true;
      ASSERT_TRUE(Eventually([&] { return victim.running == 2; }))
          << "it does not get what nobody has more right to:\n"
          << TestConnection(folder_.socket()).List();
      victim.need = false;
    }
    // Nothing is left of all that.
    for (auto& app : apps_) app.reset();
    EXPECT_TRUE(Eventually(
        [&] { return TestConnection(folder_.socket()).List()[0] == '1'; }));
  }

 private:
  void StartDaemon() {
    daemon_ =
        std::make_unique<Child>([this] { RunDaemon(folder_.socket(), 0); });
    EXPECT_TRUE(Eventually([this] { return IsOpen(folder_.socket()); }));
  }

  void StartApp(std::size_t index) {
    const auto kind = random_.Below(4);
    const Hello hello = TestHello("chaos", 0, 0, kind < 2);
    Control& control = **controls_[index];
    control.need = random_.Below(2) == 0;
    apps_[index] = std::make_unique<Child>([&, kind, hello] {
      RunApp(folder_.socket(), hello,
             kind % 2 == 0 ? Manners::kDeaf : Manners::kGood, control);
    });
  }

  void Disturb() {
    const std::size_t index = random_.Below(apps_.size());
    switch (random_.Below(10)) {
      case 0:
      case 1:
        apps_[index]->End();
        StartApp(index);
        return;
      case 2:
        apps_[index]->Signal(SIGSTOP);
        return;
      case 3:
        for (auto& app : apps_) app->Signal(SIGCONT);
        return;
      case 4:
      case 5:
        (*controls_[index])->need = random_.Below(2) == 0;
        return;
      case 6: {  // Garbage, which may begin well.
        const TestConnection peer(folder_.socket());
        std::vector<uint64_t> bytes(2 + random_.Below(200));
        for (uint64_t& word : bytes) word = random_();
        const Header header = TestHeader(static_cast<Kind>(random_.Below(8)));
        if (random_.Below(2) == 0)
          std::memcpy(bytes.data(), &header, sizeof header);
        peer.Send(bytes.data(), bytes.size() * sizeof bytes[0]);
        return;
      }
      case 7: {
        std::vector<std::unique_ptr<TestConnection>> flood;
        for (int i = 0; i < 60; ++i)
          flood.push_back(std::make_unique<TestConnection>(folder_.socket()));
        return;
      }
      case 8:
        if (random_.Below(4) != 0) return;
        daemon_->End();
        StartDaemon();
        return;
      default:
        std::this_thread::sleep_for(milliseconds(random_.Below(20)));
    }
  }

  base::Random random_;
  const TestFolder folder_;
  SharedControl victim_;
  std::unique_ptr<Child> daemon_;
  std::vector<std::unique_ptr<SharedControl>> controls_;
  std::vector<std::unique_ptr<Child>> apps_;
};

TEST(ArbiterChaosTest, AnHonestApplicationGetsItsCores) {
  const uint64_t seed = Seed();
  std::printf("YAMANOTE_SEED=%llu\n", static_cast<unsigned long long>(seed));
  Chaos(seed).Run();
}

TEST(ArbiterChaosTest, SurvivesThatDescriptorsRunOut) {
  const TestFolder folder;
  // Some for itself, and for the applications but few.
  const Child daemon([&] { RunDaemon(folder.socket(), 40); });
  ASSERT_TRUE(Eventually([&] { return IsOpen(folder.socket()); }));
  {
    std::vector<std::unique_ptr<TestConnection>> many;
    unsigned refused = 0;
    for (int i = 0; i < 30; ++i) {
      many.push_back(std::make_unique<TestConnection>(folder.socket()));
      // In vain if it has been refused, and told, already.
      static_cast<void>(many.back()->Send(TestHello("x", 0, 0)));
      const auto answer = many.back()->Hear();
      refused += !answer || answer->error != 0 ? 1 : 0;
    }
    EXPECT_GT(refused, 0);
    EXPECT_LT(refused, 30);
  }
  EXPECT_TRUE(Eventually([&] {
    TestConnection late(folder.socket());
    if (!late.connected() || !late.Send(TestHello("late", 1, 1))) return false;
    const auto answer = late.Hear();
    return answer && answer->error == 0;
  }));
}

// ---- Another user -----------------------------------------------------------

constexpr uid_t kStranger = 65534;

// What a stranger hears; each answer's error, or UINT32_MAX for a closed connection.
void AskAsStranger(const std::string& path, pid_t somebody,
                   std::atomic<uint32_t>* answers) {
  if (setgid(kStranger) != 0 || setuid(kStranger) != 0) return;
  const auto hear = [](TestConnection& peer) {
    const auto welcome = peer.Hear();
    return welcome ? welcome->error : UINT32_MAX;
  };
  TestConnection greedy(path);
  greedy.Send(TestHello("greedy", 1, 1));
  answers[0] = hear(greedy);
  TestConnection bursting(path);
  bursting.Send(TestHello("bursting", 0, 0));
  answers[1] = hear(bursting);
  TestConnection batch(path);
  batch.Send(TestHello("batch", 0, 0, true));
  answers[2] = hear(batch);
  // A thread of somebody else's.
  Workers workers{};
  workers.header = TestHeader(Kind::kWorkers);
  workers.tids[0] = somebody;
  batch.Send(workers);
  answers[3] = hear(batch);
  std::vector<std::unique_ptr<TestConnection>> many;
  for (int i = 0; i < 20; ++i) {
    many.push_back(std::make_unique<TestConnection>(path));
    many.back()->Send(TestHello("more", 0, 0, true));
    if (hear(*many.back()) != 0) ++answers[4];
  }
}

TEST(ArbiterChaosTest, AStrangerGetsBestEffortOnly) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can be somebody else";
  const TestFolder folder;
  std::filesystem::permissions(
      std::filesystem::path(folder.socket()).parent_path(),
      std::filesystem::perms(0755));
  const Child daemon([&] { RunDaemon(folder.socket(), 0); });
  ASSERT_TRUE(Eventually([&] { return IsOpen(folder.socket()); }));
  constexpr std::size_t kBytes = 5 * sizeof(std::atomic<uint32_t>);
  auto* const answers = static_cast<std::atomic<uint32_t>*>(
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
           -1, 0));
  {
    const pid_t self = getpid();
    const Child stranger(
        [&] { AskAsStranger(folder.socket(), self, answers); });
    EXPECT_TRUE(Eventually([&] { return answers[4] >= 12; }));
  }
  EXPECT_EQ(answers[0], static_cast<uint32_t>(EPERM));
  EXPECT_EQ(answers[1], static_cast<uint32_t>(EPERM));
  EXPECT_EQ(answers[2], 0);
  EXPECT_EQ(answers[3], static_cast<uint32_t>(EINVAL));
  munmap(answers, kBytes);
}

// It holds cores that no arbiter granted it: the new one finds that they are its own.
TEST(ArbiterChaosTest, ADaemonThatWasKilledIsReplacedAndAdopts) {
  const TestFolder folder;
  const auto work = [&] { RunDaemon(folder.socket(), 0); };
  auto daemon = std::make_unique<Child>(work);
  ASSERT_TRUE(Eventually([&] { return IsOpen(folder.socket()); }));
  const SharedControl control;
  const Child app([&] {
    RunApp(folder.socket(), TestHello("app", 1, 2), Manners::kGood, *control);
  });
  control->need = true;
  ASSERT_TRUE(Eventually([&] { return control->running == 2; }));
  control->need = false;
  for (unsigned i = 2; i < 5; ++i) {
    daemon->End();
    daemon = std::make_unique<Child>(work);
    ASSERT_TRUE(Eventually([&] { return control->registered == i; }));
    // Without a wish: it is given what it says it held.
    ASSERT_TRUE(Eventually([&] { return control->running == 2; }));
  }
}

}  // namespace
}  // namespace yamanote::arbiter
