"""Two HSM tokens under joins: taken away, brought back, both away; seen by a network server and the database."""

import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.request

import support
import test_faults
import test_restart

SEEN_SECONDS = 30


class Tokens(unittest.TestCase):
    """Key processes of both tokens are started by the service."""

    NAME = "tokens"

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack(cls.NAME)
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
        cls.server = cls.stack.second_joinserver(*cls.settings_of("joinserver"))

    @classmethod
    def settings_of(cls, _service):
        return cls.settings

    def keyds(self):
        return support.descendants(self.server.process.pid)

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
        for pid in self.keyds():
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
        self.stack.wait_ready()  # its own services have but the first token, which another test took away
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
        self.stack.wait_ready()
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
        service = self.stack.second_activation(*self.settings_of("activation"))
        with urllib.request.urlopen(service.url + "/readyz", timeout=10) as answer:
            self.assertEqual(answer.read(), b"ready; HSM token 1 serves\n")
        service.stop()

    def test_a_service_that_starts_while_the_first_is_away_is_served_by_the_second(self):
        self.stack.wait_ready()
        device = self.stack.device("1.0.4")
        os.rename(self.first, self.first + ".away")
        try:
            service = self.stack.second_joinserver(*self.settings_of("joinserver"))
            self.assertEqual(support.http("GET", service.url + "readyz")[2], b"ready; HSM token 2 serves\n")
            self.assertTrue(self.stack.join(device, url=service.url)["agree"])
            service.stop()
        finally:
            os.rename(self.first + ".away", self.first)
        self.serves(1)


class HostedTokens(Tokens):
    """The same, where a cradle-keyd-host starts them, and it alone is told of the tokens."""

    NAME = "tokens-hosted"

    @classmethod
    def setUpClass(cls):
        cls.hosts = {}
        super().setUpClass()

    @classmethod
    def host(cls, service, settings):
        """A host by its own socket; that socket's path."""
        path = os.path.join(tempfile.mkdtemp(dir=cls.stack.state), "keyd.sock")
        with open(cls.stack.path("joinserver.ini"), encoding="utf-8") as file:
            first = [f"hsm.{line.rstrip().replace(' = ', '=', 1)}" for line in file
                     if line.startswith(("uri = ", "lock_file = ", "keyd = "))]
        manager = test_restart.Manager(cls.stack)
        cls.addClassCleanup(manager.close)
        words = [f"host.socket={path}", f"host.service={service}", f"host.service_user={test_restart.Managed.user()}"]
        manager.start(test_restart.HOST, *(w for each in (*words, *first, *settings) for w in ("--set", each)))
        manager.wait_for("READY=1")
        return manager, path

    @classmethod
    def settings_of(cls, service):
        if service not in cls.hosts:
            cls.hosts[service] = cls.host(service, cls.settings)
        return (f"hsm.keyd_socket={cls.hosts[service][1]}", "hsm.uri=", "hsm.lock_file=", "hsm.keyd=")

    def keyds(self):
        return support.descendants(self.hosts["joinserver"][0].process.pid)

    def test_the_service_has_no_key_processes_of_its_own(self):
        self.serves(1)
        self.assertEqual(support.descendants(self.server.process.pid), set())
        self.assertTrue(self.keyds())

    def test_a_service_that_is_told_of_tokens_too_says_whose_affair_they_are(self):
        with self.assertRaises(AssertionError) as raised:
            self.stack.second_joinserver(*self.settings_of("joinserver"), *self.settings)
        with open(re.search(r"see (\S+)", str(raised.exception)).group(1), encoding="utf-8") as log:
            self.assertIn("into the settings of cradle-keyd-host", log.read())

    def test_a_host_wants_a_second_lock(self):
        manager = test_restart.Manager(self.stack)
        self.addCleanup(manager.close)
        manager.start(test_restart.HOST, "--set", "host.service=joinserver", "--set", "host.service_user=root", "--set",
                      "hsm.uri=pkcs11:token=a", "--set", "hsm.lock_file=/l", "--set", "hsm.uri_2=pkcs11:token=b")
        self.assertEqual(manager.process.wait(SEEN_SECONDS), test_restart.STATUS_SETTING)
        self.assertIn("hsm.lock_file_2", manager.said())


class TokenCommands(unittest.TestCase):
    """A token that joins depend on, and the `cradle` command."""

    STACK = ""

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack(cls.STACK)
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.backup = cls.stack.path("backup")
        cls.said = cls.cradle("hsm", "backup", cls.backup).stdout

    @classmethod
    def cradle(cls, *args):
        return subprocess.run([cls.stack.program("cli/cradle"), "--config", cls.stack.path("cradle.ini"), *args],
                              capture_output=True, text=True, check=False, env=cls.stack.environment(), timeout=60)

    def works(self, *args):
        done = self.cradle(*args)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def fails(self, *args):
        done = self.cradle(*args)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        return done.stderr

    def values(self, text):
        """Labels and check values of a report."""
        return dict(re.findall(r"^(\S+) .*check value ([0-9a-f]{6})", text, re.MULTILINE))

    def make_second(self, name):
        """A restored token elsewhere, and the settings of a second token in cradle.ini."""
        home = self.stack.path(name)
        os.mkdir(home, 0o700)
        self.works("hsm", "restore", self.backup, "--token-dir", home)
        with open(self.stack.path("softhsm2.conf"), encoding="utf-8") as file:
            conf = file.read().replace(self.stack.path("softhsm"), home)
        with open(home + ".conf", "w", encoding="utf-8") as file:
            file.write(conf)
        with open(self.stack.path("cradle.ini"), encoding="utf-8") as file:
            ini = file.read()
        uri = re.search(r"^uri = (.*)$", ini, re.MULTILINE).group(1)
        self.addCleanup(self.write, self.stack.path("cradle.ini"), ini)
        self.write(self.stack.path("cradle.ini"), ini.replace(
            "[hsm]\n", f"[hsm]\nuri_2 = {uri}\nlock_file_2 = {home}.lock\nsofthsm2_conf_2 = {home}.conf\n"))
        return home, uri

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


class Life(TokenCommands):
    """Backup, rehearsal, restore and a second token by the `cradle` command, with a token that joins depend on."""

    STACK = "token-life"

    def test_a_backup_has_every_key_and_nobody_else_may_read_it(self):
        listed = self.values(self.works("hsm", "list"))
        self.assertEqual(self.values(self.said), listed)
        self.assertGreaterEqual(len(listed), 7)
        for folder, folders, files in os.walk(self.backup):
            for name in folders + files:
                mode = os.stat(os.path.join(folder, name)).st_mode & 0o777
                self.assertEqual(mode, 0o700 if name in folders else 0o600, name)
        self.assertEqual(os.stat(self.backup).st_mode & 0o777, 0o700)
        self.assertIn("there already", self.fails("hsm", "backup", self.backup))

    def test_a_rehearsal_opens_sealed_keys_and_leaves_nothing(self):
        before = {name for name in os.listdir("/tmp") if name.startswith("cradle-rehearsal-")}
        said = self.works("hsm", "rehearse", self.backup)
        self.assertEqual(self.values(said), self.values(self.said))
        opened = int(re.search(r"opened (\d+) sealed keys", said).group(1))
        self.assertGreaterEqual(opened, 4)
        after = {name for name in os.listdir("/tmp") if name.startswith("cradle-rehearsal-")}
        self.assertEqual(after - before, set())

    def test_a_rehearsal_tells_of_a_sealed_key_that_does_not_open(self):
        eui = self.stack.psql("SELECT encode(dev_eui, 'hex') FROM device_key ORDER BY dev_eui LIMIT 1")[0][0]
        change = "UPDATE device_key SET tag = set_byte(tag, 3, get_byte(tag, 3) # 1) WHERE dev_eui = decode('%s', 'hex')"
        self.stack.psql(change % eui)
        try:
            self.assertIn("tag of a sealed key", self.fails("hsm", "rehearse", self.backup))
        finally:
            self.stack.psql(change % eui)
        self.works("hsm", "rehearse", self.backup)

    def damaged(self):
        """A copy of the backup to damage."""
        copy = tempfile.mkdtemp(dir=self.stack.state)
        shutil.copytree(self.backup, copy, dirs_exist_ok=True)
        return copy, glob.glob(os.path.join(copy, "token", "*"))[0]

    def test_a_damaged_backup_is_found(self):
        copy, token = self.damaged()
        untold = []
        for path in sorted(glob.glob(os.path.join(token, "*-*.object"))):
            os.rename(path, path + ".away")
            run = self.cradle("hsm", "rehearse", copy)
            if run.returncode != 0:
                self.assertRegex(run.stderr, "not good: it holds no|no public half|incomplete|fail")
            else:
                with open(path + ".away", "rb") as file:
                    untold.append(b"exchange.1" in file.read())
                self.assertIn("exchange.1", run.stdout)
            os.rename(path + ".away", path)
        # The public half of exchange.1: nobody reads it, for what is in it stands in the private one too.
        self.assertEqual(untold, [True])
        copy, token = self.damaged()
        with open(os.path.join(copy, "keys"), encoding="utf-8") as file:
            keys = file.read()
        self.write(os.path.join(copy, "keys"), re.sub(r"^(tag\.1) ......$", r"\1 000000", keys, flags=re.MULTILINE))
        self.assertIn("tag.1 is another key", self.fails("hsm", "rehearse", copy))
        os.unlink(os.path.join(copy, "keys"))
        self.assertIn("no backup of a token", self.fails("hsm", "rehearse", copy))

    def test_a_restore_never_overwrites_and_can_be_rehearsed_by_its_uri(self):
        home, uri = self.make_second("restored")
        self.assertIn("File exists", self.fails("hsm", "restore", self.backup, "--token-dir", home))
        said = self.works("hsm", "rehearse", "--uri", uri, "--lock-file", home + ".other-lock",
                          "--softhsm2-conf", home + ".conf")
        self.assertEqual(self.values(said), self.values(self.said))

    def test_a_second_token_gets_the_keys_that_it_lacks(self):
        home, _ = self.make_second("second")
        self.assertIn("the second token holds the same", self.works("hsm", "list"))
        self.works("hsm", "backup", "--second", self.stack.path("backup-of-second"))
        # A file does not say of which key it is: the first one whose loss is that of a key.
        for path in sorted(glob.glob(os.path.join(home, "*", "*-*.object"))):
            os.rename(path, home + ".object")
            said = self.cradle("hsm", "list")
            if "it holds no" in said.stderr:
                break
            os.rename(home + ".object", path)
        self.assertIn("it holds no", said.stderr)
        self.assertNotEqual(said.returncode, 0)
        said = self.works("hsm", "copy")
        self.assertIn("1 objects were copied", said)
        self.assertEqual(self.values(said), self.values(self.said))
        self.assertIn("the second token holds the same", self.works("hsm", "list"))
        self.assertIn("0 objects were copied", self.works("hsm", "copy"))

    def test_a_pin_that_nobody_knows_is_put_together_from_shares(self):
        shares = [self.stack.path(f"share-{i}") for i in range(3)]
        first, again = (tempfile.mktemp(prefix="cradle-test-pin-", dir="/dev/shm") for _ in range(2))
        for path in (first, again):
            self.addCleanup(lambda path=path: os.path.exists(path) and os.unlink(path))
        self.assertIn("on a disk", self.fails("hsm", "pin-split", "--pin-file", self.stack.path("pin-2"), *shares))
        for needed in ("two", "2x", "0", str(2**32 + 2)):
            self.fails("hsm", "pin-split", "--needed", needed, "--pin-file", first, *shares)
            self.assertFalse(os.path.exists(first), needed)
        # Nothing stays of a split that not every custodian got a share of.
        self.write(shares[1], "")
        self.assertIn("cannot make", self.fails("hsm", "pin-split", "--pin-file", first, *shares))
        self.assertEqual([os.path.exists(path) for path in (first, *shares)], [False, False, True, False])
        os.unlink(shares[1])
        said = self.works("hsm", "pin-split", "--needed", "2", "--pin-file", first, *shares)
        with open(first, encoding="utf-8") as file:
            pin = file.read()
        self.assertRegex(pin, r"\A[0-9a-f]{32}\n\Z")
        self.assertNotIn(pin.strip(), said)
        for path in (first, *shares):
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertIn("2 are needed", self.fails("hsm", "unlock", "--pin-file", again, shares[2]))
        self.assertFalse(os.path.exists(again))
        self.works("hsm", "unlock", "--pin-file", again, shares[2], shares[0])
        with open(again, encoding="utf-8") as file:
            self.assertEqual(file.read(), pin)
        self.assertEqual(os.stat(again).st_mode & 0o777, 0o600)
        self.assertIn("cannot make", self.fails("hsm", "unlock", "--pin-file", again, shares[2], shares[0]))
        with open(shares[0], encoding="utf-8") as file:
            text = file.read()
        self.write(shares[0], text[:30] + ("0" if text[30] != "0" else "1") + text[31:])
        self.assertIn(shares[0] + ": this is no share", self.fails("hsm", "unlock", "--pin-file", again, *shares[:2]))

    def test_a_token_of_another_ceremony_gets_nothing(self):
        home, _ = self.make_second("another")
        for path in glob.glob(os.path.join(home, "*")):
            shutil.rmtree(path)
        environment = {**self.stack.environment(), "SOFTHSM2_CONF": home + ".conf"}
        with open(self.stack.path("pin"), encoding="utf-8") as file:
            pin = file.read().strip()
        subprocess.run(["softhsm2-util", "--init-token", "--free", "--label", "cradle", "--so-pin", "so-pin-of-test",
                        "--pin", pin], env=environment, check=True, stdout=subprocess.DEVNULL)
        ini = self.stack.path("cradle.ini")
        subprocess.run([self.stack.program("cli/cradle"), "--config", ini, "hsm", "init", "--exchange-key-out",
                        home + ".pem"], env=environment, check=True, stdout=subprocess.DEVNULL)
        self.assertIn("is another key", self.fails("hsm", "copy"))
        self.assertIn("is another key", self.fails("hsm", "list"))


class VersionsInTwo(TokenCommands):
    """A rotation with two tokens: each step reaches both, so that whichever serves seals under the same version."""

    STACK = "token-versions"

    def kept(self, name, *options):
        """The list that stands beside a backup: every key, and every mark."""
        path = self.stack.path(name)
        self.works("hsm", "backup", *options, path)
        with open(os.path.join(path, "keys"), encoding="utf-8") as file:
            return set(file.read().split("\n"))

    def wait_for_the_end_of_the_walk(self):
        support.wait_until(lambda: self.stack.psql("SELECT target, finished_at IS NOT NULL FROM key_rewrap ORDER BY"
                                                   " started_at DESC LIMIT 1") == [["store-device.2 store-kek.1 tag.1 code.1", "t"]],
                           SEEN_SECONDS * 5, "the walk has ended")
        self.assertEqual(self.stack.psql("SELECT count(*) FROM device_key WHERE kek_label <> 'store-device.2'"), [["0"]])

    def test_each_step_of_a_rotation_reaches_both_tokens(self):
        escrow = self.stack.path("storage-keks.escrow")
        self.make_second("second")
        self.stack.psql("CREATE TABLE before_rotation AS SELECT dev_eui, slot, kek_label, blob, tag FROM device_key")
        self.works("hsm", "rotate", "device", "--escrow", escrow)
        self.assertIn("second token: the token holds no store-device.2", self.fails("hsm", "activate", "device", "2"))
        self.assertIn("pending.store-device.2 000000", self.kept("after-rotate"), "nothing was done in the first alone")
        self.works("hsm", "copy")
        self.assertIn("pending.store-device.2 000000", self.kept("after-copy", "--second"))

        self.assertEqual(self.works("hsm", "activate", "device", "2").count("seals from now on"), 2)
        for i, options in enumerate([(), ("--second",)]):
            self.assertNotIn("pending.", str(self.kept(f"activated-{i}", *options)))
        self.assertIn("pending.store-device.2", self.fails("hsm", "rehearse", self.stack.path("after-rotate")))
        self.assertIn("seals already", self.fails("hsm", "activate", "device", "2"))

        self.works("hsm", "open", "device", "1", "--escrow", escrow)
        self.assertIn("rewrap-device.1", str(self.kept("opened", "--second")))
        self.wait_for_the_end_of_the_walk()
        # Somebody sealed under the old version once more, as a token restored from an old backup does.
        self.stack.psql("UPDATE device_key k SET kek_label = o.kek_label, blob = o.blob, tag = o.tag, n_rewrapped ="
                        " k.n_rewrapped + 1 FROM before_rotation o WHERE o.dev_eui = k.dev_eui AND o.slot = k.slot")
        self.assertIn("it begins anew", self.fails("hsm", "retire", "device", "1"))
        self.wait_for_the_end_of_the_walk()
        self.works("hsm", "close")
        self.assertNotIn("rewrap-", str(self.kept("closed", "--second")))

        # A walk that ended before the new version sealed says nothing about who still seals under the old.
        self.stack.psql("INSERT INTO key_rewrap (target, turn, lease_until, started_at, finished_at) VALUES"
                        " ('store-device.1 store-kek.1 ', 1, now(), now() + interval '1 hour', now())")
        self.assertIn("no service has seen yet", self.fails("hsm", "retire", "device", "1"))
        self.stack.psql("DELETE FROM key_rewrap WHERE started_at > now() + interval '30 minutes'")
        self.assertEqual(self.works("hsm", "retire", "device", "1").count("is gone"), 2)
        self.assertNotIn("store-device.1 ", str(self.kept("retired", "--second")))
        self.assertIn("is in no token", self.fails("hsm", "retire", "device", "1"))
        self.assertIn("the second token holds the same", self.works("hsm", "list"))


if __name__ == "__main__":
    unittest.main()
