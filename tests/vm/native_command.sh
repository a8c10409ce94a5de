#!/bin/sh
# native_command.sh - `yamanote native` on sched_ext, in the machine, as root.
#
# Busybox' shell runs it; /yamanote, /nice and /chrt are there. What computes are loops of the
# shell; each wait is bounded.

yamanote=/yamanote
export YAMANOTE_NATIVE=/tmp/native
log=/tmp/log
checks=0
agents=0  # The number of the command that has them.

fail() {
  echo "FAILED: $*"
  echo "-- what the command said"
  cat $log /tmp/said 2>/dev/null
  [ "$agents" = 0 ] || kill -9 "$agents"
  exit 1
}
check() {
  what=$1
  shift
  "$@" || fail "$what: $*"
  checks=$((checks + 1))
}
eventually() {
  what=$1
  shift
  tries=0
  until "$@"; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || fail "$what: $*"
    sleep 0.1
  done
  checks=$((checks + 1))
}

# Of /proc/PID/stat, by its number there.
field() { sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f$(($2 - 2)); }
allowed() { sed -n 's/^Cpus_allowed_list:[^0-9]*//p' "/proc/$1/status"; }
has_class() { [ "$(field "$1" 41)" = "$2" ]; }
has_nice() { [ "$(field "$1" 19)" = "$2" ]; }
may_use() { [ "$(allowed "$1")" = "$2" ]; }
is_on() { [ "$(field "$1" 39)" = "$2" ]; }
# It has used more than $2 ticks of processor time.
has_used() { [ "$(field "$1" 14)" -gt "$2" ]; }
advances() {
  eventually "process $1 goes on" has_used "$1" $(($(field "$1" 14) + 10))
}
scheduler_is() { [ "$(cat /sys/kernel/sched_ext/state)" = "$1" ]; }
# A number of `stats --json`.
number() {
  "$yamanote" native stats "$1" --json | sed -n "s/^ *\"$2\": \([0-9]*\).*/\1/p"
}
number_is() { [ "$(number "$1" "$2")" = "$3" ]; }
exceeds() { [ "$(number "$1" "$2")" -gt "$3" ]; }
says() { grep -q -- "$2" "$1"; }
is_ordinary() {
  eventually "its class is the ordinary one" has_class "$1" 0
  eventually "its affinity is back" may_use "$1" 0-1
}
is_in_the_enclave() {
  check "its class is ext" has_class "$1" 7
  check "its affinity is the enclave's" may_use "$1" 1
}

# Starts an enclave in which a process and its child compute, with further FLAGS.
start_busy() {
  rm -f /tmp/first /tmp/second
  "$yamanote" native run --backend scx --cpus 1 --policy rr --slice 5ms --name busy "$@" -- \
    sh -c 'echo $$ >/tmp/first
      sh -c "echo \$\$ >/tmp/second; while :; do :; done" &
      while :; do :; done' >$log 2>&1 &
  agents=$!
  eventually "both compute" [ -s /tmp/second ]
  first=$(cat /tmp/first)
  second=$(cat /tmp/second)
}
end_busy() {
  kill -9 "$first" "$second" 2>/dev/null
  wait "$agents"
}

echo "== a program runs, and its status is the command's"
"$yamanote" native run --backend scx --cpus 1 -- sh -c 'exit 7' 2>$log
check "status" [ $? = 7 ]
check "the back-end is said" says $log "is scheduled by back-end scx"
check "the scheduler is gone" scheduler_is disabled
"$yamanote" native run --cpus 1 -- true 2>$log
check "status" [ $? = 0 ]
check "auto is scx here" says $log "is scheduled by back-end scx"

echo "== two that compute share a CPU"
start_busy
check "the scheduler is there" scheduler_is enabled
for process in "$first" "$second"; do
  is_in_the_enclave "$process"
  advances "$process"
  check "it is on the enclave's CPU" is_on "$process" 1
done
"$yamanote" native list >/tmp/said
check "list has the back-end" says /tmp/said "busy .* scx .* rr .* 5ms "
"$yamanote" native stats busy >/tmp/said
check "stats has the back-end" says /tmp/said "by scx"
"$yamanote" native stats busy --json >/tmp/said
check "so has its JSON" says /tmp/said '"backend": "scx"'
check "threads" number_is busy threads 2
check "commits" exceeds busy committed 10
check "messages" exceeds busy messages 10
check "passes" exceeds busy passes 10
check "nothing is lost" number_is busy lost_messages 0
guardian=$(number busy guardian)
check "the guardian is a process" [ -d "/proc/$guardian" ]

echo "== others join"
/nice -n 5 sleep 1000 &
sleeper=$!
/chrt -b 0 sleep 1000 &
batch=$!
eventually "it is a batch thread" has_class "$batch" 3
for process in "$sleeper" "$batch"; do
  "$yamanote" native attach busy "$process" >/tmp/said 2>&1
  check "it has joined" says /tmp/said "1 threads have joined"
  is_in_the_enclave "$process"
done
check "its nice value stays" has_nice "$sleeper" 5
check "who sleeps counts" number_is busy threads 4
"$yamanote" native attach busy "$agents" >/tmp/said 2>&1
check "agents cannot join" says /tmp/said "cannot schedule themselves"

echo "== what is refused while it is there"
"$yamanote" native run --backend scx --cpus 0 -- true >/tmp/said 2>&1
check "status" [ $? = 1 ]
check "who has the scheduler is named" says /tmp/said "process $agents has it for its enclave"
"$yamanote" native run --backend tracing --cpus 1 -- true >/tmp/said 2>&1
check "status" [ $? != 0 ]
check "the CPU is another's" says /tmp/said "CPU 1 is another enclave's"
"$yamanote" native run --backend scx --watchdog none --cpus 0 -- true >/tmp/said 2>&1
check "the watchdog is named" says /tmp/said "the watchdog is longer than 30s"
"$yamanote" native run --cpus 0 -- sh -c 'exit 4' >/tmp/said 2>&1
check "auto takes the other one" [ $? = 4 ]
check "it says why" says /tmp/said "back-end tracing, not scx: the scheduler"

echo "== upgrades"
"$yamanote" native upgrade busy --policy rr --slice 10ms --placement stealing >/tmp/said 2>&1
check "it is another placement" says /tmp/said "stealing placement, slice 10ms, by scx"
advances "$first"
advances "$second"
"$yamanote" native upgrade busy --policy cfs --slice 2ms --placement central >/tmp/said 2>&1
check "it is another policy" says /tmp/said "cfs on CPUs 1, central placement, slice 2ms, by scx"
advances "$first"
advances "$second"
check "upgrades" number_is busy upgrades 2
check "who is in it stays" number_is busy threads 4
check "nothing is lost" number_is busy lost_messages 0

echo "== destroy"
"$yamanote" native destroy busy >/tmp/said 2>&1
check "it is said" says /tmp/said "its threads run under Linux's own scheduler"
check "the scheduler is gone" scheduler_is disabled
check "the guardian, too" [ ! -d "/proc/$guardian" ]
for process in "$first" "$second" "$sleeper"; do is_ordinary "$process"; done
check "its nice value stays" has_nice "$sleeper" 5
check "a batch thread is one again" has_class "$batch" 3
check "and its affinity is back" may_use "$batch" 0-1
"$yamanote" native stats busy --json >/tmp/said
check "the back-end is still said" says /tmp/said '"backend": "scx"'
advances "$first"
end_busy

echo "== the agents are killed"
start_busy
advances "$second"
guardian=$(number busy guardian)
"$yamanote" native attach busy "$sleeper" >/tmp/said 2>&1
is_in_the_enclave "$sleeper"
kill -9 "$agents"
for process in "$first" "$second" "$sleeper"; do is_ordinary "$process"; done
eventually "the scheduler is gone" scheduler_is disabled
eventually "the guardian, too" [ ! -d "/proc/$guardian" ]
advances "$first"
advances "$second"
end_busy

echo "== the guardian is killed"
start_busy
kill -9 "$(number busy guardian)"
eventually "that ends the enclave" says $log "the guardian's process has ended"
for process in "$first" "$second"; do is_ordinary "$process"; done
check "the scheduler is gone" scheduler_is disabled
end_busy

echo "== the kernel ejects a scheduler whose agents do nothing"
start_busy --watchdog 1s
advances "$second"
kill -STOP "$agents"
for process in "$first" "$second"; do is_ordinary "$process"; done
eventually "the scheduler is gone" scheduler_is disabled
kill -CONT "$agents"
eventually "the kernel's reason is said" says $log \
  "enclave 'busy' has ended: the kernel has ended the scheduler: .*stall"
advances "$first"
end_busy

echo "== an enclave without a program ends with its last thread"
sleep 20 &
"$yamanote" native run --backend scx --cpus 1 --pid $! >$log 2>&1
check "status" [ $? = 0 ]
check "the scheduler is gone" scheduler_is disabled

echo "== an agent with a CPU of its own"
"$yamanote" native run --backend scx --own-core --cpus 0-1 --policy rr --slice 5ms -- \
  sh -c 'sh -c "exit 3" & wait $!; exit $?' >$log 2>&1
check "status" [ $? = 3 ]

kill "$sleeper" "$batch"
echo "all $checks checks passed"
