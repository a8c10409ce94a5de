// policy.h - decides which task runs next; never how it runs.
//
// One Policy serves one domain: the cores that share its queue. The engine (the
// runtime, the native-thread agent or the simulator) makes every call, one at a
// time; so a policy takes no lock, reads no clock, does no I/O and allocates
// nothing after construction.
//
//   arrival | wakeup | preemption -> Enqueue -> PickNext -> run -> OnStop
//
// To write one, see docs/add-a-policy.md: one file, one test, one list entry.

#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "yamanote/task.h"
#include "yamanote/time.h"

namespace yamanote {

// What a policy needs to be told about time. Reading the clock costs as much as
// the rest of a yield, so the engine reads it only for those who ask.
enum class ClockUse : uint8_t {
  kNone,     // Every Instant and Duration it is passed is zero.
  kNow,      // `now` is exact.
  kRunTime,  // `now`, `ran` and Task::attained are exact.
};

// Where a preempted task rejoins its queue.
enum class Rejoin : uint8_t {
  kTail,  // Approximates processor sharing: for multimodal or heavy tails.
  kHead,  // Approximates first-come, first-served: for light tails.
};

// One class of requests, as configured.
struct ClassOptions {
  std::string name = "default";
  // The class's objective: p99 sojourn it has when it runs alone. > 0.
  Duration slo = std::chrono::microseconds(100);
  // Requests of this class that may be in the system; more are refused. >= 1.
  // The default lets some 20 ms of requests of 10 us wait for two cores: enough
  // for a burst, and an overloaded client hears of it before it has lost
  // patience.
  uint32_t limit = 4096;
  // True: its tasks run only while none of other classes wait, for which they give way at
  // once where the engine asks for slices anew when one comes, else when theirs is looked at
  // next. So they may wait for as long as others come. Orders say whether they know of it.
  bool background = false;
  // A reservation: what each task of the class is to have of a core, `budget` in every
  // `period`, by the orders that know of it (cbs). 0 < budget <= period <= 1 hour; both 0:
  // there is none.
  Duration budget{0};
  Duration period{0};

  bool Reserves() const { return budget != Duration::zero(); }
};

// Where a core is. Cores with equal numbers share it.
struct CoreLocality {
  uint32_t cache = 0;  // The last-level one: L3 as a rule.
  uint32_t node = 0;   // Memory.
};

// What every policy is built from. A policy reads what concerns it.
struct PolicyOptions {
  Duration slice = kNoPreemption;
  Rejoin rejoin = Rejoin::kTail;
  // Cores that the domain serves, >= 1: first_core, first_core + 1, ... Another
  // may ask now and then: a thief, or a dispatcher that lends a hand.
  unsigned cores = 1;
  CoreId first_core = 0;
  // By ClassId. A task whose class is beyond the end belongs to class 0. Never
  // empty when it comes from the configuration; an empty one means one class.
  std::vector<ClassOptions> classes = {};
  // By CoreId, of all cores of the engine. Empty: nobody knows, or PolicyInfo does not say
  // uses_locality.
  std::vector<CoreLocality> locality = {};
};

class Policy {
 public:
  virtual ~Policy() = default;

  // Keeps `task` until PickNext() returns it. Requires: not enqueued already.
  // Cannot fail: admission bounds the queue. Budget: 50 ns.
  virtual void Enqueue(Task& task, Wake why, Instant now) = 0;

  // Returns the task `core` runs next; nullptr idles the core. A policy that
  // idles a core while work waits says so in its PolicyInfo.
  virtual Task* PickNext(CoreId core, Instant now) = 0;

  // True if PickNext(core) would return a task. Asked, while tasks wait, only if
  // the policy is not work-conserving. Default: it would.
  virtual bool HasWork(CoreId /*core*/) const { return true; }

  // As PickNext(), for `thief`, a core of another domain, which enqueues the
  // task there. Default: what its own cores would run next.
  virtual Task* Steal(CoreId thief, Instant now) {
    return PickNext(thief, now);
  }

  // Returns how long `task` may run before it is preempted. Called when its time is
  // looked at while it runs, or where it is handed to a core: perhaps several times,
  // perhaps never. Where slices adapt the longer of the two holds. That of a background
  // class is 1 ns while others wait. Default: it runs until it stops by itself.
  virtual Duration Slice(const Task& /*task*/) const { return kNoPreemption; }

  // Reports that `task` left `core` after running for `ran`. Called before the
  // Enqueue() that follows a yield or a preemption. Default: nothing.
  virtual void OnStop(Task& /*task*/, CoreId /*core*/, Stop /*why*/,
                      Duration /*ran*/) {}
};

// What `yamanote policies` prints and what the engine must know beforehand.
struct PolicyInfo {
  std::string_view name;     // As written in the configuration: "slo-ratio".
  std::string_view summary;  // One line: the rule.
  std::string_view good_at;  // One line: when to use it.
  std::string_view bad_at;   // One line: when not.
  std::string_view source;   // Author, title, year.
  ClockUse clock = ClockUse::kNone;
  // False: PickNext() may return nullptr while tasks wait.
  bool work_conserving = true;
  // Who may wait for as long as others come: one line. Empty: nobody does. Whoever waits is
  // picked after finitely many picks then, whatever comes, provided that all cores go on
  // asking, that the others end, that their deadlines lie ahead when they come, and that only
  // so many are in the domain at a time: admission sees to that.
  std::string_view starves = {};
  // True: Slice() may be finite although PolicyOptions::slice is not. The engine
  // keeps time only if this is true or a slice is configured.
  bool sets_slices = false;
  // True: OnStop() does something, so the engine must call it.
  bool observes_stops = false;
  // True: of preempted tasks, those go first that have had less, and whom none of these
  // overtakes goes on. Adaptive slices are chosen for that; otherwise for taking turns.
  bool short_first = false;
  // True: ClassOptions::background is heeded.
  bool background = false;
  // True: it reads PolicyOptions::locality. To ask the machine takes milliseconds, so the
  // engine does so only for those.
  bool uses_locality = false;
  std::unique_ptr<Policy> (*make)(const PolicyOptions&) = nullptr;
  // The least that Slice() returns of a policy so made, or is worth a look, if slices
  // differ: whoever keeps time looks that early, so a shorter slice ends late. nullptr:
  // PolicyOptions::slice, 20 us without; Slice() is never less then.
  Duration (*least_slice)(const PolicyOptions&) = nullptr;
};

// Returns every policy of this build, in the order of src/policy/policies.cmake.
std::span<const PolicyInfo* const> Policies();

// Returns the policy called `name`, nullptr if there is none.
const PolicyInfo* FindPolicy(std::string_view name);

}  // namespace yamanote
