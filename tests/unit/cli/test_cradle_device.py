"""cradle-device as a program: exit codes and output against a join server that plays back the
published exchange V061 of the vectors, right or spoilt. Arguments: the program, vectors.json."""
import http.server
import json
import subprocess
import sys
import threading
import unittest

PROGRAM, VECTORS = sys.argv[1], sys.argv[2]
KEY = "01020304050607080102030405060708"
DEVICE = ["--dev-eui", "0102030405060708", "--join-eui", "0807060504030201", "--net-id", "010203",
          "--mac-version", "1.1", "--app-key", "08070605040302010807060904030201", "--nwk-key", KEY,
          "--dev-nonce", "258", "--dev-addr", "01020304", "--dl-settings", "95",
          "--cf-list", "988d8468958400000000000000000000"]


def published():
    with open(VECTORS, encoding="utf-8") as file:
        vectors = json.load(file)["vectors"]
    return next(v for v in vectors if v["id"] == "V061")


class JoinServer(http.server.BaseHTTPRequestHandler):
    """The first part of the path says how the answer is spoilt."""
    requests = []

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((dict(self.headers), body))
        answer = dict(published()["expected"]["answer"], TransactionID=body["TransactionID"])
        way = self.path.strip("/")
        if way == "refuse":
            answer = {k: answer[k] for k in ("ProtocolVersion", "MessageType", "TransactionID",
                                             "SenderID", "ReceiverID")}
            answer["Result"] = {"ResultCode": "UnknownDevEUI"}
        elif way == "mic":
            answer["PHYPayload"] = answer["PHYPayload"][:-1] + "0"
        elif way == "key":
            answer["AppSKey"] = {"AESKey": "00" * 16}
        elif way == "transaction":
            answer["TransactionID"] ^= 1
        text = json.dumps(answer).encode()
        if way == "html":
            text = b"<html>hello</html>"
        elif way == "endless":
            text = b" " * 200000 + text
        elif way == "acknowledge":
            text = b""
        elif way == "busy":
            text = b'{"title":"unavailable","status":503,"detail":"the queue is full"}'
        self.send_response(503 if way == "busy" else 200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        try:
            self.wfile.write(text)
        except OSError:
            pass  # the device hung up on a body that is too long


class CradleDevice(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), JoinServer)
        cls.url = "http://127.0.0.1:%d/" % cls.server.server_address[1]
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()

    def run_program(self, *args):
        return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=60,
                              check=False)

    def join(self, way, *more):
        return self.run_program("join", *DEVICE, "--token", "secret-token", "--url",
                                self.url + way, *more)

    def test_a_right_answer_agrees(self):
        done = self.join("right", "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertIs(report["agree"], True)
        self.assertIs(report["opt_neg"], True)
        self.assertIsNone(report["error"])
        self.assertEqual((report["result_code"], report["http_status"]), ("Success", 200))
        self.assertEqual((report["join_nonce"], report["dev_nonce"]), (65536, 258))
        self.assertEqual((report["dev_addr"], report["net_id"]), ("01020304", "010203"))
        self.assertNotIn("keys", report)

    def test_the_request_carries_token_type_and_frame(self):
        self.join("right")
        headers, body = JoinServer.requests[-1]
        self.assertEqual(headers["Authorization"], "Bearer secret-token")
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(body["PHYPayload"], published()["inputs"]["request"]["PHYPayload"])

    def test_keys_are_printed_only_when_asked_for(self):
        answer = published()["expected"]["answer"]
        names = ("FNwkSIntKey", "SNwkSIntKey", "NwkSEncKey", "AppSKey")
        for more in ([], ["--json"]):
            hidden, shown = self.join("right", *more), self.join("right", "--show-keys", *more)
            for name in names:
                self.assertNotIn(answer[name]["AESKey"], hidden.stdout)
                self.assertIn(answer[name]["AESKey"], shown.stdout)

    def test_exit_codes_tell_the_faults_apart(self):
        for way, code in (("refuse", 2), ("mic", 3), ("key", 3), ("transaction", 1), ("html", 1),
                          ("endless", 1), ("busy", 1), ("acknowledge", 1)):
            for more in ([], ["--json"]):
                with self.subTest(way=way, more=more):
                    done = self.join(way, *more)
                    self.assertEqual(done.returncode, code, done.stdout + done.stderr)
                    if more:
                        report = json.loads(done.stdout)
                        self.assertIs(report["agree"], False)
                        self.assertTrue(report["error"])
                    else:
                        self.assertIn("Not joined", done.stdout)

    def test_what_is_no_answer_is_told_in_the_servers_words(self):
        for way, words in (("busy", "HTTP 503, the queue is full"),
                           ("acknowledge", "acknowledged; the answer goes to the peer's answer URL")):
            with self.subTest(way):
                self.assertIn(words, self.join(way).stdout)

    def test_a_stale_join_nonce_disagrees(self):
        self.assertEqual(self.join("right", "--last-join-nonce", "65536").returncode, 3)

    def test_a_server_that_is_away_is_exit_1(self):
        with http.server.HTTPServer(("127.0.0.1", 0), JoinServer) as gone:
            url = "http://127.0.0.1:%d/" % gone.server_address[1]
        done = self.run_program("join", *DEVICE, "--token", "t", "--url", url, "--json")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(json.loads(done.stdout)["http_status"], 0)

    def test_print_request_prints_one_join_req_and_sends_nothing(self):
        before = len(JoinServer.requests)
        done = self.run_program("join", *DEVICE, "--print-request")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["MessageType"], "JoinReq")
        self.assertEqual(len(JoinServer.requests), before)

    def test_wrong_use_is_exit_1_with_a_sentence(self):
        for args in ((), ("fly",), ("join",), ("join", *DEVICE, "--rx-delay", "x")):
            done = self.run_program(*args)
            self.assertEqual(done.returncode, 1)
            self.assertTrue(done.stderr)
            self.assertEqual(done.stdout, "")

    def test_help_and_version_are_exit_0(self):
        for args in (("--help",), ("--version",), ("join", "--help")):
            done = self.run_program(*args)
            self.assertEqual(done.returncode, 0)
            self.assertTrue(done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
