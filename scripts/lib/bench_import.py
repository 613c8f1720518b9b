#!/usr/bin/python3
"""scripts/bench import: how fast a file of devices comes in, what a device costs, how much memory
the service takes for it, and what joins feel of it.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import collections
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

from bench_joins import CORES, SEED, at_least, build_type, host, result_of, say, settings_of
from bench_load import load, make_wal_segments
from bench_stack import AS_ID, NET_ID, Failed, Psql, Stack, end_at_sigterm

DEV_EUI_PREFIX = "02cdcdbe"  # as in tests/bench/fleet.c
VERSIONS = ("1.0.3", "1.0.4", "1.1")
SMALL_SHARE = 10         # the small file is this much smaller
SAMPLE = 1000            # imported devices that join afterwards
SAMPLE_CONNECTIONS = 16
BLOCK_BYTES = 65536
ANSWER_SECONDS = 600
LOOK_SECONDS = 0.1       # between two looks at memory and at the database session
ROWS_PER_SECOND_MAX = 30000  # more than can be imported beside joins
TOLD_MAX = 10
METHOD = ("one maker, one call with the whole file (chunked), time up to the last byte of its report, each row's answer "
          "checked; memory is the greatest sum of the resident sizes (RSS) of the activation service and its key "
          "processes, looked at every 100 ms; joins: open loop, latency from the intended send time, phases without and "
          "with an import in turn, ratio of the medians of their p99")
SESSION_SQL = ("SELECT coalesce(wait_event_type || ':' || wait_event, 'cpu'), state FROM pg_stat_activity"
               " WHERE application_name = 'cradle-activation' AND state IN ('active', 'idle in transaction')")


class Watcher:
    """Looks at the service while it works: its memory, and what its database session waits for."""

    def __init__(self, stack):
        self.activation = stack.pid("activation")
        self.psql = Psql(stack)
        self.over = threading.Event()
        self.peak_kib = {"rss": 0, "pss": 0, "activation": 0, "keyds": 0}
        self.sessions = collections.Counter()
        self.n_looks = 0
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.psql.close()

    def watch(self):
        over = False
        while not over:  # a small file is over before the second look
            self.look_at_memory()
            self.look_at_session()
            over = self.over.wait(LOOK_SECONDS)

    @staticmethod
    def size_kib(pid, field, file):
        """A field of a file of /proc; 0 when the process is gone, or is not to be looked at."""
        try:
            with open(f"/proc/{pid}/{file}", encoding="ascii", errors="replace") as lines:
                return next((int(line.split()[1]) for line in lines if line.startswith(field + ":")), 0)
        except OSError:
            return 0

    def keyds(self):
        """The key processes: children of whichever thread of the service started them."""
        found = set()
        for thread in os.listdir(f"/proc/{self.activation}/task"):
            try:
                with open(f"/proc/{self.activation}/task/{thread}/children", encoding="ascii") as file:
                    found.update(int(pid) for pid in file.read().split())
            except OSError:
                pass  # the thread has ended
        return sorted(found)

    def look_at_memory(self):
        keyds = self.keyds()
        own = self.size_kib(self.activation, "VmRSS", "status")
        of_keyds = sum(self.size_kib(pid, "VmRSS", "status") for pid in keyds)
        now = {"rss": own + of_keyds, "activation": own, "keyds": of_keyds,
               "pss": sum(self.size_kib(pid, "Pss", "smaps_rollup") for pid in [self.activation, *keyds])}
        for name, kib in now.items():
            self.peak_kib[name] = max(self.peak_kib[name], kib)

    def look_at_session(self):
        self.n_looks += 1
        for row in self.psql.ask(SESSION_SQL):
            wait, state = row.split("|")
            self.sessions["between statements" if state != "active" else wait] += 1

    def mib(self, name):
        return round(self.peak_kib[name] / 1024, 1)


class Sent:
    """What became of a file that was sent."""

    def __init__(self, first, head):
        self.first = first
        self.head = head  # its first line, where that is none of a device
        self.n_rows = 0
        self.answer = b""
        self.cpu_us = 0
        self.seconds = 0
        self.report_seconds = 0  # of them, from the first byte of the report to its last
        self.failure = None

    def errors(self):
        """How many rows are not answered as they should be."""
        rows = self.answer.decode().splitlines()
        wrong = abs(len(rows) - self.n_rows)
        line = 2 if self.head else 1
        for i, text in enumerate(rows[:self.n_rows]):
            expected = {"line": line + i, "dev_eui": f"{DEV_EUI_PREFIX}{self.first + i:08x}", "outcome": "created"}
            if json.loads(text) != expected:
                wrong += 1
                if wrong <= TOLD_MAX:
                    print(f"cradle-bench: wrong: {text}", file=sys.stderr)
        return wrong


class Maker:
    """Sends files as a maker's program would. With codes, nobody owns the devices yet."""

    def __init__(self, stack, options, codes=False):
        self.stack = stack
        self.options = options
        self.codes = codes
        self.token = stack.access_token(stack.cradle("client", "add", "--organization", "Bench maker", "--role", "maker"))
        stack.psql.ask("UPDATE organization SET allow_clear_keys = true WHERE name = 'Bench maker'")
        home = {} if codes else {"home_net_id": NET_ID, "as_id": AS_ID}
        query = urllib.parse.urlencode({"format": options.format, "mac_version": options.version, **home})
        self.path = f"/v1/batches/import?{query}"

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.stack.activation_port, timeout=ANSWER_SECONDS,
                                          blocksize=BLOCK_BYTES)

    def make_file(self, first, n):
        path = os.path.join(self.stack.folder, f"import-{first}")
        process = self.stack.bench("import-file", first=first, devices=n, seed=SEED, version=self.options.version,
                                   format=self.options.format, codes=int(self.codes), out=path)
        if process.wait() != 0:
            raise Failed("cradle-bench import-file failed: the reason is above.")
        return path

    def send(self, path, first, stop=None):
        """Sends the file in one call, or as much of it as goes before the event."""
        with open(path, "rb") as file:
            sent = Sent(first, file.readline() if self.options.format == "csv" else b"")
            begin, cpu = time.monotonic(), time.thread_time_ns()
            try:
                self.send_rows(file, sent, stop)
            except (OSError, http.client.HTTPException, Failed) as failure:
                sent.failure = str(failure)
            sent.seconds = time.monotonic() - begin
            sent.cpu_us = (time.thread_time_ns() - cpu) / 1000
        return sent

    def send_rows(self, file, sent, stop):
        connection = self.connect()
        try:
            connection.request("POST", self.path, self.blocks(file, sent, stop), {
                "Authorization": f"Bearer {self.token}", "Content-Type": "application/octet-stream",
                "Transfer-Encoding": "chunked"}, encode_chunked=True)
            answer = connection.getresponse()
            begin = time.monotonic()
            sent.answer = answer.read()
            sent.report_seconds = time.monotonic() - begin
            if answer.status != 200:
                raise Failed(f"the import answered {answer.status}: {sent.answer.decode(errors='replace')[:400]}")
        finally:
            connection.close()

    @staticmethod
    def blocks(file, sent, stop):
        if sent.head:
            yield sent.head
        while stop is None or not stop.is_set():
            block = file.read(BLOCK_BYTES) + file.readline()
            if not block:
                break
            sent.n_rows += block.count(b"\n")
            yield block


class Bench:
    def __init__(self, stack, options):
        self.stack = stack
        self.options = options
        self.maker = Maker(stack, options)
        self.n_errors = 0
        self.n_checked = 0
        self.next = 0  # number of the first DevEUI that is not in use

    def take(self, n):
        first = self.next
        self.next += n
        return first

    def prepare(self):
        say(f"Making {self.options.join_devices} devices that join beside it ...")
        make_wal_segments(self.stack)
        n = self.options.join_devices
        self.take(n)
        load(self.stack, devices=n, seed=SEED, version=self.options.version)

    def check(self, sent):
        if sent.failure:
            raise Failed(sent.failure)
        wrong = sent.errors()
        self.n_errors += wrong
        self.n_checked += sent.n_rows
        return wrong

    def import_file(self, n):
        """What one file took: a dictionary, and its first device."""
        first = self.take(n)
        path = self.maker.make_file(first, n)
        with Watcher(self.stack) as watcher:
            wal, cpu = self.stack.wal(), self.stack.cpu("activation")
            sent = self.maker.send(path, first)
            cpu_end, wal_end = self.stack.cpu("activation"), self.stack.wal()
        os.unlink(path)
        wrong = self.check(sent)
        (there,) = self.stack.psql.ask(
            f"SELECT count(*) FROM device WHERE dev_eui >= '\\x{DEV_EUI_PREFIX}{first:08x}'"
            f" AND dev_eui < '\\x{DEV_EUI_PREFIX}{first + n:08x}'")
        if sent.n_rows != n or int(there) != n:
            self.n_errors += 1
            print(f"cradle-bench: of {n} rows {sent.n_rows} were answered, {there} devices are there", file=sys.stderr)
        used = {name: cpu_end[name] - cpu[name] for name in cpu}
        used["client"] = sent.cpu_us
        busy = used.pop("all")
        core_us = sent.seconds * 1e6 * CORES
        return first, {
            "devices": n, "seconds": round(sent.seconds, 3), "report_seconds": round(sent.report_seconds, 3),
            "devices_per_s": round(n / sent.seconds, 1),
            "wrong": wrong, "rss_mib": watcher.mib("rss"), "pss_mib": watcher.mib("pss"),
            "rss_mib_activation": watcher.mib("activation"), "rss_mib_keyds": watcher.mib("keyds"),
            "cpu_us": {name: round(us / n, 2) for name, us in used.items()},
            "idle_share": round(max(core_us - busy, 0) / core_us, 3),
            "others_share": round(max(busy - sum(used.values()), 0) / core_us, 3),
            "wal_bytes": round((wal_end[0] - wal[0]) / n),
            "wal_full_page_images": round((wal_end[1] - wal[1]) / n, 4),
            "session": {name: round(n_seen / max(watcher.n_looks, 1), 3)
                        for name, n_seen in watcher.sessions.most_common()}}

    def joins(self, while_measured=lambda: None, **options):
        """A run of cradle-bench joins. `while_measured` is called when its measured time is over."""
        process = self.stack.bench("joins", seed=SEED, version=self.options.version, ports=self.stack.ports[0],
                                   **options)
        marks = []
        try:
            for word in ("begin", "end"):
                if process.stdout.readline().strip() != word:
                    raise Failed("cradle-bench joins ended too early: the reason is above.")
                marks.append(self.work())
            while_measured()
            result, _ = result_of(process, "joins")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        (busy, own), (busy_end, own_end) = marks
        others = busy_end - busy - (own_end - own) - result["load_cpu_us"]
        result["others_share"] = round(max(others, 0) / (result["seconds"] * 1e6 * CORES), 3)
        self.n_errors += result["errors"]
        self.n_checked += result["checked"]
        return result

    def work(self):
        """Microseconds of CPU so far: (everybody's, ours)."""
        join, activation = self.stack.cpu(), self.stack.cpu("activation")
        return join["all"], (join["keyd"] + join["joinserver"] + join["postgres"] + activation["keyd"]
                             + activation["activation"])

    def join_sample(self, first, n):
        """Imported devices from all over the file join; their answers hold the keys of the file."""
        n_sample = min(SAMPLE, n)
        result = self.joins(first=first, devices=n_sample, stride=n // n_sample, rate=n_sample // 2 or 1, seconds=1,
                            connections=min(SAMPLE_CONNECTIONS, max(n_sample // 4, 1)))
        if result["checked"] == 0:
            self.n_errors += 1
        return result["checked"] - result["errors"]

    def phase(self):
        o = self.options
        return self.joins(devices=o.join_devices, connections=o.connections, seconds=o.seconds, rate=o.rate)

    def phase_beside(self):
        o = self.options
        n = ROWS_PER_SECOND_MAX * (o.seconds + 2)
        first = self.take(n)
        path = self.maker.make_file(first, n)
        over, sent = threading.Event(), []
        importer = threading.Thread(target=lambda: sent.append(self.maker.send(path, first, over)))
        still = []

        def stop():
            still.append(importer.is_alive())
            over.set()

        importer.start()
        try:
            result = self.joins(stop, devices=o.join_devices, connections=o.connections, seconds=o.seconds,
                                rate=o.rate)
        finally:
            over.set()
            importer.join()
        os.unlink(path)
        self.check(sent[0])
        if not still[0]:
            raise Failed("the import ended before the joins beside it")
        return result, sent[0].n_rows / sent[0].seconds

    def joins_beside(self):
        alone, beside, rates = [], [], []
        for i in range(self.options.phases):
            alone.append(self.phase())
            result, rate = self.phase_beside()
            beside.append(result)
            rates.append(rate)
            say(f"  phase {i + 1}: p99 {alone[-1]['p99_ms']:.2f} ms without, {result['p99_ms']:.2f} ms with an import "
                f"({rate:.0f} devices a second); cores at work for others: {alone[-1]['others_share']:.0%}, "
                f"{result['others_share']:.0%}.")
        p99 = [statistics.median(r["p99_ms"] for r in phases) for phases in (alone, beside)]
        p50 = [statistics.median(r["p50_ms"] for r in phases) for phases in (alone, beside)]
        return {"alone_p99_ms": p99[0], "beside_p99_ms": p99[1], "ratio": round(p99[1] / p99[0], 2) if p99[0] else None,
                "alone_p50_ms": p50[0], "beside_p50_ms": p50[1], "rate": self.options.rate,
                "import_devices_per_s": round(statistics.median(rates), 1),
                "phases": [{"alone_p99_ms": a["p99_ms"], "beside_p99_ms": b["p99_ms"],
                            "alone_others_share": a["others_share"], "beside_others_share": b["others_share"]}
                           for a, b in zip(alone, beside)]}


def report(answer):
    cpu, joins = answer["cpu_us"], answer["joins"]
    say(f"{answer['devices']} devices in {answer['seconds']:.1f} s ({answer['devices_per_s']:.0f} a second); "
        f"{answer['checked']} answers checked, {answer['errors']} wrong or missing.")
    say(f"CPU a device: keyd {cpu['keyd']} us, activation {cpu['activation']} us, postgres {cpu['postgres']} us, client "
        f"{cpu['client']} us; WAL {answer['wal_bytes']} bytes. Cores idle {answer['idle_share']:.0%}, at work for others "
        f"{answer['others_share']:.0%}.")
    say(f"Memory of the service: {answer['rss_mib']} MiB; with a file of a tenth {answer['rss_mib_small']} MiB.")
    if joins["phases"]:
        say(f"Joins at {joins['rate']}/s: p99 {joins['alone_p99_ms']:.2f} ms alone, {joins['beside_p99_ms']:.2f} ms "
            f"beside an import: {joins['ratio']}.")


def run(options):
    with Stack(options.built, 1) as stack:
        bench = Bench(stack, options)
        bench.prepare()
        n_small = max(options.devices // SMALL_SHARE, 1)
        say(f"Importing {n_small} devices ...")
        _, small = bench.import_file(n_small)
        say(f"Importing {options.devices} devices ...")
        first, big = bench.import_file(options.devices)
        big["joined"] = bench.join_sample(first, options.devices)
        if options.phases > 0:
            say(f"Joining at {options.rate}/s, without and with an import in turn ...")
            joins = bench.joins_beside()
        else:
            joins = {"phases": []}
        postgres = settings_of(stack)
    answer = {"benchmark": "import", **big, "rss_mib_small": small["rss_mib"], "pss_mib_small": small["pss_mib"],
              "small": small, "joins": joins, "errors": bench.n_errors, "checked": bench.n_checked,
              "format": options.format, "version": options.version, "cores": CORES, "build": build_type(options.built),
              "postgres": postgres, "host": host(), "method": METHOD}
    report(answer)
    say(json.dumps(answer))
    return 0 if bench.n_errors == 0 else 1


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench import")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--devices", type=at_least(100), default=1000000)
    parser.add_argument("--format", choices=("csv", "jsonl"), default="csv")
    parser.add_argument("--version", choices=VERSIONS, default="1.0.3")
    parser.add_argument("--phases", type=at_least(0), default=5)
    parser.add_argument("--seconds", type=at_least(1), default=5)
    parser.add_argument("--rate", type=at_least(1), default=500)
    parser.add_argument("--connections", type=at_least(1), default=16)
    parser.add_argument("--join-devices", type=at_least(1), default=10000)
    end_at_sigterm()
    try:
        return run(parser.parse_args())
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
