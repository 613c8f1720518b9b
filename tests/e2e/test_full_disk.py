"""The database's disk is full: what was answered stands, what was not is not there, and both go on when there is room."""

import os
import secrets
import subprocess
import unittest

import lorawan
import support
from test_accounts import Rest
from test_jobs import CHUNK_ROWS, csv_of, rows_of

DISK_MIB = 600
FILE_ROWS = 40 * CHUNK_ROWS
JOINS = 200  # while the disk is full
# A copy of the database's folder on a small disk, seen by what is started here alone.
SMALL_DISK = """set -e
mv "$1/pg" "$1/pg.outside"
mkdir -m 700 "$1/pg"
mount -t tmpfs -o mode=700,size=$2m tmpfs "$1/pg"
cp -a "$1/pg.outside/." "$1/pg/"
shift 2
exec "$@"
"""


class FullDisk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.within = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        mount = ["sh", "-c", 'mount -t tmpfs none /mnt && "$@" true', "sh", *support.NAMESPACE]
        if subprocess.run([*cls.within, *mount], capture_output=True, check=False).returncode != 0:
            raise unittest.SkipTest("no disk can be mounted here: no namespaces")
        cls.stack = support.Stack("disk")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.devices = cls.stack.devices("1.0.4", JOINS)
        cls.stack.stop()
        cls.stack.within = [*cls.within, "sh", "-c", SMALL_DISK, "sh", cls.stack.state, str(DISK_MIB)]
        cls.stack.start()
        cls.stack.within = []
        cls.disk = f"/proc/{cls.stack.process.pid}/root{cls.stack.path('pg')}"

    def fill(self):
        self.filler = os.path.join(self.disk, "filler")
        room = os.statvfs(self.disk)
        with open(self.filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
        self.assertEqual(os.statvfs(self.disk).f_bavail, 0)
        self.addCleanup(lambda: os.path.exists(self.filler) and os.unlink(self.filler))

    def make_room(self):
        os.unlink(self.filler)
        self.stack.wait_ready(support.START_SECONDS)

    def count(self, rows):
        euis = ",".join(f"'\\x{row['dev_eui']}'" for row in rows)
        return int(self.stack.psql(f"SELECT count(*) FROM device WHERE dev_eui IN ({euis})")[0][0])

    def test_an_import_stops_where_it_stood_and_goes_on(self):
        rows, key = rows_of(FILE_ROWS), secrets.token_hex(8)
        maker = Rest(self.stack, self.stack.demo["clients"]["maker"])
        headers = {"Authorization": f"Bearer {maker.token}", "Idempotency-Key": key}
        self.fill()
        status, answer, _ = self.stack.activation("POST", "/v1/batches/import?format=csv", csv_of(rows), headers)
        self.assertEqual(status, 503)
        self.make_room()
        found = self.stack.psql(f"SELECT line FROM job WHERE idempotency_key = '{key}'")
        line = int(found[0][0]) if found else 0
        self.assertEqual(self.count(rows), max(line - 1, 0))
        self.assertLess(line, FILE_ROWS)
        # That it was interrupted may not have been written either; its lease is over in a minute, and here at once.
        self.stack.psql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'")
        maker = Rest(self.stack, self.stack.demo["clients"]["maker"])
        headers["Authorization"] = f"Bearer {maker.token}"
        status, _, answer = self.stack.activation("POST", "/v1/batches/import?format=csv", csv_of(rows), headers)
        self.assertEqual(status, 200, answer[:500])
        self.assertEqual(answer.count(b'"outcome":"created"'), FILE_ROWS)
        self.assertEqual(self.count(rows), FILE_ROWS)

    def test_an_answered_join_is_there_afterwards(self):
        self.fill()
        answered = []
        for device in self.devices:
            status, answer = self.stack.post_join(lorawan.join_req(device, device["dev_nonce"], support.HOME))
            if status == 200 and answer["Result"]["ResultCode"] == "Success":
                answered.append(device["dev_eui"])
        self.make_room()
        self.assertLess(len(answered), JOINS, "the disk was not full")
        there = {row[0] for row in self.stack.psql(
            "SELECT encode(dev_eui, 'hex') FROM join_event WHERE outcome = 'success'")}
        self.assertEqual([eui for eui in answered if eui not in there], [])
        for device in self.devices:
            _, answer = self.stack.post_join(lorawan.join_req(device, device["dev_nonce"] + 1, support.HOME))
            self.assertEqual(answer["Result"]["ResultCode"], "Success")
