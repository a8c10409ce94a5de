// strip.cc - cuts loops into strips; see strip.h.

#include "instrument/clang/strip.h"

#include <llvm/ADT/SmallVector.h>
#include <llvm/Analysis/ScalarEvolutionExpressions.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/IntrinsicInst.h>

#include <cstdlib>

using llvm::dyn_cast;
using llvm::isa;

namespace yamanote::instrument {
namespace {

// Fewer rounds than this do not pay for the outer loop.
constexpr uint64_t kFewestRounds = 4;

// How many instructions `body` is, 0 if some may take long.
uint64_t Size(const llvm::BasicBlock& body) {
  uint64_t size = 0;
  for (const llvm::Instruction& instruction : body) {
    if (instruction.isDebugOrPseudoInst()) continue;
    const auto* call = dyn_cast<llvm::CallBase>(&instruction);
    if (call != nullptr && !call->isInlineAsm() &&
        (!isa<llvm::IntrinsicInst>(call) || isa<llvm::AnyMemIntrinsic>(call))) {
      return 0;
    }
    ++size;
  }
  return size;
}

}  // namespace

std::optional<Strip> FindStrip(llvm::Loop& loop,
                               llvm::ScalarEvolution& evolution,
                               uint64_t instructions) {
  llvm::BasicBlock* before = loop.getLoopPreheader();
  llvm::BasicBlock* body = loop.getHeader();
  if (before == nullptr || loop.getNumBlocks() != 1) return std::nullopt;
  const uint64_t size = Size(*body);
  if (size == 0 || instructions / size < kFewestRounds) return std::nullopt;
  const uint64_t rounds = instructions / size;

  const auto* branch = dyn_cast<llvm::BranchInst>(body->getTerminator());
  if (branch == nullptr || !branch->isConditional()) return std::nullopt;
  auto* test = dyn_cast<llvm::ICmpInst>(branch->getCondition());
  if (test == nullptr || !test->isEquality() || !test->hasOneUse() ||
      test->getParent() != body) {
    return std::nullopt;
  }
  // Leaves when equal, goes on when not.
  const bool leaves = branch->getSuccessor(0) != body;
  if (leaves != (test->getPredicate() == llvm::ICmpInst::ICMP_EQ)) {
    return std::nullopt;
  }
  for (llvm::PHINode& counter : body->phis()) {
    llvm::Value* next = counter.getIncomingValueForBlock(body);
    if (next != test->getOperand(0) && next != test->getOperand(1)) continue;
    llvm::Value* bound = test->getOperand(next == test->getOperand(0) ? 1 : 0);
    if (bound == next || !loop.isLoopInvariant(bound)) continue;
    if (!evolution.isSCEVable(counter.getType())) continue;
    const auto* sequence =
        dyn_cast<llvm::SCEVAddRecExpr>(evolution.getSCEV(&counter));
    if (sequence == nullptr || sequence->getLoop() != &loop ||
        !sequence->isAffine()) {
      continue;
    }
    const auto* constant =
        dyn_cast<llvm::SCEVConstant>(sequence->getStepRecurrence(evolution));
    const uint64_t bits = evolution.getTypeSizeInBits(counter.getType());
    if (constant == nullptr || bits < 32 || bits > 64) continue;
    const int64_t step = constant->getAPInt().getSExtValue();
    // A strip is far from wrapping round.
    if (step == 0 || std::llabs(step) > (1 << 20)) continue;
    return Strip{before, body, &counter, next, test, bound, step, rounds};
  }
  return std::nullopt;
}

llvm::Instruction* Cut(const Strip& strip) {
  llvm::LLVMContext& context = strip.body->getContext();
  llvm::Function* function = strip.body->getParent();
  auto* branch = llvm::cast<llvm::BranchInst>(strip.body->getTerminator());
  const unsigned leave = branch->getSuccessor(0) == strip.body ? 1 : 0;
  llvm::BasicBlock* after = branch->getSuccessor(leave);
  llvm::BasicBlock* head =
      llvm::BasicBlock::Create(context, "strip", function, strip.body);
  llvm::BasicBlock* tail =
      llvm::BasicBlock::Create(context, "strip.end", function, after);

  llvm::Value* start = nullptr;
  llvm::IRBuilder<> builder(head);
  builder.SetCurrentDebugLocation(branch->getDebugLoc());
  for (llvm::PHINode& phi : strip.body->phis()) {
    llvm::PHINode* outer = builder.CreatePHI(phi.getType(), 2);
    outer->addIncoming(phi.getIncomingValueForBlock(strip.before),
                       strip.before);
    outer->addIncoming(phi.getIncomingValueForBlock(strip.body), tail);
    const int entry = phi.getBasicBlockIndex(strip.before);
    phi.setIncomingValue(static_cast<unsigned>(entry), outer);
    phi.setIncomingBlock(static_cast<unsigned>(entry), head);
    if (&phi == strip.counter) start = outer;
  }

  const int64_t length = strip.step * static_cast<int64_t>(strip.rounds);
  llvm::Type* type = start->getType();
  llvm::Value* from = start;
  llvm::Value* to = strip.bound;
  llvm::Value* end = nullptr;
  if (type->isPointerTy()) {
    from = builder.CreatePtrToInt(start, builder.getInt64Ty());
    to = builder.CreatePtrToInt(strip.bound, builder.getInt64Ty());
    llvm::Value* bytes = builder.CreateBitCast(
        start,
        builder.getInt8Ty()->getPointerTo(type->getPointerAddressSpace()));
    end = builder.CreateBitCast(
        builder.CreateGEP(builder.getInt8Ty(), bytes,
                          builder.getInt64(static_cast<uint64_t>(length))),
        type);
  } else {
    end = builder.CreateAdd(start, llvm::ConstantInt::getSigned(type, length));
  }
  llvm::Value* distance = strip.step > 0 ? builder.CreateSub(to, from)
                                         : builder.CreateSub(from, to);
  // A distance of 0 is once round all numbers, and one that is no multiple of the step
  // is met after that, if ever.
  llvm::Type* word = distance->getType();
  llvm::Value* is_far = builder.CreateICmpUGE(
      builder.CreateSub(distance, llvm::ConstantInt::get(word, 1)),
      llvm::ConstantInt::getSigned(word, std::llabs(length)));
  if (std::llabs(strip.step) != 1) {
    llvm::Value* beside = builder.CreateURem(
        distance, llvm::ConstantInt::getSigned(word, std::llabs(strip.step)));
    is_far = builder.CreateOr(
        is_far, builder.CreateICmpNE(beside, llvm::ConstantInt::get(word, 0)));
  }
  llvm::Value* limit = builder.CreateSelect(is_far, end, strip.bound);
  builder.CreateBr(strip.body);

  strip.before->getTerminator()->replaceSuccessorWith(strip.body, head);
  strip.test->replaceUsesOfWith(strip.bound, limit);
  branch->setSuccessor(leave, tail);
  after->replacePhiUsesWith(strip.body, tail);
  builder.SetInsertPoint(tail);
  return builder.CreateCondBr(builder.CreateICmpEQ(strip.next, strip.bound),
                              after, head);
}

}  // namespace yamanote::instrument
