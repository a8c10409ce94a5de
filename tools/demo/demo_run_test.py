"""demo_run_test.py - runs `yamanote demo`, also with memcached, whole and interrupted.

    demo_run_test.py YAMANOTE MEMCACHED PROBES     PROBES: 1 if the build has them, else 0

Figures are not judged, only that they are there: this machine may be busy.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

YAMANOTE, MEMCACHED = sys.argv[1:3]
HAS_PROBES = sys.argv[3] == "1"
# memcached wants to be told that root is meant.
USER = "-u root" if os.geteuid() == 0 else ""


def contender(name, pid_file):
    """A memcached that also leaves its process id in `pid_file`."""
    return (f"{name}=echo $$ > {pid_file}; "
            f"exec {MEMCACHED} {USER} -l 127.0.0.1 -t 1 -m 64 -p {{port}}")


def is_running(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # A zombie has ended; whoever inherited it has yet to look.


class DemoRunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.out = self.folder / "demo.html"
        self.pid_file = self.folder / "pid"

    def command(self, *arguments):
        presets = () if "--presets" in arguments else ("--presets", "")
        return [YAMANOTE, "demo", *presets, "--out", str(self.out), *arguments]

    def wait_for_pid(self, demo):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.pid_file.exists() and (text := self.pid_file.read_text().strip()):
                return int(text)
            self.assertIsNone(demo.poll(), "the demo ended before its server started")
            time.sleep(0.01)
        self.fail("the demo started no server in 30 s")

    def test_two_servers_are_compared_and_reported(self):
        demo = subprocess.run(
            self.command("--json", "--seconds", "26", "--presets", "yamanote",
                         "--also", contender("one", self.pid_file)),
            capture_output=True, text=True, timeout=100)
        self.assertEqual(demo.returncode, 0, demo.stderr)
        report = json.loads(demo.stdout)
        self.assertEqual([r["label"] for r in report["results"]], ["yamanote", "one"])
        loads = [[p["offered_rps"] for p in r["points"]] for r in report["results"]]
        shared = min(len(l) for l in loads)
        self.assertGreaterEqual(shared, 2)
        self.assertEqual(loads[0][:shared], loads[1][:shared])
        for result in report["results"]:
            for point in result["points"]:
                self.assertEqual([c["name"] for c in point["classes"]], ["get", "mget500"])
                self.assertGreater(point["sent"], 0)
                self.assertEqual(point["misses"], 0)
        page = self.out.read_text()
        self.assertIn('"name":"one"', page)
        self.assertFalse(is_running(int(self.pid_file.read_text())))
        # How many slices ended which way is the server's own count.
        self.assertRegex(report["notes"][0],
                         r"yamanote \d+ at probes, \d+ at voluntary points \(mechanism: (probe|none)\)")
        config = dict(report["schedulers"][0]["config"])
        # A busy machine had 1,600 at probes and more; there are none if probes do nothing.
        some = HAS_PROBES and "(mechanism: probe)" in report["notes"][0]
        at_probes = r"[1-9]\d*" if some else r"\d+"
        self.assertRegex(config["slices ended"],
                         rf"^{at_probes} at probes, [1-9]\d* at voluntary points$")
        self.assertNotIn("slices ended", dict(report["schedulers"][1]["config"]))
        # What was printed makes the same page again.
        saved = self.folder / "saved.json"
        saved.write_text(demo.stdout)
        subprocess.run([YAMANOTE, "report", str(saved), "-o", str(self.folder / "again.html")],
                       check=True, capture_output=True, timeout=30)

    def test_an_interruption_stops_the_server_and_writes_no_report(self):
        demo = subprocess.Popen(self.command("--also", contender("one", self.pid_file)),
                                stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        pid = self.wait_for_pid(demo)
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=30)
        self.assertEqual(demo.returncode, 1, errors)
        self.assertIn("interrupted", errors)
        self.assertFalse(is_running(pid))
        self.assertFalse(self.out.exists())

    def test_a_server_dies_with_a_demo_that_is_killed(self):
        demo = subprocess.Popen(self.command("--also", contender("one", self.pid_file)),
                                stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        pid = self.wait_for_pid(demo)
        demo.kill()
        demo.wait(timeout=30)
        deadline = time.monotonic() + 30
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.01)  # The kernel tells nobody but the parent, which is gone.
        self.assertFalse(is_running(pid))

    def test_a_server_that_fails_is_shown_with_its_words(self):
        demo = subprocess.run(
            self.command("--also", "bad=echo 'no room at the inn' >&2; exit 3; : {port}"),
            capture_output=True, text=True, timeout=60)
        self.assertEqual(demo.returncode, 1)
        self.assertIn("ended with status 3 before it was ready", demo.stderr)
        self.assertIn("no room at the inn", demo.stderr)
        self.assertEqual(demo.stdout, "")

    def test_impossible_arguments_are_refused_at_once(self):
        for arguments, words in (
                (("--seconds", "5", "--also", contender("one", self.pid_file)), "--seconds is 5; 1 servers need"),
                (("--cores", "4096", "--also", contender("one", self.pid_file)), "--cores is 4096"),
                (("--also", "memcached -p {port}"), "NAME=COMMAND"),
                (("--also", "a=b {port}", "--also", "a=c {port}"), "'a' is named twice"),
                ((), "nothing to compare")):
            demo = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=30)
            self.assertEqual(demo.returncode, 2, demo.stderr)
            self.assertIn(words, demo.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
