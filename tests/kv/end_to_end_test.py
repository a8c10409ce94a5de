"""end_to_end_test.py - real clients against `yamanote serve kv`.

  end_to_end_test.py --yamanote build/dev/bin/yamanote --preset zygos

memcached's own conformance and load programs, a Python client that knows nothing
of us, memcached itself to compare with, and clients that misbehave. Every check
runs against one server, so that what one leaves behind meets the next.
"""

import argparse
import random
import socket
import struct
import subprocess
import sys
import threading

import cases
from servers import Failure, Server, exchange, memcached, require, tool


def check_memccapable(server):
    """memcached's conformance test, its ASCII part."""
    program = tool("memccapable", "libmemcached-tools")
    run = subprocess.run([program, "-a", "-h", "127.0.0.1", "-p", str(server.port)],
                         capture_output=True, text=True, timeout=60, check=False)
    require(run.returncode == 0 and "All tests passed" in run.stdout,
            f"memccapable: status {run.returncode}\n{run.stdout}{run.stderr}")


def check_memcslap(server):
    """libmemcached's load, bounded: 4 threads, 500 sets or gets each."""
    program = tool("memcslap", "libmemcached-tools")
    for test in ("set", "get"):
        run = subprocess.run(
            [program, f"--servers=127.0.0.1:{server.port}", "--concurrency=4",
             "--execute-number=500", "--initial-load=500", f"--test={test}"],
            capture_output=True, text=True, timeout=60, check=False)
        require(run.returncode == 0 and "Time total" in run.stdout,
                f"memcslap {test}: status {run.returncode}\n{run.stdout}{run.stderr}")
        errors = [line for line in run.stderr.splitlines() if "error" in line.lower()]
        require(not errors, f"memcslap {test}: {errors[:5]}")


def check_python_client(server):
    """pymemcache, unchanged, through most of its interface."""
    try:
        from pymemcache.client.base import Client
        from pymemcache.exceptions import MemcacheServerError
    except ImportError as error:
        raise Failure(f"{error}; install the Debian package python3-pymemcache and run this "
                      "with /usr/bin/python3") from error
    client = Client(("127.0.0.1", server.port), connect_timeout=20, timeout=20)
    require(client.set("name", "value", noreply=False), "set")
    require(client.get("name") == b"value", "get")
    require(not client.add("name", "other", noreply=False), "add of what is there")
    require(client.append("name", "+", noreply=False), "append")
    require(client.prepend("name", "-", noreply=False), "prepend")
    value, cas = client.gets("name")
    require(value == b"-value+", f"gets: {value}")
    require(client.cas("name", "new", cas), "cas")
    require(client.cas("name", "late", cas) is False, "cas that comes late")
    require(client.replace("name", "9", noreply=False), "replace")
    require(client.incr("name", 1) == 10, "incr")
    require(client.decr("name", 3) == 7, "decr")
    require(client.touch("name", 100, noreply=False), "touch")
    require(client.delete("name", noreply=False), "delete")
    require(client.get("name") is None, "get of what was deleted")
    client.set("gone", "x", expire=-1)
    require(client.get("gone") is None, "get of what has expired")
    many = {f"many:{i}": b"v" * i for i in range(700)}
    require(client.set_many(many, noreply=False) == [], "set_many")
    require(client.get_many(list(many)) == many, "get_many of 700 keys")
    large = random.Random(1).randbytes(1 << 20)
    require(client.set("large", large, noreply=False), "set of 1 MiB")
    require(client.get("large") == large, "get of 1 MiB")
    try:
        client.set("large", large + b"x", noreply=False)
        raise Failure("1 MiB and a byte were stored")
    except MemcacheServerError:
        pass
    require(client.get("large") is None, "the value that should have been replaced is there")
    stats = client.stats()
    require(stats[b"curr_items"] > 0 and stats[b"get_hits"] > 0, "stats count nothing")
    require(client.version().startswith(b"1.6"), "version")
    require(client.flush_all(noreply=False), "flush_all")
    require(client.get_many(list(many)) == {}, "keys after flush_all")
    client.close()


def check_same_as_memcached(server):
    """Every stream of cases.py gets the same answers from both."""
    exchange(server.port, b"flush_all\r\n")
    with memcached() as port:
        for stream in cases.STREAMS:
            expected = exchange(port, stream)
            answered = exchange(server.port, stream)
            require(answered == expected,
                    f"sent:      {stream[:300]!r}\nmemcached: {expected[:600]!r}\n"
                    f"yamanote:  {answered[:600]!r}")
        for body in cases.DATAGRAMS:
            expected = ask_udp(port, body)
            answered = ask_udp(server.port, body)
            require(answered == expected, f"over UDP, sent: {body!r}\nmemcached: {expected!r}\n"
                                          f"yamanote:  {answered!r}")


def udp_socket(port):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    return client


def ask_udp(port, body, request=7):
    """Returns the body of the answer, put together from its datagrams."""
    with udp_socket(port) as client:
        client.send(struct.pack(">HHHH", request, 0, 1, 0) + body)
        parts = {}
        while True:
            datagram = client.recv(65536)
            number, sequence, total, _ = struct.unpack(">HHHH", datagram[:8])
            require(number == request, f"the answer is to {number}, not to {request}")
            require(len(datagram) <= 1400, f"a datagram of {len(datagram)} bytes")
            parts[sequence] = datagram[8:]
            if len(parts) == total:
                return b"".join(parts[i] for i in range(total))


def check_udp(server):
    """Answers of several datagrams; what has no header is dropped, nothing else."""
    value = random.Random(2).randbytes(20000).hex().encode()
    exchange(server.port, b"set udp 0 0 %d\r\n" % len(value) + value + b"\r\n")
    answer = ask_udp(server.port, b"get udp\r\n")
    require(answer == b"VALUE udp 0 %d\r\n" % len(value) + value + b"\r\nEND\r\n",
            "a value in several datagrams came back changed")
    with udp_socket(server.port) as client:
        client.send(b"short")
        client.send(struct.pack(">HHHH", 9, 0, 2, 0) + b"get udp\r\n")
        answer = client.recv(65536)
        require(answer[:2] == b"\0\x09" and answer[8:].startswith(b"SERVER_ERROR multi-packet"),
                f"to a request in two datagrams: {answer!r}")
    require(ask_udp(server.port, b"set udp 0 0 1 noreply\r\n1\r\nget udp\r\n") ==
            b"VALUE udp 0 1\r\n1\r\nEND\r\n", "two commands in a datagram")


def check_bad_clients(server):
    """Slow, hasty, half-closed, truncated and vanishing clients disturb nobody."""
    value = b"v" * 1000
    exchange(server.port, b"".join(b"set b%d 0 0 1000\r\n" % i + value + b"\r\n"
                                   for i in range(200)))
    keys = b"get " + b" ".join(b"b%d" % i for i in range(200)) + b"\r\n"
    whole = exchange(server.port, keys)
    require(whole.count(b"VALUE ") == 200, "keys of the test are missing")

    # One byte at a time.
    stream = b"set slow 0 0 4\r\nabcd\r\nget slow\r\nms slow 1\r\nx\r\nversion\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in stream:
            slow.send(bytes([byte]))
        answer = b""
        while not answer.endswith(b"\r\n") or b"VERSION" not in answer:
            answer += slow.recv(4096)
        require(answer.startswith(b"STORED\r\nVALUE slow 0 4\r\nabcd\r\nEND\r\nHD\r\nVERSION"),
                f"byte by byte: {answer!r}")

    # A thousand requests at once, answered in order.
    pipeline = b"".join(b"set p%d 0 0 1\r\n%d\r\nget p%d\r\n" % (i, i % 10, i)
                        for i in range(1000))
    expected = b"".join(b"STORED\r\nVALUE p%d 0 1\r\n%d\r\nEND\r\n" % (i, i % 10)
                        for i in range(1000))
    require(exchange(server.port, pipeline) == expected, "a pipeline's answers are out of order")

    # Half-closed: what was asked is answered.
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as half:
        half.sendall(keys)
        half.shutdown(socket.SHUT_WR)
        answer = b""
        while data := half.recv(1 << 16):
            answer += data
        require(answer == whole, "a half-closed connection got another answer")

    # Truncated, then gone; and gone without reading the answer.
    for garbage in (b"set t 0 0 100\r\nabc", b"get", keys * 20, b"\0\xff" * 3000):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as rude:
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            rude.sendall(garbage)

    # A line without an end is refused, and the connection closed.
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as endless:
        endless.sendall(b"x" * 3000)
        answer = b""
        while data := endless.recv(4096):
            answer += data
        require(answer.startswith(b"CLIENT_ERROR "), f"to an endless line: {answer!r}")

    require(exchange(server.port, keys) == whole, "others got another answer afterwards")


def check_overload(yamanote, preset):
    """One request at a time is admitted; the rest is refused, in order, in step."""
    value = b"x" * 1000
    stream = b"".join(b"set k%d 0 0 1000\r\n%s\r\nget k%d\r\n" % (i, value, i)
                      for i in range(300)) + b"quit\r\n"
    answers = []

    def client(port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            sender = threading.Thread(target=connection.sendall, args=(stream,))
            sender.start()
            answer = b""
            while data := connection.recv(1 << 16):
                answer += data
            sender.join()
        lines = answer.replace(value + b"\r\n", b"").split(b"\r\n")[:-1]
        answers.append([line for line in lines if not line.startswith(b"VALUE k")])

    with Server(yamanote, preset, "--class", "short:limit=1") as server:
        clients = [threading.Thread(target=client, args=(server.port,)) for _ in range(16)]
        for each in clients:
            each.start()
        for each in clients:
            each.join()
    require(len(answers) == 16, f"{16 - len(answers)} of 16 clients got no answers")
    known = {b"STORED", b"END", b"SERVER_ERROR out of capacity"}
    for lines in answers:
        require(len(lines) == 600, f"600 requests, {len(lines)} answers")
        require(set(lines) <= known, f"answers {set(lines) - known}")


CHECKS = [check_memccapable, check_memcslap, check_python_client, check_same_as_memcached,
          check_udp, check_bad_clients]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--yamanote", required=True, help="the program")
    parser.add_argument("--preset", required=True, help="the scheduler")
    arguments = parser.parse_args()
    try:
        with Server(arguments.yamanote, arguments.preset) as server:
            for check in CHECKS:
                try:
                    check(server)
                except OSError as error:
                    raise Failure(f"{error!r}") from error
                except Failure as failure:
                    raise Failure(f"{check.__name__}: {failure}") from None
                print(f"{check.__name__}: passed", flush=True)
        check_overload(arguments.yamanote, arguments.preset)
        print("check_overload: passed", flush=True)
    except Failure as failure:
        print(f"preset {arguments.preset}: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
