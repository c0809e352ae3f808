// The tree of RFC 6962 section 2.1, its proofs as RFC 9162 sections 2.1.3.2 and 2.1.4.2 verify
// them. Sizes and indexes are BigInt. Never believes a length: proofs are walked to their end.

import { concat, equal } from './wire.mjs';
import { refuse } from './verdict.mjs';
import { sha256, sha256Many } from './hash.mjs';

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export function leafHash(entry) {
  return sha256(concat(LEAF, entry));
}

export function leafHashes(entries) {
  return sha256Many(entries.length, (i) => concat(LEAF, entries[i]));
}

export function nodeHash(left, right) {
  return sha256(concat(NODE, left, right));
}

export function emptyRoot() {
  return sha256(new Uint8Array(0));
}

/**
 * The root over all leaf hashes. Pairing neighbours level by level and carrying an odd last one
 * up unchanged gives the same tree as splitting at the largest power of two.
 */
export async function rootOf(leaves) {
  if (leaves.length === 0) return emptyRoot();
  let level = leaves;
  while (level.length > 1) {
    const below = level;
    const pairs = below.length >> 1;
    level = await sha256Many(pairs, (i) => concat(NODE, below[2 * i], below[2 * i + 1]));
    if (below.length % 2 === 1) level.push(below[below.length - 1]);
  }
  return level[0];
}

/**
 * Roots of a growing log without keeping its leaves: the roots of whole subtrees, largest first.
 */
export class Frontier {
  /** `watch.width` (a power of two): roots of whole subtrees of it go to `watch.roots`. */
  constructor(watch = { width: 0, roots: [] }) {
    this.size = 0;
    this.stack = [];
    this.watch = watch;
  }

  #push(width, hash) {
    this.stack.push({ width, hash });
    if (width === this.watch.width) this.watch.roots[this.size / width - 1] = hash;
  }

  /** Adds leaf hashes in order; whole aligned runs are hashed side by side. */
  async add(leaves) {
    let at = 0;
    while (at < leaves.length) {
      const aligned = this.size === 0 ? Number.MAX_SAFE_INTEGER : lowBit(this.size);
      const most = this.watch.width || Number.MAX_SAFE_INTEGER;
      const run = Math.min(aligned, highBit(leaves.length - at), most);
      const hash = await rootOf(leaves.slice(at, at + run));
      this.size += run;
      at += run;
      this.#push(run, hash);
      await this.#merge();
    }
  }

  async #merge() {
    while (this.stack.length > 1) {
      const right = this.stack[this.stack.length - 1];
      const left = this.stack[this.stack.length - 2];
      if (left.width !== right.width) return;
      this.stack.splice(-2, 2);
      this.#push(2 * left.width, await nodeHash(left.hash, right.hash));
    }
  }

  async root() {
    if (this.stack.length === 0) return emptyRoot();
    let hash = this.stack[this.stack.length - 1].hash;
    for (let i = this.stack.length - 2; i >= 0; i--) hash = await nodeHash(this.stack[i].hash, hash);
    return hash;
  }

  /** A copy that grows on its own. */
  fork() {
    const copy = new Frontier(this.watch);
    copy.size = this.size;
    copy.stack = this.stack.slice();
    return copy;
  }
}

// Powers of two by division: shifts in JavaScript end at 32 bits.
function lowBit(n) {
  let bit = 1;
  while (n % (bit * 2) === 0) bit *= 2;
  return bit;
}

function highBit(n) {
  let bit = 1;
  while (bit * 2 <= n) bit *= 2;
  return bit;
}

function lengthOf(n) {
  return n === 0n ? 0 : n.toString(2).length;
}

function onesIn(n) {
  return n.toString(2).replace(/0/g, '').length;
}

/** Hashes in the inclusion proof of `index` in a tree of `size`. */
export function inclusionLength(index, size) {
  const inner = lengthOf(index ^ (size - 1n));
  return inner + onesIn(index >> BigInt(inner));
}

/** Throws PROOF_RANGE, PROOF_LENGTH or PROOF_ROOT unless the proof leads from leaf to root. */
export async function verifyInclusion({ leaf, index, size, proof, root }) {
  if (index >= size) refuse('PROOF_RANGE', `index ${index} is not below the size ${size}`);
  const expected = inclusionLength(index, size);
  if (proof.length !== expected) {
    refuse('PROOF_LENGTH', `${proof.length} hashes in the proof, ${expected} needed`);
  }
  let fn = index;
  let sn = size - 1n;
  let hash = leaf;
  for (const sibling of proof) {
    if ((fn & 1n) === 1n || fn === sn) {
      hash = await nodeHash(sibling, hash);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      hash = await nodeHash(hash, sibling);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  if (root.length !== 32 || !equal(hash, root)) refuse('PROOF_ROOT', 'the proof does not lead to the signed root');
}

/** True when `proof` shows that the tree (size, root) begins with the tree (oldSize, oldRoot). */
export async function consistencyHolds({ oldSize, oldRoot, size, root, proof }) {
  if (oldSize > size) return false;
  if (oldSize === size) return proof.length === 0 && equal(oldRoot, root);
  if (oldSize === 0n) return proof.length === 0 && equal(oldRoot, await emptyRoot());
  const path = proof.slice();
  if ((oldSize & (oldSize - 1n)) === 0n) path.unshift(oldRoot);
  if (path.length === 0) return false;
  let fn = oldSize - 1n;
  let sn = size - 1n;
  while ((fn & 1n) === 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  let older = path[0];
  let newer = path[0];
  for (const hash of path.slice(1)) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      older = await nodeHash(hash, older);
      newer = await nodeHash(hash, newer);
      while ((fn & 1n) === 0n && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      newer = await nodeHash(newer, hash);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && equal(older, oldRoot) && equal(newer, root);
}
