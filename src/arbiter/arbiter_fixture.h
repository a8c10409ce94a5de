// arbiter_fixture.h - an arbiter in virtual time, and applications that do what a test
// says.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "arbiter/test_kernel.h"

namespace yamanote::arbiter {

inline constexpr Limits kService{.guaranteed = 1, .most = 8};
inline constexpr Limits kBursting{.guaranteed = 0, .most = 8};
inline constexpr Limits kBatch{.guaranteed = 0, .most = 8, .best_effort = true};

class ArbiterTest : public testing::Test {
 protected:
  struct App {
    AppId id = kNobody;
    pid_t pid = 0;
    TestMemory memory;
    CoreSignals& operator[](CoreId core) { return (*memory.signals)[core]; }
  };

  void Start(unsigned cores) {
    ArbiterOptions options;
    for (unsigned core = 0; core < cores; ++core)
      options.cpus.push_back(static_cast<int>(10 + core));
    options.elsewhere = {0, 1};
    arbiter_ = std::make_unique<Arbiter>(options, board_->data(), kernel_);
  }

  Applicant Asks(App& app, const Limits& limits) {
    Limits fitting = limits;
    fitting.most = std::min(fitting.most, arbiter_->cores());
    return {.name = "app",
            .policy = FindCorePolicy("delay"),
            .limits = fitting,
            .signals = app.memory.signals->data()};
  }

  std::unique_ptr<App> Add(const Limits& limits) {
    auto app = std::make_unique<App>();
    Register(*app, Asks(*app, limits));
    return app;
  }

  void Register(App& app, Applicant&& applicant) {
    app.pid = ++pids_;
    app.id = arbiter_->Add(std::move(applicant), TestProcess(app.pid));
    ASSERT_NE(app.id, kNobody);
    ASSERT_TRUE(arbiter_->SetWorkers(app.id, Tids(app)));
  }

  std::array<int32_t, kMostCores> Tids(const App& app) {
    std::array<int32_t, kMostCores> tids{};
    for (CoreId core = 0; core < arbiter_->cores(); ++core)
      tids[core] = Tid(app, core);
    return tids;
  }

  static int Tid(const App& app, CoreId core) {
    return 1000 * app.pid + static_cast<int>(core) + 1;
  }

  void Pass(Duration later = std::chrono::microseconds(5)) {
    kernel_.now += later;
    arbiter_->Pass(kernel_.now);
  }

  const CoreCommand& CommandFor(const App& app, CoreId core) const {
    return *reinterpret_cast<const CoreCommand*>(
        board_->data() + sizeof(BoardHeader) +
        sizeof(CoreCommand) * (app.id * kMostCores + core));
  }
  uint32_t Word(const App& app, CoreId core) const {
    return CommandFor(app, core).word.load();
  }
  bool Woken(const App& app, CoreId core) const {
    return std::ranges::count(kernel_.woken, &CommandFor(app, core).word) > 0;
  }

  // What its worker would write.
  void Come(App& app, CoreId core) {
    app[core].presence = Presence(EpochOf(Word(app, core)), true);
  }
  void Leave(App& app, CoreId core) {
    app[core].presence = Presence(EpochOf(Word(app, core)), false);
  }
  // A task has waited for long, on a queue of core 0.
  void Need(App& app) {
    app[0].enqueued = 1;
    app[0].oldest_since = 1;
  }
  void NeedNoMore(App& app) {
    app[0].taken = 1;
    app[0].oldest_since = 0;
  }
  AppCounters Counters(const App& app) {
    for (const AppStatus& one : arbiter_->status().apps) {
      if (one.pid == app.pid) return one.counters;
    }
    return {};
  }
  // The first core that it owns.
  CoreId Granted(const App& app) {
    return arbiter_->allocator().owned(app.id).NextFrom(0);
  }
  AppId Owner(CoreId core) { return arbiter_->allocator().owner(core); }
  CoreState State(CoreId core) { return arbiter_->allocator().state(core); }

  struct alignas(64) Memory {
    std::byte* data() { return bytes; }
    const std::byte* data() const { return bytes; }
    std::byte bytes[kBoardBytes]{};
  };
  TestKernel kernel_;
  std::unique_ptr<Memory> board_ = std::make_unique<Memory>();
  std::unique_ptr<Arbiter> arbiter_;
  pid_t pids_ = 0;
};

}  // namespace yamanote::arbiter
