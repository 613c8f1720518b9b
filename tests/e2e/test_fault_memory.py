"""Memory, or a thread, that is not to be had: each allocation of the services fails, one at a time, within each kind of request, at
their start, and under load. They answer rightly, or say that they cannot now, or end and are started again; the same request, made
again, is answered rightly then.
"""

import base64
import collections
import hashlib
import http.client
import json
import os
import re
import secrets
import time
import unittest

import fault_check
import fault_journal
import fault_memory
import lorawan
import openapi
import support
from fault_stack import KEYS_LOOKED_FOR, LEASES_OVER, FaultTest, count
from test_codes import unclaimed
from test_jobs import csv_of

CASES = count(2)  # of each kind of request, of each program's start, and under load
BACK_S = 60
NEVER_TOLD_S = 10  # until an allocation under load is said not to be made
BUSY_S = 14  # a client is not kept waiting for longer than that
COUNTS = 8  # of what a request allocates: a service may do other things meanwhile
MORE = 1.1  # than were counted: not each time as many are made
ROWS, IMPORT_ROWS = 400, 24
CONFIG_FAULT = 78  # exit status of a wrong setting, after which nobody starts a service again
KEYS_1_0, KEYS_1_1 = ("NwkSKey", "AppSKey"), ("FNwkSIntKey", "SNwkSIntKey", "NwkSEncKey", "AppSKey")
RIGHT, LATER = "right", "later"
LATER_STATUSES = (None, 500, 502, 503, 504)
# What is asked for as it is, by whom.
LISTS = {"/v1/organizations": "admin", "/v1/devices?limit=50": "maker", "/v1/batches": "maker", "/v1/jobs": "maker",
         "/v1/network-servers": "operator", "/v1/application-servers": "operator", "/v1/keks": "operator", "/v1/join-routes": "operator",
         "/v1/certificates": "admin", "/v1/eui-blocks": "maker", "/v1/partners": "operator", "/v1/webhooks": "maker",
         "/v1/roaming/agreements": "operator", "/v1/audit?limit=50": "admin", "/v1/openapi.json": "maker"}
IN_LIBRARY = "ended by a signal in a library"
THREADS = ("thread", "mmap")
SERVICE_OF = {"cradle-activation": "activation"}
FRAMES = 16  # of where it failed
ASKERS = 6  # of them, from the innermost: whoever wanted the memory
# They end the process, or go on with what they were not given: a TLS handshake needs them. GMP is given memory by GnuTLS.
FRAGILE = ("libtasn1.so", "libgmp.so", "gnutls_x509_crt_equals", "gnutls_x509_dn_init")


def frames_in(log):
    """Of the last allocation that failed."""
    with open(log, encoding="utf-8", errors="replace") as file:
        return file.read().rpartition("memory fault: ")[2].splitlines()[:FRAMES]


def is_fragile(frames):
    """Whether it was one of those."""
    asked_by = [line for line in frames[1:] if os.path.basename(fault_memory.LIBRARY) not in line][:ASKERS]
    return any(name in line for line in asked_by for name in FRAGILE)


class Memory(FaultTest):
    name = "memory"

    @classmethod
    def setUpClass(cls):
        if "ASAN_OPTIONS" in os.environ:
            raise unittest.SkipTest("sanitizers have an allocator of their own")
        if not os.path.exists(support.Stack.program(fault_memory.LIBRARY)):
            raise unittest.SkipTest("the library that fails allocations is not built: it is part of the tests")
        super().setUpClass()
        for service in ("joinserver", "activation"):
            cls.settings(service, "hsm", f"keyd = {cls.stack.keyd()}", "processes = 1")

    @classmethod
    def get_stack(cls):
        stack = fault_memory.MemoryStack(cls.name)
        cls.addClassCleanup(stack.stop)
        cls.control = fault_memory.Control(f"{stack.state}-memory")
        cls.addClassCleanup(cls.control.close)
        return stack

    def setUp(self):
        self.addCleanup(self.control.disarm)
        self.journal = fault_journal.Journal(self.stack.path(f"journal-{time.monotonic_ns()}"))
        self.addCleanup(self.journal.close)
        self.wrong, self.told, self.rows, self.keys = [], collections.Counter(), [], {}
        self.tokens = {role: self.stack.token(role) for role in self.stack.demo["clients"]}

    # --- what is asked; each call of what these give asks the same again, and says RIGHT, LATER, or what is wrong ---

    def exchange(self, method, url, body=None, headers=None, identity=None):
        """(status, headers, body); None where there was no answer, which must not take long."""
        begun = time.monotonic()
        try:
            if url.startswith("https:"):
                got = support.https(method, url, identity, self.stack.demo["join"]["ca"], body, headers)
            else:
                got = support.http(method, url, body, headers)
        except (OSError, http.client.HTTPException):
            got = None, {}, b""
        if time.monotonic() - begun > BUSY_S:
            self.wrong.append(f"{method} {url}: after {time.monotonic() - begun:.1f} s {got[0]}")
        self.told[got[0]] += 1
        return got

    def joins(self, device, tls=False):
        nonce = self.stack.next_nonce(device)
        body = json.dumps(lorawan.join_req(device, nonce, support.HOME)).encode()
        url = f"https://{self.stack.address}:{self.stack.join_tls_port}/" if tls else self.stack.join_url
        headers = {"Content-Type": "application/json"}
        if not tls:
            headers["Authorization"] = f"Bearer {self.stack.home['token']}"

        def ask():
            number = self.journal.ask("join", dev_eui=device["dev_eui"], join_eui=device["join_eui"], dev_nonce=nonce,
                                      request=hashlib.sha256(body).hexdigest(), allowed=True)
            status, _, answer = self.exchange("POST", url, body, headers, self.stack.home if tls else None)
            if status is None:
                return LATER
            told = json.loads(answer) if status == 200 else {}
            code = told.get("Result", {}).get("ResultCode")
            fields = {"status": status, "code": code}
            accept = None
            if code == "Success":
                accept = lorawan.open_accept(device, told["PHYPayload"], nonce)
                fields.update(accept=told["PHYPayload"], join_nonce=accept and accept["join_nonce"],
                              whole=hashlib.sha256(answer).hexdigest())
            self.journal.answer(number, **fields)
            if status in LATER_STATUSES or code == "Other":
                return LATER
            if accept is None:
                return f"{status} {answer[:300]}"
            return self.keys_of(device, nonce, accept, told)
        return ask

    def keys_of(self, device, nonce, accept, told):
        is_1_1 = device["mac_version"] == "1.1"
        right = lorawan.session_keys(device, accept["join_nonce"], nonce, None if is_1_1 else support.HOME)
        for name in KEYS_1_1 if is_1_1 else KEYS_1_0:
            server = self.stack.application_server() if name == "AppSKey" else self.stack.home
            if lorawan.unwrap(bytes.fromhex(server["kek"]), bytes.fromhex(told[name]["AESKey"])) != right[name]:
                return f"a wrong {name}"
        return RIGHT

    def messages(self, message, token, wanted):
        """Of TS002, that change nothing: they are answered as without a fault."""
        def ask():
            status, _, answer = self.exchange("POST", self.stack.join_url, json.dumps(message).encode(), {
                "Content-Type": "application/json", "Authorization": f"Bearer {token}"})
            told = json.loads(answer) if status == 200 else {}
            if status in LATER_STATUSES or told.get("Result", {}).get("ResultCode") == "Other":
                return LATER
            return RIGHT if all(told.get(name) == value for name, value in wanted.items()) else f"{status} {answer[:300]}"
        return ask

    def app_s_keys(self, device):
        nonce, server = self.stack.next_nonce(device), self.stack.application_server()
        _, answer = self.stack.post_join(lorawan.join_req(device, nonce, support.HOME))
        wanted = {"AppSKey": answer["AppSKey"], "SessionKeyID": answer["SessionKeyID"], "DevEUI": device["dev_eui"]}
        return self.messages({"ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": server["as_id"],
                              "TransactionID": 7, "ReceiverID": device["join_eui"], "DevEUI": device["dev_eui"],
                              "SessionKeyID": answer["SessionKeyID"]}, server["token"], wanted)

    def home_ns(self, device):
        return self.messages({"ProtocolVersion": "1.0", "MessageType": "HomeNSReq", "SenderID": support.HOME, "TransactionID": 5,
                              "ReceiverID": device["join_eui"], "DevEUI": device["dev_eui"]}, self.stack.home["token"],
                             {"HNetID": support.HOME, "Result": {"ResultCode": "Success"}})

    def called(self, method, path, body, judge, role=None, **headers):
        """Of the activation service: judge(status, answer) of what is not LATER."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if role is not None:
            sent["Authorization"] = f"Bearer {self.tokens[role]}"
        status, got, answer = self.exchange(method, self.stack.activation_url + path, body, sent)
        if status in LATER_STATUSES:
            return LATER
        try:
            openapi.description.hold(method, path, status, got, answer)
        except openapi.Undocumented as error:
            return str(error)
        return judge(status, answer)

    def looks(self, path, role):
        wanted = {}

        def judge(status, answer):
            told = json.loads(answer)
            if status == 200 and wanted.setdefault(path, told) == told:
                return RIGHT
            return f"{status} {answer[:300]}"

        def ask():
            return self.called("GET", path, None, judge, role)
        self.until_right(path, ask)
        return ask

    def token_asks(self):
        client = self.stack.demo["clients"]["maker"]
        basic = base64.b64encode(f"{client['client_id']}:{client['client_secret']}".encode()).decode()

        def judge(status, answer):
            if status != 200:
                return f"{status} {answer[:300]}"
            self.tokens["maker"] = json.loads(answer)["access_token"]
            return RIGHT
        return lambda: self.called("POST", "/v1/token", b"grant_type=client_credentials", judge, Authorization=f"Basic {basic}",
                                   Content_Type="application/x-www-form-urlencoded")

    def imports(self, n=IMPORT_ROWS):
        rows = [{**row, "code": secrets.token_hex(10).upper()} for row in unclaimed(n)]
        key = secrets.token_hex(8)

        def ask():
            number, outcomes = self.journal.ask("import", rows=[row["dev_eui"] for row in rows], key=key), {}

            def judge(status, answer):
                if status == 200:
                    lines = [json.loads(line) for line in answer.splitlines()]
                    outcomes.update({line["dev_eui"]: line["outcome"] for line in lines if "outcome" in line})
                self.journal.answer(number, status=status, outcomes=outcomes)
                if status == 409:  # whose worker ended
                    self.stack.psql(LEASES_OVER)
                    return LATER
                if status == 200 and len(outcomes) == n and set(outcomes.values()) <= {"created", "exists"}:
                    return RIGHT
                return f"{status} {answer[:300]}"
            return self.called("POST", "/v1/batches/import?format=csv", csv_of(rows), judge, "maker", Content_Type="text/csv",
                               Idempotency_Key=key)
        self.keys.update({row["dev_eui"]: row["app_key"] for row in rows})
        return ask, rows

    def claims(self):
        if not self.rows:
            ask, rows = self.imports(ROWS)
            self.until_right("import", ask)
            self.rows += rows
        row, key = self.rows.pop(), secrets.token_hex(8)
        body = json.dumps({**fault_journal.CLAIM, "dev_eui": row["dev_eui"], "code": row["code"]}).encode()

        def judge(status, answer):
            return RIGHT if status == 200 else f"{status} {answer[:300]}"
        return lambda: self.called("POST", "/v1/claims", body, judge, "owner", Content_Type="application/json", Idempotency_Key=key)

    def kinds(self):
        """(name, program whose allocations fail, how a new one is made)."""
        devices = {version: self.stack.device(version) for version in ("1.0.3", "1.0.4", "1.1")}
        self.keys.update({device["dev_eui"]: device["app_key"] for device in devices.values()})
        server, service, keyd = fault_memory.PROGRAMS
        found = [(f"join {version}", program, lambda d=device: self.joins(d))
                 for version, device in devices.items() for program in (server, keyd)]
        device = devices["1.0.3"]
        found += [("join over TLS", server, lambda: self.joins(device, tls=True)),
                  ("AppSKeyReq", server, lambda: self.app_s_keys(device)), ("AppSKeyReq", keyd, lambda: self.app_s_keys(device)),
                  ("HomeNSReq", server, lambda: self.home_ns(device)),
                  ("token", service, self.token_asks), ("token", keyd, self.token_asks),
                  ("import", service, lambda: self.imports()[0]), ("import", keyd, lambda: self.imports()[0]),
                  ("claim", service, self.claims), ("claim", keyd, self.claims),
                  ("a device", service, lambda: self.looks(f"/v1/devices/{device['dev_eui']}", "maker"))]
        return found + [(path, service, lambda p=path, r=role: self.looks(p, r)) for path, role in LISTS.items()]

    # --- the cases ---

    def until_right(self, name, ask):
        end, told = time.monotonic() + BACK_S, LATER
        while told == LATER:
            if time.monotonic() > end:
                self.wrong.append(f"{name}: not answered again within {BACK_S} s")
                return
            told = ask()
            if told == LATER:
                time.sleep(fault_journal.AGAIN_S)
        if told != RIGHT:
            self.wrong.append(f"{name}: {told}")

    def chosen(self, n):
        """Of the calls from 1 to n so many as are asked for, over the whole range."""
        step = max(n / CASES, 1)
        return sorted({min(n, 1 + int((i + self.random.random()) * step)) for i in range(min(CASES, n))})

    def test_a_request_for_which_there_is_no_memory_is_answered_rightly_or_later(self):
        done = {}
        for name, program, make in self.kinds():
            with self.subTest(name=name, program=program):
                n, hit = min(self.counted(name, program, make) for _ in range(COUNTS)), 0
                before = self.pids()
                for first in self.chosen(int(n * MORE) + 1):
                    ask = make()
                    at = f"{name}, allocation {first} of {program}"
                    self.control.arm(program, first)
                    told = ask()
                    hit += not self.control.get("armed")
                    self.control.disarm()
                    before = self.look_for_ends(at, before)
                    if told not in (RIGHT, LATER):
                        self.wrong.append(f"{at}: {told}")
                        print(f"\n{at}: {told}", *self.failed_at(SERVICE_OF.get(program, "joinserver")), sep="\n  ", flush=True)
                    elif told == LATER:
                        self.until_right(at, ask)
                done[f"{name}, {program[7:]}"] = (n, hit)
        print(f"\nallocations of a request, and how many of them failed: {done}; HTTP statuses {dict(self.told)}", flush=True)
        self.judged()

    def counted(self, name, program, make):
        """How many allocations it takes, and what else is done meanwhile."""
        ask = make()
        self.control.arm(program, fault_memory.NEVER)
        self.until_right(name, ask)
        n = self.control.get("calls")
        self.control.disarm()
        return n

    def look_for_ends(self, at, before):
        """Where the allocation failed of which a service ended; and who is there now."""
        ended = [name for name, pid in before.items() if not os.path.exists(f"/proc/{pid}/exe")]
        for name in ended:
            how = support.wait_until(lambda n=name: re.findall(rf"^{n} ended \(([^)]*)\)", self.stack.said(), re.M), BACK_S,
                                     f"it is told how {name} ended")[-1]
            failed = self.failed_at(name)
            if "signal" in how and not is_fragile(failed):
                self.wrong.append(f"{at}: {name} ended by {how}")
                print(f"\n{at}: {name} ended by {how} at", *failed, sep="\n  ", flush=True)
        if ended:
            self.stack.wait_ready()
        return self.pids() if ended else before

    def failed_at(self, service):
        """Where the last allocation of it, or of its key process, failed: frames."""
        return frames_in(self.stack.path("log", f"{service}.log"))

    def judged(self):
        """How they ended, and what the journal says."""
        self.stack.wait_ready()
        ends = collections.Counter(re.findall(r"^(\w+ ended \([^)]*\))", self.stack.said(), re.M))
        print(f"ends: {dict(ends)}", flush=True)
        violations = fault_check.check(fault_journal.read(self.journal.path), fault_check.facts_of(self.stack))
        if self.keys:
            violations += fault_check.keys_in_clear([self.stack.path("log")], dict(list(self.keys.items())[-KEYS_LOOKED_FOR:]))
        fault_check.held(self.wrong + violations)

    def test_a_start_for_which_there_is_no_memory_is_made_again(self):
        device = self.stack.device("1.0.3")
        for service in ("joinserver", "activation"):
            with self.subTest(service=service):
                program = f"cradle-{service}"
                n = self.started(service, fault_memory.NEVER, None)
                ends = collections.Counter(self.started(service, first, None) for first in self.chosen(n))
                ends += collections.Counter(self.started(service, first, THREADS) for first in range(1, min(CASES, 20)))
                print(f"\n{program} started without one of its {n} allocations: {dict(ends)}", flush=True)
                self.assertEqual(set(ends) - {"ready", "ended with status 1", IN_LIBRARY}, set())
        self.control.arm("cradle-keyd", fault_memory.NEVER)
        self.restart_keyd(device)
        n = self.control.get("calls")
        for first in self.chosen(n):
            self.control.arm("cradle-keyd", first, from_start=True)
            self.restart_keyd(device)
        print(f"\ncradle-keyd started without one of its {n} allocations", flush=True)
        self.control.disarm()
        self.judged()

    def restart_keyd(self, device):
        killed = self.stack.kill("keyd")
        self.stack.wait_restarted("keyd", killed)
        self.until_right("join with a new key process", self.joins(device))

    def started(self, service, first, only):
        """What became of one that was started so; or how many allocations it made."""
        self.control.arm(f"cradle-{service}", first, from_start=True, only=only)
        one = (support.JoinServer(self.stack, *support.free_ports(2)) if service == "joinserver"
               else support.ActivationService(self.stack, *support.free_ports(1)))
        try:
            support.wait_until(lambda: one.process.poll() is not None or self.stack.is_ready(one.port), BACK_S,
                               f"{service} is ready or ends without allocation {first}: see {one.log}")
            status = one.process.poll()
            n = self.control.get("calls")
            self.control.disarm()
        finally:
            one.process.kill()
            one.process.wait()
        if first == fault_memory.NEVER:
            return n
        if status is not None and status < 0 and is_fragile(frames_in(one.log)):
            return IN_LIBRARY
        return "ready" if status is None else f"ended with status {status}"

    def test_under_load_memory_that_is_missing_breaks_no_promise(self):
        worst, hit = {}, 0
        with self.load(n_joiners=4) as load:
            load.fault()
            self.recovered(load, "the start", worst)
            for case in range(CASES):
                program = fault_memory.PROGRAMS[case % len(fault_memory.PROGRAMS)]
                self.control.arm(program, int(10 ** self.random.uniform(0, 4)))
                try:
                    support.wait_until(lambda: not self.control.get("armed"), NEVER_TOLD_S, "it is failed")
                    hit += 1
                except AssertionError:
                    load.raise_broken()
                self.control.disarm()
                load.fault()
                self.recovered(load, program, worst)
                self.stack.psql(LEASES_OVER)
        print(f"\n{hit} of {CASES} allocations failed under load, longest until 25 joins had succeeded again (s): "
              f"{ {name: round(s, 1) for name, s in worst.items()} }", flush=True)
        self.verdict(load)
        self.judged()


if __name__ == "__main__":
    unittest.main()
