// Writes range and answer files from a log in memory, from docs/format.md section 11 alone.

import { concat, u16, u32, u64 } from '../../src/wire.mjs';
import { bytes, leafOf, treeRoot } from './signer.mjs';

export const OPEN = (1n << 64n) - 1n;

export function scopeBytes({ kind = 0, from = 0n, to = 0n, a, b }) {
  return concat(Uint8Array.of(kind), u64(from), u64(to), u64(a), u64(b));
}

const lp32 = (data) => concat(u32(data.length), data);
const lp16 = (data) => concat(u16(data.length), data);

/** A part of the tree over `leaves` (hashes); `shown(i)` gives the bytes of leaf i in a run. */
export async function partBytes(leaves, runs, most, shown) {
  const out = [];
  let at = 0;
  for (const [start, end] of [...runs, [leaves.length, leaves.length]]) {
    while (at < start) {
      let height = 0;
      while (height < most && at % 2 ** (height + 1) === 0 && at + 2 ** (height + 1) <= start) height++;
      out.push(treeRoot(leaves.slice(at, at + 2 ** height)));
      at += 2 ** height;
    }
    for (; at < end; at++) out.push(shown(at));
  }
  return concat(...out);
}

export async function rangeFile(maker, { scope, runs, checkpoint, entries = maker.entries, tail = new Uint8Array(0) }) {
  const size = maker.entries.length;
  const run = runs ?? [[Math.max(0, Number(scope.a) - 1), Math.min(size, Number(scope.b) + 1)]];
  return concat(
    bytes('chancery/range/v1\n'), scopeBytes(scope), lp32(bytes(checkpoint ?? (await maker.checkpoint()))),
    await partBytes(maker.leaves, run, 63, (i) => lp16(entries[i])), tail,
  );
}

/** `tables` are `{ rows: [Uint8Array], runs }`, one an epoch; `runs` those of the log. */
export async function answerFile(maker, { scope, rowKind, keys, until, claim = '', tables = [], runs, checkpoint, entries = maker.entries, tail = new Uint8Array(0) }) {
  const parts = [];
  for (const table of tables) parts.push(await tableBytes(table));
  return concat(
    bytes('chancery/answer/v1\n'), scopeBytes(scope), Uint8Array.of(rowKind), u16(keys.length), ...keys, u64(until),
    lp32(bytes(claim)), lp32(bytes(checkpoint ?? (await maker.checkpoint()))), ...parts,
    u32(runs.length), ...runs.map(([start, end]) => concat(u64(start), u64(end))),
    await partBytes(maker.leaves, runs, 16, (i) => lp16(entries[i])), tail,
  );
}

async function tableBytes({ rows, runs, count = rows.length }) {
  const leaves = [];
  for (let i = 0; i < rows.length; i += 163) leaves.push(concat(...rows.slice(i, i + 163)));
  const shown = runs ?? [[0, leaves.length]];
  return concat(
    u32(count), u16(shown.length), ...shown.map(([start, end]) => concat(u32(start), u32(end))),
    await partBytes(leaves.map((leaf) => leafOf(leaf)), shown, 63, (i) => leaves[i]),
  );
}
