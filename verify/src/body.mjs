// Body files without keys: is each sealed group there, undamaged and in its place, and does an
// entry name it. docs/format.md section 6. Never opens anything: that needs the vault's keys.

import { concat, equal, Reader, u16, u32, utf8 } from './wire.mjs';
import { dayText } from './text.mjs';
import { crc32 } from './crc32.mjs';

const FILE_HEAD = 32;
const FRAME_HEAD = 46;
const TAG = 16;

// What padding allows of a ciphertext without its tag, by algorithm.
const LENGTHS = new Map([
  [1, (length) => length >= 32 && length % 32 === 0],
  [2, (length) => length >= 48 && length % 16 === 0],
]);

/** Whether a group may have this algorithm and this length, its tag not counted. */
export function lengthHolds(algorithm, length) {
  return LENGTHS.get(algorithm)?.(length) ?? false;
}

/** `bodies/<class>/<YYYY-MM-DD>.seg` of a class-day. */
export function bodyPath(cls, bucket) {
  return `bodies/${cls}/${dayText(bucket)}.seg`;
}

export function bodyHeadHolds(head, { tenant, cls, bucket }) {
  const expected = concat(utf8('CHB1'), tenant, u16(cls), u32(bucket), new Uint8Array(6));
  return head.length === FILE_HEAD && equal(head, expected);
}

/**
 * Walks the frames of one span. `expected` are `{ index, group, recordId }` ascending. Gives
 * `{ damaged: [expected...], extra }`: groups without a whole frame, bytes that belong to none.
 */
export function walkSpan(bytes, expected) {
  const damaged = [];
  let places = null;
  let at = 0;
  let extra = 0;
  for (const group of expected) {
    let from = at;
    if (!standsAt(bytes, at, group)) {
      places ??= placesOf(bytes, expected);
      from = places.get(nameOf(group)) ?? -1;
    }
    if (from < at) {
      damaged.push(group);
      continue;
    }
    const frame = readFrame(bytes, from, group);
    extra += from - at;
    if (!frame.whole) damaged.push(group);
    at = frame.end;
  }
  // What lies behind a damaged frame may be its own rest: only an undamaged span has extras.
  extra += bytes.length - at;
  return { damaged, extra: damaged.length === 0 ? extra : 0 };
}

/** The same for frames of a packed file: `extra` counts groups that no entry has. */
export function matchFrames(frames, expected) {
  const names = new Map(frames.map((frame) => [nameOf(frame), frame]));
  const damaged = expected.filter((group) => {
    const frame = names.get(nameOf(group));
    return frame === undefined || !lengthHolds(frame.algorithm, frame.sealed - TAG);
  });
  return { damaged, extra: damaged.length === 0 ? frames.length - expected.length : 0 };
}

const nameOf = ({ index, group }) => `${index}/${group}`;

function standsAt(bytes, at, { index, group }) {
  if (at + FRAME_HEAD > bytes.length) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, FRAME_HEAD);
  return view.getBigUint64(8) === BigInt(index) && view.getUint8(16) === group;
}

// Where each expected head stands for the first time, in one pass over all bytes.
function placesOf(bytes, expected) {
  const wanted = new Set(expected.map(nameOf));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const places = new Map();
  for (let at = 0; at + FRAME_HEAD <= bytes.length; at++) {
    // Places in a log are small numbers: most bytes are passed over by their first half.
    if (view.getUint32(at + 8) > 0x1f_ffff) continue;
    const index = view.getUint32(at + 8) * 0x1_0000_0000 + view.getUint32(at + 12);
    const name = `${index}/${bytes[at + 16]}`;
    if (wanted.has(name) && !places.has(name)) places.set(name, at);
  }
  return places;
}

function readFrame(bytes, at, group) {
  const reader = new Reader(bytes.subarray(at));
  const sealed = reader.u32();
  const crc = reader.u32();
  const end = at + FRAME_HEAD + sealed;
  if (end > bytes.length) return { at, end: Math.min(at + FRAME_HEAD, bytes.length), whole: false };
  const covered = bytes.subarray(at + 16, end);
  const whole =
    crc32(covered) === crc &&
    lengthHolds(bytes[at + 17], sealed - TAG) &&
    equal(bytes.subarray(at + 18, at + 34), group.recordId);
  return { at, end, whole };
}

