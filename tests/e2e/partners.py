"""A partner for these tests: another join server, played strictly. It takes nothing but what TS002 and
our documents say a carried request is, and answers as a test tells it to."""
import http.server
import json
import re
import ssl
import threading

PARTNER_SECONDS = 15
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]")
VIA = re.compile(r"1\.1 [A-Za-z0-9._-]+(, 1\.1 [A-Za-z0-9._-]+)*")
NETWORK_MESSAGES = ("JoinReq", "RejoinReq", "HomeNSReq")


class Hang:
    """Instead of an answer: nothing, until the test ends."""


class Close:
    """Instead of an answer: the connection is closed."""


class Request:
    def __init__(self, headers, body, certificate, port):
        self.headers, self.body, self.certificate, self.port = headers, body, certificate, port
        self.message = json.loads(body)


def answer_to(message, result="Success", **changes):
    """The answer of a join server that knows the device; None takes a member away."""
    kind = message["MessageType"]
    answer = {"ProtocolVersion": message["ProtocolVersion"], "SenderID": message["ReceiverID"],
              "ReceiverID": message["SenderID"], "TransactionID": message["TransactionID"],
              "MessageType": kind.replace("Req", "Ans"), "Result": {"ResultCode": result}}
    if "SenderToken" in message:
        answer["ReceiverToken"] = message["SenderToken"]
    if "SenderNSID" in message:
        answer["ReceiverNSID"] = message["SenderNSID"]
    if result == "Success" and kind in ("JoinReq", "RejoinReq"):
        answer |= {"PHYPayload": "20" + "ab" * 16, "Lifetime": 0, "SessionKeyID": "0102",
                   "NwkSKey": {"KEKLabel": "ns", "AESKey": "11" * 24},
                   "AppSKey": {"KEKLabel": "as", "AESKey": "22" * 24}}
    if result == "Success" and kind == "HomeNSReq":
        answer["HNetID"] = "00002a"
    if result == "Success" and kind == "AppSKeyReq":
        answer |= {"DevEUI": message["DevEUI"], "SessionKeyID": message["SessionKeyID"],
                   "AppSKey": {"KEKLabel": "as", "AESKey": "33" * 24}}
    answer |= changes
    return {name: value for name, value in answer.items() if value is not None}


class Partner:
    """`say`: what the next requests get, then `usual`: a callable of the message that gives a message,
    bytes, a status, (status, message or bytes[, length that is said]), Hang or Close."""

    def __init__(self, context=None, version="1.0"):
        self.requests, self.faults, self.say = [], [], []
        self.usual, self.version = answer_to, version
        self.n_connections = 0
        self.changed, self.ending = threading.Condition(), threading.Event()
        partner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                with partner.changed:
                    partner.n_connections += 1

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                certificate = self.connection.getpeercert() if context else None
                request = Request(self.headers, body, certificate, self.client_address[1])
                said = partner.take(request)(request.message)
                if said is Hang:
                    partner.ending.wait()
                if said in (Hang, Close):
                    self.close_connection = True
                    return
                status, said, length = partner.spelled(said)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(said)
                self.close_connection = length != len(said)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def finish_request(self, request, client_address):
                if context:  # in the connection's own thread, since a handshake may fail or take long
                    request = context.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_port}/ts002"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def spelled(said):
        """Status, body and the length that is said of it."""
        if isinstance(said, int):
            said = (said, b"")
        status, said, *length = said if isinstance(said, tuple) else (200, said)
        said = said if isinstance(said, bytes) else json.dumps(said).encode()
        return status, said, length[0] if length else len(said)

    def judge(self, request):
        headers, message = request.headers, request.message
        rules = {
            "one Content-Type": headers.get_all("Content-Type") == ["application/json"],
            "no Expect": "Expect" not in headers,
            "one Via": len(headers.get_all("Via", [])) == 1 and VIA.fullmatch(headers["Via"]),
            "one traceparent": len(headers.get_all("traceparent", [])) == 1 and
                               TRACEPARENT.fullmatch(headers["traceparent"]),
            "the version": message["ProtocolVersion"] == self.version,
            "a TransactionID": type(message["TransactionID"]) is int and 0 <= message["TransactionID"] < 2**32,
            "an own TransactionID": message["TransactionID"] not in
                                    [r.message["TransactionID"] for r in self.requests],
            "a JoinEUI": re.fullmatch("[0-9a-fA-F]{16}", message["ReceiverID"]),
        }
        if message["MessageType"] in NETWORK_MESSAGES:
            rules["a NetID"] = re.fullmatch("[0-9a-fA-F]{6}", message["SenderID"])
            rules["a SenderNSID in 1.1 alone"] = bool(re.fullmatch(
                "[0-9a-f]{16}", message.get("SenderNSID", ""))) == (self.version == "1.1")
        else:
            rules["no SenderNSID"] = "SenderNSID" not in message
        return [rule for rule, holds in rules.items() if not holds]

    def take(self, request):
        with self.changed:
            self.faults += self.judge(request)
            self.requests.append(request)
            says = self.say.pop(0) if self.say else self.usual
            self.changed.notify_all()
        return says if callable(says) and says not in (Hang, Close) else lambda _: says

    def wait(self, n):
        """The first n requests, as soon as they are there."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= n, PARTNER_SECONDS):
                raise AssertionError(f"{len(self.requests)} requests came, not {n}")
            return list(self.requests[:n])

    def close(self):
        self.ending.set()
        self.server.shutdown()
        self.server.server_close()


def make_server_certificate(ca, name="server", alt="IP:127.0.0.1", purpose="serverAuth"):
    ca.openssl("req", "-x509", "-CA", ca.pem, "-CAkey", ca.key, *ca.new_key(name), "-addext",
               f"subjectAltName={alt}", "-addext", "basicConstraints=critical,CA:FALSE", "-addext",
               f"extendedKeyUsage={purpose}")
    return {"cert": ca.path("pem", name), "key": ca.path("key", name)}


def server_context(server, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server["cert"], server["key"])
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca.pem)
    return context


def literal(value):
    """As SQL writes it."""
    if value is None or isinstance(value, bool):
        return {None: "NULL", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def add_partner(stack, name, url, **columns):
    """Its id."""
    columns = {"name": name, "url": url, "protocol_version": "1.0", **columns}
    row = stack.psql(f"INSERT INTO partner ({', '.join(columns)}) VALUES "
                     f"({', '.join(map(literal, columns.values()))}) RETURNING id")
    return int(row[0][0])


def add_route(stack, join_eui, kind, partner_id=None, bits=64):
    stack.psql("INSERT INTO join_route (prefix, prefix_len, kind, partner_id) VALUES "
               f"('\\x{join_eui}', {bits}, '{kind}', {literal(partner_id)})")

