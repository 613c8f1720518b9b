#!/usr/bin/python3
"""scripts/bench memory: what a join server with many connections, and key processes about to be replaced, have in memory.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import json
import re
import subprocess
import sys
import threading
import urllib.request

from bench_joins import CORES, VERSIONS, at_least, build_type, host, measure, prepare, say, settings_of
from bench_stack import Failed, Stack, cpu_table, end_at_sigterm
from bench_startup import await_ready, launch

LIMIT_MIB = {"joinserver": 32, "keyd": 64}
LOOK_SECONDS = 0.05
ROUNDS_MAX = 20  # of --seconds each, until every key process has been replaced
DEFAULT_CONNECTIONS = 1024  # that a peer may have
METHOD = ("VmRSS, looked at every 50 ms, and VmHWM of a join server of its own beside the stack that scripts/run started, and of its "
          "key processes until the last of the first ones has been replaced; closed loop of fresh valid frames, every answer checked")


def status_kib(pid):
    """{VmRSS, VmHWM} of a process, or None when it has gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", file.read(), re.M))
    except OSError:
        return None
    return {name: int(kib) for name, kib in found.items()} if len(found) == 2 else None


def pss_kib(pid):
    """None where it may not be read: a hardened process shows it to root alone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            return int(re.search(r"^Pss:\s+(\d+) kB$", file.read(), re.M).group(1))
    except (OSError, AttributeError):
        return None


class Watch(threading.Thread):
    """Looks at a join server and its key processes until it is ended."""

    def __init__(self, server):
        super().__init__()
        self.server, self.rss, self.hwm, self.keyds = server, 0, 0, {}
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(LOOK_SECONDS):
            self.look()

    def look(self):
        own = status_kib(self.server)
        if own:
            self.rss, self.hwm = max(self.rss, own["VmRSS"]), own["VmHWM"]
        for pid, (parent, name, _, _) in cpu_table().items():
            kib = status_kib(pid) if parent == self.server and name == "cradle-keyd" else None
            if kib:
                self.keyds[pid] = max(self.keyds.get(pid, 0), kib["VmHWM"])

    def end(self):
        self.over.set()
        self.join()


def counter(port, name):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return int(re.search(rf"^{name} (\d+)$", answer.read().decode(), re.M).group(1))


def join_until_replaced(stack, port, options, n_keyds):
    """Answers that were checked, and those of them that were missing or wrong."""
    checked, errors = 0, 0
    for _ in range(ROUNDS_MAX):
        result, _, _ = measure(stack, options)
        checked, errors = checked + result["checked"], errors + result["errors"]
        if counter(port, "cradle_keyd_recycles_total") >= n_keyds:
            return checked, errors
    raise Failed(f"not every key process was replaced after {checked} joins")


def mib(kib):
    return round(kib / 1024, 1) if kib is not None else None


def run(options):
    most = max(DEFAULT_CONNECTIONS, options.connections + 16)
    with Stack(options.built, 1) as stack:
        prepare(stack, options)
        server, port = launch(stack, "joinserver", hsm__recycle_operations=options.recycle,
                              join__connections_per_address=most, join__connections_per_peer=most)
        await_ready(server, port)
        idle = status_kib(server.pid)
        stack.ports = [port]
        watch = Watch(server.pid)
        watch.start()
        try:
            checked, errors = join_until_replaced(stack, port, options, CORES)
            pss = pss_kib(server.pid)
        finally:
            watch.end()
        replaced = counter(port, "cradle_keyd_recycles_total")
        postgres = settings_of(stack)
    figures = {"joinserver_mib": {"rss": mib(watch.rss), "hwm": mib(watch.hwm), "pss": mib(pss), "idle": mib(idle["VmRSS"])},
               "keyd_mib": mib(max(watch.keyds.values()))}
    say(f"The join server had {mib(watch.hwm)} MiB at most with {options.connections} connections ({mib(idle['VmRSS'])} without), "
        f"and its largest key process {figures['keyd_mib']} MiB before it was replaced; {checked} answers checked, {errors} wrong or missing.")
    say(json.dumps({"benchmark": "memory", **figures, "limit_mib": LIMIT_MIB,
                    "within": {"joinserver": mib(watch.hwm) <= LIMIT_MIB["joinserver"], "keyd": figures["keyd_mib"] <= LIMIT_MIB["keyd"]},
                    "connections": options.connections, "devices": options.devices, "version": options.version, "checked": checked, "errors": errors,
                    "recycle_operations": options.recycle, "keyds_replaced": replaced, "cores": CORES,
                    "build": build_type(options.built), "postgres": postgres, "host": host(), "method": METHOD}))
    return 0 if errors == 0 else 1


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench memory")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--devices", type=at_least(1), default=10000)
    parser.add_argument("--connections", type=at_least(1), default=1000)
    parser.add_argument("--seconds", type=at_least(1), default=10)
    parser.add_argument("--version", choices=VERSIONS, default="1.0.3")
    parser.add_argument("--recycle", type=at_least(0), default=0)
    parser.set_defaults(rate=0, tls=False)
    end_at_sigterm()
    try:
        return run(parser.parse_args())
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
