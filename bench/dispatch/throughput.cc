// throughput.cc - requests per second through a central queue, handlers empty.
//
//   bench_dispatch_throughput CPUS NAME MILLISECONDS
//                 for example 0,1 slots2 500
//
// The placement is the real one, the kernel threads are real and pinned; there
// is no network and no user thread. Core 0 is the source: it enqueues every
// task that has come back, then does what a core of the runtime does. NAME:
//
//   slotsN        dedicated dispatcher with N slots per worker; runs no task
//   slotsN-works  the same, and runs a task when every slot is taken, as in the
//                 runtime
//   shared        no dispatcher: every core takes from one queue under its lock
//
// Prints `NAME REQUESTS_PER_SECOND SHARE_RUN_BY_CORE_0`. One process is one
// sample; bench/dispatch/run.py alternates processes.

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/cpu.h"
#include "dispatch/placement.h"

namespace {

using yamanote::CoreId;
using yamanote::Instant;
using yamanote::Task;
using yamanote::Wake;
using yamanote::dispatch::Notify;
using yamanote::dispatch::Placement;

// Enough that every slot and the queue behind are never empty.
constexpr unsigned kInFlightPerCore = 64;

struct alignas(yamanote::base::kNoSharing) Request {
  Task task;
  std::atomic<bool> done{true};
};

struct Variant {
  yamanote::Scheduling scheduling{};
  bool dispatcher_works = true;
};

bool Parse(const std::string& name, Variant& out) {
  out.scheduling.placement = yamanote::PlacementKind::kCentral;
  if (name == "shared") {
    out.scheduling.dispatcher = yamanote::DispatcherKind::kShared;
    return true;
  }
  if (!name.starts_with("slots")) return false;
  char* end = nullptr;
  out.scheduling.slots =
      static_cast<unsigned>(std::strtoul(name.c_str() + 5, &end, 10));
  out.scheduling.dispatcher = yamanote::DispatcherKind::kDedicated;
  out.dispatcher_works = std::string(end) == "-works";
  return out.scheduling.slots >= 1 &&
         out.scheduling.slots <= yamanote::kMaxSlots &&
         (out.dispatcher_works || *end == '\0');
}

void Pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof(set), &set) != 0) {
    std::fprintf(stderr, "cpu %d is not one that this process may use\n", cpu);
    std::exit(2);
  }
}

// The empty handler. Tasks lie first in their requests.
void Handle(Task& task) {
  // Release: pairs with the source's load, so that it may write the task.
  reinterpret_cast<Request&>(task).done.store(true, std::memory_order_release);
}

class Run {
 public:
  Run(const Variant& variant, std::vector<int> cpus)
      : dispatcher_works_(variant.dispatcher_works),
        cpus_(std::move(cpus)),
        placement_(yamanote::dispatch::MakePlacement(
            variant.scheduling, static_cast<unsigned>(cpus_.size()))),
        in_flight_(kInFlightPerCore * cpus_.size()),
        requests_(std::make_unique<Request[]>(in_flight_)) {}

  // Returns requests per second; the share that core 0 ran goes to `by_core_0`.
  double Measure(std::chrono::nanoseconds length, double& by_core_0) {
    std::vector<std::thread> workers;
    for (CoreId core = 1; core < cpus_.size(); ++core) {
      workers.emplace_back([this, core] { Work(core); });
    }
    Pin(cpus_[0]);
    RunCore0(length / 4);  // Warm-up.
    const auto start = std::chrono::steady_clock::now();
    const uint64_t ran_before = ran_by_core_0_;
    const uint64_t requests = RunCore0(length);
    const std::chrono::duration<double> took =
        std::chrono::steady_clock::now() - start;
    // Orders nothing: the workers only end their loops.
    stop_.store(true, std::memory_order_relaxed);
    for (std::thread& worker : workers) worker.join();
    by_core_0 = static_cast<double>(ran_by_core_0_ - ran_before) /
                static_cast<double>(requests);
    return static_cast<double>(requests) / took.count();
  }

 private:
  void Work(CoreId core) {
    Pin(cpus_[core]);
    // Relaxed: see Measure().
    while (!stop_.load(std::memory_order_relaxed)) {
      if (Task* const task = placement_->PickNext(core, Instant{})) {
        Handle(*task);
      } else {
        yamanote::base::Pause();
      }
    }
  }

  // Returns how many requests came back within `length`.
  uint64_t RunCore0(std::chrono::nanoseconds length) {
    const auto end = std::chrono::steady_clock::now() + length;
    uint64_t back = 0;
    for (uint64_t round = 0;; ++round) {
      // The clock costs as much as several requests.
      if (round % 256 == 0 && std::chrono::steady_clock::now() >= end)
        return back;
      back += EnqueueWhatCameBack();
      while (placement_->Dispatch(0, Instant{}).notify != Notify::kNobody) {
      }
      if (!dispatcher_works_) continue;
      if (Task* const task = placement_->PickNext(0, Instant{})) {
        ++ran_by_core_0_;
        Handle(*task);
      }
    }
  }

  // In turn, up to the first that is still on its way.
  unsigned EnqueueWhatCameBack() {
    constexpr unsigned kMost = 16;
    for (unsigned count = 0; count < kMost; ++count) {
      Request& request = requests_[next_];
      // Acquire: pairs with Handle().
      if (!request.done.load(std::memory_order_acquire)) return count;
      // Ours until enqueued.
      request.done.store(false, std::memory_order_relaxed);
      request.task.id = ++id_;
      placement_->Enqueue(request.task, Wake::kArrival, /*flow=*/0, /*from=*/0,
                          Instant{});
      next_ = next_ + 1 == in_flight_ ? 0 : next_ + 1;
    }
    return kMost;
  }

  const bool dispatcher_works_;
  const std::vector<int> cpus_;
  const std::unique_ptr<Placement> placement_;
  const size_t in_flight_;
  const std::unique_ptr<Request[]> requests_;
  size_t next_ = 0;
  uint64_t id_ = 0;
  uint64_t ran_by_core_0_ = 0;
  alignas(yamanote::base::kNoSharing) std::atomic<bool> stop_{false};
};

}  // namespace

int main(int argc, char** argv) {
  Variant variant;
  std::vector<int> cpus;
  if (argc == 4) {
    for (const char* at = argv[1]; *at != '\0';) {
      char* end = nullptr;
      cpus.push_back(static_cast<int>(std::strtol(at, &end, 10)));
      at = *end == ',' ? end + 1 : "";
    }
  }
  const int milliseconds = argc == 4 ? std::atoi(argv[3]) : 0;
  if (cpus.size() < 2 || milliseconds < 1 || !Parse(argv[2], variant)) {
    std::fprintf(stderr,
                 "usage: %s CPU,CPU[,CPU...] NAME MILLISECONDS\n"
                 "NAME is slotsN, slotsN-works (N from 1 to %u) or shared\n",
                 argv[0], yamanote::kMaxSlots);
    return 2;
  }
  double by_core_0 = 0;
  const double rate =
      Run(variant, cpus)
          .Measure(std::chrono::milliseconds(milliseconds), by_core_0);
  std::printf("%s %.0f %.4f\n", argv[2], rate, by_core_0);
  return 0;
}
