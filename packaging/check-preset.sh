#!/bin/bash
# check-preset.sh PRESET JOBS - configures, builds and tests one preset.
#
# With VM=yes dev has sched_ext, and its tests' smoke runs in a virtual machine.
# Shows a line for each step with its time; the log of a failing step is printed.

set -euo pipefail
preset=$1
jobs=$2
cd "$(dirname "$0")/.."
mkdir -p "build/$preset"

step() {
  local name=$1 start=$SECONDS log=build/$preset/$1.log
  shift
  echo "== $preset: $name"
  if ! "$@" >"$log" 2>&1; then
    tail -n 200 "$log"
    echo "== $preset: $name FAILED after $((SECONDS - start)) s; all of it: $log" >&2
    exit 1
  fi
  echo "== $preset: $name took $((SECONDS - start)) s"
}

# TSan's shadow memory collides with strongly randomised mappings (the kernels'
# vm.mmap_rnd_bits of 32), so its programs run without randomisation.
run=()
# Most tests wait most of their time, so two share a core. Not under TSan: its tests are
# those of locks, which spin while another test has the core.
tests=$((2 * jobs))
if [ "$preset" = tsan ]; then
  run=(setarch "$(uname -m)" -R)
  tests=$jobs
fi

vm=no
[ "$preset" != dev ] || vm=${VM:-no}
if [ "$vm" = yes ] && ! tests/vm/fetch.sh >/dev/null; then
  echo "== dev: WITHOUT A VIRTUAL MACHINE: it could not be fetched; sched_ext is not tested" >&2
  vm=no
fi
if [ "$vm" = yes ]; then
  step configure tests/vm/configure.sh
else
  step configure cmake --preset "$preset"
fi
# The compiler's warnings are errors, so a quiet build is a clean one.
step build cmake --build --preset "$preset" -j "$jobs"
start=$SECONDS
echo "== $preset: test"
"${run[@]}" ctest --preset "$preset" -j "$tests" --progress
echo "== $preset: test took $((SECONDS - start)) s"
[ "$vm" = no ] || tests/vm/test.sh --smoke "$jobs"
