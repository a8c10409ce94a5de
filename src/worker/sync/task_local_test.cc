// task_local_test.cc - task local: on user threads, on kernel threads, and between both.

#include "yamanote/task_local.h"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "worker/sync/crew.h"

namespace yamanote {
namespace {

class TaskLocalTest : public CrewTest {};

TEST_P(TaskLocalTest, EveryThreadHasItsOwnAcrossSwitches) {
  static TaskLocal<int> local([] { return 100; });
  Run([](Crew& crew) {
    std::atomic<int> number{0};
    crew.Start(6, [&] {
      const int mine = number++;
      EXPECT_FALSE(local.has_value());
      EXPECT_EQ(*local, 100);
      *local += mine;
      const int* const address = &*local;
      for (int i = 0; i < 50; ++i) {
        this_thread::yield();  // May go on on another core.
        EXPECT_EQ(*local, 100 + mine);
        EXPECT_EQ(&*local, address);
      }
      local.reset();
      EXPECT_FALSE(local.has_value());
      local.reset();
      EXPECT_EQ(*local, 100);
    });
    crew.Join();
    EXPECT_FALSE(local.has_value());
  });
}

// Counts the values that live.
struct Counted {
  Counted() { ++live; }
  Counted(const Counted&) = delete;
  ~Counted() { --live; }
  static inline std::atomic<int> live{0};
  std::string text = "text that does not fit into the string itself";
};

TEST_P(TaskLocalTest, ValuesEndWithTheirThreads) {
  static TaskLocal<std::unique_ptr<Counted>> local(
      [] { return std::make_unique<Counted>(); });
  Run([](Crew& crew) {
    for (int round = 0; round < 10; ++round) {
      crew.Start(4, [] {
        EXPECT_FALSE(local.has_value()) << "left by an earlier thread";
        local.get()->text += '!';
      });
      crew.Join();
      EXPECT_EQ(Counted::live, 0);
    }
  });
}

TEST_P(TaskLocalTest, DestructionIsInReverseAndMayUseOthers) {
  struct Noting {
    Noting(std::vector<int>& n, int i, TaskLocal<int>& u)
        : notes(&n), id(i), uses(&u) {}
    Noting(Noting&& other) noexcept
        : notes(std::exchange(other.notes, nullptr)),
          id(other.id),
          uses(other.uses) {}
    ~Noting() {
      if (notes == nullptr) return;
      notes->push_back(id);
      ++**uses;              // Made anew if it is gone already.
      this_thread::yield();  // The thread can still block.
    }
    std::vector<int>* notes;
    int id;
    TaskLocal<int>* uses;
  };
  static std::vector<int> notes;
  static TaskLocal<int> used;
  static TaskLocal<Noting> one([] { return Noting(notes, 1, used); });
  static TaskLocal<Noting> two([] { return Noting(notes, 2, used); });
  notes.clear();
  Run([](Crew& crew) {
    crew.Start([] {
      *used = 1;
      one.get();
      two.get();
    });
    crew.Join();
    EXPECT_EQ(notes, (std::vector<int>{2, 1}));
  });
}

TEST_P(TaskLocalTest, InitialiserMayThrow) {
  static std::atomic<bool> fail;
  static TaskLocal<int> local([]() -> int {
    if (fail) throw std::runtime_error("no value");
    return 7;
  });
  Run([](Crew& crew) {
    crew.Start([] {
      fail = true;
      EXPECT_THROW(local.get(), std::runtime_error);
      EXPECT_FALSE(local.has_value());
      fail = false;
      EXPECT_EQ(*local, 7);
    });
    crew.Join();
  });
}

// A key may go before the values made under it.
TEST_P(TaskLocalTest, KeyMayGoFirst) {
  Run([](Crew& crew) {
    crew.Start([] {
      TaskLocal<std::unique_ptr<Counted>> local(
          [] { return std::make_unique<Counted>(); });
      local.get();
      EXPECT_EQ(Counted::live, 1);
    });
    crew.Join();
    EXPECT_EQ(Counted::live, 0);
  });
}

YAMANOTE_CREW_TESTS(TaskLocalTest);

}  // namespace
}  // namespace yamanote
