#!/bin/bash
# shellcheck disable=SC2034  # The groups are read by name, through `packages`.
#
# install-deps.sh - installs the Debian packages that Yamanote needs.
#
#   packaging/install-deps.sh [build|test|native|bench]...     default: build test native
#   packaging/install-deps.sh --list [group]...          only print the names
#
# Does nothing, and needs neither root nor the network, when all of them are
# there. Exit status: 0 all are installed, 1 not, 2 wrong arguments.

set -euo pipefail
# What a release build needs.
build=(
  g++ gcc-12-plugin-dev make cmake ninja-build ccache git pkg-config
  libexpected-dev libfmt-dev libspdlog-dev libhwloc-dev libtomlplusplus-dev
  libcli11-dev nlohmann-json3-dev rapidjson-dev libxxhash-dev librocksdb-dev
)
# What `make test` and `make lint` need beside it.
test=(
  clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev llvm-19-dev lld-19
  libgtest-dev libgmock-dev
  memcached libmemcached-tools redis-tools python3 python3-pymemcache chromium
  util-linux zsh fish groff-base spin
)
# What scheduling native threads needs: a build without it does everything else.
native=(libbpf-dev clang-19)
# What bench/ measures Yamanote against.
bench=(
  libboost-dev libboost-fiber-dev libboost-context-dev libtbb-dev
  golang-go memcached python3 python3-matplotlib
)

fail() {
  echo "install-deps: $1" >&2
  exit "${2:-1}"
}

list_only=no
groups=()
for argument in "$@"; do
  case "$argument" in
    build | test | native | bench) groups+=("$argument") ;;
    --list) list_only=yes ;;
    *) fail "'$argument' is no group; the groups are build, test, native and bench" 2 ;;
  esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build test native)

wanted=()
for group in "${groups[@]}"; do
  declare -n packages="$group"
  wanted+=("${packages[@]}")
  # The report embeds a chart library from npm; any npm will do, Debian's if none.
  if [ "$group" = build ] && ! command -v npm >/dev/null; then
    wanted+=(nodejs npm)
  fi
done

if [ "$list_only" = yes ]; then
  printf '%s\n' "${wanted[@]}" | sort -u
  exit 0
fi

command -v dpkg-query >/dev/null ||
  fail "this is not Debian or a relative of it, so nothing was installed. Install
  what these Debian packages contain with your own package manager, then run
  'make' with DEPS=no:
  ${wanted[*]}"

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null ||
    fail "these packages are missing and only root can install them. Run as root:
  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  as_root=(sudo)
fi

echo "install-deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get -q update ||
  fail "'apt-get update' failed; check the network and /etc/apt, then run this again"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get -q -y --no-install-recommends install "${missing[@]}" ||
  fail "could not install: ${missing[*]}
  Debian 12 (bookworm) with its security updates has all of them; see the message above."
