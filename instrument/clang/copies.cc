// copies.cc - renames inline functions and implicit instantiations, by groups.

#include "instrument/clang/copies.h"

#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/MapVector.h>
#include <llvm/ADT/SmallVector.h>
#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/GlobalAlias.h>
#include <llvm/IR/GlobalIFunc.h>
#include <llvm/IR/GlobalVariable.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>

#if LLVM_VERSION_MAJOR >= 17
#include <llvm/TargetParser/Triple.h>
#else
#include <llvm/ADT/Triple.h>
#endif

#include <string>

#include "instrument/clang/placement.h"

using llvm::dyn_cast;
using llvm::isa;

namespace yamanote::instrument {
namespace {

using Names = llvm::DenseSet<const llvm::GlobalValue*>;

// What the linker keeps or drops as one: a function, and the variants of a
// constructor or a destructor that are aliases of each other.
struct Group {
  llvm::SmallVector<llvm::GlobalValue*, 2> members;
  bool has_copies = false;  // Members that may be renamed,
  bool keeps_name = false;  // and others.
};

// [[gnu::used]] functions; versions of one function for several processors, and
// what chooses among them.
Names KeptNames(const llvm::Module& module) {
  Names kept;
  for (const bool by_compiler : {false, true}) {
    llvm::SmallVector<llvm::GlobalValue*, 8> used;
    llvm::collectUsedGlobalVariables(module, used, by_compiler);
    kept.insert(used.begin(), used.end());
  }
  for (const llvm::GlobalIFunc& chosen : module.ifuncs()) {
    const auto* resolver =
        dyn_cast<llvm::Function>(chosen.getResolver()->stripPointerCasts());
    if (resolver == nullptr) continue;
    kept.insert(resolver);
    for (const llvm::Instruction& instruction : llvm::instructions(*resolver)) {
      for (const llvm::Use& operand : instruction.operands()) {
        const auto* version =
            dyn_cast<llvm::Function>(operand->stripPointerCasts());
        if (version != nullptr) kept.insert(version);
      }
    }
  }
  return kept;
}

bool IsInSharedVariable(const llvm::Constant& constant) {
  for (const llvm::User* user : constant.users()) {
    if (const auto* variable = dyn_cast<llvm::GlobalVariable>(user)) {
      if (!variable->hasLocalLinkage()) return true;
    } else if (const auto* outer = dyn_cast<llvm::Constant>(user)) {
      if (IsInSharedVariable(*outer)) return true;
    }
  }
  return false;
}

// A static table of labels (computed goto): there is one for all units, and it
// must be that of the code that jumps by it.
bool SharesLabels(const llvm::Function& function) {
  for (const llvm::BasicBlock& block : function) {
    if (!block.hasAddressTaken()) continue;
    const auto* address = llvm::BlockAddress::lookup(&block);
    if (address != nullptr && IsInSharedVariable(*address)) return true;
  }
  return false;
}

// Whether nobody needs `function`, or an alias of it, by its name but units that
// have a copy too. Only what a unit may drop if it has no use of it: not so an
// explicit instantiation, on which units with an `extern template` rely.
bool MayBeRenamed(const llvm::GlobalValue& value, const Names& kept,
                  const llvm::TargetLibraryInfo& libraries) {
  if (!value.hasLinkOnceODRLinkage() || kept.count(&value) != 0) return false;
  const llvm::StringRef name = value.getName();
  // Wrappers of a thread_local are found by name, and uses of one are guarded
  // anyway. Two underscores: the compiler's own.
  for (const char* prefix : {"_ZTW", "_ZTH", "__", "yamanote_preempt_"}) {
    if (StartsWith(name, prefix)) return false;
  }
  if (name.contains(kCopySuffix)) return false;  // Seen before.
  const auto* function = dyn_cast<llvm::Function>(&value);
  if (function == nullptr) return isa<llvm::GlobalAlias>(value);
  llvm::LibFunc known;
  return !libraries.getLibFunc(*function, known) && !SharesLabels(*function);
}

void Rename(llvm::Module& module, Group& group) {
  for (llvm::GlobalValue* member : group.members) {
    auto* object = dyn_cast<llvm::GlobalObject>(member);
    const llvm::Comdat* old = member->getComdat();
    if (object != nullptr && old != nullptr) {
      llvm::Comdat* renamed =
          module.getOrInsertComdat((old->getName() + kCopySuffix).str());
      renamed->setSelectionKind(old->getSelectionKind());
      object->setComdat(renamed);
    }
    if (member->hasLocalLinkage()) continue;
    member->setName(member->getName() + kCopySuffix);
  }
}

}  // namespace

void RenameCopies(llvm::Module& module) {
  const Names kept = KeptNames(module);
  const llvm::TargetLibraryInfoImpl names(
      llvm::Triple(module.getTargetTriple()));
  const llvm::TargetLibraryInfo libraries(names);
  llvm::MapVector<const void*, Group> groups;
  for (llvm::GlobalValue& value : module.global_values()) {
    if (value.isDeclaration()) continue;
    const llvm::Comdat* comdat = value.getComdat();
    const void* key = comdat;
    if (key == nullptr) key = value.getAliaseeObject();
    Group& group = groups[key];
    group.members.push_back(&value);
    if (value.hasLocalLinkage()) continue;
    (MayBeRenamed(value, kept, libraries) ? group.has_copies
                                          : group.keeps_name) = true;
  }
  for (auto& [key, group] : groups) {
    if (group.has_copies && !group.keeps_name) Rename(module, group);
  }
}

}  // namespace yamanote::instrument
