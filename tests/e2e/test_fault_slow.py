"""Clients that are slow on purpose, at every listener: they are ended by their limits, and others are served beside them.

Small here, and of no time; scripts/fault measures how long good requests take with and without them.
"""

import http.client
import json
import os
import ssl
import statistics
import subprocess
import sys
import threading
import time
import unittest

import fault_check
import lorawan
import slow_clients
import support

COUNT = int(os.environ.get("CRADLE_FAULT_COUNT", "0"))  # connections of an attack; none said: the small one
ALL, HOLD_S = 1100, 6  # connections that one address wants, more than there are, for so long
PER_ADDRESS, RESERVE = 256, 32  # it gets; and so many more are open to be refused
SMOKE = 10  # connections of each kind to each listener
ROUNDS, PHASE_S = 3, 8
ATTACKERS = 2  # addresses that an attack comes from: each may have its share of the connections
NEW_EVERY = 20  # good requests, after which the client comes with a new connection
PATHS = {"join": ["/"], "activation": ["/v1/token"]}  # which a body belongs to
NOT_PLAIN, NOT_TLS = ("handshakes",), ("readers",)  # a page that is larger than all buffers there is at the plain ones
LISTENERS = ("join", "join-tls", "activation", "activation-tls")


class Good(threading.Thread):
    """A client that does nothing wrong: joins at a join server, look-ups at an activation service. It must always be answered."""

    def __init__(self, stack, listener):
        super().__init__(daemon=True)
        self.stack, self.listener = stack, listener
        self.stopping, self.failures, self.times = threading.Event(), [], []
        self.joins = listener.startswith("join")
        self.device = stack.device("1.0.3")
        self.token = stack.home["token"] if self.joins else stack.token()
        self.tls = None
        if listener.endswith("-tls"):
            self.tls = ssl.create_default_context(cafile=stack.demo["join"]["ca"])
            if self.joins:
                self.tls.load_cert_chain(stack.home["cert"], stack.home["key"])

    def connect(self):
        port = {"join": self.stack.join_port, "join-tls": self.stack.join_tls_port, "activation": self.stack.activation_port,
                "activation-tls": self.stack.activation_tls_port}[self.listener]
        if self.tls is not None:
            return http.client.HTTPSConnection("127.0.0.1", port, context=self.tls, timeout=support.HTTP_SECONDS)
        return http.client.HTTPConnection("127.0.0.1", port, timeout=support.HTTP_SECONDS)

    def one(self, connection):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        if self.joins:
            nonce = self.stack.next_nonce(self.device)
            connection.request("POST", "/", json.dumps(lorawan.join_req(self.device, nonce, support.HOME)), headers)
        else:
            connection.request("GET", f"/v1/devices/{self.device['dev_eui']}", headers=headers)
        answer = connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200:
            return f"{answer.status} {body}"
        if self.joins and lorawan.open_accept(self.device, body.get("PHYPayload") or "", nonce) is None:
            return f"no Join-Accept: {body}"
        return None if self.joins or body["dev_eui"] == self.device["dev_eui"] else f"another device: {body}"

    def run(self):
        turn, connection = 0, None
        while not self.stopping.is_set():
            begun = time.monotonic()
            try:
                if turn % NEW_EVERY == 0:
                    connection = self.connect()
                fault = self.one(connection)
            except (OSError, http.client.HTTPException, ValueError) as error:
                fault, turn = repr(error), -1
            self.times.append(time.monotonic() - begun)
            if fault:
                self.failures.append(fault)
            turn += 1
            if turn % NEW_EVERY == 0 and connection is not None:
                connection.close()
            self.stopping.wait(0.005)
        if connection is not None:
            connection.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()


def cpu_s(task):
    with open(f"/proc/{task}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def p99_ms(times):
    return 1000 * sorted(times)[int(len(times) * 0.99)]


class SlowTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("slow")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def port(self, listener):
        return {"join": self.stack.join_port, "join-tls": self.stack.join_tls_port, "activation": self.stack.activation_port,
                "activation-tls": self.stack.activation_tls_port}[listener]

    def pids(self):
        return {name: self.stack.pids(name)[0] for name in ("joinserver", "activation")}

    @staticmethod
    def kinds(listener):
        return [kind for kind in slow_clients.KINDS if kind not in (NOT_PLAIN, NOT_TLS)[listener.endswith("-tls")]]

    def attack(self, listener, kind, n, seconds, addresses=ATTACKERS):
        """A process that has these slow connections; its output is what became of them. At a listener that wants a
        certificate it is a peer that is slow; but who only shakes hands needs none."""
        number, peer = LISTENERS.index(listener), self.stack.server(support.OTHER)
        addresses = ",".join(f"127.0.{7 + number}.{i + 1}" for i in range(addresses))
        tls = {"join-tls": ["tls", peer["cert"], peer["key"]], "activation-tls": ["tls"]}.get(listener, [])
        return subprocess.Popen(
            [sys.executable, slow_clients.__file__, kind, "127.0.0.1", str(self.port(listener)), str(n), str(seconds),
             addresses, *PATHS[listener.split("-")[0]], peer["token"], *tls], stdout=subprocess.PIPE, text=True)

    @staticmethod
    def result(process):
        with process:
            return json.loads(process.stdout.read().splitlines()[-1])

    def there(self, process):
        """Waits until all its connections are."""
        self.assertEqual(process.stdout.readline(), slow_clients.THERE + "\n")


class Smoke(SlowTest):
    def test_an_address_that_takes_what_it_gets_leaves_the_rest_to_others(self):
        good = Good(self.stack, "activation-tls")
        attack = self.attack("activation-tls", "heads", ALL, HOLD_S, 1)
        with good:
            result = self.result(attack)
        self.assertEqual(good.failures, [])
        self.assertLessEqual(result["open"], PER_ADDRESS + RESERVE, result)

    def test_each_kind_is_ended_by_its_limit_and_others_are_served_beside_it(self):
        before = fault_check.resources(self.pids())
        goods = [Good(self.stack, listener) for listener in LISTENERS]
        for good in goods:
            good.start()
        attacks = [(listener, kind, self.attack(listener, kind, SMOKE, 0))
                   for listener in LISTENERS for kind in self.kinds(listener)]
        results = [(listener, kind, self.result(process)) for listener, kind, process in attacks]
        for good in goods:
            good.stopping.set()
            good.join()
        for listener, kind, result in results:
            with self.subTest(listener=listener, kind=kind):
                self.assertEqual((result["opened"], result["open"], result["refused"]), (SMOKE, 0, 0), result)
        for good in goods:
            with self.subTest(good=good.listener):
                self.assertEqual(good.failures, [])
                self.assertGreater(len(good.times), 0)
        fault_check.held(fault_check.returns_to(before, self.pids))


class Measured(SlowTest):
    """With a count alone: it takes minutes, and a machine that does nothing else."""

    def good_requests_beside_hundreds_of_slow_ones(self):
        before = fault_check.resources(self.pids())
        for listener in LISTENERS:
            with self.subTest(listener=listener):
                self.measure(listener)
        fault_check.held(fault_check.returns_to(before, self.pids))

    def cpu(self, listener):
        """Seconds of CPU so far: of the service's thread that speaks HTTP, of all that scripts/run has started."""
        pid, = self.stack.pids("joinserver" if listener.startswith("join") else "activation")
        spoken = 0
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as file:
                if file.read().strip() == "http":
                    spoken += cpu_s(f"{pid}/task/{task}")
        return spoken, sum(cpu_s(p) for p in support.descendants(self.stack.process.pid))

    def phase(self, listener, attacked):
        """(p99 in ms, good requests, shares of a core as of `cpu`, what became of the attackers)"""
        kinds = self.kinds(listener)
        attacks = [self.attack(listener, kind, max(COUNT // len(kinds), 1), PHASE_S + 2) for kind in kinds] if attacked else []
        for attack in attacks:
            self.there(attack)
        before = self.cpu(listener)
        with Good(self.stack, listener) as good:
            good.stopping.wait(PHASE_S)  # the time it is measured for
        used = [round((b - a) / PHASE_S, 2) for a, b in zip(before, self.cpu(listener))]
        results = [self.result(process) for process in attacks]
        self.assertEqual(good.failures, [])
        return p99_ms(good.times), len(good.times), used, results

    def measure(self, listener):
        quiet, attacked, n, cpu, results = [], [], 0, [], []
        for _ in range(ROUNDS):
            p99, _, used, _ = self.phase(listener, False)
            quiet.append(p99)
            cpu.append(used)
            p99, served, used, results = self.phase(listener, True)
            attacked.append(p99)
            cpu.append(used)
            n += served
        base, under = statistics.median(quiet), statistics.median(attacked)
        print(f"\n{listener}: p99 {base:.1f} ms quiet, {under:.1f} ms beside {COUNT} slow connections, ratio {under / base:.2f}; "
              f"{n} answered; rounds {[round(p, 1) for p in quiet]} {[round(p, 1) for p in attacked]}; "
              f"cores (HTTP thread, all services), quiet and attacked in turn: {cpu}", flush=True)
        for result in results:
            print(f"  {result}", flush=True)
        self.assertLessEqual(under, 2 * base, "p99 beside slow clients")


if COUNT:
    Measured.test_good_requests_beside_hundreds_of_slow_ones = Measured.good_requests_beside_hundreds_of_slow_ones
    del Smoke
