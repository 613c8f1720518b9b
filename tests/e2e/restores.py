"""What tests of restores and of standbys share: devices with a journal, PostgreSQL's own programs, a second PostgreSQL."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile

import support

VERSIONS = ("1.0.3", "1.0.4", "1.1")


class Twin:
    """A copy of a Stack's PostgreSQL, beside it: a standby, until it is promoted."""

    def __init__(self, test, name="twin"):
        self.test, self.data = test, test.stack.path(name)
        self.sockets = tempfile.mkdtemp(prefix="cradle-", dir="/tmp")  # a socket's name is short
        test.addCleanup(shutil.rmtree, self.sockets, ignore_errors=True)
        test.addCleanup(self.stop)
        self.process = None
        test.tool("pg_basebackup", "-D", self.data, "-c", "fast", "-R")

    def start(self):
        with open(self.test.stack.path("log", "twin.log"), "ab") as log:
            self.process = subprocess.Popen(
                [*(support.NAMESPACE if os.geteuid() == 0 else []), os.path.join(self.test.programs, "postgres"), "-D", self.data,
                 "-c", f"unix_socket_directories={self.sockets}"],
                cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        support.wait_until(lambda: self.ask("SELECT 1") == "1\n", support.START_SECONDS, "the other database answers")

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
            self.process.wait(support.STOP_SECONDS)

    def signal(self, how):
        """To all of its processes, the postmaster first, or it would start others."""
        here, found = os.path.realpath(self.data), []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == here:
                    found.append(int(entry))
        for pid in sorted(found, key=lambda pid: pid != self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)

    def ask(self, sql, database="cradle"):
        """What psql prints, or None where it fails."""
        where = f"host={self.sockets} dbname={database} user=postgres passfile='{self.test.stack.path('pgpass-postgres')}'"
        run = subprocess.run([os.path.join(self.test.programs, "psql"), "-XqAtc", sql, where], capture_output=True,
                             text=True, check=False)
        return run.stdout if run.returncode == 0 else None

    def promote(self):
        self.test.assertEqual(self.ask("SELECT pg_promote()"), "t\n")


class Restores:
    """Of a unittest.TestCase too: a Stack of its own, with one device of each kind."""

    name = "restores"

    def setUp(self):
        self.stack = support.Stack(self.name)
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

    def join_all(self, url=None):
        """Every device joins, with right keys and a JoinNonce above all that it ever saw."""
        for device in self.devices:
            said = self.stack.join(device, url=url)
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

    def allow_replication(self):
        with open(os.path.join(self.cluster, "pg_hba.conf"), "a", encoding="utf-8") as file:
            file.write("local replication postgres scram-sha-256\n")
        self.stack.psql("SELECT pg_reload_conf()")
        support.wait_until(lambda: len(self.stack.psql("SELECT 1 FROM pg_hba_file_rules")) > 1, support.READY_SECONDS,
                           "replication is allowed")

    def standby(self):
        """A Twin that has all there is."""
        self.allow_replication()
        twin = Twin(self)
        twin.start()
        self.wait_streamed()
        return twin

    def wait_streamed(self):
        support.wait_until(
            lambda: self.stack.psql("SELECT 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"),
            support.READY_SECONDS, "the standby has all")

    @contextlib.contextmanager
    def database_alone(self):
        """The cluster runs, and no service."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.sockets, 0o700)
        namespace = support.NAMESPACE if os.geteuid() == 0 else []
        with open(self.stack.path("log", "alone.log"), "ab") as log:
            process = subprocess.Popen([*namespace, os.path.join(self.programs, "postgres"), "-D", self.cluster],
                                       cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            support.wait_until(lambda: process.poll() is not None or self.answers(), support.START_SECONDS,
                               "the database answers")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(support.STOP_SECONDS)

    def answers(self):
        where = f"host={self.sockets} dbname=postgres user=postgres passfile='{self.stack.path('pgpass-postgres')}'"
        run = subprocess.run([os.path.join(self.programs, "psql"), "-XqAtc", "SELECT pg_is_in_recovery()", where],
                             capture_output=True, text=True, check=False)
        return run.returncode == 0 and run.stdout == "f\n"

    def base_backup(self):
        self.allow_replication()
        self.tool("pg_basebackup", "-D", self.stack.path("kept-base"), "-c", "fast")

    def put_back(self, **recovery):
        """The base backup as it is or, where something is to be recovered, with these settings."""
        shutil.rmtree(self.cluster)
        shutil.copytree(self.stack.path("kept-base"), self.cluster)
        os.chmod(self.cluster, 0o700)
        if recovery:
            with open(os.path.join(self.cluster, "postgresql.auto.conf"), "a", encoding="utf-8") as file:
                file.writelines(f"{name} = '{value}'\n" for name, value in recovery.items())
            with open(os.path.join(self.cluster, "recovery.signal"), "w", encoding="utf-8"):
                pass
        shutil.rmtree(self.stack.path("softhsm"))
        shutil.copytree(self.stack.path("kept-softhsm"), self.stack.path("softhsm"))

    def is_refused(self, *words, service="joinserver", settings=()):
        """The service does not start on what is there; what it says has these words."""
        run = subprocess.run([self.stack.program(f"{service}/cradle-{service}"), "--config", self.stack.path(f"{service}.ini"),
                              *(word for setting in settings for word in ("--set", setting))],
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
