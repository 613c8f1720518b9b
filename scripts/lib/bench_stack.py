"""A private Cradle to measure: scripts/run in a folder of its own, with the settings it ships."""
import base64
import configparser
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from clusters import remove_clusters
from ports import free_ports

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START_SECONDS = 120
STOP_SECONDS = 60
POLL_SECONDS = 0.05
NET_ID, AS_ID = "000013", "bench-as"
JOIN_EUI = "02cdcdbe00000001"  # as in tests/bench/fleet.c
KEK_BYTES = 16
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """One sentence for the person who measures."""


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failed(f"Not after {seconds} seconds: {what}.")
        time.sleep(POLL_SECONDS)


def end_at_sigterm():
    """As at an exit, whatever was started ends first; a second signal does not cut that short."""
    def end(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + signal.SIGTERM)
    signal.signal(signal.SIGTERM, end)


def post(port, token, body):
    """The answer's text; None when there is none or it is not one of success."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", data=json.dumps(body).encode(),
                                     headers={"Authorization": f"Bearer {token}",
                                              "Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.HTTPError, OSError):
        return None


def cpu_table():
    """{pid: (parent, name, own microseconds, those of children that ended)}"""
    table = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        name = text[text.index("(") + 1:text.rindex(")")]
        field = text[text.rindex(")") + 2:].split()
        own, ended = (sum(int(f) for f in field[i:i + 2]) * 1000000 // TICKS_PER_SECOND
                      for i in (11, 13))
        table[int(entry)] = (int(field[1]), name, own, ended)
    return table


def private(path, flags):
    return os.open(path, flags, 0o600)


def busy_us():
    """Microseconds that all cores together have worked, for whomever."""
    with open("/proc/stat", encoding="ascii") as file:
        field = [int(f) for f in file.readline().split()[1:9]]
    return (sum(field) - field[3] - field[4]) * 1000000 // TICKS_PER_SECOND


class Psql:
    """One psql as the superuser for all questions: a new one each would be measured too."""

    def __init__(self, stack):
        with open(stack.path("run", "psql"), encoding="utf-8") as file:
            psql, sockets = file.read().splitlines()
        self.process = subprocess.Popen(
            [psql, "-XqAt", "-v", "ON_ERROR_STOP=1", f"host={sockets} dbname=cradle user=postgres "
             f"passfile='{stack.path('pgpass-postgres')}'"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, sql):
        """The rows that the SQL gives, as text."""
        self.process.stdin.write(f"{sql};\n\\echo ----\n")
        self.process.stdin.flush()
        rows = []
        for line in self.process.stdout:
            if line == "----\n":
                return rows
            rows.append(line.rstrip("\n"))
        raise Failed("PostgreSQL does not answer.")

    def close(self):
        self.process.stdin.close()
        self.process.wait(STOP_SECONDS)


class Stack:
    def __init__(self, built, n_servers, second="joinserver/cradle-joinserver", keep=None, settings=()):
        """`second`: the program of the join servers behind the first, `settings`: theirs. `keep`: a folder that stays, to go on in."""
        self.built, self.second, self.settings_of_others = built, second, settings
        self.temporary = None if keep else tempfile.TemporaryDirectory(prefix="cradle-bench-", dir="/tmp")
        self.folder = os.path.abspath(keep) if keep else self.temporary.name
        self.state = os.path.join(self.folder, "state")
        self.activation_port, self.activation_tls_port, *ports = free_ports(2 + 2 * n_servers)
        self.ports, self.tls_ports = ports[:n_servers], ports[n_servers:]
        self.run = None
        self.others = []
        self.psql = None
        self.config = self.path("bench.ini")

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def path(self, *parts):
        return os.path.join(self.state, *parts)

    def program(self, path):
        return os.path.join(self.built, path)

    def environment(self):
        return {**os.environ, "CRADLE_STATE": self.state, "CRADLE_JOIN_PORT": str(self.ports[0]),
                "CRADLE_JOIN_TLS_PORT": str(self.tls_ports[0]),
                "CRADLE_ACTIVATION_PORT": str(self.activation_port),
                "CRADLE_ACTIVATION_TLS_PORT": str(self.activation_tls_port),
                "CRADLE_JOIN_DEVICE_BURST": "0",  # a device has its turn again sooner than in life
                "SOFTHSM2_CONF": self.path("softhsm2.conf")}

    def start(self):
        if not os.access(self.program("tests/bench/cradle-bench"), os.X_OK):
            raise Failed(f"{self.program('tests/bench/cradle-bench')} is missing: build it first.")
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("run", "ready"))
        log_path = os.path.join(self.folder, "run.log")
        with open(log_path, "wb") as log:
            self.run = subprocess.Popen(
                [os.path.join(ROOT, "scripts/run"), "--no-demo", "--built", self.built],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(),
                start_new_session=True)
        wait_until(lambda: self.run.poll() is not None or os.path.exists(self.path("run", "ready")),
                   START_SECONDS, "scripts/run is ready")
        if self.run.poll() is not None:
            with open(log_path, encoding="utf-8", errors="replace") as log:
                raise Failed(f"scripts/run ended: {log.read().strip()}")
        self.psql = Psql(self)
        peer = dict(self.settings("bench.ini")["peer"]) if os.path.exists(self.config) else self.add_peers()
        self.configure(peer)
        for port, tls_port in list(zip(self.ports, self.tls_ports))[1:]:
            self.start_other(port, tls_port)
        for port in self.ports:
            wait_until(lambda p=port: self.knows_peers(p, peer["token"]), START_SECONDS,
                       f"the join server on port {port} knows its peers")

    def stop(self):
        if self.psql:
            self.psql.close()
        for other in self.others:
            other.terminate()
        for other in self.others:
            other.wait(STOP_SECONDS)
        if self.run and self.run.poll() is None:
            self.run.terminate()  # not SIGINT: who is started in the background cannot take that
            try:
                self.run.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.run.kill()
        if self.temporary:
            remove_clusters(self.folder)
            self.temporary.cleanup()

    # --- what has to be there ---

    def cradle(self, *args):
        return json.loads(self.command(*args))

    def command(self, *args):
        run = subprocess.run([self.program("cli/cradle"), "--config", self.path("cradle.ini"), *args],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                             env=self.environment())
        if run.returncode != 0:
            raise Failed(f"`cradle {' '.join(args)}` failed: {run.stderr.strip()}")
        return run.stdout

    def access_token(self, client):
        """An access token of a client that was just made."""
        basic = base64.b64encode(f"{client['client_id']}:{client['client_secret']}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.activation_port}/v1/token", data=b"grant_type=client_credentials",
            headers={"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=START_SECONDS) as answer:
                return json.loads(answer.read())["access_token"]
        except urllib.error.HTTPError as failure:
            raise Failed(f"/v1/token answered {failure.code}: {failure.read().decode()}") from None

    def tell(self, **settings):
        """More of [peer], the last section of the load generator's configuration."""
        with open(self.config, "a", encoding="utf-8") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def add_kek(self, option, peer, label):
        """A random KEK, sealed to the exchange key as a peer would do it."""
        key, sealed = secrets.token_bytes(KEK_BYTES), self.path(f"{label}.sealed")
        run = subprocess.run(
            ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", self.path("exchange.pem"),
             "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1",
             "-pkeyopt", "rsa_mgf1_md:sha1", "-out", sealed],
            input=key, capture_output=True, check=False)
        if run.returncode != 0:
            raise Failed(f"openssl cannot seal a KEK: {run.stderr.decode().strip()}")
        self.cradle("kek", "add", option, peer, "--label", label, "--sealed", sealed,
                    "--length", str(KEK_BYTES))
        return key.hex()

    def settings(self, name):
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(self.path(name), encoding="utf-8")
        return parser

    def add_peers(self):
        """A network server, an application server and the route; what the load generator has to know of them."""
        # The certificate that scripts/run makes for the demo's network server of this NetID.
        tls = self.path("tls")
        token = self.cradle("ns", "add", "--name", "bench", "--net-id", NET_ID, "--san",
                            f"urn:cradle:netid:{NET_ID}", "--ca", f"{tls}/ca.pem")["token"]
        as_token = self.cradle("as", "add", "--as-id", AS_ID)["token"]
        ns_kek = self.add_kek("--ns", NET_ID, "bench-ns")
        as_kek = self.add_kek("--as", AS_ID, "bench-as")
        self.cradle("route", "add", f"{JOIN_EUI}/64")
        return {"token": token, "as_token": as_token, "certificate": f"{tls}/ns-{NET_ID}.pem", "key": f"{tls}/ns-{NET_ID}.key",
                "ca": f"{tls}/ca.pem", "net_id": NET_ID, "as_id": AS_ID, "ns_kek_label": "bench-ns", "ns_kek": ns_kek,
                "as_kek_label": "bench-as", "as_kek": as_kek}

    def configure(self, peer):
        join, activation = self.settings("joinserver.ini"), self.settings("activation.ini")
        parser = configparser.ConfigParser(interpolation=None)
        parser["database"] = {"conninfo": activation["database"]["conninfo"], "join_conninfo": join["database"]["conninfo"]}
        parser["hsm"] = {name: join["hsm"][name] for name in ("uri", "lock_file", "keyd")}
        parser["peer"] = peer
        with open(self.config, "w", encoding="utf-8", opener=private) as file:
            parser.write(file)

    def start_other(self, port, tls_port):
        with open(self.path("log", f"joinserver-{port}.log"), "wb") as log:
            self.others.append(subprocess.Popen(
                [self.program(self.second), "--config",
                 self.path("joinserver.ini"), "--set", f"listener-plain.port={port}",
                 "--set", f"listener-tls.port={tls_port}",
                 *(word for setting in self.settings_of_others for word in ("--set", setting))],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment()))

    @staticmethod
    def knows_peers(port, token):
        """Whether it takes our JoinEUI for its own: the route was the last thing made."""
        answer = post(port, token, {
            "ProtocolVersion": "1.0", "MessageType": "JoinReq", "TransactionID": 1,
            "SenderID": NET_ID, "ReceiverID": JOIN_EUI, "MACVersion": "1.0.3"})
        return answer is not None and "UnkownReceiver" not in answer  # (sic: TS002-1.0)

    def restart_activation(self):
        """scripts/run starts again what ends."""
        before = self.pid("activation")
        os.kill(before, signal.SIGTERM)
        wait_until(lambda: self.activation_ready(before), START_SECONDS, "the activation service is ready again")

    def activation_ready(self, but):
        """Whether one is that is not this process; between the two there is no file of its number."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            if self.pid("activation") == but:
                return False
            with opener.open(f"http://127.0.0.1:{self.activation_port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    # --- what is looked at ---

    def pid(self, name):
        with open(self.path("run", f"{name}.pid"), encoding="ascii") as file:
            return int(file.read())

    def cpu(self, service="joinserver"):
        """Microseconds used so far: {keyd, SERVICE, postgres, all}, of that service's key processes.
        Those that were replaced and backends that ended are in their parents' account; `all` is the
        machine."""
        table = cpu_table()
        services = [self.pid(service)]
        if service == "joinserver":
            services += [other.pid for other in self.others]
        postmaster = self.pid("postgres")
        if not set(services) | {postmaster} <= set(table):
            raise Failed("A service ended while it was measured.")
        used = {"keyd": 0, service: 0, "postgres": 0, "all": busy_us()}
        for pid in services:
            used[service] += table[pid][2]
            used["keyd"] += table[pid][3]
        used["postgres"] += table[postmaster][2] + table[postmaster][3]
        for parent, _, own, ended in table.values():
            if parent in services:
                used["keyd"] += own + ended
            elif parent == postmaster:
                used["postgres"] += own + ended
        return used

    def batches(self):
        """Batches that the join servers have worked so far."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        n = 0
        for port in self.ports:
            with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                n += sum(int(line.split()[1]) for line in answer.read().decode().splitlines()
                         if line.startswith("cradle_join_batches_total "))
        return n

    def wal_images(self, begin, end):
        """How many bytes of the WAL between two positions are full-page images."""
        self.psql.ask("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        (row,) = self.psql.ask(f"SELECT sum(fpi_size)::int8 FROM pg_get_wal_stats('0/0'::pg_lsn + {begin}, '0/0'::pg_lsn + {end})")
        return int(row)

    def wal(self):
        """(bytes of WAL so far, full-page images so far)"""
        (row,) = self.psql.ask("SELECT pg_current_wal_insert_lsn() - '0/0', wal_fpi FROM pg_stat_wal")
        position, images = row.split("|")
        return int(position), int(images)

    def bench(self, verb, answered=False, **options):
        """Runs cradle-bench; its process. `answered`: what it says gets answers on its standard input."""
        arguments = [self.program("tests/bench/cradle-bench"), verb, "--config", self.config]
        for name, value in options.items():
            arguments += [f"--{name}", str(value)]
        return subprocess.Popen(arguments, stdin=subprocess.PIPE if answered else subprocess.DEVNULL,
                                stdout=subprocess.PIPE, text=True, env=self.environment())
