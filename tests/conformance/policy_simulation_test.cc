// policy_simulation_test.cc - the conformance of every policy, in the simulator's engine.
//
// As policy_conformance_test.cc, with the production placements between engine and policy,
// and time that passes as in a server: every order under every placement, with random
// requests. Around each policy sits one that checks its calls:
//
//   - a task is enqueued once, and picked once for each time it was enqueued;
//   - PickNext() and Steal() return a task whenever one waits, if declared
//     work-conserving; HasWork() says what PickNext() then does;
//   - no call allocates or frees;
//   - every slice is positive;
//   - what the policy declares not to use makes no difference: times, run times.
//
// A failure prints the seed and the command that replays it.
//
//   YAMANOTE_POLICY=NAME    only this policy
//   YAMANOTE_SEED=N         only this seed (default 1 .. 12)

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/random.h"
#include "sim/engine.h"
#include "sim/test_source.h"
#include "tests/conformance/allocations.h"
#include "yamanote/policy.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

// PolicyInfo::make takes no state of its own.
const PolicyInfo* checked_info = nullptr;
// Whether what the policy declares not to use is changed.
bool distorts = false;

// Asks `inner`, and checks what it answers.
class Checked final : public Policy {
 public:
  explicit Checked(const PolicyOptions& options)
      : inner_(checked_info->make(options)), random_(options.first_core) {}

  void Enqueue(Task& task, Wake why, Instant now) override {
    EXPECT_TRUE(waiting_.insert(&task).second) << "enqueued twice";
    WithoutAllocation([&] { inner_->Enqueue(task, why, Now(now)); });
  }

  Task* PickNext(CoreId core, Instant now) override {
    const bool promised = waiting_.empty() || inner_->HasWork(core);
    Task* task = nullptr;
    WithoutAllocation([&] { task = inner_->PickNext(core, Now(now)); });
    EXPECT_EQ(promised && !waiting_.empty(), task != nullptr)
        << "HasWork() does not say what PickNext() does";
    return Left(task);
  }

  bool HasWork(CoreId core) const override { return inner_->HasWork(core); }

  Task* Steal(CoreId thief, Instant now) override {
    Task* task = nullptr;
    WithoutAllocation([&] { task = inner_->Steal(thief, Now(now)); });
    return Left(task);
  }

  Duration Slice(const Task& task) const override {
    const Duration slice = inner_->Slice(task);
    EXPECT_GT(slice, 0ns);
    return slice;
  }

  void OnStop(Task& task, CoreId core, Stop why, Duration ran) override {
    EXPECT_EQ(waiting_.count(&task), 0U) << "stops while it waits";
    const bool told = checked_info->clock == ClockUse::kRunTime;
    WithoutAllocation([&] {
      inner_->OnStop(task, core, why,
                     distorts && !told ? Duration(random_() % 1'000'000) : ran);
    });
  }

 private:
  template <typename Call>
  void WithoutAllocation(const Call& call) {
    const uint64_t before = allocations;
    call();
    EXPECT_EQ(allocations, before) << "a call allocated";
  }

  Instant Now(Instant now) {
    if (!distorts || checked_info->clock != ClockUse::kNone) return now;
    return Instant(Duration(static_cast<int64_t>(random_() % 1'000'000'000)));
  }

  Task* Left(Task* task) {
    if (checked_info->work_conserving && !waiting_.empty()) {
      EXPECT_NE(task, nullptr) << "a task waits, and nobody gets it";
    }
    if (task != nullptr) {
      EXPECT_EQ(waiting_.erase(task), 1U) << "picked though it does not wait";
    }
    return task;
  }

  const std::unique_ptr<Policy> inner_;
  base::Random random_;
  std::unordered_set<Task*> waiting_;
};

struct Scene {
  Scheduling scheduling;
  unsigned cores = 1;
  std::vector<sim::Arrival> arrivals;
};

Scene DrawScene(const PolicyInfo& info, PlacementKind placement,
                uint64_t seed) {
  base::Random random(seed, static_cast<uint64_t>(placement));
  Scene scene;
  scene.cores = static_cast<unsigned>(1 + random.Below(6));
  Scheduling& s = scene.scheduling;
  s.order = info.name;
  s.placement = placement;
  s.dispatcher = placement == PlacementKind::kCentral && scene.cores > 1 &&
                         random.Below(2) == 0
                     ? DispatcherKind::kDedicated
                     : DispatcherKind::kShared;
  if (placement != PlacementKind::kCentral)
    s.dispatcher = DispatcherKind::kAuto;
  s.steal = placement == PlacementKind::kTwoLevel && random.Below(2) == 0;
  s.rejoin = static_cast<Rejoin>(random.Below(2));
  if (random.Below(3) != 0)
    s.slice = Duration(static_cast<int64_t>(1000 + random.Below(20'000)));
  s.classes.clear();
  for (uint64_t c = 0; c <= random.Below(3); ++c) {
    s.classes.push_back(
        {.name = "c" + std::to_string(c),
         .slo = Duration(static_cast<int64_t>(1000 + random.Below(1'000'000))),
         .limit = 1'000'000});
    if (c % 2 == 1) {  // A reservation.
      s.classes.back().budget = s.classes.back().slo / 4;
      s.classes.back().period = s.classes.back().slo;
    }
  }
  double at = 0;
  for (int i = 0; i < 600; ++i) {
    if (random.Below(6) != 0) at += random.Exponential(9'000.0 / scene.cores);
    scene.arrivals.push_back(
        {.at = Instant(Duration(static_cast<int64_t>(at))),
         .service =
             Duration(static_cast<int64_t>(1 + random.Pareto(2'000, 1.4))),
         .flow = 1 + random.Below(9),
         .deadline = Instant(Duration(static_cast<int64_t>(
             at + 1e3 + static_cast<double>(random.Below(1'000'000))))),
         .request_class =
             static_cast<ClassId>(random.Below(s.classes.size()))});
  }
  return scene;
}

// The order in which requests end.
std::vector<Duration> Simulate(const PolicyInfo& info, const Scene& scene,
                               bool distorted) {
  checked_info = &info;
  distorts = distorted;
  PolicyInfo checked = info;
  checked.make = [](const PolicyOptions& options) -> std::unique_ptr<Policy> {
    return std::make_unique<Checked>(options);
  };
  sim::ListedSource source(scene.arrivals);
  sim::SojournLog log;
  sim::Engine engine(
      {.scheduling = scene.scheduling,
       .cores = scene.cores,
       .order = &checked,
       .locality = {{0, 0}, {0, 0}, {1, 0}, {1, 0}, {2, 1}, {2, 1}}},
      source, log);
  engine.Run();
  EXPECT_EQ(log.order.size(), scene.arrivals.size());
  return std::move(log.order);
}

class PolicySimulationTest : public testing::TestWithParam<const PolicyInfo*> {
};

TEST_P(PolicySimulationTest, KeepsItsWordUnderEveryPlacement) {
  const PolicyInfo& info = *GetParam();
  if (const char* only = std::getenv("YAMANOTE_POLICY");
      only != nullptr && info.name != only)
    GTEST_SKIP() << "YAMANOTE_POLICY is " << only;
  const char* const one = std::getenv("YAMANOTE_SEED");
  const uint64_t first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const uint64_t last = one != nullptr ? first : 12;
  for (uint64_t seed = first; seed <= last && !HasFailure(); ++seed) {
    for (const PlacementKind placement :
         {PlacementKind::kCentral, PlacementKind::kPartitioned,
          PlacementKind::kStealing, PlacementKind::kTwoLevel}) {
      const Scene scene = DrawScene(info, placement, seed);
      if (!Validate(scene.scheduling, scene.cores)) continue;
      SCOPED_TRACE("replay: YAMANOTE_POLICY=" + std::string(info.name) +
                   " YAMANOTE_SEED=" + std::to_string(seed) +
                   " policy_simulation_test; " +
                   std::string(ToString(placement)));
      const std::vector<Duration> order = Simulate(info, scene, false);
      EXPECT_EQ(Simulate(info, scene, true), order)
          << "it uses what it declares not to use";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Every, PolicySimulationTest,
                         testing::ValuesIn(Policies().begin(),
                                           Policies().end()),
                         [](const auto& instance) {
                           std::string name(instance.param->name);
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace yamanote
