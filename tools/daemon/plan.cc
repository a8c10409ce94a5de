// plan.cc - checks the configuration against the machine.

#include "tools/daemon/plan.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

#include "base/topology.h"
#include "tools/config/values.h"

namespace yamanote::tools {
namespace {

constexpr Duration kParkAfterByEvents = std::chrono::microseconds(50);

tl::unexpected<Error> Refuse(std::string message) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message));
}

// "file.toml:3" or "--cpus"; "default" if nobody said it.
std::string Origin(const Config& config, std::string_view key) {
  const auto found = config.origins.find(key);
  return found == config.origins.end() ? "default" : found->second;
}

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::optional<uid_t> FindUser(const std::string& name) {
  uid_t number = 0;
  const char* const end = name.data() + name.size();
  const auto read = std::from_chars(name.data(), end, number);
  if (read.ec == std::errc() && read.ptr == end) return number;
  const passwd* const found = getpwnam(name.c_str());
  if (found == nullptr) return std::nullopt;
  return found->pw_uid;
}

Result<void> ReadRight(std::string_view part, arbiter::Right& right) {
  const std::string_view key = part.substr(0, part.find('='));
  const std::string_view value =
      key.size() < part.size() ? part.substr(key.size() + 1) : "";
  unsigned limit = arbiter::kMostCores;
  unsigned* field = nullptr;
  if (key == "guaranteed") {
    field = &right.guaranteed;
  } else if (key == "burst") {
    field = &right.burst;
  } else if (key == "apps") {
    field = &right.apps;
    limit = arbiter::kMostApps;
  } else {
    return Refuse(
        fmt::format("\"{}\" is none of guaranteed=N, burst=N, apps=N", part));
  }
  const Result<uint64_t> number = ParseCount(value);
  if (!number) return tl::unexpected(number.error());
  if (*number > limit) {
    return Refuse(
        fmt::format("\"{}\" is outside its limits 0 .. {}", part, limit));
  }
  *field = static_cast<unsigned>(*number);
  return {};
}

// Calls `with` for each part of `text` between `separator`s.
Result<void> ForParts(std::string_view text, char separator, auto&& with) {
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(separator));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const Result<void> done = with(Trimmed(part));
    if (!done) return done;
  }
  return {};
}

// The other hardware thread of each core's, where both are handed out.
std::vector<CoreId> SiblingsOf(const std::vector<int>& cpus,
                               const base::Topology& topology) {
  std::vector<CoreId> siblings(cpus.size(), kNoCore);
  const auto physical = [&](int number) {
    for (const base::Cpu& cpu : topology.cpus) {
      if (cpu.number == number) return std::pair(cpu.package, cpu.core);
    }
    return std::pair(-1, number);
  };
  for (CoreId one = 0; one < cpus.size(); ++one) {
    for (CoreId other = 0; other < cpus.size(); ++other) {
      // Of more than two the next one in turn would do; pairs are enough.
      if (one == other || siblings[one] != kNoCore ||
          siblings[other] != kNoCore ||
          physical(cpus[one]) != physical(cpus[other]))
        continue;
      siblings[one] = other;
      siblings[other] = one;
    }
  }
  return siblings;
}

Result<void> CheckCpus(const Config& config, const std::vector<int>& cpus,
                       const std::vector<int>& allowed, int poll_cpu) {
  const auto may = [&](int cpu) {
    return std::ranges::find(allowed, cpu) != allowed.end();
  };
  for (const int cpu : cpus) {
    if (may(cpu)) continue;
    return Refuse(fmt::format(
        "{}: daemon.cpus = \"{}\" names CPU {}, which this process may not "
        "use; it may use {}",
        Origin(config, "daemon.cpus"), FormatCpuList(cpus), cpu,
        FormatCpuList(allowed)));
  }
  if (cpus.size() > arbiter::kMostCores) {
    return Refuse(fmt::format(
        "{}: daemon.cpus names {} CPUs; at most {} can be handed out",
        Origin(config, "daemon.cpus"), cpus.size(), arbiter::kMostCores));
  }
  if (config.daemon.mode != arbiter::DaemonOptions::Mode::kPolling) {
    if (config.daemon.poll_cpu < 0) return {};
    return Refuse(fmt::format(
        "{}: daemon.poll_cpu = {}, but nobody polls; set daemon.mode = "
        "\"polling\", or leave it out",
        Origin(config, "daemon.poll_cpu"), config.daemon.poll_cpu));
  }
  if (!may(poll_cpu)) {
    return Refuse(fmt::format(
        "{}: daemon.poll_cpu = {} is a CPU that this process may not use; it "
        "may use {}",
        Origin(config, "daemon.poll_cpu"), poll_cpu, FormatCpuList(allowed)));
  }
  if (cpus.empty() || std::ranges::find(cpus, poll_cpu) != cpus.end()) {
    return Refuse(fmt::format(
        "{}: daemon.mode = \"polling\" needs CPU {} for itself, and at least "
        "one other to hand out; take it out of daemon.cpus, or use "
        "daemon.mode = \"events\"",
        Origin(config, "daemon.mode"), poll_cpu));
  }
  return {};
}

}  // namespace

Result<arbiter::Rights> ParseUsers(std::string_view text) {
  arbiter::Rights rights;
  std::set<std::string> named;
  const Result<void> read =
      ForParts(text, ';', [&](std::string_view entry) -> Result<void> {
        if (entry.empty()) return {};
        const std::string name(entry.substr(0, entry.find(':')));
        if (name.empty() || name.size() == entry.size()) {
          return Refuse(fmt::format(
              "\"{}\" is no right; write NAME:guaranteed=2,burst=2,apps=8",
              entry));
        }
        if (!named.insert(name).second)
          return Refuse(fmt::format("{} is named twice; once is enough", name));
        arbiter::Right right;
        Result<void> parts = ForParts(
            entry.substr(name.size() + 1), ',',
            [&](std::string_view part) { return ReadRight(part, right); });
        if (!parts) return parts;
        if (name == "*") {
          rights.others = right;
          return {};
        }
        const std::optional<uid_t> user = FindUser(name);
        if (!user) {
          return Refuse(fmt::format(
              "\"{}\" is no user here; write a name or a number", name));
        }
        rights.users[*user] = right;
        return {};
      });
  if (!read) return tl::unexpected(read.error());
  return rights;
}

Result<arbiter::DaemonOptions> PlanDaemon(const Config& config) {
  const DaemonSettings& settings = config.daemon;
  const Result<base::Topology> topology = base::ReadTopology();
  if (!topology) return tl::unexpected(topology.error());
  const std::vector<int> allowed = base::AllowedCpus();
  const bool polls = settings.mode == arbiter::DaemonOptions::Mode::kPolling;
  const int poll_cpu = !polls                   ? -1
                       : settings.poll_cpu >= 0 ? settings.poll_cpu
                                                : allowed.back();
  arbiter::DaemonOptions options;
  std::vector<int>& cpus = options.arbiter.cpus;
  cpus = settings.cpus;
  if (cpus.empty()) {
    std::ranges::copy_if(allowed, std::back_inserter(cpus),
                         [&](int cpu) { return cpu != poll_cpu; });
  }
  if (const auto good = CheckCpus(config, cpus, allowed, poll_cpu); !good)
    return tl::unexpected(good.error());
  if (settings.move_deadline <= settings.revoke_deadline) {
    return Refuse(fmt::format(
        "{}: daemon.move_deadline = {} is not more than "
        "daemon.revoke_deadline = {}; a worker is asked before it is moved",
        Origin(config, "daemon.move_deadline"),
        FormatDuration(settings.move_deadline),
        FormatDuration(settings.revoke_deadline)));
  }
  if (config.origins.contains("arbiter.interval")) {
    return Refuse(fmt::format(
        "{}: arbiter.interval is for simulations; write daemon.poll_interval",
        Origin(config, "arbiter.interval")));
  }
  Result<arbiter::Rights> rights = ParseUsers(settings.users);
  if (!rights) {
    return Refuse(fmt::format("{}: daemon.users: {}",
                              Origin(config, "daemon.users"),
                              rights.error().message));
  }
  rights->AddOwners(geteuid());
  options.server.rights = std::move(*rights);
  options.server.path =
      settings.socket.empty() ? arbiter::DefaultSocket() : settings.socket;
  if (options.server.path.empty()) {
    return Refuse(
        "daemon.socket has no default, because $XDG_RUNTIME_DIR is not set; "
        "name a path with --socket");
  }
  options.server.park_after = config.arbiter.park_after;
  if (!polls) {
    options.server.always_park = true;
    // About what it costs to be granted another one: who waits for so long pays twice at
    // most, whatever comes.
    if (!config.origins.contains("arbiter.park_after"))
      options.server.park_after = kParkAfterByEvents;
  }

  options.arbiter.siblings = SiblingsOf(cpus, *topology);
  std::ranges::copy_if(
      allowed, std::back_inserter(options.arbiter.elsewhere), [&](int cpu) {
        return std::ranges::find(cpus, cpu) == cpus.end() && cpu != poll_cpu;
      });
  if (options.arbiter.elsewhere.empty()) options.arbiter.elsewhere = allowed;
  options.arbiter.revoke_deadline = settings.revoke_deadline;
  options.arbiter.move_deadline = settings.move_deadline;
  options.arbiter.policies = config.arbiter.policies;
  options.mode = settings.mode;
  options.poll_cpu = poll_cpu;
  options.interval = settings.interval;
  options.least_gap = settings.least_gap;
  options.idle_interval = settings.idle_interval;
  return options;
}

}  // namespace yamanote::tools
