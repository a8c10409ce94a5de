// guardian.cc - watches, and restores.

#include "native/guardian.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <vector>

#include "native/forked.h"
#include "native/settings.h"
#include "native/traced_state.h"

namespace yamanote::native {

using traced::Load;

namespace {

// Commits take microseconds.
constexpr uint64_t kCommitEndsNs = 200'000'000;
constexpr int kMostPasses = 64;

}  // namespace

unsigned RestoreThreads(TracedThread* threads, uint32_t max_threads,
                        TracedStray* strays, uint64_t* restored) {
  unsigned fresh = 0;
  for (uint32_t i = 0; i < max_threads; ++i) {
    TracedThread& thread = threads[i];
    const uint64_t id = Load(thread.thread);
    if (id == 0) continue;
    // The class first: it is what can do harm.
    RestoreClass(thread.tid, thread.settings);
    SetAffinity(thread.tid, thread.settings.affinity);
    if (restored[i] != id) ++fresh;
    restored[i] = id;
  }
  for (uint32_t i = 0; i < kTracedStrays; ++i) {
    TracedStray& stray = strays[i];
    const pid_t tid = __atomic_load_n(&stray.tid, __ATOMIC_ACQUIRE);
    if (tid == 0) continue;
    RestoreClass(tid, stray.settings);
    SetAffinity(tid, stray.settings.affinity);
    __atomic_store_n(&stray.tid, 0, __ATOMIC_RELEASE);
    ++fresh;
  }
  return fresh;
}

// What the forked process does: system calls, and memory that was there before.
struct Guardian::Child {
  Shared& shared;
  Agent* agents;
  TracedThread* threads;
  TracedStray* strays;
  const Options& options;
  int host;   // pidfd
  int asked;  // eventfd
  std::vector<uint64_t>& restored;

  [[noreturn]] void Run(int ready, const std::vector<int>& kept) {
    setsid();
    prctl(PR_SET_NAME, "yamanote-guard");
    for (int signal = 1; signal < 32; ++signal)
      if (signal != SIGKILL && signal != SIGSTOP) ::signal(signal, SIG_IGN);
    CloseOthers(kept);
    const int failed = MakeFifo(0, options.priority);
    const uint64_t answer = 1 + static_cast<uint64_t>(failed);
    const bool told = write(ready, &answer, sizeof answer) == sizeof answer;
    close(ready);
    if (failed != 0 || !told) _exit(1);

    const Duration shortest = std::min(options.watchdog, options.agent_limit);
    const int tick_ms = static_cast<int>(
        std::clamp<int64_t>(ToNanos(shortest) / 4'000'000, 5, 100));
    for (;;) {
      pollfd polls[2] = {{.fd = host, .events = POLLIN, .revents = 0},
                         {.fd = asked, .events = POLLIN, .revents = 0}};
      poll(polls, 2, tick_ms);
      if ((polls[0].revents | polls[1].revents) != 0) break;
      if (FindsFault()) {
        StopAgents();
        break;
      }
      FreeStrays();
      LowerWhoIsElsewhere();
    }
    Restore();
    _exit(0);
  }

  bool FindsFault() {
    const auto limit = static_cast<uint64_t>(ToNanos(options.agent_limit));
    for (CoreId core = 0; core < options.cores; ++core) {
      Agent& agent = agents[core];
      const uint64_t since =
          agent.awake_since_ns.load(std::memory_order_acquire);
      if (since == 0) continue;
      const uint64_t now = MonotonicNanos();
      if (now <= since || now - since <= limit) continue;
      Blame(kAgentStuck, agent.tid.load(std::memory_order_relaxed),
            now - since);
      return true;
    }
    if (options.watchdog == kNoPreemption) return false;
    const auto most = static_cast<uint64_t>(ToNanos(options.watchdog));
    for (uint32_t i = 0; i < options.max_threads; ++i) {
      const TracedThread& thread = threads[i];
      if (Load(thread.thread) == 0) continue;
      const uint64_t since = Load(thread.waits_since_ns);
      if (since == 0) continue;
      const uint64_t now = MonotonicNanos();
      if (now <= since || now - since <= most) continue;
      Blame(kThreadWaited, thread.tid, now - since);
      return true;
    }
    return false;
  }

  void Blame(Reason reason, pid_t about, uint64_t waited_ns) {
    shared.about.store(about, std::memory_order_relaxed);
    shared.waited_ns.store(waited_ns, std::memory_order_relaxed);
    shared.reason.store(reason, std::memory_order_release);
  }

  void StopAgents() {
    // Pairs with BeginCommit(): either it sees this, or we see it committing.
    shared.phase.store(kStopped, std::memory_order_seq_cst);
    const TracedSettings plain{};
    for (CoreId core = 0; core < options.cores; ++core) {
      const pid_t tid = agents[core].tid.load(std::memory_order_acquire);
      if (tid != 0 && !IsReadable(host, 0)) RestoreClass(tid, plain);
    }
    const uint64_t end = MonotonicNanos() + kCommitEndsNs;
    while (Committing() && MonotonicNanos() < end) IsReadable(host, 1);
  }

  bool Committing() const {
    return shared.committing.load(std::memory_order_seq_cst) != 0 &&
           !IsReadable(host, 0);
  }

  // Children of who was not restored yet may come while others are.
  void Restore() {
    for (int i = 0; i < kMostPasses; ++i) {
      if (RestoreThreads(threads, options.max_threads, strays,
                         restored.data()) == 0)
        break;
    }
    // An agent that hangs in the middle of a commit may yet go on.
    while (shared.phase.load(std::memory_order_relaxed) == kStopped &&
           Committing()) {
      IsReadable(host, 10);
      RestoreThreads(threads, options.max_threads, strays, restored.data());
    }
  }

  // A thread may change its own affinity, also while it has the agents' priority. On others'
  // CPUs it has none of it.
  void LowerWhoIsElsewhere() {
    for (uint32_t i = 0; i < options.max_threads; ++i) {
      const TracedThread& thread = threads[i];
      if (Load(thread.thread) == 0) continue;
      const uint32_t cpu = __atomic_load_n(&thread.cpu, __ATOMIC_RELAXED);
      if (cpu >= kTracedCpus ||
          std::find(options.cpus.begin(), options.cpus.end(), cpu) !=
              options.cpus.end())
        continue;
      RestoreClass(thread.tid, thread.settings);
    }
  }

  void FreeStrays() {
    for (uint32_t i = 0; i < kTracedStrays; ++i) {
      if (__atomic_load_n(&strays[i].tid, __ATOMIC_RELAXED) == 0) continue;
      RestoreThreads(threads, 0, strays, restored.data());
      return;
    }
  }
};

Result<std::unique_ptr<Guardian>> Guardian::Start(const TracingObject& object,
                                                  const Options& options) {
  std::unique_ptr<Guardian> guardian(new Guardian);
  const std::size_t agents_at = (sizeof(Shared) + 63) / 64 * 64;
  guardian->bytes_ = agents_at + options.cores * sizeof(Agent);
  void* const memory = mmap(nullptr, guardian->bytes_, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const int host = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
  guardian->asked_ = eventfd(0, EFD_CLOEXEC);
  const int ready = eventfd(0, EFD_CLOEXEC);
  if (memory == MAP_FAILED || host < 0 || guardian->asked_ < 0 || ready < 0) {
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("no memory or no descriptors for the guardian:"
                                 " {}",
                                 std::strerror(errno)),
                     errno);
  }
  guardian->shared_ = new (memory) Shared;
  guardian->agents_ =
      reinterpret_cast<Agent*>(static_cast<char*>(memory) + agents_at);
  for (CoreId core = 0; core < options.cores; ++core)
    new (&guardian->agents_[core]) Agent;

  std::vector<uint64_t> restored(options.max_threads);
  std::vector<int> kept = object.LinkDescriptors();
  for (const int descriptor : {host, guardian->asked_, ready})
    kept.push_back(descriptor);
  std::sort(kept.begin(), kept.end());
  Child child{.shared = *guardian->shared_,
              .agents = guardian->agents_,
              .threads = object.threads(),
              .strays = object.strays(),
              .options = options,
              .host = host,
              .asked = guardian->asked_,
              .restored = restored};
  const pid_t pid = fork();
  if (pid == 0) child.Run(ready, kept);
  const int fork_failed = errno;
  close(host);
  uint64_t answer = 0;
  if (pid > 0) {
    guardian->pid_ = pid;
    guardian->descriptor_ = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
    if (IsReadable(ready, kGuardianAnswerMs)) [[maybe_unused]]
      const auto got = read(ready, &answer, sizeof answer);
  }
  close(ready);
  if (pid < 0 || guardian->descriptor_ < 0) {
    return MakeError(ErrorCode::kResourceExhausted,
                     fmt::format("the guardian's process cannot be had: {}",
                                 std::strerror(fork_failed)),
                     fork_failed);
  }
  if (answer > 1) {
    const int failed = static_cast<int>(answer - 1);
    return MakeError(
        ErrorCode::kPermissionDenied,
        fmt::format("the guardian got no real-time priority {}: {}; this "
                    "process needs CAP_SYS_NICE, and where the kernel groups "
                    "real-time threads its group needs cpu.rt_runtime_us",
                    options.priority, std::strerror(failed)),
        failed);
  }
  if (answer == 0) {
    return MakeError(ErrorCode::kInternal,
                     "the guardian's process does not answer");
  }
  return guardian;
}

void Guardian::Stop() {
  if (pid_ > 0) {
    uint32_t watching = kWatching;
    shared_->phase.compare_exchange_strong(watching, kAsked);
    const uint64_t one = 1;
    if (asked_ >= 0) [[maybe_unused]]
      const auto told = write(asked_, &one, sizeof one);
    // It would wait for a commit that hangs; whoever calls this commits no more.
    if (!IsReadable(descriptor_, kGuardianAnswerMs)) kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
  }
  for (int* const descriptor : {&descriptor_, &asked_}) {
    if (*descriptor >= 0) close(*descriptor);
    *descriptor = -1;
  }
  if (shared_ != nullptr) munmap(shared_, bytes_);
  shared_ = nullptr;
}

std::string Guardian::Ended() const {
  if (shared_ == nullptr) return "it was asked to";
  const int32_t about = shared_->about.load(std::memory_order_relaxed);
  const double seconds =
      static_cast<double>(shared_->waited_ns.load(std::memory_order_relaxed)) /
      1e9;
  switch (shared_->reason.load(std::memory_order_acquire)) {
    case kThreadWaited:
      return fmt::format(
          "thread {} could run and was on no CPU for {:.3f} s; all threads are "
          "back with the kernel's scheduler. A policy that lets threads wait "
          "that long needs a longer watchdog",
          about, seconds);
    case kAgentStuck:
      return fmt::format(
          "agent thread {} has not slept or begun a pass for {:.3f} s; all "
          "threads are back with the kernel's scheduler",
          about, seconds);
    default:
      break;
  }
  if (descriptor_ >= 0 && IsReadable(descriptor_, 0))
    return "the guardian's process has ended";
  return "";
}

bool Guardian::BeginCommit() {
  // Pairs with StopAgents(): seq_cst.
  shared_->committing.fetch_add(1, std::memory_order_seq_cst);
  if (shared_->phase.load(std::memory_order_seq_cst) == kWatching) return true;
  EndCommit();
  return false;
}

void Guardian::EndCommit() {
  shared_->committing.fetch_sub(1, std::memory_order_seq_cst);
}

void Guardian::Enter(CoreId core) {
  agent(core).tid.store(static_cast<int32_t>(gettid()),
                        std::memory_order_release);
}

void Guardian::Leave(CoreId core) {
  agent(core).awake_since_ns.store(0, std::memory_order_release);
  agent(core).tid.store(0, std::memory_order_release);
}

void Guardian::Awake(CoreId core) {
  agent(core).awake_since_ns.store(MonotonicNanos(), std::memory_order_release);
}

void Guardian::Asleep(CoreId core) {
  agent(core).awake_since_ns.store(0, std::memory_order_release);
}

}  // namespace yamanote::native
