"""The folder of the logs, of the token, or of the database's WAL is full: what has to be written nowhere goes on, and nothing is answered
that is not written. (test_full_disk.py has the whole database on a full disk.)
"""

import contextlib
import os
import subprocess
import unittest

import support
from fault_stack import RETRY_WINDOW_MS, AtOnce, FaultTest, count

ROUNDS = count(1)
RECOVERY_S = 60
# Folders of the state folder, each a small disk of its own, in MiB.
FOLDERS = {"log": 24, "softhsm": 4, "pg/pg_wal": 200}
SMALL_DISKS = """set -e
state=$1
shift
while [ "$1" != -- ]; do
    mv "$state/$1" "$state/$1.outside"
    mkdir -m 700 "$state/$1"
    mount -t tmpfs -o "mode=700,size=$2m" tmpfs "$state/$1"
    cp -a "$state/$1.outside/." "$state/$1/"
    shift 2
done
shift
exec "$@"
"""


class DiskStack(AtOnce, support.Stack):
    pass


class Disk(FaultTest):
    name = "disks"

    @classmethod
    def setUpClass(cls):
        within = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        mount = ["sh", "-c", "mount -t tmpfs none /mnt && unshare --user --map-user=1000 true"]
        if subprocess.run([*within, *mount], capture_output=True, check=False).returncode != 0:
            raise unittest.SkipTest("no disk can be mounted here: no namespaces")
        cls.seed = 1
        cls.stack = DiskStack(cls.name)
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.stack.psql("ALTER SYSTEM SET min_wal_size = '32MB'")
        cls.stack.psql("ALTER SYSTEM SET max_wal_size = '64MB'")
        cls.stack.psql("SELECT pg_reload_conf()")
        cls.stack.psql("CHECKPOINT")
        cls.stack.stop()
        wal = sum(e.stat().st_size for e in os.scandir(cls.stack.path("pg", "pg_wal")) if e.is_file())
        FOLDERS["pg/pg_wal"] = max(FOLDERS["pg/pg_wal"], (wal >> 20) + 64)
        words = [word for folder, mib in FOLDERS.items() for word in (folder, str(mib))]
        cls.stack.within = [*within, "sh", "-c", SMALL_DISKS, "sh", cls.stack.state, *words, "--"]
        cls.stack.start()
        cls.stack.within = []
        cls.root = f"/proc/{cls.stack.process.pid}/root{cls.stack.state}"
        # Who asks again after the usual five seconds, as where a service is away for so long, is refused, and that is right.
        cls.settings("joinserver", "join", f"retry_window_ms = {RETRY_WINDOW_MS}")

    def room(self, folder):
        """Bytes."""
        disk = os.statvfs(os.path.join(self.root, folder))
        return disk.f_bavail * disk.f_frsize

    def fill(self, folder):
        """The file that fills it."""
        path = os.path.join(self.root, folder, "filler")
        with open(path, "wb") as file:
            while room := self.room(folder):  # somebody else may write meanwhile
                with contextlib.suppress(OSError):
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, room)
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        return path

    def full_beside(self, folder):
        """Joins go on, and what is killed comes back."""
        with self.load() as load:
            for _ in range(ROUNDS):
                load.fault()
                load.wait_recovered(RECOVERY_S, "the start")
                filler = self.fill(folder)
                for name in ("keyd", "activation-keyd", "joinserver"):
                    killed = self.stack.kill(name)
                    self.stack.wait_restarted(name, killed)
                    load.fault()
                    load.wait_recovered(RECOVERY_S, f"{folder} is full and {name} was killed")
                os.unlink(filler)
        self.verdict(load)

    def test_logs_that_cannot_be_written_hold_nothing_up(self):
        self.full_beside("log")

    def test_a_token_s_folder_that_is_full_holds_nothing_up(self):
        self.full_beside("softhsm")

    def test_a_full_wal_answers_nothing_that_is_not_durable(self):
        with self.load() as load:
            for _ in range(ROUNDS):
                load.fault()
                load.wait_recovered(RECOVERY_S, "the start")
                filler = self.fill("pg/pg_wal")
                died = self.stack.pids("postgres")
                try:
                    for _ in range(8):  # no segment is left to go on with: PostgreSQL ends, or waits
                        self.stack.psql("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 8000000)); SELECT pg_switch_wal()")
                except AssertionError as error:
                    self.assertRegex(str(error), "No space left|terminat|closed|recovery|shutting|starting|refused|connect")
                else:
                    self.fail(f"the WAL was not full: {died}")
                os.unlink(filler)
                load.fault()
                load.wait_recovered(RECOVERY_S, "there is room for WAL again")
        self.verdict(load)


if __name__ == "__main__":
    unittest.main()
