#!/usr/bin/python3
"""scripts/bench latency: how long joins take that come at a fixed rate.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import json
import subprocess
import sys

from bench_joins import (CORES, SEED, TLS_METHOD, Failed, Stack, at_least, build_type, host, measure, parser_of, prepare, say,
                         settings_of)
from bench_stack import end_at_sigterm

METHOD = ("open loop of fresh valid frames made beforehand, latency from the intended send time, every answer checked, warm-up of "
          "1 s excluded; the load generator runs on the same cores")
LATENCIES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")


def maximum(stack, options):
    """Joins a second of a closed loop over the same connections."""
    say(f"Joining as fast as {options.connections} connections can for {options.seconds} s ...")
    options.rate = 0
    result, good, _ = measure(stack, options)
    if not good:
        raise Failed("answers of the closed loop were wrong or missing")
    say(f"  {result['joins_per_s']:.0f} joins a second.")
    return result["joins_per_s"]


def run(options):
    found = {}
    with Stack(options.built, options.servers, keep=options.state) as stack:
        loaded = prepare(stack, options)
        if options.percent:
            found = {"percent": options.percent, "maximum": maximum(stack, options)}
            options.rate = max(1, round(found["maximum"] * options.percent / 100))
        say(f"Joining at {options.rate} a second for {options.seconds} s ...")
        result, good, used = measure(stack, options)
        postgres = settings_of(stack)
    say(", ".join(f"{name[:-3]} {result[name]:.2f} ms" for name in LATENCIES)
        + f" at {options.rate} joins of LoRaWAN {options.version} devices a second; {result['joins_per_s']:.0f} a second were answered, "
        f"{result['checked']} answers checked, {result['errors']} wrong or missing. "
        f"{used['others_share']:.0%} of the cores' time went to other processes.")
    say(json.dumps({
        "benchmark": "latency", "rate": options.rate, **found,
        **{name: result[name] for name in (*LATENCIES, "joins_per_s", "errors", "checked", "joins", "seconds")}, **used, **loaded,
        "devices": options.devices, "connections": options.connections, "version": options.version, "servers": options.servers,
        "tls": options.tls, "cores": CORES, "seed": SEED, "build": build_type(options.built), "postgres": postgres, "host": host(),
        "method": METHOD + (TLS_METHOD if options.tls else "")}))
    return 0 if good else 1


def main():
    parser = parser_of("latency", connections=256)
    pace = parser.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=at_least(1), default=1000)
    pace.add_argument("--percent", type=at_least(1))
    end_at_sigterm()
    try:
        return run(parser.parse_args())
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
