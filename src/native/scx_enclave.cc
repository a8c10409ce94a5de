// scx_enclave.cc - threads of sched_ext: who joins, and their agents.

#include "native/scx_enclave.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "native/claims.h"
#include "native/joining.h"
#include "native/scx.h"
#include "native/scx_guardian.h"
#include "native/settings.h"

namespace yamanote::native {

namespace {

using namespace std::chrono_literals;

constexpr unsigned kScxEnclaveCpus = 256;
constexpr unsigned kAgentPriority = 1;
// Threads that join appear when they leave the CPU that they are on.
constexpr Duration kAppearance = 500ms;

class ScxEnclave final : public Backend, public AgentHost {
 public:
  explicit ScxEnclave(const BackendOptions& options) : options_(options) {
    for (const unsigned cpu : options.cpus) MaskAdd(mask_, cpu);
  }
  ~ScxEnclave() override {
    // First: the scheduler is there while threads leave it.
    if (guardian_ != nullptr) guardian_->Stop();
    kernel_.reset();
    for (const int claim : claims_) close(claim);
  }
  ScxEnclave(const ScxEnclave&) = delete;
  ScxEnclave& operator=(const ScxEnclave&) = delete;

  Result<void> Start();

  // ---- Backend
  std::string_view name() const override { return "scx"; }
  Kernel& kernel() override { return *kernel_; }
  AgentHost& host() override { return *this; }
  Result<Joined> Add(pid_t pid) override;
  uint32_t threads() const override {
    uint32_t count = 0;
    kernel_->ForEachThread([&count](const StatusWord&) { ++count; });
    return count;
  }
  Counts counts() const override { return kernel_->counts(); }
  pid_t guardian() const override { return guardian_->pid(); }

  // ---- AgentHost
  void Wait(CoreId core, Duration most) override {
    if (!kernel_->over()) kernel_->Wait(core, most);
  }
  Result<void> EnterAgent(CoreId agent) override;
  void LeaveAgent(CoreId /*agent*/) override {}
  void AgentAwake(CoreId /*agent*/) override {}
  void AgentAsleep(CoreId /*agent*/) override {}
  std::string Ended() const override;

 private:
  Joining AddThread(pid_t process, pid_t tid, std::string& reason);
  void AwaitAppearance(const std::vector<pid_t>& joined) const;

  const BackendOptions options_;
  uint64_t mask_[kTracedMaskWords] = {};
  uint64_t default_runtime_ = 0;
  std::vector<int> claims_;
  std::unique_ptr<ScxKernel> kernel_;
  std::unique_ptr<ScxGuardian> guardian_;
  // Add()'s.
  uint32_t there_ = 0;
  std::vector<pid_t> joined_;
};

Result<void> ScxEnclave::Start() {
  if (Result<void> valid = CheckCpus(options_.cpus, kScxEnclaveCpus); !valid)
    return valid;
  for (const unsigned cpu : options_.cpus) {
    const Result<int> claim = ClaimCpu(cpu);
    if (!claim) return tl::unexpected(claim.error());
    claims_.push_back(*claim);
  }
  const Result<int> scheduler = ClaimScx();
  if (!scheduler) return tl::unexpected(scheduler.error());
  claims_.push_back(*scheduler);
  TracedSettings own{};
  if (ReadSettings(0, 0, own) == 0) default_runtime_ = own.runtime;
  auto kernel = ScxKernel::Create(
      {.cpus = std::vector<int>(options_.cpus.begin(), options_.cpus.end()),
       .max_threads = options_.max_threads,
       .watchdog = options_.watchdog});
  if (!kernel) return tl::unexpected(kernel.error());
  kernel_ = *std::move(kernel);
  // It keeps the scheduler, and the claim to it.
  auto guardian = ScxGuardian::Start(*kernel_, options_.max_threads,
                                     {kernel_->link_descriptor(), *scheduler});
  if (!guardian) return tl::unexpected(guardian.error());
  guardian_ = *std::move(guardian);
  return {};
}

// ---- Who joins --------------------------------------------------------------

Result<Backend::Joined> ScxEnclave::Add(pid_t pid) {
  there_ = threads();
  joined_.clear();
  Result<Joined> joined =
      JoinProcess(pid, guardian_->pid(), options_.max_threads,
                  [this](pid_t process, pid_t tid, std::string& reason) {
                    return AddThread(process, tid, reason);
                  });
  AwaitAppearance(joined_);
  return joined;
}

Joining ScxEnclave::AddThread(pid_t process, pid_t tid, std::string& reason) {
  ThreadStat stat{};
  TracedSettings settings{};
  if (!ReadStat(process, tid, stat)) return Joining::kThere;  // It has ended.
  if (const int failed = ReadSettings(tid, default_runtime_, settings);
      failed != 0) {
    reason = std::strerror(failed);
    return failed == ESRCH ? Joining::kThere : Joining::kRefused;
  }
  // There is one scheduler. A thread of the enclave has forked it.
  if (settings.policy == kSchedExt) return Joining::kThere;
  reason = WhyNotJoin(stat, settings, mask_);
  if (!reason.empty()) return Joining::kRefused;
  if (there_ + joined_.size() >= options_.max_threads) return Joining::kFull;
  TracedSettings given = settings;
  for (int i = 0; i < kTracedMaskWords; ++i) given.affinity[i] &= mask_[i];
  if (!guardian_->Note(process, tid, settings, given.affinity))
    return Joining::kFull;
  given.policy = kSchedExt;
  int failed = SetAffinity(tid, given.affinity);
  if (failed == 0) failed = RestoreClass(tid, given);
  if (failed == 0) {
    joined_.push_back(tid);
    return Joining::kJoined;
  }
  SetAffinity(tid, settings.affinity);
  reason = fmt::format("it cannot be given the scheduling class ext: {}",
                       std::strerror(failed));
  return failed == ESRCH ? Joining::kThere : Joining::kRefused;
}

// A thread that runs is told to leave its CPU, and is known when it has; who asks how many
// threads there are is to find those that have joined.
void ScxEnclave::AwaitAppearance(const std::vector<pid_t>& joined) const {
  const Instant end = Clock::now() + kAppearance;
  while (!joined.empty() && Clock::now() < end && !kernel_->over()) {
    std::size_t missing = joined.size();
    kernel_->ForEachThread([&](const StatusWord& word) {
      for (const pid_t tid : joined) missing -= tid == word.tid ? 1 : 0;
    });
    for (const pid_t tid : joined)
      if (sched_getscheduler(tid) < 0) return;  // It has ended.
    if (missing == 0) return;
    std::this_thread::sleep_for(1ms);
  }
}

// ---- Agents -----------------------------------------------------------------

Result<void> ScxEnclave::EnterAgent(CoreId agent) {
  int failed = PinTo(0, options_.cpus[agent]);
  if (failed == 0) failed = MakeFifo(0, kAgentPriority);
  if (failed == 0) return {};
  return MakeError(
      ErrorCode::kPermissionDenied,
      fmt::format("core {}'s agent cannot run on CPU {} with real-time "
                  "priority {}: {}; it needs root, that CPU in its cpuset, and "
                  "where the kernel groups real-time threads "
                  "cpu.rt_runtime_us",
                  agent, options_.cpus[agent], kAgentPriority,
                  std::strerror(failed)),
      failed);
}

std::string ScxEnclave::Ended() const {
  if (kernel_->over()) {
    return fmt::format(
        "the kernel has ended the scheduler: {}. A policy that lets threads "
        "wait that long needs a longer watchdog",
        kernel_->Ended());
  }
  return guardian_->alive() ? "" : "the guardian's process has ended";
}

}  // namespace

Result<std::unique_ptr<Backend>> MakeScxBackend(const BackendOptions& options) {
  auto enclave = std::make_unique<ScxEnclave>(options);
  if (Result<void> started = enclave->Start(); !started)
    return tl::unexpected(started.error());
  return std::unique_ptr<Backend>(std::move(enclave));
}

}  // namespace yamanote::native
