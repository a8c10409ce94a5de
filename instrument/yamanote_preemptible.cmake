# yamanote_preemptible(TARGET): compiles a target's C and C++ with probes.
#
# Objects rebuild when the plug-in changes. Thread-locals of the runtime are found
# by local-exec, in shared libraries and modules by initial-exec. Link-time
# optimisation (-flto) compiles where the plug-in is not loaded: do without it.

function(yamanote_preemptible target)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    message(FATAL_ERROR "yamanote_preemptible(${target}): no plug-in for the compiler "
                        "${CMAKE_CXX_COMPILER_ID}")
  endif()
  if(TARGET yamanote_gcc)
    # Not $<TARGET_FILE:...>: OBJECT_DEPENDS below takes paths only.
    get_target_property(folder yamanote_gcc LIBRARY_OUTPUT_DIRECTORY)
    set(plugin ${folder}/yamanote_gcc.so)
    add_dependencies(${target} yamanote_gcc)
  elseif(YAMANOTE_GCC_PLUGIN)
    # An installed one.
    set(plugin ${YAMANOTE_GCC_PLUGIN})
  else()
    message(FATAL_ERROR "yamanote_preemptible(${target}): the plug-in is not built; "
                        "configure with -DYAMANOTE_PROBES=ON, or give YAMANOTE_GCC_PLUGIN "
                        "the path of an installed yamanote_gcc.so")
  endif()
  get_target_property(type ${target} TYPE)
  if(type MATCHES "SHARED_LIBRARY|MODULE_LIBRARY")
    set(tls initial-exec)
  else()
    set(tls local-exec)
  endif()
  target_compile_options(
    ${target} PRIVATE $<$<COMPILE_LANGUAGE:C,CXX>:-fplugin=${plugin}
                      -fplugin-arg-yamanote_gcc-tls=${tls}>)
  target_compile_definitions(${target}
                             PRIVATE $<$<COMPILE_LANGUAGE:C,CXX>:YAMANOTE_PREEMPTIBLE=1>)
  # Holds preemption off while a lock of the process is held.
  target_link_libraries(${target} PUBLIC yamanote::locks)
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    if(source MATCHES "\\.(c|cc|cpp|cxx)$")
      set_property(
        SOURCE ${source}
        TARGET_DIRECTORY ${target}
        APPEND
        PROPERTY OBJECT_DEPENDS ${plugin})
    endif()
  endforeach()
endfunction()
