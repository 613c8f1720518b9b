"""Ports that tests and benchmarks give to their servers: each is one process's, also while nobody listens on it."""

import os
import socket
import subprocess
import sys
import unittest

import support
from ports import BLOCK, END, FIRST, Block, first_ports

N = 100
ASK = f"""import sys
sys.path.insert(0, "scripts/lib")
from ports import free_ports
print(*free_ports({N}), flush=True)
sys.stdin.read()
"""
# As tests do that make a network for themselves: away and back, twice. Last, the names that are known here.
AWAY_AND_BACK = """import ctypes, sys
sys.path.insert(0, "scripts/lib")
from ports import free_ports
libc = ctypes.CDLL(None)
CLONE_NEWNET = 0x40000000
with open("/proc/thread-self/ns/net") as here:
    for _ in range(2):
        for go in (lambda: libc.unshare(CLONE_NEWNET), lambda: libc.setns(here.fileno(), CLONE_NEWNET)):
            assert go() == 0
            print(*free_ports(1))
with open("/proc/net/unix") as names:
    print(*(line.rpartition("-")[2].strip() for line in names if "@cradle-ports-" in line))
"""


class Ports(unittest.TestCase):
    def test_processes_beside_each_other_have_no_port_in_common(self):
        given = support.free_ports(N)
        others = [subprocess.Popen([sys.executable, "-c", ASK], cwd=support.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                  for _ in range(3)]
        try:
            for other in others:
                given += map(int, other.stdout.readline().split())
        finally:
            for other in others:
                other.communicate()
        self.assertEqual([other.returncode for other in others], [0] * len(others))
        self.assertEqual(len(set(given)), (1 + len(others)) * N)

    def test_who_was_forked_has_ports_of_its_own(self):
        mine = support.free_ports(1)
        theirs, end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(end, str(support.free_ports(1)[0]).encode())
            finally:
                os._exit(0)
        os.close(end)
        with open(theirs, "rb") as file:
            port = int(file.read())
        os.waitpid(child, 0)
        self.assertNotIn(port, mine + support.free_ports(N))

    def test_who_comes_back_to_a_network_has_the_ports_of_before(self):
        command = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--net"]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("no network name spaces here")
        run = subprocess.run([*command, sys.executable, "-c", AWAY_AND_BACK], cwd=support.ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        ports = [list(map(int, line.split())) for line in run.stdout.splitlines()]
        self.assertEqual(len(ports), 5, run.stdout)
        (_, first, _, second, known) = ports
        self.assertEqual([first, second], [known, [port + 1 for port in known]])


class Blocks(unittest.TestCase):
    ADDRESS = "127.0.0.3"  # here connections that other tests have closed keep no port

    def setUp(self):
        self.block = Block()
        self.addCleanup(self.block.name.close)

    def test_a_port_that_was_given_comes_again_last(self):
        self.assertEqual(set(self.block.free(N, self.ADDRESS)) & set(self.block.free(N, self.ADDRESS)), set())

    def test_what_somebody_listens_on_is_passed_over(self):
        taken = []
        for _ in range(2):
            sockets = [socket.create_server((self.ADDRESS, port)) for port in self.block.free(N, self.ADDRESS)]
            taken.append({s.getsockname()[1] for s in sockets})
            self.addCleanup(lambda among=sockets: [s.close() for s in among])
        self.assertEqual(taken[0] & taken[1], set())
        with self.assertRaisesRegex(OSError, "127.0.0.3 has no 100 free ports from [0-9]+ to [0-9]+"):
            self.block.free(N, self.ADDRESS)
        self.assertEqual(len(self.block.free(N, "127.0.0.4")), N)

    def test_those_that_connections_are_given_come_last_and_none_is_in_two(self):
        for low, high in ((32768, 60999), (1024, 65535), (10200, 20000), (10256, 60000), (1024, 9000), (60000, 60100)):
            with self.subTest(low=low, high=high):
                starts = first_ports(low, high)
                ports = [set(range(start, start + BLOCK)) for start in starts]
                self.assertGreaterEqual(len(ports), (END - FIRST) // BLOCK - 2)
                self.assertEqual(len(set().union(*ports)), len(ports) * BLOCK)
                self.assertTrue(all(FIRST <= start <= END - BLOCK for start in starts))
                given = [bool(block & set(range(low, high + 1))) for block in ports]
                self.assertEqual(given, sorted(given))
