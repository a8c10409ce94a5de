// allocator.h - which core an application gets, and who gives it.
//
// Mechanism under every core policy: those say that an application wants more or fewer
// cores, this says which. It knows applications, cores and which of them are siblings;
// it reads no clock, wakes nobody and allocates nothing after construction, so that the
// daemon and the simulator use the same.
//
// A core's journey, for one owner after another:
//
//   kIdle -> kGranted -> kRunning -> kRevoked -> kIdle (parked), or kGranted to an heir
//   kIdle: nobody's.            kGranted: an owner is told; not seen there yet.
//   kRunning: Started().        kRevoked: the owner is asked to leave; Released() ends it.
//   kKept: the owner has left by itself, and may come back without asking: Keep(), and
//   Started() when it has. Anybody else's need ends that (docs/adr/0031-kept-cores.md).
//   An owner may leave from every state but kIdle: Released(), Remove().
//
// Who gets a core (Shenango, section 4.1):
//   1. Below its guarantee an application that wants more gets one in the same pass, a
//      core of one that has more than its guarantee if none is idle.
//   2. Beyond, it gets idle ones, then kept ones, then those of best-effort applications.
//   3. Best-effort applications get what is left.
// Each at most one in a pass.
//
// Which (the first that there is):
//   1. the sibling of a core that it holds; 2. the one that it left last, of the last
//   kRemembered; 3. any. Never one that is revoked already.
//
// A core that is left goes to its heir; then, of the applications that want one: who held
// it before, its sibling's owner, who has just left it, the one that holds the fewest
// beyond its guarantee; then to a best-effort application.
//
// Fairness, which Shenango does not promise: while two applications of a kind both want
// more, neither keeps two cores more beyond its guarantee than the other. One moves in
// each pass. Where there are more applications than cores they take turns: the one that
// has had none for the longest, kPatience passes at least, gets the one that has been held
// for the longest, as many at least. So N that want C cores all have had one after
// kPatience * N / C passes, or N, where that is more.
//
// Home cores (Homes::kAssigned, docs/adr/0027-home-cores.md): what is guaranteed to an
// application are certain cores, chosen by Add(). Its worker comes and goes there by
// itself: Came(), Released(). Meanwhile:
//   - A home core has no state of its own: `owner` and `state` are those of a guest.
//   - It is granted to others while its application is away; a guest that is not best
//     effort is revoked, without an heir, when that comes back. Best-effort guests stay,
//     and come: they run beneath (SCHED_IDLE).
//   - Rule 1 has nothing to do. An application gets cores beyond only while it is on all
//     of its own, kept ones included.
//   - Which core: one that is nobody's home before all others, and of those one that is
//     idle before one that is kept.
//   - Rules 2 and 3, and fairness, are about granted cores, as ever.
//
// Cost: a pass is linear in applications and in cores, not in their product: which cores
// are idle, whose, lent or barred is a bit for each (base/core_set.h), so that choosing
// one of 256 reads four words of each. Only Add() and Remove() look at every core.
//
// Invariants: a core has one owner; an application has `most` cores at most, those that
// it is the heir of and its home cores included. A core is home to one application at
// most, which is never its owner. Where the application is at home, an owner is best
// effort or revoked, and becomes so in the call that makes it one.
//
// Source: Ousterhout et al., "Shenango", NSDI 2019. Where that also chooses a kernel
// thread, here each application has one for each core (Skyloft's single binding rule:
// Jia et al., "Skyloft", SOSP 2024, section 3.2).

#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/core_set.h"
#include "yamanote/core_policy.h"
#include "yamanote/task.h"

namespace yamanote::arbiter {

using AppId = uint32_t;
inline constexpr AppId kNobody = UINT32_MAX;

struct Limits {
  unsigned guaranteed = 0;  // Cores that nobody takes while it uses them.
  unsigned most = 1;        // >= 1, >= guaranteed.
  // It gets what nobody else wants. Requires: guaranteed == 0.
  bool best_effort = false;
};

// Whether guarantees are certain cores, or any.
enum class Homes : uint8_t { kNone, kAssigned };

enum class CoreState : uint8_t { kIdle, kGranted, kRunning, kRevoked, kKept };

struct Change {
  enum class Kind : uint8_t { kGrant, kRevoke };
  Kind kind = Kind::kGrant;
  AppId app = kNobody;
  CoreId core = kNoCore;
  // Of a revocation: who gets the core next; kNobody: it becomes idle.
  AppId heir = kNobody;

  friend bool operator==(const Change&, const Change&) = default;
};

class Allocator {
 public:
  static constexpr unsigned kPatience = 20;
  static constexpr unsigned kRemembered = 32;

  // `siblings`: by core, the other hardware thread of the same physical core, kNoCore if
  // there is none; as many as there are cores. At most `most_apps` at a time.
  Allocator(std::vector<CoreId> siblings, unsigned most_apps,
            Homes homes = Homes::kNone);

  // Returns the new application; kNobody: there are most_apps already, or more is
  // guaranteed than there are cores. `homes`: by core, which it would like to be its home
  // cores; empty: it does not care.
  AppId Add(const Limits& limits, std::span<const bool> homes = {});
  // It is gone, from whatever state: its cores go on as if it had left them.
  void Remove(AppId app);

  // What `app` wants in this pass. kFewer: `spare`, a core that it can do without, is
  // revoked; kNoCore: none is. `needs`: something waits there; else it has no right to what
  // others keep.
  void Want(AppId app, Wish wish, CoreId spare = kNoCore, bool needs = true);
  // Ends the pass: after every Want().
  void Settle();
  // Whether `core` may be granted to `app`: it may not while its worker there cannot
  // come, or has not left when it was told to. What it holds or inherits stays.
  void Bar(AppId app, CoreId core, bool barred);
  // `app` has held `core` before there was this allocator: it is granted, if nobody has
  // it and it might be. False: it is not.
  bool Adopt(AppId app, CoreId core);

  // `app` was seen on `core`. Ignored unless it was granted that one.
  void Started(AppId app, CoreId core);
  // `app` has left `core`. False: it neither held it nor was at home there.
  bool Released(AppId app, CoreId core);
  // `app` has left `core` by itself: it is kept for it, if nobody else wants it now. False:
  // it is not; to be followed by Released(), or by Recall() if it may come back.
  bool Keep(AppId app, CoreId core);
  // Revokes `core` without an heir. Requires: granted, running or kept.
  void Recall(CoreId core) { Revoke(core, kNobody); }
  // `app` was seen on its home core. False: it is not its home, or it was there already.
  bool Came(AppId app, CoreId core);

  // What came of the calls since the last TakeChanges(), in order.
  std::span<const Change> changes() const { return changes_; }
  void TakeChanges() { changes_.clear(); }

  unsigned cores() const { return static_cast<unsigned>(cores_.size()); }
  CoreState state(CoreId core) const { return cores_[core].state; }
  AppId owner(CoreId core) const { return cores_[core].owner; }
  AppId heir(CoreId core) const { return cores_[core].heir; }
  // Whose home core it is; kNobody: nobody's.
  AppId home(CoreId core) const { return cores_[core].home; }
  bool at_home(CoreId core) const { return cores_[core].at_home; }
  // Cores of `app`, in any state but kIdle and kKept, and those where it is at home.
  unsigned held(AppId app) const {
    return apps_[app].held - apps_[app].kept + apps_[app].at_home;
  }
  // The cores that it owns, that are its home, and that it is the heir of.
  const base::CoreSet& owned(AppId app) const { return apps_[app].owned; }
  const base::CoreSet& homes(AppId app) const { return apps_[app].home; }
  const base::CoreSet& inherits(AppId app) const { return apps_[app].heirs; }
  bool wants(AppId app) const { return apps_[app].wants; }
  // It wants one because something waits.
  bool needs(AppId app) const { return apps_[app].wants && apps_[app].needs; }
  // It wants one, and may have one more.
  bool hungry(AppId app) const { return apps_[app].Hungry(); }
  // There is a core that it might have, and has not; if its host is at home, when that leaves.
  bool Lacks(AppId app) const;
  const Limits& limits(AppId app) const { return apps_[app].limits; }
  unsigned guaranteed() const { return guaranteed_; }

 private:
  struct Core {
    CoreState state = CoreState::kIdle;
    AppId owner = kNobody;
    AppId heir = kNobody;
    // The last that left it, and the one before.
    AppId left = kNobody;
    AppId before = kNobody;
    CoreId sibling = kNoCore;
    AppId home = kNobody;
    bool at_home = false;  // The application is there.
    uint64_t since = 0;    // The pass in which it was granted.
  };

  struct App {
    bool present = false;
    bool wants = false;  // More, in this pass.
    bool needs = false;  // As Want() says.
    Limits limits{};
    // Of its limits, what is not home cores: to be granted.
    unsigned due = 0;
    unsigned most = 0;
    unsigned homes = 0;
    unsigned at_home = 0;  // Of those, where it is.
    unsigned held = 0;
    unsigned kept = 0;      // Of those, kKept.
    unsigned leaving = 0;   // Of those, revoked.
    unsigned promised = 0;  // It is the heir of so many.
    // Passes in a row in which it wanted one and had none.
    uint64_t without = 0;
    base::CoreSet owned;
    base::CoreSet home;
    base::CoreSet heirs;  // Cores that it is the heir of.
    base::CoreSet
        beside;  // Siblings of those that it owns or that are its home.
    base::CoreSet barred;
    // The cores that it left, the last first, each once; then kNoCore.
    std::array<CoreId, kRemembered> left{};

    // What it will have.
    unsigned Future() const { return held - leaving + promised; }
    // What is kept is in nobody's way.
    unsigned Burst() const {
      const unsigned used = Future() - kept;
      return used > due ? used - due : 0;
    }
    bool Hungry() const {
      return present && wants && at_home == homes && kept == 0 &&
             Future() < most;
    }
  };

  void AssignHomes(AppId app, std::span<const bool> wished);
  bool May(AppId app, CoreId core) const;
  bool Narrow(AppId app, auto&& from);
  void Prefer(auto&& which);
  CoreId Choose(AppId app, auto&& from);
  bool GiveFree(AppId app);
  bool TakeFor(AppId app, auto&& from);
  void Share(bool best_effort);
  void TakeTurns(bool best_effort);
  AppId Hungriest(bool best_effort, auto&& may);
  AppId Successor(CoreId core);
  void HandOn(CoreId core);
  void Grant(AppId app, CoreId core);
  void Revoke(CoreId core, AppId heir);
  void EndKeeping(CoreId core);
  void SetBeside(AppId app, CoreId core);

  const Homes homes_;
  std::vector<Core> cores_;
  std::vector<App> apps_;
  std::vector<Change> changes_;
  base::CoreSet idle_;
  base::CoreSet taken_;           // kGranted or kRunning.
  base::CoreSet kept_;            // kKept.
  base::CoreSet best_effort_;     // Owned by such an application.
  base::CoreSet lent_;            // Somebody's home.
  base::CoreSet hosted_;          // Somebody is at home.
  std::vector<uint64_t> chosen_;  // What Narrow() and Prefer() have left.
  std::vector<uint64_t> some_;
  unsigned guaranteed_ = 0;
  AppId first_ = 0;  // Whose turn it is to be asked first.
  uint64_t passes_ = 0;
};

}  // namespace yamanote::arbiter
