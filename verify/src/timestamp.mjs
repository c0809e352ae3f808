// RFC 3161 time-stamps of checkpoints. docs/format.md section 9, Anchors.
// Never accepts a token that leads to no pinned certificate; asks for no revocation.

import { concat, equal } from './wire.mjs';
import { malformed, refuse } from './verdict.mjs';
import { Der, generalizedTime, TAG } from './der.mjs';
import { digestName, isForTimeStamps, leadsTo, parseCertificate, verifyWith } from './x509.mjs';

const SIGNED_DATA = '1.2.840.113549.1.7.2';
const TST_INFO = '1.2.840.113549.1.9.16.1.4';
const CONTENT_TYPE = '1.2.840.113549.1.9.3';
const MESSAGE_DIGEST = '1.2.840.113549.1.9.4';
const SIGNING_CERTIFICATE_V2 = '1.2.840.113549.1.9.16.2.47';
const SIGNING_CERTIFICATE = '1.2.840.113549.1.9.16.2.12';
const MICROSECOND = 1_000n;

async function digest(name, bytes) {
  return new Uint8Array(await globalThis.crypto.subtle.digest(name, bytes));
}

/** `{ imprint, nonce }` of a TimeStampReq, the nonce as the bytes of its integer. */
export function readQuery(bytes) {
  const query = new Der(Der.only(bytes, TAG.SEQUENCE).body);
  if (query.natural() !== 1n) malformed('a time-stamp query of another version');
  const imprint = readImprint(query);
  query.optional(TAG.OID);
  const nonce = query.take(TAG.INTEGER).body;
  query.optional(TAG.BOOLEAN);
  query.end();
  return { imprint, nonce };
}

function readImprint(reader) {
  const inner = reader.inside(TAG.SEQUENCE);
  if (digestName(inner.algorithm().oid) !== 'SHA-256') malformed('an imprint that is not SHA-256');
  const found = inner.take(TAG.OCTETS).body;
  inner.end();
  return found;
}

/**
 * `{ imprint, from, to }`: what was stamped, and genTime minus and plus accuracy, in ns. `nonce` is
 * null where no query is kept; `pinned` are parsed certificates. MALFORMED, BAD_SIGNATURE or
 * UNTRUSTED_KEY. Whether the imprint is the right one the caller decides.
 */
export async function verifyTimestamp(bytes, { nonce, pinned }) {
  const token = tokenOf(bytes);
  const info = readInfo(token.content, nonce);
  const { signer, certificates } = await signerOf(token, pinned);
  const { signed, algorithm, digestAlgorithm, signature } = token.signerInfo;
  if (!(await verifyWith(signer.key, algorithm, digestAlgorithm, signed, signature))) {
    refuse('BAD_SIGNATURE', 'the signature of the time-stamp does not verify');
  }
  if (!isForTimeStamps(signer)) malformed('the certificate is not for time-stamps alone');
  if (!(await leadsTo(signer, certificates, pinned, info.time))) {
    refuse('UNTRUSTED_KEY', 'the time-stamp leads to no pinned certificate that was valid then');
  }
  return { imprint: info.imprint, from: info.time - info.accuracy, to: info.time + info.accuracy };
}

function tokenOf(bytes) {
  const response = new Der(Der.only(bytes, TAG.SEQUENCE).body);
  const status = response.inside(TAG.SEQUENCE).natural();
  if (status > 1n) malformed('the authority granted no time-stamp');
  const content = response.inside(TAG.SEQUENCE);
  response.end();
  if (content.oid() !== SIGNED_DATA) malformed('a time-stamp is CMS SignedData');
  const data = new Der(Der.only(content.take(0xa0).body, TAG.SEQUENCE).body);
  content.end();
  data.natural();
  data.take(TAG.SET);
  const encapsulated = data.inside(TAG.SEQUENCE);
  if (encapsulated.oid() !== TST_INFO) malformed('a time-stamp holds a TSTInfo');
  const info = Der.only(encapsulated.take(0xa0).body, TAG.OCTETS).body;
  encapsulated.end();
  const certificates = certificatesOf(data.optional(0xa0));
  data.optional(0xa1);
  const signers = data.inside(TAG.SET);
  const signerInfo = readSigner(signers.inside(TAG.SEQUENCE));
  signers.end();
  data.end();
  return { content: info, certificates, signerInfo };
}

function certificatesOf(element) {
  const certificates = [];
  if (element === null) return certificates;
  const list = new Der(element.body);
  while (list.more) certificates.push(parseCertificate(list.take(TAG.SEQUENCE).whole));
  return certificates;
}

function readSigner(reader) {
  reader.natural();
  reader.take();
  const digestAlgorithm = digestName(reader.algorithm().oid);
  const attributes = reader.take(0xa0);
  const algorithm = reader.algorithm().oid;
  const signature = reader.take(TAG.OCTETS).body;
  reader.optional(0xa1);
  reader.end();
  // The signature is over the attributes as a SET, not under the tag they travel with.
  const signed = concat(Uint8Array.of(TAG.SET), attributes.whole.subarray(1));
  return { digestAlgorithm, algorithm, signature, signed, attributes: readAttributes(attributes.body) };
}

function readAttributes(body) {
  const attributes = new Map();
  const list = new Der(body);
  while (list.more) {
    const one = list.inside(TAG.SEQUENCE);
    const oid = one.oid();
    const values = one.inside(TAG.SET);
    const value = values.take();
    values.end();
    one.end();
    if (attributes.has(oid)) malformed('a signed attribute stands twice');
    attributes.set(oid, value);
  }
  return attributes;
}

function readInfo(bytes, nonce) {
  const info = new Der(Der.only(bytes, TAG.SEQUENCE).body);
  if (info.natural() !== 1n) malformed('a TSTInfo of another version');
  info.take(TAG.OID);
  const imprint = readImprint(info);
  info.take(TAG.INTEGER);
  const time = generalizedTime(info.take(TAG.TIME).body);
  const accuracy = readAccuracy(info.optional(TAG.SEQUENCE));
  info.optional(TAG.BOOLEAN);
  const own = info.optional(TAG.INTEGER)?.body ?? null;
  info.optional(0xa0);
  info.optional(0xa1);
  info.end();
  if (nonce !== null && (own === null || !equal(own, nonce))) malformed('the time-stamp answers another query');
  return { imprint, time, accuracy };
}

function readAccuracy(element) {
  if (element === null) return 0n;
  const inner = new Der(element.body);
  const part = (tag) => {
    const found = inner.optional(tag);
    return found === null ? 0n : BigInt(`0x${[...found.body].map((byte) => byte.toString(16).padStart(2, '0')).join('') || '0'}`);
  };
  const [seconds, millis, micros] = [part(TAG.INTEGER), part(0x80), part(0x81)];
  inner.end();
  if (millis > 999n || micros > 999n) malformed('an accuracy out of bounds');
  return (seconds * 1_000_000n + millis * 1_000n + micros) * MICROSECOND;
}

// The certificate that the signed attributes name, of the token or of the trust file.
async function signerOf({ content, certificates, signerInfo }, pinned) {
  const { attributes, digestAlgorithm } = signerInfo;
  const type = attributes.get(CONTENT_TYPE);
  if (type?.tag !== TAG.OID || new Der(type.whole).oid() !== TST_INFO) malformed('the content type is not signed');
  const own = attributes.get(MESSAGE_DIGEST);
  if (own?.tag !== TAG.OCTETS || !equal(own.body, await digest(digestAlgorithm, content))) {
    refuse('BAD_SIGNATURE', 'what was signed is not this TSTInfo');
  }
  const { name, hash } = certificateHash(attributes);
  for (const one of [...certificates, ...pinned]) {
    if (equal(await digest(name, one.bytes), hash)) return { signer: one, certificates };
  }
  return refuse('UNTRUSTED_KEY', 'the certificate that signed is not there');
}

function certificateHash(attributes) {
  const newer = attributes.get(SIGNING_CERTIFICATE_V2);
  const named = newer ?? attributes.get(SIGNING_CERTIFICATE);
  if (named?.tag !== TAG.SEQUENCE) malformed('the signed attributes name no certificate');
  const first = new Der(named.body).inside(TAG.SEQUENCE).inside(TAG.SEQUENCE);
  const name = !newer ? 'SHA-1' : first.peek() === TAG.SEQUENCE ? digestName(first.algorithm().oid) : 'SHA-256';
  return { name, hash: first.take(TAG.OCTETS).body };
}
