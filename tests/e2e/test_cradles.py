"""Roaming between whole Cradles: a home, a visited one and a hub, each on an address of its own, over mutual TLS."""
import contextlib
import itertools
import os
import re
import shutil
import signal
import unittest

import cradles
import lorawan
import support
from certificates import Ca
from cradles import CHANGE_SECONDS, HOME_NET_ID, HUB_NET_ID, VISITED_NET_ID

VERSIONS = ("1.0.2", "1.0.3", "1.0.4", "1.1")
BREAKER_SECONDS = 60  # longer than an open breaker waits for its next probe

_transactions = itertools.count(5000)


class CradlesTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home, cls.visited, cls.hub = cradles.shared()

    def request(self, device, **changes):
        """A JoinReq of the visited network for a device of the home Cradle."""
        return lorawan.join_req(device, self.home.next_nonce(device), VISITED_NET_ID,
                                **{"TransactionID": next(_transactions), **changes})

    def question(self, kind, device, **members):
        """An AppSKeyReq or HomeNSReq of the visited network."""
        return {"ProtocolVersion": "1.0", "SenderID": VISITED_NET_ID, "ReceiverID": device["join_eui"],
                "TransactionID": next(_transactions), "MessageType": kind, "DevEUI": device["dev_eui"], **members}

    def wait_code(self, cradle, code, message, server=None):
        support.wait_until(lambda: cradle.code(message, server) == code, CHANGE_SECONDS, f"{cradle.role} says {code}")

    def assert_joined(self, answer):
        self.assertTrue(answer["agree"], answer)

    def wait_served(self, version="1.0.3"):
        """Until a device of the home Cradle joins in the visited network."""
        device = self.home.device(version)

        answers = []

        def joined():
            answers.append(self.visited.serve(device, self.home))
            return answers[-1].get("agree")
        try:
            support.wait_until(joined, BREAKER_SECONDS, "a device joins away from home")
        except AssertionError:
            self.fail(answers[-1])
        return device


class Alone(CradlesTest):
    def test_each_answers_for_its_own_devices_and_knows_nothing_of_the_others(self):
        for cradle in (self.home, self.visited, self.hub):
            with self.subTest(cradle.role):
                device = cradle.device("1.0.3")
                self.assert_joined(cradle.join(device))
                self.assert_joined(cradle.join(device, tls=True))
        stranger = dict(self.home.device("1.0.3"), join_eui="02cdcdff00000001")
        self.assertEqual(self.hub.code(lorawan.join_req(stranger, 1, HUB_NET_ID)), "UnkownReceiver")


class Roaming(CradlesTest):
    """The home Cradle knows the visited one and has an agreement with its network; the visited one has a route to it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.connect()

    @classmethod
    def connect(cls):
        home, visited = cls.home, cls.visited
        if home.connected:
            return
        home.accept(visited, VISITED_NET_ID)
        home.hand_over("--ns", VISITED_NET_ID, visited.home["kek_label"], bytes.fromhex(visited.home["kek"]))
        home.connected = home.agree(HOME_NET_ID, VISITED_NET_ID)
        visited.add_partner(home)
        visited.add_route(home.join_euis, "home")


class Away(Roaming):
    def test_devices_of_every_version_join_and_all_keys_agree(self):
        self.wait_served()
        for version in VERSIONS:
            for tls in (False, True):
                with self.subTest(version, tls=tls):
                    self.assert_joined(self.visited.serve(self.home.device(version), self.home, tls=tls))

    def test_each_key_is_for_one_reader(self):
        device = self.wait_served("1.0.3")
        message = self.request(device)
        answer = self.visited.ask(message)
        self.assertEqual(answer["Result"]["ResultCode"], "Success", answer)
        self.assertEqual((answer["SenderID"], answer["ReceiverID"], answer["TransactionID"]),
                         (message["ReceiverID"], VISITED_NET_ID, message["TransactionID"]))
        nonce = int.from_bytes(bytes.fromhex(message["PHYPayload"])[17:19], "little")
        accept = lorawan.open_accept(device, answer["PHYPayload"], nonce)
        self.assertEqual(accept["net_id"], VISITED_NET_ID)
        wanted = lorawan.session_keys(device, accept["join_nonce"], nonce, VISITED_NET_ID)
        application, network = self.home.application_server(), self.visited.home
        for name, reader, others in (("NwkSKey", network, (application, self.home.home)),
                                     ("AppSKey", application, (network, self.home.home))):
            with self.subTest(name):
                envelope = answer[name]
                self.assertEqual(envelope["KEKLabel"], reader["kek_label"])
                wrapped = bytes.fromhex(envelope["AESKey"])
                self.assertEqual(lorawan.unwrap(bytes.fromhex(reader["kek"]), wrapped), wanted[name])
                self.assertEqual([lorawan.unwrap(bytes.fromhex(other["kek"]), wrapped) for other in others], [None, None])

    def test_a_retry_is_carried_and_answered_alike_and_costs_one_join(self):
        device = self.wait_served("1.0.4")
        message = self.request(device)
        answers = [self.visited.ask({**message, "TransactionID": next(_transactions)}) for _ in range(2)]
        self.assertNotEqual(answers[0].pop("TransactionID"), answers[1].pop("TransactionID"))
        self.assertEqual(answers[0]["Result"]["ResultCode"], "Success")
        self.assertEqual(answers[0], answers[1])
        events = self.home.psql(f"SELECT count(*) FROM join_event WHERE dev_eui = '\\x{device['dev_eui']}' AND outcome = 'success'")
        self.assertEqual(events, [["2"]])  # that of wait_served, and one
        replayed = self.visited.ask({**message, "RxDelay": 5, "TransactionID": next(_transactions)})
        self.assertEqual(replayed["Result"]["ResultCode"], "JoinReqFailed")

    def test_who_is_home_is_told(self):
        device = self.wait_served()
        answer = self.visited.ask(self.question("HomeNSReq", device))
        self.assertEqual((answer["Result"]["ResultCode"], answer["HNetID"]), ("Success", HOME_NET_ID))
        stranger = dict(device, dev_eui="02cdcdfffffffff1")
        refused = self.visited.ask(self.question("HomeNSReq", stranger))
        self.assertEqual(refused["Result"]["ResultCode"], "NoRoamingAgreement")
        self.assertNotIn("HNetID", refused)

    def test_a_device_rejoins_away_from_home(self):
        device = self.wait_served("1.1")
        for rj_count, rejoin_type in enumerate((1, 1)):
            frame = lorawan.rejoin_request(device, rejoin_type, rj_count)
            answer = self.visited.ask(lorawan.rejoin_req(device, frame, VISITED_NET_ID, next(_transactions)))
            self.assertEqual((answer["MessageType"], answer["Result"]["ResultCode"]), ("RejoinAns", "Success"))
            accept = lorawan.open_accept(device, answer["PHYPayload"], rj_count, rejoin_type)
            wanted = lorawan.session_keys(device, accept["join_nonce"], rj_count)
            for name in ("FNwkSIntKey", "SNwkSIntKey", "NwkSEncKey"):
                opened = lorawan.unwrap(bytes.fromhex(self.visited.home["kek"]), bytes.fromhex(answer[name]["AESKey"]))
                self.assertEqual(opened, wanted[name], name)
        # And by the session that it has from there.
        frame = lorawan.rejoin_request(device, 0, 0, VISITED_NET_ID, wanted["SNwkSIntKey"])
        answer = self.visited.ask(lorawan.rejoin_req(device, frame, VISITED_NET_ID, next(_transactions)))
        self.assertEqual(answer["Result"]["ResultCode"], "Success", answer)
        self.assertIsNotNone(lorawan.open_accept(device, answer["PHYPayload"], 0, 0))

    def test_an_application_server_gets_its_key_through_the_visited_cradle(self):
        # To the home Cradle it is another peer than the network server, and so the visited one shows another certificate.
        as_id, application = self.home.as_id, self.home.application_server()
        token = self.visited.must("as", "add", "--as-id", as_id)["token"]
        self.addCleanup(self.visited.must, "as", "revoke", "--as-id", as_id)
        device = self.wait_served("1.0.3")
        joined = self.visited.ask(self.request(device))
        question = self.question("AppSKeyReq", device, SenderID=as_id, SessionKeyID=joined["SessionKeyID"])
        server = {"token": token}
        support.wait_until(lambda: self.visited.post_join({}, token=token)[0] != 401, CHANGE_SECONDS, "the application server is known")
        self.assertEqual(self.visited.code(question, server), "UnknownSender")  # by the network's certificate
        self.home.certificate(f"home.{as_id}", f"urn:cradle:asid:{as_id}", self.visited.path("credentials"))
        shutil.copy(self.home.ca, self.visited.path("credentials", f"home.{as_id}.ca"))
        self.wait_code(self.visited, "Success", question, server)
        answer = self.visited.ask(question, server)
        self.assertEqual((answer["MessageType"], answer["AppSKey"]["KEKLabel"]), ("AppSKeyAns", application["kek_label"]))
        opened = [lorawan.unwrap(bytes.fromhex(application["kek"]), bytes.fromhex(a["AppSKey"]["AESKey"])) for a in (joined, answer)]
        self.assertIsNotNone(opened[0])
        self.assertEqual(opened[0], opened[1])

    def test_a_wrong_mic_and_an_unknown_device_come_back_as_home_says(self):
        device = self.wait_served("1.0.3")
        wrong = self.request(device)
        wrong["PHYPayload"] = wrong["PHYPayload"][:-8] + "00000000"
        self.assertEqual(self.visited.code(wrong), "MICFailed")
        self.assertEqual(self.visited.code(self.request(dict(device, dev_eui="02cdcdfffffffff2"))), "UnknownDevEUI")

    def test_a_sender_speaks_for_its_own_network_here_before_anything_is_carried(self):
        device = self.wait_served()
        for sender in (HOME_NET_ID, HUB_NET_ID):
            self.assertEqual(self.visited.code(self.request(device, SenderID=sender)), "UnknownSender")

    def test_one_trace_id_is_in_the_logs_of_both(self):
        device = self.wait_served()
        trace_id = f"{next(_transactions):032x}"
        answer = self.visited.ask(self.request(device), headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
        self.assertEqual(answer["Result"]["ResultCode"], "Success")
        for cradle in (self.visited, self.home):
            support.wait_until(lambda c=cradle: trace_id in c.said_by("joinserver"), CHANGE_SECONDS,
                               f"{cradle.role} has logged {trace_id}")

    def test_no_key_and_no_frame_is_in_a_log(self):
        device = self.wait_served("1.0.3")
        message = self.request(device)
        answer = self.visited.ask(message)
        words = [device["app_key"], message["PHYPayload"], answer["PHYPayload"], answer["NwkSKey"]["AESKey"], answer["AppSKey"]["AESKey"]]
        for cradle in (self.visited, self.home):
            said = cradle.said_by("joinserver").lower()
            for word in words:
                self.assertNotIn(word.lower(), said)


class Agreements(Roaming):
    """What two networks have agreed upon is known at home alone, and heard of through the visited Cradle."""

    PAST = ("--starts-at", "2020-01-01T00:00:00Z", "--ends-at", "2020-02-01T00:00:00Z")
    TO_COME = ("--starts-at", "2099-01-01T00:00:00Z", "--ends-at", "never")
    RUNNING = ("--starts-at", "2020-01-01T00:00:00Z", "--ends-at", "never", "--allows", "activation,home_ns")

    def setUp(self):
        self.addCleanup(self.set, *self.RUNNING)

    def set(self, *terms):
        self.home.must("agreement", "set", self.home.connected, *terms)

    def refusals(self, reason, service):
        """How many of network 000024 the home Cradle's operator is told of."""
        return sum(line["count"] for line in self.home.must_lines("refusals") if (
            line["side"], line["sender_net_id"], line.get("home_net_id"), line.get("reason"), line.get("service")) ==
            ("home", VISITED_NET_ID, HOME_NET_ID, reason, service))

    def carried(self, message_type, result_code):
        """What the visited Cradle's operator is told of it."""
        return [line for line in self.visited.must_lines("refusals") if (
            line["side"], line.get("message_type"), line.get("outcome"), line.get("result_code")) ==
            ("carried", message_type, "answered", result_code)]

    def test_without_one_that_runs_a_device_is_as_unknown_as_one_that_is_not_here(self):
        for terms, reason in ((self.PAST, "ended"), (self.TO_COME, "not_begun")):
            with self.subTest(reason):
                device = self.wait_served()
                told = {service: self.refusals(reason, service) for service in ("activation", "home_ns")}
                self.set(*terms)
                stranger = dict(device, dev_eui="02cdcdfffffffff3")
                self.wait_code(self.visited, "UnknownDevEUI", self.request(device))
                answers = [self.visited.ask(self.request(d)) for d in (device, stranger)]
                for answer in answers:
                    answer.pop("TransactionID")
                self.assertEqual(answers[0], answers[1])
                answers = [self.visited.ask(self.question("HomeNSReq", d)) for d in (device, stranger)]
                for answer in answers:
                    answer.pop("TransactionID")
                self.assertEqual(answers[0], answers[1])
                self.assertEqual(answers[0]["Result"]["ResultCode"], "NoRoamingAgreement")
                support.wait_until(lambda r=reason, t=told: self.refusals(r, "activation") > t["activation"] and
                                   self.refusals(r, "home_ns") > t["home_ns"], CHANGE_SECONDS, "the home operator is told")
                self.set(*self.RUNNING)

    def test_one_about_home_ns_alone_tells_who_is_home_and_lets_nobody_join(self):
        device = self.wait_served()
        self.set("--allows", "home_ns")
        self.wait_code(self.visited, "UnknownDevEUI", self.request(device))
        answer = self.visited.ask(self.question("HomeNSReq", device))
        self.assertEqual((answer["Result"]["ResultCode"], answer["HNetID"]), ("Success", HOME_NET_ID))

    def test_a_group_is_as_good_as_a_pair(self):
        self.set(*self.PAST)
        self.home.must("group", "add", "alliance", f"{HOME_NET_ID},{VISITED_NET_ID}")
        self.addCleanup(self.home.must, "group", "remove", "alliance")
        made = self.home.must("agreement", "add", "--group", "alliance", "--allows", "activation")
        self.addCleanup(self.home.must, "agreement", "remove", str(made["id"]))
        device = self.wait_served("1.1")
        self.wait_code(self.visited, "NoRoamingAgreement", self.question("HomeNSReq", device))

    def test_an_agreement_that_has_ended_is_seen_on_both_sides_each_with_what_it_may_know(self):
        device = self.wait_served()
        self.set(*self.PAST)
        self.wait_code(self.visited, "UnknownDevEUI", self.request(device))
        at_home = self.refusals("ended", "activation")
        told = sum(line["count"] for line in self.carried("JoinReq", "UnknownDevEUI"))
        self.assertEqual(self.visited.code(self.request(device)), "UnknownDevEUI")
        support.wait_until(lambda: self.refusals("ended", "activation") > at_home, CHANGE_SECONDS, "the home operator is told why")
        lines = support.wait_until(
            lambda: [line for line in self.carried("JoinReq", "UnknownDevEUI") if line["count"] > told], CHANGE_SECONDS,
            "the visited operator is told what came back")
        self.assertEqual(len(lines), 1)
        prefix, bits = self.home.join_euis.split("/")
        self.assertEqual((lines[0]["sender_net_id"], lines[0]["by"], lines[0]["partner"], lines[0]["join_euis"]),
                         (VISITED_NET_ID, "partner", "home", {"prefix": prefix, "bits": int(bits)}))
        self.assertIn("agreement", lines[0]["explanation"]["why"])
        # Neither the device, nor that it has a home there, nor why.
        said = str([line for line in self.visited.must_lines("refusals") if line["side"] == "carried"])
        for secret in (device["dev_eui"], "home_net_id", "'ended'"):
            self.assertNotIn(secret, said)
        # Nobody's request was carried by home.
        self.assertEqual([line for line in self.home.must_lines("refusals") if line["side"] == "carried"], [])
        _, _, page = support.http("GET", self.visited.join_url + "metrics")
        self.assertRegex(page.decode(), r'\ncradle_partner_answers_total{partner="home",id="\d+",code="UnknownDevEUI"} \d+\n')

    def test_the_visited_operator_finds_what_home_said_in_its_log(self):
        device = self.wait_served()
        self.set(*self.PAST)
        self.wait_code(self.visited, "UnknownDevEUI", self.request(device))
        trace_id = f"{next(_transactions):032x}"
        answer = self.visited.ask(self.request(device), headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
        self.assertEqual(answer["Result"]["ResultCode"], "UnknownDevEUI")
        line = support.wait_until(lambda: [x for x in self.visited.said_by("joinserver").splitlines() if trace_id in x and "carried" in x],
                                  CHANGE_SECONDS, "the visited Cradle has logged it")[0]
        self.assertIn('partner="home" result=UnknownDevEUI', line)
        self.assertIn("type=JoinReq", line)


class Hub(Roaming):
    """The visited Cradle sends what it does not know to a hub, and the hub knows where home is."""

    PREFIX, JOIN_EUI = "02cdcd02ff000000/40", "02cdcd02ff000001"
    NOBODYS, NOBODYS_JOIN_EUI = "02cdcdee00000000/40", "02cdcdee00000001"

    def setUp(self):
        self.hub.accept(self.visited, VISITED_NET_ID)
        self.addCleanup(self.hub.must, "ns", "revoke", "--name", "visited")
        self.visited.add_partner(self.hub)
        self.addCleanup(self.visited.remove_partner, "hub")

    def route(self, cradle, prefix, partner):
        cradle.add_route(prefix, partner)
        self.addCleanup(cradle.remove_route, prefix)

    def test_a_join_goes_through_a_hub_and_the_keys_are_those_of_the_ends(self):
        self.home.accept(self.hub, VISITED_NET_ID)
        self.addCleanup(self.home.must, "ns", "revoke", "--name", "hub")
        self.hub.add_partner(self.home)
        self.addCleanup(self.hub.remove_partner, "home")
        self.home.must("route", "add", self.PREFIX)
        self.addCleanup(self.home.remove_route, self.PREFIX)
        self.route(self.hub, self.PREFIX, "home")
        self.route(self.visited, self.PREFIX, "hub")
        for version in ("1.0.3", "1.1"):
            device = self.home.devices(version, 1, join_eui=self.JOIN_EUI)[0]
            support.wait_until(lambda d=device: self.visited.serve(d, self.home)["agree"], BREAKER_SECONDS, f"{version} joins through a hub")
        trace_id = f"{next(_transactions):032x}"
        answer = self.visited.ask(self.request(device, DLSettings="80"), headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
        self.assertEqual(answer["Result"]["ResultCode"], "Success")
        for cradle in (self.visited, self.hub, self.home):
            support.wait_until(lambda c=cradle: trace_id in c.said_by("joinserver"), CHANGE_SECONDS, f"{cradle.role} has logged the trace")

    def test_a_request_does_not_go_round_in_a_circle(self):
        self.visited.accept(self.hub, VISITED_NET_ID)
        self.addCleanup(self.visited.must, "ns", "revoke", "--name", "hub")
        self.hub.add_partner(self.visited)
        self.addCleanup(self.hub.remove_partner, "visited")
        self.route(self.hub, self.NOBODYS, "visited")
        self.route(self.visited, self.NOBODYS, "hub")
        device = dict(self.home.device("1.0.3"), join_eui=self.NOBODYS_JOIN_EUI)
        self.wait_looped(device)
        before = self.looped()
        self.assertEqual(self.visited.code(self.request(device)), "UnkownReceiver")
        self.assertEqual(self.looped(), before + 1)

    def wait_looped(self, device):
        def looped():
            self.visited.code(self.request(device))
            return self.looped()
        support.wait_until(looped, BREAKER_SECONDS, "a request comes back and is stopped")

    def looped(self):
        return self.visited.metric('cradle_carry_refused_total{reason="loop"}')


class Ends(Roaming):
    """What ends roaming, and what brings it back."""

    def test_a_home_that_was_killed_is_refused_for_and_joins_again_when_it_is_back(self):
        device = self.wait_served()
        # Held, so that scripts/run does not start it again at once.
        watcher = self.home.process
        with stopped(watcher.pid):
            self.home.kill("joinserver")
            codes = [self.visited.code(self.request(device)) for _ in range(8)]
            self.assertEqual(set(codes), {"Other"})
            self.assertEqual(self.breaker("home"), "open")
            local = self.visited.device("1.0.3")
            self.assert_joined(self.visited.join(local))
        self.home.wait_ready()
        self.assert_joined_soon()
        support.wait_until(lambda: self.breaker("home") == "closed", BREAKER_SECONDS, "the breaker is closed")

    def breaker(self, partner):
        """The state of a partner's breaker, by the visited join server's metrics."""
        _, _, page = support.http("GET", self.visited.join_url + "metrics")
        found = re.findall(rf'^cradle_partner_breaker{{partner="{partner}",id="\d+",state="(\w+)"}} 1$', page.decode(), re.MULTILINE)
        self.assertEqual(len(found), 1, page.decode())
        return found[0]

    def assert_joined_soon(self):
        self.wait_served()

    def test_a_certificate_that_has_expired_ends_it_until_there_is_a_new_one(self):
        device = self.wait_served()
        folder = self.visited.path("credentials")
        ca = Ca(self.visited.path("expired"), "ca", self.visited.ca, self.visited.path("tls", "ca.key"))
        old = ca.expired("visited", f"URI:{self.visited.san}")
        self.replace_credential(folder, old)
        try:
            support.wait_until(lambda: self.visited.code(self.request(device)) == "Other", CHANGE_SECONDS,
                               "the expired certificate is refused")
        finally:
            self.replace_credential(folder, ca.client("visited", f"URI:{self.visited.san}"))
        self.wait_served()

    @staticmethod
    def replace_credential(folder, files):
        for kind, suffix in (("key", "key"), ("cert", "crt")):
            shutil.copy(files[kind], f"{folder}/home.{suffix}.new")
            shutil.move(f"{folder}/home.{suffix}.new", f"{folder}/home.{suffix}")


@contextlib.contextmanager
def stopped(pid):
    """While it lasts, the process does nothing."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
