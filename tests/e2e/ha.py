"""Three PostgreSQL under Patroni, three etcd and a HAProxy on loopback addresses of their own.

All of them run from the files in docs/examples/ha, in which nothing but addresses, paths and passwords
is replaced: what an operator reads there is what is tried here.
"""
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess

import support

EXAMPLES = os.path.join(support.ROOT, "docs/examples/ha")
NODES = ("pg1", "pg2", "pg3")
PROGRAMS = {"patroni": "patroni", "etcd": "etcd-server", "haproxy": "haproxy"}
PATHS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"))
INI_LINE_MAX = 198  # libinih's
START_S = 60
HEALTHY_S = 150


def missing():
    """Why it cannot run here, or None."""
    for program, package in PROGRAMS.items():
        if not shutil.which(program, path=PATHS):
            return f"Debian's package {package} is not installed"
    if os.geteuid() == 0 and subprocess.run([*support.NAMESPACE, "true"], check=False, capture_output=True).returncode:
        return "PostgreSQL does not run as root, and there are no user namespaces here"
    return None


def free_net():
    """Three bytes "127.A.B." of loopback addresses on which nobody uses our ports."""
    while True:
        net = f"127.{2 + secrets.randbelow(250)}.{secrets.randbelow(256)}."
        try:
            for host, ports in ((10, (5000,)), (11, (5432, 8008, 2379, 2380)), (12, (5432,)), (13, (5432,))):
                for port in ports:
                    with socket.socket() as s:
                        s.bind((f"{net}{host}", port))
            return net
        except OSError:
            continue


def example(name, replace):
    """An example file with each of these texts replaced; a text that is not there is an error."""
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as file:
        text = file.read()
    if name.endswith(".ini") and max(map(len, text.splitlines())) > INI_LINE_MAX:
        raise AssertionError(f"{name} has a line that cannot be read")
    for old, new in replace.items():
        if old not in text:
            raise AssertionError(f"{name} does not have {old}")
        text = text.replace(old, new)
    if re.search(r"192\.0\.2\.|-PASSWORD|/etc/|/var/", re.sub(r"(?m)^[#;].*", "", text)):
        raise AssertionError(f"{name} has something left of the example:\n{text}")
    return text


class Node:
    """One PostgreSQL and its Patroni."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.address = f"{cluster.net}{11 + NODES.index(name)}"
        self.folder = cluster.path(name)
        self.data = os.path.join(self.folder, "data")
        os.makedirs(os.path.join(self.folder, "socket"))
        self.patroni = None

    def configure(self, changes):
        folder, net = self.folder, self.cluster.net
        replace = {
            "192.0.2.0/24": "127.0.0.0/8", "/var/lib/postgresql/15/cradle": self.data,
            "/usr/lib/postgresql/15/bin": self.cluster.pgbin,
            "/var/lib/postgresql/patroni.pgpass": f"{folder}/patroni.pgpass",
            "/var/run/postgresql": f"{folder}/socket",
            "/etc/patroni/server.crt": self.cluster.path("server.crt"),
            "/etc/patroni/server.key": self.cluster.path("server.key"),
            # The machine's own watchdog is not ours to arm.
            "mode: required\n  device: /dev/watchdog": "mode: off\n  device: none",
            "name: pg1": f"name: {self.name}"}
        for port in (5432, 8008):
            replace[f"192.0.2.11:{port}"] = f"{self.address}:{port}"
        replace["192.0.2."] = net
        for word, password in self.cluster.passwords.items():
            replace[f"{word}-PASSWORD"] = password
        text = example("patroni.yml", {**replace, **changes})
        self.cluster.write(f"{self.name}/patroni.yml", text)

    def start(self):
        self.patroni = self.cluster.launch(
            f"{self.name}/patroni", [*self.cluster.as_owner, "setpriv", "--pdeathsig", "TERM", "patroni",
                                     f"{self.folder}/patroni.yml"])

    def processes(self):
        """PostgreSQL's: those that work in the data folder; the postmaster first."""
        here, found = os.path.realpath(self.data), []
        for entry in os.listdir("/proc"):
            try:
                if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == here:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        found.append((b"-D" not in file.read().split(b"\0"), int(entry)))
            except OSError:
                continue
        return [pid for _, pid in sorted(found)]

    def walsenders(self):
        found = []
        for pid in self.processes():
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if b" walsender " in file.read():
                    found.append(pid)
        return found

    def signal(self, how, only_postmaster=False):
        """Sends PostgreSQL's processes a signal. To be frozen the postmaster is first, or it would start others."""
        for pid in self.processes()[:1 if only_postmaster else None]:
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass

    def kill_patroni(self):
        if self.patroni.poll() is None:
            self.patroni.kill()
        self.patroni.wait()

    def stop(self):
        self.signal(signal.SIGCONT)
        self.kill_patroni()
        # Who is killed leaves shared memory to the next one in the folder, and there is none.
        support.wait_until(lambda: self.signal(signal.SIGQUIT) or not self.processes(), START_S,
                           f"the processes of {self.name} are gone")

    def conninfo(self, database, user="postgres"):
        return (f"host={self.address} port=5432 dbname={database} user={user} passfile='{self.cluster.pgpass}' "
                "sslmode=require connect_timeout=3")


class Cluster:
    """`changes` are replaced in patroni.yml too."""

    def __init__(self, stack, changes=None):
        self.stack, self.net = stack, free_net()
        self.folder = stack.path("ha")
        os.mkdir(self.folder, 0o700)
        self.passwords = {word: secrets.token_hex(16) for word in ("REST", "SUPERUSER", "REPLICATION", "REWIND")}
        self.as_owner = support.NAMESPACE if os.geteuid() == 0 else []
        with open(stack.path("run", "psql"), encoding="utf-8") as file:
            self.psql_program = file.readline().rstrip("\n")
        self.pgbin = os.path.dirname(os.path.realpath(self.psql_program))
        self.nodes, self.others = {}, []
        self.changes = changes or {}
        self.pgpass = self.write("pgpass", f"*:*:*:postgres:{self.passwords['SUPERUSER']}\n")

    # --- starting and stopping ---

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
        return path

    def launch(self, name, command):
        with open(self.path(f"{name}.log"), "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env={**os.environ, "PATH": PATHS}, cwd="/", start_new_session=True)

    def start(self):
        """Everything, from nothing to three nodes of which two are synchronous standbys."""
        self._certificate()
        peers = {f"{n}=http://192.0.2.1{i}": f"{n}=http://{self.net}1{i}" for i, n in enumerate(NODES, 1)}
        for index, name in enumerate(NODES):
            os.makedirs(self.path(name), exist_ok=True)
            text = example("etcd.yml", {
                **peers, "//192.0.2.11": f"//{self.net}{11 + index}", "name: pg1": f"name: {name}",
                "/var/lib/etcd/cradle": self.path(name, "etcd")})
            config = self.write(f"{name}/etcd.yml", text)
            self.others.append(self.launch(f"{name}/etcd", ["setpriv", "--pdeathsig", "KILL",
                                                            "etcd", "--config-file", config]))
            self.nodes[name] = Node(self, name)
            self.nodes[name].configure(self.changes)
        config = self.write("haproxy.cfg", example("haproxy.cfg", {"192.0.2.": self.net}))
        # The first alone, or another might become the primary and these the ones that wait for it.
        self.nodes["pg1"].start()
        self.others.append(self.launch("haproxy", ["setpriv", "--pdeathsig", "KILL", "haproxy", "-db", "-f", config]))
        try:
            support.wait_until(lambda: self.leader() == "pg1", START_S, "pg1 is the primary")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.said()}") from None
        for name in NODES[1:]:
            self.nodes[name].start()
        self.wait_healthy()

    def stop(self):
        for node in self.nodes.values():
            if node.patroni is not None:
                node.stop()
        for other in self.others:
            other.kill()
            other.wait()

    def said(self):
        """The ends of all logs but etcd's."""
        text = ""
        for folder, _, names in os.walk(self.folder):
            for name in sorted(n for n in names if n.endswith(".log") and "etcd" not in n):
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                    text += f"--- {os.path.join(os.path.basename(folder), name)}\n" + "".join(file.readlines()[-40:])
        return text

    def _certificate(self):
        names = ",".join(f"IP:{self.net}{n}" for n in (10, 11, 12, 13))
        run = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=cradle-test", "-addext", f"subjectAltName={names}", "-keyout", self.path("server.key"),
             "-out", self.path("server.crt")], capture_output=True, text=True, check=False)
        if run.returncode:
            raise AssertionError(run.stderr)
        os.chmod(self.path("server.key"), 0o600)

    # --- looking ---

    def members(self):
        """What Patroni knows of the nodes, {name: {"role", "state", "timeline"...}}; {} when nobody answers."""
        for node in self.nodes.values():
            try:
                status, _, body = support.http("GET", f"http://{node.address}:8008/cluster", timeout=2)
            except OSError:
                continue
            if status == 200:
                return {m["name"]: m for m in json.loads(body)["members"]}
        return {}

    def leader(self):
        """The node that answers as the primary that has the lock, or None."""
        for name, node in self.nodes.items():
            try:
                if support.http("GET", f"http://{node.address}:8008/primary", timeout=2)[0] == 200:
                    return name
            except OSError:
                continue
        return None

    def is_healthy(self):
        members = self.members()
        roles = sorted(m["role"] for m in members.values())
        good = all(m["state"] in ("running", "streaming") for m in members.values())
        timelines = {m.get("timeline") for m in members.values()}
        wanted = ["leader", "sync_standby", "sync_standby"] if not self.changes else ["leader", "replica", "replica"]
        return good and roles == wanted and len(timelines) == 1

    def wait_healthy(self, seconds=HEALTHY_S):
        try:
            support.wait_until(self.is_healthy, seconds, "a primary and two standbys")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.members()}\n{self.said()}") from None

    def psql(self, sql, database="cradle", node=None):
        """As Stack.psql, at the primary or at a node."""
        node = self.nodes[node or support.wait_until(self.leader, START_S, "there is a primary")]
        run = subprocess.run([self.psql_program, "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1",
                              node.conninfo(database)], input=sql, capture_output=True, text=True, check=False)
        if run.returncode:
            raise AssertionError(f"{sql[:200]}: {run.stderr}")
        return [line.split("\t") for line in run.stdout.splitlines()]

    def switchover(self):
        """A planned one, as an operator does it."""
        node = next(iter(self.nodes.values()))
        run = subprocess.run(
            ["patronictl", "-c", f"{node.folder}/patroni.yml", "switchover", "--force"],
            capture_output=True, text=True, check=False, timeout=START_S,
            env={**os.environ, "PATH": PATHS, "LC_ALL": "C.UTF-8"})
        if run.returncode:
            raise AssertionError(f"{run.stdout}{run.stderr}")

    # --- filling ---

    def fill(self):
        """The Stack's roles and database, as they are now."""
        sql = ["SET log_min_error_statement = 'panic';"]
        for role in ("cradle_owner", "cradle_join", "cradle_activation"):
            with open(self.stack.path(f"pgpass-{role}"), encoding="utf-8") as file:
                password = file.read().strip().split(":")[-1]
            sql.append(f"CREATE ROLE {role} LOGIN PASSWORD '{password}';")
        sql.append("CREATE DATABASE cradle OWNER cradle_owner TEMPLATE template0;")
        sql.append("REVOKE ALL ON DATABASE cradle FROM PUBLIC;")
        sql.append("GRANT CONNECT ON DATABASE cradle TO cradle_join, cradle_activation;")
        self.psql("\n".join(sql), "postgres")
        with open(self.stack.path("run", "psql"), encoding="utf-8") as file:
            sockets = file.read().splitlines()[1]
        dump = subprocess.run(
            [os.path.join(self.pgbin, "pg_dump"), f"host={sockets} dbname=cradle user=postgres "
             f"passfile='{self.stack.path('pgpass-postgres')}'"], capture_output=True, text=True, check=False)
        if dump.returncode:
            raise AssertionError(dump.stderr)
        self.psql(dump.stdout)

        self.vouch()

    def vouch(self):
        """What was restored from a dump is refused until an operator says that it is meant."""
        hosts = ",".join(node.address for node in self.nodes.values())
        config = self.write("cradle.ini", f"[database]\nowner_conninfo = host={hosts} dbname=cradle user=cradle_owner "
                                          f"passfile='{self.stack.path('pgpass-cradle_owner')}'\n")
        run = subprocess.run([self.stack.program("cli/cradle"), "--config", config, "epoch", "bump"],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if run.returncode:
            raise AssertionError(f"epoch bump: {run.stdout}{run.stderr}")

    def settings(self, way):
        """[database] of docs/examples/ha/conninfo-WAY.ini."""
        text = example(f"conninfo-{way}.ini", {
            "192.0.2.": self.net, "/etc/cradle/pgpass-cradle_join": self.stack.path("pgpass-cradle_join"),
            "/etc/cradle/database-ca.crt": self.path("server.crt"),
            "/var/lib/cradle/joinserver.witness": self.path(f"{way}.witness")})
        return dict(re.findall(r"(?m)^(\w+) = (.*)$", text))
