"""The control file of failpoints (base/failpoint.h): which place, what happens there, at which passage."""

import mmap
import os
import re
import struct

import support

HEADER = os.path.join(support.ROOT, "base", "failpoint.h")
ENVIRONMENT = "CRADLE_FAILPOINTS"
KILL, PAUSE, FAIL = ACTIONS = (1, 2, 3)
WORDS = {KILL: "kill", PAUSE: "pause", FAIL: "fail"}
FIELDS = ("armed", "point", "action", "first", "pause_ms")
NUMBER = struct.Struct("=I")


def names():
    """Of all failpoints, in the order of their numbers."""
    with open(HEADER, encoding="utf-8") as file:
        return re.findall(r"^    X\((\w+)\)", file.read(), re.M)


def built(folder):
    """Whether the programs in this build folder have failpoints."""
    return all(has_names(os.path.join(folder, path)) for path in support.SERVICE_PROGRAMS)


def has_names(path):
    """Whether a program has a name of a failpoint or of their control file in it."""
    with open(path, "rb") as file:
        data = file.read()
    return any(text.encode() in data for text in (*(f"failpoint {name}" for name in names()), "failpoint_pass", ENVIRONMENT))


class Control:
    def __init__(self, path):
        self.path, self.names = path, names()
        size = NUMBER.size * (len(FIELDS) + len(self.names))
        with open(path, "wb") as file:
            file.write(bytes(size))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), size)

    def _at(self, name):
        place = FIELDS.index(name) if name in FIELDS else len(FIELDS) + self.names.index(name)
        return place * NUMBER.size

    def get(self, name):
        return NUMBER.unpack_from(self.memory, self._at(name))[0]

    def set(self, name, value):
        NUMBER.pack_into(self.memory, self._at(name), value)

    def arm(self, point, action, first=1, pause_ms=0):
        self.disarm()
        for name, value in (("point", self.names.index(point)), ("action", action), ("first", first),
                            ("pause_ms", pause_ms), (point, 0), ("armed", 1)):
            self.set(name, value)

    def disarm(self):
        self.set("armed", 0)

    def close(self):
        self.memory.close()
