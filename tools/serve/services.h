// services.h - the services that `yamanote serve` knows by name.

#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tools/config/config.h"
#include "yamanote/server.h"
#include "yamanote/service.h"

namespace yamanote::tools {

// A service and the protocol it speaks, ready for Server::Start().
struct Served {
  std::unique_ptr<Protocol> protocol;
  std::unique_ptr<Service> service;
  // Tells the service about its server, for what it reports to clients. Called
  // after the start; the server outlives the last request.
  std::function<void(const Server&)> attach;
  // What whoever started it should know, after the start. Empty: nothing.
  std::function<std::string()> note = {};
  // Its code was compiled with probes: slices end anywhere in it.
  bool has_probes = false;
  // Files that the service itself may have open at a time.
  uint64_t files = 0;
  // Removes what the service leaves behind on disk, for a process that ends at
  // once although requests run. Empty: nothing. Any thread.
  std::function<void()> discard = {};
};

struct ServiceInfo {
  std::string_view name;
  std::string_view help;
  std::string_view example;
  Result<Served> (*make)(const Config& config);
};

std::span<const ServiceInfo> Services();

#ifdef YAMANOTE_ROCKSDB
Result<Served> MakeRocksdb(const Config& config);  // service_rocksdb.cc
#endif

// Whether values of `value_bytes`, the service's longest, can come and go: each
// is one request and one reply, with up to `overhead` bytes of words around it.
// The error names the option that is too low.
Result<void> CheckValueFits(std::string_view service, uint64_t value_bytes,
                            uint64_t overhead, const Config& config);

// The classes that `config` makes of those the service has: it may change their
// objectives and limits. Sets them in the configuration, too. Refuses a class
// that the service does not have; the spin service takes any, in order.
Result<void> ResolveClasses(std::string_view service, const Protocol& protocol,
                            Config& config);

}  // namespace yamanote::tools
