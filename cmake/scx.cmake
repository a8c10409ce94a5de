# sched_ext: needs clang for BPF programs, and a libbpf that knows links of struct_ops maps
# and types of its own for them (1.4; Debian 12 has 1.1, its backports 1.4.6).

set(YAMANOTE_LIBBPF_ROOT "" CACHE PATH "Where libbpf 1.4 or later is, if not in the system")
find_program(YAMANOTE_BPF_CLANG NAMES clang-19 clang-20 clang-18 clang)
find_path(YAMANOTE_LIBBPF_INCLUDE bpf/libbpf.h HINTS ${YAMANOTE_LIBBPF_ROOT}/usr/include)
find_library(YAMANOTE_LIBBPF_LIBRARY libbpf.a
             HINTS ${YAMANOTE_LIBBPF_ROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE})
find_library(YAMANOTE_LIBELF_LIBRARY NAMES elf libelf.so.1
             HINTS ${YAMANOTE_LIBBPF_ROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE})
find_library(YAMANOTE_LIBZ_LIBRARY NAMES libz.a z
             HINTS ${YAMANOTE_LIBBPF_ROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE})
set(YAMANOTE_SCX_MISSING "")
foreach(need BPF_CLANG LIBBPF_INCLUDE LIBBPF_LIBRARY LIBELF_LIBRARY LIBZ_LIBRARY)
  if(NOT YAMANOTE_${need})
    list(APPEND YAMANOTE_SCX_MISSING ${need})
  endif()
endforeach()
if(YAMANOTE_LIBBPF_INCLUDE)
  file(READ ${YAMANOTE_LIBBPF_INCLUDE}/bpf/libbpf_version.h version)
  string(REGEX MATCH "LIBBPF_MAJOR_VERSION ([0-9]+)" unused "${version}")
  set(major ${CMAKE_MATCH_1})
  string(REGEX MATCH "LIBBPF_MINOR_VERSION ([0-9]+)" unused "${version}")
  if("${major}.${CMAKE_MATCH_1}" VERSION_LESS 1.4)
    list(APPEND YAMANOTE_SCX_MISSING "libbpf-1.4-or-later")
  endif()
endif()
if(YAMANOTE_SCX_MISSING)
  set(scx_default OFF)
else()
  set(scx_default ON)
endif()
option(YAMANOTE_SCX "Schedule native threads by sched_ext (needs clang, libbpf 1.4)" ${scx_default})
if(YAMANOTE_SCX AND YAMANOTE_SCX_MISSING)
  message(FATAL_ERROR "YAMANOTE_SCX is on, but this is missing: ${YAMANOTE_SCX_MISSING}; set "
                      "YAMANOTE_LIBBPF_ROOT, or configure with -DYAMANOTE_SCX=OFF")
endif()
