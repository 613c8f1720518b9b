"""CAs and client certificates for peers of these tests, made with openssl."""
import base64
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
                       f"default_crl_days=30\nserial={self.path('serial')}\npolicy=any\n[any]\ncommonName=supplied\n")
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

    def expired(self, name, san):
        """The same, of a time that is over."""
        self.openssl("req", "-new", *self.new_key(name)[:-1], self.path("csr", name))
        with open(self.path("ext", name), "w", encoding="ascii") as file:
            file.write(f"subjectAltName={san}\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n")
        self.openssl("ca", "-config", self.path("cnf"), "-keyfile", self.key, "-cert", self.pem, "-batch", "-notext",
                     "-create_serial", "-outdir", self.folder, "-startdate", "20200101000000Z", "-enddate", "20200102000000Z",
                     "-extfile", self.path("ext", name), "-in", self.path("csr", name), "-out", self.path("pem", name))
        return {"cert": self.path("pem", name), "key": self.path("key", name)}

    def crl(self, *revoked):
        """A revocation list of these clients."""
        key = ["-config", self.path("cnf"), "-keyfile", self.key, "-cert", self.pem]
        for client in revoked:
            self.openssl("ca", *key, "-revoke", client["cert"])
        self.openssl("ca", *key, "-gencrl", "-out", self.path("crl"))
        return self.path("crl")


class Owner:
    """Somebody with an RSA key of his own, by openssl alone."""

    OAEP = ("-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1")

    def __init__(self, folder, bits=2048, exponent=65537, algorithm="RSA"):
        self.private = os.path.join(folder, f"{algorithm}-{bits}-{exponent}.key")
        self.public = self.private + ".pub"
        options = (["-pkeyopt", f"rsa_keygen_bits:{bits}", "-pkeyopt", f"rsa_keygen_pubexp:{exponent}"]
                   if algorithm == "RSA" else ["-pkeyopt", "ec_paramgen_curve:P-256"])
        self.openssl("genpkey", "-algorithm", algorithm, *options, "-out", self.private)
        self.openssl("pkey", "-in", self.private, "-pubout", "-out", self.public)
        with open(self.public, encoding="ascii") as file:
            self.pem = file.read()

    @staticmethod
    def openssl(*arguments, data=None):
        return subprocess.run(["openssl", *arguments], input=data, capture_output=True, check=True).stdout

    def opened(self, sealed):
        return self.openssl("pkeyutl", "-decrypt", "-inkey", self.private, *self.OAEP,
                            data=base64.b64decode(sealed, validate=True))
