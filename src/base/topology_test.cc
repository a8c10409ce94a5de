// topology_test.cc - what must hold on whatever machine the test runs.

#include "base/topology.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>
#include <set>
#include <thread>

namespace yamanote::base {
namespace {

TEST(TopologyTest, CpusAreThoseTheKernelAllows) {
  const Result<Topology> topology = ReadTopology();
  ASSERT_TRUE(topology) << topology.error().message;
  std::vector<int> numbers;
  for (const Cpu& cpu : topology->cpus) numbers.push_back(cpu.number);
  EXPECT_EQ(numbers, AllowedCpus());
  EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  EXPECT_GE(topology->online_cpus, numbers.size());
  EXPECT_GE(topology->CoreCount(), 1u);
  EXPECT_LE(topology->CoreCount(), numbers.size());
}

TEST(TopologyTest, ANarrowerAffinityMaskNarrowsTheCpus) {
  const int wanted = AllowedCpus().back();
  std::vector<int> seen;
  std::thread([&] {  // A thread of its own: the test's mask stays as it is.
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(wanted), &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
    seen = AllowedCpus();
  })
      .join();
  EXPECT_EQ(seen, std::vector<int>{wanted});
}

TEST(TopologyTest, EveryCpuIsNearSomeMemory) {
  const Topology topology = ReadTopology().value();
  for (const Cpu& cpu : topology.cpus) {
    size_t near = 0;
    for (const std::vector<int>& node : topology.node_cpus) {
      EXPECT_TRUE(std::is_sorted(node.begin(), node.end()));
      near +=
          static_cast<size_t>(std::count(node.begin(), node.end(), cpu.number));
    }
    EXPECT_GE(near, 1u) << "CPU " << cpu.number;
  }
}

TEST(TopologyTest, DistanceIsSymmetricAndZeroToItself) {
  const Topology topology = ReadTopology().value();
  for (const Cpu& a : topology.cpus) {
    EXPECT_EQ(topology.Between(a.number, a.number), Distance::kSameCore);
    for (const Cpu& b : topology.cpus) {
      EXPECT_EQ(topology.Between(a.number, b.number),
                topology.Between(b.number, a.number));
    }
  }
}

// Two packages of two cores with two threads each; cores of a package share L3.
TEST(TopologyTest, DistanceFollowsCoresCachesAndPackages) {
  Topology topology;
  for (int cpu = 0; cpu < 8; ++cpu) {
    topology.cpus.push_back(
        {.number = cpu, .core = cpu / 2, .package = cpu / 4});
  }
  topology.caches.push_back(
      {.level = 3, .bytes = 1 << 20, .line_bytes = 64, .cpus = {0, 1, 2, 3}});
  EXPECT_EQ(topology.CoreCount(), 4u);
  EXPECT_EQ(topology.Between(0, 1), Distance::kSameCore);
  EXPECT_EQ(topology.Between(0, 2), Distance::kSharedCache);
  // No cache is listed.
  EXPECT_EQ(topology.Between(4, 6), Distance::kSamePackage);
  EXPECT_EQ(topology.Between(0, 4), Distance::kRemote);
}

}  // namespace
}  // namespace yamanote::base
