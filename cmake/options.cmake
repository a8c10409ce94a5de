# Build options and the flags that every target shares.

option(YAMANOTE_BUILD_TESTS "Build the tests" ON)
option(YAMANOTE_BUILD_COMMAND "Build the `yamanote` command, and the tests that run it" ON)
option(YAMANOTE_BUILD_BENCHMARKS "Build bench/ (needs the peers' packages)" OFF)
option(YAMANOTE_ROCKSDB "Build `yamanote serve rocksdb` (needs librocksdb-dev)" ON)
set(YAMANOTE_NATIVE AUTO CACHE STRING
    "Schedule threads of other programs (needs libbpf-dev and clang): ON, OFF, AUTO: if both are there")
set_property(CACHE YAMANOTE_NATIVE PROPERTY STRINGS AUTO ON OFF)
# Compilers differ in what they warn of, optimised code most of all: who only wants the
# program is not to be stopped by it.
option(YAMANOTE_WARNINGS_ARE_ERRORS "Stop at a compiler's warning (the presets with tests do)" OFF)
option(YAMANOTE_BUILD_FUZZERS "Build the libFuzzer targets (clang only)" OFF)
set(YAMANOTE_TOOLS_OPTIONS "" CACHE STRING
    "Compile options of tools/ and its tests after all others; the presets with tests optimise less")
set(YAMANOTE_TESTS_OPTIONS "" CACHE STRING
    "The same for the other rooms' tests")
set(YAMANOTE_SANITIZE "" CACHE STRING "Sanitizer: empty, address or thread")
set_property(CACHE YAMANOTE_SANITIZE PROPERTY STRINGS "" address thread)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # Depend mode asks the compiler what it read instead of preprocessing every file once
  # more, which costs where nothing is in the cache. The sloppiness is what ccache's
  # manual wants for precompiled headers. The build's folder may differ: sources are
  # named by absolute paths.
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_DEPEND=1 CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE_PROGRAM})
endif()

# Applied to the project's targets, not exported.
add_library(yamanote_flags INTERFACE)
target_compile_options(
  yamanote_flags
  INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow
            -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough
            -Wno-missing-field-initializers -fno-omit-frame-pointer>)
if(YAMANOTE_WARNINGS_ARE_ERRORS)
  target_compile_options(yamanote_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
# x86-64-v2 has cmpxchg16b and SSE4.2; every machine since 2009 has it.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  target_compile_options(yamanote_flags INTERFACE -march=x86-64-v2)
endif()

if(YAMANOTE_SANITIZE STREQUAL "address")
  set(sanitize_flags -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(YAMANOTE_SANITIZE STREQUAL "thread")
  set(sanitize_flags -fsanitize=thread)
elseif(NOT YAMANOTE_SANITIZE STREQUAL "")
  message(FATAL_ERROR "YAMANOTE_SANITIZE is '${YAMANOTE_SANITIZE}'; "
                      "it must be empty, 'address' or 'thread'")
endif()
if(YAMANOTE_SANITIZE STREQUAL "thread")
  # apps/rocksdb/CMakeLists.txt says why.
  set(YAMANOTE_ROCKSDB OFF)
endif()
if(sanitize_flags)
  add_compile_options(${sanitize_flags})
  # The sanitizers' programs are large; clang's own linker is the faster one.
  add_link_options(${sanitize_flags} $<$<CXX_COMPILER_ID:Clang>:-fuse-ld=lld>)
endif()
if(YAMANOTE_BUILD_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "YAMANOTE_BUILD_FUZZERS needs clang; the compiler is "
                        "${CMAKE_CXX_COMPILER_ID}. Use the preset 'asan'.")
  endif()
endif()
