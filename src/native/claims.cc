// claims.cc - names of abstract sockets.

#include "native/claims.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

namespace yamanote::native {

namespace {

constexpr const char* kScxName = "yamanote-native-scx";

bool IsOnline(unsigned cpu) {
  const std::string folder = fmt::format("/sys/devices/system/cpu/cpu{}", cpu);
  if (access(folder.c_str(), F_OK) != 0) return false;
  // One that cannot be switched off has no such file.
  const int file = open((folder + "/online").c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return true;
  char text = '1';
  const bool got = read(file, &text, 1) == 1;
  close(file);
  return !got || text == '1';
}

// Abstract: it begins with 0, and is in no file system.
struct Name {
  explicit Name(const std::string& text) {
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, text.data(), text.size());
    length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 +
                                    text.size());
  }
  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&address);
  }
  sockaddr_un address{};
  socklen_t length = 0;
};

// A descriptor, or -1 and errno.
int Bind(const std::string& text, int type) {
  const Name name(text);
  const int claim = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  if (claim < 0) return -1;
  if (bind(claim, name.get(), name.length) == 0) return claim;
  const int failed = errno;
  close(claim);
  errno = failed;
  return -1;
}

}  // namespace

Result<void> CheckCpus(const std::vector<unsigned>& cpus, unsigned limit) {
  if (cpus.empty()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "the enclave has no CPUs; give it one at least");
  }
  for (std::size_t i = 0; i < cpus.size(); ++i) {
    const unsigned cpu = cpus[i];
    if (cpu >= limit || !IsOnline(cpu)) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("the enclave has CPU {}, which is not "
                                   "online or not below {}",
                                   cpu, limit));
    }
    if (std::find(cpus.begin(), cpus.begin() + i, cpu) != cpus.begin() + i) {
      return MakeError(ErrorCode::kInvalidArgument,
                       fmt::format("the enclave has CPU {} twice", cpu));
    }
  }
  return {};
}

Result<int> ClaimCpu(unsigned cpu) {
  const int claim =
      Bind(fmt::format("yamanote-native-cpu-{}", cpu), SOCK_DGRAM);
  if (claim >= 0) return claim;
  const int failed = errno;
  if (failed == EADDRINUSE) {
    return MakeError(ErrorCode::kUnavailable,
                     fmt::format("CPU {} belongs to another enclave; choose "
                                 "another CPU, or wait until that has ended",
                                 cpu),
                     failed);
  }
  return MakeError(
      ErrorCode::kResourceExhausted,
      fmt::format("CPU {} cannot be claimed: {}", cpu, std::strerror(failed)),
      failed);
}

// It listens, so whoever connects is told by the kernel whose it is.
Result<int> ClaimScx() {
  const int claim = Bind(kScxName, SOCK_STREAM);
  if (claim >= 0 && listen(claim, 8) == 0) return claim;
  const int failed = errno;
  if (claim >= 0) close(claim);
  if (failed == EADDRINUSE) {
    return MakeError(
        ErrorCode::kUnavailable,
        fmt::format("process {} has the machine's one sched_ext scheduler; "
                    "`yamanote native list` shows its enclave, `yamanote "
                    "native destroy` ends it",
                    ScxHolder()),
        failed);
  }
  return MakeError(ErrorCode::kResourceExhausted,
                   fmt::format("the sched_ext scheduler cannot be claimed: {}",
                               std::strerror(failed)),
                   failed);
}

pid_t ScxHolder() {
  const Name name(kScxName);
  const int asks =
      socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (asks < 0) return 0;
  ucred holder{};
  socklen_t size = sizeof holder;
  if (connect(asks, name.get(), name.length) != 0 ||
      getsockopt(asks, SOL_SOCKET, SO_PEERCRED, &holder, &size) != 0)
    holder.pid = 0;
  close(asks);
  return holder.pid;
}

}  // namespace yamanote::native
