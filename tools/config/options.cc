// options.cc - the table: every option of `yamanote serve` and `sim`, once.
//
// An entry is the field, its key, its limits or choices, and its help. What the
// kinds of entries do is in option_kinds.h.

#include "tools/config/options.h"

#include <algorithm>

#include "sim/engine.h"
#include "sim/oracle.h"
#include "tools/config/option_kinds.h"
#include "yamanote/core_policy.h"
#include "yamanote/policy.h"

namespace yamanote::tools {
namespace {

using enum ValueKind;

constexpr uint64_t kMicrosecond = 1'000;
constexpr uint64_t kMillisecond = 1'000'000;
constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kHour = 3600 * kSecond;
constexpr uint64_t kKiB = 1024;
constexpr uint64_t kMiB = 1024 * kKiB;
constexpr uint64_t kGiB = 1024 * kMiB;
constexpr uint64_t kTiB = 1024 * kGiB;

std::vector<std::string> PresetNames() {
  std::vector<std::string> names;
  for (const PresetInfo& preset : Presets()) names.emplace_back(preset.name);
  return names;
}

std::vector<std::string> OrderNames() {
  std::vector<std::string> names;
  for (const PolicyInfo* policy : Policies()) names.emplace_back(policy->name);
  for (const sim::Oracle oracle : {sim::Oracle::kPs, sim::Oracle::kSrpt})
    names.emplace_back(ToString(oracle));
  return names;
}

std::vector<std::string> AllocationNames() {
  std::vector<std::string> names;
  for (const CorePolicyInfo* policy : CorePolicies())
    names.emplace_back(policy->name);
  return names;
}

// Names a field of Config to a kind.
#define FIELD(path) ([](auto& config) -> auto& { return config.path; })

std::vector<OptionSpec> SchedulingEntries() {
  return {
      NameChoice<FIELD(runtime.scheduling.preset)>(
          "preset", PresetNames(),
          "The published scheduler to start from; "
          "the keys below override its parts"),
      NameChoice<FIELD(runtime.scheduling.order)>(
          "order", OrderNames(),
          "Which task runs next within one domain; ps and srpt know what "
          "requests "
          "take, so only simulations have them"),
      Slice("slice",
            {kMicrosecond, 10 * kSecond, "none", ToNumber(kNoPreemption)},
            "How long a task runs before it gives way, if something waits; "
            "\"adaptive\" is a `slice` of 2us with a `slice_max` of 100us"),
      Number<FIELD(runtime.scheduling.slice.most)>(
          "slice_max", kDuration, {kMicrosecond, 10 * kSecond, "fixed", 0},
          "Up to what the slice adapts to how long requests run, from `slice` "
          "on; "
          "\"fixed\" if it does not"),
      EnumChoice<FIELD(runtime.scheduling.rejoin), Rejoin::kTail,
                 Rejoin::kHead>("rejoin",
                                "Where a preempted task rejoins its queue"),
      EnumChoice<FIELD(runtime.scheduling.placement), PlacementKind::kCentral,
                 PlacementKind::kPartitioned, PlacementKind::kStealing,
                 PlacementKind::kTwoLevel>(
          "placement",
          "Which cores share a queue, and how work moves between queues"),
      EnumChoice<FIELD(runtime.scheduling.dispatcher), DispatcherKind::kAuto,
                 DispatcherKind::kShared, DispatcherKind::kDedicated>(
          "dispatcher",
          "Who does the dispatcher's work under central placement; "
          "auto: dedicated from 4 cores on, a shared queue below"),
      Number<FIELD(runtime.scheduling.slots)>(
          "slots", kCount, {1, kMaxSlots},
          "Tasks a worker may hold under a dedicated dispatcher, "
          "the running one included; a shared queue has no slots"),
      Switch<FIELD(runtime.scheduling.steal)>(
          "steal",
          "Whether an idle core takes work from the longest domain "
          "(two-level)"),
      EnumChoice<FIELD(runtime.scheduling.replies), ReplyPath::kDirect,
                 ReplyPath::kHome>(
          "replies", "Which core sends the reply of a request that was stolen"),
      NameChoice<FIELD(runtime.scheduling.allocation)>(
          "allocation", AllocationNames(),
          "How many cores it wants where an arbiter hands them out"),
      Classes("classes",
              "A request class's objective (p99 when it runs alone), "
              "how many of its requests may be in the system (more are "
              "refused), what order cbs gives each (a budget of core time in "
              "every period), and whether it is in the background: served only "
              "while none of others wait. Repeatable: NAME:slo=50us,limit=1000 "
              "or NAME:budget=2ms,period=10ms or NAME:background"),
  };
}

std::vector<OptionSpec> RuntimeEntries() {
  return {
      CpuList<FIELD(runtime.cpus)>(
          "cores",
          "CPUs to run on, one worker pinned to each; "
          "\"auto\" takes `workers` of those that the process may use"),
      Number<FIELD(runtime.cores)>(
          "workers", kCount, {0, kMaxCores},
          "Workers if `cores` is auto; "
          "0 is one for each CPU that the process may use"),
      Text<FIELD(runtime.arbiter.socket)>(
          "arbiter", "PATH or empty",
          "The socket of the arbiter (yamanoted) whose cores these are, "
          "instead "
          "of `cores`; empty: that of $YAMANOTE_ARBITER if it is set, else "
          "there is none"),
      Number<FIELD(runtime.arbiter.guaranteed)>(
          "guaranteed", kCount, {1, kMaxCores},
          "Cores that are its whenever it has work, under an arbiter"),
      Number<FIELD(runtime.arbiter.burst)>(
          "burst", kCount, {0, kMaxCores},
          "Cores beyond those that it gets as `allocation` wants them"),
      Switch<FIELD(runtime.pin)>("pin", "Whether each worker stays on its CPU"),
      Number<FIELD(runtime.spin)>(
          "spin", kDuration, {0, 10 * kSecond},
          "How long an idle worker polls before it sleeps; "
          "0ns sleeps at once"),
      EnumChoice<FIELD(runtime.preemption), Mechanism::kAuto, Mechanism::kNone,
                 Mechanism::kProbe, Mechanism::kSignal,
                 Mechanism::kUserInterrupt>(
          "preemption",
          "What makes a task give way when its slice is over; "
          "`yamanote doctor` says which there are"),
      Number<FIELD(runtime.watchdog)>(
          "watchdog", kDuration, {0, kHour},
          "A task that holds preemption off for longer while others wait is "
          "reported with its stack; 0ns: none is"),
      Number<FIELD(runtime.stack_bytes)>(
          "stack_bytes", kBytes, {16 * kKiB, 64 * kMiB},
          "Usable stack of a request or user thread"),
      Number<FIELD(runtime.max_threads)>(
          "max_threads", kCount, {16, 16 * kMiB},
          "Requests and user threads alive at a time; more are refused"),
  };
}

// Whom the server listens to, and how much it takes from them.
std::vector<OptionSpec> ServerEntries() {
  return {
      Listen("listen",
             "Address and port to accept on, several with commas; "
             "port 0 lets the system choose one"),
      EnumChoice<FIELD(server.protocol), ServeProtocol::kTcp,
                 ServeProtocol::kUdp, ServeProtocol::kBoth>(
          "protocol", "Transport to serve"),
      Number<FIELD(server.options.max_connections)>(
          "max_connections", kCount, {1, kMiB},
          "TCP connections at a time; "
          "more get the protocol's refusal and are closed"),
      Number<FIELD(server.options.max_request_bytes)>(
          "max_request_bytes", kBytes, {64, kGiB},
          "The largest request; a larger one gets the protocol's refusal"),
      Number<FIELD(server.options.max_reply_bytes)>(
          "max_reply_bytes", kBytes, {64, kGiB},
          "The largest reply that a handler may build"),
      Number<FIELD(server.options.max_udp_reply_bytes)>(
          "max_udp_reply_bytes", kBytes, {256, kGiB},
          "The largest reply over UDP, beside max_reply_bytes; "
          "for larger ones there is TCP"),
      Number<FIELD(server.options.max_buffer_bytes)>(
          "max_buffer_bytes", kBytes, {kMiB, kTiB},
          "What clients' requests and replies may take together "
          "beyond 64KiB each; then large ones are refused. "
          "At least twice max_request_bytes and twice max_reply_bytes"),
      Number<FIELD(server.options.max_datagram_bytes)>(
          "max_datagram_bytes", kBytes, {64, 65507},
          "The largest request over UDP"),
      Number<FIELD(server.options.max_datagrams)>(
          "max_datagrams", kCount, {256, 16 * kMiB},
          "UDP requests in the server at a time; "
          "further ones wait in the kernel"),
      Number<FIELD(server.options.socket_buffer_bytes)>(
          "socket_buffer_bytes", kBytes, {4 * kKiB, kGiB},
          "Kernel buffer asked for each UDP socket, per direction"),
  };
}

// How long the server waits, and for what.
std::vector<OptionSpec> ServerTimeEntries() {
  return {
      Number<FIELD(server.options.idle_timeout)>(
          "idle_timeout", kDuration, {kMillisecond, 24 * kHour},
          "A connection without a request or a reply for this long is closed"),
      Number<FIELD(server.options.request_timeout)>(
          "request_timeout", kDuration, {kMillisecond, 24 * kHour},
          "From a request's first byte to its last; "
          "a slower connection is closed"),
      Number<FIELD(server.options.send_timeout)>(
          "send_timeout", kDuration, {kMillisecond, 24 * kHour},
          "A connection that takes no byte of its reply for this long "
          "is closed"),
      Number<FIELD(server.options.drain_timeout)>(
          "drain_timeout", kDuration, {0, kHour},
          "How long a shutdown waits for requests in flight"),
      Number<FIELD(server.options.reply_delay)>(
          "reply_delay", kDuration, {0, kSecond},
          "How long a UDP reply may wait for others to share its system call, "
          "at most a quarter of what its request took; 0ns: not at all"),
      Number<FIELD(server.stats_interval)>(
          "stats_interval", kDuration,
          {100 * kMillisecond, 24 * kHour, "never", 0},
          "How often statistics are printed; SIGUSR1 prints them at once"),
  };
}

std::vector<OptionSpec> KvEntries() {
  return {
      Number<FIELD(kv.memory_limit)>(
          "memory_limit", kBytes, {kMiB, kTiB},
          "Memory for items, their keys and overhead; "
          "the least recently used are evicted"),
      // Its request, with key and flags, fits max_request_bytes at most.
      Number<FIELD(kv.max_value_bytes)>("max_value_bytes", kBytes,
                                        {1, kGiB - kMiB}, "The longest value"),
      Number<FIELD(kv.long_get_keys)>(
          "long_get_keys", kCount, {1, kMiB},
          "A get of more keys than this is of the class \"long\""),
  };
}

std::vector<OptionSpec> RocksdbEntries() {
  return {
      Path<FIELD(rocksdb.path)>(
          "path",
          "The directory for the data, which stays there; "
          "empty: in memory (/dev/shm), removed at the end"),
      Number<FIELD(rocksdb.keys)>(
          "keys", kCount, {0, 100'000'000},
          "Keys that an empty store is filled with: key-00000000 and on"),
      Number<FIELD(rocksdb.value_bytes)>("value_bytes", kBytes, {0, kMiB},
                                         "Length of each of their values"),
      Number<FIELD(rocksdb.max_value_bytes)>(
          "max_value_bytes", kBytes, {1, 512 * kMiB}, "The longest value"),
      Number<FIELD(rocksdb.max_scan_keys)>(
          "max_scan_keys", kCount, {1, 100'000'000},
          "Keys that one RANGE or SCAN may ask for"),
      Number<FIELD(rocksdb.max_bytes)>(
          "max_bytes", kBytes, {kMiB, kTiB},
          "Tables beyond which writes, and more `keys`, are refused; up to "
          "256MiB of write buffers and the results of compactions come on top; "
          "the default is less where there is less room"),
  };
}

std::vector<OptionSpec> SpinEntries() {
  return {
      Number<FIELD(spin.max_service)>(
          "max_service", kDuration, {kMicrosecond, 60 * kSecond},
          "The longest service time that a request may ask for; "
          "more is malformed"),
  };
}

std::vector<OptionSpec> SimEntries() {
  return {
      Number<FIELD(sim.cores)>("cores", kCount, {1, sim::kMaxCores},
                               "Cores to simulate"),
      Text<FIELD(sim.service)>(
          "service",
          "fixed:10us, exp:10us, bimodal:99.5%:5us,0.5%:500us, trimodal:..., "
          "lognormal:mean=10us,sigma=2, pareto:alpha=1.5,min=1us",
          "How long requests take, as in `yamanote load spin`"),
      Share<FIELD(sim.load)>(
          "load", 0.001, 10,
          "Requests, as a share of what the cores could do if nothing cost "
          "anything"),
      Number<FIELD(sim.rate)>("rate", kCount,
                              {1, 100'000'000'000, "by-load", 0},
                              "Requests per second instead of `load`"),
      Number<FIELD(sim.requests)>("requests", kCount,
                                  {1'000, 1'000'000'000'000},
                                  "Requests of a run, the warm-up's included"),
      Share<FIELD(sim.warmup)>("warmup", 0, 0.9,
                               "Share of the requests that does not count"),
      Number<FIELD(sim.seed)>("seed", kCount, {0, UINT32_MAX},
                              "The same seed gives the same requests"),
      Number<FIELD(sim.runs)>(
          "runs", kCount, {1, 10'000},
          "Runs with seeds from `seed` on; all of them count together"),
      Text<FIELD(sim.arrivals)>(
          "arrivals", "poisson, fixed or burst:N",
          "When requests come: at random, evenly, or N at a time"),
      Number<FIELD(sim.connections)>(
          "connections", kCount, {1, 16 * kMiB, "one-each", 0},
          "Connections that requests are spread over at random; their hash "
          "gives them cores where placement is by connection. "
          "\"one-each\": every request has its own"),
      Number<FIELD(sim.period)>(
          "period", kDuration, {kMicrosecond, 24 * kHour, "none", 0},
          "The rate rises and falls, as a sine, with this period"),
      Share<FIELD(sim.swing)>("swing", 0, 1,
                              "By how much of its mean, if it does"),
      Path<FIELD(sim.trace)>(
          "trace",
          "Requests from this file instead of `service`, `load` and `arrivals` "
          "(docs/sim.md)"),
      Number<FIELD(sim.guaranteed)>(
          "guaranteed", kCount, {0, sim::kMaxCores},
          "Cores that nobody takes while it uses them, with an arbiter"),
      Switch<FIELD(sim.batch)>(
          "batch",
          "Whether a batch program takes the cores that are left, with an "
          "arbiter"),
      Switch<FIELD(sim.native)>(
          "native",
          "Whether requests are native threads, each new, and agents schedule "
          "them on a modelled kernel"),
      Text<FIELD(sim.costs)>(
          "costs", "zero, measured or FILE",
          "What is not requests' own work costs: nothing; what "
          "`yamanote doctor` measures, now; or what it wrote to a file by "
          "--costs. The keys of [costs] override it"),
  };
}

std::vector<OptionSpec> CostEntries() {
  // More would not be a cost, but an outage.
  const Range range{0, kSecond};
  return {
      Number<FIELD(costs.context_switch)>(
          "context_switch", kDuration, range,
          "A core goes from one task to another, or from none to one"),
      Number<FIELD(costs.preempt_receiver)>(
          "preempt_receiver", kDuration, range,
          "Being preempted takes from a core, beside the switch"),
      Number<FIELD(costs.preempt_sender)>(
          "preempt_sender", kDuration, range,
          "Preempting takes from a dedicated dispatcher"),
      Number<FIELD(costs.dispatch)>(
          "dispatch", kDuration, range,
          "Sending a task to a worker takes from a dedicated dispatcher"),
      Number<FIELD(costs.hop)>(
          "hop", kDuration, range,
          "What one core writes is seen by another after this"),
      Number<FIELD(costs.steal)>("steal", kDuration, range,
                                 "A task of another core takes from a thief"),
      Number<FIELD(costs.network)>(
          "network", kDuration, range,
          "Receiving a request and sending its reply take from the core that "
          "runs it, or from a dedicated dispatcher"),
      Number<FIELD(costs.core_grant)>("core_grant", kDuration, range,
                                      "A core is given to an application"),
      Number<FIELD(costs.core_revoke)>("core_revoke", kDuration, range,
                                       "A core is taken from an application"),
      Number<FIELD(costs.message)>(
          "message", kDuration, range,
          "Reading one takes from an agent of native threads"),
      Number<FIELD(costs.commit)>(
          "commit", kDuration, range,
          "Putting a thread on a core takes from an agent"),
      Number<FIELD(costs.agent_wake)>(
          "agent_wake", kDuration, range,
          "An agent that has something to read comes to itself after this"),
  };
}

std::vector<OptionSpec> ArbiterEntries() {
  return {
      Number<FIELD(arbiter.interval)>(
          "interval", kDuration, {100, kSecond, "none", 0},
          "How often the arbiter looks who needs more cores; \"none\": there "
          "is "
          "no arbiter, all cores are the application's"),
      Number<FIELD(arbiter.park_after)>(
          "park_after", kDuration, {0, kSecond},
          "How long a worker looks for work before it gives its core back, "
          "where `allocation` lets it; under a daemon that is driven by events "
          "always, and 50us if nothing is said"),
      Number<FIELD(arbiter.policies.delay)>(
          "delay", kDuration, {0, kSecond},
          "Allocation delay: how long a task may wait before another core is "
          "wanted"),
      Number<FIELD(arbiter.policies.delay_low)>(
          "delay_low", kDuration, {0, kSecond},
          "Allocation delay-range: up to this mean delay an idle core may go"),
      Number<FIELD(arbiter.policies.delay_high)>(
          "delay_high", kDuration, {0, kSecond},
          "Allocation delay-range: from this mean delay on another is wanted"),
      Share<FIELD(arbiter.policies.utilization_low)>(
          "utilization_low", 0, 1,
          "Allocation utilization-range: below this an idle core may go"),
      Share<FIELD(arbiter.policies.utilization_high)>(
          "utilization_high", 0, 1,
          "Allocation utilization-range: from this on another is wanted"),
  };
}

std::vector<OptionSpec> DaemonEntries() {
  using Mode = arbiter::DaemonOptions::Mode;
  return {
      Path<FIELD(daemon.socket)>(
          "socket",
          "Where applications register; empty: /run/yamanote/arbiter.sock for "
          "root, else below $XDG_RUNTIME_DIR"),
      CpuList<FIELD(daemon.cpus)>("cpus",
                                  "CPUs that are handed out; \"auto\": all "
                                  "that the daemon may use, but "
                                  "`poll_cpu`"),
      EnumChoice<FIELD(daemon.mode), Mode::kEvents, Mode::kPolling>(
          "mode",
          "events: looks when applications ask, and costs no core; polling: "
          "looks every `poll_interval`, on a core of its own"),
      Number<FIELD(daemon.poll_cpu)>(
          "poll_cpu", kCount, {0, kMaxCpu, "last", UINT64_MAX},
          "The CPU that polls; \"last\": of those that it may use"),
      Number<FIELD(daemon.interval)>("poll_interval", kDuration,
                                     {kMicrosecond, kSecond},
                                     "How often it looks, if it polls"),
      Number<FIELD(daemon.least_gap)>(
          "least_gap", kDuration, {kMicrosecond, kSecond},
          "Driven by events: how long it rests, however often it is asked"),
      Number<FIELD(daemon.idle_interval)>(
          "idle_interval", kDuration, {10 * kMicrosecond, 10 * kSecond},
          "Driven by events: how often it looks by itself while cores beyond "
          "the guarantees are in use"),
      Number<FIELD(daemon.revoke_deadline)>(
          "revoke_deadline", kDuration, {kMicrosecond, kSecond},
          "How long a worker may take to leave, or to come, before it gets a "
          "signal"),
      Number<FIELD(daemon.move_deadline)>(
          "move_deadline", kDuration, {10 * kMicrosecond, 10 * kSecond},
          "After how long it is moved away by force; more than "
          "`revoke_deadline`"),
      Text<FIELD(daemon.users)>(
          "users", "NAME:guaranteed=N,burst=N,apps=N; several with semicolons",
          "What users' applications may have: guaranteed cores of all of them, "
          "cores beyond of each, and their number; \"*\" is everybody else, "
          "who has 0, 0 and 8: best effort only. Root and the daemon's own "
          "user may have everything"),
  };
}

#undef FIELD

std::string FlagOf(const OptionSpec& spec) {
  if (spec.kind == kClass) return "--class";
  // A service's own keys carry its name, so they cannot clash with others'.
  std::string name = IsService(spec.section)     ? spec.section + "-" + spec.key
                     : spec.section == "costs"   ? "cost-" + spec.key
                     : spec.section == "arbiter" ? "arbiter-" + spec.key
                                                 : spec.key;
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

void Append(std::vector<OptionSpec>& table, std::string_view section,
            std::vector<OptionSpec> entries) {
  for (OptionSpec& spec : entries) {
    spec.section = section;
    spec.flag = FlagOf(spec);
    table.push_back(std::move(spec));
  }
}

std::vector<OptionSpec> MakeTable() {
  std::vector<OptionSpec> table;
  Append(table, "scheduling", SchedulingEntries());
  Append(table, "runtime", RuntimeEntries());
  Append(table, "server", ServerEntries());
  Append(table, "server", ServerTimeEntries());
  Append(table, "kv", KvEntries());
  Append(table, "rocksdb", RocksdbEntries());
  Append(table, "spin", SpinEntries());
  Append(table, "sim", SimEntries());
  Append(table, "arbiter", ArbiterEntries());
  Append(table, "costs", CostEntries());
  Append(table, "daemon", DaemonEntries());
  return table;
}

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
      {"rocksdb", "The RocksDB service"},
      {"spin", "The spin service"},
      {"sim", "What is simulated"},
      {"arbiter", "Who moves cores between applications"},
      {"costs", "What is not requests' own work costs"},
      {"daemon", "yamanoted, the arbiter of this machine"},
  };
  return kSections;
}

bool IsService(std::string_view section) {
  return section == "kv" || section == "rocksdb" || section == "spin";
}

bool IsSimulation(std::string_view section) {
  return section == "sim" || section == "arbiter" || section == "costs";
}

bool IsDaemon(std::string_view section) { return section == "daemon"; }

const OptionSpec* FindOption(std::string_view section, std::string_view key) {
  for (const OptionSpec& spec : Options()) {
    if (spec.section == section && spec.key == key) return &spec;
  }
  return nullptr;
}

}  // namespace yamanote::tools
