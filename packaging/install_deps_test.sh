#!/bin/bash
# install_deps_test.sh - install-deps.sh with the system's tools replaced: what
# it would run, as whom, and what it says when it can't.

set -euo pipefail
script=$(cd "$(dirname "$0")" && pwd)/install-deps.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A PATH of our own: only what the script may use, each writing what was asked.
make_tools() {
  rm -rf "${work:?}/bin"
  mkdir "$work/bin"
  for tool in bash env sort; do ln -s "$(command -v $tool)" "$work/bin/$tool"; done
  printf '#!/bin/bash\necho %s\n' "$user_id" >"$work/bin/id"
  printf '#!/bin/bash\nexit 0\n' >"$work/bin/npm"
  # Every package but those in $missing is installed.
  cat >"$work/bin/dpkg-query" <<END
#!/bin/bash
for word in $missing; do [ "\${*: -1}" = "\$word" ] && exit 1; done
echo installed
END
  printf '#!/bin/bash\necho "apt-get $*" >>"%s/calls"\n' "$work" >"$work/bin/apt-get"
  chmod +x "$work"/bin/*
  : >"$work/calls"
}

run() { PATH=$work/bin "$script" "$@" >"$work/out" 2>&1; }
fail() { echo "FAILED: $1"; cat "$work/out" "$work/calls"; exit 1; }

user_id=1000 missing=""
make_tools
run || fail "must succeed when everything is installed"
[ ! -s "$work/calls" ] || fail "must not call apt-get when everything is installed"

user_id=0 missing="ccache cmake"
make_tools
run build || fail "must install what is missing"
grep -q '^apt-get -q update$' "$work/calls" || fail "must update first"
grep -q 'install.* cmake' "$work/calls" || fail "must install cmake"
grep -q 'install.* ccache' "$work/calls" || fail "must install ccache"
! grep -q 'ninja' "$work/calls" || fail "must leave out what is installed"

missing="nodejs npm"
make_tools
rm "$work/bin/npm"
run build || fail "must install npm where there is none"
grep -q 'install.* nodejs npm' "$work/calls" || fail "must install nodejs and npm"

user_id=1000 missing="ccache cmake"
make_tools
! run build || fail "must fail without root and sudo"
grep -q 'only root can install' "$work/out" || fail "must say that root is needed"
grep -q 'cmake' "$work/out" || fail "must name the packages"

printf '#!/bin/bash\nexec "$@"\n' >"$work/bin/sudo"
chmod +x "$work/bin/sudo"
run build || fail "must use sudo where it is"
grep -q 'install' "$work/calls" || fail "must install through sudo"

make_tools
rm "$work/bin/dpkg-query"
! run || fail "must fail where there is no dpkg"
grep -q 'not Debian' "$work/out" || fail "must say that this is not Debian"

status=0
run nonsense || status=$?
[ $status -eq 2 ] || fail "an unknown group is wrong usage"
echo "all passed"
