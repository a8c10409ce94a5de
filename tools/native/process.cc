// process.cc - affinities and owners.

#include "tools/native/process.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>

namespace yamanote::tools {

void StandAside(const std::vector<unsigned>& cpus) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return;
  for (const unsigned cpu : cpus)
    if (cpu < CPU_SETSIZE) CPU_CLR(cpu, &set);
  if (CPU_COUNT(&set) > 0) sched_setaffinity(0, sizeof set, &set);
}

bool MayAttach(uid_t uid, pid_t pid) {
  struct stat status{};
  return uid == 0 ||
         (stat(fmt::format("/proc/{}", pid).c_str(), &status) == 0 &&
          status.st_uid == uid);
}

}  // namespace yamanote::tools
