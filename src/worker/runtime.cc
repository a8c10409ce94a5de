// runtime.cc - starts and stops the workers; the parts that they share.

#include "yamanote/runtime.h"

#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/backoff.h"
#include "base/check.h"
#include "dispatch/locality.h"
#include "preempt/interrupt.h"
#include "preempt/mechanism.h"
#include "preempt/probe.h"
#include "worker/engine.h"
#include "worker/overflow.h"
#include "yamanote/thread.h"

namespace yamanote {
namespace worker {

bool WorkMoves(const Scheduling& scheduling, unsigned cores) {
  return cores > 1 && scheduling.placement != PlacementKind::kPartitioned;
}

namespace {

// Without slices nobody is interrupted, whatever could do it.
Mechanism InUse(Mechanism chosen, const dispatch::Placement& placement,
                size_t cores) {
  for (CoreId core = 0; core < cores; ++core) {
    if (placement.Quantum(core) != kNoPreemption) return chosen;
  }
  return Mechanism::kNone;
}

// A core that does not answer its flag is interrupted after many times what that
// costs. Measured where it is needed.
Duration InterruptAfter(Mechanism mechanism) {
  constexpr int kTimes = 10;
  switch (mechanism) {
    case Mechanism::kSignal:
      return kTimes * std::max(preempt::MeasureSignal(),
                               Duration(std::chrono::microseconds(1)));
    case Mechanism::kUserInterrupt:
      return std::chrono::microseconds(5);
    case Mechanism::kAuto:
    case Mechanism::kNone:
    case Mechanism::kProbe:
      break;
  }
  return kNoPreemption;
}

std::unique_ptr<preempt::AdaptiveSlice> MakeAdaptive(const Scheduling& s,
                                                     Mechanism mechanism,
                                                     size_t cores) {
  if (!s.slice.Adapts() || mechanism == Mechanism::kNone) return nullptr;
  // Checked: the order exists.
  const bool short_first = FindPolicy(s.order)->short_first;
  return std::make_unique<preempt::AdaptiveSlice>(
      s.slice.least, s.slice.most, static_cast<unsigned>(cores),
      short_first ? preempt::ShortFirst : preempt::InTurn);
}

// Workers that are not pinned are nowhere.
std::vector<CoreLocality> LocalityOf(const RuntimeOptions& options,
                                     const std::vector<int>& cpus) {
  if (!options.pin) return {};
  // Checked: the order exists.
  return dispatch::LocalityFor(*FindPolicy(options.scheduling.order), cpus);
}

preempt::TimekeeperOptions Timekeeping(const RuntimeOptions& options,
                                       Mechanism mechanism,
                                       preempt::AdaptiveSlice* adaptive,
                                       const dispatch::Placement& placement,
                                       size_t cores) {
  preempt::TimekeeperOptions result;
  for (CoreId core = 0; core < cores; ++core) {
    result.slices.push_back(mechanism == Mechanism::kNone
                                ? kNoPreemption
                                : placement.Quantum(core));
  }
  result.adaptive = adaptive;
  result.interrupt_after = InterruptAfter(mechanism);
  if (options.watchdog != Duration::zero()) result.watchdog = options.watchdog;
  return result;
}

}  // namespace

Engine::Engine(RuntimeOptions options, std::vector<int> cpus, Mechanism asked,
               std::unique_ptr<arbiter::Client> client)
    : options_(std::move(options)),
      client_(std::move(client)),
      timed_(client_ != nullptr && client_->link().timed()),
      placement_(dispatch::MakePlacement(
          options_.scheduling, static_cast<unsigned>(cpus.size()),
          dispatch::Callers::kManyThreads,
          client_ != nullptr ? dispatch::Supply::kArbiter
                             : dispatch::Supply::kOwn,
          LocalityOf(options_, cpus))),
      mechanism_(InUse(options_.preemption, *placement_, cpus.size())),
      asked_mechanism_(asked),
      stacks_(options_.stack_bytes,
              options_.max_threads + cpus.size() * StackStock::kMost),
      threads_(options_.max_threads + cpus.size() * ThreadStock::kMost),
      parking_(
          static_cast<unsigned>(cpus.size()),
          WorkMoves(options_.scheduling, static_cast<unsigned>(cpus.size())),
          /*trusts_spinners=*/client_ == nullptr),
      adaptive_(MakeAdaptive(options_.scheduling, mechanism_, cpus.size())),
      timekeeper_(cores_, Timekeeping(options_, mechanism_, adaptive_.get(),
                                      *placement_, cpus.size())),
      cpus_(std::move(cpus)),
      tids_(std::make_unique<std::atomic<int>[]>(cpus_.size())) {
  if (client_ != nullptr) {
    placement_->Watch(client_->link().signals(), timed_);
    for (CoreId core = 0; core < cpus_.size(); ++core) {
      if (client_->link().home(core))
        placement_->SetHeld(core, true, Clock::now());
    }
  }
  for (CoreId core = 0; core < cpus_.size(); ++core) {
    workers_.push_back(std::make_unique<Worker>(*this, core));
  }
}

Result<void> Engine::Start() {
  // A thread that waits for a stack waits for another to end; the first can't.
  Stack* stack = nullptr;
  size_t taken = 0;
  if (auto mapped = stacks_.Take(1, stack, taken); !mapped) return mapped;
  stacks_.Return(stack, taken);
  current_.store(this, std::memory_order_release);
  static const int at_fork =
      pthread_atfork(nullptr, nullptr, &Worker::LeaveInChild);
  YAMANOTE_CHECK(at_fork == 0, "no memory for what fork() has to do");
  preempt::SetHandler(&Worker::AtProbe);
  if (timekeeper_.needed() || client_ != nullptr) {
    preempt::InstallInterrupts(
        {.current = &Worker::CurrentTask, .tick = &Worker::AtTick},
        mechanism_ == Mechanism::kSignal ||
            mechanism_ == Mechanism::kUserInterrupt,
        mechanism_ == Mechanism::kUserInterrupt);
  }
  for (CoreId core = 0; core < cpus_.size(); ++core) {
    try {
      kernel_threads_.emplace_back(
          [this, core, cpu = cpus_[core]] { RunWorker(core, cpu); });
    } catch (const std::system_error& error) {
      StopWorkers();
      return MakeError(
          ErrorCode::kResourceExhausted,
          "can't start worker " + std::to_string(core + 1) + " of " +
              std::to_string(cpus_.size()) + ": " + error.code().message() +
              "; raise `ulimit -u`, `ulimit -v` or the container's pids.max, "
              "or use fewer cores",
          error.code().value());
    }
  }
  return client_ == nullptr ? Result<void>() : TellArbiter();
}

Result<void> Engine::TellArbiter() {
  std::vector<int> tids(cpus_.size());
  for (CoreId core = 0; core < cpus_.size(); ++core) {
    // Relaxed: the number alone.
    while ((tids[core] = tids_[core].load(std::memory_order_relaxed)) == 0)
      sched_yield();
  }
  const Result<void> told = client_->link().SendWorkers(tids);
  if (told) {
    registration_ = std::make_unique<Registration>(*this, std::move(tids));
  } else {
    StopWorkers();
  }
  return told;
}

Engine::~Engine() { StopWorkers(); }

void Engine::StopWorkers() {
  registration_.reset();
  stopping_.store(true);
  // A worker that was about to park re-reads stopping_ after it said so, and
  // one that said so earlier is woken here: as for E2-E4 in park.h.
  parking_.NotifyAll();
  // Before Linux 5.16 one that was about to sleep may miss it.
  while (client_ != nullptr && parking_.away() != 0) {
    for (const auto& worker : workers_) worker->Visit();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (std::thread& thread : kernel_threads_) thread.join();
  kernel_threads_.clear();
  current_.store(nullptr, std::memory_order_release);
  workers_.clear();  // Gives their stock back to the pools.
}

void Engine::RunWorker(CoreId core, int cpu) {
  if (options_.pin) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);  // Create() has checked it.
  }
  const std::string name = "yamanote-" + std::to_string(core);
  pthread_setname_np(pthread_self(), name.c_str());
  if (timekeeper_.needed() || client_ != nullptr) preempt::AcceptInterrupts();
  tids_[core].store(static_cast<int>(syscall(SYS_gettid)),
                    std::memory_order_relaxed);
  const OverflowReporter reporter;
  workers_[core]->Loop();
}

bool Engine::Cores::Waits(CoreId core) const {
  // It sleeps: whoever has something for it wakes it.
  const Parking& parking = engine_.parking_;
  if (parking.IsParked(core)) return false;
  if (engine_.placement_->HasWork(core)) return true;
  // Events that no other core would see.
  return !parking.work_moves() && !parking.poller(core).Empty();
}

UserThread* Engine::NewThread() {
  Worker* const worker = Worker::This();
  UserThread* thread = nullptr;
  if (worker != nullptr) {
    thread = worker->threads().Take();
    if (thread == nullptr) return nullptr;
    thread->id = worker->NextThreadId();
  } else {
    size_t taken = 0;
    if (!threads_.Take(1, thread, taken)) return nullptr;
    thread->id = TakeIds(1);
    foreign_spawned_.fetch_add(1, std::memory_order_relaxed);
  }
  thread->arrival = {};
  thread->deadline = kNever;
  thread->last_core = kNoCore;
  thread->attained = Duration::zero();
  thread->checks_itself = false;
  thread->gave_way = false;
  thread->skips = UserThread::kNeverAsked;
  thread->policy_words = {};
  thread->flow = 0;
  // Nobody else knows the block: ordered by its Enqueue().
  thread->completion.store(UserThread::kRunning, std::memory_order_relaxed);
  return thread;
}

void Engine::Free(UserThread& thread) {
  if (Worker* const worker = Worker::This()) {
    worker->threads().Return(&thread);
  } else {
    thread.next_free = nullptr;
    threads_.Return(&thread, 1);
  }
}

void Engine::Launch(UserThread& thread) {
  Worker* const worker = Worker::This();
  const Instant now = wants_now() ? Clock::now() : Instant{};
  if (wants_now() && thread.arrival == Instant{}) thread.arrival = now;
  parking_.Notify(
      placement_->Enqueue(thread, Wake::kArrival, thread.flow,
                          worker == nullptr ? kNoCore : worker->core(), now));
}

void Engine::Resume(UserThread& thread) {
  if (placement_->ObservesStops() ||
      placement_->clock_use() == ClockUse::kRunTime) {
    // The thread may still be on its way from registering its wait to reporting
    // that it blocks; the policy must hear of that first. Tens of nanoseconds.
    const Worker* const caller = Worker::This();
    YAMANOTE_CHECK(caller == nullptr || caller->current() != &thread,
                   "a thread notifies its own Waiter before it waits");
    while (!thread.stop_reported.load(std::memory_order_acquire)) base::Pause();
  }
  Worker* const worker = Worker::This();
  const Instant now = wants_now() ? Clock::now() : Instant{};
  parking_.Notify(
      placement_->Enqueue(thread, Wake::kWakeup, thread.flow,
                          worker == nullptr ? kNoCore : worker->core(), now));
}

namespace {

Waiter* JoinerOf(uintptr_t completion) {
  // A state or a pointer in one word.
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<Waiter*>(completion & ~UserThread::kJoinsForGood);
}

}  // namespace

void Engine::Complete(UserThread& thread) {
  // Acquire, here and below: pairs with the joiner's and the detacher's
  // compare-exchanges, which publish the Waiter.
  uintptr_t seen = thread.completion.load(std::memory_order_acquire);
  if ((seen & UserThread::kJoinsForGood) != 0) {
    // Nobody but this call changes it any more, and Notify() publishes the
    // rest.
    Notify(*JoinerOf(seen));
    return;
  }
  // All acq_rel. From kRunning straight to kFinished: the joiner may free the
  // block at once.
  while (!thread.completion.compare_exchange_weak(
      seen,
      seen == UserThread::kRunning ? UserThread::kFinished
                                   : UserThread::kCompleting,
      std::memory_order_acq_rel, std::memory_order_acquire)) {
  }
  if (seen == UserThread::kRunning) return;
  if (seen == UserThread::kDetached) {
    Free(thread);
    return;
  }
  // Somebody joins. It frees the block after its Notify(); if it gave up just
  // now, it waits for kFinished instead, until which its Waiter lives.
  if (!Notify(*JoinerOf(seen))) {
    thread.completion.store(UserThread::kFinished, std::memory_order_release);
  }
}

void Engine::AskForPump(CoreId core) {
  workers_[core]->AskForPump();  // E1 of park.h; Notify() has E2.
  parking_.Notify({dispatch::Notify::kCore, core});
}

void Engine::VisitCore(CoreId core) {
  AskForPump(core);
  if (parking_.IsAway(core)) workers_[core]->Visit();
}

void Engine::SetPump(Pump* pump) {
  // seq_cst, as are the stores of a worker's state: a worker that is seen
  // parked below looks at pump_ after it woke, hence after this store.
  pump_.store(pump);
  if (pump != nullptr) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);  // Pairs with RunPump().
  // Every worker that was inside the old pump has passed once its count moves,
  // or it sleeps.
  for (CoreId core = 0; core < cores(); ++core) {
    const uint64_t before = workers_[core]->reschedules();
    Worker* const self = Worker::This();
    if (self == workers_[core].get()) continue;
    for (base::Backoff backoff;
         workers_[core]->reschedules() == before && !parking_.IsParked(core);)
      backoff.GiveWay();
  }
}

RuntimeStats Engine::stats() const {
  RuntimeStats stats;
  for (const auto& worker : workers_) worker->AddStats(stats);
  stats.spawned += foreign_spawned_.load(std::memory_order_relaxed);
  stats.wakes = parking_.wakes();
  stats.held_off = timekeeper_.held_off();
  if (adaptive_ != nullptr) stats.adaptive_slice = adaptive_->current();
  return stats;
}

}  // namespace worker

namespace {

Result<std::vector<int>> ChooseCpus(const RuntimeOptions& options) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
    return MakeError(
        ErrorCode::kInternal,
        std::string("can't read the CPU affinity: ") + std::strerror(errno),
        errno);
  }
  if (!options.cpus.empty()) {
    for (const int cpu : options.cpus) {
      if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed)) {
        return MakeError(
            ErrorCode::kInvalidArgument,
            "cpus: CPU " + std::to_string(cpu) +
                " is not one that this process may use; see `taskset -p $$`");
      }
    }
    return options.cpus;
  }
  std::vector<int> cpus;
  const auto count = static_cast<unsigned>(CPU_COUNT(&allowed));
  const unsigned wanted = options.cores == 0 ? count : options.cores;
  if (wanted > count && options.pin) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "cores = " + std::to_string(wanted) +
                         ", but this process may use " + std::to_string(count) +
                         " CPUs; lower cores or set pin = false");
  }
  for (int cpu = 0; cpu < CPU_SETSIZE && cpus.size() < wanted; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) cpus.push_back(cpu);
  }
  while (cpus.size() < wanted) cpus.push_back(cpus[cpus.size() % count]);
  return cpus;
}

Result<void> CheckLimits(const RuntimeOptions& options) {
  constexpr size_t kLeastStack = 16 * 1024;
  constexpr size_t kMostStack = 64 * 1024 * 1024;
  constexpr size_t kMostThreads = 16 * 1024 * 1024;
  const auto outside = [](const char* key, size_t value, size_t low,
                          size_t high) {
    return MakeError(ErrorCode::kInvalidArgument,
                     std::string(key) + " = " + std::to_string(value) +
                         " is outside " + std::to_string(low) + " .. " +
                         std::to_string(high));
  };
  if (options.stack_bytes < kLeastStack || options.stack_bytes > kMostStack) {
    return outside("stack_bytes", options.stack_bytes, kLeastStack, kMostStack);
  }
  if (options.max_threads < 1 || options.max_threads > kMostThreads) {
    return outside("max_threads", options.max_threads, 1, kMostThreads);
  }
  const size_t cores =
      options.cpus.empty() ? options.cores : options.cpus.size();
  if (cores > 256) return outside("cores", cores, 1, 256);
  if (options.spin < Duration::zero()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "spin = " + std::to_string(options.spin.count()) +
                         " ns is negative; use 0 to park at once");
  }
  if (options.watchdog < Duration::zero()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "watchdog = " + std::to_string(options.watchdog.count()) +
                         " ns is negative; use 0 for none");
  }
  return {};
}

constexpr size_t kPage = 4096;

// Exchanged by Create() and ~Runtime(): one runtime at a time.
std::atomic<Runtime*> g_runtime{nullptr};
std::atomic<bool> g_taken{false};

// Lets another one begin, unless this one came to be.
struct Claim {
  bool kept = false;
  ~Claim() {
    if (!kept) g_taken.store(false);
  }
};

}  // namespace

Result<std::unique_ptr<Runtime>> Runtime::Create(RuntimeOptions options) {
  if (auto checked = CheckLimits(options); !checked)
    return tl::unexpected(checked.error());
  Result<std::unique_ptr<arbiter::Client>> client = worker::Register(options);
  if (!client) return tl::unexpected(client.error());
  Result<std::vector<int>> cpus =
      *client == nullptr ? ChooseCpus(options) : (*client)->link().cpus();
  if (!cpus) return tl::unexpected(cpus.error());
  const auto cores = static_cast<unsigned>(cpus->size());
  if (auto valid = Validate(options.scheduling, cores); !valid) {
    return tl::unexpected(valid.error());
  }
  if (g_taken.exchange(true)) {
    return MakeError(ErrorCode::kUnavailable,
                     "this process has a Runtime already; destroy it first");
  }
  Claim claim;
  const Result<Mechanism> mechanism = preempt::Choose(options.preemption);
  if (!mechanism) return tl::unexpected(mechanism.error());
  const Mechanism asked = std::exchange(options.preemption, *mechanism);
  options.cores = cores;
  options.stack_bytes = (options.stack_bytes + kPage - 1) / kPage * kPage;
  auto impl = std::make_unique<Impl>(std::move(options), std::move(*cpus),
                                     asked, std::move(*client));
  if (auto started = impl->Start(); !started) {
    impl.reset();
    return tl::unexpected(started.error());
  }
  std::unique_ptr<Runtime> runtime(new Runtime(std::move(impl)));
  g_runtime.store(runtime.get(), std::memory_order_release);
  claim.kept = true;
  return runtime;
}

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Runtime::~Runtime() {
  g_runtime.store(nullptr, std::memory_order_release);
  impl_.reset();
  g_taken.store(false);
}

void Runtime::Run(std::function<void()> main) {
  YAMANOTE_CHECK(!this_thread::is_user_thread(),
                 "Runtime::Run() on a user thread");
  Thread thread(ThreadOptions{.name = "main"}, std::move(main));
  thread.join();
}

unsigned Runtime::cores() const { return impl_->cores(); }
Mechanism Runtime::mechanism() const { return impl_->mechanism(); }
RuntimeStats Runtime::stats() const { return impl_->stats(); }
const RuntimeOptions& Runtime::options() const { return impl_->options(); }

// Acquire: pairs with the release store in Create().
Runtime* Runtime::Current() {
  return g_runtime.load(std::memory_order_acquire);
}

}  // namespace yamanote
