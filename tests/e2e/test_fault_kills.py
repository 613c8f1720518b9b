"""kill -9 of every process there is, at random moments, while devices join, are imported and are claimed."""

import os
import signal

import fault_check
from fault_stack import LEASES_OVER, FaultTest, count

KILLS = count(20)
PAUSE_S = 0.4  # between a fault and the next, at most
TARGETS = ("joinserver", "keyd", "activation-keyd", "backend", "activation", "keyd", "backend", "activation-keyd")
EXPIRE_EVERY = 10  # kills, after which whoever was killed in the middle of a job has its lease ended, as a minute would


class Kills(FaultTest):
    name = "kills"

    def kill(self, target):
        """One process of this kind, whichever; False while there is none."""
        found = self.backends() if target == "backend" else self.stack.pids(target)
        if not found:
            return False
        try:
            os.kill(self.random.choice(found), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def test_kills_at_random_moments_break_no_promise(self):
        worst, done = {}, dict.fromkeys(TARGETS, 0)
        before = fault_check.resources(self.pids())
        with self.load() as load:
            load.fault()
            self.recovered(load, "the start", worst)
            while sum(done.values()) < KILLS:
                target = TARGETS[sum(done.values()) % len(TARGETS)]
                load.stopping.wait(self.random.uniform(0, PAUSE_S))
                if not self.kill(target):
                    continue
                load.fault()
                done[target] += 1
                self.recovered(load, target, worst)
                if sum(done.values()) % EXPIRE_EVERY == 0:
                    self.stack.wait_ready()
                    self.stack.psql(LEASES_OVER)
        print(f"\nkills {done}, longest until 25 joins had succeeded again (s): "
              f"{ {name: round(s, 1) for name, s in worst.items()} }", flush=True)
        self.verdict(load)
        fault_check.held(fault_check.returns_to(before, self.pids))
