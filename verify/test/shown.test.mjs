// Range and answer files: complete, and each way of leaving something out.

import test from 'node:test';
import assert from 'node:assert/strict';
import { judgeAny } from '../src/any.mjs';
import { memoryFile } from '../src/files.mjs';
import { decodeEntry } from '../src/entry.mjs';
import { bytesOfRow, Tables } from '../src/tables.mjs';
import { concat, u32, u64 } from '../src/wire.mjs';
import { hex } from '../src/text.mjs';
import { Maker, NOON } from './support/maker.mjs';
import { answerFile, OPEN, rangeFile } from './support/parts.mjs';
import { bytes, checkpoint, LOG, line, note, REPORT, sha, STRANGER, TENANT, treeRoot, TRUST } from './support/signer.mjs';

const SOURCE = new Uint8Array(16).fill(0x77);
const OTHER = new Uint8Array(16).fill(0x99);
const MS = 1_000_000n;

async function judged(file, { trust = TRUST, replay } = {}) {
  return judgeAny({ file: memoryFile(file) }, { trustBytes: trust === null ? null : bytes(trust), replay });
}

async function expectCode(file, code, exit, options) {
  const verdict = await judged(await file, options);
  assert.deepEqual([verdict.code, verdict.exit], [code, exit], verdict.message);
  return verdict;
}

/** Genesis at NOON + 1 ms, then an event each millisecond: entry i has log time NOON + i + 1 ms. */
async function log(size = 20) {
  const maker = new Maker();
  maker.genesis();
  for (let i = 1; i < size; i++) maker.add({ source: i % 5 === 0 ? OTHER : SOURCE, sequence: i });
  await maker.commit();
  return maker;
}

const at = (i) => NOON + BigInt(i + 1) * MS;

test('ranges by index: every range of a log of 20, and its order of checks', async () => {
  const maker = await log();
  for (let a = 0; a < 20; a++) {
    for (let b = a + 1; b <= 20; b++) {
      const verdict = await expectCode(rangeFile(maker, { scope: { a, b } }), 'VERIFIED', 0);
      assert.deepEqual([verdict.facts.first, verdict.facts.end], [BigInt(a), BigInt(b)]);
    }
  }
  const scope = { a: 5, b: 9 };
  const good = await rangeFile(maker, { scope });
  await expectCode(good, 'INCONCLUSIVE', 4, { trust: null });
  await expectCode(rangeFile(maker, { scope: { a: 5, b: 21 } }), 'PROOF_RANGE', 1);
  await expectCode(rangeFile(maker, { scope: { a: 5, b: 5 } }), 'MALFORMED', 1);
  await expectCode(rangeFile(maker, { scope: { a: 5, b: 9, to: 1n } }), 'MALFORMED', 1);
  await expectCode(rangeFile(maker, { scope: { kind: 2, a: 5, b: 9 } }), 'MALFORMED', 1);
  await expectCode(rangeFile(maker, { scope, runs: [[5, 9]] }), 'MALFORMED', 1);
  await expectCode(rangeFile(maker, { scope, tail: Uint8Array.of(0) }), 'MALFORMED', 1);
  await expectCode(rangeFile(maker, { scope, checkpoint: await maker.checkpoint(20, STRANGER) }), 'UNTRUSTED_KEY', 4);
  await expectCode(rangeFile(maker, { scope, checkpoint: checkpoint(20, sha(bytes('x'))) }), 'PROOF_ROOT', 1);
  const text = (await maker.checkpoint()).split('\n\n')[0];
  await expectCode(rangeFile(maker, { scope, checkpoint: `${text}\n\n${line('x\n', LOG)}` }), 'BAD_SIGNATURE', 1);
  const swap = (i, j) => Object.assign(maker.entries.slice(), { [i]: maker.entries[j] });
  for (const trust of [TRUST, null]) {
    await expectCode(rangeFile(maker, { scope, entries: swap(6, 7) }), 'INDEX_OR_PREV_MISMATCH', 1, { trust });
    const changed = maker.entries.slice();
    changed[7] = changed[7].slice();
    changed[7][90] ^= 2;
    await expectCode(rangeFile(maker, { scope, entries: changed }), 'INDEX_OR_PREV_MISMATCH', 1, { trust });
    changed[9] = changed[9].slice();
    [changed[7], changed[9][90]] = [maker.entries[7], changed[9][90] ^ 2];
    await expectCode(rangeFile(maker, { scope, entries: changed }), 'PROOF_ROOT', 1, { trust });
    changed[6] = changed[6].slice();
    changed[6][4] = 16;
    await expectCode(rangeFile(maker, { scope, entries: changed }), 'MALFORMED', 1, { trust });
  }
});

test('no byte of a range file may change, and no cut passes', async () => {
  const maker = await log(9);
  const good = await rangeFile(maker, { scope: { a: 3, b: 6 } });
  for (let i = 0; i < good.length; i++) {
    const changed = good.slice();
    changed[i] ^= 1;
    assert.notEqual((await judged(changed)).exit, 0, `byte ${i}`);
    assert.notEqual((await judged(good.subarray(0, i))).exit, 0, `cut at ${i}`);
  }
});

test('another version is said to be one', async () => {
  for (const front of ['chancery/range/v2\n', 'chancery/answer/v10\n', 'chancery/range/\n']) {
    await expectCode(bytes(`${front}xxx`), 'STORE_TOO_NEW', 4);
  }
  await expectCode(bytes('chancery/range/v1\n'), 'MALFORMED', 1);
  await expectCode(bytes('chancery/ranges/v1\n'), 'MALFORMED', 1);
});

test('windows of log time: the cut is where the times say', async () => {
  const maker = await log();
  const window = (from, to, a, b) => rangeFile(maker, { scope: { kind: 1, from, to, a, b } });
  await expectCode(window(at(5), at(9), 5, 9), 'VERIFIED', 0);
  await expectCode(window(at(5) - 1n, at(9) - 1n, 5, 9), 'VERIFIED', 0);
  await expectCode(window(1n, at(9), 0, 9), 'VERIFIED', 0);
  await expectCode(window(at(5), OPEN, 5, 20), 'VERIFIED', 0);
  const none = await expectCode(window(at(5) + 1n, at(6), 6, 6), 'VERIFIED', 0);
  assert.match(none.said.join(' '), /There is no entry/);
  for (const trust of [TRUST, null]) {
    await expectCode(window(at(5) + 1n, at(9), 5, 9), 'RANGE_BOUNDARY', 1, { trust });
    await expectCode(window(at(5), at(9), 6, 9), 'RANGE_BOUNDARY', 1, { trust });
    await expectCode(window(at(5), at(9), 5, 8), 'RANGE_BOUNDARY', 1, { trust });
    await expectCode(window(at(5), at(9), 5, 10), 'RANGE_BOUNDARY', 1, { trust });
    await expectCode(window(at(5), at(25), 5, 20), 'RANGE_OPEN_END', 4, { trust });
  }
  await expectCode(window(at(9), at(5), 5, 9), 'MALFORMED', 1);
});

test('entries of one log time lie on one side of a cut', async () => {
  const maker = new Maker();
  maker.genesis();
  for (let i = 0; i < 6; i++) maker.add({}, { time: NOON + 5n * MS });
  maker.add({}, { time: NOON + 9n * MS });
  await maker.commit();
  const window = (a, b) => rangeFile(maker, { scope: { kind: 1, from: NOON + 5n * MS, to: NOON + 9n * MS, a, b } });
  await expectCode(window(1, 7), 'VERIFIED', 0);
  for (const [a, b] of [[2, 7], [1, 6], [3, 3]]) await expectCode(window(a, b), 'RANGE_BOUNDARY', 1);
});

test('the number of runs is believed no further than a file may hold entries', async () => {
  const maker = await log();
  const good = await answerFile(maker, { scope: { a: 0, b: 20 }, rowKind: 2, keys: [keyOf(5, 2)], until: 0, runs: [[0, 20]] });
  const at = 19 + 33 + 3 + 16 + 12 + 4 + bytes(await maker.checkpoint()).length;
  for (const count of [4_194_305, 0xffffffff]) {
    const head = concat(good.subarray(0, at), u32(count));
    let asked = 0;
    const read = async (from = 0, to = 2 ** 37) => {
      const part = new Uint8Array(to - from);
      if (from < head.length) part.set(head.subarray(from, Math.min(to, head.length)));
      asked += part.length;
      assert.ok(asked < 4_000_000, 'it reads what it must not believe');
      return part;
    };
    const verdict = await judgeAny({ file: { size: 2 ** 37, read } }, { trustBytes: bytes(TRUST) });
    assert.deepEqual([verdict.code, verdict.exit], ['MALFORMED', 1], verdict.message);
  }
});

test('answers from entries shown in full', async () => {
  const maker = await log();
  const ask = (more) => answerFile(maker, { scope: { a: 0, b: 20 }, rowKind: 2, keys: [keyOf(5, 2)], until: 0, runs: [[0, 20]], ...more });
  const verdict = await expectCode(ask({}), 'VERIFIED', 0);
  assert.equal(verdict.facts.found, 19);
  const none = await expectCode(ask({ keys: [keyOf(9, 9)] }), 'VERIFIED', 0);
  assert.equal(none.facts.found, 0);
  await expectCode(ask({ runs: [[0, 19]] }), 'QUERY_ENTRY_MISSING', 1);
  await expectCode(ask({ runs: [[0, 9], [10, 20]] }), 'QUERY_ENTRY_MISSING', 1);
  await expectCode(ask({ scope: { a: 3, b: 8 }, runs: [[2, 8]] }), 'MALFORMED', 1);
  await expectCode(ask({ scope: { a: 3, b: 8 }, runs: [[3, 8]] }), 'VERIFIED', 0);
  await expectCode(ask({ scope: { a: 3, b: 21 } }), 'PROOF_RANGE', 1);
  await expectCode(ask({ rowKind: 10 }), 'MALFORMED', 1);
  await expectCode(ask({ keys: [] }), 'MALFORMED', 1);
  await expectCode(ask({ keys: [keyOf(5, 2), keyOf(5, 2)] }), 'MALFORMED', 1);
  await expectCode(ask({ until: 2 }), 'MALFORMED', 1);
  await expectCode(ask({ until: 1 }), 'PROOF_RANGE', 1);
  await expectCode(ask({ claim: 'x' }), 'MALFORMED', 1);
  await expectCode(ask({ rowKind: 3 }), 'MALFORMED', 1);
  await expectCode(ask({ tail: Uint8Array.of(1) }), 'MALFORMED', 1);
  const window = (from, to, a, b, runs) => ask({ scope: { kind: 1, from, to, a, b }, runs });
  await expectCode(window(at(5), at(9), 5, 9, [[4, 10]]), 'VERIFIED', 0);
  await expectCode(window(at(5), at(9), 5, 9, [[5, 10]]), 'QUERY_ENTRY_MISSING', 1);
  await expectCode(window(at(5), at(9), 6, 9, [[5, 10]]), 'RANGE_BOUNDARY', 1);
  await expectCode(window(at(5), at(25), 5, 20, [[4, 20]]), 'RANGE_OPEN_END', 4);
});

const keyOf = (...parts) => concat(Uint8Array.from(parts), new Uint8Array(16 - parts.length));

async function claimOf(maker, lines, { size = maker.entries.length, key = REPORT, name = REPORT.name } = {}) {
  const root = hex(treeRoot(maker.leaves));
  return note(`${name}/answer-claim/v1\ncheckpoint ${size} ${root}\n${lines}limits handles that were never linked\n`, key);
}

test('claims: who says that the keys are a source\'s or a person\'s', async () => {
  const maker = await log();
  const ask = async (lines, more = {}, claim = {}) =>
    answerFile(maker, { scope: { a: 0, b: 20 }, rowKind: 3, keys: [OTHER], until: 0, runs: [[0, 20]], claim: await claimOf(maker, lines, claim), ...more });
  const own = `source ${hex(OTHER)} "ehr"\n`;
  const verdict = await expectCode(ask(own), 'VERIFIED', 0);
  assert.equal(verdict.facts.found, 3);
  await expectCode(ask(own), 'INCONCLUSIVE', 4, { trust: null });
  await expectCode(ask(own, {}, { key: LOG }), 'UNTRUSTED_KEY', 4);
  await expectCode(ask(own, {}, { key: STRANGER }), 'UNTRUSTED_KEY', 4);
  await expectCode(ask(own, { claim: (await claimOf(maker, own)).replace('ehr', 'ehs') }), 'BAD_SIGNATURE', 1);
  for (const trust of [TRUST, null]) {
    await expectCode(ask(own, {}, { size: 19 }), 'QUERY_CLAIM', 1, { trust });
    await expectCode(ask(`source ${hex(SOURCE)} "ehr"\n`), 'QUERY_CLAIM', 1, { trust });
    await expectCode(ask(own + own), 'QUERY_CLAIM', 1, { trust });
    for (const lines of ['', `source ${hex(OTHER)} ehr\n`, `source ${hex(OTHER)} "\\u0065hr"\n`, `key ${hex(OTHER)} 4 2026-11\n`, 'x\n']) {
      const code = lines === '' ? 'QUERY_CLAIM' : 'MALFORMED';
      await expectCode(ask(lines), code, 1, { trust });
    }
  }
  const person = `subject "email:n1@clinic.example"\nkey ${hex(OTHER)} 4 2026-11\n`;
  await expectCode(ask(person, { rowKind: 1 }), 'VERIFIED', 0);
  for (const lines of [person.replace('2026-11', '2026-13'), person.replace(/subject.*\n/, ''), person.replace(' 4 ', ' 65536 '), own]) {
    await expectCode(ask(lines, { rowKind: 1 }), 'MALFORMED', 1);
  }
  const foreign = `other.example/r/${TENANT}`;
  await expectCode(ask(own, {}, { name: foreign }), 'TENANT_MISMATCH', 1, { trust: null });
  await expectCode(ask(own, {}, { name: foreign }), 'UNTRUSTED_KEY', 4);
});

test('answers from sealed tables: rows, neighbours, seals, and what they may not leave out', async (t) => {
  const maker = new Maker();
  maker.genesis();
  for (let i = 1; i < 65_536; i++) maker.add({ source: i % 20_000 === 7 ? OTHER : SOURCE, sequence: i });
  await maker.commit();
  const sealed = await maker.sealOf(0);
  maker.add({ kind: 'seal', cls: 10, payload: sealed });
  for (let i = 0; i < 3; i++) maker.add({ source: OTHER, sequence: 70_000 + i });
  await maker.commit();
  const tables = new Tables();
  for (const entry of maker.entries.slice(0, 65_536)) tables.add(decodeEntry(entry));
  const rows = tables.rows().index.map(bytesOfRow);
  const size = maker.entries.length;
  const claim = await claimOf(maker, `source ${hex(OTHER)} "ehr"\n`);
  const hits = [7, 20_007, 40_007, 60_007];
  const row = (key) => hex(concat(Uint8Array.of(3), key));
  const first = rows.findIndex((one) => hex(one).startsWith(row(OTHER)));
  const leaves = Math.ceil(rows.length / 163);
  const own = [Math.floor((first - 1) / 163), Math.floor((first + hits.length) / 163) + 1];
  const base = {
    scope: { a: 0, b: size }, rowKind: 3, keys: [OTHER], until: 1, claim,
    tables: [{ rows, runs: [own] }],
    runs: [...hits.map((i) => [i, i + 1]), [65_536, size]],
  };
  const ask = (more) => answerFile(maker, { ...base, ...more });
  const verdict = await expectCode(ask({}), 'VERIFIED', 0);
  assert.deepEqual([verdict.facts.found, verdict.facts.epochs], [hits.length + 3, 1]);

  // A row at the edge of its leaf needs the next leaf too: cut the run to prove it.
  await expectCode(ask({ tables: [{ rows, runs: [[0, 1]] }] }), 'QUERY_NEIGHBOUR', 1);
  await expectCode(ask({ tables: [{ rows, runs: [[leaves - 1, leaves]] }] }), 'QUERY_NEIGHBOUR', 1);
  await expectCode(ask({ runs: base.runs.slice(1) }), 'QUERY_ENTRY_MISSING', 1);
  await expectCode(ask({ runs: [[6, 8], ...base.runs.slice(1)] }), 'MALFORMED', 1);
  await expectCode(ask({ runs: [...base.runs.slice(0, -1), [65_537, size]], scope: { a: 0, b: 65_536 } }), 'MALFORMED', 1);
  await expectCode(ask({ scope: { a: 0, b: 65_536 }, runs: base.runs.slice(0, -1) }), 'SEAL_MISSING', 1);
  await expectCode(ask({ scope: { a: 0, b: 65_536 }, runs: [...base.runs.slice(0, -1), [65_536, 65_537]] }), 'VERIFIED', 0);
  await expectCode(ask({ tables: [{ rows: rows.slice(0, -1), runs: [own] }] }), 'QUERY_ROOT', 1);
  const without = rows.filter((_, i) => i !== first);
  await expectCode(ask({ tables: [{ rows: without, runs: [own] }], runs: base.runs.slice(1) }), 'QUERY_ROOT', 1);
  const outOfOrder = rows.slice();
  [outOfOrder[first], outOfOrder[first + 1]] = [outOfOrder[first + 1], outOfOrder[first]];
  await expectCode(ask({ tables: [{ rows: outOfOrder, runs: [own] }] }), 'MALFORMED', 1);

  await t.test('absent: the two rows around its place', async () => {
    const absent = new Uint8Array(16).fill(0x80);
    const next = rows.findIndex((one) => hex(one) > row(absent));
    const runs = [[Math.floor((next - 1) / 163), Math.floor(next / 163) + 1]];
    const claimed = await claimOf(maker, `source ${hex(absent)} "lab"\n`);
    const found = await expectCode(
      ask({ keys: [absent], claim: claimed, scope: { a: 0, b: 65_536 }, tables: [{ rows, runs }], runs: [[65_536, 65_537]] }), 'VERIFIED', 0,
    );
    assert.equal(found.facts.found, 0);
  });

  await t.test('a false seal is found where the file can show it', async () => {
    const variant = async (change, altered) => {
      const other = maker.copy();
      other.entries = other.entries.slice(0, 65_536);
      other.leaves = other.leaves.slice(0, 65_536);
      other.time = decodeEntry(other.entries.at(-1)).logTime;
      other.add({ kind: 'seal', cls: 10, payload: { ...sealed, ...change } });
      const lines = await claimOf(other, `source ${hex(OTHER)} "ehr"\n`);
      return answerFile(other, {
        ...base, claim: lines, scope: { a: 0, b: 65_536 }, runs: [...base.runs.slice(0, -1), [65_536, 65_537]], ...altered,
      });
    };
    await expectCode(variant({}), 'VERIFIED', 0);
    await expectCode(variant({ root: '01'.repeat(32) }), 'SEAL_MISMATCH', 1);
    await expectCode(variant({ index_root: '01'.repeat(32) }), 'QUERY_ROOT', 1);
    await expectCode(variant({ t_first: String(at(8)) }), 'SEAL_MISMATCH', 1);
    // A sealed table without a row of an entry that is shown for another one's sake.
    const second = rows.findIndex((one) => hex(one).startsWith(row(OTHER)) && hex(one).endsWith(hex(u64(20_007))));
    const lying = new Tables();
    for (const entry of maker.entries.slice(0, 65_536)) lying.add(decodeEntry(entry));
    lying.index = lying.index.filter((one) => hex(bytesOfRow(one)) !== hex(rows[second]));
    const { sealedTables } = await import('../src/tables.mjs');
    const lie = await sealedTables(lying);
    const fewer = rows.filter((_, i) => i !== second);
    const windowed = { kind: 1, from: at(20_007), to: at(20_008), a: 20_007, b: 20_008 };
    const runs = [[20_006, 20_009], [65_536, 65_537]];
    await expectCode(variant(lie, { scope: windowed, tables: [{ rows: fewer, runs: [own] }], runs }), 'SEAL_MISMATCH', 1);
  });

  await t.test('a range file of the whole epoch replays its seal', async () => {
    const file = await rangeFile(maker, { scope: { a: 0, b: size } });
    const replay = { percent: 100, seed: new Uint8Array(0), asked: true };
    const good = await expectCode(file, 'VERIFIED', 0, { replay });
    assert.equal(good.facts.replayed, 1);
    const sample = await judged(file, { replay: { percent: 1, seed: bytes('mine'), asked: true } });
    assert.equal(sample.facts.replayed, 1);
    await expectCode(rangeFile(maker, { scope: { a: 0, b: 9 } }), 'INCONCLUSIVE', 4, { replay });
  });
});
