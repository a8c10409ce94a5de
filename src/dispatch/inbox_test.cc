// inbox_test.cc - what any thread pushes, the owner gets once and in order.

#include "dispatch/inbox.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "yamanote/task_queue.h"

namespace yamanote::dispatch {
namespace {

TEST(TaskInboxTest, HandsOverOldestFirstWithTheReason) {
  TaskInbox inbox;
  Task tasks[3];
  EXPECT_TRUE(inbox.Empty());
  inbox.Push(tasks[0], Wake::kArrival);
  inbox.Push(tasks[1], Wake::kMigrated);
  inbox.Push(tasks[2], Wake::kYield);
  EXPECT_FALSE(inbox.Empty());
  EXPECT_EQ(inbox.Pending(), 3u);
  std::vector<std::pair<Task*, Wake>> taken;
  TaskQueue queue;
  inbox.Drain([&](Task& task, Wake why) {
    taken.emplace_back(&task, why);
    queue.PushBack(task);  // The link is free again.
  });
  EXPECT_EQ(taken,
            (std::vector<std::pair<Task*, Wake>>{{&tasks[0], Wake::kArrival},
                                                 {&tasks[1], Wake::kMigrated},
                                                 {&tasks[2], Wake::kYield}}));
  EXPECT_TRUE(inbox.Empty());
  EXPECT_EQ(inbox.Pending(), 0u);
  EXPECT_EQ(queue.Front(), &tasks[0]);
}

// Each producer's tasks keep their order; all come exactly once. A task that
// was taken is pushed again at once by its producer: the ABA case.
TEST(TaskInboxStressTest, ManyProducersOneOwner) {
  constexpr size_t kProducers = 3;
  constexpr uint64_t kPushes = 4000;
  struct Slot {
    Task task;
    std::atomic<bool> free{true};
  };
  struct Producer {
    Slot slots[2];
  };
  TaskInbox inbox;
  Producer producers[kProducers];
  std::vector<std::thread> threads;
  for (Producer& producer : producers) {
    threads.emplace_back([&inbox, &producer] {
      for (uint64_t i = 0; i < kPushes; ++i) {
        Slot& slot = producer.slots[i % 2];
        while (!slot.free.exchange(false)) std::this_thread::yield();
        slot.task.id = i;
        slot.task.last_core = static_cast<CoreId>(i % 2);
        inbox.Push(slot.task, Wake::kArrival);
      }
    });
  }
  uint64_t taken = 0;
  uint64_t next[kProducers] = {};
  while (taken < kProducers * kPushes) {
    const uint64_t before = taken;
    inbox.Drain([&](Task& task, Wake) {
      for (size_t p = 0; p < kProducers; ++p) {
        for (Slot& slot : producers[p].slots) {
          if (&slot.task != &task) continue;
          EXPECT_EQ(task.id, next[p]);
          ++next[p];
          slot.free.store(true);
        }
      }
      ++taken;
    });
    if (taken == before) std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(inbox.Empty());
  EXPECT_EQ(inbox.Pending(), 0u);
}

}  // namespace
}  // namespace yamanote::dispatch
