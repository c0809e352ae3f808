// Keys, notes and golden vectors for tests. Signs with Node's own Ed25519, never with src/.

import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

process.removeAllListeners('warning');

const root = fileURLToPath(new URL('../../../', import.meta.url));
export const repo = (path) => `${root}${path}`;
export const GOLDEN = JSON.parse(readFileSync(repo('tests/golden/format/vectors.json'), 'utf8'));

/** Where the vectors that are not ours lie, or null: then their tests are skipped, and say so. */
export const SHARED = (() => {
  const path = process.env.CHANCERY_SHARED ?? `${root}../shared`;
  return existsSync(`${path}/vectors`) ? `${path}/vectors` : null;
})();
export const shared = (path) => readFileSync(`${SHARED}/${path}`);
export const needsShared = { skip: SHARED === null ? 'needs CHANCERY_SHARED' : false };

export function sha(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(Uint8Array.from(part));
  return new Uint8Array(hash.digest());
}
export const b64 = (bytes) => Buffer.from(bytes).toString('base64');
export const unhex = (text) => new Uint8Array(Buffer.from(text, 'hex'));
export const bytes = (text) => new Uint8Array(Buffer.from(text, 'utf8'));

const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** A signing key of a repeated seed byte, under a name. */
export function signer(name, seed, type = 1) {
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8, Buffer.alloc(32, seed)]),
    format: 'der',
    type: 'pkcs8',
  });
  const raw = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);
  return { name, key, raw, ...vkeyOf(name, type, raw) };
}

export function vkeyOf(name, type, raw) {
  const id = sha(bytes(name), [0x0a, type], raw).subarray(0, 4);
  return { id, vkey: `${name}+${Buffer.from(id).toString('hex')}+${b64([type, ...raw])}` };
}

export const signBytes = (key, message) => new Uint8Array(sign(null, Buffer.from(message), key.key));

export function signatureLine(key, blob) {
  return `\u2014 ${key.name} ${b64([...key.id, ...blob])}\n`;
}

export const line = (text, key) => signatureLine(key, signBytes(key, bytes(text)));
export const note = (text, ...keys) => `${text}\n${keys.map((key) => line(text, key)).join('')}`;

export function cosignature(text, key, seconds) {
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(seconds));
  const message = bytes(`cosignature/v1\ntime ${seconds}\n${text}`);
  return signatureLine(key, [...time, ...signBytes(key, message)]);
}

export const TENANT = '11'.repeat(16);
export const ORIGIN = `vault.example/t/${TENANT}`;
export const LOG = signer(ORIGIN, 0x51);
export const REPORT = signer(`vault.example/r/${TENANT}`, 0x52);
export const NEXT = signer(ORIGIN, 0x53);
export const STRANGER = signer(ORIGIN, 0x54);
export const TRUST = GOLDEN.trust;

export const checkpointText = (size, root, origin = ORIGIN) => `${origin}\n${size}\n${b64(root)}\n`;
export const checkpoint = (size, root, key = LOG, origin = ORIGIN) => note(checkpointText(size, root, origin), key);
export const leafOf = (entry) => sha([0], entry);
export const nodeOf = (left, right) => sha([1], left, right);

/** The root over leaf hashes, by Node's own SHA-256: fast enough for whole epochs. */
export function treeRoot(leaves) {
  if (leaves.length === 0) return sha();
  let level = leaves;
  while (level.length > 1) {
    const above = [];
    for (let i = 0; i + 1 < level.length; i += 2) above.push(nodeOf(level[i], level[i + 1]));
    if (level.length % 2 === 1) above.push(level[level.length - 1]);
    level = above;
  }
  return level[0];
}
