"""Restored from a base backup, to a point in time, and from a dump: refused until the epoch bump, and no JoinNonce twice."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import unittest

import support

VERSIONS = ("1.0.3", "1.0.4", "1.1")
GAP = 16384


class Restored(unittest.TestCase):
    """A Cradle whose cluster is put back, and what its devices saw before."""

    NAME = "backup"

    def setUp(self):
        self.stack = support.Stack(self.NAME)
        self.addCleanup(self.stack.stop)
        self.stack.start()
        self.devices = [self.stack.device(version) for version in VERSIONS]
        self.journal = {device["dev_eui"]: [] for device in self.devices}
        with open(self.stack.path("run", "psql"), encoding="utf-8") as file:
            psql, self.sockets = file.read().splitlines()
        self.programs = os.path.dirname(psql)
        ((self.cluster,),) = self.stack.psql("SHOW data_directory")
        if self.cluster != self.stack.path("pg"):
            self.skipTest(f"the cluster is outside of the state folder, in {self.cluster}")

    def join_all(self):
        """Every device joins, with right keys and a JoinNonce above all that it ever saw."""
        for device in self.devices:
            said = self.stack.join(device)
            seen = self.journal[device["dev_eui"]]
            self.assertTrue(said["agree"], said)
            self.assertGreater(said["join_nonce"], max(seen, default=0), device["mac_version"])
            seen.append(said["join_nonce"])

    def tool(self, name, *arguments):
        """A program of PostgreSQL's, as the superuser."""
        where = f"host={self.sockets} dbname=postgres user=postgres passfile='{self.stack.path('pgpass-postgres')}'"
        run = subprocess.run([os.path.join(self.programs, name), "-d", where, *arguments], capture_output=True,
                             text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    @contextlib.contextmanager
    def database_alone(self):
        """The cluster runs, and no service."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.sockets, 0o700)
        namespace = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
        with open(self.stack.path("log", "alone.log"), "ab") as log:
            process = subprocess.Popen([*namespace, os.path.join(self.programs, "postgres"), "-D", self.cluster],
                                       cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            support.wait_until(lambda: self.answers(), support.START_SECONDS, "the database answers")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(support.STOP_SECONDS)

    def answers(self):
        where = f"host={self.sockets} dbname=postgres user=postgres passfile='{self.stack.path('pgpass-postgres')}'"
        run = subprocess.run([os.path.join(self.programs, "psql"), "-XqAtc", "SELECT pg_is_in_recovery()", where],
                             capture_output=True, text=True, check=False)
        return run.returncode == 0 and run.stdout == "f\n"

    def allow_replication(self):
        with open(os.path.join(self.cluster, "pg_hba.conf"), "a", encoding="utf-8") as file:
            file.write("local replication postgres scram-sha-256\n")
        self.stack.psql("SELECT pg_reload_conf()")
        support.wait_until(lambda: len(self.stack.psql("SELECT 1 FROM pg_hba_file_rules")) > 1, support.READY_SECONDS,
                           "replication is allowed")

    def base_backup(self):
        self.allow_replication()
        self.tool("pg_basebackup", "-D", self.stack.path("kept-base"), "-c", "fast")

    def put_back(self, to_a_point_in_time=False):
        shutil.rmtree(self.cluster)
        shutil.copytree(self.stack.path("kept-base"), self.cluster)
        os.chmod(self.cluster, 0o700)
        if to_a_point_in_time:  # of WAL nothing was archived: the end of the backup, on a timeline of its own
            with open(os.path.join(self.cluster, "postgresql.auto.conf"), "a", encoding="utf-8") as file:
                file.write("restore_command = 'false'\n")
            with open(os.path.join(self.cluster, "recovery.signal"), "w", encoding="utf-8"):
                pass
        shutil.rmtree(self.stack.path("softhsm"))
        shutil.copytree(self.stack.path("kept-softhsm"), self.stack.path("softhsm"))

    def is_refused(self, *words, service="joinserver"):
        """The service does not start on what is there; what it says has these words."""
        run = subprocess.run([self.stack.program(f"{service}/cradle-{service}"), "--config", self.stack.path(f"{service}.ini")],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                             env=self.stack.environment(), timeout=support.START_SECONDS)
        self.assertEqual(run.returncode, 78, run.stderr)
        for word in (*words, "cradle epoch bump"):
            self.assertIn(word, run.stderr)

    def bump(self, *arguments):
        run = self.stack.cradle("epoch", "bump", *arguments)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(self.stack.cradle("epoch", "show").returncode, 0)
        return json.loads(run.stdout)


class Backup(Restored):
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
            self.put_back(to_a_point_in_time=True)
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
