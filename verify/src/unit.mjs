// UNIT: one group commit. docs/format.md section 8.
// Never believes a length it has not checked against what is there; judges no entry.

import { allZero, compare, concat, label, Reader, utf8 } from './wire.mjs';
import { malformed, refuse } from './verdict.mjs';
import { sha256 } from './hash.mjs';
import { verifyEd25519 } from './ed25519.mjs';

const MAGIC = utf8('CHU1');
const HEAD = 118;
const SPAN = 22;
const TRAILER = 96;
const SPANS_MAX = 64;

/**
 * The unit at the front of `bytes`: `{ length, number, epoch, prevHash, first, end, root, state,
 * spans, front, body, hash, signature }`. `front` is what the hash covers, `body` the entries
 * with their lengths. STORE_TOO_NEW for a higher version, MALFORMED otherwise.
 */
export function parseUnit(bytes) {
  const reader = new Reader(bytes);
  const magic = reader.take(4);
  if (compare(magic, MAGIC) !== 0) {
    if (compare(magic.subarray(0, 3), MAGIC.subarray(0, 3)) === 0 && magic[3] > 0x31 && magic[3] <= 0x39) {
      refuse('STORE_TOO_NEW', 'a unit was written by a newer version');
    }
    malformed('no unit begins here');
  }
  const length = reader.u64();
  if (length > BigInt(bytes.length) || length < BigInt(HEAD + TRAILER)) malformed('a unit is cut short');
  const unit = {
    length: Number(length),
    number: reader.u64(),
    epoch: reader.u64(),
    prevHash: reader.take(32),
    first: reader.u64(),
    end: reader.u64(),
    root: reader.take(32),
    state: reader.u64(),
  };
  unit.spans = readSpans(reader);
  if (unit.end <= unit.first || unit.state > unit.first) malformed('a unit head contradicts itself');
  if ((unit.number === 0n) !== allZero(unit.prevHash)) malformed('only unit 0 has no predecessor');
  if (reader.at + TRAILER > unit.length) malformed('a unit is cut short');
  unit.front = bytes.subarray(0, reader.at);
  unit.body = bytes.subarray(reader.at, unit.length - TRAILER);
  unit.hash = bytes.subarray(unit.length - TRAILER, unit.length - 64);
  unit.signature = bytes.subarray(unit.length - 64, unit.length);
  return unit;
}

function readSpans(reader) {
  const count = reader.u16();
  if (count > SPANS_MAX) malformed(`a unit has at most ${SPANS_MAX} spans`);
  const spans = [];
  for (let i = 0; i < count; i++) {
    const place = reader.take(6);
    if (i > 0 && compare(spans[i - 1].place, place) >= 0) malformed('spans out of order');
    const inner = new Reader(place);
    const span = { place, cls: inner.u16(), bucket: inner.u32(), start: reader.u64(), end: reader.u64() };
    if (span.end <= span.start) malformed('an empty span');
    spans.push(span);
  }
  return spans;
}

export async function hashHolds(unit) {
  return compare(await sha256(concat(label('unit'), unit.front)), unit.hash) === 0;
}

export function signatureHolds(unit, key) {
  return verifyEd25519(key, concat(label('unit-signature'), unit.hash), unit.signature);
}

/** `{ entries, whole }`: the bytes of each entry; not whole when they do not fill the unit. */
export function entriesOf(unit) {
  const reader = new Reader(unit.body);
  const entries = [];
  const count = unit.end - unit.first;
  while (BigInt(entries.length) < count) {
    if (reader.left < 2) break;
    const length = reader.u16();
    if (length > reader.left) break;
    entries.push(reader.take(length));
  }
  return { entries, whole: BigInt(entries.length) === count && reader.left === 0 };
}

/** Where the next unit magic stands at or after `from`, or -1. */
export function nextMagic(bytes, from) {
  for (let at = bytes.indexOf(MAGIC[0], from); at >= 0; at = bytes.indexOf(MAGIC[0], at + 1)) {
    if (at + 4 <= bytes.length && compare(bytes.subarray(at, at + 4), MAGIC) === 0) return at;
  }
  return -1;
}
