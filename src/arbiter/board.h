// board.h - what the arbiter tells applications about their cores (abi.h).
//
// The only writer of the shared board. It remembers epochs itself and never reads them
// back, so that the memory is written only.

#pragma once

#include <vector>

#include "arbiter/abi.h"
#include "arbiter/allocator.h"
#include "arbiter/kernel.h"

namespace yamanote::arbiter {

// Of 30 bits. Never 0 again: that is what the memory of a new application says, which
// would seem to have answered.
constexpr uint32_t NextEpoch(uint32_t epoch) {
  return epoch == (1U << 30) - 1 ? 1 : epoch + 1;
}

class Board {
 public:
  // `memory`: kBoardBytes, zero, that outlive it.
  Board(void* memory, unsigned cores, Kernel& kernel);

  // Nothing is granted to `app`, which is new.
  void Clear(AppId app);
  // A new epoch; wakes nobody. `keep`: CoreCommand::keep.
  void Grant(AppId app, CoreId core, bool keep = false);
  // The same, but only once `before` has left by its latest grant; and that it has.
  void GrantAfter(AppId app, CoreId core, AppId before, bool keep);
  void Confirm(AppId app, CoreId core);
  // Asks the worker that has the latest grant to leave, for `heir` (kNobody: for none),
  // and wakes it. Requires: GrantAfter() of the heir.
  void Revoke(AppId app, CoreId core, AppId heir);
  void Wake(AppId app, CoreId core);
  // It does not keep the core any more that it was granted, if it does not already.
  void EndKeeping(AppId app, CoreId core);
  // Whether applications are to send kicks: BoardHeader::sleeping.
  void SetSleeping(uint32_t sleeping);

  // Of the latest grant; 0: there was none.
  uint32_t epoch(AppId app, CoreId core) const {
    return epochs_[app * cores_ + core];
  }

 private:
  void Write(AppId app, CoreId core, Command command);
  CoreCommand& At(AppId app, CoreId core) const {
    return commands_[app * kMostCores + core];
  }

  BoardHeader* const header_;
  CoreCommand* const commands_;
  const unsigned cores_;
  Kernel& kernel_;
  std::vector<uint32_t> epochs_;  // By application, then by core.
};

}  // namespace yamanote::arbiter
