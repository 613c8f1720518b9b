"""Files as they should not be, and uploads that go wrong: a fault names its line, and what stands before it stays."""

import contextlib
import gzip
import http.client
import json
import os
import secrets
import select
import signal
import socket
import threading

import support
from test_accounts import Rest
from test_jobs import CHUNK_ROWS, JobTest, csv_of, rows_of

LONG_LINE = 10 << 20
REPORT_ROWS = 200000  # of a report that no socket's buffer holds
SLOW_BUFFER = 65536
SLOW_PIECE = 16384  # at each look: beyond the least rate
# Lines that are read again for longer than a lease goes unrenewed, no slower than a client may send.
REMARK, REMARKS = 1000, 3000
REMARK_PIECE, REMARK_PAUSE_S = 8192, 0.2
STOP_SECONDS = 60  # the test's own watchdog: a stop waits 15 for who is at work
HEADER = b"dev_eui,join_eui,app_key,mac_version,home_net_id,as_id\n"


def line_of(row):
    return ",".join(row.values()).encode()


class Broken(JobTest):
    """Each file has good rows from line 2 on, and then goes wrong."""

    def broken(self, rest, line, *words, query="format=csv"):
        row = rows_of(1)[0]
        status, headers, problem = self.send(HEADER + line_of(row) + b"\n" + rest, query)
        self.assertEqual(status, 400, problem)
        self.assertIn(f"line {line}", problem["detail"])
        for word in words:
            self.assertIn(word, problem["detail"])
        self.assertIn(f"The rows up to line {line - 1} are done", problem["detail"])
        self.assertEqual(self.count([row]), 1)
        job = self.maker.call("get", headers["Location"])[2]
        self.assertEqual((job["state"], job["line"], job["created"]), ("interrupted", line - 1, line - 2))
        self.assertIn(f"line {line}", job["fault"])

    def test_binary(self):
        self.broken(b"\x00\x01\x02\xff\xfe\n", 3)
        self.broken(line_of(rows_of(1)[0]) + b"\nab\x00cd\n", 4)

    def test_another_charset(self):
        self.broken(line_of(rows_of(1)[0]) + b"\ncaf\xe9,\n", 4, "UTF-8")

    def test_a_quote_without_an_end(self):
        self.broken(b'"open,\n' + line_of(rows_of(1)[0]) + b"\n", 3)
        self.broken(b'"a"b,c,d,e,f,g\n', 3)

    def test_a_line_of_ten_megabytes(self):
        self.broken(b"a" * LONG_LINE + b"\n", 3, "long")
        self.broken(b'"' + b"a\n" * (LONG_LINE // 2), 3)

    def test_nothing_of_what_is_at_fault_is_imported(self):
        for body, query in ((b"", "format=csv"), (b"\n\n", "format=csv"), (HEADER, "format=csv"),
                            (b"dev_eui,colour\n1,2\n", "format=csv"), (b"dev_eui,dev_eui\n1,2\n", "format=csv"),
                            (gzip.compress(csv_of(rows_of(3))), "format=csv"),
                            (csv_of(rows_of(3)).decode().encode("utf-16"), "format=csv"),
                            (b"\x00" * LONG_LINE, "format=jsonl"), (secrets.token_bytes(100000), "format=tts-csv")):
            before = self.stack.psql("SELECT count(*) FROM device")
            status, headers, problem = self.send(body, query)
            self.assertEqual(status, 400, body[:40])
            self.assertIn("Nothing was imported", problem["detail"])
            self.assertEqual(self.stack.psql("SELECT count(*) FROM device"), before)
            self.assertEqual(self.maker.call("get", headers["Location"])[2]["state"], "failed")

    def test_a_row_that_is_cut_is_refused_alone(self):
        rows = rows_of(3)
        status, _, answer = self.send(csv_of(rows)[:-20])
        self.assertEqual(status, 200)
        self.assertEqual([row["outcome"] for row in answer], ["created", "created", "refused"])
        self.assertEqual(answer[2]["line"], 4)

    def test_what_spreadsheets_do_to_a_file_is_taken(self):
        rows = rows_of(3)
        plain = csv_of(rows)
        quoted = b"\n".join(b",".join(b'"%s"' % field for field in line.split(b",")) for line in plain.split(b"\n")[:-1])
        for body in (b"\xef\xbb\xbf" + plain, plain.replace(b"\n", b"\r\n"), quoted, plain.rstrip(b"\n"),
                     plain.replace(b"\n", b"\n\n# a remark\n")):
            status, _, answer = self.send(body, "format=csv&dry_run=true")
            self.assertEqual(status, 200, answer)
            self.assertEqual([row["outcome"] for row in answer], ["created"] * 3, body)
        self.assertEqual(self.count(rows), 0)


class Uploads(JobTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("uploads")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def setUp(self):
        self.maker = Rest(self.stack, self.stack.demo["clients"]["maker"])
        self.key = secrets.token_hex(8)

    def begin(self, length):
        """A connection on which an import of so many bytes has begun."""
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.activation_port, timeout=support.READY_SECONDS)
        connection.putrequest("POST", "/v1/batches/import?format=csv")
        connection.putheader("Authorization", f"Bearer {self.maker.token}")
        connection.putheader("Idempotency-Key", self.key)
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        self.addCleanup(connection.close)
        return connection

    def job(self):
        found = self.stack.psql(f"SELECT state, line FROM job WHERE idempotency_key = '{self.key}'")
        return (found[0][0], int(found[0][1])) if found else (None, 0)

    def wait_for(self, what, so):
        return support.wait_until(lambda: self.job() if so(*self.job()) else None, support.READY_SECONDS, what)

    def finish(self, rows):
        """The same file sent whole: every row is there once, and answered for."""
        self.maker = Rest(self.stack, self.stack.demo["clients"]["maker"])
        status, _, answer = self.send(csv_of(rows), Idempotency_Key=self.key)
        self.assertEqual(status, 200, answer)
        self.assertEqual([row["outcome"] for row in answer], ["created"] * len(rows))
        self.assertEqual([row["dev_eui"] for row in answer], [row["dev_eui"] for row in rows])
        self.assertEqual(self.count(rows), len(rows))

    def test_what_has_arrived_is_done_before_the_rest_comes(self):
        rows = rows_of(2 * CHUNK_ROWS)
        body = csv_of(rows)
        half = csv_of(rows[:CHUNK_ROWS + 1])
        connection = self.begin(len(body))
        connection.send(half)
        self.wait_for("the first chunk is done while the client is silent", lambda _, line: line > CHUNK_ROWS)
        for at in range(len(half), len(half) + 2000):
            connection.send(body[at:at + 1])
        connection.send(body[len(half) + 2000:])
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        outcomes = [json.loads(line)["outcome"] for line in answer.read().splitlines()]
        self.assertEqual(outcomes, ["created"] * len(rows))

    def test_a_job_is_held_while_its_done_lines_come_again(self):
        rows = rows_of(3)
        header, rest = csv_of(rows).split(b"\n", 1)
        body = header + b"\n" + (b"#" * REMARK + b"\n") * REMARKS + rest
        self.assertEqual(self.send(body + b'"a"b\n', Idempotency_Key=self.key)[0], 400)
        asked = f"SELECT lease_until FROM job WHERE idempotency_key = '{self.key}'"
        connection = self.begin(len(body))
        connection.send(body[:REMARK])
        self.wait_for("the job is taken", lambda state, _: state == "running")
        at, taken = REMARK, self.stack.psql(asked)
        while at < len(body) // 2 and self.stack.psql(asked) == taken:
            connection.send(body[at:at + REMARK_PIECE])
            at += REMARK_PIECE
            self.assertEqual(select.select([connection.sock], [], [], REMARK_PAUSE_S)[0], [], "no answer yet")
        self.assertNotEqual(self.stack.psql(asked), taken, "the lease was renewed")
        connection.send(body[at:])
        answer = connection.getresponse()
        self.assertEqual((answer.status, len(answer.read().splitlines())), (200, 3))

    def test_an_import_whose_every_commit_goes_unanswered(self):
        remark, answers = b"#" * REMARK + b"\n", []
        # What is sent before the standby goes, how far the job is by then, and which commit comes next.
        for what, n, begun, before, after in (
                ("taken", 5, 0, (None, 0), ("running", 0)),
                ("stored", 5, 1, ("running", 0), ("running", 6)),
                ("ended", CHUNK_ROWS, CHUNK_ROWS + 1, ("running", CHUNK_ROWS + 1), ("done", CHUNK_ROWS + 1))):
            with self.subTest(what=what):
                self.key = secrets.token_hex(8)
                rows = rows_of(n)
                body = csv_of(rows) + 64 * remark
                at = len(b"".join(body.splitlines(True)[:begun])) + (20 * len(remark) if begun > n else 0)
                if begun:
                    connection = self.begin(len(body))
                    connection.send(body[:at])
                    self.wait_for(f"all before it is {what}", lambda *now, before=before: now == before)
                with self.stack.standby_missing():
                    if not begun:
                        connection = self.begin(len(body))
                    connection.send(body[at:])
                    pid = support.wait_until(lambda: self.stack.waiting_at("SyncRep", "job"), support.READY_SECONDS,
                                             f"the job is being {what}")[0]
                    self.stack.end_wait(pid)
                    self.assertEqual(self.job(), after)
                    if what == "ended":  # the same call finds it so, and does not say it yet either
                        again = threading.Thread(target=lambda: answers.append(self.send(body, Idempotency_Key=self.key)))
                        again.start()
                        support.wait_until(lambda: len(self.stack.settling()) > 1, support.READY_SECONDS, "both settle")
                        self.assertTrue(again.is_alive())
                    self.assertEqual(select.select([connection.sock], [], [], 0)[0], [], "no answer yet")
                answer = connection.getresponse()
                self.assertEqual(answer.status, 200)
                self.assertEqual([json.loads(line)["outcome"] for line in answer.read().splitlines()], ["created"] * n)
                self.assertEqual((self.job(), self.count(rows)), (("done", n + 1), n))
        again.join()
        self.assertEqual((answers[0][0], [row["outcome"] for row in answers[0][2]]), (200, ["created"] * n))

    def test_a_client_that_goes_away_in_the_middle(self):
        rows = rows_of(2 * CHUNK_ROWS + 30)
        body = csv_of(rows)
        connection = self.begin(len(body))
        connection.send(csv_of(rows[:CHUNK_ROWS + 20]))
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        self.assertEqual(self.wait_for("the job is interrupted", lambda state, _: state == "interrupted"),
                         ("interrupted", CHUNK_ROWS + 21))
        self.assertEqual(self.count(rows), CHUNK_ROWS + 20)
        self.finish(rows)

    def test_a_reader_that_takes_its_time_does_not_hold_a_stop(self):
        _, headers, _ = self.send(csv_of(rows_of(1)), Idempotency_Key=self.key)
        self.stack.psql("INSERT INTO job_row (job_id, line, outcome, lints) SELECT id, line + n, 'refused', 1 "
                        f"FROM job, generate_series(1, {REPORT_ROWS}) n WHERE idempotency_key = '{self.key}'")
        reader = socket.create_connection(("127.0.0.1", self.stack.activation_port), support.READY_SECONDS)
        self.addCleanup(reader.close)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        reader.sendall(f"GET {headers['Location']}/report HTTP/1.1\r\nHost: h\r\n"
                       f"Authorization: Bearer {self.maker.token}\r\n\r\n".encode())
        self.assertIn(b" 200 ", reader.recv(SLOW_PIECE))
        pid = self.stack.pids("activation")[0]
        os.kill(pid, signal.SIGTERM)

        def gone():  # and meanwhile the reader keeps the least rate
            with contextlib.suppress(OSError):
                reader.recv(SLOW_PIECE)
            return pid not in support.processes()
        support.wait_until(gone, STOP_SECONDS, "the service has stopped")
        self.stack.wait_restarted("activation", pid)
        self.stack.wait_ready()

    def test_a_service_that_is_stopped_in_the_middle(self):
        rows = rows_of(2 * CHUNK_ROWS + 30)
        body = csv_of(rows)
        connection = self.begin(len(body))
        connection.send(csv_of(rows[:CHUNK_ROWS + 20]))
        self.wait_for("a chunk is done", lambda _, line: line > 0)
        pid = self.stack.pids("activation")[0]
        os.kill(pid, signal.SIGTERM)
        answer = connection.getresponse()
        problem = json.loads(answer.read())
        self.assertEqual(answer.status, 503, problem)
        self.assertIn("stopping", problem["detail"])
        self.assertTrue(answer.headers["Location"].startswith("/v1/jobs/"))
        self.assertEqual(self.job(), ("interrupted", CHUNK_ROWS + 21))
        self.stack.wait_restarted("activation", pid)
        self.stack.wait_ready()
        self.finish(rows)
