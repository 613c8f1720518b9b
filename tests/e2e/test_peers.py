"""What an operator changes of peers, KEKs and routes while join servers run: `cradle` on one side,
network servers on the other. Each test has peers, KEKs and routes of its own."""
import contextlib
import http.client
import json
import os
import secrets
import ssl
import subprocess
import unittest

import lorawan
import support
from certificates import Ca

CHANGE_SECONDS = 10


class PeersTest(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()
        self.folder = self.stack.path("operator", self.id())
        os.makedirs(self.folder)

    def lines(self, *args):
        run = self.stack.cradle(*args)
        self.assertEqual(run.returncode, 0, run.stderr)
        return [json.loads(line) for line in run.stdout.splitlines()]

    def cradle(self, *args):
        return self.lines(*args)[0]

    def refused(self, *args):
        run = self.stack.cradle(*args)
        self.assertEqual((run.returncode, run.stdout), (1, ""), run.stderr)
        return run.stderr

    def listed(self, group, key, name):
        return [line for line in self.lines(group, "list") if line[key] == name]

    def kek(self, option, peer, label, length):
        """A KEK handed over as a peer would; its bytes as hex digits."""
        key, sealed = secrets.token_bytes(length), os.path.join(self.folder, label)
        run = subprocess.run(
            ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", self.stack.path("exchange.pem"),
             "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1", "-out", sealed],
            input=key, capture_output=True, check=False)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.cradle("kek", "add", option, peer, "--label", label, "--sealed", sealed,
                    "--length", str(length))
        return key.hex()

    def network_server(self, net_id, length=16):
        """A network server with a KEK; as demo.json would name it."""
        token = self.cradle("ns", "add", "--name", f"ns-{net_id}", "--net-id", net_id)["token"]
        label = f"ns-{net_id}-1"
        return {"net_id": net_id, "token": token, "kek_label": label,
                "kek": self.kek("--ns", net_id, label, length)}

    def wait_agree(self, device, server, url=None, **options):
        """Joins until all keys are opened and equal: a join server may hear of a change late."""
        def agreed():
            answer = self.stack.join(device, server, url=url, **options)
            return answer if answer.get("agree") else None
        return support.wait_until(agreed, CHANGE_SECONDS, "device and servers agree")

    def wait_code(self, code, message, token):
        def answered():
            status, body = self.stack.post_join(message, token)
            return status == 200 and body["Result"]["ResultCode"] == code
        support.wait_until(answered, CHANGE_SECONDS, f"the join server says {code}")


class Revoking(PeersTest):
    def test_a_revoked_token_is_refused_by_every_join_server(self):
        server = self.network_server("000051")
        device = self.stack.devices("1.0.3", 1, "000051")[0]
        second = self.stack.second_joinserver()
        urls = (self.stack.join_url, second.url)
        for url in urls:
            self.wait_agree(device, server, url)
        message = lorawan.join_req(device, self.stack.next_nonce(device), "000051")
        self.assertEqual(self.cradle("ns", "revoke", "--name", "ns-000051"), {"name": "ns-000051"})
        for url in urls:
            support.wait_until(lambda u=url: self.stack.post_join(message, server["token"], u)[0] == 401,
                               CHANGE_SECONDS, "the token is refused")
            self.assertEqual(self.stack.post_join(message, self.stack.home["token"], url)[0], 200)
        self.assertIn("revoked already", self.refused("ns", "revoke", "--name", "ns-000051"))
        second.stop()
        # A successor of that name has a token of its own, and the old one stays refused.
        token = self.cradle("ns", "add", "--name", "ns-000051", "--net-id", "000051")["token"]
        self.wait_agree(device, {**server, "token": token})
        self.assertEqual(self.stack.post_join(message, server["token"])[0], 401)
        self.assertEqual(["revoked" in line for line in self.listed("ns", "name", "ns-000051")],
                         [True, False])

    def test_a_revoked_certificate_is_refused_and_on_a_connection_that_is_open(self):
        ca = Ca(self.folder, "ca")
        client = ca.client("client", "DNS:ns.gone.example")
        self.cradle("ns", "add", "--name", "tls-52", "--net-id", "000052", "--san",
                    "ns.gone.example", "--ca", ca.pem)
        message = lorawan.join_req(self.stack.device("1.0.3"), 3, "000052")

        def connection():
            context = ssl.create_default_context(cafile=self.stack.demo["join"]["ca"])
            context.load_cert_chain(client["cert"], client["key"])
            return http.client.HTTPSConnection("127.0.0.1", self.stack.join_tls_port,
                                               context=context, timeout=support.HTTP_SECONDS)

        def status(over):
            """None: there is no exchange."""
            try:
                over.request("POST", "/", json.dumps(message), {"Content-Type": "application/json"})
                answer = over.getresponse()
                answer.read()
                return answer.status
            except (ssl.SSLError, ConnectionError, http.client.HTTPException):
                over.close()
                return None

        def fresh():
            with contextlib.closing(connection()) as over:
                return status(over)

        support.wait_until(lambda: fresh() == 200, CHANGE_SECONDS, "the certificate is taken")
        with contextlib.closing(connection()) as kept:
            self.assertEqual(status(kept), 200)
            self.cradle("ns", "revoke", "--name", "tls-52")
            support.wait_until(lambda: status(kept) != 200, CHANGE_SECONDS,
                               "the open connection is refused")
        self.assertIsNone(fresh())

    def test_an_application_server_is_listed_and_revoked(self):
        token = self.cradle("as", "add", "--as-id", "as-gone")["token"]
        before = self.listed("as", "as_id", "as-gone")
        self.assertEqual([sorted(line) for line in before],
                         [["answer_credential", "answer_url", "app_s_key", "as_id", "created"]])
        self.assertEqual(self.cradle("as", "revoke", "--as-id", "as-gone"), {"as_id": "as-gone"})
        self.assertIn("revoked", self.listed("as", "as_id", "as-gone")[0])
        self.assertNotIn(token, self.stack.cradle("as", "list").stdout)
        self.assertIn("no application server", self.refused("as", "revoke", "--as-id", "nobody"))

    def test_a_list_tells_who_and_no_secret(self):
        self.cradle("ns", "add", "--name", "hub", "--net-id", "000054", "--net-id", "000053")
        line = self.listed("ns", "name", "hub")[0]
        self.assertRegex(line.pop("created"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(line, {"name": "hub", "net_ids": ["000053", "000054"], "ns_ids": [],
                                "allow_plain_keys": "no", "app_s_key": "wrapped",
                                "session_key_id": "send", "answer_url": "none",
                                "answer_credential": "none"})


class Keks(PeersTest):
    def test_keks_of_every_length_are_opened_by_the_servers(self):
        self.cradle("as", "add", "--as-id", "as-keks")
        for net_id, ns_length, as_length in (("000061", 32, 24), ("000062", 24, 16),
                                             ("000063", 16, 32)):
            server = self.network_server(net_id, ns_length)
            label = f"as-keks-{as_length}"
            as_kek = f"{label}={self.kek('--as', 'as-keks', label, as_length)}"
            for version in ("1.0.3", "1.1"):
                with self.subTest(net_id=net_id, version=version):
                    device = self.stack.devices(version, 1, net_id, "as-keks")[0]
                    self.wait_agree(device, server, as_kek=as_kek)

    def test_the_current_kek_is_changed_and_an_old_one_removed(self):
        server = self.network_server("000064")
        device = self.stack.devices("1.0.3", 1, "000064")[0]
        self.wait_agree(device, server)
        first, second = ["--ns", "000064", "--label", "ns-000064-1"], \
                        ["--ns", "000064", "--label", "ns-000064-2"]
        self.assertIn("add another first", self.refused("kek", "revoke", *first))
        renewed = {**server, "kek_label": "ns-000064-2",
                   "kek": self.kek("--ns", "000064", "ns-000064-2", 32)}
        self.wait_agree(device, renewed)
        self.assertEqual(self.cradle("kek", "use", *first), {
            "peer": "000064", "class": "ns", "label": "ns-000064-1", "current": True})
        self.wait_agree(device, server)
        self.assertEqual([(line["label"], line["current"], sorted(line))
                          for line in self.listed("kek", "peer", "000064")],
                         [(f"ns-000064-{n}", n == 1, ["class", "created", "current", "label", "peer"])
                          for n in (1, 2)])
        self.assertIn("cradle kek use", self.refused("kek", "revoke", *first))
        self.assertIn("remove the others", self.refused("kek", "revoke", *first, "--last"))
        self.assertEqual(self.cradle("kek", "revoke", *second), {
            "peer": "000064", "class": "ns", "label": "ns-000064-2"})
        self.assertIn("no KEK", self.refused("kek", "revoke", *second))
        self.assertIn("no KEK", self.refused("kek", "use", *second))
        self.wait_agree(device, server)


class Routes(PeersTest):
    def test_a_removed_route_is_not_answered_and_an_added_one_is(self):
        home = self.stack.home
        device = {**self.stack.device("1.0.3"), "join_eui": "7eeeeeeeee000001"}
        message = lorawan.join_req(device, 1, home["net_id"])
        route, line = "7eeeeeeeee000000/40", {"prefix": "7eeeeeeeee000000", "bits": 40}
        made = self.cradle("route", "add", route)
        self.assertEqual(made, {**line, "kind": "local", "partner": None, "organization": None, "created_at": made["created_at"]})
        self.assertEqual(self.listed("route", "prefix", line["prefix"]), [made])
        self.wait_code("UnknownDevEUI", message, home["token"])
        self.assertEqual(self.cradle("route", "remove", route), line)
        self.wait_code("UnkownReceiver", message, home["token"])  # TS002's own spelling
        self.assertEqual(self.listed("route", "prefix", line["prefix"]), [])
        self.assertIn("no route", self.refused("route", "remove", route))


if __name__ == "__main__":
    unittest.main()
