#!/bin/bash
# configure.sh - configures build/dev so that it has sched_ext, with the machine's libbpf.
#
# What was found of libbpf before is forgotten: it may be the system's, which is older.

set -euo pipefail
cd "$(dirname "$0")/../.."
cache=$(tests/vm/fetch.sh)
cmake --preset dev -U 'YAMANOTE_LIB*' -DYAMANOTE_SCX=ON "-DYAMANOTE_LIBBPF_ROOT=$cache/tools"
