#!/bin/sh
# layouts.sh - makes one build of the kernels fit for a program with several builds.
#
#   layouts.sh LD OBJCOPY FOLDER NAME OBJECT...
#
# Writes FOLDER/NAME_0.o, _8 and so on to _56: the objects in eight layouts. The code of
# NAME_16.o begins 16 bytes behind a multiple of 64, because where code lies against
# cache lines changes a tight loop's time more than a probe does: a loop of 34 bytes took
# some 30% more where it crossed a line in the middle (matmul, AMD Zen 5, 2026-11-26).
# The only name that others see is the table, yamanote_kernels_NAME_16: so no other
# build's copy of an inline function is taken for its own. Its probes ask
# yamanote_bench_flag, _guard and _probe (probe_log.S), not the runtime.

set -eu
ld=$1
objcopy=$2
folder=$3
name=$4
shift 4
work=$(mktemp -d "$folder/$name.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Local, and outside of section groups, an inline function is each object's own.
number=0
for object in "$@"; do
  number=$((number + 1))
  "$objcopy" --remove-section=.group --wildcard --keep-global-symbol='kernel_*' \
    --keep-global-symbol=yamanote_kernels "$object" "$work/$number.o"
done
echo 'SECTIONS { .text : { *(.text .text.*) } }' >"$work/join.ld"
"$ld" -r -T "$work/join.ld" -o "$work/joined.o" "$work"/[0-9]*.o

for layout in 0 8 16 24 32 40 48 56; do
  # SUBALIGN: instead of the alignment of the functions, which is 64.
  echo "SECTIONS { .text : ALIGN(64) SUBALIGN(8) { . += $layout; *(.text) } }" >"$work/$layout.ld"
  "$ld" -r -T "$work/$layout.ld" -o "$work/moved.o" "$work/joined.o"
  table=yamanote_kernels_${name}_$layout
  "$objcopy" --redefine-sym "yamanote_kernels=$table" --keep-global-symbol="$table" \
    --redefine-sym yamanote_preempt_flag=yamanote_bench_flag \
    --redefine-sym yamanote_preempt_guard=yamanote_bench_guard \
    --redefine-sym yamanote_preempt_probe=yamanote_bench_probe \
    "$work/moved.o" "$folder/${name}_$layout.o"
done
