// Units end to end, over all segments. docs/format.md section 8.
// Never stops at damage while something whole follows; never believes a unit for its length.

import { compare } from './wire.mjs';
import { Refusal } from './verdict.mjs';
import { hashHolds, nextMagic, parseUnit } from './unit.mjs';
import { piecesOf, segmentsOf } from './segment.mjs';

/**
 * Yields `{ unit, hashed, last }` and `{ gap, tail, lost, why, tooNew }` in order. `last` means that
 * nothing follows the unit, `tail` that nothing whole follows the gap, `lost` that packed bytes are
 * part of it.
 */
export async function* walkUnits(folder, tenant) {
  const segments = segmentsOf(folder);
  let gap = null;
  const wider = (bytes, why, lost) => {
    gap = { gap: (gap?.gap ?? 0) + bytes, why: gap?.why ?? why, lost: lost || (gap?.lost ?? false), tooNew: false };
  };
  for (const [i, segment] of segments.entries()) {
    const lastSegment = segments.slice(i + 1).every(({ file }) => file.size === 0);
    for await (const { bytes = [], damage = 0, why, last } of piecesOf(segment, tenant)) {
      if (why !== undefined) wider(damage, why, true);
      let at = 0;
      while (at < bytes.length) {
        const found = await unitAt(bytes, at);
        if (found.unit) {
          if (gap !== null) yield { ...gap, tail: false };
          gap = null;
          at += found.unit.length;
          yield { ...found, last: lastSegment && last && at === bytes.length };
          continue;
        }
        if (found.tooNew) {
          yield { gap: bytes.length - at, tail: true, tooNew: true, why: found.why };
          return;
        }
        const next = await nextWhole(bytes, at + 1);
        const end = next < 0 ? bytes.length : next;
        wider(end - at, found.why, false);
        at = end;
      }
    }
  }
  if (gap !== null) yield { ...gap, tail: true };
}

// A unit at `at`: whole, or with a wrong hash but followed by the end or by another unit.
async function unitAt(bytes, at) {
  let unit;
  try {
    unit = parseUnit(bytes.subarray(at));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { unit: null, tooNew: error.code === 'STORE_TOO_NEW', why: error.message };
  }
  const hashed = await hashHolds(unit);
  const end = at + unit.length;
  const follows = bytes.subarray(end, end + 3);
  if (hashed || end === bytes.length || compare(follows, [0x43, 0x48, 0x55]) === 0) {
    return { unit, hashed };
  }
  return { unit: null, tooNew: false, why: 'the hash of a unit is wrong' };
}

// Where the next whole unit with a right hash begins, or -1.
async function nextWhole(bytes, from) {
  for (let at = nextMagic(bytes, from); at >= 0; at = nextMagic(bytes, at + 1)) {
    const found = await unitAt(bytes, at);
    if (found.unit && found.hashed) return at;
  }
  return -1;
}
