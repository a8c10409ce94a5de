// probes.cc - finds the instruction before which a probe fits, and puts it there.

#include "instrument/gcc/probes.h"

#include <iterator>
#include <set>
#include <string>
#include <unordered_map>

#include "instrument/gcc/placement.h"

namespace yamanote::instrument {
namespace {

// Registers that a probe of shared objects may use where they are dead: a
// function may change them without saving them.
struct Scratch {
  unsigned number;
  const char* name;
};
constexpr Scratch kScratch[] = {
    {AX_REG, "%rax"}, {CX_REG, "%rcx"},  {DX_REG, "%rdx"},
    {SI_REG, "%rsi"}, {DI_REG, "%rdi"},  {R8_REG, "%r8"},
    {R9_REG, "%r9"},  {R10_REG, "%r10"}, {R11_REG, "%r11"},
};

// A place in a block where nobody waits for the flags.
struct Place {
  rtx_insn* before = nullptr;  // Null: at the block's end.
  basic_block block = nullptr;
  const Scratch* scratch = nullptr;  // Null: no register is free.
};

const Scratch* FreeRegister(bitmap live) {
  for (const Scratch& scratch : kScratch) {
    if (!bitmap_bit_p(live, scratch.number)) return &scratch;
  }
  return nullptr;
}

// Returns whether `block` has a place for a probe, the first one in `place`.
bool FindPlace(basic_block block, bool wants_scratch, Place* place) {
  bool found = false;
  auto_bitmap live;
  auto consider = [&](rtx_insn* before) {
    if (bitmap_bit_p(live, FLAGS_REG)) return;
    const Scratch* scratch = wants_scratch ? FreeRegister(live) : nullptr;
    // The first place, unless it lacks a register and another one does not;
    // but not behind a call, which the probe may be for.
    const bool behind_call = before != nullptr && CALL_P(before);
    if (found && wants_scratch && scratch == nullptr && !behind_call) return;
    *place = {before, block, scratch};
    found = true;
  };
  bitmap_copy(live, DF_LR_OUT(block));
  df_simulate_initialize_backwards(block, live);
  bool empty = true;
  rtx_insn* insn;
  FOR_BB_INSNS_REVERSE(block, insn) {
    if (!NONDEBUG_INSN_P(insn)) continue;
    empty = false;
    df_simulate_one_insn_backwards(block, insn, live);
    consider(insn);
  }
  if (empty) consider(nullptr);
  return found;
}

// In the language of an assembly statement, where a percent sign is two.
std::string ProbeText(TlsModel tls, const Scratch* scratch) {
  std::string text;
  const bool intel = ASSEMBLER_DIALECT == ASM_INTEL;
  if (intel) text += ".att_syntax prefix\n\t";
  if (tls == TlsModel::kLocalExec) {
    text += "cmpb\t$0, %%fs:yamanote_preempt_flag@tpoff";
  } else if (scratch != nullptr) {
    const std::string name = std::string("%") + scratch->name;
    text += "movq\tyamanote_preempt_flag@gottpoff(%%rip), " + name +
            "\n\tcmpb\t$0, %%fs:(" + name + ")";
  } else {
    // Seldom: the flags are free and no register is.
    text +=
        "leaq\t-128(%%rsp), %%rsp\n\tpushq\t%%rax\n\t"
        "movq\tyamanote_preempt_flag@gottpoff(%%rip), %%rax\n\t"
        "cmpb\t$0, %%fs:(%%rax)\n\tpopq\t%%rax\n\tleaq\t128(%%rsp), %%rsp";
  }
  // Not by way of a procedure linkage table: what binds a function at its first
  // call changes registers that a caller does not count on, and this one does.
  const char* target = tls == TlsModel::kLocalExec
                           ? "yamanote_preempt_probe"
                           : "*yamanote_preempt_probe@GOTPCREL(%%rip)";
  text += std::string("\n\tjne\t1f\n2:\n\t.subsection 1\n") +
          "1:\tleaq\t-128(%%rsp), %%rsp\n\tcall\t" + target +
          "\n\t.long\t2b - .\n\t.previous";
  if (intel) text += "\n\t.intel_syntax noprefix";
  return text;
}

class ProbesPass final : public rtl_opt_pass {
 public:
  static constexpr pass_data kData = {
      RTL_PASS, "yamanote_probes", OPTGROUP_NONE, TV_NONE, 0, 0, 0,
      0,        TODO_df_finish};

  ProbesPass(gcc::context* context, Unit* unit)
      : rtl_opt_pass(kData, context), unit_(unit) {}

  bool gate(function* fun) final {
    return !IsRuntimeFunction(fun->decl) &&
           !unit_->functions[DECL_UID(fun->decl)].guarded &&
           !lookup_attribute("naked", DECL_ATTRIBUTES(fun->decl));
  }

  unsigned int execute(function* fun) final {
    if (!TARGET_64BIT) {
      sorry("probes of %<yamanote%> need 64-bit code");
      return 0;
    }
    // The text of a probe says nothing of the registers it leaves alone.
    df_analyze();
    calculate_dominance_info(CDI_DOMINATORS);
    places_.clear();
    const Placement placement = PlaceProbes(
        fun, *unit_, [this](basic_block block) { return HasPlace(block); });
    free_dominance_info(CDI_DOMINATORS);
    if (placement.uncut_loops != 0) {
      warning_at(DECL_SOURCE_LOCATION(fun->decl), 0,
                 "%u loops of %qD have no place for a preemption probe: the "
                 "arithmetic flags are in use all around them",
                 placement.uncut_loops, fun->decl);
    }
    std::set<basic_block> probed(placement.loops.begin(),
                                 placement.loops.end());
    probed.insert(placement.entry.begin(), placement.entry.end());
    for (basic_block block : probed) {
      if (HasPlace(block)) Emit(places_[block]);
    }
    const unsigned unlocks = EmitBehindUnlocks(fun);

    FunctionFacts& facts = unit_->functions[DECL_UID(fun->decl)];
    facts.leaf = !placement.has_calls && probed.empty();
    facts.always_probes =
        probed.count(single_succ(ENTRY_BLOCK_PTR_FOR_FN(fun))) != 0;
    if (unit_->options.report) {
      fprintf(stderr,
              "yamanote: %s: %zu probes (%zu in loops), %u short loops "
              "without\n",
              IDENTIFIER_POINTER(DECL_ASSEMBLER_NAME(fun->decl)),
              probed.size() + unlocks, placement.loops.size(),
              placement.short_loops);
    }
    return 0;
  }

 private:
  // Looks before the first probe is there: a probe would not change the answer.
  bool HasPlace(basic_block block) {
    const auto [at, added] = places_.try_emplace(block);
    Place& place = at->second;
    if (added && !FindPlace(block, unit_->options.tls == TlsModel::kInitialExec,
                            &place)) {
      place.block = nullptr;
    }
    return place.block != nullptr;
  }

  // Returns how many. Behind a call nobody waits for the flags, and the last
  // scratch register is free: no function returns anything in it.
  unsigned EmitBehindUnlocks(function* fun) const {
    const Scratch* scratch = unit_->options.tls == TlsModel::kInitialExec
                                 ? std::prev(std::end(kScratch))
                                 : nullptr;
    unsigned count = 0;
    basic_block block;
    FOR_EACH_BB_FN(block, fun) {
      rtx_insn* insn;
      FOR_BB_INSNS(block, insn) {
        if (!CALL_P(insn) || !IsUnlock(insn)) continue;
        emit_insn_after_noloc(ProbeAt(scratch), insn, block);
        ++count;
      }
    }
    return count;
  }

  void Emit(const Place& place) const {
    rtx probe = ProbeAt(place.scratch);
    if (place.before != nullptr) {
      emit_insn_before_noloc(probe, place.before, place.block);
    } else {
      emit_insn_after_noloc(probe, BB_END(place.block), place.block);
    }
  }

  rtx ProbeAt(const Scratch* free) const {
    const std::string text = ProbeText(unit_->options.tls, free);
    rtx assembly = gen_rtx_ASM_OPERANDS(VOIDmode, ggc_strdup(text.c_str()), "",
                                        0, rtvec_alloc(0), rtvec_alloc(0),
                                        rtvec_alloc(0), UNKNOWN_LOCATION);
    MEM_VOLATILE_P(assembly) = 1;
    rtx flags = gen_rtx_CLOBBER(VOIDmode, gen_rtx_REG(CCmode, FLAGS_REG));
    rtvec parts;
    if (free == nullptr) {
      parts = gen_rtvec(2, assembly, flags);
    } else {
      rtx scratch =
          gen_rtx_CLOBBER(VOIDmode, gen_rtx_REG(DImode, free->number));
      parts = gen_rtvec(3, assembly, flags, scratch);
    }
    return gen_rtx_PARALLEL(VOIDmode, parts);
  }

  Unit* unit_;
  std::unordered_map<basic_block, Place> places_;
};

}  // namespace

opt_pass* MakeProbesPass(gcc::context* context, Unit* unit) {
  return new ProbesPass(context, unit);
}

}  // namespace yamanote::instrument
