// copies.cc - renames inline functions and implicit instantiations, by groups.

#include "instrument/gcc/copies.h"

#include <string>
#include <unordered_map>
#include <vector>

#include "instrument/gcc/facts.h"

namespace yamanote::instrument {
namespace {

// What the linker keeps or drops as one: a function, its thunks, and the
// variants of a constructor or a destructor that are aliases of each other.
struct Group {
  tree name = NULL_TREE;
  std::vector<symtab_node*> members;
  bool keeps_name = false;
};

tree Renamed(tree name) {
  std::string text = IDENTIFIER_POINTER(name);
  text += kCopySuffix;
  return get_identifier(text.c_str());
}

bool HasVersions(cgraph_node* function) {
  return function->function_version() != nullptr ||
         function->dispatcher_function || function->ifunc_resolver ||
         lookup_attribute("target_clones", DECL_ATTRIBUTES(function->decl));
}

// A second name, as another release of the compiler would have mangled it. The
// C++ front end removes one that is renamed from under the caller's hands.
bool IsSecondName(symtab_node* node) {
  auto* function = dyn_cast<cgraph_node*>(node);
  return function != nullptr && function->cpp_implicit_alias &&
         DECL_ARTIFICIAL(function->decl) && DECL_IGNORED_P(function->decl);
}

// A static table of labels (computed goto): there is one for all units, and it
// must be that of the code that jumps by it.
bool SharesLabels(tree function) {
  return DECL_STRUCT_FUNCTION(function) != nullptr &&
         DECL_STRUCT_FUNCTION(function)->has_forced_label_in_static;
}

bool IsUsedHere(cgraph_node* function) {
  ipa_ref* reference = nullptr;
  return function->callers != nullptr ||
         function->iterate_referring(0, reference) != nullptr;
}

// Whether nobody needs `function` by its name but units that have a copy too.
bool MayBeRenamed(cgraph_node* function) {
  tree declaration = function->decl;
  if (!function->definition || DECL_EXTERNAL(declaration)) return false;
  // The compiler may drop it if this unit has no use of it. Not so an explicit
  // instantiation: units with an `extern template` rely on that.
  if (!DECL_COMDAT(declaration) || function->forced_by_abi) return false;
  if (DECL_PRESERVE_P(declaration) || fndecl_built_in_p(declaration) ||
      function->symver || HasVersions(function) || SharesLabels(declaration)) {
    return false;
  }
  if (IsSecondName(function) && IsUsedHere(function)) return false;
  tree identifier = DECL_ASSEMBLER_NAME(declaration);
  const std::string_view name = IDENTIFIER_POINTER(identifier);
  // A star: a name that the source gives. Wrappers of a thread_local are found
  // by name, and uses of one are guarded anyway.
  return !IDENTIFIER_TRANSPARENT_ALIAS(identifier) && !name.starts_with('*') &&
         !name.starts_with("_ZTW") && !name.starts_with("_ZTH") &&
         !IsRuntimeFunction(declaration);
}

std::vector<Group> FindGroups() {
  std::vector<Group> groups;
  std::unordered_map<tree, size_t> indices;
  symtab_node* node;
  FOR_EACH_SYMBOL(node) {
    tree name = node->get_comdat_group_id();
    if (name == NULL_TREE) continue;
    const auto [at, added] = indices.try_emplace(name, groups.size());
    if (added) groups.push_back({.name = name});
    Group& group = groups[at->second];
    group.members.push_back(node);
    if (!TREE_PUBLIC(node->decl)) continue;
    auto* function = dyn_cast<cgraph_node*>(node);
    if (function == nullptr || !MayBeRenamed(function)) group.keeps_name = true;
  }
  return groups;
}

}  // namespace

void RenameCopies(void*, void*) {
  for (const Group& group : FindGroups()) {
    if (group.keeps_name) continue;
    tree name = Renamed(group.name);
    for (symtab_node* member : group.members) {
      if (TREE_PUBLIC(member->decl) && IsSecondName(member)) {
        // For units of the other release; none knows a copy by that name.
        member->remove();
        continue;
      }
      member->set_comdat_group(name);
      if (!TREE_PUBLIC(member->decl)) continue;
      symtab->change_decl_assembler_name(
          member->decl, Renamed(DECL_ASSEMBLER_NAME(member->decl)));
    }
  }
}

}  // namespace yamanote::instrument
