"""File descriptors, database connections and memory run out: services say so, go on with what they have, and come back."""

import contextlib
import http.client
import json
import os
import resource
import socket
import time
import unittest

import fault_check
import lorawan
import support
from fault_stack import FaultTest, count

ROUNDS = count(1)
MORE_CLIENTS = 40  # than there are descriptors for
SPARE_FDS = 3
BURST = 30
SECONDS = 30
MEMORY_STEPS_MIB = (0, 1, 2, 4, 8, 16)
AWAY = (None, "Other")


class Exhaust(FaultTest):
    name = "exhaust"

    def setUp(self):
        self.stack.wait_ready()
        self.device = self.stack.device("1.0.3")
        self.open = contextlib.ExitStack()
        self.addCleanup(self.open.close)

    def connection(self, port):
        made = http.client.HTTPConnection("127.0.0.1", port, timeout=support.HTTP_SECONDS)
        return self.open.enter_context(contextlib.closing(made))

    def join_at(self, connection):
        """The Join-Accept of a new DevNonce, or why there is none."""
        nonce = self.stack.next_nonce(self.device)
        connection.request("POST", "/", json.dumps(lorawan.join_req(self.device, nonce, support.HOME)), {
            "Content-Type": "application/json", "Authorization": f"Bearer {self.stack.home['token']}"})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200 or body["Result"]["ResultCode"] != "Success":
            return None
        return lorawan.open_accept(self.device, body["PHYPayload"], nonce)

    @staticmethod
    def fds(pid):
        return len(os.listdir(f"/proc/{pid}/fd"))

    @staticmethod
    def cpu_s(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_without_descriptors_those_who_are_there_are_served_and_others_later(self):
        for service, port, path in (("joinserver", self.stack.join_port, "/readyz"),
                                    ("activation", self.stack.activation_port, "/readyz")):
            with self.subTest(service=service):
                self.starve_of_descriptors(service, port, path)

    def starve_of_descriptors(self, service, port, path):
        before = fault_check.resources(self.pids())
        there = self.connection(port)
        there.request("GET", path)
        there.getresponse().read()
        pid, = self.stack.pids(service)
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + SPARE_FDS, hard))
        try:
            waiting = []
            for _ in range(MORE_CLIENTS):
                s = self.open.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", port), support.HTTP_SECONDS)))
                s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                waiting.append(s)
            for _ in range(BURST):
                if service == "joinserver":
                    self.assertIsNotNone(self.join_at(there))
                else:
                    there.request("GET", path)
                    answer = there.getresponse()
                    self.assertEqual((answer.status, answer.read() and True), (200, True))
            # What cannot be started now is started when there is room again.
            keyd = "keyd" if service == "joinserver" else "activation-keyd"
            killed = self.stack.kill(keyd)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        for s in waiting:
            s.settimeout(SECONDS)
            self.assertTrue(s.recv(64).startswith(b"HTTP/1.1 200"))
            s.close()
        there.close()
        self.stack.wait_restarted(keyd, killed)
        self.assertEqual(self.stack.pids(service), [pid])
        self.stack.wait_ready()
        fault_check.held(fault_check.returns_to(before, self.pids))

    def no_connections(self, role, limit):
        self.stack.psql(f"ALTER ROLE {role} CONNECTION LIMIT {limit}")

    def test_a_database_without_free_connections_is_said_and_come_back_from(self):
        before = fault_check.resources(self.pids())
        spent, token = None, self.stack.token()
        with self.load() as load:
            for _ in range(ROUNDS):
                load.fault()
                load.wait_recovered(SECONDS, "the start")
                for role in ("cradle_join", "cradle_activation"):
                    self.addCleanup(self.no_connections, role, -1)
                    self.no_connections(role, 0)
                self.stack.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'cradle_%'")
                for port in (self.stack.join_port, self.stack.activation_port):
                    support.wait_until(lambda p=port: not self.stack.is_ready(p), SECONDS, "the service says that it is not ready")
                begun = {name: self.cpu_s(pid) for name, pid in self.pids().items()}
                at = time.monotonic()
                message = lorawan.join_req(self.device, self.stack.next_nonce(self.device), support.HOME)
                status, answer = self.stack.post_join(message)
                self.assertIn(status, (200, 503))
                self.assertIn(answer.get("Result", {}).get("ResultCode"), AWAY)
                status, _, problem = self.stack.activation("GET", f"/v1/devices/{self.device['dev_eui']}", None,
                                                           {"Authorization": f"Bearer {token}"})
                self.assertEqual(status, 503, problem)
                load.stopping.wait(1)
                elapsed = time.monotonic() - at
                spent = {name: round((self.cpu_s(pid) - begun[name]) / elapsed, 2) for name, pid in self.pids().items()}
                for role in ("cradle_join", "cradle_activation"):
                    self.no_connections(role, -1)
                load.fault()
                load.wait_recovered(SECONDS, "connections are free again")
        print(f"\nCPU of a core while there were no connections: {spent}", flush=True)
        for service in ("joinserver", "activation"):
            with open(self.stack.path("log", f"{service}.log"), encoding="utf-8") as file:
                self.assertIn("too many connections for role", file.read())
        self.verdict(load)
        fault_check.held(fault_check.returns_to(before, self.pids))

    def test_without_memory_nothing_that_was_promised_is_broken(self):
        """The address space is bounded just above what is used; a service may end, and is started again, but never lies."""
        ended = 0
        with self.load(claimers=0) as load:
            for turn in range(ROUNDS * 2):
                for service in ("joinserver", "activation"):
                    load.fault()
                    load.wait_recovered(SECONDS, "the fault before")
                    pid = support.wait_until(lambda s=service: self.stack.pids(s), SECONDS, f"there is a {service}")[0]
                    soft, hard = resource.prlimit(pid, resource.RLIMIT_AS)
                    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                        size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
                    step = MEMORY_STEPS_MIB[turn % len(MEMORY_STEPS_MIB)] << 20
                    resource.prlimit(pid, resource.RLIMIT_AS, (size + step, hard))
                    clients = [socket.create_connection(("127.0.0.1", self.stack.join_port if service == "joinserver" else
                                                         self.stack.activation_port)) for _ in range(MORE_CLIENTS)]
                    load.stopping.wait(1)
                    for client in clients:
                        client.close()
                    try:
                        resource.prlimit(pid, resource.RLIMIT_AS, (soft, hard))
                    except ProcessLookupError:
                        ended += 1
            load.fault()
            load.wait_recovered(SECONDS, "there is memory again")
        print(f"\nmemory: {ROUNDS * 4} times none, {ended} ends of a service", flush=True)
        self.verdict(load)


if __name__ == "__main__":
    unittest.main()
