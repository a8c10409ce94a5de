// neighbours.cc - starts them, and does the batch program's work.

#include "tools/bench/cores/neighbours.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "arbiter/client.h"
#include "arbiter/daemon.h"
#include "tools/bench/trace.h"
#include "tools/config/config.h"
#include "tools/daemon/plan.h"
#include "tools/run/batch.h"

namespace yamanote::bench {
namespace {

using namespace std::chrono_literals;

constexpr size_t kCountsBytes = sizeof(BatchCount) * kMostBatchThreads;

// Until `happened`, or for so long. False: the child has died.
bool Await(Child& child, Duration patience,
           const std::function<bool()>& happened) {
  const Instant end = Clock::now() + patience;
  while (!happened() && Clock::now() < end) {
    if (!child.Alive()) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

int Execute(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& one : arguments)
    argv.push_back(const_cast<char*>(one.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  std::fprintf(stderr, "yamanote: can't run %s: %s\n", argv[0],
               std::strerror(errno));
  return 1;
}

int RunBestEffort(const std::string& socket,
                  const std::vector<std::string>& arguments) {
  Result<std::unique_ptr<arbiter::Client>> client =
      arbiter::Client::Connect({.socket = socket,
                                .name = "batch",
                                .allocation = "static",
                                .guaranteed = 0,
                                .best_effort = true,
                                .opaque = true});
  const Result<int> status = client
                                 ? tools::RunBatch(**client, arguments)
                                 : Result<int>(tl::unexpected(client.error()));
  if (status) return *status;
  std::fprintf(stderr, "yamanote: %s\n", status.error().message.c_str());
  return 1;
}

}  // namespace

Result<std::unique_ptr<BatchProgram>> BatchProgram::Start(
    Batch how, const std::vector<int>& cpus, const std::string& socket) {
  std::unique_ptr<BatchProgram> batch(new BatchProgram);
  batch->descriptor_ = memfd_create("yamanote-batch", MFD_CLOEXEC);
  if (batch->descriptor_ < 0 ||
      ftruncate(batch->descriptor_, kCountsBytes) != 0)
    return MakeError(ErrorCode::kResourceExhausted, "no memory to share",
                     errno);
  void* const counts =
      mmap(nullptr, kCountsBytes, PROT_READ, MAP_SHARED, batch->descriptor_, 0);
  if (counts == MAP_FAILED)
    return MakeError(ErrorCode::kResourceExhausted, "no memory to share",
                     errno);
  batch->counts_ = static_cast<const BatchCount*>(counts);
  const std::vector<std::string> arguments = {
      "/proc/self/exe",
      "bench",
      "cores-batch",
      "--threads",
      std::to_string(cpus.size()),
      "--counts",
      fmt::format("/proc/{}/fd/{}", getpid(), batch->descriptor_)};
  Result<Child> child = Child::Fork([&] {
    KeepTo(cpus);
    const sched_param none{};
    switch (how) {
      case Batch::kPlain:
        break;
      case Batch::kNice:
        setpriority(PRIO_PROCESS, 0, 19);
        break;
      case Batch::kIdle:
        sched_setscheduler(0, SCHED_IDLE, &none);
        break;
      case Batch::kBestEffort:
        return RunBestEffort(socket, arguments);
    }
    return Execute(arguments);
  });
  if (!child) return tl::unexpected(child.error());
  batch->child_ = std::move(*child);
  // On a machine that others keep busy one that is beneath them may not get to work: then
  // that is what is measured.
  if (!Await(batch->child_, 2s, [&] { return batch->Units() > 0; }))
    return MakeError(ErrorCode::kUnavailable, "the batch program died");
  return batch;
}

BatchProgram::~BatchProgram() {
  child_.End();
  if (counts_ != nullptr)
    munmap(const_cast<BatchCount*>(counts_), kCountsBytes);
  if (descriptor_ >= 0) close(descriptor_);
}

uint64_t BatchProgram::Units() const {
  uint64_t units = 0;
  for (unsigned thread = 0; thread < kMostBatchThreads; ++thread)
    units += counts_[thread].units.load(std::memory_order_relaxed);
  return units;
}

int RunBatchProgram(unsigned threads, const std::string& counts) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int descriptor = open(counts.c_str(), O_RDWR | O_CLOEXEC);
  void* const memory = descriptor < 0
                           ? MAP_FAILED
                           : mmap(nullptr, kCountsBytes, PROT_READ | PROT_WRITE,
                                  MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) return 1;
  BatchCount* const mine = static_cast<BatchCount*>(memory);
  const Trace none(0);
  const auto work = [&](unsigned thread) {
    for (;;) {
      BareWork(none, 5000);
      mine[thread].units.fetch_add(1, std::memory_order_relaxed);
    }
  };
  for (unsigned thread = 1; thread < threads; ++thread)
    std::thread(work, thread).detach();
  work(0);
  return 0;
}

Result<std::unique_ptr<Arbitration>> Arbitration::Start(
    const std::vector<int>& cpus, int poll_cpu) {
  std::unique_ptr<Arbitration> arbitration(new Arbitration);
  char folder[] = "/tmp/yamanote-bench-XXXXXX";
  if (mkdtemp(folder) == nullptr)
    return MakeError(ErrorCode::kResourceExhausted,
                     "no folder can be made in /tmp", errno);
  arbitration->folder_ = folder;
  arbitration->socket_ = arbitration->folder_ + "/arbiter.sock";
  tools::Config config;
  config.daemon.socket = arbitration->socket_;
  config.daemon.cpus = cpus;
  if (poll_cpu >= 0) {
    config.daemon.mode = arbiter::DaemonOptions::Mode::kPolling;
    config.daemon.poll_cpu = poll_cpu;
  }
  Result<arbiter::DaemonOptions> options = tools::PlanDaemon(config);
  if (!options) return tl::unexpected(options.error());
  SharedObjects<std::atomic<bool>> ready;
  Result<Child> child = Child::Fork([&] {
    // By events it has no core of its own.
    KeepTo(poll_cpu < 0 ? cpus : std::vector<int>{poll_cpu});
    arbiter::Linux kernel;
    Result<std::unique_ptr<arbiter::Daemon>> daemon =
        arbiter::Daemon::Create(std::move(*options), kernel);
    if (!daemon) {
      std::fprintf(stderr, "yamanote: %s\n", daemon.error().message.c_str());
      return 1;
    }
    ready->store(true);
    (*daemon)->Run();
    return 0;
  });
  if (!child) return tl::unexpected(child.error());
  arbitration->child_ = std::move(*child);
  if (!Await(arbitration->child_, 1min, [&] { return ready->load(); }) ||
      !ready->load())
    return MakeError(ErrorCode::kUnavailable, "the daemon did not start");
  return arbitration;
}

Arbitration::~Arbitration() {
  child_.End();
  std::error_code gone;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, gone);
}

}  // namespace yamanote::bench
