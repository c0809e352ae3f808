// Part of a tree: some leaves in runs, nodes for all between them, one pass from left to right.
// docs/format.md section 11. Places are BigInt. Never holds more than a chunk of leaves.

import { malformed, Refusal } from './verdict.mjs';
import { leafHashes, nodeHash, rootOf } from './merkle.mjs';

const CHUNK = 1_024;
export const EPOCH_HEIGHT = 16;

/** The order that a writer keeps: the roots of left subtrees, larger ones below. */
class Stack {
  constructor() {
    this.nodes = [];
    this.end = 0n;
    this.epochs = new Map();
  }

  async push(height, hash) {
    this.end += 1n << BigInt(height);
    this.#hold(height, hash);
    while (this.nodes.length > 1) {
      const [left, right] = this.nodes.slice(-2);
      if (left.height !== right.height) return;
      this.nodes.splice(-2, 2);
      this.#hold(left.height + 1, await nodeHash(left.hash, right.hash));
    }
  }

  #hold(height, hash) {
    this.nodes.push({ height, hash });
    if (height === EPOCH_HEIGHT) this.epochs.set((this.end >> BigInt(EPOCH_HEIGHT)) - 1n, hash);
  }

  async root() {
    let { hash } = this.nodes[this.nodes.length - 1];
    for (let i = this.nodes.length - 2; i >= 0; i--) hash = await nodeHash(this.nodes[i].hash, hash);
    return hash;
  }
}

/** Runs ascend, do not touch, and end within a tree of `size`. */
export function requireRuns(runs, size) {
  let before = -1n;
  for (const { start, end } of runs) {
    if (!(start > before && start < end && end <= size)) malformed('runs that are not in order');
    before = end;
  }
}

function heightAt(from, to, most) {
  let height = 0;
  const fits = (h) => from % (1n << BigInt(h)) === 0n && from + (1n << BigInt(h)) <= to;
  while (height < most && fits(height + 1)) height++;
  return height;
}

/**
 * Reads the part; `readLeaf(place)` gives a leaf's bytes, `take(place, leaf, hash)` judges it.
 * Gives `{ root, epochs }`: epochs are the nodes of height 16 that were held, by number.
 */
export async function readPart(stream, { size, most, runs, readLeaf, take }) {
  const stack = new Stack();
  let at = 0n;
  for (const run of [...runs, null]) {
    const gapEnd = run?.start ?? size;
    while (at < gapEnd) {
      const height = heightAt(at, gapEnd, most);
      await stack.push(height, (await stream.take(32)).slice());
      at += 1n << BigInt(height);
    }
    while (run !== null && at < run.end) at = await readChunk(stack, at, run, readLeaf, take);
  }
  return { root: await stack.root(), epochs: stack.epochs };
}

// A chunk is a whole subtree. What is wrong in a leaf is said before the file's end is.
async function readChunk(stack, at, run, readLeaf, take) {
  const height = heightAt(at, run.end, Math.log2(CHUNK));
  const leaves = [];
  let ended = null;
  for (let i = 0; i < 1 << height && ended === null; i++) {
    try {
      leaves.push((await readLeaf(at + BigInt(i))).slice());
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      ended = error;
    }
  }
  const hashes = await leafHashes(leaves);
  for (const [i, hash] of hashes.entries()) await take(at + BigInt(i), leaves[i], hash);
  if (ended !== null) throw ended;
  await stack.push(height, await rootOf(hashes));
  return at + (1n << BigInt(height));
}
