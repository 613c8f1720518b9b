"""Exports: devices on their way out, jobs that any process goes on with, and their events."""

import base64
import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import unittest

import lorawan
import support
from test_accounts import Rest
from test_jobs import csv_of, rows_of

CHUNK = 64
WATCHES_PER_ORGANIZATION = 16
TURN = 16  # chunks
BROKEN_MAX = 5
OPEN = 16  # exports of an organization that have not ended
ENDED = ("done", "failed", "cancelled")


def openssl(*arguments, data=None):
    return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout


class Export(unittest.TestCase):
    stack = None

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("exports", exportable_keys=True)
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.private = cls.stack.path("owner.key")
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", cls.private)
        cls.public = openssl("pkey", "-in", cls.private, "-pubout").decode()

    @classmethod
    def administrator(cls):
        return Rest(cls.stack, cls.stack.demo["clients"]["admin"])

    def organization(self, *roles):
        """(number in the database, a client of each role) of a new organization that imports in clear."""
        admin = self.administrator()
        made = admin.call("post", "/v1/organizations", {"name": f"org {secrets.token_hex(6)}", "allow_clear_keys": True})[2]
        clients = [Rest(self.stack, admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": [role]})[2])
                   for role in roles]
        return (self.stack.psql(f"SELECT id FROM organization WHERE public_id = '\\x{made['id']}'")[0][0], *clients)

    def bring(self, rest, rows):
        """Imports rows; the path of their job."""
        if isinstance(rows, bytes):
            body, query = rows, "jsonl"
        else:
            body, query = csv_of(rows), "csv"
        status, headers, answer = self.stack.activation(
            "POST", f"/v1/batches/import?format={query}", body, {"Authorization": f"Bearer {rest.token}"})
        self.assertEqual(status, 200, answer)
        self.assertEqual({json.loads(line)["outcome"] for line in answer.splitlines()}, {"created"}, answer[:500])
        return headers["Location"]

    def begin(self, rest, **members):
        members = {"format": "cradle-jsonl", "public_key": self.public, **members}
        members = {name: value for name, value in members.items() if value is not None}
        status, headers, job = rest.call("post", "/v1/exports", members)
        self.assertEqual(status, 202, job)
        self.assertEqual((job["kind"], headers["Location"]), ("export", f"/v1/jobs/{job['id']}"))
        return headers["Location"]

    def job(self, rest, path):
        status, _, job = rest.call("get", path)
        self.assertEqual(status, 200, job)
        return job

    def ended(self, rest, path, state="done"):
        job = support.wait_until(
            lambda: next((j for j in [self.job(rest, path)] if j["state"] in ENDED), None), 60, f"{path} has ended")
        self.assertEqual(job["state"], state, job)
        return job

    def result(self, rest, path):
        status, headers, answer = self.stack.activation(
            "GET", f"{path}/result", None, {"Authorization": f"Bearer {rest.token}"})
        self.assertEqual(status, 200, answer)
        return headers.get_content_type(), answer

    def devices(self, rest, path):
        kind, answer = self.result(rest, path)
        self.assertEqual(kind, "application/x-ndjson")
        return [json.loads(line) for line in answer.splitlines()]

    def report(self, rest, path):
        answer = self.stack.activation("GET", f"{path}/report", None, {"Authorization": f"Bearer {rest.token}"})[2]
        return [json.loads(line) for line in answer.splitlines()]

    def opened(self, sealed):
        return openssl("pkeyutl", "-decrypt", "-inkey", self.private, "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt",
                       "rsa_oaep_md:sha1", data=base64.b64decode(sealed, validate=True)).hex()

    def exposed(self, rows):
        euis = ",".join(f"'\\x{row['dev_eui']}'" for row in rows)
        return {row[0]: row[1] for row in self.stack.psql(
            f"SELECT encode(dev_eui, 'hex'), coalesce(exposed_since::text, '') FROM device WHERE dev_eui IN ({euis})")}

    def first_of_chunk(self, rows, chunk):
        """A statement that locks the first device of a chunk: no export comes past it meanwhile."""
        dev_eui = sorted(row["dev_eui"] for row in rows)[chunk * CHUNK]
        return f"SELECT 1 FROM device WHERE dev_eui = '\\x{dev_eui}' FOR UPDATE"

    def let_go(self):
        """Ends all that is locked so far."""
        self.stack.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres' "
                        "AND state = 'idle in transaction'")

    def stands_at(self, path, line):
        job_id = path.rsplit("/", 1)[1]

        def waits():
            return self.stack.psql(f"SELECT 1 FROM job WHERE public_id = '\\x{job_id}' AND state = 'running' AND line = {line} "
                                   "AND EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                   "AND usename = 'cradle_activation')")
        support.wait_until(waits, support.READY_SECONDS, f"{path} stands at {line}")


class Keys(Export):
    def test_keys_leave_sealed_and_mark_their_devices_for_ever(self):
        _, maker, owner, auditor = self.organization("maker", "owner", "auditor")
        base = {"join_eui": support.DEMO_JOIN_EUI, "home_net_id": support.HOME, "as_id": "demo-as"}
        random = dict(base, dev_eui=f"02cdcd06{secrets.token_hex(4)}", app_key=secrets.token_hex(16), mac_version="1.0.3",
                      join_nonce=41, used_dev_nonces="1 7 100-250 2040-2060 65535", serial="SN 1", name='Zähler "A"; 7')
        counted = dict(base, dev_eui=f"02cdcd06{secrets.token_hex(4)}", app_key=secrets.token_hex(16), mac_version="1.0.4",
                       dev_nonce=9, join_nonce=3)
        both = dict(base, dev_eui=f"02cdcd06{secrets.token_hex(4)}", app_key=secrets.token_hex(16),
                    nwk_key=secrets.token_hex(16), mac_version="1.1")
        bare = {"dev_eui": f"02cdcd06{secrets.token_hex(4)}", "join_eui": support.DEMO_JOIN_EUI,
                "app_key": secrets.token_hex(16), "mac_version": "1.0.2", "state": "personalized"}
        rows = [random, counted, both, bare]
        self.bring(maker, b"\n".join(json.dumps(row).encode() for row in rows))
        self.assertEqual(self.join(random, 2), "Success")
        self.assertEqual(self.join(counted, 30), "Success")

        path = self.begin(owner)
        job = self.ended(owner, path)
        self.assertEqual((job["exported"], job["refused"], job["line"]), (4, 0, 4))
        self.assertIsNotNone(job["result_until"])
        found = self.devices(owner, path)
        self.assertEqual([device["dev_eui"] for device in found], sorted(row["dev_eui"] for row in rows))
        found = {device["dev_eui"]: device for device in found}
        for row in rows:
            device = found[row["dev_eui"]]
            self.assertEqual(self.opened(device.pop("app_key_sealed")), row["app_key"])
            if "nwk_key" in row:
                self.assertEqual(self.opened(device.pop("nwk_key_sealed")), row["nwk_key"])
            expected = {"join_nonce": 0, "state": "activable", **row}
            del expected["app_key"]
            expected.pop("nwk_key", None)
            if row is random:
                expected.update(join_nonce=42, used_dev_nonces="1-2 7 100-250 2040-2047 2048-2060 65535")
            if row is counted:
                expected.update(join_nonce=4, dev_nonce=30)
            self.assertEqual(device, expected)

        marks = self.exposed(rows)
        self.assertTrue(all(marks.values()), marks)
        for value in ("NULL", "now()"):
            with self.assertRaisesRegex(AssertionError, "stays exposed"):
                self.stack.psql(f"UPDATE device SET exposed_since = {value} WHERE dev_eui = '\\x{bare['dev_eui']}'")
        self.ended(owner, self.begin(owner))
        self.assertEqual(self.exposed(rows), marks)
        events = auditor.call("get", "/v1/audit?limit=1000")[2]["items"]
        for row in rows:
            self.assertEqual([e["action"] for e in events if e["object"] == row["dev_eui"]], ["device.export"] * 2)
        self.assertEqual([e["client_id"] for e in events if e["action"] == "export.begin"], [owner.client["client_id"]] * 2)
        self.assertEqual(self.join(random, 3), "Success")

    def join(self, row, nonce):
        _, answer = self.stack.post_join(lorawan.join_req(dict({"nwk_key": None}, **row), nonce, support.HOME))
        return answer["Result"]["ResultCode"]

    def test_what_was_exported_can_be_imported(self):
        _, maker = self.organization("maker")
        rows = rows_of(3)
        self.bring(maker, rows)
        with open(self.stack.demo["exchange_key"], encoding="ascii") as file:
            path = self.begin(maker, public_key=file.read())
        self.ended(maker, path)
        body = self.result(maker, path)[1]
        status, _, answer = self.stack.activation("POST", "/v1/batches/import?format=jsonl&dry_run=true", body,
                                                  {"Authorization": f"Bearer {maker.token}"})
        answer = [json.loads(line) for line in answer.splitlines()]
        self.assertEqual((status, [row["outcome"] for row in answer]), (200, ["exists"] * 3), answer)
        # Its keys open, and are the ones that are here: other devices that had them would be told.
        for row in rows:
            body = body.replace(row["dev_eui"].encode(), rows_of(1)[0]["dev_eui"].encode())
        answer = self.stack.activation("POST", "/v1/batches/import?format=jsonl&dry_run=true", body,
                                       {"Authorization": f"Bearer {maker.token}"})[2]
        self.assertEqual([[w["type"] for w in json.loads(line)["warnings"]] for line in answer.splitlines()],
                         [["duplicate-key"]] * 3)

    def test_an_import_alone_can_be_exported(self):
        _, maker, other = self.organization("maker", "maker")
        rows = rows_of(2)
        self.bring(maker, rows_of(2))
        imported = self.bring(maker, rows).rsplit("/", 1)[1]
        path = self.begin(maker, import_job=imported)
        self.ended(maker, path)
        self.assertEqual([d["dev_eui"] for d in self.devices(maker, path)], sorted(r["dev_eui"] for r in rows))
        _, stranger = self.organization("maker")
        for job in (imported, "00" * 16):
            status, _, problem = stranger.call("post", "/v1/exports", {"format": "tts-csv", "import_job": job})
            self.assertEqual((status, problem["field"]), (400, "import_job"))
        status, _, problem = other.call("post", "/v1/exports", {"format": "tts-csv", "import_job": path.rsplit("/", 1)[1]})
        self.assertEqual((status, problem["field"]), (400, "import_job"))

    def test_a_bad_order_names_its_member(self):
        _, maker = self.organization("maker")
        ec = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        small = openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
        with open(self.private, encoding="ascii") as file:
            private = file.read()
        for members, field in (
                ({}, "format"), ({"format": "csv"}, "format"), ({"format": "cradle-jsonl"}, "public_key"),
                ({"format": "cradle-jsonl", "public_key": "mine"}, "public_key"),
                ({"format": "cradle-jsonl", "public_key": private}, "public_key"),
                ({"format": "cradle-jsonl", "public_key": self.public + private}, "public_key"),
                ({"format": "cradle-jsonl", "public_key": self.public * 2}, "public_key"),
                ({"format": "cradle-jsonl", "public_key": self.public[:-60]}, "public_key"),
                ({"format": "cradle-jsonl", "public_key": openssl("pkey", "-pubout", data=ec).decode()}, "public_key"),
                ({"format": "cradle-jsonl", "public_key": openssl("pkey", "-pubout", data=small).decode()}, "public_key"),
                ({"format": "tts-csv", "public_key": self.public}, "public_key"),
                ({"format": "tts-csv", "model": "x"}, "model"), ({"format": "thingpark-csv", "model": "a\nb"}, "model"),
                ({"format": "thingpark-csv", "model": ""}, "model")):
            status, _, problem = maker.call("post", "/v1/exports", members)
            self.assertEqual((status, problem.get("field")), (400, field), members)
        self.assertEqual(maker.call("get", "/v1/jobs")[2]["items"], [])

    def test_one_key_is_one_export(self):
        _, maker = self.organization("maker")
        self.bring(maker, rows_of(1))
        body, key = {"format": "cradle-jsonl", "public_key": self.public}, secrets.token_hex(8)
        first = maker.call("post", "/v1/exports", body, Idempotency_Key=key)
        again = maker.call("post", "/v1/exports", body, Idempotency_Key=key)
        self.assertEqual((first[0], first[2], first[1]["Location"]), (again[0], again[2], again[1]["Location"]))
        self.assertEqual(maker.call("post", "/v1/exports", {"format": "tts-csv"}, Idempotency_Key=key)[0], 422)
        jobs = [job for job in maker.call("get", "/v1/jobs")[2]["items"] if job["kind"] == "export"]
        self.assertEqual([job["id"] for job in jobs], [first[2]["id"]])

    def test_a_device_in_quarantine_stays_and_the_report_says_so(self):
        _, maker = self.organization("maker")
        rows = rows_of(3)
        self.bring(maker, rows)
        held = sorted(row["dev_eui"] for row in rows)[1]
        self.stack.psql(f"UPDATE device SET trust = 'quarantined' WHERE dev_eui = '\\x{held}'")
        path = self.begin(maker)
        job = self.ended(maker, path)
        self.assertEqual((job["exported"], job["refused"], job["line"]), (2, 1, 3))
        self.assertNotIn(held, [device["dev_eui"] for device in self.devices(maker, path)])
        report = self.report(maker, path)
        self.assertEqual([(r["line"], r["dev_eui"], r["outcome"], r["reason"]) for r in report],
                         [(2, held, "refused", "quarantined")])
        self.assertEqual([eui for eui, since in self.exposed(rows).items() if not since], [held])

    def test_a_key_that_was_altered_refuses_its_device_alone(self):
        _, maker = self.organization("maker")
        rows = rows_of(2)
        self.bring(maker, rows)
        broken = rows[0]["dev_eui"]
        self.stack.psql(f"UPDATE device_key SET tag = sha256(tag) WHERE dev_eui = '\\x{broken}'")
        path = self.begin(maker)
        self.ended(maker, path)
        self.assertEqual([d["dev_eui"] for d in self.devices(maker, path)], [rows[1]["dev_eui"]])
        self.assertEqual([r["reason"] for r in self.report(maker, path)], ["key-altered"])
        self.assertEqual(self.exposed(rows[:1]), {broken: ""})

    def test_a_key_that_another_organization_has_stays(self):
        """Who got hold of a sealed key and gave it to a device of his own does not get it out."""
        _, maker = self.organization("maker")
        _, thief = self.organization("maker")
        rows, key = rows_of(2), secrets.token_bytes(16)
        sealed = base64.b64encode(openssl(
            "pkeyutl", "-encrypt", "-pubin", "-inkey", self.stack.demo["exchange_key"], "-pkeyopt",
            "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1", data=key)).decode()
        stolen = [dict(row, app_key_sealed=sealed) for row in rows]
        for row in stolen:
            del row["app_key"]
        self.bring(maker, stolen[:1])
        self.bring(thief, stolen[1:])
        for rest, row in ((thief, stolen[1]), (maker, stolen[0])):
            path = self.begin(rest)
            job = self.ended(rest, path)
            self.assertEqual((job["exported"], job["refused"]), (0, 1))
            self.assertEqual([(r["dev_eui"], r["reason"]) for r in self.report(rest, path)], [(row["dev_eui"], "key-shared")])
        self.assertEqual(set(self.exposed(rows).values()), {""})

    def test_a_key_without_a_fingerprint_stays(self):
        """It is from before they were kept, and cannot be compared with those of other organizations."""
        _, maker = self.organization("maker")
        rows = rows_of(2)
        self.bring(maker, rows)
        self.stack.psql(f"UPDATE device_key SET fingerprint = NULL WHERE dev_eui = '\\x{rows[0]['dev_eui']}'")
        path = self.begin(maker)
        self.ended(maker, path)
        self.assertEqual([(r["dev_eui"], r["reason"]) for r in self.report(maker, path)], [(rows[0]["dev_eui"], "key-unproved")])
        self.assertEqual([d["dev_eui"] for d in self.devices(maker, path)], [rows[1]["dev_eui"]])
        self.assertEqual(self.exposed(rows)[rows[0]["dev_eui"]], "")

    def test_another_owners_device_is_not_its_makers_to_take(self):
        maker_number, maker = self.organization("maker")
        owner_number, owner, auditor = self.organization("owner", "auditor")
        rows = rows_of(3)
        self.bring(maker, rows)
        sold = rows[0]["dev_eui"]
        self.stack.psql(f"UPDATE device SET owner_id = {owner_number}, ownership_epoch = 2 WHERE dev_eui = '\\x{sold}'")
        for rest, mine in ((maker, sorted(row["dev_eui"] for row in rows[1:])), (owner, [sold])):
            path = self.begin(rest)
            self.ended(rest, path)
            self.assertEqual([device["dev_eui"] for device in self.devices(rest, path)], mine)
        for ending in ("", "/result", "/report", "/events"):
            self.assertEqual(maker.call("get", path + ending)[0], 404, ending)
        self.assertEqual(maker.call("delete", path)[0], 404)
        self.assertEqual([j["id"] for j in owner.call("get", "/v1/jobs")[2]["items"]], [path.rsplit("/", 1)[1]])
        admin = self.administrator()
        self.assertEqual(admin.call("get", path)[0], 200)
        for rest in (admin, auditor):
            self.assertEqual(rest.call("get", f"{path}/result")[0], 403)
            self.assertEqual(rest.call("post", "/v1/exports", {"format": "tts-csv"})[0], 403)
        # Also an administrator who is a maker besides has but his own.
        run = self.stack.cradle("client", "add", "--organization", f"both {secrets.token_hex(4)}", "--role", "admin",
                                "--role", "maker")
        if run.returncode == 0:
            self.assertEqual(Rest(self.stack, json.loads(run.stdout)).call("get", f"{path}/result")[0], 404)
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM job WHERE organization_id = {maker_number} "
                                         "AND kind = 'export'"), [["1"]])

    def test_a_file_can_be_deleted(self):
        _, maker = self.organization("maker")
        rows = rows_of(1)
        self.bring(maker, rows)
        path = self.begin(maker)
        self.ended(maker, path)
        self.assertEqual(maker.call("delete", path)[0], 204)
        self.assertEqual(maker.call("get", f"{path}/result")[0], 404)
        self.assertEqual(maker.call("delete", path)[0], 409)
        job = self.job(maker, path)
        self.assertEqual((job["state"], job["result_until"]), ("done", None))
        job_id = path.rsplit("/", 1)[1]
        self.assertEqual(self.stack.psql("SELECT count(*) FROM job_part p JOIN job j ON j.id = p.job_id "
                                         f"WHERE public_id = '\\x{job_id}'"), [["0"]])
        self.assertTrue(self.exposed(rows)[rows[0]["dev_eui"]])

    def test_nothing_to_export_is_an_empty_file(self):
        _, maker = self.organization("maker")
        path = self.begin(maker)
        self.ended(maker, path)
        self.assertEqual(self.result(maker, path)[1], b"")
        path = self.begin(maker, format="tts-csv", public_key=None)
        self.ended(maker, path)
        self.assertEqual(self.result(maker, path), ("text/csv", b"id;dev_eui;join_eui;name;lorawan_version\n"))


class WithoutKeys(Export):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.exporting = cls.stack
        cls.stack = support.shared()

    def test_the_things_stack_and_thingpark_get_no_key_and_expose_nothing(self):
        _, maker = self.organization("maker")
        row = rows_of(1, mac_version="1.0.3")[0]
        named = dict(rows_of(1, mac_version="1.1")[0], nwk_key=secrets.token_hex(16), name='Tank "3", links; oben')
        first = dict(rows_of(1, mac_version="1.0.0")[0])
        rows = sorted([row, named, first], key=lambda r: r["dev_eui"])
        self.bring(maker, b"\n".join(json.dumps(r).encode() for r in rows))
        tts = self.begin(maker, format="tts-csv", public_key=None)
        thingpark = self.begin(maker, format="thingpark-csv", public_key=None, model="ACME/tank,2")
        self.ended(maker, tts)
        self.ended(maker, thingpark)
        versions = {"1.0.3": "MAC_V1_0_3", "1.1": "MAC_V1_1", "1.0.0": "MAC_V1_0"}
        quoted = '"' + named["name"].replace('"', '""') + '"'
        lines = ["id;dev_eui;join_eui;name;lorawan_version"]
        lines += [f"eui-{r['dev_eui']};{r['dev_eui'].upper()};{r['join_eui'].upper()};{quoted if r is named else ''};"
                  f"{versions[r['mac_version']]}" for r in rows]
        self.assertEqual(self.result(maker, tts), ("text/csv", "\n".join([*lines, ""]).encode()))
        lines = [f"CREATE_OTAA,{r['dev_eui'].upper()},,\"ACME/tank,2\",{r['join_eui'].upper()},,,,,,"
                 f"{quoted if r is named else ''}" for r in rows]
        self.assertEqual(self.result(maker, thingpark), ("text/csv", "\n".join([*lines, ""]).encode()))
        self.assertEqual(set(self.exposed(rows).values()), {""})

    def test_without_the_setting_the_error_says_what_to_do(self):
        _, maker = self.organization("maker")
        rows = rows_of(1)
        imported = self.bring(maker, rows).rsplit("/", 1)[1]
        body = {"format": "cradle-jsonl", "public_key": self.public}
        status, _, problem = maker.call("post", "/v1/exports", body)
        self.assertEqual(status, 409)
        self.assertIn("hsm.export = true", problem["detail"])
        # And with the setting, on a token that was made without.
        other = self.stack.second_activation("hsm.export=true")
        status, _, answer = support.http("POST", f"{other.url}/v1/exports", json.dumps(body).encode(),
                                         {"Authorization": f"Bearer {maker.token}", "Content-Type": "application/json"})
        self.assertEqual(status, 409, answer)
        self.assertIn("--exportable-keys", json.loads(answer)["detail"])
        # Whoever has too many is told so before the HSM is asked.
        self.stack.psql("INSERT INTO job (organization_id, client_id, kind, state, fingerprint, lease_until) SELECT organization_id, "
                        f"client_id, 'export', 'waiting', sha256(''), now() + interval '1 hour' FROM job, generate_series(1, {OPEN}) "
                        f"WHERE public_id = '\\x{imported}'")
        status, _, answer = support.http("POST", f"{other.url}/v1/exports", json.dumps(body).encode(),
                                         {"Authorization": f"Bearer {maker.token}", "Content-Type": "application/json"})
        self.stack.psql("DELETE FROM job WHERE state = 'waiting'")
        other.stop()
        self.assertEqual(status, 409, answer)
        self.assertIn("have not ended", json.loads(answer)["detail"])
        self.assertEqual(self.exposed(rows), {rows[0]["dev_eui"]: ""})
        self.assertEqual([j["kind"] for j in maker.call("get", "/v1/jobs")[2]["items"]], ["import"])


class Workers(Export):
    """Who does a job, and who goes on with it."""

    def whole(self, rest, path, rows):
        """Every device once and in order, in pieces that are in order, and said of each once."""
        self.ended(rest, path)
        self.assertEqual([device["dev_eui"] for device in self.devices(rest, path)], sorted(row["dev_eui"] for row in rows))
        job_id = path.rsplit("/", 1)[1]
        parts = self.stack.psql("SELECT n, (length(bytes) - length(replace(encode(bytes, 'escape'), E'\\n', ''))) > 0 "
                                f"FROM job_part p JOIN job j ON j.id = p.job_id WHERE public_id = '\\x{job_id}' ORDER BY n")
        self.assertEqual([int(row[0]) for row in parts], list(range(1, -(-len(rows) // CHUNK) + 1)))
        told = self.stack.psql("SELECT count(*), count(DISTINCT object) FROM audit_event WHERE action = 'device.export' "
                               f"AND detail->>'job' = '{job_id}'")
        self.assertEqual(told, [[str(len(rows)), str(len(rows))]])
        job = self.job(rest, path)
        self.assertEqual((job["exported"], job["refused"], job["line"]), (len(rows), 0, len(rows)))

    @staticmethod
    def log_of(path):
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def test_two_services_do_many_jobs_once(self):
        other = self.stack.second_activation()
        _, maker = self.organization("maker")
        rows = rows_of(3 * CHUNK + 5)
        self.bring(maker, rows)
        _, second = self.organization("maker")
        few = rows_of(2)
        self.bring(second, few)
        # One of them cannot go on, and the other does the rest meanwhile.
        with self.stack.locked(self.first_of_chunk(rows, 1)):
            held = self.begin(maker)
            self.stands_at(held, CHUNK)
            paths = [self.begin(second) for _ in range(4)]
            for path in paths:
                self.whole(second, path, few)
            self.assertEqual(self.job(maker, held)["line"], CHUNK)
        self.whole(maker, held, rows)
        paths = [self.begin(maker) for _ in range(6)]
        for path in paths:
            self.whole(maker, path, rows)
        other.stop()
        logs = self.log_of(other.log) + self.log_of(self.stack.path("log", "activation.log"))
        for path in [held, *paths]:
            self.assertEqual(logs.count(f"job={path.rsplit('/', 1)[1]} export done"), 1)

    def test_what_a_killed_service_began_another_ends(self):
        """Killed at each state of a job: while it waits, between any two chunks, and before its end."""
        _, maker = self.organization("maker")
        rows = rows_of(3 * CHUNK + 5)
        self.bring(maker, rows)
        for chunk in range(4):
            with self.subTest(chunk=chunk):
                with self.stack.locked(self.first_of_chunk(rows, chunk)):
                    path = self.begin(maker)
                    self.stands_at(path, chunk * CHUNK)
                    pid = self.stack.kill("activation")
                self.stack.wait_restarted("activation", pid)
                # Whoever died holds the lease: it is over in a minute, and here at once.
                self.stack.psql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'")
                self.stack.wait_ready()
                self.whole(maker, path, rows)

    def test_a_job_that_waits_outlives_all_services(self):
        _, maker = self.organization("maker")
        rows = rows_of(CHUNK + 1)
        self.bring(maker, rows)
        with self.stack.locked(self.first_of_chunk(rows, 0)):
            path = self.begin(maker)
            self.stands_at(path, 0)
            # Put back, as by one that stops: he who has it still is not its worker any more.
            pid = self.stack.pids("activation")[0]
            os.kill(pid, signal.SIGSTOP)
            self.stack.psql("SET lock_timeout = 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE wait_event_type = 'Lock' AND usename = 'cradle_activation'")
            self.stack.psql("UPDATE job SET state = 'waiting', lease_until = now() + interval '1 hour' WHERE state = 'running'")
            os.kill(pid, signal.SIGKILL)
            self.stack.wait_restarted("activation", pid)
            self.stack.wait_ready()
            self.assertEqual(self.job(maker, path)["state"], "waiting")
        self.stack.psql("UPDATE job SET lease_until = now() WHERE state = 'waiting'")
        self.whole(maker, path, rows)

    def test_a_service_that_stops_puts_its_job_back(self):
        other = self.stack.second_activation()
        _, maker = self.organization("maker")
        rows = rows_of(2 * CHUNK + 1)
        self.bring(maker, rows)
        with self.stack.locked(self.first_of_chunk(rows, 1)):
            path = self.begin(maker)
            self.stands_at(path, CHUNK)
            pid = self.stack.kill("activation", signal.SIGTERM)
            other.process.terminate()
        other.stop()
        self.stack.wait_restarted("activation", pid)
        self.stack.wait_ready()
        self.whole(maker, path, rows)

    def test_one_that_was_overtaken_does_nothing_more(self):
        """A worker that was silent for a lease comes back: what the other did stands, and nothing is there twice."""
        other = self.stack.second_activation()
        _, maker = self.organization("maker")
        rows = rows_of(2 * CHUNK + 3)
        self.bring(maker, rows)
        first = self.stack.pids("activation")[0]
        body = json.dumps({"format": "cradle-jsonl", "public_key": self.public}).encode()
        with contextlib.ExitStack() as stopped:
            with self.stack.locked(self.first_of_chunk(rows, 1)):
                os.kill(first, signal.SIGSTOP)
                stopped.callback(os.kill, first, signal.SIGCONT)
                path = support.http("POST", f"{other.url}/v1/exports", body, {
                    "Authorization": f"Bearer {maker.token}", "Content-Type": "application/json"})[1]["Location"]
                self.stands_at(path, CHUNK)
                os.kill(other.process.pid, signal.SIGSTOP)
                stopped.callback(os.kill, other.process.pid, signal.SIGCONT)
                os.kill(first, signal.SIGCONT)
                # Or its transaction would go on without it.
                self.stack.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                                "AND usename = 'cradle_activation'")
                self.stack.psql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'")
            self.whole(maker, path, rows)
        support.wait_until(lambda: self.stack.psql("SELECT 1 FROM job WHERE state = 'waiting'") == [] and
                           path.rsplit("/", 1)[1] in self.log_of(other.log),
                           support.READY_SECONDS, "it has heard of its chunk")
        self.whole(maker, path, rows)
        other.stop()

    def test_a_small_export_does_not_wait_for_another_organizations_fleet(self):
        _, maker = self.organization("maker")
        rows = rows_of(TURN * CHUNK + 1)
        self.bring(maker, rows)
        _, second = self.organization("maker")
        few = rows_of(2)
        self.bring(second, few)
        with self.stack.locked(self.first_of_chunk(rows, 1)):
            fleet = self.begin(maker)
            self.stands_at(fleet, CHUNK)
            small = self.begin(second)
        self.whole(second, small, few)
        self.whole(maker, fleet, rows)
        ids = [path.rsplit("/", 1)[1] for path in (small, fleet)]
        order = self.stack.psql("SELECT encode(public_id, 'hex') FROM job WHERE encode(public_id, 'hex') IN "
                                f"('{ids[0]}', '{ids[1]}') ORDER BY changed_at")
        self.assertEqual(order, [[job_id] for job_id in ids])

    def test_a_fault_of_the_service_ends_an_export_only_if_it_stays(self):
        _, maker = self.organization("maker")
        rows = rows_of(1)
        self.bring(maker, rows)
        for stays in (False, True):
            with self.stack.locked(self.first_of_chunk(rows, 0)):
                self.stands_at(self.begin(maker), 0)
                path = self.begin(maker)  # waits behind it
                job_id = path.rsplit("/", 1)[1]
                which = f"(SELECT id FROM job WHERE public_id = '\\x{job_id}')"
                self.stack.psql(f"UPDATE export SET public_key = replace(public_key, 'PUBLIC', 'KUBLIC') WHERE job_id = {which}")
            for turn in range(1, BROKEN_MAX):
                support.wait_until(lambda n=turn: self.stack.psql(
                    f"SELECT n_broken FROM export JOIN job ON id = job_id WHERE id = {which} AND state = 'waiting'") == [[str(n)]],
                    support.READY_SECONDS, f"{turn} turns have failed")
                if not stays:
                    self.stack.psql(f"UPDATE export SET public_key = replace(public_key, 'KUBLIC', 'PUBLIC') WHERE job_id = {which}")
                self.stack.psql(f"UPDATE job SET lease_until = now() WHERE id = {which}")
                if not stays:
                    break
            job = self.ended(maker, path, "failed" if stays else "done")
            self.assertEqual(job["fault"], "the service failed on it, again and again" if stays else None)

    def test_nothing_goes_on_for_a_client_that_was_revoked(self):
        _, maker, owner = self.organization("maker", "owner")
        rows = rows_of(1)
        self.bring(maker, rows)
        with self.stack.locked(self.first_of_chunk(rows, 0)):
            self.stands_at(self.begin(maker), 0)
            path = self.begin(owner)
            self.stack.psql(f"UPDATE client SET revoked_at = now() WHERE id = '\\x{owner.client['client_id']}'")
        job = self.ended(maker, path, "failed")
        self.assertEqual((job["fault"], job["exported"]), ("the client that asked for it was revoked", 0))
        self.assertEqual(maker.call("get", f"{path}/result")[0], 404)

    def test_a_cancelled_export_stops_at_the_next_chunk(self):
        _, maker = self.organization("maker")
        rows = rows_of(4 * CHUNK)
        self.bring(maker, rows)
        with self.stack.locked(self.first_of_chunk(rows, 1)):
            path = self.begin(maker)
            self.stands_at(path, CHUNK)
            behind = self.begin(maker)
            self.assertEqual(maker.call("delete", behind)[0], 204)
            self.assertEqual(self.job(maker, behind)["state"], "cancelled")
            self.assertEqual(maker.call("get", f"{path}/result")[0], 409)
            # The chunk in hand has the job's row: the call waits for it.
            sender = subprocess.Popen(
                ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", "DELETE", "-H",
                 f"Authorization: Bearer {maker.token}", self.stack.activation_url + path], stdout=subprocess.PIPE)
            support.wait_until(lambda: self.stack.psql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' HAVING count(*) = 2"),
                support.READY_SECONDS, "the cancelling waits")
        self.assertEqual(sender.communicate()[0], b"204")
        job = self.ended(maker, path, "cancelled")
        self.assertIn(job["line"], (2 * CHUNK, 3 * CHUNK))
        self.assertEqual(maker.call("get", f"{path}/result")[0], 404)
        self.assertEqual(maker.call("delete", path)[0], 409)
        since = [bool(self.exposed([row])[row["dev_eui"]]) for row in sorted(rows, key=lambda r: r["dev_eui"])]
        self.assertEqual(since, [True] * job["line"] + [False] * (len(rows) - job["line"]))
        job_id = path.rsplit("/", 1)[1]
        self.assertEqual(self.stack.psql("SELECT count(*) FROM job_part p JOIN job j ON j.id = p.job_id "
                                         f"WHERE public_id = '\\x{job_id}'"), [["0"]])


class Events(Export):
    @contextlib.contextmanager
    def watching(self, rest, path):
        """(status, headers, file of the answer) of a stream of events."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.activation_port, timeout=support.READY_SECONDS)
        try:
            connection.request("GET", f"{path}/events", headers={"Authorization": f"Bearer {rest.token}"})
            answer = connection.getresponse()
            yield answer.status, answer.headers, answer
        finally:
            connection.close()

    @staticmethod
    def event(answer):
        """(name, job) of the next event; None at the end."""
        name, data = "message", None
        while True:
            line = answer.readline()
            if not line:
                return None
            line = line.rstrip(b"\n").decode()
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data = json.loads(line[6:])
            elif not line and data is not None:
                return name, data

    def test_a_stream_tells_of_progress_and_of_the_end(self):
        _, maker = self.organization("maker")
        rows = rows_of(2 * CHUNK)
        self.bring(maker, rows)
        with self.stack.locked(self.first_of_chunk(rows, 1)):
            path = self.begin(maker)
            with self.watching(maker, path) as (status, headers, answer):
                self.assertEqual((status, headers.get_content_type()), (200, "text/event-stream"))
                name, job = self.event(answer)
                while job["line"] < CHUNK:
                    name, job = self.event(answer)
                self.assertEqual((name, job["state"], job["line"]), ("message", "running", CHUNK))
                seen = self.until_end(answer)
        self.assertEqual([name for name, _ in seen][-2:], ["message", "end"])
        self.assertEqual(seen[-1][1], seen[-2][1])
        self.assertEqual((seen[-1][1]["state"], seen[-1][1]["exported"]), ("done", len(rows)))
        self.assertEqual(seen[-1][1], self.job(maker, path))

    def until_end(self, answer):
        """Lets whoever holds the job go on, and reads until the stream closes."""
        self.let_go()
        seen = []
        while (event := self.event(answer)) is not None:
            seen.append(event)
        return seen

    def test_nobody_listens_while_nobody_watches(self):
        """Announcements that are not read would fill the database's queue."""
        _, maker = self.organization("maker")
        rows = rows_of(1)
        self.bring(maker, rows)

        def looks():
            return self.stack.psql("SELECT 1 FROM pg_stat_activity WHERE usename = 'cradle_activation' "
                                   "AND (query LIKE '%public_id = ANY%' OR query = 'LISTEN cradle_job')") != []
        for _ in range(2):
            with self.stack.locked(self.first_of_chunk(rows, 0)):
                path = self.begin(maker)
                with self.watching(maker, path) as (_, _, answer):
                    self.event(answer)
                    support.wait_until(looks, support.READY_SECONDS, "somebody looks")
                    self.until_end(answer)
            self.ended(maker, path)
            support.wait_until(lambda: not looks(), support.READY_SECONDS, "nobody looks any more")

    def test_an_ended_job_is_told_at_once(self):
        _, maker = self.organization("maker")
        imported = self.bring(maker, rows_of(1))
        with self.watching(maker, imported) as (status, _, answer):
            self.assertEqual(status, 200)
            job = self.job(maker, imported)
            self.assertEqual(self.event(answer), ("message", job))
            self.assertEqual(self.event(answer), ("end", job))
            self.assertIsNone(self.event(answer))
        self.assertEqual(maker.call("get", f"{imported}/events")[0], 200)

    def test_only_so_many_watch_and_others_are_not_shown(self):
        _, maker, auditor = self.organization("maker", "auditor")
        rows = rows_of(1)
        self.bring(maker, rows)
        _, stranger = self.organization("maker")
        with self.stack.locked(self.first_of_chunk(rows, 0)), contextlib.ExitStack() as stack:
            path = self.begin(maker)
            for _ in range(WATCHES_PER_ORGANIZATION):
                status, _, answer = stack.enter_context(self.watching(maker, path))
                self.assertEqual(status, 200)
                self.assertEqual(self.event(answer)[1]["kind"], "export")
            with self.watching(maker, path) as (status, headers, _):
                self.assertEqual(status, 503)
                self.assertTrue(headers["Retry-After"])
            with self.watching(auditor, path) as (status, _, _):
                self.assertEqual(status, 503, "the same organization")
            with self.watching(stranger, path) as (status, _, _):
                self.assertEqual(status, 404)
        self.ended(maker, path)

    def test_a_service_that_stops_ends_its_streams(self):
        _, maker = self.organization("maker")
        rows = rows_of(1)
        self.bring(maker, rows)
        other = self.stack.second_activation()
        with self.stack.locked(self.first_of_chunk(rows, 0)):
            path = self.begin(maker)
            with self.watching(maker, path) as (_, _, answer):
                self.event(answer)
                pid = self.stack.kill("activation", signal.SIGTERM)
                while (event := self.event(answer)) is not None:
                    self.assertEqual(event[0], "message")
        self.stack.wait_restarted("activation", pid)
        self.stack.wait_ready()
        other.stop()
        self.ended(maker, path)
