// features.cc - kernel features, each probed by using it.

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/io_uring.h>
#include <linux/membarrier.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tools/doctor/facts.h"

namespace yamanote::tools {
namespace {

std::string FirstLine(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

bool HasLightGuards() {
  // Linux 6.13; not in Debian 12's headers.
  constexpr int kMadvGuardInstall = 102;
  const size_t bytes = 64 * 1024;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  const bool works = madvise(memory, bytes / 2, kMadvGuardInstall) == 0;
  munmap(memory, bytes);
  return works;
}

bool HasMembarrier(int command) {
  const long supported = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  return supported > 0 && (supported & command) != 0;
}

bool UdpOption(int option, int value) {
  const Descriptor udp(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return udp.get() >= 0 &&
         setsockopt(udp.get(), IPPROTO_UDP, option, &value, sizeof(value)) == 0;
}

std::string IoUring() {
  io_uring_params params{};
  const Descriptor ring(
      static_cast<int>(syscall(SYS_io_uring_setup, 2, &params)));
  if (ring.get() >= 0) return "";
  return std::strerror(errno);
}

bool HasEpollPwait2() {
  const Descriptor set(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  const timespec zero{};
  return epoll_pwait2(set.get(), &event, 1, &zero, nullptr) == 0;
}

Fact Feature(std::string key, std::string label, bool there, std::string gain,
             std::string loss) {
  return {std::move(key), std::move(label), there ? "yes" : "no",
          there ? FactState::kGood : FactState::kMissing,
          there ? std::move(gain) : std::move(loss)};
}

}  // namespace

FactSection KernelFacts() {
  FactSection section{"kernel", "Kernel", {}};
  utsname name{};
  uname(&name);
  std::vector<Fact>& facts = section.facts;
  facts.push_back(
      {"release", "Linux", name.release, FactState::kPlain, name.version});
  facts.push_back(Feature(
      "madv_guard_install", "light stack guards (MADV_GUARD_INSTALL)",
      HasLightGuards(), "a million guarded stacks in a few mappings",
      "stacks are bounded by vm.max_map_count / 2; Linux 6.13 has them"));
  facts.push_back(Feature("membarrier", "membarrier",
                          HasMembarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED), "",
                          "a fence on the rare side only is not possible"));
  facts.push_back(Feature("rseq", "restartable sequences", __rseq_size > 0,
                          "the current CPU in one load",
                          "sched_getcpu() instead"));
  facts.push_back(Feature("epoll_pwait2", "nanosecond epoll timeouts",
                          HasEpollPwait2(), "",
                          "sleeps are rounded up to a millisecond"));
  facts.push_back(Feature("udp_gso", "UDP segmentation offload",
                          UdpOption(UDP_SEGMENT, 1200), "",
                          "one system call per batch only"));
  facts.push_back(
      Feature("udp_gro", "UDP receive offload", UdpOption(UDP_GRO, 1), "", ""));
  const std::string ring = IoUring();
  facts.push_back(Feature("io_uring", "io_uring", ring.empty(), "", ring));
  const std::string state = FirstLine("/sys/kernel/sched_ext/state");
  facts.push_back({"sched_ext", "sched_ext", state.empty() ? "no" : state,
                   state.empty() ? FactState::kMissing : FactState::kPlain,
                   state.empty()
                       ? "no policies for kernel threads; Linux 6.12 with "
                         "CONFIG_SCHED_CLASS_EXT has it"
                       : ""});
  const std::string huge =
      FirstLine("/sys/kernel/mm/transparent_hugepage/enabled");
  facts.push_back({"transparent_hugepage", "transparent huge pages",
                   huge.empty() ? "no" : huge, FactState::kPlain, ""});
  const std::string governor =
      FirstLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  const bool slow = !governor.empty() && governor != "performance";
  facts.push_back({"cpu_governor", "frequency governor",
                   governor.empty() ? "not visible" : governor,
                   slow ? FactState::kLimited : FactState::kPlain,
                   slow ? "an idle core wakes slowly; `cpupower frequency-set "
                          "-g performance` keeps it fast"
                        : ""});
  return section;
}

}  // namespace yamanote::tools
