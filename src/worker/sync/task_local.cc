// task_local.cc - a table of values per thread, hanging off UserThread or off
// the kernel thread; made at the thread's first use of a TaskLocal.

#include "yamanote/task_local.h"

#include <atomic>
#include <utility>
#include <vector>

#include "base/check.h"
#include "worker/sync/caller.h"

namespace yamanote::worker {
namespace {

constexpr int kDestroyRounds = 8;

struct Slot {
  void* value = nullptr;
  void (*destroy)(void*) = nullptr;
};

}  // namespace

class TaskLocals {
 public:
  std::vector<Slot> slots;      // By key.
  std::vector<uint32_t> order;  // Keys with a value, the last made last.
};

uint32_t NewTaskLocalKey() {
  static constinit std::atomic<uint32_t> keys{0};
  const uint32_t key = keys.fetch_add(1, std::memory_order_relaxed);
  YAMANOTE_CHECK(key < kMaxTaskLocals,
                 "more TaskLocals were made than kMaxTaskLocals (1024); make "
                 "them static instead of anew");
  return key;
}

void* FindTaskLocal(uint32_t key) {
  const TaskLocals* const table = *LocalsOfCaller();
  if (table == nullptr || key >= table->slots.size()) return nullptr;
  return table->slots[key].value;
}

void SetTaskLocal(uint32_t key, void* value, void (*destroy)(void*)) {
  TaskLocals*& table = *LocalsOfCaller();
  if (table == nullptr) table = new TaskLocals;
  if (key >= table->slots.size()) table->slots.resize(key + 1);
  YAMANOTE_CHECK(table->slots[key].value == nullptr,
                 "a TaskLocal's initialiser uses the TaskLocal itself");
  table->slots[key] = {value, destroy};
  table->order.push_back(key);
}

void ResetTaskLocal(uint32_t key) {
  TaskLocals* const table = *LocalsOfCaller();
  if (table == nullptr || key >= table->slots.size()) return;
  const Slot slot = std::exchange(table->slots[key], {});
  if (slot.value == nullptr) return;
  std::erase(table->order, key);
  slot.destroy(slot.value);
}

void DestroyTaskLocals(TaskLocals*& locals) {
  if (locals == nullptr) return;
  TaskLocals& table = *locals;
  for (int round = 0; !table.order.empty(); ++round) {
    YAMANOTE_CHECK(round < kDestroyRounds,
                   "TaskLocal destructors keep making new values");
    // What destructors make in this round is destroyed in it or the next.
    for (size_t left = table.order.size(); left > 0 && !table.order.empty();
         --left) {
      const uint32_t key = table.order.back();
      table.order.pop_back();
      const Slot slot = std::exchange(table.slots[key], {});
      slot.destroy(slot.value);
    }
  }
  delete std::exchange(locals, nullptr);
}

}  // namespace yamanote::worker
