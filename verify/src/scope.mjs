// What a range or answer file was asked, and the entries of a log it shows in full.
// docs/format.md section 11, Completeness. Never says who signed.

import { equal } from './wire.mjs';
import { timeText, U64_MAX } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { decodeEntry, tenantHex } from './entry.mjs';

export const ENTRIES_MAX = 4_194_304n;

/** `{ window, from, to, a, b }` of 33 bytes. */
export function readScope(reader) {
  const scope = { kind: reader.u8(), from: reader.u64(), to: reader.u64(), a: reader.u64(), b: reader.u64() };
  const { kind, from, to, a, b } = scope;
  const whole = kind === 0 && from === 0n && to === 0n && a < b;
  const window = kind === 1 && from < to && a <= b;
  if (!whole && !window) malformed('a scope that asks for nothing');
  return { ...scope, window };
}

/** Entries shown in runs of one log, in order: form, place, chain, tenant, time. */
export class Shown {
  constructor(origin) {
    this.tenant = /\/t\/([^/]*)$/.exec(origin)?.[1] ?? '';
    this.before = null;
    this.time = 0n;
    this.times = new Map();
  }

  /** Judges the entry at `place`; `edge` keeps its log time for the boundary rule. */
  take(place, bytes, leaf, edge) {
    const entry = decodeEntry(bytes);
    const before = this.before?.place === place - 1n ? this.before : null;
    this.before = { place, leaf };
    if (entry.index !== place || (before !== null && !equal(entry.prev, before.leaf))) {
      refuse('INDEX_OR_PREV_MISMATCH', `the entry shown at ${place} belongs elsewhere`, { index: place });
    }
    if (tenantHex(entry) !== this.tenant) {
      refuse('TENANT_MISMATCH', `entry ${place} is of another tenant than the log`, { index: place });
    }
    if (entry.logTime < this.time) {
      refuse('TIME_REGRESSION', `log time falls at entry ${place}`, { index: place });
    }
    this.time = entry.logTime;
    if (edge.has(place)) this.times.set(place, entry.logTime);
    return entry;
  }
}

/** The entries around both cuts of a window. */
export function edgesOf({ a, b }, size) {
  const around = [a - 1n, a, b - 1n, b];
  return new Set(around.filter((place) => place >= 0n && place < size));
}

/** RANGE_BOUNDARY unless the window is cut where its times say; RANGE_OPEN_END when it is not over. */
export function requireBoundary({ window, from, to, a, b }, times, size) {
  if (!window) return;
  for (const [cut, time] of [[a, from], [b, to]]) {
    const below = times.get(cut - 1n);
    const above = times.get(cut);
    if ((below !== undefined && below >= time) || (above !== undefined && above < time)) {
      refuse('RANGE_BOUNDARY', `the cut at ${cut} is not where ${timeText(time)} falls`);
    }
  }
  if (b === size && to !== U64_MAX) {
    refuse('RANGE_OPEN_END', 'the log ends within the window: later entries may still fall into it');
  }
}

export function scopeText({ window, from, to, a, b }) {
  if (!window) return `entries ${a} to ${b - 1n}`;
  const end = to === U64_MAX ? 'the end of the log' : `before ${timeText(to)}`;
  return `log times from ${timeText(from)} to ${end}`;
}
