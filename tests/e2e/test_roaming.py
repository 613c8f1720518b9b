"""Roaming agreements: who may have whose devices join away from home, who is told who is home, what the owner of a
device makes of it, and what becomes known of a refusal."""

import contextlib
import json
import secrets
import threading

import lorawan
import support
from test_accounts import Rest
from test_devices import DevicesTest
from test_gate import Session

SOON_S = 20
LONG_AGO, A_MONTH_LATER, FAR_AWAY = "2020-01-01T00:00:00Z", "2020-02-01T00:00:00Z", "2999-01-01T00:00:00Z"
HIDDEN = {"JoinReq": "UnknownDevEUI", "HomeNSReq": "NoRoamingAgreement"}


def code(answer):
    return answer[1]["Result"]["ResultCode"]


class RoamingTest(DevicesTest):
    def setUp(self):
        super().setUp()
        self.operator = Rest(self.stack, self.stack.demo["clients"]["operator"])
        self.visited = self.stack.server(support.OTHER)
        self.home = "0" + secrets.token_hex(3)[1:]  # nobody else's: tests share the join server
        self.removed = contextlib.ExitStack()
        self.addCleanup(self.removed.close)

    def call(self, method, path, body=None, status=200, rest=None):
        got, _, answer = (rest or self.operator).call(method, f"/v1/roaming/{path}", body)
        self.assertEqual(got, status, answer)
        return answer

    def agree(self, **members):
        if "group" not in members:
            members = {"home_net_id": self.home, "visited_net_id": support.OTHER, **members}
        made = self.call("post", "agreements", members, 201)
        self.removed.callback(self.operator.call, "delete", f"/v1/roaming/agreements/{made['id']}")
        return made

    def at_home(self, version="1.0.4"):
        """A device of the owner's whose home network is self.home."""
        return self.sold(version, home=self.home)

    def ask_home(self, device, server=None, version="1.0", dev_eui=None):
        server = server or self.visited
        return self.stack.post_join(
            {"ProtocolVersion": version, "SenderID": server["net_id"], "MessageType": "HomeNSReq",
             "ReceiverID": support.DEMO_JOIN_EUI, "TransactionID": 5, "DevEUI": dev_eui or device["dev_eui"]},
            token=server["token"])

    def ask_join(self, device, nonce=7, **changes):
        return self.stack.post_join(
            lorawan.join_req(device, nonce, self.visited["net_id"], **changes), token=self.visited["token"])

    def wait_told(self, device):
        """Until the visited network is told who is home: the join server knows of the agreement."""
        support.wait_until(lambda: code(self.ask_home(device)) == "Success", SOON_S, "the agreement is known")

    def wait_not_told(self, device):
        support.wait_until(lambda: code(self.ask_home(device)) != "Success", SOON_S, "the end is known")

    def refusals(self, rest, **members):
        page = self.call("get", "refusals?limit=1000", rest=rest)
        items = [item for item in page["items"] if item.get("home_net_id") == self.home]
        return [item for item in items if members.items() <= item.items()]

    def wait_refused(self, device, reason, service="home_ns"):
        """Asks until a refusal for that reason is counted: never anything else than the answer to a stranger."""
        def counted():
            answer = self.ask_home(device) if service == "home_ns" else self.ask_join(device)
            self.assertEqual(code(answer), HIDDEN["HomeNSReq" if service == "home_ns" else "JoinReq"])
            return self.refusals(self.owner, reason=reason, service=service)
        return support.wait_until(counted, SOON_S, f"a refusal: {reason}")[0]


class Away(RoamingTest):
    def test_a_device_joins_in_a_visited_network_with_keys_for_that_one(self):
        for version in ("1.0.3", "1.1"):
            device = self.at_home(version)
            self.assertEqual(code(self.ask_join(device)), "UnknownDevEUI")
            self.agree()
            self.wait_told(device)
            # cradle-device takes the answer apart as the visited network server, its application server and the device.
            joined = self.stack.join(device, server=self.visited, dev_nonce=9)
            self.assertTrue(joined["agree"], joined)
            event = self.stack.psql("SELECT sender_id, encode(net_id, 'hex') FROM join_event WHERE outcome = 'success' "
                                    f"AND dev_eui = '\\x{device['dev_eui']}'")
            self.assertEqual(event, [[support.OTHER, support.OTHER]])
            self.removed.close()
            self.wait_not_told(device)
            self.assertEqual(code(self.ask_join(device, 10)), "UnknownDevEUI")

    def test_its_retry_is_answered_alike_and_a_replay_is_none(self):
        device = self.at_home()
        self.agree()
        self.wait_told(device)
        first, again = self.ask_join(device), self.ask_join(device)
        self.assertEqual((code(first), first[1]["PHYPayload"]), ("Success", again[1]["PHYPayload"]))
        self.assertEqual(code(self.ask_join(device, dev_addr="26000009")), "JoinReqFailed")

    def test_of_two_networks_that_heard_one_frame_the_first_has_the_join(self):
        device = self.sold("1.0.4", home=support.HOME)
        self.agree(home_net_id=support.HOME)
        self.wait_told(device)
        home = lambda nonce: self.stack.post_join(lorawan.join_req(device, nonce, support.HOME))
        self.assertEqual([code(self.ask_join(device, 7)), code(home(7)), code(home(8)), code(self.ask_join(device, 8))],
                         ["Success", "JoinReqFailed", "Success", "JoinReqFailed"])
        self.removed.close()  # the home network is not this test's alone
        self.wait_not_told(device)

    def test_a_blocked_device_is_told_to_who_may_have_it_join_and_only_behind_its_mic(self):
        device = self.at_home()
        self.agree()
        self.wait_told(device)
        self.update(device, "service = 'suspended'")
        self.assertEqual(code(self.ask_join(device)), "ActivationDisallowed")
        wrong = lorawan.join_req(device, 7, support.OTHER)
        wrong["PHYPayload"] = wrong["PHYPayload"][:-8] + "00000000"
        self.assertEqual(code(self.stack.post_join(wrong, token=self.visited["token"])), "MICFailed")

    def test_an_agreement_that_has_ended_or_not_begun_is_none(self):
        for times, reason in (({"starts_at": LONG_AGO, "ends_at": A_MONTH_LATER}, "ended"), ({"starts_at": FAR_AWAY}, "not_begun")):
            device = self.at_home()
            made = self.agree(**times)
            self.assertEqual(made["state"], reason)
            for service in ("home_ns", "activation"):
                self.wait_refused(device, reason, service)
            # It begins, or goes on, with a change of its times.
            changed = self.call("patch", f"agreements/{made['id']}", {"starts_at": LONG_AGO, "ends_at": None})
            self.assertEqual((changed["state"], changed["ends_at"]), ("running", None))
            self.wait_told(device)
            self.assertEqual(code(self.ask_join(device)), "Success")
            self.call("delete", f"agreements/{made['id']}", status=204)
            self.wait_not_told(device)

    def test_what_is_allowed_is_allowed_and_nothing_else(self):
        device = self.at_home()
        made = self.agree(allows=["home_ns"])
        self.wait_told(device)
        join = self.wait_refused(device, "not_allowed", "activation")["explanation"]
        self.assertIn("HomeNSReq alone", join["why"])
        self.call("patch", f"agreements/{made['id']}", {"allows": ["activation"]})
        self.wait_not_told(device)
        told = self.wait_refused(device, "not_allowed", "home_ns")["explanation"]
        self.assertIn("asked who is home", told["what"])
        self.assertIn("joins alone", told["why"])
        self.assertIn("--allows activation,home_ns", told["do"])
        self.assertEqual(code(self.ask_join(device)), "Success")

    def test_a_pair_has_a_direction_unless_it_is_both_ways(self):
        device = self.at_home()
        made = self.agree(home_net_id=support.OTHER, visited_net_id=self.home)
        self.wait_refused(device, "no_agreement")
        self.call("patch", f"agreements/{made['id']}", {"both_ways": True})
        self.wait_told(device)

    def test_networks_of_a_group_agree_as_long_as_they_are_in_it(self):
        device, name = self.at_home(), f"group {secrets.token_hex(4)}"
        made = self.call("post", "groups", {"name": name, "net_ids": [support.OTHER, self.home, "0000a1"]}, 201)
        self.assertEqual(made["net_ids"], sorted([support.OTHER, self.home, "0000a1"]))
        path = f"groups/{name.replace(' ', '%20')}"
        self.wait_refused(device, "no_agreement")
        agreed = self.agree(group=name)
        self.assertEqual((agreed["group"], agreed["home_net_id"], agreed["both_ways"]), (name, None, True))
        self.wait_told(device)
        self.assertEqual(code(self.ask_join(device)), "Success")
        self.call("patch", path, {"net_ids": [self.home, "0000a1"]})
        self.wait_not_told(device)
        self.assertIn("agreement", self.call("delete", path, status=409)["detail"])
        self.removed.close()
        self.call("delete", path, status=204)
        self.call("get", path, status=404)


    def test_a_group_has_as_many_networks_as_there_may_be(self):
        device, name, others = self.at_home(), f"g{secrets.token_hex(4)}", [f"{i:06x}" for i in range(0xe00000, 0xe00000 + 998)]
        body = {"name": name, "net_ids": [*others, support.OTHER, self.home]}
        self.assertEqual(self.call("post", "groups", {**body, "net_ids": [*body["net_ids"], "e10000"]}, 400)["field"], "net_ids")
        made = self.call("post", "groups", body, 201)
        self.removed.callback(self.operator.call, "delete", f"/v1/roaming/groups/{name}")
        self.assertEqual(made["net_ids"], sorted(body["net_ids"]))
        self.agree(group=name)
        self.wait_told(device)
        self.assertEqual(self.call("patch", f"groups/{name}", {"net_ids": body["net_ids"]}), made)


class Home(RoamingTest):
    def test_a_visited_network_is_told_the_home_network_and_in_1_1_its_server(self):
        device, ns_id = self.at_home("1.1"), secrets.token_hex(8)
        status, _, server = self.operator.call("post", "/v1/network-servers", {
            "name": f"home {self.home}", "net_ids": [self.home], "ns_ids": [ns_id]})
        self.assertEqual(status, 201, server)
        self.removed.callback(self.operator.call, "delete", f"/v1/network-servers/home%20{self.home}")
        self.agree(allows=["home_ns"])
        self.wait_told(device)
        support.wait_until(lambda: self.ask_home(device, version="1.1")[1].get("HNSID") == ns_id, SOON_S, "the server is known")
        for version, named in (("1.0", None), ("1.1", ns_id)):
            _, answer = self.ask_home(device, version=version)
            self.assertEqual((answer["HNetID"], answer.get("HNSID")), (self.home, named))
        # The owner changes the home network, and the answer follows at once: nobody has agreed with that one.
        self.update(device, "home_net_id = '\\x0000ab'")
        self.assertEqual(code(self.ask_home(device)), "NoRoamingAgreement")

    def test_every_no_is_the_same_answer(self):
        """Whatever is the reason, to the byte but for the transaction."""
        devices = {name: self.at_home() for name in ("no agreement", "narrowed", "unclaimed", "delivered")}
        for home_net in ("0000a2", "0000a3"):
            devices[home_net] = self.sold("1.0.4", home=home_net)
        self.agree(home_net_id="0000a2", starts_at=LONG_AGO, ends_at=A_MONTH_LATER)
        self.agree(home_net_id="0000a3", starts_at=FAR_AWAY)
        self.update(devices["unclaimed"], "owner_id = NULL, ownership = 'unowned', service = 'inactive'")
        self.update(devices["delivered"], "credential = 'delivered'")
        self.update(devices["narrowed"], "roaming = ''")
        absent = {"dev_eui": "02cdcdfefefefe01", "join_eui": support.DEMO_JOIN_EUI, "app_key": "00" * 16, "nwk_key": None,
                  "mac_version": "1.0.4"}
        for ask, wanted in ((self.ask_home, "NoRoamingAgreement"), (self.ask_join, "UnknownDevEUI")):
            status, expected = ask(absent)
            self.assertEqual((status, expected["Result"]["ResultCode"]), (200, wanted))
            for name, device in devices.items():
                self.assertEqual(ask(device), (200, expected), name)


class Narrowed(RoamingTest):
    def patch(self, device, roaming, status=200):
        got, _, answer = self.owner.call("patch", f"/v1/devices/{device['dev_eui']}", {"roaming": roaming})
        self.assertEqual(got, status, answer)
        return answer

    def test_the_owner_narrows_and_widens_what_was_agreed(self):
        device = self.at_home()
        self.agree()
        self.wait_told(device)
        self.assertEqual(self.get(self.owner, device)["roaming"], "agreed")
        for roaming, said, told in (("none", "none", False), ([support.OTHER], [support.OTHER], True),
                                    ([], "none", False), (["0000A5", "0000a4", "0000a5"], ["0000a4", "0000a5"], False),
                                    ("agreed", "agreed", True)):
            self.assertEqual(self.patch(device, roaming)["roaming"], said)
            self.assertEqual(self.get(self.owner, device)["roaming"], said)
            self.assertEqual(self.get(self.owner, device, "/preflight")["roaming"], said)
            # At once: the device's record is read with each request.
            self.assertEqual(code(self.ask_home(device)), "Success" if told else "NoRoamingAgreement", roaming)
        details = self.stack.psql("SELECT detail ->> 'roaming' FROM audit_event WHERE action = 'device.bind' "
                                  f"AND object = '{device['dev_eui']}' ORDER BY id")
        self.assertEqual([json.loads(d) if d.startswith("[") else d for d, in details],
                         [[], [support.OTHER], [], ["0000a4", "0000a5"], "agreed"])

    def test_it_narrows_and_never_opens(self):
        device = self.at_home()
        self.patch(device, [support.OTHER])
        self.wait_refused(device, "no_agreement")
        self.wait_refused(device, "no_agreement", "activation")

    def test_what_is_no_choice_is_refused_by_its_name(self):
        device = self.at_home()
        for bad in ("all", "", None, 5, ["00001"], [5], ["000013"] * 17, {"none": True}):
            self.assertEqual(self.patch(device, bad, 400).get("field"), "roaming", bad)
        self.assertEqual(self.get(self.owner, device)["roaming"], "agreed")
        for rest in (self.maker, self.stranger):
            path = f"/v1/devices/{device['dev_eui']}"
            self.assertIn(rest.call("patch", path, {"roaming": "none"})[0], (403, 404))

    def test_a_narrowing_between_load_and_commit_wins(self):
        device, answers = self.at_home(), []
        self.agree()
        self.wait_told(device)
        with Session(self.stack) as holder:
            # The join can be loaded and computed, and its commit waits for this row.
            holder.run(f"BEGIN; SELECT 1 FROM device_join WHERE dev_eui = '\\x{device['dev_eui']}' FOR UPDATE")
            join = threading.Thread(target=lambda: answers.append(self.ask_join(device)))
            join.start()
            support.wait_until(
                lambda: self.stack.psql("SELECT 1 FROM pg_stat_activity WHERE usename = 'cradle_join' AND wait_event_type = 'Lock'"),
                SOON_S, "the commit waits")
            holder.run(f"UPDATE device SET roaming = '' WHERE dev_eui = '\\x{device['dev_eui']}'; COMMIT")
            join.join()
        self.assertEqual(code(answers[0]), "UnknownDevEUI")
        self.assertEqual(self.stack.psql(f"SELECT join_nonce FROM device_join WHERE dev_eui = '\\x{device['dev_eui']}'"), [["0"]])


class Refusals(RoamingTest):
    def test_both_sides_see_why_and_nobody_else(self):
        device = self.at_home()
        own = self.wait_refused(device, "no_agreement")
        self.assertEqual((own["sender_net_id"], own["service"], own["last_dev_eui"], own["organization"]),
                         (support.OTHER, "home_ns", device["dev_eui"], self.owner_organization["id"]))
        self.assertEqual(own["join_euis"], {"prefix": support.DEMO_JOIN_EUI[:6] + "0" * 10, "bits": 24})
        self.assertIn("agreement add", own["explanation"]["do"])
        seen = self.refusals(self.operator, reason="no_agreement")
        self.assertEqual(len(seen), 1)
        self.assertEqual({**seen[0], "count": 0, "last_at": ""}, {**own, "count": 0, "last_at": "", "last_dev_eui": None})
        self.assertEqual(self.refusals(self.stranger), [])
        for rest in (self.maker, self.admin, Rest(self.stack, self.stack.demo["clients"]["auditor"])):
            self.call("get", "refusals", status=403, rest=rest)
        # A new owner sees nothing of it, and the one of then still does.
        self.sell(device, self.organization(), home=self.home)
        self.assertEqual(len(self.refusals(self.owner)), 1)

    def test_joins_are_explained_to_the_owner_with_each_attempt(self):
        device = self.at_home()
        self.agree(starts_at=LONG_AGO, ends_at=A_MONTH_LATER)
        self.wait_refused(device, "ended", "activation")
        attempt = support.wait_until(
            lambda: [i for i in self.get(self.owner, device, "/joins")["items"]
                     if i["reason"] == "the roaming agreement with the sender has ended"], SOON_S, "the attempt is told")[0]
        self.assertIn(f"Network {support.OTHER} asked; the home network is {self.home}", attempt["explanation"]["why"])

    def test_refusals_alike_are_one_that_counts(self):
        devices = [self.at_home() for _ in range(3)]
        for _ in range(4):
            for device in devices:
                self.assertEqual(code(self.ask_home(device)), "NoRoamingAgreement")
        counted = support.wait_until(
            lambda: [r for r in self.refusals(self.owner) if r["count"] == 12], SOON_S, "all are counted")
        self.assertEqual(len(self.refusals(self.owner)), 1)
        self.assertLessEqual(counted[0]["first_at"], counted[0]["last_at"])

    def test_of_a_device_that_is_not_here_nothing_is_kept(self):
        before = self.stack.psql("SELECT coalesce(max(id), 0) FROM roaming_refusal")[0][0]
        self.assertEqual(code(self.ask_home(None, dev_eui="02cdcdfefefefe02")), "NoRoamingAgreement")
        self.wait_refused(self.at_home(), "no_agreement")  # what came later is there by now
        rows = self.stack.psql(f"SELECT DISTINCT encode(home_net_id, 'hex') FROM roaming_refusal WHERE id > {before}")
        self.assertEqual(rows, [[self.home]])


class Managed(RoamingTest):
    def test_an_agreement_is_made_seen_changed_listed_and_removed(self):
        made = self.agree(both_ways=True, allows=["home_ns"], starts_at=LONG_AGO)
        self.assertEqual({k: made[k] for k in ("home_net_id", "visited_net_id", "group", "both_ways", "allows", "state",
                                               "starts_at", "ends_at")},
                         {"home_net_id": self.home, "visited_net_id": support.OTHER, "group": None, "both_ways": True,
                          "allows": ["home_ns"], "state": "running", "starts_at": LONG_AGO, "ends_at": None})
        path = f"agreements/{made['id']}"
        self.assertEqual(self.call("get", path), made)
        self.assertEqual(self.call("patch", path, {"ends_at": A_MONTH_LATER})["state"], "ended")
        self.call("patch", path, {}, 400)
        self.call("patch", path, {"home_net_id": "000013"}, 400)
        listed, cursor = [], ""
        while cursor is not None:
            page = self.call("get", f"agreements?limit=2{cursor and '&cursor=' + cursor}")
            listed += [item["id"] for item in page["items"]]
            cursor = page["next"]
        self.assertIn(made["id"], listed)
        self.call("delete", path, status=204)
        for gone in (path, "agreements/0", "agreements/x", "agreements/99999999999999999999"):
            missing = f'there is no agreement "{gone[len("agreements/"):]}"'
            for method in ("get", "delete"):
                self.assertEqual(self.call(method, gone, status=404)["detail"], missing)
        actions = self.stack.psql(f"SELECT action FROM audit_event WHERE object = '{made['id']}' "
                                  "AND action LIKE 'roaming%' ORDER BY id")
        self.assertEqual([a for a, in actions], [f"roaming_agreement.{v}" for v in ("create", "change", "remove")])

    def test_what_is_no_agreement_is_refused_by_the_member_at_fault(self):
        pair = {"home_net_id": self.home, "visited_net_id": support.OTHER}
        for body, field in (
                ({}, "home_net_id"), ({"home_net_id": self.home}, "visited_net_id"), ({"visited_net_id": self.home}, "home_net_id"),
                ({**pair, "home_net_id": "13"}, "home_net_id"), ({**pair, "visited_net_id": self.home}, "visited_net_id"),
                ({**pair, "group": "g"}, "group"), ({"group": "none such"}, "group"), ({"group": "a/b"}, "group"),
                ({**pair, "allows": []}, "allows"), ({**pair, "allows": ["all"]}, "allows"),
                ({**pair, "starts_at": "now"}, "starts_at"), ({**pair, "ends_at": "2027-02-30T00:00:00Z"}, "ends_at"),
                ({**pair, "ends_at": LONG_AGO}, "ends_at"), ({**pair, "starts_at": FAR_AWAY, "ends_at": LONG_AGO}, "ends_at"),
                ({**pair, "both_ways": "yes"}, "both_ways")):
            self.assertEqual(self.call("post", "agreements", body, 400).get("field"), field, body)
        self.assertEqual(self.call("post", "agreements", {**pair, "gruop": "g"}, 400)["type"], "urn:cradle:problem:bad-request")

    def test_a_group_is_made_seen_changed_and_refused_by_the_member_at_fault(self):
        name = f"g{secrets.token_hex(4)}"
        made = self.call("post", "groups", {"name": name, "net_ids": ["0000B2", "0000b1", "0000b1"]}, 201)
        self.assertEqual(made["net_ids"], ["0000b1", "0000b2"])
        self.assertEqual(self.call("get", f"groups/{name}"), made)
        self.assertIn(made, self.call("get", "groups?limit=1000")["items"])
        self.call("post", "groups", {"name": name, "net_ids": ["0000b1", "0000b2"]}, 409)
        self.assertEqual(self.call("patch", f"groups/{name}", {"net_ids": ["0000b3", "0000b2"]})["net_ids"], ["0000b2", "0000b3"])
        for body, field in (({"net_ids": ["0000b1", "0000b2"]}, "name"), ({"name": "a/b", "net_ids": ["0000b1", "0000b2"]}, "name"),
                            ({"name": "n"}, "net_ids"), ({"name": "n", "net_ids": ["0000b1"]}, "net_ids"),
                            ({"name": "n", "net_ids": ["b1", "b2"]}, "net_ids")):
            self.assertEqual(self.call("post", "groups", body, 400).get("field"), field, body)
        self.call("delete", f"groups/{name}", status=204)
        gone = self.call("patch", f"groups/{name}", {"net_ids": ["0000b1", "0000b2"]}, 404)
        self.assertEqual(gone["detail"], f'there is no group "{name}"')
        unknown = self.call("post", "agreements", {"group": name}, 400)
        self.assertEqual((unknown["field"], unknown["detail"]), ("group", f'there is no group "{name}"'))

    def test_it_is_the_operators_alone(self):
        for rest in (self.owner, self.maker, self.admin):
            for path in ("agreements", "groups"):
                self.call("get", path, status=403, rest=rest)
                self.call("post", path, {}, 403, rest=rest)

    def test_the_command_does_it(self):
        name = f"g{secrets.token_hex(4)}"
        def cradle(*arguments):
            run = self.stack.cradle(*arguments)
            self.assertEqual(run.returncode, 0, run.stderr)
            return [json.loads(line) for line in run.stdout.splitlines()]
        made, = cradle("agreement", "add", "--home", self.home, "--visited", support.OTHER, "--starts-at", LONG_AGO,
                       "--ends-at", FAR_AWAY, "--allows", "home_ns")
        self.assertEqual((made["home_net_id"], made["allows"], made["state"]), (self.home, ["home_ns"], "running"))
        number = str(made["id"])
        changed, = cradle("agreement", "set", number, "--ends-at", "never", "--both-ways", "--allows", "activation,home_ns")
        self.assertEqual((changed["ends_at"], changed["both_ways"], changed["allows"]), (None, True, ["activation", "home_ns"]))
        self.assertIn(changed, cradle("agreement", "list"))
        self.assertEqual(cradle("agreement", "remove", number), [])
        self.assertEqual(cradle("group", "add", name, f"0000b1,{self.home}")[0]["net_ids"], sorted(["0000b1", self.home]))
        self.assertEqual(cradle("group", "set", name, "0000b1,0000b2")[0]["net_ids"], ["0000b1", "0000b2"])
        self.assertIn(name, [group["name"] for group in cradle("group", "list")])
        self.assertEqual(cradle("group", "remove", name), [])
        self.wait_refused(self.at_home(), "no_agreement")
        self.assertIn(self.home, [item.get("home_net_id") for item in cradle("refusals")])
        for arguments in (("agreement", "add"), ("agreement", "set", number), ("group", "add", name), ("refusals", "x"),
                          ("agreement", "set", number, "--home", self.home)):
            self.assertNotEqual(self.stack.cradle(*arguments).returncode, 0, arguments)
