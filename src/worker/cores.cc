// cores.cc - a worker whose core an arbiter grants and revokes.
//
// A home core's worker parks and is woken as without an arbiter, and shows whether it is
// there. Another core's worker is Away (park.h) until its command is kGranted:
//
//   granted, or next and the one before has left: present -> placement knows -> tasks
//   nothing found for a while: parks, as at home, if it may keep the core (Link::Keeps());
//   when it wakes it looks whether that is still so
//   revoked, or nothing found and it may not: its tasks go to the others -> placement knows
//   -> away -> the heir's worker is woken -> sleeps on its command
//
// An arbiter may be lost, and another one take its place: registration.h. Its words are
// elsewhere; a worker goes over to them between two tasks, or while it sleeps.
//
// Who runs a task hears of a revocation at a scheduling point, at a probe that reads the
// clock, or by the arbiter's signal (AtTick()).

#include <errno.h>  // program_invocation_short_name

#include <cstdlib>
#include <utility>

#include "base/check.h"
#include "worker/engine.h"
#include "worker/worker.h"
#include "yamanote/core_policy.h"

namespace yamanote::worker {

using arbiter::Command;

bool Worker::Revoked() const {
  if (IsBehind()) return true;  // For the next arbiter it is where that says.
  const uint32_t word = Words().Word(core_);
  if (arbiter::EpochOf(word) == arbiter::EpochOf(word_)) {
    return arbiter::CommandOf(word) == Command::kRevoked ||
           arbiter::CommandOf(word) == Command::kAway;
  }
  return true;  // Past a deadline this grant is over.
}

void Worker::Come() {
  word_ = Words().Word(core_);
  Words().Come(core_, word_);
}

// Before it sleeps on a core that it may come back to. False: it was revoked just then.
bool Worker::LeaveAndKeep() {
  arbiter::Link& link = Words();
  link.Rest(core_, word_);
  // A full fence, too, lost or not: what was written above comes before the look below. Pairs
  // with Arbiter::Revoke().
  link.KickIfWaitedFor();
  return home_ || !Revoked();
}

// It has slept there. A core that it kept may be another's by now: whoever calls looks
// before it runs a task.
void Worker::Return() {
  if (home_) {
    Come();
  } else if (!Revoked()) {
    Words().Return(core_, word_);
  }
}

// Nothing more is said to the arbiter before: the words of the two have nothing to do
// with each other, and its other applications go over as well.
void Worker::FollowClient() {
  ShowIdle(Clock::now(), false);
  const uint32_t life = client_->life();
  arbiter::Link& link = client_->link();
  home_ = link.home(core_);
  link_ = &link;
  life_.store(life, std::memory_order_release);
  word_ = 0;
  held_ = false;
  if (!placed_) return;
  word_ = link.Word(core_);
  if (!home_ && !link.MayCome(core_, word_))
    return;  // It leaves: see BeAway().
  held_ = true;
  link.Come(core_, word_);
}

// As Idle(), on a core that it leaves for good if it finds nothing. There it may be a guest,
// beneath a host that takes the core for as long as it likes. So it is not Spinning: who puts
// a task into a domain would rely on it, and wake nobody else.
UserThread* Worker::LookBeforeLeaving() {
  const Instant until = Clock::now() + Words().park_after();
  while (!engine_.stopping() && !IsBehind() && !Revoked()) {
    if (UserThread* const thread = Pass()) {
      if (adaptive_ != nullptr) adaptive_->EndIdle(core_, last_pass_);
      ShowIdle(last_pass_, false);
      return thread;
    }
    if (RunPump(last_pass_, /*idle=*/true) || std::exchange(helped_, false)) {
      if (adaptive_ != nullptr) adaptive_->EndIdle(core_, last_pass_);
      continue;
    }
    if (adaptive_ != nullptr) adaptive_->BeginIdle(core_, last_pass_);
    ShowIdle(last_pass_, true);
    if (last_pass_ >= until && Words().parks()) {
      Bump(parks_);
      break;
    }
    base::Pause();
  }
  held_ = false;
  return nullptr;
}

void Worker::BeAway() {
  Parking& parking = engine_.parking();
  const Instant now = Clock::now();
  ShowIdle(now, false);
  if (adaptive_ != nullptr) adaptive_->BeginIdle(core_, now);
  const bool had = std::exchange(placed_, false);
  if (!parking.IsAway(core_)) {
    // What was held back for more to come, nobody else would send.
    if (had) RunPump(now, /*idle=*/true);
    parking.BeAway(core_);
  }
  held_ = false;
  if (had) {
    placement_.Leave(core_);
    parking.Notify(placement_.SetHeld(core_, false, now));
    // What it was left to look after is others' as well: see Help().
    Reschedule();
    // Past a deadline the arbiter may be an epoch ahead.
    arbiter::Link& link = Words();
    const uint32_t word = link.Word(core_);
    const bool ours = arbiter::EpochOf(word) == arbiter::EpochOf(word_);
    link.Leave(core_, ours ? word : word_);
    link.KickIfAsleep();
  }
  // Who left a task to this core when it was looking for one, or the sleep on all events.
  if (placement_.HasWork(core_) || parking.NeedsWatcher())
    parking.Notify({dispatch::Notify::kAnyone, kNoCore});
  while (!engine_.stopping()) {
    // Before all that a visitor has changed.
    const uint32_t visits = visits_.load();
    if (IsBehind()) FollowClient();
    arbiter::Link& link = Words();
    const uint32_t word = link.Word(core_);
    if (home_) {  // By the last arbiter it was not.
      word_ = word;
      held_ = true;
      break;
    }
    if (arbiter::EpochOf(word) != arbiter::EpochOf(word_)) {
      if (link.MayCome(core_, word)) {
        word_ = word;
        held_ = true;
        break;
      }
      if (arbiter::CommandOf(word) == Command::kRevoked) {
        // Before it came. The arbiter waits for its answer all the same.
        word_ = word;
        link.Leave(core_, word);
      }
    }
    if (pump_asked_.load(std::memory_order_relaxed)) {
      // Not Away meanwhile: SetPump() waits for those that are within it.
      parking.ComeBack(core_);
      RunPump(Clock::now(), /*idle=*/true);
      Reschedule();
      parking.BeAway(core_);
      // What it has woken, it does not take itself.
      if (placement_.HasWork(core_))
        parking.Notify({dispatch::Notify::kAnyone, kNoCore});
      // Who asked in between found it not Away.
      std::atomic_thread_fence(std::memory_order_seq_cst);
      continue;
    }
    link.Sleep(core_, word, visits_, visits);
  }
  parking.ComeBack(core_);
  if (!held_) return;
  if (!home_) Bump(grants_);
  placed_ = true;
  Words().Come(core_, word_);
  const Instant granted = Clock::now();
  // It has just been given one: another that is missing is told of in a while, not before its
  // first task, which the arbiter that wakes up would hold up.
  last_kick_ = granted;
  if (adaptive_ != nullptr) adaptive_->EndIdle(core_, granted);
  placement_.SetHeld(core_, true, granted);
}

void Worker::ShowIdle(Instant now, bool idle) {
  if (idle == (idle_since_ != Instant{})) return;
  arbiter::CoreSignals& signals = Words().signals()[core_];
  // Relaxed, all: each word stands for itself.
  if (!idle) {
    signals.idle.store(signals.idle.load(std::memory_order_relaxed) +
                           ToNanos(now - idle_since_),
                       std::memory_order_relaxed);
  }
  idle_since_ = idle ? now : Instant{};
  signals.idle_since.store(idle ? ToNanos(now) : 0, std::memory_order_relaxed);
}

// Something waits although this core is at work: an arbiter that sleeps should look. At
// each pass, and at the kernel's tick. Seldom if it knows of somebody who waits: that is us
// most likely, and whoever leaves a core tells it. Async-signal-safe.
void Worker::KickIfNeeded(Instant now) {
  constexpr Duration kKickPause = std::chrono::microseconds(50);
  constexpr Duration kKnownPause = std::chrono::milliseconds(1);
  if (now - last_kick_ < kKickPause || !placement_.HasWork(core_)) return;
  if (now - last_kick_ < kKnownPause && Words().SomebodyWaits()) return;
  // It has all cores that it may have, or one sleeps that it can wake itself.
  const Parking& parking = engine_.parking();
  if (parking.away() == 0 || parking.AnyParked()) return;
  last_kick_ = now;
  Words().KickIfAsleep();
}

// ---- Registration -------------------------------------------------------------

namespace {

Result<void> ReadEnvironment(ArbiterOptions& options) {
  const char* const socket = std::getenv("YAMANOTE_ARBITER");
  if (!options.socket.empty() || socket == nullptr || *socket == '\0')
    return {};
  options.socket = socket;
  for (const auto& [name, field] :
       {std::pair{"YAMANOTE_GUARANTEED", &options.guaranteed},
        std::pair{"YAMANOTE_BURST", &options.burst}}) {
    const char* const text = std::getenv(name);
    if (text == nullptr) continue;
    char* end = nullptr;
    const unsigned long value = std::strtoul(text, &end, 10);
    if (end == text || *end != '\0' || value > arbiter::kMostCores) {
      return MakeError(ErrorCode::kInvalidArgument,
                       std::string(name) + " is '" + text +
                           "'; it must be a number of cores, 0 to " +
                           std::to_string(arbiter::kMostCores));
    }
    *field = static_cast<unsigned>(value);
  }
  if (const char* const name = std::getenv("YAMANOTE_NAME"); name != nullptr)
    options.name = name;
  return {};
}

}  // namespace

Result<std::unique_ptr<arbiter::Client>> Register(RuntimeOptions& options) {
  if (const Result<void> read = ReadEnvironment(options.arbiter); !read)
    return tl::unexpected(read.error());
  ArbiterOptions& wanted = options.arbiter;
  if (wanted.socket.empty()) return nullptr;
  if (!options.cpus.empty() || options.cores != 0 || !options.pin) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "cpus, cores or pin is set, but the cores are those of "
                     "the arbiter at '" +
                         wanted.socket + "'; leave them out");
  }
  if (wanted.guaranteed < 1) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "arbiter.guaranteed is 0; a runtime needs 1 guaranteed "
                     "core at least, on which the kernel wakes it");
  }
  Result<Scheduling> scheduling =
      ForArbiter(options.scheduling, arbiter::kMostCores);
  if (!scheduling) return tl::unexpected(scheduling.error());
  if (FindCorePolicy(options.scheduling.allocation) == nullptr)
    return tl::unexpected(Validate(options.scheduling, 1).error());
  options.scheduling = std::move(*scheduling);
  if (wanted.name.empty()) wanted.name = program_invocation_short_name;
  return arbiter::Client::Connect(
      {.socket = wanted.socket,
       .name = wanted.name,
       .allocation = options.scheduling.allocation,
       .guaranteed = wanted.guaranteed,
       .most = wanted.burst >= arbiter::kMostCores
                   ? 0
                   : wanted.guaranteed + wanted.burst,
       .keeps = wanted.keep});
}

}  // namespace yamanote::worker
