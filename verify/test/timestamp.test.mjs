// RFC 3161 tokens of openssl's own authority: accepted, changed, of other kinds.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readQuery, verifyTimestamp } from '../src/timestamp.mjs';
import { parseCertificate } from '../src/x509.mjs';
import { Authority, needsOpenssl } from './support/authority.mjs';
import { judgeAny } from '../src/any.mjs';
import { Maker } from './support/maker.mjs';
import { b64, bytes, cosignature, LOG, sha, signer } from './support/signer.mjs';

const IMPRINT = sha(bytes('a checkpoint'));

function authority(t, options) {
  const made = new Authority(options);
  t.after(() => made.close());
  return made;
}

const refused = (promise, code) => assert.rejects(promise, (error) => {
  assert.equal(error.code, code, error.stack);
  return true;
});

test('RSA and ECDSA, certificates in the token or only pinned, old and new certificate ids', needsOpenssl, async (t) => {
  for (const options of [{}, { ec: true, digest: 'sha384' }, { digest: 'sha512' }, { ess: 'sha1' }, { ess: 'sha384' }]) {
    const own = authority(t, options);
    const { query, response } = own.stamp(IMPRINT);
    const nonce = readQuery(query).nonce;
    const ca = parseCertificate(own.der('ca'));
    const found = await verifyTimestamp(response, { nonce, pinned: [ca] });
    assert.equal(found.to - found.from, 2n * 1_500_100_000n);
    const now = BigInt(Date.now()) * 1_000_000n;
    assert.ok(found.from < now && now - found.to < 120_000_000_000n);
    const leaf = parseCertificate(own.der('tsa'));
    await verifyTimestamp(response, { nonce: null, pinned: [leaf] });
    const bare = own.stamp(IMPRINT, { certificates: false });
    await verifyTimestamp(bare.response, { nonce: null, pinned: [leaf] });
    await refused(verifyTimestamp(bare.response, { nonce: null, pinned: [ca] }), 'UNTRUSTED_KEY');
  }
});

test('another checkpoint, another query, another authority', needsOpenssl, async (t) => {
  const own = authority(t, {});
  const other = authority(t, {});
  const { response } = own.stamp(IMPRINT);
  const again = own.stamp(IMPRINT);
  const pinned = [parseCertificate(own.der('ca'))];
  assert.deepEqual((await verifyTimestamp(response, { nonce: null, pinned })).imprint, IMPRINT);
  await refused(verifyTimestamp(response, { nonce: readQuery(again.query).nonce, pinned }), 'MALFORMED');
  await refused(verifyTimestamp(response, { nonce: null, pinned: [parseCertificate(other.der('ca'))] }), 'UNTRUSTED_KEY');
  await refused(verifyTimestamp(response, { nonce: null, pinned: [] }), 'UNTRUSTED_KEY');
  assert.deepEqual(readQuery(again.query).imprint, IMPRINT);
});

test('certificates that may not stamp, or may not sign certificates', needsOpenssl, async (t) => {
  const plain = authority(t, { ca: 'plain' });
  const { response } = plain.stamp(IMPRINT);
  await refused(verifyTimestamp(response, { nonce: null, pinned: [parseCertificate(plain.der('ca'))] }), 'UNTRUSTED_KEY');
});

test('no byte of a token may change, and no cut passes', needsOpenssl, async (t) => {
  const own = authority(t, { ec: true });
  const { response, query } = own.stamp(IMPRINT);
  const given = { nonce: readQuery(query).nonce, pinned: [parseCertificate(own.der('tsa'))] };
  const good = await verifyTimestamp(response, given);
  let passed = 0;
  for (let at = 0; at < response.length; at++) {
    const changed = response.slice();
    changed[at] ^= 1;
    try {
      assert.deepEqual(await verifyTimestamp(changed, given), good);
      passed++;
    } catch (error) {
      assert.match(error.code ?? error.stack, /^(MALFORMED|BAD_SIGNATURE|UNTRUSTED_KEY)$/);
    }
    await assert.rejects(verifyTimestamp(response.subarray(0, at), given), { code: 'MALFORMED' });
  }
  // Unsigned parts only: status, versions, signer's name, digest algorithms listed twice, certificates.
  assert.ok(passed < response.length - 300, `${passed} of ${response.length} bytes are not covered`);
});

test('anchors beside a log bound its times, and contradict another history', needsOpenssl, async (t) => {
  const own = authority(t, {});
  const witness = signer('w1.example', 0x61, 4);
  const trust = `log ${LOG.vkey}\nwitness w1 ${witness.vkey}\ntsa own ${b64(own.der('ca'))}\nquorum none\n`;
  const now = BigInt(Date.now()) * 1_000_000n;
  const judged = async ({ start = now, root = null, spoil = (name, data) => data, seconds = null }) => {
    const maker = new Maker();
    maker.time = start;
    maker.genesis();
    maker.add();
    await maker.commit();
    const plain = await maker.checkpoint(2);
    const text = `${plain.split('\n\n')[0]}\n`;
    const { query, response } = own.stamp(root ?? sha(bytes(text)));
    const note = bytes(plain + cosignature(text, witness, seconds ?? start / 1_000_000_000n));
    const named = (sight, data) => maker.add({ kind: 12, cls: 10, payload: { hash: Buffer.from(sha(data)).toString('hex'), sight, size: 2, time: '2026-11-21T00:00:00Z', what: 'anchor' } });
    named('timestamp', response);
    named('cosigned', note);
    await maker.commit();
    const files = {};
    for (const [ending, data] of [['tsq', query], ['tsr', response], ['note', note]]) files[`T/anchors/${'2'.padStart(20, '0')}.${ending}`] = spoil(ending, data);
    const verdict = await judgeAny({ folder: await maker.folder({ files }) }, { trustBytes: bytes(trust) });
    return [verdict.exit, verdict.failures.map((one) => one.code), verdict];
  };
  const codes = async (options) => (await judged(options)).slice(0, 2);
  const day = 86_400_000_000_000n;
  assert.deepEqual(await codes({}), [0, []]);
  const [, , whole] = await judged({});
  assert.ok(whole.said.some((one) => /^A time-stamp .* first 2 entries were there at .* at the latest\.$/.test(one)), whole.said.join('\n'));
  assert.ok(whole.said.some((one) => one.startsWith('An anchored checkpoint that a pinned witness cosigned')));
  assert.ok(whole.open.some((one) => one.includes('revoked was not asked')));
  assert.deepEqual(await codes({ start: now - day, seconds: (now - day) / 1_000_000_000n }), [1, ['TIME_BRACKET']]);
  assert.deepEqual(await codes({ start: now + day }), [1, ['TIME_BRACKET']]);
  assert.deepEqual(await codes({ seconds: (now + day) / 1_000_000_000n }), [1, ['TIME_BRACKET']]);
  assert.deepEqual(await codes({ root: sha(bytes('x')) }), [1, ['INCONSISTENT']]);
  assert.deepEqual(await codes({ spoil: (ending, data) => (ending === 'tsr' ? null : data) }), [0, ['ANCHOR_MISSING']]);
  const flip = (data) => data.map((byte, i) => (i === data.length - 5 ? byte ^ 1 : byte));
  assert.deepEqual(await codes({ spoil: (ending, data) => (ending === 'tsr' ? flip(data) : data) }), [1, ['ANCHOR_MISMATCH', 'ANCHOR_UNVERIFIED']]);
});
