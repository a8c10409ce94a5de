// scx_agents_test.cc - agents schedule threads by sched_ext: policies, crashes, upgrades.
//
// Agents that are to die run in a process of their own: this program with --agent.
//
//   YAMANOTE_SEED=N   when agents are killed (default 1)

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <random>

#include "tests/vm/scx_threads.h"

namespace yamanote::native {
namespace {

constexpr const char* kPins = "/sys/fs/bpf/yamanote-test";

std::string SchedExtState() {
  std::ifstream file("/sys/kernel/sched_ext/state");
  std::string state;
  file >> state;
  return state;
}

// ---- Policies ---------------------------------------------------------------

TEST(ScxAgentsTest, FirstComeFirstServed) {
  const auto kernel = MakeKernel({.cpus = {1}});
  const TestDriver driver(*kernel, Scheduled(PlacementKind::kCentral, "fifo"));
  std::mutex mutex;
  std::vector<int> order;
  std::atomic<bool> go = false;
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 6; ++i) workers.push_back(std::make_unique<Worker>());
  const Stopper stopper(go);
  std::this_thread::sleep_for(100ms);
  for (int i = 0; i < 6; ++i) {
    workers[i]->Do([&, i] {
      if (i == 0) {
        while (!go) {
        }
      }
      const std::lock_guard guard(mutex);
      order.push_back(i);
      EXPECT_EQ(sched_getcpu(), 1);
    });
    std::this_thread::sleep_for(50ms);
  }
  go = true;
  for (const auto& worker : workers)
    EXPECT_TRUE(Eventually([&] { return worker->done() == 1; }));
  // Where one of the kernel's own threads took the core meanwhile, the first has rejoined
  // at the tail.
  std::erase(order, 0);
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4, 5}));
  workers.clear();
  EXPECT_EQ(kernel->Ended(), "");
}

// Without a slice the short one would wait for all of the long one's second.
void ShortOverLong(PlacementKind placement) {
  const auto kernel = MakeKernel({.cpus = {1}});
  const TestDriver driver(*kernel, Scheduled(placement, "rr", 10ms));
  Worker first;
  Worker second;
  std::this_thread::sleep_for(100ms);
  std::atomic<int64_t> ended = 0;
  first.Do([&] {
    Spin(1s);
    ended = ToNanos(Now().time_since_epoch());
  });
  std::this_thread::sleep_for(50ms);
  const Instant start = Now();
  second.Do([] { Spin(15ms); });
  EXPECT_TRUE(Eventually([&] { return second.done() == 1; }));
  const Duration sojourn = Now() - start;
  std::printf("15 ms of work took %lld us beside 1 s\n",
              static_cast<long long>(ToNanos(sojourn) / 1000));
  EXPECT_EQ(ended, 0);
  EXPECT_TRUE(Eventually([&] { return first.done() == 1; }));
  EXPECT_EQ(kernel->Ended(), "");
}

TEST(ScxAgentsTest, RoundRobinByAGlobalAgent) {
  ShortOverLong(PlacementKind::kCentral);
}

TEST(ScxAgentsTest, RoundRobinByAnAgentForEachCore) {
  ShortOverLong(PlacementKind::kStealing);
}

// Threads that run, block and yield on both CPUs, where the agents run too.
void Storm(const AgentOptions& options, const ScxOptions& enclave) {
  const auto kernel = MakeKernel(enclave);
  const TestDriver driver(*kernel, options);
  constexpr int kRounds = 40;
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 8; ++i) workers.push_back(std::make_unique<Worker>());
  for (int i = 0; i < 8; ++i) {
    workers[i]->Do([i] {
      for (int round = 0; round < kRounds; ++round) {
        Spin(std::chrono::microseconds(500 * (1 + i % 4)));
        if (round % 4 == i % 4) sched_yield();
        if (round % 2 == 0) std::this_thread::sleep_for(1ms);
      }
    });
  }
  for (const auto& worker : workers)
    EXPECT_TRUE(Eventually([&] { return worker->done() == 1; }, 60s));
  workers.clear();
  EXPECT_EQ(kernel->Ended(), "");
  std::printf("%llu passes, %llu served by idling cores\n",
              static_cast<unsigned long long>(driver.passes()),
              static_cast<unsigned long long>(kernel->fast_served()));
}

TEST(ScxAgentsTest, AStormByAGlobalAgent) {
  Storm(Scheduled(PlacementKind::kCentral, "fifo"), {.cpus = {0, 1}});
  Storm(Scheduled(PlacementKind::kCentral, "rr", 2ms), {.cpus = {0, 1}});
}

TEST(ScxAgentsTest, AStormByAnAgentForEachCore) {
  Storm(Scheduled(PlacementKind::kStealing, "fifo"), {.cpus = {0, 1}});
  Storm(Scheduled(PlacementKind::kStealing, "rr", 2ms), {.cpus = {0, 1}});
}

// The agent's core is wanted by a thread that may run nowhere else: it goes to another.
TEST(ScxAgentsTest, AnAgentGivesItsCoreToAThreadBoundToIt) {
  AgentOptions options = Scheduled(PlacementKind::kCentral, "fifo");
  options.own_core = true;
  const auto kernel = MakeKernel({.cpus = {0, 1}});
  const TestDriver driver(*kernel, options);
  Worker on0({0});
  Worker on1({1});
  for (int round = 0; round < 10; ++round) {
    on0.Do([] { EXPECT_EQ(sched_getcpu(), 0); });
    EXPECT_TRUE(Eventually([&] { return on0.done() == round + 1; }));
    on1.Do([] { EXPECT_EQ(sched_getcpu(), 1); });
    EXPECT_TRUE(Eventually([&] { return on1.done() == round + 1; }));
  }
  EXPECT_EQ(kernel->Ended(), "");
}

// ---- The fast path ----------------------------------------------------------

TEST(ScxAgentsTest, AnIdlingCoreServesItselfWhereTheAgentIsSilent) {
  const auto kernel = MakeKernel({.cpus = {1}, .fast_path = true});
  {
    Worker first({1});
    Worker second({1});
    for (int round = 0; round < 20; ++round) {
      first.Do([] { Spin(3ms); });
      second.Do([] { Spin(3ms); });
      ASSERT_TRUE(Eventually([&] { return first.done() == round + 1; }));
      ASSERT_TRUE(Eventually([&] { return second.done() == round + 1; }));
    }
  }
  EXPECT_GE(kernel->fast_served(), 40u);
  EXPECT_EQ(kernel->Ended(), "");
}

TEST(ScxAgentsTest, AStormWithTheFastPath) {
  Storm(Scheduled(PlacementKind::kCentral, "fifo"),
        {.cpus = {0, 1}, .fast_path = true});
}

// ---- Ends -------------------------------------------------------------------

TEST(ScxAgentsTest, TheKernelEjectsWhoLetsAThreadWait) {
  const auto kernel = MakeKernel({.cpus = {1}, .watchdog = 1s});
  // An agent that does nothing.
  ASSERT_TRUE(kernel->AssociateCore(kNoCore, *kernel->CreateQueue(100)));
  Worker worker;
  const Instant start = Now();
  worker.Do([] {});
  EXPECT_TRUE(Eventually([&] { return worker.done() == 1; }));
  std::printf("ejected after %lld ms: %s\n",
              static_cast<long long>(ToNanos(Now() - start) / 1000000),
              kernel->Ended().c_str());
  EXPECT_TRUE(Eventually([&] { return !kernel->Ended().empty(); }));
  EXPECT_NE(kernel->Ended().find("stall"), std::string::npos);
}

// Load that goes on whoever schedules it, and counts.
class Load {
 public:
  explicit Load(int threads)
      : counts_(std::make_unique<std::atomic<int>[]>(threads)) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back([this, i] {
        EXPECT_TRUE(JoinScx(0).has_value());
        while (!stop_) {
          Spin(std::chrono::microseconds(300 * (i + 1)));
          counts_[i].fetch_add(1);
          // Without slices the first to come would have the cores for good.
          std::this_thread::sleep_for(std::chrono::milliseconds(1 + i % 3));
        }
      });
    }
  }
  ~Load() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // Whether each thread gets something done from now on.
  bool Progresses(int rounds = 3) const {
    std::vector<int> before;
    for (std::size_t i = 0; i < threads_.size(); ++i)
      before.push_back(counts_[i]);
    return Eventually([&] {
      for (std::size_t i = 0; i < threads_.size(); ++i)
        if (counts_[i] < before[i] + rounds) return false;
      return true;
    });
  }

 private:
  std::atomic<bool> stop_{false};
  const std::unique_ptr<std::atomic<int>[]> counts_;
  std::vector<std::thread> threads_;
};

// Agents in a process of their own.
class AgentProcess {
 public:
  AgentProcess(bool pins, const std::string& how) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(ends[1], 3);
      execl("/proc/self/exe", "scx_agents_test", "--agent", pins ? kPins : "",
            how.c_str(), nullptr);
      _exit(127);
    }
    close(ends[1]);
    ready_ = ends[0];
  }
  ~AgentProcess() {
    Kill();
    close(ready_);
  }
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  // 'n': there are agents of a new scheduler; 'r': of one that was there; 'x': of none.
  char Ready() const {
    char how = 'x';
    return read(ready_, &how, 1) == 1 ? how : 'x';
  }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

 private:
  pid_t pid_ = -1;
  int ready_ = -1;
};

uint64_t Seed() {
  const char* const seed = std::getenv("YAMANOTE_SEED");
  return seed == nullptr ? 1 : std::strtoull(seed, nullptr, 10);
}

TEST(ScxAgentsTest, LoadOutlivesAnAgentThatIsKilled) {
  std::mt19937_64 random(Seed());
  const Load load(5);
  for (int round = 0; round < 5; ++round) {
    AgentProcess agent(false, round % 2 == 0 ? "fifo" : "rr");
    ASSERT_EQ(agent.Ready(), 'n');
    if (round == 0) {
      EXPECT_TRUE(load.Progresses());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 300));
    agent.Kill();
    EXPECT_TRUE(load.Progresses()) << "round " << round << ", seed " << Seed();
    EXPECT_TRUE(Eventually([] { return SchedExtState() == "disabled"; }));
  }
}

TEST(ScxAgentsTest, UpgradesUnderLoadLoseNoThread) {
  std::mt19937_64 random(Seed());
  const Load load(5);
  auto agent = std::make_unique<AgentProcess>(true, "fifo");
  ASSERT_EQ(agent->Ready(), 'n');
  EXPECT_TRUE(load.Progresses());
  int resumed = 0;
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 200));
    const char* const how = round % 3 == 0   ? "rr"
                            : round % 3 == 1 ? "cores"
                                             : "fifo";
    // Waits for the other to go away.
    auto next = std::make_unique<AgentProcess>(true, how);
    if (round % 2 == 0) std::this_thread::sleep_for(100ms);
    agent->Kill();
    agent = std::move(next);
    const char ready = agent->Ready();
    ASSERT_EQ(ready, 'r') << "round " << round << ", seed " << Seed();
    resumed += ready == 'r' ? 1 : 0;
    EXPECT_TRUE(load.Progresses()) << "round " << round << ", seed " << Seed();
    ASSERT_EQ(SchedExtState(), "enabled");
  }
  std::printf("%d upgrades\n", resumed);
  agent->Kill();
  const auto kernel = MakeKernel({.cpus = {0, 1}, .pins = kPins});
  EXPECT_TRUE(kernel->resumed());
  kernel->Unpin();
}

// Nobody comes: the kernel's watchdog ends it.
TEST(ScxAgentsTest, APinnedSchedulerWithoutAgentsIsEjected) {
  const Load load(3);
  AgentProcess agent(true, "fifo");
  ASSERT_EQ(agent.Ready(), 'n');
  EXPECT_TRUE(load.Progresses());
  agent.Kill();
  EXPECT_TRUE(Eventually([] { return SchedExtState() == "disabled"; }, 30s));
  EXPECT_TRUE(load.Progresses());
  // What is left of it is no hindrance.
  AgentProcess next(true, "fifo");
  EXPECT_EQ(next.Ready(), 'n');
  EXPECT_TRUE(load.Progresses());
  next.Kill();
  const auto kernel = MakeKernel({.cpus = {0, 1}, .pins = kPins});
  EXPECT_TRUE(kernel->resumed());
  kernel->Unpin();
}

int RunAgent(const std::string& pins, const std::string& how) {
  auto kernel =
      ScxKernel::Create({.cpus = {0, 1}, .pins = pins, .patience = 30s});
  if (!kernel) {
    std::fprintf(stderr, "%s\n", kernel.error().message.c_str());
    return 1;
  }
  const TestDriver driver(
      **kernel, how == "rr" ? Scheduled(PlacementKind::kCentral, "rr", 2ms)
                : how == "cores"
                    ? Scheduled(PlacementKind::kStealing, "rr", 2ms)
                    : Scheduled(PlacementKind::kCentral, "fifo"));
  const char ready = (*kernel)->resumed() ? 'r' : 'n';
  if (write(3, &ready, 1) != 1) return 1;
  for (;;) pause();
}

}  // namespace
}  // namespace yamanote::native

int main(int argc, char** argv) {
  if (argc == 4 && std::string_view(argv[1]) == "--agent")
    return yamanote::native::RunAgent(argv[2], argv[3]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
