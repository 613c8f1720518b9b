"""scripts/run as its users meet it: what it refuses and leaves alone, what it keeps, how it ends."""
import contextlib
import hashlib
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import re
import secrets
import subprocess
import tempfile
import unittest
import unittest.mock

import support
from clusters import OUTSIDE, remove_clusters
from memory_group import MemoryGroup

CONFIG_FAULT = 78
MARKER = "cradle-state"
MISSING_PACKAGE = "libcsv-dev"
FIRST_OF_PEOPLE = 1000  # Debian's policy 9.2.2: uids from here on are of nobody's package
INTERRUPTED = 128 + signal.SIGINT
VERSIONS = {"1.0.2", "1.0.3", "1.0.4", "1.1"}


def picture(folder):
    """What is in a folder: {path: (mode, content or target)}, to see whether anything was touched."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(parent, name)
            mode = os.lstat(path).st_mode
            content = None
            if stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            elif stat.S_ISLNK(mode):
                content = os.readlink(path)
            found[os.path.relpath(path, folder)] = (mode, content)
    return found


def processes_of(state):
    """Processes that name this state folder on their command line."""
    found = []
    for pid in support.processes():
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if f"{state}/".encode() in file.read():
                    found.append(pid)
    return found


def usual_sockets(state):
    name = hashlib.sha256(os.path.realpath(state).encode()).hexdigest()[:16]
    return f"/tmp/cradle-{os.geteuid()}-{name}"


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


class RunTest(unittest.TestCase):
    def assert_refused(self, run, *words):
        """Status 1, and one sentence with these words on standard error."""
        self.assertEqual(run.returncode, 1, run.stdout + run.stderr)
        self.assertRegex(run.stderr, r"\Acradle: [^\n]+\n\Z")
        for word in words:
            self.assertIn(word, run.stderr)

    def assert_nothing_left(self, stack, started):
        """No process that was started, nor any other of this state folder; no socket either."""
        support.wait_until(lambda: not started & set(support.processes()) and not processes_of(stack.state),
                           support.READY_SECONDS, f"processes {started} are gone")
        self.assertFalse(os.path.exists(os.path.join(usual_sockets(stack.state), ".s.PGSQL.5432")))

    @contextlib.contextmanager
    def running(self, stack):
        stack.start()
        try:
            yield
        finally:
            stack.stop()


class Refusals(RunTest):
    """Nothing of these gets as far as a state folder with something in it."""

    def setUp(self):
        self.stack = support.Stack("refused", demo=False)

    def test_a_port_in_use_is_named_with_the_way_to_choose_another(self):
        for port, variable in ((self.stack.join_port, "CRADLE_JOIN_PORT"),
                               (self.stack.activation_port, "CRADLE_ACTIVATION_PORT"),
                               (self.stack.activation_tls_port, "CRADLE_ACTIVATION_TLS_PORT")):
            with self.subTest(variable), socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(("127.0.0.1", port))
                taken.listen()
                self.assert_refused(self.stack.run(), str(port), variable)
                self.assertEqual(set(picture(self.stack.state)), {"lock"})

    def test_an_address_that_others_could_reach_is_refused(self):
        for address in ("10.0.0.1", "0.0.0.0", "127.0.0.01", "localhost", "127.0.0.1.1"):
            with self.subTest(address):
                self.stack.address = address
                self.assert_refused(self.stack.run(), "CRADLE_ADDRESS", address)
                self.assertEqual(picture(self.stack.state), {})

    def test_a_pause_that_is_no_number_of_seconds_is_refused(self):
        for seconds in ("-1", "soon", "0.5", "1000"):
            with self.subTest(seconds), unittest.mock.patch.dict(os.environ, CRADLE_RESTART_DELAY=seconds):
                self.assert_refused(self.stack.run(), "CRADLE_RESTART_DELAY", seconds)
                self.assertEqual(picture(self.stack.state), {})

    def test_wrong_options_are_refused(self):
        for options in (["--twice"], ["once"], ["--built"], ["--built", self.stack.path("none")]):
            with self.subTest(options):
                command = [os.path.join(support.ROOT, "scripts/run"), *options]
                self.assert_refused(self.stack.run(command=command))
                self.assertEqual(picture(self.stack.state), {})

    def test_a_missing_package_is_named_where_it_cannot_be_installed(self):
        user = []
        if os.geteuid() == 0:
            user = support.NAMESPACE
            if subprocess.run([*user, "true"], capture_output=True, check=False).returncode != 0:
                self.skipTest("root cannot be somebody else here: no user namespaces")
        with tempfile.TemporaryDirectory() as path:
            for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
                for name in os.listdir(folder):
                    link = os.path.join(path, name)
                    if name not in ("sudo", "dpkg-query") and not os.path.lexists(link):
                        os.symlink(os.path.join(folder, name), link)
            with open(os.path.join(path, "dpkg-query"), "w", encoding="ascii") as script:
                script.write(f"#!/bin/sh\n/usr/bin/dpkg-query \"$@\" | grep -v ' {MISSING_PACKAGE}$'\n")
            os.chmod(script.name, 0o755)
            run = self.stack.run(command=[
                *user, "env", f"PATH={path}", os.path.join(support.ROOT, "scripts/run"), "--once"])
        self.assert_refused(run, f"apt-get install --no-install-recommends {MISSING_PACKAGE}`")

    def test_a_folder_of_something_else_is_left_alone(self):
        with open(self.stack.path("thesis.tex"), "w", encoding="ascii") as file:
            file.write("years of work")
        os.chmod(self.stack.state, 0o755)
        before = picture(self.stack.state)
        for options in ([], ["--fresh"]):
            with self.subTest(options):
                self.assert_refused(self.stack.run(*options), self.stack.state, "CRADLE_STATE")
                self.assertEqual(picture(self.stack.state), before)
                self.assertEqual(stat.S_IMODE(os.stat(self.stack.state).st_mode), 0o755)


class StateFolder(RunTest):
    """One state folder, whole at the beginning of each test."""

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("kept")
        run = cls.stack.run("--once")
        if run.returncode != 0:
            raise AssertionError(f"--once: {run.stdout}{run.stderr}")
        cls.first_output = run.stdout

    def demo_on_disk(self):
        with open(self.stack.path("demo.json"), encoding="utf-8") as file:
            return json.load(file)

    @contextlib.contextmanager
    def away(self, name):
        """A piece of the state folder is away, and is put back as it was."""
        path = self.stack.path(name)
        with tempfile.TemporaryDirectory() as aside:
            kept = os.path.join(aside, "kept")
            shutil.move(path, kept)
            try:
                yield path
            finally:
                if os.path.lexists(path):
                    remove(path)
                shutil.move(kept, path)

    def assert_left_alone(self, *words, options=((), ("--fresh",))):
        before = picture(self.stack.state)
        for given in options:
            self.assert_refused(self.stack.run("--once", *given), self.stack.state, *words)
            self.assertEqual(picture(self.stack.state), before)

    def test_a_damaged_marker_costs_nothing(self):
        for content in (b"", b"\n", b"setu", b"setup\0\n", b"setup\nsetup\n", b"completed\n", b"\0" * 9):
            with self.subTest(content=content), self.away(MARKER) as path:
                with open(path, "wb") as file:
                    file.write(content)
                self.assert_left_alone(MARKER, "backup")

    def test_an_unreadable_marker_costs_nothing(self):
        with self.subTest("a folder"), self.away(MARKER) as path:
            os.mkdir(path)
            self.assert_left_alone(MARKER, "cannot be read")
        with self.subTest("a link to nowhere"), self.away(MARKER) as path:
            os.symlink("nowhere", path)
            self.assert_left_alone("CRADLE_STATE")
        if os.geteuid() != 0:
            with self.subTest("without permission"), self.away(MARKER) as path:
                with open(path, "w", encoding="ascii") as file:
                    file.write("complete\n")
                os.chmod(path, 0)
                self.assert_refused(self.stack.run("--once"), MARKER, "cannot be read")

    def test_a_missing_marker_costs_nothing(self):
        with self.away(MARKER):
            self.assert_left_alone("CRADLE_STATE")

    def test_a_missing_or_empty_piece_costs_nothing_else(self):
        with open(self.stack.path("cluster"), encoding="utf-8") as file:
            cluster = file.read().strip()
        pieces = ["softhsm", "pin", "exchange.pem", "cluster", "pgpass-cradle_join"]
        if os.path.dirname(cluster) == os.path.realpath(self.stack.state):
            pieces.append(os.path.basename(cluster))
        for name in pieces:
            with self.subTest(name), self.away(name) as path:
                self.assert_left_alone(name, options=[()])
                if name not in ("pg", "softhsm"):
                    with open(path, "wb"):
                        pass
                else:
                    os.mkdir(path)
                self.assert_left_alone(options=[()])

    def assert_demo_done(self, output):
        """Its last line counts the devices that it said to have joined."""
        joined = set(re.findall(r"^Device ([0-9a-f]{16}) \([^)]*\) joins", output, re.MULTILINE))
        self.assertGreaterEqual(len(joined), len(VERSIONS), output)
        self.assertIn(f"Demo done: {len(joined)} devices joined", output)

    def test_state_is_kept_and_the_demo_goes_on(self):
        self.assert_demo_done(self.first_output)
        before = self.demo_on_disk()
        run = self.stack.run("--once")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assert_demo_done(run.stdout)
        after = self.demo_on_disk()
        joined = set()
        for old, new in zip(before["devices"], after["devices"], strict=True):
            if old["dev_nonce"] != new["dev_nonce"]:
                self.assertEqual(new["dev_nonce"], old["dev_nonce"] + 1)
                joined.add(new["mac_version"])
            self.assertEqual({**old, "dev_nonce": 0}, {**new, "dev_nonce": 0})
        self.assertEqual(joined, VERSIONS)
        self.assertEqual({**before, "devices": 0}, {**after, "devices": 0})

    def test_network_servers_of_an_older_demo_are_given_their_ns_ids(self):
        before = self.demo_on_disk()
        older = {**before, "network_servers": [
            {name: value for name, value in server.items() if name != "ns_id"}
            for server in before["network_servers"]]}
        with open(self.stack.path("demo.json"), "w", encoding="utf-8") as file:
            json.dump(older, file)
        with self.running(self.stack):
            self.assertEqual(self.demo_on_disk()["network_servers"], before["network_servers"])
            rows = self.stack.psql("SELECT encode(ns_id, 'hex') FROM peer_ns_id ORDER BY ns_id")
        self.assertEqual([ns_id for (ns_id,) in rows],
                         sorted(server["ns_id"] for server in before["network_servers"]))

    def test_demo_json_has_the_shape_that_is_promised(self):
        demo = self.demo_on_disk()
        self.assertEqual(stat.S_IMODE(os.stat(self.stack.path("demo.json")).st_mode), 0o600)
        self.assertEqual(demo["join"]["url"], self.stack.join_url)
        self.assertEqual(demo["activation"]["url"], self.stack.activation_url)
        self.assertGreaterEqual(len(demo["network_servers"]), 2)
        for server in demo["network_servers"]:
            self.assertLessEqual({"net_id", "ns_id", "token", "kek_label", "kek"}, set(server))
            self.assertRegex(server["ns_id"], r"\A[0-9a-f]{16}\Z")
        for server in demo["application_servers"]:
            self.assertLessEqual({"as_id", "token", "kek_label", "kek"}, set(server))
        for role in ("admin", "maker"):
            self.assertEqual({"client_id", "client_secret"}, set(demo["clients"][role]))
        with open(self.stack.path(demo["exchange_key"]), encoding="ascii") as file:
            self.assertIn("BEGIN PUBLIC KEY", file.read())
        claimed = [d for d in demo["devices"] if d["claimed"]]
        self.assertEqual({d["mac_version"] for d in claimed}, VERSIONS)
        self.assertEqual({d["home_net_id"] for d in claimed}, {demo["network_servers"][0]["net_id"]})
        self.assertGreater(len(demo["devices"]), len(claimed))
        self.assertIn(demo["handed_over"], [d["dev_eui"] for d in claimed])
        for device in demo["devices"]:
            self.assertLessEqual({"dev_eui", "join_eui", "mac_version", "app_key", "nwk_key", "dev_nonce",
                                  "home_net_id", "as_id", "code", "claimed"}, set(device))
            self.assertEqual(device["code"] is None, device["claimed"])
            self.assertRegex(device["code"] or "0" * 16, r"\A[0-9A-F]{16}\Z")
            self.assertRegex(device["dev_eui"] + device["join_eui"], r"\A[0-9a-f]{32}\Z")
            self.assertEqual(device["nwk_key"] is not None, device["mac_version"] == "1.1")

    def test_a_second_run_is_refused_and_the_first_goes_on(self):
        with self.running(self.stack):
            other = support.Stack("second", demo=False)
            other.state = self.stack.state
            for options in ([], ["--fresh"]):
                self.assert_refused(other.run(*options), self.stack.state, "Another run")
            self.stack.wait_ready(0)

    def test_what_is_killed_is_started_again_with_a_word(self):
        with self.running(self.stack):
            for name in ("activation", "postgres", "joinserver"):
                with self.subTest(name):
                    self.stack.wait_restarted(name, self.stack.kill(name))
                    self.assertRegex(self.stack.said(), rf"(?m)^{name} ended \(signal KILL\): start")
                    self.stack.wait_ready()

    def test_a_service_that_cannot_be_configured_is_not_started_again(self):
        self.stack.launch()
        process = self.stack.process
        try:
            support.wait_until(lambda: os.path.exists(self.stack.path("run", "ready")),
                               support.START_SECONDS, "scripts/run is ready")
            started = support.descendants(process.pid)
            with open(self.stack.path("joinserver.ini"), "a", encoding="ascii") as file:
                file.write("\n[join]\nworkers = none\n")
            os.truncate(self.stack.output, 0)
            self.stack.kill("joinserver")
            self.assertEqual(process.wait(support.STOP_SECONDS), 1)
        finally:
            self.stack.stop()
        said = self.stack.said()
        self.assertEqual(said.count("started again."), 1, said)
        self.assertRegex(said, r"(?m)^cradle: joinserver .*configuration or PIN.*not started again")
        self.assertIn("workers", said)
        self.assert_nothing_left(self.stack, started)

    def test_ctrl_c_stops_everything(self):
        self.stack.start()
        started = support.descendants(self.stack.process.pid)
        self.assertTrue(os.path.isdir(usual_sockets(self.stack.state)))
        self.assertEqual(self.stack.stop(signal.SIGINT), 0)
        self.assert_nothing_left(self.stack, started)
        self.assertFalse(os.path.exists(usual_sockets(self.stack.state)))

    def test_ctrl_c_while_starting_stops_everything(self):
        self.stack.launch()
        support.wait_until(lambda: self.stack.pids("postgres"), support.START_SECONDS, "a postgres")
        started = support.descendants(self.stack.process.pid)
        self.assertEqual(self.stack.stop(signal.SIGINT), INTERRUPTED)
        self.assert_nothing_left(self.stack, started)
        self.assertFalse(os.path.exists(usual_sockets(self.stack.state)))

    def test_a_killed_run_leaves_no_process_and_the_next_one_goes_on(self):
        self.stack.start()
        process = self.stack.process
        started = support.descendants(process.pid)
        process.kill()
        process.wait()
        self.stack.process = None
        self.assert_nothing_left(self.stack, started)
        with self.running(self.stack):
            self.stack.wait_ready()

    def test_another_s_folder_in_the_place_of_ours_is_gone_round(self):
        usual = usual_sockets(self.stack.state)
        os.mkdir(usual)
        os.chmod(usual, 0o755)  # ours is for its owner alone
        self.addCleanup(os.rmdir, usual)
        chosen = set()
        for _ in range(2):
            with self.running(self.stack):
                with open(self.stack.path("run", "psql"), encoding="utf-8") as file:
                    chosen.add(file.read().splitlines()[1])
                self.assertEqual(self.stack.psql("SELECT 1"), [["1"]])
        self.assertEqual(len(chosen), 1, "the name was not remembered")
        self.assertNotIn(usual, chosen)
        self.assertFalse(os.path.exists(*chosen))
        self.assertEqual(os.listdir(usual), [])
        os.unlink(self.stack.path("sockets"))


class Beginnings(RunTest):
    """Those that make, or remove, a state folder of their own."""

    def test_a_set_up_that_was_interrupted_is_begun_anew_without_demo_if_so_wished(self):
        stack = support.Stack("begun", demo=False)
        for name, content in ((MARKER, "setup\n"), ("pin", "1234\n"), ("cluster", stack.path("pg"))):
            with open(stack.path(name), "w", encoding="utf-8") as file:
                file.write(content)
        os.mkdir(stack.path("pg"))
        with self.running(stack):
            stack.wait_ready(0)
            self.assertFalse(os.path.exists(stack.path("demo.json")))
            self.assertRegex(stack.said(), "state folder +" + re.escape(stack.state) + "\n")
        with open(stack.path("pin"), encoding="ascii") as file:
            self.assertNotEqual(file.read(), "1234\n")
        with open(stack.path(MARKER), encoding="ascii") as file:
            self.assertEqual(file.read(), "complete\n")
        run = stack.run("--once", "--no-demo")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertFalse(os.path.exists(stack.path("demo.json")))

    def test_the_machine_needs_no_user_but_those_of_debian_s_packages(self):
        stack = support.Stack("users", demo=False)
        self.addCleanup(stack.stop)
        run = self.run_with_users(stack, lambda name, uid: uid < FIRST_OF_PEOPLE)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_the_package_whose_user_is_missing_is_named(self):
        run = self.run_with_users(support.Stack("nobody", demo=False), lambda name, uid: name != "postgres")
        self.assert_refused(run, "user postgres", "install Debian's package postgresql")

    def run_with_users(self, stack, has):
        """scripts/run --once where /etc/passwd has no others than these."""
        with tempfile.TemporaryDirectory() as folder:
            users = os.path.join(folder, "passwd")
            with open(users, "w", encoding="utf-8") as file:
                file.writelines(":".join(map(str, user)) + "\n" for user in pwd.getpwall() if has(user.pw_name, user.pw_uid))
            os.chmod(users, 0o644)  # also for those whom the command becomes
            alone = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/passwd && exec "$@"', users]
            if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
                self.skipTest("no mount namespace of its own: only root has one, and not in a container")
            return stack.run(command=[*alone, *stack.command("--once", "--no-demo")])

    def test_fresh_makes_other_keys_and_devices(self):
        stack = support.Stack("fresh")
        # As a power cut may leave a folder that was only just made.
        with open(stack.path(f"{MARKER}.new"), "w", encoding="ascii"):
            pass
        keys = set()
        for _ in range(2):
            run = stack.run("--once", "--fresh")
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            with open(stack.path("demo.json"), encoding="utf-8") as file:
                keys |= {device["app_key"] for device in json.load(file)["devices"]}
            with open(stack.path("exchange.pem"), encoding="ascii") as file:
                keys.add(file.read())
            os.makedirs(stack.path("stale"), exist_ok=True)
        with open(stack.path("demo.json"), encoding="utf-8") as file:
            devices = json.load(file)["devices"]
        self.assertEqual(len(keys), 2 * (len({d["app_key"] for d in devices}) + 1))


class Memory(unittest.TestCase):
    SIZE = 512 << 20

    def test_what_a_control_group_leaves_is_all_there_is(self):
        group = MemoryGroup()
        self.addCleanup(group.close)
        group.limit(self.SIZE)
        ask = ". scripts/lib/postgres.sh; memory_kib"
        without, within = (int(subprocess.run(["bash", "-c", command], cwd=support.ROOT, capture_output=True, text=True, check=True).stdout)
                           for command in (ask, f"echo $$ >{group.path}/cgroup.procs; {ask}"))
        self.assertEqual(within, self.SIZE >> 10)
        self.assertGreater(without, within)


class Clusters(unittest.TestCase):
    """What tests and benchmarks leave behind where PostgreSQL's folder is not in the state folder."""

    def test_those_of_removed_state_folders_go_and_no_others(self):
        with tempfile.TemporaryDirectory() as outside, tempfile.TemporaryDirectory() as work:
            ours, others, begun = (os.path.join(outside, digit * 16, "data") for digit in "123")
            inside = os.path.join(work, "in", "pg")
            for folder in (ours, others, f"{begun}.new", inside):
                os.makedirs(folder)
            for name, cluster in (("out", ours), ("begun", begun), ("in", inside), ("strange", f"{outside}/{'2' * 16}/data/..")):
                os.makedirs(os.path.join(work, "job", name))
                with open(os.path.join(work, "job", name, "cluster"), "w", encoding="utf-8") as file:
                    file.write(f"{cluster}\n")
            for _ in range(2):
                remove_clusters(work, outside)
                self.assertEqual(os.listdir(outside), ["2" * 16])
                self.assertTrue(os.path.isdir(others) and os.path.isdir(inside))

    @unittest.skipUnless(os.geteuid() == 0, "only root's are kept outside")
    def test_one_whose_making_failed_goes_with_its_state_folder(self):
        folder = os.path.join(OUTSIDE, secrets.token_hex(8))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        with tempfile.TemporaryDirectory() as state:
            os.mkdir(os.path.join(state, "log"))

            def run(command):
                return subprocess.run(["bash", "-c", "set -euo pipefail; for part in common state postgres; do . scripts/lib/$part.sh; done; "
                                       "step() { exit 9; }; state=$1 pgdata=$2/data pgbin=/nowhere pg_owner=0; " + command, "bash", state, folder],
                                      cwd=support.ROOT, capture_output=True, text=True, check=False)

            made = run("cluster_make")
            self.assertEqual(made.returncode, 9, made.stderr)
            self.assertEqual(os.listdir(folder), ["first-password"])
            emptied = run("state_empty")
            self.assertEqual(emptied.returncode, 0, emptied.stderr)
            self.assertFalse(os.path.exists(folder))


if __name__ == "__main__":
    unittest.main()
