// The golden vectors of tests/golden/format, computed a third time: from the page, with Node's
// own primitives for what needs keys and with src/ for everything a verifier reads.

import test from 'node:test';
import assert from 'node:assert/strict';
import { createDecipheriv, createHmac, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { concat, label, lp32, lp8, u16, u32, u64, utf8 } from '../src/wire.mjs';
import { hex } from '../src/text.mjs';
import { decodeEntry } from '../src/entry.mjs';
import { decodePayload } from '../src/payload.mjs';
import { commitment } from '../src/disclosure.mjs';
import { leafHash, leafHashes, rootOf } from '../src/merkle.mjs';
import { entriesOf, hashHolds, parseUnit, signatureHolds } from '../src/unit.mjs';
import { bytesOfRow, ROWS_A_LEAF, tableRoot, Tables } from '../src/tables.mjs';
import { bodyHeadHolds, walkSpan } from '../src/body.mjs';
import { parseTrust, openCheckpoint } from '../src/trust.mjs';
import { openNote, parseNote } from '../src/note.mjs';
import { parseVkey } from '../src/vkey.mjs';
import { parseProof, verifyProof } from '../src/proof.mjs';
import { canonical } from '../src/jcs.mjs';
import { parseJson } from '../src/json.mjs';
import { judgeAny } from '../src/any.mjs';
import { Folder, memoryFile } from '../src/files.mjs';
import { piecesOf, segmentsOf } from '../src/segment.mjs';
import { bytes, GOLDEN, LOG, NEXT, repo, sha, TENANT, unhex } from './support/signer.mjs';

const golden = (name) => unhex(GOLDEN[name]);
const fill = (byte, length) => new Uint8Array(length).fill(byte);
const hmac = (key, ...parts) => new Uint8Array(createHmac('sha256', key).update(concat(...parts)).digest());
const expand = (prk, info) => hmac(prk, info, Uint8Array.of(1));
const hkdf = (salt, ikm, info) => new Uint8Array(hkdfSync('sha256', ikm, salt, info, 32));
const tag = (n) => Uint8Array.of(0x10, n);

const RECORD = fill(0x22, 16);
const [CLASS, BUCKET, MONTH] = [4, 20778, 682];
const P = { a1: fill(0xa1, 32), a2: fill(0xa2, 32) };

const event = () => decodeEntry(golden('entry.1'));

test('entries decode, and their leaves, chain and root are the page\'s', async () => {
  const entries = [0, 1, 2].map((i) => decodeEntry(golden(`entry.${i}`)));
  for (const [i, entry] of entries.entries()) {
    assert.equal(hex(await leafHash(entry.bytes)), GOLDEN[`leaf.${i}`]);
    assert.equal(entry.index, BigInt(i));
    if (i > 0) assert.equal(hex(entry.prev), GOLDEN[`leaf.${i - 1}`]);
  }
  assert.equal(decodePayload(entries[0]).tenant, TENANT);
  const root = await rootOf(await leafHashes(entries.map((one) => one.bytes)));
  assert.ok(GOLDEN.checkpoint.includes(Buffer.from(root).toString('base64')));
});

test('no changed byte of an entry decodes to the same bytes, and cuts do not decode', () => {
  for (const name of ['entry.0', 'entry.1', 'entry.2']) {
    const good = golden(name);
    for (let cut = 0; cut < good.length; cut++) {
      assert.throws(() => decodeEntry(good.subarray(0, cut)), { code: 'MALFORMED' });
    }
    assert.throws(() => decodeEntry(concat(good, Uint8Array.of(0))), { code: 'MALFORMED' });
  }
});

test('padding is zero, and as long as it must be', () => {
  for (const name of ['entry.0', 'entry.1', 'entry.2']) {
    const good = golden(name);
    const { headLength } = decodeEntry(good);
    for (let at = headLength; at < good.length - 48; at++) {
      const changed = good.slice();
      changed[at] = 1;
      assert.throws(() => decodeEntry(changed), { code: 'MALFORMED' });
    }
    const longer = concat(good.subarray(0, headLength), new Uint8Array(64), good.subarray(headLength));
    assert.throws(() => decodeEntry(longer), { code: 'MALFORMED' });
  }
});

test('salts, commitments and digests', async () => {
  const fields = event().fields;
  for (const [i, field] of fields.entries()) {
    const salt = sha(tag(1), fill(field.group, 32), u16(i));
    assert.equal(hex(salt), GOLDEN[`salt.${i}`]);
    assert.equal(hex(field.commitment), GOLDEN[`commit.${i}`]);
  }
  for (const group of [0, 1, 2]) {
    const own = fields.filter((field) => field.group === group).map((field) => field.commitment);
    assert.equal(hex(sha(tag(3), ...own)), GOLDEN[`digest.${group}`]);
  }
});

test('keys, tags, associated data and sealed frames', async () => {
  const entry = event();
  const subjects = ['a1', 'a2'].map((name) => ({
    name,
    tag: hmac(expand(P[name], label('tag')), tag(7), u32(MONTH)).subarray(0, 16),
    seal: expand(P[name], label('seal')),
  }));
  assert.equal(hex(subjects[0].seal), GOLDEN['key.seal.a1']);
  for (const one of subjects) assert.equal(hex(one.tag), GOLDEN[`tag.subject.${one.name}`]);
  for (const [g, group] of entry.groups.entries()) {
    const tags = [...group.positions].map((position) => entry.tags[position]);
    const seals = tags.map((one) => subjects.find((subject) => hex(subject.tag) === hex(one)).seal);
    const place = concat(Uint8Array.of(group.policy), u16(group.cls), u32(group.bucket));
    const ikm = seals.length > 0 ? concat(...seals) : label('nosubject');
    const base = hkdf(fill(0xd0, 32), ikm, concat(label('group'), fill(0x11, 16), place));
    assert.equal(hex(base), GOLDEN[`base.${g}`]);
    const key = hmac(base, tag(4), RECORD, Uint8Array.of(g), golden(`digest.${g}`));
    assert.equal(hex(key), GOLDEN[`group_key.${g}`]);
    const aad = concat(
      tag(5), fill(0x11, 16), RECORD, Uint8Array.of(g), place, Uint8Array.of(tags.length), ...tags, golden(`digest.${g}`),
    );
    assert.equal(hex(aad), GOLDEN[`aad.${g}`]);
    await openFrame(entry, g, key, aad);
  }
});

async function openFrame(entry, g, key, aad) {
  const frame = golden(`frame.${g}`);
  const sealed = frame.subarray(46);
  const cipher = createDecipheriv('aes-256-gcm', key, frame.subarray(34, 46));
  cipher.setAAD(aad);
  cipher.setAuthTag(sealed.subarray(-16));
  const plain = concat(cipher.update(sealed.subarray(0, -16)), cipher.final());
  assert.equal(hex(plain), GOLDEN[`plain.${g}`]);
  assert.equal(plain.length % 32, 0);
  const view = new DataView(plain.buffer);
  let at = 34;
  const names = [];
  for (let n = view.getUint16(32); n > 0; n--) {
    const nameBytes = plain.subarray(at + 1, at + 1 + plain[at]);
    at += 1 + plain[at];
    const length = view.getUint32(at);
    const value = new TextDecoder().decode(plain.subarray(at + 4, at + 4 + length));
    at += 4 + length;
    const position = entry.fields.findIndex((field) => hex(field.nameBytes) === hex(nameBytes));
    const salt = sha(tag(1), plain.subarray(0, 32), u16(position));
    const commit = await commitment(RECORD, { group: g, salt, nameBytes, value });
    assert.equal(hex(commit), hex(entry.fields[position].commitment));
    names.push(position);
  }
  assert.equal(names.length, entry.fields.filter((field) => field.group === g).length);
  const expected = [{ index: 1, group: g, recordId: RECORD }];
  assert.deepEqual(walkSpan(frame, expected), { damaged: [], extra: 0 });
  for (let i = 0; i < frame.length; i++) {
    const changed = frame.slice();
    changed[i] ^= 1;
    assert.equal(walkSpan(changed, expected).damaged.length, 1, `byte ${i}`);
  }
}

test('handles, ids and tokens', () => {
  const source = hmac(fill(0x50, 32), tag(8), utf8('ehr')).subarray(0, 16);
  assert.equal(hex(source), GOLDEN['tag.source']);
  assert.equal(hex(hmac(fill(0xde, 32), tag(6), source, utf8('"e-1"')).subarray(0, 16)), GOLDEN['tag.event_id']);
  assert.equal(hex(hmac(fill(0x70, 32), tag(9), utf8('siem.example')).subarray(0, 16)), GOLDEN['tag.token']);
  assert.equal(hex(event().source), GOLDEN['tag.source']);
});

test('the body file\'s head', () => {
  assert.ok(bodyHeadHolds(golden('body.file'), { tenant: fill(0x11, 16), cls: CLASS, bucket: BUCKET }));
  assert.ok(!bodyHeadHolds(golden('body.file'), { tenant: fill(0x11, 16), cls: CLASS, bucket: BUCKET + 1 }));
});

test('the unit: hash, signature, entries, and no byte of it may change', async () => {
  const good = golden('unit');
  const unit = parseUnit(good);
  assert.ok(await hashHolds(unit));
  assert.ok(await signatureHolds(unit, LOG.raw));
  assert.ok(!(await signatureHolds(unit, NEXT.raw)));
  const { entries, whole } = entriesOf(unit);
  assert.ok(whole);
  assert.deepEqual(entries.map(hex), [GOLDEN['entry.1'], GOLDEN['entry.2']]);
  assert.equal(unit.number, 1n);
  const first = good.slice();
  first[19] = 0;
  assert.throws(() => parseUnit(first), { code: 'MALFORMED' }, 'unit 0 with a predecessor');
  for (let i = 0; i < unit.front.length; i++) {
    const changed = good.slice();
    changed[i] ^= 1;
    let holds = false;
    try {
      holds = await hashHolds(parseUnit(changed));
    } catch (error) {
      assert.match(error.code, /MALFORMED|STORE_TOO_NEW/);
    }
    assert.equal(holds, false, `byte ${i}`);
  }
});

test('the four tables', async () => {
  const tables = new Tables();
  for (const i of [0, 1, 2]) tables.add(decodeEntry(golden(`entry.${i}`)));
  for (const [name, rows] of Object.entries(tables.rows())) {
    assert.equal(hex(concat(...rows.map(bytesOfRow))), GOLDEN[`table.${name}`], name);
    const root = await tableRoot(rows, name === 'index' ? ROWS_A_LEAF : 1);
    assert.equal(hex(root), GOLDEN[`table.${name}.root`], name);
  }
});

test('trust file, checkpoint, proof and key roll', async () => {
  const trust = await parseTrust(bytes(GOLDEN.trust));
  const opened = await openCheckpoint(trust, parseNote(bytes(GOLDEN.checkpoint)));
  assert.equal(opened.size, 3n);
  const proof = parseProof(bytes(GOLDEN.proof));
  const entry = await verifyProof(proof, await openCheckpoint(trust, proof.note));
  assert.equal(hex(entry.bytes), GOLDEN['entry.1']);
  const keys = await Promise.all([LOG, NEXT].map((key) => parseVkey(key.vkey)));
  assert.equal((await openNote(parseNote(bytes(GOLDEN.roll)), keys)).length, 2);
});

test('control payloads have one form each', () => {
  const kinds = {
    anchor: 12, conflict: 15, 'day-seal': 7, disclose: 11, 'disclose.ordered': 11, 'erase-done': 2, 'erase-intent': 1, genesis: 14, 'growth-done': 8,
    'growth-intent': 8, 'hold-release': 10, 'hold-set.days': 9, 'hold-set.person': 9, link: 12, policies: 12,
    'prune-done': 5, 'prune-intent': 4, seal: 6, source: 12, 'erase-done.missed': 2, 'erase-final': 3, 'prune-done.missed': 5, unwitnessed: 12,
    'mirror-forgotten': 12, document: 12, restriction: 12, correction: 12, 'disclose.ground': 11,
  };
  const names = ['event', 'erase-intent', 'erase-done', 'erase-final', 'prune-intent', 'prune-done', 'seal', 'day-seal',
    'key-roll', 'hold-set', 'hold-release', 'disclose', 'config', 'scan', 'genesis', 'conflict'];
  const read = (name, text) => decodePayload({ kind: kinds[name], kindName: names[kinds[name]], clear: bytes(text) });
  for (const name of Object.keys(kinds)) {
    const text = GOLDEN[`control.${name}`];
    assert.ok(read(name, text), name);
    const spoiled = [
      text.replace('{', '{ '), text.replace(':', ': '), `${text} `, text.slice(0, -1), `[${text}]`, '{}',
      text.replace('{', '{"a":1,'), text.replace(/^\{"[^"]*"/, '{"zz"'),
    ];
    for (const bad of spoiled) assert.throws(() => read(name, bad), { code: 'MALFORMED' }, `${name}: ${bad}`);
  }
});

test('scans, and a genesis that takes up after another log', () => {
  const read = (kind, kindName, value) => decodePayload({ kind, kindName, clear: bytes(canonical(parseJson(bytes(JSON.stringify(value))))) });
  const finding = { index: null, part: 'keys', verdict: 'KEY_NODE_UNREADABLE', what: 'finding' };
  const pass = { bytes: 1, end: 2, findings: 0, full: true, groups: 3, opened: 3, replicas: '2/2', started: '2026-11-21T08:00:00Z', units: 2, what: 'pass' };
  for (const good of [finding, { ...finding, index: 7, part: 'log' }, pass, { ...pass, full: false }]) assert.ok(read(13, 'scan', good));
  for (const bad of [
    { ...finding, part: 'disk' }, { ...finding, index: -1 }, { ...finding, index: '7' }, { ...finding, more: 1 }, { what: 'finding' }, { ...finding, what: 'look' },
    { ...pass, full: 1 }, { ...pass, started: '2026-11-21' }, { ...pass, bytes: 0.5 }, { ...pass, index: null },
  ]) assert.throws(() => read(13, 'scan', bad), { code: 'MALFORMED' }, JSON.stringify(bad));
  const genesis = JSON.parse(GOLDEN['control.genesis']);
  const continues = { origin: 'old.example/t/ab', root: '09'.repeat(32), size: 77 };
  assert.equal(read(14, 'genesis', { ...genesis, continues }).continues.size, 77);
  for (const bad of [{}, { ...continues, size: '77' }, { ...continues, root: '09' }, { ...continues, more: 1 }, null]) {
    assert.throws(() => read(14, 'genesis', { ...genesis, continues: bad }), { code: 'MALFORMED' }, JSON.stringify(bad));
  }
});

test('wire helpers', () => {
  assert.equal(hex(concat(u16(0x1234), u32(0xfffefdfc), u64(1n << 60n))), '1234fffefdfc1000000000000000');
  assert.equal(hex(concat(lp8(Uint8Array.of(7)), lp32(Uint8Array.of(8)))), '01070000000108');
});

test('range and answer files of the vectors', async () => {
  const judged = (data, trust = GOLDEN.trust) => judgeAny({ file: memoryFile(data) }, { trustBytes: trust === null ? null : bytes(trust), sinceBytes: null });
  const expect = [['range', 'VERIFIED', 0], ['range.window', 'RANGE_OPEN_END', 4], ['answer', 'VERIFIED', 0]];
  for (const [name, code, exit] of expect) {
    const data = golden(name);
    const verdict = await judged(data);
    assert.deepEqual([verdict.code, verdict.exit], [code, exit], `${name}: ${verdict.message}`);
    assert.equal((await judged(data, null)).exit, 4, name);
    for (let at = 0; at < data.length; at++) {
      const bad = data.slice();
      bad[at] ^= 1 << (at % 8);
      // Another key of the same kind is another question, and this file answers it as well.
      const question = name === 'answer' && at >= 55 && at < 71;
      assert.ok(question || [1, 4].includes((await judged(bad)).exit), `${name}: byte ${at}`);
      if (at % 5 === 0) assert.notEqual((await judged(data.slice(0, at))).exit, 0, `${name}: cut at ${at}`);
    }
  }
});

test('the packed vault of the vectors: verified, and its segments come back byte for byte', async () => {
  const { files, segments, since, trust } = JSON.parse(readFileSync(repo('tests/golden/format/packed.json'), 'utf8'));
  const folder = new Folder(Object.entries(files).map(([name, data]) => [name, memoryFile(unhex(data))]));
  const verdict = await judgeAny({ folder }, { trustBytes: bytes(trust), sinceBytes: bytes(since) });
  assert.deepEqual([verdict.exit, verdict.failures.filter((one) => one.code !== 'SOURCE_GAP')], [0, []], verdict.message);
  const tenant = Object.keys(files).find((name) => name.startsWith('tenants/')).split('/')[1];
  const log = folder.below(`tenants/${tenant}`);
  const found = {};
  for (const segment of segmentsOf(log)) {
    const parts = [];
    for await (const piece of piecesOf(segment, unhex(tenant))) parts.push(piece.bytes);
    found[`tenants/${tenant}/log/${String(segment.number).padStart(8, '0')}.seg`] = hex(sha(...parts.map((part) => part ?? new Uint8Array(0))));
  }
  assert.ok(Object.keys(files).filter((name) => name.endsWith('.pak')).length > 1);
  assert.deepEqual(found, segments);
});

test('the last day of a hold is at most 2554-07-21', () => {
  const hold = (to) => {
    const scope = `{"class":4,"from":"1970-01-01","over":"class-days","to":"${to}"}`;
    const text = `{"case":"${'1'.repeat(32)}","mode":"single-operator","scope":${scope}}`;
    return decodePayload({ kind: 9, kindName: 'hold-set', clear: bytes(text) });
  };
  assert.equal(hold('2554-07-21').scope.to, 213_503);
  for (const to of ['2554-07-22', '9999-12-31', '11761191-01-20']) {
    assert.throws(() => hold(to), { code: 'MALFORMED' }, to);
  }
});
