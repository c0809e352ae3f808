// Answer files: every entry that has one of some keys, none left out. docs/format.md section 11.
// Never believes a seal to be true: how many epochs rest on one is said.

import { compare, concat, equal, Reader } from './wire.mjs';
import { hex } from './text.mjs';
import { malformed, refuse, Refusal } from './verdict.mjs';
import { parseNote } from './note.mjs';
import { readPart, requireRuns } from './part.mjs';
import { edgesOf, ENTRIES_MAX, readScope, requireBoundary, scopeText, Shown } from './scope.mjs';
import { indexKeys, INDEX_ROW, ROWS_A_LEAF } from './tables.mjs';
import { decodePayload, EPOCH } from './payload.mjs';
import { readClaim, requireClaim } from './claim.mjs';
import { readNote } from './range.mjs';

const WIDTH = BigInt(EPOCH);
const KEYS_MAX = 4_096;
const ROWS_MAX = 1_048_576;
const CLAIM_MAX = 1_048_576;
const KEY = 17;
const KINDS = 9;

/** Judges what follows the first line; `open` opens the checkpoint, `openClaim` the claim's note. */
export async function judgeAnswer(stream, context, open, openClaim) {
  const question = await readQuestion(stream);
  const note = await readNote(stream);
  const checkpoint = await open(context, note);
  const { scope, until } = question;
  const { size } = checkpoint;
  if (size === 0n || scope.b > size || until * WIDTH > size) {
    refuse('PROOF_RANGE', `the question reaches beyond the ${size} entries of the log`);
  }
  await judgeClaim(context, question, checkpoint, openClaim);
  const tables = await readTables(stream, question);
  const log = await readLog(stream, question, tables, checkpoint);
  stream.end();
  if (!equal(log.root, checkpoint.root)) refuse('PROOF_ROOT', 'the entries shown do not lead to the signed root');
  for (const table of tables) judgeEpoch(table, log);
  say(context, question, tables, log);
  requireBoundary(scope, log.times, size);
}

async function readQuestion(stream) {
  const scope = readScope(await stream.fields(33));
  const head = await stream.fields(3);
  const [rowKind, count] = [head.u8(), head.u16()];
  if (rowKind < 1 || rowKind > KINDS) malformed('an unknown kind of index rows');
  if (count < 1 || count > KEYS_MAX) malformed(`1 to ${KEYS_MAX} keys may be asked for`);
  const keys = [];
  for (let i = 0; i < count; i++) keys.push((await stream.take(16)).slice());
  for (let i = 1; i < count; i++) if (compare(keys[i - 1], keys[i]) >= 0) malformed('keys out of order');
  const tail = await stream.fields(12);
  const [until, claimLength] = [tail.u64(), tail.u32()];
  const from = scope.a / WIDTH;
  const most = scope.a === scope.b ? from : (scope.b + WIDTH - 1n) / WIDTH;
  if (until < from || until > most) malformed('epochs that do not answer the question');
  const claimed = rowKind === 1 || rowKind === 3;
  if (claimLength > CLAIM_MAX || claimLength > 0 !== claimed) malformed('a claim too long, missing or needless');
  const claim = (await stream.take(claimLength)).slice();
  const wanted = new Set(keys.map((key) => hex(concat(Uint8Array.of(rowKind), key))));
  return { scope, rowKind, keys, wanted, from, until, claim };
}

async function judgeClaim(context, { claim: bytes, rowKind, keys }, checkpoint, openClaim) {
  if (bytes.length === 0) return;
  const note = parseNote(bytes);
  const opened = await openClaim(context, note);
  const claim = readClaim(note, rowKind);
  opened(claim.signer);
  requireClaim(claim, checkpoint, keys);
  context.said.push(
    `The vault claims, signed by its report key, that the keys are those of ${claim.names.join(', ')}.`,
  );
  context.open.push(`The claim's own limit: ${claim.limits}`);
}

async function readTables(stream, question) {
  const tables = [];
  let named = 0;
  for (let epoch = question.from; epoch < question.until; epoch++) {
    const table = await readTable(stream, question, epoch);
    tables.push(table);
    named += table.named.length;
    if (named > ROWS_MAX) malformed(`more than ${ROWS_MAX} rows of the keys`);
  }
  return tables;
}

async function readTable(stream, question, epoch) {
  const head = await stream.fields(6);
  const [rows, count] = [head.u32(), head.u16()];
  if (rows === 0 || count === 0) malformed('a table without rows or without runs');
  const leaves = BigInt(Math.ceil(rows / ROWS_A_LEAF));
  const runs = [];
  for (let i = 0; i < count; i++) {
    const run = await stream.fields(8);
    runs.push({ start: BigInt(run.u32()), end: BigInt(run.u32()) });
  }
  requireRuns(runs, leaves);
  const table = { epoch, rows, runs, leaves, named: [], edges: runs.map(() => ({})) };
  const state = { last: null, run: 0 };
  const part = await readPart(stream, {
    size: leaves, most: 63, runs,
    readLeaf: (place) => stream.take(place === leaves - 1n ? INDEX_ROW * (rows - ROWS_A_LEAF * Number(leaves - 1n)) : INDEX_ROW * ROWS_A_LEAF),
    take: (place, leaf) => takeLeaf(table, state, question, place, leaf),
  });
  table.root = hex(part.root);
  requireNeighbours(table, question.keys.map((key) => concat(Uint8Array.of(question.rowKind), key)));
  return table;
}

// Rows of one leaf: known kinds, entries of the epoch, everything strictly ascending.
function takeLeaf(table, state, question, place, leaf) {
  while (place >= table.runs[state.run].end) state.run++;
  const edges = table.edges[state.run];
  for (let at = 0; at < leaf.length; at += INDEX_ROW) {
    const row = leaf.slice(at, at + INDEX_ROW);
    const index = new Reader(row.subarray(KEY)).u64();
    if (row[0] < 1 || row[0] > KINDS || index / WIDTH !== table.epoch) malformed('a row of the index table is wrong');
    if (state.last !== null && compare(state.last, row) >= 0) malformed('rows of the index table are out of order');
    state.last = row;
    const key = row.subarray(0, KEY);
    edges.first ??= key;
    edges.last = key;
    const name = hex(key);
    if (question.wanted.has(name)) table.named.push({ name, index });
  }
}

// Keys and runs ascend: only the last run that begins before a key can hold its place.
function requireNeighbours(table, keys) {
  let run = -1;
  for (const key of keys) {
    const begins = (i) => table.runs[i].start === 0n || compare(table.edges[i].first, key) < 0;
    while (run + 1 < table.runs.length && begins(run + 1)) run++;
    const held = run >= 0 && (table.runs[run].end === table.leaves || compare(table.edges[run].last, key) > 0);
    if (!held) refuse('QUERY_NEIGHBOUR', `epoch ${table.epoch}: the place of a key is not shown between its neighbours`);
  }
}

/** Which entries must be shown: a set of single places and one stretch that is shown in full. */
function placesOf({ scope, until }, tables, size) {
  const single = new Set();
  for (const table of tables) {
    for (const { index } of table.named) if (index >= scope.a && index < scope.b) single.add(index);
  }
  if (scope.window) for (const place of edgesOf(scope, size)) single.add(place);
  const sealed = until * WIDTH;
  return { single, start: sealed > scope.a ? sealed : scope.a, end: scope.b };
}

async function readLog(stream, question, tables, { origin, size }) {
  const count = (await stream.fields(4)).u32();
  if (count === 0 || BigInt(count) > ENTRIES_MAX) malformed(`1 to ${ENTRIES_MAX} runs of entries may be shown`);
  const runs = [];
  for (let i = 0; i < count; i++) {
    const run = await stream.fields(16);
    runs.push({ start: run.u64(), end: run.u64() });
  }
  requireRuns(runs, size);
  const total = runs.reduce((sum, { start, end }) => sum + end - start, 0n);
  if (total > ENTRIES_MAX) malformed(`more than ${ENTRIES_MAX} entries in one file`);
  const places = placesOf(question, tables, size);
  requireShown(runs, places);
  const shown = new Shown(origin);
  const edges = edgesOf(question.scope, size);
  const log = { found: 0, times: shown.times, seals: new Map(), epochs: new Map(tables.map(({ epoch }) => [epoch, []])) };
  const part = await readPart(stream, {
    size, most: 16, runs,
    readLeaf: () => stream.lp16(),
    take: (place, bytes, leaf) => takeEntry(log, question, places, place, shown.take(place, bytes, leaf, edges)),
  });
  return Object.assign(log, { root: part.root, nodes: part.epochs });
}

function requireShown(runs, { single, start, end }) {
  const sorted = [...single].sort((a, b) => (a < b ? -1 : 1));
  let run = 0;
  for (const place of sorted) {
    while (run < runs.length && runs[run].end <= place) run++;
    if (run === runs.length || runs[run].start > place) refuse('QUERY_ENTRY_MISSING', `entry ${place} is not shown`, { index: place });
  }
  if (start < end && !runs.some((one) => one.start <= start && end <= one.end)) {
    refuse('QUERY_ENTRY_MISSING', `not all entries from ${start} to ${end - 1n} are shown`);
  }
}

function takeEntry(log, { scope, wanted, from, until }, places, place, entry) {
  const epoch = place / WIDTH;
  const own = indexKeys(entry).map(hex).filter((name) => wanted.has(name));
  log.epochs.get(epoch)?.push({ place, time: entry.logTime, own });
  if (own.length > 0 && place >= scope.a && place < scope.b) log.found++;
  const named = places.single.has(place) || (place >= places.start && place < places.end);
  const sealed = sealOf(entry);
  if (sealed !== null) {
    const number = BigInt(sealed.first) / WIDTH;
    if (number >= from && number < until) {
      log.seals.set(number, [...(log.seals.get(number) ?? []), { place, payload: sealed }]);
      return;
    }
  }
  if (!named) malformed(`entry ${place} is shown and was not asked for`);
}

function sealOf(entry) {
  if (entry.kindName !== 'seal') return null;
  try {
    return decodePayload(entry);
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  }
}

function judgeEpoch(table, log) {
  const { epoch } = table;
  const seals = log.seals.get(epoch) ?? [];
  if (seals.length === 0) refuse('SEAL_MISSING', `no seal of epoch ${epoch} is shown`);
  if (seals.length > 1) refuse('SEAL_DUPLICATE', `epoch ${epoch} has a second seal`);
  const [{ place, payload }] = seals;
  const shown = log.epochs.get(epoch);
  const last = (epoch + 1n) * WIDTH - 1n;
  const inTime = shown.every((one) => {
    const exact = (one.place !== epoch * WIDTH || one.time === payload.t_first) && (one.place !== last || one.time === payload.t_last);
    return exact && one.time >= payload.t_first && one.time <= payload.t_last;
  });
  const node = log.nodes.get(epoch);
  if (node === undefined || hex(node) !== payload.root || place < BigInt(payload.end) || !inTime) {
    refuse('SEAL_MISMATCH', `the seal of epoch ${epoch} is not true of the entries shown`);
  }
  if (payload.index_rows !== table.rows || payload.index_root !== table.root) {
    refuse('QUERY_ROOT', `the table shown is not the one that the seal of epoch ${epoch} names`);
  }
  requireRows(table, shown);
}

// What a shown entry has of the keys is exactly what the table says it has.
function requireRows({ epoch, named }, shown) {
  const byEntry = new Map();
  for (const { name, index } of named) byEntry.set(index, [...(byEntry.get(index) ?? []), name]);
  for (const { place, own } of shown) {
    const listed = (byEntry.get(place) ?? []).join();
    if ([...own].sort().join() !== listed) {
      refuse('SEAL_MISMATCH', `the sealed table of epoch ${epoch} is false about entry ${place}`, { index: place });
    }
  }
}

function say(context, { scope, from, until, keys }, tables, log) {
  Object.assign(context.facts, { found: log.found, keys: keys.length, epochs: tables.length });
  const none = log.found === 0 ? 'No entry has' : `These ${log.found} entries are all that have`;
  context.said.push(`${none} one of the ${keys.length} keys asked for, in ${scopeText(scope)}.`);
  if (tables.length > 0) {
    context.said.push(`Epochs ${from} to ${until - 1n} were answered from their index tables, key by key between its neighbours.`);
    const seals = tables.map(({ epoch }) => `epoch ${epoch} on entry ${log.seals.get(epoch)[0].place}`);
    context.open.push(`It rests on seals being true, which only computing them anew shows: ${seals.join(', ')}.`);
  }
  context.open.push('Events that were never submitted leave no trace here.');
}
