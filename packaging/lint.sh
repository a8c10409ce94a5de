#!/bin/bash
# lint.sh --quick|--all JOBS - checks that need no tests to run.
#
# --quick: the rooms' dependency rule, formatting, clang-tidy on src/ without its
#          tests and without the static analyzer.
# --all:   the same, but clang-tidy on src, apps, tools and tests, with tests and
#          analyzer.
# Needs the configured preset `asan` (clang's compile commands).

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

echo "== lint: clang-tidy"
[ -f build/asan/compile_commands.json ] || cmake --preset asan >/dev/null
patterns=('src/*.cc')
[ "$scope" = --quick ] || patterns+=('apps/*.cc' 'tools/*.cc' 'tests/*.cc')
# A test is linted with --all only: most of its text is GoogleTest's macros.
# The analyzer takes most of the time; the full run has it.
checks=()
[ "$scope" = --all ] || checks=('--checks=-clang-analyzer-*')
skip='^$'
[ "$scope" = --all ] || skip='_(test|fuzz|fuzzer)\.cc$'
mapfile -t sources < <(git ls-files "${patterns[@]}" | grep -v -E "$skip")
start=$SECONDS
printf '%s\n' "${sources[@]}" |
  xargs -P "$jobs" -n 4 clang-tidy-19 --quiet -p build/asan --warnings-as-errors='*' "${checks[@]}" \
    2> >(grep -v -E 'warnings generated|Suppressed|Use -header-filter' >&2 || true)
echo "   ${#sources[@]} files, $((SECONDS - start)) s"
