"""Fault tests: what is promised, while things are killed under it.

A journal keeps every answered join as the network server saw it. Afterwards the journal and the database
must tell the same story: every answered join is in join_event, no JoinNonce and no DevNonce was accepted twice.
"""

import secrets
import threading
import time
import unittest

import lorawan
import support

N_JOINERS = 8
JOINS_AFTER_FAULT = 40  # successes that must come after the last fault
RECOVERY_S = 10  # the promise: answers again within ten seconds
FAULTS_PER_TARGET = 3
ROUNDS_OF_TWO_SERVERS = 5
IMPORT_ROWS = 10000
VERSIONS = ("1.0.2", "1.0.3", "1.0.4", "1.1")


class Journal:
    """Joins of many devices by threads, each with devices of its own; every answer is written down."""

    def __init__(self, stack, devices):
        self.stack = stack
        self.answers = []  # (device, dev_nonce, join_nonce)
        self.failures = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.fault_s = None  # monotonic time of the last fault
        self.recovered = threading.Event()
        self.after_fault = 0
        shares = [devices[i::N_JOINERS] for i in range(N_JOINERS)]
        self.threads = [threading.Thread(target=self.run, args=(share,)) for share in shares if share]
        self.broken = None

    def run(self, devices):
        try:
            nonces = {d["dev_eui"]: d["dev_nonce"] for d in devices}
            while not self.stopping.is_set():
                for device in devices:
                    self.join(device, nonces)
                    if self.stopping.is_set():
                        return
        except Exception as e:  # reported by check(); a thread must not die unseen
            self.broken = e

    def join(self, device, nonces):
        nonce = nonces[device["dev_eui"]]
        message = lorawan.join_req(device, nonce, support.HOME)
        try:
            status, answer = self.stack.post_join(message)
        except OSError:
            status, answer = None, None  # the join server itself was killed
        if status == 200 and answer["Result"]["ResultCode"] == "Success":
            accept = lorawan.open_accept(device, answer["PHYPayload"], nonce)
            if accept is None:
                raise AssertionError("a Join-Accept with a wrong MIC")
            self.success(device, nonce, accept["join_nonce"])
            nonces[device["dev_eui"]] = nonce + 1
        else:
            with self.lock:
                self.failures += 1
            # The join may have been committed without its answer arriving: the device goes on to
            # its next DevNonce, as a real one does.
            nonces[device["dev_eui"]] = nonce + 1
            self.stopping.wait(0.02)

    def success(self, device, nonce, join_nonce):
        with self.lock:
            self.answers.append((device["dev_eui"], nonce, join_nonce))
            if self.fault_s is not None:
                self.after_fault += 1
                if self.after_fault >= JOINS_AFTER_FAULT:
                    self.recovered.set()

    def fault(self):
        with self.lock:
            self.fault_s = time.monotonic()
            self.after_fault = 0
            self.recovered.clear()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def devices_of_all_versions(stack, n_each):
    return [d for version in VERSIONS for d in stack.devices(version, n_each)]


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("faults")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def setUp(self):
        self.devices = devices_of_all_versions(self.stack, N_JOINERS)

    def check(self, journal):
        """Journal and database agree, and nothing happened twice."""
        self.assertIsNone(journal.broken)
        events = set()
        for eui, dev_nonce, join_nonce in self.stack.psql(
            "SELECT encode(dev_eui, 'hex'), dev_nonce, join_nonce FROM join_event WHERE outcome = 'success'"
        ):
            event = (eui, int(dev_nonce), int(join_nonce))
            self.assertNotIn(event, events)
            events.add(event)
        for answer in journal.answers:
            self.assertIn(answer, events, "an answered join is not in the database")
        join_nonces = {(eui, join_nonce) for eui, _, join_nonce in events}
        dev_nonces = {(eui, dev_nonce) for eui, dev_nonce, _ in events}
        self.assertEqual(len(join_nonces), len(events), "a JoinNonce was used twice")
        self.assertEqual(len(dev_nonces), len(events), "a DevNonce was accepted twice")

    def kill_under_joins(self, name):
        with Journal(self.stack, self.devices) as journal:
            for _ in range(FAULTS_PER_TARGET):
                journal.fault()
                self.assertTrue(journal.recovered.wait(RECOVERY_S), "no joins before the fault")
                end = time.monotonic() + RECOVERY_S
                self.stack.wait_restarted(name, self.stack.kill(name), RECOVERY_S)
                # Those before were perhaps of backends that a dead postmaster has left, for a moment.
                journal.fault()
                self.assertTrue(journal.recovered.wait(end - time.monotonic()), "no joins after the fault")
        self.check(journal)
        return journal

    def test_kill_9_of_a_keyd_fails_no_join(self):
        journal = self.kill_under_joins("keyd")
        self.assertEqual(journal.failures, 0)

    def test_kill_9_of_the_joinserver_loses_and_repeats_nothing(self):
        self.kill_under_joins("joinserver")

    def test_kill_9_of_postgresql_loses_and_repeats_nothing(self):
        self.kill_under_joins("postgres")

    def import_killing(self, name, first_eui):
        """Imports a large file, kills a process in the middle, repeats until all is answered."""
        euis = ["02cdcd%02x%08x" % (first_eui, i) for i in range(IMPORT_ROWS)]
        rows = ["%s,%s,%s" % (eui, support.DEMO_JOIN_EUI, secrets.token_hex(16)) for eui in euis]
        file = "\n".join(["dev_eui,join_eui,app_key"] + rows) + "\n"
        query = "format=csv&mac_version=1.0.3&home_net_id=%s&as_id=demo-as" % support.HOME
        token = self.stack.token()
        count = "SELECT count(*) FROM device WHERE encode(dev_eui, 'hex') LIKE '02cdcd%02x%%'" % first_eui
        answers = []

        def post():
            try:
                answers.append(self.stack.import_file(file, query, token))
            except OSError:
                answers.append((None, None))  # the service itself was killed

        importing = threading.Thread(target=post)
        importing.start()
        support.wait_until(lambda: self.stack.psql(count) != [["0"]], RECOVERY_S, "the import has begun")
        killed = self.stack.kill(name)
        importing.join()
        self.stack.wait_restarted(name, killed)
        self.stack.wait_ready()
        status, rows = self.stack.import_file(file, query)
        self.assertEqual(status, 200, rows)
        self.assertEqual(len(rows), IMPORT_ROWS)
        self.assertEqual({row["outcome"] for row in rows} - {"created", "exists"}, set())
        # Each device is whole: its row, its sealed key and its join state, or none of them.
        self.assertEqual(self.stack.psql(count), [[str(IMPORT_ROWS)]])
        whole = "SELECT count(*) FROM device JOIN device_key USING (dev_eui) JOIN device_join USING (dev_eui)"
        self.assertEqual(self.stack.psql(whole + count[count.index(" WHERE"):]), [[str(IMPORT_ROWS)]])
        return answers[0]

    def test_an_import_whose_database_is_killed_loses_and_doubles_nothing(self):
        status, problem = self.import_killing("postgres", 0xA1)
        self.assertEqual(status, 503)
        self.assertRegex(problem["detail"], r"the rows up to line \d+ are done \(\d+ devices created\)")

    def test_an_import_whose_service_is_killed_loses_and_doubles_nothing(self):
        self.assertEqual(self.import_killing("activation", 0xA2)[0], None)

    def test_an_import_whose_keyd_is_killed_does_not_notice(self):
        status, rows = self.import_killing("activation-keyd", 0xA3)
        self.assertEqual(status, 200)
        self.assertEqual({row["outcome"] for row in rows}, {"created"})

    def test_the_checker_finds_a_join_that_is_not_in_the_database(self):
        with Journal(self.stack, self.devices[:1]) as journal:
            journal.fault()
            self.assertTrue(journal.recovered.wait(RECOVERY_S))
        self.check(journal)
        journal.answers.append((self.devices[0]["dev_eui"], 65535, 16777215))
        with self.assertRaises(AssertionError):
            self.check(journal)


class Races(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("races")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def run_all(self, jobs):
        """Runs callables at once, each in its thread behind one barrier; their results in order."""
        barrier = threading.Barrier(len(jobs))
        results = [None] * len(jobs)

        def run(i):
            barrier.wait()
            results[i] = jobs[i]()

        threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertNotIn(None, results, "a request failed altogether")
        return results

    def test_of_64_copies_with_different_devaddr_exactly_one_wins(self):
        for device in devices_of_all_versions(self.stack, 1):

            def copy(i, device=device):
                message = lorawan.join_req(
                    device, device["dev_nonce"], support.HOME, dev_addr="260000%02x" % i
                )
                return lambda: self.stack.post_join(message)

            answers = self.run_all([copy(i) for i in range(64)])
            codes = [answer["Result"]["ResultCode"] for _, answer in answers]
            self.assertEqual(codes.count("Success"), 1, device["mac_version"])
            self.assertEqual(codes.count("JoinReqFailed"), 63, device["mac_version"])

    def test_two_join_servers_share_100_devices_without_deadlock_or_repeat(self):
        devices = devices_of_all_versions(self.stack, 25)
        second = self.stack.second_joinserver().url
        nonces = {d["dev_eui"]: d["dev_nonce"] for d in devices}
        seen = []
        for _ in range(ROUNDS_OF_TWO_SERVERS):

            def ask(device, url):
                nonce = nonces[device["dev_eui"]]
                addr = "26000001" if url is None else "26000002"
                message = lorawan.join_req(device, nonce, support.HOME, dev_addr=addr)
                return lambda: (device, nonce, self.stack.post_join(message, url=url))

            # Both servers get every device, in opposite order.
            jobs = [ask(d, None) for d in devices] + [ask(d, second) for d in reversed(devices)]
            for device, nonce, (_, answer) in self.run_all(jobs):
                if answer["Result"]["ResultCode"] == "Success":
                    accept = lorawan.open_accept(device, answer["PHYPayload"], nonce)
                    seen.append((device["dev_eui"], accept["join_nonce"]))
                else:
                    self.assertEqual(answer["Result"]["ResultCode"], "JoinReqFailed")
            for device in devices:
                nonces[device["dev_eui"]] += 1
        wanted = len(devices) * ROUNDS_OF_TWO_SERVERS
        self.assertEqual(len(seen), wanted, "of two requests for a DevNonce exactly one wins")
        self.assertEqual(len(set(seen)), wanted, "a JoinNonce was used twice")
        rows = self.stack.psql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        self.assertEqual(rows, [["0"]])


if __name__ == "__main__":
    unittest.main()
