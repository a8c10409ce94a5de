#!/usr/bin/env python3
"""Compares thread primitives with the peers, alternately, in one run.

Every round runs each library once for each number of cores, in a fresh process;
so all of them meet the same disturbances. Prints the median, the least and the
greatest of the rounds, and Yamanote's median as a ratio of the best peer's and of
oneTBB's.
Writes the samples, with machine and date, to a JSON file.

  bench/threads/run.py --build build/bench [--rounds 7] [--cores 1,2,4] [--out FILE]
"""

import os
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import measure

WORKLOADS = ["yield", "spawn", "mutex", "condvar", "forkjoin"]
PEERS = ["boost_fiber", "go", "std_thread"]  # Of threads; oneTBB has tasks that can't wait.
LIBRARIES = ["yamanote", "yamanote-lifo"] + PEERS + ["onetbb"]


def one_process(build, library, cores):
    """Returns {workload: ns} of one process."""
    name, _, order = library.partition("-")
    program = os.path.join(build, "bin", f"bench_threads_{name}")
    printed = measure.output(
        ["taskset", "-c", measure.cpu_list(measure.allowed_cpus()[:cores]), program, str(cores)],
        timeout=300, **({"ORDER": order} if order else {}))
    return {workload: float(ns) for workload, ns in map(str.split, printed.splitlines())}


def cells(workload, by_library):
    """Returns a row of the table."""
    medians = {library: statistics.median(values) for library, values in by_library.items()}
    # The order is the user's to choose, so the better one counts.
    ours = min(medians[one] for one in LIBRARIES[:2])
    best = min(medians[peer] for peer in PEERS)
    return [workload,
            *(measure.spread(by_library[library], 1) if library in by_library else ""
              for library in LIBRARIES),
            f"{ours / best:.2f}",
            f"{ours / medians['onetbb']:.2f}" if "onetbb" in medians else ""]


def main():
    parser = measure.parser(__doc__, rounds=7)
    parser.add_argument("--cores", default=None, help="for example 1,2; default: 1, 2, 4 as there are")
    arguments = parser.parse_args()
    cores_list = measure.core_counts(arguments.cores, usual=(1, 2, 4), least=1)
    commit = measure.revision(arguments)

    samples = {}
    for _ in measure.rounds(arguments.rounds):
        for cores in cores_list:
            for library in LIBRARIES:
                for workload, ns in one_process(arguments.build, library, cores).items():
                    samples.setdefault(str(cores), {}).setdefault(workload, {}).setdefault(
                        library, []).append(ns)

    for cores in cores_list:
        measure.print_table(
            f"{cores} core{'s' if cores > 1 else ''}, ns per operation: median [least-greatest]",
            ["", *LIBRARIES, "yamanote / best peer", "/ onetbb"],
            [cells(workload, samples[str(cores)][workload]) for workload in WORKLOADS])
    measure.write(arguments, commit, {"rounds": arguments.rounds, "unit": "ns per operation",
                                      "samples": samples})


if __name__ == "__main__":
    main()
