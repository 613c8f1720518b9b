"""The tag key and the code key have versions: a new one comes, all is made anew or expires, the old one goes, and
devices join, come in and are claimed all the while."""

import contextlib
import http.client
import secrets
import threading
import time
import urllib.error

import support
from test_accounts import Rest
from test_claims import ClaimTest, code_of_label
from test_codes import unclaimed
from test_jobs import csv_of

WALK_SECONDS = 150
BEHIND_S = 13  # KEYD_BEHIND_MS, and some: by then no key process makes anything by the version before
BROKEN = (OSError, http.client.HTTPException, urllib.error.URLError)


class KeyLifeTest(ClaimTest):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("key-life")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.maker = Rest(cls.stack, cls.stack.demo["clients"]["maker"])

    def hsm(self, *words, code=0):
        run = self.stack.cradle("hsm", *words)
        self.assertEqual(run.returncode == 0, code == 0, run.stdout + run.stderr)
        return run.stdout + run.stderr

    def turn(self, family, version):
        """A new version, which makes what is new."""
        self.assertIn("does not", self.hsm("rotate", family))
        self.assertIn("from now on", self.hsm("activate", family, version))

    def number(self, sql):
        return int(self.stack.psql(f"SELECT count(*) FROM {sql}")[0][0])

    def walked(self):
        """Until the walk towards what is the newest now has ended."""
        support.wait_until(lambda: self.stack.psql(
            "SELECT finished_at IS NOT NULL FROM key_rewrap ORDER BY started_at DESC LIMIT 1")[0] == ["t"]
            and "finished" in self.hsm("progress"), WALK_SECONDS, "the walk has ended")


class Traffic:
    """Joins, imports and claims without end; what was not as it should be is kept. A call that a killed service left
    without an answer is made again, as its caller would."""

    def __init__(self, case, devices):
        self.case, self.devices = case, devices
        self.failed, self.counts = [], {"joins": 0, "imports": 0, "claims": 0}
        self.owner = case.owner()
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.loop, args=(what,)) for what in (self.joins, self.imports)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def loop(self, what):
        while not self.stop.is_set() and not self.failed:
            try:
                what()
            except AssertionError as error:
                self.failed.append(str(error))

    def again(self, call):
        while True:
            try:
                return call()
            except BROKEN:
                if self.stop.wait(0.2):
                    raise AssertionError("no answer") from None

    def joins(self):
        for device in self.devices:
            self.case.stack.join(device)
            self.counts["joins"] += 1

    def imports(self):
        """Devices that come in with a code and are claimed by it."""
        rows = [{**row, "code": code_of_label()} for row in unclaimed(2)]
        status, _, answer = self.again(lambda: self.case.send(csv_of(rows)))
        if status != 200 or {row["outcome"] for row in answer} - {"created", "exists"}:
            raise AssertionError(f"import: {status} {answer}")
        self.counts["imports"] += 1
        for row in rows:
            key = secrets.token_hex(8)
            status, _, answer = self.again(
                lambda row=row, key=key: self.case.claim(self.owner, row["dev_eui"], row["code"], key))
            if status != 200:
                raise AssertionError(f"claim: {status} {answer}")
            self.counts["claims"] += 1

    def go_on(self):
        """Until all three have come through once more."""
        at = dict(self.counts)
        support.wait_until(lambda: self.failed or all(self.counts[name] > at[name] + 1 for name in at), WALK_SECONDS,
                           "joins, imports and claims go on")
        self.case.assertEqual(self.failed, [])


class KeyLife(KeyLifeTest):
    OLD = "(SELECT tag FROM device_key UNION ALL SELECT tag FROM kek) t WHERE octet_length(tag) = 32"

    def test_it_is_rotated_away_under_traffic_and_a_service_that_is_killed_on_the_way(self):
        devices = [self.stack.device("1.0.3"), self.stack.device("1.1")]
        twin = unclaimed(1)[0]
        self.send(csv_of([twin]))
        before = self.stack.psql("SELECT dev_eui, gate_rev FROM device_join ORDER BY 1")
        n_old = self.number(self.OLD)
        self.assertGreater(n_old, 4)
        with Traffic(self, devices) as traffic:
            traffic.go_on()
            self.hsm("rotate", "tag")
            self.assertIn("does not seal yet", self.hsm("rotate", "tag", code=1))
            last = self.stack.psql("SELECT encode(dev_eui, 'hex') FROM device_key WHERE octet_length(tag) = 32"
                                   " ORDER BY dev_eui DESC LIMIT 1")[0][0]
            # The walk comes to this row and waits; there its service is killed.
            with self.stack.locked(f"SELECT FROM device_key WHERE dev_eui = '\\x{last}' FOR UPDATE"):
                self.assertIn("makes tags from now on", self.hsm("activate", "tag", "2"))
                support.wait_until(lambda: self.stack.psql(
                    "SELECT pid FROM pg_stat_activity WHERE application_name = 'cradle-activation-rewrap'"
                    " AND wait_event_type = 'Lock'"), WALK_SECONDS, "the walk waits for the row")
                self.assertIn("need tag.1", self.hsm("retire", "tag", "1", code=1))
                killed = self.stack.kill("activation")
            self.stack.wait_restarted("activation", killed)
            traffic.go_on()
            support.wait_until(lambda: self.number(self.OLD) == 0, WALK_SECONDS, "all tags are made anew")
            self.walked()
            self.assertIn("tag.2 makes what is new", self.hsm("retire", "tag", "2", code=1))
            self.assertIn("is gone", self.hsm("retire", "tag", "1"))
            traffic.go_on()
        self.assertEqual(traffic.failed, [])
        now = dict(self.stack.psql("SELECT dev_eui, gate_rev FROM device_join"))
        self.assertEqual([device for device, gate_rev in before if now[device] != gate_rev], [], "a session has ended")
        listed = self.hsm("list")
        self.assertIn("tag.2 ", listed)
        self.assertNotIn("tag.1 ", listed)
        # A key that came in under the one is found where it comes in once more under the other.
        copy = unclaimed(1, app_key=twin["app_key"])[0]
        self.send(csv_of([copy]))
        answer = self.maker.call("get", f"/v1/devices/{copy['dev_eui']}/signals")[2]
        self.assertEqual([signal["kind"] for signal in answer["signals"]], ["shared_key"])

    def version(self, device):
        return self.stack.psql("SELECT CASE octet_length(hash) WHEN 32 THEN 1 ELSE get_byte(hash, 32) * 256 + get_byte(hash, 33)"
                               f" END FROM claim_code WHERE dev_eui = '\\x{device['dev_eui']}'")[0][0]

    def test_codes_are_taken_by_the_version_that_they_were_made_with(self):
        first, second, third = self.devices(3)
        owner = self.owner()
        claimed = self.claimed(owner, third)
        with Traffic(self, [self.stack.device("1.0.4")]) as traffic:
            traffic.go_on()
            self.turn("code", "2")
            behind = time.monotonic() + BEHIND_S
            traffic.go_on()
            support.wait_until(lambda: self.version(self.devices(1)[0]) == "2" and time.monotonic() > behind, WALK_SECONDS,
                               "every key process hashes codes by code.2")
            new = self.device()
            self.assertEqual([self.version(d) for d in (first, second, third, new)], ["1", "1", "1", "2"])
            # Neither version nor presence is told by a refusal.
            answers = [self.refused(self.claim(self.owner(), d["dev_eui"], code_of_label())) for d in (
                first, new, {"dev_eui": secrets.token_hex(8)})]
            self.assertEqual([answer for answer in answers if answer != answers[0]], [])
            self.assertEqual([self.reasons(d)[-1] for d in (first, new)], ["code", "code"])
            self.assertIn("claim codes", self.hsm("retire", "code", "1", code=1))
            # Whoever claims or asks for another code gets one of the newest.
            self.claimed(self.owner(), first)
            rotated = owner.call("post", f"/v1/devices/{third['dev_eui']}/rotate-code")
            self.assertEqual(rotated[0], 200, rotated)
            self.assertNotEqual(rotated[2]["code"], claimed["code"])
            self.assertEqual([self.version(d) for d in (first, second, third)], ["2", "1", "2"])
            traffic.go_on()
        self.assertEqual(traffic.failed, [])
        self.assertIn("code.1", self.hsm("progress"))
        # What is not claimed keeps its version alive, for as long as its code is on its box.
        left = self.number("claim_code WHERE octet_length(hash) = 32")
        self.assertGreater(left, 0)
        self.assertIn(f"{left} claim codes", self.hsm("retire", "code", "1", "--forget-labels", code=1))
        self.assertGreater(self.number("claim_code WHERE octet_length(pac_hash) = 32"), 0, "nothing is forgotten in vain")
        for device in self.stack.psql("SELECT encode(dev_eui, 'hex') FROM claim_code WHERE octet_length(hash) = 32"):
            self.stack.psql(f"DELETE FROM claim_code WHERE dev_eui = '\\x{device[0]}'")
        self.assertIn("orders with files", self.hsm("retire", "code", "1", "--forget-labels", code=1))
        self.stack.psql("UPDATE batch_order SET files_deleted_at = now()")
        self.assertIn("codes of labels need code.1", self.hsm("retire", "code", "1", code=1))
        self.walked()
        self.retire_while_a_code_of_it_is_stored(new)
        self.assertIn("code.1 (check value", self.hsm("retire", "code", "1"))
        self.claimed(self.owner(), new)
        events = self.stack.psql("SELECT action, object FROM audit_event WHERE action LIKE 'hsm.%' AND object LIKE 'code.%' ORDER BY id")
        self.assertEqual(events, [["hsm.rotate", "code.2"], ["hsm.activate", "code.2"], ["hsm.forget-labels", "code.1"], ["hsm.retire", "code.1"]])
        self.assertIn(["code.1"], self.stack.psql("SELECT key FROM key_fence"))

    def retire_while_a_code_of_it_is_stored(self, device):
        """When it looks, nothing needs code.1; but a transaction is under way that does."""
        hash_of, said = f"claim_code SET hash = %s WHERE dev_eui = '\\x{device['dev_eui']}'", []
        thread = threading.Thread(target=lambda: said.append(self.stack.cradle("hsm", "retire", "code", "1", "--forget-labels")))
        ((kept,),) = self.stack.psql(f"SELECT hash FROM claim_code WHERE dev_eui = '\\x{device['dev_eui']}'")
        with self.stack.locked("UPDATE " + hash_of % "substring(hash FROM 1 FOR 32)", end="COMMIT"):
            thread.start()
            support.wait_until(lambda: self.stack.psql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'cradle'"
                                                       " AND wait_event = 'advisory'"), WALK_SECONDS, "the fence waits for it")
            self.assertEqual(self.stack.psql("SELECT count(*) FROM key_fence WHERE key = 'code.1'"), [["0"]])
        thread.join()
        self.assertNotEqual(said[0].returncode, 0, said)
        self.assertIn("codes of labels were forgotten", said[0].stdout)
        self.assertIn("1 claim codes need code.1", said[0].stderr)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM key_fence WHERE key = 'code.1'"), [["0"]])
        self.assertIn("code.1 ", self.hsm("list"))
        self.stack.psql("UPDATE " + hash_of % f"'{kept}'")

    def newest(self):
        """What seals: the device keys' KEK, the peers', the tag key, the code key."""
        rows = support.wait_until(lambda: self.stack.psql("SELECT target FROM key_rewrap ORDER BY started_at DESC LIMIT 1"),
                                  WALK_SECONDS, "a service has looked at what seals")
        return rows[0][0].split()

    @contextlib.contextmanager
    def fence(self, *keys):
        for key in keys:
            self.stack.psql(f"INSERT INTO key_fence (key) VALUES ('{key}')")
        try:
            yield
        finally:
            self.stack.psql("DELETE FROM key_fence WHERE key IN (" + ", ".join(f"'{key}'" for key in keys) + ")")

    def test_what_was_sealed_under_a_version_that_goes_is_refused_with_the_reason_and_done_anew(self):
        """As if its service had been stopped between the sealing and the storing: what seals has a fence before it."""
        joining, device, owner, row, key = self.stack.device("1.0.3"), self.device(), self.owner(), unclaimed(1)[0], secrets.token_hex(8)
        keys = self.newest()
        for fenced in ((keys[0],), (keys[2],), keys):
            with self.fence(*fenced):
                status, _, answer = self.send(csv_of([row]))
                self.assertEqual(status, 503, answer)
                self.assertIn("is being retired", answer["detail"])
                self.stack.join(joining)
            self.assertEqual(self.number(f"device WHERE dev_eui = '\\x{row['dev_eui']}'"), 0)
        self.assertEqual(self.send(csv_of([row]))[2][0]["outcome"], "created")
        with self.fence(keys[3]):
            status, _, answer = self.claim(owner, device["dev_eui"], device["code"], key)
            self.assertEqual(status, 503, answer)
            self.assertIn("is being retired", answer["detail"])
        self.assertEqual(self.row(device, "ownership, generation"), ["unowned", "1"])
        self.claimed(owner, device, key=key)
