// strip.cc - cuts small counted loops into strips; see strip.h.

#include "instrument/gcc/strip.h"

#include <optional>
#include <vector>

#include "instrument/gcc/strip_search.h"

// clang-format off: after the compiler's other headers, in this order.
#include <gimple-fold.h>
#include <tree-cfg.h>
// clang-format on

namespace yamanote::instrument {
namespace {

// Returns 1 / `odd`, modulo 2^64. Each step doubles the bits that are right; those
// of an odd number itself are three.
unsigned HOST_WIDE_INT Inverse(unsigned HOST_WIDE_INT odd) {
  unsigned HOST_WIDE_INT inverse = odd;
  for (int right = 3; right < 64; right *= 2) inverse *= 2 - odd * inverse;
  return inverse;
}

// The way into the loop; of several, makes one.
edge Entry(class loop* loop) {
  if (EDGE_COUNT(loop->header->preds) != 2) {
    return single_succ_edge(create_preheader(loop, CP_SIMPLE_PREHEADERS));
  }
  edge first = EDGE_PRED(loop->header, 0);
  return first->src == loop->latch ? EDGE_PRED(loop->header, 1) : first;
}

class Cutter {
 public:
  explicit Cutter(const Strip& strip)
      : strip_(strip),
        word_(unsigned_type_for(TREE_TYPE(strip.tested))),
        rounds_(build_int_cst(word_, strip.rounds)) {}

  // Requires what FindStrip() found. Leaves dominators and the loops' tree behind.
  void Cut() {
    MakeBlocks();
    DuplicatePhis();
    Jump();
    Limit();
    SetCounts();
    class loop* loop = strip_.loop;
    loop->any_upper_bound = true;
    loop->nb_iterations_upper_bound = strip_.rounds - 1;
    loop->any_likely_upper_bound = true;
    loop->nb_iterations_likely_upper_bound = strip_.rounds - 1;
    if (loop->any_estimate &&
        wi::gtu_p(loop->nb_iterations_estimate, strip_.rounds - 1)) {
      loop->nb_iterations_estimate = strip_.rounds - 1;
    }
    loop->nb_iterations = NULL_TREE;
  }

 private:
  // before_ -> head_ -> the loop -> tail_ -> where it left to
  //             ^----- again_ <------'
  void MakeBlocks() {
    class loop* loop = strip_.loop;
    // A preheader that is made now takes the header's old PHIs; new ones have the names.
    tree counter = gimple_phi_result(strip_.counter);
    edge entry = Entry(loop);
    strip_.counter = as_a<gphi*>(SSA_NAME_DEF_STMT(counter));
    entries_ = entry->count();
    rounds_run_ = loop->header->count;
    leaving_ = strip_.leave->count();
    before_ = split_edge(entry);
    head_ = split_edge(single_succ_edge(before_));
    tail_ = split_edge(strip_.leave);
    again_ = create_empty_bb(tail_);
    add_bb_to_loop(again_, loop_outer(loop));
  }

  // Returns the rounds that the loop would run in all: the distance from the counter to
  // its bound, by the step. That is a multiple of the step or is never reached; then
  // this has high bits, and all strips are whole ones. 0 is once round all numbers.
  tree Rounds(gimple_seq* code) {
    tree start = gimple_convert(
        code, word_,
        PHI_ARG_DEF_FROM_EDGE(strip_.counter, single_succ_edge(head_)));
    tree bound = gimple_convert(code, word_, strip_.bound);
    unsigned HOST_WIDE_INT step = absu_hwi(strip_.step);
    tree left = strip_.step > 0
                    ? gimple_build(code, MINUS_EXPR, word_, bound, start)
                    : gimple_build(code, MINUS_EXPR, word_, start, bound);
    const int twos = ctz_hwi(static_cast<HOST_WIDE_INT>(step));
    step >>= twos;
    if (step != 1) {
      const auto inverse = static_cast<HOST_WIDE_INT>(Inverse(step));
      left = gimple_build(
          code, MULT_EXPR, word_, left,
          build_int_cst(word_, sext_hwi(inverse, TYPE_PRECISION(word_))));
    }
    if (twos != 0) {
      left = gimple_build(code, RROTATE_EXPR, word_, left,
                          build_int_cst(integer_type_node, twos));
    }
    if (!strip_.tests_next) {
      left = gimple_build(code, PLUS_EXPR, word_, left, build_one_cst(word_));
    }
    return left;
  }

  // What the loop's head chose by the way in, the outer one's does.
  void DuplicatePhis() {
    edge in = single_succ_edge(before_);
    edge down = single_succ_edge(head_);
    edge back = make_edge(again_, head_, EDGE_FALLTHRU);
    gimple_seq code = nullptr;
    tree at_first = Rounds(&code);
    gsi_insert_seq_on_edge_immediate(in, code);
    for (auto at = gsi_start_phis(strip_.loop->header); !gsi_end_p(at);
         gsi_next(&at)) {
      gphi* phi = at.phi();
      tree value = copy_ssa_name(gimple_phi_result(phi));
      gphi* outer = create_phi_node(value, head_);
      const location_t location = gimple_phi_arg_location_from_edge(phi, down);
      add_phi_arg(outer, PHI_ARG_DEF_FROM_EDGE(phi, down), in, location);
      add_phi_arg(outer, PHI_ARG_DEF_FROM_EDGE(phi, strip_.stay), back,
                  gimple_phi_arg_location_from_edge(phi, strip_.stay));
      SET_PHI_ARG_DEF(phi, down->dest_idx, value);
    }
    CountRounds(at_first, in, back);
  }

  // The rounds left less one tell the last strip, or else those of a whole circle, 0,
  // would be few. Not the jumps back left, which may be the counter's next value: later
  // passes would take them for each other and keep both from round to round.
  void CountRounds(tree at_first, edge in, edge back) {
    tree rounds = make_ssa_name(word_);
    tree less = make_ssa_name(word_);
    left_ = make_ssa_name(word_);
    gphi* phi = create_phi_node(rounds, head_);
    add_phi_arg(phi, at_first, in, UNKNOWN_LOCATION);
    add_phi_arg(phi, less, back, UNKNOWN_LOCATION);
    auto at = gsi_last_bb(head_);
    gsi_insert_after(
        &at,
        gimple_build_assign(left_, MINUS_EXPR, rounds, build_one_cst(word_)),
        GSI_NEW_STMT);
    at = gsi_last_bb(again_);
    gsi_insert_after(
        &at,
        gimple_build_assign(less, MINUS_EXPR, left_,
                            build_int_cst(word_, strip_.rounds - 1)),
        GSI_NEW_STMT);
  }

  void Jump() {
    gcond* test =
        gimple_build_cond(GE_EXPR, left_, rounds_, NULL_TREE, NULL_TREE);
    auto at = gsi_last_bb(tail_);
    gsi_insert_after(&at, test, GSI_NEW_STMT);
    edge out = single_succ_edge(tail_);
    out->flags = (out->flags & ~EDGE_FALLTHRU) | EDGE_FALSE_VALUE;
    make_edge(tail_, again_, EDGE_TRUE_VALUE);
  }

  void Limit() {
    tree start = PHI_ARG_DEF_FROM_EDGE(strip_.counter, single_succ_edge(head_));
    tree type = TREE_TYPE(strip_.tested);
    const HOST_WIDE_INT steps = strip_.rounds - (strip_.tests_next ? 0 : 1);
    gimple_seq code = nullptr;
    // No pointer, for which what is behind an object would not do.
    tree end =
        gimple_convert(&code, type,
                       gimple_build(&code, PLUS_EXPR, word_,
                                    gimple_convert(&code, word_, start),
                                    build_int_cst(word_, strip_.step * steps)));
    tree is_last =
        gimple_build(&code, LT_EXPR, boolean_type_node, left_, rounds_);
    tree limit = make_ssa_name(type);
    gimple_seq_add_stmt(
        &code,
        gimple_build_assign(limit, COND_EXPR, is_last,
                            gimple_convert(&code, type, strip_.bound), end));
    auto at = gsi_last_bb(head_);
    gsi_insert_seq_after(&at, code, GSI_NEW_STMT);

    auto* test = as_a<gcond*>(last_stmt(strip_.leave->src));
    if (gimple_cond_lhs(test) == strip_.tested) {
      gimple_cond_set_rhs(test, limit);
    } else {
      gimple_cond_set_lhs(test, limit);
    }
    update_stmt(test);
  }

  void SetCounts() {
    const profile_count repeats =
        rounds_run_.apply_scale(1, static_cast<int64_t>(strip_.rounds));
    head_->count = entries_ + repeats;
    tail_->count = leaving_ + repeats;
    again_->count = repeats;
    edge down = find_edge(tail_, again_);
    down->probability = repeats.probability_in(tail_->count);
    EDGE_SUCC(tail_, 0)->probability = down->probability.invert();
    single_succ_edge(again_)->probability = profile_probability::always();
    // The strip's end is one more way out of the loop.
    edge leave = strip_.leave;
    edge stay =
        EDGE_SUCC(leave->src, EDGE_SUCC(leave->src, 0) == leave ? 1 : 0);
    leave->probability = tail_->count.probability_in(leave->src->count);
    stay->probability = leave->probability.invert();
  }

  Strip strip_;
  tree word_;
  tree rounds_;
  tree left_ = NULL_TREE;
  basic_block before_ = nullptr;
  basic_block head_ = nullptr;
  basic_block tail_ = nullptr;
  basic_block again_ = nullptr;
  profile_count entries_;
  profile_count rounds_run_;
  profile_count leaving_;
};

class StripPass final : public gimple_opt_pass {
 public:
  static constexpr pass_data kData = {GIMPLE_PASS,
                                      "yamanote_strip",
                                      OPTGROUP_LOOP,
                                      TV_NONE,
                                      PROP_ssa | PROP_cfg,
                                      0,
                                      0,
                                      0,
                                      0};

  StripPass(gcc::context* context, Unit* unit)
      : gimple_opt_pass(kData, context), unit_(unit) {}

  bool gate(function* fun) final {
    return optimize != 0 && !optimize_debug && MayHaveProbes(*unit_, fun->decl);
  }

  unsigned int execute(function* fun) final {
    if (loops_for_fn(fun) == nullptr) return 0;
    calculate_dominance_info(CDI_DOMINATORS);
    if (loops_state_satisfies_p(LOOPS_NEED_FIXUP)) fix_loop_structure(nullptr);
    std::vector<Strip> strips;
#if BUILDING_GCC_MAJOR >= 12
    for (class loop* loop : loops_list(fun, LI_ONLY_INNERMOST)) {
#else
    class loop* loop = nullptr;
    for (loop_iterator it(fun, &loop, LI_ONLY_INNERMOST); loop != nullptr;
         loop = it.next()) {
#endif
      if (std::optional<Strip> strip = FindStrip(loop))
        strips.push_back(*strip);
    }
    if (strips.empty()) return 0;
    for (const Strip& strip : strips) Cutter(strip).Cut();
    free_dominance_info(CDI_DOMINATORS);
    calculate_dominance_info(CDI_DOMINATORS);
    loops_state_set(LOOPS_NEED_FIXUP);
    fix_loop_structure(nullptr);
    return 0;
  }

 private:
  Unit* unit_;
};

}  // namespace

opt_pass* MakeStripPass(gcc::context* context, Unit* unit) {
  return new StripPass(context, unit);
}

}  // namespace yamanote::instrument
