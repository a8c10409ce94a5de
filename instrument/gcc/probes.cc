// probes.cc - finds the instruction before which a probe fits, and puts it there.

#include "instrument/gcc/probes.h"

#include <iterator>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

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

// Which x87, vector and mask registers a probe keeps, and which it may lose. A
// preemption saves the former, on a stack that is cold when the task goes on.
struct Vectors {
  unsigned alive = 0;  // Bits of XCR0.
  HARD_REG_SET dead = {};
};

// A place in a block where nobody waits for the flags.
struct Place {
  rtx_insn* before = nullptr;  // Null: at the block's end.
  basic_block block = nullptr;
  const Scratch* scratch = nullptr;  // Null: no register is free.
  Vectors vectors;
};

const Scratch* FreeRegister(bitmap live) {
  for (const Scratch& scratch : kScratch) {
    if (!bitmap_bit_p(live, scratch.number)) return &scratch;
  }
  return nullptr;
}

// The bits of XCR0 that hold MMX, vector or mask register `number`; 0: it is none. Of
// the first sixteen the upper halves too, whatever this function is compiled for: a
// caller may know that it leaves them alone (-fipa-ra).
unsigned XsaveBits(unsigned number) {
  if (MMX_REGNO_P(number)) return 1U << 0;
  if (EXT_REX_SSE_REGNO_P(number)) return 1U << 7;
  if (SSE_REGNO_P(number)) return 1U << 1 | 1U << 2 | 1U << 6;
  return MASK_REGNO_P(number) ? 1U << 5 : 0;
}

bool SavesWhatItChanges(function* fun) {
  const tree attributes = TYPE_ATTRIBUTES(TREE_TYPE(fun->decl));
  return lookup_attribute("no_caller_saved_registers", attributes) ||
         lookup_attribute("interrupt", attributes);
}

// After the pass that numbers x87's registers anew, where one of them is alive is not
// known any more; MMX's are the same ones.
bool UsesX87() {
  for (unsigned i = 0; i < FIRST_PSEUDO_REGISTER; ++i) {
    if ((STACK_REGNO_P(i) || MMX_REGNO_P(i)) && df_regs_ever_live_p(i))
      return true;
  }
  return false;
}

// Where `live` are alive. `x87`: UsesX87().
Vectors VectorsAt(function* fun, bitmap live, bool x87) {
  Vectors vectors;
  CLEAR_HARD_REG_SET(vectors.dead);
  const HARD_REG_SET callers_to_save = crtl->abi->full_reg_clobbers();
  const bool saves_all = SavesWhatItChanges(fun);
  if (x87 || saves_all) vectors.alive |= 1U << 0;
  for (unsigned i = 0; i < FIRST_PSEUDO_REGISTER; ++i) {
    const unsigned bits = XsaveBits(i);
    if (bits == 0 || fixed_regs[i]) continue;
    if (saves_all || bitmap_bit_p(live, i) || (bits & vectors.alive & 1U) ||
        !TEST_HARD_REG_BIT(callers_to_save, i)) {
      vectors.alive |= bits;
    } else {
      SET_HARD_REG_BIT(vectors.dead, i);
    }
  }
  return vectors;
}

// Returns whether `block` has a place for a probe, the first one in `place`.
bool FindPlace(function* fun, basic_block block, bool wants_scratch, bool x87,
               Place* place) {
  bool found = false;
  auto_bitmap live;
  auto consider = [&](rtx_insn* before) {
    if (bitmap_bit_p(live, FLAGS_REG)) return;
    const Scratch* scratch = wants_scratch ? FreeRegister(live) : nullptr;
    // The first place, unless it lacks a register and another one does not;
    // but not behind a call, which the probe may be for.
    const bool behind_call = before != nullptr && CALL_P(before);
    if (found && wants_scratch && scratch == nullptr && !behind_call) return;
    *place = {before, block, scratch, VectorsAt(fun, live, x87)};
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
std::string ProbeText(TlsModel tls, const Scratch* scratch, unsigned alive) {
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
  text +=
      std::string("\n\tjne\t1f\n2:\n\t.subsection 1\n") +
      "1:\tleaq\t-128(%%rsp), %%rsp\n\tcall\t" + target +
      // testb $alive, %al; subq $-128, %rsp; jmp 2b. As data: the runtime reads
      // them, and an assembler may put prefixes or NOPs before instructions
      // (-mbranches-within-32B-boundaries).
      "\n\t.byte\t0xa8, " + std::to_string(alive) +
      ", 0x48, 0x83, 0xec, 0x80, 0xe9\n\t.long\t2b - . - 4\n\t.previous";
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

  bool gate(function* fun) final { return MayHaveProbes(*unit_, fun->decl); }

  unsigned int execute(function* fun) final {
    if (!TARGET_64BIT) {
      sorry("probes of %<yamanote%> need 64-bit code");
      return 0;
    }
    // The text of a probe says nothing of the registers it leaves alone.
    df_analyze();
    calculate_dominance_info(CDI_DOMINATORS);
    places_.clear();
    x87_ = UsesX87();
    const Placement placement = PlaceProbes(
        fun, *unit_,
        [this, fun](basic_block block) { return HasPlace(fun, block); });
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
      if (HasPlace(fun, block)) Emit(places_[block]);
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
  bool HasPlace(function* fun, basic_block block) {
    const auto [at, added] = places_.try_emplace(block);
    Place& place = at->second;
    if (added &&
        !FindPlace(fun, block, unit_->options.tls == TlsModel::kInitialExec,
                   x87_, &place)) {
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
    auto_bitmap live;
    basic_block block;
    FOR_EACH_BB_FN(block, fun) {
      bitmap_copy(live, DF_LR_OUT(block));
      df_simulate_initialize_backwards(block, live);
      rtx_insn* insn;
      rtx_insn* previous;
      FOR_BB_INSNS_REVERSE_SAFE(block, insn, previous) {
        if (!NONDEBUG_INSN_P(insn)) continue;
        if (CALL_P(insn) && IsUnlock(insn)) {
          emit_insn_after_noloc(ProbeAt(scratch, VectorsAt(fun, live, x87_)),
                                insn, block);
          ++count;
        }
        df_simulate_one_insn_backwards(block, insn, live);
      }
    }
    return count;
  }

  void Emit(const Place& place) const {
    rtx probe = ProbeAt(place.scratch, place.vectors);
    if (place.before != nullptr) {
      emit_insn_before_noloc(probe, place.before, place.block);
    } else {
      emit_insn_after_noloc(probe, BB_END(place.block), place.block);
    }
  }

  rtx ProbeAt(const Scratch* free, const Vectors& vectors) const {
    const std::string text = ProbeText(unit_->options.tls, free, vectors.alive);
    rtx assembly = gen_rtx_ASM_OPERANDS(VOIDmode, ggc_strdup(text.c_str()), "",
                                        0, rtvec_alloc(0), rtvec_alloc(0),
                                        rtvec_alloc(0), UNKNOWN_LOCATION);
    MEM_VOLATILE_P(assembly) = 1;
    std::vector<rtx> parts = {assembly, Clobber(CCmode, FLAGS_REG)};
    if (free != nullptr) parts.push_back(Clobber(DImode, free->number));
    // So that a caller that knows what this function changes (-fipa-ra) knows it.
    for (unsigned i = 0; i < FIRST_PSEUDO_REGISTER; ++i) {
      if (TEST_HARD_REG_BIT(vectors.dead, i))
        parts.push_back(Clobber(reg_raw_mode[i], i));
    }
    return gen_rtx_PARALLEL(
        VOIDmode, gen_rtvec_v(static_cast<int>(parts.size()), parts.data()));
  }

  static rtx Clobber(machine_mode mode, unsigned number) {
    return gen_rtx_CLOBBER(VOIDmode, gen_rtx_REG(mode, number));
  }

  Unit* unit_;
  // Of the function at hand.
  std::unordered_map<basic_block, Place> places_;
  bool x87_ = false;  // It uses those registers.
};

}  // namespace

opt_pass* MakeProbesPass(gcc::context* context, Unit* unit) {
  return new ProbesPass(context, unit);
}

}  // namespace yamanote::instrument
