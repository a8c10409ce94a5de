#!/usr/bin/env python3
"""Compares `yamanote serve kv` with memcached, alternately, in one run.

Phase 1 takes every server through a ladder of loads, in short windows, for short
gets alone and for the mix with 0.5% multi-gets of 500 keys. A load is sustained if
the median over the rounds answers 97% of it within the window. Phase 2 measures the
mix in longer windows, at 70% of what the server sustains itself and at 70% of what
the weakest of them sustains, which is the same load for all. Writes every sample,
with machine and date, as JSON.

  bench/kv/run.py --build build/bench [--rounds 3] [--out FILE]

Servers get the first two CPUs, the load generator the next one (on a machine with
two CPUs: one each). All servers get the same CPUs, threads and memory limit; the
generator fills the store before each ladder.
"""

import contextlib
import os
import pathlib
import random
import shutil
import socket
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import measure

MEMORY_MIB = 256
MIXES = {"gets": "get", "mix": "get:99.5%,mget500:0.5%"}
# Steps of 1.15 from 20,000: finer than the spread between rounds.
LADDERS = {"gets": [round(20_000 * 1.15 ** i) for i in range(22)],
           "mix": [round(5_000 * 1.15 ** i) for i in range(24)]}
SUSTAINED = 0.97
SHARE = 0.7
# Above this the generator may be what limits the load (docs/load-json.md).
BUSY = 0.95
QUANTILES = ("p50", "p99", "p999")


def servers(build, cpus, presets, port):
    """Returns {name: command line}."""
    commands = {}
    for preset in presets:
        name, *flags = preset.split()
        commands[f"yamanote {preset}"] = [
            f"{build}/bin/yamanote", "serve", "kv", "--preset", name, "--protocol", "tcp",
            "--listen", f"127.0.0.1:{port}", "--cores", measure.cpu_list(cpus),
            "--kv-memory-limit", f"{MEMORY_MIB}MiB", *flags]
    commands["memcached"] = [
        "taskset", "-c", measure.cpu_list(cpus), "memcached", "-l", "127.0.0.1",
        "-p", str(port), "-U", "0", "-t", str(len(cpus)), "-m", str(MEMORY_MIB), "-c", "4096",
        *(["-u", "root"] if os.geteuid() == 0 else [])]
    return commands


def running(command, port):
    """Runs a server for the time of a `with`; it accepts connections by then."""
    def wait_until_ready(server):
        for _ in range(100):
            if server.poll() is not None:
                sys.exit(f"{' '.join(command)} ended with {server.returncode}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            time.sleep(0.05)
        sys.exit(f"{' '.join(command)} accepts no connection on port {port}")

    return measure.running(command, wait_until_ready)


def load(arguments, port, mix, rates, seconds, seed):
    """Measures `rates` and returns a sample for each."""
    points = measure.load(
        arguments.build, "kv", port, rates, protocol="tcp", service=MIXES[mix], duration=seconds,
        warmup=0.1, drain=0.3, connections=arguments.connections, keys=arguments.keys,
        value_bytes=arguments.value_bytes, seed=seed, cpus=arguments.generator)
    return [sample(point) for point in points]


def sample(point):
    def quantiles(latency):
        return {quantile: measure.number(latency[quantile]) for quantile in QUANTILES}

    by_class = {c["name"]: quantiles(c["latency_us"]) for c in point["classes"]}
    # With one class its figures are those of the point.
    short = by_class.get("get") or quantiles(point["latency_us"])
    return {"offered_rps": point["offered_rps"], "achieved_rps": point["achieved_rps"],
            "valid": point["valid"], "late": point["late"], "lost": point["lost"],
            "busy": point["generator_busy"], "get_us": short,
            "classes": by_class}


def sustained(ladders):
    """Returns the index of the last step up to which the median is sustained, or -1."""
    return measure.last_step(ladders, lambda one: one["achieved_rps"] / one["offered_rps"],
                             lambda answered: answered >= SUSTAINED)


def climb(arguments, commands, port):
    """Phase 1. Returns {mix: {server: rounds of ladders}}."""
    samples = {mix: {name: [] for name in commands} for mix in MIXES}
    for number in measure.rounds(arguments.rounds, "phase 1: "):
        for mix in MIXES:
            for name, command in commands.items():
                with running(command, port):
                    samples[mix][name].append(
                        load(arguments, port, mix, LADDERS[mix], arguments.seconds, seed=number))
    return samples


def print_climb(samples):
    """Prints phase 1 and returns {mix: {server: sustained rate}}."""
    rates = {}
    for mix, by_server in samples.items():
        steps = {name: sustained(ladders) for name, ladders in by_server.items()}
        most = {name: [max(point["achieved_rps"] for point in one) for one in ladders]
                for name, ladders in by_server.items()}
        rates[mix] = {name: LADDERS[mix][step] if step >= 0 else 0 for name, step in steps.items()}
        peer = rates[mix]["memcached"]
        rows = []
        for name, ladders in by_server.items():
            step, rate = steps[name], rates[mix][name]
            if step < 0:
                rows.append([name, f"less than {LADDERS[mix][0] / 1e3:.0f}", *[""] * 5])
                continue
            busy = measure.median(ladders, lambda one: one[step]["busy"])
            ratio = statistics.median(most[name]) / statistics.median(most["memcached"])
            rows.append([name, f"{rate / 1e3:.1f}", f"{rate / peer:.2f}" if peer else "",
                         measure.spread([one[step]["get_us"]["p99"] for one in ladders], 0),
                         measure.spread(most[name], 1, scale=1e3), f"{ratio:.2f}",
                         f"{busy:.0%}" + (" (the limit?)" if busy > BUSY else "")])
        measure.print_table(
            f"{MIXES[mix]}: thousand requests per second, median [least-greatest]",
            ["server", "sustained", "/ memcached", "gets' p99 there, us", "most achieved",
             "/ memcached", "generator busy"], rows)
    return rates


def compare(arguments, commands, port, rates):
    """Phase 2. Returns {"same" | "own": {server: rounds}}."""
    common = SHARE * min(rates.values())
    samples = {"same": {name: [] for name in commands}, "own": {name: [] for name in commands}}
    for number in measure.rounds(arguments.compare_rounds, "phase 2: "):
        for name, command in commands.items():
            with running(command, port):
                same, own = load(arguments, port, "mix",
                                 [round(common), round(SHARE * rates[name])],
                                 arguments.compare_seconds, seed=999 + number)
            samples["same"][name].append(same)
            samples["own"][name].append(own)
    return samples


def print_compare(samples):
    for which, by_server in samples.items():
        peer = measure.median(by_server["memcached"], lambda one: one["get_us"]["p99"])
        rows = []
        for name, rounds in by_server.items():
            p99 = measure.median(rounds, lambda one: one["get_us"]["p99"])
            rows.append([name, f"{rounds[0]['offered_rps'] / 1e3:.1f}",
                         *(measure.spread([one["get_us"][quantile] for one in rounds], 0)
                           for quantile in QUANTILES),
                         measure.spread([one["classes"]["mget500"]["p99"] for one in rounds], 0),
                         f"{peer / p99:.2f}",
                         f"{sum(one['valid'] for one in rounds)}/{len(rounds)}"])
        load_of = "the lowest sustained load" if which == "same" else "its own sustained load"
        measure.print_table(
            f"{MIXES['mix']} at 70% of {load_of}: us, median [least-greatest]",
            ["server", "thousand/s", "get p50", "get p99", "get p99.9", "mget p99",
             "memcached's get p99 / its", "valid"], rows)


def read_arguments():
    parser = measure.parser(__doc__, rounds=3, rounds_help="of phase 1")
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a window, phase 1")
    parser.add_argument("--compare-rounds", type=int, default=7, help="of phase 2")
    parser.add_argument("--compare-seconds", type=float, default=2, help="of a window, phase 2")
    parser.add_argument("--presets", default="yamanote,shenango,shinjuku,zygos",
                        help="Yamanote's; a preset may be followed by flags")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    return parser.parse_args()


def main():
    arguments = read_arguments()
    if shutil.which("memcached") is None:
        sys.exit("there is no `memcached`: packaging/install-deps.sh bench")
    cpus, arguments.generator = measure.split_cpus()
    port = random.randint(20000, 60000)
    commands = servers(arguments.build, cpus, arguments.presets.split(","), port)
    commit = measure.revision(arguments)
    version = measure.output(["memcached", "-V"]).strip()

    climbed = climb(arguments, commands, port)
    rates = print_climb(climbed)
    compared = {}
    if min(rates["mix"].values()) > 0:
        compared = compare(arguments, commands, port, rates["mix"])
        print_compare(compared)

    measure.write(arguments, commit, {
        "memcached": version, "server_cpus": len(cpus), "memory_mib": MEMORY_MIB,
        "connections": arguments.connections, "keys": arguments.keys,
        "value_bytes": arguments.value_bytes, "seconds": arguments.seconds,
        "compare_seconds": arguments.compare_seconds, "sustained_rps": rates,
        "ladders": climbed, "at_70_percent": compared})


if __name__ == "__main__":
    main()
