// driver.cc - the agents' threads.

#include "native/driver.h"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>

namespace yamanote::native {

namespace {

// Bounds what a lost wake-up could cost.
constexpr Duration kLongestSleep = std::chrono::milliseconds(100);
// How often an agent asks whether it is over, in passes. When the host has ended it is
// woken again and again.
constexpr uint64_t kPassesPerLook = 16;
constexpr uint64_t kPollsPerLook = 1024;

}  // namespace

Result<std::unique_ptr<Driver>> Driver::Start(Kernel& kernel, AgentHost& host,
                                              const AgentOptions& options) {
  std::unique_ptr<Driver> driver(new Driver(kernel, host, options.own_core));
  driver->ended_ = eventfd(0, EFD_CLOEXEC);
  if (driver->ended_ < 0) {
    return MakeError(
        ErrorCode::kResourceExhausted,
        fmt::format("no descriptor for the agents: {}", std::strerror(errno)),
        errno);
  }
  auto agents = Agents::Create(kernel, options, Clock::now());
  if (!agents) return tl::unexpected(agents.error());
  driver->agents_ = *std::move(agents);

  std::vector<std::future<Result<void>>> started;
  for (const CoreId agent : driver->agents_->Where()) {
    std::promise<Result<void>> promise;
    started.push_back(promise.get_future());
    driver->threads_.emplace_back(
        [self = driver.get(), agent, entered = std::move(promise)]() mutable {
          const Result<void> done = self->host_.EnterAgent(agent);
          entered.set_value(done);
          if (done) self->Run(agent);
          self->host_.LeaveAgent(agent);
        });
  }
  Result<void> all;
  for (auto& one : started)
    if (Result<void> done = one.get(); !done) all = done;
  if (!all) return tl::unexpected(all.error());
  return driver;
}

void Driver::Stop() {
  stop_.store(true, std::memory_order_relaxed);
  for (CoreId core = 0; core < kernel_.cores() && !threads_.empty(); ++core)
    kernel_.WakeAgent(core);
  threads_.clear();
  agents_.reset();
  if (ended_ >= 0) close(ended_);
  ended_ = -1;
}

void Driver::Run(CoreId agent) {
  const bool global = agents_->Where().size() == 1;
  CoreId core = agent;
  for (uint64_t pass = 1; !stop_.load(std::memory_order_relaxed); ++pass) {
    host_.AgentAwake(agent);
    const Instant next = agents_->Pass(core, Clock::now());
    passes_.fetch_add(1, std::memory_order_relaxed);
    if (global) core = agents_->Where().front();
    const bool looks = pass % (polls_ ? kPollsPerLook : kPassesPerLook) == 0;
    if (looks && !host_.Ended().empty()) {
      const uint64_t one = 1;
      [[maybe_unused]] const auto told = write(ended_, &one, sizeof one);
      return;
    }
    if (polls_) continue;
    const Instant now = Clock::now();
    if (next <= now) continue;
    host_.AgentAsleep(agent);
    host_.Wait(core, std::min<Duration>(next - now, kLongestSleep));
  }
}

}  // namespace yamanote::native
