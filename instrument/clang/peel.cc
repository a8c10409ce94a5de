// peel.cc - puts a loop's first rounds before it; see peel.h.

#include "instrument/clang/peel.h"

#include <llvm/ADT/SmallVector.h>
#include <llvm/Analysis/ScalarEvolutionExpressions.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/Transforms/Utils/LoopPeel.h>
#include <llvm/Transforms/Utils/LoopSimplify.h>
#include <llvm/Transforms/Utils/LoopUtils.h>
#include <llvm/Transforms/Utils/ValueMapper.h>

#include <cstdint>

namespace yamanote::instrument {
namespace {

// One round gains a parser half of what its probes cost, two gain it all, a third
// gains nothing more.
constexpr unsigned kRounds = 2;

// In larger loops a probe costs little.
constexpr uint64_t kMostInstructions = 24;

// True if `loop` is short, and has no call (nor assembly, which may hold a label).
bool IsSmall(const llvm::Loop& loop) {
  uint64_t size = 0;
  for (const llvm::BasicBlock* block : loop.blocks()) {
    for (const llvm::Instruction& instruction : *block) {
      if (llvm::isa<llvm::CallBase>(instruction) &&
          !llvm::isa<llvm::IntrinsicInst>(instruction)) {
        return false;
      }
      if (!instruction.isDebugOrPseudoInst() && ++size > kMostInstructions) {
        return false;
      }
    }
  }
  return true;
}

void Peel(llvm::Loop& loop, llvm::DominatorTree& dominators,
          llvm::LoopInfo& loops, llvm::ScalarEvolution& evolution,
          llvm::AssumptionCache& assumptions) {
#if LLVM_VERSION_MAJOR >= 16
  llvm::ValueToValueMapTy values;
  llvm::peelLoop(&loop, kRounds, &loops, &evolution, dominators, &assumptions,
                 /*PreserveLCSSA=*/false, values);
#else
  llvm::peelLoop(&loop, kRounds, &loops, &evolution, dominators, &assumptions,
                 /*PreserveLCSSA=*/false);
#endif
}

}  // namespace

bool PeelLoops(llvm::Function& function, llvm::DominatorTree& dominators,
               llvm::LoopInfo& loops, llvm::ScalarEvolution& evolution,
               llvm::AssumptionCache& assumptions) {
  if (function.hasOptSize() || function.hasOptNone()) return false;
  bool changed = false;
  for (llvm::Loop* loop : loops.getLoopsInPreorder()) {
    if (!loop->isInnermost() || !IsSmall(*loop) || !loop->isSafeToClone() ||
        !llvm::isa<llvm::SCEVCouldNotCompute>(
            evolution.getBackedgeTakenCount(loop))) {
      continue;
    }
    // What peelLoop() expects, and optimisation need not have left.
    changed = llvm::simplifyLoop(loop, &dominators, &loops, &evolution,
                                 &assumptions, nullptr,
                                 /*PreserveLCSSA=*/false) ||
              changed;
    if (!llvm::canPeel(loop)) continue;
    llvm::formLCSSA(*loop, dominators, &loops, &evolution);
    Peel(*loop, dominators, loops, evolution, assumptions);
    changed = true;
  }
  return changed;
}

}  // namespace yamanote::instrument
