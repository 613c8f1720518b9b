"""Imports that last: what they may hold, how long, and what is looked at again while they do."""

import base64
import contextlib
import http.client
import json
import secrets
import select
import subprocess
import time

import support
from test_accounts import Rest
from test_jobs import CHUNK_ROWS, JobTest, csv_of, rows_of

COMMENTS = b"# nothing\n" * 2000
PER_ORGANIZATION = 4  # docs/operations.md, "Import"


class LongImports(JobTest):
    def setUp(self):
        self.admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        self.organization = self.admin.call("post", "/v1/organizations", {"name": f"l {secrets.token_hex(4)}",
                                                                          "allow_clear_keys": True})[2]["id"]
        self.own, self.second = self.client(), self.client()
        self.key = secrets.token_hex(8)

    def client(self):
        return Rest(self.stack, self.admin.call("post", f"/v1/organizations/{self.organization}/clients",
                                                {"roles": ["maker"]})[2])

    @contextlib.contextmanager
    def sending(self, rest, first, url=None):
        """An import that has begun, and ends when it is told to."""
        place = (url or self.stack.activation_url).rpartition("/")[2]
        connection = http.client.HTTPConnection(place, timeout=support.READY_SECONDS)
        connection.putrequest("POST", "/v1/batches/import?format=csv")
        for name, value in (("Authorization", f"Bearer {rest.token}"), ("Idempotency-Key", self.key),
                            ("Transfer-Encoding", "chunked")):
            connection.putheader(name, value)
        connection.endheaders()
        self.piece(connection, first)
        yield connection
        connection.close()

    @staticmethod
    def piece(connection, data):
        connection.send(b"%x\r\n%s\r\n" % (len(data), data))

    @staticmethod
    def answer(connection):
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    @staticmethod
    def hears(connection, seconds):
        """Whether there is an answer by then: the pace of a slow client."""
        return bool(select.select([connection.sock], [], [], seconds)[0])

    def wait_line(self, line):
        support.wait_until(lambda: self.stack.psql("SELECT 1 FROM job WHERE line >= %d AND idempotency_key = '%s'"
                                                   % (line, self.key)), support.READY_SECONDS, f"line {line} is done")

    def until_refused(self, connection, piece):
        """Sends such pieces until there is an answer, and gives it."""
        end = time.monotonic() + support.READY_SECONDS
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < end:
                self.piece(connection, piece())
                if self.hears(connection, 0.2):
                    break
        status, headers, body = self.answer(connection)
        return status, headers, json.loads(body)

    def interrupted(self, headers, word):
        job = self.second.call("get", headers["Location"])[2]
        self.assertEqual(job["state"], "interrupted")
        self.assertIn(word, job["fault"])
        return job

    def test_a_revoked_clients_import_is_interrupted(self):
        rows = rows_of(3 * CHUNK_ROWS)
        lines = csv_of(rows).splitlines(keepends=True)
        with self.sending(self.own, b"".join(lines[:CHUNK_ROWS + 2])) as connection:
            self.wait_line(CHUNK_ROWS + 1)
            self.assertEqual(self.admin.call("delete", f"/v1/organizations/{self.organization}/clients/"
                                             + self.own.client["client_id"])[0], 204)
            self.piece(connection, b"".join(lines[CHUNK_ROWS + 2:]))
            connection.send(b"0\r\n\r\n")
            status, headers, problem = self.answer(connection)
        self.assertEqual(status, 401, problem)
        self.assertIn("revoked", json.loads(problem)["detail"])
        self.assertLess(self.interrupted(headers, "revoked")["line"], 2 * CHUNK_ROWS)
        self.assertLess(self.count(rows), 2 * CHUNK_ROWS)
        self.assertEqual({row["outcome"] for row in self.send(csv_of(rows), rest=self.second)[2]}, {"exists", "created"})

    def sealed(self, key):
        run = subprocess.run(["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", self.stack.demo["exchange_key"],
                              "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1"],
                             input=bytes.fromhex(key), capture_output=True, check=True)
        return base64.b64encode(run.stdout).decode()

    def test_keys_in_clear_are_refused_from_when_they_are_not_allowed(self):
        rows = [dict(row, app_key_sealed="", code="") for row in rows_of(CHUNK_ROWS + 6)]
        for i, row in enumerate(rows[CHUNK_ROWS:]):
            row["code"] = secrets.token_hex(8).upper()
            if i % 2 == 1:
                row["app_key_sealed"], row["app_key"] = self.sealed(row["app_key"]), ""
        self.send(csv_of([dict(rows[CHUNK_ROWS + 1], code="")]), rest=self.own)  # its code of the file comes too late
        lines = csv_of(rows).splitlines(keepends=True)
        with self.sending(self.own, b"".join(lines[:CHUNK_ROWS + 1])) as connection:
            self.wait_line(CHUNK_ROWS + 1)
            self.assertEqual(self.admin.call("patch", f"/v1/organizations/{self.organization}",
                                             {"allow_clear_keys": False})[0], 200)
            self.piece(connection, b"".join(lines[CHUNK_ROWS + 1:]))
            connection.send(b"0\r\n\r\n")
            status, _, answer = self.answer(connection)
        self.assertEqual(status, 200)
        told = [json.loads(line) for line in answer.splitlines()][CHUNK_ROWS:]
        self.assertEqual([row["outcome"] for row in told], ["refused", "exists"] + ["refused", "created"] * 2)
        self.assertEqual({row["reason"] for row in told[::2]}, {"clear-key"})
        euis = ",".join(f"'\\x{row['dev_eui']}'" for row in rows)
        self.assertEqual([row[0] for row in self.stack.psql(
            f"SELECT encode(dev_eui, 'hex') FROM claim_code WHERE dev_eui IN ({euis}) ORDER BY 1")],
                         sorted(row["dev_eui"] for row in rows[CHUNK_ROWS + 3::2]))

    def test_a_file_without_rows_does_not_hold_a_worker(self):
        other = self.stack.second_activation("import.idle_s=2")
        self.addCleanup(other.stop)
        rows = rows_of(2)
        with self.sending(self.own, csv_of(rows), other.url) as connection:
            status, headers, problem = self.until_refused(connection, lambda: COMMENTS + b"\n" * 2000)
        self.assertEqual(status, 400, problem)
        self.assertEqual(self.interrupted(headers, "no row")["line"], 3)
        self.assertEqual(self.count(rows), 2)

    def test_rows_that_are_done_already_are_rows(self):
        other = self.stack.second_activation("import.idle_s=2")
        self.addCleanup(other.stop)
        lines = csv_of(rows_of(CHUNK_ROWS)).splitlines(keepends=True)
        self.send(b"".join(lines) + b'"', rest=self.own, Idempotency_Key=self.key)
        with self.sending(self.own, lines[0], other.url) as connection:
            for at in range(1, len(lines), 4):
                self.piece(connection, b"".join(lines[at:at + 4]))
                self.assertFalse(self.hears(connection, 0.06), "an answer before the end")
            connection.send(b"0\r\n\r\n")
            status, _, answer = self.answer(connection)
        self.assertEqual((status, len(answer.splitlines())), (200, CHUNK_ROWS))

    def test_a_file_that_never_ends_does_not_hold_a_worker(self):
        other = self.stack.second_activation("import.total_s=3")
        self.addCleanup(other.stop)
        rows = rows_of(200)
        lines = iter(csv_of(rows).splitlines(keepends=True)[1:])
        with self.sending(self.own, csv_of(rows).splitlines(keepends=True)[0], other.url) as connection:
            status, headers, problem = self.until_refused(connection, lambda: COMMENTS + next(lines))
        self.assertEqual(status, 400, problem)
        done = self.interrupted(headers, "longer")["created"]
        self.assertGreater(done, 0)
        self.assertEqual(self.count(rows), done)

    def test_nor_does_the_endless_repetition_of_one_that_is_done(self):
        other = self.stack.second_activation("import.total_s=3")
        self.addCleanup(other.stop)
        rows = csv_of(rows_of(2))
        status, first, _ = self.send(rows, rest=self.own, Idempotency_Key=self.key)
        self.assertEqual(status, 200)
        with self.sending(self.own, rows, other.url) as connection:
            status, headers, problem = self.until_refused(connection, lambda: COMMENTS)
        self.assertEqual((status, headers["Location"]), (400, first["Location"]))
        self.assertIn("import.total_s", problem["detail"])
        self.assertEqual(self.second.call("get", first["Location"])[2]["state"], "done")

    def test_an_organization_has_its_share_of_places_whoever_of_it_asks(self):
        with contextlib.ExitStack() as stack:
            for i in range(PER_ORGANIZATION):
                self.key = secrets.token_hex(8)
                stack.enter_context(self.sending(self.second if i % 2 else self.own, csv_of(rows_of(1))))
            for rest in (self.own, self.second):
                self.assertEqual(self.send(csv_of(rows_of(1)), rest=rest)[0], 503)
            self.assertEqual(self.send(csv_of(rows_of(1)))[0], 200)

    def test_tokens_that_a_service_has_not_seen_take_no_more_workers(self):
        other = self.stack.second_activation("token.workers=3")
        self.addCleanup(other.stop)
        with self.sending(self.own, csv_of(rows_of(1)), other.url):
            support.wait_until(lambda: self.stack.psql(f"SELECT 1 FROM job WHERE idempotency_key = '{self.key}'"),
                               support.READY_SECONDS, "the import has begun")
            for rest, expected in ((self.second, 503), (self.maker, 200)):
                status, _, answer = support.http("POST", other.url + "/v1/batches/import?format=csv", csv_of(rows_of(1)),
                                                 {"Authorization": f"Bearer {rest.token}"})
                self.assertEqual(status, expected, answer)

    def test_one_worker_alone_is_no_setting(self):
        with self.assertRaisesRegex(AssertionError, "ended"):
            self.stack.second_activation("token.workers=1")
