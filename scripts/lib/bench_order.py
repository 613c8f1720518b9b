#!/usr/bin/python3
"""scripts/bench order: how long an order of credentials takes until it is ready for download, what a device costs, and how
much memory the service takes for it.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request

from bench_import import SMALL_SHARE, Watcher
from bench_joins import CORES, SEED, at_least, build_type, host, say, settings_of
from bench_load import make_wal_segments
from bench_stack import AS_ID, JOIN_EUI, NET_ID, Failed, Stack, end_at_sigterm

VERSIONS = ("1.0.3", "1.0.4", "1.1")
FIRST = 0x02cdcdbf00000000
SAMPLE = 20         # devices that are opened singly, claimed with their codes and join
LOOK_SECONDS = 0.2  # between two looks at what is waited for
WAIT_SECONDS = 3600  # for what does not come
CALL_SECONDS = 600
RSA_BITS = 3072
METHOD = ("one maker, one order; time from the call until its job is done, which is when its files can be fetched; memory is the "
          "greatest sum of the resident sizes (RSS) of the activation service and its key processes while it is made and "
          "fetched, looked at every 100 ms; then delivery.jwe is fetched and opened whole by `cradle delivery open`, and a sample of its "
          "devices is claimed with its codes and joins with its keys")


def wait_until(condition, what):
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > until:
            raise Failed(f"in vain: {what}")
        time.sleep(LOOK_SECONDS)


class Client:
    def __init__(self, stack, organization, role):
        self.url = f"http://127.0.0.1:{stack.activation_port}"
        self.token = stack.access_token(stack.cradle("client", "add", "--organization", organization, "--role", role))
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def open(self, method, path, body=None):
        request = urllib.request.Request(
            self.url + path, data=None if body is None else json.dumps(body).encode(), method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"})
        try:
            return self.opener.open(request, timeout=CALL_SECONDS)
        except urllib.error.HTTPError as failure:
            raise Failed(f"{method} {path} answered {failure.code}: {failure.read().decode(errors='replace')[:400]}") from None

    def call(self, method, path, body=None):
        with self.open(method, path, body) as answer:
            return json.loads(answer.read())


class Bench:
    def __init__(self, stack, options):
        self.stack, self.options = stack, options
        self.admin = Client(stack, "Bench admin", "admin")
        self.maker = Client(stack, "Bench maker", "module_maker")
        self.owner = Client(stack, "Bench owner", "owner")
        self.key = os.path.join(stack.folder, "maker.pem")
        self.audit_key = os.path.join(stack.folder, "audit.pem")
        self.next = FIRST
        self.n_errors = 0
        (self.organization,) = stack.psql.ask("SELECT encode(public_id, 'hex') FROM organization WHERE name = 'Bench maker'")
        self.certificate = self.admin.call("POST", "/v1/certificates", {
            "organization": self.organization, "kind": "module", "name": "Bench"})["number"]

    def prepare(self):
        make_wal_segments(self.stack)
        for words in (["genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{RSA_BITS}", "-out", self.key],):
            subprocess.run(["openssl", *words], check=True, capture_output=True)
        self.public = subprocess.run(["openssl", "pkey", "-in", self.key, "-pubout"], check=True, capture_output=True,
                                     text=True).stdout
        with self.maker.open("GET", "/v1/audit/key") as answer, open(self.audit_key, "wb") as file:
            file.write(answer.read())
        # Nobody joins: until that is known, the service goes slowly (docs/architecture.md).
        wait_until(self.knows_that_nobody_joins, "the service knows that nobody joins")

    def knows_that_nobody_joins(self):
        with self.maker.open("GET", "/metrics") as answer:
            return b"\ncradle_import_slow 0\n" in answer.read()

    def error(self, text):
        self.n_errors += 1
        print(f"cradle-bench: {text}", file=sys.stderr)

    def make(self, n):
        """The batch, and seconds from the call until it is ready."""
        first, self.next = self.next, self.next + n
        self.admin.call("POST", "/v1/eui-blocks", {"organization": self.organization, "kind": "lorawan",
                                                   "first": f"{first:016x}", "size": n})
        begin = time.monotonic()
        batch = self.maker.call("POST", "/v1/batches", {
            "count": n, "kind": "lorawan", "certificate": self.certificate, "join_eui": JOIN_EUI,
            "mac_version": self.options.version, "public_key": self.public})
        path = f"/v1/jobs/{batch['job']}"
        wait_until(lambda: self.maker.call("GET", path)["state"] not in ("waiting", "running"), "the order has ended")
        job = self.maker.call("GET", path)
        seconds = time.monotonic() - begin
        if (job["state"], job["created"]) != ("done", n):
            raise Failed(f"the order ended so: {job}")
        return batch["id"], seconds

    def fetch(self, batch):
        """The file, and seconds until its last byte."""
        path = os.path.join(self.stack.folder, "delivery.jwe")
        begin = time.monotonic()
        with self.maker.open("GET", f"/v1/batches/{batch}/files/delivery.jwe") as answer, open(path, "wb") as file:
            while block := answer.read(1 << 16):
                file.write(block)
        return path, time.monotonic() - begin

    def order(self, n):
        with Watcher(self.stack) as watcher:
            wal, cpu = self.stack.wal(), self.stack.cpu("activation")
            batch, seconds = self.make(n)
            cpu_end, wal_end = self.stack.cpu("activation"), self.stack.wal()
            path, fetch_seconds = self.fetch(batch)
        used = {name: cpu_end[name] - cpu[name] for name in cpu}
        busy = used.pop("all")
        core_us = seconds * 1e6 * CORES
        return path, {
            "devices": n, "seconds": round(seconds, 3), "devices_per_s": round(n / seconds, 1),
            "rss_mib": watcher.mib("rss"), "pss_mib": watcher.mib("pss"), "rss_mib_activation": watcher.mib("activation"),
            "rss_mib_keyds": watcher.mib("keyds"), "cpu_us": {name: round(us / n, 2) for name, us in used.items()},
            "idle_share": round(max(core_us - busy, 0) / core_us, 3),
            "others_share": round(max(busy - sum(used.values()), 0) / core_us, 3),
            "wal_bytes": round((wal_end[0] - wal[0]) / n), "fetch_seconds": round(fetch_seconds, 3),
            "file_mib": round(os.path.getsize(path) / 2**20, 1)}

    def opened(self, path, n):
        """A sample of its devices, when all of them open."""
        wanted = set(random.Random(SEED).sample(range(1, n + 1), min(SAMPLE, n)))
        sample, n_lines, identifiers = [], 0, set()
        with subprocess.Popen([self.stack.program("cli/cradle"), "delivery", "open", path, "--key", self.key, "--audit-key",
                               self.audit_key], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
            for text in process.stdout:
                n_lines += 1
                identifiers.add(text.split('"dev_eui":"', 1)[1][:16])
                if n_lines in wanted:
                    sample.append(json.loads(text))
        if process.returncode != 0 or n_lines != n or len(identifiers) != n:
            self.error(f"of {n} devices {n_lines} open, {len(identifiers)} differ; exit status {process.returncode}")
        return sample

    def joins(self, device):
        peer = self.stack.settings("bench.ini")["peer"]
        self.stack.psql.ask(f"UPDATE device SET credential = 'activable' WHERE dev_eui = '\\x{device['dev_eui']}'")
        self.owner.call("POST", "/v1/claims", {"dev_eui": device["dev_eui"], "code": device["code"], "home_net_id": NET_ID,
                                               "as_id": AS_ID})
        keys = ["--app-key", device["app_key"], *(["--nwk-key", device["nwk_key"]] if device["nwk_key"] else [])]
        run = subprocess.run(
            [self.stack.program("cli/cradle-device"), "join", "--json", "--url", f"http://127.0.0.1:{self.stack.ports[0]}/",
             "--token", peer["token"], "--net-id", NET_ID, "--ns-kek", f"{peer['ns_kek_label']}={peer['ns_kek']}", "--as-kek",
             f"{peer['as_kek_label']}={peer['as_kek']}", "--dev-eui", device["dev_eui"], "--join-eui", device["join_eui"],
             "--mac-version", device["mac_version"], "--dev-nonce", "1", *keys],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return run.returncode == 0


def report(answer):
    cpu = answer["cpu_us"]
    say(f"{answer['devices']} devices in {answer['seconds']:.1f} s ({answer['devices_per_s']:.0f} a second); fetched in "
        f"{answer['fetch_seconds']:.1f} s; of {answer['sampled']} that were claimed {answer['joined']} joined.")
    say(f"CPU a device: keyd {cpu['keyd']} us, activation {cpu['activation']} us, postgres {cpu['postgres']} us; WAL "
        f"{answer['wal_bytes']} bytes. Cores idle {answer['idle_share']:.0%}, at work for others {answer['others_share']:.0%}.")
    say(f"Memory of the service: {answer['rss_mib']} MiB; with an order of a tenth {answer['rss_mib_small']} MiB.")


def run(options):
    with Stack(options.built, 1) as stack:
        bench = Bench(stack, options)
        bench.prepare()
        n_small = max(options.devices // SMALL_SHARE, 1)
        say(f"Ordering {n_small} devices ...")
        _, small = bench.order(n_small)
        say(f"Ordering {options.devices} devices ...")
        path, big = bench.order(options.devices)
        say(f"  {big['seconds']} s, of both cores {big['others_share']:.0%} at work for others. Opening them ...")
        sample = bench.opened(path, options.devices)
        joined = sum(bench.joins(device) for device in sample)
        if joined != len(sample) or not sample:
            bench.error(f"of {len(sample)} devices {joined} joined")
        postgres = settings_of(stack)
    answer = {"benchmark": "order", **big, "rss_mib_small": small["rss_mib"], "small": small, "sampled": len(sample),
              "joined": joined, "errors": bench.n_errors, "version": options.version, "cores": CORES,
              "build": build_type(options.built), "postgres": postgres, "host": host(), "method": METHOD}
    report(answer)
    say(json.dumps(answer))
    return 0 if bench.n_errors == 0 else 1


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench order")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--devices", type=at_least(1), default=1000000)
    parser.add_argument("--version", choices=VERSIONS, default="1.0.3")
    end_at_sigterm()
    try:
        return run(parser.parse_args())
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
