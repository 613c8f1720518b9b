"""Answers that are requests of their own (TS002 asynchronous mode): network servers with an answer
URL, played by HTTP servers of this test."""
import collections
import contextlib
import http.server
import itertools
import json
import os
import secrets
import shutil
import ssl
import threading

import lorawan
import support
from test_peers import CHANGE_SECONDS, PeersTest
from test_tls import Ca

ANSWER_SECONDS = 15  # more than the answer budget
HANGING_ANSWERS = 12
CONNECTIONS = 8

_net_ids = itertools.count(0x00A001)
_transactions = itertools.count(1000)

Post = collections.namedtuple("Post", "headers body certificate")


class Receiver:
    """The answer URL of a peer. `statuses` are given to the next POSTs, 200 to those after them; a
    callable is called first, and may hold the answer up."""

    def __init__(self, context=None):
        self.posts, self.statuses, self.changed = [], [], threading.Condition()
        self.n_connections = 0
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                with receiver.changed:
                    receiver.n_connections += 1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                certificate = self.connection.getpeercert() if context else None
                status = receiver.take(Post(self.headers, body, certificate))
                self.send_response(status)
                body = b"" if status == 204 else b"{}"
                if body:
                    self.send_header("Content-Length", str(len(body)))
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request, client_address):
                if context:  # in the connection's own thread, since a handshake may fail or take long
                    request = context.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}/answers"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def take(self, post):
        with self.changed:
            self.posts.append(post)
            status = self.statuses.pop(0) if self.statuses else 200
            self.changed.notify_all()
        return status() if callable(status) else status

    def wait(self, n):
        """The first n POSTs, as soon as they are there."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.posts) >= n, ANSWER_SECONDS):
                raise AssertionError(f"{len(self.posts)} answers came, not {n}")
            return list(self.posts[:n])

    def answer(self, transaction):
        """The answer with this TransactionID."""
        def find():
            return next((b for b in (json.loads(p.body) for p in self.posts)
                         if b["TransactionID"] == transaction), None)
        with self.changed:
            found = self.changed.wait_for(find, ANSWER_SECONDS)
            if not found:
                raise AssertionError(f"no answer {transaction}")
            return found

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Bridge:
    """A network server's inner side for cradle-device: takes a request, has it answered at the answer
    URL, and gives that as the answer."""

    def __init__(self, join_url, receiver):
        bridge, self.acknowledgements = self, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, _, said = support.http("POST", join_url, body, dict(self.headers))
                bridge.acknowledgements.append((status, said))
                answer = json.dumps(receiver.answer(json.loads(body)["TransactionID"])).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class AsyncTest(PeersTest):
    """A join server of each class's own, with the folder of credentials."""

    settings = ()

    @classmethod
    def setUpClass(cls):
        stack = support.shared()
        cls.credentials = os.path.join(stack.state, f"answers-{cls.__name__}")
        os.makedirs(cls.credentials)
        cls.joinserver = stack.second_joinserver(
            f"answers.directory={cls.credentials}", *cls.settings)

    @classmethod
    def tearDownClass(cls):
        cls.joinserver.stop()

    def receiver(self, context=None):
        receiver = Receiver(context)
        self.addCleanup(receiver.close)
        return receiver

    def set_answers(self, kind, name, url, credential=None):
        credential = f"'{credential}'" if credential else "NULL"
        self.stack.psql(f"UPDATE peer SET answer_url = '{url}', answer_credential = {credential}"
                        f" WHERE kind = '{kind}' AND name = '{name}' AND revoked_at IS NULL")

    def peer(self, url, credential=None):
        """A network server that is answered there, known to the join server."""
        net_id = f"{next(_net_ids):06x}"
        server = self.network_server(net_id)
        self.set_answers("network_server", f"ns-{net_id}", url, credential)
        # The directory is loaded whole: who is not answered here any more has his KEK, too.
        support.wait_until(lambda: self.post(server, self.home_ns_req(server)) in
                           ((200, "empty"), (503, "problem")), CHANGE_SECONDS,
                           "the join server knows the answer URL")
        self.wait_none_waits()
        return server

    def wait_none_waits(self):
        support.wait_until(lambda: self.metric("cradle_join_answers_waiting") == 0, ANSWER_SECONDS,
                           "no answer waits")

    @staticmethod
    def home_ns_req(server, dev_eui="02cdcdffffffffff", **changes):
        return {"ProtocolVersion": "1.0", "SenderID": server["net_id"], "MessageType": "HomeNSReq",
                "ReceiverID": support.DEMO_JOIN_EUI, "TransactionID": next(_transactions),
                "DevEUI": dev_eui, **changes}

    def post(self, server, message):
        """(status, "empty", "problem" or "answered here")"""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        status, headers, said = support.http(
            "POST", self.joinserver.url, body,
            {"Content-Type": "application/json", "Authorization": f"Bearer {server['token']}"})
        if said == b"":
            return status, "empty"
        is_problem = headers.get_content_type() == "application/problem+json"
        return status, "problem" if is_problem else "answered here"

    def join_req(self, device, server, **changes):
        return lorawan.join_req(device, self.stack.next_nonce(device), server["net_id"],
                                **{"TransactionID": next(_transactions), **changes})

    def device_of(self, server, version="1.0.3"):
        return self.stack.devices(version, 1, server["net_id"])[0]

    def metric(self, name):
        _, _, body = support.http("GET", self.joinserver.url + "metrics")
        for line in body.decode().splitlines():
            if line.rpartition(" ")[0] == name:
                return int(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")

    def undelivered(self, reason):
        return self.metric(f'cradle_join_answers_undelivered_total{{reason="{reason}"}}')

    def delivered(self):
        return self.metric("cradle_join_answers_delivered_total")

    @contextlib.contextmanager
    def counted(self, **reasons):
        """So many answers are delivered or not, and no others."""
        def now():
            return {"delivered": self.delivered()} | {
                r: self.undelivered(r) for r in ("timeout", "unreachable", "failing", "refused",
                                                 "untrusted", "credential", "url", "queue_full")}
        before = now()
        yield
        wanted = {r: n + reasons.get(r, 0) for r, n in before.items()}
        support.wait_until(lambda: now() == wanted, ANSWER_SECONDS,
                           f"counted {reasons} more than {before}")

    def outcomes(self, device):
        return [row[0] for row in self.stack.psql(
            f"SELECT outcome FROM join_event WHERE dev_eui = '\\x{device['dev_eui']}' ORDER BY at")]

    def logged(self):
        with open(self.joinserver.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def write(self, name, text, mode=0o600):
        path = os.path.join(self.credentials, name)
        with open(f"{path}.new", "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(f"{path}.new", mode)
        os.rename(f"{path}.new", path)


class Answers(AsyncTest):
    def test_devices_join_and_keys_open_over_the_answer_url(self):
        receiver = self.receiver()
        server = self.peer(receiver.url)
        bridge = Bridge(self.joinserver.url, receiver)
        self.addCleanup(bridge.close)
        before = len(receiver.posts)
        for version in ("1.0.3", "1.0.4", "1.1"):
            with self.subTest(version=version):
                device = self.device_of(server, version)
                for _ in range(2):
                    answer = self.stack.join(device, server, url=bridge.url)
                    self.assertTrue(answer.get("agree"), answer)
        self.assertEqual(bridge.acknowledgements, [(200, b"")] * 6)
        self.assertEqual(len(receiver.posts) - before, 6)
        for post in receiver.posts:
            self.assertEqual(post.headers["Content-Type"], "application/json")
            self.assertNotIn("Authorization", post.headers)
            self.assertNotIn("Expect", post.headers)
        self.assertNotIn(receiver.url, self.logged())

    def test_every_message_with_an_answer_is_answered_there(self):
        receiver = self.receiver()
        server = self.peer(receiver.url)
        device = self.device_of(server)
        question = self.home_ns_req(server, device["dev_eui"])
        self.assertEqual(self.post(server, question), (200, "empty"))
        answer = receiver.answer(question["TransactionID"])
        self.assertEqual((answer["MessageType"], answer["HNetID"]), ("HomeNSAns", server["net_id"]))

        as_id = f"as-{server['net_id']}"
        application = {"token": self.cradle("as", "add", "--as-id", as_id)["token"]}
        self.kek("--as", as_id, f"{as_id}-1", 16)
        self.set_answers("application_server", as_id, receiver.url)
        device = self.stack.devices("1.0.3", 1, server["net_id"], as_id)[0]
        join = self.join_req(device, server)
        self.assertEqual(self.post(server, join), (200, "empty"))
        session = receiver.answer(join["TransactionID"])["SessionKeyID"]
        support.wait_until(lambda: self.post(application, self.home_ns_req(server))[1] == "empty",
                           CHANGE_SECONDS, "the application server is answered at the URL")
        question = {"ProtocolVersion": "1.0", "SenderID": as_id, "ReceiverID": device["join_eui"],
                    "MessageType": "AppSKeyReq", "TransactionID": next(_transactions),
                    "DevEUI": device["dev_eui"], "SessionKeyID": session}
        self.assertEqual(self.post(application, question), (200, "empty"))
        answer = receiver.answer(question["TransactionID"])
        self.assertEqual((answer["MessageType"], answer["Result"]["ResultCode"]),
                         ("AppSKeyAns", "Success"))

    def test_refusals_are_answered_there_and_faults_of_http_here(self):
        receiver = self.receiver()
        server = self.peer(receiver.url)
        device = self.device_of(server)
        wrong = self.join_req(device, server)
        wrong["PHYPayload"] = wrong["PHYPayload"][:-8] + "00000000"
        for code, message in (
                ("MICFailed", wrong),
                ("UnknownDevEUI", self.join_req({**device, "dev_eui": "02cdcdffffffffff"}, server)),
                ("UnknownSender", self.join_req(device, server, SenderID=support.HOME)),
                ("UnkownReceiver", self.join_req(device, server, ReceiverID="ffffffffffffffff")),
                ("MalformedRequest", self.join_req(device, server, DevAddr=None)),
                ("MalformedRequest", self.join_req(device, server, MessageType="XmitDataReq")),
                ("InvalidProtocolVersion", self.join_req(device, server, ProtocolVersion="9.9"))):
            with self.subTest(code=code):
                self.assertEqual(self.post(server, message), (200, "empty"))
                answer = receiver.answer(message["TransactionID"])
                self.assertEqual(answer["Result"]["ResultCode"], code)
        self.wait_none_waits()
        n = len(receiver.posts)
        self.assertEqual(self.post(server, b"{"), (400, "problem"))
        self.assertEqual(self.post(server, b"x" * 40000)[0], 413)
        self.assertEqual(self.post({"token": "nobody"}, wrong), (401, "problem"))
        notification = self.home_ns_req(server, MessageType="ErrorNotif", ProtocolVersion="1.1")
        self.assertEqual(self.post(server, notification), (200, "empty"))
        self.assertEqual(self.metric("cradle_join_answers_waiting"), 0)
        self.assertEqual(len(receiver.posts), n)

    def test_a_request_that_is_sent_again_gets_the_same_answer_again(self):
        receiver = self.receiver()
        server = self.peer(receiver.url)
        device = self.device_of(server)
        join = self.join_req(device, server)
        again = {**join, "TransactionID": next(_transactions)}
        answers = []
        for message in (join, again):
            self.assertEqual(self.post(server, message), (200, "empty"))
            answers.append(receiver.answer(message.pop("TransactionID")))
            del answers[-1]["TransactionID"]
        self.assertEqual(answers[0]["Result"]["ResultCode"], "Success")
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(self.outcomes(device), ["success"])


class Retries(AsyncTest):
    settings = (f"answers.connections={CONNECTIONS}",)

    def joined(self, server, status=(200, "empty")):
        """A join of a device of its own, posted."""
        device = self.device_of(server)
        join = self.join_req(device, server)
        self.assertEqual(self.post(server, join), status)
        return device, join

    def test_a_peer_that_fails_twice_gets_its_answer_once(self):
        receiver = self.receiver()
        server = self.peer(receiver.url)
        for fault in (500, 503, 408, 429):
            with self.subTest(fault=fault), self.counted(delivered=1):
                n = len(receiver.posts)
                retries = self.metric("cradle_join_answer_retries_total")
                receiver.statuses = [fault, fault]
                device, join = self.joined(server)
                bodies = [p.body for p in receiver.wait(n + 3)[n:]]
                self.assertEqual(bodies, bodies[:1] * 3)
                self.assertEqual(json.loads(bodies[0])["TransactionID"], join["TransactionID"])
                self.assertEqual(self.outcomes(device), ["success"])
                self.assertEqual(self.metric("cradle_join_answer_retries_total"), retries + 2)
        self.assertEqual(len(receiver.posts), n + 3)
        self.assertLessEqual(receiver.n_connections, 2)  # they are kept

    def test_any_2xx_is_taken_and_any_other_status_is_final(self):
        receiver = self.receiver()
        server = self.peer(receiver.url)
        for status, outcome in ((204, "delivered"), (202, "delivered"), (301, "refused"),
                                (307, "refused"), (400, "refused"), (403, "refused"),
                                (404, "refused")):
            with self.subTest(status=status), self.counted(**{outcome: 1}):
                n = len(receiver.posts)
                receiver.statuses = [status]
                device, _ = self.joined(server)
                receiver.wait(n + 1)
                self.assertEqual(self.outcomes(device), ["success"])
            self.assertEqual(len(receiver.posts), n + 1)
        self.assertIn("reason=refused", self.logged())

    def test_a_peer_that_is_down_is_counted_and_joins_go_on(self):
        server = self.peer(f"http://127.0.0.1:{support.free_ports(1)[0]}/")
        with self.counted(unreachable=1):
            device, join = self.joined(server)
        self.assertEqual(self.outcomes(device), ["success"])
        said = self.logged()
        self.assertIn(f'name="ns-{server["net_id"]}" n=1 reason=unreachable', said)
        self.assertNotIn(join["PHYPayload"], said)
        other = self.stack.device("1.0.3")
        self.assertTrue(self.stack.join(other, url=self.joinserver.url).get("agree"))
        self.assertTrue(self.stack.is_ready(self.joinserver.port))

    def test_a_peer_that_fails_all_the_time_is_given_up(self):
        receiver = self.receiver()
        server = self.peer(receiver.url)
        with self.counted(failing=1):
            receiver.statuses = [500] * 100
            self.joined(server)
        self.assertGreater(len(receiver.posts), 3)

    def test_a_silent_peer_costs_the_others_nothing(self):
        release = threading.Event()
        self.addCleanup(release.set)
        silent, well = self.receiver(), self.receiver()
        silent_server, server = self.peer(silent.url), self.peer(well.url)
        silent.statuses = [lambda: release.wait() and 200] * 1000
        with self.counted(timeout=HANGING_ANSWERS, delivered=HANGING_ANSWERS):
            for _ in range(HANGING_ANSWERS):
                self.joined(silent_server)
            silent.wait(1)
            joins = [self.joined(server)[1] for _ in range(HANGING_ANSWERS)]
            for join in joins:
                answer = well.answer(join["TransactionID"])
                self.assertEqual(answer["Result"]["ResultCode"], "Success")


class Limits(AsyncTest):
    settings = ("answers.queue=1",)

    def test_without_a_place_for_the_answer_the_join_is_not_begun(self):
        release = threading.Event()
        self.addCleanup(release.set)
        receiver = self.receiver()
        server = self.peer(receiver.url)
        n = len(receiver.posts)
        receiver.statuses = [lambda: release.wait() and 200]
        first, second = self.device_of(server), self.device_of(server)
        self.assertEqual(self.post(server, self.join_req(first, server)), (200, "empty"))
        receiver.wait(n + 1)
        join = self.join_req(second, server)
        full = self.undelivered("queue_full")
        self.assertEqual(self.post(server, join), (503, "problem"))
        self.assertEqual(self.undelivered("queue_full"), full + 1)
        self.assertEqual(self.outcomes(second), [])
        release.set()
        support.wait_until(lambda: self.post(server, join) == (200, "empty"), ANSWER_SECONDS,
                           "there is a place again")
        self.assertEqual(receiver.answer(join["TransactionID"])["Result"]["ResultCode"], "Success")


class Credentials(AsyncTest):
    def setUp(self):
        super().setUp()
        self.ca = Ca(self.folder, "ca")
        self.ca.openssl("req", "-x509", "-CA", self.ca.pem, "-CAkey", self.ca.path("key"),
                        *self.ca.new_key("server"), "-addext", "subjectAltName=IP:127.0.0.1",
                        "-addext", "basicConstraints=critical,CA:FALSE",
                        "-addext", "extendedKeyUsage=serverAuth")

    def context(self, client_ca=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca.path("pem", "server"), self.ca.path("key", "server"))
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca.pem)
        return context

    def give(self, name, **files):
        """Copies files into the folder of credentials."""
        for suffix, path in files.items():
            target = os.path.join(self.credentials, f"{name}.{suffix}")
            shutil.copyfile(path, target)
            os.chmod(target, 0o600)

    def test_certificate_and_header_are_shown_to_a_server_of_the_right_ca(self):
        secret, ours = secrets.token_hex(16), Ca(self.folder, "ours")
        client = ours.client("js", "URI:urn:example:js")
        self.give("full", ca=self.ca.pem, crt=client["cert"], key=client["key"])
        self.write("full.header", f"Bearer {secret}\n")
        receiver = self.receiver(self.context(ours))
        server = self.peer(receiver.url, "full")
        bridge = Bridge(self.joinserver.url, receiver)
        self.addCleanup(bridge.close)
        answer = self.stack.join(self.device_of(server, "1.1"), server, url=bridge.url)
        self.assertTrue(answer.get("agree"), answer)
        for post in receiver.posts:
            self.assertEqual(post.headers["Authorization"], f"Bearer {secret}")
            self.assertEqual(post.certificate["subjectAltName"], (("URI", "urn:example:js"),))
        self.assertNotIn(secret, self.logged())

    def test_a_server_with_a_wrong_certificate_gets_nothing(self):
        self.give("wrong", ca=Ca(self.folder, "wrong").pem)
        self.write("wrong.header", "Bearer not-for-everyone\n")
        receiver = self.receiver(self.context())
        # Without a credential it is verified with the system's CAs.
        servers = [self.peer(receiver.url, credential) for credential in ("wrong", None)]
        with self.counted(untrusted=2):
            for server in servers:
                self.assertEqual(self.post(server, self.join_req(self.device_of(server), server)),
                                 (200, "empty"))
        self.assertEqual(receiver.posts, [])
        self.assertNotIn("not-for-everyone", self.logged())

    def test_without_its_credential_a_peer_is_refused_before_its_join_is_begun(self):
        receiver = self.receiver()
        server = self.peer(receiver.url, "later")
        device = self.device_of(server)
        join = self.join_req(device, server)
        before = self.undelivered("credential")
        self.assertEqual(self.post(server, join), (503, "problem"))
        self.assertEqual(self.undelivered("credential"), before + 1)
        self.assertIn("no credential later", self.logged())
        self.assertEqual((self.outcomes(device), receiver.posts), ([], []))
        # Open to everyone is as good as none.
        self.write("later.header", "Bearer late\n", 0o644)
        support.wait_until(lambda: self.post(server, join)[0] == 503 and
                           "later.header is open to everyone" in self.logged(), CHANGE_SECONDS,
                           "the mode of the file is refused")
        self.write("later.header", "Bearer late\n")
        support.wait_until(lambda: self.post(server, join) == (200, "empty"), CHANGE_SECONDS,
                           "the credential is there")
        self.assertEqual(receiver.answer(join["TransactionID"])["Result"]["ResultCode"], "Success")
        self.assertEqual({p.headers["Authorization"] for p in receiver.posts}, {"Bearer late"})

    def test_a_url_that_is_not_safe_is_not_used(self):
        for url in ("http://ns.example/answers", "https://user:hidden@127.0.0.1:1/"):
            with self.subTest(url=url):
                server = self.peer(url)
                device = self.device_of(server)
                self.assertEqual(self.post(server, self.join_req(device, server)), (503, "problem"))
                self.assertEqual(self.outcomes(device), [])
        self.assertIn("reason=url", self.logged())
        self.assertNotIn("hidden", self.logged())


class Stopping(AsyncTest):
    def test_what_waits_is_delivered_before_the_end(self):
        receiver = self.receiver()
        server = self.peer(receiver.url)
        device = self.device_of(server)
        join = self.join_req(device, server)
        n = len(receiver.posts)

        def stopping():
            self.joinserver.process.terminate()
            return 503
        receiver.statuses = [stopping]
        self.assertEqual(self.post(server, join), (200, "empty"))
        self.assertEqual(json.loads(receiver.wait(n + 2)[n + 1].body)["TransactionID"],
                         join["TransactionID"])
        self.assertEqual(self.joinserver.process.wait(support.STOP_SECONDS), 0)
        self.assertNotIn("not delivered", self.logged())


class StoppingInVain(AsyncTest):
    def test_what_cannot_be_delivered_does_not_hold_the_end_up(self):
        receiver = self.receiver()
        server = self.peer(receiver.url)
        device = self.device_of(server)

        def stopping():
            self.joinserver.process.terminate()
            return 503
        receiver.statuses = [stopping] + [503] * 1000
        self.assertEqual(self.post(server, self.join_req(device, server)), (200, "empty"))
        self.assertEqual(self.joinserver.process.wait(support.STOP_SECONDS), 0)
        self.assertIn(f'name="ns-{server["net_id"]}" n=1 reason=failing', self.logged())
        self.assertEqual(self.outcomes(device), ["success"])
