// RFC 3161 tokens of openssl's own authority: accepted, changed, of other kinds.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readQuery, verifyTimestamp } from '../src/timestamp.mjs';
import { parseCertificate } from '../src/x509.mjs';
import { Authority, needsOpenssl } from './support/authority.mjs';
import { bytes, sha } from './support/signer.mjs';

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
    const nonce = readQuery(query, IMPRINT);
    const ca = parseCertificate(own.der('ca'));
    const found = await verifyTimestamp(response, { imprint: IMPRINT, nonce, pinned: [ca] });
    assert.equal(found.to - found.from, 2n * 1_500_100_000n);
    const now = BigInt(Date.now()) * 1_000_000n;
    assert.ok(found.from < now && now - found.to < 120_000_000_000n);
    const leaf = parseCertificate(own.der('tsa'));
    await verifyTimestamp(response, { imprint: IMPRINT, nonce: null, pinned: [leaf] });
    const bare = own.stamp(IMPRINT, { certificates: false });
    await verifyTimestamp(bare.response, { imprint: IMPRINT, nonce: null, pinned: [leaf] });
    await refused(verifyTimestamp(bare.response, { imprint: IMPRINT, nonce: null, pinned: [ca] }), 'UNTRUSTED_KEY');
  }
});

test('another checkpoint, another query, another authority', needsOpenssl, async (t) => {
  const own = authority(t, {});
  const other = authority(t, {});
  const { response } = own.stamp(IMPRINT);
  const again = own.stamp(IMPRINT);
  const pinned = [parseCertificate(own.der('ca'))];
  await refused(verifyTimestamp(response, { imprint: sha(bytes('x')), nonce: null, pinned }), 'INCONSISTENT');
  await refused(verifyTimestamp(response, { imprint: IMPRINT, nonce: readQuery(again.query, IMPRINT), pinned }), 'MALFORMED');
  await refused(verifyTimestamp(response, { imprint: IMPRINT, nonce: null, pinned: [parseCertificate(other.der('ca'))] }), 'UNTRUSTED_KEY');
  await refused(verifyTimestamp(response, { imprint: IMPRINT, nonce: null, pinned: [] }), 'UNTRUSTED_KEY');
  assert.throws(() => readQuery(again.query, sha(bytes('x'))), { code: 'INCONSISTENT' });
});

test('certificates that may not stamp, or may not sign certificates', needsOpenssl, async (t) => {
  const plain = authority(t, { ca: 'plain' });
  const { response } = plain.stamp(IMPRINT);
  await refused(verifyTimestamp(response, { imprint: IMPRINT, nonce: null, pinned: [parseCertificate(plain.der('ca'))] }), 'UNTRUSTED_KEY');
});

test('no byte of a token may change, and no cut passes', needsOpenssl, async (t) => {
  const own = authority(t, { ec: true });
  const { response, query } = own.stamp(IMPRINT);
  const given = { imprint: IMPRINT, nonce: readQuery(query, IMPRINT), pinned: [parseCertificate(own.der('tsa'))] };
  const good = await verifyTimestamp(response, given);
  let passed = 0;
  for (let at = 0; at < response.length; at++) {
    const changed = response.slice();
    changed[at] ^= 1;
    try {
      assert.deepEqual(await verifyTimestamp(changed, given), good);
      passed++;
    } catch (error) {
      assert.match(error.code ?? error.stack, /^(MALFORMED|INCONSISTENT|BAD_SIGNATURE|UNTRUSTED_KEY)$/);
    }
    await assert.rejects(verifyTimestamp(response.subarray(0, at), given), { code: 'MALFORMED' });
  }
  // Unsigned parts only: status, versions, signer's name, digest algorithms listed twice, certificates.
  assert.ok(passed < response.length - 300, `${passed} of ${response.length} bytes are not covered`);
});
