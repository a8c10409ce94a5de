// strip_search.cc - finds the loops that can be cut into strips; see strip.h.

#include "instrument/gcc/strip_search.h"

#include <algorithm>

// clang-format off: after the compiler's other headers, in this order.
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

}  // namespace

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

}  // namespace yamanote::instrument
