// Entry after entry: place, chain, tenant, time, and nothing twice. docs/format.md section 12.
// Never reads `clear`; judges an entry only by those before it.

import { compare, equal } from './wire.mjs';
import { timeText } from './text.mjs';
import { Refusal } from './verdict.mjs';
import { decodeEntry, KINDS } from './entry.mjs';

const DAY = 86_400_000_000_000n;
const raw = (bytes) => String.fromCharCode(...bytes);

export class Sequence {
  constructor(findings, tenant) {
    this.findings = findings;
    this.tenant = tenant;
    this.previous = new Uint8Array(32);
    this.time = 0n;
    this.firstTime = null;
    this.records = new Set();
    this.events = new Map();
    this.sources = new Map();
    this.kinds = new Map();
  }

  /**
   * Judges the bytes in place `index`; `leaf` stands for them in the tree, `believed` says
   * whether they hash to it. Gives the decoded entry, or null when it is malformed.
   */
  take(index, bytes, leaf, believed) {
    const previous = this.previous;
    this.previous = leaf;
    let entry;
    try {
      entry = decodeEntry(bytes);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.findings.add('MALFORMED', error.message, index);
      return null;
    }
    if (!believed) return entry;
    this.#place(index, entry, previous);
    this.#time(index, entry);
    this.#twice(index, entry);
    const kind = KINDS[entry.kind];
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
    return entry;
  }

  #place(index, entry, previous) {
    if (entry.index !== BigInt(index)) {
      this.findings.add('INDEX_OR_PREV_MISMATCH', `the entry says it is ${entry.index}`, index);
    } else if (!equal(entry.prev, previous)) {
      this.findings.add('INDEX_OR_PREV_MISMATCH', 'the entry names another predecessor', index);
    }
    if (compare(entry.tenant, this.tenant) !== 0) {
      this.findings.add('TENANT_MISMATCH', 'the entry is of another tenant', index);
    }
  }

  #time(index, entry) {
    if (entry.logTime < this.time) {
      this.findings.add('TIME_REGRESSION', `log time falls to ${timeText(entry.logTime)}`, index);
    }
    this.time = entry.logTime;
    this.firstTime ??= entry.logTime;
  }

  #twice(index, entry) {
    const record = raw(entry.recordId);
    if (this.records.has(record)) {
      this.findings.add('DUP_RID', 'the record id stands in an earlier entry', index);
    }
    this.records.add(record);
    const source = raw(entry.source);
    if (entry.hasSequence) this.#number(index, source, entry.sequence);
    if (!entry.eventIdTag.some((byte) => byte !== 0)) return;
    const id = source + raw(entry.eventIdTag);
    const before = this.events.get(id);
    if (before !== undefined) {
      const late = entry.logTime - before >= DAY;
      this.findings.add(late ? 'DUP_EVENT_ID_LATE' : 'DUP_EVENT_ID', 'the event id was used before', index);
    }
    this.events.set(id, entry.logTime);
  }

  #number(index, source, number) {
    const numbers = this.sources.get(source) ?? new Map();
    if (numbers.has(number)) {
      this.findings.add('DUP_SOURCE_SEQ', `the source used number ${number} before`, index);
    } else {
      numbers.set(number, index);
    }
    this.sources.set(source, numbers);
  }

  /** Numbers that a source skipped: attention. Gives how many. */
  finish() {
    let missing = 0n;
    for (const numbers of this.sources.values()) {
      const sorted = [...numbers.keys()].sort((a, b) => (a < b ? -1 : 1));
      for (let i = 1; i < sorted.length; i++) {
        const gap = sorted[i] - sorted[i - 1] - 1n;
        if (gap === 0n) continue;
        missing += gap;
        const range = `${sorted[i - 1] + 1n} to ${sorted[i] - 1n}`;
        this.findings.add('SOURCE_GAP', `numbers ${range} of a source never came`, numbers.get(sorted[i]));
      }
    }
    return missing;
  }
}
