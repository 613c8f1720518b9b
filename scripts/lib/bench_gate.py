#!/usr/bin/python3
"""scripts/bench gate: what joins cost with the gate and without it, in turn.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import json
import statistics
import subprocess
import sys

from bench_joins import CORES, SEED, VERSIONS, Failed, Stack, at_least, build_type, host, measure, prepare, say, settings_of
from bench_stack import end_at_sigterm

METHOD = ("two join servers on one database take turns, A B B A, each closed loop of fresh valid frames, every answer checked, "
          "warm-up of 1 s excluded; of both medians over the rounds; the load generator runs on the same cores")
SERVICES = ("keyd", "joinserver", "postgres")


class Halves:
    """The stack's two join servers, of which one is asked at a time."""

    def __init__(self, stack):
        self.stack, self.ports = stack, {"with": stack.ports[0], "without": stack.ports[1]}

    def run(self, which, options):
        self.stack.ports = [self.ports[which]]
        result, good, used = measure(self.stack, options)
        if not good:
            raise Failed(f"answers {which} the gate were wrong or missing")
        return {"joins_per_s": result["joins_per_s"], "checked": result["checked"],
                "cpu_us": round(sum(used["cpu_us"][name] for name in SERVICES), 1), "others_share": used["others_share"]}


def medians(runs):
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in ("joins_per_s", "cpu_us", "others_share")}


def run(options):
    runs = {"with": [], "without": []}
    with Stack(options.built, 2, second="tests/bench/cradle-joinserver-without-gate") as stack:
        prepare(stack, options)
        halves = Halves(stack)
        for i in range(options.rounds):
            for which in ("with", "without") if i % 2 == 0 else ("without", "with"):
                runs[which].append(halves.run(which, options))
            a, b = runs["with"][-1], runs["without"][-1]
            say(f"  round {i + 1}: {a['joins_per_s']:.0f} joins a second with, {b['joins_per_s']:.0f} without; "
                f"{a['cpu_us']} and {b['cpu_us']} us of CPU a join.")
        postgres = settings_of(stack)
    of = {which: medians(found) for which, found in runs.items()}
    ratio = {name: round(of["with"][name] / of["without"][name], 3) for name in ("joins_per_s", "cpu_us")}
    say(f"With the gate {ratio['joins_per_s']:.3f} times the joins a second of without, at {ratio['cpu_us']:.3f} times the CPU.")
    say(json.dumps({"benchmark": "gate", "ratio": ratio, **of, "runs": runs, "rounds": options.rounds, "seconds": options.seconds,
                    "devices": options.devices, "connections": options.connections, "version": options.version, "cores": CORES,
                    "seed": SEED, "build": build_type(options.built), "postgres": postgres, "host": host(), "method": METHOD}))
    return 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench gate")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=at_least(2), default=25)
    parser.add_argument("--devices", type=at_least(1), default=10000)
    parser.add_argument("--connections", type=at_least(1), default=64)
    parser.add_argument("--seconds", type=at_least(1), default=3)
    parser.add_argument("--version", choices=VERSIONS, default="1.0.3")
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
