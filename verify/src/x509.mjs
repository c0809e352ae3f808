// X.509 certificates as far as time-stamps need them: who signed whom, until when, for what.
// docs/format.md section 9, Anchors. Never asks for revocation, never trusts one that is not pinned.

import { equal } from './wire.mjs';
import { malformed } from './verdict.mjs';
import { certificateTime, Der, naturalOf, TAG } from './der.mjs';

const RSA = '1.2.840.113549.1.1.1';
const RSA_WITH = { '1.2.840.113549.1.1.11': 'SHA-256', '1.2.840.113549.1.1.12': 'SHA-384', '1.2.840.113549.1.1.13': 'SHA-512' };
const ECDSA_WITH = { '1.2.840.10045.4.3.2': 'SHA-256', '1.2.840.10045.4.3.3': 'SHA-384' };
const EC_KEY = '1.2.840.10045.2.1';
const CURVES = { '1.2.840.10045.3.1.7': ['P-256', 32], '1.3.132.0.34': ['P-384', 48] };
const DIGESTS = { '2.16.840.1.101.3.4.2.1': 'SHA-256', '2.16.840.1.101.3.4.2.2': 'SHA-384', '2.16.840.1.101.3.4.2.3': 'SHA-512' };
const [BASIC_CONSTRAINTS, EXTENDED_USAGE] = ['2.5.29.19', '2.5.29.37'];
const TIME_STAMPING = '1.3.6.1.5.5.7.3.8';

export function digestName(oid) {
  return Object.hasOwn(DIGESTS, oid) ? DIGESTS[oid] : malformed('an unknown digest algorithm');
}

export function parseCertificate(bytes) {
  const outer = new Der(Der.only(bytes, TAG.SEQUENCE).body);
  const signed = outer.take(TAG.SEQUENCE);
  const algorithm = outer.algorithm();
  const signature = bitString(outer.take(TAG.BITS));
  outer.end();
  const tbs = new Der(signed.body);
  tbs.optional(0xa0);
  const serial = tbs.take(TAG.INTEGER).body;
  tbs.algorithm();
  const issuer = tbs.take(TAG.SEQUENCE).whole;
  const validity = tbs.inside(TAG.SEQUENCE);
  const [from, to] = [certificateTime(validity.take()), certificateTime(validity.take())];
  const subject = tbs.take(TAG.SEQUENCE).whole;
  const key = tbs.take(TAG.SEQUENCE).whole;
  tbs.optional(0x81);
  tbs.optional(0x82);
  const extensions = readExtensions(tbs.optional(0xa3));
  tbs.end();
  return { bytes, signed: signed.whole, algorithm, signature, serial, issuer, subject, from, to, key, extensions };
}

function bitString({ body }) {
  if (body.length < 1 || body[0] !== 0) malformed('a bit string of whole bytes is expected');
  return body.subarray(1);
}

function readExtensions(element) {
  const found = new Map();
  if (element === null) return found;
  const list = new Der(Der.only(element.body, TAG.SEQUENCE).body);
  while (list.more) {
    const one = list.inside(TAG.SEQUENCE);
    const oid = one.oid();
    const critical = one.optional(TAG.BOOLEAN)?.body[0] === 0xff;
    const value = one.take(TAG.OCTETS).body;
    one.end();
    if (found.has(oid)) malformed('an extension stands twice');
    found.set(oid, { critical, value });
  }
  return found;
}

/** extKeyUsage is critical and id-kp-timeStamping alone. */
export function isForTimeStamps({ extensions }) {
  const usage = extensions.get(EXTENDED_USAGE);
  if (!usage?.critical) return false;
  const purposes = new Der(Der.only(usage.value, TAG.SEQUENCE).body);
  const only = purposes.oid() === TIME_STAMPING;
  return only && !purposes.more;
}

function isAuthority({ extensions }) {
  const basic = extensions.get(BASIC_CONSTRAINTS);
  if (!basic) return false;
  const inner = new Der(Der.only(basic.value, TAG.SEQUENCE).body);
  return inner.optional(TAG.BOOLEAN)?.body[0] === 0xff;
}

/**
 * One signature by the key of a certificate. `digest` is used where the algorithm does not name
 * one itself; false when it does not hold or is of another kind than docs/format.md allows.
 */
export async function verifyWith(key, algorithm, digest, message, signature) {
  const info = new Der(Der.only(key, TAG.SEQUENCE).body);
  const { oid, parameters } = info.algorithm();
  const point = bitString(info.take(TAG.BITS));
  if (oid === RSA) {
    const hash = RSA_WITH[algorithm] ?? (algorithm === RSA ? digest : undefined);
    if (!hash || (RSA_WITH[algorithm] && digest && digest !== hash) || !isRsaSize(point)) return false;
    return verify({ name: 'RSASSA-PKCS1-v1_5', hash }, key, message, signature);
  }
  const hash = ECDSA_WITH[algorithm];
  if (oid !== EC_KEY || !hash || (digest && digest !== hash) || parameters?.tag !== TAG.OID) return false;
  const [namedCurve, width] = CURVES[new Der(parameters.whole).oid()] ?? [];
  const raw = namedCurve ? rawSignature(signature, width) : null;
  return raw !== null && verify({ name: 'ECDSA', namedCurve, hash }, key, message, raw);
}

// RSA keys of 2048 to 8192 bits.
function isRsaSize(point) {
  const modulus = naturalOf(new Der(Der.only(point, TAG.SEQUENCE).body).take(TAG.INTEGER).body);
  const bits = modulus.toString(2).length;
  return bits >= 2048 && bits <= 8192;
}

// r || s, each of the curve's width, of the DER pair.
function rawSignature(signature, width) {
  const pair = new Der(Der.only(signature, TAG.SEQUENCE).body);
  const numbers = [pair.natural(), pair.natural()];
  pair.end();
  const raw = new Uint8Array(2 * width);
  for (const [i, number] of numbers.entries()) {
    const text = number.toString(16).padStart(2 * width, '0');
    if (text.length > 2 * width) return null;
    for (let j = 0; j < width; j++) raw[i * width + j] = parseInt(text.slice(2 * j, 2 * j + 2), 16);
  }
  return raw;
}

async function verify(how, key, message, signature) {
  const { subtle } = globalThis.crypto;
  try {
    const imported = await subtle.importKey('spki', key, how, false, ['verify']);
    return await subtle.verify(how, imported, signature, message);
  } catch {
    return false;
  }
}

const DEPTH = 8;

/** True when a certificate leads to a pinned one, all of them valid at the instant. */
export async function leadsTo(certificate, others, pinned, at, depth = DEPTH) {
  if (at < certificate.from || at > certificate.to) return false;
  if (pinned.some((one) => equal(one.bytes, certificate.bytes))) return true;
  if (depth === 0) return false;
  for (const issuer of [...pinned, ...others]) {
    if (!equal(issuer.subject, certificate.issuer) || equal(issuer.bytes, certificate.bytes)) continue;
    if (!isAuthority(issuer)) continue;
    const { algorithm, signed, signature } = certificate;
    if (!(await verifyWith(issuer.key, algorithm.oid, undefined, signed, signature))) continue;
    if (await leadsTo(issuer, others, pinned, at, depth - 1)) return true;
  }
  return false;
}
