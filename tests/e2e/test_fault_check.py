"""The checker of fault campaigns finds what it is for: one forged journal or database for each invariant."""

import copy
import os
import tempfile
import unittest

import fault_check
from fault_check import Device, Event, Facts
from fault_journal import Journal, read

DEVICE, OTHER, HOME, AWAY = "02cdcd0200000001", "02cdcd0200000002", "000013", "000024"
JOIN_EUI = "02cdcd0000000001"


def join(number, dev_nonce, join_nonce, **changes):
    answer = {"n": number, "at": 100.0 + number, "status": 200, "code": "Success", "accept": f"a{dev_nonce}",
              "join_nonce": join_nonce, "whole": f"w{dev_nonce}"}
    answer.update(changes.pop("answer", {}))
    return {"n": number, "at": 99.5 + number, "op": "join", "dev_eui": DEVICE, "join_eui": JOIN_EUI, "dev_nonce": dev_nonce,
            "request": f"r{dev_nonce}", "allowed": True, "answer": answer, **changes}


def claim(number, organization, status=200, **answer):
    return {"n": number, "at": 99.5 + number, "op": "claim", "dev_eui": OTHER, "organization": organization,
            "answer": {"n": number, "at": 100.0 + number, "status": status, "type": None if status == 200 else "refused",
                       "members": ["code"] if status == 200 else ["title", "type"], **answer}}


def event(at, dev_nonce, join_nonce, **changes):
    return Event(at, DEVICE, JOIN_EUI, "255", dev_nonce, join_nonce, HOME, 0)._replace(**changes)


class FaultCheck(unittest.TestCase):
    def setUp(self):
        self.exchanges = [
            join(1, 1, 1), join(2, 2, 2), join(3, 2, 2), claim(4, "one"), claim(5, "two", 403),
            {"n": 6, "at": 105.5, "op": "import", "rows": [OTHER, "bad"], "key": "k",
             "answer": {"n": 6, "at": 106.0, "status": 200, "outcomes": {OTHER: "created", "bad": "refused"}}},
            {**join(7, 3, 3), "answer": None}]
        self.facts = Facts([event(100.6, 1, 1), event(101.6, 2, 2), event(106.6, 3, 3)],
                           {DEVICE: Device(HOME, "maker", 0, True, 3), OTHER: Device(HOME, "one", 1, True, 0)},
                           [(OTHER, "one", "claimed"), (OTHER, "two", "taken")])

    def found(self, invariant, exchanges=None, **facts):
        violations = fault_check.check(exchanges or self.exchanges, self.facts._replace(**facts))
        self.assertIn(invariant, {v.invariant for v in violations}, violations)
        with self.assertRaisesRegex(AssertionError, invariant + ": "):
            fault_check.held(violations)

    def changed(self, index, **answer):
        exchanges = copy.deepcopy(self.exchanges)
        exchanges[index]["answer"].update(answer)
        return exchanges

    def test_a_good_run_is_good(self):
        self.assertEqual(fault_check.check(self.exchanges, self.facts), [])
        fault_check.held([])

    def test_i1_a_dev_nonce_that_was_accepted_twice(self):
        self.found("I1", events=self.facts.events + [event(107, 2, 4)])
        self.found("I1", self.changed(2, accept="another"))

    def test_i2_a_join_nonce_that_came_again_or_went_back(self):
        self.found("I2", events=self.facts.events + [event(107, 4, 3)])
        self.found("I2", self.exchanges + [join(8, 4, 2)])
        self.found("I2", devices={**self.facts.devices, DEVICE: Device(HOME, "maker", 0, True, 2)})
        self.found("I2", self.changed(0, join_nonce=None))

    def test_i3_an_answer_that_is_not_in_the_database_or_came_before_it(self):
        self.found("I3", events=self.facts.events[1:])
        self.found("I3", events=[event(103, 1, 1)] + self.facts.events[1:])

    def test_i4_a_row_that_is_lost_half_there_or_there_in_spite_of_its_answer(self):
        self.found("I4", devices={DEVICE: self.facts.devices[DEVICE]})
        self.found("I4", devices={**self.facts.devices, OTHER: self.facts.devices[OTHER]._replace(is_whole=False)})
        self.found("I4", devices={**self.facts.devices, "bad": self.facts.devices[OTHER]})

    def test_i5_two_claimants_a_wrong_owner_and_a_loser_who_learns_something(self):
        self.found("I5", self.exchanges + [claim(8, "two")])
        self.found("I5", devices={**self.facts.devices, OTHER: self.facts.devices[OTHER]._replace(owner="two")})
        self.found("I5", self.exchanges + [claim(8, "three", 403, type="another")])

    def test_i6_a_code_that_was_used_twice(self):
        self.found("I6", claims=self.facts.claims + [(OTHER, "two", "claimed")])

    def test_i7_a_key_in_a_file(self):
        key = "5ca1ab1e" * 4
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "service.log")
            with open(path, "wb") as file:
                file.write(b"nothing here")
            self.assertEqual(fault_check.keys_in_clear([folder], {DEVICE: key}), [])
            with open(path, "ab") as file:
                file.write(bytes.fromhex(key))
            self.assertEqual([v.invariant for v in fault_check.keys_in_clear([folder], {DEVICE: key})], ["I7"])

    def test_i8_an_answer_to_another_network(self):
        exchanges = copy.deepcopy(self.exchanges)
        exchanges[1]["allowed"] = False
        self.found("I8", exchanges)
        self.found("I8", events=[self.facts.events[0]._replace(net_id=AWAY)] + self.facts.events[1:])

    def test_i9_a_retry_that_was_answered_differently_or_not_at_all(self):
        self.found("I9", self.changed(2, whole="another"))
        self.found("I9", self.changed(2, code="JoinReqFailed"))

    def test_i10_what_grew(self):
        before = {"joinserver": (30, 9, 40000)}
        self.assertEqual(fault_check.grown(before, {"joinserver": (32, 9, 60000)}), [])
        for now in ((60, 9, 40000), (30, 30, 40000), (30, 9, 400000)):
            self.assertEqual([v.invariant for v in fault_check.grown(before, {"joinserver": now})], ["I10"], now)
        self.assertEqual([v.invariant for v in fault_check.grown(before, {})], ["I10"])
        self.assertGreater(fault_check.resources({"me": os.getpid()})["me"][0], 2)

    def test_the_journal_is_read_as_it_was_written_answered_or_not(self):
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(os.path.join(folder, "journal"))
            first, second = journal.ask("join", dev_eui=DEVICE), journal.ask("claim", dev_eui=OTHER)
            journal.answer(second, status=200)
            journal.close()
            asked = read(journal.path)
        self.assertEqual([(e["op"], e["dev_eui"]) for e in asked], [("join", DEVICE), ("claim", OTHER)])
        self.assertIsNone(asked[0]["answer"])
        self.assertEqual((asked[0]["n"], asked[1]["answer"]["status"]), (first, 200))


if __name__ == "__main__":
    unittest.main()
