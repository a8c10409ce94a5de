// machine.cc - the facts of the machine that a measurement ran on.

#include <fmt/core.h>
#include <sched.h>
#include <sys/utsname.h>

#include <fstream>
#include <string>

#include "tools/report/report.h"

namespace yamanote::report {
namespace {

// Returns the value of the first line "KEY : value" of /proc/cpuinfo, "" if
// none.
std::string CpuInfo(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return "";
}

std::string ReadLine(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace

std::vector<Fact> MachineFacts() {
  std::vector<Fact> facts;
  if (const std::string model = CpuInfo("model name"); !model.empty()) {
    facts.emplace_back("Processor", model);
  }
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) {
    facts.emplace_back("Usable CPUs", fmt::format("{}", CPU_COUNT(&cpus)));
  }
  if (CpuInfo("flags").find(" hypervisor") != std::string::npos) {
    facts.emplace_back("Virtual machine",
                       "yes: the hypervisor may take cores away");
  }
  utsname system{};
  if (uname(&system) == 0) {
    facts.emplace_back("Kernel", fmt::format("{} {} {}", system.sysname,
                                             system.release, system.machine));
  }
  const std::string governor =
      ReadLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  if (!governor.empty()) facts.emplace_back("Frequency governor", governor);
  return facts;
}

}  // namespace yamanote::report
