#!/bin/bash
# install_test.sh BUILD CXX PROBES - installs BUILD to an empty prefix, then builds and
# runs outside programs against it with CMake and with pkg-config.
#
# PROBES: ON or OFF, whether BUILD has the plug-ins. If it has, a program is preempted, with
# each compiler whose plug-in is installed and that is there, and what cannot work is refused.

set -euo pipefail
build=$1
cxx=$2
probes=$3
source=$(cd "$(dirname "$0")" && pwd)/outside
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
first=$work/first
prefix=$work/usr

# Moved after installing: nothing may remember where it was installed to.
cmake --install "$build" --prefix "$first" >"$work/install.log" ||
  { cat "$work/install.log"; exit 1; }
mv "$first" "$prefix"

for file in bin/yamanote bin/yamanoted lib/systemd/system/yamanoted.service \
  share/man/man1/yamanote.1 share/man/man8/yamanoted.8 \
  share/bash-completion/completions/yamanote share/zsh/site-functions/_yamanote \
  share/bash-completion/completions/yamanoted share/zsh/site-functions/_yamanoted \
  share/fish/vendor_completions.d/yamanote.fish \
  share/fish/vendor_completions.d/yamanoted.fish; do
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

if [ "$probes" = OFF ]; then
  echo "== all is well, without probes"
  exit 0
fi

plugins=$(dirname "$PKG_CONFIG_PATH")/yamanote
# preempted COMPILER FITS - the plug-in for FITS works in COMPILER.
preempted() {
  local compiler=$1 fits=$2 package=yamanote-preemptible-${2%%.*} program
  echo "== probes: $fits with CMake"
  cmake -S "$source/preempted" -B "$work/$fits" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" >"$work/cmake.log" 2>&1 ||
    { cat "$work/cmake.log"; exit 1; }
  cmake --build "$work/$fits"
  "$work/$fits/preempted"
  echo "== probes: $fits with pkg-config and make"
  cp -r "$source/preempted" "$work/$package"
  make -C "$work/$package" CXX="$compiler" YAMANOTE="$package"
  "$work/$package/preempted"
  # Locks of the process hold preemption off in both.
  for program in "$work/$fits/preempted" "$work/$package/preempted"; do
    nm "$program" >"$work/names"
    grep -q ' T pthread_mutex_lock$' "$work/names" || { echo "$program has no locks of ours"; exit 1; }
  done
}

if "$cxx" --version | grep -q clang; then
  own=clang-$("$cxx" -dumpversion | cut -d. -f1)
else
  own=gcc-$("$cxx" -dumpfullversion)
fi
preempted "$cxx" "$own"
for folder in "$plugins"/*; do
  fits=$(basename "$folder")
  compiler=${fits%%.*}  # clang-19
  compiler=${compiler/-/++-}
  compiler=${compiler/gcc/g}
  [ "$fits" != "$own" ] || continue
  if command -v "$compiler" >/dev/null; then
    preempted "$compiler" "$fits"
  else
    echo "== probes: $fits is not tried: there is no $compiler"
  fi
done

echo "== the example, with CMake and with make"
example=$source/../../examples/primes
cmake -S "$example" -B "$work/example" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_CXX_COMPILER="$cxx" >"$work/cmake.log" || { cat "$work/cmake.log"; exit 1; }
cmake --build "$work/example"
cp -r "$example" "$work/primes"
make -C "$work/primes" CXX="$cxx" PACKAGE="yamanote-preemptible-${own%%.*}"
for program in "$work/example/primes" "$work/primes/primes"; do
  coproc SERVER { exec "$program" 127.0.0.1:0; }
  server=$SERVER_PID
  read -r -t 20 -u "${SERVER[0]}" _ address
  exec 3<>"/dev/tcp/127.0.0.1/${address##*:}"
  printf '1000\nnone\n' >&3
  read -r -t 20 -u 3 primes
  read -r -t 20 -u 3 refusal
  exec 3>&-
  kill -TERM "$server"
  wait "$server" || { echo "the example ended with $?"; exit 1; }
  [ "$primes" = 168 ] || { echo "168 primes are below 1000, not '$primes'"; exit 1; }
  [[ $refusal = error:* ]] || { echo "'none' was answered with '$refusal'"; exit 1; }
done

echo "== probes: what cannot work"
# refused TEXT - configuring again fails, and says so.
refused() {
  ! cmake "$work/$own" >"$work/cmake.log" 2>&1 || { echo "not refused: $1"; exit 1; }
  tr '\n' ' ' <"$work/cmake.log" | tr -s ' ' | grep -q "$1" || { cat "$work/cmake.log"; exit 1; }
}
mv "$plugins/$own" "$plugins/${own%%-*}-1.0"
refused "there are:.* ${own%%-*}-1.0: .*Use one of these compilers"
rm -r "$plugins"
refused "no plug-in that inserts probes was built or installed"
echo "== all is well"
