"""Rejoin-Requests (LoRaWAN 1.1 6.2.4) in sequence: which session proves what, what a device may say
again, and what is remembered. One request each, with all its refusals, is in conversations.py; the
published bytes are in test_vectors.py."""

import json
import unittest

import lorawan
import support

NONCE = 60
REPLAYED = {"1.0": "JoinReqFailed", "1.1": "FrameReplayed"}
NETWORK_KEYS = ("SNwkSIntKey", "FNwkSIntKey", "NwkSEncKey")


class Device:
    """A 1.1 device that knows its sessions by their keys. An answer that it got counts only when it
    is told so: `current` is the session in which it sends."""

    def __init__(self, test, device):
        self.test, self.device = test, device
        self.current = None
        self.n_asked = 0

    def send(self, message):
        status, answer = self.test.stack.post_join(message)
        self.test.assertEqual(status, 200)
        self.test.assertEqual(answer["TransactionID"], message["TransactionID"])
        return answer

    def open(self, message, answer, nonce, join_req_type):
        """Checks all that is in an answer; the session."""
        test, device = self.test, self.device
        test.assertEqual(answer["Result"]["ResultCode"], "Success", answer)
        accept = lorawan.open_accept(device, answer["PHYPayload"], nonce, join_req_type)
        test.assertIsNotNone(accept, "the device cannot open its Join-Accept")
        test.assertEqual((accept["net_id"], accept["dev_addr"], accept["cf_list"]),
                         (support.HOME, message["DevAddr"], message["CFList"]))
        keys = lorawan.session_keys(device, accept["join_nonce"], nonce)
        test.assertEqual({n: k for n, k in keys.items()}, test.unwrapped(answer))
        return {"keys": keys, "id": answer["SessionKeyID"], "join_nonce": accept["join_nonce"], "answer": answer}

    def join(self, dev_nonce):
        message = lorawan.join_req(self.device, dev_nonce, support.HOME)
        self.current = self.open(message, self.send(message), dev_nonce, lorawan.JOIN)
        return self.current

    def message(self, rejoin_type, count, session=None, **changes):
        session = session or self.current
        phy = lorawan.rejoin_request(self.device, rejoin_type, count, support.HOME,
                                     session["keys"]["SNwkSIntKey"] if rejoin_type != 1 else None)
        self.n_asked += 1
        return lorawan.rejoin_req(self.device, phy, support.HOME, 1000 + self.n_asked,
                                  f"2600{self.n_asked:04x}", **changes)

    def ask(self, rejoin_type, count, session=None, **changes):
        """The ResultCode."""
        return self.send(self.message(rejoin_type, count, session, **changes))["Result"]["ResultCode"]

    def rejoin(self, rejoin_type, count, session=None, lost=False, **changes):
        """A rejoin that must succeed; the session. When the answer is lost, the device stays where it
        was."""
        message = self.message(rejoin_type, count, session, **changes)
        offered = self.open(message, self.send(message), count, rejoin_type)
        if not lost:
            self.current = offered
        return offered


class Rejoin(unittest.TestCase):
    longMessage = True

    @classmethod
    def setUpClass(cls):
        cls.stack = support.shared()

    def unwrapped(self, answer):
        keys = {}
        for name in (*NETWORK_KEYS, "AppSKey"):
            peer = self.stack.application_server() if name == "AppSKey" else self.stack.home
            self.assertEqual(answer[name]["KEKLabel"], peer["kek_label"], name)
            keys[name] = lorawan.unwrap(bytes.fromhex(peer["kek"]), bytes.fromhex(answer[name]["AESKey"]))
        return keys

    def device(self, dev_nonce=NONCE):
        """One that has joined."""
        device = Device(self, self.stack.device("1.1"))
        device.join(dev_nonce)
        return device

    def join_row(self, device, columns):
        return self.stack.psql(f"SELECT {columns} FROM device_join "
                               f"WHERE dev_eui = '\\x{device.device['dev_eui']}'")[0]

    # --- what succeeds ---

    def test_a_life_of_joins_and_rejoins(self):
        device = self.device()
        sessions = [device.current] + [device.rejoin(*step) for step in ((0, 1), (2, 1), (1, 1), (0, 1), (1, 2))]
        sessions.append(device.join(NONCE + 1))
        sessions.append(device.rejoin(0, 1))
        self.assertEqual([s["join_nonce"] for s in sessions], list(range(1, len(sessions) + 1)))
        self.assertEqual(len({s["id"] for s in sessions}), len(sessions))
        self.assertEqual(len({s["keys"]["AppSKey"] for s in sessions}), len(sessions))

    def test_an_answer_has_what_the_network_needs_and_no_more(self):
        answer = self.device().rejoin(0, 1)["answer"]
        self.assertEqual(set(answer), {
            "ProtocolVersion", "MessageType", "SenderID", "ReceiverID", "TransactionID", "Result",
            "PHYPayload", "SessionKeyID", "Lifetime", "AppSKey", *NETWORK_KEYS})
        self.assertEqual(answer["MessageType"], "RejoinAns")

    def test_an_identical_retry_gets_the_identical_answer(self):
        for rejoin_type in (0, 1, 2):
            with self.subTest(rejoin_type):
                device = self.device()
                message = device.message(rejoin_type, 5)
                first, second = device.send(message), device.send(message)
                self.assertEqual(first["Result"]["ResultCode"], "Success")
                self.assertEqual(first["PHYPayload"], second["PHYPayload"])
                self.assertEqual(first["SessionKeyID"], second["SessionKeyID"])
                self.assertEqual(self.unwrapped(first), self.unwrapped(second))
                self.assertEqual(self.join_row(device, "join_nonce"), ["2"])

    def test_the_application_server_gets_the_app_s_key_of_a_rejoin(self):
        server = self.stack.application_server()
        for rejoin_type in (0, 1, 2):
            with self.subTest(rejoin_type):
                device = self.device()
                joined, offered = device.current, device.rejoin(rejoin_type, 3)
                for session in (offered, joined):
                    status, answer = self.stack.post_join({
                        "ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": server["as_id"],
                        "ReceiverID": device.device["join_eui"], "TransactionID": 9,
                        "DevEUI": device.device["dev_eui"], "SessionKeyID": session["id"]}, server["token"])
                    self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"), answer)
                    key = lorawan.unwrap(bytes.fromhex(server["kek"]),
                                         bytes.fromhex(answer["AppSKey"]["AESKey"]))
                    self.assertEqual(key, session["keys"]["AppSKey"])

    def test_the_simulated_device_rejoins(self):
        for tls in (False, True):
            device = self.stack.device("1.1")
            last = self.stack.join(device, tls=tls)
            for rejoin_type in (0, 2, 1, 0):
                session = {} if rejoin_type == 1 else {"session": f"{last['join_nonce']},{last['dev_nonce']}"}
                last = self.stack.join(device, tls=tls, rejoin=rejoin_type, rj_count=5,
                                       last_join_nonce=last["join_nonce"], **session)
                self.assertTrue(last["agree"], last)
            again = self.stack.join(device, tls=tls, rejoin=1, rj_count=5)
            self.assertEqual(again["result_code"], "JoinReqFailed")

    # --- sessions ---

    def test_a_device_that_did_not_get_the_answer_goes_on_in_its_session(self):
        device = self.device()
        for count, rejoin_type in enumerate((0, 2, 0, 2), start=1):
            device.rejoin(rejoin_type, count, lost=True)
        device.rejoin(0, 9)
        device.rejoin(0, 1)

    def test_a_session_that_was_used_ends_the_one_before_it(self):
        device = self.device()
        first = device.current
        second = device.rejoin(0, 1)
        third = device.rejoin(2, 2, session=first)
        self.assertEqual(device.ask(0, 9, session=second), "MICFailed")
        fourth = device.rejoin(0, 1, session=third)
        self.assertEqual(device.ask(0, 9, session=first), "MICFailed")
        device.rejoin(0, 2, session=third, lost=True)
        self.assertEqual(device.ask(0, 9, session=fourth), "MICFailed")

    def test_a_type_1_proves_no_session(self):
        device = self.device()
        first = device.current
        device.rejoin(1, 1, lost=True)
        device.rejoin(1, 2, lost=True)
        device.rejoin(0, 1, session=first)

    def test_a_join_as_1_0_ends_the_sessions_of_1_1(self):
        device = self.device()
        first, second = device.current, device.rejoin(0, 1)
        status, answer = self.stack.post_join(
            lorawan.join_req(device.device, NONCE + 1, support.HOME, DLSettings="00"))
        self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"))
        for session in (first, second):
            self.assertEqual(device.ask(0, 9, session=session), "MICFailed")
        device.rejoin(1, 1)

    def test_a_refused_rejoin_proves_nothing(self):
        device = self.device()
        first, offered = device.current, device.rejoin(0, 1)
        for message in (device.message(0, 1, session=offered, DLSettings="00"),
                        device.message(0, 1, session=offered, ReceiverID=support.SAMPLE_JOIN_EUI)):
            self.assertNotEqual(device.send(message)["Result"]["ResultCode"], "Success")
        self.assertEqual(device.ask(0, 2, session=first), "Success")

    # --- counts ---

    def test_rj_count0_grows_within_its_session_and_starts_again_with_the_next(self):
        for version, replayed in REPLAYED.items():
            with self.subTest(version):
                device = self.device()
                first = device.current
                device.rejoin(0, 7, lost=True)
                for count in (7, 6, 0):
                    for rejoin_type in (0, 2):
                        self.assertEqual(device.ask(rejoin_type, count, ProtocolVersion=version), replayed)
                second = device.rejoin(2, 8)
                self.assertEqual(device.ask(0, 8, session=first, ProtocolVersion=version), replayed)
                device.rejoin(0, 0, session=second, lost=True)
                self.assertEqual(device.ask(2, 0, session=second, ProtocolVersion=version), replayed)
                device.rejoin(0, 1, session=second)

    def test_rj_count1_is_the_devices_and_outlives_sessions_and_joins(self):
        for version, replayed in REPLAYED.items():
            with self.subTest(version):
                device = self.device()
                device.rejoin(1, 3)
                self.assertEqual(device.ask(1, 3, ProtocolVersion=version), replayed)
                device.rejoin(0, 1)
                device.rejoin(0, 1)
                device.join(NONCE + 1)
                for count in (3, 2, 0):
                    self.assertEqual(device.ask(1, count, ProtocolVersion=version), replayed)
                device.rejoin(1, 4)
                self.assertEqual(self.join_row(device, "rj_count1"), ["4"])

    def test_a_rejoin_uses_no_dev_nonce(self):
        device = self.device()
        for rejoin_type, count in ((0, 500), (2, 600), (1, 700)):
            device.rejoin(rejoin_type, count)
        self.assertEqual(self.join_row(device, "last_dev_nonce"), [str(NONCE)])
        device.join(NONCE + 1)

    def test_a_refusal_uses_nothing(self):
        device = self.device()
        before = self.join_row(device, "device_join::text")
        self.assertEqual(device.ask(0, 5, DLSettings="00"), "MalformedRequest")
        self.assertEqual(device.ask(1, 5, DLSettings="00"), "MalformedRequest")
        spoilt = device.message(0, 5)
        spoilt["PHYPayload"] = spoilt["PHYPayload"][:-8] + "00000000"
        self.assertEqual(device.send(spoilt)["Result"]["ResultCode"], "MICFailed")
        self.assertEqual(self.join_row(device, "device_join::text"), before)

    # --- what is remembered ---

    def test_events_tell_type_and_count(self):
        device = self.device()
        session = device.current
        for rejoin_type, count in ((0, 11), (1, 12), (2, 13)):
            device.rejoin(rejoin_type, count, session=session, lost=True)
        self.assertEqual(device.ask(2, 13), "JoinReqFailed")
        sql = ("SELECT join_type, outcome, dev_nonce, join_nonce, opt_neg, encode(net_id, 'hex') FROM join_event "
               f"WHERE dev_eui = '\\x{device.device['dev_eui']}' ORDER BY at")
        # A refusal is written after its answer.
        events = support.wait_until(lambda: (rows := self.stack.psql(sql))[4:] and rows,
                                    support.READY_SECONDS, "five events")
        self.assertEqual(events[:4], [
            ["255", "success", str(NONCE), "1", "t", support.HOME],
            ["0", "success", "11", "2", "t", support.HOME], ["1", "success", "12", "3", "t", support.HOME],
            ["2", "success", "13", "4", "t", support.HOME]])
        self.assertEqual(events[4][:4], ["2", "nonce_replayed", "13", ""])
        self.assertEqual(len(events), 5)

    def test_a_second_join_server_goes_by_the_same_memory(self):
        other = self.stack.second_joinserver()
        self.addCleanup(other.stop)
        device = self.device()
        message = device.message(0, 1)
        first = device.send(message)
        status, again = self.stack.post_join(message, url=other.url)
        self.assertEqual((status, again["PHYPayload"]), (200, first["PHYPayload"]))
        status, refused = self.stack.post_join(dict(message, DevAddr="26ffffff"), url=other.url)
        self.assertEqual((status, refused["Result"]["ResultCode"]), (200, "JoinReqFailed"))


if __name__ == "__main__":
    unittest.main()
