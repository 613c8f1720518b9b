"""No demo key is found outside keyd: not in the memory of the services, not in the database's files, not in logs.

The search is for the raw bytes, their hex in both cases and base64; a planted key must be found by the same search.
"""

import base64
import json
import os
import unittest

import lorawan
import support
from certificates import Owner
from test_accounts import Rest
from test_deliveries import Orders

CHUNK = 1 << 20
N_ORDERED = 4


def spellings(key_hex):
    raw = bytes.fromhex(key_hex)
    found = [raw, key_hex.lower().encode(), key_hex.upper().encode()]
    # Base64 at each alignment, without the characters that depend on the neighbours.
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + raw)
        found.append(text[4 if shift else 0:-4])
        found.append(found[-1].translate(bytes.maketrans(b"+/", b"-_")))
    return found


class Needles:
    """Keys to look for, and codes, found by one pass over a haystack."""

    def __init__(self, keys, codes=()):
        self.needles = {spelling: name for name, key in keys.items() for spelling in spellings(key)}
        self.needles.update({text.encode(): f"code {code}" for code in codes for text in (code, code.lower())})
        self.longest = max(map(len, self.needles))

    def of(self, data):
        return {name for needle, name in self.needles.items() if needle in data}

    def in_file(self, path):
        found, tail = set(), b""
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                data = tail + chunk
                found |= self.of(data)
                tail = data[-self.longest:]
        return found

    def in_tree(self, root, leave_out=()):
        found, n_files = set(), 0
        for folder, _, files in os.walk(root):
            for name in files:
                path = os.path.join(folder, name)
                if path in leave_out or not os.path.isfile(path):
                    continue
                n_files += 1
                found |= {(name, key) for key in self.in_file(path)}
        return found, n_files

    def in_process(self, pid):
        """Reads every mapping of a process that can be read."""
        found, n_bytes = set(), 0
        with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps, open(
            f"/proc/{pid}/mem", "rb", buffering=0
        ) as memory:
            for line in maps:
                span, mode, *_ = line.split()
                # [vvar], [vsyscall] and the like are the kernel's pages: no process can write them.
                if "r" not in mode or line.split()[-1].startswith("[v"):
                    continue
                start, end = (int(x, 16) for x in span.split("-"))
                memory.seek(start)
                data = b""
                while len(data) < end - start:
                    part = memory.read(end - start - len(data))
                    if not part:
                        break
                    data += part
                n_bytes += len(data)
                found |= self.of(data)
        return found, n_bytes


class NoKeyOutsideKeyd(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("secrecy")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()  # the demo imports and joins
        cls.keys = {}
        for device in cls.stack.demo["devices"]:
            for slot in ("app_key", "nwk_key"):
                if device[slot]:
                    cls.keys[f"{slot} of {device['dev_eui']}"] = device[slot]
        for server in cls.stack.demo["network_servers"] + cls.stack.demo["application_servers"]:
            cls.keys[f"KEK {server['kek_label']}"] = server["kek"]
        ordered = cls.ordered()
        keys = {f"{name} {device['line']} of an order": device[name] for device in ordered for name in ("app_key", "nwk_key")}
        cls.needles = Needles({**cls.keys, "KEK made here": cls.made_kek(), **keys}, [device["code"] for device in ordered])

    @classmethod
    def made_kek(cls):
        """Of a KEK that has left the HSM once, sealed to a key of ours."""
        owner = Owner(cls.stack.path())
        operator = Rest(cls.stack, cls.stack.demo["clients"]["operator"])
        status, _, made = operator.call("post", "/v1/keks", {
            "application_server": "demo-as", "label": "made", "length": 16, "public_key": owner.pem})
        if status != 201:
            raise AssertionError(f"/v1/keks: {status} {made}")
        return owner.opened(made["sealed"]).hex()

    @classmethod
    def ordered(cls):
        """Devices of an order whose file was fetched, and opened by its maker: their keys and codes left for him alone."""

        class Order(Orders):
            stack = cls.stack

        Order.begin()
        order = Order()
        path = order.fetched(order.ready(N_ORDERED, version="1.1"))
        return order.opened(path)

    def test_memory_of_the_services_holds_no_key(self):
        if os.geteuid() != 0:
            self.skipTest("only root may read the memory of a process that is not dumpable")
        for name in ("joinserver", "activation"):
            (pid,) = self.stack.pids(name)
            found, n_bytes = self.needles.in_process(pid)
            self.assertGreater(n_bytes, 1 << 20, f"{name}: nothing was read")
            self.assertEqual(found, set(), name)

    def test_database_files_and_logs_hold_no_key(self):
        self.stack.psql("CHECKPOINT")
        (cluster,) = self.stack.psql("SHOW data_directory")[0]
        found, n_files = self.needles.in_tree(cluster)
        self.assertGreater(n_files, 100)
        self.assertEqual(found, set())
        # Everything else of the state folder but the demo's own list of keys, which is for its user.
        found, n_files = self.needles.in_tree(self.stack.state, [self.stack.path("demo.json")])
        self.assertGreater(n_files, 10)
        self.assertEqual(found, set())

    def test_no_check_value_of_a_device_key_stands_beside_it(self):
        """It could be computed of every guess; what is stored needs the HSM."""
        n_keys = 0
        for device in self.stack.demo["devices"]:
            values = {"\\x" + lorawan.cmac(bytes.fromhex(device[slot]), bytes(16))[:3].hex()
                      for slot in ("app_key", "nwk_key") if device[slot]}
            for (row,) in self.stack.psql("SELECT row_to_json(k) FROM device_key k WHERE dev_eui = "
                                          f"'\\x{device['dev_eui']}'"):
                n_keys += 1
                self.assertEqual(values & {str(value) for value in json.loads(row).values()}, set())
        self.assertGreater(n_keys, 0)

    def test_the_search_finds_a_key_that_is_there(self):
        name, key = next(iter(self.keys.items()))
        self.assertEqual(self.needles.in_file(self.stack.path("demo.json")), set(self.keys))
        for spelling in spellings(key):
            self.assertEqual(self.needles.of(b"x" * 7 + spelling + b"y" * 9), {name})
        # In the memory of a process: this one, which holds the keys now.
        if os.geteuid() == 0:
            self.assertIn(name, self.needles.in_process(os.getpid())[0])

    def test_a_key_on_its_way_in_is_found_so_the_search_would_see_one_left_behind(self):
        """The positive control on a service: a canary in a table is in the database's files."""
        canary = "5ca1ab1e" * 4
        self.stack.psql(f"CREATE TABLE canary AS SELECT '{canary}'::text AS key; CHECKPOINT")
        (cluster,) = self.stack.psql("SHOW data_directory")[0]
        self.assertNotEqual(Needles({"canary": canary}).in_tree(cluster)[0], set())
        self.stack.psql("DROP TABLE canary")


if __name__ == "__main__":
    unittest.main()
