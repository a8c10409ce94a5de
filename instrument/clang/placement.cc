// placement.cc - where probes go; see placement.h.

#include "instrument/clang/placement.h"

#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/SmallPtrSet.h>
#include <llvm/ADT/StringSet.h>
#include <llvm/Analysis/CFG.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/GlobalVariable.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <cstdint>
#include <string>

using llvm::dyn_cast;
using llvm::isa;

namespace yamanote::instrument {
namespace {

// A loop that ends after this many instructions, all rounds together, needs no
// probe: about the distance between probes of a larger loop's body.
constexpr uint64_t kShortLoop = 400;

const llvm::Function* Callee(const llvm::CallBase& call) {
  // Through the casts that typed pointers (LLVM 14) put in between.
  return dyn_cast<llvm::Function>(call.getCalledOperand()->stripPointerCasts());
}

// A call that is code, not an instruction or two with a call's looks.
const llvm::CallBase* AsCall(const llvm::Instruction& instruction) {
  const auto* call = dyn_cast<llvm::CallBase>(&instruction);
  if (call == nullptr || call->isInlineAsm()) return nullptr;
  return isa<llvm::IntrinsicInst>(call) ? nullptr : call;
}

// libc's and libstdc++'s functions that return a thread-local's address, or which
// kernel thread this is, and which compilers may take for constants.
bool ReturnsThreadLocal(llvm::StringRef name) {
  static const llvm::StringSet<> kNames = {
      "__errno_location",  "__h_errno_location",     "__tls_get_addr",
      "__cxa_get_globals", "__cxa_get_globals_fast", "pthread_self"};
  return kNames.count(name) != 0;
}

// Whether `instruction` gives a lock back, behind which it can have a probe. While
// a task holds a lock it is not preempted; a loop that takes one in each round
// must not meet its only probe in between.
bool IsUnlock(const llvm::Instruction& instruction) {
  const auto* call = dyn_cast<llvm::CallInst>(&instruction);
  if (call == nullptr || call->isMustTailCall()) return false;
  const llvm::Function* callee = Callee(*call);
  static const llvm::StringSet<> kNames = {
      "pthread_mutex_unlock", "pthread_rwlock_unlock", "pthread_spin_unlock"};
  return callee != nullptr && kNames.count(callee->getName()) != 0;
}

// Looks for thread-locals in an operand, constant expressions included.
class ThreadLocalFinder {
 public:
  bool IsIn(const llvm::Value* value) {
    const auto* constant = dyn_cast<llvm::Constant>(value);
    if (constant == nullptr || isa<llvm::Function>(constant)) return false;
    if (const auto* global = dyn_cast<llvm::GlobalValue>(constant)) {
      return global->isThreadLocal();
    }
    const auto [known, is_new] = found_.try_emplace(constant, false);
    if (!is_new) return known->second;
    for (const llvm::Use& operand : constant->operands()) {
      if (IsIn(operand.get())) return found_[constant] = true;
    }
    return false;
  }

 private:
  llvm::DenseMap<const llvm::Constant*, bool> found_;
};

// Whether `value` is the address of memory that %fs finds (__seg_fs).
bool IsInThreadsSegment(const llvm::Value& value) {
  constexpr unsigned kAddressSpace = 257;
  const auto* pointer = dyn_cast<llvm::PointerType>(value.getType());
  return pointer != nullptr && pointer->getAddressSpace() == kAddressSpace;
}

// Whether assembly uses %fs: a segment override in either syntax, or the register
// itself. A probe by hand finds the flag so, and keeps nothing of the thread's.
bool UsesThreadsSegment(llvm::StringRef assembly) {
  const std::string text = assembly.lower();
  return (text.find("fs:") != std::string::npos ||
          text.find("fsbase") != std::string::npos) &&
         text.find("yamanote_preempt_probe") == std::string::npos;
}

bool ReadsThreadPointer(llvm::Intrinsic::ID intrinsic) {
  return intrinsic == llvm::Intrinsic::thread_pointer ||
         intrinsic == llvm::Intrinsic::x86_rdfsbase_32 ||
         intrinsic == llvm::Intrinsic::x86_rdfsbase_64;
}

// Says what in `function`'s code must be guarded, or nullptr.
const char* Guarded(const llvm::Function& function) {
  ThreadLocalFinder thread_locals;
  for (const llvm::Instruction& instruction : llvm::instructions(function)) {
    for (const llvm::Use& operand : instruction.operands()) {
      if (thread_locals.IsIn(operand.get())) return "thread_local";
      if (IsInThreadsSegment(*operand)) return "memory that %fs finds";
    }
    const auto* call = dyn_cast<llvm::CallBase>(&instruction);
    if (call == nullptr) continue;
    if (call->isInlineAsm()) {
      const auto* text = llvm::cast<llvm::InlineAsm>(call->getCalledOperand());
      if (UsesThreadsSegment(text->getAsmString())) {
        return "assembly that uses %fs";
      }
      continue;
    }
    const llvm::Function* callee = Callee(*call);
    if (callee == nullptr) continue;
    if (ReadsThreadPointer(callee->getIntrinsicID())) {
      return "thread pointer";
    }
    const llvm::StringRef name = callee->getName();
    if (ReturnsThreadLocal(name)) return "thread_local of a library";
    if (StartsWith(name, "_ZTW") || StartsWith(name, "_ZTH")) {
      return "wrapper of a thread_local";
    }
  }
  return nullptr;
}

// True if control can come back to where it was in `function`.
bool HasCycle(const llvm::Function& function) {
  llvm::SmallVector<std::pair<const llvm::BasicBlock*, const llvm::BasicBlock*>,
                    8>
      edges;
  llvm::FindFunctionBackedges(function, edges);
  return !edges.empty();
}

// How many instructions `loop` executes at most, if that is known, without
// what inner loops with probes do; UINT64_MAX if it is not or there are calls.
uint64_t Cost(const llvm::Loop& loop, const llvm::LoopInfo& loops,
              llvm::ScalarEvolution& evolution) {
  const uint64_t rounds =
      evolution.getSmallConstantMaxTripCount(const_cast<llvm::Loop*>(&loop));
  if (rounds == 0) return UINT64_MAX;
  uint64_t round = 0;
  for (const llvm::BasicBlock* block : loop.blocks()) {
    if (loops.getLoopFor(block) != &loop) continue;
    for (const llvm::Instruction& instruction : *block) {
      if (AsCall(instruction) != nullptr ||
          isa<llvm::AnyMemIntrinsic>(instruction)) {
        return UINT64_MAX;
      }
      if (!instruction.isDebugOrPseudoInst()) ++round;
    }
  }
  for (const llvm::Loop* inner : loop) {
    const uint64_t cost = Cost(*inner, loops, evolution);
    if (cost <= kShortLoop) round += cost;
  }
  return rounds * round;
}

}  // namespace

llvm::DenseSet<const llvm::Function*> NotPreempted(const llvm::Module& module) {
  llvm::DenseSet<const llvm::Function*> found;
  for (const llvm::Function& function : module) {
    if (function.hasFnAttribute(kNoPreempt)) found.insert(&function);
  }
  const auto* annotations =
      module.getGlobalVariable("llvm.global.annotations", true);
  if (annotations == nullptr || !annotations->hasInitializer()) {
    return found;
  }
  const auto* entries =
      dyn_cast<llvm::ConstantArray>(annotations->getInitializer());
  if (entries == nullptr) return found;
  for (const llvm::Use& use : entries->operands()) {
    // {what, text, file, line, arguments}
    const auto* entry = dyn_cast<llvm::ConstantStruct>(use.get());
    if (entry == nullptr || entry->getNumOperands() < 2) continue;
    const auto* function =
        dyn_cast<llvm::Function>(entry->getOperand(0)->stripPointerCasts());
    const auto* text = dyn_cast<llvm::GlobalVariable>(
        entry->getOperand(1)->stripPointerCasts());
    if (function == nullptr || text == nullptr || !text->hasInitializer()) {
      continue;
    }
    const auto* data =
        dyn_cast<llvm::ConstantDataSequential>(text->getInitializer());
    if (data != nullptr && data->isCString() &&
        data->getAsCString() == kNoPreempt) {
      found.insert(function);
    }
  }
  return found;
}

Placer::Placer(const llvm::Module& module)
    : not_preempted_(NotPreempted(module)) {
  for (const llvm::Function& function : module) {
    if (function.isDeclaration() || HasCycle(function)) continue;
    bool calls = false;
    for (const llvm::Instruction& instruction : llvm::instructions(function)) {
      calls = calls || AsCall(instruction) != nullptr;
    }
    if (!calls) leaves_.insert(&function);
  }
}

bool Placer::IsSkipped(const llvm::Function& function) {
  return function.isDeclaration() || function.hasFnAttribute(kDone) ||
         // Never emitted here: whoever emits it, instruments it.
         function.hasAvailableExternallyLinkage() ||
         function.hasFnAttribute(llvm::Attribute::Naked) ||
         StartsWith(function.getName(), "yamanote_preempt_");
}

const char* Placer::WhyGuarded(const llvm::Function& function) const {
  return not_preempted_.count(&function) != 0 ? "annotated" : Guarded(function);
}

bool Placer::IsExactLeaf(const llvm::CallBase& call) const {
  const llvm::Function* callee = Callee(call);
  if (callee == nullptr) return false;
  if (callee->isDeclaration()) return ReturnsThreadLocal(callee->getName());
  return callee->hasExactDefinition() && leaves_.count(callee) != 0;
}

bool Placer::IsLeaf(const llvm::CallBase& call,
                    const llvm::TargetLibraryInfo& libraries) const {
  const llvm::Function* callee = Callee(call);
  if (callee == nullptr) return false;
  if (leaves_.count(callee) != 0) return true;
  // Throwing, aborting: nothing comes back to go round again.
  if (call.doesNotReturn() && (callee->isDeclaration() ||
                               callee->hasFnAttribute(llvm::Attribute::Cold) ||
                               callee->getName() == "__clang_call_terminate")) {
    return true;
  }
  if (!callee->isDeclaration()) return false;
  // Libraries are not instrumented, and few of their functions call back.
  llvm::LibFunc known;
  if (libraries.getLibFunc(*callee, known)) {
    return known != llvm::LibFunc_qsort;
  }
  return StartsWith(callee->getName(), "__cxa_") ||
         ReturnsThreadLocal(callee->getName());
}

llvm::Instruction* Placer::EntryPoint(
    llvm::Function& function, llvm::DominatorTree& dominators,
    const llvm::LoopInfo& loops,
    const llvm::TargetLibraryInfo& libraries) const {
  // As far down as one probe is before every call: a way through the function
  // without calls has none then. Recursion always comes by.
  llvm::BasicBlock* home = nullptr;
  for (llvm::BasicBlock& block : function) {
    if (!dominators.isReachableFromEntry(&block)) continue;
    for (const llvm::Instruction& instruction : block) {
      const llvm::CallBase* call = AsCall(instruction);
      if (call == nullptr || IsLeaf(*call, libraries)) continue;
      home = home == nullptr
                 ? &block
                 : dominators.findNearestCommonDominator(home, &block);
      break;
    }
  }
  if (home == nullptr) return nullptr;
  while (loops.getLoopFor(home) != nullptr || home->isEHPad()) {
    home = dominators.getNode(home)->getIDom()->getBlock();
  }
  llvm::Instruction* place = &*home->getFirstInsertionPt();
  while (isa<llvm::AllocaInst>(place) || place->isDebugOrPseudoInst()) {
    place = place->getNextNode();
  }
  return place;
}

void Placer::Note(llvm::Function& function, llvm::DominatorTree& dominators,
                  const llvm::LoopInfo& loops,
                  const llvm::TargetLibraryInfo& libraries) {
  // Of another version's code nothing is known.
  if (!function.hasExactDefinition() || WhyGuarded(function) != nullptr) return;
  const llvm::Instruction* entry =
      EntryPoint(function, dominators, loops, libraries);
  if (entry != nullptr && entry->getParent() == &function.getEntryBlock())
    always_probe_.insert(&function);
}

bool Placer::MeetsAnother(const llvm::Loop& loop, const llvm::BasicBlock* latch,
                          const llvm::DominatorTree& dominators) const {
  for (const llvm::BasicBlock* block : loop.blocks()) {
    if (!dominators.dominates(block, latch)) continue;
    for (const llvm::Instruction& instruction : *block) {
      const llvm::CallBase* call = AsCall(instruction);
      if (call != nullptr && always_probe_.count(Callee(*call)) != 0)
        return true;
    }
  }
  return false;
}

Placement Placer::Place(llvm::Function& function,
                        llvm::DominatorTree& dominators, llvm::LoopInfo& loops,
                        llvm::ScalarEvolution& evolution,
                        const llvm::TargetLibraryInfo& libraries) const {
  Placement placement;
  placement.guarded = WhyGuarded(function);
  if (placement.guarded != nullptr) {
    for (const llvm::Instruction& instruction : llvm::instructions(function)) {
      const llvm::CallBase* call = AsCall(instruction);
      if (call != nullptr && !IsExactLeaf(*call)) placement.calls = true;
    }
    return placement;
  }

  placement.entry = EntryPoint(function, dominators, loops, libraries);
  for (llvm::Instruction& instruction : llvm::instructions(function)) {
    if (!IsUnlock(instruction)) continue;
    placement.unlocks.push_back(instruction.getNextNode());
  }
  // Whether each round of `loop` that goes back from `latch` gives a lock back.
  const auto unlocks = [&](const llvm::Loop& loop,
                           const llvm::BasicBlock* latch) {
    return llvm::any_of(placement.unlocks, [&](const auto* behind) {
      return loops.getLoopFor(behind->getParent()) == &loop &&
             dominators.dominates(behind->getParent(), latch);
    });
  };
  llvm::SmallVector<std::pair<const llvm::BasicBlock*, const llvm::BasicBlock*>,
                    8>
      edges;
  // Any cycle has one of these edges: natural loops' ways back, and one edge of
  // each cycle that has several entries (computed goto).
  llvm::FindFunctionBackedges(function, edges);
  llvm::SmallPtrSet<const llvm::BasicBlock*, 8> seen;
  for (const auto& [from, to] : edges) {
    const llvm::Loop* loop = loops.getLoopFor(to);
    const bool natural =
        loop != nullptr && loop->getHeader() == to && loop->contains(from);
    if (natural && Cost(*loop, loops, evolution) <= kShortLoop) continue;
    if (natural &&
        (unlocks(*loop, from) || MeetsAnother(*loop, from, dominators)))
      continue;
    if (!seen.insert(from).second) continue;
    if (natural && loop->isInnermost()) {
      const auto strip =
          FindStrip(*loops.getLoopFor(to), evolution, kShortLoop);
      if (strip.has_value()) {
        placement.strips.push_back(*strip);
        continue;
      }
    }
    placement.latches.push_back(
        const_cast<llvm::BasicBlock*>(from)->getTerminator());
  }
  return placement;
}

}  // namespace yamanote::instrument
