"""The table of conversations (conversations.py), held with the running join server: each row in each
protocol version it names, over plain HTTP and over mutual TLS.

Everything that is true of all answers (IDs swapped, transaction copied, codes of the version, keys
only on success, a Join-Accept that the device can open) is checked for every row.
"""

import base64
import contextlib
import http.client
import json
import os
import ssl
import time
import unittest
import urllib.parse

import lorawan
import support
from certificates import Ca
from conversations import (  # the table
    ALL, DEV_ADDR, EITHER, HOME_NS, JOINS, KEYS_1_0, KEYS_1_1, NONCE, OTHER_MESSAGES,
    PLAIN, REFUSALS, REJOINS, STATES, TLS, TOLERANCES, TRANSPORT, V10, V11, VERSIONS, WHO, row)
from test_gate import Session

DEVICES_AT_ONCE = 40
MIC_FAILURES_MAX = 60  # a minute, before only one in four is checked
TRIES = 150  # of which one in four is checked: none of them, once in 10^18 runs
KEPT_SECONDS = 20  # a connection that lay idle longer is opened anew before the server closes it

COMMON_CODES = {"Success", "MICFailed", "JoinReqFailed", "NoRoamingAgreement", "ActivationDisallowed",
                "UnknownDevEUI", "UnknownSender", "UnkownReceiver", "InvalidProtocolVersion",
                "FrameSizeError", "Other"}
CODES = {V10: COMMON_CODES | {"MalformedRequest"},
         V11: COMMON_CODES | {"MalformedMessage", "FrameReplayed"}}

HEADER = {"ProtocolVersion", "SenderID", "ReceiverID", "TransactionID", "MessageType", "Result",
          "ReceiverToken", "ReceiverNSID"}
FORMATTED = ("SenderID", "ReceiverID", "DevEUI", "PHYPayload", "DevAddr", "DLSettings", "CFList")


class Line:
    """The way to the join server for one who asks: a connection a request over plain HTTP, a kept one
    over mutual TLS."""

    def __init__(self, stack, others):
        self.stack, self.others = stack, others
        self.kept = {}

    def close(self):
        for connection, _ in self.kept.values():
            connection.close()
        self.kept.clear()

    def certificate(self, whose):
        return {"as": self.stack.application_server, "": lambda: None}.get(
            whose, lambda: self.others.get(whose) or self.stack.server(whose))()

    def tls(self, whose):
        context = ssl.create_default_context(cafile=self.stack.demo["join"]["ca"])
        if client := self.certificate(whose):
            context.load_cert_chain(client["cert"], client["key"])
        return http.client.HTTPSConnection("127.0.0.1", self.stack.join_tls_port, context=context,
                                           timeout=support.HTTP_SECONDS)

    @contextlib.contextmanager
    def open(self, who, over):
        if over == PLAIN:
            address = urllib.parse.urlsplit(self.stack.join_url).netloc
            with contextlib.closing(http.client.HTTPConnection(
                    address, timeout=support.HTTP_SECONDS)) as connection:
                yield connection
            return
        connection, used = self.kept.pop(who.certificate, (None, 0))
        if connection and time.monotonic() > used + KEPT_SECONDS:
            connection.close()
            connection = None
        connection = connection or self.tls(who.certificate)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self.kept[who.certificate] = connection, time.monotonic()

    def authorization(self, who, over):
        whose = who.token if over == PLAIN else who.beside
        if not whose:
            return None
        token = {"as": lambda: self.stack.application_server()["token"], "wrong": lambda: "ff" * 32}.get(
            whose, lambda: self.stack.server(whose)["token"])()
        if who.basic:
            return "Basic " + base64.b64encode(f"anyone:{token}".encode()).decode()
        return f"Bearer {token}"


class Conversations(unittest.TestCase):
    longMessage = True

    @classmethod
    def setUpClass(cls):
        cls.stack = support.shared()
        cls.pool = {}
        cls.n_held = dict.fromkeys(EITHER, 0)
        folder = cls.stack.path("conformance")
        tls = cls.stack.path("tls")
        cls.line = Line(cls.stack, {
            "of another CA": Ca(os.path.join(folder, "other"), "ca").client(
                "home", "URI:urn:cradle:netid:" + support.HOME),
            "of another name": Ca(os.path.join(folder, "demo"), "ca", f"{tls}/ca.pem", f"{tls}/ca.key").client(
                "nobody", "URI:urn:cradle:netid:0000ff"),
            "of a server": {"cert": f"{tls}/server.pem", "key": f"{tls}/server.key"}})
        cls.addClassCleanup(cls.line.close)

    @classmethod
    def tearDownClass(cls):
        print(f"{sum(len(rows) for rows in ALL)} rows; held:",
              ", ".join(f"{n} over {over}" for over, n in cls.n_held.items()))

    # --- the device ---

    def take_device(self, mac, claimed):
        free = self.pool.setdefault((mac, claimed), [])
        if not free:
            free += self.stack.devices(mac, DEVICES_AT_ONCE, support.HOME if claimed else None)
        return free.pop()

    def prior(self, version, over, message):
        """An exchange that went before."""
        status, answer = self.send(row("before", "Success"), dict(message, ProtocolVersion=version), over)
        self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"), "what went before")
        return answer

    def prepare(self, r, version, over=PLAIN):
        """A device in that state; its "sessions" are the keys of those of 1.1, the oldest first."""
        state = STATES[r["state"]]
        if state.get("unknown"):
            device = dict(self.take_device(r["mac"], True))
            device["dev_eui"] = "02cdcd03" + device["dev_eui"][8:]
            return device
        device = self.take_device(r["mac"], not state.get("unclaimed"))
        device["sessions"] = []
        if "prior" in state:
            change = r["change"] | state["prior"] if r["kind"] == "JoinReq" and state["prior"] else state["prior"]
            nonce = state.get("prior_nonce", NONCE)
            message = self.message(row("before", "Success", mac=r["mac"], change=change), device, version, nonce)
            answer = self.prior(version, over, message)
            accept = lorawan.open_accept(device, answer["PHYPayload"], nonce)
            if r["mac"] == "1.1" and accept["dl_settings"] & 0x80:
                device["sessions"].append(lorawan.session_keys(device, accept["join_nonce"], nonce))
        for rejoin_type, count, session in state.get("rejoins", ()):
            phy = self.rejoin_phy(device, {"rejoin": rejoin_type, "count": count, "session": session})
            answer = self.prior(version, over, lorawan.rejoin_req(device, phy, support.HOME, dev_addr=DEV_ADDR))
            accept = lorawan.open_accept(device, answer["PHYPayload"], count, rejoin_type)
            device["sessions"].append(lorawan.session_keys(device, accept["join_nonce"], count))
        for table, change in (("device", state.get("device")), ("device_join", state.get("join"))):
            if change:
                self.stack.psql(f"UPDATE {table} SET {change} WHERE dev_eui = '\\x{device['dev_eui']}'")
        return device

    # --- the request ---

    @staticmethod
    def phy(device, nonce, frame):
        body = bytes([frame.get("mhdr", 0)]) + lorawan.le(frame.get("join_eui", device["join_eui"]))
        body += lorawan.le(device["dev_eui"]) + nonce.to_bytes(2, "little")
        key = frame["key"].format(**device) if "key" in frame else lorawan.root_key(device).hex()
        return body.hex() + frame.get("mic", lorawan.cmac(bytes.fromhex(key), body)[:4].hex())

    @staticmethod
    def rejoin_phy(device, frame):
        """A Rejoin-Request of the device's newest session, or of another: `session` is its index."""
        sessions = device.get("sessions") or [{"SNwkSIntKey": bytes(16)}]
        key = sessions[frame.get("session", -1)]["SNwkSIntKey"]
        if frame["rejoin"] == 1:
            key = lorawan.js_key(device, 6)
        if "key" in frame:
            key = bytes.fromhex(frame["key"].format(**device))
        signer = dict(device, join_eui=frame.get("join_eui", device["join_eui"]))
        phy = lorawan.rejoin_request(signer, frame["rejoin"], frame["count"],
                                     frame.get("net_id", support.HOME), key)
        if "mhdr" in frame:
            body = bytes([frame["mhdr"]]) + bytes.fromhex(phy[2:-8])
            phy = body.hex() + lorawan.cmac(key, body)[:4].hex()
        return phy[:-8] + frame.get("mic", phy[-8:])

    def message(self, r, device, version, nonce=NONCE):
        sender, frame = WHO[r["who"]].sender, r["frame"]
        phy = self.rejoin_phy(device, frame) if "rejoin" in frame else self.phy(device, nonce, frame)
        names = {"dev_eui": device["dev_eui"], "join_eui": device["join_eui"], "phy": phy, "sender": sender}
        names |= {name.upper(): value.upper() for name, value in names.items()}
        if "rejoin" in frame:
            message = lorawan.rejoin_req(device, phy, sender, nonce, DEV_ADDR, ProtocolVersion=version)
        else:
            message = lorawan.join_req(device, nonce, sender, DEV_ADDR, ProtocolVersion=version,
                                       MessageType=r["kind"], PHYPayload=phy)
            if r["kind"] != "JoinReq":
                for member in ("PHYPayload", "DevAddr", "DLSettings", "RxDelay", "CFList", "MACVersion"):
                    message.pop(member)
        for member, value in r["change"].items():
            if value is None:
                message.pop(member, None)
            elif member in FORMATTED and isinstance(value, str):
                message[member] = value.format(**names)
            else:
                message[member] = value
        return message

    @staticmethod
    def body(how, message):
        if "body" in how:
            return how["body"]
        if "null" in how:
            message[how["null"]] = None
        text = json.dumps(message, indent=how.get("indent"))
        if how.get("escape"):
            text = text.replace('"JoinReq"', '"\\u004aoinReq"').replace('"0', '"\\u0030')
        return how.get("before", b"") + text.encode() + how.get("after", b"")

    def send(self, r, message, over=PLAIN):
        """(status, the answer's JSON or None); (None, None) when there was no exchange: with TLS 1.3
        the client learns late that its handshake was refused."""
        how, who = r["http"], WHO[r["who"]]
        body = self.body(how, message)
        headers = {"Content-Type": "application/json", "Authorization": self.line.authorization(who, over),
                   **how.get("headers", {})}
        chunked = "chunks" in how
        if chunked:
            body = [body[i:i + how["chunks"]] for i in range(0, len(body), how["chunks"])]
        try:
            with self.line.open(who, over) as connection:
                connection.request(how.get("method", "POST"), "/" + how.get("path", ""), body,
                                   {k: v for k, v in headers.items() if v is not None},
                                   encode_chunked=chunked)
                response = connection.getresponse()
                status, answer = response.status, response.read()
        except (ssl.SSLError, ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
            if over == PLAIN:
                raise
            return None, None
        if status != 200 or not answer:
            return status, None
        return status, json.loads(answer)

    # --- the answer ---

    def check_header(self, r, message, answer, version):
        self.assertEqual(answer["ProtocolVersion"], version)
        for mine, theirs in (("SenderID", "ReceiverID"), ("ReceiverID", "SenderID")):
            said = message.get(theirs)
            self.assertEqual(answer[mine], said if isinstance(said, str) else "", mine)
        sent = message.get("TransactionID")
        if isinstance(sent, int) and 0 <= sent < 1 << 32:
            self.assertEqual(answer["TransactionID"], sent)
        if message.get("MessageType") in ("JoinReq", "HomeNSReq", "RejoinReq", "AppSKeyReq"):
            self.assertEqual(answer["MessageType"], message["MessageType"][:-3] + "Ans")
        self.assertIn(answer["Result"]["ResultCode"], CODES[version])
        if answer["Result"]["ResultCode"] != "Success":
            self.assertLessEqual(set(answer), HEADER, "a refusal holds a header and a Result")
            self.assertTrue(answer["Result"]["Description"])

    def check_accept(self, r, device, message, answer):
        frame = r["frame"]
        accept = lorawan.open_accept(device, answer["PHYPayload"], frame.get("count", NONCE),
                                     frame.get("rejoin", lorawan.JOIN))
        self.assertIsNotNone(accept, "the device cannot open its Join-Accept")
        self.assertEqual(accept["dev_addr"], DEV_ADDR)
        self.assertEqual(accept["net_id"], support.HOME)
        self.assertEqual(accept["dl_settings"], int(message["DLSettings"][-2:], 16))
        cf_list = message.get("CFList") or ""
        self.assertEqual(len(answer["PHYPayload"]), 2 * (33 if cf_list else 17))
        for name in KEYS_1_0 | KEYS_1_1:
            if name in answer:
                self.assertEqual(len(answer[name]["AESKey"]), 48, name)

    def hold(self, r, version, over):
        device = self.prepare(r, version, over)
        message = self.message(r, device, version)
        with contextlib.ExitStack() as stack:
            if STATES[r["state"]].get("locked"):
                session = stack.enter_context(Session(self.stack))
                session.run("BEGIN; LOCK TABLE device_join IN ACCESS EXCLUSIVE MODE")
                stack.callback(session.run, "ROLLBACK")
            status, answer = self.send(r, message, over)
        self.assertEqual(status, r["status"][over] if isinstance(r["status"], dict) else r["status"], answer)
        self.n_held[over] += 1
        if r["code"] is None:
            self.assertIsNone(answer)
            return
        code = r["code"][version] if isinstance(r["code"], dict) else r["code"]
        self.assertEqual(answer["Result"]["ResultCode"], code, answer)
        self.check_header(r, message, answer, version)
        self.assertLessEqual(r["must"], set(answer))
        self.assertFalse(r["absent"] & set(answer), answer)
        for member, value in r["equal"].items():
            self.assertEqual(answer.get(member), value, member)
        if code == "Success" and r["kind"] in ("JoinReq", "RejoinReq"):
            self.check_accept(r, device, message, answer)

    def hold_all(self, rows):
        self.assertEqual(len({r["name"] for r in rows}), len(rows), "two rows have one name")
        for r in rows:
            for over in r["over"]:
                for version in r["versions"]:
                    with self.subTest(f"{r['name']}, TS002 {version}, {over}"):
                        self.hold(r, version, over)

    def test_joins(self):
        self.hold_all(JOINS)

    def test_refusals(self):
        self.hold_all(REFUSALS)

    def test_protocol_versions(self):
        self.hold_all(VERSIONS)

    def test_tolerances(self):
        self.hold_all(TOLERANCES)

    def test_home_ns(self):
        self.hold_all(HOME_NS)

    def metric(self, name):
        _, _, page = support.http("GET", self.stack.join_url + "metrics")
        line = next(x for x in page.decode().splitlines() if x.startswith(name))
        return int(line.split()[-1])

    def test_many_wrong_mics_slow_a_device_down_and_never_stop_it(self):
        name, wrong = "cradle_join_mic_unchecked_total", row("wrong", "MICFailed", frame={"mic": "00000000"})
        right, unchecked = row("right", "Success"), self.metric(name)
        device = self.prepare(wrong, V10)
        other = self.prepare(right, V10)
        message = self.message(wrong, device, V10)
        for _ in range(MIC_FAILURES_MAX):
            self.assertEqual(self.send(wrong, message)[1]["Result"]["ResultCode"], "MICFailed")
        self.assertEqual(self.metric(name), unchecked, "one of the first was not checked")
        for _ in range(MIC_FAILURES_MAX):
            self.assertEqual(self.send(wrong, message)[1]["Result"]["ResultCode"], "MICFailed")
        self.assertGreater(self.metric(name), unchecked)
        code = lambda d: self.send(right, self.message(right, d, V10))[1]["Result"]["ResultCode"]
        self.assertEqual(code(other), "Success", "another device")
        self.assertIn("Success", (code(device) for _ in range(TRIES)), "the device itself")

    def test_only_a_join_is_recorded_as_one(self):
        r = row("another network asks", "NoRoamingAgreement", kind="HomeNSReq", who="another network")
        device = self.prepare(r, V10)
        for who in ("home", "another network"):
            self.send(dict(r, who=who), self.message(dict(r, who=who), device, V10))
        wrong = dict(r, kind="JoinReq", who="home", frame={"mic": "00000000"})
        self.send(wrong, self.message(wrong, device, V10))
        # The events of refusals are written in the order of their answers.
        sql = f"SELECT outcome FROM join_event WHERE dev_eui = '\\x{device['dev_eui']}'"
        events = support.wait_until(lambda: self.stack.psql(sql), support.READY_SECONDS, "an event")
        self.assertEqual(events, [["mic_failed"]])

    def test_a_notification_is_counted(self):
        name = "cradle_error_notifications_total"
        before, r = self.metric(name), row("an error is notified", None, kind="ErrorNotif")
        self.assertEqual(self.send(r, self.message(r, self.prepare(r, V11), V11)), (200, None))
        self.assertEqual(self.metric(name), before + 1)

    def test_rejoins(self):
        self.hold_all(REJOINS)

    def test_other_messages(self):
        self.hold_all(OTHER_MESSAGES)

    def test_transport(self):
        self.hold_all(TRANSPORT)
