"""kill -9 of every process there is, at random moments, while devices join, are imported and are claimed."""

import os
import signal

import fault_check
import support
from fault_stack import LEASES_OVER, FaultTest, count

KILLS, POSTGRES_FAULTS = count(10), count(2)
PAUSE_S = 0.4  # between a fault and the next, at most
TARGETS = ("joinserver", "keyd", "activation-keyd", "backend", "activation", "keyd", "backend", "activation-keyd")
TERMINATIONS = 5  # in a storm
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


class Postgres(FaultTest):
    """The whole database, again and again: killed, stopped at once, or all its sessions ended."""

    name = "postgres"
    ways = ("postmaster", "immediate", "terminate", "checkpoint", "all backends")

    def postmaster(self, how):
        self.stack.wait_restarted("postgres", self.stack.kill("postgres", how))

    def break_it(self, way):
        if way == "postmaster":
            self.postmaster(signal.SIGKILL)
        elif way == "immediate":
            self.postmaster(signal.SIGQUIT)
        elif way == "terminate":
            for _ in range(TERMINATIONS):
                self.superuser("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'cradle-%'")
        elif way == "checkpoint":  # a kill while pages are written: there is something to recover from
            self.superuser("SELECT pg_switch_wal(); CHECKPOINT")
            self.postmaster(signal.SIGKILL)
        else:
            for pid in self.backends():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def superuser(self, sql):
        """Once the database is there."""
        support.wait_until(lambda: self.tried(sql), support.READY_SECONDS, "the database takes statements")

    def tried(self, sql):
        try:
            self.stack.psql(sql)
            return True
        except AssertionError:
            return False

    def test_what_happens_to_the_database_breaks_no_promise(self):
        worst, done = {}, 0
        before = fault_check.resources(self.pids())
        with self.load() as load:
            load.fault()
            self.recovered(load, "the start", worst)
            while done < POSTGRES_FAULTS:
                way = self.ways[done % len(self.ways)]
                load.stopping.wait(self.random.uniform(0, PAUSE_S))
                self.break_it(way)
                load.fault()
                done += 1
                self.recovered(load, way, worst)
                if done % EXPIRE_EVERY == 0:
                    self.superuser(LEASES_OVER)
        print(f"\n{done} faults of the database, longest until 25 joins had succeeded again (s): "
              f"{ {name: round(s, 1) for name, s in worst.items()} }", flush=True)
        self.verdict(load)
        fault_check.held(fault_check.returns_to(before, self.pids))
