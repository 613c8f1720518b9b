"""Published conversations of other implementations, held with the running join server."""

import json
import os
import secrets
import subprocess
import unittest

import lorawan
import support

AS_ID = "vector-as"
NS_KEK_LABEL, AS_KEK_LABEL = "vector-ns", "vector-as"
NS_KEK_BYTES, AS_KEK_BYTES = 16, 32  # two sizes of KEK
CONVERSATIONS = {"V060": "1.0.2", "V061": "1.1"}
REJOINS = ("V054", "V055", "V057")
NETWORK_KEYS = ("FNwkSIntKey", "SNwkSIntKey", "NwkSEncKey")


def load():
    with open(os.path.join(support.ROOT, "tests/data/vectors.json"), encoding="utf-8") as file:
        vectors = json.load(file)["vectors"]
    return {v["id"]: v for v in vectors if v["id"] in (*CONVERSATIONS, *REJOINS)}


class Vectors(unittest.TestCase):
    """Both are about one network, one route and one device, which each test makes anew."""

    @classmethod
    def setUpClass(cls):
        cls.vectors = load()
        cls.stack = support.Stack("vectors")
        cls.addClassCleanup(cls.stack.stop)
        cls.stack.start()
        request = cls.vectors["V060"]["inputs"]["request"]
        net_id = request["SenderID"]
        cls.token = cls.command("ns", "add", "--name", "vectors", "--net-id", net_id)["token"]
        cls.command("as", "add", "--as-id", AS_ID)
        cls.ns_kek = cls.add_kek("--ns", net_id, NS_KEK_LABEL, NS_KEK_BYTES)
        cls.as_kek = cls.add_kek("--as", AS_ID, AS_KEK_LABEL, AS_KEK_BYTES)
        cls.command("route", "add", f"{request['ReceiverID']}/64")
        # The route was made last: when it is known, all of it is.
        support.wait_until(
            lambda: (cls.stack.post_join(dict(request, DevEUI=""), cls.token)[1] or {}).get(
                "Result", {}).get("ResultCode") == "MalformedRequest",
            support.READY_SECONDS, "the join server knows the network of the vectors")

    @classmethod
    def command(cls, *args):
        run = cls.stack.cradle(*args)
        if run.returncode != 0:
            raise AssertionError(f"cradle {args}: {run.stderr}")
        return json.loads(run.stdout)

    @classmethod
    def add_kek(cls, option, peer, label, n_bytes):
        kek, sealed = secrets.token_bytes(n_bytes), cls.stack.path(f"{label}.sealed")
        with open(sealed, "wb") as file:
            subprocess.run(
                ["openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", cls.stack.demo["exchange_key"],
                 "-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1", "-pkeyopt",
                 "rsa_mgf1_md:sha1"], input=kek, stdout=file, check=True)
        cls.command("kek", "add", option, peer, "--label", label, "--sealed", sealed, "--length",
                    str(n_bytes))
        return kek

    def import_device(self, device, version):
        keys = {"app_key": device["app_key"], "nwk_key": device["nwk_key"]}
        if version != "1.1":  # the one root key of 1.0; the source keeps it as its NwkKey
            keys = {"app_key": device["nwk_key"], "nwk_key": ""}
        join_eui = self.vectors["V060"]["inputs"]["request"]["ReceiverID"]
        row = {"dev_eui": device["dev_eui"], "join_eui": join_eui, **keys,
               "mac_version": version, "home_net_id": device["home_net_id"], "as_id": AS_ID}
        status, rows = self.stack.import_file(",".join(row) + "\n" + ",".join(row.values()) + "\n")
        self.assertEqual((status, rows[0]["outcome"]), (200, "created"), rows)
        self.addCleanup(self.remove_device, device["dev_eui"])
        self.stack.psql(f"UPDATE device_join SET join_nonce = {device['last_join_nonce']} "
                        f"WHERE dev_eui = '\\x{device['dev_eui']}'")

    def remove_device(self, dev_eui):
        for table in ("dev_nonce_page", "device_join", "device_key", "device"):
            self.stack.psql(f"DELETE FROM {table} WHERE dev_eui = '\\x{dev_eui}'")

    def hold(self, name, protocol_version="1.0"):
        vector = self.vectors[name]
        self.import_device(vector["inputs"]["device"], CONVERSATIONS[name])
        request = dict(vector["inputs"]["request"], ProtocolVersion=protocol_version)
        status, answer = self.stack.post_join(request, self.token)
        self.assertEqual(status, 200)
        wanted = dict(vector["expected"]["answer"], ProtocolVersion=protocol_version)
        for member, value in wanted.items():
            if not member.endswith("Key"):
                self.assertEqual(answer[member], value, member)
                continue
            label, kek = (AS_KEK_LABEL, self.as_kek) if member == "AppSKey" else (NS_KEK_LABEL, self.ns_kek)
            self.assertEqual(answer[member]["KEKLabel"], label)
            opened = lorawan.unwrap(kek, bytes.fromhex(answer[member]["AESKey"]))
            self.assertIsNotNone(opened, f"{member} does not open")
            self.assertEqual(opened.hex(), value["AESKey"], member)
        self.assertEqual({m for m in answer if m.endswith("Key")}, {m for m in wanted if m.endswith("Key")})

    def test_v060_a_join_of_1_0_2(self):
        self.hold("V060")

    def test_v061_a_join_of_1_1(self):
        self.hold("V061")

    def test_v061_over_protocol_1_1(self):
        self.hold("V061", "1.1")

    # --- rejoins ---

    def rejoining_device(self, last_join_nonce, **memory):
        """The 1.1 device of V054, V055 and V057 (they are of one), with this in its memory of joins."""
        inputs = self.vectors["V057"]["inputs"]
        device = {name: inputs[name] for name in ("dev_eui", "join_eui", "app_key", "nwk_key")}
        self.import_device(dict(device, home_net_id=inputs["net_id"], last_join_nonce=last_join_nonce), "1.1")
        for column, value in memory.items():
            self.stack.psql(f"UPDATE device_join SET {column} = {value} WHERE dev_eui = '\\x{device['dev_eui']}'")
        return dict(device, mac_version="1.1")

    def ask(self, message):
        status, answer = self.stack.post_join(message, self.token)
        self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"), answer)
        return answer

    def opened_keys(self, answer):
        return {name: lorawan.unwrap(self.as_kek if name == "AppSKey" else self.ns_kek,
                                     bytes.fromhex(answer[name]["AESKey"])).hex()
                for name in (*NETWORK_KEYS, "AppSKey")}

    def test_v054_and_v055_rejoins_of_each_type(self):
        keys, accepts = self.vectors["V054"], self.vectors["V055"]
        inputs = accepts["inputs"]
        wanted_keys = {wire: keys["expected"][name] for wire, name in (
            ("FNwkSIntKey", "f_nwk_s_int_key"), ("SNwkSIntKey", "s_nwk_s_int_key"),
            ("NwkSEncKey", "nwk_s_enc_key"), ("AppSKey", "app_s_key"))}
        before, dev_nonce, count = inputs["join_nonce"] - 1, 77, inputs["rjcount"]
        for rejoin_type in (0, 1, 2):
            for which in ("current", "pending"):
                with self.subTest(rejoin_type, which=which):
                    device = self.rejoining_device(before, rj_count1=count - 1, **{
                        f"{which}_join_type": lorawan.JOIN, f"{which}_join_nonce": before,
                        f"{which}_nonce": dev_nonce, f"{which}_net_id": f"'\\x{inputs['net_id']}'",
                        f"{which}_rj_count0": count - 1})
                    key = None
                    if rejoin_type != 1:
                        key = lorawan.session_keys(device, before, dev_nonce)["SNwkSIntKey"]
                    phy = lorawan.rejoin_request(device, rejoin_type, count, inputs["net_id"], key)
                    wanted = accepts["expected"][f"type{rejoin_type}"]
                    answer = self.ask(lorawan.rejoin_req(
                        device, phy, inputs["net_id"], dev_addr=inputs["dev_addr"],
                        DLSettings=inputs["dl_settings"], RxDelay=inputs["rx_delay"], CFList=wanted["cf_list"]))
                    self.assertEqual(answer["PHYPayload"], wanted["phy_payload_encrypted"])
                    self.assertEqual(self.opened_keys(answer), wanted_keys)
                    self.remove_device(device["dev_eui"])

    def test_v057_a_join_and_rejoins_in_sequence(self):
        vector = self.vectors["V057"]
        inputs, expected = vector["inputs"], vector["expected"]
        device = self.rejoining_device(65535)
        accept = inputs["steps"][0].partition("(")[2].rstrip(")")
        common = {"DLSettings": "95", "CFList": "988d8468958400000000000000000000"}
        answer = self.ask(lorawan.join_req(device, 258, inputs["net_id"], "01020304", **common))
        self.assertEqual(answer["PHYPayload"], accept)
        later = {"DLSettings": "80", "CFList": ""}
        for rejoin_type, dev_addr, changes in ((0, "01020305", common), (2, "01020305", later),
                                               (1, "01020306", later)):
            answer = self.ask(lorawan.rejoin_req(device, expected[f"rejoin{rejoin_type}"], inputs["net_id"],
                                                 dev_addr=dev_addr, **changes))
            self.assertEqual(answer["PHYPayload"], inputs[f"accept{rejoin_type}"], rejoin_type)
        self.assertEqual(self.opened_keys(answer), {name: expected[name] for name in (*NETWORK_KEYS, "AppSKey")})
