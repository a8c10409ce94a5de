"""soak_test.py - thousands of applications come and go; yamanoted keeps nothing of them.

    soak_test.py YAMANOTED [--registrations 3000] [--seed 7]

They say Hello, and say which threads are their workers, and hang up, or crash, or send
nonsense, in an order that the seed decides. Its descriptors, mappings and memory are what
they were. Layouts as in src/arbiter/abi.h.
"""

import argparse
import array
import os
import random
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

MAGIC, VERSION, HELLO, WORKERS, KICK, LIST = 0x544e4d59, 2, 1, 3, 4, 5
CORES, NAME = 256, 32
WELCOME_BYTES = 1 << 13
PATIENCE_S = 60
# What the allocator of the C library keeps for later.
SLACK_KIB = 256


def require(condition, text):
    if not condition:
        raise AssertionError(text)


def header(kind):
    return struct.pack("<III", MAGIC, VERSION, kind)


def hello(guaranteed, most, best_effort=0, opaque=0, keeps=0, held=()):
    flags = bytearray(CORES)
    for core in held:
        flags[core] = 1
    return (header(HELLO) + b"soak".ljust(NAME, b"\0") + b"delay".ljust(NAME, b"\0")
            + struct.pack("<IIIII", guaranteed, most, best_effort, opaque, keeps)
            + bytes(flags))


def workers(tid):
    return header(WORKERS) + struct.pack(f"<{CORES}i", tid, *[0] * (CORES - 1))


class Soak:
    def __init__(self, yamanoted, folder, seed):
        self.random = random.Random(seed)
        self.path = os.path.join(folder, "arbiter.sock")
        # pylint: disable-next=consider-using-with
        self.daemon = subprocess.Popen([yamanoted, "--socket", self.path],
                                       stdout=subprocess.PIPE, text=True)
        line = self.daemon.stdout.readline()
        require(line.startswith("ready "), f"the daemon printed {line!r}")
        self.idle = self.descriptors()
        self.welcomes = self.refusals = 0
        # Not this thread: it would be pinned, and beneath all others where it is best effort.
        self.over = threading.Event()
        self.worker = threading.Thread(target=self.over.wait, daemon=True)
        self.worker.start()

    def connect(self):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.settimeout(PATIENCE_S)
        client.connect(self.path)
        return client

    def register(self, client, message):
        """Returns whether it is welcome."""
        client.sendall(message)
        data, control, _, _ = client.recvmsg(WELCOME_BYTES, socket.CMSG_SPACE(3 * 4))
        for _, _, descriptors in control:
            numbers = array.array("i")
            numbers.frombytes(descriptors[:len(descriptors) // 4 * 4])
            for number in numbers:
                os.close(number)
        require(len(data) > 16, "it hung up before it answered")
        if struct.unpack_from("<I", data, 12)[0] != 0:
            self.refusals += 1
            return False
        self.welcomes += 1
        return True

    def visit(self):
        with self.connect() as client:
            try:
                self.stay(client)
            except BrokenPipeError:
                # Refused before it said anything: those that are gone are not noticed yet.
                text = client.recv(WELCOME_BYTES)[16:528].split(b"\0")[0].decode()
                require("close some" in text, f"refused: {text!r}")
                self.refusals += 1

    def stay(self, client):
        kind = self.random.randrange(6)
        if kind == 0:
            return
        if kind == 1:
            client.sendall(self.random.randbytes(self.random.randrange(1, 400)))
            client.recv(WELCOME_BYTES)
            return
        message = self.random.choice(
            [hello(1, 1), hello(0, 0), hello(0, 0, best_effort=1, held=(0,)),
             hello(0, 1, best_effort=1, opaque=1), hello(1, 0, held=(0,))])
        if not self.register(client, message) or kind == 2:
            return
        client.sendall(workers(self.worker.native_id))
        if kind == 3:
            client.sendall(header(KICK))
        if kind == 4:
            client.sendall(header(LIST))
            client.recv(1 << 20)

    def crash(self):
        """A process that dies while it is registered."""
        child = os.fork()
        if child == 0:
            try:
                client = self.connect()
                if self.register(client, hello(1, 0)):
                    client.sendall(workers(os.getpid()))
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)

    def apps(self):
        with self.connect() as client:
            client.sendall(header(LIST))
            return client.recv(1 << 20).count(b'"policy"')

    def run(self, count):
        for number in range(count):
            self.crash() if number % 25 == 0 else self.visit()
        end = time.monotonic() + PATIENCE_S
        while self.apps() != 0:
            require(time.monotonic() < end, f"{self.apps()} applications are left")
            time.sleep(0.01)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def footprint(self):
        # The last connection may not be closed yet.
        end = time.monotonic() + PATIENCE_S
        while self.descriptors() > self.idle and time.monotonic() < end:
            time.sleep(0.01)
        folder = f"/proc/{self.daemon.pid}"
        with open(f"{folder}/maps", encoding="utf-8") as file:
            mappings = len(file.readlines())
        with open(f"{folder}/status", encoding="utf-8") as file:
            memory = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        return {"descriptors": self.descriptors(), "mappings": mappings,
                "rss_kib": memory}

    def end(self):
        self.over.set()
        self.daemon.terminate()
        require(self.daemon.wait(timeout=PATIENCE_S) == 0, "its exit status is not 0")
        self.daemon.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("yamanoted")
    parser.add_argument("--registrations", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=None, help="a new one if left out")
    parser.add_argument("--sanitized", action="store_true",
                        help="its allocator keeps memory; only descriptors are compared")
    arguments = parser.parse_args()
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(arguments.yamanoted, folder, seed)
        try:
            # All that is allocated once is.
            soak.run(min(500, arguments.registrations))
            before = soak.footprint()
            begin = time.monotonic()
            soak.run(arguments.registrations)
            took = time.monotonic() - begin
            after = soak.footprint()
            print(f"{arguments.registrations} in {took:.1f} s, {soak.welcomes} welcome, "
                  f"{soak.refusals} refused; before {before}, after {after}", flush=True)
            require(soak.welcomes > arguments.registrations / 4, "few were welcome")
            require(after["descriptors"] == before["descriptors"], "descriptors are left")
            if not arguments.sanitized:
                require(after["mappings"] <= before["mappings"] + 2, "mappings are left")
                require(after["rss_kib"] <= before["rss_kib"] + SLACK_KIB, "memory is left")
            soak.end()
        finally:
            if soak.daemon.poll() is None:
                soak.daemon.kill()
                soak.daemon.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
