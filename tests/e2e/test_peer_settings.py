"""How each peer is answered, as its record says: keys wrapped or in clear, SessionKeyID or none, and
which network server of a network it is. Over mutual TLS and with tokens, on a join server that lets
keys out in clear (`join.plain_keys`) and on one that does not, while both run."""
import contextlib
import http.client
import json
import ssl
import unittest

import lorawan
import support
from certificates import Ca
from test_peers import CHANGE_SECONDS, PeersTest

AS_ID = "as-settings"
NS_A, NS_B, NS_C = "70b3d57ed0000a01", "70b3d57ed0000a02", "70b3d57ed0000a03"
NO_KEK = "the network server has no KEK"
NOT_BY_TOKEN = NO_KEK + ", and keys in clear are for mutual TLS, not for a token"
NOT_TO_URL = NO_KEK + ", and keys in clear do not go to an answer URL that is not https"


class SettingsTest(PeersTest):
    @classmethod
    def setUpClass(cls):
        cls.plain = support.shared().second_joinserver("join.plain_keys=true")
        cls.addClassCleanup(cls.plain.stop)

    def setUp(self):
        super().setUp()
        self.ca = Ca(self.folder, "ca")
        self.places = {  # the shared one has keys in clear switched off
            ("on", "tls"): self.plain.tls_port, ("on", "token"): self.plain.port,
            ("off", "tls"): self.stack.join_tls_port, ("off", "token"): self.stack.join_port}

    def peer(self, group, option, name, *options):
        """A peer that is known by certificate and by token, with the port it is asked at."""
        san = f"urn:settings:{name}"
        made = self.cradle(group, "add", option, name, "--san", san, "--ca", self.ca.pem, *options)
        return {"token": made["token"], **self.ca.client(name, f"URI:{san}")}

    def network_server_of(self, net_id, *options):
        return {"net_id": net_id, **self.peer("ns", "--name", f"ns-{net_id}", "--net-id", net_id, *options)}

    def application_server_of(self, as_id, *options):
        return {"as_id": as_id, **self.peer("as", "--as-id", as_id, *options)}

    def post(self, peer, place, message):
        """The answer; None before the join server knows the peer."""
        if place[1] == "token":
            url = f"http://127.0.0.1:{self.places[place]}/"
            return self.stack.post_join(message, peer["token"], url)[1]
        context = ssl.create_default_context(cafile=self.stack.demo["join"]["ca"])
        context.load_cert_chain(peer["cert"], peer["key"])
        with contextlib.closing(http.client.HTTPSConnection(
                "127.0.0.1", self.places[place], context=context, timeout=support.HTTP_SECONDS)) as to:
            try:
                to.request("POST", "/", json.dumps(message), {"Content-Type": "application/json"})
                answer = to.getresponse()
                body = answer.read()
                # An acknowledgement has none: the answer goes elsewhere.
                return json.loads(body) if answer.status == 200 and body else None
            except (ssl.SSLError, ConnectionError, http.client.HTTPException):
                return None

    def join(self, peer, place, device, **changes):
        """{name: "clear" or the KEKLabel} of the keys in the answer to a fresh join, "SessionKeyID" too;
        or the ResultCode of a refusal. Whatever is in clear is the right key, what is not is nowhere."""
        nonce = self.stack.next_nonce(device)
        answer = self.post(peer, place, lorawan.join_req(device, nonce, peer["net_id"], **changes))
        if answer is None or answer["Result"]["ResultCode"] != "Success":
            self.assertNotIn("AESKey", json.dumps(answer))
            return answer and answer["Result"]["ResultCode"]
        accept = lorawan.open_accept(device, answer["PHYPayload"], nonce)
        keys = self.session_keys(device, accept, nonce)
        self.assertEqual({name for name in answer if name.endswith("Key")}, set(keys))
        found = {"SessionKeyID": "SessionKeyID" in answer}
        for name, key in keys.items():
            found[name] = self.form(answer[name], key)
        for name, key in keys.items():
            self.assertEqual(key in json.dumps(answer).lower(), found[name] == "clear", name)
        return found

    @staticmethod
    def session_keys(device, accept, nonce):
        """As hex digits."""
        is_1_1 = accept["dl_settings"] & 0x80
        keys = lorawan.session_keys(device, accept["join_nonce"], nonce, None if is_1_1 else accept["net_id"])
        return {name: key.hex() for name, key in keys.items()}

    def form(self, envelope, key):
        if "KEKLabel" not in envelope:
            self.assertEqual(envelope, {"AESKey": key})
            return "clear"
        self.assertEqual(len(envelope["AESKey"]), 48)
        return envelope["KEKLabel"]

    def wait_join(self, expected, peer, place, device, **changes):
        """Joins until the keys are so: a join server may hear of a change late; and once more. A text
        is the ResultCode of a refusal."""
        last = None

        def so():
            nonlocal last
            last = self.join(peer, place, device, **changes)
            return last == expected if isinstance(expected, str) else \
                isinstance(last, dict) and expected.items() <= last.items()
        try:
            support.wait_until(so, CHANGE_SECONDS, f"{place}: {expected}")
        except AssertionError as error:
            raise AssertionError(f"{error}, but {last}") from None
        self.assertTrue(so(), last)

    def spent(self, device):
        return self.stack.psql("SELECT join_nonce, last_dev_nonce FROM device_join WHERE dev_eui = "
                               f"'\\x{device['dev_eui']}'")

    def reasons(self, device):
        """Of the refusals; they are written in the order of their answers, some time later."""
        return [reason for (reason,) in self.stack.psql(
            "SELECT reason FROM join_event WHERE outcome = 'unavailable' AND dev_eui = "
            f"'\\x{device['dev_eui']}' ORDER BY at")]

    def wait_refused(self, reason, peer, place, device):
        """Refused for this reason, and nothing spent on it."""
        self.wait_join("Other", peer, place, device)
        before, n = self.spent(device), len(self.reasons(device))
        self.assertEqual(self.join(peer, place, device), "Other")
        support.wait_until(lambda: self.reasons(device)[n:][-1:] == [reason], CHANGE_SECONDS,
                           f"{place}: an event that says: {reason}")
        self.assertEqual(self.spent(device), before)


class NetworkKeys(SettingsTest):
    def test_they_are_in_clear_only_where_record_listener_and_configuration_want_it(self):
        server = self.network_server_of("000071")
        off = "the network server has no KEK, and join.plain_keys is off"
        for version in ("1.0.3", "1.1"):
            device = self.stack.devices(version, 1, "000071")[0]
            clear = dict.fromkeys(("NwkSKey",) if version == "1.0.3" else
                                  ("FNwkSIntKey", "SNwkSIntKey", "NwkSEncKey"), "clear")
            for allowed in ("no", "yes", "no"):
                self.cradle("ns", "set", "--name", "ns-000071", "--allow-plain-keys", allowed)
                with self.subTest(version=version, allowed=allowed):
                    if allowed == "yes":
                        self.wait_join({**clear, "AppSKey": "as-demo"}, server, ("on", "tls"), device)
                        self.wait_refused(off, server, ("off", "tls"), device)
                    else:
                        self.wait_refused(NO_KEK, server, ("on", "tls"), device)
                        self.wait_refused(NO_KEK, server, ("off", "tls"), device)
                    for place in (("on", "token"), ("off", "token")):
                        self.wait_refused(NOT_BY_TOKEN if allowed == "yes" else NO_KEK, server, place, device)

    def test_a_kek_wins(self):
        server = self.network_server_of("000072", "--allow-plain-keys", "yes")
        device = self.stack.devices("1.1", 1, "000072")[0]
        self.wait_join({"NwkSEncKey": "clear"}, server, ("on", "tls"), device)
        self.kek("--ns", "000072", "ns-000072", 32)
        for place in self.places:
            self.wait_join({"NwkSEncKey": "ns-000072", "FNwkSIntKey": "ns-000072",
                            "SNwkSIntKey": "ns-000072", "AppSKey": "as-demo"}, server, place, device)
        allow = ["ns", "set", "--name", "ns-000072", "--allow-plain-keys", "yes"]
        self.assertEqual(self.cradle(*allow)["keks_that_win"], ["ns-000072"])
        self.cradle("kek", "revoke", "--ns", "000072", "--label", "ns-000072", "--last")
        self.assertNotIn("keks_that_win", self.cradle(*allow))
        self.wait_join({"NwkSEncKey": "clear"}, server, ("on", "tls"), device)

    def test_a_rejoin_is_answered_as_a_join_is(self):
        server = self.network_server_of("000070")
        device = self.stack.devices("1.1", 1, "000070")[0]
        self.cradle("ns", "set", "--name", "ns-000070", "--allow-plain-keys", "yes", "--app-s-key", "plain",
                    "--session-key-id", "omit")
        self.wait_join({"NwkSEncKey": "clear", "AppSKey": "clear", "SessionKeyID": False}, server,
                       ("on", "tls"), device)
        for n, place in enumerate(self.places):
            answer = self.post(server, place, lorawan.rejoin_req(
                device, lorawan.rejoin_request(device, 1, n), "000070"))
            if place != ("on", "tls"):
                self.assertEqual(answer["Result"]["ResultCode"], "Other", place)
                self.assertNotIn("AESKey", json.dumps(answer))
                continue
            self.assertEqual(answer["Result"]["ResultCode"], "Success", answer)
            keys = lorawan.session_keys(device, int(self.spent(device)[0][0]), n)
            self.assertEqual({name: answer[name] for name in keys},
                             {name: {"AESKey": key.hex()} for name, key in keys.items()})
            self.assertNotIn("SessionKeyID", answer)

    def test_the_log_names_the_setting_that_is_missing(self):
        server = self.network_server_of("000073", "--allow-plain-keys", "yes")
        device = self.stack.devices("1.0.3", 1, "000073")[0]
        self.wait_join("Other", server, ("off", "tls"), device)
        with open(self.stack.path("log", "joinserver.log"), encoding="utf-8") as log:
            self.assertIn("not by join.plain_keys", log.read())

    def test_an_answer_url_without_tls_is_no_way_for_a_key_in_clear(self):
        server = self.network_server_of("000074", "--allow-plain-keys", "yes")
        device = self.stack.devices("1.0.3", 1, "000074")[0]
        self.wait_join({"NwkSKey": "clear"}, server, ("on", "tls"), device)
        self.cradle("ns", "set", "--name", "ns-000074", "--answer-url", "http://127.0.0.1:9/")

        def refused():
            self.post(server, ("on", "tls"), lorawan.join_req(device, self.stack.next_nonce(device), "000074"))
            return NOT_TO_URL in self.reasons(device)
        support.wait_until(refused, CHANGE_SECONDS, "an event that says so")


class AppSKeys(SettingsTest):
    def test_in_a_join_it_is_as_the_network_servers_record_says(self):
        self.cradle("as", "add", "--as-id", "as-none-75")
        server = self.network_server_of("000075")
        self.kek("--ns", "000075", "ns-000075", 16)
        device = self.stack.devices("1.1", 1, "000075")[0]
        without = self.stack.devices("1.0.3", 1, "000075", "as-none-75")[0]
        wrapped = {"AppSKey": "as-demo", "NwkSEncKey": "ns-000075"}
        no_kek = "the device's application server has no KEK"
        for form in ("wrapped", "plain", "wrapped"):
            self.cradle("ns", "set", "--name", "ns-000075", "--app-s-key", form)
            with self.subTest(form):
                if form == "plain":
                    clear = {"AppSKey": "clear", "NwkSEncKey": "ns-000075"}
                    self.wait_join(clear, server, ("on", "tls"), device)
                    self.wait_join({"AppSKey": "clear", "NwkSKey": "ns-000075"}, server, ("on", "tls"), without)
                    self.wait_refused("AppSKey is to be in clear, and join.plain_keys is off", server,
                                      ("off", "tls"), device)
                else:
                    self.wait_join(wrapped, server, ("on", "tls"), device)
                    self.wait_join(wrapped, server, ("off", "tls"), device)
                    self.wait_refused(no_kek, server, ("on", "tls"), without)
                for place in (("on", "token"), ("off", "token")):
                    self.wait_join(wrapped, server, place, device)
                    self.wait_refused(no_kek if form == "wrapped" else
                                      no_kek + ", and AppSKey in clear is for mutual TLS, not for a token",
                                      server, place, without)

    def test_a_visited_network_has_none_in_clear_whatever_its_record_says(self):
        self.cradle("as", "add", "--as-id", "as-none-e7")
        visited = self.network_server_of("0000e7", "--app-s-key", "plain")
        self.kek("--ns", "0000e7", "ns-0000e7", 16)
        home = self.network_server_of("0000e8", "--app-s-key", "plain")
        self.kek("--ns", "0000e8", "ns-0000e8", 16)
        made = self.cradle("agreement", "add", "--home", "0000e8", "--visited", "0000e7")
        self.addCleanup(self.stack.cradle, "agreement", "remove", str(made["id"]))
        device = self.stack.devices("1.1", 1, "0000e8")[0]
        without = self.stack.devices("1.0.3", 1, "0000e8", "as-none-e7")[0]
        for one in (device, without):
            self.wait_join({"AppSKey": "clear"}, home, ("on", "tls"), one)
        for place in self.places:
            self.wait_join({"AppSKey": "as-demo", "NwkSEncKey": "ns-0000e7"}, visited, place, device)
            self.wait_refused("the device's application server has no KEK", visited, place, without)

    def asked(self, server, place, session):
        device, session_key_id, key = session
        answer = self.post(server, place, {
            "ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": server["as_id"],
            "ReceiverID": device["join_eui"], "TransactionID": 3, "DevEUI": device["dev_eui"],
            "SessionKeyID": session_key_id})
        if answer is None or "AppSKey" not in answer:
            self.assertNotIn("AESKey", json.dumps(answer))
            return answer and answer["Result"]["ResultCode"]
        found = self.form(answer["AppSKey"], key)
        self.assertEqual(key in json.dumps(answer).lower(), found == "clear")
        return found

    def test_to_an_application_server_it_is_as_its_own_record_says(self):
        server = self.application_server_of(AS_ID)
        self.network_server_of("000076", "--app-s-key", "plain")
        self.kek("--ns", "000076", "ns-000076", 16)
        network = self.network_server_of("000077", "--app-s-key", "plain")
        self.kek("--ns", "000077", "ns-000077", 16)
        device = self.stack.devices("1.1", 1, "000077", AS_ID)[0]
        self.wait_join({"AppSKey": "clear"}, network, ("on", "tls"), device)
        nonce = self.stack.next_nonce(device)
        joined = self.post(network, ("on", "tls"), lorawan.join_req(device, nonce, "000077"))
        accept = lorawan.open_accept(device, joined["PHYPayload"], nonce)
        session = (device, joined["SessionKeyID"], self.session_keys(device, accept, nonce)["AppSKey"])

        def wait(expected, place):
            support.wait_until(lambda: self.asked(server, place, session) == expected, CHANGE_SECONDS,
                               f"{place}: {expected}")
            self.assertEqual(self.asked(server, place, session), expected)

        def wait_all(form, kek):
            wait("clear" if form == "plain" else kek, ("on", "tls"))
            wait("Other" if form == "plain" else kek, ("off", "tls"))
            wait(kek, ("on", "token"))
            wait(kek, ("off", "token"))

        for form in ("wrapped", "plain", "wrapped"):
            self.cradle("as", "set", "--as-id", AS_ID, "--app-s-key", form)
            with self.subTest(form, kek=False):
                wait_all(form, "Other")
        self.kek("--as", AS_ID, "as-settings-1", 16)
        for form in ("wrapped", "plain", "wrapped"):
            self.cradle("as", "set", "--as-id", AS_ID, "--app-s-key", form)
            with self.subTest(form, kek=True):
                wait_all(form, "as-settings-1")


class SessionKeyIds(SettingsTest):
    def test_it_is_sent_or_not_and_the_app_s_key_always_is(self):
        server = self.network_server_of("000078")
        self.kek("--ns", "000078", "ns-000078", 16)
        for version in ("1.0.3", "1.1"):
            device = self.stack.devices(version, 1, "000078")[0]
            for word in ("send", "omit", "send"):
                self.cradle("ns", "set", "--name", "ns-000078", "--session-key-id", word)
                for place in self.places:
                    with self.subTest(version, word=word, place=place):
                        self.wait_join({"SessionKeyID": word == "send", "AppSKey": "as-demo"}, server,
                                       place, device)


class NsIds(SettingsTest):
    def asks(self, server, device, place, ns_id, version="1.1"):
        nonce = self.stack.next_nonce(device)
        answer = self.post(server, place, lorawan.join_req(
            device, nonce, server["net_id"], ProtocolVersion=version, SenderNSID=ns_id))
        return answer and answer["Result"]["ResultCode"]

    def test_a_network_server_with_ns_ids_has_no_other(self):
        server = self.network_server_of("000079")
        self.kek("--ns", "000079", "ns-000079", 16)
        device = self.stack.devices("1.0.3", 1, "000079")[0]
        place = ("off", "tls")

        def wait(*codes):
            """Of NS_A, NS_B, no NSID, and NS_B under 1.0, which has no such member."""
            ask = lambda: (self.asks(server, device, place, NS_A), self.asks(server, device, place, NS_B),
                           self.asks(server, device, place, None),
                           self.asks(server, device, place, NS_B, "1.0"))
            support.wait_until(lambda: ask() == codes, CHANGE_SECONDS, f"{codes}")
            self.assertEqual(ask(), codes)

        unknown, good = "UnknownSender", "Success"
        wait(good, good, good, good)
        for place in (("off", "tls"), ("off", "token")):
            self.cradle("ns", "set", "--name", "ns-000079", "--ns-id", NS_A)
            wait(good, unknown, good, good)
            self.cradle("ns", "set", "--name", "ns-000079", "--ns-id", NS_A.upper(), "--ns-id", NS_B)
            wait(good, good, good, good)
            self.cradle("ns", "set", "--name", "ns-000079", "--ns-id", NS_B)
            wait(unknown, good, good, good)
            self.cradle("ns", "set", "--name", "ns-000079", "--no-ns-id")
            wait(good, good, good, good)

    def test_a_kek_of_its_own_wraps_and_else_its_networks(self):
        server = self.network_server_of("00007a", "--ns-id", NS_A, "--ns-id", NS_B)
        # Of the same network, and without an NSID: what it names is only echoed.
        other = {"net_id": "00007a", **self.peer("ns", "--name", "ns-unnamed", "--net-id", "00007a")}
        for peer, label in (("00007a", "net-7a"), (f"00007A/{NS_A.upper()}", "own-7a")):
            self.kek("--ns", peer, label, 16)
        device = self.stack.devices("1.1", 1, "00007a")[0]
        with_a, with_b = ({"ProtocolVersion": "1.1", "SenderNSID": ns_id} for ns_id in (NS_A, NS_B))
        for place in self.places:
            with self.subTest(place):
                self.wait_join({"NwkSEncKey": "own-7a", "AppSKey": "as-demo"}, server, place, device, **with_a)
                self.wait_join({"NwkSEncKey": "net-7a"}, server, place, device, **with_b)
                self.wait_join({"NwkSEncKey": "net-7a"}, server, place, device)
                self.wait_join({"NwkSEncKey": "net-7a"}, server, place, device,
                               **{**with_a, "ProtocolVersion": "1.0"})
                self.wait_join({"NwkSEncKey": "net-7a"}, other, place, device, **with_a)
        self.assertEqual([(line["class"], line["label"]) for line in
                          self.listed("kek", "peer", f"00007a/{NS_A}")], [("ns", "own-7a")])
        second = self.kek("--ns", f"00007a/{NS_A}", "own-7a-2", 16)
        self.assertEqual(len(second), 32)
        self.wait_join({"NwkSEncKey": "own-7a-2"}, server, ("off", "tls"), device, **with_a)
        self.cradle("kek", "use", "--ns", f"00007a/{NS_A}", "--label", "own-7a")
        self.wait_join({"NwkSEncKey": "own-7a"}, server, ("off", "tls"), device, **with_a)
        self.cradle("kek", "revoke", "--ns", f"00007a/{NS_A}", "--label", "own-7a-2")
        # Nobody has the NSID any more: its KEK can still be removed.
        self.cradle("ns", "set", "--name", "ns-00007a", "--no-ns-id")
        last = ["--ns", f"00007a/{NS_A}", "--label", "own-7a"]
        self.assertIn("--last", self.refused("kek", "revoke", *last))
        self.cradle("kek", "revoke", *last, "--last")
        self.assertEqual(self.listed("kek", "peer", f"00007a/{NS_A}"), [])

    def test_a_kek_is_taken_of_an_ns_id_that_is_known(self):
        self.network_server_of("00007b", "--ns-id", NS_A)
        sealed = ["--label", "x", "--sealed", "/nowhere", "--length", "16"]
        for peer, words in ((f"00007b/{NS_B[:-1]}", "16"), (f"{NS_A}", "hexadecimal"),
                            (f"00007b/{NS_A}/1", "hexadecimal")):
            self.assertIn(words, self.refused("kek", "add", "--ns", peer, *sealed))
        with open(self.stack.path("exchange.pem"), "rb") as file:
            wrong = file.read(384)
        path = f"{self.folder}/wrong"
        with open(path, "wb") as file:
            file.write(wrong.ljust(384, b"\0"))
        sealed[3] = path
        self.assertIn("NSID", self.refused("kek", "add", "--ns", f"00007b/{NS_B}", *sealed))
        self.assertIn("no network server", self.refused("kek", "add", "--ns", f"0000fb/{NS_A}", *sealed))

    def home_ns(self, server, device, version="1.1"):
        answer = self.post(server, ("off", "token"), {
            "ProtocolVersion": version, "MessageType": "HomeNSReq", "SenderID": server["net_id"],
            "ReceiverID": device["join_eui"], "TransactionID": 5, "DevEUI": device["dev_eui"]})
        return answer and (answer.get("HNetID"), answer.get("HNSID"))

    def test_home_is_one_network_server_where_there_is_one(self):
        server = self.network_server_of("00007c")
        device = self.stack.devices("1.0.3", 1, "00007c")[0]

        def wait(ns_id):
            support.wait_until(lambda: self.home_ns(server, device) == ("00007c", ns_id), CHANGE_SECONDS,
                               f"HNSID is {ns_id}")
            self.assertEqual(self.home_ns(server, device, "1.0"), ("00007c", None))

        wait(None)
        self.cradle("ns", "set", "--name", "ns-00007c", "--ns-id", NS_C)
        wait(NS_C)
        self.cradle("ns", "add", "--name", "ns-7c-same", "--net-id", "00007c", "--ns-id", NS_C)
        self.cradle("ns", "add", "--name", "ns-7c-other", "--net-id", "00007c", "--ns-id", NS_B)
        wait(None)
        self.cradle("ns", "revoke", "--name", "ns-7c-other")
        wait(NS_C)
        self.cradle("ns", "set", "--name", "ns-00007c", "--ns-id", NS_A, "--ns-id", NS_C)
        wait(None)


class Operator(SettingsTest):
    def test_what_is_set_is_listed(self):
        name = ["--name", "listed-7d"]
        made = self.cradle("ns", "add", *name, "--net-id", "00007d", "--ns-id", NS_B, "--session-key-id", "omit")
        self.assertEqual((made["ns_ids"], made["session_key_id"]), ([NS_B], "omit"))
        changed = self.cradle("ns", "set", *name, "--ns-id", NS_C, "--ns-id", NS_A, "--allow-plain-keys",
                              "yes", "--answer-url", "https://ns.example/x", "--answer-credential", "ns.x")
        self.assertEqual(changed, {"name": "listed-7d", "ns_ids": [NS_C, NS_A], "allow_plain_keys": "yes",
                                   "answer_url": "https://ns.example/x", "answer_credential": "ns.x"})
        line = self.listed("ns", "name", "listed-7d")[0]
        line.pop("created")
        self.assertEqual(line, {
            "name": "listed-7d", "net_ids": ["00007d"], "ns_ids": [NS_A, NS_C], "allow_plain_keys": "yes",
            "app_s_key": "wrapped", "session_key_id": "omit", "answer_url": "https://ns.example/x",
            "answer_credential": "ns.x"})
        self.cradle("ns", "set", *name, "--answer-url", "none", "--no-ns-id")
        line = self.listed("ns", "name", "listed-7d")[0]
        self.assertEqual((line["ns_ids"], line["answer_url"], line["answer_credential"], line["allow_plain_keys"]),
                         ([], "none", "none", "yes"))
        self.cradle("as", "add", "--as-id", "listed-as", "--app-s-key", "plain")
        self.cradle("as", "set", "--as-id", "listed-as", "--answer-url", "https://as.example/")
        line = self.listed("as", "as_id", "listed-as")[0]
        self.assertEqual((line["app_s_key"], line["answer_url"]), ("plain", "https://as.example/"))

    def test_what_cannot_be_meant_is_refused_and_changes_nothing(self):
        name = ["--name", "refused-7e"]
        self.cradle("ns", "add", *name, "--net-id", "00007e")
        before = self.listed("ns", "name", "refused-7e")
        for words, options in (
                ("yes", ["--allow-plain-keys", "maybe"]), ("plain", ["--app-s-key", "clear"]),
                ("omit", ["--session-key-id", "no"]), ("NSID", ["--ns-id", "00007e"]),
                ("twice", ["--ns-id", NS_A, "--ns-id", NS_A]), ("exclude", ["--ns-id", NS_A, "--no-ns-id"]),
                ("http", ["--answer-url", "ns.example"]),
                ("loopback", ["--answer-url", "http://ns.example/"]),
                ("user", ["--answer-url", "https://a:b@ns.example/"]),
                ("name", ["--answer-url", "https://ns.example/", "--answer-credential", "../x"]),
                ('"ns"', ["--answer-url", "https://ns.example/", "--answer-credential", "ns.header"]),
                ("no answer URL", ["--answer-credential", "x", "--allow-plain-keys", "yes"])):
            with self.subTest(options):
                self.assertIn(words, self.refused("ns", "set", *name, *options))
                self.assertEqual(self.listed("ns", "name", "refused-7e"), before)
        self.assertIn("no network server", self.refused("ns", "set", "--name", "nobody", "--app-s-key", "plain"))
        self.assertIn("needs --answer-url", self.refused(
            "as", "add", "--as-id", "refused-as", "--answer-credential", "x"))
        for args in (["ns", "set", *name], ["as", "set", "--as-id", AS_ID, "--allow-plain-keys", "yes"],
                     ["as", "set", "--as-id", AS_ID, "--ns-id", NS_A]):
            self.assertEqual(self.stack.cradle(*args).returncode, 2, args)
        for args, words in ((["ns", "set", *name, "--net-id", "000013"], "--net-id"),
                            (["ns", "add", *name, "--net-id", "000013", "--san", "a.example"], "--ca")):
            run = self.stack.cradle(*args)
            self.assertEqual((run.returncode, len(run.stderr.splitlines())), (2, 2), run.stderr)
            self.assertIn(words, run.stderr.splitlines()[0])

    def test_what_is_taken_is_named_with_whoever_has_it(self):
        ca = Ca(self.folder, "taken").pem
        trust = ["--san", "taken.example", "--ca", ca]
        self.cradle("ns", "add", "--name", "taken-7f", "--net-id", "00007f", *trust)
        self.assertIn("network server taken-7f is there", self.refused(
            "ns", "add", "--name", "taken-7f", "--net-id", "00007f"))
        for args in (["ns", "add", "--name", "free-7f", "--net-id", "00007f"], ["as", "add", "--as-id", "free-7f"]):
            self.assertIn("SAN taken.example is that of the network server taken-7f", self.refused(*args, *trust))


if __name__ == "__main__":
    unittest.main()
