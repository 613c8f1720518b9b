#!/usr/bin/python3
"""Runs the end-to-end tests: run.py --built BUILD-FOLDER [--work FOLDER] [--counts FILE] [-k NAME]...

Writes `passed failed skipped` to the counts file; exits 0 when none failed.
"""
import argparse
import os
import sys
import tempfile
import unittest

import openapi
import support

HERE = os.path.dirname(os.path.abspath(__file__))


def run(options):
    loader = unittest.TestLoader()
    if options.k:
        loader.testNamePatterns = [f"*{name}*" for name in options.k]
    suite = loader.discover(HERE, pattern="test_*.py", top_level_dir=HERE)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    support.stop_shared()
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    reports = support.sanitizer_reports()
    if reports:
        print("reports of sanitizers:", *reports, sep="\n")
        failed += 1
    unseen = openapi.description.never_succeeded() if not options.k else []
    if unseen:
        print("documented calls that no test saw succeed:", *unseen, sep="\n")
        failed += 1
    skipped = len(result.skipped)
    for test, reason in result.skipped:
        print(f"skipped: {test.id()}: {reason}")
    if result.testsRun == 0 and failed == 0:
        print("no test was run")
        failed = 1
    passed = max(result.testsRun - failed - skipped, 0)
    if options.counts:
        with open(options.counts, "w", encoding="ascii") as file:
            file.write(f"{passed} {failed} {skipped}\n")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--built", required=True)
    parser.add_argument("--work")
    parser.add_argument("--counts")
    parser.add_argument("-k", action="append",
                        help="only tests whose names (file.class.test) have this in them; repeatable")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cradle-e2e-", dir=options.work or "/tmp") as work:
        support.configure(os.path.abspath(options.built), work)
        return run(options)


sys.exit(main())
