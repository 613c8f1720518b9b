#!/usr/bin/python3
"""scripts/bench timing: whether the time of a refusal tells why it was refused.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import itertools
import json
import math
import statistics
import subprocess
import sys

import timing_claims
from bench_stack import AS_ID, Failed, Stack, end_at_sigterm

JOIN_MESSAGES = ("JoinReq", "RejoinReq", "HomeNSReq", "AppSKeyReq")
MESSAGES = (*JOIN_MESSAGES, timing_claims.MESSAGE)
TRIES = 100000
DEVICES = 2000  # of each class
KNOWN_CLASSES = 3  # as in tests/bench/timing.c: not yours, unclaimed, control
STRIDE = 2
SEED = 1
T_MAX = 4.5
CROP = 0.99
CONTROL = "control"
METHOD = ("round trips of one keep-alive connection, one request at a time, all classes in one random order{rows}; of each "
          f"pair's pooled sample the slowest {1 - CROP:.0%} left out; Welch's t of the rest")
ROWS = ", {} of a class in a row, the mean of a row counting as one"
SESSIONS = 3
OTHERS, UNCLAIMED = 0, 1

# Number of a device's class, from its DevEUI.
CLASS_SQL = f"(('x' || right(encode(dev_eui, 'hex'), 8))::bit(32)::bigint / {STRIDE} % {KNOWN_CLASSES})"
# Each device has joined before: it has a page of DevNonces and sessions.
PREPARE_SQL = (
    f"UPDATE device SET home_net_id = '\\x000014', as_id = 'not-{AS_ID}' WHERE {CLASS_SQL} = {OTHERS}",
    "UPDATE device SET ownership = 'unowned', owner_id = NULL, service = 'inactive', home_net_id = NULL,"
    f" as_id = NULL WHERE {CLASS_SQL} = {UNCLAIMED}",
    "INSERT INTO dev_nonce_page SELECT dev_eui, join_eui, nonce_epoch, 0, 0, decode(repeat('00', 256), 'hex')"
    " FROM device",
    "INSERT INTO join_event (at, dev_eui, join_eui, join_type, outcome, sender_id, net_id, dev_addr, dev_nonce,"
    "  join_nonce, opt_neg, ownership_epoch, nonce_epoch)"
    " SELECT now(), dev_eui, join_eui, 255, 'success', '000013', '\\x000013', '\\x26000001', 2048 + n, n, false,"
    f"  ownership_epoch, nonce_epoch FROM device, generate_series(1, {SESSIONS}) n",
    "UPDATE device_join SET has_pages = true",
    # As if the devices had always been so: no row has an older version in the way.
    *(f"VACUUM (FULL, ANALYZE) {table}" for table in ("device", "device_key", "device_join", "dev_nonce_page",
                                                      "join_event")),
    "CHECKPOINT",
)


def say(line):
    print(line, flush=True)


def result_of(process, verb):
    """The last line that cradle-bench printed."""
    lines = process.stdout.read().splitlines()
    if process.wait() != 0 or not lines:
        raise Failed(f"cradle-bench {verb} failed: the reason is above.")
    return json.loads(lines[-1])


def welch(a, b):
    """Welch's t of the two samples, without the slowest of both together."""
    limit = sorted(a + b)[math.ceil(CROP * (len(a) + len(b))) - 1]
    a, b = ([x for x in sample if x <= limit] for sample in (a, b))
    spread = statistics.variance(a) / len(a) + statistics.variance(b) / len(b)
    return (statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(spread)


def measure(stack, options, messages):
    shared = {"devices": KNOWN_CLASSES * options.devices, "seed": SEED, "stride": STRIDE, "version": options.version}
    say(f"Making {shared['devices']} devices with sealed keys ...")
    result_of(stack.bench("load-devices", **shared), "load-devices")
    for sql in PREPARE_SQL:
        stack.psql.ask(sql)
    results = {}
    for message in messages:
        say(f"Timing {options.tries} refusals of each class, {message} ...")
        process = stack.bench("timing", tries=options.tries, message=message, **{"in-a-row": options.in_a_row}, ports=stack.ports[0], **shared)
        try:
            results[message] = result_of(process, "timing")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    return results


def rows_of(sample, in_a_row):
    """One of each row: what follows upon itself is no sample of its own."""
    return sample if in_a_row == 1 else [statistics.fmean(sample[i:i + in_a_row])
                                         for i in range(0, len(sample), in_a_row)]


def judge(samples):
    """What one message's samples say."""
    control = samples.pop(CONTROL)
    t = {f"{a}/{b}": round(welch(samples[a], samples[b]), 2)
         for a, b in itertools.combinations(sorted(samples), 2)}
    control_t = {name: round(welch(sample, control), 2) for name, sample in sorted(samples.items())}
    return {"t": t, "control_t": control_t, "n": {name: len(sample) for name, sample in samples.items()},
            "n_control": len(control),
            "median_us": {name: statistics.median(sample) / 1000 for name, sample in samples.items()},
            "control_median_us": statistics.median(control) / 1000,
            "alike": all(abs(value) < T_MAX for value in t.values()),
            "control_stands_out": all(abs(value) >= T_MAX for value in control_t.values())}


def report(message, verdict):
    medians = ", ".join(f"{name} {us:.1f}" for name, us in verdict["median_us"].items())
    say(f"{message}: medians in us: {medians}, control {verdict['control_median_us']:.1f}")
    for pair, t in verdict["t"].items():
        say(f"  t of {pair}: {t:+.2f}{'' if abs(t) < T_MAX else f', not below {T_MAX}: they can be told apart'}")
    if not verdict["control_stands_out"]:
        say(f"  The control does not stand out ({verdict['control_t']}): this run says nothing.")


def run(options):
    samples, codes = {}, None
    join_messages = [message for message in JOIN_MESSAGES if message in options.messages]
    if join_messages:
        with Stack(options.built, 1) as stack:
            samples = measure(stack, options, join_messages)
    if timing_claims.MESSAGE in options.messages:
        with Stack(options.built, 1) as stack:
            shared = {"devices": options.devices, "seed": SEED, "version": options.version}
            samples[timing_claims.MESSAGE], codes = timing_claims.measure(stack, shared, options, say)
    verdicts = {message: judge({name: rows_of(sample, options.in_a_row) for name, sample in classes.items()})
                for message, classes in samples.items()}
    for message, verdict in verdicts.items():
        report(message, verdict)
    good = all(verdict["alike"] and verdict["control_stands_out"] for verdict in verdicts.values())
    say(json.dumps({"benchmark": "timing", "messages": verdicts, "t_max": T_MAX, "devices_of_each": options.devices,
                    "version": options.version, "codes_by_version": codes, "in_a_row": options.in_a_row,
                    "method": METHOD.format(rows=ROWS.format(options.in_a_row) if options.in_a_row > 1 else ""),
                    "good": good}))
    return 0 if good else 1


def at_least(smallest):
    def read(text):
        number = int(text)
        if number < smallest:
            raise argparse.ArgumentTypeError(f"must be at least {smallest}")
        return number
    return read


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench timing")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--tries", type=at_least(100), default=TRIES)
    parser.add_argument("--devices", type=at_least(1), default=DEVICES)
    parser.add_argument("--in-a-row", type=at_least(1), default=1)
    parser.add_argument("--version", default="1.0.3")
    parser.add_argument("--code-versions", type=int, choices=(1, 2), default=1)
    parser.add_argument("--message", dest="messages", action="append", choices=MESSAGES)
    options = parser.parse_args()
    options.messages = options.messages or list(MESSAGES)
    if options.tries < 100 * options.in_a_row:
        parser.error("--tries must be a hundred rows or more")
    end_at_sigterm()
    try:
        return run(options)
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


sys.exit(main())
