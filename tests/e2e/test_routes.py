"""Where requests go by their JoinEUI: partners and routes of every kind, over the REST API and by the command, whose
JoinEUIs are, and devices that are found by their DevEUI alone."""
import json
import secrets

import lorawan
import support
from certificates import Ca
from test_accounts import Rest
from test_operator import OperatorTest
from test_orders import OrderTest
from test_peers import CHANGE_SECONDS

UNKNOWN = "UnkownReceiver"


class RoutesTest(OperatorTest):
    def prefix(self):
        """40 bits that no other test has."""
        return f"02cdce{secrets.token_hex(2)}000000"

    def route(self, prefix, bits=40, **members):
        location = self.made("/v1/join-routes", {"prefix": prefix, "bits": bits, **members})[0]
        self.addCleanup(self.operator.call, "delete", location)
        return location

    def partner(self, **members):
        return self.made("/v1/partners", {"name": f"p-{secrets.token_hex(4)}", "url": "https://js.example/a", **members})

    def change(self, location, status=200, **members):
        got, headers, answer = self.operator.call("patch", location, members)
        self.assertEqual(got, status, answer)
        return headers, answer

    def explain(self, join_eui, net_id=None):
        status, _, answer = self.operator.call(
            "get", f"/v1/join-routes/explain?join_eui={join_eui}" + (f"&net_id={net_id}" if net_id else ""))
        self.assertEqual(status, 200, answer)
        return answer

    def code(self, device, nonce=None, **changes):
        nonce = self.stack.next_nonce(device) if nonce is None else nonce
        return self.stack.post_join(lorawan.join_req(device, nonce, support.HOME, **changes))[1]["Result"]["ResultCode"]

    def soon(self, condition, what):
        support.wait_until(condition, CHANGE_SECONDS, what)


class Partners(RoutesTest):
    def test_one_is_made_seen_changed_listed_and_revoked(self):
        location, made, request = self.partner(net_ids=["00-00-24", "000013"], credential="js-a")
        self.assertEqual(location, f"/v1/partners/{made['name']}")
        self.assertEqual(made, {
            "name": made["name"], "url": "https://js.example/a", "protocol_version": "1.0", "credential": "js-a", "async": False,
            "timeout_ms": 2000, "max_in_flight": 64, "net_ids": ["000013", "000024"], "san": None,
            "created_at": made["created_at"], "revoked_at": None})
        self.assertEqual(self.operator.call("get", location)[2], {**made, "ca": None, "crl": None})
        self.assertEqual([e[:2] for e in self.events(request)], [["partner.create", made["name"]]])
        change = {"url": "https://js.example/b", "protocol_version": "1.1", "credential": None, "timeout_ms": 100,
                  "max_in_flight": 1024, "net_ids": []}
        headers, changed = self.change(location, **change)
        self.assertEqual(changed, {**made, **change})
        self.assertEqual(self.events(headers["X-Request-Id"])[0][0], "partner.change")
        self.assertIn(changed, self.pages("/v1/partners"))
        status, headers, _ = self.operator.call("delete", location)
        self.assertEqual((status, self.events(headers["X-Request-Id"])[0][0]), (204, "partner.revoke"))
        self.assertIsNotNone(self.operator.call("get", location)[2]["revoked_at"])
        for method, body in (("delete", None), ("patch", {"timeout_ms": 200})):
            self.refused(404, None, method, location, body)
        again = self.made("/v1/partners", {"name": made["name"], "url": "https://js.example/c"})[1]
        self.assertIsNone(again["revoked_at"])

    def test_one_that_posts_its_answers_has_a_token_that_is_shown_once(self):
        body, key = {"name": f"p-{secrets.token_hex(4)}", "url": "https://js.example/", "async": True}, secrets.token_hex(8)
        status, headers, made = self.operator.call("post", "/v1/partners", body, Idempotency_Key=key)
        self.assertEqual(status, 201, made)
        token, location = made["token"], headers["Location"]
        self.assertEqual(len(token), 64)
        again = self.operator.call("post", "/v1/partners", body, Idempotency_Key=key)
        self.assertNotIn(token, str(again[2]))
        self.assertNotIn("token", self.operator.call("get", location)[2])
        self.assertNotIn("token", self.change(location, timeout_ms=300)[1], "it keeps the one it has")
        self.assertNotIn("token", self.change(location, **{"async": False})[1])
        newer = self.change(location, **{"async": True})[1]["token"]
        self.assertNotEqual(newer, token)
        dump = self.stack.psql("SELECT to_jsonb(a)::text FROM audit_event a UNION ALL SELECT to_jsonb(i)::text"
                               " FROM idempotency i UNION ALL SELECT to_jsonb(p)::text FROM partner p")
        for secret in (token, newer):
            self.assertNotIn(secret, str(dump))

    def test_a_san_is_of_one_partner_or_peer(self):
        ca, san = self.read(Ca(self.folder, "ca").pem), f"urn:p:{secrets.token_hex(4)}"
        location, made, _ = self.partner(**{"async": True, "san": san, "ca": ca})
        self.assertEqual((made["san"], self.operator.call("get", location)[2]["ca"]), (san, ca))
        server = self.network_server("0000b1")[0]
        trust = {"san": san, "ca": ca}
        self.assertIn(san, self.refused(409, None, "post", "/v1/network-servers",
                                        {"name": f"n-{secrets.token_hex(4)}", "net_ids": ["0000b1"], **trust}))
        self.refused(409, None, "patch", server, trust)
        other = self.partner(**{"async": True})[0]
        self.assertIn(san, self.refused(409, None, "patch", other, trust))
        self.assertEqual(self.change(location, **{"async": False})[1]["san"], None, "nothing is posted by it")
        self.assertEqual(self.change(server, **trust)[1]["san"], san)
        self.assertIn(san, self.refused(409, None, "patch", other, trust))
        self.refused(409, None, "post", "/v1/partners",
                     {"name": f"p-{secrets.token_hex(4)}", "url": "https://x.example/", "async": True, **trust})

    def test_what_is_wrong_is_named(self):
        ca = self.read(Ca(self.folder, "ca").pem)
        name = f"p-{secrets.token_hex(4)}"
        good = {"name": name, "url": "https://js.example/"}
        for change, field in (({"name": None}, "name"), ({"name": "a/b"}, "name"), ({"name": ""}, "name"), ({"url": None}, "url"),
                              ({"url": "http://js.example/"}, "url"), ({"url": "https://u:p@js.example/"}, "url"),
                              ({"url": "https://js.example/#x"}, "url"), ({"protocol_version": "1.2"}, "protocol_version"),
                              ({"credential": "../x"}, "credential"), ({"credential": "x.key"}, "credential"),
                              ({"timeout_ms": 99}, "timeout_ms"), ({"timeout_ms": 4001}, "timeout_ms"),
                              ({"max_in_flight": 0}, "max_in_flight"), ({"max_in_flight": 1025}, "max_in_flight"),
                              ({"net_ids": ["000013", "000013"]}, "net_ids"), ({"net_ids": ["13"]}, "net_ids"),
                              ({"async": "yes"}, "async"), ({"san": "urn:x", "ca": ca}, "san"),
                              ({"async": True, "san": "urn:x"}, "ca"), ({"async": True, "ca": ca}, "san"),
                              ({"async": True, "san": "urn:x", "ca": "x"}, "ca"), ({"nmae": "x"}, "nmae")):
            body = {k: v for k, v in {**good, **change}.items() if v is not None}
            self.refused(400, field, "post", "/v1/partners", body)
        location = self.made("/v1/partners", good)[0]
        self.assertIn(name, self.refused(409, None, "post", "/v1/partners", good))
        self.refused(400, "name", "patch", location, {"name": "another"})
        for body in ({}, {"name": name}):
            self.assertIn("names nothing", self.refused(400, None, "patch", location, body))
        self.refused(404, None, "get", "/v1/partners/none-of-this-name")

    def test_one_that_a_route_goes_to_is_not_revoked(self):
        location, made, _ = self.partner()
        prefix = self.prefix()
        route = self.route(prefix, kind="partner", partner=made["name"])
        self.assertIn(f"{prefix}/40", self.refused(409, None, "delete", location))
        self.change(route, kind="refuse")
        self.assertEqual(self.operator.call("delete", location)[0], 204)
        self.refused(400, "partner", "patch", route, {"kind": "partner", "partner": made["name"]})


class Routes(RoutesTest):
    def test_each_kind_is_made_changed_and_listed(self):
        partner = self.partner()[1]["name"]
        organization = self.organization()["id"]
        for members in ({"kind": "local"}, {"kind": "local", "organization": organization}, {"kind": "local-any"},
                        {"kind": "partner", "partner": partner}, {"kind": "dns"}, {"kind": "refuse"}):
            prefix = self.prefix()
            location, made, request = self.made("/v1/join-routes", {"prefix": prefix, "bits": 40, **members})
            self.assertEqual(made, {"prefix": prefix, "bits": 40, "kind": "local", "partner": None, "organization": None,
                                    **members, "created_at": made["created_at"]})
            self.assertEqual(json.loads(self.events(request)[0][2]), made)
            self.assertIn(made, self.pages("/v1/join-routes"))
            headers, changed = self.change(location, kind="partner", partner=partner, organization=None)
            self.assertEqual((changed["kind"], changed["partner"]), ("partner", partner))
            self.assertEqual(self.events(headers["X-Request-Id"])[0][0], "join_route.change")
            changed = self.change(location, kind="local-any", organization=organization)[1]
            self.assertEqual(changed, {**made, "kind": "local-any", "partner": None, "organization": organization})
            changed = self.change(location, organization=None)[1]
            self.assertEqual(changed["organization"], None)
            status, headers, _ = self.operator.call("delete", location)
            event = self.events(headers["X-Request-Id"])[0]
            self.assertEqual((status, event[0], json.loads(event[2])), (204, "join_route.remove", changed), "what it was")
            self.refused(404, None, "patch", location, {"kind": "dns"})

    def test_what_is_wrong_is_named(self):
        partner, organization = self.partner()[1]["name"], self.organization()["id"]
        good = {"prefix": self.prefix(), "bits": 40}
        for change, field in (({"kind": "remote"}, "kind"), ({"kind": ""}, "kind"), ({"kind": "partner"}, "partner"),
                              ({"kind": "partner", "partner": "none of this name"}, "partner"), ({"partner": partner}, "partner"),
                              ({"kind": "dns", "partner": partner}, "partner"), ({"organization": "0" * 31 + "1"}, "organization"),
                              ({"kind": "dns", "organization": organization}, "organization"),
                              ({"kind": "partner", "partner": partner, "organization": organization}, "organization"),
                              ({"organization": "me"}, "organization"), ({"knid": "dns"}, "knid")):
            self.refused(400, field, "post", "/v1/join-routes", {**good, **change})
        location = self.route(good["prefix"], organization=organization)
        self.refused(400, "organization", "patch", location, {"kind": "refuse"})
        self.refused(400, "prefix", "patch", location, {"prefix": "02"})
        self.refused(400, None, "patch", location, {})

    def test_nobody_else_sees_or_changes_them(self):
        maker = Rest(self.stack, self.client(self.organization(), "module_maker", "owner", "auditor"))
        for rest in (maker, self.admin):
            for method, path, body in (("get", "/v1/partners", None), ("post", "/v1/partners", {}), ("get", "/v1/partners/x", None),
                                       ("patch", "/v1/partners/x", {}), ("delete", "/v1/partners/x", None),
                                       ("get", "/v1/join-routes/explain?join_eui=" + support.DEMO_JOIN_EUI, None),
                                       ("patch", "/v1/join-routes/02-8", {})):
                self.refused(403, None, method, path, body, rest)

    def test_the_longest_decides_and_every_kind_is_explained(self):
        partner = self.partner(url="https://js.example:8443/way?x=1", net_ids=["000024"])[1]["name"]
        prefix, organization = self.prefix(), self.organization()["id"]
        owner = self.route(prefix, 40, organization=organization)
        inner = self.route(prefix, 48, kind="refuse")
        eui, outside = prefix[:12] + "0001", prefix[:10] + "ff0001"
        found = self.explain(eui)
        self.assertEqual((found["goes_to"], found["route"]["bits"], found["organization"], found["partner"], found["sender"]),
                         ("nowhere", 48, organization, None, None))
        self.assertIn(UNKNOWN, found["why"])
        found = self.explain("-".join(outside[i:i + 2] for i in range(0, 16, 2)), support.HOME)
        self.assertEqual((found["join_eui"], found["goes_to"], found["route"]["bits"]), (outside, "here", 40))
        self.assertEqual(found["sender"]["outcome"], "answered")
        self.assertIn("UnknownSender", self.explain(outside, "00ffff")["sender"]["why"])
        self.change(inner, kind="partner", partner=partner)
        found = self.explain(eui, support.HOME)
        self.assertEqual(found["partner"], {"name": partner, "host": "js.example:8443", "protocol_version": "1.0", "async": False})
        self.assertEqual((found["goes_to"], found["sender"]["outcome"]), ("partner", "refused"))
        self.assertIn(UNKNOWN, found["sender"]["why"])
        self.change(f"/v1/partners/{partner}", net_ids=[])
        self.assertEqual(self.explain(eui, support.HOME)["sender"]["outcome"], "carried")
        self.change(inner, kind="dns")
        found = self.explain(eui, support.HOME)
        self.assertEqual(found["goes_to"], "dns")
        self.assertIn("where dns.mode of the join servers is not off", found["why"])
        self.change(inner, kind="local-any")
        self.assertEqual((self.explain(eui)["goes_to"], self.explain(eui)["route"]["kind"]), ("here", "local-any"))
        self.operator.call("delete", inner)
        self.operator.call("delete", owner)
        found = self.explain(eui)
        self.assertEqual((found["goes_to"], found["route"], found["organization"]), ("nowhere", None, None))
        for query, field in (("", "join_eui"), ("?join_eui=1", "join_eui"), (f"?join_eui={eui}&net_id=1", "net_id"),
                             (f"?join_eui={eui}&x=1", None)):
            self.refused(400, field, "get", "/v1/join-routes/explain" + query)

    def test_a_running_join_server_follows_every_change(self):
        device = self.stack.device("1.0.3")
        device = {**device, "join_eui": self.prefix()[:10] + secrets.token_hex(3)}
        self.assertEqual(self.code(device), UNKNOWN)
        location = self.route(device["join_eui"][:10] + "000000", 40)
        self.soon(lambda: self.code(device) == "UnknownDevEUI", "it is answered here, where no device has it")
        self.change(location, kind="refuse")
        self.soon(lambda: self.code(device) == UNKNOWN, "it is refused")
        self.route(device["join_eui"], 64)
        self.soon(lambda: self.code(device) == "UnknownDevEUI", "the longer route decides")
        self.operator.call("delete", f"/v1/join-routes/{device['join_eui']}-64")
        self.soon(lambda: self.code(device) == UNKNOWN, "the shorter one decides again")
        self.change(location, kind="local-any")
        self.soon(lambda: self.code(device) == "Success", "the DevEUI is enough")

    def test_preflight_knows_the_routes(self):
        maker = Rest(self.stack, self.stack.demo["clients"]["maker"])
        prefix, dev_eui = self.prefix(), f"02cdcd05{secrets.token_hex(4)}"
        status, rows = self.stack.import_file(
            "dev_eui,join_eui,app_key,mac_version,home_net_id,as_id\n"
            f"{dev_eui},{prefix},{secrets.token_hex(16)},1.0.3,{support.HOME},demo-as\n")
        self.assertEqual((status, rows[0]["outcome"]), (200, "created"), rows)

        def routed():
            status, _, answer = maker.call("get", f"/v1/devices/{dev_eui}/preflight")
            self.assertEqual(status, 200, answer)
            return next(c["ok"] for c in answer["checks"] if c["check"] == "join_eui_routed")
        self.assertFalse(routed())
        location = self.route(prefix, 40)
        self.assertTrue(routed())
        self.route(prefix, 41, kind="refuse")
        self.assertFalse(routed(), "the longest decides")
        self.operator.call("delete", f"/v1/join-routes/{prefix}-41")
        self.change(location, kind="local-any")
        self.assertTrue(routed())


class LocalAny(RoutesTest):
    """A device may use any JoinEUI behind such a route; what it has used stays used."""

    def other(self, device):
        """The device with another JoinEUI, behind a route that takes any."""
        prefix = self.prefix()
        self.route(prefix, 40, kind="local-any")
        other = {**device, "join_eui": prefix[:10] + secrets.token_hex(3)}
        self.soon(lambda: self.explain(other["join_eui"])["goes_to"] == "here" and
                  self.code({**other, "dev_eui": "02cdcdfffffffffe"}) != UNKNOWN, "the join server knows the route")
        return other

    def test_devices_of_every_version_join_with_keys_that_agree(self):
        for version in ("1.0.2", "1.0.4", "1.1"):
            with self.subTest(version):
                device = self.stack.device(version)
                other = self.other(device)
                joined = self.stack.join(other)
                self.assertTrue(joined.get("agree"), joined)
                last = self.stack.psql(f"SELECT encode(join_eui, 'hex') FROM join_event WHERE outcome = 'success' AND dev_eui = '\\x{device['dev_eui']}'")
                self.assertEqual(last, [[other["join_eui"]]], "the one that was used is recorded")
                self.assertEqual(self.stack.psql(f"SELECT encode(join_eui, 'hex') FROM device WHERE dev_eui = '\\x{device['dev_eui']}'"),
                                 [[device["join_eui"]]])

    def test_a_device_rejoins_under_the_join_eui_that_it_uses(self):
        other = self.other(self.stack.device("1.1"))
        last = self.stack.join(other)
        self.assertTrue(last.get("agree"), last)
        for rejoin_type in (0, 2, 1):
            session = {} if rejoin_type == 1 else {"session": f"{last['join_nonce']},{last['dev_nonce']}"}
            last = self.stack.join(other, rejoin=rejoin_type, rj_count=5, **session)
            self.assertTrue(last.get("agree"), (rejoin_type, last))

    def test_a_dev_nonce_is_used_whatever_the_join_eui_was(self):
        for version in ("1.0.2", "1.0.4", "1.1"):
            with self.subTest(version):
                device = self.stack.device(version)
                other = self.other(device)
                third = {**other, "join_eui": other["join_eui"][:-1] + ("0" if other["join_eui"][-1] != "0" else "1")}
                self.assertEqual(self.code(device, 100), "Success")
                for one in (other, third, device):
                    self.assertEqual(self.code(one, 100, DevAddr="26000077"), "JoinReqFailed", one["join_eui"])
                self.assertEqual(self.code(other, 101), "Success")
                for one in (device, third, other):
                    self.assertEqual(self.code(one, 101, DevAddr="26000077"), "JoinReqFailed", one["join_eui"])

    def test_other_keys_and_other_networks_have_no_more_than_before(self):
        device = self.stack.device("1.0.3")
        other = self.other(device)
        self.assertEqual(self.code({**other, "app_key": secrets.token_hex(16)}), "MICFailed")
        away = self.stack.server(support.OTHER)
        message = lorawan.join_req(other, self.stack.next_nonce(other), support.OTHER)
        self.assertEqual(self.stack.post_join(message, away["token"])[1]["Result"]["ResultCode"], "UnknownDevEUI")

    def test_the_join_eui_of_the_frame_decides_and_not_the_one_of_who_asks(self):
        device = self.stack.device("1.0.3")
        any_eui = self.other(device)["join_eui"]
        refused, strict = ({**device, "join_eui": self.prefix()[:10] + secrets.token_hex(3)} for _ in range(2))
        self.route(refused["join_eui"], 64, kind="refuse")
        self.route(strict["join_eui"], 64)
        self.soon(lambda: self.code(strict) == "UnknownDevEUI", "the join server knows the routes")
        nowhere = {**device, "join_eui": self.prefix()[:10] + secrets.token_hex(3)}
        for one, wanted in ((refused, UNKNOWN), (nowhere, "UnknownDevEUI"), (strict, "UnknownDevEUI"), (device, "Success")):
            self.assertEqual(self.code(one, ReceiverID=any_eui), wanted, one["join_eui"])
        self.assertEqual(self.code({**device, "join_eui": any_eui}, ReceiverID=device["join_eui"]), "Success")

    def test_the_app_s_key_comes_again(self):
        server = self.stack.application_server()
        for version, dl_settings in (("1.0.3", "00"), ("1.1", "80")):
            with self.subTest(version):
                device = self.stack.device(version)
                other = self.other(device)
                answer = self.stack.post_join(lorawan.join_req(other, 50, support.HOME, DLSettings=dl_settings))[1]
                self.assertEqual(answer["Result"]["ResultCode"], "Success")
                question = {"ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": server["as_id"],
                            "ReceiverID": other["join_eui"], "TransactionID": 1, "DevEUI": other["dev_eui"],
                            "SessionKeyID": answer["SessionKeyID"]}
                # The application server may know it by the JoinEUI that it sends, or by that of its record.
                for join_eui in (other["join_eui"], device["join_eui"]):
                    told = self.stack.post_join({**question, "ReceiverID": join_eui}, server["token"])[1]
                    self.assertEqual(told["Result"]["ResultCode"], "Success")
                    self.assertEqual(told["AppSKey"], answer["AppSKey"])
        # A session under a JoinEUI that is compared again is none, whoever the request is sent to.
        self.change(f"/v1/join-routes/{other['join_eui'][:10]}000000-40", kind="local")
        elsewhere = self.other(device)["join_eui"]
        for join_eui in (other["join_eui"], elsewhere):
            self.soon(lambda: self.stack.post_join({**question, "ReceiverID": join_eui}, server["token"])[1]["Result"]["ResultCode"]
                      == "UnknownDevEUI", join_eui)


class Ownership(OrderTest):
    """JoinEUIs of an organization's range come in by that one alone."""

    def import_one(self, join_eui, rest=None, dry_run=False):
        row = {"dev_eui": f"02cdcd05{secrets.token_hex(4)}", "join_eui": join_eui, "app_key": secrets.token_hex(16),
               "mac_version": "1.0.3"}
        body = ",".join(row) + "\n" + ",".join(row.values()) + "\n"
        status, rows = self.stack.import_file(body, "format=csv" + ("&dry_run=true" if dry_run else ""),
                                              token=rest.token if rest else None)
        self.assertEqual(status, 200, rows)
        return rows[0]["outcome"], rows[0].get("reason")

    def test_an_import_of_another_is_refused_by_name(self):
        owner = self.maker(allow_clear_keys=True)
        prefix = f"02cdce{secrets.token_hex(2)}000000"
        location = self.made("/v1/join-routes", {"prefix": prefix, "bits": 40, "organization": owner.organization})[0]
        eui, inner = prefix[:10] + "000001", prefix[:10] + "800001"
        for dry_run in (True, False):
            self.assertEqual(self.import_one(eui, dry_run=dry_run), ("refused", "owned-join-eui"))
            self.assertEqual(self.import_one(eui, owner, dry_run)[0], "created")
        # A longer range of another in it; and one that is nobody's says nothing.
        other = self.maker(allow_clear_keys=True)
        longer = self.made("/v1/join-routes", {"prefix": prefix[:10] + "800000", "bits": 41, "organization": other.organization})[0]
        self.assertEqual(self.import_one(inner, owner), ("refused", "owned-join-eui"))
        self.assertEqual(self.import_one(inner, other)[0], "created")
        self.assertEqual(self.operator.call("patch", longer, {"organization": None})[0], 200)
        self.assertEqual(self.import_one(inner, other), ("refused", "owned-join-eui"))
        self.assertEqual(self.import_one(inner, owner)[0], "created")
        self.assertEqual(self.operator.call("patch", location, {"organization": None})[0], 200)
        self.assertEqual(self.import_one(eui)[0], "created")
        for path in (location, longer):
            self.assertEqual(self.operator.call("delete", path)[0], 204)

    def test_an_order_of_another_is_refused_by_name(self):
        owner, other = self.maker(), self.maker()
        join_eui = f"7ee{secrets.token_hex(7)[1:]}"
        location = self.made("/v1/join-routes", {"prefix": join_eui, "bits": 64, "organization": owner.organization})[0]
        self.block(owner.organization, 1 << 20)
        self.block(other.organization, 1 << 20)
        detail = self.refused(400, "join_eui", "post", "/v1/batches", self.wish(other, 1, join_eui=join_eui), other)
        self.assertIn("another organization", detail)
        self.order(owner, 1, join_eui=join_eui)
        self.assertEqual(self.operator.call("delete", location)[0], 204)


class Command(RoutesTest):
    def cradle(self, *args):
        run = self.stack.cradle(*args)
        self.assertEqual(run.returncode, 0, run.stderr)
        return [json.loads(line) for line in run.stdout.splitlines()]

    def fails(self, *args):
        run = self.stack.cradle(*args)
        self.assertNotEqual(run.returncode, 0, run.stdout)
        return run.stderr

    def test_partners(self):
        ca, san, name = Ca(self.folder, "ca"), f"urn:p:{secrets.token_hex(4)}", f"p {secrets.token_hex(4)}"
        made = self.cradle("partner", "add", "--name", name, "--url", "https://js.example/", "--async", "yes", "--protocol-version", "1.1",
                           "--net-ids", "000013", "--net-ids", "000024", "--san", san, "--ca", ca.pem, "--timeout-ms", "1500")[0]
        self.assertEqual(len(made.pop("token")), 64)
        self.assertEqual((made["net_ids"], made["san"], made["timeout_ms"]), (["000013", "000024"], san, 1500))
        self.assertIn(made, self.cradle("partner", "list"))
        self.assertEqual(self.cradle("partner", "show", name)[0]["ca"], self.read(ca.pem))
        changed = self.cradle("partner", "set", name, "--net-ids", "none", "--async", "no", "--max-in-flight", "7", "--credential", "js")[0]
        self.assertEqual((changed["net_ids"], changed["async"], changed["max_in_flight"], changed["san"], changed["credential"]),
                         ([], False, 7, None, "js"))
        self.assertIsNone(self.cradle("partner", "set", name, "--credential", "none")[0]["credential"])
        prefix = self.prefix()
        route = self.cradle("route", "add", f"{prefix}/40", "--kind", "partner", "--partner", name)[0]
        self.assertEqual((route["kind"], route["partner"]), ("partner", name))
        self.assertIn(f"{prefix}/40", self.fails("partner", "revoke", name))
        self.assertEqual(self.cradle("route", "set", f"{prefix}/40", "--kind", "dns")[0]["kind"], "dns")
        self.assertEqual(self.cradle("partner", "revoke", name), [{"name": name}])
        self.assertIn(f'there is no partner "{name}"', self.fails("partner", "revoke", name))
        self.assertIn("yes or no", self.fails("partner", "set", name, "--async", "maybe"))
        self.assertEqual(self.cradle("route", "remove", f"{prefix}/40"), [{"prefix": prefix, "bits": 40}])

    def test_routes(self):
        prefix, organization = self.prefix(), self.organization()["id"]
        made = self.cradle("route", "add", f"{prefix}/40", "--organization", organization)[0]
        self.assertEqual((made["prefix"], made["bits"], made["kind"], made["organization"]), (prefix, 40, "local", organization))
        self.assertIn(made, self.cradle("route", "list"))
        found = self.cradle("route", "explain", prefix, "--net-id", support.HOME)[0]
        self.assertEqual((found["goes_to"], found["organization"], found["sender"]["outcome"]), ("here", organization, "answered"))
        changed = self.cradle("route", "set", f"{prefix}/40", "--organization", "none", "--kind", "refuse")[0]
        self.assertEqual((changed["kind"], changed["organization"]), ("refuse", None))
        self.assertEqual(self.cradle("route", "explain", prefix)[0]["goes_to"], "nowhere")
        self.assertIn("kind is local", self.fails("route", "set", f"{prefix}/40", "--kind", "any"))
        self.assertIn("16 hexadecimal digits", self.fails("route", "explain", "02"))
        self.assertIn("6 hexadecimal digits", self.fails("route", "explain", prefix, "--net-id", "1"))
        self.cradle("route", "remove", f"{prefix}/40")
        self.assertIn(f"there is no route {prefix}/40", self.fails("route", "set", f"{prefix}/40", "--kind", "dns"))
        self.assertIn('there is no partner "nobody", or it is revoked', self.fails("route", "add", f"{prefix}/40", "--kind", "partner", "--partner", "nobody"))
        self.assertIn('there is no partner "nobody", or it is revoked already', self.fails("partner", "show", "nobody"))
