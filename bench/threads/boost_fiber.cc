// boost_fiber.cc - the thread benchmarks on Boost.Fiber: round robin on one
// core, its work-stealing scheduler on several. Launched by post. Stacks come
// from Boost's pool on one core; the pool is not thread-safe, so on several
// they come from malloc, which is told to keep what is freed.

#include <malloc.h>

#include <barrier>
#include <boost/fiber/all.hpp>
#include <mutex>
#include <thread>
#include <vector>

#include "bench/threads/suite.h"

namespace {

constexpr size_t kStackBytes = 64 * 1024;

bool several_cores = false;  // Set before the first fiber.

template <typename F>
boost::fibers::fiber Launch(F&& function) {
  using boost::fibers::fiber;
  constexpr auto kPost = boost::fibers::launch::post;
  if (several_cores) {
    return fiber(kPost, std::allocator_arg,
                 boost::fibers::fixedsize_stack(kStackBytes),
                 std::forward<F>(function));
  }
  static boost::fibers::pooled_fixedsize_stack pool(kStackBytes);
  return fiber(kPost, std::allocator_arg, pool, std::forward<F>(function));
}

struct BoostFiber {
  class Thread {
   public:
    template <typename F>
    explicit Thread(F&& function) : fiber_(Launch(std::forward<F>(function))) {}
    void join() { fiber_.join(); }

   private:
    boost::fibers::fiber fiber_;
  };
  using Mutex = boost::fibers::mutex;
  using ConditionVariable = boost::fibers::condition_variable;
  static void Yield() { boost::this_fiber::yield(); }

  template <typename F>
  static void Run(int cores, F&& main) {
    if (cores == 1) {
      main();
      return;
    }
    several_cores = true;
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    // As its documentation shows: every kernel thread takes part in stealing
    // until the main fiber has finished.
    bool done = false;
    boost::fibers::mutex mutex;
    boost::fibers::condition_variable finished;
    std::barrier<> start(cores);
    const auto take_part = [&] {
      boost::fibers::use_scheduling_algorithm<
          boost::fibers::algo::work_stealing>(static_cast<uint32_t>(cores),
                                              false);
      start.arrive_and_wait();
    };
    std::vector<std::thread> others;
    for (int i = 1; i < cores; ++i) {
      others.emplace_back([&] {
        take_part();
        std::unique_lock lock(mutex);
        finished.wait(lock, [&] { return done; });
      });
    }
    take_part();
    main();
    {
      const std::lock_guard lock(mutex);
      done = true;
    }
    finished.notify_all();
    for (std::thread& other : others) other.join();
  }
};

}  // namespace

int main(int argc, char** argv) {
  return bench::Main<BoostFiber>(argc, argv, {.spawns = 200'000, .depth = 12});
}
