#!/bin/bash
# vm.sh - runs a command as root in a virtual machine with a kernel that has sched_ext.
#
#   tests/vm/vm.sh [--cpus N] [--seconds N] [--add FILE]... [--] COMMAND [ARGUMENT...]
#
# The machine has busybox, the FILEs in / with the libraries that they need, and nothing
# else: no disk, no network. What the command prints comes out here; the exit status is the
# command's, 124 when it took longer than --seconds, 125 when the machine did not start.
#
#   YAMANOTE_VM_ACCEL   kvm or tcg (default: KVM if a kernel boots with it in 10 s)

set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
cpus=2
seconds=120
files=()
while [ $# -gt 0 ]; do
  case "$1" in
    --cpus) cpus=$2 && shift 2 ;;
    --seconds) seconds=$2 && shift 2 ;;
    --add) files+=("$2") && shift 2 ;;
    --) shift && break ;;
    -*) echo "vm.sh: there is no option '$1'" >&2 && exit 2 ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || {
  echo "vm.sh: say which command to run" >&2
  exit 2
}

cache=$("$here/fetch.sh")
tools=$cache/tools
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- The root file system

root=$work/root
mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc}
cp "$tools/bin/busybox" "$root/bin/"
for file in "${files[@]}"; do
  cp "$file" "$root/"
  # The dynamic linker and the libraries, where the program looks for them.
  # A script has none.
  { ldd "$file" 2>/dev/null | grep -oE '/[^ ]+' || true; } | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
  done
done
printf '%q ' "$@" >"$root/command"
cat >"$root/init" <<'EOF'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mount -t tmpfs tmpfs /tmp
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
ip link set lo up
echo "vm-start"
cd /
sh /command </dev/null 2>&1
echo "vm-exit $?"
poweroff -f
EOF
chmod +x "$root/init"
(cd "$root" && find . | "$tools/bin/busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initrd"

# ---- The machine

# Runs QEMU with ACCELERATOR for SECONDS at most; what the machine says goes to FILE.
boot() {
  local accelerator=$1 limit=$2 to=$3
  LD_LIBRARY_PATH=$tools/usr/lib/x86_64-linux-gnu:$tools/lib/x86_64-linux-gnu \
    QEMU_MODULE_DIR=$tools/usr/lib/x86_64-linux-gnu/qemu \
    timeout --kill-after=5 "$limit" nice -n 10 "$tools/usr/bin/qemu-system-x86_64" \
    -L "$tools/usr/share/qemu" -L "$tools/usr/share/seabios" \
    -accel "$accelerator" -machine q35 -cpu max -smp "$cpus" -m 1024 \
    -nodefaults -no-user-config -no-reboot -display none -nic none -serial stdio \
    -kernel "$cache/kernel/vmlinuz" -initrd "$work/initrd" \
    -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off tsc=nowatchdog" \
    </dev/null >"$to" 2>&1
}

# Whether a kernel gets anywhere with KVM here. Some machines have /dev/kvm and it does
# not; that is found out once.
kvm_works() {
  [ -w /dev/kvm ] || return 1
  [ -e "$cache/kvm" ] || {
    local log=$work/kvm.log
    { boot kvm 10 "$log"; } 2>/dev/null &
    local qemu=$! i answer=no
    for ((i = 0; i < 100; ++i)); do
      if grep -q '^vm-start' "$log" 2>/dev/null; then answer=yes && break; fi
      kill -0 "$qemu" 2>/dev/null || break
      sleep 0.1
    done
    kill "$qemu" 2>/dev/null || true
    wait "$qemu" 2>/dev/null || true
    echo "$answer" >"$cache/kvm"
  }
  [ "$(cat "$cache/kvm")" = yes ]
}

accelerator=${YAMANOTE_VM_ACCEL:-}
if [ -z "$accelerator" ]; then
  if kvm_works; then accelerator=kvm; else accelerator=tcg; fi
fi
[ "$accelerator" = kvm ] || accelerator=tcg,thread=multi

status=0
mkfifo "$work/console"
(boot "$accelerator" "$seconds" "$work/console" || echo "$?" >"$work/failed") &
qemu=$!
trap 'kill "$qemu" 2>/dev/null || true; rm -rf "$work"' EXIT
# Up to its start the machine tells only what matters when there is none.
sed -u 's/\r//g' <"$work/console" | tee "$work/log" |
  sed -n --unbuffered '/^vm-start$/,${/^vm-start$/d;/^vm-exit [0-9]*$/q;p}' || true
wait "$qemu" || true
if grep -q '^vm-exit [0-9]*$' "$work/log"; then
  status=$(sed -n 's/^vm-exit \([0-9]*\)$/\1/p' "$work/log" | tail -n 1)
elif [ "$(cat "$work/failed" 2>/dev/null)" = 124 ]; then
  echo "tests/vm: stopped after $seconds s" >&2
  grep -q '^vm-start$' "$work/log" || tail -n 20 "$work/log" >&2
  status=124
else
  echo "tests/vm: the machine did not get as far as the command:" >&2
  tail -n 20 "$work/log" >&2
  status=125
fi
exit "$status"
