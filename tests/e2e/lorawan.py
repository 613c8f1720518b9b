"""The device's side of a join, for tests that send many: frames, MICs and Join-Accepts.

Written from the LoRaWAN specification over libcrypto, sharing nothing with Cradle's own code, so that
the two can disagree. Keys are bytes in human order; EUIs, NetIDs and DevAddrs are lower-case hex.
"""

import ctypes
import ctypes.util

_crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
for _name in ("CMAC_CTX_new", "EVP_aes_128_cbc", "EVP_aes_128_ecb", "EVP_CIPHER_CTX_new"):
    getattr(_crypto, _name).restype = ctypes.c_void_p


def cmac(key, data):
    ctx = ctypes.c_void_p(_crypto.CMAC_CTX_new())
    out = ctypes.create_string_buffer(16)
    length = ctypes.c_size_t(0)
    cipher = ctypes.c_void_p(_crypto.EVP_aes_128_cbc())
    good = (
        _crypto.CMAC_Init(ctx, key, ctypes.c_size_t(len(key)), cipher, None) == 1
        and _crypto.CMAC_Update(ctx, data, ctypes.c_size_t(len(data))) == 1
        and _crypto.CMAC_Final(ctx, out, ctypes.byref(length)) == 1
    )
    _crypto.CMAC_CTX_free(ctx)
    if not good or length.value != 16:
        raise RuntimeError("libcrypto refused a CMAC")
    return out.raw


def ecb_encrypt(key, data):
    ctx = ctypes.c_void_p(_crypto.EVP_CIPHER_CTX_new())
    out = ctypes.create_string_buffer(len(data) + 16)
    length = ctypes.c_int(0)
    cipher = ctypes.c_void_p(_crypto.EVP_aes_128_ecb())
    good = (
        _crypto.EVP_EncryptInit_ex(ctx, cipher, None, key, None) == 1
        and _crypto.EVP_CIPHER_CTX_set_padding(ctx, 0) == 1
        and _crypto.EVP_EncryptUpdate(ctx, out, ctypes.byref(length), data, len(data)) == 1
    )
    _crypto.EVP_CIPHER_CTX_free(ctx)
    if not good or length.value != len(data):
        raise RuntimeError("libcrypto refused AES-ECB")
    return out.raw[: len(data)]


def wrap(kek, key):
    """A key under AES key wrap (RFC 3394, default IV)."""
    schedule = ctypes.create_string_buffer(512)  # more than an AES_KEY
    out = ctypes.create_string_buffer(len(key) + 8)
    if _crypto.AES_set_encrypt_key(kek, 8 * len(kek), schedule) != 0:
        raise RuntimeError("libcrypto refused an AES key")
    if _crypto.AES_wrap_key(schedule, None, out, key, ctypes.c_uint(len(key))) != len(out):
        raise RuntimeError("libcrypto refused to wrap a key")
    return out.raw


def unwrap(kek, wrapped):
    """The key under AES key wrap (RFC 3394, default IV), or None when it does not open."""
    schedule = ctypes.create_string_buffer(512)  # more than an AES_KEY
    out = ctypes.create_string_buffer(len(wrapped))
    if _crypto.AES_set_decrypt_key(kek, 8 * len(kek), schedule) != 0:
        raise RuntimeError("libcrypto refused an AES key")
    n = _crypto.AES_unwrap_key(schedule, None, out, wrapped, ctypes.c_uint(len(wrapped)))
    return out.raw[:n] if n > 0 else None


def le(hex_text):
    """Bytes in on-air (little-endian) order."""
    return bytes.fromhex(hex_text)[::-1]


def root_key(device):
    """The key that MICs a Join-Request: NwkKey of a 1.1 device, else its one AppKey."""
    return bytes.fromhex(device["nwk_key"] or device["app_key"])


def join_request(device, dev_nonce):
    """The 23 bytes of a Join-Request, as hex (LoRaWAN 1.1 6.2.2)."""
    body = b"\x00" + le(device["join_eui"]) + le(device["dev_eui"]) + dev_nonce.to_bytes(2, "little")
    return (body + cmac(root_key(device), body)[:4]).hex()


def mistaken_join_request(device, dev_nonce, key=None, reversed_euis=()):
    """A Join-Request with a wrong MIC, as hex: by another key than it should be, or over some of
    ("join_eui", "dev_eui") in the other byte order than they are sent."""
    euis = [le(device[eui]) for eui in ("join_eui", "dev_eui")]
    turned = [le(device[eui])[::-1 if eui in reversed_euis else 1] for eui in ("join_eui", "dev_eui")]
    nonce = dev_nonce.to_bytes(2, "little")
    mic = cmac(key or root_key(device), b"\x00" + b"".join(turned) + nonce)[:4]
    return (b"\x00" + b"".join(euis) + nonce + mic).hex()


def join_req(device, dev_nonce, net_id, dev_addr="01020304", **changes):
    """A JoinReq message (TS002-1.0); `changes` replace members, None removes one."""
    is_1_1 = device["mac_version"] == "1.1"
    message = {
        "ProtocolVersion": "1.0",
        "SenderID": net_id,
        "ReceiverID": device["join_eui"],
        "TransactionID": dev_nonce,
        "MessageType": "JoinReq",
        "MACVersion": device["mac_version"],
        "PHYPayload": join_request(device, dev_nonce),
        "DevEUI": device["dev_eui"],
        "DevAddr": dev_addr,
        "DLSettings": "80" if is_1_1 else "00",
        "RxDelay": 1,
        "CFList": "",
    }
    message.update(changes)
    return {name: value for name, value in message.items() if value is not None}


def js_key(device, block):
    """JSEncKey (5) or JSIntKey (6) of a 1.1 device (LoRaWAN 1.1 6.1.1.3)."""
    return ecb_encrypt(root_key(device), bytes([block]) + le(device["dev_eui"]) + bytes(7))


def session_keys(device, join_nonce, nonce, net_id=None):
    """The keys of a session, by their names on the wire. `nonce` is the DevNonce or RJcount. With a
    NetID by the block of 1.0 (OptNeg 0), without one by that of 1.1 (LoRaWAN 1.1 6.2.3, 6.2.4.4)."""
    root = root_key(device)
    count = nonce.to_bytes(2, "little")
    if net_id is not None:
        tail = join_nonce.to_bytes(3, "little") + le(net_id) + count + bytes(7)
        return {"NwkSKey": ecb_encrypt(root, b"\x01" + tail), "AppSKey": ecb_encrypt(root, b"\x02" + tail)}
    tail = join_nonce.to_bytes(3, "little") + le(device["join_eui"]) + count + bytes(2)
    return {"FNwkSIntKey": ecb_encrypt(root, b"\x01" + tail),
            "SNwkSIntKey": ecb_encrypt(root, b"\x03" + tail),
            "NwkSEncKey": ecb_encrypt(root, b"\x04" + tail),
            "AppSKey": ecb_encrypt(bytes.fromhex(device["app_key"]), b"\x02" + tail)}


def rejoin_request(device, rejoin_type, rj_count, net_id=None, key=None):
    """A Rejoin-Request, as hex (LoRaWAN 1.1 6.2.4): of type 1 with the JoinEUI and by JSIntKey, of
    types 0 and 2 with the session's NetID and by its SNwkSIntKey, the `key`."""
    middle = le(device["join_eui"] if rejoin_type == 1 else net_id)
    body = bytes([0xC0, rejoin_type]) + middle + le(device["dev_eui"]) + rj_count.to_bytes(2, "little")
    return (body + cmac(key or js_key(device, 6), body)[:4]).hex()


def rejoin_req(device, phy_payload, net_id, transaction_id=1, dev_addr="01020305", **changes):
    """A RejoinReq message (TS002-1.0) with this frame; `changes` replace members, None removes one."""
    message = {
        "ProtocolVersion": "1.0",
        "SenderID": net_id,
        "ReceiverID": device["join_eui"],
        "TransactionID": transaction_id,
        "MessageType": "RejoinReq",
        "MACVersion": device["mac_version"],
        "PHYPayload": phy_payload,
        "DevEUI": device["dev_eui"],
        "DevAddr": dev_addr,
        "DLSettings": "80",
        "RxDelay": 1,
        "CFList": "",
    }
    message.update(changes)
    return {name: value for name, value in message.items() if value is not None}


JOIN = 0xFF  # JoinReqType of a Join-Request; a rejoin's is its type


def open_accept(device, phy_payload, nonce, join_req_type=JOIN):
    """Takes a Join-Accept's protection off and checks its MIC; the fields, or None when it is wrong.
    `nonce` is the DevNonce or RJcount of the request."""
    raw = bytes.fromhex(phy_payload)
    key = root_key(device) if join_req_type == JOIN else js_key(device, 5)
    plain = raw[:1] + ecb_encrypt(key, raw[1:])
    body, mic = plain[:-4], plain[-4:]
    if device["mac_version"] == "1.1" and body[11] & 0x80:
        prefix = bytes([join_req_type]) + le(device["join_eui"]) + nonce.to_bytes(2, "little")
        wanted = cmac(js_key(device, 6), prefix + body)[:4]
    elif join_req_type == JOIN:
        wanted = cmac(root_key(device), body)[:4]
    else:
        return None  # a rejoin is of 1.1
    if mic != wanted:
        return None
    return {
        "plain": plain.hex(),
        "join_nonce": int.from_bytes(body[1:4], "little"),
        "net_id": body[4:7][::-1].hex(),
        "dev_addr": body[7:11][::-1].hex(),
        "dl_settings": body[11],
        "rx_delay": body[12],
        "cf_list": body[13:].hex(),
    }
