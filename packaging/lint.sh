#!/bin/bash
# lint.sh --quick|--all JOBS - checks that need no tests to run.
#
# --quick: the rooms' dependency rule and formatting.
# --all:   the same, then clang-tidy with the static analyzer on every C++ source.

set -euo pipefail
scope=$1
jobs=$2
cd "$(dirname "$0")/.."

echo "== lint: rooms"
python3 tools/check_rooms.py

echo "== lint: formatting"
git ls-files '*.cc' '*.h' | xargs clang-format-19 --dry-run -Werror || {
  echo "lint: what is named above is not formatted; run \`make format\`" >&2
  exit 1
}

[ "$scope" = --all ] || exit 0

echo "== lint: clang-tidy"
# clang's compile commands, one for each file.
cmake --preset asan -B build/lint -DCMAKE_UNITY_BUILD=OFF \
  -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
mapfile -t sources < <(git ls-files 'src/*.cc' 'apps/*.cc' 'tools/*.cc' 'tests/*.cc')
start=$SECONDS
# Checks FILES with further arguments of clang-tidy's.
tidy() {
  xargs -P "$jobs" -n 4 clang-tidy-19 --quiet -p build/lint --warnings-as-errors='*' "$@" \
    2> >(grep -v -E 'warnings generated|Suppressed|Use -header-filter' >&2 || true)
}
printf '%s\n' "${sources[@]}" | grep -v '_test\.cc$' | tidy
# A test may copy and allocate.
printf '%s\n' "${sources[@]}" | grep '_test\.cc$' | tidy --checks='-performance-*'
echo "   ${#sources[@]} files, $((SECONDS - start)) s"
