#!/usr/bin/env python3
"""Compares the simulator, with this machine's costs, with the live scheduler.

  bench/sim/agreement.py [--cores N] [--rounds 5] [--out FILE]

Each round measures the machine's costs: `doctor --costs`, what a request costs a core beside
its work and its first switch (a flood of requests of 100 ns), and what a preemption does (the
work lost in slices of 5 us). Then each point live (`bench sched`: load from inside the
process) and simulated with those costs. Printed is the live p99 over the simulated one: of the
requests that were in the system while the machine took no core away, which leaves out the
longest stays rather than the short ones, and of all.
"""

import json
import os
import statistics
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import measure

BIMODAL = "bimodal:99.5%:5us,0.5%:500us"
HALF = "bimodal:50%:1us,50%:100us"
TRIMODAL = "trimodal:33.4%:1us,33.3%:10us,33.3%:100us"
LOGNORMAL = "lognormal:mean=10us,sigma=1.5"
POINTS = [
    # preset, slice, service, load
    ("ix", None, "fixed:10us", 0.7),
    ("ix", None, "exp:10us", 0.7),
    ("ix", None, BIMODAL, 0.5),
    ("tq", "5us", BIMODAL, 0.7),
    ("tq", "20us", HALF, 0.7),
    ("skyloft-cfs", "20us", LOGNORMAL, 0.7),
    ("shinjuku-mq", "5us", BIMODAL, 0.7),
    ("yamanote", "5us", TRIMODAL, 0.7),
    ("yamanote", None, BIMODAL, 0.8),
    ("yamanote", None, "exp:10us", 0.8),
]
# A request of 100 ns and what it costs beside.
FLOOD_NS = 100


def overhead_ns(binary, cores):
    """What a request takes of a core beside its service time, in process."""
    flood = json.loads(measure.output(
        [binary, "bench", "sched", "--preset", "ix", "--cores", str(cores), "--service",
         f"fixed:{FLOOD_NS}ns", "--load", "0.9", "--seconds", "0.5", "--limit", "64", "--json"]))
    return max(cores * 1e9 / flood["achieved_rps"] - FLOOD_NS, 0)


def preemption_ns(binary, cores):
    """What a preemption takes of a core, switch included, in process."""
    seconds, load = 1, 0.7
    cut = json.loads(measure.output(
        [binary, "bench", "sched", "--preset", "tq", "--cores", str(cores), "--service", BIMODAL,
         "--slice", "5us", "--load", str(load), "--seconds", str(seconds), "--json"]))
    return cut["work_lost"] * load * seconds * 0.9 * cores * 1e9 / cut["preemptions"]


def figures(text, suffix):
    """Returns p50 and p99 of latency and p99 of slowdown over all requests."""
    everything = json.loads(text)["classes"][0]
    return {"p50": measure.number(everything["latency_us" + suffix]["p50"]),
            "p99": measure.number(everything["latency_us" + suffix]["p99"]),
            "slowdown_p99": measure.number(everything["slowdown" + suffix]["p99"])}


def main():
    parser = measure.parser(__doc__, rounds=5)
    parser.add_argument("--cores", type=int, default=1, help="that run requests")
    parser.add_argument("--seconds", type=float, default=2, help="of each live measurement")
    arguments = parser.parse_args()
    commit = measure.revision(arguments)
    binary = os.path.join(arguments.build, "bin", "yamanote")
    samples = []
    for number in measure.rounds(arguments.rounds):
        with tempfile.NamedTemporaryFile(suffix=".toml") as costs:
            measure.output([binary, "doctor", "--costs", costs.name])
            with open(costs.name, encoding="utf-8") as written:
                costs_text = written.read()
            beside = overhead_ns(binary, arguments.cores)
            preemption = preemption_ns(binary, arguments.cores)
            for preset, slice_, service, load in POINTS:
                flags = ["--preset", preset, "--cores", str(arguments.cores), "--service",
                         service, "--load", str(load), "--seed", str(number), "--json"]
                if slice_:
                    flags += ["--slice", slice_]
                live = measure.output([binary, "bench", "sched", *flags, "--seconds",
                                       str(arguments.seconds)])
                simulated = measure.output(
                    [binary, "sim", *flags, "--costs", costs.name, "--cost-network",
                     f"{beside:.0f}ns", "--cost-context-switch", "0ns",
                     "--cost-preempt-receiver", f"{preemption:.0f}ns", "--requests", "1M"])
                samples.append({"preset": preset, "slice": slice_, "service": service,
                                "load": load, "round": number, "overhead_ns": beside,
                                "preemption_ns": preemption,
                                "live": figures(live, "_undisturbed"),
                                "live_all": figures(live, ""),
                                "simulated": figures(simulated, ""), "costs": costs_text})
    rows = []
    for preset, slice_, service, load in POINTS:
        taken = [one for one in samples if one["preset"] == preset and one["slice"] == slice_
                 and one["service"] == service and one["load"] == load]
        rows.append([preset, slice_ or "its own", service, str(load)] + [
            text for key in ("p50", "p99", "slowdown_p99") for text in (
                measure.spread([one["live"][key] for one in taken], 1),
                measure.spread([one["live_all"][key] for one in taken], 1),
                f"{statistics.median(one['simulated'][key] for one in taken):.1f}",
                measure.spread([one["live"][key] / one["simulated"][key] for one in taken], 2),
                measure.spread([one["live_all"][key] / one["simulated"][key] for one in taken],
                               2))])
    measure.print_table(
        f"{arguments.cores} core(s): live without and with what the machine disturbed, simulated, "
        "live / simulated without and with", [
            "preset", "slice", "service", "load", "p50 us", "all", "sim", "ratio", "all", "p99 us",
            "all", "sim", "ratio", "all", "p99 slowdown", "all", "sim", "ratio", "all"], rows)
    measure.write(arguments, commit, {"samples": samples})


if __name__ == "__main__":
    main()
