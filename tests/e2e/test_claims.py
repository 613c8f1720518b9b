"""Claims: whoever knows a device's code becomes its owner, once, and the code is worthless afterwards."""

import functools
import json
import os
import re
import secrets
import threading

import support
from test_accounts import Rest
from test_codes import CodeNeedles, unclaimed
from test_jobs import JobTest, csv_of

NEW_CODE = re.compile("^[0-9A-F]{16}$")
REFUSED = (403, "urn:cradle:problem:claim-refused")
ALARM_MAX = 3000
LIMITED = (429, "urn:cradle:problem:too-many-attempts")
CLIENT_BURST, DEVICE_BURST, WEAK_MAX, CHUNK = 5, 5, 20, 32
HOME = {"home_net_id": support.HOME, "as_id": "demo-as"}


def modbus(text):
    """CRC-16/MODBUS, bit by bit."""
    crc = 0xFFFF
    for byte in text.encode():
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 * (crc & 1)
    return crc


def code_of_label():
    return secrets.token_hex(10).upper()


class ClaimTest(JobTest):
    def owner(self):
        """A client of an organization of its own: what it tries wrongly is its own affair."""
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = admin.call("post", "/v1/organizations", {"name": f"owner {secrets.token_hex(4)}"})[2]
        rest = Rest(self.stack, admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": ["owner"]})[2])
        rest.organization = made["id"]
        return rest

    def devices(self, n, **changes):
        """Devices that nobody owns, each with the code on its box."""
        rows = [{**row, "code": code_of_label(), **changes} for row in unclaimed(n)]
        answer = self.send(csv_of(rows))[2]
        self.assertEqual({row["outcome"] for row in answer}, {"created"}, answer[:3])
        return rows

    def device(self, **changes):
        return self.devices(1, **changes)[0]

    def claim(self, owner, dev_eui, code, key=None, **more):
        headers = {"Idempotency_Key": key} if key is not None else {}
        status, headers, answer = owner.call("post", "/v1/claims", dict(HOME, dev_eui=dev_eui, code=code, **more), **headers)
        return status, headers, answer

    def claimed(self, owner, device, code=None, key=None):
        """The answer of a claim that succeeds."""
        status, headers, answer = self.claim(owner, device["dev_eui"], code or device["code"], key)
        self.assertEqual((status, answer.get("outcome"), headers["Cache-Control"]), (200, "claimed", "no-store"), answer)
        self.assertRegex(answer["code"], NEW_CODE)
        return answer

    def refused(self, answer):
        status, _, problem = answer
        self.assertEqual((status, problem["type"]), REFUSED, problem)
        return {name: value for name, value in problem.items() if name != "instance"}

    def row(self, device, columns):
        return self.stack.psql(f"SELECT {columns} FROM device d LEFT JOIN claim_code c USING (dev_eui) "
                               f"WHERE d.dev_eui = '\\x{device['dev_eui']}'")[0]

    def reasons(self, device):
        return [row[0] for row in self.stack.psql(
            f"SELECT outcome FROM claim_event WHERE dev_eui = '\\x{device['dev_eui']}' ORDER BY id")]


class Claims(ClaimTest):
    def test_a_claimed_device_joins_and_its_old_code_is_worthless(self):
        device, owner, thief = self.device(), self.owner(), self.owner()
        joining = dict(device, nwk_key=None)
        self.assertEqual(self.join(joining, 1)["Result"]["ResultCode"], "UnknownDevEUI")
        typed = "-".join(re.findall("..", device["code"].lower()))
        answer = self.claimed(owner, device, typed)
        self.assertEqual((answer["dev_eui"], answer["generation"], answer["ownership_epoch"], answer["home_net_id"], answer["as_id"]),
                         (device["dev_eui"], 2, 1, support.HOME, "demo-as"))
        self.assertEqual(self.row(device, "ownership, service, ownership_epoch, generation, origin, weak"),
                         ["claimed", "active", "1", "2", "claimed", "f"])
        self.assertEqual(self.join(joining, 2)["Result"]["ResultCode"], "Success")
        for code in (device["code"], answer["code"]):
            self.refused(self.claim(thief, device["dev_eui"], code))
        self.assertEqual(self.reasons(device), ["claimed", "taken", "taken"])

    def test_what_is_refused_is_refused_alike(self):
        device, taken, quarantined, codeless = self.device(), self.device(), self.device(), unclaimed(1)[0]
        self.send(csv_of([codeless]))
        self.claimed(self.owner(), taken)
        self.stack.psql(f"UPDATE device SET trust = 'quarantined' WHERE dev_eui = '\\x{quarantined['dev_eui']}'")
        here = {"code": device, "taken": taken, "quarantined": quarantined, "no-code": dict(codeless, code=code_of_label()),
                "unknown": {"dev_eui": secrets.token_hex(8), "code": code_of_label()}}
        answers = []
        for reason, tried in here.items():
            code = code_of_label() if reason == "code" else tried["code"]
            answers.append(self.refused(self.claim(self.owner(), tried["dev_eui"], code)))
            self.assertEqual(self.reasons(tried)[-1], reason)
        self.assertEqual([answer for answer in answers if answer != answers[0]], [])

    def test_of_many_correct_claims_exactly_one_wins(self):
        n, rounds = 8, 6
        owners = [self.owner() for _ in range(n)]
        for device in self.devices(rounds):
            answers, ready = [], threading.Barrier(n)

            def try_it(owner, dev=device, found=answers, at_once=ready):
                at_once.wait()
                found.append(self.claim(owner, dev["dev_eui"], dev["code"]))

            threads = [threading.Thread(target=try_it, args=(owner,)) for owner in owners]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            won = [answer for status, _, answer in answers if status == 200]
            self.assertEqual(len(won), 1, answers)
            self.assertEqual(self.row(device, "ownership_epoch, generation"), ["1", "2"])
            # Who reads the device again finds it taken, as if he had come later; that counts.
            self.stack.psql("DELETE FROM claim_limit")

    def test_the_same_call_again_rotates_once_more_and_tells_the_newest_code(self):
        device, owner, key = self.device(), self.owner(), secrets.token_hex(8)
        first = self.claimed(owner, device, key=key)
        again = self.claimed(owner, device, key=key)
        self.assertEqual((first["generation"], again["generation"], again["ownership_epoch"]), (2, 3, 1))
        self.assertNotEqual(first["code"], again["code"])
        self.assertEqual(self.row(device, "generation"), ["3"])
        status, _, problem = self.claim(owner, device["dev_eui"], device["code"])
        self.assertEqual((status, problem["type"]), (409, "urn:cradle:problem:conflict"))
        other = self.device()
        status, _, problem = self.claim(owner, other["dev_eui"], other["code"], key)
        self.assertEqual(status, 422, problem)
        stranger = self.owner()
        self.refused(self.claim(stranger, device["dev_eui"], device["code"], key))
        self.assertEqual(self.reasons(device), ["claimed", "repeated", "taken"])

    def test_a_list_is_repeated_also_where_a_device_of_it_is_in_quarantine(self):
        owner, devices = self.owner(), self.devices(3)
        body = {"claims": [{"dev_eui": d["dev_eui"], "code": d["code"]} for d in devices]}
        owner.call("post", "/v1/claims", body, Idempotency_Key="k")
        self.assertEqual(owner.call("post", f"/v1/devices/{devices[1]['dev_eui']}/quarantine")[0], 200)
        status, _, answer = owner.call("post", "/v1/claims", body, Idempotency_Key="k")
        self.assertEqual((status, [r["outcome"] for r in answer["results"]]), (200, ["claimed", "own", "claimed"]), answer)

    def test_a_list_does_not_run_beside_its_own_repetition(self):
        owner, device = self.owner(), self.device()
        body = {"claims": [{"dev_eui": device["dev_eui"], "code": device["code"]}]}
        answers = []
        call = threading.Thread(target=lambda: answers.append(owner.call("post", "/v1/claims", body, Idempotency_Key="k")))
        with self.stack.locked(f"SELECT FROM device WHERE dev_eui = '\\x{device['dev_eui']}' FOR UPDATE"):
            call.start()
            support.wait_until(lambda: self.stack.psql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'WITH seen%'"),
                support.READY_SECONDS, "the call waits for the device")
            status, headers, problem = owner.call("post", "/v1/claims", body, Idempotency_Key="k")
            self.assertEqual((status, headers["Retry-After"]), (409, "1"), problem)
        call.join()
        self.assertEqual((answers[0][0], answers[0][2]["results"][0]["outcome"]), (200, "claimed"))
        again = owner.call("post", "/v1/claims", body, Idempotency_Key="k")[2]["results"][0]
        self.assertEqual((again["outcome"], again["generation"]), ("claimed", 3))

    def test_a_repeated_claim_tells_the_device_s_home_of_now(self):
        owner, device, key = self.owner(), self.device(), secrets.token_hex(8)
        self.claimed(owner, device, key=key)
        owner.call("patch", f"/v1/devices/{device['dev_eui']}", {"home_net_id": None, "as_id": None})
        again = self.claimed(owner, device, key=key)
        self.assertEqual((again["home_net_id"], again["as_id"]), (None, None))

    def test_a_repeated_claim_does_not_bring_back_what_was_given_up(self):
        owner, device, key = self.owner(), self.device(), secrets.token_hex(8)
        self.claimed(owner, device, key=key)
        self.assertEqual(owner.call("post", f"/v1/devices/{device['dev_eui']}/release", None, Idempotency_Key=key)[0], 200)
        self.refused(self.claim(owner, device["dev_eui"], device["code"], key))
        self.assertEqual(self.row(device, "ownership"), ["unowned"])

    def test_many_are_claimed_at_once_with_a_result_each(self):
        owner, key = self.owner(), secrets.token_hex(8)
        devices = self.devices(CHUNK + 8)
        wrong, unknown = dict(devices[3], code=code_of_label()), {"dev_eui": secrets.token_hex(8), "code": code_of_label()}
        claims = [dict(HOME, dev_eui=d["dev_eui"], code=d["code"]) for d in [*devices[:3], wrong, *devices[4:], unknown]]
        claims[1] = {"dev_eui": claims[1]["dev_eui"], "code": claims[1]["code"]}
        claims[5]["home_net_id"] = "ABCDEF"
        claims[6]["as_id"] = "nobody"
        status, _, answer = owner.call("post", "/v1/claims", {"claims": claims}, Idempotency_Key=key)
        self.assertEqual(status, 200, answer)
        results = answer["results"]
        self.assertEqual([r["dev_eui"] for r in results], [c["dev_eui"] for c in claims])
        expected = ["claimed"] * len(claims)
        expected[3] = expected[-1] = "refused"
        expected[5] = expected[6] = "invalid"
        self.assertEqual([r["outcome"] for r in results], expected)
        self.assertEqual((results[5]["field"], results[6]["field"]), ("home_net_id", "as_id"))
        self.assertIsNone(results[1]["home_net_id"])
        again = owner.call("post", "/v1/claims", {"claims": claims}, Idempotency_Key=key)[2]["results"]
        self.assertEqual([r["outcome"] for r in again], expected)
        self.assertEqual({r["generation"] for r in again if "generation" in r}, {3})
        joining = dict(devices[0], nwk_key=None)
        self.assertEqual(self.join(joining, 1)["Result"]["ResultCode"], "Success")

    def test_a_label_is_claimed_as_it_is_scanned(self):
        for form in ("LW:D0:{join}:{dev}:AABB1122:O{code}:SSN1:C{crc}", "URN:DEV:LW:{join}_{dev}_AABB1122_V{code}",
                     "URN:LW:DP:{join}:{dev}:AABB1122:%V{code}"):
            device, owner = self.device(), self.owner()
            names = {"join": device["join_eui"].upper(), "dev": device["dev_eui"].upper(), "code": device["code"]}
            text = form.format(crc="0000", **names)
            good = text.rpartition(":C")[0]
            text = text if not good else f"{good}:C{modbus(good):04X}"
            if good:
                status, _, problem = owner.call("post", "/v1/claims", {"qr": f"{good}:C{modbus(good) ^ 1:04X}"})
                self.assertEqual((status, problem["field"]), (400, "qr"), problem)
            status, _, answer = owner.call("post", "/v1/claims", dict(HOME, qr=text))
            self.assertEqual((status, answer["dev_eui"]), (200, device["dev_eui"]), answer)
        status, _, problem = owner.call("post", "/v1/claims", {"qr": text, "code": "A"})
        self.assertEqual((status, problem["field"]), (400, "qr"), problem)

    def test_a_label_of_a_sigfox_device_is_read_as_one(self):
        owner, text = self.owner(), f"SIGFOX:{secrets.token_hex(4).upper()}:{secrets.token_hex(8).upper()}"
        status, _, problem = owner.call("post", "/v1/claims", {"qr": text})
        self.assertEqual((status, problem["type"].rpartition("/")[2].rpartition(":")[2]), (403, "claim-refused"), problem)
        status, _, problem = owner.call("post", "/v1/claims", {"qr": text + ":"})
        self.assertEqual((status, problem["field"]), (400, "qr"), problem)

    def test_what_is_malformed_is_named(self):
        owner, device = self.owner(), self.device()
        good = {"dev_eui": device["dev_eui"], "code": device["code"]}
        other = {"dev_eui": secrets.token_hex(8), "code": "1"}
        for body, field in ((dict(good, dev_eui="12"), "dev_eui"), (dict(good, code="a/b"), "code"), ({"code": "A"}, "dev_eui"),
                            ({"dev_eui": device["dev_eui"]}, "code"), (dict(good, home_net_id=support.HOME), "home_net_id"),
                            (dict(good, colour="red"), "colour"), (dict(good, home_net_id="ABCDEF", as_id="demo-as"), "home_net_id"),
                            (dict(good, home_net_id=support.HOME, as_id="nobody"), "as_id"), ({"claims": []}, "claims"),
                            (dict(good, claims=[other]), "claims"), ({"claims": [good, good]}, "claims[1].dev_eui"),
                            ({"claims": [good, dict(other, dev_eui="x")]}, "claims[1].dev_eui"),
                            ({"claims": [good, 7]}, "claims[1]"), ({"claims": [other] * 1001}, "claims")):
            status, _, problem = owner.call("post", "/v1/claims", body, Idempotency_Key=secrets.token_hex(8))
            self.assertEqual((status, problem.get("field")), (400, field), problem)
        self.assertEqual(owner.call("post", "/v1/claims", {"claims": [good]})[2]["field"], "Idempotency-Key")
        self.assertEqual(owner.call("post", "/v1/claims?dry_run=true", good)[0], 400)
        self.assertEqual(self.reasons(device), [])
        self.claimed(owner, device)

    def test_codes_are_nowhere_but_in_the_answer(self):
        device, owner = self.device(), self.owner()
        wrong = code_of_label()
        self.refused(self.claim(owner, device["dev_eui"], wrong))
        codes = [wrong, device["code"], self.claimed(owner, device, key=secrets.token_hex(8))["code"]]
        needles = CodeNeedles(codes)
        self.stack.psql("CHECKPOINT")
        (cluster,) = self.stack.psql("SHOW data_directory")[0]
        for tree in (cluster, self.stack.state):
            found, n_files = needles.in_tree(tree)
            self.assertGreater(n_files, 10)
            self.assertEqual(found, set())
        if os.geteuid() != 0:
            self.skipTest("only root may read the memory of a process that is not dumpable")
        (pid,) = self.stack.pids("activation")
        found, n_bytes = needles.in_process(pid)
        self.assertGreater(n_bytes, 1 << 20)
        self.assertEqual(found, set())


class Limits(ClaimTest):
    def wrong(self, owner, dev_eui):
        return self.claim(owner, dev_eui, code_of_label())

    def limited(self, answer):
        status, headers, problem = answer
        self.assertEqual((status, problem["type"]), LIMITED, problem)
        self.assertGreaterEqual(int(headers["Retry-After"]), 1)

    def test_a_client_that_guesses_is_held_up_everywhere_and_others_are_not(self):
        device, owner = self.device(), self.owner()
        for _ in range(CLIENT_BURST):
            self.refused(self.wrong(owner, secrets.token_hex(8)))
        self.limited(self.claim(owner, device["dev_eui"], device["code"]))
        other = self.stack.second_activation()
        status, _, answer = support.http(
            "POST", f"{other.url}/v1/claims", body_of(device), {"Authorization": f"Bearer {owner.token}",
                                                                     "Content-Type": "application/json"})
        self.assertEqual(status, 429, answer)
        self.assertEqual(self.reasons(device), [])
        self.claimed(self.owner(), device)

    def test_a_list_of_guesses_ends_where_a_client_s_do(self):
        owner, device = self.owner(), self.device()
        guesses = [{"dev_eui": secrets.token_hex(8), "code": code_of_label()} for _ in range(2 * CHUNK)]
        answer = owner.call("post", "/v1/claims", {"claims": guesses}, Idempotency_Key="k")[2]
        self.assertEqual([r["outcome"] for r in answer["results"]],
                         ["refused"] * CLIENT_BURST + ["limited"] * (2 * CHUNK - CLIENT_BURST))
        self.limited(self.claim(owner, device["dev_eui"], device["code"]))

    def test_a_strong_code_is_never_locked_for_who_knows_it(self):
        device, guessers = self.device(), [self.owner() for _ in range(DEVICE_BURST)]
        for guesser in guessers:
            self.refused(self.wrong(guesser, device["dev_eui"]))
        for guesser in guessers[:2]:
            self.limited(self.claim(guesser, device["dev_eui"], device["code"]))
        self.claimed(self.owner(), device)

    def test_a_device_that_is_not_here_is_limited_as_one_that_is(self):
        nothing, guessers = secrets.token_hex(8), [self.owner() for _ in range(DEVICE_BURST)]
        for guesser in guessers:
            self.refused(self.wrong(guesser, nothing))
        self.limited(self.wrong(guessers[0], nothing))

    def test_what_was_tried_before_a_device_was_here_does_not_lock_its_weak_code(self):
        row = {**unclaimed(1)[0], "code": "12AB34CE"}
        self.refused(self.wrong(self.owner(), row["dev_eui"]))
        self.stack.psql(f"UPDATE claim_limit SET n_wrong = {WEAK_MAX} WHERE scope = 2 AND subject = '\\x{row['dev_eui']}'")
        self.send(csv_of([row]))
        self.claimed(self.owner(), row)

    def test_a_weak_code_is_locked_after_too_many_guesses(self):
        device = self.device(code="12AB34CD")
        locks = ("UPDATE claim_limit SET n_wrong = %d WHERE scope = 2 AND subject = '\\x" + device["dev_eui"] + "'")
        self.refused(self.wrong(self.owner(), device["dev_eui"]))
        self.stack.psql(locks % WEAK_MAX)
        self.refused(self.claim(self.owner(), device["dev_eui"], device["code"]))
        self.assertEqual(self.reasons(device), ["code", "locked"])
        self.stack.psql(locks % (WEAK_MAX - 1))
        self.claimed(self.owner(), device)

    def over_tls(self, owner, body):
        place = self.stack.demo["activation"]
        return support.https("POST", place["tls_url"] + "/v1/claims", None, place["ca"], body,
                             {"Authorization": f"Bearer {owner.token}", "Content-Type": "application/json"})

    def test_strangers_of_one_network_are_held_up_together_and_who_guesses_nothing_is_not(self):
        owner, other, device = self.owner(), self.owner(), self.device()
        wrong = body_of(dict(device, code=code_of_label()))
        self.assertEqual(self.over_tls(owner, wrong)[0], 403)
        self.assertEqual(self.stack.psql("SELECT encode(subject, 'hex'), n_wrong FROM claim_limit WHERE scope = 4"),
                         [["0000ffff7f000000", "1"]])
        self.stack.psql("INSERT INTO claim_limit (scope, subject, due) SELECT 4, decode('0000ffff7f000000', 'hex'), "
                        "now() + interval '1 hour' ON CONFLICT (scope, subject) DO UPDATE SET due = excluded.due")
        try:
            status, headers, answer = self.over_tls(owner, wrong)
            self.assertEqual(status, 429, answer)
            self.assertIn(int(headers["Retry-After"]), range(1, 7))  # until his own one is forgiven
            self.assertEqual(self.over_tls(other, body_of(device))[0], 200)
        finally:
            self.stack.psql("DELETE FROM claim_limit WHERE scope = 4")

    def alarm(self):
        page = self.stack.activation("GET", "/metrics")[2].decode()
        return re.search(r"^cradle_claim_alarm (\d)$", page, re.M)[1]

    def test_guessing_by_many_clients_raises_an_alarm_and_keeps_no_owner_out(self):
        guesser, owner, device = self.owner(), self.owner(), self.device()
        self.stack.psql("INSERT INTO claim_event (dev_eui, organization_id, client_id, request_id, outcome) "
                        f"SELECT '\\x{'ab' * 8}', 1, '\\x{'ab' * 16}', 'many', 'unknown' FROM generate_series(0, {ALARM_MAX})")
        try:
            support.wait_until(lambda: self.alarm() == "1", 3 * support.READY_SECONDS, "the alarm")
            self.refused(self.wrong(guesser, device["dev_eui"]))
            self.limited(self.claim(guesser, device["dev_eui"], device["code"]))
            self.claimed(owner, device)
        finally:
            self.stack.psql("DELETE FROM claim_event WHERE request_id = 'many'; DELETE FROM claim_limit WHERE scope = 5")
        support.wait_until(lambda: self.alarm() == "0", 3 * support.READY_SECONDS, "its end")


class Lost(ClaimTest):
    def lose(self, how):
        device, owner, answers = self.device(), self.owner(), []
        waiting = functools.partial(self.stack.waiting_at, "SyncRep", "claim_event")
        call = threading.Thread(target=lambda: answers.append(self.claim(owner, device["dev_eui"], device["code"])))
        with self.stack.standby_missing():
            call.start()
            pid = support.wait_until(waiting, support.READY_SECONDS, "the claim waits")[0]
            self.stack.end_wait(pid, call, how)
        call.join()
        status, _, answer = answers[0]
        self.assertEqual((status, answer["outcome"], answer["generation"]), (200, "claimed", 3), answer)
        self.assertEqual(self.row(device, "generation, ownership_epoch"), ["3", "1"])

    def test_a_claim_whose_commit_nobody_saw_is_answered_with_the_newest_code(self):
        """The backend dies after the commit: the service asks again, and finds itself."""
        self.lose("pg_terminate_backend")

    def test_a_claim_whose_wait_for_a_standby_was_cancelled_is_not_answered_before_a_commit_that_waited(self):
        """PostgreSQL says COMMIT, and warns: that is no answer either."""
        self.lose("pg_cancel_backend")


def body_of(device):
    return json.dumps({"dev_eui": device["dev_eui"], "code": device["code"]}).encode()
