// The four tables of an epoch, computed from its entries alone. docs/format.md section 11.
// Never needs a key. Rows are strings of one character a byte while they are sorted.

import { allZero, concat, u16, u32, u64 } from './wire.mjs';
import { hex } from './text.mjs';
import { leafHashes, rootOf } from './merkle.mjs';

export const INDEX_ROW = 25;
export const ROWS_A_LEAF = 163;

const KEY = 16;
const raw = (bytes) => String.fromCharCode(...bytes);

export function bytesOfRow(row) {
  const bytes = new Uint8Array(row.length);
  for (let i = 0; i < row.length; i++) bytes[i] = row.charCodeAt(i);
  return bytes;
}

function key(...parts) {
  const bytes = new Uint8Array(KEY);
  bytes.set(concat(...parts));
  return bytes;
}

/** Row kind and key, 17 bytes each, of every index row that an entry has. */
export function indexKeys(entry) {
  const rows = entry.tags.map((tag) => [1, tag]);
  rows.push([2, key(Uint8Array.of(entry.category, entry.verb))], [3, entry.source]);
  const days = new Set();
  for (const { cls, bucket } of entry.groups) {
    const place = key(u16(cls), u32(bucket));
    if (days.has(raw(place))) continue;
    days.add(raw(place));
    rows.push([4, place]);
  }
  if (!allZero(entry.eventIdTag)) rows.push([5, entry.eventIdTag]);
  rows.push([6, key(Uint8Array.of(entry.outcome))]);
  if (entry.hasSequence) rows.push([7, key(entry.source.subarray(0, 8), u64(entry.sequence))]);
  rows.push([8, entry.recordId]);
  if (entry.kind !== 0) rows.push([9, key(Uint8Array.of(entry.kind))]);
  return rows.map(([kind, value]) => concat(Uint8Array.of(kind), value));
}

/** Collects the rows of one epoch, entry by entry. */
export class Tables {
  constructor() {
    this.counts = new Map();
    this.sources = new Map();
    this.classes = new Map();
    this.index = [];
  }

  add(entry) {
    const code = Uint8Array.of(entry.category, entry.verb, entry.outcome);
    bump(this.counts, raw(concat(code, u16(entry.cls), Uint8Array.of(entry.kind))));
    this.#source(entry);
    for (const { cls, bucket } of entry.groups) bump(this.classes, raw(concat(u16(cls), u32(bucket))));
    const place = raw(u64(entry.index));
    for (const row of indexKeys(entry)) this.index.push(raw(row) + place);
  }

  #source(entry) {
    const name = raw(entry.source);
    const source = this.sources.get(name) ?? { count: 0, numbers: [] };
    source.count++;
    if (entry.kind === 0 && entry.hasSequence) source.numbers.push(entry.sequence);
    this.sources.set(name, source);
  }

  /** `{ count, source, class, index }`: sorted rows as strings. */
  rows() {
    const counted = (map) => [...map].map(([name, count]) => name + raw(u64(count))).sort();
    return {
      count: counted(this.counts),
      source: [...this.sources].map(([name, source]) => name + sourceRow(source)).sort(),
      class: counted(this.classes),
      index: this.index.sort(),
    };
  }
}

function bump(map, name) {
  map.set(name, (map.get(name) ?? 0) + 1);
}

function sourceRow({ count, numbers }) {
  const sorted = BigUint64Array.from(numbers).sort();
  const [low, high] = numbers.length === 0 ? [0n, 0n] : [sorted[0], sorted[sorted.length - 1]];
  let gapless = numbers.length > 0;
  for (let i = 1; i < sorted.length; i++) gapless &&= sorted[i] === sorted[i - 1] + 1n;
  const words = concat(u64(count), u64(numbers.length), u64(low), u64(high));
  return raw(concat(words, Uint8Array.of(gapless ? 1 : 0)));
}

/** The root of a table: one row a leaf, 163 for the index table. */
export async function tableRoot(rows, rowsALeaf = 1) {
  const leaves = [];
  for (let i = 0; i < rows.length; i += rowsALeaf) {
    leaves.push(bytesOfRow(rows.slice(i, i + rowsALeaf).join('')));
  }
  return rootOf(await leafHashes(leaves));
}

/** Rows and roots as a seal names them: `count_rows`, `count_root` and so on. */
export async function sealedTables(tables) {
  const rows = tables.rows();
  const out = {};
  for (const name of ['count', 'source', 'class', 'index']) {
    out[`${name}_rows`] = rows[name].length;
    out[`${name}_root`] = hex(await tableRoot(rows[name], name === 'index' ? ROWS_A_LEAF : 1));
  }
  return out;
}
