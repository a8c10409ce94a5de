#!/usr/bin/env python3
# run.py - compares builds of the kernels: what do probes cost?
#
#   bench/probes/run.py BASE BUILD... [--rounds N] [--kernels a,b] [--json FILE]
#
# BASE and BUILDs are programs made of run.cc and the kernels with different
# flags. Every round runs each of them once, in turn, per kernel; what is printed
# is the median over the rounds of BUILD's time to BASE's, their geometric mean
# and the worst. Exit status: 1 if results differ.

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys

KERNELS = ["fill", "hash", "chase", "matmul", "map", "json", "sort", "fib"]


def run(program, kernel):
    """Returns the nanoseconds and the result of one start of `program`."""
    line = subprocess.run([program, kernel], check=True, capture_output=True,
                          text=True).stdout.split()
    return int(line[1]), line[2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("builds", nargs="+")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--kernels", default=",".join(KERNELS))
    parser.add_argument("--json", help="file for the raw samples")
    options = parser.parse_args()

    kernels = options.kernels.split(",")
    programs = [options.base] + options.builds
    samples = {p: {k: [] for k in kernels} for p in programs}
    for kernel in kernels:
        for _ in range(options.rounds):
            results = set()
            for program in programs:
                took, result = run(program, kernel)
                samples[program][kernel].append(took)
                results.add(result)
            if len(results) != 1:
                sys.exit(f"run.py: {kernel}: results differ: {results}")

    for build in options.builds:
        ratios = {
            k: statistics.median(
                b / a for a, b in zip(samples[options.base][k], samples[build][k]))
            for k in kernels}
        mean = math.exp(statistics.fmean(math.log(r) for r in ratios.values()))
        worst = max(ratios, key=ratios.get)
        print(build)
        for kernel, ratio in ratios.items():
            print(f"  {kernel:8} {100 * (ratio - 1):+6.1f}%")
        print(f"  geometric mean {100 * (mean - 1):+.1f}%, "
              f"worst {worst} {100 * (ratios[worst] - 1):+.1f}%")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": platform.uname()._asdict(),
                       "base": options.base, "samples": samples}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
