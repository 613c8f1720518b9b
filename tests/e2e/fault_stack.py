"""What all fault campaigns share: a stack of their own under load, its processes, and the verdict at the end."""

import os
import random
import signal
import time
import unittest

import fault_check
import fault_journal
import fault_token
import support

RECOVERY_S = 30  # which the machine may be too busy for; what was measured is printed
RETRY_WINDOW_MS = 60000  # a client asks again until it is answered, however long a fault lasts
KEYS_LOOKED_FOR = 50  # the newest: a look at each byte of the logs for each spelling of each
SERVICES = ("joinserver", "activation")
LEASES_OVER = "UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'"


def count(smoke):
    """How many faults: as scripts/fault says, or the few of scripts/test."""
    return int(os.environ.get("CRADLE_FAULT_COUNT", smoke))


class AtOnce:
    """Of a Stack: what is killed is started again at once, each time."""

    def environment(self):
        return {**super().environment(), "CRADLE_RESTART_DELAY": "0"}


class FaultStack(AtOnce, support.Stack):
    control = None  # of the failing PKCS#11 module, for services that are started now

    def environment(self):
        if self.control is None:
            return super().environment()
        return {**super().environment(), "P11_FAULT_MODULE": fault_token.REAL_MODULE, "P11_FAULT_CONTROL": self.control.path}


class FaultTest(unittest.TestCase):
    """A stack, a load upon it, faults, and the checker."""

    name = "fault"
    shared = None  # by all campaigns that need nothing else

    @classmethod
    def setUpClass(cls):
        cls.seed = int(os.environ.get("CRADLE_FAULT_SEED", "1"))
        cls.random = random.Random(cls.seed)
        cls.stack = cls.get_stack()
        if cls.stack.process is None:
            cls.stack.start()
            cls.settings("joinserver", "join", f"retry_window_ms = {RETRY_WINDOW_MS}")

    @classmethod
    def get_stack(cls):
        """Started or not; this one is stopped when all tests are over."""
        if FaultTest.shared is None:
            FaultTest.shared = FaultStack("fault")
            support.stop_at_end(FaultTest.shared.stop)
        return FaultTest.shared

    @classmethod
    def settings(cls, service, section, *lines):
        """More settings of a service, which is started again with them."""
        with open(cls.stack.path(f"{service}.ini"), "a", encoding="utf-8") as file:
            file.write("\n".join(["", f"[{section}]", *lines, ""]))
        cls.stack.wait_restarted(service, cls.stack.kill(service, signal.SIGTERM))
        cls.stack.wait_ready()

    def load(self, **options):
        return fault_journal.Load(self.stack, self.stack.path(f"journal-{self._testMethodName[-20:]}-{time.monotonic_ns()}"),
                                  **options)

    def pids(self):
        return {name: self.stack.pids(name)[0] for name in SERVICES if self.stack.pids(name)}

    def backends(self):
        """Process ids of the services' connections, as this machine counts them."""
        postmaster = self.stack.pids("postgres")
        return sorted(support.descendants(postmaster[0])) if postmaster else []

    def recovered(self, load, what, worst):
        """Waits until joins succeed again; `worst` keeps the longest wait."""
        begun = time.monotonic()
        load.wait_recovered(RECOVERY_S, what)
        worst[what] = max(worst.get(what, 0), time.monotonic() - begun)

    def verdict(self, load, **options):
        """After the load: journal, database, logs."""
        self.stack.wait_ready()
        exchanges = fault_journal.read(load.path)
        violations = fault_check.check(exchanges, fault_check.facts_of(self.stack), **options)
        keys = {eui: key for eui, key in list(load.keys.items())[-KEYS_LOOKED_FOR:]}
        violations += fault_check.keys_in_clear([self.stack.path("log")], keys)
        fault_check.held(violations)
        asked = {name: sum(e["op"] == name for e in exchanges) for name in ("join", "import", "claim")}
        unanswered = sum(e["answer"] is None for e in exchanges)
        print(f"\n{self.name}: seed {self.seed}, asked {asked}, succeeded {load.counts}, without an answer {unanswered}", flush=True)
        self.assertGreater(load.counts.get("join", 0), 0)
