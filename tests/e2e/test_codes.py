"""Claim codes: those that a file gives are kept as hashes, those that are made here are told once, to their maker alone."""

import csv
import http.client
import json
import os
import re
import secrets
import socket
import subprocess
import unittest
import urllib.parse

import support
from key_scan import Needles
from test_accounts import ROLES, Rest
from test_jobs import CHUNK_ROWS, JobTest, csv_of, rows_of

STRONG = re.compile(r"^[0-9A-F]{16}$")
NOBODY = "00" * 16
SMALL_BUFFER = 4096
KILLS = 3


def unclaimed(n, **changes):
    return rows_of(n, home_net_id="", as_id="", **changes)


def code_text():
    """A code of 80 bits as a label may have it, and its normal form."""
    text = secrets.token_hex(10)
    return f"{text[:4]}-{text[4:12]} {text[12:]}", text.upper()


class CodesTest(JobTest):
    def batch(self, rows, query="format=csv"):
        """Imports rows; the batch's id."""
        status, headers, answer = self.send(csv_of(rows), query)
        self.assertEqual((status, {row["outcome"] for row in answer}), (200, {"created"}), answer[:3])
        job = self.maker.call("get", headers["Location"])[2]
        self.assertRegex(job["batch"], "^[0-9a-f]{32}$")
        return job["batch"]

    def make(self, batch, key=None, query="", rest=None):
        """(status, headers, lines or problem)."""
        headers = {"Authorization": f"Bearer {(rest or self.maker).token}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        status, got, answer = self.stack.activation("POST", f"/v1/batches/{batch}/codes{query}", None, headers)
        if got.get_content_type() == "application/x-ndjson":
            return status, got, [json.loads(line) for line in answer.splitlines()]
        return status, got, json.loads(answer)

    def made(self, batch, key, query=""):
        """{DevEUI: line} of a call that succeeds."""
        status, headers, lines = self.make(batch, key, query)
        self.assertEqual((status, headers["Cache-Control"]), (200, "no-store"), lines)
        numbers = [line["line"] for line in lines]
        self.assertEqual(numbers, sorted(set(numbers)))
        for line in lines:
            self.assertEqual(set(line), {"line", "dev_eui", "serial", "join_eui", "code", "generation"})
            self.assertRegex(line["code"], STRONG)
        self.assertEqual(len({line["code"] for line in lines}), len(lines), "two codes are the same")
        return {line["dev_eui"]: line for line in lines}

    def stored(self, rows):
        """{DevEUI: (generation, origin, weak, hash)}."""
        euis = ",".join(f"'\\x{row['dev_eui']}'" for row in rows)
        return {eui: (int(generation), origin, weak == "t", code_hash) for eui, generation, origin, weak, code_hash in
                self.stack.psql("SELECT encode(dev_eui, 'hex'), generation, origin, weak, encode(hash, 'hex')"
                                f" FROM claim_code WHERE dev_eui IN ({euis})")}

    def claim(self, row):
        self.stack.psql("UPDATE device SET ownership = 'claimed', owner_id = organization_id"
                        f" WHERE dev_eui = '\\x{row['dev_eui']}'")

    def stranger(self, *roles):
        """A client of another organization."""
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = admin.call("post", "/v1/organizations", {"name": f"codes {secrets.token_hex(4)}"})[2]
        return Rest(self.stack, admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": roles})[2])


class Given(CodesTest):
    def test_a_code_of_the_file_is_kept_as_a_hash_for_each_device(self):
        rows = unclaimed(CHUNK_ROWS + 70)
        for row in rows:
            row["code"] = code_text()[0]
        rows[1]["code"] = rows[0]["code"]
        rows[2]["code"] = "1a2b 3c4d"
        rows[3]["code"] = ""
        rows[4].update(home_net_id=support.HOME, as_id="demo-as")
        status, _, answer = self.send(csv_of(rows))
        self.assertEqual((status, {row["outcome"] for row in answer}), (200, {"created"}))
        warned = {row["dev_eui"]: [w["type"] for w in row["warnings"]] for row in answer if "warnings" in row}
        self.assertEqual(warned, {rows[2]["dev_eui"]: ["weak-code"]})
        stored = self.stored(rows)
        self.assertEqual(set(stored), {row["dev_eui"] for row in rows if row["code"]})
        self.assertEqual({eui for eui, code in stored.items() if code[2]}, {rows[2]["dev_eui"]})
        self.assertEqual({code[:2] for code in stored.values()}, {(1, "given")})
        self.assertEqual(len({code[3] for code in stored.values()}), len(stored), "a hash is bound to its device")

    def test_the_code_of_a_device_that_is_there_stays(self):
        rows = unclaimed(2)
        rows[0]["code"], rows[1]["code"] = code_text()[0], ""
        self.batch(rows)
        before = self.stored(rows)
        self.assertEqual(set(before), {rows[0]["dev_eui"]})
        rows[0]["code"], rows[1]["code"] = code_text()[0], code_text()[0]
        self.assertEqual([row["outcome"] for row in self.send(csv_of(rows))[2]], ["exists"] * 2)
        self.assertEqual(self.stored(rows), before)

    def test_of_one_device_twice_in_a_file_the_first_code_counts(self):
        rows = unclaimed(1, code=code_text()[0])
        rows.append(dict(rows[0], code="1A2B3C4D"))
        self.assertEqual([row["outcome"] for row in self.send(csv_of(rows))[2]], ["created", "exists"])
        self.assertEqual([code[2] for code in self.stored(rows).values()], [False])

    def test_a_dry_run_and_a_refused_row_keep_none(self):
        rows = unclaimed(2, code=code_text()[0])
        self.send(csv_of(rows), "format=csv&dry_run=true")
        self.assertEqual(self.stored(rows), {})
        rows[0]["app_key"] = "12"
        self.assertEqual([row["outcome"] for row in self.send(csv_of(rows))[2]], ["refused", "created"])
        self.assertEqual(set(self.stored(rows)), {rows[1]["dev_eui"]})


class Made(CodesTest):
    def test_codes_are_made_for_devices_that_have_none(self):
        rows = unclaimed(2 * CHUNK_ROWS + 9)
        for i, row in enumerate(rows):
            row["serial"] = f'SN "{i}"' if i % 5 else ""
            row["code"] = code_text()[0] if i % 3 == 0 else ""
        rows[1].update(home_net_id=support.HOME, as_id="demo-as")
        quoted = [dict(row, serial='"' + row["serial"].replace('"', '""') + '"') for row in rows]
        batch, before = self.batch(quoted), self.stored(rows)
        codes = self.made(batch, secrets.token_hex(8))
        due = {row["dev_eui"]: (number, row) for number, row in enumerate(rows, 2) if not row["code"] and number != 3}
        self.assertEqual(set(codes), set(due))
        for eui, line in codes.items():
            number, row = due[eui]
            self.assertEqual((line["line"], line["serial"], line["generation"]), (number, row["serial"] or None, 1))
            self.assertEqual(line["join_eui"], row["join_eui"])
        after = self.stored(rows)
        self.assertEqual(set(after), set(due) | set(before))
        self.assertEqual({eui: after[eui] for eui in before}, before)
        self.assertEqual({after[eui][:3] for eui in due}, {(1, "made", False)})

    def test_labels_are_made_of_the_answer_and_are_claimed(self):
        codes = self.made(self.batch(unclaimed(3)), secrets.token_hex(8))
        lines = "".join(json.dumps(line) + "\n" for line in codes.values())
        made = subprocess.run([self.stack.program("cli/cradle"), "label", "csv", "--profile-id", "AABB1122"],
                              input=lines, capture_output=True, text=True, check=True)
        labels = list(csv.DictReader(made.stdout.splitlines()))
        self.assertEqual([(row["dev_eui"], row["join_eui"], row["code"]) for row in labels],
                         [(line["dev_eui"], line["join_eui"], line["code"]) for line in codes.values()])
        owner = Rest(self.stack, self.stack.demo["clients"]["owner"])
        for row in labels:
            status, _, answer = owner.call("post", "/v1/claims", {"qr": row["qr"]})
            self.assertEqual((status, answer.get("dev_eui")), (200, row["dev_eui"]), answer)

    def test_the_same_key_makes_them_anew_and_another_leaves_them_alone(self):
        rows, key = unclaimed(CHUNK_ROWS + 3), secrets.token_hex(8)
        batch = self.batch(rows)
        first, again = self.made(batch, key), self.made(batch, key)
        self.assertEqual(set(first), {row["dev_eui"] for row in rows})
        self.assertEqual(set(again), set(first))
        self.assertEqual({line["generation"] for line in again.values()}, {2})
        self.assertFalse({line["code"] for line in first.values()} & {line["code"] for line in again.values()})
        before = self.stored(rows)
        self.assertEqual(self.made(batch, secrets.token_hex(8)), {})
        self.assertEqual(self.stored(rows), before)
        # What has none gets one, whoever asks, and is then that call's.
        euis = [row["dev_eui"] for row in rows[5:8]]
        self.stack.psql("DELETE FROM claim_code WHERE dev_eui IN (%s)" % ",".join(f"'\\x{eui}'" for eui in euis))
        self.assertEqual(set(self.made(batch, secrets.token_hex(8))), set(euis))
        self.assertEqual(set(self.made(batch, key)), set(first) - set(euis))

    def test_a_batch_in_capitals_is_the_same_batch(self):
        batch, key = self.batch(unclaimed(2)), secrets.token_hex(8)
        first = self.made(batch, key)
        self.assertEqual(set(self.made(batch.upper(), key)), set(first))
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM audit_event WHERE object = '{batch}' "
                                         "AND action = 'codes.begin'"), [["2"]])

    def test_a_key_is_its_clients(self):
        rows, key = unclaimed(2), secrets.token_hex(8)
        batch = self.batch(rows)
        self.assertEqual(len(self.made(batch, key)), 2)
        run = self.stack.cradle("client", "add", "--organization", self.stack.psql(
            f"SELECT o.name FROM organization o JOIN batch b ON b.organization_id = o.id"
            f" WHERE b.public_id = '\\x{batch}'")[0][0], "--role", "maker")
        colleague = Rest(self.stack, json.loads(run.stdout))
        status, _, lines = self.make(batch, key, rest=colleague)
        self.assertEqual((status, lines), (200, []))

    def test_renew_makes_those_of_other_calls_anew_and_never_given_ones(self):
        rows = unclaimed(6)
        for i, row in enumerate(rows):
            row["code"] = code_text()[0] if i == 0 else ""
        batch, key, fresh = self.batch(rows), secrets.token_hex(8), secrets.token_hex(8)
        first = self.made(batch, key)
        self.claim(rows[5])
        before = self.stored(rows)
        status, _, problem = self.make(batch, key, "?renew=true")
        self.assertEqual((status, problem["type"]), (422, "urn:cradle:problem:unprocessable"))
        self.assertEqual(self.stored(rows), before)
        self.assertEqual(self.made(batch, fresh, "?renew=false"), {})
        renewed = self.made(batch, fresh + "r", "?renew=true")
        self.assertEqual(set(renewed), set(first) - {rows[5]["dev_eui"]})
        self.assertEqual({line["generation"] for line in renewed.values()}, {2})
        again = self.made(batch, fresh + "r", "?renew=true")
        self.assertEqual({eui: line["generation"] for eui, line in again.items()}, dict.fromkeys(renewed, 3))
        after = self.stored(rows)
        for row in (rows[0], rows[5]):
            self.assertEqual(after[row["dev_eui"]], before[row["dev_eui"]])
        # They are another call's now.
        self.assertEqual(self.made(batch, key), {})

    def test_a_call_says_what_is_wrong_with_it(self):
        batch = self.batch(unclaimed(1))
        for key, query, field in ((None, "", "Idempotency-Key"), ("", "", "Idempotency-Key"),
                                  ("x" * 256, "", "Idempotency-Key"), ("k", "?renew=yes", "renew"),
                                  ("k", "?colour=red", None)):
            status, _, problem = self.make(batch, key, query)
            self.assertEqual((status, problem.get("field")), (400, field), problem)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM claim_code c JOIN device USING (dev_eui) JOIN batch b"
                                         f" ON b.id = batch_id WHERE b.public_id = '\\x{batch}'"), [["0"]])

    def test_what_was_made_is_recorded_without_a_code(self):
        rows = unclaimed(3)
        batch = self.batch(rows)
        status, headers, lines = self.make(batch, secrets.token_hex(8))
        events = self.stack.psql("SELECT action, object, detail FROM audit_event WHERE request_id = '%s' ORDER BY id"
                                 % headers["X-Request-Id"])
        self.assertEqual([(action, of, json.loads(detail)) for action, of, detail in events],
                         [("codes.begin", batch, {"renew": False}), ("codes.end", batch, {"codes": 3, "whole": True})])
        page = self.stack.activation("GET", "/metrics")[2].decode()
        count = re.search(r'cradle_claim_codes_total\{origin="made"\} (\d+)', page)
        self.assertGreaterEqual(int(count[1]), len(lines))


class Whose(CodesTest):
    def test_other_tenants_find_nothing_and_other_roles_may_not(self):
        rows = unclaimed(2)
        batch = self.batch(rows)
        maker = self.stranger("maker")
        missing = self.make(NOBODY, "k", rest=maker)
        for text in (batch, NOBODY, "1", "x" * 32):
            status, _, problem = self.make(text, "k", rest=maker)
            self.assertEqual((status, problem["detail"]), (404, missing[2]["detail"]), text)
            if text != batch:
                self.assertEqual(self.make(text, "k")[0], 404)
            self.assertEqual(maker.call("get", f"/v1/batches/{text}")[0], 404)
        self.assertEqual(maker.call("get", "/v1/batches")[2], {"items": [], "next": None})
        for role in set(ROLES) - {"module_maker", "product_maker"}:
            rest = self.stranger(role)
            self.assertEqual(self.make(batch, "k", rest=rest)[0], 403, role)
            self.assertEqual(rest.call("get", f"/v1/batches/{batch}")[0], 403, role)
            self.assertEqual(rest.call("get", "/v1/batches")[0], 403, role)
        self.assertEqual(self.stack.activation("POST", f"/v1/batches/{batch}/codes")[0], 401)
        self.assertEqual(self.stored(rows), {})

    def test_a_maker_sees_his_batches(self):
        rows = unclaimed(3)
        rows[1]["app_key"] = "12"
        _, headers, _ = self.send(csv_of(rows))
        job = self.maker.call("get", headers["Location"])[2]
        batch = self.maker.call("get", f"/v1/batches/{job['batch']}")[2]
        self.assertEqual((batch["id"], batch["job"], batch["format"]), (job["batch"], job["id"], "csv"))
        self.assertEqual((batch["created"], batch["exists"], batch["refused"]), (2, 0, 1))
        self.assertIsNotNone(batch["finished_at"])
        seen, cursor = [], ""
        while cursor is not None:
            page = self.maker.call("get", f"/v1/batches?limit=3{cursor and '&cursor=' + cursor}")[2]
            seen += page["items"]
            cursor = page["next"]
        self.assertEqual(len({item["id"] for item in seen}), len(seen))
        self.assertIn(batch, seen)
        tried = self.send(csv_of(unclaimed(1)), "format=csv&dry_run=true")[1]["Location"]
        self.assertIsNone(self.maker.call("get", tried)[2]["batch"])


class CodeNeedles(Needles):
    """Codes as text in either case, the hex of that, and the bytes that a strong one stands for."""

    def __init__(self, texts):
        self.needles = {}
        for text in texts:
            for spelling in (text, text.lower()):
                raw = spelling.encode()
                self.needles |= dict.fromkeys((raw, raw.hex().encode(), raw.hex().upper().encode()), text)
            if STRONG.match(text):
                self.needles[bytes.fromhex(text)] = text


class Reader:
    """A call whose answer is read line by line, through a small window: the service waits for its reader."""

    def __init__(self, test, batch, key):
        place = urllib.parse.urlsplit(test.stack.activation_url)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        self.socket.settimeout(support.READY_SECONDS)
        self.socket.connect((place.hostname, place.port))
        self.socket.sendall((f"POST /v1/batches/{batch}/codes HTTP/1.1\r\nHost: t\r\nIdempotency-Key: {key}\r\n"
                             f"Authorization: Bearer {test.maker.token}\r\n\r\n").encode())
        self.response = http.client.HTTPResponse(self.socket)
        self.response.begin()
        self.socket.close()  # the response has its own hold on it

    def line(self):
        return json.loads(self.response.readline())

    def close(self):
        self.response.close()


class Interrupted(CodesTest):
    """The caller goes, or the service dies, in the middle: every device has one code in the end, and it was told."""

    N_DEVICES = 16 * CHUNK_ROWS  # many times what the buffers on the way hold

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("codes")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def setUp(self):
        self.maker = Rest(self.stack, self.stack.demo["clients"]["maker"])

    def check_all_told(self, rows, batch, key, before):
        """The call once more: a line for each device, with the code that it has now."""
        codes, stored = self.made(batch, key), self.stored(rows)
        self.assertEqual(set(codes), {row["dev_eui"] for row in rows})
        self.assertEqual({eui: line["generation"] for eui, line in codes.items()},
                         {eui: code[0] for eui, code in stored.items()})
        for eui, line in codes.items():
            self.assertEqual(line["generation"], before[eui][0] + 1 if eui in before else 1)

    def test_a_reader_who_goes_away_ends_the_call(self):
        rows, key = unclaimed(self.N_DEVICES), secrets.token_hex(8)
        batch = self.batch(rows)
        reader = Reader(self, batch, key)
        told = reader.line()
        # Meanwhile the batch is this call's: with the same key or another one.
        for other in (key, secrets.token_hex(8)):
            self.assertEqual(self.make(batch, other)[0], 409)
        reader.close()
        support.wait_until(lambda: self.stack.psql(
            f"SELECT 1 FROM audit_event WHERE action = 'codes.end' AND object = '{batch}'"),
            support.READY_SECONDS, "the call has ended")
        before = self.stored(rows)
        self.assertIn(told["dev_eui"], before)
        self.assertLess(len(before), len(rows), "the call was not in the middle")
        detail = json.loads(self.stack.psql(
            f"SELECT detail FROM audit_event WHERE action = 'codes.end' AND object = '{batch}'")[0][0])
        self.assertEqual(detail, {"codes": len(before), "whole": False})
        self.check_all_told(rows, batch, key, before)

    def test_a_service_that_is_killed_loses_nothing(self):
        rows, key = unclaimed(self.N_DEVICES), secrets.token_hex(8)
        batch = self.batch(rows)
        for _ in range(KILLS):
            self.setUp()
            reader = Reader(self, batch, key)
            told = reader.line()
            pid = self.stack.kill("activation")
            self.stack.wait_restarted("activation", pid)
            self.stack.wait_ready()
            reader.close()
            before = self.stored(rows)
            self.assertLess(len(before), len(rows), "the call was not in the middle")
            self.assertEqual(before[told["dev_eui"]][0], told["generation"], "a code was told before it was one")
        self.setUp()
        self.check_all_told(rows, batch, key, before)

    def test_no_code_is_anywhere(self):
        rows = unclaimed(24, code="")
        texts = set()
        for row in rows[:10]:
            row["code"], text = code_text()
            texts.add(text)
        rows[10]["code"] = "7Czq 61Bw"
        texts.add("7CZQ61BW")
        codes = self.made(self.batch(rows), secrets.token_hex(8))
        self.assertEqual(len(codes), 13)
        texts |= {line["code"] for line in codes.values()}
        needles = CodeNeedles(texts)
        dump = self.stack.path("codes.dump")
        with open(self.stack.path("run", "psql"), encoding="utf-8") as file:
            psql, sockets = file.read().splitlines()
        subprocess.run([os.path.join(os.path.dirname(psql), "pg_dump"), "-f", dump,
                        f"host={sockets} dbname=cradle user=postgres passfile='{self.stack.path('pgpass-postgres')}'"],
                       check=True)
        controls = CodeNeedles({row["dev_eui"].upper() for row in rows})
        self.assertEqual(len(controls.in_file(dump)), len(rows), "the search does not see what is there")
        self.assertEqual(needles.in_file(dump), set())
        self.stack.psql("CHECKPOINT")
        (cluster,) = self.stack.psql("SHOW data_directory")[0]
        for tree in (cluster, self.stack.state):
            found, n_files = needles.in_tree(tree)
            self.assertGreater(n_files, 10)
            self.assertEqual(found, set())
        if os.geteuid() != 0:
            self.skipTest("only root may read the memory of a process that is not dumpable")
        (pid,) = self.stack.pids("activation")
        found, n_bytes = needles.in_process(pid)
        self.assertGreater(n_bytes, 1 << 20)
        self.assertEqual(found, set())
        self.assertEqual(needles.in_process(os.getpid())[0], texts, "nor what is in a memory")


if __name__ == "__main__":
    unittest.main()
