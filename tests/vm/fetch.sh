#!/bin/bash
# fetch.sh - brings what a virtual machine needs into the cache; prints the cache's folder.
#
#   tests/vm/fetch.sh
#
# A kernel with sched_ext, QEMU, a static busybox and libbpf, all of them Debian's, the
# newer ones from its backports. apt is asked with a configuration of its own: neither the
# machine's list of sources nor its packages change. Where packages come from is what the
# machine's own sources say.
#
#   YAMANOTE_VM_CACHE    the cache (default: ~/.cache/yamanote/vm)
#   YAMANOTE_VM_KERNEL   only this kernel, for example 6.18.15+deb13

set -euo pipefail
cache=${YAMANOTE_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/yamanote/vm}
# In order of preference; backports drop versions. 7.1.13 and 7.2.12 have malformed type
# information of kernel functions, on which BPF programs do not load.
kernels=(7.0.{13,12,10,9,7,4}+deb13 6.18.{15,12,9,5}+deb13 6.17.{13,8}+deb13
  6.19.{14,13,11,10,8,6}+deb13 7.2.{6,9,11}+deb13 7.1.{8,7,3}+deb13 7.3.4+deb13)
[ -z "${YAMANOTE_VM_KERNEL:-}" ] || kernels=("$YAMANOTE_VM_KERNEL")

fail() {
  echo "tests/vm: $1" >&2
  exit 1
}

apt=(-o "Dir::Etc::sourcelist=$cache/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$cache/apt/lists" -o "Dir::Cache=$cache/apt"
  -o "Dir::Cache::archives=$cache/apt/archives" -o Debug::NoLocking=1
  -o APT::Sandbox::User= -o Acquire::Languages=none)

update() {
  [ -z "${updated:-}" ] || return 0
  updated=yes
  command -v apt-get >/dev/null || fail "apt-get is needed to fetch Debian's packages"
  local uri suite
  # shellcheck disable=SC2016  # apt expands them.
  uri=$(apt-get indextargets --format '$(SITE) $(CODENAME)' \
    'Identifier: Packages' 'Origin: Debian' 'Label: Debian' | awk '!seen++ {print $1}')
  [ -n "$uri" ] || fail "apt knows no source of Debian's packages; run 'apt-get update' once"
  mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
  for suite in bookworm bookworm-backports trixie-backports; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main"
  done >"$cache/apt/sources.list"
  echo "tests/vm: fetching the lists of packages" >&2
  apt-get "${apt[@]}" -qq update >&2
}

# Unpacks PACKAGE... into FOLDER, which appears only when all of it is there.
unpack() {
  local to=$1 package
  shift
  rm -rf "$to.new"
  mkdir -p "$to.new"
  for package in "$@"; do dpkg -x "$package" "$to.new"; done
  rm -rf "$to"
  mv "$to.new" "$to"
}

# Each kernel's folder has its vmlinuz.
have_kernel() {
  for version in "${kernels[@]}"; do
    [ -e "$cache/kernel-$version/vmlinuz" ] || continue
    echo "$version"
    return 0
  done
  return 1
}

fetch_kernel() {
  local version kind package folder image
  for version in "${kernels[@]}"; do
    # The image is in linux-binary since 6.19, where linux-image has its modules.
    for kind in binary image; do
      package=linux-$kind-$version-cloud-amd64
      folder=$cache/kernel-$version
      apt-cache "${apt[@]}" show "$package" >/dev/null 2>&1 || continue
      rm -rf "$cache/deb"
      mkdir -p "$cache/deb"
      (cd "$cache/deb" && apt-get "${apt[@]}" -qq download "$package" >&2) || continue
      unpack "$folder.deb" "$cache"/deb/*.deb
      rm -rf "$cache/deb"
      # In /boot, or since 7.2 among its modules.
      image=$(find "$folder.deb" -name 'vmlinuz*' -type f -print -quit)
      if [ -n "$image" ]; then
        mkdir -p "$folder"
        mv "$image" "$folder/vmlinuz"
        rm -rf "$folder.deb"
        echo "$version"
        return 0
      fi
      rm -rf "$folder.deb"
    done
  done
  fail "none of these kernels can be fetched: ${kernels[*]}; name another in YAMANOTE_VM_KERNEL"
}

# QEMU and libbpf with what they need that this machine has not.
fetch_tools() {
  rm -f "$cache"/apt/archives/*.deb
  apt-get "${apt[@]}" -qq -y --no-install-recommends --download-only --reinstall \
    -t bookworm-backports install qemu-system-x86 libbpf-dev zlib1g-dev >&2 ||
    fail "QEMU and libbpf of bookworm-backports could not be fetched"
  (cd "$cache/apt/archives" && apt-get "${apt[@]}" -qq download busybox-static >&2) ||
    fail "busybox-static could not be fetched"
  unpack "$cache/tools" "$cache"/apt/archives/*.deb
  rm -f "$cache"/apt/archives/*.deb
}

mkdir -p "$cache"
kernel=$(have_kernel) || {
  update
  kernel=$(fetch_kernel)
}
[ -x "$cache/tools/usr/bin/qemu-system-x86_64" ] || {
  update
  fetch_tools
}
ln -sfn "kernel-$kernel" "$cache/kernel"
echo "$cache"
