#!/bin/bash
# test.sh JOBS - builds and passes all tests: dev, asan, tsan, then lint.
#
# Tests leave a good part of the processors unused, so the next preset is built meanwhile,
# beneath them (SCHED_IDLE: the kernel runs a test at once that wants to run).

set -euo pipefail
jobs=$1
cd "$(dirname "$0")/.."

builder=
end() {
  # Make, ninja and compilers end with it: they are one process group.
  [ -z "$builder" ] || kill -TERM -- "-$builder" 2>/dev/null || true
}
trap end EXIT

beneath=(nice -n 19)
! chrt --idle 0 true 2>/dev/null || beneath=(chrt --idle 0)

build_beneath() {
  set -m
  "${beneath[@]}" packaging/check-preset.sh "$1" "$jobs" build &
  set +m
  builder=$!
}

finish_build() {
  local status=0
  wait "$builder" || status=$?
  builder=
  [ "$status" = 0 ] || exit "$status"
}

packaging/check-preset.sh dev "$jobs" build
build_beneath asan
packaging/check-preset.sh dev "$jobs" test
finish_build
build_beneath tsan
packaging/check-preset.sh asan "$jobs" test
finish_build
packaging/check-preset.sh tsan "$jobs" test
packaging/lint.sh --quick "$jobs"
echo "== all tests passed"
