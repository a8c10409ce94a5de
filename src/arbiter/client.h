// client.h - an application's side of the arbiter: it registers, shows its queues, and
// learns which cores it has.
//
// abi.h has the protocol. Between registration and the end there is no message but Kick:
// everything else is a word in shared memory. If the arbiter goes away the last commands
// stay where they are, so the application goes on with the cores that it has.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "arbiter/abi.h"
#include "yamanote/result.h"
#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote::arbiter {

struct ClientOptions {
  std::string socket;      // The arbiter's.
  std::string name;        // For `yamanote apps`; cut to what fits.
  std::string allocation;  // A core policy's name.
  unsigned guaranteed = 1;
  unsigned most = 0;  // 0: as many as there are.
  bool best_effort = false;
  bool opaque = false;
};

class Client {
 public:
  // Registers. kUnavailable: nobody listens there; kInvalidArgument, kPermissionDenied:
  // the arbiter's refusal, in its words.
  static Result<std::unique_ptr<Client>> Connect(const ClientOptions& options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // What the arbiter said. By core.
  const std::vector<int>& cpus() const { return cpus_; }
  bool home(CoreId core) const { return home_[core]; }
  bool timed() const { return timed_; }
  bool parks() const { return parks_; }
  Duration park_after() const { return park_after_; }

  // The application's own, to be written. As many as there are cores.
  std::span<CoreSignals> signals() { return {signals_, cpus_.size()}; }

  // Tells the arbiter the kernel threads of the workers. Once.
  Result<void> SendWorkers(std::span<const int> tids);

  // The command for `core`. Acquire: pairs with the arbiter's release.
  uint32_t Word(CoreId core) const {
    return Slot(app_, core).word.load(std::memory_order_acquire);
  }
  // When the arbiter decided on the latest grant of `core`; CLOCK_MONOTONIC.
  Duration GrantedAt(CoreId core) const {
    return Duration(
        Slot(app_, core).granted_at.load(std::memory_order_relaxed));
  }
  // Whether `word`, the command for `core`, lets its worker come: it is granted, or next and
  // the one before has left.
  bool MayCome(CoreId core, uint32_t word) const;
  // The worker of `core` is there, or it has left; then it must not run tasks. An heir's
  // worker is woken.
  void Come(CoreId core, uint32_t word);
  void Leave(CoreId core, uint32_t word);
  // Sleeps while the command is `word`, until Wake(), for kLongestSleep at most: a wake-up
  // that comes just before is lost, and a hostile application that can read the board can
  // keep one from us (FUTEX_CMP_REQUEUE). The worker.
  static constexpr Duration kLongestSleep = std::chrono::milliseconds(250);
  void Sleep(CoreId core, uint32_t word) const;
  // The worker of `core`, if it sleeps. Any thread.
  void Wake(CoreId core) const;

  // The arbiter sleeps and should look: this application needs a core, or has left one.
  // Any thread; a system call if it sleeps.
  void KickIfAsleep();

 private:
  Client() = default;
  const CoreCommand& Slot(uint32_t app, CoreId core) const {
    return commands_[std::size_t{app} * kMostCores + core];
  }

  int socket_ = -1;
  uint32_t app_ = kNoApp;
  std::vector<int> cpus_;
  std::vector<bool> home_;
  bool timed_ = false;
  bool parks_ = true;
  Duration park_after_{0};
  CoreSignals* signals_ = nullptr;
  const BoardHeader* board_ = nullptr;
  const CoreCommand* commands_ = nullptr;  // Behind the header.
  Handover* handover_ = nullptr;
};

}  // namespace yamanote::arbiter
