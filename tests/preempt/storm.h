// storm.h - preempts tasks as often as their probes allow, and counts whom.
//
// Two sources, alone or together:
//   - the core itself: after each preemption it raises its own flag again and lets
//     a random number of probes pass, 0 at the densest. Millions a second.
//   - another kernel thread, which raises flags at any instant: in the middle of
//     a disable, an enable, a switch or a thread's exit. That is one which does
//     nothing else, and every other core. With signals, it also interrupts the
//     thread, as the timekeeper does with one that does not answer.
//
// A Storm lives for one Runtime: made before it, destroyed after it. Not compiled
// with probes.

#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/cpu.h"
#include "preempt/flag.h"
#include "tests/preempt/campaign.h"
#include "worker/worker.h"
#include "yamanote/runtime.h"

namespace yamanote::tests {

// A small generator of numbers; the same seed gives the same numbers.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t Roll();  // SplitMix64.
  // 0 .. `below` - 1; `below` is at least 1.
  uint64_t Below(uint64_t below) { return Roll() % below; }

 private:
  uint64_t state_;
};

// One stretch of a campaign: which tasks run, where, and how they are preempted.
struct Phase {
  std::string preset = "yamanote";
  unsigned cores = 1;
  unsigned tasks = 2;
  std::vector<unsigned> mix;  // Indices of works; each round takes one of them.
  bool by_core = true;
  bool from_outside = true;
  uint32_t most_probes_between = 0;  // Of by_core.
  bool adaptive = false;             // Slices adapt; else they are of 5 us.
  // Mechanism::kSignal, and who asks from outside interrupts; else kProbe.
  bool signals = false;
  uint64_t preemptions = 0;  // The phase ends after as many,
  Duration time{0};          // or then.

  std::string Describe() const;
  // Of the runtime that the phase is for.
  RuntimeOptions Options() const;
};

// Which indices are which works.
struct Repertoire {
  unsigned works = 0;   // All.
  unsigned marked = 0;  // The last ones: only signals preempt them.
  // The one that shinjuku-mq does not get: its order puts who was preempted first
  // again, so nothing bounds how long who spins holds up the holder.
  unsigned spin_lock = 0;
};

// The phase number `index` of the campaign `seed`.
Phase MakePhase(uint64_t seed, unsigned index, unsigned most_cores,
                const Repertoire& repertoire);

class Storm {
 public:
  static constexpr unsigned kMostTasks = 64;

  Storm(const Phase& phase, unsigned works, uint64_t seed);
  ~Storm();
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  // Takes the place of what probes call. Once, after Runtime::Create().
  void Begin();

  // The name by which a task of slot `slot` is known here (ThreadOptions::name).
  const char* NameOf(unsigned slot) const { return names_[slot].data(); }

  // The calling task, of `slot`, begins a round of `work`.
  void BeginRound(unsigned slot, unsigned work);
  // The work that the slot's task began last, for diagnostics. Any thread.
  unsigned WorkOf(unsigned slot) const {
    return slots_[slot].load(std::memory_order_relaxed);
  }

  // Raises one core's flag, and interrupts it if the phase has signals. Any thread but
  // the core's own, while the runtime lives.
  void AskFromOutside(worker::Worker& core);

  // After Runtime::Run(): what was counted is complete.
  void End(Runtime& runtime);

  // How many preemptions hit each work; behind the last one those of threads
  // that works started themselves. After End(), as the next two.
  std::vector<uint64_t> PerWork() const;
  uint64_t ByCore() const;
  uint64_t FromOutside() const;

 private:
  struct alignas(base::kNoSharing) Core {
    explicit Core(uint64_t seed) : dice(seed) {}

    std::atomic<preempt::ThreadState*> state{nullptr};
    pid_t tid = 0;  // Written before `state`.
    // The rest is the core's own.
    Dice dice;
    uint32_t probes_left = 0;
    // What the last call of the handler was about to preempt, until Settle()
    // knows whether it did.
    bool open = false;
    bool by_core = false;
    unsigned work = 0;
    uint64_t preemptions_before = 0;
    std::vector<uint64_t> counts;
    uint64_t counted_by_core = 0;
    uint64_t counted_from_outside = 0;
  };

  static void AtProbe();
  void Hit(worker::Worker& worker);
  void Raise(Core& core);
  static void Settle(Core& core, uint64_t preemptions);
  unsigned WorkOfTask(const worker::Worker& worker) const;

  const bool by_core_;
  const bool from_outside_;
  const bool signals_;
  const uint32_t most_probes_between_;
  const unsigned works_;
  std::vector<std::unique_ptr<Core>> cores_;
  std::array<std::array<char, 8>, kMostTasks> names_{};
  std::array<std::atomic<unsigned>, kMostTasks> slots_{};
};

// As RunCampaign(), by a storm: runs `work` on the phase's tasks until there were
// as many preemptions, and each has done a round. The phase's mix and time are not
// used. The calling kernel thread asks from outside.
Outcome RunStorm(const Phase& phase, const Work& work);

}  // namespace yamanote::tests
