"""Ports of loopback addresses for servers that are started, and started again."""

import contextlib
import secrets
import socket

FIRST = 10000
TRIES = 100  # for each


def free_ports(n, address="127.0.0.1"):
    """Ports that nobody listens on, of those that the kernel gives to no connection: none takes one while its server is down."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        among = range(FIRST, int(file.read().split()[0]))
    ports = []
    for _ in range(TRIES * n):
        if len(ports) == n:
            return ports
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind((address, secrets.choice(among) if len(among) > TRIES else 0))
            if s.getsockname()[1] not in ports:
                ports.append(s.getsockname()[1])
    raise OSError(f"{address} has no {n} free ports")
