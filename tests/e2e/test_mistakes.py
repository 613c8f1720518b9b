"""Devices that get the MIC of their Join-Request wrong: the network server hears MICFailed and nothing
more, and the history names the mistake."""

import unittest

import lorawan
import support

MIC_FAILURES_MAX = 60  # wrong MICs of a device a minute that are all checked, and explained
PLAIN = "the MIC is wrong"
OTHER_KEY = "the MIC is wrong: it is by the AppKey, not the NwkKey: " \
            "the two are swapped, or the device is not of LoRaWAN 1.1"
OVER = "the MIC is wrong: the device computed it over its %s in the other byte order than it sends"
SPARED = "not checked: too many wrong MICs within a minute"
VERSIONS = ("1.0.3", "1.0.4", "1.1")


class Mistakes(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()

    def send(self, device, mistake, dev_nonce=1, **changes):
        """The whole answer to a Join-Request whose MIC this mistake made; `mistake` says what it is by
        and over (lorawan.mistaken_join_request)."""
        message = lorawan.join_req(device, dev_nonce, support.HOME, **changes)
        message["PHYPayload"] = lorawan.mistaken_join_request(device, dev_nonce, **mistake)
        return self.stack.post_join(message)[1]

    def reasons(self, device, n):
        """Why `n` requests of the device were refused, by their DevNonces."""
        return support.wait_until(
            lambda: (lambda rows: rows if len(rows) >= n else None)(
                [r[0] for r in self.stack.psql(
                    "SELECT reason FROM join_event WHERE outcome = 'mic_failed' AND dev_eui = '\\x%s' "
                    "ORDER BY dev_nonce" % device["dev_eui"])]), 10, "the refusals are recorded")

    def names(self, device, mistake, reason):
        answer = self.send(device, mistake)
        self.assertEqual(answer["Result"], {"ResultCode": "MICFailed", "Description": PLAIN})
        self.assertEqual(self.reasons(device, 1), [reason])

    def test_euis_in_the_other_byte_order_are_named(self):
        for version in VERSIONS:
            for euis, name in ((("dev_eui",), "DevEUI"), (("join_eui",), "JoinEUI"),
                               (("join_eui", "dev_eui"), "JoinEUI and DevEUI")):
                with self.subTest(version, euis=euis):
                    self.names(self.stack.device(version), {"reversed_euis": euis}, OVER % name)

    def test_the_other_root_key_is_named(self):
        device = self.stack.device("1.1")
        self.names(device, {"key": bytes.fromhex(device["app_key"])}, OTHER_KEY)

    def test_the_other_root_key_is_named_in_1_0_mode_too(self):
        device = self.stack.device("1.1")
        self.send(device, {"key": bytes.fromhex(device["app_key"])}, DLSettings="00")
        self.assertEqual(self.reasons(device, 1), [OTHER_KEY])

    def test_what_is_no_known_mistake_is_a_wrong_mic(self):
        for version in VERSIONS:
            with self.subTest(version):
                self.names(self.stack.device(version), {"key": bytes(16)}, PLAIN)

    def test_a_mistake_spends_nothing(self):
        device = self.stack.device("1.0.4")
        self.send(device, {"reversed_euis": ("dev_eui",)}, 7)
        self.assertTrue(self.stack.join(device, dev_nonce=7)["agree"])

    def test_a_rejoin_by_the_wrong_key_is_a_wrong_mic(self):
        device = self.stack.device("1.1")
        phy = lorawan.rejoin_request(device, 1, 1, key=bytes.fromhex(device["app_key"]))
        _, answer = self.stack.post_join(lorawan.rejoin_req(device, phy, support.HOME))
        self.assertEqual(answer["Result"]["ResultCode"], "MICFailed")
        self.assertEqual(self.reasons(device, 1), [PLAIN])

    def test_nothing_is_explained_beyond_the_limit_of_wrong_mics(self):
        device, mistake, n = self.stack.device("1.0.3"), {"reversed_euis": ("dev_eui",)}, 2 * MIC_FAILURES_MAX
        for nonce in range(n):
            self.assertEqual(self.send(device, mistake, nonce)["Result"]["ResultCode"], "MICFailed")
        reasons = self.reasons(device, n)
        self.assertEqual(reasons[:MIC_FAILURES_MAX], [OVER % "DevEUI"] * MIC_FAILURES_MAX)
        self.assertEqual(set(reasons[MIC_FAILURES_MAX:]), {SPARED, PLAIN})
