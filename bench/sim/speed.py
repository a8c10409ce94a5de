#!/usr/bin/env python3
"""Measures how fast the simulator is: beside a bare one, by cores, by queue, by length.

  bench/sim/speed.py [--rounds 5] [--only TEXT] [--out FILE]

Processor time, one kernel thread, alternately in one run. `bare` (bare.cc) has none of the
production objects. Peak memory is the process's.
"""

import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import measure

FIFO = ["--order", "fifo", "--placement", "central", "--service", "exp:10us", "--load", "0.7"]
RR = ["--order", "rr", "--placement", "central", "--slice", "5us", "--load", "0.7",
      "--service", "bimodal:99.5%:0.5us,0.5%:500us"]
CELLS = {
    # name: (kind, flags, requests in millions)
    "bare fifo, 16 cores": ("bare", "fifo", 5),
    "fifo, 16 cores": ("sim", [*FIFO, "--cores", "16"], 5),
    "bare rr, 16 cores": ("bare", "rr", 5),
    "rr, 16 cores": ("sim", [*RR, "--cores", "16"], 5),
    "fifo, 16 cores, four times as long": ("sim", [*FIFO, "--cores", "16"], 20),
    "fifo, 16 cores, load 0.99": ("sim", [*FIFO[:-1], "0.99", "--cores", "16"], 5),
    "srpt, 16 cores": ("sim", ["--order", "srpt", "--service", "exp:10us", "--load", "0.7",
                               "--cores", "16"], 5),
    "ps, 16 cores": ("sim", ["--order", "ps", "--service", "exp:10us", "--load", "0.7",
                             "--cores", "16"], 5),
    "yamanote, 16 cores": ("sim", ["--preset", "yamanote", "--service", "exp:10us", "--load",
                                   "0.7", "--cores", "16"], 2),
    "fifo, 1,024 cores": ("sim", [*FIFO, "--cores", "1024"], 10),
    "rr, 1,024 cores": ("sim", [*RR, "--cores", "1024"], 10),
    "ix, 1,024 cores": ("sim", ["--preset", "ix", "--service", "exp:10us", "--load", "0.7",
                                "--cores", "1024"], 10),
    "zygos, 1,024 cores": ("sim", ["--preset", "zygos", "--service", "exp:10us", "--load", "0.7",
                                   "--cores", "1024"], 10),
    "yamanote, 1,024 cores": ("sim", ["--preset", "yamanote", "--service", "exp:10us", "--load",
                                      "0.7", "--cores", "1024"], 10),
    "shinjuku, 1,024 cores": ("sim", ["--preset", "shinjuku", "--service", "exp:10us", "--load",
                                      "0.7", "--cores", "1024"], 10),
}


def run(command):
    """Returns the processor time of `command` in seconds, its peak memory in MiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = measure.parser(__doc__, rounds=3)
    parser.add_argument("--only", default="", help="measure what has this in its name")
    arguments = parser.parse_args()
    cells = {name: cell for name, cell in CELLS.items() if arguments.only in name}
    if not cells:
        sys.exit(f"--only {arguments.only}: none of {', '.join(CELLS)} has that in its name")
    commit = measure.revision(arguments)
    binary = os.path.join(arguments.build, "bin", "yamanote")
    bare = os.path.join(arguments.build, "bin", "bench_sim_bare")
    samples = {name: [] for name in cells}
    for _ in measure.rounds(arguments.rounds):
        for name, (kind, flags, millions) in cells.items():
            command = ([bare, flags, str(int(millions * 1_000_000))] if kind == "bare" else
                       [binary, "sim", *flags, "--requests", str(int(millions * 1_000_000)), "--jobs", "1"])
            seconds, memory = run(command)
            samples[name].append({"million_per_second": millions / seconds, "seconds": seconds,
                                  "memory_mib": memory})
    measure.print_table(
        "Million requests per second of processor time", ["", "million/s", "s", "MiB"],
        [[name, measure.spread([one["million_per_second"] for one in taken], 2),
          f"{statistics.median(one['seconds'] for one in taken):.1f}",
          f"{max(one['memory_mib'] for one in taken):.0f}"] for name, taken in samples.items()])
    measure.write(arguments, commit, {"samples": samples})


if __name__ == "__main__":
    main()
