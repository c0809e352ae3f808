// The command line and the batch harness as processes.

import test from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { b64, bytes, GOLDEN, note, REPORT, repo, sha, TRUST } from './support/signer.mjs';
import { Maker } from './support/maker.mjs';

const home = mkdtempSync(join(tmpdir(), 'verify-'));
test.after(() => rmSync(home, { recursive: true }));

function put(name, data) {
  const path = join(home, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, data);
  return path;
}

function run(...words) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [repo('verify/chancery-verify.mjs'), ...words], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

test('exit codes and words', () => {
  const proof = put('a.tlog-proof', GOLDEN.proof);
  const trust = put('trust', TRUST);
  const good = run(proof, '--trust', trust);
  assert.equal(good.status, 0, good.stderr);
  assert.match(good.stdout, /^VERIFIED /);
  assert.match(good.stdout, /pinned log key 0d98b094/);
  const alone = run(proof);
  assert.equal(alone.status, 4);
  assert.match(alone.stdout, /consistent with itself; signer unknown/);
  const bad = run(put('b', GOLDEN.proof.replace('extra Q0hF', 'extra Q0hG')), '--trust', trust, '--json');
  assert.deepEqual([bad.status, JSON.parse(bad.stdout).verdict], [1, 'PROOF_ROOT']);
  assert.equal(run(join(home, 'absent')).status, 3);
  assert.equal(run(proof, '--trust', join(home, 'absent')).status, 3);
  assert.equal(run(proof, '--trust', proof).status, 2);
  for (const words of [[], [proof, proof], ['--nonsense', proof], [proof, '--replay-seals', 'x'], [proof, '--replay-seals', '101%']]) {
    assert.equal(run(...words).status, 2, words.join(' '));
  }
  assert.equal(run(proof, '--trust', trust, '--replay-seals', 'none').status, 0);
  assert.equal(run('--help').status, 0);
});

test('a data directory on disk', async () => {
  const maker = new Maker();
  maker.genesis();
  maker.add({ fields: ['action'] });
  await maker.commit();
  const folder = await maker.folder();
  for (const name of folder.names()) put(`data/${name}`, await folder.get(name).read());
  const good = run(join(home, 'data'), '--trust', put('trust', TRUST), '--json');
  assert.deepEqual([good.status, JSON.parse(good.stdout).facts.entries], [0, 2], good.stdout);
  rmSync(join(home, 'data', 'tenants'), { recursive: true });
  assert.equal(run(join(home, 'data')).status, 4);
});

test('an export on disk, with its files beside the manifest', () => {
  const lines = bytes('CEF:0|a\n');
  const list = bytes('{"index":4}\n');
  const hash = (data) => Buffer.from(sha(data)).toString('hex');
  const text = `${JSON.stringify({
    count: 1, events: 'd.cef.manifest.jsonl', events_sha256: hash(list), file: 'd.cef', first: 4, format: 'cef', last: 4,
    mapping_sha256: '0a'.repeat(32), preset: 'tokens', sha256: hash(lines), type: 'chancery/export/v1',
  })}\n`;
  const path = put('export/d.cef.manifest.note', note(text, REPORT));
  const trust = put('trust', TRUST);
  const verdict = () => JSON.parse(run(path, '--trust', trust, '--json').stdout).verdict;
  assert.equal(verdict(), 'EXPORT_FILE_MISSING');
  put('export/d.cef', lines);
  put('export/d.cef.manifest.jsonl', list);
  assert.equal(verdict(), 'VERIFIED');
  put('export/d.cef', bytes('CEF:0|b\n'));
  assert.equal(verdict(), 'EXPORT_FILE_CHANGED');
});

test('the batch answers line by line, and in order', () => {
  const lines = [
    { id: 'good', files: { 'a.tlog-proof': b64(bytes(GOLDEN.proof)) }, trust: TRUST, since: null },
    { id: 'alone', files: { a: b64(bytes(GOLDEN.disclosure)) }, trust: null, since: null },
    { id: 'garbage', files: { a: b64(bytes('x')) }, trust: TRUST, since: null },
    { id: 'folder', files: { 'a/b': b64(bytes('x')), c: '' }, trust: TRUST, since: null },
    { id: 'trust', files: { a: b64(bytes(GOLDEN.proof)) }, trust: 'x', since: null },
  ];
  const input = lines.map((line) => JSON.stringify(line)).join('\n');
  const { stdout, status } = spawnSync(process.execPath, [repo('verify/batch.mjs')], { input, encoding: 'utf8' });
  assert.equal(status, 0);
  assert.deepEqual(stdout.trim().split('\n').map((line) => JSON.parse(line)), [
    { id: 'good', exit: 0, verdict: 'VERIFIED' },
    { id: 'alone', exit: 4, verdict: 'INCONCLUSIVE' },
    { id: 'garbage', exit: 1, verdict: 'MALFORMED' },
    { id: 'folder', exit: 1, verdict: 'MALFORMED' },
    { id: 'trust', exit: 2, verdict: 'TRUST_POLICY' },
  ]);
});
