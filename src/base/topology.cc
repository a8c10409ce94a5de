// topology.cc - translates hwloc's tree into plain vectors.

#include "base/topology.h"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "base/check.h"

namespace yamanote::base {
namespace {

struct DestroyTopology {
  void operator()(hwloc_topology* topology) const {
    hwloc_topology_destroy(topology);
  }
};
using TopologyHandle = std::unique_ptr<hwloc_topology, DestroyTopology>;

// Returns the logical index of the ancestor (or nearest object) of `type`.
int IndexOf(hwloc_topology* topology, hwloc_obj_t pu, hwloc_obj_type_t type) {
  const hwloc_obj_t object = hwloc_get_ancestor_obj_by_type(topology, type, pu);
  return object == nullptr ? 0 : static_cast<int>(object->logical_index);
}

int NumaNodeOf(hwloc_topology* topology, hwloc_obj_t pu) {
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE,
                                            node)) != nullptr) {
    if (hwloc_bitmap_isset(node->cpuset, pu->os_index) != 0) {
      return static_cast<int>(node->os_index);
    }
  }
  return 0;
}

std::vector<int> Numbers(hwloc_const_cpuset_t set) {
  std::vector<int> numbers;
  for (int cpu = hwloc_bitmap_first(set); cpu >= 0;
       cpu = hwloc_bitmap_next(set, cpu)) {
    numbers.push_back(cpu);
  }
  return numbers;
}

Cache ToCache(hwloc_obj_t object) {
  Cache cache;
  cache.cpus = Numbers(object->cpuset);
  cache.level = static_cast<int>(object->attr->cache.depth);
  cache.bytes = object->attr->cache.size;
  cache.line_bytes = object->attr->cache.linesize;
  switch (object->attr->cache.type) {
    case HWLOC_OBJ_CACHE_DATA:
      cache.kind = Cache::Kind::kData;
      break;
    case HWLOC_OBJ_CACHE_INSTRUCTION:
      cache.kind = Cache::Kind::kInstruction;
      break;
    default:
      cache.kind = Cache::Kind::kUnified;
  }
  return cache;
}

const Cpu& Find(const std::vector<Cpu>& cpus, int number) {
  const auto found =
      std::find_if(cpus.begin(), cpus.end(),
                   [&](const Cpu& cpu) { return cpu.number == number; });
  YAMANOTE_CHECK(found != cpus.end(),
                 "the CPU is not one that the process may use");
  return *found;
}

bool Contains(const Cache& cache, int cpu) {
  return std::binary_search(cache.cpus.begin(), cache.cpus.end(), cpu);
}

}  // namespace

std::string_view ToString(Distance distance) {
  switch (distance) {
    case Distance::kSameCore:
      return "same core";
    case Distance::kSharedCache:
      return "shared cache";
    case Distance::kSamePackage:
      return "same package";
    case Distance::kRemote:
      return "remote package";
  }
  return "unknown";
}

Distance Topology::Between(int a, int b) const {
  const Cpu& first = Find(cpus, a);
  const Cpu& second = Find(cpus, b);
  if (first.package != second.package) return Distance::kRemote;
  if (first.core == second.core) return Distance::kSameCore;
  for (const Cache& cache : caches) {
    if (cache.level >= 2 && Contains(cache, a) && Contains(cache, b)) {
      return Distance::kSharedCache;
    }
  }
  return Distance::kSamePackage;
}

size_t Topology::CoreCount() const {
  std::set<std::pair<int, int>> cores;
  for (const Cpu& cpu : cpus) cores.emplace(cpu.package, cpu.core);
  return cores.size();
}

std::vector<int> AllowedCpus() {
  std::vector<int> allowed;
  // The kernel refuses a set smaller than its own; 8192 CPUs is its largest.
  constexpr int kMaxCpus = 8192;
  cpu_set_t* const set = CPU_ALLOC(kMaxCpus);
  const size_t bytes = CPU_ALLOC_SIZE(kMaxCpus);
  CPU_ZERO_S(bytes, set);
  if (sched_getaffinity(0, bytes, set) == 0) {
    for (int cpu = 0; cpu < kMaxCpus; ++cpu) {
      if (CPU_ISSET_S(static_cast<size_t>(cpu), bytes, set))
        allowed.push_back(cpu);
    }
  }
  CPU_FREE(set);
  YAMANOTE_CHECK(!allowed.empty(), "the kernel says that no CPU may be used");
  return allowed;
}

Result<Topology> ReadTopology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) {
    return MakeError(ErrorCode::kUnavailable,
                     "hwloc can't start; is memory exhausted?", errno);
  }
  const TopologyHandle handle(raw);
  if (hwloc_topology_load(raw) != 0) {
    return MakeError(
        ErrorCode::kUnavailable,
        "hwloc can't read the machine; `lstopo --verbose` says why", errno);
  }
  Topology topology;
  const hwloc_obj_t package = hwloc_get_obj_by_type(raw, HWLOC_OBJ_PACKAGE, 0);
  const char* const model =
      package == nullptr ? nullptr
                         : hwloc_obj_get_info_by_name(package, "CPUModel");
  if (model != nullptr) topology.model = model;
  const auto count = [&](hwloc_obj_type_t type) {
    return static_cast<size_t>(
        std::max(1, hwloc_get_nbobjs_by_type(raw, type)));
  };
  topology.packages = count(HWLOC_OBJ_PACKAGE);
  topology.numa_nodes = count(HWLOC_OBJ_NUMANODE);
  topology.online_cpus = count(HWLOC_OBJ_PU);
  topology.memory_bytes = hwloc_get_root_obj(raw)->total_memory;

  for (const int number : AllowedCpus()) {
    Cpu cpu{.number = number};
    const hwloc_obj_t pu =
        hwloc_get_pu_obj_by_os_index(raw, static_cast<unsigned>(number));
    if (pu != nullptr) {
      cpu.core = IndexOf(raw, pu, HWLOC_OBJ_CORE);
      cpu.package = IndexOf(raw, pu, HWLOC_OBJ_PACKAGE);
      cpu.numa_node = NumaNodeOf(raw, pu);
    } else {
      cpu.core = number;  // Not in hwloc's tree: a core of its own.
    }
    topology.cpus.push_back(cpu);
  }
  for (hwloc_obj_type_t type = HWLOC_OBJ_L1CACHE; type <= HWLOC_OBJ_L3ICACHE;
       type = static_cast<hwloc_obj_type_t>(type + 1)) {
    hwloc_obj_t cache = nullptr;
    while ((cache = hwloc_get_next_obj_by_type(raw, type, cache)) != nullptr) {
      topology.caches.push_back(ToCache(cache));
    }
  }
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(raw, HWLOC_OBJ_NUMANODE, node)) !=
         nullptr) {
    topology.node_cpus.push_back(Numbers(node->cpuset));
  }
  return topology;
}

}  // namespace yamanote::base
