#!/usr/bin/python3
"""A name server for tests: Knot DNS on a port of loopback, with zones that are really signed.

    with NameServer(folder, {"good.example": (SIGNED, "a 3600 A 192.0.2.1\\n")}) as server:
        server.address        # "127.0.0.1@PORT", as libunbound wants it
        server.trust_anchor   # file with the DS records of all zones that claim to be signed
        server.set("good.example", "a 3600 A 192.0.2.2\\n")   # served when it returns

SIGNED is signed, PLAIN is not; BOGUS is signed and was changed afterwards: each address in it begins with 127; STRIPPED has no signatures, though the trust anchor says that it has; BROKEN is not served: SERVFAIL.
Records stand below the zone's SOA and NS, names relative to it; `minimum` is for how long it says that there is nothing.

As a program it serves what standard input says, line by line, until that ends:
    zone NAME HOW MINIMUM    begins a zone; its records follow, one a line
    end                      serves all zones, or those named since anew; answers "ready ADDRESS TRUST-ANCHOR"
"""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

SIGNED, PLAIN, BOGUS, STRIPPED, BROKEN = "signed", "plain", "bogus", "stripped", "broken"
KNOWN = (SIGNED, BOGUS, STRIPPED)  # to the trust anchor
START_SECONDS, POLL_SECONDS = 30, 0.02
STARTS = 5  # a port that was free may be taken meanwhile
MINIMUM = 3600
# Debian keeps some of Knot's programs where not everybody looks.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin"

SIGNING = """
database:
    storage: "{folder}/keys"
policy:
  - id: one
    algorithm: ecdsap256sha256
    single-type-signing: on
template:
  - id: default
    storage: "{folder}/plain"
    dnssec-policy: one
zone:
"""
SERVING = """
server:
    rundir: "{folder}/run"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "{folder}/served-db"
log:
  - target: stderr
    any: info
template:
  - id: default
    storage: "{folder}/served"
    zonefile-load: whole
    journal-content: none
zone:
"""
# The beginning of an address in a zone that was written by Knot: an owner, a TTL, a type.
ADDRESS = re.compile(r"^(\S+\s+\d+\s+A\s+)\d+\.", re.M)
SIGNATURES = re.compile(r"^\S+\s+\d+\s+(RRSIG|NSEC|DNSKEY|CDS|CDNSKEY)\s.*\n", re.M)


def free_port():
    """A port that nobody has by TCP or UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(("127.0.0.1", tcp.getsockname()[1]))
            except OSError:
                continue
            return tcp.getsockname()[1]


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          env={**os.environ, "PATH": PATH})
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


class NameServer:
    """Started when made; ends with `with`, or by stop()."""

    def __init__(self, folder, zones, minimum=None):
        self.folder, self.how, self.minimum = folder, {}, dict(minimum or {})
        self.process, self.serial = None, 0
        self.trust_anchor = os.path.join(folder, "trust-anchor")
        for name in ("plain", "served", "keys", "run", "signed"):
            os.makedirs(os.path.join(folder, name), mode=0o700)
        self.signing = self.write("signing.conf", SIGNING.format(folder=folder) +
                                  "".join(f"  - domain: {zone}\n" for zone in zones))
        for zone, (how, records) in zones.items():
            self.how[zone] = how
            self.make(zone, records)
        self.write_anchor()
        for attempt in range(1, STARTS + 1):
            try:
                self.start(zones)
                return
            except RuntimeError:
                self.stop()
                if attempt == STARTS:
                    raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def make(self, zone, records):
        """Writes the zone as it is to be served."""
        self.serial += 1
        how, minimum = self.how[zone], self.minimum.get(zone, MINIMUM)
        path = self.write(f"plain/{zone}.zone",
                          f"$ORIGIN {zone}.\n@ 3600 SOA ns nobody {self.serial} 3600 600 86400 {minimum}\n"
                          f"@ 3600 NS ns\nns 3600 A 192.0.2.53\n{records}")
        if how in KNOWN:
            run("kzonesign", "-c", self.signing, "-o", os.path.join(self.folder, "signed"), zone)
            path = os.path.join(self.folder, "signed", f"{zone}.zone")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if how == BOGUS:
            text = ADDRESS.sub(r"\g<1>127.", text)
        if how == STRIPPED:
            text = SIGNATURES.sub("", text)
        if how != BROKEN:
            self.write(f"served/{zone}.zone", text)

    def write_anchor(self):
        self.write("trust-anchor", "".join(
            run("keymgr", "-c", self.signing, zone, "ds") for zone, how in self.how.items() if how in KNOWN))

    def start(self, zones):
        self.port = free_port()
        self.address = f"127.0.0.1@{self.port}"
        serving = self.write("serving.conf", SERVING.format(folder=self.folder, port=self.port) +
                             "".join(f"  - domain: {zone}\n" for zone in zones))
        log = os.path.join(self.folder, "knotd.log")
        with open(log, "ab") as output:
            self.process = subprocess.Popen(["knotd", "-c", serving], stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output, env={**os.environ, "PATH": PATH})
        end = time.monotonic() + START_SECONDS
        while not all(self.serves(zone) for zone, how in self.how.items() if how != BROKEN):
            if self.process.poll() is not None or time.monotonic() > end:
                with open(log, encoding="utf-8", errors="replace") as output:
                    raise RuntimeError(f"knotd does not serve: {output.read()}")
            time.sleep(POLL_SECONDS)

    def serves(self, zone):
        """Whether it answers for the zone with the newest serial number, or one of a zone made before it."""
        done = subprocess.run(["kdig", "+short", "+timeout=1", "+retry=0", "@127.0.0.1", "-p", str(self.port), zone, "SOA"],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                              env={**os.environ, "PATH": PATH})
        words = done.stdout.split()
        return done.returncode == 0 and len(words) == 7 and int(words[2]) > 0

    def set(self, zone, records):
        """Other records of a zone; served when it returns."""
        self.make(zone, records)
        run("knotc", "-s", os.path.join(self.folder, "run", "knot.sock"), "-b", "zone-reload", zone)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(START_SECONDS)
        self.process = None


def serve():
    server, zones, minimum, zone = None, {}, {}, None
    with tempfile.TemporaryDirectory(prefix="cradle-names-", dir="/tmp") as folder:
        try:
            for line in sys.stdin:
                words = line.split()
                if words[:1] == ["zone"]:
                    zone = words[1]
                    zones[zone], minimum[zone] = (words[2], ""), int(words[3])
                elif words == ["end"]:
                    if server is None:
                        server = NameServer(folder, zones, minimum)
                    else:
                        for name, (_, records) in zones.items():
                            server.set(name, records)
                    zones, minimum = {}, {}
                    print("ready", server.address, server.trust_anchor, flush=True)
                else:
                    zones[zone] = (zones[zone][0], zones[zone][1] + line)
        finally:
            if server is not None:
                server.stop()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    serve()
