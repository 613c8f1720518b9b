"""Orders up to the job that makes them: certificates, blocks of identifiers, asking, and the word of another."""
import concurrent.futures
import hashlib
import json
import os
import secrets
import subprocess

import support
from test_accounts import NOBODY, Rest
from test_operator import OperatorTest

N_AT_ONCE = 8
COUNT_MAX = 1000000
SIGFOX = 0xa0000000  # no other test has ids there


def random_first():
    """Of a block that no other test meets: 44 bits of a range that is nobody's."""
    return 0x7ec << 52 | secrets.randbits(32) << 20


def number(identifier):
    return int(identifier.removeprefix("sigfox:"), 16)


class OrderTest(OperatorTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.stack.path("orders", cls.__name__)
        os.makedirs(folder)
        cls.private, cls.pem = os.path.join(folder, "maker.pem"), os.path.join(folder, "maker.pub")
        for words in (["genrsa", "-out", cls.private, "2048"], ["rsa", "-in", cls.private, "-pubout", "-out", cls.pem]):
            subprocess.run(["openssl", *words], check=True, capture_output=True)
        cls.public_key = cls.read(cls.pem)
        cls.join_eui = f"7ed{secrets.token_hex(7)[1:]}"
        status, _, route = cls.operator.call("post", "/v1/join-routes", {"prefix": cls.join_eui, "bits": 64})
        assert status == 201, route

    def maker(self, **settings):
        """An organization with the certificate of a module; two of its clients as .rest and .other."""
        organization = self.organization(**settings)
        rest = Rest(self.stack, self.client(organization, "module_maker"))
        rest.other = Rest(self.stack, self.client(organization, "module_maker"))
        rest.organization = organization["id"]
        rest.certificate = self.certificate(organization["id"])["number"]
        return rest

    def certificate(self, organization, kind="module", **members):
        return self.made("/v1/certificates", {"organization": organization, "kind": kind, "name": "Meter", **members},
                         self.admin)[1]

    def block(self, organization, size, first=None, kind="lorawan"):
        first = f"{random_first() if first is None else first:016x}"
        return self.made("/v1/eui-blocks", {"organization": organization, "kind": kind, "first": first, "size": size},
                         self.admin)[1]

    def wish(self, maker, count, **members):
        return {"count": count, "kind": "lorawan", "certificate": maker.certificate, "join_eui": self.join_eui,
                "mac_version": "1.0.3", "public_key": self.public_key, **members}

    def order(self, maker, count, **members):
        location, made, request = self.made("/v1/batches", self.wish(maker, count, **members), maker)
        self.assertEqual(location, f"/v1/batches/{made['id']}")
        return made, request


class EuiBlocks(OrderTest):
    def test_one_is_made_seen_listed_and_closed(self):
        maker, first = self.maker(), random_first()
        location, made, request = self.made(
            "/v1/eui-blocks", {"organization": maker.organization, "kind": "lorawan", "first": f"{first:016X}",
                               "last": f"{first + 0xfffff:016x}"}, self.admin)
        self.assertEqual(made, {"id": made["id"], "organization": maker.organization, "kind": "lorawan",
                                "first": f"{first:016x}", "last": f"{first + 0xfffff:016x}", "size": 1 << 20, "given": 0,
                                "created_at": made["created_at"], "closed_at": None})
        self.assertEqual(location, f"/v1/eui-blocks/{made['id']}")
        self.assertEqual(self.events(request)[0][:2], ["eui-block.create", made["id"]])
        for rest in (self.admin, maker):
            self.assertEqual(rest.call("get", location)[2], made)
        self.assertEqual(self.pages("/v1/eui-blocks", maker), [made])
        self.assertIn(made, self.pages("/v1/eui-blocks", self.admin))
        self.refused(403, None, "delete", location, rest=maker)
        status, headers, _ = self.admin.call("delete", location)
        self.assertEqual((status, self.events(headers["X-Request-Id"])[0][0]), (204, "eui-block.close"))
        self.assertIsNotNone(maker.call("get", location)[2]["closed_at"])
        self.refused(404, None, "delete", location, rest=self.admin)
        for name in (NOBODY, "x"):
            self.refused(404, None, "get", f"/v1/eui-blocks/{name}", rest=self.admin)

    def test_anothers_is_not_there(self):
        maker, stranger = self.maker(), self.maker()
        block = self.block(maker.organization, 5)
        there = self.refused(404, None, "get", f"/v1/eui-blocks/{block['id']}", rest=stranger)
        self.assertEqual(there, self.refused(404, None, "get", f"/v1/eui-blocks/{NOBODY}", rest=stranger))
        self.assertEqual(self.pages("/v1/eui-blocks", stranger), [])

    def test_a_sigfox_id_has_8_digits(self):
        organization, first = self.organization()["id"], SIGFOX + (secrets.randbits(20) << 4)
        made = []
        for i, text in enumerate((f"{first:08x}", f"sigfox:{first + 1:08X}", f"{first + 2:016x}")):
            made.append(self.made("/v1/eui-blocks", {"organization": organization, "kind": "sigfox", "first": text, "size": 1},
                                  self.admin)[1])
            self.assertEqual((made[i]["first"], made[i]["last"]), (f"sigfox:{first + i:08x}",) * 2)

    def test_no_two_overlap_whosever_they_are(self):
        block = self.block(self.organization()["id"], 100)
        body = {"organization": self.organization()["id"], "kind": "lorawan"}
        for first, size in ((number(block["first"]) + 99, 1), (number(block["first"]) - 5, 6), (number(block["first"]), 100)):
            detail = self.refused(409, "first", "post", "/v1/eui-blocks", {**body, "first": f"{first:016x}", "size": size},
                                  self.admin)
            self.assertIn(block["id"], detail)

    def test_what_is_wrong_is_named(self):
        good = {"organization": self.organization()["id"], "kind": "lorawan", "first": f"{random_first():016x}", "size": 5}
        sigfox = {**good, "kind": "sigfox", "first": "fffffffe"}
        for body, field in (({**good, "organization": NOBODY}, "organization"), ({**good, "kind": "both"}, "kind"),
                            ({**good, "first": "1"}, "first"), ({**good, "first": "00000000ffffffff"}, "first"),
                            ({**good, "first": "sigfox:00000001"}, "first"), ({**good, "size": 0}, "size"),
                            ({**good, "size": 1 << 32}, "size"), ({**good, "first": "f" * 16, "size": 2}, "size"),
                            ({**good, "last": good["first"]}, "size"), ({**sigfox, "size": 3}, "size"),
                            ({**sigfox, "first": "70b3d57ed0000001"}, "first"),
                            ({key: good[key] for key in ("organization", "kind", "first")}, "size")):
            self.refused(400, field, "post", "/v1/eui-blocks", body, self.admin)
        del good["size"]
        first = int(good["first"], 16)
        for last in (f"{first - 1:016x}", f"{first + (1 << 40):016x}", "x"):
            self.refused(400, "last", "post", "/v1/eui-blocks", {**good, "last": last}, self.admin)


class ImportsBesideBlocks(OrderTest):
    """What a block has is its organization's alone to bring, also where no device is there yet."""

    def lines_of(self, identifiers):
        columns = "dev_eui,join_eui,app_key,mac_version\n"
        return columns + "".join(f"{one:016x},{self.join_eui},{secrets.token_hex(16)},1.0.3\n" for one in identifiers)

    def outcomes(self, rest, body, query="format=csv"):
        status, rows = self.stack.import_file(body, query, rest.token)
        self.assertEqual(status, 200, rows)
        return [row.get("reason", row["outcome"]) for row in rows]

    def test_nobody_squats_on_the_identifiers_of_a_maker(self):
        maker, stranger = self.maker(allow_clear_keys=True), self.maker(allow_clear_keys=True)
        block, closed = self.block(maker.organization, 3), self.block(maker.organization, 3)
        self.assertEqual(self.admin.call("delete", f"/v1/eui-blocks/{closed['id']}")[0], 204)
        first, other = number(block["first"]), number(closed["first"])
        body = self.lines_of([first - 1, first, first + 1, first + 2, first + 3, other])
        foreseen = ["created", *["dev-eui-taken"] * 3, "created", "dev-eui-taken"]
        for query in ("format=csv&dry_run=true", "format=csv"):
            self.assertEqual(self.outcomes(stranger, body, query), foreseen)
        self.assertEqual(self.order(maker, 2)[0]["order"]["first"], block["first"])
        # Its maker may bring what no order has yet.
        self.assertEqual(self.outcomes(maker, self.lines_of([first + 2, other + 1])), ["created"] * 2)

    def test_nor_on_the_ids_of_sigfox_devices(self):
        maker, stranger = self.maker(allow_clear_keys=True), self.maker(allow_clear_keys=True)
        first = SIGFOX + (2 << 28) + (secrets.randbits(20) << 4)
        self.block(maker.organization, 2, first, "sigfox")
        body = "".join(f"{first + i:08x};{secrets.token_hex(8)};{secrets.token_hex(16)}\n" for i in range(3))
        self.assertEqual(self.outcomes(stranger, body, "format=sigfox-csv"), ["dev-eui-taken"] * 2 + ["created"])
        self.assertEqual(self.outcomes(maker, body, "format=sigfox-csv"), ["created"] * 2 + ["dev-eui-taken"])


class MakersCertificates(OrderTest):
    def test_a_product_names_its_module_which_may_be_anothers(self):
        maker, product_maker = self.maker(), self.organization()["id"]
        product = self.certificate(product_maker, "product", module=maker.certificate)
        self.assertEqual((product["module"], product["prototype_quota"], product["prototypes"]), (maker.certificate, None, None))
        self.assertEqual(self.admin.call("get", f"/v1/certificates/{product['number']}")[2], product)
        good = {"organization": product_maker, "kind": "product", "name": "Meter"}
        for module in (product["number"], "M_0000_0000_00", "x", ""):
            self.refused(400, "module", "post", "/v1/certificates", {**good, "module": module}, self.admin)
        self.refused(400, "module", "post", "/v1/certificates", {**good, "kind": "module", "module": maker.certificate}, self.admin)
        self.refused(400, "prototype_quota", "post", "/v1/certificates", {**good, "prototype_quota": 1}, self.admin)
        self.assertEqual(self.admin.call("delete", f"/v1/certificates/{maker.certificate}")[0], 204)
        self.refused(400, "module", "post", "/v1/certificates", {**good, "module": maker.certificate}, self.admin)

    def test_the_modules_organization_hears_of_products_of_others(self):
        maker, product_maker = self.maker(), self.organization()["id"]
        good = {"organization": product_maker, "kind": "product", "name": "Secret name", "module": maker.certificate}

        def told(request):
            """What each organization has of it, in the order of writing."""
            return [(whose, action, at, json.loads(detail)) for whose, action, at, detail in self.stack.psql(
                "SELECT encode(o.public_id, 'hex'), action, object, detail FROM audit_event e"
                f" JOIN organization o ON o.id = e.organization_id WHERE request_id = '{request}' ORDER BY e.id")]

        _, product, request = self.made("/v1/certificates", good, self.admin)
        _, headers, _ = self.admin.call("delete", f"/v1/certificates/{product['number']}")
        for action, request in (("certificate.create", request), ("certificate.revoke", headers["X-Request-Id"])):
            events = told(request)
            self.assertEqual([event[:3] for event in events],
                             [(whose, action, product["number"]) for whose in (product_maker, maker.organization)])
            self.assertEqual(events[1][3], {"product": product["number"], "module": maker.certificate})
        # Its own products are told once, and one without a module nobody else.
        for body in ({**good, "organization": maker.organization}, {key: good[key] for key in ("organization", "kind", "name")}):
            _, product, request = self.made("/v1/certificates", body, self.admin)
            self.assertEqual([event[0] for event in told(request)], [body["organization"]])

    def test_an_administrator_says_how_many_prototypes_there_may_be(self):
        organization = self.organization()["id"]
        module = self.certificate(organization, prototype_quota=7)
        self.assertEqual((module["module"], module["prototype_quota"], module["prototypes"]), (None, 7, 0))
        path = f"/v1/certificates/{module['number']}"
        status, headers, changed = self.admin.call("patch", path, {"prototype_quota": 9})
        self.assertEqual((status, changed), (200, {**module, "prototype_quota": 9}))
        self.assertEqual(self.events(headers["X-Request-Id"])[0][0], "certificate.change")
        self.refused(400, "prototype_quota", "patch", path, {"prototype_quota": 100001}, self.admin)
        self.assertEqual(self.admin.call("patch", path, {})[0], 400)
        product = self.certificate(organization, "product")
        self.refused(400, "prototype_quota", "patch", f"/v1/certificates/{product['number']}", {"prototype_quota": 1}, self.admin)
        self.assertEqual(self.admin.call("delete", path)[0], 204)
        self.refused(404, None, "patch", path, {"prototype_quota": 1}, self.admin)

    def test_a_maker_sees_its_own_and_no_other(self):
        maker, stranger = self.maker(), self.maker()
        path = f"/v1/certificates/{maker.certificate}"
        mine = maker.call("get", path)[2]
        self.assertEqual(self.pages("/v1/certificates", maker), [mine])
        self.assertEqual(mine, self.admin.call("get", path)[2])
        self.assertEqual(self.refused(404, None, "get", path, rest=stranger),
                         self.refused(404, None, "get", "/v1/certificates/M_0000_0000_00", rest=stranger))
        for method, body in (("patch", {"prototype_quota": 1}), ("delete", None)):
            self.refused(403, None, method, path, body, maker)


class Asking(OrderTest):
    def test_an_order_gets_a_run_of_its_makers_block_and_a_job(self):
        maker = self.maker(claim_code_length=26)
        block = self.block(maker.organization, 100)
        made, request = self.order(maker, 10, mac_version="1.1", profile_id="00AB0001", join_eui=self.join_eui.upper())
        order, first = made["order"], number(block["first"])
        self.assertEqual(
            {name: order[name] for name in (
                "kind", "count", "certificate", "join_eui", "mac_version", "profile_id", "block", "first", "last", "delivery",
                "warning", "claim_code_length", "asked_by", "decided_by", "decided_at", "reason")},
            {"kind": "lorawan", "count": 10, "certificate": maker.certificate, "join_eui": self.join_eui, "mac_version": "1.1",
             "profile_id": "00ab0001", "block": block["id"], "first": block["first"], "last": f"{first + 9:016x}",
             "delivery": "jwe", "warning": None, "claim_code_length": 26, "asked_by": maker.client["client_id"],
             "decided_by": None, "decided_at": None, "reason": None})
        self.assertEqual((order["state"], made["format"]), ("approved", "order"))
        # Its job may have begun by now, and tells of the same request.
        action, at, detail = next(event for event in self.events(request) if event[0] == "order.ask")
        detail = json.loads(detail) if isinstance(detail, str) else detail
        self.assertEqual((action, at, detail["count"], detail["first"]), ("order.ask", made["id"], 10, block["first"]))
        job = maker.call("get", f"/v1/jobs/{made['job']}")[2]
        self.assertEqual((job["kind"], job["rows"], job["batch"]), ("order", 10, made["id"]))
        again = self.order(maker, 5)[0]["order"]
        self.assertEqual((number(again["first"]), number(again["last"])), (first + 10, first + 14))
        self.assertEqual(maker.call("get", f"/v1/eui-blocks/{block['id']}")[2]["given"], 15)
        listed = {batch["id"]: batch["order"] for batch in self.pages("/v1/batches", maker)}
        self.assertEqual(listed[made["id"]]["first"], block["first"])
        stranger = self.maker()
        self.refused(404, None, "get", f"/v1/batches/{made['id']}", rest=stranger)

    def test_a_sigfox_order_has_ids_and_no_join_eui(self):
        maker = self.maker(allow_legacy_delivery=True)
        first = SIGFOX + (1 << 28) + (secrets.randbits(20) << 4)
        self.block(maker.organization, 4, first, "sigfox")
        body = {"count": 4, "kind": "sigfox", "certificate": maker.certificate, "public_key": self.public_key}
        for field, value in (("join_eui", self.join_eui), ("mac_version", "1.0.3"), ("profile_id", "00ab0001")):
            self.refused(400, field, "post", "/v1/batches", {**body, field: value}, maker)
        order = self.made("/v1/batches", {**body, "delivery": "legacy"}, maker)[1]["order"]
        self.assertEqual((order["first"], order["last"], order["join_eui"], order["mac_version"]),
                         (f"sigfox:{first:08x}", f"sigfox:{first + 3:08x}", None, None))
        self.assertIn("nothing protects", order["warning"])

    def test_the_same_call_with_the_same_key_orders_once(self):
        maker = self.maker()
        block, key = self.block(maker.organization, 100), secrets.token_hex(8)
        answers = [maker.call("post", "/v1/batches", self.wish(maker, 7), Idempotency_Key=key) for _ in range(2)]
        self.assertEqual([status for status, _, _ in answers], [201, 201])
        self.assertEqual(answers[0][2], answers[1][2])
        self.assertEqual(maker.call("get", f"/v1/eui-blocks/{block['id']}")[2]["given"], 7)

    def test_an_order_bigger_than_what_is_left_takes_nothing(self):
        maker = self.maker()
        self.assertIn("no open block", self.refused(409, None, "post", "/v1/batches", self.wish(maker, 1), maker))
        block = self.block(maker.organization, 10)
        self.order(maker, 4)
        self.assertIn("has 6 of the 7", self.refused(409, None, "post", "/v1/batches", self.wish(maker, 7), maker))
        self.assertEqual(maker.call("get", f"/v1/eui-blocks/{block['id']}")[2]["given"], 4)
        self.assertEqual(len(self.pages("/v1/batches", maker)), 1)
        self.order(maker, 6)
        self.assertIn("has 0 of", self.refused(409, None, "post", "/v1/batches", self.wish(maker, 1), maker))
        second = self.block(maker.organization, 3)
        self.assertEqual(self.order(maker, 1)[0]["order"]["block"], second["id"])

    def test_many_clients_at_once_get_runs_that_do_not_overlap(self):
        maker = self.maker()
        block = self.block(maker.organization, N_AT_ONCE * 5 - 3)  # the last one finds too few
        clients = [maker, maker.other]
        with concurrent.futures.ThreadPoolExecutor(N_AT_ONCE) as pool:
            answers = list(pool.map(lambda i: clients[i % 2].call("post", "/v1/batches", self.wish(maker, 5)), range(N_AT_ONCE)))
        self.assertEqual(sorted(status for status, _, _ in answers), [201] * (N_AT_ONCE - 1) + [409])
        firsts = sorted(number(made["order"]["first"]) for status, _, made in answers if status == 201)
        self.assertEqual(firsts, [number(block["first"]) + 5 * i for i in range(N_AT_ONCE - 1)])

    def test_a_block_that_is_named_is_the_one(self):
        maker, stranger = self.maker(), self.maker()
        self.block(maker.organization, 10)
        named, closed, foreign = (self.block(owner.organization, 10) for owner in (maker, maker, stranger))
        self.assertEqual(self.order(maker, 1, block=named["id"])[0]["order"]["block"], named["id"])
        self.assertEqual(self.admin.call("delete", f"/v1/eui-blocks/{closed['id']}")[0], 204)
        for block in (closed["id"], foreign["id"], NOBODY):
            self.refused(400, "block", "post", "/v1/batches", self.wish(maker, 1, block=block), maker)

    def test_what_is_wrong_is_named(self):
        maker, stranger = self.maker(), self.maker()
        block = self.block(maker.organization, 10)
        product = self.certificate(maker.organization, "product")["number"]
        revoked = self.certificate(maker.organization)["number"]
        self.assertEqual(self.admin.call("delete", f"/v1/certificates/{revoked}")[0], 204)
        for change, field in (({"count": 0}, "count"), ({"count": COUNT_MAX + 1}, "count"), ({"kind": "zigbee"}, "kind"),
                              ({"certificate": product}, "certificate"), ({"certificate": revoked}, "certificate"),
                              ({"certificate": stranger.certificate}, "certificate"), ({"certificate": "M_%00"}, "certificate"),
                              ({"join_eui": "7ec0000000000000"}, "join_eui"), ({"join_eui": "x"}, "join_eui"),
                              ({"mac_version": "2.0"}, "mac_version"), ({"profile_id": "01"}, "profile_id"),
                              ({"delivery": "paper"}, "delivery"), ({"public_key": "x"}, "public_key"),
                              ({"public_key": self.read(self.private)}, "public_key"), ({"block": "x"}, "block")):
            self.refused(400, field, "post", "/v1/batches", {**self.wish(maker, 1), **change}, maker)
        for missing in ("count", "kind", "certificate", "join_eui", "mac_version", "public_key"):
            body = self.wish(maker, 1)
            del body[missing]
            self.refused(400, missing, "post", "/v1/batches", body, maker)
        self.assertEqual(maker.call("get", f"/v1/eui-blocks/{block['id']}")[2]["given"], 0)

    def test_a_weak_delivery_is_for_those_who_are_allowed_it_and_comes_with_the_reason(self):
        maker = self.maker()
        self.block(maker.organization, 10)
        legacy = self.wish(maker, 1, delivery="legacy")
        self.assertIn("allow_legacy_delivery", self.refused(403, "delivery", "post", "/v1/batches", legacy, maker))
        changed = self.admin.call("patch", f"/v1/organizations/{maker.organization}", {"allow_legacy_delivery": True})[2]
        self.assertTrue(changed["allow_legacy_delivery"])
        self.refused(400, "delivery", "post", "/v1/batches", {**legacy, "mac_version": "1.1"}, maker)
        made = self.made("/v1/batches", legacy, maker)[1]
        self.assertIn("nothing protects", made["order"]["warning"])


    def test_cancelling_its_job_cancels_an_order_and_is_for_those_who_may_order(self):
        maker = self.maker()
        block = self.block(maker.organization, COUNT_MAX)
        made = self.order(maker, COUNT_MAX)[0]
        product_maker = Rest(self.stack, self.client({"id": maker.organization}, "product_maker"))
        self.refused(403, None, "delete", f"/v1/jobs/{made['job']}", rest=product_maker)
        status, headers, _ = maker.call("delete", f"/v1/jobs/{made['job']}")
        self.assertEqual((status, self.events(headers["X-Request-Id"])[0][:2]), (204, ["job.cancel", made["job"]]))
        support.wait_until(lambda: maker.call("get", f"/v1/batches/{made['id']}")[2]["order"]["state"] == "cancelled", 60,
                           "the order to be cancelled")
        # What was given is never given again.
        self.assertEqual(maker.call("get", f"/v1/eui-blocks/{block['id']}")[2]["given"], COUNT_MAX)


class TheWordOfAnother(OrderTest):
    def waiting(self, maker, count=3):
        made = self.order(maker, count)[0]
        self.assertEqual((made["order"]["state"], made["job"], made["order"]["first"]), ("requested", None, None))
        return f"/v1/batches/{made['id']}", made

    def test_another_client_approves_and_who_asked_cannot(self):
        maker = self.maker(orders_need_approval=True)
        path, made = self.waiting(maker)
        block = self.block(maker.organization, 10)
        self.assertIn("another", self.refused(403, None, "post", path + "/approve", rest=maker))
        status, headers, approved = maker.other.call("post", path + "/approve")
        self.assertEqual((status, approved["order"]["decided_by"], approved["order"]["first"]),
                         (200, maker.other.client["client_id"], block["first"]))
        self.assertIn(["order.approve", made["id"]], [event[:2] for event in self.events(headers["X-Request-Id"])])
        self.assertEqual(maker.call("get", f"/v1/jobs/{approved['job']}")[2]["kind"], "order")
        for word in ("approve", "reject"):
            self.refused(409, None, "post", f"{path}/{word}", {} if word == "reject" else None, maker.other)
        self.refused(409, None, "post", path + "/withdraw", rest=maker)

    def test_who_approves_sees_whose_key_it_is_sealed_to_and_which_block_is_wanted(self):
        maker = self.maker(orders_need_approval=True)
        block = self.block(maker.organization, 10)
        made, request = self.order(maker, 2, block=block["id"])
        der = subprocess.run(["openssl", "pkey", "-pubin", "-in", self.pem, "-outform", "DER"], capture_output=True, check=True)
        digest = hashlib.sha256(der.stdout).hexdigest()
        seen = maker.other.call("get", f"/v1/batches/{made['id']}")[2]["order"]
        self.assertEqual((seen["public_key_sha256"], seen["block"], seen["first"]), (digest, block["id"], None))
        self.assertIn(digest, str(self.events(request)))

    def test_what_was_taken_away_since_is_not_approved(self):
        maker = self.maker(orders_need_approval=True, allow_legacy_delivery=True)
        self.block(maker.organization, 10)
        legacy = self.order(maker, 2, delivery="legacy")[0]
        self.assertEqual(self.admin.call("patch", f"/v1/organizations/{maker.organization}", {"allow_legacy_delivery": False})[0], 200)
        self.assertIn("legacy", self.refused(409, None, "post", f"/v1/batches/{legacy['id']}/approve", rest=maker.other))
        path, _ = self.waiting(maker)
        self.assertEqual(self.admin.call(
            "delete", f"/v1/organizations/{maker.organization}/clients/{maker.client['client_id']}")[0], 204)
        self.assertIn("revoked", self.refused(409, None, "post", path + "/approve", rest=maker.other))
        self.assertEqual(maker.other.call("post", path + "/reject", {})[0], 200)

    def test_an_order_for_which_there_is_no_room_goes_on_waiting(self):
        maker = self.maker(orders_need_approval=True)
        path, _ = self.waiting(maker)
        self.refused(409, None, "post", path + "/approve", rest=maker.other)
        self.assertEqual(maker.call("get", path)[2]["order"]["state"], "requested")
        self.block(maker.organization, 3)
        self.assertEqual(maker.other.call("post", path + "/approve")[0], 200)

    def test_another_client_rejects_and_says_why(self):
        maker = self.maker(orders_need_approval=True)
        path, made = self.waiting(maker)
        self.assertIn("withdraws", self.refused(403, None, "post", path + "/reject", {"reason": "mine"}, maker))
        self.refused(400, "reason", "post", path + "/reject", {"reason": "a\nb"}, maker.other)
        status, headers, rejected = maker.other.call("post", path + "/reject", {"reason": "Not this year"})
        self.assertEqual((status, rejected["order"]["state"], rejected["order"]["reason"], rejected["order"]["decided_by"]),
                         (200, "rejected", "Not this year", maker.other.client["client_id"]))
        self.assertEqual(self.events(headers["X-Request-Id"])[0][:2], ["order.reject", made["id"]])
        self.refused(409, None, "post", path + "/approve", rest=maker.other)

    def test_who_asked_withdraws_and_no_other(self):
        maker = self.maker(orders_need_approval=True)
        path, made = self.waiting(maker)
        self.refused(403, None, "post", path + "/withdraw", rest=maker.other)
        status, headers, withdrawn = maker.call("post", path + "/withdraw")
        self.assertEqual((status, withdrawn["order"]["state"], withdrawn["order"]["decided_by"]), (200, "cancelled", None))
        self.assertEqual(self.events(headers["X-Request-Id"])[0][:2], ["order.withdraw", made["id"]])
        self.refused(409, None, "post", path + "/approve", rest=maker.other)

    def test_nothing_is_approved_on_a_certificate_that_is_revoked(self):
        maker = self.maker(orders_need_approval=True)
        path, _ = self.waiting(maker)
        self.block(maker.organization, 3)
        self.assertEqual(self.admin.call("delete", f"/v1/certificates/{maker.certificate}")[0], 204)
        self.refused(400, "certificate", "post", path + "/approve", rest=maker.other)

    def test_another_organizations_order_is_not_there(self):
        maker, stranger = self.maker(orders_need_approval=True), self.maker()
        path, _ = self.waiting(maker)
        for word, body in (("approve", None), ("reject", {}), ("withdraw", None)):
            self.assertEqual(self.refused(404, None, "post", f"{path}/{word}", body, stranger),
                             self.refused(404, None, "post", f"/v1/batches/{NOBODY}/{word}", body, stranger))

    def test_of_many_who_decide_at_once_one_does(self):
        maker = self.maker(orders_need_approval=True)
        path, _ = self.waiting(maker)
        block = self.block(maker.organization, 100)
        words = [("approve", None, maker.other), ("reject", {}, maker.other), ("withdraw", None, maker)] * 2
        with concurrent.futures.ThreadPoolExecutor(len(words)) as pool:
            answers = list(pool.map(lambda at: at[2].call("post", f"{path}/{at[0]}", at[1])[0], words))
        self.assertEqual(sorted(answers), [200] + [409] * (len(words) - 1))
        state = maker.call("get", path)[2]["order"]["state"]
        given = maker.call("get", f"/v1/eui-blocks/{block['id']}")[2]["given"]
        self.assertEqual(given, 0 if state in ("rejected", "cancelled") else 3)


class Command(OrderTest):
    """cradle certificate, block and order."""

    def cradle(self, *args, client=None):
        run = self.stack.cradle(*args) if client is None else self.as_client(client, *args)
        self.assertEqual(run.returncode, 0, run.stderr)
        return [json.loads(line) for line in run.stdout.splitlines()]

    def as_client(self, client, *args):
        secret, config = (os.path.join(self.folder, f"{client['client_id']}.{end}") for end in ("secret", "ini"))
        with open(secret, "w", encoding="ascii") as file:
            file.write(client["client_secret"])
        os.chmod(secret, 0o600)
        with open(config, "w", encoding="ascii") as file:
            file.write(f"[activation]\nurl = {self.stack.demo['activation']['url']}\nclient_id = {client['client_id']}\n"
                       f"client_secret_file = {secret}\n")
        return subprocess.run([self.stack.program("cli/cradle"), "--config", config, *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, env=self.stack.environment())

    def test_from_certificate_to_approval(self):
        organization = self.cradle("organization", "add", "--name", f"Command {secrets.token_hex(4)}",
                                   "--orders-need-approval", "yes")[0]
        self.assertEqual((organization["orders_need_approval"], organization["allow_legacy_delivery"]), ("yes", "no"))
        changed = self.cradle("organization", "set", "--name", organization["name"], "--allow-legacy-delivery", "yes")[0]
        self.assertEqual(changed, {**organization, "allow_legacy_delivery": "yes"})
        asks, decides = (self.client(organization, "module_maker") for _ in range(2))
        module = self.cradle("certificate", "add", "--organization", organization["id"], "--kind", "module", "--name", "Meter",
                             "--prototype-quota", "3")[0]
        product = self.cradle("certificate", "add", "--organization", organization["id"], "--kind", "product", "--name", "Meter",
                              "--module", module["number"])[0]
        self.assertEqual(product["module"], module["number"])
        self.assertEqual(self.cradle("certificate", "list", client=asks), [module, product])
        block = self.cradle("block", "add", "--organization", organization["id"], "--kind", "lorawan", "--first",
                            f"{random_first():016x}", "--size", "50")[0]
        self.assertEqual(self.cradle("block", "list", client=asks), [block])
        wish = ("order", "add", "--count", "5", "--kind", "lorawan", "--certificate", module["number"], "--join-eui",
                self.join_eui, "--mac-version", "1.0.4", "--public-key")
        orders = [self.cradle(*wish, self.pem, client=asks)[0] for _ in range(3)]
        self.assertEqual([batch["id"] for batch in self.cradle("order", "list", client=asks)], [o["id"] for o in orders])
        approved = self.cradle("order", "approve", orders[0]["id"], client=decides)[0]
        self.assertEqual(approved["order"]["first"], block["first"])
        rejected = self.cradle("order", "reject", orders[1]["id"], "--reason", "too many", client=decides)[0]
        self.assertEqual((rejected["order"]["state"], rejected["order"]["reason"]), ("rejected", "too many"))
        self.assertEqual(self.cradle("order", "withdraw", orders[2]["id"], client=asks)[0]["order"]["state"], "cancelled")
        run = self.as_client(asks, *wish, self.private)
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertIn("private key", run.stderr)
        self.assertIn("certificate", self.as_client(asks, *wish[:6], product["number"], *wish[7:], self.pem).stderr)
