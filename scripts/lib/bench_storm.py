#!/usr/bin/python3
"""scripts/bench storm: more joins than can be answered, and what that is to another network server.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import configparser
import contextlib
import json
import os
import subprocess
import sys

from bench_joins import CORES, SEED, VERSIONS, at_least, build_type, host, prepare, result_of, say, settings_of
from bench_load import load
from bench_stack import START_SECONDS, Failed, Stack, end_at_sigterm, private, wait_until

# One network server is given as many connections as make a storm; its own limit would stop it before. Above seven eighths of
# all there may be, idle ones would be closed, and requests on their way to them lost.
STORM_SETTINGS = ("join.connections=8192", "join.connections_per_address=0", "join.connections_per_peer=0")
NET_ID = "000024"
MODEST_DEVICES, MODEST_FIRST, MODEST_CONNECTIONS = 2000, 100000000, 32
MODEST_LESS = 3  # seconds of the storm in which the modest one only begins
NICE = -10  # of the load generators, where it may be, as of the HTTP thread: else it is often they who are late
LATENCIES = ("p50_ms", "p95_ms", "p99_ms", "max_ms")
METHOD = ("closed loop over at most 256 connections for the maximum, then open loop: half of it, three times of it, half of it; every answer "
          "checked, JoinNonces of all devices compared with the database; the load generator runs on the same cores")


def urgent(process):
    """The same process, before what has no such claim."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
    return process


class Modest:
    """Another network server, with devices of its own, that asks for joins at a fixed rate."""

    def __init__(self, stack, options):
        self.stack, self.rate = stack, options.modest_rate
        self.version, self.config = options.version, stack.path("modest.ini")
        token = stack.cradle("ns", "add", "--name", "modest", "--net-id", NET_ID)["token"]
        kek = stack.add_kek("--ns", NET_ID, "modest-ns")
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(stack.config, encoding="utf-8")
        parser["peer"].update(token=token, net_id=NET_ID, ns_kek_label="modest-ns", ns_kek=kek)
        with open(self.config, "w", encoding="utf-8", opener=private) as file:
            parser.write(file)
        load(stack, **self.own())
        wait_until(lambda: stack.knows_peers(stack.ports[-1], token), START_SECONDS, "the join server knows the modest one")

    def own(self):
        return {"config": self.config, "devices": MODEST_DEVICES, "first": MODEST_FIRST, "seed": SEED, "version": self.version}

    def join(self, seconds):
        result, good = result_of(urgent(self.stack.bench("joins", connections=MODEST_CONNECTIONS, rate=self.rate, seconds=seconds,
                                                         ports=self.stack.ports[-1], **self.own())), "joins")
        return {name: result[name] for name in (*LATENCIES, "joins_per_s", "errors", "checked")}, good


def storm(stack, options, **more):
    return urgent(stack.bench("storm", devices=options.devices, seed=SEED, version=options.version, ports=stack.ports[-1],
                              connections=options.connections, seconds=options.seconds, **more))


def overload(stack, options):
    """Three times the maximum, and the modest one without it and beside it."""
    modest = Modest(stack, options)
    seconds = options.seconds - MODEST_LESS
    alone, good_alone = modest.join(seconds)
    say(f"Looking for the maximum, and then asking for three times as much for {options.seconds} s ...")
    process = storm(stack, options)
    nice = os.getpriority(os.PRIO_PROCESS, process.pid)
    try:
        while (word := process.stdout.readline()) != "stage\n":
            if word == "":
                raise Failed("cradle-bench storm ended too early: the reason is above.")
        beside, good_beside = modest.join(seconds)
        result, good = result_of(process, "storm")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    say(f"{result['joins_per_s']:.0f} joins a second of {result['offered_per_s']:.0f} that were asked for, {result['of_maximum']:.0%} of the "
        f"maximum ({result['maximum']:.0f}); {result['refused']} refused, p99 {result['refused_p99_ms']:.1f} ms, at most "
        f"{result['refused_max_ms']:.1f} ms; as before after {result['recovered_ms']} ms.")
    say(f"Another network server that asks for {options.modest_rate} a second: p50 {alone['p50_ms']:.2f} ms, p99 {alone['p99_ms']:.2f} ms alone; "
        f"{beside['p50_ms']:.2f} and {beside['p99_ms']:.2f} ms beside the storm, {beside['errors']} of {beside['checked']} refused.")
    return {**result, "nice": nice, "modest": {"rate": options.modest_rate, "alone": alone, "beside": beside}}, good and good_alone and good_beside


def all_devices(stack, options):
    """Every device once within a time, and again until it has joined."""
    say(f"All {options.devices} devices join within {options.within} s ...")
    result, good = result_of(storm(stack, options, within=options.within), "storm")
    say(f"{result['joined_at_first']:.1%} joined at first, all after {result['seconds']:.1f} s; {result['refused']} requests were refused.")
    return result, good and result["left"] == 0


def run(options):
    with Stack(options.built, 2, settings=STORM_SETTINGS) as stack:
        loaded = prepare(stack, options)
        result, good = (all_devices if options.within else overload)(stack, options)
        postgres = settings_of(stack)
    say(f"{result['checked']} answers checked, {result['errors']} wrong or missing ({result['unanswered']} missing), {result['late']} late; "
        f"refusals have spent nonces of {result['nonces_spent']} devices.")
    say(json.dumps({
        "benchmark": "storm", **result, **loaded, "devices": options.devices, "connections": options.connections,
        "seconds_of_storm": options.seconds, "version": options.version, "cores": CORES, "build": build_type(options.built),
        "postgres": postgres, "host": host(), "method": METHOD}))
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench storm")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--devices", type=at_least(1), default=100000)
    parser.add_argument("--connections", type=at_least(1), default=4000)
    parser.add_argument("--seconds", type=at_least(MODEST_LESS + 1), default=10)
    parser.add_argument("--within", type=at_least(1))
    parser.add_argument("--modest-rate", type=at_least(1), default=200)
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
