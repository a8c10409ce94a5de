# One function for each kind of thing a room may contain.

# yamanote_room(NAME SOURCES ... [DEPS rooms...] [LINK libraries...])
# Adds src/NAME to the library. DEPS lists the rooms it may use; the include
# path is the same for all rooms, tools/check_rooms.py holds the rule.
function(yamanote_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;DEPS;LINK" ${ARGN})
  add_library(yamanote_${name} OBJECT ${ROOM_SOURCES})
  # The presets with tests join sources, which compile the same large headers. A room's
  # files stand alone in dev, in the release and in `make lint`, the others' in the
  # latter two.
  set_target_properties(yamanote_${name} PROPERTIES UNITY_BUILD_BATCH_SIZE 0)  # All at once.
  if(YAMANOTE_SANITIZE STREQUAL "")
    set_target_properties(yamanote_${name} PROPERTIES UNITY_BUILD OFF)
  endif()
  target_include_directories(
    yamanote_${name} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src
                            ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(yamanote_${name} PRIVATE yamanote_flags)
  foreach(dep IN LISTS ROOM_DEPS)
    # Usage requirements only: an object library's objects are taken once.
    target_include_directories(
      yamanote_${name}
      PUBLIC $<TARGET_PROPERTY:yamanote_${dep},INTERFACE_INCLUDE_DIRECTORIES>)
  endforeach()
  target_link_libraries(yamanote_${name} PUBLIC tl::expected ${ROOM_LINK})
  set_property(GLOBAL APPEND PROPERTY YAMANOTE_ROOMS yamanote_${name})
  set_property(GLOBAL APPEND PROPERTY YAMANOTE_LINK ${ROOM_LINK})
endfunction()

# yamanote_library(): gathers the rooms into libyamanote.a.
function(yamanote_library)
  get_property(rooms GLOBAL PROPERTY YAMANOTE_ROOMS)
  get_property(link GLOBAL PROPERTY YAMANOTE_LINK)
  list(REMOVE_DUPLICATES link)
  add_library(yamanote STATIC)
  add_library(yamanote::yamanote ALIAS yamanote)
  foreach(room IN LISTS rooms)
    target_sources(yamanote PRIVATE $<TARGET_OBJECTS:${room}>)
  endforeach()
  set_target_properties(yamanote PROPERTIES LINKER_LANGUAGE CXX)
  target_compile_features(yamanote PUBLIC cxx_std_20)
  target_include_directories(
    yamanote PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(yamanote PUBLIC tl::expected Threads::Threads)
  target_link_libraries(yamanote PRIVATE ${link})
endfunction()

# yamanote_test(NAME SOURCES ... [LINK ...] [TIMEOUT seconds] [COST seconds] [LABELS ...]
#               [SINGLE_THREADED] [OPTIMIZED] [EXPORTS])
# One GoogleTest program. COST: about what it takes, where that is 10 s or more; ctest starts
# those first also if it has seen no run yet, so that none is left alone at the end.
# SINGLE_THREADED: TSan has nothing to look for in it. The folder says by
# YAMANOTE_TEST_HEADERS what is precompiled, by YAMANOTE_TEST_OPTIONS what else the compiler
# is told. OPTIMIZED: it is not told that, for what it looks at is the compiler's output.
# EXPORTS: libraries that it loads call it; so the linker keeps all functions, and it compiles
# headers itself: see yamanote_precompiled().
function(yamanote_test name)
  cmake_parse_arguments(TEST "SINGLE_THREADED;OPTIMIZED;EXPORTS" "TIMEOUT;COST"
                        "SOURCES;LINK;LABELS" ${ARGN})
  if(NOT YAMANOTE_BUILD_TESTS OR (TEST_SINGLE_THREADED AND YAMANOTE_SANITIZE STREQUAL "thread"))
    return()
  endif()
  if(NOT TEST_TIMEOUT)
    set(TEST_TIMEOUT 120)
  endif()
  if(NOT TEST_COST)
    set(TEST_COST 0)
  endif()
  add_executable(${name} ${TEST_SOURCES})
  target_include_directories(
    ${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}
                    ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(${name} PRIVATE ${TEST_LINK} yamanote yamanote_flags GTest::gmock
                                        GTest::gtest_main)
  if(NOT TEST_OPTIMIZED)
    target_compile_options(${name} PRIVATE ${YAMANOTE_TEST_OPTIONS})
    if(TEST_EXPORTS)
      set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON)
    else()
      yamanote_use_precompiled(${name} ${YAMANOTE_TEST_HEADERS})
    endif()
  endif()
  # One ctest entry per program: starting a process per case costs more than
  # most cases. The program's own output names the case that failed.
  add_test(NAME ${name} COMMAND ${name} --gtest_brief=1)
  set_tests_properties(${name} PROPERTIES TIMEOUT ${TEST_TIMEOUT} COST ${TEST_COST}
                                          LABELS "${TEST_LABELS}")
endfunction()

# yamanote_seeds(TEST COUNT): with a sanitizer, which takes about five times as long, the
# random sequences of TEST have so many seeds; dev has them all.
function(yamanote_seeds test count)
  if(TEST ${test} AND NOT YAMANOTE_SANITIZE STREQUAL "")
    set_tests_properties(${test} PROPERTIES ENVIRONMENT YAMANOTE_SEEDS=${count})
  endif()
endfunction()

# yamanote_fuzzed(TARGET): a fuzzer watches which ways through it are taken. Not everything is
# compiled so: it costs a quarter of the compiler's time.
function(yamanote_fuzzed target)
  if(YAMANOTE_BUILD_FUZZERS)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
    # Headers that were parsed without it cannot be used.
    set_target_properties(${target} PROPERTIES DISABLE_PRECOMPILE_HEADERS ON)
  endif()
endfunction()

# yamanote_fuzzer(NAME SOURCES ... CORPUS dir [LINK ...])
# One libFuzzer program; ctest runs it briefly over its corpus. What it is to explore is said
# by yamanote_fuzzed().
function(yamanote_fuzzer name)
  cmake_parse_arguments(FUZZ "" "CORPUS" "SOURCES;LINK" ${ARGN})
  if(NOT YAMANOTE_BUILD_FUZZERS)
    return()
  endif()
  add_executable(${name} ${FUZZ_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src
                                             ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${FUZZ_LINK} yamanote yamanote_flags)
  yamanote_fuzzed(${name})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  # What the run finds goes to the build tree; the corpus is read only.
  set(found ${CMAKE_CURRENT_BINARY_DIR}/${name}-found)
  file(MAKE_DIRECTORY ${found})
  add_test(NAME ${name} COMMAND ${name} -max_total_time=3 -timeout=5 -rss_limit_mb=2048
                                -print_final_stats=1 ${found} ${FUZZ_CORPUS})
  # Unlike other tests it computes all the time; check-preset.sh runs two tests a core.
  set_tests_properties(${name} PROPERTIES TIMEOUT 60 LABELS fuzz PROCESSORS 2)
endfunction()
