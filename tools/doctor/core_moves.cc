// core_moves.cc - what it costs a core to change hands, as under yamanoted.
//
// The words, the order of stores and the calls are those of src/arbiter (board.cc,
// client.cc); there is no daemon, no socket and no runtime, so it is a core's way from one
// kernel thread to another and nothing else:
//
//   arbiter: both sleep -> A's command: granted -> wake A           -> A runs: a grant
//   arbiter: B's command: next -> A's command: revoked
//   A:       sees it -> present no more -> left -> wake B -> sleep  -> B runs: a hand-over
//   arbiter: B's command: revoked, for nobody

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <ctime>
#include <new>
#include <thread>

#include "arbiter/abi.h"
#include "base/cpu.h"
#include "tools/doctor/costs.h"

namespace yamanote::tools {
namespace {

// Not private: an arbiter's words are another process's as well.
void Futex(const std::atomic<uint32_t>& word, int operation, uint32_t value,
           const timespec* patience = nullptr) {
  syscall(SYS_futex, &word, operation, value, patience, nullptr, 0);
}

// A command is a number that grows: what `n % kCommands` says.
enum : uint32_t { kAway, kGranted, kRevoked, kCommands };
constexpr uint32_t kOver = UINT32_MAX;

struct Worker {
  arbiter::CoreCommand command;  // Written by the arbiter.
  arbiter::CoreSignals signals;  // Written by the worker.
  alignas(base::kNoSharing) std::atomic<int64_t> came_ns{0};
  std::atomic<int64_t> saw_ns{0};   // That it must leave.
  std::atomic<int64_t> left_ns{0};  // It has, and has woken its heir.
};

struct Memory {
  Worker workers[2];
  arbiter::Handover handover;
};

int64_t Now() { return ToNanos(Clock::now()); }

void Serve(Memory& memory, unsigned self) {
  Worker& worker = memory.workers[self];
  std::atomic<uint32_t>& word = worker.command.word;
  constexpr timespec kPatience{.tv_sec = 0, .tv_nsec = 250'000'000};
  for (;;) {
    uint32_t seen = 0;
    while ((seen = word.load(std::memory_order_acquire)) % kCommands !=
           kGranted) {
      if (seen == kOver) return;
      Futex(word, FUTEX_WAIT, seen, &kPatience);
    }
    worker.signals.presence.store(seen, std::memory_order_release);
    worker.came_ns.store(Now());
    while (word.load(std::memory_order_acquire) == seen) base::Pause();
    const int64_t saw = Now();
    worker.signals.presence.store(0, std::memory_order_release);
    memory.handover.left.store(seen, std::memory_order_release);
    if (self == 0) Futex(memory.workers[1].command.word, FUTEX_WAKE, INT_MAX);
    worker.saw_ns.store(saw);
    worker.left_ns.store(Now());
  }
}

int64_t Await(std::atomic<int64_t>& when) {
  int64_t at = 0;
  while ((at = when.exchange(0)) == 0) base::Pause();
  return at;
}

void Command(Worker& worker, uint32_t command) {
  const uint32_t before = worker.command.word.load(std::memory_order_relaxed);
  worker.command.word.store(before - before % kCommands + command,
                            std::memory_order_release);
}

void Arbitrate(Memory& memory, Duration limit, CoreMoves& moves) {
  // Long enough for the core to go idle.
  constexpr timespec kIdle{.tv_sec = 0, .tv_nsec = 300'000};
  Worker& a = memory.workers[0];
  Worker& b = memory.workers[1];
  const Instant end = Clock::now() + limit;
  while (Clock::now() < end) {
    nanosleep(&kIdle, nullptr);
    const int64_t granted = Now();
    Command(a, kGranted);
    Futex(a.command.word, FUTEX_WAKE, INT_MAX);
    moves.grants.push_back(static_cast<double>(Await(a.came_ns) - granted));
    Command(b, kGranted);  // It sleeps on.
    Command(a, kRevoked);
    const int64_t came = Await(b.came_ns);
    Command(b, kRevoked);
    // A is done only now if its heir came in between.
    const int64_t left = Await(a.left_ns);
    const int64_t saw = Await(a.saw_ns);
    moves.hand_overs.push_back(static_cast<double>(came - saw));
    moves.revocations.push_back(
        static_cast<double>(std::min(left, came) - saw));
    Await(b.left_ns);
    b.saw_ns.store(0);
    // For the next round, which begins with numbers that nobody has seen.
    Command(a, kCommands);
    Command(b, kCommands);
  }
  for (Worker& worker : memory.workers) {
    worker.command.word.store(kOver, std::memory_order_release);
    Futex(worker.command.word, FUTEX_WAKE, INT_MAX);
  }
}

}  // namespace

CoreMoves TimeCoreMoves(int arbiter_cpu, int core_cpu, Duration limit) {
  CoreMoves moves;
  void* const pages = mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return moves;
  Memory& memory = *new (pages) Memory();
  std::thread workers[2];
  for (unsigned i = 0; i < 2; ++i) {
    workers[i] = std::thread([&memory, core_cpu, i] {
      PinTo(core_cpu);
      Serve(memory, i);
    });
  }
  std::thread arbiter([&] {
    PinTo(arbiter_cpu);
    Arbitrate(memory, limit, moves);
  });
  arbiter.join();
  for (std::thread& worker : workers) worker.join();
  munmap(pages, sizeof(Memory));
  return moves;
}

}  // namespace yamanote::tools
