"""Claims of one device each that wait at the same moment: settled together, answered as if each came alone."""

import contextlib
import json
import secrets
import threading

import support
from test_accounts import Rest
from test_claims import CLIENT_BURST, HOME, LIMITED, REFUSED, ClaimTest, body_of, code_of_label

WORKERS = 2  # that take what waits together
TOGETHER = 32  # of one transaction
LOADING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'WITH one AS%'"


class Call(threading.Thread):
    """POST /v1/claims, on its way from now on."""

    def __init__(self, rest, body, key=None):
        super().__init__()
        self.rest, self.body, self.key = rest, body, key
        self.start()

    def run(self):
        headers = {"Idempotency_Key": self.key} if self.key is not None else {}
        self.status, self.headers, self.answer = self.rest.call("post", "/v1/claims", self.body, **headers)

    def ended(self):
        self.join()
        return self.status, self.answer.get("outcome", self.answer.get("type"))


class TogetherTest(ClaimTest):
    def metric(self, name):
        page = self.stack.activation("GET", "/metrics")[2].decode()
        return int(next(line for line in page.splitlines() if line.startswith(name + " ")).split()[-1])

    def waiting(self):
        return self.metric('cradle_activation_requests_waiting{queue="together"}')

    @contextlib.contextmanager
    def held(self):
        """Within, claims gather; at its end they are settled. What holds them up takes part in no transaction."""
        guesser, nothing = self.owner(), secrets.token_hex(8)
        for _ in range(CLIENT_BURST):
            self.refused(self.claim(guesser, nothing, code_of_label()))
        with self.stack.locked("LOCK TABLE claim_limit IN ACCESS EXCLUSIVE MODE"):
            holding = []
            for n in range(1, WORKERS + 1):
                holding.append(Call(guesser, dict(HOME, dev_eui=nothing, code=code_of_label())))
                support.wait_until(lambda n=n: len(self.stack.psql(LOADING)) == n, support.READY_SECONDS, "a worker is held")
            yield
        for call in holding:
            self.assertEqual(call.ended(), (LIMITED[0], LIMITED[1]))

    def gather(self, calls):
        """Waits until all of them are there."""
        support.wait_until(lambda: self.waiting() == len(calls), support.READY_SECONDS, "all of them wait")
        return calls

    @staticmethod
    def of(device, **more):
        return dict(HOME, dev_eui=device["dev_eui"], code=device["code"], **more)


class Together(TogetherTest):
    def test_what_waits_together_is_settled_by_one_commit(self):
        owners, devices = [self.owner() for _ in range(3)], self.devices(TOGETHER + 8)
        with self.held():
            before = self.metric("cradle_claim_commits_total")
            calls = self.gather([Call(owners[i % 3], self.of(device), secrets.token_hex(8))
                                 for i, device in enumerate(devices)])
        self.assertEqual([call.ended() for call in calls], [(200, "claimed")] * len(calls))
        self.assertEqual(self.metric("cradle_claim_commits_total") - before, 2)
        for call, device in zip(calls, devices):
            self.assertEqual(call.headers["Cache-Control"], "no-store")
            self.assertEqual((call.answer["dev_eui"], call.answer["generation"]), (device["dev_eui"], 2))
            self.assertEqual(self.row(device, "encode((SELECT o.public_id FROM organization o WHERE o.id = d.owner_id), 'hex')"),
                             [call.rest.organization])
            self.assertEqual(self.stack.psql(
                "SELECT count(*), count(DISTINCT request_id), min(encode(o.public_id, 'hex')) FROM audit_event a JOIN organization o "
                f"ON o.id = a.organization_id WHERE action = 'device.claim' AND object = '{device['dev_eui']}'"),
                [["1", "1", call.rest.organization]])
            self.assertEqual(self.reasons(device), ["claimed"])
        self.assertEqual(len({call.answer["code"] for call in calls}), len(calls))
        again = Call(owners[0], self.of(devices[0]), calls[0].key)  # it is known by its key
        self.assertEqual((again.ended(), again.answer["generation"]), ((200, "claimed"), 3))

    def test_a_device_that_is_held_keeps_no_other_claim_waiting(self):
        owner, devices, other = self.owner(), self.devices(6), self.owner()
        with self.stack.locked(f"SELECT FROM device WHERE dev_eui = '\\x{devices[0]['dev_eui']}' FOR UPDATE"):
            with self.held():
                calls = self.gather([Call(other if i == 0 else owner, self.of(device), secrets.token_hex(8))
                                     for i, device in enumerate(devices)])
            self.assertEqual([call.ended() for call in calls[1:]], [(200, "claimed")] * 5)
            self.assertTrue(calls[0].is_alive())
        self.assertEqual(calls[0].ended(), (200, "claimed"))

    def test_each_is_answered_as_if_it_were_alone(self):
        right, wrong, unknown, elsewhere = self.device(), self.device(), secrets.token_hex(8), self.device()
        listed, twice, key = self.device(), self.devices(2), secrets.token_hex(8)
        repeated, other_key = self.device(), secrets.token_hex(8)
        owner, keeper, repeater = self.owner(), self.owner(), self.owner()
        taken = self.device()
        self.claimed(keeper, taken)
        auditor = Rest(self.stack, self.stack.demo["clients"]["auditor"])
        forged = self.owner()
        forged.token = forged.token[:-8] + "AAAAAAA" + forged.token[-1]
        revoked = self.owner()
        expected = [
            (Call, (owner, self.of(right)), (200, "claimed")),
            (Call, (owner, dict(self.of(wrong), code=code_of_label())), REFUSED),
            (Call, (owner, dict(self.of(wrong), dev_eui=unknown)), REFUSED),
            (Call, (owner, self.of(taken)), REFUSED),
            (Call, (keeper, self.of(taken)), (409, "urn:cradle:problem:conflict")),
            (Call, (owner, dict(self.of(elsewhere), home_net_id="00ffff")), (400, "urn:cradle:problem:bad-request")),
            (Call, (owner, dict(self.of(elsewhere), colour="red")), (400, "urn:cradle:problem:bad-request")),
            (Call, (owner, b"{"), (400, "urn:cradle:problem:bad-request")),
            (Call, (owner, {"claims": [self.of(listed)]}, secrets.token_hex(8)), (200, None)),
            (Call, (auditor, self.of(elsewhere)), (403, "urn:cradle:problem:forbidden")),
            (Call, (forged, self.of(elsewhere)), (401, "urn:cradle:problem:unauthenticated")),
            (Call, (revoked, self.of(elsewhere)), (401, "urn:cradle:problem:unauthenticated")),
        ]
        with self.held():
            admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
            self.assertEqual(admin.call("delete", f"/v1/organizations/{revoked.organization}/clients/"
                                                  f"{revoked.client['client_id']}")[0], 204)
            calls = [make(*arguments) for make, arguments, _ in expected]
            same_key = [Call(owner, self.of(device), key) for device in twice]
            same_call = [Call(repeater, self.of(repeated), other_key) for _ in range(3)]
            self.gather(calls + same_key + same_call)
        for call, (_, _, answer) in zip(calls, expected):
            if answer == (200, None):
                call.join()
                self.assertEqual((call.status, call.answer["results"][0]["outcome"]), (200, "claimed"))
            else:
                self.assertEqual(call.ended(), answer, call.answer)
        self.assertEqual(sorted(call.ended()[0] for call in same_key), [200, 422])
        self.assertEqual([call.ended() for call in same_call], [(200, "claimed")] * 3)
        self.assertEqual(sorted(call.answer["generation"] for call in same_call), [2, 3, 4])
        self.assertEqual(self.row(repeated, "generation, ownership_epoch"), ["4", "1"])
        self.assertEqual(self.row(elsewhere, "ownership"), ["unowned"])
        self.assertEqual(self.reasons(elsewhere), [])
        self.assertEqual(self.reasons(wrong), ["code"])

    def test_of_many_who_want_one_device_one_gets_it(self):
        device, neighbour = self.device(), self.device()
        owners = [self.owner() for _ in range(16)]
        with self.held():
            calls = self.gather([Call(owner, self.of(device)) for owner in owners] + [Call(owners[0], self.of(neighbour))])
        outcomes = [call.ended() for call in calls]
        self.assertEqual(outcomes.pop(), (200, "claimed"))
        self.assertEqual(sorted(outcomes), sorted([(200, "claimed")] + [REFUSED] * 15))
        self.assertEqual(self.row(device, "generation, ownership_epoch"), ["2", "1"])
        self.assertEqual(self.reasons(device).count("claimed"), 1)

    def test_a_client_gets_no_further_with_many_at_once_than_one_by_one(self):
        guesser, owner, devices = self.owner(), self.owner(), self.devices(20)
        with self.held():
            calls = self.gather([Call(guesser, dict(self.of(device), code=code_of_label())) for device in devices[:18]] +
                                [Call(owner, self.of(device)) for device in devices[18:]])
        outcomes = [call.ended() for call in calls]
        self.assertEqual(outcomes[18:], [(200, "claimed")] * 2)
        self.assertEqual(sorted(outcomes[:18]), sorted([REFUSED] * CLIENT_BURST + [LIMITED] * (18 - CLIENT_BURST)))
        for call in calls[:18]:
            if call.status == LIMITED[0]:
                self.assertGreaterEqual(int(call.headers["Retry-After"]), 1)
        self.assertEqual(sum(len(self.reasons(device)) for device in devices[:18]), CLIENT_BURST)

    def test_one_that_the_database_fails_harms_no_other(self):
        owner, devices = self.owner(), self.devices(6)
        self.stack.psql("CREATE FUNCTION fail_one() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';"
                        "CREATE TRIGGER fail_one BEFORE INSERT ON claim_event FOR EACH ROW "
                        f"WHEN (NEW.dev_eui = '\\x{devices[3]['dev_eui']}') EXECUTE FUNCTION fail_one()")
        try:
            with self.held():
                calls = self.gather([Call(owner, self.of(device)) for device in devices])
            outcomes = [call.ended() for call in calls]
        finally:
            self.stack.psql("DROP TRIGGER fail_one ON claim_event; DROP FUNCTION fail_one()")
        self.assertEqual(outcomes.pop(3), (503, "urn:cradle:problem:unavailable"))
        self.assertEqual(outcomes, [(200, "claimed")] * 5)
        self.assertEqual(self.row(devices[3], "ownership, generation"), ["unowned", "1"])
        self.claimed(owner, devices[3])

    def test_where_nobody_saw_their_commit_each_is_answered_with_the_newest_code(self):
        owners, devices, key = [self.owner() for _ in range(2)], self.devices(4), secrets.token_hex(8)

        def waiting():
            return self.stack.waiting_at("SyncRep", "claim_event")
        with contextlib.ExitStack() as stack:
            with self.held():
                calls = self.gather([Call(owners[i % 2], self.of(device), key + str(i)) for i, device in enumerate(devices)])
                stack.enter_context(self.stack.standby_missing())
            pid = support.wait_until(waiting, support.READY_SECONDS, "they wait to be committed")[0]
            # Whoever is free takes each, so the worker that must settle first may have none of them.
            self.stack.psql(f"SELECT pg_terminate_backend({pid})")
            support.wait_until(lambda: len((set(waiting()) | set(self.stack.settling())) - {pid}) == len(calls),
                               support.READY_SECONDS, "each is made once more, or settled before that")
            self.assertTrue(all(call.is_alive() for call in calls))
        for call, device in zip(calls, devices):
            self.assertEqual(call.ended(), (200, "claimed"))
            self.assertEqual(call.answer["generation"], 3)
            self.assertEqual(self.row(device, "generation, ownership_epoch"), ["3", "1"])


class Other(TogetherTest):
    def test_what_waits_together_holds_up_nobody_else(self):
        devices = self.devices(3)
        with self.held():
            calls = self.gather([Call(self.owner(), self.of(device)) for device in devices])
            status, _, answer = support.http("GET", f"{self.stack.activation_url}/v1/devices/{devices[0]['dev_eui']}", None,
                                             {"Authorization": f"Bearer {calls[0].rest.token}"})
            self.assertEqual(status, 404, answer)  # by another worker: not claimed yet
            self.assertEqual(self.waiting(), len(calls))
        self.assertEqual([call.ended() for call in calls], [(200, "claimed")] * 3)
        self.assertEqual(json.loads(body_of(devices[0]))["dev_eui"], calls[0].answer["dev_eui"])
