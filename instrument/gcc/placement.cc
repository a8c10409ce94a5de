// placement.cc - cuts loops and ways to calls, as seldom as possible.

#include "instrument/gcc/placement.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace yamanote::instrument {
namespace {

// More calls than this share one probe above all of them.
constexpr size_t kMaxEntryBlocks = 4;

// In a function with more loops than this, needless probes are not looked for:
// that takes time in proportion to loops * blocks.
constexpr size_t kMaxPruned = 200;

using Blocks = Placement::Blocks;

// How often a block runs, in a unit of its own; 0 if nobody knows.
double Count(basic_block block) {
  return block->count.initialized_p()
             ? static_cast<double>(block->count.to_gcov_type())
             : 0.0;
}

double Count(const Blocks& blocks) {
  double sum = 0;
  for (basic_block block : blocks) sum += Count(block);
  return sum;
}

// How a function's calls of itself are taken.
enum class SelfCalls {
  kOrdinary,    // As calls that need a probe.
  kAlwaysProbe  // As probes: then there must be one at the very entry.
};

class Placer {
 public:
  Placer(function* fun, const Unit& unit,
         const std::function<bool(basic_block)>& has_place,
         SelfCalls self_calls)
      : fun_(fun),
        unit_(unit),
        has_place_(has_place),
        self_calls_(self_calls),
        state_(last_basic_block_for_fn(fun)) {}

  Placement Place() {
    LookAtCalls();
    FindWaysBack();
    for (basic_block head : heads_) PlaceLoop(head);
    Prune();
    if (self_calls_ == SelfCalls::kAlwaysProbe) {
      placement_.entry = {single_succ(ENTRY_BLOCK_PTR_FOR_FN(fun_))};
    } else {
      PlaceEntry();
    }
    for (const Blocks& cut : cuts_) AddTo(&placement_.loops, cut);
    return std::move(placement_);
  }

 private:
  enum class Visit : char { kNot, kOpen, kDone };

  struct State {
    bool always_probes = false;  // By a call.
    bool calls = false;          // What is no leaf and has no probe for sure.
    bool cut = false;            // By a loop's probe, or always_probes.
    Visit visit = Visit::kNot;
  };

  State& Of(basic_block block) {
    return state_[static_cast<size_t>(block->index)];
  }

  void LookAtCalls() {
    basic_block block;
    FOR_EACH_BB_FN(block, fun_) {
      State& state = Of(block);
      rtx_insn* insn;
      FOR_BB_INSNS(block, insn) {
        if (!CALL_P(insn)) continue;
        tree callee = get_call_fndecl(insn);
        if (IsLeafCall(unit_, callee)) continue;
        placement_.has_calls = true;
        const bool self = callee == fun_->decl;
        if (self) placement_.calls_itself = true;
        if (AlwaysProbes(unit_, callee) || IsUnlock(insn) ||
            (self && self_calls_ == SelfCalls::kAlwaysProbe)) {
          state.always_probes = true;
          continue;
        }
        // What never comes back is on no cycle.
        if (!find_reg_note(insn, REG_NORETURN, NULL_RTX)) state.calls = true;
      }
      state.cut = state.always_probes;
    }
  }

  // Depth first from the entry, then from what only calls with probes lead to.
  // Any cycle without such a call has an edge to a block that is still open.
  void FindWaysBack() {
    const int blocks = n_basic_blocks_for_fn(fun_);
    std::vector<int> order(blocks);
    const int found =
        pre_and_rev_post_order_compute(nullptr, order.data(), false);
    const auto add = [this](basic_block source, basic_block head) {
      AddWayBack(source, head);
    };
    for (int i = 0; i < found; ++i) {
      basic_block block = BASIC_BLOCK_FOR_FN(fun_, order[i]);
      if (block->index >= NUM_FIXED_BLOCKS) Search(block, add);
    }
    basic_block block;
    FOR_EACH_BB_FN(block, fun_) Search(block, add);
  }

  // Whether a cycle is left that neither is short nor meets a cut block.
  bool HasCycle() {
    for (State& state : state_) state.visit = Visit::kNot;
    bool found = false;
    const auto note = [&found](basic_block, basic_block) { found = true; };
    basic_block block;
    FOR_EACH_BB_FN(block, fun_) {
      Search(block, note);
      if (found) return true;
    }
    return false;
  }

  // Calls `way_back(source, target)` for each way back that is reached from
  // `from` without entering a block that is cut or repeating a short loop.
  template <typename WayBack>
  void Search(basic_block from, WayBack way_back) {
    struct Step {
      basic_block block;
      unsigned next;
    };
    if (Of(from).visit != Visit::kNot || Of(from).cut) return;
    std::vector<Step> path = {{from, 0}};
    Of(from).visit = Visit::kOpen;
    while (!path.empty()) {
      Step& step = path.back();
      if (step.next == EDGE_COUNT(step.block->succs)) {
        Of(step.block).visit = Visit::kDone;
        path.pop_back();
        continue;
      }
      basic_block source = step.block;
      basic_block target = EDGE_SUCC(source, step.next++)->dest;
      if (target == EXIT_BLOCK_PTR_FOR_FN(fun_) || Of(target).cut ||
          short_ways_.count({source, target}) != 0) {
        continue;
      }
      if (Of(target).visit == Visit::kOpen) {
        way_back(source, target);
      } else if (Of(target).visit == Visit::kNot) {
        Of(target).visit = Visit::kOpen;
        path.push_back({target, 0});
      }
    }
  }

  void AddWayBack(basic_block source, basic_block head) {
    auto [at, added] = ways_back_.try_emplace(head);
    if (added) heads_.push_back(head);
    if (std::find(at->second.begin(), at->second.end(), source) ==
        at->second.end()) {
      at->second.push_back(source);
    }
    ++ways_back_from_[source];
  }

  // A jump that now ends two loops was noted for one of them, maybe.
  bool IsShort(const Blocks& sources) {
    return std::all_of(sources.begin(), sources.end(), [&](basic_block source) {
      return ways_back_from_[source] == 1 && JUMP_P(BB_END(source)) &&
             unit_.short_loop_jumps.count(INSN_UID(BB_END(source))) != 0;
    });
  }

  void PlaceLoop(basic_block head) {
    const Blocks& sources = ways_back_[head];
    if (IsShort(sources)) {
      ++placement_.short_loops;
      for (basic_block source : sources) short_ways_.insert({source, head});
      return;
    }
    std::vector<Blocks> choices = {{head}, sources};
    if (Count(sources) < Count(head)) std::swap(choices[0], choices[1]);
    for (Blocks& choice : choices) {
      if (std::all_of(choice.begin(), choice.end(), has_place_)) {
        cuts_.push_back(std::move(choice));
        return;
      }
    }
    ++placement_.uncut_loops;
  }

  // One cut may share a block with another one.
  static void AddTo(Blocks* blocks, const Blocks& more) {
    for (basic_block block : more) {
      if (std::find(blocks->begin(), blocks->end(), block) == blocks->end()) {
        blocks->push_back(block);
      }
    }
  }

  // Drops cuts that others make needless, as that of a loop each round of which
  // meets the probe of an inner one; the dearest first.
  void Prune() {
    SetCuts(cuts_.size());
    if (cuts_.size() < 2 || cuts_.size() > kMaxPruned || HasCycle()) return;
    std::stable_sort(cuts_.begin(), cuts_.end(),
                     [](const Blocks& one, const Blocks& other) {
                       return Count(one) > Count(other);
                     });
    for (size_t i = 0; i < cuts_.size();) {
      SetCuts(i);
      if (HasCycle()) {
        ++i;
      } else {
        cuts_.erase(cuts_.begin() + static_cast<ptrdiff_t>(i));
      }
    }
    SetCuts(cuts_.size());
  }

  // Marks what is cut by calls and by all loops except number `left_out`.
  void SetCuts(size_t left_out) {
    for (State& state : state_) state.cut = state.always_probes;
    for (size_t i = 0; i < cuts_.size(); ++i) {
      if (i == left_out) continue;
      for (basic_block block : cuts_[i]) Of(block).cut = true;
    }
  }

  void PlaceEntry() {
    Blocks calls;
    Blocks work = {ENTRY_BLOCK_PTR_FOR_FN(fun_)};
    std::unordered_set<basic_block> seen(work.begin(), work.end());
    while (!work.empty()) {
      basic_block block = work.back();
      work.pop_back();
      if (block->index >= NUM_FIXED_BLOCKS) {
        const State& state = Of(block);
        // A loop's probe is above the block's calls, or, in a latch, may be.
        if (state.cut && !state.always_probes) continue;
        if (state.calls) {
          calls.push_back(block);
          continue;
        }
        if (state.always_probes) continue;
      }
      edge way;
      edge_iterator at;
      FOR_EACH_EDGE(way, at, block->succs) {
        if (way->dest != EXIT_BLOCK_PTR_FOR_FN(fun_) &&
            seen.insert(way->dest).second) {
          work.push_back(way->dest);
        }
      }
    }
    if (calls.empty()) return;

    basic_block above = calls[0];
    for (basic_block block : calls) {
      above = nearest_common_dominator(CDI_DOMINATORS, above, block);
    }
    basic_block best = above;
    for (basic_block block = above;
         block != nullptr && block != ENTRY_BLOCK_PTR_FOR_FN(fun_);
         block = get_immediate_dominator(CDI_DOMINATORS, block)) {
      if (Count(block) < Count(best)) best = block;
    }
    basic_block first = single_succ(ENTRY_BLOCK_PTR_FOR_FN(fun_));
    if (best == ENTRY_BLOCK_PTR_FOR_FN(fun_)) best = first;
    const bool spread = calls.size() <= kMaxEntryBlocks &&
                        Count(calls) < Count(best) &&
                        std::all_of(calls.begin(), calls.end(), has_place_);
    if (!spread && !has_place_(best)) best = first;
    placement_.entry = spread ? calls : Blocks{best};
  }

  function* fun_;
  const Unit& unit_;
  const std::function<bool(basic_block)>& has_place_;
  const SelfCalls self_calls_;
  std::vector<State> state_;
  Blocks heads_;
  std::vector<Blocks> cuts_;  // One for each loop.
  std::unordered_map<basic_block, Blocks> ways_back_;
  std::unordered_map<basic_block, int> ways_back_from_;
  std::set<std::pair<basic_block, basic_block>> short_ways_;
  Placement placement_;
};

}  // namespace

Placement PlaceProbes(function* fun, const Unit& unit,
                      const std::function<bool(basic_block)>& has_place) {
  Placement ordinary =
      Placer(fun, unit, has_place, SelfCalls::kOrdinary).Place();
  if (!ordinary.calls_itself || !decl_binds_to_current_def_p(fun->decl)) {
    return ordinary;
  }
  // After inlining into itself a function may have many loops around calls of
  // itself. One probe at its entry can stand for all of theirs.
  Placement at_entry =
      Placer(fun, unit, has_place, SelfCalls::kAlwaysProbe).Place();
  const auto cost = [](const Placement& placement) {
    return Count(placement.loops) + Count(placement.entry);
  };
  return cost(at_entry) < cost(ordinary) ? at_entry : ordinary;
}

}  // namespace yamanote::instrument
