// signals_fuzzer.cc - whatever applications write and whenever, the arbiter's books stay
// right and an honest neighbour gets what it is guaranteed.
//
// The input is a program: each byte an action, followed by its operands.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "arbiter/arbiter.h"
#include "arbiter/test_kernel.h"
#include "base/check.h"

namespace yamanote::arbiter {
namespace {

constexpr unsigned kCores = 3;
constexpr unsigned kLiars = 3;

class Input {
 public:
  Input(const uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  bool empty() const { return left_ == 0; }
  template <typename Number>
  Number Take() {
    Number number{};
    const std::size_t size = std::min(left_, sizeof number);
    std::memcpy(&number, data_, size);
    data_ += size;
    left_ -= size;
    return number;
  }

 private:
  const uint8_t* data_;
  std::size_t left_;
};

struct alignas(64) BoardMemory {
  std::byte bytes[kBoardBytes];
};

class World {
 public:
  World() {
    std::memset(board_.bytes, 0, sizeof board_.bytes);
    ArbiterOptions options;
    options.cpus = {0, 1, 2};
    options.siblings = {1, 0, kNoCore};
    options.elsewhere = {3};
    arbiter_ = std::make_unique<Arbiter>(options, board_.bytes, kernel_);
    honest_ = Add(1, {.guaranteed = 1, .most = 1}, "congestion", false);
  }

  void Do(Input& input) {
    const auto action = input.Take<uint8_t>();
    const unsigned who = input.Take<uint8_t>() % kLiars;
    AppId& liar = liars_[who];
    CoreSignals& line =
        (*memories_[who + 2].signals)[input.Take<uint8_t>() % kCores];
    switch (action % 10) {
      case 0: {
        const auto flags = input.Take<uint8_t>();
        if (liar != kNobody) return;
        const bool best_effort = (flags & 1) != 0;
        const unsigned guaranteed = best_effort ? 0 : (flags >> 1) % 3;
        static constexpr const char* kPolicies[] = {"static", "congestion",
                                                    "delay", "delay-range",
                                                    "utilization-range"};
        liar = Add(who + 2,
                   {.guaranteed = guaranteed,
                    .most = kCores - ((flags >> 2) & 1),
                    .best_effort = best_effort},
                   kPolicies[(flags >> 3) % 5], (flags >> 6) == 3);
        return;
      }
      case 1:
        if (liar != kNobody) arbiter_->Remove(std::exchange(liar, kNobody));
        return;
      case 2:
        line.presence = input.Take<uint32_t>();
        return;
      case 3: {  // The right answer, for once.
        const CoreId core = input.Take<uint8_t>() % kCores;
        if (liar == kNobody) return;
        const auto* const commands = reinterpret_cast<const CoreCommand*>(
            board_.bytes + sizeof(BoardHeader));
        const uint32_t word = commands[liar * kMostCores + core].word.load();
        (*memories_[who + 2].signals)[core].presence =
            Presence(EpochOf(word), CommandOf(word) == Command::kGranted);
        return;
      }
      case 4:
        line.enqueued = input.Take<uint32_t>();
        line.taken = input.Take<uint32_t>();
        return;
      case 5:
        line.oldest_since = input.Take<int64_t>();
        return;
      case 6:
        line.idle = input.Take<int64_t>();
        line.idle_since = input.Take<int64_t>();
        return;
      case 7:
        kernel_.gone.insert(static_cast<int>(1000 * (who + 2) + 1));
        return;
      default:
        Pass(Duration(1 + input.Take<uint16_t>() * 64));
    }
  }

  void Pass(Duration later) {
    kernel_.now += later;
    arbiter_->Pass(kernel_.now);
    kernel_.woken.clear();
    kernel_.signalled.clear();
    Check();
  }

  // Whatever happened: its host comes, and after the deadline no service is there.
  void Finish() {
    CoreSignals& line = (*memories_[1].signals)[home_];
    line.presence = Presence(1, true);
    Pass(std::chrono::microseconds(5));
    for (int i = 0; i < 3; ++i) Pass(std::chrono::milliseconds(3));
    const Allocator& allocator = arbiter_->allocator();
    const AppId guest = allocator.owner(home_);
    YAMANOTE_CHECK(allocator.at_home(home_), "its home core is its own");
    YAMANOTE_CHECK(guest == kNobody || allocator.limits(guest).best_effort ||
                       allocator.state(home_) == CoreState::kRevoked,
                   "no guest stays beside its host");
    YAMANOTE_CHECK(
        arbiter_->NextDue(kernel_.now, std::chrono::milliseconds(1)) >
            kernel_.now - std::chrono::milliseconds(1),
        "the next pass is not long overdue");
  }

 private:
  AppId Add(unsigned pid, const Limits& limits, const char* policy,
            bool opaque) {
    memories_[pid] = TestMemory();
    Applicant applicant{.name = "fuzz",
                        .policy = FindCorePolicy(policy),
                        .limits = limits,
                        .opaque = opaque,
                        // One of the liars does not.
                        .keeps = pid != 2,
                        .signals = memories_[pid].signals->data()};
    const AppId id = arbiter_->Add(std::move(applicant),
                                   TestProcess(static_cast<pid_t>(pid)));
    if (id == kNobody) return id;
    for (CoreId core = 0; pid == 1 && core < kCores; ++core) {
      if (arbiter_->allocator().home(core) == id) home_ = core;
    }
    std::array<int32_t, kMostCores> tids{};
    for (CoreId core = 0; core < kCores; ++core)
      tids[core] = static_cast<int32_t>(1000 * pid + core + 1);
    if (!opaque) static_cast<void>(arbiter_->SetWorkers(id, tids));
    return id;
  }

  void Check() const {
    const Allocator& allocator = arbiter_->allocator();
    unsigned held = 0;
    for (const AppStatus& app : arbiter_->status().apps) {
      // It is beneath everybody, and takes nothing.
      if (app.opaque && app.limits.best_effort && app.limits.most >= kCores)
        continue;
      for (const HeldCore& core : app.cores)
        held += core.why != Why::kHome && core.state != CoreState::kIdle;
    }
    unsigned owned = 0;
    for (CoreId core = 0; core < kCores; ++core)
      owned += allocator.owner(core) != kNobody ? 1 : 0;
    YAMANOTE_CHECK(held == owned, "what is held is somebody's");
    YAMANOTE_CHECK(allocator.home(home_) == honest_,
                   "a home core stays a home core");
  }

  TestKernel kernel_;
  BoardMemory board_;
  std::unique_ptr<Arbiter> arbiter_;
  TestMemory memories_[kLiars + 2];
  AppId honest_ = kNobody;
  CoreId home_ = 0;
  AppId liars_[kLiars] = {kNobody, kNobody, kNobody};
};

}  // namespace
}  // namespace yamanote::arbiter

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  using yamanote::arbiter::World;
  const auto world = std::make_unique<World>();
  yamanote::arbiter::Input input(data, std::min<std::size_t>(size, 4096));
  while (!input.empty()) world->Do(input);
  world->Finish();
  return 0;
}
