// campaign.h - runs tasks under a scheduler while they are preempted as often as
// can be, by made-up time.

#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "worker/engine.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace yamanote::tests {

// Returns whether what it computed was right. Compiled with probes.
using Work = std::function<bool(unsigned task, unsigned round)>;

struct Campaign {
  std::string_view preset = "yamanote";
  unsigned cores = 1;
  unsigned tasks = 6;
  uint64_t preemptions = 2000;  // It goes on until there were as many.
};

struct Outcome {
  uint64_t rounds = 0;
  uint64_t wrong = 0;
  uint64_t preemptions = 0;
};

// Runs `work` on `tasks` user threads until the scheduler has preempted them
// `preemptions` times, and each has done a round. The calling kernel thread keeps
// time, by instants that it makes up.
inline Outcome RunCampaign(const Campaign& campaign, const Work& work) {
  using namespace std::chrono_literals;
  constexpr Duration kSlice = 5us;
  constexpr unsigned kMostRounds = 20'000'000;
  RuntimeOptions options;
  options.cores = campaign.cores;
  options.pin = false;
  options.spin = 0us;
  options.watchdog = 0us;  // The campaign's time is not the tasks'.
  options.stack_bytes = 256 * 1024;
  options.scheduling = FindPreset(campaign.preset).value();
  options.scheduling.slice = kSlice;
  // Also if other works of the program are marked for signals.
  options.preemption = Mechanism::kProbe;
  const auto runtime = Runtime::Create(std::move(options)).value();
  std::atomic<uint64_t> rounds{0};
  std::atomic<uint64_t> wrong{0};
  std::atomic<bool> done{false};
  std::thread main([&] {
    runtime->Run([&] {
      std::vector<Thread> threads;
      for (unsigned task = 0; task < campaign.tasks; ++task) {
        threads.emplace_back([&, task] {
          unsigned round = 0;
          do {
            if (!work(task, round++)) ++wrong;
            ++rounds;
          } while (runtime->stats().preemptions < campaign.preemptions &&
                   round < kMostRounds);
        });
      }
      for (Thread& thread : threads) thread.join();
    });
    done = true;
  });
  // Later than anything that a worker passes.
  for (Instant now = Clock::now() + 1h; !done; now += kSlice)
    runtime->impl().timekeeper().Keep(now);
  main.join();
  return {.rounds = rounds,
          .wrong = wrong,
          .preemptions = runtime->stats().preemptions};
}

}  // namespace yamanote::tests
