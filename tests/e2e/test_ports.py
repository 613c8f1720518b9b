"""Ports that tests and benchmarks give to their servers: each is one process's, also while nobody listens on it."""

import os
import socket
import subprocess
import sys
import unittest

import support

N = 100
ASK = f"""import sys
sys.path.insert(0, "scripts/lib")
from ports import free_ports
print(*free_ports({N}), flush=True)
sys.stdin.read()
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

    def test_a_port_that_was_given_comes_again_last(self):
        self.assertEqual(set(support.free_ports(N)) & set(support.free_ports(N)), set())

    def test_what_somebody_listens_on_is_passed_over(self):
        taken = []
        for _ in range(2):
            sockets = [socket.create_server(("127.0.0.1", port)) for port in support.free_ports(N)]
            taken.append({s.getsockname()[1] for s in sockets})
            self.addCleanup(lambda among=sockets: [s.close() for s in among])
        self.assertEqual(taken[0] & taken[1], set())
        with self.assertRaisesRegex(OSError, "127.0.0.1 has no 100 free ports from [0-9]+ to [0-9]+"):
            support.free_ports(N)
        self.assertEqual(len(support.free_ports(N, "127.0.0.2")), N)
