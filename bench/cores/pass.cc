// pass.cc - what one pass of the arbiter costs, by cores and applications.
//
//   bench_cores_pass SITUATION CORES APPS PASSES [POLICY]
//                    for example moves 64 16 20000 congestion
//
// The real arbiter, board and policies over memory, and a kernel that does nothing: no
// system call, no clock. What stays is reading signals, deciding and writing commands.
// Half of the cores are the applications' home cores, in equal parts, and they are there;
// the others are granted. This program plays the workers between two passes; only passes
// are timed. SITUATION:
//
//   idle    nothing changes
//   needs   each application's queues move on, and in every other pass each wants a core;
//           there is none
//   moves   one core changes hands in each pass: it is left, and somebody else needs one
//   storm   as many cores change hands as can: one for each application, or half of those
//           that are granted
//
// Prints `MEDIAN_NS P99_NS MEAN_NS GRANTS_PER_PASS`. One process is one sample;
// bench/cores/pass.py alternates them.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "arbiter/arbiter.h"

namespace {

using yamanote::CoreId;
using yamanote::Duration;
using yamanote::FindCorePolicy;
using namespace yamanote::arbiter;

struct alignas(64) BoardMemory {
  std::byte bytes[kBoardBytes]{};
};

// Remembers who was woken.
class NoKernel final : public Kernel {
 public:
  Duration Now() override { return now; }
  void Wake(const std::atomic<uint32_t>& word) override {
    woken.push_back(&word);
  }
  bool Has(const Process&, int) override { return true; }
  bool Signal(const Process&, int) override { return true; }
  bool SetClass(const Process&, int, ThreadClass) override { return true; }
  bool SetCpus(const Process&, int, std::span<const int>) override {
    return true;
  }
  bool Restores() override { return true; }

  Duration now = std::chrono::seconds(1);
  std::vector<const std::atomic<uint32_t>*> woken;
};

class Machine {
 public:
  Machine(unsigned cores, unsigned apps, const char* policy)
      : cores_(cores), apps_(apps) {
    kernel_.woken.reserve(4 * kMostCores * kMostApps);
    ArbiterOptions options;
    for (unsigned core = 0; core < cores; ++core) {
      options.cpus.push_back(static_cast<int>(core));
      // Hyperthreads, as Linux numbers them.
      options.siblings.push_back((core + cores / 2) % cores);
    }
    options.elsewhere = {0};
    arbiter_ = std::make_unique<Arbiter>(options, board_->bytes, kernel_);
    for (App& app : apps_) Add(app, cores / 2 / apps, policy);
    Fill();
  }

  void Step(const std::string& situation, unsigned number) {
    if (situation == "needs") {
      for (App& app : apps_) Bustle(app);
      for (App& app : apps_) Need(app, number % 2 == 0);
    } else if (situation == "moves") {
      Move(1);
    } else if (situation == "storm") {
      Move(std::clamp<unsigned>(static_cast<unsigned>(apps_.size()), 1,
                                std::max(1U, granted_ / 2)));
    }
  }

  void Pass() {
    kernel_.now += std::chrono::microseconds(5);
    arbiter_->Pass(kernel_.now);
  }

  // Who was woken does what it is told.
  void Obey() {
    for (const std::atomic<uint32_t>* const word : kernel_.woken) {
      const auto offset =
          reinterpret_cast<const std::byte*>(word) - board_->bytes;
      const auto index =
          (static_cast<std::size_t>(offset) - sizeof(BoardHeader)) /
          sizeof(CoreCommand);
      const uint32_t told = word->load();
      CoreSignals& line =
          (*by_row_[index / kMostCores]->signals)[index % kMostCores];
      line.presence =
          Presence(EpochOf(told), CommandOf(told) == Command::kGranted);
    }
    kernel_.woken.clear();
  }

  uint64_t grants() const {
    uint64_t grants = 0;
    for (const AppStatus& app : arbiter_->status().apps)
      grants += app.counters.grants;
    return grants;
  }
  // What does not happen if this program does what it should.
  uint64_t oddities() const {
    uint64_t odd = 0;
    for (const AppStatus& app : arbiter_->status().apps) {
      odd += app.counters.forgeries + app.counters.moves +
             app.counters.no_shows + app.counters.signals;
    }
    return odd;
  }
  unsigned granted() const { return granted_; }

 private:
  struct App {
    AppId id = kNobody;
    CoreId queue = 0;  // A core of its own, if it has any.
    std::unique_ptr<std::array<CoreSignals, kMostCores>> signals =
        std::make_unique<std::array<CoreSignals, kMostCores>>();
  };

  void Add(App& app, unsigned guaranteed, const char* policy) {
    Process process;
    process.pid = static_cast<int>(&app - apps_.data()) + 1;
    app.id =
        arbiter_->Add({.name = "app",
                       .policy = FindCorePolicy(policy),
                       .limits = {.guaranteed = guaranteed, .most = cores_},
                       .signals = app.signals->data()},
                      std::move(process));
    by_row_[app.id] = &app;
    std::array<int32_t, kMostCores> tids{};
    for (CoreId core = 0; core < cores_; ++core) {
      tids[core] = static_cast<int32_t>(core) + 1;
      if (arbiter_->allocator().home(core) != app.id) continue;
      app.queue = core;
      (*app.signals)[core].presence = Presence(1, true);
    }
    if (!arbiter_->SetWorkers(app.id, tids)) std::abort();
  }

  // Until every core that is nobody's home is somebody's.
  void Fill() {
    for (unsigned i = 0; i < 2 * cores_ + 100; ++i) {
      for (App& app : apps_) Need(app, true);
      Pass();
      Obey();
    }
    for (App& app : apps_) Need(app, false);
    for (int i = 0; i < 3; ++i) {
      Pass();
      Obey();
    }
    for (CoreId core = 0; core < cores_; ++core)
      granted_ += arbiter_->allocator().owner(core) != kNobody ? 1 : 0;
  }

  // One task waits, or none.
  void Need(App& app, bool needs) {
    CoreSignals& line = (*app.signals)[app.queue];
    const uint32_t taken = line.taken;
    if (needs) {
      line.enqueued = taken + 1;
      line.oldest_since = 1;
    } else if (line.enqueued != taken) {
      line.taken = taken + 1;
      line.oldest_since = 0;
    }
  }

  // A task comes and goes on every core that it has.
  void Bustle(App& app) {
    for (CoreId core = 0; core < cores_; ++core) {
      const Allocator& allocator = arbiter_->allocator();
      if (allocator.owner(core) != app.id && allocator.home(core) != app.id)
        continue;
      CoreSignals& line = (*app.signals)[core];
      line.enqueued = line.enqueued + 1;
      line.taken = line.taken + 1;
    }
  }

  // The next `count` cores are left, and as many applications are in need. A task that
  // waits for two passes is a need in the second one.
  void Move(unsigned count) {
    const auto apps = static_cast<unsigned>(apps_.size());
    for (unsigned i = 0; i < apps; ++i) {
      const unsigned place = (i + apps - taker_) % apps;
      Need(apps_[i], place < std::min(2 * count, apps));
    }
    taker_ = (taker_ + count) % apps;
    const Allocator& allocator = arbiter_->allocator();
    for (unsigned tried = 0; count > 0 && tried < cores_; ++tried) {
      leaver_ = (leaver_ + 1) % cores_;
      if (allocator.state(leaver_) != CoreState::kRunning) continue;
      CoreSignals& line =
          (*by_row_[allocator.owner(leaver_)]->signals)[leaver_];
      line.presence = line.presence & ~1U;
      --count;
    }
  }

  const unsigned cores_;
  std::vector<App> apps_;
  std::array<App*, kMostApps> by_row_{};
  NoKernel kernel_;
  std::unique_ptr<BoardMemory> board_ = std::make_unique<BoardMemory>();
  std::unique_ptr<Arbiter> arbiter_;
  unsigned granted_ = 0;
  CoreId leaver_ = 0;
  unsigned taker_ = 0;
};

int64_t Nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Of reading the clock twice.
int64_t ClockCost() {
  std::vector<int64_t> costs(10001);
  for (int64_t& cost : costs) {
    const int64_t before = Nanoseconds();
    cost = Nanoseconds() - before;
  }
  std::ranges::nth_element(costs, costs.begin() + 5000);
  return costs[5000];
}

}  // namespace

int main(int argc, char** argv) {
  const std::string situation = argc > 1 ? argv[1] : "";
  const auto number = [&](int i) {
    return argc > i ? static_cast<unsigned>(std::strtoul(argv[i], nullptr, 10))
                    : 0;
  };
  const unsigned cores = number(2);
  const unsigned apps = number(3);
  const unsigned passes = number(4);
  const char* const policy = argc > 5 ? argv[5] : "congestion";
  if ((situation != "idle" && situation != "needs" && situation != "moves" &&
       situation != "storm") ||
      cores < 2 || cores % 2 != 0 || cores > kMostCores || apps < 1 ||
      apps > kMostApps || passes < 100 || FindCorePolicy(policy) == nullptr) {
    std::fprintf(stderr,
                 "usage: bench_cores_pass idle|needs|moves|storm CORES APPS "
                 "PASSES [POLICY]; 2 .. %u cores, an even number, 1 .. %u "
                 "applications, 100 passes or more\n",
                 kMostCores, kMostApps);
    return 2;
  }
  Machine machine(cores, apps, policy);
  const int64_t clock = ClockCost();
  std::vector<int64_t> times;
  times.reserve(passes);
  const unsigned warm_up = passes / 10;
  uint64_t grants = 0;
  for (unsigned i = 0; i < passes + warm_up; ++i) {
    if (i == warm_up) grants = machine.grants();
    machine.Step(situation, i);
    const int64_t before = Nanoseconds();
    machine.Pass();
    const int64_t took = Nanoseconds() - before - clock;
    if (i >= warm_up) times.push_back(took);
    machine.Obey();
  }
  grants = machine.grants() - grants;
  if (machine.oddities() != 0) {
    std::fprintf(stderr, "%llu words were not what the arbiter expects\n",
                 static_cast<unsigned long long>(machine.oddities()));
    return 1;
  }
  double sum = 0;
  for (const int64_t time : times) sum += static_cast<double>(time);
  std::ranges::sort(times);
  std::printf("%lld %lld %.1f %.4f\n",
              static_cast<long long>(times[passes / 2]),
              static_cast<long long>(times[passes - passes / 100 - 1]),
              sum / passes, static_cast<double>(grants) / passes);
  return 0;
}
