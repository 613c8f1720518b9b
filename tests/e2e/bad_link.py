"""A bad line between two network namespaces, for packets as they are: a program of its own.

    bad_link.py FD FD SETTINGS-FILE

The descriptors are those of two TUN devices. What the one sends the other gets, delayed, lost or out of order as the settings file
says, which is looked at all the time: {"delay_ms", "jitter_ms", "loss", "reorder"} in JSON, the last two as parts of one. (The
kernel's own netem is not everywhere; packets do not know the difference.)
"""

import heapq
import json
import os
import random
import select
import sys
import time

PACKET_MAX = 65536
LOOK_S = 0.05


class Line:
    """Both directions of it."""

    def __init__(self, fds, path, seed=1):
        self.fds, self.path, self.random = fds, path, random.Random(seed)
        self.waiting, self.number, self.looked = [], 0, 0.0
        self.settings = {}

    def look(self, now):
        if now < self.looked + LOOK_S:
            return
        self.looked = now
        try:
            with open(self.path, encoding="ascii") as file:
                self.settings = json.load(file)
        except (OSError, ValueError):
            pass  # being written

    def take(self, source, now):
        packet = os.read(source, PACKET_MAX)
        if self.random.random() < self.settings.get("loss", 0):
            return
        delay = self.settings.get("delay_ms", 0) + self.random.uniform(0, self.settings.get("jitter_ms", 0))
        if self.random.random() < self.settings.get("reorder", 0):
            delay = 0  # it overtakes
        self.number += 1
        target = self.fds[1] if source == self.fds[0] else self.fds[0]
        heapq.heappush(self.waiting, (now + delay / 1000, self.number, target, packet))

    def give(self, now):
        while self.waiting and self.waiting[0][0] <= now:
            _, _, target, packet = heapq.heappop(self.waiting)
            try:
                os.write(target, packet)
            except OSError:
                pass  # lost

    def run(self):
        parent = os.getppid()
        while os.getppid() == parent:
            now = time.monotonic()
            self.look(now)
            self.give(now)
            wait = max(0, min(LOOK_S, self.waiting[0][0] - now)) if self.waiting else LOOK_S
            for fd in select.select(self.fds, [], [], wait)[0]:
                self.take(fd, time.monotonic())


if __name__ == "__main__":
    Line([int(sys.argv[1]), int(sys.argv[2])], sys.argv[3]).run()
