"""Ports of loopback addresses for servers that are started, and started again."""

import contextlib
import errno
import os
import random
import socket
import threading

FIRST, END = 10000, 65536
BLOCK = 256  # ports of one process


def first_ports(low, high):
    """The first port of each block: in any order those of which the kernel gives none to connections, to which it gives
    low to high; then the others."""
    quiet = [*range(FIRST, low - BLOCK + 1, BLOCK), *range(max(FIRST, high + 1), END - BLOCK + 1, BLOCK)]
    others = range(max(FIRST, low), high - BLOCK + 2, BLOCK)
    chance = random.SystemRandom()  # the last block of a process that was killed may be in use for a while
    return chance.sample(quiet, len(quiet)) + chance.sample(others, len(others))


class Block:
    """The ports of this process in this network, given out in turn. They are nobody else's, also while a server of theirs
    is down and could not be told from one that is gone: who has them is known by a name of the abstract ones of Unix
    sockets. Such a name belongs to the same network name space as the ports do, and goes with its process."""

    def __init__(self):
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            low, high = map(int, file.read().split())
        for first in first_ports(low, high):
            name = socket.socket(socket.AF_UNIX)
            try:
                name.bind(f"\0cradle-ports-{first}")
            except OSError as error:
                name.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            self.name, self.ports, self.next = name, range(first, first + BLOCK), 0
            return
        raise OSError("other tests and benchmarks have all ports")

    def free(self, n, address):
        ports = []
        for _ in self.ports:
            if len(ports) == n:
                break
            port = self.ports[self.next % BLOCK]
            self.next += 1
            with socket.socket() as s, contextlib.suppress(OSError):
                s.bind((address, port))
                ports.append(port)
        if len(ports) < n:
            raise OSError(f"{address} has no {n} free ports from {self.ports[0]} to {self.ports[-1]}")
        return ports


blocks = {}  # by process, since who was forked has none yet, and by network, which is the same one as long as we hold a name in it
lock = threading.Lock()


def free_ports(n, address="127.0.0.1"):
    """Ports that nobody listens on. While other processes leave such, the kernel gives them to no connection either: none
    takes one while its server is down."""
    who = os.getpid(), os.stat("/proc/thread-self/ns/net").st_ino
    with lock:
        if who not in blocks:
            blocks[who] = Block()
        return blocks[who].free(n, address)
