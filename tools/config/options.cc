// options.cc - the table: every option of `yamanote serve`, once.

#include "tools/config/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "tools/config/values.h"
#include "yamanote/address.h"
#include "yamanote/policy.h"

namespace yamanote::tools {
namespace {

using std::chrono::nanoseconds;

constexpr uint64_t kMicrosecond = 1'000;
constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kHour = 3600 * kSecond;
constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;

tl::unexpected<Error> Refuse(std::string message) {
  return MakeError(ErrorCode::kInvalidArgument, std::move(message));
}

// ---- numbers with limits: counts, sizes, durations --------------------------

std::string FormatNumber(ValueKind kind, uint64_t value) {
  switch (kind) {
    case ValueKind::kDuration:
      return FormatDuration(Duration(static_cast<int64_t>(value)));
    case ValueKind::kBytes:
      return FormatBytes(value);
    default:
      return fmt::format("{}", value);
  }
}

Result<uint64_t> ParseNumber(const OptionSpec& self, std::string_view text) {
  if (!self.word.empty() && text == self.word) return self.word_value;
  Result<uint64_t> value = ParseCount(text);
  if (self.kind == ValueKind::kBytes) value = ParseBytes(text);
  if (self.kind == ValueKind::kDuration) {
    value = ParseDuration(text).map([](Duration duration) {
      return static_cast<uint64_t>(duration.count());
    });
  }
  if (!value) return value;
  if (*value < self.low || *value > self.high) {
    return Refuse(fmt::format(
        "\"{}\" is outside its limits {}; write {}", text, self.limits,
        FormatNumber(self.kind, *value < self.low ? self.low : self.high)));
  }
  return value;
}

template <typename Field>
Field FromNumber(uint64_t value) {
  if constexpr (std::is_same_v<Field, Duration>) {
    return Duration(static_cast<int64_t>(value));
  } else {
    return static_cast<Field>(value);
  }
}

template <typename Field>
uint64_t ToNumber(const Field& field) {
  if constexpr (std::is_same_v<Field, Duration>) {
    return static_cast<uint64_t>(field.count());
  } else {
    return static_cast<uint64_t>(field);
  }
}

struct Range {
  uint64_t low = 0;
  uint64_t high = UINT64_MAX;
  std::string word =
      "";  // Stands for `word_value`, which is outside the range.
  uint64_t word_value = 0;
};

// `Access` names the field: [](auto& config) -> auto& { return config.x; }.
template <auto Access>
OptionSpec Number(ValueKind kind, std::string section, std::string key,
                  std::string help, Range range) {
  using Field = std::remove_cvref_t<decltype(Access(std::declval<Config&>()))>;
  OptionSpec spec;
  spec.section = std::move(section);
  spec.key = std::move(key);
  spec.kind = kind;
  spec.help = std::move(help);
  spec.low = range.low;
  spec.high = range.high;
  spec.word = range.word;
  spec.word_value = range.word_value;
  spec.limits = fmt::format("{} .. {}", FormatNumber(kind, range.low),
                            FormatNumber(kind, range.high));
  if (!range.word.empty()) spec.limits += fmt::format(" or {}", range.word);
  spec.set = [](const OptionSpec& self, Config& config,
                std::string_view text) -> Result<void> {
    const Result<uint64_t> value = ParseNumber(self, text);
    if (!value) return tl::unexpected(value.error());
    Access(config) = FromNumber<Field>(*value);
    return {};
  };
  spec.get = [](const OptionSpec& self, const Config& config) {
    const uint64_t value = ToNumber(Access(config));
    if (!self.word.empty() && value == self.word_value) return self.word;
    return FormatNumber(self.kind, value);
  };
  return spec;
}

// ---- choices ----------------------------------------------------------------

Result<size_t> ParseChoice(const OptionSpec& self, std::string_view text) {
  const auto found = std::find(self.choices.begin(), self.choices.end(), text);
  if (found != self.choices.end()) {
    return static_cast<size_t>(found - self.choices.begin());
  }
  const std::vector<std::string_view> names(self.choices.begin(),
                                            self.choices.end());
  const std::string_view close = ClosestName(text, names);
  return Refuse(fmt::format(
      "\"{}\" is none of {}{}", text, fmt::join(self.choices, ", "),
      close.empty() ? "" : fmt::format("; did you mean {}?", close)));
}

OptionSpec Choice(std::string section, std::string key, std::string help,
                  std::vector<std::string> choices) {
  OptionSpec spec;
  spec.section = std::move(section);
  spec.key = std::move(key);
  spec.kind = ValueKind::kChoice;
  spec.help = std::move(help);
  spec.choices = std::move(choices);
  spec.limits = fmt::format("{}", fmt::join(spec.choices, ", "));
  return spec;
}

// A choice among the values of an enum; their names come from ToString().
template <auto Access, auto... Values>
OptionSpec EnumChoice(std::string section, std::string key, std::string help) {
  OptionSpec spec = Choice(std::move(section), std::move(key), std::move(help),
                           {std::string(ToString(Values))...});
  spec.set = [](const OptionSpec& self, Config& config,
                std::string_view text) -> Result<void> {
    constexpr std::array kValues{Values...};
    const Result<size_t> index = ParseChoice(self, text);
    if (!index) return tl::unexpected(index.error());
    Access(config) = kValues[*index];
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return std::string(ToString(Access(config)));
  };
  return spec;
}

// A choice among names known at run time, kept as a string.
template <auto Access>
OptionSpec NameChoice(std::string section, std::string key, std::string help,
                      std::vector<std::string> names) {
  OptionSpec spec = Choice(std::move(section), std::move(key), std::move(help),
                           std::move(names));
  spec.set = [](const OptionSpec& self, Config& config,
                std::string_view text) -> Result<void> {
    const Result<size_t> index = ParseChoice(self, text);
    if (!index) return tl::unexpected(index.error());
    Access(config) = text;
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return Access(config);
  };
  return spec;
}

template <auto Access>
OptionSpec Switch(std::string section, std::string key, std::string help) {
  OptionSpec spec = Choice(std::move(section), std::move(key), std::move(help),
                           {"true", "false"});
  spec.kind = ValueKind::kBool;
  spec.set = [](const OptionSpec&, Config& config,
                std::string_view text) -> Result<void> {
    const Result<bool> value = ParseBool(text);
    if (!value) return tl::unexpected(value.error());
    Access(config) = *value;
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return std::string(Access(config) ? "true" : "false");
  };
  return spec;
}

// ---- the three that are unlike all others -----------------------------------

OptionSpec Cpus() {
  OptionSpec spec;
  spec.section = "runtime";
  spec.key = "cores";
  spec.kind = ValueKind::kCpuList;
  spec.help =
      "CPUs to run on, one worker pinned to each; \"auto\" takes `workers` of "
      "those "
      "that the process may use";
  spec.limits = "CPU numbers, or auto";
  spec.set = [](const OptionSpec&, Config& config,
                std::string_view text) -> Result<void> {
    if (text == "auto") {
      config.runtime.cpus.clear();
      return {};
    }
    Result<std::vector<int>> cpus = ParseCpuList(text);
    if (!cpus) return tl::unexpected(cpus.error());
    config.runtime.cpus = std::move(*cpus);
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return config.runtime.cpus.empty() ? std::string("auto")
                                       : FormatCpuList(config.runtime.cpus);
  };
  return spec;
}

OptionSpec Listen() {
  OptionSpec spec;
  spec.section = "server";
  spec.key = "listen";
  spec.help =
      "Address and port to accept on, several with commas; port 0 lets the "
      "system "
      "choose one";
  spec.limits = "ADDR:PORT, [ADDR]:PORT for IPv6";
  spec.set = [](const OptionSpec&, Config& config,
                std::string_view text) -> Result<void> {
    for (std::string_view rest = text;;) {
      const size_t comma = rest.find(',');
      const Result<SocketAddress> address =
          SocketAddress::Parse(rest.substr(0, comma));
      if (!address) return tl::unexpected(address.error());
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
    config.server.listen = text;
    return {};
  };
  spec.get = [](const OptionSpec&, const Config& config) {
    return config.server.listen;
  };
  return spec;
}

OptionSpec Classes() {
  OptionSpec spec;
  spec.section = "scheduling";
  spec.key = "classes";
  spec.kind = ValueKind::kClass;
  spec.help =
      "A request class's objective (p99 when it runs alone) and how many of "
      "its "
      "requests may be in the system; more are refused. Repeatable: "
      "NAME:slo=50us,limit=1000";
  spec.limits = "slo 1us .. 1h, limit 1 .. 16777216";
  spec.set = [](const OptionSpec&, Config& config,
                std::string_view text) -> Result<void> {
    ClassSetting setting;
    const size_t colon = text.find(':');
    setting.name = text.substr(0, colon);
    std::string_view rest =
        colon == std::string_view::npos ? "" : text.substr(colon + 1);
    if (setting.name.empty() || rest.empty()) {
      return Refuse(fmt::format(
          "\"{}\" is not a class; write NAME:slo=50us,limit=1000", text));
    }
    while (!rest.empty()) {
      const std::string_view part = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      if (part.starts_with("slo=")) {
        const Result<Duration> slo = ParseDuration(part.substr(4));
        if (!slo) return tl::unexpected(slo.error());
        if (*slo < nanoseconds(kMicrosecond) || *slo > nanoseconds(kHour)) {
          return Refuse(fmt::format("slo {} is outside its limits 1us .. 1h",
                                    part.substr(4)));
        }
        setting.slo = *slo;
      } else if (part.starts_with("limit=")) {
        const Result<uint64_t> limit = ParseCount(part.substr(6));
        if (!limit) return tl::unexpected(limit.error());
        if (*limit < 1 || *limit > 16 * kMiB) {
          return Refuse(fmt::format(
              "limit {} is outside its limits 1 .. 16777216", part.substr(6)));
        }
        setting.limit = static_cast<uint32_t>(*limit);
      } else {
        return Refuse(
            fmt::format("\"{}\" of class {} is neither slo= nor limit=", part,
                        setting.name));
      }
    }
    const auto same = std::find_if(
        config.classes.begin(), config.classes.end(),
        [&](const ClassSetting& c) { return c.name == setting.name; });
    if (same == config.classes.end()) {
      config.classes.push_back(std::move(setting));
      return {};
    }
    if (setting.slo) same->slo = setting.slo;
    if (setting.limit) same->limit = setting.limit;
    return {};
  };
  return spec;
}

// ---- the table ----------------------------------------------------------------

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const PresetInfo& preset : Presets()) names.emplace_back(preset.name);
  return names;
}

std::vector<std::string> OrderNames() {
  std::vector<std::string> names;
  for (const PolicyInfo* policy : Policies()) names.emplace_back(policy->name);
  return names;
}

#define FIELD(path) [](auto& config) -> auto& { return config.path; }

void AddScheduling(std::vector<OptionSpec>& table) {
  table.push_back(NameChoice<FIELD(runtime.scheduling.preset)>(
      "scheduling", "preset",
      "The published scheduler to start from; the keys below override "
      "its parts",
      PresetNames()));
  table.push_back(NameChoice<FIELD(runtime.scheduling.order)>(
      "scheduling", "order", "Which task runs next within one domain",
      OrderNames()));
  table.push_back(Number<FIELD(runtime.scheduling.slice)>(
      ValueKind::kDuration, "scheduling", "slice",
      "How long a task runs before it gives way, if something waits",
      {kMicrosecond, 10 * kSecond, "none", ToNumber(kNoPreemption)}));
  table.push_back(EnumChoice<FIELD(runtime.scheduling.rejoin), Rejoin::kTail,
                             Rejoin::kHead>(
      "scheduling", "rejoin", "Where a preempted task rejoins its queue"));
  table.push_back(
      EnumChoice<FIELD(runtime.scheduling.placement), PlacementKind::kCentral,
                 PlacementKind::kPartitioned, PlacementKind::kStealing,
                 PlacementKind::kTwoLevel>(
          "scheduling", "placement",
          "Which cores share a queue, and how work moves between "
          "queues"));
  table.push_back(
      EnumChoice<FIELD(runtime.scheduling.dispatcher), DispatcherKind::kAuto,
                 DispatcherKind::kShared, DispatcherKind::kDedicated>(
          "scheduling", "dispatcher",
          "Who does the dispatcher's work under central "
          "placement"));
  table.push_back(Number<FIELD(runtime.scheduling.slots)>(
      ValueKind::kCount, "scheduling", "slots",
      "Tasks a worker may hold under a dedicated dispatcher, the running one "
      "included",
      {1, kMaxSlots}));
  table.push_back(Switch<FIELD(runtime.scheduling.steal)>(
      "scheduling", "steal",
      "Whether an idle core takes work from the longest domain "
      "(two-level)"));
  table.push_back(EnumChoice<FIELD(runtime.scheduling.replies),
                             ReplyPath::kDirect, ReplyPath::kHome>(
      "scheduling", "replies",
      "Which core sends the reply of a request that was stolen"));
  table.push_back(Classes());
}

void AddRuntime(std::vector<OptionSpec>& table) {
  table.push_back(Cpus());
  table.push_back(Number<FIELD(runtime.cores)>(
      ValueKind::kCount, "runtime", "workers",
      "Workers if `cores` is auto; 0 is one for each "
      "CPU that the process may use",
      {0, kMaxCores}));
  table.push_back(Switch<FIELD(runtime.pin)>(
      "runtime", "pin", "Whether each worker stays on its CPU"));
  table.push_back(Number<FIELD(runtime.spin)>(
      ValueKind::kDuration, "runtime", "spin",
      "How long an idle worker polls before it sleeps; "
      "0ns sleeps at once",
      {0, 10 * kSecond}));
  table.push_back(Number<FIELD(runtime.stack_bytes)>(
      ValueKind::kBytes, "runtime", "stack_bytes",
      "Usable stack of a request or user thread", {16 * kKiB, 64 * kMiB}));
  table.push_back(Number<FIELD(runtime.max_threads)>(
      ValueKind::kCount, "runtime", "max_threads",
      "Requests and user threads alive at a time; "
      "more are refused",
      {1, 16 * kMiB}));
}

void AddServer(std::vector<OptionSpec>& table) {
  table.push_back(Listen());
  table.push_back(EnumChoice<FIELD(server.protocol), ServeProtocol::kTcp,
                             ServeProtocol::kUdp, ServeProtocol::kBoth>(
      "server", "protocol", "Transport to serve"));
  table.push_back(Number<FIELD(server.options.max_connections)>(
      ValueKind::kCount, "server", "max_connections",
      "TCP connections at a time; more get the "
      "protocol's refusal and are closed",
      {1, kMiB}));
  table.push_back(Number<FIELD(server.options.max_request_bytes)>(
      ValueKind::kBytes, "server", "max_request_bytes",
      "The largest request; a larger one gets "
      "the protocol's refusal",
      {64, kGiB}));
  table.push_back(Number<FIELD(server.options.max_reply_bytes)>(
      ValueKind::kBytes, "server", "max_reply_bytes",
      "The largest reply that a handler may "
      "build",
      {64, kGiB}));
  table.push_back(Number<FIELD(server.options.max_buffer_bytes)>(
      ValueKind::kBytes, "server", "max_buffer_bytes",
      "What clients' requests and replies may "
      "take together beyond 64KiB each; then large ones are refused. At least "
      "twice "
      "max_request_bytes and twice max_reply_bytes",
      {kMiB, 1024 * kGiB}));
  table.push_back(Number<FIELD(server.options.max_datagram_bytes)>(
      ValueKind::kBytes, "server", "max_datagram_bytes",
      "The largest request over UDP", {64, 65507}));
  table.push_back(Number<FIELD(server.options.max_datagrams)>(
      ValueKind::kCount, "server", "max_datagrams",
      "UDP requests in the server at a time; "
      "further ones wait in the kernel",
      {256, 16 * kMiB}));
  table.push_back(Number<FIELD(server.options.socket_buffer_bytes)>(
      ValueKind::kBytes, "server", "socket_buffer_bytes",
      "Kernel buffer asked for each UDP "
      "socket, per direction",
      {4 * kKiB, kGiB}));
  table.push_back(Number<FIELD(server.options.idle_timeout)>(
      ValueKind::kDuration, "server", "idle_timeout",
      "A connection without a request or a "
      "reply for this long is closed",
      {kSecond / 1000, 24 * kHour}));
  table.push_back(Number<FIELD(server.options.request_timeout)>(
      ValueKind::kDuration, "server", "request_timeout",
      "From a request's first byte to its "
      "last; a slower connection is closed",
      {kSecond / 1000, 24 * kHour}));
  table.push_back(Number<FIELD(server.options.send_timeout)>(
      ValueKind::kDuration, "server", "send_timeout",
      "A connection that takes no byte of its "
      "reply for this long is closed",
      {kSecond / 1000, 24 * kHour}));
  table.push_back(Number<FIELD(server.options.drain_timeout)>(
      ValueKind::kDuration, "server", "drain_timeout",
      "How long a shutdown waits for requests "
      "in flight",
      {0, kHour}));
  table.push_back(Number<FIELD(server.options.reply_delay)>(
      ValueKind::kDuration, "server", "reply_delay",
      "How long a UDP reply may wait for others "
      "to share its system call, at most a quarter of what its request took; "
      "0ns: not at all",
      {0, kSecond}));
  table.push_back(Number<FIELD(server.stats_interval)>(
      ValueKind::kDuration, "server", "stats_interval",
      "How often statistics are printed; "
      "SIGUSR1 prints them at once",
      {kSecond / 10, 24 * kHour, "never", 0}));
}

std::vector<OptionSpec> MakeTable() {
  std::vector<OptionSpec> table;
  AddScheduling(table);
  AddRuntime(table);
  AddServer(table);
  table.push_back(Number<FIELD(kv.memory_limit)>(
      ValueKind::kBytes, "kv", "memory_limit",
      "Memory for items, their keys and overhead; the "
      "least recently used are evicted",
      {kMiB, 1024 * kGiB}));
  table.push_back(Number<FIELD(kv.max_value_bytes)>(
      ValueKind::kBytes, "kv", "max_value_bytes", "The longest value",
      {1, kGiB}));
  table.push_back(Number<FIELD(kv.long_get_keys)>(
      ValueKind::kCount, "kv", "long_get_keys",
      "A get of more keys than this is of the class "
      "\"long\"",
      {1, kMiB}));
  table.push_back(Number<FIELD(spin.max_service)>(
      ValueKind::kDuration, "spin", "max_service",
      "The longest service time that a request may "
      "ask for; more is malformed",
      {kMicrosecond, 60 * kSecond}));
  for (OptionSpec& spec : table) {
    // A service's own keys carry its name, so they cannot clash with others'.
    spec.flag =
        "--" + (IsService(spec.section) ? spec.section + "-" : "") + spec.key;
    if (spec.kind == ValueKind::kClass) spec.flag = "--class";
    std::replace(spec.flag.begin(), spec.flag.end(), '_', '-');
  }
  return table;
}

#undef FIELD

}  // namespace

std::string_view ToString(ServeProtocol protocol) {
  switch (protocol) {
    case ServeProtocol::kTcp:
      return "tcp";
    case ServeProtocol::kUdp:
      return "udp";
    case ServeProtocol::kBoth:
      return "both";
  }
  return "unknown";
}

std::string_view ToString(ValueKind kind) {
  switch (kind) {
    case ValueKind::kText:
      return "ADDRESS";
    case ValueKind::kChoice:
      return "NAME";
    case ValueKind::kBool:
      return "BOOL";
    case ValueKind::kCount:
      return "COUNT";
    case ValueKind::kDuration:
      return "DURATION";
    case ValueKind::kBytes:
      return "BYTES";
    case ValueKind::kCpuList:
      return "LIST";
    case ValueKind::kClass:
      return "CLASS";
  }
  return "VALUE";
}

std::span<const OptionSpec> Options() {
  static const std::vector<OptionSpec> table = MakeTable();
  return table;
}

std::span<const SectionInfo> Sections() {
  static constexpr SectionInfo kSections[] = {
      {"scheduling", "How requests and threads are scheduled"},
      {"runtime", "The workers that run them"},
      {"server", "Where requests come from, and the limits on clients"},
      {"kv", "The key-value service"},
      {"spin", "The spin service"},
  };
  return kSections;
}

bool IsService(std::string_view section) {
  return section == "kv" || section == "spin";
}

const OptionSpec* FindOption(std::string_view section, std::string_view key) {
  for (const OptionSpec& spec : Options()) {
    if (spec.section == section && spec.key == key) return &spec;
  }
  return nullptr;
}

}  // namespace yamanote::tools
