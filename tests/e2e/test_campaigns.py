"""Campaigns against claims: many who know one code, and many who know none.

Small here; scripts/fault makes them as large as it is told.
"""

import json
import os
import secrets
import threading
import time

import support
from test_claims import CLIENT_BURST, DEVICE_BURST, HOME, WEAK_MAX, ClaimTest, code_of_label

CLIENTS = int(os.environ.get("CRADLE_FAULT_CLIENTS", "8"))
COUNT = int(os.environ.get("CRADLE_FAULT_COUNT", "6"))  # rounds of a race; guesses of each client, five times that
GUESSES = 5 * COUNT
CLIENT_S = 6  # until a wrong claim is forgiven its client
DEVICES_OF_A_FILE = 500


class CampaignTest(ClaimTest):
    n_clients = CLIENTS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = cls.stack.second_activation()
        cls.addClassCleanup(cls.other.stop)

    def setUp(self):
        super().setUp()
        self.clients = [self.owner() for _ in range(self.n_clients)]

    def claim_at(self, url, client, dev_eui, code):
        """Status and answer of a claim, by whichever service."""
        status, _, answer = support.http(
            "POST", f"{url}/v1/claims", json.dumps(dict(HOME, dev_eui=dev_eui, code=code)).encode(),
            {"Authorization": f"Bearer {client.token}", "Content-Type": "application/json"})
        return status, json.loads(answer)

    def urls(self):
        return self.stack.activation_url, self.other.url

    def all_at_once(self, act):
        """act(index, client) of every client, in a thread of its own; what they returned."""
        results, ready = [None] * len(self.clients), threading.Barrier(len(self.clients))

        def run(index, client):
            ready.wait()
            results[index] = act(index, client)

        threads = [threading.Thread(target=run, args=pair) for pair in enumerate(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


class Races(CampaignTest):
    def test_of_all_who_know_a_device_s_code_exactly_one_gets_it(self):
        for first in range(0, COUNT, DEVICES_OF_A_FILE):
            for device in self.devices(min(DEVICES_OF_A_FILE, COUNT - first)):
                self.race(device)

    def race(self, device):
        urls = self.urls()
        answers = self.all_at_once(
            lambda index, client: self.claim_at(urls[index % 2], client, device["dev_eui"], device["code"]))
        won = [index for index, (status, _) in enumerate(answers) if status == 200]
        self.assertEqual(len(won), 1, answers)
        lost = [answer for index, answer in enumerate(answers) if index != won[0]]
        self.assertEqual({(status, answer["type"]) for status, answer in lost}, {(403, "urn:cradle:problem:claim-refused")})
        self.assertEqual((answers[won[0]][1]["generation"], answers[won[0]][1]["ownership_epoch"]), (2, 1))
        self.assertEqual(self.row(device, "(SELECT encode(o.public_id, 'hex') FROM organization o WHERE o.id = d.owner_id), "
                                          "ownership, ownership_epoch, generation, origin"),
                         [self.clients[won[0]].organization, "claimed", "1", "2", "claimed"])
        self.assertEqual(self.reasons(device).count("claimed"), 1)
        self.assertEqual(self.stack.psql("SELECT count(*) FROM audit_event WHERE action = 'device.claim' "
                                         f"AND object = '{device['dev_eui']}'"), [["1"]])
        # Who looked at the device when it was taken already has made a wrong claim; the next race is not about that.
        self.stack.psql("DELETE FROM claim_limit")


class Guesses(CampaignTest):
    def test_guessing_gets_no_further_than_its_limits_through_two_services_and_a_kill(self):
        device, unknown, urls = self.device(), secrets.token_hex(8), self.urls()
        begun = time.monotonic()

        def guess(index, client):
            target = unknown if index % 2 else device["dev_eui"]
            return [self.claim_at(urls[turn % 2], client, target, code_of_label())[0] for turn in range(GUESSES)]

        first = self.all_at_once(guess)
        self.stack.wait_restarted("activation", self.stack.kill("activation"))
        self.stack.wait_ready()
        second = self.all_at_once(guess)
        most = CLIENT_BURST + (time.monotonic() - begun) // CLIENT_S + 1
        for index, client in enumerate(self.clients):
            statuses = first[index] + second[index]
            looked_at = statuses.count(403)
            self.assertEqual(looked_at + statuses.count(429), 2 * GUESSES, statuses)
            self.assertEqual(first[index][0], 403)  # nobody is held up by what others guess
            self.assertLessEqual(looked_at, most)
            self.assertIn(429, first[index])
            self.assertEqual(self.stack.psql("SELECT count(*) FROM claim_event WHERE organization_id = (SELECT id FROM "
                                             f"organization WHERE public_id = '\\x{client.organization}')"), [[str(looked_at)]])
        self.assertGreaterEqual(self.reasons(device).count("code"), DEVICE_BURST)
        self.claimed(self.owner(), device)  # at the first try, as if nobody had guessed


class WeakCodes(CampaignTest):
    # Who has tried a device waits with it for an hour: it takes more clients than guesses to lock it.
    n_clients = max(CLIENTS, 2 * WEAK_MAX)

    def test_a_weak_code_is_locked_before_it_is_guessed_whoever_guesses(self):
        device, urls = self.device(code=secrets.token_hex(4).upper()), self.urls()
        self.all_at_once(lambda _, client: [
            self.claim_at(urls[turn % 2], client, device["dev_eui"], secrets.token_hex(4)) for turn in range(GUESSES)])
        tried = self.reasons(device)
        self.assertEqual(set(tried), {"code", "locked"})
        # Those that were being looked at when the last one was counted have been looked at, too.
        self.assertIn(tried.count("code"), range(WEAK_MAX, WEAK_MAX + self.n_clients))
        self.refused(self.claim(self.owner(), device["dev_eui"], device["code"]))
        self.assertEqual(self.maker.call("post", f"/v1/devices/{device['dev_eui']}/unlock-code")[0], 204)
        self.claimed(self.owner(), device)
