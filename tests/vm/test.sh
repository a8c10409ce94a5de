#!/bin/bash
# test.sh [--smoke] [JOBS] - sched_ext in the machine, program by program.
#
# What `make test-vm` runs, each program in a machine of its own; with --smoke what
# `make test` does, in one, and in a second one if that fails: under emulation, beside
# others, the kernel's own threads may have a CPU for long.
#
#   YAMANOTE_VM_TESTS   only these programs

set -euo pipefail
cd "$(dirname "$0")/../.."
machines=(scx_protocol_test scx_agents_test native_command)
filter='*'
name=test-vm
if [ "${1:-}" = --smoke ]; then
  # All messages and transaction results; each policy and placement; nothing for long.
  machines=("scx_protocol_test scx_agents_test")
  filter='-*Storm*:*UnderLoad*:*Outlives*:*Silent*:*Pinned*'
  name=vm
  shift
fi
jobs=${1:-2}
[ -z "${YAMANOTE_VM_TESTS:-}" ] || read -ra machines <<<"$YAMANOTE_VM_TESTS"

echo "== $name: building"
log=build/dev/vm.log
mkdir -p build/dev
read -ra targets <<<"${machines[*]/#native_command/yamanote_command}"
{ tests/vm/configure.sh && cmake --build build/dev -j "$jobs" --target "${targets[@]}"; } \
  >"$log" 2>&1 || { cat "$log" && exit 1; }

# Tests programs in a machine, one after another.
run() {
  # shellcheck disable=SC2016  # The machine expands it.
  tests/vm/vm.sh --seconds 400 "${add[@]}" -- sh -c '
    echo "Linux $(uname -r), $(nproc) CPUs"
    [ "$(cat /sys/kernel/sched_ext/state)" = disabled ] || {
      echo "this kernel has no sched_ext"
      exit 1
    }
    filter=$1
    shift
    for program; do
      "/$program" --gtest_color=no --gtest_filter="$filter" && continue
      status=$?
      dmesg | grep -A 20 sched_ext: | tail -n 60
      exit "$status"
    done' test "$filter" "$@"
}

for programs in "${machines[@]}"; do
  echo "== $name: $programs"
  if [ "$programs" = native_command ]; then
    # Busybox has neither of the two.
    tests/vm/vm.sh --seconds 400 --add build/dev/bin/yamanote --add "$(command -v nice)" \
      --add "$(command -v chrt)" --add tests/vm/native_command.sh -- sh /native_command.sh
    continue
  fi
  read -ra list <<<"$programs"
  add=()
  for program in "${list[@]}"; do add+=(--add "build/dev/bin/$program"); done
  if run "${list[@]}"; then continue; fi
  [ "$name" = vm ] || exit 1
  echo "== $name: once more"
  run "${list[@]}"
done
echo "== $name: all passed"
