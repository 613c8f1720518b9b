#!/usr/bin/python3
"""Initialises an empty PKCS#11 token: token_init.py MODULE LABEL PIN-FILE

softhsm2-util would want the PINs on its command line, where every user of the machine can read
them. Only what is needed of Cryptoki is called, straight from the module.
"""
import ctypes
import secrets
import sys

CKF_RW_SESSION, CKF_SERIAL_SESSION = 2, 4
CKU_SO = 0
ULONG = ctypes.c_ulong
SLOTS_MAX = 16
LABEL_BYTES = 32


class Failed(Exception):
    pass


def call(module, name, *args):
    result = getattr(module, name)(*args)
    if result != 0:
        raise Failed(f"{name} failed with 0x{result & 0xFFFFFFFF:x}")


def init_token(path, label, pin):
    module = ctypes.CDLL(path)
    so_pin = secrets.token_hex(16).encode()
    slots, n_slots, session = (ULONG * SLOTS_MAX)(), ULONG(SLOTS_MAX), ULONG()
    call(module, "C_Initialize", None)
    call(module, "C_GetSlotList", ctypes.c_ubyte(1), slots, ctypes.byref(n_slots))
    if n_slots.value != 1:
        raise Failed(f"{n_slots.value} slots where one empty one was expected")
    slot = ULONG(slots[0])
    call(module, "C_InitToken", slot, so_pin, ULONG(len(so_pin)), label.encode().ljust(LABEL_BYTES))
    # SoftHSM gives an initialised token another slot number, and lists a new empty slot.
    n_slots = ULONG(SLOTS_MAX)
    call(module, "C_GetSlotList", ctypes.c_ubyte(1), slots, ctypes.byref(n_slots))
    call(module, "C_OpenSession", slot, ULONG(CKF_RW_SESSION | CKF_SERIAL_SESSION), None, None,
         ctypes.byref(session))
    call(module, "C_Login", session, ULONG(CKU_SO), so_pin, ULONG(len(so_pin)))
    call(module, "C_InitPIN", session, pin, ULONG(len(pin)))
    call(module, "C_Logout", session)
    call(module, "C_Finalize", None)


def main():
    module, label, pin_file = sys.argv[1:]
    with open(pin_file, "rb") as file:
        pin = file.read().strip()
    try:
        init_token(module, label, pin)
    except (Failed, OSError) as failure:
        sys.exit(f"token_init: {failure}")


main()
