// short_loops.cc - notes the jumps of loops that are known to end soon.

#include "instrument/gcc/short_loops.h"

namespace yamanote::instrument {
namespace {

// The most instructions that all rounds of a loop together may have without a
// probe: some 100 to 200 ns, less than the time between two probes elsewhere.
constexpr HOST_WIDE_INT kShort = 512;

// Stands for more than kShort, or not known.
constexpr HOST_WIDE_INT kLong = kShort + 1;

class ShortLoopsPass final : public rtl_opt_pass {
 public:
  static constexpr pass_data kData = {
      RTL_PASS, "yamanote_short_loops", OPTGROUP_NONE, TV_NONE, 0, 0, 0, 0, 0};

  ShortLoopsPass(gcc::context* context, Unit* unit)
      : rtl_opt_pass(kData, context), unit_(unit) {}

  bool gate(function* fun) final { return !IsRuntimeFunction(fun->decl); }

  unsigned int execute(function* fun) final {
    if (loops_for_fn(fun) == nullptr) return 0;
    for (class loop* loop = loops_for_fn(fun)->tree_root->inner;
         loop != nullptr; loop = loop->next) {
      Measure(loop);
    }
    return 0;
  }

 private:
  // Returns the instructions that `loop` runs at most, and notes its jump if
  // they are few.
  HOST_WIDE_INT Measure(class loop* loop) {
    HOST_WIDE_INT size = 0;
    for (class loop* inner = loop->inner; inner != nullptr;
         inner = inner->next) {
      size += Measure(inner);
    }
    basic_block* blocks = get_loop_body(loop);
    for (unsigned i = 0; i < loop->num_nodes; ++i) {
      if (blocks[i]->loop_father == loop) size += Instructions(blocks[i]);
    }
    free(blocks);
    const HOST_WIDE_INT jumps_back = get_max_loop_iterations_int(loop);
    if (jumps_back < 0 || jumps_back >= kShort || size > kShort ||
        size * (jumps_back + 1) > kShort) {
      return kLong;
    }
    rtx_insn* jump = JumpBack(loop);
    if (jump == nullptr) return kLong;
    unit_->short_loop_jumps.insert(INSN_UID(jump));
    return size * (jumps_back + 1);
  }

  // kLong if there is a call.
  static HOST_WIDE_INT Instructions(basic_block block) {
    HOST_WIDE_INT count = 0;
    rtx_insn* insn;
    FOR_BB_INSNS(block, insn) {
      if (CALL_P(insn)) return kLong;
      if (NONDEBUG_INSN_P(insn)) ++count;
    }
    return count;
  }

  // A loop's latch may be an empty block after the one with the jump.
  static rtx_insn* JumpBack(class loop* loop) {
    basic_block block = loop->latch;
    if (block == nullptr) return nullptr;
    if (!JUMP_P(BB_END(block)) || simplejump_p(BB_END(block))) {
      if (!single_pred_p(block)) return nullptr;
      block = single_pred(block);
    }
    return any_condjump_p(BB_END(block)) ? BB_END(block) : nullptr;
  }

  Unit* unit_;
};

}  // namespace

opt_pass* MakeShortLoopsPass(gcc::context* context, Unit* unit) {
  return new ShortLoopsPass(context, unit);
}

}  // namespace yamanote::instrument
