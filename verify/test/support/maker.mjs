// A small vault made from docs/format.md alone, so that attacks can be signed properly.
// Writes entries, units, body frames, tiles and checkpoint in memory; bodies hold noise.

import { concat, label, lp8, u16, u32, u64 } from '../../src/wire.mjs';
import { canonical } from '../../src/jcs.mjs';
import { parseJson } from '../../src/json.mjs';
import { crc32 } from '../../src/crc32.mjs';
import { decodeEntry } from '../../src/entry.mjs';
import { sealedTables, Tables } from '../../src/tables.mjs';
import { dayText, hex } from '../../src/text.mjs';
import { Folder, memoryFile } from '../../src/files.mjs';
import { bytes, checkpoint, leafOf, LOG, ORIGIN, REPORT, sha, signBytes, TENANT, treeRoot, unhex } from './signer.mjs';

export const DAY = 20_778;
export const NOON = BigInt(DAY) * 86_400_000_000_000n + 43_200_000_000_000n;
const KIND = { event: 0, 'erase-intent': 1, 'erase-done': 2, 'prune-intent': 4, 'prune-done': 5, seal: 6, 'day-seal': 7, 'key-roll': 8, genesis: 14 };

/** ENTRY without its tail: what a writer knows before its place. */
function head({ kind = 'event', recordId, tenant = TENANT, fields = [], cls = 4, source, sequence = null, eventId = null, bucket = DAY, clear = '', claimed = 0n }) {
  const flags = (fields.length > 0 ? 1 : 0) | (sequence === null ? 0 : 2);
  const group = concat(Uint8Array.of(0), u16(cls), u32(bucket), Uint8Array.of(0));
  const sealed = fields.map((name) => concat(lp8(bytes(name)), Uint8Array.of(0), sha(bytes(name))));
  const clearBytes = bytes(clear);
  return concat(
    bytes('CHE1'), Uint8Array.of(KIND[kind] ?? kind, flags), u16(cls), u64(claimed), unhex(tenant), recordId,
    eventId ?? new Uint8Array(16), source ?? new Uint8Array(16), u64(sequence ?? 0),
    Uint8Array.of(kind === 'event' ? 5 : 16, kind === 'event' ? 2 : 0, 1, 0), Uint8Array.of(0, fields.length > 0 ? 1 : 0), u16(fields.length),
    fields.length > 0 ? group : new Uint8Array(0), ...sealed, u16(clearBytes.length), clearBytes,
  );
}

export class Maker {
  constructor() {
    this.entries = [];
    this.leaves = [];
    this.units = [];
    this.bodies = new Map();
    this.records = 0;
    this.previousUnit = new Uint8Array(32);
    this.pending = { entries: [], spans: new Map() };
    this.time = NOON;
  }

  /** A maker that goes on from here on its own; nothing may be pending. */
  copy() {
    const other = Object.assign(new Maker(), this);
    for (const name of ['entries', 'leaves', 'units']) other[name] = this[name].slice();
    other.bodies = new Map([...this.bodies].map(([key, parts]) => [key, parts.slice()]));
    other.pending = { entries: [], spans: new Map() };
    return other;
  }

  recordId() {
    this.records++;
    return concat(u64(0xabcdef), u64(this.records));
  }

  /** Adds an entry to the open unit; `tail` overrides index, time or prev. */
  add(what = {}, tail = {}) {
    const index = tail.index ?? this.entries.length;
    this.time = tail.time ?? this.time + 1_000_000n;
    const payload = what.payload === undefined ? what.clear : canonical(parseJson(bytes(JSON.stringify(what.payload))));
    const recordId = what.recordId ?? this.recordId();
    const front = head({ ...what, recordId, clear: payload ?? '' });
    const padding = new Uint8Array((64 - ((1 + front.length) % 64)) % 64);
    const prev = tail.prev ?? this.leaves.at(-1) ?? new Uint8Array(32);
    const entry = concat(front, padding, u64(index), u64(this.time), prev);
    this.entries.push(entry);
    this.leaves.push(leafOf(entry));
    this.pending.entries.push(entry);
    if ((what.fields ?? []).length > 0) this.#frame(what, index, recordId);
    return this.entries.length - 1;
  }

  #frame({ cls = 4, bucket = DAY }, index, recordId) {
    const key = `${cls}/${bucket}`;
    const fileHead = concat(bytes('CHB1'), unhex(TENANT), u16(cls), u32(bucket), new Uint8Array(6));
    const file = this.bodies.get(key) ?? [fileHead];
    const covered = concat(Uint8Array.of(0, 1), recordId, new Uint8Array(12).fill(7), new Uint8Array(48).fill(index & 0xff));
    const frame = concat(u32(48), u32(crc32(covered)), u64(index), covered);
    const start = file.reduce((sum, part) => sum + part.length, 0);
    file.push(frame);
    this.bodies.set(key, file);
    const span = this.pending.spans.get(key) ?? { place: concat(u16(cls), u32(bucket)), start };
    span.end = start + frame.length;
    this.pending.spans.set(key, span);
  }

  genesis(change = {}) {
    return this.add({
      kind: 'genesis', cls: 10,
      payload: {
        format: 1, generation: 1, log_key: LOG.vkey, origin: ORIGIN, report_key: REPORT.vkey, root: '05'.repeat(32), tenant: TENANT, ...change,
      },
    });
  }

  /** Closes the open unit; `change` overrides fields of its head. */
  async commit({ key = LOG, root, number, first, hash, epoch = 1, prevHash } = {}) {
    const { entries, spans } = this.pending;
    const from = first ?? this.entries.length - entries.length;
    const ordered = [...spans.values()].sort((a, b) => (hex(a.place) < hex(b.place) ? -1 : 1));
    const body = concat(...entries.map((entry) => concat(u16(entry.length), entry)));
    const spanBytes = ordered.map(({ place, start, end }) => concat(place, u64(start), u64(end)));
    const length = 118 + 22 * spans.size + body.length + 96;
    const front = concat(
      bytes('CHU1'), u64(length), u64(number ?? this.units.length), u64(epoch), prevHash ?? this.previousUnit, u64(from),
      u64(from + entries.length), root ?? treeRoot(this.leaves), u64(0), u16(spans.size), ...spanBytes,
    );
    const own = hash ?? sha(label('unit'), front);
    const signature = signBytes(key, concat(label('unit-signature'), own));
    this.units.push(concat(front, body, own, signature));
    this.previousUnit = own;
    this.pending = { entries: [], spans: new Map() };
  }

  async sealOf(epoch, change = {}) {
    const tables = new Tables();
    const from = 65_536 * epoch;
    const part = this.entries.slice(from, from + 65_536).map((entry) => decodeEntry(entry));
    for (const entry of part) tables.add(entry);
    return {
      ...(await sealedTables(tables)), entries: 65_536, first: from, end: from + 65_536,
      root: hex(treeRoot(this.leaves.slice(from, from + 65_536))),
      t_first: String(part[0].logTime), t_last: String(part.at(-1).logTime), ...change,
    };
  }

  async checkpoint(size = this.entries.length, key = LOG) {
    return checkpoint(size, treeRoot(this.leaves.slice(0, size)), key);
  }

  /** The data directory as a Folder; `files` replaces or (null) removes files of it. */
  async folder({ size, files = {}, segments } = {}) {
    const tenant = `tenants/${TENANT}`;
    const all = {
      'vault.toml': bytes(`# A comment.\nformat = 1\nname = "vault.example"\ntenant = "${TENANT}"\n`),
      lock: new Uint8Array(0),
      [`${tenant}/log/00000000.seg`]: concat(...(segments ?? this.units)),
      [`${tenant}/checkpoint`]: bytes(await this.checkpoint(size)),
      [`${tenant}/tile/0`]: concat(...this.leaves),
    };
    for (const [key, parts] of this.bodies) {
      const [cls, bucket] = key.split('/').map(Number);
      all[`${tenant}/bodies/${cls}/${dayText(bucket)}.seg`] = concat(...parts);
    }
    for (const [name, data] of Object.entries(files)) all[name.replace('T/', `${tenant}/`)] = data;
    const kept = Object.entries(all).filter(([, data]) => data !== null);
    return new Folder(kept.map(([name, data]) => [name, memoryFile(data)]));
  }
}
