"""Mutual TLS of the join server: who a network server is by its certificate, and what of it an
operator can change while everything runs."""
import contextlib
import http.client
import json
import os
import ssl
import subprocess
import unittest

import lorawan
import support
from certificates import Ca

CHANGE_SECONDS = 10


class TlsTest(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()
        self.join = self.stack.demo["join"]

    def connection(self, client=None):
        context = ssl.create_default_context(cafile=self.join["ca"])
        if client is not None:
            context.load_cert_chain(client["cert"], client["key"])
        return http.client.HTTPSConnection("127.0.0.1", self.stack.join_tls_port, context=context,
                                           timeout=support.HTTP_SECONDS)

    def post(self, connection, message, headers=None):
        """(status, ResultCode or None)"""
        connection.request("POST", "/", json.dumps(message),
                           {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body)["Result"]["ResultCode"] if answer.status == 200 else None

    def ask(self, client, message, headers=None):
        with contextlib.closing(self.connection(client)) as connection:
            return self.post(connection, message, headers)

    def assert_refused(self, client, message):
        """No exchange at all: the handshake fails (with TLS 1.3 the client learns it late)."""
        with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            self.ask(client, message)

    def wait_refused(self, client, message):
        def refused():
            try:
                self.ask(client, message)
            except (ssl.SSLError, ConnectionError, http.client.HTTPException):
                return True
            return False
        support.wait_until(refused, CHANGE_SECONDS, "the certificate is refused")

    def wait_taken(self, client, message):
        def taken():
            try:
                return self.ask(client, message)[0] == 200
            except (ssl.SSLError, ConnectionError, http.client.HTTPException):
                return False
        support.wait_until(taken, CHANGE_SECONDS, "the certificate is taken")

    def request(self, net_id=support.HOME, dev_nonce=None):
        device = self.stack.device("1.0.3")
        return lorawan.join_req(device, dev_nonce or 3, net_id)

    def cradle(self, *args):
        run = self.stack.cradle(*args)
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout)

    def refused_by_cradle(self, *args):
        run = self.stack.cradle(*args)
        self.assertEqual(run.returncode, 1, run.stdout)
        return run.stderr


class MutualTls(TlsTest):
    def test_a_device_joins_and_the_connection_is_kept(self):
        with contextlib.closing(self.connection(self.stack.home)) as connection:
            for nonce in (1, 2, 3):
                message = self.request(dev_nonce=nonce)
                self.assertEqual(self.post(connection, message), (200, "Success"))

    def test_the_simulated_device_joins_over_it(self):
        for version in support.FIRST_DEV_NONCE:
            joined = self.stack.join(self.stack.device(version), tls=True)
            self.assertTrue(joined["agree"], joined)
        refused = self.stack.join(self.stack.device("1.1"), self.stack.server(support.OTHER), tls=True)
        self.assertEqual(refused["result_code"], "UnknownDevEUI")
        stranger = Ca(self.stack.path("stranger"), "ca").client("home", "URI:urn:cradle:netid:000013")
        away = self.stack.join(self.stack.device("1.1"), self.stack.home | stranger, tls=True)
        self.assertEqual((away["http_status"], away["agree"]), (0, False))

    def test_the_simulated_device_believes_its_own_ca_only(self):
        other = Ca(self.stack.path("other"), "ca")
        away = self.stack.join(self.stack.device("1.0.3"), tls=True, ca=other.pem)
        self.assertEqual((away["http_status"], away["agree"]), (0, False))
        self.assertIn("certificate", away["error"])

    def test_a_certificate_speaks_for_its_own_net_id_only(self):
        self.assertEqual(self.ask(self.stack.server(support.OTHER), self.request())[1], "UnknownSender")

    def test_a_token_does_not_take_the_place_of_a_certificate(self):
        headers = {"Authorization": f"Bearer {self.stack.home['token']}"}
        with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            self.ask(None, self.request(), headers)
        # And beside one it is ignored.
        other = self.stack.server(support.OTHER)
        self.assertEqual(self.ask(other, self.request(), headers)[1], "UnknownSender")

    def test_an_application_server_is_no_network_server(self):
        message, server = self.request(), self.stack.application_server()
        self.assertEqual(self.ask(server, message), (200, "UnknownSender"))
        question = {"ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": server["as_id"],
                    "ReceiverID": message["ReceiverID"], "TransactionID": 1, "DevEUI": message["DevEUI"],
                    "SessionKeyID": message["DevEUI"] + "00000001"}
        self.assertEqual(self.ask(server, question), (200, "UnknownDevEUI"))
        self.assertEqual(self.ask(self.stack.home, message), (200, "Success"))
        self.assertEqual(self.ask(server, question), (200, "Success"))
        self.assertEqual(self.ask(self.stack.home, question), (200, "UnknownSender"))

    def test_metrics_are_sums_over_the_listeners(self):
        _, _, body = support.http("GET", self.stack.join_url + "metrics")
        names = [line.rpartition(" ")[0] for line in body.decode().splitlines() if line[0] != "#"]
        self.assertEqual(len(names), len(set(names)))
        self.assertIn("cradle_http_certificates_refused_total", names)


class Peers(TlsTest):
    def setUp(self):
        super().setUp()
        self.folder = self.stack.path("peers", self.id())
        os.makedirs(os.path.dirname(self.folder), exist_ok=True)
        self.ca = Ca(self.folder, "ca")

    def test_each_peer_is_believed_by_its_own_ca_and_revocation_needs_no_restart(self):
        san = "ns.revoked.example"
        good, bad = self.ca.client("good", f"DNS:{san}"), self.ca.client("bad", f"DNS:{san}")
        forged = self.ca.client("forged", "URI:urn:cradle:netid:000013")
        message = self.request("000042")
        self.assert_refused(good, message)
        made = self.cradle("ns", "add", "--name", "tls-42", "--net-id", "000042", "--san", san,
                           "--ca", self.ca.pem)
        self.assertEqual(made["san"], san)
        self.wait_taken(good, message)
        self.wait_taken(bad, message)
        self.assert_refused(forged, self.request())
        self.cradle("ns", "trust", "--name", "tls-42", "--san", san, "--ca", self.ca.pem,
                    "--crl", self.ca.crl(bad))
        self.wait_refused(bad, message)
        self.assertEqual(self.ask(good, message)[0], 200)

    def test_what_could_not_work_is_refused_at_once(self):
        add = ["ns", "add", "--name", "tls-none", "--net-id", "000043"]
        leaf = self.ca.client("leaf", "DNS:x.example")
        other = Ca(self.folder, "other")
        self.assertIn("exact", self.refused_by_cradle(*add, "--san", "*.example", "--ca", self.ca.pem))
        self.assertIn("no CA", self.refused_by_cradle(*add, "--san", "a.b", "--ca", leaf["cert"]))
        self.assertIn("no certificate", self.refused_by_cradle(*add, "--san", "a.b", "--ca", leaf["key"]))
        self.assertIn("not of the CA", self.refused_by_cradle(
            *add, "--san", "a.b", "--ca", self.ca.pem, "--crl", other.crl()))
        self.assertIn("that of the network server demo-home", self.refused_by_cradle(
            *add, "--san", "urn:cradle:netid:000013", "--ca", self.ca.pem))
        self.assertIn("no network server", self.refused_by_cradle(
            "ns", "trust", "--name", "nobody", "--san", "a.b", "--ca", self.ca.pem))
        self.assertEqual(self.stack.psql("SELECT 1 FROM peer WHERE name = 'tls-none'"), [])

    def test_a_private_key_beside_the_ca_is_not_stored(self):
        both = os.path.join(self.folder, "both.pem")
        with open(both, "w", encoding="ascii") as file:
            for path in (self.ca.path("key"), self.ca.pem):
                with open(path, encoding="ascii") as part:
                    file.write(part.read())
        self.cradle("ns", "add", "--name", "tls-44", "--net-id", "000044", "--san", "urn:x:44",
                    "--ca", both)
        stored = self.stack.psql("SELECT trust_anchor FROM peer WHERE name = 'tls-44'")
        self.assertNotIn("PRIVATE", str(stored))
        self.assertIn("CERTIFICATE", str(stored))


class TokenTls(TlsTest):
    def test_with_a_token_no_certificate_is_asked_for(self):
        port = support.free_ports(1)[0]
        tls = self.stack.path("tls")
        with open(self.stack.path("log", "joinserver-token.log"), "ab") as log:
            process = subprocess.Popen(
                [self.stack.program("joinserver/cradle-joinserver"), "--config",
                 self.stack.path("joinserver.ini"), "--set", "listener-plain.port=0",
                 "--set", "listener-tls.port=0", "--set", f"listener-token-tls.port={port}",
                 "--set", "listener-token-tls.address=127.0.0.1",
                 "--set", f"listener-token-tls.certificate={tls}/server.pem",
                 "--set", f"listener-token-tls.key={tls}/server.key"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.stack.environment())
        try:
            context = ssl.create_default_context(cafile=self.join["ca"])
            connection = http.client.HTTPSConnection("127.0.0.1", port, context=context,
                                                     timeout=support.HTTP_SECONDS)

            def connected():
                try:
                    connection.connect()
                except ConnectionError:
                    return False
                return True
            support.wait_until(connected, support.READY_SECONDS, "the listener is there")
            headers = {"Authorization": f"Bearer {self.stack.home['token']}"}
            self.assertEqual(self.post(connection, self.request(), headers), (200, "Success"))
            self.assertEqual(self.post(connection, self.request())[0], 401)
            connection.close()
        finally:
            process.terminate()
            self.assertEqual(process.wait(support.STOP_SECONDS), 0)


if __name__ == "__main__":
    unittest.main()
