"""No key is found outside keyd: not in the memory of the services and of PostgreSQL, not in the database's files, not in logs.

Root keys, KEKs, session keys of joins that were made, claim codes and the PIN, in every spelling of key_scan.py; a planted
key must be found by the same search. In a keyd at rest only what it keeps open is found.
"""

import json
import os
import unittest

import lorawan
import support
from certificates import Owner
from key_scan import Needles, spellings
from test_accounts import Rest
from test_deliveries import Orders

N_ORDERED = 4
VERSIONS = ("1.0.2", "1.0.3", "1.0.4", "1.1")
N_JOINS = int(os.environ.get("CRADLE_KEYSCAN_JOINS", "40"))


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
        cls.of_demo = set(cls.keys)
        cls.keys.update(cls.session_keys())
        cls.kept_open = {name for name in cls.keys if name.startswith("KEK ")} | {"KEK made here"}
        ordered = cls.ordered()
        keys = {f"{name} {device['line']} of an order": device[name] for device in ordered for name in ("app_key", "nwk_key")}
        cls.needles = Needles({**cls.keys, "KEK made here": cls.made_kek(), **keys},
                              [device["code"] for device in ordered] + [cls.pin()])

    @classmethod
    def pin(cls):
        with open(cls.stack.path("pin"), encoding="ascii") as file:
            return file.read().strip()

    @classmethod
    def session_keys(cls):
        """Of joins that are made now, by devices of every version."""
        keys, devices = {}, [device for version in VERSIONS for device in cls.stack.devices(version, 1)]
        for device in devices:
            cls.keys[f"app_key of {device['dev_eui']}"] = device["app_key"]
        for i in range(N_JOINS):
            device = devices[i % len(devices)]
            nonce = cls.stack.next_nonce(device)
            request = lorawan.join_req(device, nonce, support.HOME, dl_settings="80" if device["nwk_key"] else "00")
            status, answer = cls.stack.post_join(request)
            accept = lorawan.open_accept(device, answer["PHYPayload"], nonce) if status == 200 else None
            if accept is None:
                raise AssertionError(f"{status} {answer}")
            opt_neg = accept["dl_settings"] & 0x80
            of = lorawan.session_keys(device, accept["join_nonce"], nonce, None if opt_neg else support.HOME)
            keys.update({f"{name} of join {i}": key.hex() for name, key in of.items()})
        return keys

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

    def test_memory_of_postgresql_holds_no_key(self):
        if os.geteuid() != 0:
            self.skipTest("only root may read the memory of another user's process")
        (postmaster,) = self.stack.pids("postgres")
        backends = support.descendants(postmaster)
        self.assertGreater(len(backends), 5)
        for pid in (postmaster, *backends):
            if os.path.exists(f"/proc/{pid}"):
                self.assertEqual(self.needles.in_process(pid)[0], set(), pid)

    def test_a_key_process_at_rest_holds_the_keks_that_it_keeps_open_and_no_other_key(self):
        if os.geteuid() != 0:
            self.skipTest("only root may read the memory of a process that is not dumpable")
        found = {}
        for name in ("keyd", "activation-keyd"):
            found[name] = set().union(*(self.needles.in_process(pid)[0] for pid in self.stack.pids(name)))
            self.assertLessEqual(found[name], self.kept_open, name)
        # And so the search sees what is in a key process.
        self.assertNotEqual(found["keyd"], set())

    def test_database_files_and_logs_hold_no_key(self):
        self.stack.psql("CHECKPOINT")
        (cluster,) = self.stack.psql("SHOW data_directory")[0]
        found, n_files = self.needles.in_tree(cluster)
        self.assertGreater(n_files, 100)
        self.assertEqual(found, set())
        # Everything else of the state folder, the token too, but the PIN's file and the demo's own list of keys, which is for its user.
        found, n_files = self.needles.in_tree(self.stack.state, [self.stack.path("demo.json"), self.stack.path("pin")])
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
        self.assertEqual(self.needles.in_file(self.stack.path("demo.json")), self.of_demo)
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
