#!/usr/bin/env python3
"""command_test.py - `yamanote native` from outside, with programs that know nothing of it.

    command_test.py YAMANOTE HINTED

Needs what `yamanote native run` needs; where that is missing it says what, and is skipped
(exit status 77), except for what needs nothing: wrong usage.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

YAMANOTE = sys.argv.pop(1)
HINTED = sys.argv.pop(1)  # hinted.cc
CPUS = sorted(os.sched_getaffinity(0))
CPU = CPUS[-1]
PATIENCE_S = 20
# Computes until it is told to end, in threads that are processes; prints a line when it runs.
BUSY = "import os, signal\nprint(os.getpid(), flush=True)\nwhile True: pass"


def scheduler(pid):
    return os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK


def processor_time(pid):
    """Returns how many seconds the process `pid` has computed."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def eventually(condition):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


class NativeTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="native-")
        self.environment = dict(os.environ, YAMANOTE_NATIVE=self.folder.name)
        self.processes = []
        self.programs = []

    def tearDown(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
        for program in self.programs:
            try:
                os.kill(program, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for process in self.processes:
            process.communicate()
        self.folder.cleanup()

    def run_command(self, *arguments):
        return subprocess.run([YAMANOTE, "native", *arguments], env=self.environment,
                              capture_output=True, text=True, timeout=60, check=False)

    def json(self, *arguments):
        done = self.run_command(*arguments, "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def start(self, *arguments):
        # pylint: disable-next=consider-using-with
        process = subprocess.Popen([YAMANOTE, "native", "run", "--backend", "tracing", *arguments],
                                   env=self.environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.processes.append(process)
        return process

    def start_busy(self, *arguments):
        """Returns the command and the number of a program that computes below it."""
        process = self.start("--cpus", str(CPU), "--name", "busy", *arguments, "--",
                             sys.executable, "-c", BUSY)
        line = process.stdout.readline()
        if not line:
            self.fail(process.communicate()[1])
        self.programs.append(int(line))
        return process, int(line)

    def refused(self, status, text, *arguments):
        done = self.run_command(*arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual(done.stdout, "")


class UsageTest(NativeTest):
    def test_wrong_usage_is_refused(self):
        run = ("run", "--cpus", str(CPU))
        program = ("--", "true")
        self.refused(2, "no program is named", *run)
        self.refused(2, "neither an order nor a preset", *run, "--policy", "fastest", *program)
        self.refused(2, "--slice is 1us; it must be 50us .. 10s, or none", *run, "--slice", "1us",
                     *program)
        self.refused(2, "--slice: ", *run, "--slice", "5", *program)
        self.refused(2, "it must be central or stealing", *run, "--placement",
                     "partitioned", *program)
        self.refused(2, "set placement to 'central'", *run, "--policy", "ix", *program)
        self.refused(2, "--backend is 'model'", *run, "--backend", "model", *program)
        self.refused(2, "--watchdog is 1us", *run, "--watchdog", "1us", *program)
        self.refused(2, "--cpus: ", "run", "--cpus", "3-1", *program)
        self.refused(2, "the enclave's name is 'a/b'", *run, "--name", "a/b", *program)
        self.refused(2, "--class: ", *run, "--class", "a:limit=", *program)
        self.refused(2, "threads are not refused", *run, "--class", "a:limit=1", *program)
        self.refused(2, "class is 'b', which the enclave does not have; its classes are a",
                     *run, "--class", "a", "--of-class", "b", *program)
        self.refused(2, "order 'las' serves all classes", *run, "--policy", "las", "--class", "a",
                     "--class", "b:background", *program)
        self.refused(2, "which threads is not said", "hint", "nobody")
        for verb in ("stats", "destroy"):
            self.refused(1, "no enclave 'nobody' answers", verb, "nobody")
        self.refused(1, "no enclave 'nobody' answers", "attach", "nobody", "1")

    def test_none_is_an_answer(self):
        self.assertEqual(self.json("list")["enclaves"], [])
        self.assertIn("there is no enclave", self.run_command("list").stdout)


class BackendTest(NativeTest):
    @unittest.skipIf(os.path.exists("/sys/kernel/sched_ext"), "the kernel has sched_ext")
    def test_scx_is_refused_with_all_that_is_missing(self):
        run = ("run", "--backend", "scx", "--watchdog", "none", "--cpus", str(CPU), "--", "true")
        self.refused(1, "back-end scx cannot be had here:\n  - ", *run)
        self.refused(1, "\n  - the watchdog is longer than 30s", *run)
        self.refused(1, "or use back-end tracing", *run)


class EnclaveTest(NativeTest):
    @unittest.skipIf(os.path.exists("/sys/kernel/sched_ext"), "the kernel has sched_ext")
    def test_auto_takes_tracing_and_says_why(self):
        done = self.run_command("run", "--cpus", str(CPU), "--name", "mine", "--", "true")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("enclave 'mine' is scheduled by back-end tracing, not scx: ", done.stderr)

    def test_a_program_runs_and_its_status_is_ours(self):
        done = self.run_command("run", "--cpus", str(CPU), "--", "sh", "-c",
                                "echo said; (exit 3) & wait; exit 7")
        self.assertEqual((done.returncode, done.stdout), (7, "said\n"), done.stderr)
        self.refused(1, "can't run '/no/such'", "run", "--cpus", str(CPU), "--", "/no/such")
        done = self.run_command("run", "--cpus", str(CPU), "--", "sh", "-c", "kill -9 $$")
        self.assertEqual(done.returncode, 128 + 9, done.stderr)

    @unittest.skipIf(len(CPUS) < 2, "needs a second CPU")
    def test_a_program_that_cannot_be_scheduled_does_not_run(self):
        done = subprocess.run(
            ["taskset", "-c", str(CPUS[0]), YAMANOTE, "native", "run", "--cpus", str(CPU), "--",
             "echo", "ran"], env=self.environment, capture_output=True, text=True, timeout=60,
            check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertIn("its affinity has none of the enclave's CPUs", done.stderr)

    def test_it_has_room_for_so_many(self):
        self.start_busy("--max-threads", "1")
        # pylint: disable-next=consider-using-with
        other = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
        self.processes.append(other)
        other.stdout.readline()
        self.refused(2, "make it with a higher --max-threads", "attach", "busy", str(other.pid))
        self.refused(2, "there is no process", "attach", "busy", "2147483647")

    @unittest.skipIf(len(CPUS) < 2, "needs a second CPU")
    def test_who_moves_itself_elsewhere_has_no_priority_there(self):
        process, program = self.start_busy()
        eventually(lambda: scheduler(program) == os.SCHED_FIFO)
        os.sched_setaffinity(program, {CPUS[0]})
        eventually(lambda: scheduler(program) == os.SCHED_OTHER)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        self.programs.clear()

    def test_it_is_shown_changed_and_ended(self):
        process, program = self.start_busy("--policy", "rr", "--slice", "2ms")
        listed = self.json("list")["enclaves"]
        self.assertEqual([(one["name"], one["cpus"]) for one in listed], [("busy", [CPU])])
        self.assertEqual(listed[0]["slice_ns"], 2_000_000)
        self.assertIn("busy", self.run_command("list").stdout)
        eventually(lambda: scheduler(program) == os.SCHED_FIFO)
        self.assertGreater(self.json("stats", "busy")["commits"]["committed"], 0)

        # Another one of that name, or on that CPU.
        self.refused(2, f"CPU {CPU} is another enclave's", "run", "--cpus", str(CPU), "--", "true")

        # A process that was there before.
        # pylint: disable-next=consider-using-with
        other = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
        self.processes.append(other)
        other.stdout.readline()
        done = self.run_command("attach", "busy", str(other.pid))
        self.assertIn("1 threads have joined", done.stdout, done.stderr)
        eventually(lambda: scheduler(other.pid) == os.SCHED_FIFO)
        eventually(lambda: scheduler(program) == os.SCHED_FIFO)

        done = self.run_command("upgrade", "busy", "--policy", "cfs", "--slice", "500us")
        self.assertIn("cfs on CPUs", done.stdout, done.stderr)
        self.refused(2, "neither an order nor a preset", "upgrade", "busy", "--policy", "x")
        stats = self.json("stats", "busy")
        self.assertEqual((stats["policy"], stats["slice_ns"], stats["upgrades"]),
                         ("cfs", 500_000, 1))
        # What is not said stays.
        done = self.run_command("upgrade", "busy", "--slice", "400us")
        self.assertEqual(done.returncode, 0, done.stderr)
        stats = self.json("stats", "busy")
        self.assertEqual((stats["policy"], stats["slice_ns"]), ("cfs", 400_000))
        before = stats["commits"]["committed"]
        eventually(lambda: self.json("stats", "busy")["commits"]["committed"] > before + 10)

        done = self.run_command("destroy", "busy")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.check_is_ordinary(program)
        self.check_is_ordinary(other.pid)
        self.assertFalse(self.json("stats", "busy")["alive"])
        self.assertIsNone(process.poll())
        process.send_signal(signal.SIGTERM)  # Is handed on.
        self.assertEqual(process.wait(PATIENCE_S), 128 + signal.SIGTERM)
        self.programs.clear()
        self.assertEqual(self.json("list")["enclaves"], [])

    def assert_in_background(self, background, other):
        """`background` hardly runs while `other` does, which computes without an end."""
        eventually(lambda: scheduler(other) == os.SCHED_FIFO)
        before, begin = processor_time(background), processor_time(other)
        eventually(lambda: processor_time(other) - begin > 0.5)
        # A twentieth is the kernel's own share for those without a priority.
        self.assertLess(processor_time(background) - before, 0.15)

    def test_hints_from_outside(self):
        _, program = self.start_busy("--policy", "rr", "--slice", "2ms", "--class", "server:slo=1ms",
                                     "--class", "batch:background")
        self.assertEqual(self.json("stats", "busy")["classes"],
                         [{"name": "server", "slo_ns": 1_000_000, "background": False,
                           "budget_ns": 0, "period_ns": 0},
                          {"name": "batch", "slo_ns": 100_000, "background": True,
                           "budget_ns": 0, "period_ns": 0}])
        # pylint: disable-next=consider-using-with
        other = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
        self.processes.append(other)
        other.stdout.readline()
        done = self.run_command("attach", "busy", str(other.pid), "--class", "batch")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_in_background(other.pid, program)
        # And the other way round.
        for pid, name in ((program, "batch"), (other.pid, "server")):
            done = self.run_command("hint", "busy", "--pid", str(pid), "--class", name)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_in_background(program, other.pid)
        self.refused(2, "its classes are server, batch", "hint", "busy", "--tid", str(program),
                     "--class", "none")
        self.refused(2, "it must be 1us .. 1h", "hint", "busy", "--tid", str(program), "--due",
                     "10ns")
        self.refused(2, "no thread of number 2147483647 is in the enclave", "hint", "busy", "--tid",
                     "2147483647")
        self.refused(2, "no thread of process 1 is in the enclave", "hint", "busy", "--pid", "1")

    def test_a_program_gives_hints_itself(self):
        process = self.start("--policy", "rr", "--slice", "2ms", "--class", "server", "--class",
                             "batch:background", "--cpus", str(CPU), "--name", "own", "--", HINTED,
                             "1")
        program = int(process.stdout.readline() or self.fail(process.communicate()[1]))
        self.programs.append(program)
        # pylint: disable-next=consider-using-with
        other = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
        self.processes.append(other)
        other.stdout.readline()
        done = self.run_command("attach", "own", str(other.pid))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_in_background(program, other.pid)
        # Outside an enclave it says so.
        done = subprocess.run([HINTED, "1"], env=self.environment, capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("YAMANOTE_ENCLAVE is not set", done.stderr)

    def test_kill_9_sets_the_program_free(self):
        process, program = self.start_busy()
        eventually(lambda: scheduler(program) == os.SCHED_FIFO)
        process.kill()
        eventually(lambda: scheduler(program) == os.SCHED_OTHER)
        self.check_is_ordinary(program)
        self.assertEqual(self.json("list")["enclaves"], [])
        # Its socket and locks are in nobody's way.
        done = self.run_command("run", "--cpus", str(CPU), "--name", "busy", "--", "true")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_running_process_is_taken_in_and_given_back(self):
        # pylint: disable-next=consider-using-with
        other = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
        self.processes.append(other)
        other.stdout.readline()
        process = self.start("--cpus", str(CPU), "--pid", str(other.pid))
        eventually(lambda: scheduler(other.pid) == os.SCHED_FIFO)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE_S), 0)
        self.check_is_ordinary(other.pid)
        process = self.start("--cpus", str(CPU), "--pid", str(other.pid))
        eventually(lambda: scheduler(other.pid) == os.SCHED_FIFO)
        other.kill()
        self.assertEqual(process.wait(PATIENCE_S), 0)

    def check_is_ordinary(self, pid):
        self.assertEqual(scheduler(pid), os.SCHED_OTHER)
        self.assertEqual(os.sched_getaffinity(pid), os.sched_getaffinity(0))


def what_is_missing():
    """Returns why no enclave can be made here; empty: one can."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([YAMANOTE, "native", "run", "--backend", "tracing", "--cpus",
                               str(CPU), "--", "true"],
                              env=dict(os.environ, YAMANOTE_NATIVE=folder), capture_output=True,
                              text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else done.stderr


if __name__ == "__main__":
    MISSING = what_is_missing()
    if MISSING and os.geteuid() == 0 and "libbpf" not in MISSING and "BPF" not in MISSING:
        sys.exit(MISSING)
    if MISSING:
        print(f"only usage is tested; no enclave can be made here: {MISSING}")
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(UsageTest)
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        sys.exit(77 if result.wasSuccessful() else 1)
    unittest.main(verbosity=2)
