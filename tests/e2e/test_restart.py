"""Services under a service manager: its sockets, its protocol, and key processes of a host.

The manager is this test: it holds the listening sockets, hands them over as sd_listen_fds(3) says, and reads the
datagrams that sd_notify(3) describes. So no systemd is needed.
"""
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import support
from test_faults import Faults, Journal, devices_of_all_versions

LIMIT_S = 30
RESTARTS = 3
BACKLOG = 1024
WATCHDOGS = 2
HOST = "hsm/cradle-keyd-host"
FIRST_FD = 3  # of sd_listen_fds(3)
STATUS_SETTING = 78
# The program's own process id must be in the environment: only it knows it.
HAND_OVER = 'LISTEN_PID=$$ exec "$@"'


class Manager:
    """Holds sockets, starts a program with them, and hears what it says."""

    def __init__(self, stack, *sockets):
        self.stack, self.sockets = stack, sockets
        self.folder = tempfile.mkdtemp(dir=stack.state)
        self.path = os.path.join(self.folder, "notify")
        self.heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.heard.bind(self.path)
        self.log = os.path.join(self.folder, "program.log")
        self.process = None
        self.more_environment = {}

    def start(self, program, *arguments):
        environment = {**self.stack.environment(), **self.more_environment, "NOTIFY_SOCKET": self.path, "LISTEN_FDS": str(len(self.sockets))}
        taken = [os.dup(s.fileno()) for s in self.sockets]  # not among the numbers that they will get

        def hand_over():
            high = [os.dup2(fd, 100 + i) for i, fd in enumerate(taken)]
            for i, fd in enumerate(high):
                os.dup2(fd, FIRST_FD + i, inheritable=True)
                os.close(fd)

        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", HAND_OVER, "sh", self.stack.program(program), *arguments], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, env=environment, close_fds=False, preexec_fn=hand_over)
        for fd in taken:
            os.close(fd)

    def start_joinserver(self, port, *settings):
        self.start("joinserver/cradle-joinserver", "--config", self.stack.path("joinserver.ini"),
                   *(word for setting in (f"listener-plain.port={port}", "listener-tls.certificate=", *settings)
                     for word in ("--set", setting)))

    def wait_for(self, wanted):
        """Until the program has said this; all lines up to then."""
        lines = []
        self.heard.settimeout(LIMIT_S)
        while wanted not in lines:
            try:
                lines += self.heard.recv(4096).decode().splitlines()
            except socket.timeout:
                raise AssertionError(f"{wanted} was not said:\n{self.said()}") from None
        return lines

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(LIMIT_S) if self.process is not None else None

    def close(self):
        self.stop()
        self.heard.close()


def tcp():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(BACKLOG)
    return s


class GapJournal(Journal):
    """A journal that knows what was refused, and how long nobody was answered."""

    def __init__(self, stack, devices, url):
        self.url, self.refused, self.longest_s, self.last_s = url, [], 0, None
        super().__init__(stack, devices)
        self.stack = self

    def post_join(self, message):
        try:
            return self.of.post_join(message, url=self.url)
        except OSError as e:
            if isinstance(getattr(e, "reason", e), ConnectionRefusedError):
                self.refused.append(e)
            raise

    def success(self, device, nonce, join_nonce):
        super().success(device, nonce, join_nonce)
        with self.lock:
            now = time.monotonic()
            if self.last_s is not None:
                self.longest_s = max(self.longest_s, now - self.last_s)
            self.last_s = now


class Managed(unittest.TestCase):
    check = Faults.check

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("managed")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def manager(self, *sockets):
        manager = Manager(self.stack, *sockets)
        self.addCleanup(manager.close)
        return manager

    def listener(self):
        s = tcp()
        self.addCleanup(s.close)
        return s, s.getsockname()[1]

    def test_a_restart_under_joins_refuses_no_connection_and_loses_no_answered_join(self):
        devices = devices_of_all_versions(self.stack, 4)
        handed, port = self.listener()
        manager = self.manager(handed)
        manager.start_joinserver(port)
        manager.wait_for("READY=1")
        journal = GapJournal(self.stack, devices, f"http://127.0.0.1:{port}/")
        journal.of = self.stack
        with journal:
            for _ in range(RESTARTS):
                journal.fault()
                self.assertTrue(journal.recovered.wait(LIMIT_S), f"no joins before the restart: {journal.broken}")
                self.assertEqual(manager.stop(), 0, manager.said())
                manager.start_joinserver(port)
                manager.wait_for("READY=1")
                journal.fault()
                self.assertTrue(journal.recovered.wait(LIMIT_S), "no joins after the restart")
        self.assertEqual(journal.refused, [])
        self.check(journal)
        print(f"{len(journal.answers)} joins over {RESTARTS} restarts; {journal.failures} asked in vain; "
              f"longest time without an answer {journal.longest_s:.2f} s ... ", end="")

    def test_the_manager_is_told_of_start_life_and_end(self):
        handed, port = self.listener()
        manager = self.manager(handed)
        manager.start_joinserver(port)
        self.assertNotIn("WATCHDOG=1", manager.wait_for("READY=1"))
        for _ in range(WATCHDOGS):
            manager.wait_for("WATCHDOG=1")
        self.assertEqual(manager.stop(), 0)
        manager.wait_for("STOPPING=1")

    def test_the_activation_service_tells_the_same(self):
        handed, port = self.listener()
        manager = self.manager(handed)
        manager.start("activation/cradle-activation", "--config", self.stack.path("activation.ini"), "--set",
                      f"listener-plain.port={port}", "--set", "listener-tls.certificate=")
        manager.wait_for("READY=1")
        manager.wait_for("WATCHDOG=1")
        self.assertEqual(support.http("GET", f"http://127.0.0.1:{port}/healthz")[0], 200)
        self.assertEqual(manager.stop(), 0)
        manager.wait_for("STOPPING=1")

    def test_a_service_that_waits_for_its_database_is_not_ready(self):
        handed, port = self.listener()
        manager = self.manager(handed)
        manager.start_joinserver(port, "database.conninfo=host=/nonexistent dbname=cradle user=cradle_join")
        support.wait_until(lambda: "database" in manager.said(), LIMIT_S, "it has tried")
        manager.stop()
        manager.heard.setblocking(False)
        with self.assertRaises(BlockingIOError):
            while True:
                self.assertNotIn(b"READY=1", manager.heard.recv(4096))

    def test_a_password_file_that_the_manager_hands_over_is_read_although_it_has_a_mask_for_the_group(self):
        """systemd gives a credential by an access list, whose mask stands where the rights of the group do."""
        handed, port = self.listener()
        manager = self.manager(handed)
        with open(self.stack.path("joinserver.ini"), encoding="utf-8") as file:
            conninfo = next(line.split(" = ", 1)[1].strip() for line in file if line.startswith("conninfo = "))
        passfile = re.search(r"passfile='?([^' ]+)", conninfo).group(1)
        credentials = os.path.join(manager.folder, "credentials")
        os.mkdir(credentials, 0o700)
        copied = shutil.copy(passfile, os.path.join(credentials, "joinserver_pgpass"))
        os.chmod(copied, 0o440)
        manager.more_environment = {"CREDENTIALS_DIRECTORY": credentials}
        manager.start_joinserver(port, f"database.conninfo={conninfo.replace(passfile, copied)}")
        manager.wait_for("READY=1")
        device = self.stack.device("1.0.4")
        self.assertTrue(self.stack.join(device, url=f"http://127.0.0.1:{port}/")["agree"])

    def test_a_handed_socket_of_no_listener_is_warned_of(self):
        handed, port = self.listener()
        stray, stray_port = self.listener()
        manager = self.manager(stray, handed)
        manager.start_joinserver(port)
        manager.wait_for("READY=1")
        self.assertIn(f"a socket 127.0.0.1:{stray_port} was handed over", manager.said())

    # --- key processes of a host ---

    def host(self, service="joinserver", user=None, settings=()):
        """A cradle-keyd-host by its own socket, or its end's status; its path."""
        path = os.path.join(tempfile.mkdtemp(dir=self.stack.state), "keyd.sock")
        with open(self.stack.path("joinserver.ini"), encoding="utf-8") as file:
            token = dict(line.rstrip().split(" = ", 1) for line in file
                         if line.startswith(("uri = ", "lock_file = ", "keyd = ")))
        manager = self.manager()
        words = [f"host.socket={path}", f"host.service={service}", f"host.service_user={user or self.user()}",
                 *(f"hsm.{name}={value}" for name, value in token.items()), *settings]
        manager.start(HOST, *(word for each in words for word in ("--set", each)))
        return manager, path

    @staticmethod
    def user():
        return subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()

    def keyds_of(self, manager):
        return [pid for pid in support.descendants(manager.process.pid)
                if support.processes().get(pid, (0, ""))[1] == "cradle-keyd"]

    def hosted(self, path, *settings):
        """A join server that knows of no token."""
        handed, port = self.listener()
        manager = self.manager(handed)
        manager.start_joinserver(port, f"hsm.keyd_socket={path}", f"hsm.keyd_user={self.user()}", "hsm.uri=",
                                 "hsm.keyd=", "hsm.lock_file=", *settings)
        return manager, f"http://127.0.0.1:{port}/"

    def test_joins_are_answered_by_key_processes_of_a_host(self):
        host, path = self.host()
        host.wait_for("READY=1")
        service, url = self.hosted(path)
        service.wait_for("READY=1")
        self.assertEqual([], self.keyds_of(service))
        device = self.stack.device("1.1")
        self.assertTrue(self.stack.join(device, url=url)["agree"])
        before = self.keyds_of(host)
        self.assertTrue(before)
        for pid in before:
            os.kill(pid, 9)
        support.wait_until(lambda: self.keyds_of(host) and not set(before) & set(self.keyds_of(host)), LIMIT_S,
                           "key processes that were killed are followed by others")
        self.assertTrue(self.stack.join(device, url=url)["agree"])
        self.assertEqual(service.stop(), 0)
        support.wait_until(lambda: not self.keyds_of(host), LIMIT_S, "none is left when the service has gone")
        self.assertEqual(host.stop(), 0)

    def test_a_service_outlives_its_host(self):
        host, path = self.host()
        host.wait_for("READY=1")
        service, url = self.hosted(path)
        service.wait_for("READY=1")
        host.stop()
        again, _ = self.host(settings=(f"host.socket={path}",))
        again.wait_for("READY=1")
        device = self.stack.device("1.0.3")
        support.wait_until(lambda: self.stack.join(device, url=url).get("agree"), LIMIT_S,
                           "joins with the key processes of the new host")

    def test_key_processes_are_recycled_by_way_of_the_host(self):
        host, path = self.host()
        host.wait_for("READY=1")
        service, url = self.hosted(path, "hsm.recycle_operations=2", "hsm.processes=1")
        service.wait_for("READY=1")
        first, device = self.keyds_of(host), self.stack.device("1.0.4")
        for _ in range(6):
            self.assertTrue(self.stack.join(device, url=url)["agree"])
        support.wait_until(lambda: not set(first) & set(self.keyds_of(host)), LIMIT_S, "the first has been replaced")

    def test_another_user_gets_no_key_process(self):
        host, path = self.host(user="nobody")
        host.wait_for("READY=1")
        service, _ = self.hosted(path)
        self.assertEqual(service.process.wait(LIMIT_S), 1)
        self.assertIn("asked for a key process and gets none", host.said())
        self.assertEqual([], self.keyds_of(host))

    def test_a_host_of_another_service_says_no(self):
        host, path = self.host(service="activation")
        host.wait_for("READY=1")
        service, _ = self.hosted(path)
        self.assertEqual(service.process.wait(LIMIT_S), STATUS_SETTING)
        self.assertIn("does not let this service ask for all that it wants", service.said())

    def test_keys_in_clear_take_the_leave_of_the_host(self):
        host, path = self.host()
        host.wait_for("READY=1")
        service, _ = self.hosted(path, "join.plain_keys=true")
        self.assertEqual(service.process.wait(LIMIT_S), STATUS_SETTING)
        self.assertIn("lets no session key leave in clear", service.said())
        host, path = self.host(settings=("hsm.plain_keys=true",))
        host.wait_for("READY=1")
        service, _ = self.hosted(path, "join.plain_keys=true")
        service.wait_for("READY=1")
        self.assertIn("session keys may leave in clear", service.said())

    def test_a_host_that_is_somebody_elses_is_not_trusted(self):
        host, path = self.host()
        host.wait_for("READY=1")
        service, _ = self.hosted(path, "hsm.keyd_user=nobody")
        if os.geteuid() == 0:  # root's is what a service manager would hand over
            service.wait_for("READY=1")
            return
        self.assertEqual(service.process.wait(LIMIT_S), STATUS_SETTING)
        self.assertIn("not by nobody", service.said())

    def test_without_a_host_the_settings_of_the_token_are_needed(self):
        handed, port = self.listener()
        service = self.manager(handed)
        service.start_joinserver(port, "hsm.uri=")
        self.assertEqual(service.process.wait(LIMIT_S), STATUS_SETTING)
        self.assertIn("setting hsm.uri is missing", service.said())

    def test_what_makes_no_sense_ends_one_key_process_and_nothing_else(self):
        host, path = self.host()
        host.wait_for("READY=1")
        for message in (b"", b"CKW2", b"x" * 14, b"CKW2" + bytes(10), b"y" * 5000):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.connect(path)
                if message:
                    s.send(message)
        support.wait_until(lambda: not self.keyds_of(host), LIMIT_S, "their key processes have ended")
        service, _ = self.hosted(path)
        service.wait_for("READY=1")
