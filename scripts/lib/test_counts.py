#!/usr/bin/python3
"""Counts what `meson test` ran: test_counts.py TESTLOG.JSON prints `passed failed skipped` and,
on standard error, the output of every test that failed.

A program of the Check framework says how many tests it holds ("100%: Checks: 12, Failures: 0,
Errors: 0"); a program that does not say so, or that died on the way, counts as one. One that says that it holds
none has failed.
"""
import json
import re
import sys

CHECKS = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)
OUTPUT_LINES = 60


def count(test):
    """(passed, failed, skipped) of one program."""
    if test["result"] == "SKIP":
        return 0, 0, 1
    sums = [tuple(map(int, found)) for found in CHECKS.findall(test.get("stdout", ""))]
    checks = sum(s[0] for s in sums)
    bad = sum(s[1] + s[2] for s in sums)
    if sums and checks == 0:
        return 0, 1, 0
    if test["result"] in ("OK", "EXPECTEDFAIL"):
        return max(checks, 1), 0, 0
    return max(checks - bad, 0), max(bad, 1), 0


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        tests = [json.loads(line) for line in file]
    if not tests:
        sys.exit("no test was run")
    counts = [count(test) for test in tests]
    for test, (_, failed, _) in zip(tests, counts):
        if failed:
            output = (test.get("stdout", "") + test.get("stderr", "")).splitlines()
            print(f"--- {test['name']}: {test['result']}", *output[-OUTPUT_LINES:], sep="\n",
                  file=sys.stderr)
    print(*(sum(column) for column in zip(*counts)))


main()
