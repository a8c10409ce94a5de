// strip.cc - cuts small counted loops into strips; see strip.h.

#include "instrument/gcc/strip.h"

#include <algorithm>
#include <optional>
#include <vector>

// clang-format off: after the compiler's other headers, in this order.
#include <gimple-fold.h>
#include <internal-fn.h>
#include <tree-cfg.h>
// clang-format on

namespace yamanote::instrument {
namespace {

// What the rounds of a strip may weigh together. ShortLoopsPass allows 512
// instructions, and a statement is at times two of them.
constexpr int kStripWeight = 480;

// A processor that knows as many of the last branches tells a strip's last round
// (Intel Cascade Lake, one store per round, 2026-11-26: strips of 64 rounds took 7%
// more time than the loop without probes, 80 rounds 43%, 512 rounds 3%).
constexpr int kMostRounds = 64;

// Fewer rounds than this do not pay for the outer loop.
constexpr int kFewestRounds = 8;

// A division or a square root takes as long as so many other statements.
constexpr int kSlowWeight = 16;

// So does, on the way to a cache that others share, a load from where no processor
// looks ahead: the next element of a list.
constexpr int kMissWeight = 32;

constexpr HOST_WIDE_INT kLongestStep = 1 << 20;

struct Strip {
  class loop* loop = nullptr;
  edge stay = nullptr;   // From the exit test to the header.
  edge leave = nullptr;  // From the exit test.
  gphi* counter = nullptr;
  tree tested = NULL_TREE;  // What the exit test compares
  tree bound = NULL_TREE;   // with what the loop does not change.
  bool tests_next = false;  // `tested` is of the counter's next value.
  HOST_WIDE_INT step = 0;
  int rounds = 0;
};

// Whether `code` by `divisor` becomes a division.
bool Divides(tree_code code, tree divisor) {
  switch (code) {
    case RDIV_EXPR:
      return true;
    case TRUNC_DIV_EXPR:
    case TRUNC_MOD_EXPR:
    case EXACT_DIV_EXPR:
      return TREE_CODE(divisor) != INTEGER_CST;
    default:
      return false;
  }
}

// Returns some instructions that `statement` may become; nothing if it may be a call
// or a loop.
std::optional<int> Weight(gimple* statement) {
  switch (gimple_code(statement)) {
    case GIMPLE_DEBUG:
    case GIMPLE_LABEL:
    case GIMPLE_NOP:
    case GIMPLE_PREDICT:
      return 0;
    case GIMPLE_COND:
      return 2;
    case GIMPLE_ASSIGN: {
      const machine_mode mode =
          TYPE_MODE(TREE_TYPE(gimple_assign_lhs(statement)));
      // A copy of a structure.
      if (mode == BLKmode) return std::nullopt;
      if (gimple_num_ops(statement) > 2 &&
          Divides(gimple_assign_rhs_code(statement),
                  gimple_assign_rhs2(statement))) {
        // One of 128 bits is a call.
        if (mode == TImode) return std::nullopt;
        return kSlowWeight;
      }
      return mode == TImode ? 3 : 1;
    }
    case GIMPLE_CALL: {
      if (!gimple_call_internal_p(statement)) return std::nullopt;
      const internal_fn operation = gimple_call_internal_fn(statement);
      if (operation == IFN_SQRT) return kSlowWeight;
      // What a processor has and the language has not: .FMA, .VCOND.
      if (direct_internal_fn_p(operation)) return 4;
      return std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

bool IsInvariant(class loop* loop, tree value) {
  if (TREE_CODE(value) != SSA_NAME) return is_gimple_min_invariant(value);
  if (SSA_NAME_OCCURS_IN_ABNORMAL_PHI(value)) return false;
  basic_block block = gimple_bb(SSA_NAME_DEF_STMT(value));
  return block == nullptr || !flow_bb_inside_loop_p(loop, block);
}

// Whether `next` is `value` and a constant, to be in `step`.
bool Steps(tree next, tree value, HOST_WIDE_INT* step) {
  if (TREE_CODE(next) != SSA_NAME) return false;
  auto* sum = dyn_cast<gassign*>(SSA_NAME_DEF_STMT(next));
  if (sum == nullptr) return false;
  const tree_code code = gimple_assign_rhs_code(sum);
  if ((code != PLUS_EXPR && code != POINTER_PLUS_EXPR) ||
      gimple_assign_rhs1(sum) != value ||
      TREE_CODE(gimple_assign_rhs2(sum)) != INTEGER_CST) {
    return false;
  }
  *step = wi::sext(wi::to_wide(gimple_assign_rhs2(sum)),
                   TYPE_PRECISION(TREE_TYPE(value)))
              .to_shwi();
  return *step != 0 && *step >= -kLongestStep && *step <= kLongestStep;
}

// Whether an address of `value` is one that the processor foresees: what the loop does
// not change, a sum that grows by a constant, or what is reckoned from such ones.
bool IsForeseen(class loop* loop, tree value, int depth = 4) {
  if (IsInvariant(loop, value)) return true;
  gimple* origin = SSA_NAME_DEF_STMT(value);
  if (depth == 0 || gimple_vuse(origin) != NULL_TREE) return false;
  if (auto* phi = dyn_cast<gphi*>(origin)) {
    HOST_WIDE_INT step = 0;
    return gimple_bb(phi) == loop->header &&
           Steps(PHI_ARG_DEF_FROM_EDGE(phi, loop_latch_edge(loop)), value,
                 &step);
  }
  ssa_op_iter at;
  tree used;
  FOR_EACH_SSA_TREE_OPERAND(used, origin, at, SSA_OP_USE) {
    if (!IsForeseen(loop, used, depth - 1)) return false;
  }
  return true;
}

// Whether the next instructions may have to wait for what `statement` reads.
bool MayMiss(class loop* loop, gimple* statement) {
  if (!gimple_assign_load_p(statement)) return false;
  ssa_op_iter at;
  tree used;
  FOR_EACH_SSA_TREE_OPERAND(used, statement, at, SSA_OP_USE) {
    if (!IsForeseen(loop, used)) return true;
  }
  return false;
}

// The same for all of a round; nothing if there is a way out other than `leave`.
std::optional<int> Weight(class loop* loop, edge leave) {
  int sum = 0;
  basic_block* blocks = get_loop_body(loop);
  bool known = true;
  for (unsigned i = 0; known && i < loop->num_nodes; ++i) {
    for (auto at = gsi_start_bb(blocks[i]); known && !gsi_end_p(at);
         gsi_next(&at)) {
      const std::optional<int> weight = Weight(gsi_stmt(at));
      known = weight.has_value();
      if (known) sum += *weight;
      if (MayMiss(loop, gsi_stmt(at))) sum += kMissWeight;
    }
    edge way;
    edge_iterator at;
    FOR_EACH_EDGE(way, at, blocks[i]->succs) {
      // Most loops with another way out take that soon.
      if ((way->flags & EDGE_COMPLEX) ||
          (way != leave && !flow_bb_inside_loop_p(loop, way->dest))) {
        known = false;
      }
    }
  }
  free(blocks);
  return known ? std::optional<int>(sum) : std::nullopt;
}

bool IsWord(tree type) {
  return (POINTER_TYPE_P(type) || TREE_CODE(type) == INTEGER_TYPE) &&
         (TYPE_PRECISION(type) == 32 || TYPE_PRECISION(type) == 64) &&
         TYPE_PRECISION(type) == GET_MODE_PRECISION(SCALAR_INT_TYPE_MODE(type));
}

// Finds the counter that the exit test compares `tested` of.
bool FindCounter(tree tested, tree bound, Strip* strip) {
  if (TREE_CODE(tested) != SSA_NAME || !IsWord(TREE_TYPE(tested)) ||
      !IsInvariant(strip->loop, bound)) {
    return false;
  }
  // The test may see but half of the counter.
  tree counted = tested;
  auto* half = dyn_cast<gassign*>(SSA_NAME_DEF_STMT(tested));
  if (half != nullptr && CONVERT_EXPR_CODE_P(gimple_assign_rhs_code(half)) &&
      TREE_CODE(gimple_assign_rhs1(half)) == SSA_NAME &&
      IsWord(TREE_TYPE(gimple_assign_rhs1(half))) &&
      TYPE_PRECISION(TREE_TYPE(gimple_assign_rhs1(half))) >=
          TYPE_PRECISION(TREE_TYPE(tested))) {
    counted = gimple_assign_rhs1(half);
  }
  for (auto at = gsi_start_phis(strip->loop->header); !gsi_end_p(at);
       gsi_next(&at)) {
    gphi* phi = at.phi();
    tree value = gimple_phi_result(phi);
    tree next = PHI_ARG_DEF_FROM_EDGE(phi, strip->stay);
    if ((counted != next && counted != value) ||
        !Steps(next, value, &strip->step)) {
      continue;
    }
    // In 32 bits, an even step may take its counter full circle in the time that a
    // program runs; the rounds that are left would go on beyond it.
    if (TYPE_PRECISION(TREE_TYPE(tested)) < 64 && strip->step % 2 == 0)
      continue;
    strip->counter = phi;
    strip->tested = tested;
    strip->bound = bound;
    strip->tests_next = counted == next;
    return true;
  }
  return false;
}

bool HasAbnormalValues(class loop* loop) {
  for (auto at = gsi_start_phis(loop->header); !gsi_end_p(at); gsi_next(&at)) {
    if (SSA_NAME_OCCURS_IN_ABNORMAL_PHI(gimple_phi_result(at.phi()))) {
      return true;
    }
    for (unsigned i = 0; i < gimple_phi_num_args(at.phi()); ++i) {
      tree value = gimple_phi_arg_def(at.phi(), i);
      if (TREE_CODE(value) == SSA_NAME &&
          SSA_NAME_OCCURS_IN_ABNORMAL_PHI(value)) {
        return true;
      }
    }
  }
  return false;
}

std::optional<Strip> FindStrip(class loop* loop) {
  if (loop->inner != nullptr || loop->latch == nullptr ||
      !optimize_loop_for_speed_p(loop) || HasAbnormalValues(loop)) {
    return std::nullopt;
  }
  edge entry;
  edge_iterator entries;
  FOR_EACH_EDGE(entry, entries, loop->header->preds) {
    if (entry->flags & EDGE_COMPLEX) return std::nullopt;
  }
  Strip strip;
  strip.loop = loop;
  strip.stay = loop_latch_edge(loop);
  // A latch may be an empty block behind the test.
  basic_block end = loop->latch;
  auto* test = safe_dyn_cast<gcond*>(last_stmt(end));
  if (test == nullptr && single_pred_p(end) && single_succ_p(end) &&
      last_stmt(end) == nullptr) {
    end = single_pred(end);
    test = safe_dyn_cast<gcond*>(last_stmt(end));
  }
  if (test == nullptr) return std::nullopt;
  edge when_true;
  edge when_false;
  extract_true_false_edges_from_block(end, &when_true, &when_false);
  switch (gimple_cond_code(test)) {
    case NE_EXPR:
      strip.leave = when_false;
      break;
    case EQ_EXPR:
      strip.leave = when_true;
      break;
    default:
      return std::nullopt;
  }
  if (flow_bb_inside_loop_p(loop, strip.leave->dest)) return std::nullopt;
  if (!FindCounter(gimple_cond_lhs(test), gimple_cond_rhs(test), &strip) &&
      !FindCounter(gimple_cond_rhs(test), gimple_cond_lhs(test), &strip)) {
    return std::nullopt;
  }
  const std::optional<int> weight = Weight(loop, strip.leave);
  if (!weight || *weight * kFewestRounds > kStripWeight) return std::nullopt;
  strip.rounds = std::min(kMostRounds, kStripWeight / *weight);
  const HOST_WIDE_INT most = get_max_loop_iterations_int(loop);
  if (most >= 0 && most < strip.rounds) return std::nullopt;
  return strip;
}

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
    edge entry = Entry(loop);
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
    for (class loop* loop : loops_list(fun, LI_ONLY_INNERMOST)) {
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
