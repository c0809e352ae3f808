// Stored tree hashes beside a log. docs/format.md section 9. Derived: they locate a damaged
// entry when they lead to the signed root, and are never believed for anything else.

import { equal } from './wire.mjs';
import { Frontier, rootOf } from './merkle.mjs';

const CHUNK = 65_536;
const WIDTH = 256;

async function hashesOf(file, from, to) {
  const bytes = await file.read(32 * from, 32 * to);
  return Array.from({ length: to - from }, (_, i) => bytes.slice(32 * i, 32 * i + 32));
}

export class Tiles {
  constructor(findings, folder, checkpoint) {
    this.findings = findings;
    this.folder = folder;
    this.checkpoint = checkpoint;
    this.file = folder.get('tile/0') ?? null;
    this.stored = this.file === null ? 0 : Math.floor(this.file.size / 32);
    this.trusted = null;
    this.differ = [];
  }

  /**
   * The leaves that stand for entries [first, first + own.length): a stored hash where it differs
   * from the entry's own and all stored hashes together give the signed root.
   */
  async standing(first, own) {
    const to = Math.min(first + own.length, this.stored);
    if (to <= first) return own;
    const stored = await hashesOf(this.file, first, to);
    const leaves = own.slice();
    for (const [i, hash] of stored.entries()) {
      if (own[i] !== null && equal(hash, own[i])) continue;
      this.differ.push(first + i);
      if (await this.#leadToRoot(first + i)) leaves[i] = hash;
    }
    return leaves;
  }

  async #leadToRoot(index) {
    const size = this.checkpoint === null ? 0 : Number(this.checkpoint.size);
    if (index >= size || size > this.stored) return false;
    if (this.trusted === null) {
      const frontier = new Frontier();
      for (let at = 0; at < size; at += CHUNK) {
        await frontier.add(await hashesOf(this.file, at, Math.min(at + CHUNK, size)));
      }
      this.trusted = equal(await frontier.root(), this.checkpoint.root);
    }
    return this.trusted;
  }

  /** After the walk; `rootHolds` says whether the entries themselves gave the signed root. */
  async finish(entries, rootHolds) {
    const size = Number(this.checkpoint?.size ?? 0n);
    for (const index of this.differ) {
      // Beyond the checkpoint a crash may leave stale hashes; a dropped entry they still show.
      if (index >= size && index < entries) continue;
      if (this.trusted) this.findings.add('LEAF_MISMATCH', 'the entry does not hash to its leaf in the signed tree', index);
      else if (rootHolds && index < entries) this.findings.add('TILE_MISMATCH', "the stored leaf hash is not the entry's", index);
      else this.findings.add('LEAF_MISMATCH', 'the entry does not hash to its stored leaf', index);
    }
    if (this.stored < entries) {
      this.findings.add('TILE_MISSING', `stored leaf hashes end at ${this.stored}`);
    }
    for (let level = 1; level <= 7; level++) await this.#level(level, Math.min(entries, size));
  }

  // Each hash of a higher level is the root over 256 of the level below.
  async #level(level, entries) {
    const due = Math.floor(entries / WIDTH ** level);
    if (due === 0) return;
    const [below, file] = [this.folder.get(`tile/${level - 1}`), this.folder.get(`tile/${level}`)];
    const stored = Math.min(due, file ? Math.floor(file.size / 32) : 0);
    if (stored < due) this.findings.add('TILE_MISSING', `tile/${level} ends at ${stored} of ${due}`);
    const sure = Math.min(stored, Math.floor((below?.size ?? 0) / 32 / WIDTH));
    for (let i = 0; i < sure; i++) {
      const [hash] = await hashesOf(file, i, i + 1);
      const root = await rootOf(await hashesOf(below, WIDTH * i, WIDTH * (i + 1)));
      if (!equal(hash, root)) {
        this.findings.add('TILE_MISMATCH', `hash ${i} of tile/${level} is not the root of those below`);
      }
    }
  }
}
