// Seals of epochs and day-seals, replayed from the entries. docs/format.md section 11.
// Never believes a seal: what can be computed is computed.

import { concat, label, u64 } from './wire.mjs';
import { DAY_NS, dayText, hex } from './text.mjs';
import { sha256 } from './hash.mjs';
import { sealedTables, Tables } from './tables.mjs';
import { EPOCH } from './payload.mjs';

const SEALED = [
  'class_root', 'class_rows', 'count_root', 'count_rows', 'index_root', 'index_rows', 'root',
  'source_root', 'source_rows', 't_first', 't_last',
];

/** Which epochs a replay takes: `{ percent, root, seed }`; 100 takes all, 0 none. */
export async function isTaken(epoch, { percent, root, seed }) {
  if (percent >= 100) return true;
  return (await drawOf(epoch, root, seed)) * 100n < BigInt(percent) << 64n;
}

/** The first 8 bytes that decide about an epoch: the least of them when none is taken. */
export async function drawOf(epoch, root, seed) {
  const hash = await sha256(concat(label('sample'), root, u64(epoch), seed));
  return new DataView(hash.buffer).getBigUint64(0);
}

/** Members of a seal that differ from what was computed. */
export function wrongMembers(facts, payload) {
  return SEALED.filter((name) => name in facts && facts[name] !== payload[name]);
}

export class SealChecker {
  /** `roots` holds the root of each whole epoch by the time its last entry is taken. */
  constructor(findings, sample, roots) {
    this.findings = findings;
    this.sample = sample;
    this.roots = roots;
    this.count = 0;
    this.epochs = new Map();
    this.sealed = new Set();
    this.late = 0;
    this.replayed = 0;
    this.tables = null;
    this.times = null;
    this.days = new Map();
    this.dayEnd = 0;
    this.daySeals = new Map();
  }

  /** An entry in its place; null when it is not believed. */
  async entry(index, entry) {
    if (this.count === 0) {
      const taken = this.sample.percent > 0 && (await isTaken(index / EPOCH, this.sample));
      this.tables = taken ? new Tables() : null;
      this.times = { first: null, last: null };
    }
    this.count++;
    if (entry !== null) {
      this.times.first ??= entry.logTime;
      this.times.last = entry.logTime;
      this.tables?.add(entry);
      this.#day(index, entry);
    }
    if (this.count === EPOCH) await this.#close((index + 1) / EPOCH - 1);
  }

  #day(index, entry) {
    const day = Number(entry.logTime / DAY_NS);
    const range = this.days.get(day);
    if (range) range.end = index + 1;
    else this.days.set(day, { first: index, end: index + 1 });
  }

  async #close(epoch) {
    const facts = {
      root: hex(this.roots[epoch]),
      t_first: this.times.first,
      t_last: this.times.last,
    };
    if (this.tables) Object.assign(facts, await sealedTables(this.tables));
    this.epochs.set(epoch, facts);
    this.count = 0;
    this.tables = null;
  }

  /** A seal entry at `index`. */
  seal(index, payload) {
    const epoch = payload.first / EPOCH;
    if (this.sealed.has(epoch)) {
      this.findings.add('SEAL_DUPLICATE', `epoch ${epoch} has a second seal`, index);
      return;
    }
    this.sealed.add(epoch);
    const facts = this.epochs.get(epoch);
    if (index < payload.end || facts === undefined) {
      this.findings.add('SEAL_MISMATCH', `the seal of epoch ${epoch} stands before its end`, index);
      return;
    }
    if (index > payload.end + EPOCH) {
      this.findings.add('SEAL_LATE', `epoch ${epoch} was sealed after the next one ended`, index);
    }
    const wrong = wrongMembers(facts, payload);
    if (wrong.length > 0) {
      this.findings.add('SEAL_MISMATCH', `the seal of epoch ${epoch} is wrong about ${wrong.join(', ')}`, index);
    }
    if ('index_root' in facts) this.replayed++;
  }

  /** A day-seal entry at `index`: days tile the log, and a day holds its own entries only. */
  daySeal(index, { day, first, end }) {
    const range = this.days.get(day);
    const own = first === end ? !range : range?.first === first && range?.end === end;
    if (first !== this.dayEnd || end > index || !own) {
      this.findings.add('SEAL_MISMATCH', `the day-seal of ${dayText(day)} does not cover its day`, index);
    }
    this.dayEnd = end;
    this.daySeals.set(day, index);
  }

  finish(entries) {
    for (let epoch = 0; (epoch + 2) * EPOCH <= entries; epoch++) {
      if (!this.sealed.has(epoch)) {
        this.findings.add('SEAL_MISSING', `epoch ${epoch} has no seal although the next one ended`);
      }
    }
  }
}
