"""A token that fails: each function of PKCS#11 that keyd calls, at each of its calls, with each code; or hangs, or dies there.

Two services of their own use the failing module; those beside them, with the real one, say what is right.
"""

import collections
import contextlib
import glob
import hashlib
import json
import os
import re
import secrets
import threading
import time
import unittest
import urllib.parse

import fault_check
import fault_journal
import fault_token
import lorawan
import support
from fault_stack import KEYS_LOOKED_FOR, RETRY_WINDOW_MS, SERVICES, FaultTest, count
from test_accounts import Rest
from test_codes import unclaimed
from test_jobs import csv_of

CASES = count(12)
LANES = 4 if CASES > 100 else 1  # of each service, at once: most of a case is waiting
FAULTS_MAX = 5  # after which a lane gives up
HANGS_MS = (50, 1500)  # the second is longer than a join waits for its key process
BACK_S = 30
LATER = (None, 401, 429, 500, 502, 503, 504)
PIN_TRIES_S = 1.5  # for which nobody may try a refused PIN again
KEYS_1_0, KEYS_1_1 = ("NwkSKey", "AppSKey"), ("FNwkSIntKey", "SNwkSIntKey", "NwkSEncKey", "AppSKey")


class Keyd(unittest.TestCase):
    def test_all_functions_that_keyd_calls_can_be_failed(self):
        called = set()
        for name in os.listdir(os.path.join(support.ROOT, "hsm")):
            if name.endswith(".c") and not name.startswith("ceremony"):
                with open(os.path.join(support.ROOT, "hsm", name), encoding="utf-8") as file:
                    called |= set(re.findall(r"->(C_\w+)", file.read()))
        self.assertGreater(len(called), 20)
        self.assertEqual(called - set(fault_token.functions()), set())


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


class Lane:
    """A service on the failing module, what is asked of it, and how it answered. Lanes fail beside each other."""

    def __init__(self, stack, service, number):
        self.stack, self.service, self.running = stack, service, None
        self.control = fault_token.Control(f"{stack.state}-{service}-{number}")
        self.hit, self.told, self.faults = 0, {}, []
        self.journal = self.load = None
        self.begin()

    def begin(self):
        """Starts the service on the failing module."""
        with open(self.stack.path(f"{self.service}.ini"), encoding="utf-8") as file:
            uri = re.search("^uri = (.*)$", file.read(), re.M).group(1)
        module = urllib.parse.quote(support.Stack.program(fault_token.MODULE), safe="")
        settings = [f"hsm.uri={re.sub('module-path=[^&]*', 'module-path=' + module, uri)}", "hsm.processes=1"]
        self.stack.control = self.control
        try:
            if self.service == "joinserver":
                self.running = self.stack.second_joinserver(f"join.retry_window_ms={RETRY_WINDOW_MS}", *settings)
            else:
                self.running = self.stack.second_activation(*settings)
        finally:
            self.stack.control = None

    def end(self):
        self.running.stop()
        self.control.close()

    def ask_with(self, journal):
        self.journal = journal
        self.load = Direct(self)

    # --- what is asked while it fails ---

    def probe(self):
        """Asks for one of each thing, again and again until it is answered."""
        if self.service == "joinserver":
            for joiner in self.load.joiners:
                joiner.join_as(joiner.devices[0])
        else:
            self.bring_and_claim()

    def again(self, call, what):
        """call() until it is answered for good: (status, answer)."""
        end = time.monotonic() + BACK_S
        while True:
            status, answer = call()
            self.told[status] = self.told.get(status, 0) + 1
            if status not in LATER:
                return status, answer
            if time.monotonic() > end:
                raise AssertionError(f"{what}: {status} {answer}")
            time.sleep(fault_journal.AGAIN_S)

    def post(self, path, body, account, **headers):
        try:
            status, _, answer = support.http("POST", self.running.url + path, body, {
                "Authorization": f"Bearer {self.load.token(account)}", **{n.replace("_", "-"): v for n, v in headers.items()}})
        except OSError:
            return None, b""
        if status == 401:
            self.load.tokens.clear()
        return status, answer

    def bring_and_claim(self):
        rows = [{**row, "code": secrets.token_hex(10).upper()} for row in unclaimed(1)]
        key, claim_key = secrets.token_hex(8), secrets.token_hex(8)
        self.load.keys[rows[0]["dev_eui"]] = rows[0]["app_key"]

        def bring():
            number = self.journal.ask("import", rows=[rows[0]["dev_eui"]], key=key)
            status, answer = self.post("/v1/batches/import?format=csv", csv_of(rows), self.load.maker, Content_Type="text/csv",
                                       Idempotency_Key=key)
            lines = [json.loads(line) for line in answer.splitlines()] if status == 200 else []
            outcomes = {line["dev_eui"]: line["outcome"] for line in lines if "outcome" in line}
            if status is not None:
                self.journal.answer(number, status=status, outcomes=outcomes)
            return (status if outcomes or status != 200 else None), outcomes
        status, outcomes = self.again(bring, "import")
        if status != 200 or set(outcomes.values()) - {"created", "exists"}:
            raise AssertionError(f"import: {status} {outcomes}")

        def claim():
            number = self.journal.ask("claim", dev_eui=rows[0]["dev_eui"], organization=self.load.owner["organization"])
            status, answer = self.post("/v1/claims", json.dumps(
                {**fault_journal.CLAIM, "dev_eui": rows[0]["dev_eui"], "code": rows[0]["code"]}).encode(), self.load.owner,
                Content_Type="application/json", Idempotency_Key=claim_key)
            told = json.loads(answer) if status == 200 else {}
            if status is not None:
                self.journal.answer(number, status=status, type=None, members=sorted(told), generation=told.get("generation"))
            return status, answer
        status, answer = self.again(claim, "claim")
        if status != 200:
            raise AssertionError(f"claim: {status} {answer}")
        # Sealed right: it joins at the join server whose token is well.
        device = dict(rows[0], nwk_key=None)
        self.load.well.join_as({**device, "dev_nonce": 1})

    # --- the cases ---

    def restart_keyd(self):
        """A fresh key process: its first calls are those of a start."""
        for pid in self.keyds():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass

    def keyds(self):
        """Not by a look at all processes there are: that costs more than the rest of a case."""
        found = []
        for path in glob.glob(f"/proc/{self.running.process.pid}/task/*/children"):
            with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
                found += [int(pid) for pid in file.read().split()]
        return [pid for pid in found if name_of(pid).startswith("cradle-keyd")]

    def cases(self):
        """(function, call, act, code or milliseconds), all of them."""
        self.control.count()
        self.restart_keyd()
        self.probe()
        ends = [(fault_token.FAIL, code) for code in fault_token.CODES.values()]
        ends += [(fault_token.HANG, ms) for ms in HANGS_MS] + [(fault_token.KILL, 0)]
        return [(function, call, act, value) for function, n in self.control.calls().items()
                for call in range(1, n + 1) for act, value in ends]

    def try_case(self, function, call, act, value):
        self.control.arm(function, call, act, value if act == fault_token.FAIL else 0, value if act == fault_token.HANG else 0)
        self.restart_keyd()
        self.probe()
        self.hit += self.control.calls()[function] >= call
        self.control.disarm()

    def work_off(self, cases):
        """Takes the next one until there are none."""
        while len(self.faults) < FAULTS_MAX:
            try:
                case = cases.popleft()
            except IndexError:
                return
            try:
                self.try_case(*case)
            except Exception as error:  # pylint: disable=broad-except
                self.faults.append(f"{self.service} {case}: {error!r}")


class Token(FaultTest):
    name = "token"

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(support.Stack.program(fault_token.MODULE)):
            raise unittest.SkipTest("the failing PKCS#11 module is not built: it is part of the tests")
        super().setUpClass()
        cls.lanes = []
        for number in range(LANES):
            for service in SERVICES:
                cls.lanes.append(Lane(cls.stack, service, number))
                cls.addClassCleanup(cls.lanes[-1].end)

    def setUp(self):
        self.journal = fault_journal.Journal(self.stack.path(f"journal-{time.monotonic_ns()}"))
        for lane in self.lanes:
            lane.ask_with(self.journal)

    def test_a_token_that_fails_at_any_call_breaks_no_promise(self):
        all_cases = [(lane.service, *case) for lane in self.lanes[:len(SERVICES)] for case in lane.cases()]
        chosen = self.random.sample(all_cases, min(CASES, len(all_cases)))
        waiting = {service: collections.deque(case for name, *case in chosen if name == service) for service in SERVICES}
        threads = [threading.Thread(target=lane.work_off, args=(waiting[lane.service],)) for lane in self.lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        hit, told = sum(lane.hit for lane in self.lanes), collections.Counter()
        for lane in self.lanes:
            told.update(lane.told)
        by_function = collections.Counter(function for _, function, *_ in chosen)
        print(f"\n{self.name}: seed {self.seed}, {len(chosen)} of {len(all_cases)} cases, {hit} came to pass, "
              f"{dict(by_function)}, HTTP statuses {dict(told)}", flush=True)
        self.assertEqual([fault for lane in self.lanes for fault in lane.faults], [])
        self.assertGreater(hit, len(chosen) // 2)
        self.journal.close()
        exchanges = fault_journal.read(self.journal.path)
        violations = fault_check.check(exchanges, fault_check.facts_of(self.stack))
        for lane in self.lanes:
            keys = dict(list(lane.load.keys.items())[-KEYS_LOOKED_FOR:])
            violations += fault_check.keys_in_clear([self.stack.path("log")], keys) + lane.load.wrong
        fault_check.held(violations)

    def test_a_refused_pin_is_not_tried_again_until_its_file_changes(self):
        for lane in self.lanes[:len(SERVICES)]:
            name, code = self.random.choice(sorted(fault_token.PIN_CODES.items()))
            with self.subTest(service=lane.service, code=name):
                self.refuse_pin(lane, code)

    def refuse_pin(self, lane, code):
        tries = fault_token.PIN_TRIES.get(code, 1)
        lane.control.arm("C_Login", 1, fault_token.FAIL, code, n=tries)  # the next one would be let in
        lane.restart_keyd()
        support.wait_until(lambda: lane.control.calls()["C_Login"] == tries, BACK_S, "the PIN is tried")
        end = time.monotonic() + PIN_TRIES_S
        while time.monotonic() < end:  # while requests come, which would like it to be tried
            if lane.service == "joinserver":
                lane.load.joiners[0].post(*lane.load.request())
            else:
                lane.post("/v1/claims", json.dumps({**fault_journal.CLAIM, "dev_eui": "02cdcd00000000ff", "code": "0" * 16}).encode(),
                          lane.load.owner, Content_Type="application/json")
            self.assertEqual(lane.control.calls()["C_Login"], tries)
        lane.control.disarm()
        lane.running.stop()
        with open(self.stack.path("pin"), encoding="ascii") as file:
            pin = file.read()
        with open(self.stack.path("pin"), "w", encoding="ascii") as file:
            file.write(pin)
        lane.begin()
        lane.ask_with(self.journal)
        lane.probe()


class CheckedJoiner(fault_journal.Joiner):
    """A joiner that opens the session keys of each answer, and derives them itself."""

    def __init__(self, load, devices, url):
        super().__init__(load, devices)
        self.connection = fault_journal.Connection(url)

    def join_as(self, device):
        self.nonces.setdefault(device["dev_eui"], device["dev_nonce"])
        super().join_as(device)

    def post(self, device, nonce, message, net_id=support.HOME):
        body = json.dumps(message).encode()
        number = self.journal.ask("join", dev_eui=device["dev_eui"], join_eui=device["join_eui"], dev_nonce=nonce,
                                  request=hashlib.sha256(body).hexdigest(), allowed=net_id == support.HOME)
        status, _, answer = self.connection.call("POST", "/", body, {
            "Content-Type": "application/json", "Authorization": f"Bearer {self.load.stack.server(net_id)['token']}"})
        if status is None:
            return False
        told = json.loads(answer) if status == 200 else {}
        code = told.get("Result", {}).get("ResultCode")
        fields = {"status": status, "code": code}
        if code == "Success":
            accept = lorawan.open_accept(device, told["PHYPayload"], nonce)
            fields.update(accept=told["PHYPayload"], join_nonce=accept and accept["join_nonce"],
                          whole=hashlib.sha256(answer).hexdigest())
            if accept is not None:
                self.check_keys(device, nonce, accept, told)
        self.journal.answer(number, **fields)
        return status == 200 and code not in fault_check.LATER

    def check_keys(self, device, nonce, accept, told):
        is_1_1 = device["mac_version"] == "1.1"
        right = lorawan.session_keys(device, accept["join_nonce"], nonce, None if is_1_1 else support.HOME)
        for name in KEYS_1_1 if is_1_1 else KEYS_1_0:
            server = self.load.stack.application_server() if name == "AppSKey" else self.load.stack.home
            if lorawan.unwrap(bytes.fromhex(server["kek"]), bytes.fromhex(told[name]["AESKey"])) != right[name]:
                self.load.wrong.append(fault_check.Violation("I9", device["dev_eui"], f"DevNonce {nonce}: a wrong {name}"))


class Direct:
    """What the joiners and callers need of a load, without its threads."""

    def __init__(self, lane):
        self.stack, self.journal, self.wrong, self.tokens = lane.stack, lane.journal, [], {}
        self.stopping = threading.Event()
        self.devices = [self.stack.devices(version, 1)[0] for version in ("1.0.3", "1.1")]
        self.keys = {d["dev_eui"]: d["app_key"] for d in self.devices}
        self.joiners = [CheckedJoiner(self, [device], lane.running.url) for device in self.devices]
        self.well = CheckedJoiner(self, [], self.stack.join_url)
        self.maker = self.stack.demo["clients"]["maker"]
        self.owner = fault_journal.Load.owner(self)

    def token(self, account):
        """Of the service that is well."""
        if account["client_id"] not in self.tokens:
            self.tokens[account["client_id"]] = Rest(self.stack, account).token
        return self.tokens[account["client_id"]]

    def request(self):
        device, joiner = self.devices[0], self.joiners[0]
        nonce = joiner.nonces[device["dev_eui"]]
        joiner.nonces[device["dev_eui"]] = nonce + 1
        return device, nonce, lorawan.join_req(device, nonce, support.HOME)
