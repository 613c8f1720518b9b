// Opens a delivery with jose, a JOSE library that has nothing to do with Cradle, and Node's own ciphers.
//
//   node read_delivery.js FOLDER-OF-JOSE DELIVERY PRIVATE-KEY AUDIT-KEY
//
// Prints {manifest, digest, devices}: what was signed, the digest of the device lines as docs/makers.md has it, and each
// device with its keys and claim code.
"use strict";

const crypto = require("crypto");
const fs = require("fs");

const [, , folder, delivery, privateKey, auditKey] = process.argv;
const jose = require(folder);

const WRAPPED = 24;
const IV = 12;
const TAG = 16;

function unwrap(key, wrapped) {
  const cipher = crypto.createDecipheriv(`id-aes${8 * key.length}-wrap`, key, Buffer.alloc(8, 0xa6));
  return Buffer.concat([cipher.update(wrapped), cipher.final()]).toString("hex");
}

/* 8 bytes: of a Sigfox id 4 zeros and the id. */
function identifier(text) {
  return Buffer.from(text.replace(/^sigfox:/, "00000000"), "hex");
}

function open(manifest, batchKey, transport, line) {
  const device = JSON.parse(line);
  const sealed = Buffer.from(device.sealed, "base64url");
  const number = Buffer.alloc(4);
  number.writeUInt32BE(device.line);
  const cipher = crypto.createDecipheriv("aes-256-gcm", batchKey, sealed.subarray(0, IV));
  cipher.setAAD(Buffer.concat([Buffer.from(manifest.batch, "hex"), number, identifier(device.dev_eui)]));
  cipher.setAuthTag(sealed.subarray(-TAG));
  const clear = Buffer.concat([cipher.update(sealed.subarray(IV, -TAG)), cipher.final()]);
  const nKeys = "nwk_kcv" in device ? 2 : 1;
  const code = clear.subarray(nKeys * WRAPPED);
  const appKey = unwrap(transport, clear.subarray(0, WRAPPED));
  const opened = { line: device.line, dev_eui: device.dev_eui, code: code.subarray(1, 1 + code[0]).toString("ascii") };
  if (device.dev_eui.startsWith("sigfox:"))
    return { ...opened, nak: appKey };
  return {
    ...opened,
    join_eui: device.join_eui,
    mac_version: device.mac_version,
    app_key: appKey,
    nwk_key: nKeys === 2 ? unwrap(transport, clear.subarray(WRAPPED, 2 * WRAPPED)) : null,
  };
}

async function main() {
  const pem = fs.readFileSync(privateKey, "ascii");
  const own = await jose.importPKCS8(pem, "RSA-OAEP");
  const opened = await jose.compactDecrypt(fs.readFileSync(delivery, "ascii"), own);
  const lines = Buffer.from(opened.plaintext).toString("utf8").split("\n");
  const audit = await jose.importSPKI(fs.readFileSync(auditKey, "ascii"), "ES256");
  const signed = await jose.compactVerify(lines[0], audit);
  if (signed.protectedHeader.typ !== "cradle-delivery-v1" || lines.pop() !== "")
    throw new Error("this is no delivery");
  const manifest = JSON.parse(Buffer.from(signed.payload).toString("utf8"));
  const batchKey = Buffer.from(JSON.parse(lines[1]).batch_key, "base64url");
  const transport = crypto.privateDecrypt(
    { key: pem, padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha1" },
    Buffer.from(manifest.transport_key.text, "base64url"));
  let digest = Buffer.alloc(32);
  for (const line of lines.slice(2))
    digest = crypto.createHash("sha256").update(digest).update(line + "\n").digest();
  process.stdout.write(JSON.stringify({
    manifest,
    digest: digest.toString("hex"),
    devices: lines.slice(2).map((line) => open(manifest, batchKey, transport, line)),
  }));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
