// Packs segments and body files from docs/format.md sections 6 and 8 alone, so that damage behind a
// right CRC can be tried. Bodies are not opened: every group stays as it is, or gets other numbers.

import { deflateRawSync } from 'node:zlib';
import { concat, lp8, lp32, u16, u32, u64 } from '../../src/wire.mjs';
import { crc32 } from '../../src/crc32.mjs';
import { decodeEntry } from '../../src/entry.mjs';
import { entriesOf, parseUnit } from '../../src/unit.mjs';
import { DAY_NS } from '../../src/text.mjs';
import { bytes, leafOf, TENANT, unhex } from './signer.mjs';

const MASK = (1n << 64n) - 1n;

export function varint(number) {
  const out = [];
  for (let n = BigInt(number); ; n >>= 7n) {
    if (n < 0x80n) return Uint8Array.of(...out, Number(n));
    out.push(Number(n & 0x7fn) | 0x80);
  }
}

export function zigzag(difference) {
  const d = BigInt.asIntN(64, difference & MASK);
  return varint(BigInt.asUintN(64, (d << 1n) ^ (d >> 63n)));
}

/** Columns and random bytes of the units in a block. */
function columnsOf(units) {
  const columns = Array.from({ length: 8 }, () => []);
  const [perUnit, perEntry, heads] = [[], [], []];
  const [sources, shapes, sequences] = [[], [], new Map()];
  let [claimed, time] = [0n, 0n];
  const placeIn = (list, item) => {
    const key = Buffer.from(item).toString('hex');
    const at = list.findIndex((one) => one.key === key);
    return at >= 0 ? at : list.push({ key, item }) - 1;
  };
  for (const unit of units) {
    const { entries } = entriesOf(unit);
    heads.push(varint(entries.length), varint(unit.epoch), varint(unit.state === 0n ? 0 : 1n + unit.first - unit.state), varint(unit.spans.length));
    for (const { cls, bucket, start, end } of unit.spans) heads.push(varint(cls), varint(bucket), varint(start), varint(end - start));
    perUnit.push(unit.root, unit.signature);
    for (const entry of entries.map((one) => decodeEntry(one))) {
      const marked = [entry.eventIdTag, entry.source].map((id) => id.some((byte) => byte !== 0));
      const marks = (entry.hasSequence ? 1 : 0) | (marked[0] ? 2 : 0) | (marked[1] ? 4 : 0);
      const groups = entry.groups.map(({ policy, cls, bucket, positions }) => concat(
        Uint8Array.of(policy), u16(cls), zigzag(BigInt(bucket) - entry.logTime / DAY_NS), lp8(positions),
      ));
      const fields = entry.fields.map(({ nameBytes, group }) => concat(lp8(nameBytes), Uint8Array.of(group)));
      const shape = concat(varint(groups.length), ...groups, varint(fields.length), ...fields);
      columns[0].push(concat(
        Uint8Array.of(entry.kind, marks), varint(entry.cls), Uint8Array.of(entry.category, entry.verb, entry.outcome, entry.severity, entry.tags.length),
        varint(placeIn(shapes, shape)),
      ));
      columns[1].push(entry.eventTime === 0n ? varint(0) : concat(varint(1), zigzag(entry.eventTime - claimed)));
      if (entry.eventTime !== 0n) claimed = entry.eventTime;
      columns[2].push(zigzag(entry.logTime - time));
      time = entry.logTime;
      const source = marked[1] ? placeIn(sources, entry.source) : null;
      if (source !== null) columns[3].push(varint(source));
      if (entry.hasSequence) {
        columns[4].push(zigzag(entry.sequence - (sequences.get(source) ?? 0n)));
        sequences.set(source, entry.sequence);
      }
      columns[5].push(varint(entry.clear.length), entry.clear);
      perEntry.push(entry.recordId, marked[0] ? entry.eventIdTag : [], ...entry.tags, ...entry.fields.map(({ commitment }) => commitment));
    }
  }
  columns[6] = sources.map(({ item }) => item);
  columns[7] = shapes.map(({ item }) => item);
  return { heads: concat(varint(units.length), ...heads), columns: columns.map((parts) => concat(...parts)), perUnit: concat(...perUnit), perEntry: concat(...perEntry) };
}

const framed = (body) => concat(u32(8 + body.length), u32(crc32(body)), body);

/**
 * A packed segment of `blocks`, each a list of whole units. `before` has the hash of the unit and
 * the leaf hash of the entry before. `change(parts, i)` may spoil what block i is made of, `rowOf` its
 * row, `shape` the numbers of the trailer, always under a right CRC.
 */
export function packSegment(blocks, { number = 0, before, tenant = unhex(TENANT), magic = 'CHP1', change = (parts) => parts, rowOf = (row) => row, shape = {} } = {}) {
  const parts = [concat(bytes(magic), u32(number), tenant)];
  const rows = [];
  let [at, from, hash, leaf] = [0, 24, before?.hash ?? new Uint8Array(32), before?.leaf ?? new Uint8Array(32)];
  for (const [i, list] of blocks.entries()) {
    const units = list.map((one) => parseUnit(one));
    const length = list.reduce((sum, one) => sum + one.length, 0);
    const own = change({ length, number: units[0].number, index: units[0].first, hash, leaf, ...columnsOf(units) }, i);
    const expanded = concat(lp32(own.heads), ...own.columns.map((one) => lp32(one)), own.more ?? []);
    const deflated = own.deflated ?? deflateRawSync(expanded);
    const block = framed(concat(
      u64(own.length), u64(own.number), u64(own.index), own.hash, own.leaf, u32(own.expanded ?? expanded.length),
      lp32(deflated), lp32(concat(lp32(own.perUnit), lp32(own.perEntry), own.moreRandom ?? [])),
    ));
    rows.push(rowOf(concat(u64(at), u64(from), u64(units[0].number), u64(units[0].first)), i));
    parts.push(block);
    at += length;
    from += block.length;
    hash = units.at(-1).hash;
    leaf = leafOf(entriesOf(units.at(-1)).entries.at(-1));
  }
  const end = concat(...rows, u64(shape.length ?? at), u64(shape.start ?? from), u32(shape.rows ?? rows.length));
  return concat(...parts, end, u32(crc32(end)), bytes('CHP1END\0'));
}

/** Frames `{ at, index, group, algorithm, nonce, sealed }` of a plain body file. */
export function framesOf(file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const frames = [];
  for (let at = 32; at < file.length;) {
    const length = view.getUint32(at);
    frames.push({
      at, index: Number(view.getBigUint64(at + 8)), group: file[at + 16], algorithm: file[at + 17],
      nonce: file.subarray(at + 34, at + 46), sealed: file.subarray(at + 46, at + 46 + length),
    });
    at += 46 + length;
  }
  return frames;
}

/** A packed body file of a plain one, `each` frames a block; `change` as above on a block's frames. */
export function packBodies(file, { each = 2, change = (frames) => frames, rowOf = (row) => row, shape = {}, magic = 'CHB2' } = {}) {
  const frames = framesOf(file);
  const parts = [concat(bytes(magic), file.subarray(4, 32))];
  const rows = [];
  let from = 32;
  for (let i = 0; i < frames.length; i += each) {
    const own = change(frames.slice(i, i + each).map((one) => ({ ...one })), i / each);
    const items = own.map((frame, n) => {
      const last = own[Math.max(0, n - 1)];
      return concat(
        varint(BigInt.asUintN(64, BigInt(frame.index - last.index))), varint(BigInt.asUintN(64, BigInt(frame.at - last.at))),
        Uint8Array.of(frame.group, frame.algorithm), frame.nonce, varint(frame.length ?? frame.sealed.length), frame.sealed,
      );
    });
    const block = framed(concat(u64(own[0].at), u64(own[0].index), ...items));
    rows.push(rowOf(concat(u64(frames[i].at), u64(from)), i / each));
    parts.push(block);
    from += block.length;
  }
  const end = concat(...rows, u64(shape.length ?? file.length), u64(shape.start ?? from), u32(shape.rows ?? rows.length));
  return concat(...parts, end, u32(crc32(end)), bytes('CHB2END\0'));
}
