// services.cc - makes a service and its protocol from the configuration.

#include "tools/serve/services.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>

#include "apps/kv/service.h"
#include "apps/spin/service.h"
#include "base/topology.h"
#include "net/memcached.h"
#include "net/spin.h"
#include "tools/config/values.h"
#include "yamanote/thread.h"

namespace yamanote::tools {
namespace {

using Lines = std::vector<std::pair<std::string, std::string>>;

// What the kv service says about its server in `stats`; empty before it started.
Lines ServerStatLines(const Server* server, unsigned threads) {
  if (server == nullptr) return {};
  const ServerStats stats = server->stats();
  return {
      {"max_connections", fmt::format("{}", server->options().max_connections)},
      {"curr_connections", fmt::format("{}", stats.open)},
      {"total_connections", fmt::format("{}", stats.accepted)},
      {"rejected_connections", fmt::format("{}", stats.refused_connections)},
      {"threads", fmt::format("{}", threads)}};
}

Lines ServerSettingLines(const Server* server, unsigned threads) {
  if (server == nullptr) return {};
  const ServerOptions& options = server->options();
  const bool tcp = options.tcp && !server->tcp_addresses().empty();
  const bool udp = options.udp && !server->udp_addresses().empty();
  return {{"maxconns", fmt::format("{}", options.max_connections)},
          {"tcpport",
           fmt::format("{}", tcp ? server->tcp_addresses().front().port() : 0)},
          {"udpport",
           fmt::format("{}", udp ? server->udp_addresses().front().port() : 0)},
          {"num_threads", fmt::format("{}", threads)}};
}

Result<Served> MakeKv(const Config& config) {
  const Result<void> fits = CheckValueFits(
      "kv", config.kv.max_value_bytes, net::memcached::kMaxLineBytes, config);
  if (!fits) return tl::unexpected(fits.error());
  // Set once, after the start, while requests may run already.
  const auto server = std::make_shared<std::atomic<const Server*>>(nullptr);
  const unsigned threads = CoreCount(config, base::AllowedCpus().size());
  kv::KvOptions options;
  options.store.memory_limit = config.kv.memory_limit;
  options.store.max_value_bytes = config.kv.max_value_bytes;
  options.check_preempt = [] { CheckPreempt(); };
  options.server_stats = [=] {
    return ServerStatLines(server->load(), threads);
  };
  options.server_settings = [=] {
    return ServerSettingLines(server->load(), threads);
  };
  Result<std::unique_ptr<kv::KvService>> service =
      kv::KvService::Create(std::move(options));
  if (!service) {
    return MakeError(service.error().code, "kv: " + service.error().message);
  }
  Served served;
  served.protocol = std::make_unique<net::memcached::MemcachedProtocol>(
      net::memcached::Options{
          .max_value_bytes = config.kv.max_value_bytes,
          .long_get_keys = static_cast<unsigned>(config.kv.long_get_keys)});
  served.service = std::move(*service);
  served.attach = [server](const Server& started) { server->store(&started); };
  served.has_probes = kv::KvService::HasProbes();
  return served;
}

// Two classes unless the configuration lists others: enough for the generator's
// two-peaked mixes, whose parts are classes 0 and 1.
Result<Served> MakeSpin(const Config& config) {
  net::SpinOptions options;
  options.max_service = config.spin.max_service;
  options.classes = {{.name = "short", .slo = std::chrono::microseconds(100)},
                     {.name = "long", .slo = std::chrono::milliseconds(5)}};
  for (const ClassSetting& setting : config.classes) {
    const bool known = std::any_of(
        options.classes.begin(), options.classes.end(),
        [&](const ClassOptions& c) { return c.name == setting.name; });
    if (!known) options.classes.push_back({.name = setting.name});
  }
  Served served;
  served.protocol = std::make_unique<net::SpinProtocol>(std::move(options));
  served.service = std::make_unique<apps::SpinService>();
  served.attach = [](const Server&) {};
  served.has_probes = apps::SpinService::HasProbes();
  return served;
}

}  // namespace

std::span<const ServiceInfo> Services() {
  static constexpr ServiceInfo kServices[] = {
      {"kv", "A key-value cache that memcached's clients talk to",
       "Examples:\n"
       "  yamanote serve kv\n"
       "  yamanote serve kv --listen 0.0.0.0:7700 --protocol both "
       "--kv-memory-limit 1GiB\n"
       "  yamanote serve kv --preset shinjuku --cores 0-3 --class "
       "short:slo=50us\n"
       "  yamanote serve kv --config serve.toml --print-config\n"
       "  printf 'set a 0 0 1\\r\\nx\\r\\nget a\\r\\nquit\\r\\n' | nc "
       "127.0.0.1 7700",
       &MakeKv},
#ifdef YAMANOTE_ROCKSDB
      {"rocksdb", "RocksDB behind the protocol of Redis's clients",
       "Examples:\n"
       "  yamanote serve rocksdb --listen 127.0.0.1:6379\n"
       "  yamanote serve rocksdb --rocksdb-keys 1M --preset shinjuku \\\n"
       "      --class scan:slo=5ms\n"
       "  yamanote serve rocksdb --rocksdb-path /srv/data\n"
       "  redis-cli -p 6379 range key-00000000 3\n"
       "  redis-benchmark -p 6379 -t set,get -P 16",
       &MakeRocksdb},
#endif
      {"spin",
       "Burns a core for as long as each request asks: to measure schedulers",
       "Examples:\n"
       "  yamanote serve spin --protocol udp --listen 127.0.0.1:9000\n"
       "  yamanote serve spin --preset zygos --protocol udp --cores 0,1\n"
       "  yamanote load spin --target 127.0.0.1:9000 --rate 20k --duration 5 "
       "\\\n"
       "      --service bimodal:99.5%:5us,0.5%:500us --protocol udp",
       &MakeSpin},
  };
  return kServices;
}

Result<void> CheckValueFits(std::string_view service, uint64_t value_bytes,
                            uint64_t overhead, const Config& config) {
  const ServerOptions& options = config.server.options;
  const uint64_t needed = value_bytes + overhead;
  const std::pair<const char*, uint64_t> limits[] = {
      {"max_request_bytes", options.max_request_bytes},
      {"max_reply_bytes", options.max_reply_bytes}};
  for (const auto& [name, limit] : limits) {
    if (needed <= limit) continue;
    return MakeError(
        ErrorCode::kInvalidArgument,
        fmt::format("{}.max_value_bytes = {} needs server.{} of at least {}, "
                    "which is {}; raise that or lower this",
                    service, FormatBytes(value_bytes), name,
                    FormatBytes(needed), FormatBytes(limit)));
  }
  return {};
}

Result<void> ResolveClasses(std::string_view service, const Protocol& protocol,
                            Config& config) {
  std::vector<ClassOptions> classes = protocol.Classes();
  for (const ClassSetting& setting : config.classes) {
    const auto found = std::find_if(
        classes.begin(), classes.end(),
        [&](const ClassOptions& c) { return c.name == setting.name; });
    if (found == classes.end()) {
      std::vector<std::string> names;
      for (const ClassOptions& known : classes) names.push_back(known.name);
      return MakeError(
          ErrorCode::kInvalidArgument,
          fmt::format(
              "{}: scheduling.classes = \"{}\", which {} does not have; its "
              "classes are {}",
              setting.origin, setting.name, service, fmt::join(names, ", ")));
    }
    *found = WithSettings(*found, setting);
  }
  // Written back, so that --print-config shows what is in effect.
  std::vector<ClassSetting> effective;
  for (const ClassOptions& known : classes) {
    const auto set = std::find_if(
        config.classes.begin(), config.classes.end(),
        [&](const ClassSetting& s) { return s.name == known.name; });
    ClassSetting shown{
        .name = known.name, .slo = known.slo, .limit = known.limit};
    shown.background = known.background;
    if (known.Reserves()) shown.budget = known.budget;
    if (known.Reserves()) shown.period = known.period;
    shown.origin = set == config.classes.end()
                       ? fmt::format("the {} service", service)
                       : set->origin;
    effective.push_back(std::move(shown));
  }
  config.classes = std::move(effective);
  config.runtime.scheduling.classes = classes;
  config.server.options.classes = std::move(classes);
  return {};
}

}  // namespace yamanote::tools
