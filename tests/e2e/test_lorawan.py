"""The device's side that these tests use, against published vectors: no server takes part."""

import json
import os
import unittest

import lorawan
import support


def vectors():
    with open(os.path.join(support.ROOT, "tests/data/vectors.json"), encoding="utf-8") as file:
        return {v["id"]: v for v in json.load(file)["vectors"]}


def spelled(keys):
    return {name: key.hex() for name, key in keys.items()}


class Device(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.vectors = vectors()
        inputs = cls.vectors["V057"]["inputs"]
        cls.device = {name: inputs[name] for name in ("dev_eui", "join_eui", "app_key", "nwk_key")}
        cls.device["mac_version"] = "1.1"

    def test_v054_keys_of_a_rejoin(self):
        inputs, expected = (self.vectors["V054"][part] for part in ("inputs", "expected"))
        names = {"FNwkSIntKey": "f_nwk_s_int_key", "SNwkSIntKey": "s_nwk_s_int_key",
                 "NwkSEncKey": "nwk_s_enc_key", "AppSKey": "app_s_key"}
        keys = lorawan.session_keys(dict(self.device, join_eui=inputs["join_eui"]), inputs["join_nonce"],
                                    inputs["rjcount"])
        self.assertEqual(spelled(keys), {wire: expected[name] for wire, name in names.items()})

    def test_v055_accepts_of_rejoins(self):
        inputs, expected = (self.vectors["V055"][part] for part in ("inputs", "expected"))
        self.assertEqual(lorawan.js_key(self.device, 6).hex(), inputs["js_int_key"])
        self.assertEqual(lorawan.js_key(self.device, 5).hex(), inputs["js_enc_key"])
        for rejoin_type in (0, 1, 2):
            with self.subTest(rejoin_type):
                wanted = expected[f"type{rejoin_type}"]
                phy = wanted["phy_payload_encrypted"]
                accept = lorawan.open_accept(self.device, phy, inputs["rjcount"], rejoin_type)
                self.assertEqual(accept, {
                    "plain": wanted["plain_with_mic"], "join_nonce": inputs["join_nonce"],
                    "net_id": inputs["net_id"], "dev_addr": inputs["dev_addr"],
                    "dl_settings": int(inputs["dl_settings"], 16), "rx_delay": inputs["rx_delay"],
                    "cf_list": wanted["cf_list"]})
                for wrong in ((inputs["rjcount"] + 1, rejoin_type), (inputs["rjcount"], (rejoin_type + 1) % 3),
                              (inputs["rjcount"], lorawan.JOIN)):
                    self.assertIsNone(lorawan.open_accept(self.device, phy, *wrong))

    def test_v057_frames_of_a_sequence(self):
        inputs, expected = (self.vectors["V057"][part] for part in ("inputs", "expected"))
        device, net_id = self.device, inputs["net_id"]
        first = lorawan.session_keys(device, 65536, 258)
        self.assertEqual(lorawan.rejoin_request(device, 0, 1, net_id, first["SNwkSIntKey"]),
                         expected["rejoin0"])
        self.assertEqual(lorawan.open_accept(device, inputs["accept0"], 1, 0)["join_nonce"], 65537)
        second = lorawan.session_keys(device, 65537, 1)
        self.assertEqual(lorawan.rejoin_request(device, 2, 1, net_id, second["SNwkSIntKey"]),
                         expected["rejoin2"])
        self.assertEqual(lorawan.open_accept(device, inputs["accept2"], 1, 2)["join_nonce"], 65538)
        self.assertEqual(lorawan.rejoin_request(device, 1, 1), expected["rejoin1"])
        self.assertEqual(lorawan.open_accept(device, inputs["accept1"], 1, 1)["join_nonce"], 65539)
        self.assertEqual(spelled(lorawan.session_keys(device, 65539, 1)),
                         {name: expected[name] for name in spelled(first)})


if __name__ == "__main__":
    unittest.main()
