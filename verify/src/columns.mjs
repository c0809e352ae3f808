// Units of a packed block from its columns: every byte that follows from the others is made again.
// docs/format.md section 8, Packed segment. Never judges what it makes: hashes, roots and
// signatures are checked as if the units had lain there plainly.

import { concat, label, Reader, u16, u32, u64, utf8 } from './wire.mjs';
import { DAY_NS } from './text.mjs';
import { malformed } from './verdict.mjs';
import { sha256 } from './hash.mjs';
import { leafHash } from './merkle.mjs';

const [SEQUENCE, EVENT_ID, SOURCE] = [1, 2, 4];
const MARKS = SEQUENCE | EVENT_ID | SOURCE;
const U8 = 0xff;
const U16 = 0xffff;
const U32 = 0xffff_ffff;
const ENTRY_MAX = 16_384;
const SPANS_MAX = 64;
const ROOT_AND_SIGNATURE = 96;
const NONE = new Uint8Array(16);

/** `{ cls, bucket, start, end }` and the numbers of each unit, in order. */
function readUnits(bytes) {
  const reader = new Reader(bytes);
  const units = [];
  const count = reader.small(bytes.length);
  for (let i = 0; i < count; i++) {
    const unit = { entries: reader.small(U32), epoch: reader.varint(), back: reader.varint(), spans: [] };
    const spans = reader.small(SPANS_MAX);
    for (let n = 0; n < spans; n++) {
      const span = [u16(reader.small(U16)), u32(reader.small(U32))];
      const start = reader.varint();
      unit.spans.push(concat(...span, u64(start), u64(BigInt.asUintN(64, start + reader.varint()))));
    }
    units.push(unit);
  }
  reader.end();
  return units;
}

function readShapes(reader) {
  const shapes = [];
  while (reader.left > 0) {
    const shape = { groups: [], fields: [] };
    for (let n = reader.small(U8); n > 0; n--) {
      shape.groups.push({ front: concat(reader.take(1), reader.take(2)), distance: reader.near(0n), positions: reader.lp8() });
    }
    for (let n = reader.small(U16); n > 0; n--) {
      const name = reader.lp8();
      shape.fields.push(concat(Uint8Array.of(name.length), name, reader.take(1)));
    }
    shapes.push(shape);
  }
  return shapes;
}

// The heads of entries, one after another; numbers that lean on the ones before are kept here.
class Heads {
  constructor(columns, random, tenant) {
    const readers = columns.map((bytes) => new Reader(bytes));
    [this.front, this.claimed, this.log, this.sourceAt, this.sequence, this.clear, this.sources] = readers;
    this.shapes = readShapes(readers[7]);
    this.random = new Reader(random);
    this.tenant = tenant;
    this.known = [];
    while (this.sources.left > 0) this.known.push(this.sources.take(16));
    this.lastClaimed = 0n;
    this.lastSequence = new Map();
    this.time = 0n;
  }

  /** Head, padding and log time of the next entry. */
  next() {
    const { front } = this;
    const kind = front.take(1);
    const marks = front.u8();
    if (marks > MARKS) malformed('an unknown mark');
    const cls = front.small(U16);
    const [code, outcome] = [front.take(2), front.take(2)];
    const tags = front.u8();
    const shape = this.shapes[front.small(this.shapes.length)] ?? malformed('a shape that is not there');
    const claimed = this.#claimed();
    this.time = this.log.near(this.time);
    const at = (marks & SOURCE) === 0 ? null : this.sourceAt.small(this.known.length);
    const source = at === null ? NONE : (this.known[at] ?? malformed('a source that is not there'));
    const sequence = (marks & SEQUENCE) === 0 ? 0n : this.#sequence(at);
    const recordId = this.random.take(16);
    const eventId = (marks & EVENT_ID) === 0 ? NONE : this.random.take(16);
    const flags = (shape.fields.length > 0 ? 1 : 0) | ((marks & SEQUENCE) === 0 ? 0 : 2);
    const head = concat(
      utf8('CHE1'), kind, Uint8Array.of(flags), u16(cls), u64(claimed), this.tenant, recordId, eventId, source, u64(sequence),
      code, outcome, Uint8Array.of(tags, shape.groups.length), u16(shape.fields.length), this.random.take(16 * tags),
      ...shape.groups.map((group) => this.#group(group)), ...shape.fields.flatMap((field) => [field, this.random.take(32)]),
      this.#clear(),
    );
    const padding = (64 - ((1 + head.length) % 64)) % 64;
    if (head.length + padding + 48 > ENTRY_MAX) malformed('an entry that is too long');
    return { head, padding: new Uint8Array(padding), time: this.time };
  }

  #claimed() {
    const given = this.claimed.small(1);
    if (given === 1) this.lastClaimed = this.claimed.near(this.lastClaimed);
    return given === 1 ? this.lastClaimed : 0n;
  }

  #sequence(source) {
    const number = this.sequence.near(this.lastSequence.get(source) ?? 0n);
    this.lastSequence.set(source, number);
    return number;
  }

  #group({ front, distance, positions }) {
    const bucket = BigInt.asUintN(64, this.time / DAY_NS + distance);
    if (bucket > BigInt(U32)) malformed('a day out of range');
    return concat(front, u32(Number(bucket)), Uint8Array.of(positions.length), positions);
  }

  #clear() {
    const length = this.clear.small(ENTRY_MAX);
    return concat(u16(length), this.clear.take(length));
  }

  end() {
    for (const reader of [this.front, this.claimed, this.log, this.sourceAt, this.sequence, this.clear, this.random]) reader.end();
  }
}

/**
 * The units of a block, byte by byte, each an array of one Uint8Array; MALFORMED when the columns do
 * not fit each other. `block` has number, index, hashBefore, leafBefore, columns, perUnit, perEntry.
 */
export async function unitsOf(block, tenant, length) {
  const units = readUnits(block.units);
  const heads = new Heads(block.columns, block.perEntry, tenant);
  const signed = new Reader(block.perUnit);
  const made = [];
  let { number, index, hashBefore, leafBefore } = block;
  let left = length;
  for (const unit of units) {
    const entries = [];
    const first = index;
    for (let i = 0; i < unit.entries; i++) {
      const { head, padding, time } = heads.next();
      const entry = concat(head, padding, u64(index), u64(time), leafBefore);
      left -= 2 + entry.length;
      if (left < 0) malformed('a block that gives more than it announces');
      leafBefore = await leafHash(entry);
      entries.push(u16(entry.length), entry);
      index++;
    }
    const [root, signature] = [signed.take(ROOT_AND_SIGNATURE - 64), signed.take(64)];
    const state = unit.back === 0n ? 0n : 1n + first - unit.back;
    if (state < 0n) malformed('a state entry before the log');
    const body = concat(...entries);
    const size = 118 + 22 * unit.spans.length + body.length + 96;
    left -= size - body.length;
    const front = concat(
      utf8('CHU1'), u64(size), u64(number), u64(unit.epoch), hashBefore, u64(first), u64(index), root, u64(state),
      u16(unit.spans.length), ...unit.spans,
    );
    hashBefore = await sha256(concat(label('unit'), front));
    made.push(concat(front, body, hashBefore, signature));
    number++;
  }
  heads.end();
  signed.end();
  if (left !== 0) malformed('a block of another length than it announces');
  return concat(...made);
}
