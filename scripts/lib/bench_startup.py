#!/usr/bin/python3
"""scripts/bench startup: how long a service takes from its start until it is ready.

docs/benchmarks.md describes the method. The last line of standard output is one JSON object.
"""
import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import time

from bench_joins import CORES, at_least, build_type, host, say, settings_of
from bench_stack import STOP_SECONDS, Failed, Stack, end_at_sigterm
from ports import free_ports

PROGRAMS = {"joinserver": "joinserver/cradle-joinserver", "activation": "activation/cradle-activation"}
LIMIT_MS = {"joinserver": 300}
READY_SECONDS = 30
LOOK_SECONDS = 0.001
METHOD = ("from just before the fork of a further process of the service until its /readyz says 200, asked every millisecond, "
          "beside the stack that scripts/run started; the last one has ended before the next begins")


def launch(stack, service, **settings):
    """A further process of the service and its port; [section] and name of a setting by two underscores."""
    port, tls_port = free_ports(2)
    arguments = [stack.program(PROGRAMS[service]), "--config", stack.path(f"{service}.ini"),
                 "--set", f"listener-plain.port={port}", "--set", f"listener-tls.port={tls_port}"]
    for name, value in settings.items():
        arguments += ["--set", f"{name.replace('__', '.')}={value}"]
    with open(stack.path("log", f"{service}-{port}.log"), "wb") as log:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=stack.environment())
    stack.others.append(process)
    return process, port


def is_ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def await_ready(process, port):
    end = time.monotonic() + READY_SECONDS
    while not is_ready(port):
        if process.poll() is not None or time.monotonic() > end:
            raise Failed(f"the service on port {port} did not become ready: see its log")
        time.sleep(LOOK_SECONDS)


def start_once(stack, service):
    """Milliseconds."""
    begin = time.monotonic()
    process, port = launch(stack, service)
    await_ready(process, port)
    took = (time.monotonic() - begin) * 1000
    process.terminate()
    if process.wait(STOP_SECONDS) != 0:
        raise Failed(f"a {service} that was started and stopped again ended with status {process.returncode}")
    stack.others.remove(process)
    return took


def run(options):
    with Stack(options.built, 1) as stack:
        took = {service: [start_once(stack, service) for _ in range(options.starts)] for service in PROGRAMS}
        postgres = settings_of(stack)
    figures = {service: {"median_ms": round(statistics.median(ms), 1), "min_ms": round(min(ms), 1), "max_ms": round(max(ms), 1)}
               for service, ms in took.items()}
    for service, ms in figures.items():
        say(f"{service}: ready after {ms['median_ms']} ms (median of {options.starts}; {ms['min_ms']} to {ms['max_ms']} ms).")
    say(json.dumps({"benchmark": "startup", **figures, "limit_ms": LIMIT_MS, "starts": options.starts, "cores": CORES,
                    "load_before": os.getloadavg()[0], "build": build_type(options.built), "postgres": postgres, "host": host(),
                    "method": METHOD}))
    return 0


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench startup")
    parser.add_argument("--built", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--starts", type=at_least(1), default=10)
    end_at_sigterm()
    try:
        return run(parser.parse_args())
    except (Failed, subprocess.TimeoutExpired) as failure:
        sys.exit(f"cradle: {failure}")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
