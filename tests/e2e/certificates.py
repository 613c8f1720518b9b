"""CAs and client certificates for peers of these tests, made with openssl."""
import os
import subprocess


class Ca:
    """A CA of its own, with what it issues in one folder."""

    def __init__(self, folder, name, pem=None, key=None):
        """A new one, or with `pem` and `key` one that is there."""
        self.folder, self.name = folder, name
        os.makedirs(folder, exist_ok=True)
        with open(self.path("cnf"), "w", encoding="ascii") as file:
            file.write(f"[req]\ndistinguished_name=dn\n[dn]\n[ca]\ndefault_ca=it\n[it]\n"
                       f"database={self.path('index')}\ndefault_md=sha256\n"
                       f"default_crl_days=30\n")
        with open(self.path("index"), "w", encoding="ascii"):
            pass
        self.pem, self.key = pem or self.path("pem"), key or self.path("key")
        if pem is None:
            self.openssl("req", "-x509", *self.new_key(name), "-addext",
                         "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign")

    def path(self, suffix, name=None):
        return os.path.join(self.folder, f"{name or self.name}.{suffix}")

    def new_key(self, name):
        return ["-config", self.path("cnf"), "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", self.path("key", name),
                "-out", self.path("pem", name)]

    @staticmethod
    def openssl(*args):
        run = subprocess.run(["openssl", *args], stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, check=False)
        if run.returncode != 0:
            raise AssertionError(f"openssl {args}: {run.stderr}")

    def client(self, name, san):
        """A client certificate, as demo.json would name it."""
        self.openssl("req", "-x509", "-CA", self.pem, "-CAkey", self.key,
                     *self.new_key(name), "-addext", f"subjectAltName={san}",
                     "-addext", "basicConstraints=critical,CA:FALSE",
                     "-addext", "extendedKeyUsage=clientAuth")
        return {"cert": self.path("pem", name), "key": self.path("key", name)}

    def crl(self, *revoked):
        """A revocation list of these clients."""
        key = ["-config", self.path("cnf"), "-keyfile", self.key, "-cert", self.pem]
        for client in revoked:
            self.openssl("ca", *key, "-revoke", client["cert"])
        self.openssl("ca", *key, "-gencrl", "-out", self.path("crl"))
        return self.path("crl")
