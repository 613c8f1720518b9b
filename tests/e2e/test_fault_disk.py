"""One folder is full: of the logs, the token, the lock files, the witnesses, the running processes, the database's socket, its WAL,
itself, its shared memory. What needs no room goes on, what does waits and says why, nothing is answered that is not written, and all
comes back by itself. (test_full_disk.py has the whole database on a full disk, test_full_folders.py the commands.)
"""

import os
import signal
import unittest

import disks
import support
import test_deliveries
from fault_stack import LEASES_OVER, RETRY_WINDOW_MS, FaultTest, count
from test_accounts import Rest

ROUNDS = count(1)
RECOVERY_S = 60
ORDER = 600  # devices: some chunks
# Each a small disk of its own, in MiB: of the state folder, or where they are.
FOLDERS = {"log": 24, "softhsm": 4, "locks": 1, "witness": 1, "run": 1, "pg": 160, "pg/pg_wal": 200, "/dev/shm": 8}
KEYDS = ("keyd", "activation-keyd")
# Who is killed while a folder is full, and is back while it is.
GOES_ON = {"locks": KEYDS, "witness": ("joinserver", "activation"), "run": ("joinserver", "activation", "postgres"),
           "/dev/shm": ("keyd", "joinserver")}
# Who does not come back while a folder is full, in which log, and by which word it names what it cannot write.
# Files that are there need no room: it is the last in the row that has to be made again.
WAITS = {"sockets": ("postgres", "postgres", ".s.PGSQL.5432.lock"), "pg": ("postgres", "postgres", "postmaster.pid"),
         "locks": ("keyd", "joinserver", "hsm")}
FULL = "No space left on device"
SPARE_BLOCKS = 4  # that a new key may find, at most: too few, and enough


class Disk(FaultTest, test_deliveries.Orders):
    name = "disks"

    @classmethod
    def setUpClass(cls):
        disks.namespace()
        cls.seed = 1
        cls.stack = disks.DiskStack(cls.name)
        cls.addClassCleanup(lambda: os.path.isdir(cls.sockets) and os.rmdir(cls.sockets))
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.stack.psql("ALTER SYSTEM SET min_wal_size = '32MB'")
        cls.stack.psql("ALTER SYSTEM SET max_wal_size = '64MB'")
        cls.stack.psql("SELECT pg_reload_conf()")
        cls.stack.psql("CHECKPOINT")
        (cls.sockets,), = cls.stack.psql("SHOW unix_socket_directories")
        cls.stack.stop()
        wal = sum(e.stat().st_size for e in os.scandir(cls.stack.path("pg", "pg_wal")) if e.is_file())
        folders = {**FOLDERS, cls.sockets: 1}
        folders["pg/pg_wal"] = max(FOLDERS["pg/pg_wal"], (wal >> 20) + 64)
        folders["pg"] += wal >> 20
        cls.stack.put_on_disks(folders)
        cls.stack.start()
        # Who asks again after the usual five seconds, as where a service is away for so long, is refused, and that is right.
        cls.settings("joinserver", "join", f"retry_window_ms = {RETRY_WINDOW_MS}")
        cls.settings("joinserver", "hsm", "processes = 1")
        # What is usually beside many other things.
        for service in ("joinserver", "activation"):
            cls.settings(service, "hsm", f"lock_file = {os.path.join(cls.stack.state, 'locks', 'hsm')}")
            cls.settings(service, "database", f"witness = {os.path.join(cls.stack.state, 'witness', service)}")
        cls.begin()

    def folder(self, folder):
        if folder == "sockets":
            folder = self.sockets
        return self.stack.seen(folder) if folder.startswith("/") else self.stack.path(folder)

    def full(self, folder, **options):
        filler = disks.Filler(self.folder(folder), **options)
        self.addCleanup(filler.close)
        return filler

    def killed(self, load, name, what):
        """It is, and comes back."""
        killed = self.stack.kill(name)
        self.stack.wait_restarted(name, killed)
        load.fault()
        load.wait_recovered(RECOVERY_S, f"{what} is full and {name} was killed")

    def full_beside(self, folder):
        """Joins go on, and what is killed comes back."""
        with self.load() as load:
            for _ in range(ROUNDS):
                load.fault()
                load.wait_recovered(RECOVERY_S, "the start")
                with self.full(folder):
                    for name in (*KEYDS, "joinserver"):
                        self.killed(load, name, folder)
        self.verdict(load)

    def test_logs_that_cannot_be_written_hold_nothing_up(self):
        self.full_beside("log")

    def test_a_token_s_folder_that_is_full_holds_nothing_up(self):
        self.full_beside("softhsm")

    def test_a_key_for_which_the_token_s_folder_has_no_room_is_not_made(self):
        with open(self.stack.path("cradle.ini"), "a", encoding="utf-8") as file:
            file.write(f"\n[hsm]\nlock_file = {os.path.join(self.stack.state, 'locks', 'hsm')}\n")
        with self.load() as load:
            for _ in range(ROUNDS):
                for spare in range(SPARE_BLOCKS):
                    load.fault()
                    load.wait_recovered(RECOVERY_S, "the start")
                    with self.full("softhsm", spare=spare):
                        run = self.stack.cradle("hsm", "rotate", "code")
                        self.killed(load, "keyd", f"the token's folder, but for {spare} blocks,")
                    listed = self.hsm("list")
                    if run.returncode == 0:
                        self.assertIn("code.2 ", listed)
                        self.hsm("retire", "code", "2")
                    else:
                        self.assertIn("HSM", run.stderr)
                        self.assertNotIn("code.2", listed)
                self.assertIn("does not hash new codes yet", self.hsm("rotate", "code"))
                self.hsm("retire", "code", "2")
        self.verdict(load)

    def hsm(self, *words):
        run = self.stack.cradle("hsm", *words)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def test_nor_do_locks_witnesses_process_ids_and_shared_memory(self):
        with self.load() as load:
            for turn in range(ROUNDS):
                for folder, names in GOES_ON.items():
                    load.fault()
                    load.wait_recovered(RECOVERY_S, "the start")
                    with self.full(folder, names=turn % 2 == 0):
                        for name in names:
                            self.killed(load, name, folder)
                    self.stack.psql(LEASES_OVER)
            # What could not be written is written when there is room.
            for name in ("joinserver", "activation", "postgres"):
                pid, = self.stack.pids(name)
                support.wait_until(lambda n=name, p=pid: self.noted(n) == p, RECOVERY_S, f"it is written who {name} is")
        self.assertIsNone(self.stack.process.poll())
        self.verdict(load)

    def noted(self, name):
        try:
            with open(self.stack.path("run", f"{name}.pid"), encoding="ascii") as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return None

    def said(self, log, begin=0):
        with open(self.stack.path("log", f"{log}.log"), "rb") as file:
            file.seek(begin)
            return file.read().decode(errors="replace")

    def end(self, name, left, filler):
        """What it has left is taken away, and its room taken before whoever does that starts it again."""
        pid = self.stack.pids(name)[0]
        parent, _ = support.processes()[pid]
        os.kill(parent, signal.SIGSTOP)
        try:
            os.unlink(left)
            os.kill(pid, signal.SIGKILL)
            support.wait_until(lambda: pid not in support.processes(), RECOVERY_S, f"{name} has ended")
            support.wait_until(filler.is_full, RECOVERY_S, "it is full again")
        finally:
            os.kill(parent, signal.SIGCONT)
        return pid

    def waits(self, load, folder):
        """While there is no room it is not back, and its log says what it cannot write; then it is."""
        killed, log, word = WAITS[folder]
        load.fault()
        load.wait_recovered(RECOVERY_S, "the start")
        begin = len(self.said(log).encode())
        with self.full(folder, names=True) as filler:
            pid = self.end(killed, os.path.join(self.folder(folder), word), filler)
            support.wait_until(lambda: any(word in line and FULL in line for line in self.said(log, begin).splitlines()),
                               RECOVERY_S, f"{log}.log says that {folder} is full")
        self.stack.wait_restarted(killed, pid)
        load.fault()
        load.wait_recovered(RECOVERY_S, f"there is room in {folder} again")
        self.stack.wait_ready()
        self.stack.psql(LEASES_OVER)

    def test_what_needs_room_waits_for_it_and_says_so(self):
        with self.load() as load:
            for _ in range(ROUNDS):
                self.stack.wait_ready()
                self.renew()
                batch, job = self.order(ORDER)
                for folder in WAITS:
                    self.waits(load, folder)
                self.assertEqual(self.ended(job)[:3], ["done", str(ORDER), str(ORDER)])
                self.renew()
                self.whole(batch, ORDER)
        self.verdict(load)

    def renew(self):
        """Access tokens end."""
        clients = self.stack.demo["clients"]
        type(self).maker, type(self).admin = Rest(self.stack, clients["maker"]), Rest(self.stack, clients["admin"])

    def test_queries_for_which_there_is_no_shared_memory_are_asked_again(self):
        """Every query that may asks parallel workers, and none can be given memory to share."""
        self.addCleanup(self.parallel, "RESET force_parallel_mode")
        with self.load() as load:
            for _ in range(ROUNDS):
                load.fault()
                load.wait_recovered(RECOVERY_S, "the start")
                begin = len(self.said("postgres").encode())
                with self.full("/dev/shm", names=True):
                    self.parallel("SET force_parallel_mode = on")
                    support.wait_until(lambda b=begin: "shared memory segment" in self.said("postgres", b) and
                                       FULL in self.said("postgres", b), RECOVERY_S, "shared memory was asked for")
                load.fault()
                load.wait_recovered(RECOVERY_S, "there is shared memory again")
                self.parallel("RESET force_parallel_mode")
        self.verdict(load)

    def parallel(self, setting):
        """Also for plans that were made. All that the services ask for at a time may be more than the disk can share, so psql shares none."""
        self.stack.psql(f"ALTER SYSTEM {setting}")
        self.stack.psql("SET force_parallel_mode = off; SELECT pg_reload_conf()")
        self.stack.psql("SET force_parallel_mode = off; "
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'cradle_%'")

    def test_a_full_wal_answers_nothing_that_is_not_durable(self):
        with self.load() as load:
            for _ in range(ROUNDS):
                load.fault()
                load.wait_recovered(RECOVERY_S, "the start")
                with self.full("pg/pg_wal"):
                    died = self.stack.pids("postgres")
                    try:
                        for _ in range(8):  # no segment is left to go on with: PostgreSQL ends, or waits
                            self.stack.psql("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 8000000)); "
                                            "SELECT pg_switch_wal()")
                    except AssertionError as error:
                        self.assertRegex(str(error), "No space left|terminat|closed|recovery|shutting|starting|refused|connect")
                    else:
                        self.fail(f"the WAL was not full: {died}")
                load.fault()
                load.wait_recovered(RECOVERY_S, "there is room for WAL again")
        self.verdict(load)


if __name__ == "__main__":
    unittest.main()
