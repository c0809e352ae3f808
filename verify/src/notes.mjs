// The checkpoints of a data directory: the newest, the witnessed one, and one kept from before.
// docs/format.md sections 9 and 12. Read before the walk, judged after it: a roll in the log moves
// trust. Never takes a key from the directory but through a roll of a pinned key.

import { equal } from './wire.mjs';
import { Refusal } from './verdict.mjs';
import { readCheckpoint } from './checkpoint.mjs';
import { parseNote } from './note.mjs';
import { openCheckpoint } from './trust.mjs';

const FREE = 2;

// `{ bytes, note, origin, size, root }` as far as they can be read; null without bytes.
async function read(bytes) {
  if (bytes === null) return null;
  const found = { bytes };
  try {
    found.note = parseNote(bytes);
    Object.assign(found, await readCheckpoint(found.note), { readable: true });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  return found;
}

export class Notes {
  constructor(findings, { origin, trust }) {
    this.findings = findings;
    this.origin = origin;
    this.trust = trust;
  }

  async load(folder, sinceBytes) {
    const bytesOf = async (name) => (folder.get(name) ? folder.get(name).read() : null);
    this.newest = await read(await bytesOf('checkpoint'));
    this.older = await read(sinceBytes);
    const quorum = this.trust !== null && this.trust.quorum !== 'none';
    this.witnessed = quorum ? await read(await bytesOf('checkpoint.witnessed')) : null;
  }

  /** The newest checkpoint if it can be read: how much of the log was signed. */
  get checkpoint() {
    return this.newest?.readable ? this.newest : null;
  }

  get size() {
    return Number(this.checkpoint?.size ?? 0n);
  }

  /** Sizes at which the walk keeps root and time. */
  sizes() {
    return [this.newest, this.older, this.witnessed].filter((one) => one?.readable).map((one) => Number(one.size));
  }

  /** `marks` holds root and time at each size; `entries` is how many there are. */
  async judge(logKeys, marks, entries) {
    this.moved = this.trust === null ? null : logKeys.moved();
    await this.#open(logKeys, this.moved);
    const holds = this.#newest(marks, entries);
    this.#older(marks, entries);
    await this.#witnessed(this.moved, marks, entries);
    return holds;
  }

  async #open(logKeys, trust) {
    if (this.older) await this.#opened(this.older, trust, 'the older checkpoint');
    if (this.newest === null) return;
    if (trust !== null) await this.#opened(this.newest, trust, 'the checkpoint');
    else if (!this.newest.readable) await this.#opened(this.newest, null, 'the checkpoint');
    else if (logKeys.some) await this.#ownSignature(logKeys.moved('none'));
  }

  // Opens one; what is wrong becomes a finding, or a doubt where nobody pinned signed.
  async #opened(one, trust, what) {
    try {
      Object.assign(one, await openCheckpoint(trust, parseNote(one.bytes)));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.code === 'QUORUM_MISSING' && one === this.newest) {
        const lax = Object.assign(Object.create(Object.getPrototypeOf(trust)), trust, { quorum: 'none' });
        Object.assign(one, await openCheckpoint(lax, one.note), { lacksQuorum: true });
      } else if (error.code === 'UNTRUSTED_KEY' || error.code === 'QUORUM_MISSING') {
        this.findings.doubt(error.code, `${what}: ${error.message}`);
      } else {
        this.findings.add(error.code, `${what}: ${error.message}`);
      }
    }
    if (one.readable && one.origin !== this.origin) {
      this.findings.add('TENANT_MISMATCH', `${what} is of the log ${one.origin}`);
    }
  }

  // Without pinned trust the log must at least be signed by the key that its genesis names.
  async #ownSignature(keys) {
    if (this.newest.origin !== this.origin) {
      this.findings.add('TENANT_MISMATCH', `the checkpoint is of the log ${this.newest.origin}`);
    }
    try {
      await openCheckpoint(keys, this.newest.note);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.findings.add('CHECKPOINT_SIGNATURE', `the checkpoint is not signed by the log's own key: ${error.message}`);
    }
  }

  #newest(marks, entries) {
    const { checkpoint, findings } = this;
    if (this.newest === null && entries > FREE) {
      findings.add('CHECKPOINT_MISSING', 'the log has entries and no signed checkpoint');
    } else if (this.newest === null) {
      findings.doubt('CHECKPOINT_MISSING', 'there is no signed checkpoint yet');
    }
    if (checkpoint === null) return false;
    if (checkpoint.size > BigInt(entries)) {
      findings.add('ROLLED_BACK', `${checkpoint.size} entries were signed, the log holds ${entries}`, entries);
      return false;
    }
    const holds = checkpoint.size === 0n || equal(marks.get(this.size).root, checkpoint.root);
    if (!holds) {
      findings.add('ROOT_MISMATCH', `the first ${checkpoint.size} entries do not hash to the signed root`);
    }
    return holds;
  }

  #older(marks, entries) {
    const { older, checkpoint, findings } = this;
    if (!older?.readable || older.origin !== this.origin) return;
    if (older.size > BigInt(entries)) {
      findings.add('ROLLED_BACK', `${older.size} entries were signed before, the log holds ${entries}`);
    } else if (checkpoint && older.size === checkpoint.size && !equal(older.root, checkpoint.root)) {
      findings.add('EQUIVOCATION', `two roots of one log at size ${older.size}: keep both checkpoints`);
    } else if (older.size > 0n && !equal(marks.get(Number(older.size)).root, older.root)) {
      findings.add('INCONSISTENT', 'the log is no extension of the older checkpoint');
    }
  }

  // When the newest checkpoint lacks the quorum, an older note that has it must be of this log.
  async #witnessed(trust, marks, entries) {
    const { checkpoint, findings } = this;
    if (!checkpoint?.lacksQuorum) return;
    if (!(await this.#openWitnessed(trust))) {
      this.witnessed = null;
      findings.doubt('QUORUM_MISSING', 'neither checkpoint nor checkpoint.witnessed meets the quorum');
      return;
    }
    const { size, root } = this.witnessed;
    if (size > BigInt(entries)) {
      findings.add('ROLLED_BACK', `${size} entries were witnessed, the log holds ${entries}`);
    } else if (size > 0n && !equal(marks.get(Number(size)).root, root)) {
      findings.add('INCONSISTENT', 'the log is no extension of the witnessed checkpoint');
    } else if (size < checkpoint.size) {
      findings.add('UNWITNESSED_TAIL', `${checkpoint.size - size} signed entries lie beyond the witnessed ${size}`);
    }
  }

  async #openWitnessed(trust) {
    if (this.witnessed === null) return false;
    try {
      Object.assign(this.witnessed, await openCheckpoint(trust, parseNote(this.witnessed.bytes)), { readable: true });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.code !== 'QUORUM_MISSING' && error.code !== 'UNTRUSTED_KEY') {
        this.findings.add(error.code, `the witnessed checkpoint: ${error.message}`);
      }
      return false;
    }
    if (this.witnessed.origin === this.origin) return true;
    this.findings.add('TENANT_MISMATCH', 'the witnessed checkpoint is of another log');
    return false;
  }

  /** The checkpoint whose witnesses count, after judging; null without any. */
  get seen() {
    const one = this.newest?.lacksQuorum ? this.witnessed : this.checkpoint;
    return one?.witnesses?.size > 0 ? one : null;
  }
}
