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

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import measure

PORT = 19455
# Loads as shares of the ideal.
SHARES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
# Workload: (distribution, mean service in us).
WORKLOADS = {
    "fixed": ("fixed:10us", 10.0),
    "exp": ("exp:10us", 10.0),
    "bimodal": ("bimodal:99.5%:5us,0.5%:500us", 0.995 * 5 + 0.005 * 500),
}
LIMITS = [10, 50]


def servers(build, cpus, presets):
    """Returns {name: command line}."""
    commands = {}
    for preset in presets:
        name, *flags = preset.split()
        commands[f"yamanote {preset}"] = [
            f"{build}/bin/yamanote", "serve", "spin", "--preset", name, "--protocol", "udp",
            "--listen", f"127.0.0.1:{PORT}", "--cores", measure.cpu_list(cpus), *flags]
    for peer in ("polled_udp", "asio_udp", "go_udp"):
        commands[peer] = ["taskset", "-c", measure.cpu_list(cpus),
                          f"{build}/bin/bench_server_{peer}", str(PORT), str(len(cpus))]
    return commands


def wait_until_ready(server):
    if not server.stdout.readline().startswith("ready"):
        sys.exit(f"{' '.join(server.args)} did not get ready")


def ladder(arguments, command, generator_cpu, service, rates, seed):
    """Returns a sample for each of `rates`, of one server's process."""
    with measure.running(command, wait_until_ready):
        points = measure.load(arguments.build, "spin", PORT, rates, protocol="udp",
                              service=service, duration=arguments.seconds, warmup=0.1, drain=0.2,
                              seed=seed, cpus=generator_cpu)
    return [{"offered_rps": p["offered_rps"], "achieved_rps": p["achieved_rps"],
             "valid": p["valid"], "lost": p["lost"], "samples": p.get("samples"),
             "p50_us": measure.number(p["latency_us"]["p50"]),
             "p99_us": measure.number(p["latency_us"]["p99"]),
             "p99_slowdown": measure.number(p["slowdown"]["p99"])} for p in points]


def cells(name, ladders):
    """Returns a row of the table."""
    made = [name]
    for samples in zip(*ladders):
        made.append(f"{measure.median(samples, lambda one: one['p99_slowdown']):.1f}")
    for limit in LIMITS:
        step = measure.last_step(ladders, lambda one: one["p99_slowdown"],
                                 lambda slowdown: slowdown <= limit)
        made.append("none" if step < 0 else f"{SHARES[step]:.0%}")
    return made


def main():
    parser = measure.parser(__doc__, rounds=3)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one window")
    parser.add_argument("--presets", default="yamanote,yamanote --spin 1s,shenango --spin 1s",
                        help="Yamanote's; a preset may be followed by flags")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    arguments = parser.parse_args()
    cpus, generator = measure.split_cpus()
    commands = servers(arguments.build, cpus, arguments.presets.split(","))
    commit = measure.revision(arguments)

    samples = {}
    for number in measure.rounds(arguments.rounds):
        for workload in arguments.workloads.split(","):
            service, mean = WORKLOADS[workload]
            ideal = len(cpus) * 1e6 / mean
            rates = [round(ideal * share) for share in SHARES]
            for name, command in commands.items():
                samples.setdefault(workload, {}).setdefault(name, []).append(
                    ladder(arguments, command, generator, service, rates, seed=number))

    for workload, by_server in samples.items():
        measure.print_table(
            f"{WORKLOADS[workload][0]} on {len(cpus)} cores; p99 slowdown: median over rounds",
            ["server", *(f"{share:.0%}" for share in SHARES),
             *(f"highest <= {limit}" for limit in LIMITS)],
            [cells(name, ladders) for name, ladders in by_server.items()])
    measure.write(arguments, commit, {"server_cpus": len(cpus), "seconds": arguments.seconds,
                                      "samples": samples})


if __name__ == "__main__":
    main()
