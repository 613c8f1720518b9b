"""The OpenAPI description: what is served is what the tests hold, and the tests can tell a difference."""

import email.message
import json
import unittest

import openapi
import support

JOB = {"id": "00" * 16, "kind": "import", "state": "done", "line": 1, "created": 1, "exists": 0, "refused": 0,
       "warned": 0, "exported": 0, "moved": 0, "move": None, "rows": None, "batch": None, "fault": None, "created_at": "2026-01-01T00:00:00Z", "changed_at": "2026-01-01T00:00:00Z",
       "result_until": None}


def headers(kind):
    message = email.message.Message()
    message["Content-Type"] = kind
    return message


class Served(unittest.TestCase):
    def test_what_is_served_is_what_is_held(self):
        served = json.loads(support.shared().activation("GET", "/v1/openapi.json")[2])
        self.assertEqual(served["openapi"], "3.1.0")
        self.assertEqual(served["paths"], openapi.description.paths)
        self.assertEqual(served["components"], openapi.description.components)

    def test_every_path_answers_other_methods_with_405(self):
        stack = support.shared()
        for path, item in openapi.description.paths.items():
            concrete = "/".join("00" * 16 if part.startswith("{") else part for part in path.split("/"))
            for method in {"get", "post", "put", "patch", "delete"} - set(item):
                self.assertEqual(stack.activation(method.upper(), concrete)[0], 405, f"{method} {path}")


class Held(unittest.TestCase):
    """The holding itself can fail."""

    def refused(self, status, kind, answer, path="/v1/jobs/" + "00" * 16, method="GET"):
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        with self.assertRaises(openapi.Undocumented) as caught:
            openapi.Description().hold(method, path, status, headers(kind), body)
        return str(caught.exception)

    def test_a_true_answer_is_taken(self):
        openapi.Description().hold(
            "GET", "/v1/jobs/" + "00" * 16, 200, headers("application/json"), json.dumps(JOB).encode())

    def test_another_status_type_or_path_is_not(self):
        self.refused(299, "application/json", JOB)
        self.refused(200, "text/html", JOB)
        self.refused(200, "application/json", JOB, path="/v1/elsewhere")
        self.refused(204, "application/json", b"x", method="DELETE")

    def test_members_are_held(self):
        self.assertIn("colour", self.refused(200, "application/json", {**JOB, "colour": "red"}))
        self.assertIn("line", self.refused(200, "application/json", {**JOB, "line": "1"}))
        self.assertIn("state", self.refused(200, "application/json", {**JOB, "state": "lost"}))
        self.assertIn("created_at", self.refused(200, "application/json", {**JOB, "created_at": "yesterday, Z"}))
        self.assertIn("required", self.refused(200, "application/json", {"id": "1"}))

    def test_a_keyword_that_is_not_known_is_an_error(self):
        with self.assertRaises(openapi.Undocumented):
            openapi.Description().check(1, {"exclusiveMinimum": 0}, "here")

    def test_calls_that_never_succeeded_are_known(self):
        description = openapi.Description()
        self.assertIn(("get", "/v1/jobs/{job}"), description.never_succeeded())
        description.hold("GET", "/v1/jobs/" + "00" * 16, 200, headers("application/json"), json.dumps(JOB).encode())
        self.assertNotIn(("get", "/v1/jobs/{job}"), description.never_succeeded())
