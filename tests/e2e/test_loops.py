"""Devices that join without end: slowed down each by itself, and told why to nobody but their owner."""
import unittest

import lorawan
import support

BURST = 3
REASON = "the device joined too often in a short time"


class Loops(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()
        self.server = self.stack.second_joinserver(f"join.device_burst={BURST}", "join.device_interval_s=3600")
        self.addCleanup(self.server.stop)

    def ask(self, device, dev_nonce, net_id=support.HOME):
        message = lorawan.join_req(device, dev_nonce, net_id)
        return self.stack.post_join(message, self.stack.server(net_id)["token"], self.server.url)[1]

    def code(self, *args, **options):
        return self.ask(*args, **options)["Result"]["ResultCode"]

    def loop(self, device):
        return [self.code(device, dev_nonce) for dev_nonce in range(1, BURST + 1)]

    def join_nonce(self, device):
        ((nonce,),) = self.stack.psql(f"SELECT join_nonce FROM device_join WHERE dev_eui = '\\x{device['dev_eui']}'")
        return int(nonce)

    def test_after_its_burst_a_device_is_refused_and_spends_nothing(self):
        device, other = self.stack.device("1.0.4"), self.stack.device("1.0.4")
        self.assertEqual(self.loop(device), ["Success"] * BURST)
        spent = self.join_nonce(device)
        answer = self.ask(device, BURST + 1)
        self.assertEqual(answer["Result"]["ResultCode"], "Other")
        self.assertIn("too often", answer["Result"]["Description"])
        self.assertEqual(self.code(other, 1), "Success")
        self.assertEqual(self.join_nonce(device), spent)
        # The DevNonce is as good as before, where the device is not slowed down.
        message = lorawan.join_req(device, BURST + 1, support.HOME)
        self.assertEqual(self.stack.post_join(message)[1]["Result"]["ResultCode"], "Success")

    def test_the_last_request_gets_its_answer_again(self):
        device = self.stack.device("1.0.3")
        self.loop(device)
        first, again = (self.ask(device, BURST) for _ in range(2))
        self.assertEqual(first["Result"]["ResultCode"], "Success")
        self.assertEqual(first["PHYPayload"], again["PHYPayload"])

    def test_wrong_mics_slow_nobody_down(self):
        device = self.stack.device("1.0.4")
        for dev_nonce in range(1, 2 * BURST):
            message = lorawan.join_req(device, dev_nonce, support.HOME)
            message["PHYPayload"] = lorawan.mistaken_join_request(device, dev_nonce, key=bytes(16))
            answer = self.stack.post_join(message, url=self.server.url)[1]
            self.assertEqual(answer["Result"]["ResultCode"], "MICFailed")
        self.assertEqual(self.code(device, 1), "Success")

    def test_another_network_hears_what_it_hears_of_any_device(self):
        device = self.stack.device("1.0.4")
        self.loop(device)
        self.assertEqual(self.code(device, BURST + 1, net_id=support.OTHER), "UnknownDevEUI")

    def test_it_is_recorded_for_the_owner_and_counted(self):
        device = self.stack.device("1.0.4")
        self.loop(device)
        self.ask(device, BURST + 1)

        def recorded():
            return self.stack.psql("SELECT reason FROM join_event WHERE outcome = 'slowed' "
                                   f"AND dev_eui = '\\x{device['dev_eui']}'")
        self.assertEqual(support.wait_until(recorded, support.READY_SECONDS, "it is recorded"), [[REASON]])
        _, _, body = support.http("GET", self.server.url + "metrics")
        self.assertIn('cradle_join_requests_total{outcome="slowed"} 1\n', body.decode())


if __name__ == "__main__":
    unittest.main()
