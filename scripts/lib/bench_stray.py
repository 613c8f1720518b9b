"""Requests at a fixed rate for a JoinEUI that is not ours, and a partner that takes what it is sent and never answers."""
import asyncio
import contextlib
import json
import socket
import statistics
import threading
import time

DEV_EUI = "02cdcdbf00000001"
CONNECTIONS_MAX = 512  # requests that may wait for their answers; those that are due meanwhile are not sent, but counted
ANSWER_SECONDS = 10
HEAD_MAX = 8192


class Hole:
    """Listens on a port of its own, takes connections and all that comes over them, and says nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.n_taken = 0
        self.taken = []
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        with contextlib.suppress(OSError):
            while True:
                # Not read: a request is smaller than what the kernel takes on its own.
                self.taken.append(self.listener.accept()[0])
                self.n_taken += 1
                # Who gave up is let go.
                for connection in self.taken[:-CONNECTIONS_MAX]:
                    connection.close()
                del self.taken[:-CONNECTIONS_MAX]

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.taken:
            connection.close()


class Stray:
    """One network server's JoinReqs at a fixed rate, answered or not, while it is entered."""

    def __init__(self, port, token, net_id, join_eui, rate):
        self.port, self.rate = port, rate
        self.waits, self.n_unanswered, self.n_unsent = [], 0, 0
        self.stopped, self.thread, self.idle = False, None, []
        frame = b"\x00" + bytes.fromhex(join_eui)[::-1] + bytes.fromhex(DEV_EUI)[::-1] + bytes(6)
        body = json.dumps({
            "ProtocolVersion": "1.0", "SenderID": net_id, "ReceiverID": join_eui, "TransactionID": 1, "MessageType": "JoinReq",
            "MACVersion": "1.0.3", "PHYPayload": frame.hex(), "DevEUI": DEV_EUI, "DevAddr": "01020304", "DLSettings": "00",
            "RxDelay": 1, "CFList": ""}).encode()
        self.request = (f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    def once(self):
        """One request, whose answer is not waited for long; whether it was taken."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(self.request)
                with contextlib.suppress(TimeoutError):
                    connection.recv(1)
            return True
        except OSError:
            return False

    def __enter__(self):
        self.stopped = False
        self.thread = threading.Thread(target=lambda: asyncio.run(self.ask_all()), daemon=True)
        self.thread.start()

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join()

    async def ask_all(self):
        begin, n, tasks = time.monotonic(), 0, set()
        while not self.stopped:
            await asyncio.sleep(max(0, begin + n / self.rate - time.monotonic()))
            n += 1
            if len(tasks) >= CONNECTIONS_MAX:
                self.n_unsent += 1
                continue
            task = asyncio.create_task(self.ask())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=ANSWER_SECONDS)
        while self.idle:
            self.idle.pop()[1].close()

    async def ask(self):
        began, writer = time.monotonic(), None
        try:
            reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port, limit=HEAD_MAX)
            writer.write(self.request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_SECONDS)
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
            self.waits.append(time.monotonic() - began)
            self.idle.append((reader, writer))
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError, StopIteration, ValueError):
            self.n_unanswered += 1
            if writer is not None:
                writer.close()

    def told(self):
        """What became of all of them."""
        waits = [1000 * wait for wait in self.waits] or [0]
        return {"answered": len(self.waits), "unanswered": self.n_unanswered, "unsent": self.n_unsent,
                "p50_ms": round(statistics.median(waits), 2), "max_ms": round(max(waits), 1)}
