"""docs/metrics.md and the metrics of running services say the same; and their names are as Prometheus wants them."""
import json
import os
import ssl
import subprocess
import tempfile
import unittest

import monitoring
import support

# promtool takes the "s" of AppSKey and the "ns" of HomeNS for seconds and nanoseconds: words of TS002.
NOT_UNITS = {"cradle_app_s_key_requests_total", "cradle_home_ns_requests_total"}


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.shared()
        finding = cls.stack.second_joinserver("dns.mode=naptr")
        cls.addClassCleanup(finding.stop)
        cls.device = cls.stack.device("1.0.3")
        assert cls.stack.join(cls.device)["agree"]
        cls.pages = [monitoring.Page(support.http("GET", f"{url.rstrip('/')}/metrics")[2].decode())
                     for url in (cls.stack.join_url, finding.url, cls.stack.activation_url)]

    def test_the_document_has_each_metric_and_no_other(self):
        exposed = {}
        for page in self.pages:
            exposed |= page.types
        self.assertEqual({name: kind for name, (kind, _) in monitoring.documented().items()}, exposed)

    def test_the_document_has_each_label(self):
        told = monitoring.documented()
        for page in self.pages:
            for name, seen in page.labels().items():
                for labels in seen:
                    # The sum and the count of a histogram have no le.
                    self.assertEqual(labels | ({"le"} & told[name][1]), told[name][1], name)

    def test_each_has_a_help_and_one_type_everywhere(self):
        for page in self.pages:
            self.assertEqual(set(page.helps), set(page.types))
            self.assertEqual({page.base(name) for name, _, _ in page.samples} - set(page.types), set())
            series = [(name, tuple(sorted(labels.items()))) for name, labels, _ in page.samples]
            self.assertEqual(len(series), len(set(series)), "a series is there twice")

    @unittest.skipUnless(monitoring.promtool(), "promtool (Debian package prometheus) is not installed")
    def test_promtool_finds_no_fault_in_the_pages(self):
        for page in self.pages:
            _, said = monitoring.run_promtool("check", "metrics", text=page.text)
            self.assertEqual([line for line in said.splitlines() if line.split()[0] not in NOT_UNITS], [])

    def test_a_join_is_seen(self):
        def count(name, **wanted):
            page = monitoring.Page(support.http("GET", f"{self.stack.join_url.rstrip('/')}/metrics")[2].decode())
            return sum(value for found, labels, value in page.samples if found == name and labels | wanted == labels)

        seen = ("cradle_join_first_total", "cradle_join_seconds_count")
        before = [count(name) for name in seen]
        successes = count("cradle_join_requests_total", outcome="success")
        fresh = self.stack.device("1.1")
        self.assertTrue(self.stack.join(fresh)["agree"])
        self.assertTrue(self.stack.join(fresh)["agree"])
        # An answer leaves before it is counted.
        support.wait_until(lambda: count("cradle_join_requests_total", outcome="success") == successes + 2, 10, "both are counted")
        support.wait_until(lambda: count("cradle_join_seconds_count") == before[1] + 2, 10, "both took some time")
        support.wait_until(lambda: count("cradle_join_first_total") == before[0] + 1, 10, "one of them is a first join")

    def test_the_process_tells_of_itself(self):
        for page in self.pages:
            values = {name: value for name, labels, value in page.samples if name.startswith(("process_", "cradle_ready"))}
            self.assertEqual(values["cradle_ready"], 1)
            self.assertGreater(values["process_start_time_seconds"], 1.7e9)
            self.assertGreaterEqual(values["process_max_fds"], values["process_open_fds"])
            self.assertGreater(values["process_open_fds"], 5)
            self.assertGreater(values["process_threads"], 3)
            self.assertGreater(values["process_resident_memory_bytes"], 1 << 20)
            self.assertGreater(values["process_virtual_memory_bytes"], values["process_resident_memory_bytes"])

    def test_when_the_certificate_expires(self):
        ports = {port: value for name, labels, value in self.pages[-1].samples
                 if name == "cradle_tls_certificate_expiry_timestamp_seconds" for port in [int(labels["port"])]}
        self.assertTrue(ports)
        for port, told in ports.items():
            shown = subprocess.run(["openssl", "x509", "-noout", "-enddate"], capture_output=True, text=True, check=True,
                                   input=ssl.get_server_certificate((self.stack.address, port)))
            self.assertEqual(told, ssl.cert_time_to_seconds(shown.stdout.strip().partition("=")[2]))

    @unittest.skipUnless(monitoring.promtool(), "promtool (Debian package prometheus) is not installed")
    def test_the_example_of_a_scrape_configuration_is_good(self):
        status, said = monitoring.run_promtool("check", "config", "--syntax-only", f"{monitoring.FOLDER}/prometheus.yml")
        self.assertEqual(status, 0, said)


class Logs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.shared()

    def lines(self, service):
        with open(service.log, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_json_has_a_line_an_event_and_the_id_of_the_request(self):
        service = self.stack.second_joinserver("log.format=json", "log.level=debug")
        device = self.stack.device("1.1")
        message = self.stack.join_request(device)
        trace = "0af7651916cd43dd8448eb211c80319c"
        notification = {name: message[name] for name in ("ProtocolVersion", "SenderID", "ReceiverID", "TransactionID")}
        status, headers, _ = support.http(
            "POST", service.url, json.dumps(notification | {"MessageType": "ErrorNotif", "ProtocolVersion": "1.1", "Result": {
                "ResultCode": "Other", "Description": "request=beef \" request=beef"}}).encode(),
            {"Authorization": f"Bearer {self.stack.server()['token']}", "Content-Type": "application/json",
             "traceparent": f"00-{trace}-b7ad6b7169203331-01"})
        self.assertEqual(status, 200)
        sent = dict((name.lower(), value) for name, value in headers.items())["x-request-id"]
        support.wait_until(lambda: any(line.get("request") == sent for line in self.lines(service)), 10, "the log has it")
        service.stop()
        lines = self.lines(service)
        for line in lines:
            self.assertLessEqual({"time", "level", "service", "pid", "message"}, set(line))
            self.assertEqual((line["service"], line["pid"]), ("cradle-joinserver", service.process.pid))
        (told,) = [line for line in lines if line.get("request") == sent]
        self.assertIn("a network server reports an error", told["message"])
        self.assertNotIn("beef", str(lines))

    def test_the_journal_gets_levels(self):
        def run(stream):
            return subprocess.run([self.stack.program("joinserver/cradle-joinserver"), "--set", "log.level=loud"], capture_output=True,
                                  text=True, check=False, env=self.stack.environment() | stream).stderr

        self.assertNotIn("<", run({"JOURNAL_STREAM": "1:1"}), "another's stream")
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            at = os.fstat(file.fileno())
            subprocess.run([self.stack.program("joinserver/cradle-joinserver"), "--config", "/nowhere"], stderr=file, check=False,
                           env=self.stack.environment() | {"JOURNAL_STREAM": f"{at.st_dev}:{at.st_ino}"})
            file.seek(0)
            self.assertRegex(file.read(), r"^<3>\d{4}-")

    def test_another_format_is_refused_by_its_name(self):
        run = subprocess.run([self.stack.program("joinserver/cradle-joinserver"), "--config", self.stack.path("joinserver.ini"),
                              "--set", "log.format=xml"], capture_output=True, text=True, check=False, env=self.stack.environment())
        self.assertEqual(run.returncode, 78)
        self.assertIn('log.format must be text or json, not "xml"', run.stderr)
