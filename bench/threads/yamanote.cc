// yamanote.cc - the thread benchmarks on Yamanote's user threads.
//
// The environment variables PRESET and ORDER choose the scheduler; without them,
// `shenango` (no slices, work stealing), first come, first served: what the peers
// do. For fork-join ORDER=lifo is the order to use; run.py measures it as a line
// of its own.

#include <mutex>

#include "bench/threads/suite.h"
#include "yamanote/condition_variable.h"
#include "yamanote/mutex.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace {

struct Yamanote {
  using Thread = yamanote::Thread;
  using Mutex = yamanote::Mutex;
  using ConditionVariable = yamanote::ConditionVariable;
  static void Yield() { yamanote::this_thread::yield(); }

  template <typename F>
  static void Run(int cores, F&& main) {
    const char* const preset = std::getenv("PRESET");
    yamanote::RuntimeOptions options;
    options.cores = static_cast<unsigned>(cores);
    options.scheduling =
        yamanote::FindPreset(preset == nullptr ? "shenango" : preset).value();
    if (const char* const order = std::getenv("ORDER"))
      options.scheduling.order = order;
    yamanote::Runtime::Create(std::move(options))
        .value()
        ->Run(std::forward<F>(main));
  }
};

}  // namespace

int main(int argc, char** argv) { return bench::Main<Yamanote>(argc, argv); }
