"""Orders that are made: their job, which any service goes on with, their files, and who has had them."""

import base64
import contextlib
import csv
import io
import json
import os
import re
import secrets
import signal
import subprocess
import unittest

import npm
import openapi
import support
from test_accounts import Rest

JOSE = "jose@4.15.9"
NODE_SECONDS = 60
JOB_SECONDS = 60
HOUSEKEEPING_SECONDS = 120  # twice the time between two rounds of it
CHUNK = 256
SLOW_CHUNK = 32  # devices of a chunk while devices may be joining, as they have in the demo
ENDED = ("done", "failed", "cancelled")


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


class Orders(unittest.TestCase):
    """A maker's."""

    stack = None
    longMessage = True

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("orders")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.begin()

    @classmethod
    def begin(cls):
        cls.key = cls.stack.path("maker.pem")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", cls.key)
        cls.public = openssl("pkey", "-in", cls.key, "-pubout").decode()
        cls.audit_key = cls.stack.path("audit.pem")
        cls.write(cls.audit_key, cls.stack.activation("GET", "/v1/audit/key")[2])
        cls.maker = Rest(cls.stack, cls.stack.demo["clients"]["maker"])
        cls.admin = Rest(cls.stack, cls.stack.demo["clients"]["admin"])
        ((cls.organization,),) = cls.stack.psql("SELECT encode(o.public_id, 'hex') FROM organization o JOIN client c ON"
                                                " c.organization_id = o.id WHERE c.id = "
                                                f"'\\x{cls.stack.demo['clients']['maker']['client_id']}'")
        cls.certificate = cls.admin.call("post", "/v1/certificates", {
            "organization": cls.organization, "kind": "module", "name": "Module"})[2]["number"]
        cls.settle(allow_legacy_delivery=True)

    @classmethod
    def settle(cls, **settings):
        status, _, answer = cls.admin.call("patch", f"/v1/organizations/{cls.organization}", settings)
        if status != 200:
            raise AssertionError(answer)

    @staticmethod
    def write(path, data):
        with open(path, "wb") as file:
            file.write(data)

    @staticmethod
    def identifiers():
        """A run of DevEUIs that nothing else has."""
        return (0x02cdcd30 << 32) + (secrets.randbits(20) << 12)

    def order(self, n, version="1.0.4", delivery="jwe", code_length=16, first=None):
        """(batch, job) of an order that has begun."""
        first = self.identifiers() if first is None else first
        self.settle(claim_code_length=code_length)
        status, _, block = self.admin.call("post", "/v1/eui-blocks", {
            "organization": self.organization, "kind": "lorawan", "first": f"{first:016x}", "size": n})
        self.assertEqual(status, 201, block)
        status, _, made = self.maker.call("post", "/v1/batches", {
            "count": n, "kind": "lorawan", "certificate": self.certificate, "join_eui": support.DEMO_JOIN_EUI,
            "mac_version": version, "public_key": self.public, "delivery": delivery, "block": block["id"]})
        self.assertEqual(status, 201, made)
        return made["id"], made["job"]

    def order_that_waits(self, n):
        """The same, as the call writes it, but that nobody takes its job yet."""
        first = self.identifiers()
        client = self.stack.demo["clients"]["maker"]["client_id"]
        number = f"M_{secrets.token_hex(2).upper()}_{secrets.token_hex(2).upper()}_01"
        return self.stack.psql(
            f"WITH c AS (SELECT * FROM client WHERE id = '\\x{client}'),"
            " m AS (INSERT INTO certificate (number, kind, organization_id, name)"
            f"  SELECT '{number}', 'module', organization_id, 'Module' FROM c RETURNING id),"
            " b AS (INSERT INTO batch (organization_id, format) SELECT organization_id, 'order' FROM c"
            "  RETURNING id, public_id),"
            " e AS (INSERT INTO eui_block (organization_id, kind, first, last, size, n_given, span)"
            f"  SELECT organization_id, 'lorawan', '\\x{first:016x}', '\\x{first + n - 1:016x}', {n}, {n},"
            f"   numrange({first}, {first + n}) FROM c"
            "  RETURNING id),"
            " o AS (INSERT INTO batch_order (batch_id, module_id, device_kind, n, block_id, first, join_eui, mac_version,"
            "   delivery, public_key, key_digest, code_length, state, asked_by, request_id)"
            f"  SELECT b.id, m.id, 'lorawan', {n}, e.id, '\\x{first:016x}', '\\x{support.DEMO_JOIN_EUI}', '1.0.4',"
            f"   'jwe', '{self.public}', sha256('PEM'), 16, 'approved', c.id, 'order-1' FROM b, m, e, c"
            "  RETURNING batch_id)"
            " INSERT INTO job (organization_id, client_id, kind, state, fingerprint, batch_id, n_rows, lease_until)"
            f" SELECT c.organization_id, c.id, 'order', 'waiting', sha256(''), b.id, {n}, now() + interval '1 hour' FROM c, b, o"
            " RETURNING (SELECT encode(public_id, 'hex') FROM b), encode(public_id, 'hex')")[0]

    def state_of(self, job):
        """[state, line, created, refused, fault]"""
        return self.stack.psql("SELECT state, line, n_created, n_refused, coalesce(fault, '') FROM job"
                               f" WHERE public_id = '\\x{job}'")[0]

    def ended(self, job):
        support.wait_until(lambda: self.state_of(job)[0] in ENDED, JOB_SECONDS, f"job {job} has ended")
        return self.state_of(job)

    def ready(self, n, **options):
        """The batch of an order that is ready."""
        batch, job = self.order(n, **options)
        self.assertEqual(self.ended(job), ["done", str(n), str(n), "0", ""])
        return batch

    def file(self, batch, name, rest=None):
        """(status, type, bytes)"""
        status, headers, body = self.stack.activation(
            "GET", f"/v1/batches/{batch}/files/{name}", None, {"Authorization": f"Bearer {(rest or self.maker).token}"})
        return status, headers.get_content_type(), body

    def taken(self, batch, name):
        status, _, body = self.file(batch, name)
        self.assertEqual(status, 200, body)
        return body

    def fetched(self, batch):
        """The path of its delivery.jwe."""
        path = self.stack.path(f"{batch}.jwe")
        self.write(path, self.taken(batch, "delivery.jwe"))
        return path

    def open(self, path, *options, audit_key=None, key=None):
        return self.stack.cradle("delivery", "open", path, "--key", key or self.key, "--audit-key",
                                 audit_key or self.audit_key, *options)

    def opened(self, path, *options):
        """Its devices, as `cradle delivery open` has them."""
        run = self.open(path, *options)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return [json.loads(line) for line in run.stdout.splitlines()]

    def whole(self, batch, n):
        """What is there of an order that is ready: each device once, and all of them in its file."""
        devices = self.opened(self.fetched(batch))
        self.assertEqual([d["line"] for d in devices], list(range(1, n + 1)))
        for name, wanted in (("app_key", n), ("code", n), ("dev_eui", n)):
            self.assertEqual(len({d[name] for d in devices}), wanted, name)
        ((n_devices, n_keys, n_codes),) = self.stack.psql(
            "SELECT count(DISTINCT d.dev_eui), count(k.dev_eui), count(c.dev_eui) FROM device d JOIN batch b ON b.id = d.batch_id"
            " LEFT JOIN device_key k ON k.dev_eui = d.dev_eui AND k.origin = 'made' AND k.slot = 1"
            f" LEFT JOIN claim_code c ON c.dev_eui = d.dev_eui AND c.origin = 'made' WHERE b.public_id = '\\x{batch}'")
        self.assertEqual((n_devices, n_keys, n_codes), (str(n),) * 3)
        return devices

    def joins(self, device):
        """It does, once it is built and claimed with its code."""
        self.stack.psql(f"UPDATE device SET credential = 'activable' WHERE dev_eui = '\\x{device['dev_eui']}'")
        owner = Rest(self.stack, self.stack.demo["clients"]["owner"])
        status, _, answer = owner.call("post", "/v1/claims", {
            "dev_eui": device["dev_eui"], "code": device["code"], "home_net_id": support.HOME, "as_id": "demo-as"})
        self.assertEqual(status, 200, answer)
        said = self.stack.join({**device, "dev_nonce": support.FIRST_DEV_NONCE[device["mac_version"]]})
        self.assertEqual(said.get("result_code"), "Success", said)


class Deliveries(Orders):
    def by_jose(self, path):
        package, missing = npm.install(self.stack.path(f"jose-{secrets.token_hex(4)}"), JOSE)
        if missing:
            self.skipTest(missing)
        run = subprocess.run(
            ["node", os.path.join(os.path.dirname(os.path.abspath(__file__)), "read_delivery.js"), package, path, self.key,
             self.audit_key], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=NODE_SECONDS)
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout)

    def test_a_strange_party_opens_what_the_verb_opens_and_its_devices_join(self):
        for version, n, code_length in (("1.0.4", 2 * SLOW_CHUNK + 3, 16), ("1.1", 5, 26)):
            with self.subTest(version=version):
                path = self.fetched(self.ready(n, version=version, code_length=code_length))
                ours, theirs = self.opened(path), self.by_jose(path)
                self.assertEqual(ours, theirs["devices"])
                self.assertEqual((theirs["manifest"]["digest"], theirs["manifest"]["count"]), (theirs["digest"], n))
                self.assertEqual({len(d["code"]) for d in ours}, {code_length})
                self.assertEqual(self.opened(path, "--line", str(n)), ours[-1:])
                self.joins(ours[-1])

    def test_what_was_changed_or_signed_by_another_is_not_opened(self):
        path = self.fetched(self.ready(2))
        with open(path, "rb") as file:
            whole = file.read()
        other = self.stack.path("other.pem")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072", "-out", other)
        signer = self.stack.path("signer.pem")
        self.write(signer, openssl("pkey", "-pubout", data=openssl(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")))
        self.assertNotEqual(self.open(path, audit_key=signer).returncode, 0)
        self.assertNotEqual(self.open(path, key=other).returncode, 0)
        self.assertNotEqual(self.open(path, "--line", "3").returncode, 0)
        changed = self.stack.path("changed.jwe")
        for data in (whole[:-1], whole[:len(whole) // 2] + b"A" + whole[len(whole) // 2:], whole[:2000]):
            self.write(changed, data)
            run = self.open(changed)
            self.assertNotEqual(run.returncode, 0)
            self.assertEqual(run.stdout, "")

    def test_a_legacy_delivery_is_what_openssl_reads(self):
        for version in ("1.0.2", "1.0.3"):
            with self.subTest(version=version):
                n = SLOW_CHUNK + 1
                batch = self.ready(n, version=version, delivery="legacy")
                file_key = openssl("pkeyutl", "-decrypt", "-inkey", self.key, "-pkeyopt", "rsa_padding_mode:oaep",
                                   data=base64.b64decode(self.taken(batch, "id_key.key")))
                records = openssl("enc", "-d", "-aes-128-ecb", "-nopad", "-K", file_key.hex(),
                                  data=self.taken(batch, "id_key.bin"))
                lines = self.taken(batch, "id_pac.txt").decode().splitlines()
                self.assertEqual((len(records), len(lines)), (48 * n, n))
                record, (dev_eui, code, third) = records[-48:], lines[-1].split(";")
                self.assertEqual((record[:8][::-1].hex().upper(), third), (dev_eui, "N/A"))
                self.assertEqual(record[8:16][::-1].hex(), support.DEMO_JOIN_EUI)
                self.assertEqual(record[32:], bytes(16))
                self.joins({"dev_eui": dev_eui.lower(), "join_eui": support.DEMO_JOIN_EUI, "mac_version": version,
                            "app_key": record[16:32].hex(), "nwk_key": None, "code": code})
                items = self.maker.call("get", f"/v1/batches/{batch}/files")[2]["items"]
                self.assertEqual([item["name"] for item in items if item["warning"]], ["id_key.bin"])
                self.assertEqual(self.file(batch, "delivery.jwe")[0], 404)

    def sigfox_order(self, n, delivery):
        """(the first id, the batch) of one that is ready."""
        first = 0xb0000000 | secrets.randbits(20) << 8  # no other test has ids there
        status, _, block = self.admin.call("post", "/v1/eui-blocks", {
            "organization": self.organization, "kind": "sigfox", "first": f"{first:08x}", "size": n})
        self.assertEqual(status, 201, block)
        status, _, made = self.maker.call("post", "/v1/batches", {
            "count": n, "kind": "sigfox", "certificate": self.certificate, "public_key": self.public, "delivery": delivery,
            "block": block["id"]})
        self.assertEqual(status, 201, made)
        self.assertEqual(self.ended(made["job"]), ["done", str(n), str(n), "0", ""])
        return first, made["id"]

    def built_and_claimed(self, batch, product):
        """The first of the list is, by its PAC, which is worthless afterwards."""
        line = self.taken(batch, "id_pac.txt").decode().splitlines()[0]
        status, _, answer = self.stack.activation("POST", f"/v1/certificates/{product}/id-pac", (line + "\n").encode(), {
            "Authorization": f"Bearer {self.maker.token}", "Content-Type": "text/plain"})
        self.assertEqual((status, json.loads(answer)["outcome"]), (200, "activable"), answer)
        dev_eui, code, _ = line.split(";")
        owner, other = (Rest(self.stack, self.stack.demo["clients"][name]) for name in ("owner", "other_owner"))
        claim = {"dev_eui": f"sigfox:{dev_eui}", "code": code}
        self.assertEqual(owner.call("post", "/v1/claims", claim)[0], 200)
        self.assertEqual(other.call("post", "/v1/claims", claim)[0], 403)

    def test_sigfox_credentials_are_delivered_both_ways_and_claimed_by_their_pac(self):
        n = SLOW_CHUNK + 1
        product = self.admin.call("post", "/v1/certificates", {
            "organization": self.organization, "kind": "product", "name": "Product", "module": self.certificate})[2]["number"]
        first, batch = self.sigfox_order(n, "jwe")
        path = self.fetched(batch)
        devices = self.opened(path)
        self.assertEqual(self.by_jose(path)["devices"], devices)
        self.assertEqual([d["dev_eui"] for d in devices], [f"sigfox:{first + i:08x}" for i in range(n)])
        self.assertEqual({tuple(sorted(d)) for d in devices}, {("code", "dev_eui", "line", "nak")})
        self.assertEqual(self.taken(batch, "id_pac.txt").decode().splitlines(),
                         [f"{first + i:08X};{d['code']};N/A" for i, d in enumerate(devices)])
        self.assertTrue(all(row["qr"].startswith("SIGFOX:")
                            for row in csv.DictReader(io.StringIO(self.taken(batch, "labels.csv").decode()))))
        self.built_and_claimed(batch, product)

        first, batch = self.sigfox_order(n, "legacy")
        file_key = openssl("pkeyutl", "-decrypt", "-inkey", self.key, "-pkeyopt", "rsa_padding_mode:oaep",
                           data=base64.b64decode(self.taken(batch, "id_key.key")))
        records = openssl("enc", "-d", "-aes-128-ecb", "-nopad", "-K", file_key.hex(), data=self.taken(batch, "id_key.bin"))
        self.assertEqual([(records[at:at + 4][::-1].hex(), records[at + 4:at + 16]) for at in range(0, len(records), 32)],
                         [(f"{first + i:08x}", bytes(12)) for i in range(n)])
        self.assertEqual(len({records[at + 16:at + 32] for at in range(0, len(records), 32)}), n)
        for name, data in (("id_key.bin", None), ("id_pac.txt", None), ("file.key", file_key.hex().encode())):
            self.write(self.stack.path(name), self.taken(batch, name) if data is None else data)
        run = self.stack.cradle("sigfox", "decrypt", "--key-file", self.stack.path("file.key"), "--id-key",
                                self.stack.path("id_key.bin"), "--id-pac", self.stack.path("id_pac.txt"))
        self.assertEqual((run.returncode, len(run.stdout.splitlines())), (0, n), run.stderr)
        self.built_and_claimed(batch, product)

    def test_the_list_of_codes_is_that_of_the_delivery(self):
        batch = self.ready(SLOW_CHUNK + 1)
        wanted = [f"{d['dev_eui'].upper()};{d['code']};N/A" for d in self.opened(self.fetched(batch))]
        self.assertEqual(self.taken(batch, "id_pac.txt").decode().splitlines(), wanted)

    def test_labels_are_those_of_the_delivery(self):
        n = SLOW_CHUNK + 2
        batch = self.ready(n)
        devices = self.opened(self.fetched(batch))
        rows = list(csv.DictReader(io.StringIO(self.taken(batch, "labels.csv").decode())))
        self.assertEqual([(row["dev_eui"].lower(), row["code"]) for row in rows], [(d["dev_eui"], d["code"]) for d in devices])
        self.assertTrue(all(row["qr"].startswith("LW:D0:") for row in rows))
        for path, line, wanted in (("labels.svg", "line", 1), ("sheet.svg", "from", 3)):
            image = self.taken(batch, f"{path}?{line}={n - wanted + 1}").decode()
            words = re.sub(r"<[^>]*>|\s", "", image)  # in groups, perhaps one beneath the other
            for device in devices[-wanted:]:
                self.assertIn(device["dev_eui"].upper(), words)
                self.assertIn(device["code"], words)
            self.assertNotIn(devices[-wanted - 1]["dev_eui"].upper(), words)
            self.assertEqual(self.file(batch, f"{path}?{line}={n + 1}")[0], 404)
            self.assertEqual(self.file(batch, f"{path}?{line}=0")[0], 400)
        self.assertEqual(self.file(batch, "sheet.svg?layout=none")[0], 400)
        self.assertEqual(self.file(batch, "labels.csv?line=1")[0], 400)

    def test_who_takes_what_is_counted_and_the_second_time_is_told(self):
        hook = self.maker.call("post", "/v1/webhooks", {
            "url": "https://receiver.example/", "events": ["batch.done", "delivery.repeated"]})[2]
        batch = self.ready(1)

        def told():
            return [json.loads(body) for body, in self.stack.psql(
                "SELECT body FROM webhook_delivery d JOIN webhook w ON w.id = d.webhook_id"
                f" WHERE w.public_id = '\\x{hook['id']}' ORDER BY d.id")]

        self.taken(batch, "delivery.jwe")
        self.taken(batch, "id_pac.txt")
        (done,) = told()
        self.assertEqual((done["type"], done["object"]["batch"], done["object"]["created"]), ("batch.done", batch, 1))
        self.taken(batch, "delivery.jwe")
        _, said = told()
        self.assertEqual((said["type"], said["object"]["file"], said["object"]["times"], said["object"]["batch"]),
                         ("delivery.repeated", "delivery.jwe", 2, batch))
        items = self.maker.call("get", f"/v1/batches/{batch}/files")[2]["items"]
        self.assertEqual([(item["name"], item["times"]) for item in items],
                         [("delivery.jwe", 2), ("id_pac.txt", 1), ("labels.csv", 0), ("labels.svg", 0), ("sheet.svg", 0)])
        self.assertEqual(self.stack.psql("SELECT detail->>'file', detail->>'times' FROM audit_event WHERE action ="
                                         f" 'delivery.download' AND object = '{batch}' ORDER BY id"),
                         [["delivery.jwe", "1"], ["id_pac.txt", "1"], ["delivery.jwe", "2"]])
        self.maker.call("delete", f"/v1/webhooks/{hook['id']}")

    def test_devices_are_delivered_once_their_keys_were_taken(self):
        n = SLOW_CHUNK + 1
        batch = self.ready(n)
        states = ("SELECT credential, count(*) FROM device d JOIN batch b ON b.id = d.batch_id"
                  f" WHERE b.public_id = '\\x{batch}' GROUP BY 1")
        self.taken(batch, "id_pac.txt")
        self.assertEqual(self.stack.psql(states), [["generated", str(n)]])
        self.taken(batch, "delivery.jwe")
        support.wait_until(lambda: self.stack.psql(states) == [["delivered", str(n)]], JOB_SECONDS, "all are delivered")

    def device_of(self, batch):
        ((dev_eui,),) = self.stack.psql("SELECT encode(dev_eui, 'hex') FROM device d JOIN batch b ON b.id = d.batch_id"
                                        f" WHERE b.public_id = '\\x{batch}'")
        return dev_eui

    def said(self, dev_eui, rest=None):
        """The document of its custody statement, which is as it is described."""
        status, _, jws = self.stack.activation("GET", f"/v1/devices/{dev_eui}/custody", None,
                                               {"Authorization": f"Bearer {(rest or self.maker).token}"})
        self.assertEqual(status, 200, jws)
        path = self.stack.path("statement")
        self.write(path, jws)
        run = self.stack.cradle("custody", "verify", path, "--key", self.audit_key)
        self.assertEqual(run.returncode, 0, run.stderr)
        document = json.loads(run.stdout.splitlines()[1])
        openapi.Description().check(document, {"$ref": "#/components/schemas/Custody"}, "custody")
        return document

    def test_custody_says_where_keys_were_made_and_whom_they_are_exposed_to(self):
        batch = self.ready(1)
        dev_eui = self.device_of(batch)
        before = self.said(dev_eui)
        self.assertEqual([key["came"] for key in before["keys"]], ["generated in the HSM"])
        self.assertEqual((before["deliveries"], [e["action"] for e in before["events"]]), ([], ["order.chunk"]))
        for _ in range(2):
            self.taken(batch, "delivery.jwe")
        ((delivery,), exposed) = self.said(dev_eui)["deliveries"], self.said(dev_eui)["exposed"]
        self.assertEqual((delivery["exposed_to"], delivery["file"], delivery["times"], exposed), ("maker", "delivery.jwe", 2, False))

    def client_of(self, organization, *roles):
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        return Rest(self.stack, admin.call("post", f"/v1/organizations/{organization}/clients", {"roles": roles})[2])

    def handed_over(self, batch):
        """A client of the organization that has built all of the order into a product."""
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        builder = admin.call("post", "/v1/organizations", {"name": f"builder {secrets.token_hex(6)}"})[2]["id"]
        number = admin.call("post", "/v1/certificates", {"organization": builder, "kind": "product", "name": "Product"})[2]["number"]
        self.stack.psql("UPDATE certificate SET module_id = (SELECT module_id FROM batch_order o JOIN batch b ON b.id = o.batch_id"
                        f" WHERE b.public_id = '\\x{batch}') WHERE number = '{number}'")
        rest = self.client_of(builder, "product_maker")
        status, _, answer = self.stack.activation("POST", f"/v1/certificates/{number}/id-pac", self.taken(batch, "id_pac.txt"),
                                                  {"Authorization": f"Bearer {rest.token}"})
        self.assertEqual((status, [json.loads(line).get("handed_over") for line in answer.splitlines()]), (200, [True]), answer)
        return rest

    def whom(self, said):
        """(issued_to, exposed_to, [(action, by)])"""
        return (said["issued_to"], [d["exposed_to"] for d in said["deliveries"]], [(e["action"], e["by"]) for e in said["events"]])

    def test_custody_after_a_hand_over_tells_its_former_maker_from_its_maker(self):
        batch = self.ready(1)
        dev_eui = self.device_of(batch)
        (device,) = self.opened(self.fetched(batch))
        self.assertEqual(self.whom(self.said(dev_eui)), ("maker", ["maker"], [("order.chunk", "maker")]))
        builder = self.handed_over(batch)
        events = lambda former: [("order.chunk", former), ("device.hand-over", "maker")]
        self.assertEqual(self.whom(self.said(dev_eui, builder)), ("maker", ["former maker"], events("former maker")))
        status, _, problem = self.maker.call("get", f"/v1/devices/{dev_eui}/custody")
        self.assertEqual((status, problem["detail"]), (404, "there is no such device, or it is not yours to see"))
        # Whoever has bought it is told the same of the two.
        owner = Rest(self.stack, self.stack.demo["clients"]["owner"])
        claim = {"dev_eui": dev_eui, "code": device["code"], "home_net_id": support.HOME, "as_id": "demo-as"}
        self.assertEqual(owner.call("post", "/v1/claims", claim)[0], 200)
        self.assertEqual(self.whom(self.said(dev_eui, owner)), ("owner", ["former maker"], events("former maker")))

    def test_custody_of_a_former_maker_who_owns_it_says_owner(self):
        batch = self.ready(1)
        (device,) = self.opened(self.fetched(batch))
        builder = self.handed_over(batch)
        ((organization,),) = self.stack.psql("SELECT encode(o.public_id, 'hex') FROM batch b JOIN organization o ON"
                                             f" o.id = b.organization_id WHERE b.public_id = '\\x{batch}'")
        owner = self.client_of(organization, "owner")
        status, _, answer = owner.call("post", "/v1/claims", {
            "dev_eui": device["dev_eui"], "code": device["code"], "home_net_id": support.HOME, "as_id": "demo-as"})
        self.assertEqual(status, 200, answer)
        events = [("order.chunk", "owner"), ("device.hand-over", "maker")]
        self.assertEqual(self.whom(self.said(device["dev_eui"], owner)), ("owner", ["owner"], events))
        self.assertEqual(self.whom(self.said(device["dev_eui"], builder)), ("maker", ["owner"], events))

    def test_deleted_files_are_nowhere(self):
        batch = self.ready(SLOW_CHUNK + 1)
        self.taken(batch, "delivery.jwe")
        # Or labels would be printed that nobody can claim by.
        renewal = ("post", f"/v1/batches/{batch}/codes?renew=true", None)
        self.assertEqual(self.maker.call(*renewal, Idempotency_Key="anew")[0], 409)
        self.assertEqual(self.maker.call("delete", f"/v1/batches/{batch}/files")[0], 204)
        self.assertEqual(self.file(batch, "delivery.jwe")[0], 410)
        self.assertEqual(self.maker.call("delete", f"/v1/batches/{batch}/files")[0], 410)
        parts = f"SELECT count(*) FROM delivery_part p JOIN batch b ON b.id = p.batch_id WHERE b.public_id = '\\x{batch}'"
        support.wait_until(lambda: self.stack.psql(parts) == [["0"]], HOUSEKEEPING_SECONDS,
                           "nothing of them is left")
        support.wait_until(lambda: self.maker.call("get", f"/v1/batches/{batch}/files")[2]["deleted_at"], HOUSEKEEPING_SECONDS,
                           "it is said so")

    def test_files_are_their_makers_alone(self):
        batch = self.ready(1)
        made = self.admin.call("post", "/v1/organizations", {"name": f"org {secrets.token_hex(6)}"})[2]
        other = Rest(self.stack, self.admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": ["module_maker"]})[2])
        owner = Rest(self.stack, self.stack.demo["clients"]["owner"])
        self.assertEqual(self.file(batch, "delivery.jwe", other)[0], 404)
        self.assertEqual(other.call("get", f"/v1/batches/{batch}/files")[0], 404)
        self.assertEqual(other.call("delete", f"/v1/batches/{batch}/files")[0], 404)
        self.assertEqual(self.file(batch, "delivery.jwe", owner)[0], 403)
        self.assertEqual(self.file(batch, "id_key.bin")[0], 404)
        self.assertEqual(self.maker.call("get", f"/v1/batches/{batch}/files")[2]["items"][0]["times"], 0)


class OrderJobs(Orders):
    N = 2 * CHUNK + 5

    @contextlib.contextmanager
    def held(self, what):
        """(batch, job) of an order whose job stands where it needs what this statement locks; "$" is its batch."""
        batch, job = self.order_that_waits(self.N)
        ((number,),) = self.stack.psql(f"SELECT id FROM batch WHERE public_id = '\\x{batch}'")
        with self.stack.locked(what.replace("$", number)):
            self.stack.psql(f"UPDATE job SET lease_until = now() WHERE public_id = '\\x{job}'")
            self.worker_waits()
            yield batch, job

    def worker_waits(self):
        support.wait_until(
            lambda: self.stack.psql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
                                    " application_name = 'cradle-activation'"), JOB_SECONDS, "the job's worker waits")

    def kill(self):
        pid = self.stack.kill("activation")
        self.stack.wait_restarted("activation", pid)
        # Whoever died holds the lease: it is over in a minute, and here at once.
        self.stack.psql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'")

    @staticmethod
    def piece_behind(line):
        """What no chunk that begins behind this line comes past."""
        return f"INSERT INTO delivery_part SELECT $, line, '' FROM generate_series({line + 1}, {OrderJobs.N}) line"

    STATES = {
        "before it has the key that credentials leave under": "SELECT 1 FROM batch_order WHERE batch_id = $ FOR NO KEY UPDATE",
        "in its first chunk": "piece 0",
        "in a chunk behind others": f"piece {CHUNK}",
        "before its end": "SELECT 1 FROM batch WHERE id = $ FOR NO KEY UPDATE",
    }

    def test_a_killed_service_loses_nothing_and_makes_nothing_twice(self):
        for state, what in self.STATES.items():
            with self.subTest(state=state):
                what = self.piece_behind(int(what[6:])) if what.startswith("piece") else what
                with self.held(what) as (batch, job):
                    self.kill()
                self.stack.wait_ready()
                self.assertEqual(self.ended(job), ["done", str(self.N), str(self.N), "0", ""])
                self.joins(self.whole(batch, self.N)[-1])
                events = self.stack.psql(f"SELECT action, detail->>'after', detail->>'line' FROM audit_event WHERE object = '{job}'"
                                         " ORDER BY id")
                self.assertEqual([events[0][0], events[-1][0]], ["order.begin", "order.ready"])
                self.assertEqual([e[1] for e in events[1:-1]], ["0", *(e[2] for e in events[1:-2])])
                self.assertEqual({e[0] for e in events[1:-1]}, {"order.chunk"})

    def test_a_killed_service_marks_all_that_was_delivered(self):
        batch = self.ready(self.N)
        ((last,),) = self.stack.psql("SELECT max(encode(dev_eui, 'hex')) FROM device d JOIN batch b ON b.id = d.batch_id"
                                     f" WHERE b.public_id = '\\x{batch}'")
        with self.stack.locked(f"SELECT 1 FROM device WHERE dev_eui = '\\x{last}' FOR UPDATE"):
            self.taken(batch, "delivery.jwe")
            self.worker_waits()
            self.kill()
        support.wait_until(
            lambda: self.stack.psql("SELECT credential, count(*) FROM device d JOIN batch b ON b.id = d.batch_id"
                                    f" WHERE b.public_id = '\\x{batch}' GROUP BY 1") == [["delivered", str(self.N)]],
            JOB_SECONDS, "all are delivered")
        self.stack.wait_ready()

    def test_one_that_was_overtaken_writes_nothing_more(self):
        with self.held(self.piece_behind(CHUNK)) as (batch, job):
            # As another service does that has waited for its lease.
            self.stack.psql(f"UPDATE job SET turn = turn + 1, lease_until = now() + interval '1 hour' WHERE public_id = '\\x{job}'")
            before = self.state_of(job)
        lost = f"job={job} somebody else works on it"
        support.wait_until(lambda: lost in self.log(), JOB_SECONDS, "it has heard of it")
        self.assertEqual(self.state_of(job), before)
        ((n, parts),) = self.stack.psql(
            "SELECT count(*), (SELECT count(*) FROM delivery_part p WHERE p.batch_id = b.id AND line > "
            f"{before[1]}) FROM device d JOIN batch b ON b.id = d.batch_id WHERE b.public_id = '\\x{batch}' GROUP BY b.id")
        self.assertEqual((n, parts), (before[1], "0"))
        self.stack.psql(f"UPDATE job SET lease_until = now() WHERE public_id = '\\x{job}'")
        self.assertEqual(self.ended(job)[:3], ["done", str(self.N), str(self.N)])
        self.whole(batch, self.N)

    def log(self):
        with open(self.stack.path("log", "activation.log"), encoding="utf-8") as file:
            return file.read()

    def test_a_service_that_stops_puts_its_order_back(self):
        with self.held(self.piece_behind(CHUNK)) as (batch, job):
            pid = self.stack.kill("activation", signal.SIGTERM)
        self.stack.wait_restarted("activation", pid)
        self.stack.wait_ready()
        self.assertEqual(self.ended(job)[:3], ["done", str(self.N), str(self.N)])
        self.whole(batch, self.N)

    def test_a_key_process_that_dies_costs_no_credential(self):
        with self.held(self.piece_behind(0)) as (batch, job):
            for pid in self.stack.pids("activation-keyd"):
                os.kill(pid, signal.SIGKILL)
        self.assertEqual(self.ended(job), ["done", str(self.N), str(self.N), "0", ""])
        self.whole(batch, self.N)

    def test_a_cancelled_order_has_no_files_and_its_devices_stay_inert(self):
        with self.held(self.piece_behind(CHUNK)) as (batch, job):
            self.assertEqual(self.maker.call("delete", f"/v1/jobs/{job}")[0], 204)
        state, line, created, _, _ = self.ended(job)
        self.assertEqual((state, created), ("cancelled", line))
        self.assertEqual(self.file(batch, "delivery.jwe")[0], 409)
        ((n, credential, order),) = self.stack.psql(
            "SELECT count(*), min(credential), min(o.state) FROM device d JOIN batch b ON b.id = d.batch_id"
            f" JOIN batch_order o ON o.batch_id = b.id WHERE b.public_id = '\\x{batch}'")
        self.assertEqual((n, credential, order), (line, "generated", "cancelled"))
        parts = f"SELECT count(*) FROM delivery_part p JOIN batch b ON b.id = p.batch_id WHERE b.public_id = '\\x{batch}'"
        support.wait_until(lambda: self.stack.psql(parts) == [["0"]], HOUSEKEEPING_SECONDS, "nothing that was written is left")

    def test_an_identifier_that_is_taken_is_left_out_and_reported(self):
        first = self.identifiers()
        status, _, body = self.stack.activation(
            "POST", "/v1/batches/import?format=csv",
            f"dev_eui,join_eui,app_key,mac_version\n{first + 1:016x},{support.DEMO_JOIN_EUI},{secrets.token_hex(16)},1.0.4\n".encode(),
            {"Authorization": f"Bearer {self.maker.token}", "Content-Type": "text/csv"})
        self.assertEqual((status, json.loads(body)["outcome"]), (200, "created"))
        batch, job = self.order(3, first=first)
        self.assertEqual(self.ended(job), ["done", "3", "2", "1", ""])
        self.assertEqual([d["line"] for d in self.opened(self.fetched(batch))], [1, 3])
        report = self.stack.activation("GET", f"/v1/jobs/{job}/report", None, {"Authorization": f"Bearer {self.maker.token}"})[2]
        self.assertEqual([(row["line"], row["outcome"], row.get("reason")) for row in map(json.loads, report.splitlines())],
                         [(1, "created", None), (2, "refused", "dev-eui-taken"), (3, "created", None)])

    def test_files_of_an_order_that_is_being_made_are_not_there_yet(self):
        with self.held(self.piece_behind(0)) as (batch, job):
            self.assertEqual(self.file(batch, "delivery.jwe")[0], 409)
            self.assertEqual(self.maker.call("get", f"/v1/batches/{batch}/files")[2]["ready"], False)
        self.ended(job)
