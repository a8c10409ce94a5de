#!/usr/bin/env python3
"""summary_test.py - run.py --summary shows every committed result that has tables."""

import pathlib
import subprocess
import sys
import unittest

BENCH = pathlib.Path(__file__).resolve().parent
# Results of other programs than run.py, in the folders of those whose run.py reads them.
WITHOUT_TABLES = {
    "sched/results/2026-11-26-2cpu-amd-epyc-keepers.json",
    "sched/results/2026-11-26-2cpu-amd-epyc-keepers-2.json",
    "sched/results/2026-11-26-4-of-16cpu-intel-xeon-keepers.json",
    "sched/results/2026-11-27-2cpu-intel-cascade-lake-keepers.json",
    "rocksdb/results/2026-11-26-2cpu-amd-epyc.json",
    "rocksdb/results/2026-11-27-2cpu-intel-cascade-lake.json",
}


class SummaryTest(unittest.TestCase):
    def test_every_result_is_shown_or_said_to_have_no_tables(self):
        programs = [one for one in BENCH.glob("*/run.py") if "--summary" in one.read_text()]
        self.assertGreaterEqual(len(programs), 3)
        for program in programs:
            names = sorted(map(str, program.parent.glob("results/*.json")))
            done = subprocess.run([sys.executable, program, "--summary", *names],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            for name in names:
                # From the file's own line to the next file's.
                _, found, shown = done.stdout.partition(f"\n{name}")
                self.assertTrue(found, f"{name} is not mentioned")
                shown = shown.partition(f"\n{BENCH}")[0]
                if str(pathlib.Path(name).relative_to(BENCH)) in WITHOUT_TABLES:
                    self.assertTrue(shown.startswith(": no tables"), shown)
                else:
                    self.assertIn("\n|---|", shown, f"{name} has no table")


if __name__ == "__main__":
    unittest.main()
