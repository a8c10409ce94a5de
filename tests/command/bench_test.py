"""bench_test.py - `yamanote bench` as a command: what it prints, and what it refuses.

    bench_test.py YAMANOTE PROBES

PROBES is "probes" if YAMANOTE has kernels to measure. No time is judged here.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import unittest

YAMANOTE, PROBES = sys.argv[1:]
SCHED = ("bench", "sched", "--service", "exp:10us")
KERNELS = ["fill", "hash", "chase", "matmul", "map", "json", "sort", "fib", "rapidjson", "regex"]


def run(*arguments):
    return subprocess.run([YAMANOTE, *arguments], check=False, capture_output=True,
                          stdin=subprocess.DEVNULL, text=True, timeout=60)


def document(*arguments):
    """Returns what a run that works prints as JSON."""
    result = run(*arguments, "--json")
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    return json.loads(result.stdout)


class BenchTest(unittest.TestCase):
    def expect(self, arguments, *words, code=2):
        """A mistake: the status, and words of the message."""
        result = run(*arguments)
        self.assertEqual(result.returncode, code, f"{arguments}: {result.stderr}")
        self.assertEqual(result.stdout, "", arguments)
        for word in words:
            self.assertIn(word, result.stderr, arguments)


class SchedTest(BenchTest):
    def test_mistakes_name_the_flag_the_value_and_the_remedy(self):
        cpus = len(os.sched_getaffinity(0))
        for extra, *words in [
                (("--preset", "zygo"), "--preset", "'zygo'", "none of ix, zygos, "),
                (("--order", "fifi"), "--order", "'fifi'", "none of fifo, "),
                (("--slice", "5"), "--slice", '"5"', "has no unit"),
                (("--slice", "0us"), "slice is 0 ns", "more than 0"),
                (("--slice-max", "1us"), "slice_max is 1us", "slice is 2us", "'fixed'"),
                (("--cores", "0"), "--cores", "'0'", "1 .. 256"),
                (("--cores", str(cpus + 1)), "--cores", f"{cpus + 1}", f"{cpus} CPU"),
                (("--load", "0"), "--load", "'0'", "0.001 .. 4"),
                (("--load", "nan"), "--load", "'nan'", "0.001 .. 4"),
                (("--seconds", "5s"), "--seconds", "'5s'", "0.01 .. 3600"),
                (("--seconds", "3600"), "--seconds", "20000000"),
                (("--seed", "-1"), "--seed", "'-1'", "0 .. 18446744073709551615"),
                (("--service", "exp:10"), "--service", "'10'", "unit"),
                (("--service", "pareto:alpha=1,min=1us"), "--service", "no mean", "above 1"),
                (("--jsn",), "'--jsn'", "did you mean --json?")]:
            arguments = ("bench", "sched", *extra) if "--service" in extra else (*SCHED, *extra)
            self.expect(arguments, *words)
        self.expect(("bench", "sched"), "--service is required")

    def test_json_agrees_with_itself_and_with_the_flags(self):
        found = document("bench", "sched", "--preset", "tq", "--slice", "20us",
                         "--slice-max", "fixed", "--service",
                         "bimodal:99%:2us,1%:200us", "--load", "0.3", "--seconds", "0.2",
                         "--seed", "7")
        self.assertEqual(found["schema"], "yamanote.bench.sched/1")
        self.assertEqual([found[key] for key in ("preset", "slice", "cores", "load", "seconds",
                                                 "seed")], ["tq", "20us", 1, 0.3, 0.2, 7])
        self.assertIn(found["generator"], ("own core", "shared core"))
        self.assertIn(found["mechanism"], ("probe", "signal", "user-interrupt"))
        self.assertEqual(found["dispatcher"], "none", "one core")
        classes = found["classes"]
        self.assertEqual(len(classes), 3)
        self.assertEqual(classes[0]["name"], "all")
        self.assertGreater(found["requests"], 1000)
        self.assertEqual(classes[0]["latency_us"]["samples"], found["requests"])
        self.assertEqual(sum(c["latency_us"]["samples"] for c in classes[1:]), found["requests"])
        for c in classes:
            self.assertEqual(c["slowdown"]["samples"], c["ideal_slowdown"]["samples"])
            self.assertLessEqual(c["slowdown_undisturbed"]["samples"], c["slowdown"]["samples"])
            if found["unfinished"] == 0:
                self.assertLessEqual(c["latency_us"]["p50"], c["latency_us"]["p99"])
        self.assertEqual(classes[0]["slowdown_undisturbed"]["samples"],
                         found["requests"] - found["stolen_samples"])
        self.assertGreaterEqual(found["work_lost"], 0)
        self.assertLessEqual(found["work_lost"], 1)

    def test_a_seed_means_the_same_requests(self):
        first, second = (document(*SCHED, "--seconds", "0.05", "--load", "0.2", "--preset", preset)
                         for preset in ("ix", "tq"))
        self.assertEqual(first["requests"], second["requests"])
        self.assertEqual(first["mechanism"], "none", "ix has no slices")

    def test_text_names_what_was_measured(self):
        result = run(*SCHED, "--seconds", "0.05", "--load", "0.2")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        for word in ("exp:10us", "0.2", "ideal", "preemptions"):
            self.assertIn(word, result.stdout)


class ProbesTest(BenchTest):
    def test_mistakes_name_the_flag_the_value_and_the_remedy(self):
        for extra, *words in [
                (("--rounds", "0"), "--rounds", "'0'", "1 .. 10000"),
                (("--seconds", "0"), "--seconds", "'0'", "0.01 .. 3600"),
                (("--kernel",), "--kernel")]:
            self.expect(("bench", "probes", *extra), *words)
        if PROBES == "probes":
            self.expect(("bench", "probes", "--kernel", "srot"), "--kernel", "'srot'", "sort")
            self.expect(("bench", "probes", "--kernel", "fib", "--kernel", "fib"), "--kernel",
                        "'fib'", "leave out one")

    @unittest.skipIf(PROBES == "probes", "this build has kernels")
    def test_a_build_without_kernels_says_so(self):
        self.expect(("bench", "probes"), "configured with -D", "make build", code=1)

    @unittest.skipUnless(PROBES == "probes", "this build has no kernels")
    def test_json_agrees_with_itself(self):
        # A round of all kernels, whatever that takes: each is met, and its builds agree.
        found = document("bench", "probes", "--seconds", "0.01")
        self.assertEqual(found["schema"], "yamanote.bench.probes/1")
        self.assertEqual([kernel["name"] for kernel in found["kernels"]], KERNELS)
        self.assertEqual(found["rounds"], 1)
        ratios = []
        for kernel in found["kernels"]:
            times = kernel["times_ns"]
            self.assertEqual([layout["layout"] for layout in times], list(range(0, 64, 8)))
            logarithms = []
            for layout in times:
                self.assertEqual(len(layout["plain"]), found["rounds"])
                self.assertEqual(len(layout["probes"]), found["rounds"])
                logarithms.append(math.log(layout["probes"][0] / layout["plain"][0]))
            ratios.append(statistics.fmean(logarithms))
            self.assertAlmostEqual(kernel["overhead"]["median"], math.expm1(ratios[-1]))
            self.assertEqual(kernel["plain_ns"],
                             statistics.median(layout["plain"][0] for layout in times))
            gaps = kernel["gap_ns"]
            # Thousands of probes: it is the build with probes that ran.
            self.assertGreater(gaps["count"], 1000, kernel["name"])
            order = [gaps[key] for key in ("p50", "p99", "p99.9", "max")]
            self.assertEqual(order, sorted(order))
            self.assertGreaterEqual(order[0], 0)
        self.assertAlmostEqual(found["overhead"]["median"], math.expm1(statistics.fmean(ratios)))

    @unittest.skipUnless(PROBES == "probes", "this build has no kernels")
    def test_text_has_a_line_for_every_kernel_asked_for(self):
        result = run("bench", "probes", "--kernel", "fib", "--kernel", "fill", "--rounds", "2")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        lines = [line.split()[0] for line in result.stdout.splitlines()]
        self.assertEqual(lines[2:], ["fill", "fib", "geometric"])
        self.assertIn("2 round(s)", result.stdout)


CORES = ("bench", "cores", "--seconds", "0.2", "--period", "20ms")
SEVERAL = len(os.sched_getaffinity(0)) >= 2


class CoresTest(BenchTest):
    def test_mistakes_name_the_flag_the_value_and_the_remedy(self):
        cpus = sorted(os.sched_getaffinity(0))
        for extra, *words in [
                (("--scenario", "lc"), "--scenario", "'lc'", "lc+be, step, "),
                (("--load", "0.5,x"), "--load", "'x'", "0.001 .. 4"),
                (("--load", "0.5,"), "--load", "''", "0.001 .. 4"),
                (("--cpus", str(cpus[-1] + 1)), "--cpus", str(cpus[-1] + 1), "may use"),
                (("--cpus", f"{cpus[0]}-{cpus[-1]}", "--generator", "own"), "--generator own",
                 "name one less"),
                (("--period", "1ms"), "--period 1ms", "2ms .. "),
                (("--period", "1s"), "--period 1s", "a quarter"),
                (("--preset", "shenagno"), "--preset", "'shenagno'", "none of "),
                (("--service", "pareto:alpha=1,min=1us"), "--service", "no mean"),
                (("--scenario", "handover", "--cpus", str(cpus[0])), "2 CPUs", "--cpus")]:
            base = CORES[:4] if "--period" in extra else CORES
            self.expect((*base, *extra), *words)
        # An arbiter cannot take cores from it.
        self.expect((*CORES, "--preset", "ix"), "placement", "stealing")

    def check_ways(self, found, names):
        self.assertEqual(found["schema"], "yamanote.bench.cores/1")
        for load in found["loads"]:
            self.assertEqual([way["way"] for way in load["ways"]], names)
            for way in load["ways"]:
                self.assertGreater(way["requests"], 0, way)
                self.assertLessEqual(way["p99_us"]["p25"], way["p99_us"]["p75"])
                if way["way"] == "alone":
                    self.assertEqual(way["p99_over_alone"]["median"], 1)

    def test_a_service_beside_a_batch_program(self):
        found = document(*CORES, "--load", "0.1,0.3")
        self.check_ways(found, ["alone", "arbiter", *["static"] * SEVERAL, "nice", "idle"])
        self.assertEqual([load["load"] for load in found["loads"]], [0.1, 0.3])
        for load in found["loads"]:
            ways = {way["way"]: way for way in load["ways"]}
            self.assertEqual(ways["alone"]["batch_share"]["median"], 0)
            # What others leave over may be nothing where other tests run.
            self.assertGreaterEqual(ways["arbiter"]["batch_share"]["median"], 0)
            # It may have nothing to do: less than a tick.
            self.assertGreaterEqual(ways["arbiter"]["daemon_cpus"]["median"], 0)
            self.assertEqual(ways["nice"]["daemon_cpus"]["median"], 0)

    def test_a_step(self):
        found = document(*CORES, "--scenario", "step", "--load", "0.4")
        [step] = found["loads"]
        for way in step["ways"]:
            self.assertEqual(len(way["buckets"]), 200)
            half = sum(count for count, _, _ in way["buckets"][:100])
            other = sum(count for count, _, _ in way["buckets"][100:])
            self.assertGreater(half, 3 * other)

    @unittest.skipUnless(SEVERAL, "needs two CPUs")
    def test_bursts_in_turn(self):
        found = document(*CORES, "--scenario", "anticorrelated", "--load", "0.3")
        self.check_ways(found, ["alone", "arbiter", "static", "linux"])

    @unittest.skipUnless(SEVERAL, "needs two CPUs")
    def test_cores_change_hands(self):
        found = document(*CORES, "--scenario", "handover")
        self.assertEqual([path["path"] for path in found["paths"]],
                         ["kept", "idle", "voluntary", "cooperative", "signal", "forced"])
        for alone in ("kernel_same_core_us", "kernel_processes_us"):
            self.assertGreater(found[alone]["p50"], 0)
        for path in found["paths"]:
            took = path["from_decision_us"]
            # A holder that is beneath everybody may have no time where other tests run.
            if took["samples"] > 0:
                self.assertGreater(took["p50"], 0, path)
                self.assertLessEqual(took["p50"], took["p99"], path)

    def test_nothing_is_left_behind(self):
        before = set(os.listdir("/tmp"))
        document(*CORES, "--load", "0.2")
        left = {name for name in set(os.listdir("/tmp")) - before
                if name.startswith("yamanote-bench-")}
        self.assertEqual(left, set())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
