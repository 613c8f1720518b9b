"""The wall clock jumps, by hours and by years, in all processes or in some of them: nothing is lost, nothing lasts for ever, and
nobody is locked out. Monotonic clocks are left alone, as a real jump leaves them.
"""

import json
import os
import secrets
import time
import unittest

import fault_check
import fault_clock
import lorawan
import support
from fault_stack import LEASES_OVER, count
from test_accounts import Rest
from test_codes import unclaimed
from test_jobs import csv_of

HOUR, DAY, YEAR = 3600, 86400, 365 * 86400
JUMPS = (2 * HOUR, -HOUR, 100 * DAY, 0, 3 * YEAR, -30 * DAY)  # from the true time
KINDS = (("main", "database"), ("other",), ("database",), fault_clock.KINDS, ("main",))  # whose clocks
SESSIONS = 12  # more than are looked among
CHAIN_S = 60
ROUNDS = count(1)
SETTLED_S = 60  # after a clock was put right, until nothing of before is left
WRONG_CLAIMS = 5  # after which a client has to wait
HOME = {"home_net_id": support.HOME, "as_id": "demo-as"}


class Clock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if "ASAN_OPTIONS" in os.environ:
            raise unittest.SkipTest("sanitizers want to come first in a process")
        if not fault_clock.built():
            raise unittest.SkipTest("the library that shifts clocks is not built: it is part of the tests")
        cls.stack = fault_clock.Clocks("clock")
        cls.addClassCleanup(cls.stack.forget)
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.join_other = cls.stack.second(cls.stack.second_joinserver)
        cls.activation_other = cls.stack.second(cls.stack.second_activation)
        cls.urls = (cls.stack.join_url, cls.join_other.url)

    def setUp(self):
        self.addCleanup(self.everywhere, 0)
        self.devices = [self.stack.device(version) for version in ("1.0.3", "1.0.4", "1.1")]
        self.join_nonces = {}

    def everywhere(self, seconds):
        self.stack.set_clocks(seconds)

    def joins(self, url=None):
        """Each device joins once, with a JoinNonce above its last, and again with the same bytes."""
        for device in self.devices:
            nonce = self.stack.next_nonce(device)
            message = lorawan.join_req(device, nonce, support.HOME)
            status, answer = self.stack.post_join(message, url=url)
            self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"), answer)
            accept = lorawan.open_accept(device, answer["PHYPayload"], nonce)
            self.assertGreater(accept["join_nonce"], self.join_nonces.get(device["dev_eui"], -1))
            self.join_nonces[device["dev_eui"]] = accept["join_nonce"]
            self.assertEqual(self.stack.post_join(message, url=url)[1]["PHYPayload"], answer["PHYPayload"])

    def imports(self):
        device, = self.stack.devices("1.0.3", 1)
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM device WHERE dev_eui = '\\x{device['dev_eui']}'"), [["1"]])

    def events(self):
        euis = ",".join(f"'\\x{device['dev_eui']}'" for device in self.devices)
        return int(self.stack.psql(f"SELECT count(*) FROM join_event WHERE outcome = 'success' AND dev_eui IN ({euis})")[0][0])

    def test_joins_and_imports_go_on_whichever_clock_jumps(self):
        n = 0
        for _ in range(ROUNDS):
            for index, jump in enumerate(JUMPS):
                for kinds in KINDS if ROUNDS > 1 else KINDS[index % len(KINDS):][:1]:
                    with self.subTest(jump=jump, kinds=kinds):
                        self.everywhere(0)
                        for kind in kinds:
                            self.stack.set_clock(kind, jump)
                        for url in self.urls:
                            self.joins(url)
                        n += 2 * len(self.devices)
                        self.imports()
        self.assertEqual(self.events(), n)
        self.stack.wait_ready()
        twice = fault_check.check([], fault_check.facts_of(self.stack), leave_out=("I2",))  # `at` is the order of the rules
        fault_check.held(twice)
        self.assertEqual(self.stack.psql("SELECT count(*) - count(DISTINCT (dev_eui, join_nonce)) FROM join_event "
                                         "WHERE outcome = 'success'"), [["0"]])

    def test_a_jump_beyond_all_partitions_loses_no_event_and_they_are_made_later(self):
        default = "SELECT count(*) FROM join_event_default"
        self.everywhere(3 * YEAR)
        self.joins()
        self.assertNotEqual(self.stack.psql(default), [["0"]])
        killed = self.stack.kill("joinserver", 15)
        self.stack.wait_restarted("joinserver", killed)
        self.stack.wait_ready()
        month = self.stack.psql("SELECT 'join_event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')")[0][0]
        self.assertEqual(self.stack.psql(f"SELECT to_regclass('{month}') IS NOT NULL"), [["t"]])
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM {month}"), [[str(len(self.devices))]])
        self.joins()
        self.everywhere(0)
        self.joins()
        self.assertEqual(self.events(), 3 * len(self.devices))

    def test_a_token_ends_with_its_time_however_the_clock_comes_there(self):
        ask = ("GET", f"/v1/devices/{self.devices[0]['dev_eui']}", None)

        def status(token):
            return self.stack.activation(*ask, {"Authorization": f"Bearer {token}"})[0]
        old = self.stack.token()
        self.assertEqual(status(old), 200)
        self.everywhere(DAY)
        self.assertEqual(status(old), 401)
        future = self.stack.token()
        self.assertEqual(status(future), 200)
        self.everywhere(0)
        self.assertEqual(status(self.stack.token()), 200)
        self.assertEqual(status(future), 401)  # it would be good for longer than any may be

    def test_an_appskey_is_had_of_the_last_session_after_the_clock_went_back(self):
        server, device = self.stack.application_server(), self.devices[0]
        for jump in (30 * DAY,) * SESSIONS + (0,) * 2:
            self.everywhere(jump)
            nonce = self.stack.next_nonce(device)
            _, answer = self.stack.post_join(lorawan.join_req(device, nonce, support.HOME))
            self.assertEqual(answer["Result"]["ResultCode"], "Success")
            message = {"ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": server["as_id"], "TransactionID": 7,
                       "ReceiverID": device["join_eui"], "DevEUI": device["dev_eui"], "SessionKeyID": answer["SessionKeyID"]}
            status, key = self.stack.post_join(message, token=server["token"])
            self.assertEqual((status, key["Result"]["ResultCode"]), (200, "Success"), jump)

    def test_audit_events_are_chained_and_signed_however_the_clock_jumps(self):
        for jump in (YEAR, 0, -YEAR, 0):
            self.everywhere(jump)
            made = self.stack.cradle("client", "add", "--organization", f"clock {secrets.token_hex(4)}", "--role", "owner")
            self.assertEqual(made.returncode, 0, made.stderr)
            support.wait_until(lambda: self.stack.psql("SELECT count(*) FROM audit_pending") == [["0"]], CHAIN_S, "all events are chained")
        out = self.stack.path("audit.out")
        exported = self.stack.cradle("audit", "export", out)
        self.assertEqual(exported.returncode, 0, exported.stderr)

    # --- what is due later, and what is held up ---

    def owner(self):
        """A client of an organization of its own."""
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = admin.call("post", "/v1/organizations", {"name": f"owner {secrets.token_hex(4)}", "allow_clear_keys": True})[2]
        rest = Rest(self.stack, admin.call("post", f"/v1/organizations/{made['id']}/clients",
                                           {"roles": ["owner", "module_maker"]})[2])
        rest.organization = made["id"]
        return rest

    def unclaimed(self, n):
        rows = [{**row, "code": secrets.token_hex(10).upper()} for row in unclaimed(n)]
        status, _ = self.stack.import_file(csv_of(rows))
        self.assertEqual(status, 200)
        return rows

    def claim(self, owner, row, key=None, code=None):
        headers = {"Idempotency_Key": key} if key else {}
        status, _, answer = owner.call("post", "/v1/claims", {**HOME, "dev_eui": row["dev_eui"], "code": code or row["code"]}, **headers)
        return status, answer

    def soon(self, condition, what):
        return support.wait_until(condition, SETTLED_S, what)

    def join(self, row, nonce):
        return self.stack.post_join(lorawan.join_req({**row, "nwk_key": None}, nonce, support.HOME))[1]["Result"]["ResultCode"]

    def test_what_was_put_off_while_a_clock_was_ahead_is_not_put_off_for_years(self):
        """Jobs whose worker has gone, webhooks that rest, and who has made wrong claims: all by the database's clock."""
        for kinds in (("database",), fault_clock.KINDS) if ROUNDS > 1 else (("database",),):
            with self.subTest(kinds=kinds):
                self.put_off(kinds)

    def put_off(self, kinds):
        owner, rows, wrong = self.owner(), self.unclaimed(2), self.unclaimed(1)[0]
        receiver = self.stack.receiver()
        self.addCleanup(receiver.close)
        receiver.statuses[:] = [503] * 1000
        status, _, hook = owner.call("post", "/v1/webhooks", {"url": receiver.url, "events": ["device.claimed"]})
        self.assertEqual(status, 201, hook)
        self.stack.set_clocks(3 * YEAR, kinds)
        owner = Rest(self.stack, owner.client)  # a token of this time
        self.assertEqual(self.claim(owner, rows[0])[0], 200)
        tried = ("SELECT count(*) FROM webhook w JOIN webhook_delivery d ON d.webhook_id = w.id "
                 f"WHERE w.public_id = '\\x{hook['id']}' AND d.n_tries > 0")
        self.soon(lambda: self.stack.psql(tried) == [["1"]], "a delivery is tried")
        for _ in range(WRONG_CLAIMS + 1):
            told = self.claim(owner, wrong, code="0" * 16)
        self.assertEqual(told[0], 429, told)
        job = self.held_job(owner, rows[0])
        receiver.statuses.clear()
        self.everywhere(0)
        owner = Rest(self.stack, owner.client)
        self.soon(lambda: self.stack.psql("SELECT count(*) FROM job WHERE state IN ('waiting', 'running')"
                                          " AND lease_until > now() + interval '2 minutes'") == [["0"]],
                  "leases are no longer than they may be")
        self.stack.psql(LEASES_OVER)  # as a minute would
        self.soon(lambda: owner.call("get", job)[2]["state"] == "done", "the job is gone on with")
        self.soon(lambda: self.claim(owner, wrong)[0] == 200, "who made wrong claims may make a right one")
        self.soon(lambda: {d["state"] for d in owner.call("get", f"/v1/webhooks/{hook['id']}/deliveries")[2]["items"]}
                  == {"delivered"}, "what the webhook did not take is delivered")
        self.assertEqual(self.stack.psql("SELECT count(*) FROM trust_scan WHERE fence_at > now()"), [["0"]])

    def held_job(self, owner, row):
        """The path of a job whose worker was killed at it."""
        with self.stack.locked(f"SELECT FROM device WHERE dev_eui = '\\x{row['dev_eui']}' FOR UPDATE"):
            status, headers, answer = owner.call("post", "/v1/devices/moves", {"move": "suspend", "devices": [row["dev_eui"]]})
            self.assertEqual(status, 202, answer)
            self.soon(lambda: self.stack.psql("SELECT count(*) FROM job WHERE state = 'running'") != [["0"]], "it is worked on")
            killed = self.stack.kill("activation")
            self.activation_other.process.kill()
            self.activation_other.process.wait()
        self.stack.wait_restarted("activation", killed)
        self.stack.wait_ready()
        type(self).activation_other = self.stack.second(self.stack.second_activation)
        return headers["Location"]

    def sell(self, owner, seconds):
        operator = Rest(self.stack, self.stack.demo["clients"]["operator"])
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        status, _, sold = operator.call("post", "/v1/subscriptions", {
            "organization": owner.organization, "name": "fleet", "ends_at": ends, "count": 1})
        self.assertEqual(status, 201, sold)
        return sold

    def service_of(self, owner, row):
        return owner.call("get", f"/v1/devices/{row['dev_eui']}")[2]["service"]

    def test_a_subscription_that_ended_too_early_runs_again_and_one_clock_alone_ends_none(self):
        owner, row = self.owner(), self.unclaimed(1)[0]
        sold = self.sell(owner, 400 * DAY)
        self.assertEqual(self.claim(owner, row)[0], 200)
        status, _, answer = owner.call("post", f"/v1/devices/{row['dev_eui']}/subscription", {"subscription_id": sold["id"]})
        self.assertEqual(status, 200, answer)
        self.assertEqual(self.join(row, 1), "Success")
        audits = self.stack.psql("SELECT count(*) FROM claim_event")
        self.stack.set_clock("database", 3 * YEAR)
        self.soon(lambda: "the database's clock is" in self.log("activation"), "the service sees that the clocks differ")
        self.assertEqual(self.service_of(owner, row), "active")
        self.assertEqual(self.join(row, 2), "Success")
        self.assertEqual(self.stack.psql("SELECT count(*) FROM claim_event"), audits)  # old ones would be deleted
        self.everywhere(3 * YEAR)
        self.soon(lambda: self.service_of(Rest(self.stack, owner.client), row) == "suspended", "the subscription ends")
        self.assertEqual(self.join(row, 3), "ActivationDisallowed")
        self.everywhere(0)
        owner = Rest(self.stack, owner.client)
        self.soon(lambda: self.service_of(owner, row) == "active", "the subscription runs again")
        self.assertEqual(self.join(row, 4), "Success")

    def log(self, service):
        with open(self.stack.path("log", f"{service}.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def test_a_call_that_is_made_again_with_its_key_is_answered_as_before(self):
        owner, row, key = self.owner(), self.unclaimed(1)[0], secrets.token_hex(8)
        first = self.claim(owner, row, key)
        self.assertEqual(first[0], 200)
        for jump in (2 * HOUR, -HOUR, 0):
            self.stack.set_clock("database", jump)
            self.assertEqual(self.claim(owner, row, key)[0], 200, jump)
            self.assertEqual(self.stack.psql(f"SELECT count(*) FROM device WHERE dev_eui = '\\x{row['dev_eui']}' AND owner_id IS NOT NULL"),
                             [["1"]])

    def test_an_agreement_runs_from_now_on_whatever_the_database_s_clock_says(self):
        operator, home = Rest(self.stack, self.stack.demo["clients"]["operator"]), "0" + secrets.token_hex(3)[1:]
        for jump in (3 * YEAR, -30 * DAY):
            self.stack.set_clock("database", jump)
            status, _, made = operator.call("post", "/v1/roaming/agreements",
                                            {"home_net_id": home, "visited_net_id": support.OTHER})
            self.assertEqual((status, made["state"]), (201, "running"), made)
            self.stack.set_clock("database", 0)
            self.assertEqual(operator.call("delete", f"/v1/roaming/agreements/{made['id']}")[0], 204)

    def test_a_peer_whose_certificate_was_over_is_let_in_again(self):
        device, url = self.devices[0], f"https://{self.stack.address}:{self.stack.join_tls_port}/"

        def joined():
            body = json.dumps(lorawan.join_req(device, self.stack.next_nonce(device), support.HOME)).encode()
            try:
                return support.https("POST", url, self.stack.home, self.stack.demo["join"]["ca"], body,
                                     {"Content-Type": "application/json"})[0]
            except OSError:
                return None
        self.assertEqual(joined(), 200)
        for jump in (20 * YEAR, -5 * YEAR):
            for kinds, status in ((("main",), None), (("database",), 200)):
                self.stack.set_clocks(jump, kinds)
                self.assertEqual(joined(), status, (jump, kinds))
                self.everywhere(0)
                self.assertEqual(joined(), 200)


if __name__ == "__main__":
    unittest.main()
