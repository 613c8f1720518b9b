#!/usr/bin/python3
"""scripts/bench joins: how many joins a second, what each costs, and what the limits are.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import json
import os
import platform
import resource
import subprocess
import sys

from bench_load import load, make_wal_segments, settle, sizes
from bench_stack import Failed, Stack, end_at_sigterm

VERSIONS = ("1.0.2", "1.0.3", "1.0.4", "1.1", "mix")
SEED = 1
CORES = len(os.sched_getaffinity(0))
WORKERS = CORES + 1  # of a join server, beside a key process a core: as scripts/run ships them
LIMIT_SECONDS_MAX = 5
BATCH_MAX = 64  # as in joinserver/worker.h
METHOD = ("closed loop of fresh valid frames made beforehand, every answer checked, warm-up of 1 s "
          "excluded; the load generator runs on the same cores")
TLS_METHOD = "; mutual TLS 1.3, handshakes before the clock starts"


def say(line):
    print(line, flush=True)


def result_of(process, verb):
    """The last line that cradle-bench printed, and whether it was content."""
    lines = process.stdout.read().splitlines()
    process.wait()
    try:
        return json.loads(lines[-1]), process.returncode == 0
    except (IndexError, ValueError):
        raise Failed(f"cradle-bench {verb} failed: the reason is above.") from None


def limit(stack, verb, **options):
    result, good = result_of(stack.bench(verb, **options), verb)
    if not good:
        raise Failed(f"cradle-bench {verb} failed: the reason is above.")
    return result["joins_per_s"]


def prepare(stack, options):
    """The devices, if they are not there; how long they took, and what the database has grown to."""
    path = stack.path("bench-devices.json")
    aged = getattr(options, "aged", False)
    wanted = {"devices": options.devices, "version": options.version, "aged": aged}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            made = json.load(file)
        if {name: made.get(name, False) for name in wanted} != wanted:
            raise Failed(f"{stack.folder} has {made['devices']} {'aged ' if made.get('aged') else ''}devices of {made['version']}: "
                         "ask for them, or choose another folder.")
        say(f"Going on with the {options.devices} devices of {stack.folder} ...")
        settle(stack)
    else:
        make_wal_segments(stack)
        say(f"Making {options.devices} devices with sealed keys ...")
        seconds = load(stack, devices=options.devices, seed=SEED, version=options.version)
        if aged:
            say("Committing joins that they have had ...")
            result_of(stack.bench("age-devices", devices=options.devices, seed=SEED, version=options.version, batch=BATCH_MAX),
                      "age-devices")
            settle(stack)
        made = {**wanted, "load_s": round(seconds, 1)}
        with open(path, "w", encoding="utf-8") as file:
            json.dump(made, file)
    mib = sizes(stack)
    say(f"  made in {made['load_s']} s; the database has {mib['database']} MiB.")
    return {"load_s": made["load_s"], "mib": mib}


def measure(stack, options):
    """What cradle-bench joins says, whether all answers were right, and what was used meanwhile."""
    process = stack.bench(
        "joins", devices=options.devices, seed=SEED, version=options.version,
        connections=options.connections, seconds=options.seconds, rate=options.rate,
        tls=int(options.tls),
        ports=",".join(str(port) for port in (stack.tls_ports if options.tls else stack.ports)))
    # The nearer to the measured time, the more it matters: batches are but a mean.
    looks = (stack.batches, stack.wal, stack.cpu)
    marks = {}
    try:
        for word, order in (("begin", looks), ("end", looks[::-1])):
            if process.stdout.readline().strip() != word:
                raise Failed("cradle-bench joins ended too early: the reason is above.")
            marks[word] = {look: look() for look in order}
        result, good = result_of(process, "joins")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    batches, (wal, images), cpu = (marks["begin"][look] for look in looks)
    batches_end, (wal_end, images_end), cpu_end = (marks["end"][look] for look in looks)
    n = max(result["joins"], 1)
    used = {name: cpu_end[name] - cpu[name] for name in cpu}
    used["load"] = result["load_cpu_us"]
    # Who else was at work: the kernel for all of us, and neighbours, who make a figure worse.
    others = used.pop("all") - sum(used.values())
    core_us = result["seconds"] * 1e6 * CORES
    image_bytes = stack.wal_images(wal, wal_end)
    return result, good, {"cpu_us": {name: round(us / n, 1) for name, us in used.items()},
                          "others_share": round(max(others, 0) / core_us, 3),
                          "batch": round(n / max(batches_end - batches, 1), 1),
                          "wal_bytes": round((wal_end - wal - image_bytes) / n),
                          "wal_fpi_bytes": round(image_bytes / n),
                          "wal_full_page_images": round((images_end - images) / n, 4)}


def host():
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        model = next((line.split(":", 1)[1].strip() for line in file
                      if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo", encoding="utf-8") as file:
        memory_kib = int(file.readline().split()[1])
    return {"cpu": model, "memory_mib": memory_kib // 1024, "kernel": platform.release()}


def build_type(built):
    with open(os.path.join(built, "meson-info/intro-buildoptions.json"), encoding="utf-8") as file:
        return next(o["value"] for o in json.load(file) if o["name"] == "buildtype")


def settings_of(stack):
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_compression",
             "min_wal_size", "max_wal_size", "shared_buffers")
    settings = {name: stack.psql.ask(f"SHOW {name}")[0] for name in names}
    return {**settings, "huge_pages_status": huge_pages_status(stack.pid("postgres"))}


def huge_pages_status(postmaster):
    """Whether its shared memory is of huge pages, as PostgreSQL 17 itself says it."""
    try:
        with open(f"/proc/{postmaster}/smaps", encoding="utf-8", errors="replace") as file:
            sizes = {int(line.split()[1]) for line in file if line.startswith("KernelPageSize:")}
    except OSError:  # root in a container reads those of another user only with a capability
        return "unknown"
    return "on" if max(sizes, default=0) > resource.getpagesize() // 1024 else "off"


def report(answer):
    cpu = answer["cpu_us"]
    over = "mutual TLS" if answer["tls"] else "plain HTTP"
    say(f"{answer['joins_per_s']:.0f} joins a second of LoRaWAN {answer['version']} devices, "
        f"{answer['connections']} connections over {over}, {answer['servers']} join server(s): "
        f"p50 {answer['p50_ms']:.2f} ms, p95 {answer['p95_ms']:.2f} ms, p99 {answer['p99_ms']:.2f} ms; "
        f"{answer['checked']} answers checked, {answer['errors']} wrong or missing.")
    say(f"CPU a join: keyd {cpu['keyd']} us, joinserver {cpu['joinserver']} us, "
        f"postgres {cpu['postgres']} us, load generator {cpu['load']} us; "
        f"keyd's share {answer['keyd_share']}. WAL a join: {answer['wal_bytes']} bytes, and full-page images of "
        f"{answer['wal_fpi_bytes']} bytes. {answer['batch']} joins a batch. "
        f"{answer['others_share']:.0%} of the cores' time went to other processes.")
    say(f"Limits in the same run: keyd alone {answer['keyd_limit']:.0f}/s, "
        f"commits alone {answer['commit_limit']:.0f}/s, one after the other {answer['both_limit']:.0f}/s.")


def limits(stack, options, batch):
    """{keyd_limit, commit_limit, both_limit}, in batches of this size."""
    common = {"devices": options.devices, "seed": SEED, "version": options.version,
              "seconds": min(options.seconds, LIMIT_SECONDS_MAX), "batch": min(max(round(batch), 1), BATCH_MAX)}
    keyds = CORES * options.servers
    # While one thread reads an answer the keyd works for the other.
    keyd = limit(stack, "keyd-limit", processes=keyds, threads=2 * keyds, **common)
    commit = limit(stack, "commit-limit", threads=WORKERS * options.servers, **common)
    return {"keyd_limit": keyd, "commit_limit": commit,
            "both_limit": round(1 / (1 / keyd + 1 / commit), 1) if keyd and commit else 0}


def run(options):
    with Stack(options.built, options.servers, keep=options.state) as stack:
        loaded = prepare(stack, options)
        say(f"Joining for {options.seconds} s ...")
        result, good, used = measure(stack, options)
        bounds = limits(stack, options, used["batch"])
        postgres = settings_of(stack)
    cpu = used["cpu_us"]
    own = cpu["keyd"] + cpu["joinserver"] + cpu["postgres"]
    answer = {
        "benchmark": "joins", **{k: result[k] for k in (
            "joins_per_s", "p50_ms", "p95_ms", "p99_ms", "max_ms", "errors", "checked", "joins")},
        **used, "keyd_share": round(cpu["keyd"] / own, 3) if own else 0,
        **bounds, **loaded,
        "devices": options.devices, "connections": options.connections,
        "seconds": result["seconds"], "rate": options.rate, "version": options.version,
        "servers": options.servers, "keyds": CORES * options.servers, "workers": WORKERS * options.servers, "cores": CORES,
        "build": build_type(options.built), "postgres": postgres, "host": host(),
        "tls": options.tls, "aged": options.aged,
        "method": (METHOD if options.rate == 0 else METHOD.replace(
            "closed loop", f"open loop of {options.rate}/s, latency from the intended send time,"))
                  + (TLS_METHOD if options.tls else "")}
    report(answer)
    say(json.dumps(answer))
    return 0 if good else 1


def at_least(smallest):
    def read(text):
        number = int(text)
        if number < smallest:
            raise argparse.ArgumentTypeError(f"must be at least {smallest}")
        return number
    return read


def parser_of(name, connections):
    """The options that scripts/bench joins has in common with others."""
    parser = argparse.ArgumentParser(prog=f"scripts/bench {name}")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--devices", type=at_least(1), default=10000)
    parser.add_argument("--connections", type=at_least(1), default=connections)
    parser.add_argument("--seconds", type=at_least(1), default=10)
    parser.add_argument("--version", choices=VERSIONS, default="1.0.3")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--servers", type=at_least(1), default=1)
    parser.add_argument("--state")
    return parser


def main():
    parser = parser_of("joins", connections=64)
    parser.add_argument("--rate", type=at_least(0), default=0)
    parser.add_argument("--aged", action="store_true")
    end_at_sigterm()
    try:
        return run(parser.parse_args())
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
