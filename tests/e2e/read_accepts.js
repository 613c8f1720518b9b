// Reads Join-Accepts with lora-packet, a LoRaWAN library that has nothing to do with Cradle.
//
//   node read_accepts.js FOLDER-OF-LORA-PACKET <cases.json
//
// A case: {phy_payload, opt_neg, app_key, nwk_key, dev_eui, join_eui, nonce, join_req_type}, all hex but
// opt_neg; nonce is the DevNonce or RJcount, nwk_key null for one root key. Prints for each the fields
// of the Join-Accept, whether its MIC is right, and the session keys.
"use strict";

const fs = require("fs");
const lora = require(process.argv[2]);

const JOIN = "ff";

function read(c) {
  const hex = (text) => Buffer.from(text, "hex");
  const appKey = hex(c.app_key);
  const root = c.nwk_key ? hex(c.nwk_key) : appKey;
  const server = lora.generateJSKeys(root, hex(c.dev_eui));
  const nonce = hex(c.nonce);

  const sealed = lora.fromWire(hex(c.phy_payload));
  const clear = lora.decryptJoinAccept(sealed, c.join_req_type === JOIN ? root : server.JSEncKey);
  const accept = lora.fromWire(clear);
  accept.JoinReqType = hex(c.join_req_type);
  accept.JoinEUI = hex(c.join_eui);
  accept.DevNonce = nonce;

  const keys = c.opt_neg
    ? lora.generateSessionKeys11(appKey, root, accept.JoinEUI, accept.AppNonce, nonce)
    : lora.generateSessionKeys10(root, accept.NetID, accept.AppNonce, nonce);
  return {
    is_accept: accept.isJoinAcceptMessage(),
    mic_right: lora.verifyMIC(accept, server.JSIntKey, root),
    opt_neg: accept.getDLSettingsOptNeg(),
    join_nonce: accept.AppNonce.readUIntBE(0, 3),
    net_id: accept.NetID.toString("hex"),
    dev_addr: accept.DevAddr.toString("hex"),
    dl_settings: accept.DLSettings.toString("hex"),
    rx_delay: accept.getRxDelayDel(),
    cf_list: accept.CFList.toString("hex"),
    keys: Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, key.toString("hex")])),
  };
}

const cases = JSON.parse(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(cases.map(read)));
