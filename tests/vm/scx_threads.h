// scx_threads.h - an enclave, its threads and their agents, for tests in the machine.

#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "native/agents.h"
#include "native/scx.h"

namespace yamanote::native {

using namespace std::chrono_literals;

inline Instant Now() {
  return Instant(std::chrono::steady_clock::now().time_since_epoch());
}

inline void RunOn(std::vector<int> cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof(set), &set);
}

inline void Spin(Duration time) {
  for (const Instant end = Now() + time; Now() < end;) {
  }
}

// Waits until `holds`; false: not within `most`.
inline bool Eventually(const std::function<bool()>& holds,
                       Duration most = 20s) {
  for (const Instant end = Now() + most; Now() < end;) {
    if (holds()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return holds();
}

// Tests stop where a kernel cannot be made: there is no use in going on.
inline std::unique_ptr<ScxKernel> MakeKernel(const ScxOptions& options) {
  Result<std::unique_ptr<ScxKernel>> kernel = ScxKernel::Create(options);
  if (!kernel) {
    std::fprintf(stderr, "%s\n", kernel.error().message.c_str());
    std::exit(1);
  }
  return *std::move(kernel);
}

// A thread of the enclave that does what it is told, in turn.
class Worker {
 public:
  explicit Worker(std::vector<int> cpus = {0, 1}) {
    thread_ = std::thread([this, cpus] {
      RunOn(cpus);
      tid_ = gettid();
      const auto joined = JoinScx(0);
      EXPECT_TRUE(joined.has_value()) << joined.error().message;
      for (;;) {
        Block();
        if (!work_) return;
        work_();
        done_.fetch_add(1);
      }
    });
    while (tid_ == 0) std::this_thread::yield();
  }
  ~Worker() {
    End();
    close(next_);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void Do(std::function<void()> work) {
    work_ = std::move(work);
    Wake();
  }
  void End() {
    if (!thread_.joinable()) return;
    work_ = nullptr;
    Wake();
    thread_.join();
  }
  void Exit() {
    work_ = nullptr;
    Wake();
  }
  // Blocks at once: the library's own semaphore yields first.
  void Block() const {
    uint64_t value = 0;
    EXPECT_EQ(read(next_, &value, sizeof(value)), ssize_t{sizeof(value)});
  }
  void Wake() const {
    const uint64_t one = 1;
    EXPECT_EQ(write(next_, &one, sizeof(one)), ssize_t{sizeof(one)});
  }
  int done() const { return done_; }
  pid_t tid() const { return tid_; }

 private:
  std::atomic<pid_t> tid_{0};
  std::atomic<int> done_{0};
  const int next_ = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
  std::function<void()> work_;
  std::thread thread_;
};

// Ends loops `while (!stop)` also where a test gives up.
class Stopper {
 public:
  explicit Stopper(std::atomic<bool>& stop) : stop_(stop) {}
  ~Stopper() { stop_ = true; }
  Stopper(const Stopper&) = delete;
  Stopper& operator=(const Stopper&) = delete;

 private:
  std::atomic<bool>& stop_;
};

// Drives a global agent from a thread of its own.
class TestDriver {
 public:
  TestDriver(ScxKernel& kernel, const AgentOptions& options) : kernel_(kernel) {
    auto agents = Agents::Create(kernel, options, Now());
    if (!agents) {
      ADD_FAILURE() << agents.error().message;
      return;
    }
    agents_ = *std::move(agents);
    for (const CoreId core : Cores(options))
      threads_.emplace_back([this, core] { Drive(core); });
  }
  ~TestDriver() {
    stop_ = true;
    for (CoreId core = 0; core < kernel_.cores(); ++core)
      kernel_.WakeAgent(core);
    for (std::thread& thread : threads_) thread.join();
  }
  TestDriver(const TestDriver&) = delete;
  TestDriver& operator=(const TestDriver&) = delete;
  uint64_t passes() const { return passes_; }

 private:
  // A global agent is one thread, wherever it is.
  std::vector<CoreId> Cores(const AgentOptions& options) const {
    if (options.scheduling.placement != PlacementKind::kStealing)
      return {kNoCore};
    return agents_->Where();
  }

  void Drive(CoreId core) {
    while (!stop_) {
      const CoreId at = core == kNoCore ? agents_->Where().front() : core;
      const Instant next = agents_->Pass(at, Now());
      ++passes_;
      const CoreId then = core == kNoCore ? agents_->Where().front() : core;
      const Duration most = next == kNever ? 100ms : next - Now();
      kernel_.Wait(then, std::min<Duration>(most, 100ms));
    }
  }

  ScxKernel& kernel_;
  std::unique_ptr<Agents> agents_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> passes_{0};
  std::vector<std::thread> threads_;
};

inline AgentOptions Scheduled(PlacementKind placement, std::string order,
                              SliceRange slice = {}) {
  AgentOptions options;
  options.scheduling.order = std::move(order);
  options.scheduling.slice = slice;
  options.scheduling.placement = placement;
  return options;
}

}  // namespace yamanote::native
