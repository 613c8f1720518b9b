"""Conversations with the join server: what is sent, by whom, about which device, and what must come back.

A row is one conversation, held in each protocol version it names. Everything that is true of all
answers (IDs swapped, transaction copied, codes of the version, keys only on success, a Join-Accept
that the device can open) is checked for every row.
"""

import base64
import contextlib
import http.client
import json
import unittest
import urllib.parse

import lorawan
import support
from test_gate import Session

V10, V11 = "1.0", "1.1"
BOTH = (V10, V11)

NONCE = 700
DEV_ADDR, OTHER_DEV_ADDR = "01020304", "26000001"
CF_LIST = "184f84e85684b85e84886684586e8400"
NS_ID, OTHER_NS_ID = "70b3d57ed0000001", "70b3d57ed0000002"  # of the demo's network servers
DEVICES_AT_ONCE = 40
BODY_LIMIT = 32 * 1024
MIC_FAILURES_MAX = 60  # a minute, before only one in four is checked
TRIES = 150  # of which one in four is checked: none of them, once in 10^18 runs
JOIN_NONCE_MAX = (1 << 24) - 1

MALFORMED = {V10: "MalformedRequest", V11: "MalformedMessage"}
REPLAYED = {V10: "JoinReqFailed", V11: "FrameReplayed"}
COMMON_CODES = {"Success", "MICFailed", "JoinReqFailed", "NoRoamingAgreement", "ActivationDisallowed",
                "UnknownDevEUI", "UnknownSender", "UnkownReceiver", "InvalidProtocolVersion",
                "FrameSizeError", "Other"}
CODES = {V10: COMMON_CODES | {"MalformedRequest"},
         V11: COMMON_CODES | {"MalformedMessage", "FrameReplayed"}}

HEADER = {"ProtocolVersion", "SenderID", "ReceiverID", "TransactionID", "MessageType", "Result",
          "ReceiverToken", "ReceiverNSID"}
KEYS_1_0 = {"NwkSKey", "AppSKey"}
KEYS_1_1 = {"SNwkSIntKey", "FNwkSIntKey", "NwkSEncKey", "AppSKey"}
JOIN_ANS = {"PHYPayload", "SessionKeyID", "Lifetime"}

# --- who asks: whose credentials, and the SenderID ---

WHO = {
    "home": ("bearer", support.HOME, support.HOME),
    "home, by Basic": ("basic", support.HOME, support.HOME),
    "another network": ("bearer", support.OTHER, support.OTHER),
    "another network as home": ("bearer", support.OTHER, support.HOME),
    "home as another network": ("bearer", support.HOME, support.OTHER),
    "home as nobody": ("bearer", support.HOME, "0000ff"),
    "an application server": ("as", None, support.HOME),
    "a stranger": ("wrong", None, support.HOME),
    "nobody": (None, None, support.HOME),
}

# --- states of the device. device, join: what is set in its rows; prior: the changes of a request
# --- that went before and was accepted, and its DevNonce ---

STATES = {
    "fresh": {},
    "not here": {"unknown": True},
    "unclaimed": {"unclaimed": True},
    "delivered": {"device": "credential = 'delivered'"},
    "scrapped": {"device": "credential = 'scrapped'"},
    "inactive": {"device": "service = 'inactive'"},
    "suspended": {"device": "service = 'suspended'"},
    "quarantined": {"device": "trust = 'quarantined'"},
    "no JoinNonce left": {"join": f"join_nonce = {JOIN_NONCE_MAX}"},
    "one JoinNonce left": {"join": f"join_nonce = {JOIN_NONCE_MAX - 1}"},
    "joined": {"prior": {"DevAddr": OTHER_DEV_ADDR}},
    "joined a moment ago": {"prior": {}},
    "joined before": {"prior": {}, "prior_nonce": NONCE - 1},
    "joined later": {"prior": {}, "prior_nonce": NONCE + 1},
    "suspended and joined": {"prior": {"DevAddr": OTHER_DEV_ADDR}, "device": "service = 'suspended'"},
    "suspended a moment ago": {"prior": {}, "device": "service = 'suspended'"},
    "database locked": {"locked": True},
}


def row(name, code, versions=BOTH, kind="JoinReq", mac="1.0.3", who="home", state="fresh", change=None,
        frame=None, http=None, status=200, must=(), absent=(), **equal):
    """`change` replaces members (None removes one); texts may name {dev_eui}, {phy} and so on, and
    their capitals. `frame` replaces fields of the PHYPayload, which is then signed. `http` is how it
    is sent. `code` is a ResultCode, one a version, or None for no message at all. `must`, `absent`:
    members of the answer. Further arguments: members and their values."""
    return dict(name=name, code=code, versions=versions, kind=kind, mac=mac, who=who, state=state,
                change=change or {}, frame=frame or {}, http=http or {}, status=status,
                must=set(must), absent=set(absent), equal=equal)




JOINS = [
    row("a join of 1.0.2", "Success", mac="1.0.2", must=JOIN_ANS | KEYS_1_0, absent=KEYS_1_1 - KEYS_1_0),
    row("a join of 1.0.3", "Success", mac="1.0.3", must=JOIN_ANS | KEYS_1_0, absent=KEYS_1_1 - KEYS_1_0),
    row("a join of 1.0.4", "Success", mac="1.0.4", must=JOIN_ANS | KEYS_1_0, absent=KEYS_1_1 - KEYS_1_0),
    row("a join of 1.1", "Success", mac="1.1", must=JOIN_ANS | KEYS_1_1, absent=["NwkSKey"]),
    row("a 1.1 device on a 1.0 network", "Success", mac="1.1", change={"DLSettings": "00"},
        must=JOIN_ANS | KEYS_1_0, absent=KEYS_1_1 - KEYS_1_0),
    row("a join with a CFList", "Success", change={"CFList": CF_LIST}),
    row("a join of 1.1 with a CFList", "Success", mac="1.1", change={"CFList": CF_LIST}),
    row("RX settings are in the accept", "Success", change={"DLSettings": "35", "RxDelay": 15}),
    row("a DevNonce above the last, counted", "Success", mac="1.0.4", state="joined before"),
    row("a DevNonce above the last, 1.1", "Success", mac="1.1", state="joined before"),
    row("a DevNonce below the last, random", "Success", mac="1.0.3", state="joined later"),
    row("an identical retry", "Success", state="joined a moment ago"),
    row("an identical retry, counted", "Success", mac="1.0.4", state="joined a moment ago"),
    row("an identical retry, 1.1", "Success", mac="1.1", state="joined a moment ago"),
    row("a retry with another TransactionID", "Success", state="joined a moment ago",
        change={"TransactionID": 99}),
    row("the last JoinNonce", "Success", state="one JoinNonce left"),
    row("a ReceiverID that is another JoinEUI of ours", "Success",
        change={"ReceiverID": support.SAMPLE_JOIN_EUI}),
]

REFUSALS = [
    # whose device
    row("a device that is not here", "UnknownDevEUI", state="not here"),
    row("a device that is not here, wrong MIC", "UnknownDevEUI", state="not here", frame={"mic": "00000000"}),
    row("an unclaimed device", "UnknownDevEUI", state="unclaimed"),
    row("a device that is only delivered", "UnknownDevEUI", state="delivered"),
    row("a scrapped device", "UnknownDevEUI", state="scrapped"),
    row("another network's device", "UnknownDevEUI", who="another network"),
    row("another network's device, wrong MIC", "UnknownDevEUI", who="another network",
        frame={"mic": "00000000"}),
    row("another network's suspended device", "UnknownDevEUI", who="another network", state="suspended"),
    row("a frame with another JoinEUI, ours", "UnknownDevEUI",
        frame={"join_eui": support.SAMPLE_JOIN_EUI}),
    row("a frame with another JoinEUI, not ours", "UnknownDevEUI", frame={"join_eui": "02cdcdffffffffff"}),
    # the MIC
    row("a wrong MIC", "MICFailed", frame={"mic": "00000000"}),
    row("a wrong MIC, counted", "MICFailed", mac="1.0.4", frame={"mic": "00000000"}),
    row("a wrong MIC, 1.1", "MICFailed", mac="1.1", frame={"mic": "00000000"}),
    row("a MIC by another key", "MICFailed", frame={"key": "00" * 16}),
    row("a MIC by the AppKey of a 1.1 device", "MICFailed", mac="1.1", frame={"key": "{app_key}"}),
    row("a wrong MIC of a suspended device", "MICFailed", state="suspended", frame={"mic": "00000000"}),
    row("a wrong MIC with a used DevNonce", "MICFailed", state="joined", frame={"mic": "00000000"}),
    row("a wrong MIC with no JoinNonce left", "MICFailed", state="no JoinNonce left",
        frame={"mic": "00000000"}),
    row("a wrong MIC with OptNeg for 1.0.3", "MICFailed", change={"DLSettings": "80"},
        frame={"mic": "00000000"}),
    # blocked
    row("an inactive device", "ActivationDisallowed", state="inactive"),
    row("a suspended device", "ActivationDisallowed", state="suspended"),
    row("a suspended device, 1.1", "ActivationDisallowed", mac="1.1", state="suspended"),
    row("a quarantined device", "ActivationDisallowed", state="quarantined"),
    row("a suspended device with a used DevNonce", "ActivationDisallowed", state="suspended and joined"),
    row("a retry after a suspension", "ActivationDisallowed", state="suspended a moment ago"),
    # nonces
    row("a used DevNonce, 1.0.2", REPLAYED, mac="1.0.2", state="joined"),
    row("a used DevNonce, 1.0.3", REPLAYED, mac="1.0.3", state="joined"),
    row("a used DevNonce, 1.0.4", REPLAYED, mac="1.0.4", state="joined"),
    row("a used DevNonce, 1.1", REPLAYED, mac="1.1", state="joined"),
    row("a DevNonce below the last, 1.0.4", REPLAYED, mac="1.0.4", state="joined later"),
    row("a DevNonce below the last, 1.1", REPLAYED, mac="1.1", state="joined later"),
    row("no JoinNonce left", "JoinReqFailed", state="no JoinNonce left"),
    row("no JoinNonce left, 1.1", "JoinReqFailed", mac="1.1", state="no JoinNonce left"),
    row("a retry with another DevAddr", REPLAYED, state="joined a moment ago",
        change={"DevAddr": "26000002"}),
    row("a retry with another RxDelay", REPLAYED, state="joined a moment ago", change={"RxDelay": 2}),
    row("a retry with a CFList", REPLAYED, state="joined a moment ago", change={"CFList": CF_LIST}),
    # addresses
    row("a ReceiverID that is not routed", "UnkownReceiver", change={"ReceiverID": "02cdcdffffffffff"}),
    row("a ReceiverID of a digit less", "UnkownReceiver", change={"ReceiverID": "2cdcd0000000001"}),
    row("a ReceiverID that is a NetID", "UnkownReceiver", change={"ReceiverID": "000013"}),
    row("a ReceiverID that is empty", "UnkownReceiver", change={"ReceiverID": ""}),
    row("no ReceiverID", "UnkownReceiver", change={"ReceiverID": None}),
    row("a SenderID of another network", "UnknownSender", who="home as another network"),
    row("a SenderID of the home network by another", "UnknownSender", who="another network as home"),
    row("a SenderID of nobody", "UnknownSender", who="home as nobody"),
    row("a SenderID without its zeros", "UnknownSender", change={"SenderID": "13"}),
    row("a SenderID of a digit less", "UnknownSender", change={"SenderID": "00013"}),
    row("a SenderID with zeros more", "UnknownSender", change={"SenderID": "00000013"}),
    row("a SenderID that is not hexadecimal", "UnknownSender", change={"SenderID": "home"}),
    row("a SenderID that is a number", "UnknownSender", change={"SenderID": 13}),
    row("no SenderID", "UnknownSender", change={"SenderID": None}),
    row("a strange SenderID wins over a strange ReceiverID", "UnknownSender",
        who="home as nobody", change={"ReceiverID": "02cdcdffffffffff"}),
    row("a strange SenderID wins over a malformed member", "UnknownSender", who="home as nobody",
        change={"DevAddr": "01"}),
    # members
    row("OptNeg for 1.0.2", MALFORMED, mac="1.0.2", change={"DLSettings": "80"}),
    row("OptNeg for 1.0.3", MALFORMED, mac="1.0.3", change={"DLSettings": "80"}),
    row("OptNeg for 1.0.4", MALFORMED, mac="1.0.4", change={"DLSettings": "80"}),
    row("no PHYPayload", MALFORMED, change={"PHYPayload": None}),
    row("an empty PHYPayload", MALFORMED, change={"PHYPayload": ""}),
    row("a PHYPayload that is null", MALFORMED, http={"null": "PHYPayload"}),
    row("a PHYPayload that is not hexadecimal", MALFORMED, change={"PHYPayload": "zz" * 23}),
    row("a PHYPayload of half a byte more", MALFORMED, change={"PHYPayload": "{phy}0"}),
    row("a PHYPayload that is a list", MALFORMED, change={"PHYPayload": [0, 1, 2]}),
    row("no DevEUI", MALFORMED, change={"DevEUI": None}),
    row("an empty DevEUI", MALFORMED, change={"DevEUI": ""}),
    row("a DevEUI of 7 bytes", MALFORMED, change={"DevEUI": "02cdcd02000000"}),
    row("a DevEUI that is not the frame's", MALFORMED, change={"DevEUI": "02cdcd03ffffffff"}),
    row("a DevEUI with dashes", MALFORMED, change={"DevEUI": "02-cd-cd-02-00-00-00-01"}),
    row("a DevEUI that is null", MALFORMED, http={"null": "DevEUI"}),
    row("no DevAddr", MALFORMED, change={"DevAddr": None}),
    row("a DevAddr of 3 bytes", MALFORMED, change={"DevAddr": "010203"}),
    row("a DevAddr that is a number", MALFORMED, change={"DevAddr": 16909060}),
    row("no DLSettings", MALFORMED, change={"DLSettings": None}),
    row("DLSettings of two bytes", MALFORMED, change={"DLSettings": "0000"}),
    row("DLSettings of half a byte", MALFORMED, change={"DLSettings": "0"}),
    row("DLSettings that are a number", MALFORMED, change={"DLSettings": 0}),
    row("an RxDelay of 16", MALFORMED, change={"RxDelay": 16}),
    row("a negative RxDelay", MALFORMED, change={"RxDelay": -1}),
    row("an RxDelay that is a text", MALFORMED, change={"RxDelay": "1"}),
    row("an RxDelay that is a fraction", MALFORMED, change={"RxDelay": 1.5}),
    row("a CFList of 15 bytes", MALFORMED, change={"CFList": CF_LIST[2:]}),
    row("a CFList of 17 bytes", MALFORMED, change={"CFList": CF_LIST + "00"}),
    row("a TransactionID that is a text", MALFORMED, change={"TransactionID": "7"}),
    row("a TransactionID that is a fraction", MALFORMED, change={"TransactionID": 7.5}),
    row("a TransactionID beyond 32 bits", MALFORMED, change={"TransactionID": 1 << 32}),
    row("a negative TransactionID", MALFORMED, change={"TransactionID": -1}),
    row("a SenderToken that is not hexadecimal", MALFORMED, change={"SenderToken": "t o"},
        absent=["ReceiverToken"]),
    # frames
    row("a frame of a byte more", "FrameSizeError", change={"PHYPayload": "{phy}00"}),
    row("a frame of a byte less", "FrameSizeError", change={"PHYPayload": "00" * 22}),
    row("a frame of the length of a rejoin", "FrameSizeError", change={"PHYPayload": "c0" + "00" * 18}),
    row("a frame of a kilobyte", "FrameSizeError", change={"PHYPayload": "00" * 1024}),
    row("a frame of a byte", "FrameSizeError", change={"PHYPayload": "00"}),
    row("a frame that is a Join-Accept", MALFORMED, frame={"mhdr": 0x20}),
    row("a frame that is a Rejoin-Request", MALFORMED, frame={"mhdr": 0xC0}),
    row("a frame that is an uplink", MALFORMED, frame={"mhdr": 0x40}),
    row("a frame of another major version", MALFORMED, frame={"mhdr": 0x01}),
    row("a frame with reserved bits", MALFORMED, frame={"mhdr": 0x1C}),
    # the server's own trouble
    row("the database does not answer in time", "Other", state="database locked"),
]

VERSIONS = [
    row("ProtocolVersion 2.0", "InvalidProtocolVersion", (V10,), change={"ProtocolVersion": "2.0"}),
    row("ProtocolVersion 1.2", "InvalidProtocolVersion", (V10,), change={"ProtocolVersion": "1.2"},
        ProtocolVersion="1.0"),
    row("ProtocolVersion 1", "InvalidProtocolVersion", (V10,), change={"ProtocolVersion": "1"}),
    row("ProtocolVersion 1.0.0", "InvalidProtocolVersion", (V10,), change={"ProtocolVersion": "1.0.0"}),
    row("ProtocolVersion as a number", "InvalidProtocolVersion", (V10,), change={"ProtocolVersion": 1.1}),
    row("an empty ProtocolVersion", "InvalidProtocolVersion", (V10,), change={"ProtocolVersion": ""}),
    row("no ProtocolVersion", "InvalidProtocolVersion", (V10,), change={"ProtocolVersion": None}),
    row("an unknown version wins over a strange sender", "InvalidProtocolVersion", (V10,),
        who="home as nobody", change={"ProtocolVersion": "3"}),
    row("1.0 has no ReceiverNSID", "Success", (V10,), change={"SenderNSID": NS_ID}, absent=["ReceiverNSID"]),
    row("1.0 takes a NetID as SenderNSID", "Success", (V10,), change={"SenderNSID": "000013"},
        absent=["ReceiverNSID"]),
    row("1.0 takes a long SenderNSID", "Success", (V10,), change={"SenderNSID": "ab" * 200},
        absent=["ReceiverNSID"]),
    row("1.0 takes a SenderNSID that is no hexadecimal", "Success", (V10,), change={"SenderNSID": "ns-1"},
        absent=["ReceiverNSID"]),
    row("1.0 takes a SenderNSID that is null", "Success", (V10,), http={"null": "SenderNSID"},
        absent=["ReceiverNSID"]),
    row("1.1 echoes the NSID", "Success", (V11,), change={"SenderNSID": NS_ID}, ReceiverNSID=NS_ID),
    row("1.1 echoes the NSID in a refusal", "MICFailed", (V11,), change={"SenderNSID": NS_ID},
        frame={"mic": "00000000"}, ReceiverNSID=NS_ID),
    row("1.1 echoes the NSID to a wrong sender", "UnknownSender", (V11,), who="home as nobody",
        change={"SenderNSID": NS_ID}, ReceiverNSID=NS_ID),
    row("1.1 reads an NSID in any spelling", "Success", (V11,), change={"SenderNSID": "0X" + NS_ID.upper()},
        ReceiverNSID=NS_ID),
    row("1.1 goes without an NSID", "Success", (V11,), absent=["ReceiverNSID"]),
    row("1.1 takes an empty NSID as none", "Success", (V11,), change={"SenderNSID": ""},
        absent=["ReceiverNSID"]),
    row("1.1 refuses a NetID as SenderNSID", MALFORMED, (V11,), change={"SenderNSID": "000013"},
        absent=["ReceiverNSID"]),
    row("1.1 refuses a SenderNSID of 9 bytes", MALFORMED, (V11,), change={"SenderNSID": NS_ID + "00"},
        absent=["ReceiverNSID"]),
    row("1.1 refuses a SenderNSID that is no hexadecimal", MALFORMED, (V11,), change={"SenderNSID": "ns-1"},
        absent=["ReceiverNSID"]),
    row("1.1 refuses a SenderNSID that is a number", MALFORMED, (V11,), change={"SenderNSID": 1},
        absent=["ReceiverNSID"]),
    row("another NSID is no other right", "UnknownDevEUI", (V11,), who="another network",
        change={"SenderNSID": OTHER_NS_ID}, ReceiverNSID=OTHER_NS_ID),
    row("an NSID of another network", "UnknownSender", (V11,), who="another network",
        change={"SenderNSID": NS_ID}, ReceiverNSID=NS_ID),
    row("an NSID of nobody", "UnknownSender", (V11,), change={"SenderNSID": "70b3d57ed00000ff"},
        ReceiverNSID="70b3d57ed00000ff"),
    row("1.0 has no NSID to be of nobody", "Success", (V10,), change={"SenderNSID": "70b3d57ed00000ff"},
        absent=["ReceiverNSID"]),
]

TOLERANCES = [
    row("hexadecimal with 0x everywhere", "Success",
        change={"SenderID": "0x{sender}", "ReceiverID": "0x{join_eui}", "DevEUI": "0x{dev_eui}",
                "PHYPayload": "0x{phy}", "DevAddr": "0x" + DEV_ADDR, "DLSettings": "0x00",
                "CFList": "0x" + CF_LIST}),
    row("hexadecimal with 0X everywhere", "Success",
        change={"SenderID": "0X{sender}", "ReceiverID": "0X{join_eui}", "DevEUI": "0X{dev_eui}",
                "PHYPayload": "0X{phy}", "DevAddr": "0X" + DEV_ADDR, "DLSettings": "0X00",
                "CFList": "0X" + CF_LIST}),
    row("upper case", "Success", change={"ReceiverID": "{JOIN_EUI}", "DevEUI": "{DEV_EUI}",
                                         "PHYPayload": "{PHY}", "CFList": CF_LIST.upper()}),
    row("0x with upper case", "Success", change={"DevEUI": "0x{DEV_EUI}", "PHYPayload": "0x{PHY}"}),
    row("mixed case", "Success", change={"CFList": "184F84e85684B85e84886684586E8400"}),
    row("members that nobody knows", "Success", change={"Foo": {"a": [1, None, True]}, "bar": 7}),
    row("members of a JoinAns in a JoinReq", "Success", change={"Result": {}, "Lifetime": 5}),
    row("member names go by their case", "Success", change={"deveui": "zz", "rxdelay": "x"}),
    row("no RxDelay", "Success", change={"RxDelay": None}),
    row("an RxDelay of 0", "Success", change={"RxDelay": 0}),
    row("no CFList", "Success", change={"CFList": None}),
    row("an empty CFList", "Success", change={"CFList": ""}),
    row("a CFList that is null", "Success", http={"null": "CFList"}),
    row("a MACVersion that is null", "Success", http={"null": "MACVersion"}),
    row("a SenderToken that is null", "Success", http={"null": "SenderToken"}, absent=["ReceiverToken"]),
    row("TransactionID 0", "Success", change={"TransactionID": 0}),
    row("the highest TransactionID", "Success", change={"TransactionID": (1 << 32) - 1}),
    row("a repeated TransactionID", "Success", mac="1.0.4", state="joined before",
        change={"TransactionID": NONCE - 1}),
    row("no TransactionID", "Success", change={"TransactionID": None}, TransactionID=0),
    *[row(f"MACVersion {text!r}", "Success", change={"MACVersion": text})
      for text in ("1.0", "1.0.0", "1.0.1", "1.0.2", "1.0.4", "1.1", "1.1.0", "1.1.1", "LW1.0.3", "")],
    row("no MACVersion", "Success", change={"MACVersion": None}),
    row("a MACVersion of 1.0 for a 1.1 device", "Success", mac="1.1", change={"MACVersion": "1.0.2"}),
    row("a SenderToken comes back", "Success", change={"SenderToken": "0aF0"}, ReceiverToken="0aF0"),
    row("a SenderToken comes back in a refusal", "MICFailed", change={"SenderToken": "77"},
        frame={"mic": "00000000"}, ReceiverToken="77"),
    row("a ReceiverToken is not ours to read", "Success", change={"ReceiverToken": "x"},
        absent=["ReceiverToken"]),
    row("a ReceiverNSID is not ours to read", "Success", change={"ReceiverNSID": "x"},
        absent=["ReceiverNSID"]),
    row("a VSExtension of an unknown vendor", "Success",
        change={"VSExtension": {"VendorID": "ec656e", "Object": {"x": [1]}}}, absent=["VSExtension"]),
    row("a VSExtension that is malformed", "Success", change={"VSExtension": 7}, absent=["VSExtension"]),
    row("Content-Type with a charset", "Success",
        http={"headers": {"Content-Type": "application/json; charset=utf-8"}}),
    row("another Content-Type", "Success", http={"headers": {"Content-Type": "text/plain"}}),
    row("no Content-Type", "Success", http={"headers": {"Content-Type": None}}),
    row("a path", "Success", http={"path": "api/v1/joins"}),
    row("a path with a slash behind it", "Success", http={"path": "api/v1/joins/"}),
    row("a path with a query", "Success", http={"path": "join?x=1"}),
    row("Expect: 100-continue", "Success", http={"headers": {"Expect": "100-continue"}}),
    row("a chunked body", "Success", http={"chunks": 7}),
    row("a chunked body of one-byte chunks", "Success", http={"chunks": 1}),
    row("blanks around the message", "Success", http={"before": b" \r\n\t", "after": b"\r\n "}),
    row("a byte order mark", "Success", http={"before": b"\xef\xbb\xbf"}),
    row("a message over many lines", "Success", http={"indent": 4}),
    row("escapes in texts", "Success", http={"escape": True}),
    row("Basic, with the token as password", "Success", who="home, by Basic"),
]

HOME_NS = [
    row("the home network asks", "Success", kind="HomeNSReq", HNetID=support.HOME,
        absent=JOIN_ANS | KEYS_1_0),
    row("the home network asks about 1.1", "Success", kind="HomeNSReq", mac="1.1", HNetID=support.HOME),
    row("about a device that has joined", "Success", kind="HomeNSReq", state="joined", HNetID=support.HOME),
    row("about a suspended device", "Success", kind="HomeNSReq", state="suspended", HNetID=support.HOME),
    row("about a quarantined device", "Success", kind="HomeNSReq", state="quarantined", HNetID=support.HOME),
    row("in capitals and with 0x", "Success", kind="HomeNSReq", change={"DevEUI": "0x{DEV_EUI}"},
        HNetID=support.HOME),
    row("with members that nobody knows", "Success", kind="HomeNSReq", change={"Foo": 1},
        HNetID=support.HOME),
    row("with a token", "Success", kind="HomeNSReq", change={"SenderToken": "0a"}, ReceiverToken="0a"),
    row("with an NSID", "Success", (V11,), kind="HomeNSReq", change={"SenderNSID": NS_ID},
        ReceiverNSID=NS_ID),
    row("1.1 names the one network server", "Success", (V11,), kind="HomeNSReq", HNetID=support.HOME,
        HNSID=NS_ID),
    row("1.0 names none", "Success", (V10,), kind="HomeNSReq", HNetID=support.HOME, absent=["HNSID"]),
    row("another network asks", "NoRoamingAgreement", kind="HomeNSReq", who="another network",
        absent=["HNetID", "HNSID"]),
    row("another network asks about a device that is not here", "NoRoamingAgreement", kind="HomeNSReq",
        who="another network", state="not here", absent=["HNetID"]),
    row("about a device that is not here", "NoRoamingAgreement", kind="HomeNSReq", state="not here",
        absent=["HNetID"]),
    row("about an unclaimed device", "NoRoamingAgreement", kind="HomeNSReq", state="unclaimed",
        absent=["HNetID"]),
    row("about a device that is only delivered", "NoRoamingAgreement", kind="HomeNSReq", state="delivered",
        absent=["HNetID"]),
    row("without a DevEUI", MALFORMED, kind="HomeNSReq", change={"DevEUI": None}),
    row("with a short DevEUI", MALFORMED, kind="HomeNSReq", change={"DevEUI": "02cdcd"}),
    row("with a SenderID of another network", "UnknownSender", kind="HomeNSReq",
        who="home as another network"),
    row("with a ReceiverID that is not routed", "UnkownReceiver", kind="HomeNSReq",
        change={"ReceiverID": "02cdcdffffffffff"}),
    row("while the database does not answer", "Other", kind="HomeNSReq", state="database locked"),
]

OTHER_MESSAGES = [
    row("an error is notified", None, (V11,), kind="ErrorNotif", who="home",
        change={"Result": {"ResultCode": "MICFailed"}}),
    row("an error is notified with anything in it", None, (V11,), kind="ErrorNotif",
        change={"PHYPayload": 7, "SenderNSID": "x", "DevEUI": []}),
    row("an error is notified by a SenderID of nobody", None, (V11,), kind="ErrorNotif",
        who="home as nobody"),
    row("an error is notified by a stranger", None, (V11,), kind="ErrorNotif", who="a stranger", status=401),
    row("1.0 has no ErrorNotif", MALFORMED, (V10,), kind="ErrorNotif", MessageType="JoinAns"),
    row("RejoinReq", MALFORMED, kind="RejoinReq"),
    row("AppSKeyReq by a network server", "UnknownSender", kind="AppSKeyReq"),
    row("HomeNSReq by an application server", "UnknownSender", kind="HomeNSReq", who="an application server"),
    row("RejoinReq by an application server", "UnknownSender", kind="RejoinReq", who="an application server"),
    row("an error is notified by an application server", "UnknownSender", (V11,), kind="ErrorNotif",
        who="an application server"),
    row("AppSKeyReq with an AS-ID that is not the peer's", "UnknownSender", kind="AppSKeyReq",
        change={"SenderID": "demo-as"}),
    row("an answer", MALFORMED, kind="JoinAns", MessageType="JoinAns"),
    row("a message between network servers", MALFORMED, kind="PRStartReq", MessageType="PRStartAns"),
    row("a message of no known type", MALFORMED, kind="FooReq", MessageType="FooAns"),
    row("a message type in lower case", MALFORMED, kind="joinreq", MessageType="JoinAns"),
    row("a message type with markup", MALFORMED, kind="<b>Req", MessageType="JoinAns"),
    row("no message type", MALFORMED, change={"MessageType": None}, MessageType="JoinAns"),
    row("a message type that is a number", MALFORMED, change={"MessageType": 1}, MessageType="JoinAns"),
]

TRANSPORT = [
    row("no credentials", None, (V10,), who="nobody", status=401),
    row("a token of nobody", None, (V10,), who="a stranger", status=401),
    row("an application server joins", "UnknownSender", who="an application server"),
    row("an application server joins under its AS-ID", "UnknownSender", who="an application server",
        change={"SenderID": "demo-as"}),
    row("an empty body", None, (V10,), http={"body": b""}, status=400),
    row("half a message", None, (V10,), http={"body": b'{"ProtocolVersion":"1.0"'}, status=400),
    row("a list", None, (V10,), http={"body": b"[]"}, status=400),
    row("a text", None, (V10,), http={"body": b'"JoinReq"'}, status=400),
    row("no JSON at all", None, (V10,), http={"body": b"<xml/>"}, status=400),
    row("more behind the message", None, (V10,), http={"after": b"{}"}, status=400),
    row("a member twice", None, (V10,), http={"body": b'{"ProtocolVersion":"1.0","ProtocolVersion":"1.0"}'},
        status=400),
    row("a member twice, deep inside", None, (V10,), http={"body": b'{"VSExtension":{"a":1,"a":2}}'}, status=400),
    row("text that is not UTF-8", None, (V10,), http={"body": b'{"ProtocolVersion":"\xff"}'}, status=400),
    row("a body beyond the limit", None, (V10,), http={"before": b" " * BODY_LIMIT}, status=413),
    row("a body just below the limit", "Success", http={"before": b" " * (BODY_LIMIT - 1024)}),
    row("PUT", None, (V10,), http={"method": "PUT"}, status=405),
    row("DELETE", None, (V10,), http={"method": "DELETE", "body": b""}, status=405),
    row("GET of no page", None, (V10,), http={"method": "GET", "path": "joins", "body": b""}, status=404),
]

FORMATTED = ("SenderID", "ReceiverID", "DevEUI", "PHYPayload", "DevAddr", "DLSettings", "CFList")


class Conversations(unittest.TestCase):
    longMessage = True

    def setUp(self):
        self.stack = support.shared()
        self.pool = {}

    # --- the device ---

    def take_device(self, mac, claimed):
        free = self.pool.setdefault((mac, claimed), [])
        if not free:
            free += self.stack.devices(mac, DEVICES_AT_ONCE, support.HOME if claimed else None)
        return free.pop()

    def prepare(self, r, version):
        state = STATES[r["state"]]
        if state.get("unknown"):
            device = dict(self.take_device(r["mac"], True))
            device["dev_eui"] = "02cdcd03" + device["dev_eui"][8:]
            return device
        device = self.take_device(r["mac"], not state.get("unclaimed"))
        if "prior" in state:
            base = dict(r, change={**r["change"], **state["prior"]}) if state["prior"] else dict(r, change={})
            prior = self.message(dict(base, kind="JoinReq", frame={}), device, version,
                                 state.get("prior_nonce", NONCE))
            status, answer = self.send(dict(base, http={}), prior)
            self.assertEqual((status, answer["Result"]["ResultCode"]), (200, "Success"), "the join before")
        for table, change in (("device", state.get("device")), ("device_join", state.get("join"))):
            if change:
                self.stack.psql(f"UPDATE {table} SET {change} WHERE dev_eui = '\\x{device['dev_eui']}'")
        return device

    # --- the request ---

    @staticmethod
    def phy(device, nonce, frame):
        body = bytes([frame.get("mhdr", 0)]) + lorawan.le(frame.get("join_eui", device["join_eui"]))
        body += lorawan.le(device["dev_eui"]) + nonce.to_bytes(2, "little")
        key = frame["key"].format(**device) if "key" in frame else lorawan.root_key(device).hex()
        return body.hex() + frame.get("mic", lorawan.cmac(bytes.fromhex(key), body)[:4].hex())

    def message(self, r, device, version, nonce=NONCE):
        sender = WHO[r["who"]][2]
        phy = self.phy(device, nonce, r["frame"])
        names = {"dev_eui": device["dev_eui"], "join_eui": device["join_eui"], "phy": phy, "sender": sender}
        names |= {name.upper(): value.upper() for name, value in names.items()}
        message = lorawan.join_req(device, nonce, sender, DEV_ADDR, ProtocolVersion=version,
                                   MessageType=r["kind"], PHYPayload=phy)
        if r["kind"] != "JoinReq":
            for member in ("PHYPayload", "DevAddr", "DLSettings", "RxDelay", "CFList", "MACVersion"):
                message.pop(member)
        for member, value in r["change"].items():
            if value is None:
                message.pop(member, None)
            elif member in FORMATTED and isinstance(value, str):
                message[member] = value.format(**names)
            else:
                message[member] = value
        return message

    def credentials(self, who):
        how, net_id, _ = WHO[who]
        token = {"bearer": lambda: self.stack.server(net_id)["token"],
                 "basic": lambda: self.stack.server(net_id)["token"],
                 "as": lambda: self.stack.application_server()["token"],
                 "wrong": lambda: "ff" * 32, None: lambda: None}[how]()
        if how == "basic":
            return "Basic " + base64.b64encode(f"anyone:{token}".encode()).decode()
        return f"Bearer {token}" if token else None

    @staticmethod
    def body(how, message):
        if "body" in how:
            return how["body"]
        if "null" in how:
            message[how["null"]] = None
        text = json.dumps(message, indent=how.get("indent"))
        if how.get("escape"):
            text = text.replace('"JoinReq"', '"\\u004aoinReq"').replace('"0', '"\\u0030')
        return how.get("before", b"") + text.encode() + how.get("after", b"")

    def send(self, r, message):
        """(status, the answer's JSON or None)"""
        how, target = r["http"], urllib.parse.urlsplit(self.stack.join_url)
        body = self.body(how, message)
        headers = {"Content-Type": "application/json", "Authorization": self.credentials(r["who"]),
                   **how.get("headers", {})}
        chunked = "chunks" in how
        if chunked:
            body = [body[i:i + how["chunks"]] for i in range(0, len(body), how["chunks"])]
        with contextlib.closing(http.client.HTTPConnection(target.netloc, timeout=support.HTTP_SECONDS)) as c:
            c.request(how.get("method", "POST"), "/" + how.get("path", ""), body,
                      {k: v for k, v in headers.items() if v is not None}, encode_chunked=chunked)
            response = c.getresponse()
            status, answer = response.status, response.read()
        if status != 200 or not answer:
            return status, None
        return status, json.loads(answer)

    # --- the answer ---

    def check_header(self, r, message, answer, version):
        self.assertEqual(answer["ProtocolVersion"], version)
        for mine, theirs in (("SenderID", "ReceiverID"), ("ReceiverID", "SenderID")):
            said = message.get(theirs)
            self.assertEqual(answer[mine], said if isinstance(said, str) else "", mine)
        sent = message.get("TransactionID")
        if isinstance(sent, int) and 0 <= sent < 1 << 32:
            self.assertEqual(answer["TransactionID"], sent)
        if message.get("MessageType") in ("JoinReq", "HomeNSReq", "RejoinReq", "AppSKeyReq"):
            self.assertEqual(answer["MessageType"], message["MessageType"][:-3] + "Ans")
        self.assertIn(answer["Result"]["ResultCode"], CODES[version])
        if answer["Result"]["ResultCode"] != "Success":
            self.assertLessEqual(set(answer), HEADER, "a refusal holds a header and a Result")
            self.assertTrue(answer["Result"]["Description"])

    def check_accept(self, device, message, answer):
        accept = lorawan.open_accept(device, answer["PHYPayload"], NONCE)
        self.assertIsNotNone(accept, "the device cannot open its Join-Accept")
        self.assertEqual(accept["dev_addr"], DEV_ADDR)
        self.assertEqual(accept["net_id"], support.HOME)
        self.assertEqual(accept["dl_settings"], int(message["DLSettings"][-2:], 16))
        cf_list = message.get("CFList") or ""
        self.assertEqual(len(answer["PHYPayload"]), 2 * (33 if cf_list else 17))
        for name in KEYS_1_0 | KEYS_1_1:
            if name in answer:
                self.assertEqual(len(answer[name]["AESKey"]), 48, name)

    def hold(self, r, version):
        device = self.prepare(r, version)
        message = self.message(r, device, version)
        with contextlib.ExitStack() as stack:
            if STATES[r["state"]].get("locked"):
                session = stack.enter_context(Session(self.stack))
                session.run("BEGIN; LOCK TABLE device_join IN ACCESS EXCLUSIVE MODE")
                stack.callback(session.run, "ROLLBACK")
            status, answer = self.send(r, message)
        self.assertEqual(status, r["status"], answer)
        if r["code"] is None:
            self.assertIsNone(answer)
            return
        code = r["code"][version] if isinstance(r["code"], dict) else r["code"]
        self.assertEqual(answer["Result"]["ResultCode"], code, answer)
        self.check_header(r, message, answer, version)
        self.assertLessEqual(r["must"], set(answer))
        self.assertFalse(r["absent"] & set(answer), answer)
        for member, value in r["equal"].items():
            self.assertEqual(answer.get(member), value, member)
        if code == "Success" and r["kind"] == "JoinReq":
            self.check_accept(device, message, answer)

    def hold_all(self, rows):
        self.assertEqual(len({r["name"] for r in rows}), len(rows), "two rows have one name")
        for r in rows:
            for version in r["versions"]:
                with self.subTest(f"{r['name']}, TS002 {version}"):
                    self.hold(r, version)

    def test_joins(self):
        self.hold_all(JOINS)

    def test_refusals(self):
        self.hold_all(REFUSALS)

    def test_protocol_versions(self):
        self.hold_all(VERSIONS)

    def test_tolerances(self):
        self.hold_all(TOLERANCES)

    def test_home_ns(self):
        self.hold_all(HOME_NS)

    def metric(self, name):
        _, _, page = support.http("GET", self.stack.join_url + "metrics")
        line = next(x for x in page.decode().splitlines() if x.startswith(name))
        return int(line.split()[-1])

    def test_many_wrong_mics_slow_a_device_down_and_never_stop_it(self):
        name, wrong = "cradle_join_mic_unchecked_total", row("wrong", "MICFailed", frame={"mic": "00000000"})
        right, unchecked = row("right", "Success"), self.metric(name)
        device = self.prepare(wrong, V10)
        other = self.prepare(right, V10)
        message = self.message(wrong, device, V10)
        for _ in range(MIC_FAILURES_MAX):
            self.assertEqual(self.send(wrong, message)[1]["Result"]["ResultCode"], "MICFailed")
        self.assertEqual(self.metric(name), unchecked, "one of the first was not checked")
        for _ in range(MIC_FAILURES_MAX):
            self.assertEqual(self.send(wrong, message)[1]["Result"]["ResultCode"], "MICFailed")
        self.assertGreater(self.metric(name), unchecked)
        code = lambda d: self.send(right, self.message(right, d, V10))[1]["Result"]["ResultCode"]
        self.assertEqual(code(other), "Success", "another device")
        self.assertIn("Success", (code(device) for _ in range(TRIES)), "the device itself")

    def test_only_a_join_is_recorded_as_one(self):
        r = row("another network asks", "NoRoamingAgreement", kind="HomeNSReq", who="another network")
        device = self.prepare(r, V10)
        for who in ("home", "another network"):
            self.send(dict(r, who=who), self.message(dict(r, who=who), device, V10))
        wrong = dict(r, kind="JoinReq", who="home", frame={"mic": "00000000"})
        self.send(wrong, self.message(wrong, device, V10))
        # The events of refusals are written in the order of their answers.
        sql = f"SELECT outcome FROM join_event WHERE dev_eui = '\\x{device['dev_eui']}'"
        events = support.wait_until(lambda: self.stack.psql(sql), support.READY_SECONDS, "an event")
        self.assertEqual(events, [["mic_failed"]])

    def test_a_notification_is_counted(self):
        name = "cradle_error_notifications_total"
        before, r = self.metric(name), row("an error is notified", None, kind="ErrorNotif")
        self.assertEqual(self.send(r, self.message(r, self.prepare(r, V11), V11)), (200, None))
        self.assertEqual(self.metric(name), before + 1)

    def test_other_messages(self):
        self.hold_all(OTHER_MESSAGES)

    def test_transport(self):
        self.hold_all(TRANSPORT)
