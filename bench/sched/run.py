#!/usr/bin/env python3
"""Measures schedulers with load from inside the process: `yamanote bench sched`.

An experiment is a set of cells: a preset, a slice, a workload, a load. Every round
measures each cell once, in a process of its own, all with the round's seed; so all
cells meet the same disturbances and, per workload and load, the same requests. Printed
are medians over the rounds with the least and the greatest beside. --out keeps every
round's figures, and is written after each round.

  bench/sched/run.py --experiment goal [--out FILE]
  bench/sched/run.py --experiment slices --slices 2us,5us,10us,20us,50us,adaptive
  bench/sched/run.py --summary FILE...        # the tables of what was measured before

Experiments: goal (load 0.7, slices of 5us, bimodal), slices (each workload with each
slice), presets (each preset as it is), loads (bimodal from 10% to 90%), light (what
being preemptible costs where it gains nothing). How long it will take is said first.

On a machine with two CPUs one core runs requests and one sends them; then what differs
between presets is order and slice, and those whose order and slice are equal are
measured once (--all-presets: each).
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import measure

WORKLOADS = {
    "fixed": "fixed:10us",
    "exp": "exp:10us",
    "bimodal": "bimodal:99.5%:5us,0.5%:500us",
    "half": "bimodal:50%:1us,50%:100us",
    "trimodal": "trimodal:33.4%:1us,33.3%:10us,33.3%:100us",
    # The squared coefficient of variation is exp(sigma^2) - 1 = 8.5.
    "lognormal": "lognormal:mean=10us,sigma=1.5",
}
PRESETS = ["ix", "zygos", "shinjuku", "shinjuku-mq", "concord", "tq", "skyloft-rr", "skyloft-cfs",
           "skyloft-eevdf", "persephone", "yamanote"]
# With one core the placement says nothing: these schedule as the second does.
SAME_ON_ONE_CORE = {"zygos": "ix", "concord": "shinjuku"}
# Orders that give each task a slice of its own.
SLICE_DIFFERS = ["cfs"]
OVERLOAD = 1.3
# Then the first half does not count: each preempted request that waits has a stack, and
# touching thousands of them for the first time takes half a second.
OVERLOAD_WARMUP = 0.5
# Requests in the system under overload: what caches hold, and what a server admits.
LIMITS = [64, 4096]
# A round's score counts only if that share of its requests is not tagged.
LEAST_UNDISTURBED = 0.2
# What a process takes beside --seconds: start, a tenth of a second of watching, figures.
OVERHEAD_S = 0.8


def cell(preset, workload, load, slice_="", **more):
    """Returns the flags of one cell; slice "" is the preset's own."""
    return {"preset": preset, "slice": slice_, "workload": workload, "load": load,
            "body": "clock", "limit": 0, "warmup": 0.1, **more}


# ---- experiments -----------------------------------------------------------------

def goal(arguments):
    return [cell(preset, "bimodal", 0.7, "5us")
            for preset in arguments.presets or ["yamanote", "tq", "shinjuku-mq"]]


def slices(arguments):
    return [cell(preset, workload, 0.7, slice_)
            for preset in arguments.presets or ["yamanote"]
            for workload in arguments.workloads for slice_ in [*arguments.slices, "none"]]


def presets(arguments):
    return [cell(preset, workload, 0.7)
            for preset in arguments.presets or distinct(PRESETS, arguments)
            for workload in arguments.workloads]


def loads(arguments):
    return [cell(preset, "bimodal", load)
            for preset in arguments.presets or ["ix", "shinjuku", "tq", "yamanote"]
            for load in arguments.loads]


def light(arguments):
    """More load than there is time for: what is answered is what is possible."""
    made = []
    for workload, limit in itertools.product(("fixed", "exp"), LIMITS):
        for body, slice_ in [("bare", "none"), ("work", "none"),
                             *(("work", one) for one in arguments.slices)]:
            made.append(cell((arguments.presets or ["yamanote"])[0], workload, OVERLOAD, slice_,
                             body=body, limit=limit, warmup=OVERLOAD_WARMUP))
    return made


# Name: (cells, rounds, seconds of a round's cell, slices).
EXPERIMENTS = {
    "goal": (goal, 12, 4.0, []),
    "slices": (slices, 5, 2.0, ["2us", "5us", "10us", "20us", "50us"]),
    "presets": (presets, 5, 2.0, []),
    "loads": (loads, 5, 2.0, []),
    "light": (light, 9, 2.0, ["5us", "20us"]),
}


def distinct(names, arguments):
    if arguments.cores > 1 or arguments.all_presets:
        return names
    return [name for name in names if SAME_ON_ONE_CORE.get(name) not in names]


# ---- measuring -------------------------------------------------------------------

def command(arguments, one, seed):
    made = [os.path.join(arguments.build, "bin", "yamanote"), "bench", "sched", "--json",
            "--preset", one["preset"], "--service", WORKLOADS[one["workload"]],
            "--load", str(one["load"]), "--cores", str(arguments.cores),
            "--seconds", str(arguments.seconds), "--seed", str(seed), "--body", one["body"],
            "--steps-per-us", str(arguments.steps_per_us), "--limit", str(one["limit"]),
            "--warmup", str(one["warmup"])]
    return made + (["--slice", one["slice"]] if one["slice"] else [])


def shorter(document):
    """Returns the command's document without what no table or question needs."""
    def figures(given):
        return {key: given[key] for key in ("samples", "p50", "p99", "p99.9")}

    return {key: ([{name: value if name == "name" else figures(value)
                    for name, value in group.items()} for group in value] if key == "classes" else
                  figures(value) if isinstance(value, dict) else value)
            for key, value in document.items()}


def run(arguments, one, seed):
    """Returns what one process measured, or {"failed": why}: the others go on."""
    given = command(arguments, one, seed)
    try:
        done = subprocess.run(given, capture_output=True, text=True, check=False,
                              timeout=60 + 3 * arguments.seconds)
    except OSError as error:
        sys.exit(f"{given[0]} can't be run ({error.strerror}); `make bench` builds build/bench")
    except subprocess.TimeoutExpired:
        return {"failed": "took more than a minute too long"}
    if done.returncode == 2:  # Wrong flags are the same in each round.
        sys.exit(f"{' '.join(given)}: {done.stderr}")
    if done.returncode != 0:
        return {"failed": f"exit status {done.returncode}: {done.stderr[-400:]}"}
    return shorter(json.loads(done.stdout))


def calibrate(arguments):
    """Returns how many steps of work take a microsecond: of 20us more than of 10us."""
    def per_request_us(service):
        rates = [run(arguments, {**cell("ix", "fixed", OVERLOAD), "workload": service,
                                 "body": "bare", "limit": LIMITS[0]}, seed)
                 for seed in (1, 2, 3)]
        failed = [one["failed"] for one in rates if "failed" in one]
        if failed:
            sys.exit(f"calibration of --body work failed: {failed[0]}")
        return 1e6 * arguments.cores / max(one["achieved_rps"] for one in rates)

    WORKLOADS["long"] = "fixed:20us"
    more_us = per_request_us("long") - per_request_us("fixed")
    del WORKLOADS["long"]
    if not 2 < more_us < 50:
        sys.exit(f"calibration: 10us of work at {arguments.steps_per_us} steps took {more_us:.1f} "
                 "us; the machine is too busy to measure on, or give --steps-per-us that fits")
    return max(1, round(arguments.steps_per_us * 10 / more_us))


def measure_all(arguments):
    make_cells, rounds, seconds, slice_list = EXPERIMENTS[arguments.experiment]
    arguments.rounds = arguments.rounds or rounds
    arguments.seconds = arguments.seconds or seconds
    arguments.slices = arguments.slices or slice_list
    cells = make_cells(arguments)
    commit = measure.revision(arguments)
    total = arguments.rounds * len(cells)
    measure.say(f"{arguments.experiment}: {len(cells)} cells, {arguments.rounds} rounds of "
                f"{arguments.seconds:g} s, about "
                f"{total * (arguments.seconds + OVERHEAD_S) / 60:.1f} minutes")
    if any(one["body"] != "clock" for one in cells):
        arguments.steps_per_us = calibrate(arguments)
        measure.say(f"work: {arguments.steps_per_us} steps per us")
    record = {"experiment": arguments.experiment, "cores": arguments.cores,
              "seconds": arguments.seconds, "cells": cells, "runs": []}
    begun = time.monotonic()
    for number in range(1, arguments.rounds + 1):
        # Each round begins elsewhere, so that no cell always follows the same one.
        for one in cells[number % len(cells):] + cells[:number % len(cells)]:
            seed = arguments.seed + number
            record["runs"].append({"round": number, "cell": one, **run(arguments, one, seed)})
        measure.write(arguments, commit, record)
        left = (time.monotonic() - begun) / number * (arguments.rounds - number)
        measure.say(f"round {number} of {arguments.rounds} done, {left / 60:.1f} minutes left")
    return record


# ---- tables ----------------------------------------------------------------------

def middle(values, digits, scale=1.0):
    """Returns "median [least-greatest]" of what there is, "" if there is nothing."""
    known = [measure.number(value) for value in values if value is not None]
    if not known:
        return ""
    return measure.spread(known, digits, scale)


def undisturbed_share(one):
    return 1 - one["stolen_samples"] / max(one["requests"], 1)


def slice_us(one):
    """Returns the slice in us; None if it is none, not the same for all, or adapts."""
    if one["order"] in SLICE_DIFFERS or one["slice_max"]:
        return None
    text = one["slice"]
    for unit, factor in (("ns", 1e-3), ("us", 1.0), ("ms", 1e3), ("s", 1e6)):
        if text.endswith(unit) and text[:-len(unit)].replace(".", "", 1).isdigit():
            return float(text[:-len(unit)]) * factor
    return None


def row(one_cell, runs):
    """Returns the cells of one row; `runs`: one for each round that did not fail."""
    def all_figures(one, name):
        return one["classes"][0][name]["p99"]

    scored = [one for one in runs if undisturbed_share(one) >= LEAST_UNDISTURBED]
    length = slice_us(runs[0])
    label = runs[0]["slice"]
    if runs[0]["slice_max"]:
        ended = statistics.median(one["adaptive_slice_us"] for one in runs)
        label = f"adaptive ({ended:.1f}us in the end)"
    made = [one_cell["preset"], label, one_cell["workload"], f"{one_cell['load']:g}",
            middle([all_figures(one, "slowdown_undisturbed") for one in scored], 1),
            middle([one["score"] for one in scored], 2)
            + (f" ({len(scored)}/{len(runs)})" if len(scored) < len(runs) else ""),
            middle([one["score_with_stalls"] for one in runs], 2)]
    if runs[0]["slice_max"]:  # The ideal's slice is the least one.
        made[-2:] = ["", ""]
    for quantile in ("p50", "p99"):
        made.append(middle([one["stint_us"][quantile] for one in runs], 2, length)
                    if length else "")
    made.append(middle([one["asked_us"]["p99"] for one in runs], 2) if length else "")
    preempts = length or runs[0]["slice_max"]
    made.append(middle([one["work_lost"] for one in runs], 1, 0.01) if preempts else "")
    made.append(middle([1 - undisturbed_share(one) for one in runs], 0, 0.01))
    made.append(middle([one["achieved_rps"] for one in runs], 1, 1e3))
    return made


HEADER = ["preset", "slice", "workload", "load", "p99 slowdown", "score", "score with stalls",
          "stint p50 / slice", "stint p99 / slice", "asked p99 us", "work lost %", "tagged %",
          "thousand/s"]


def by_cell(record):
    """Returns [(cell, its runs)] in the order of the cells; says what failed."""
    grouped = {json.dumps(one): [] for one in record["cells"]}
    for one in record["runs"]:
        grouped[json.dumps(one["cell"])].append(one)
    made = []
    for key, group in grouped.items():
        failed = [one["failed"] for one in group if "failed" in one]
        if failed:
            measure.say(f"{key}: {len(failed)} of {len(group)} runs failed: {failed[0]}")
        good = [one for one in group if "failed" not in one]
        if good:
            made.append((json.loads(key), good))
    return made


def print_light(cells):
    """Throughput as a share of that of the same work without probes, round by round."""
    bare = {(one["workload"], one["limit"]): {each["round"]: each["achieved_rps"]
                                              for each in runs}
            for one, runs in cells if one["body"] == "bare"}
    rows = []
    for one, runs in cells:
        base = bare.get((one["workload"], one["limit"]), {})
        lost = [1 - each["achieved_rps"] / base[each["round"]]
                for each in runs if base.get(each["round"])]
        probes = "none" if one["body"] == "bare" else "yes"
        rows.append([one["workload"], str(one["limit"]), probes, one["slice"],
                     middle([each["achieved_rps"] for each in runs], 1, 1e3),
                     "" if one["body"] == "bare" else middle(lost, 1, 0.01),
                     f"{statistics.median(each['preemptions'] for each in runs):.0f}"])
    measure.print_table(
        f"Overload ({OVERLOAD} times): most requests answered; lost against no probes, no slice",
        ["workload", "at most in system", "probes", "slice", "thousand/s", "lost %",
         "preemptions"], rows)


def print_tables(record):
    cells = by_cell(record)
    if not cells:
        sys.exit("no run succeeded: there is nothing to show")
    if record["experiment"] == "light":
        print_light(cells)
        return
    rounds = max(one["round"] for one in record["runs"])
    measure.print_table(
        f"{record['experiment']}: {record['cores']} core(s), median [least-greatest] of {rounds} "
        f"rounds of {record['seconds']:g} s", HEADER, [row(one, runs) for one, runs in cells])
    if any(one["generator"] == "shared core" for _, runs in cells for one in runs):
        print("\nThe generator had no core of its own: arrivals were late, no tail is credible.")


def main():
    parser = measure.parser(__doc__, rounds=None, rounds_help="instead of the experiment's")
    parser.add_argument("--experiment", choices=EXPERIMENTS, default="goal")
    parser.add_argument("--summary", nargs="+", metavar="FILE",
                        help="print the tables of these results; measure nothing")
    parser.add_argument("--seconds", type=float, help="of one cell's round")
    parser.add_argument("--seed", type=int, default=0, help="round N has seed SEED + N")
    parser.add_argument("--cores", type=int, default=max(1, len(measure.allowed_cpus()) - 1),
                        help="that run requests; one more sends, if there is one")
    parser.add_argument("--presets", type=lambda text: text.split(","))
    parser.add_argument("--all-presets", action="store_true")
    parser.add_argument("--slices", type=lambda text: text.split(","))
    parser.add_argument("--workloads", type=lambda text: text.split(","), default=[*WORKLOADS],
                        help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--loads", type=lambda text: [float(one) for one in text.split(",")],
                        default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    parser.add_argument("--steps-per-us", type=int, default=300,
                        help="of work, to begin the calibration with")
    arguments = parser.parse_args()
    unknown = set(arguments.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"--workloads: there is no {', '.join(sorted(unknown))}; "
                     f"there are {', '.join(WORKLOADS)}")
    if arguments.summary:
        measure.print_summary(arguments.summary, print_tables, ["cells"])
        return
    print_tables(measure_all(arguments))


if __name__ == "__main__":
    main()
