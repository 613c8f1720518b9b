"""Joins and refusals of the join server, over HTTP as a network server would (TS002-1.0)."""
import json
import unittest

import lorawan
import support

VERSIONS = ("1.0.2", "1.0.3", "1.0.4", "1.1")
COUNTING = ("1.0.4", "1.1")


class JoinTest(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()

    def code(self, answer):
        status, body = answer
        self.assertEqual(status, 200)
        return body["Result"]["ResultCode"]

    def request(self, device, dev_nonce, **changes):
        return lorawan.join_req(device, dev_nonce, self.stack.home["net_id"], **changes)


class Joins(JoinTest):
    def test_device_and_servers_agree_on_the_keys_in_every_version(self):
        for version in VERSIONS:
            with self.subTest(version):
                answer = self.stack.join(self.stack.device(version))
                self.assertTrue(answer["agree"], answer)
                self.assertEqual(answer["opt_neg"], version == "1.1")

    def test_join_nonce_begins_at_1_and_goes_up_by_1(self):
        device = self.stack.device("1.0.3")
        self.assertEqual([self.stack.join(device)["join_nonce"] for _ in range(3)], [1, 2, 3])

    def test_a_1_1_device_on_a_1_0_network_gets_the_keys_of_1_0(self):
        answer = self.stack.join(self.stack.device("1.1"), dl_settings="00")
        self.assertTrue(answer["agree"], answer)
        self.assertFalse(answer["opt_neg"])

    def test_the_cf_list_comes_back_unchanged(self):
        answer = self.stack.join(self.stack.device("1.0.3"), cf_list="184f84e85684b85e84886684586e8400")
        self.assertTrue(answer["agree"], answer)
        self.assertEqual(len(answer["phy_payload"]), 2 * 33)

    def test_any_path_and_any_spelling_of_hex_is_taken(self):
        device = self.stack.device("1.0.3")
        message = self.request(device, 7)
        message["DevEUI"] = message["DevEUI"].upper()
        message["PHYPayload"] = "0x" + message["PHYPayload"].upper()
        answer = self.stack.post_join(message, url=self.stack.join_url + "some/where")
        self.assertEqual(self.code(answer), "Success")

    def test_the_answer_swaps_the_ids_and_copies_the_transaction(self):
        message = self.request(self.stack.device("1.0.3"), 9, TransactionID=4294967295)
        _, answer = self.stack.post_join(message)
        self.assertEqual(answer["MessageType"], "JoinAns")
        self.assertEqual(answer["TransactionID"], 4294967295)
        self.assertEqual(answer["SenderID"], message["ReceiverID"])
        self.assertEqual(answer["ReceiverID"], message["SenderID"])
        self.assertEqual(answer["ProtocolVersion"], "1.0")
        for member in ("PHYPayload", "NwkSKey", "AppSKey", "SessionKeyID", "Lifetime"):
            self.assertIn(member, answer)

    def test_no_key_is_in_clear_and_every_envelope_names_its_kek(self):
        for version in VERSIONS:
            device = self.stack.device(version)
            _, answer = self.stack.post_join(self.request(device, 3))
            envelopes = {name: v for name, v in answer.items() if name.endswith("Key")}
            self.assertEqual(len(envelopes), 4 if version == "1.1" else 2)
            for name, envelope in envelopes.items():
                self.assertEqual(len(envelope["AESKey"]), 48, name)
                self.assertEqual(envelope["KEKLabel"],
                                 "as-demo" if name == "AppSKey" else "ns-000013", name)

    def test_an_identical_retry_gets_the_identical_answer(self):
        message = self.request(self.stack.device("1.0.4"), 0)
        first, second = self.stack.post_join(message), self.stack.post_join(message)
        self.assertEqual(self.code(first), "Success")
        self.assertEqual(first, second)


class Refusals(JoinTest):
    def test_a_used_dev_nonce_is_refused(self):
        for version in VERSIONS:
            with self.subTest(version):
                device = self.stack.device(version)
                self.assertTrue(self.stack.join(device, dev_nonce=5)["agree"])
                self.assertEqual(self.stack.join(device, dev_nonce=5)["result_code"], "JoinReqFailed")

    def test_a_lower_dev_nonce_is_refused_where_the_version_counts_only(self):
        for version in VERSIONS:
            with self.subTest(version):
                device = self.stack.device(version)
                self.assertTrue(self.stack.join(device, dev_nonce=500)["agree"])
                answer = self.stack.join(device, dev_nonce=499)
                self.assertEqual(answer["result_code"],
                                 "JoinReqFailed" if version in COUNTING else "Success")

    def test_a_wrong_mic_is_refused_and_spends_nothing(self):
        device = self.stack.device("1.0.4")
        message = self.request(device, 0)
        last = message["PHYPayload"][-1]
        message["PHYPayload"] = message["PHYPayload"][:-1] + ("0" if last != "0" else "1")
        self.assertEqual(self.code(self.stack.post_join(message)), "MICFailed")
        self.assertTrue(self.stack.join(device, dev_nonce=0)["agree"])

    def test_a_wrong_mic_wins_over_a_used_dev_nonce(self):
        device = self.stack.device("1.0.3")
        self.assertTrue(self.stack.join(device, dev_nonce=5)["agree"])
        stranger = dict(device, app_key="00" * 16)
        self.assertEqual(self.code(self.stack.post_join(self.request(stranger, 5))), "MICFailed")

    def test_unknown_not_yours_and_not_claimed_are_one_answer(self):
        unknown = dict(self.stack.device("1.0.3"), dev_eui="02cdcd03ffffffff")
        unclaimed = self.stack.device("1.0.3", home_net_id=None)
        yours = self.stack.device("1.0.3")
        other = self.stack.server(support.OTHER)
        answers = [
            self.stack.post_join(lorawan.join_req(unknown, 1, support.HOME)),
            self.stack.post_join(lorawan.join_req(unclaimed, 1, support.HOME)),
            self.stack.post_join(lorawan.join_req(yours, 1, support.OTHER), token=other["token"]),
        ]
        self.assertEqual([self.code(a) for a in answers], ["UnknownDevEUI"] * 3)
        for _, answer in answers:
            answer.pop("ReceiverID")  # who asked
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])

    def test_a_sender_the_token_does_not_speak_for_is_unknown(self):
        message = lorawan.join_req(self.stack.device("1.0.3"), 1, support.OTHER)
        self.assertEqual(self.code(self.stack.post_join(message)), "UnknownSender")

    def test_a_join_eui_that_is_not_routed_is_an_unknown_receiver(self):
        device = dict(self.stack.device("1.0.3"), join_eui="02cdcdffffffffff")
        self.assertEqual(self.code(self.stack.post_join(self.request(device, 1))), "UnkownReceiver")

    def test_opt_neg_of_a_device_that_is_not_1_1_is_malformed(self):
        for version in ("1.0.2", "1.0.3", "1.0.4"):
            message = self.request(self.stack.device(version), 1, DLSettings="80")
            self.assertEqual(self.code(self.stack.post_join(message)), "MalformedRequest", version)

    def test_a_missing_or_bad_member_is_malformed(self):
        device = self.stack.device("1.0.3")
        for member, value in (("DevEUI", None), ("PHYPayload", None), ("DevAddr", "0102"),
                              ("DLSettings", "000"), ("RxDelay", 16), ("RxDelay", "1"),
                              ("CFList", "00"), ("DevEUI", "02cdcd03ffffffff"),
                              ("DevAddr", None), ("PHYPayload", "zz" * 23)):
            with self.subTest(member=member, value=value):
                message = self.request(device, 1, **{member: value})
                self.assertEqual(self.code(self.stack.post_join(message)), "MalformedRequest")

    def test_a_frame_of_the_wrong_length_has_a_frame_size_error(self):
        message = self.request(self.stack.device("1.0.3"), 1)
        message["PHYPayload"] += "00"
        self.assertEqual(self.code(self.stack.post_join(message)), "FrameSizeError")

    def test_an_unknown_protocol_version_is_named(self):
        message = self.request(self.stack.device("1.0.3"), 1, ProtocolVersion="2.0")
        self.assertEqual(self.code(self.stack.post_join(message)), "InvalidProtocolVersion")


class Transport(JoinTest):
    def test_no_identity_is_401(self):
        message = self.request(self.stack.device("1.0.3"), 1)
        for token in ("", "wrong", self.stack.application_server()["token"] + "x"):
            self.assertEqual(self.stack.post_join(message, token=token)[0], 401)

    def test_what_is_not_json_is_400(self):
        good = json.dumps(self.request(self.stack.device("1.0.3"), 1))
        for body in (b"", b"{", b"hello", good.encode() + b"}", b'{"a":1,"a":2}', b'{"a":"\xff"}'):
            with self.subTest(body=body[:20]):
                self.assertEqual(self.stack.post_join(body)[0], 400)

    def test_a_huge_body_is_413(self):
        self.assertEqual(self.stack.post_join(b" " * (1 << 20))[0], 413)

    def test_other_methods_are_405(self):
        token = self.stack.home["token"]
        status, _, _ = support.http("PUT", self.stack.join_url, b"{}",
                                    {"Authorization": f"Bearer {token}"})
        self.assertEqual(status, 405)

    def test_health_readiness_and_metrics_answer_on_both_services(self):
        for url in (self.stack.join_url, self.stack.activation_url + "/"):
            for path in ("healthz", "readyz", "metrics"):
                self.assertEqual(support.http("GET", url + path)[0], 200, url + path)
