// joining.cc - /proc, and who may join.

#include "native/joining.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <string_view>

namespace yamanote::native {

namespace {

// Whose thread `tid` is; 0: there is none such.
pid_t ProcessOf(pid_t tid) {
  std::ifstream status(fmt::format("/proc/{}/status", tid));
  std::string line;
  while (std::getline(status, line)) {
    pid_t process = 0;
    if (std::sscanf(line.c_str(), "Tgid: %d", &process) == 1) return process;
  }
  return 0;
}

// PF_KTHREAD: not part of the interface, but as it is since 2.6.
constexpr uint64_t kKernelThread = 0x00200000;
// Threads that fork while we list them; those that join fork into the enclave.
constexpr int kMostListings = 64;

}  // namespace

bool ReadStat(pid_t process, pid_t tid, ThreadStat& stat) {
  const std::string name = fmt::format("/proc/{}/task/{}/stat", process, tid);
  const int file = open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  std::array<char, 1024> text{};
  const ssize_t length = read(file, text.data(), text.size() - 1);
  close(file);
  if (length <= 0) return false;
  std::string_view rest(text.data(), static_cast<std::size_t>(length));
  const std::size_t name_end = rest.rfind(')');
  if (name_end == std::string_view::npos || name_end + 2 >= rest.size())
    return false;
  rest.remove_prefix(name_end + 2);
  stat.state = rest[0];
  for (int field = 3; field < 22; ++field) {
    const std::size_t space = rest.find(' ');
    if (space == std::string_view::npos) return false;
    rest.remove_prefix(space + 1);
    if (field + 1 == 9)
      std::from_chars(rest.data(), rest.data() + rest.size(), stat.flags);
  }
  return std::from_chars(rest.data(), rest.data() + rest.size(), stat.start)
             .ec == std::errc();
}

std::vector<pid_t> ThreadsOf(pid_t process) {
  std::vector<pid_t> threads;
  DIR* const folder = opendir(fmt::format("/proc/{}/task", process).c_str());
  if (folder == nullptr) return threads;
  while (const dirent* const entry = readdir(folder)) {
    pid_t tid = 0;
    const std::string_view name = entry->d_name;
    if (std::from_chars(name.data(), name.data() + name.size(), tid).ec ==
        std::errc())
      threads.push_back(tid);
  }
  closedir(folder);
  return threads;
}

std::string WhyNotJoin(const ThreadStat& stat, const TracedSettings& settings,
                       const uint64_t (&mask)[kTracedMaskWords]) {
  if ((stat.flags & kKernelThread) != 0) return "it is the kernel's own";
  if (!IsOrdinary(settings)) {
    return fmt::format(
        "it has scheduling class {} of its own, which committing would take "
        "from it",
        settings.policy);
  }
  bool may = false;
  for (int i = 0; i < kTracedMaskWords; ++i)
    may |= (settings.affinity[i] & mask[i]) != 0;
  return may ? "" : "its affinity has none of the enclave's CPUs";
}

Result<Backend::Joined> JoinProcess(pid_t pid, pid_t guardian,
                                    uint32_t max_threads,
                                    const JoinThread& join) {
  // Also by the number of one of its threads.
  const pid_t process = ProcessOf(pid);
  if (process == getpid() || process == guardian) {
    return MakeError(ErrorCode::kInvalidArgument,
                     fmt::format("process {} has the agents; they cannot "
                                 "schedule themselves",
                                 pid));
  }
  Backend::Joined joined;
  std::vector<pid_t> seen;
  // Until a listing has nobody new.
  for (int i = 0; i < kMostListings; ++i) {
    bool fresh = false;
    for (const pid_t tid : ThreadsOf(pid)) {
      if (std::find(seen.begin(), seen.end(), tid) != seen.end()) continue;
      seen.push_back(tid);
      fresh = true;
      std::string reason;
      switch (join(pid, tid, reason)) {
        case Joining::kJoined:
          ++joined.threads;
          break;
        case Joining::kThere:
          break;
        case Joining::kRefused:
          joined.refused.push_back(fmt::format("thread {}: {}", tid, reason));
          break;
        case Joining::kFull:
          return MakeError(
              ErrorCode::kResourceExhausted,
              fmt::format("the enclave is full: it has {} threads, of which {} "
                          "have joined just now; make it with a higher "
                          "--max-threads",
                          max_threads, joined.threads));
      }
    }
    if (!fresh) break;
  }
  if (seen.empty()) {
    return MakeError(ErrorCode::kNotFound,
                     fmt::format("there is no process {}", pid));
  }
  return joined;
}

}  // namespace yamanote::native
