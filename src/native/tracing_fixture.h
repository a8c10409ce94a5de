// tracing_fixture.h - programs to be scheduled, and where they are scheduled, for tests.
//
// A program is a forked process that runs until it is told to stop or is killed with the
// test. Only the enclave's CPUs ever see a real-time thread, and no longer than a test.

#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "native/settings.h"
#include "native/tracing.h"

namespace yamanote::native {

inline constexpr int kMostTestThreads = 16;

// What a program and its test both see.
struct Board {
  std::atomic<uint32_t> go{0};
  std::atomic<uint32_t> ready{0};
  std::atomic<uint64_t> count{0};
  struct Lane {
    std::atomic<pid_t> tid{0};
    std::atomic<uint64_t> began_ns{0};
    std::atomic<uint64_t> ended_ns{0};
  };
  Lane lanes[kMostTestThreads];
};

inline uint64_t CpuNanos() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<uint64_t>(used.tv_sec) * 1'000'000'000 +
         static_cast<uint64_t>(used.tv_nsec);
}

// Uses the CPU for `nanos`, however long that takes.
inline void Burn(uint64_t nanos) {
  const uint64_t end = CpuNanos() + nanos;
  while (CpuNanos() < end) {
  }
}

inline void NapMs(long millis) {
  const timespec time{.tv_sec = 0, .tv_nsec = millis * 1'000'000};
  nanosleep(&time, nullptr);
}

// False: `condition` did not hold within `seconds`.
template <typename Condition>
bool Eventually(Condition condition, double seconds = 3) {
  const uint64_t end = MonotonicNanos() + static_cast<uint64_t>(seconds * 1e9);
  while (!condition()) {
    if (MonotonicNanos() > end) return condition();
    NapMs(1);
  }
  return true;
}

// A pipe whose reader blocks.
struct Gate {
  int ends[2] = {-1, -1};
  Gate() {
    if (pipe(ends) != 0) std::abort();
  }
  ~Gate() {
    close(ends[0]);
    close(ends[1]);
  }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void Wait() const {
    char byte = 0;
    while (read(ends[0], &byte, 1) != 1) {
    }
  }
  void Open(int times = 1) const {
    for (int i = 0; i < times; ++i)
      if (write(ends[1], "", 1) != 1) std::abort();
  }
};

class Program {
 public:
  template <typename Main>
  explicit Program(Main main) {
    void* const memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    board_ = new (memory) Board;
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    main(*board_);
    _exit(0);
  }
  ~Program() {
    if (pid_ > 0) kill(pid_, SIGKILL);
    Join();
    munmap(board_, sizeof(Board));
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  Board& board() { return *board_; }
  // Ended by itself within `seconds`.
  bool Ends(double seconds = 4) {
    int status = 0;
    const bool ended = Eventually(
        [&] { return waitpid(pid_, &status, WNOHANG) == pid_; }, seconds);
    if (ended) pid_ = -1;
    return ended && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

 private:
  void Join() {
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  Board* board_ = nullptr;
  pid_t pid_ = -1;
};

// `threads` threads, each of which waits for its gate, then uses `nanos` of CPU. The first
// opens the others' gates in order before that, if it is told to: on one CPU it is the
// only one that can be sure to run.
class Burners {
 public:
  enum class Gates : uint8_t { kApart, kFirstOpensAll };
  Burners(int threads, uint64_t nanos, int nice = 0,
          Gates gates = Gates::kApart)
      : gates_(std::make_unique<Gate[]>(static_cast<std::size_t>(threads))),
        program_([&](Board& board) {
          setpriority(nice);
          std::vector<std::thread> all;
          for (int i = 0; i < threads; ++i) {
            all.emplace_back([&, i] {
              Board::Lane& lane = board.lanes[i];
              lane.tid = gettid();
              ++board.ready;
              gates_[static_cast<std::size_t>(i)].Wait();
              lane.began_ns = MonotonicNanos();
              const bool opens = i == 0 && gates == Gates::kFirstOpensAll;
              for (int j = 1; opens && j < threads; ++j) Open(j);
              Burn(nanos);
              lane.ended_ns = MonotonicNanos();
            });
          }
          for (std::thread& thread : all) thread.join();
        }) {
    EXPECT_TRUE(Eventually([&] {
      return program_.board().ready == static_cast<uint32_t>(threads);
    }));
  }
  Program& operator*() { return program_; }
  Program* operator->() { return &program_; }
  void Open(int thread) { gates_[static_cast<std::size_t>(thread)].Open(); }
  Board::Lane& lane(int thread) { return program_.board().lanes[thread]; }

 private:
  static void setpriority(int nice) {
    TracedSettings settings{};
    ReadSettings(0, 0, settings);
    settings.nice = nice;
    settings.runtime = 0;
    RestoreClass(0, settings);
  }

  std::unique_ptr<Gate[]> gates_;
  Program program_;
};

// Its parent may not have waited for it yet.
inline bool HasEnded(pid_t pid) {
  if (kill(pid, 0) != 0) return true;
  const std::string name = "/proc/" + std::to_string(pid) + "/stat";
  std::FILE* const file = std::fopen(name.c_str(), "r");
  if (file == nullptr) return true;
  char state = 0;
  const bool read = std::fscanf(file, "%*d %*s %c", &state) == 1;
  std::fclose(file);
  return !read || state == 'Z';
}

inline TracedSettings SettingsOf(pid_t tid) {
  TracedSettings settings{};
  ReadSettings(tid, 0, settings);
  return settings;
}

inline bool Same(const TracedSettings& a, const TracedSettings& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// The last CPU that this process may use, before a test has sent it away.
inline unsigned LastCpu() {
  const TracedSettings own = SettingsOf(0);
  unsigned last = 0;
  for (unsigned cpu = 0; cpu < kTracedCpus; ++cpu)
    if (MaskHas(own.affinity, cpu)) last = cpu;
  return last;
}

inline AgentOptions AgentsOf(
    std::string order, SliceRange slice = {},
    PlacementKind placement = PlacementKind::kCentral) {
  AgentOptions options;
  options.scheduling.order = std::move(order);
  options.scheduling.slice = slice;
  options.scheduling.placement = placement;
  return options;
}

inline std::unique_ptr<Driver> Drive(TracingKernel& kernel,
                                     const AgentOptions& options) {
  auto driver = Driver::Start(kernel, kernel, options);
  if (driver) return *std::move(driver);
  ADD_FAILURE() << driver.error().message;
  return nullptr;
}

// A queue for all threads' messages, with nobody to act on them.
inline QueueId Listen(TracingKernel& kernel, uint32_t capacity = 4096) {
  const QueueId queue = kernel.CreateQueue(capacity).value();
  EXPECT_TRUE(kernel.AssociateCore(kNoCore, queue));
  return queue;
}

// What comes until `done`, or for 3 s.
template <typename Done>
std::vector<Message> Collect(TracingKernel& kernel, QueueId queue, Done done) {
  std::vector<Message> all;
  Eventually([&] {
    Message message{};
    while (kernel.Receive(queue, message)) all.push_back(message);
    return done(all);
  });
  return all;
}

inline std::size_t CountOf(const std::vector<Message>& all, MessageType type) {
  std::size_t count = 0;
  for (const Message& message : all) count += message.type == type ? 1 : 0;
  return count;
}

class TracingTest : public testing::Test {
 protected:
  TracingTest() { ReadAffinity(0, before_); }
  ~TracingTest() override { SetAffinity(0, before_); }

  // nullptr: this machine does not let us, which is said loudly.
  std::unique_ptr<TracingKernel> Make(TracingKernel::Options options = {}) {
    if (options.cpus.empty()) options.cpus = {LastCpu()};
    StandAside(options.cpus);
    auto kernel = TracingKernel::Create(options);
    // Another test may have the CPU.
    Eventually(
        [&] {
          if (kernel || kernel.error().code != ErrorCode::kUnavailable)
            return true;
          kernel = TracingKernel::Create(options);
          return false;
        },
        20);
    if (kernel) return *std::move(kernel);
    if (kernel.error().code == ErrorCode::kPermissionDenied ||
        kernel.error().code == ErrorCode::kUnsupported) {
      reason_ = kernel.error().message;
      std::fprintf(stderr, "NOT TESTED HERE: %s\n", reason_.c_str());
    } else {
      ADD_FAILURE() << kernel.error().message;
    }
    return nullptr;
  }
  std::string reason_;

 private:
  // The test's own thread is an ordinary one: it would wait for those that it looks at.
  // Where there is no other CPU it has the share of ordinary threads.
  void StandAside(const std::vector<unsigned>& cpus) {
    uint64_t rest[kTracedMaskWords];
    std::memcpy(rest, before_, sizeof rest);
    for (const unsigned cpu : cpus)
      rest[cpu / 64] &= ~(uint64_t{1} << (cpu % 64));
    SetAffinity(0, rest);  // Fails, and nothing changes, if none is left.
  }

  uint64_t before_[kTracedMaskWords] = {};
};

#define NEEDS_TRACING(kernel) \
  if ((kernel) == nullptr) GTEST_SKIP() << reason_

}  // namespace yamanote::native
