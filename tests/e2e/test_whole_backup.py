"""`cradle backup`: the whole in one folder, read back, and restored from; nothing in it that was not in clear before."""

import glob
import hashlib
import json
import os
import pwd
import re
import shutil
import unittest

import restores

GAP = 16384


class WholeBackup(restores.Restores, unittest.TestCase):
    name = "whole-backup"

    def works(self, *arguments):
        run = self.stack.cradle("backup", *arguments)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def fails(self, *arguments):
        run = self.stack.cradle("backup", *arguments)
        self.assertNotEqual(run.returncode, 0, run.stdout)
        return run.stderr

    def kept(self, name="kept"):
        return self.stack.path(name)

    def manifest(self):
        with open(os.path.join(self.kept(), "manifest.json"), encoding="utf-8") as file:
            return json.load(file)

    def secrets(self):
        """What must not be in a backup, by name."""
        with open(self.stack.path("pin"), encoding="utf-8") as file:
            yield "the PIN", file.read().strip().encode()
        for path in glob.glob(self.stack.path("pgpass*")):
            with open(path, encoding="utf-8") as file:
                for line in file:
                    yield f"a password of {os.path.basename(path)}", line.strip().rsplit(":", 1)[1].encode()
        for device in self.devices:
            for name in ("app_key", "nwk_key"):
                if device.get(name):
                    yield f"a root key ({name})", bytes.fromhex(device[name])
                    yield f"a root key ({name}), in hexadecimal", device[name].lower().encode()

    def look_for_secrets(self):
        secrets, files = list(self.secrets()), 0
        self.assertGreater(len(secrets), 4)
        for folder, _, names in os.walk(self.kept()):
            for name in names:
                path = os.path.join(folder, name)
                self.assertEqual(os.stat(path).st_mode & 0o077, 0, path)
                files += 1
                with open(path, "rb") as file:
                    text = file.read()
                for what, secret in secrets:
                    self.assertNotIn(secret, text, f"{what} is in {path}")
        self.assertGreater(files, 10)

    def put_token_back(self):
        shutil.rmtree(self.stack.path("softhsm"))
        os.mkdir(self.stack.path("softhsm"), 0o700)
        run = self.stack.cradle("hsm", "restore", os.path.join(self.kept(), "token"), "--token-dir", self.stack.path("softhsm"))
        self.assertEqual(run.returncode, 0, run.stderr)

    def told(self):
        """One event, of the folder that there is: by its name and manifest, and who made it."""
        (row,) = self.stack.psql("SELECT object, detail, client_id IS NULL, organization_id IS NULL FROM audit_event"
                                 " WHERE action = 'database.backup'")
        with open(os.path.join(self.kept(), "manifest.json"), "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        detail = json.loads(row[1])
        self.assertEqual((row[0], row[2:]), (digest, ["t", "t"]))
        self.assertEqual(detail, {"user": pwd.getpwuid(os.getuid()).pw_name, "folder": "kept", "form": "dump", "token": True,
                                  "lsn": self.manifest()["database"]["lsn_after"], "manifest_sha256": digest})

    def damage(self):
        """What was changed is told of by name."""
        dump, extra = os.path.join(self.kept(), "database.dump"), os.path.join(self.kept(), "token", "extra")
        size = os.path.getsize(dump)
        with open(dump, "r+b") as file:
            file.seek(size // 2)
            byte = file.read(1)
            file.seek(size // 2)
            file.write(bytes([byte[0] ^ 1]))
        self.assertIn("database.dump is not what was backed up: another SHA-256", self.fails("--check", self.kept()))
        with open(dump, "r+b") as file:
            file.seek(size // 2)
            file.write(byte)
        self.works("--check", self.kept())
        with open(extra, "wb"):
            pass
        self.assertIn("token/extra does not belong", self.fails("--check", self.kept()))
        os.unlink(extra)
        os.rename(dump, dump + ".away")
        self.assertIn("database.dump", self.fails("--check", self.kept()))
        os.rename(dump + ".away", dump)
        manifest = os.path.join(self.kept(), "manifest.json")
        os.rename(manifest, manifest + ".away")
        self.assertIn("is no backup", self.fails("--check", self.kept()))
        os.rename(manifest + ".away", manifest)

    def fail_without_a_token(self):
        """Nothing stays of one that failed."""
        os.rename(self.stack.path("softhsm"), self.stack.path("softhsm.away"))
        try:
            self.fails(self.kept())
        finally:
            os.rename(self.stack.path("softhsm.away"), self.stack.path("softhsm"))
        self.assertEqual(glob.glob(self.kept() + "*"), [])
        for wrong in ((), (self.kept(), "more"), ("--check", "--base", self.kept()), ("--files-only", self.kept())):
            self.assertIn("usage:", self.fails(*wrong))

    def fail_where_a_version_goes_meanwhile(self):
        """Between the dump and the token's copy: the dump may name it."""
        folder, path = self.stack.path("programs"), os.environ["PATH"]
        run = self.stack.cradle("hsm", "rotate", "device", "--escrow", self.stack.path("storage-keks.escrow"))
        self.assertEqual(run.returncode, 0, run.stderr)
        os.mkdir(folder)
        with open(os.path.join(folder, "pg_dump"), "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh -e\nPATH='{path}' pg_dump \"$@\"\n'{self.stack.program('cli/cradle')}' --config"
                       f" '{self.stack.path('cradle.ini')}' hsm retire device 2 >&2\n")
        os.chmod(os.path.join(folder, "pg_dump"), 0o700)
        os.environ["PATH"] = f"{folder}:{path}"
        try:
            self.assertIn("it holds no store-device.2", self.fails(self.kept()))
        finally:
            os.environ["PATH"] = path
        self.assertEqual(glob.glob(self.kept() + "*"), [])

    def test_devices_join_above_every_join_nonce_after_a_restore_from_it(self):
        self.join_all()
        self.fail_without_a_token()
        self.fail_where_a_version_goes_meanwhile()
        said = self.works(self.kept())
        self.assertRegex(said, r"opened \d+ sealed keys of the database")
        self.assertIn("is whole, and was read back", said)
        at_backup = {eui: nonces[-1] for eui, nonces in self.journal.items()}
        self.look_for_secrets()
        self.told()  # of those that failed before nothing
        manifest = self.manifest()
        listed = dict(re.findall(r"^(\S+) .*check value ([0-9a-f]{6})", self.stack.cradle("hsm", "list").stdout, re.MULTILINE))
        self.assertEqual({key["label"]: key["check_value"] for key in manifest["keys"] if key["label"] in listed}, listed)
        self.assertEqual((manifest["database"]["form"], manifest["database"]["timeline"], manifest["database"]["vouched_for"]),
                         ("dump", 1, True))
        self.assertIn("configuration/joinserver.ini", [file["path"] for file in manifest["files"]])
        self.assertIn("there already", self.fails(self.kept()))
        self.damage()
        self.told()
        self.join_all()
        self.join_all()
        self.stack.stop()
        with self.database_alone():
            self.tool("psql", "-XqAtc", "DROP DATABASE cradle")
            self.works("--check", "--files-only", self.kept())
            self.put_token_back()
            self.tool("pg_restore", "--create", os.path.join(self.kept(), "database.dump"))
            self.works("--check", self.kept())
            self.is_refused("restored from a dump")
            self.assertEqual(self.bump()["join_nonce_total"], GAP)
        self.stack.start()
        self.join_all()
        for eui, nonce in at_backup.items():
            self.assertEqual(self.journal[eui][-1], nonce + GAP + 1)

    def test_a_base_backup_of_the_whole_cluster(self):
        self.join_all()
        self.assertIn("database.backup_conninfo", self.fails("--base", self.kept()))
        self.allow_replication()
        with open(self.stack.path("cradle.ini"), encoding="utf-8") as file:
            ini = file.read()
        where = f"host={self.sockets} user=postgres passfile={self.stack.path('pgpass-postgres')}"
        with open(self.stack.path("cradle.ini"), "w", encoding="utf-8") as file:
            file.write(ini.replace("[database]\n", f"[database]\nbackup_conninfo = {where}\n", 1))
        self.works("--base", self.kept())
        self.assertEqual(self.manifest()["database"]["form"], "base backup")
        self.join_all()
        self.stack.stop()
        shutil.rmtree(self.cluster)
        shutil.copytree(os.path.join(self.kept(), "base"), self.cluster)
        os.chmod(self.cluster, 0o700)
        self.put_token_back()
        with self.database_alone():
            self.is_refused("ends before what was answered")
            self.bump()
        self.stack.start()
        self.join_all()


if __name__ == "__main__":
    unittest.main()
