"""end_to_end_test.py - Redis's clients, bad clients and the generator.

  end_to_end_test.py build/dev/bin/yamanote

Every check runs against one server, so that what one leaves behind meets the next.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile

from servers import PATIENCE_S, Failure, Server, command, exchange, require, tool


def cli(server, *words, text=""):
    """Returns what redis-cli prints for a command, or for the lines of `text`."""
    run = subprocess.run([tool("redis-cli"), "-p", str(server.port), *words], input=text,
                         capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    require(run.returncode == 0, f"redis-cli {words}: {run.stdout}{run.stderr}")
    return run.stdout.rstrip("\n")


def check_redis_cli(server):
    """The commands that people type."""
    answers = cli(server, text='set a "1 2"\nget a\nexists a b\nmget a b\ndel a\nget a\n'
                               "range key-00000042 2\nselect 0\nnonsense x\nget\nping hi\n")
    value = "v" * 20
    expected = ["OK", "1 2", "1", "1 2", "", "1", "", "key-00000042", value, "key-00000043",
                value, "OK", "ERR unknown command 'nonsense'", "",
                "ERR wrong number of arguments for 'get' command", "", "hi"]
    require(answers.split("\n") == expected, f"redis-cli printed {answers!r}")
    keys = cli(server, "--scan").split("\n")
    require(sorted(keys) == [f"key-{i:08}" for i in range(2000)],
            f"redis-cli --scan found {len(keys)} keys")
    require(cli(server, "dbsize").isdigit(), "DBSIZE")
    info = cli(server, "info")
    require("rocksdb_version:" in info and "connected_clients:" in info, f"INFO: {info}")


def check_redis_benchmark(server):
    """Pipelined load, which asks for the configuration first."""
    run = subprocess.run(
        [tool("redis-benchmark"), "-p", str(server.port), "-t", "ping,set,get", "-P", "16",
         "-n", "4000", "-r", "1000", "-q"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    output = run.stdout + run.stderr
    require(run.returncode == 0 and output.count("requests per second") == 4,
            f"redis-benchmark: status {run.returncode}\n{output}")
    require("rror" not in output and "WARN" not in output, f"redis-benchmark: {output}")


def check_bad_input(server):
    """Each is answered in Redis's words; what can't go on is closed."""
    for stream, expected in (
            (b"*1\r\nPING\r\n", b"-ERR Protocol error: expected '$', got 'P'\r\n<closed>"),
            (b"*9999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n<closed>"),
            (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length\r\n<closed>"),
            (b"x" * 5000, b"-ERR Protocol error: too big inline request\r\n<closed>"),
            (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
             b"-ERR Protocol error: this is no HTTP server\r\n<closed>"),
            (command("SET", "k", b"x" * (1 << 20 | 1)) + command("GET", "k"),
             b"-ERR value of 1048577 bytes is longer than rocksdb.max_value_bytes = 1048576\r\n"
             b"$-1\r\n"),
            (command("SET", "k", b"x" * (1 << 20)) + command("EXISTS", "k") + command("DEL", "k"),
             b"+OK\r\n:1\r\n:1\r\n"),
            (command("GET", b"k" * 1025), b"-ERR key is longer than 1024 bytes\r\n"),
            (command("RANGE", "", 1000000),
             b"-ERR count 1000000 is above rocksdb.max_scan_keys = 100000\r\n"),
            (command("SCAN", 12345678), b"-ERR invalid cursor: it is too old\r\n"),
            (command("SET", "k", "v", "EX", 10),
             b"-ERR SET takes a key and a value; it has no options here\r\n")):
        answer = exchange(server.port, stream)
        require(answer == expected, f"to {stream[:60]!r}: {answer[:200]!r}")


def check_streams(server):
    """Byte by byte and a thousand at once give the same answers, in order."""
    stream = b"".join(command("SET", f"p{i}", i) + command("GET", f"p{i}") for i in range(1000))
    expected = b"".join(b"+OK\r\n$%d\r\n%d\r\n" % (len(str(i)), i) for i in range(1000))
    require(exchange(server.port, stream) == expected, "a pipeline's answers are out of order")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as slow:
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in command("MGET", "p1", "none", "p10") + b"PING\r\n":
            slow.send(bytes([byte]))
        answer = b""
        while not answer.endswith(b"+PONG\r\n"):
            answer += slow.recv(4096)
    require(answer == b"*3\r\n$1\r\n1\r\n$-1\r\n$2\r\n10\r\n+PONG\r\n", f"byte by byte: {answer!r}")
    exchange(server.port, command("DEL", *(f"p{i}" for i in range(1000))))


def check_udp(server):
    """One command a datagram; an answer in several; answers are not answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_S)
        client.connect(("127.0.0.1", server.port))
        client.send(struct.pack(">HHHH", 5, 0, 1, 1) + b"+OK\r\n")  # An answer: silence.
        client.send(struct.pack(">HHHH", 9, 0, 1, 0) + command("RANGE", "key-00000100", 50))
        parts = {}
        while True:
            datagram = client.recv(65536)
            number, sequence, total, kind = struct.unpack(">HHHH", datagram[:8])
            require((number, kind) == (9, 1), f"the answer's header: {datagram[:8]!r}")
            parts[sequence] = datagram[8:]
            if len(parts) == total:
                break
    answer = b"".join(parts[i] for i in range(len(parts)))
    require(answer == exchange(server.port, command("RANGE", "key-00000100", 50)),
            "over UDP the answer differs")


def check_load(yamanote, server):
    """The generator, over both transports; and its refusal of a scan of too much."""
    with tempfile.TemporaryDirectory() as folder:
        for protocol in ("tcp", "udp"):
            path = os.path.join(folder, "result.json")
            run = subprocess.run(
                [yamanote, "load", "rocksdb", "--target", f"127.0.0.1:{server.port}",
                 "--protocol", protocol, "--rate", "500", "--duration", "0.4", "--warmup", "0.1",
                 "--keys", "2000", "--value-bytes", "20", "--drain", "20", "--json", path,
                 "--service", "get:80%,put:10%,scan20:10%"],
                capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            # Late sends are the machine's; they make a point invalid, not wrong.
            require(run.returncode in (0, 1) and os.path.exists(path),
                    f"load over {protocol}: {run.stdout}{run.stderr}")
            with open(path, encoding="utf-8") as file:
                result = json.load(file)
            point = result["points"][0]
            require(result["application"] == "rocksdb" and point["answered"] > 100 and
                    point["refused"] == point["unmatched"] == point["misses"] == 0,
                    f"load over {protocol}: {point}")
            require(protocol == "udp" or point["lost"] == 0, f"lost over TCP: {point}")
            names = [one["name"] for one in point["classes"]]
            require(names == ["get", "put", "scan20"], f"classes: {names}")
    run = subprocess.run(
        [yamanote, "load", "rocksdb", "--target", f"127.0.0.1:{server.port}", "--rate", "1k",
         "--keys", "10", "--service", "scan11"], capture_output=True, text=True,
        timeout=PATIENCE_S, check=False)
    require(run.returncode == 2 and "scan11 reads 11 keys and --keys is 10" in run.stderr,
            f"a scan of more than there is: {run.stderr}")


def main():
    yamanote = sys.argv[1]
    try:
        with Server(yamanote, "--rocksdb-keys", "2000", "--rocksdb-value-bytes", "20B") as server:
            check_redis_cli(server)
            check_bad_input(server)
            check_streams(server)
            check_udp(server)
            check_load(yamanote, server)
            check_redis_benchmark(server)
    except Failure as failure:
        sys.exit(f"end_to_end_test: {failure}")


if __name__ == "__main__":
    main()
