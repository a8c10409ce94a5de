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

// `threads` threads, each of which waits for its gate, then uses `nanos` of CPU.
class Burners {
 public:
  Burners(int threads, uint64_t nanos, int nice = 0)
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

// The last CPU that this process may use.
inline unsigned LastCpu() {
  const TracedSettings own = SettingsOf(0);
  unsigned last = 0;
  for (unsigned cpu = 0; cpu < kTracedCpus; ++cpu)
    if (MaskHas(own.affinity, cpu)) last = cpu;
  return last;
}

class TracingTest : public testing::Test {
 protected:
  // nullptr: this machine does not let us, which is said loudly.
  std::unique_ptr<TracingKernel> Make(TracingKernel::Options options = {}) {
    if (options.cpus.empty()) options.cpus = {LastCpu()};
    auto kernel = TracingKernel::Create(options);
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
};

#define NEEDS_TRACING(kernel) \
  if ((kernel) == nullptr) GTEST_SKIP() << reason_

}  // namespace yamanote::native
