// Strict Ed25519: WebCrypto verifies, and before it this file refuses what verifiers disagree
// about (docs/format.md section 9, Note): keys and R that are not canonical or of low order, and
// s not below the group order. Never signs, never makes a key.

import { hex } from './text.mjs';

const P = (1n << 255n) - 19n;
const L = (1n << 252n) + 27742317777372353535851937790883648493n;
const D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;

/**
 * Every encoding of a point of low order: the eight points, then the spellings of them with a
 * needless sign bit or a y of p or more.
 */
export const LOW_ORDER = new Set([
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
  '0100000000000000000000000000000000000000000000000000000000000080',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
]);

function littleEndian(bytes) {
  return BigInt(`0x${hex(bytes.slice().reverse())}`);
}

function power(base, exponent) {
  let result = 1n;
  let square = base % P;
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = (result * square) % P;
    square = (square * square) % P;
  }
  return result;
}

/** The encoding has y below p and is not of low order. */
function isStrictEncoding(bytes) {
  const y = littleEndian(bytes) & ((1n << 255n) - 1n);
  return y < P && !LOW_ORDER.has(hex(bytes));
}

/** True for 32 bytes that encode, in the one canonical way, a curve point that is not weak. */
export function isStrictPoint(bytes) {
  if (bytes.length !== 32 || !isStrictEncoding(bytes)) return false;
  const y = littleEndian(bytes) & ((1n << 255n) - 1n);
  const square = (y * y) % P;
  const above = (square - 1n + P) % P;
  const below = (D * square + 1n) % P;
  // x^2 = above / below has a root exactly when above * below is a square or zero.
  const product = (above * below) % P;
  return product === 0n || power(product, (P - 1n) / 2n) === 1n;
}

/** Verifies one signature; false for anything a strict verifier refuses. */
export async function verifyEd25519(key, message, signature) {
  if (signature.length !== 64 || !isStrictPoint(key)) return false;
  if (!isStrictEncoding(signature.subarray(0, 32))) return false;
  if (littleEndian(signature.subarray(32)) >= L) return false;
  const { subtle } = globalThis.crypto;
  const imported = await subtle.importKey('raw', key, { name: 'Ed25519' }, false, ['verify']);
  return subtle.verify({ name: 'Ed25519' }, imported, signature, message);
}
