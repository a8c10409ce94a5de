// abi.h - what an application and the arbiter read of each other.
//
// The only header that crosses processes: fixed widths, no pointers, lock-free atomics,
// zero is the first value of everything. Who reads copies each word once and checks it:
// the writer may be broken or hostile. docs/arbiter.md has the protocol in words.
//
// One socket (SOCK_SEQPACKET, a message for each struct) and three shared memories:
//
//   signals   an application's own: written by it, read by the arbiter. Sealed in size.
//   board     one for all: written by the arbiter, read by every application.
//   handover  one for all: written by applications, read by applications. Who lies there
//             lets another one in early or late, and could as well run threads of its
//             own on the core; the arbiter does not read it.
//
//   application                          arbiter
//   Hello                        ->      checks it against the configuration
//                                <-      Welcome, with the descriptors of those memories,
//                                        in that order
//   Workers (thread ids)         ->
//   CoreSignals, all the time    ->      reads them in every pass
//                                <-      CoreCommand, futex wake
//   Kick, if Board::sleeping     ->
//   the socket closes: the application is gone, or the arbiter is.
//
// A core's command and presence, for one application:
//
//   1. The arbiter writes {epoch + 1, kGranted} and wakes the worker.
//   2. The worker writes {that epoch, present} and runs tasks.
//   3. It leaves by itself, or because the command is {same epoch, kRevoked}: it reads
//      the command, writes {that epoch, away} and, into the core's handover, that it has
//      left; wakes the heir's worker if the command says one; and sleeps while the command
//      is what it was.
//   4. The arbiter sees it, at the latest in the next pass.
//   A worker that may keep its core (Hello::keeps, CoreCommand::keep) may come back after
//   it has left by itself, while the command is what it was: it writes that it is present,
//   then reads the command again, and leaves before it runs anything if that is kRevoked.
//   The arbiter, the other way round, writes kRevoked and then reads the presence: whoever
//   is away has left, and is signalled, to know it. So one of the two sees the other
//   (seq_cst fences between). The same when it leaves: it looks once more before it sleeps;
//   and it says nothing to an heir before it is told of one.
//   The epoch tells an old answer from a new one. Who wakes up too late, to a command that
//   is kRevoked already, answers as in 3, with that epoch.
//   5. After the arbiter was lost the words stay, and mean what they did. The next one has
//   memories of its own. It answers for each core that Hello says is held once it knows the
//   Workers: {epoch + 1, kGranted}, or {epoch + 1, kRevoked}. Then each of its workers goes
//   over: it says nothing more to the old arbiter, and comes or leaves by the new word.
//
// An heir's command is {epoch + 1, kNext} before the owner is asked to leave: it comes as
// soon as the handover says that the owner has left, with no message and no interrupt.
// When the arbiter sees that too it makes the command kGranted and wakes it once more: the
// owner may have left before it knew of an heir, or the heir was not asleep yet.
// tests/model/arbiter.pml checks all orders of these steps.
//
// A home core's command is kGranted for ever. Its application comes and goes without
// being told; presence says so. Guests' workers run there with SCHED_IDLE.

#pragma once

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdint>

namespace yamanote::arbiter {

inline constexpr uint32_t kMagic = 0x544e4d59;  // "YMNT"
// Both sides must have the same.
inline constexpr uint32_t kVersion = 2;
inline constexpr unsigned kMostCores = 256;
inline constexpr unsigned kMostApps = 64;
inline constexpr unsigned kNameBytes = 32;  // With the 0 at the end.
inline constexpr uint32_t kNoApp = UINT32_MAX;
// What a worker gets that is late: the runtime's own interrupt, which programs that are
// no runtime ignore.
inline constexpr int kLateSignal = SIGURG;

// ---- Shared memory ----------------------------------------------------------

// What an application shows of one core, in one cache line: of the queue that belongs to
// the core (where cores share one, it is the first's) and of the worker there.
//
// Every word is read by itself and alone says what it says, so all are relaxed but
// `presence`.
struct alignas(64) CoreSignals {
  // Written under the queue's lock. Both wrap.
  std::atomic<uint32_t> enqueued;
  std::atomic<uint32_t> taken;
  // CLOCK_MONOTONIC, ns, when the oldest task in the queue joined it; 0: nothing waits,
  // or nobody asked for the time.
  std::atomic<int64_t> oldest_since;

  // Written by the worker. How long it had the core and no task, ns.
  std::atomic<int64_t> idle;
  // CLOCK_MONOTONIC, ns, since when it has none; 0: it has.
  std::atomic<int64_t> idle_since;
  // epoch << 1 | present. Release, pairs with the arbiter's acquire: who is away has
  // left its tasks to others.
  std::atomic<uint32_t> presence;
};
static_assert(sizeof(CoreSignals) == 64);
static_assert(std::atomic<int64_t>::is_always_lock_free);
static_assert(std::atomic<uint32_t>::is_always_lock_free);

constexpr uint32_t Presence(uint32_t epoch, bool present) {
  return epoch << 1 | (present ? 1 : 0);
}

// The memory of one application: kMostCores lines.
inline constexpr std::size_t kSignalsBytes = sizeof(CoreSignals) * kMostCores;

enum class Command : uint32_t {
  kAway = 0,
  kGranted = 1,
  kRevoked = 2,
  kNext = 3,  // Granted once CoreCommand::after has left.
};

constexpr uint32_t CommandWord(uint32_t epoch, Command command) {
  return epoch << 2 | static_cast<uint32_t>(command);
}
constexpr Command CommandOf(uint32_t word) {
  return static_cast<Command>(word & 3);
}
// 30 bits, so presence has room for it.
constexpr uint32_t EpochOf(uint32_t word) { return word >> 2; }

// What the arbiter says to one application's worker on one core.
struct alignas(64) CoreCommand {
  // The worker sleeps on it (futex, shared) while it is away. Release, pairs with the
  // worker's acquire: `heir` and `after` were written before.
  std::atomic<uint32_t> word;
  // Of a revocation: whose worker to wake when leaving; kNoApp: nobody's.
  std::atomic<uint32_t> heir;
  // Of kNext: Departure() of the one that must have left.
  std::atomic<uint64_t> after;
  // CLOCK_MONOTONIC, ns, when the latest grant was written: for who measures.
  std::atomic<int64_t> granted_at;
  // 1: the worker keeps the core when it leaves by itself. Relaxed: written before the
  // word; who reads an old 1 finds the command revoked.
  std::atomic<uint32_t> keep;
};
static_assert(sizeof(CoreCommand) == 64);

// Who left a core by which grant, for its heir.
constexpr uint64_t Departure(uint32_t app, uint32_t epoch) {
  return uint64_t{app} << 32 | epoch;
}

struct alignas(64) Handover {
  // Departure() of the last to leave. Release, pairs with the heir's acquire: who sees it
  // sees the core left.
  std::atomic<uint64_t> left;
};
static_assert(sizeof(Handover) == 64);

// One for each core.
inline constexpr std::size_t kHandoverBytes = sizeof(Handover) * kMostCores;

struct alignas(64) BoardHeader {
  // kAsleep: who needs a core, or leaves one, sends a Kick. kWaitedFor: who leaves one that
  // it keeps, or a home core, does, too, for somebody waits for one; and who has said that it
  // needs one need not say so again soon. seq_cst, both ways: the arbiter sets it and looks
  // once more before it sleeps.
  std::atomic<uint32_t> sleeping;
};
inline constexpr uint32_t kAwake = 0;
inline constexpr uint32_t kAsleep = 1;
inline constexpr uint32_t kWaitedFor = 2;

// The header, then kMostApps * kMostCores commands, by application, then by core.
inline constexpr std::size_t kBoardBytes =
    sizeof(BoardHeader) + sizeof(CoreCommand) * kMostApps * kMostCores;

// ---- Messages ---------------------------------------------------------------

enum class Kind : uint32_t {
  kHello = 1,
  kWelcome = 2,
  kWorkers = 3,
  kKick = 4,
  kList = 5,  // Asks for what `yamanote apps --json` prints.
  kText = 6,  // The answer: a Header, then JSON.
};

struct Header {
  uint32_t magic;  // kMagic
  uint32_t version;
  Kind kind;
};

struct Hello {
  Header header;
  // Printable, 0 at the end.
  char name[kNameBytes];
  char allocation[kNameBytes];  // A name in CorePolicies().
  uint32_t guaranteed;
  uint32_t most;         // 0: as many as there are.
  uint32_t best_effort;  // 0 or 1.
  // 0 or 1: its threads are not workers, so it shows no signals; it is given cores as if
  // it always wanted more, and looks after its threads itself.
  uint32_t opaque;
  // 0 or 1: its workers look at the command when they come back to a core, so they may
  // keep it.
  uint32_t keeps;
  // After the arbiter was lost: cores (by number here, not CPU) that it holds still
  // (kHeld), and those that are its home cores, which it would like to keep (kHeldHome).
  uint8_t held[kMostCores];
};
inline constexpr uint8_t kHeld = 1;
inline constexpr uint8_t kHeldHome = 2;

struct Welcome {
  Header header;
  // 0: welcome; else a POSIX error number, and `message` says what to do.
  uint32_t error;
  char message[512];
  uint32_t app;  // Its row on the board.
  uint32_t cores;
  // By core: the CPU, and whether it is a home core.
  int32_t cpus[kMostCores];
  uint8_t home[kMostCores];
  uint32_t timed;  // CoreSignals::oldest_since is read.
  uint32_t parks;  // A worker that finds nothing gives its core back by itself,
  int64_t park_after_ns;  // after so long.
};

// By core; 0: there is none. The arbiter may signal those threads and move them.
struct Workers {
  Header header;
  int32_t tids[kMostCores];
};

struct Kick {
  Header header;
};

}  // namespace yamanote::arbiter
