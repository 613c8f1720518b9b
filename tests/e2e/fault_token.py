"""The control file of the failing PKCS#11 module (tests/support/p11_fault.h): which function, at which call, and how."""

import mmap
import os
import re
import struct

import support

HEADER = os.path.join(support.ROOT, "tests", "support", "p11_fault.h")
MODULE = "tests/support/cradle-p11-fault.so"
REAL_MODULE = "/usr/lib/softhsm/libsofthsm2.so"
FAIL, HANG, KILL = range(3)
NUMBER, CODE = struct.Struct("=I"), struct.Struct("=Q")
# Of PKCS#11 2.40, table 44. What a token says of a PIN is apart: it must be believed at once.
CODES = {
    "CKR_HOST_MEMORY": 0x02, "CKR_GENERAL_ERROR": 0x05, "CKR_FUNCTION_FAILED": 0x06, "CKR_DEVICE_ERROR": 0x30,
    "CKR_DEVICE_MEMORY": 0x31, "CKR_DEVICE_REMOVED": 0x32, "CKR_FUNCTION_NOT_SUPPORTED": 0x54, "CKR_KEY_HANDLE_INVALID": 0x60,
    "CKR_KEY_FUNCTION_NOT_PERMITTED": 0x68, "CKR_MECHANISM_INVALID": 0x70, "CKR_OBJECT_HANDLE_INVALID": 0x82,
    "CKR_OPERATION_ACTIVE": 0x90, "CKR_SESSION_CLOSED": 0xB0, "CKR_SESSION_COUNT": 0xB1, "CKR_SESSION_HANDLE_INVALID": 0xB3,
    "CKR_TOKEN_NOT_PRESENT": 0xE0, "CKR_TOKEN_NOT_RECOGNIZED": 0xE1, "CKR_USER_NOT_LOGGED_IN": 0x101,
    "CKR_CRYPTOKI_NOT_INITIALIZED": 0x190, "CKR_VENDOR_DEFINED": 0x80000001}
PIN_CODES = {"CKR_PIN_INCORRECT": 0xA0, "CKR_PIN_LOCKED": 0xA4, "CKR_PIN_EXPIRED": 0xA3}
PIN_TRIES = {0xA0: 2}  # of a PIN that was right before; else once


def functions():
    """All that keyd calls, in the order of their numbers."""
    with open(HEADER, encoding="utf-8") as file:
        return re.findall(r"^    X\((C_\w+)\)", file.read(), re.M)


class Control:
    def __init__(self, path):
        self.path, self.functions = path, functions()
        n = len(self.functions)
        self.rv_at = 16  # behind three numbers, as an eight-byte one must lie
        self.calls_at = self.rv_at + CODE.size
        self.act_at = self.calls_at + NUMBER.size * n
        size = -(-(self.act_at + 3 * NUMBER.size) // 8) * 8
        with open(path, "wb") as file:
            file.write(bytes(size))
        with open(path, "r+b") as file:
            self.memory = mmap.mmap(file.fileno(), size)
        self.disarm()

    def _put(self, at, value):
        NUMBER.pack_into(self.memory, at, value)

    def calls(self):
        """{function: how often it was called since `count`}."""
        return {name: NUMBER.unpack_from(self.memory, self.calls_at + NUMBER.size * i)[0]
                for i, name in enumerate(self.functions)}

    def count(self):
        for i in range(len(self.functions)):
            self._put(self.calls_at + NUMBER.size * i, 0)

    def disarm(self):
        self._put(0, len(self.functions))

    def arm(self, function, first, act, code=0, hang_ms=0, n=1):
        self.disarm()
        self.count()
        self._put(4, first)
        self._put(8, n)
        CODE.pack_into(self.memory, self.rv_at, code)
        self._put(self.act_at, act)
        self._put(self.act_at + NUMBER.size, hang_ms)
        self._put(0, self.functions.index(function))

    def close(self):
        self.memory.close()
