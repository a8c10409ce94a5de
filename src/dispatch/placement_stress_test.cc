// placement_stress_test.cc - real threads against every placement.
//
// Threads play cores and outsiders; a task is a counter of how often it must
// run. Checked: no task runs on two cores at once, none is lost, each runs as
// often as it was made runnable, and no core sleeps through work (after a lost
// wake-up it says who sleeps, and aborts). Run it under TSan. Capacities are tiny
// so that full slots and empty queues are the rule.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/cpu.h"
#include "dispatch/placement.h"

namespace yamanote::dispatch {
namespace {

struct Job {
  Task task;  // Its id is the job's index.
  std::atomic<bool> running{false};
  // Guarded by running: whoever runs it.
  int steps_left = 0;
};

// The engine's side of placement.h, with threads for cores.
class Machine {
 public:
  Machine(const Scheduling& scheduling, unsigned cores, size_t jobs, int steps)
      : name_(scheduling.preset + " " + scheduling.order),
        placement_(MakePlacement(scheduling, cores)),
        cores_(cores),
        idle_(std::make_unique<IdleFlag[]>(cores)),
        unfinished_(jobs) {
    for (size_t i = 0; i < jobs; ++i) {
      jobs_.push_back(std::make_unique<Job>());
      jobs_.back()->task.id = i;
      jobs_.back()->steps_left = steps;
      // For orders that look at classes and lengths.
      jobs_.back()->task.request_class = i % 2;
      jobs_.back()->task.attained = Duration(i % 2 == 0 ? 1'000 : 100'000);
    }
  }

  // Runs every job to its end; `outsiders` threads that are no core enqueue them.
  void Run(unsigned outsiders) {
    std::vector<std::thread> threads;
    for (CoreId core = 0; core < cores_; ++core) {
      threads.emplace_back([this, core] { CoreLoop(core); });
    }
    for (unsigned o = 0; o < outsiders; ++o) {
      threads.emplace_back([this, o, outsiders] {
        for (size_t i = o; i < jobs_.size(); i += outsiders) {
          Enqueue(*jobs_[i], Wake::kArrival, kNoCore);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  uint64_t ran() const { return ran_.load(); }

 private:
  struct IdleFlag {
    alignas(base::kNoSharing) std::atomic<uint32_t> parked{0};
  };

  // Longer than it takes, shorter than ctest waits.
  static constexpr std::chrono::seconds kStuck{240};

  void AbortIfStuck() {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, kStuck, [this] { return done_; })) return;
    std::string text;
    for (CoreId core = 0; core < cores_; ++core) {
      text += "\ncore " + std::to_string(core) +
              (idle_[core].parked.load() != 0 ? ": parked" : ": awake") +
              (placement_->HasWork(core) ? ", has work" : ", has no work");
    }
    std::fprintf(
        stderr, "%s: stuck with %zu of %zu jobs unfinished, %ju steps done%s\n",
        name_.c_str(), unfinished_.load(), jobs_.size(),
        static_cast<uintmax_t>(ran_.load()), text.c_str());
    std::abort();
  }

  void Enqueue(Job& job, Wake why, CoreId from) {
    const uint64_t flow = job.task.id % 5;
    const Placed placed = placement_->Enqueue(job.task, why, flow, from, {});
    // Pairs with CoreLoop(): placement.h, "No lost wake-up".
    std::atomic_thread_fence(std::memory_order_seq_cst);
    Notified(placed);
  }

  void Notified(Placed placed) {
    if (placed.notify == Notify::kNobody) return;
    if (placed.notify == Notify::kEveryone) {
      for (CoreId core = 0; core < cores_; ++core) WakeCore(core);
      return;
    }
    if (placed.core != kNoCore && WakeCore(placed.core)) return;
    if (placed.notify == Notify::kCore) return;
    for (CoreId core = 0; core < cores_; ++core) {
      if (WakeCore(core)) return;
    }
  }

  // Returns true if it was parked, or about to park.
  bool WakeCore(CoreId core) {
    std::atomic<uint32_t>& parked = idle_[core].parked;
    if (parked.load() == 0 || parked.exchange(0) == 0) return false;
    parked.notify_one();
    return true;
  }

  void CoreLoop(CoreId core) {
    std::mt19937 random(core + 1);
    while (unfinished_.load() != 0) {
      placement_->Leave(core);
      for (Placed placed = placement_->Dispatch(core, {});
           placed.notify != Notify::kNobody;
           placed = placement_->Dispatch(core, {})) {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        Notified(placed);
      }
      Task* task = placement_->PickNext(core, {});
      if (task == nullptr) task = placement_->FindWork(core, {});
      while (task != nullptr) task = RunOnce(*jobs_[task->id], core, random);
      Park(core);
    }
    // Everything is done: nobody else comes to wake those that still sleep.
    for (CoreId other = 0; other < cores_; ++other) WakeCore(other);
  }

  void Park(CoreId core) {
    std::atomic<uint32_t>& parked = idle_[core].parked;
    parked.store(1);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (placement_->HasWork(core) || unfinished_.load() == 0) {
      parked.store(0);
      std::this_thread::yield();
      return;
    }
    parked.wait(1);
  }

  // One step of a job; returns what `core` runs next.
  Task* RunOnce(Job& job, CoreId core, std::mt19937& random) {
    EXPECT_FALSE(job.running.exchange(true)) << "it runs on two cores at once";
    job.task.last_core = core;
    ran_.fetch_add(1, std::memory_order_relaxed);
    const bool finished = --job.steps_left == 0;
    job.running.store(false);
    if (finished) {
      Stopped(job, core, Stop::kFinished);
      unfinished_.fetch_sub(1);
      return nullptr;
    }
    switch (random() % 4) {
      case 0:  // Blocked, and woken at once by this core.
        Stopped(job, core, Stop::kBlocked);
        Enqueue(job, Wake::kWakeup, core);
        return placement_->PickNext(core, {});
      case 1:  // Yields by way of the main loop.
        Stopped(job, core, Stop::kYielded);
        Enqueue(job, Wake::kYield, core);
        return nullptr;
      default:
        Stopped(job, core, Stop::kPreempted);
        return placement_->Exchange(job.task, Wake::kPreempted, core, {});
    }
  }

  void Stopped(Job& job, CoreId core, Stop why) {
    if (placement_->ObservesStops())
      placement_->OnStop(job.task, core, why, Duration(1'000));
  }

  const std::string name_;
  const std::unique_ptr<Placement> placement_;
  const unsigned cores_;
  const std::unique_ptr<IdleFlag[]> idle_;
  std::vector<std::unique_ptr<Job>> jobs_;
  std::atomic<size_t> unfinished_;
  std::atomic<uint64_t> ran_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
};

void Stress(Scheduling scheduling, unsigned cores) {
  for (const char* const order : {"fifo", "slo-ratio", "edf", "mlfq", "cfs",
                                  "eevdf", "darc", "cbs", "lrtf"}) {
    SCOPED_TRACE(std::string(scheduling.preset) + " " + order + " cores " +
                 std::to_string(cores));
    scheduling.order = order;
    ASSERT_TRUE(Validate(scheduling, cores).has_value());
    // Few jobs and many: parking is the rule, or never happens.
    for (const size_t jobs : {size_t{2}, size_t{60}}) {
      const int steps = jobs == 2 ? 300 : 25;
      Machine machine(scheduling, cores, jobs, steps);
      machine.Run(/*outsiders=*/2);
      EXPECT_EQ(machine.ran(), jobs * static_cast<uint64_t>(steps));
    }
  }
}

TEST(PlacementStressTest, EveryPresetLosesNothing) {
  for (const PresetInfo& preset : Presets()) {
    for (const unsigned cores : {1u, 2u, 4u}) Stress(preset.scheduling, cores);
  }
}

TEST(PlacementStressTest, DedicatedDispatcherWithAnyNumberOfSlotsLosesNothing) {
  for (const unsigned slots : {1u, 2u, 3u, kMaxSlots}) {
    Scheduling scheduling{.preset = "slots " + std::to_string(slots),
                          .placement = PlacementKind::kCentral,
                          .dispatcher = DispatcherKind::kDedicated,
                          .slots = slots};
    for (const unsigned cores : {2u, 3u}) Stress(scheduling, cores);
  }
}

// It keeps tasks back from idle cores: whoever may run one must be awake. Enough
// jobs for two profiles, the first of which reserves a core for class 0.
TEST(PlacementStressTest, ReservedCoresLoseNothing) {
  for (const unsigned cores : {2u, 3u, 4u}) {
    for (const int steps : {1, 3}) {
      Machine machine({.order = "darc",
                       .placement = PlacementKind::kCentral,
                       .classes = {{.name = "short"}, {.name = "long"}}},
                      cores, 25'000, steps);
      machine.Run(/*outsiders=*/2);
      EXPECT_EQ(machine.ran(), 25'000u * static_cast<uint64_t>(steps));
    }
  }
}

TEST(PlacementStressTest, TwoLevelWithoutStealingLosesNothing) {
  for (const unsigned cores : {2u, 4u}) {
    Stress({.preset = "two-level", .placement = PlacementKind::kTwoLevel},
           cores);
  }
}

}  // namespace
}  // namespace yamanote::dispatch
