# Turns the list of policies into the table behind Policies() and FindPolicy().
# No static constructors: the table is constant data.

# yamanote_policy_registry(OUTPUT names...) writes the table's source to OUTPUT.
#
# TYPE, HEADER and LIST are for others of the kind: the type of the table's entries
# without "Info", the header that declares it, the file that has the names.
function(yamanote_policy_registry output)
  cmake_parse_arguments(TABLE "" "TYPE;HEADER;LIST" "" ${ARGN})
  if(NOT TABLE_TYPE)
    set(TABLE_TYPE Policy)
    set(TABLE_HEADER yamanote/policy.h)
    set(TABLE_LIST src/policy/policies.cmake)
  endif()
  string(REGEX REPLACE "y$" "ies" plural ${TABLE_TYPE})
  set(declarations "")
  set(entries "")
  foreach(name IN LISTS TABLE_UNPARSED_ARGUMENTS)
    if(NOT name MATCHES "^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
      message(FATAL_ERROR "${TABLE_LIST}: '${name}' must be lower-case words joined by "
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
    string(APPEND declarations "extern const ${TABLE_TYPE}Info ${constant};\n")
    string(APPEND entries "    &${constant},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT
"// Generated from @TABLE_LIST@. Do not edit.

#include \"@TABLE_HEADER@\"

namespace yamanote {

@declarations@
namespace {
constexpr const @TABLE_TYPE@Info* k@plural@[] = {
@entries@};
}  // namespace

std::span<const @TABLE_TYPE@Info* const> @plural@() { return k@plural@; }

const @TABLE_TYPE@Info* Find@TABLE_TYPE@(std::string_view name) {
  for (const @TABLE_TYPE@Info* const info : k@plural@) {
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
