"""The wall clock jumps, by hours and by years, in all processes or in some of them: nothing is lost, and nothing lasts for ever.

The processes see the clock of libfaketime, which each asks a file how far from the true one it is. Monotonic clocks are left
alone, as a real jump leaves them.
"""

import contextlib
import glob
import os
import re
import secrets
import unittest

import fault_check
import lorawan
import support
from fault_stack import count

HOUR, DAY, YEAR = 3600, 86400, 365 * 86400
JUMPS = (2 * HOUR, -HOUR, 100 * DAY, 0, 3 * YEAR, -30 * DAY)  # from the true time
KINDS = (("main",), ("other",), ("main", "other"))  # whose clocks
SESSIONS = 12  # more than are looked among
CHAIN_S = 60
ROUNDS = count(1)
LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class Clocks(support.Stack):
    """A stack all of whose processes have a clock of their own, which can be set. Key processes too: they are given the
    environment by a program in between, since services keep theirs from them."""

    def __init__(self, name, library):
        super().__init__(name)
        self.library, self.kind = library, "main"
        self.set_clock("main", 0)
        self.set_clock("other", 0)

    def file(self, kind):
        return f"{self.state}.clock-{kind}"  # the state folder begins empty

    def set_clock(self, kind, seconds):
        with open(self.file(kind) + ".new", "w", encoding="ascii") as file:
            file.write(f"{seconds:+d}s\n")
        os.replace(self.file(kind) + ".new", self.file(kind))

    def fake(self, kind):
        return {"LD_PRELOAD": self.library, "FAKETIME_TIMESTAMP_FILE": self.file(kind), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}

    def environment(self):
        return {**super().environment(), **self.fake(self.kind)}

    def keyd(self, kind):
        """A cradle-keyd with this clock."""
        path = self.path(f"keyd-{kind}")
        with open(path, "w", encoding="utf-8") as file:
            words = " ".join(f"{name}={value}" for name, value in self.fake(kind).items())
            file.write(f"#!/bin/sh\nexec env {words} {self.program('hsm/cradle-keyd')} \"$@\"\n")
        os.chmod(path, 0o755)
        return f"hsm.keyd={path}"

    def second(self, start):
        """One more service, on the other clock."""
        self.kind = "other"
        try:
            return start(self.keyd("other"))
        finally:
            self.kind = "main"


def forget_shared():
    """What libfaketime shares of processes that have ended, which it leaves behind when they were killed."""
    for path in glob.glob("/dev/shm/*faketime_*"):
        pid = re.search(r"faketime_(?:shm|sem)_(\d+)$", path)
        if pid and not os.path.exists(f"/proc/{pid[1]}"):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                os.unlink(path)


class Clock(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        found = glob.glob(LIBRARIES)
        if not found:
            raise unittest.SkipTest("there is no libfaketime: install Debian's package faketime")
        cls.stack = Clocks("clock", found[0])
        cls.addClassCleanup(forget_shared)  # behind the next, which comes first
        cls.addClassCleanup(cls.stack.stop)
        try:
            cls.stack.start()
        except AssertionError as error:
            if "ft_shm_init" not in str(error):
                raise
            raise unittest.SkipTest("what libfaketime shares is its first user's alone, and PostgreSQL runs as another user here") from None
        cls.join_other = cls.stack.second(cls.stack.second_joinserver)
        cls.activation_other = cls.stack.second(cls.stack.second_activation)
        cls.urls = (cls.stack.join_url, cls.join_other.url)

    def setUp(self):
        self.addCleanup(self.everywhere, 0)
        self.devices = [self.stack.device(version) for version in ("1.0.3", "1.0.4", "1.1")]
        self.join_nonces = {}

    def everywhere(self, seconds):
        self.stack.set_clock("main", seconds)
        self.stack.set_clock("other", seconds)

    def joins(self, url=None):
        """Each device joins once, with a JoinNonce above its last, and again with the same bytes."""
        for device in self.devices:
            nonce = self.stack.next_nonce(device)
            message = lorawan.join_req(device, nonce, support.HOME)
            status, answer = self.stack.post_join(message, url=url)
            self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"), answer)
            accept = lorawan.open_accept(device, answer["PHYPayload"], nonce)
            self.assertGreater(accept["join_nonce"], self.join_nonces.get(device["dev_eui"], -1))
            self.join_nonces[device["dev_eui"]] = accept["join_nonce"]
            self.assertEqual(self.stack.post_join(message, url=url)[1]["PHYPayload"], answer["PHYPayload"])

    def imports(self):
        device, = self.stack.devices("1.0.3", 1)
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM device WHERE dev_eui = '\\x{device['dev_eui']}'"), [["1"]])

    def events(self):
        euis = ",".join(f"'\\x{device['dev_eui']}'" for device in self.devices)
        return int(self.stack.psql(f"SELECT count(*) FROM join_event WHERE outcome = 'success' AND dev_eui IN ({euis})")[0][0])

    def test_joins_and_imports_go_on_whichever_clock_jumps(self):
        n = 0
        for _ in range(ROUNDS):
            for index, jump in enumerate(JUMPS):
                for kinds in KINDS if ROUNDS > 1 else KINDS[index % 3:][:1]:
                    with self.subTest(jump=jump, kinds=kinds):
                        self.everywhere(0)
                        for kind in kinds:
                            self.stack.set_clock(kind, jump)
                        for url in self.urls:
                            self.joins(url)
                        n += 2 * len(self.devices)
                        self.imports()
        self.assertEqual(self.events(), n)
        self.stack.wait_ready()
        twice = fault_check.check([], fault_check.facts_of(self.stack), leave_out=("I2",))  # `at` is the order of the rules
        fault_check.held(twice)
        self.assertEqual(self.stack.psql("SELECT count(*) - count(DISTINCT (dev_eui, join_nonce)) FROM join_event "
                                         "WHERE outcome = 'success'"), [["0"]])

    def test_a_jump_beyond_all_partitions_loses_no_event_and_they_are_made_later(self):
        default = "SELECT count(*) FROM join_event_default"
        self.everywhere(3 * YEAR)
        self.joins()
        self.assertNotEqual(self.stack.psql(default), [["0"]])
        killed = self.stack.kill("joinserver", 15)
        self.stack.wait_restarted("joinserver", killed)
        self.stack.wait_ready()
        month = self.stack.psql("SELECT 'join_event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')")[0][0]
        self.assertEqual(self.stack.psql(f"SELECT to_regclass('{month}') IS NOT NULL"), [["t"]])
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM {month}"), [[str(len(self.devices))]])
        self.joins()
        self.everywhere(0)
        self.joins()
        self.assertEqual(self.events(), 3 * len(self.devices))

    def test_a_token_ends_with_its_time_however_the_clock_comes_there(self):
        ask = ("GET", f"/v1/devices/{self.devices[0]['dev_eui']}", None)

        def status(token):
            return self.stack.activation(*ask, {"Authorization": f"Bearer {token}"})[0]
        old = self.stack.token()
        self.assertEqual(status(old), 200)
        self.everywhere(DAY)
        self.assertEqual(status(old), 401)
        future = self.stack.token()
        self.assertEqual(status(future), 200)
        self.everywhere(0)
        self.assertEqual(status(self.stack.token()), 200)
        self.assertEqual(status(future), 401)  # it would be good for longer than any may be

    def test_an_appskey_is_had_of_the_last_session_after_the_clock_went_back(self):
        server, device = self.stack.application_server(), self.devices[0]
        for jump in (30 * DAY,) * SESSIONS + (0,) * 2:
            self.everywhere(jump)
            nonce = self.stack.next_nonce(device)
            _, answer = self.stack.post_join(lorawan.join_req(device, nonce, support.HOME))
            self.assertEqual(answer["Result"]["ResultCode"], "Success")
            message = {"ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": server["as_id"], "TransactionID": 7,
                       "ReceiverID": device["join_eui"], "DevEUI": device["dev_eui"], "SessionKeyID": answer["SessionKeyID"]}
            status, key = self.stack.post_join(message, token=server["token"])
            self.assertEqual((status, key["Result"]["ResultCode"]), (200, "Success"), jump)

    def test_audit_events_are_chained_and_signed_however_the_clock_jumps(self):
        for jump in (YEAR, 0, -YEAR, 0):
            self.everywhere(jump)
            made = self.stack.cradle("client", "add", "--organization", f"clock {secrets.token_hex(4)}", "--role", "owner")
            self.assertEqual(made.returncode, 0, made.stderr)
            support.wait_until(lambda: self.stack.psql("SELECT count(*) FROM audit_pending") == [["0"]], CHAIN_S, "all events are chained")
        out = self.stack.path("audit.out")
        exported = self.stack.cradle("audit", "export", out)
        self.assertEqual(exported.returncode, 0, exported.stderr)


if __name__ == "__main__":
    unittest.main()
