#!/usr/bin/python3
"""scripts/fuzz: runs the fuzz targets and says how much of the file under test each has covered.

A run is of one process from the committed corpus; what is found goes into a folder of its own, and
stays there when the run fails. The last line of standard output is one JSON object.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUNS = 1000000
COVERAGE_MIN = 80.0  # percent of the lines of the file under test
INPUT_SECONDS_MAX = 10  # longer is a hang
MEMORY_MIB_MAX = 2048
LOG_LINES = 40

# Target -> the file it is to cover, and how long an input may be.
TARGETS = {
    "audit_check": ("cli/audit_check.c", 16384),
    "carry": ("joinserver/carry.c", 1024),
    "certificate": ("api/trust.c", 4096),
    "custody": ("base/custody_form.c", 1024),
    "dns_rdata": ("api/dns_rdata.c", 2048),
    "http_guard": ("api/guard.c", 2048),
    "id_pac": ("activation/id_pac_reader.c", 2048),
    "import_reader": ("activation/import_reader.c", 2048),
    "join_frame": ("lorawan/frame.c", 40),
    "json_body": ("api/json.c", 1024),
    "json_plain": ("api/json_plain.c", 1024),
    "keyd_frame": ("hsm/frame.c", 4096),
    "label_line": ("cli/label_line.c", 512),
    "tr005": ("device/tr005.c", 512),
    "ts002": ("joinserver/ts002.c", 1024),
}
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.M)


class Failed(Exception):
    """One sentence for the person who fuzzes."""


def say(line):
    print(line, flush=True)


def fuzz(built, name, runs, work):
    """(inputs tried, whether none failed) of one target; its output is in the folder."""
    found, log_path = os.path.join(work, "found"), os.path.join(work, "log")
    os.makedirs(found)
    with open(log_path, "wb") as log:
        process = subprocess.Popen(
            [os.path.join(built, "tests/fuzz", f"fuzz_{name}"), f"-runs={runs}",
             f"-max_len={TARGETS[name][1]}", f"-timeout={INPUT_SECONDS_MAX}",
             f"-rss_limit_mb={MEMORY_MIB_MAX}", "-detect_leaks=1", "-print_final_stats=1",
             f"-artifact_prefix={work}/failing-", found,
             os.path.join(ROOT, "tests/fuzz/corpus", name)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, **ENVIRONMENT, "LLVM_PROFILE_FILE": os.path.join(work, "profile")})
        try:
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    with open(log_path, encoding="utf-8", errors="replace") as log:
        text = log.read()
    executed = EXECUTED.search(text)
    n = int(executed.group(1)) if executed else 0
    good = process.returncode == 0 and n >= runs
    if not good:
        print(*text.splitlines()[-LOG_LINES:], sep="\n", file=sys.stderr)
    return n, good


def llvm(*arguments):
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise Failed(f"{arguments[0]} failed: {run.stderr.strip()}")
    return run.stdout


def coverage(built, name, work):
    """Percent of the lines of the file under test."""
    raw, merged = os.path.join(work, "profile"), os.path.join(work, "profile.merged")
    if not os.path.exists(raw):
        return 0.0  # it did not come to its end
    llvm("llvm-profdata", "merge", "-sparse", raw, "-o", merged)
    data = json.loads(llvm("llvm-cov", "export", "-summary-only", f"-instr-profile={merged}",
                           os.path.join(built, "tests/fuzz", f"fuzz_{name}")))
    path = os.path.join(ROOT, TARGETS[name][0])
    lines = [file["summary"]["lines"]["percent"] for file in data["data"][0]["files"]
             if os.path.realpath(os.path.join(built, file["filename"])) == path]
    if len(lines) != 1:
        raise Failed(f"{TARGETS[name][0]} is not in the program of target {name}.")
    return lines[0]


def run_target(built, name, runs, work):
    folder = os.path.join(work, name)
    begin = time.monotonic()
    n, good = fuzz(built, name, runs, folder)
    seconds = time.monotonic() - begin
    percent = coverage(built, name, folder)
    covered = percent >= COVERAGE_MIN
    say(f"{name}: {n} inputs in {seconds:.0f} s, {percent:.1f} % of the lines of "
        f"{TARGETS[name][0]}{'' if good else '; FAILED'}"
        f"{'' if covered else f'; less than {COVERAGE_MIN:.0f} %'}")
    return {"target": name, "file": TARGETS[name][0], "inputs": n, "seconds": round(seconds, 1),
            "line_coverage": round(percent, 1), "good": good and covered}


def run(options):
    work = tempfile.mkdtemp(prefix="cradle-fuzz-", dir="/tmp")
    results = []
    try:
        for name in options.targets:
            results.append(run_target(options.built, name, options.runs, work))
    finally:
        good = len(results) == len(options.targets) and all(r["good"] for r in results)
        if good:
            shutil.rmtree(work)
        else:
            print(f"Logs and inputs: {work}", file=sys.stderr)
    say(json.dumps({"fuzz": results, "runs": options.runs, "good": good}))
    return 0 if good else 1


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description="Runs the fuzz targets, all of them when none is named.")
    parser.add_argument("--runs", type=positive, default=RUNS,
                        help=f"inputs of each target ({RUNS})")
    parser.add_argument("--built", help=argparse.SUPPRESS)
    parser.add_argument("--names", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", metavar="TARGET", nargs="*", help=", ".join(TARGETS))
    options = parser.parse_args()
    options.targets = options.targets or list(TARGETS)
    for name in options.targets:
        if name not in TARGETS:
            parser.error(f"there is no target {name}")
    if options.names:
        print(*options.targets)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(options)
    except Failed as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


sys.exit(main())
