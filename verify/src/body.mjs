// Body files without keys: is each sealed group there, undamaged and in its place, and does an
// entry name it. docs/format.md section 6. Never opens anything: that needs the vault's keys.

import { compare, concat, equal, Reader, u16, u32, u64, utf8 } from './wire.mjs';
import { dayText } from './text.mjs';
import { crc32 } from './crc32.mjs';

const FILE_HEAD = 32;
const FRAME_HEAD = 46;
const ALGORITHMS = [1];

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
  let at = 0;
  let extra = 0;
  for (const group of expected) {
    const found = findFrame(bytes, at, group);
    if (found === null) {
      damaged.push(group);
      continue;
    }
    extra += found.at - at;
    if (!found.whole) damaged.push(group);
    at = found.end;
  }
  // What lies behind a damaged frame may be its own rest: only an undamaged span has extras.
  extra += bytes.length - at;
  return { damaged, extra: damaged.length === 0 ? extra : 0 };
}

// The frame of a group at `from`, or further on when what stands at `from` is another's.
function findFrame(bytes, from, group) {
  const place = u64(group.index);
  for (let at = from; at + FRAME_HEAD <= bytes.length; at++) {
    const here = compare(bytes.subarray(at + 8, at + 16), place) === 0 && bytes[at + 16] === group.group;
    if (here) return readFrame(bytes, at, group);
  }
  return null;
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
    ALGORITHMS.includes(bytes[at + 17]) &&
    equal(bytes.subarray(at + 18, at + 34), group.recordId) &&
    sealed > 16 && (sealed - 16) % 32 === 0;
  return { at, end, whole };
}

