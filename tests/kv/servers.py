"""servers.py - starts `yamanote serve kv` and Debian's memcached for a test."""

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import time


class Failure(Exception):
    """What a check found wrong, in words."""


def tool(name, package):
    """Returns the path of a program that the tests cannot do without."""
    path = shutil.which(name)
    if path is None:
        raise Failure(f"{name} is missing; install the Debian package {package} "
                      "(packaging/install-deps.sh does)")
    return path


def require(holds, words):
    if not holds:
        raise Failure(words)


class Server:
    """A running `yamanote serve kv`; `port` serves TCP and UDP on 127.0.0.1."""

    def __init__(self, yamanote, preset, *flags):
        self.process = subprocess.Popen(
            [yamanote, "serve", "kv", "--preset", preset, "--listen", "127.0.0.1:0",
             "--protocol", "both", "--workers", "2", *flags],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.match(r"ready kv tcp 127\.0\.0\.1:(\d+) udp 127\.0\.0\.1:(\d+)", line)
        if found is None or found[1] != found[2]:
            self.process.kill()
            raise Failure(f"the server did not become ready; it printed {line!r}")
        self.port = int(found[1])

    def stop(self):
        """Ends it as a user would; it must answer, drain and succeed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            _, _ = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure("the server was still there 20 s after SIGTERM") from None
        require(self.process.returncode == 0,
                f"the server's exit status is {self.process.returncode}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def memcached():
    """Yields the port of a memcached with UDP, on a port that was free."""
    program = tool("memcached", "memcached")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([program, "-u", "nobody", "-l", "127.0.0.1", "-t", "1",
                                "-p", str(port), "-U", str(port)])
    try:
        deadline = time.monotonic() + 20
        while True:  # It says nothing when it is ready.
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                require(time.monotonic() < deadline, "memcached does not listen after 20 s")
                time.sleep(0.01)
        yield port
    finally:
        process.kill()
        process.wait()


def exchange(port, stream, marker=b"VERSION "):
    """Sends `stream` and `version`, returns what is answered before the version.

    So the end of the answers is seen without waiting for a silence.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(stream + b"version\r\n")
        answer = b""
        while True:
            at = answer.rfind(marker)
            if at >= 0 and answer.endswith(b"\r\n"):
                return answer[:at]
            data = connection.recv(1 << 16)
            if not data:
                return answer + b"<closed>"
            answer += data
