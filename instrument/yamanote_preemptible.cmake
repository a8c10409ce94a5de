# yamanote_preemptible(TARGET): lets Yamanote preempt TARGET's code inside a slice.
#
# Compiles the target's C and C++ sources with the plug-in that inserts probes and with
# -DYAMANOTE_PREEMPTIBLE=1, and links what holds preemption off while a lock is held.
# Executables, static and object libraries are meant for executables; shared libraries
# and modules find the flag another way. Call it after the target's last source.
#
# Three variables say which plug-in; the build sets them, and so does the package:
#   YAMANOTE_PROBES_PLUGIN     its file
#   YAMANOTE_PROBES_COMPILER   what it fits: "GNU 12.2.0"
#   YAMANOTE_PROBES_BUILDER    the target that makes it; empty: it is installed

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
  if(NOT YAMANOTE_PROBES_PLUGIN)
    message(FATAL_ERROR "yamanote_preemptible: no plug-in was built for "
                        "${CMAKE_CXX_COMPILER_ID}; configure Yamanote with -DYAMANOTE_PROBES=ON")
  endif()
  set(plugin "${YAMANOTE_PROBES_PLUGIN}")
  set(compiler "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
  if(NOT compiler STREQUAL YAMANOTE_PROBES_COMPILER)
    message(FATAL_ERROR "yamanote_preemptible: the plug-in ${plugin} fits "
                        "${YAMANOTE_PROBES_COMPILER} alone, and ${CMAKE_CXX_COMPILER} is "
                        "${compiler}; use that compiler, or build Yamanote with this one")
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(flags "-fplugin=${plugin} -fplugin-arg-yamanote_gcc-tls=${tls}")
  else()
    # -fplugin before -mllvm is parsed: it declares the option.
    set(flags "-fplugin=${plugin} -fpass-plugin=${plugin} -mllvm -yamanote-tls=${tls}")
  endif()

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
    target_link_libraries(${target} PUBLIC yamanote::locks)
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
