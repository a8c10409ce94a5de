#!/usr/bin/env python3
"""Measures what agents of native threads cost, by cores and threads.

  bench/native/agents.py --out FILE.json       # a minute; --build says which build
  bench/native/agents.py --summary FILE.json   # the tables of a record again

bench_native_agents, each point in a process of its own, in rounds. What is told is the least
of the rounds, since whatever else the machine does only adds.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import measure  # noqa: E402

AGENTS = ("global", "cpu")
CORES = (1, 4, 16, 64, 256)
THREADS = (256, 1000, 10000, 100000)
COMMITS = 300000


def print_record(record):
    points = {}
    for sample in record["samples"]:
        key = (sample["agents"], sample["cores"], sample["threads"])
        points.setdefault(key, []).append(sample["ns_per_commit"])
    for agents in AGENTS:
        rows = []
        for cores in CORES:
            rows.append([str(cores), *(f"{min(points[agents, cores, threads]):.0f} "
                                       f"({max(points[agents, cores, threads]):.0f})"
                                       for threads in THREADS)])
        measure.print_table(
            f"{agents} ({record['order']}): ns for a commit and its two messages, least (most) of "
            "the rounds; by cores (rows) and threads", ["", *map(str, THREADS)], rows)


def main():
    parser = measure.parser(__doc__, rounds=5)
    parser.add_argument("--order", default="fifo")
    parser.add_argument("--summary", nargs="+", help="print tables of these records")
    arguments = parser.parse_args()
    if arguments.summary:
        measure.print_summary(arguments.summary, print_record, ["order"])
        return
    commit = measure.output(["git", "-C", HERE, "describe", "--always", "--dirty"]).strip()
    program = os.path.join(arguments.build, "bin", "bench_native_agents")
    samples = []
    record = {"order": arguments.order, "commits": COMMITS, "samples": samples}
    for _ in measure.rounds(arguments.rounds):
        for agents in AGENTS:
            for cores in CORES:
                for threads in THREADS:
                    per_commit, _, per_pass, passes, messages = measure.output(
                        [program, agents, str(cores), str(threads), str(COMMITS),
                         arguments.order]).split()
                    samples.append({"agents": agents, "cores": cores, "threads": threads,
                                    "ns_per_commit": float(per_commit),
                                    "ns_per_pass": float(per_pass),
                                    "passes": int(passes), "messages": int(messages)})
    print_record(record)
    measure.write(arguments, commit, record)


if __name__ == "__main__":
    main()
