"""scripts/bench as a program: it measures, checks and reports. No figure is judged here."""
import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import types
import unittest
import unittest.mock

import lorawan
import support

sys.path.insert(0, os.path.join(support.ROOT, "scripts/lib"))
import bench_claims  # noqa: E402 (they are where scripts/bench has them)
import bench_import  # noqa: E402
import bench_load  # noqa: E402
import bench_stack  # noqa: E402
from bench_joins import huge_pages_status  # noqa: E402
from clusters import remove_clusters  # noqa: E402

ALONE = True  # what takes all of the machine makes services beside it answer late, as they should

FIELDS = {
    "benchmark", "joins_per_s", "p50_ms", "p95_ms", "p99_ms", "errors", "checked", "cpu_us",
    "keyd_share", "keyd_limit", "commit_limit", "both_limit", "batch", "wal_bytes", "wal_fpi_bytes", "load_s", "mib",
    "devices", "connections", "seconds", "rate", "version", "tls", "servers", "cores", "build", "postgres", "host", "method"}
IMPORT_FIELDS = {
    "benchmark", "seconds", "devices_per_s", "rss_mib", "rss_mib_small", "cpu_us", "wal_bytes", "joins", "errors",
    "checked", "devices", "format", "version", "session", "idle_share", "others_share", "cores", "build", "postgres",
    "host", "method"}
CLAIM_FIELDS = {
    "benchmark", "claims_per_s", "p50_ms", "p95_ms", "p99_ms", "errors", "checked", "claims", "claimed", "seconds", "cpu_us",
    "idle_share", "others_share", "wal_bytes", "not_in_database", "devices", "connections", "batch", "cores", "build",
    "postgres", "host", "method", "list_pages", "list_p50_ms", "list_max_ms"}
STORM_FIELDS = {
    "benchmark", "maximum", "asked_per_s", "offered_per_s", "joins_per_s", "of_maximum", "p50_ms", "p99_ms", "refused",
    "refused_p50_ms", "refused_p99_ms", "refused_max_ms", "normal_rate", "normal_p99_ms", "after_p99_ms", "recovered_ms",
    "checked", "errors", "unanswered", "late", "nonces_spent", "nice", "generator_cores", "modest", "devices", "connections", "version", "cores", "build", "postgres",
    "host", "method"}
CLAIM_REASONS = {"unknown", "code", "taken", "quarantined", "no_code", "credential", "locked"}
BENCH_SECONDS = 180


def start(*arguments, name="joins"):
    return subprocess.Popen(
        [os.path.join(support.ROOT, "scripts/bench"), name, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def bench(*arguments, name="joins"):
    process = start(*arguments, name=name)
    try:
        out, err = process.communicate(timeout=BENCH_SECONDS)
    except BaseException:  # also when the tests are ended: killed, it would leave its servers, which are of another process group
        process.terminate()
        process.communicate()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def answer_of(run):
    """Its last line, an object; without one, what it said in the place of it."""
    try:
        return json.loads(run.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise AssertionError(f"{run.args} ended with {run.returncode}, and no answer:\n{run.stdout}{run.stderr}") from None


@contextlib.contextmanager
def kept_state():
    """A folder for --state, which a benchmark leaves to whoever named it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        try:
            yield folder
        finally:
            remove_clusters(folder)


def processes_of(folder):
    """Those whose command lines name it."""
    found = []
    for pid in support.processes():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if folder.encode() in file.read():
                found.append(pid)
    return found


class Bench(unittest.TestCase):
    def measured(self, *arguments, name="joins"):
        run = bench("--built", support.Stack.program(""), "--devices", "500", "--connections", "16",
                    "--seconds", "2", *arguments, name=name)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        return answer_of(run)

    def test_last_line_has_all_fields_and_every_answer_was_right(self):
        answer = self.measured()
        self.assertEqual(FIELDS - set(answer), set())
        self.assertEqual(set(answer["cpu_us"]), {"keyd", "joinserver", "postgres", "load"})
        self.assertEqual(answer["errors"], 0)
        self.assertGreater(answer["checked"], 0)
        self.assertGreater(answer["joins_per_s"], 0)
        self.assertGreater(answer["wal_bytes"], 0)
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            self.assertEqual(answer["postgres"][setting], "on")

    def test_huge_pages_are_seen_where_they_are(self):
        """In what the kernel says of a server, with one mapping of pages as they are, and with one of huge ones."""
        usual = f"Size: 8 kB\nKernelPageSize: {resource.getpagesize() // 1024} kB\n"
        for text, status in ((usual, "off"), (f"{usual}KernelPageSize:     2048 kB\n{usual}", "on"), ("", "off")):
            with unittest.mock.patch("bench_joins.open", unittest.mock.mock_open(read_data=text), create=True) as opened:
                self.assertEqual(huge_pages_status(17), status)
            opened.assert_called_once_with("/proc/17/smaps", encoding="utf-8", errors="replace")
        with unittest.mock.patch("bench_joins.open", side_effect=PermissionError, create=True):
            self.assertEqual(huge_pages_status(17), "unknown")
        self.assertIn(huge_pages_status(os.getpid()), ("on", "off"))

    def test_one_that_is_ended_takes_its_servers_with_it(self):
        """And is told so once more while they end."""
        with kept_state() as folder:
            state = os.path.join(folder, "state")
            process = start("--built", support.Stack.program(""), "--devices", "500", "--seconds", "60", "--state", folder)
            try:
                support.wait_until(lambda: os.path.exists(os.path.join(state, "run", "ready")), BENCH_SECONDS, "its servers are there")
                servers = processes_of(state)
                process.terminate()
                support.wait_until(lambda: len(processes_of(state)) < len(servers), BENCH_SECONDS, "they are ended")
            finally:
                process.terminate()
                out, err = process.communicate()
            self.assertEqual(process.returncode, 143, out + err)
            self.assertNotEqual(servers, [])
            self.assertEqual(processes_of(state), [])

    def test_open_loop_over_two_join_servers_with_mixed_versions(self):
        answer = self.measured("--servers", "2", "--version", "mix", "--rate", "50",
                               "--devices", "1000")
        self.assertEqual((answer["errors"], answer["servers"], answer["rate"]), (0, 2, 50))
        # The second of warm-up is sent too; what is due is sent, no more and no less.
        self.assertEqual(answer["checked"], 150)

    def test_mutual_tls_with_two_join_servers(self):
        answer = self.measured("--tls", "--servers", "2", "--version", "mix", "--devices", "1000")
        self.assertEqual((answer["errors"], answer["tls"]), (0, True))
        self.assertGreater(answer["joins"], 0)

    def test_latency_is_of_joins_that_come_at_a_rate(self):
        answer = self.measured("--rate", "50", name="latency")
        self.assertEqual((answer["errors"], answer["rate"], answer["checked"]), (0, 50, 150))
        self.assertLessEqual(answer["p50_ms"], answer["p99_ms"])
        self.assertLessEqual(answer["p99_ms"], answer["max_ms"])

    def test_devices_that_are_kept_are_gone_on_with_and_no_others(self):
        with kept_state() as folder:
            first = self.measured("--state", folder, "--rate", "50")
            second = self.measured("--state", folder, "--rate", "50", "--tls")
            self.assertEqual((first["errors"], second["errors"], second["load_s"]), (0, 0, first["load_s"]))
            other = bench("--built", support.Stack.program(""), "--devices", "600", "--state", folder)
            self.assertEqual(other.returncode, 1)
            self.assertIn("has 500 devices of 1.0.3", other.stderr)

    def test_latency_at_a_part_of_what_can_be_made(self):
        answer = self.measured("--percent", "10", name="latency")
        self.assertEqual((answer["errors"], answer["percent"]), (0, 10))
        self.assertEqual(answer["rate"], round(answer["maximum"] / 10))

    def test_a_device_joins_again_and_again(self):
        run = bench("--built", support.Stack.program(""), "--joins", "90", "--slice", "30", name="history")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        answer = answer_of(run)
        self.assertEqual([one["first"] for one in answer["slices"]], [0, 30, 60])
        self.assertEqual(set(answer["slices"][0]["cpu_us"]), {"keyd", "joinserver", "postgres"})
        # Two full lists went to pages, and the rest stands in the third.
        self.assertEqual(answer["memory"]["list_bytes"], 2 * (90 - 2 * 32))
        self.assertGreater(answer["memory"]["pages"], 1)
        self.assertGreater(answer["wal_bytes"], 0)

    def test_roaming_compares_halves_that_take_turns(self):
        answer = self.measured("--rounds", "2", "--rate", "50", "--stray", "20", name="roaming")
        self.assertEqual({len(runs) for part in ("local", "through") for runs in answer[part]["runs"].values()}, {2})
        local = answer["local"]
        self.assertGreater(min(run["checked"] for run in local["runs"]["hanging"]), 0)
        self.assertGreater(local["hanging"]["stray"]["answered"], 0)
        self.assertEqual(local["refused"]["stray"]["unanswered"], 0)
        self.assertGreater(answer["through"]["carried"]["joins_per_s"], 0)

    def storm(self, *arguments):
        run = bench("--built", support.Stack.program(""), "--devices", "2000", "--connections", "500", *arguments, name="storm")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        answer = answer_of(run)
        self.assertEqual((answer["errors"], answer["nonces_spent"]), (0, 0))
        return answer

    def test_a_storm_spends_no_nonce_and_leaves_another_network_server_alone(self):
        answer = self.storm("--seconds", "5")
        self.assertEqual(STORM_FIELDS - set(answer), set())
        self.assertGreater(answer["maximum"], 0)
        for modest in (answer["modest"]["alone"], answer["modest"]["beside"]):
            self.assertEqual((modest["errors"], modest["checked"]), (0, 600))

    def test_all_devices_of_a_storm_join_in_the_end(self):
        answer = self.storm("--within", "1")
        self.assertEqual((answer["left"], answer["checked"]), (0, 2000 + answer["refused"]))

    def test_the_gate_is_measured_against_a_join_server_without_it(self):
        run = bench("--built", support.Stack.program(""), "--devices", "500", "--connections", "16", "--seconds", "1",
                    "--rounds", "2", name="gate")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        answer = answer_of(run)
        self.assertEqual((set(answer["ratio"]), answer["rounds"]), ({"joins_per_s", "cpu_us"}, 2))
        self.assertTrue(all(found["checked"] > 0 for runs in answer["runs"].values() for found in runs))

    def test_the_join_server_without_a_gate_answers_what_the_other_refuses(self):
        # Else the benchmark would compare the gate with itself.
        stack = support.shared()
        device = stack.device("1.0.3")
        stack.psql(f"UPDATE device SET service = 'suspended' WHERE dev_eui = '\\x{device['dev_eui']}'")
        other = stack.second_joinserver(program="tests/bench/cradle-joinserver-without-gate")
        self.addCleanup(other.stop)
        codes = [stack.post_join(lorawan.join_req(device, nonce, support.HOME), url=url)[1]["Result"]["ResultCode"]
                 for nonce, url in ((1, None), (2, other.url))]
        self.assertEqual(codes, ["ActivationDisallowed", "Success"])

    def test_import_measures_a_file_and_joins_beside_it(self):
        run = bench("--built", support.Stack.program(""), "--devices", "600", "--format", "jsonl", "--version", "1.1",
                    "--phases", "1", "--seconds", "1", "--rate", "50", "--connections", "4", "--join-devices", "100",
                    name="import")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        answer = answer_of(run)
        self.assertEqual(IMPORT_FIELDS - set(answer), set())
        self.assertEqual(set(answer["cpu_us"]), {"keyd", "activation", "postgres", "client"})
        self.assertEqual((answer["errors"], answer["devices"], answer["joined"]), (0, 600, 600))
        self.assertEqual(len(answer["joins"]["phases"]), 1)
        self.assertGreater(answer["rss_mib"], 0)

    def claims(self, *arguments):
        run = bench("--built", support.Stack.program(""), "--seconds", "1", *arguments, name="claims")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        answer = answer_of(run)
        self.assertEqual(CLAIM_FIELDS - set(answer), set())
        self.assertEqual(set(answer["cpu_us"]), {"keyd", "activation", "postgres", "load"})
        self.assertEqual((answer["errors"], answer["not_in_database"]), (0, 0))
        self.assertGreater(answer["claims_per_s"], 0)
        return answer

    def test_claims_are_each_of_another_device_and_stand_in_the_database(self):
        answer = self.claims("--devices", "20000", "--connections", "16")
        self.assertEqual(answer["claimed"], answer["checked"])

    def test_claims_in_lists_are_counted_each(self):
        answer = self.claims("--devices", "20000", "--connections", "2", "--batch", "50")
        self.assertEqual(answer["claimed"], 50 * answer["checked"])

    def test_timing_of_claims_asks_for_each_reason_as_often(self):
        for versions, codes in ((1, {"1": 120}), (2, {"1": 80, "2": 40})):
            run = bench("--built", support.Stack.program(""), "--tries", "100", "--devices", "20", "--message", "Claim",
                        "--code-versions", str(versions), name="timing")
            answer = answer_of(run)
            self.assertEqual(run.returncode == 0, answer["good"], run.stderr)
            self.assertEqual(answer["codes_by_version"], codes)
            verdict = answer["messages"]["Claim"]
            self.assertEqual(verdict["n"], dict.fromkeys(CLAIM_REASONS, 100))
            self.assertEqual((verdict["n_control"], len(verdict["t"])), (50, 21))

    def test_timing_asks_each_message_of_each_kind_as_often_and_reports_it(self):
        joins = ("JoinReq", "RejoinReq", "HomeNSReq", "AppSKeyReq")
        run = bench("--built", support.Stack.program(""), "--tries", "100", "--devices", "50",
                    *(f"--message={message}" for message in joins), name="timing")
        answer = answer_of(run)
        self.assertEqual(run.returncode == 0, answer["good"], run.stderr)
        self.assertEqual(set(answer["messages"]), set(joins))
        for verdict in answer["messages"].values():
            self.assertEqual(verdict["n"], {"not_yours": 100, "unclaimed": 100, "unknown": 100})
            self.assertEqual(verdict["n_control"], 10)
            self.assertEqual(len(verdict["t"]), 3)

    def test_memory_is_looked_at_until_every_key_process_was_replaced(self):
        run = bench("--built", support.Stack.program(""), "--devices", "500", "--connections", "100", "--seconds", "1",
                    "--recycle", "300", name="memory")
        answer = answer_of(run)
        self.assertEqual(run.returncode == 0, answer["errors"] == 0, run.stdout + run.stderr)
        self.assertEqual(set(answer["joinserver_mib"]), {"rss", "hwm", "pss", "idle"})
        self.assertEqual((answer["limit_mib"], set(answer["within"])), ({"joinserver": 32, "keyd": 64}, {"joinserver", "keyd"}))
        self.assertGreaterEqual(answer["joinserver_mib"]["hwm"], answer["joinserver_mib"]["idle"])
        self.assertGreater(answer["keyd_mib"], 0)
        self.assertGreaterEqual(answer["keyds_replaced"], answer["cores"])
        self.assertGreater(answer["checked"], 600)

    def test_startup_waits_until_both_services_are_ready(self):
        run = bench("--built", support.Stack.program(""), "--starts", "2", name="startup")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        answer = answer_of(run)
        for service in ("joinserver", "activation"):
            figures = answer[service]
            self.assertTrue(0 < figures["min_ms"] <= figures["median_ms"] <= figures["max_ms"], figures)
        self.assertEqual((answer["starts"], answer["limit_ms"]), (2, {"joinserver": 300}))

    def test_routes_are_found(self):
        run = bench("--built", support.Stack.program(""), "--routes", "1000", "--rounds", "1", name="routes")
        answer = answer_of(run)
        self.assertEqual((answer["routes"], answer["rounds"], answer["limit_ns"]), (1000, 1, 1000))
        for name in ("flat", "nested"):
            self.assertGreater(answer[f"{name}_ns"], 0)
            self.assertGreater(answer[f"{name}_build_ms"], 0)
            self.assertGreaterEqual(answer[f"{name}_worst_round_ns"], answer[f"{name}_ns"])

    def test_too_few_devices_for_the_connections_are_refused(self):
        run = bench("--built", support.Stack.program(""), "--devices", "10", "--connections", "16",
                    "--seconds", "1")
        self.assertEqual(run.returncode, 1)
        self.assertIn("16 connections want 64 devices or more", run.stderr)


class Answers(unittest.TestCase):
    """What cradle-bench claims takes for a wrong answer: one that a second claim of the devices gets."""

    def test_devices_that_are_claimed_already_are_errors(self):
        options = types.SimpleNamespace(devices=400, connections=4, seconds=1, batch=1, format="csv", version="1.0.3")
        with bench_stack.Stack(support.Stack.program(""), 1) as stack:
            bench_claims.prepare(stack, options)
            stack.psql.ask("UPDATE claim_code SET hash = sha256(hash) WHERE get_byte(dev_eui, 7) = 7")
            process = stack.bench("claims", devices=400, seed=bench_claims.SEED, version="1.0.3", connections=1, seconds=60,
                                  ports=stack.activation_port)
            result, good = bench_claims.result_of(process, "claims")
            self.assertEqual((result["checked"], result["errors"], good), (400, 2, False))
            self.assertEqual(bench_claims.look_up(stack, 400), 2)


class Report(unittest.TestCase):
    """What scripts/bench import takes for a wrong answer."""

    def errors(self, *rows):
        sent = bench_import.Sent(7, b"dev_eui,join_eui,app_key\n")
        sent.n_rows = 2
        sent.answer = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return sent.errors()

    def test_each_row_that_is_not_as_it_should_be_is_an_error(self):
        first = {"line": 2, "dev_eui": "02cdcdbe00000007", "outcome": "created"}
        second = {"line": 3, "dev_eui": "02cdcdbe00000008", "outcome": "created"}
        self.assertEqual(self.errors(first, second), 0)
        self.assertEqual(self.errors(first), 1)
        self.assertEqual(self.errors(first, second, second), 1)
        self.assertEqual(self.errors(second, first), 2)
        self.assertEqual(self.errors(first, {**second, "outcome": "exists"}), 1)
        self.assertEqual(self.errors(first, {**second, "warnings": [{"type": "duplicate-key"}]}), 1)


class LoadGenerator(unittest.TestCase):
    """cradle-bench finds what is wrong: else no figure of it would mean anything."""
    N_DEVICES = 200
    SCHEMA = ("SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index WHERE indrelid::regclass::text LIKE 'device%' "
              "UNION ALL SELECT conrelid::regclass || conname || pg_get_constraintdef(oid), convalidated FROM pg_constraint "
              "UNION ALL SELECT pg_get_triggerdef(oid), tgenabled = 'O' FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1")
    # What one join leaves behind that does not tell which device's it is, or when.
    EVENTS = ("SELECT DISTINCT join_eui, join_type, outcome, reason, peer_id, sender_id, net_id, opt_neg, ownership_epoch, "
              "nonce_epoch, test_join, length(fingerprint) FROM join_event")

    @classmethod
    def setUpClass(cls):
        cls.stack = bench_stack.Stack(support.Stack.program("").rstrip("/"), 1)
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        cls.before = cls.stack.psql.ask(cls.SCHEMA)
        bench_load.load(cls.stack, devices=cls.N_DEVICES)

    def joins(self, while_it_runs=lambda: None, tls=0):
        """(exit status, result)"""
        process = self.stack.bench("joins", devices=self.N_DEVICES, connections=4, seconds=1, rate=100,
                                   tls=tls, ports=(self.stack.tls_ports if tls else self.stack.ports)[0])
        with process:
            self.assertEqual(process.stdout.readline(), "begin\n")
            while_it_runs()
            result = json.loads(process.stdout.read().splitlines()[-1])
        return process.returncode, result

    def test_1_aged_devices_have_lists_of_all_lengths_and_join_on(self):
        process = self.stack.bench("age-devices", devices=self.N_DEVICES)
        self.assertEqual(process.wait(), 0, process.communicate()[0])
        lengths = [int(n) for n in self.stack.psql.ask("SELECT DISTINCT octet_length(recent_nonces) / 2 FROM device_join ORDER BY 1")]
        self.assertEqual((lengths[0], lengths[-1]), (0, 32))
        self.assertGreater(len(lengths), 25)
        self.assertEqual(self.stack.psql.ask("SELECT count(DISTINCT has_pages), max(join_nonce) < 64 FROM device_join"), ["2|t"])
        self.assertEqual(self.joins()[1]["errors"], 0)

    def test_1_right_answers_are_right_and_go_on_where_the_last_run_ended(self):
        for _ in range(2):
            status, result = self.joins()
            self.assertEqual((status, result["errors"], result["checked"]), (0, 0, 200))

    def test_1_devices_are_loaded_without_anything_missing_of_the_schema(self):
        self.assertEqual(self.stack.psql.ask(self.SCHEMA), self.before)

    def test_1_the_limits_ask_for_what_joins_ask_for(self):
        # Other rows than theirs, or rows beside theirs, and commit_limit would be of something else.
        self.joins()
        events = self.stack.psql.ask(self.EVENTS)
        self.assertEqual(len(events), 1)
        for verb, options in (("commit-limit", {}), ("keyd-limit", {"processes": 1})):
            process = self.stack.bench(verb, devices=self.N_DEVICES, seconds=1, threads=2, batch=10, **options)
            self.assertGreater(json.loads(process.communicate()[0])["joins"], 0)
            self.assertEqual(process.returncode, 0)
        self.assertEqual(self.stack.psql.ask(self.EVENTS), events)
        self.assertEqual(self.stack.psql.ask(
            "SELECT (SELECT coalesce(sum(bit_count(bits)), 0) FROM dev_nonce_page) + (SELECT sum(octet_length(recent_nonces)) / 2 FROM device_join) "
            "= (SELECT count(*) FROM join_event), "
            "(SELECT sum(join_nonce) FROM device_join) = (SELECT count(*) FROM join_event), "
            "(SELECT count(*) FROM trust_signal)"), ["t|t|0"])
        self.assertEqual(self.joins()[1]["errors"], 0)

    def test_2_answers_for_another_application_server_are_wrong(self):
        with open(self.stack.config, encoding="utf-8") as file:
            right = file.read()
        wrong = re.sub(r"(?m)^as_kek = .*$", "as_kek = " + "00" * bench_stack.KEK_BYTES, right)
        try:
            with open(self.stack.config, "w", encoding="utf-8") as file:
                file.write(wrong)
            status, result = self.joins()
        finally:
            with open(self.stack.config, "w", encoding="utf-8") as file:
                file.write(right)
        self.assertEqual((status, result["errors"], result["joins"]), (1, 200, 0))

    def test_2_a_join_nonce_that_does_not_rise_is_wrong(self):
        status, result = self.joins(lambda: self.stack.psql.ask("UPDATE device_join SET join_nonce = 0"))
        self.assertEqual(status, 1)
        self.assertGreater(result["errors"], 0)
        # So that what the next runs take for used is what was used.
        self.stack.psql.ask("UPDATE device_join j SET join_nonce = (SELECT count(*) FROM join_event e WHERE e.dev_eui = j.dev_eui)")

    def test_3_another_networks_certificate_gets_no_joins(self):
        with open(self.stack.config, encoding="utf-8") as file:
            right = file.read()
        try:
            with open(self.stack.config, "w", encoding="utf-8") as file:
                file.write(right.replace(f"/ns-{bench_stack.NET_ID}.", "/ns-000024."))
            process = self.stack.bench("joins", devices=self.N_DEVICES, connections=4, seconds=1, tls=1,
                                       ports=self.stack.tls_ports[0])
            out, _ = process.communicate()
        finally:
            with open(self.stack.config, "w", encoding="utf-8") as file:
                file.write(right)
        self.assertEqual(process.returncode, 1)
        self.assertFalse('"errors": 0' in out, out)
        self.assertEqual(self.joins(tls=1)[0], 0)

    def test_4_missing_answers_are_errors(self):
        with open(self.stack.path("run", "joinserver.pid"), encoding="ascii") as file:
            pid = int(file.read())
        status, result = self.joins(lambda: os.kill(pid, signal.SIGKILL))
        self.assertEqual(status, 1)
        self.assertGreater(result["errors"], 0)


if __name__ == "__main__":
    unittest.main()
