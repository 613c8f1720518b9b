"""The operator's REST API: network and application servers, KEKs, join routes, and the makers'
certificates. Every call right and wrong, what it leaves behind, and what the join server makes of it."""
import base64
import concurrent.futures
import http.server
import json
import os
import re
import secrets
import shutil
import subprocess
import threading
import urllib.parse

import lorawan
import openapi
import support
from certificates import Ca, Owner
from test_accounts import NOBODY, AccountsTest, Rest
from test_peers import CHANGE_SECONDS


class OperatorTest(AccountsTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.operator = Rest(cls.stack, cls.cradle_client("Operator", "operator"))

    def setUp(self):
        self.folder = self.stack.path("operator", self.id())
        os.makedirs(self.folder)

    def made(self, path, body, rest=None):
        status, headers, made = (rest or self.operator).call("post", path, body)
        self.assertEqual(status, 201, made)
        return headers["Location"], made, headers["X-Request-Id"]

    def refused(self, status, field, method, path, body=None, rest=None):
        got, _, problem = (rest or self.operator).call(method, path, body)
        self.assertEqual((got, problem.get("field")), (status, field), f"{method} {path} {body}: {problem}")
        return problem.get("detail")

    def pages(self, path, rest=None):
        """All items, two by two."""
        items, cursor = [], ""
        while cursor is not None:
            status, _, page = (rest or self.operator).call("get", f"{path}?limit=2{cursor and '&cursor=' + cursor}")
            self.assertEqual(status, 200, page)
            self.assertLessEqual(len(page["items"]), 2)
            items += page["items"]
            cursor = page["next"]
        return items

    def sealed(self, key):
        """A key as a peer hands it over."""
        run = subprocess.run(
            ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", self.stack.path("exchange.pem"),
             "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1"],
            input=key, capture_output=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        return base64.b64encode(run.stdout).decode()

    def network_server(self, net_id, **members):
        name = f"op-{net_id}-{secrets.token_hex(4)}"
        return self.made("/v1/network-servers", {"name": name, "net_ids": [net_id], **members})

    def kek(self, label, **whose):
        key = secrets.token_bytes(16)
        location, made, _ = self.made("/v1/keks", {**whose, "label": label, "sealed": self.sealed(key), "length": 16})
        return location, made, key.hex()

    @staticmethod
    def read(path):
        with open(path, encoding="ascii") as file:
            return file.read()


class NetworkServers(OperatorTest):
    def test_one_is_made_seen_changed_listed_and_revoked(self):
        ca = Ca(self.folder, "ca")
        location, made, request = self.network_server("0000A1", ns_ids=["0x70-B3-D5-7E-D0-00-00-01"], app_s_key="plain")
        token = made.pop("token")
        self.assertEqual(location, "/v1/network-servers/" + urllib.parse.quote(made["name"]))
        self.assertEqual(made, {
            "name": made["name"], "net_ids": ["0000a1"], "ns_ids": ["70b3d57ed0000001"], "allow_plain_keys": False,
            "session_key_id": "send", "app_s_key": "plain", "san": None, "answer_url": None, "answer_credential": None,
            "created_at": made["created_at"], "revoked_at": None})
        self.assertEqual(self.operator.call("get", location)[2], {**made, "current_keks": [], "ca": None, "crl": None})
        self.assertEqual([e[:2] for e in self.events(request)], [["network_server.create", made["name"]]])
        change = {"net_ids": ["00:00:A2", "0000a1"], "ns_ids": [], "allow_plain_keys": True, "session_key_id": "omit",
                  "app_s_key": "wrapped", "answer_url": "https://ns.example/a", "answer_credential": "ns-a1"}
        status, headers, changed = self.operator.call("patch", location, change)
        self.assertEqual((status, changed), (200, {**made, **change, "net_ids": ["0000a1", "0000a2"]}))
        self.assertEqual(self.events(headers["X-Request-Id"])[0][0], "network_server.change")
        san = f"urn:op:{secrets.token_hex(4)}"
        status, headers, changed = self.operator.call("patch", location, {"san": san, "ca": self.read(ca.pem)})
        self.assertEqual((status, changed["san"], changed["answer_url"]), (200, san, "https://ns.example/a"))
        self.assertNotIn("BEGIN", str(self.events(headers["X-Request-Id"])))
        self.assertEqual(self.operator.call("get", location)[2]["ca"], self.read(ca.pem))
        status, _, changed = self.operator.call(
            "patch", location, {"san": None, "ca": None, "answer_url": None, "name": made["name"]})
        self.assertEqual((status, changed["san"], changed["answer_url"], changed["answer_credential"]),
                         (200, None, None, None))
        self.assertIn(changed, self.pages("/v1/network-servers"))
        status, headers, _ = self.operator.call("delete", location)
        self.assertEqual(status, 204)
        self.assertEqual(self.events(headers["X-Request-Id"])[0][0], "network_server.revoke")
        self.assertIsNotNone(self.operator.call("get", location)[2]["revoked_at"])
        for method, body in (("delete", None), ("patch", {"app_s_key": "plain"})):
            self.refused(404, None, method, location, body)
        # A successor has the name, and a token of its own.
        _, again, _ = self.made("/v1/network-servers", {"name": made["name"], "net_ids": ["0000a1"]})
        self.assertNotEqual(again["token"], token)
        self.assertIsNone(self.operator.call("get", location)[2]["revoked_at"])
        dump = self.stack.psql("SELECT to_jsonb(a)::text FROM audit_event a UNION ALL SELECT to_jsonb(i)::text"
                               " FROM idempotency i UNION ALL SELECT to_jsonb(p)::text FROM peer p")
        self.assertNotIn(token, str(dump))

    def test_what_is_wrong_is_named(self):
        ca, other = Ca(self.folder, "ca"), Ca(self.folder, "other")
        leaf = ca.client("client", "DNS:a.b")
        good = {"name": f"wrong {secrets.token_hex(4)}", "net_ids": ["0000a3"]}
        trust = {"san": "a.b", "ca": self.read(ca.pem)}
        for change, field in (
                ({"name": None}, "name"), ({"name": ""}, "name"), ({"name": "a/b"}, "name"), ({"name": ".."}, "name"),
                ({"name": "a\u0007"}, "name"), ({"name": "x" * 65}, "name"), ({"net_ids": []}, "net_ids"),
                ({"net_ids": ["13"]}, "net_ids"), ({"net_ids": "000013"}, "net_ids"), ({"net_ids": [13]}, "net_ids"),
                ({"net_ids": ["0000a3", "0000A3"]}, "net_ids"), ({"net_ids": ["%06x" % i for i in range(65)]}, "net_ids"),
                ({"ns_ids": ["0000a3"]}, "ns_ids"), ({"ns_ids": ["70b3d57ed0000001"] * 2}, "ns_ids"),
                ({"app_s_key": "clear"}, "app_s_key"), ({"session_key_id": ""}, "session_key_id"),
                ({"session_key_id": None}, "session_key_id"), ({"allow_plain_keys": "yes"}, "allow_plain_keys"),
                ({"answer_url": "ftp://x/"}, "answer_url"), ({"answer_url": "http://host.example/"}, "answer_url"),
                ({"answer_url": "https://u:p@host.example/"}, "answer_url"), ({"answer_url": "none"}, "answer_url"),
                ({"answer_credential": "ns"}, "answer_credential"),
                ({"answer_url": "https://x/", "answer_credential": "../x"}, "answer_credential"),
                ({"san": "a.b"}, "ca"), ({"ca": self.read(ca.pem)}, "san"), ({"crl": "x"}, "san"),
                ({**trust, "san": "*.b"}, "san"), ({**trust, "ca": "x"}, "ca"),
                ({**trust, "ca": self.read(leaf["cert"])}, "ca"),
                ({**trust, "crl": "x"}, "crl")):
            self.refused(400, field, "post", "/v1/network-servers", {**good, **change})
        self.assertIn("no certificate", self.refused(400, "ca", "post", "/v1/network-servers",
                                                     {**good, **trust, "ca": self.read(leaf["key"])}))
        self.refused(400, None, "post", "/v1/network-servers", b"[]")
        location = self.made("/v1/network-servers", {**good, **trust, "san": f"urn:{good['name'][6:]}"})[0]
        self.assertIn(f"network server {good['name']} is there", self.refused(409, None, "post", "/v1/network-servers", good))
        taken = {"san": f"urn:{good['name'][6:]}", "ca": self.read(other.pem)}
        second = self.network_server("0000a3")[0]
        for method, path, body in (("post", "/v1/network-servers", {"name": "op another", "net_ids": ["0000a3"]}),
                                   ("post", "/v1/application-servers", {"as_id": "op-another"}), ("patch", second, {})):
            self.assertEqual(self.refused(409, None, method, path, {**body, **taken}),
                             f"the SAN {taken['san']} is that of the network server {good['name']}")
        self.refused(409, None, "patch", location, {"answer_credential": "ns"})
        self.refused(400, "name", "patch", location, {"name": "another"})
        for change, field in (({"net_ids": []}, "net_ids"), ({"san": None}, "san"), ({"app_s_key": "x"}, "app_s_key")):
            self.refused(400, field, "patch", location, change)
        for name in ("nobody", "a%2Fb", "%FF", "%C0%80", "x" * 100):
            for method in ("get", "patch", "delete"):
                self.assertEqual(self.operator.call(method, f"/v1/network-servers/{name}",
                                                    {} if method == "patch" else None)[0], 404, name)

    def test_a_revocation_list_goes_only_where_that_is_said(self):
        ca, san = Ca(self.folder, "ca"), f"urn:crl:{secrets.token_hex(4)}"
        trust = {"san": san, "ca": self.read(ca.pem)}
        location, made, request = self.network_server("0000a9", **trust, crl=self.read(ca.crl()))

        def has_crl(request):
            return json.loads(self.events(request)[0][2])["has_crl"]
        self.assertTrue(has_crl(request))
        self.assertIn("null takes it away", self.refused(400, "crl", "patch", location, trust))
        said = self.stack.cradle("ns", "trust", "--name", made["name"], "--san", san, "--ca", ca.pem)
        self.assertEqual((said.returncode, said.stdout), (1, ""))
        self.assertIn("--no-crl", said.stderr)
        self.assertIsNotNone(self.operator.call("get", location)[2]["crl"])
        said = self.stack.cradle("ns", "trust", "--name", made["name"], "--san", san, "--ca", ca.pem, "--no-crl")
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertIsNone(self.operator.call("get", location)[2]["crl"])
        for body, left in (({**trust, "crl": self.read(ca.path("crl"))}, True), ({**trust, "crl": None}, False), (trust, False),
                           ({**trust, "crl": self.read(ca.path("crl"))}, True), ({"app_s_key": "plain"}, True),
                           ({"san": None, "ca": None}, False)):
            status, headers, answer = self.operator.call("patch", location, body)
            self.assertEqual((status, has_crl(headers["X-Request-Id"])), (200, left), answer)
        run = self.stack.cradle("ns", "trust", "--name", "x", "--san", "y", "--ca", "z", "--crl", "z", "--no-crl")
        self.assertEqual((run.returncode, run.stdout), (2, ""))

    def test_a_token_is_not_told_again(self):
        body, key = {"name": f"once {secrets.token_hex(4)}", "net_ids": ["0000a4"]}, secrets.token_hex(8)
        first = self.operator.call("post", "/v1/network-servers", body, Idempotency_Key=key)
        again = self.operator.call("post", "/v1/network-servers", body, Idempotency_Key=key)
        self.assertEqual((first[0], again[0], again[2]), (201, 201, None))
        self.assertEqual(again[1]["Location"], first[1]["Location"])
        self.assertEqual(first[1]["Cache-Control"], "no-store")


class ApplicationServers(OperatorTest):
    def test_one_is_made_seen_changed_listed_and_revoked(self):
        as_id = f"as:{secrets.token_hex(4)}?#"
        location, made, request = self.made("/v1/application-servers", {"as_id": as_id})
        self.assertEqual(location, "/v1/application-servers/" + urllib.parse.quote(as_id))
        self.assertEqual(len(made.pop("token")), 64)
        self.assertEqual(made, {"as_id": as_id, "app_s_key": "wrapped", "san": None, "answer_url": None,
                                "answer_credential": None, "created_at": made["created_at"], "revoked_at": None})
        self.assertEqual(self.events(request)[0][:2], ["application_server.create", as_id])
        status, _, changed = self.operator.call("patch", location, {"app_s_key": "plain", "as_id": as_id})
        self.assertEqual((status, changed), (200, {**made, "app_s_key": "plain"}))
        self.assertIn(changed, self.pages("/v1/application-servers"))
        status, _, seen = self.operator.call("get", location)
        self.assertEqual((status, seen), (200, {**changed, "ca": None, "crl": None}))
        self.refused(409, None, "post", "/v1/application-servers", {"as_id": as_id})
        self.assertEqual(self.operator.call("delete", location)[0], 204)
        self.refused(404, None, "delete", location)

    def test_what_is_wrong_is_named(self):
        for body, field in (({}, "as_id"), ({"as_id": "a b"}, "as_id"), ({"as_id": 'a"b'}, "as_id"),
                            ({"as_id": "a/b"}, "as_id"), ({"as_id": "\u00e4"}, "as_id"),
                            ({"as_id": "x", "app_s_key": 1}, "app_s_key")):
            self.refused(400, field, "post", "/v1/application-servers", body)


class JoinRoutes(OperatorTest):
    def test_they_are_made_listed_and_removed(self):
        digits = "02cdce" + secrets.token_hex(2)
        location, made, request = self.made("/v1/join-routes", {"prefix": "0x" + "-".join(re.findall("..", digits.upper())), "bits": 40})
        self.assertEqual(made, {"prefix": digits + "000000", "bits": 40, "kind": "local", "partner": None, "organization": None,
                                "created_at": made["created_at"]})
        self.assertEqual(location, f"/v1/join-routes/{digits}000000-40")
        self.assertEqual(self.events(request)[0][:2], ["join_route.create", f"{digits}000000-40"])
        self.refused(409, None, "post", "/v1/join-routes", {"prefix": digits, "bits": 40})
        longer = self.made("/v1/join-routes", {"prefix": digits, "bits": 48})[0]
        self.assertIn(made, self.pages("/v1/join-routes"))
        self.assertEqual(self.operator.call("delete", location)[0], 204)
        self.assertEqual(self.operator.call("delete", longer)[0], 204)
        for path in (location, "/v1/join-routes/x", f"/v1/join-routes/{digits}000000-41", "/v1/join-routes/1-0"):
            self.refused(404, None, "delete", path)

    def test_what_is_wrong_is_named(self):
        for body, field in (({}, "prefix"), ({"prefix": "02"}, "bits"), ({"bits": 8}, "prefix"),
                            ({"prefix": "02", "bits": 65}, "bits"), ({"prefix": "02", "bits": -1}, "bits"),
                            ({"prefix": "02", "bits": 6}, "prefix"), ({"prefix": "", "bits": 8}, "prefix"),
                            ({"prefix": "0g", "bits": 8}, "prefix"), ({"prefix": "0" * 17, "bits": 8}, "prefix")):
            self.refused(400, field, "post", "/v1/join-routes", body)


class Certificates(OperatorTest):
    def test_they_are_made_seen_listed_and_revoked(self):
        organization = self.organization()
        for kind, letter in (("module", "M"), ("product", "P")):
            location, made, request = self.made(
                "/v1/certificates", {"organization": organization["id"], "kind": kind, "name": "Meter"}, self.admin)
            self.assertRegex(made["number"], f"^{letter}_[0-9A-HJKMNP-TV-Z]{{4}}_[0-9A-HJKMNP-TV-Z]{{4}}_[0-9A-HJKMNP-TV-Z]{{2}}$")
            self.assertEqual(made, {"number": made["number"], "kind": kind, "organization": organization["id"],
                                    "name": "Meter", "module": None, "prototype_quota": 0 if kind == "module" else None,
                                    "prototypes": 0 if kind == "module" else None, "created_at": made["created_at"],
                                    "revoked_at": None})
            self.assertEqual(location, f"/v1/certificates/{made['number']}")
            self.assertEqual(self.events(request)[0][:2], ["certificate.create", made["number"]])
            self.assertEqual(self.admin.call("get", location)[2], made)
            self.assertIn(made, self.pages("/v1/certificates", self.admin))
            self.assertEqual(self.admin.call("delete", location)[0], 204)
            self.assertIsNotNone(self.admin.call("get", location)[2]["revoked_at"])
            self.refused(404, None, "delete", location, rest=self.admin)
            self.refused(403, None, "get", location)
        for number in ("M_0000_0000_00", "x", "%FF", "m_0000_0000_00"):
            self.refused(404, None, "get", f"/v1/certificates/{number}", rest=self.admin)

    def test_what_is_wrong_is_named(self):
        good = {"organization": self.organization()["id"], "kind": "module", "name": "Meter"}
        for change, field in (({"organization": NOBODY}, "organization"), ({"organization": "x"}, "organization"),
                              ({"kind": "M"}, "kind"), ({"kind": "modules"}, "kind"), ({"name": ""}, "name"),
                              ({"name": "a\nb"}, "name"), ({"name": None}, "name")):
            self.refused(400, field, "post", "/v1/certificates", {**good, **change}, self.admin)


class Bodies(OperatorTest):
    def test_a_member_that_is_not_known_is_refused_by_its_name(self):
        organization = self.organization()
        owner = Rest(self.stack, self.client(organization, "owner"))
        server, kek = self.network_server("0000aa")[0], self.kek("op-aa", network_server="0000aa")[0]
        application = self.made("/v1/application-servers", {"as_id": f"as-{secrets.token_hex(4)}"})[0]
        path = f"/v1/organizations/{organization['id']}"
        for rest, method, at, good in (
                (self.operator, "post", "/v1/network-servers", {"name": "op strange", "net_ids": ["0000aa"]}),
                (self.operator, "patch", server, {"app_s_key": "plain"}),
                (self.operator, "post", "/v1/application-servers", {"as_id": "op-strange"}),
                (self.operator, "patch", application, {"app_s_key": "plain"}),
                (self.operator, "post", "/v1/keks", {}), (self.operator, "patch", kek, {"current": True}),
                (self.operator, "post", "/v1/join-routes", {"prefix": "02", "bits": 8}),
                (self.admin, "post", "/v1/certificates", {"organization": organization["id"], "kind": "module", "name": "M"}),
                (self.admin, "post", "/v1/organizations", {"name": "Op strange"}),
                (self.admin, "patch", path, {"allow_clear_keys": True}),
                (self.admin, "post", path + "/clients", {"roles": ["owner"]}),
                (owner, "post", "/v1/exports", {"format": "tts-csv"})):
            self.assertIn("is not known", self.refused(400, "nmae", method, at, {**good, "nmae": "x"}, rest))
            self.refused(400, "body", method, at, {**good, "a b": "x"}, rest)

    def test_a_body_or_query_too_much_is_refused_as_documented(self):
        """The description is held to each answer where it comes in."""
        described = openapi.description.paths
        sizes = {"NetworkServerBody": 1 << 20, "ApplicationServerBody": 1 << 20, "PartnerBody": 1 << 20}
        seen = 0
        for path, item in described.items():
            area = (path + "//").split("/")[2]
            if area not in ("network-servers", "application-servers", "keks", "join-routes", "partners", "certificates",
                            "organizations"):
                continue
            rest = self.admin if area in ("certificates", "organizations") else self.operator
            at = re.sub(r"\{[^}]*\}", NOBODY, path)
            for method in sorted({"post", "patch", "delete"} & set(item)):
                body = item[method].get("requestBody")
                if body is not None and "application/json" not in body["content"]:
                    continue  # a list of any length, whose lines are bounded
                most = 0
                if body is not None:
                    schema = body["content"]["application/json"]["schema"].get("$ref", "").split("/")[-1]
                    most = sizes.get(schema, 32768)
                    self.assertIn(f"At most {most} bytes", body["description"], path)
                self.assertEqual(rest.call(method, at + "?strange=1", None if body is None else {})[0], 400, (method, at))
                self.assertEqual(rest.call(method, at, b" " * (most + 1))[0], 413 if body else 400, (method, at))
                seen += 1
        self.assertGreaterEqual(seen, 15)

    def test_a_change_of_nothing_is_refused(self):
        location, made, _ = self.network_server("0000ab")
        path = f"/v1/organizations/{self.organization()['id']}"
        for rest, at, body in ((self.operator, location, {}), (self.operator, location, {"name": made["name"]}),
                               (self.admin, path, {})):
            self.assertIn("names nothing", self.refused(400, None, "patch", at, body, rest))


class Effect(OperatorTest):
    """A running join server acts on each change: it is told by the commit."""

    @staticmethod
    def soon(condition, what):
        support.wait_until(condition, CHANGE_SECONDS, what)

    def test_a_network_server_joins_devices_from_the_moment_it_is_made_until_it_is_revoked(self):
        location, made, _ = self.network_server("0000a7")
        device = self.stack.devices("1.0.3", 1, "0000a7")[0]
        kek_path, kek, key = self.kek("op-a7", network_server="0000a7")
        server = {"net_id": "0000a7", "token": made["token"], "kek_label": kek["label"], "kek": key}
        self.soon(lambda: self.stack.join(device, server).get("agree"), "the join server knows it")
        newer_path, newer, newer_key = self.kek("op-a7-2", network_server="0000a7")
        newer_server = {**server, "kek_label": newer["label"], "kek": newer_key}
        self.soon(lambda: self.stack.join(device, newer_server).get("agree"), "the new KEK wraps")
        self.assertEqual(self.operator.call("patch", kek_path, {"current": True})[0], 200)
        self.soon(lambda: self.stack.join(device, server).get("agree"), "the old KEK wraps again")
        self.assertEqual(self.operator.call("delete", newer_path)[0], 204)
        message = lorawan.join_req(device, self.stack.next_nonce(device), "0000a7")
        self.assertEqual(self.operator.call("patch", location, {"net_ids": ["0000a8"]})[0], 200)

        def code():
            status, answer = self.stack.post_join(message, made["token"])
            return answer["Result"]["ResultCode"] if status == 200 else status
        self.soon(lambda: code() == "UnknownSender", "it may not speak for the NetID any more")
        self.assertEqual(self.operator.call("delete", location)[0], 204)
        self.soon(lambda: code() == 401, "the token is refused")

    def test_a_join_route_says_which_join_euis_are_ours(self):
        device = self.stack.device("1.0.3")
        device = {**device, "join_eui": "02cdcf" + secrets.token_hex(5)}

        def code():
            message = lorawan.join_req(device, self.stack.next_nonce(device), support.HOME)
            return self.stack.post_join(message)[1]["Result"]["ResultCode"]
        self.assertEqual(code(), "UnkownReceiver")
        location, _, _ = self.made("/v1/join-routes", {"prefix": device["join_eui"], "bits": 64})
        self.soon(lambda: code() != "UnkownReceiver", "the JoinEUI is ours")
        self.assertEqual(self.operator.call("delete", location)[0], 204)
        self.soon(lambda: code() == "UnkownReceiver", "it is not, any more")


class AtOnce(OperatorTest):
    """Two calls that have begun before either can end: what they change is held until both wait for it."""

    def at_once(self, calls, sql, end="ROLLBACK"):
        """Their (status, answer), begun while the database holds what this statement takes."""
        with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
            with self.stack.locked(sql, end):
                before = self.waiting()
                futures = [pool.submit(self.operator.call, *call) for call in calls]
                support.wait_until(lambda: self.waiting() == before + len(calls), CHANGE_SECONDS, "all wait")
            return [(status, answer) for status, _, answer in (future.result() for future in futures)]

    def waiting(self):
        return int(self.stack.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")[0][0])

    def test_the_net_ids_of_one_call_replace_those_of_the_other(self):
        location, made, _ = self.network_server("0000b1", ns_ids=["70b3d57ed00000b1"])
        wanted = [{"net_ids": [f"0000b{i}"], "ns_ids": [f"70b3d57ed00000b{i}"]} for i in (2, 3)]
        answers = self.at_once([("patch", location, body) for body in wanted],
                               f"SELECT FROM peer WHERE name = '{made['name']}' FOR UPDATE")
        self.assertEqual([status for status, _ in answers], [200, 200], answers)
        now = self.operator.call("get", location)[2]
        self.assertIn({name: now[name] for name in ("net_ids", "ns_ids")}, wanted)

    def test_a_change_and_the_revocation_of_a_peer(self):
        location, made, _ = self.network_server("0000b4")
        answers = self.at_once([("patch", location, {"net_ids": ["0000b5"]}), ("delete", location)],
                               f"SELECT FROM peer WHERE name = '{made['name']}' FOR UPDATE")
        self.assertIn([status for status, _ in answers], ([200, 204], [404, 204]))

    def test_one_san_is_taken_once(self):
        ca, san = Ca(self.folder, "ca"), f"urn:once:{secrets.token_hex(4)}"
        first, second = (self.network_server("0000b6") for _ in range(2))
        answers = self.at_once(
            [("patch", second[0], {"san": san, "ca": self.read(ca.pem)})],
            f"UPDATE peer SET san = '{san}', trust_anchor = 'x' WHERE name = '{first[1]['name']}'", "COMMIT")
        self.assertEqual([status for status, _ in answers], [409], answers)
        self.assertIn("at the same moment", answers[0][1]["detail"])

    def test_of_two_keks_one_is_current(self):
        self.network_server("0000b7")
        keks = [self.kek(f"op-b7-{i}", network_server="0000b7") for i in range(3)]
        answers = self.at_once([("patch", kek[0], {"current": True}) for kek in keks[:2]],
                               f"SELECT FROM kek WHERE public_id = '\\x{keks[2][1]['id']}' FOR UPDATE")
        self.assertEqual([status for status, _ in answers], [200, 200], answers)
        listed = {kek["id"]: kek["current"] for kek in self.pages("/v1/keks")}
        self.assertEqual(sorted(listed[kek[1]["id"]] for kek in keks), [False, False, True])


class Command(OperatorTest):
    """What `cradle` does by this API is in test_peers and others; here is what they leave out."""

    def cradle(self, *args):
        run = self.stack.cradle(*args)
        self.assertEqual(run.returncode, 0, run.stderr)
        return [json.loads(line) for line in run.stdout.splitlines()]

    def refused(self, *args, config=None):
        """What it says when it is called with this configuration."""
        if config is None:
            return super().refused(*args)
        path = os.path.join(self.folder, "cradle.ini")
        with open(path, "w", encoding="ascii") as file:
            file.write(config)
        run = subprocess.run([self.stack.program("cli/cradle"), "--config", path, *args], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, check=False, env=self.stack.environment())
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        return run.stderr

    def test_organizations_and_their_transport_keks(self):
        name = f"Command {secrets.token_hex(4)}"
        made = self.cradle("organization", "add", "--name", name)[0]
        self.assertEqual((made["name"], made["allow_clear_keys"]), (name, "no"))
        changed = self.cradle("organization", "set", "--name", name, "--allow-clear-keys", "yes")[0]
        self.assertEqual(changed, {**made, "allow_clear_keys": "yes"})
        self.assertEqual(made["claim_code_length"], 16)
        changed = self.cradle("organization", "set", "--name", name, "--claim-code-length", "26")[0]
        self.assertEqual(changed, {**made, "allow_clear_keys": "yes", "claim_code_length": 26})
        self.assertIn(changed, self.cradle("organization", "list"))
        self.assertEqual(self.cradle("client", "add", "--organization", name, "--role", "maker")[0]["roles"],
                         ["module_maker", "product_maker"])
        sealed = os.path.join(self.folder, "sealed")
        with open(sealed, "wb") as file:
            file.write(base64.b64decode(self.sealed(secrets.token_bytes(16))))
        whose = ["--organization", made["id"].upper(), "--label", "transport"]
        self.cradle("kek", "add", *whose, "--sealed", sealed, "--length", "16")
        self.assertEqual(self.cradle("kek", "use", *whose)[0],
                         {"peer": made["id"], "class": "transport", "label": "transport", "current": True})

    def test_subscriptions(self):
        organization = self.cradle("organization", "add", "--name", f"Command {secrets.token_hex(4)}")[0]
        made = self.cradle("subscription", "add", "--organization", organization["id"], "--name", "a fleet", "--ends-at",
                           "2999-12-31T23:59:59Z", "--count", "5")[0]
        self.assertEqual((made["organization"], made["name"], made["count"], made["used"], made["renewal"], made["ends_at"]),
                         (organization["id"], "a fleet", 5, 0, "none", "2999-12-31T23:59:59Z"))
        changed = self.cradle("subscription", "change", made["id"], "--count", "6", "--renewal", "auto", "--notice-days", "30")[0]
        self.assertEqual(changed, {**made, "count": 6, "free": 6, "renewal": "auto", "notice_days": 30})
        self.assertEqual(self.cradle("subscription", "show", made["id"])[0], changed)
        self.assertIn(changed, self.cradle("subscription", "list"))
        for words in (("change", made["id"], "--count", "six"), ("change", made["id"], "--count", "0"),
                      ("change", "0" * 32, "--count", "6"), ("show", "none"),
                      ("add", "--organization", organization["id"], "--name", "x", "--ends-at", "tomorrow", "--count", "1")):
            run = self.stack.cradle("subscription", *words)
            self.assertEqual((run.returncode, run.stdout), (1, ""), run.stderr)
        required = self.cradle("organization", "set", "--name", organization["name"], "--subscription-required", "yes")[0]
        self.assertEqual(required, {**organization, "subscription_required": "yes"})

    def test_a_kek_is_made_and_written(self):
        owner, out = Owner(self.folder), os.path.join(self.folder, "kek.sealed")
        name = f"Command {secrets.token_hex(4)}"
        whose = ["--organization", self.cradle("organization", "add", "--name", name)[0]["id"]]
        made = self.cradle("kek", "add", *whose, "--label", "shown", "--public-key", owner.public)[0]
        key = owner.opened(made.pop("sealed"))
        self.assertEqual(made, {"label": "shown", "kcv": lorawan.cmac(key, bytes(16))[:3].hex(), "current": True})
        made = self.cradle("kek", "add", *whose, "--label", "written", "--public-key", owner.public, "--length", "32",
                           "--out", out)[0]
        self.assertEqual(made, {"label": "written", "kcv": made["kcv"], "current": False})
        with open(out, "rb") as file:
            self.assertEqual(len(owner.opened(base64.b64encode(file.read()))), 32)
        self.assertTrue(self.cradle("kek", "use", *whose, "--label", "written")[0]["current"])
        refused = [*whose, "--label", "refused"]
        for arguments, status, words in (
                (["--public-key", owner.public, "--out", out], 1, "cannot make"),
                (["--public-key", owner.private], 1, "private key"), (["--public-key", "/nowhere"], 1, "cannot read"),
                (["--public-key", Owner(self.folder, 1024).public], 1, "2048 to 8192 bits"),
                (["--public-key", owner.public, "--length", "17"], 1, "16, 24 or 32"),
                (["--public-key", owner.public, "--sealed", out, "--length", "16"], 2, "--public-key FILE"),
                (["--sealed", out, "--length", "16", "--out", out], 2, "--out FILE"),
                (["--sealed", out], 2, "usage"), (["--length", "16"], 2, "usage")):
            run = self.stack.cradle("kek", "add", *refused, *arguments)
            self.assertEqual((run.returncode, run.stdout), (status, ""), run.stderr)
            self.assertIn(words, run.stderr)
        # What could not be made leaves no file behind.
        empty = os.path.join(self.folder, "empty")
        run = self.stack.cradle("kek", "add", *whose, "--label", "shown", "--public-key", owner.public, "--out", empty)
        self.assertEqual((run.returncode, os.path.exists(empty)), (1, False))
        self.assertEqual([kek["label"] for kek in self.cradle("kek", "list") if kek["peer"] == whose[1]],
                         ["shown", "written"])

    def test_the_first_administrator_needs_no_service(self):
        made = self.cradle("admin", "add", "--organization", f"First {secrets.token_hex(4)}", "--role", "auditor")[0]
        self.assertEqual(made["roles"], ["admin", "auditor"])
        self.assertEqual(self.stack.psql(
            "SELECT a.action, a.client_id IS NULL, a.detail->'roles', length(a.request_id), o.name FROM audit_event a"
            f" JOIN organization o ON o.id = a.organization_id WHERE a.object = '{made['client_id']}'"),
            [["client.create", "t", '["admin", "auditor"]', "32", made["organization"]]])
        self.assertEqual(Rest(self.stack, made).call("get", "/v1/organizations")[0], 200)

    def test_what_keeps_it_from_calling_is_named(self):
        secret = os.path.join(self.folder, "secret")
        with open(secret, "w", encoding="ascii") as file:
            file.write("00" * 32 + "\n")
        nowhere = f"http://127.0.0.1:{support.free_ports(1)[0]}"

        def config(url=self.stack.activation_url, client_id=NOBODY, path=secret):
            return f"[activation]\nurl = {url}\nclient_id = {client_id}\nclient_secret_file = {path}\n"
        for words, text in (("activation.url", ""), ("activation.client_id", config(client_id="")),
                            ("activation.url", config("http://host.example")), ("cannot read", config(path="/nowhere")),
                            ("no answer", config(nowhere)), ("knows no client", config())):
            self.assertIn(words, self.refused("ns", "list", config=text), text)

    def test_an_address_is_no_more_than_that(self):
        config = self.own_config
        for url in ("/v1", "/?x=1", "?x=1", "//"):
            said = self.refused("ns", "list", config=config(self.stack.activation_url + url))
            self.assertIn("activation.url is https://HOST[:PORT] without a path or query", said, url)
        path = os.path.join(self.folder, "slash.ini")
        with open(path, "w", encoding="ascii") as file:
            file.write(config(self.stack.activation_url + "/"))
        run = subprocess.run([self.stack.program("cli/cradle"), "--config", path, "route", "list"], check=False,
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.stack.environment())
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_a_setting_of_before_says_what_is_instead(self):
        self.assertIn("KEKs go through the activation service",
                      self.refused("ns", "list", config="[hsm]\nkeyd = /run/keyd\n"))

    def own_config(self, url, more=""):
        """As a fresh operator."""
        client = self.cradle("client", "add", "--organization", "Own config", "--role", "operator")[0]
        secret = os.path.join(self.folder, "own_secret")
        with open(secret, "w", encoding="ascii") as file:
            file.write(client["client_secret"])
        return f"[activation]\nurl = {url}\nclient_id = {client['client_id']}\nclient_secret_file = {secret}\n{more}"

    def test_only_its_own_ca_is_believed(self):
        """Where the system's folder has the CA that the service's certificate is of, and the setting another."""
        ours = self.stack.demo["activation"]
        folder = os.path.join(self.folder, "system")
        os.makedirs(folder)
        shutil.copy(ours["ca"], os.path.join(folder, "ca.pem"))
        subprocess.run(["openssl", "rehash", folder], check=True)
        config = os.path.join(self.folder, "tls.ini")

        def alone(*command):
            return subprocess.run(
                ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/ssl/certs && exec "$@"', folder, *command],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=self.stack.environment())

        def joined(ca):
            server, device = self.stack.demo["network_servers"][0], self.stack.demo["devices"][0]
            run = alone(self.stack.program("cli/cradle-device"), "join", "--json", "--url", self.stack.demo["join"]["tls_url"],
                        "--ca", ca, "--cert", server["cert"], "--key", server["key"], "--net-id", server["net_id"],
                        *(word for name in ("dev_eui", "join_eui", "app_key", "mac_version")
                          for word in ("--" + name.replace("_", "-"), device[name])), "--dev-nonce", "1")
            return '"http_status":200' in run.stdout.replace(" ", "")

        def said(ca):
            with open(config, "w", encoding="ascii") as file:
                file.write(self.own_config(ours["tls_url"], f"ca = {ca}\n"))
            run = alone(self.stack.program("cli/cradle"), "--config", config, "route", "list")
            return run.returncode, run.stderr
        if subprocess.run(["unshare", "-rm", "sh", "-c", f"mount --bind {folder} /etc/ssl/certs"],
                          capture_output=True, check=False).returncode != 0:
            self.skipTest("no mount namespace of its own")
        self.assertEqual(said(ours["ca"]), (0, ""))
        self.assertTrue(joined(ours["ca"]))
        other = Ca(self.folder, "other").pem
        self.assertFalse(joined(other))
        status, words = said(other)
        self.assertEqual(status, 1)
        self.assertIn("no answer from the activation service", words)

    def test_what_is_no_answer_of_the_service_is_no_success(self):
        """In front of one that gives a token and then answers as it is told."""
        answers = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                token = self.path == "/v1/token" and b'{"access_token":"x"}'
                if not token:
                    answers.append(self.headers.get("Idempotency-Key"))
                status, body = (200, token) if token else answer
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            do_GET = do_PATCH = do_DELETE = do_POST

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        config = self.own_config(f"http://127.0.0.1:{server.server_port}")
        look = "look with cradle ns list, and take away what was made with cradle ns revoke"
        add = ("ns", "add", "--name", "x", "--net-id", "000013")
        for answer, args, words in (
                ((200, b""), add, look), ((201, b"<html>"), add, look), ((201, b"[]"), add, "no JSON object"),
                ((201, b"{}"), add, "without token"), ((201, b"{}"), add, look), ((204, b""), add, "no JSON object"),
                ((None, b""), add, look), ((502, b"<html>"), add, look),
                ((200, b"{}"), ("client", "add", "--organization", "x", "--role", "owner"), "without id"),
                ((200, b'{"id":"1"}'), ("client", "add", "--organization", "x", "--role", "owner"), "without client_id"),
                ((200, b'{"id":"1","client_id":"1"}'), ("client", "add", "--organization", "x", "--role", "owner"),
                 "without client_secret"),
                ((None, b""), ("client", "add", "--organization", "x", "--role", "owner"), "cradle organization list"),
                ((200, b"<html>"), ("ns", "set", "--name", "x", "--app-s-key", "plain"), "no JSON object"),
                ((200, b"<html>"), ("ns", "revoke", "--name", "x"), "look with cradle ns list"),
                ((None, b""), ("route", "add", "02/8"), "cradle route remove"),
                ((200, b"{}"), ("ns", "list"), "without items")):
            answers.clear()
            self.assertIn(words, self.refused(*args, config=config), (answer, args))
            self.assertLessEqual(len(answers), 2, "nothing is repeated")
            if "add" in args:
                self.assertRegex(answers[0], "^[0-9a-f]{32}$")
                self.assertEqual(len(set(answers)), len(answers))
            else:
                self.assertIsNone(answers[0])
        answer = (404, b"")
        self.assertNotIn("look with", self.refused(*add, config=config))

    def test_clients_are_listed_and_revoked(self):
        whose = ["--organization", f"Listed {secrets.token_hex(4)}"]
        made = self.cradle("client", "add", *whose, "--role", "owner", "--role", "auditor")[0]
        before = self.cradle("client", "list", *whose)
        self.assertEqual([(line["client_id"], line["roles"]) for line in before],
                         [(made["client_id"], ["owner", "auditor"])])
        revoke = ("client", "revoke", *whose, "--client-id", made["client_id"])
        self.assertEqual(self.cradle(*revoke), [{"client_id": made["client_id"]}])
        self.assertEqual([line | {"revoked": ""} for line in self.cradle("client", "list", *whose)],
                         [before[0] | {"revoked": ""}])
        for args, words in ((revoke, "no such client"), (("client", "list", "--organization", "nobody"), "no organization")):
            run = self.stack.cradle(*args)
            self.assertEqual((run.returncode, run.stdout), (1, ""))
            self.assertIn(words, run.stderr)

    def test_it_may_do_what_its_client_may(self):
        client = self.cradle("client", "add", "--organization", "Only admin", "--role", "admin")[0]
        secret = os.path.join(self.folder, "secret")
        with open(secret, "w", encoding="ascii") as file:
            file.write(client["client_secret"])
        config = (f"[activation]\nurl = {self.stack.activation_url}\nclient_id = {client['client_id']}\n"
                  f"client_secret_file = {secret}\n")
        self.assertIn("may not manage join routes", self.refused("route", "list", config=config))
