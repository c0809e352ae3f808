// Packed body files without keys: which sealed groups they hold, by their places in the plain file.
// docs/format.md section 6. Never opens or expands anything: that needs the vault's keys.

import { concat, equal, Reader, u16, u32, utf8 } from './wire.mjs';
import { malformed, Refusal } from './verdict.mjs';
import { crc32 } from './crc32.mjs';

const HEAD = 32;
const ROW = 16;
const TRAILER = 32;
const END = utf8('CHB2END\0');
const KEPT = 4;

export function packedHeadHolds(head, { tenant, cls, bucket }) {
  return equal(head, concat(utf8('CHB2'), tenant, u16(cls), u32(bucket), new Uint8Array(6)));
}

/** Frames of a packed body file; `plain` is the length of the file it was made from. */
export class PackedBody {
  constructor(file, plain, rows) {
    this.file = file;
    this.plain = plain;
    this.rows = rows;
    this.kept = new Map();
  }

  /** The file if its rows can be read, else null. */
  static async open(file) {
    try {
      return await readRows(file);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return null;
    }
  }

  /** The frames whose place in the plain file lies in [start, end), without those of damaged blocks. */
  async span(start, end) {
    const found = [];
    for (const row of this.rows) {
      if (row.at >= end || row.end <= start) continue;
      const frames = await this.#block(row);
      found.push(...frames.filter(({ at }) => at >= start && at < end));
    }
    return found;
  }

  async #block(row) {
    if (this.kept.has(row)) return this.kept.get(row);
    let frames = [];
    try {
      frames = readBlock(await this.file.read(row.from, row.to), row);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
    this.kept.set(row, frames);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    return frames;
  }
}

async function readRows(file) {
  if (file.size < HEAD + ROW + TRAILER) malformed('a packed body file is cut short');
  const end = new Reader(await file.read(file.size - TRAILER, file.size));
  const [plain, start, count, crc] = [end.u64(), end.u64(), end.u32(), end.u32()];
  if (!equal(end.take(8), END)) malformed('a packed body file without its end');
  if (count === 0 || start !== BigInt(file.size - TRAILER - ROW * count)) malformed('rows of blocks are not where they should be');
  const from = Number(start);
  if (from < HEAD || crc32(await file.read(from, file.size - 12)) !== crc) malformed('the rows of blocks are damaged');
  const reader = new Reader(await file.read(from, from + ROW * count));
  const rows = Array.from({ length: count }, () => ({ at: reader.u64(), from: Number(reader.u64()) }));
  for (const [i, row] of rows.entries()) {
    row.end = rows[i + 1]?.at ?? plain;
    row.to = rows[i + 1]?.from ?? from;
    const first = i > 0 || (row.at === BigInt(HEAD) && row.from === HEAD);
    if (!first || row.end <= row.at || row.to <= row.from) malformed('blocks that do not follow each other');
  }
  return new PackedBody(file, plain, rows);
}

// Frames `{ at, index, group, algorithm, sealed }`, ascending by place and by (index, group).
function readBlock(bytes, row) {
  const reader = new Reader(bytes);
  const [length, crc] = [reader.u32(), reader.u32()];
  if (length !== bytes.length || crc32(bytes.subarray(8)) !== crc) malformed('a block is damaged');
  let [at, index, group] = [reader.u64(), reader.u64(), -1];
  if (at !== row.at) malformed('a block is not the one of its row');
  const frames = [];
  do {
    const [steps, distance] = [reader.varint(), reader.varint()];
    const own = reader.u8();
    const rises = frames.length === 0 ? steps === 0n && distance === 0n : distance > 0n && (steps > 0n || own > group);
    [index, at, group] = [index + steps, at + distance, own];
    if (!rises || at >= row.end) malformed('frames of a block out of order');
    const algorithm = reader.u8();
    reader.take(12);
    const sealed = Number(reader.varint());
    reader.take(sealed);
    frames.push({ at, index, group, algorithm, sealed });
  } while (reader.left > 0);
  return frames;
}
