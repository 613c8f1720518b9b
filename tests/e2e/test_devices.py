"""What a holder is told of his devices: what they are, why they do not join, and what they still need."""

import json
import os
import re
import secrets
import subprocess
import unittest

import lorawan
import support
from test_accounts import AccountsTest, Rest

SOON_S = 15
STRANGER_NET, NO_KEK_NET = "000077", "000078"
FOREIGN_JOIN_EUI = "02cdcdffffffffff"


def rows_of_document():
    """{reason: what to do} of docs/explain.md."""
    with open(os.path.join(support.ROOT, "docs", "explain.md"), encoding="utf-8") as file:
        return {reason: (what, do) for reason, what, do in re.findall(r"^\| `(.*)` \| (.*) \| (.*) \|$", file.read(), re.M)}


class DevicesTest(AccountsTest):
    n_devices = 0
    prefix = "02cdcd" + secrets.token_hex(3)

    def setUp(self):
        self.maker_organization = self.organization(allow_clear_keys=True)
        self.owner_organization = self.organization()
        self.maker = Rest(self.stack, self.client(self.maker_organization, "product_maker"))
        self.owner = Rest(self.stack, self.client(self.owner_organization, "owner"))
        self.stranger = Rest(self.stack, self.client(self.organization(), "owner", "product_maker"))

    def number(self, organization):
        return self.stack.psql(f"SELECT id FROM organization WHERE public_id = '\\x{organization['id']}'")[0][0]

    def devices(self, version, n, **changes):
        """New devices of the maker's, nobody's yet."""
        devices = []
        for _ in range(n):
            DevicesTest.n_devices += 1
            devices.append({"dev_eui": f"{self.prefix}{self.n_devices:04x}", "join_eui": support.DEMO_JOIN_EUI,
                            "app_key": secrets.token_hex(16),
                            "nwk_key": secrets.token_hex(16) if version == "1.1" else None, "mac_version": version,
                            "serial": f"S{self.n_devices}", **changes})
        columns = tuple(devices[0])
        lines = [",".join(columns)] + [",".join(d[c] or "" for c in columns) for d in devices]
        status, rows = self.stack.import_file("\n".join(lines) + "\n", token=self.maker.token)
        self.assertEqual((status, {row["outcome"] for row in rows}), (200, {"created"}), rows)
        return devices

    def sell(self, device, organization=None, home=support.HOME, as_id="demo-as"):
        """Makes it the owner's, as a claim does."""
        self.stack.psql(
            f"UPDATE device SET owner_id = {self.number(organization or self.owner_organization)}, ownership = 'claimed', "
            f"service = 'active', ownership_epoch = ownership_epoch + 1, home_net_id = '\\x{home}', as_id = '{as_id}' "
            f"WHERE dev_eui = '\\x{device['dev_eui']}'")

    def sold(self, version="1.0.3", **changes):
        device = self.devices(version, 1)[0]
        self.sell(device, **changes)
        return device

    def update(self, device, change, table="device"):
        self.stack.psql(f"UPDATE {table} SET {change} WHERE dev_eui = '\\x{device['dev_eui']}'")

    def ask(self, device, nonce, net_id=support.HOME, token=None, **changes):
        status, answer = self.stack.post_join(lorawan.join_req(device, nonce, net_id, **changes), token=token)
        self.assertEqual(status, 200)
        return answer["Result"]["ResultCode"]

    def get(self, rest, device, below=""):
        status, _, answer = rest.call("get", f"/v1/devices/{device['dev_eui']}{below}")
        self.assertEqual(status, 200, answer)
        return answer

    def attempts(self, rest, device, n):
        """Once there are n of them."""
        return support.wait_until(
            lambda: len(items := self.get(rest, device, "/joins")["items"]) == n and items, SOON_S, f"{n} attempts are told")


class Seen(DevicesTest):
    def test_an_owner_sees_his_devices_and_their_maker_what_they_are(self):
        devices = self.devices("1.0.3", 3)
        listed = self.maker.call("get", "/v1/devices")[2]
        self.assertEqual([d["dev_eui"] for d in listed["items"]], [d["dev_eui"] for d in devices])
        self.assertEqual(self.owner.call("get", "/v1/devices")[2], {"items": [], "next": None})
        self.sell(devices[1])
        self.assertEqual([d["dev_eui"] for d in self.maker.call("get", "/v1/devices")[2]["items"]],
                         [devices[0]["dev_eui"], devices[2]["dev_eui"]])
        self.assertEqual([d["dev_eui"] for d in self.owner.call("get", "/v1/devices")[2]["items"]], [devices[1]["dev_eui"]])
        mine, its_makers = self.get(self.owner, devices[1]), self.get(self.maker, devices[1])
        self.assertEqual(
            {name: mine[name] for name in ("held", "ownership", "service", "ownership_epoch", "home_net_id", "as_id",
                                           "batch", "serial", "rejoin_pending", "exposed_since")},
            {"held": True, "ownership": "claimed", "service": "active", "ownership_epoch": 1, "home_net_id": support.HOME,
             "as_id": "demo-as", "batch": None, "serial": devices[1]["serial"], "rejoin_pending": True,
             "exposed_since": None})
        self.assertFalse(its_makers["held"])
        self.assertEqual(set(its_makers), {"dev_eui", "kind", "join_eui", "mac_version", "held", "credential", "trust", "trust_score", "created_at",
                                           "serial", "batch"})
        self.assertIsNotNone(its_makers["batch"])
        unsold = self.get(self.maker, devices[0])
        self.assertEqual((unsold["held"], unsold["ownership"], unsold["rejoin_pending"]), (True, "unowned", False))

    def test_what_is_anothers_is_answered_as_what_is_not_here(self):
        device = self.sold()
        missing = {"dev_eui": "02cdcdfffffffffe"}
        for below in ("", "/joins", "/preflight", "/signals"):
            answers = [rest.call("get", f"/v1/devices/{d['dev_eui']}{below}")
                       for rest, d in ((self.stranger, device), (self.stranger, missing), (self.owner, missing),
                                       (self.owner, {"dev_eui": "no-eui"}))]
            self.assertEqual([a[0] for a in answers], [404] * 4)
            self.assertEqual({a[2]["detail"] for a in answers}, {answers[0][2]["detail"]})
        # Nor may its maker look over its owner's shoulder.
        for below in ("/joins", "/preflight"):
            self.assertEqual(self.maker.call("get", f"/v1/devices/{device['dev_eui']}{below}")[0], 404)
        self.assertEqual(self.stranger.call("get", "/v1/devices")[2]["items"], [])

    def test_any_spelling_of_a_dev_eui_will_do(self):
        device = self.sold()
        eui = device["dev_eui"]
        for spelling in (eui.upper(), "-".join(eui[i:i + 2] for i in range(0, 16, 2)),
                         ":".join(eui[i:i + 2] for i in range(0, 16, 2)), "0x" + eui):
            self.assertEqual(self.get(self.owner, {"dev_eui": spelling})["dev_eui"], eui)

    def test_a_list_goes_by_pages_and_by_batch(self):
        first, second = self.devices("1.0.4", 5), self.devices("1.0.3", 2)
        seen, cursor = [], ""
        while cursor is not None:
            page = self.maker.call("get", f"/v1/devices?limit=3{cursor and '&cursor=' + cursor}")[2]
            self.assertLessEqual(len(page["items"]), 3)
            seen += [d["dev_eui"] for d in page["items"]]
            cursor = page["next"]
        self.assertEqual(seen, [d["dev_eui"] for d in first + second])
        batch = self.get(self.maker, second[0])["batch"]
        self.sell(second[1])
        page = self.maker.call("get", f"/v1/devices?batch={batch}&limit=1")[2]
        self.assertEqual(([d["dev_eui"] for d in page["items"]], page["next"]), ([second[0]["dev_eui"]], None))
        for query in (f"batch={'0' * 32}", "batch=x", "limit=0", "limit=1001", "colour=red", "cursor=1"):
            self.assertEqual(self.maker.call("get", f"/v1/devices?{query}")[0], 400, query)
        # A batch is its maker's secret.
        self.assertEqual(self.owner.call("get", f"/v1/devices?batch={batch}")[0], 400)
        self.assertEqual(self.owner.call("get", f"/v1/devices/{second[1]['dev_eui']}/joins?batch=1")[0], 400)


class Explained(DevicesTest):
    def refused(self, device, code, reason, *facts, rest=None, **how):
        """One more attempt is refused with this code, and told with this reason and facts."""
        rest = rest or self.owner
        nonce = how.pop("nonce", 9)
        before = len(self.get(rest, device, "/joins")["items"])
        message = how.pop("message", None) or lorawan.join_req(
            how.pop("sent", device), nonce, how.get("net_id", support.HOME), **how.pop("changes", {}))
        status, answer = self.stack.post_join(message, token=how.get("token"))
        self.assertEqual((status, answer["Result"]["ResultCode"]), (200, code), reason)
        told = self.attempts(rest, device, before + 1)[0]
        explanation = told["explanation"]
        self.assertEqual(told["reason"], reason)
        self.assertTrue(all(explanation[name] for name in ("what", "why", "do")), told)
        for fact in facts:
            self.assertIn(fact, explanation["why"])
        if reason in (document := rows_of_document()):
            self.assertTrue(document[reason][0].startswith(explanation["what"]), reason)
            self.assertEqual(document[reason][1], explanation["do"])
        return told

    def test_the_gate(self):
        device = self.sold()
        for change, back, code, reason in (
                ("credential = 'delivered'", "credential = 'activable'", "UnknownDevEUI", "the credential is not activable"),
                ("service = 'inactive'", "service = 'active'", "ActivationDisallowed", "the device's service is not active"),
                ("service = 'suspended'", "service = 'active'", "ActivationDisallowed", "the device is suspended"),
                ("trust = 'quarantined'", "trust = 'ok'", "ActivationDisallowed", "the device is quarantined")):
            self.update(device, change)
            self.refused(device, code, reason)
            self.update(device, back)
        self.assertEqual(self.ask(device, 9), "Success")
        joined = self.attempts(self.owner, device, 5)[0]
        self.assertEqual((joined["outcome"], joined["dev_nonce"], joined["net_id"], joined["dev_addr"], joined["reason"],
                          joined["explanation"], joined["join_nonce"]),
                         ("success", 9, support.HOME, "01020304", None, None, 1))

    def test_a_maker_is_told_while_the_device_is_nobodys(self):
        device = self.devices("1.0.3", 1)[0]
        self.refused(device, "UnknownDevEUI", "nobody has claimed the device", rest=self.maker)
        self.sell(device)
        self.assertEqual(self.get(self.owner, device, "/joins")["items"], [])

    def test_another_network_and_another_join_eui(self):
        device = self.sold()
        other = self.stack.server(support.OTHER)
        self.refused(device, "UnknownDevEUI", "the sender is not the device's home network", f"Network {support.OTHER} asked",
                     f"home network is {support.HOME}", net_id=support.OTHER, token=other["token"])
        self.refused(device, "UnknownDevEUI", "the frame's JoinEUI is not the device's", support.SAMPLE_JOIN_EUI,
                     device["join_eui"], sent=dict(device, join_eui=support.SAMPLE_JOIN_EUI))
        told = self.refused(device, "UnkownReceiver", "the JoinEUI is not one that this join server answers",
                            FOREIGN_JOIN_EUI, device["join_eui"], sent=dict(device, join_eui=FOREIGN_JOIN_EUI))
        self.assertEqual((told["join_eui"], told["join_type"], told["dev_nonce"]), (FOREIGN_JOIN_EUI, "join", 9))

    def test_a_random_dev_nonce_that_was_used_is_told_with_its_join(self):
        device = self.sold("1.0.3")
        self.assertEqual(self.ask(device, 7), "Success")
        self.assertEqual(self.ask(device, 8), "Success")
        joined = self.attempts(self.owner, device, 2)[1]
        told = self.refused(device, "JoinReqFailed", "the DevNonce was used before", "DevNonce 7",
                            f"joined with at {joined['at']}", "1.0.3", "at random", nonce=7,
                            changes={"dev_addr": "26000009"})
        self.assertEqual(told["dev_nonce"], 7)
        # What a former owner did is not told.
        self.sell(device)
        told = self.refused(device, "JoinReqFailed", "the DevNonce was used before",
                            "did not join with under its present owner", nonce=7, changes={"dev_addr": "26000009"})
        self.assertNotIn(joined["at"], told["explanation"]["why"])

    def test_a_counted_dev_nonce(self):
        device = self.sold("1.0.4")
        self.assertEqual(self.ask(device, 20), "Success")
        self.refused(device, "JoinReqFailed", "the DevNonce is not above the last one", "DevNonce 5",
                     "did not join with", "1.0.4", "which is 20 by now", nonce=5)
        self.assertEqual(self.ask(device, 65535), "Success")
        self.refused(device, "JoinReqFailed", "all DevNonces are used: the device's nonces must be reset", nonce=65535,
                     changes={"dev_addr": "26000009"})

    def test_a_wrong_mic(self):
        device = self.sold()
        self.refused(device, "MICFailed", "the MIC is wrong", sent=dict(device, app_key="00" * 16))

    def test_what_is_not_a_join_request(self):
        device = self.sold()
        told = self.refused(device, "MalformedRequest", "DevAddr is missing", "DevAddr is missing",
                            changes={"DevAddr": None})
        self.assertIsNone(told["dev_nonce"])
        message = lorawan.join_req(device, 1, support.HOME)
        message["PHYPayload"] += "00"
        self.refused(device, "FrameSizeError", "PHYPayload of a Join-Request is 23 bytes", message=message)
        self.refused(device, "MalformedRequest", "OptNeg is set for a device that is not 1.1", changes={"DLSettings": "80"})

    def test_rejoins(self):
        old, device = self.sold("1.0.3"), self.sold("1.1")
        self.refused(old, "MalformedRequest", "only a 1.1 device can rejoin", message=lorawan.rejoin_req(
            old, lorawan.rejoin_request(old, 1, 0), support.HOME))
        self.refused(device, "MICFailed", "the device has no session that can rejoin", message=lorawan.rejoin_req(
            device, lorawan.rejoin_request(device, 0, 0, support.HOME, bytes(16)), support.HOME))
        self.assertEqual(self.ask(device, 3), "Success")
        key = lorawan.session_keys(device, 1, 3)["SNwkSIntKey"]
        self.refused(device, "JoinReqFailed", "the NetID in the frame is not the session's", message=lorawan.rejoin_req(
            device, lorawan.rejoin_request(device, 0, 0, support.OTHER, key), support.HOME))
        self.assertEqual(self.stack.post_join(lorawan.rejoin_req(
            device, lorawan.rejoin_request(device, 1, 4), support.HOME))[1]["Result"]["ResultCode"], "Success")
        self.assertEqual(self.attempts(self.owner, device, 4)[0]["join_type"], "rejoin_1")
        told = self.refused(device, "JoinReqFailed", "the RJcount is not above the last one", "RJcount 4",
                            message=lorawan.rejoin_req(device, lorawan.rejoin_request(device, 1, 4), support.HOME,
                                                       dev_addr="26000009"))
        self.assertEqual(told["join_type"], "rejoin_1")

    def test_keks_that_are_missing(self):
        self.refused(self.sold(as_id="nobodys-as"), "Other", "the device's application server has no KEK")
        made = self.stack.cradle("ns", "add", "--name", f"bare {secrets.token_hex(4)}", "--net-id", NO_KEK_NET)
        self.assertEqual(made.returncode, 0, made.stderr)
        token, device = json.loads(made.stdout)["token"], self.sold(home=NO_KEK_NET)
        support.wait_until(lambda: self.stack.post_join(lorawan.join_req(device, 1, NO_KEK_NET, DevAddr="zz"),
                                                        token=token)[0] == 200, SOON_S, "the join server knows the peer")
        self.attempts(self.owner, device, 1)
        self.refused(device, "Other", "the network server has no KEK", net_id=NO_KEK_NET, token=token)

    def test_records_that_are_damaged(self):
        device, other = self.sold("1.0.4"), self.sold("1.0.4")
        self.stack.psql(
            "UPDATE device_key t SET kek_label = v.kek_label, blob = v.blob, tag = v.tag FROM device_key v "
            f"WHERE t.dev_eui = '\\x{device['dev_eui']}' AND v.dev_eui = '\\x{other['dev_eui']}'")
        self.refused(device, "Other", "the sealed device key was altered or moved")
        self.stack.psql(f"DELETE FROM device_key WHERE dev_eui = '\\x{device['dev_eui']}'")
        self.refused(device, "Other", "the device's root keys are not complete")
        self.update(other, "join_nonce = 16777215", "device_join")
        self.refused(other, "JoinReqFailed", "all 2^24 - 1 JoinNonces are used")
        self.update(other, "nonce_epoch = 1", "device_join")
        self.refused(other, "Other", "the device's nonce epoch went back")

    def test_a_reason_of_another_version_is_told_as_it_stands(self):
        device = self.sold()
        self.stack.psql(
            "INSERT INTO join_event (at, dev_eui, join_type, outcome, reason, ownership_epoch) "
            f"VALUES (now(), '\\x{device['dev_eui']}', 255, 'strange', 'the moon was full', 1)")
        told = self.attempts(self.owner, device, 1)[0]
        self.assertEqual((told["outcome"], told["reason"]), ("strange", "the moon was full"))
        self.assertIn("the moon was full", told["explanation"]["why"])

    def test_attempts_go_by_pages_without_a_loss(self):
        device = self.sold("1.0.3")
        # Five of one moment lie across the border of two pages.
        self.stack.psql(
            "INSERT INTO join_event (at, dev_eui, join_type, outcome, reason, dev_nonce, ownership_epoch, net_id, dev_addr, "
            "join_nonce) SELECT date_trunc('second', now()) - (n / 5) * interval '1 second', "
            f"'\\x{device['dev_eui']}', 255, CASE WHEN n % 2 = 0 THEN 'success' ELSE 'mic_failed' END, 'the MIC is wrong', n, "
            "1, '\\x000013', '\\x26000001', n FROM generate_series(1, 23) n")
        seen, cursor = [], ""
        while cursor is not None:
            page = self.get(self.owner, device, f"/joins?limit=3{cursor and '&cursor=' + cursor}")
            seen += [item["dev_nonce"] for item in page["items"]]
            cursor = page["next"]
        self.assertEqual(sorted(seen), list(range(1, 24)))
        self.assertEqual([n // 5 for n in seen], sorted(n // 5 for n in seen))

    def test_rejoin_pending_until_it_has_joined_under_its_present_owner(self):
        device = self.sold()
        self.assertTrue(self.get(self.owner, device)["rejoin_pending"])
        self.assertEqual(self.ask(device, 1), "Success")
        self.assertFalse(self.get(self.owner, device)["rejoin_pending"])
        self.update(device, "service = 'suspended'")
        self.sell(device)
        self.assertTrue(self.get(self.owner, device)["rejoin_pending"])
        self.assertEqual(self.get(self.owner, device, "/joins")["items"], [])
        self.assertEqual(self.ask(device, 2), "Success")
        self.assertFalse(self.get(self.owner, device)["rejoin_pending"])


class Preflight(DevicesTest):
    def missing(self, device, rest=None):
        answer = self.get(rest or self.owner, device, "/preflight")
        missing = [check["check"] for check in answer["checks"] if not check["ok"]]
        self.assertEqual(answer["ready"], not missing)
        for check in answer["checks"]:
            self.assertEqual(check["ok"], check["what_to_do"] is None)
        return missing

    def test_what_passes_joins_and_what_is_missing_is_named(self):
        for version in ("1.0.3", "1.0.4", "1.1"):
            device = self.sold(version)
            self.assertEqual(self.missing(device), [])
            self.assertEqual(self.ask(device, 1), "Success")
        device = self.devices("1.0.4", 1)[0]
        self.assertEqual(self.missing(device, self.maker),
                         ["claimed", "service", "home_network_named", "home_network_known", "network_server_kek",
                          "application_server_named", "application_server_known", "application_server_kek"])
        self.sell(device, home="000099", as_id="nobodys-as")
        self.assertEqual(self.missing(device), ["home_network_known", "network_server_kek", "application_server_known",
                                                "application_server_kek"])
        self.sell(device)
        self.update(device, "trust = 'quarantined', credential = 'delivered', join_eui = '\\x02cdcdffffffffff'")
        self.assertEqual(self.missing(device), ["credential", "trust", "join_eui_routed"])
        self.update(device, f"trust = 'ok', credential = 'activable', join_eui = '\\x{device['join_eui']}'")
        self.update(device, "join_nonce = 16777215, last_dev_nonce = 65535", "device_join")
        self.assertEqual(self.missing(device), ["dev_nonces_left", "join_nonces_left"])
        self.stack.psql(f"DELETE FROM device_key WHERE dev_eui = '\\x{device['dev_eui']}'")
        self.assertEqual(self.missing(device), ["root_keys", "dev_nonces_left", "join_nonces_left"])

    def test_all_random_dev_nonces_used_is_told(self):
        device = self.sold("1.0.3")
        self.stack.psql(
            "INSERT INTO dev_nonce_page (dev_eui, join_eui, nonce_epoch, page, newest, bits) "
            f"SELECT '\\x{device['dev_eui']}', '\\x{device['join_eui']}', 0, n, 0, decode(repeat('ff', 256), 'hex') "
            "FROM generate_series(0, 31) n")
        self.update(device, "has_pages = true", "device_join")
        self.assertEqual(self.missing(device), ["dev_nonces_left"])
        self.assertEqual(self.ask(device, 77), "JoinReqFailed")


class Command(DevicesTest):
    def cradle(self, client, *args):
        """As a client of ours."""
        folder = self.stack.path("run")
        secret, config = (os.path.join(folder, f"{name}-{client['client_id']}") for name in ("secret", "ini"))
        with open(secret, "w", encoding="ascii") as file:
            file.write(client["client_secret"])
        with open(config, "w", encoding="ascii") as file:
            file.write(f"[activation]\nurl = {self.stack.activation_url}\nclient_id = {client['client_id']}\n"
                       f"client_secret_file = {secret}\n")
        return subprocess.run([self.stack.program("cli/cradle"), "--config", config, *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, env=self.stack.environment())

    def said(self, *args, client=None):
        run = self.cradle(client or self.owner.client, *args)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return run.stdout

    def test_every_verb(self):
        devices = self.devices("1.0.3", 103)
        listed = [json.loads(line) for line in self.said("device", "list", client=self.maker.client).splitlines()]
        self.assertEqual([d["dev_eui"] for d in listed], [d["dev_eui"] for d in devices])
        batch = listed[0]["batch"]
        self.assertEqual(len(self.said("device", "list", "--batch", batch, client=self.maker.client).splitlines()), 103)
        device, eui = devices[0], devices[0]["dev_eui"]
        self.sell(device)
        self.assertEqual(json.loads(self.said("device", "show", eui.upper())), self.get(self.owner, device))
        self.assertIn("No attempt has come", self.said("device", "explain", eui))
        self.assertTrue(self.said("device", "preflight", eui).endswith(f"{eui}: ready to join\n"))
        self.assertEqual(self.ask(device, 1), "Success")
        self.assertEqual(self.ask(device, 1, dev_addr="26000009"), "JoinReqFailed")
        self.attempts(self.owner, device, 2)
        joins = [json.loads(line) for line in self.said("device", "joins", eui).splitlines()]
        self.assertEqual([join["outcome"] for join in joins], ["nonce_replayed", "success"])
        explained = self.said("device", "explain", eui)
        for words in ("joined, as DevAddr 01020304", "nonce_replayed", "what to do", joins[0]["explanation"]["do"]):
            self.assertIn(words, explained)
        self.assertNotIn("points", explained)
        self.stack.psql("INSERT INTO trust_signal (at, dev_eui, kind, from_value, to_value, ownership_epoch) SELECT now(), "
                        f"dev_eui, 'dev_nonce_jump', 1, 2000, ownership_epoch FROM device WHERE dev_eui = '\\x{eui}'")
        explained = self.said("device", "explain", eui)
        for words in ("Its trust is ok: what was seen of it weighs 6.0 points; at 30 it is suspect",
                      "dev_nonce_jump, 6.0 points by now", "guessed a MIC"):
            self.assertIn(words, explained)
        self.update(device, "service = 'suspended'")
        said = self.said("device", "preflight", eui)
        self.assertIn("MISSING  service\n         Resume", said)
        self.assertNotIn("\ntest ", said)
        self.maker.call("post", f"/v1/batches/{batch}/test-window", {"net_id": support.OTHER})
        self.assertIn(f"test     open\n         in network {support.OTHER}, 0 of 3 joins had, until 20",
                      self.said("device", "preflight", devices[1]["dev_eui"], client=self.maker.client))
        self.assertIn(": not ready, 1 of 15 are missing", said)

    def test_what_is_wrong_is_said(self):
        device = self.sold()
        for args in (("device", "show"), ("device", "list", "more"), ("device", "explain", "a", "b")):
            self.assertEqual(self.cradle(self.owner.client, *args).returncode, 2, args)
        for args in (("device", "show", "02cdcdfffffffffe"), ("device", "joins", "x"), ("device", "list", "--batch", "x&y")):
            run = self.cradle(self.owner.client, *args)
            self.assertEqual((run.returncode, run.stdout), (1, ""), args)
        run = self.cradle(self.stranger.client, "device", "explain", device["dev_eui"])
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertIn("not yours to see", run.stderr)


if __name__ == "__main__":
    unittest.main()
