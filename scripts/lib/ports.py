"""Ports of loopback addresses for servers that are started, and started again."""

import contextlib
import errno
import os
import socket

FIRST, END = 10000, 65536
BLOCK = 256  # ports of one process


class Block:
    """The ports of this process, given out in turn. They are nobody else's, also while a server of theirs is down and could
    not be told from one that is gone: who has them is known by a name of the abstract ones of Unix sockets. Such a name
    belongs to the same network name space as the ports do, and goes with its process."""

    def __init__(self):
        self.process = os.getpid()
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
            given_to_connections = int(file.read().split()[0])
        end = given_to_connections if given_to_connections - FIRST >= BLOCK else END
        for first in range(FIRST, end - BLOCK + 1, BLOCK):
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


blocks = []


def free_ports(n, address="127.0.0.1"):
    """Ports that nobody listens on, of those that the kernel gives to no connection: none takes one while its server is down."""
    if not blocks or blocks[0].process != os.getpid():  # who was forked has none yet
        blocks[:] = [Block()]
    return blocks[0].free(n, address)
