"""Moves of many devices as jobs: what a call does to one, done to each once, whatever dies meanwhile."""

import contextlib
import json
import os
import secrets
import subprocess

import support
from test_accounts import Rest
from test_codes import CodeNeedles, code_text, unclaimed
from test_jobs import JobTest, csv_of, rows_of

CHUNK, OPEN_MAX, DEVICES_MAX = 64, 16, 10000
ENDED = ("done", "failed", "cancelled")
OF_OWNERS = ("suspend", "resume", "release", "rotate-code", "reset-nonces", "bind", "offer")
NEW_CODE = "^[0-9A-F]{16}$"
HOME = {"home_net_id": support.HOME, "as_id": "demo-as"}


class BulkTest(JobTest):
    def organization(self, *roles):
        """A client with these roles, of an organization of its own that imports in clear."""
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        made = admin.call("post", "/v1/organizations", {"name": f"bulk {secrets.token_hex(6)}", "allow_clear_keys": True})[2]
        rest = Rest(self.stack, admin.call("post", f"/v1/organizations/{made['id']}/clients", {"roles": roles})[2])
        rest.organization = made["id"]
        return rest

    def fleet(self, rest, n, rows=None):
        """Devices that are the organization's, or nobody's: by `rows`; the batch is rest.batch."""
        rows = rows or rows_of(n)
        status, headers, answer = self.send(csv_of(rows), rest=rest)
        self.assertEqual((status, {row["outcome"] for row in answer}), (200, {"created"}), answer[:3])
        rest.batch = rest.call("get", headers["Location"])[2]["batch"]
        return [row["dev_eui"] for row in rows]

    def post(self, rest, move, devices=None, key=None, **more):
        body = {"move": move, **({"devices": devices} if devices is not None else {}), **more}
        return rest.call("post", "/v1/devices/moves", body, **({"Idempotency_Key": key} if key else {}))

    def begin(self, rest, move, devices=None, **more):
        status, headers, job = self.post(rest, move, devices, **more)
        self.assertEqual((status, job.get("kind"), job.get("move")), (202, "move", move), job)
        self.assertEqual(headers["Location"], f"/v1/jobs/{job['id']}")
        return headers["Location"]

    def ended(self, rest, path, state="done"):
        job = support.wait_until(
            lambda: next((j for j in [rest.call("get", path)[2]] if j["state"] in ENDED), None), 60, f"{path} has ended")
        self.assertEqual(job["state"], state, job)
        return job

    def report(self, rest, path):
        answer = self.stack.activation("GET", f"{path}/report", None, {"Authorization": f"Bearer {rest.token}"})[2]
        rows = [json.loads(line) for line in answer.splitlines()]
        self.assertEqual([row["line"] for row in rows], list(range(1, len(rows) + 1)))
        return rows

    def moved(self, rest, move, devices, **more):
        """Of a job that moves all of them: where it is."""
        path = self.begin(rest, move, devices, **more)
        job = self.ended(rest, path)
        self.assertEqual((job["line"], job["rows"], job["moved"], job["refused"]),
                         (len(devices), len(devices), len(devices), 0), self.report(rest, path)[:3])
        self.assertEqual([(row["dev_eui"], row["outcome"]) for row in self.report(rest, path)],
                         [(dev_eui, "moved") for dev_eui in devices])
        return path

    def codes(self, rest, path, key, query=""):
        """(status, lines or problem)."""
        status, headers, answer = self.stack.activation(
            "POST", f"{path}/codes{query}", None, {"Authorization": f"Bearer {rest.token}", "Idempotency-Key": key})
        if status != 200:
            return status, json.loads(answer)
        self.assertEqual(headers["Cache-Control"], "no-store")
        return status, [json.loads(line) for line in answer.splitlines()]

    def told(self, rest, path, key, query=""):
        """{DevEUI: code}."""
        status, lines = self.codes(rest, path, key, query)
        self.assertEqual(status, 200, lines)
        for line in lines:
            self.assertRegex(line["code"], NEW_CODE)
        return {line["dev_eui"]: line["code"] for line in lines}

    def states(self, devices, columns="service"):
        found = {row[0]: row[1:] for row in self.stack.psql(
            f"SELECT encode(dev_eui, 'hex'), {columns} FROM device d LEFT JOIN claim_code c USING (dev_eui) "
            f"WHERE dev_eui IN ({','.join(self.literal(dev_eui) for dev_eui in devices)})")}
        return [found[dev_eui] for dev_eui in devices]

    @staticmethod
    def literal(dev_eui):
        return f"'\\x{dev_eui}'"

    def events(self, dev_eui):
        return [(action, json.loads(detail)) for action, detail in self.stack.psql(
            f"SELECT action, detail FROM audit_event WHERE object = '{dev_eui}' ORDER BY id")]

    def lock(self, dev_eui):
        """A statement that locks the device: no move comes past it meanwhile."""
        return f"SELECT 1 FROM device WHERE dev_eui = {self.literal(dev_eui)} FOR UPDATE"

    def stands_at(self, path, line):
        support.wait_until(lambda: self.stack.psql(
            f"SELECT 1 FROM job WHERE public_id = '\\x{path.rpartition('/')[2]}' AND state = 'running' AND line = {line} "
            "AND EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'cradle_activation')"),
            support.READY_SECONDS, f"{path} stands at {line}")


class Moves(BulkTest):
    def test_each_device_is_moved_or_refused_alone(self):
        owner, other = self.organization("maker", "owner"), self.organization("maker", "owner")
        mine, theirs = self.fleet(owner, 5), self.fleet(other, 1)[0]
        owner.call("post", f"/v1/devices/{mine[1]}/suspend")
        self.assertEqual(owner.call("post", f"/v1/devices/{mine[2]}/offer", {"to": other.organization})[0], 201)
        nobody = secrets.token_hex(8)
        listed = [mine[0], mine[1], theirs, mine[2], nobody, mine[3]]
        path = self.begin(owner, "suspend", [listed[0].upper(), "-".join(listed[1][i:i + 2] for i in range(0, 16, 2)), *listed[2:]])
        job = self.ended(owner, path)
        self.assertEqual((job["moved"], job["refused"], job["rows"], job["line"]), (2, 4, 6, 6))
        rows = self.report(owner, path)
        self.assertEqual([row["dev_eui"] for row in rows], listed)
        self.assertEqual([row.get("reason") for row in rows], [None, "service", "unknown", "ownership", "unknown", None])
        self.assertEqual(rows[1]["detail"], "the device's service is suspended, which stands against suspend")
        alike = [{name: value for name, value in rows[i].items() if name not in ("line", "dev_eui")} for i in (2, 4)]
        self.assertEqual(alike[0], alike[1])
        self.assertEqual(self.states(mine + [theirs]), [["suspended"], ["suspended"], ["active"], ["suspended"], ["active"], ["active"]])
        job_id = path.rpartition("/")[2]
        self.assertEqual(self.events(mine[0]), [("device.suspend", {"job": job_id})])
        self.assertEqual(self.events(theirs), [])
        self.assertEqual(self.events(job_id), [("move.begin", {"move": "suspend", "devices": 6})])
        for method, what in (("get", ""), ("get", "/report"), ("delete", "")):
            self.assertEqual(other.call(method, path + what)[0], 404)

    def test_a_job_does_what_the_call_does(self):
        owner, other = self.organization("maker", "owner"), self.organization("owner")
        columns = ("credential, ownership, service, trust, ownership_epoch, nonce_epoch, coalesce(encode(home_net_id, 'hex'), '-'), "
                   "coalesce(as_id, '-'), coalesce(owner_id, 0), coalesce(quarantined_by, '-'), coalesce(name, '-'), "
                   "coalesce(generation, 0), coalesce(released_by, 0), (SELECT count(*) FROM device_key k WHERE k.dev_eui = d.dev_eui), "
                   "(SELECT count(*) FROM offer o WHERE o.dev_eui = d.dev_eui AND o.state = 'open')")
        said = {"bind": {"home_net_id": "000014", "as_id": "demo-as"}, "offer": {"to": other.organization, "days": 3}}
        before = {"resume": "suspend", "lift": "quarantine"}
        self.assertGreater(len(self.stack.demo["network_servers"]), 1)
        said["bind"]["home_net_id"] = self.stack.demo["network_servers"][1]["net_id"]
        for move in (*OF_OWNERS, "quarantine", "lift", "scrap"):
            with self.subTest(move=move):
                one, two = self.fleet(owner, 2)
                for dev_eui in (one, two):
                    owner.call("patch", f"/v1/devices/{dev_eui}", {"name": "attic"})
                    if move in before:
                        self.assertEqual(owner.call("post", f"/v1/devices/{dev_eui}/{before[move]}")[0], 200)
                if move == "bind":
                    answer = owner.call("patch", f"/v1/devices/{one}", said[move])
                else:
                    answer = owner.call("post", f"/v1/devices/{one}/{move}", {"confirm": one} if move == "scrap" else said.get(move))
                self.assertIn(answer[0], (200, 201), answer)
                more = {"confirm": 1} if move == "scrap" else said.get(move, {})
                path = self.moved(owner, move, [two], **more)
                states = self.states([one, two], columns)
                self.assertEqual(states[0], states[1])
                alone, of_job = self.events(one)[-1], self.events(two)[-1]
                self.assertEqual(of_job[1].pop("job"), path.rpartition("/")[2])
                self.assertEqual((of_job[0], set(of_job[1])), (alone[0], set(alone[1])))
                self.assertEqual(of_job[0], f"device.{move}")

    def test_joins_obey(self):
        owner = self.organization("maker", "owner")
        rows = rows_of(3)
        devices = self.fleet(owner, 0, rows)

        def results(nonce):
            return {self.join(dict(row, nwk_key=None), nonce)["Result"]["ResultCode"] for row in rows}
        self.assertEqual(results(1), {"Success"})
        self.moved(owner, "suspend", devices)
        self.assertEqual(results(2), {"ActivationDisallowed"})
        self.moved(owner, "resume", devices)
        self.assertEqual(results(3), {"Success"})
        self.assertEqual(results(1), {"JoinReqFailed"})
        self.moved(owner, "reset-nonces", devices)
        self.assertEqual(results(1), {"Success"})
        self.moved(owner, "bind", devices, home_net_id=None, as_id=None)
        self.assertEqual(results(5), {"UnknownDevEUI"})

    def test_webhooks_hear_of_each_device(self):
        owner, other = self.organization("maker", "owner"), self.organization("owner")
        devices, n = self.fleet(owner, CHUNK + 2), CHUNK + 2
        hooks = [rest.call("post", "/v1/webhooks", {"url": "https://receiver.invalid/hook", "events": [event]})[2]["id"]
                 for rest, event in ((owner, "device.quarantined"), (other, "device.offered"))]
        self.moved(owner, "offer", devices, to=other.organization)
        self.moved(owner, "quarantine", devices)
        for hook, event in zip(hooks, ("device.quarantined", "device.offered")):
            told = self.stack.psql("SELECT d.body::json->>'type', d.body::json->'object'->>'dev_eui' FROM webhook_delivery d "
                                   f"JOIN webhook w ON w.id = d.webhook_id WHERE w.public_id = '\\x{hook}'")
            self.assertEqual({row[0] for row in told}, {event})
            self.assertEqual((len(told), {row[1] for row in told}), (n, set(devices)))

    def test_a_batch_is_what_its_maker_has_of_it(self):
        maker, operator = self.organization("maker"), Rest(self.stack, self.stack.demo["clients"]["operator"])
        rows = unclaimed(CHUNK + 6, code=code_text()[1])
        devices = sorted(self.fleet(maker, 0, rows))
        sold, owner = devices[3], self.organization("owner")
        self.assertEqual(owner.call("post", "/v1/claims", dict(HOME, dev_eui=sold, code=rows[0]["code"]))[0], 200)
        path = self.begin(maker, "quarantine", batch=maker.batch)
        job = self.ended(maker, path)
        self.assertEqual((job["moved"], job["rows"]), (len(devices) - 1, len(devices) - 1))
        self.assertEqual([row["dev_eui"] for row in self.report(maker, path)], [eui for eui in devices if eui != sold])
        self.assertEqual(self.states([sold], "trust"), [["ok"]])
        # The operator takes them all over, and then nobody else lifts them.
        path = self.begin(operator, "quarantine", batch=maker.batch)
        self.assertEqual(self.ended(operator, path)["moved"], len(devices))
        self.assertEqual({tuple(row) for row in self.states(devices, "trust, quarantined_by")}, {("quarantined", "operator")})
        path = self.begin(maker, "lift", batch=maker.batch)
        self.assertEqual(self.ended(maker, path)["moved"], 0)
        self.assertEqual({row["reason"] for row in self.report(maker, path)}, {"operator"})
        self.assertEqual(self.ended(operator, self.begin(operator, "lift", batch=maker.batch))["moved"], len(devices))
        for stranger in (self.organization("maker"), owner):
            status, _, problem = self.post(stranger, "quarantine", batch=maker.batch)
            self.assertEqual((status, problem.get("field")), (400, "batch"), problem)
        status, _, problem = self.post(operator, "lift", batch="00" * 16)
        self.assertEqual((status, problem.get("field")), (400, "batch"), problem)

    def test_many_are_scrapped_only_by_their_number(self):
        maker = self.organization("maker")
        devices = self.fleet(maker, 0, unclaimed(3))
        for more in ({}, {"confirm": 2}, {"confirm": 4}):
            status, _, problem = self.post(maker, "scrap", devices, **more)
            self.assertEqual((status, problem.get("field")), (400, "confirm"), problem)
        self.assertEqual(maker.call("get", "/v1/jobs")[2]["items"][1:], [])
        self.moved(maker, "scrap", devices, confirm=3)
        self.assertEqual(self.states(devices, "credential, (SELECT count(*) FROM device_key k WHERE k.dev_eui = d.dev_eui)"),
                         [["scrapped", "0"]] * 3)

    def test_what_is_malformed_is_named(self):
        owner = self.organization("owner")
        euis = [secrets.token_hex(8) for _ in range(3)]
        for field, move, body in (
                ("move", "claim", {"devices": euis}), ("move", "Suspend", {"devices": euis}),
                ("devices", "suspend", {}), ("devices", "suspend", {"devices": []}),
                ("devices", "suspend", {"devices": euis, "batch": "00" * 16}),
                ("devices", "suspend", {"devices": [*euis, euis[1].upper()]}), ("devices", "suspend", {"devices": ["12"]}),
                ("devices", "suspend", {"devices": [f"{i:016x}" for i in range(DEVICES_MAX + 1)]}),
                ("batch", "suspend", {"batch": "00" * 16}), ("home_net_id", "bind", {"devices": euis}),
                ("home_net_id", "bind", {"devices": euis, "home_net_id": "0000ff", "as_id": "demo-as"}),
                ("home_net_id", "bind", {"devices": euis, "as_id": "demo-as"}), ("home_net_id", "suspend", {"devices": euis, **HOME}),
                ("to", "offer", {"devices": euis}), ("to", "offer", {"devices": euis, "to": owner.organization}),
                ("days", "offer", {"devices": euis, "to": self.organization("owner").organization, "days": 91}),
                ("to", "release", {"devices": euis, "to": "00" * 16}), ("confirm", "suspend", {"devices": euis, "confirm": 3}),
                ("name", "bind", {"devices": euis, "name": "x"})):
            status, _, problem = self.post(owner, move, **body)
            self.assertEqual((status, problem.get("field")), (400, field), (move, problem))
        self.assertEqual(owner.call("get", "/v1/jobs")[2]["items"], [])

    def test_each_move_has_its_own_right(self):
        euis = [secrets.token_hex(8)]
        for role, may in (("owner", {*OF_OWNERS, "quarantine", "lift", "scrap"}), ("maker", {"quarantine", "lift", "scrap"}),
                          ("operator", {"quarantine", "lift"}), ("auditor", set())):
            rest, other = self.organization(role), self.organization("owner")
            more = {"bind": HOME, "offer": {"to": other.organization}, "scrap": {"confirm": 1}}
            for move in (*OF_OWNERS, "quarantine", "lift", "scrap"):
                status, headers, answer = self.post(rest, move, euis, **more.get(move, {}))
                self.assertEqual(status, 202 if move in may else 403, (role, move, answer))
                if move in may:
                    self.ended(rest, headers["Location"])

    def test_one_key_is_one_job(self):
        owner, key = self.organization("maker", "owner"), secrets.token_hex(8)
        devices = self.fleet(owner, 2)
        first = self.post(owner, "suspend", devices, key)
        self.ended(owner, first[1]["Location"])
        again = self.post(owner, "suspend", devices, key)
        self.assertEqual((again[0], again[1]["Location"]), (202, first[1]["Location"]))
        self.assertEqual(self.post(owner, "resume", devices, key)[0], 422)
        self.assertEqual([event[0] for event in self.events(devices[0])], ["device.suspend"])

    def test_an_organization_has_so_many_at_once(self):
        owner = self.organization("maker", "owner")
        devices = self.fleet(owner, 1)
        with self.stack.locked(self.lock(devices[0])):
            paths = [self.begin(owner, "rotate-code", devices) for _ in range(OPEN_MAX)]
            status, _, problem = self.post(owner, "rotate-code", devices)
            self.assertEqual(status, 409, problem)
            self.assertIn(f"{OPEN_MAX} jobs", problem["detail"])
        for path in paths:
            self.ended(owner, path)

    def test_a_large_fleet_and_what_is_left_of_the_list(self):
        owner = self.organization("maker", "owner")
        devices = self.fleet(owner, 3000)
        path = self.moved(owner, "suspend", devices)
        self.assertEqual(self.stack.psql(
            f"SELECT service, count(*) FROM device WHERE dev_eui IN ({','.join(map(self.literal, devices))}) GROUP BY 1"),
            [["suspended", "3000"]])
        self.assertEqual(self.stack.psql(
            "SELECT (SELECT count(*) FROM move_device WHERE job_id = j.id), n_kept FROM job j "
            f"WHERE public_id = '\\x{path.rpartition('/')[2]}'"), [["0", "3000"]])
        events = self.stack.activation("GET", f"{path}/events", None, {"Authorization": f"Bearer {owner.token}"})[2].decode()
        self.assertIn("event: end", events)
        self.assertIn('"moved":3000', events)


class Codes(BulkTest):
    def test_the_new_codes_are_told_behind_the_job_and_open_the_devices(self):
        owner, successor, key = self.organization("maker", "owner"), self.organization("owner"), secrets.token_hex(8)
        devices = self.fleet(owner, CHUNK + 3)
        path = self.moved(owner, "release", devices)
        self.assertEqual({tuple(row) for row in self.states(devices, "ownership, coalesce(owner_id, 0)")}, {("unowned", "0")})
        told = self.told(owner, path, key)
        self.assertEqual(list(told), devices)
        self.assertEqual(len(set(told.values())), len(devices))
        # A lost answer: the same call tells all of them anew, another one none.
        again = self.told(owner, path, key)
        self.assertEqual(list(again), devices)
        self.assertEqual(set(again.values()) & set(told.values()), set())
        self.assertEqual(self.told(owner, path, secrets.token_hex(8)), {})
        claims = [dict(HOME, dev_eui=dev_eui, code=again[dev_eui]) for dev_eui in devices[:2]]
        self.assertEqual(successor.call("post", "/v1/claims", dict(claims[0], code=told[devices[0]]))[0], 403)
        for claim in claims:
            self.assertEqual(successor.call("post", "/v1/claims", claim)[0], 200)
        renewed = self.told(owner, path, secrets.token_hex(8), "?renew=true")
        self.assertEqual(list(renewed), devices[2:])
        for rest, status in ((successor, 404), (self.organization("maker"), 403), (self.organization("owner"), 404)):
            self.assertEqual(self.codes(rest, path, key)[0], status)

    def test_rotated_codes_are_told_of_devices_that_are_still_there(self):
        owner, other = self.organization("maker", "owner"), self.organization("owner")
        rows = unclaimed(4, code=code_text()[1])
        devices = self.fleet(owner, 0, rows)
        for dev_eui in devices:
            self.assertEqual(owner.call("post", "/v1/claims", dict(HOME, dev_eui=dev_eui, code=rows[0]["code"]))[0], 200)
        path = self.moved(owner, "rotate-code", devices)
        self.assertEqual(self.states(devices, "generation, ownership"), [["3", "claimed"]] * 4)
        self.assertEqual(owner.call("post", f"/v1/devices/{devices[1]}/rotate-code")[0], 200)
        owner.call("post", f"/v1/devices/{devices[2]}/offer", {"to": other.organization})
        self.assertEqual(list(self.told(owner, path, secrets.token_hex(8))), [devices[0], devices[3]])
        self.assertEqual(list(self.told(owner, path, secrets.token_hex(8), "?renew=true")), [devices[0], devices[1], devices[3]])

    def test_no_code_is_known_before_it_is_told_nor_kept_behind(self):
        owner = self.organization("maker", "owner")
        devices = self.fleet(owner, 5)
        path = self.moved(owner, "release", devices)
        told = self.told(owner, path, secrets.token_hex(8))
        needles = CodeNeedles([told[devices[0]], told[devices[4]]])
        self.assertEqual(needles.of(json.dumps(told).encode()), set(needles.needles.values()))
        self.stack.psql("CHECKPOINT")
        (cluster,) = self.stack.psql("SHOW data_directory")[0]
        for root in (cluster, self.stack.path("log")):
            found, n_files = needles.in_tree(root)
            self.assertGreater(n_files, 0)
            self.assertEqual(found, set(), root)
        self.assertNotIn(b"code", json.dumps(self.report(owner, path)).encode())

    def test_there_are_none_before_the_end_nor_of_other_jobs(self):
        owner, key = self.organization("maker", "owner"), secrets.token_hex(8)
        devices = self.fleet(owner, 1)
        with self.stack.locked(self.lock(devices[0])):
            path = self.begin(owner, "release", devices)
            self.stands_at(path, 0)
            self.assertEqual(self.codes(owner, path, key)[0], 409)
        self.ended(owner, path)
        status, _, problem = owner.call("post", f"{path}/codes")
        self.assertEqual((status, problem["field"]), (400, "Idempotency-Key"))
        other = self.moved(owner, "suspend", self.fleet(owner, 1))
        self.assertEqual(self.codes(owner, other, key)[0], 404)
        self.assertEqual(list(self.told(owner, path, key)), devices)
        self.stack.psql(f"UPDATE job SET report_deleted_at = now() WHERE public_id = '\\x{path.rpartition('/')[2]}'")
        self.assertEqual(self.codes(owner, path, key)[0], 410)


class Command(BulkTest):
    """`cradle device move`."""

    def cradle(self, rest, *args):
        folder = self.stack.path("run")
        secret, config = (os.path.join(folder, f"{name}-{rest.client['client_id']}") for name in ("secret", "ini"))
        with open(secret, "w", encoding="ascii") as file:
            file.write(rest.client["client_secret"])
        with open(config, "w", encoding="ascii") as file:
            file.write(f"[activation]\nurl = {self.stack.activation_url}\nclient_id = {rest.client['client_id']}\n"
                       f"client_secret_file = {secret}\n")
        return subprocess.run([self.stack.program("cli/cradle"), "--config", config, "device", "move", *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, env=self.stack.environment())

    def file(self, text):
        path = self.stack.path("run", f"devices-{secrets.token_hex(4)}")
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def said(self, rest, *args):
        run = self.cradle(rest, *args)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        return [json.loads(line) for line in run.stdout.splitlines()]

    def test_a_file_or_a_batch_is_moved_and_the_report_printed(self):
        owner, other = self.organization("maker", "owner"), self.organization("owner")
        devices = self.fleet(owner, CHUNK + 2)
        path = self.file("# of the second floor\n\n" + "".join(f"{dev_eui.upper()} \r\n" for dev_eui in [*devices, "ff" * 8]))
        rows = self.said(owner, "suspend", "--file", path)
        self.assertEqual([(row["dev_eui"], row["outcome"]) for row in rows],
                         [(dev_eui, "moved") for dev_eui in devices] + [("ff" * 8, "refused")])
        self.assertEqual({row["outcome"] for row in self.said(owner, "resume", "--batch", owner.batch)}, {"moved"})
        self.said(owner, "bind", "--batch", owner.batch, "--ns", self.stack.demo["network_servers"][1]["net_id"], "--as", "demo-as")
        self.assertEqual(self.states(devices[:1], "service, encode(home_net_id, 'hex')"),
                         [["active", self.stack.demo["network_servers"][1]["net_id"]]])
        self.said(owner, "--batch", owner.batch, "offer", "--to", other.organization, "--days", "2")
        self.assertEqual(self.states(devices[-1:], "ownership"), [["offered"]])
        other_fleet = self.fleet(owner, 2)
        self.said(owner, "scrap", "--file", self.file("\n".join(other_fleet)), "--confirm", "2")
        self.assertEqual(self.states(other_fleet, "credential"), [["scrapped"]] * 2)

    def test_what_is_wrong_is_said(self):
        owner, auditor = self.organization("owner"), self.organization("auditor")
        eui = secrets.token_hex(8)
        for code, words, rest, args in (
                (2, "usage: ", owner, ()), (2, "usage: ", owner, ("suspend", "resume")), (2, "usage: ", owner, ("suspend", "--all")),
                (1, "line 2 is no DevEUI", owner, ("suspend", "--file", self.file(f"{eui}\nmine\n"))),
                (1, "No such file", owner, ("suspend", "--file", self.stack.path("run", "none"))),
                (1, "--days is a number", owner, ("offer", "--file", self.file(eui), "--days", "two")),
                (1, "move is none of", owner, ("burn", "--file", self.file(eui))),
                (1, "which devices?", owner, ("suspend",)), (1, "may not", auditor, ("suspend", "--file", self.file(eui)))):
            run = self.cradle(rest, *args)
            self.assertEqual((run.returncode, run.stdout), (code, ""), (args, run.stderr))
            self.assertIn(words, run.stderr)


class Workers(BulkTest):
    """Whatever becomes of the service: each device is moved once, or not at all, and the report says which."""

    @classmethod
    def setUpClass(cls):
        cls.stack = support.Stack("bulk")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()

    def whole(self, rest, path, devices, event):
        job = self.ended(rest, path)
        self.assertEqual((job["moved"], job["refused"], job["line"]), (len(devices), 0, len(devices)))
        self.assertEqual([(row["dev_eui"], row["outcome"]) for row in self.report(rest, path)],
                         [(dev_eui, "moved") for dev_eui in devices])
        self.done_once(path, devices, event)

    def done_once(self, path, devices, event):
        job_id = path.rpartition("/")[2]
        self.assertEqual(sorted(dev_eui for dev_eui, in self.stack.psql(
            f"SELECT object FROM audit_event WHERE action = '{event}' AND detail->>'job' = '{job_id}'")), sorted(devices))

    def test_what_a_killed_service_began_another_ends(self):
        """Killed at each state of a job: while it waits, in each of its chunks, and between them."""
        owner = self.organization("maker", "owner")
        devices = self.fleet(owner, 3 * CHUNK + 5)
        for move in ("suspend", "resume", "rotate-code", "release"):
            for chunk in {"suspend": range(4), "release": (0, 2)}.get(move, (1,)):
                with self.subTest(move=move, chunk=chunk):
                    if move == "suspend" and chunk:
                        self.moved(owner, "resume", devices)
                    if move == "release" and chunk:
                        devices = self.fleet(owner, 3 * CHUNK + 5)
                    with self.stack.locked(self.lock(devices[chunk * CHUNK])):
                        path = self.begin(owner, move, devices)
                        self.stands_at(path, chunk * CHUNK)
                        pid = self.stack.kill("activation")
                        self.stack.wait_restarted("activation", pid)
                    self.stack.wait_ready()
                    there = self.stack.psql(
                        "SELECT line, n_moved, (SELECT count(*) FROM job_row r WHERE r.job_id = j.id) FROM job j "
                        f"WHERE public_id = '\\x{path.rpartition('/')[2]}'")[0]
                    self.assertEqual(there, [str(chunk * CHUNK)] * 3)
                    self.done_once(path, devices[:chunk * CHUNK], f"device.{move}")
                    # Whoever died holds the lease: it is over in a minute, and here at once.
                    self.stack.psql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'; NOTIFY cradle_work")
                    self.whole(owner, path, devices, f"device.{move}")
        self.assertEqual(list(self.told(owner, path, secrets.token_hex(8))), devices)

    @contextlib.contextmanager
    def committing(self, owner, devices):
        """While the commit of the second chunk of a job is on its way: where the job is, and the backends that wait."""
        with contextlib.ExitStack() as lock:
            lock.enter_context(self.stack.locked(self.lock(devices[CHUNK])))
            path = self.begin(owner, "rotate-code", devices)
            self.stands_at(path, CHUNK)
            with self.stack.standby_missing():
                lock.close()
                yield path, support.wait_until(lambda: self.stack.waiting_at("SyncRep", "job_row"), support.READY_SECONDS,
                                               "its commit waits")

    def test_a_chunk_whose_commit_nobody_saw_is_done_once(self):
        owner = self.organization("maker", "owner")
        devices = self.fleet(owner, 2 * CHUNK)
        with self.committing(owner, devices) as (path, _):
            pid = self.stack.kill("activation")
        self.stack.wait_restarted("activation", pid)
        self.stack.wait_ready()
        self.stack.psql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'; NOTIFY cradle_work")
        self.whole(owner, path, devices, "device.rotate-code")
        # And where the connection ends, the job tells the service whether it came through.
        with self.committing(owner, devices) as (path, pids):
            self.stack.end_wait(pids[0])
        self.whole(owner, path, devices, "device.rotate-code")
        self.assertEqual({tuple(row) for row in self.states(devices, "generation")}, {("2",)})

    def test_one_that_waits_outlives_all_services(self):
        owner = self.organization("maker", "owner")
        devices = self.fleet(owner, CHUNK + 1)
        with self.stack.locked(self.lock(devices[0])):
            held = self.begin(owner, "suspend", devices[:1])
            self.stands_at(held, 0)
            path = self.begin(owner, "rotate-code", devices)
            pid = self.stack.kill("activation")
        self.stack.wait_restarted("activation", pid)
        self.stack.wait_ready()
        self.whole(owner, path, devices, "device.rotate-code")
        self.stack.psql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'running'; NOTIFY cradle_work")
        self.whole(owner, held, devices[:1], "device.suspend")

    def test_two_services_move_each_device_once(self):
        other = self.stack.second_activation()
        self.addCleanup(other.stop)
        owner, second = self.organization("maker", "owner"), self.organization("maker", "owner")
        devices, few = self.fleet(owner, 3 * CHUNK), self.fleet(second, 2)
        with self.stack.locked(self.lock(devices[CHUNK])):
            held = self.begin(owner, "suspend", devices)
            self.stands_at(held, CHUNK)
            self.whole(second, self.begin(second, "suspend", few), few, "device.suspend")
        self.whole(owner, held, devices, "device.suspend")

    def test_a_device_that_changes_meanwhile_is_judged_as_it_is_then(self):
        owner = self.organization("maker", "owner")
        devices = self.fleet(owner, 3)
        with self.stack.locked(f"UPDATE device SET service = 'suspended' WHERE dev_eui = {self.literal(devices[1])}", "COMMIT"):
            path = self.begin(owner, "suspend", devices)
            self.stands_at(path, 0)
        job = self.ended(owner, path)
        self.assertEqual((job["moved"], job["refused"]), (2, 1))
        self.assertEqual([row.get("reason") for row in self.report(owner, path)], [None, "service", None])

    def test_a_device_that_never_stays_as_it_is_holds_up_nobody_else(self):
        owner, second = self.organization("maker", "owner"), self.organization("maker", "owner")
        devices, few = self.fleet(owner, 2), self.fleet(second, 2)
        self.stack.psql("CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
                        "CREATE TRIGGER refuse BEFORE UPDATE ON device FOR EACH ROW "
                        f"WHEN (OLD.dev_eui = {self.literal(devices[1])}) EXECUTE FUNCTION public.refuse()")
        try:
            path = self.begin(owner, "suspend", devices)
            self.whole(second, self.begin(second, "suspend", few), few, "device.suspend")
            support.wait_until(lambda: self.stack.psql(
                f"SELECT 1 FROM job WHERE public_id = '\\x{path.rpartition('/')[2]}' AND state = 'waiting' AND turn > 0 "
                "AND lease_until > now() AND line = 0"), support.READY_SECONDS, "it rests")
        finally:
            self.stack.psql("DROP TRIGGER refuse ON device; DROP FUNCTION public.refuse()")
        self.stack.psql("UPDATE job SET lease_until = now() WHERE state = 'waiting'")
        self.whole(owner, path, devices, "device.suspend")

    def test_a_cancelled_job_stops_at_the_next_chunk(self):
        owner = self.organization("maker", "owner")
        devices = self.fleet(owner, 4 * CHUNK)
        with self.stack.locked(self.lock(devices[CHUNK])):
            path = self.begin(owner, "suspend", devices)
            self.stands_at(path, CHUNK)
            behind = self.begin(owner, "resume", devices)
            self.assertEqual(owner.call("delete", behind)[0], 204)
            self.assertEqual(owner.call("get", behind)[2]["state"], "cancelled")
            # The chunk in hand has the job's row: the call waits for it.
            sender = subprocess.Popen(
                ["curl", "-sS", "-o", os.devnull, "-w", "%{http_code}", "-X", "DELETE", "-H",
                 f"Authorization: Bearer {owner.token}", self.stack.activation_url + path], stdout=subprocess.PIPE)
            support.wait_until(lambda: self.stack.psql(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' HAVING count(*) = 2"),
                support.READY_SECONDS, "the cancelling waits")
        self.assertEqual(sender.communicate()[0], b"204")
        job = self.ended(owner, path, "cancelled")
        self.assertIn(job["line"], (2 * CHUNK, 3 * CHUNK))
        self.assertEqual([row["dev_eui"] for row in self.report(owner, path)], devices[:job["line"]])
        self.assertEqual(self.states(devices), [["suspended"]] * job["line"] + [["active"]] * (len(devices) - job["line"]))
        self.assertEqual(self.stack.psql("SELECT count(*) FROM move_device"), [["0"]])
        self.assertEqual(owner.call("delete", path)[0], 409)

    def test_nothing_goes_on_for_a_client_that_was_revoked(self):
        owner = self.organization("maker", "owner")
        devices = self.fleet(owner, 1)
        with self.stack.locked(self.lock(devices[0])):
            self.stands_at(self.begin(owner, "rotate-code", devices), 0)
            path = self.begin(owner, "suspend", devices)
            self.stack.psql(f"UPDATE client SET revoked_at = now() WHERE id = '\\x{owner.client['client_id']}'")
        admin = Rest(self.stack, self.stack.demo["clients"]["admin"])
        self.assertEqual(self.ended(admin, path, "failed")["fault"], "the client that asked for it was revoked")
        self.assertEqual(self.states(devices), [["active"]])
