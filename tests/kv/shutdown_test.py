"""shutdown_test.py - SIGTERM under load: every request that had arrived is answered.

  shutdown_test.py build/dev/bin/yamanote [ROUNDS]

Connections send batches of pipelined gets, and others connect anew for each request,
while the server gets SIGTERM. A request had arrived if the kernel says that the
server's side has all its bytes (SIOCOUTQ is 0) before the signal is sent. Each of
those must be answered, with its value or with the protocol's refusal; what came later
may go without, but then the stream must end in order and not by a reset.
"""

import fcntl
import random
import select
import socket
import struct
import sys
import termios
import threading

from servers import Failure, Server, exchange, require

VALUE = b"VALUE k 0 1\r\nv\r\nEND\r\n"
REFUSAL = b"SERVER_ERROR shutting down\r\n"


def has_arrived(connection):
    """Waits until the server's side has everything that was sent. False after a reset."""
    error = select.poll()
    error.register(connection, 0)
    while not error.poll(0):
        queued = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, b"\0" * 4))[0]
        if queued == 0:
            return True
    return False


class Load:
    def __init__(self, port):
        self.port = port
        self.signalled = threading.Event()
        self.warm = threading.Barrier(13)
        self.lock = threading.Lock()
        self.counts = dict.fromkeys(
            ("sent", "owed", "values", "refused", "unanswered", "connections"), 0)
        self.problems = []

    def add(self, **counts):
        with self.lock:
            for name, count in counts.items():
                self.counts[name] += count

    def problem(self, words):
        with self.lock:
            self.problems.append(words)

    def receive(self, connection, wanted):
        """Returns (values, refusals, ended) of `wanted` answers at most."""
        answer, values, refused = b"", 0, 0
        while values + refused < wanted:
            data = connection.recv(1 << 16)
            if not data:
                if answer:
                    self.problem(f"half an answer: {answer!r}")
                return values, refused, True
            answer += data
            while True:
                if answer.startswith(VALUE) and refused == 0:
                    answer, values = answer[len(VALUE):], values + 1
                elif answer.startswith(REFUSAL):
                    answer, refused = answer[len(REFUSAL):], refused + 1
                else:
                    break
        return values, refused, False

    def batches(self, size):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            ended, first = False, True
            while not ended:
                try:
                    connection.sendall(b"get k\r\n" * size)
                    owed = size if has_arrived(connection) and not self.signalled.is_set() else 0
                    values, refused, ended = self.receive(connection, size)
                except OSError as error:
                    return self.problem(f"a stream that did not end in order: {error}")
                if values + refused < owed:
                    self.problem(f"{owed} requests had arrived, {values + refused} answered")
                self.add(sent=size, owed=owed, values=values, refused=refused,
                         unanswered=size - values - refused)
                if first:
                    self.warm.wait(30)
                first = False

    def connections(self):
        first = True
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
            except OSError:
                return
            owed, values, refused = 0, 0, 0
            with connection:
                try:
                    connection.sendall(b"get k\r\n")
                    owed = int(has_arrived(connection) and not self.signalled.is_set())
                    values, refused, _ = self.receive(connection, 1)
                except OSError as error:
                    if owed:
                        self.problem(f"a new connection that was owed an answer: {error}")
            if values + refused < owed:
                self.problem("a new connection's request had arrived and was not answered")
            self.add(sent=1, owed=owed, values=values, refused=refused,
                     unanswered=1 - values - refused, connections=1)
            if first:
                self.warm.wait(30)
            first = False


def one_round(yamanote, preset, seed):
    chance = random.Random(seed)
    with Server(yamanote, preset) as server:
        require(exchange(server.port, b"set k 0 0 1\r\nv\r\n") == b"STORED\r\n", "a set")
        load = Load(server.port)
        threads = [threading.Thread(target=load.batches, args=(chance.choice([1, 7, 100]),))
                   for _ in range(10)]
        threads += [threading.Thread(target=load.connections) for _ in range(2)]
        for thread in threads:
            thread.start()
        load.warm.wait(30)
        load.signalled.set()
        server.stop()
        for thread in threads:
            thread.join(60)
            require(not thread.is_alive(), "a client is stuck")
    require(not load.problems, f"seed {seed}, {preset}: {load.problems[:5]}")
    return load.counts


def main():
    yamanote = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 6
    first = random.randrange(1 << 30)
    total = {}
    try:
        for i in range(rounds):
            preset = ("yamanote", "zygos", "ix")[i % 3]
            for name, count in one_round(yamanote, preset, first + i).items():
                total[name] = total.get(name, 0) + count
    except Failure as failure:
        sys.exit(f"shutdown_test: {failure}")
    print(f"{rounds} rounds: " + ", ".join(f"{count} {name}" for name, count in total.items()))


if __name__ == "__main__":
    main()
