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

std::string NoteOf(const rocks::Database& database) {
  const uint64_t wanted = database.options().max_bytes;
  if (database.max_bytes() >= wanted) return {};
  return fmt::format(
      "rocksdb.max_bytes = {} instead of {}, because {} has no more room; make "
      "room there, or set rocksdb.path (--rocksdb-path) to a directory "
      "elsewhere",
      database.max_bytes(), wanted, database.path());
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
  // Who asked for so many must know; the default is as many as there can be.
  if (config.origins.contains("rocksdb.max_bytes")) {
    options.database.without_room =
        rocks::DatabaseOptions::WithoutRoom::kRefuse;
  }
  options.database.cancelled = &Signals::IsEndPending;
  options.max_value_bytes = settings.max_value_bytes;
  options.max_scan_keys = settings.max_scan_keys;
  options.check_preempt = [] { CheckPreempt(); };
  options.server_info = [server] { return ServerLines(server->load()); };
  auto service = std::make_unique<rocks::RocksdbService>(std::move(options));
  rocks::RocksdbService* const made = service.get();

  Served served;
  served.protocol = std::make_unique<net::resp::RespProtocol>(
      net::resp::Options{.max_value_bytes = settings.max_value_bytes});
  served.service = std::move(service);
  served.attach = [server](const Server& started) { server->store(&started); };
  served.has_probes = rocks::RocksdbService::HasProbes();
  served.files = rocks::MostFiles(settings.max_bytes);
  served.discard = [made] { made->Discard(); };
  served.note = [made] { return NoteOf(made->database()); };
  return served;
}

}  // namespace yamanote::tools
