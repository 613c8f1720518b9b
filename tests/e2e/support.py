"""A running Cradle for end-to-end tests, spoken to as strangers would.

    class MyTest(unittest.TestCase):
        def setUp(self):
            self.stack = support.shared()          # one for all tests that break nothing
        def test_...(self):
            device = self.stack.device("1.0.3")    # imported now, for this test alone
            answer = self.stack.join(device)       # through the device's home network server

A test that kills or stops things makes a Stack of its own and stops it (`with Stack() as stack`).
A Stack is scripts/run in a folder of its own on free ports; scripts/run starts again what dies.
"""
import base64
import contextlib
import json
import os
import re
import secrets
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

import openapi

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts/lib"))
from ports import free_ports  # noqa: E402 (one for benchmarks and tests)

# For root, who may not run PostgreSQL: the same, with the name of a user of Debian's package inside, as in scripts/lib/postgres.sh.
NAMESPACE = ["unshare", "--user", "--map-user=postgres", "--map-group=postgres"]
START_SECONDS = 120
STOP_SECONDS = 60
READY_SECONDS = 30
HTTP_SECONDS = 60  # a guard against what never ends, no limit of what is right
POLL_SECONDS = 0.05
# What of the services' logs stands behind a failure: of files that young, so many lines of the last bytes.
LOG_SECONDS, LOG_LINES, LOG_BYTES = 120, 12, 8192

HOME, OTHER = "000013", "000024"
DEMO_JOIN_EUI = "02cdcd0000000001"
SAMPLE_JOIN_EUI = "20635f0000000100"
FIRST_DEV_NONCE = {"1.0.2": 1, "1.0.3": 1, "1.0.4": 0, "1.1": 0}

# What a process built with sanitizers says, or what is said of its end (ASAN_OPTIONS exitcode).
SANITIZER = re.compile(r"ERROR: AddressSanitizer|runtime error:|ended.*status 99\b")

SERVICE_PROGRAMS = ("joinserver/cradle-joinserver", "activation/cradle-activation", "hsm/cradle-keyd")

_settings = {}
_shared = None
_stops = []


def configure(built, work):
    """Where the programs are, and a folder for state folders."""
    _settings.update(built=built, work=work)


def work():
    """The folder for what the tests write."""
    return _settings["work"]


def built():
    """The folder of the programs."""
    return _settings["built"]


def shared():
    """The Stack of all tests that leave it as they found it."""
    global _shared
    if _shared is None:
        stack = Stack("shared")
        stack.start()
        _shared = stack
    return _shared


def left_in_shared():
    """What is in the database of the shared stack and is not Cradle's: tests may run in any order."""
    if _shared is None:
        return []
    return [name for name, in _shared.psql(
        "SELECT 'relation ' || oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner <> "
        "'cradle_owner'::regrole UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE pronamespace = "
        "'public'::regnamespace AND proowner <> 'cradle_owner'::regrole")]


def stop_at_end(stop):
    """Has `stop` called when all tests are over."""
    _stops.append(stop)


def stop_shared():
    global _shared
    while _stops:
        _stops.pop()()
    if _shared is not None:
        _shared.stop()
        _shared = None


def sanitizer_reports():
    """Lines in which sanitizers complain, of all state folders' logs."""
    found = []
    for folder, _, names in os.walk(_settings["work"]):
        for name in names:
            if not name.endswith((".log", ".log.1", ".out")):
                continue
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8", errors="replace") as file:
                found += [f"{path}: {line.rstrip()}" for line in file if SANITIZER.search(line)]
    return found


def last_log_lines():
    """[(path, lines)]: the ends of the state folders' logs that were written to a short time ago."""
    ends = []
    for folder, _, names in os.walk(_settings["work"]):
        if os.path.basename(folder) != "log":
            continue
        for path in sorted(os.path.join(folder, name) for name in names if name.endswith(".log")):
            if time.time() - os.stat(path).st_mtime < LOG_SECONDS:
                with open(path, "rb") as file:
                    file.seek(max(0, os.stat(path).st_size - LOG_BYTES))
                    text = file.read().decode(errors="replace")
                ends.append((os.path.relpath(path, _settings["work"]), text.splitlines()[-LOG_LINES:]))
    return ends


def wait_until(condition, seconds, what):
    """Asks until the condition holds; returns what it returned. AssertionError after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not after {seconds} s: {what}")
        time.sleep(POLL_SECONDS)


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(method, url, body=None, headers=None, timeout=HTTP_SECONDS):
    """(status, header mapping, body bytes) of one HTTP exchange; OSError when there is no answer."""
    request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with _opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def https(method, url, identity, ca, body=None, headers=None, timeout=HTTP_SECONDS):
    """As http, with the client certificate of `identity` (its "cert" and "key"; None: without one)."""
    context = ssl.create_default_context(cafile=ca)
    if identity is not None:
        context.load_cert_chain(identity["cert"], identity["key"])
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def processes():
    """{pid: (parent's pid, name)} of all processes."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        name, rest = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        if rest[0] != "Z":
            found[int(entry)] = (int(rest[1]), name)
    return found


def descendants(pid):
    table, found = processes(), {pid}
    while True:
        more = {p for p, (parent, _) in table.items() if parent in found} - found
        if not more:
            return found - {pid}
        found |= more


class JoinServer:
    """One more join server on a Stack's database and token; `settings` are its own, "name=value"."""

    def __init__(self, stack, port, tls_port=0, settings=(), program="joinserver/cradle-joinserver"):
        self.stack, self.port, self.tls_port = stack, port, tls_port
        self.url = f"http://{stack.address}:{port}/"
        self.log = stack.path("log", f"joinserver-{port}.log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [stack.program(program), "--config",
                 stack.path("joinserver.ini"), "--set", f"listener-plain.port={port}",
                 "--set", f"listener-tls.port={tls_port}",
                 *(word for setting in settings for word in ("--set", setting))],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=stack.environment())

    def wait_ready(self, seconds=READY_SECONDS):
        wait_until(lambda: self.process.poll() is not None or self.stack.is_ready(self.port), seconds,
                   f"join server on port {self.port} ready, see {self.log}")
        if self.process.poll() is not None:
            raise AssertionError(f"join server on port {self.port} ended: see {self.log}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)


class ActivationService:
    """One more activation service on a Stack's database and token, as JoinServer."""

    def __init__(self, stack, port, settings=()):
        self.stack, self.port = stack, port
        self.url = f"http://{stack.address}:{port}"
        self.log = stack.path("log", f"activation-{port}.log")
        environment = {name: value for name, value in stack.environment().items()
                       if not name.startswith("CRADLE_ACTIVATION_")}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [stack.program("activation/cradle-activation"), "--config", stack.path("activation.ini"),
                 "--set", f"listener-plain.port={port}", "--set", "listener-tls.certificate=",
                 *(word for setting in settings for word in ("--set", setting))],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def wait_ready(self, seconds=READY_SECONDS):
        wait_until(lambda: self.process.poll() is not None or self.stack.is_ready(self.port), seconds,
                   f"activation service on port {self.port} ready, see {self.log}")
        if self.process.poll() is not None:
            raise AssertionError(f"activation service on port {self.port} ended: see {self.log}")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)


class Stack:
    """PostgreSQL, token, join server and activation service, watched by scripts/run."""

    join_eui, dev_eui_begin = DEMO_JOIN_EUI, "02cdcd02"  # of the devices that `devices` imports

    def __init__(self, name="stack", demo=True, exportable_keys=False, address="127.0.0.1"):
        self.name, self.with_demo, self.exportable_keys, self.address = name, demo, exportable_keys, address
        self.state = tempfile.mkdtemp(prefix=f"{name}-", dir=_settings["work"])
        (self.join_port, self.join_tls_port, self.activation_port,
         self.activation_tls_port) = free_ports(4, address)
        self.join_url = f"http://{address}:{self.join_port}/"
        self.activation_url = f"http://{address}:{self.activation_port}"
        self.output = f"{self.state}.out"
        self.process = None
        self.within = []  # a command that scripts/run is started by
        self.inside = []  # a command that whoever uses its database from here is started by
        self._others = []
        self._demo = None
        self._nonces = {}
        self._n_devices = 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    # --- starting and stopping ---

    def path(self, *parts):
        return os.path.join(self.state, *parts)

    @staticmethod
    def program(path):
        return os.path.join(_settings["built"], path)

    def environment(self):
        """As scripts/run gives it to the services."""
        return {**os.environ, "CRADLE_STATE": self.state, "CRADLE_ADDRESS": self.address, "no_proxy": "*",
                "CRADLE_JOIN_PORT": str(self.join_port),
                "CRADLE_JOIN_TLS_PORT": str(self.join_tls_port),
                "CRADLE_ACTIVATION_PORT": str(self.activation_port),
                "CRADLE_ACTIVATION_TLS_PORT": str(self.activation_tls_port),
                "CRADLE_EXPORTABLE_KEYS": "yes" if self.exportable_keys else "no",
                "CRADLE_JOIN_DEVICE_BURST": "0",  # faults and races join without end; test_loops.py does not
                "SOFTHSM2_CONF": self.path("softhsm2.conf")}

    @staticmethod
    def command(*options):
        return [os.path.join(ROOT, "scripts/run"), "--built", _settings["built"], *options]

    def run(self, *options, command=None):
        """Runs scripts/run (or another command, in its environment) to its end;
        subprocess.CompletedProcess with text output."""
        return subprocess.run(command or self.command(*options), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=START_SECONDS,
                              env=self.environment())

    def launch(self):
        """Starts scripts/run and waits for nothing."""
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(
                [*self.within, *self.command(*([] if self.with_demo else ["--no-demo"]))], stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, env=self.environment())

    def start(self):
        self.launch()
        try:
            wait_until(lambda: self.process.poll() is not None or os.path.exists(self.path("run", "ready")),
                       START_SECONDS, "scripts/run is ready")
            if self.process.poll() is not None:
                raise AssertionError("scripts/run ended")
        except BaseException as error:
            self.stop()
            raise AssertionError(f"{error}:\n{self.said()}") from None

    def said(self):
        """What scripts/run has printed."""
        with open(self.output, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self, how=signal.SIGTERM):
        """Stops scripts/run; returns its exit status. Nothing may be left."""
        for other in self._others:
            other.stop()
        self._others.clear()
        if self.process is None:
            return None
        started = descendants(self.process.pid)
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"scripts/run does not stop:\n{self.said()}") from None
        finally:
            self.process = None
        wait_until(lambda: not started & set(processes()), READY_SECONDS,
                   f"processes {started} are gone")
        return status

    def second_joinserver(self, *settings, **options):
        """Starts one more join server; stopped with the Stack, or by its own stop()."""
        other = JoinServer(self, *free_ports(2, self.address), settings, **options)
        self._others.append(other)
        other.wait_ready()
        return other

    def second_activation(self, *settings):
        """Starts one more activation service, as second_joinserver."""
        other = ActivationService(self, *free_ports(1, self.address), settings)
        self._others.append(other)
        other.wait_ready()
        return other

    def activation_urls(self):
        """Of all activation services that run: what one of them does, any may have done."""
        return [self.activation_url] + [other.url for other in self._others
                                        if isinstance(other, ActivationService) and other.process.poll() is None]

    def is_ready(self, port):
        try:
            return http("GET", f"http://{self.address}:{port}/readyz", timeout=2)[0] == 200
        except OSError:
            return False

    def wait_ready(self, seconds=READY_SECONDS):
        """Until both services say that they are ready."""
        for port in (self.join_port, self.activation_port):
            wait_until(lambda p=port: self.is_ready(p), seconds, f"the service on port {port} ready")

    # --- processes ---

    def pids(self, name):
        """Of "joinserver", "activation", "postgres" (the postmaster: one each, or none while it is
        started again), "keyd" (the join server's) or "activation-keyd"."""
        if name in ("keyd", "activation-keyd"):
            parents = self.pids("joinserver" if name == "keyd" else "activation")
            return sorted(p for parent in parents for p in descendants(parent)
                          if processes().get(p, (0, ""))[1].startswith("cradle-keyd"))
        try:
            with open(self.path("run", f"{name}.pid"), encoding="ascii") as file:
                pid = int(file.read())
        except (FileNotFoundError, ValueError):
            return []
        return [pid] if pid in processes() else []

    def kill(self, name, how=signal.SIGKILL):
        """Kills one process of this name; returns its process id."""
        pid = wait_until(lambda: self.pids(name), READY_SECONDS, f"there is a {name}")[0]
        os.kill(pid, how)
        return pid

    def wait_restarted(self, name, killed, seconds=READY_SECONDS):
        """Until another process of this name than the killed one is there."""
        return wait_until(lambda: [p for p in self.pids(name) if p != killed], seconds,
                          f"{name} is started again")[0]

    # --- talking to it ---

    @property
    def demo(self):
        """demo.json as the demo left it."""
        if self._demo is None:
            with open(self.path("demo.json"), encoding="utf-8") as file:
                self._demo = json.load(file)
        return self._demo

    @property
    def home(self):
        """The network server that is home to all devices here."""
        return self.demo["network_servers"][0]

    def server(self, net_id=HOME):
        return next(s for s in self.demo["network_servers"] if s["net_id"] == net_id)

    def application_server(self):
        return self.demo["application_servers"][0]

    def cradle(self, *args):
        """Runs the `cradle` command; subprocess.CompletedProcess with text output."""
        return subprocess.run([*self.inside, self.program("cli/cradle"), "--config", self.path("cradle.ini"), *args],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              env=self.environment())

    def psql(self, sql, database="cradle"):
        """Runs SQL as the superuser; the rows as lists of text."""
        with open(self.path("run", "psql"), encoding="utf-8") as file:
            psql, sockets = file.read().splitlines()
        run = subprocess.run(
            [*self.inside, psql, "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", f"host={sockets} dbname={database} "
             f"user=postgres passfile='{self.path('pgpass-postgres')}'"],
            input=sql, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise AssertionError(f"{sql}: {run.stderr}")
        return [line.split("\t") for line in run.stdout.splitlines()]

    @contextlib.contextmanager
    def locked(self, sql, end="ROLLBACK"):
        """While it lasts, the superuser's transaction holds the locks that this statement takes."""
        with open(self.path("run", "psql"), encoding="utf-8") as file:
            psql, sockets = file.read().splitlines()
        with subprocess.Popen(
                [*self.inside, psql, "-XqAt", "-v", "ON_ERROR_STOP=1", f"host={sockets} dbname=cradle user=postgres "
                 f"passfile='{self.path('pgpass-postgres')}'"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            process.stdin.write(f"BEGIN;\n{sql};\n\\echo locked\n")
            process.stdin.flush()
            if not any(line == "locked\n" for line in process.stdout):
                raise AssertionError(f"{sql}: no lock")
            try:
                yield
            finally:
                if end != "ROLLBACK":  # which the end of the connection is too, and the database may be gone
                    process.stdin.write(f"{end};\n")
                process.stdin.close()
                process.stdout.read()

    @contextlib.contextmanager
    def standby_missing(self):
        """Within, every commit waits for a standby that is not there."""
        commit = "SELECT pg_logical_emit_message(true, 'probe', '')"  # it leaves nothing behind
        waits = f"SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = $${commit}$$"
        self.psql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        probe = None
        try:
            self.psql("SELECT pg_reload_conf()")
            # Known to the server some time after that: once a commit of ours waits, all do.
            while probe is None or not probe.is_alive():
                probe = threading.Thread(target=self.psql, args=(commit,))
                probe.start()
                wait_until(lambda: not probe.is_alive() or self.psql(waits), READY_SECONDS, "a commit waits")
            yield
        finally:
            self.psql("ALTER SYSTEM RESET synchronous_standby_names")
            self.psql("SELECT pg_reload_conf()")
            if probe is not None:
                probe.join()

    def waiting_at(self, wait_event, table):
        """The backends of the activation service that wait for this and have written this table.

        Its keepers (of the audit's chain, of webhooks, of trust) commit whenever they like: the table tells a call's
        transaction from theirs.
        """
        return [pid for pid, in self.psql(
            "SELECT DISTINCT pid FROM pg_stat_activity JOIN pg_locks USING (pid) WHERE datname = 'cradle' AND "
            f"application_name = 'cradle-activation' AND wait_event = '{wait_event}' AND mode = 'RowExclusiveLock' AND "
            f"pg_locks.database = (SELECT oid FROM pg_database WHERE datname = 'cradle') AND relation = '{table}'::regclass")]

    def settling(self):
        """The backends of the activation service that wait with a commit behind one whose own wait was ended."""
        return [pid for pid, in self.psql(
            "SELECT pid FROM pg_stat_activity WHERE datname = 'cradle' AND application_name = 'cradle-activation' "
            "AND wait_event = 'SyncRep' AND query LIKE '%pg_logical_emit_message(true%'")]

    def end_wait(self, pid, call=None, how="pg_terminate_backend"):
        """Ends this backend's wait for a standby: the service settles that before it answers the call, a thread."""
        others = set(self.settling())
        self.psql(f"SELECT {how}({pid})")
        settling = wait_until(lambda: set(self.settling()) - others, READY_SECONDS, "what was committed is settled")
        if call is not None and not call.is_alive():
            raise AssertionError("answered from what is on no standby")
        return settling

    def next_nonce(self, device):
        """The next DevNonce that this device has not used in these tests."""
        nonce = self._nonces.get(device["dev_eui"], device["dev_nonce"])
        self._nonces[device["dev_eui"]] = nonce + 1
        return nonce

    def _device_arguments(self, device, server, dev_nonce, options):
        arguments = ["--dev-eui", device["dev_eui"], "--join-eui", device["join_eui"],
                     "--app-key", device["app_key"], "--mac-version", device["mac_version"],
                     "--net-id", server["net_id"]]
        if "rejoin" not in options:
            arguments += ["--dev-nonce", str(self.next_nonce(device) if dev_nonce is None else dev_nonce)]
        if device["nwk_key"]:
            arguments += ["--nwk-key", device["nwk_key"]]
        for name, value in options.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        return arguments

    def _device(self, arguments):
        run = subprocess.run([self.program("cli/cradle-device"), "join", *arguments],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                             env=self.environment())
        try:
            return json.loads(run.stdout)
        except ValueError:
            raise AssertionError(f"cradle-device: {run.stdout}{run.stderr}") from None

    def join(self, device, server=None, dev_nonce=None, url=None, tls=False, **options):
        """One join with cradle-device; what it says as JSON. With `tls` over mutual TLS, else with
        the token. Further options are cradle-device's, with _ for -: dev_addr="26000001"."""
        server, application = server or self.home, self.application_server()
        join = self.demo["join"]
        way = (["--url", join["tls_url"], "--ca", join["ca"], "--cert", server["cert"], "--key", server["key"]]
               if tls else ["--url", url or self.join_url, "--token", server["token"]])
        return self._device([
            "--json", *way,
            "--ns-kek", f"{server['kek_label']}={server['kek']}",
            "--as-kek", f"{application['kek_label']}={application['kek']}",
            *self._device_arguments(device, server, dev_nonce, options)])

    def join_request(self, device, server=None, dev_nonce=None, **options):
        """The JoinReq of a join, as a mapping, not sent."""
        return self._device(["--print-request", *self._device_arguments(
            device, server or self.home, dev_nonce, options)])

    def post_join(self, body, token=None, url=None):
        """Posts a JoinReq (a mapping, or bytes as they are) with the home network server's token,
        another one, or none (""); (status, JSON or None)."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        token = self.home["token"] if token is None else token
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        status, _, answer = http("POST", url or self.join_url, body, headers)
        try:
            return status, json.loads(answer)
        except ValueError:
            return status, None

    def activation(self, method, path, body=None, headers=None):
        """(status, headers, bytes) of a call to the activation service, held to its description."""
        status, got, answer = http(method, self.activation_url + path, body, headers)
        openapi.description.hold(method, path, status, got, answer)
        return status, got, answer

    def token(self, role="maker"):
        """An access token of the demo's client with this role."""
        client = self.demo["clients"][role]
        basic = base64.b64encode(f"{client['client_id']}:{client['client_secret']}".encode()).decode()
        status, _, answer = self.activation(
            "POST", "/v1/token", b"grant_type=client_credentials",
            {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"})
        if status != 200:
            raise AssertionError(f"/v1/token: {status} {answer}")
        return json.loads(answer)["access_token"]

    def import_file(self, body, query="format=csv", token=None):
        """Posts an import file; (status, rows or problem document)."""
        status, headers, answer = self.activation(
            "POST", f"/v1/batches/import?{query}", body if isinstance(body, bytes) else body.encode(),
            {"Authorization": f"Bearer {token or self.token()}", "Content-Type": "text/csv"})
        if headers.get_content_type() == "application/x-ndjson":
            return status, [json.loads(line) for line in answer.splitlines()]
        return status, json.loads(answer)

    def devices(self, version, n, home_net_id=HOME, as_id="demo-as"):
        """Imports n new devices; mappings like demo.json's."""
        columns = ("dev_eui", "join_eui", "app_key", "nwk_key", "mac_version", "home_net_id", "as_id")
        devices = []
        for _ in range(n):
            self._n_devices += 1
            devices.append({
                "dev_eui": f"{self.dev_eui_begin}{self._n_devices:08x}", "join_eui": self.join_eui,
                "app_key": secrets.token_hex(16),
                "nwk_key": secrets.token_hex(16) if version == "1.1" else None,
                "mac_version": version, "home_net_id": home_net_id,
                "as_id": as_id if home_net_id else None,
                "dev_nonce": FIRST_DEV_NONCE[version], "claimed": home_net_id is not None})
        lines = [",".join(columns)] + [",".join(d[c] or "" for c in columns) for d in devices]
        status, rows = self.import_file("\n".join(lines) + "\n")
        if status != 200 or any(row["outcome"] != "created" for row in rows):
            raise AssertionError(f"import: {status} {rows}")
        return devices

    def device(self, version, home_net_id=HOME):
        """One new device, imported."""
        return self.devices(version, 1, home_net_id)[0]
