// test_turns.h - user threads that wait for each other in every way: what a runtime must not
// lose, whatever becomes of its cores meanwhile.

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <vector>

#include "yamanote/condition_variable.h"
#include "yamanote/mutex.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote {

// `count` threads take turns, `turns` each; in each turn one starts another thread, gives
// way and waits for it.
inline void TakeTurns(Runtime& runtime, int count, int turns) {
  std::atomic<int> ran{0};
  runtime.Run([&] {
    Mutex mutex;
    ConditionVariable changed;
    int turn = 0;
    std::vector<Thread> threads;
    for (int i = 0; i < count; ++i) {
      threads.emplace_back([&, i] {
        for (int n = 0; n < turns; ++n) {
          std::unique_lock lock(mutex);
          changed.wait(lock, [&] { return turn % count == i; });
          ++turn;
          changed.notify_all();
          lock.unlock();
          Thread short_one([&] { ++ran; });
          this_thread::yield();
          short_one.join();
        }
      });
    }
    for (Thread& thread : threads) thread.join();
    EXPECT_EQ(turn, count * turns);
  });
  EXPECT_EQ(ran, count * turns);
}

}  // namespace yamanote
