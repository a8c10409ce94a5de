#!/usr/bin/env python3
"""Compares servers that spin for the asked time, alternately, in one run.

Every round takes each server through each workload's ladder of loads, in short
windows; so all of them meet the same disturbances. For each server and workload
it prints the highest load at which the median over the rounds of the p99 slowdown
is within 10 and within 50. Writes every sample, with machine and date, as JSON.

  bench/servers/run.py --build build/bench [--rounds 3] [--seconds 0.5] [--out FILE]

Servers get the first two CPUs, the load generator the next one (on a machine with
two CPUs: one each). Ideal is the load at which two cores do nothing but burn.
"""

import argparse
import datetime
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile

PORT = 19455
# Workload: (distribution, mean service in us, loads as shares of the ideal).
SHARES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
WORKLOADS = {
    "fixed": ("fixed:10us", 10.0),
    "exp": ("exp:10us", 10.0),
    "bimodal": ("bimodal:99.5%:5us,0.5%:500us", 0.995 * 5 + 0.005 * 500),
}
LIMITS = [10, 50]


def servers(build, cpus, presets):
    """Returns {name: command line}."""
    threads = str(len(cpus))
    taken = ["taskset", "-c", ",".join(map(str, cpus))]
    commands = {}
    for preset in presets:
        name, *flags = preset.split()
        commands[f"yamanote {preset}"] = [
            f"{build}/bin/yamanote", "serve", "spin", "--preset", name, "--protocol", "udp",
            "--listen", f"127.0.0.1:{PORT}", "--cores", ",".join(map(str, cpus)), *flags]
    for peer in ("polled_udp", "asio_udp", "go_udp"):
        commands[peer] = taken + [f"{build}/bin/bench_server_{peer}", str(PORT), threads]
    return commands


def ladder(build, command, generator_cpu, service, rates, seconds, seed):
    """Returns [{rate, achieved, p99 slowdown, ...}] of one server's process."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        if not server.stdout.readline().startswith("ready"):
            sys.exit(f"{' '.join(command)} did not get ready")
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            subprocess.run(
                [f"{build}/bin/yamanote", "load", "spin", "--target", f"127.0.0.1:{PORT}",
                 "--protocol", "udp", "--service", service, "--rates",
                 ",".join(str(rate) for rate in rates), "--duration", str(seconds), "--warmup",
                 "0.1", "--drain", "0.2", "--seed", str(seed), "--cpus", str(generator_cpu),
                 "--json", out.name],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)
            # By name: the command replaces the file.
            with open(out.name, encoding="utf-8") as written:
                points = json.load(written)["points"]
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

    def number(value):
        return math.inf if value is None or value == "inf" else float(value)

    return [{"offered_rps": p["offered_rps"], "achieved_rps": p["achieved_rps"],
             "valid": p["valid"], "lost": p["lost"], "samples": p.get("samples"),
             "p50_us": number(p["latency_us"]["p50"]), "p99_us": number(p["latency_us"]["p99"]),
             "p99_slowdown": number(p["slowdown"]["p99"])} for p in points]


def highest(rounds, limit):
    """Returns the index of the last step up to which the median meets `limit`, or -1."""
    last = -1
    for step in range(len(rounds[0])):
        if statistics.median(one[step]["p99_slowdown"] for one in rounds) > limit:
            break
        last = step
    return last


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default="build/bench", help="the build folder of preset bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one window")
    parser.add_argument("--presets", default="yamanote,yamanote --spin 1s,shenango --spin 1s",
                        help="Yamanote's; a preset may be followed by flags")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--out", default=None)
    arguments = parser.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        sys.exit("this needs two CPUs: one for the server, one for the load generator")
    cpus, generator = (allowed[:2], allowed[2]) if len(allowed) > 2 else (allowed[:1], allowed[1])
    commands = servers(arguments.build, cpus, arguments.presets.split(","))

    samples = {}
    for number in range(arguments.rounds):
        for workload in arguments.workloads.split(","):
            service, mean = WORKLOADS[workload]
            ideal = len(cpus) * 1e6 / mean
            rates = [round(ideal * share) for share in SHARES]
            for name, command in commands.items():
                samples.setdefault(workload, {}).setdefault(name, []).append(
                    ladder(arguments.build, command, generator, service, rates,
                           arguments.seconds, number + 1))
        print(f"round {number + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)

    for workload, by_server in samples.items():
        print(f"\n{WORKLOADS[workload][0]} on {len(cpus)} cores; p99 slowdown: median over rounds\n")
        print("| server | " + " | ".join(f"{share:.0%}" for share in SHARES) + " | " +
              " | ".join(f"highest <= {limit}" for limit in LIMITS) + " |")
        print("|---" * (len(SHARES) + len(LIMITS) + 1) + "|")
        for name, rounds in by_server.items():
            cells = [f"{statistics.median(one[i]['p99_slowdown'] for one in rounds):.1f}"
                     for i in range(len(SHARES))]
            for limit in LIMITS:
                step = highest(rounds, limit)
                cells.append("none" if step < 0 else f"{SHARES[step]:.0%}")
            print(f"| {name} | " + " | ".join(cells) + " |")

    if arguments.out:
        commit = revision(arguments.build)
        with open(arguments.out, "w", encoding="utf-8") as out:
            json.dump(plain({"date": datetime.date.today().isoformat(), "cpu": cpu_model(),
                             "cpus": len(allowed), "kernel": platform.release(),
                             "commit": commit, "server_cpus": len(cpus),
                             "seconds": arguments.seconds, "samples": samples}), out, indent=1)
            out.write("\n")


if __name__ == "__main__":
    main()
