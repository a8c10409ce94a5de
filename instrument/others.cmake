# others.cmake - the plug-ins for compilers that do not build this project.
#
# A plug-in needs the headers of the compiler that loads it, not that compiler. So
# whoever installs Yamanote can have those for all compilers of the machine in one go:
# clang 14 to 19 whose LLVM headers are found, and g++ if clang builds the project.
# Nothing here is required; what is missing is left out.

# yamanote_other_plugin(ROOM FITS HEADERS): builds instrument/ROOM for FITS.
function(yamanote_other_plugin room fits headers)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${room}/*.cc)
  set(target yamanote_${fits})
  add_library(${target} MODULE ${sources})
  # The sources are large headers' uses, so together they compile in half the time.
  # The compiler goes by the file's name; so each has a folder of its own.
  set_target_properties(${target} PROPERTIES PREFIX "" OUTPUT_NAME yamanote_${room}
                        UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0
                        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/${fits})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_include_directories(${target} SYSTEM PRIVATE ${headers})
  # Warnings are looked for where the plug-in is that of the project's own compiler.
  target_compile_options(${target} PRIVATE -fno-rtti -fno-exceptions -w)
  yamanote_plugin(${target} ${fits})
endfunction()

foreach(major RANGE 14 19)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION MATCHES "^${major}[.]")
    continue()
  endif()
  find_path(YAMANOTE_LLVM_${major}_HEADERS llvm/Passes/PassPlugin.h
            PATHS /usr/lib/llvm-${major}/include NO_DEFAULT_PATH
            DOC "Headers of LLVM ${major}, for the plug-in for clang ${major}")
  if(YAMANOTE_LLVM_${major}_HEADERS)
    yamanote_other_plugin(clang clang-${major} ${YAMANOTE_LLVM_${major}_HEADERS})
  endif()
endforeach()

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  find_program(YAMANOTE_OTHER_GCC g++ DOC "GCC that gets a plug-in, too")
  if(YAMANOTE_OTHER_GCC)
    execute_process(COMMAND ${YAMANOTE_OTHER_GCC} -print-file-name=plugin
                    OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE)
    execute_process(COMMAND ${YAMANOTE_OTHER_GCC} -dumpfullversion
                    OUTPUT_VARIABLE version OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(EXISTS ${folder}/include/gcc-plugin.h AND version)
      yamanote_other_plugin(gcc gcc-${version} ${folder}/include)
    endif()
  endif()
endif()
