// transfers.cc - cache-line crossings per request of the dedicated dispatcher.
//
//   bench_dispatch_transfers [--json]
//
// Plays a dispatcher, its workers and a source of requests in turn, on one
// kernel thread, through the engine's side of placement.h, with handlers that
// do nothing. Deterministic: prints the same on every computer. A request's
// task is used again once it has run; the source writes it (who it is, when it
// came), the worker writes where it ran.

#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/cpu.h"
#include "bench/dispatch/subject.h"

namespace bench {
namespace {

using yamanote::CoreId;
using yamanote::Instant;
using yamanote::kNoCore;
using yamanote::Task;
using yamanote::Wake;
using yamanote::dispatch::Notify;
using yamanote::dispatch::Placement;

constexpr uint64_t kWarmUp = 1'000;
constexpr uint64_t kRequests = 100'000;

// Who hears of requests first.
enum class Source : uint8_t { kDispatcher, kOtherCore };

struct Scenario {
  Source source;
  unsigned slots;
  unsigned workers;
  unsigned in_flight;  // Requests in the system at most.
  unsigned turns;      // Requests that a worker runs between two looks of the
                       // dispatcher.
};

// Where the runtime has its tasks: at the start of a line, no line shared.
struct alignas(yamanote::base::kNoSharing) Slot {
  Task task;
};

class Play {
 public:
  explicit Play(const Scenario& scenario)
      : scenario_(scenario),
        source_core_(
            scenario.source == Source::kDispatcher ? 0 : scenario.workers + 1),
        slots_(std::make_unique<Slot[]>(scenario.in_flight)),
        placement_(
            MakeSubject(scenario.slots, scenario.workers + 1, machine_)) {
    machine_.Name(slots_.get(), sizeof(Slot) * scenario.in_flight, "task");
    for (unsigned i = 0; i < scenario.in_flight; ++i)
      free_.push_back(&slots_[i].task);
  }

  void Run() {
    current_machine = &machine_;
    RunUntil(kWarmUp);
    machine_.ResetCounts();
    done_ = 0;
    RunUntil(kRequests);
    current_machine = nullptr;
  }

  // Crossings of `object` for each request; asked for by the source, the
  // dispatcher and the workers.
  Crossings Of(const std::string& object, unsigned first_core,
               unsigned last_core) const {
    Crossings sum;
    for (const auto& [key, crossings] : machine_.crossings()) {
      if (!object.empty() && key.first != object) continue;
      if (key.second < first_core || key.second > last_core) continue;
      sum.moves += crossings.moves;
      sum.invalidations += crossings.invalidations;
    }
    return sum;
  }
  unsigned source_core() const { return source_core_; }
  double PerRequest(uint64_t count) const {
    return static_cast<double>(count) / static_cast<double>(done_);
  }

 private:
  void RunUntil(uint64_t requests) {
    // Bound: a round in which nothing is done is a bug of the dispatcher's.
    unsigned idle_rounds = 0;
    while (done_ < requests) {
      const uint64_t before = done_;
      PlaySource();
      PlayDispatcher();
      for (unsigned turn = 0; turn < scenario_.turns; ++turn) {
        for (CoreId core = 1; core <= scenario_.workers; ++core)
          PlayWorker(core);
      }
      idle_rounds = done_ == before ? idle_rounds + 1 : 0;
      YAMANOTE_CHECK(idle_rounds < 10,
                     "requests are in flight and nobody runs them");
    }
  }

  // As many requests as the workers run in a round, so that they can all be
  // busy.
  void PlaySource() {
    machine_.PlayCore(source_core_);
    const unsigned most = scenario_.workers * scenario_.turns;
    for (unsigned i = 0; i < most && !free_.empty(); ++i) {
      Task& task = *free_.front();
      free_.pop_front();
      Write(&task.id, sizeof(task.id));
      Write(&task.arrival, sizeof(task.arrival));
      const CoreId from = scenario_.source == Source::kDispatcher ? 0 : kNoCore;
      placement_->Enqueue(task, Wake::kArrival, /*flow=*/0, from, Instant{});
    }
  }

  void PlayDispatcher() {
    machine_.PlayCore(0);
    while (placement_->Dispatch(0, Instant{}).notify != Notify::kNobody) {
    }
  }

  void PlayWorker(CoreId core) {
    machine_.PlayCore(core);
    Task* const task = placement_->PickNext(core, Instant{});
    if (task == nullptr) return;
    Write(&task->last_core, sizeof(task->last_core));
    free_.push_back(task);
    ++done_;
  }

  void Write(const void* field, size_t bytes) {
    machine_.Touch(field, bytes, Machine::Access::kStore);
  }

  const Scenario scenario_;
  const unsigned source_core_;
  Machine machine_;
  std::unique_ptr<Slot[]> slots_;
  std::unique_ptr<Placement> placement_;
  std::deque<Task*> free_;
  uint64_t done_ = 0;
};

// The columns: what crosses, and who asked for it.
struct Column {
  const char* title;
  Crossings crossings;
};

std::vector<Column> Columns(const Play& play, const Scenario& scenario) {
  const unsigned workers = scenario.workers;
  const unsigned source = play.source_core();
  std::vector<Column> columns;
  columns.push_back({"task to source", play.Of("task", source, source)});
  columns.push_back({"inbox", play.Of("inbox", 0, workers + 1)});
  columns.push_back({"task to dispatcher",
                     source == 0 ? Crossings{} : play.Of("task", 0, 0)});
  columns.push_back({"entry", play.Of("entry", 0, workers + 1)});
  columns.push_back({"task to worker", play.Of("task", 1, workers)});
  columns.push_back({"completed", play.Of("completed", 0, workers + 1)});
  Crossings rest = play.Of("", 0, workers + 1);
  for (const Column& column : columns) {
    rest.moves -= column.crossings.moves;
    rest.invalidations -= column.crossings.invalidations;
  }
  columns.push_back({"other", rest});
  columns.push_back({"all", play.Of("", 0, workers + 1)});
  return columns;
}

const char* Name(Source source) {
  return source == Source::kDispatcher ? "core 0" : "other core";
}

void PrintRow(const Scenario& scenario, const Play& play) {
  std::printf("| %s | %u | %u | %u | %u |", Name(scenario.source),
              scenario.workers, scenario.slots, scenario.in_flight,
              scenario.turns);
  for (const Column& column : Columns(play, scenario)) {
    std::printf(" %.2f + %.2f |", play.PerRequest(column.crossings.moves),
                play.PerRequest(column.crossings.invalidations));
  }
  std::printf("\n");
}

void PrintJson(const Scenario& scenario, const Play& play, bool last) {
  std::printf(
      "  {\"source\": \"%s\", \"workers\": %u, \"slots\": %u, "
      "\"in_flight\": %u, \"turns\": %u",
      Name(scenario.source), scenario.workers, scenario.slots,
      scenario.in_flight, scenario.turns);
  for (const Column& column : Columns(play, scenario)) {
    std::printf(", \"%s\": {\"moves\": %.4f, \"invalidations\": %.4f}",
                column.title, play.PerRequest(column.crossings.moves),
                play.PerRequest(column.crossings.invalidations));
  }
  std::printf("}%s\n", last ? "" : ",");
}

int Main(bool json) {
  std::vector<Scenario> scenarios;
  for (const Source source : {Source::kDispatcher, Source::kOtherCore}) {
    for (const unsigned workers : {1u, 3u}) {
      for (const unsigned slots : {1u, 2u, 4u}) {
        // One at a time; always something waiting for a slot; and a dispatcher
        // that comes round only when a worker has run all it had.
        scenarios.push_back({source, slots, workers, 1, 1});
        scenarios.push_back({source, slots, workers, 4 * slots * workers, 1});
        if (slots > 1)
          scenarios.push_back(
              {source, slots, workers, 4 * slots * workers, slots});
      }
    }
  }
  if (json) {
    std::printf(
        "{\"unit\": \"cache lines per request\", \"requests\": %llu, "
        "\"scenarios\": [\n",
        static_cast<unsigned long long>(kRequests));
  }
  bool first = true;
  for (const Scenario& scenario : scenarios) {
    Play play(scenario);
    play.Run();
    if (json) {
      PrintJson(scenario, play, &scenario == &scenarios.back());
      continue;
    }
    if (first) {
      std::printf(
          "Cache lines per request: moves + invalidations.\n\n"
          "| requests from | workers | slots | in flight | turns |");
      const std::vector<Column> columns = Columns(play, scenario);
      for (const Column& column : columns) std::printf(" %s |", column.title);
      std::printf("\n");
      for (size_t i = 0; i < columns.size() + 5; ++i) std::printf("|---");
      std::printf("|\n");
      first = false;
    }
    PrintRow(scenario, play);
  }
  if (json) std::printf("]}\n");
  return 0;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  const bool json = argc == 2 && std::strcmp(argv[1], "--json") == 0;
  if (argc > 1 && !json) {
    std::fprintf(stderr, "usage: %s [--json]\n", argv[0]);
    return 2;
  }
  return bench::Main(json);
}
