// million.cc - one million parked user threads, and one million short tasks.
//
//   bench_threads_million [THREADS]      default 1,000,000
//
// Part 1 parks THREADS threads on one semaphore, prints the resident memory,
// releases and joins them. Part 2 spawns and joins THREADS tasks of about a
// microsecond of work each, from one thread per core, on 1, 2 and 4 cores (as
// far as there are), and prints the efficiency: time on one core / (n * time on
// n cores).

#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "yamanote/runtime.h"
#include "yamanote/semaphore.h"
#include "yamanote/thread.h"

namespace {

using yamanote::Clock;
using yamanote::Runtime;
using yamanote::RuntimeOptions;
using yamanote::Thread;

double ResidentGib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmRSS:", 0) == 0)
      return std::atof(line.c_str() + 6) / (1024 * 1024);
  }
  return 0;
}

double Seconds(yamanote::Duration duration) {
  return static_cast<double>(duration.count()) / 1e9;
}

std::unique_ptr<Runtime> Make(unsigned cores) {
  RuntimeOptions options;
  options.cores = cores;
  options.scheduling = yamanote::FindPreset("shenango").value();
  return Runtime::Create(std::move(options)).value();
}

void Park(size_t count, unsigned cores) {
  const auto runtime = Make(cores);
  const double before = ResidentGib();
  std::vector<Thread> threads;
  threads.reserve(count);
  yamanote::CountingSemaphore<> gate(0);
  std::atomic<size_t> arrived{0};
  auto start = Clock::now();
  runtime->Run([&] {
    for (size_t i = 0; i < count; ++i) {
      threads.emplace_back([&] {
        arrived.fetch_add(1, std::memory_order_relaxed);  // Only counted.
        gate.acquire();
      });
    }
    while (arrived.load(std::memory_order_relaxed) < count)
      yamanote::this_thread::yield();
  });
  const auto parked = Clock::now();
  std::printf(
      "parked %zu threads in %.2f s on %u cores: "
      "%.2f GiB resident (%.2f before)\n",
      count, Seconds(parked - start), cores, ResidentGib(), before);
  runtime->Run([&] {
    gate.release(static_cast<ptrdiff_t>(count));
    for (Thread& thread : threads) thread.join();
  });
  std::printf("released and joined them in %.2f s\n",
              Seconds(Clock::now() - parked));
}

// About a microsecond that the compiler cannot remove.
void Work() {
  unsigned x = 1;
  for (int i = 0; i < 1000; ++i) asm volatile("imul $3, %0, %0" : "+r"(x));
}

double SpawnJoin(size_t count, unsigned cores) {
  const auto runtime = Make(cores);
  const auto start = Clock::now();
  runtime->Run([&] {
    std::vector<Thread> spawners;
    for (unsigned core = 0; core < cores; ++core) {
      spawners.emplace_back([&] {
        constexpr size_t kBatch = 100;
        std::vector<Thread> batch;
        batch.reserve(kBatch);
        for (size_t done = 0; done < count / cores; done += kBatch) {
          for (size_t i = 0; i < kBatch; ++i) batch.emplace_back(&Work);
          for (Thread& thread : batch) thread.join();
          batch.clear();
        }
      });
    }
    for (Thread& spawner : spawners) spawner.join();
  });
  return Seconds(Clock::now() - start);
}

}  // namespace

int main(int argc, char** argv) {
  const size_t count =
      argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  if (count < 1000) {
    std::fprintf(stderr, "usage: %s [THREADS], at least 1000\n", argv[0]);
    return 2;
  }
  const unsigned available = std::thread::hardware_concurrency();
  Park(count, available < 4 ? available : 4);
  double one = 0;
  for (const unsigned cores : {1u, 2u, 4u}) {
    if (cores > available) break;
    double best = 1e9;
    for (int round = 0; round < 5; ++round)
      best = std::min(best, SpawnJoin(count, cores));
    if (cores == 1) one = best;
    std::printf(
        "%zu tasks on %u cores: %.3f s (best of 5), %.0f ns each, "
        "efficiency %.2f\n",
        count, cores, best, best / static_cast<double>(count) * 1e9,
        one / best / cores);
  }
  return 0;
}
