#!/usr/bin/env python3
"""Measures applications that share cores, by `yamanote bench cores`.

  bench/cores/live.py --out FILE.json            # all scenarios, some 8 minutes
  bench/cores/live.py --scenarios step --out FILE.json --plot FILE.svg
  bench/cores/live.py --summary FILE.json [--plot FILE.svg]

As root, so that the daemon and the request generator may have their priorities. The
record keeps what each scenario printed (docs/bench-json.md); --plot draws the step, p99 in
buckets of 100 us (python3-matplotlib).
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import measure  # noqa: E402

SCENARIOS = ("lc+be", "step", "handover", "anticorrelated")


def spread(value, digits=2):
    if value is None or value["median"] is None:
        return "-"
    low, middle, high = (text(value[key], digits) for key in ("p25", "median", "p75"))
    return f"{middle} [{low}-{high}]"


def text(value, digits=1):
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def print_lc_be(found):
    rows = []
    for load in found["loads"]:
        for way in load["ways"]:
            rows.append([text(load["load"], 2), way["way"], spread(way["p50_us"], 0),
                         spread(way["p99_us"], 0), spread(way["p99_over_alone"]),
                         spread(way["batch_share"]), spread(way["service_cpus"]),
                         spread(way["daemon_cpus"], 3), spread(way["grants_per_second"], 0),
                         way["unanswered"]])
    measure.print_table(
        f"lc+be: {found['service']} on {len(found['cpus'])} CPUs: median [quartiles]",
        ["load", "way", "p50 us", "p99 us", "p99 / alone", "batch gets", "service CPUs",
         "daemon CPUs", "grants/s", "unanswered"], rows)


def print_step(found):
    for load in found["loads"]:
        measure.print_table(
            f"step: load {load['low_load']} to {load['load']}, {load['periods']} periods",
            ["way", "high p99 us", "low p99 us", "up: after us", "down: after us", "batch gets"],
            [[way["way"], text(way["high_p99_us"], 0), text(way["low_p99_us"], 0),
              text(way["up_us"], 0), text(way["down_us"], 0), spread(way["batch_share"])]
             for way in load["ways"]])


def print_handover(found):
    def row(name, took, need=None, over=None):
        return [name, took["samples"], *(text(took[key]) for key in ("p50", "p90", "p99")),
                "" if need is None else f"{text(need['p50'])}, {text(need['p99'])}",
                "" if over is None else spread(over)]

    rows = [row("kernel, same core", found["kernel_same_core_us"]),
            *([row("kernel, between processes", found["kernel_processes_us"])]
              if "kernel_processes_us" in found else []),
            row("kernel, other idle core", found["kernel_other_core_us"])]
    for path in found["paths"]:
        over = (path["over_other_core"] if path["path"] in ("kept", "idle", "voluntary") else
                path.get("over_processes", path["over_same_core"]))
        rows.append(row(path["path"], path["from_decision_us"], path["from_need_us"], over))
    measure.print_table(
        "handover: from the daemon's decision to the new owner's first task",
        ["path", "samples", "p50 us", "p90 us", "p99 us", "from need: p50, p99",
         "medians / kernel's"], rows)


def print_anticorrelated(found):
    for load in found["loads"]:
        measure.print_table(
            f"anticorrelated: {load['load']} in a burst, else {load['low_load']}",
            ["way", "p50 us", "p99 us", "p99.9 us", "p99 / alone", "service CPUs", "grants/s",
             "unanswered"],
            [[way["way"], spread(way["p50_us"], 0), spread(way["p99_us"], 0),
              spread(way["p99.9_us"], 0), spread(way["p99_over_alone"]),
              spread(way["service_cpus"]), spread(way["grants_per_second"], 0),
              way["unanswered"]] for way in load["ways"]])


PRINT = {"lc+be": print_lc_be, "step": print_step, "handover": print_handover,
         "anticorrelated": print_anticorrelated}


def plot(found, path):
    try:
        import matplotlib
    except ImportError:
        sys.exit("--plot: there is no python3-matplotlib")
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "yamanote"
    from matplotlib import pyplot
    load = found["loads"][0]
    ways = [way for way in load["ways"] if way["way"] != "static"]
    figure, panes = pyplot.subplots(len(ways), 1, sharex=True, sharey=True,
                                    figsize=(8, 1.7 * len(ways)))
    for pane, way in zip(panes, ways):
        at = [i * load["bucket_us"] / 1000 for i in range(len(way["buckets"]))]
        for index, name in ((2, "p99"), (1, "p50")):
            pane.plot(at, [float("nan") if bucket[index] is None else float(bucket[index])
                           for bucket in way["buckets"]], linewidth=0.7, label=name)
        pane.set_yscale("log")
        pane.set_title(way["way"], fontsize=9, loc="left")
        pane.axvline(load["period_us"] / 2000, color="grey", linewidth=0.5)
    panes[0].legend(fontsize=8)
    panes[-1].set_xlabel(f"ms after the step from {load['low_load']} to {load['load']} "
                         f"(back at the line), {load['periods']} periods")
    figure.supylabel("latency, us")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    parser = measure.parser(__doc__, rounds=8, rounds_help="slices of each way, at each load")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--round", type=float, default=1, help="length of a slice, seconds")
    parser.add_argument("--flags", default="", help="more, for `yamanote bench cores`")
    parser.add_argument("--summary", default=None, help="print the tables of this record")
    parser.add_argument("--plot", default=None, help="where to draw the step")
    arguments = parser.parse_args()
    if arguments.summary:
        with open(arguments.summary, encoding="utf-8") as file:
            found = json.load(file)["scenarios"]
    else:
        commit = measure.revision(arguments)
        found = {}
        for name in arguments.scenarios.split(","):
            if name not in SCENARIOS:
                sys.exit(f"--scenarios: '{name}' is none of {', '.join(SCENARIOS)}")
            measure.say(name)
            found[name] = json.loads(measure.output(
                [os.path.join(arguments.build, "bin", "yamanote"), "bench", "cores", "--scenario",
                 name, "--seconds", str(arguments.rounds * arguments.round), "--round",
                 str(arguments.round), "--json", *arguments.flags.split()], timeout=3600))
            measure.write(arguments, commit, {"rounds": arguments.rounds, "scenarios": found})
    for name, one in found.items():
        PRINT[name](one)
    if arguments.plot and "step" in found:
        plot(found["step"], arguments.plot)


if __name__ == "__main__":
    main()
