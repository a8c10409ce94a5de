// interrupt.h - interrupts a kernel thread that runs a task: for code without
// probes, for a core that nobody watches, and to ask who holds preemption off.
//
//   whoever keeps time -> Interrupt() -> signal -> handler, on the interrupted
//   core: has the task call the probe's code at the point where it stands
//
// Nothing switches within the handler: it changes where the thread goes on, and
// returns. So no frame of the kernel's stays on a parked stack, the signal mask
// is restored, and the next signal finds the alternate stack free (Go does the
// same). Then the task is at a probe like any other, all registers saved.
//
// That may happen at any instruction, so only where the program said that it is
// all right: between two addresses of AddInterruptible() or in a function marked
// YAMANOTE_INTERRUPTIBLE, never in the runtime or a library.
//
// Signals cost 15 to 20 us here, and several outstanding ones starve a core: one
// at a time for each core, only for a core that does not answer its flag.

#pragma once

#include <signal.h>
#include <sys/types.h>

#include <cstdint>

#include "preempt/flag.h"
#include "preempt/inject.h"
#include "yamanote/time.h"

namespace yamanote::preempt {

// The signal in use. Ignored by default, so one that comes late harms nobody.
inline constexpr int kSignalNumber = SIGURG;

// True if a signal with that disposition calls a function of the program's. By the
// handler alone, as the kernel does: programs put SIG_DFL or SIG_IGN into an `action`
// whose flags still say SA_SIGINFO.
inline bool CallsHandler(const struct sigaction& action) {
  // The two handlers share their place.
  return action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
}

// What the engine tells the handler about the calling kernel thread.
// Async-signal-safe, all of them.
struct Host {
  // Uses general registers only.
  RunningTask (*current)() = nullptr;
  // The kernel's tick, while the thread runs (see Tick).
  void (*tick)() = nullptr;
};

// Why a thread is interrupted; bits of ThreadState::interrupts.
enum : uint8_t {
  kGiveWay = 1,  // Its flag is set, and no probe has seen it.
  kReport = 2,   // It says which task it runs, and where, to standard error.
};

// Installs the signal's handler. `injects`: it may move tasks out of the code
// that allows it. Again with another `host`: replaces it. Not while threads of
// the former may be interrupted.
void InstallInterrupts(const Host& host, bool injects, bool user_interrupts);
// Unblocks the signal in the calling kernel thread: it has inherited the mask of a
// thread that may block all of them (for sigwait()). Returns the mask before.
sigset_t AcceptInterrupts();
// The calling thread's task, as the installed host says it.
RunningTask CurrentTask();

// Interrupts the kernel thread `tid`, whose state that is, unless it still has to
// answer the last time for the same reason. Any thread that keeps `tid` from ending
// meanwhile, as the timekeeper's lock does; 10 us for a signal.
void Interrupt(ThreadState& state, pid_t tid, uint8_t reason);

// How long the kernel thread `tid` of this process has been ready and had no CPU, so
// far; zero if the kernel does not say. Some microseconds; async-signal-safe.
Duration WaitedForCpu(pid_t tid);

// While one lives, the calling kernel thread calls Host::tick() at every tick of
// the kernel's (4 ms at 250 Hz) while it computes. Costs no interrupt of its own:
// the processor-time timer is looked at when the kernel ticks anyway. Requires:
// AcceptInterrupts(). If the kernel refuses a timer (RLIMIT_SIGPENDING), says so once:
// then nobody keeps time where all cores are busy.
class Tick {
 public:
  Tick();
  ~Tick();
  Tick(const Tick&) = delete;
  Tick& operator=(const Tick&) = delete;

 private:
  timer_t timer_{};
  bool armed_ = false;
};

}  // namespace yamanote::preempt
