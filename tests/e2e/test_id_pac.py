"""The list of what was built: devices become activable by their identifier and their PAC, and by nothing else."""

import contextlib
import hashlib
import http.client
import json
import os
import secrets
import select
import subprocess
import threading
import time

import support
from test_accounts import Rest
from test_claims import HOME, ClaimTest
from test_codes import CodeNeedles, unclaimed
from test_jobs import csv_of, root_of

CHUNK = 64
LIST_BURST, WEAK_MAX = 30, 20
GONE = (404, "urn:cradle:problem:not-found")
LIMITED = (429, "urn:cradle:problem:too-many-attempts")
REFUSED = "no device of this module has this identifier and this PAC"


def list_of(rows, end="\n"):
    return "".join(f"{row['dev_eui']};{row['code']};N/A{end}" for row in rows).encode()


def leaf_of(line):
    """What docs/makers.md says of a line's leaf."""
    entry = f"{line['line']} {line['dev_eui'] or '-'} {line['outcome']} {line.get('reason', '-')}"
    return hashlib.sha256(b"\0" + entry.encode()).digest()


class IdPacTest(ClaimTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = Rest(cls.stack, cls.stack.demo["clients"]["admin"])

    def company(self, *roles):
        """A client of an organization of its own."""
        made = self.admin.call("post", "/v1/organizations", {"name": f"pac {secrets.token_hex(4)}", "allow_clear_keys": True})[2]
        rest = self.client_of(made["id"], *(roles or ("maker",)))
        return rest

    def client_of(self, organization, *roles):
        made = self.admin.call("post", f"/v1/organizations/{organization}/clients", {"roles": roles})[2]
        rest = Rest(self.stack, made)
        rest.organization = organization
        return rest

    def certificate(self, maker, kind, module=None, quota=0):
        status, _, made = self.admin.call("post", "/v1/certificates", {
            "organization": maker.organization, "kind": kind, "name": f"{kind} {secrets.token_hex(4)}"})
        self.assertEqual(status, 201, made)
        if module is not None:
            self.stack.psql(f"UPDATE certificate SET module_id = (SELECT id FROM certificate WHERE number = '{module}')"
                            f" WHERE number = '{made['number']}'")
        if quota > 0:
            self.stack.psql(f"UPDATE certificate SET prototype_quota = {quota} WHERE number = '{made['number']}'")
        return made["number"]

    def built(self, maker, n, module=None, **changes):
        """Devices that are personalized and no more, with their PACs; ordered for a module, or brought in."""
        rows = [{**row, "code": secrets.token_hex(8).upper(), **changes} for row in unclaimed(n)]
        status, headers, answer = self.send(csv_of(rows), "format=csv&state=personalized", maker)
        self.assertEqual((status, {line["outcome"] for line in answer}), (200, {"created"}), answer[:3])
        batch = maker.call("get", headers["Location"])[2]["batch"]
        if module is not None:
            self.stack.psql(
                "INSERT INTO batch_order (batch_id, module_id, device_kind, n, join_eui, mac_version, delivery, public_key,"
                " key_digest, code_length, state, asked_by, request_id)"
                f" SELECT b.id, c.id, 'lorawan', {n}, '\\x{support.DEMO_JOIN_EUI}', '1.0.3', 'jwe', 'PEM', sha256('PEM'), 16, 'requested',"
                f" '\\x{maker.client['client_id']}', 'test' FROM batch b, certificate c"
                f" WHERE b.public_id = '\\x{batch}' AND c.number = '{module}'")
        for row in rows:
            row["batch"] = batch
        return rows

    def two_companies(self, n):
        """A module's maker with devices made for it, and a product's with the certificate to build with them."""
        module_maker, product_maker = self.company("module_maker"), self.company("product_maker")
        module = self.certificate(module_maker, "module")
        return module_maker, product_maker, self.certificate(product_maker, "product", module), self.built(module_maker, n, module)

    def upload(self, maker, number, body, **headers):
        """(status, headers, lines or problem)."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent["Authorization"] = f"Bearer {maker.token}"
        status, got, answer = self.stack.activation("POST", f"/v1/certificates/{number}/id-pac", body, sent)
        if got.get_content_type() == "application/x-ndjson":
            return status, got, [json.loads(line) for line in answer.splitlines()]
        return status, got, json.loads(answer)

    def lines(self, maker, number, body):
        status, _, answer = self.upload(maker, number, body)
        self.assertEqual(status, 200, answer)
        return answer

    def outcomes(self, maker, number, rows):
        return [line["outcome"] for line in self.lines(maker, number, list_of(rows))]

    def reasons_of(self, maker, number, rows):
        return [line.get("reason", line["outcome"]) for line in self.lines(maker, number, list_of(rows))]

    def states(self, rows, columns="d.credential"):
        """The values of each row's device, in its order."""
        got = {eui: values for eui, *values in self.stack.psql(
            f"SELECT encode(d.dev_eui, 'hex'), {columns} FROM device d LEFT JOIN certificate c ON c.id = d.certificate_id"
            f" LEFT JOIN organization o ON o.id = d.organization_id WHERE d.dev_eui IN "
            + "(" + ",".join(f"'\\x{row['dev_eui']}'" for row in rows) + ")")}
        return [got[row["dev_eui"]] for row in rows]

    def events(self, number):
        return [(action, json.loads(detail)) for action, detail in self.stack.psql(
            f"SELECT action, detail FROM audit_event WHERE object = '{number}' AND action LIKE 'id-pac.%' ORDER BY id")]

    def wrong(self, rows):
        return [{**row, "code": secrets.token_hex(8).upper()} for row in rows]


class Lists(IdPacTest):
    def test_what_is_on_the_list_joins_once_it_is_claimed(self):
        maker, owner = self.company(), self.owner()
        number = self.certificate(maker, "product")
        before, behind, inert = self.built(maker, 3)
        self.claimed(owner, before)  # a claim may come first
        self.assertEqual(self.join(dict(before, nwk_key=None), 1)["Result"]["ResultCode"], "UnknownDevEUI")
        self.assertEqual(self.lines(maker, number, list_of([before, behind])), [
            {"line": 1, "dev_eui": before["dev_eui"], "outcome": "activable"},
            {"line": 2, "dev_eui": behind["dev_eui"], "outcome": "activable"}])
        self.claimed(owner, behind)
        self.claimed(owner, inert)
        for device, code in ((before, "Success"), (behind, "Success"), (inert, "UnknownDevEUI")):
            self.assertEqual(self.join(dict(device, nwk_key=None), 2)["Result"]["ResultCode"], code)
        self.assertEqual(self.states([before, behind, inert], "d.credential, d.ownership, c.number"),
                         [["activable", "claimed", number]] * 2 + [["personalized", "claimed", ""]])

    def test_the_report_tells_each_line_and_no_bad_one_stops_the_others(self):
        module_maker, maker, number, rows = self.two_companies(6)
        good, wrong, other, quarantined, activable, scrapped = rows
        foreign = self.built(self.company(), 1)[0]
        self.stack.psql(f"UPDATE device SET trust = 'quarantined' WHERE dev_eui = '\\x{quarantined['dev_eui']}';"
                        f"UPDATE device SET credential = 'activable' WHERE dev_eui = '\\x{activable['dev_eui']}';"
                        f"UPDATE device SET credential = 'scrapped' WHERE dev_eui = '\\x{scrapped['dev_eui']}'")
        unknown = {"dev_eui": secrets.token_hex(8), "code": secrets.token_hex(8)}
        body = (b"\xef\xbb\xbf# built today\r\n" + list_of([good], "\r\n") + list_of([good]) + b"\nno id;1234\n"
                + b"%s\n%s;a/b\n" % ((good["dev_eui"].encode(),) * 2)
                + list_of([*self.wrong([wrong]), foreign, unknown, quarantined, activable, scrapped, other]))
        answer = self.lines(maker, number, body)
        self.assertEqual([(line["line"], line["dev_eui"], line["outcome"], line.get("reason")) for line in answer], [
            (2, good["dev_eui"], "activable", None), (3, good["dev_eui"], "exists", None), (5, None, "refused", "bad-identifier"),
            (6, good["dev_eui"], "refused", "pac-missing"), (7, good["dev_eui"], "refused", "bad-pac"),
            *((8 + i, row["dev_eui"], "refused", "refused") for i, row in enumerate(
                (wrong, foreign, unknown, quarantined, activable, scrapped))),
            (14, other["dev_eui"], "activable", None)])
        self.assertEqual({line["detail"] for line in answer if line.get("reason") == "refused"}, {REFUSED})
        self.assertTrue(answer[0]["handed_over"])
        self.assertEqual(self.states([wrong, foreign]), [["personalized"]] * 2)
        # Whoever ordered them is told why, but for what is another's by now.
        own = self.certificate(self.client_of(module_maker.organization, "admin"), "product", self.module_of(number))
        maker = self.client_of(module_maker.organization, "product_maker")
        self.assertEqual(self.reasons_of(maker, own, [*self.wrong([wrong]), foreign, quarantined, activable, scrapped, good]),
                         ["wrong-pac", "refused", "quarantined", "activable", "scrapped", "refused"])
        self.assertRegex(self.lines(maker, own, list_of([activable]))[0]["detail"], ", under no certificate$")

    def module_of(self, number):
        return self.stack.psql("SELECT m.number FROM certificate p JOIN certificate m ON m.id = p.module_id"
                               f" WHERE p.number = '{number}'")[0][0]

    def test_a_device_of_another_module_is_refused_and_told_to_its_maker(self):
        maker = self.company()
        module, other = self.certificate(maker, "module"), self.certificate(maker, "module")
        product = self.certificate(maker, "product", module)
        rows = self.built(maker, 1, module) + self.built(maker, 1, other) + self.built(maker, 1)
        self.assertEqual(self.reasons_of(maker, product, rows), ["activable", "module", "activable"])
        self.assertEqual(self.reasons_of(maker, self.certificate(maker, "product"), rows[1:]), ["module", "activable"])
        again = self.lines(maker, self.certificate(maker, "product", module), list_of(rows[:1]))
        self.assertRegex(again[0]["detail"], f", under {product}$")

    def test_the_same_list_again_changes_nothing(self):
        maker, owner = self.company(), self.owner()
        number = self.certificate(maker, "product")
        rows = self.built(maker, CHUNK + 9)
        self.assertEqual(self.outcomes(maker, number, rows), ["activable"] * len(rows))
        self.claimed(owner, rows[0])
        self.assertEqual(owner.call("post", f"/v1/devices/{rows[0]['dev_eui']}/rotate-code")[0], 200)
        before = self.stack.psql("SELECT dev_eui, credential, owner_id, certificate_id, gate_rev FROM device JOIN device_join "
                                 "USING (dev_eui) WHERE batch_id = (SELECT id FROM batch WHERE public_id = "
                                 f"'\\x{rows[0]['batch']}') ORDER BY 1")
        self.assertEqual(self.outcomes(maker, number, rows[::-1]), ["exists"] * len(rows))
        self.assertEqual(self.upload(maker, number, list_of(rows), Idempotency_Key="any")[0], 200)
        self.assertEqual(before, self.stack.psql(
            "SELECT dev_eui, credential, owner_id, certificate_id, gate_rev FROM device JOIN device_join USING (dev_eui) "
            f"WHERE batch_id = (SELECT id FROM batch WHERE public_id = '\\x{rows[0]['batch']}') ORDER BY 1"))
        self.assertEqual(self.stack.psql(f"SELECT count(*) FROM claim_limit WHERE subject = '\\x{maker.client['client_id']}'"), [["0"]])

    def test_the_audit_has_an_event_for_each_chunk_with_a_root_over_its_lines(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        rows = self.built(maker, CHUNK + 20)
        answer = self.lines(maker, number, list_of(rows[:3] + self.wrong(rows[3:4]) + rows[4:]))
        events = self.events(number)
        self.assertEqual([action for action, _ in events],
                         ["id-pac.begin", *["id-pac.chunk"] * (len(events) - 2), "id-pac.end"])
        self.assertEqual(events[-1][1], {"activable": len(rows) - 1, "exists": 0, "refused": 1, "line": len(rows)})
        after = 0
        for _, detail in events[1:-1]:
            own = [line for line in answer if after < line["line"] <= detail["line"]]
            self.assertEqual((detail["after"], detail["root"]), (after, root_of([leaf_of(line) for line in own]).hex()))
            after = detail["line"]
        self.assertEqual(after, len(rows))
        self.lines(maker, number, list_of(rows[:3]))
        self.assertEqual([action for action, _ in self.events(number)[len(events):]], ["id-pac.begin", "id-pac.end"])

    def test_a_product_of_another_company_gets_the_devices_by_the_list(self):
        module_maker, maker, number, rows = self.two_companies(3)
        owner = self.owner()
        self.claimed(owner, rows[2])
        answer = self.lines(maker, number, list_of(rows))
        self.assertEqual([line.get("handed_over") for line in answer], [True, True, None])
        self.assertEqual(self.states(rows, "encode(o.public_id, 'hex')"),
                         [[maker.organization]] * 2 + [[module_maker.organization]])
        for rest, status in ((maker, 200), (module_maker, 404)):
            self.assertEqual(rest.call("get", f"/v1/devices/{rows[0]['dev_eui']}")[0], status)
        events = self.stack.psql(
            "SELECT encode(o.public_id, 'hex'), e.detail, e.client_id IS NULL FROM audit_event e JOIN organization o ON"
            f" o.id = e.organization_id WHERE e.object = '{rows[0]['dev_eui']}' AND e.action = 'device.hand-over' ORDER BY e.id")
        told = {"certificate": number, "from": module_maker.organization, "to": maker.organization}
        self.assertEqual({who: (json.loads(detail), nobody) for who, detail, nobody in events},
                         {module_maker.organization: (told, "t"), maker.organization: (told, "f")})
        self.assertEqual(self.outcomes(maker, number, rows), ["exists"] * 3)

    def test_its_former_maker_makes_no_codes_for_it(self):
        module_maker, maker, number, _ = self.two_companies(1)
        rows = self.built(module_maker, 2, self.module_of(number), code="")
        key = {"Idempotency_Key": secrets.token_hex(8)}
        path = f"/v1/batches/{rows[0]['batch']}/codes"
        codes = self.codes_of(module_maker, path, **key)
        self.assertEqual(self.outcomes(maker, number, [dict(rows[0], code=codes[rows[0]["dev_eui"]])]), ["activable"])
        self.assertEqual(set(self.codes_of(module_maker, path, **key)), {rows[1]["dev_eui"]})

    def codes_of(self, maker, path, **headers):
        sent = {"Authorization": f"Bearer {maker.token}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        status, _, answer = self.stack.activation("POST", path, None, sent)
        self.assertEqual(status, 200, answer)
        return {line["dev_eui"]: line["code"] for line in map(json.loads, answer.splitlines())}

    def test_of_a_module_prototypes_become_activable_until_it_has_a_product(self):
        maker = self.company()
        module = self.certificate(maker, "module", quota=CHUNK + 2)
        rows = self.built(maker, CHUNK + 6, module)
        answer = self.reasons_of(maker, module, rows)
        self.assertEqual((answer.count("activable"), answer.count("quota")), (CHUNK + 2, 4))
        self.assertEqual(answer[:CHUNK], ["activable"] * CHUNK)
        again = self.reasons_of(maker, module, rows)
        self.assertEqual((again.count("exists"), again.count("quota")), (CHUNK + 2, 4))
        product = self.certificate(maker, "product", module)
        self.stack.psql(f"UPDATE certificate SET prototype_quota = 1000 WHERE number = '{module}'")
        self.assertEqual({*self.reasons_of(maker, module, rows)}, {"exists", "product"})
        self.assertEqual(self.reasons_of(maker, product, rows).count("activable"), CHUNK + 2 + 4)  # of these, 4 by it
        self.assertEqual(self.stack.psql(f"SELECT n_prototypes FROM certificate WHERE number = '{module}'"), [[str(CHUNK + 2)]])

    def test_a_certificate_is_its_organizations_and_good(self):
        maker, stranger = self.company(), self.company()
        number = self.certificate(maker, "product")
        row = self.built(maker, 1)
        for asked in (self.certificate(stranger, "product"), "P_0000_0000_00", "P_0000_0000_0i", "x"):
            status, _, problem = self.upload(maker, asked, list_of(row))
            self.assertEqual((status, problem["type"]), GONE)
        for role, kind in (("module_maker", "product"), ("product_maker", "module")):
            status, _, problem = self.upload(self.client_of(maker.organization, role), self.certificate(maker, kind), list_of(row))
            self.assertEqual(status, 403, problem)
        self.assertEqual(self.admin.call("delete", f"/v1/certificates/{number}")[0], 204)
        status, _, problem = self.upload(maker, number, list_of(row))
        self.assertEqual((status, problem["type"]), GONE)
        self.assertEqual(self.states(row), [["personalized"]])

    def test_claim_rules_take_what_has_become_activable(self):
        maker, owner = self.company(), self.owner()
        number = self.certificate(maker, "product")
        rows = self.built(maker, 3)
        rule = maker.call("post", "/v1/claim-rules", {"batch": rows[0]["batch"], "to": owner.organization, "max_devices": 10})[2]
        self.assertEqual(owner.call("post", f"/v1/claim-rules/{rule['id']}/accept", HOME)[0], 200)
        self.assertEqual(self.outcomes(maker, number, rows[:2]), ["activable"] * 2)
        support.wait_until(lambda: self.states(rows, "d.ownership") == [["claimed"], ["claimed"], ["unowned"]],
                           support.READY_SECONDS, "they are claimed")

    def test_claims_beside_a_list_lose_nothing(self):
        maker, owner = self.company(), self.owner()
        number = self.certificate(maker, "product")
        rows = self.built(maker, 40)
        threads = [threading.Thread(target=self.claim, args=(owner, row["dev_eui"], row["code"])) for row in rows]
        for thread in threads:
            thread.start()
        answer = self.outcomes(maker, number, rows)
        for thread in threads:
            thread.join()
        self.assertEqual(answer, ["activable"] * len(rows))
        self.assertEqual(self.states(rows, "d.credential, d.ownership"), [["activable", "claimed"]] * len(rows))


class Guesses(IdPacTest):
    def test_a_list_of_guesses_ends_early_and_waits(self):
        _, maker, number, rows = self.two_companies(LIST_BURST + 3)
        body = self.wrong(rows[:LIST_BURST]) + rows[LIST_BURST:]
        status, headers, problem = self.upload(maker, number, list_of(body))
        self.assertEqual((status, problem["type"]), LIMITED, problem)
        self.assertGreater(int(headers["Retry-After"]), 0)
        self.assertIn(f"up to line {LIST_BURST} are done", problem["detail"])
        self.assertIn(f"lines 1, 2, 3", problem["detail"])
        self.assertEqual(self.states(rows), [["personalized"]] * len(rows))
        self.assertEqual(self.upload(maker, number, list_of(rows[-1:]))[0], 429)
        self.assertEqual(self.reasons(rows[0]), ["code"])
        self.stack.psql("UPDATE claim_limit SET due = now()")
        self.assertEqual(self.outcomes(maker, number, rows[LIST_BURST:]), ["activable"] * 3)

    def test_whoever_has_the_devices_gets_his_report_whatever_is_wrong(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        rows = self.built(maker, 2 * LIST_BURST)
        self.assertEqual(self.reasons_of(maker, number, self.wrong(rows)), ["wrong-pac"] * len(rows))
        self.assertEqual(self.outcomes(maker, number, rows), ["activable"] * len(rows))
        self.assertEqual(self.reasons(rows[0]), [])

    def test_a_short_pac_that_was_tried_too_often_is_locked(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        row = self.built(maker, 1, code="12345678")[0]
        for i in range(WEAK_MAX):
            self.assertEqual(self.reasons_of(maker, number, self.wrong([row])), ["wrong-pac"], i)
            self.stack.psql("UPDATE claim_limit SET due = now()")
        self.assertEqual(self.reasons_of(maker, number, [row]), ["locked"])

    def test_one_device_is_not_tried_again_and_again(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        row = self.built(maker, 1)[0]
        body = list_of([guess for _ in range(8) for guess in self.wrong([row])] + [row])
        self.assertEqual([line["reason"] for line in self.lines(maker, number, body)], ["wrong-pac"] * 5 + ["limited"] * 4)


class Secrecy(IdPacTest):
    def test_a_pac_is_nowhere_once_its_list_is_answered(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        rows = self.built(maker, 3)
        wrong = self.wrong(rows[:1])
        self.lines(maker, number, list_of(rows[1:] + wrong))
        needles = CodeNeedles({row["code"] for row in rows[1:] + wrong})
        self.stack.psql("CHECKPOINT")
        (cluster,) = self.stack.psql("SHOW data_directory")[0]
        for tree in (cluster, self.stack.state):
            found, n_files = needles.in_tree(tree)
            self.assertGreater(n_files, 10)
            self.assertEqual(found, set())
        if os.geteuid() != 0:
            self.skipTest("only root may read the memory of a process that is not dumpable")
        (pid,) = self.stack.pids("activation")
        found, n_bytes = needles.in_process(pid)
        self.assertGreater(n_bytes, 1 << 20)
        self.assertEqual(found, set())


class Uploads(IdPacTest):
    @contextlib.contextmanager
    def sending(self, maker, number, first, url=None):
        """A list that has begun, and ends when it is told to."""
        place = (url or self.stack.activation_url).rpartition("/")[2]
        connection = http.client.HTTPConnection(place, timeout=support.READY_SECONDS)
        connection.putrequest("POST", f"/v1/certificates/{number}/id-pac")
        connection.putheader("Authorization", f"Bearer {maker.token}")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        self.piece(connection, first)
        yield connection
        connection.close()

    @staticmethod
    def piece(connection, data):
        connection.send(b"%x\r\n%s\r\n" % (len(data), data))

    @staticmethod
    def answer(connection):
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def wait_activable(self, rows, n):
        support.wait_until(lambda: self.states(rows).count(["activable"]) >= n, support.READY_SECONDS, f"{n} are activable")

    def test_a_service_that_is_killed_in_the_middle_costs_nothing(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        rows = self.built(maker, 5 * CHUNK)
        other = self.stack.second_activation()
        self.addCleanup(other.stop)
        with self.sending(maker, number, list_of(rows[:3 * CHUNK + 5]), other.url):
            self.wait_activable(rows, 2 * CHUNK)
            other.process.kill()
            other.process.wait()
        self.assertLess(self.states(rows).count(["activable"]), len(rows))
        answer = self.outcomes(maker, number, rows)
        self.assertEqual({*answer}, {"activable", "exists"})
        self.assertGreaterEqual(answer.count("exists"), 2 * CHUNK)
        self.assertEqual(self.outcomes(maker, number, rows), ["exists"] * len(rows))

    def test_what_is_no_list_is_refused_with_its_line_and_what_was_done_before(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        rows = self.built(maker, 2)
        for end, why in ((b"\0", "line 3: a NUL"), (b"x" * 1025, "line 3: longer than 1024 bytes")):
            status, _, problem = self.upload(maker, number, list_of(rows) + end)
            self.assertEqual(status, 400, problem)
            self.assertIn(why, problem["detail"])
            self.assertIn("up to line 2 are done", problem["detail"])
        self.assertEqual(self.states(rows), [["activable"]] * 2)
        for body in (b"", b"# nothing\n\n"):
            status, _, problem = self.upload(maker, number, body)
            self.assertEqual(status, 400)
            self.assertIn("no line", problem["detail"])
        self.assertEqual(self.stack.activation("POST", f"/v1/certificates/{number}/id-pac?x=1", list_of(rows),
                                               {"Authorization": f"Bearer {maker.token}"})[0], 400)
        self.assertEqual(self.upload(maker, number, list_of(rows), Idempotency_Key="x" * 256)[0], 400)

    def test_a_revoked_client_and_a_revoked_certificate_end_a_list(self):
        for what in ("client", "certificate"):
            maker = self.company()
            number = self.certificate(maker, "product")
            rows = self.built(maker, 3 * CHUNK)
            path = (f"/v1/organizations/{maker.organization}/clients/{maker.client['client_id']}" if what == "client"
                    else f"/v1/certificates/{number}")
            with self.sending(maker, number, list_of(rows[:CHUNK])) as connection:
                self.wait_activable(rows, CHUNK)
                self.assertEqual(self.admin.call("delete", path)[0], 204)
                self.piece(connection, list_of(rows[CHUNK:]))
                connection.send(b"0\r\n\r\n")
                status, problem = self.answer(connection)
            self.assertEqual(status, 401 if what == "client" else 409, problem)
            self.assertIn(f"the {what} was revoked", problem["detail"])
            self.assertEqual(self.states(rows).count(["activable"]), CHUNK)

    def test_a_list_without_lines_does_not_hold_a_worker(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        rows = self.built(maker, 1)
        other = self.stack.second_activation("import.idle_s=2")
        self.addCleanup(other.stop)
        with self.sending(maker, number, list_of(rows), other.url) as connection:
            end = time.monotonic() + support.READY_SECONDS
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while not select.select([connection.sock], [], [], 0.2)[0] and time.monotonic() < end:
                    self.piece(connection, b"# nothing\n" * 100)
            status, problem = self.answer(connection)
        self.assertEqual(status, 400, problem)
        self.assertIn("import.idle_s", problem["detail"])
        self.assertEqual(self.states(rows), [["activable"]])

    def test_the_command_shows_what_was_refused_and_a_summary(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        rows = self.built(maker, 3)
        self.lines(maker, number, list_of(rows[:1]))
        config, name = self.stack.path(f"maker-{number}.ini"), self.stack.path(f"built-{number}.txt")
        secret = config + ".secret"
        for path, text in ((secret, maker.client["client_secret"]), (name, (list_of(rows[:2] + self.wrong(rows[2:]))).decode()),
                           (config, f"[activation]\nurl = {self.stack.activation_url}\nclient_id = {maker.client['client_id']}\n"
                                    f"client_secret_file = {secret}\n")):
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
                file.write(text)
        run = self.cradle(config, number, name)
        self.assertEqual(run.returncode, 0, run.stderr)
        refused, summary = map(json.loads, run.stdout.splitlines())
        self.assertEqual((refused["line"], refused["dev_eui"], refused["reason"]), (3, rows[2]["dev_eui"], "wrong-pac"))
        self.assertEqual(summary, {"activable": 1, "exists": 1, "refused": 1})
        for arguments, why in (((number, name + "x"), "No such file"), (("P_0000_0000_00", name), "no such certificate")):
            run = self.cradle(config, *arguments)
            self.assertEqual((run.returncode, run.stdout), (1, ""))
            self.assertIn(why, run.stderr)

    def cradle(self, config, *arguments):
        return subprocess.run([self.stack.program("cli/cradle"), "--config", config, "id-pac", *arguments], check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.stack.environment())

    def test_what_was_not_built_can_be_scrapped(self):
        maker = self.company()
        number = self.certificate(maker, "product")
        rows = self.built(maker, 5)
        self.stack.psql(f"UPDATE device SET credential = 'generated' WHERE dev_eui = '\\x{rows[2]['dev_eui']}';"
                        f"UPDATE device SET credential = 'delivered' WHERE dev_eui IN ('\\x{rows[3]['dev_eui']}', '\\x{rows[4]['dev_eui']}')")
        self.assertEqual(self.outcomes(maker, number, rows[:2]), ["activable"] * 2)
        batch = rows[0]["batch"]
        for body, field in (({"batch": batch, "credential": "broken", "confirm": 1}, "credential"),
                            ({"devices": [rows[2]["dev_eui"]], "credential": "delivered", "confirm": 1}, "credential"),
                            ({"batch": batch, "credential": "delivered", "confirm": 1}, "confirm")):
            status, _, problem = maker.call("post", "/v1/devices/moves", {"move": "scrap", **body})
            self.assertEqual((status, problem.get("field")), (400, field), problem)
        for body in ({"batch": batch, "credential": "delivered", "confirm": 2}, {"devices": [rows[2]["dev_eui"]], "confirm": 1}):
            status, headers, job = maker.call("post", "/v1/devices/moves", {"move": "scrap", **body})
            self.assertEqual(status, 202, job)
            support.wait_until(lambda at=headers["Location"]: maker.call("get", at)[2]["state"] == "done",
                               support.READY_SECONDS, "it is done")
        self.assertEqual(self.states(rows), [["activable"]] * 2 + [["scrapped"]] * 3)
        self.assertEqual(self.reasons_of(maker, number, rows), ["exists"] * 2 + ["scrapped"] * 3)
