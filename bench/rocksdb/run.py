#!/usr/bin/env python3
"""The highest load at which short requests to `serve rocksdb` stay fast beside scans.

For each mix, every round takes each preset up a ladder of loads, in short windows, over
TCP. The figure is the p99 latency of GETs, from when they were due. With few scans the
limit is 50 times what a GET takes in the server (README.md); where half are scans of
5,000 keys it is what one of these takes, for a GET waits while an answer of half a
megabyte is sent. bench/highest.py says how the answer is read off.

  bench/rocksdb/run.py --build build/bench [--rounds 8] [--seconds 0.3] [--out FILE]
  bench/rocksdb/run.py --slices 2us,5us,10us,20us,50us,adaptive [--loads 0.05,0.1]
  bench/rocksdb/run.py --summary FILE...      # the tables of what was measured before

With --slices, every round measures one preset with each of these slices and with none,
at the same few loads of each mix: then the table has GETs' and SCANs' latencies.

The server gets the first two CPUs, the load generator the next one (on a machine with
two CPUs: one each). Ideal is the load at which the server's cores do nothing but look
keys up: no sockets. RocksDB itself has no probes: scans give way between two keys.
"""

import itertools
import math
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import highest
import measure

PORT = 19466
GET_US, SCAN1000_US, SCAN5000_US = 2.1, 151.0, 785.0
# Mix: (distribution, mean service in us, loads as shares of the ideal, limit in us).
MIXES = {
    "rare": ("get:99.5%,scan1000:0.5%", 0.995 * GET_US + 0.005 * SCAN1000_US,
             highest.steps(0.005, 1.3, 0.5), 50 * GET_US),
    "half": ("get:50%,scan5000:50%", 0.5 * GET_US + 0.5 * SCAN5000_US,
             highest.steps(0.02, 1.35, 0.9), SCAN5000_US),
}
# For slices: GETs wait behind SCANs, and the server keeps up.
SLICE_LOADS = {"rare": [0.03, 0.06], "half": [0.05, 0.15]}
# What a server takes beside its windows: start, filling the store, end.
SERVER_S = 1.5
# A window is longer where requests are fewer, up to ten times.
LEAST_REQUESTS = 400
AGAINST = ["ix", "zygos"]
PRESETS = [f"{name} --spin 1s" for name in [*AGAINST, "shinjuku", "tq", "yamanote"]]


def servers(arguments, cpus, presets):
    """Returns {preset: command line}."""
    commands = {}
    for preset in presets:
        name, *flags = preset.split()
        commands[preset] = [
            os.path.join(arguments.build, "bin", "yamanote"), "serve", "rocksdb", "--preset", name,
            "--protocol", "tcp", "--listen", f"127.0.0.1:{PORT}", "--cores",
            measure.cpu_list(cpus), "--rocksdb-keys", str(arguments.keys), *flags]
    return commands


def wait_until_ready(server):
    if not server.stdout.readline().startswith("ready"):
        sys.exit(f"{' '.join(server.args)} did not get ready; was it built with "
                 "librocksdb-dev?")


def window_s(arguments, rate):
    return min(max(arguments.seconds, LEAST_REQUESTS / rate), 10 * arguments.seconds)


def sample(point):
    """Returns a point's figures for the record."""
    return {"offered_rps": point["offered_rps"], "achieved_rps": point["achieved_rps"],
            "valid": point["valid"], "sent": point["sent"], "late": point["late"],
            "lost": point["lost"], "generator_busy": point["generator_busy"],
            "classes": {one["name"]: {"sent": one["sent"],
                                      "p50_us": measure.number(one["latency_us"]["p50"]),
                                      "p99_us": measure.number(one["latency_us"]["p99"])}
                        for one in point["classes"]}}


def get_windows(one):
    """Returns the GETs' p99 of a sample, none if the generator sent it late."""
    if one["late"] > measure.MOST_LATE * max(one["sent"], 1):
        return []
    return [one["classes"]["get"]["p99_us"]] if one["valid"] else [float("inf")]


def window(arguments, service, rate, seed, generator):
    """Measures a window of `rate` requests a second."""
    point, = measure.load(
        arguments.build, "rocksdb", PORT, [rate], protocol="tcp", service=service,
        duration=round(window_s(arguments, rate), 3), warmup=0.06, drain=0.3,
        seed=seed, cpus=generator, keys=arguments.keys, connections=arguments.connections)
    return sample(point)


def new_record(arguments, cpus):
    return {"server_cpus": len(cpus), "seconds": arguments.seconds, "keys": arguments.keys,
            "connections": arguments.connections, "mixes": {}}


def measure_mixes(arguments):
    cpus, generator = measure.split_cpus()
    commands = servers(arguments, cpus, arguments.presets.split(","))
    commit = measure.revision(arguments)
    record = new_record(arguments, cpus)
    mixes = arguments.mixes.split(",")
    most = sum(window_s(arguments, 1e6 / MIXES[mix][1] * load) + 1.0
               for mix in mixes for load in MIXES[mix][2])
    measure.say(f"at most {arguments.rounds * len(commands) * most / 60:.0f} minutes; a ladder "
                "ends where three steps are over the limit")

    for mix in mixes:
        service, mean, loads, limit_us = MIXES[mix]
        limit_us = arguments.limit_us or limit_us
        ideal = len(cpus) * 1e6 / mean
        samples = {name: [] for name in commands}
        record["mixes"][mix] = {"service": service, "loads": loads, "limit_us": limit_us,
                                "ladders": {}, "samples": samples}

        def climb_one(name, number, mix=record["mixes"][mix], ideal=ideal):
            climbed = []

            def step(load, attempt):
                climbed.append(window(arguments, mix["service"], max(1, round(ideal * load)),
                                      1000 * number + 100 * attempt, generator))
                return get_windows(climbed[-1])

            with measure.running(commands[name], wait_until_ready):
                windows = highest.ladder(mix["loads"], mix["limit_us"], step)
            mix["samples"][name].append(climbed)
            return windows

        def keep(ladders, mix=mix):
            record["mixes"][mix]["ladders"] = ladders
            measure.write(arguments, commit, record)

        highest.climb(commands, arguments.rounds, climb_one, keep)
    return record


# ---- slices ----------------------------------------------------------------------

def measure_slices(arguments):
    cpus, generator = measure.split_cpus()
    names = [f"{arguments.presets} --spin 1s --slice {one}" for one in [*arguments.slices, "none"]]
    commands = servers(arguments, cpus, names)
    commit = measure.revision(arguments)
    record = {**new_record(arguments, cpus), "preset": arguments.presets}
    total = 0.0
    for mix in arguments.mixes.split(","):
        service, mean, _, _ = MIXES[mix]
        loads = arguments.loads or SLICE_LOADS[mix]
        rates = [max(1, round(len(cpus) * 1e6 / mean * load)) for load in loads]
        record["mixes"][mix] = {"service": service, "loads": loads, "rates": rates, "runs": []}
        total += SERVER_S + sum(window_s(arguments, rate) + 1.0 for rate in rates)
    measure.say(f"{len(names)} slices, {arguments.rounds} rounds, about "
                f"{arguments.rounds * len(names) * total / 60:.1f} minutes")
    for number in measure.rounds(arguments.rounds):
        # Each round begins elsewhere, so that no slice always follows the same one.
        first = number % len(names)
        for mix in record["mixes"].values():
            for name in names[first:] + names[:first]:
                with measure.running(commands[name], wait_until_ready):
                    mix["runs"] += [
                        {"round": number, "slice": name.split()[-1], "load": load,
                         **window(arguments, mix["service"], rate, 1000 * number, generator)}
                        for load, rate in zip(mix["loads"], mix["rates"])]
        measure.write(arguments, commit, record)
    return record


def print_slices(record):
    """One row for each load and slice; `late`: rounds that the generator shaped."""
    for mix in record["mixes"].values():
        rounds = max(one["round"] for one in mix["runs"])
        slices = sorted({one["slice"] for one in mix["runs"]}, key=slice_order)
        classes = list(mix["runs"][0]["classes"])
        rows = []
        for load, slice_ in itertools.product(mix["loads"], slices):
            runs = [one for one in mix["runs"] if (one["load"], one["slice"]) == (load, slice_)]
            good = [one for one in runs if one["valid"]]
            row = [f"{load:.0%}", slice_]
            for name, quantile in itertools.product(classes, ("p50_us", "p99_us")):
                row.append(measure.spread([one["classes"][name][quantile] for one in good], 0)
                           if good else "-")
            row.append(measure.spread([one["achieved_rps"] for one in good], 0)
                       if good else "-")
            late = sum(one["late"] > measure.MOST_LATE * max(one["sent"], 1) for one in good)
            rows.append([*row, f"{len(runs) - len(good)}", f"{late}"])
        measure.print_table(
            f"{mix['service']}, {record['preset']} on {record['server_cpus']} server core(s): us, "
            f"median [least-greatest] of {rounds} rounds",
            ["load", "slice", *(f"{name} {quantile}" for name in classes
                                for quantile in ("p50", "p99")),
             "answered/s", "failed", "late"], rows)


def slice_order(text):
    """Sorts slices by length, then adaptive, then none."""
    units = {"ns": 1e-3, "us": 1.0, "ms": 1e3}
    for unit, factor in units.items():
        if text.endswith(unit):
            return float(text[:-len(unit)]) * factor
    return math.inf if text == "none" else 1e12


def print_record(record):
    if "preset" in record:
        print_slices(record)
        return
    for mix in record["mixes"].values():
        highest.print_answers(
            f"{mix['service']} on {record['server_cpus']} server core(s): GETs' p99 within "
            f"{mix['limit_us']:g} us; then their median p99, us, at each load",
            mix["ladders"], mix["loads"], mix["limit_us"],
            [f"{name} --spin 1s" for name in AGAINST])


def main():
    parser = measure.parser(__doc__, rounds=8)
    parser.add_argument("--summary", nargs="+", metavar="FILE",
                        help="print the tables of these results; measure nothing")
    parser.add_argument("--seconds", type=float, help="length of a window (0.3; of --slices 2)")
    parser.add_argument("--presets", help="a preset may be followed by flags; with --slices "
                        "one, yamanote by default")
    parser.add_argument("--slices", type=lambda text: text.split(","),
                        help="compare these slices of one preset, instead of presets")
    parser.add_argument("--loads", type=lambda text: [float(one) for one in text.split(",")],
                        help="with --slices: shares of the ideal, instead of the mix's "
                        + "; ".join(f"{mix} {loads[0]:g},{loads[1]:g}"
                                    for mix, loads in SLICE_LOADS.items()))
    parser.add_argument("--mixes", default=",".join(MIXES), help=f"of {', '.join(MIXES)}")
    parser.add_argument("--limit-us", type=float, help="of GETs' p99, instead of the mix's")
    parser.add_argument("--keys", type=int, default=10_000, help="in the store")
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    if arguments.summary:
        measure.print_summary(arguments.summary, print_record, ["mixes"])
        return
    if arguments.loads and not arguments.slices:
        parser.error("--loads goes with --slices; without, each preset climbs the mix's ladder")
    arguments.seconds = arguments.seconds or (2.0 if arguments.slices else 0.3)
    if arguments.slices:
        arguments.presets = arguments.presets or "yamanote"
        if "," in arguments.presets:
            parser.error(f"--slices compares slices of one preset, not of {arguments.presets}")
        print_record(measure_slices(arguments))
        return
    arguments.presets = arguments.presets or ",".join(PRESETS)
    print_record(measure_mixes(arguments))


if __name__ == "__main__":
    main()
