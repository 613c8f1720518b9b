"""The audit events to take away: chained, signed, verified without asking anybody, and every change to a file found."""

import base64
import datetime
import hashlib
import json
import os
import re
import secrets
import struct
import subprocess
import tempfile
import unittest

import support
from test_accounts import Rest
from test_codes import CodesTest, code_text, unclaimed

ZEROS = bytes(32)
N_CHANGES = 5


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def event_bytes(line):
    """As docs/operations.md describes them."""
    def sized(data, form=">H"):
        return struct.pack(form, len(data)) + data
    return (b"CAE1" + struct.pack(">Q", line["id"]) + line["at"].encode()
            + sized(bytes.fromhex(line["organization"] or "")) + sized(bytes.fromhex(line["client_id"] or ""))
            + sized(line["request_id"].encode()) + sized(line["action"].encode()) + sized(line["object"].encode())
            + sized(line["detail"].encode(), ">I"))


def leaf_of(line):
    return sha256(b"\0cradle-audit-leaf-v1", struct.pack(">Q", line["seq"]), bytes.fromhex(line["organization"] or "00" * 16),
                  struct.pack(">Q", line["organization_seq"]), bytes.fromhex(line["organization_chain"]),
                  bytes.fromhex(line["salt"]))


def root_of(line, size):
    """RFC 9162, 2.1.3.2."""
    at, last, hashed = line["seq"] - 1, size - 1, leaf_of(line)
    for sibling in map(bytes.fromhex, line["proof"]):
        if last == 0:
            raise AssertionError("the path is too long")
        if at & 1 or at == last:
            hashed = sha256(b"\1", sibling, hashed)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            hashed = sha256(b"\1", hashed, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise AssertionError("the path is too short")
    return hashed


class AuditTest(CodesTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = Rest(cls.stack, cls.stack.demo["clients"]["admin"])
        folder = tempfile.TemporaryDirectory(dir=cls.stack.state)
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        status, headers, pem = cls.stack.activation("GET", "/v1/audit/key")
        if status != 200 or headers.get_content_type() != "application/x-pem-file":
            raise AssertionError((status, pem))
        cls.key = cls.write("key.pem", pem)

    @classmethod
    def write(cls, name, data):
        path = os.path.join(cls.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def organization(self):
        return self.admin.call("post", "/v1/organizations", {"name": f"audit {secrets.token_hex(4)}"})[2]

    def client(self, organization, *roles):
        return self.admin.call("post", f"/v1/organizations/{organization['id']}/clients", {"roles": roles})[2]

    def await_chained(self):
        support.wait_until(lambda: self.stack.psql("SELECT count(*) FROM audit_pending") == [["0"]],
                           support.READY_SECONDS, "what was done is chained")

    def export(self, rest):
        self.await_chained()
        status, headers, answer = self.stack.activation(
            "GET", "/v1/audit/export", None, {"Authorization": f"Bearer {rest.token}"})
        self.assertEqual((status, headers.get_content_type(), headers["Cache-Control"]),
                         (200, "application/x-ndjson", "no-store"), answer[:200])
        return answer

    def verify(self, data, key=None):
        path = self.write("export", data)
        return subprocess.run([self.stack.program("cli/cradle"), "audit", "verify", path, "--key", key or self.key],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def must_name(self, data, *words):
        run = self.verify(data)
        self.assertEqual((run.returncode, run.stdout), (1, ""), run.stderr)
        for word in words:
            self.assertIn(word, run.stderr)

    def auditor(self):
        """A new organization with a history of its own, others' in between, and its auditor."""
        organization = self.organization()
        auditor = Rest(self.stack, self.client(organization, "auditor"))
        for _ in range(N_CHANGES):
            self.client(organization, "owner")
            self.organization()
        return organization, auditor


class Exports(AuditTest):
    def test_the_export_of_all_is_what_was_done_and_proves_itself(self):
        organization, _ = self.auditor()
        data = self.export(self.admin)
        run = self.verify(data)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        lines = [json.loads(line) for line in data.splitlines()]
        head = lines.pop(0)["checkpoint"]
        events = [line for line in lines if "checkpoint" not in line]
        kept = [line["checkpoint"] for line in lines if "checkpoint" in line]
        self.assertGreaterEqual(len(kept), 1, "no checkpoint was signed by itself")
        said = json.loads(run.stdout)
        self.assertEqual((said["good"], said["events"], said["organization"], said["checkpoints"]),
                         (True, len(events), None, len(kept) + 1))
        signed = datetime.datetime.fromtimestamp(head["time"], datetime.timezone.utc)
        self.assertEqual(said["signed"], signed.strftime("%Y-%m-%dT%H:%M:%SZ"))
        # What is described, without a line of our own program.
        chain, chains = ZEROS, {}
        for number, line in enumerate(events, 1):
            chain = sha256(chain, event_bytes(line))
            own = chains.get(line["organization"], (0, ZEROS))
            chains[line["organization"]] = own = (own[0] + 1, sha256(own[1], event_bytes(line)))
            self.assertEqual((line["seq"], line["chain"]), (number, chain.hex()))
            self.assertEqual((line["organization_seq"], line["organization_chain"]), (own[0], own[1].hex()))
            self.assertEqual(line["hash"], leaf_of(line).hex())
            self.assertEqual(root_of(line, head["seq"]).hex(), head["root"])
        self.assertEqual((head["chain"], head["count"]), (chain.hex(), len(events)))
        for checkpoint in kept:
            self.assertEqual(checkpoint["chain"], events[checkpoint["seq"] - 1]["chain"])
        # And it is all that is in the database.
        rows = self.stack.psql("SELECT id, action, object FROM audit_event ORDER BY id")
        known = {int(number): (action, of) for number, action, of in rows}
        self.assertEqual({line["id"]: (line["action"], line["object"]) for line in events},
                         {number: known[number] for number in (line["id"] for line in events)})
        self.assertIn(("organization.create", organization["id"]), [(line["action"], line["object"]) for line in events])

    def test_a_signature_is_good_for_openssl(self):
        head = json.loads(self.export(self.admin).splitlines()[0])["checkpoint"]
        signed = (b"cradle-audit-checkpoint-v1" + bytes(16) + struct.pack(">QQQ", head["seq"], head["count"], head["time"])
                  + bytes.fromhex(head["chain"]) + bytes.fromhex(head["root"]))

        def number(data):
            data = data.lstrip(b"\0")
            data = b"\0" + data if data[0] & 0x80 else data
            return b"\x02" + bytes([len(data)]) + data
        signature = bytes.fromhex(head["signature"])
        der = number(signature[:32]) + number(signature[32:])
        run = subprocess.run(["openssl", "dgst", "-sha256", "-verify", self.key, "-signature",
                              self.write("signature", b"\x30" + bytes([len(der)]) + der), self.write("signed", signed)],
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.stdout, "Verified OK\n", run.stderr)

    def test_every_change_to_a_file_is_found_and_its_event_named(self):
        _, auditor = self.auditor()
        for rest, of in ((self.admin, ""), (auditor, " of the organization")):
            data = self.export(rest)
            self.assertEqual(self.verify(data).returncode, 0)
            lines = data.splitlines(keepends=True)
            at = [i for i, line in enumerate(lines) if b'"checkpoint"' not in line]
            where = at[3]
            flipped = bytearray(lines[where])
            place = flipped.index(b'"action":"') + len(b'"action":"')
            flipped[place] ^= 1
            self.must_name(b"".join(lines[:where] + [bytes(flipped)] + lines[where + 1:]),
                           f"line {where + 1}: event 4{of} was changed")
            self.must_name(b"".join(lines[:where] + lines[where + 1:]), f"event 4{of} does not stand here")
            swapped = lines[:where] + [lines[at[4]], lines[where]] + lines[at[4] + 1:]
            self.must_name(b"".join(swapped), f"line {where + 1}: event 4{of}")
            self.must_name(b"".join(lines[:at[-1]]), f"event {len(at)}{of} is missing")
            self.must_name(data[:-1], "breaks off")
            self.must_name(data.replace(b'"count":', b'"count":1', 1), "line 1: the checkpoint")
            self.must_name(b"", "empty")

    def test_a_history_that_was_written_anew_is_not_what_was_signed(self):
        """Who has the database, and not the HSM, makes every hash good, and the signature not."""
        lines = [json.loads(line) for line in self.export(self.admin).splitlines()]
        kept = [i for i, line in enumerate(lines) if i > 0 and "checkpoint" in line]
        victim, chain, chains = kept[0] - 1, ZEROS, {}
        lines[victim]["action"] = "nothing.happened"
        for line in lines:
            if "checkpoint" in line:
                continue
            own = sha256(chains.get(line["organization"], ZEROS), event_bytes(line))
            chain, chains[line["organization"]] = sha256(chain, event_bytes(line)), own
            line.update(chain=chain.hex(), organization_chain=own.hex())
            line["hash"] = leaf_of(line).hex()
        data = b"".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for line in lines)
        self.must_name(data, f"line {victim + 1}: event {lines[victim]['seq']} was changed: it is not what was signed")

    def test_an_organization_has_its_own_events_and_nothing_of_others(self):
        organization, auditor = self.auditor()
        other, _ = self.auditor()
        data = self.export(auditor)
        run = self.verify(data)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        lines = [json.loads(line) for line in data.splitlines()]
        head = lines.pop(0)["checkpoint"]
        self.assertEqual((head["organization"], head["count"]), (organization["id"], len(lines)))
        self.assertEqual([line["organization_seq"] for line in lines], list(range(1, len(lines) + 1)))
        self.assertEqual({line["organization"] for line in lines}, {organization["id"]})
        rows = self.stack.psql("SELECT e.id FROM audit_event e JOIN organization o ON o.id = e.organization_id"
                               f" WHERE o.public_id = '\\x{organization['id']}' ORDER BY 1")
        self.assertEqual([[str(line["id"])] for line in lines], rows)
        self.assertGreater(len(rows), N_CHANGES)
        text = data.decode()
        self.assertNotIn(other["id"], text)
        self.assertNotIn(other["name"], text)
        # The chain over all would let it try what others did.
        self.assertNotIn("chain", lines[0])
        everything = self.export(self.admin).decode()
        hidden = {json.loads(line).get("chain") for line in everything.splitlines()[1:]} - {None}
        self.assertFalse([chain for chain in hidden if chain in text])

    def test_the_key_of_another_token_verifies_nothing(self):
        other = os.path.join(self.folder, "other.pem")
        subprocess.run(f"openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -out {other}", shell=True,
                       check=True, capture_output=True)
        run = self.verify(self.export(self.admin), other)
        self.assertEqual(run.returncode, 1)
        self.assertIn("line 1: the checkpoint", run.stderr)

    def test_the_key_that_the_service_tells_is_the_tokens(self):
        path = os.path.join(self.folder, "token.pem")
        run = self.stack.cradle("hsm", "export", "--audit-key-out", path)
        self.assertEqual(run.returncode, 0, run.stderr)
        with open(path, "rb") as told, open(self.key, "rb") as published:
            self.assertEqual(told.read(), published.read())
        self.assertEqual(self.stack.cradle("hsm", "export").returncode, 2)

    def test_a_later_export_goes_on_from_what_was_kept(self):
        _, auditor = self.auditor()
        for rest in (self.admin, auditor):
            kept = self.write("kept", self.export(rest).splitlines(keepends=True)[0])
            later = self.write("later", self.export(rest))
            for checkpoint, status in ((kept, 0), (later, 0), (self.key, 1)):
                run = subprocess.run([self.stack.program("cli/cradle"), "audit", "verify", later, "--key", self.key,
                                      "--kept", checkpoint], capture_output=True, text=True, check=False)
                self.assertEqual(run.returncode, status, run.stderr)

    def test_the_list_says_where_an_event_is_chained(self):
        made = self.organization()
        self.await_chained()
        by_hash, cursor = {}, ""
        while cursor is not None:
            page = self.admin.call("get", f"/v1/audit?limit=500{cursor and '&cursor=' + cursor}")[2]
            by_hash.update({item["hash"]: item for item in page["items"]})
            cursor = page["next"]
        exported = {line["hash"]: line for line in map(json.loads, self.export(self.admin).splitlines()) if "hash" in line}
        self.assertLessEqual(set(by_hash) - {None}, set(exported))
        mine = [item for item in by_hash.values() if item["object"] == made["id"]]
        self.assertEqual([(item["action"], item["seq"]) for item in mine],
                         [("organization.create", exported[mine[0]["hash"]]["seq"])])

    def test_the_command_writes_a_file_and_never_over_another(self):
        path = os.path.join(self.folder, "taken")
        config = self.write("cradle.ini", self.config().encode())
        command = [self.stack.program("cli/cradle"), "--config", config, "audit", "export", path]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertEqual((run.returncode, run.stdout), (0, ""), run.stderr)
        with open(path, "rb") as file:
            data = file.read()
        self.assertEqual(self.verify(data).returncode, 0)
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 1)
        with open(path, "rb") as file:
            self.assertEqual(file.read(), data)
        self.assertFalse([name for name in os.listdir(self.folder) if name.startswith("taken") and name != "taken"])

    def config(self):
        """That of the state, whose client is an administrator."""
        with open(self.stack.path("cradle.ini"), encoding="utf-8") as file:
            return file.read()


class Secrecy(AuditTest):
    def test_no_code_and_no_secret_is_ever_in_it(self):
        rows = unclaimed(3)
        rows[0]["code"], rows[1]["code"], rows[2]["code"] = code_text()[0], "", ""
        codes = {line["code"] for line in self.made(self.batch(rows), secrets.token_hex(8)).values()}
        self.assertEqual(len(codes), 2)
        made = self.client(self.organization(), "owner")
        hidden = codes | {rows[0]["code"], re.sub("[- ]", "", rows[0]["code"]), made["client_secret"],
                          self.admin.token} | {row["app_key"] for row in rows}
        text = self.export(self.admin).decode().lower()
        self.assertIn("codes.", text)
        for secret in hidden:
            for spelling in (secret, base64.b64encode(secret.encode()).decode(), secret.encode().hex()):
                self.assertNotIn(spelling.lower(), text)


class Killed(unittest.TestCase):
    """After a restart, the chain goes on."""

    def test_a_killed_service_leaves_no_gap_and_the_next_goes_on(self):
        with support.Stack("audit") as stack:
            admin = Rest(stack, stack.demo["clients"]["admin"])
            for i in range(N_CHANGES):
                self.assertEqual(admin.call("post", "/v1/organizations", {"name": f"killed {i}"})[0], 201)
                stack.wait_restarted("activation", stack.kill("activation"))
                stack.wait_ready()
            support.wait_until(lambda: stack.psql("SELECT count(*) FROM audit_pending") == [["0"]],
                               support.READY_SECONDS, "what was done before the kills is chained")
            self.assertEqual(stack.psql("SELECT count(*) = max(seq), count(*) = (SELECT count(*) FROM audit_event)"
                                        " FROM audit_chain"), [["t", "t"]])
