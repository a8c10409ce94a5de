#!/usr/bin/env python3
# run.py - what do probes cost? Compares builds of the kernels, by any compilers.
#
#   bench/probes/run.py [--base NAME] [--builds A,B] [--rounds N] [--kernels a,b]
#                       [--json FILE]
#
# NAME begins the names of a build's eight programs, NAME_0, _8 and so on to _56: run.cc
# and the kernels in eight layouts. Every round runs each of them once, in turn. For one
# compiler `yamanote bench probes` does the same in one process. Printed is, per
# kernel, the median over the rounds of a build's time to the base's, as the
# geometric mean over the layouts. Exit status: 1 if results differ.

import argparse
import datetime
import json
import math
import platform
import statistics
import subprocess
import sys

KERNELS = ["fill", "hash", "chase", "matmul", "map", "json", "sort", "fib", "rapidjson", "regex"]
LAYOUTS = ["0", "8", "16", "24", "32", "40", "48", "56"]


def run(program, kernel):
    """Returns the nanoseconds and the result of one start of `program`."""
    line = subprocess.run([program, kernel], check=True, capture_output=True,
                          text=True).stdout.split()
    return int(line[1]), line[2]


def compare(base, build, samples):
    """Returns kernel -> the ratio of `build` to `base`, over all layouts."""
    return {kernel: geometric_mean([
        statistics.median(b / a for a, b in zip(layouts[base][at],
                                                layouts[build][at]))
        for at in LAYOUTS]) for kernel, layouts in samples.items()}


def geometric_mean(ratios):
    return math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", default="build/bench/bin/bench_plain")
    parser.add_argument("--builds", default="build/bench/bin/bench_probes")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--kernels", default=",".join(KERNELS))
    parser.add_argument("--json", help="file for the raw samples")
    options = parser.parse_args()

    builds = options.builds.split(",")
    samples = {}
    for kernel in options.kernels.split(","):
        samples[kernel] = {name: {at: [] for at in LAYOUTS}
                           for name in [options.base] + builds}
        results = set()
        for _ in range(options.rounds):
            for at in LAYOUTS:
                for name in [options.base] + builds:
                    took, result = run(f"{name}_{at}", kernel)
                    samples[kernel][name][at].append(took)
                    results.add(result)
        if len(results) != 1:
            sys.exit(f"run.py: {kernel}: results differ: {results}")

    for build in builds:
        ratios = compare(options.base, build, samples)
        print(f"{build} to {options.base}")
        for kernel, ratio in ratios.items():
            print(f"  {kernel:9} {100 * (ratio - 1):+6.1f}%")
        worst = max(ratios, key=ratios.get)
        print(f"  geometric mean {100 * (geometric_mean(ratios.values()) - 1):+.1f}%"
              f", worst {worst} {100 * (ratios[worst] - 1):+.1f}%")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": f"{platform.machine()}, {platform.release()}",
                       "date": f"{datetime.date.today()}", "unit": "ns",
                       "base": options.base, "samples": samples}, file)
            file.write("\n")


if __name__ == "__main__":
    main()
