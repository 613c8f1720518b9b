"""The gate of a join, its races, its deadline, and what the services insist on before they start."""

import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import unittest

import lorawan
import support

EXIT_DO_NOT_RESTART = 78
JOIN_DEADLINE_S = 1.05
SOON_S = 10  # bound of a wait for something that happens at once


def code(answer):
    return answer[1]["Result"]["ResultCode"]


class Session:
    """A psql of its own, for what must be held while something else happens."""

    def __init__(self, stack):
        with open(stack.path("run", "psql"), encoding="utf-8") as file:
            psql, sockets = file.read().splitlines()
        self.process = subprocess.Popen(
            [psql, "-XqAt", "-v", "ON_ERROR_STOP=1",
             f"host={sockets} dbname=cradle user=postgres passfile='{stack.path('pgpass-postgres')}'"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, sql):
        """Runs the SQL and waits until it is done."""
        self.process.stdin.write(f"{sql};\n\\echo done\n")
        self.process.stdin.flush()
        while (line := self.process.stdout.readline()) != "done\n":
            if line == "":
                raise AssertionError(f"psql ended at: {sql}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Gate(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()

    def ask(self, device, nonce, **changes):
        return self.stack.post_join(lorawan.join_req(device, nonce, support.HOME, **changes))

    def row(self, device):
        sql = "SELECT join_nonce, last_dev_nonce FROM device_join WHERE dev_eui = '\\x%s'"
        return self.stack.psql(sql % device["dev_eui"])[0]

    def update(self, device, change):
        self.stack.psql("UPDATE device SET %s WHERE dev_eui = '\\x%s'" % (change, device["dev_eui"]))

    def events(self, device):
        sql = "SELECT outcome, coalesce(reason, '') FROM join_event WHERE dev_eui = '\\x%s' ORDER BY at"
        return self.stack.psql(sql % device["dev_eui"])

    def test_a_suspended_or_quarantined_device_is_told_so_behind_its_mic(self):
        for change, back in (
            ("service = 'suspended'", "service = 'active'"),
            ("trust = 'quarantined'", "trust = 'ok'"),
        ):
            device = self.stack.device("1.0.4")
            self.update(device, change)
            self.assertEqual(code(self.ask(device, 5)), "ActivationDisallowed")
            wrong = lorawan.join_req(device, 5, support.HOME)
            wrong["PHYPayload"] = wrong["PHYPayload"][:-8] + "00000000"
            self.assertEqual(code(self.stack.post_join(wrong)), "MICFailed")
            self.assertEqual(self.row(device), ["0", "-1"], "a refusal spent a nonce")
            self.update(device, back)
            self.assertEqual(code(self.ask(device, 5)), "Success")

    def test_a_device_that_is_not_activable_is_unknown(self):
        device = self.stack.device("1.0.3")
        self.update(device, "credential = 'delivered'")
        self.assertEqual(code(self.ask(device, 1)), "UnknownDevEUI")

    def test_every_attempt_on_a_known_device_is_recorded_with_its_reason(self):
        device = self.stack.device("1.0.4")
        self.assertEqual(code(self.ask(device, 0)), "Success")
        self.assertEqual(code(self.ask(device, 0, dev_addr="26000009")), "JoinReqFailed")
        events = support.wait_until(
            lambda: len(e := self.events(device)) == 2 and e, SOON_S, "the refusal is recorded"
        )
        self.assertEqual(events[0], ["success", ""])
        self.assertEqual(events[1], ["nonce_replayed", "the DevNonce is not above the last one"])

    def test_a_suspension_between_load_and_commit_wins(self):
        device = self.stack.device("1.0.4")
        eui = device["dev_eui"]
        answers = []
        with Session(self.stack) as holder:
            # The join can be loaded and computed, and its commit waits for this row.
            holder.run("BEGIN; SELECT 1 FROM device_join WHERE dev_eui = '\\x%s' FOR UPDATE" % eui)
            join = threading.Thread(target=lambda: answers.append(self.ask(device, 3)))
            join.start()
            support.wait_until(
                lambda: self.stack.psql(
                    "SELECT 1 FROM pg_stat_activity WHERE usename = 'cradle_join' AND wait_event_type = 'Lock'"
                ),
                SOON_S,
                "the commit waits",
            )
            holder.run("UPDATE device SET service = 'suspended' WHERE dev_eui = '\\x%s'; COMMIT" % eui)
            join.join()
        self.assertEqual(code(answers[0]), "ActivationDisallowed")
        self.assertEqual(self.row(device), ["0", "-1"])

    def test_a_join_that_is_late_is_refused_and_spends_nothing(self):
        device = self.stack.device("1.0.4")
        with Session(self.stack) as holder:
            holder.run("BEGIN; LOCK TABLE device_join IN ACCESS EXCLUSIVE MODE")
            self.assertEqual(code(self.ask(device, 3)), "Other")
            holder.run("ROLLBACK")
        self.assertEqual(self.row(device), ["0", "-1"])
        self.assertEqual(code(self.ask(device, 3)), "Success")
        self.assertEqual(self.row(device), ["1", "3"])

    def test_a_commit_that_cannot_be_had_in_time_spends_nothing(self):
        device = self.stack.device("1.0.3")
        with Session(self.stack) as holder:
            holder.run(
                "BEGIN; SELECT 1 FROM device_join WHERE dev_eui = '\\x%s' FOR UPDATE" % device["dev_eui"]
            )
            self.assertEqual(code(self.ask(device, 3)), "Other")
            holder.run("ROLLBACK")
        self.assertEqual(self.row(device), ["0", "-1"])
        self.assertEqual(code(self.ask(device, 3)), "Success")

    def test_reset_nonces_empties_the_devnonce_memory_and_keeps_join_nonce(self):
        for version in ("1.0.3", "1.0.4"):
            device = self.stack.device(version)
            self.assertEqual(code(self.ask(device, 7)), "Success")
            self.assertEqual(code(self.ask(device, 7, dev_addr="26000009")), "JoinReqFailed")
            self.update(device, "nonce_epoch = nonce_epoch + 1")
            answer = self.ask(device, 7, dev_addr="26000009")
            self.assertEqual(code(answer), "Success")
            accept = lorawan.open_accept(device, answer[1]["PHYPayload"], 7)
            self.assertEqual(accept["join_nonce"], 2)
            self.assertEqual(code(self.ask(device, 7, dev_addr="26000010")), "JoinReqFailed")

    def test_join_nonces_end_at_24_bits(self):
        device = self.stack.device("1.0.4")
        self.stack.psql(
            "UPDATE device_join SET join_nonce = 16777214 WHERE dev_eui = '\\x%s'" % device["dev_eui"]
        )
        answer = self.ask(device, 1)
        accept = lorawan.open_accept(device, answer[1]["PHYPayload"], 1)
        self.assertEqual(accept["join_nonce"], 16777215)
        self.assertEqual(code(self.ask(device, 2)), "JoinReqFailed")

    def test_random_devnonces_are_remembered_at_the_edges_of_their_pages(self):
        device = self.stack.device("1.0.2")
        nonces = (0, 2047, 2048, 4095, 63488, 65535)
        for nonce in nonces:
            self.assertEqual(code(self.ask(device, nonce)), "Success", nonce)
        for nonce in nonces:
            self.assertEqual(code(self.ask(device, nonce, dev_addr="26000009")), "JoinReqFailed", nonce)

    def test_a_blob_moved_to_another_device_opens_for_nobody(self):
        victim, thief = self.stack.device("1.0.3"), self.stack.device("1.0.3")
        self.stack.psql(
            "UPDATE device_key t SET kek_label = v.kek_label, blob = v.blob, tag = v.tag FROM device_key v"
            " WHERE t.dev_eui = '\\x%s' AND v.dev_eui = '\\x%s'" % (thief["dev_eui"], victim["dev_eui"])
        )
        stolen = dict(thief, app_key=victim["app_key"])
        self.assertEqual(code(self.ask(stolen, 1)), "Other")
        self.assertEqual(self.row(thief), ["0", "-1"])
        self.assertEqual(code(self.ask(victim, 1)), "Success")

    def test_a_kek_moved_to_another_peer_wraps_nothing(self):
        device = self.stack.device("1.0.3", home_net_id=support.OTHER)
        message = lorawan.join_req(device, 1, support.OTHER)
        token = self.stack.server(support.OTHER)["token"]
        sealed = "(kek_label, blob, tag) = (SELECT kek_label, blob, tag FROM kek WHERE label = '%s')"
        self.stack.psql(
            "CREATE TABLE kept AS SELECT * FROM kek WHERE label = 'ns-000024';"
            "UPDATE kek SET %s WHERE label = 'ns-000024'" % (sealed % "ns-000013")
        )
        try:
            support.wait_until(
                lambda: code(self.stack.post_join(message, token=token)) == "Other", SOON_S, "the KEK is refused"
            )
        finally:
            self.stack.psql(
                "UPDATE kek SET (kek_label, blob, tag) = (SELECT kek_label, blob, tag FROM kept)"
                " WHERE label = 'ns-000024'; DROP TABLE kept"
            )

    def test_a_retry_at_another_join_server_gets_the_same_answer(self):
        second = self.stack.second_joinserver()
        for device in (self.stack.device("1.0.2"), self.stack.device("1.1")):
            message = lorawan.join_req(device, 9, support.HOME)
            first = self.stack.post_join(message)
            self.assertEqual(code(first), "Success")
            again = self.stack.post_join(dict(message, TransactionID=77), url=second.url)
            self.assertEqual(again[1].pop("TransactionID"), 77)
            first[1].pop("TransactionID")
            self.assertEqual(again, first)
        second.stop()

    def test_a_retry_is_refused_when_the_gate_has_closed(self):
        device = self.stack.device("1.0.3")
        self.assertEqual(code(self.ask(device, 1)), "Success")
        self.update(device, "service = 'suspended'")
        self.assertEqual(code(self.ask(device, 1)), "ActivationDisallowed")

    def test_a_join_that_no_standby_has_is_not_answered_with_success(self):
        device = self.stack.device("1.0.4")
        with self.stack.standby_missing():
            first = self.ask(device, 3)
            again = self.ask(device, 3)
        # It stands on the primary and nowhere else: neither it nor its retry may be told as done.
        self.assertEqual(code(first), "Other")
        self.assertEqual(code(again), "Other")
        self.assertEqual(self.row(device)[0], "1")

    def test_a_body_that_comes_too_late_spends_nothing_and_costs_no_keyd(self):
        device = self.stack.device("1.0.4")
        keyds = self.stack.pids("keyd")
        body = json.dumps(lorawan.join_req(device, 3, support.HOME)).encode()
        head = (
            f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.stack.server()['token']}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        ).encode()
        with socket.create_connection(("127.0.0.1", self.stack.join_port)) as s:
            s.sendall(head + body[:-1])
            time.sleep(JOIN_DEADLINE_S)  # what is tested is that this time has passed
            s.sendall(body[-1:])
            answer = b""
            while part := s.recv(65536):
                answer += part
        self.assertIn(b'"ResultCode":"Other"', answer)
        self.assertEqual(self.row(device), ["0", "-1"])
        self.assertEqual(self.stack.pids("keyd"), keyds)

    def test_a_nonce_epoch_that_went_back_is_refused_once_and_not_tried_for_ever(self):
        device = self.stack.device("1.0.4")
        self.update(device, "nonce_epoch = 1")
        self.assertEqual(code(self.ask(device, 3)), "Success")
        self.update(device, "nonce_epoch = 0")
        self.assertEqual(code(self.ask(device, 4)), "Other")
        self.assertEqual(self.row(device), ["1", "3"])

    def test_a_stranger_is_told_that_and_nothing_of_his_other_mistakes(self):
        device = self.stack.device("1.0.3")
        message = lorawan.join_req(device, 1, "ffffff", RxDelay=99, DevAddr="xyz")
        self.assertEqual(code(self.stack.post_join(message)), "UnknownSender")

    def test_a_new_network_server_is_known_to_running_join_servers(self):
        made = self.stack.cradle("ns", "add", "--name", "late", "--net-id", "000099")
        self.assertEqual(made.returncode, 0, made.stderr)
        token = json.loads(made.stdout)["token"]
        device = self.stack.device("1.0.3")
        message = lorawan.join_req(device, 1, "000099")
        answer = support.wait_until(
            lambda: (a := self.stack.post_join(message, token=token))[0] == 200 and a,
            SOON_S,
            "the new token is known",
        )
        self.assertEqual(code(answer), "UnknownDevEUI")


class Start(unittest.TestCase):
    """What the join server refuses to start with: once, with a sentence, and a status that says so."""

    def setUp(self):
        self.stack = support.shared()

    @contextlib.contextmanager
    def server_setting(self, name, value):
        self.stack.psql(f"ALTER SYSTEM SET {name} = {value}")
        self.stack.psql("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            self.stack.psql(f"ALTER SYSTEM RESET {name}")
            self.stack.psql("SELECT pg_reload_conf()")
            self.stack.wait_ready()

    def refused(self, *options):
        run = subprocess.run(
            [self.stack.program("joinserver/cradle-joinserver"), "--config", self.stack.path("joinserver.ini"),
             "--set", f"listener-plain.port={support.free_ports(1)[0]}",
             "--set", "listener-tls.port=0", *options],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
            env=self.stack.environment())
        self.assertEqual(run.returncode, EXIT_DO_NOT_RESTART, run.stderr)
        return run.stderr

    def test_a_database_that_may_lose_what_it_committed_is_refused(self):
        for name in ("fsync", "full_page_writes"):
            with self.server_setting(name, "off"):
                self.assertIn(name, self.refused())

    def test_an_address_that_is_not_loopback_is_refused(self):
        self.assertIn("0.0.0.0", self.refused("--set", "listener-plain.address=0.0.0.0"))

    def test_a_proxy_that_is_no_network_is_named(self):
        self.assertIn("10.1.2.3/8", self.refused(
            "--set", "listener-plain.address=0.0.0.0", "--set", "listener-plain.proxies=10.1.2.3/8"))

    def test_a_port_in_use_is_named(self):
        said = self.refused("--set", f"listener-plain.port={self.stack.join_port}")
        self.assertIn(str(self.stack.join_port), said)

    def test_an_unknown_setting_is_named(self):
        self.assertIn("join.colour", self.refused("--set", "join.colour=red"))

    def test_a_wrong_pin_is_tried_once(self):
        pin = self.stack.path("wrong-pin")
        with open(pin, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write("00000000")
        with open(self.stack.path("joinserver.ini"), encoding="utf-8") as file:
            uri = next(line.split("=", 1)[1].strip() for line in file if line.startswith("uri"))
        wrong = uri.rsplit("pin-source=", 1)[0] + "pin-source=file:" + pin
        said = self.refused("--set", f"hsm.uri={wrong}")
        self.assertIn("PIN", said)
        self.assertNotIn("00000000", said)


if __name__ == "__main__":
    unittest.main()
