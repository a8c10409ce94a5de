// arbiter.h - the arbiter's pass: reads what applications show, moves cores accordingly.
//
// It knows no sockets and no system but Kernel, so that tests run it in virtual time.
// abi.h says how a core changes hands; this is the arbiter's side of it:
//
//   Pass: presence of every worker -> Came, Started, Released     (allocator.h)
//         who is late -> signalled, then moved away
//         queues -> core policies -> Want, Settle -> commands
//
// What is read: of each application the lines of the cores that it has, is about to have
// or had in the last pass, and of kRecent others where something waits or moved last; and
// of the rest one for each kSweep that has passed, in turn. So a pass costs a line for
// each core, some for each application, and not their product. A word where nobody
// expects one (a forgery, a late worker's answer, tasks of who has no core) is read
// within kSweep for each core.
//
// Who is late:
//   - A worker that was asked to leave has `revoke_deadline`; then it gets kLateSignal,
//     and again every ten deadlines. After `move_deadline` it is moved: to its
//     application's home cores; if it has none, to CPUs that the arbiter does not manage,
//     or to all where there are none, with SCHED_IDLE. The core goes on. That application
//     does not get it again before its worker has answered.
//   - A worker that was granted a core and does not come is woken after a deadline, then
//     signalled, and given up after `move_deadline` in the same way. Not one of a
//     best-effort application: it may have no time to come.
//
// Invariants: what an application writes decides about no core but those that it was
// granted and its home cores; no call waits for it. After construction a pass allocates
// nothing.
//
// One thread.

#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "arbiter/abi.h"
#include "arbiter/allocator.h"
#include "arbiter/board.h"
#include "arbiter/kernel.h"
#include "arbiter/shown.h"
#include "arbiter/status.h"
#include "base/core_set.h"
#include "yamanote/core_policy.h"

namespace yamanote::arbiter {

// For how long a worker that did not come for a core is not asked again; and how long it
// may take to show that it is still where it was before the arbiter was started.
inline constexpr Duration kPardon = std::chrono::milliseconds(100);

inline constexpr Duration kSweep = std::chrono::microseconds(2);
inline constexpr unsigned kRecent = 4;

struct ArbiterOptions {
  std::vector<int> cpus;         // The CPU of each core. 1 .. kMostCores.
  std::vector<CoreId> siblings;  // As Allocator's; empty: none has one.
  // Where workers go that are moved away. Not empty.
  std::vector<int> elsewhere;
  Duration revoke_deadline = std::chrono::microseconds(100);  // > 0.
  Duration move_deadline = std::chrono::milliseconds(2);      // > 0.
  CorePolicyOptions policies{};  // `cores` is set here.
};

// An application that may have what it asks for.
struct Applicant {
  std::string name;
  const CorePolicyInfo* policy = nullptr;
  Limits limits{};
  bool opaque = false;                   // Hello::opaque.
  bool keeps = false;                    // Hello::keeps.
  bool parks = false;                    // Welcome::parks.
  const CoreSignals* signals = nullptr;  // kMostCores; outlive it.
  std::array<bool, kMostCores> held{};   // Hello::held: kHeld,
  std::array<bool, kMostCores> homes{};  // kHeldHome.
};

class Arbiter {
 public:
  // `board`: kBoardBytes, zero. Both outlive it.
  Arbiter(const ArbiterOptions& options, void* board, Kernel& kernel);
  ~Arbiter();
  Arbiter(const Arbiter&) = delete;
  Arbiter& operator=(const Arbiter&) = delete;

  // Returns its row on the board; kNobody: there are kMostApps, or the guarantee is more
  // than there is left. Nothing is granted before SetWorkers(). An opaque best-effort
  // application that may have all cores has them for ever: it is beneath whoever comes, and
  // the kernel knows best where there is time left.
  AppId Add(Applicant&& applicant, Process&& process);
  // kInvalidArgument: one of them is no thread of its process; then none counts.
  Result<void> SetWorkers(AppId app, std::span<const int32_t> tids);
  // It is gone.
  void Remove(AppId app);

  // `now`: Kernel::Now(). Later than the last.
  void Pass(Duration now);
  // When there must be one again; Duration::max(): when an application kicks. Where one
  // has a core that is not its home, or wants one, `idle_interval` after `now`.
  Duration NextDue(Duration now, Duration idle_interval) const;
  // Puts back whoever was moved: before the end.
  void Restore();

  void SetSleeping(uint32_t sleeping) { board_.SetSleeping(sleeping); }
  // A part of it: who has come, and who has left.
  void Look(Duration now);
  // Whether one that is not best effort needs a core, and did not get it in the last pass.
  bool AnybodyWaits() const;
  Status status() const;
  const Allocator& allocator() const { return allocator_; }
  unsigned cores() const { return allocator_.cores(); }
  int cpu(CoreId core) const { return options_.cpus[core]; }
  const Process& process(AppId app) const { return apps_[app].process; }

 private:
  // An application's worker on one core.
  struct Worker {
    int tid = 0;
    ThreadClass which = ThreadClass::kUnknown;
    bool late = false;  // Was moved away, and has not answered since.
    Duration late_since{0};
    bool promised = false;  // Has a grant for when the owner has left.
    bool fresh = false;     // Was granted the core after the last decision.
    bool keeps = false;     // Was granted it to keep.
    bool no_more = false;   // But does not keep it any more, perhaps.
    // Was taken what it kept, or was a guest: it may run elsewhere.
    bool aside = false;
    bool here = false;      // Of a valid presence.
    uint32_t presence = 0;  // The word, as last read.
    uint32_t enqueued = 0;  // The same.
    Why why = Why::kWanted;
    Shown shown;
  };

  struct App {
    bool present = false;
    bool ready = false;  // SetWorkers() was called.
    bool adopting = false;
    bool beneath = false;  // Everywhere: see Add().
    Applicant applicant;
    Process process;
    std::unique_ptr<CorePolicy> policy;
    std::vector<Worker> workers;  // By core.
    base::CoreSet looked;         // Whose lines are read in this pass.
    base::CoreSet had;            // What it owned when its policy was asked.
    // Others where something waited or moved, the last first.
    std::array<CoreId, kRecent> recent{};
    CoreId sweep = 0;     // Whose turn it is of the others.
    Duration decided{0};  // When its policy was asked last.
    AppCounters counters{};
  };

  // Since when a core is granted, or revoked, and when its worker is to be reminded.
  struct Watch {
    Duration since{0};
    Duration remind{0};
    bool reminded = false;
  };

  // arbiter.cc
  void Begin(AppId id);
  void ChooseLines(App& app, AppId id, unsigned swept) const;
  void Observe(AppId id, CoreId core);
  void Left(AppId id, CoreId core);
  void Decide(AppId id, Duration now);

  // hand_over.cc
  void Apply();
  void Grant(AppId id, CoreId core);
  void Revoke(const Change& change);
  void Hasten(CoreId core, Duration now);
  void MoveAway(AppId id, CoreId core);
  void TakeBack(AppId id, CoreId core);
  void Disown(AppId id, CoreId core);
  void SetClass(AppId id, CoreId core);
  bool MayKeep(AppId id, CoreId core) const;
  void EndKeeping(AppId id, CoreId core);
  void SendAside(AppId id, CoreId core);
  void FetchBack(AppId id, CoreId core);
  void MakeRoomForGuests();
  void SetLate(Worker& worker, bool late);
  void PutAside(AppId id, CoreId core);
  bool SendHome(AppId id, CoreId core);
  void Count(AppId id, bool done);
  void Bar(AppId id, CoreId core);

  const ArbiterOptions options_;
  Kernel& kernel_;
  const bool restores_;
  Board board_;
  Allocator allocator_;
  std::vector<App> apps_;  // By row.
  std::vector<Watch> watches_;
  std::vector<CoreSample> samples_;
  std::vector<Change> changes_;
  std::vector<int> aside_cpus_;
  unsigned late_ = 0;     // Workers.
  unsigned beneath_ = 0;  // Applications.
  // Services on others' home cores, while any application is beneath: not for that.
  base::CoreSet guests_;
  Duration now_{0};
  Duration swept_{0};  // When the last pass was.
  PassTimes times_{};
};

}  // namespace yamanote::arbiter
