// endurance.cc - preempts mixed code a hundred million times and looks whether
// anything breaks.
//
//   preempt_endurance [--preemptions N] [--cores N] [--seconds S] [--seed N]
//                     [--first-phase N] [--json FILE]
//
// A campaign is a row of phases of some seconds. Each has a scheduler, a number of
// cores and tasks, a mix of works and a way of preempting (storm.h), all drawn from
// the seed and the phase's number; every task does one work after another, ends, and
// a new one takes its place. Every work knows what it must compute. The first wrong
// result, crash or standstill ends the campaign, with the command that repeats the
// phase; which instruction a preemption hits is not repeated, so let it run a while.
//
// Exit status: 0 nothing went wrong (also if --seconds, SIGINT or SIGTERM ended it
// early), 1 something did, 2 wrong usage. docs/preemption-safety.md has what it has shown.

#include <fmt/format.h>
#include <getopt.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include "tests/preempt/storm.h"
#include "tests/preempt/works.h"
#include "tools/version/build_info.h"
#include "worker/engine.h"
#include "worker/sanitizer.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"
#include "yamanote/wait_group.h"

#if defined(YAMANOTE_ASAN)
// As the tests' environment; so that the program can be run by hand.
extern "C" const char* __asan_default_options() {
  return "detect_stack_use_after_return=0";
}
#endif

namespace yamanote::tests {
namespace {

using namespace std::chrono_literals;

constexpr Duration kProgressEvery = 5s;
// Nothing finished a round for so long: something stands still. Far above what a
// busy machine takes from a program of the lowest priority.
constexpr Duration kStandstill = 120s;

struct Options {
  uint64_t preemptions = 100'000'000;
  unsigned cores = 2;
  unsigned seconds = 86400;
  uint64_t seed = 0;
  unsigned first_phase = 0;
  std::string json;
};

// What the campaign has shown so far.
struct Tally {
  uint64_t preemptions = 0;
  uint64_t by_core = 0;
  uint64_t from_outside = 0;
  uint64_t spawned = 0;
  unsigned phases = 0;
  unsigned adaptive_phases = 0;
  unsigned signal_phases = 0;
  std::map<std::string, uint64_t> by_preset;  // Preemptions.
  Instant began = Clock::now();
  Instant said = began;          // When progress was.
  std::vector<uint64_t> hit;     // Preemptions per work; works.size() + 1.
  std::vector<uint64_t> rounds;  // Per work.
  std::string failure;           // Empty: none.

  double Seconds() const {
    return std::chrono::duration<double>(Clock::now() - began).count();
  }
};

std::vector<NamedWork> AllWorks() {
  std::vector<NamedWork> all = LibraryWorks();
  for (const auto& more :
       {LanguageWorks(), LockWorks(), RuntimeWorks(), MarkedWorks()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

unsigned IndexOf(const std::vector<NamedWork>& works, std::string_view name) {
  for (unsigned i = 0; i < works.size(); ++i) {
    if (works[i].name == name) return i;
  }
  fmt::print(stderr, "preempt_endurance: there is no work '{}'\n", name);
  std::abort();
}

// ---- Crashes: the command that repeats the phase is the last thing said ------

char g_repeat[160] = "";

void SayRepeat() {
  const ssize_t ignored = write(STDERR_FILENO, g_repeat, std::strlen(g_repeat));
  static_cast<void>(ignored);
}

void SetRepeat(const Options& options, unsigned phase) {
  fmt::format_to_n(g_repeat, sizeof(g_repeat) - 1,
                   "repeat: preempt_endurance --seed {} --first-phase {} "
                   "--cores {} --preemptions {}\n{}",
                   options.seed, phase, options.cores, options.preemptions,
                   '\0');
}

void OnCrash(int) { SayRepeat(); }  // It returns to the fault, now the default.

void SayRepeatOnCrash() {
  struct sigaction action{};
  action.sa_handler = &OnCrash;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
#if defined(YAMANOTE_ASAN)
  __sanitizer_set_death_callback(&SayRepeat);
  const int signals[] = {SIGABRT};
#else
  const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE};
#endif
  for (const int number : signals) sigaction(number, &action, nullptr);
}

// SIGINT and SIGTERM end the campaign early, with its summary.
std::atomic<bool> g_interrupted{false};

void EndOnSignal() {
  struct sigaction action{};
  action.sa_handler = [](int) { g_interrupted = true; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM})
    sigaction(number, &action, nullptr);
}

// ---- One phase ---------------------------------------------------------------

class Run {
 public:
  Run(const Phase& phase, const std::vector<NamedWork>& works, uint64_t seed,
      Tally& tally)
      : phase_(phase),
        works_(works),
        seed_(seed),
        tally_(tally),
        storm_(phase, static_cast<unsigned>(works.size()), seed),
        rounds_(new std::atomic<uint64_t>[works.size()]()) {}

  // Runs the phase to its end and adds what it showed to the tally. The calling
  // kernel thread asks from outside. `until`: the campaign's end.
  void ToEnd(Instant until) {
    runtime_ = Runtime::Create(phase_.Options()).value();
    storm_.Begin();
    until_ = std::min(until, Clock::now() + phase_.time);
    std::thread main([&] {
      runtime_->Run([&] {
        for (unsigned slot = 0; slot < phase_.tasks; ++slot) {
          slots_.add();
          Spawn(slot, 0, 0);
        }
        slots_.wait();
      });
      done_ = true;
    });
    Disturb();
    main.join();
    storm_.End(*runtime_);
    AddTo(tally_);
    runtime_.reset();
  }

 private:
  void Spawn(unsigned slot, unsigned life, unsigned round) {
    Thread(ThreadOptions{.name = storm_.NameOf(slot)}, [=, this] {
      Live(slot, life, round);
    }).detach();
  }

  // One task's life: some rounds; then another one takes its place.
  void Live(unsigned slot, unsigned life, unsigned round) {
    Dice dice(seed_ ^ (uint64_t{slot} << 32 | life));
    for (uint64_t left = 1 + dice.Below(40); left > 0; --left) {
      if (stop_.load(std::memory_order_relaxed)) return slots_.done();
      const unsigned work = phase_.mix[dice.Below(phase_.mix.size())];
      storm_.BeginRound(slot, work);
      if (!works_[work].work(slot, round)) {
        Fail(fmt::format("'{}' computed something else (task {}, round {})",
                         works_[work].name, slot, round));
      }
      ++round;
      rounds_[work].fetch_add(1, std::memory_order_relaxed);
      if (runtime_->stats().preemptions >= phase_.preemptions) stop_ = true;
    }
    Spawn(slot, life + 1, round);
  }

  void Fail(std::string what) {
    const std::lock_guard guard(failure_lock_);
    if (failure_.empty()) failure_ = std::move(what);
    stop_ = true;
  }

  // Asks from outside, at instants that nobody foresees, and watches.
  void Disturb() {
    Dice dice(seed_ + 1);
    uint64_t rounds_seen = 0;
    Instant moved = Clock::now();
    while (!done_) {
      if (phase_.from_outside) {
        storm_.AskFromOutside(runtime_->impl().worker(
            static_cast<CoreId>(dice.Below(phase_.cores))));
        if (phase_.by_core) {  // Other cores ask, too; leave them theirs.
          std::this_thread::sleep_for(
              std::chrono::microseconds(dice.Below(100)));
        } else {
          for (uint64_t pauses = dice.Below(64); pauses > 0; --pauses)
            base::Pause();
        }
      } else {
        std::this_thread::sleep_for(1ms);
      }
      const Instant now = Clock::now();
      if (now >= until_ || g_interrupted) stop_ = true;
      if (const uint64_t rounds = Rounds(); rounds != rounds_seen) {
        rounds_seen = rounds;
        moved = now;
      } else if (now - moved > kStandstill) {
        Stand();
      }
      if (now - tally_.said >= kProgressEvery) {
        tally_.said = now;
        SayProgress(tally_.preemptions + runtime_->stats().preemptions,
                    rounds_seen);
      }
    }
  }

  uint64_t Rounds() const {
    uint64_t sum = 0;
    for (size_t i = 0; i < works_.size(); ++i)
      sum += rounds_[i].load(std::memory_order_relaxed);
    return sum;
  }

  void SayProgress(uint64_t preemptions, uint64_t rounds) const {
    fmt::print(
        "{:7.0f} s  {} preemptions, {:.0f} a second; phase {}: {} works "
        "done ({})\n",
        tally_.Seconds(), preemptions, double(preemptions) / tally_.Seconds(),
        tally_.phases, rounds, phase_.Describe());
    std::fflush(stdout);
  }

  [[noreturn]] void Stand() const {
    fmt::print(stderr,
               "FAILED: nothing was finished for {} s, {} preemptions "
               "so far. Last begun:",
               kStandstill / 1s, runtime_->stats().preemptions);
    for (unsigned slot = 0; slot < phase_.tasks; ++slot)
      fmt::print(stderr, " {}", works_[storm_.WorkOf(slot)].name);
    fmt::print(stderr, "\n");
    std::abort();  // With a core, for a debugger.
  }

  void AddTo(Tally& tally) const {
    const RuntimeStats stats = runtime_->stats();
    tally.preemptions += stats.preemptions;
    tally.by_preset[phase_.preset] += stats.preemptions;
    tally.adaptive_phases += phase_.adaptive ? 1 : 0;
    tally.signal_phases += phase_.signals ? 1 : 0;
    tally.spawned += stats.spawned;
    tally.by_core += storm_.ByCore();
    tally.from_outside += storm_.FromOutside();
    const std::vector<uint64_t> hit = storm_.PerWork();
    for (size_t i = 0; i < hit.size(); ++i) tally.hit[i] += hit[i];
    for (size_t i = 0; i < works_.size(); ++i) tally.rounds[i] += rounds_[i];
    tally.failure = failure_;
  }

  const Phase& phase_;
  const std::vector<NamedWork>& works_;
  const uint64_t seed_;
  Tally& tally_;
  Storm storm_;
  std::unique_ptr<Runtime> runtime_;
  const std::unique_ptr<std::atomic<uint64_t>[]> rounds_;
  WaitGroup slots_;
  Instant until_{};
  std::atomic<bool> stop_{false};
  std::atomic<bool> done_{false};
  std::mutex failure_lock_;
  std::string failure_;  // Guarded by failure_lock_ until done_.
};

// ---- The result ----------------------------------------------------------------

std::string CpuName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name"))
      return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown";
}

const char* Sanitizer() {
#if defined(YAMANOTE_ASAN)
  return "address, undefined";
#elif defined(YAMANOTE_TSAN)
  return "thread";
#else
  return "none";
#endif
}

// git describe when it was built.
std::string_view Revision() {
#if defined(YAMANOTE_HAS_BUILD_INFO)
  return tools::GetBuildInfo().revision;
#else
  return "unknown";  // A build without the command.
#endif
}

std::string Compiler() {
#if defined(__clang__)
  return fmt::format("clang {}.{}.{}", __clang_major__, __clang_minor__,
                     __clang_patchlevel__);
#else
  return fmt::format("GCC {}.{}.{}", __GNUC__, __GNUC_MINOR__,
                     __GNUC_PATCHLEVEL__);
#endif
}

std::string ToJson(const Options& options, const Tally& tally,
                   const std::vector<NamedWork>& works) {
  utsname system{};
  uname(&system);
  const std::time_t now = std::time(nullptr);
  char date[16];
  std::strftime(date, sizeof(date), "%Y-%m-%d", std::gmtime(&now));
  uint64_t marked = 0;
  for (size_t i = works.size() - MarkedWorks().size(); i < works.size(); ++i)
    marked += tally.hit[i];
  std::string json = fmt::format(
      "{{\n \"schema\": \"yamanote.preempt.endurance/1\",\n"
      " \"date\": \"{}\",\n \"revision\": \"{}\",\n \"cpu\": \"{}\",\n "
      "\"cpus\": {},\n"
      " \"kernel\": \"{}\",\n \"compiler\": \"{}\",\n \"sanitizer\": \"{}\",\n"
      " \"seed\": {},\n \"cores\": {},\n \"phases\": {},\n"
      " \"phases_with_adaptive_slices\": {},\n"
      " \"phases_with_signals\": {},\n"
      " \"seconds\": {:.1f},\n \"preemptions\": {},\n"
      " \"asked_by_the_core_itself\": {},\n \"asked_from_outside\": {},\n"
      " \"of_marked_works\": {},\n"
      " \"threads_started\": {},\n \"failures\": {},\n \"failure\": \"{}\",\n"
      " \"presets\": {{",
      date, Revision(), CpuName(), sysconf(_SC_NPROCESSORS_ONLN),
      system.release, Compiler(), Sanitizer(), options.seed, options.cores,
      tally.phases, tally.adaptive_phases, tally.signal_phases, tally.Seconds(),
      tally.preemptions, tally.by_core, tally.from_outside, marked,
      tally.spawned, tally.failure.empty() ? 0 : 1, tally.failure);
  const char* comma = "";
  for (const auto& [preset, preemptions] : tally.by_preset) {
    json += fmt::format("{}\n  \"{}\": {}", comma, preset, preemptions);
    comma = ",";
  }
  json += "\n },\n \"works\": {\n";
  for (size_t i = 0; i < works.size(); ++i) {
    json += fmt::format("  \"{}\": {{\"preemptions\": {}, \"rounds\": {}}},\n",
                        works[i].name, tally.hit[i], tally.rounds[i]);
  }
  json += fmt::format("  \"others\": {{\"preemptions\": {}}}\n }}\n}}\n",
                      tally.hit.back());
  return json;
}

int RunPhases(const Options& options) {
  const std::vector<NamedWork> works = AllWorks();
  const Repertoire repertoire{
      .works = static_cast<unsigned>(works.size()),
      .marked = static_cast<unsigned>(MarkedWorks().size()),
      .spin_lock = IndexOf(works, "spin_lock")};
  Tally tally;
  tally.hit.resize(works.size() + 1);
  tally.rounds.resize(works.size());
  std::FILE* json = nullptr;
  if (!options.json.empty()) {  // Before hours of work, not after.
    json = std::fopen(options.json.c_str(), "w");
    if (json == nullptr) {
      fmt::print(stderr, "preempt_endurance: --json: can't write '{}': {}\n",
                 options.json, std::strerror(errno));
      return 2;
    }
  }
  SayRepeatOnCrash();
  EndOnSignal();
  fmt::print("preempt_endurance: {}, sanitizer {}, seed {}, {} works\n",
             Compiler(), Sanitizer(), options.seed, works.size());
  const Instant until = tally.began + std::chrono::seconds(options.seconds);
  unsigned index = options.first_phase;
  for (; tally.preemptions < options.preemptions && tally.failure.empty() &&
         Clock::now() < until && !g_interrupted;
       ++index) {
    SetRepeat(options, index);
    Phase phase = MakePhase(options.seed, index, options.cores, repertoire);
    phase.preemptions =
        std::min(phase.preemptions, options.preemptions - tally.preemptions);
    Run(phase, works, options.seed + index, tally).ToEnd(until);
    ++tally.phases;
  }
  fmt::print(
      "{}: {} of {} preemptions in {:.1f} s, {:.0f} a second, {} phases\n",
      tally.failure.empty() ? "passed" : "FAILED", tally.preemptions,
      options.preemptions, tally.Seconds(),
      double(tally.preemptions) / tally.Seconds(), tally.phases);
  if (json != nullptr) {
    const std::string text = ToJson(options, tally, works);
    const bool written =
        std::fwrite(text.data(), 1, text.size(), json) == text.size();
    if (std::fclose(json) != 0 || !written) {
      fmt::print(stderr, "preempt_endurance: --json: can't write '{}'\n",
                 options.json);
      return 1;
    }
  }
  if (tally.failure.empty()) return 0;
  fmt::print(stderr, "FAILED: {}\n", tally.failure);
  SayRepeat();
  return 1;
}

// Reads a number of at least `least` and at most `most`, or ends the program.
uint64_t Number(const char* name, const char* text, uint64_t least,
                uint64_t most) {
  uint64_t number = 0;
  const char* const end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, number);
  if (error == std::errc() && stop == end && number >= least && number <= most)
    return number;
  fmt::print(stderr,
             "preempt_endurance: --{} is '{}'; give a number from {} to {}\n",
             name, text, least, most);
  std::exit(2);
}

Options Parse(int argc, char** argv) {
  static const option kOptions[] = {
      {"preemptions", required_argument, nullptr, 'p'},
      {"cores", required_argument, nullptr, 'c'},
      {"seconds", required_argument, nullptr, 't'},
      {"seed", required_argument, nullptr, 's'},
      {"first-phase", required_argument, nullptr, 'f'},
      {"json", required_argument, nullptr, 'j'},
      {nullptr, 0, nullptr, 0}};
  constexpr uint64_t kMost = uint64_t{1} << 53;  // What JSON can carry.
  Options options;
  options.seed = std::random_device{}();
  for (int which;
       (which = getopt_long(argc, argv, "", kOptions, nullptr)) != -1;) {
    const auto number = [&](const char* name, uint64_t least, uint64_t most) {
      return Number(name, optarg, least, most);
    };
    switch (which) {
      case 'p':
        options.preemptions = number("preemptions", 1, kMost);
        break;
      case 'c':
        options.cores = unsigned(number("cores", 1, 64));
        break;
      case 't':
        options.seconds = unsigned(number("seconds", 1, 86400 * 30));
        break;
      case 's':
        options.seed = number("seed", 0, kMost);
        break;
      case 'f':
        options.first_phase =
            unsigned(number("first-phase", 0, UINT32_MAX / 2));
        break;
      case 'j':
        options.json = optarg;
        break;
      default:
        std::exit(2);  // getopt has said why.
    }
  }
  if (optind != argc) {
    fmt::print(stderr,
               "preempt_endurance: '{}' is no flag; the top of endurance.cc "
               "lists them\n",
               argv[optind]);
    std::exit(2);
  }
  return options;
}

}  // namespace
}  // namespace yamanote::tests

int main(int argc, char** argv) {
  return yamanote::tests::RunPhases(yamanote::tests::Parse(argc, argv));
}
