// Notes, keys and checkpoints of other people's logs.

import test from 'node:test';
import assert from 'node:assert/strict';
import { openNote, parseNote } from '../src/note.mjs';
import { parseVkey } from '../src/vkey.mjs';
import { openCheckpoint, parseTrust } from '../src/trust.mjs';
import { leafHashes, rootOf } from '../src/merkle.mjs';
import { hex } from '../src/text.mjs';
import { bytes, LOG, needsShared, note, shared, SHARED, vkeyOf } from './support/signer.mjs';

const notes = SHARED === null ? {} : JSON.parse(shared('notes/notes.json'));
const refused = (promise, code) => assert.rejects(promise, (error) => error.code === code, code);

test('notes that must verify', needsShared, async () => {
  let seen = 0;
  for (const [name, one] of Object.entries(notes)) {
    if (!one.vkey || !one.note) continue;
    const signed = await openNote(parseNote(bytes(one.note)), [await parseVkey(one.vkey)]);
    assert.equal(signed.length, 1, name);
    seen++;
  }
  assert.ok(seen >= 3);
});

test('keys that must be refused: listed, cut, and changed in any byte', needsShared, async () => {
  const { vkey, bad_vkeys: bad } = notes.go_sumdb_note;
  for (const text of bad) await assert.rejects(parseVkey(text));
  for (let from = 0; from < vkey.length; from++) {
    for (let to = from + 1; to <= vkey.length; to++) {
      if (to - from < vkey.length) await assert.rejects(parseVkey(vkey.slice(from, to)));
    }
  }
  for (let i = 0; i < vkey.length; i++) {
    const changed = vkey.slice(0, i) + String.fromCharCode(vkey.charCodeAt(i) + 1) + vkey.slice(i + 1);
    await assert.rejects(parseVkey(changed), `byte ${i}`);
  }
});

test('a second line of a known key that does not verify refuses the note', needsShared, async () => {
  const { vkey, note: good, second_signature_line: second } = notes.go_sumdb_note;
  const key = await parseVkey(vkey);
  assert.equal((await openNote(parseNote(bytes(good + second + '\n')), [key])).length, 1);
  const forged = good + good.trimEnd().split('\n').at(-1).replace(/....$/, 'AAA=') + '\n';
  await refused(openNote(parseNote(bytes(forged)), [key]), 'BAD_SIGNATURE');
});

test('the Tessera log: sixteen checkpoints, tiles and bundles', needsShared, async () => {
  const vkey = 'example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx';
  const trust = await parseTrust(bytes(`log ${vkey}\nquorum none\n`));
  for (let size = 0; size <= 15; size++) {
    const found = await openCheckpoint(trust, parseNote(new Uint8Array(shared(`tessera/testdata/log/checkpoint.${size}`))));
    assert.equal(found.size, BigInt(size));
    const leaves = size === 0 ? [] : split(shared(`tessera/testdata/log/tile/0/000.p/${size}`), 32);
    assert.equal(hex(await rootOf(leaves)), hex(found.root));
    if (size === 0) continue;
    const entries = bundle(shared(`tessera/testdata/log/tile/entries/000.p/${size}`));
    assert.deepEqual((await leafHashes(entries)).map(hex), leaves.map(hex));
  }
});

function split(data, width) {
  return Array.from({ length: data.length / width }, (_, i) => new Uint8Array(data.subarray(i * width, (i + 1) * width)));
}

function bundle(data) {
  const entries = [];
  for (let at = 0; at < data.length; at += 2 + data.readUInt16BE(at)) {
    entries.push(new Uint8Array(data.subarray(at + 2, at + 2 + data.readUInt16BE(at))));
  }
  return entries;
}

test('what a note may not be', () => {
  const good = note('text\n', LOG);
  const bad = [
    '', 'text\n', 'text\n\n', good.slice(0, -1), `${good}\n`, `${good}x`, good.replaceAll('\n', '\r\n'),
    good.replace('text', 'te\txt'), good.replace('\u2014', '-'), good.replace('\u2014 ', '\u2014  '),
    `${good}\u2014 a b\n`, `${good}\u2014 a AAAAAA==\n`, `${good}\u2014 a+b AAAAAAA=\n`,
    `${good}\u2014 a\u00a0b AAAAAAA=\n`, `${good}\u2014 ${'a'.repeat(256)} AAAAAAA=\n`,
    good + '\u2014 a AAAAAAA=\n'.repeat(100),
  ];
  for (const text of bad) assert.throws(() => parseNote(bytes(text)), { code: 'MALFORMED' }, JSON.stringify(text));
  assert.throws(() => parseNote(new Uint8Array([...bytes(good), 0xff, 0x0a])), { code: 'MALFORMED' });
  for (const text of [good, `${good}\u2014 a AAAAAAA=\n`, good + '\u2014 a AAAAAAA=\n'.repeat(99)]) parseNote(bytes(text));
});

test('a weak key is named as one', async () => {
  for (const raw of ['01'.padEnd(64, '0'), '02'.padEnd(64, '0'), `f0${'ff'.repeat(30)}7f`]) {
    await refused(parseVkey(vkeyOf('x', 1, Buffer.from(raw, 'hex')).vkey), 'WEAK_KEY');
  }
});
