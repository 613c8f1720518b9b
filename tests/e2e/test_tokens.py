"""Two HSM tokens under joins: taken away, brought back, both away; seen by a network server and the database."""

import os
import shutil
import unittest
import urllib.request

import support
import test_faults

SEEN_SECONDS = 30


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("tokens")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        # The second token as docs/tokens.md makes it: a copy of the first one's files, elsewhere.
        second = cls.stack.path("second")
        os.mkdir(second, 0o700)
        shutil.copytree(cls.stack.path("softhsm"), os.path.join(second, "softhsm"))
        shutil.copy(cls.stack.path("pin"), second)
        with open(cls.stack.path("softhsm2.conf"), encoding="utf-8") as file:
            conf = file.read().replace(cls.stack.path("softhsm"), os.path.join(second, "softhsm"))
        cls.first, cls.second = cls.stack.path("softhsm"), os.path.join(second, "softhsm")
        with open(os.path.join(second, "softhsm2.conf"), "w", encoding="utf-8") as file:
            file.write(conf)
        with open(cls.stack.path("joinserver.ini"), encoding="utf-8") as file:
            uri = next(line.split("=", 1)[1].strip() for line in file if line.startswith("uri"))
        cls.settings = (f"hsm.uri_2={uri.replace(cls.stack.path('pin'), os.path.join(second, 'pin'))}",
                        f"hsm.lock_file_2={os.path.join(second, 'lock')}",
                        f"hsm.softhsm2_conf_2={os.path.join(second, 'softhsm2.conf')}")
        cls.server = cls.stack.second_joinserver(*cls.settings)

    def get(self, path):
        with urllib.request.urlopen(self.server.url.rstrip("/") + path, timeout=10) as answer:
            return answer.read().decode()

    def ready(self):
        try:
            return self.get("/readyz")
        except OSError:
            return ""

    def metric(self, name):
        return next(float(line.rsplit(" ", 1)[1]) for line in self.get("/metrics").splitlines()
                    if line.startswith(name + " "))

    def serves(self, token):
        """Until this token alone serves, and the server is ready."""
        support.wait_until(lambda: self.ready() == f"ready; HSM token {token} serves\n" and
                           self.metric('cradle_hsm_token_serving{token="%d"}' % token) == 1 and
                           self.metric('cradle_hsm_token_serving{token="%d"}' % (3 - token)) == 0,
                           SEEN_SECONDS, f"token {token} serves")

    def kill_keyds(self):
        for pid in support.descendants(self.server.process.pid):
            os.kill(pid, 9)

    class Answers(test_faults.Journal):
        """Joins at this server; every answer that was no success is kept."""

        def __init__(self, case, devices):
            super().__init__(case.stack, devices)
            self.case, self.refused = case, []
            self.stack = self

        def post_join(self, message):
            status, answer = self.case.stack.post_join(message, url=self.case.server.url)
            if status != 200 or answer["Result"]["ResultCode"] != "Success":
                self.refused.append((status, answer))
            return status, answer

    def devices(self):
        return test_faults.devices_of_all_versions(self.stack, test_faults.N_JOINERS // 2)

    def joins_go_on(self, journal):
        journal.fault()
        self.assertTrue(journal.recovered.wait(SEEN_SECONDS), "no joins")

    def check(self, journal):
        self.assertIsNone(journal.broken)
        test_faults.Faults.check(self, journal)

    def test_a_token_taken_away_under_joins_costs_none_and_serves_again_when_it_is_back(self):
        self.serves(1)
        with self.Answers(self, self.devices()) as journal:
            self.joins_go_on(journal)
            os.rename(self.first, self.first + ".away")
            try:
                self.serves(2)
                self.joins_go_on(journal)
                self.assertEqual(self.metric('cradle_hsm_token_up{token="1"}'), 0)
            finally:
                os.rename(self.first + ".away", self.first)
            self.serves(1)
            self.joins_go_on(journal)
        self.check(journal)
        self.assertEqual(journal.refused, [])

    def test_with_both_away_no_nonce_is_spent_and_it_comes_back_by_itself(self):
        device = self.stack.device("1.0.4")
        message = test_faults.lorawan.join_req(device, device["dev_nonce"], support.HOME)
        counted = "SELECT join_nonce FROM device_join WHERE encode(dev_eui, 'hex') = '%s'" % device["dev_eui"]
        before = self.stack.psql(counted)
        for folder in (self.first, self.second):
            os.rename(folder, folder + ".away")
        try:
            self.kill_keyds()
            support.wait_until(lambda: self.ready() == "", SEEN_SECONDS, "it is not ready")
            status, answer = self.stack.post_join(message, url=self.server.url)
            self.assertTrue(status == 503 or answer["Result"]["ResultCode"] == "Other", (status, answer))
            self.assertEqual(self.stack.psql(counted), before)
        finally:
            os.rename(self.second + ".away", self.second)
            self.serves(2)
            status, answer = self.stack.post_join(message, url=self.server.url)
            os.rename(self.first + ".away", self.first)
        self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"))
        self.assertEqual(int(self.stack.psql(counted)[0][0]), int(before[0][0]) + 1)
        self.serves(1)

    def test_the_activation_service_has_a_second_token_too(self):
        service = self.stack.second_activation(*self.settings)
        with urllib.request.urlopen(service.url + "/readyz", timeout=10) as answer:
            self.assertEqual(answer.read(), b"ready; HSM token 1 serves\n")


if __name__ == "__main__":
    unittest.main()
