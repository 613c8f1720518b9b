"""Subscriptions: places of devices, taken and given back; and what their end brings, whoever looks after it."""

import datetime
import os
import secrets
import signal
import threading

import support
from test_accounts import Rest
from test_claims import HOME
from test_moves import AGAINST, GONE, MoveTest
from test_webhooks import HookStack

N_MANY = 250  # more than two pieces of the keeper's
BAD = (400, "urn:cradle:problem:bad-request")
DAY = datetime.timedelta(days=1)


def moment(days):
    """RFC 3339, so many days from now."""
    return (datetime.datetime.now(datetime.timezone.utc) + days * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")


class SubscriptionTest(MoveTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = HookStack("subscriptions")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.maker = Rest(cls.stack, cls.stack.demo["clients"]["maker"])
        cls.operator = Rest(cls.stack, cls.stack.demo["clients"]["operator"])
        cls.admin = Rest(cls.stack, cls.stack.demo["clients"]["admin"])

    def setUp(self):
        self.owner_client, self.device_row, self.nonce = self.owner(), self.device(), 0

    def sell(self, count=1, owner=None, **more):
        body = {"organization": (owner or self.owner_client).organization, "name": "fleet", "ends_at": moment(365),
                "count": count, **more}
        status, headers, made = self.operator.call("post", "/v1/subscriptions", body)
        self.assertEqual((status, headers["Location"]), (201, f"/v1/subscriptions/{made['id']}"), made)
        return made

    def change(self, subscription, seller=None, **body):
        return (seller or self.operator).call("patch", f"/v1/subscriptions/{subscription['id']}", body)

    def seen(self, subscription, who=None):
        status, _, answer = (who or self.owner_client).call("get", f"/v1/subscriptions/{subscription['id']}")
        self.assertEqual(status, 200, answer)
        return answer

    def used(self, subscription):
        answer = self.seen(subscription)
        self.assertEqual(answer["count"], answer["used"] + answer["free"])
        return answer["used"]

    def take(self, subscription, device=None, owner=None):
        path = f"/v1/devices/{(device or self.device_row)['dev_eui']}/subscription"
        return (owner or self.owner_client).call("post", path, {"subscription_id": subscription["id"]})

    def give_back(self, device=None):
        return self.owner_client.call("delete", f"/v1/devices/{(device or self.device_row)['dev_eui']}/subscription")

    def shown(self, device=None):
        return self.owner_client.call("get", f"/v1/devices/{(device or self.device_row)['dev_eui']}")[2]

    def becomes(self, service, device=None):
        return support.wait_until(lambda: [d for d in [self.shown(device)] if d["service"] == service],
                                  support.READY_SECONDS, f"the device is {service}")[0]

    def time_passes(self, subscription, days):
        """Its times are moved back, as if so many days had gone by."""
        self.stack.psql("UPDATE subscription SET " + ", ".join(
            f"{column} = {column} - interval '{days} days'" for column in ("starts_at", "ends_at", "notice_at", "due_at"))
            + f" WHERE public_id = '\\x{subscription['id']}'")

    def require(self, required):
        status, _, answer = self.admin.call(
            "patch", f"/v1/organizations/{self.owner_client.organization}", {"subscription_required": required})
        self.assertEqual((status, answer["subscription_required"]), (200, required), answer)

    def actions(self, of):
        return [row[0] for row in self.stack.psql(f"SELECT action FROM audit_event WHERE object = '{of}' ORDER BY id")]


class Life(SubscriptionTest):
    def test_from_its_claim_to_its_end_and_on(self):
        self.owner_client.call("post", "/v1/webhooks", {"url": "https://receiver.invalid/", "events": ["subscription.ending"]})
        told = (f"SELECT body FROM webhook_delivery JOIN organization o ON o.id = organization_id "
                f"WHERE o.public_id = '\\x{self.owner_client.organization}'")
        sold = self.sell()
        self.assertEqual((sold["state"], sold["count"], sold["used"], sold["free"], sold["renewal"], sold["notice_days"]),
                         ("running", 1, 0, 1, "none", 14))
        status, _, answer = self.claim(self.owner_client, self.device_row["dev_eui"], self.device_row["code"],
                                       subscription_id=sold["id"])
        self.assertEqual((status, answer["outcome"]), (200, "claimed"), answer)
        self.assertEqual((self.used(sold), self.shown()["subscription"]),
                         (1, {"id": sold["id"], "name": "fleet", "state": "running", "ends_at": sold["ends_at"]}))
        self.assertEqual(self.joined(), "Success")

        self.time_passes(sold, 350)
        self.assertEqual(self.stack.psql(told), [])
        self.time_passes(sold, 2)
        support.wait_until(lambda: self.stack.psql(told), support.READY_SECONDS, "its end is told")
        self.assertEqual(self.joined(), "Success")

        self.time_passes(sold, 14)
        shown = self.becomes("suspended")
        self.assertEqual((shown["suspended_by"], shown["subscription"]["state"]), ("subscription", "ended"))
        self.assertEqual(self.joined(), "ActivationDisallowed")
        path = f"/v1/devices/{self.device_row['dev_eui']}/joins"
        attempt = support.wait_until(  # a refusal is written behind its answer
            lambda: [a for a in self.owner_client.call("get", path)[2]["items"][:1] if a["reason"]],
            support.READY_SECONDS, "the refusal is recorded")[0]
        self.assertIn(f"It is suspended since its subscription fleet ended at {shown['subscription']['ends_at']}.",
                      attempt["explanation"]["why"])
        checks = self.owner_client.call("get", f"/v1/devices/{self.device_row['dev_eui']}/preflight")[2]["checks"]
        self.assertEqual([c["check"] for c in checks if not c["ok"]], ["service", "subscription"])
        problem = self.is_refused(AGAINST, self.post("resume"))
        self.assertEqual(problem["detail"], f"the device's subscription fleet ended at {shown['subscription']['ends_at']}: "
                                            "have it extended, or take a place in another")

        self.assertEqual(self.change(sold, ends_at=moment(100))[0], 200)
        self.assertEqual(self.becomes("active")["suspended_by"], None)
        self.assertEqual(self.joined(), "Success")
        self.assertEqual(len(self.stack.psql(told)), 1)
        self.assertEqual(self.actions(self.device_row["dev_eui"]), ["device.claim", "device.suspend", "device.resume"])
        self.assertEqual(self.actions(sold["id"]), [action for action in (
            "subscription.create", "subscription.notice", "subscription.end", "subscription.change") for _ in range(2)])

    def test_what_its_owner_has_suspended_no_subscription_resumes(self):
        sold = self.sell()
        self.claimed(self.owner_client, self.device_row)
        self.assertEqual(self.take(sold)[0], 200)
        self.assertEqual(self.done("suspend")["suspended_by"], "owner")
        self.change(sold, ends_at=sold["starts_at"])
        support.wait_until(lambda: "subscription.end" in self.actions(sold["id"]), support.READY_SECONDS, "it has ended")
        self.is_refused(AGAINST, self.post("resume"))
        other = self.sell(name="other")
        self.assertEqual(self.take(other)[2]["suspended_by"], "owner")
        self.assertEqual((self.done("resume")["service"], self.joined()), ("active", "Success"))
        # What the want of one has suspended is its owner's when he says so.
        self.change(other, ends_at=other["starts_at"])
        self.becomes("suspended")
        self.assertEqual(self.done("suspend")["suspended_by"], "owner")
        self.is_refused(AGAINST, self.post("suspend"))
        self.change(other, ends_at=moment(9))
        self.assertEqual((self.take(other)[2]["service"], self.joined()), ("suspended", "ActivationDisallowed"))
        self.assertEqual(self.done("resume")["suspended_by"], None)

    def test_what_renews_does_not_end(self):
        sold = self.sell(renewal="auto")
        self.claim(self.owner_client, self.device_row["dev_eui"], self.device_row["code"], subscription_id=sold["id"])
        self.time_passes(sold, 800)
        renewed = support.wait_until(lambda: [s for s in [self.seen(sold)] if s["ends_at"] > moment(0)],
                                     support.READY_SECONDS, "it is renewed")[0]
        self.assertEqual((renewed["state"], renewed["used"]), ("running", 1))
        self.assertEqual((self.shown()["service"], self.joined()), ("active", "Success"))
        self.assertEqual(self.change(sold, renewal="none")[2]["renewal"], "none")
        self.time_passes(sold, 365)
        self.becomes("suspended")


class Places(SubscriptionTest):
    def test_a_full_one_refuses_a_claim_and_the_device_is_as_it_was(self):
        first, second, sold = self.device_row, self.device(), self.sell()
        self.assertEqual(self.claim(self.owner_client, first["dev_eui"], first["code"], subscription_id=sold["id"])[0], 200)
        answers = [self.claim(self.owner_client, second["dev_eui"], code, subscription_id=sold["id"])
                   for code in (second["code"], "0" * 20, second["code"])]
        for answer in answers:  # no code was looked at
            self.assertEqual(self.is_refused(AGAINST, answer)["detail"],
                             "the subscription has no place left: give one of its devices' back, or have it made larger")
        self.assertEqual(self.reasons(second), [])
        self.assertEqual(self.row(second, "ownership, generation"), ["unowned", "1"])
        ended = self.sell(name="ended")
        self.change(ended, ends_at=ended["starts_at"])
        self.is_refused(AGAINST, self.claim(self.owner_client, second["dev_eui"], second["code"], subscription_id=ended["id"]))
        self.claimed(self.owner_client, second)
        self.is_refused(AGAINST, self.take(sold, second))
        self.assertEqual(self.give_back(first)[0], 204)
        self.is_refused(AGAINST, self.give_back(first))
        self.assertEqual((self.take(sold, second)[0], self.used(sold)), (200, 1))

    def test_of_a_list_as_many_are_claimed_as_there_are_places(self):
        devices, sold = self.devices(5), self.sell(3)
        claims = [dict(HOME, dev_eui=d["dev_eui"], code=d["code"], subscription_id=sold["id"]) for d in devices]
        key = secrets.token_hex(8)
        for _ in range(2):  # a lost answer costs nothing, though the places are taken
            results = self.owner_client.call("post", "/v1/claims", {"claims": claims}, Idempotency_Key=key)[2]["results"]
            self.assertEqual(sorted(r["outcome"] for r in results), ["claimed"] * 3 + ["no-place"] * 2)
            self.assertEqual(self.used(sold), 3)
        left = [d for d, r in zip(devices, results) if r["outcome"] == "no-place"]
        self.assertEqual([self.row(d, "ownership, generation") for d in left], [["unowned", "1"]] * 2)
        claims[0]["subscription_id"] = self.sell(name="other")["id"]
        self.assertEqual(self.owner_client.call("post", "/v1/claims", {"claims": claims}, Idempotency_Key=key)[0], 422)

    def test_the_last_place_is_taken_once(self):
        n, rounds = 6, 4
        for _ in range(rounds):
            devices, sold, found, ready = self.devices(n), self.sell(), [], threading.Barrier(n)
            owner = self.owner_client

            def try_it(device, of=sold, answers=found, at_once=ready):
                at_once.wait()
                answers.append(self.claim(owner, device["dev_eui"], device["code"], subscription_id=of["id"])[0])

            threads = [threading.Thread(target=try_it, args=(device,)) for device in devices]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(found), [200] + [409] * (n - 1))
            self.assertEqual(self.used(sold), 1)
            self.assertEqual(sorted(self.row(d, "ownership")[0] for d in devices), ["claimed"] + ["unowned"] * (n - 1))

    def replace(self, old, by):
        status, _, answer = self.owner_client.call("post", f"/v1/devices/{old['dev_eui']}/replace", {"by": by["dev_eui"]})
        self.assertEqual(status, 200, answer)
        return answer

    def test_a_place_goes_with_the_place_of_a_dead_device(self):
        sold, spare = self.sell(), self.device()
        for device in (self.device_row, spare):
            self.claimed(self.owner_client, device)
        self.take(sold)
        self.require(True)
        self.becomes("suspended", spare)
        answer = self.replace(self.device_row, spare)
        self.assertEqual((answer["service"], answer["subscription"]["id"]), ("active", sold["id"]))
        self.assertEqual((self.shown()["subscription"], self.used(sold)), (None, 1))
        self.assertEqual(self.joined(spare), "Success")
        self.is_refused(AGAINST, self.post("resume"))

    def test_a_place_that_is_over_gives_way_to_one_that_runs_and_cuts_nobody_off(self):
        runs, ends, spare = self.sell(), self.sell(), self.device()
        for device, subscription in ((self.device_row, runs), (spare, ends)):
            self.claimed(self.owner_client, device)
            self.assertEqual(self.take(subscription, device)[0], 200)
        self.time_passes(ends, 366)
        self.becomes("suspended", spare)
        answer = self.replace(self.device_row, spare)
        self.assertEqual((answer["service"], answer["subscription"]["id"]), ("active", runs["id"]))
        self.assertEqual((self.used(runs), self.used(ends)), (1, 0))
        last = self.device()
        self.claimed(self.owner_client, last)
        self.time_passes(runs, 366)
        self.becomes("suspended", spare)
        answer = self.replace(spare, last)  # its place is over, and nobody needs one
        self.assertEqual((answer["service"], answer["subscription"]), ("active", None))

    def test_of_a_batch_that_is_resumed_none_is_cut_off_or_brought_back_that_was_replaced(self):
        spare = self.device()
        for device in (self.device_row, spare):
            self.claimed(self.owner_client, device)
        self.replace(self.device_row, spare)
        self.post("suspend", device=spare)
        devices = [self.device_row["dev_eui"], spare["dev_eui"]]
        status, headers, job = self.owner_client.call("post", "/v1/devices/moves", {"move": "resume", "devices": devices})
        self.assertEqual(status, 202, job)
        job = support.wait_until(lambda: next((j for j in [self.owner_client.call("get", headers["Location"])[2]]
                                               if j["state"] == "done"), None), support.READY_SECONDS, "the job is done")
        self.assertEqual((job["moved"], job["refused"]), (1, 1))
        self.assertEqual((self.shown()["service"], self.shown()["replaced_by"], self.shown(spare)["service"]),
                         ("suspended", spare["dev_eui"], "active"))

    def test_a_place_ends_with_ownership(self):
        sold, heir = self.sell(), self.owner()
        for way in ("release", "offer", "scrap"):
            device = self.device()
            self.claimed(self.owner_client, device)
            self.assertEqual(self.take(sold, device)[0], 200)
            if way == "release":
                self.done("release", device=device)
            elif way == "scrap":
                body = {"confirm": device["dev_eui"]}
                scrapped = self.owner_client.call("post", f"/v1/devices/{device['dev_eui']}/scrap", body)[2]
                self.assertEqual((scrapped["credential"], scrapped["subscription"]), ("scrapped", None))
                self.assertEqual(self.shown(device)["subscription"], None)
            else:
                offer = self.owner_client.call("post", f"/v1/devices/{device['dev_eui']}/offer", {"to": heir.organization})[2]
                self.is_refused(AGAINST, self.take(sold, device))
                accepted = heir.call("post", f"/v1/offers/{offer['id']}/accept", dict(HOME))[2]
                self.assertEqual((accepted["subscription"], accepted["service"]), (None, "active"))
            self.assertEqual(self.used(sold), 0, way)

    def test_where_they_are_needed_devices_without_one_do_not_join(self):
        sold, second = self.sell(), self.device()
        self.claimed(self.owner_client, self.device_row)
        self.assertEqual(self.joined(), "Success")
        self.require(True)
        self.assertEqual(self.becomes("suspended")["suspended_by"], "subscription")
        self.assertEqual(self.joined(), "ActivationDisallowed")
        self.assertEqual(self.is_refused(AGAINST, self.post("resume"))["detail"],
                         "the device holds no subscription, and devices of your organization need one")
        self.claimed(self.owner_client, second)
        self.assertEqual(self.shown(second)["suspended_by"], "subscription")
        giver, third = self.owner(), self.device()
        self.claimed(giver, third)
        offer = giver.call("post", f"/v1/devices/{third['dev_eui']}/offer", {"to": self.owner_client.organization})[2]
        self.assertEqual(self.owner_client.call("post", f"/v1/offers/{offer['id']}/accept", dict(HOME))[2]["suspended_by"],
                         "subscription")
        self.assertEqual((self.take(sold)[2]["service"], self.joined()), ("active", "Success"))
        self.assertEqual((self.give_back()[0], self.shown()["service"], self.joined()), (204, "suspended", "ActivationDisallowed"))
        self.require(False)
        self.becomes("active")
        self.becomes("active", second)
        self.assertEqual(self.joined(), "Success")


class Rights(SubscriptionTest):
    def test_who_sold_it_changes_it_and_its_owner_sees_it(self):
        sold, stranger = self.sell(), self.owner()
        made = self.admin.call("post", "/v1/organizations", {"name": f"seller {secrets.token_hex(4)}"})[2]
        rival = Rest(self.stack, self.admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": ["operator"]})[2])
        self.assertEqual(self.change(sold, self.owner_client, count=9)[0], 403)
        for who in (stranger, rival):
            missing = who.call("get", f"/v1/subscriptions/{secrets.token_hex(16)}")
            answer = who.call("get", f"/v1/subscriptions/{sold['id']}")
            self.assertEqual(self.is_refused(GONE, answer)["detail"], self.is_refused(GONE, missing)["detail"])
            self.assertEqual(who.call("get", "/v1/subscriptions")[2]["items"], [])
        self.is_refused(GONE, self.change(sold, rival, count=9))
        for who in (self.owner_client, self.operator, self.admin):
            self.assertEqual(self.seen(sold, who), sold)
            self.assertIn(sold, who.call("get", "/v1/subscriptions?limit=1000")[2]["items"])
        self.assertEqual(self.change(sold, self.admin, count=2)[2]["count"], 2)
        self.claimed(stranger, self.device_row)
        for answer in (self.take(sold, owner=stranger),
                       self.claim(stranger, self.device()["dev_eui"], "0" * 16, subscription_id=sold["id"])):
            self.assertEqual(self.is_refused(BAD, answer)["field"], "subscription_id")

    def test_a_page_follows_another(self):
        made = [self.sell(name=f"number {i}")["id"] for i in range(5)]
        seen, cursor = [], ""
        while cursor is not None:
            page = self.owner_client.call("get", f"/v1/subscriptions?limit=2{cursor and '&cursor=' + cursor}")[2]
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
        self.assertEqual(seen, made[::-1])

    def test_what_cannot_be_sold_or_changed_is_refused(self):
        body = {"organization": self.owner_client.organization, "name": "fleet", "ends_at": moment(365), "count": 1}
        for change, field in (({"organization": secrets.token_hex(16)}, "organization"), ({"name": "a\nb"}, "name"),
                              ({"ends_at": "2030-02-30T00:00:00Z"}, "ends_at"), ({"ends_at": moment(-1)}, "ends_at"),
                              ({"starts_at": "now"}, "starts_at"), ({"count": 0}, "count"), ({"renewal": "never"}, "renewal"),
                              ({"notice_days": 366}, None), ({"colour": 1}, "colour")):
            status, _, problem = self.operator.call("post", "/v1/subscriptions", {**body, **change})
            self.assertEqual(status, 400, problem)
            if field is not None:
                self.assertEqual(problem.get("field"), field, problem)
        for missing in ("organization", "name", "ends_at", "count"):
            status = self.operator.call("post", "/v1/subscriptions", {k: v for k, v in body.items() if k != missing})[0]
            self.assertEqual(status, 400, missing)
        sold, coming = self.sell(2), self.sell(name="next year", starts_at=moment(300))
        self.assertEqual(coming["state"], "upcoming")
        for device in (self.device_row, self.device()):
            self.claimed(self.owner_client, device)
            self.is_refused(AGAINST, self.take(coming, device))
            self.assertEqual(self.take(sold, device)[0], 200)
        self.is_refused(AGAINST, self.change(sold, count=1))
        self.assertEqual(self.is_refused(BAD, self.change(coming, ends_at=moment(299)))["field"], "ends_at")
        self.assertEqual(self.change(sold)[0], 400)
        self.assertEqual(self.seen(sold), {**sold, "used": 2, "free": 0})


class Keepers(SubscriptionTest):
    def many(self):
        """Devices that hold a subscription, and which."""
        devices, sold = self.devices(N_MANY), self.sell(N_MANY)
        claims = [dict(HOME, dev_eui=d["dev_eui"], code=d["code"], subscription_id=sold["id"]) for d in devices]
        answer = self.owner_client.call("post", "/v1/claims", {"claims": claims}, Idempotency_Key=secrets.token_hex(8))[2]
        self.assertEqual({result["outcome"] for result in answer["results"]}, {"claimed"})
        return sold

    def of(self, sold, condition):
        return int(self.stack.psql(
            f"SELECT count(*) FROM device JOIN device_entitlement USING (dev_eui) JOIN subscription s ON s.id = subscription_id "
            f"WHERE s.public_id = '\\x{sold['id']}' AND {condition}")[0][0])

    def events(self, sold):
        """How often which move was made of its devices."""
        return {action: int(n) for action, n in self.stack.psql(
            f"SELECT action, count(*) FROM audit_event WHERE detail->>'subscription' = '{sold['id']}' "
            "AND action <> 'device.claim' AND object !~ '^.{32}$' GROUP BY action")}

    def ended(self, sold):
        support.wait_until(lambda: self.of(sold, "suspended_by = 'subscription'") == N_MANY, support.READY_SECONDS,
                           "all its devices are suspended")
        self.assertEqual(self.events(sold), {"device.suspend": N_MANY})
        self.assertEqual(self.actions(sold["id"]).count("subscription.end"), 2)  # in two histories
        self.assertEqual(self.actions(sold["id"]).count("subscription.notice"), 2)

    def test_one_that_is_killed_in_between_leaves_nothing_out_and_nothing_twice(self):
        sold = self.many()
        pieces = "SELECT walk IS NOT NULL AND octet_length(walk) > 0 FROM subscription WHERE public_id = '\\x" + sold["id"] + "'"
        # The last of its devices is held: the keeper has done all pieces but the last, and is killed there.
        last = ("SELECT FROM device WHERE dev_eui = (SELECT e.dev_eui FROM device_entitlement e JOIN subscription s "
                f"ON s.id = e.subscription_id WHERE s.public_id = '\\x{sold['id']}' ORDER BY e.dev_eui DESC LIMIT 1) FOR UPDATE")
        with self.stack.locked(last):
            self.change(sold, ends_at=sold["starts_at"])
            support.wait_until(lambda: self.stack.psql(pieces) == [["t"]], support.READY_SECONDS, "some pieces are done")
            killed = self.stack.kill("activation")
        self.stack.wait_restarted("activation", killed)
        self.stack.wait_ready()
        self.ended(sold)

    def test_two_do_it_once(self):
        other = self.stack.second_activation()
        sold = self.many()
        self.change(sold, ends_at=sold["starts_at"])
        self.ended(sold)
        self.change(sold, ends_at=moment(30))
        support.wait_until(lambda: self.of(sold, "service = 'active'") == N_MANY, support.READY_SECONDS, "all are active")
        self.assertEqual(self.events(sold), {"device.suspend": N_MANY, "device.resume": N_MANY})
        os.kill(other.process.pid, signal.SIGTERM)

    def test_what_is_done_is_counted(self):
        self.ended(self.many_ended())
        text = support.http("GET", self.stack.activation_url + "/metrics")[2].decode()
        counted = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("cradle_subscription_"))
        for name in ('cradle_subscription_events_total{event="noticed"}', 'cradle_subscription_events_total{event="ended"}',
                     'cradle_subscription_devices_total{move="suspend"}'):
            self.assertGreater(int(counted[name]), 0, name)

    def many_ended(self):
        sold = self.many()
        self.change(sold, ends_at=sold["starts_at"])
        return sold
