# What Yamanote uses from the distribution; `make deps` installs it.

find_package(Threads REQUIRED)
find_package(tl-expected REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(hwloc REQUIRED IMPORTED_TARGET hwloc)
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)
if(YAMANOTE_ROCKSDB)
  # Not its own CMake package, which looks for everything RocksDB was built from.
  find_path(ROCKSDB_INCLUDE_DIR rocksdb/db.h)
  find_library(ROCKSDB_LIBRARY rocksdb)
  if(NOT ROCKSDB_INCLUDE_DIR OR NOT ROCKSDB_LIBRARY)
    message(FATAL_ERROR "RocksDB was not found; install Debian's librocksdb-dev, or configure "
                        "with -DYAMANOTE_ROCKSDB=OFF to build without `yamanote serve rocksdb`")
  endif()
  add_library(RocksDB::rocksdb SHARED IMPORTED)
  set_target_properties(RocksDB::rocksdb PROPERTIES IMPORTED_LOCATION ${ROCKSDB_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${ROCKSDB_INCLUDE_DIR})
endif()
# Scheduling native threads needs libbpf, and a clang for the BPF programs.
set(YAMANOTE_HAS_NATIVE OFF)
if(YAMANOTE_NATIVE)
  pkg_check_modules(libbpf IMPORTED_TARGET libbpf>=1.0)
  find_program(YAMANOTE_BPF_CLANG NAMES clang-19 clang clang-18 clang-17 clang-16 clang-15 clang-14
               DOC "Compiles BPF programs")
  if(libbpf_FOUND AND YAMANOTE_BPF_CLANG)
    set(YAMANOTE_HAS_NATIVE ON)
  elseif(YAMANOTE_NATIVE STREQUAL "AUTO")
    message(STATUS "No libbpf, or no clang for BPF programs: native threads cannot be scheduled "
                   "by this build; `packaging/install-deps.sh native` installs both")
  else()
    message(FATAL_ERROR "YAMANOTE_NATIVE is ON, but there is no libbpf, or no clang for BPF "
                        "programs; run `packaging/install-deps.sh native`, or set it to OFF")
  endif()
endif()
if(YAMANOTE_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
