// bare.cc - the simplest simulator of two ideals, for the speed of the other one.
//
//   bench_sim_bare fifo|rr REQUESTS
//
// One queue for 16 cores at load 0.7; first come first served with exponential service
// of 10 us, or round robin in slices of 5 us with 99.5% of 0.5 us and 0.5% of 500 us.
// No objects of the scheduler's, no placement, admission, costs, classes or intervals: a
// heap of ends, a ring of requests, two histograms. Prints million requests a second of
// processor time, and the p99 slowdown.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <functional>
#include <queue>
#include <vector>

#include "base/histogram.h"
#include "base/random.h"

namespace {

constexpr unsigned kCores = 16;
constexpr double kLoad = 0.7;

struct Job {
  int64_t at;
  int64_t service;
  int64_t left;
};

struct End {
  int64_t when;
  Job job;
  int64_t ran;
  bool operator>(const End& other) const { return when > other.when; }
};

double ProcessorSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) +
         1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: bench_sim_bare fifo|rr REQUESTS\n");
    return 2;
  }
  const bool fifo = std::strcmp(argv[1], "fifo") == 0;
  const uint64_t requests = std::strtoull(argv[2], nullptr, 10);
  const int64_t slice = fifo ? INT64_MAX : 5000;
  const double mean = fifo ? 10'000 : 0.995 * 500 + 0.005 * 500'000;
  yamanote::base::Random random(1);
  yamanote::base::Histogram latency;
  yamanote::base::Histogram slowdown;
  std::deque<Job> waiting;
  std::priority_queue<End, std::vector<End>, std::greater<>> running;
  const auto start = [&](const Job& job, int64_t now) {
    const int64_t run = job.left < slice ? job.left : slice;
    running.push({now + run, job, run});
  };
  const double begun = ProcessorSeconds();
  double next = 0;
  uint64_t left = requests;
  while (left > 0 || !running.empty()) {
    if (left > 0 &&
        (running.empty() || static_cast<int64_t>(next) < running.top().when)) {
      --left;
      const double service =
          fifo ? random.Exponential(mean)
               : (random.Uniform() < 0.005 ? 500'000.0 : 500.0);
      Job job{.at = static_cast<int64_t>(next),
              .service = static_cast<int64_t>(service) + 1,
              .left = 0};
      job.left = job.service;
      if (running.size() < kCores) {
        start(job, job.at);
      } else {
        waiting.push_back(job);
      }
      next += random.Exponential(mean / kLoad / kCores);
      continue;
    }
    End end = running.top();
    running.pop();
    end.job.left -= end.ran;
    if (end.job.left == 0) {
      const int64_t sojourn = end.when - end.job.at;
      latency.Record(static_cast<uint64_t>(sojourn));
      slowdown.Record(
          static_cast<uint64_t>(1000.0 * static_cast<double>(sojourn) /
                                static_cast<double>(end.job.service)));
    } else {
      waiting.push_back(end.job);
    }
    if (!waiting.empty()) {
      start(waiting.front(), end.when);
      waiting.pop_front();
    }
  }
  std::printf(
      "%.3f %.2f\n",
      static_cast<double>(requests) / 1e6 / (ProcessorSeconds() - begun),
      slowdown.Quantile(0.99) / 1000);
}
