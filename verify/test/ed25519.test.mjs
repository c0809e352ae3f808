// Strict Ed25519 against vectors that are not ours, and against the curve itself.

import test from 'node:test';
import assert from 'node:assert/strict';
import { LOW_ORDER, isStrictPoint, verifyEd25519 } from '../src/ed25519.mjs';
import { bytes, LOG, needsShared, shared, signBytes, unhex } from './support/signer.mjs';

const P = (1n << 255n) - 19n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;
const mod = (n) => ((n % P) + P) % P;

function power(base, exponent) {
  let [result, square] = [1n, mod(base)];
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = mod(result * square);
    square = mod(square * square);
  }
  return result;
}

// Affine addition on the twisted Edwards curve: complete, so it serves for every point.
function add([x1, y1], [x2, y2]) {
  const product = mod(D * x1 * x2 * y1 * y2);
  const x = mod((x1 * y2 + y1 * x2) * power(1n + product, P - 2n));
  const y = mod((y1 * y2 + x1 * x2) * power(1n - product, P - 2n));
  return [x, y];
}

function pointOf(hex) {
  const y = mod(BigInt(`0x${Buffer.from(hex, 'hex').reverse().toString('hex')}`) & ((1n << 255n) - 1n));
  const square = mod((y * y - 1n) * power(mod(D * y * y + 1n), P - 2n));
  const root = power(square, (P + 3n) / 8n);
  const x = mod(root * root) === square ? root : mod(root * power(2n, (P - 1n) / 4n));
  assert.equal(mod(x * x), square, hex);
  return [x, y];
}

test('every listed encoding is of low order, and there are fourteen', () => {
  assert.equal(LOW_ORDER.size, 14);
  for (const hex of LOW_ORDER) {
    let point = pointOf(hex);
    for (let i = 0; i < 3; i++) point = add(point, point);
    assert.deepEqual(point, [0n, 1n], hex);
    assert.equal(isStrictPoint(unhex(hex)), false, hex);
  }
});

test('a point off the curve, or of y not below p, is no key', () => {
  assert.equal(isStrictPoint(unhex('02'.padEnd(64, '0'))), false);
  assert.equal(isStrictPoint(unhex(`f0${'ff'.repeat(30)}7f`)), false);
  assert.equal(isStrictPoint(LOG.raw), true);
});

test('each bit of a signature and of its message matters', async () => {
  const message = bytes('a message');
  const signature = signBytes(LOG, message);
  assert.equal(await verifyEd25519(LOG.raw, message, signature), true);
  for (let bit = 0; bit < 512; bit++) {
    const changed = signature.slice();
    changed[bit >> 3] ^= 1 << (bit & 7);
    assert.equal(await verifyEd25519(LOG.raw, message, changed), false, `bit ${bit}`);
  }
  assert.equal(await verifyEd25519(LOG.raw, bytes('b message'), signature), false);
  assert.equal(await verifyEd25519(LOG.raw, message, signature.subarray(0, 63)), false);
});

test('CCTV edge cases: no low order, no other spelling, no cofactor', needsShared, async () => {
  const vectors = JSON.parse(shared('cctv/ed25519/ed25519vectors.json'));
  const refused = ['low_order_A', 'low_order_R', 'non_canonical_A', 'non_canonical_R', 'low_order_residue'];
  let accepted = 0;
  for (const { number, key, sig, msg, flags } of vectors) {
    const expected = !(flags ?? []).some((flag) => refused.includes(flag));
    const found = await verifyEd25519(unhex(key), bytes(msg), unhex(sig));
    assert.equal(found, expected, `vector ${number}: ${flags}`);
    accepted += found ? 1 : 0;
  }
  assert.ok(vectors.length === 914 && accepted > 0);
});

test('Wycheproof', needsShared, async () => {
  const { testGroups, numberOfTests } = JSON.parse(shared('wycheproof/ed25519_test.json'));
  let count = 0;
  for (const group of testGroups) {
    for (const { tcId, msg, sig, result } of group.tests) {
      const found = await verifyEd25519(unhex(group.publicKey.pk), unhex(msg), unhex(sig));
      assert.equal(found, result === 'valid', `case ${tcId}`);
      count++;
    }
  }
  assert.equal(count, numberOfTests);
});
