"""AppSKeyReq: the application server that the owner named gets the AppSKey of a session again."""

import json
import unittest

import lorawan
import support

NONCE = 40
SESSIONS_MAX = 10
MALFORMED = {"1.0": "MalformedRequest", "1.1": "MalformedMessage"}


class AppSKey(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.shared()
        cls.server = cls.stack.application_server()

    def join(self, device, nonce=NONCE, **changes):
        """The JoinAns of a join."""
        message = lorawan.join_req(device, nonce, support.HOME, **changes)
        status, answer = self.stack.post_join(message)
        self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"))
        return answer

    def message(self, device, session, **changes):
        message = {"ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": self.server["as_id"],
                   "ReceiverID": device["join_eui"], "TransactionID": 11, "DevEUI": device["dev_eui"],
                   "SessionKeyID": session} | changes
        return {name: value for name, value in message.items() if value is not None}

    def ask(self, device, session, token=None, **changes):
        status, answer = self.stack.post_join(self.message(device, session, **changes),
                                              token=token or self.server["token"])
        self.assertEqual(status, 200)
        self.assertEqual(answer["MessageType"], "AppSKeyAns")
        self.assertEqual(answer["TransactionID"], 11)
        self.assertEqual(answer["ReceiverID"], changes.get("SenderID", self.server["as_id"]))
        return answer

    def assert_refused(self, code, *args, **changes):
        answer = self.ask(*args, **changes)
        self.assertEqual(answer["Result"]["ResultCode"], code, answer)
        self.assertNotIn("AppSKey", answer)
        self.assertNotIn("SessionKeyID", answer)
        return answer

    def metric(self, outcome):
        _, _, page = support.http("GET", self.stack.join_url + "metrics")
        name = f'cradle_app_s_key_requests_total{{outcome="{outcome}"}}'
        return int(next(x for x in page.decode().splitlines() if x.startswith(name)).split()[-1])

    def opened(self, envelope):
        self.assertEqual(envelope["KEKLabel"], self.server["kek_label"])
        key = lorawan.unwrap(bytes.fromhex(self.server["kek"]), bytes.fromhex(envelope["AESKey"]))
        self.assertEqual(len(key or b""), 16)
        return key

    def add_application_server(self, name):
        """Another one; the token, once the join server knows it."""
        run = self.stack.cradle("as", "add", "--as-id", name)
        self.assertEqual(run.returncode, 0, run.stderr)
        token = json.loads(run.stdout)["token"]
        known = lambda: self.stack.post_join({}, token=token)[0] != 401
        support.wait_until(known, support.READY_SECONDS, "the join server knows the application server")
        return token

    def test_it_is_the_key_that_the_join_gave(self):
        before = self.metric("success")
        cases = [("1.0.2", "00"), ("1.0.3", "00"), ("1.0.4", "00"), ("1.1", "80"), ("1.1", "00")]
        for version, dl_settings in cases:
            for protocol in ("1.0", "1.1"):
                with self.subTest(version, dl_settings=dl_settings, protocol=protocol):
                    device = self.stack.device(version)
                    joined = self.join(device, DLSettings=dl_settings)
                    answer = self.ask(device, joined["SessionKeyID"], ProtocolVersion=protocol)
                    self.assertEqual(answer["Result"]["ResultCode"], "Success", answer)
                    self.assertEqual(answer["ProtocolVersion"], protocol)
                    self.assertEqual(answer["DevEUI"], device["dev_eui"])
                    self.assertEqual(answer["SessionKeyID"], joined["SessionKeyID"])
                    self.assertEqual(self.opened(answer["AppSKey"]), self.opened(joined["AppSKey"]))
                    self.assertFalse({"NwkSKey", "NwkSEncKey", "PHYPayload", "Lifetime"} & set(answer))
        self.assertEqual(self.metric("success"), before + 2 * len(cases))

    def test_it_is_no_join(self):
        device = self.stack.device("1.0.4")
        joined = self.join(device)
        sql = (f"SELECT (SELECT count(*) FROM join_event e WHERE e.dev_eui = j.dev_eui), j::text"
               f" FROM device_join j WHERE dev_eui = '\\x{device['dev_eui']}'")
        before = self.stack.psql(sql)
        self.ask(device, joined["SessionKeyID"])
        self.assert_refused("UnknownDevEUI", device, "00" * 12)
        self.assertEqual(self.stack.psql(sql), before)

    def test_the_last_sessions_can_be_asked_for_and_none_older(self):
        device = self.stack.device("1.1")
        joins = [self.join(device, NONCE + i) for i in range(SESSIONS_MAX + 1)]
        self.assert_refused("UnknownDevEUI", device, joins[0]["SessionKeyID"])
        for joined in joins[1:]:
            answer = self.ask(device, joined["SessionKeyID"])
            self.assertEqual(self.opened(answer["AppSKey"]), self.opened(joined["AppSKey"]))

    def test_a_session_that_is_not_there(self):
        device, other = self.stack.devices("1.0.3", 2)
        session = self.join(device)["SessionKeyID"]
        others = self.join(other)["SessionKeyID"]
        next_one = session[:-8] + f"{int(session[-8:], 16) + 1:08x}"
        for name, wrong in (("next", next_one), ("another device's", others), ("short", session[:-2]),
                            ("long", session + "00"), ("beyond", session[:-8] + "ffffffff"),
                            ("of another make", "ab" * 16)):
            with self.subTest(name):
                self.assert_refused("UnknownDevEUI", device, wrong)
        absent = dict(device, dev_eui="02cdcd03" + device["dev_eui"][8:])
        self.assert_refused("UnknownDevEUI", absent, absent["dev_eui"] + session[16:])
        answer = self.ask(device, "0X" + session.upper(), DevEUI="0x" + device["dev_eui"].upper())
        self.assertEqual(answer["SessionKeyID"], session)

    def test_members(self):
        device = self.stack.device("1.0.3")
        session = self.join(device)["SessionKeyID"]
        for version, code in MALFORMED.items():
            for member in ("DevEUI", "SessionKeyID"):
                for value in (None, "", "zz", 7):
                    with self.subTest(member, value=value, version=version):
                        self.assert_refused(code, device, session, ProtocolVersion=version, **{member: value})
        self.assert_refused("UnkownReceiver", device, session, ReceiverID="02cdcdffffffffff")

    def test_nobody_else_gets_it(self):
        device = self.stack.device("1.0.3")
        session = self.join(device)["SessionKeyID"]
        other = self.add_application_server("another-as")
        self.assert_refused("UnknownDevEUI", device, session, token=other, SenderID="another-as")
        for name, token, sender in (
                ("another application server under the name of the first", other, self.server["as_id"]),
                ("the first under another name", None, "another-as"),
                ("the first in capitals", None, self.server["as_id"].upper()),
                ("without a name", None, ""),
                ("a network server", self.stack.home["token"], support.HOME),
                ("a network server under an AS-ID", self.stack.home["token"], self.server["as_id"])):
            with self.subTest(name):
                self.assert_refused("UnknownSender", device, session, token=token, SenderID=sender)

    def test_what_the_owner_or_operator_changed(self):
        for change, code in (("ownership_epoch = ownership_epoch + 1", "UnknownDevEUI"),
                             ("as_id = 'nobody'", "UnknownDevEUI"), ("as_id = NULL", "UnknownDevEUI"),
                             ("ownership = 'unowned', owner_id = NULL", "UnknownDevEUI"),
                             ("credential = 'scrapped'", "UnknownDevEUI"),
                             ("home_net_id = NULL", "UnknownDevEUI"),
                             ("service = 'suspended'", "ActivationDisallowed"),
                             ("trust = 'quarantined'", "ActivationDisallowed")):
            with self.subTest(change):
                device = self.stack.device("1.0.4")
                session = self.join(device)["SessionKeyID"]
                self.stack.psql(f"UPDATE device SET {change} WHERE dev_eui = '\\x{device['dev_eui']}'")
                self.assert_refused(code, device, session)
