// Packed vaults: the verdict is that of the plain vault, every byte comes back, and what does not is
// named, behind a wrong CRC and behind a right one.

import test from 'node:test';
import assert from 'node:assert/strict';
import { deflateRawSync } from 'node:zlib';
import { judgeAny } from '../src/any.mjs';
import { memoryFile } from '../src/files.mjs';
import { concat, Reader, u32, u64 } from '../src/wire.mjs';
import { piecesOf, segmentsOf } from '../src/segment.mjs';
import { inflate } from '../src/inflate.mjs';
import { Maker } from './support/maker.mjs';
import { packBodies, packSegment, varint, zigzag } from './support/packer.mjs';
import { bytes, checkpoint, sha, signer, TENANT, TRUST, unhex } from './support/signer.mjs';
import { zipOf } from './support/zip.mjs';

const SOURCES = [0x77, 0x78, 0x79].map((byte) => new Uint8Array(16).fill(byte));
const PAK = 'T/log/00000000.pak';
const SEG = 'T/log/00000000.seg';
const BODY = 'T/bodies/4/2026-11-21.seg';

/** Genesis, and units with everything a column has to carry. */
async function made() {
  const maker = new Maker();
  maker.genesis();
  await maker.commit();
  for (let i = 0; i < 5; i++) {
    maker.add({ fields: ['action', 'data'].slice(i % 2), source: SOURCES[i % 2], sequence: 900 - (i >> 1), bucket: 20_778 - (i % 2 === 0 ? 0 : 1), claimed: [0n, 5n, 1n << 63n][i % 3] });
  }
  maker.add({ source: SOURCES[0], eventId: new Uint8Array(16).fill(5), clear: '{"a":1}' });
  await maker.commit();
  maker.add({ fields: ['action'], source: SOURCES[2], sequence: 2 ** 40 }, { time: maker.time });
  await maker.commit({ epoch: 300 });
  maker.add({ fields: ['reason'], cls: 300 });
  await maker.commit();
  return maker;
}

const plainBody = (maker, key = '4/20778') => concat(...maker.bodies.get(key));

/** The folder with its log packed in two blocks and its bodies packed; options as packer.mjs has them. */
async function packed(maker, { log = {}, body = {}, files = {}, size } = {}) {
  const { units } = maker;
  const packedBodies = [...maker.bodies.keys()].map((key) => {
    const [cls, day] = key.split('/');
    return [`T/bodies/${cls}/${day === '20778' ? '2026-11-21' : '2026-11-20'}.seg`, packBodies(plainBody(maker, key), key === '4/20778' ? body : {})];
  });
  return maker.folder({
    size,
    files: { [SEG]: null, [PAK]: packSegment([units.slice(0, 2), units.slice(2)], log), ...Object.fromEntries(packedBodies), ...files },
  });
}

const judged = (folder, trust = TRUST) => judgeAny({ folder }, { trustBytes: trust === null ? null : bytes(trust), sinceBytes: null });

async function expectFailed(folder, codes, words) {
  const verdict = await judged(folder);
  assert.deepEqual([verdict.exit, verdict.facts.codes], [1, codes], JSON.stringify(verdict.failures));
  if (words) assert.ok(verdict.failures.some((one) => one.message.includes(words)), JSON.stringify(verdict.failures));
  return verdict;
}

async function logOf(folder) {
  const below = folder.below(`tenants/${TENANT}`);
  const parts = [];
  for (const segment of segmentsOf(below)) {
    for await (const piece of piecesOf(segment, unhex(TENANT))) parts.push(piece.bytes ?? bytes(`<${piece.why}>`));
  }
  return concat(...parts);
}

test('numbers of packed files have one spelling', () => {
  for (const number of [0n, 1n, 127n, 128n, 300n, (1n << 63n) - 1n, (1n << 64n) - 1n]) {
    const reader = new Reader(varint(number));
    assert.equal(reader.varint(), number);
    reader.end();
    const near = new Reader(zigzag(number - 7n));
    assert.equal(near.near(7n), number);
  }
  for (const wrong of [[0x80], [0x80, 0x00], [0xff, 0x80, 0x00], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], []]) {
    assert.throws(() => new Reader(Uint8Array.from(wrong)).varint(), { code: 'MALFORMED' });
  }
  assert.throws(() => new Reader(varint(301)).small(300), { code: 'MALFORMED' });
});

test('nothing is expanded to more or less than was announced', async () => {
  const packedUp = deflateRawSync(new Uint8Array(1_000_000));
  assert.equal((await inflate(packedUp, 1_000_000)).length, 1_000_000);
  for (const size of [0, 1, 999_999, 1_000_001]) assert.equal(await inflate(packedUp, size), null, String(size));
  for (const data of [new Uint8Array(0), packedUp.subarray(0, -1), bytes('no deflate')]) assert.equal(await inflate(data, 1_000_000), null);
});

test('a packed vault gives every byte back and has the verdict of the plain one', async () => {
  const maker = await made();
  const [plain, small] = [await maker.folder(), await packed(maker)];
  assert.deepEqual(await logOf(small), concat(...maker.units));
  const verdicts = [await judged(plain), await judged(small)];
  assert.deepEqual([verdicts[1].exit, verdicts[1].failures], [0, []], verdicts[1].message);
  assert.deepEqual(verdicts[1].said, verdicts[0].said);
  assert.deepEqual(verdicts[1].facts, verdicts[0].facts);
  const alone = await judged(small, null);
  assert.deepEqual([alone.exit, alone.code, alone.failures], [4, 'INCONCLUSIVE', []]);
});

test('where both forms lie, the plain one counts; other names are passed over', async () => {
  const maker = await made();
  const good = packSegment([maker.units]);
  const both = await packed(maker, { files: { [SEG]: concat(...maker.units), [PAK]: bytes('rot') } });
  assert.equal((await judged(both)).exit, 0);
  const short = await packed(maker, { files: { [SEG]: maker.units[0], [PAK]: good } });
  await expectFailed(short, ['ROLLED_BACK']);
  const others = { 'T/log/0.pak': bytes('x'), 'T/log/00000000.pak.new': bytes('x'), 'T/log/00000001.run': bytes('x'), 'T/log/notes.txt': bytes('CHU2') };
  const derived = { 'T/snapshot/0000000000000004.snap': bytes('CHS1'), 'T/snapshot/0000000000000000-0000000000000004.run': bytes('CHD1'), 'T/keys.behind': bytes(`${'ab'.repeat(16)}\n`), 'T/index/x': bytes('x'), 'T/evidence/ROLLED_BACK-0011223344556677': bytes('x') };
  assert.equal((await judged(await packed(maker, { files: { ...others, ...derived } }))).exit, 0);
});

test('every byte of a packed segment is covered', async () => {
  const maker = await made();
  const { units } = maker;
  const whole = packSegment([units.slice(0, 2), units.slice(2)]);
  for (let at = 0; at < whole.length; at += 3) {
    const changed = whole.slice();
    changed[at] ^= 1 << (at % 8);
    const verdict = await judged(await packed(maker, { files: { [PAK]: changed } }));
    assert.equal(verdict.exit, 1, `byte ${at} of ${whole.length}: ${verdict.code}`);
    assert.ok(verdict.facts.codes.includes('UNIT_DAMAGED'), `byte ${at}: ${verdict.facts.codes}`);
    assert.ok(verdict.failures.some((one) => one.message.includes('log/00000000.pak')), `byte ${at} names no file`);
  }
  for (let at = 0; at < whole.length; at += 7) {
    const verdict = await judged(await packed(maker, { files: { [PAK]: whole.slice(0, at) } }));
    assert.equal(verdict.exit, 1, `cut at ${at}`);
  }
});

test('a damaged block costs what it held, and no more', async () => {
  const maker = await made();
  const last = maker.units.slice(2);
  const lost = await packed(maker, { log: { change: (parts, i) => (i === 0 ? { ...parts, deflated: bytes('no deflate') } : parts) } });
  const verdict = await judged(lost);
  assert.ok(verdict.facts.codes.includes('UNIT_DAMAGED') && verdict.facts.codes.includes('UNIT_CHAIN'), String(verdict.facts.codes));
  assert.equal(verdict.facts.units, last.length);
  // Packed bytes are within the signed checkpoint: their loss is never a torn tail.
  const tail = await packed(maker, { size: 7, log: { change: (parts, i) => (i === 1 ? { ...parts, deflated: bytes('no deflate') } : parts) } });
  assert.ok((await judged(tail)).facts.codes.includes('UNIT_DAMAGED'));
});

test('blocks that lie behind a right CRC', async () => {
  const maker = await made();
  const bent = (change, at = 0) => ({ log: { change: (parts, i) => (i === at ? change(parts) : parts) } });
  const column = (parts, n, data) => ({ ...parts, columns: parts.columns.map((one, i) => (i === n ? data(one) : one)) });
  const longer = (one) => concat(one, Uint8Array.of(0));
  const damaged = [
    ['another length', (p) => ({ ...p, length: p.length + 1 })],
    ['another number', (p) => ({ ...p, number: 7n })],
    ['another index', (p) => ({ ...p, index: 7n })],
    ['more announced than there is', (p) => ({ ...p, expanded: 100_000 })],
    ['less announced than there is', (p) => ({ ...p, expanded: 10 })],
    ['a bomb that announces little', (p) => ({ ...p, deflated: deflateRawSync(new Uint8Array(50_000_000)), expanded: 1000 })],
    ['a bomb that announces much', (p) => ({ ...p, deflated: deflateRawSync(new Uint8Array(50_000_000)), expanded: 0xffff_ffff })],
    ['bytes behind the columns', (p) => ({ ...p, more: [0] })],
    ['bytes behind the random ones', (p) => ({ ...p, moreRandom: [0] })],
    ['signatures cut', (p) => ({ ...p, perUnit: p.perUnit.slice(0, -1) })],
    ['a signature too many', (p) => ({ ...p, perUnit: concat(p.perUnit, new Uint8Array(96)) })],
    ['record ids cut', (p) => ({ ...p, perEntry: p.perEntry.slice(0, -1) })],
    ['a record id too many', (p) => ({ ...p, perEntry: concat(p.perEntry, new Uint8Array(16)) })],
    ['fewer units', (p) => ({ ...p, heads: concat(varint(1), p.heads.subarray(1)) })],
    ['more units', (p) => ({ ...p, heads: concat(varint(200), p.heads.subarray(1)) })],
    ...[0, 1, 2, 3, 4, 5].map((n) => [`bytes behind column ${n + 1}`, (p) => column(p, n, longer)]),
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((n) => [`column ${n + 1} cut`, (p) => column(p, n, (one) => one.slice(0, -1))]),
    ['an unknown mark', (p) => column(p, 0, (one) => { const c = one.slice(); c[1] |= 8; return c; })],
    ['a shape that is not there', (p) => column(p, 7, () => new Uint8Array(0))],
    ['a source that is not there', (p) => column(p, 6, () => new Uint8Array(0))],
    ['a claimed time that is neither there nor not', (p) => column(p, 1, (one) => concat(varint(2), one.subarray(1)))],
  ];
  for (const [what, change] of damaged) {
    const verdict = await judged(await packed(maker, bent(change)));
    assert.ok(verdict.exit === 1 && verdict.facts.codes.includes('UNIT_DAMAGED'), `${what}: ${verdict.code} ${verdict.facts.codes}`);
  }
  // What gives units back is judged as these units: signatures, roots, the chain.
  const other = (parts, name, n) => ({ ...parts, [name]: parts[name].map((byte, i) => (i === n ? byte ^ 1 : byte)) });
  for (const [what, change, code, at = 0] of [
    ['another root', (p) => other(p, 'perUnit', 0), 'ROOT_MISMATCH'],
    ['another record id', (p) => other(p, 'perEntry', 3), 'LEAF_MISMATCH'],
    ['another leaf before', (p) => other(p, 'leaf', 0), 'LEAF_MISMATCH', 1],
    ['another unit before', (p) => other(p, 'hash', 0), 'UNIT_CHAIN', 1],
    ['another time', (p) => column(p, 2, (one) => { const c = one.slice(); c[0] ^= 2; return c; }), 'LEAF_MISMATCH'],
  ]) {
    const verdict = await judged(await packed(maker, bent(change, at)));
    assert.ok(verdict.exit === 1 && verdict.facts.codes.includes(code), `${what}: ${verdict.facts.codes}`);
    assert.ok(!verdict.facts.codes.includes('UNIT_DAMAGED'), `${what}: ${verdict.facts.codes}`);
  }
  // A signature counts beyond the checkpoint only, packed or not.
  const unsigned = await packed(maker, { ...bent((p) => other(p, 'perUnit', 150)), size: 1 });
  await expectFailed(unsigned, ['FORGED_TAIL']);
});

test('files of packed segments that lie', async () => {
  const maker = await made();
  const blocks = [maker.units.slice(0, 2), maker.units.slice(2)];
  const file = (options) => packed(maker, { files: { [PAK]: packSegment(blocks, options) } });
  const total = concat(...maker.units).length;
  for (const options of [
    { number: 1 }, { tenant: unhex('12'.repeat(16)) }, { magic: 'CHP0' }, { shape: { rows: 1 } }, { shape: { rows: 0 } },
    { rowOf: (row, i) => (i === 0 ? concat(u64(1), row.subarray(8)) : row) }, { rowOf: (row, i) => (i === 1 ? concat(u64(0), row.subarray(8)) : row) },
    { rowOf: (row, i) => (i === 1 ? concat(row.subarray(0, 8), u64(24), row.subarray(16)) : row) },
    { shape: { length: total + 1 }, change: (parts, i) => ({ ...parts, length: parts.length + i }) },
    { shape: { length: total - 1 }, change: (parts, i) => ({ ...parts, length: parts.length - i }) },
    { shape: { start: 24 } }, { shape: { length: 10 } }, { shape: { length: total + 1 } },
  ]) {
    const verdict = await judged(await file(options));
    assert.ok(verdict.exit === 1 && verdict.facts.codes.includes('UNIT_DAMAGED'), JSON.stringify(options));
  }
  for (const empty of [new Uint8Array(0), bytes('CHP1'), concat(bytes('CHP1'), u32(0), unhex(TENANT))]) {
    const verdict = await judged(await packed(maker, { files: { [PAK]: empty } }));
    assert.ok(verdict.exit === 1 && verdict.facts.codes.includes('UNIT_DAMAGED'), String(verdict.facts.codes));
  }
});

test('packed bodies: damage, and groups that nobody names', async () => {
  const maker = await made();
  const whole = packBodies(plainBody(maker));
  assert.ok(whole.length > 200);
  for (let at = 0; at < whole.length; at++) {
    const changed = whole.slice();
    changed[at] ^= 1 << (at % 8);
    const verdict = await judged(await packed(maker, { files: { [BODY]: changed } }));
    assert.deepEqual([verdict.exit, verdict.facts.codes], [1, ['BODY_AUTH_FAIL']], `byte ${at} of ${whole.length}`);
    assert.ok(verdict.failures.every((one) => one.index !== null && one.message.includes('bodies/4/2026-11-21.seg')));
  }
  for (let at = 0; at < whole.length; at++) {
    await expectFailed(await packed(maker, { files: { [BODY]: whole.slice(0, at) } }), ['BODY_AUTH_FAIL']);
  }
  await expectFailed(await packed(maker, { files: { [BODY]: null } }), ['BODY_MISSING_UNJUSTIFIED']);
  const changed = async (change, codes = ['BODY_AUTH_FAIL']) => expectFailed(await packed(maker, { body: { change: (frames, i) => (i === 0 ? change(frames) ?? frames : frames) } }), codes);
  await changed((f) => { f[0].algorithm = 3; });
  await changed((f) => { f[0].algorithm = 0; });
  await changed((f) => { f[1].group = 1; });
  await changed((f) => { f[1].index += 1; });
  await changed((f) => { f[1].at = f[0].at; });
  await changed((f) => { f[0].sealed = f[0].sealed.subarray(0, 40); });
  await changed((f) => { f[0].sealed = new Uint8Array(16); });
  await changed((f) => { f[1].length = 1_000; });
  await changed((f) => { f[1].index = f[0].index; f[1].group = 0; });
  await changed((f) => f.slice(0, 1));
  await changed((f) => [f[0], f[1], { ...f[1], at: f[1].at + 1, group: 1 }], ['BODY_EXTRA']);
  await changed((f) => [f[0], f[1], { ...f[1], at: f[1].at + 94, group: 1 }]);
  const lie = async (body) => expectFailed(await packed(maker, { body }), ['BODY_AUTH_FAIL']);
  await lie({ shape: { rows: 1 } });
  await lie({ shape: { rows: 0 } });
  await lie({ shape: { length: 40 } });
  await lie({ magic: 'CHB3' });
  await lie({ rowOf: (row, i) => (i === 0 ? concat(u64(33), row.subarray(8)) : row) });
  await lie({ rowOf: (row, i) => (i === 1 ? concat(u64(new Reader(row).u64() + 1n), row.subarray(8)) : row) });
  const beyond = await judged(await packed(maker, { body: { shape: { length: plainBody(maker).length + 5 } } }));
  assert.deepEqual([beyond.exit, beyond.failures.map((one) => one.code)], [0, ['BODY_UNCOMMITTED']]);
});

test('compressed groups may have other lengths than plain ones', async () => {
  const maker = await made();
  const of = (algorithm, length) => packed(maker, { body: { change: (frames) => frames.map((f) => ({ ...f, algorithm, sealed: new Uint8Array(length + 16) })) } });
  for (const [algorithm, length, exit] of [[2, 48, 0], [2, 64, 0], [2, 80, 0], [2, 32, 1], [2, 56, 1], [2, 0, 1], [1, 64, 0], [1, 48, 1], [3, 64, 1]]) {
    assert.equal((await judged(await of(algorithm, length))).exit, exit, `algorithm ${algorithm}, ${length} bytes`);
  }
});

test('packed and plain segments follow each other', async () => {
  const maker = await made();
  const { units } = maker;
  const last = units.slice(2);
  const files = { [PAK]: packSegment([units.slice(0, 2)]), 'T/log/00000001.seg': concat(...last) };
  assert.equal((await judged(await packed(maker, { files }))).exit, 0);
  const swapped = { [PAK]: packSegment([units.slice(0, 2)], { number: 1 }), 'T/log/00000001.seg': concat(...last) };
  assert.equal((await judged(await packed(maker, { files: swapped }))).exit, 1);
});

test('bad input in packed vaults: foreign, empty, newer, cut: never verified, and it is said what and where', async () => {
  const maker = await made();
  const spoken = (verdict, exit, ...words) => {
    assert.equal(verdict.exit, exit, `${verdict.code} ${verdict.message}`);
    const text = [verdict.message, ...verdict.failures.map((one) => `${one.code} ${one.index} ${one.message}`)].join('\n');
    for (const word of words) assert.ok(text.includes(word), `${word} is not in: ${text}`);
  };
  const foreign = checkpoint(8, sha(bytes('another log')), signer('other.example/t/12', 7), 'other.example/t/12');
  spoken(await judged(await packed(maker, { files: { 'T/checkpoint': bytes(foreign) } })), 1, 'TENANT_MISMATCH', 'other.example/t/12');
  spoken(await judged(await packed(maker), `log ${signer('other.example/t/12', 7).vkey}\nquorum none\n`), 4, 'UNTRUSTED_KEY');
  spoken(await judged(await packed(maker, { files: { [PAK]: null, 'T/checkpoint': null } })), 4, 'no entries');
  spoken(await judged(await packed(maker, { files: { [PAK]: packSegment([maker.units], { magic: 'CHP2' }) } })), 1, 'UNIT_DAMAGED 0', 'log/00000000.pak');
  spoken(await judged(await packed(maker, { body: { magic: 'CHB3' } })), 1, 'BODY_AUTH_FAIL 1', 'bodies/4/2026-11-21.seg');
  const folder = await packed(maker);
  const members = [];
  for (const name of folder.names()) members.push({ name: `data/${name}`, data: await folder.get(name).read() });
  const zip = zipOf(members);
  const open = (data) => judgeAny({ file: memoryFile(data) }, { trustBytes: bytes(TRUST), sinceBytes: null });
  spoken(await open(zip), 0);
  for (let at = 0; at < zip.length; at += 31) {
    const verdict = await open(zip.slice(0, at));
    assert.ok(verdict.exit !== 0 && verdict.message.length > 10, `cut at ${at}: ${verdict.code} ${verdict.message}`);
  }
});
