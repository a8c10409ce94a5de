// yamanote.cc - the thread benchmarks on Yamanote's user threads.
//
// The environment variable PRESET chooses the scheduler; without it, `shenango`
// (first come, first served, no slices, work stealing): what the peers do.

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
    options.scheduling = yamanote::FindPreset(preset == nullptr ? "shenango" : preset).value();
    yamanote::Runtime::Create(std::move(options)).value()->Run(std::forward<F>(main));
  }
};

}  // namespace

int main(int argc, char** argv) { return bench::Main<Yamanote>(argc, argv); }
