"""Services killed, held up or failed at named places: exactly before and after load, key process, commit and answer."""

import json
import os
import time
import unittest

import fault_check
import fault_journal
import fault_points
import support
from fault_stack import LEASES_OVER, SERVICES, AtOnce, FaultTest, count
from test_accounts import Rest
from test_jobs import csv_of, rows_of
from test_webhooks import HookStack

ROUNDS = count(0)  # of each place; 0: each once, with few kills, which take longest
PASSED_S = 60  # until a place is passed, at most
LATEST_PASSAGE = 4  # which of the passages it is
PAUSES_MS = (20, 400, 1500)  # the last one is longer than a join may take
SMOKE_KILL_EVERY = 5
EXPORT_EVERY_S = 0.3
# A checkpoint is signed each ten minutes: the last one is made to look as old as that.
BEFORE = {"audit_signed": "SET session_replication_role = replica; UPDATE audit_checkpoint SET signed_at = 0"}
FIRST_ALONE = ("audit_signed", "job_taken", "export_before_commit", "export_commit_done", "webhook_taken")  # come by seldom


class Exporter(fault_journal.Caller):
    """Exports a few devices again and again."""

    def turn(self):
        self.call("POST", "/v1/exports", json.dumps({"format": "tts-csv"}).encode(), Content_Type="application/json")
        self.stopping.wait(EXPORT_EVERY_S)


def load_tests(loader, tests, _):
    """The campaign is there where its places are, or where it was asked for."""
    if fault_points.built(support.built()) or "CRADLE_FAULT_COUNT" in os.environ:
        return tests
    return loader.loadTestsFromTestCase(ShippedPrograms)


class ShippedPrograms(unittest.TestCase):
    def test_shipped_programs_have_no_failpoint(self):
        if fault_points.built(support.built()):
            self.skipTest("these programs were built with failpoints, and are not shipped")
        for path in (*support.SERVICE_PROGRAMS, "cli/cradle", "cli/cradle-device"):
            self.assertFalse(fault_points.has_names(os.path.join(support.built(), path)), path)

    def test_the_search_finds_names_where_there_are_some(self):
        path = support.Stack("names").path("program")
        with open(path, "wb") as file:
            file.write(b"\x7fELFfailpoint " + fault_points.names()[-1].encode() + b"\0")
        self.assertTrue(fault_points.has_names(path))


class PointStack(AtOnce, HookStack):
    def environment(self):
        return {**super().environment(), fault_points.ENVIRONMENT: f"{self.state}-failpoints"}


class Failpoints(FaultTest):
    name = "failpoints"

    @classmethod
    def setUpClass(cls):
        if not fault_points.built(support.built()):
            raise unittest.SkipTest("these programs were built without failpoints: scripts/fault failpoints, or scripts/test asan")
        super().setUpClass()

    @classmethod
    def get_stack(cls):
        stack = PointStack(cls.name)
        cls.addClassCleanup(stack.stop)
        cls.control = fault_points.Control(f"{stack.state}-failpoints")
        cls.addClassCleanup(cls.control.close)
        return stack

    def furnished(self):
        """A load with webhooks for what is claimed, and exports."""
        receiver = self.stack.receiver()
        self.addCleanup(receiver.close)
        load = self.load(n_joiners=4)
        for caller in load.clients[-1].callers:
            Rest(self.stack, caller.account).call(
                "post", "/v1/webhooks", {"url": receiver.url, "events": ["device.claimed"]})
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = admin.call("post", "/v1/organizations", {"name": "exporter", "allow_clear_keys": True})[2]
        account = admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": ["module_maker"]})[2]
        maker = Rest(self.stack, account)
        self.stack.import_file(csv_of(rows_of(3, home_net_id="", as_id="")), token=maker.token)
        load.clients.append(Exporter(load, account))
        return load

    def action(self, number):
        if ROUNDS == 0 and number % SMOKE_KILL_EVERY:
            return (fault_points.PAUSE, fault_points.FAIL)[number % 2]
        return fault_points.ACTIONS[0 if ROUNDS == 0 else number % len(fault_points.ACTIONS)]

    def pass_by(self, load, point, action):
        """Arms a place and waits until somebody has passed it."""
        first = 1 if point in FIRST_ALONE else self.random.randint(1, LATEST_PASSAGE)
        self.control.arm(point, action, first, self.random.choice(PAUSES_MS))
        if point in BEFORE:
            self.stack.wait_ready()
            self.stack.psql(BEFORE[point])
        try:
            support.wait_until(lambda: not self.control.get("armed"), PASSED_S, f"{point} is passed")
        except AssertionError:
            load.raise_broken()
            raise
        load.fault()

    def test_what_happens_at_any_place_breaks_no_promise(self):
        worst, passed, done = {}, {}, 0
        before = fault_check.resources(self.pids())
        points = self.control.names
        with self.furnished() as load:
            load.fault()
            self.recovered(load, "the start", worst)
            for turn in range(max(ROUNDS, 1)):
                for index, point in enumerate(points):
                    action = self.action(turn + index)
                    begun = time.monotonic()
                    self.pass_by(load, point, action)
                    passed[point] = max(passed.get(point, 0), round(time.monotonic() - begun, 1))
                    self.recovered(load, fault_points.WORDS[action], worst)
                    support.wait_until(lambda: len(self.pids()) == len(SERVICES), PASSED_S, "who was killed is started again")
                    done += 1
                self.stack.wait_ready()
                self.stack.psql(LEASES_OVER)
        print(f"\n{done} times at one of {len(points)} places, longest until 25 joins had succeeded again (s): "
              f"{ {name: round(s, 1) for name, s in worst.items()} }, longest until a place was passed: {passed}", flush=True)
        self.verdict(load)
        fault_check.held(fault_check.returns_to(before, self.pids))
