// Segments of a log, plain or packed, as pieces of bytes that hold whole units. docs/format.md
// section 8. Never believes a packed file: what it does not give back is damage of what it held.

import { equal, Reader, u32, utf8, concat } from './wire.mjs';
import { malformed, Refusal } from './verdict.mjs';
import { crc32 } from './crc32.mjs';
import { inflate } from './inflate.mjs';
import { unitsOf } from './columns.mjs';

const HEAD = 24;
const ROW = 32;
const TRAILER = 32;
const END = utf8('CHP1END\0');
const COLUMNS = 8;

/** What the units of one block may come to, and what its columns may expand to. */
export const BLOCK_MAX = 201_326_592;

/** `{ name, file, number, packed }` of each segment, ascending; where both forms are, the plain. */
export function segmentsOf(folder) {
  const found = new Map();
  for (const name of folder.names()) {
    const [, number, ending] = /^log\/([0-9]{8})\.(seg|pak)$/.exec(name) ?? [];
    if (number === undefined) continue;
    // Names ascend: the plain form comes behind the packed one and takes its place.
    found.set(number, { name, file: folder.get(name), number: Number(number), packed: ending === 'pak' });
  }
  return [...found.values()];
}

/** Yields `{ bytes, last }` and, of what a packed file does not give back, `{ damage, why, last }`. */
export async function* piecesOf(segment, tenant) {
  if (!segment.packed) {
    yield { bytes: await segment.file.read(), last: true };
    return;
  }
  let rows;
  try {
    rows = await readRows(segment, tenant);
  } catch (error) {
    yield { damage: segment.file.size, why: whyOf(segment, error), last: true };
    return;
  }
  for (const [i, row] of rows.entries()) {
    const last = i + 1 === rows.length;
    try {
      yield { bytes: await blockAt(segment.file, row, tenant), last };
    } catch (error) {
      yield { damage: row.length, why: whyOf(segment, error), last };
    }
  }
}

function whyOf({ name }, error) {
  if (!(error instanceof Refusal)) throw error;
  return `${name}: ${error.message}`;
}

// What each block holds and where it lies: a file whose rows do not fit gives nothing back.
async function readRows({ file, number }, tenant) {
  const head = await file.read(0, Math.min(HEAD, file.size));
  if (!equal(head, concat(utf8('CHP1'), u32(number), tenant))) malformed('no packed segment of this number and tenant');
  if (file.size < HEAD + ROW + TRAILER) malformed('a packed segment is cut short');
  const end = new Reader(await file.read(file.size - TRAILER, file.size));
  const [length, start, count, crc] = [end.u64(), end.u64(), end.u32(), end.u32()];
  if (!equal(end.take(8), END)) malformed('a packed segment without its end');
  if (count === 0 || start !== BigInt(file.size - TRAILER - ROW * count)) malformed('rows of blocks are not where they should be');
  const from = Number(start);
  if (from < HEAD || crc32(await file.read(from, file.size - 12)) !== crc) malformed('the rows of blocks are damaged');
  const reader = new Reader(await file.read(from, from + ROW * count));
  const rows = Array.from({ length: count }, () => ({
    at: reader.u64(), from: reader.u64(), number: reader.u64(), index: reader.u64(),
  }));
  for (const [i, row] of rows.entries()) {
    const next = rows[i + 1] ?? { at: length, from: start };
    row.length = Number(next.at - row.at);
    row.to = Number(next.from);
    const first = i > 0 || (row.at === 0n && row.from === BigInt(HEAD));
    if (!first || next.at <= row.at || next.from <= row.from) malformed('blocks that do not follow each other');
  }
  return rows;
}

async function blockAt(file, row, tenant) {
  const bytes = await file.read(Number(row.from), row.to);
  const reader = new Reader(bytes);
  const [length, crc] = [reader.u32(), reader.u32()];
  if (length !== bytes.length || crc32(bytes.subarray(8)) !== crc) malformed('a block is damaged');
  const [units, number, index] = [reader.u64(), reader.u64(), reader.u64()];
  if (units !== BigInt(row.length) || number !== row.number || index !== row.index) malformed('a block is not the one of its row');
  if (row.length > BLOCK_MAX) malformed('a block of more than 192 MiB');
  const block = { number, index, hashBefore: reader.take(32), leafBefore: reader.take(32) };
  const expanded = reader.u32();
  if (expanded > BLOCK_MAX) malformed('columns of more than 192 MiB');
  const columns = await inflate(reader.lp32(), expanded);
  if (columns === null) malformed('columns that do not expand to what they announce');
  const random = new Reader(reader.lp32());
  reader.end();
  const inner = new Reader(columns);
  block.units = inner.lp32();
  block.columns = Array.from({ length: COLUMNS }, () => inner.lp32());
  inner.end();
  block.perUnit = random.lp32();
  block.perEntry = random.lp32();
  random.end();
  return unitsOf(block, tenant, row.length);
}
