"""Organizations, clients, rights and audit over REST: who may what, and what is left behind."""

import base64
import json
import secrets
import threading
import unittest

import support
from test_gate import Session

ROLES = ("admin", "operator", "module_maker", "product_maker", "owner", "application_server", "auditor")
METHODS = ("get", "post", "put", "patch", "delete")
NOBODY = "00" * 16


class Rest:
    """Calls as one client."""

    def __init__(self, stack, client):
        self.stack = stack
        self.client = client
        basic = base64.b64encode(f"{client['client_id']}:{client['client_secret']}".encode()).decode()
        status, _, answer = stack.activation(
            "POST", "/v1/token", b"grant_type=client_credentials",
            {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"})
        if status != 200:
            raise AssertionError(f"/v1/token: {status} {answer}")
        self.token = json.loads(answer)["access_token"]

    def call(self, method, path, body=None, **headers):
        """(status, headers, answer); the answer is None without a body."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["Authorization"] = f"Bearer {self.token}"
        if body is not None and not isinstance(body, bytes):
            body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        status, got, answer = self.stack.activation(method.upper(), path, body, headers)
        is_json = got.get_content_type() in ("application/json", "application/problem+json")
        return status, got, json.loads(answer) if is_json and answer else None


class AccountsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.shared()
        cls.admin = Rest(cls.stack, cls.cradle_client("Accounts admin", "admin"))

    @classmethod
    def cradle_client(cls, organization, role):
        run = cls.stack.cradle("client", "add", "--organization", organization, "--role", role)
        if run.returncode != 0:
            raise AssertionError(run.stderr)
        return json.loads(run.stdout)

    def organization(self, **members):
        status, headers, made = self.admin.call(
            "post", "/v1/organizations", {"name": f"org {secrets.token_hex(4)}", **members})
        self.assertEqual(status, 201, made)
        self.assertEqual(headers["Location"], f"/v1/organizations/{made['id']}")
        return made

    def client(self, organization, *roles):
        status, _, made = self.admin.call(
            "post", f"/v1/organizations/{organization['id']}/clients", {"roles": roles, "name": "test"})
        self.assertEqual(status, 201, made)
        return made

    def events(self, request_id):
        return self.stack.psql("SELECT action, object, detail FROM audit_event WHERE request_id = '%s' ORDER BY id" % request_id)


class Accounts(AccountsTest):
    def test_an_organization_is_made_seen_changed_and_listed(self):
        made = self.organization()
        path = f"/v1/organizations/{made['id']}"
        self.assertFalse(made["allow_clear_keys"])
        self.assertEqual(self.admin.call("get", path)[2], made)
        status, headers, changed = self.admin.call("patch", path, {"allow_clear_keys": True})
        self.assertEqual((status, changed), (200, {**made, "allow_clear_keys": True}))
        self.assertEqual([event[0] for event in self.events(headers["X-Request-Id"])], ["organization.change"])
        seen, cursor = [], ""
        while cursor is not None:
            status, _, page = self.admin.call("get", f"/v1/organizations?limit=2{cursor and '&cursor=' + cursor}")
            self.assertEqual(status, 200)
            self.assertLessEqual(len(page["items"]), 2)
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
        self.assertEqual(len(seen), len(set(seen)))
        self.assertIn(made["id"], seen)

    def test_a_name_is_one_organizations(self):
        first, second = self.organization(), self.organization()
        for method, path in (("post", "/v1/organizations"), ("patch", f"/v1/organizations/{second['id']}")):
            status, _, problem = self.admin.call(method, path, {"name": first["name"]})
            self.assertEqual((status, problem["type"]), (409, "urn:cradle:problem:conflict"))
        self.assertEqual(self.admin.call("get", f"/v1/organizations/{second['id']}")[2], second)

    def test_a_bad_body_names_its_member(self):
        for body, field in (({}, "name"), ({"name": ""}, "name"), ({"name": "a\nb"}, "name"), ({"name": 5}, "name"),
                            ({"name": "x" * 101}, "name"), ({"name": "good", "allow_clear_keys": "yes"}, "allow_clear_keys"),
                            ({"name": "good", "claim_code_length": 20}, "claim_code_length"), ({"name": "good", "claim_code_length": 99}, "claim_code_length")):
            status, _, problem = self.admin.call("post", "/v1/organizations", body)
            self.assertEqual((status, problem.get("field")), (400, field), body)
        status, _, problem = self.admin.call("post", "/v1/organizations", b"{")
        self.assertEqual((status, problem["title"]), (400, "The request is malformed"))

    def test_a_secret_is_shown_once_works_and_is_gone_when_revoked(self):
        organization = self.organization()
        made = self.client(organization, "owner", "auditor")
        self.assertEqual(made["roles"], ["owner", "auditor"])
        path = f"/v1/organizations/{organization['id']}/clients"
        listed = self.admin.call("get", path)[2]["items"]
        self.assertEqual([client["client_id"] for client in listed], [made["client_id"]])
        self.assertNotIn("client_secret", listed[0])
        dump = self.stack.psql("SELECT to_jsonb(c)::text || (SELECT string_agg(to_jsonb(i)::text, '') FROM idempotency i)"
                               " FROM client c")
        self.assertNotIn(made["client_secret"], str(dump))
        rest = Rest(self.stack, made)
        self.assertEqual(rest.call("get", f"/v1/organizations/{organization['id']}")[0], 200)
        self.assertEqual(self.admin.call("delete", f"{path}/{made['client_id']}")[0], 204)
        self.assertEqual(rest.call("get", f"/v1/organizations/{organization['id']}")[0], 401)
        with self.assertRaisesRegex(AssertionError, "/v1/token: 401"):
            Rest(self.stack, made)
        self.assertEqual(self.admin.call("delete", f"{path}/{made['client_id']}")[0], 404)
        self.assertIsNotNone(self.admin.call("get", path)[2]["items"][0]["revoked_at"])

    def test_one_key_is_one_change(self):
        body = {"name": f"once {secrets.token_hex(4)}"}
        first = self.admin.call("post", "/v1/organizations", body, Idempotency_Key="k1 " + body["name"])
        again = self.admin.call("post", "/v1/organizations", body, Idempotency_Key="k1 " + body["name"])
        self.assertEqual((first[0], first[2], first[1]["Location"]), (again[0], again[2], again[1]["Location"]))
        self.assertEqual(len(self.stack.psql("SELECT 1 FROM organization WHERE name = '%s'" % body["name"])), 1)
        other = self.admin.call("post", "/v1/organizations", {"name": "another"}, Idempotency_Key="k1 " + body["name"])
        self.assertEqual((other[0], other[2]["type"]), (422, "urn:cradle:problem:unprocessable"))
        # Somebody else's key is another key.
        rest = Rest(self.stack, self.cradle_client("Accounts admin 2", "admin"))
        self.assertEqual(rest.call("post", "/v1/organizations", body, Idempotency_Key="k1 " + body["name"])[0], 409)

    def test_a_refused_call_leaves_its_key_free(self):
        taken = self.organization()
        key = secrets.token_hex(8)
        self.assertEqual(self.admin.call("post", "/v1/organizations", {"name": taken["name"]}, Idempotency_Key=key)[0], 409)
        body = {"name": f"after {key}"}
        self.assertEqual(self.admin.call("post", "/v1/organizations", body, Idempotency_Key=key)[0], 201)

    def test_a_repeated_secret_is_not_told_again(self):
        organization = self.organization()
        path, key = f"/v1/organizations/{organization['id']}/clients", secrets.token_hex(8)
        first = self.admin.call("post", path, {"roles": ["owner"]}, Idempotency_Key=key)
        again = self.admin.call("post", path, {"roles": ["owner"]}, Idempotency_Key=key)
        self.assertEqual((again[0], again[2], again[1]["Location"]), (201, None, first[1]["Location"]))
        self.assertEqual(len(self.admin.call("get", path)[2]["items"]), 1)

    def test_a_bad_key_is_refused(self):
        for key in ("", "x" * 256, "\xe9"):
            status, _, problem = self.admin.call("post", "/v1/organizations", {"name": "n"}, Idempotency_Key=key)
            self.assertEqual((status, problem.get("field")), (400, "Idempotency-Key"), key)

    def test_two_changes_at_once_are_both_there(self):
        made = self.organization()
        path, answers = f"/v1/organizations/{made['id']}", []
        changes = ({"name": f"new {secrets.token_hex(4)}"}, {"allow_clear_keys": True})
        waiting = ("SELECT count(*) FROM pg_stat_activity WHERE usename = 'cradle_activation' AND wait_event_type = 'Lock' "
                   "AND query LIKE 'UPDATE organization%'")
        before = int(self.stack.psql(waiting)[0][0])
        calls = [threading.Thread(target=lambda c=change: answers.append(self.admin.call("patch", path, c)))
                 for change in changes]
        with self.stack.locked(f"SELECT FROM organization WHERE public_id = '\\x{made['id']}' FOR UPDATE"):
            for call in calls:
                call.start()
            support.wait_until(lambda: int(self.stack.psql(waiting)[0][0]) == before + 2, support.READY_SECONDS,
                               "both changes wait")
        for call in calls:
            call.join()
        self.assertEqual([answer[0] for answer in answers], [200, 200])
        both = dict(made, **changes[0], **changes[1])
        self.assertEqual(self.admin.call("get", path)[2], both)
        self.assertIn(both, [answer[2] for answer in answers])
        last = self.stack.psql(f"SELECT detail FROM audit_event WHERE object = '{made['id']}' ORDER BY id")[-2:]
        self.assertIn({"name": both["name"], "allow_clear_keys": True, "subscription_required": False, "claim_code_length": 16,
                       "orders_need_approval": False, "allow_legacy_delivery": False},
                      [json.loads(row[0]) for row in last])

    def test_auditors_see_their_own_and_administrators_all(self):
        mine, other = self.organization(), self.organization()
        client = self.client(mine, "auditor")
        self.client(other, "owner")
        page = Rest(self.stack, client).call("get", "/v1/audit?limit=1000")[2]
        self.assertEqual([(e["action"], e["object"]) for e in page["items"]],
                         [("organization.create", mine["id"]), ("client.create", client["client_id"])])
        seen, cursor = [], ""
        while cursor is not None:
            page = self.admin.call("get", f"/v1/audit?limit=7{cursor and '&cursor=' + cursor}")[2]
            seen += [event["object"] for event in page["items"]]
            cursor = page["next"]
        for object_id in (mine["id"], other["id"], client["client_id"]):
            self.assertIn(object_id, seen)
        self.assertNotIn(client["client_secret"], str(seen))

    def test_every_route_with_every_role_and_without(self):
        """Each documented call, by a client of each role alone: 403 exactly where the role is not enough."""
        description = json.loads(self.stack.activation("GET", "/v1/openapi.json")[2])
        organization = self.organization()
        clients = {role: Rest(self.stack, self.client(organization, role)) for role in ROLES}
        n_calls = 0
        for path, item in description["paths"].items():
            for method, operation in item.items():
                concrete = path
                for parameter in ("organization", "offer", "client", "job", "batch", "name", "as_id", "kek", "route", "number",
                                  "dev_euis", "dev_eui", "webhook", "delivery",
                                  "subscription", "rule", "agreement", "group",
                                  "block"):
                    concrete = concrete.replace("{%s}" % parameter, NOBODY)
                self.assertNotIn("{", concrete, "a parameter that this test does not know")
                by_certificate = operation.get("security") == [{"clientCertificate": []}]
                protected = by_certificate or operation.get("security") == [{"accessToken": []}]
                body = b"" if "requestBody" in operation else None
                status = self.stack.activation(method.upper(), concrete, body)[0]
                self.assertEqual(status == 401, protected, f"{method} {path}: {status}")
                allowed = set(operation.get("x-roles", ROLES))
                for role, rest in clients.items():
                    status = rest.call(method, concrete, body)[0]
                    n_calls += 1
                    if by_certificate:  # for which no token stands in
                        self.assertEqual(status, 401, f"{method} {path} as {role}")
                    elif protected:
                        self.assertEqual(status == 403, role not in allowed, f"{method} {path} as {role}: {status}")
                        self.assertNotEqual(status, 401)
        self.assertGreater(n_calls, 50)

    def test_anothers_organization_is_not_there(self):
        mine, other = self.organization(), self.organization()
        for role in ROLES:
            if role == "admin":
                continue
            rest = Rest(self.stack, self.client(mine, role))
            not_his = rest.call("get", f"/v1/organizations/{other['id']}")
            not_there = rest.call("get", f"/v1/organizations/{NOBODY}")
            self.assertEqual((not_his[0], not_his[2]["detail"]), (404, not_there[2]["detail"]))
            self.assertEqual(rest.call("get", f"/v1/organizations/{mine['id']}")[2], mine)

    def test_a_call_takes_no_query_that_it_does_not_know(self):
        for method, path in (("get", "/v1/organizations?colour=red"), ("get", "/v1/organizations?limit=0"),
                             ("get", "/v1/organizations?limit=1001"), ("get", "/v1/organizations?cursor=1"),
                             ("post", "/v1/organizations?dry_run=true")):
            body = {"name": "never"} if method == "post" else None
            self.assertEqual(self.admin.call(method, path, body)[0], 400, path)


class Listeners(unittest.TestCase):
    def test_the_same_api_is_there_over_tls(self):
        stack = support.shared()
        place = stack.demo["activation"]
        plain = support.http("GET", place["url"] + "/v1/openapi.json")
        over_tls = support.https("GET", place["tls_url"] + "/v1/openapi.json", None, place["ca"])
        self.assertEqual((over_tls[0], over_tls[2]), (200, plain[2]))
        status, headers, _ = support.https("POST", place["tls_url"] + "/v1/organizations", None, place["ca"], b"{}")
        self.assertEqual((status, headers["WWW-Authenticate"]), (401, "Bearer"))

    def test_counters_are_on_the_plain_listener_alone(self):
        place = support.shared().demo["activation"]
        self.assertEqual(support.http("GET", place["url"] + "/metrics")[0], 200)
        self.assertEqual(support.https("GET", place["tls_url"] + "/metrics", None, place["ca"])[0], 404)


class Posting(threading.Thread):
    def __init__(self, call):
        super().__init__()
        self.call, self.answer = call, None

    def run(self):
        self.answer = self.call()

    def ended(self):
        self.join()
        return self.answer


class LostCommit(unittest.TestCase):
    """The database goes away under a change: it is there with its answer, or not at all."""

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("accounts")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        run = cls.stack.cradle("client", "add", "--organization", "Root", "--role", "admin")
        cls.rest = Rest(cls.stack, json.loads(run.stdout))

    def post(self, name):
        return self.rest.call("post", "/v1/organizations", {"name": name}, Idempotency_Key=f"key {name}")

    def post_and_kill(self, name, wait_event):
        """Ends the backend of a call once it waits for this; the call's answer."""
        call = self.posting(name)
        self.stack.psql(f"SELECT pg_terminate_backend({self.waiting(wait_event)})")
        return call.ended()

    def posting(self, name):
        """The call, on its way."""
        call = Posting(lambda: self.post(name))
        call.start()
        return call

    def waiting(self, wait_event="SyncRep"):
        return support.wait_until(lambda: self.stack.waiting_at(wait_event, "organization"), support.READY_SECONDS,
                                  f"the call waits for {wait_event}")[0]

    def there(self, name):
        """How many organizations, events and kept answers there are of this name."""
        return self.stack.psql(
            f"SELECT (SELECT count(*) FROM organization WHERE name = '{name}'),"
            f" (SELECT count(*) FROM audit_event WHERE detail->>'name' = '{name}'),"
            f" (SELECT count(*) FROM idempotency WHERE key = 'key {name}')")[0]

    def test_before_the_commit_nothing_is_there_and_the_same_call_does_it(self):
        self.stack.psql("""
            CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
            GRANT EXECUTE ON FUNCTION wait_here() TO PUBLIC;
            CREATE CONSTRAINT TRIGGER wait_here AFTER INSERT ON organization DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait_here()""")
        with Session(self.stack) as holder:
            holder.run("SELECT pg_advisory_lock(4711)")
            status, _, problem = self.post_and_kill("before", "advisory")
        self.assertEqual((status, problem["type"]), (503, "urn:cradle:problem:unavailable"))
        self.assertEqual(self.there("before"), ["0", "0", "0"])
        self.assertEqual(self.post("before")[0], 201)
        self.assertEqual(self.there("before"), ["1", "1", "1"])

    def test_after_the_commit_it_is_answered_as_done(self):
        for how in ("pg_terminate_backend", "pg_cancel_backend"):
            name = f"after {how}"
            with self.stack.standby_missing():
                call = self.posting(name)
                self.stack.end_wait(self.waiting(), call, how)
                self.assertEqual(self.there(name), ["1", "1", "1"])
            status, _, made = call.ended()
            self.assertEqual(status, 201, made)
            self.assertEqual(self.post(name)[2], made)
            self.assertEqual(self.there(name), ["1", "1", "1"])

    def test_after_the_commit_nothing_is_answered_from_what_is_on_no_standby(self):
        with self.stack.standby_missing():
            call = self.posting("alone")
            for pid in self.stack.end_wait(self.waiting(), call):
                self.stack.psql(f"SELECT pg_terminate_backend({pid})")
            status, _, problem = call.ended()
            self.assertEqual((status, problem["type"]), (503, "urn:cradle:problem:unavailable"))
            # The same call: by the one that has it to settle, and by those who find its answer.
            again = [self.posting("alone") for _ in range(3)]
            support.wait_until(lambda: len(self.stack.settling()) >= len(again), support.READY_SECONDS, "all of them settle")
            self.assertTrue(all(call.is_alive() for call in again))
            self.assertEqual(self.there("alone"), ["1", "1", "1"])
        answers = [call.ended() for call in again]
        self.assertEqual([status for status, _, _ in answers], [201] * len(again), answers)
        self.assertEqual([made for _, _, made in answers], [self.post("alone")[2]] * len(again))
        self.assertEqual(self.there("alone"), ["1", "1", "1"])
