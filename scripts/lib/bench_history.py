#!/usr/bin/python3
"""scripts/bench history: whether a device's thousandth join costs what its first did.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import json
import statistics
import subprocess
import sys

from bench_stack import Failed, Stack, end_at_sigterm

SEED = 1
JOINS_MAX = 65536  # DevNonces
PROCESSES = ("keyd", "joinserver", "postgres")
MEMORY_SQL = """SELECT (SELECT sum(octet_length(recent_nonces)) FROM device_join), (SELECT count(*) FROM dev_nonce_page),
    (SELECT coalesce(sum(pg_column_size(p.*)), 0) FROM dev_nonce_page p), pg_total_relation_size('dev_nonce_page'),
    pg_total_relation_size('device_join')"""
METHOD = ("one device of LoRaWAN 1.0.3, a DevNonce not used before for each join, one request at a time on one connection, "
          "every answer checked; clocks are read between two slices")


def say(line):
    print(line, flush=True)


def result_of(process, verb):
    """The last line that cradle-bench printed."""
    lines = process.stdout.read().splitlines()
    if process.wait() != 0 or not lines:
        raise Failed(f"cradle-bench {verb} failed: the reason is above.")
    return json.loads(lines[-1])


def measure(stack, options):
    """Nanoseconds of each join, and (CPU, WAL) at the beginning of each slice and at the end."""
    result_of(stack.bench("load-devices", devices=1, seed=SEED, version="1.0.3"), "load-devices")
    process = stack.bench("history", answered=True, devices=1, seed=SEED, version="1.0.3", tries=options.joins,
                          ports=stack.ports[0], **{"in-a-row": options.slice})
    marks = []
    try:
        for _ in range(options.joins // options.slice + 1):
            if not process.stdout.readline():
                break
            marks.append((stack.cpu(), stack.wal()))
            process.stdin.write("\n")
            process.stdin.flush()
        ns = result_of(process, "history")["join"]
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    return ns, marks


def slices_of(ns, marks, size):
    slices = []
    for number, ((cpu, (wal, images)), (cpu_end, (wal_end, images_end))) in enumerate(zip(marks, marks[1:])):
        used = {name: round((cpu_end[name] - cpu[name]) / size, 1) for name in PROCESSES}
        slices.append({"first": number * size, "median_us": statistics.median(ns[number * size:(number + 1) * size]) / 1000,
                       "cpu_us": used, "wal_bytes": round((wal_end - wal) / size),
                       "wal_full_page_images": images_end - images})
    return slices


def cpu_of(one):
    return sum(one["cpu_us"].values())


def run(options):
    with Stack(options.built, 1) as stack:
        say(f"One device joins {options.joins} times ...")
        ns, marks = measure(stack, options)
        recent, pages, pages_bytes, pages_disk, hot_disk = (int(n) for n in stack.psql.ask(MEMORY_SQL)[0].split("|"))
    slices = slices_of(ns, marks, options.slice)
    for one in slices[::max(1, len(slices) // 10)] + slices[-1:]:
        say(f"from {one['first']:5}: median {one['median_us']:.0f} us, CPU a join {one['cpu_us']} us, "
            f"WAL {one['wal_bytes']} bytes with {one['wal_full_page_images']} full-page images")
    first, last = slices[0], slices[-1]
    answer = {"benchmark": "history", "joins": options.joins, "slice": options.slice, "slices": slices,
              "median_ratio": round(last["median_us"] / first["median_us"], 3),
              "cpu_ratio": round(cpu_of(last) / cpu_of(first), 3) if cpu_of(first) else 0,
              "wal_bytes": round((marks[-1][1][0] - marks[0][1][0]) / options.joins),
              "memory": {"list_bytes": recent, "pages": pages, "pages_bytes": pages_bytes,
                         "pages_on_disk": pages_disk, "hot_row_on_disk": hot_disk},
              "method": METHOD}
    say(f"Last slice to first: {answer['median_ratio']} by the median of round trips, {answer['cpu_ratio']} by CPU. WAL a join: "
        f"{answer['wal_bytes']} bytes. Its memory: {recent} bytes of list, {pages} pages of {pages_bytes} bytes, "
        f"{pages_disk} on disk with their index.")
    say(json.dumps(answer))
    return 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench history")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--joins", type=int, default=60000)
    parser.add_argument("--slice", type=int, default=1000)
    options = parser.parse_args()
    if not 1 <= options.slice <= options.joins <= JOINS_MAX or options.joins % options.slice != 0:
        parser.error(f"--joins is at most {JOINS_MAX}, and so many slices of 1 or more")
    end_at_sigterm()
    try:
        return run(options)
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
