// main.cc - an outside program whose task is preempted although it calls nothing.
//
// One task waits in a loop for two others, of which each core gets one: so one runs
// only if the first gives way. The other core, idle by then, keeps time. Exit status:
// 0 the task was preempted; else the alarm ends the program.

#include <unistd.h>
#include <yamanote/runtime.h>
#include <yamanote/thread.h>

#include <chrono>
#include <cstdio>
#include <mutex>

#ifndef YAMANOTE_PREEMPTIBLE
#error "This file must be compiled with probes."
#endif

int main() {
  alarm(30);
  yamanote::RuntimeOptions options;
  options.cores = 2;
  options.pin = false;                   // Others may use this machine, too.
  options.spin = std::chrono::hours(1);  // An idle core never parks.
  options.scheduling = {.slice = std::chrono::microseconds(100),
                        .placement = yamanote::PlacementKind::kPartitioned};
  auto runtime = yamanote::Runtime::Create(options);
  if (!runtime) {
    std::fprintf(stderr, "preempted: %s\n", runtime.error().message.c_str());
    return 1;
  }
  (*runtime)->Run([] {
    std::mutex mutex;  // Of the kernel: who holds it must not be preempted.
    int ran = 0;
    const auto run = [&] {
      const std::lock_guard lock(mutex);
      ++ran;
    };
    yamanote::Thread first(run);
    yamanote::Thread second(run);
    for (bool done = false; !done;) {
      const std::lock_guard lock(mutex);
      done = ran == 2;
    }
    first.join();
    second.join();
  });
  const auto preemptions = (*runtime)->stats().preemptions;
  std::printf("preempted %llu times\n",
              static_cast<unsigned long long>(preemptions));
  return preemptions > 0 ? 0 : 1;
}
