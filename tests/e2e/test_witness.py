"""The file that remembers the database, where it cannot be written: joins go on, it is said once, and it comes back."""
import os
import subprocess
import unittest

import support

MAGIC = b"cradle witness 1"
OPTIONS = {"room": "size=64k", "full": "size=64k", "read-only": "size=64k,ro"}
# A join server that alone sees a small disk; the shell stays, for through it that disk can be looked at.
WITHIN = """#!/bin/sh
mount -t tmpfs -o mode=700,{options} tmpfs '{disk}' || exit 99
{fill}
'{program}' "$@" &
child=$!
trap 'kill -TERM $child' TERM
wait $child
status=$?
trap - TERM
wait $child 2>/dev/null && status=0
exit $status
"""


class SmallDisk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
        mount = ["sh", "-c", "mount -t tmpfs none /mnt"]
        if subprocess.run([*cls.namespace, *mount], capture_output=True, check=False).returncode != 0:
            raise unittest.SkipTest("no disk can be mounted here: no namespaces")
        cls.stack = support.Stack("witness")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def server(self, disk):
        """A join server whose witness is on a disk like this."""
        folder, script = self.stack.path(f"disk-{disk}"), self.stack.path(f"within-{disk}.sh")
        os.mkdir(folder, 0o700)
        with open(script, "w", encoding="utf-8") as file:
            file.write(WITHIN.format(
                options=OPTIONS[disk], disk=folder, program=self.stack.program("joinserver/cradle-joinserver"),
                fill=f"fallocate -l 64K '{folder}/filler' || exit 98" if disk == "full" else ""))
        wrapper = self.stack.path(f"wrapper-{disk}.sh")
        with open(wrapper, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\nexec {' '.join(self.namespace)} sh '{script}' \"$@\"\n")
        os.chmod(wrapper, 0o700)
        server = support.JoinServer(self.stack, *support.free_ports(2), [f"database.witness={folder}/w"], program=wrapper)
        self.addCleanup(server.stop)
        return server, f"/proc/{server.process.pid}/root{folder}"

    @staticmethod
    def said(server):
        with open(server.log, encoding="utf-8") as file:
            return file.read()

    def test_a_service_does_not_start_where_its_witness_cannot_be_made_and_may_be_started_again(self):
        for disk, word in (("full", "No space left"), ("read-only", "Read-only file system")):
            with self.subTest(disk):
                server, _ = self.server(disk)
                self.assertEqual(server.process.wait(support.START_SECONDS), 1, self.said(server))
                self.assertIn(word, self.said(server))
                self.assertIn("database.witness", self.said(server))

    def test_joins_go_on_while_it_cannot_be_written_and_it_is_written_later(self):
        server, disk = self.server("room")
        server.wait_ready()
        device = self.stack.device("1.0.4")
        self.assertTrue(self.stack.join(device, url=server.url)["agree"])
        # What a file system does that writes everything anew: to write the same block again needs room.
        run = subprocess.run(["fallocate", "-p", "-o", "0", "-l", "4096", f"{disk}/w"], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        room = os.statvfs(disk)
        with open(f"{disk}/filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)

        def joins_until(condition, what):
            def join():
                self.assertTrue(self.stack.join(device, url=server.url)["agree"])
                return condition()
            support.wait_until(join, support.READY_SECONDS, what)

        cannot, can = "witness of the database cannot be written", "witness of the database can be written again"
        joins_until(lambda: cannot in self.said(server), "it is said that the witness cannot be written")
        looks = []
        joins_until(lambda: looks.append(1) or len(looks) >= 40, "forty joins more")
        self.assertEqual(self.said(server).count(cannot), 1)
        self.assertIn("No space left", self.said(server))
        os.unlink(f"{disk}/filler")
        support.wait_until(lambda: can in self.said(server), support.READY_SECONDS, "the witness is written again")
        self.assertTrue(self.stack.join(device, url=server.url)["agree"])
        with open(f"{disk}/w", "rb") as file:
            self.assertEqual(file.read(len(MAGIC)), MAGIC)
        self.assertEqual((self.said(server).count(cannot), self.said(server).count(can)), (1, 1))
