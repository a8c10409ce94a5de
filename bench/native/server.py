#!/usr/bin/env python3
"""Compares an unmodified server's tail under Linux's scheduler and under `yamanote native`.

  bench/native/server.py --out FILE.json       # 4 minutes; as root; --build says which build
  bench/native/server.py --summary FILE.json   # its tables again

bench_native_pool, 16 kernel threads on one UDP socket and one CPU, gets short and long
requests from `yamanote load spin` on another CPU. Rounds take all contestants one after
another at each load, in processes of their own; figures are medians of the rounds, with the
least and the greatest. `linux`: the default class; `linux rr`: SCHED_RR by `chrt`; the others
are `yamanote native run --policy ... --slice ...`.
"""

import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import measure  # noqa: E402

THREADS = 16
SERVICE = "bimodal:99%:50us,1%:10ms"
MEAN_US = 0.99 * 50 + 0.01 * 10000
LOADS = (0.2, 0.4, 0.6)
SECONDS = 2
CONTESTANTS = {
    "linux": None,
    "linux rr": None,
    "fifo": ("fifo", "none"),
    "rr 1ms": ("rr", "1ms"),
    "rr 200us": ("rr", "200us"),
    "mlfq 200us": ("mlfq", "200us"),
}


def command(build, name, cpu):
    server = [os.path.join(build, "bin", "bench_native_pool"), str(THREADS)]
    if name == "linux":
        return ["taskset", "-c", str(cpu), *server]
    if name == "linux rr":
        return ["taskset", "-c", str(cpu), "chrt", "-r", "1", *server]
    policy, slice_ = CONTESTANTS[name]
    return [os.path.join(build, "bin", "yamanote"), "native", "run", "--cpus", str(cpu),
            "--policy", policy, "--slice", slice_, "--placement", "central", "--", *server]


def measure_one(build, name, cpus, load):
    port = []

    def ready(server):
        line = server.stdout.readline()
        if not line.startswith("ready udp"):
            sys.exit(f"{name}: the server did not start")
        port.append(int(line.rsplit(":", 1)[1]))

    with measure.running(command(build, name, cpus[0]), ready):
        rate = round(load * 1e6 / MEAN_US)
        point = measure.load(build, "spin", port[0], [rate], protocol="udp", service=SERVICE,
                             duration=SECONDS, warmup=0.3, cpus=cpus[1])[0]
    return point


def figures(point):
    classes = {one["name"]: one for one in point["classes"]}
    names = list(classes)
    found = {}
    for label, name in (("short", names[0]), ("long", names[1])):
        latency = classes[name]["latency_us"]
        found[label] = {key: latency[key] for key in ("p50", "p99", "p999")}
    return found


def spread(values, digits=0):
    values = [float("inf") if value in (None, "inf") else value for value in values]
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f} - {max(values):.{digits}f})")


def print_record(record):
    for load in LOADS:
        rows = []
        for name in CONTESTANTS:
            mine = [sample for sample in record["samples"]
                    if sample["name"] == name and sample["load"] == load]
            rows.append([name, spread([one["short"]["p50"] for one in mine]),
                         spread([one["short"]["p99"] for one in mine]),
                         spread([one["long"]["p50"] for one in mine]),
                         spread([one["achieved_rps"] / one["rate_rps"] for one in mine], 2)])
        measure.print_table(f"load {load}: latency, us, median (least - greatest) of the rounds",
                            ["", "50 us: p50", "50 us: p99", "10 ms: p50", "answered of sent"],
                            rows)


def main():
    parser = measure.parser(__doc__, rounds=5)
    parser.add_argument("--summary", nargs="+", help="print tables of these records")
    arguments = parser.parse_args()
    if arguments.summary:
        measure.print_summary(arguments.summary, print_record, ["service", "threads"])
        return
    if os.geteuid() != 0:
        sys.exit("this needs root: `yamanote native run` does")
    commit = measure.revision(arguments)
    allowed = measure.allowed_cpus()
    if len(allowed) < 2:
        sys.exit("this needs two CPUs: one for the server, one for the load generator")
    cpus = (allowed[-1], allowed[0])
    samples = []
    record = {"service": SERVICE, "threads": THREADS, "seconds": SECONDS, "samples": samples}
    for _ in measure.rounds(arguments.rounds):
        for load in LOADS:
            for name in CONTESTANTS:
                point = measure_one(arguments.build, name, cpus, load)
                samples.append({"name": name, "load": load, "rate_rps": point["offered_rps"],
                                "achieved_rps": point["achieved_rps"], **figures(point)})
    print_record(record)
    measure.write(arguments, commit, record)


if __name__ == "__main__":
    main()
