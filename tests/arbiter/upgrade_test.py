"""upgrade_test.py - yamanoted is killed and replaced while two services are under load.

    upgrade_test.py YAMANOTE YAMANOTED [--seconds 8]

Both services must answer every request, be registered with each daemon in turn, and get
cores from the last one.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

PATIENCE_S = 60
# How each daemon ends, and what the next one is told. None polls: that one keeps a CPU for
# itself, so the applications would not be its.
UPGRADES = [(signal.SIGTERM, ["--least-gap", "100us"]),
            (signal.SIGKILL, ["--least-gap", "20us", "--idle-interval", "2ms"]),
            # What they have beyond their guarantee they must give back.
            (signal.SIGKILL, ["--users", f"{os.getuid()}:guaranteed=2,burst=0"]),
            (signal.SIGTERM, [])]


def require(condition, text):
    if not condition:
        raise AssertionError(text)


class Fleet:
    def __init__(self, yamanote, yamanoted, folder):
        self.yamanote, self.yamanoted, self.folder = yamanote, yamanoted, folder
        self.socket = os.path.join(folder, "arbiter.sock")
        self.daemon, self.services, self.loads = None, [], {}
        self.seconds, self.seed, self.requests = 0, 0, 0

    def start_daemon(self, flags):
        # pylint: disable-next=consider-using-with
        self.daemon = subprocess.Popen([self.yamanoted, "--socket", self.socket, *flags],
                                       stdout=subprocess.PIPE, text=True)
        line = self.daemon.stdout.readline()
        require(line.startswith("ready "), f"the daemon printed {line!r}")

    def end_daemon(self, number):
        self.daemon.send_signal(number)
        self.daemon.wait(timeout=PATIENCE_S)
        self.daemon.stdout.close()

    def start_service(self, name):
        # pylint: disable-next=consider-using-with
        service = subprocess.Popen(
            [self.yamanote, "run", "--socket", self.socket, "--name", name, "--guaranteed", "1",
             "--", self.yamanote, "serve", "spin", "--listen", "127.0.0.1:0", "--preset",
             "shenango", "--json"],
            stdout=subprocess.PIPE, text=True)
        self.services.append(service)
        line = service.stdout.readline()
        found = re.match(r"ready spin .*?tcp 127\.0\.0\.1:(\d+) ", line)
        require(found, f"the service printed {line!r}")
        return int(found[1])

    def start_load(self, port):
        self.seed += 1
        result = os.path.join(self.folder, f"load-{self.seed}.json")
        # Bursts, so that one core does not do.
        # pylint: disable-next=consider-using-with
        self.loads[port] = (subprocess.Popen(
            [self.yamanote, "load", "spin", "--target", f"127.0.0.1:{port}", "--protocol", "tcp",
             "--rate", "1000", "--arrivals", "burst:16", "--service", "exp:50us",
             "--connections", "16", "--duration", str(self.seconds), "--warmup", "0",
             "--drain", "20", "--seed", str(self.seed), "--json", result],
            stdout=subprocess.DEVNULL), result)

    def end_load(self, port):
        """Every request of it was answered."""
        load, path = self.loads[port]
        load.wait(timeout=self.seconds + PATIENCE_S)
        with open(path, encoding="utf-8") as file:
            point = json.load(file)["points"][0]
        require(point["sent"] > 0 and point["answered"] == point["sent"],
                f"{point['answered']} of {point['sent']} requests were answered")
        for trouble in ("lost", "refused", "duplicates", "unmatched", "closed_connections"):
            require(point[trouble] == 0, f"{trouble}: {point[trouble]}")
        self.requests += point["sent"]

    def keep_loaded(self):
        for port, (load, _) in self.loads.items():
            if load.poll() is not None:
                self.end_load(port)
                self.start_load(port)

    def apps(self):
        done = subprocess.run([self.yamanote, "apps", "--socket", self.socket, "--json"],
                              capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        if done.returncode != 0:
            return {}
        return {app["name"]: app for app in json.loads(done.stdout)["apps"]}

    def await_apps(self, what, condition):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            self.keep_loaded()
            apps = self.apps()
            if set(apps) == {"one", "two"} and condition(apps.values()):
                return
            time.sleep(0.02)
        raise AssertionError(f"{what}: {json.dumps(self.apps(), indent=1)}")

    def end(self):
        for load, _ in self.loads.values():
            load.kill()
            load.wait()
        for service in self.services:
            service.kill()
            service.wait()
            if service.stdout is not None:
                service.stdout.close()
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()


def granted(apps):
    """Cores move. Not to each of them: what is idle of the other's may be nothing."""
    return sum(app["grants"] for app in apps) > 3


def upgrade(fleet, seconds):
    fleet.seconds = seconds
    fleet.start_daemon([])
    for name in ("one", "two"):
        fleet.start_load(fleet.start_service(name))
    fleet.await_apps("granted cores", granted)
    for number, (how, flags) in enumerate(UPGRADES):
        fleet.keep_loaded()
        time.sleep(0.5)
        fleet.end_daemon(how)
        time.sleep(0.3 if number % 2 == 0 else 0)
        fleet.start_daemon(flags)
        fleet.await_apps("registered again", lambda apps: True)
    fleet.await_apps("granted cores again", granted)
    for port in fleet.loads:
        fleet.end_load(port)
    print(f"{fleet.requests} requests through {len(UPGRADES)} upgrades, all answered", flush=True)
    for service in fleet.services:
        service.terminate()
        require(service.wait(timeout=PATIENCE_S) == 0,
                f"the service's exit status is {service.returncode}")


def upgrade_under_a_program(fleet):
    """What `yamanote run --best-effort` has started goes on, and is registered again."""
    fleet.start_daemon([])
    # pylint: disable-next=consider-using-with
    program = subprocess.Popen([fleet.yamanote, "run", "--socket", fleet.socket, "--name", "batch",
                                "--best-effort", "--", "sleep", "600"])
    fleet.services.append(program)

    def registered():
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if [core["state"] for app in fleet.apps().values() for core in app["cores"]]:
                return
            time.sleep(0.02)
        raise AssertionError(f"not registered: {fleet.apps()}")

    registered()
    for how in (signal.SIGTERM, signal.SIGKILL):
        fleet.end_daemon(how)
        fleet.start_daemon([])
        registered()
    require(program.poll() is None, "the program has ended")
    program.terminate()
    require(program.wait(timeout=PATIENCE_S) == 128 + signal.SIGTERM,
            f"its exit status is {program.returncode}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("yamanote")
    parser.add_argument("yamanoted")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    arguments = parser.parse_args()
    for what in (lambda fleet: upgrade(fleet, arguments.seconds), upgrade_under_a_program):
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(arguments.yamanote, arguments.yamanoted, folder)
            try:
                what(fleet)
            finally:
                fleet.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
