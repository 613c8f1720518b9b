"""The small import and the token endpoint of the activation service."""
import base64
import json
import os
import secrets
import unittest

import support

SAMPLE = os.path.join(support.ROOT, "tests/data/thingpark-sample.csv")
SAMPLE_ROWS = 16


class Import(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()

    def row(self, **changes):
        row = {"dev_eui": f"02cdcd04{secrets.token_hex(4)}", "join_eui": support.DEMO_JOIN_EUI,
               "app_key": secrets.token_hex(16), "nwk_key": "", "mac_version": "1.0.3",
               "home_net_id": support.HOME, "as_id": "demo-as"}
        row.update(changes)
        return row

    def post(self, rows, **options):
        lines = [",".join(rows[0])] + [",".join(row.values()) for row in rows]
        return self.stack.import_file("\n".join(lines) + "\n", **options)

    def test_the_sample_is_taken_row_by_row_with_warnings_of_shared_keys(self):
        with open(SAMPLE, "rb") as file:
            sample = file.read()
        query = (f"format=thingpark-csv&mac_version=1.0.3&home_net_id={support.HOME}&as_id=demo-as")
        status, rows = self.stack.import_file(sample, query)
        self.assertEqual(status, 200, rows)
        self.assertEqual([row["outcome"] for row in rows], ["created"] * SAMPLE_ROWS)
        lines = [line.split(",") for line in sample.decode().split() if line.startswith("CREATE_OTAA")]
        keys = [fields[5] for fields in lines]
        for row, fields in zip(rows, lines):
            self.assertEqual(row["dev_eui"], fields[1].lower())
            warned = any(w["type"] == "duplicate-key" for w in row.get("warnings", []))
            self.assertEqual(warned, keys.count(fields[5]) > 1, row)
        self.assertLess(len(set(keys)), SAMPLE_ROWS, "the sample has lost its flaw")

        device = {"dev_eui": lines[0][1].lower(), "join_eui": lines[0][4].lower(),
                  "app_key": keys[0].lower(), "nwk_key": None, "mac_version": "1.0.3", "dev_nonce": 1}
        self.assertTrue(self.stack.join(device)["agree"])

        status, rows = self.stack.import_file(sample, query)
        self.assertEqual([row["outcome"] for row in rows], ["exists"] * SAMPLE_ROWS)

    def test_a_bad_row_is_refused_and_its_neighbours_are_taken(self):
        status, rows = self.post([self.row(), self.row(app_key="12"), self.row()])
        self.assertEqual(status, 200)
        self.assertEqual([row["outcome"] for row in rows], ["created", "refused", "created"])
        self.assertEqual([row["line"] for row in rows], [2, 3, 4])
        self.assertEqual(rows[1]["reason"], "bad-app-key")
        self.assertEqual(rows[1]["field"], "app_key")

    def test_a_row_without_a_home_is_taken_and_its_device_may_not_join(self):
        row = self.row(home_net_id="", as_id="")
        self.assertEqual(self.post([row])[1][0]["outcome"], "created")
        device = dict(row, nwk_key=None, dev_nonce=1)
        self.assertEqual(self.stack.join(device)["result_code"], "UnknownDevEUI")

    def test_a_device_that_is_there_keeps_its_key(self):
        device = self.stack.device("1.0.3")
        status, rows = self.post([self.row(dev_eui=device["dev_eui"])])
        self.assertEqual(rows[0]["outcome"], "exists")
        self.assertTrue(self.stack.join(device)["agree"])

    def test_no_key_is_ever_said_again(self):
        key = secrets.token_hex(16)
        rows = [self.row(app_key=key), self.row(app_key=key), self.row(app_key=key + "0")]
        answer = json.dumps(self.post(rows))
        self.assertNotIn(key, answer.lower())

    def test_a_client_that_is_no_maker_is_forbidden(self):
        status, problem = self.post([self.row()], token=self.stack.token("admin"))
        self.assertEqual(status, 403)
        self.assertIn("type", problem)
        self.assertIn("title", problem)

    def test_without_a_good_token_it_is_401(self):
        for token in ("x", self.stack.token()[:-2], self.stack.home["token"]):
            self.assertEqual(self.post([self.row()], token=token)[0], 401)

    def test_a_query_that_is_not_known_holds_the_import_back(self):
        device = "02cdcd03000000aa," + support.DEMO_JOIN_EUI + "," + "5a" * 15 + "01"
        file = "dev_eui,join_eui,app_key\n" + device + "\n"
        status, problem = self.stack.import_file(file, "format=csv&mac_version=1.0.3&colour=red")
        self.assertEqual(status, 400, problem)
        status, rows = self.stack.import_file(file, "format=csv&mac_version=1.0.3")
        self.assertEqual([row["outcome"] for row in rows], ["created"])

    def test_an_unknown_format_or_an_empty_file_is_a_problem_document(self):
        for query, body in (("format=xml", "a"), ("format=csv", ""), ("format=csv", "a,b\n1,2\n")):
            status, problem = self.stack.import_file(body, query)
            self.assertIn(status, (400, 422), query)
            self.assertTrue(problem["title"])


class Token(unittest.TestCase):
    def setUp(self):
        self.stack = support.shared()
        self.client = self.stack.demo["clients"]["maker"]

    def post(self, body, authorization=None):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if authorization:
            headers["Authorization"] = authorization
        status, headers, answer = self.stack.activation("POST", "/v1/token", body.encode(), headers)
        return status, headers, json.loads(answer)

    def basic(self, secret=None):
        text = f"{self.client['client_id']}:{secret or self.client['client_secret']}"
        return "Basic " + base64.b64encode(text.encode()).decode()

    def test_the_right_secret_gets_a_bearer_token_that_is_not_stored_by_caches(self):
        status, headers, answer = self.post("grant_type=client_credentials", self.basic())
        self.assertEqual(status, 200)
        self.assertEqual(answer["token_type"].lower(), "bearer")
        self.assertGreater(answer["expires_in"], 0)
        self.assertEqual(headers["Cache-Control"], "no-store")

    def test_the_secret_may_stand_in_the_body(self):
        status, _, _ = self.post("grant_type=client_credentials"
                                 f"&client_id={self.client['client_id']}"
                                 f"&client_secret={self.client['client_secret']}")
        self.assertEqual(status, 200)

    def test_a_wrong_secret_is_invalid_client(self):
        wrong = self.client["client_secret"][:-1] + "_"
        for authorization in (self.basic(wrong), None):
            body = "grant_type=client_credentials"
            if authorization is None:
                body += f"&client_id={'0' * 32}&client_secret={wrong}"
            status, headers, answer = self.post(body, authorization)
            self.assertEqual((status, answer["error"]), (401, "invalid_client"))
            self.assertIn("Basic", headers["WWW-Authenticate"])

    def test_another_grant_is_not_supported_and_none_is_invalid(self):
        status, _, answer = self.post("grant_type=password", self.basic())
        self.assertEqual((status, answer["error"]), (400, "unsupported_grant_type"))
        status, _, answer = self.post("a=b", self.basic())
        self.assertEqual((status, answer["error"]), (400, "invalid_request"))
