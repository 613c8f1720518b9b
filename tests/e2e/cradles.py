"""Whole Cradles side by side, as different operators have them: each with its own database, token, CA, loopback
address and JoinEUIs. They are started once for all tests, and speak to each other over mutual TLS.

    home, visited, hub = cradles.shared()
    device = home.device("1.0.3")
    visited.serve(device, home)         # its network server asks, with the KEKs of both

What a test adds (partners, routes, agreements) it takes away again.
"""
import json
import os
import secrets
import shutil
import subprocess
import threading

import support

HOME_NET_ID, VISITED_NET_ID, HUB_NET_ID = "000013", "000024", "000035"
ROLES = ("home", "visited", "hub")
NET_IDS = dict(zip(ROLES, (HOME_NET_ID, VISITED_NET_ID, HUB_NET_ID)))
CHANGE_SECONDS = 10
KEK_BYTES = 16

_shared = {}


class Cradle(support.Stack):
    """One of them. Its network server, application server and clients are in `demo`, as scripts/demo would name them."""

    def __init__(self, role, number):
        super().__init__(role, demo=False, address=f"127.0.0.{number}")
        self.role, self.net_id, self.as_id = role, NET_IDS[role], f"{role}-as"
        self.join_eui = f"02cdcd{number:02x}00000001"
        self.join_euis = f"02cdcd{number:02x}00000000/40"
        self.dev_eui_begin = f"02cdce{number:02x}"
        self.join_tls_url = f"https://{self.address}:{self.join_tls_port}/"
        self.san = f"urn:cradle:{role}"
        self.ca = self.path("tls", "ca.pem")
        self.connected = None  # what test_cradles.Roaming has made

    def furnish(self):
        """Its own network: one network server, one application server, a maker, an owner, an auditor, and its JoinEUIs."""
        self.must("route", "add", self.join_euis)
        server = self.add_network_server(self.net_id, f"{self.role}-ns")
        application = self.add_application_server(self.as_id)
        clients = {role: self.add_client(role) for role in ("admin", "maker", "owner", "auditor")}
        clients["operator"] = {name: self.read(name) for name in ("client_id", "client_secret")}
        self._demo = {"join": {"url": self.join_url, "tls_url": self.join_tls_url, "ca": self.ca},
                      "network_servers": [server], "application_servers": [application], "clients": clients}
        support.wait_until(lambda: self.post_join({}, token=application["token"])[0] != 401, CHANGE_SECONDS,
                           f"the join server of {self.role} knows its peers")

    def read(self, *parts):
        with open(self.path(*parts), encoding="utf-8") as file:
            return file.read().strip()

    def must_lines(self, *args):
        """The lines that a `cradle` command prints, which must not fail."""
        run = self.cradle(*args)
        if run.returncode != 0:
            raise AssertionError(f"{self.role}: cradle {' '.join(args)}: {run.stderr}")
        return [json.loads(line) for line in run.stdout.splitlines()]

    def must(self, *args):
        """The last of them; None where there is none."""
        return (self.must_lines(*args) or [None])[-1]

    def add_client(self, role):
        made = self.must("client", "add", "--organization", f"{self.role} {role}", "--role", role)
        if role == "maker":
            self.must("organization", "set", "--name", f"{self.role} {role}", "--allow-clear-keys", "yes")
        return {"client_id": made["client_id"], "client_secret": made["client_secret"]}

    def add_kek(self, option, peer, label):
        """A new KEK of a peer, handed over sealed; hex."""
        return self.hand_over(option, peer, label, secrets.token_bytes(KEK_BYTES))

    def hand_over(self, option, peer, label, key):
        """A KEK that its owner has already, handed over sealed; hex."""
        sealed = self.path(f"{label}.sealed")
        subprocess.run(["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", self.path("exchange.pem"), "-out", sealed,
                        "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1"],
                       input=key, capture_output=True, check=True)
        self.must("kek", "add", option, peer, "--label", label, "--sealed", sealed, "--length", str(len(key)))
        return key.hex()

    def certificate(self, name, san, folder=None, days="2"):
        """A client certificate of its CA; the paths of it and of its key."""
        folder = folder or self.path("tls")
        paths = {"cert": os.path.join(folder, f"{name}.crt"), "key": os.path.join(folder, f"{name}.key")}
        subprocess.run(
            ["openssl", "req", "-x509", "-config", self.path("tls", "openssl.cnf"), "-CA", self.ca, "-CAkey",
             self.path("tls", "ca.key"), "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", days,
             "-subj", f"/CN={name}", "-keyout", paths["key"], "-out", paths["cert"], "-addext", f"subjectAltName=URI:{san}",
             "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=clientAuth"],
            stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return paths

    def add_network_server(self, net_id, name):
        """A network server, known by token and by certificate, with a KEK."""
        san, label = f"urn:cradle:netid:{net_id}", f"ns-{net_id}"
        made = self.must("ns", "add", "--name", name, "--net-id", net_id, "--san", san, "--ca", self.ca)
        return {"net_id": net_id, "token": made["token"], "kek_label": label,
                "kek": self.add_kek("--ns", net_id, label), **self.certificate(label, san)}

    def add_application_server(self, as_id):
        san = f"urn:cradle:asid:{as_id}"
        made = self.must("as", "add", "--as-id", as_id, "--san", san, "--ca", self.ca)
        return {"as_id": as_id, "token": made["token"], "kek_label": as_id,
                "kek": self.add_kek("--as", as_id, as_id), **self.certificate(as_id, san)}

    def devices(self, version, n, home_net_id=None, as_id=None, join_eui=None):
        """Imported, and at home in its own network if not said otherwise."""
        mine = self.join_eui
        self.join_eui = join_eui or mine
        try:
            return super().devices(version, n, home_net_id or self.net_id, as_id or self.as_id)
        finally:
            self.join_eui = mine

    def device(self, version, home_net_id=None):
        return self.devices(version, 1, home_net_id)[0]

    def said_by(self, name):
        """The log of one of its services."""
        return self.read("log", f"{name}.log")

    def metric(self, name, port=None):
        """The value of a series, by its whole name; 0 while there is none."""
        _, _, page = support.http("GET", f"http://{self.address}:{port or self.join_port}/metrics")
        for line in page.decode().splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        return 0

    # --- another Cradle ---

    def serve(self, device, owner, tls=False, **options):
        """A join of another Cradle's device, in the air of this one's network: as Stack.join, with the KEK of our network
        server and of the device's application server."""
        join, application = self.demo["join"], owner.application_server()
        way = (["--url", join["tls_url"], "--ca", join["ca"], "--cert", self.home["cert"], "--key", self.home["key"]]
               if tls else ["--url", self.join_url, "--token", self.home["token"]])
        nonce = None if "rejoin" in options else owner.next_nonce(device)
        return self._device([
            "--json", *way, "--ns-kek", f"{self.home['kek_label']}={self.home['kek']}",
            "--as-kek", f"{application['kek_label']}={application['kek']}",
            *self._device_arguments(device, self.home, nonce, options)])

    def ask(self, message, server=None, headers=None):
        """A message as it is, posted as one of our peers; its answer."""
        status, _, answer = support.http("POST", self.join_url, json.dumps(message).encode(), {
            "Content-Type": "application/json", "Authorization": f"Bearer {(server or self.home)['token']}", **(headers or {})})
        if status != 200:
            raise AssertionError(f"{self.role}: {status} {answer}")
        return json.loads(answer)

    def code(self, message, server=None):
        return self.ask(message, server)["Result"]["ResultCode"]

    def accept(self, other, *net_ids, name=None, san=None):
        """Another Cradle may ask us in the name of these networks, by the certificate that it shows. Their KEK is handed over."""
        self.must("ns", "add", "--name", name or other.role, *(word for net_id in net_ids for word in ("--net-id", net_id)),
                  "--san", san or other.san, "--ca", other.ca)

    def add_partner(self, other, name=None, **options):
        """Another Cradle that we carry requests to."""
        name = name or other.role
        self.credential(name, other)
        self.must("partner", "add", "--name", name, "--url", other.join_tls_url, "--credential", name,
                  *(word for option, value in options.items() for word in (f"--{option.replace('_', '-')}", str(value))))

    def remove_partner(self, name):
        self.must("partner", "revoke", name)

    def agree(self, home, visited):
        """An agreement about both, from now on; its number."""
        return str(self.must("agreement", "add", "--home", home, "--visited", visited)["id"])

    def add_route(self, prefix, partner=None, kind=None):
        self.must("route", "add", prefix, "--kind", kind or "partner", *(["--partner", partner] if partner else []))

    def remove_route(self, prefix):
        self.must("route", "remove", prefix)

    def credential(self, name, other, san=None):
        """What its join server shows at another's, in its folder of credentials: a certificate of its own CA, and the CA
        of the other's certificate, which alone is believed."""
        self.certificate(name, san or self.san, self.path("credentials"))
        shutil.copy(other.ca, self.path("credentials", f"{name}.ca"))


def shared():
    """The three of them, started at the first call."""
    if not _shared:
        made = [Cradle(role, number) for number, role in enumerate(ROLES, 2)]
        support.stop_at_end(lambda: together([cradle.stop for cradle in made]))
        together([cradle.start for cradle in made])
        together([cradle.furnish for cradle in made])
        _shared.update({cradle.role: cradle for cradle in made})
    return tuple(_shared[role] for role in ROLES)


def together(calls):
    """Does all of it at once; the first failure is raised."""
    failures = []

    def run(call):
        try:
            call()
        except BaseException as failure:  # pylint: disable=broad-except
            failures.append(failure)
    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
