"""Restored from a base backup, to a point in time, and from a dump: refused until the epoch bump, and no JoinNonce twice."""

import contextlib
import json
import os
import shutil
import signal
import unittest

import restores
import support

GAP = 16384


class Backup(restores.Restores, unittest.TestCase):
    name = "backup"

    def test_no_restore_gives_a_join_nonce_twice(self):
        self.join_all()
        self.base_backup()
        self.tool("pg_dump", "-Fc", "-f", self.stack.path("kept-dump"), "--dbname", "dbname=cradle "
                  f"host={self.sockets} user=postgres passfile='{self.stack.path('pgpass-postgres')}'")
        shutil.copytree(self.stack.path("softhsm"), self.stack.path("kept-softhsm"))
        at_backup = {eui: nonces[-1] for eui, nonces in self.journal.items()}
        self.join_all()
        self.join_all()
        self.stack.stop()

        with self.subTest("a base backup, on its own timeline"):
            self.put_back()
            with self.database_alone():
                self.is_refused("ends before what was answered")
                bumped = self.bump()
            self.assertEqual((bumped["join_nonce_total"], bumped["devices_low"]), (GAP, 0))
            self.stack.start()
            self.join_all()
            for eui, nonce in at_backup.items():
                self.assertEqual(self.journal[eui][-1], nonce + GAP + 1)
            self.join_all()
            self.stack.stop()

        with self.subTest("the same backup again, recovered to a timeline of its own"):
            self.put_back(restore_command="false")  # nothing was archived: the end of the backup
            with self.database_alone():
                for service in ("joinserver", "activation"):
                    self.is_refused("from before an epoch bump", f"--above {GAP}", service=service)
                run = self.stack.cradle("epoch", "show")
                self.assertNotEqual(run.returncode, 0)
                shown = json.loads(run.stdout)
                self.assertEqual((shown["timeline"], shown["present"]["timeline"]), (1, 2))
                self.assertEqual(self.bump("--above", str(GAP))["join_nonce_total"], 2 * GAP)
            self.stack.start()
            self.join_all()
            self.stack.stop()

        with self.subTest("a dump, into the same cluster"):
            with self.database_alone():
                self.tool("psql", "-XqAtc", "DROP DATABASE cradle")
                self.tool("pg_restore", "--create", self.stack.path("kept-dump"))
                self.is_refused("restored from a dump", f"--above {2 * GAP}", service="activation")
                self.is_refused("restored from a dump", f"--above {2 * GAP}")
                self.assertEqual(self.bump("--above", str(2 * GAP))["join_nonce_total"], 3 * GAP)
            self.stack.start()
            self.join_all()
            audit = self.stack.psql("SELECT count(*) FROM audit_event WHERE action = 'database.epoch.bump'")
            self.assertEqual(audit, [["1"]])


class PointInTime(restores.Restores, unittest.TestCase):
    name = "pitr"

    def archive(self):
        """From now on each file of WAL is kept, as docs/backup.md has it."""
        folder = self.stack.path("archive")
        os.mkdir(folder, 0o700)
        self.stack.psql("ALTER SYSTEM SET archive_mode = on")
        self.stack.psql(f"ALTER SYSTEM SET archive_command = 'test ! -f {folder}/%f && cp %p {folder}/%f'")
        self.stack.wait_restarted("postgres", self.stack.kill("postgres", signal.SIGINT))
        self.stack.wait_ready()
        return folder

    def wait_archived(self):
        ((last,),) = self.stack.psql("SELECT pg_walfile_name(pg_switch_wal())")
        support.wait_until(lambda: os.path.exists(self.stack.path("archive", last)), support.READY_SECONDS,
                           "all WAL is archived")

    def test_recovery_to_a_moment_before_joins_is_refused_until_the_bump(self):
        folder = self.archive()
        self.join_all()
        self.base_backup()
        shutil.copytree(self.stack.path("softhsm"), self.stack.path("kept-softhsm"))
        self.join_all()
        at_target = {eui: nonces[-1] for eui, nonces in self.journal.items()}
        ((moment, before),) = self.stack.psql("SELECT clock_timestamp(), count(*) FROM join_event WHERE outcome = 'success'")
        for _ in range(4):
            self.join_all()
        self.wait_archived()
        self.stack.stop()

        self.put_back(restore_command=f"cp {folder}/%f %p", recovery_target_time=moment, recovery_target_action="promote")
        with self.database_alone():
            joins = self.tool("psql", "-XqAtc", "SELECT count(*) FROM join_event WHERE outcome = 'success'",
                              "-d", f"dbname=cradle host={self.sockets} user=postgres "
                              f"passfile='{self.stack.path('pgpass-postgres')}'")
            self.assertEqual(int(joins), int(before), "recovered to another moment")
            for service in ("joinserver", "activation"):
                self.is_refused("database: refused", "timeline 2", service=service)
            # Nor is it a failover: of one no answered join may be missing.
            self.is_refused("ends before what was answered", settings=["database.failover=synchronous"])
            self.assertEqual(self.bump()["join_nonce_total"], GAP)
        self.stack.start()
        self.join_all()
        for eui, nonce in at_target.items():
            self.assertEqual(self.journal[eui][-1], nonce + GAP + 1)
        self.join_all()


class Failover(unittest.TestCase):
    def test_running_services_answer_nothing_on_a_timeline_that_nobody_vouched_for(self):
        with support.Stack("timeline") as stack:
            device = stack.device("1.0.4")
            self.assertTrue(stack.join(device)["agree"])
            request = stack.join_request(device)
            # What a primary on another timeline has, as the services see it.
            stack.psql("UPDATE database_epoch SET timeline = 0; "
                       "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'cradle_%'")
            while stack.process.poll() is None:
                with contextlib.suppress(OSError):
                    status, answer = stack.post_join(request)[:2]
                    self.assertFalse(status == 200 and b"Success" in json.dumps(answer).encode(), answer)
            self.assertIn("is not started again", stack.said())
            self.assertIn("another timeline", stack.said())


class Guard(unittest.TestCase):
    def test_no_connection_of_a_service_is_without_the_guard(self):
        opened = 0
        for room in ("activation", "joinserver"):
            for name in sorted(os.listdir(os.path.join(support.ROOT, room))):
                if not name.endswith(".c"):
                    continue
                with open(os.path.join(support.ROOT, room, name), encoding="utf-8") as file:
                    text = file.read()
                if "db_open(" in text:
                    opened += 1
                    self.assertRegex(text, r"\.guard = ", f"{room}/{name} opens a database that nobody vouched for")
        self.assertGreaterEqual(opened, 10)
