// Zip folders: what is read, and what two readers could see differently.

import test from 'node:test';
import assert from 'node:assert/strict';
import { crc32 as nodeCrc } from 'node:zlib';
import { crc32 } from '../src/crc32.mjs';
import { openZip } from '../src/zip.mjs';
import { judgeAny } from '../src/any.mjs';
import { memoryFile } from '../src/files.mjs';
import { bytes } from './support/signer.mjs';
import { zipOf } from './support/zip.mjs';

const opened = (zip) => openZip(memoryFile(zip));
const refused = (zip, why) => assert.rejects(opened(zip), (error) => error.code === 'MALFORMED' && error.message.includes(why), why);

test('CRC-32 is zip\'s', () => {
  assert.equal(crc32(bytes('123456789')), 0xcbf43926);
  if (nodeCrc) assert.equal(crc32(bytes('abc')), nodeCrc('abc'));
});

test('stored and deflated members, directories, one directory around all', async () => {
  const folder = await opened(zipOf([{ name: 'r/' , method: 0 }, { name: 'r/a', data: 'x'.repeat(5000) }, { name: 'r/t/b', data: 'yy', method: 0 }]));
  assert.deepEqual(folder.names(), ['a', 't/b']);
  assert.deepEqual(await folder.get('t/b').read(), bytes('yy'));
  assert.equal((await folder.get('a').read(10, 20)).length, 10);
});

test('what is refused', async () => {
  const a = { name: 'a', data: 'x' };
  await refused(zipOf([a, a]), 'twice');
  await refused(zipOf([a, { name: 'a/b' }]), 'directory too');
  for (const name of ['../a', '/a', 'a/../b', './a', 'a//b', 'a\\b', 'c:a', 'a\u0000b', 'a\nb']) await refused(zipOf([{ ...a, name }]), 'plain');
  await refused(zipOf([{ ...a, flags: 1 }]), 'encrypted');
  await refused(zipOf([{ ...a, method: 12 }]), 'method');
  await refused(zipOf([{ ...a, method: 0, size: 2 }]), 'two sizes');
  await refused(zipOf([{ ...a, localName: 'b' }]), 'two names');
  await refused(zipOf([{ ...a, size: 0xffffffff }]), 'zip64');
  await refused(zipOf([a], { count: 0xffff }), 'zip64');
  await refused(zipOf([a], { count: 2 }), 'cut short');
  await refused(zipOf([a], { start: 5 }), 'not where');
  await refused(zipOf([a, { name: 'b', data: 'y', offset: 0, localName: 'b' }]), 'two names');
  await refused(zipOf([{ ...a, packedSize: 900 }]), 'overlap');
  await refused(zipOf(Array.from({ length: 2 }, (_, i) => ({ name: `n${i}`, size: 0x7fffffff, packed: Buffer.from('x') }))), 'unpacked');
  await refused(zipOf(Array.from({ length: 10_001 }, (_, i) => ({ name: `n${i}`, method: 0 }))), 'members');
  await refused(zipOf([a]).subarray(0, -1), 'end of directory');
});

test('a member that is not what it says is damaged, and a bomb stops at its word', async () => {
  const read = async (member) => (await opened(zipOf([member]))).get('a').read();
  for (const member of [
    { name: 'a', data: 'x', crc: 1 },
    { name: 'a', data: 'x'.repeat(9), size: 8 },
    { name: 'a', data: 'x'.repeat(50_000_000), size: 10 },
    { name: 'a', data: 'x', packed: Buffer.from('no deflate') },
  ]) await assert.rejects(read(member), { code: 'MALFORMED' });
});

test('a zip of nothing known is MALFORMED, not an exception', async () => {
  for (const zip of [zipOf([{ name: 'a' }]), bytes('PK\x03\x04garbage')]) {
    const verdict = await judgeAny({ file: memoryFile(zip) }, {});
    assert.deepEqual([verdict.code, verdict.exit], ['MALFORMED', 1]);
  }
});
