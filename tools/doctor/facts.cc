// facts.cc - the machine, limits and permissions. Kernel features: features.cc.

#include "tools/doctor/facts.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>

#include "tools/config/values.h"
#include "yamanote/server.h"

namespace yamanote::tools {
namespace {

// The first line of a small file, empty if it can't be read.
std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

uint64_t NumberIn(const std::string& path) {
  return std::strtoull(FirstLine(path).c_str(), nullptr, 10);
}

#if defined(__x86_64__)

struct CpuidFlags {
  bool hypervisor = false;
  bool invariant_tsc = false;
  bool user_interrupts = false;
  bool waitpkg = false;  // UMWAIT, TPAUSE: sleep in user space.
  std::string hypervisor_name;
};

CpuidFlags ReadCpuid() {
  CpuidFlags flags;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) != 0)
    flags.hypervisor = ((c >> 31) & 1u) != 0;
  if (__get_cpuid(0x80000007, &a, &b, &c, &d) != 0)
    flags.invariant_tsc = ((d >> 8) & 1u) != 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
    flags.user_interrupts = ((d >> 5) & 1u) != 0;
    flags.waitpkg = ((c >> 5) & 1u) != 0;
  }
  if (flags.hypervisor) {
    __cpuid(0x40000000, a, b, c, d);
    const unsigned words[3] = {b, c, d};
    char name[13] = {};
    std::memcpy(name, words, 12);
    flags.hypervisor_name = name;
  }
  return flags;
}

void AddProcessorFlags(std::vector<Fact>& facts) {
  const CpuidFlags flags = ReadCpuid();
  facts.push_back({"hypervisor", "virtual machine",
                   flags.hypervisor ? flags.hypervisor_name : "no",
                   FactState::kPlain,
                   flags.hypervisor
                       ? "other guests may take a core for milliseconds; judge "
                         "tails by samples that were not interrupted"
                       : ""});
  facts.push_back({"invariant_tsc", "invariant time-stamp counter",
                   flags.invariant_tsc ? "yes" : "no",
                   flags.invariant_tsc ? FactState::kGood : FactState::kMissing,
                   flags.invariant_tsc
                       ? ""
                       : "the clock is CLOCK_MONOTONIC instead, "
                         "20-30 ns a read"});
  facts.push_back(
      {"user_interrupts", "user interrupts (UINTR)",
       flags.user_interrupts ? "yes" : "no",
       flags.user_interrupts ? FactState::kPlain : FactState::kMissing,
       flags.user_interrupts
           ? "the processor has them; Linux does not enable them"
           : "preemption across cores goes through the kernel"});
  facts.push_back(
      {"waitpkg", "user-space wait (UMWAIT)", flags.waitpkg ? "yes" : "no",
       flags.waitpkg ? FactState::kPlain : FactState::kMissing, ""});
}

#else

void AddProcessorFlags(std::vector<Fact>&) {}

#endif

std::string CacheText(const base::Topology& topology) {
  // One entry for each kind: "L2 2MiB for 1 CPU" with how many there are.
  std::map<std::string, int> kinds;
  std::vector<std::string> order;
  for (const base::Cache& cache : topology.caches) {
    const char* const kind = cache.kind == base::Cache::Kind::kData ? "d"
                             : cache.kind == base::Cache::Kind::kInstruction
                                 ? "i"
                                 : "";
    const std::string text = fmt::format(
        "L{}{} {} for {} CPU{}", cache.level, kind, FormatBytes(cache.bytes),
        cache.cpus.size(), cache.cpus.size() == 1 ? "" : "s");
    if (kinds[text]++ == 0) order.push_back(text);
  }
  std::string all;
  for (const std::string& text : order) {
    all += fmt::format("{}{}x {}", all.empty() ? "" : ", ", kinds[text], text);
  }
  return all.empty() ? "unknown" : all;
}

std::string LimitText(rlim_t value) {
  return value == RLIM_INFINITY ? "unlimited" : fmt::format("{}", value);
}

rlimit LimitOf(int resource) {
  rlimit limit{};
  getrlimit(static_cast<__rlimit_resource>(resource), &limit);
  return limit;
}

// The CPU quota of the process's cgroup (version 2), empty if there is none.
std::string CpuQuota() {
  std::ifstream self("/proc/self/cgroup");
  for (std::string line; std::getline(self, line);) {
    if (!line.starts_with("0::")) continue;
    for (std::string path = line.substr(3);; path.resize(path.rfind('/'))) {
      std::string quota = FirstLine("/sys/fs/cgroup" + path + "/cpu.max");
      if (!quota.empty() && !quota.starts_with("max")) return quota;
      if (path.find('/') == std::string::npos || path.empty()) return "";
    }
  }
  return "";
}

bool HasCapability(unsigned bit) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("CapEff:")) continue;
    return ((std::strtoull(line.c_str() + 7, nullptr, 16) >> bit) & 1u) != 0;
  }
  return false;
}

}  // namespace

std::string_view ToString(FactState state) {
  switch (state) {
    case FactState::kPlain:
      return "info";
    case FactState::kGood:
      return "good";
    case FactState::kMissing:
      return "missing";
    case FactState::kLimited:
      return "limited";
  }
  return "unknown";
}

bool IsGood(const std::vector<FactSection>& sections, std::string_view key) {
  for (const FactSection& section : sections) {
    for (const Fact& fact : section.facts) {
      if (fact.key == key) return fact.state == FactState::kGood;
    }
  }
  return false;
}

FactSection MachineFacts(const base::Topology& topology) {
  FactSection section{"machine", "Machine", {}};
  std::vector<int> numbers;
  for (const base::Cpu& cpu : topology.cpus) numbers.push_back(cpu.number);
  const size_t cores = topology.CoreCount();
  section.facts = {
      {"cpu_model", "processor",
       topology.model.empty() ? "unknown" : topology.model, FactState::kPlain,
       ""},
      {"cpus", "CPUs this process may use", FormatCpuList(numbers),
       FactState::kPlain,
       fmt::format(
           "{} of {} online, {} cores, {}, {} package(s), {} NUMA node(s)",
           numbers.size(), topology.online_cpus, cores,
           numbers.size() > cores ? "SMT siblings share a core"
                                  : "no SMT visible",
           topology.packages, topology.numa_nodes)},
      {"caches", "caches", CacheText(topology), FactState::kPlain, ""},
      {"memory", "memory", FormatBytes(topology.memory_bytes >> 20 << 20),
       FactState::kPlain, ""},
  };
  AddProcessorFlags(section.facts);
  return section;
}

FactSection LimitFacts() {
  FactSection section{"limits", "Limits", {}};
  const uint64_t maps = NumberIn("/proc/sys/vm/max_map_count");
  section.facts.push_back(
      {"max_map_count", "memory mappings (vm.max_map_count)",
       fmt::format("{}", maps), FactState::kPlain,
       "each guarded stack takes two where light guards are missing"});

  const rlimit files = LimitOf(RLIMIT_NOFILE);
  const uint32_t connections = ServerOptions{}.max_connections;
  const bool few = files.rlim_cur < connections + 64;
  section.facts.push_back(
      {"nofile", "open files",
       fmt::format("{} (hard limit {})", LimitText(files.rlim_cur),
                   LimitText(files.rlim_max)),
       few ? FactState::kLimited : FactState::kGood,
       few ? fmt::format("max_connections = {} needs more; "
                         "`yamanote serve` raises it as far as the hard limit",
                         connections)
           : ""});
  const rlimit locked = LimitOf(RLIMIT_MEMLOCK);
  section.facts.push_back({"memlock", "locked memory",
                           locked.rlim_cur == RLIM_INFINITY
                               ? "unlimited"
                               : FormatBytes(locked.rlim_cur),
                           FactState::kPlain, ""});
  section.facts.push_back(
      {"threads_max", "kernel threads",
       fmt::format("{}", NumberIn("/proc/sys/kernel/threads-max")),
       FactState::kPlain, ""});
  const std::string quota = CpuQuota();
  section.facts.push_back(
      {"cpu_quota", "CPU quota of the cgroup", quota.empty() ? "none" : quota,
       quota.empty() ? FactState::kGood : FactState::kLimited,
       quota.empty()
           ? ""
           : "the kernel stops every core for the rest of the period once the "
             "quota is used: expect tails of tens of milliseconds"});
  return section;
}

FactSection PermissionFacts() {
  constexpr unsigned kNetAdmin = 12, kIpcLock = 14, kSysNice = 23,
                     kPerfmon = 38, kBpf = 39;
  FactSection section{
      "permissions", "Permissions (none is needed by default)", {}};
  section.facts.push_back(
      {"root", "root", geteuid() == 0 ? "yes" : "no", FactState::kPlain, ""});
  const struct {
    const char* key;
    const char* label;
    unsigned bit;
    const char* use;
  } kCapabilities[] = {
      {"cap_sys_nice", "CAP_SYS_NICE", kSysNice,
       "raised or real-time priority for workers"},
      {"cap_ipc_lock", "CAP_IPC_LOCK", kIpcLock,
       "locked and huge pages beyond the limit"},
      {"cap_net_admin", "CAP_NET_ADMIN", kNetAdmin,
       "AF_XDP and queue steering"},
      {"cap_bpf", "CAP_BPF", kBpf, "sched_ext and tracing"},
      {"cap_perfmon", "CAP_PERFMON", kPerfmon, "hardware counters"},
  };
  for (const auto& capability : kCapabilities) {
    section.facts.push_back({capability.key, capability.label,
                             HasCapability(capability.bit) ? "yes" : "no",
                             FactState::kPlain, capability.use});
  }
  const rlimit nice = LimitOf(RLIMIT_NICE);
  const rlimit real_time = LimitOf(RLIMIT_RTPRIO);
  section.facts.push_back(
      {"nice_limit", "lowest nice value",
       fmt::format("{}", nice.rlim_cur == RLIM_INFINITY
                             ? -20
                             : std::clamp(20 - static_cast<int>(nice.rlim_cur),
                                          -20, 19)),
       FactState::kPlain, ""});
  section.facts.push_back({"rtprio_limit", "highest real-time priority",
                           LimitText(real_time.rlim_cur), FactState::kPlain,
                           ""});
  return section;
}

}  // namespace yamanote::tools
