// hand_over.cc - the taker, the holder, and the kernel alone.

#include "tools/bench/cores/hand_over.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <thread>

#include "arbiter/client.h"
#include "base/cpu.h"
#include "tools/bench/trace.h"
#include "tools/load/pin.h"
#include "worker/engine.h"
#include "worker/spawn.h"

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;
using arbiter::Command;

constexpr size_t kMostHandOvers = 20'000;
// The taker's bursts: the guaranteed core is busy with one task, others wait, for as long
// as the path takes; then a pause, until all is quiet again.
struct Bursts {
  unsigned tasks;
  Duration pause;
};
constexpr Bursts BurstsOf(Path path) {
  return path == Path::kForced ? Bursts{.tasks = 12, .pause = 20ms}
                               : Bursts{.tasks = 4, .pause = 4ms};
}
constexpr Duration kTask = 400us;
constexpr bool HasHolder(Path path) {
  return path != Path::kKept && path != Path::kIdle;
}
// Work has waited for so long when a voluntary holder leaves.
constexpr Duration kLeaveAfter = 150us;
// A holder that is moved away leaves some time.
constexpr Duration kStubborn = 6ms;

// All processes read one clock.
int64_t Monotonic() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

struct HandOver {
  int64_t from_decision_ns;
  int64_t from_need_ns;
  int64_t from_leave_ns;
};

struct Scene {
  std::atomic<bool> ready[2];      // The taker, the holder.
  std::atomic<int64_t> needed_at;  // The latest burst.
  // By core: whether the holder has it, and had it at the latest burst. Relaxed, all: they
  // tell hand-overs by one path from those by another.
  std::atomic<bool> holds[arbiter::kMostCores];
  std::atomic<bool> held[arbiter::kMostCores];
  // When the holder began to leave it last.
  std::atomic<int64_t> left_at[arbiter::kMostCores];
  std::atomic<uint32_t> hand_overs;  // Release: entries below are written.
  HandOver all[kMostHandOvers];
};

// ---- The taker --------------------------------------------------------------

struct Taker {
  Scene* scene = nullptr;
  bool keeps = false;
  bool from_holder = false;  // Or from nobody.
  arbiter::Client* client = nullptr;
  Trace trace{0};
  uint64_t steps = 0;
  // By core; only its worker's tasks touch it: the latest grant, and the latest burst.
  std::array<uint32_t, arbiter::kMostCores> epochs{};
  std::array<int64_t, arbiter::kMostCores> needs{};

  // The first task by a grant of `core`; where it keeps the core: of a burst there.
  bool IsFirst(CoreId core, uint32_t epoch, int64_t needed_at) {
    const bool by_grant = std::exchange(epochs[core], epoch) != epoch;
    const bool of_burst = std::exchange(needs[core], needed_at) != needed_at;
    return keeps ? of_burst && !by_grant : by_grant;
  }
};

void TakerTask(void* argument) {
  Taker& taker = *static_cast<Taker*>(argument);
  const int64_t now = Monotonic();
  const CoreId core = worker::CurrentCore();
  if (core != kNoCore && !taker.client->link().home(core)) {
    const uint32_t epoch = arbiter::EpochOf(taker.client->link().Word(core));
    Scene& scene = *taker.scene;
    const int64_t needed_at = scene.needed_at.load(std::memory_order_relaxed);
    if (taker.IsFirst(core, epoch, needed_at) &&
        scene.held[core].load(std::memory_order_relaxed) == taker.from_holder) {
      // One writer: there is one core to be granted.
      const uint32_t next = scene.hand_overs.load(std::memory_order_relaxed);
      if (next < kMostHandOvers) {
        scene.all[next] = {
            .from_decision_ns =
                now - (taker.keeps
                           ? needed_at
                           : ToNanos(taker.client->link().GrantedAt(core))),
            .from_need_ns = now - needed_at,
            .from_leave_ns =
                now - scene.left_at[core].load(std::memory_order_relaxed)};
        scene.hand_overs.store(next + 1, std::memory_order_release);
      }
    }
  }
  Work(taker.trace, taker.steps);
}

int RunTaker(const CoresOptions& options, const std::string& socket,
             const std::vector<int>& cpus, double steps_per_us, Path path,
             Scene& scene) {
  KeepTo(cpus);
  RuntimeOptions runtime_options;
  runtime_options.scheduling = options.scheduling;
  runtime_options.arbiter = {.socket = socket,
                             .name = "taker",
                             .guaranteed = 1,
                             .burst = 1,
                             .keep = path == Path::kKept};
  const Result<std::unique_ptr<Runtime>> runtime =
      Runtime::Create(std::move(runtime_options));
  if (!runtime) {
    std::fprintf(stderr, "yamanote: %s\n", runtime.error().message.c_str());
    return 1;
  }
  Taker taker{.scene = &scene,
              .keeps = path == Path::kKept,
              .from_holder = HasHolder(path),
              .client = (*runtime)->impl().client()};
  taker.steps =
      static_cast<uint64_t>(steps_per_us * static_cast<double>(kTask / 1us));
  scene.ready[0].store(true);
  const Bursts bursts = BurstsOf(path);
  for (;;) {
    SleepUntil(Clock::now() + bursts.pause);
    for (CoreId core = 0; core < cpus.size(); ++core)
      scene.held[core].store(scene.holds[core].load(std::memory_order_relaxed),
                             std::memory_order_relaxed);
    scene.needed_at.store(Monotonic(), std::memory_order_relaxed);
    for (unsigned task = 0; task < bursts.tasks; ++task) {
      if (!worker::Spawn({.name = "burst"}, &TakerTask, &taker)) return 1;
    }
  }
}

// ---- The holder -------------------------------------------------------------

thread_local volatile sig_atomic_t was_signalled = 0;

bool Gone(const arbiter::Link& link, CoreId core, uint32_t granted) {
  const uint32_t word = link.Word(core);
  return arbiter::EpochOf(word) != arbiter::EpochOf(granted) ||
         arbiter::CommandOf(word) == Command::kRevoked;
}

// Has the core until it leaves, with its manners.
void Hold(const arbiter::Link& link, CoreId core, uint32_t granted, Path path,
          Scene& scene) {
  const int64_t came = Monotonic();
  switch (path) {
    case Path::kKept:
    case Path::kIdle:
      return;
    case Path::kCooperative:
      while (!Gone(link, core, granted)) base::Pause();
      return;
    case Path::kVoluntary:
      while (!Gone(link, core, granted)) {
        const int64_t needed = scene.needed_at.load(std::memory_order_relaxed);
        if (needed > came && Monotonic() - needed > ToNanos(kLeaveAfter))
          return;
      }
      // It was asked: this is no hand-over of the kind.
      scene.held[core].store(false, std::memory_order_relaxed);
      return;
    case Path::kSignal:
      while (was_signalled == 0 || !Gone(link, core, granted)) base::Pause();
      return;
    case Path::kForced:
      int64_t gone_at = 0;
      while (gone_at == 0 || Monotonic() - gone_at < ToNanos(kStubborn)) {
        if (gone_at != 0 || !Gone(link, core, granted)) continue;
        gone_at = Monotonic();
        // After this burst the core is not its any more, whatever it does.
        scene.holds[core].store(false, std::memory_order_relaxed);
      }
      return;
  }
}

void HolderWorker(arbiter::Link& link, CoreId core, Path path, Scene& scene) {
  uint32_t answered = 0;
  const std::atomic<uint32_t> unvisited{0};
  for (;;) {
    const uint32_t word = link.Word(core);
    if (arbiter::EpochOf(word) == arbiter::EpochOf(answered)) {
      link.Sleep(core, word, unvisited, 0);
    } else if (link.MayCome(core, word)) {
      was_signalled = 0;
      link.Come(core, word);
      scene.holds[core].store(true, std::memory_order_relaxed);
      Hold(link, core, word, path, scene);
      scene.left_at[core].store(Monotonic(), std::memory_order_relaxed);
      scene.holds[core].store(false, std::memory_order_relaxed);
      const uint32_t now = link.Word(core);
      answered = arbiter::EpochOf(now) == arbiter::EpochOf(word) ? now : word;
      link.Leave(core, answered);
      link.KickIfAsleep();
    } else if (arbiter::CommandOf(word) == Command::kRevoked) {
      answered = word;
      link.Leave(core, word);
    } else {
      link.Sleep(core, word, unvisited, 0);
    }
  }
}

int RunHolder(const std::string& socket, Path path, Scene& scene) {
  struct sigaction action{};
  action.sa_handler = [](int) { was_signalled = 1; };
  sigaction(arbiter::kLateSignal, &action, nullptr);
  Result<std::unique_ptr<arbiter::Client>> client = arbiter::Client::Connect(
      {.socket = socket,
       .name = "holder",
       .allocation = "delay",
       .guaranteed = 0,
       // All: also the one that is not the taker's home.
       .most = 0,
       .best_effort = path != Path::kVoluntary});
  if (!client) {
    std::fprintf(stderr, "yamanote: %s\n", client.error().message.c_str());
    return 1;
  }
  arbiter::Link& link = (*client)->link();
  const size_t cores = link.cpus().size();
  std::vector<std::thread> workers;
  std::vector<std::atomic<int>> tids(cores);
  for (CoreId core = 0; core < cores; ++core) {
    workers.emplace_back([&, core] {
      load::PinCurrentThread(link.cpus()[core]);
      tids[core] = static_cast<int>(syscall(SYS_gettid));
      HolderWorker(link, core, path, scene);
    });
  }
  std::vector<int> numbers;
  for (const std::atomic<int>& tid : tids) {
    while (tid == 0) std::this_thread::sleep_for(1ms);
    numbers.push_back(tid);
  }
  if (!link.SendWorkers(numbers)) return 1;
  if (HasHolder(path)) {
    // Something has been waiting for ever, as the policies see it.
    arbiter::CoreSignals& signals = link.signals()[0];
    signals.enqueued.store(1, std::memory_order_relaxed);
    signals.oldest_since.store(1, std::memory_order_relaxed);
    link.KickIfAsleep();
  }
  scene.ready[1].store(true);
  for (;;) std::this_thread::sleep_for(1h);
}

// ---- The kernel alone -------------------------------------------------------

constexpr unsigned kSwitches = 4000;

struct Futex {
  std::atomic<uint32_t> word{0};

  void Wake() {
    word.store(1);
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  void Wait() {
    while (word.load() == 0)
      syscall(SYS_futex, &word, FUTEX_WAIT, 0, nullptr, nullptr, 0);
    word.store(0);
  }
};

struct Turns {
  Futex turns[2];
  std::atomic<int64_t> woken_at{0};
};

struct KernelAlone {
  Turns turns;
  std::array<int64_t, kSwitches> same_core;
  std::array<int64_t, kSwitches> processes;
  std::array<int64_t, kSwitches> other_core;
};

// One of two threads of one CPU, in turn.
void TakeTurns(unsigned me, int cpu, Turns& shared,
               std::array<int64_t, kSwitches>& took) {
  load::PinCurrentThread(cpu);
  for (unsigned i = me; i < kSwitches; i += 2) {
    if (i > 0) {
      shared.turns[me].Wait();
      took[i] = Monotonic() - shared.woken_at.load(std::memory_order_relaxed);
    }
    shared.woken_at.store(Monotonic(), std::memory_order_relaxed);
    shared.turns[1 - me].Wake();
  }
  // The first was not woken, and the last wakes who is not there any more.
  if (me == 0) took[0] = took[2];
}

void MeasureSameCore(int cpu, std::array<int64_t, kSwitches>& took) {
  Turns turns;
  std::thread other([&] { TakeTurns(1, cpu, turns, took); });
  TakeTurns(0, cpu, turns, took);
  other.join();
}

// False: a process died.
bool MeasureProcesses(int cpu, KernelAlone& alone) {
  Result<Child> other = Child::Fork([&] {
    TakeTurns(1, cpu, alone.turns, alone.processes);
    return 0;
  });
  if (!other) return false;
  TakeTurns(0, cpu, alone.turns, alone.processes);
  while (other->Alive()) std::this_thread::sleep_for(1ms);
  return true;
}

// One that sleeps on an idle CPU.
void MeasureOtherCore(int waker, int sleeper,
                      std::array<int64_t, kSwitches>& took) {
  Futex turn;
  std::atomic<int64_t> woken_at{0};
  std::atomic<unsigned> done{0};
  std::thread other([&] {
    load::PinCurrentThread(sleeper);
    for (unsigned i = 0; i < kSwitches; ++i) {
      turn.Wait();
      took[i] = Monotonic() - woken_at.load(std::memory_order_relaxed);
      done.store(i + 1);
    }
  });
  load::PinCurrentThread(waker);
  for (unsigned i = 0; i < kSwitches; ++i) {
    // Until it sleeps, and its CPU does, too.
    SleepUntil(Clock::now() + 100us);
    woken_at.store(Monotonic(), std::memory_order_relaxed);
    turn.Wake();
    while (done.load() <= i) base::Pause();
  }
  other.join();
}

Result<void> MeasureKernel(const std::vector<int>& cpus,
                           HandOverResult& result) {
  const SharedObjects<KernelAlone> alone;
  const SharedObjects<std::atomic<bool>> done;
  Result<Child> child = Child::Fork([&] {
    MeasureSameCore(cpus[1], alone->same_core);
    if (!MeasureProcesses(cpus[1], *alone)) return 1;
    MeasureOtherCore(cpus[0], cpus[1], alone->other_core);
    done->store(true);
    return 0;
  });
  if (!child) return tl::unexpected(child.error());
  while (child->Alive()) std::this_thread::sleep_for(1ms);
  if (!done->load())
    return MakeError(ErrorCode::kUnavailable, "a measuring process died");
  const auto take = [](const auto& took, base::Histogram& all,
                       std::vector<double>& medians) {
    base::Histogram round;
    for (const int64_t one : took) round.Record(static_cast<uint64_t>(one));
    all.Merge(round);
    medians.push_back(round.Quantile(0.5) / 1000);
  };
  take(alone->same_core, result.same_core, result.same_core_medians_us);
  take(alone->processes, result.processes, result.processes_medians_us);
  take(alone->other_core, result.other_core, result.other_core_medians_us);
  return {};
}

// ---- One path ---------------------------------------------------------------

Result<void> MeasurePath(const CoresOptions& options,
                         const std::vector<int>& cpus, double steps_per_us,
                         Duration length, PathResult& result) {
  Result<std::unique_ptr<Arbitration>> arbitration =
      Arbitration::Start(cpus, options.poll_cpu);
  if (!arbitration) return tl::unexpected(arbitration.error());
  const std::string& socket = (*arbitration)->socket();
  const SharedObjects<Scene> scene;
  const auto await = [&](Child& child, size_t index) {
    while (!scene->ready[index].load() && child.Alive())
      std::this_thread::sleep_for(1ms);
    return scene->ready[index].load();
  };
  Result<Child> taker = Child::Fork([&] {
    return RunTaker(options, socket, cpus, steps_per_us, result.path, *scene);
  });
  if (!taker) return tl::unexpected(taker.error());
  if (!await(*taker, 0))
    return MakeError(ErrorCode::kUnavailable, "the taker did not start");
  Result<Child> holder =
      Child::Fork([&] { return RunHolder(socket, result.path, *scene); });
  if (!holder) return tl::unexpected(holder.error());
  if (!await(*holder, 1))
    return MakeError(ErrorCode::kUnavailable, "the holder did not start");
  std::this_thread::sleep_for(50ms);
  // Acquire: pairs with TakerTask().
  const uint32_t first = scene->hand_overs.load(std::memory_order_acquire);
  std::this_thread::sleep_for(length);
  const uint32_t last = scene->hand_overs.load(std::memory_order_acquire);
  if (!taker->Alive() || !holder->Alive())
    return MakeError(ErrorCode::kUnavailable, "the taker or the holder died");
  base::Histogram round;
  for (uint32_t i = first; i < last; ++i) {
    const HandOver& one = scene->all[i];
    round.Record(
        static_cast<uint64_t>(std::max(one.from_decision_ns, int64_t{0})));
    result.from_need.Record(static_cast<uint64_t>(one.from_need_ns));
    // Where it leaves because it was asked.
    if (HasHolder(result.path) && one.from_leave_ns < one.from_decision_ns)
      result.from_leave.Record(static_cast<uint64_t>(one.from_leave_ns));
  }
  if (round.count() > 0)
    result.decision_medians_us.push_back(round.Quantile(0.5) / 1000);
  result.from_decision.Merge(round);
  return {};
}

}  // namespace

Result<HandOverResult> RunHandOver(const CoresOptions& options) {
  const std::vector<int> shared = HandedOut(options);
  if (shared.size() < 2) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "the scenario needs 2 CPUs to share, of which one changes "
                     "hands; --cpus leaves 1");
  }
  const std::vector<int> cpus = {shared.front(), shared.back()};
  const auto rounds = static_cast<unsigned>(
      std::max<int64_t>(options.length / options.round, 1));
  const Interruptible interruptible;
  const double steps_per_us = Calibrate();
  HandOverResult result;
  for (size_t path = 0; path < kPathCount; ++path)
    result.paths.push_back({.path = static_cast<Path>(path)});
  for (unsigned round = 0; round < rounds; ++round) {
    if (const Result<void> done = MeasureKernel(cpus, result); !done)
      return tl::unexpected(done.error());
    for (size_t turn = 0; turn < kPathCount; ++turn) {
      PathResult& path = result.paths[(round + turn) % kPathCount];
      if (!Report(fmt::format("round {} of {}: {}", round + 1, rounds,
                              kPaths[static_cast<size_t>(path.path)])))
        return MakeError(ErrorCode::kCancelled, "interrupted");
      if (const Result<void> done =
              MeasurePath(options, cpus, steps_per_us, options.round, path);
          !done)
        return tl::unexpected(done.error());
    }
  }
  return result;
}

}  // namespace yamanote::bench
