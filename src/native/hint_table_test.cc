// hint_table_test.cc - hints: written by a program, read by agents, whatever is in them.

#include "native/hint_table.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "base/random.h"
#include "native/agents.h"
#include "native/test_threads.h"

namespace yamanote::native {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

HintTable Table(uint32_t threads = 64) {
  return HintTable::Create(threads).value();
}

TEST(HintTableTest, WhatWasSaidIsRead) {
  HintTable table = Table();
  EXPECT_FALSE(table.Read(7, At(1s)));
  ASSERT_TRUE(table.Write(7, {.request_class = 3, .weight = 20, .due = 2ms}));
  const Hint hint = table.Read(7, At(1s)).value();
  EXPECT_EQ(hint.request_class, 3);
  EXPECT_EQ(hint.weight, 20);
  EXPECT_EQ(hint.deadline, At(1s + 2ms));
  EXPECT_FALSE(table.Read(8, At(1s)));
  table.Forget(7);
  EXPECT_FALSE(table.Read(7, At(1s)));
}

// It crosses processes as a number of CLOCK_MONOTONIC, so it comes back nearly as it was.
TEST(HintTableTest, ADeadlineGoesBeforeWhatIsDue) {
  HintTable table = Table();
  const Instant now = Clock::now();
  ASSERT_TRUE(table.Write(7, {.deadline = now + 30min, .due = 1ms}));
  const Instant read = table.Read(7, Clock::now()).value().deadline;
  EXPECT_GT(read, now + 29min);
  EXPECT_LT(read, now + 31min);
  ASSERT_TRUE(table.Write(7, {.deadline = now - 1ms, .due = 1ms}));
  EXPECT_EQ(table.Read(7, now).value().deadline, now + 1ms);
  ASSERT_TRUE(table.Write(7, {.deadline = now - 1ms}));
  EXPECT_EQ(table.Read(7, now).value().deadline, kNever);
}

TEST(HintTableTest, RefusesWhatIsOutsideItsLimits) {
  HintTable table = Table();
  const auto refused = [&](const Hint& hint) {
    const Result<void> done = table.Write(7, hint);
    return done ? std::string() : done.error().message;
  };
  EXPECT_THAT(refused({.weight = 10001}),
              HasSubstr("weight is 10001; it must be 1 .. 10000"));
  EXPECT_THAT(refused({.due = 999ns}),
              HasSubstr("due is 999 ns; it must be 1us .. 1h"));
  EXPECT_THAT(refused({.due = 2h}), HasSubstr("1us .. 1h"));
  EXPECT_FALSE(table.Read(7, At(1s)));
}

TEST(HintTableTest, AChildHasItsParentsHintButNoDeadline) {
  HintTable table = Table();
  ASSERT_TRUE(table.Write(
      7, {.request_class = 2, .deadline = Clock::now() + 1min, .due = 1ms}));
  table.Inherit(8, 7);
  const Hint child = table.Read(8, At(1s)).value();
  EXPECT_EQ(child.request_class, 2);
  EXPECT_EQ(child.deadline, At(1s + 1ms));
  // One that has said something itself keeps that.
  ASSERT_TRUE(table.Write(9, {.request_class = 1}));
  table.Inherit(9, 7);
  EXPECT_EQ(table.Read(9, At(1s)).value().request_class, 1);
  table.Inherit(10, 0);
  table.Inherit(11, 99);
  EXPECT_FALSE(table.Read(10, At(1s)));
  EXPECT_FALSE(table.Read(11, At(1s)));
}

// As many threads as it was made for have room, and one that finds none is told.
TEST(HintTableTest, HasRoomForItsThreads) {
  HintTable table = Table(4096);
  int without = 0;
  for (int tid = 100'000; tid < 104'096; ++tid)
    if (!table.Write(tid, {.request_class = 1})) ++without;
  EXPECT_LE(without, 4);
  Result<void> full = {};
  int written = 0;
  while (full && written < 100'000) full = table.Write(++written, {});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kResourceExhausted);
  EXPECT_THAT(full.error().message, HasSubstr("--max-threads"));
}

// Whoever has the memory may write anything at any time, and can't make it shorter.
TEST(HintTableTest, WhateverIsInTheMemoryIsSomeHint) {
  HintTable table = Table();
  const int memory = table.descriptor();
  EXPECT_NE(ftruncate(memory, 0), 0);
  const off_t bytes = lseek(memory, 0, SEEK_END);
  ASSERT_GT(bytes, 0);
  void* const data = mmap(nullptr, static_cast<std::size_t>(bytes),
                          PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  ASSERT_NE(data, MAP_FAILED);
  base::Random random(20261128);
  for (int round = 0; round < 200; ++round) {
    auto* const words = static_cast<uint64_t*>(data);
    for (off_t i = 0; i < bytes / 8; ++i) {
      // Small numbers are threads' more often than others.
      words[i] = random() >> (random() % 64);
    }
    for (int tid = 1; tid < 200; ++tid) {
      const std::optional<Hint> hint = table.Read(tid, At(1s));
      if (!hint) continue;
      EXPECT_LE(hint->weight, kMostHintWeight);
      EXPECT_TRUE(hint->due == 0ns || (hint->due >= 1us && hint->due <= 1h));
      EXPECT_TRUE(hint->deadline == kNever ||
                  (hint->deadline >= At(1s) && hint->deadline <= At(1s + 1h)));
      table.Inherit(tid + 1, tid);
      table.Forget(tid);
    }
  }
  munmap(data, static_cast<std::size_t>(bytes));
}

// ---- Agents -----------------------------------------------------------------

class HintedTest : public testing::TestWithParam<PlacementKind> {
 protected:
  void Start(const char* order, Duration slice,
             std::vector<ClassOptions> classes) {
    AgentOptions options;
    options.scheduling.order = order;
    options.scheduling.slice = slice;
    options.scheduling.placement = GetParam();
    options.scheduling.classes = std::move(classes);
    options.hints = &table_;
    Result<std::unique_ptr<Agents>> agents =
        Agents::Create(kernel_, options, kernel_.now());
    ASSERT_TRUE(agents) << agents.error().message;
    agents_ = *std::move(agents);
    kernel_.Attach(agents_.get());
  }

  // One that notes when it has ended.
  ThreadId Spawn(const Hint& hint, Duration runs, Instant* ended) {
    const ThreadId thread =
        kernel_.Spawn([=, ran = false](Instant now) mutable -> Action {
          if (!std::exchange(ran, true)) return Runs(runs);
          *ended = now;
          return {};
        });
    if (hint != Hint()) {
      EXPECT_TRUE(table_.Write(TidOf(thread), hint));
    }
    return thread;
  }

  pid_t TidOf(ThreadId thread) {
    StatusWord word{};
    EXPECT_TRUE(kernel_.Read(thread, word));
    return word.tid;
  }

  HintTable table_ = Table();
  ModelKernel kernel_{{.cores = 1}};
  std::unique_ptr<Agents> agents_;
};

INSTANTIATE_TEST_SUITE_P(Placements, HintedTest,
                         testing::Values(PlacementKind::kCentral,
                                         PlacementKind::kStealing));

TEST_P(HintedTest, TheEarliestDeadlineGoesFirst) {
  Start("edf", 100us, {ClassOptions{}});
  Instant ended[3];
  Spawn({.due = 30ms}, 1ms, &ended[0]);
  Spawn({.due = 20ms}, 1ms, &ended[1]);
  Spawn({.due = 10ms}, 1ms, &ended[2]);
  ASSERT_TRUE(kernel_.RunUntilAllEnd(At(1s)));
  EXPECT_LT(ended[2], ended[1]);
  EXPECT_LT(ended[1], ended[0]);
}

// ghOSt's Shinjuku beside batch work: batch has what is left, and gives way at once.
TEST_P(HintedTest, BackgroundGivesWayAtOnce) {
  for (const char* const order : {"fifo", "rr", "slo-ratio"}) {
    SCOPED_TRACE(order);
    kernel_.Attach(nullptr);
    agents_.reset();
    Start(order, 5ms,
          {{.name = "server"}, {.name = "batch", .background = true}});
    const Instant begin = kernel_.now();
    Instant batch[2], server;
    Spawn({.request_class = 1}, 20ms, &batch[0]);
    Spawn({.request_class = 1}, 20ms, &batch[1]);
    kernel_.RunUntil(begin + 1ms);
    Spawn({}, 1ms, &server);
    ASSERT_TRUE(kernel_.RunUntilAllEnd(begin + 1s));
    // Although the slice of who ran was not over.
    EXPECT_LT(server - begin, 2ms + 200us);
    EXPECT_GT(std::min(batch[0], batch[1]) - begin, 20ms);
    // And it is not cut short by itself: both together, without waste.
    EXPECT_LT(std::max(batch[0], batch[1]) - begin, 42ms);
  }
}

TEST_P(HintedTest, OneThatRunsMayBecomeBackground) {
  Start("rr", 1ms, {{.name = "server"}, {.name = "batch", .background = true}});
  Instant first, second;
  const ThreadId thread = Spawn({}, 20ms, &first);
  Spawn({}, 20ms, &second);
  kernel_.RunUntil(At(5ms));
  ASSERT_TRUE(table_.Write(TidOf(thread), {.request_class = 1}));
  ASSERT_TRUE(kernel_.RunUntilAllEnd(At(1s)));
  EXPECT_LT(second, At(26ms));
  EXPECT_GT(first, At(39ms));
}

TEST_P(HintedTest, AHintEndsWithItsThread) {
  Start("fifo", 1ms, {ClassOptions{}});
  Instant ended;
  const pid_t tid = TidOf(Spawn({.weight = 3}, 1ms, &ended));
  kernel_.RunUntil(At(500us));
  EXPECT_TRUE(table_.Read(tid, At(1s)));
  ASSERT_TRUE(kernel_.RunUntilAllEnd(At(1s)));
  kernel_.RunUntil(At(2s));
  EXPECT_FALSE(table_.Read(tid, At(1s)));
}

TEST_P(HintedTest, ChildrenAreAsTheirParents) {
  Start("rr", 5ms, {{.name = "server"}, {.name = "batch", .background = true}});
  Instant parent, child, server;
  const pid_t tid = TidOf(Spawn({.request_class = 1}, 20ms, &parent));
  kernel_.RunUntil(At(1ms));
  kernel_.Spawn(
      [&child, ran = false](Instant now) mutable -> Action {
        if (!std::exchange(ran, true)) return Runs(20ms);
        child = now;
        return {};
      },
      0, tid);
  kernel_.RunUntil(At(2ms));
  Spawn({}, 10ms, &server);
  ASSERT_TRUE(kernel_.RunUntilAllEnd(At(1s)));
  EXPECT_LT(server, At(13ms));
  EXPECT_GT(child, At(20ms));
}

}  // namespace
}  // namespace yamanote::native
