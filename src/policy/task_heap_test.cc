// task_heap_test.cc - order and stability against a sorted list.

#include "yamanote/task_heap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <memory>
#include <random>
#include <vector>

namespace yamanote {
namespace {

struct SmallerId {
  bool operator()(const Task& a, const Task& b) const { return a.id < b.id; }
};

TEST(TaskHeapTest, EmptyHeapHasNothing) {
  TaskHeap<SmallerId> heap;
  EXPECT_TRUE(heap.Empty());
  EXPECT_EQ(heap.Top(), nullptr);
  EXPECT_EQ(heap.Pop(), nullptr);
}

// Against a sorted list that inserts behind equals; few distinct keys, so that
// the order among equals is tested most.
TEST(TaskHeapTest, PopsInOrderAndEqualsFirstInFirstOut) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::unique_ptr<Task>> tasks;
    std::list<Task*> expected;
    TaskHeap<SmallerId> heap;
    const uint32_t keys = 1 + random() % 6;
    for (int step = 0; step < 300; ++step) {
      if (random() % 5 < (step < 200 ? 3u : 1u)) {
        tasks.push_back(std::make_unique<Task>());
        tasks.back()->id = random() % keys;
        heap.Push(*tasks.back());
        const auto behind = std::find_if(
            expected.begin(), expected.end(),
            [&](Task* task) { return task->id > tasks.back()->id; });
        expected.insert(behind, tasks.back().get());
      } else {
        Task* const want = expected.empty() ? nullptr : expected.front();
        if (want != nullptr) expected.pop_front();
        ASSERT_EQ(heap.Top(), want) << "seed " << seed << " step " << step;
        ASSERT_EQ(heap.Pop(), want) << "seed " << seed << " step " << step;
      }
      ASSERT_EQ(heap.Empty(), expected.empty())
          << "seed " << seed << " step " << step;
    }
  }
}

// A popped task may be pushed again, into this heap or another.
TEST(TaskHeapTest, PoppedTasksCarryNothingOver) {
  std::vector<Task> tasks(50);
  TaskHeap<SmallerId> one;
  TaskHeap<SmallerId> other;
  for (size_t i = 0; i < tasks.size(); ++i) {
    tasks[i].id = i * 7 % 50;
    one.Push(tasks[i]);
  }
  while (Task* const task = one.Pop()) other.Push(*task);
  for (uint64_t id = 0; id < tasks.size(); ++id) {
    ASSERT_NE(other.Top(), nullptr);
    EXPECT_EQ(other.Pop()->id, id);
  }
  EXPECT_TRUE(other.Empty());
}

}  // namespace
}  // namespace yamanote
