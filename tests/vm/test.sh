#!/bin/bash
# test.sh [JOBS] - what `make test-vm` runs: sched_ext in the machine, program by program.
#
# Each program gets a machine of its own, which ends with it.
#
#   YAMANOTE_VM_TESTS   only these programs

set -euo pipefail
cd "$(dirname "$0")/../.."
jobs=${1:-2}

echo "== test-vm: packages and a kernel"
cache=$(tests/vm/fetch.sh)
# shellcheck disable=SC2016  # The machine expands it.
tests/vm/vm.sh --seconds 90 sh -c '
  echo "Linux $(uname -r), $(nproc) CPUs"
  [ "$(cat /sys/kernel/sched_ext/state)" = disabled ] || {
    echo "this kernel has no sched_ext"
    exit 1
  }'

read -ra programs <<<"${YAMANOTE_VM_TESTS:-scx_protocol_test scx_agents_test native_command}"
targets=("${programs[@]/#native_command/yamanote_command}")
echo "== test-vm: building ${targets[*]}"
cmake --preset dev -B build/vm -DYAMANOTE_SCX=ON "-DYAMANOTE_LIBBPF_ROOT=$cache/tools" >/dev/null
nice -n 10 cmake --build build/vm -j "$jobs" --target "${targets[@]}" >build/vm/log ||
  { cat build/vm/log && exit 1; }

for program in "${programs[@]}"; do
  echo "== test-vm: $program"
  if [ "$program" = native_command ]; then
    # Busybox has neither of the two.
    tests/vm/vm.sh --seconds 400 --add build/vm/bin/yamanote --add "$(command -v nice)" \
      --add "$(command -v chrt)" --add tests/vm/native_command.sh -- sh /native_command.sh
    continue
  fi
  # shellcheck disable=SC2016  # The machine expands it.
  tests/vm/vm.sh --seconds 400 --add "build/vm/bin/$program" -- sh -c '
    "$0" --gtest_color=no && exit
    status=$?
    dmesg | grep -A 20 sched_ext: | tail -n 60
    exit "$status"' "/$program"
done
echo "== test-vm: all passed"
