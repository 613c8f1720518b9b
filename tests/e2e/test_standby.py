"""A second PostgreSQL beside the first: a former primary that is back, and a standby that confirms nothing."""
import json
import os
import signal
import threading
import time
import unittest

import lorawan
import restores
import support

SECONDS = int(os.environ.get("CRADLE_FROZEN_S", "0"))  # by hand: how long the standby is frozen at least
UNANSWERED = 30  # commits whose result is unknown, before it is thawed
CLIENTS = 6
ACCEPTED = "SELECT count(*) FROM join_event WHERE outcome = 'success'"


class TwoHosts(restores.Restores, unittest.TestCase):
    name = "twohosts"

    def conninfo(self, *hosts):
        return (f"database.conninfo=host={','.join(hosts)} dbname=cradle user=cradle_join "
                f"passfile='{self.stack.path('pgpass-cradle_join')}'")

    def vouch(self, twin):
        path = self.stack.path("twin.ini")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"[database]\nowner_conninfo = host={twin.sockets} dbname=cradle user=cradle_owner "
                       f"passfile='{self.stack.path('pgpass-cradle_owner')}'\n")
        run = self.stack.run(command=[self.stack.program("cli/cradle"), "--config", path, "epoch", "bump"])
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_a_former_primary_that_is_back_ends_no_service_and_answers_nothing(self):
        self.join_all()
        twin = self.standby()
        twin.promote()
        before = self.stack.psql(ACCEPTED)
        witness = f"database.witness={self.stack.path('twin.witness')}"
        # The one that will be promoted is not the first host, as after any failover; until the bump neither will do.
        other = support.JoinServer(self.stack, *support.free_ports(2), [self.conninfo(twin.sockets, twin.sockets), witness])
        self.assertEqual(other.process.wait(support.START_SECONDS), 78)
        self.vouch(twin)
        other = self.stack.second_joinserver(self.conninfo(twin.sockets, self.sockets), witness)
        self.join_all(other.url)
        other.stop()

        other = self.stack.second_joinserver(self.conninfo(self.sockets, twin.sockets), witness)
        self.join_all(other.url)
        with open(other.log, encoding="utf-8") as log:
            said = log.read()
        self.assertEqual(said.count("is passed over"), 1, said)

        # The good one is gone for a while: nothing is answered from the other, and nothing ends.
        twin.stop()
        device = self.devices[1]
        for nonce in range(1000, 1020):
            status, answer = self.stack.post_join(lorawan.join_req(device, nonce, support.HOME), url=other.url)
            self.assertNotEqual((answer or {}).get("Result", {}).get("ResultCode"), "Success", answer)
        self.assertIsNone(other.process.poll())
        twin.start()
        other.wait_ready()
        self.join_all(other.url)
        self.assertEqual(self.stack.psql(ACCEPTED), before)
        self.assertEqual(int(twin.ask(ACCEPTED)), int(before[0][0]) + 3 * len(self.devices))
        other.stop()

        # Alone it is what it was.
        self.is_refused("before an epoch bump", "--above 16384",
                        settings=[self.conninfo(self.sockets, self.sockets), witness])


class Client(threading.Thread):
    """Joins one device after another until it is told to stop."""

    def __init__(self, stack, devices):
        super().__init__(daemon=True)
        self.stack, self.devices, self.stopping, self.broken = stack, devices, threading.Event(), None
        self.n, self.answered = 0, []  # (DevEUI, DevNonce) in order

    def run(self):
        try:
            while not self.stopping.is_set():
                for device in self.devices:
                    self.join_once(device)
        except Exception as e:  # looked at by the test; a thread must not die unseen
            self.broken = e

    def join_once(self, device):
        nonce, device["dev_nonce"] = device["dev_nonce"], device["dev_nonce"] + 1
        body = json.dumps(lorawan.join_req(device, nonce, support.HOME)).encode()
        try:
            _, answer = self.stack.post_join(body)
        except OSError:
            answer = None
        self.n += 1
        if (answer or {}).get("Result", {}).get("ResultCode") == "Success":
            self.answered.append((device["dev_eui"], nonce))


class FrozenStandby(restores.Restores, unittest.TestCase):
    name = "frozen"

    def backends(self):
        """How many sessions each of the services has."""
        return {user: int(n) for user, n in self.stack.psql(
            "SELECT usename, count(*) FROM pg_stat_activity WHERE usename LIKE 'cradle_%' GROUP BY usename")}

    def unknown(self):
        """Joins so far whose commit has an unknown result."""
        _, _, page = support.http("GET", f"{self.stack.join_url}metrics")
        return sum(float(line.split()[-1]) for line in page.decode().splitlines()
                   if line.startswith("cradle_database_errors_total") and "unknown" in line)

    def memory_kib(self):
        with open(f"/proc/{self.stack.pids('joinserver')[0]}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))

    def test_waiting_sessions_do_not_pile_up_and_joins_come_back(self):
        twin = self.standby()
        self.stack.psql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.stack.psql("SELECT pg_reload_conf()")
        support.wait_until(lambda: self.stack.psql("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"),
                           support.READY_SECONDS, "the standby is synchronous")
        self.join_all()
        clients = [Client(self.stack, self.stack.devices("1.0.4", 4)) for _ in range(CLIENTS)]
        usual, memory = self.backends(), self.memory_kib()
        most = dict(usual)
        twin.signal(signal.SIGSTOP)
        begin = time.monotonic()
        try:
            for client in clients:
                client.start()

            def has_waited():
                for user, n in self.backends().items():
                    most[user] = max(most.get(user, 0), n)
                return self.unknown() >= UNANSWERED and time.monotonic() - begin >= SECONDS

            support.wait_until(has_waited, SECONDS + support.START_SECONDS, f"{UNANSWERED} commits of unknown result")
            during = sum(len(client.answered) for client in clients)
            asked = sum(client.n for client in clients)
            grown = self.memory_kib() - memory
        finally:
            twin.signal(signal.SIGCONT)
        support.wait_until(lambda: all(client.answered for client in clients) or any(c.broken for c in clients),
                           support.START_SECONDS, "joins come back to everybody")
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join()
            self.assertIsNone(client.broken)
        print(f"frozen standby: {time.monotonic() - begin:.0f} s, {asked} joins asked for, {during} answered; "
              f"sessions {usual}, at most {most}; resident memory {grown:+d} KiB", flush=True)
        for user, n in most.items():
            # For each connection one that serves, and one that waits.
            self.assertLessEqual(n, 2 * usual[user], user)
        self.stack.wait_ready()
        support.wait_until(lambda: self.backends().get("cradle_join", 0) <= usual["cradle_join"], support.READY_SECONDS,
                           "no session is left over")
        there = {(eui, int(nonce)) for eui, nonce in self.stack.psql(
            "SELECT encode(dev_eui, 'hex'), dev_nonce FROM join_event WHERE outcome = 'success'")}
        self.assertEqual([key for client in clients for key in client.answered if key not in there], [])
        self.join_all()
