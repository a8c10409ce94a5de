// tracing.cc - a traced enclave: how it begins and ends, who joins and who leaves.

#include "native/tracing.h"

#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <string>

#include "native/claims.h"
#include "native/joining.h"
#include "native/settings.h"
#include "native/traced_state.h"
#include "native/tracing_enclave.h"

namespace yamanote::native {

using traced::Load;
using traced::SequenceOf;

namespace {

constexpr uint32_t kMostTracedThreads = 65536;
constexpr unsigned kMostPriority = 97;
// Threads that fork while we list them; those that join fork into the enclave.
constexpr int kMostRounds = 64;
Result<void> CheckOptions(const TracingKernel::Options& options) {
  if (Result<void> valid = CheckCpus(options.cpus, kTracedCpus); !valid)
    return valid;
  if (options.max_threads < 1 || options.max_threads > kMostTracedThreads) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("max_threads is {}; it must be 1 .. {}",
                                 options.max_threads, kMostTracedThreads));
  }
  if (options.priority < 1 || options.priority > kMostPriority) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("priority is {}; it must be 1 .. {}: agents "
                                 "and the guardian are above it",
                                 options.priority, kMostPriority));
  }
  if (options.watchdog <= Duration::zero() ||
      options.agent_limit <= Duration::zero()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "watchdog and agent_limit must be more than nothing");
  }
  return {};
}

}  // namespace

TracingEnclave::TracingEnclave(const Options& options)
    : options_(options),
      own_(std::make_unique<Own[]>(options.max_threads)),
      cores_(options.cpus.size()),
      queues_(options.cpus.size() + 2) {
  for (const unsigned cpu : options.cpus) MaskAdd(enclave_mask_, cpu);
}

Result<std::unique_ptr<TracingKernel>> TracingKernel::Create(
    const Options& options) {
  if (auto valid = CheckOptions(options); !valid)
    return tl::unexpected(valid.error());
  auto kernel = std::make_unique<TracingEnclave>(options);
  if (auto started = kernel->Start(); !started)
    return tl::unexpected(started.error());
  return kernel;
}

Result<void> TracingEnclave::Start() {
  for (CoreId core = 0; core < cores(); ++core) {
    const Result<int> claim = ClaimCpu(options_.cpus[core]);
    if (!claim) return tl::unexpected(claim.error());
    cores_[core].claim = *claim;
  }
  TracedSettings own{};
  // That of most programs; another of ours would be taken for the default, no worse.
  if (ReadSettings(0, 0, own) == 0) default_runtime_ = own.runtime;
  auto object =
      TracingObject::Load({.max_threads = options_.max_threads,
                           .max_queues = static_cast<uint32_t>(queues_.size()),
                           .cpus = options_.cpus});
  if (!object) return tl::unexpected(object.error());
  object_ = *std::move(object);
  auto guardian =
      Guardian::Start(*object_, {.max_threads = options_.max_threads,
                                 .cores = cores(),
                                 .priority = options_.priority + 2,
                                 .watchdog = options_.watchdog,
                                 .agent_limit = options_.agent_limit,
                                 .cpus = options_.cpus});
  if (!guardian) return tl::unexpected(guardian.error());
  guardian_ = *std::move(guardian);
  for (Core& core : cores_) {
    core.epoll = epoll_create1(EPOLL_CLOEXEC);
    core.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    epoll_event once{};
    once.events = EPOLLIN | EPOLLET;
    epoll_event always{};
    always.events = EPOLLIN;
    if (core.epoll < 0 || core.wake < 0 ||
        epoll_ctl(core.epoll, EPOLL_CTL_ADD, core.wake, &once) != 0 ||
        epoll_ctl(core.epoll, EPOLL_CTL_ADD, guardian_->descriptor(),
                  &always) != 0) {
      return MakeError(ErrorCode::kResourceExhausted,
                       fmt::format("no descriptors for the agents: {}",
                                   std::strerror(errno)),
                       errno);
    }
  }
  return {};
}

TracingEnclave::~TracingEnclave() {
  if (guardian_ != nullptr) {
    Detach();
    guardian_->Stop();  // Restores them all.
    // Unless somebody has ended it.
    std::vector<uint64_t> restored(options_.max_threads);
    for (int i = 0; i < kMostRounds; ++i) {
      if (RestoreThreads(object_->threads(), options_.max_threads,
                         object_->strays(), restored.data()) == 0)
        break;
    }
  }
  for (const Core& core : cores_) {
    if (core.epoll >= 0) close(core.epoll);
    if (core.wake >= 0) close(core.wake);
    if (core.claim >= 0) close(core.claim);
  }
}

// ---- Who joins --------------------------------------------------------------

Result<Backend::Joined> TracingEnclave::Add(pid_t pid) {
  return JoinProcess(pid, guardian_->pid(), options_.max_threads,
                     [this](pid_t process, pid_t tid, std::string& reason) {
                       return AddThread(process, tid, reason);
                     });
}

std::string TracingEnclave::WhyNot(pid_t tid, const ThreadStat& stat,
                                   const TracedSettings& settings) const {
  if (std::string why = WhyNotJoin(stat, settings, enclave_mask_); !why.empty())
    return why;
  rlimit limit{};
  if (prlimit(tid, RLIMIT_RTTIME, nullptr, &limit) == 0 &&
      limit.rlim_cur != RLIM_INFINITY) {
    return "its RLIMIT_RTTIME would end it while it has a real-time priority; "
           "lift that";
  }
  return "";
}

// Whether it has begun to end, or has ended: then the kernel has no news of it any more.
bool Ends(const ThreadStat& stat) {
  constexpr uint64_t kExiting = 0x4;  // PF_EXITING
  return stat.state == 'Z' || stat.state == 'X' || (stat.flags & kExiting) != 0;
}

// The order matters: what it had is where the guardian finds it before the first change;
// the programs know it before its state is taken for true.
Joining TracingEnclave::AddThread(pid_t process, pid_t tid,
                                  std::string& reason) {
  const std::lock_guard guard(mutex_);
  uint32_t index = 0;
  // A thread of the enclave has forked it; the programs announce it.
  if (object_->FindIndex(tid, index)) return Joining::kThere;
  ThreadStat before{};
  TracedSettings settings{};
  if (!ReadStat(process, tid, before)) return Joining::kThere;  // It has ended.
  if (const int failed = ReadSettings(tid, default_runtime_, settings);
      failed != 0) {
    reason = std::strerror(failed);
    return failed == ESRCH ? Joining::kThere : Joining::kRefused;
  }
  reason = WhyNot(tid, before, settings);
  if (!reason.empty()) return Joining::kRefused;
  if (!object_->TakeIndex(index)) return Joining::kFull;

  TracedThread& thread = object_->thread(index);
  const uint64_t first = (Load(thread.state) & ~uint64_t{0xffffffff}) |
                         (object_->common()->new_queue & traced::kQueueMask);
  traced::Store(thread.state, first);
  thread.generation += 1;
  if (thread.generation == 0) thread.generation = 1;
  thread.tid = tid;
  thread.parent = 0;
  thread.cpu = kTracedCpus;
  thread.weight = 1;
  thread.ran_ns = 0;
  thread.on_since_ns = 0;
  thread.waits_since_ns = 0;
  thread.settings = settings;
  const ThreadId id = uint64_t{thread.generation} << 32 | index;
  OwnOf(id);
  traced::Store(thread.thread, id);
  if (!object_->Watch(tid, index)) {
    traced::Store(thread.thread, 0);
    object_->GiveIndex(index);
    return Joining::kThere;
  }
  reason = Tame(tid, settings);
  own_[index].spread = reason.empty();
  ThreadStat after{};
  // One that ends has passed where the programs would see it: its number may be another's
  // any moment, and nobody would tell.
  const bool same = ReadStat(process, tid, after) &&
                    after.start == before.start && !Ends(after);
  if (!same || !reason.empty()) {
    // Whoever takes it out of the map frees it.
    if (object_->Unwatch(tid)) {
      if (same) {
        RestoreClass(tid, settings);
        SetAffinity(tid, settings.affinity);
      }
      traced::Store(thread.thread, 0);
      object_->GiveIndex(index);
    }
    return same ? Joining::kRefused : Joining::kThere;
  }
  // /proc says whether it can run; if the programs have seen something since, they know
  // better. One that changes the state in the very instructions between ours would be
  // undone, and put right by the next event.
  const bool runnable = after.state == 'R';
  Tell(thread, index, kThreadCreated, [&](uint64_t state) {
    if ((state & traced::kAnnounced) != 0) return state;
    const bool seen = SequenceOf(state) != SequenceOf(first);
    return (state | traced::kAnnounced |
            (runnable && !seen ? traced::kRunnable : 0)) +
           traced::kOneMessage;
  });
  return Joining::kJoined;
}

// Sends it to the enclave's CPUs, and tries whether it can be committed at all. Returns
// why not.
std::string TracingEnclave::Tame(pid_t tid, const TracedSettings& settings) {
  uint64_t mask[kTracedMaskWords];
  for (int i = 0; i < kTracedMaskWords; ++i)
    mask[i] = settings.affinity[i] & enclave_mask_[i];
  int failed = SetAffinity(tid, mask);
  if (failed == 0) failed = MakeFifo(tid, options_.priority);
  if (failed == 0) failed = RestoreClass(tid, settings);
  if (failed == 0) return "";
  if (failed == EPERM) {
    return "the kernel gives it no real-time priority; where it groups "
           "real-time threads, its group needs cpu.rt_runtime_us";
  }
  return std::strerror(failed);
}

// ---- Who leaves -------------------------------------------------------------

unsigned TracingEnclave::Remove(pid_t pid) {
  unsigned left = 0;
  for (int i = 0; i < kMostRounds; ++i) {
    unsigned fresh = 0;
    for (const pid_t tid : ThreadsOf(pid)) {
      const std::lock_guard guard(mutex_);
      uint32_t index = 0;
      if (!object_->FindIndex(tid, index) || !object_->Unwatch(tid)) continue;
      ++fresh;
      TracedThread& thread = object_->thread(index);
      Depart(thread, index);
    }
    if (fresh == 0) break;
    left += fresh;
  }
  return left;
}

// Requires: mutex_; the programs look at it no more.
void TracingEnclave::Depart(TracedThread& thread, uint32_t index) {
  RestoreClass(thread.tid, thread.settings);
  SetAffinity(thread.tid, thread.settings.affinity);
  Tell(thread, index, kThreadDeparted, [](uint64_t state) {
    return (state & ~(traced::kRunnable | traced::kAnnounced)) +
           traced::kOneMessage;
  });
  own_[index].thread = 0;
  traced::Store(thread.thread, 0);
  object_->GiveIndex(index);
}

uint32_t TracingEnclave::threads() const {
  uint32_t count = 0;
  for (uint32_t i = 0; i < options_.max_threads; ++i)
    if (Load(object_->threads()[i].thread) != 0) ++count;
  return count;
}

Backend::Counts TracingEnclave::counts() const {
  Counts counts;
  counts.messages = received_.load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < queues_.size(); ++i)
    counts.lost_messages += Load(object_->queues()[i].lost);
  for (int i = 0; i < kCommitResults; ++i)
    counts.results[i] = results_[i].load(std::memory_order_relaxed);
  return counts;
}

// ---- Agents -----------------------------------------------------------------

// Also takes what is told once.
void TracingEnclave::Wait(CoreId core, Duration most) {
  const int64_t nanos = ToNanos(most);
  const timespec timeout{.tv_sec = nanos / 1'000'000'000,
                         .tv_nsec = nanos % 1'000'000'000};
  const int descriptor = cores_[core].epoll;
  epoll_event events[16];
  if (epoll_pwait2(descriptor, events, 16, &timeout, nullptr) >= 0 ||
      errno != ENOSYS)
    return;
  // Linux before 5.11.
  pollfd poll_for{.fd = descriptor, .events = POLLIN, .revents = 0};
  if (ppoll(&poll_for, 1, &timeout, nullptr) > 0)
    epoll_wait(descriptor, events, 16, 0);
}

Result<void> TracingEnclave::EnterAgent(CoreId agent) {
  int failed = PinTo(0, options_.cpus[agent]);
  if (failed == 0) failed = MakeFifo(0, options_.priority + 1);
  if (failed != 0) {
    return MakeError(
        ErrorCode::kPermissionDenied,
        fmt::format("core {}'s agent cannot run on CPU {} with real-time "
                    "priority {}: {}; it needs CAP_SYS_NICE and that CPU in "
                    "its cpuset",
                    agent, options_.cpus[agent], options_.priority + 1,
                    std::strerror(failed)),
        failed);
  }
  guardian_->Enter(agent);
  return {};
}

void TracingEnclave::MoveAgent(CoreId /*from*/, CoreId to) {
  PinTo(0, options_.cpus[to]);
}

}  // namespace yamanote::native
