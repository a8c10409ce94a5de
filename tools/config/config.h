// config.h - everything `yamanote serve`, `sim` and yamanoted can be told, and where it
// was told.
//
// Values come from four places; a later one wins: the built-in defaults, the
// preset, the file's keys, the flags. The table in options.h is the only list
// of options: file keys, flags, limits, help, completion and --print-config are
// generated from it, so they cannot diverge.
//
//   settings = ReadToml(path) + flags  ->  Build(settings)  ->  Config

#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arbiter/daemon.h"
#include "sim/costs.h"
#include "yamanote/core_policy.h"
#include "yamanote/result.h"
#include "yamanote/runtime.h"
#include "yamanote/scheduling.h"
#include "yamanote/server.h"

namespace yamanote::tools {

enum class ServeProtocol : uint8_t { kTcp, kUdp, kBoth };
std::string_view ToString(ServeProtocol protocol);

// One class of requests, as far as the configuration says something about it.
// The service knows which classes there are; this changes their limits.
struct ClassSetting {
  std::string name;
  std::optional<Duration> slo;
  std::optional<uint32_t> limit;
  std::optional<bool> background;
  std::optional<Duration> budget;
  std::optional<Duration> period;
  std::string origin;
};

// Reads "NAME:slo=50us,limit=1000,budget=2ms,period=10ms,background", each part optional but
// one of them. Errors name what is wrong and how it is written.
Result<ClassSetting> ParseClass(std::string_view text);
// Returns `known` as `setting` changes it.
ClassOptions WithSettings(ClassOptions known, const ClassSetting& setting);

// The server's own defaults, but room for kv's longest value and its command.
inline ServerOptions DefaultServerOptions() {
  ServerOptions options;
  options.max_request_bytes = 2 * 1024 * 1024;
  options.max_reply_bytes = 16 * 1024 * 1024;
  return options;
}

struct ServerSettings {
  // One address or several, with commas.
  std::string listen = "127.0.0.1:7700";
  ServeProtocol protocol = ServeProtocol::kTcp;
  Duration stats_interval{0};  // Zero: never.
  // All but listen, tcp, udp and classes, which serve fills in from the above.
  ServerOptions options = DefaultServerOptions();
};

struct KvSettings {
  uint64_t memory_limit = 64 * 1024 * 1024;
  uint64_t max_value_bytes = 1024 * 1024;
  uint64_t long_get_keys = 32;
};

struct RocksdbSettings {
  std::string path;  // Empty: in memory, gone at the end.
  uint64_t keys = 100'000;
  uint64_t value_bytes = 100;
  uint64_t max_value_bytes = 1024 * 1024;
  uint64_t max_scan_keys = 100'000;
  uint64_t max_bytes = 1024 * 1024 * 1024;
};

struct SpinSettings {
  Duration max_service = std::chrono::seconds(1);
};

// What is simulated, beside the scheduling.
struct SimSettings {
  unsigned cores = 16;
  std::string service;  // As `yamanote load spin --service`.
  double load = 0.7;    // Of what the cores could do without any costs.
  uint64_t rate = 0;    // Requests per second; 0: what `load` gives.
  uint64_t requests = 1'000'000;
  double warmup = 0.1;  // Share of the requests that does not count.
  uint64_t seed = 1;
  unsigned runs = 1;  // With seeds from `seed` on.
  std::string arrivals = "poisson";
  uint64_t connections = 0;  // 0: each request has its own.
  Duration period{0};        // Of a rate that rises and falls; 0: it does not.
  double swing = 0.5;        // By how much of the mean.
  std::string trace;         // Requests from a file instead. May be empty.
  unsigned guaranteed = 0;   // Cores, with an arbiter.
  bool batch = false;   // A batch program has what is left, with an arbiter.
  bool native = false;  // Requests are native threads, agents schedule.
  std::string costs = "zero";  // "zero", "measured" or a file with [costs].
};

struct ArbiterSettings {
  Duration interval{0};  // 0: there is none.
  Duration park_after = std::chrono::microseconds(2);
  CorePolicyOptions policies{};
};

// Of yamanoted, beside the policies' keys in ArbiterSettings.
struct DaemonSettings {
  std::string socket;     // Empty: arbiter::DefaultSocket().
  std::vector<int> cpus;  // Empty: all that it may use.
  arbiter::DaemonOptions::Mode mode = arbiter::DaemonOptions::Mode::kEvents;
  int poll_cpu = -1;
  Duration interval = std::chrono::microseconds(5);
  Duration least_gap = std::chrono::microseconds(20);
  Duration idle_interval = std::chrono::milliseconds(1);
  Duration revoke_deadline = std::chrono::microseconds(100);
  Duration move_deadline = std::chrono::milliseconds(2);
  std::string users;  // "NAME:guaranteed=2,burst=2,apps=8; ..."
};

struct Config {
  RuntimeOptions runtime;  // Its scheduling is the effective one.
  std::vector<ClassSetting> classes;
  ServerSettings server;
  KvSettings kv;
  RocksdbSettings rocksdb;
  SpinSettings spin;
  SimSettings sim;
  ArbiterSettings arbiter;
  DaemonSettings daemon;
  sim::Costs
      costs;  // Those that were set; others are as SimSettings::costs says.

  // "section.key" -> "file.toml:12" or "--flag", for what was set explicitly.
  std::map<std::string, std::string, std::less<>> origins;
};

struct OptionSpec;

// One value given by somebody.
struct Setting {
  const OptionSpec* option = nullptr;
  std::string text;
  std::string origin;  // "serve.toml:12" or "--slice".
};

// Reads a TOML file. The error lists every problem, one per line, each with
// file:line, key, what is wrong and the remedy. `name` is printed as that of
// the file.
Result<std::vector<Setting>> ParseToml(std::string_view text,
                                       std::string_view name);
Result<std::vector<Setting>> ReadToml(const std::string& path);

// Who it is for: a server's or simulated cores, or all applications'.
enum class Use : uint8_t { kServe, kSimulate, kArbitrate };

// Applies `settings` in order over the preset they name; a simulation for which they name
// an order or a placement but no preset starts from one queue for all cores, first come
// first served. The error lists every
// value that is outside its limits; then whether the combination is possible.
Result<Config> Build(std::span<const Setting> settings, Use use = Use::kServe);

// Returns how many cores `config` asks for; the process may use `allowed` CPUs.
unsigned CoreCount(const Config& config, size_t allowed);

// The effective configuration of `yamanote serve` as a TOML file with comments. It reads
// back to the same configuration.
std::string PrintConfig(const Config& config);

}  // namespace yamanote::tools
