# Turns the list of policies into the table behind Policies() and FindPolicy().
# No static constructors: the table is constant data.

# yamanote_policy_registry(OUTPUT names...) writes the table's source to OUTPUT.
function(yamanote_policy_registry output)
  set(declarations "")
  set(entries "")
  foreach(name IN LISTS ARGN)
    if(NOT name MATCHES "^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
      message(FATAL_ERROR "policies.cmake: '${name}' must be lower-case words joined by "
                          "'-', as in 'slo-ratio'")
    endif()
    set(constant "k")
    string(REPLACE "-" ";" words "${name}")
    foreach(word IN LISTS words)
      string(SUBSTRING ${word} 0 1 first)
      string(SUBSTRING ${word} 1 -1 rest)
      string(TOUPPER ${first} first)
      string(APPEND constant "${first}${rest}")
    endforeach()
    string(APPEND declarations "extern const PolicyInfo ${constant};\n")
    string(APPEND entries "    &${constant},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT
"// Generated from src/policy/policies.cmake. Do not edit.

#include \"yamanote/policy.h\"

namespace yamanote {

@declarations@
namespace {
constexpr const PolicyInfo* kPolicies[] = {
@entries@};
}  // namespace

std::span<const PolicyInfo* const> Policies() { return kPolicies; }

const PolicyInfo* FindPolicy(std::string_view name) {
  for (const PolicyInfo* const info : kPolicies) {
    if (info->name == name) return info;
  }
  return nullptr;
}

}  // namespace yamanote
")
endfunction()

# As a script: cmake -DOUTPUT=registry.cc -DLIST=policies.cmake -P registry.cmake
if(CMAKE_SCRIPT_MODE_FILE)
  include(${LIST})
  yamanote_policy_registry(${OUTPUT} ${YAMANOTE_POLICIES})
endif()
