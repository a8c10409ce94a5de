# yamanote_preemptible(TARGET): lets Yamanote preempt TARGET's code inside a slice.
#
# Compiles the target's C and C++ sources with the plug-in that inserts probes and with
# -DYAMANOTE_PREEMPTIBLE=1, and links what holds preemption off while a lock is held.
# Executables, static and object libraries are meant for executables; shared libraries
# and modules find the flag another way. Call it after the target's last source.
# With GCC the target's own sources are compiled without link-time optimisation, whatever
# INTERPROCEDURAL_OPTIMIZATION says.
#
# Two variables say which plug-ins there are; the build sets them, and so does the package:
#   YAMANOTE_PROBES_PLUGINS  a list of FITS=FILE: the compiler and its version, or the
#                            version's first numbers, that FILE fits (gcc-12.2.0, clang-19)
#   YAMANOTE_PROBES_BUILDER  the target that makes the file; empty: it is installed

# Sets OUT to the plug-in for the compiler in use, or stops the configuration.
function(yamanote_find_plugin out)
  set(remedy "build Yamanote with ${CMAKE_CXX_COMPILER} and -DYAMANOTE_PROBES=ON")
  if(NOT YAMANOTE_PROBES_BUILDER)
    string(APPEND remedy ", and install it to the same prefix")
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    string(REGEX MATCH "^[0-9]+" major "${CMAKE_CXX_COMPILER_VERSION}")
    string(APPEND remedy " (clang's plug-in needs LLVM's headers: "
                         "apt-get install llvm-${major}-dev)")
  endif()
  if(NOT YAMANOTE_PROBES_PLUGINS)
    message(FATAL_ERROR "yamanote_preemptible: no plug-in that inserts probes was built or "
                        "installed with Yamanote; ${remedy}")
  endif()
  string(REPLACE "GNU" "gcc" compiler "${CMAKE_CXX_COMPILER_ID}")
  string(TOLOWER "${compiler}-${CMAKE_CXX_COMPILER_VERSION}" compiler)
  set(known "")
  foreach(entry IN LISTS YAMANOTE_PROBES_PLUGINS)
    string(REGEX MATCH "^([^=]+)=(.+)$" matched "${entry}")
    set(fits "${CMAKE_MATCH_1}")
    set(file "${CMAKE_MATCH_2}")
    string(FIND "${compiler}." "${fits}." at)
    if(at EQUAL 0)
      set(${out} "${file}" PARENT_SCOPE)
      return()
    endif()
    string(APPEND known "\n  ${fits}: ${file}")
  endforeach()
  message(FATAL_ERROR "yamanote_preemptible: a plug-in fits one release of a compiler. "
                      "${CMAKE_CXX_COMPILER} is ${compiler}, and there are:${known}\n"
                      "Use one of these compilers (-DCMAKE_CXX_COMPILER=...), or ${remedy}")
endfunction()

# Stops the configuration if the compiler does not load an installed plug-in: that of the
# same release, configured in another way, may not.
function(yamanote_try_plugin flags)
  set(tried "${CMAKE_CXX_COMPILER} ${flags}")
  if(YAMANOTE_PROBES_BUILDER OR tried STREQUAL YAMANOTE_PROBES_TRIED)
    return()
  endif()
  separate_arguments(arguments UNIX_COMMAND "${flags}")
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} ${arguments} -x c++ -c /dev/null -o /dev/null
                  RESULT_VARIABLE result ERROR_VARIABLE said)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "yamanote_preemptible: ${CMAKE_CXX_COMPILER} does not load the plug-in "
                        "(${flags}):\n${said}\nBuild Yamanote with this compiler and install it")
  endif()
  set(YAMANOTE_PROBES_TRIED "${tried}" CACHE INTERNAL "What yamanote_try_plugin() has tried")
endfunction()

function(yamanote_preemptible target)
  if(NOT TARGET ${target})
    message(FATAL_ERROR "yamanote_preemptible: there is no target '${target}'")
  endif()
  get_target_property(type ${target} TYPE)
  if(type MATCHES "^(SHARED|MODULE)_LIBRARY$")
    set(tls initial-exec)
  elseif(type MATCHES "^(EXECUTABLE|(STATIC|OBJECT)_LIBRARY)$")
    set(tls local-exec)
  else()
    message(FATAL_ERROR "yamanote_preemptible: '${target}' compiles nothing (${type})")
  endif()
  yamanote_find_plugin(plugin)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # What INTERPROCEDURAL_OPTIMIZATION compiles while linking would have no probes.
    set(flags "-fplugin=${plugin} -fplugin-arg-yamanote_gcc-tls=${tls} -fno-lto")
  else()
    # -fplugin before -mllvm is parsed: it declares the option.
    set(flags "-fplugin=${plugin} -fpass-plugin=${plugin} -mllvm -yamanote-tls=${tls}")
  endif()
  yamanote_try_plugin("${flags}")

  foreach(language CXX C)
    if(language STREQUAL C AND NOT CMAKE_C_COMPILER_LOADED)
      continue()
    endif()
    if(NOT CMAKE_${language}_COMPILER_ID STREQUAL CMAKE_CXX_COMPILER_ID OR
       NOT CMAKE_${language}_COMPILER_VERSION VERSION_EQUAL CMAKE_CXX_COMPILER_VERSION)
      message(WARNING "yamanote_preemptible: ${target}'s ${language} sources get no probes: their "
                      "compiler is another one (${CMAKE_${language}_COMPILER})")
      continue()
    endif()
    target_compile_options(
      ${target} PRIVATE "SHELL:$<$<COMPILE_LANGUAGE:${language}>:${flags}>")
    target_compile_definitions(
      ${target} PRIVATE "$<$<COMPILE_LANGUAGE:${language}>:YAMANOTE_PREEMPTIBLE=1>")
    # ccache knows nothing of -fpass-plugin=: another plug-in is another object.
    get_target_property(launcher ${target} ${language}_COMPILER_LAUNCHER)
    if(launcher MATCHES "ccache")
      set_target_properties(
        ${target} PROPERTIES ${language}_COMPILER_LAUNCHER
        "${CMAKE_COMMAND};-E;env;CCACHE_EXTRAFILES=${plugin};${launcher}")
    endif()
  endforeach()
  if(TARGET yamanote::locks)
    # Not target_link_libraries(), whose two forms do not mix: the caller may use either.
    set_property(TARGET ${target} APPEND PROPERTY LINK_LIBRARIES yamanote::locks)
    set_property(TARGET ${target} APPEND PROPERTY INTERFACE_LINK_LIBRARIES yamanote::locks)
  endif()

  # A new plug-in compiles the target anew. What a source depends on does not reach the file
  # that a unity build joins it to, which would be compiled before the plug-in is there.
  set_target_properties(${target} PROPERTIES UNITY_BUILD OFF)
  if(YAMANOTE_PROBES_BUILDER)
    add_dependencies(${target} ${YAMANOTE_PROBES_BUILDER})
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    if(source MATCHES "\\.(c|cc|cpp|cxx)$" AND NOT source MATCHES "[$]<")
      set_property(SOURCE ${source} TARGET_DIRECTORY ${target} APPEND
                   PROPERTY OBJECT_DEPENDS ${plugin})
    endif()
  endforeach()
endfunction()
