#!/usr/bin/env python3
"""Compares thread primitives with the peers, alternately, in one run.

Every round runs each library once for each number of cores, in a fresh process;
so all of them meet the same disturbances. Prints the median, the least and the
greatest of the rounds, and Yamanote's median as a ratio of the best peer's and of
oneTBB's.
Writes the samples, with machine and date, to a JSON file.

  bench/threads/run.py --build build/bench [--rounds 7] [--cores 1,2,4] [--out FILE]
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys

WORKLOADS = ["yield", "spawn", "mutex", "condvar", "forkjoin"]
PEERS = ["boost_fiber", "go", "std_thread"]  # Of threads; oneTBB has tasks that can't wait.
LIBRARIES = ["yamanote", "yamanote-lifo"] + PEERS + ["onetbb"]


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


def measure(build, library, cores, timeout):
    """Returns {workload: ns} of one process."""
    name, _, order = library.partition("-")
    program = os.path.join(build, "bin", f"bench_threads_{name}")
    environment = dict(os.environ, **({"ORDER": order} if order else {}))
    cpus = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:cores])
    done = subprocess.run(["taskset", "-c", cpus, program, str(cores)], capture_output=True,
                          text=True, timeout=timeout, check=False, env=environment)
    if done.returncode != 0:
        sys.exit(f"{program} {cores} failed with {done.returncode}: {done.stderr}")
    return {name: float(ns) for name, ns in (line.split() for line in done.stdout.splitlines())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build/bench", help="the build folder of preset bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cores", default=None, help="for example 1,2; default: 1, 2, 4 as there are")
    parser.add_argument("--out", default=None, help="where to write the samples")
    arguments = parser.parse_args()
    available = len(os.sched_getaffinity(0))
    cores_list = ([int(c) for c in arguments.cores.split(",")] if arguments.cores
                  else [c for c in (1, 2, 4) if c <= available])
    if max(cores_list) > available:
        sys.exit(f"--cores {max(cores_list)}: this process may use {available} CPUs")

    # First: a program that is missing is told before minutes of measuring.
    commit = revision(arguments.build) if arguments.out else ""
    samples = {}
    for number in range(arguments.rounds):
        for cores in cores_list:
            for library in LIBRARIES:
                for workload, ns in measure(arguments.build, library, cores, 300).items():
                    samples.setdefault(str(cores), {}).setdefault(workload, {}).setdefault(
                        library, []).append(ns)
        print(f"round {number + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)

    for cores in cores_list:
        print(f"\n{cores} core{'s' if cores > 1 else ''}, ns per operation: median [least-greatest]\n")
        print("| | " + " | ".join(LIBRARIES) + " | yamanote / best peer | / onetbb |")
        print("|---" * (len(LIBRARIES) + 3) + "|")
        for workload in WORKLOADS:
            by_library = samples[str(cores)][workload]
            cells = []
            for library in LIBRARIES:
                if library not in by_library:
                    cells.append("")
                    continue
                values = by_library[library]
                cells.append(f"{statistics.median(values):.1f} [{min(values):.1f}-{max(values):.1f}]")
            # The order is the user's to choose, so the better one counts.
            ours = min(statistics.median(by_library[one]) for one in LIBRARIES[:2])
            best = min(statistics.median(by_library[peer]) for peer in PEERS)
            tasks = (f"{ours / statistics.median(by_library['onetbb']):.2f}"
                     if "onetbb" in by_library else "")
            print(f"| {workload} | " + " | ".join(cells) + f" | {ours / best:.2f} | {tasks} |")

    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as out:
            json.dump({"date": datetime.date.today().isoformat(), "cpu": cpu_model(),
                       "cpus": available, "kernel": platform.release(), "commit": commit,
                       "rounds": arguments.rounds, "unit": "ns per operation",
                       "samples": samples}, out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
