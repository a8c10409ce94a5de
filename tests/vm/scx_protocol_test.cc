// scx_protocol_test.cc - messages and transactions of sched_ext, one at a time.
//
// The test is the agent: it runs on CPU 0, and the enclave is CPU 1.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "tests/vm/scx_threads.h"

namespace yamanote::native {
namespace {

class ScxProtocolTest : public testing::Test {
 protected:
  void SetUp() override {
    RunOn({0});
    Open({.cpus = {1}});
  }

  void Open(const ScxOptions& options) {
    kernel_.reset();
    kernel_ = MakeKernel(options);
    const auto queue = kernel_->CreateQueue(1);
    ASSERT_TRUE(queue.has_value()) << queue.error().message;
    queue_ = *queue;
    ASSERT_TRUE(kernel_->AssociateCore(kNoCore, queue_).has_value());
    for (CoreId core = 0; core < kernel_->cores(); ++core)
      ASSERT_TRUE(kernel_->AssociateCore(core, queue_).has_value());
    ASSERT_TRUE(kernel_->ConfigureWake(queue_, 0).has_value());
  }

  void Note(const Message& message) {
    if (message.thread != 0) last_ = message;
    if (message.type == kCoreBusy) told_busy_ = true;
    if (message.type == kCoreAvailable) told_busy_ = false;
  }

  // The next message. Fails after some seconds.
  Message Next() {
    Message message{};
    for (const Instant end = Now() + 8s; Now() < end;) {
      if (kernel_->Receive(queue_, message)) {
        Note(message);
        return message;
      }
      kernel_->Wait(0, 10ms);
    }
    ADD_FAILURE() << "no message; " << kernel_->Ended();
    return {};
  }
  // The next about a thread, which is of `type`. One that a thread of the kernel's own
  // drove off its core is sent back there.
  Message Expect(MessageType type) {
    uint32_t before = last_.sequence;
    const bool known = last_.thread != 0;
    Message message = Next();
    for (;;) {
      const bool disturbed =
          message.type == kThreadPreempted && type != kThreadPreempted;
      if (message.thread != 0 && !disturbed) break;
      if (message.type == kMessageNone) break;
      if (disturbed) {
        before = message.sequence;
        EXPECT_EQ(CommitLast(), kCommitted);
      }
      message = Next();
    }
    EXPECT_EQ(ToString(static_cast<MessageType>(message.type)), ToString(type));
    if (known) {
      EXPECT_EQ(message.sequence, before + 1);
    }
    return message;
  }

  // A worker's first message, and then it has nothing to do.
  Message Created() {
    const Message message = Expect(kThreadCreated);
    if ((message.flags & kStatusRunnable) == 0) return message;
    EXPECT_EQ(CommitLast(), kCommitted);
    Expect(kThreadBlocked);
    return message;
  }

  // Whether the thread of the last message is on its core for a while. It is sent back
  // there meanwhile, as in Expect().
  bool RunsOn() {
    int steady = 0;
    return Eventually([&] {
      for (Message message{}; kernel_->Receive(queue_, message);) Note(message);
      StatusWord status{};
      if (!kernel_->Read(last_.thread, status)) return false;
      if (status.flags == (kStatusRunnable | kStatusOnCore))
        return ++steady == 20;
      steady = 0;
      CommitLast();
      return false;
    });
  }

  CommitResult Commit(Transaction transaction) {
    kernel_->Commit({&transaction, 1});
    return static_cast<CommitResult>(transaction.result);
  }
  // Commits the thread of the last message: again where the message came before it, or
  // somebody has the core for a moment.
  CommitResult CommitLast() {
    CommitResult result = kCommitNone;
    for (const Instant end = Now() + 4s; Now() < end;) {
      result = Commit(Proposal());
      if (result != kCommitNotRunnable && result != kCommitUnavailable) break;
    }
    return result;
  }
  Transaction Proposal(uint32_t core = 0) const {
    return {.thread = last_.thread,
            .core = core,
            .flags = kCheckThread,
            .thread_sequence = last_.sequence,
            .agent_sequence = 0,
            .agent = 0,
            .result = kCommitNone};
  }

  std::unique_ptr<ScxKernel> kernel_;
  QueueId queue_ = 0;
  Message last_{};          // About a thread.
  bool told_busy_ = false;  // The last about a core.
};

TEST_F(ScxProtocolTest, NothingIsMissingButForOurOwnScheduler) {
  const auto missing = ScxKernel::Missing();
  ASSERT_EQ(missing.size(), 1u);
  EXPECT_NE(missing[0].find("'yamanote' is attached"), std::string::npos)
      << missing[0];
  const auto second = ScxKernel::Create({.cpus = {0}});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::kUnavailable)
      << second.error().message;
}

TEST_F(ScxProtocolTest, AThreadsLifeIsInItsMessages) {
  Worker worker;
  Message message = Created();
  EXPECT_EQ(message.tid, worker.tid());
  EXPECT_EQ(message.weight, 100);

  worker.Do([] { sched_yield(); });
  Expect(kThreadWakeup);
  ASSERT_EQ(CommitLast(), kCommitted);
  message = Expect(kThreadYield);
  EXPECT_EQ(message.core, 0u);
  ASSERT_EQ(CommitLast(), kCommitted);
  message = Expect(kThreadBlocked);
  EXPECT_EQ(message.flags, 0);
  EXPECT_EQ(worker.done(), 1);
  StatusWord status{};
  ASSERT_TRUE(kernel_->Read(message.thread, status));
  EXPECT_EQ(status.flags, 0u);
  EXPECT_EQ(status.sequence, message.sequence);

  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  sched_setaffinity(worker.tid(), sizeof(set), &set);
  Expect(kThreadAffinity);
  EXPECT_FALSE(kernel_->MayRun(message.thread, 0));
  CPU_SET(1, &set);
  sched_setaffinity(worker.tid(), sizeof(set), &set);
  Expect(kThreadAffinity);
  EXPECT_TRUE(kernel_->MayRun(message.thread, 0));

  setpriority(PRIO_PROCESS, static_cast<id_t>(worker.tid()), 10);
  message = Expect(kThreadPriority);
  EXPECT_LT(message.weight, 100);

  ASSERT_TRUE(LeaveScx(worker.tid()).has_value());
  Expect(kThreadDeparted);
  EXPECT_FALSE(kernel_->Read(message.thread, status));
  last_ = {};

  // One that sleeps joins at once, and is woken later.
  ASSERT_TRUE(JoinScx(worker.tid()).has_value());
  message = Expect(kThreadCreated);
  EXPECT_EQ(message.flags & kStatusRunnable, 0);
  worker.Exit();
  Expect(kThreadWakeup);
  ASSERT_EQ(CommitLast(), kCommitted);
  Expect(kThreadBlocked);
  Expect(kThreadDead);
}

TEST_F(ScxProtocolTest, ACommitPreemptsWhatRuns) {
  std::atomic<bool> stop = false;
  Worker first;
  const Stopper stopper(stop);
  Created();
  first.Do([&] {
    while (!stop) {
    }
  });
  Expect(kThreadWakeup);
  ASSERT_EQ(CommitLast(), kCommitted);
  const ThreadId running = last_.thread;
  EXPECT_TRUE(RunsOn());

  Worker second;
  last_ = {};
  const Message created = Expect(kThreadCreated);
  if ((created.flags & kStatusRunnable) == 0) {
    second.Do([] {});
    Expect(kThreadWakeup);
  }
  ASSERT_EQ(CommitLast(), kCommitted);
  const Instant committed = Now();
  const Message sent = last_;
  // The first one's number is known no more: it may have been disturbed.
  last_ = {};
  const Message preempted = Expect(kThreadPreempted);
  EXPECT_EQ(preempted.thread, running);
  EXPECT_GT(preempted.ran_ns, 0u);
  std::printf("preempted after %lld us\n",
              static_cast<long long>(ToNanos(Now() - committed) / 1000));
  last_ = sent;
  Expect(kThreadBlocked);
  last_ = preempted;
  stop = true;
  ASSERT_EQ(CommitLast(), kCommitted);
  Expect(kThreadBlocked);
  // Both are to end.
  first.Exit();
  Expect(kThreadWakeup);
  ASSERT_EQ(CommitLast(), kCommitted);
  Expect(kThreadBlocked);
  Expect(kThreadDead);
  last_ = {};
  second.Exit();
  Next();
  ASSERT_EQ(CommitLast(), kCommitted);
}

TEST_F(ScxProtocolTest, EveryResultOfATransaction) {
  std::atomic<bool> stop = false;
  Worker worker;
  const Stopper stopper(stop);
  Created();
  Transaction stale = Proposal();
  stale.thread_sequence -= 1;
  EXPECT_EQ(Commit(Proposal()), kCommitNotRunnable);
  EXPECT_EQ(Commit(Proposal(1)), kCommitBadCore);
  EXPECT_EQ(Commit(stale), kCommitStaleThread);
  Transaction unknown = Proposal();
  unknown.thread += uint64_t{1} << 32;
  EXPECT_EQ(Commit(unknown), kCommitNotFound);

  worker.Do([&] {
    while (!stop) {
    }
  });
  Expect(kThreadWakeup);
  // The agent's number: a message was posted since this one was read.
  Transaction agents = Proposal();
  agents.flags |= kCheckAgent;
  agents.agent_sequence = kernel_->AgentSequence(0) - 1;
  EXPECT_EQ(Commit(agents), kCommitStaleAgent);
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(0, &set);
  sched_setaffinity(worker.tid(), sizeof(set), &set);
  Expect(kThreadAffinity);
  EXPECT_EQ(CommitLast(), kCommitNotPermitted);
  CPU_SET(1, &set);
  sched_setaffinity(worker.tid(), sizeof(set), &set);
  Expect(kThreadAffinity);
  // With the right number; again where somebody has the core for a moment.
  EXPECT_TRUE(Eventually([&] {
    for (Message message{}; kernel_->Receive(queue_, message);) Note(message);
    agents = Proposal();
    agents.flags |= kCheckAgent;
    agents.agent_sequence = kernel_->AgentSequence(0);
    return Commit(agents) == kCommitted;
  }));
  EXPECT_TRUE(Eventually([&] {
    for (Message message{}; kernel_->Receive(queue_, message);) Note(message);
    return Commit(Proposal()) == kCommitOnCore;
  }));

  // A process of the fair class takes the core.
  std::this_thread::sleep_for(20ms);
  const pid_t other = fork();
  if (other == 0) {
    RunOn({1});
    for (;;) {
    }
  }
  // It is the one that stays; the kernel's own threads come and go.
  const auto is_busy = [&] {
    kernel_->Wait(0, 1ms);
    for (Message message{}; kernel_->Receive(queue_, message);) Note(message);
    return told_busy_ && !kernel_->Available(0);
  };
  int steady = 0;
  EXPECT_TRUE(Eventually([&] {
    steady = is_busy() ? steady + 1 : 0;
    if (kernel_->Available(0)) Commit(Proposal());
    return steady == 50;
  }));
  EXPECT_EQ(last_.type, kThreadPreempted);
  EXPECT_EQ(Commit(Proposal()), kCommitUnavailable);
  kill(other, SIGKILL);
  waitpid(other, nullptr, 0);
  EXPECT_TRUE(Eventually(
      [&] { return !is_busy() && !told_busy_ && kernel_->Available(0); }));
  stop = true;
  ASSERT_EQ(CommitLast(), kCommitted);
  Expect(kThreadBlocked);
  worker.Exit();
  Expect(kThreadWakeup);
  ASSERT_EQ(CommitLast(), kCommitted);
}

TEST_F(ScxProtocolTest, LostMessagesAreTold) {
  Open({.cpus = {1}, .queue_capacity = 1});  // A page: 85 messages.
  kernel_->Detach();
  const auto queue = kernel_->CreateQueue(1);
  ASSERT_TRUE(queue.has_value());
  queue_ = *queue;
  ASSERT_TRUE(kernel_->AssociateCore(kNoCore, queue_).has_value());
  Worker worker;
  Expect(kThreadCreated);
  for (int i = 0; i < 200; ++i)
    setpriority(PRIO_PROCESS, static_cast<id_t>(worker.tid()), i % 2);
  EXPECT_TRUE(kernel_->Overflowed(queue_));
  EXPECT_FALSE(kernel_->Overflowed(queue_));
  Message message{};
  while (kernel_->Receive(queue_, message)) {
  }
  StatusWord status{};
  ASSERT_TRUE(kernel_->Read(last_.thread, status));
  EXPECT_GT(status.sequence, message.sequence);
  // With nothing in it the thread may be had from another queue.
  const auto other = kernel_->CreateQueue(80);
  EXPECT_EQ(kernel_->Associate(last_.thread, *other, status.sequence - 1),
            Association::kStale);
  EXPECT_EQ(kernel_->Associate(last_.thread, *other, status.sequence),
            Association::kDone);
  setpriority(PRIO_PROCESS, static_cast<id_t>(worker.tid()), 5);
  EXPECT_EQ(kernel_->Associate(last_.thread, queue_, status.sequence + 1),
            Association::kPending);
  EXPECT_FALSE(kernel_->DestroyQueue(*other).has_value());
  kernel_.reset();  // The kernel's own scheduler ends the thread.
}

}  // namespace
}  // namespace yamanote::native
