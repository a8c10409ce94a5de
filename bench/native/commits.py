#!/usr/bin/env python3
"""Measures what messages and commits cost above the kernel's tracepoints.

  bench/native/commits.py --out FILE.json       # as root, two CPUs, half a minute
  bench/native/commits.py --summary FILE.json   # the tables of a record again

bench_native_commits, each way in a process of its own, in rounds. `delivery` is from a
wake-up's event until the agent has read of it; `setscheduler` is the system call that a commit
above tracepoints consists of, once or twice, on a thread that does nothing.
"""

import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import measure  # noqa: E402

WAYS = ("remote", "local", "group")
FIGURES = ("delivery", "receive", "receive-other", "commit", "setscheduler")
QUANTILES = ("p50", "p90", "p99")


def parse(text):
    figures = {}
    for line in text.splitlines():
        name, *values = line.split()
        if name == "tsc":
            figures["cycles_per_ns"] = float(values[0])
        else:
            figures[name] = dict(zip(("count", *QUANTILES), map(float, values)))
    return figures


def print_record(record):
    for quantile in ("p50", "p99"):
        rows = []
        for figure in FIGURES:
            row = [figure]
            for way in WAYS:
                taken = [sample[way][figure][quantile] for sample in record["samples"]]
                row.append(f"{statistics.median(taken):.0f} ({min(taken):.0f} - {max(taken):.0f})")
            rows.append(row)
        measure.print_table(f"{quantile}, ns: median of the rounds (least - greatest)",
                            ["", *WAYS], rows)
    cycles = statistics.median(sample["remote"]["cycles_per_ns"] for sample in record["samples"])
    print(f"{cycles:.2f} cycles of the time-stamp counter are a ns")


def main():
    parser = measure.parser(__doc__, rounds=7)
    parser.add_argument("--summary", nargs="+", help="print tables of these records")
    arguments = parser.parse_args()
    if arguments.summary:
        measure.print_summary(arguments.summary, print_record, ["ways"])
        return
    commit = measure.output(["git", "-C", HERE, "describe", "--always", "--dirty"]).strip()
    program = os.path.join(arguments.build, "bin", "bench_native_commits")
    samples = []
    for _ in measure.rounds(arguments.rounds):
        samples.append({way: parse(measure.output([program, way, "300" if way == "group" else "1000"]))
                        for way in WAYS})
    record = {"ways": list(WAYS), "samples": samples}
    print_record(record)
    measure.write(arguments, commit, record)


if __name__ == "__main__":
    main()
