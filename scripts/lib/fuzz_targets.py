#!/usr/bin/python3
"""scripts/fuzz: runs the fuzz targets and says how much of the file under test each has covered.

A run is of one process from the committed corpus; what is found goes into a folder of its own, and
stays there when the run fails. The last line of standard output is one JSON object.
"""
import argparse
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RUNS = 1000000
COVERAGE_MIN = 80.0  # percent of the lines of the file under test
INPUT_SECONDS_MAX = 10  # longer is a hang
MEMORY_MIB_MAX = 2048
LOG_LINES = 40

# Target -> the files it is to cover, and how long an input may be.
TARGETS = {
    "audit_check": ("cli/audit_check.c", 16384),
    "carry": ("joinserver/carry.c joinserver/trace.c api/json_edit.c", 1024),
    "certificate": ("api/trust.c", 4096),
    "custody": ("base/custody_form.c", 1024),
    "delivery": ("cli/delivery_file.c base/jwe.c", 2048),
    "device_answer": ("cli/device_json.c", 1024),
    "dns_rdata": ("api/dns_rdata.c api/find_steps.c", 2048),
    "form": ("activation/form.c", 256),
    "http_guard": ("api/guard.c", 2048),
    "id_pac": ("activation/id_pac_reader.c", 2048),
    # Its other formats are tables without a line of code.
    "import_reader": (
        "activation/import_reader.c activation/import_draft.c activation/import_json.c "
        "activation/import_table.c activation/import_text.c", 2048),
    "join_frame": ("lorawan/frame.c", 40),
    "json_body": ("api/json.c", 1024),
    "json_plain": ("api/json_plain.c", 1024),
    "key_list": ("hsm/key_list.c", 1024),
    "keyd_frame": (
        "hsm/frame.c hsm/frame_items.c hsm/frame_audit.c hsm/frame_export.c hsm/frame_keys.c "
        "hsm/frame_make.c hsm/frame_pieces.c hsm/frame_rewrap.c hsm/frame_webhook.c", 8320),
    "label_line": ("cli/label_line.c", 512),
    "pem": ("activation/peer_trust.c activation/rsa_public.c activation/pem.c", 2048),
    "prom_page": ("cli/prom_page.c", 1024),
    "sigfox_files": ("cli/sigfox_files.c", 512),
    "texts": (
        "base/eui.c base/hex.c base/base64.c device/code.c activation/moment.c "
        "activation/operator_check.c", 256),
    "token": ("activation/token.c", 128),
    "tr005": ("device/tr005.c device/sigfox_tag.c", 512),
    "ts002": ("joinserver/ts002.c", 1024),
}
# What an input frees stays in quarantine for as long as that input lasts; more would only drive each
# allocation out of the caches.
ENVIRONMENT = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=99:quarantine_size_mb=16:"
                    "malloc_context_size=8",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
EXECUTED = re.compile(r"^stat::number_of_executed_units:\s*(\d+)", re.M)
UNCOVERED = re.compile(r"^ +\d+\| +0\|")
EDGES = re.compile(r"\bcov: (\d+)")


class Failed(Exception):
    """One sentence for the person who fuzzes."""


def say(line):
    print(line, flush=True)


def fuzz(built, name, runs, work):
    """(inputs tried, edges covered, seconds of CPU, whether none failed) of one target; its output
    is in the folder."""
    found, log_path = os.path.join(work, "found"), os.path.join(work, "log")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
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
    executed, edges = EXECUTED.search(text), EDGES.findall(text)
    n = int(executed.group(1)) if executed else 0
    good = process.returncode == 0 and n >= runs
    if not good:
        print(*text.splitlines()[-LOG_LINES:], sep="\n", file=sys.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return n, int(edges[-1]) if edges else 0, cpu, good


def llvm(*arguments):
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise Failed(f"{arguments[0]} failed: {run.stderr.strip()}")
    return run.stdout


def coverage(built, name, work):
    """{file: (lines, lines covered)} of the files under test."""
    raw, merged = os.path.join(work, "profile"), os.path.join(work, "profile.merged")
    if not os.path.exists(raw):
        return {}  # it did not come to its end
    llvm("llvm-profdata", "merge", "-sparse", raw, "-o", merged)
    program = os.path.join(built, "tests/fuzz", f"fuzz_{name}")
    data = json.loads(llvm("llvm-cov", "export", "-summary-only", f"-instr-profile={merged}", program))
    lines = {os.path.relpath(os.path.realpath(os.path.join(built, file["filename"])), ROOT):
             file["summary"]["lines"] for file in data["data"][0]["files"]}
    for path in TARGETS[name][0].split():
        if path not in lines:
            raise Failed(f"{path} is not in the program of target {name}.")
    show_uncovered(built, name, work, merged)
    return {path: (lines[path]["count"], lines[path]["covered"]) for path in TARGETS[name][0].split()}


def show_uncovered(built, name, work, merged):
    """Writes the lines that no input has reached into the folder."""
    shown = llvm("llvm-cov", "show", f"-instr-profile={merged}",
                 os.path.join(built, "tests/fuzz", f"fuzz_{name}"))
    wanted = {os.path.join(ROOT, path) + ":" for path in TARGETS[name][0].split()}
    inside = False
    with open(os.path.join(work, "uncovered"), "w", encoding="utf-8") as file:
        for line in shown.splitlines():
            if line.startswith("/"):
                inside = line in wanted
            if inside and (line.startswith("/") or UNCOVERED.match(line)):
                file.write(f"{line}\n")


def percent_of(lines):
    count = sum(n for n, _ in lines)
    return 100.0 * sum(n for _, n in lines) / count if count else 0.0


def run_target(built, name, runs, work):
    folder = os.path.join(work, name)
    n, edges, cpu, good = fuzz(built, name, runs, folder)
    lines = coverage(built, name, folder)
    percent = percent_of(lines.values())
    covered = percent >= COVERAGE_MIN
    say(f"{name}: {n} inputs in {cpu:.0f} s of CPU, {edges} edges, {percent:.1f} % of the lines of "
        f"{TARGETS[name][0]}{'' if good else '; FAILED'}"
        f"{'' if covered else f'; less than {COVERAGE_MIN:.0f} %'}")
    return {"target": name, "inputs": n, "cpu_seconds": round(cpu, 1), "edges": edges,
            "line_coverage": round(percent, 1),
            "files": {path: round(percent_of([pair]), 1) for path, pair in lines.items()},
            "good": good and covered}


def run(options):
    work = tempfile.mkdtemp(prefix="cradle-fuzz-", dir="/tmp")
    results = []
    try:
        for name in options.targets:
            results.append(run_target(options.built, name, options.runs, work))
    finally:
        good = len(results) == len(options.targets) and all(r["good"] for r in results)
        if good and not options.keep:
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
    parser.add_argument("--keep", action="store_true",
                        help="the folder with the log, what was found and the lines not reached")
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
