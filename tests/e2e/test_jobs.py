"""Imports as jobs: resumed where they stood, tried without effect, and a fleet that has joined elsewhere."""

import base64
import hashlib
import itertools
import json
import os
import secrets
import signal
import subprocess
import unittest

import lorawan
import support
from test_accounts import Rest

COLUMNS = ("dev_eui", "join_eui", "app_key", "mac_version", "home_net_id", "as_id")
CHUNK_ROWS = 256
KILLS = 6


def rows_of(n, **changes):
    rows = []
    for _ in range(n):
        row = {"dev_eui": f"02cdce{secrets.token_hex(5)}", "join_eui": support.DEMO_JOIN_EUI,
               "app_key": secrets.token_hex(16), "mac_version": "1.0.3", "home_net_id": support.HOME,
               "as_id": "demo-as"}
        row.update(changes)
        rows.append(row)
    return rows


def csv_of(rows):
    return ("\n".join([",".join(rows[0])] + [",".join(row.values()) for row in rows]) + "\n").encode()


def leaf_of(row):
    """What docs/onboarding.md says of a row's leaf, from its report."""
    words = {row["reason"]} if "reason" in row else set()
    words = (words | {warning["type"] for warning in row.get("warnings", [])}) - {"dev-eui-exists"}
    entry = f"{row['line']} {row['dev_eui'] or '-'} {row['outcome']} {','.join(sorted(words)) or '-'}"
    return hashlib.sha256(b"\0" + entry.encode()).digest()


def root_of(leaves):
    """RFC 9162, section 2.1.1, word by word."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while 2 * left < len(leaves):
        left *= 2
    return hashlib.sha256(b"\1" + root_of(leaves[:left]) + root_of(leaves[left:])).digest()


class JobTest(unittest.TestCase):
    stack = None

    @classmethod
    def setUpClass(cls):
        cls.stack = support.shared()
        cls.maker = Rest(cls.stack, cls.stack.demo["clients"]["maker"])

    def send(self, body, query="format=csv", rest=None, **headers):
        """(status, headers, rows or problem)."""
        rest = rest or self.maker
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["Authorization"] = f"Bearer {rest.token}"
        status, got, answer = self.stack.activation("POST", f"/v1/batches/import?{query}", body, sent)
        if got.get_content_type() == "application/x-ndjson":
            return status, got, [json.loads(line) for line in answer.splitlines()]
        return status, got, json.loads(answer)

    def count(self, rows):
        euis = ",".join(f"'\\x{row['dev_eui']}'" for row in rows)
        return int(self.stack.psql(f"SELECT count(*) FROM device WHERE dev_eui IN ({euis})")[0][0])

    def join(self, device, nonce):
        _, answer = self.stack.post_join(lorawan.join_req(device, nonce, support.HOME))
        return answer


class Jobs(JobTest):
    def test_a_job_tells_what_it_did(self):
        rows = rows_of(3)
        rows[1]["app_key"] = "12"
        status, headers, answer = self.send(csv_of(rows))
        self.assertEqual([row["outcome"] for row in answer], ["created", "refused", "created"])
        self.assertTrue(answer[1]["advice"])
        job = self.maker.call("get", headers["Location"])[2]
        self.assertEqual((job["kind"], job["state"], job["line"]), ("import", "done", 4))
        self.assertEqual((job["created"], job["exists"], job["refused"]), (2, 0, 1))
        report = self.stack.activation("GET", headers["Location"] + "/report", None,
                                       {"Authorization": f"Bearer {self.maker.token}"})[2]
        self.assertEqual([json.loads(line) for line in report.splitlines()], answer)

    def test_the_audit_has_an_event_for_each_chunk_with_a_root_over_its_rows(self):
        rows = rows_of(CHUNK_ROWS + 45)
        self.send(csv_of(rows[3:4]))
        rows[5]["app_key"] = "12"
        rows[7]["dev_eui"] = "none"
        rows[9]["app_key"] = rows[11]["app_key"] = rows[13]["app_key"]
        _, headers, answer = self.send(csv_of(rows))
        job = headers["Location"].rpartition("/")[2]
        events = [(action, json.loads(detail)) for action, detail in self.stack.psql(
            f"SELECT action, detail FROM audit_event WHERE object = '{job}' ORDER BY id")]
        self.assertEqual([action for action, _ in events],
                         ["import.begin", *["import.chunk"] * (len(events) - 2), "import.end"])
        self.assertGreater(len(events), 3)  # more than one chunk: how many is the pace's
        self.assertEqual(events[-1][1], {"state": "done", "line": answer[-1]["line"], "exists": 1,
                                         "created": CHUNK_ROWS + 42, "refused": 2})
        after = 0
        for _, detail in events[1:-1]:
            own = [row for row in answer if after < row["line"] <= detail["line"]]
            self.assertEqual(detail["after"], after)
            self.assertEqual(detail["root"], root_of([leaf_of(row) for row in own]).hex())
            for outcome in ("created", "exists", "refused"):
                self.assertEqual(detail[outcome], sum(row["outcome"] == outcome for row in own))
            after = detail["line"]
        self.assertEqual(after, answer[-1]["line"])
        self.assertEqual({row["outcome"] for row in answer}, {"created", "exists", "refused"})

    def test_a_dry_run_leaves_no_event_of_rows(self):
        _, headers, _ = self.send(csv_of(rows_of(2)), "format=csv&dry_run=true")
        job = headers["Location"].rpartition("/")[2]
        self.assertEqual(self.stack.psql(f"SELECT action FROM audit_event WHERE object = '{job}'"), [["import.try"]])

    def test_a_dry_run_says_the_same_and_makes_nothing(self):
        rows = rows_of(CHUNK_ROWS + 3)
        rows[5]["app_key"] = "00" * 16
        there = self.stack.device("1.0.3")
        rows[6]["dev_eui"] = there["dev_eui"]
        status, _, tried = self.send(csv_of(rows), "format=csv&dry_run=true")
        self.assertEqual(status, 200, tried)
        self.assertEqual(self.count(rows), 1)
        self.assertEqual(self.send(csv_of(rows))[2], tried)
        self.assertEqual(self.count(rows), len(rows) - 1)
        self.assertEqual(tried[5]["reason"], "zero-key")

    def test_one_key_is_one_import(self):
        rows, key = rows_of(2), secrets.token_hex(8)
        first = self.send(csv_of(rows), Idempotency_Key=key)
        again = self.send(csv_of(rows), Idempotency_Key=key)
        self.assertEqual((first[2], first[1]["Location"]), (again[2], again[1]["Location"]))
        self.assertEqual([row["outcome"] for row in again[2]], ["created", "created"])
        self.assertEqual(self.send(csv_of(rows), "format=jsonl", Idempotency_Key=key)[0], 422)
        self.assertEqual([row["outcome"] for row in self.send(csv_of(rows))[2]], ["exists", "exists"])

    def test_a_key_that_is_none_is_refused_before_anything_is_done(self):
        before = self.stack.psql("SELECT count(*) FROM job")
        for key in ("", "k" * 256, "caf\u00e9", "a\tb"):
            status, _, problem = self.send(csv_of(rows_of(1)), Idempotency_Key=key)
            self.assertEqual((status, problem.get("field")), (400, "Idempotency-Key"), key)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM job"), before)
        self.assertEqual(self.send(csv_of(rows_of(1)), Idempotency_Key=secrets.token_hex(127) + "k")[0], 200)

    def test_a_file_that_breaks_off_goes_on_where_it_stood(self):
        rows, key = rows_of(2 * CHUNK_ROWS + 10), secrets.token_hex(8)
        whole = csv_of(rows)
        lines = whole.split(b"\n")
        broken = b"\n".join(lines[:CHUNK_ROWS + 20]) + b"\n\"open quote"
        status, headers, problem = self.send(broken, Idempotency_Key=key)
        self.assertEqual(status, 400, problem)
        self.assertIn(f"line {CHUNK_ROWS + 21}", problem["detail"])
        job = self.maker.call("get", headers["Location"])[2]
        self.assertEqual((job["state"], job["line"]), ("interrupted", CHUNK_ROWS + 20))
        self.assertEqual(self.count(rows), CHUNK_ROWS + 19)
        status, again, answer = self.send(whole, Idempotency_Key=key)
        self.assertEqual((status, again["Location"]), (200, headers["Location"]))
        self.assertEqual([row["outcome"] for row in answer], ["created"] * len(rows))
        self.assertEqual([row["line"] for row in answer], list(range(2, len(rows) + 2)))

    def events_of(self, location):
        return [action for action, in self.stack.psql(
            f"SELECT action FROM audit_event WHERE object = '{location.rpartition('/')[2]}' ORDER BY id")]

    def refused_as_another(self, body, key, *words):
        """422 that names the key; the job is as it was."""
        asked = "SELECT state, line, fault, n_created FROM job WHERE idempotency_key = '%s'" % key
        before = self.stack.psql(asked)
        status, headers, problem = self.send(body, Idempotency_Key=key)
        self.assertEqual((status, problem.get("field")), (422, "Idempotency-Key"), problem)
        self.assertTrue(headers["Location"].startswith("/v1/jobs/"))
        for word in words:
            self.assertIn(word, problem["detail"])
        self.assertEqual(self.stack.psql(asked), before)

    def test_a_job_that_failed_does_not_hold_its_key(self):
        rows, key = rows_of(3), secrets.token_hex(8)
        status, headers, _ = self.send(csv_of(rows).replace(b"app_key", b"colour"), Idempotency_Key=key)
        self.assertEqual(status, 400)
        self.assertEqual(self.maker.call("get", headers["Location"])[2]["state"], "failed")
        status, again, answer = self.send(csv_of(rows), Idempotency_Key=key)
        self.assertEqual((status, again["Location"]), (200, headers["Location"]), answer)
        self.assertEqual([row["outcome"] for row in answer], ["created"] * 3)
        self.assertEqual(self.count(rows), 3)
        self.assertEqual(self.events_of(headers["Location"]),
                         ["import.begin", "import.end", "import.resume", "import.chunk", "import.end"])

    def test_a_done_job_is_repeated_for_its_file_alone(self):
        rows, key = rows_of(CHUNK_ROWS + 5), secrets.token_hex(8)
        cut = csv_of(rows[:CHUNK_ROWS + 1])
        _, headers, first = self.send(cut, Idempotency_Key=key)
        events = self.events_of(headers["Location"])
        for body in (csv_of(rows), cut[:-1], cut + b"\n", cut.replace(b"\n", b"\r\n"), b""):
            self.refused_as_another(body, key)
        self.assertEqual(self.count(rows), CHUNK_ROWS + 1)
        self.assertEqual(self.send(cut, Idempotency_Key=key)[2], first)
        self.assertEqual(self.events_of(headers["Location"]), events)

    def test_a_resumed_file_is_the_one_it_began_with(self):
        rows, key = rows_of(CHUNK_ROWS + 30), secrets.token_hex(8)
        whole = csv_of(rows)
        lines = whole.split(b"\n")
        done = CHUNK_ROWS + 20
        self.assertEqual(self.send(b"\n".join(lines[:done]) + b"\n\"a\"b\n", Idempotency_Key=key)[0], 400)
        others = rows_of(len(rows))
        for body in (b"\n".join(lines[:5] + lines[6:]), csv_of(others), b"\n".join(lines[:done - 1]),
                     b"\n".join([lines[0], b"# a remark"] + lines[1:]), b"\xef\xbb\xbf" + whole,
                     whole.replace(b"\n", b"\r\n"), b"\"a\"b\n", b"", whole.replace(b"1.0.3", b"1.0.4", 1)):
            self.refused_as_another(body, key, f"up to line {done}", "of its own")
        self.assertEqual((self.count(rows), self.count(others)), (done - 1, 0))
        status, headers, answer = self.send(whole, Idempotency_Key=key)
        self.assertEqual(status, 200, answer)
        self.assertEqual([row["outcome"] for row in answer], ["created"] * len(rows))
        # How many chunks, is the pace's.
        events = [event for event, _ in itertools.groupby(self.events_of(headers["Location"]))]
        self.assertEqual(events[:3], ["import.begin", "import.chunk", "import.interrupt"])
        self.assertEqual(events[3:-3], ["import.resume", "import.interrupt"] * 9)
        self.assertEqual(events[-3:], ["import.resume", "import.chunk", "import.end"])
        self.assertEqual(self.stack.psql("SELECT count(DISTINCT request_id) FROM audit_event WHERE object = "
                                         f"'{headers['Location'].rpartition('/')[2]}'"), [["11"]])

    def abandoned(self, key, seconds):
        """A job whose service was killed so long before the end of its lease; where it is, and its rows."""
        rows = rows_of(5)
        _, headers, _ = self.send(csv_of(rows) + b"\"", Idempotency_Key=key)
        self.stack.psql("UPDATE job SET state = 'running', lease_until = now() + "
                        f"interval '{seconds} seconds' WHERE idempotency_key = '{key}'")
        return headers["Location"], rows

    def test_who_comes_within_the_lease_is_told_when_it_is_over(self):
        key = secrets.token_hex(8)
        job, rows = self.abandoned(key, 30)
        status, headers, problem = self.send(csv_of(rows), Idempotency_Key=key)
        self.assertEqual((status, headers["Location"]), (409, job), problem)
        self.assertIn(int(headers["Retry-After"]), range(20, 31))

    def test_a_job_whose_service_is_gone_is_interrupted_and_goes_on(self):
        key = secrets.token_hex(8)
        job, rows = self.abandoned(key, 0)
        support.wait_until(lambda: self.maker.call("get", job)[2]["state"] == "interrupted", support.READY_SECONDS,
                           "the job is interrupted by itself")
        self.assertEqual(self.events_of(job)[-1], "import.interrupt")
        self.assertEqual(self.send(csv_of(rows), Idempotency_Key=key)[0], 200)

    def test_a_cancelled_job_goes_on_no_more(self):
        rows, key = rows_of(CHUNK_ROWS), secrets.token_hex(8)
        _, headers, _ = self.send(csv_of(rows) + b"\"", Idempotency_Key=key)
        self.assertEqual(self.maker.call("delete", headers["Location"])[0], 204)
        self.assertEqual(self.maker.call("delete", headers["Location"])[0], 409)
        self.assertEqual(self.maker.call("get", headers["Location"])[2]["state"], "cancelled")
        status, again, problem = self.send(csv_of(rows), Idempotency_Key=key)
        self.assertEqual((status, again["Location"]), (409, headers["Location"]))
        self.assertIn("cancelled", problem["detail"])

    def test_anothers_job_is_not_there(self):
        _, headers, _ = self.send(csv_of(rows_of(1)))
        owner = Rest(self.stack, self.stack.demo["clients"]["owner"])
        for method, path in (("get", ""), ("get", "/report"), ("delete", "")):  # an owner may cancel his exports
            self.assertEqual(owner.call(method, headers["Location"] + path)[0], 404)

    def test_only_who_may_begin_a_job_cancels_it(self):
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = admin.call("post", "/v1/organizations", {"name": f"c {secrets.token_hex(4)}", "allow_clear_keys": True})[2]
        rests = {role: Rest(self.stack, admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": [role]})[2])
                 for role in ("maker", "owner", "application_server", "auditor", "operator", "admin")}
        _, headers, _ = self.send(csv_of(rows_of(1)) + b"\"", rest=rests["maker"], Idempotency_Key=secrets.token_hex(8))
        for role, rest in rests.items():
            if role != "maker":
                self.assertEqual(rest.call("delete", headers["Location"])[0], 403, role)
                self.assertEqual(rest.call("get", headers["Location"])[2]["state"], "interrupted")
        self.assertEqual(rests["maker"].call("delete", headers["Location"])[0], 204)

    def test_keys_in_clear_are_the_organizations_choice(self):
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = admin.call("post", "/v1/organizations", {"name": f"strict {secrets.token_hex(4)}"})[2]
        client = admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": ["maker"]})[2]
        rows, strict = rows_of(1), Rest(self.stack, client)
        answer = self.send(csv_of(rows), rest=strict)[2]
        self.assertEqual((answer[0]["outcome"], answer[0]["reason"]), ("refused", "clear-key"))
        sealed = dict(rows[0])
        key = bytes.fromhex(sealed.pop("app_key"))
        run = subprocess.run(["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", self.stack.demo["exchange_key"],
                              "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1"],
                             input=key, capture_output=True, check=True)
        sealed["app_key_sealed"] = base64.b64encode(run.stdout).decode()
        other = dict(rows_of(1)[0], app_key_sealed=base64.b64encode(secrets.token_bytes(384)).decode())
        other.pop("app_key")
        answer = self.send(csv_of([sealed, {name: other[name] for name in sealed}]), rest=strict)[2]
        self.assertEqual([row["outcome"] for row in answer], ["created", "refused"])
        self.assertEqual(answer[1]["reason"], "key-does-not-open")
        device = dict(rows[0], nwk_key=None)
        self.assertEqual(self.join(device, 1)["Result"]["ResultCode"], "Success")

    def test_other_formats_are_read_too(self):
        row = rows_of(1)[0]
        answer = self.send(json.dumps(row).encode(), "format=jsonl")[2]
        self.assertEqual(answer[0]["outcome"], "created")
        tts = ("id;dev_eui;join_eui;lorawan_version;app_key\n"
               f"x;{rows_of(1)[0]['dev_eui'].upper()};{row['join_eui'].upper()};MAC_V1_0_3;{secrets.token_hex(16)}\n")
        answer = self.send(tts.encode(), f"format=tts-csv&home_net_id={support.HOME}&as_id=demo-as")[2]
        self.assertEqual(answer[0]["outcome"], "created")

    def test_a_key_that_two_devices_have_is_told(self):
        key = secrets.token_hex(16)
        answer = self.send(csv_of(rows_of(2, app_key=key)))[2]
        self.assertEqual([[w["type"] for w in row["warnings"]] for row in answer], [["duplicate-key"]] * 2)
        answer = self.send(csv_of(rows_of(1, app_key=key)))[2]
        self.assertEqual([w["type"] for w in answer[0]["warnings"]], ["duplicate-key"])


class LivingFleet(JobTest):
    def test_a_device_that_has_counted_elsewhere_goes_on_counting(self):
        row = dict(rows_of(1, mac_version="1.0.4")[0], join_nonce="100", dev_nonce="50")
        self.assertEqual(self.send(csv_of([row]))[2][0]["outcome"], "created")
        device = dict(row, nwk_key=None)
        self.assertEqual(self.join(device, 50)["Result"]["ResultCode"], "JoinReqFailed")
        answer = self.join(device, 51)
        self.assertEqual(answer["Result"]["ResultCode"], "Success")
        self.assertEqual(lorawan.open_accept(device, answer["PHYPayload"], 51)["join_nonce"], 101)

    def test_a_random_dev_nonce_that_was_used_elsewhere_is_used(self):
        row = dict(rows_of(1)[0], join_nonce="7", used_dev_nonces="1 2047 2048 5000-5003 65535")
        answer = self.send(csv_of([row]))[2]
        self.assertEqual(answer[0]["outcome"], "created", answer)
        device = dict(row, nwk_key=None)
        for nonce in (1, 2047, 2048, 5000, 5003, 65535):
            self.assertEqual(self.join(device, nonce)["Result"]["ResultCode"], "JoinReqFailed", nonce)
        for nonce in (0, 2, 2046, 2049, 4999, 5004, 65534):
            self.assertEqual(self.join(device, nonce)["Result"]["ResultCode"], "Success", nonce)


class Killed(JobTest):
    """The service dies while it imports: no row is lost, none is there twice, and the answer is whole."""

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("jobs")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def test_a_file_that_outlives_its_service(self):
        rows, key = rows_of(40 * CHUNK_ROWS), secrets.token_hex(8)
        body = csv_of(rows)
        line = 0
        for kill in range(KILLS):
            self.maker = Rest(self.stack, self.stack.demo["clients"]["maker"])
            pid = self.stack.pids("activation")[0]
            sender = subprocess.Popen(
                ["curl", "-sS", "-o", "/dev/null", "--data-binary", "@-", "-H", f"Authorization: Bearer {self.maker.token}",
                 "-H", f"Idempotency-Key: {key}", f"{self.stack.activation_url}/v1/batches/import?format=csv"],
                stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
            sender.stdin.write(body)
            sender.stdin.close()
            line = support.wait_until(lambda last=line: self.further_than(key, last), support.READY_SECONDS,
                                      "a chunk more is committed")
            os.kill(pid, signal.SIGKILL)
            sender.wait()
            self.stack.wait_restarted("activation", pid)
            self.stack.wait_ready()
            # Whoever died holds the lease: it is over in a minute, and here at once.
            self.stack.psql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'")
            there, last = self.stack.psql("SELECT (SELECT count(*) FROM device WHERE batch_id = j.batch_id), line "
                                          f"FROM job j WHERE idempotency_key = '{key}'")[0]
            self.assertEqual(int(there), int(last) - 1, f"after kill {kill + 1}")
        self.maker = Rest(self.stack, self.stack.demo["clients"]["maker"])
        status, _, answer = self.send(body, Idempotency_Key=key)
        self.assertEqual(status, 200)
        self.assertEqual([row["line"] for row in answer], list(range(2, len(rows) + 2)))
        self.assertEqual({row["outcome"] for row in answer}, {"created"})
        self.assertEqual([row["dev_eui"] for row in answer], [row["dev_eui"] for row in rows])

    def further_than(self, key, line):
        found = self.stack.psql(f"SELECT line FROM job WHERE idempotency_key = '{key}'")
        return int(found[0][0]) if found and int(found[0][0]) > line else None
