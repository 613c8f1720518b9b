"""Signs of clones and attacks: what makes a device suspect, what never does, and how it is trusted again."""

import collections
import json
import secrets

import lorawan
import support
from test_accounts import Rest
from test_codes import unclaimed
from test_jobs import csv_of
from test_moves import AGAINST, GONE, MoveTest

SEEN_SECONDS = 60  # bound of a wait for the thread that finds signals
SUSPECT_AT, QUARANTINE_AT, SERIES_WEIGHT, LOWER_MOST = 30, 60, 13, 4


class SignalTest(MoveTest):
    def device(self, **changes):
        return super().device(**{"mac_version": "1.0.4", **changes})

    def setUp(self):
        super().setUp()
        self.eui = self.device_row["dev_eui"]
        self.path = f"/v1/devices/{self.eui}"

    def ask(self, nonce, **changes):
        message = lorawan.join_req(dict(self.device_row, nwk_key=None), nonce, support.HOME, **changes)
        return self.stack.post_join(message)[1]["Result"]["ResultCode"]

    def recorded(self):
        return int(self.stack.psql(
            f"SELECT count(*) FROM join_event WHERE dev_eui = '\\x{self.eui}' AND outcome <> 'success'")[0][0])

    def refused_join(self, nonce, **changes):
        """Recorded before anything else happens: its time is reckoned back from when it is written."""
        before = self.recorded()
        self.assertEqual(self.ask(nonce, **changes), "JoinReqFailed")
        support.wait_until(lambda: self.recorded() > before, SEEN_SECONDS, "the refusal is recorded")

    def joins(self, *nonces):
        for nonce in nonces:
            self.assertEqual(self.ask(nonce), "Success")

    def two_devices_with_one_key(self, n):
        """One counts from 40, the other from 20; n times each."""
        self.joins(10, 40)
        for i in range(n):
            self.refused_join(20 + i)
            self.joins(41 + i)

    def signals(self, rest=None):
        status, _, answer = (rest or self.owner_client).call("get", self.path + "/signals")
        self.assertEqual(status, 200, answer)
        return answer

    def kinds(self):
        found = [signal["kind"] for signal in self.signals()["signals"]]
        return {kind: found.count(kind) for kind in found}

    def trust(self):
        return self.owner_client.call("get", self.path)[2]["trust"]

    def becomes(self, trust):
        support.wait_until(lambda: self.trust() == trust, SEEN_SECONDS, f"the device is {trust}")

    def all_is_seen(self):
        """What has happened until now was looked through, and judged."""
        now = self.stack.psql("SELECT now()")[0][0]
        support.wait_until(lambda: self.stack.psql(f"SELECT 1 FROM trust_scan WHERE looked_until > '{now}'"), SEEN_SECONDS,
                           "it was looked through")
        support.wait_until(lambda: not self.stack.psql(
            f"SELECT 1 FROM trust_signal WHERE dev_eui = '\\x{self.eui}' AND NOT judged"), SEEN_SECONDS, "it was judged")

    def policy(self, quarantine_clones):
        status, _, answer = self.owner_client.call("patch", "/v1/policy", {"quarantine_clones": quarantine_clones})
        self.assertEqual((status, answer), (200, {"quarantine_clones": quarantine_clones}))

    def put_signals(self, kind, n, age="0 s"):
        self.stack.psql("INSERT INTO trust_signal (at, dev_eui, kind, from_value, to_value, ownership_epoch) "
                        f"SELECT now() - interval '{age}', dev_eui, '{kind}', 0, 0, ownership_epoch "
                        f"FROM device, generate_series(1, {n}) WHERE dev_eui = '\\x{self.eui}'")

    def details(self, action):
        return self.stack.psql(f"SELECT coalesce(client_id::text, 'none'), request_id, detail FROM audit_event "
                               f"WHERE object = '{self.eui}' AND action = '{action}' ORDER BY id")


class Clones(SignalTest):
    def test_two_devices_with_one_key_are_suspect_and_still_join(self):
        self.two_devices_with_one_key(7)
        self.becomes("suspect")
        self.all_is_seen()
        self.joins(90)
        self.assertEqual(self.trust(), "suspect")  # its owner wants no more
        answer = self.signals()
        self.assertEqual(self.kinds(), {"dev_nonce_series": 6, "dev_nonce_lower": 1})
        self.assertEqual((answer["suspect_at"], answer["quarantine_at"]), (SUSPECT_AT, QUARANTINE_AT))
        self.assertAlmostEqual(answer["score"], 6 * SERIES_WEIGHT + 2, delta=1)
        newest = answer["signals"][0]
        self.assertEqual((newest["kind"], newest["from"], newest["to"], newest["weight"]),
                         ("dev_nonce_series", 46, 26, SERIES_WEIGHT))
        self.assertIn("Two devices with one key", newest["explanation"]["why"])
        self.assertAlmostEqual(self.owner_client.call("get", self.path)[2]["trust_score"], answer["score"], delta=1)
        [[client, request, detail]] = self.details("device.suspect")
        self.assertEqual((client, request, json.loads(detail)["by"]), ("none", f"trust-{self.eui}", "service"))
        # Its maker sees what it weighs and not what it sent, and a stranger sees nothing.
        of_maker = self.signals(self.maker)
        self.assertEqual((of_maker["trust"], {s["from"] for s in of_maker["signals"]}), ("suspect", {None}))
        self.is_refused(GONE, self.owner().call("get", self.path + "/signals"))

    def test_where_its_owner_wants_it_a_clone_is_quarantined_until_he_lifts_it(self):
        self.policy(True)
        self.assertEqual(self.owner_client.call("get", "/v1/policy")[2], {"quarantine_clones": True})
        self.two_devices_with_one_key(7)
        self.becomes("quarantined")
        self.assertEqual(self.ask(95), "ActivationDisallowed")
        self.is_refused(AGAINST, self.post("reset-nonces"))
        self.assertEqual(self.done("lift")["trust"], "ok")
        self.assertEqual(self.signals()["signals"], [])
        self.joins(96)
        self.assertEqual([json.loads(row[2])["by"] for row in self.details("device.quarantine")], ["service"])

    def test_a_policy_reaches_what_is_suspect_already_and_is_its_organization_s(self):
        self.put_signals("dev_nonce_series", 6)
        self.becomes("suspect")
        self.policy(True)
        self.stack.psql(f"UPDATE device SET trust_look_at = now() WHERE dev_eui = '\\x{self.eui}'")
        self.becomes("quarantined")
        self.assertEqual(self.owner().call("get", "/v1/policy")[2], {"quarantine_clones": False})
        for body in ({}, {"quarantine_clones": 1}, {"colour": True}):
            self.assertEqual(self.owner_client.call("patch", "/v1/policy", body)[0], 400, body)

    def test_a_suspect_device_is_trusted_again_when_nothing_more_is_seen(self):
        age = f"UPDATE trust_signal SET at = at - interval '%s' WHERE dev_eui = '\\x{self.eui}'"
        look = f"UPDATE device SET trust_look_at = now() WHERE dev_eui = '\\x{self.eui}'"
        looked = f"SELECT 1 FROM device WHERE dev_eui = '\\x{self.eui}' AND trust_look_at > now()"
        self.put_signals("dev_nonce_series", 3)
        self.becomes("suspect")
        self.stack.psql(age % "3 days")  # half of it is left: below what made it suspect, not well below
        self.stack.psql(look)
        support.wait_until(lambda: self.stack.psql(looked), SEEN_SECONDS, "it was looked at again")
        self.assertEqual(self.trust(), "suspect")
        self.assertAlmostEqual(self.signals()["score"], 3 * SERIES_WEIGHT / 2, delta=0.3)
        self.stack.psql(age % "3 days")
        self.stack.psql(look)
        self.becomes("ok")
        self.assertEqual(self.events(), ["device.claim", "device.suspect", "device.trust"])

    def test_its_holder_trusts_it_again(self):
        for verb in ("lift", "reset-nonces"):
            self.put_signals("dev_nonce_series", 3)
            self.becomes("suspect")
            self.assertEqual(self.done(verb)["trust"], "ok")
            answer = self.signals()
            self.assertEqual((answer["score"], answer["signals"]), (0, []))
        self.assertEqual(self.events(), ["device.claim", "device.suspect", "device.lift", "device.suspect", "device.reset-nonces"])

    def test_the_next_owner_begins_anew(self):
        self.put_signals("dev_nonce_series", 3)
        self.becomes("suspect")
        code, successor = self.done("release")["code"], self.owner()
        self.claimed(successor, self.device_row, code)
        self.assertEqual(self.signals(successor)["signals"], [])

    def test_what_is_seen_while_a_service_is_killed_is_seen_once(self):
        self.stack.second_activation()
        self.joins(10, 40)
        for i in range(6):
            self.refused_join(20 + i)
            self.joins(41 + i)
            if i % 2 == 0:
                killed = self.stack.pids("activation")
                self.stack.kill("activation")
                self.stack.wait_restarted("activation", killed)
        self.all_is_seen()
        self.assertEqual(self.kinds(), {"dev_nonce_series": 5, "dev_nonce_lower": 1})

    def test_a_device_with_the_key_of_another_is_told_of(self):
        rows = unclaimed(2, mac_version="1.0.4", app_key=secrets.token_hex(16))
        self.send(csv_of(rows))
        for row in rows:
            answer = self.maker.call("get", f"/v1/devices/{row['dev_eui']}/signals")[2]
            self.assertEqual([signal["kind"] for signal in answer["signals"]], ["shared_key"])
            self.assertEqual(answer["trust"], "ok")

    def test_a_device_that_joins_far_too_often_is_told_of(self):
        """One that draws its DevNonces, so that there is nothing else to see of a copy."""
        row = self.device(mac_version="1.0.3")
        self.claimed(self.owner_client, row)
        self.device_row, self.eui, self.path = row, row["dev_eui"], f"/v1/devices/{row['dev_eui']}"
        self.joins(*range(100, 106))
        # As if that had been in a quarter of an hour that is over, and not looked through yet.
        self.stack.psql("UPDATE join_event SET at = date_bin('15 min', now(), '2001-01-01Z') - interval '20 min' + "
                        f"join_nonce * interval '1 s' WHERE dev_eui = '\\x{self.eui}'")
        self.stack.psql("UPDATE trust_scan SET looked_until = now() - interval '40 min'")
        support.wait_until(lambda: self.kinds() == {"join_rate": 1}, SEEN_SECONDS, "its joins are too many")
        self.assertEqual((self.signals()["signals"][0]["to"], self.trust()), (6, "ok"))

    def test_signals_and_moves_are_counted(self):
        def counters():
            found = collections.Counter()
            for url in self.stack.activation_urls():
                for line in support.http("GET", f"{url}/metrics")[2].decode().splitlines():
                    if line.startswith("cradle_trust"):
                        found[line.rpartition(" ")[0]] += int(line.rpartition(" ")[2])
            return found

        before = counters()
        self.two_devices_with_one_key(5)
        self.becomes("suspect")
        self.all_is_seen()
        after = counters()
        series, moves = 'cradle_trust_signals_total{kind="dev_nonce_series"}', 'cradle_trust_moves_total{to="suspect"}'
        self.assertGreaterEqual(after[series] - before[series], 4)
        self.assertGreaterEqual(after[moves] - before[moves], 1)


class NoClones(SignalTest):
    def is_trusted(self, **kinds):
        self.all_is_seen()
        self.assertEqual((self.kinds(), self.trust()), (kinds, "ok"))

    def test_recorded_frames_that_are_played_again_are_no_sign(self):
        self.joins(*range(10, 18))
        for i in range(4):
            for nonce in range(10, 18):
                self.refused_join(nonce, DevAddr=f"2600000{i}")
            self.joins(30 + i)
        self.is_trusted()

    def test_nor_are_they_after_a_reset_of_nonces(self):
        self.joins(3, *range(50, 60))
        self.done("reset-nonces")
        self.joins(4)
        for i in range(6):
            self.joins(50 + i)  # recorded before
            self.refused_join(5 + i)  # the device's own
        self.is_trusted(dev_nonce_lower=6)
        self.assertLessEqual(self.signals()["score"], LOWER_MOST)

    def test_copies_of_a_frame_by_other_networks_are_no_sign(self):
        other = self.stack.demo["network_servers"][1]
        for nonce in range(10, 16):
            self.joins(nonce)
            message = lorawan.join_req(dict(self.device_row, nwk_key=None), nonce, other["net_id"])
            self.stack.post_join(message, other["token"])
            self.refused_join(nonce, DevAddr="26000001")
        self.is_trusted()

    def test_a_device_that_lost_its_counter_is_not_suspect_and_its_nonces_can_be_reset(self):
        self.policy(True)
        self.joins(10, 40)
        for nonce in range(0, 40, 2):
            self.refused_join(nonce)
        self.joins(41, 42)
        self.is_trusted(dev_nonce_lower=14)
        self.assertLessEqual(self.signals()["score"], LOWER_MOST)
        self.done("reset-nonces")
        self.assertEqual(self.signals()["signals"], [])
        self.joins(0, 1, 2)
        self.is_trusted()

    def test_a_wrong_mic_is_no_sign(self):
        self.joins(10, 40)
        device = dict(self.device_row, nwk_key=None)
        for i in range(8):
            message = dict(lorawan.join_req(device, 20 + i, support.HOME),
                           PHYPayload=lorawan.mistaken_join_request(device, 20 + i, key=bytes(16)))
            self.assertEqual(self.stack.post_join(message)[1]["Result"]["ResultCode"], "MICFailed")
            self.joins(41 + i)
        self.is_trusted()

    def test_nobody_else_sets_a_policy(self):
        self.assertEqual(self.maker.call("patch", "/v1/policy", {"quarantine_clones": True})[0], 403)
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        self.assertEqual(admin.call("get", "/v1/policy")[0], 403)
