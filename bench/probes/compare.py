#!/usr/bin/env python3
# compare.py - what probes cost: two builds of run.cc, run in turn.
#
#   compare.py BASE PROBED [--turns N] [--rounds N] [--record FILE]
#
# Each turn runs both programs, in changing order; a turn's figure of a kernel is
# its least processor time of `rounds`. Prints per kernel the median of both and of the
# turns' ratios, then the ratios' geometric mean and the worst; FILE gets every
# sample as JSON. Exit status 1 when the two compute different results.

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys


def run(program, rounds):
    """Returns {kernel: (result, nanoseconds)} of one run."""
    lines = subprocess.run([program, str(rounds)], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    return {name: (result, int(ns)) for name, result, ns in map(str.split, lines)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("probed")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--record", type=pathlib.Path)
    options = parser.parse_args()

    base, probed = [], []
    for turn in range(options.turns):
        pair = [(base, options.base), (probed, options.probed)]
        for runs, program in pair if turn % 2 == 0 else reversed(pair):
            runs.append(run(program, options.rounds))

    if options.record:
        samples = {name: {"base_ns": [b[name][1] for b in base],
                          "probed_ns": [p[name][1] for p in probed]} for name in base[0]}
        options.record.write_text(json.dumps(samples) + "\n")

    ratios = {}
    print(f"{'kernel':8} {'base ms':>8} {'probed ms':>9} {'overhead':>9} {'of least':>9}")
    for name, (result, _) in base[0].items():
        if any(r[name][0] != result for r in base + probed):
            sys.exit(f"compare.py: {name} computes another result with probes")
        pairs = [(b[name][1], p[name][1]) for b, p in zip(base, probed)]
        ratios[name] = statistics.median(p / b for b, p in pairs)
        least = min(p for _, p in pairs) / min(b for b, _ in pairs)
        print(f"{name:8} {statistics.median(b for b, _ in pairs) / 1e6:8.2f} "
              f"{statistics.median(p for _, p in pairs) / 1e6:9.2f} "
              f"{ratios[name] - 1:+9.1%} {least - 1:+9.1%}")
    mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
    worst = max(ratios, key=ratios.get)
    print(f"geometric mean {mean - 1:+.1%}, worst {worst} {ratios[worst] - 1:+.1%}; "
          f"{options.turns} turns of {options.rounds} rounds")


if __name__ == "__main__":
    main()
