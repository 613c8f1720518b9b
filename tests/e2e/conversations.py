"""The table of conversations: what is sent, by whom, over which transport, about which device, and
what must come back. test_conformance.py holds them with the running join server."""

import support

V10, V11 = "1.0", "1.1"
BOTH = (V10, V11)

PLAIN, TLS = "plain HTTP", "mutual TLS"
EITHER = (PLAIN, TLS)
# Who is not let in gets 401, or no handshake.
NOT_LET_IN = {PLAIN: 401, TLS: None}

NONCE = 700
DEV_ADDR, OTHER_DEV_ADDR = "01020304", "26000001"
CF_LIST = "184f84e85684b85e84886684586e8400"
NS_ID, OTHER_NS_ID = "70b3d57ed0000001", "70b3d57ed0000002"  # of the demo's network servers
BODY_LIMIT = 32 * 1024
JOIN_NONCE_MAX = (1 << 24) - 1

MALFORMED = {V10: "MalformedRequest", V11: "MalformedMessage"}
REPLAYED = {V10: "JoinReqFailed", V11: "FrameReplayed"}

KEYS_1_0 = {"NwkSKey", "AppSKey"}
KEYS_1_1 = {"SNwkSIntKey", "FNwkSIntKey", "NwkSEncKey", "AppSKey"}
JOIN_ANS = {"PHYPayload", "SessionKeyID", "Lifetime"}

# --- who asks ---


class Who:
    """Whose token is shown over plain HTTP, whose certificate over mutual TLS (and whose token beside
    it, which must mean nothing there), and the SenderID. "": none is shown; None: not held there."""

    def __init__(self, token, certificate, sender=support.HOME, beside="", basic=False):
        self.token, self.certificate, self.sender = token, certificate, sender
        self.beside, self.basic = beside, basic

    def transports(self):
        return tuple(t for t, shown in ((PLAIN, self.token), (TLS, self.certificate)) if shown is not None)


WHO = {
    "home": Who(support.HOME, support.HOME),
    "home, by Basic": Who(support.HOME, None, basic=True),
    "home, another network's token beside": Who(None, support.HOME, beside=support.OTHER),
    "another network": Who(support.OTHER, support.OTHER, support.OTHER),
    "another network, home's token beside": Who(None, support.OTHER, support.OTHER, support.HOME),
    "another network as home": Who(support.OTHER, support.OTHER),
    "another network as home, its token beside": Who(None, support.OTHER, beside=support.HOME),
    "home as another network": Who(support.HOME, support.HOME, support.OTHER),
    "home as nobody": Who(support.HOME, support.HOME, "0000ff"),
    "an application server": Who("as", "as"),
    "a stranger": Who("wrong", "of another CA"),
    "a name that nobody knows": Who(None, "of another name"),
    "a server": Who(None, "of a server"),
    "nobody": Who("", ""),
    "nobody, home's token beside": Who(None, "", beside=support.HOME),
}

# --- states of the device. device, join: what is set in its rows; prior: the changes of a request
# --- that went before and was accepted, and its DevNonce; rejoins: type, RJcount and session (-1 the
# --- newest) of those after it ---

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
    "in a session": {"prior": {}},
    "in a session of 1.0": {"prior": {"DLSettings": "00"}},
    "in a session, suspended": {"prior": {}, "device": "service = 'suspended'"},
    "in a session, quarantined": {"prior": {}, "device": "trust = 'quarantined'"},
    "in a session, scrapped": {"prior": {}, "device": "credential = 'scrapped'"},
    "in a session, no JoinNonce left": {"prior": {}, "join": f"join_nonce = {JOIN_NONCE_MAX}"},
    "in a session, database locked": {"prior": {}, "locked": True},
    "rejoined": {"prior": {}, "rejoins": [(0, 1, -1)]},
    "rejoined by type 2": {"prior": {}, "rejoins": [(2, 1, -1)]},
    "rejoined by type 1": {"prior": {}, "rejoins": [(1, 1, -1)]},
    "rejoined twice": {"prior": {}, "rejoins": [(0, 1, -1), (0, 1, -1)]},
    "rejoined, and again without the answer": {"prior": {}, "rejoins": [(0, 1, 0), (0, 2, 0)]},
}


def row(name, code, versions=BOTH, kind="JoinReq", mac="1.0.3", who="home", state="fresh", change=None,
        frame=None, http=None, status=200, must=(), absent=(), **equal):
    """`change` replaces members (None removes one); texts may name {dev_eui}, {phy} and so on, and
    their capitals. `frame` replaces fields of the PHYPayload, which is then signed. `http` is how it
    is sent. `code` is a ResultCode, one a version, or None for no message at all; `status` that of
    HTTP, or one a transport, None for no exchange. `must`, `absent`: members of the answer. Further
    arguments: members and their values."""
    return dict(name=name, code=code, versions=versions, over=WHO[who].transports(), kind=kind, mac=mac,
                who=who, state=state, change=change or {}, frame=frame or {}, http=http or {},
                status=status, must=set(must), absent=set(absent), equal=equal)


def rejoin(name, code, rejoin_type=0, count=1, state="in a session", mac="1.1", frame=None, **more):
    """A row of a RejoinReq. `frame` may name the `session` whose key and NetID the device uses."""
    return row(name, code, kind="RejoinReq", mac=mac, state=state,
               frame={"rejoin": rejoin_type, "count": count, **(frame or {})}, **more)


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
    row("a MACVersion that is a number", "Success", change={"MACVersion": 5}),
    row("a MACVersion of a vendor's own", "Success", change={"MACVersion": "1.0.3-vendor-build-7"}),
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

REJOIN_ANS = {"must": JOIN_ANS | KEYS_1_1, "absent": ["NwkSKey"]}
WRONG_MIC = {"mic": "00000000"}

REJOINS = [
    *[rejoin(f"a rejoin of type {t}", "Success", t, **REJOIN_ANS) for t in (0, 1, 2)],
    *[rejoin(f"a rejoin of type {t} with a CFList", "Success", t, change={"CFList": CF_LIST}, **REJOIN_ANS)
      for t in (0, 1, 2)],
    *[rejoin(f"a count of {n} in type {t}", "Success", t, n) for t in (0, 1, 2) for n in (0, 65535)],
    rejoin("RX settings are in its accept", "Success", change={"DLSettings": "b5", "RxDelay": 15}),
    # sessions
    rejoin("a type 1 without a session", "Success", 1, state="fresh"),
    rejoin("a type 1 in a session of 1.0", "Success", 1, state="in a session of 1.0"),
    rejoin("a type 0 without a session", "MICFailed", state="fresh"),
    rejoin("a type 2 without a session", "MICFailed", 2, state="fresh"),
    rejoin("a type 0 in a session of 1.0", "MICFailed", state="in a session of 1.0"),
    rejoin("in the session that was offered", "Success", state="rejoined"),
    rejoin("in the session that was offered by type 1", "Success", state="rejoined by type 1"),
    rejoin("in the session before the one that was offered", "Success", 0, 2, state="rejoined",
           frame={"session": 0}),
    rejoin("in the session before the one that was offered by type 1", "Success", 2,
           state="rejoined by type 1", frame={"session": 0}),
    rejoin("in a session that another one followed", "MICFailed", 0, 9, state="rejoined twice",
           frame={"session": 0}),
    rejoin("in a session whose offer was replaced", "MICFailed", 0, 9,
           state="rejoined, and again without the answer", frame={"session": 1}),
    # the MIC
    *[rejoin(f"a wrong MIC in type {t}", "MICFailed", t, frame=WRONG_MIC) for t in (0, 1, 2)],
    *[rejoin(f"a type {t} with a MIC by the NwkKey", "MICFailed", t, frame={"key": "{nwk_key}"})
      for t in (0, 1, 2)],
    rejoin("a wrong MIC of a suspended device's rejoin", "MICFailed", state="in a session, suspended",
           frame=WRONG_MIC),
    rejoin("a wrong MIC with a used RJcount0", "MICFailed", state="rejoined",
           frame={"session": 0, **WRONG_MIC}),
    rejoin("a wrong MIC with a NetID that is not the session's", "MICFailed",
           frame={"net_id": support.OTHER, **WRONG_MIC}),
    # counts
    rejoin("an identical retry of type 0", "Success", state="rejoined", frame={"session": 0}),
    rejoin("an identical retry of type 1", "Success", 1, state="rejoined by type 1"),
    rejoin("an identical retry of type 2", "Success", 2, state="rejoined by type 2", frame={"session": 0}),
    rejoin("a used RJcount0", REPLAYED, state="rejoined", frame={"session": 0},
           change={"DevAddr": OTHER_DEV_ADDR}),
    rejoin("an RJcount0 below the last", REPLAYED, 0, 0, state="rejoined", frame={"session": 0}),
    rejoin("an RJcount0 that the other type used", REPLAYED, 2, state="rejoined", frame={"session": 0}),
    rejoin("a used RJcount1", REPLAYED, 1, state="rejoined by type 1",
           change={"DevAddr": OTHER_DEV_ADDR}),
    rejoin("an RJcount1 below the last", REPLAYED, 1, 0, state="rejoined by type 1"),
    rejoin("an RJcount1 is not of a session", "Success", 1, 1, state="rejoined"),
    *[rejoin(f"a type {t} with no JoinNonce left", "JoinReqFailed", t,
             state="in a session, no JoinNonce left") for t in (0, 1, 2)],
    # whose device
    *[rejoin(f"another network's device in type {t}", "UnknownDevEUI", t, who="another network")
      for t in (0, 1, 2)],
    rejoin("another network's device, wrong MIC in a rejoin", "UnknownDevEUI", who="another network",
           frame=WRONG_MIC),
    rejoin("a rejoin of a device that is not here", "UnknownDevEUI", state="not here"),
    rejoin("a type 1 of a device that is not here", "UnknownDevEUI", 1, state="not here"),
    rejoin("a rejoin of an unclaimed device", "UnknownDevEUI", 1, state="unclaimed"),
    rejoin("a rejoin of a scrapped device", "UnknownDevEUI", state="in a session, scrapped"),
    *[rejoin(f"a suspended device in type {t}", "ActivationDisallowed", t, state="in a session, suspended")
      for t in (0, 1, 2)],
    rejoin("a quarantined device rejoins", "ActivationDisallowed", state="in a session, quarantined"),
    rejoin("a SenderID of another network in a rejoin", "UnknownSender", who="home as another network"),
    rejoin("a SenderID of home by another in a rejoin", "UnknownSender", who="another network as home"),
    rejoin("a rejoin by an application server", "UnknownSender", who="an application server"),
    # addresses
    rejoin("a ReceiverID that is not routed in a rejoin", "UnkownReceiver",
           change={"ReceiverID": "02cdcdffffffffff"}),
    *[rejoin(f"a type {t} to another JoinEUI of ours", "UnknownDevEUI", t,
             change={"ReceiverID": support.SAMPLE_JOIN_EUI}) for t in (0, 2)],
    rejoin("a type 1 with another JoinEUI in its frame, ours", "UnknownDevEUI", 1,
           frame={"join_eui": support.SAMPLE_JOIN_EUI}),
    rejoin("a type 1 with another JoinEUI in its frame, not ours", "UnknownDevEUI", 1,
           frame={"join_eui": "02cdcdffffffffff"}),
    *[rejoin(f"a NetID that is not the session's in type {t}", "JoinReqFailed", t,
             frame={"net_id": support.OTHER}) for t in (0, 2)],
    # members
    *[rejoin(f"a type {t} without OptNeg", MALFORMED, t, change={"DLSettings": "00"}) for t in (0, 1, 2)],
    *[rejoin(f"a type {t} of a device of {mac}", MALFORMED, t, state="joined", mac=mac)
      for t in (0, 1, 2) for mac in ("1.0.3", "1.0.4")],
    rejoin("a rejoin without PHYPayload", MALFORMED, change={"PHYPayload": None}),
    rejoin("a rejoin without DevEUI", MALFORMED, change={"DevEUI": None}),
    rejoin("a rejoin with a DevEUI that is not the frame's", MALFORMED, change={"DevEUI": "02cdcd03ffffffff"}),
    rejoin("a rejoin without DevAddr", MALFORMED, change={"DevAddr": None}),
    rejoin("a rejoin without DLSettings", MALFORMED, change={"DLSettings": None}),
    rejoin("a rejoin with an RxDelay of 16", MALFORMED, change={"RxDelay": 16}),
    rejoin("a rejoin with a CFList of 15 bytes", MALFORMED, change={"CFList": CF_LIST[2:]}),
    # frames
    *[rejoin(f"a type {t} of a byte more", "FrameSizeError", t, change={"PHYPayload": "{phy}00"})
      for t in (0, 1, 2)],
    rejoin("a type 0 of the length of type 1", "FrameSizeError", change={"PHYPayload": "{phy}0000000000"}),
    rejoin("a type 1 of the length of type 0", "FrameSizeError", change={"PHYPayload": "c001" + "00" * 17}),
    rejoin("a Join-Request in a RejoinReq", "FrameSizeError", change={"PHYPayload": "00" * 23}),
    rejoin("a rejoin of a byte", "FrameSizeError", change={"PHYPayload": "c0"}),
    rejoin("a rejoin of type 3", MALFORMED, 3),
    rejoin("a rejoin of another major version", MALFORMED, frame={"mhdr": 0xC1}),
    rejoin("a rejoin with reserved bits", MALFORMED, frame={"mhdr": 0xDC}),
    rejoin("an uplink of the length of a rejoin", MALFORMED, frame={"mhdr": 0x40}),
    # tolerances
    rejoin("a rejoin with 0x and capitals", "Success",
           change={"DevEUI": "0x{DEV_EUI}", "PHYPayload": "0X{PHY}", "SenderID": "0x{sender}"}),
    *[rejoin(f"a rejoin with MACVersion {mac!r}", "Success", change={"MACVersion": mac})
      for mac in ("1.0.2", "1.1.1", None)],
    rejoin("a rejoin without RxDelay and CFList", "Success", change={"RxDelay": None, "CFList": None}),
    rejoin("a rejoin with a token", "Success", change={"SenderToken": "0a"}, ReceiverToken="0a"),
    rejoin("a rejoin with an NSID", "Success", versions=(V11,), change={"SenderNSID": NS_ID},
           ReceiverNSID=NS_ID),
    rejoin("a rejoin while the database does not answer", "Other", state="in a session, database locked"),
]

OTHER_MESSAGES = [
    row("an error is notified", None, (V11,), kind="ErrorNotif", who="home",
        change={"Result": {"ResultCode": "MICFailed"}}),
    row("an error is notified with anything in it", None, (V11,), kind="ErrorNotif",
        change={"PHYPayload": 7, "SenderNSID": "x", "DevEUI": []}),
    row("an error is notified by a SenderID of nobody", None, (V11,), kind="ErrorNotif",
        who="home as nobody"),
    row("an error is notified by a stranger", None, (V11,), kind="ErrorNotif", who="a stranger", status=NOT_LET_IN),
    row("1.0 has no ErrorNotif", MALFORMED, (V10,), kind="ErrorNotif", MessageType="JoinAns"),
    row("RejoinReq with nothing in it", MALFORMED, kind="RejoinReq"),
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
    row("no credentials", None, (V10,), who="nobody", status=NOT_LET_IN),
    row("credentials of a stranger", None, (V10,), who="a stranger", status=NOT_LET_IN),
    row("a certificate of a name that nobody knows", None, (V10,), who="a name that nobody knows",
        status=NOT_LET_IN),
    row("a server's certificate", None, (V10,), who="a server", status=NOT_LET_IN),
    row("a token in the place of a certificate", None, (V10,), who="nobody, home's token beside",
        status=NOT_LET_IN),
    row("a token of another network beside the certificate", "Success",
        who="home, another network's token beside"),
    row("home's token beside another network's certificate", "UnknownDevEUI",
        who="another network, home's token beside"),
    row("home's token and SenderID beside another network's certificate", "UnknownSender",
        who="another network as home, its token beside"),
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

ALL = (JOINS, REFUSALS, VERSIONS, TOLERANCES, HOME_NS, REJOINS, OTHER_MESSAGES, TRANSPORT)
