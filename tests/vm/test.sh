#!/bin/bash
# test.sh [JOBS] - what `make test-vm` runs: a kernel with sched_ext boots and has it.

set -euo pipefail
cd "$(dirname "$0")/../.."

echo "== test-vm: a kernel boots"
# shellcheck disable=SC2016  # The machine expands it.
tests/vm/vm.sh --seconds 90 sh -c '
  echo "Linux $(uname -r), $(nproc) CPUs"
  [ "$(cat /sys/kernel/sched_ext/state)" = disabled ] || {
    echo "this kernel has no sched_ext"
    exit 1
  }'
echo "== test-vm: all passed"
