#!/usr/bin/env python3
"""Compares the simulator, with this machine's costs, with the live scheduler.

  bench/sim/agreement.py [--cores N] [--rounds 5] [--out FILE]

Each round measures the machine's costs (`doctor --costs`) and what a request costs a core
beside its work (a flood of requests of 100 ns), then each point live (`bench sched`: load
from inside the process, samples without the machine's outages) and simulated with those
costs. Printed is the live p99 over the simulated one.
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
            for preset, slice_, service, load in POINTS:
                flags = ["--preset", preset, "--cores", str(arguments.cores), "--service",
                         service, "--load", str(load), "--seed", str(number), "--json"]
                if slice_:
                    flags += ["--slice", slice_]
                live = measure.output([binary, "bench", "sched", *flags, "--seconds",
                                       str(arguments.seconds)])
                simulated = measure.output(
                    [binary, "sim", *flags, "--costs", costs.name, "--cost-network",
                     f"{beside:.0f}ns", "--requests", "1M"])
                samples.append({"preset": preset, "slice": slice_, "service": service,
                                "load": load, "round": number, "overhead_ns": beside,
                                "live": figures(live, "_undisturbed"),
                                "simulated": figures(simulated, ""), "costs": costs_text})
    rows = []
    for preset, slice_, service, load in POINTS:
        taken = [one for one in samples if one["preset"] == preset and one["slice"] == slice_
                 and one["service"] == service and one["load"] == load]
        rows.append([preset, slice_ or "its own", service, str(load)] + [
            text for key in ("p50", "p99", "slowdown_p99") for text in (
                measure.spread([one["live"][key] for one in taken], 1),
                f"{statistics.median(one['simulated'][key] for one in taken):.1f}",
                measure.spread([one["live"][key] / one["simulated"][key] for one in taken], 2))])
    measure.print_table(
        f"{arguments.cores} core(s): live, simulated, live / simulated", [
            "preset", "slice", "service", "load", "p50 us", "sim", "ratio", "p99 us", "sim",
            "ratio", "p99 slowdown", "sim", "ratio"], rows)
    measure.write(arguments, commit, {"samples": samples})


if __name__ == "__main__":
    main()
