// Public keys in text, as C2SP signed-note writes them: name+id+base64(type || key).
// docs/format.md section 9. Never trusts one: a trust file does.

import { concat, equal, utf8 } from './wire.mjs';
import { fromBase64, hex } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { isStrictPoint } from './ed25519.mjs';
import { sha256 } from './hash.mjs';

export const LOG_TYPE = 1;
export const WITNESS_TYPE = 4;

const FORBIDDEN = /[\p{White_Space}\p{Cc}+]/u;

/** 1 to 255 bytes without White_Space, control characters and `+`. */
export function isKeyName(name) {
  const length = utf8(name).length;
  return length >= 1 && length <= 255 && !FORBIDDEN.test(name);
}

export async function keyId(name, type, key) {
  return (await sha256(concat(utf8(name), Uint8Array.of(0x0a, type), key))).subarray(0, 4);
}

/** `{ name, id, idHex, type, key, text }` of a vkey; MALFORMED or WEAK_KEY. */
export async function parseVkey(text) {
  const parts = /^([^+]*)\+([0-9a-f]{8})\+([^+].*)$/su.exec(text);
  if (!parts) malformed('a key is written name+id+base64');
  const [, name, idHex, blobText] = parts;
  if (!isKeyName(name)) malformed('the name of a key is empty, too long or holds a forbidden character');
  const blob = fromBase64(blobText);
  if (blob === null || blob.length !== 33) malformed('a key is 33 bytes of base64');
  const type = blob[0];
  if (type !== LOG_TYPE && type !== WITNESS_TYPE) malformed(`keys of type ${type} are unknown`);
  const key = blob.subarray(1);
  if (!isStrictPoint(key)) refuse('WEAK_KEY', `the key ${idHex} is one that anybody could sign for`);
  const id = await keyId(name, type, key);
  if (hex(id) !== idHex) malformed(`the key id ${idHex} is not that of the key`);
  return { name, id, idHex, type, key, text };
}

export function sameKey(a, b) {
  return a.type === b.type && a.name === b.name && equal(a.key, b.key);
}
