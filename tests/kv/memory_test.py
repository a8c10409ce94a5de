"""memory_test.py - clients that ask for much and take nothing, against `serve kv`.

Two hundred connections ask for 7 MiB each and read nothing, as many send a set of
1 MiB and leave it unfinished. The server's memory stays within its budget, small
requests go on, who is refused is told so in memcached's words, and what was taken is
given back.
"""

import contextlib
import re
import resource
import socket
import sys
import time

from servers import Failure, Server, exchange, require

# A sanitizer maps and unmaps each large buffer: ten times as slow.
CLIENTS, BUDGET = (200, 64 << 20) if len(sys.argv) < 3 else (60, 32 << 20)
VALUE = b"v" * 900_000
KEYS = 8
LARGE_GET = b"get " + b" ".join(b"large:%d" % i for i in range(KEYS)) + b"\r\n"
REFUSED = b"SERVER_ERROR out of memory writing get response\r\n"
# Items, buffers of up to 64 KiB each way, stacks, and the program itself.
REST = (64 << 20) + 2 * CLIENTS * (128 << 10) + (100 << 20)


def peak_bytes(process):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s*(\d+) kB", status.read())[1]) * 1024


def connect(server):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    return connection


def check_small_requests(server):
    answer = exchange(server.port, b"set small 0 0 1\r\ns\r\nget small\r\n")
    require(answer == b"STORED\r\nVALUE small 0 1\r\ns\r\nEND\r\n", f"a small get: {answer!r}")


def stat(server, name):
    found = re.search(rb"STAT %s (\d+)\r\n" % name, exchange(server.port, b"stats\r\n"))
    return int(found[1])


def read_answer(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    answer = b""
    while not answer.endswith((b"END\r\n", b"response\r\n")):
        data = connection.recv(1 << 20)
        require(data, f"closed after {len(answer)} bytes")
        answer += data
    return answer


def check_readers_that_take_nothing(server):
    whole = b"".join(b"VALUE large:%d 0 %d\r\n%s\r\n" % (i, len(VALUE), VALUE)
                     for i in range(KEYS)) + b"END\r\n"
    with contextlib.ExitStack() as held:
        clients = [held.enter_context(connect(server)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(LARGE_GET)
        # A get that is refused ends early: one key of each is counted.
        deadline = time.monotonic() + 60
        while stat(server, b"cmd_get") < CLIENTS:
            require(time.monotonic() < deadline, "the large gets do not run")
        check_small_requests(server)
        answers = [read_answer(client) for client in clients]
    given = sum(answer == whole for answer in answers)
    refused = sum(answer == REFUSED for answer in answers)
    require(given + refused == CLIENTS, f"{given} whole answers, {refused} refusals")
    require(given > 0 and refused > 0, f"{given} whole answers, {refused} refusals")
    return given, refused


def check_unfinished_sets(server):
    start = b"set unfinished 0 0 1000000\r\n" + b"x" * 990_000
    with contextlib.ExitStack() as held:
        clients = [held.enter_context(connect(server)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(start)
        check_small_requests(server)
        for client in clients:
            client.sendall(b"x" * 10_000 + b"\r\nget none\r\n")
        answers = [read_answer(client) for client in clients]
    # The store may be full too, of values that are being replaced.
    stored = sum(answer in (b"STORED\r\nEND\r\n",
                            b"SERVER_ERROR out of memory storing object\r\nEND\r\n")
                 for answer in answers)
    refused = sum(answer == b"SERVER_ERROR out of capacity\r\nEND\r\n" for answer in answers)
    require(stored + refused == CLIENTS, f"{stored} taken in, {refused} refused")
    require(stored > 0 and refused > 0, f"{stored} taken in, {refused} refused")
    return stored, refused


def main():
    yamanote = sys.argv[1]
    try:
        with Server(yamanote, "yamanote", "--max-buffer-bytes", f"{BUDGET >> 20}MiB") as server:
            for i in range(KEYS):
                answer = exchange(server.port,
                                  b"set large:%d 0 0 %d\r\n%s\r\n" % (i, len(VALUE), VALUE))
                require(answer == b"STORED\r\n", f"a large set: {answer!r}")
            print("gets of 7 MiB: %d answered, %d refused" %
                  check_readers_that_take_nothing(server))
            print("sets of 1 MB: %d taken in, %d refused" % check_unfinished_sets(server))
            # Given back: a large one gets through again.
            with connect(server) as client:
                client.sendall(LARGE_GET)
                require(read_answer(client).endswith(b"END\r\n"), "a large get afterwards")
            peak = peak_bytes(server.process)
            print(f"peak {peak >> 20} MiB, limit {(BUDGET + REST) >> 20} MiB")
            if len(sys.argv) < 3:  # A sanitizer's own memory says nothing.
                require(peak <= BUDGET + REST, f"the server took {peak >> 20} MiB")
    except Failure as failure:
        sys.exit(f"memory_test: {failure}")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    main()
