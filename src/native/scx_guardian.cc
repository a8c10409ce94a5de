// scx_guardian.cc - looks through /proc for who is to be restored.

#include "native/scx_guardian.h"

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
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>

#include "native/forked.h"

namespace yamanote::native {

namespace {

// How often it looks whether the scheduler is gone.
constexpr int kTickMs = 20;
// Threads fork while others are restored; what a restored one forks is ordinary.
constexpr int kMostPasses = 64;
// What getdents64() writes; no header of glibc has it.
struct Entry {
  uint64_t inode;
  int64_t next;
  uint16_t size;
  uint8_t type;
  char name[1];
};

// 0: it is no number.
pid_t NumberOf(const char* name) {
  pid_t number = 0;
  for (; *name >= '0' && *name <= '9'; ++name) {
    if (number > (INT32_MAX - 9) / 10) return 0;
    number = number * 10 + (*name - '0');
  }
  return *name == '\0' ? number : 0;
}

// Calls `visit` for the entries of a folder that are numbers. No allocation.
template <typename Visit>
void ForEachNumber(const char* folder, Visit visit) {
  const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  alignas(Entry) char buffer[4096];
  for (;;) {
    const long length =
        syscall(SYS_getdents64, descriptor, buffer, sizeof buffer);
    if (length <= 0) break;
    for (long at = 0; at < length;) {
      const auto* const entry = reinterpret_cast<const Entry*>(buffer + at);
      at += entry->size;
      if (const pid_t number = NumberOf(entry->name); number > 0) visit(number);
    }
  }
  close(descriptor);
}

// Calls `visit` with process and thread for all that there are.
template <typename Visit>
void ForEachThread(Visit visit) {
  ForEachNumber("/proc", [&](pid_t process) {
    char folder[32];
    std::snprintf(folder, sizeof folder, "/proc/%d/task", process);
    ForEachNumber(folder, [&](pid_t tid) { visit(process, tid); });
  });
}

bool IsExt(pid_t tid) {
  const int policy = sched_getscheduler(tid);
  return policy >= 0 && (static_cast<uint32_t>(policy) &
                         ~uint32_t{SCHED_RESET_ON_FORK}) == kSchedExt;
}

bool SameMask(const uint64_t (&a)[kTracedMaskWords],
              const uint64_t (&b)[kTracedMaskWords]) {
  return std::memcmp(a, b, sizeof a) == 0;
}

}  // namespace

struct ScxGuardian::Had {
  pid_t process;
  pid_t tid;
  TracedSettings settings;
  uint64_t given[kTracedMaskWords];
};

// In memory that both processes map.
struct ScxGuardian::Shared {
  // Of `had`. Release: pairs with Restore()'s acquire; what is in them is there then.
  std::atomic<uint32_t> used{0};
  uint32_t room = 0;

  Had* had() { return reinterpret_cast<Had*>(this + 1); }

  const Had* Find(pid_t process, pid_t tid,
                  const uint64_t (&mask)[kTracedMaskWords]) {
    const uint32_t count = used.load(std::memory_order_acquire);
    const Had* best = nullptr;
    for (uint32_t i = 0; i < count; ++i) {
      const Had& one = had()[i];
      if (one.tid == tid && one.process == process) return &one;
      if (!SameMask(one.given, mask)) continue;
      if (best == nullptr ||
          (one.process == process && best->process != process))
        best = &one;
    }
    return best;
  }

  // Returns how many it restored.
  unsigned RestoreOnce(const std::vector<pid_t>& before) {
    unsigned restored = 0;
    ForEachThread([&](pid_t process, pid_t tid) {
      if (!IsExt(tid) ||
          std::find(before.begin(), before.end(), tid) != before.end())
        return;
      TracedSettings now{};
      // Nice value, slice and flag stay as the thread has them now.
      if (ReadSettings(tid, 0, now) != 0) return;
      const Had* const had = Find(process, tid, now.affinity);
      now.policy = had != nullptr ? had->settings.policy : SCHED_OTHER;
      // A slice that it has not asked for itself is the kernel's.
      now.runtime = had != nullptr ? had->settings.runtime : 0;
      if (had != nullptr && SameMask(now.affinity, had->given))
        SetAffinity(tid, had->settings.affinity);
      if (RestoreClass(tid, now) == 0) ++restored;
    });
    return restored;
  }

  void Restore(const std::vector<pid_t>& before) {
    for (int i = 0; i < kMostPasses; ++i)
      if (RestoreOnce(before) == 0) break;
    // Who has taken another class itself.
    const uint32_t count = used.load(std::memory_order_acquire);
    for (uint32_t i = 0; i < count; ++i) {
      const Had& one = had()[i];
      char task[64];
      std::snprintf(task, sizeof task, "/proc/%d/task/%d", one.process,
                    one.tid);
      uint64_t mask[kTracedMaskWords];
      if (access(task, F_OK) == 0 && ReadAffinity(one.tid, mask) == 0 &&
          SameMask(mask, one.given))
        SetAffinity(one.tid, one.settings.affinity);
    }
  }
};

// What the forked process does: system calls, and memory that was there before.
struct ScxGuardian::Child {
  Shared& shared;
  const ScxKernel& kernel;
  const std::vector<pid_t>& before;
  int host;   // pidfd
  int asked;  // eventfd

  [[noreturn]] void Run(int ready, const std::vector<int>& kept) {
    setsid();
    prctl(PR_SET_NAME, "yamanote-guard");
    for (int signal = 1; signal < 32; ++signal)
      if (signal != SIGKILL && signal != SIGSTOP) ::signal(signal, SIG_IGN);
    CloseOthers(kept);
    const uint64_t answer = 1;
    const bool told = write(ready, &answer, sizeof answer) == sizeof answer;
    close(ready);
    if (!told) _exit(1);
    for (;;) {
      pollfd polls[2] = {{.fd = host, .events = POLLIN, .revents = 0},
                         {.fd = asked, .events = POLLIN, .revents = 0}};
      poll(polls, 2, kTickMs);
      if ((polls[0].revents | polls[1].revents) != 0 || kernel.over()) break;
    }
    shared.Restore(before);
    _exit(0);
  }
};

Result<std::unique_ptr<ScxGuardian>> ScxGuardian::Start(const ScxKernel& kernel,
                                                        uint32_t max_threads,
                                                        std::vector<int> kept) {
  std::unique_ptr<ScxGuardian> guardian(new ScxGuardian);
  static_assert(sizeof(Shared) % alignof(Had) == 0);
  guardian->bytes_ = sizeof(Shared) + std::size_t{max_threads} * sizeof(Had);
  void* const memory = mmap(nullptr, guardian->bytes_, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
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
  guardian->shared_->room = max_threads;
  ForEachThread([&](pid_t /*process*/, pid_t tid) {
    if (IsExt(tid)) guardian->before_.push_back(tid);
  });
  for (const int descriptor : {host, guardian->asked_, ready})
    kept.push_back(descriptor);
  std::sort(kept.begin(), kept.end());
  Child child{.shared = *guardian->shared_,
              .kernel = kernel,
              .before = guardian->before_,
              .host = host,
              .asked = guardian->asked_};
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
  if (answer == 0) {
    return MakeError(ErrorCode::kInternal,
                     "the guardian's process does not answer");
  }
  return guardian;
}

bool ScxGuardian::Note(pid_t process, pid_t tid, const TracedSettings& had,
                       const uint64_t (&given)[kTracedMaskWords]) {
  Had* const all = shared_->had();
  const uint32_t used = shared_->used.load(std::memory_order_relaxed);
  uint32_t at = 0;
  // It may have left and join again; or one that has ended makes room.
  while (at < used && all[at].tid != tid) ++at;
  if (at == used && used == shared_->room) {
    for (at = 0; at < used; ++at)
      if (!IsExt(all[at].tid)) break;
    if (at == used) return false;
  }
  all[at].process = process;
  all[at].tid = tid;
  all[at].settings = had;
  std::memcpy(all[at].given, given, sizeof all[at].given);
  // Pairs with Find().
  if (at == used) shared_->used.store(used + 1, std::memory_order_release);
  return true;
}

bool ScxGuardian::alive() const {
  return descriptor_ >= 0 && !IsReadable(descriptor_, 0);
}

void ScxGuardian::Stop() {
  if (pid_ > 0) {
    const uint64_t one = 1;
    if (asked_ >= 0) [[maybe_unused]]
      const auto told = write(asked_, &one, sizeof one);
    if (descriptor_ >= 0 && !IsReadable(descriptor_, kGuardianAnswerMs))
      kill(pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    // Unless somebody has ended it.
    shared_->Restore(before_);
  }
  for (int* const descriptor : {&descriptor_, &asked_}) {
    if (*descriptor >= 0) close(*descriptor);
    *descriptor = -1;
  }
  if (shared_ != nullptr) munmap(shared_, bytes_);
  shared_ = nullptr;
}

}  // namespace yamanote::native
