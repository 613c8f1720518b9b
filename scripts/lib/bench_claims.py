#!/usr/bin/python3
"""scripts/bench claims: how many devices a second an owner can claim, and what each costs.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.parse

from bench_import import Maker
from bench_joins import CORES, SEED, at_least, build_type, host, result_of, say, settings_of
from bench_load import make_wal_segments
from bench_stack import AS_ID, NET_ID, Failed, Stack, end_at_sigterm

BATCH_MAX = 1000
PAGE = 1000  # devices
PAGES_MAX = 400
PAGES_BEFORE = 5  # that are not counted
OWNER = "Bench owner"
METHOD = ("closed loop of one client, each claim of another device with the code of its import file and an Idempotency-Key of "
          "its own, every answer checked, every device looked up afterwards, warm-up of 1 s excluded; the load generator runs "
          "on the same cores")
# How many devices stand as a first claim leaves them, and how many were touched at all.
CLAIMED_SQL = (
    "SELECT count(*) FILTER (WHERE o.name = '{owner}' AND d.ownership = 'claimed' AND d.service = 'active'"
    "  AND d.ownership_epoch = 1 AND d.home_net_id = '\\x{net_id}' AND d.as_id = '{as_id}' AND c.generation = 2"
    "  AND c.origin = 'claimed'), count(*) FILTER (WHERE d.ownership <> 'unowned' OR c.generation <> 1)"
    " FROM device d JOIN claim_code c USING (dev_eui) LEFT JOIN organization o ON o.id = d.owner_id")
TOLD_SQL = ("SELECT (SELECT count(*) FROM audit_event WHERE action = 'device.claim'),"
            " (SELECT count(*) FROM claim_event WHERE outcome = 'claimed'), (SELECT count(*) FROM claim_event)")


def list_devices(maker, n_devices):
    """Milliseconds of each page of the maker's devices, from the first on, over one connection."""
    connection = maker.connect()
    took, seen, cursor = [], set(), None
    try:
        while len(took) < PAGES_MAX and (cursor is not None or not took):
            query = urllib.parse.urlencode({"limit": PAGE, **({"cursor": cursor} if cursor else {})})
            begin = time.monotonic()
            connection.request("GET", f"/v1/devices?{query}", headers={"Authorization": f"Bearer {maker.token}"})
            answer = connection.getresponse()
            body = answer.read()
            took.append((time.monotonic() - begin) * 1000)
            if answer.status != 200:
                raise Failed(f"a page of devices was answered {answer.status}: {body.decode(errors='replace')[:400]}")
            page = json.loads(body)
            seen.update(device["dev_eui"] for device in page["items"])
            cursor = page["next"]
    finally:
        connection.close()
    if len(seen) != min(n_devices, PAGES_MAX * PAGE):
        raise Failed(f"{len(took)} pages told {len(seen)} of {n_devices} devices")
    return took[PAGES_BEFORE:] or took


def prepare(stack, options):
    """Devices that nobody owns, each with a code, and a client that may claim them; how long pages of them took."""
    make_wal_segments(stack)
    say(f"Importing {options.devices} devices with codes ...")
    maker = Maker(stack, options, codes=True)
    path = maker.make_file(0, options.devices)
    sent = maker.send(path, 0)
    os.unlink(path)
    if sent.failure or sent.errors() > 0:
        raise Failed(f"the import failed: {sent.failure or 'not all devices are there'}")
    client = stack.cradle("client", "add", "--organization", OWNER, "--role", "owner")
    stack.tell(owner_token=stack.access_token(client))
    stack.psql.ask("VACUUM ANALYZE")
    return list_devices(maker, options.devices)


def measure(stack, options):
    """What cradle-bench claims says, and what was used meanwhile."""
    process = stack.bench("claims", devices=options.devices, seed=SEED, version=options.version,
                          connections=options.connections, seconds=options.seconds, batch=options.batch,
                          ports=stack.activation_port)
    marks = []
    try:
        for word in ("begin", "end"):
            if process.stdout.readline().strip() != word:
                raise Failed("cradle-bench claims ended too early: the reason is above.")
            marks.append((stack.wal(), stack.cpu("activation")))
        result, _ = result_of(process, "claims")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if result["claims"] == 0 or result["seconds"] == 0:
        raise Failed(f"nothing was claimed in the measured time, and {result['claimed']} of {options.devices} devices in the second of "
                     "warm-up before it: where that is all, take more --devices.")
    ((wal, images), cpu), ((wal_end, images_end), cpu_end) = marks
    n = result["claims"]
    used = {name: cpu_end[name] - cpu[name] for name in cpu}
    used["load"] = result["load_cpu_us"]
    busy = used.pop("all")
    core_us = result["seconds"] * 1e6 * CORES
    return result, {"cpu_us": {name: round(us / n, 1) for name, us in used.items()},
                    "idle_share": round(max(core_us - busy, 0) / core_us, 3),
                    "others_share": round(max(busy - sum(used.values()), 0) / core_us, 3),
                    "wal_bytes": round((wal_end - wal) / n),
                    "wal_full_page_images": round((images_end - images) / n, 4)}


def look_up(stack, n_claimed):
    """How many devices, audit events and attempts are not what as many claims leave behind."""
    (row,) = stack.psql.ask(CLAIMED_SQL.format(owner=OWNER, net_id=NET_ID, as_id=AS_ID))
    (told,) = stack.psql.ask(TOLD_SQL)
    found = [int(n) for n in f"{row}|{told}".split("|")]
    if set(found) == {n_claimed}:
        return 0
    print(f"cradle-bench: {n_claimed} devices were claimed; in the database {found[0]} are, {found[1]} have changed, and there "
          f"are {found[2]} audit events and {found[3]} of {found[4]} attempts that say so", file=sys.stderr)
    return max(abs(n - n_claimed) for n in found)


def report(answer):
    cpu = answer["cpu_us"]
    say(f"{answer['claims_per_s']:.0f} claims a second, {answer['batch']} a call, {answer['connections']} connections: p50 "
        f"{answer['p50_ms']:.2f} ms, p95 {answer['p95_ms']:.2f} ms, p99 {answer['p99_ms']:.2f} ms; {answer['checked']} answers "
        f"checked, {answer['errors']} wrong or missing.")
    say(f"CPU a claim: keyd {cpu['keyd']} us, activation {cpu['activation']} us, postgres {cpu['postgres']} us, load generator "
        f"{cpu['load']} us; WAL {answer['wal_bytes']} bytes. Cores idle {answer['idle_share']:.0%}, at work for others "
        f"{answer['others_share']:.0%}.")
    say(f"Listing {PAGE} of {answer['devices']} devices: median {answer['list_p50_ms']} ms, at most {answer['list_max_ms']} ms "
        f"({answer['list_pages']} pages).")


def run(options):
    with Stack(options.built, 1) as stack:
        pages = prepare(stack, options)
        say(f"Claiming for {options.seconds} s ...")
        result, used = measure(stack, options)
        # What came after the measured time is in the database too.
        not_there = look_up(stack, result["claimed"])
        postgres = settings_of(stack)
    answer = {"benchmark": "claims", **{name: result[name] for name in (
        "claims_per_s", "p50_ms", "p95_ms", "p99_ms", "max_ms", "errors", "checked", "claims", "claimed", "seconds")},
        **used, "list_pages": len(pages), "list_p50_ms": round(statistics.median(pages), 2), "list_max_ms": round(max(pages), 2),
        "not_in_database": not_there, "devices": options.devices, "connections": options.connections,
        "batch": options.batch, "cores": CORES, "build": build_type(options.built), "postgres": postgres, "host": host(),
        "method": METHOD}
    report(answer)
    say(json.dumps(answer))
    return 0 if result["errors"] == 0 and not_there == 0 and result["claims"] > 0 else 1


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench claims")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--devices", type=at_least(1), default=60000)
    parser.add_argument("--connections", type=at_least(1), default=64)
    parser.add_argument("--seconds", type=at_least(1), default=10)
    parser.add_argument("--batch", type=at_least(1), default=1)
    options = parser.parse_args()
    if options.batch > min(BATCH_MAX, options.devices):
        parser.error(f"--batch must be at most {BATCH_MAX}, and not more than the devices")
    options.format, options.version = "csv", "1.0.3"
    end_at_sigterm()
    try:
        return run(options)
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
