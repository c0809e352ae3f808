// The body files of a vault against its entries, unit by unit. docs/format.md sections 6 and 12.
// Never opens a body. What is missing is judged at the end, when all prune-dones are known.

import { Reader } from './wire.mjs';
import { dayText } from './text.mjs';
import { bodyHeadHolds, bodyPath, matchFrames, walkSpan } from './body.mjs';
import { PackedBody, packedHeadHolds } from './packedbody.mjs';

export class Bodies {
  constructor(findings, folder, tenant) {
    this.findings = findings;
    this.folder = folder;
    this.tenant = tenant;
    this.files = new Map();
    this.missing = new Map();
    this.pending = [];
    this.groups = 0;
    this.present = 0;
    this.expired = 0;
  }

  /** Checks one unit: `entries` are `{ index, entry, believed }`, entry null when it does not decode. */
  async unit(spans, entries, hashed) {
    const days = this.#byDay(entries);
    const sure = hashed && entries.every(({ entry, believed }) => entry !== null && believed);
    for (const span of spans) {
      const key = `${span.cls}/${span.bucket}`;
      const expected = days.get(key) ?? [];
      days.delete(key);
      await this.#span(key, span, expected, sure);
    }
    for (const [key, groups] of days) this.#lack(key, groups);
  }

  #byDay(entries) {
    const days = new Map();
    for (const { index, entry } of entries) {
      for (const [group, { cls, bucket }] of (entry?.groups ?? []).entries()) {
        const key = `${cls}/${bucket}`;
        const list = days.get(key) ?? [];
        list.push({ index, group, recordId: entry.recordId });
        days.set(key, list);
        this.groups++;
      }
    }
    return days;
  }

  #lack(key, groups) {
    const lack = this.missing.get(key) ?? { count: 0, index: groups[0].index };
    lack.count += groups.length;
    this.missing.set(key, lack);
  }

  async #span(key, span, expected, sure) {
    const state = await this.#file(key, span);
    if (state.file === null) {
      if (expected.length > 0) this.#lack(key, expected);
      return;
    }
    const end = Number(span.end);
    state.end = Math.max(state.end, end);
    const { damaged, extra } = await this.#match(state, span, expected);
    this.present += expected.length - damaged.length;
    for (const { index, group } of damaged) {
      this.pending.push({ key, code: 'BODY_AUTH_FAIL', message: `the body of group ${group} in ${state.name} is damaged`, index });
    }
    if (extra > 0 && sure) {
      this.pending.push({ key, code: 'BODY_EXTRA', message: `${extra} ${state.packed ? 'groups' : 'bytes'} in ${state.name} belong to no entry`, index: null });
    }
  }

  async #match({ file, whole, packed }, { start, end }, expected) {
    if (packed) return matchFrames(await packed.span(start, end), expected);
    if (!whole) return { damaged: expected, extra: 0 };
    return walkSpan(await file.read(Number(start), Math.min(Number(end), file.size)), expected);
  }

  async #file(key, { cls, bucket, place }) {
    let state = this.files.get(key);
    if (state) return state;
    const name = bodyPath(cls, bucket);
    const file = this.folder.get(name) ?? null;
    state = { name, file, whole: false, packed: null, end: 0 };
    if (file !== null) {
      const head = await file.read(0, Math.min(32, file.size));
      const inner = new Reader(place);
      const of = { tenant: this.tenant, cls: inner.u16(), bucket: inner.u32() };
      state.whole = bodyHeadHolds(head, of);
      if (packedHeadHolds(head, of)) state.packed = await PackedBody.open(file);
    }
    this.files.set(key, state);
    return state;
  }

  /** `expired` holds the class-days that a prune-done names, as "class/day". */
  finish(expired) {
    for (const { key, code, message, index } of this.pending) {
      if (!expired.has(key)) this.findings.add(code, message, index);
    }
    for (const [key, { count, index }] of this.missing) {
      if (expired.has(key)) {
        this.expired += count;
        continue;
      }
      const [cls, bucket] = key.split('/').map(Number);
      const where = `class ${cls}, ${dayText(bucket)}`;
      this.findings.add('BODY_MISSING_UNJUSTIFIED', `${count} bodies of ${where} are gone, and no entry says why`, index);
    }
    this.#beyond(expired);
  }

  #beyond(expired) {
    const known = new Map([...this.files].map(([key, state]) => [state.name, { key, ...state }]));
    for (const name of this.folder.names()) {
      if (!/^bodies\/[0-9]+\/[0-9-]+\.seg$/.test(name)) continue;
      const state = known.get(name);
      const length = state?.packed?.plain ?? BigInt(this.folder.get(name).size);
      const beyond = length - BigInt(state?.end ?? 0);
      if (beyond > 0n && !(state && expired.has(state.key))) {
        this.findings.add('BODY_UNCOMMITTED', `${beyond} bytes in ${name} that no unit names`);
      }
    }
  }
}
