#!/usr/bin/python3
"""scripts/bench routes: what it costs to find the route of a JoinEUI among many.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import json
import subprocess
import sys

from bench_joins import CORES, at_least, build_type, host, say

LIMIT_NS = 1000
METHOD = ("2^20 look-ups of JoinEUIs drawn from the routes' ranges, one after the other in one thread, rounds of them: the "
          "median round over its look-ups. Flat: ranges of 40 bits. Nested: of 8 to 64 bits, each in one drawn from those before it")


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench routes")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--routes", type=at_least(1), default=100000)
    parser.add_argument("--rounds", type=at_least(1), default=21)
    options = parser.parse_args()
    run = subprocess.run([f"{options.built}/tests/bench/cradle-bench-routes", str(options.routes), str(options.rounds)],
                         check=False, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"bench routes: {run.stderr.strip()}")
    found = json.loads(run.stdout)
    for name in ("flat", "nested"):
        say(f"{options.routes} routes, {name}: {found[name + '_ns']} ns a look-up (worst round {found[name + '_worst_round_ns']}), "
            f"{found[name + '_build_ms']} ms to make the table.")
    good = max(found["flat_ns"], found["nested_ns"]) <= LIMIT_NS
    print(json.dumps({"routes": options.routes, "rounds": options.rounds, **found, "limit_ns": LIMIT_NS, "good": good,
                      "method": METHOD, "build_type": build_type(options.built), "cores": CORES, "host": host()}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
