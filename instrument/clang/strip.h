// strip.h - one probe for many rounds of a short loop.
//
// A loop of a few instructions notices a probe in each round. If it counts up or
// down to a bound, it is cut into strips instead:
//
//   do { body } while ((i += step) != bound);
//
// becomes
//
//   do {
//     limit = bound is `rounds` or fewer steps away ? bound : i + step * rounds;
//     do { body } while ((i += step) != limit);
//     probe
//   } while (i != bound);
//
// The inner loop is as long as before. Correct for any wrapping: within a strip
// the counter meets the bound only if that is the limit.

#ifndef YAMANOTE_INSTRUMENT_CLANG_STRIP_H_
#define YAMANOTE_INSTRUMENT_CLANG_STRIP_H_

#include <llvm/Analysis/LoopInfo.h>
#include <llvm/Analysis/ScalarEvolution.h>
#include <llvm/IR/Instructions.h>

#include <cstdint>
#include <optional>

namespace yamanote::instrument {

struct Strip {
  llvm::BasicBlock* before;  // Enters the loop.
  llvm::BasicBlock* body;    // The whole loop.
  llvm::PHINode* counter;
  llvm::Value* next;  // The counter in the next round.
  llvm::ICmpInst* test;
  llvm::Value* bound;
  int64_t step;
  uint64_t rounds;  // Of a strip.
};

// Says how `loop` can be cut into strips of at most `instructions` each;
// nothing if it cannot, or would gain too little.
std::optional<Strip> FindStrip(llvm::Loop& loop,
                               llvm::ScalarEvolution& evolution,
                               uint64_t instructions);

// Cuts the loop; returns the instruction before which its probe belongs.
// Dominators and loops must be computed anew.
llvm::Instruction* Cut(const Strip& strip);

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_CLANG_STRIP_H_
