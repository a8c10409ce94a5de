// storm.cc - the handler that stands between probes and the scheduler.

#include "tests/preempt/storm.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "preempt/interrupt.h"
#include "preempt/probe.h"
#include "worker/engine.h"

namespace yamanote::tests {
namespace {

using namespace std::chrono_literals;
using worker::Worker;

// In ThreadState::asked_for: the core asked itself. No core's progress.
constexpr uint64_t kItself = UINT64_MAX;
// Longer than any slice.
constexpr Duration kRan = 1h;

Storm* g_storm = nullptr;

// Of this worker alone; after it has stopped, of any thread.
uint64_t PreemptionsOf(const Worker& worker) {
  RuntimeStats stats;
  worker.AddStats(stats);
  return stats.preemptions;
}

}  // namespace

uint64_t Dice::Roll() {
  uint64_t x = state_ += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

std::string Phase::Describe() const {
  return fmt::format(
      "{}{}, {} core(s), {} tasks, {} works, {}{}", preset,
      adaptive ? " with slices that adapt" : "", cores, tasks, mix.size(),
      !by_core ? std::string("asked from outside")
               : fmt::format("0 to {} probes between{}", most_probes_between,
                             from_outside ? ", and from outside" : ""),
      signals ? ", signals" : "");
}

RuntimeOptions Phase::Options() const {
  RuntimeOptions options;
  options.cores = cores;
  options.pin = false;
  options.stack_bytes = 256 * 1024;
  options.scheduling = FindPreset(preset).value();
  // One that a preset without slices gets, too.
  options.scheduling.slice = adaptive ? kAdaptiveSlice : SliceRange(5us);
  // Not kAuto, which takes signals where works are marked for them.
  options.preemption = signals ? Mechanism::kSignal : Mechanism::kProbe;
  return options;
}

Phase MakePhase(uint64_t seed, unsigned index, unsigned most_cores,
                const Repertoire& repertoire) {
  static constexpr const char* kPresets[] = {
      "yamanote",      "tq",          "shinjuku",
      "concord",       "skyloft-rr",  "skyloft-cfs",
      "skyloft-eevdf", "shinjuku-mq", "persephone"};
  static constexpr uint32_t kBetween[] = {0, 0, 1, 7, 63, 1000};
  Dice dice(seed + index * 0x2545f4914f6cdd1dULL);
  Phase phase;
  phase.preset = kPresets[dice.Below(std::size(kPresets))];
  phase.cores = 1 + static_cast<unsigned>(dice.Below(most_cores));
  phase.tasks = 2 + static_cast<unsigned>(dice.Below(Storm::kMostTasks - 1));
  const uint64_t sources = dice.Below(8);
  phase.by_core = sources >= 2;
  phase.from_outside = sources < 7;
  phase.most_probes_between = kBetween[dice.Below(std::size(kBetween))];
  phase.preemptions = 2'000'000;
  phase.time = 3s;
  // Half of the phases run all works; the others few, each with more tasks.
  const bool all = dice.Below(2) == 0;
  const uint64_t kinds = 2 + dice.Below(7);
  const unsigned works = repertoire.works - repertoire.marked;
  for (unsigned i = 0; i < (all ? works : kinds); ++i)
    phase.mix.push_back(all ? i : static_cast<unsigned>(dice.Below(works)));
  if (phase.preset == "shinjuku-mq") {
    std::replace(phase.mix.begin(), phase.mix.end(), repertoire.spin_lock,
                 repertoire.spin_lock == 0 ? 1U : 0U);
  }
  phase.adaptive = dice.Below(3) == 0;
  phase.signals = dice.Below(3) == 0;
  if (!phase.signals) return phase;
  phase.from_outside = true;
  // Signals are a hundred times rarer than probes, which else are most preemptions.
  if (!all) {
    phase.mix.clear();
    phase.by_core = false;
  }
  for (uint64_t i = 0; i < (all ? repertoire.marked : kinds); ++i) {
    phase.mix.push_back(
        works + static_cast<unsigned>(all ? i : dice.Below(repertoire.marked)));
  }
  return phase;
}

Storm::Storm(const Phase& phase, unsigned works, uint64_t seed)
    : by_core_(phase.by_core),
      from_outside_(phase.from_outside),
      signals_(phase.signals),
      most_probes_between_(phase.most_probes_between),
      works_(works) {
  for (unsigned i = 0; i < phase.cores; ++i) {
    cores_.push_back(std::make_unique<Core>(seed + i));
    cores_.back()->counts.resize(works + 1);
  }
  for (unsigned slot = 0; slot < kMostTasks; ++slot)
    fmt::format_to_n(names_[slot].data(), names_[slot].size() - 1, "slot {}",
                     slot);
  g_storm = this;
}

Storm::~Storm() {
  preempt::SetHandler(nullptr);
  g_storm = nullptr;
}

void Storm::Begin() { preempt::SetHandler(&Storm::AtProbe); }

void Storm::AtProbe() {
  Worker* const worker = Worker::This();
  if (worker == nullptr) {
    Worker::AtProbe();
    return;
  }
  g_storm->Hit(*worker);
}

unsigned Storm::WorkOfTask(const Worker& worker) const {
  const worker::UserThread* const task = worker.current();
  if (task == nullptr) return works_;
  const auto from = reinterpret_cast<uintptr_t>(names_.data());
  const auto at = reinterpret_cast<uintptr_t>(task->name);
  const size_t slot = (at - from) / sizeof(names_[0]);
  return at < from || slot >= kMostTasks ? works_ : WorkOf(unsigned(slot));
}

void Storm::Settle(Core& core, uint64_t preemptions) {
  if (!core.open) return;
  core.open = false;
  if (preemptions == core.preemptions_before) return;
  ++core.counts[core.work];
  ++(core.by_core ? core.counted_by_core : core.counted_from_outside);
}

void Storm::Raise(Core& core) {
  core.probes_left =
      static_cast<uint32_t>(core.dice.Below(most_probes_between_ + 1));
  preempt::Ask(preempt::OwnState(), {.progress = kItself, .ran = kRan});
}

// On the interrupted task's stack.
void Storm::Hit(Worker& worker) {
  Core& core = *cores_[worker.core()];
  preempt::ThreadState& state = preempt::OwnState();
  // Relaxed: who asked does not matter but for the count.
  const bool by_core =
      state.asked_for.load(std::memory_order_relaxed) == kItself;
  if (by_core) {
    if (core.probes_left > 0) {
      --core.probes_left;
      return;  // The flag stays: the next probe comes here, too.
    }
    preempt::Ask(state, {.progress = worker.reschedules(), .ran = kRan});
  }
  Settle(core, PreemptionsOf(worker));
  core.open = true;
  core.by_core = by_core;
  core.work = WorkOfTask(worker);
  core.preemptions_before = PreemptionsOf(worker);
  Worker::AtProbe();
  // Perhaps on another core.
  Worker& here = *Worker::This();
  Core& now = *cores_[here.core()];
  Settle(now, PreemptionsOf(here));
  if (by_core_) Raise(now);
  if (from_outside_ && cores_.size() > 1) {
    const auto other = static_cast<CoreId>(now.dice.Below(cores_.size()));
    if (other != here.core() && now.dice.Below(4) == 0)
      AskFromOutside(here.engine().worker(other));
  }
}

void Storm::BeginRound(unsigned slot, unsigned work) {
  slots_[slot].store(work, std::memory_order_relaxed);
  Core& core = *cores_[Worker::This()->core()];
  preempt::ThreadState& state = preempt::OwnState();
  if (core.state.load(std::memory_order_relaxed) == nullptr)
    core.tid = static_cast<pid_t>(syscall(SYS_gettid));
  // Release: pairs with AskFromOutside().
  core.state.store(&state, std::memory_order_release);
  // The task before blocked or ended, and took its turn at raising along.
  if (by_core_ && state.flag.load(std::memory_order_relaxed) == 0) Raise(core);
}

void Storm::AskFromOutside(Worker& core) {
  // Acquire: pairs with BeginRound().
  preempt::ThreadState* const state =
      cores_[core.core()]->state.load(std::memory_order_acquire);
  if (state == nullptr) return;  // No task has run there yet.
  preempt::Ask(*state, {.progress = core.reschedules(), .ran = kRan});
  if (signals_)
    preempt::Interrupt(*state, cores_[core.core()]->tid, preempt::kGiveWay);
}

void Storm::End(Runtime& runtime) {
  for (CoreId core = 0; core < cores_.size(); ++core)
    Settle(*cores_[core], PreemptionsOf(runtime.impl().worker(core)));
}

std::vector<uint64_t> Storm::PerWork() const {
  std::vector<uint64_t> sum(works_ + 1);
  for (const auto& core : cores_) {
    for (unsigned i = 0; i <= works_; ++i) sum[i] += core->counts[i];
  }
  return sum;
}

uint64_t Storm::ByCore() const {
  uint64_t sum = 0;
  for (const auto& core : cores_) sum += core->counted_by_core;
  return sum;
}

uint64_t Storm::FromOutside() const {
  uint64_t sum = 0;
  for (const auto& core : cores_) sum += core->counted_from_outside;
  return sum;
}

Outcome RunStorm(const Phase& phase, const Work& work) {
  Storm storm(phase, 1, 1);
  const auto runtime = Runtime::Create(phase.Options()).value();
  storm.Begin();
  std::atomic<uint64_t> rounds{0};
  std::atomic<uint64_t> wrong{0};
  std::atomic<bool> done{false};
  std::thread main([&] {
    runtime->Run([&] {
      std::vector<Thread> threads;
      for (unsigned task = 0; task < phase.tasks; ++task) {
        threads.emplace_back(
            ThreadOptions{.name = storm.NameOf(task)}, [&, task] {
              unsigned round = 0;
              do {
                storm.BeginRound(task, 0);
                if (!work(task, round++)) ++wrong;
                ++rounds;
              } while (runtime->stats().preemptions < phase.preemptions);
            });
      }
      for (Thread& thread : threads) thread.join();
    });
    done = true;
  });
  Dice dice(1);
  while (!done) {
    if (phase.from_outside) {
      storm.AskFromOutside(
          runtime->impl().worker(static_cast<CoreId>(dice.Below(phase.cores))));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(dice.Below(50)));
  }
  main.join();
  return {.rounds = rounds,
          .wrong = wrong,
          .preemptions = runtime->stats().preemptions};
}

}  // namespace yamanote::tests
