#!/usr/bin/python3
"""scripts/bench roaming: what a partner that hangs is to local joins, and what it costs to carry joins to another Cradle.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import configparser
import json
import os
import shutil
import statistics
import subprocess
import sys

from bench_joins import CORES, SEED, VERSIONS, at_least, build_type, host, prepare, result_of, say, settings_of
from bench_stack import JOIN_EUI, NET_ID, START_SECONDS, Failed, Stack, end_at_sigterm, private, wait_until
from bench_stray import Hole, Stray

STRAY_NET_ID = "000024"
# Of nobody's devices: one is carried to the partner that hangs, the other is refused here.
HANGING_JOIN_EUI, REFUSED_JOIN_EUI = "02cdcdbe00000002", "02cdcdbe00000003"
IN_FLIGHT_MAX = 1024
FRONT_SAN = "urn:cradle:asid:demo-as"  # of a certificate that scripts/run makes for each state folder
LATENCIES = ("p50_ms", "p99_ms", "max_ms")
METHOD = ("two halves take turns in rounds, A B B A, medians over the rounds; every answer to a local or carried join checked, warm-up of 1 s "
          "excluded; local joins open loop at a fixed rate beside the same stray requests, refused here or carried to a partner that takes them and "
          "never answers; carried joins closed loop through a second Cradle over mutual TLS against the same joins asked for directly; "
          "both Cradles and the load generators run on the same cores")


class Front(Stack):
    """A second Cradle whose network server asks for the devices of the first: all it does is to carry."""

    def __init__(self, built, home):
        super().__init__(built, 1)
        self.home = home

    def add_peers(self):
        token = self.cradle("ns", "add", "--name", "bench", "--net-id", NET_ID)["token"]
        tls, credentials = self.path("tls"), self.path("credentials")
        self.home.cradle("ns", "add", "--name", "front", "--net-id", NET_ID, "--san", FRONT_SAN, "--ca", f"{tls}/ca.pem")
        shutil.copy(f"{tls}/as-demo.pem", f"{credentials}/home.crt")
        shutil.copy(f"{tls}/as-demo.key", f"{credentials}/home.key")
        shutil.copy(self.home.path("tls", "ca.pem"), f"{credentials}/home.ca")
        self.cradle("partner", "add", "--name", "home", "--url", f"https://127.0.0.1:{self.home.tls_ports[0]}/",
                    "--credential", "home", "--max-in-flight", str(IN_FLIGHT_MAX))
        self.cradle("route", "add", f"{JOIN_EUI}/64", "--kind", "partner", "--partner", "home")
        return {**dict(self.home.settings("bench.ini")["peer"]), "token": token}

    def config_of_home(self):
        """The load generator's: the first Cradle's devices, and the second's token."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(self.home.config, encoding="utf-8")
        parser["peer"]["token"] = self.settings("bench.ini")["peer"]["token"]
        path = self.path("carried.ini")
        with open(path, "w", encoding="utf-8", opener=private) as file:
            parser.write(file)
        return path


def joins(stack, options, port, **more):
    result, good = result_of(stack.bench("joins", devices=options.devices, seed=SEED, version=options.version, seconds=options.seconds,
                                         connections=options.connections, ports=port, **more), "joins")
    if not good:
        raise Failed("answers were wrong or missing")
    return {name: result[name] for name in (*LATENCIES, "joins_per_s", "checked")}


def medians(runs, names):
    return {which: {name: round(statistics.median(run[name] for run in of), 3) for name in names} for which, of in runs.items()}


def in_turn(halves, options, tell):
    """{name: what each of its rounds came to}, of two halves by name: A B B A."""
    runs = {name: [] for name in halves}
    for i in range(options.rounds):
        for name in list(halves)[::1 if i % 2 == 0 else -1]:
            runs[name].append(halves[name]())
        say(f"  round {i + 1}: " + tell(*(of[-1] for of in runs.values())))
    return runs


def beside_a_hanging_partner(stack, options):
    """Local joins at a fixed rate, beside stray requests that are refused here, and beside the same carried to a partner that hangs."""
    hole = Hole()
    token = stack.cradle("ns", "add", "--name", "stray", "--net-id", STRAY_NET_ID)["token"]
    stack.cradle("partner", "add", "--name", "hanging", "--url", f"http://127.0.0.1:{hole.port}/")
    stack.cradle("route", "add", f"{REFUSED_JOIN_EUI}/64", "--kind", "refuse")
    stack.cradle("route", "add", f"{HANGING_JOIN_EUI}/64", "--kind", "partner", "--partner", "hanging")
    strays = {"refused": Stray(stack.ports[0], token, STRAY_NET_ID, REFUSED_JOIN_EUI, options.stray),
              "hanging": Stray(stack.ports[0], token, STRAY_NET_ID, HANGING_JOIN_EUI, options.stray)}
    wait_until(lambda: strays["hanging"].once() and hole.n_taken > 0, START_SECONDS, "requests are carried to the partner that hangs")

    def half(name):
        def run():
            with strays[name]:
                return joins(stack, options, stack.ports[0], rate=options.rate)
        return run
    say(f"Local joins at {options.rate} a second, beside {options.stray} others a second ...")
    runs = in_turn({name: half(name) for name in strays}, options, lambda a, b: (
        f"p99 {a['p99_ms']:.2f} ms beside refused ones, {b['p99_ms']:.2f} ms beside a partner that hangs."))
    hole.close()
    of = medians(runs, (*LATENCIES, "joins_per_s"))
    for name, stray in strays.items():
        of[name]["stray"] = stray.told()
    return {**of, "ratio": round(of["hanging"]["p99_ms"] / of["refused"]["p99_ms"], 3), "runs": runs}


def carried(stack, options):
    """Joins as fast as the connections can, asked for directly and through a second Cradle."""
    with Front(options.built, stack) as front:
        config = front.config_of_home()
        say(f"Joins over {options.connections} connections, directly and carried by a second Cradle ...")
        joins(stack, options, front.ports[0], config=config)  # the first handshakes
        runs = in_turn({"direct": lambda: joins(stack, options, stack.ports[0]),
                        "carried": lambda: joins(stack, options, front.ports[0], config=config)}, options, lambda a, b: (
            f"{a['joins_per_s']:.0f} joins a second directly, {b['joins_per_s']:.0f} carried."))
    of = medians(runs, (*LATENCIES, "joins_per_s"))
    return {**of, "ratio": round(of["carried"]["joins_per_s"] / of["direct"]["joins_per_s"], 3), "runs": runs}


def run(options):
    with Stack(options.built, 1) as stack:
        prepare(stack, options)
        hanging = beside_a_hanging_partner(stack, options)
        through = carried(stack, options)
        postgres = settings_of(stack)
    say(f"Local joins' p99 is {hanging['hanging']['p99_ms']:.2f} ms while a partner hangs and {hanging['refused']['p99_ms']:.2f} ms while the same "
        f"requests are refused: {hanging['ratio']:.2f} times. {through['carried']['joins_per_s']:.0f} joins a second are carried, "
        f"{through['direct']['joins_per_s']:.0f} made directly: {through['ratio']:.2f} times.")
    say(json.dumps({"benchmark": "roaming", "local": hanging, "through": through, "rounds": options.rounds, "seconds": options.seconds,
                    "rate": options.rate, "stray_rate": options.stray, "devices": options.devices, "connections": options.connections,
                    "version": options.version, "load_average": os.getloadavg(), "cores": CORES, "build": build_type(options.built),
                    "postgres": postgres, "host": host(), "method": METHOD}))
    return 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench roaming")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=at_least(2), default=15)
    parser.add_argument("--seconds", type=at_least(1), default=4)
    parser.add_argument("--rate", type=at_least(1), default=500)
    parser.add_argument("--stray", type=at_least(1), default=100)
    parser.add_argument("--devices", type=at_least(1), default=10000)
    parser.add_argument("--connections", type=at_least(1), default=64)
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
