#!/usr/bin/env python3
"""Measures what a pass of the arbiter costs, by cores and applications.

  bench/cores/pass.py --out FILE.json       # 3 minutes; --build says which build
  bench/cores/pass.py --summary FILE.json   # the tables of a record again

bench_cores_pass, each point in a process of its own, in rounds. For each situation the
least medians of the rounds are fitted, t = base + a * cores + b * applications, least squares of relative
errors, and what that does not explain is told: r2 of the relative errors, the worst point.
"""

import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import measure  # noqa: E402

SITUATIONS = ("idle", "needs", "moves", "storm")
CORES = (2, 8, 32, 64, 128, 256)
APPS = (1, 4, 16, 64)
# Between what is measured: a process of some hundredths of a second.
PASSES = 1500


def solve(matrix, vector):
    """Solves a small set of linear equations."""
    rows = [row[:] + [value] for row, value in zip(matrix, vector)]
    size = len(rows)
    for i in range(size):
        pivot = max(range(i, size), key=lambda k: abs(rows[k][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for k in range(size):
            if k != i:
                factor = rows[k][i] / rows[i][i]
                rows[k] = [x - factor * y for x, y in zip(rows[k], rows[i])]
    return [rows[i][size] / rows[i][i] for i in range(size)]


def fit(points):
    """`points`: ((x, ...), t). Returns the factors of the x, r2 and the worst error.

    A pass of 1 us counts as much as one of 50: errors are relative.
    """
    scaled = [([x / t for x in xs], t) for xs, t in points]
    size = len(points[0][0])
    matrix = [[sum(xs[i] * xs[k] for xs, _ in scaled) for k in range(size)] for i in range(size)]
    vector = [sum(xs[i] for xs, _ in scaled) for i in range(size)]
    factors = solve(matrix, vector)
    predicted = [sum(f * x for f, x in zip(factors, xs)) for xs, _ in points]
    mean = statistics.mean(t for _, t in points)
    rest = sum((t - p) ** 2 for (_, t), p in zip(points, predicted))
    r2 = 1 - rest / sum((t - mean) ** 2 for _, t in points)
    worst = max(abs(p / t - 1) for (_, t), p in zip(points, predicted))
    return factors, r2, worst


def least(samples):
    """Returns {(situation, cores, apps): (the least of the rounds' medians, its grants)}.

    The least, since whatever else the machine does only adds to a pass.
    """
    points = {}
    for sample in samples:
        key = (sample["situation"], sample["cores"], sample["apps"])
        one = (sample["median_ns"], sample["grants"])
        points[key] = min(points.get(key, one), one)
    return points


def print_record(record):
    points = least(record["samples"])
    rows = []
    for situation in SITUATIONS:
        mine = [((1, cores, apps), t) for (name, cores, apps), (t, _) in points.items()
                if name == situation]
        (base, core, app), r2, worst = fit(mine)
        rows.append([situation, f"{base:.0f}", f"{core:.1f}", f"{app:.0f}", f"{r2:.3f}",
                     f"{100 * worst:.0f}%"])
    everything = [((1, cores, apps, grants), t)
                  for (_, cores, apps), (t, grants) in points.items()]
    (base, core, app, move), r2, worst = fit(everything)
    measure.print_table("t = base + a cores + b applications, ns",
                        ["", "base", "a", "b", "r2", "worst point"], rows)
    print(f"\nall: {base:.0f} + {core:.1f} cores + {app:.0f} applications + {move:.0f} cores that "
          f"change hands, r2 {r2:.3f}, worst point {100 * worst:.0f}%")
    for situation in SITUATIONS:
        measure.print_table(
            f"{situation}: a pass, us; by cores (rows) and applications",
            ["", *map(str, APPS)],
            [[str(cores), *(f"{points[situation, cores, apps][0] / 1000:.2f}" for apps in APPS)]
             for cores in CORES])
    measure.print_table(
        "storm: million reallocations per second of passes",
        ["", *map(str, APPS)],
        [[str(cores), *(f"{1000 * points['storm', cores, apps][1] / points['storm', cores, apps][0]:.2f}"
                        for apps in APPS)] for cores in CORES])


def main():
    parser = measure.parser(__doc__, rounds=5)
    parser.add_argument("--policy", default="congestion")
    parser.add_argument("--summary", nargs="+", help="print tables of these records")
    arguments = parser.parse_args()
    if arguments.summary:
        measure.print_summary(arguments.summary, print_record, ["passes"])
        return
    # Of the tree that it is built from: it needs nothing else of the build.
    commit = measure.output(["git", "-C", HERE, "describe", "--always", "--dirty"]).strip()
    program = os.path.join(arguments.build, "bin", "bench_cores_pass")
    samples = []
    record = {"policy": arguments.policy, "passes": PASSES, "samples": samples}
    for _ in measure.rounds(arguments.rounds):
        for cores in CORES:
            for apps in APPS:
                for situation in SITUATIONS:
                    median, p99, mean, grants = measure.output(
                        [program, situation, str(cores), str(apps), str(PASSES),
                         arguments.policy]).split()
                    samples.append({"situation": situation, "cores": cores, "apps": apps,
                                    "median_ns": float(median), "p99_ns": float(p99),
                                    "mean_ns": float(mean), "grants": float(grants)})
    print_record(record)
    measure.write(arguments, commit, record)


if __name__ == "__main__":
    main()
