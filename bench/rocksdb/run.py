#!/usr/bin/env python3
"""The highest load at which short requests to `serve rocksdb` stay fast beside scans.

For each mix, every round takes each preset up a ladder of loads, in short windows, over
TCP. The figure is the p99 latency of GETs, from when they were due. With few scans the
limit is 50 times what a GET takes in the server (README.md); where half are scans of
5,000 keys it is what one of these takes, for a GET waits while an answer of half a
megabyte is sent. bench/highest.py says how the answer is read off.

  bench/rocksdb/run.py --build build/bench [--rounds 8] [--seconds 0.3] [--out FILE]
  bench/rocksdb/run.py --summary FILE...      # the tables of what was measured before

The server gets the first two CPUs, the load generator the next one (on a machine with
two CPUs: one each). Ideal is the load at which the server's cores do nothing but look
keys up: no sockets. RocksDB itself has no probes: scans give way between two keys.
"""

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
# A window is longer where requests are fewer, up to ten times.
LEAST_REQUESTS = 400
AGAINST = ["ix", "zygos"]
PRESETS = [f"{name} --spin 1s" for name in [*AGAINST, "shinjuku", "tq", "yamanote"]]


def servers(arguments, cpus):
    """Returns {preset: command line}."""
    commands = {}
    for preset in arguments.presets.split(","):
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


def measure_mixes(arguments):
    cpus, generator = measure.split_cpus()
    commands = servers(arguments, cpus)
    commit = measure.revision(arguments)
    record = {"server_cpus": len(cpus), "seconds": arguments.seconds, "keys": arguments.keys,
              "connections": arguments.connections, "mixes": {}}
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
                rate = max(1, round(ideal * load))
                point, = measure.load(
                    arguments.build, "rocksdb", PORT, [rate], protocol="tcp",
                    service=mix["service"],
                    duration=round(window_s(arguments, rate), 3), warmup=0.06, drain=0.3,
                    seed=1000 * number + 100 * attempt, cpus=generator, keys=arguments.keys,
                    connections=arguments.connections)
                climbed.append(sample(point))
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


def print_record(record):
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
    parser.add_argument("--seconds", type=float, default=0.3, help="length of a window")
    parser.add_argument("--presets", default=",".join(PRESETS),
                        help="a preset may be followed by flags")
    parser.add_argument("--mixes", default=",".join(MIXES), help=f"of {', '.join(MIXES)}")
    parser.add_argument("--limit-us", type=float, help="of GETs' p99, instead of the mix's")
    parser.add_argument("--keys", type=int, default=10_000, help="in the store")
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    if arguments.summary:
        measure.print_summary(arguments.summary, print_record, ["mixes"])
    else:
        print_record(measure_mixes(arguments))


if __name__ == "__main__":
    main()
