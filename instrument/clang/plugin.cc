// plugin.cc - the plug-in that clang loads: inserts what placement.cc decides.
//
// Two passes. The first runs before inlining: it keeps annotated functions out of
// their callers, and renames copies of inline functions. The second runs when
// optimisation has ended, so that vectorisation and the like see no probe.
// Sanitizers instrument after it.
//
// Link-time optimisation: probes are inserted before the bitcode is written,
// each function is done once, and guarded functions are not inlined later.
//
// docs/probes.md has the probe, the guard and the options.

#include <llvm/ADT/DenseMap.h>
#include <llvm/Analysis/AssumptionCache.h>
#include <llvm/Analysis/OptimizationRemarkEmitter.h>
#include <llvm/Analysis/TargetLibraryInfo.h>
#include <llvm/Config/llvm-config.h>
#include <llvm/IR/DebugInfoMetadata.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/PassManager.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Passes/PassPlugin.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/raw_ostream.h>

#if LLVM_VERSION_MAJOR >= 17
#include <llvm/TargetParser/Triple.h>
#else
#include <llvm/ADT/Triple.h>
#endif

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "instrument/clang/copies.h"
#include "instrument/clang/peel.h"
#include "instrument/clang/placement.h"

#if LLVM_VERSION_MAJOR < 14
#error "The probes' plug-in needs LLVM 14 or later"
#endif

// The host's, if it has them: from LLVM 16, 15 and 14 on.
extern "C" {
void LLVMGetVersion(unsigned* major, unsigned* minor, unsigned* patch)
    __attribute__((weak));
void LLVMGetAggregateElement() __attribute__((weak));
void LLVMGetGEPSourceElementType() __attribute__((weak));
}

namespace yamanote::instrument {
namespace {

enum class Tls : std::uint8_t { kLocalExec, kInitialExec };

struct Options {
  llvm::cl::opt<Tls> tls{
      "yamanote-tls", llvm::cl::desc("How probes find yamanote_preempt_flag"),
      llvm::cl::values(
          clEnumValN(Tls::kLocalExec, "local-exec", "for executables"),
          clEnumValN(Tls::kInitialExec, "initial-exec", "for shared objects")),
      llvm::cl::init(Tls::kLocalExec)};
  llvm::cl::opt<bool> report{
      "yamanote-report",
      llvm::cl::desc("Print each function's number of probes"),
      llvm::cl::init(false)};
};

Options* g_options = nullptr;

unsigned HostsMajor() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned patch = 0;
  if (LLVMGetVersion != nullptr) {
    LLVMGetVersion(&major, &minor, &patch);
    return major;
  }
  if (LLVMGetAggregateElement != nullptr) return 15;
  return LLVMGetGEPSourceElementType != nullptr ? 14 : 13;  // Or older.
}

// Not a static object: with another LLVM's layout of cl::opt, its constructor
// would crash before anything could be said.
__attribute__((constructor)) void RegisterOptions() {
  if (const unsigned major = HostsMajor(); major != LLVM_VERSION_MAJOR) {
    std::fprintf(stderr,
                 "yamanote: this plug-in is for LLVM %d, the compiler has LLVM "
                 "%u%s; build the plug-in with the compiler that loads it\n",
                 LLVM_VERSION_MAJOR, major, major == 13 ? " or older" : "");
    std::exit(1);
  }
  static Options options;
  g_options = &options;
}

bool IsTarget(const llvm::Module& module) {
  const llvm::Triple triple(module.getTargetTriple());
  return triple.getArch() == llvm::Triple::x86_64 &&
         triple.isOSBinFormatELF() &&
         module.getDataLayout().getPointerSizeInBits() == 64;
}

bool IsX87(const llvm::Type& type) {
#if LLVM_VERSION_MAJOR < 20
  if (type.isX86_MMXTy()) return true;
#endif
  return type.isX86_FP80Ty();
}

// Whether `instruction` may keep something in a register of x87's or MMX's.
bool MentionsX87(const llvm::Instruction& instruction) {
  if (IsX87(*instruction.getType())) return true;
  for (const llvm::Use& operand : instruction.operands()) {
    if (IsX87(*operand->getType())) return true;
  }
  const auto* call = llvm::dyn_cast<llvm::CallBase>(&instruction);
  if (call == nullptr) return false;
  const auto* assembly =
      llvm::dyn_cast<llvm::InlineAsm>(call->getCalledOperand());
  if (assembly == nullptr) return false;
  for (const auto& constraint : assembly->ParseConstraints()) {
    if (constraint.Type == llvm::InlineAsm::isClobber) continue;
    for (const std::string& code : constraint.Codes) {
      if (code == "f" || code == "t" || code == "u" || code == "y" ||
          code.compare(0, 3, "{st") == 0 || code.compare(0, 3, "{mm") == 0)
        return true;
    }
  }
  return false;
}

// Inserts probes and guards into one module's functions.
class Inserter {
 public:
  explicit Inserter(llvm::Module& module)
      : module_(module), context_(module.getContext()) {
    for (unsigned i = 0; i < assembly_.size(); ++i) {
      assembly_[i] = Assembly((i & 2) != 0 ? kAllAlive : kFewAlive | (i & 1));
    }
  }

  void Probe(llvm::Instruction& before) {
    llvm::IRBuilder<> builder(&before);
    SetLine(builder, before);
    const llvm::Function& function = *before.getFunction();
    llvm::CallInst* call =
        builder.CreateCall(assembly_[MayUseAvx512(function) ? 2
                                     : UsesX87(function)    ? 1
                                                            : 0]);
    call->setDoesNotThrow();
    call->setOnlyAccessesInaccessibleMemory();
    Unsanitized(*call);
  }

  void Guard(llvm::Function& function) {
    llvm::Instruction* place = &*function.getEntryBlock().getFirstInsertionPt();
    while (llvm::isa<llvm::AllocaInst>(place) || place->isDebugOrPseudoInst()) {
      place = place->getNextNode();
    }
    llvm::IRBuilder<> builder(place);
    SetLine(builder, *place);
    llvm::Type* word = builder.getInt64Ty();
    llvm::Constant* guard = GuardVariable();
    // The frame's last byte: above all of its own stack pointers, also if what
    // it calls is inlined later, and below all of its caller's.
    llvm::Function* intrinsic = llvm::Intrinsic::getDeclaration(
        &module_, llvm::Intrinsic::addressofreturnaddress,
        {builder.getInt8Ty()->getPointerTo()});
    llvm::Value* own = builder.CreateAdd(
        builder.CreatePtrToInt(builder.CreateCall(intrinsic), word),
        builder.getInt64(sizeof(void*) - 1));
    llvm::LoadInst* saved = builder.CreateAlignedLoad(
        word, guard, llvm::Align(8), /*isVolatile=*/true);
    Unsanitized(*saved);
    llvm::Value* most =
        builder.CreateSelect(builder.CreateICmpULT(saved, own), own, saved);
    Unsanitized(*builder.CreateAlignedStore(most, guard, llvm::Align(8), true));
    for (llvm::BasicBlock& block : function) {
      if (!llvm::isa<llvm::ReturnInst>(block.getTerminator())) continue;
      llvm::Instruction* before = block.getTerminatingMustTailCall();
      if (before == nullptr) before = block.getTerminator();
      builder.SetInsertPoint(before);
      SetLine(builder, *before);
      Unsanitized(
          *builder.CreateAlignedStore(saved, guard, llvm::Align(8), true));
    }
  }

 private:
  // Which registers may be alive, bits of XCR0: all of zmm0-15, for a caller may know
  // that a function leaves upper halves alone; or AVX-512's own and x87's too. Bit 0 is
  // x87's.
  static constexpr unsigned kFewAlive = 0x46;
  static constexpr unsigned kAllAlive = 0xe7;

  // A call leaves nothing in x87's registers (or MMX's, the same ones) but a result, so
  // they are dead in what has no such value and no assembly that hands one over.
  bool UsesX87(const llvm::Function& function) {
    const auto [at, added] = uses_x87_.try_emplace(&function, false);
    if (!added) return at->second;
    for (const llvm::Instruction& instruction : llvm::instructions(function)) {
      if (!MentionsX87(instruction)) continue;
      at->second = true;
      break;
    }
    return at->second;
  }

  // A call loses all vector registers, so those are dead here that the function's own
  // code can't name. Not known where the linker may yet inline it into another.
  bool MayUseAvx512(const llvm::Function& function) const {
    if (module_.getModuleFlag("EnableSplitLTOUnit") != nullptr) return true;
    if (!function.hasFnAttribute("target-features")) return true;
    const llvm::StringRef features =
        function.getFnAttribute("target-features").getValueAsString();
    return features.contains("+avx512") || features.contains("+avx10");
  }

  llvm::InlineAsm* Assembly(unsigned alive) {
    const bool shared = g_options->tls == Tls::kInitialExec;
    // The call in a shared object goes through the table without the lazy
    // resolver, which would lose registers.
    const std::string cold =
        std::string(
            "jne 1f\n2:\n\t.subsection 1\n"
            "1:\tleaq -128(%rsp), %rsp\n\t") +
        (shared ? "call *yamanote_preempt_probe@GOTPCREL(%rip)"
                : "call yamanote_preempt_probe") +
        // testb $alive, %al; subq $-128, %rsp; jmp 2b. As data: the runtime reads
        // them, and an assembler may put prefixes or NOPs before instructions
        // (-mbranches-within-32B-boundaries).
        "\n\t.byte 0xa8, " + std::to_string(alive) +
        ", 0x48, 0x83, 0xec, 0x80, 0xe9\n\t.long 2b - . - 4\n\t.subsection 0";
    llvm::Type* result = shared ? llvm::Type::getInt64Ty(context_)
                                : llvm::Type::getVoidTy(context_);
    return llvm::InlineAsm::get(
        llvm::FunctionType::get(result, false),
        (shared ? "movq yamanote_preempt_flag@gottpoff(%rip), $0\n\t"
                  "cmpb $$0, %fs:($0)\n\t"
                : "cmpb $$0, %fs:yamanote_preempt_flag@tpoff\n\t") +
            cold,
        shared ? "=&r,~{flags}" : "~{flags}", /*hasSideEffects=*/true);
  }

  llvm::Constant* GuardVariable() {
    llvm::Type* word = llvm::Type::getInt64Ty(context_);
    llvm::Constant* found =
        module_.getOrInsertGlobal("yamanote_preempt_guard", word, [this, word] {
          const bool shared = g_options->tls == Tls::kInitialExec;
          auto* guard = new llvm::GlobalVariable(
              module_, word, /*isConstant=*/false,
              llvm::GlobalValue::ExternalLinkage, nullptr,
              "yamanote_preempt_guard", nullptr,
              shared ? llvm::GlobalValue::InitialExecTLSModel
                     : llvm::GlobalValue::LocalExecTLSModel);
          guard->setDSOLocal(!shared);
          return guard;
        });
    return found;
  }

  void Unsanitized(llvm::Instruction& instruction) {
    instruction.setMetadata("nosanitize", llvm::MDNode::get(context_, {}));
  }

  // So that a backtrace out of a probe names the line.
  void SetLine(llvm::IRBuilder<>& builder, const llvm::Instruction& before) {
    llvm::DISubprogram* program = before.getFunction()->getSubprogram();
    if (program == nullptr) return;
    if (before.getDebugLoc()) {
      builder.SetCurrentDebugLocation(before.getDebugLoc());
    } else {
      builder.SetCurrentDebugLocation(
          llvm::DILocation::get(context_, program->getScopeLine(), 0, program));
    }
  }

  llvm::Module& module_;
  llvm::LLVMContext& context_;
  std::array<llvm::InlineAsm*, 3> assembly_;  // By what may be alive.
  llvm::DenseMap<const llvm::Function*, bool> uses_x87_;
};

// Before inlining: keeps annotated functions out of their callers, and copies of
// inline functions apart from those without probes.
struct MarkPass : llvm::PassInfoMixin<MarkPass> {
  static bool isRequired() { return true; }
  llvm::PreservedAnalyses run(llvm::Module& module,
                              llvm::ModuleAnalysisManager& /*analyses*/) {
    for (const llvm::Function* found : NotPreempted(module)) {
      auto* function = const_cast<llvm::Function*>(found);
      function->addFnAttr(kNoPreempt);
      function->removeFnAttr(llvm::Attribute::AlwaysInline);
      function->addFnAttr(llvm::Attribute::NoInline);
    }
    RenameCopies(module);
    return llvm::PreservedAnalyses::all();
  }
};

// After optimisation: probes and guards.
struct ProbePass : llvm::PassInfoMixin<ProbePass> {
  static bool isRequired() { return true; }
  llvm::PreservedAnalyses run(llvm::Module& module,
                              llvm::ModuleAnalysisManager& analyses) {
    if (!IsTarget(module)) {
      module.getContext().emitError(
          "yamanote: probes are for x86-64 ELF, not " +
          module.getTargetTriple());
      return llvm::PreservedAnalyses::all();
    }
    llvm::FunctionAnalysisManager& manager =
        analyses.getResult<llvm::FunctionAnalysisManagerModuleProxy>(module)
            .getManager();
    Placer placer(module);
    // First: it moves what Note() looks at.
    for (llvm::Function& function : module) {
      if (!Placer::IsSkipped(function) &&
          placer.WhyGuarded(function) == nullptr &&
          PeelLoops(function,
                    manager.getResult<llvm::DominatorTreeAnalysis>(function),
                    manager.getResult<llvm::LoopAnalysis>(function),
                    manager.getResult<llvm::ScalarEvolutionAnalysis>(function),
                    manager.getResult<llvm::AssumptionAnalysis>(function))) {
        manager.invalidate(function, llvm::PreservedAnalyses::none());
      }
    }
    // All other decisions come before the first change: a probe makes no call, but
    // assembly that uses %fs.
    for (llvm::Function& function : module) {
      if (Placer::IsSkipped(function)) continue;
      placer.Note(function,
                  manager.getResult<llvm::DominatorTreeAnalysis>(function),
                  manager.getResult<llvm::LoopAnalysis>(function),
                  manager.getResult<llvm::TargetLibraryAnalysis>(function));
    }
    Inserter inserter(module);
    bool changed = false;
    for (llvm::Function& function : module) {
      if (Placer::IsSkipped(function)) continue;
      const Placement placement = placer.Place(
          function, manager.getResult<llvm::DominatorTreeAnalysis>(function),
          manager.getResult<llvm::LoopAnalysis>(function),
          manager.getResult<llvm::ScalarEvolutionAnalysis>(function),
          manager.getResult<llvm::TargetLibraryAnalysis>(function));
      if (placement.entry != nullptr) inserter.Probe(*placement.entry);
      for (llvm::Instruction* latch : placement.latches) inserter.Probe(*latch);
      for (llvm::Instruction* behind : placement.unlocks) {
        inserter.Probe(*behind);
      }
      for (const Strip& strip : placement.strips) inserter.Probe(*Cut(strip));
      if (placement.guarded != nullptr) {
        if (placement.calls) inserter.Guard(function);
        KeepOut(function);
      }
      function.addFnAttr(kDone);
      Report(function, placement);
      changed = true;
    }
    return changed ? llvm::PreservedAnalyses::none()
                   : llvm::PreservedAnalyses::all();
  }

 private:
  // At link time it must not become part of a function that has probes.
  static void KeepOut(llvm::Function& function) {
    function.removeFnAttr(llvm::Attribute::AlwaysInline);
    function.addFnAttr(llvm::Attribute::NoInline);
  }

  static void Report(llvm::Function& function, const Placement& placement) {
    std::string line;
    llvm::raw_string_ostream text(line);
    text << function.getName() << ": ";
    if (placement.guarded != nullptr) {
      text << (placement.calls ? "guarded (" : "no probes (")
           << placement.guarded << ")";
    } else {
      text << "entry " << (placement.entry != nullptr ? 1 : 0) << ", loops "
           << placement.latches.size() + placement.strips.size();
      if (!placement.unlocks.empty()) {
        text << ", unlocks " << placement.unlocks.size();
      }
    }
    text.flush();
    if (g_options->report) llvm::errs() << "yamanote: " << line << '\n';
    llvm::OptimizationRemarkEmitter emitter(&function);
    emitter.emit([&] {
      return llvm::OptimizationRemark("yamanote", "Probes", &function) << line;
    });
  }
};

}  // namespace
}  // namespace yamanote::instrument

extern "C" LLVM_ATTRIBUTE_WEAK
    __attribute__((visibility("default"))) llvm::PassPluginLibraryInfo
    llvmGetPassPluginInfo() {
  using yamanote::instrument::MarkPass;
  using yamanote::instrument::ProbePass;
  return {LLVM_PLUGIN_API_VERSION, "yamanote", LLVM_VERSION_STRING,
          [](llvm::PassBuilder& builder) {
            builder.registerPipelineStartEPCallback(
                [](llvm::ModulePassManager& passes, auto...) {
                  passes.addPass(MarkPass());
                });
            builder.registerOptimizerLastEPCallback(
                [](llvm::ModulePassManager& passes, auto...) {
                  passes.addPass(ProbePass());
                });
          }};
}
