"""Classic Sigfox credentials as devices: everything but joins."""

import json
import os
import secrets
import stat
import subprocess
import unittest

import openapi
import support
from test_accounts import Rest
from test_claims import NEW_CODE
from test_exports import Export

HOME = {"home_net_id": support.HOME, "as_id": "demo-as"}
NO_JOINS = "does not join"


def credential():
    return {"id": f"1f{secrets.token_hex(3)}", "pac": secrets.token_hex(8), "nak": secrets.token_hex(16)}


def device_of(made):
    return f"sigfox:{made['id']}"


def lines_of(*made):
    return "".join(f"{one['id']};{one['pac'].upper()};{one['nak']}\n" for one in made).encode()


def id_key_of(key, *made):
    """As factory tools have it, by OpenSSL."""
    clear = b"".join(bytes.fromhex(one["id"])[::-1] + bytes(12) + bytes.fromhex(one["nak"]) for one in made)
    return subprocess.run(["openssl", "enc", "-aes-128-ecb", "-nopad", "-K", key], input=clear, capture_output=True,
                          check=True).stdout


def id_pac_of(*made):
    return "".join(f"{one['id'].upper()};{one['pac'].upper()};N/A\r\n" for one in made).encode()


class SigfoxTest(Export):
    def imported(self, maker, *made):
        status, rows = self.stack.import_file(lines_of(*made), "format=sigfox-csv", maker.token)
        self.assertEqual(status, 200, rows)
        self.assertEqual([(row["dev_eui"], row["outcome"]) for row in rows], [(device_of(one), "created") for one in made])
        self.assertEqual([row.get("warnings", []) for row in rows], [[] for _ in made])

    def made(self, maker, n=1):
        made = [credential() for _ in range(n)]
        self.imported(maker, *made)
        return made if n > 1 else made[0]

    def claim(self, owner, device, code, **more):
        return owner.call("post", "/v1/claims", {"dev_eui": device, "code": code, **more})

    def claimed(self, owner, made, **more):
        status, _, answer = self.claim(owner, device_of(made), made["pac"], **more)
        self.assertEqual((status, answer.get("outcome")), (200, "claimed"), answer)
        return answer

    def events(self, client, made):
        events = client.call("get", "/v1/audit?limit=1000")[2]["items"]
        return [event["action"] for event in events if event["object"] == device_of(made)]

    def refused_field(self, answer, field):
        status, _, problem = answer
        self.assertEqual((status, problem["field"]), (400, field), problem)
        return problem["detail"]


class Credentials(SigfoxTest):
    def test_a_credential_goes_from_its_maker_to_owners_and_its_history_is_found(self):
        (_, maker), (_, owner, auditor), (number, other) = (
            self.organization("maker"), self.organization("owner", "auditor"), self.organization("owner"))
        self.assertEqual(owner.call("post", "/v1/webhooks", {"url": "https://hook.example/x", "events": [
            "device.claimed", "device.quarantined"]})[0], 201)
        made, spare = self.made(maker, 2)
        device = device_of(made)
        code = self.claimed(owner, made)["code"]
        self.assertRegex(code, NEW_CODE)
        self.assertEqual(self.claim(other, device, made["pac"])[0], 403, "the PAC of the label is dead")
        view = owner.call("get", f"/v1/devices/{device}")[2]
        self.assertEqual([view[name] for name in ("dev_eui", "kind", "join_eui", "mac_version", "home_net_id", "rejoin_pending")],
                         [device, "sigfox", None, None, None, False])
        for spelled in (device.upper(), f"00000000{made['id'].upper()}", f"00-00-00-00-{made['id']}"):
            self.assertEqual(owner.call("get", f"/v1/devices/{spelled}")[2], view)
        self.assertEqual([d["dev_eui"] for d in owner.call("get", "/v1/devices")[2]["items"]], [device])
        for verb, service in (("suspend", "suspended"), ("resume", "active")):
            status, _, view = owner.call("post", f"/v1/devices/{device}/{verb}")
            self.assertEqual((status, view["service"]), (200, service))
        self.assertEqual(owner.call("post", f"/v1/devices/{device}/replace", {
            "by": device_of(spare), "code": spare["pac"]})[2]["replaces"], device)
        self.assertEqual(owner.call("get", f"/v1/devices/{device}")[2]["replaced_by"], device_of(spare))
        to = self.stack.psql(f"SELECT encode(public_id, 'hex') FROM organization WHERE id = {number}")[0][0]
        status, _, offer = owner.call("post", f"/v1/devices/{device_of(spare)}/offer", {"to": to})
        self.assertEqual((status, offer["dev_eui"]), (201, device_of(spare)))
        accept = f"/v1/offers/{offer['id']}/accept"
        self.refused_field(other.call("post", accept, HOME), "home_net_id")
        status, _, view = other.call("post", accept, {})
        self.assertEqual((status, view["service"], view["replaces"]), (200, "active", None))
        self.assertRegex(view["code"], NEW_CODE)
        self.assertEqual(owner.call("post", f"/v1/devices/{device}/quarantine")[0], 200)
        self.assertEqual(owner.call("post", f"/v1/devices/{device}/lift")[0], 200)
        self.assertEqual(owner.call("post", f"/v1/devices/{device}/scrap", {"confirm": device})[2]["credential"], "scrapped")
        self.assertEqual(self.events(auditor, made), ["device.claim", "device.suspend", "device.resume", "device.replace",
                                                      "device.quarantine", "device.lift", "device.scrap"])
        self.assertEqual(self.events(auditor, spare), ["device.claim", "device.take-place", "device.offer", "device.offer.accept"])
        told = [json.loads(row[0]) for row in self.stack.psql(
            f"SELECT body FROM webhook_delivery WHERE body LIKE '%{made['id']}%' ORDER BY id")]
        self.assertEqual([(t["type"], t["object"]["dev_eui"]) for t in told],
                         [("device.claimed", device), ("device.quarantined", device)])

    def test_a_home_network_is_refused_whatever_the_code(self):
        (_, maker), (_, owner) = self.organization("maker"), self.organization("owner")
        made = self.made(maker)
        for device, code in ((device_of(made), made["pac"]), (device_of(made), "0" * 16), (device_of(credential()), "0" * 16)):
            self.assertIn("no LoRaWAN network", self.refused_field(self.claim(owner, device, code, **HOME), "home_net_id"))
        listed = {"claims": [{"dev_eui": device_of(made), "code": made["pac"], **HOME}]}
        self.refused_field(owner.call("post", "/v1/claims", listed, Idempotency_Key=secrets.token_hex(8)), "claims[0].home_net_id")
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM claim_event WHERE dev_eui = '\\x00000000{made['id']}'"), [["0"]])
        self.claimed(owner, made)

    def test_a_join_request_that_names_one_is_of_an_unknown_device_and_leaves_nothing(self):
        (_, maker), (_, owner) = self.organization("maker"), self.organization("owner")
        made = self.made(maker)
        self.claimed(owner, made)
        for nonce, dev_eui in enumerate((f"00000000{made['id']}", "00000000" + "1e" * 4), 1):
            asked = {"dev_eui": dev_eui, "join_eui": support.DEMO_JOIN_EUI, "app_key": made["nak"], "nwk_key": None,
                     "mac_version": "1.0.4"}
            self.assertEqual(self.stack.join(asked, dev_nonce=nonce)["result_code"], "UnknownDevEUI")
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM join_event WHERE dev_eui = '\\x00000000{made['id']}'"), [["0"]])
        self.assertEqual(owner.call("get", f"/v1/devices/{device_of(made)}/joins")[2]["items"], [])
        status, _, preflight = owner.call("get", f"/v1/devices/{device_of(made)}/preflight")
        self.assertEqual((status, preflight["ready"], [check["check"] for check in preflight["checks"]]),
                         (200, True, ["credential", "claimed", "service", "trust", "subscription"]))
        self.assertIn(NO_JOINS, preflight["note"])

    def test_every_call_on_a_device_takes_its_id_or_says_why_not(self):
        (_, maker), (_, owner), (number, _) = self.organization("maker"), self.organization("owner"), self.organization("owner")
        to = self.stack.psql(f"SELECT encode(public_id, 'hex') FROM organization WHERE id = {number}")[0][0]
        made, by = self.made(maker, 2)
        self.claimed(owner, made)
        # In this order; the sentence of what is refused.
        calls = [
            ("get", "", None, 200), ("patch", "", {"name": "attic"}, 200), ("patch", "", HOME, NO_JOINS),
            ("patch", "", {"home_net_id": None, "as_id": None}, 200), ("get", "/joins", None, 200),
            ("get", "/custody", None, 200), ("get", "/preflight", None, 200), ("get", "/signals", None, 200),
            ("post", "/suspend", None, 200), ("post", "/resume", None, 200), ("post", "/rotate-code", None, 200),
            ("post", "/reset-nonces", None, NO_JOINS), ("post", "/unlock-code", None, "nobody owns"),
            ("post", "/subscription", {"subscription_id": "0" * 32}, "subscription_id"),
            ("delete", "/subscription", None, "no subscription"),
            ("post", "/quarantine", None, 200), ("post", "/lift", None, 200),
            ("post", "/replace", {"by": "02cdcd0911111111", "code": "A"}, "another kind"),
            ("post", "/replace", {"by": device_of(by), "code": by["pac"]}, 200),
            ("post", "/offer", {"to": to}, 201), ("post", "/release", None, "offered"),
            ("post", "/scrap", {"confirm": device_of(made)}, "offered"),
        ]
        walked = set()
        for method, below, body, expected in calls:
            status, _, answer = owner.call(method, f"/v1/devices/{device_of(made)}{below}", body)
            if isinstance(expected, int):
                self.assertEqual(status, expected, (method, below, answer))
            else:
                self.assertIn(status, (400, 404, 409), (method, below, answer))
                self.assertIn(expected, json.dumps(answer), (method, below))
            walked.add((method, f"/v1/devices/{{dev_eui}}{below}"))
        known = {(method, path) for path, of in openapi.description.paths.items() if path.startswith("/v1/devices/{dev_eui}")
                 for method in of}
        self.assertEqual(walked, known)

    def test_the_command_names_and_explains_it(self):
        (_, maker), (_, owner) = self.organization("maker"), self.organization("owner")
        made = self.made(maker)
        self.claimed(owner, made)
        config, secret, listed = (self.stack.path(name) for name in ("owner.conf", "owner.secret", "listed"))
        for path, text in ((secret, owner.client["client_secret"]), (listed, device_of(made).upper()), (config, (
                f"[activation]\nurl = {self.stack.activation_url}\nclient_id = {owner.client['client_id']}\n"
                f"client_secret_file = {secret}\n"))):
            with open(path, "w", encoding="ascii") as file:
                file.write(text + "\n")

        def said(*arguments):
            run = subprocess.run([self.stack.program("cli/cradle"), "--config", config, "device", *arguments],
                                 capture_output=True, text=True, check=False)
            self.assertEqual((run.returncode, run.stderr), (0, ""))
            return run.stdout

        self.assertEqual(json.loads(said("show", device_of(made)))["kind"], "sigfox")
        self.assertIn(NO_JOINS, said("explain", device_of(made)))
        preflight = said("preflight", device_of(made))
        self.assertIn(NO_JOINS, preflight)
        self.assertTrue(preflight.endswith(f"{device_of(made)}: ready to be used\n"), preflight)
        self.assertIn(f"{device_of(made)}", said("move", "suspend", "--file", listed))

    def test_many_are_moved_by_one_call_and_what_is_of_joins_is_refused_for_its_kind(self):
        (_, maker), (_, owner) = self.organization("maker"), self.organization("owner")
        made = self.made(maker, 3)
        for one in made:
            self.claimed(owner, one)
        devices = [device_of(one).upper() for one in made]
        for body, outcomes in (({"move": "suspend"}, {"moved"}), ({"move": "resume"}, {"moved"}),
                               ({"move": "reset-nonces"}, {"kind"}), ({"move": "bind", **HOME}, {"kind"}),
                               ({"move": "rotate-code"}, {"moved"})):
            status, headers, job = owner.call("post", "/v1/devices/moves", {"devices": devices, **body},
                                              Idempotency_Key=secrets.token_hex(8))
            self.assertEqual(status, 202, job)
            self.ended(owner, headers["Location"])
            rows = self.report(owner, headers["Location"])
            self.assertEqual([row["dev_eui"] for row in rows], [device_of(one) for one in made])
            self.assertEqual({row.get("reason", row["outcome"]) for row in rows}, outcomes)

    def test_a_test_window_is_refused(self):
        _, maker = self.organization("maker")
        made = self.made(maker)
        batch = maker.call("get", f"/v1/devices/{device_of(made)}")[2]["batch"]
        window = {"net_id": support.HOME, "as_id": "demo-as"}
        status, _, problem = maker.call("post", f"/v1/batches/{batch}/test-window", window)
        self.assertEqual(status, 409)
        self.assertIn("do not join", problem["detail"])
        listed = maker.call("post", f"/v1/batches/{batch}/test-window", {**window, "devices": [device_of(made)]})
        self.assertIn(NO_JOINS, self.refused_field(listed, "devices"))

    def test_a_rule_claims_them_and_gives_them_no_network(self):
        (_, maker), (number, owner) = self.organization("maker"), self.organization("owner")
        made = self.made(maker)
        to = self.stack.psql(f"SELECT encode(public_id, 'hex') FROM organization WHERE id = {number}")[0][0]
        batch = maker.call("get", f"/v1/devices/{device_of(made)}")[2]["batch"]
        status, _, rule = maker.call("post", "/v1/claim-rules", {
            "batch": batch, "to": to, "max_devices": 5, "allow": [device_of(made)], **HOME})
        self.assertEqual(status, 201, rule)
        self.assertEqual(owner.call("post", f"/v1/claim-rules/{rule['id']}/accept", HOME)[0], 200)
        view = support.wait_until(
            lambda: next((d for d in owner.call("get", "/v1/devices")[2]["items"]), None), 30, "the rule has claimed")
        self.assertEqual((view["dev_eui"], view["home_net_id"], view["as_id"], view["service"]), (device_of(made), None, None, "active"))
        self.assertEqual(owner.call("get", f"/v1/claim-rules/{rule['id']}")[2]["ranges"],
                         [{"first": device_of(made), "last": device_of(made)}])


class Files(SigfoxTest):
    def test_rows_are_refused_by_the_linter_s_own_words(self):
        (_, maker), (_, other) = self.organization("maker"), self.organization("maker")
        good, taken = credential(), self.made(other)
        lines = [f"{good['id']};{good['pac']};{good['nak']}", f"{good['id'][:7]};{good['pac']};{good['nak']}",
                 f"{good['id']};{good['pac'][:15]};{good['nak']}", f"{good['id']};{good['pac']};{good['nak'][:31]}",
                 f"{good['id']};{good['pac']}", f"00000000;{good['pac']};{good['nak']}",
                 f"{credential()['id']};{good['pac']};{'00' * 16}", f"{taken['id']};{good['pac']};{secrets.token_hex(16)}",
                 f"{good['id']};{good['pac']};{good['nak']}"]
        status, rows = self.stack.import_file(b"\xef\xbb\xbf# list\r\n" + "\r\n".join(lines).encode(), "format=sigfox-csv", maker.token)
        self.assertEqual(status, 200, rows)
        self.assertEqual([row.get("reason", row["outcome"]) for row in rows],
                         ["created", "bad-sigfox-id", "bad-pac", "bad-app-key", "field-count", "zero-dev-eui", "zero-key",
                          "dev-eui-taken", "dev-eui-exists"])
        self.assertEqual([warning["type"] for warning in rows[0]["warnings"]], ["byte-order-mark"])

    def test_keys_in_clear_are_for_those_who_may(self):
        admin = self.administrator()
        own = admin.call("post", "/v1/organizations", {"name": f"org {secrets.token_hex(6)}"})[2]
        strict = Rest(self.stack, admin.call("post", f"/v1/organizations/{own['id']}/clients", {"roles": ["maker"]})[2])
        rows = self.stack.import_file(lines_of(credential()), "format=sigfox-csv", strict.token)[1]
        self.assertEqual([row["reason"] for row in rows], ["clear-key"])

    def test_a_dev_eui_that_begins_with_zeros_is_refused_and_a_row_may_say_that_it_is_sigfox(self):
        _, maker = self.organization("maker")
        made = credential()
        lorawan = {"dev_eui": f"00000000{made['id']}", "join_eui": support.DEMO_JOIN_EUI, "mac_version": "1.0.4",
                   "app_key": secrets.token_hex(16)}
        sigfox = {"dev_eui": device_of(made), "app_key": made["nak"], "code": made["pac"], "serial": "SN 1"}
        rows = self.stack.import_file("".join(json.dumps(row) + "\n" for row in (
            lorawan, {**lorawan, "dev_eui": device_of(made)}, sigfox)), "format=jsonl&mac_version=1.0.4", maker.token)[1]
        self.assertEqual([row.get("reason", row["outcome"]) for row in rows], ["dev-eui-reserved", "lorawan-field", "created"])
        status, problem = self.stack.import_file(lines_of(made), f"format=sigfox-csv&home_net_id={support.HOME}&as_id=demo-as", maker.token)
        self.assertEqual(status, 400)
        self.assertIn("join nowhere", problem["detail"])

    def test_an_export_has_the_nak_for_another_cradle_and_no_place_in_the_files_of_others(self):
        _, maker = self.organization("maker")
        made = self.made(maker)
        path = self.begin(maker)
        self.ended(maker, path)
        (line,) = self.devices(maker, path)
        self.assertEqual((line["dev_eui"], self.opened(line["app_key_sealed"])), (device_of(made), made["nak"]))
        self.assertEqual(set(line), {"dev_eui", "app_key_sealed", "state"})
        for form in ("tts-csv", "thingpark-csv"):
            path = self.begin(maker, format=form, public_key=None, **({"model": "a"} if form == "thingpark-csv" else {}))
            self.ended(maker, path)
            self.assertNotIn(made["id"].encode(), self.result(maker, path)[1])
            self.assertEqual([(row["dev_eui"], row["reason"]) for row in self.report(maker, path)], [(device_of(made), "not-lorawan")])
        # Sealed to the exchange key, it is a file that comes in again as it is.
        exchange = self.stack.activation("GET", "/v1/exchange-key")[2].decode()
        path = self.begin(maker, public_key=exchange)
        self.ended(maker, path)
        self.stack.psql("; ".join(f"DELETE FROM {table} WHERE dev_eui = '\\x00000000{made['id']}'" for table in (
            "claim_code", "device_key", "device_join")))
        status, rows = self.stack.import_file(self.result(maker, path)[1], "format=jsonl&dry_run=true", maker.token)
        self.assertEqual((status, rows[0]["reason"]), (200, "dev-eui-exists"), rows)

    def test_the_files_of_a_factory_become_one_to_import(self):
        _, maker = self.organization("maker")
        made = [credential() for _ in range(5)]
        key, folder = secrets.token_hex(16), self.stack.path("factory")
        os.makedirs(folder, exist_ok=True)
        paths = {name: os.path.join(folder, name) for name in ("file.key", "id_key.bin", "id_pac.txt", "out.csv")}

        def decrypt(id_key, id_pac, *more, with_key=key):
            for name, data in (("file.key", with_key.encode() + b"\n"), ("id_key.bin", id_key), ("id_pac.txt", id_pac)):
                with open(paths[name], "wb") as file:
                    file.write(data)
            return subprocess.run([self.stack.program("cli/cradle"), "sigfox", "decrypt", "--key-file", paths["file.key"],
                                   "--id-key", paths["id_key.bin"], "--id-pac", paths["id_pac.txt"], *more],
                                  capture_output=True, text=True, check=False)

        id_key, id_pac = id_key_of(key, *made), id_pac_of(*reversed(made))
        run = decrypt(id_key, id_pac)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(run.stdout.lower(), lines_of(*reversed(made)).decode().lower())
        status, rows = self.stack.import_file(run.stdout, "format=sigfox-csv", maker.token)
        self.assertEqual((status, {row["outcome"] for row in rows}, len(rows)), (200, {"created"}, 5), rows)
        self.assertEqual(decrypt(id_key, id_pac, "--out", paths["out.csv"]).returncode, 0)
        self.assertEqual(stat.S_IMODE(os.stat(paths["out.csv"]).st_mode), 0o600)
        with open(paths["out.csv"], encoding="ascii") as file:
            self.assertEqual(file.read(), run.stdout)
        for arguments, said in (
                ((id_key, id_pac, "--out", paths["out.csv"]), "cannot make"),
                ((id_key[:-1], id_pac), "cut off: 31 bytes stand behind its record 4"),
                ((id_key + id_key[:32], id_pac), f"id {made[0]['id']} is in records 1 and 6 of the key file"),
                ((id_key, id_pac + id_pac_of(made[4])), f"id {made[4]['id']} is in lines 1 and 6 of the PAC file"),
                ((id_key[32:], id_pac), f"id {made[0]['id']} is in line 5 of the PAC file, and not in the key file"),
                ((id_key, id_pac_of(*made[1:])), f"id {made[0]['id']} is in record 1 of the key file, and not in the PAC file"),
                ((id_key, id_pac + b"12345;x\n"), "line 6 of the PAC file"), ((b"", id_pac), "the key file is empty"),
                ((id_key_of(secrets.token_hex(16), *made), id_pac), "the key is probably not this file's: 5 of 5"),
                ((id_key[:64] + id_key_of(secrets.token_hex(16), made[2]) + id_key[96:], id_pac), "record 3 of the key file")):
            run = decrypt(*arguments)
            self.assertEqual((run.returncode, run.stdout), (1, ""), run.stderr)
            self.assertIn(said, run.stderr)
            for one in made:
                self.assertNotIn(one["nak"], run.stderr)
        self.assertEqual(decrypt(id_key, id_pac, with_key="xyz").returncode, 1)


if __name__ == "__main__":
    unittest.main()
