"""Clients that join, import and claim without end while things fail, and the journal of what they asked and were told.

    with fault_journal.Load(stack, path) as load:
        load.fault()                         # from now on what succeeds comes after the fault
        os.kill(...)
        load.wait_recovered(10)
    violations = fault_check.check(fault_journal.read(path), fault_check.facts_of(stack))

A line is written before each request and after each answer, by this process, which nobody kills: the journal survives
what happens to the services. A request without an answer has one line.
"""

import base64
import hashlib
import http.client
import json
import queue
import secrets
import threading
import time
import urllib.parse

import lorawan
import support

VERSIONS = ("1.0.2", "1.0.3", "1.0.4", "1.1")
HTTP_SECONDS = 20
PAUSE_S = 0.005  # of a client after each exchange: there is a machine to share
AGAIN_S = 0.05  # before what was not answered is asked again
ASK_AGAIN = 400  # times at most, which is longer than anything may be away
REPEAT_EVERY, STRANGER_EVERY = 10, 25  # joins
IMPORT_ROWS, BAD_LINE = 24, 7  # rows of a file; the one that is refused
CLAIM = {"home_net_id": support.HOME, "as_id": "demo-as"}
AFTER_FAULT = 25  # joins that must succeed after a fault


class Journal:
    """Lines of JSON: {"n", "at", "op", ...} when asked, {"n", "at", "answered": true, ...} when answered."""

    def __init__(self, path):
        self.path, self.lock, self.number = path, threading.Lock(), 0
        self.file = open(path, "a", encoding="utf-8")  # pylint: disable=consider-using-with

    def _write(self, line):
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def ask(self, operation, **fields):
        """Its number, by which it is answered."""
        with self.lock:
            self.number += 1
            self._write({"n": self.number, "at": time.time(), "op": operation, **fields})
            return self.number

    def answer(self, number, **fields):
        with self.lock:
            self._write({"n": number, "at": time.time(), "answered": True, **fields})

    def close(self):
        self.file.close()


def read(path):
    """What was asked, in this order, each with its "answer" (None where none came)."""
    asked = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            entry = json.loads(line)
            if entry.pop("answered", False):
                asked[entry["n"]]["answer"] = entry
            else:
                asked[entry["n"]] = {**entry, "answer": None}
    return list(asked.values())


class Connection:
    """One HTTP connection that is kept, and made anew when it broke."""

    def __init__(self, url):
        self.url, self.http = url, None

    def call(self, method, path, body, headers):
        """(status, header mapping, bytes); (None, {}, b"") when there was no whole answer."""
        try:
            if self.http is None:
                where = urllib.parse.urlsplit(self.url)
                self.http = http.client.HTTPConnection(where.hostname, where.port, timeout=HTTP_SECONDS)
            self.http.request(method, path, body, headers)
            answer = self.http.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None, {}, b""

    def close(self):
        if self.http is not None:
            self.http.close()
            self.http = None


class Client(threading.Thread):
    """One that goes on until its load stops. What it raises is kept in `broken`."""

    def __init__(self, load, url):
        super().__init__(daemon=True)
        self.load, self.connection, self.broken = load, Connection(url), None
        self.journal, self.stopping = load.journal, load.stopping

    def run(self):
        try:
            while not self.stopping.is_set():
                self.turn()
                self.stopping.wait(PAUSE_S)
        except Exception as error:  # pylint: disable=broad-except
            self.broken = error
        finally:
            self.connection.close()

    def turn(self):
        raise NotImplementedError


class Joiner(Client):
    """Joins with devices of its own, one after another. What is not answered is asked again to the byte, until it is."""

    def __init__(self, load, devices):
        super().__init__(load, load.stack.join_url)
        self.devices, self.nonces = devices, {d["dev_eui"]: d["dev_nonce"] for d in devices}
        self.n_joins = 0

    def turn(self):
        for device in self.devices:
            if self.stopping.is_set():
                return
            self.join_as(device)
            self.stopping.wait(PAUSE_S)

    def join_as(self, device):
        nonce = self.nonces[device["dev_eui"]]
        self.nonces[device["dev_eui"]] = nonce + 1
        message = lorawan.join_req(device, nonce, support.HOME)
        answered = self.post(device, nonce, message)
        for _ in range(ASK_AGAIN):
            if answered or self.stopping.wait(AGAIN_S):
                break
            answered = self.post(device, nonce, message)
        self.n_joins += 1
        if answered and self.n_joins % REPEAT_EVERY == 0:
            self.post(device, nonce, message)
        if self.n_joins % STRANGER_EVERY == 0:
            self.post(device, nonce + 1, lorawan.join_req(device, nonce + 1, support.OTHER), support.OTHER)

    def post(self, device, nonce, message, net_id=support.HOME):
        """Whether it was answered for good: with anything but "later"."""
        body = json.dumps(message).encode()
        number = self.journal.ask("join", dev_eui=device["dev_eui"], join_eui=device["join_eui"], dev_nonce=nonce,
                                  request=hashlib.sha256(body).hexdigest(), allowed=net_id == support.HOME)
        status, _, answer = self.connection.call("POST", "/", body, {
            "Content-Type": "application/json", "Authorization": f"Bearer {self.load.stack.server(net_id)['token']}"})
        if status is None:
            return False
        try:
            told = json.loads(answer)
        except ValueError:
            told = {}
        code = told.get("Result", {}).get("ResultCode")
        fields = {"status": status, "code": code}
        if status == 200 and code == "Success":
            accept = lorawan.open_accept(device, told["PHYPayload"], nonce)
            fields.update(accept=told["PHYPayload"], join_nonce=accept and accept["join_nonce"],
                          whole=hashlib.sha256(answer).hexdigest())
            self.load.succeeded("join")
        self.journal.answer(number, **fields)
        return status == 200 and code not in (None, "Other")


class Caller(Client):
    """Calls the activation service as one client, with an access token that it gets again when it has to."""

    def __init__(self, load, account):
        super().__init__(load, load.stack.activation_url)
        self.account, self.token = account, None

    def call(self, method, path, body, **headers):
        """As Connection.call; None also while there is no access token."""
        if self.token is None and not self.get_token():
            return None, {}, b""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        status, got, answer = self.connection.call(method, path, body, {"Authorization": f"Bearer {self.token}", **sent})
        if status == 401:
            self.token = None
        return status, got, answer

    def get_token(self):
        basic = base64.b64encode(f"{self.account['client_id']}:{self.account['client_secret']}".encode()).decode()
        status, _, answer = self.connection.call("POST", "/v1/token", b"grant_type=client_credentials", {
            "Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"})
        self.token = json.loads(answer)["access_token"] if status == 200 else None
        return status == 200


class Importer(Caller):
    """Imports files of unclaimed devices with codes, each until it is answered; one row of a file must be refused."""

    def turn(self):
        rows = [{"dev_eui": f"02cdcf{secrets.token_hex(5)}", "join_eui": support.DEMO_JOIN_EUI,
                 "app_key": secrets.token_hex(16), "mac_version": "1.0.3", "code": secrets.token_hex(10).upper()}
                for _ in range(IMPORT_ROWS)]
        rows[BAD_LINE]["app_key"] = "12"
        key = secrets.token_hex(8)
        for _ in range(ASK_AGAIN):
            if self.post(rows, key) or self.stopping.wait(AGAIN_S):
                break
        self.stopping.wait(10 * PAUSE_S)

    def post(self, rows, key):
        body = "\n".join([",".join(rows[0])] + [",".join(row.values()) for row in rows]) + "\n"
        number = self.journal.ask("import", rows=[row["dev_eui"] for row in rows], key=key)
        status, headers, answer = self.call("POST", "/v1/batches/import?format=csv", body.encode(), Content_Type="text/csv",
                                            Idempotency_Key=key)
        if status is None:
            return False
        outcomes = {}
        if status == 200 and headers.get_content_type() == "application/x-ndjson":
            try:
                outcomes = {row["dev_eui"]: row["outcome"] for row in map(json.loads, answer.splitlines())
                            if "outcome" in row and "dev_eui" in row}
            except ValueError:
                outcomes = {}
        self.journal.answer(number, status=status, outcomes=outcomes)
        whole = len(outcomes) == len(rows)
        if whole:
            self.load.succeeded("import")
            for row in rows:
                if outcomes[row["dev_eui"]] in ("created", "exists"):
                    self.load.unclaimed.put(row)
            self.load.keys.update({row["dev_eui"]: row["app_key"] for row in rows if len(row["app_key"]) == 32})
        # 409: whoever worked at it was killed, and its lease is not over. Another file meanwhile.
        return whole or status == 409


class Claimers(Client):
    """Several organizations claim one device with its code, all at once; who is not answered asks again."""

    def __init__(self, load, accounts):
        super().__init__(load, load.stack.activation_url)
        self.callers = [Caller(load, account) for account in accounts]

    def turn(self):
        try:
            row = self.load.unclaimed.get(timeout=0.2)
        except queue.Empty:
            return
        threads = [threading.Thread(target=self.claim, args=(caller, row, secrets.token_hex(8))) for caller in self.callers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for caller in self.callers:
            if caller.broken is not None:
                raise caller.broken
        try:
            self.load.stack.psql("DELETE FROM claim_limit")  # who comes second has made a wrong claim
        except AssertionError:
            pass  # the database is away
        self.stopping.wait(10 * PAUSE_S)

    def claim(self, caller, row, key):
        try:
            for _ in range(ASK_AGAIN):
                if self.post(caller, row, key) or self.stopping.wait(AGAIN_S):
                    break
        except Exception as error:  # pylint: disable=broad-except
            caller.broken = error

    def post(self, caller, row, key):
        body = json.dumps({**CLAIM, "dev_eui": row["dev_eui"], "code": row["code"]}).encode()
        number = self.journal.ask("claim", dev_eui=row["dev_eui"], organization=caller.account["organization"])
        status, _, answer = caller.call("POST", "/v1/claims", body, Content_Type="application/json", Idempotency_Key=key)
        if status is None:
            return False
        try:
            told = json.loads(answer)
        except ValueError:
            told = {}
        self.journal.answer(number, status=status, type=told.get("type"), members=sorted(told), generation=told.get("generation"))
        if status == 200:
            self.load.succeeded("claim")
        return status not in (401, 429, 500, 502, 503, 504)


class Load:
    """All clients of a campaign, from __enter__ to __exit__."""

    def __init__(self, stack, path, n_joiners=6, n_devices=4, importers=1, claimers=3):
        self.stack, self.path = stack, path
        self.journal, self.stopping = Journal(path), threading.Event()
        self.unclaimed, self.keys = queue.Queue(), {}
        self.lock, self.counts, self.after, self.recovered = threading.Lock(), {}, 0, threading.Event()
        self.clients = []
        for index in range(n_joiners):
            devices = stack.devices(VERSIONS[index % len(VERSIONS)], n_devices)
            self.keys.update({d["dev_eui"]: d["app_key"] for d in devices})
            self.clients.append(Joiner(self, devices))
        self.clients += [Importer(self, stack.demo["clients"]["maker"]) for _ in range(importers)]
        if claimers:
            self.clients.append(Claimers(self, [self.owner() for _ in range(claimers)]))

    def owner(self):
        """An account of an organization of its own."""
        run = self.stack.cradle("client", "add", "--organization", f"owner {secrets.token_hex(4)}", "--role", "owner")
        if run.returncode != 0:
            raise AssertionError(run.stderr)
        made = json.loads(run.stdout)
        (organization,), = self.stack.psql("SELECT encode(o.public_id, 'hex') FROM client c JOIN organization o "
                                           f"ON o.id = c.organization_id WHERE c.id = '\\x{made['client_id']}'")
        return {**made, "organization": organization}

    def succeeded(self, operation):
        with self.lock:
            self.counts[operation] = self.counts.get(operation, 0) + 1
            if operation == "join":
                self.after += 1
                if self.after >= AFTER_FAULT:
                    self.recovered.set()

    def fault(self):
        """From now on successes come after it."""
        with self.lock:
            self.after = 0
            self.recovered.clear()

    def wait_recovered(self, seconds, what=""):
        if not self.recovered.wait(seconds):
            self.raise_broken()
            raise AssertionError(f"no {AFTER_FAULT} joins within {seconds} s after {what or 'the fault'}")

    def raise_broken(self):
        for client in self.clients:
            if client.broken is not None:
                raise client.broken

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, kind, *_):
        self.stopping.set()
        for client in self.clients:
            client.join()
        self.journal.close()
        if kind is None:
            self.raise_broken()
