"""`cradle top`: what it says is what the services' metrics say; on a terminal, in a pipe, and once."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

import support

WAIT_SECONDS = 20
ROWS, COLUMNS = 30, 90
CONTROL = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, arguments, rows=ROWS, columns=COLUMNS):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=subprocess.PIPE, close_fds=True,
                                        start_new_session=True)
        self.slave, self.seen = slave, ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(self, pattern):
        """Reads until the pattern has come, and returns what was read; what was read before is forgotten."""
        end = time.monotonic() + WAIT_SECONDS
        text = ""
        while not re.search(pattern, text):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                raise AssertionError(f"no {pattern!r} in {text!r}")
            text += os.read(self.master, 65536).decode()
        return text

    def key(self, key):
        os.write(self.master, key.encode())

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        os.close(self.master)
        os.close(self.slave)


class Top(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = support.shared()
        cls.urls = [cls.stack.join_url, cls.stack.activation_url]

    def arguments(self, *more, urls=None):
        words = [word for url in urls or self.urls for word in ("--url", url)]
        return [self.stack.program("cli/cradle"), "top", *words, "--interval", "1", *more]

    def once(self, *more, urls=None):
        run = subprocess.run(self.arguments("--once", *more, urls=urls), capture_output=True, text=True, check=False, timeout=WAIT_SECONDS)
        self.assertEqual(run.stderr, "")
        return run.returncode, run.stdout

    def test_once_as_json_for_scripts(self):
        device = self.stack.device("1.0.3")
        with subprocess.Popen(self.arguments("--json"), stdout=subprocess.PIPE, text=True) as watching:
            try:
                first = json.loads(watching.stdout.readline())
                self.assertIsNone(first["joins_per_s"], "of one reading nobody knows the rate")
                self.assertTrue(self.stack.join(device)["agree"])
                grown, n = 0, 0
                while grown == 0 and n < WAIT_SECONDS:
                    line = json.loads(watching.stdout.readline())
                    grown, n = line["success_per_s"] * line["interval_s"], n + 1
                self.assertAlmostEqual(grown, 1, places=3)
                self.assertGreater(line["p99_s"], 0)
                self.assertIn("demo-home", [peer["name"] for peer in line["peers"]])
            finally:
                watching.terminate()
        self.assertEqual(watching.returncode, 0)
        status, text = self.once("--json")
        said = json.loads(text)
        self.assertEqual((status, [service["kind"] for service in said["services"]]), (0, ["join", "activation"]))
        for service in said["services"]:
            self.assertTrue(service["ready"] and service["answers"], service)
            self.assertGreater(service["resident_bytes"], 1 << 20)
        self.assertGreaterEqual(said["keyd_processes"], 2)

    def test_once_as_text(self):
        status, text = self.once()
        self.assertEqual(status, 0)
        for word in ("JOINS", "KEYS", "ONBOARDING", "activation", " ready "):
            self.assertIn(word, text)
        self.assertNotIn("\x1b", text)

    def test_what_is_away_is_said_and_fails_once(self):
        port, = support.free_ports(1)
        status, text = self.once("--json", urls=[self.stack.join_url, f"http://127.0.0.1:{port}"])
        services = json.loads(text)["services"]
        self.assertEqual((status, [service["answers"] for service in services]), (1, [True, False]))
        self.assertIn("connect", services[1]["fault"])
        status, text = self.once("--json", urls=[self.stack.activation_url + "/v1"])
        self.assertEqual((status, json.loads(text)["services"][0]["fault"]), (1, "HTTP status 404 for /metrics"))

    def test_a_terminal_that_changes_its_size(self):
        terminal = Terminal(self.arguments())
        self.addCleanup(terminal.close)
        seen = terminal.until("PEER|audit")
        self.assertIn("\x1b[?1049h", seen, "a screen of its own")
        terminal.resize(8, 45)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.until(r"\x1b\[J")
        seen = terminal.until(r"\x1b\[J")
        frame = CONTROL.sub("", seen.split("\x1b[H")[-1]).split("\r\n")
        self.assertLessEqual(len(frame), 8)
        self.assertLessEqual(max(map(len, frame)), 45)
        terminal.key("q")
        terminal.until(r"\x1b\[\?1049l")
        self.assertEqual(terminal.process.wait(WAIT_SECONDS), 0)
        self.assertEqual(terminal.process.stderr.read(), b"")
        self.assertEqual(termios.tcgetattr(terminal.slave), terminal.before)

    def test_a_service_that_is_restarted(self):
        service = self.stack.second_joinserver()
        self.addCleanup(service.stop)
        terminal = Terminal(self.arguments(urls=[service.url]))
        self.addCleanup(terminal.close)
        terminal.until(" ready ")
        service.process.kill()
        service.process.wait()
        terminal.until("away:")
        again = support.JoinServer(self.stack, service.port)
        self.addCleanup(again.stop)
        again.wait_ready()
        terminal.until(" ready ")
        terminal.process.send_signal(signal.SIGTERM)
        terminal.until(r"\x1b\[\?1049l")
        self.assertEqual(terminal.process.wait(WAIT_SECONDS), 0)

    def test_a_pipe_gets_lines(self):
        with subprocess.Popen(self.arguments(), stdout=subprocess.PIPE, text=True) as watching:
            try:
                lines = [watching.stdout.readline() for _ in range(2)]
            finally:
                watching.send_signal(signal.SIGINT)
        self.assertEqual(watching.returncode, 0)
        for line in lines:
            self.assertRegex(line, r"^\d{4}-\S+ joins \d+\.\d/s .* away 0\n$")

    def test_wrong_options(self):
        for words, wanted in ((["--interval", "0"], "--interval"), (["--interval", "x"], "--interval"), (["more"], "more"),
                              (["--url", "x"] * 17, "--url")):
            run = subprocess.run([self.stack.program("cli/cradle"), "top", *words], capture_output=True, text=True, check=False,
                                 timeout=WAIT_SECONDS)
            self.assertEqual(run.returncode, 2, words)
            self.assertIn(wanted, run.stderr)
