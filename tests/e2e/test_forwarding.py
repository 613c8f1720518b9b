"""Requests that another join server answers: carried to a partner, which this test plays, and back."""
import concurrent.futures
import contextlib
import hashlib
import http.client
import itertools
import json
import os
import secrets
import shutil

import lorawan
import support
from certificates import Ca
from partners import (Close, Hang, Partner, add_partner, add_route, answer_to, make_server_certificate,
                      server_context)
from test_accounts import Rest
from test_async import ANSWER_SECONDS, Receiver
from test_peers import CHANGE_SECONDS, PeersTest

_net_ids = itertools.count(0x00F001)
_join_euis = itertools.count(0x7066666600000001)
_transactions = itertools.count(5000)


class ForwardTest(PeersTest):
    """A join server of each class's own, and partners over TLS with client certificates."""

    settings = ()

    @classmethod
    def setUpClass(cls):
        stack = support.shared()
        cls.credentials = os.path.join(stack.state, f"forward-{cls.__name__}")
        os.makedirs(cls.credentials)
        folder = os.path.join(stack.state, f"cas-{cls.__name__}")
        cls.theirs, cls.ours = Ca(folder, "theirs"), Ca(folder, "ours")
        cls.server_certificate = make_server_certificate(cls.theirs)
        client = cls.ours.client("us", "URI:urn:example:us")
        for suffix, path in (("ca", cls.theirs.pem), ("crt", client["cert"]), ("key", client["key"])):
            cls.give("us", suffix, path)
        cls.joinserver = stack.second_joinserver(f"answers.directory={cls.credentials}",
                                                 "roaming.instance=here", *cls.settings)

    @classmethod
    def tearDownClass(cls):
        cls.joinserver.stop()

    @classmethod
    def give(cls, name, suffix, path):
        target = os.path.join(cls.credentials, f"{name}.{suffix}")
        shutil.copyfile(path, target)
        os.chmod(target, 0o600)

    def partner(self, version="1.0", certificate=None, **columns):
        """One over TLS, that has one JoinEUI; its faults are the test's."""
        context = server_context(certificate or self.server_certificate, self.ours)
        partner = Partner(context, version)
        self.addCleanup(partner.close)
        self.addCleanup(lambda: self.assertEqual(partner.faults, []))
        return self.known(partner, **columns)

    def known(self, partner, **columns):
        """To the join server, with a route."""
        partner.join_eui = f"{next(_join_euis):016x}"
        partner.name = f"partner-{partner.join_eui[-4:]}"
        columns = {"credential": "us", "protocol_version": partner.version, "timeout_ms": 4000, **columns}
        partner.id = add_partner(self.stack, partner.name, partner.url, **columns)
        add_route(self.stack, partner.join_eui, "partner", partner.id)
        self.wait_known(partner.join_eui)
        return partner

    def wait_known(self, join_eui):
        """Until the join server has the route: what is not a message of its kind is malformed then."""
        server = self.known_server()
        support.wait_until(
            lambda: self.code(self.ask(server, self.message("HomeNSReq", server, join_eui, DevEUI=None))) ==
            "MalformedRequest", CHANGE_SECONDS, "the join server knows the route")

    def known_server(self):
        """A network server that the join server knows."""
        cls = type(self)
        if "first" not in cls.__dict__:
            cls.first = None
        if cls.first is None:
            cls.first = self.requester()
        return cls.first

    def requester(self):
        server = self.network_server(f"{next(_net_ids):06x}")
        question = self.message("HomeNSReq", server, support.DEMO_JOIN_EUI)
        support.wait_until(lambda: self.post(server, question)[0] == 200, CHANGE_SECONDS,
                           "the join server knows the network server")
        return server

    @staticmethod
    def message(kind, server, join_eui, **changes):
        message = {"ProtocolVersion": "1.0", "SenderID": server["net_id"], "ReceiverID": join_eui,
                   "MessageType": kind, "TransactionID": next(_transactions), "DevEUI": secrets.token_hex(8),
                   **changes}
        return {name: value for name, value in message.items() if value is not None}

    def join_req(self, server, partner, **changes):
        device = {"dev_eui": secrets.token_hex(8), "join_eui": partner.join_eui, "nwk_key": None, "mac_version": "1.0.3",
                  "app_key": secrets.token_hex(16)}
        return lorawan.join_req(device, 1, server["net_id"], **{"TransactionID": next(_transactions), **changes})

    def post(self, server, message, **headers):
        status, said_headers, said = support.http(
            "POST", self.joinserver.url, json.dumps(message).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {server['token']}", **headers})
        return status, said_headers, json.loads(said) if said else None

    def ask(self, server, message, **headers):
        status, _, answer = self.post(server, message, **headers)
        self.assertEqual(status, 200, answer)
        return answer

    @staticmethod
    def code(answer):
        return answer["Result"]["ResultCode"]

    def metrics(self):
        _, _, body = support.http("GET", self.joinserver.url + "metrics")
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                for line in body.decode().splitlines() if line[0] != "#"}

    def count(self, partner, outcome):
        return self.metrics().get(
            f'cradle_partner_requests_total{{partner="{partner.name}",id="{partner.id}",outcome="{outcome}"}}', 0)

    def told(self, partner, server, message_type, outcome, result_code=None):
        """What the operator is told of it, when he is; and nobody else is told anything."""
        def found():
            return [item for item in self.refusals("operator") if (item.get("partner"), item["sender_net_id"]) ==
                    (partner.name, server["net_id"])]
        items = support.wait_until(found, CHANGE_SECONDS, "the operator is told")
        self.assertEqual(len(items), 1, items)
        item = items[0]
        self.assertEqual((item["side"], item["message_type"], item["outcome"], item["result_code"], item["by"], item["count"]),
                         ("carried", message_type, outcome, result_code, "partner", 1))
        self.assertEqual((item["join_euis"], item["sender_as_id"]), ({"prefix": partner.join_eui, "bits": 64}, None))
        self.assertTrue(all(item["explanation"].values()))
        self.assertEqual([item for item in self.refusals("owner") if item["side"] == "carried"], [])
        return item

    def refusals(self, role):
        status, _, page = Rest(self.stack, self.stack.demo["clients"][role]).call("get", "/v1/roaming/refusals?limit=1000")
        self.assertEqual(status, 200, page)
        return page["items"]

    def logged(self):
        with open(self.joinserver.log, encoding="utf-8", errors="replace") as file:
            return file.read()


class Carrying(ForwardTest):
    def test_a_join_is_carried_with_all_its_members_and_its_answer_back(self):
        partner, server = self.partner(), self.requester()
        request = self.join_req(server, partner, SenderToken="0aBB", Unknown={"x": [1, None, "é"]},
                                VSExtension={"VendorID": "00000a", "Object": {"a": 1}})
        partner.say = [lambda m: answer_to(m, VSExtension={"VendorID": "00000b"}, Own=[1, 2.5],
                                           SenderToken="77")]
        answer = self.ask(server, request)
        carried = partner.wait(1)[0]
        self.assertNotEqual(carried.message["TransactionID"], request["TransactionID"])
        self.assertEqual(carried.message | {"TransactionID": request["TransactionID"]}, request)
        self.assertEqual(answer, answer_to(request, VSExtension={"VendorID": "00000b"}, Own=[1, 2.5],
                                           SenderToken="77"))
        self.assertEqual(carried.headers["Via"], "1.1 here")
        self.assertEqual(carried.certificate["subjectAltName"], (("URI", "urn:example:us"),))
        self.assertEqual(self.count(partner, "answered"), 1)

    def test_every_message_is_carried(self):
        partner, server = self.partner(), self.requester()
        rejoin = self.join_req(server, partner, MessageType="RejoinReq", DLSettings="80")
        rejoin["PHYPayload"] = ("c000" + bytes.fromhex(server["net_id"])[::-1].hex() +
                                lorawan.le(rejoin["DevEUI"]).hex() + "0100" + "01020304")
        as_id = f"as-{server['net_id']}"
        application = {"token": self.cradle("as", "add", "--as-id", as_id)["token"]}
        question = {"ProtocolVersion": "1.0", "SenderID": as_id, "ReceiverID": partner.join_eui,
                    "MessageType": "AppSKeyReq", "TransactionID": next(_transactions), "DevEUI": "ab" * 8,
                    "SessionKeyID": "beef"}
        support.wait_until(lambda: self.post(application, question)[0] == 200, CHANGE_SECONDS,
                           "the join server knows the application server")
        for who, request in ((server, rejoin), (application, question),
                             (server, self.message("HomeNSReq", server, partner.join_eui))):
            with self.subTest(kind=request["MessageType"]):
                self.assertEqual(self.ask(who, request), answer_to(request))
                carried = partner.requests[-1].message
                self.assertEqual(carried | {"TransactionID": request["TransactionID"]}, request)

    def test_versions_meet(self):
        server = self.requester()
        ns_id = "70b3d57ed0000042"
        derived = "0200000000" + server["net_id"]
        for version, theirs in (("1.0", "1.1"), ("1.1", "1.0"), ("1.1", "1.1")):
            with self.subTest(requester=version, partner=theirs):
                partner = self.partner(theirs)
                request = self.join_req(server, partner, ProtocolVersion=version, SenderToken="01",
                                        SenderNSID=ns_id if version == "1.1" else None)
                self.assertEqual(self.ask(server, request), answer_to(request))
                self.assertEqual(partner.requests[0].message.get("SenderNSID"),
                                 derived if theirs == "1.1" else None)
                for code, code_1_0, code_1_1 in (("FrameReplayed", "JoinReqFailed", "FrameReplayed"),
                                                 ("MalformedMessage", "MalformedRequest", "MalformedMessage"),
                                                 ("MICFailed", "MICFailed", "MICFailed"),
                                                 ("SomethingElse", "Other", "Other")):
                    partner.say = [lambda m, code=code: answer_to(m, code)]
                    self.assertEqual(self.code(self.ask(server, request)),
                                     code_1_0 if version == "1.0" else code_1_1)

    def test_an_ns_id_of_the_requesters_own_goes_on(self):
        net_id, ns_id = f"{next(_net_ids):06x}", "70b3d57ed0000077"
        token = self.cradle("ns", "add", "--name", f"ns-{net_id}", "--net-id", net_id, "--ns-id", ns_id)["token"]
        server, partner = {"net_id": net_id, "token": token}, self.partner("1.1")
        request = self.join_req(server, partner, ProtocolVersion="1.1", SenderNSID=ns_id)
        self.assertEqual(self.ask(server, request), answer_to(request))
        self.assertEqual(partner.requests[0].message["SenderNSID"], ns_id)

    def test_only_who_may_say_it_has_it_carried(self):
        partner, other, server = self.partner(), self.partner(), self.requester()
        stranger = self.requester()
        self.stack.psql(f"INSERT INTO partner_net_id (partner_id, net_id) VALUES ({partner.id}, "
                        f"'\\x{server['net_id']}')")
        support.wait_until(lambda: self.code(self.ask(stranger, self.message(
            "HomeNSReq", stranger, partner.join_eui))) == "UnkownReceiver", CHANGE_SECONDS,
            "the partner takes the requests of one network")
        n = len(partner.requests)
        for who, code, changes in ((server, "UnknownSender", {"SenderID": stranger["net_id"]}),
                                   (stranger, "UnkownReceiver", {"SenderID": stranger["net_id"]}),
                                   (server, "FrameSizeError", {"PHYPayload": "00"}),
                                   (server, "MalformedRequest", {"DevEUI": "00" * 8}),
                                   (server, "MalformedRequest", {"MessageType": "PRStartReq"}),
                                   (server, "InvalidProtocolVersion", {"ProtocolVersion": "2.0"})):
            with self.subTest(code=code, changes=changes):
                self.assertEqual(self.code(self.ask(who, self.join_req(server, partner, **changes))), code)
        with self.subTest("a frame of another partner's JoinEUI"):
            request = self.join_req(server, other)
            request["ReceiverID"] = partner.join_eui
            self.assertEqual(self.code(self.ask(server, request)), "UnkownReceiver")
        self.assertEqual((len(partner.requests), other.requests), (n, []))
        request = self.join_req(server, partner)
        self.assertEqual(self.ask(server, request), answer_to(request))

    def test_a_route_that_refuses_refuses(self):
        partner, server = self.partner(), self.requester()
        question = self.message("HomeNSReq", server, partner.join_eui)
        self.assertEqual(self.ask(server, question), answer_to(question))
        self.stack.psql("UPDATE join_route SET kind = 'refuse', partner_id = NULL WHERE prefix = "
                        f"'\\x{partner.join_eui}'")
        support.wait_until(lambda: self.code(self.ask(server, question)) == "UnkownReceiver", CHANGE_SECONDS,
                           "the route refuses")
        n = len(partner.requests)
        self.assertEqual(self.code(self.ask(server, question)), "UnkownReceiver")
        self.assertEqual(len(partner.requests), n)
        # The device is here: its owner hears why. The route is the longer one by a bit or more.
        device = self.stack.device("1.0.3")
        refused = f"{int(device['join_eui'], 16) ^ 1:016x}"
        add_route(self.stack, refused, "refuse")
        home = {"net_id": support.HOME, "token": self.stack.home["token"]}

        def reasons():
            self.ask(home, lorawan.join_req(device | {"join_eui": refused}, 1, support.HOME))
            return ["a route refuses this JoinEUI"] in self.stack.psql(
                f"SELECT reason FROM join_event WHERE dev_eui = '\\x{device['dev_eui']}'")
        support.wait_until(reasons, CHANGE_SECONDS, "the reason is recorded")

    def test_a_trace_goes_on_and_is_in_the_log_where_that_is_wanted(self):
        partner, server = self.partner(), self.requester()
        trace, quiet = secrets.token_hex(16), secrets.token_hex(16)
        for header in (f"00-{trace}-00f067aa0ba902b7-01", f"00-{quiet}-00f067aa0ba902b7-00", "nonsense"):
            self.ask(server, self.join_req(server, partner), traceparent=header)
        ids = [r.headers["traceparent"].split("-")[1] for r in partner.requests]
        self.assertEqual(ids[:2], [trace, quiet])
        self.assertNotIn("00f067aa0ba902b7", partner.requests[0].headers["traceparent"])
        said = self.logged()
        self.assertIn(f'partner="{partner.name}" result=Success trace={trace}', said)
        self.assertNotIn(quiet, said)
        self.assertNotIn("11" * 24, said)

    def test_a_request_that_was_here_or_has_come_far_goes_no_further(self):
        partner, server = self.partner(), self.requester()
        before = self.metrics()
        for via in ("1.1 here", "1.1 a, 1.1 HERE (us), 1.1 b", "1.1 a,1.1 b,1.1 c,1.1 d"):
            with self.subTest(via=via):
                answer = self.ask(server, self.join_req(server, partner), Via=via)
                self.assertEqual(self.code(answer), "UnkownReceiver")
        self.assertEqual(partner.requests, [])
        now = self.metrics()
        for reason, n in (("loop", 2), ("hops", 1)):
            name = f'cradle_carry_refused_total{{reason="{reason}"}}'
            self.assertEqual(now[name] - before[name], n)
        self.ask(server, self.join_req(server, partner), Via="1.1 a, 1.1 b, 1.1 c")
        self.assertEqual(partner.requests[0].headers["Via"], "1.1 a, 1.1 b, 1.1 c, 1.1 here")

    def test_two_servers_that_point_at_each_other_stop(self):
        server = self.requester()
        other = self.stack.second_joinserver(f"answers.directory={self.credentials}", "roaming.instance=there")
        self.addCleanup(other.stop)
        with open(os.path.join(self.credentials, "loop.header"), "w", encoding="ascii",
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(f"Bearer {server['token']}\n")
        join_eui = f"{next(_join_euis):016x}"
        add_route(self.stack, join_eui, "partner",
                  add_partner(self.stack, "loop", other.url, credential="loop", protocol_version="1.1"))
        self.wait_known(join_eui)
        question = self.message("HomeNSReq", server, join_eui)
        support.wait_until(lambda: self.code(self.ask(server, question)) == "UnkownReceiver" and b'loop"} 1' in
                           support.http("GET", other.url + "metrics")[2], CHANGE_SECONDS,
                           "the other one has carried it to itself, and seen that")

    def test_an_answer_with_a_key_in_clear_goes_over_mutual_tls_only(self):
        partner, demo = self.partner(), self.stack.demo
        server = demo["network_servers"][0]
        request = self.join_req(server, partner)
        partner.usual = lambda m: answer_to(m, NwkSKey={"KEKLabel": "", "AESKey": "44" * 16})
        answer = self.ask(server, request)
        self.assertEqual((self.code(answer), "NwkSKey" in answer), ("Other", False))
        status, _, said = support.https(
            "POST", f"https://127.0.0.1:{self.joinserver.tls_port}/", server,
            demo["join"]["ca"], json.dumps(request).encode(),
            {"Content-Type": "application/json"})
        self.assertEqual((status, json.loads(said)["NwkSKey"]["AESKey"]), (200, "44" * 16))
        self.assertEqual(self.count(partner, "clear_key"), 1)
        self.assertNotIn("44" * 16, self.logged())


class Refusing(ForwardTest):
    def test_what_a_partner_refuses_is_told_and_counted_by_its_code(self):
        server = self.requester()
        for said, code in (("NoRoamingAgreement", "NoRoamingAgreement"), ("FrameReplayed", "FrameReplayed"), ("Bewitched", "(unknown)")):
            with self.subTest(said):
                partner = self.partner()
                partner.say = [lambda m, said=said: answer_to(m, said)]
                self.ask(server, self.join_req(server, partner))
                self.told(partner, server, "JoinReq", "answered", code)
                self.assertEqual(self.answers(partner, code), 1)
                self.assertEqual(self.answers(partner, "Success"), 0)

    def test_a_success_is_counted_and_told_nobody(self):
        partner, other, server = self.partner(), self.partner(), self.requester()
        self.ask(server, self.join_req(server, partner))
        other.say = [lambda m: answer_to(m, "UnknownDevEUI")]
        self.ask(server, self.join_req(server, other))
        self.told(other, server, "JoinReq", "answered", "UnknownDevEUI")  # which came behind it
        self.assertEqual([item for item in self.refusals("operator") if item.get("partner") == partner.name], [])
        self.assertEqual(self.answers(partner, "Success"), 1)

    def test_an_application_server_is_told_by_its_id(self):
        partner, as_id = self.partner(), f"as-{secrets.token_hex(4)}"
        application = {"token": self.cradle("as", "add", "--as-id", as_id)["token"]}
        question = {"ProtocolVersion": "1.0", "SenderID": as_id, "ReceiverID": partner.join_eui, "MessageType": "AppSKeyReq",
                    "TransactionID": next(_transactions), "DevEUI": secrets.token_hex(8), "SessionKeyID": "beef"}
        support.wait_until(lambda: self.post(application, question)[0] == 200, CHANGE_SECONDS,
                           "the join server knows the application server")
        partner.say = [lambda m: answer_to(m, "UnknownDevEUI")]
        self.assertEqual(self.code(self.ask(application, question)), "UnknownDevEUI")
        item = support.wait_until(
            lambda: [i for i in self.refusals("operator") if i.get("sender_as_id") == as_id], CHANGE_SECONDS, "the operator is told")[0]
        self.assertEqual((item["sender_net_id"], item["message_type"], item["result_code"], item["partner"], item["count"]),
                         (None, "AppSKeyReq", "UnknownDevEUI", partner.name, 1))
        self.assertNotIn(question["DevEUI"], str(item))

    def test_what_goes_round_is_told(self):
        partner, server = self.partner(), self.requester()
        self.ask(server, self.join_req(server, partner), Via="1.1 here")
        self.told(partner, server, "JoinReq", "loop")

    def test_many_devices_and_codes_make_few_rows(self):
        partner, server = self.partner(), self.requester()
        for n in range(40):
            partner.say = [lambda m, n=n: answer_to(m, f"Bewitched{n}")]
            self.ask(server, self.join_req(server, partner))
        rows = (f"SELECT n FROM roaming_carried_refusal WHERE partner_id = {partner.id}")
        support.wait_until(lambda: self.stack.psql(rows) == [["40"]], CHANGE_SECONDS, "they are one row")

    def answers(self, partner, code):
        return self.metrics().get(
            f'cradle_partner_answers_total{{partner="{partner.name}",id="{partner.id}",code="{code}"}}', 0)


class Failing(ForwardTest):
    def fails(self, partner, server, outcome, logged=True, **changes):
        """One request, refused and counted."""
        before = self.count(partner, outcome)
        request = self.join_req(server, partner, **changes)
        answer = self.ask(server, request)
        self.assertEqual(self.code(answer), "Other", answer)
        self.assertEqual((answer["TransactionID"], answer["MessageType"], answer["ReceiverID"]),
                         (request["TransactionID"], "JoinAns", server["net_id"]))
        self.assertNotIn("PHYPayload", answer)
        self.assertEqual(self.count(partner, outcome), before + 1)
        if logged:
            self.assertIn(f'partner="{partner.name}" n=1 reason={outcome}', self.logged())

    def test_a_partner_that_lies_is_not_believed(self):
        server = self.requester()
        key = "55" * 24
        lies = {
            "not_json": [b"", b"[]", b"{", b'{"MessageType":"JoinAns","MessageType":"JoinAns"}', b"\xff"],
            "other_message": [lambda m: answer_to(m, MessageType="RejoinAns"), lambda m: m],
            "other_transaction": [lambda m: answer_to(m, TransactionID=m["TransactionID"] + 1),
                                  lambda m: answer_to(m, TransactionID=None),
                                  lambda m: answer_to(m, TransactionID=str(m["TransactionID"]))],
            "other_ids": [lambda m: answer_to(m, SenderID="ab" * 8), lambda m: answer_to(m, ReceiverID="000013"),
                          lambda m: answer_to(m, SenderID=None)],
            "no_result": [lambda m: answer_to(m, Result=None), lambda m: answer_to(m, Result="Success"),
                          lambda m: answer_to(m, Result={"ResultCode": ""})],
            "incomplete": [lambda m: answer_to(m, PHYPayload=None)],
            "other_version": [lambda m: answer_to(m, "InvalidProtocolVersion")],
            "cut": [lambda m: answer_to(m, Padding="x" * 16384), (200, b" " * 16385)],
            "refused": [400, 404, 302, 500, (403, b'{"Result":{"ResultCode":"Success"}}')],
            "failing": [502, 503, 429],
            "unreachable": [Close],
        }
        for outcome, said in lies.items():
            for n, lie in enumerate(said):
                partner = self.partner()
                with self.subTest(outcome=outcome, n=n):
                    partner.say = [(lambda m, lie=lie: lie(m) | {"Secret": key}) if callable(lie) and
                                   lie is not Close else lie]
                    self.fails(partner, server, outcome)
                    request = self.join_req(server, partner)
                    self.assertEqual(self.ask(server, request), answer_to(request))
                    self.assertEqual(len(partner.requests), 2)
        self.assertNotIn(key, self.logged())

    def test_an_answer_that_breaks_off_is_none(self):
        partner, server = self.partner(), self.requester()
        def broken(message):
            text = json.dumps(answer_to(message)).encode()
            return (200, text[:len(text) // 2], len(text))
        partner.say = [broken]
        self.fails(partner, server, "cut")

    def test_a_partner_that_is_down_is_unreachable(self):
        server = self.requester()
        partner = self.partner()
        partner.close()
        self.fails(partner, server, "unreachable")
        self.told(partner, server, "JoinReq", "unreachable")

    def test_only_a_partner_with_the_right_certificate_gets_anything(self):
        server = self.requester()
        expired = self.theirs.expired("expired", "IP:127.0.0.1")
        for certificate in (make_server_certificate(self.theirs, "name", "DNS:other.example"),
                            make_server_certificate(self.ours, "foreign"),
                            make_server_certificate(self.theirs, "purpose", purpose="clientAuth"), expired):
            with self.subTest(certificate=certificate["cert"]):
                partner = self.partner(certificate=certificate)
                self.fails(partner, server, "untrusted")
                self.assertEqual(partner.requests, [])

    def test_without_its_credential_or_a_safe_url_nothing_is_sent(self):
        server = self.requester()
        self.fails(self.partner(credential="missing"), server, "credential")
        partner = self.partner()
        self.stack.psql(f"UPDATE partner SET url = 'http://js.example/' WHERE id = {partner.id}")
        support.wait_until(lambda: self.code(self.ask(server, self.join_req(server, partner))) == "Other",
                           CHANGE_SECONDS, "the URL is not used")
        self.assertGreater(self.count(partner, "url"), 0)

    def test_what_one_requester_brings_about_keeps_nobody_else_from_a_partner(self):
        partner, server = self.partner(), self.requester()
        partner.usual = 500  # as some join servers answer who has no KEK there
        for n in range(6):
            self.fails(partner, server, "refused", logged=False)
        self.assertEqual(len(partner.requests), 6)
        partner.usual = answer_to
        request = self.join_req(server, partner)
        self.assertEqual(self.ask(server, request), answer_to(request))

    def test_a_request_is_sent_once(self):
        partner, server = self.partner(), self.requester()
        for n in range(3):  # so that connections are kept
            self.ask(server, self.join_req(server, partner))
        self.assertEqual(partner.n_connections, 1)
        partner.say = [Close]
        self.fails(partner, server, "unreachable")
        self.assertEqual(len(partner.requests), 4)
        request = self.join_req(server, partner)
        first = self.ask(server, request)
        again = self.ask(server, request | {"TransactionID": next(_transactions)})
        self.assertEqual(first | {"TransactionID": again["TransactionID"]}, again)
        self.assertEqual(len(partner.requests), 6)  # what the requester asks again is carried again

    def test_a_partner_that_fails_is_left_alone_until_a_probe_finds_it_well(self):
        partner, server = self.partner(), self.requester()

        def state():
            name = f'cradle_partner_breaker{{partner="{partner.name}",id="{partner.id}",state="%s"}}'
            return [s for s in ("closed", "open", "half_open") if self.metrics().get(name % s)]
        partner.usual = 503
        for n in range(5):
            self.assertEqual(state(), ["closed"] if n else [])
            self.fails(partner, server, "failing", logged=False)
        self.assertEqual(state(), ["open"])
        n_asked = 5

        def ask():
            nonlocal n_asked
            n_asked += 1
            return self.code(self.ask(server, self.join_req(server, partner)))

        def n_carried():
            return n_asked - self.count(partner, "open")
        # Nothing reaches it but a probe in a while, which fails, and then one that does not.
        support.wait_until(lambda: ask() and n_carried() < n_asked, CHANGE_SECONDS, "it is left alone")
        support.wait_until(lambda: ask() and len(partner.requests) > 5, CHANGE_SECONDS, "a probe is sent")
        self.assertEqual(state(), ["open"])
        partner.usual = answer_to
        support.wait_until(lambda: ask() == "Success", CHANGE_SECONDS, "the partner is found well")
        self.assertEqual((len(partner.requests), state()), (n_carried(), ["closed"]))


    def test_one_that_was_revoked_is_told_of_no_more(self):
        partner, server = self.partner(), self.requester()
        partner.usual = 503
        for n in range(5):
            self.fails(partner, server, "failing", logged=False)

        def told():
            return [name for name in self.metrics() if f'id="{partner.id}"' in name]
        self.assertIn(f'cradle_partner_breaker{{partner="{partner.name}",id="{partner.id}",state="open"}}', told())
        self.stack.psql(f"DELETE FROM join_route WHERE partner_id = {partner.id}")
        self.stack.psql(f"UPDATE partner SET revoked_at = now() WHERE id = {partner.id}")
        support.wait_until(lambda: not told(), CHANGE_SECONDS, "nothing is told of it")


class Hanging(ForwardTest):
    def test_who_does_not_answer_in_time_is_given_up(self):
        partner, server = self.partner(timeout_ms=500), self.requester()
        partner.usual = Hang
        self.assertEqual(self.code(self.ask(server, self.join_req(server, partner))), "Other")
        self.assertEqual(self.count(partner, "timeout"), 1)

    def test_a_slow_requester_takes_none_of_the_partners_time(self):
        hanging, partner, server = self.partner(timeout_ms=200), self.partner(timeout_ms=200), self.requester()
        hanging.usual = Hang
        request = self.join_req(server, partner)
        body = json.dumps(request).encode()
        host, port = self.joinserver.url.split("/")[2].split(":")
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=support.HTTP_SECONDS)) as slow:
            slow.putrequest("POST", "/")
            for name, value in (("Authorization", f"Bearer {server['token']}"), ("Content-Type", "application/json"),
                                ("Content-Length", str(len(body)))):
                slow.putheader(name, value)
            slow.endheaders(body[:1])
            # As long as a partner has: a request that came later was given up.
            self.assertEqual(self.code(self.ask(server, self.join_req(server, hanging))), "Other")
            self.assertEqual(self.count(hanging, "timeout"), 1)
            slow.send(body[1:])
            self.assertEqual(json.loads(slow.getresponse().read()), answer_to(request))

    def test_a_hanging_partner_has_its_places_and_a_requester_its_share_of_them(self):
        partner, well = self.partner(timeout_ms=4000, max_in_flight=4), self.partner()
        server, other = self.requester(), self.requester()
        partner.usual = Hang
        device = self.stack.device("1.0.3")
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            held = [pool.submit(self.ask, server, self.join_req(server, partner)) for _ in range(3)]
            partner.wait(3)
            self.assertEqual(self.code(self.ask(server, self.join_req(server, partner))), "Other")
            self.assertEqual((self.count(partner, "full"), len(partner.requests)), (1, 3))
            held.append(pool.submit(self.ask, other, self.join_req(other, partner)))
            partner.wait(4)
            self.assertEqual(self.metrics()[
                f'cradle_partner_in_flight{{partner="{partner.name}",id="{partner.id}"}}'], 4)
            # Everybody else is answered meanwhile.
            request = self.join_req(server, well)
            self.assertEqual(self.ask(server, request), answer_to(request))
            self.assertTrue(self.stack.join(device, url=self.joinserver.url).get("agree"))
            self.assertEqual([h.done() for h in held], [False] * 4)
            partner.ending.set()
            self.assertEqual([self.code(h.result()) for h in held], ["Other"] * 4)
        self.assertEqual(self.metrics()[
            f'cradle_partner_in_flight{{partner="{partner.name}",id="{partner.id}"}}'], 0)


class Async(ForwardTest):
    def async_partner(self, **columns):
        token = secrets.token_hex(32)
        partner = self.partner(is_async=True, token_hash="\\x" + hashlib.sha256(token.encode()).hexdigest(),
                               **columns)
        partner.token, partner.usual = token, 202
        return partner

    def answer(self, partner, message, **changes):
        status, _, body = self.post({"token": partner.token}, answer_to(message, **changes))
        self.assertEqual((status, body), (200, None))

    def answered_at(self, receiver, server):
        self.stack.psql(f"UPDATE peer SET answer_url = '{receiver.url}' WHERE name = 'ns-{server['net_id']}'"
                        " AND kind = 'network_server' AND revoked_at IS NULL")
        support.wait_until(lambda: self.post(server, self.message(
            "HomeNSReq", server, support.DEMO_JOIN_EUI))[2] is None, CHANGE_SECONDS, "the answer URL is known")

    def unmatched(self):
        return self.metrics()["cradle_partner_answers_unmatched_total"]

    def test_its_answer_comes_as_a_request_of_its_own(self):
        partner, other, server = self.async_partner(), self.async_partner(), self.requester()
        unmatched = self.unmatched()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            request = self.join_req(server, partner)
            answer = pool.submit(self.ask, server, request)
            carried = partner.wait(1)[0].message
            # Another's word, another transaction and no answer at all are nothing.
            self.answer(other, carried)
            self.answer(partner, carried | {"TransactionID": (carried["TransactionID"] + 1) % 2**32})
            self.assertEqual(self.post({"token": partner.token}, carried)[0], 200)
            self.assertEqual(self.post({"token": partner.token}, [])[0], 200)
            self.assertEqual(self.unmatched(), unmatched + 4)
            self.assertFalse(answer.done())
            self.answer(partner, carried)
            self.assertEqual(answer.result(), answer_to(request))
            self.answer(partner, carried)
            self.assertEqual(self.unmatched(), unmatched + 5)
        self.assertEqual(self.post({"token": secrets.token_hex(32)}, answer_to(carried))[0], 401)

    def test_its_answer_may_be_there_before_it_says_so(self):
        partner, server = self.async_partner(), self.requester()

        def early(message):
            self.answer(partner, message)
            return 202
        partner.say = [early]
        request = self.join_req(server, partner)
        self.assertEqual(self.ask(server, request), answer_to(request))

    def test_what_it_does_not_take_or_answer_or_answers_wrongly_is_refused(self):
        partner, silent, server = self.async_partner(), self.async_partner(timeout_ms=500), self.requester()
        partner.say = [503]
        self.assertEqual(self.code(self.ask(server, self.join_req(server, partner))), "Other")
        self.assertEqual(self.count(partner, "failing"), 1)
        self.assertEqual(self.code(self.ask(server, self.join_req(server, silent))), "Other")
        self.assertEqual(self.count(silent, "timeout"), 1)

        def lying(message):
            self.answer(partner, message, SenderID="ab" * 8)
            return 202
        def too_much(message):
            self.answer(partner, message, Padding="x" * 16384)
            return 202
        for say, outcome in ((lying, "other_ids"), (too_much, "cut")):
            partner.say = [say]
            self.assertEqual(self.code(self.ask(server, self.join_req(server, partner))), "Other")
            self.assertEqual(self.count(partner, outcome), 1)

    def test_it_may_be_known_by_its_certificate(self):
        with open(self.theirs.pem, encoding="ascii") as file:
            anchor = file.read()
        identity = self.theirs.client(f"answers-{secrets.token_hex(4)}", "URI:urn:example:partner")
        stranger = self.ours.client(f"stranger-{secrets.token_hex(4)}", "URI:urn:example:partner")
        partner, server = self.async_partner(san="urn:example:partner", trust_anchor=anchor), self.requester()
        ca, url = self.stack.demo["join"]["ca"], f"https://127.0.0.1:{self.joinserver.tls_port}/"

        def post(who, message):
            return support.https("POST", url, who, ca, json.dumps(answer_to(message)).encode(),
                                 {"Content-Type": "application/json"})[::2]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            request = self.join_req(server, partner)
            answer = pool.submit(self.ask, server, request)
            carried = partner.wait(1)[0].message
            with self.assertRaises(OSError):
                post(stranger, carried)
            self.assertFalse(answer.done())
            self.assertEqual(post(identity, carried), (200, b""))
            self.assertEqual(answer.result(), answer_to(request))

    def test_both_sides_may_be_asynchronous(self):
        partner, server, receiver = self.async_partner(), self.requester(), Receiver()
        self.addCleanup(receiver.close)
        self.answered_at(receiver, server)
        for say in (None, 503):
            with self.subTest(say=say):
                partner.say = [say] if say else []
                request = self.join_req(server, partner, SenderToken="aa")
                self.assertEqual(self.post(server, request)[::2], (200, None))
                if say is None:
                    self.answer(partner, partner.wait(1)[0].message)
                answer = receiver.answer(request["TransactionID"])
                if say is None:
                    self.assertEqual(answer, answer_to(request))
                else:
                    self.assertEqual(self.code(answer), "Other")
        support.wait_until(lambda: self.metrics()["cradle_join_answers_waiting"] == 0, ANSWER_SECONDS,
                           "no answer waits")

    def test_there_is_time_left_to_post_what_is_said_of_a_partner_that_hangs(self):
        partner, server, receiver = self.partner(timeout_ms=4000), self.requester(), Receiver()
        self.addCleanup(receiver.close)
        partner.usual = Hang
        self.answered_at(receiver, server)
        request = self.join_req(server, partner)
        self.assertEqual(self.post(server, request)[::2], (200, None))
        self.assertEqual(self.code(receiver.answer(request["TransactionID"])), "Other")
        self.assertEqual(self.count(partner, "timeout"), 1)


class Stopping(ForwardTest):
    def test_what_is_on_its_way_is_answered_before_the_end(self):
        partner, server = self.partner(timeout_ms=4000), self.requester()
        asynchronous = Async.async_partner(self, timeout_ms=4000)

        def stopping(message):
            self.joinserver.process.terminate()
            support.wait_until(lambda: self.post(server, request)[0] == 503, CHANGE_SECONDS,
                               "nothing new is taken")
            Async.answer(self, asynchronous, asynchronous.wait(1)[0].message)
            return answer_to(message)
        partner.say = [stopping]
        request, waiting = self.join_req(server, partner), self.join_req(server, asynchronous)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            second = pool.submit(self.ask, server, waiting)
            asynchronous.wait(1)
            self.assertEqual(self.ask(server, request), answer_to(request))
            self.assertEqual(second.result(), answer_to(waiting))
        self.assertEqual(self.joinserver.process.wait(support.STOP_SECONDS), 0)


class StoppingInVain(ForwardTest):
    def test_a_partner_that_hangs_does_not_hold_the_end_up(self):
        partner, server = self.partner(timeout_ms=4000), self.requester()
        partner.say = [Hang]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.ask, server, self.join_req(server, partner))
            partner.wait(1)
            self.joinserver.process.terminate()
            self.assertEqual(self.code(answer.result()), "Other")
        self.assertEqual(self.joinserver.process.wait(support.STOP_SECONDS), 0)
