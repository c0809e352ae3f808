// DER: definite lengths in their shortest form, nothing else. ITU-T X.690.
// Never guesses at BER; what is not the one encoding is MALFORMED.

import { malformed } from './verdict.mjs';

export const TAG = {
  BOOLEAN: 0x01, INTEGER: 0x02, BITS: 0x03, OCTETS: 0x04, NULL: 0x05, OID: 0x06, UTC: 0x17, TIME: 0x18, SEQUENCE: 0x30, SET: 0x31,
};

/** `{ tag, body, whole, end }` of the element at `at`. */
function elementAt(bytes, at) {
  if (at + 2 > bytes.length) malformed('DER: cut short');
  const tag = bytes[at];
  if ((tag & 0x1f) === 0x1f) malformed('DER: a tag of more than one byte');
  let length = bytes[at + 1];
  let from = at + 2;
  if (length > 0x7f) {
    const count = length & 0x7f;
    if (count === 0 || count > 4 || from + count > bytes.length) malformed('DER: an indefinite or absurd length');
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + bytes[from + i];
    if (length < 0x80 || bytes[from] === 0) malformed('DER: a length that is not the shortest');
    from += count;
  }
  const end = from + length;
  if (end > bytes.length) malformed('DER: cut short');
  return { tag, body: bytes.subarray(from, end), whole: bytes.subarray(at, end), end };
}

/** Elements one after the other. */
export class Der {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  /** The one element that `bytes` are, from first to last. */
  static only(bytes, tag) {
    const der = new Der(bytes);
    const element = der.take(tag);
    der.end();
    return element;
  }

  get more() {
    return this.at < this.bytes.length;
  }

  peek() {
    return this.more ? this.bytes[this.at] : -1;
  }

  /** The next element, of this tag if one is given. */
  take(tag) {
    const element = elementAt(this.bytes, this.at);
    if (tag !== undefined && element.tag !== tag) malformed(`DER: tag ${element.tag} where ${tag} is expected`);
    this.at = element.end;
    return element;
  }

  /** The next element if it has this tag, else null. */
  optional(tag) {
    return this.peek() === tag ? this.take(tag) : null;
  }

  /** A reader of what is inside the next element. */
  inside(tag) {
    return new Der(this.take(tag).body);
  }

  oid() {
    return oidText(this.take(TAG.OID).body);
  }

  /** A non-negative integer as BigInt, in its shortest form. */
  natural() {
    return naturalOf(this.take(TAG.INTEGER).body);
  }

  /** An AlgorithmIdentifier: `{ oid, parameters }`, parameters the whole element or null. */
  algorithm() {
    const inner = this.inside(TAG.SEQUENCE);
    const oid = inner.oid();
    const parameters = inner.more ? inner.take() : null;
    inner.end();
    return { oid, parameters };
  }

  end() {
    if (this.more) malformed('DER: more than is expected');
  }
}

export function naturalOf(body) {
  if (body.length === 0 || body[0] > 0x7f) malformed('DER: a negative integer');
  if (body.length > 1 && body[0] === 0 && body[1] < 0x80) malformed('DER: an integer that is not the shortest');
  let value = 0n;
  for (const byte of body) value = (value << 8n) | BigInt(byte);
  return value;
}

export function oidText(body) {
  if (body.length === 0 || body[body.length - 1] > 0x7f) malformed('DER: an object identifier cut short');
  const parts = [];
  let value = 0n;
  for (const byte of body) {
    if (value === 0n && byte === 0x80) malformed('DER: an object identifier with padding');
    value = (value << 7n) | BigInt(byte & 0x7f);
    if (byte > 0x7f) continue;
    if (parts.length === 0) {
      const first = value < 40n ? 0n : value < 80n ? 1n : 2n;
      parts.push(first, value - 40n * first);
    } else {
      parts.push(value);
    }
    value = 0n;
  }
  return parts.join('.');
}

/** Nanoseconds of `YYYYMMDDhhmmss[.fraction]Z`, without trailing zeros in the fraction. */
export function generalizedTime(body) {
  const text = String.fromCharCode(...body);
  const parts = /^([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:\.([0-9]{0,17}[1-9]))?Z$/.exec(text);
  if (!parts) malformed('DER: a time in another form');
  return instant(parts);
}

/** Nanoseconds of a certificate's Time: UTCTime for 1950 to 2049, else GeneralizedTime. */
export function certificateTime({ tag, body }) {
  if (tag === TAG.TIME) return generalizedTime(body);
  if (tag !== TAG.UTC) malformed('DER: a time is expected');
  const parts = /^([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z$/.exec(String.fromCharCode(...body));
  if (!parts) malformed('DER: a time in another form');
  parts[1] = String((Number(parts[1]) < 50 ? 2000 : 1900) + Number(parts[1]));
  return instant(parts);
}

function instant([, ...parts]) {
  const [year, month, day, hour, minute, second] = parts.slice(0, 6).map(Number);
  const ms = Date.UTC(year, month - 1, day, hour, minute, second);
  const spelled = parts.slice(0, 6).map((part, i) => part.padStart(i === 0 ? 4 : 2, '0')).join('');
  if (!Number.isFinite(ms) || new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14) !== spelled) {
    malformed('DER: no such time');
  }
  return BigInt(ms) * 1_000_000n + BigInt((parts[6] ?? '').slice(0, 9).padEnd(9, '0'));
}
