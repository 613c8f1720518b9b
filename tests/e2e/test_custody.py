"""Custody statements: where a device's root keys came from and have been, signed, and good for a party that asks nobody."""

import base64
import json
import os
import secrets
import subprocess

import lorawan
import support
from test_accounts import Rest
from test_exports import Export, openssl
from test_jobs import CHUNK_ROWS

IN_CLEAR, WRAPPED, SEALED = "in clear", "wrapped under the maker's transport KEK", "sealed to the exchange key"
UNRECORDED = "not recorded"


def part(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Custody(Export):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.key = cls.write("audit.pem", cls.stack.activation("GET", "/v1/audit/key")[2])

    @classmethod
    def write(cls, name, data):
        path = cls.stack.path(name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def setUp(self):
        admin = self.administrator()
        made = admin.call("post", "/v1/organizations", {"name": f"maker {secrets.token_hex(6)}", "allow_clear_keys": True})[2]
        self.organization_id = made["id"]
        self.maker = Rest(self.stack, admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": ["product_maker"]})[2])
        self.owner_number, self.owner = self.organization("owner")
        _, self.stranger = self.organization("owner")

    def row(self, **members):
        return {"dev_eui": f"02cdcd0a{secrets.token_hex(4)}", "join_eui": support.DEMO_JOIN_EUI, "mac_version": "1.0.3", **members}

    def statement(self, rest, row):
        status, headers, answer = self.stack.activation(
            "GET", f"/v1/devices/{row['dev_eui']}/custody", None, {"Authorization": f"Bearer {rest.token}"})
        self.assertEqual((status, headers.get_content_type(), headers["Cache-Control"]), (200, "application/jose", "no-store"), answer)
        return answer.decode()

    def said(self, rest, row):
        """The document of a statement that openssl and the verb find good."""
        jws = self.statement(rest, row)
        header, document, signature = jws.split(".")
        self.assertEqual({n: v for n, v in json.loads(part(header)).items() if n != "iat"},
                         {"alg": "ES256", "typ": "cradle-custody-v1"})
        self.assertIn("Verified OK", self.by_openssl(f"{header}.{document}", part(signature)))
        run = self.verify(jws)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        when, told = run.stdout.splitlines()
        self.assertRegex(when, r"^signed at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(told, part(document).decode())
        return self.hold(json.loads(told))

    def hold(self, document):
        """What openapi.py would hold an answer to."""
        description = json.loads(self.stack.activation("GET", "/v1/openapi.json")[2])
        schema = description["components"]["schemas"]["Custody"]
        self.assertEqual(set(document), set(schema["required"]))
        for key in document["keys"]:
            self.assertEqual(set(key), set(schema["properties"]["keys"]["items"]["required"]))
        for event in document["events"]:
            self.assertEqual(set(event), set(schema["properties"]["events"]["items"]["required"]))
        return document

    def by_openssl(self, signed, signature):
        numbers = [f"n{i} = INTEGER:0x{half.hex()}" for i, half in enumerate((signature[:32], signature[32:]))]
        form = self.write("der.cnf", "\n".join(["asn1 = SEQUENCE:s", "[s]", *numbers, ""]).encode())
        der = self.stack.path("signature.der")
        openssl("asn1parse", "-genconf", form, "-noout", "-out", der)
        return subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.key, "-signature", der,
                               self.write("signed", signed.encode())], capture_output=True, text=True, check=False).stdout

    def verify(self, jws, key=None):
        return subprocess.run([self.stack.program("cli/cradle"), "custody", "verify", self.write("statement", jws.encode()),
                               "--key", key or self.key], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def sell(self, row):
        self.stack.psql(f"UPDATE device SET owner_id = {self.owner_number}, ownership = 'claimed', service = 'active', "
                        f"ownership_epoch = ownership_epoch + 1 WHERE dev_eui = '\\x{row['dev_eui']}'")

    def chained(self):
        support.wait_until(lambda: self.stack.psql("SELECT count(*) FROM audit_pending") == [["0"]],
                           support.READY_SECONDS, "what was done is chained")

    def test_it_tells_in_which_form_each_key_came(self):
        kek = secrets.token_bytes(32)
        keys = [secrets.token_bytes(16) for _ in range(4)]
        seal = lambda key: base64.b64encode(openssl("pkeyutl", "-encrypt", "-pubin", "-inkey", self.stack.demo["exchange_key"],
                                                    "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1", data=key)).decode()
        operator = Rest(self.stack, self.stack.demo["clients"]["operator"])
        self.assertEqual(operator.call("post", "/v1/keks", {"organization": self.organization_id, "label": "bench", "length": 32,
                                                            "sealed": seal(kek)})[0], 201)
        clear = self.row(app_key=keys[0].hex())
        wrapped = self.row(app_key_wrapped=lorawan.wrap(kek, keys[1]).hex())
        both = self.row(mac_version="1.1", app_key_sealed=seal(keys[2]), nwk_key_wrapped=lorawan.wrap(kek, keys[3]).hex())
        self.bring(self.maker, b"\n".join(json.dumps(row).encode() for row in (clear, wrapped, both)))
        self.chained()
        for row, came in ((clear, [("app_key", IN_CLEAR, None)]), (wrapped, [("app_key", WRAPPED, "bench")]),
                          (both, [("app_key", SEALED, None), ("nwk_key", WRAPPED, "bench")])):
            said = self.said(self.maker, row)
            self.assertEqual([(k["key"], k["came"], k["transport_kek"]) for k in said["keys"]], came)
            self.assertEqual((said["dev_eui"], said["join_eui"], said["mac_version"], said["import_format"], said["issued_to"]),
                             (row["dev_eui"], row["join_eui"], row["mac_version"], "jsonl", "maker"))
            self.assertEqual((said["exposed"], said["exposed_since"], said["more_events"]), (False, None, False))
            for key in said["keys"]:
                self.assertEqual(key["sealed"]["kek"], "store-device.1")
                self.assertRegex(key["fingerprint"], "^[0-9a-f]{32}$")
                self.assertEqual("was in clear in its maker's file" in key["before_adoption"], key["came"] == IN_CLEAR)
            seq, chain = self.stack.psql(
                "SELECT c.seq, encode(c.organization_chain, 'hex') FROM audit_chain c JOIN audit_event e ON e.id = c.event_id WHERE "
                f"e.action = 'import.chunk' AND e.organization_id = (SELECT organization_id FROM device WHERE dev_eui = '\\x{row['dev_eui']}')")[0]
            self.assertEqual([(e["action"], e["by"], e["seq"], e["organization_chain"]) for e in said["events"]],
                             [("import.chunk", "maker", int(seq), chain)])
            text = json.dumps(said)
            for secret in (*keys, kek):
                self.assertNotIn(secret.hex(), text)

    def test_an_export_exposes_for_ever_and_is_told_to_all_who_may_ask(self):
        row = self.row(app_key=secrets.token_hex(16))
        self.bring(self.maker, [row])
        self.sell(row)
        self.assertFalse(self.said(self.owner, row)["exposed"])
        self.ended(self.owner, self.begin(self.owner))
        self.chained()
        owners, makers = self.said(self.owner, row), self.said(self.maker, row)
        self.assertTrue(owners["exposed"])
        self.assertIsNotNone(owners["exposed_since"])
        self.assertEqual([(e["action"], e["by"], e["organization_chain"] is not None) for e in owners["events"]],
                         [("import.chunk", "maker", False), ("device.export", "owner", True)])
        self.assertEqual([(e["action"], e["organization_chain"] is not None) for e in makers["events"]],
                         [("import.chunk", True), ("device.export", False)])
        self.assertEqual((owners["issued_to"], makers["issued_to"], makers["exposed_since"]), ("owner", "maker", owners["exposed_since"]))
        # A former owner is a stranger, and stays in the history without a name.
        self.stack.psql(f"UPDATE device SET owner_id = NULL, ownership = 'unowned', service = 'inactive', "
                        f"ownership_epoch = ownership_epoch + 1 WHERE dev_eui = '\\x{row['dev_eui']}'")
        self.assertEqual([e["by"] for e in self.said(self.maker, row)["events"]], ["maker", "former owner"])
        self.assertEqual(self.owner.call("get", f"/v1/devices/{row['dev_eui']}/custody")[0], 404)

    def test_what_was_not_recorded_is_said_to_be_so(self):
        row = self.row(app_key=secrets.token_hex(16))
        self.bring(self.maker, [row])
        self.stack.psql(f"UPDATE device_key SET origin = NULL, fingerprint = NULL WHERE dev_eui = '\\x{row['dev_eui']}'")
        key = self.said(self.maker, row)["keys"][0]
        self.assertEqual((key["came"], key["before_adoption"], key["transport_kek"], key["fingerprint"]),
                         (UNRECORDED, UNRECORDED, None, UNRECORDED))

    def test_a_scrapped_device_has_no_keys_and_tells_when(self):
        row = self.row(app_key=secrets.token_hex(16))
        self.bring(self.maker, [row])
        self.assertEqual(self.maker.call("post", f"/v1/devices/{row['dev_eui']}/scrap", {"confirm": row["dev_eui"]})[0], 200)
        said = self.said(self.maker, row)
        self.assertEqual((said["credential"], said["keys"], [e["action"] for e in said["events"]]),
                         ("scrapped", [], ["import.chunk", "device.scrap"]))

    def test_the_event_is_that_of_the_devices_own_chunk_and_a_fingerprint_is_its_own(self):
        key = secrets.token_hex(16)
        rows = [self.row(app_key=secrets.token_hex(16)) for _ in range(2 * CHUNK_ROWS)] + [self.row(app_key=key)]
        rows[-2]["app_key"] = key
        self.bring(self.maker, rows)
        self.chained()
        chunks = [(int(after), int(line), int(seq)) for after, line, seq in self.stack.psql(
            "SELECT e.detail->>'after', e.detail->>'line', c.seq FROM audit_event e JOIN audit_chain c ON c.event_id = e.id "
            "WHERE e.action = 'import.chunk' AND e.organization_id = (SELECT organization_id FROM device "
            f"WHERE dev_eui = '\\x{rows[0]['dev_eui']}')")]
        self.assertGreater(len(chunks), 1)
        for at in (0, CHUNK_ROWS - 1, CHUNK_ROWS, 2 * CHUNK_ROWS):
            line = at + 2  # behind the header line
            self.assertEqual([e["seq"] for e in self.said(self.maker, rows[at])["events"]],
                             [seq for after, last, seq in chunks if after < line <= last])
        prints = [self.said(self.maker, row)["keys"][0]["fingerprint"] for row in (rows[-2], rows[-1], rows[-1])]
        self.assertEqual((len(set(prints)), prints[1]), (2, prints[2]), "the same key in two devices is told")
        self.assertEqual(self.stack.psql("SELECT count(*) FROM device_key WHERE encode(fingerprint, 'hex') IN ('%s', '%s')"
                                         % (prints[0], prints[1])), [["0"]], "as it stands in the database")

    def test_strangers_are_told_nothing(self):
        row = self.row(app_key=secrets.token_hex(16))
        self.bring(self.maker, [row])
        for of in (row, self.row()):
            status, _, problem = self.stranger.call("get", f"/v1/devices/{of['dev_eui']}/custody")
            self.assertEqual((status, problem["detail"]), (404, "there is no such device, or it is not yours to see"))

    def test_what_was_changed_or_signed_by_another_is_refused(self):
        row = self.row(app_key=secrets.token_hex(16))
        self.bring(self.maker, [row])
        jws = self.statement(self.maker, row)
        header, document, signature = jws.split(".")
        b64 = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
        lie = b64(part(document).replace(b'"exposed":false', b'"exposed":true '))
        later = b64(part(header).replace(b'"iat":1', b'"iat":2'))
        none = b64(b'{"alg":"none","typ":"cradle-custody-v1","iat":1}')
        for wrong in (f"{header}.{lie}.{signature}", f"{later}.{document}.{signature}", f"{none}.{document}.", f"{header}.{document}",
                      f"{header}.{document}.{signature[:-4]}AAAA", jws[1:], jws + "A", "", "x" * 40000):
            run = self.verify(wrong)
            self.assertEqual((run.returncode, run.stdout), (1, ""), wrong[:80])
        other = self.stack.path("other.pem")
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", other)
        self.assertEqual(self.verify(jws, self.write("other.pub", openssl("pkey", "-in", other, "-pubout"))).returncode, 1)
        self.assertEqual(self.verify(jws).returncode, 0)

    def test_the_command_fetches_it_into_a_file_and_never_over_another(self):
        row = self.row(app_key=secrets.token_hex(16))
        self.bring(self.maker, [row])
        path = self.stack.path("statement.jws")
        secret = self.write("maker.secret", self.maker.client["client_secret"].encode())
        os.chmod(secret, 0o600)
        config = self.write("maker.ini", f"[activation]\nurl = {self.stack.activation_url}\nclient_id = {self.maker.client['client_id']}\n"
                                         f"client_secret_file = {secret}\n".encode())
        command = [self.stack.program("cli/cradle"), "--config", config, "device", "custody", row["dev_eui"]]
        run = lambda *more: subprocess.run([*command, *more], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        shown = run()
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertEqual(self.verify(shown.stdout).returncode, 0)
        self.assertEqual((run("--out", path).returncode, os.path.exists(path)), (0, True))
        with open(path, encoding="ascii") as file:
            kept = file.read()
        self.assertEqual(self.verify(kept).returncode, 0)
        self.assertEqual(run("--out", path).returncode, 1)
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), kept)
