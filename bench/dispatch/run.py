#!/usr/bin/env python3
"""Measures requests per second through the central queue, handlers empty.

Every round runs each variant once, in a fresh process. Prints the median, the
least and the greatest of the rounds, and each median as a ratio of the queue that
all cores share under a lock. Writes the samples, with machine and date, as JSON.

  bench/dispatch/run.py --build build/bench [--rounds 7] [--cores 2,4] [--out FILE]
"""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import measure

VARIANTS = ["shared", "slots1", "slots2", "slots4", "slots1-works", "slots2-works",
            "slots4-works"]


def one_process(build, variant, cpus, milliseconds):
    """Returns requests per second, and the share of them that core 0 ran."""
    program = os.path.join(build, "bin", "bench_dispatch_throughput")
    printed = measure.output([program, measure.cpu_list(cpus), variant, str(milliseconds)])
    _, rate, by_core_0 = printed.split()
    return {"requests_per_s": float(rate), "by_core_0": float(by_core_0)}


def rows(by_variant):
    """Yields the rows of the table."""
    shared = measure.median(by_variant["shared"], lambda one: one["requests_per_s"])
    for variant in VARIANTS:
        samples = by_variant[variant]
        rate = measure.median(samples, lambda one: one["requests_per_s"])
        share = measure.median(samples, lambda one: one["by_core_0"])
        yield [variant, measure.spread([one["requests_per_s"] for one in samples], 2, scale=1e6),
               f"{rate / shared:.2f}", f"{share:.0%}"]


def main():
    parser = measure.parser(__doc__, rounds=7)
    parser.add_argument("--milliseconds", type=int, default=500, help="length of one sample")
    parser.add_argument("--cores", default=None, help="for example 2,4; default: 2, 4 as there are")
    arguments = parser.parse_args()
    # One is the dispatcher's.
    cores_list = measure.core_counts(arguments.cores, usual=(2, 4), least=2)
    commit = measure.revision(arguments)

    samples = {}
    for _ in measure.rounds(arguments.rounds):
        for cores in cores_list:
            for variant in VARIANTS:
                samples.setdefault(str(cores), {}).setdefault(variant, []).append(
                    one_process(arguments.build, variant, measure.allowed_cpus()[:cores],
                                arguments.milliseconds))

    for cores in cores_list:
        measure.print_table(
            f"{cores} cores, million requests per second: median [least-greatest]",
            ["", "M requests/s", "/ shared", "run by core 0"], rows(samples[str(cores)]))
    measure.write(arguments, commit, {"milliseconds": arguments.milliseconds,
                                      "samples": samples})


if __name__ == "__main__":
    main()
