"""servers.py - starts `yamanote serve rocksdb` for a test, and talks RESP2 to it."""

import re
import shutil
import signal
import socket
import subprocess

PATIENCE_S = 60  # Longer than any step takes, sanitized and on a busy machine.


class Failure(Exception):
    """What a check found wrong, in words."""


def require(holds, words):
    if not holds:
        raise Failure(words)


def tool(name):
    """Returns the path of one of Redis's programs."""
    path = shutil.which(name)
    require(path, f"{name} is missing; install the Debian package redis-tools "
                  "(packaging/install-deps.sh does)")
    return path


class Server:
    """A running `yamanote serve rocksdb`; `port` serves TCP and UDP on 127.0.0.1."""

    def __init__(self, yamanote, *flags):
        self.process = subprocess.Popen(
            [yamanote, "serve", "rocksdb", "--listen", "127.0.0.1:0", "--protocol", "both",
             "--workers", "2", "--pin", "false", *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.match(r"ready rocksdb tcp 127\.0\.0\.1:(\d+) udp 127\.0\.0\.1:(\d+)", line)
        if found is None or found[1] != found[2]:
            self.process.kill()
            raise Failure(f"the server did not become ready; it printed {line!r} and "
                          f"{self.process.communicate()[1]!r}")
        self.port = int(found[1])

    def end(self, *numbers):
        """Sends the signals; returns the exit status."""
        for number in numbers:
            self.process.send_signal(number)
        try:
            self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure(f"the server was still there {PATIENCE_S} s after {numbers}") from None
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and self.process.poll() is None:
            status = self.end(signal.SIGTERM)
            require(status == 0, f"the server's exit status is {status}")
        elif self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def command(*words):
    """Returns the request that these words are."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def exchange(port, stream):
    """Sends `stream` and QUIT; returns what is answered before QUIT's OK.

    If the server closes before, what it sent, then b"<closed>".
    """
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(stream + command("ECHO", "the end") + command("QUIT"))
        answer = b""
        while data := connection.recv(1 << 16):
            answer += data
    end = b"$7\r\nthe end\r\n+OK\r\n"
    return answer[:-len(end)] if answer.endswith(end) else answer + b"<closed>"
