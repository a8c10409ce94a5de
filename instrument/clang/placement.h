// placement.h - decides where a function gets probes, and which are guarded.
//
// Runs on a module whose optimisation has ended, and changes nothing.
// docs/probes.md is the contract; how each of its terms is decided is said here.
//
// A *leaf* neither calls nor loops, so it has no probe: its caller has. For a
// guard that must hold whatever the linker picks; for the entry probe another
// version's probes would merely be too many.

#ifndef YAMANOTE_INSTRUMENT_CLANG_PLACEMENT_H_
#define YAMANOTE_INSTRUMENT_CLANG_PLACEMENT_H_

#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/ADT/StringRef.h>
#include <llvm/Analysis/LoopInfo.h>
#include <llvm/Analysis/ScalarEvolution.h>
#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/IR/Dominators.h>
#include <llvm/IR/Function.h>
#include <llvm/IR/InstrTypes.h>
#include <llvm/IR/Module.h>

#include "instrument/clang/strip.h"

namespace yamanote::instrument {

// Marks a function that must not be preempted. The annotation becomes this
// attribute before inlining, because clones inherit attributes only.
inline constexpr char kNoPreempt[] = "yamanote_no_preempt";
// Marks a function that was looked at, so that a second run leaves it alone.
inline constexpr char kDone[] = "yamanote-probed";

// StringRef's own is called otherwise by turns.
inline bool StartsWith(llvm::StringRef text, llvm::StringRef prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

// What one function gets.
struct Placement {
  llvm::Instruction* entry = nullptr;  // A probe before it; nullptr: none.
  llvm::SmallVector<llvm::Instruction*, 8> latches;  // A probe before each.
  llvm::SmallVector<llvm::Instruction*, 2>
      unlocks;                         // And before each of these.
  llvm::SmallVector<Strip, 4> strips;  // Each to be cut, with a probe.
  const char* guarded = nullptr;       // Why; nullptr: not guarded.
  bool calls = false;                  // A guard without calls guards nothing.
};

// The functions of `module` that carry the annotation or its attribute.
llvm::DenseSet<const llvm::Function*> NotPreempted(const llvm::Module& module);

class Placer {
 public:
  explicit Placer(const llvm::Module& module);

  // True if the plug-in has nothing to do with `function`.
  static bool IsSkipped(const llvm::Function& function);

  // Says why `function` is guarded, or nullptr.
  const char* WhyGuarded(const llvm::Function& function) const;

  // Takes down whether every call of `function` comes by a probe. For all of a module
  // before the first Place().
  void Note(llvm::Function& function, llvm::DominatorTree& dominators,
            const llvm::LoopInfo& loops,
            const llvm::TargetLibraryInfo& libraries);

  Placement Place(llvm::Function& function, llvm::DominatorTree& dominators,
                  llvm::LoopInfo& loops, llvm::ScalarEvolution& evolution,
                  const llvm::TargetLibraryInfo& libraries) const;

 private:
  // True if `call` can reach neither a loop nor a call of instrumented code.
  bool IsExactLeaf(const llvm::CallBase& call) const;
  // The same, or near enough that a chain of such calls is no cycle.
  bool IsLeaf(const llvm::CallBase& call,
              const llvm::TargetLibraryInfo& libraries) const;
  llvm::Instruction* EntryPoint(llvm::Function& function,
                                llvm::DominatorTree& dominators,
                                const llvm::LoopInfo& loops,
                                const llvm::TargetLibraryInfo& libraries) const;

  // True if each round of `loop` that goes back from `latch` calls a function that
  // always probes.
  bool MeetsAnother(const llvm::Loop& loop, const llvm::BasicBlock* latch,
                    const llvm::DominatorTree& dominators) const;

  llvm::DenseSet<const llvm::Function*> leaves_;
  llvm::DenseSet<const llvm::Function*> always_probe_;
  llvm::DenseSet<const llvm::Function*> not_preempted_;
};

}  // namespace yamanote::instrument

#endif  // YAMANOTE_INSTRUMENT_CLANG_PLACEMENT_H_
