// topology.h - the machine's CPUs, caches and memory nodes, and which may be used.
//
// Read once at start; nothing here is for a hot path. The source is hwloc, which
// knows what /sys says, containers and odd firmware included.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "yamanote/result.h"

namespace yamanote::base {

// One hardware thread, by the operating system's number.
struct Cpu {
  int number = 0;
  int core = 0;       // Physical core; SMT siblings share it.
  int package = 0;    // Socket.
  int numa_node = 0;  // Nearest memory; 0 if the machine has one only.
};

struct Cache {
  enum class Kind : char { kUnified, kData, kInstruction };
  int level = 1;
  Kind kind = Kind::kUnified;
  size_t bytes = 0;
  size_t line_bytes = 0;
  std::vector<int> cpus;  // Which share it, by number, ascending.
};

// How close two CPUs are; a cache-line hop costs more the further down.
enum class Distance : unsigned char {
  kSameCore,     // SMT siblings.
  kSharedCache,  // The last-level cache holds both.
  kSamePackage,
  kRemote,  // Another socket.
};
std::string_view ToString(Distance distance);

struct Topology {
  std::string model;       // "Intel(R) Xeon(R) Processor", empty if unknown.
  std::vector<Cpu> cpus;   // That this process may use, by number, ascending.
  size_t online_cpus = 0;  // Of the machine, usable or not.
  std::vector<Cache> caches;
  size_t packages = 0;
  size_t numa_nodes = 0;
  // Which CPUs are near each node's memory, usable or not, by number, ascending.
  std::vector<std::vector<int>> node_cpus;
  size_t memory_bytes = 0;

  // Returns how close two usable CPUs are. Requires: both are in `cpus`.
  Distance Between(int a, int b) const;
  // Physical cores among `cpus`.
  size_t CoreCount() const;
};

// Reads the machine. kUnavailable says what hwloc could not do. Any thread;
// takes milliseconds.
Result<Topology> ReadTopology();

// Returns the CPUs that this process may use, ascending; never empty. Cheap
// (one system call). Any thread.
std::vector<int> AllowedCpus();

}  // namespace yamanote::base
