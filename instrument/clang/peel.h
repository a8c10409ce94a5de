// peel.h - the first rounds of a short loop run without its probe.
//
// A parser's or a sort's loops are of a few instructions, end after a few rounds, and
// nobody can tell after how many, so they can't be cut into strips (strip.h). Their
// first rounds are put before the loop instead, where they have no probe:
//
//   while (condition) { body }
//
// becomes
//
//   if (condition) { body; if (condition) { body; while (condition) { body; probe } } }

#ifndef YAMANOTE_INSTRUMENT_CLANG_PEEL_H_
#define YAMANOTE_INSTRUMENT_CLANG_PEEL_H_

#include <llvm/Analysis/AssumptionCache.h>
#include <llvm/Analysis/LoopInfo.h>
#include <llvm/Analysis/ScalarEvolution.h>
#include <llvm/IR/Dominators.h>
#include <llvm/IR/Function.h>

namespace yamanote::instrument {

// Peels the innermost loops of `function` that are worth it; not where it is optimised for
// size. Returns whether it changed anything; all analyses must be computed anew then.
bool PeelLoops(llvm::Function& function, llvm::DominatorTree& dominators,
               llvm::LoopInfo& loops, llvm::ScalarEvolution& evolution,
               llvm::AssumptionCache& assumptions);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_CLANG_PEEL_H_
