// guard.cc - saves, raises and restores the guard in functions with thread-locals.

#include "instrument/gcc/guard.h"

#include <string>
#include <string_view>

#include "instrument/gcc/copies.h"

namespace yamanote::instrument {
namespace {

constexpr char kAttribute[] = "yamanote_no_preempt";

// The compiler's garbage collector knows of it, see RegisterRoots().
tree guard_declaration = NULL_TREE;

tree GuardDeclaration(TlsModel model) {
  if (guard_declaration != NULL_TREE) return guard_declaration;
  tree name = get_identifier("yamanote_preempt_guard");
  tree declaration = build_decl(
      BUILTINS_LOCATION, VAR_DECL, name,
      build_qualified_type(pointer_sized_int_node, TYPE_QUAL_VOLATILE));
  DECL_EXTERNAL(declaration) = 1;
  TREE_PUBLIC(declaration) = 1;
  TREE_USED(declaration) = 1;
  TREE_THIS_VOLATILE(declaration) = 1;
  TREE_SIDE_EFFECTS(declaration) = 1;
  DECL_ARTIFICIAL(declaration) = 1;
  DECL_IGNORED_P(declaration) = 1;
  SET_DECL_ASSEMBLER_NAME(declaration, name);
  set_decl_tls_model(declaration, model == TlsModel::kLocalExec
                                      ? TLS_MODEL_LOCAL_EXEC
                                      : TLS_MODEL_INITIAL_EXEC);
  guard_declaration = declaration;
  return declaration;
}

// Whether what has this type is memory that %fs finds, or points there (__seg_fs).
bool IsThreadsSegment(tree type) {
  if (type == NULL_TREE) return false;
  return TYPE_ADDR_SPACE(type) == ADDR_SPACE_SEG_FS ||
         (POINTER_TYPE_P(type) &&
          TYPE_ADDR_SPACE(TREE_TYPE(type)) == ADDR_SPACE_SEG_FS);
}

// walk_tree() callback: stops at a thread_local variable.
tree FindThreadLocal(tree* operand, int* walk_subtrees, void*) {
  if (TYPE_P(*operand)) {
    *walk_subtrees = 0;
    return NULL_TREE;
  }
  if (IsThreadsSegment(TREE_TYPE(*operand))) return *operand;
  if (VAR_P(*operand) && DECL_THREAD_LOCAL_P(*operand)) return *operand;
  return NULL_TREE;
}

// The same for the operands of a statement.
tree FindThreadLocalOperand(tree* operand, int* walk_subtrees, void* data) {
  auto* info = static_cast<walk_stmt_info*>(data);
  return FindThreadLocal(operand, walk_subtrees, info->info);
}

// Whether `assembly` uses %fs: a segment override in either syntax, or the register
// itself. A probe by hand finds the flag so, and keeps nothing of the thread's.
bool UsesThreadsSegment(const gasm* assembly) {
  std::string text = gimple_asm_string(assembly);
  for (char& c : text) c = TOLOWER(c);
  return (text.find("fs:") != std::string::npos ||
          text.find("fsbase") != std::string::npos) &&
         text.find("yamanote_preempt_probe") == std::string::npos;
}

bool UsesThreadLocal(gimple* statement) {
  if (is_gimple_debug(statement)) return false;
  const auto* assembly = dyn_cast<gasm*>(statement);
  if (assembly != nullptr && UsesThreadsSegment(assembly)) return true;
  if (is_gimple_call(statement) &&
      GivesThreadLocal(gimple_call_fndecl(statement))) {
    return true;
  }
  walk_stmt_info info = {};
  return walk_gimple_op(statement, FindThreadLocalOperand, &info) != NULL_TREE;
}

bool UsesThreadLocal(gphi* phi) {
  for (unsigned i = 0; i < gimple_phi_num_args(phi); ++i) {
    tree argument = gimple_phi_arg_def(phi, i);
    if (walk_tree(&argument, FindThreadLocal, nullptr, nullptr) != NULL_TREE) {
      return true;
    }
  }
  return false;
}

bool UsesThreadLocal(function* fun) {
  basic_block block;
  FOR_EACH_BB_FN(block, fun) {
    for (auto at = gsi_start_phis(block); !gsi_end_p(at); gsi_next(&at)) {
      if (UsesThreadLocal(at.phi())) return true;
    }
    for (auto at = gsi_start_bb(block); !gsi_end_p(at); gsi_next(&at)) {
      if (UsesThreadLocal(gsi_stmt(at))) return true;
    }
  }
  return false;
}

// A coroutine resumes the next one by a call that must be a jump, or a chain of
// them would fill the stack.
bool IsCoroutineBody(tree function) {
  std::string_view name = IDENTIFIER_POINTER(DECL_ASSEMBLER_NAME(function));
  if (name.ends_with(kCopySuffix)) name.remove_suffix(kCopySuffix.size());
  return name.ends_with(".actor");
}

class GuardPass final : public gimple_opt_pass {
 public:
  static constexpr pass_data kData = {
      GIMPLE_PASS, "yamanote_guard", OPTGROUP_NONE, TV_NONE, 0, 0, 0, 0, 0};

  GuardPass(gcc::context* context, Unit* unit)
      : gimple_opt_pass(kData, context), unit_(unit) {}

  bool gate(function* fun) final { return !IsRuntimeFunction(fun->decl); }

  unsigned int execute(function* fun) final {
    FunctionFacts& facts = unit_->functions[DECL_UID(fun->decl)];
    facts = {};
    unit_->short_loop_jumps.clear();
    const char* why = nullptr;
    if (lookup_attribute(kAttribute, DECL_ATTRIBUTES(fun->decl))) {
      why = "attribute";
    } else if (UsesThreadLocal(fun)) {
      why = "thread_local";
    }
    if (why == nullptr) return 0;
    facts.guarded = true;
    // Nothing below it has a probe, nor has it: the guard would guard nothing.
    facts.leaf = !CallsMore(fun);
    if (unit_->options.report) {
      fprintf(stderr, "yamanote: %s: no probes (%s), %s\n",
              IDENTIFIER_POINTER(DECL_ASSEMBLER_NAME(fun->decl)), why,
              facts.leaf ? "a leaf" : "guarded");
    }
    if (facts.leaf) return 0;
    InsertGuard(fun);
    return TODO_update_ssa_only_virtuals;
  }

 private:
  bool CallsMore(function* fun) const {
    basic_block block;
    FOR_EACH_BB_FN(block, fun) {
      for (auto at = gsi_start_bb(block); !gsi_end_p(at); gsi_next(&at)) {
        gimple* statement = gsi_stmt(at);
        if (gimple_code(statement) == GIMPLE_ASM) return true;
        if (is_gimple_call(statement) && !gimple_call_internal_p(statement) &&
            !IsLeafCall(*unit_, gimple_call_fndecl(statement))) {
          return true;
        }
      }
    }
    return false;
  }

  void InsertGuard(function* fun) const {
    tree guard = GuardDeclaration(unit_->options.tls);
    tree word = pointer_sized_int_node;
    // Its address is what tells this frame from those above and below.
    tree slot = create_tmp_var(char_type_node, "yamanote_frame");
    TREE_ADDRESSABLE(slot) = 1;
    TREE_THIS_VOLATILE(slot) = 1;
    tree saved = make_ssa_name(word);
    tree own = make_ssa_name(word);
    tree raised = make_ssa_name(word);

    gimple_seq entry = nullptr;
    gimple_seq_add_stmt(&entry, gimple_build_assign(saved, guard));
    gimple_seq_add_stmt(
        &entry, gimple_build_assign(own, NOP_EXPR, build_fold_addr_expr(slot)));
    gimple_seq_add_stmt(&entry,
                        gimple_build_assign(raised, MAX_EXPR, saved, own));
    gimple_seq_add_stmt(&entry, gimple_build_assign(guard, raised));
    gsi_insert_seq_on_edge_immediate(
        single_succ_edge(ENTRY_BLOCK_PTR_FOR_FN(fun)), entry);

    const bool jumps_on = IsCoroutineBody(fun->decl);
    basic_block block;
    FOR_EACH_BB_FN(block, fun) {
      for (auto at = gsi_start_bb(block); !gsi_end_p(at); gsi_next(&at)) {
        gimple* statement = gsi_stmt(at);
        bool leaves = gimple_code(statement) == GIMPLE_RETURN;
        if (auto* call = dyn_cast<gcall*>(statement)) {
          // Whatever this function calls is guarded as well, so it must come
          // back here first.
          if (gimple_call_must_tail_p(call) ||
              (jumps_on && gimple_call_tail_p(call))) {
            leaves = true;
          } else {
            gimple_call_set_tail(call, false);
          }
        }
        if (leaves) {
          gsi_insert_before(&at, gimple_build_assign(guard, saved),
                            GSI_SAME_STMT);
        }
      }
    }
  }

  Unit* unit_;
};

// The attribute's handler. What has it stays a function of its own, or else it
// would lose the attribute in the function that it is inlined into.
tree HandleAttribute(tree* node, tree name, tree, int, bool* no_add) {
  if (TREE_CODE(*node) != FUNCTION_DECL) {
    warning(OPT_Wattributes, "%qE attribute applies to functions only", name);
    *no_add = true;
    return NULL_TREE;
  }
  DECL_UNINLINABLE(*node) = 1;
  for (const char* also : {"noinline", "noclone", "no_icf"}) {
    DECL_ATTRIBUTES(*node) =
        tree_cons(get_identifier(also), NULL_TREE, DECL_ATTRIBUTES(*node));
  }
  return NULL_TREE;
}

const attribute_spec kAttributeSpec = {
    kAttribute, 0, 0, true, false, false, false, HandleAttribute, nullptr,
};

}  // namespace

opt_pass* MakeGuardPass(gcc::context* context, Unit* unit) {
  return new GuardPass(context, unit);
}

void RegisterAttribute(void*, void*) { register_attribute(&kAttributeSpec); }

void RegisterRoots(const char* plugin_name) {
  static const ggc_root_tab roots[] = {
      {&guard_declaration, 1, sizeof(guard_declaration), gt_ggc_mx_tree_node,
       gt_pch_nx_tree_node},
      LAST_GGC_ROOT_TAB,
  };
  register_callback(plugin_name, PLUGIN_REGISTER_GGC_ROOTS, nullptr,
                    const_cast<ggc_root_tab*>(roots));
}

}  // namespace yamanote::instrument
