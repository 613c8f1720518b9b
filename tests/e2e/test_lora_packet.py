"""lora-packet of npm, an independent party, reads our Join-Accepts and derives the same keys.

Skipped, and counted as that, where there is no Node or no package registry."""

import json
import os
import subprocess
import unittest

import lorawan
import npm
import support

PACKAGE = "lora-packet@0.9.3"
NODE_SECONDS = 60
NONCE = 511
DEV_ADDR = "fc01abcd"
CF_LIST = "184f84e85684b85e84886684586e8400"
# LoRaWAN version of the device, and DLSettings: OptNeg is what decides.
KINDS = (("1.0.2", "00"), ("1.0.3", "23"), ("1.0.4", "52"), ("1.1", "80"), ("1.1", "b5"), ("1.1", "21"))


class LoraPacket(unittest.TestCase):
    longMessage = True

    @classmethod
    def setUpClass(cls):
        cls.stack = support.shared()
        cls.package, cls.missing = npm.install(cls.stack.path("lora-packet"), PACKAGE)
        cls.ns, cls.as_ = cls.stack.home, cls.stack.application_server()

    def setUp(self):
        if self.missing:
            self.skipTest(self.missing)  # each test, so that each is counted

    def read(self, cases):
        run = subprocess.run(
            ["node", os.path.join(os.path.dirname(os.path.abspath(__file__)), "read_accepts.js"),
             self.package], input=json.dumps(cases), capture_output=True, text=True, check=False,
            timeout=NODE_SECONDS)
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout)

    def unwrapped(self, answer):
        keys = {}
        for name, envelope in answer.items():
            if name.endswith("Key"):
                peer = self.as_ if name == "AppSKey" else self.ns
                self.assertEqual(envelope["KEKLabel"], peer["kek_label"], name)
                keys[name] = lorawan.unwrap(bytes.fromhex(peer["kek"]), bytes.fromhex(envelope["AESKey"])).hex()
        return keys

    @staticmethod
    def case(device, answer, nonce, opt_neg, join_req_type="ff"):
        return {"phy_payload": answer["PHYPayload"], "opt_neg": opt_neg, "app_key": device["app_key"],
                "nwk_key": device["nwk_key"], "dev_eui": device["dev_eui"], "join_eui": device["join_eui"],
                "nonce": f"{nonce:04x}", "join_req_type": join_req_type}

    def ask(self, message):
        status, answer = self.stack.post_join(message)
        self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"), answer)
        return answer

    def agree(self, read, answer, **fields):
        self.assertTrue(read["is_accept"])
        self.assertTrue(read["mic_right"], "MIC")
        self.assertEqual({name: read[name] for name in fields}, fields)
        self.assertEqual(read["keys"], self.unwrapped(answer))

    def test_join_accepts_of_all_versions(self):
        cases, wanted = [], []
        for version, dl_settings in KINDS:
            for cf_list in ("", CF_LIST):
                device = self.stack.device(version)
                opt_neg = int(dl_settings, 16) >= 0x80
                for i in range(2):  # JoinNonces 1 and 2
                    answer = self.ask(lorawan.join_req(
                        device, NONCE + i, support.HOME, DEV_ADDR, DLSettings=dl_settings, RxDelay=5 + i,
                        CFList=cf_list))
                    cases.append(self.case(device, answer, NONCE + i, opt_neg))
                    wanted.append((answer, {
                        "opt_neg": opt_neg, "join_nonce": 1 + i, "net_id": support.HOME,
                        "dev_addr": DEV_ADDR, "dl_settings": dl_settings, "rx_delay": 5 + i,
                        "cf_list": cf_list}))
        for case, read, (answer, fields) in zip(cases, self.read(cases), wanted, strict=True):
            with self.subTest(case["dev_eui"], **fields):
                self.agree(read, answer, **fields)

    def test_join_accepts_of_rejoins(self):
        cases, answers = [], []
        for rejoin_type, cf_list in ((0, ""), (0, CF_LIST), (1, ""), (1, CF_LIST), (2, "")):
            device = self.stack.device("1.1")
            joined = self.ask(lorawan.join_req(device, NONCE, support.HOME))
            key = bytes.fromhex(self.unwrapped(joined)["SNwkSIntKey"])
            phy = lorawan.rejoin_request(device, rejoin_type, 7, support.HOME, None if rejoin_type == 1 else key)
            answers.append(self.ask(lorawan.rejoin_req(device, phy, support.HOME, dev_addr=DEV_ADDR,
                                                       DLSettings="95", RxDelay=3, CFList=cf_list)))
            cases.append(self.case(device, answers[-1], 7, True, f"{rejoin_type:02x}"))
        for case, read, answer in zip(cases, self.read(cases), answers, strict=True):
            with self.subTest(case["join_req_type"]):
                self.agree(read, answer, opt_neg=True, join_nonce=2, net_id=support.HOME,
                           dev_addr=DEV_ADDR, dl_settings="95", rx_delay=3)

    def test_it_finds_what_is_wrong(self):
        """Else its word would mean nothing."""
        device, other = self.stack.devices("1.1", 2)
        answer = self.ask(lorawan.join_req(device, NONCE, support.HOME))
        right = self.case(device, answer, NONCE, True)
        spoilt = answer["PHYPayload"][:-1] + f"{int(answer['PHYPayload'][-1], 16) ^ 1:x}"
        reads = self.read([right, dict(right, nonce=f"{NONCE + 1:04x}"), dict(right, nwk_key=other["nwk_key"]),
                           dict(right, phy_payload=spoilt), dict(right, join_req_type="00")])
        self.assertEqual([read["mic_right"] for read in reads], [True] + 4 * [False])
        self.assertEqual(reads[0]["keys"], self.unwrapped(answer))
        for read in reads[1:3]:
            self.assertNotEqual(read["keys"], self.unwrapped(answer))


if __name__ == "__main__":
    unittest.main()
