// machine.cc - the arbiter's pass, and the order of events between applications.

#include "sim/machine.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace yamanote::sim {

using arbiter::Change;

// One application: its policy, its engine, and what it had.
class Machine::Owner final : public CoreOwner {
 public:
  Owner(Machine& machine, arbiter::AppId id, const Application& app,
        const MachineOptions& options)
      : machine_(machine), id_(id) {
    const CorePolicyInfo* const info =
        FindCorePolicy(app.scheduling.allocation);
    YAMANOTE_CHECK(info != nullptr,
                   "Machine requires Validate(): unknown allocation");
    CorePolicyOptions policies = options.policies;
    policies.cores = options.cores;
    policy = info->make(policies);
    if (app.source == nullptr) return;
    const Result<Scheduling> scheduling =
        ForArbiter(app.scheduling, options.cores);
    YAMANOTE_CHECK(scheduling, "Machine requires ForArbiter()");
    engine = std::make_unique<Engine>(
        EngineOptions{
            .scheduling = *scheduling,
            .cores = options.cores,
            .costs = options.costs,
            .supply = dispatch::Supply::kArbiter,
            .park_after = info->parks ? options.park_after : kNoPreemption,
            .timed = info->reads_oldest},
        *app.source, *app.observer);
    engine->SetOwner(this);
  }

  void Released(CoreId core) override { machine_.Gone(id_, core); }

  std::unique_ptr<CorePolicy> policy;
  std::unique_ptr<Engine> engine;  // nullptr: a batch program.
  unsigned cores = 0;              // That it holds now.
  Holding holding{};

 private:
  Machine& machine_;
  const arbiter::AppId id_;
};

namespace {

std::vector<CoreId> SiblingsOf(const MachineOptions& options) {
  if (!options.siblings.empty()) return options.siblings;
  return std::vector<CoreId>(options.cores, kNoCore);
}

}  // namespace

Machine::Machine(const MachineOptions& options,
                 std::span<const Application> apps)
    : costs_(options.costs),
      interval_(options.interval),
      allocator_(SiblingsOf(options), static_cast<unsigned>(apps.size())),
      granted_at_(options.cores),
      samples_(options.cores),
      fresh_(options.cores) {
  for (const Application& app : apps) {
    const arbiter::AppId id = allocator_.Add(app.limits);
    YAMANOTE_CHECK(id == owners_.size(),
                   "the guarantees are more than there are cores");
    owners_.push_back(std::make_unique<Owner>(*this, id, app, options));
  }
}

Machine::~Machine() = default;

const Engine* Machine::engine(std::size_t app) const {
  return owners_[app]->engine.get();
}

Holding Machine::holding(std::size_t app) const {
  Holding holding = owners_[app]->holding;
  for (CoreId core = 0; core < allocator_.cores(); ++core) {
    if (allocator_.owner(core) == app) holding.held += now_ - granted_at_[core];
  }
  if (owners_[app]->engine != nullptr)
    holding.used = owners_[app]->engine->time().tasks;
  return holding;
}

void Machine::Run() {
  for (;;) {
    Owner* first = nullptr;
    Instant when = kNever;
    bool busy = false;
    for (const auto& owner : owners_) {
      if (owner->engine == nullptr) continue;
      busy = busy || owner->engine->Busy();
      const Instant next = owner->engine->NextTime();
      if (next >= when) continue;
      when = next;
      first = owner.get();
    }
    if (!busy) return;
    if (!leaving_.empty() &&
        leaving_.front().at <= std::min(when, next_pass_)) {
      const Leaving gone = leaving_.front();
      leaving_.pop_front();
      now_ = gone.at;
      Gone(gone.app, gone.core);
    } else if (next_pass_ <= when) {
      now_ = next_pass_;
      Pass();
      next_pass_ += interval_;
    } else {
      now_ = when;
      first->engine->Step();
    }
    Apply();
  }
}

void Machine::Pass() {
  for (arbiter::AppId id = 0; id < owners_.size(); ++id) {
    Owner& owner = *owners_[id];
    if (owner.engine != nullptr) {
      owner.engine->Show(samples_, now_);
    } else {
      std::ranges::fill(samples_, CoreSample{});
    }
    CoreId spare = kNoCore;
    for (CoreId core = 0; core < samples_.size(); ++core) {
      const bool held = allocator_.owner(core) == id;
      samples_[core].core = core;
      samples_[core].fresh = held && fresh_[core];
      if (held && samples_[core].looking && !fresh_[core]) spare = core;
    }
    const Wish wish = owner.policy->Decide(
        {.cores = samples_, .held = allocator_.held(id), .elapsed = interval_});
    allocator_.Want(id, wish, spare);
  }
  std::fill(fresh_.begin(), fresh_.end(), false);
  allocator_.Settle();
}

// What the allocator has decided happens; and what comes of that.
void Machine::Apply() {
  while (!allocator_.changes().empty()) {
    const std::vector<Change> changes(allocator_.changes().begin(),
                                      allocator_.changes().end());
    allocator_.TakeChanges();
    for (const Change& change : changes) {
      if (change.kind == Change::Kind::kGrant) {
        Grant(change.app, change.core);
      } else {
        Revoke(change.app, change.core);
      }
    }
  }
}

void Machine::Grant(std::size_t app, CoreId core) {
  Owner& owner = *owners_[app];
  granted_at_[core] = now_;
  fresh_[core] = true;
  ++owner.holding.grants;
  owner.holding.most = std::max(owner.holding.most, ++owner.cores);
  if (moves_ != nullptr) moves_->push_back({now_, app, core, true});
  if (owner.engine != nullptr) owner.engine->Grant(core, now_);
  allocator_.Started(static_cast<arbiter::AppId>(app), core);
}

void Machine::Revoke(std::size_t app, CoreId core) {
  Owner& owner = *owners_[app];
  ++owner.holding.revocations;
  if (owner.engine != nullptr) {
    owner.engine->Revoke(core, now_);
  } else {
    leaving_.push_back({now_ + costs_.core_revoke, app, core});
  }
}

void Machine::Gone(std::size_t app, CoreId core) {
  Owner& owner = *owners_[app];
  owner.holding.held += now_ - granted_at_[core];
  --owner.cores;
  if (moves_ != nullptr) moves_->push_back({now_, app, core, false});
  allocator_.Released(static_cast<arbiter::AppId>(app), core);
}

}  // namespace yamanote::sim
