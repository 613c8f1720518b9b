"""Roaming between whole Cradles: a home, a visited one and a hub, each on an address of its own, over mutual TLS."""
import unittest

import cradles
import support
from cradles import VISITED_NET_ID


class CradlesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home, cls.visited, cls.hub = cradles.shared()


class Alone(CradlesTest):
    def test_each_answers_for_its_own_devices_and_knows_nothing_of_the_others(self):
        for cradle in (self.home, self.visited, self.hub):
            with self.subTest(cradle.role):
                device = cradle.device("1.0.3")
                self.assertTrue(cradle.join(device)["agree"])
                self.assertTrue(cradle.join(device, tls=True)["agree"])
        foreign = self.hub.join_request(self.home.device("1.0.3"), self.hub.home)
        self.assertEqual(self.hub.post_join(foreign)[1]["Result"]["ResultCode"], "UnkownReceiver")


if __name__ == "__main__":
    unittest.main()
