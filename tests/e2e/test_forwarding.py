"""Requests that another join server answers: carried to a partner, which this test plays, and back."""
import itertools
import json
import os
import secrets
import shutil

import lorawan
import support
from certificates import Ca
from partners import (Partner, add_partner, add_route, answer_to, make_server_certificate,
                      server_context)
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
        columns = {"credential": "us", "protocol_version": partner.version, **columns}
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
        if "known" not in cls.__dict__:
            cls.known = None
        if cls.known is None:
            cls.known = self.requester()
        return cls.known

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
