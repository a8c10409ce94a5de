// suite.h - the thread benchmarks' workloads, written once for every library.
//
// A library says how it runs a program on n cores, spawns, joins, yields, locks
// and waits; the loops, the counts and the timing are the same for all. Prints
// one line per workload: name and nanoseconds per operation, of the second of
// two runs: the first one fills pools and touches stacks. One process is one
// sample; bench/threads/run.py alternates processes and takes the medians.
//
//   yield      two threads on one core give way to each other; per yield
//   spawn      spawn and join an empty thread, one after another; per pair
//   mutex      lock and unlock, uncontended; per pair
//   condvar    two threads wait for each other in turn; per one-way hand-over
//   forkjoin   16 binary trees of 2^kDepth leaves; per leaf

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace bench {

// Counts that take 50-500 ms with user threads; `slow` libraries divide them.
struct Counts {
  long yields = 2'000'000;
  long spawns = 500'000;
  long locks = 10'000'000;
  long handovers = 500'000;
  int trees = 16;
  int depth = 14;
};

template <typename F>
void Report(const char* name, long operations, F&& run) {
  run();
  const auto start = std::chrono::steady_clock::now();
  run();
  const std::chrono::duration<double, std::nano> took =
      std::chrono::steady_clock::now() - start;
  std::printf("%s %.2f\n", name,
              took.count() / static_cast<double>(operations));
  std::fflush(stdout);
}

template <typename L>
void Tree(int depth) {
  if (depth == 0) return;
  typename L::Thread left([depth] { Tree<L>(depth - 1); });
  Tree<L>(depth - 1);
  left.join();
}

// What the command line asks for: argv[1] cores, the workloads argv[2..] (all
// without).
struct Selection {
  int cores;
  std::vector<std::string> workloads;

  bool Wants(const char* name) const {
    return workloads.empty() || std::find(workloads.begin(), workloads.end(),
                                          name) != workloads.end();
  }
};

inline Selection ReadArguments(int argc, char** argv) {
  if (argc < 2 || std::atoi(argv[1]) < 1) {
    std::fprintf(stderr, "usage: %s CORES [WORKLOAD...]\n", argv[0]);
    std::exit(2);
  }
  return {std::atoi(argv[1]), {argv + 2, argv + argc}};
}

template <typename L>
int Main(int argc, char** argv, Counts counts = {}) {
  const Selection selection = ReadArguments(argc, argv);
  L::Run(selection.cores, [&] {
    if (selection.Wants("yield")) {
      Report("yield", counts.yields, [&] {
        const auto loop = [&] {
          for (long i = 0; i < counts.yields / 2; ++i) L::Yield();
        };
        typename L::Thread other(loop);
        loop();
        other.join();
      });
    }
    if (selection.Wants("spawn")) {
      Report("spawn", counts.spawns, [&] {
        for (long i = 0; i < counts.spawns; ++i) {
          typename L::Thread thread([] {});
          thread.join();
        }
      });
    }
    if (selection.Wants("mutex")) {
      typename L::Mutex mutex;
      Report("mutex", counts.locks, [&] {
        for (long i = 0; i < counts.locks; ++i) {
          mutex.lock();
          mutex.unlock();
        }
      });
    }
    if (selection.Wants("condvar")) {
      typename L::Mutex mutex;
      typename L::ConditionVariable changed;
      bool ours = true;
      Report("condvar", counts.handovers, [&] {
        const auto play = [&](bool turn) {
          for (long i = 0; i < counts.handovers / 2; ++i) {
            std::unique_lock lock(mutex);
            while (ours != turn) changed.wait(lock);
            ours = !turn;
            changed.notify_one();
          }
        };
        typename L::Thread other([&] { play(false); });
        play(true);
        other.join();
      });
    }
    if (selection.Wants("forkjoin")) {
      const long leaves = static_cast<long>(counts.trees) << counts.depth;
      Report("forkjoin", leaves, [&] {
        for (int tree = 0; tree < counts.trees; ++tree) Tree<L>(counts.depth);
      });
    }
  });
  return 0;
}

}  // namespace bench
