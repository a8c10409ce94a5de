// chase.cc - follows a random cycle of pointers through 256 KiB.

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace {

struct Node {
  Node* next;
  uint64_t value;
};

}  // namespace

extern "C" uint64_t kernel_chase(uint64_t n) {
  std::vector<Node> nodes(16384);
  std::vector<size_t> order(nodes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::mt19937_64 random(1);
  // Not std::shuffle(): what it does differs between libraries.
  for (size_t i = order.size() - 1; i > 0; --i) {
    std::swap(order[i], order[random() % (i + 1)]);
  }
  for (size_t i = 0; i < order.size(); ++i) {
    nodes[order[i]] = {&nodes[order[(i + 1) % order.size()]], i};
  }
  uint64_t sum = 0;
  const Node* node = &nodes[0];
  for (uint64_t step = 0; step < n * 1024; ++step) {
    sum += node->value;
    node = node->next;
  }
  return sum;
}
