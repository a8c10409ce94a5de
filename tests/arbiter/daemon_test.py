"""daemon_test.py - yamanoted and `yamanote apps` from outside.

    daemon_test.py YAMANOTE YAMANOTED
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

YAMANOTE, YAMANOTED = sys.argv[1:3]


class DaemonTest(unittest.TestCase):
    def setUp(self):
        # pylint: disable-next=consider-using-with
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.socket = os.path.join(self.folder.name, "arbiter.sock")

    def start(self, *flags, **environment):
        """Returns a daemon that is ready."""
        # pylint: disable-next=consider-using-with
        daemon = subprocess.Popen([YAMANOTED, "--socket", self.socket, *flags],
                                  stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, **environment})

        def end():
            daemon.kill()
            daemon.wait()
            daemon.stdout.close()

        self.addCleanup(end)
        self.assertRegex(daemon.stdout.readline(),
                         f"^ready yamanoted socket {self.socket} cpus [0-9,-]+ mode ")
        return daemon

    def refused(self, *flags, **options):
        result = subprocess.run([YAMANOTED, *flags], capture_output=True, text=True,
                                check=False, timeout=60, **options)
        self.assertEqual(result.stdout, "")
        return result.returncode, result.stderr

    def apps(self, *flags):
        return subprocess.run([YAMANOTE, "apps", "--socket", self.socket, *flags],
                              capture_output=True, text=True, check=False, timeout=60)

    def test_tells_who_is_there(self):
        daemon = self.start()
        found = json.loads(self.apps("--json").stdout)
        self.assertEqual(found["schema"], "yamanote.apps/1")
        self.assertEqual(found["pid"], daemon.pid)
        self.assertEqual(found["apps"], [])
        self.assertGreater(found["passes"], 0)
        self.assertIn("no application has registered", self.apps().stdout)

    def test_ends_when_it_is_told_and_leaves_no_socket(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            daemon = self.start()
            daemon.send_signal(number)
            self.assertEqual(daemon.wait(timeout=60), 0)
            self.assertFalse(os.path.exists(self.socket))

    def test_starts_again_after_it_was_killed(self):
        daemon = self.start()
        daemon.kill()
        daemon.wait()
        self.assertTrue(os.path.exists(self.socket))
        result = self.apps()
        self.assertEqual(result.returncode, 1)
        self.assertIn("start one with `yamanoted`", result.stderr)
        self.start()
        self.assertEqual(self.apps().returncode, 0)

    def test_does_not_replace_a_live_one(self):
        self.start()
        code, text = self.refused("--socket", self.socket)
        self.assertEqual(code, 1)
        self.assertIn("is served by a running yamanoted", text)
        self.assertEqual(self.apps().returncode, 0)

    def test_polls_if_there_is_a_core_for_it(self):
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest("there is one CPU")
        daemon = self.start("--mode", "polling", "--poll-interval", "100us")
        found = json.loads(self.apps("--json").stdout)
        self.assertEqual(found["mode"], "polling")
        self.assertEqual(len(found["cpus"]), len(os.sched_getaffinity(0)) - 1)
        daemon.terminate()
        self.assertEqual(daemon.wait(timeout=60), 0)

    def test_tells_the_service_manager(self):
        path = os.path.join(self.folder.name, "notify.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(60)
            manager.bind(path)
            daemon = self.start(NOTIFY_SOCKET=path)
            self.assertEqual(manager.recv(100), b"READY=1")
            daemon.terminate()
            self.assertEqual(manager.recv(100), b"STOPPING=1")

    def test_reads_a_file_and_refuses_mistakes(self):
        path = os.path.join(self.folder.name, "d.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write('[daemon]\nmove_deadline = "3ms"\nusers = "*:burst=1"\n')
        self.start("--config", path)
        self.assertEqual(self.refused("--config", path + "x")[0], 2)
        for flags, words in ((("--mood", "x"), "did you mean --mode?"),
                             (("--mode", "poll"), "none of events, polling"),
                             (("--cpus", "8000"), "--cpus: daemon.cpus"),
                             (("--move-deadline", "3"), "--move-deadline"),
                             (("--users", "root"), "--users: daemon.users")):
            code, text = self.refused("--socket", self.socket + "2", *flags)
            self.assertEqual(code, 2, flags)
            self.assertIn(words, text)

    def test_help_has_every_key_and_examples(self):
        text = subprocess.run([YAMANOTED, "--help"], capture_output=True, text=True,
                              check=True, timeout=60).stdout
        for flag in ("--socket", "--cpus", "--users", "--revoke-deadline",
                     "--arbiter-delay"):
            self.assertIn(flag, text)
        self.assertNotIn("--arbiter-interval", text)
        self.assertIn("Examples:", text)
        self.assertEqual([line for line in text.splitlines() if len(line) > 80], [])

    def test_shells_complete_every_flag(self):
        def output(*flags):
            return subprocess.run([YAMANOTED, *flags], capture_output=True, text=True,
                                  check=True, timeout=60).stdout

        flags = re.findall(r"^  (?:-\w, *)?(--[a-z-]+)", output("--help"), re.M)
        self.assertGreater(len(flags), 10)
        bash = output("--completion", "bash")

        def offered(*words):
            line = " ".join(f"'{word}'" for word in ("yamanoted",) + words)
            script = (f"{bash}\nCOMP_WORDS=({line})\nCOMP_CWORD={len(words)}\n_yamanoted\n"
                      'printf "%s\\n" "${COMPREPLY[@]}"\n')
            return subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                                  check=True).stdout.split()

        self.assertLessEqual(set(flags), set(offered("--")))
        self.assertEqual(offered("--mode", "e"), ["events"])
        zsh, fish = output("--completion", "zsh"), output("--completion", "fish")
        self.assertTrue(zsh.startswith("#compdef yamanoted\n"))
        for flag in flags:
            self.assertIn(f"'{flag}[", zsh)
            self.assertRegex(fish, rf"complete -c yamanoted .*-l {flag[2:]} ")
        self.assertNotIn("completion", "".join(flags))

    def test_man_page_has_every_flag(self):
        page = subprocess.run([YAMANOTED, "--man"], capture_output=True, text=True,
                              check=True, timeout=60).stdout.replace("\\-", "-")
        for flag in ("--config", "--socket", "--users", "--move-deadline"):
            self.assertIn(f"\\fB{flag}\\fR", page)
        self.assertIn("yamanoted --mode polling", page)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
