"""Claims by application servers, as The Things Stack makes them: over TLS with a client certificate, by the claim API
of The Things Join Server, answered in its words."""

import contextlib
import functools
import http.client
import json
import os
import re
import secrets
import ssl
import threading

import lorawan
import openapi
import support
from certificates import Ca
from key_scan import Needles
from test_accounts import Rest
from test_claims import CLIENT_BURST, NEW_CODE, ClaimTest, code_of_label

REFUSED = "claim failed with given owner token"
AT_ONCE = 20


class Cluster:
    """The claiming client of The Things Stack: what it sends, in its order and with its headers, and what it makes of
    the answer (pkg/deviceclaimingserver/enddevices/ttjsv2)."""

    def __init__(self, stack, as_id, identity):
        self.stack, self.as_id, self.identity = stack, as_id, identity
        self.net_id, self.ns_id = support.HOME, None
        self.last = None

    def connect(self):
        place = self.stack.demo["activation"]
        context = ssl.create_default_context(cafile=place["ca"])
        if self.identity is not None:
            context.load_cert_chain(self.identity["cert"], self.identity["key"])
        return http.client.HTTPSConnection("127.0.0.1", self.stack.activation_tls_port, context=context,
                                           timeout=support.HTTP_SECONDS)

    def exchange(self, method, path, body=None, connection=None, headers=()):
        """(status, JSON or None), held to the description."""
        with contextlib.ExitStack() as stack:
            connection = connection or stack.enter_context(contextlib.closing(self.connect()))
            connection.putrequest(method, path, skip_accept_encoding=True)
            connection.putheader("User-Agent", "Go-http-client/1.1")
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
                connection.putheader("Content-Type", "application/json")
            connection.putheader("Accept-Encoding", "gzip")
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            text = answer.read()
        openapi.description.hold(method, path, answer.status, answer.msg, text)
        self.last = answer
        return answer.status, json.loads(text) if text else None

    def put(self, dev_eui, token, **changes):
        """As its struct is written: no blanks, members in its order, none that is null."""
        body = {"ownerToken": token, "homeNetID": self.net_id.upper(), "homeNSID": self.ns_id, "asID": self.as_id,
                "regenerateOwnerToken": None, "lock": True, "kek": None}
        body = {name: value for name, value in {**body, **changes}.items() if value is not None}
        return self.exchange("PUT", f"/api/v2/devices/{dev_eui.upper()}/claim",
                             json.dumps(body, separators=(",", ":")).encode())

    def get(self, dev_eui, connection=None):
        return self.exchange("GET", f"/api/v2/devices/{dev_eui.upper()}/claim", connection=connection)

    def delete(self, dev_eui):
        return self.exchange("DELETE", f"/api/v2/devices/{dev_eui.upper()}/claim")

    def delete_all(self, *dev_euis):
        return self.exchange("DELETE", f"/api/v2/devices/{','.join(dev_euis).upper()}/claims")

    # --- what its user is told ---

    def claim(self, dev_eui, token):
        status, answer = self.put(dev_eui, token)
        if 200 <= status <= 299:
            return None
        if status == 400 or (status == 403 and answer["message"] != REFUSED):
            return "internal_error: " + answer["message"]
        return {403: "device_access_denied", 404: "device_not_provisioned", 401: "unauthenticated"}.get(status, f"http {status}")

    def unclaim(self, dev_eui):
        status, answer = self.delete(dev_eui)
        if 200 <= status <= 299:
            return None
        if status == 400:
            return "internal_error: " + answer["message"]
        return {403: "device_access_denied", 404: "device_not_claimed", 401: "unauthenticated"}.get(status, f"http {status}")

    def unclaim_all(self, *dev_euis):
        """None, or {DevEUI: message}."""
        status, answer = self.delete_all(*dev_euis)
        if 200 <= status <= 299:
            return None
        if status != 400:
            return f"http {status}"
        if isinstance(answer.get("message"), str) and answer["message"]:
            return "internal_error: " + answer["message"]
        return {eui.lower(): error["message"] for eui, error in answer.items() if re.fullmatch("[0-9A-Fa-f]{16}", eui)}


class TtjsTest(ClaimTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.admin = Rest(cls.stack, cls.stack.demo["clients"]["admin"])
        cls.operator = Rest(cls.stack, cls.stack.demo["clients"]["operator"])

    def setUp(self):
        self.folder = self.stack.path("ttjs", self.id())
        os.makedirs(os.path.dirname(self.folder), exist_ok=True)

    def organization(self):
        return self.admin.call("post", "/v1/organizations", {"name": f"cluster {secrets.token_hex(4)}"})[2]["id"]

    def client(self, organization, as_id, status=201):
        got, _, made = self.admin.call("post", f"/v1/organizations/{organization}/clients",
                                       {"roles": ["application_server"], "application_server": as_id, "name": "a cluster"})
        self.assertEqual(got, status, made)
        return made

    def cluster(self, organization=None, client=True):
        as_id = f"tts-{secrets.token_hex(4)}"
        ca, san = Ca(f"{self.folder}-{as_id}", "ca"), f"{as_id}.example"
        with open(ca.pem, encoding="ascii") as file:
            status, _, answer = self.operator.call("post", "/v1/application-servers",
                                                   {"as_id": as_id, "san": san, "ca": file.read()})
        self.assertEqual(status, 201, answer)
        cluster = Cluster(self.stack, as_id, ca.client("cluster", f"DNS:{san}"))
        cluster.ca, cluster.san, cluster.organization = ca, san, organization or self.organization()
        if client:
            cluster.client = self.client(cluster.organization, as_id)
        return cluster

    def owner_of(self, cluster):
        return Rest(self.stack, self.admin.call("post", f"/v1/organizations/{cluster.organization}/clients",
                                                {"roles": ["owner"]})[2])

    def taken(self, answer):
        status, claim = answer
        self.assertEqual(status, 200, claim)
        self.assertRegex(claim["ownerToken"], NEW_CODE)
        return claim

    def told(self, answer, status, message=None):
        self.assertEqual(answer[0], status, answer)
        self.assertEqual(set(answer[1]), {"message"})
        if message is not None:
            self.assertEqual(answer[1]["message"], message)

    def audit(self, dev_eui):
        return self.stack.psql("SELECT action, encode(client_id, 'hex'), detail->>'as_id' FROM audit_event "
                               f"WHERE object = '{dev_eui}' ORDER BY id")


class Claiming(TtjsTest):
    def test_a_claimed_device_joins_and_its_label_is_worthless(self):
        device, organization = self.device(), self.organization()
        self.client(organization, "demo-as")
        self.addCleanup(self.stack.psql, "UPDATE client SET revoked_at = now() WHERE revoked_at IS NULL AND peer_id IS NOT NULL "
                        "AND peer_id IN (SELECT id FROM peer WHERE name = 'demo-as')")
        cluster = Cluster(self.stack, "demo-as", self.stack.application_server())
        self.assertIsNone(cluster.claim(device["dev_eui"], device["code"]))
        joined = self.stack.join(dict(device, nwk_key=None, dev_nonce=1), tls=True)
        self.assertTrue(joined["agree"], joined)
        # And the application server has the same key for the asking, as the one that the claim named.
        question = {"ProtocolVersion": "1.0", "MessageType": "AppSKeyReq", "SenderID": "demo-as", "TransactionID": 1,
                    "ReceiverID": device["join_eui"], "DevEUI": device["dev_eui"], "SessionKeyID": device["dev_eui"] + "00000001"}
        place = self.stack.demo["join"]
        status, _, answer = support.https("POST", place["tls_url"], cluster.identity, place["ca"], json.dumps(question).encode(),
                                          {"Content-Type": "application/json"})
        answer = json.loads(answer)
        self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"), answer)
        self.assertEqual(answer["AppSKey"]["KEKLabel"], cluster.identity["kek_label"])
        self.assertIsNotNone(lorawan.unwrap(bytes.fromhex(cluster.identity["kek"]), bytes.fromhex(answer["AppSKey"]["AESKey"])))
        self.assertEqual(self.row(device, "ownership, service, generation, encode(home_net_id, 'hex'), as_id"),
                         ["claimed", "active", "2", support.HOME, "demo-as"])
        self.assertEqual(cluster.get(device["dev_eui"]), (200, {"homeNetID": support.HOME, "locked": True}))
        self.refused(self.claim(self.owner(), device["dev_eui"], device["code"]))

    def test_it_is_a_claim_as_any_other(self):
        device, cluster = self.device(), self.cluster()
        owner = self.owner_of(cluster)
        hook = owner.call("post", "/v1/webhooks", {"url": "https://receiver.example/", "events": ["device.claimed"]})[2]
        claim = self.taken(cluster.put(device["dev_eui"], device["code"]))
        self.assertEqual(cluster.last.headers["Cache-Control"], "no-store")
        self.assertEqual({name: claim[name] for name in ("homeNetID", "locked")}, {"homeNetID": support.HOME, "locked": True})
        client = cluster.client["client_id"]
        self.assertEqual(self.audit(device["dev_eui"])[-1], ["device.claim", client, cluster.as_id])
        self.assertEqual(self.stack.psql("SELECT encode(client_id, 'hex'), outcome FROM claim_event "
                                         f"WHERE dev_eui = '\\x{device['dev_eui']}'"), [[client, "claimed"]])
        told = self.stack.psql(f"SELECT type FROM webhook_delivery WHERE body LIKE '%{device['dev_eui']}%' AND webhook_id = "
                               f"(SELECT id FROM webhook WHERE public_id = '\\x{hook['id']}')")
        self.assertEqual(told, [["device.claimed"]])
        self.assertEqual(owner.call("delete", f"/v1/webhooks/{hook['id']}")[0], 204)
        # The owner has it over REST, too, and another code when he wants one.
        self.assertEqual(owner.call("get", f"/v1/devices/{device['dev_eui']}")[2]["as_id"], cluster.as_id)
        self.assertEqual(owner.call("post", f"/v1/devices/{device['dev_eui']}/rotate-code")[2]["generation"], 3)

    def test_what_is_refused_is_refused_alike(self):
        device, taken, quarantined, cluster = self.device(), self.device(), self.device(), self.cluster()
        self.taken(self.cluster().put(taken["dev_eui"], taken["code"]))
        self.stack.psql(f"UPDATE device SET trust = 'quarantined' WHERE dev_eui = '\\x{quarantined['dev_eui']}'")
        for tried, code in ((device, code_of_label()), (taken, taken["code"]), (quarantined, quarantined["code"]),
                            ({"dev_eui": secrets.token_hex(8)}, code_of_label())):
            self.told(cluster.put(tried["dev_eui"], code), 403, REFUSED)
            self.assertEqual(cluster.last.headers.get_content_type(), "application/json")
        self.assertEqual(cluster.claim(device["dev_eui"], code_of_label()), "device_access_denied")
        self.assertEqual((self.reasons(device), self.reasons(taken)), (["code", "code"], ["claimed", "taken"]))

    def test_a_claim_whose_answer_was_lost_is_made_again(self):
        device, cluster = self.device(), self.cluster()
        first = self.taken(cluster.put(device["dev_eui"], device["code"]))
        again = self.taken(cluster.put(device["dev_eui"], device["code"], regenerateOwnerToken=False))
        self.assertNotEqual(first["ownerToken"], again["ownerToken"])
        self.assertEqual(self.row(device, "ownership_epoch, generation"), ["1", "3"])
        # Not with another code, or for another network; nor once the code was made anew otherwise.
        for token, changes in ((first["ownerToken"], {}), (again["ownerToken"], {}), (device["code"], {"homeNetID": support.OTHER})):
            self.told(cluster.put(device["dev_eui"], token, **changes), 403, REFUSED)
        # What its owner has done since stands.
        owner, path = self.owner_of(cluster), f"/v1/devices/{device['dev_eui']}"
        for home in ({"home_net_id": support.OTHER, "as_id": cluster.as_id}, {"home_net_id": support.HOME, "as_id": "demo-as"},
                     {"home_net_id": None, "as_id": None}):
            self.assertEqual(owner.call("patch", path, home)[0], 200)
            self.told(cluster.put(device["dev_eui"], device["code"]), 403, REFUSED)
        self.assertEqual(self.row(device, "generation"), ["3"])
        owner.call("patch", path, {"home_net_id": support.HOME, "as_id": cluster.as_id})
        self.assertEqual(owner.call("post", path + "/rotate-code")[0], 200)
        self.told(cluster.put(device["dev_eui"], device["code"]), 403, REFUSED)
        self.assertEqual(self.row(device, "ownership_epoch, generation"), ["1", "4"])

    def test_a_lock_is_told_again_and_no_claim_is_taken_over_without(self):
        device, cluster, other = self.device(), self.cluster(), self.cluster()
        claim = self.taken(cluster.put(device["dev_eui"], device["code"], lock=False))
        self.assertFalse(claim["locked"])
        self.assertEqual(cluster.get(device["dev_eui"])[1], {"homeNetID": support.HOME, "locked": False})
        for token in (device["code"], claim["ownerToken"]):
            self.told(other.put(device["dev_eui"], token), 403, REFUSED)

    def test_an_nsid_is_one_of_the_network_s(self):
        device, cluster = self.device(), self.cluster()
        known = self.stack.home["ns_id"]
        cluster.ns_id = "70B3D57EDEADBEEF"
        self.assertRegex(cluster.claim(device["dev_eui"], device["code"]), "^internal_error: homeNSID ")
        cluster.ns_id = known.upper()
        self.assertEqual(self.taken(cluster.put(device["dev_eui"], device["code"]))["homeNSID"], known)
        self.assertEqual(cluster.get(device["dev_eui"])[1]["homeNSID"], known)
        # It is one of that network: where its owner binds the device to another, it is of nobody's.
        self.assertEqual(self.owner_of(cluster).call("patch", f"/v1/devices/{device['dev_eui']}", {
            "home_net_id": support.OTHER, "as_id": cluster.as_id})[0], 200)
        self.assertEqual(cluster.get(device["dev_eui"])[1], {"homeNetID": support.OTHER, "locked": True})

    def test_what_is_malformed_is_said(self):
        device, cluster = self.device(), self.cluster()
        path = f"/api/v2/devices/{device['dev_eui']}/claim"
        for changes, word in (({"ownerToken": "a/b"}, "ownerToken"), ({"ownerToken": "A" * 65}, "ownerToken"),
                              ({"homeNetID": "13"}, "homeNetID"), ({"homeNetID": "ABCDEF"}, "homeNetID"),
                              ({"homeNSID": "1"}, "homeNSID"), ({"lock": "yes"}, "lock")):
            answer = cluster.put(device["dev_eui"], **{"token": device["code"], **changes})
            self.told(answer, 400)
            self.assertIn(word, answer[1]["message"])
        for body in (b"", b"{", b"[]", b"{}", b'{"homeNetID":"000013"}'):
            self.told(cluster.exchange("PUT", path, body), 400)
        self.told(cluster.exchange("PUT", path + "?dry_run=true", b"{}"), 400)
        # No Sigfox device is claimed here, for it joins no network.
        for method in ("PUT", "GET", "DELETE"):
            for dev_eui in ("12", "00000000deadbeef", "sigfox:deadbeef"):
                self.told(cluster.exchange(method, f"/api/v2/devices/{dev_eui}/claim", b"{}" if method == "PUT" else None), 400,
                          "a DevEUI has 16 hexadecimal digits, and does not begin with 8 zeros")
        self.told(cluster.put(device["dev_eui"], device["code"], asID="demo-as"), 403,
                  "asID is not the application server of this certificate")
        self.assertEqual(cluster.exchange("POST", path, b"{}")[0], 405)
        self.assertEqual(self.reasons(device), [])
        # What a later client may say besides is overlooked, and who the caller is stands in the certificate.
        self.taken(cluster.put(device["dev_eui"], device["code"], asID="", profile={"a": [1]}))

    def test_a_body_that_is_too_large_is_not_read(self):
        cluster = self.cluster()
        path, body = f"/api/v2/devices/{secrets.token_hex(8)}/claim", json.dumps({"ownerToken": "A" * 40000}).encode()
        self.told(cluster.exchange("PUT", path, body), 413)
        place = self.stack.demo["activation"]
        status, headers, answer = support.https("PUT", place["tls_url"] + path, cluster.identity, place["ca"],
                                                iter([body]), {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
        openapi.description.hold("PUT", path, status, headers, answer)
        self.assertEqual(status, 413)

    def test_who_guesses_waits(self):
        device, cluster = self.device(), self.cluster()
        for _ in range(CLIENT_BURST):
            self.told(cluster.put(secrets.token_hex(8), code_of_label()), 403, REFUSED)
        self.told(cluster.put(device["dev_eui"], device["code"]), 429)
        self.assertGreaterEqual(int(cluster.last.headers["Retry-After"]), 1)
        self.assertEqual(self.reasons(device), [])
        self.taken(self.cluster().put(device["dev_eui"], device["code"]))
        self.stack.psql("DELETE FROM claim_limit WHERE scope = 4")


class Keks(TtjsTest):
    def keks(self, cluster):
        return self.stack.psql("SELECT label, is_current, class FROM kek WHERE peer_kind = "
                               f"'application_server' AND peer_id = '{cluster.as_id}' ORDER BY id")

    def test_a_kek_that_comes_with_a_claim_wraps_what_its_device_s_joins_give(self):
        device, other, cluster = self.device(), self.device(), self.cluster()
        key = secrets.token_hex(16)
        kek = {"label": "tts-1", "key": key.upper()}
        self.told(cluster.put(device["dev_eui"], code_of_label(), kek=kek), 403, REFUSED)
        self.assertEqual(self.keks(cluster), [])
        self.taken(cluster.put(device["dev_eui"], device["code"], kek=kek))
        self.assertEqual(self.keks(cluster), [["tts-1", "t", "as"]])
        (event,) = self.stack.psql("SELECT action, detail->>'label', encode(client_id, 'hex') FROM audit_event "
                                   f"WHERE detail->>'application_server' = '{cluster.as_id}' AND detail ? 'by_claim'")
        self.assertEqual(event, ["kek.create", "tts-1", cluster.client["client_id"]])

        def joined():
            answer = self.stack.join(dict(device, nwk_key=None, dev_nonce=1), as_kek=f"tts-1={key}")
            return answer if answer["result_code"] == "Success" else None
        self.assertTrue(support.wait_until(joined, support.READY_SECONDS, "the join server knows the KEK")["agree"])
        # It comes with every claim, and is the same; another key must have another label, and waits for the operator.
        self.taken(cluster.put(device["dev_eui"], device["code"], kek=kek))
        self.told(cluster.put(other["dev_eui"], other["code"], kek={"label": "tts-1", "key": secrets.token_hex(16)}), 400)
        self.assertEqual(self.reasons(other), [])
        self.taken(cluster.put(other["dev_eui"], other["code"], kek={"label": "tts-2", "key": secrets.token_hex(32)}))
        self.assertEqual(self.keks(cluster), [["tts-1", "t", "as"], ["tts-2", "f", "as"]])
        self.nowhere(key, secrets.token_hex(16))

    def nowhere(self, key, absent):
        needles = Needles({"kek": key, "absent": absent})
        self.assertEqual(needles.of(key.encode()), {"kek"})
        self.stack.psql("CHECKPOINT")
        (cluster,) = self.stack.psql("SHOW data_directory")[0]
        for tree in (cluster, self.stack.state):
            found, n_files = needles.in_tree(tree)
            self.assertGreater(n_files, 10)
            self.assertEqual(found, set())
        if os.geteuid() != 0:
            self.skipTest("only root may read the memory of a process that is not dumpable")
        (pid,) = self.stack.pids("activation")
        self.assertEqual(needles.in_process(pid)[0], set())

    def test_a_kek_that_cannot_be_is_refused(self):
        device, cluster = self.device(), self.cluster()
        for kek in ({"label": "a b", "key": "00" * 16}, {"label": "", "key": "00" * 16}, {"label": "x" * 65, "key": "00" * 16},
                    {"label": "a", "key": "00" * 15}, {"label": "a", "key": "00" * 33}, {"label": "a", "key": "x"}, {"label": "a"},
                    {"key": "00" * 16}, "a"):
            answer = cluster.put(device["dev_eui"], device["code"], kek=kek)
            self.told(answer, 400)
            self.assertIn("kek", answer[1]["message"])
        self.assertEqual((self.keks(cluster), self.reasons(device)), ([], []))


class Looking(TtjsTest):
    def test_what_is_not_ones_own_is_not_there(self):
        device, free, cluster, stranger = self.device(), self.device(), self.cluster(), self.cluster()
        self.taken(cluster.put(device["dev_eui"], device["code"]))
        unknown = secrets.token_hex(8)
        answers = [call(dev_eui) for dev_eui in (device["dev_eui"], free["dev_eui"], unknown)
                   for call in (stranger.get, stranger.delete)]
        self.assertEqual([answer for answer in answers if answer != answers[0]], [])
        self.told(answers[0], 404)
        self.assertEqual(stranger.unclaim_all(device["dev_eui"], free["dev_eui"], unknown),
                         dict.fromkeys((device["dev_eui"], free["dev_eui"], unknown), answers[0][1]["message"]))
        self.assertEqual(cluster.get(device["dev_eui"])[0], 200)

    def test_a_device_of_the_organization_s_other_cluster_is_not_this_one_s(self):
        device, cluster = self.device(), self.cluster()
        other = self.cluster(cluster.organization)
        self.taken(cluster.put(device["dev_eui"], device["code"]))
        for call in (other.get, other.delete):
            self.told(call(device["dev_eui"]), 403)
        self.assertEqual(other.unclaim(device["dev_eui"]), "device_access_denied")
        self.assertEqual(list(other.unclaim_all(device["dev_eui"])), [device["dev_eui"]])
        self.assertIsNone(cluster.unclaim(device["dev_eui"]))


class Releasing(TtjsTest):
    def test_what_its_owner_has_claimed_himself_is_not_a_cluster_s_to_release(self):
        device, cluster = self.device(), self.cluster()
        status, _, answer = self.owner_of(cluster).call(
            "post", "/v1/claims", {"dev_eui": device["dev_eui"], "code": device["code"], "home_net_id": support.HOME,
                                   "as_id": cluster.as_id})
        self.assertEqual(status, 200, answer)
        self.assertEqual(cluster.unclaim(device["dev_eui"]), "device_access_denied")
        self.assertEqual(list(cluster.unclaim_all(device["dev_eui"])), [device["dev_eui"]])
        self.assertEqual(self.row(device, "ownership"), ["claimed"])

    def test_a_label_s_code_finds_its_claim_again_for_a_day_alone(self):
        device, cluster = self.device(), self.cluster()
        self.taken(cluster.put(device["dev_eui"], device["code"]))
        self.taken(cluster.put(device["dev_eui"], device["code"]))
        self.stack.psql(f"UPDATE claim_code SET issued_at = now() - interval '25 hours' WHERE dev_eui = '\\x{device['dev_eui']}'")
        self.told(cluster.put(device["dev_eui"], device["code"]), 403, REFUSED)

    def test_a_released_device_is_the_next_one_s_by_its_new_code(self):
        device, cluster, heir = self.device(), self.cluster(), self.cluster()
        claimed = self.taken(cluster.put(device["dev_eui"], device["code"]))
        released = self.taken(cluster.delete(device["dev_eui"]))
        self.assertEqual(self.audit(device["dev_eui"])[-1],
                         ["device.release", cluster.client["client_id"], cluster.as_id])
        self.assertEqual(self.row(device, "ownership, service, home_net_id IS NULL, as_id IS NULL, owner_id IS NULL, generation"),
                         ["unowned", "inactive", "t", "t", "t", "3"])
        self.assertEqual(heir.unclaim(device["dev_eui"]), "device_not_claimed")
        for token in (device["code"], claimed["ownerToken"]):
            self.told(heir.put(device["dev_eui"], token), 403, REFUSED)
        self.taken(heir.put(device["dev_eui"], released["ownerToken"]))
        self.assertEqual(self.row(device, "ownership_epoch"), ["3"])

    def test_of_a_lost_code_its_former_owner_makes_another(self):
        device, cluster = self.device(), self.cluster()
        self.taken(cluster.put(device["dev_eui"], device["code"]))
        self.assertIsNone(cluster.unclaim_all(device["dev_eui"]))
        status, _, answer = self.owner_of(cluster).call("post", f"/v1/devices/{device['dev_eui']}/rotate-code")
        self.assertEqual(status, 200, answer)
        self.taken(cluster.put(device["dev_eui"], answer["code"]))

    def test_of_many_what_fails_is_told_and_the_rest_is_released(self):
        devices, cluster, other = self.devices(4), self.cluster(), self.cluster()
        for device in devices[:3]:
            self.taken(cluster.put(device["dev_eui"], device["code"]))
        self.taken(other.put(devices[3]["dev_eui"], devices[3]["code"]))
        self.stack.psql(f"UPDATE device SET trust = 'quarantined' WHERE dev_eui = '\\x{devices[1]['dev_eui']}'")
        unknown = secrets.token_hex(8)
        failed = cluster.unclaim_all(*(device["dev_eui"] for device in devices), unknown, devices[0]["dev_eui"])
        self.assertEqual(set(failed), {devices[1]["dev_eui"], devices[3]["dev_eui"], unknown})
        self.assertIn("quarantined", failed[devices[1]["dev_eui"]])
        self.assertEqual(failed[unknown], failed[devices[3]["dev_eui"]])
        self.assertEqual([self.row(device, "ownership")[0] for device in devices], ["unowned", "claimed", "unowned", "claimed"])
        self.assertEqual(cluster.unclaim(devices[1]["dev_eui"]), "http 409")

    def test_a_list_is_read_whole_before_anything_is_done(self):
        device, cluster = self.device(), self.cluster()
        self.taken(cluster.put(device["dev_eui"], device["code"]))
        for more in ("12", "", "x" * 16, "00000000deadbeef", *[",".join(secrets.token_hex(8) for _ in range(AT_ONCE))]):
            self.assertRegex(cluster.unclaim_all(device["dev_eui"], more), "^internal_error: ")
        self.assertEqual(self.row(device, "ownership"), ["claimed"])
        others = [secrets.token_hex(8) for _ in range(AT_ONCE - 1)]
        self.assertEqual(set(cluster.unclaim_all(device["dev_eui"], *others)), set(others))
        self.assertEqual(self.row(device, "ownership"), ["unowned"])

    def test_a_release_whose_commit_nobody_saw_is_answered_as_done(self):
        device, cluster, answers = self.device(), self.cluster(), []
        self.taken(cluster.put(device["dev_eui"], device["code"]))
        waiting = functools.partial(self.stack.waiting_at, "SyncRep", "claim_code")
        call = threading.Thread(target=lambda: answers.append(cluster.delete(device["dev_eui"])))
        with self.stack.standby_missing():
            call.start()
            pid = support.wait_until(waiting, support.READY_SECONDS, "the release waits")[0]
            self.stack.end_wait(pid, call)
        call.join()
        token = self.taken(answers[0])["ownerToken"]
        self.taken(self.cluster().put(device["dev_eui"], token))

    def test_a_release_that_no_standby_has_is_made_good_by_the_same_call(self):
        device, cluster, answers = self.device(), self.cluster(), []
        self.taken(cluster.put(device["dev_eui"], device["code"]))
        call = threading.Thread(target=lambda: answers.append(cluster.delete(device["dev_eui"])))
        with self.stack.standby_missing():
            call.start()
            waiting = functools.partial(self.stack.waiting_at, "SyncRep", "claim_code")
            pid = support.wait_until(waiting, support.READY_SECONDS, "the release waits")[0]
            for pid in self.stack.end_wait(pid, call):
                self.stack.psql(f"SELECT pg_terminate_backend({pid})")
            call.join()
        self.told(answers[0], 503)
        self.assertEqual(self.row(device, "ownership, generation"), ["unowned", "3"])
        token = self.taken(cluster.delete(device["dev_eui"]))["ownerToken"]
        self.assertEqual(self.row(device, "ownership_epoch, generation"), ["2", "4"])
        self.assertEqual(self.audit(device["dev_eui"])[-2:],
                         [[action, cluster.client["client_id"], cluster.as_id] for action in ("device.release", "device.reissue-code")])
        self.taken(self.cluster().put(device["dev_eui"], token))

    def test_a_release_is_made_again_by_who_made_it_within_a_day_and_as_long_as_the_code_is_its_own(self):
        devices, cluster, heir = self.devices(3), self.cluster(), self.cluster()
        for device in devices:
            self.taken(cluster.put(device["dev_eui"], device["code"]))
        lost, rotated, late = (device["dev_eui"] for device in devices)
        first = self.taken(cluster.delete(lost))["ownerToken"]
        status, answer = cluster.delete_all(lost, rotated, late)
        self.assertEqual((status, set(answer)), (200, {lost, rotated, late}))
        token = answer[lost]["ownerToken"]
        self.assertNotEqual(token, first)
        # Nobody else, not the organization's other cluster, either.
        for other in (heir, self.cluster(cluster.organization)):
            self.told(other.delete(lost), 404)
        status, _, made = self.owner_of(cluster).call("post", f"/v1/devices/{rotated}/rotate-code")
        self.assertEqual(status, 200, made)
        self.stack.psql(f"UPDATE claim_code SET released_at = now() - interval '25 hours' WHERE dev_eui = '\\x{late}'")
        self.assertEqual(set(cluster.unclaim_all(rotated, late)), {rotated, late})
        self.told(heir.put(lost, first), 403, REFUSED)
        for dev_eui, code in ((lost, token), (rotated, made["code"]), (late, answer[late]["ownerToken"])):
            self.taken(heir.put(dev_eui, code))
            self.told(cluster.delete(dev_eui), 404)

    def test_what_fails_here_is_said_so_and_nothing_is_done(self):
        device, cluster = self.device(), self.cluster()
        self.stack.psql("REVOKE SELECT, INSERT ON ttjs_claim FROM cradle_activation")
        try:
            for answer in (cluster.put(device["dev_eui"], device["code"]), cluster.get(device["dev_eui"]),
                           cluster.delete(device["dev_eui"]), cluster.delete_all(device["dev_eui"])):
                self.told(answer, 503)
                self.assertEqual(cluster.last.headers["Retry-After"], "1")
        finally:
            self.stack.psql("GRANT SELECT, INSERT ON ttjs_claim TO cradle_activation")
        self.assertEqual((self.row(device, "ownership"), self.reasons(device)), (["unowned"], []))
        self.taken(cluster.put(device["dev_eui"], device["code"]))

    def test_one_that_has_no_code_yet_gets_one(self):
        """A device that its maker brought in with its home, as fleets are that have joined elsewhere."""
        device = self.stack.device("1.0.3")
        (organization,) = self.stack.psql("SELECT encode(o.public_id, 'hex') FROM device d JOIN organization o ON o.id = owner_id "
                                          f"WHERE dev_eui = '\\x{device['dev_eui']}'")[0]
        cluster = self.cluster(organization)
        self.stack.psql(f"UPDATE device SET as_id = '{cluster.as_id}' WHERE dev_eui = '\\x{device['dev_eui']}'")
        self.taken(cluster.delete(device["dev_eui"]))
        self.assertEqual(self.row(device, "ownership, generation"), ["unowned", "1"])


class Identity(TtjsTest):
    def with_identity(self, cluster, identity):
        other = Cluster(self.stack, cluster.as_id, identity)
        return other.get(secrets.token_hex(8))

    def test_a_certificate_is_needed_here_and_nowhere_else(self):
        cluster, owner = self.cluster(), self.owner()
        place = self.stack.demo["activation"]
        stranger = Ca(f"{self.folder}-stranger", "ca").client("cluster", f"DNS:{cluster.san}")
        expired = cluster.ca.expired("old", f"DNS:{cluster.san}")
        server = self.stack.server(support.OTHER)
        nameless = cluster.ca.client("nameless", "DNS:nobody.example")
        for identity in (None, stranger, expired, nameless, server):
            self.told(self.with_identity(cluster, identity), 401)
            # None of them keeps anybody from the rest, which is known by its token.
            status, _, answer = support.https("GET", place["tls_url"] + "/v1/devices?limit=1", identity, place["ca"], None,
                                              {"Authorization": f"Bearer {owner.token}"})
            self.assertEqual(status, 200, answer)
        self.told(self.with_identity(cluster, cluster.identity), 404)
        # A token does not stand in for it, nor does a header, nor does a certificate for a token.
        token = Rest(self.stack, self.admin.call("post", f"/v1/organizations/{cluster.organization}/clients", {
            "roles": ["application_server"]})[2]).token
        path = f"/api/v2/devices/{secrets.token_hex(8)}/claim"
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-Client-Cert": f"DNS={cluster.san}"}
        for status, _, answer in (self.stack.activation("GET", path, None, headers),
                                  support.https("GET", place["tls_url"] + path, None, place["ca"], None, headers)):
            self.assertEqual((status, set(json.loads(answer))), (401, {"message"}))
        self.assertEqual(support.https("GET", place["tls_url"] + "/v1/devices", cluster.identity, place["ca"])[0], 401)

    def test_what_is_revoked_ends_at_once(self):
        dev_eui = secrets.token_hex(8)
        for revoke in (self.revoke_by_list, self.revoke_client, self.revoke_peer):
            cluster = self.cluster()
            with contextlib.closing(cluster.connect()) as connection:
                self.told(cluster.get(dev_eui, connection), 404)
                revoke(cluster)
                self.told(cluster.get(dev_eui, connection), 401)
            self.assertEqual(cluster.claim(dev_eui, code_of_label()), "unauthenticated")

    def revoke_by_list(self, cluster):
        with open(cluster.ca.pem, encoding="ascii") as ca, open(cluster.ca.crl(cluster.identity), encoding="ascii") as crl:
            status, _, answer = self.operator.call("patch", f"/v1/application-servers/{cluster.as_id}",
                                                   {"san": cluster.san, "ca": ca.read(), "crl": crl.read()})
        self.assertEqual(status, 200, answer)

    def revoke_client(self, cluster):
        self.assertEqual(self.admin.call(
            "delete", f"/v1/organizations/{cluster.organization}/clients/{cluster.client['client_id']}")[0], 204)

    def revoke_peer(self, cluster):
        self.assertEqual(self.operator.call("delete", f"/v1/application-servers/{cluster.as_id}")[0], 204)

    def test_the_command_makes_an_application_server_a_client(self):
        cluster = self.cluster(client=False)
        name, arguments = f"cluster {secrets.token_hex(4)}", ("--role", "application_server", "--application-server", cluster.as_id)
        run = self.stack.cradle("client", "add", "--organization", name, *arguments)
        self.assertEqual(run.returncode, 0, run.stderr)
        made = json.loads(run.stdout)
        self.assertEqual((made["application_server"], made["roles"]), (cluster.as_id, ["application_server"]))
        self.assertNotIn("client_secret", made)
        self.told(self.with_identity(cluster, cluster.identity), 404)
        run = self.stack.cradle("client", "list", "--organization", name)
        self.assertEqual(json.loads(run.stdout)["application_server"], cluster.as_id)
        run = self.stack.cradle("client", "add", "--organization", name, *arguments)
        self.assertEqual(run.returncode, 1)
        self.assertIn("another client already", run.stderr)

    def test_an_application_server_is_one_client_without_a_secret(self):
        cluster = self.cluster(client=False)
        self.told(self.with_identity(cluster, cluster.identity), 401)
        made = self.client(cluster.organization, cluster.as_id)
        self.assertEqual((made["application_server"], made["roles"]), (cluster.as_id, ["application_server"]))
        self.assertNotIn("client_secret", made)
        self.told(self.with_identity(cluster, cluster.identity), 404)
        path = f"/v1/organizations/{cluster.organization}/clients"
        self.assertEqual(self.admin.call("get", path)[2]["items"], [made])
        event = self.stack.psql(f"SELECT detail->>'application_server' FROM audit_event WHERE object = '{made['client_id']}'")
        self.assertEqual(event, [[cluster.as_id]])
        self.client(self.organization(), cluster.as_id, 409)
        for body, field in (({"roles": ["owner"], "application_server": cluster.as_id}, "roles"),
                            ({"roles": ["application_server", "owner"], "application_server": cluster.as_id}, "roles"),
                            ({"roles": ["application_server"], "application_server": "nobody"}, "application_server")):
            status, _, problem = self.admin.call("post", path, body)
            self.assertEqual((status, problem["field"]), (400, field), problem)
        # Once it is revoked, another client may be it; it comes back as a new peer without any.
        self.revoke_client(type("", (), {"organization": cluster.organization, "client": made}))
        self.client(self.organization(), cluster.as_id)
        self.told(self.with_identity(cluster, cluster.identity), 404)
