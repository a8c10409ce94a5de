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

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

MEMORY_MIB = 256
MIXES = {"gets": "get", "mix": "get:99.5%,mget500:0.5%"}
# Steps of 1.15 from 20,000: finer than the spread between rounds.
LADDERS = {"gets": [round(20_000 * 1.15 ** i) for i in range(22)],
           "mix": [round(5_000 * 1.15 ** i) for i in range(24)]}
SUSTAINED = 0.97
SHARE = 0.7
# Above this the generator may be what limits the load (docs/load-json.md).
BUSY = 0.95


def servers(build, cpus, presets, port):
    """Returns {name: command line}."""
    commands = {}
    for preset in presets:
        name, *flags = preset.split()
        commands[f"yamanote {preset}"] = [
            f"{build}/bin/yamanote", "serve", "kv", "--preset", name, "--protocol", "tcp",
            "--listen", f"127.0.0.1:{port}", "--cores", ",".join(map(str, cpus)),
            "--kv-memory-limit", f"{MEMORY_MIB}MiB", *flags]
    commands["memcached"] = [
        "taskset", "-c", ",".join(map(str, cpus)), "memcached", "-l", "127.0.0.1",
        "-p", str(port), "-U", "0", "-t", str(len(cpus)), "-m", str(MEMORY_MIB), "-c", "4096",
        *(["-u", "root"] if os.geteuid() == 0 else [])]
    return commands


@contextlib.contextmanager
def running(command, port):
    """Runs a server for the time of a `with`; it accepts connections by then."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if server.poll() is not None:
                sys.exit(f"{' '.join(command)} ended with {server.returncode}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.05)
        else:
            sys.exit(f"{' '.join(command)} accepts no connection on port {port}")
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def load(arguments, port, mix, rates, seconds, seed):
    """Measures `rates` and returns a sample for each."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        done = subprocess.run(
            [f"{arguments.build}/bin/yamanote", "load", "kv", "--target", f"127.0.0.1:{port}",
             "--protocol", "tcp", "--service", MIXES[mix], "--rates",
             ",".join(str(rate) for rate in rates), "--duration", str(seconds), "--warmup", "0.1",
             "--drain", "0.3", "--connections", str(arguments.connections), "--keys",
             str(arguments.keys), "--value-bytes", str(arguments.value_bytes), "--seed", str(seed),
             "--cpus", str(arguments.generator), "--json", out.name],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
        # By name: the command replaces the file.
        with open(out.name, encoding="utf-8") as written:
            text = written.read()
    if not text:  # An invalid point exits with 1 too, but it is written.
        sys.exit(f"yamanote load failed with {done.returncode}: {done.stderr}")
    return [sample(point) for point in json.loads(text)["points"]]


def number(value):
    return math.inf if value is None or value == "inf" else float(value)


def sample(point):
    # With one class its figures are those of the point.
    by_class = {c["name"]: {quantile: number(c["latency_us"][quantile])
                            for quantile in ("p50", "p99", "p999")} for c in point["classes"]}
    short = by_class.get("get") or {q: number(point["latency_us"][q])
                                    for q in ("p50", "p99", "p999")}
    return {"offered_rps": point["offered_rps"], "achieved_rps": point["achieved_rps"],
            "valid": point["valid"], "late": point["late"], "lost": point["lost"],
            "busy": point["generator_busy"], "get_us": short,
            "classes": by_class}


def median(rounds, key):
    return statistics.median(key(one) for one in rounds)


def sustained(rounds):
    """Returns the index of the last step up to which the median is sustained, or -1."""
    last = -1
    for step in range(len(rounds[0])):
        if median(rounds, lambda one: one[step]["achieved_rps"] /
                  one[step]["offered_rps"]) < SUSTAINED:
            break
        last = step
    return last


def spread(values, scale, digits=0):
    return (f"{statistics.median(values) / scale:.{digits}f} "
            f"[{min(values) / scale:.{digits}f}-{max(values) / scale:.{digits}f}]")


def climb(arguments, commands, port):
    """Phase 1. Returns {mix: {server: rounds of ladders}}."""
    samples = {mix: {name: [] for name in commands} for mix in MIXES}
    for number_of_round in range(arguments.rounds):
        for mix in MIXES:
            for name, command in commands.items():
                with running(command, port):
                    samples[mix][name].append(load(arguments, port, mix, LADDERS[mix],
                                                   arguments.seconds, number_of_round + 1))
        print(f"phase 1: round {number_of_round + 1} of {arguments.rounds} done",
              file=sys.stderr, flush=True)
    return samples


def print_climb(samples):
    """Prints phase 1 and returns {mix: {server: sustained rate}}."""
    rates = {}
    for mix, by_server in samples.items():
        print(f"\n{MIXES[mix]}: thousand requests per second, median [least-greatest]\n")
        print("| server | sustained | / memcached | gets' p99 there, us | most achieved | "
              "/ memcached | generator busy |")
        print("|---" * 7 + "|")
        rates[mix] = {}
        most = {}
        for name, rounds in by_server.items():
            step = sustained(rounds)
            rates[mix][name] = LADDERS[mix][step] if step >= 0 else 0
            most[name] = [max(point["achieved_rps"] for point in one) for one in rounds]
        for name, rounds in by_server.items():
            rate = rates[mix][name]
            if rate == 0:
                print(f"| {name} | less than {LADDERS[mix][0] / 1e3:.0f} | | | | | |")
                continue
            step = LADDERS[mix].index(rate)
            busy = median(rounds, lambda one: one[step]["busy"])
            peer = rates[mix]["memcached"]
            cells = [name, f"{rate / 1e3:.1f}", f"{rate / peer:.2f}" if peer else "",
                     spread([one[step]["get_us"]["p99"] for one in rounds], 1),
                     spread(most[name], 1e3, 1),
                     f"{statistics.median(most[name]) / statistics.median(most['memcached']):.2f}",
                     f"{busy:.0%}" + (" (the limit?)" if busy > BUSY else "")]
            print("| " + " | ".join(cells) + " |")
    return rates


def compare(arguments, commands, port, rates):
    """Phase 2. Returns {"same" | "own": {server: rounds}}."""
    common = SHARE * min(rates.values())
    samples = {"same": {name: [] for name in commands}, "own": {name: [] for name in commands}}
    for number_of_round in range(arguments.compare_rounds):
        for name, command in commands.items():
            with running(command, port):
                same, own = load(arguments, port, "mix",
                                 [round(common), round(SHARE * rates[name])],
                                 arguments.compare_seconds, 1000 + number_of_round)
            samples["same"][name].append(same)
            samples["own"][name].append(own)
        print(f"phase 2: round {number_of_round + 1} of {arguments.compare_rounds} done",
              file=sys.stderr, flush=True)
    return samples


def print_compare(samples):
    for which, by_server in samples.items():
        print(f"\n{MIXES['mix']} at 70% of "
              f"{'the lowest sustained load' if which == 'same' else 'its own sustained load'}: "
              "us, median [least-greatest]\n")
        print("| server | thousand/s | get p50 | get p99 | get p99.9 | mget p99 | "
              "memcached's get p99 / its | valid |")
        print("|---" * 8 + "|")
        peer = median(by_server["memcached"], lambda one: one["get_us"]["p99"])
        for name, rounds in by_server.items():
            p99 = median(rounds, lambda one: one["get_us"]["p99"])
            cells = [name, f"{rounds[0]['offered_rps'] / 1e3:.1f}"]
            cells += [spread([one["get_us"][q] for one in rounds], 1)
                      for q in ("p50", "p99", "p999")]
            cells += [spread([one["classes"]["mget500"]["p99"] for one in rounds], 1),
                      f"{peer / p99:.2f}", f"{sum(one['valid'] for one in rounds)}/{len(rounds)}"]
            print("| " + " | ".join(cells) + " |")


def plain(value):
    """Returns `value` as JSON can say it: infinity becomes "inf"."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return "inf" if value == math.inf else value


def revision(build):
    """Returns the revision that the programs in `build` were made from."""
    done = subprocess.run([os.path.join(build, "bin", "yamanote"), "version", "--json"],
                          capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)["revision"]


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build/bench", help="the build folder of preset bench")
    parser.add_argument("--rounds", type=int, default=3, help="of phase 1")
    parser.add_argument("--seconds", type=float, default=0.4, help="length of a window, phase 1")
    parser.add_argument("--compare-rounds", type=int, default=7, help="of phase 2")
    parser.add_argument("--compare-seconds", type=float, default=2, help="of a window, phase 2")
    parser.add_argument("--presets", default="yamanote,shenango,shinjuku,zygos",
                        help="Yamanote's; a preset may be followed by flags")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--out", default=None)
    return parser.parse_args()


def main():
    arguments = read_arguments()
    if shutil.which("memcached") is None:
        sys.exit("there is no `memcached`: packaging/install-deps.sh bench")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        sys.exit("this needs two CPUs: one for the server, one for the load generator")
    cpus, arguments.generator = ((allowed[:2], allowed[2]) if len(allowed) > 2
                                 else (allowed[:1], allowed[1]))
    port = random.randint(20000, 60000)
    commands = servers(arguments.build, cpus, arguments.presets.split(","), port)

    climbed = climb(arguments, commands, port)
    rates = print_climb(climbed)
    compared = {}
    if min(rates["mix"].values()) > 0:
        compared = compare(arguments, commands, port, rates["mix"])
        print_compare(compared)

    if arguments.out:
        version = subprocess.run(["memcached", "-V"], capture_output=True, text=True,
                                 check=False).stdout.strip()
        commit = revision(arguments.build)
        with open(arguments.out, "w", encoding="utf-8") as out:
            json.dump(plain({"date": datetime.date.today().isoformat(), "cpu": cpu_model(),
                       "cpus": len(allowed), "kernel": platform.release(), "commit": commit,
                       "memcached": version, "server_cpus": len(cpus),
                       "memory_mib": MEMORY_MIB, "connections": arguments.connections,
                       "keys": arguments.keys, "value_bytes": arguments.value_bytes,
                       "seconds": arguments.seconds,
                       "compare_seconds": arguments.compare_seconds, "sustained_rps": rates,
                       "ladders": climbed, "at_70_percent": compared}), out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
