"""What joins leave behind for people: metrics by peer, outcome and stage, warnings, and trust signals."""

import re
import unittest

import lorawan
import support

JOIN_NONCE_MAX = (1 << 24) - 1
STAGES = ("queue", "load", "keyd", "commit", "answer")


class History(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()

    def ask(self, device, nonce, **changes):
        _, answer = self.stack.post_join(lorawan.join_req(device, nonce, support.HOME, **changes))
        return answer["Result"]["ResultCode"]

    def metrics(self):
        _, _, page = support.http("GET", self.stack.join_url + "metrics")
        return {name: float(value) for name, value in re.findall(r"^([^#\n]\S*) (\S+)$", page.decode(), re.M)}

    def rise(self, act):
        """What `act` added to each metric."""
        before = self.metrics()
        act()
        return {name: value - before.get(name, 0) for name, value in self.metrics().items()}

    def set_join(self, device, change):
        self.stack.psql("UPDATE device_join SET %s WHERE dev_eui = '\\x%s'" % (change, device["dev_eui"]))

    def signals(self, device):
        return self.stack.psql("SELECT kind, from_value, to_value, ownership_epoch FROM trust_signal "
                               "WHERE dev_eui = '\\x%s' ORDER BY at" % device["dev_eui"])

    def test_answers_are_counted_by_peer_and_outcome(self):
        device = self.stack.device("1.0.4")
        rise = self.rise(lambda: (self.ask(device, 1), self.ask(device, 2), self.ask(device, 1, DevAddr="26000001")))
        mine = {re.search('outcome="([^"]*)"', name)[1]: value for name, value in rise.items()
                if name.startswith("cradle_join_peer_answers_total") and 'kind="network_server"' in name and value}
        self.assertEqual(mine, {"success": 2, "nonce_replayed": 1})

    def test_each_stage_of_a_join_is_observed_once(self):
        device = self.stack.device("1.1")
        rise = self.rise(lambda: self.ask(device, 1))
        for stage in STAGES:
            self.assertEqual(rise[f'cradle_join_stage_seconds_count{{stage="{stage}"}}'], 1, stage)

    def test_a_refusal_without_a_key_has_no_stage_for_it(self):
        rise = self.rise(lambda: self.ask(dict(self.stack.device("1.0.3"), dev_eui="02cdcd03ffffff01"), 1))
        counts = {stage: rise[f'cradle_join_stage_seconds_count{{stage="{stage}"}}'] for stage in STAGES}
        self.assertEqual(counts, {"queue": 1, "load": 1, "keyd": 0, "commit": 0, "answer": 1})

    def test_a_counter_that_ends_soon_warns_with_each_join(self):
        device = self.stack.device("1.0.4")
        low = 'cradle_join_nonces_low_total{counter="%s"}'
        rise = self.rise(lambda: self.ask(device, 1000))
        self.assertEqual((rise[low % "join_nonce"], rise[low % "dev_nonce"]), (0, 0))
        self.set_join(device, f"join_nonce = {JOIN_NONCE_MAX * 4 // 5}")
        rise = self.rise(lambda: self.ask(device, 1001))
        self.assertEqual((rise[low % "join_nonce"], rise[low % "dev_nonce"]), (1, 0))
        device = self.stack.device("1.0.4")
        rise = self.rise(lambda: self.ask(device, 60000))
        self.assertEqual((rise[low % "join_nonce"], rise[low % "dev_nonce"]), (0, 1))

    def test_the_last_dev_nonce_is_taken_and_what_follows_says_why_it_is_not(self):
        device = self.stack.device("1.0.4")
        self.assertEqual(self.ask(device, 65535), "Success")
        self.assertEqual(self.ask(device, 65535, DevAddr="26000001"), "JoinReqFailed")
        reasons = support.wait_until(
            lambda: self.stack.psql("SELECT reason FROM join_event WHERE outcome <> 'success' AND "
                                    "dev_eui = '\\x%s'" % device["dev_eui"]), 10, "the refusal is recorded")
        self.assertEqual(reasons, [["all DevNonces are used: the device's nonces must be reset"]])

    def test_a_jump_of_a_counted_dev_nonce_is_a_trust_signal(self):
        device = self.stack.device("1.0.4")
        rise = self.rise(lambda: [self.ask(device, nonce) for nonce in (3000, 4000, 5001)])
        self.assertEqual(self.signals(device), [["dev_nonce_jump", "4000", "5001", "1"]])
        self.assertEqual(rise["cradle_join_dev_nonce_jumps_total"], 1)

    def test_random_dev_nonces_jump_as_they_like(self):
        device = self.stack.device("1.0.3")
        for nonce in (1, 60000, 30000):
            self.assertEqual(self.ask(device, nonce), "Success")
        self.assertEqual(self.signals(device), [])

    def events(self, device):
        return self.stack.psql("SELECT join_type, outcome, reason FROM join_event WHERE outcome <> 'success' AND "
                               "dev_eui = '\\x%s' ORDER BY at" % device["dev_eui"])

    def test_a_malformed_request_about_a_known_device_is_in_its_history(self):
        device = self.stack.device("1.1")
        self.assertEqual(self.ask(device, 1, DevAddr=None), "MalformedRequest")
        events = support.wait_until(lambda: self.events(device), 10, "the refusal is recorded")
        self.assertEqual(events, [["255", "malformed", "DevAddr is missing"]])

    def test_nobody_learns_from_metrics_who_asks_but_over_the_plain_listener(self):
        server = self.stack.demo["network_servers"][0]
        for path, status in (("metrics", 404), ("healthz", 200)):
            self.assertEqual(support.http("GET", self.stack.join_url + path)[0], 200)
            self.assertEqual(support.https("GET", self.stack.demo["join"]["tls_url"] + path, server,
                                           self.stack.demo["join"]["ca"])[0], status)
