#!/usr/bin/env python3
"""Reproduces figures of the papers by simulation: data and plots.

  bench/papers/run.py                 # all of them, into bench/papers/results
  bench/papers/run.py --figure shinjuku-1 --requests 4M

Each figure is a set of `yamanote sim sweep` runs, the same on every computer; its data is
written as CSV and drawn as SVG (python3-matplotlib). docs/papers.md says what each shows
beside what the paper states.
"""

import argparse
import collections
import csv
import io
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# sigma of a lognormal whose standard deviation is ten times its mean: sqrt(ln(1 + 100)).
HEAVY = "lognormal:mean=1us,sigma=2.1483"
BIMODAL = "bimodal:99.5%:0.5us,0.5%:500us"
HALF = "bimodal:50%:1us,50%:100us"
LOADS = "0.05..0.95/0.05"
# The names of a workload's requests: ideals admit all.
CLASSES = {BIMODAL: ["500ns", "500us"], HALF: ["1us", "100us"],
           "bimodal:90%:5us,10%:55us": ["5us", "55us"],
           "bimodal:99.9%:5us,0.1%:5005us": ["5us", "5.005ms"]}
# Scheduler and its flags. All are ideals: nothing costs anything.
D_FCFS = ("d-FCFS", ["--order", "fifo", "--placement", "partitioned"])
C_FCFS = ("c-FCFS", ["--order", "fifo", "--placement", "central"])
PS = ("PS", ["--order", "ps"])
SRPT = ("SRPT", ["--order", "srpt"])
JSQ = ("JSQ", ["--order", "fifo", "--placement", "two-level"])


def rr(slice_):
    return (f"RR {slice_}", ["--order", "rr", "--placement", "central", "--slice", slice_])


class Runner:
    def __init__(self, arguments):
        self.command = os.path.join(arguments.build, "bin", "yamanote")
        self.requests = arguments.requests
        self.out = arguments.out

    def sweep(self, flags, vary):
        """Returns the rows of one sweep."""
        command = [self.command, "sim", "sweep", "--csv", "/dev/stdout", "--requests",
                   self.requests, *flags]
        for one in vary:
            command += ["--vary", one]
        # The table goes to standard output, too: a file of its own is simpler.
        path = os.path.join(self.out, ".sweep.csv")
        command[command.index("/dev/stdout")] = path
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: {done.stderr}")
        with open(path, encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        os.remove(path)
        return rows

    def curves(self, name, workload, schedulers, cores=16, loads=LOADS, extra=()):
        """Returns rows of all schedulers, each with its name, and writes them."""
        rows = []
        unlimited = [part for one in CLASSES.get(workload, ["all"])
                     for part in ("--class", f"{one}:limit=16777216")]
        for label, flags in schedulers:
            for row in self.sweep(["--service", workload, "--cores", str(cores), *flags, *extra,
                                   *unlimited], [f"load={loads}"]):
                rows.append({"scheduler": label, **row})
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with open(os.path.join(self.out, name + ".csv"), "w", encoding="utf-8") as file:
            file.write(text.getvalue())
        print(f"{name}: {len(rows)} rows", flush=True)
        return rows


def plot(runner, name, panels):
    """`panels`: (title, rows, class, column, y label, y limit) each."""
    import matplotlib
    matplotlib.use("svg")
    # So that the same data gives the same file.
    matplotlib.rcParams["svg.hashsalt"] = "yamanote"
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.4), squeeze=False)
    for axis, (title, rows, request_class, column, label, limit) in zip(axes[0], panels):
        schedulers = list(dict.fromkeys(row["scheduler"] for row in rows))
        for scheduler in schedulers:
            points = [(float(row["load"]), float(row[column])) for row in rows
                      if row["scheduler"] == scheduler and row["class"] == request_class
                      and row["stable"] == "1" and row[column] != "inf"]
            axis.plot([x for x, _ in points], [y for _, y in points], marker=".", label=scheduler)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("load")
        axis.set_ylabel(label)
        axis.set_ylim(0, limit)
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(os.path.join(runner.out, name + ".svg"), metadata={"Date": None})
    plt.close(figure)


# Curves of `rows`, one for each value of `by`, of column `y` against `x`.
Panel = collections.namedtuple("Panel", "rows by x x_label y y_label limit log", defaults=(False,))


def draw(runner, name, panels):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "yamanote"
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, len(panels), figsize=(4.5 * len(panels), 3.4), squeeze=False)
    for axis, panel in zip(axes[0], panels):
        for value in dict.fromkeys(row[panel.by] for row in panel.rows):
            mine = [row for row in panel.rows if row[panel.by] == value]
            axis.plot([float(row[panel.x]) for row in mine],
                      [float(row[panel.y]) for row in mine], marker=".", markersize=3,
                      linewidth=1, label=value)
        axis.set_xlabel(panel.x_label)
        axis.set_ylabel(panel.y_label)
        axis.set_ylim(0, panel.limit)
        if panel.log:
            axis.set_xscale("log")
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(os.path.join(runner.out, name + ".svg"), metadata={"Date": None})
    plt.close(figure)


def write_csv(runner, name, rows):
    with open(os.path.join(runner.out, name + ".csv"), "w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{name}: {len(rows)} rows", flush=True)


# ---- the figures ------------------------------------------------------------------

def shinjuku_1(runner):
    """Policies on 16 cores: exponential, lognormal, bimodal."""
    schedulers = [D_FCFS, C_FCFS, PS, rr("1us")]
    panels = []
    for key, title, workload, limit in (
            ("a", "(a) exponential, mean 1 us", "exp:1us", 15),
            ("b", "(b) lognormal, mean 1 us, sd 10 us", HEAVY, 50),
            ("c", "(c) 99.5% 0.5 us, 0.5% 500 us", BIMODAL, 700)):
        rows = runner.curves(f"shinjuku-1{key}", workload, schedulers)
        panels.append((title, rows, "all", "p99_us", "p99 latency, us", limit))
    plot(runner, "shinjuku-1", panels)


def shinjuku_2(runner):
    """Half 1 us, half 100 us, by class, and slowdown."""
    rows = runner.curves("shinjuku-2", HALF, [D_FCFS, C_FCFS, PS, rr("1us"), rr("5us")])
    plot(runner, "shinjuku-2", [
        ("(a) 1 us requests", rows, "1us", "p99_us", "p99 latency, us", 400),
        ("(b) 100 us requests", rows, "100us", "p99_us", "p99 latency, us", 1000),
        ("(c) all", rows, "all", "slowdown_p99", "p99 slowdown", 100)])


def zygos(runner):
    """The queueing models: one queue or one for each of 16 cores, in turn or shared."""
    workloads = (("fixed", "fixed:10us"), ("exp", "exp:10us"),
                 ("bimodal-1", "bimodal:90%:5us,10%:55us"),
                 ("bimodal-2", "bimodal:99.9%:5us,0.1%:5005us"))
    models = [("n x M/G/1 FCFS", D_FCFS[1]), ("M/G/n FCFS", C_FCFS[1]),
              ("ZygOS's stealing", ["--order", "fifo", "--placement", "stealing"]),
              ("M/G/n PS", PS[1])]
    panels = []
    for key, workload in workloads:
        rows = runner.curves(f"zygos-{key}", workload, models)
        panels.append((key, rows, "all", "p99_us", "p99 latency, us", 300))
    plot(runner, "zygos", panels)


def ideal(runner):
    """The table of ideal p99 slowdowns: 16 servers, half of the requests of the stated."""
    schedulers = [D_FCFS, JSQ, C_FCFS, rr("15us"), rr("5us"), rr("1us"), PS, SRPT]
    for key, workload in (("bimodal", BIMODAL), ("half", HALF)):
        runner.curves(f"ideal-{key}", workload, schedulers, loads="0.7..0.9/0.1")


def stability(runner):
    """p99 of half 1 us, half 100 us against load, by what a preemption costs."""
    rows = []
    for cost in ("0ns", "100ns", "300ns", "1us"):
        flags = ["--order", "rr", "--placement", "central", "--slice", "5us",
                 "--cost-preempt-receiver", cost]
        rows += runner.curves(f"stability-{cost}", HALF, [(f"c = {cost}", flags)],
                              loads="0.5..0.99/0.035")
    plot(runner, "stability", [("slices of 5 us, 16 cores", rows, "all", "slowdown_p99",
                                "p99 slowdown", 60)])


def connections(runner):
    """How many connections balance queues: at most 10% over the mean, 9 times of 10."""
    program = os.path.join(os.path.dirname(runner.command), "bench_papers_connections")
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    with open(os.path.join(runner.out, "shinjuku-4.csv"), "w", encoding="utf-8") as file:
        file.write(done.stdout)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "yamanote"
    import matplotlib.pyplot as plt
    figure, axis = plt.subplots(figsize=(4.2, 3.4))
    axis.plot([int(row["queues"]) for row in rows], [int(row["connections"]) for row in rows],
              marker=".")
    axis.set_xlabel("queues (cores)")
    axis.set_ylabel("connections")
    axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(os.path.join(runner.out, "shinjuku-4.svg"), metadata={"Date": None})
    plt.close(figure)
    print("shinjuku-4: done", flush=True)


# Requests of 10 us on average; an allocator that is slow must keep so many cores that
# p99.9 stays below this, us.
SHENANGO_LIMIT = 100
# What the paper states that a reallocation takes, 5.9 us, of which somewhat more is the
# preemption.
SHENANGO_COSTS = ["--cost-core-grant", "2.2us", "--cost-core-revoke", "3.7us"]


def shenango_1(runner):
    """Used over allocated cores: the fewest static ones that keep p99.9, and policies."""
    steps = [0.2 * i for i in range(1, 76)]  # Offered load, in cores.
    rows = []

    def run(flags, cores, loads):
        return runner.sweep(["--service", "exp:10us", "--cores", str(cores), *flags],
                            ["load=" + ",".join(f"{a / cores:.6g}" for a in loads)])

    left = list(steps)
    for cores in range(1, 33):
        tried = [a for a in left if a < cores]
        fits = []
        for offered, row in zip(tried, run(C_FCFS[1], cores, tried)):
            if row["stable"] == "1" and float(row["p999_us"]) <= SHENANGO_LIMIT:
                fits.append(offered)
                rows.append({"allocation": "as slow as can be", "offered_cores": f"{offered:.1f}",
                             "cores": cores, "efficiency": f"{offered / cores:.4f}",
                             "p999_us": row["p999_us"], "grants_rps": 0})
        left = [a for a in left if a not in fits]
        if not left:
            break
    for policy in ("congestion", "delay", "delay-range", "utilization-range"):
        flags = ["--preset", "shenango", "--allocation", policy, "--arbiter-interval", "5us",
                 "--batch", "true", *SHENANGO_COSTS]
        for offered, row in zip(steps, run(flags, 24, steps)):
            rows.append({"allocation": policy, "offered_cores": f"{offered:.1f}",
                         "cores": row["cores_held"], "efficiency": row["efficiency"],
                         "p999_us": row["p999_us"], "grants_rps": row["grants_rps"]})
    write_csv(runner, "shenango-1", rows)
    draw(runner, "shenango-1", [
        Panel(rows, "allocation", "offered_cores", "offered load, cores", column, label, limit)
        for column, label, limit in (("efficiency", "used / allocated cores", 1.02),
                                     ("p999_us", "p99.9 latency, us", 150),
                                     ("grants_rps", "cores granted per second", None))])


# How often policies are asked: the paper's 5 us, Caladan's 10, and on to what others do.
INTERVALS = ("5us", "10us", "20us", "50us", "100us", "200us", "500us", "1ms")


def shenango_interval(runner):
    """p99.9 and efficiency against the interval, at three loads of 24 cores."""
    rows = []
    for load in ("0.1", "0.4", "0.7"):
        for policy in ("congestion", "delay", "delay-range", "utilization-range"):
            flags = ["--service", "exp:10us", "--cores", "24", "--preset", "shenango",
                     "--allocation", policy, "--batch", "true", "--load", load, *SHENANGO_COSTS]
            for interval, row in zip(INTERVALS, runner.sweep(
                    flags, ["arbiter-interval=" + ",".join(INTERVALS)])):
                us = 1000 if interval == "1ms" else int(interval[:-2])
                rows.append({"allocation": f"{policy}, load {load}", "interval_us": us,
                             "cores": row["cores_held"], "efficiency": row["efficiency"],
                             "p99_us": row["p99_us"], "p999_us": row["p999_us"],
                             "grants_rps": row["grants_rps"]})
    write_csv(runner, "shenango-interval", rows)
    few = [row for row in rows if row["allocation"].startswith(("congestion", "delay,"))]
    draw(runner, "shenango-interval", [
        Panel(few, "allocation", "interval_us", "interval, us", "p999_us", "p99.9 latency, us",
              None, True),
        Panel(few, "allocation", "interval_us", "interval, us", "efficiency",
              "used / allocated cores", 1.02, True),
        Panel(few, "allocation", "interval_us", "interval, us", "grants_rps",
              "cores granted per second", None, True)])


def shenango_batch(runner):
    """A service of 10 us beside a batch program on 24 cores, and alone on all of them."""
    loads = [f"{0.1 * i:.1f}" for i in range(1, 10)]
    rows = []

    def add(name, flags):
        for load, row in zip(loads, runner.sweep(
                ["--service", "exp:10us", "--cores", "24", "--preset", "shenango", *flags],
                ["load=" + ",".join(loads)])):
            offered = 24 * float(load)
            held = float(row["cores_held"]) or 24  # 0: no arbiter.
            rows.append({"system": name, "load": load, "p99_us": row["p99_us"],
                         "p999_us": row["p999_us"], "cores": f"{held:.3f}",
                         # Of what the service does not use, what a batch program gets.
                         "batch_share": f"{(24 - held) / (24 - offered):.4f}",
                         "grants_rps": row["grants_rps"]})

    add("alone, all cores", ["--allocation", "static"])
    for policy in ("congestion", "delay", "delay-range", "utilization-range"):
        for interval in ("5us", "10us") if policy == "delay" else ("5us",):
            add(f"{policy}, {interval}", ["--allocation", policy, "--arbiter-interval", interval,
                                          "--batch", "true", *SHENANGO_COSTS])
    write_csv(runner, "shenango-batch", rows)
    draw(runner, "shenango-batch", [
        Panel(rows, "system", "load", "load", column, label, limit)
        for column, label, limit in (("p99_us", "p99 latency, us", None),
                                     ("p999_us", "p99.9 latency, us", None),
                                     ("batch_share", "batch: share of what is left", 1.02))])


def shenango_step(runner):
    """A load step from 0.1 to 0.8 and back, in buckets of 100 us."""
    program = os.path.join(os.path.dirname(runner.command), "bench_papers_step")
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    rows = [{"system": "alone, all cores" if row["allocation"] == "static" else
             f"{row['allocation']}, {row['interval_us']}us", **row}
            for row in csv.DictReader(io.StringIO(done.stdout))]
    write_csv(runner, "shenango-step", rows)
    draw(runner, "shenango-step", [
        Panel(rows, "system", "since_us", "us", column, label, None)
        for column, label in (("p99_us", "p99 latency, us"), ("p999_us", "p99.9 latency, us"),
                              ("cores_held", "cores held"))])


FIGURES = {"shenango-1": shenango_1, "shenango-interval": shenango_interval,
           "shenango-batch": shenango_batch, "shenango-step": shenango_step,
           "shinjuku-1": shinjuku_1, "shinjuku-2": shinjuku_2, "shinjuku-4": connections,
           "zygos": zygos, "ideal": ideal, "stability": stability}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build/bench", help="the build folder of preset bench")
    parser.add_argument("--out", default=os.path.join(HERE, "results"))
    parser.add_argument("--requests", default="2M", help="of each point")
    parser.add_argument("--figure", action="append", choices=FIGURES, help="default: all")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    runner = Runner(arguments)
    for name in arguments.figure or FIGURES:
        FIGURES[name](runner)


if __name__ == "__main__":
    main()
