"""KEKs over REST: those that come sealed to the exchange key, and those that are made in the HSM."""

import base64
import json
import os
import secrets

import lorawan
import support
from certificates import Owner
from test_accounts import NOBODY, Rest
from test_jobs import csv_of, rows_of
from test_operator import OperatorTest
from test_peers import CHANGE_SECONDS


class Keks(OperatorTest):
    def test_they_are_taken_chosen_and_removed(self):
        server = self.network_server("0000a5", ns_ids=["70b3d57ed0000005"])[0]
        first, made, _ = self.kek("op-a5-1", network_server="0000A5")
        self.assertEqual({k: made[k] for k in ("network_server", "label", "current")},
                         {"network_server": "0000a5", "label": "op-a5-1", "current": True})
        second, newer, _ = self.kek("op-a5-2", network_server="0000a5")
        own, of_ns_id, _ = self.kek("op-a5-1", network_server="0000a5/70B3D57ED0000005")
        self.assertEqual(of_ns_id["network_server"], "0000a5/70b3d57ed0000005")
        listed = {kek["id"]: kek for kek in self.pages("/v1/keks")}
        self.assertEqual([listed[kek["id"]]["current"] for kek in (made, newer, of_ns_id)], [False, True, True])
        self.assertNotIn("kcv", listed[made["id"]])
        # What wraps for the server: of its NetID and of its NSIDs, and only what is current.
        self.assertEqual(self.operator.call("get", server)[2]["current_keks"], ["op-a5-2", "op-a5-1"])
        self.refused(409, None, "delete", second)
        self.assertIn("not its last", self.refused(409, None, "delete", second + "?last=true"))
        self.refused(400, "last", "delete", second + "?last=yes")
        self.refused(400, None, "delete", second + "?last=true&all=true")
        status, headers, used = self.operator.call("patch", first, {"current": True})
        self.assertEqual((status, used["id"], used["current"]), (200, made["id"], True))
        self.assertEqual(self.events(headers["X-Request-Id"])[0][:2], ["kek.use", made["id"]])
        self.assertEqual(self.operator.call("delete", second)[0], 204)
        for method, body in (("delete", None), ("patch", {"current": True})):
            self.refused(404, None, method, second, body)
            self.refused(404, None, method, f"/v1/keks/{NOBODY}", body)
            self.refused(404, None, method, "/v1/keks/x", body)
        for body in ({}, {"current": False}, {"current": "yes"}):
            self.refused(400, "current", "patch", own, body)
        # The last one goes only where that is said, and a key is for one call.
        self.assertIn("last=true", self.refused(409, None, "delete", first))
        self.refused(409, None, "delete", first + "?last=false")
        key = secrets.token_hex(8)
        status, headers, _ = self.operator.call("delete", first + "?last=true", Idempotency_Key=key)
        self.assertEqual((status, self.events(headers["X-Request-Id"])[0][:2]), (204, ["kek.remove", made["id"]]))
        self.assertEqual(self.operator.call("delete", first + "?last=true", Idempotency_Key=key)[0], 204)
        self.assertEqual(self.operator.call("delete", first, Idempotency_Key=key)[0], 422)
        self.assertEqual(self.operator.call("get", server)[2]["current_keks"], ["op-a5-1"])

    def test_an_organizations_is_for_transport_and_in_its_history(self):
        organization = self.organization()
        _, made, key = self.kek("transport-1", organization=organization["id"].upper())
        self.assertEqual(made["organization"], organization["id"])
        self.assertEqual(self.stack.psql(f"SELECT peer_kind, peer_id, class FROM kek WHERE public_id = '\\x{made['id']}'"),
                         [["organization", organization["id"], "transport"]])
        auditor = Rest(self.stack, self.client(organization, "auditor"))
        events = auditor.call("get", "/v1/audit?limit=1000")[2]["items"]
        self.assertIn(("kek.create", made["id"]), [(event["action"], event["object"]) for event in events])
        self.assertNotIn(key, json.dumps(events))

    def test_what_is_wrong_is_named(self):
        self.network_server("0000a6")
        key = secrets.token_bytes(16)
        good = {"network_server": "0000a6", "label": "op-a6", "sealed": self.sealed(key), "length": 16}
        for change, field in (
                ({"network_server": "nobody"}, "network_server"), ({"network_server": "ffffff"}, "network_server"),
                ({"network_server": "0000a6/70b3d57ed00000ff"}, "network_server"), ({"label": "a b"}, "label"),
                ({"label": ""}, "label"), ({"label": "x" * 65}, "label"), ({"sealed": "AAAA"}, "sealed"),
                ({"sealed": self.sealed(key)[:-4] + "===="}, "sealed"),
                ({"sealed": base64.b64encode(bytes(384)).decode()}, "sealed"), ({"length": 15}, "length"),
                ({"length": 24}, "sealed"), ({"length": 33}, "length"), ({"application_server": "demo-as"}, None)):
            self.refused(400, field, "post", "/v1/keks", {**good, **change})
        for member in ("label", "sealed", "length"):
            self.refused(400, member, "post", "/v1/keks", {k: v for k, v in good.items() if k != member})
        del good["network_server"]
        self.refused(400, None, "post", "/v1/keks", good)
        self.refused(400, "application_server", "post", "/v1/keks", {**good, "application_server": "nobody-here"})
        self.refused(400, "organization", "post", "/v1/keks", {**good, "organization": NOBODY})
        good["network_server"] = "0000a6"
        self.made("/v1/keks", good)
        self.refused(409, None, "post", "/v1/keks", good)


class MadeKeks(OperatorTest):
    """KEKs that are made in the HSM and answered sealed to a public key."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = cls.stack.path("operator", "owners")
        os.makedirs(folder)
        cls.owner = Owner(folder)

    def make(self, label, owner=None, length=16, **whose):
        """(location, what was made, the key)"""
        owner = owner or self.owner
        location, made, request = self.made(
            "/v1/keks", {**whose, "label": label, "public_key": owner.pem, "length": length})
        key = owner.opened(made["sealed"])
        self.assertEqual(len(key), length)
        self.assertEqual(self.events(request)[0][:2], ["kek.create", made["id"]])
        return location, made, key

    def test_each_kind_of_peer_gets_one(self):
        self.network_server("0000b1", ns_ids=["70b3d57ed00000b1"])
        as_id = f"as-{secrets.token_hex(4)}"
        self.made("/v1/application-servers", {"as_id": as_id})
        organization = self.organization()
        owners = (self.owner, Owner(self.folder, 4096, 3), self.owner, Owner(self.folder, 3072))
        for (name, whose), length, owner in zip((
                ("network_server", "0000b1"), ("network_server", "0000b1/70b3d57ed00000b1"),
                ("application_server", as_id), ("organization", organization["id"])), (16, 24, 32, 16), owners):
            location, made, key = self.make("made-1", owner, length, **{name: whose})
            self.assertEqual(made, {"id": made["id"], name: whose, "label": "made-1", "current": True, "kcv": made["kcv"],
                                    "created_at": made["created_at"], "sealed": made["sealed"]})
            self.assertEqual(location, f"/v1/keks/{made['id']}")
            if length == 16:
                self.assertEqual(made["kcv"], lorawan.cmac(key, bytes(16))[:3].hex())
            listed = {kek["id"]: kek for kek in self.pages("/v1/keks")}
            self.assertEqual(listed[made["id"]], {n: made[n] for n in made if n not in ("kcv", "sealed")})
            # The same key as an adopted one has: its row is the same but for the label.
            again = self.made("/v1/keks", {name: whose, "label": "again", "sealed": self.sealed(key), "length": length})[1]
            self.assertEqual(again["kcv"], made["kcv"])
            self.assertEqual(len(self.stack.psql(
                f"SELECT DISTINCT kek_label, blob FROM kek WHERE public_id IN ('\\x{made['id']}', '\\x{again['id']}')")), 1)

    def test_one_that_nobody_has_yet_does_not_take_the_place_of_the_current_one(self):
        server = self.network_server("0000b2")[0]
        first = self.kek("b2-1", network_server="0000b2")[0]
        made_path, made, _ = self.make("b2-2", network_server="0000b2")
        self.assertFalse(made["current"])
        self.assertEqual(self.operator.call("get", server)[2]["current_keks"], ["b2-1"])
        self.assertTrue(self.operator.call("patch", made_path, {"current": True})[2]["current"])
        self.assertEqual(self.operator.call("get", server)[2]["current_keks"], ["b2-2"])
        self.assertEqual(self.operator.call("delete", first)[0], 204)

    def test_it_is_told_once_and_kept_nowhere(self):
        organization = self.organization()
        body = {"organization": organization["id"], "label": "once", "public_key": self.owner.pem, "length": 16}
        key = secrets.token_hex(8)
        status, headers, made = self.operator.call("post", "/v1/keks", body, Idempotency_Key=key)
        self.assertEqual((status, headers["Cache-Control"]), (201, "no-store"))
        status, again, nothing = self.operator.call("post", "/v1/keks", body, Idempotency_Key=key)
        self.assertEqual((status, again["Location"], nothing), (201, headers["Location"], None))
        self.assertEqual(self.operator.call("post", "/v1/keks", {**body, "length": 32}, Idempotency_Key=key)[0], 422)
        self.refused(409, None, "post", "/v1/keks", body)
        count = f"SELECT count(*) FROM kek WHERE peer_id = '{organization['id']}'"
        self.assertEqual(self.stack.psql(count), [["1"]])
        auditor = Rest(self.stack, self.client(organization, "auditor"))
        events = [event for event in auditor.call("get", "/v1/audit?limit=1000")[2]["items"]
                  if event["action"] == "kek.create"]
        self.assertEqual([(event["object"], event["detail"]) for event in events], [
            (made["id"], {"organization": organization["id"], "label": "once", "generated": True})])
        dump = str(self.stack.psql(
            "SELECT to_jsonb(a)::text FROM audit_event a UNION ALL SELECT to_jsonb(i)::text FROM idempotency i "
            "UNION ALL SELECT to_jsonb(k)::text FROM kek k"))
        bare, sealed = self.owner.opened(made["sealed"]), base64.b64decode(made["sealed"])
        for text in (bare.hex(), base64.b64encode(bare).decode(), made["sealed"], sealed.hex(), "BEGIN PUBLIC"):
            self.assertNotIn(text, dump)
        # Its answer was lost: another takes its place.
        self.assertEqual(self.operator.call("delete", headers["Location"] + "?last=true")[0], 204)
        self.assertEqual(self.operator.call("post", "/v1/keks", body)[0], 201)

    def test_what_is_wrong_is_named(self):
        self.network_server("0000b3")
        good = {"network_server": "0000b3", "label": "b3", "public_key": self.owner.pem, "length": 16}
        lines = self.owner.pem.splitlines(keepends=True)
        sizes = {bits: Owner(self.folder, bits).pem for bits in (1024, 2040)}
        for change, field, words in (
                ({"sealed": self.sealed(secrets.token_bytes(16))}, "public_key", "not both"),
                ({"public_key": ""}, "public_key", "not one RSA public key"),
                ({"public_key": "x" * 4097}, "public_key", ""), ({"public_key": 1}, "public_key", ""),
                ({"public_key": None}, "public_key", ""),
                ({"public_key": "".join(lines[1:])}, "public_key", "not one RSA public key"),
                ({"public_key": "".join(lines[:2] + lines[3:])}, "public_key", "not one RSA public key"),
                ({"public_key": self.owner.pem * 2}, "public_key", "not one RSA public key"),
                ({"public_key": self.read(self.owner.private)}, "public_key", "private key"),
                ({"public_key": Owner(self.folder, algorithm="EC").pem}, "public_key", "not one RSA public key"),
                ({"public_key": sizes[1024]}, "public_key", "2048 to 8192 bits"),
                ({"public_key": sizes[2040]}, "public_key", "2048 to 8192 bits"),
                ({"public_key": self.with_even_exponent()}, "public_key", "odd exponent"),
                ({"length": 0}, "length", "16, 24 or 32"), ({"length": 20}, "length", "16, 24 or 32"),
                ({"length": 33}, "length", ""), ({"length": "16"}, "length", ""),
                ({"network_server": "0000bf"}, "network_server", "speaks"), ({"label": "a b"}, "label", "")):
            self.assertIn(words, self.refused(400, field, "post", "/v1/keks", {**good, **change}))
        self.refused(400, "length", "post", "/v1/keks", {n: good[n] for n in good if n != "length"})
        self.assertIn("public_key", self.refused(
            400, "sealed", "post", "/v1/keks", {n: good[n] for n in good if n != "public_key"}))
        self.refused(403, None, "post", "/v1/keks", good, self.admin)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM kek WHERE peer_id = '0000b3'"), [["0"]])

    def with_even_exponent(self):
        der = bytearray(base64.b64decode("".join(self.owner.pem.splitlines()[1:-1])))
        self.assertEqual(der[-5:], b"\x02\x03\x01\x00\x01")
        der[-1] = 2
        return f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(der).decode()}-----END PUBLIC KEY-----\n"

    def test_devices_whose_keys_came_under_it_join(self):
        organization = self.organization()
        _, _, kek = self.make("transport", length=32, organization=organization["id"])
        maker = Rest(self.stack, self.client(organization, "maker"))
        devices = [{**row, "nwk_key": None} for row in rows_of(2)]
        devices.append({**rows_of(1, mac_version="1.1")[0], "nwk_key": secrets.token_hex(16)})
        rows = [{**{n: v for n, v in device.items() if n not in ("app_key", "nwk_key")},
                 **{f"{n}_wrapped": lorawan.wrap(kek, bytes.fromhex(device[n])).hex() if device[n] else ""
                    for n in ("app_key", "nwk_key")}} for device in devices]
        other = rows_of(1)[0]
        rows.append({**rows[0], "dev_eui": other["dev_eui"],
                     "app_key_wrapped": lorawan.wrap(secrets.token_bytes(32), secrets.token_bytes(16)).hex()})
        status, answer = self.stack.import_file(csv_of(rows), token=maker.token)
        self.assertEqual(status, 200, answer)
        self.assertEqual([(row["outcome"], row.get("reason")) for row in answer],
                         [("created", None)] * 3 + [("refused", "key-does-not-open")])
        for device in devices:
            joined = self.stack.join({**device, "dev_nonce": 1})
            self.assertTrue(joined.get("agree"), joined)

    def test_session_keys_come_under_it(self):
        _, made, _ = self.network_server("0000b4")
        device = self.stack.devices("1.0.4", 1, "0000b4")[0]
        _, kek, key = self.make("b4", length=24, network_server="0000b4")
        server = {"net_id": "0000b4", "token": made["token"], "kek_label": kek["label"], "kek": key.hex()}
        support.wait_until(lambda: self.stack.join(device, server).get("agree"), CHANGE_SECONDS, "its KEK wraps")

    def test_the_key_processes_of_the_activation_service_alone_make_them(self):
        for processes, makes in (("activation-keyd", True), ("keyd", False)):
            pids = self.stack.pids(processes)
            self.assertTrue(pids)
            for pid in pids:
                words = self.read(f"/proc/{pid}/cmdline").split("\0")
                verbs = words[words.index("--verbs") + 1].split(",")
                self.assertEqual("make-kek" in verbs, makes, verbs)
