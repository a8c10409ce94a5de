#!/bin/bash
# cmake_test.sh - yamanote_preemptible() in a project of its own.
#
#   cmake_test.sh CXX FITS=PLUGIN      FITS: what it is for, e.g. gcc-12.2.0
#
# Every kind of target gets the probes it must, a new plug-in compiles a target
# anew, and what cannot work is refused. Exit status: 0 all is well.

set -euo pipefail
cxx=$1
fits=${2%%=*}
plugin=${2#*=}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "cmake_test: $1" >&2
  exit 1
}

mkdir "$work/project"
copy=$work/$(basename "$plugin")  # GCC knows it by its name.
cp "$plugin" "$copy"
cat >"$work/project/code.cc" <<'END'
#ifndef YAMANOTE_PREEMPTIBLE
#error "yamanote_preemptible() defines it"
#endif
unsigned Work(unsigned n) {
  unsigned sum = 0;
  for (unsigned i = 0; i < n; ++i) {
    sum += i;
    asm volatile("" : "+r"(sum));
  }
  return sum;
}
END
cat >"$work/project/main.cc" <<END
unsigned Work(unsigned n);
extern "C" {
thread_local unsigned char yamanote_preempt_flag;
void yamanote_preempt_probe() {}
}
int main() { return Work(4) == 6 ? 0 : 1; }
END
cat >"$work/project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES CXX)
include(${FUNCTION})
add_executable(program code.cc main.cc)
add_library(archive STATIC code.cc)
add_library(shared SHARED code.cc)
add_executable(plain main.cc)
target_link_libraries(plain shared)
add_library(interface INTERFACE)
foreach(target IN LISTS TARGETS)
  yamanote_preemptible(${target})
endforeach()
END

probes=("-DYAMANOTE_PROBES_PLUGINS=other-1=/other.so;$fits=$copy")

configure() {
  cmake -G Ninja -S "$work/project" -B "$1" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_EXE_LINKER_FLAGS=-Wl,--export-dynamic \
    -DFUNCTION="$here/yamanote_preemptible.cmake" "${@:2}" >"$work/log" 2>&1
}
build() { cmake --build "$work/build" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "does not build"; }; }

configure "$work/build" "${probes[@]}" "-DTARGETS=program;archive;shared" ||
  { cat "$work/log" >&2; fail "does not configure"; }
build
"$work/build/program" || fail "the executable computes something else"
"$work/build/plain" || fail "the shared library computes something else"
if [[ $fits == gcc-* ]]; then
  # The linker's compiler would insert none.
  configure "$work/ipo" "${probes[@]}" "-DTARGETS=program;shared" \
    -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON ||
    { cat "$work/log" >&2; fail "does not configure with link-time optimisation"; }
  cmake --build "$work/ipo" -t program plain >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "does not build with link-time optimisation"; }
  "$work/ipo/program" || fail "with link-time optimisation the program computes something else"
  nm "$work/ipo/CMakeFiles/program.dir/code.cc.o" | grep -q 'U yamanote_preempt_probe' ||
    fail "no probes with link-time optimisation"
  readelf -SW "$work/ipo/CMakeFiles/plain.dir/main.cc.o" | grep -q gnu.lto ||
    fail "no link-time optimisation of what has no probes"
fi
for object in program archive; do
  readelf -rW "$work/build/CMakeFiles/$object.dir/code.cc.o" | grep -q 'R_X86_64_TPOFF32.*yamanote_preempt_flag' ||
    fail "$object does not find the flag as executables do"
done
readelf -rW "$work/build/CMakeFiles/shared.dir/code.cc.o" | grep -q 'R_X86_64_GOTTPOFF.*yamanote_preempt_flag' ||
  fail "the shared library does not find the flag as shared objects do"

build
grep -q 'no work to do' "$work/log" || fail "builds again without a reason"
touch "$copy"
build
grep -q 'no work to do' "$work/log" && fail "a new plug-in does not compile the targets anew"

# What cannot work says why.
for mistake in "interface:compiles nothing" "missing:no target 'missing'"; do
  ! configure "$work/wrong" "${probes[@]}" -DTARGETS="${mistake%%:*}" ||
    fail "${mistake%%:*} is accepted"
  tr '\n' ' ' <"$work/log" | tr -s ' ' | grep -q "${mistake#*:}" || { cat "$work/log" >&2; fail "another message"; }
done
refused() {
  ! configure "$work/wrong" -DTARGETS=program "$1" || fail "$2 is accepted"
  tr '\n' ' ' <"$work/log" | tr -s ' ' | grep -q "$3" || { cat "$work/log" >&2; fail "another message for $2"; }
}
refused -DYAMANOTE_PROBES_PLUGINS= "no plug-in" 'no plug-in that inserts probes'
for other in "${fits}1" "${fits%%-*}-1.0"; do
  refused "-DYAMANOTE_PROBES_PLUGINS=$other=$copy" "a plug-in for $other" "is ${fits}.*there are: $other: $copy Use one"
done
echo "not a plug-in" >"$work/broken.so"
refused "-DYAMANOTE_PROBES_PLUGINS=$fits=$work/broken.so" "what is no plug-in" 'does not load the plug-in'
echo "cmake_test: all is well"
