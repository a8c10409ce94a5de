// rounds_test.cc - contenders that die and demos that are interrupted, in the middle.
//
// The requests of each contender are answered within this process, by a FakeServer; a
// child stands for the server's process, so that it can be killed.

#include "tools/demo/rounds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "tools/load/fake_server.h"
#include "tools/load/measure.h"

namespace yamanote::demo {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<double> kLoads = {1000, 2000};

struct Driven {
  explicit Driven(const std::string& name) {
    load::LoadOptions options;
    options.target = *load::ParseTarget(fake.address());
    options.transport = Transport::kTcp;
    options.workload =
        *load::Workload::Parse(load::Application::kSpin, "fixed:1us");
    options.connections = 2;
    options.duration = 30ms;
    options.warmup = 10ms;
    options.gap_threshold = 1ms;
    measurement = std::make_unique<load::Measurement>(options);
    EXPECT_TRUE(measurement->Prepare());
    process = *ServerProcess::Start(
        {.name = name,
         .argv = {"/bin/sh", "-c",
                  "echo 'the last words' >&2; echo ready $$; exec sleep 600"}});
    EXPECT_TRUE(process->WaitReady(10s, [] { return false; }));
  }

  pid_t pid() const {
    return std::stoi(
        process->ready_line().substr(std::string("ready ").size()));
  }

  void End(int signal) {
    kill(pid(), signal);
    while (process->Ended().empty()) std::this_thread::yield();
  }

  load::FakeServer fake{load::Application::kSpin, Transport::kTcp,
                        load::Manners::kHonest};
  std::unique_ptr<load::Measurement> measurement{};
  std::unique_ptr<ServerProcess> process{};
};

bool Exists(pid_t pid) { return kill(pid, 0) == 0; }

// Drives two contenders; before a run, `before` may do what it likes.
struct Demo {
  Result<load::Run> Measure(size_t contender, double rps, uint64_t round) {
    before(contender, rps, round);
    Driven& driven = contender == 0 ? one : two;
    ++runs;
    return Drive(*driven.process, *driven.measurement, interrupts, rps, round);
  }

  const Interrupts interrupts{};  // Before there are threads.
  Driven one{"one"};
  Driven two{"two"};
  std::function<void(size_t, double, uint64_t)> before = [](auto...) {};
  unsigned runs = 0;
  Rounds rounds{kLoads, 2,
                [this](size_t contender, double rps, uint64_t round) {
                  return Measure(contender, rps, round);
                }};
};

// Killed in the second round at the higher load: that point says so and stays, as
// does the other; the rest is driven on.
TEST(RoundsTest, AContenderThatDiesKeepsItsPointsAndTheOthersGoOn) {
  Demo demo;
  demo.before = [&](size_t contender, double rps, uint64_t round) {
    if (contender == 1 && rps == kLoads[1] && round == 2) demo.two.End(SIGKILL);
  };
  for (int round = 0; round < 3; ++round) {
    const Result<void> done = demo.rounds.Next();
    ASSERT_TRUE(done) << done.error().message;
  }
  EXPECT_EQ(demo.runs, 2u * 3 + 4);
  EXPECT_FALSE(demo.rounds.Failed(0));
  EXPECT_TRUE(demo.rounds.Failed(1));
  EXPECT_FALSE(demo.rounds.AllFailed());

  for (const load::PointResult& point : demo.rounds.Points(0)) {
    EXPECT_THAT(point.seeds, ElementsAre(1, 2, 3));
    EXPECT_THAT(point.why_invalid, testing::Not(HasSubstr("was ended")));
  }
  const std::vector<load::PointResult> points = demo.rounds.Points(1);
  ASSERT_EQ(points.size(), 2u);
  EXPECT_THAT(points[0].seeds, ElementsAre(1, 2));
  EXPECT_THAT(points[0].why_invalid, testing::Not(HasSubstr("was ended")));
  EXPECT_THAT(points[1].seeds, ElementsAre(1));
  EXPECT_EQ(points[1].offered_rps, 2000);
  EXPECT_FALSE(points[1].valid);
  EXPECT_FALSE(points[1].valid_undisturbed);
  EXPECT_EQ(points[1].why_invalid,
            "in round 2: two was ended by signal 9 (Killed) at 2k/s");
}

// Nothing was measured there before: there is a point all the same, without figures.
TEST(RoundsTest, AContenderThatDiesAtOnceHasAPointThatSaysSo) {
  Demo demo;
  demo.one.End(SIGTERM);
  demo.two.End(SIGTERM);
  ASSERT_TRUE(demo.rounds.Next());
  EXPECT_TRUE(demo.rounds.AllFailed());
  EXPECT_EQ(demo.runs, 2u);
  const std::vector<load::PointResult> points = demo.rounds.Points(0);
  ASSERT_EQ(points.size(), 1u);
  EXPECT_EQ(points[0].offered_rps, 1000);
  EXPECT_FALSE(points[0].valid);
  EXPECT_EQ(points[0].why_invalid,
            "in round 1: one was ended by signal 15 (Terminated) at 1k/s");
  EXPECT_TRUE(points[0].seeds.empty());
}

TEST(RoundsTest, TheLastWordsOfADeadServerAreInTheError) {
  Driven driven("alone");
  EXPECT_TRUE(CheckAlive(*driven.process, 1500));
  driven.process->Stop();
  const Result<void> dead = CheckAlive(*driven.process, 1500);
  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(dead.error().message,
            "alone was ended by signal 15 (Terminated) at 1.5k/s\n"
            "it wrote: the last words");
}

// As by Ctrl-C in the middle of a run of a minute.
TEST(RoundsTest, AnInterruptionEndsTheRunAndLeavesNoChildBehind) {
  pid_t one = 0;
  pid_t two = 0;
  {
    Demo demo;
    one = demo.one.pid();
    two = demo.two.pid();
    ASSERT_TRUE(demo.rounds.Next());
    demo.one.measurement->SetWindow(10ms, 60s);
    demo.two.measurement->SetWindow(10ms, 60s);
    std::thread key;
    demo.before = [&](auto...) {
      const uint64_t before =
          demo.one.fake.requests() + demo.two.fake.requests();
      key = std::thread([&demo, before] {
        while (demo.one.fake.requests() + demo.two.fake.requests() <
               before + 100)
          std::this_thread::yield();
        kill(getpid(), SIGINT);
      });
    };
    const Instant begin = Clock::now();
    const Result<void> interrupted = demo.rounds.Next();
    key.join();
    ASSERT_FALSE(interrupted);
    EXPECT_EQ(interrupted.error().code, ErrorCode::kCancelled);
    EXPECT_LT(Clock::now() - begin, 50s);
    EXPECT_EQ(demo.runs, 5u);  // No other began.
    EXPECT_EQ(demo.rounds.done(), 1u);
    EXPECT_TRUE(Exists(one));
  }
  EXPECT_FALSE(Exists(one));
  EXPECT_FALSE(Exists(two));
}

}  // namespace
}  // namespace yamanote::demo
