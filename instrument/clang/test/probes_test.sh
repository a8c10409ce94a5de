#!/bin/bash
# probes_test.sh - does what the plug-in inserts leave programs as they are?
#
#   probes_test.sh CLANG++ [PLUGIN] [--quick|--least]
#
# Compiles the cases with probes in many ways and runs them with the flag set, so
# that every probe comes by the stand-in runtime; their results must be those of
# the build without. Without PLUGIN (or with an empty one), builds one for that
# compiler first. --quick leaves out -O1, -O3, static, AVX, sanitizers and link-time
# optimisation; --least -O0 and shared libraries, too. Exit status: 0 all is well.

set -euo pipefail
cxx=$1
plugin=${2:-}
quick=${3:-}
cd "$(dirname "$0")/../../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
test=instrument/clang/test
version=$("$cxx" -dumpversion)
major=${version%%.*}

fail() {
  echo "probes_test: $cxx: $1" >&2
  exit 1
}

cc() { "$cxx" -I. -Iinclude -Wall -Wextra -Werror -Wno-unused-command-line-argument "$@"; }

if [ -z "$plugin" ]; then
  plugin=$work/yamanote_clang.so
  cc -std=c++20 -O1 -fPIC -shared -fno-rtti -fno-exceptions \
    -isystem "$("llvm-config-$major" --includedir)" instrument/clang/*.cc -o "$plugin"
fi
load=(-fplugin="$plugin" -fpass-plugin="$plugin")
kernels=()
for kernel in tools/bench/kernels/programs/*.cc; do kernels+=(-include "$kernel"); done

# objects NAME FLAG...: compiles all that may have probes to $work/NAME-*.o.
objects() {
  local name=$1
  shift
  cc -std=c++20 "$@" -c $test/cases.cc -o "$work/$name-1.o"
  cc -std=c++20 "$@" -c -x c++ "${kernels[@]}" /dev/null -o "$work/$name-2.o"
  cc -x c -std=gnu11 "$@" -c $test/cases_c.c -o "$work/$name-3.o"
}

# check NAME FLAG...: links $work/NAME-*.o, runs, and compares with the base.
check() {
  local name=$1
  shift
  cc "$@" -rdynamic "$work/main.o" "$work"/stand_in*.o "$work/$name"-*.o -o "$work/$name"
  "$work/$name" --hits >"$work/$name.out" 2>"$work/$name.hits" || {
    tail -n 5 "$work/$name.hits" >&2
    fail "$name crashed"
  }
  diff "$work/base.out" "$work/$name.out" >&2 || fail "$name computes something else"
  if [ "$name" != base ] && grep ' 0$' "$work/$name.hits" >&2; then
    fail "$name: what is named above came by no probe"
  fi
  echo "probes_test: $name: $(awk '{n += $2} END {print n}' "$work/$name.hits") hits"
}

cc -std=c++20 -O2 -fPIC -c $test/main.cc -o "$work/main.o"
cc -std=c++20 -O2 -fPIC -c $test/stand_in.cc -o "$work/stand_in.o"
cc -c $test/stand_in.S -o "$work/stand_in_probe.o"
objects base -O2
check base

# ---- every level ---------------------------------------------------------------
levels=(0 1 2 3)
[ "$quick" != --quick ] || levels=(0 2)
[ "$quick" != --least ] || levels=(2)
for level in "${levels[@]}"; do
  objects "O$level" "-O$level" "${load[@]}"
  check "O$level"
done

# ---- other ways to compile and link ----------------------------------------------
if [ "$quick" != --least ]; then
  objects shared -O2 "${load[@]}" -mllvm -yamanote-tls=initial-exec -fPIC
  cc -shared "$work"/shared-*.o -o "$work/libcases.so"
  rm "$work"/shared-*.o
  cp "$work/libcases.so" "$work/shared-all.o"  # The linker looks inside.
  check shared -Wl,-rpath,"$work"
fi
if [ -z "$quick" ]; then
  objects static -O2 "${load[@]}" -fno-pie -g -ffunction-sections -fno-omit-frame-pointer
  check static -no-pie -Wl,--gc-sections
  objects avx -O3 "${load[@]}" -march=x86-64-v3 -g
  check avx
  objects asan -O1 "${load[@]}" -fsanitize=address,undefined -fno-sanitize=unsigned-integer-overflow
  check asan -fsanitize=address,undefined
  objects tsan -O1 "${load[@]}" -fsanitize=thread
  check tsan -fsanitize=thread
  if command -v "ld.lld-$major" >/dev/null; then
    for lto in thin full; do
      objects "lto-$lto" -O2 "${load[@]}" -flto=$lto
      check "lto-$lto" -flto=$lto -O2 "-fuse-ld=lld-$major"
    done
  fi
fi

# ---- how many probes, and where -----------------------------------------------------
cc -std=c++20 -O2 "${load[@]}" -mllvm -yamanote-report -S $test/shapes.cc -o "$work/shapes.s" \
  2>"$work/report"
sed -n 's|^// EXPECT: |yamanote: |p' $test/shapes.cc | sort >"$work/expected"
[ "$(wc -l <"$work/expected")" -gt 15 ] || fail "shapes.cc expects too little"
grep -v '_ZTW' "$work/report" | sort | diff "$work/expected" - >&2 ||
  fail "shapes.cc got other probes than it expects (<)"
reported=$(awk '/entry/ {gsub(",", ""); n += $4 + $6 + $8} END {print n}' "$work/report")
inserted=$(grep -c 'call.*yamanote_preempt_probe' "$work/shapes.s")
[ "$reported" = "$inserted" ] || fail "$reported probes are reported, $inserted are there"
# A probe by hand finds the flag by %fs, and makes no guard.
printf '%s\n' '#include "yamanote/preempt.h"' 'void g(); void f() { g(); yamanote::Probe(); }' |
  cc -std=c++20 -O2 "${load[@]}" -mllvm -yamanote-report -x c++ -c - -o /dev/null 2>"$work/by_hand"
grep -qx 'yamanote: _Z1fv: entry 1, loops 0' "$work/by_hand" ||
  fail "with a probe by hand: $(<"$work/by_hand")"
# What may be alive: less if the function can't name AVX-512's registers or x87's, and
# stays itself.
loop='T f(T* a, int n) { T s = 1; for (int i = 0; i < n; ++i) { s = s * 3 + a[i]; ASM; } return s; }'
for case in '70 -O2' '70 -O2 -mavx2' '71 -O2 -DX87' '70 -O2 -DR' '71 -O2 -DST' '71 -O2 -DMM' '231 -O2 -mavx512f' '231 -O2 -flto=thin' '231 -O2 -flto=full'; do
  # shellcheck disable=SC2086  # Several words.
  printf '%s\n' '#ifdef X87' '#define T long double' '#else' '#define T int' '#endif' \
    '#ifdef R' '#define ASM asm("" : "+r"(s))' '#elif defined(ST)' \
    '#define ASM double d; asm("fldz" : "=t"(d)); s += d' '#elif defined(MM)' \
    '#define ASM long m; asm("pxor %0, %0" : "=y"(m)); s += m' '#else' '#define ASM' '#endif' \
    "$loop" | cc "${load[@]}" ${case#* } -c -emit-llvm -x c++ - -o "$work/alive.bc"
  alive=$(cc -x ir "$work/alive.bc" -S -emit-llvm -o - | sed -nE 's/.*\.byte 0xa8, ([0-9]+), .*/\1/p' |
    sort -u)
  [ "$alive" = "${case%% *}" ] || fail "with ${case#* } these may be alive: $alive, not ${case%% *}"
done
# An assembler that pads leaves what the runtime reads. Gaps between the cold parts, for all
# distances from a boundary.
for n in $(seq 64); do
  echo "void g(int); extern \"C\" void f$n(int n) {" \
    "asm volatile(\".subsection 1; .fill $((n * 7 % 32)), 1, 0x90; .previous\");" \
    "do g(n); while (--n); }"
done >"$work/pads.cc"
for pads in '-mbranches-within-32B-boundaries' \
  '-mllvm -x86-align-branch-boundary=32 -mllvm -x86-align-branch=jcc+fused+jmp+call+ret+indirect -mllvm -x86-pad-max-prefix-size=5'; do
  for model in '-fno-pic local-exec' '-fPIC initial-exec'; do
    # shellcheck disable=SC2086  # Several words.
    cc -std=c++20 -O2 $pads "${load[@]}" ${model% *} -mllvm -yamanote-tls="${model#* }" \
      -c "$work/pads.cc" -o "$work/pads.o"
    said=$(instrument/gcc/tests/cold_parts.py "$work/pads.o") || fail "with $pads"
    [ "$said" = '46 128 times' ] || fail "with $pads $model: $said"
  done
done
# A short loop's first two rounds have none, unless it is optimised for size or not at all.
# (Optimised, a loop meets its probe in the round in which it ends, too.)
for case in '-O2 0 0 1 2 3 4 5' '-Os 1 2 3 4 5 6 7' '-O0 0 1 2 3 4 5 6'; do
  cc -std=c++20 "${case%% *}" "${load[@]}" -c $test/rounds.cc -o "$work/rounds.o"
  cc -rdynamic "$work"/stand_in*.o "$work/rounds.o" -o "$work/rounds"
  rounds=$("$work/rounds")
  [ "$rounds" = "${case#* }" ] || fail "with ${case%% *} rounds come by $rounds probes, not ${case#* }"
done
guards=$(grep -c '^yamanote: .*: guarded' "$work/report")
[ "$(grep -c 'mov.*, %fs:yamanote_preempt_guard@TPOFF' "$work/shapes.s")" = $((2 * guards)) ] ||
  fail "not every guarded function sets and restores the guard"
# An inline function in a section group takes its probes along.
cc -c -O2 -ffunction-sections "${load[@]}" -std=c++20 $test/shapes.cc -o "$work/shapes.o"
cc -O2 -Rpass=yamanote -Wno-error "${load[@]}" -std=c++20 -c $test/shapes.cc -o /dev/null \
  2>"$work/remarks"
grep -q 'remark: leaf: entry 0, loops 0' "$work/remarks" || fail "-Rpass=yamanote says nothing"

# ---- copies of inline functions ----------------------------------------------------
# Units and stand-in are those of the GCC plug-in's test: each use runs in a unit without
# probes and in one with them, and must meet none, or some.
copies=instrument/gcc/tests/copies
# weak FILE - writes the weak functions of an object file or a program to FILE.names.
weak() { nm "$1" | awk '$2 == "W" {print $3}' | sort >"$1.names"; }
cc -std=c++20 -O1 -c $copies/main.cc -o "$work/copies-main.o"
cc -c instrument/gcc/tests/stand_in_probe.S -o "$work/copies-probe.o"
for level in 0 2; do
  cc -std=c++20 "-O$level" -c $copies/side.cc -o "$work/plain$level.o"
  cc -std=c++20 "-O$level" "${load[@]}" -DYAMANOTE_PREEMPTIBLE=1 -c $copies/side.cc \
    -o "$work/probed$level.o"
  for order in "plain$level.o probed$level.o" "probed$level.o plain$level.o"; do
    # shellcheck disable=SC2086  # Two words.
    (cd "$work" && cc copies-main.o copies-probe.o $order -o copies && timeout 120 ./copies) ||
      fail "copies at -O$level, in the order $order"
  done
done
kept='_ZN6shared(4Used|6Labels)Em|_ZN6shared8VersionsEm(\.avx2|\.default|\.ifunc|\.resolver)?'
kept="^($kept|_ZN6shared8ExplicitImE(3Get|4More)Em|_Z(TW|TH|GV)?N6shared9of_threadE|__clang_call_terminate)\$"
weak "$work/plain0.o"
weak "$work/probed0.o"
diff <(grep -vE "$kept" "$work/plain0.o.names" | sed 's/$/.preemptible/') \
  <(grep -vE "$kept" "$work/probed0.o.names") >&2 || fail "other functions have names of their own (>)"
for name in shared_c _ZN6shared4BaseC2Em _ZN6shared4BaseD0Ev _ZThn8_N6shared4BothD0Ev \
  _ZTcv0_n40_v0_n24_N6shared4Both4SelfEv _ZZN6shared10LocalClassEmEN5Local3GetEm; do
  grep -qx "$name.preemptible" "$work/probed0.o.names" || fail "$name has no name of its own"
done
if [ -z "$quick" ]; then
  # Two units with the same parts of the standard library.
  for unit in First Second; do
    cc -std=c++20 -O2 "${load[@]}" -DUNIT=$unit -c $copies/library.cc -o "$work/library$unit.o"
  done
  cc -std=c++20 $copies/library_main.cc "$work/copies-probe.o" "$work"/library*.o -o "$work/library"
  "$work/library" >/dev/null || fail "units with the standard library"
  weak "$work/library"
  # Wrappers are the main program's, which has no probes.
  ! grep '^_Z' "$work/library.names" | grep -vE '^_ZTW|preemptible$' >&2 ||
    fail "what is named above has no name of its own"
fi

# ---- mistakes -------------------------------------------------------------------------
! cc "${load[@]}" -mllvm -yamanote-tls=wrong -c $test/shapes.cc -o /dev/null 2>"$work/said" ||
  fail "a wrong -yamanote-tls is accepted"
grep -q "Cannot find option named 'wrong'" "$work/said" || fail "a wrong -yamanote-tls: $(<"$work/said")"
! cc "${load[@]}" --target=aarch64-linux-gnu -ffreestanding -xc -c /dev/null -o /dev/null \
  2>"$work/said" || fail "another processor is accepted"
grep -q 'x86-64 ELF' "$work/said" || fail "another processor: $(<"$work/said")"
for other in $(seq 13 19); do
  if [ "$other" != "$major" ] && command -v "clang-$other" >/dev/null; then
    ! "clang-$other" "${load[@]}" -xc -c /dev/null -o /dev/null 2>"$work/said" ||
      fail "clang $other loads a plug-in for $major"
    grep -q "this plug-in is for LLVM $major" "$work/said" || fail "clang $other: $(<"$work/said")"
  fi
done
echo "probes_test: $cxx: all is well"
