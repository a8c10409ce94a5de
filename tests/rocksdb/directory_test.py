"""directory_test.py - where data is, stays and goes; wrong directories.

  directory_test.py build/dev/bin/yamanote
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

from servers import PATIENCE_S, Failure, Server, command, exchange, require

SMALL = ("--rocksdb-keys", "100")


def private_directory(server):
    info = exchange(server.port, command("INFO")).decode()
    path = info.split("\r\npath:")[1].split("\r\n")[0]
    require(path.startswith("/dev/shm/yamanote-rocksdb-") and os.path.isdir(path),
            f"the private directory is {path!r}")
    require(os.stat(path).st_mode & 0o777 == 0o700, "others may enter the private directory")
    return path


def check_private(yamanote):
    """It goes with the server; if that is killed, when the next one starts."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with Server(yamanote, *SMALL) as server:
            path = private_directory(server)
            require(server.end(number) == 0, f"exit status after {number}")
            require(not os.path.exists(path), f"{path} is still there after {number}")
    check_second_signal(yamanote)
    with Server(yamanote, *SMALL) as server:
        left = private_directory(server)
        server.end(signal.SIGKILL)
        require(os.path.exists(left), "SIGKILL can't have removed anything")
    with Server(yamanote, *SMALL) as server:
        require(not os.path.exists(left), f"{left} is still there after the next start")
        other = private_directory(server)
        with Server(yamanote, *SMALL):
            require(os.path.exists(other), "a running server's directory was removed")


def check_second_signal(yamanote):
    """It ends the server although a client takes no answers; the directory goes too."""
    with Server(yamanote, *SMALL, "--drain-timeout", "60s") as server:
        path = private_directory(server)
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
            client.sendall(command("RANGE", "", 100) * 3000)
            client.recv(1)
            server.process.send_signal(signal.SIGTERM)
            while "ending" not in server.process.stderr.readline():
                require(server.process.poll() is None, "the first signal ended it")
            time.sleep(0.2)  # Within 100 ms the second signal counts as the first.
            require(server.end(signal.SIGTERM) == 1, "exit status after a second signal")
        require(not os.path.exists(path), f"{path} is still there after a second signal")


def check_interrupted(yamanote):
    """A signal while keys are stored ends it, and nothing is left."""
    before = set(os.listdir("/dev/shm"))
    process = subprocess.Popen(
        [yamanote, "serve", "rocksdb", "--listen", "127.0.0.1:0", "--rocksdb-keys", "9M"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not set(os.listdir("/dev/shm")) - before:  # Until it has begun.
        require(process.poll() is None, "the server ended by itself")
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=PATIENCE_S)
    require(process.returncode == 1 and "interrupted" in errors and output == "",
            f"status {process.returncode}: {output}{errors}")
    left = {name for name in set(os.listdir("/dev/shm")) - before if "yamanote" in name}
    require(not left, f"left behind: {left}")


def check_kept(yamanote, folder):
    """With --rocksdb-path data stays, also when the server is killed."""
    path = os.path.join(folder, "data")
    with Server(yamanote, *SMALL, "--rocksdb-path", path) as server:
        exchange(server.port, command("SET", "mine", "1") + command("DEL", "key-00000003"))
    with Server(yamanote, *SMALL, "--rocksdb-path", path) as server:
        answer = exchange(server.port, command("MGET", "mine", "key-00000003", "key-00000099"))
        require(answer == b"*3\r\n$1\r\n1\r\n$-1\r\n$100\r\n" + b"v" * 100 + b"\r\n",
                f"after a restart: {answer!r}")
        exchange(server.port, command("SET", "late", "2"))
        server.end(signal.SIGKILL)
    with Server(yamanote, *SMALL, "--rocksdb-path", path) as server:
        answer = exchange(server.port, command("MGET", "mine", "late"))
        require(answer == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n", f"after SIGKILL: {answer!r}")
        fails(yamanote, 1, "--rocksdb-path", path, words=("no other server uses",))


def check_files(yamanote):
    """RocksDB never recovers from a table that it could not open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        with Server(yamanote, *SMALL, "--max-connections", "100") as server:
            limit, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
            opened = len(os.listdir(f"/proc/{server.process.pid}/fd"))
            # 100 connections, 64 that are being refused, its tables.
            require(limit >= opened + 100 + 64 + 200, f"{limit} files, {opened} open at the start")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def fails(yamanote, status, *flags, words, limit_bytes=None):
    """Starts a server that must refuse with `status`, naming each of `words`."""
    def limit():
        # A file that can't grow stands for a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    run = subprocess.run(
        [yamanote, "serve", "rocksdb", "--listen", "127.0.0.1:0", *flags], capture_output=True,
        text=True, timeout=PATIENCE_S, check=False, restore_signals=False,
        preexec_fn=limit if limit_bytes else None)
    require(run.returncode == status and all(word in run.stderr for word in words),
            f"{flags}: status {run.returncode}, {run.stderr!r}; expected {status} and {words}")


def check_refused(yamanote, folder):
    """Errors name the option, its value and the remedy."""
    file = os.path.join(folder, "file")
    with open(file, "w", encoding="utf-8"):
        pass
    for path in (file, os.path.join(folder, "none", "deeper"), "/proc/data"):
        fails(yamanote, 1, "--rocksdb-path", path,
              words=(f'rocksdb.path = "{path}"', "--rocksdb-path", "in memory"))
    fails(yamanote, 1, "--rocksdb-path", os.path.join(folder, "full"), limit_bytes=100_000,
          words=("rocksdb.path", "File too large", "has room"))
    fails(yamanote, 1, limit_bytes=100_000,
          words=("rocksdb.path is not set", "File too large", "fewer rocksdb.keys (100000)"))
    fails(yamanote, 2, "--rocksdb-max-value-bytes", "2MiB",
          words=("rocksdb.max_value_bytes = 2MiB", "server.max_request_bytes"))
    fails(yamanote, 2, "--max-reply-bytes", "1MiB",
          words=("rocksdb.max_value_bytes = 1MiB", "server.max_reply_bytes"))
    fails(yamanote, 2, "--rocksdb-keys", "10M",
          words=("rocksdb.keys = 10000000", "rocksdb.max_bytes = 1073741824"))
    memory = os.statvfs("/dev/shm")
    free = max(memory.f_bavail * memory.f_frsize, 1 << 20)  # All for tables: too much.
    fails(yamanote, 2, "--rocksdb-max-bytes", f"{free}B", "--max-connections", "16",
          words=(f"rocksdb.max_bytes = {free}", "lower rocksdb.max_bytes", "--rocksdb-path"))
    fails(yamanote, 2, "--rocksdb-keys", "many", words=("rocksdb.keys", "many"))
    fails(yamanote, 2, "--class", "long:slo=1ms", words=("its classes are get, scan, put",))


def main():
    yamanote = sys.argv[1]
    try:
        with tempfile.TemporaryDirectory() as folder:
            check_private(yamanote)
            check_interrupted(yamanote)
            check_kept(yamanote, folder)
            check_files(yamanote)
            check_refused(yamanote, folder)
    except Failure as failure:
        sys.exit(f"directory_test: {failure}")


if __name__ == "__main__":
    main()
