# serve_test.py - `yamanote serve` as its users see it: processes, sockets, signals.
#
# Nothing sleeps to synchronise: the ready line says when to start, replies say
# when to go on. A spin request of known length is the request in flight.

import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

YAMANOTE = os.environ["YAMANOTE"]
PATIENCE_S = 60  # Longer than any step takes, sanitized and on a busy machine.


def spin_message(service_ns, sequence=0, request_class=0):
    return struct.pack("<QQIIII", 7, service_ns, 1, sequence, request_class, 0)


class Serve:
    """A server process, from its ready line to its end."""

    def __init__(self, *arguments, stderr=None):
        self.errors = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [YAMANOTE, "serve", *arguments], stdout=subprocess.PIPE,
            stderr=self.errors if stderr is None else stderr, text=True)
        self.ready = self.process.stdout.readline()
        if not self.ready.startswith("ready "):
            self.process.kill()
            raise AssertionError(f"not ready: {self.ready!r} {self.error_text()!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.errors.close()

    def error_text(self):
        self.errors.seek(0)
        return self.errors.read()

    def address(self, protocol):
        """Returns the (host, port) that the ready line gives for a protocol."""
        words = self.ready.split()
        host, port = words[words.index(protocol) + 1].rsplit(":", 1)
        return host.strip("[]"), int(port)

    def connect(self):
        return socket.create_connection(self.address("tcp"), timeout=PATIENCE_S)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, output


def receive(client, size):
    data = b""
    while len(data) < size:
        part = client.recv(size - len(data))
        if not part:
            break
        data += part
    return data


def run(*arguments):
    return subprocess.run([YAMANOTE, "serve", *arguments], capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)


LOCAL = ("--listen", "127.0.0.1:0", "--workers", "2", "--pin", "false")


class ServeTest(unittest.TestCase):
    def test_ready_line_names_service_address_and_scheduler(self):
        with Serve("kv", *LOCAL, "--preset", "zygos") as server:
            self.assertRegex(server.ready, r"^ready kv tcp 127\.0\.0\.1:[1-9]\d* preset zygos "
                                           r"order fifo placement stealing cores 2 preemption none\n$")

    def test_every_preset_answers_and_ends_cleanly(self):
        listing = subprocess.run([YAMANOTE, "policies", "--json"], capture_output=True,
                                 text=True, check=True).stdout
        presets = [preset["name"] for preset in json.loads(listing)["presets"]]
        self.assertIn("yamanote", presets)
        for preset in presets:
            with self.subTest(preset), Serve("kv", *LOCAL, "--preset", preset) as server:
                with server.connect() as client:
                    client.sendall(b"set key 0 0 5\r\nvalue\r\nget key\r\n")
                    expected = b"STORED\r\nVALUE key 0 5\r\nvalue\r\nEND\r\n"
                    self.assertEqual(receive(client, len(expected)), expected)
                status, output = server.end()
                self.assertEqual(status, 0, server.error_text())
                self.assertIn("2 requests", output)

    # All services are compiled alike: with probes, or without and saying so.
    def test_each_service_knows_whether_it_has_probes(self):
        notes = {}
        for service in ("kv", "spin"):
            with Serve(service, *LOCAL) as server:
                notes[service] = "compiled without probes" in server.error_text()
        self.assertEqual(notes["kv"], notes["spin"], notes)

    # Connections that are being refused have descriptors, too: 64 at most.
    def test_clients_can_not_take_the_servers_own_descriptors(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
        try:
            with Serve("kv", *LOCAL, "--max-connections", "100") as server:
                limit, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
                opened = len(os.listdir(f"/proc/{server.process.pid}/fd"))
                self.assertGreaterEqual(limit, opened + 100 + 64)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_tcp_and_udp_on_one_port(self):
        with Serve("spin", *LOCAL, "--protocol", "both") as server:
            self.assertEqual(server.address("tcp"), server.address("udp"))
            message = spin_message(1000, sequence=3)
            with server.connect() as client:
                client.sendall(message)
                self.assertEqual(receive(client, 32), message)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE_S)
                client.sendto(message, server.address("udp"))
                self.assertEqual(client.recv(64), message)

    def test_requests_in_flight_are_answered_before_the_end(self):
        with Serve("spin", *LOCAL, "--spin-max-service", "10s", "--drain-timeout", "1min") as server:
            with server.connect() as client:
                # The short one's reply says that the server has read this far.
                client.sendall(spin_message(1, sequence=1))
                receive(client, 32)
                client.sendall(spin_message(300_000_000, sequence=2))
                with server.connect() as other:  # Served after the long one arrived.
                    other.sendall(spin_message(1, sequence=3))
                    receive(other, 32)
                server.process.send_signal(signal.SIGTERM)
                self.assertEqual(receive(client, 32), spin_message(300_000_000, sequence=2))
                self.assertEqual(receive(client, 1), b"")  # Then the connection closes.
            output, _ = server.process.communicate(timeout=PATIENCE_S)
            self.assertEqual(server.process.returncode, 0)
            self.assertIn("3 requests", output)

    def test_a_closed_terminal_ends_it_cleanly(self):
        with Serve("spin", *LOCAL) as server:
            status, output = server.end(signal.SIGHUP)
        self.assertEqual(status, 0)
        self.assertIn("statistics", output)

    def test_a_second_signal_ends_at_once(self):
        with Serve("spin", *LOCAL, "--spin-max-service", "60s", "--drain-timeout", "1min") as server:
            with server.connect() as client:
                client.sendall(spin_message(1))
                receive(client, 32)
                client.sendall(spin_message(59_000_000_000))
                with server.connect() as other:
                    other.sendall(spin_message(1))
                    receive(other, 32)
                server.process.send_signal(signal.SIGINT)
                end = time.monotonic() + PATIENCE_S
                while "ending" not in server.error_text():  # It has seen the first.
                    self.assertLess(time.monotonic(), end)
                # One that comes within 100 ms counts as the first.
                while server.process.poll() is None:
                    self.assertLess(time.monotonic(), end)
                    server.process.send_signal(signal.SIGINT)
                    time.sleep(0.02)
                output, _ = server.process.communicate(timeout=PATIENCE_S)
            self.assertEqual(server.process.returncode, 1)
            self.assertIn("second signal", server.error_text())
            self.assertIn("statistics", output)

    def test_sigusr1_prints_statistics_as_json(self):
        with Serve("kv", *LOCAL, "--json") as server:
            with server.connect() as client:
                client.sendall(b"version\r\n")
                client.recv(64)
            server.process.send_signal(signal.SIGUSR1)
            now = json.loads(server.process.stdout.readline())
            self.assertEqual(now["event"], "statistics")
            self.assertEqual(now["server"]["requests"], 1)
            status, output = server.end()
            self.assertEqual(status, 0)
            final = json.loads(output)
            self.assertEqual(final["event"], "final")
            self.assertEqual(final["server"]["accepted"], 1)

    # As behind a pager that nobody scrolls: statistics are left out, signals are not.
    def test_a_reader_that_stalls_does_not_make_it_deaf(self):
        with Serve("kv", *LOCAL) as server:
            fcntl.fcntl(server.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
            end = time.monotonic() + PATIENCE_S
            while "nobody reads" not in server.error_text():
                self.assertLess(time.monotonic(), end)
                server.process.send_signal(signal.SIGUSR1)
            server.process.send_signal(signal.SIGTERM)
            self.assertEqual(server.process.wait(timeout=PATIENCE_S), 0)
            # What was printed is whole, and nothing is printed twice.
            self.assertEqual(server.process.stdout.read().count("statistics"), 1)

    # As after its terminal was closed, or the `tee` behind it died.
    def test_it_ends_cleanly_if_nobody_takes_its_errors(self):
        reader, writer = os.pipe()
        os.close(reader)
        with open("/dev/full", "w") as full, open(writer, "w") as broken:
            for stderr in (full, broken):
                with self.subTest(stderr.name), Serve("kv", *LOCAL, stderr=stderr) as server:
                    status, output = server.end(signal.SIGHUP)
                    self.assertEqual(status, 0)
                    self.assertIn("0 requests", output)

    def test_statistics_at_an_interval(self):
        with Serve("kv", *LOCAL, "--json", "--stats-interval", "100ms") as server:
            first = json.loads(server.process.stdout.readline())
            second = json.loads(server.process.stdout.readline())
            self.assertGreater(second["uptime_s"], first["uptime_s"])

    def test_configuration_file_with_a_flag_over_it(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('[scheduling]\npreset = "ix"\n[runtime]\nworkers = 2\npin = false\n'
                       '[server]\nlisten = "127.0.0.1:0"\nmax_connections = 1\n')
            file.flush()
            with Serve("kv", "--config", file.name, "--preset", "shenango") as server:
                self.assertIn("preset shenango", server.ready)
                with server.connect() as first:
                    first.sendall(b"version\r\n")
                    self.assertTrue(first.recv(64).startswith(b"VERSION"))
                    with server.connect() as second:  # One too many: told so, closed.
                        answer = receive(second, 1024)
                        self.assertTrue(answer.startswith(b"SERVER_ERROR"), answer)

    def test_printed_configuration_serves(self):
        printed = run("kv", *LOCAL, "--print-config", "--class", "short:slo=70us")
        self.assertEqual(printed.returncode, 0, printed.stderr)
        self.assertIn('slo = "70us"', printed.stdout)
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(printed.stdout)
            file.flush()
            with Serve("kv", "--config", file.name) as server:
                self.assertEqual(server.end()[0], 0)

    def test_slots_without_a_dispatcher_are_told_of(self):
        with Serve("spin", "--listen", "127.0.0.1:0", "--cores", "0", "--preset", "concord",
                   "--slots", "3") as server:
            self.assertEqual(server.end()[0], 0)
            self.assertIn("--slots: scheduling.slots = 3 has no effect", server.error_text())
            self.assertIn("name two cores or more", server.error_text())
        with Serve("spin", "--listen", "127.0.0.1:0", "--cores", "0", "--preset",
                   "concord") as server:  # The preset's own.
            server.end()
            self.assertNotIn("slots", server.error_text())

    def test_wrong_configurations_are_usage_errors(self):
        for arguments, fragment in (
                (("--preset", "nope"), "none of ix, zygos"),
                (("--slots", "99"), "1 .. 16"),
                (("--class", "medium:limit=1"), "its classes are short, long"),
                (("--kv-memory-limit", "1MiB"), "memory_limit is"),
                (("--kv-max-value-bytes", "4MiB"), "server.max_request_bytes of at least"),
                (("--max-reply-bytes", "1MiB"), "server.max_reply_bytes of at least"),
                (("--max-threads", "15"), "16 .. 16777216"),
                (("--max-buffer-bytes", "1MiB"), "at least twice max_request_bytes"),
                (("--cores", "8000"), "8000"),
                (("--idle-timuot", "5s"), "--idle-timeout"),
                (("--config", "/nonexistent.toml"), "/nonexistent.toml")):
            result = run("kv", "--listen", "127.0.0.1:0", *arguments)
            self.assertEqual(result.returncode, 2, (arguments, result.stderr))
            self.assertIn(fragment, result.stderr)
            self.assertEqual(result.stdout, "")

    def test_an_address_in_use_is_a_failure_that_names_it(self):
        with Serve("kv", *LOCAL) as server:
            host, port = server.address("tcp")
            result = run("kv", "--listen", f"{host}:{port}")
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertIn(str(port), result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
