"""chaos_test.py - `yamanote serve kv` under abuse, while one client behaves.

  chaos_test.py --yamanote build/dev/bin/yamanote [--preset zygos] [--seed 7] [--acts 30]

The seed decides what is done (abuse.py) and in which order; how it interleaves is
up to the machine. The client that behaves has every answer checked, byte by byte.
At the end the server must answer, drain and exit with status 0.
"""

import argparse
import json
import os
import random
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

import abuse
from abuse import Failure, TurnedAway, Victim, ask, connect, require

# A new seed tries two of the presets, so that in time all of them are met.
PRESETS = ["ix", "zygos", "shinjuku", "shinjuku-mq", "concord", "tq", "shenango",
           "caladan", "skyloft-rr", "skyloft-cfs", "skyloft-eevdf", "persephone", "yamanote"]
ACTORS = 3            # Kinds of abuse at a time.
PRESET_SECONDS = 8.0  # Then no further abuse begins.


class Behaved(threading.Thread):
    """Does what clients do, and knows the answer to everything it asks."""

    def __init__(self, victim, seed):
        super().__init__()
        self.victim, self.random = victim, random.Random(seed)
        self.connected, self.over = threading.Event(), threading.Event()
        self.failure, self.requests, self.slowest = None, 0, 0.0

    def run(self):
        try:
            with connect(self.victim) as connection:
                self.exchange(connection)
                self.connected.set()
                while not self.over.is_set():
                    self.exchange(connection)
        except Exception as error:  # pylint: disable=broad-except
            self.failure = f"the client that behaves, after {self.requests} requests: {error!r}"
            self.connected.set()

    def exchange(self, connection):
        key = b"good:%d" % self.random.randrange(1000)
        value = self.random.randbytes(self.random.choice([1, 30, 1000, 20_000])).hex().encode()
        item = b"VALUE %s 5 %d\r\n%s\r\nEND\r\n" % (key, len(value), value)
        keys = b" ".join(b"pool:%d" % i for i in range(abuse.KEYS))
        pool = b"".join(b"VALUE pool:%d 0 %d\r\n%s\r\n" % (i, len(abuse.VALUE), abuse.VALUE)
                        for i in range(abuse.KEYS)) + b"END\r\n"
        for request, answer in [
                (b"set %s 5 0 %d\r\n%s\r\n" % (key, len(value), value), b"STORED\r\n"),
                (b"get %s\r\n" % key, item),
                (b"mg %s s f\r\n" % key, b"HD s%d f5\r\n" % len(value)),
                (b"get %s\r\nget %s\r\n" % (key, key), item + item),
                (b"get %s\r\n" % keys, pool),
                (b"delete %s\r\nget %s\r\n" % (key, key), b"DELETED\r\nEND\r\n")]:
            start = time.monotonic()
            connection.sendall(request)
            answered = b""
            while len(answered) < len(answer):
                try:
                    data = connection.recv(1 << 16)
                except TimeoutError:
                    data = None
                require(data is not None, f"asked {request[:100]!r}, waited in vain after "
                                          f"{len(answered)} of {len(answer)} bytes: "
                                          f"{answered[:200]!r}")
                require(data, f"closed after {request[:100]!r}")
                answered += data
            require(answered == answer, f"asked {request[:100]!r}, expected {answer[:200]!r}, "
                                        f"got {answered[:200]!r}")
            self.slowest = max(self.slowest, time.monotonic() - start)
            self.requests += 1


class Server:
    """A running `yamanote serve kv`, with few connections.

    Its memory has room for all that is stored and held here, however the keys fall
    onto the shards: nothing is evicted, so nothing may be missing. Being short of
    memory is what tests/kv/memory_test.py is about.
    """

    def __init__(self, yamanote, preset):
        # UBSan's vptr check opens a pipe to see whether memory is readable, and calls
        # good objects bad when the abuse takes all descriptors.
        suppressions = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ubsan.supp")
        self.process = subprocess.Popen(
            [yamanote, "serve", "kv", "--preset", preset, "--listen", "127.0.0.1:0", "--json",
             "--protocol", "both", "--workers", "2", "--max-connections", "300",
             "--kv-memory-limit", "1GiB", "--drain-timeout", "1s"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=dict(os.environ, UBSAN_OPTIONS=f"suppressions={suppressions}"))
        line = self.process.stdout.readline()
        found = re.match(r"ready kv tcp 127\.0\.0\.1:(\d+) ", line)
        require(found, f"the server did not become ready; it printed {line!r}")
        self.victim = Victim(int(found[1]), self.process.pid)
        with connect(self.victim) as connection:
            for i in range(abuse.KEYS):
                ask(connection, b"set pool:%d 0 0 %d\r\n%s\r\n"
                    % (i, len(abuse.VALUE), abuse.VALUE), b"STORED\r\n")
        # The check looks at each kind of object once: at UDP's as well before there is no
        # descriptor for its pipe, which no suppression helps.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(abuse.TIMEOUT)
            client.sendto(b"\0\1\0\0\0\1\0\0version\r\n", ("127.0.0.1", self.victim.port))
            require(b"VERSION" in client.recv(100), "no answer over UDP")

    def end(self):
        """SIGTERM, with abusers still connected. Returns the final statistics."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        require(self.process.returncode == 0,
                f"the server's exit status is {self.process.returncode}\n{err[-6000:]}")
        return json.loads(out.splitlines()[-1])["server"]

    def kill(self):
        self.process.kill()
        return self.process.communicate()[1]


def act(victim, acts, failures, until):
    while acts and not failures and time.monotonic() < until:
        try:
            number, what, seed = acts.pop()
        except IndexError:  # Another actor took the last one.
            return
        try:
            what(victim, random.Random(seed))
        except (ConnectionError, TurnedAway):
            pass  # The server may turn bad clients away, and all if it is full.
        except Exception as error:  # pylint: disable=broad-except
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            failures.append(f"act {number}, {what.__name__}: {text}")


def torment(yamanote, preset, seed, count):
    chosen = random.Random(seed)
    acts = [(i, chosen.choice(abuse.ALL), chosen.getrandbits(64)) for i in range(count)]
    acts.reverse()
    server = Server(yamanote, preset)
    failures = []
    behaved = Behaved(server.victim, seed)
    try:
        behaved.start()
        behaved.connected.wait()  # Before a storm takes every connection there is.
        until = time.monotonic() + PRESET_SECONDS
        actors = [threading.Thread(target=act, args=(server.victim, acts, failures, until))
                  for _ in range(ACTORS)]
        for actor in actors:
            actor.start()
        for actor in actors:
            actor.join()
        behaved.over.set()
        behaved.join()
        if behaved.failure:
            failures.append(behaved.failure)
        require(not failures, "\n".join(failures))
        stats = server.end()
        require(stats["open"] == 0, f"{stats['open']} connections are open after the end")
        turned_away, refused = len(server.victim.turned_away), stats["refused_connections"]
        require(turned_away <= refused,
                f"{turned_away} connections were turned away, but only {refused} refused for "
                f"want of room: {server.victim.turned_away}")
        print(f"{preset}: {count - len(acts)} acts; {behaved.requests} requests of the client that "
              f"behaves answered, the slowest after {behaved.slowest * 1e3:.1f} ms; "
              f"{stats['requests']} requests of all, {stats['accepted']} connections, "
              f"{stats['refused_connections']} refused", flush=True)
    except (Failure, OSError, subprocess.TimeoutExpired) as error:
        behaved.over.set()
        raise Failure(f"{error}\nserver:\n{server.kill()[-6000:]}") from error
    finally:
        for connection in server.victim.held:
            connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--yamanote", required=True, help="the program")
    parser.add_argument("--preset", help="the scheduler; two by the seed if left out")
    parser.add_argument("--seed", type=int, help="a new one if left out")
    parser.add_argument("--acts", type=int, default=40, help="bounds the abuse of each preset")
    arguments = parser.parse_args()
    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    presets = [arguments.preset] if arguments.preset else random.Random(seed).sample(PRESETS, 2)
    for preset in presets:
        print(f"seed {seed} preset {preset}", flush=True)
        try:
            torment(arguments.yamanote, preset, seed, arguments.acts)
        except Failure as failure:
            print(f"{failure}\nreplay: {sys.executable} {sys.argv[0]} "
                  f"--yamanote {arguments.yamanote} --preset {preset} --seed {seed} "
                  f"--acts {arguments.acts}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
