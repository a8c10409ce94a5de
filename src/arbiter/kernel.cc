// kernel.cc - Linux: pidfds, /proc, futexes, classes and affinities.

#include "arbiter/kernel.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <ctime>
#include <string>
#include <utility>

#include "arbiter/abi.h"

namespace yamanote::arbiter {

// ---- Process ----------------------------------------------------------------

Result<Process> Process::Open(pid_t pid, uid_t uid) {
  Process process;
  process.pid = pid;
  process.uid = uid;
  const std::string name = "process " + std::to_string(pid);
  if (pid <= 0) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "the process is not visible from here, as in a container "
                     "with process numbers of its own; let it share the host's",
                     ESRCH);
  }
  process.descriptor = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process.descriptor < 0) {
    return MakeError(ErrorCode::kUnavailable,
                     name + " cannot be held: pidfd_open failed", errno);
  }
  const std::string folder = "/proc/" + std::to_string(pid);
  process.folder =
      open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  struct stat status{};
  const bool there = process.folder >= 0 && fstat(process.folder, &status) == 0;
  // After the folder: were the number another's by now, the first one is dead. EPERM: it
  // lives, and is somebody else's.
  const bool alive =
      syscall(SYS_pidfd_send_signal, process.descriptor, 0, nullptr, 0) == 0 ||
      errno == EPERM;
  if (!there || !alive)
    return MakeError(ErrorCode::kUnavailable, name + " has ended", ESRCH);
  // A program that is not dumpable is root's here; that we may not meddle with it is
  // found out call by call.
  if (status.st_uid != uid && status.st_uid != 0) {
    return MakeError(ErrorCode::kPermissionDenied,
                     name +
                         " belongs to another user than the one that "
                         "connected; connect from the process itself",
                     EPERM);
  }
  return process;
}

Process& Process::operator=(Process&& other) noexcept {
  std::swap(pid, other.pid);
  std::swap(uid, other.uid);
  std::swap(descriptor, other.descriptor);
  std::swap(folder, other.folder);
  return *this;
}

Process::~Process() {
  if (descriptor >= 0) close(descriptor);
  if (folder >= 0) close(folder);
}

// ---- Linux ------------------------------------------------------------------

Duration Linux::Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::chrono::seconds(now.tv_sec) + Duration(now.tv_nsec);
}

void Linux::Wake(const std::atomic<uint32_t>& word) {
  syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

bool Linux::Has(const Process& process, int tid) {
  if (process.folder < 0 || tid <= 0) return false;
  char path[32];
  std::snprintf(path, sizeof path, "task/%d", tid);
  return faccessat(process.folder, path, F_OK, 0) == 0;
}

bool Linux::Signal(const Process& process, int tid) {
  // tgkill() looks whether the thread is that process's, Has() whether that still is
  // the same one.
  return Has(process, tid) &&
         syscall(SYS_tgkill, process.pid, tid, kLateSignal) == 0;
}

bool Linux::SetClass(const Process& process, int tid, ThreadClass which) {
  if (!Has(process, tid)) return false;
  const sched_param parameters{};
  return sched_setscheduler(
             tid, which == ThreadClass::kBeneath ? SCHED_IDLE : SCHED_OTHER,
             &parameters) == 0;
}

bool Linux::SetCpus(const Process& process, int tid,
                    std::span<const int> cpus) {
  if (!Has(process, tid)) return false;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) {
    if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(cpu, &set);
  }
  return sched_setaffinity(tid, sizeof set, &set) == 0;
}

bool Linux::Restores() {
  // A thread's own limit counts; that of ours is what users of this machine have.
  rlimit nice{};
  if (getrlimit(RLIMIT_NICE, &nice) == 0 && nice.rlim_cur >= 20) return true;
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3,
                                  .pid = 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  return syscall(SYS_capget, &header, data) == 0 &&
         (data[0].effective & (1U << CAP_SYS_NICE)) != 0;
}

}  // namespace yamanote::arbiter
