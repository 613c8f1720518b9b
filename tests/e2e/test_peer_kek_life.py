"""The KEK of a network server and the one of an application server are replaced while devices join: no join is refused,
and each answer opens with the KEK whose label it names."""

import secrets
import threading

import lorawan
import support
from test_operator import OperatorTest
from test_peers import CHANGE_SECONDS

NET_ID = "0000c7"


class Joins:
    """Devices that join one after the other, without end; each answer as its receivers read it."""

    def __init__(self, case, token, devices, keks):
        self.case, self.token, self.devices, self.keks = case, token, devices, keks
        self.seen, self.failed = [], []  # (label of the network server's KEK, label of the application server's)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def run(self):
        nonce = 0
        while not self.stop.is_set() and not self.failed:
            nonce += 1
            for device in self.devices:
                status, answer = self.case.stack.post_join(lorawan.join_req(device, nonce, NET_ID), self.token)
                try:
                    self.seen.append(self.opened(device, nonce, status, answer))
                except (AssertionError, ValueError, KeyError) as error:
                    self.failed.append(f"{status} {answer}: {error!r}")

    def opened(self, device, nonce, status, answer):
        self.case.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"))
        accept = lorawan.open_accept(device, answer["PHYPayload"], nonce)
        keys = lorawan.session_keys(device, accept["join_nonce"], nonce, NET_ID)
        labels = []
        for name in ("NwkSKey", "AppSKey"):
            envelope = answer[name]
            label = envelope["KEKLabel"]
            opened = lorawan.unwrap(bytes.fromhex(self.keks[label]), bytes.fromhex(envelope["AESKey"]))
            self.case.assertEqual(opened, keys[name], name)
            labels.append(label)
        return tuple(labels)

    def under(self, labels, what):
        """Until three answers in a row are under these."""
        at = len(self.seen)
        support.wait_until(lambda: self.failed or (len(self.seen) > at + 3 and set(self.seen[-3:]) == {labels}),
                           CHANGE_SECONDS, what)
        self.case.assertEqual(self.failed, [])


class PeerKekLife(OperatorTest):
    def test_both_are_replaced_under_joins(self):
        _, made, _ = self.network_server(NET_ID)
        self.made("/v1/application-servers", {"as_id": "as-c7"})
        keks, paths = {}, {}
        for label, whose in (("ns-old", {"network_server": NET_ID}), ("as-old", {"application_server": "as-c7"})):
            paths[label], _, keks[label] = self.kek(label, **whose)
        devices = self.stack.devices("1.0.4", 2, NET_ID, "as-c7")
        with Joins(self, made["token"], devices, keks) as joins:
            joins.under(("ns-old", "as-old"), "devices join under the first KEKs")
            for old, new, whose, now in (("ns-old", "ns-new", {"network_server": NET_ID}, ("ns-new", "as-old")),
                                         ("as-old", "as-new", {"application_server": "as-c7"}, ("ns-new", "as-new"))):
                # What brings its own takes it into use; the old one stays beside it until it is removed.
                key = secrets.token_bytes(16)
                keks[new] = key.hex()
                paths[new], kek, _ = self.made("/v1/keks", {**whose, "label": new, "sealed": self.sealed(key), "length": 16})
                if not kek["current"]:
                    self.assertEqual(self.operator.call("patch", paths[new], {"current": True})[0], 200)
                joins.under(now, f"{new} wraps")
                self.assertEqual(self.operator.call("patch", paths[old], {"current": True})[0], 200)
                joins.under(tuple(old if label == new else label for label in now), f"{old} wraps once more")
                self.assertEqual(self.operator.call("patch", paths[new], {"current": True})[0], 200)
                joins.under(now, f"{new} wraps again")
                self.assertEqual(self.operator.call("delete", paths[old])[0], 204)
                joins.under(now, f"devices join without {old}")
        self.assertEqual(joins.failed, [])
        self.assertGreaterEqual(len(set(joins.seen)), 3)
        labels = self.stack.psql(f"SELECT label FROM kek WHERE peer_id IN ('{NET_ID}', 'as-c7') ORDER BY 1")
        self.assertEqual(labels, [["as-new"], ["ns-new"]])
