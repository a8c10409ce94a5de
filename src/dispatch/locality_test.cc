// locality_test.cc - which cores share what, and who is told.

#include "dispatch/locality.h"

#include <gtest/gtest.h>

namespace yamanote::dispatch {
namespace {

// Two nodes of four CPUs, of which two each share a cache; none is known of the last one.
TEST(LocalityTest, LocalityIsTheLastCacheAndTheNode) {
  base::Topology topology;
  topology.node_cpus = {{0, 1, 2, 3}, {4, 5, 6, 7}};
  topology.caches = {{.level = 2, .cpus = {0, 1, 2, 3, 4, 5, 6, 7}},
                     {.level = 3, .cpus = {0, 1}},
                     {.level = 3, .cpus = {2, 3}},
                     {.level = 3, .cpus = {4, 5}}};
  const std::vector<int> cpus = {5, 0, 2, 1, 4, 7, 6};
  const std::vector<CoreLocality> places = LocalityOf(topology, cpus);
  ASSERT_EQ(places.size(), cpus.size());
  for (size_t a = 0; a < cpus.size(); ++a) {
    for (size_t b = 0; b < cpus.size(); ++b) {
      EXPECT_EQ(places[a].cache == places[b].cache, cpus[a] / 2 == cpus[b] / 2)
          << cpus[a] << " and " << cpus[b];
      EXPECT_EQ(places[a].node == places[b].node, cpus[a] / 4 == cpus[b] / 4)
          << cpus[a] << " and " << cpus[b];
    }
  }
}

TEST(LocalityTest, OnlyOrdersThatUseItAreToldOfLocality) {
  const std::vector<int> cpus = base::AllowedCpus();
  PolicyInfo order;
  EXPECT_TRUE(LocalityFor(order, cpus).empty());
  order.uses_locality = true;
  EXPECT_EQ(LocalityFor(order, cpus).size(), cpus.size());
}

}  // namespace
}  // namespace yamanote::dispatch
