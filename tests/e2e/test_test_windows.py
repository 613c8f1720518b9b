"""A maker's factory test: devices that nobody owns yet join in the network that he names, so often and so long."""

import json
import secrets
import threading

import lorawan
import support
from test_claims import code_of_label
from test_devices import DevicesTest, rows_of_document
from test_gate import SOON_S, Session

OVER, USED_UP, ELSEWHERE = ("the test window is over", "the joins of the test window are used up",
                            "the test window is for another network")
HIDDEN = "UnknownDevEUI"


class TestWindows(DevicesTest):
    def setUp(self):
        super().setUp()
        self.network = self.stack.server(support.OTHER)
        self.server = self.stack.application_server()

    def batch(self, device):
        return self.get(self.maker, device)["batch"]

    def call(self, method, device, body=None, rest=None, **headers):
        status, _, answer = (rest or self.maker).call(
            method, f"/v1/batches/{self.batch(device)}/test-window", body, **headers)
        return status, answer

    def open(self, device, **changes):
        status, answer = self.call("post", device, {"net_id": support.OTHER, "as_id": "demo-as", **changes})
        self.assertEqual(status, 200, answer)
        return answer

    def code(self, device, nonce, server=None, **changes):
        server = server or self.network
        return self.ask(device, nonce, server["net_id"], server["token"], **changes)

    def window(self, device):
        return self.get(self.maker, device)["test_window"]

    def refusal(self, device, n):
        """The newest of n attempts, which was refused: its reason, and why."""
        newest = self.attempts(self.maker, device, n)[0]
        self.assertEqual((newest["outcome"], newest["test_join"]), ("unknown_dev_eui", None))
        what, to_do = rows_of_document()[newest["reason"]]
        self.assertEqual(newest["explanation"]["do"], to_do)
        self.assertTrue(what.startswith(newest["explanation"]["what"]))
        return newest["reason"], newest["explanation"]["why"]

    def app_s_key(self, device, session):
        message = {"ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": "demo-as",
                   "ReceiverID": device["join_eui"], "TransactionID": 11, "DevEUI": device["dev_eui"], "SessionKeyID": session}
        return self.stack.post_join(message, token=self.server["token"])[1]["Result"]["ResultCode"]

    def test_a_device_joins_as_often_as_its_maker_says_and_no_nonce_comes_again(self):
        for version, state in (("1.0.2", "personalized"), ("1.0.3", "activable"), ("1.0.4", "personalized"), ("1.1", "personalized")):
            with self.subTest(version=version):
                device = self.devices(version, 1, state=state)[0]
                device["dev_nonce"] = 1
                self.assertEqual((self.code(device, 1), self.window(device)), (HIDDEN, None))
                opened = self.open(device, max_joins=2)
                self.assertEqual((opened["devices"], opened["joins"], opened["expired"]), (1, 0, False))
                for n in (1, 2):
                    joined = self.stack.join(device, server=self.network, dev_nonce=n)
                    self.assertEqual((joined["result_code"], joined["join_nonce"]), ("Success", n), joined)
                self.assertEqual(self.code(device, 3), HIDDEN)
                self.assertEqual(self.refusal(device, 4)[0], USED_UP)
                self.assertEqual([a["test_join"] for a in self.attempts(self.maker, device, 4)], [None, 2, 1, None])
                window = self.window(device)
                self.assertEqual((window["state"], window["joins"], window["max_joins"], window["net_id"], window["as_id"]),
                                 ("used_up", 2, 2, support.OTHER, "demo-as"))
                self.assertEqual(self.get(self.maker, device, "/preflight")["test_window"], window)
                self.open(device)
                self.assertEqual(self.window(device)["state"], "open")
                self.assertEqual(self.code(device, 2, dev_addr="26000009"), "JoinReqFailed", "a DevNonce of the window before")
                self.assertEqual(self.stack.join(device, server=self.network, dev_nonce=9)["join_nonce"], 3)

    def test_another_network_is_told_nothing_and_the_maker_why(self):
        device = self.devices("1.0.4", 1)[0]
        self.open(device)
        self.assertEqual(self.code(device, 1, self.stack.home), HIDDEN)
        reason, why = self.refusal(device, 1)
        self.assertEqual(reason, ELSEWHERE)
        self.assertIn(f"Network {support.HOME} asked; the test window is for {support.OTHER}.", why)
        self.assertEqual(self.code(device, 1), "Success")

    def test_a_wrong_mic_and_a_quarantine_are_answered_as_ever(self):
        device = self.devices("1.0.4", 1)[0]
        self.open(device)
        wrong = lorawan.join_req(device, 5, support.OTHER)
        wrong["PHYPayload"] = wrong["PHYPayload"][:-8] + "00000000"
        self.assertEqual(self.stack.post_join(wrong, token=self.network["token"])[1]["Result"]["ResultCode"], "MICFailed")
        self.update(device, "trust = 'quarantined'")
        self.assertEqual(self.code(device, 5), "ActivationDisallowed")
        self.update(device, "trust = 'ok'")
        self.assertEqual(self.code(device, 5), "Success")
        self.assertEqual(self.window(device)["joins"], 1)

    def test_the_same_request_again_is_answered_again_and_not_counted(self):
        device = self.devices("1.0.3", 1)[0]
        self.open(device, max_joins=1)
        message = lorawan.join_req(device, 7, support.OTHER)
        first, again = (self.stack.post_join(message, token=self.network["token"])[1] for _ in range(2))
        self.assertEqual(first["Result"]["ResultCode"], "Success")
        self.assertEqual(first["PHYPayload"], again["PHYPayload"])
        self.assertEqual(self.window(device)["joins"], 1)

    def test_a_rejoin_counts_as_a_join(self):
        device = self.devices("1.1", 1)[0]
        self.open(device, max_joins=2)
        self.assertEqual(self.code(device, 1, DLSettings="80"), "Success")
        rejoin = lambda count: self.stack.post_join(lorawan.rejoin_req(
            device, lorawan.rejoin_request(device, 1, count), support.OTHER), token=self.network["token"])[1]["Result"]["ResultCode"]
        self.assertEqual((rejoin(1), rejoin(2)), ("Success", HIDDEN))
        self.assertEqual(self.window(device)["joins"], 2)

    def test_it_is_over_when_its_time_is(self):
        device = self.devices("1.0.4", 1)[0]
        self.open(device, hours=1)
        answer = self.stack.post_join(lorawan.join_req(device, 1, support.OTHER), token=self.network["token"])[1]
        self.assertEqual(self.app_s_key(device, answer["SessionKeyID"]), "Success")
        self.update(device, "test_opened_at = test_opened_at - interval '1 hour', test_until = test_until - interval '1 hour'")
        self.assertEqual(self.app_s_key(device, answer["SessionKeyID"]), HIDDEN)
        self.assertEqual(self.code(device, 2), HIDDEN)
        self.assertEqual(self.refusal(device, 2)[0], OVER)
        self.assertEqual(self.window(device)["state"], "expired")
        self.assertTrue(self.call("get", device)[1]["windows"][0]["expired"])

    def test_a_claim_ends_it_at_once(self):
        code = code_of_label()
        device = self.devices("1.1", 1, state="personalized", code=code)[0]
        self.open(device)
        answer = self.stack.post_join(lorawan.join_req(device, 1, support.OTHER, DLSettings="80"), token=self.network["token"])[1]
        self.assertEqual(answer["Result"]["ResultCode"], "Success")
        status, _, claimed = self.owner.call("post", "/v1/claims", {"dev_eui": device["dev_eui"], "code": code,
                                                                    "home_net_id": support.HOME, "as_id": "demo-as"})
        self.assertEqual(status, 200, claimed)
        self.assertEqual(self.code(device, 2), HIDDEN)
        self.assertEqual(self.stack.post_join(lorawan.rejoin_req(device, lorawan.rejoin_request(
            device, 1, 1), support.OTHER), token=self.network["token"])[1]["Result"]["ResultCode"], HIDDEN)
        self.assertEqual(self.app_s_key(device, answer["SessionKeyID"]), HIDDEN, "the application server is the owner's now")
        self.assertEqual(self.stack.psql(f"SELECT pending_join_nonce IS NULL FROM device_join WHERE dev_eui = '\\x{device['dev_eui']}'"),
                         [["t"]], "the session of the test is still there")
        owners = self.get(self.owner, device)
        self.assertEqual((owners["test_window"], owners["rejoin_pending"]), (None, True))
        self.update(device, "credential = 'activable'")
        self.assertEqual(self.code(device, 2, self.stack.home), "Success")
        self.assertEqual([(a["outcome"], a["join_nonce"], a["test_join"]) for a in self.attempts(self.owner, device, 3)
                          if a["outcome"] == "success"], [("success", 2, None)], "the owner sees the maker's tests")

    def test_what_ends_it_between_load_and_commit_wins(self):
        for end in ("UPDATE device SET ownership = 'claimed', owner_id = organization_id, ownership_epoch = ownership_epoch + 1, "
                    "service = 'active' WHERE dev_eui = '\\x%s'",
                    "UPDATE device SET test_until = now() - interval '1 second' WHERE dev_eui = '\\x%s'"):
            device = self.devices("1.0.4", 1)[0]
            self.open(device)
            answers = []
            with Session(self.stack) as holder:
                holder.run("BEGIN; SELECT 1 FROM device_join WHERE dev_eui = '\\x%s' FOR UPDATE" % device["dev_eui"])
                join = threading.Thread(target=lambda d=device, a=answers: a.append(self.code(d, 3)))
                join.start()
                support.wait_until(lambda: self.stack.psql(
                    "SELECT 1 FROM pg_stat_activity WHERE usename = 'cradle_join' AND wait_event_type = 'Lock'"), SOON_S, "the commit waits")
                holder.run(end % device["dev_eui"] + "; COMMIT")
                join.join()
            self.assertEqual(answers, [HIDDEN])
            self.assertEqual(self.stack.psql(f"SELECT join_nonce FROM device_join WHERE dev_eui = '\\x{device['dev_eui']}'"), [["0"]])

    def test_two_join_servers_at_once_answer_no_more_than_it_allows(self):
        device, other = self.devices("1.0.3", 1)[0], self.stack.second_joinserver()
        self.open(device, max_joins=4)
        answers, start = [], threading.Barrier(16)

        def ask(nonce):
            message = lorawan.join_req(device, nonce, support.OTHER)
            start.wait()
            url = other.url if nonce % 2 else None
            answers.append(self.stack.post_join(message, token=self.network["token"], url=url)[1]["Result"]["ResultCode"])

        threads = [threading.Thread(target=ask, args=(nonce,)) for nonce in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        other.stop()
        self.assertEqual(len(answers), 16)
        # Who lost every race may be told to try again; what was answered is what was counted.
        while answers.count("Success") < 4 and (code := self.code(device, 100 + len(answers))) != HIDDEN:
            answers.append(code)
        self.assertEqual(answers.count("Success"), 4, answers)
        self.assertEqual(self.window(device)["joins"], 4)
        self.assertEqual(self.stack.psql(f"SELECT count(*), max(join_nonce), max(test_join) FROM join_event WHERE outcome = 'success' "
                                         f"AND dev_eui = '\\x{device['dev_eui']}'"), [["4", "4", "4"]])

    def test_a_list_of_devices_is_all_or_nothing_and_the_rest_goes_without(self):
        devices = self.devices("1.0.4", 3)
        self.sell(devices[2])
        euis = [d["dev_eui"] for d in devices]
        for wrong in ([euis[0], euis[2]], [euis[0], secrets.token_hex(8)], [euis[0], self.devices("1.0.4", 1)[0]["dev_eui"]]):
            status, problem = self.call("post", devices[0], {"net_id": support.OTHER, "devices": wrong})
            self.assertEqual((status, problem["field"]), (409, "devices"), problem)
            self.assertIn(wrong[1], problem["detail"])
            self.assertIsNone(self.window(devices[0]))
        self.assertEqual(self.open(devices[0], devices=euis[:1] + [euis[0].upper()])["devices"], 1)
        self.assertEqual((self.code(devices[0], 1), self.code(devices[1], 1)), ("Success", HIDDEN))
        self.assertEqual(self.open(devices[0])["devices"], 2, "all of the batch but the one that is sold")
        windows = self.call("get", devices[0])[1]["windows"]
        self.assertEqual([(w["devices"], w["joins"], w["max_joins"]) for w in windows], [(2, 0, 3)])
        self.sell(devices[0])
        self.sell(devices[1])
        self.assertEqual(self.call("post", devices[0], {"net_id": support.OTHER})[0], 409)

    def test_its_maker_ends_it_at_once_and_is_on_record(self):
        device = self.devices("1.0.4", 1)[0]
        self.assertEqual(self.call("delete", device)[0], 404)
        self.open(device, hours=2)
        self.assertEqual(self.code(device, 1), "Success")
        self.assertEqual(self.call("delete", device)[0], 204)
        self.assertEqual((self.code(device, 2), self.window(device), self.call("get", device)[1]), (HIDDEN, None, {"windows": []}))
        events = self.stack.psql(f"SELECT action, detail FROM audit_event WHERE object = '{self.batch(device)}' ORDER BY id")
        self.assertEqual([(action, json.loads(detail)) for action, detail in events if action.startswith("test_window.")],
                         [("test_window.open", {"net_id": support.OTHER, "as_id": "demo-as", "max_joins": 3, "hours": 2, "devices": 1}),
                          ("test_window.end", {"devices": 1})])

    def test_the_same_key_opens_it_once(self):
        device = self.devices("1.0.4", 1)[0]
        body = {"net_id": support.OTHER, "as_id": "demo-as"}
        first = self.call("post", device, body, Idempotency_Key="window")
        self.assertEqual((first[0], self.code(device, 1)), (200, "Success"))
        self.assertEqual(self.call("post", device, body, Idempotency_Key="window"), first)
        self.assertEqual(self.window(device)["joins"], 1, "the window was opened anew")

    def test_without_an_application_server_there_is_nobody_to_have_the_app_s_key(self):
        device = self.devices("1.0.4", 1)[0]
        self.assertEqual(self.call("post", device, {"net_id": support.OTHER})[0], 200)
        self.assertEqual(self.code(device, 1), "Other")
        self.assertEqual(self.attempts(self.maker, device, 1)[0]["reason"], "the device's application server has no KEK")
        self.assertEqual(self.window(device)["joins"], 0)

    def test_what_is_anothers_or_not_his_is_not_there(self):
        device = self.devices("1.0.4", 1)[0]
        for method, body in (("post", {"net_id": support.OTHER}), ("get", None), ("delete", None)):
            self.assertEqual(self.call(method, device, body, rest=self.stranger)[0], 404, method)
            self.assertEqual(self.call(method, device, body, rest=self.owner)[0], 403, method)

    def test_what_is_malformed_is_named(self):
        device = self.devices("1.0.4", 1)[0]
        for change, field in (({"net_id": "13"}, "net_id"), ({"net_id": "0badca"}, "net_id"), ({"as_id": "nobodys-as"}, "as_id"),
                              ({"as_id": "two words"}, "as_id"), ({"max_joins": 0}, "max_joins"), ({"max_joins": 51}, "max_joins"),
                              ({"hours": 0}, "hours"), ({"hours": 169}, "hours"), ({"devices": []}, "devices"),
                              ({"devices": ["x"]}, "devices"), ({"joins": 1}, "joins")):
            status, problem = self.call("post", device, {"net_id": support.OTHER, **change})
            self.assertEqual((status, problem["field"]), (400, field), problem)
        self.assertIsNone(self.window(device))
