"""A memory control group whose memory is used up: the kernel ends a service or a key process of it, or has it wait for memory."""

import os
import select
import unittest

import support
from fault_stack import LEASES_OVER, FaultTest, count
from memory_group import PIECE, MemoryGroup

ROUNDS = count(1)
BACK_S = 60
LIMIT = 24 * PIECE
BY_HAND = "CRADLE_FAULT_COUNT" in os.environ
NAMES = ("joinserver", "activation-keyd", "activation", "keyd")[:None if BY_HAND else 2]
HELD_S = 1  # without memory


class Group(FaultTest):
    name = "memory group"

    def setUp(self):
        self.stack.wait_ready()
        self.group = MemoryGroup()
        self.addCleanup(self.group.close)
        self.group.limit(LIMIT)

    def eat_until(self, condition, what):
        """Uses memory up, piece by piece, until the condition holds. Where there is none the eater waits, too."""
        eater = self.group.eater()
        for _ in range(2 * LIMIT // PIECE):
            if condition():
                return eater
            eater.stdin.write(b"+")
            support.wait_until(lambda: condition() or select.select([eater.stdout], [], [], 0)[0], BACK_S, what)
            if select.select([eater.stdout], [], [], 0)[0]:
                eater.stdout.read(1)
        raise AssertionError(f"there was memory for all: {what}")

    def take_in(self, name):
        pid = support.wait_until(lambda: self.stack.pids(name), BACK_S, f"there is a {name}")[0]
        self.group.add(pid)
        return pid

    def end_eaters(self):
        for eater in self.group.eaters:
            eater.kill()
            eater.wait()

    def ended(self):
        """Services that were ended since the stack is there."""
        return self.stack.said().count("ended (signal KILL)")

    def test_who_is_ended_for_want_of_memory_is_back_and_has_lost_nothing(self):
        ended = -self.ended()
        with self.load() as load:
            for _ in range(ROUNDS):
                for name in NAMES:
                    load.fault()
                    load.wait_recovered(BACK_S, "the start")
                    pid, before = self.take_in(name), self.group.kills()
                    self.eat_until(lambda b=before: self.group.kills() > b, f"the kernel ends {name}")
                    self.end_eaters()
                    self.stack.wait_restarted(name, pid)
                    load.fault()
                    load.wait_recovered(BACK_S, f"{name} was ended")
                    self.stack.wait_ready()
                    self.stack.psql(LEASES_OVER)
        ended += self.ended()
        print(f"\n{self.group.kills()} times a process was ended for want of memory, {ended} of them services", flush=True)
        self.assertGreaterEqual(ended, ROUNDS)
        self.verdict(load)

    def test_who_waits_for_memory_goes_on_when_there_is_some(self):
        if not self.group.can_starve():
            self.skipTest("control groups of version 2 end who finds no memory")
        self.group.starve(True)
        with self.load() as load:
            for _ in range(ROUNDS):
                for name in NAMES:
                    load.fault()
                    load.wait_recovered(BACK_S, "the start")
                    pid = self.take_in(name)
                    self.eat_until(self.is_used_up, f"all memory beside {name} is used")
                    load.stopping.wait(HELD_S)
                    self.end_eaters()
                    load.fault()
                    load.wait_recovered(BACK_S, f"{name} had no memory")
                    self.let_go(pid)
                    self.stack.psql(LEASES_OVER)
        self.verdict(load)

    def is_used_up(self):
        used = int(self.group.read(self.group.path, self.group.used_name))
        return used > LIMIT - PIECE // 2 or "under_oom 1" in self.group.read(self.group.path, self.group.kills_name)

    def let_go(self, pid):
        if os.path.exists(f"/proc/{pid}"):
            self.group.write("cgroup.procs", pid, self.group.parent)
            self.group.write("oom_score_adj", 0, f"/proc/{pid}")


if __name__ == "__main__":
    unittest.main()
