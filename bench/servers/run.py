#!/usr/bin/env python3
"""Compares servers that spin for the asked time, alternately, in one run.

Experiment `ladder`: every round takes each server through each workload's ladder of
loads, in short windows; so all of them meet the same disturbances. For each server and
workload it prints the highest load at which the median over the rounds of the p99
slowdown is within 10 and within 50.

Experiment `highest`: the highest load at which the p99 slowdown of all requests is
within --limit, of run-to-completion (ix, zygos) and of presets that preempt, on a
finer ladder that begins at 1%, with its uncertainty (bench/highest.py).

  bench/servers/run.py --build build/bench [--rounds 3] [--seconds 0.5] [--out FILE]
  bench/servers/run.py --experiment highest [--protocol tcp] [--limit 20] [--out FILE]
  bench/servers/run.py --summary FILE...      # the tables of what was measured before

Servers get the first two CPUs, the load generator the next one (on a machine with
two CPUs: one each). Ideal is the load at which their cores do nothing but burn.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import highest
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
PEERS = ["polled_udp", "asio_udp", "go_udp"]
LIMITS = [10, 50]
# Run to completion: what the others are compared with in `highest`.
AGAINST = ["ix", "zygos"]
# All poll, so that nobody pays for being woken.
HIGHEST_PRESETS = [f"{name} --spin 1s" for name in [*AGAINST, "shinjuku", "tq", "yamanote"]]
HIGHEST_LOADS = highest.steps(0.01, 1.3, 0.7)
# Windows of a step in a round. Short ones: a stall of a core spoils the p99 of the
# window that it falls into, and the median window is to have none.
HIGHEST_REPEAT = 4
HIGHEST_SECONDS = 0.2


def servers(build, cpus, presets, protocol="udp", peers=PEERS):
    """Returns {name: command line}; the peers speak UDP."""
    commands = {}
    for preset in presets:
        name, *flags = preset.split()
        commands[f"yamanote {preset}"] = [
            f"{build}/bin/yamanote", "serve", "spin", "--preset", name, "--protocol", protocol,
            "--listen", f"127.0.0.1:{PORT}", "--cores", measure.cpu_list(cpus), *flags]
    for peer in peers:
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


def measure_ladders(arguments):
    """Experiment `ladder`; returns its record."""
    cpus, generator = measure.split_cpus()
    commands = servers(arguments.build, cpus, arguments.presets.split(","),
                       peers=[peer for peer in arguments.peers.split(",") if peer])
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
    record = {"server_cpus": len(cpus), "seconds": arguments.seconds, "samples": samples}
    measure.write(arguments, commit, record)
    return record


def print_ladders(record):
    for workload, by_server in record["samples"].items():
        measure.print_table(
            f"{WORKLOADS[workload][0]} on {record['server_cpus']} cores; "
            "p99 slowdown: median over rounds",
            ["server", *(f"{share:.0%}" for share in SHARES),
             *(f"highest <= {limit}" for limit in LIMITS)],
            [cells(name, ladders) for name, ladders in by_server.items()])


def measure_highest(arguments):
    """Experiment `highest`; returns its record."""
    cpus, generator = measure.split_cpus()
    service, mean = WORKLOADS["bimodal"]
    ideal = len(cpus) * 1e6 / mean
    commands = servers(arguments.build, cpus, arguments.presets.split(","), arguments.protocol,
                       peers=("polled_udp",) if arguments.protocol == "udp" else ())
    commands = {name.removeprefix("yamanote "): command for name, command in commands.items()}
    commit = measure.revision(arguments)
    loads = HIGHEST_LOADS
    # Starting the command and watching for gaps takes half a second.
    step_s = HIGHEST_REPEAT * (arguments.seconds + 0.3) + 0.5
    measure.say(f"at most {arguments.rounds * len(commands) * len(loads) * step_s / 60:.0f} "
                "minutes; a ladder ends where three steps are over the limit")
    record = {"experiment": "highest", "service": service, "protocol": arguments.protocol,
              "server_cpus": len(cpus), "seconds": arguments.seconds, "limit": arguments.limit,
              "loads": loads, "ladders": {}}

    def climb_one(name, number):
        def step(load, attempt):
            point, = measure.load(
                arguments.build, "spin", PORT, [round(ideal * load)], protocol=arguments.protocol,
                service=service, duration=arguments.seconds, warmup=0.06, drain=0.2,
                seed=1000 * number + 100 * attempt, repeat=HIGHEST_REPEAT, combine="median",
                cpus=generator)
            return measure.windows(point)

        with measure.running(commands[name], wait_until_ready):
            return highest.ladder(loads, arguments.limit, step)

    def keep(ladders):
        record["ladders"] = ladders
        measure.write(arguments, commit, record)

    highest.climb(commands, arguments.rounds, climb_one, keep)
    return record


def print_highest(record):
    highest.print_answers(
        f"{record['service']} over {record['protocol'].upper()}, {record['server_cpus']} server "
        f"core(s): p99 slowdown within {record['limit']:g}; then the median p99 slowdown at each "
        "load",
        record["ladders"], record["loads"], record["limit"],
        [f"{name} --spin 1s" for name in AGAINST])


def print_record(record):
    if record.get("experiment") == "highest":
        print_highest(record)
    else:
        print_ladders(record)


def main():
    parser = measure.parser(__doc__, rounds=None, rounds_help="ladder: 3, highest: 8")
    parser.add_argument("--experiment", choices=["ladder", "highest"], default="ladder")
    parser.add_argument("--summary", nargs="+", metavar="FILE",
                        help="print the tables of these results; measure nothing")
    parser.add_argument("--seconds", type=float, help="length of one window")
    parser.add_argument("--presets", help="Yamanote's; a preset may be followed by flags")
    parser.add_argument("--peers", default=",".join(PEERS), help="of `ladder`; '' for none")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help="of `ladder`")
    parser.add_argument("--limit", type=float, default=20, help="p99 slowdown, of `highest`")
    parser.add_argument("--protocol", choices=["udp", "tcp"], default="udp", help="of `highest`")
    arguments = parser.parse_args()
    if arguments.summary:
        measure.print_summary(arguments.summary, print_record, ["samples", "ladders"])
    elif arguments.experiment == "highest":
        arguments.rounds = arguments.rounds or 8
        arguments.seconds = arguments.seconds or HIGHEST_SECONDS
        arguments.presets = arguments.presets or ",".join(HIGHEST_PRESETS)
        print_highest(measure_highest(arguments))
    else:
        arguments.rounds = arguments.rounds or 3
        arguments.seconds = arguments.seconds or 0.5
        arguments.presets = arguments.presets or "yamanote,yamanote --spin 1s,shenango --spin 1s"
        print_ladders(measure_ladders(arguments))


if __name__ == "__main__":
    main()
