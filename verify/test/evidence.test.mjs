// Evidence files, good and attacked: every verdict code of docs/format.md section 12.

import test from 'node:test';
import assert from 'node:assert/strict';
import { judgeAny } from '../src/any.mjs';
import { Folder, memoryFile } from '../src/files.mjs';
import { companionsOf } from '../src/exported.mjs';
import { asJson, asText } from '../src/sentences.mjs';
import {
  b64, bytes, checkpoint, checkpointText, cosignature, GOLDEN, leafOf, line, LOG, NEXT, nodeOf, note, ORIGIN, REPORT,
  sha, signatureLine, signer, STRANGER, TENANT, TRUST, unhex, vkeyOf,
} from './support/signer.mjs';

const EMPTY = sha();
const LEAVES = [0, 1, 2].map((i) => unhex(GOLDEN[`leaf.${i}`]));
const ROOT2 = nodeOf(LEAVES[0], LEAVES[1]);
const ROOT3 = nodeOf(ROOT2, LEAVES[2]);

const raw = (one) => (typeof one === 'string' ? bytes(one) : one);

async function judged(evidence, { trust = TRUST, since = null } = {}) {
  const options = { trustBytes: trust === null ? null : raw(trust), sinceBytes: since === null ? null : raw(since) };
  const piece = evidence instanceof Folder ? { folder: evidence } : { file: memoryFile(raw(evidence)) };
  return judgeAny(piece, options);
}

async function expectCode(evidence, code, exit, options) {
  const verdict = await judged(evidence, options);
  assert.deepEqual([verdict.code, verdict.exit], [code, exit], verdict.message);
  return verdict;
}

const forged = (text, key = LOG) => `${text}\n${line('another text\n', key)}`;
const one = (entry, index = 0, origin = ORIGIN) =>
  `c2sp.org/tlog-proof@v1\nextra ${b64(entry)}\nindex ${index}\n\n${checkpoint(1, leafOf(entry), LOG, origin)}`;

test('checkpoints', async () => {
  const good = checkpoint(3, ROOT3);
  assert.equal(good, GOLDEN.checkpoint);
  const verdict = await expectCode(good, 'VERIFIED', 0);
  assert.equal(verdict.facts.size, 3n);
  await expectCode(good, 'INCONCLUSIVE', 4, { trust: null });
  await expectCode(forged(checkpointText(3, ROOT3)), 'BAD_SIGNATURE', 1);
  await expectCode(checkpoint(3, ROOT3, STRANGER), 'UNTRUSTED_KEY', 4);
  await expectCode(note(checkpointText(3, ROOT3), REPORT), 'UNTRUSTED_KEY', 4);
  await expectCode(good + line(checkpointText(3, ROOT3), STRANGER), 'VERIFIED', 0);
  await expectCode(good + line('x\n', LOG), 'BAD_SIGNATURE', 1);
  await expectCode(good + signatureLine(LOG, new Uint8Array(63)), 'BAD_SIGNATURE', 1);
  await expectCode(note(`${checkpointText(3, ROOT3)}more\n`, LOG), 'MALFORMED', 1);
  for (const size of ['03', '9223372036854775808', '-1', '3 ']) {
    await expectCode(note(checkpointText(size, ROOT3), LOG), 'MALFORMED', 1);
  }
  await expectCode(note(checkpointText(3, ROOT3.subarray(1)), LOG), 'MALFORMED', 1);
  await expectCode(note(checkpointText(3, ROOT3).replace('=', ''), LOG), 'MALFORMED', 1);
  await expectCode(note(checkpointText(3, ROOT3).replace('E=', 'F='), LOG), 'MALFORMED', 1);
  const both = { trust: `${TRUST}log ${OTHER.vkey}\n` };
  await expectCode(note(checkpointText(3, ROOT3), OTHER), 'UNTRUSTED_KEY', 4, both);
  await expectCode(checkpoint(3, ROOT3, OTHER, OTHER.name), 'VERIFIED', 0, both);
  await expectCode(note(checkpointText(0, ROOT3), LOG), 'MALFORMED', 1);
});

test('nothing passes on zero entries', async () => {
  const zero = checkpoint(0, EMPTY);
  await expectCode(zero, 'INCONCLUSIVE', 4);
  await expectCode(`old 0\n\n${zero}`, 'INCONCLUSIVE', 4, { since: zero });
  await expectCode(ledger({ log: 0, lines: '' }), 'INCONCLUSIVE', 4);
  await expectCode(reportOf({ change: (text) => text.replace('entries 3', 'entries 0') }), 'INCONCLUSIVE', 4);
});

test('unknown versions never pass', async () => {
  for (const [from, to] of [['@v1', '@v2'], ['disclosure/v1', 'disclosure/v2']]) {
    for (const name of ['proof', 'disclosure']) {
      if (GOLDEN[name].includes(from)) await expectCode(GOLDEN[name].replace(from, to), 'MALFORMED', 1);
    }
  }
  await expectCode(receipt({ change: (text) => text.replace('/v1', '/v2') }), 'MALFORMED', 1);
  await expectCode('', 'MALFORMED', 1);
  await expectCode('hello\n', 'MALFORMED', 1);
  await expectCode(TRUST, 'MALFORMED', 1);
  await expectCode(GOLDEN.roll, 'MALFORMED', 1);
});

test('inclusion proofs', async () => {
  const verdict = await expectCode(GOLDEN.proof, 'VERIFIED', 0);
  assert.equal(verdict.facts.index, 1n);
  await expectCode(GOLDEN.proof, 'INCONCLUSIVE', 4, { trust: null });
  for (const trust of [TRUST, null]) {
    const options = { trust };
    await expectCode(GOLDEN.proof.replace(/extra .*\n/, ''), 'MALFORMED', 1, options);
    await expectCode(GOLDEN.proof.replace('extra Q0hF', 'extra Q0hG'), 'PROOF_ROOT', 1, options);
    await expectCode(GOLDEN.proof.replace('index 1\n', 'index 0\n'), 'PROOF_ROOT', 1, options);
    await expectCode(GOLDEN.proof.replace('index 1\n', 'index 2\n'), 'PROOF_LENGTH', 1, options);
    await expectCode(GOLDEN.proof.replace('index 1\n', 'index 3\n'), 'PROOF_RANGE', 1, options);
    await expectCode(GOLDEN.proof.replace('index 1\n', 'index 9223372036854775808\n'), 'PROOF_RANGE', 1, options);
    await expectCode(GOLDEN.proof.replace('index 1\n', 'index 01\n'), 'MALFORMED', 1, options);
    const genesis = unhex(GOLDEN['entry.0']);
    await expectCode(one(unhex(GOLDEN['entry.1'])), 'INDEX_OR_PREV_MISMATCH', 1, options);
    await expectCode(one(bytes('hello')), 'MALFORMED', 1, options);
    const foreign = genesis.slice();
    foreign[16] ^= 1;
    await expectCode(one(foreign), 'TENANT_MISMATCH', 1, options);
    foreign[4] = 16;
    await expectCode(one(foreign), 'MALFORMED', 1, options);
  }
  await expectCode(one(unhex(GOLDEN['entry.0'])), 'VERIFIED', 0);
  await expectCode(GOLDEN.proof.replace(/\u2014 .*\n/, line('x\n', LOG)), 'BAD_SIGNATURE', 1);
});

test('consistency proofs', async () => {
  const file = (old, hashes, newer) => `old ${old}\n${hashes.map((hash) => `${b64(hash)}\n`).join('')}\n${newer}`;
  const [one1, two, three] = [checkpoint(1, LEAVES[0]), checkpoint(2, ROOT2), checkpoint(3, ROOT3)];
  const good = file(2, [LEAVES[2]], three);
  await expectCode(good, 'VERIFIED', 0, { since: two });
  await expectCode(file(1, [LEAVES[1]], two), 'VERIFIED', 0, { since: one1 });
  await expectCode(file(3, [], three), 'VERIFIED', 0, { since: three });
  await expectCode(file(0, [], three), 'VERIFIED', 0, { since: checkpoint(0, EMPTY) });
  await expectCode(good, 'USAGE', 2);
  await expectCode(good, 'INCONCLUSIVE', 4, { trust: null });
  await expectCode(good, 'INCONCLUSIVE', 4, { trust: null, since: two });
  for (const trust of [TRUST, null]) {
    await expectCode(file(2, [LEAVES[1]], three), 'INCONSISTENT', 1, { since: two, trust });
    await expectCode(file(1, [LEAVES[2]], three), 'INCONSISTENT', 1, { since: two, trust });
    await expectCode(file(2, [], three), 'INCONSISTENT', 1, { since: two, trust });
    await expectCode(file(2, [LEAVES[2], LEAVES[2]], three), 'INCONSISTENT', 1, { since: two, trust });
    await expectCode(file(3, [], three), 'EQUIVOCATION', 1, { since: checkpoint(3, ROOT2), trust });
    await expectCode(file(3, [], two), 'ROLLED_BACK', 1, { since: three, trust });
    await expectCode(good, 'TENANT_MISMATCH', 1, { since: checkpoint(2, ROOT2, OTHER, OTHER.name), trust: trust && `${trust}log ${OTHER.vkey}\n` });
    await expectCode(good, 'MALFORMED', 1, { since: 'x', trust });
  }
  await expectCode(good, 'BAD_SIGNATURE', 1, { since: forged(checkpointText(2, ROOT2)) });
  await expectCode(file(2, [LEAVES[2]], forged(checkpointText(3, ROOT3))), 'BAD_SIGNATURE', 1, { since: two });
  await expectCode(file(2, [LEAVES[2]], forged(checkpointText(3, ROOT3))), 'UNTRUSTED_KEY', 4, { since: checkpoint(2, ROOT2, STRANGER) });
  await expectCode(three, 'EQUIVOCATION', 1, { since: checkpoint(3, ROOT2) });
  await expectCode(two, 'ROLLED_BACK', 1, { since: three });
  await expectCode(three, 'VERIFIED', 0, { since: two });
});

const OTHER = signer(`other.example/t/${TENANT}`, 0x55);

test('disclosures', async () => {
  const change = (alter) => {
    const value = JSON.parse(GOLDEN.disclosure);
    const text = alter(value);
    if (typeof text === 'string') return text;
    const fields = value.fields.map(({ group, name, salt, value: own }) => ({ group, name, salt, value: own }));
    return JSON.stringify({ fields, format: value.format, proof: value.proof });
  };
  const verdict = await expectCode(GOLDEN.disclosure, 'VERIFIED', 0);
  assert.deepEqual(verdict.facts.fields[0], ['actor.email', '"n1@clinic.example"']);
  await expectCode(`${GOLDEN.disclosure}\n`, 'VERIFIED', 0);
  await expectCode(GOLDEN.disclosure, 'INCONCLUSIVE', 4, { trust: null });
  const mismatches = [
    (it) => { it.fields[0].value = '"n2@clinic.example"'; },
    (it) => { it.fields[0].salt = '00'.repeat(32); },
    (it) => { it.fields[0].group = 0; },
    (it) => { it.fields[0].name = 'actor.name'; },
    (it) => { it.fields[0].name = ''; },
    (it) => { it.fields[0].name = 'a'.repeat(300); },
    (it) => { it.fields[1].value = it.fields[1].value.replace(' ', ''); },
    (it) => { it.fields.reverse(); },
    (it) => { it.fields[1] = it.fields[0]; },
    (it) => { it.fields[0].value = `"${'x'.repeat(1_000_000)}"`; },
  ];
  const malformed = [
    (it) => { it.fields[0].value = `"${'x'.repeat(1_100_000)}"`; },
    (it) => { it.fields[0].value = ''; },
    (it) => { it.fields[0].value = 'n1@clinic.example'; },
    (it) => { it.fields[0].value = '"a" "b"'; },
    (it) => { it.fields[0].value = '{"a":1,"a":2}'; },
    (it) => { it.fields[1].value = '\u001b[2J'; },
    (it) => { it.fields = []; },
    (it) => { it.fields[0].group = 256; },
    (it) => { it.fields[0].group = 1.5; },
    (it) => { it.fields[0].salt = it.fields[0].salt.toUpperCase(); },
    (it) => { it.proof = 'x'; },
    () => `${GOLDEN.disclosure}\n\n`,
    () => ` ${GOLDEN.disclosure}`,
    () => GOLDEN.disclosure.replace('{"fields"', '{"a":1,"fields"'),
    () => GOLDEN.disclosure.replace('"group":1', '"group":1.0'),
    () => GOLDEN.disclosure.replace('"format":', '"format":"","format":'),
    () => GOLDEN.disclosure.replace('"name":"a', '"name":"\\u0061'),
    () => '{"chancery/disclosure/v1":1}',
  ];
  for (const trust of [TRUST, null]) {
    for (const alter of mismatches) await expectCode(change(alter), 'DISCLOSURE_FIELD_MISMATCH', 1, { trust });
    for (const alter of malformed) await expectCode(change(alter), 'MALFORMED', 1, { trust });
  }
});

const RECEIPT_NAME = REPORT.name;

function receipt({ change = (text) => text, key = REPORT } = {}) {
  return note(change(`${RECEIPT_NAME}/erasure-receipt/v1
tenant ${TENANT}
erasure ${'31'.repeat(16)}
basis gdpr-17-1
mode two-person
requested 5 ${b64(LEAVES[0])} 2026-11-21T00:00:01.23456789Z
completed 6 ${b64(LEAVES[1])} 2026-11-21T00:00:02Z
root 3 -> 4 ${b64(LEAVES[0])} ${b64(LEAVES[1])}
store D
replicas 1/1
classes 1y 6y
records 17
deferred 6y floor 2031-11-27T00:00:00Z 45 CFR 164
limits what a copy made before holds
`), key);
}

test('receipts', async () => {
  await expectCode(receipt(), 'VERIFIED', 0);
  await expectCode(receipt(), 'INCONCLUSIVE', 4, { trust: null });
  await expectCode(receipt({ key: LOG }), 'UNTRUSTED_KEY', 4);
  await expectCode(receipt().replace('records 17', 'records 18'), 'BAD_SIGNATURE', 1);
  const elsewhere = (text) => text.replace(RECEIPT_NAME, `other.example/r/${TENANT}`);
  await expectCode(receipt({ change: elsewhere }), 'UNTRUSTED_KEY', 4);
  for (const trust of [TRUST, null]) {
    await expectCode(receipt({ change: (text) => text.replace(`tenant ${TENANT}`, `tenant ${'12'.repeat(16)}`) }), 'TENANT_MISMATCH', 1, { trust });
    for (const [from, to] of [
      [`tenant ${TENANT}`, 'tenant x'], ['31313131', '3131313g'], ['gdpr-17-1', 'gdpr 17'], ['two-person', 'three'],
      ['requested 5', 'requested 05'], ['01.23456789Z', '01.234567890Z'], ['3 -> 4', '3 -> 5'], ['store D', 'store X'],
      ['classes 1y 6y', 'classes'], ['classes 1y 6y', 'classes 1y  6y'], ['records 17', 'records x'], ['floor', 'flood'],
      [/limits.*\n/, ''], ['store D', 'foo\nstore D'], ['completed 6', 'completed 4'], [/basis.*\n/, ''],
      [/(basis.*\n)(mode.*\n)/, '$2$1'], [/(limits.*\n)/, '$1$1'], [b64(LEAVES[0]), 'AAAA'],
    ]) await expectCode(receipt({ change: (text) => text.replace(from, to) }), 'MALFORMED', 1, { trust });
  }
  const final = `root 3 -> 4`;
  const later = (index) => (text) => text.replace(final, `final ${index} ${b64(LEAVES[2])} 2026-11-21T00:00:03Z\n${final}`);
  const whole = await expectCode(receipt({ change: later(7) }), 'VERIFIED', 0);
  assert.ok(whole.said.some((one) => one.includes('2026-11-21T00:00:03Z (entry 7)')) && !whole.open.some((one) => one.startsWith('PARTIAL')));
  await expectCode(receipt({ change: later(6) }), 'MALFORMED', 1);
  const partial = await expectCode(receipt({ change: (text) => text.replace('1/1', '1/2 E2-partial') }), 'VERIFIED', 0);
  assert.ok(partial.open.some((one) => one.startsWith('PARTIAL: ')));
  await expectCode(receipt({ change: (text) => later(7)(text).replace('1/1', '1/2 E2-partial') }), 'MALFORMED', 1);
  for (const wrong of ['01/1', '1/1000', '1', 'one/two', '1/2  E2-partial', '1/2 e2-partial', '']) {
    await expectCode(receipt({ change: (text) => text.replace('1/1', wrong) }), 'MALFORMED', 1);
  }
  for (const [from, to] of [['records 17', 'records -'], [/deferred.*\n/, ''], ['classes 1y 6y', 'classes -']]) {
    await expectCode(receipt({ change: (text) => text.replace(from, to) }), 'VERIFIED', 0);
  }
});

function ledger({ lines = `erased ${'31'.repeat(16)} 6 ${'41'.repeat(16)}\nerased-in-part ${'32'.repeat(16)} 8 ${'42'.repeat(16)}\n`, log = 30 } = {}) {
  return note(`${RECEIPT_NAME}/erasure-ledger/v1\ntenant ${TENANT}\ngeneration 5 ${'07'.repeat(32)}\nlog ${log}\n${lines}`, REPORT);
}

test('ledgers', async () => {
  await expectCode(ledger(), 'VERIFIED', 0);
  await expectCode(ledger({ lines: '' }), 'VERIFIED', 0);
  for (const lines of [
    `erased ${'31'.repeat(16)} 6\n`, `erased ${'31'.repeat(16)} 30 ${'41'.repeat(16)}\n`, 'x\n',
    `erased ${'32'.repeat(16)} 6 ${'41'.repeat(16)}\nerased ${'31'.repeat(16)} 6 ${'41'.repeat(16)}\n`,
  ]) await expectCode(ledger({ lines }), 'MALFORMED', 1);
  await expectCode(ledger().replace('log 30', 'log 31'), 'BAD_SIGNATURE', 1);
});

const FILES = { 'report.json': '{}\n', 'tables/a.csv': 'a\n', 'tables/b.csv': 'b\n' };

function reportOf({ change = (text) => text, files = FILES, keys = [REPORT] } = {}) {
  const listed = Object.keys(FILES).sort().map((name) =>
    `file ${Buffer.from(sha(bytes(FILES[name]))).toString('hex')} ${FILES[name].length} ${name}\n`);
  const status = ['supported', 'exception', 'attention', 'insufficient_data', 'manual', 'n_a'];
  const text = change(`${ORIGIN}/report/v1
id ${'31'.repeat(16)}
kind gdpr 1 ${'07'.repeat(32)}
tenant ${TENANT}
period 2026-11-21T00:00:00Z 2026-11-22T00:00:00Z
cut-off 2026-11-22T00:00:00Z
checkpoint 3 ${'08'.repeat(32)}
generation 5
entries 3
${status.map((word) => `status ${word} 1\n`).join('')}${listed.join('')}`);
  const all = { 'manifest.note': note(text, ...keys), ...files };
  return new Folder(Object.entries(all).map(([name, data]) => [name, memoryFile(bytes(data))]));
}

test('reports', async () => {
  await expectCode(reportOf(), 'VERIFIED', 0);
  await expectCode(reportOf(), 'INCONCLUSIVE', 4, { trust: null });
  await expectCode(reportOf({ keys: [LOG] }), 'UNTRUSTED_KEY', 4);
  const other = `other.example/t/${TENANT}`;
  await expectCode(reportOf({ change: (text) => text.replace(ORIGIN, other) }), 'REPORT_ORIGIN', 1);
  await expectCode(reportOf({ change: (text) => text.replace(ORIGIN, other) }), 'REPORT_ORIGIN', 1, { trust: `${TRUST}log ${OTHER.vkey}\n` });
  await expectCode(reportOf(), 'REPORT_ORIGIN', 1, { trust: `quorum none\nreport ${REPORT.vkey}\n` });
  for (const trust of [TRUST, null]) {
    const without = { ...FILES };
    delete without['tables/a.csv'];
    await expectCode(reportOf({ files: without }), 'REPORT_FILE_MISSING', 1, { trust });
    await expectCode(reportOf({ files: { ...FILES, 'report.json': '{ }' } }), 'REPORT_FILE_CHANGED', 1, { trust });
    await expectCode(reportOf({ files: { ...FILES, 'report.json': '[]\n' } }), 'REPORT_FILE_CHANGED', 1, { trust });
    for (const name of ['x', 'tables/x', 'other/x', 'a/b/c/d']) {
      await expectCode(reportOf({ files: { ...FILES, [name]: 'x' } }), 'REPORT_FILE_UNLISTED', 1, { trust });
    }
    for (const [from, to] of [
      ['id 31', 'id 3'], ['gdpr 1', 'gdpr'], [`tenant ${TENANT}`, `tenant ${'12'.repeat(16)}`], ['period 2026-11-21', 'period 2026-11-23'],
      ['00:00:00Z 2026', '00:00:00Z  2026'], ['checkpoint 3', 'checkpoint 03'], ['entries 3', 'entries 4'], ['status n_a 1\n', ''],
      ['supported 1', 'supported x'], [/file[^]*/, ''], [/(file .*\n)(file .*\n)/, '$2$1'], [/(file .*\n)/, '$1$1'],
      ['tables/a.csv', '../a.csv'], ['tables/a.csv', '/a.csv'], ['tables/a.csv', 'tables/../a'], ['tables/a.csv', 'tables\\a'],
      ['report/v1', 'report/v2'], [/$/, 'x\n'], ['tables/b.csv', 'tables/x/b.csv'],
    ]) await expectCode(reportOf({ change: (text) => text.replace(from, to) }), 'REPORT_MALFORMED', 1, { trust });
  }
  await expectCode(new Folder([['x', memoryFile(bytes('x'))]]), 'MALFORMED', 1);
});

test('witnesses and quorums', async () => {
  const text = checkpointText(3, ROOT3);
  const [a, b] = [signer('w1.example', 0x61, 4), signer('w2.example', 0x62, 4)];
  const pins = `log ${LOG.vkey}\nwitness w1 ${a.vkey}\nwitness w2 ${b.vkey}\n`;
  const [byA, byB] = [cosignature(text, a, 1_700_000_000), cosignature(text, b, 1_700_000_000)];
  const of = (rest, lines, code, exit) => expectCode(note(text, LOG) + lines, code, exit, { trust: pins + rest });
  await of('quorum w1\n', '', 'QUORUM_MISSING', 4);
  await of('quorum w1\n', byA, 'VERIFIED', 0);
  await of('quorum none\n', cosignature(`${text}x`, a, 1_700_000_000), 'BAD_SIGNATURE', 1);
  await of('group g any w1 w2\nquorum g\n', byB, 'VERIFIED', 0);
  await of('group g all w1 w2\nquorum g\n', byB, 'QUORUM_MISSING', 4);
  await of('group g 2 w1 w2\nquorum g\n', byA + byB, 'VERIFIED', 0);
  await of('group g 1 w1\ngroup h all g w2\nquorum h\n', byA + byB, 'VERIFIED', 0);
  await of('quorum none\n', cosignature(text, a, 2n ** 63n), 'BAD_SIGNATURE', 1);
  const id = Buffer.from(LOG.id).toString('hex');
  await of(`until ${id} 3\nquorum none\n`, '', 'VERIFIED', 0);
  await of(`until ${id} 2\nquorum w1\n`, '', 'KEY_RETIRED', 1);
  await expectCode(text + `\n${byA}`, 'UNTRUSTED_KEY', 4, { trust: `${pins}quorum w1\n` });
  await expectCode(note(text, LOG, NEXT), 'VERIFIED', 0, { trust: `log ${LOG.vkey}\nlog ${NEXT.vkey}\nuntil ${id} 2\nquorum none\n` });
});

test('of several cosignatures of one witness the earliest counts, and any time can be shown', async () => {
  const text = checkpointText(3, ROOT3);
  const w = signer('w1.example', 0x61, 4);
  const trust = `log ${LOG.vkey}\nwitness w1 ${w.vkey}\nquorum w1\n`;
  const said = async (...times) => {
    const lines = times.map((seconds) => cosignature(text, w, seconds)).join('');
    const { said: sentences } = await expectCode(note(text, LOG) + lines, 'VERIFIED', 0, { trust });
    return /by the witness w1 at (.*)\.$/.exec(sentences.find((one) => one.startsWith('Cosigned')))[1];
  };
  const [early, late] = [1_700_000_000n, 1_800_000_000n];
  assert.equal(await said(late, early), '2023-11-14T22:13:20Z');
  assert.equal(await said(early, late), '2023-11-14T22:13:20Z');
  assert.equal(await said(253_402_300_799n), '9999-12-31T23:59:59Z');
  for (const seconds of [253_402_300_800n, 8_640_000_000_001n, 2n ** 63n - 1n]) {
    assert.equal(await said(seconds), `second ${seconds}`);
  }
});

test('nothing that evidence holds steers a terminal', async () => {
  // ESC, CSI, line feed, a right-to-left override, one without width, an imitation of an escape.
  const steering = '\u001b[2J\u009b0m\n\u202e\u200b\\u{1b}';
  const shown = '\\u{1b}[2J\\u{9b}0m\\u{a}\\u{202e}\\u{200b}\\u{5c}u{1b}';
  const verdict = {
    kind: 'disclosure', code: 'VERIFIED', exit: 0, message: 'm', said: [`said ${steering}`], open: [`open ${steering}`],
    facts: { name: steering }, failures: [{ code: 'X', message: steering, index: null, fails: true }], trusted: true,
  };
  const unsafe = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202e]/;
  const failed = { ...verdict, exit: 1, code: 'MALFORMED', message: steering };
  for (const one of [verdict, failed]) {
    const text = asText(one);
    assert.doesNotMatch(text, unsafe);
    assert.equal(text.split('\n').filter((line) => line.includes(shown)).length, one === failed ? 4 : 3, text);
    assert.doesNotMatch(asJson(one), unsafe);
    assert.deepEqual(JSON.parse(asJson(one)).facts, { name: steering });
  }
  const value = JSON.parse(GOLDEN.disclosure);
  value.fields[0].name = 'a\u001b]0;x\u0007';
  const mismatch = await expectCode(JSON.stringify(value), 'DISCLOSURE_FIELD_MISMATCH', 1);
  assert.doesNotMatch(asText(mismatch), unsafe);
});

const EXPORT = {
  count: 2, events: 'day.cef.manifest.jsonl', events_sha256: '', file: 'day.cef', first: 4, format: 'cef', last: 9,
  mapping_sha256: '0a'.repeat(32), preset: 'tokens', sha256: '', type: 'chancery/export/v1',
};

test('exports: the signed manifest and the files beside it', async () => {
  const files = { 'day.cef': bytes('CEF:0|a\nCEF:0|b\n'), 'day.cef.manifest.jsonl': bytes('{"index":4}\n{"index":9}\n') };
  const hash = (name, set = files) => Buffer.from(sha(set[name])).toString('hex');
  const whole = { ...EXPORT, sha256: hash('day.cef'), events_sha256: hash('day.cef.manifest.jsonl') };
  const expect = async (text, code, exit, { trust = TRUST, key = REPORT, beside = files, signed = note(text, key) } = {}) => {
    const options = { trustBytes: trust === null ? null : bytes(trust), sinceBytes: null };
    const lookup = (name) => (beside[name] ? memoryFile(beside[name]) : null);
    const verdict = await judgeAny({ file: memoryFile(bytes(signed)), beside: lookup }, options);
    assert.deepEqual([verdict.code, verdict.exit, verdict.kind], [code, exit, 'export manifest'], verdict.message);
    return verdict;
  };
  const text = (more) => `${JSON.stringify({ ...whole, ...more })}\n`;
  const good = await expect(text(), 'VERIFIED', 0);
  assert.deepEqual([good.facts.lines, good.facts.first, good.facts.last], [2, 4, 9]);
  await expect(text(), 'INCONCLUSIVE', 4, { trust: null });
  await expect(text(), 'UNTRUSTED_KEY', 4, { key: LOG });
  await expect(text(), 'UNTRUSTED_KEY', 4, { key: STRANGER });
  await expect(text(), 'BAD_SIGNATURE', 1, { signed: `${text()}\n${line('x\n', REPORT)}` });
  await expect(text(), 'MALFORMED', 1, { signed: text() });
  for (const trust of [TRUST, null]) {
    for (const name of Object.keys(files)) {
      await expect(text(), 'EXPORT_FILE_MISSING', 1, { trust, beside: { ...files, [name]: undefined } });
      await expect(text(), 'EXPORT_FILE_CHANGED', 1, { trust, beside: { ...files, [name]: bytes('x') } });
    }
    for (const bad of [
      text({ type: 'chancery/export/v1', more: 1 }), text({ format: 'csv' }), text({ preset: 'all' }), text({ count: 7 }), text({ count: 1 }),
      text({ count: 0 }), text({ first: null }), text({ first: 10 }), text({ last: 2 ** 53 }), text({ count: 1.5 }), text({ sha256: 'AB' }),
      text({ file: '../day.cef' }), text({ file: 'x', events: 'y.manifest.jsonl' }), `${text()}\n`, `${text()}x\n`, ` ${text()}`.replace(' {', '{ '),
      text({ file: 'a.PART', events: 'a.PART.manifest.jsonl' }),
    ]) await expect(bad, 'MALFORMED', 1, { trust });
    await expect(text({ count: 0, first: null, last: null }), 'INCONCLUSIVE', 4, { trust });
  }
  await expect(text({ count: 1, first: 4, last: 4 }), 'VERIFIED', 0);
  const value = JSON.parse(GOLDEN.disclosure);
  value.fields[0].value = '"chancery/export/v1"';
  assert.equal((await judged(JSON.stringify(value))).kind, 'disclosure');
});

test('the files of an export are not evidence of their own beside its manifest', () => {
  const names = ['a.cef', 'a.cef.manifest.note', 'a.cef.manifest.jsonl', 'a.cef.sha256', 'b.cef', 'proof'];
  assert.deepEqual(companionsOf(names), ['a.cef', 'a.cef.manifest.jsonl', 'a.cef.sha256']);
});

test('trust files that cannot be used', async () => {
  const log = `log ${LOG.vkey}\n`;
  const w = signer('w1.example', 0x61, 4);
  const witness = `witness w1 ${w.vkey}\n`;
  const id = Buffer.from(LOG.id).toString('hex');
  for (const trust of [
    '', 'x', log, `${log}quorum none`, `${log}quorum none\nquorum none\n`, `${log}quorum x\n`, `${log}quorum none x\n`,
    `${log.replace('\n', '\r\n')}quorum none\n`, `${log}quorum none\n# \u007f\n`, `\ufeff${log}quorum none\n`,
    `${log}${log}quorum none\n`, `${log}quorum none\nreport ${LOG.vkey}\n`, `log ${w.vkey}\nquorum none\n`,
    `${log}quorum none\nreport ${vkeyOf('other', 1, LOG.raw).vkey}\n`, `${log}foo\nquorum none\n`, `${log}log x y z\nquorum none\n`,
    `${log}${witness}group g 0 w1\nquorum g\n`, `${log}${witness}group g 2 w1\nquorum g\n`, `${log}${witness}group g any\nquorum none\n`,
    `${log}${witness}group g 1 w1 w1\nquorum g\n`, `${log}${witness}group w1 1 w1\nquorum none\n`, `${log}group g 1 w1\n${witness}quorum g\n`,
    `${log}witness none ${w.vkey}\nquorum none\n`, `until ${id} 3\n${log}quorum none\n`, `${log}until ${id} 3\nuntil ${id} 3\nquorum none\n`,
    `${log}until ${id} 9223372036854775808\nquorum none\n`, `log ${vkeyOf('x', 1, Buffer.from('01'.padEnd(64, '0'), 'hex')).vkey}\nquorum none\n`,
    `${log}quorum none\n#${'#'.repeat(262_144)}\n`,
  ]) await expectCode(GOLDEN.checkpoint, 'TRUST_POLICY', 2, { trust });
  await expectCode('garbage', 'TRUST_POLICY', 2, { trust: 'x' });
  await expectCode(GOLDEN.checkpoint, 'TRUST_POLICY', 2, { trust: new Uint8Array([...bytes(`${log}quorum none\n#`), 0xff, 0x0a]) });
  for (const trust of [
    `\n  \n# x\n${log.replace(' ', '\t ')}  quorum\tnone  \n`, `${log.trim()} https://log.example\nquorum none\n`,
  ]) await expectCode(GOLDEN.checkpoint, 'VERIFIED', 0, { trust });
});

test('no changed byte passes: every golden artefact, every byte, two ways', async () => {
  for (const name of ['checkpoint', 'proof', 'disclosure']) {
    const good = bytes(GOLDEN[name]);
    for (let i = 0; i < good.length; i++) {
      for (const flip of [0x01, 0x20]) {
        const changed = good.slice();
        changed[i] ^= flip;
        const verdict = await judged(changed);
        assert.notEqual(verdict.exit, 0, `${name}, byte ${i}`);
      }
    }
  }
});

test('no cut artefact passes', async () => {
  for (const [name, evidence] of [['checkpoint', GOLDEN.checkpoint], ['proof', GOLDEN.proof], ['disclosure', GOLDEN.disclosure], ['receipt', receipt()], ['ledger', ledger()]]) {
    const good = bytes(evidence);
    for (let cut = 0; cut < good.length; cut++) {
      assert.equal((await judged(good.subarray(0, cut))).exit === 0, false, `${name} cut at ${cut}`);
    }
  }
});
