// service_rocksdb.cc - makes the RocksDB service from the configuration.

#include <fmt/format.h>

#include <atomic>

#include "apps/rocksdb/service.h"
#include "net/resp.h"
#include "tools/serve/services.h"
#include "tools/serve/signals.h"
#include "yamanote/thread.h"

namespace yamanote::tools {
namespace {

using Lines = std::vector<std::pair<std::string, std::string>>;

Lines ServerLines(const Server* server) {
  if (server == nullptr) return {};
  const ServerStats stats = server->stats();
  const auto& tcp = server->tcp_addresses();
  return {
      {"tcp_port", fmt::format("{}", tcp.empty() ? 0 : tcp.front().port())},
      {"maxclients", fmt::format("{}", server->options().max_connections)},
      {"connected_clients", fmt::format("{}", stats.open)},
      {"total_connections_received", fmt::format("{}", stats.accepted)},
      {"rejected_connections", fmt::format("{}", stats.refused_connections)},
      {"total_commands_processed", fmt::format("{}", stats.requests)}};
}

}  // namespace

Result<Served> MakeRocksdb(const Config& config) {
  const RocksdbSettings& settings = config.rocksdb;
  const Result<void> fits =
      CheckValueFits("rocksdb", settings.max_value_bytes,
                     net::resp::kMaxOverheadBytes, config);
  if (!fits) return tl::unexpected(fits.error());
  // Set once, after the start, while requests may run already.
  const auto server = std::make_shared<std::atomic<const Server*>>(nullptr);
  rocks::RocksdbOptions options;
  options.database.path = settings.path;
  options.database.keys = settings.keys;
  options.database.value_bytes = settings.value_bytes;
  options.database.max_bytes = settings.max_bytes;
  options.database.cancelled = &Signals::IsEndPending;
  options.max_value_bytes = settings.max_value_bytes;
  options.max_scan_keys = settings.max_scan_keys;
  options.check_preempt = [] { CheckPreempt(); };
  options.server_info = [server] { return ServerLines(server->load()); };
  auto service = std::make_unique<rocks::RocksdbService>(std::move(options));
  rocks::RocksdbService* const discarded = service.get();

  Served served;
  served.protocol = std::make_unique<net::resp::RespProtocol>(
      net::resp::Options{.max_value_bytes = settings.max_value_bytes});
  served.service = std::move(service);
  served.attach = [server](const Server& started) { server->store(&started); };
  served.has_probes = rocks::RocksdbService::HasProbes();
  served.files = rocks::MostFiles(settings.max_bytes);
  served.discard = [discarded] { discarded->Discard(); };
  return served;
}

}  // namespace yamanote::tools
