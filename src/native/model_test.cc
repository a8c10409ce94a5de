// model_test.cc - the modelled kernel keeps ghOSt's protocol.

#include "native/model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "native/test_threads.h"

namespace yamanote::native {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

// Two cores, one queue for everything, and nobody but the test decides.
class ModelTest : public testing::Test {
 protected:
  explicit ModelTest(const ModelKernel::Options& options = {})
      : kernel_(options) {
    queue_ = *kernel_.CreateQueue(100);
    for (CoreId core = 0; core < kernel_.cores(); ++core)
      EXPECT_TRUE(kernel_.AssociateCore(core, queue_));
    EXPECT_TRUE(kernel_.AssociateCore(kNoCore, queue_));
    EXPECT_TRUE(kernel_.ConfigureWake(queue_, 0));
  }

  std::vector<Message> Messages() {
    std::vector<Message> all;
    Message message{};
    while (kernel_.Receive(queue_, message)) all.push_back(message);
    return all;
  }
  std::vector<MessageType> Types() {
    std::vector<MessageType> types;
    for (const Message& message : Messages())
      types.push_back(static_cast<MessageType>(message.type));
    return types;
  }

  // Commits with the thread's present number.
  CommitResult Put(ThreadId thread, CoreId core) {
    StatusWord status{};
    kernel_.Read(thread, status);
    return Put(thread, core, kCheckThread, status.sequence, 0);
  }
  CommitResult Put(ThreadId thread, CoreId core, uint32_t flags,
                   uint32_t thread_sequence, uint32_t agent_sequence) {
    Transaction transaction{.thread = thread,
                            .core = core,
                            .flags = flags,
                            .thread_sequence = thread_sequence,
                            .agent_sequence = agent_sequence,
                            .agent = 0,
                            .result = kCommitNone};
    kernel_.Commit({&transaction, 1});
    return static_cast<CommitResult>(transaction.result);
  }

  ModelKernel kernel_;
  QueueId queue_ = 0;
};

TEST_F(ModelTest, AThreadsLifeIsTold) {
  const ThreadId thread =
      kernel_.Spawn(Does({Runs(10us),
                          {.kind = Action::Kind::kYield},
                          {.kind = Action::Kind::kWeight, .weight = 7},
                          Blocks(20us),
                          {.kind = Action::Kind::kAffinity, .cores = {1}}}));
  ASSERT_EQ(Put(thread, 0), kCommitted);
  kernel_.RunUntil(At(15us));
  EXPECT_THAT(Types(), ElementsAre(kThreadCreated, kThreadYield));
  ASSERT_EQ(Put(thread, 0), kCommitted);
  kernel_.RunUntil(At(30us));
  EXPECT_THAT(Types(), ElementsAre(kThreadPriority, kThreadBlocked));
  kernel_.RunUntil(At(50us));
  EXPECT_THAT(Types(), ElementsAre(kThreadWakeup));
  ASSERT_EQ(Put(thread, 0), kCommitted);
  // It forbids itself the core that it is on.
  kernel_.RunUntil(At(60us));
  EXPECT_THAT(Types(), ElementsAre(kThreadAffinity, kThreadPreempted));
  EXPECT_EQ(Put(thread, 0), kCommitNotPermitted);
  ASSERT_EQ(Put(thread, 1), kCommitted);
  kernel_.RunUntil(At(70us));
  EXPECT_THAT(Types(), ElementsAre(kThreadDead));
  EXPECT_EQ(Put(thread, 1), kCommitNotFound);
}

TEST_F(ModelTest, NumbersGrowByOneWithEachMessage) {
  const ThreadId thread =
      kernel_.Spawn(Does({Runs(1us), Blocks(1us), Runs(1us)}));
  ASSERT_EQ(Put(thread, 0), kCommitted);
  kernel_.RunUntil(At(20us));
  ASSERT_EQ(Put(thread, 1), kCommitted);
  kernel_.RunUntil(At(40us));
  uint32_t expected = 0;
  for (const Message& message : Messages()) {
    EXPECT_EQ(message.sequence, ++expected);
    EXPECT_EQ(message.thread, thread);
  }
  EXPECT_EQ(expected, 4u);  // Created, blocked, wake-up, dead.
}

TEST_F(ModelTest, WhoHasNotReadTheLastMessageCommitsNothing) {
  const ThreadId thread =
      kernel_.Spawn(Does({Runs(1us), Blocks(1us), Runs(9us)}));
  StatusWord status{};
  ASSERT_TRUE(kernel_.Read(thread, status));
  ASSERT_EQ(Put(thread, 0), kCommitted);
  kernel_.RunUntil(At(20us));  // It blocked, and was woken.
  EXPECT_EQ(Put(thread, 1, kCheckThread, status.sequence, 0),
            kCommitStaleThread);
  EXPECT_EQ(Put(thread, 1, 0, 0, 0), kCommitted);  // Unchecked.
}

TEST_F(ModelTest, AnAgentsNumberCountsWhatWakesIt) {
  const uint32_t before = kernel_.AgentSequence(0);
  const ThreadId thread = kernel_.Spawn(Does({Runs(1us)}));
  EXPECT_EQ(kernel_.AgentSequence(0), before + 1);
  EXPECT_EQ(Put(thread, 0, kCheckAgent, 0, before), kCommitStaleAgent);
  EXPECT_EQ(Put(thread, 0, kCheckAgent, 0, before + 1), kCommitted);
}

TEST_F(ModelTest, WhatCannotBeIsRefused) {
  const ThreadId runs = kernel_.Spawn(Does({Runs(1ms)}));
  const ThreadId waits = kernel_.Spawn(Does({Runs(1us), Blocks(1s)}));
  EXPECT_EQ(Put(runs, 2), kCommitBadCore);
  ASSERT_EQ(Put(runs, 0), kCommitted);
  EXPECT_EQ(Put(runs, 1), kCommitOnCore);  // It is about to be.
  kernel_.RunUntil(At(10us));
  EXPECT_EQ(Put(runs, 1), kCommitOnCore);
  ASSERT_EQ(Put(waits, 1), kCommitted);
  kernel_.RunUntil(At(20us));
  EXPECT_EQ(Put(waits, 1), kCommitNotRunnable);
  kernel_.Occupy(1, At(30us), 10us);
  kernel_.RunUntil(At(35us));
  kernel_.Wake(waits);
  EXPECT_EQ(Put(waits, 1), kCommitUnavailable);
  kernel_.RunUntil(At(45us));
  EXPECT_EQ(Put(waits, 1), kCommitted);
  EXPECT_EQ(Put(uint64_t{99} << 32 | IndexOf(runs), 1), kCommitNotFound);
}

TEST_F(ModelTest, ACommitPreemptsWhatRunsThere) {
  const ThreadId first = kernel_.Spawn(Does({Runs(1ms)}));
  const ThreadId second = kernel_.Spawn(Does({Runs(1ms)}));
  ASSERT_EQ(Put(first, 0), kCommitted);
  kernel_.RunUntil(At(10us));
  ASSERT_EQ(Put(second, 0), kCommitted);
  kernel_.RunUntil(At(20us));
  EXPECT_EQ(kernel_.WhereIs(second), 0u);
  EXPECT_EQ(kernel_.WhereIs(first), kNoCore);
  const std::vector<Message> messages = Messages();
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[2].type, kThreadPreempted);
  EXPECT_EQ(messages[2].thread, first);
  EXPECT_GT(messages[2].ran_ns, 5'000u);
}

TEST_F(ModelTest, AHigherClassTakesACoreFromWhoIsThereOrOnTheWay) {
  const ThreadId first = kernel_.Spawn(Does({Runs(1ms)}));
  ASSERT_EQ(Put(first, 0), kCommitted);
  kernel_.Occupy(0, At(1us), 10us);  // Before the core has switched.
  kernel_.RunUntil(At(20us));
  EXPECT_THAT(Types(), ElementsAre(kThreadCreated, kThreadPreempted, kCoreBusy,
                                   kCoreAvailable));
  EXPECT_EQ(kernel_.WhereIs(first), kNoCore);
}

TEST_F(ModelTest, AThreadGoesToAnotherQueueOnlyWhenItsMessagesAreRead) {
  const QueueId other = *kernel_.CreateQueue(10);
  const ThreadId thread = kernel_.Spawn(Does({Runs(1us), Blocks(1us)}));
  EXPECT_EQ(kernel_.Associate(thread, other, 1), Association::kPending);
  Messages();
  EXPECT_EQ(kernel_.Associate(thread, other, 0), Association::kStale);
  EXPECT_EQ(kernel_.Associate(thread, 77, 1), Association::kNotFound);
  EXPECT_EQ(kernel_.Associate(thread + 1, other, 1), Association::kNotFound);
  EXPECT_EQ(kernel_.Associate(thread, other, 1), Association::kDone);
  ASSERT_EQ(Put(thread, 0), kCommitted);
  kernel_.RunUntil(At(20us));
  EXPECT_THAT(Types(), IsEmpty());
  Message message{};
  ASSERT_TRUE(kernel_.Receive(other, message));
  EXPECT_EQ(message.type, kThreadBlocked);
  // It is somebody's.
  EXPECT_FALSE(kernel_.DestroyQueue(other));
  EXPECT_FALSE(kernel_.DestroyQueue(queue_));
  EXPECT_FALSE(kernel_.DestroyQueue(77));
  EXPECT_FALSE(kernel_.CreateQueue(0));
}

TEST_F(ModelTest, AFullQueueSaysSoOnce) {
  const QueueId small = *kernel_.CreateQueue(1);
  ASSERT_TRUE(kernel_.AssociateCore(kNoCore, small));
  kernel_.Spawn(Does({}));
  EXPECT_FALSE(kernel_.Overflowed(small));
  kernel_.Spawn(Does({}));
  EXPECT_TRUE(kernel_.Overflowed(small));
  EXPECT_FALSE(kernel_.Overflowed(small));
  int threads = 0;
  kernel_.ForEachThread([&](const StatusWord& status) {
    ++threads;
    EXPECT_EQ(status.flags, uint32_t{kStatusRunnable});
  });
  EXPECT_EQ(threads, 2);
}

class EarlyMessageTest : public ModelTest {
 protected:
  EarlyMessageTest() : ModelTest({.early_messages = 1000}) {}
};

TEST_F(EarlyMessageTest, AMessageMayComeBeforeWhatItSays) {
  const ThreadId thread = kernel_.Spawn(Does({Runs(1us)}));
  EXPECT_EQ(Types(), std::vector{kThreadCreated});
  EXPECT_EQ(Put(thread, 0), kCommitNotRunnable);
  kernel_.RunUntil(At(10us));
  EXPECT_EQ(Put(thread, 0), kCommitted);
}

class WatchdogTest : public ModelTest {
 protected:
  WatchdogTest() : ModelTest({.watchdog = 10ms}) {}
};

// Nobody commits anything.
TEST_F(WatchdogTest, ThreadsThatNobodyRunsGoBackToTheKernel) {
  for (int i = 0; i < 5; ++i) kernel_.Spawn(Does({Runs(5ms), Blocks(1ms)}));
  EXPECT_TRUE(kernel_.RunUntilAllEnd(At(1s)));
  EXPECT_TRUE(kernel_.destroyed());
  EXPECT_THAT(kernel_.reason(), testing::HasSubstr("could run, and waited"));
}

TEST_F(ModelTest, WithoutAgentsForTooLongTheKernelGoesOn) {
  kernel_.Attach(nullptr);
  for (int i = 0; i < 5; ++i) kernel_.Spawn(Does({Runs(5ms), Blocks(1ms)}));
  EXPECT_TRUE(kernel_.RunUntilAllEnd(At(1s)));
  EXPECT_TRUE(kernel_.destroyed());
  EXPECT_THAT(kernel_.reason(), testing::HasSubstr("no agent"));
}

}  // namespace
}  // namespace yamanote::native
