"""A device that takes the place of a dead one."""

import functools
import secrets
import threading

import support
from test_claims import CLIENT_BURST, HOME, LIMITED, NEW_CODE, code_of_label
from test_moves import AGAINST, GONE, MoveTest


class ReplaceTest(MoveTest):
    def replace(self, by, code=None, owner=None, old=None, **headers):
        """by: a row, or a DevEUI."""
        body = {"by": by if isinstance(by, str) else by["dev_eui"]}
        if code is not None:
            body["code"] = code
        old = (old or self.device_row)["dev_eui"]
        return (owner or self.owner_client).call("post", f"/v1/devices/{old}/replace", body, **headers)

    def replaced(self, by, code=None, **more):
        status, _, answer = self.replace(by, code, **more)
        self.assertEqual(status, 200, answer)
        return answer

    def look(self, device, owner=None):
        return (owner or self.owner_client).call("get", f"/v1/devices/{device['dev_eui']}")[2]

    def places(self, *devices):
        """(replaced_by, replaces) of each."""
        return [(view["replaced_by"], view["replaces"]) for view in map(self.look, devices)]

    def events_of(self, device):
        return [row[0] for row in self.stack.psql(
            f"SELECT action FROM audit_event WHERE object = '{device['dev_eui']}' ORDER BY id")]


class Replace(ReplaceTest):
    def test_a_spare_of_the_owner_s_has_the_place_and_the_dead_one_joins_no_more(self):
        spare, old = self.device(), self.device_row["dev_eui"]
        self.owner_client.call("post", "/v1/claims", {"dev_eui": spare["dev_eui"], "code": spare["code"]})
        self.assertEqual(self.post("suspend", device=spare)[0], 200)
        self.patch({"name": "attic"})
        self.assertEqual(self.joined(), "Success")
        answer = self.replaced(spare)
        self.assertNotIn("code", answer)
        self.assertEqual((answer["dev_eui"], answer["name"], answer["home_net_id"], answer["as_id"], answer["service"], answer["replaces"]),
                         (spare["dev_eui"], "attic", HOME["home_net_id"], HOME["as_id"], "active", old))
        self.assertEqual(self.joined(), "ActivationDisallowed")
        self.assertEqual(self.joined(spare), "Success")
        self.assertEqual(self.places(self.device_row, spare), [(spare["dev_eui"], None), (None, old)])
        status, _, page = self.owner_client.call("get", "/v1/devices")
        self.assertEqual(status, 200, page)
        listed = {d["dev_eui"]: d["replaced_by"] for d in page["items"]}
        self.assertEqual(listed, {old: spare["dev_eui"], spare["dev_eui"]: None})
        self.assertEqual(self.events_of(self.device_row)[-1], "device.replace")
        self.assertEqual(self.events_of(spare)[-1], "device.take-place")

    def test_a_new_device_is_claimed_for_the_place_and_its_code_is_made_anew(self):
        spare = self.device()
        answer = self.replaced(spare, spare["code"])
        self.assertRegex(answer["code"], NEW_CODE)
        self.assertNotEqual(answer["code"], spare["code"])
        self.assertEqual((answer["generation"], answer["ownership_epoch"], answer["home_net_id"], answer["as_id"]),
                         (2, 1, HOME["home_net_id"], HOME["as_id"]))
        self.assertEqual((self.joined(), self.joined(spare)), ("ActivationDisallowed", "Success"))
        self.assertEqual(self.reasons(spare), ["claimed"])
        self.assertEqual(self.events_of(spare), ["device.claim", "device.take-place"])
        self.refused(self.claim(self.owner(), spare["dev_eui"], spare["code"]))

    def test_a_repaired_device_is_resumed_and_not_replaced_any_more(self):
        spare = self.device()
        self.replaced(spare, spare["code"])
        self.assertEqual(self.done("resume")["replaced_by"], None)
        self.assertEqual(self.places(self.device_row, spare), [(None, None)] * 2)
        self.assertEqual((self.joined(), self.joined(spare)), ("Success", "Success"))
        self.replaced(spare)
        self.assertEqual(self.joined(), "ActivationDisallowed")

    def test_the_next_owner_of_either_learns_nothing_of_the_other(self):
        spare, successor = self.device(), self.owner()
        code = self.replaced(spare, spare["code"])["code"]
        released = self.done("release")
        self.claimed(successor, self.device_row, released["code"])
        view = self.look(self.device_row, successor)
        self.assertEqual((view["replaced_by"], view["replaces"], view["service"]), (None, None, "active"))
        self.assertEqual(self.places(spare), [(None, self.device_row["dev_eui"])])
        code = self.done("release", device=spare)["code"]
        self.claimed(successor, spare, code)
        view = self.look(spare, successor)
        self.assertEqual((view["replaced_by"], view["replaces"]), (None, None))
        # And either may be replaced, or replace, under the new one.
        self.replaced(spare, owner=successor)

    def test_devices_follow_one_another(self):
        second, third = self.devices(2)
        self.replaced(second, second["code"])
        self.replaced(third, third["code"], old=second)
        first = self.device_row["dev_eui"]
        self.assertEqual(self.places(self.device_row, second, third),
                         [(second["dev_eui"], None), (third["dev_eui"], first), (None, second["dev_eui"])])

    def test_what_stands_against_it_is_said(self):
        spare, other, scrapped = self.devices(3)
        for device in (other, scrapped):
            self.claimed(self.owner_client, device)
        self.assertEqual(self.owner_client.call("post", f"/v1/devices/{scrapped['dev_eui']}/scrap",
                                                {"confirm": scrapped["dev_eui"]})[0], 200)
        self.is_refused(AGAINST, self.replace(scrapped))
        self.is_refused(AGAINST, self.replace(spare, spare["code"], old=scrapped))
        self.done("quarantine", device=other)
        self.is_refused(AGAINST, self.replace(other))
        self.done("lift", device=other)
        self.replaced(spare, spare["code"])
        for answer in (self.replace(other), self.replace(spare), self.replace(self.device_row, old=other),
                       self.replace(spare, old=other)):
            self.is_refused(AGAINST, answer)
        self.assertEqual(self.places(other), [(None, None)])
        status, _, problem = self.replace(self.device_row["dev_eui"].upper())
        self.assertEqual((status, problem["field"]), (400, "by"), problem)
        for body, field in (({}, "by"), ({"by": "12"}, "by"), ({"by": spare["dev_eui"], "code": "a/b"}, "code"),
                            ({"by": spare["dev_eui"], "colour": 1}, "colour")):
            status, _, problem = self.owner_client.call("post", f"/v1/devices/{other['dev_eui']}/replace", body)
            self.assertEqual((status, problem["field"]), (400, field), problem)

    def test_a_claim_that_came_to_nothing_leaves_both_as_they_were(self):
        spare, other = self.devices(2)
        self.claimed(self.owner_client, other)
        self.replaced(other)
        self.is_refused(AGAINST, self.replace(spare, spare["code"]))
        self.assertEqual(self.row(spare, "ownership, generation"), ["unowned", "1"])
        self.assertEqual(self.reasons(spare), [])
        self.claimed(self.owner(), spare)


class Strangers(ReplaceTest):
    def test_what_cannot_be_claimed_is_refused_alike_and_counted(self):
        wrong, taken, quarantined, scrapped = self.devices(4)
        self.claimed(self.owner(), taken)
        self.stack.psql(f"UPDATE device SET trust = 'quarantined' WHERE dev_eui = '\\x{quarantined['dev_eui']}'")
        self.assertEqual(self.maker.call("post", f"/v1/devices/{scrapped['dev_eui']}/scrap",
                                         {"confirm": scrapped["dev_eui"]})[0], 200)
        tried = {"code": dict(wrong, code=code_of_label()), "taken": taken, "quarantined": quarantined, "credential": scrapped,
                 "unknown": {"dev_eui": secrets.token_hex(8), "code": code_of_label()}}
        refusals = []
        for reason, device in tried.items():
            refusals.append(self.refused(self.replace(device, device["code"])))
            self.assertEqual(self.reasons(device)[-1], reason)
        self.assertEqual([refusal for refusal in refusals if refusal != refusals[0]], [])
        self.assertEqual(len(tried), CLIENT_BURST)
        status, headers, problem = self.replace(wrong, wrong["code"])
        self.assertEqual((status, problem["type"]), LIMITED, problem)
        self.assertGreaterEqual(int(headers["Retry-After"]), 1)
        self.assertEqual(self.places(self.device_row), [(None, None)])
        self.assertEqual(self.joined(), "Success")

    def test_without_a_code_nothing_is_learnt_of_a_device(self):
        here, taken = self.devices(2)
        self.claimed(self.owner(), taken)
        answers = [self.replace(by) for by in (here, taken, secrets.token_hex(8))]
        problems = [{k: v for k, v in answer[2].items() if k != "instance"} for answer in answers]
        self.assertEqual([(answer[0], problem["field"]) for answer, problem in zip(answers, problems)], [(400, "code")] * 3)
        self.assertEqual([problem for problem in problems if problem != problems[0]], [])
        self.assertEqual(self.row(here, "ownership"), ["unowned"])

    def test_another_s_device_is_not_there(self):
        stranger, spare = self.owner(), self.device()
        answers = [self.replace(spare, spare["code"], owner=stranger),
                   self.replace(spare, spare["code"], owner=stranger, old={"dev_eui": secrets.token_hex(8)}),
                   self.replace(spare, spare["code"], owner=stranger, old={"dev_eui": "none"})]
        details = {self.is_refused(GONE, answer)["detail"] for answer in answers}
        self.assertEqual(len(details), 1)
        self.assertEqual(self.reasons(spare), [])


class Repeated(ReplaceTest):
    def test_the_same_call_tells_the_newest_code_and_does_the_rest_once(self):
        spare, key = self.device(), secrets.token_hex(8)
        first = self.replaced(spare, spare["code"], Idempotency_Key=key)
        again = self.replaced(spare, spare["code"], Idempotency_Key=key)
        self.assertEqual((first["generation"], again["generation"], again["ownership_epoch"]), (2, 3, 1))
        self.assertNotEqual(first["code"], again["code"])
        self.assertEqual(again["replaces"], self.device_row["dev_eui"])
        self.assertEqual(self.events_of(self.device_row).count("device.replace"), 1)
        other = self.device()
        self.assertEqual(self.replace(other, other["code"], Idempotency_Key=key)[0], 422)
        self.is_refused(AGAINST, self.replace(spare, spare["code"], Idempotency_Key=secrets.token_hex(8)))

    def test_the_same_call_about_a_spare_is_answered_again(self):
        spare, key = self.device(), secrets.token_hex(8)
        self.claimed(self.owner_client, spare)
        answers = [self.replaced(spare, Idempotency_Key=key) for _ in range(2)]
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(self.events_of(self.device_row).count("device.replace"), 1)
        self.is_refused(AGAINST, self.replace(spare))

    def test_a_repeated_call_does_not_undo_that_the_old_one_was_resumed(self):
        spare, key = self.device(), secrets.token_hex(8)
        self.claimed(self.owner_client, spare)
        self.replaced(spare, Idempotency_Key=key)
        self.done("resume")
        self.assertEqual(self.replaced(spare, Idempotency_Key=key)["replaces"], None)
        self.assertEqual(self.look(self.device_row)["service"], "active")
        self.assertEqual(self.places(self.device_row, spare), [(None, None)] * 2)

    def test_a_commit_that_nobody_saw_is_found_again(self):
        for code in (True, False):
            spare, answers = self.device(), []
            if not code:
                self.device_row = self.device()
                self.claimed(self.owner_client, self.device_row)
                self.claimed(self.owner_client, spare)
            given = spare["code"] if code else None
            call = threading.Thread(target=lambda given=given, spare=spare, answers=answers: answers.append(
                self.replace(spare, given)))
            waits = functools.partial(self.stack.waiting_at, "SyncRep", "claim_event" if code else "replacement")
            with self.stack.standby_missing():
                call.start()
                pid = support.wait_until(waits, support.READY_SECONDS, "the call waits")[0]
                self.stack.end_wait(pid, call)
            call.join()
            status, _, answer = answers[0]
            self.assertEqual((status, answer.get("replaces")), (200, self.device_row["dev_eui"]), answer)
            self.assertEqual(self.events_of(self.device_row).count("device.replace"), 1)


class AtOnce(ReplaceTest):
    def at_once(self, calls):
        answers, ready = [None] * len(calls), threading.Barrier(len(calls))

        def run(i):
            ready.wait()
            answers[i] = calls[i]()

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def test_of_two_for_one_device_one_wins(self):
        for owned in (True, False):
            for _ in range(4):
                self.setUp()
                spares = self.devices(2)
                if owned:
                    for spare in spares:
                        self.claimed(self.owner_client, spare)
                answers = self.at_once([lambda spare=spare: self.replace(spare, None if owned else spare["code"])
                                        for spare in spares])
                self.assertEqual(sorted(answer[0] for answer in answers), [200, 409], answers)
                (winner,) = [spare for spare, answer in zip(spares, answers) if answer[0] == 200]
                self.assertEqual(self.places(self.device_row), [(winner["dev_eui"], None)])
                if not owned:
                    (loser,) = [spare for spare in spares if spare is not winner]
                    self.assertEqual(self.row(loser, "ownership"), ["unowned"])

    def test_of_two_by_one_device_one_wins(self):
        for owned in (True, False):
            for _ in range(4):
                self.setUp()
                spare, second = self.devices(2)
                self.claimed(self.owner_client, second)
                if owned:
                    self.claimed(self.owner_client, spare)
                answers = self.at_once([lambda old=old: self.replace(spare, None if owned else spare["code"], old=old)
                                        for old in (self.device_row, second)])
                self.assertEqual(sorted(answer[0] for answer in answers)[0], 200, answers)
                self.assertIn(sorted(answer[0] for answer in answers)[1], (403, 409), answers)
                places = self.places(self.device_row, second)
                self.assertEqual(sorted(place[0] is None for place in places), [False, True])

    def test_of_two_crosswise_one_wins(self):
        for _ in range(6):
            self.setUp()
            second = self.device()
            self.claimed(self.owner_client, second)
            answers = self.at_once([lambda: self.replace(second), lambda: self.replace(self.device_row, old=second)])
            self.assertEqual(sorted(answer[0] for answer in answers), [200, 409], answers)
