# What the presets with tests do once for headers of packages: parse them, and compile their
# inline functions. Otherwise every source that includes CLI11 compiles half of it again.

# yamanote_precompiled(NAME HEADERS ... [LINK libraries...] [OPTIONS compile options...])
# Parses HEADERS once for all targets that say yamanote_use_precompiled(TARGET NAME); these
# must have the same compile options. Only headers of packages belong here. Sources include
# what they use all the same: the release and `make lint` precompile nothing.
function(yamanote_precompiled name)
  cmake_parse_arguments(PRE "" "" "HEADERS;LINK;OPTIONS" ${ARGN})
  add_library(${name} OBJECT ${PROJECT_SOURCE_DIR}/cmake/precompiled.cc)
  target_link_libraries(${name} PRIVATE ${PRE_LINK} yamanote_flags)
  target_compile_options(${name} PRIVATE ${PRE_OPTIONS})
  target_precompile_headers(${name} PRIVATE ${PRE_HEADERS})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
    # clang compiles the headers' inline functions once, here, and not in each source that
    # calls them: the precompiled header becomes an object file.
    target_compile_options(${name} PRIVATE "SHELL:-Xclang -fmodules-codegen")
    set(headers ${CMAKE_CURRENT_BINARY_DIR}/CMakeFiles/${name}.dir/cmake_pch.hxx.pch)
    # "-x none": by its name, not as the C++ source that CMake says it is.
    set_source_files_properties(${headers} PROPERTIES LANGUAGE CXX GENERATED ON
                                                      COMPILE_OPTIONS "-x;none"
                                                      OBJECT_DEPENDS ${headers})
    add_library(${name}_code STATIC ${headers})
    set_target_properties(${name}_code PROPERTIES UNITY_BUILD OFF)
    add_dependencies(${name}_code ${name})
    target_link_libraries(${name}_code PRIVATE ${PRE_LINK} yamanote_flags)
    # Some of the functions call what libraries keep to themselves. Nobody calls those
    # functions, so the linker drops them. It keeps tables, such as those of probes.
    target_link_options(${name}_code INTERFACE LINKER:--gc-sections,-z,nostart-stop-gc)
    # It is told to write which files it read, and reads none.
    target_compile_options(${name}_code PRIVATE ${PRE_OPTIONS} -Wno-unused-command-line-argument)
  endif()
endfunction()

# yamanote_use_precompiled(TARGET NAME): see yamanote_precompiled().
function(yamanote_use_precompiled target name)
  target_precompile_headers(${target} REUSE_FROM ${name})
  if(TARGET ${name}_code)
    target_link_libraries(${target} PRIVATE ${name}_code)
  endif()
endfunction()

# yamanote_compiled_once(NAME HEADER LIBRARY): for GCC what `-fmodules-codegen` above is for
# clang. Its "#pragma interface" says of a header's classes that their inline functions and
# tables are compiled elsewhere, "#pragma implementation" that they are here. So the folder of
# HEADER (FOLDER/FILE), which comes from LIBRARY, is copied with the one, and a source has the
# other. Who links NAME reads the copies. Templates are not concerned.
function(yamanote_compiled_once name header library)
  get_target_property(folders ${library} INTERFACE_INCLUDE_DIRECTORIES)
  find_path(${name}_FOLDER ${header} HINTS ${folders})
  mark_as_advanced(${name}_FOLDER)
  cmake_path(GET header PARENT_PATH package)
  set(copies ${PROJECT_BINARY_DIR}/generated/${name})
  file(GLOB files CONFIGURE_DEPENDS RELATIVE ${${name}_FOLDER} ${${name}_FOLDER}/${package}/*.hpp)
  set(code "")
  foreach(file IN LISTS files)
    file(READ ${${name}_FOLDER}/${file} text)
    file(CONFIGURE OUTPUT ${copies}/${file} CONTENT "#pragma interface\n@text@" @ONLY)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${${name}_FOLDER}/${file})
    cmake_path(GET file FILENAME file)
    string(APPEND code "#pragma implementation \"${file}\"\n")
  endforeach()
  string(APPEND code "#include <${header}>\n")
  file(CONFIGURE OUTPUT ${copies}/${name}.cc CONTENT "@code@" @ONLY)
  add_library(${name} STATIC ${copies}/${name}.cc)
  set_target_properties(${name} PROPERTIES UNITY_BUILD OFF)
  target_include_directories(${name} SYSTEM BEFORE PUBLIC ${copies})
  target_link_libraries(${name} PRIVATE yamanote_flags)
endfunction()
