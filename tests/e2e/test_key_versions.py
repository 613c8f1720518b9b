"""Storage KEKs have versions: a new one is made and let seal, all is sealed anew while devices join, the old one goes."""

import threading
import unittest

import support

WALK_SECONDS = 150


class KeyVersions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("key-versions")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.escrow = cls.stack.path("storage-keks.escrow")

    def hsm(self, *words, code=0):
        run = self.stack.cradle("hsm", *words)
        self.assertEqual(run.returncode == 0, code == 0, run.stdout + run.stderr)
        return run.stdout + run.stderr

    def labels(self):
        return {row[0] for row in self.stack.psql(
            "SELECT kek_label FROM device_key UNION SELECT kek_label FROM kek UNION SELECT transport_kek_label"
            " FROM batch_order WHERE transport_kek_label IS NOT NULL")}

    def progress(self):
        return self.stack.psql("SELECT target, finished_at IS NOT NULL, n_done, n_stuck, reason FROM key_rewrap"
                               " ORDER BY started_at DESC LIMIT 1")[0]

    def sessions(self):
        return self.stack.psql("SELECT dev_eui, gate_rev FROM device_join ORDER BY 1")

    def test_a_version_is_rotated_away_while_devices_join(self):
        old = [self.stack.device("1.0.3"), self.stack.device("1.1")]
        for device in old:
            self.stack.join(device)
        before = self.sessions()
        self.assertEqual(self.labels(), {"store-device.1", "store-kek.1"})

        for family in ("device", "kek"):
            self.assertIn("does not seal yet", self.hsm("rotate", family, "--escrow", self.escrow))
            self.assertIn("does not seal yet", self.hsm("rotate", family, code=1))
        pending = self.stack.device("1.0.3")
        self.stack.join(pending)
        self.assertEqual(self.labels(), {"store-device.1", "store-kek.1"}, "a version that is not active seals nothing")
        self.hsm("retire", "device", "1", code=1)

        stop, failed, joined = threading.Event(), [], [0]

        def keep_joining():
            while not stop.is_set():
                for device in old:
                    try:
                        self.stack.join(device)
                        joined[0] += 1
                    except AssertionError as error:
                        failed.append(str(error))

        thread = threading.Thread(target=keep_joining)
        thread.start()
        try:
            for family in ("device", "kek"):
                self.assertIn("seals from now on", self.hsm("activate", family, "2"))
                self.assertIn("seals already", self.hsm("activate", family, "2", code=1))
            # Without the twins nothing of the old version can be sealed anew, and it is told why.
            support.wait_until(lambda: int(self.progress()[3]) > 0, WALK_SECONDS, "the walk tells of what is stuck")
            self.assertIn("store-", self.hsm("progress"))
            self.assertIn("device keys need store-device.1", self.hsm("retire", "device", "1", code=1))
            for family in ("device", "kek"):
                self.hsm("open", family, "1", "--escrow", self.escrow)
            support.wait_until(lambda: self.labels() == {"store-device.2", "store-kek.2"}, WALK_SECONDS, "all is sealed anew")
            support.wait_until(lambda: self.progress()[1] == "t", WALK_SECONDS, "the walk has ended")
            self.hsm("close")
            for family in ("device", "kek"):
                self.assertIn("is gone", self.hsm("retire", family, "1"))
            at = joined[0]
            support.wait_until(lambda: joined[0] >= at + 6 or failed, WALK_SECONDS, "devices join under the new version")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(self.sessions_kept(before), len(before))
        listed = self.hsm("list")
        self.assertNotIn("store-device.1 ", listed)
        self.assertNotIn("rewrap-", listed)
        self.assertIn("store-device.2 ", listed)
        self.stack.join(self.stack.device("1.1"))

    def sessions_kept(self, before):
        """How many devices have the gate_rev that they had: sealing anew ends no session."""
        now = dict(self.sessions())
        return sum(1 for dev_eui, gate_rev in before if now[dev_eui] == gate_rev)


if __name__ == "__main__":
    unittest.main()
