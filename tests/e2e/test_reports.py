"""What files may leave behind is bounded: refused rows of one of them, reports of one organization, and their time."""

import json
import secrets

import support
from test_accounts import Rest
from test_jobs import CHUNK_ROWS, JobTest, csv_of, rows_of

REFUSED_MAX = 100000  # docs/operations.md
ROWS_MAX = 5000000
LATE = "interval '31 days'"


class Reports(JobTest):
    def setUp(self):
        self.admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = self.admin.call("post", "/v1/organizations", {"name": f"r {secrets.token_hex(4)}",
                                                             "allow_clear_keys": True})[2]
        self.own = Rest(self.stack, self.admin.call("post", f"/v1/organizations/{made['id']}/clients",
                                                    {"roles": ["maker"]})[2])

    def report(self, location):
        return self.stack.activation("GET", location + "/report", None, {"Authorization": f"Bearer {self.own.token}"})[0]

    def change(self, location, sql):
        job = location.rpartition("/")[2]
        self.stack.psql(f"UPDATE job SET {sql} WHERE public_id = '\\x{job}'")

    def test_a_file_of_nothing_but_refused_rows_is_broken_off(self):
        key = secrets.token_hex(8)
        # So many rows take long at the pace that is kept while devices join.
        other = self.stack.second_activation("import.percent_beside_joins=100")
        status, headers, answer = support.http(
            "POST", f"{other.url}/v1/batches/import?format=jsonl", b"1\n" * (REFUSED_MAX + 10 * CHUNK_ROWS),
            {"Authorization": f"Bearer {self.own.token}", "Idempotency-Key": key})
        problem = json.loads(answer)
        self.assertEqual(status, 400, problem)
        self.assertIn(f"{REFUSED_MAX} rows were refused", problem["detail"])
        job = self.own.call("get", headers["Location"])[2]
        self.assertEqual(job["state"], "failed")
        self.assertGreaterEqual(job["refused"], REFUSED_MAX)
        self.assertLess(job["refused"], REFUSED_MAX + 2 * CHUNK_ROWS)
        status, again, problem = self.send(csv_of(rows_of(1)), "format=jsonl", self.own, Idempotency_Key=key)
        self.assertEqual((status, again["Location"]), (409, headers["Location"]))
        self.assertIn(f"{REFUSED_MAX} rows were refused", problem["detail"])

    def test_an_organization_with_too_many_rows_of_reports_begins_nothing(self):
        rows = rows_of(2, app_key="12")
        _, headers, _ = self.send(csv_of(rows), rest=self.own)
        self.change(headers["Location"], f"n_kept = {ROWS_MAX}")
        for query in ("format=csv", "format=csv&dry_run=true"):
            status, _, problem = self.send(csv_of(rows), query, self.own)
            self.assertEqual(status, 409, problem)
            self.assertIn("wait until the oldest are deleted", problem["detail"])
        self.assertEqual(self.own.call("post", "/v1/exports", {"format": "tts-csv"})[0], 409)
        self.assertEqual(self.send(csv_of(rows))[0], 200, "another organization")
        self.change(headers["Location"], "n_kept = 2")
        self.assertEqual(self.send(csv_of(rows), rest=self.own)[0], 200)

    def test_a_file_that_reaches_the_limit_goes_on_when_there_is_room(self):
        _, first, _ = self.send(csv_of(rows_of(2, app_key="12")), rest=self.own)
        self.change(first["Location"], f"n_kept = {ROWS_MAX - CHUNK_ROWS}")
        rows, key = rows_of(4 * CHUNK_ROWS, app_key="12"), secrets.token_hex(8)
        status, headers, problem = self.send(csv_of(rows), rest=self.own, Idempotency_Key=key)
        self.assertEqual(status, 409, problem)
        job = self.own.call("get", headers["Location"])[2]
        self.assertEqual((job["state"], job["line"]), ("interrupted", CHUNK_ROWS + 1))
        self.change(first["Location"], "n_kept = 2")
        status, _, answer = self.send(csv_of(rows), rest=self.own, Idempotency_Key=key)
        self.assertEqual((status, len(answer)), (200, len(rows)))

    def test_a_report_is_deleted_when_its_time_is_over_and_the_job_stays(self):
        key, file = secrets.token_hex(8), csv_of(rows_of(2, app_key="12"))
        _, headers, _ = self.send(file, rest=self.own, Idempotency_Key=key)
        _, tried, _ = self.send(csv_of(rows_of(2)), "format=csv&dry_run=true", self.own)
        _, fresh, _ = self.send(csv_of(rows_of(2, app_key="12")), rest=self.own)
        old = f"created_at = now() - {LATE}, changed_at = now() - {LATE}, lease_until = now() - {LATE}"
        for location in (headers["Location"], tried["Location"]):
            self.assertEqual(self.report(location), 200)
            self.change(location, old)
        name = f"old {secrets.token_hex(4)}"
        self.assertEqual(self.admin.call("post", "/v1/organizations", {"name": name}, Idempotency_Key=name)[0], 201)
        self.stack.psql(f"UPDATE idempotency SET at = now() - interval '25 hours' WHERE key = '{name}'")
        other = self.stack.second_activation()  # a service looks when it starts, and each minute
        self.addCleanup(other.stop)
        support.wait_until(lambda: self.report(headers["Location"]) == 410 and self.report(tried["Location"]) == 410,
                           support.READY_SECONDS, "the reports are gone")
        left = [self.stack.psql(f"SELECT count(*) FROM job_row r JOIN job j ON j.id = r.job_id WHERE j.public_id = "
                                f"'\\x{location.rpartition('/')[2]}'")[0][0]
                for location in (headers["Location"], tried["Location"], fresh["Location"])]
        self.assertEqual(left[2], "2")
        support.wait_until(lambda: self.stack.psql("SELECT count(*) FROM job WHERE n_kept > 0 AND "
                                                   "report_deleted_at IS NOT NULL") == [["0"]],
                           support.READY_SECONDS, "the rows are gone")
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM idempotency WHERE key = '{name}'"), [["0"]])
        self.assertEqual(self.own.call("get", headers["Location"])[2]["refused"], 2)
        self.assertEqual(self.send(file, rest=self.own, Idempotency_Key=key)[0], 410)
        self.assertEqual(self.report(fresh["Location"]), 200)
