// placement.cc - cuts loops and ways to calls, as seldom as possible.

#include "instrument/gcc/placement.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace yamanote::instrument {
namespace {

// More calls than this share one probe above all of them.
constexpr size_t kMaxEntryBlocks = 4;

// How often a block runs, in a unit of its own; 0 if nobody knows.
double Count(basic_block block) {
  return block->count.initialized_p()
             ? static_cast<double>(block->count.to_gcov_type())
             : 0.0;
}

double Count(const Placement::Blocks& blocks) {
  double sum = 0;
  for (basic_block block : blocks) sum += Count(block);
  return sum;
}

class Placer {
 public:
  Placer(function* fun, const Unit& unit)
      : fun_(fun), unit_(unit), state_(last_basic_block_for_fn(fun)) {}

  Placement Place() {
    LookAtCalls();
    FindWaysBack();
    for (basic_block head : heads_) PlaceLoop(head);
    PlaceEntry();
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

  State& Of(basic_block block) { return state_[block->index]; }

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
        if (AlwaysProbes(unit_, callee)) {
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
    for (int i = 0; i < found; ++i) {
      Search(BASIC_BLOCK_FOR_FN(fun_, order[i]));
    }
    basic_block block;
    FOR_EACH_BB_FN(block, fun_) Search(block);
  }

  void Search(basic_block from) {
    struct Step {
      basic_block block;
      unsigned next;
    };
    if (Of(from).visit != Visit::kNot || Of(from).always_probes) return;
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
      if (target == EXIT_BLOCK_PTR_FOR_FN(fun_) || Of(target).always_probes) {
        continue;
      }
      if (Of(target).visit == Visit::kOpen) {
        AddWayBack(source, target);
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
  bool IsShort(const Placement::Blocks& sources) {
    return std::all_of(sources.begin(), sources.end(), [&](basic_block source) {
      return ways_back_from_[source] == 1 && JUMP_P(BB_END(source)) &&
             unit_.short_loop_jumps.count(INSN_UID(BB_END(source))) != 0;
    });
  }

  void PlaceLoop(basic_block head) {
    const Placement::Blocks& sources = ways_back_[head];
    if (IsShort(sources)) {
      ++placement_.short_loops;
      return;
    }
    std::vector<Placement::Blocks> cuts = {{head}, sources};
    if (Count(sources) < Count(head)) std::swap(cuts[0], cuts[1]);
    for (basic_block block : cuts[0]) Of(block).cut = true;
    placement_.loops.push_back(std::move(cuts));
  }

  void PlaceEntry() {
    Placement::Blocks calls;
    Placement::Blocks work = {ENTRY_BLOCK_PTR_FOR_FN(fun_)};
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
    if (calls.size() <= kMaxEntryBlocks && Count(calls) < Count(best)) {
      placement_.entry.push_back(calls);
    }
    placement_.entry.push_back({best});
    if (best != first) placement_.entry.push_back({first});
  }

  function* fun_;
  const Unit& unit_;
  std::vector<State> state_;
  std::vector<basic_block> heads_;
  std::unordered_map<basic_block, Placement::Blocks> ways_back_;
  std::unordered_map<basic_block, int> ways_back_from_;
  Placement placement_;
};

}  // namespace

Placement PlaceProbes(function* fun, const Unit& unit) {
  return Placer(fun, unit).Place();
}

}  // namespace yamanote::instrument
