"""Webhooks: what is posted is signed and comes at least once, and reaches nothing that only we can reach."""

import hashlib
import hmac
import json
import secrets
import ssl
import threading
import time

import support
from certificates import Ca
from test_accounts import Rest
from test_async import Receiver
from test_claims import ClaimTest
from test_codes import unclaimed
from test_jobs import csv_of

TYPES = ("device.claimed", "claim.refused", "batch.done", "device.first_join", "device.offered", "device.quarantined",
         "device.suspect", "subscription.ending", "delivery.repeated")
AFTER_A_LEASE_SECONDS = 60
LATER_SECONDS = 60
WEBHOOKS_MAX, AT_ONCE = 20, 12
NOBODY = "00" * 16
SIGNED_WITHIN_SECONDS = 300


class HookStack(support.Stack):
    """Webhooks may go to this machine, with the certificates of this CA."""

    def __init__(self, name):
        super().__init__(name)
        self.ca = self.new_ca("ca")

    def new_ca(self, name):
        """A CA that has made a certificate for receivers."""
        ca = Ca(f"{self.state}-{name}", "ca")
        ca.openssl("req", "-x509", "-CA", ca.pem, "-CAkey", ca.key, *ca.new_key("receiver"),
                   "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
                   "-addext", "extendedKeyUsage=serverAuth")
        return ca

    def environment(self):
        return {**super().environment(), "CRADLE_WEBHOOK_ALLOW_PRIVATE": "true", "CRADLE_WEBHOOK_CA": self.ca.pem}

    def receiver(self, ca=None):
        ca, context = ca or self.ca, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca.path("pem", "receiver"), ca.path("key", "receiver"))
        return Receiver(context)


def verified(post, secret):
    """The event of a post, as docs/webhooks.md says that a receiver is to read it."""
    parts = dict(part.split("=", 1) for part in post.headers["Cradle-Signature"].split(","))
    if abs(time.time() - int(parts["t"])) > SIGNED_WITHIN_SECONDS:
        raise AssertionError("an old signature")
    expected = hmac.new(secret.encode(), parts["t"].encode() + b"." + post.body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, parts["v1"]):
        raise AssertionError("a wrong signature")
    event = json.loads(post.body)
    if event["id"] != post.headers["Cradle-Event"]:
        raise AssertionError("another event")
    return event


class HookTest(ClaimTest):
    def make(self, rest, url, events=TYPES, **more):
        status, headers, made = rest.call("post", "/v1/webhooks", {"url": url, "events": list(events), **more})
        self.assertEqual((status, headers["Location"], headers["Cache-Control"]),
                         (201, f"/v1/webhooks/{made['id']}", "no-store"), made)
        self.assertRegex(made["secret"], "^whsec_[0-9a-f]{64}$")
        return made

    def deliveries(self, rest, hook):
        return rest.call("get", f"/v1/webhooks/{hook['id']}/deliveries")[2]["items"]

    def settled(self, rest, hook, state, n=1):
        """The deliveries, as soon as n are in this state."""
        return support.wait_until(
            lambda: [d for d in [self.deliveries(rest, hook)] if sum(x["state"] == state for x in d) >= n],
            AFTER_A_LEASE_SECONDS, f"{n} deliveries are {state}")[0]


class Hooks(HookTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = HookStack("webhooks")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.maker = Rest(cls.stack, cls.stack.demo["clients"]["maker"])

    def receiver(self, ca=None):
        receiver = self.stack.receiver(ca)
        self.addCleanup(receiver.close)
        return receiver

    def hooked(self, rest, receiver, events=TYPES):
        hook = self.make(rest, receiver.url, events)
        self.addCleanup(rest.call, "delete", f"/v1/webhooks/{hook['id']}")
        return hook

    def test_calls_at_once_make_no_more_than_an_organization_may_have(self):
        owner, answers = self.owner(), []
        body = {"url": "https://127.0.0.1:9/", "events": ["device.claimed"]}

        def make():
            answers.append(owner.call("post", "/v1/webhooks", body)[0])

        calls = [threading.Thread(target=make) for _ in range(WEBHOOKS_MAX + AT_ONCE)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
        self.assertEqual(sorted(answers), [201] * WEBHOOKS_MAX + [409] * AT_ONCE)

    def test_owner_and_maker_are_told_of_a_claim_and_the_maker_not_whom(self):
        of_owner, of_maker, device, owner = self.receiver(), self.receiver(), self.device(), self.owner()
        hook, makers = self.hooked(owner, of_owner, ["device.claimed"]), self.hooked(self.maker, of_maker, ["device.claimed"])
        answer = self.claimed(owner, device)
        told, told_maker = (verified(r.wait(1)[0], h["secret"]) for r, h in ((of_owner, hook), (of_maker, makers)))
        self.assertEqual((told["type"], told["object"]),
                         ("device.claimed", {"dev_eui": device["dev_eui"], "ownership_epoch": 1}))
        self.assertEqual((told_maker["type"], told_maker["object"]), ("device.claimed", {"dev_eui": device["dev_eui"]}))
        self.assertNotIn(told["organization"], of_maker.posts[0].body.decode())
        self.assertNotEqual(told["id"], told_maker["id"])
        self.assertEqual(of_owner.posts[0].headers["Content-Type"], "application/json")
        [delivery] = self.settled(owner, hook, "delivered")
        self.assertEqual((delivery["id"], delivery["event"], delivery["tries"], delivery["status"], delivery["fault"]),
                         (of_owner.posts[0].headers["Cradle-Delivery"], told["id"], 1, 200, None))
        self.assertEqual(delivery["body"], told)
        needles = (device["code"], answer["code"])
        for code in needles:
            self.assertNotIn(code.lower(), str(delivery).lower() + of_maker.posts[0].body.decode().lower())

    def test_an_owner_is_told_of_what_a_rule_claims(self):
        receiver, owner, rows = self.receiver(), self.owner(), unclaimed(1)
        hook = self.hooked(owner, receiver, ["device.claimed"])
        _, headers, _ = self.send(csv_of(rows))
        batch = self.maker.call("get", headers["Location"])[2]["batch"]
        rule = self.maker.call("post", "/v1/claim-rules", {"batch": batch, "to": owner.organization, "max_devices": 1})[2]["id"]
        self.assertEqual(owner.call("post", f"/v1/claim-rules/{rule}/accept")[0], 200)
        told = verified(receiver.wait(1)[0], hook["secret"])
        self.assertEqual((told["type"], told["object"]), ("device.claimed", {"dev_eui": rows[0]["dev_eui"], "ownership_epoch": 1}))

    def test_an_owner_is_told_of_a_device_that_was_claimed_for_a_place(self):
        receiver, owner, (dead, spare) = self.receiver(), self.owner(), self.devices(2)
        self.claimed(owner, dead)
        hook = self.hooked(owner, receiver, ["device.claimed"])
        status, _, answer = owner.call("post", f"/v1/devices/{dead['dev_eui']}/replace", {"by": spare["dev_eui"], "code": spare["code"]})
        self.assertEqual(status, 200, answer)
        told = verified(receiver.wait(1)[0], hook["secret"])
        self.assertEqual((told["type"], told["object"]), ("device.claimed", {"dev_eui": spare["dev_eui"], "ownership_epoch": 1}))

    def test_an_import_that_ends_is_told(self):
        receiver = self.receiver()
        hook = self.hooked(self.maker, receiver, ["batch.done"])
        self.device()
        told = verified(receiver.wait(1)[0], hook["secret"])
        job = self.maker.call("get", f"/v1/jobs/{told['object']['job']}")[2]
        self.assertEqual((told["type"], told["object"]["batch"], told["object"]["state"], told["object"]["created"]),
                         ("batch.done", job["batch"], "done", 1))

    def test_wrong_codes_are_told_to_whose_device_it_is_and_first_joins_to_its_owner(self):
        receiver, of_owner, owner, thief = self.receiver(), self.receiver(), self.owner(), self.owner()
        hook = self.hooked(self.maker, receiver, ["claim.refused"])
        device = self.device()
        for _ in range(2):
            self.refused(self.claim(thief, device["dev_eui"], "0" * 20))
        told = verified(receiver.wait(1)[0], hook["secret"])
        self.assertEqual((told["type"], told["object"]["dev_eui"]), ("claim.refused", device["dev_eui"]))
        owners = self.hooked(owner, of_owner, ["claim.refused", "device.first_join"])
        self.claimed(owner, device)
        self.assertEqual(self.join(dict(device, nwk_key=None), 1)["Result"]["ResultCode"], "Success")
        told = verified(of_owner.wait(1)[0], owners["secret"])
        self.assertEqual((told["type"], told["object"]),
                         ("device.first_join", {"dev_eui": device["dev_eui"], "ownership_epoch": 1}))

    def test_who_may_accept_a_device_is_told_and_its_holder_of_a_quarantine(self):
        of_owner, of_other, owner, other, device = self.receiver(), self.receiver(), self.owner(), self.owner(), self.device()
        self.claimed(owner, device)
        hook = self.hooked(owner, of_owner, ["device.quarantined"])
        others = self.hooked(other, of_other, ["device.offered", "device.claimed", "device.quarantined"])
        path = f"/v1/devices/{device['dev_eui']}"
        offer = owner.call("post", f"{path}/offer", {"to": other.organization})[2]
        told = verified(of_other.wait(1)[0], others["secret"])
        self.assertEqual((told["type"], told["object"]), ("device.offered", {
            "dev_eui": device["dev_eui"], "offer": offer["id"], "expires_at": offer["expires_at"]}))
        operator = Rest(self.stack, self.stack.demo["clients"]["operator"])
        self.assertEqual(owner.call("post", f"/v1/offers/{offer['id']}/decline")[0], 200)
        self.assertEqual(operator.call("post", f"{path}/quarantine")[0], 204)
        told = verified(of_owner.wait(1)[0], hook["secret"])
        self.assertEqual((told["type"], told["object"]), ("device.quarantined", {"dev_eui": device["dev_eui"]}))
        self.assertEqual(operator.call("post", f"{path}/lift")[0], 204)
        offer = owner.call("post", f"{path}/offer", {"to": other.organization})[2]
        self.assertEqual(other.call("post", f"/v1/offers/{offer['id']}/accept")[0], 200)
        told = {t["type"]: t["object"] for t in (verified(post, others["secret"]) for post in of_other.wait(3))}
        self.assertEqual(told["device.claimed"], {"dev_eui": device["dev_eui"], "ownership_epoch": 2})

    def test_owner_and_maker_are_told_of_a_suspect_device(self):
        of_owner, of_maker, device, owner = self.receiver(), self.receiver(), self.device(), self.owner()
        self.claimed(owner, device)
        hook, makers = self.hooked(owner, of_owner, ["device.suspect"]), self.hooked(self.maker, of_maker, ["device.suspect"])
        self.stack.psql("INSERT INTO trust_signal (at, dev_eui, kind, from_value, to_value, ownership_epoch) SELECT now(), dev_eui, "
                        "'dev_nonce_series', 9, 5, ownership_epoch FROM device, generate_series(1, 3) "
                        f"WHERE dev_eui = '\\x{device['dev_eui']}'")
        for receiver, secret in ((of_owner, hook["secret"]), (of_maker, makers["secret"])):
            told = verified(receiver.wait(1)[0], secret)
            self.assertEqual((told["type"], told["object"]), ("device.suspect", {"dev_eui": device["dev_eui"]}))

    def test_one_that_fails_is_posted_again_with_the_same_ids(self):
        receiver, owner, device = self.receiver(), self.owner(), self.device()
        receiver.statuses = [500, 302]
        hook = self.hooked(owner, receiver)
        self.claimed(owner, device)
        failed = self.settled(owner, hook, "waiting")[0]
        self.assertEqual(failed["type"], "device.claimed")
        # What the pause before the third try is, and that it is not waited for here.
        receiver.wait(1)
        support.wait_until(lambda: self.deliveries(owner, hook)[0]["tries"] == 2, LATER_SECONDS, "it was tried twice")
        waiting = support.wait_until(
            lambda: [d for d in self.deliveries(owner, hook) if d["state"] == "waiting" and d["status"] == 302],
            LATER_SECONDS, "a redirect was heard")[0]
        self.assertIn("redirect", waiting["fault"])
        status, _, again = owner.call("post", f"/v1/webhooks/{hook['id']}/deliveries/{waiting['id']}/replay")
        self.assertEqual((status, again["tries"], again["state"]), (202, 0, "waiting"))
        posts = receiver.wait(3)
        self.assertEqual({p.headers["Cradle-Delivery"] for p in posts}, {waiting["id"]})
        self.assertEqual(len({verified(p, hook["secret"])["id"] for p in posts}), 1)
        [delivery] = self.settled(owner, hook, "delivered")
        self.assertEqual((delivery["tries"], delivery["status"]), (1, 200))

    def test_a_receiver_that_was_down_is_told_when_it_is_up(self):
        receiver, owner, device = self.receiver(), self.owner(), self.device()
        [port] = support.free_ports(1)
        hook = self.make(owner, f"https://127.0.0.1:{port}/down")
        self.claimed(owner, device)
        waiting = support.wait_until(lambda: [d for d in self.deliveries(owner, hook) if d["fault"]], LATER_SECONDS,
                                     "it was tried")[0]
        self.assertIn("no connection", waiting["fault"])
        self.assertEqual(waiting["status"], None)
        status, _, changed = owner.call("patch", f"/v1/webhooks/{hook['id']}", {"url": receiver.url})
        self.assertEqual((status, changed["url"]), (200, receiver.url))
        self.assertEqual(verified(receiver.wait(1)[0], hook["secret"])["type"], "device.claimed")

    def test_a_slow_receiver_does_not_hold_up_another(self):
        slow, good, owner, neighbour = self.receiver(), self.receiver(), self.owner(), self.owner()
        release = threading.Event()
        self.addCleanup(release.set)
        slow.statuses = [lambda: release.wait(LATER_SECONDS) and 200] * 8
        slow_hooks = [self.hooked(owner, slow) for _ in range(2)]
        hook, his = self.hooked(owner, good), self.hooked(neighbour, good)
        for device in self.devices(3):
            self.claimed(owner, device)
        self.claimed(neighbour, self.device())
        posts = good.wait(4)
        self.assertFalse(release.is_set())
        self.assertEqual(sum(p.headers["Cradle-Event"] in {d["event"] for d in self.deliveries(neighbour, his)} for p in posts), 1)
        held = [d for h in slow_hooks for d in self.deliveries(owner, h)]
        self.assertEqual({(d["state"], d["fault"]) for d in held if d["tries"]}, {("sending", None)})
        self.settled(owner, hook, "delivered", 3)

    def test_a_service_killed_before_it_has_noted_a_post_posts_it_again(self):
        receiver, owner, device = self.receiver(), self.owner(), self.device()
        killed = []

        def kill():
            killed.append(self.stack.kill("activation"))
            return 200

        receiver.statuses = [kill]
        hook = self.hooked(owner, receiver)
        self.claimed(owner, device)
        first = receiver.wait(1)[0]
        support.wait_until(lambda: killed, LATER_SECONDS, "the service is killed")
        self.stack.wait_restarted("activation", killed[0])
        self.stack.wait_ready()
        with receiver.changed:
            self.assertTrue(receiver.changed.wait_for(lambda: len(receiver.posts) > 1, AFTER_A_LEASE_SECONDS))
        second = receiver.posts[1]
        self.assertEqual(first.headers["Cradle-Delivery"], second.headers["Cradle-Delivery"])
        self.assertEqual((first.body, first.headers["Cradle-Event"]), (second.body, second.headers["Cradle-Event"]))
        verified(second, hook["secret"])
        self.settled(owner, hook, "delivered")

    def test_a_new_secret_signs_from_then_on(self):
        receiver, owner = self.receiver(), self.owner()
        hook = self.hooked(owner, receiver, ["device.claimed"])
        status, headers, changed = owner.call("patch", f"/v1/webhooks/{hook['id']}", {"new_secret": True})
        self.assertEqual((status, headers["Cache-Control"]), (200, "no-store"))
        self.assertNotEqual(changed["secret"], hook["secret"])
        self.claimed(owner, self.device())
        verified(receiver.wait(1)[0], changed["secret"])
        with self.assertRaisesRegex(AssertionError, "wrong signature"):
            verified(receiver.posts[0], hook["secret"])
        self.assertNotIn("secret", owner.call("get", f"/v1/webhooks/{hook['id']}")[2])
        dump = str(self.stack.psql("SELECT * FROM webhook")) + str(self.stack.psql("SELECT * FROM audit_event"))
        for secret in (hook["secret"], changed["secret"]):
            self.assertNotIn(secret.removeprefix("whsec_"), dump)

    def test_http_goes_to_loopback_alone(self):
        receiver, owner = Receiver(), self.owner()
        self.addCleanup(receiver.close)
        hook = self.hooked(owner, receiver)
        self.claimed(owner, self.device())
        verified(receiver.wait(1)[0], hook["secret"])
        for url in ("http://10.1.2.3/", "http://localhost/", "http://receiver.example/"):
            status, _, problem = owner.call("post", "/v1/webhooks", {"url": url, "events": ["batch.done"]})
            self.assertEqual((status, problem["field"]), (400, "url"), url)

    def test_a_receiver_with_another_certificate_is_not_told(self):
        receiver, owner = self.receiver(self.stack.new_ca("other")), self.owner()
        hook = self.hooked(owner, receiver)
        self.claimed(owner, self.device())
        waiting = support.wait_until(lambda: [d for d in self.deliveries(owner, hook) if d["fault"]], LATER_SECONDS,
                                     "it was tried")[0]
        self.assertEqual((waiting["fault"], waiting["status"]), ("the certificate of the receiver is not good", None))
        self.assertEqual(receiver.posts, [])


class Safety(HookTest):
    """With the settings that a service has by itself."""

    def test_addresses_that_are_not_public_are_refused_at_once(self):
        owner = self.owner()
        for url in ("https://127.0.0.1/", "https://10.1.2.3/", "https://169.254.169.254/latest", "https://[::1]/",
                    "https://[fd00::1]/", "https://[::ffff:192.168.0.1]/", "https://100.64.0.1/", "https://224.0.0.1/",
                    "https://0x7f.1/", "https://2130706433/", "http://127.0.0.1/", "http://receiver.example/",
                    "ftp://receiver.example/", "https://u:p@receiver.example/", "receiver.example", ""):
            status, _, problem = owner.call("post", "/v1/webhooks", {"url": url, "events": ["batch.done"]})
            self.assertEqual((status, problem["field"]), (400, "url"), url)
        hook = self.make(owner, "https://receiver.example/hook?key=1", ["batch.done"])
        status, _, problem = owner.call("patch", f"/v1/webhooks/{hook['id']}", {"url": "https://192.168.1.1/"})
        self.assertEqual((status, problem["field"]), (400, "url"))

    def test_a_name_of_this_machine_is_refused_when_it_is_connected_to(self):
        owner, receiver = self.owner(), Receiver()
        self.addCleanup(receiver.close)
        hook = self.make(owner, receiver.url.replace("http://127.0.0.1", "https://localhost"))
        self.claimed(owner, self.device())
        waiting = support.wait_until(lambda: [d for d in self.deliveries(owner, hook) if d["fault"]], LATER_SECONDS,
                                     "it was tried")[0]
        self.assertEqual((waiting["fault"], waiting["status"], waiting["state"]),
                         ("the host has no public address", None, "waiting"))
        self.assertEqual(receiver.n_connections, 0)

    def test_webhooks_are_an_organizations_own(self):
        owner, other = self.owner(), self.owner()
        hook = self.make(owner, "https://receiver.example/", ["device.claimed"])
        path = f"/v1/webhooks/{hook['id']}"
        for rest in (other, self.maker):
            for method, target, body in (("get", path, None), ("patch", path, {"active": False}), ("delete", path, None),
                                         ("get", f"{path}/deliveries", None),
                                         ("post", f"{path}/deliveries/{NOBODY}/replay", None)):
                self.assertEqual(rest.call(method, target, body)[0], 404, f"{method} {target}")
        self.assertEqual(other.call("get", "/v1/webhooks")[2]["items"], [])
        self.assertEqual([w["id"] for w in owner.call("get", "/v1/webhooks")[2]["items"]], [hook["id"]])
        self.assertEqual(owner.call("get", path)[2], {k: v for k, v in hook.items() if k != "secret"})
        self.assertEqual(owner.call("patch", path, {"active": False, "events": ["batch.done"]})[2]["events"], ["batch.done"])
        self.assertEqual(owner.call("post", f"{path}/deliveries/{NOBODY}/replay")[0], 404)
        self.assertEqual(owner.call("delete", path)[0], 204)
        self.assertEqual(owner.call("get", path)[0], 404)

    def test_what_a_body_may_not_say(self):
        owner = self.owner()
        good = {"url": "https://receiver.example/", "events": ["batch.done"]}
        for body, field in (({**good, "events": []}, "events"), ({**good, "events": ["device.sold"]}, "events"),
                            ({"events": ["batch.done"]}, "url"), ({"url": good["url"]}, "events"),
                            ({**good, "url": "https://r.example/" + "x" * 1000}, "url"), ({**good, "secret": "s"}, "secret")):
            status, _, problem = owner.call("post", "/v1/webhooks", body)
            self.assertEqual((status, problem["field"]), (400, field), body)
        hook = self.make(owner, **good)
        self.assertEqual(owner.call("patch", f"/v1/webhooks/{hook['id']}", {"events": []})[0], 400)
        self.assertEqual(owner.call("patch", f"/v1/webhooks/{hook['id']}", {})[0], 400)

    def test_a_repeated_call_makes_one_and_tells_its_secret_once(self):
        owner, key = self.owner(), secrets.token_hex(8)
        body = {"url": "https://receiver.example/", "events": ["batch.done"]}
        first = owner.call("post", "/v1/webhooks", body, Idempotency_Key=key)
        again = owner.call("post", "/v1/webhooks", body, Idempotency_Key=key)
        self.assertEqual((first[0], again[0], again[2], again[1]["Location"]), (201, 201, None, first[1]["Location"]))
        for _ in range(19):
            self.make(owner, **body)
        status, _, problem = owner.call("post", "/v1/webhooks", body)
        self.assertEqual((status, problem["type"]), (409, "urn:cradle:problem:conflict"))
        pages = [owner.call("get", "/v1/webhooks?limit=15")[2]]
        pages.append(owner.call("get", f"/v1/webhooks?limit=15&cursor={pages[0]['next']}")[2])
        self.assertEqual([len(page["items"]) for page in pages], [15, 5])
        self.assertIsNone(pages[1]["next"])
