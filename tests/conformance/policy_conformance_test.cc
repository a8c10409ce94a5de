// policy_conformance_test.cc - what every policy must do, whatever its order.
//
// Runs every policy of the build through random, legal sequences of events on a
// virtual machine of several cores and two domains, and checks after each step:
//
//   - nothing is lost and nothing runs twice, with steals between the domains;
//   - PickNext() and Steal() return a task whenever one waits, if declared work-conserving;
//   - no call allocates or frees, so the policy's state is bounded;
//   - every slice is positive, and finite only if configured or declared;
//   - what PolicyInfo declares is true: the order of two runs of the same events
//     is the same if what the policy says it does not use is changed;
//   - a class beyond the configuration is class 0;
//   - nobody waits as long as others come, unless declared (starvation.h).
//
// A failure prints the seed and the command that replays it.
//
//   YAMANOTE_POLICY=NAME    only this policy
//   YAMANOTE_SEED=N         only this seed
//   YAMANOTE_SEEDS=N        seeds 1 .. N (default 60)

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/allocations.h"
#include "tests/conformance/starvation.h"
#include "yamanote/policy.h"

namespace yamanote {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kCores = 3;
constexpr size_t kMaxTasks = 40;
constexpr int kSteps = 600;

// Which parts of the truth a run withholds or changes. An honest policy that
// declares not to need them picks the same tasks.
struct Distortion {
  bool zero_times = false;      // `now` is zero.
  bool zero_run_times = false;  // `ran` and Task::attained are zero.
  bool no_stops = false;        // OnStop() is not called.
  bool locality = false;        // Where cores are is told to everybody.
  bool classes_beyond = false;  // Some tasks of class 0 name an unknown class.
};

Distortion Declared(const PolicyInfo& info) {
  return {.zero_times = info.clock == ClockUse::kNone,
          .zero_run_times = info.clock != ClockUse::kRunTime,
          .no_stops = !info.observes_stops};
}

enum class Where : uint8_t { kWaiting, kRunning, kBlocked };

struct Job {
  Task task;
  Where where = Where::kWaiting;
  unsigned domain = 0;  // Where it waits, or last did.
};

// One run of one policy. Records ids in the order in which they were picked.
class Machine {
 public:
  Machine(const PolicyInfo& info, uint32_t seed, Distortion distortion)
      : info_(info), distortion_(distortion), random_(seed) {
    PolicyOptions options{.cores = kCores};
    const size_t classes = random_() % 4;
    for (size_t c = 0; c < classes; ++c) {
      ClassOptions one{.name = "c" + std::to_string(c),
                       .slo = Duration(1 + random_() % 1'000'000)};
      if (c % 2 == 1) {  // A reservation.
        one.budget = one.slo / 2 + Duration(1);
        one.period = one.slo + Duration(1);
      }
      options.classes.push_back(std::move(one));
    }
    classes_ = std::max<size_t>(classes, 1);
    if (random_() % 2 == 0) options.slice = Duration(1 + random_() % 50'000);
    has_slice_ = options.slice != kNoPreemption;
    // As dispatch::Placement::Quantum(). One that the policy gives need not be strict:
    // eevdf's remainders of a request may be shorter than is worth a look.
    if (info.least_slice == nullptr) {
      least_slice_ =
          has_slice_ ? options.slice : Duration(std::chrono::microseconds(20));
    }
    if (random_() % 2 == 0) options.rejoin = Rejoin::kHead;
    if (info.uses_locality || distortion_.locality)
      options.locality = {{0, 0}, {1, 0}, {0, 0}};
    for (auto& policy : policies_) policy = info.make(options);
    // Room in advance: what the machine itself allocates must not be counted.
    picked_.reserve(kSteps + 2 * kMaxTasks);
  }

  void Run() {
    for (int step = 0; step < kSteps; ++step) {
      if (testing::Test::HasFailure()) return;
      Step();
    }
    Drain();
  }

  const std::vector<uint64_t>& picked() const { return picked_; }

 private:
  void Step() {
    now_ += Duration(random_() % 20'000);
    const uint32_t event = random_() % 10;
    const CoreId core = random_() % kCores;
    const unsigned domain = random_() % 2;
    if (event < 3) {
      Arrive(domain);
    } else if (event == 3) {
      if (Job* const job = AnyBlocked()) Enqueue(*job, Wake::kWakeup, domain);
    } else if (event == 4) {
      Migrate(core, domain);
    } else if (running_[core] != nullptr) {
      StopRunning(core);
    } else {
      running_[core] = PickNext(core, domain);
    }
  }

  void Arrive(unsigned domain) {
    if (jobs_.size() == kMaxTasks) return;
    jobs_.push_back(std::make_unique<Job>());
    Task& task = jobs_.back()->task;
    task.id = ++last_id_;
    task.arrival = now_;
    if (random_() % 2 == 0)
      task.deadline = now_ + Duration(random_() % 100'000);
    task.weight = static_cast<uint16_t>(1 + random_() % 3);
    task.request_class = static_cast<ClassId>(random_() % classes_);
    if (random_() % 3 == 0) {
      task.request_class =
          distortion_.classes_beyond ? ClassId{UINT16_MAX} : ClassId{0};
    }
    Enqueue(*jobs_.back(), Wake::kArrival, domain);
  }

  // The task of `core` leaves it in one of the four ways.
  void StopRunning(CoreId core) {
    Job& job = *std::exchange(running_[core], nullptr);
    const auto why = static_cast<Stop>(random_() % 4);
    const Duration ran(1 + random_() % 10'000);
    if (!distortion_.zero_run_times) job.task.attained += ran;
    job.task.last_core = core;
    if (!distortion_.no_stops) {
      const Duration told = distortion_.zero_run_times ? Duration(0) : ran;
      Counted(
          [&] { policies_[job.domain]->OnStop(job.task, core, why, told); });
    }
    switch (why) {
      case Stop::kFinished:
        // Gone: under AddressSanitizer a policy that keeps it is found out.
        std::erase_if(
            jobs_, [&job](const auto& other) { return other.get() == &job; });
        break;
      case Stop::kBlocked:
        job.where = Where::kBlocked;
        break;
      case Stop::kPreempted:
        Enqueue(job, Wake::kPreempted, job.domain);
        break;
      case Stop::kYielded:
        Enqueue(job, Wake::kYield, job.domain);
        break;
    }
  }

  // A thief takes from `victim` and enqueues in the other domain.
  void Migrate(CoreId core, unsigned victim) {
    Task* task = nullptr;
    Counted([&] { task = policies_[victim]->Steal(core, Now()); });
    if (Job* const job = Taken(task, victim, "Steal()"))
      Enqueue(*job, Wake::kMigrated, 1 - victim);
  }

  void Enqueue(Job& job, Wake why, unsigned domain) {
    job.where = Where::kWaiting;
    job.domain = domain;
    ++waiting_[domain];
    Counted([&] { policies_[domain]->Enqueue(job.task, why, Now()); });
  }

  Job* PickNext(CoreId core, unsigned domain) {
    Task* task = nullptr;
    Counted([&] { task = policies_[domain]->PickNext(core, Now()); });
    return Taken(task, domain, "PickNext()");
  }

  // Checks what `call` returned from `domain`.
  Job* Taken(const Task* task, unsigned domain, const char* call) {
    if (task == nullptr) {
      if (info_.work_conserving) {
        EXPECT_EQ(waiting_[domain], 0u)
            << call
            << " returned nullptr while tasks wait, "
               "but the policy is declared work-conserving";
      }
      return nullptr;
    }
    for (const auto& job : jobs_) {
      if (&job->task != task) continue;
      if (job->where != Where::kWaiting || job->domain != domain) break;
      job->where = Where::kRunning;
      --waiting_[domain];
      picked_.push_back(task->id);
      Duration slice{0};
      Counted([&] { slice = policies_[domain]->Slice(*task); });
      EXPECT_GT(slice, Duration::zero()) << "Slice() must be positive";
      EXPECT_GE(slice, least_slice_)
          << "whoever keeps time would look too late: give least_slice";
      if (!has_slice_ && !info_.sets_slices) {
        EXPECT_EQ(slice, kNoPreemption)
            << "none is configured: declare sets_slices";
      }
      return job.get();
    }
    ADD_FAILURE() << call
                  << " returned a task that does not wait in this domain: it "
                     "runs twice, has finished or was never enqueued";
    return nullptr;
  }

  // Nothing comes any more: everything that waits must come out.
  void Drain() {
    for (unsigned domain = 0; domain < 2; ++domain) {
      // A policy that idles cores gets time and every core to change its mind.
      for (size_t tries = 0; waiting_[domain] > 0 && tries < 100 * kMaxTasks;
           ++tries) {
        if (testing::Test::HasFailure()) return;
        now_ += 100us;
        PickNext(static_cast<CoreId>(tries % kCores), domain);
      }
      EXPECT_EQ(waiting_[domain], 0u) << "tasks were lost";
      Task* task = nullptr;
      Counted([&] { task = policies_[domain]->PickNext(0, Now()); });
      EXPECT_EQ(task, nullptr)
          << "PickNext() returned a task from an empty domain";
    }
  }

  Job* AnyBlocked() {
    std::vector<Job*> found;
    for (const auto& job : jobs_) {
      if (job->where == Where::kBlocked) found.push_back(job.get());
    }
    return found.empty() ? nullptr : found[random_() % found.size()];
  }

  Instant Now() const { return distortion_.zero_times ? Instant() : now_; }

  template <typename Call>
  void Counted(Call&& call) {
    const uint64_t before = allocations;
    call();
    EXPECT_EQ(allocations, before)
        << "a call after construction allocated or freed";
  }

  const PolicyInfo& info_;
  const Distortion distortion_;
  std::mt19937 random_;
  std::unique_ptr<Policy> policies_[2];
  size_t classes_ = 1;
  bool has_slice_ = false;
  Duration least_slice_{0};  // What Slice() must not be below.

  Instant now_{1ms};
  uint64_t last_id_ = 0;
  std::vector<std::unique_ptr<Job>> jobs_;
  Job* running_[kCores] = {};
  size_t waiting_[2] = {};
  std::vector<uint64_t> picked_;
};

std::vector<uint32_t> Seeds() {
  if (const char* const seed = std::getenv("YAMANOTE_SEED")) {
    return {static_cast<uint32_t>(std::strtoul(seed, nullptr, 10))};
  }
  const char* const count = std::getenv("YAMANOTE_SEEDS");
  std::vector<uint32_t> seeds(
      count == nullptr ? 60 : std::strtoul(count, nullptr, 10));
  for (uint32_t i = 0; i < seeds.size(); ++i) seeds[i] = i + 1;
  return seeds;
}

class PolicyConformanceTest : public testing::TestWithParam<const PolicyInfo*> {
 protected:
  void SetUp() override {
    const char* const only = std::getenv("YAMANOTE_POLICY");
    if (only != nullptr && info().name != only)
      GTEST_SKIP() << "YAMANOTE_POLICY=" << only;
  }

  const PolicyInfo& info() const { return *GetParam(); }

  std::string Replay(uint32_t seed) const {
    return "replay: YAMANOTE_POLICY=" + std::string(info().name) +
           " YAMANOTE_SEED=" + std::to_string(seed) +
           " policy_conformance_test";
  }

  std::vector<uint64_t> Picked(uint32_t seed, Distortion distortion) const {
    Machine machine(info(), seed, distortion);
    machine.Run();
    return machine.picked();
  }
};

TEST_P(PolicyConformanceTest, NothingIsLostAndNothingRunsTwice) {
  for (const uint32_t seed : Seeds()) {
    SCOPED_TRACE(Replay(seed));
    Picked(seed, Declared(info()));
    if (HasFailure()) return;
  }
}

TEST_P(PolicyConformanceTest, EqualEventsGiveEqualOrder) {
  for (const uint32_t seed : Seeds()) {
    SCOPED_TRACE(Replay(seed));
    ASSERT_EQ(Picked(seed, Declared(info())), Picked(seed, Declared(info())));
  }
}

// The engine withholds what is not declared, so a policy that uses it secretly
// would order by zeros.
TEST_P(PolicyConformanceTest, UsesOnlyWhatItDeclares) {
  const Distortion declared = Declared(info());
  for (const uint32_t seed : Seeds()) {
    SCOPED_TRACE(Replay(seed));
    const std::vector<uint64_t> expected = Picked(seed, declared);
    Distortion times = declared;
    times.zero_times = false;
    ASSERT_EQ(Picked(seed, times), expected)
        << "it reads `now`: declare ClockUse::kNow";
    Distortion run_times = declared;
    run_times.zero_run_times = false;
    ASSERT_EQ(Picked(seed, run_times), expected)
        << "it reads `ran` or `attained`: declare ClockUse::kRunTime";
    Distortion stops = declared;
    stops.no_stops = false;
    ASSERT_EQ(Picked(seed, stops), expected)
        << "OnStop() does something: declare observes_stops";
    Distortion locality = declared;
    locality.locality = true;
    ASSERT_EQ(Picked(seed, locality), expected)
        << "it reads PolicyOptions::locality: declare uses_locality";
  }
}

TEST_P(PolicyConformanceTest, AClassBeyondTheConfigurationIsClassZero) {
  for (const uint32_t seed : Seeds()) {
    SCOPED_TRACE(Replay(seed));
    Distortion distortion = Declared(info());
    const std::vector<uint64_t> expected = Picked(seed, distortion);
    distortion.classes_beyond = true;
    ASSERT_EQ(Picked(seed, distortion), expected);
  }
}

TEST_P(PolicyConformanceTest, NobodyStarvesUnlessDeclared) {
  if (!info().starves.empty()) GTEST_SKIP() << "starves " << info().starves;
  for (const uint32_t seed : Seeds()) {
    SCOPED_TRACE(Replay(seed));
    ASSERT_LT(Starvation(info(), seed).LongestWait(), Starvation::kPatience)
        << "a task waits as long as others come: declare whom it starves";
  }
}

TEST_P(PolicyConformanceTest, ItsDescriptionIsComplete) {
  EXPECT_FALSE(info().summary.empty());
  EXPECT_FALSE(info().good_at.empty());
  EXPECT_FALSE(info().bad_at.empty());
  EXPECT_FALSE(info().source.empty());
  ASSERT_NE(info().make, nullptr);
  EXPECT_EQ(FindPolicy(info().name), &info());
}

std::string TestName(const testing::TestParamInfo<const PolicyInfo*>& param) {
  std::string name(param.param->name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Every, PolicyConformanceTest,
                         testing::ValuesIn(Policies().begin(),
                                           Policies().end()),
                         TestName);

// Otherwise the check above could not fail.
TEST(StarvationTest, FindsThoseWhoStarve) {
  for (const char* const name : {"lifo", "las"}) {
    const PolicyInfo& info = *FindPolicy(name);
    EXPECT_FALSE(info.starves.empty()) << name;
    bool starved = false;
    for (uint32_t seed = 1; seed <= 60 && !starved; ++seed)
      starved = Starvation(info, seed).LongestWait() == Starvation::kPatience;
    EXPECT_TRUE(starved) << name;
  }
}

TEST(PolicyRegistryTest, NamesDifferAndUnknownOnesAreNotFound) {
  std::set<std::string_view> names;
  for (const PolicyInfo* const info : Policies()) {
    EXPECT_TRUE(names.insert(info->name).second) << info->name;
  }
  EXPECT_FALSE(names.empty());
  EXPECT_EQ(FindPolicy("no-such-order"), nullptr);
  EXPECT_EQ(FindPolicy(""), nullptr);
}

}  // namespace
}  // namespace yamanote
