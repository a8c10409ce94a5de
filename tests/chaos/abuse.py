"""abuse.py - what bad clients do to a memcached server, each bounded in size and time.

Every function of ALL takes a Victim and a random.Random, does its worst and raises
Failure if the server's answer to it is wrong. To add one: a function, and its name
in ALL. A hundredth of a second to one second each. The others may hold every
connection that the server has room for: who needs answers begins with admitted().
"""

import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field

TIMEOUT = 20  # Seconds; only a server that is stuck takes so long.
VALUE = b"v" * 1000
KEYS = 100  # Keys pool:0 .. pool:99 hold VALUE, and nothing here changes them.
MANY_KEYS = b"get " + b" ".join(b"pool:%d" % i for i in range(KEYS)) + b"\r\n"


class Failure(Exception):
    """What the server did wrong, in words."""


class TurnedAway(Exception):
    """The server has no room for a further connection, and said so or closed it."""


@dataclass
class Victim:
    port: int
    pid: int
    held: list = field(default_factory=list)  # Sockets that stay open to the end.
    turned_away: list = field(default_factory=list)  # How admitted() was refused, each time.


def require(holds, words):
    if not holds:
        raise Failure(words)


def connect(victim):
    return socket.create_connection(("127.0.0.1", victim.port), timeout=TIMEOUT)


def admitted(victim):
    """Returns a connection that the server has begun to serve, or raises TurnedAway."""
    connection = connect(victim)
    answer = b""
    try:
        connection.sendall(b"version\r\n")
        while not answer.endswith(b"\r\n") and (data := connection.recv(100)):
            answer += data
    except ConnectionError:
        pass
    if answer.startswith(b"VERSION "):
        return connection
    connection.close()
    require(answer in (b"", b"SERVER_ERROR out of capacity\r\n"), f"to a newcomer: {answer!r}")
    victim.turned_away.append(answer)
    raise TurnedAway


def reset(connection):
    """Closes with a reset: whatever is under way is lost on the way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def send(connection, data):
    """Sends what the server takes. It may close at once: that is its right."""
    try:
        connection.sendall(data)
        return True
    except OSError:
        return False


def read_all(connection):
    """Returns everything up to the end, or up to a reset."""
    answer = b""
    try:
        while data := connection.recv(1 << 16):
            answer += data
    except ConnectionError:
        pass
    return answer


def ask(connection, request, end):
    """Returns the answer to `request`, which ends with `end`."""
    answer = b""
    try:
        connection.sendall(request)
        while not answer.endswith(end) and (data := connection.recv(1 << 16)):
            answer += data
    except ConnectionError:
        pass
    require(answer.endswith(end), f"closed after {request[:100]!r}, answer {answer[-200:]!r}")
    return answer


def ask_and_end(connection, stream):
    """Returns the answers to `stream`, after which nothing is sent."""
    try:
        connection.sendall(stream)
        connection.shutdown(socket.SHUT_WR)
    except OSError as error:
        raise Failure(f"closed while {stream[:100]!r} was sent: {error}") from error
    return read_all(connection)


def some_key(random):
    return b"bad:%d" % random.randrange(50)


def some_command(random):
    """A command that is right, for streams that go wrong elsewhere."""
    key = some_key(random)
    value = b"x" * random.choice([0, 1, 100, 5000])
    return random.choice([
        b"get " + key + b"\r\n",
        b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value),
        b"append %s 0 0 1 noreply\r\nx\r\n" % key,
        b"ms %s %d T60 c\r\n%s\r\n" % (key, len(value), value),
        b"mg %s v t f c k O1\r\n" % key,
        b"incr %s 1\r\n" % key, b"delete %s noreply\r\n" % key, b"touch %s -1\r\n" % key,
        b"mn\r\n", MANY_KEYS])


def garbage(victim, random):
    """Random bytes, some of them line ends, then an end or a reset."""
    with connect(victim) as connection:
        data = bytearray(random.randbytes(random.choice([1, 100, 3000, 200_000])))
        for _ in range(random.randrange(len(data) // 10 + 1)):
            data[random.randrange(len(data))] = random.choice(b"\r\n \0")
        send(connection, data)
        if random.random() < 0.5:
            return reset(connection)
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return  # Reset already: that is its right.
        read_all(connection)


def truncated(victim, random):
    """A good stream that ends anywhere, the answers unread."""
    stream = b"".join(some_command(random) for _ in range(20))
    with connect(victim) as connection:
        send(connection, stream[:random.randrange(len(stream))])
        if random.random() < 0.5:
            reset(connection)


def mutated(victim, random):
    """A good stream with a few bytes changed."""
    stream = bytearray(b"".join(some_command(random) for _ in range(20)))
    for _ in range(random.randrange(1, 10)):
        stream[random.randrange(len(stream))] = random.randrange(256)
    if b"flush" in stream:
        return
    with connect(victim) as connection:
        connection.settimeout(0.2)
        send(connection, bytes(stream))
        try:
            connection.shutdown(socket.SHUT_WR)
            read_all(connection)
        except OSError:
            pass


def slow(victim, random):
    """Connections that began a request and never go on."""
    for _ in range(20):
        connection = connect(victim)
        send(connection, random.choice([b"g", b"get ", b"set slow 0 0 100000\r\nx",
                                        b"ms slow 5 b", b"\r"]))
        victim.held.append(connection)


def never_reads(victim, random):
    """Asks for megabytes and takes none of them."""
    for _ in range(random.randrange(1, 5)):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", victim.port))
        connection.setblocking(False)
        try:
            connection.send(MANY_KEYS * 100)
        except BlockingIOError:
            pass
        victim.held.append(connection)


def connection_storm(victim, random):
    """Hundreds of connections that end at once, in every way."""
    for _ in range(200):
        connection = connect(victim)
        how = random.randrange(4)
        if how == 0:
            send(connection, MANY_KEYS)
        elif how == 1:
            send(connection, b"\xff")
        reset(connection) if how % 2 == 0 else connection.close()


def pipeline(victim, random):
    """Thousands of requests before the first answer is read, then half-closed."""
    count = random.choice([100, 2000])
    key = b"pipe:%d" % random.randrange(1 << 32)
    stream = b"set %s 0 0 1\r\n0\r\n" % key + b"incr %s 1\r\n" % key * count
    expected = b"STORED\r\n" + b"".join(b"%d\r\n" % (i + 1) for i in range(count))
    with admitted(victim) as connection:
        answer = ask_and_end(connection, stream)
    require(answer == expected, f"pipeline of {count}: {len(answer)} bytes of answers, "
                                f"{len(expected)} expected; the last: {answer[-100:]!r}")


def wild_numbers(victim, random):
    """Sizes, times and flags at and beyond the ends of every integer."""
    numbers = [str(sign * (1 << bits) + off).encode() for bits in (7, 15, 16, 31, 32, 63, 64, 65)
               for off in (-1, 0, 1) for sign in (1, -1)] + [b"1e3", b"0x10", b"-0", b"+1", b""]
    n = lambda: random.choice(numbers)
    for _ in range(20):
        line = random.choice([
            lambda: b"set wild %s %s %s" % (n(), n(), n()),
            lambda: b"cas wild 0 0 %s %s" % (n(), n()),
            lambda: b"ms wild %s T%s F%s C%s" % (n(), n(), n(), n()),
            lambda: b"ma wild N%s J%s D%s" % (n(), n(), n()),
            lambda: b"incr wild " + n(), lambda: b"touch wild " + n(),
            lambda: b"gat %s wild" % n(), lambda: b"verbosity " + n(),
            lambda: b"mg wild N%s R%s T%s v" % (n(), n(), n())])()
        with admitted(victim) as connection:
            answer = ask_and_end(connection, line + b"\r\n")
            require(answer.endswith(b"\r\n") or not answer, f"to {line!r}: {answer[-100:]!r}")


def too_large(victim, random):
    """A value over the limit is refused, and the stream stays in step."""
    size = (1 << 20) + random.randrange(1, 100_000)
    with admitted(victim) as connection:
        answer = ask(connection, b"set huge 0 0 %d\r\n" % size + b"h" * size +
                     b"\r\nversion\r\n", b"yamanote\r\n")
    require(answer.startswith(b"SERVER_ERROR object too large for cache\r\nVERSION"),
            f"to a value of {size} bytes: {answer[:200]!r}")


def pressure(victim, random):
    """Values of a megabyte, one after another, while slow readers hold some of them."""
    value = b"p" * (1 << 20)
    with admitted(victim) as writer:
        for i in range(3):
            answer = ask(writer, b"set big:%d 0 0 %d\r\n%s\r\n" % (i, len(value), value), b"\r\n")
            require(answer == b"STORED\r\n" or answer.startswith(b"SERVER_ERROR out of memory"),
                    f"to a megabyte: {answer!r}")
    reader = connect(victim)
    send(reader, b"get big:0 big:1 big:2 big:0 big:1 big:2\r\n" * 3)
    victim.held.append(reader)


def cas_race(victim, random):
    """Of two that compare and swap the same version exactly one wins."""
    key = b"race:%d" % random.randrange(1 << 32)
    with admitted(victim) as one, admitted(victim) as two:
        ask(one, b"set %s 0 0 1\r\n0\r\n" % key, b"STORED\r\n")
        for _ in range(30):
            version = ask(one, b"gets %s\r\n" % key, b"END\r\n").split()[4]
            swap = b"cas %s 0 0 1 %s\r\n1\r\n" % (key, version)
            one.sendall(swap)
            answers = sorted([ask(two, swap, b"\r\n"), ask(one, b"", b"\r\n")])
            require(answers == [b"EXISTS\r\n", b"STORED\r\n"], f"two cas: {answers}")


def meta_abuse(victim, random):
    """Meta commands with every flag there is, twice, and some that are not."""
    stream = b"set meta:1 0 0 1\r\nx\r\n"  # Not of the pool: T-1 ends an item's life.
    for _ in range(100):
        flags = b" ".join(bytes([random.choice(b"bcfhklstvqxEIMNORTCDJ0\x01\xff")]) +
                          random.choice([b"", b"1", b"-1", b"99999999999", b"S", b"x" * 40])
                          for _ in range(random.randrange(25)))
        key = random.choice([b"meta:1", b"bad:1", b"a" * 251, b"bad", b"YmFk", b"!!", b"\x80\x01"])
        stream += random.choice([b"mg %s %s\r\n", b"md bad:1 %.0s%s\r\n", b"ma %.0sm %s\r\n",
                                 b"me %s %s\r\n", b"ms %.0sm 2 %s\r\nab\r\n"]) % (key, flags)
    with admitted(victim) as connection:
        answer = ask_and_end(connection, stream + b"mn\r\nversion\r\n")
    require(answer.endswith(b"yamanote\r\n"), f"out of step after meta commands: {answer[-200:]!r}")


def noreply_abuse(victim, random):
    """Thousands of commands that want no answer, right and wrong ones."""
    lines = [b"set quiet 0 0 1 noreply\r\nq\r\n", b"incr quiet x noreply\r\n",
             b"delete none noreply\r\n", b"touch quiet 0 noreply\r\n", b"ms quiet 1 q\r\nq\r\n",
             b"verbosity 1 noreply\r\n", b"mg none q\r\n"]
    with admitted(victim) as connection:
        answer = ask(connection, b"".join(random.choices(lines, k=3000)) + b"version\r\n",
                     b"yamanote\r\n")
    require(answer.count(b"\r\n") == 1, f"answers to noreply: {answer[:200]!r}")


def udp_storm(victim, random):
    """Datagrams of every size, few of them requests."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        for _ in range(500):
            size = random.choice([0, 1, 7, 8, 9, 100, 1400, 2048, 2049, 9000, 65507])
            head = struct.pack(">HHHH", random.randrange(1 << 16), random.randrange(2),
                               random.choice([0, 1, 1, 1, 2, 65535]), random.randrange(2))
            body = random.choice([MANY_KEYS * 5, b"set u 0 0 60000\r\n", random.randbytes(size)])
            try:
                client.sendto((head + body)[:size], ("127.0.0.1", victim.port))
            except BlockingIOError:
                pass


_BLAST = """
import socket, sys
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("on", flush=True)
while True:
    c.sendall(sys.argv[2].encode() * 50)
"""


def killed_client(victim, random):
    """A client that dies, by SIGKILL, in the middle of what it sends."""
    with subprocess.Popen([sys.executable, "-c", _BLAST, str(victim.port),
                           some_command(random).decode()], stdout=subprocess.PIPE) as client:
        client.stdout.readline()
        time.sleep(random.uniform(0, 0.05))  # Chooses where it dies, waits for nothing.
        client.kill()


def stopped(victim, random):
    """The server stands still for a moment, and goes on."""
    os.kill(victim.pid, signal.SIGSTOP)
    time.sleep(random.uniform(0, 0.1))
    os.kill(victim.pid, signal.SIGCONT)


def moved(victim, random):
    """All its threads are sent to one CPU, and back."""
    usable = sorted(os.sched_getaffinity(0))
    for cpus in ({random.choice(usable)}, set(usable)):
        for thread in os.listdir(f"/proc/{victim.pid}/task"):
            try:
                os.sched_setaffinity(int(thread), cpus)
            except ProcessLookupError:
                pass
        time.sleep(random.uniform(0, 0.05))


def starved_of_files(victim, random):
    """No further descriptor for a moment: clients are dropped, none waits for ever."""
    limits = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir(f"/proc/{victim.pid}/fd"))) + 1
    try:
        resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
        connections = [connect(victim) for _ in range(60)]
        for connection in connections:
            connection.setblocking(False)
            send(connection, b"version\r\n")
    finally:
        resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, limits)
    # Now there is room again: whoever is still connected is answered.
    for connection in connections:
        connection.settimeout(TIMEOUT)
        try:
            data = connection.recv(100)
        except ConnectionError:
            data = b""
        require(not data or data.startswith((b"VERSION", b"SERVER_ERROR out of capacity")),
                f"a client among the starved got {data!r}")
        connection.close()


ALL = [garbage, truncated, mutated, slow, never_reads, connection_storm, pipeline, wild_numbers,
       too_large, pressure, cas_race, meta_abuse, noreply_abuse, udp_storm, killed_client,
       stopped, moved, starved_of_files]
