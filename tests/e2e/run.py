#!/usr/bin/python3
"""Runs the end-to-end tests: run.py --built BUILD-FOLDER [--work FOLDER] [--counts FILE] [--jobs N] [-k NAME]...

Writes `passed failed skipped` to the counts file; exits 0 when none failed. With --jobs so many processes share the
files of tests, each with stacks of its own: the tests mostly wait. A file that says ALONE = True takes all that the
machine has, so it comes when the others are done. Behind a failure stand the last lines of the logs of that time.
"""
import argparse
import itertools
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import unittest

import openapi
import support
from clusters import remove_clusters  # of scripts/lib, which support finds

HERE = os.path.dirname(os.path.abspath(__file__))


class Outcome:
    """What one process of tests has to tell."""

    def __init__(self):
        self.run = self.failed = 0
        self.skipped, self.reports, self.seen, self.seconds = [], [], set(), {}

    def add(self, name, seconds, result):
        self.run += result.testsRun
        self.failed += len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
        self.skipped += [f"{test.id()}: {reason}" for test, reason in result.skipped]
        self.seconds[name] = seconds

    def merge(self, other):
        self.run += other.run
        self.failed += other.failed
        self.skipped += other.skipped
        self.reports += other.reports
        self.seen |= other.seen
        self.seconds |= other.seconds


class Result(unittest.TextTestResult):
    """Says with each failure what the services said: their folders are gone when somebody reads it."""

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.said()

    def addError(self, test, err):
        super().addError(test, err)
        self.said()

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.said()

    def said(self):
        for path, lines in support.last_log_lines():
            self.stream.writeln(f"--- {path}")
            for line in lines:
                self.stream.writeln(f"    {line}")


def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


def files_of(options):
    """[(name of a file of tests, its tests)] that are asked for."""
    loader = unittest.TestLoader()
    if options.k:
        loader.testNamePatterns = [f"*{name}*" for name in options.k]
    suite = loader.discover(HERE, pattern="test_*.py", top_level_dir=HERE)
    return [(name, unittest.TestSuite(tests))
            for name, tests in itertools.groupby(flat(suite), lambda test: type(test).__module__)]


def look_at_shared(name, known, outcome, stream):
    """What this file has left in the database of all, which is a failure; those behind it are not blamed for it."""
    try:
        left = set(support.left_in_shared())
        fault = f"left in the database of all: {', '.join(sorted(left - known))}"
    except (AssertionError, OSError) as failure:
        left = {"one that cannot be asked"}
        fault = f"left the database of all in a state in which it cannot be asked: {failure}"
    if left - known:
        stream.write(f"FAIL: {name} {fault}\n")
        outcome.failed += 1
    return left


def run_files(files, indices, stream):
    outcome, known = Outcome(), set()
    try:
        for name, suite in map(files.__getitem__, indices):
            begin = time.monotonic()
            result = unittest.TextTestRunner(stream=stream, verbosity=2, resultclass=Result).run(suite)
            outcome.add(name, time.monotonic() - begin, result)
            known |= look_at_shared(name, known, outcome, stream)
    finally:
        support.stop_shared()
    outcome.reports = support.sanitizer_reports()
    outcome.seen = openapi.description.seen
    return outcome


def work_off(files, tasks, result, built, folder):
    """One of several processes: takes files while there are any."""
    os.mkdir(folder)
    support.configure(built, folder)
    with open(os.path.join(folder, "tests.log"), "w", encoding="utf-8", buffering=1) as stream:
        result.send(run_files(files, iter(tasks.get, None), stream))


class Job:
    def __init__(self, files, tasks, built, folder):
        self.log, self.told = os.path.join(folder, "tests.log"), False
        self.result, end = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.Process(target=work_off, args=(files, tasks, end, built, folder))
        self.process.start()
        end.close()

    def outcome(self):
        """None when it ended without one."""
        try:
            outcome = self.result.recv()
        except EOFError:
            return None
        self.told = True
        return outcome

    def stop(self):
        if not self.told and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGINT)
        self.process.join()


def takes_all(name):
    return getattr(sys.modules[name], "ALONE", False)


def run_jobs(files, indices, folders, options, outcome):
    """As many processes as there are folders share the files of these indices."""
    tasks, jobs = multiprocessing.SimpleQueue(), []
    for index in (*indices, *[None] * len(folders)):
        tasks.put(index)
    try:
        for folder in folders:
            jobs.append(Job(files, tasks, options.built, folder))
        for job in jobs:
            one = job.outcome()
            with open(job.log, encoding="utf-8") as log:
                sys.stdout.write(log.read())
            if one is None:
                print("a process of tests ended before its time")
                outcome.failed += 1
            else:
                outcome.merge(one)
    finally:
        for job in jobs:
            job.stop()


def run_shared_out(files, options, work):
    outcome, alone = Outcome(), [i for i, (name, _) in enumerate(files) if takes_all(name)]
    others = [i for i in range(len(files)) if i not in alone]
    run_jobs(files, others, [os.path.join(work, f"job-{i}") for i in range(options.jobs)], options, outcome)
    run_jobs(files, alone, [os.path.join(work, "alone")], options, outcome)
    return outcome


def run(options, work):
    support.configure(options.built, work)
    files = files_of(options)
    if options.jobs > 1:
        outcome = run_shared_out(files, options, work)
    else:
        outcome = run_files(files, range(len(files)), sys.stdout)
    failed = outcome.failed
    if outcome.reports:
        print("reports of sanitizers:", *outcome.reports, sep="\n")
        failed += 1
    openapi.description.seen |= outcome.seen
    unseen = openapi.description.never_succeeded() if not options.k else []
    if unseen:
        print("documented calls that no test saw succeed:", *unseen, sep="\n")
        failed += 1
    for name, seconds in sorted(outcome.seconds.items(), key=lambda item: -item[1]):
        print(f"{seconds:7.1f} s {name}")
    for line in outcome.skipped:
        print(f"skipped: {line}")
    if outcome.run == 0 and failed == 0:
        print("no test was run")
        failed = 1
    passed = max(outcome.run - failed - len(outcome.skipped), 0)
    if options.counts:
        with open(options.counts, "w", encoding="ascii") as file:
            file.write(f"{passed} {failed} {len(outcome.skipped)}\n")
    return 1 if failed else 0


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--built", required=True)
    parser.add_argument("--work")
    parser.add_argument("--counts")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("-k", action="append",
                        help="only tests whose names (file.class.test) have this in them; repeatable")
    options = parser.parse_args()
    options.built = os.path.abspath(options.built)
    signal.signal(signal.SIGTERM, interrupted)
    with tempfile.TemporaryDirectory(prefix="cradle-e2e-", dir=options.work or "/tmp") as work:
        try:
            return run(options, work)
        finally:
            remove_clusters(work)


sys.exit(main())
