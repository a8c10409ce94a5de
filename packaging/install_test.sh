#!/bin/bash
# install_test.sh BUILD CXX - installs BUILD to an empty prefix, then builds and
# runs an outside program against it with CMake and with pkg-config.

set -euo pipefail
build=$1
cxx=$2
source=$(cd "$(dirname "$0")" && pwd)/outside
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
first=$work/first
prefix=$work/usr

# Moved after installing: nothing may remember where it was installed to.
cmake --install "$build" --prefix "$first" >"$work/install.log" ||
  { cat "$work/install.log"; exit 1; }
mv "$first" "$prefix"

for file in bin/yamanote share/man/man1/yamanote.1 \
  share/bash-completion/completions/yamanote share/zsh/site-functions/_yamanote \
  share/fish/vendor_completions.d/yamanote.fish; do
  [ -s "$prefix/$file" ] || { echo "not installed: $file"; exit 1; }
done
"$prefix/bin/yamanote" version --json >/dev/null

echo "== with CMake"
cmake -S "$source" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_CXX_COMPILER="$cxx" >"$work/cmake.log" || { cat "$work/cmake.log"; exit 1; }
cmake --build "$work/cmake"
"$work/cmake/outside"

echo "== with pkg-config"
export PKG_CONFIG_PATH
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name yamanote.pc)")
for mode in "" --static; do
  # shellcheck disable=SC2046,SC2086  # Flags are words; no mode is no word.
  "$cxx" "$source/main.cc" -o "$work/outside" $(pkg-config $mode --cflags --libs yamanote)
  "$work/outside"
done
echo "== both work"
