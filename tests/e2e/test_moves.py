"""What owners do to their devices, and that joins obey at once."""

import secrets
import threading

import support
from test_accounts import Rest
from test_claims import HOME, NEW_CODE, WEAK_MAX, ClaimTest, code_of_label
from test_codes import unclaimed
from test_jobs import csv_of

GONE = (404, "urn:cradle:problem:not-found")
AGAINST = (409, "urn:cradle:problem:conflict")


class MoveTest(ClaimTest):
    def setUp(self):
        self.owner_client, self.device_row = self.owner(), self.device()
        self.code = self.claimed(self.owner_client, self.device_row)["code"]
        self.nonce = 0

    def post(self, verb, owner=None, device=None, **headers):
        dev_eui = (device or self.device_row)["dev_eui"]
        return (owner or self.owner_client).call("post", f"/v1/devices/{dev_eui}/{verb}", None, **headers)

    def done(self, verb, **more):
        status, headers, answer = self.post(verb, **more)
        self.assertEqual(status, 200, answer)
        self.assertEqual(headers.get("Cache-Control") == "no-store", "code" in answer)
        return answer

    def is_refused(self, expected, answer):
        status, _, problem = answer
        self.assertEqual((status, problem["type"]), expected, problem)
        return problem

    def joined(self, device=None):
        """What the next join of the device comes to."""
        self.nonce += 1
        return self.join(dict(device or self.device_row, nwk_key=None), self.nonce)["Result"]["ResultCode"]

    def patch(self, body, owner=None):
        return (owner or self.owner_client).call("patch", f"/v1/devices/{self.device_row['dev_eui']}", body)

    def events(self):
        return [row[0] for row in self.stack.psql(
            f"SELECT action FROM audit_event WHERE object = '{self.device_row['dev_eui']}' ORDER BY id")]


class Moves(MoveTest):
    def test_a_suspended_device_joins_no_more_until_it_is_resumed(self):
        self.assertEqual(self.joined(), "Success")
        for _ in range(5):
            self.assertEqual(self.done("suspend")["service"], "suspended")
            self.assertEqual(self.joined(), "ActivationDisallowed")
            self.assertEqual(self.done("resume")["service"], "active")
            self.assertEqual(self.joined(), "Success")
        problem = self.is_refused(AGAINST, self.post("resume"))
        self.assertEqual(problem["detail"], "the device's service is active, which stands against resume")
        self.assertEqual(self.events(), ["device.claim"] + ["device.suspend", "device.resume"] * 5)

    def test_a_released_device_is_the_next_owner_s_with_its_new_code(self):
        self.assertEqual(self.joined(), "Success")
        self.patch({"name": "mine"})
        released = self.done("release")
        self.assertRegex(released["code"], NEW_CODE)
        self.assertEqual((released["generation"], released["held"]), (3, False))
        self.assertEqual(self.row(self.device_row, "ownership, service, ownership_epoch, home_net_id, as_id, name"),
                         ["unowned", "inactive", "2", "", "", ""])
        self.assertEqual(self.joined(), "UnknownDevEUI")
        self.is_refused(GONE, self.post("suspend"))
        self.is_refused(GONE, self.owner_client.call("get", f"/v1/devices/{self.device_row['dev_eui']}"))
        successor = self.owner()
        self.refused(self.claim(successor, self.device_row["dev_eui"], self.code))
        for generation in (4, 5):
            again = self.done("rotate-code")
            self.assertEqual((again["generation"], set(again)), (generation, {"code", "generation"}))
        for verb, body in (("scrap", {"confirm": self.device_row["dev_eui"]}), ("quarantine", None)):
            # It may be sold on, so its maker cannot destroy it.
            self.is_refused(AGAINST, self.maker.call("post", f"/v1/devices/{self.device_row['dev_eui']}/{verb}", body))
        self.refused(self.claim(successor, self.device_row["dev_eui"], released["code"]))
        self.assertEqual(self.claimed(successor, self.device_row, again["code"])["ownership_epoch"], 3)
        self.assertEqual(self.joined(), "Success")
        self.is_refused(GONE, self.post("rotate-code"))
        self.assertEqual(self.events(), ["device.claim", "device.bind", "device.release", "device.reissue-code", "device.reissue-code",
                                         "device.claim"])

    def test_a_code_is_reissued_for_thirty_days(self):
        self.done("release")
        age = "UPDATE claim_code SET released_at = now() - interval '%s' WHERE dev_eui = '\\x" + self.device_row["dev_eui"] + "'"
        self.stack.psql(age % "30 days 1 minute")
        self.is_refused(AGAINST, self.post("rotate-code"))
        self.stack.psql(age % "29 days")
        self.done("rotate-code")
        self.is_refused(GONE, self.post("rotate-code", self.owner()))

    def test_a_rotated_code_changes_nothing_else(self):
        before = self.owner_client.call("get", f"/v1/devices/{self.device_row['dev_eui']}")[2]
        rotated = self.done("rotate-code")
        self.assertNotEqual(rotated["code"], self.code)
        self.assertEqual({name: rotated[name] for name in rotated if name not in ("code", "generation")},
                         {name: before[name] for name in before if name not in ("rejoin_pending", "trust_score")})
        key = secrets.token_hex(8)
        first = self.post("rotate-code", Idempotency_Key=key)
        again = self.post("rotate-code", Idempotency_Key=key)
        self.assertEqual((first[0], again[0], again[2]), (200, 200, None))
        self.assertEqual(self.row(self.device_row, "generation"), [str(first[2]["generation"])])

    def test_a_reset_forgets_dev_nonces_and_not_the_join_nonce(self):
        device = dict(self.device_row, nwk_key=None)
        self.assertEqual(self.join(device, 77)["Result"]["ResultCode"], "Success")
        self.assertEqual(self.join(device, 78)["Result"]["ResultCode"], "Success")
        self.assertEqual(self.join(device, 77)["Result"]["ResultCode"], "JoinReqFailed")
        self.done("reset-nonces")
        self.assertEqual(self.join(device, 77)["Result"]["ResultCode"], "Success")
        self.assertEqual(self.join(device, 78)["Result"]["ResultCode"], "Success")
        self.assertEqual(self.join(device, 77)["Result"]["ResultCode"], "JoinReqFailed")
        self.assertEqual(self.stack.psql(
            f"SELECT join_nonce FROM device_join WHERE dev_eui = '\\x{device['dev_eui']}'"), [["4"]])

    def test_a_device_is_bound_to_another_network_or_to_none(self):
        other = self.stack.demo["network_servers"][1]["net_id"]
        self.assertEqual(self.joined(), "Success")
        answer = self.patch({"home_net_id": other.upper(), "as_id": "demo-as", "name": "attic"})[2]
        self.assertEqual((answer["home_net_id"], answer["as_id"], answer["name"]), (other, "demo-as", "attic"))
        self.assertEqual(self.joined(), "UnknownDevEUI")
        answer = self.patch({"home_net_id": None, "as_id": None})[2]
        self.assertEqual((answer["home_net_id"], answer["as_id"], answer["name"]), (None, None, "attic"))
        self.assertEqual(self.joined(), "UnknownDevEUI")
        self.patch(dict(HOME, name=None))
        self.assertEqual(self.joined(), "Success")
        for body, field in (({"home_net_id": other}, "home_net_id"), ({"home_net_id": "ABCDEF", "as_id": "demo-as"}, "home_net_id"),
                            (dict(HOME, as_id="nobody"), "as_id"), ({"name": "a\nb"}, "name"), ({"colour": 1}, "colour"),
                            ({"home_net_id": "xyzxyz", "as_id": "demo-as"}, "home_net_id"), ({}, None)):
            status, _, problem = self.patch(body)
            self.assertEqual((status, problem.get("field")), (400, field), problem)
        self.is_refused(GONE, self.patch({"name": "theirs"}, self.owner()))

    def test_nobody_else_moves_it(self):
        stranger = self.owner()
        for verb in ("suspend", "resume", "release", "rotate-code", "reset-nonces", "unlock-code"):
            answers = [self.post(verb, who, device) for who, device in (
                (stranger, self.device_row), (stranger, {"dev_eui": secrets.token_hex(8)}), (stranger, {"dev_eui": "none"}))]
            details = [self.is_refused(GONE, answer)["detail"] for answer in answers]
            self.assertEqual(len(set(details)), 1, details)
        self.assertEqual(self.events(), ["device.claim"])

    def test_a_quarantined_device_cannot_be_given_away(self):
        self.stack.psql(f"UPDATE device SET trust = 'quarantined' WHERE dev_eui = '\\x{self.device_row['dev_eui']}'")
        self.is_refused(AGAINST, self.post("release"))
        self.is_refused(AGAINST, self.post("reset-nonces"))
        self.is_refused(AGAINST, self.patch({"name": "n"}))
        self.assertEqual(self.done("suspend")["service"], "suspended")


class Unlock(ClaimTest):
    def test_a_locked_weak_code_is_unlocked_by_who_made_the_device(self):
        row = dict(unclaimed(1)[0], code="99ABCDEF")
        self.send(csv_of([row]))
        self.refused(self.claim(self.owner(), row["dev_eui"], code_of_label()))
        self.stack.psql(f"UPDATE claim_limit SET n_wrong = {WEAK_MAX} WHERE scope = 2 AND subject = '\\x{row['dev_eui']}'")
        owner = self.owner()
        self.refused(self.claim(owner, row["dev_eui"], row["code"]))
        self.assertEqual(self.maker.call("post", f"/v1/devices/{row['dev_eui']}/unlock-code")[0], 204)
        self.claimed(owner, row)
        self.assertEqual(self.maker.call("post", f"/v1/devices/{row['dev_eui']}/unlock-code")[0], 404)


class Offers(MoveTest):
    """A device handed from one owner to another, who has to want it."""

    def setUp(self):
        super().setUp()
        self.receiver = self.owner()
        self.to = self.receiver.organization

    def offer(self, owner=None, **body):
        dev_eui = self.device_row["dev_eui"]
        return (owner or self.owner_client).call("post", f"/v1/devices/{dev_eui}/offer", {"to": self.to, **body})

    def offered(self, **body):
        status, headers, offer = self.offer(**body)
        self.assertEqual((status, offer["state"], headers["Location"]), (201, "open", f"/v1/offers/{offer['id']}"), offer)
        return offer["id"]

    def end(self, offer, verb, who, body=None):
        return who.call("post", f"/v1/offers/{offer}/{verb}", body)

    def state(self, offer):
        return self.owner_client.call("get", f"/v1/offers/{offer}")[2]["state"]

    def test_an_accepted_device_is_the_receiver_s_and_joins_anew(self):
        self.assertEqual(self.joined(), "Success")
        offer = self.offered(days=3)
        self.assertEqual(self.joined(), "Success")
        for verb in ("suspend", "release", "rotate-code"):
            self.is_refused(AGAINST, self.post(verb))
        self.is_refused(AGAINST, self.offer())
        self.is_refused(AGAINST, self.end(offer, "accept", self.owner_client))
        status, headers, device = self.end(offer, "accept", self.receiver, HOME)
        self.assertEqual((status, headers["Cache-Control"], device["held"], device["generation"], device["ownership_epoch"]),
                         (200, "no-store", True, 3, 2), device)
        self.assertRegex(device["code"], NEW_CODE)
        self.assertEqual((device["batch"], device["name"]), (None, None))
        self.is_refused(GONE, self.post("suspend"))
        dev_eui = self.device_row["dev_eui"]
        self.assertTrue(self.receiver.call("get", f"/v1/devices/{dev_eui}")[2]["rejoin_pending"])
        self.assertEqual(self.joined(), "Success")
        self.assertFalse(self.receiver.call("get", f"/v1/devices/{dev_eui}")[2]["rejoin_pending"])
        self.assertEqual(self.state(offer), "accepted")
        self.is_refused(AGAINST, self.end(offer, "accept", self.receiver))
        self.assertEqual(self.events(), ["device.claim"] + ["device.offer"] * 2 + ["device.offer.accept"] * 2)

    def test_either_may_end_it_and_the_device_stays(self):
        for who, state in ((self.receiver, "declined"), (self.owner_client, "withdrawn")):
            offer = self.offered()
            self.assertEqual(self.end(offer, "decline", who)[2]["state"], state)
            self.is_refused(AGAINST, self.end(offer, "accept", self.receiver))
            self.assertEqual(self.joined(), "Success")
            self.assertEqual(self.row(self.device_row, "ownership, generation, ownership_epoch"), ["claimed", "2", "1"])

    def test_an_offer_ends_by_itself(self):
        offer = self.offered()
        self.stack.psql(f"UPDATE offer SET expires_at = now() WHERE public_id = '\\x{offer}'")
        self.assertEqual(self.state(offer), "expired")
        self.is_refused(AGAINST, self.end(offer, "accept", self.receiver))
        support.wait_until(lambda: self.row(self.device_row, "ownership") == ["claimed"], 90, "the offer is swept")
        self.done("suspend")
        self.done("resume")
        # Nobody has to wait for that; where the sweep was faster, there is nothing left to end.
        offer = self.offered()
        self.stack.psql(f"UPDATE offer SET expires_at = now() WHERE public_id = '\\x{offer}'")
        self.assertIn(self.end(offer, "decline", self.owner_client)[0], (200, 409))
        self.done("suspend")

    def test_an_offer_is_nobody_else_s(self):
        offer, stranger = self.offered(), self.owner()
        for answer in (stranger.call("get", f"/v1/offers/{offer}"), self.end(offer, "accept", stranger),
                       self.end(offer, "decline", stranger), stranger.call("get", f"/v1/offers/{'0' * 32}")):
            self.is_refused(GONE, answer)
        self.is_refused(GONE, self.offer(stranger))
        listed = [[o["id"] for o in who.call("get", "/v1/offers")[2]["items"]]
                  for who in (self.owner_client, self.receiver, stranger)]
        self.assertEqual(listed, [[offer], [offer], []])

    def test_what_is_malformed_is_named(self):
        for body, field in (({"to": "12"}, "to"), ({"to": "0" * 32}, "to"), ({"to": self.owner_client.organization}, "to"),
                            ({"days": 0}, "days"), ({"days": 91}, "days")):
            status, _, problem = self.offer(**body)
            self.assertEqual((status, problem["field"]), (400, field), problem)
        offer = self.offered()
        status, _, problem = self.end(offer, "accept", self.receiver, {"home_net_id": "ABCDEF", "as_id": "demo-as"})
        self.assertEqual((status, problem["field"]), (400, "home_net_id"), problem)
        self.assertEqual(self.state(offer), "open")

    def test_of_accept_and_withdraw_at_once_one_wins(self):
        for _ in range(6):
            offer, answers = self.offered(), {}
            calls = [threading.Thread(target=lambda verb=verb, who=who: answers.update({verb: self.end(offer, verb, who)[0]}))
                     for verb, who in (("accept", self.receiver), ("decline", self.owner_client))]
            for call in calls:
                call.start()
            for call in calls:
                call.join()
            self.assertEqual(sorted(answers.values()), [200, 409], answers)
            if answers["accept"] == 200:
                self.owner_client, self.receiver = self.receiver, self.owner_client
                self.to = self.receiver.organization



class Trust(MoveTest):
    def setUp(self):
        super().setUp()
        self.operator = Rest(self.stack, self.stack.demo["clients"]["operator"])

    def scrap(self, who, device, confirm=None):
        return who.call("post", f"/v1/devices/{device['dev_eui']}/scrap", {"confirm": confirm or device["dev_eui"]})

    def test_a_quarantined_device_joins_no_more_until_who_imposed_it_lifts_it(self):
        self.assertEqual(self.joined(), "Success")
        self.assertEqual(self.done("quarantine")["trust"], "quarantined")
        self.assertEqual(self.joined(), "ActivationDisallowed")
        self.is_refused(AGAINST, self.post("quarantine"))
        self.assertEqual(self.done("lift")["trust"], "ok")
        self.assertEqual(self.joined(), "Success")
        self.assertEqual(self.post("quarantine", self.operator)[0], 204)
        self.assertEqual(self.joined(), "ActivationDisallowed")
        self.is_refused(AGAINST, self.post("lift"))
        self.is_refused(AGAINST, self.scrap(self.owner_client, self.device_row))
        self.assertEqual(self.post("lift", self.operator)[0], 204)
        self.assertEqual(self.joined(), "Success")
        self.done("quarantine")  # his own, which the operator makes his
        self.assertEqual(self.post("quarantine", self.operator)[0], 204)
        self.is_refused(AGAINST, self.post("quarantine", self.operator))
        self.is_refused(AGAINST, self.post("lift"))
        self.assertEqual(self.post("lift", self.operator)[0], 204)
        self.is_refused(GONE, self.post("quarantine", self.owner()))
        self.is_refused(GONE, self.post("quarantine", self.operator, {"dev_eui": secrets.token_hex(8)}))
        self.assertEqual(self.events(), ["device.claim"] + ["device.quarantine", "device.lift"] * 2 +
                         ["device.quarantine"] * 2 + ["device.lift"])

    def test_a_maker_quarantines_what_nobody_owns_and_nobody_claims_it_then(self):
        device = self.device()
        self.done("quarantine", owner=self.maker, device=device)
        self.refused(self.claim(self.owner(), device["dev_eui"], device["code"]))
        self.done("lift", owner=self.maker, device=device)
        self.claimed(self.owner(), device)
        self.is_refused(GONE, self.post("quarantine", self.maker, device))

    def test_a_scrapped_device_is_no_more_and_its_identifier_never_another_s(self):
        self.assertEqual(self.joined(), "Success")
        self.is_refused(GONE, self.scrap(self.owner(), self.device_row))
        status, _, problem = self.scrap(self.owner_client, self.device_row, secrets.token_hex(8))
        self.assertEqual((status, problem["field"]), (400, "confirm"), problem)
        self.assertEqual(self.joined(), "Success")
        status, _, answer = self.scrap(self.owner_client, self.device_row)
        self.assertEqual((status, answer["credential"], answer["service"]), (200, "scrapped", "inactive"), answer)
        self.assertEqual(self.joined(), "UnknownDevEUI")
        self.assertEqual(self.stack.psql(
            f"SELECT count(*) FROM device_key WHERE dev_eui = '\\x{self.device_row['dev_eui']}'"), [["0"]])
        self.is_refused(AGAINST, self.scrap(self.owner_client, self.device_row))
        for verb in ("release", "quarantine", "resume"):
            self.is_refused(AGAINST, self.post(verb))
        again = self.send(csv_of([{name: self.device_row[name] for name in self.device_row if name != "code"}]))[2]
        self.assertEqual([row["outcome"] for row in again], ["exists"])
        self.assertEqual(self.row(self.device_row, "credential"), ["scrapped"])
