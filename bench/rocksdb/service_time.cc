// service_time.cc - how long apps/rocksdb takes for one request, without a network.
//
//   service_time [SEED]
//
// Fills a store as `yamanote serve rocksdb` does by default (100,000 keys of 100
// bytes), then handles requests one at a time on a user thread: reading the
// request's words, RocksDB and writing the answer are in the time, framing and
// sockets are not. Then deletes all keys and says how long scans over them go on
// between two voluntary points ("step"), in time of the thread's own: what else
// runs on the machine is not in it. Prints JSON.

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "apps/rocksdb/service.h"
#include "base/random.h"
#include "yamanote/runtime.h"
#include "yamanote/thread.h"

namespace {

using namespace yamanote;

// A command of these words.
std::string Command(const std::vector<std::string>& words) {
  std::ostringstream text;
  text << '*' << words.size() << "\r\n";
  for (const std::string& word : words)
    text << '$' << word.size() << "\r\n" << word << "\r\n";
  return text.str();
}

void Measure(const char* name, rocks::RocksdbService& service, int requests,
             const std::function<std::string()>& next) {
  Reply reply(size_t{64} << 20);
  std::vector<double> us;
  for (int i = 0; i < requests; ++i) {
    const std::string request = next();
    reply.Clear();
    const Instant begin = Clock::now();
    service.Handle({.bytes = std::as_bytes(std::span(request))}, reply);
    us.push_back(static_cast<double>(ToNanos(Clock::now() - begin)) / 1e3);
    if (reply.bytes().empty() || reply.bytes()[0] == std::byte{'-'}) {
      std::fprintf(stderr, "%s was refused\n", name);
      std::exit(1);
    }
  }
  std::sort(us.begin(), us.end());
  const auto at = [&](double share) {
    return us[static_cast<size_t>(share * static_cast<double>(us.size() - 1))];
  };
  std::printf(
      "  {\"request\": \"%s\", \"requests\": %d, \"p50_us\": %.2f, "
      "\"p90_us\": %.2f, \"p99_us\": %.2f},\n",
      name, requests, at(0.5), at(0.9), at(0.99));
}

double ThreadCpuUs() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e6 +
         static_cast<double>(time.tv_nsec) / 1e3;
}

// Times between two voluntary points, if they are wanted.
struct {
  bool wanted = false;
  double last = 0;
  std::vector<double> us{};

  void Begin() { last = ThreadCpuUs(); }
  void Point() {
    const double now = ThreadCpuUs();
    us.push_back(now - last);
    last = ThreadCpuUs();
  }
} steps;

// Scans over keys that are all deleted.
void MeasureDeleted(const char* name, rocks::RocksdbService& service) {
  constexpr int kScans = 50;
  Reply reply(size_t{64} << 20);
  const std::string request = Command({"RANGE", "", "10"});
  std::vector<double> us;
  steps.wanted = true;
  for (int i = 0; i < kScans; ++i) {
    reply.Clear();
    const double begin = ThreadCpuUs();
    steps.Begin();
    service.Handle({.bytes = std::as_bytes(std::span(request))}, reply);
    steps.Point();
    us.push_back(ThreadCpuUs() - begin);
  }
  std::sort(us.begin(), us.end());
  std::sort(steps.us.begin(), steps.us.end());
  const auto at = [&](double share) {
    return steps.us[static_cast<size_t>(
        share * static_cast<double>(steps.us.size() - 1))];
  };
  std::printf(
      "  {\"request\": \"%s\", \"requests\": %d, \"cpu_p50_us\": %.2f, "
      "\"steps\": %zu, \"step_cpu_p50_us\": %.2f, \"step_cpu_p99_us\": %.2f, "
      "\"step_cpu_p999_us\": %.2f, \"step_cpu_max_us\": %.2f}\n",
      name, kScans, us[kScans / 2], steps.us.size(), at(0.5), at(0.99),
      at(0.999), at(1));
}

}  // namespace

int main(int count, char** arguments) {
  const uint64_t seed =
      count > 1 ? std::strtoull(arguments[1], nullptr, 10) : 1;
  rocks::RocksdbOptions options;
  options.check_preempt = [] {
    if (steps.wanted) steps.Point();
    CheckPreempt();
  };
  const uint64_t keys = options.database.keys;
  const std::string value(options.database.value_bytes, 'w');
  rocks::RocksdbService service(std::move(options));
  // No slices: nobody keeps time beside what is measured.
  auto runtime = Runtime::Create({.cores = 1, .scheduling = Scheduling{}});
  if (!runtime) {
    std::fprintf(stderr, "%s\n", runtime.error().message.c_str());
    return 1;
  }
  bool opened = true;
  (*runtime)->Run([&] {
    if (const auto ready = service.Init(1); !ready) {
      std::fprintf(stderr, "%s\n", ready.error().message.c_str());
      opened = false;
      return;
    }
    base::Random random(seed);
    const auto scan = [&](uint64_t length) {
      return [&random, keys, length] {
        return Command({"RANGE", rocks::KeyName(random.Below(keys - length)),
                        std::to_string(length)});
      };
    };
    const auto get = [&] {
      return Command({"GET", rocks::KeyName(random.Below(keys))});
    };
    const auto put = [&] {
      return Command({"SET", rocks::KeyName(random.Below(keys)), value});
    };
    std::printf("{\"seed\": %llu, \"keys\": %llu, \"times\": [\n",
                static_cast<unsigned long long>(seed),
                static_cast<unsigned long long>(keys));
    Measure("GET", service, 200'000, get);
    Measure("SCAN(100)", service, 5'000, scan(100));
    Measure("SCAN(1000)", service, 2'000, scan(1000));
    Measure("SCAN(5000)", service, 1'000, scan(5000));
    Measure("PUT", service, 100'000, put);
    // Two thirds of the keys now lie in a memtable as well.
    Measure("GET after PUTs", service, 200'000, get);
    Measure("SCAN(1000) after PUTs", service, 2'000, scan(1000));
    for (uint64_t key = 0; key < keys; ++key) {
      Reply reply(1 << 10);
      const std::string request = Command({"DEL", rocks::KeyName(key)});
      service.Handle({.bytes = std::as_bytes(std::span(request))}, reply);
    }
    MeasureDeleted("SCAN over 100,000 deleted", service);
    std::printf("]}\n");
  });
  return opened ? 0 : 1;
}
