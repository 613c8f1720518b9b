"""The control file of the library that fails one allocation (tests/support/memory_fault.h), and a stack whose services have it."""

import mmap
import os
import re
import struct

import support
from fault_stack import FaultStack

HEADER = os.path.join(support.ROOT, "tests", "support", "memory_fault.h")
LIBRARY = "tests/support/cradle-memory-fault.so"
ENVIRONMENT = "CRADLE_MEMORY_FAULT"
FIELDS = ("armed", "kinds", "first", "from_start", "calls", "failed")
NUMBER = struct.Struct("=I")
PROGRAM = struct.Struct("=32s")
NEVER = 0xFFFFFFFF
PROGRAMS = ("cradle-joinserver", "cradle-activation", "cradle-keyd")


def kinds():
    """What can fail, in the order of its numbers."""
    with open(HEADER, encoding="utf-8") as file:
        return re.findall(r"^    X\((\w+)\)", file.read(), re.M)


class Control:
    def __init__(self, path):
        self.path, self.kinds = path, kinds()
        size = NUMBER.size * len(FIELDS) + PROGRAM.size
        with open(path, "wb") as file:
            file.write(bytes(size))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), size)

    def get(self, name):
        return NUMBER.unpack_from(self.memory, NUMBER.size * FIELDS.index(name))[0]

    def set(self, name, value):
        NUMBER.pack_into(self.memory, NUMBER.size * FIELDS.index(name), value)

    def arm(self, program, first, from_start=False, only=None):
        """The call `first` of the program fails, of these kinds alone where any are named. With NEVER they are only counted."""
        self.disarm()
        PROGRAM.pack_into(self.memory, NUMBER.size * len(FIELDS), program.encode())
        bits = sum(1 << number for number, name in enumerate(self.kinds) if only is None or name in only)
        for name, value in (("first", first), ("from_start", from_start), ("calls", 0), ("kinds", bits), ("armed", 1)):
            self.set(name, int(value))

    def disarm(self):
        self.set("armed", 0)
        self.set("kinds", 0)

    def close(self):
        self.memory.close()


class MemoryStack(FaultStack):
    """All of whose programs have the library, key processes too: these through a program in between, since services keep
    their environment from them."""

    def fault(self):
        return {"LD_PRELOAD": self.program(LIBRARY), ENVIRONMENT: f"{self.state}-memory"}

    def environment(self):
        return {**super().environment(), **self.fault()}

    def keyd(self):
        """A cradle-keyd with the library."""
        path = self.path("keyd")
        with open(path, "w", encoding="utf-8") as file:
            words = " ".join(f"{name}={value}" for name, value in self.fault().items())
            file.write(f"#!/bin/sh\nexec env {words} {self.program('hsm/cradle-keyd')} \"$@\"\n")
        os.chmod(path, 0o755)
        return path
