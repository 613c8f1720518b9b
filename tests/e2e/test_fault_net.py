"""A bad network between clients, services and the database: delay, jitter, loss, packets out of order, and none at all.

One join server and one activation service live in a network namespace of their own, and reach the database, and are reached,
over one bad line (bad_link.py). The test itself is in another one, so that nothing of the machine's network is touched.
"""

import ctypes
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import unittest

import bad_link
import fault_check
import support
from fault_stack import FaultTest, count

CLONE_NEWNET, TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x40000000, 0x400454CA, 0x0001, 0x1000
HERE, THERE = "10.213.7.1", "10.213.7.2"
PORTS = {"join": 18081, "activation": 18080}
ROUNDS = count(1)
RECOVERY_S = 60
LINES = {
    "delay": {"delay_ms": 20},
    "jitter": {"delay_ms": 5, "jitter_ms": 40},
    "loss": {"delay_ms": 1, "loss": 0.03},
    "reorder": {"delay_ms": 5, "reorder": 0.2},
    "all of it": {"delay_ms": 10, "jitter_ms": 20, "loss": 0.02, "reorder": 0.1},
    "nothing": {"loss": 1},
}
SMOKE = [(name, LINES[name]) for name in ("all of it", "nothing")]
CUT_S = 3  # of a line that carries nothing
libc = ctypes.CDLL(None, use_errno=True)


def leave_network():
    """This thread, and all that it starts, in a network namespace of its own."""
    if libc.unshare(CLONE_NEWNET) != 0:
        raise unittest.SkipTest(f"no network namespace can be made here: {os.strerror(ctypes.get_errno())}")


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class FarStack(support.Stack):
    """Whose clients speak to services in the other namespace."""

    def second(self, kind, within):
        program = f"{'joinserver' if kind == 'join' else 'activation'}/cradle-{'joinserver' if kind == 'join' else kind}"
        ini = self.path("joinserver.ini" if kind == "join" else "activation.ini")
        conninfo = (f"host={HERE} dbname=cradle user=cradle_{kind} passfile='{self.path(f'pgpass-cradle_{kind}')}' "
                    "connect_timeout=5")
        log = open(self.path("log", f"far-{kind}.log"), "ab")  # pylint: disable=consider-using-with
        environment = {n: v for n, v in self.environment().items() if not n.startswith(("CRADLE_JOIN_P", "CRADLE_JOIN_T",
                                                                                       "CRADLE_ACTIVATION_"))}
        return subprocess.Popen(
            [*within, self.program(program), "--config", ini, "--set", f"database.conninfo={conninfo}",
             "--set", "listener-tls.certificate=", "--set", f"listener-plain.port={PORTS[kind]}",
             "--set", f"listener-plain.address={THERE}", "--set", f"listener-plain.proxies={HERE}/32"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


class Net(FaultTest):
    name = "net"

    @classmethod
    def setUpClass(cls):
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        leave_network()
        cls.addClassCleanup(cls.back, before)
        ip("link", "set", "lo", "up")
        cls.make_line()
        cls.stack = FarStack(cls.name)
        cls.seed = 1
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.line(delay_ms=0)
        cls.let_database_listen()
        cls.far = {kind: cls.stack.second(kind, ["nsenter", f"--net=/proc/{cls.holder.pid}/ns/net"]) for kind in PORTS}
        cls.addClassCleanup(cls.end, list(cls.far.values()))
        cls.stack.join_url = f"http://{THERE}:{PORTS['join']}/"
        cls.stack.activation_url = f"http://{THERE}:{PORTS['activation']}"
        for kind in PORTS:
            support.wait_until(lambda k=kind: cls.ready(k), RECOVERY_S, f"the far {kind} service is ready")

    @staticmethod
    def back(fd):
        libc.setns(fd, CLONE_NEWNET)
        os.close(fd)

    @staticmethod
    def end(processes):
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(support.STOP_SECONDS)

    @classmethod
    def make_line(cls):
        """Two TUN devices, one of them in the namespace of a process that only holds it."""
        try:
            fds = [tun("near"), tun("far")]
        except OSError as error:
            raise unittest.SkipTest(f"no TUN device can be made here: {error}") from None
        cls.holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
        cls.addClassCleanup(cls.end, [cls.holder])
        cls.holder.stdout.readline()
        pid = str(cls.holder.pid)
        ip("link", "set", "far", "netns", pid)
        ip("addr", "add", f"{HERE}/24", "dev", "near")
        ip("link", "set", "near", "up")
        for words in (("link", "set", "lo", "up"), ("addr", "add", f"{THERE}/24", "dev", "far"), ("link", "set", "far", "up")):
            subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *words], check=True, capture_output=True)
        cls.file = os.path.join(support._settings["work"], "bad-link.json")  # pylint: disable=protected-access
        cls.line(delay_ms=0)
        link = subprocess.Popen([sys.executable, bad_link.__file__, *map(str, fds), cls.file], pass_fds=fds)
        for fd in fds:
            os.close(fd)
        cls.addClassCleanup(cls.end, [link])

    @classmethod
    def line(cls, **settings):
        with open(cls.file + ".new", "w", encoding="ascii") as file:
            json.dump(settings, file)
        os.replace(cls.file + ".new", cls.file)

    @classmethod
    def let_database_listen(cls):
        with open(cls.stack.path("cluster"), encoding="utf-8") as file:
            pgdata = file.read().strip()
        with open(os.path.join(pgdata, "pg_hba.conf"), "a", encoding="utf-8") as file:
            file.write(f"host all all {THERE}/32 scram-sha-256\n")
        cls.stack.psql(f"ALTER SYSTEM SET listen_addresses = '{HERE}'")
        cls.stack.wait_restarted("postgres", cls.stack.kill("postgres", signal.SIGINT))
        cls.stack.wait_ready()

    @classmethod
    def ready(cls, kind):
        try:
            return support.http("GET", f"http://{THERE}:{PORTS[kind]}/readyz", timeout=5)[0] == 200
        except OSError:
            return False

    def far_pids(self):
        return {kind: process.pid for kind, process in self.far.items()}

    def test_over_a_bad_line_no_answered_join_is_lost(self):
        before = fault_check.resources(self.far_pids())
        counts = {}
        with self.load(n_joiners=4, claimers=2) as load:
            for _ in range(ROUNDS):
                for name, settings in LINES.items() if "CRADLE_FAULT_COUNT" in os.environ else SMOKE:
                    load.fault()
                    load.wait_recovered(RECOVERY_S, "the line was good")
                    asked = load.counts.get("join", 0)
                    self.line(**settings)
                    load.fault()
                    if settings.get("loss") == 1:
                        load.stopping.wait(CUT_S)
                    else:
                        load.wait_recovered(RECOVERY_S, name)
                    counts[name] = counts.get(name, 0) + load.counts.get("join", 0) - asked
                    self.line(delay_ms=0)
            load.fault()
            load.wait_recovered(RECOVERY_S, "the line is good again")
        print(f"\njoins over each line: {counts}", flush=True)
        self.verdict(load)
        self.assertEqual([process.poll() for process in self.far.values()], [None, None])
        fault_check.held(fault_check.returns_to(before, self.far_pids))


if __name__ == "__main__":
    unittest.main()
