"""command_line_test.py - what `yamanote` does with the terminal, files and mistakes.

    command_line_test.py YAMANOTE
"""

import fcntl
import json
import os
import pathlib
import pty
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import unittest

YAMANOTE = sys.argv[1]
# Nobody listens there: whoever gets as far as connecting fails with status 1.
TARGET = ("--target", "127.0.0.1:1")
KV = ("load", "kv", *TARGET, "--rate", "1k")
SPIN = ("load", "spin", *TARGET, "--rate", "1k")
SERVE = ("serve", "kv", "--print-config")
COMMANDS = [(), ("serve",), ("serve", "kv"), ("serve", "spin"), ("load",), ("load", "kv"),
            ("load", "spin"), ("bench",), ("bench", "sched"), ("bench", "probes"), ("demo",),
            ("report",), ("doctor",), ("apps",), ("run",), ("native",), ("native", "run"),
            ("native", "stats"), ("policies",), ("version",), ("help",),
            ("completion",)]
END = b"\x00"


def run(*arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL,
               "text": True, "timeout": 60, **options}
    return subprocess.run([YAMANOTE, *arguments], check=False, **options)


def on_terminal(columns, *arguments):
    """Returns what is printed on a terminal that is `columns` wide."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    # The terminal takes a few KiB before it blocks, so it is read meanwhile, up to a mark written
    # behind the process: a terminal that its last writer has closed may lose what it still holds.
    with subprocess.Popen([YAMANOTE, *arguments], stdout=writer, stderr=writer) as process:
        def mark():
            process.wait(timeout=60)
            os.write(writer, END)

        marker = threading.Thread(target=mark)
        marker.start()
        out = b""
        while not out.endswith(END):
            out += os.read(reader, 1 << 16)
        marker.join()
    os.close(writer)
    os.close(reader)
    return out.removesuffix(END).decode().replace("\r\n", "\n")


class HelpTest(unittest.TestCase):
    def test_help_fits_the_terminal(self):
        for columns in (50, 80, 120):
            for path in COMMANDS:
                text = on_terminal(columns, *path, "--help")
                self.assertIn("Usage: yamanote", text)
                if columns < 80:  # Examples are not broken up.
                    text = text[:text.index("\n  yamanote ")]
                long = [line for line in text.splitlines() if len(line) > columns]
                self.assertEqual(long, [], f"{path} at {columns} columns")

    def test_help_is_80_columns_wide_without_a_terminal(self):
        for path in COMMANDS:
            lines = run(*path, "--help").stdout.splitlines()
            self.assertEqual([line for line in lines if len(line) > 80], [], path)

    def test_every_help_ends_with_examples(self):
        for path in COMMANDS:
            text = run(*path, "--help").stdout
            head, found, examples = text.partition("Examples")
            self.assertTrue(found, path)
            self.assertGreaterEqual(examples.count("\n  yamanote "), 2, path)
            self.assertTrue(text.splitlines()[-1].startswith("  "), path)

    def test_limits_unit_and_default_of_every_flag_with_a_value_are_shown(self):
        text = " ".join(run("load", "kv", "--help").stdout.split())
        self.assertIn("--duration SECONDS How long is measured, after the warm-up "
                      "[0.01 .. 3600; default 5]", text)
        self.assertIn("--protocol NAME Transport [tcp, udp; default tcp]", text)
        self.assertIn("The server, as ADDRESS:PORT [required]", text)
        text = " ".join(run("serve", "kv", "--help").stdout.split())
        self.assertIn("[1ms .. 24h; default ", text)
        self.assertIn("two-level; default the preset's]", text)

    def test_help_names_a_command_by_its_words(self):
        for path in COMMANDS:
            self.assertEqual(run("help", *path).stdout, run(*path, "--help").stdout)
        wrong = run("help", "load", "kw")
        self.assertEqual(wrong.returncode, 2)
        self.assertIn("`yamanote load` has no command 'kw'; did you mean kv?", wrong.stderr)

    def test_version(self):
        for flag in ("--version", "-V"):
            result = run(flag)
            self.assertEqual(result.returncode, 0)
            self.assertEqual(result.stdout, run("version").stdout.splitlines()[0] + "\n")


class MistakeTest(unittest.TestCase):
    """Each names what is wrong, the value, and the limit or the remedy; status 2."""

    def expect(self, arguments, *words, code=2):
        result = run(*arguments)
        self.assertEqual(result.returncode, code, f"{arguments}: {result.stderr}")
        self.assertEqual(result.stdout, "", arguments)
        for word in words:
            self.assertIn(word, result.stderr, arguments)

    def test_commands_and_flags(self):
        for arguments, *words in [
                (("sevre",), "'sevre'", "did you mean serve?"),
                (("xyzzy",), "'xyzzy'", "it has serve, doctor, demo"),
                (("serve",), "`yamanote serve` needs one of kv, "),
                (("serve", "xyzzy"), "'xyzzy'", "it has kv, "),
                (("policies", "x"), "'x'", "takes no such word"),
                (("version", "--jsn"), "'--jsn'", "did you mean --json?"),
                (("--xyzzyx",), "'--xyzzyx'", "leave it out"),
                (("completion", "tcsh"), "'tcsh' is none of bash, zsh, fish"),
                (("completion",), "shell is required"),
                (("doctor", "--no-costs", "--costs", "x"), "--no-costs", "leave one out"),
                (("load", "kv", "--rate", "1k"), "--target is required")]:
            self.expect(arguments, *words)

    def test_load(self):
        for extra, *words in [
                (("--duration", "0"), "--duration", "'0'", "0.01 .. 3600"),
                (("--duration", "5s"), "--duration", "'5s'", "0.01 .. 3600"),
                (("--seed", "-1"), "--seed", "'-1'", "0 .. 18446744073709551515"),
                (("--connections", "1.5"), "--connections", "'1.5'", "1 .. 10000"),
                (("--threads", "65"), "--threads", "'65'", "1 .. 64"),
                (("--keys", "0"), "--keys", "'0'", "1 .. 10000000"),
                (("--protocol", "sctp"), "--protocol", "'sctp'", "tcp, udp"),
                (("--service", "get:50%"), "--service", "50%", "add up to 100%"),
                (("--service", "mget0"), "--service mgetN", "'0'", "from 1 to"),
                (("--service", "put"), "--service", "'put'", "get, set and mgetN"),
                (("--popularity", "zipf:x"), "--popularity", "'x'", "0.01 to 5"),
                (("--arrivals", "burst:0"), "--arrivals", "'0'"),
                (("--cpus", "5-1"), "--cpus '5-1'", "'1'", "from 5 to"),
                (("--cpus", "0,0"), "--cpus is '0,0'", "cpu 0 twice"),
                (("--cpus", "0", "--threads", "2"), "--threads is 2", "--cpus names 1"),
                (("--rate-range", "1k:2k"), "--rate-range requires --objective"),
                (("--undisturbed",), "--undisturbed requires --objective"),
                (("--html", "-"), "--html is '-'", "only --json"),
                (("--combine", "mean"), "--combine", "'mean'", "sum, median"),
                (("--gap-threshold", "x"), "--gap-threshold", "'x'", "1 to 1000000"),
                (("--rates", "1k"), "--rate, --rates and --objective", "exactly one")]:
            self.expect((*KV, *extra), *words)
        self.expect(("load", "kv", "--target", "localhost", "--rate", "1"), "'localhost'",
                    "ADDRESS:PORT")
        for extra, *words in [
                ((), "--service is required"),
                (("--service", "exp:10"), "--service exp", "'10'", "with its unit"),
                (("--service", "pareto:alpha=0,min=1us"), "alpha", "'0'", "0.1 to 100"),
                (("--service", "pareto:alpha=2,min=5us,max=1us"), "max is 1us", "raise it"),
                (("--service", "bimodal:50%:5us,40%:6us"), "90%", "100%")]:
            self.expect((*SPIN, *extra), *words)

    def test_demo_and_report(self):
        self.expect(("demo", "--service", "get:5%"), "--service", "5%", "100%")
        self.expect(("demo", "--presets", "ixx"), "--presets", "'ixx'", "use one of ix, zygos")
        self.expect(("demo", "--connections", "0"), "--connections", "'0'", "1 .. 10000")
        self.expect(("report", "/nonexistent.json"), "'/nonexistent.json'", code=1)

    def test_serve(self):
        for extra, *words in [
                (("--cores", "1023"), "--cores", "1023", "may use"),
                (("--cores", "0,0"), "--cores", '"0,0"', "CPU 0 twice"),
                (("--workers", "500"), "runtime.workers", '"500"', "0 .. 256"),
                (("--slice", "5"), "scheduling.slice", '"5"', "has no unit"),
                (("--listen", "localhost:1"), "server.listen", "localhost", "write the number"),
                (("--listen", "127.0.0.1:65536"), "server.listen", "65536", "0 to 65535"),
                (("--preset", "zygo"), "scheduling.preset", '"zygo"', "did you mean zygos?"),
                (("--class", "x:slo=5us"), "--class", '"x"', "short, long"),
                (("--class", "short:slo=5us,slo=6us"), "--class", "two values of slo"),
                (("--steal", "maybe"), "scheduling.steal", '"maybe"', "true nor false"),
                (("--preset", "shinjuku", "--dispatcher", "dedicated", "--workers", "1"),
                 "dispatcher", "1 core", "add a core")]:
            # Not only printed: some are refused by what they would be given to.
            self.expect(("serve", "kv", "--listen", "127.0.0.1:0", *extra), *words)

    def test_the_file_of_serve(self):
        for text, *words in [
                ("[scheduling]\npreset = \"zygo\"", ":2:", "scheduling.preset", "did you mean zygos?"),
                ("[scheduling]\nslots = 99", ":2:", "scheduling.slots", '"99"', "1 .. 16", "write 16"),
                ("[server]\nlisten = 5", ":2:", "server.listen is a number", "write a string"),
                ("[server]\ndrian_timout = \"5s\"", ":2:", "did you mean drain_timeout?"),
                ("[kv]\nmemory_limit = 1000", "kv.memory_limit", "with its unit", "1MiB .. 1024GiB"),
                ("[kv]\nmemory_limit = \"1KiB\"", "kv.memory_limit", '"1KiB"', "write 1MiB"),
                ("[sever]", "[sever] is no section", "did you mean [server]?"),
                ("slots = 1", "write it below that line"),
                ("[runtime]\npin = \"true\"", "runtime.pin", "without quotes"),
                ("[runtime]\nspin = 1979-05-27", "runtime.spin", "a date or time"),
                ("[runtime]\ncores = [0, \"1\"]", "runtime.cores", "an array such as [0, 1]"),
                ("[[scheduling.classes]]\nname = \"short\"\nslo = \"0us\"", "slo 0us", "1us .. 1h"),
                ("[[scheduling.classes]]\nslo = \"5us\"", "has no name"),
                ("[runtime]\npin = true\npin = true", ":3:", "is not TOML"),
                ("\xff\x00", ":1:", "is not TOML")]:
            with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="latin-1") as file:
                file.write(text)
                file.flush()
                self.expect((*SERVE, "--config", file.name), file.name, *words)
        self.expect((*SERVE, "--config", "/nonexistent"), "/nonexistent", "No such file")
        self.expect((*SERVE, "--config", "/"), "/", "is it a file?")


class FileTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_unwritable_files_are_refused_before_anything_is_measured(self):
        result = self.folder / "result.json"
        result.write_text("{}")
        for command, flag in [(KV, "--json"), (KV, "--html"), (KV, "--record"),
                              (("demo",), "--out"), (("report", str(result)), "--out"),
                              (("doctor",), "--costs")]:
            for path in (self.folder / "none" / "x", self.folder):
                refused = run(*command, flag, str(path))
                # Measuring would have failed with status 1: nobody listens.
                self.assertEqual(refused.returncode, 2, refused.stderr)
                self.assertIn(f"{flag} is '{path}', which can't be written", refused.stderr)
        self.assertEqual([file.name for file in self.folder.iterdir()], ["result.json"])

    def test_a_run_that_fails_leaves_files_as_they_were(self):
        old, new = self.folder / "old", self.folder / "new"
        old.write_text("kept")
        for path in (old, new):
            for flag in ("--json", "--html", "--record"):
                failed = run(*KV, flag, str(path))
                self.assertEqual(failed.returncode, 1, failed.stderr)
                self.assertIn("is the server running", failed.stderr)
        self.assertEqual(old.read_text(), "kept")
        self.assertEqual([file.name for file in self.folder.iterdir()], ["old"])

    def test_two_results_in_one_file_are_refused(self):
        path = self.folder / "x"
        for first, second in (("--json", "--html"), ("--json", "--record"), ("--html", "--record")):
            refused = run(*KV, first, str(path), second, f"{self.folder}/./x")
            self.assertEqual(refused.returncode, 2, refused.stderr)
            self.assertIn(f"{first} and {second} are one file", refused.stderr)
        path.write_text("{}")
        refused = run("report", str(path), "--out", str(path))
        self.assertEqual(refused.returncode, 2, refused.stderr)
        self.assertIn("which is also read", refused.stderr)
        self.assertEqual(path.read_text(), "{}")


class StreamTest(unittest.TestCase):
    def shell(self, redirections, *arguments):
        return subprocess.run(["sh", "-c", f'exec "$@" {redirections}', "sh", YAMANOTE, *arguments],
                              check=False, capture_output=True, text=True, timeout=60)

    def test_lost_output_is_an_error(self):
        for arguments in (("policies", "--json"), ("policies",), ("version",), ("--version",),
                          ("--help",), ("help", "load"), ("completion", "bash"), SERVE,
                          ("doctor", "--no-costs")):
            full = self.shell(">/dev/full", *arguments)
            self.assertEqual(full.returncode, 1, arguments)
            self.assertIn("standard output could not be written", full.stderr)
            closed = self.shell(">&-", *arguments)
            self.assertEqual(closed.returncode, 1, arguments)
            self.assertIn("standard output could not be written", closed.stderr)

    def test_sockets_and_files_never_take_the_place_of_a_closed_stream(self):
        out = pathlib.Path(tempfile.mkdtemp()) / "out"
        self.addCleanup(lambda: (out.unlink(), out.parent.rmdir()))
        # What is printed must not end up in the file that is written.
        written = self.shell("<&- >&- 2>&-", "doctor", "--costs", str(out))
        self.assertEqual(written.returncode, 1)  # The text was lost.
        self.assertTrue(out.read_text().startswith("# Costs"))

    def test_a_server_goes_on_without_streams(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", YAMANOTE, "serve", "kv",
                   "--listen", f"127.0.0.1:{port}", "--workers", "1"]
        with subprocess.Popen(command) as server:
            try:
                while True:  # It can't say that it is ready.
                    self.assertIsNone(server.poll(), "the server ended")
                    try:
                        client = socket.create_connection(("127.0.0.1", port), timeout=60)
                        break
                    except ConnectionRefusedError:
                        pass
                with client:
                    server.send_signal(signal.SIGUSR1)  # Statistics, which nobody takes.
                    client.sendall(b"set a 0 0 1\r\nx\r\nget a\r\nversion\r\n")
                    answer = b""
                    while not answer.endswith(b"yamanote\r\n"):
                        data = client.recv(4096)
                        self.assertTrue(data, answer)
                        answer += data
                self.assertTrue(answer.startswith(b"STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nVERSION"))
            finally:
                server.send_signal(signal.SIGTERM)
            self.assertEqual(server.wait(timeout=60), 0)

    def test_json_on_standard_output_is_one_document(self):
        for arguments in (("policies",), ("version",), ("doctor", "--no-costs")):
            json.loads(run(*arguments, "--json").stdout)

    def test_each_order_says_whom_it_starves(self):
        orders = {order["name"]: order["starves"]
                  for order in json.loads(run("policies", "--json").stdout)["orders"]}
        self.assertIsNone(orders["fifo"])
        self.assertIn("long", orders["las"])
        lines = [line.split("starves: ")[1] for line in run("policies").stdout.splitlines()
                 if "starves: " in line]
        self.assertEqual(lines, [starves or "nobody" for starves in orders.values()])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
