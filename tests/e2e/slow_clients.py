"""Clients that take their time: a program of its own, so that good traffic beside it has its own interpreter.

    slow_clients.py KIND HOST PORT CONNECTIONS SECONDS ADDRESSES PATH TOKEN [tls [CERTIFICATE KEY]]

Opens the connections from the addresses (with commas between) in turn, and is as slow as KIND says on each (KINDS). One that is ended is opened
again while SECONDS last, from when all are there, which is told by a line; with SECONDS 0 each is opened once, and it waits until
all are ended. Prints what became of them as JSON.
"""

import collections
import json
import select
import socket
import ssl
import sys
import time

DRIP_S = 0.5  # between two bytes
WAIT_S = 45  # of SECONDS 0: more than any limit for a connection that does nothing useful
LOOK_S = 0.1
QUIET_LOOKS = 5  # in a row: whoever was refused has heard of it
AGAIN_S = 0.2  # before one that was ended is opened again
PIPELINED = 400  # requests for the metrics, whose pages nobody reads: more than all buffers on the way hold
BODY_BYTES = 20000
PACE = 100  # connections opened between two looks
THERE = "all are there"
END_OF_FILE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


def hello(host):
    """The first bytes that a TLS client sends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=host).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def head(token, *lines):
    return "\r\n".join([*lines, "Host: slow", f"Authorization: Bearer {token}", "Content-Type: application/x-www-form-urlencoded", ""]).encode()


# What is sent at once, and what follows byte by byte for ever.
KINDS = {
    "silent": lambda host, path, token: (b"", b""),
    "heads": lambda host, path, token: (head(token, f"POST {path} HTTP/1.1"), b"X-Slow: yes\r\n"),
    "bodies": lambda host, path, token: (head(token, f"POST {path} HTTP/1.1", f"Content-Length: {BODY_BYTES}") + b"\r\n", b" "),
    "chunks": lambda host, path, token: (head(token, f"POST {path} HTTP/1.1", "Transfer-Encoding: chunked") + b"\r\n", b"1\r\n \r\n"),
    "readers": lambda host, path, token: ((b"GET /metrics HTTP/1.1\r\nHost: slow\r\n\r\n") * PIPELINED, b""),
    "half-open": lambda host, path, token: (head(token, f"POST {path} HTTP/1.1", f"Content-Length: {BODY_BYTES}") + b"\r\n{", None),
    "handshakes": lambda host, path, token: (hello(host)[:6], hello(host)[6:]),
}


def tls_context(certificate=None, key=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


class Slow:
    """One connection."""

    def __init__(self, where, address, kind, first, drip, tls=None):
        self.kind, self.drip, self.sent, self.first = kind, drip, 0, memoryview(first)
        self.begun = self.next = time.monotonic()
        self.socket = socket.socket()
        if kind == "readers":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((address, 0))
        self.socket.setblocking(False)
        self.socket.connect_ex(where)
        self.connected = False
        self.shaking = tls is not None and kind not in ("silent", "handshakes")
        if self.shaking:
            self.socket = tls.wrap_socket(self.socket, do_handshake_on_connect=False)
        self.told, self.interested = b"", 0

    def move(self, now):
        """Sends what is due, and says whether it was a byte of many; OSError when there is nobody any more."""
        if now < self.next or not self.connected or self.shaking:
            return False
        self.next = now + DRIP_S
        try:
            if self.first:
                self.first = self.first[self.socket.send(self.first):]
            elif self.drip is None:
                socket.socket.shutdown(self.socket, socket.SHUT_WR)
                self.drip = b""
            elif self.drip:
                self.socket.send(self.drip[self.sent % len(self.drip):][:1])
                self.sent += 1
                return True
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        return False

    def hear(self, events):
        """False when it is ended."""
        if events & select.EPOLLOUT:
            self.connected = True
        if events & select.EPOLLERR:
            return False
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLRDHUP) or self.shaking:
            try:
                if self.shaking and self.connected:
                    self.socket.do_handshake()
                    self.shaking = False
                got = self.socket.recv(65536)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            except OSError:
                return False
            self.told += got[:64] if len(self.told) < 64 else b""
            return bool(got)
        return True

    def interest(self):
        # A reader who does not read hears of its end all the same.
        reads = 0 if self.kind == "readers" and not self.shaking else select.EPOLLIN
        return select.EPOLLERR | reads | (0 if self.connected else select.EPOLLOUT)


class Attack:
    def __init__(self, kind, host, port, n, seconds, addresses, path, token, tls=None):
        self.kind, self.where, self.n, self.seconds = kind, (host, port), n, seconds
        self.addresses, self.texts = addresses, KINDS[kind](host, path, token)
        self.tls = tls
        self.poll, self.open = select.epoll(), {}
        self.opened, self.ended, self.refused, self.longest = 0, 0, 0, 0.0
        self.told, self.looked = collections.Counter(), 0.0
        self.waiting = []  # when a place is to be filled again
        self.drips = 0

    def begin(self):
        try:
            slow = Slow(self.where, self.addresses[self.opened % len(self.addresses)], self.kind, *self.texts, self.tls)
        except OSError:
            self.refused += 1
            return
        self.opened += 1
        self.open[slow.socket.fileno()] = slow
        slow.interested = slow.interest()
        self.poll.register(slow.socket.fileno(), slow.interested)

    def end(self, slow, now):
        del self.open[slow.socket.fileno()]
        self.poll.unregister(slow.socket.fileno())
        slow.socket.close()
        self.ended += 1
        self.longest = max(self.longest, now - slow.begun)
        words = slow.told.split(b" ")
        self.told[words[1].decode() if slow.told.startswith(b"HTTP/1.1 ") else "nothing"] += 1
        if self.seconds:
            self.waiting.append(now + AGAIN_S)

    def run(self):
        left, there = self.n, False
        until = time.monotonic() + WAIT_S
        while True:
            now = time.monotonic()
            if now > until or (not left and not self.open and not self.seconds):
                break
            if not there and not left and all(slow.connected for slow in self.open.values()):
                there = True
                print(THERE, flush=True)
                until = now + self.seconds if self.seconds else until
            for _ in range(min(left, PACE)):
                self.begin()
                left -= 1
            while self.waiting and self.waiting[0] <= now:
                self.waiting.pop(0)
                self.begin()
            self.look(now)
        self.hear_out()
        return {"kind": self.kind, "opened": self.opened, "ended": self.ended, "open": len(self.open), "refused": self.refused,
                "longest_s": round(self.longest, 1), "told": dict(self.told), "drips": self.drips,
                "cpu_s": round(time.process_time(), 2)}

    def hear_out(self):
        """Until nothing ends any more of what was begun: what is open then was let in."""
        quiet, until = 0, time.monotonic() + WAIT_S
        while self.open and quiet < QUIET_LOOKS and time.monotonic() < until:
            ended = self.ended
            self.look(time.monotonic())
            quiet = quiet + 1 if self.ended == ended else 0

    def look(self, now):
        for fd, events in self.poll.poll(LOOK_S):
            if not self.open[fd].hear(events):
                self.end(self.open[fd], now)
        if now < self.looked + LOOK_S:
            return
        self.looked = now
        for slow in list(self.open.values()):
            if slow.interest() != slow.interested:
                slow.interested = slow.interest()
                self.poll.modify(slow.socket.fileno(), slow.interested)
            try:
                self.drips += slow.move(now)
            except OSError:
                self.end(slow, now)


if __name__ == "__main__":
    kind_, host_, port_, n_, seconds_, addresses_, path_, token_, *tls_ = sys.argv[1:]
    print(json.dumps(Attack(kind_, host_, int(port_), int(n_), float(seconds_), addresses_.split(","), path_, token_,
                            tls_context(*tls_[1:]) if tls_ else None).run()))
