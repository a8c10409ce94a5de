// board.cc - writes commands.

#include "arbiter/board.h"

#include <cstddef>

namespace yamanote::arbiter {

Board::Board(void* memory, unsigned cores, Kernel& kernel)
    : header_(static_cast<BoardHeader*>(memory)),
      commands_(reinterpret_cast<CoreCommand*>(static_cast<std::byte*>(memory) +
                                               sizeof(BoardHeader))),
      cores_(cores),
      kernel_(kernel),
      epochs_(kMostApps * cores) {}

void Board::Clear(AppId app) {
  for (CoreId core = 0; core < cores_; ++core) {
    CoreCommand& command = At(app, core);
    // Relaxed: the application is not there yet. Epochs go on: who had the number before
    // may have left its departures behind.
    command.heir.store(kNoApp, std::memory_order_relaxed);
    command.word.store(CommandWord(epoch(app, core), Command::kAway),
                       std::memory_order_relaxed);
  }
}

// Of the latest epoch. Release, pairs with the worker's acquire: it sees the rest.
void Board::Write(AppId app, CoreId core, Command command) {
  At(app, core).word.store(CommandWord(epoch(app, core), command),
                           std::memory_order_release);
}

void Board::Grant(AppId app, CoreId core, bool keep) {
  uint32_t& epoch = epochs_[app * cores_ + core];
  epoch = NextEpoch(epoch);
  CoreCommand& command = At(app, core);
  command.heir.store(kNoApp, std::memory_order_relaxed);
  command.keep.store(keep ? 1 : 0, std::memory_order_relaxed);
  command.granted_at.store(ToNanos(kernel_.Now()), std::memory_order_relaxed);
  Write(app, core, Command::kGranted);
}

void Board::GrantAfter(AppId app, CoreId core, AppId before, bool keep) {
  uint32_t& epoch = epochs_[app * cores_ + core];
  epoch = NextEpoch(epoch);
  CoreCommand& command = At(app, core);
  command.heir.store(kNoApp, std::memory_order_relaxed);
  command.keep.store(keep ? 1 : 0, std::memory_order_relaxed);
  command.after.store(Departure(before, this->epoch(before, core)),
                      std::memory_order_relaxed);
  command.granted_at.store(ToNanos(kernel_.Now()), std::memory_order_relaxed);
  Write(app, core, Command::kNext);
}

void Board::Confirm(AppId app, CoreId core) {
  Write(app, core, Command::kGranted);
}

void Board::Revoke(AppId app, CoreId core, AppId heir) {
  At(app, core).heir.store(heir, std::memory_order_relaxed);
  Write(app, core, Command::kRevoked);
  Wake(app, core);
}

void Board::Wake(AppId app, CoreId core) { kernel_.Wake(At(app, core).word); }

void Board::EndKeeping(AppId app, CoreId core) {
  At(app, core).keep.store(0, std::memory_order_relaxed);
}

void Board::SetSleeping(uint32_t sleeping) {
  header_->sleeping.store(sleeping);
  // What is read of applications is read after it. Pairs with theirs, which show first
  // and then read.
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

static_assert(kNobody == kNoApp);

}  // namespace yamanote::arbiter
