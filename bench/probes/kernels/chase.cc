// chase.cc - kernel: follows a chain of pointers through 64 KiB.

#include <cstdint>

namespace {
constexpr uint64_t kNodes = 4096;
struct Node {
  Node* next;
  uint64_t value;
};
alignas(64) Node g_nodes[kNodes];
}  // namespace

extern "C" uint64_t kernel_chase(uint64_t n) {
  // A step that has no factor in common with the count visits every node.
  for (uint64_t i = 0; i < kNodes; ++i) {
    g_nodes[i].next = &g_nodes[(i + 1597) % kNodes];
    g_nodes[i].value = i;
  }
  uint64_t sum = 0;
  const Node* node = g_nodes;
  for (uint64_t step = 0; step < n; ++step) {
    sum += node->value;
    node = node->next;
  }
  return sum;
}
