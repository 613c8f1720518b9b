"""A control group of a test's own that bounds memory, of either version, and what uses that memory up."""

import contextlib
import errno
import os
import secrets
import subprocess
import sys
import unittest

import support

PIECE = 1 << 20
FIRST_TO_END = 1000  # of oom_score_adj: nobody may make himself the last without privilege
# Takes another piece for each byte that it is told.
EATER = f"""import os
import sys
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
pieces = []
sys.stdout.write("+")
sys.stdout.flush()
while sys.stdin.read(1):
    pieces.append(bytearray(b"x" * {PIECE}))
    sys.stdout.write("+")
    sys.stdout.flush()
"""
SECONDS = 30


def mounts():
    """[(folder, type, options)]"""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return [(words[1], words[2], words[3].split(",")) for words in map(str.split, file)]


def has_swap():
    with open("/proc/swaps", encoding="utf-8") as file:
        return len(file.readlines()) > 1


class MemoryGroup:
    """Its names, by version: the limit, what is used, how often the kernel has ended a process for it."""

    def __init__(self):
        self.eaters = []
        for self.parent, kind, options in mounts():
            if kind == "cgroup" and "memory" in options:
                self.limit_name, self.used_name, self.kills_name = "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.oom_control"
                break
            if kind == "cgroup2" and "memory" in self.read(self.parent, "cgroup.subtree_control").split():
                self.limit_name, self.used_name, self.kills_name = "memory.max", "memory.current", "memory.events"
                break
        else:
            raise unittest.SkipTest("no control group of this machine bounds memory")
        self.path = os.path.join(self.parent, f"cradle-test-{secrets.token_hex(4)}")
        try:
            os.mkdir(self.path)
        except OSError as error:
            raise unittest.SkipTest(f"no control group can be made here: {error}") from None

    @staticmethod
    def read(folder, name):
        with open(os.path.join(folder, name), encoding="ascii") as file:
            return file.read()

    def write(self, name, value, folder=None):
        with open(os.path.join(folder or self.path, name), "w", encoding="ascii") as file:
            file.write(str(value))

    def limit(self, size):
        """Of memory alone: where there is swap, none of it is for this group."""
        self.write(self.limit_name, size)
        name, none = ("memory.memsw.limit_in_bytes", size) if self.can_starve() else ("memory.swap.max", 0)
        if os.path.exists(os.path.join(self.path, name)):
            self.write(name, none)
        elif has_swap():
            raise unittest.SkipTest(f"this machine swaps, and there is no {name}")

    def kills(self):
        """How many processes of it the kernel has ended for want of memory."""
        lines = dict(line.split() for line in self.read(self.path, self.kills_name).splitlines())
        return int(lines["oom_kill"])

    def add(self, pid):
        """Who is in it, and is what the kernel ends first."""
        self.write("cgroup.procs", pid)
        self.write("oom_score_adj", FIRST_TO_END, f"/proc/{pid}")

    def pids(self):
        return [int(pid) for pid in self.read(self.path, "cgroup.procs").split()]

    def can_starve(self):
        """Whether who finds no memory can be made to wait for it."""
        return self.kills_name == "memory.oom_control"

    def starve(self, on):
        """The kernel ends nobody: who touches new memory waits for it, and calls of the kernel that need some fail."""
        self.write(self.kills_name, int(on))

    def eater(self):
        """A process in it that takes all that is told to."""
        made = subprocess.Popen([sys.executable, "-c", EATER, os.path.join(self.path, "cgroup.procs")], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, bufsize=0)
        self.eaters.append(made)
        if made.stdout.read(1) != b"+":
            raise AssertionError("nobody can use memory up here")
        return made

    def close(self):
        for eater in self.eaters:
            eater.kill()
            eater.wait()
            eater.stdin.close()
            eater.stdout.close()
        self.eaters.clear()
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                self.write("cgroup.procs", pid, self.parent)
        support.wait_until(self.removed, SECONDS, f"{self.path} is empty")

    def removed(self):
        try:
            os.rmdir(self.path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True
