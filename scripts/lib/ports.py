"""Ports of loopback addresses for servers that are started, and started again."""

import contextlib
import secrets
import socket

FIRST = 10000


def free_ports(n, address="127.0.0.1"):
    """Ports that nobody listens on, of those that the kernel gives to no connection: a server finds its own free when it comes back."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        among = range(FIRST, int(file.read().split()[0]))
    ports = []
    while len(ports) < n:
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind((address, secrets.choice(among) if among else 0))
            if s.getsockname()[1] not in ports:
                ports.append(s.getsockname()[1])
    return ports
