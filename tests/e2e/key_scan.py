"""Looks for secrets where none may be: in files, and in the memory of processes.

What is looked for are all the ways in which a key may be written; the looking is done by cradle-find-bytes
(tests/scan), in one pass however many they are.
"""
import base64
import os
import subprocess
import tempfile

import support

WINDOW = 8  # so many bytes of a key in a row are told as the key: a part that was left behind


def hex_spellings(raw):
    for text in (raw.hex(), raw.hex().upper()):
        pairs = [text[i:i + 2] for i in range(0, len(text), 2)]
        for between in ("", ":", "-", " ", ", 0x", ",0x"):
            yield between.join(pairs).encode()


def base64_spellings(raw):
    """At each alignment, without the characters that depend on the neighbours."""
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + raw)
        yield text[4 if shift else 0:-4]
        yield text[4 if shift else 0:-4].translate(bytes.maketrans(b"+/", b"-_"))


def word_spellings(raw):
    """As a machine may hold it: words of 4 and 8 bytes, and all of it, in the other byte order."""
    for size in (4, 8, len(raw)):
        yield b"".join(raw[i:i + size][::-1] for i in range(0, len(raw), size))


def spellings(key_hex):
    """Every way to write the key that is looked for, those of `WINDOW` bytes of it among them."""
    raw = bytes.fromhex(key_hex)
    found = {raw[i:i + WINDOW] for i in range(len(raw) - WINDOW + 1)}
    found.update(hex_spellings(raw), base64_spellings(raw), word_spellings(raw))
    return sorted(found)


class Needles:
    """Keys to look for (name -> hex), and texts: claim codes, a PIN."""

    def __init__(self, keys, codes=()):
        self.needles = {spelling: name for name, key in keys.items() for spelling in spellings(key)}
        self.needles.update({text.encode(): f"code {code}" for code in codes for text in (code, code.lower())})

    def of(self, data):
        return {name for needle, name in self.needles.items() if needle in data}

    def _search(self, *places):
        """([(name, place)], number of files, number of bytes)."""
        with tempfile.NamedTemporaryFile("w", dir=support.work(), encoding="utf-8") as file:
            file.writelines(f"{name}\t{needle.hex()}\n" for needle, name in self.needles.items())
            file.flush()
            run = subprocess.run([support.Stack.program("tests/scan/cradle-find-bytes"), file.name, *places],
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        lines = [line.split("\t") for line in run.stdout.splitlines()]
        if run.returncode not in (0, 1) or not lines or lines[-1][0] != "scanned":
            raise AssertionError(f"cradle-find-bytes: {run.returncode} {run.stderr}")
        return [(name, place) for name, place, _ in lines[:-1]], int(lines[-1][1]), int(lines[-1][3])

    def in_file(self, path):
        return {name for name, _ in self._search(path)[0]}

    def in_tree(self, root, leave_out=()):
        found, n_files, _ = self._search(root)
        return {(os.path.basename(place), name) for name, place in found if place not in leave_out}, n_files

    def in_process(self, pid):
        """In every mapping of it that can be read."""
        found, _, n_bytes = self._search(f"pid:{pid}")
        return {name for name, _ in found}, n_bytes
