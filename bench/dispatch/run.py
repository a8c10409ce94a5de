#!/usr/bin/env python3
"""Measures requests per second through the central queue, handlers empty.

Every round runs each variant once, in a fresh process. Prints the median, the
least and the greatest of the rounds, and each median as a ratio of the queue that
all cores share under a lock. Writes the samples, with machine and date, as JSON.

  bench/dispatch/run.py --build build/bench [--rounds 7] [--cores 2,4] [--out FILE]
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys

VARIANTS = ["shared", "slots1", "slots2", "slots4", "slots1-works", "slots2-works",
            "slots4-works"]


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"


def revision(build):
    """Returns the revision that the programs in `build` were made from."""
    done = subprocess.run([os.path.join(build, "bin", "yamanote"), "version", "--json"],
                          capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)["revision"]


def measure(build, variant, cpus, milliseconds):
    """Returns (requests per second, share that core 0 ran) of one process."""
    program = os.path.join(build, "bin", "bench_dispatch_throughput")
    done = subprocess.run([program, ",".join(map(str, cpus)), variant, str(milliseconds)],
                          capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        sys.exit(f"{program} {variant} failed with {done.returncode}: {done.stderr}")
    _, rate, by_core_0 = done.stdout.split()
    return float(rate), float(by_core_0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build/bench", help="the build folder of preset bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--milliseconds", type=int, default=500, help="length of one sample")
    parser.add_argument("--cores", default=None, help="for example 2,4; default: 2, 4 as there are")
    parser.add_argument("--out", default=None, help="where to write the samples")
    arguments = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    cores_list = ([int(c) for c in arguments.cores.split(",")] if arguments.cores
                  else [c for c in (2, 4) if c <= len(allowed)])
    if not cores_list or min(cores_list) < 2 or max(cores_list) > len(allowed):
        sys.exit(f"--cores: a dispatcher and its workers need from 2 to {len(allowed)} CPUs here")

    # First: a program that is missing is told before minutes of measuring.
    commit = revision(arguments.build) if arguments.out else ""
    samples = {}
    for number in range(arguments.rounds):
        for cores in cores_list:
            for variant in VARIANTS:
                rate, by_core_0 = measure(arguments.build, variant, allowed[:cores],
                                          arguments.milliseconds)
                samples.setdefault(str(cores), {}).setdefault(variant, []).append(
                    {"requests_per_s": rate, "by_core_0": by_core_0})
        print(f"round {number + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)

    for cores in cores_list:
        print(f"\n{cores} cores, million requests per second: median [least-greatest]\n")
        print("| | M requests/s | / shared | run by core 0 |")
        print("|---|---|---|---|")
        by_variant = samples[str(cores)]
        shared = statistics.median(s["requests_per_s"] for s in by_variant["shared"])
        for variant in VARIANTS:
            rates = [s["requests_per_s"] for s in by_variant[variant]]
            share = statistics.median(s["by_core_0"] for s in by_variant[variant])
            print(f"| {variant} | {statistics.median(rates) / 1e6:.2f} "
                  f"[{min(rates) / 1e6:.2f}-{max(rates) / 1e6:.2f}] | "
                  f"{statistics.median(rates) / shared:.2f} | {share:.0%} |")

    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as out:
            json.dump({"date": datetime.date.today().isoformat(), "cpu": cpu_model(),
                       "cpus": len(allowed), "kernel": platform.release(), "commit": commit,
                       "milliseconds": arguments.milliseconds, "samples": samples}, out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
