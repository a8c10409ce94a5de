// facts.cc - which calls are leaves, and which give thread-locals away.

#include "instrument/gcc/facts.h"

#include <string_view>

namespace yamanote::instrument {
namespace {

std::string_view AssemblerName(tree function) {
  if (!HAS_DECL_ASSEMBLER_NAME_P(function)) return {};
  std::string_view name = IDENTIFIER_POINTER(DECL_ASSEMBLER_NAME(function));
  // A name that is not to be decorated further begins with a star.
  if (name.starts_with('*')) name.remove_prefix(1);
  return name;
}

// The C and C++ libraries' functions that return the address of a thread-local, or
// which kernel thread this is, and that compilers may take for constants.
bool IsLibrarysThreadLocal(std::string_view name) {
  return name == "__errno_location" || name == "__h_errno_location" ||
         name == "__tls_get_addr" || name == "pthread_self" ||
         name == "__cxa_get_globals" || name == "__cxa_get_globals_fast";
}

// A program may bring its own allocator, and instrument it.
bool MayBeReplaced(tree builtin) {
  switch (DECL_FUNCTION_CODE(builtin)) {
    case BUILT_IN_MALLOC:
    case BUILT_IN_CALLOC:
    case BUILT_IN_REALLOC:
    case BUILT_IN_FREE:
    case BUILT_IN_ALIGNED_ALLOC:
    case BUILT_IN_POSIX_MEMALIGN:
      return true;
    default:
      return false;
  }
}

bool IsReplaceable(tree function) {
#if BUILDING_GCC_MAJOR >= 12
  return decl_replaceable_p(function, flag_semantic_interposition != 0);
#else
  return decl_replaceable_p(function);
#endif
}

}  // namespace

bool IsRuntimeFunction(tree function) {
  return AssemblerName(function).starts_with("yamanote_preempt_");
}

bool MayHaveProbes(const Unit& unit, tree function) {
  if (IsRuntimeFunction(function) ||
      lookup_attribute("naked", DECL_ATTRIBUTES(function))) {
    return false;
  }
  const auto known = unit.functions.find(DECL_UID(function));
  return known == unit.functions.end() || !known->second.guarded;
}

bool IsUnlock(const rtx_insn* call) {
  if (SIBLING_CALL_P(call) || control_flow_insn_p(call)) return false;
  // Not get_call_fndecl(), which knows nothing without optimisation.
  rtx whole = get_call_rtx_from(call);
  if (whole == NULL_RTX) return false;
  rtx callee = XEXP(XEXP(whole, 0), 0);
  if (GET_CODE(callee) != SYMBOL_REF) return false;
  std::string_view name = XSTR(callee, 0);
  if (name.starts_with('*')) name.remove_prefix(1);
  return name == "pthread_mutex_unlock" || name == "pthread_rwlock_unlock" ||
         name == "pthread_spin_unlock";
}

bool GivesThreadLocal(tree callee) {
  if (callee == NULL_TREE) return false;
  const std::string_view name = AssemblerName(callee);
  return IsLibrarysThreadLocal(name) || name == "__builtin_thread_pointer" ||
         name == "__builtin_ia32_rdfsbase32" ||
         name == "__builtin_ia32_rdfsbase64" || name.starts_with("_ZTW") ||
         name.starts_with("_ZTH") || name.starts_with("__emutls");
}

bool IsLeafCall(const Unit& unit, tree callee) {
  if (callee == NULL_TREE) return false;
  const int flags = flags_from_decl_or_type(callee);
  if (fndecl_built_in_p(callee)) {
    if (!fndecl_built_in_p(callee, BUILT_IN_NORMAL)) return true;
    return (flags & ECF_LEAF) != 0 && !MayBeReplaced(callee);
  }
  if (IsLibrarysThreadLocal(AssemblerName(callee))) return true;
  const auto known = unit.functions.find(DECL_UID(callee));
  // Another copy of an inline function does the same; a function that the
  // loader may replace need not.
  return known != unit.functions.end() && known->second.leaf &&
         !IsReplaceable(callee);
}

bool AlwaysProbes(const Unit& unit, tree callee) {
  if (callee == NULL_TREE) return false;
  const auto known = unit.functions.find(DECL_UID(callee));
  return known != unit.functions.end() && known->second.always_probes &&
         decl_binds_to_current_def_p(callee);
}

}  // namespace yamanote::instrument
