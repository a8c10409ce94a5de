"""measure.py - what the benchmarks have alike; each bench/*/run.py imports it.

A run has rounds. Each round takes every competitor once, in a process of its own, so
that all of them meet the same disturbances; figures are medians over the rounds with
the least and the greatest beside. The raw samples are written with the machine, the
date and the revision, in the same way by all:

  arguments = measure.parser(__doc__, rounds=7).parse_args()
  commit = measure.revision(arguments)
  for number in measure.rounds(arguments.rounds): ...
  measure.print_table(title, ["", "ns"], rows)
  measure.write(arguments, commit, {"samples": samples})

What is wrong with the arguments or with a program ends the run with a message.
"""

import argparse
import contextlib
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
import time

# Of a window's requests: more, and the generator shaped its tail (docs/load.md).
MOST_LATE = 0.001
# A server that the last load was too much for may not answer at once.
LOAD_TRIES = 3


# ---- arguments -----------------------------------------------------------------

def parser(doc, rounds, rounds_help=None):
    """Returns a parser that knows --build, --rounds and --out; `doc`: the script's."""
    made = argparse.ArgumentParser(description=doc.split("\n", maxsplit=1)[0])
    made.add_argument("--build", default="build/bench", help="the build folder of preset bench")
    made.add_argument("--rounds", type=int, default=rounds, help=rounds_help)
    made.add_argument("--out", default=None, help="where to write the samples")
    return made


def allowed_cpus():
    return sorted(os.sched_getaffinity(0))


def core_counts(text, usual, least):
    """Reads --cores; without it, those of `usual` that this process has CPUs for."""
    available = len(allowed_cpus())
    counts = ([int(count) for count in text.split(",")] if text
              else [count for count in usual if count <= available])
    if not counts or min(counts) < least or max(counts) > available:
        sys.exit(f"--cores: this needs at least {least}, and at most the {available} CPUs "
                 "that the process may use")
    return counts


def split_cpus():
    """Returns the server's CPUs, two if there are enough, and the load generator's."""
    allowed = allowed_cpus()
    if len(allowed) < 2:
        sys.exit("this needs two CPUs: one for the server, one for the load generator")
    return (allowed[:2], allowed[2]) if len(allowed) > 2 else (allowed[:1], allowed[1])


def cpu_list(cpus):
    """Returns `cpus` as taskset and --cores read them: "0,1"."""
    return ",".join(map(str, cpus))


# ---- processes -----------------------------------------------------------------

def say(text):
    """Says how far it is, on stderr."""
    print(text, file=sys.stderr, flush=True)


def rounds(count, phase=""):
    """Yields 1 .. `count`; after each it says that the round is done."""
    for number in range(1, count + 1):
        yield number
        say(f"{phase}round {number} of {count} done")


def output(command, /, timeout=60, **environment):
    """Returns what `command` prints; `environment` adds to this process's."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout,
                              check=False, env=dict(os.environ, **environment))
    except OSError as error:
        sys.exit(f"{command[0]} can't be run ({error.strerror}); `make bench` builds build/bench")
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}: {done.stderr}")
    return done.stdout


@contextlib.contextmanager
def running(command, wait_until_ready):
    """Runs a server for the time of a `with`; `wait_until_ready(server)` comes first."""
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        wait_until_ready(server)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()


def load(build, service, port, rates, /, **flags):
    """Measures `rates` with `yamanote load SERVICE --FLAG VALUE ...`.

    Returns the points of its report (docs/load-json.md), one for each rate.
    """
    command = [os.path.join(build, "bin", "yamanote"), "load", service,
               "--target", f"127.0.0.1:{port}", "--rates", ",".join(map(str, rates))]
    for name, value in flags.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    for _ in range(LOAD_TRIES):
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            done = subprocess.run(command + ["--json", report.name], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True, timeout=300, check=False)
            # By name: the command replaces the file.
            with open(report.name, encoding="utf-8") as written:
                text = written.read()
        if text:  # An invalid point exits with 1 too, but it is written.
            return json.loads(text)["points"]
        if done.returncode == 2:  # Wrong flags do not get better.
            break
        time.sleep(1)
    sys.exit(f"yamanote load failed with {done.returncode}: {done.stderr}")


# ---- figures -------------------------------------------------------------------

def number(value):
    """Returns a figure of the report as a float; what never ended is infinite."""
    return math.inf if value is None or value == "inf" else float(value)


def median(samples, key):
    return statistics.median(key(one) for one in samples)


def spread(values, digits, scale=1):
    """Returns "median [least-greatest]" of `values`, each divided by `scale`."""
    return (f"{statistics.median(values) / scale:.{digits}f} "
            f"[{min(values) / scale:.{digits}f}-{max(values) / scale:.{digits}f}]")


def last_step(ladders, key, is_good):
    """Returns the last step up to which the median of `key` is good, or -1.

    `ladders` holds one list of steps for each round.
    """
    last = -1
    for step, samples in enumerate(zip(*ladders)):
        if not is_good(median(samples, key)):
            break
        last = step
    return last


def print_table(title, header, rows):
    """Prints a Markdown table below its title."""
    def print_row(cells):
        print("|" + "".join(f" {cell} |" if cell else " |" for cell in cells))

    print(f"\n{title}\n")
    print_row(header)
    print("|---" * len(header) + "|")
    for cells in rows:
        print_row(cells)


# ---- the record ----------------------------------------------------------------

def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"


def revision(arguments):
    """Returns the revision that the programs measured were made from, "" without --out.

    Call it first: a program that is missing is told before minutes of measuring.
    """
    if not arguments.out:
        return ""
    program = os.path.join(arguments.build, "bin", "yamanote")
    return json.loads(output([program, "version", "--json"]))["revision"]


def plain(value):
    """Returns `value` as JSON can say it: infinity becomes "inf"."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return "inf" if value == math.inf else value


def write(arguments, commit, record):
    """Writes `record` to the file --out, if there is one, below machine and date."""
    if not arguments.out:
        return
    machine = {"date": datetime.date.today().isoformat(), "cpu": cpu_model(),
               "cpus": len(allowed_cpus()), "kernel": platform.release(), "commit": commit}
    # Replaced as a whole: who writes after each round keeps the last one.
    with open(arguments.out + ".part", "w", encoding="utf-8") as out:
        json.dump(plain({**machine, **record}), out, indent=1)
        out.write("\n")
    os.replace(arguments.out + ".part", arguments.out)


def read(name):
    """Returns a record that write() wrote, with infinity as a number again."""
    def infinite(value):
        if isinstance(value, dict):
            return {key: infinite(one) for key, one in value.items()}
        if isinstance(value, list):
            return [infinite(one) for one in value]
        return math.inf if value == "inf" else value

    try:
        with open(name, encoding="utf-8") as file:
            return infinite(json.load(file))
    except (OSError, ValueError) as error:
        sys.exit(f"--summary: {name} can't be read: {error}")


def print_summary(names, print_record, needs):
    """Prints the tables of the records in the files `names`.

    A record is what write() wrote with one of the keys `needs`; of any other, such as
    what another program of the same folder measured, a line says that it has no tables.
    """
    for name in names:
        record = read(name)
        if "commit" in record and any(key in record for key in needs):
            print(f"\n{name}\n{record['date']}, {record['cpu']}, {record['cpus']} CPUs, "
                  f"{record['commit']}")
            print_record(record)
        else:
            print(f"\n{name}: no tables: another program's ({', '.join(record)})")


def windows(point):
    """Returns the p99 slowdown of each run of a point of `load --repeat N`; infinite if
    the server failed; without those that the generator sent late."""
    return [number(one["slowdown"]["p99"]) if one["valid"] else math.inf
            for one in point["runs"]
            if one["late"] <= MOST_LATE * max(one["sent"], 1)]
