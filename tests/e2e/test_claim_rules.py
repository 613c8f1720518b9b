"""Claim rules: devices of a batch that become an owner's without a code, once he has accepted that."""

import json
import secrets
import signal

import support
from test_accounts import Rest
from test_claims import HOME, ClaimTest
from test_codes import unclaimed
from test_jobs import csv_of

GONE = (404, "urn:cradle:problem:not-found")
AGAINST = (409, "urn:cradle:problem:conflict")
CHUNK = 64
WAIT_SECONDS = 60  # a rule that rests longest, and is looked at then


class RuleTest(ClaimTest):
    def batch(self, n, query="format=csv", **changes):
        """A batch of devices with codes on their boxes: its id, and its rows."""
        rows = [{**row, "code": secrets.token_hex(10).upper(), **changes} for row in unclaimed(n)]
        return self.import_batch(rows, query), rows

    def import_batch(self, rows, query="format=csv"):
        _, headers, answer = self.send(csv_of(rows), query)
        self.assertEqual({row["outcome"] for row in answer}, {"created"}, answer[:3])
        return self.maker.call("get", headers["Location"])[2]["batch"]

    def make(self, batch, owner, max_devices=1000, maker=None, **more):
        return (maker or self.maker).call("post", "/v1/claim-rules", {
            "batch": batch, "to": owner.organization, "max_devices": max_devices, **more})

    def made(self, batch, owner, max_devices=1000, **more):
        status, headers, rule = self.make(batch, owner, max_devices, **more)
        self.assertEqual((status, rule["state"], headers["Location"]), (201, "open", f"/v1/claim-rules/{rule['id']}"), rule)
        return rule["id"]

    def accept(self, rule, owner, body=None):
        return owner.call("post", f"/v1/claim-rules/{rule}/accept", HOME if body is None else body)

    def accepted(self, batch, owner, max_devices=1000, **more):
        rule = self.made(batch, owner, max_devices, **more)
        status, _, answer = self.accept(rule, owner)
        self.assertEqual((status, answer["state"]), (200, "active"), answer)
        return rule

    def look(self, rule, who):
        status, _, answer = who.call("get", f"/v1/claim-rules/{rule}")
        self.assertEqual(status, 200, answer)
        return answer

    def wait_used(self, rule, owner, n):
        support.wait_until(lambda: self.look(rule, owner)["used"] == n, WAIT_SECONDS, f"{n} devices are claimed")

    def wait_looked(self, rule):
        """Until a look at the rule that began after this call has ended."""
        for _ in range(2):  # the second one is taken when the first has ended
            self.wake(rule)
            support.wait_until(lambda: self.stack.psql(
                f"SELECT due_at > now() FROM claim_rule WHERE public_id = '\\x{rule}'") == [["t"]], WAIT_SECONDS, "it is looked at")

    def activable(self, rows, rule):
        """As a later step of their making will have it."""
        euis = ",".join(f"'\\x{row['dev_eui']}'" for row in rows)
        self.stack.psql(f"UPDATE device SET credential = 'activable' WHERE dev_eui IN ({euis})")
        self.wake(rule)

    def wake(self, rule):
        self.stack.psql(f"SELECT claim_rule_wake(batch_id) FROM claim_rule WHERE public_id = '\\x{rule}'")

    def owners_of(self, rows):
        """How many of them somebody owns."""
        euis = ",".join(f"'\\x{row['dev_eui']}'" for row in rows)
        return int(self.stack.psql(f"SELECT count(*) FROM device WHERE dev_eui IN ({euis}) AND ownership <> 'unowned'")[0][0])

    def is_refused(self, expected, answer):
        status, _, problem = answer
        self.assertEqual((status, problem["type"]), expected, problem)
        return problem


class Rules(RuleTest):
    def test_what_is_there_is_claimed_at_acceptance_and_joins(self):
        owner, (batch, rows) = self.owner(), self.batch(3)
        rule = self.made(batch, owner)
        self.assertEqual(self.owners_of(rows), 0)
        self.assertEqual(self.accept(rule, owner)[2]["home_net_id"], HOME["home_net_id"])
        self.wait_used(rule, owner, 3)
        self.assertEqual(self.join(dict(rows[0], nwk_key=None), 1)["Result"]["ResultCode"], "Success")
        self.assertEqual(self.row(rows[0], "ownership, service, ownership_epoch, generation, origin, weak"),
                         ["claimed", "active", "1", "2", "claimed", "f"])
        device = owner.call("get", f"/v1/devices/{rows[0]['dev_eui']}")[2]
        self.assertEqual((device["held"], device["home_net_id"], device["as_id"]), (True, HOME["home_net_id"], HOME["as_id"]))
        # The code on the box is worthless; the owner has his own made when he wants one.
        self.refused(self.claim(self.owner(), rows[0]["dev_eui"], rows[0]["code"]))
        rotated = owner.call("post", f"/v1/devices/{rows[0]['dev_eui']}/rotate-code")[2]
        self.assertEqual(rotated["generation"], 3)
        self.assertEqual(self.reasons(rows[1]), ["claimed"])
        ((request, action, detail),) = self.stack.psql(
            f"SELECT request_id, action, detail FROM audit_event WHERE object = '{rows[1]['dev_eui']}'")
        self.assertEqual((request, action), (f"rule-{rule}", "device.claim"))
        self.assertEqual(json.loads(detail), {"rule": rule, "generation": 2, **HOME})

    def test_what_is_made_activable_later_is_claimed_then(self):
        owner, (batch, rows) = self.owner(), self.batch(2, "format=csv&state=personalized")
        rule = self.accepted(batch, owner)
        self.wait_looked(rule)
        self.assertEqual(self.owners_of(rows), 0)
        self.activable(rows[:1], rule)
        self.wait_used(rule, owner, 1)
        self.assertEqual(self.row(rows[1], "ownership"), ["unowned"])

    def test_a_device_without_a_code_is_claimed_too(self):
        owner, row = self.owner(), unclaimed(1)[0]
        rule = self.accepted(self.import_batch([row]), owner)
        self.wait_used(rule, owner, 1)
        self.assertEqual(self.row(row, "generation, origin"), ["1", "claimed"])

    def test_no_more_are_claimed_than_may_be(self):
        owner, (batch, rows) = self.owner(), self.batch(CHUNK + 9)
        rule = self.accepted(batch, owner, CHUNK + 2)
        self.wait_used(rule, owner, CHUNK + 2)
        self.assertEqual(self.look(rule, owner)["state"], "full")
        self.assertEqual(self.owners_of(rows), CHUNK + 2)
        self.is_refused(AGAINST, owner.call("delete", f"/v1/claim-rules/{rule}"))

    def test_only_what_is_allowed_is_claimed_and_the_rest_is_left(self):
        owner, (batch, rows) = self.owner(), self.batch(8)
        rows.sort(key=lambda row: row["dev_eui"])
        euis = [row["dev_eui"] for row in rows]
        rule = self.accepted(batch, owner, allow=[euis[0].upper(), euis[0]],
                             allow_ranges=[{"first": euis[4], "last": euis[6]}, {"first": euis[5], "last": euis[6]}])
        self.wait_used(rule, owner, 4)
        self.wait_looked(rule)
        self.assertEqual([self.row(row, "ownership")[0] == "claimed" for row in rows],
                         [True, False, False, False, True, True, True, False])
        for who in (owner, self.maker):
            seen = self.look(rule, who)
            self.assertEqual((seen["listed"], seen["skipped"], seen["ranges"]),
                             (True, 0, [{"first": euis[0], "last": euis[0]}, {"first": euis[4], "last": euis[6]}]))

    def test_what_has_or_had_an_owner_or_is_in_quarantine_or_scrapped_is_skipped_and_counted(self):
        owner, other, (batch, rows) = self.owner(), self.owner(), self.batch(6)
        self.claimed(other, rows[0])
        self.claimed(other, rows[1])
        released = other.call("post", f"/v1/devices/{rows[1]['dev_eui']}/release")[2]
        for row, verb, body in ((rows[2], "quarantine", None), (rows[3], "scrap", {"confirm": rows[3]["dev_eui"]})):
            self.assertEqual(self.maker.call("post", f"/v1/devices/{row['dev_eui']}/{verb}", body)[0], 200)
        rule = self.accepted(batch, owner)
        self.wait_used(rule, owner, 2)
        self.wait_looked(rule)
        for who in (owner, self.maker):
            self.assertEqual((self.look(rule, who)["used"], self.look(rule, who)["skipped"]), (2, 4))
        self.assertEqual([self.row(row, "ownership, ownership_epoch") for row in rows],
                         [["claimed", "1"], ["unowned", "2"], ["unowned", "0"], ["unowned", "0"], ["claimed", "1"], ["claimed", "1"]])
        # What was sold on is claimed by who has its code; and the maker may lift his quarantine.
        self.claimed(self.owner(), rows[1], released["code"])
        self.assertEqual(self.maker.call("post", f"/v1/devices/{rows[2]['dev_eui']}/lift")[0], 200)
        self.wake(rule)
        self.wait_used(rule, owner, 3)

    def test_what_its_owner_gives_up_does_not_come_back(self):
        owner, (batch, rows) = self.owner(), self.batch(1)
        rule = self.accepted(batch, owner)
        self.wait_used(rule, owner, 1)
        self.assertEqual(owner.call("post", f"/v1/devices/{rows[0]['dev_eui']}/release")[0], 200)
        self.wait_looked(rule)
        self.assertEqual((self.row(rows[0], "ownership"), self.look(rule, owner)["used"]), (["unowned"], 1))

    def test_nothing_is_claimed_after_the_end(self):
        ends = {"expired": lambda rule, _: self.stack.psql(
                    f"UPDATE claim_rule SET expires_at = now() WHERE public_id = '\\x{rule}'"),
                "cancelled": lambda rule, owner: owner.call("delete", f"/v1/claim-rules/{rule}")}
        for state, end in ends.items():
            owner, (batch, rows) = self.owner(), self.batch(1, "format=csv&state=personalized")
            rule = self.accepted(batch, owner)
            end(rule, owner)
            self.assertEqual(self.look(rule, owner)["state"], state)
            self.activable(rows, rule)
            # One that was due later has been looked at.
            self.wait_used(self.accepted(self.batch(1)[0], owner), owner, 1)
            self.assertEqual(self.owners_of(rows), 0)
            self.is_refused(AGAINST, self.maker.call("delete", f"/v1/claim-rules/{rule}"))
        support.wait_until(lambda: self.stack.psql("SELECT 1 FROM audit_event WHERE action = 'claim-rule.expire'"), 2 * WAIT_SECONDS,
                           "the sweep says so")

    def test_a_rule_of_an_organization_without_clients_does_nothing(self):
        owner, (batch, rows) = self.owner(), self.batch(1, "format=csv&state=personalized")
        rule = self.accepted(batch, owner)
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        (client,) = admin.call("get", f"/v1/organizations/{owner.organization}/clients")[2]["items"]
        self.assertIn(admin.call("delete", f"/v1/organizations/{owner.organization}/clients/{client['client_id']}")[0], (200, 204))
        self.activable(rows, rule)
        self.wait_looked(rule)
        self.assertEqual(self.owners_of(rows), 0)


class Sides(RuleTest):
    def test_nobody_gets_devices_that_he_does_not_want(self):
        owner, (batch, rows) = self.owner(), self.batch(1)
        rule = self.made(batch, owner)
        self.assertEqual(self.accept(rule, self.maker)[0], 403)
        status, _, answer = owner.call("delete", f"/v1/claim-rules/{rule}")
        self.assertEqual((status, answer["state"]), (200, "declined"), answer)
        self.is_refused(AGAINST, self.accept(rule, owner))
        self.assertEqual(self.look(rule, self.maker)["state"], "declined")
        rule = self.made(batch, owner)
        self.assertEqual(self.maker.call("delete", f"/v1/claim-rules/{rule}")[2]["state"], "cancelled")
        self.is_refused(AGAINST, self.accept(rule, owner))
        self.assertEqual(self.owners_of(rows), 0)

    def test_who_makes_and_owns_accepts_his_own(self):
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        both = Rest(self.stack, admin.call("post", f"/v1/organizations/{self.maker_organization()}/clients", {"roles": ["owner"]})[2])
        both.organization = self.maker_organization()
        batch, _ = self.batch(1)
        rule = self.accepted(batch, both)
        self.wait_used(rule, both, 1)
        self.assertEqual([r["id"] for r in both.call("get", "/v1/claim-rules")[2]["items"]].count(rule), 1)

    def maker_organization(self):
        return self.stack.psql("SELECT encode(o.public_id, 'hex') FROM organization o JOIN client c ON c.organization_id = o.id"
                               f" WHERE c.id = '\\x{self.stack.demo['clients']['maker']['client_id']}'")[0][0]

    def test_the_owner_says_where_they_join_or_takes_what_the_maker_proposed(self):
        for proposed, said, expected in ((HOME, {}, HOME["home_net_id"]), ({}, HOME, HOME["home_net_id"]), ({}, {}, None),
                                         (HOME, {"home_net_id": None, "as_id": None}, None)):
            owner, (batch, rows) = self.owner(), self.batch(1)
            rule = self.made(batch, owner, **proposed)
            self.assertEqual(self.accept(rule, owner, said)[2]["home_net_id"], expected)
            self.wait_used(rule, owner, 1)
            self.assertEqual(self.row(rows[0], "encode(home_net_id, 'hex')"), [expected or ""])

    def test_a_rule_is_nobody_else_s(self):
        owner, stranger, (batch, _) = self.owner(), self.owner(), self.batch(1)
        rule = self.made(batch, owner)
        for answer in (stranger.call("get", f"/v1/claim-rules/{rule}"), self.accept(rule, stranger),
                       stranger.call("delete", f"/v1/claim-rules/{rule}"), stranger.call("get", f"/v1/claim-rules/{'0' * 32}")):
            self.is_refused(GONE, answer)
        listed = [[r["id"] for r in who.call("get", "/v1/claim-rules")[2]["items"]] for who in (owner, stranger)]
        self.assertEqual(listed, [[rule], []])
        self.assertEqual(self.maker.call("get", "/v1/claim-rules?limit=1")[2]["items"][0]["id"], rule)
        events = self.stack.psql(f"SELECT action, count(DISTINCT organization_id) FROM audit_event WHERE object = '{rule}' GROUP BY action")
        self.assertEqual(events, [["claim-rule.create", "2"]])

    def test_what_is_malformed_or_foreign_is_named(self):
        owner, (batch, rows), (_, foreign) = self.owner(), self.batch(2), self.batch(1)
        mine, other = rows[0]["dev_eui"], foreign[0]["dev_eui"]
        whole = {"first": "00" * 8, "last": "ff" * 8}
        for body, field in (({"batch": "0" * 32}, "batch"), ({"batch": "12"}, "batch"), ({"to": "0" * 32}, "to"),
                            ({"max_devices": 0}, "max_devices"), ({"days": 0}, "days"), ({"days": 3651}, "days"),
                            ({"allow": [mine, other]}, "allow[1]"), ({"allow": [secrets.token_hex(8)]}, "allow[0]"),
                            ({"allow": [mine, "12"]}, "allow"), ({"allow": []}, "allow"), ({"allow_ranges": [{"first": mine}]}, "allow_ranges[0].last"),
                            ({"allow_ranges": [whole, {"first": "x", "last": mine}]}, "allow_ranges[1].first"),
                            ({"allow_ranges": [{"first": "ff" * 8, "last": "00" * 8}]}, "allow_ranges[0].last"),
                            ({"allow": [mine], "allow_ranges": [whole, {"first": other, "last": other}]}, "allow_ranges[1]"),
                            ({"home_net_id": "ABCDEF", "as_id": "demo-as"}, "home_net_id"), ({"home_net_id": support.HOME}, "home_net_id"),
                            ({"colour": 1}, "colour")):
            status, _, problem = self.maker.call("post", "/v1/claim-rules",
                                                 {"batch": batch, "to": owner.organization, "max_devices": 1, **body})
            self.assertEqual((status, problem.get("field")), (400, field), (body, problem))
        rule = self.made(batch, owner)
        status, _, problem = self.accept(rule, owner, {"home_net_id": "ABCDEF", "as_id": "demo-as"})
        self.assertEqual((status, problem["field"]), (400, "home_net_id"), problem)
        self.assertEqual(self.look(rule, owner)["state"], "open")

    def test_another_maker_s_batch_is_not_there(self):
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = admin.call("post", "/v1/organizations", {"name": f"maker {secrets.token_hex(4)}"})[2]
        thief = Rest(self.stack, admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": ["product_maker"]})[2])
        owner, (batch, _) = self.owner(), self.batch(1)
        answers = [self.make(which, owner, maker=thief) for which in (batch, "0" * 32)]
        self.assertEqual([(status, problem["field"]) for status, _, problem in answers], [(400, "batch")] * 2)
        self.assertEqual(answers[0][2]["detail"], answers[1][2]["detail"])

    def test_the_same_call_makes_one_rule(self):
        owner, (batch, _), key = self.owner(), self.batch(1), secrets.token_hex(8)
        body = {"batch": batch, "to": owner.organization, "max_devices": 1}
        first, again = (self.maker.call("post", "/v1/claim-rules", body, Idempotency_Key=key) for _ in range(2))
        self.assertEqual((first[0], again[0], first[2]), (201, 201, again[2]))
        self.assertEqual(len(owner.call("get", "/v1/claim-rules")[2]["items"]), 1)


class Faults(RuleTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("rules")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.maker = Rest(cls.stack, cls.stack.demo["clients"]["maker"])

    def test_services_that_are_killed_and_others_beside_claim_each_device_once_and_no_more_than_may_be(self):
        n, cap = 12 * CHUNK, 10 * CHUNK + 7
        owner, (batch, rows) = self.owner(), self.batch(n)
        self.stack.second_activation()
        rule = self.accepted(batch, owner, cap)
        claimed = 0
        while claimed < cap:
            killed = self.stack.kill("activation", signal.SIGKILL)
            self.stack.wait_restarted("activation", killed)
            support.wait_until(lambda: self.stack.is_ready(self.stack.activation_port), support.READY_SECONDS, "it is ready again")
            before, claimed = claimed, self.owners_of(rows)
            self.assertGreaterEqual(claimed, before)
            self.assertLessEqual(claimed, cap)
        self.assertEqual(self.stack.psql(f"SELECT n_used, state FROM claim_rule WHERE public_id = '\\x{rule}'"), [[str(cap), "full"]])
        self.assertEqual(self.owners_of(rows), cap)
        self.assertEqual(self.stack.psql(
            "SELECT count(*), count(DISTINCT dev_eui), count(DISTINCT organization_id) FROM claim_event"
            f" WHERE request_id = 'rule-{rule}'"), [[str(cap), str(cap), "1"]])
        self.assertEqual(self.stack.psql(
            f"SELECT count(*), count(DISTINCT object) FROM audit_event WHERE request_id = 'rule-{rule}'"), [[str(cap)] * 2])
