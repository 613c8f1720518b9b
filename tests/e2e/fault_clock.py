"""A stack whose processes have wall clocks of their own (tests/support/clock_shift.c), which can be set at any time."""

import mmap
import os
import shutil
import struct
import tempfile

import support
from test_webhooks import HookStack

LIBRARY = "tests/support/cradle-clock-shift.so"
SECONDS = struct.Struct("=q")
# Whose: all that scripts/run starts but for PostgreSQL; further services; PostgreSQL.
KINDS = ("main", "other", "database")


class Clocks(HookStack):
    """Key processes have the clock of their service: they are given the environment by a program in between, since services
    keep theirs from them."""

    def __init__(self, name):
        # PostgreSQL may be another user, whom folders of tests are closed to.
        self.folder = tempfile.mkdtemp(prefix="cradle-clock-", dir="/tmp")
        os.chmod(self.folder, 0o755)
        self.library = os.path.join(self.folder, "clock.so")
        shutil.copy(self.program(LIBRARY), self.library)
        os.chmod(self.library, 0o755)
        self.clocks = {kind: self.make_clock(kind) for kind in KINDS}
        self.kind = "main"
        super().__init__(name)

    def file(self, kind):
        return os.path.join(self.folder, "main.postgres" if kind == "database" else kind)

    def make_clock(self, kind):
        with open(self.file(kind), "wb") as file:
            file.write(bytes(SECONDS.size))
        os.chmod(self.file(kind), 0o644)
        with open(self.file(kind), "r+b") as file:
            return mmap.mmap(file.fileno(), SECONDS.size)

    def set_clock(self, kind, seconds):
        """So far from the true one, from now on."""
        SECONDS.pack_into(self.clocks[kind], 0, seconds)

    def set_clocks(self, seconds, kinds=KINDS):
        for kind in kinds:
            self.set_clock(kind, seconds)

    def stop(self, *how):
        try:
            return super().stop(*how)
        finally:
            self.set_clocks(0)  # a stack may be started again

    def forget(self):
        for clock in self.clocks.values():
            clock.close()
        shutil.rmtree(self.folder)

    def fake(self, kind):
        return {"LD_PRELOAD": self.library, "CRADLE_CLOCK": self.file(kind)}

    def environment(self):
        return {**super().environment(), **self.fake(self.kind)}

    def keyd(self, kind):
        """A cradle-keyd with this clock."""
        path = self.path(f"keyd-{kind}")
        with open(path, "w", encoding="utf-8") as file:
            words = " ".join(f"{name}={value}" for name, value in self.fake(kind).items())
            file.write(f"#!/bin/sh\nexec env {words} {self.program('hsm/cradle-keyd')} \"$@\"\n")
        os.chmod(path, 0o755)
        return f"keyd = {path}"

    def second(self, start):
        """One more service, on the other clock."""
        self.kind = "other"
        try:
            return start("hsm." + self.keyd("other").replace(" ", ""))
        finally:
            self.kind = "main"


def built():
    return os.path.exists(support.Stack.program(LIBRARY))
