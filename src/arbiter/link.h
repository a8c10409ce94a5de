// link.h - the words between an application and one arbiter, for as long as that lives.
//
// abi.h has the protocol. Between registration and the end there is no message but Kick:
// everything else is a word in shared memory. If the arbiter goes away the last commands
// stay where they are, so the application goes on with the cores that it has.
//
// Where the words are in the address space never changes, whose memory lies there does:
// so a wake-up that comes late, for a link that is another by then, spoils nothing.

#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
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
  bool keeps = false;  // Hello::keeps: whoever uses Return().
};

// By core: Hello::held.
using HeldCores = std::array<uint8_t, kMostCores>;

class Link {
 public:
  Link() = default;
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Its place in the address space. Once, first.
  Result<void> Reserve();
  // Registers. Nobody may use the link that it was, but for Wake(). Gives up when `end`
  // becomes readable (-1: not before its patience is over). kUnavailable: nobody is there,
  // yet; kUnsupported: something else is; else the arbiter's refusal, in its words.
  Result<void> Open(const ClientOptions& options, const HeldCores& held,
                    int end);
  // There is no arbiter: the home cores of `before` are granted for ever, no others.
  void BeAlone(const Link& before);

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
  // The connection; -1: it is alone. It becomes readable when the arbiter is gone.
  int descriptor() const { return alone_ ? -1 : socket_; }
  // Whether it is: for who is alone, too. Then there are no kicks any more.
  bool Lost();
  // Which cores it has, as the words say: for Open() of the next one.
  HeldCores Held() const;
  // Whether the arbiter has answered for each of them (abi.h, step 5).
  bool Answered(const HeldCores& held) const;

  // The command for `core`. Acquire: pairs with the arbiter's release.
  uint32_t Word(CoreId core) const {
    return Slot(core).word.load(std::memory_order_acquire);
  }
  // When the arbiter decided on the latest grant of `core`; CLOCK_MONOTONIC.
  Duration GrantedAt(CoreId core) const {
    return Duration(Slot(core).granted_at.load(std::memory_order_relaxed));
  }
  // Whether `word`, the command for `core`, lets its worker come: it is granted, or next and
  // the one before has left.
  bool MayCome(CoreId core, uint32_t word) const;
  // The worker of `core` is there, or it has left; then it must not run tasks. An heir's
  // worker is woken.
  void Come(CoreId core, uint32_t word);
  void Leave(CoreId core, uint32_t word);
  // Whether the worker of `core`, which has left by itself, may keep it and sleep with its
  // tasks still coming there. Else it leaves it for good.
  bool Keeps(CoreId core) const {
    return Slot(core).keep.load(std::memory_order_relaxed) != 0;
  }
  // The worker leaves a core that it keeps, or a home core; to be followed by a fence
  // (KickIfWaitedFor()) and a look at the command.
  void Rest(CoreId core, uint32_t word);
  // It comes back there. To be followed by a look at the command.
  void Return(CoreId core, uint32_t word);
  // Sleeps while the command is `word`, until Wake(), for kLongestSleep at most: a wake-up
  // that comes just before is lost, and a hostile application that can read the board can
  // keep one from us (FUTEX_CMP_REQUEUE). The worker.
  // Also while `visits` is `seen`: whoever changes it wakes with Visit(), which is never
  // lost (Linux 5.16; before, it is as Wake()).
  static constexpr Duration kLongestSleep = std::chrono::milliseconds(250);
  void Sleep(CoreId core, uint32_t word, const std::atomic<uint32_t>& visits,
             uint32_t seen) const;
  void Visit(CoreId core, std::atomic<uint32_t>& visits) const;
  // The worker of `core`, if it sleeps. Any thread.
  void Wake(CoreId core) const;

  // The arbiter sleeps and should look: this application needs a core, or has left one.
  // Any thread; a system call if it sleeps. Async-signal-safe.
  void KickIfAsleep() { KickIf(kAsleep); }
  // The same, of a core that it has left and keeps, or a home core: if somebody waits for one.
  void KickIfWaitedFor() { KickIf(kWaitedFor); }
  // Whether that is so, as the arbiter knew before it slept. Relaxed: it decides how often
  // to ask. Any thread; async-signal-safe.
  bool SomebodyWaits() const {
    return !lost_.load(std::memory_order_relaxed) &&
           board_->sleeping.load(std::memory_order_relaxed) == kWaitedFor;
  }

 private:
  const CoreCommand& Slot(CoreId core) const {
    return Slot(app_.load(std::memory_order_relaxed), core);
  }
  const CoreCommand& Slot(uint32_t app, CoreId core) const {
    return commands_[std::size_t{app} * kMostCores + core];
  }
  void HangUp();
  void KickIf(uint32_t least);

  int socket_ = -1;    // Once there is one, the same number for ever.
  bool alone_ = true;  // Of the thread that keeps the registration.
  std::atomic<bool> lost_{true};
  std::atomic<uint32_t> app_{0};  // Relaxed: see Wake().
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
