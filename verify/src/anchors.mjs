// Anchors: what people outside signed about checkpoints, and the times it gives entries.
// docs/format.md section 9. Never read without pinned trust; what does not verify bounds nothing.

import { concat, equal, utf8 } from './wire.mjs';
import { hex, timeText, toBase64 } from './text.mjs';
import { Refusal } from './verdict.mjs';
import { sha256 } from './hash.mjs';
import { parseNote } from './note.mjs';
import { openCheckpoint } from './trust.mjs';
import { readQuery, verifyTimestamp } from './timestamp.mjs';

const BRACKET = 300n * 1_000_000_000n;
const FILE = /^anchors\/([0-9]{20})\.(note|tsr)$/;
const ENDING = { cosigned: 'note', timestamp: 'tsr' };

export class Anchors {
  constructor(findings, folder, trust) {
    this.findings = findings;
    this.folder = folder;
    this.trust = trust;
    this.named = new Map();
    const there = folder.names().map((name) => FILE.exec(name)).filter(Boolean);
    this.files = trust === null ? [] : there;
    this.unread = there.length - this.files.length;
    this.held = [];
  }

  /** Sizes at which the walk keeps root and time. */
  sizes() {
    return this.files.map(([, size]) => Number(size));
  }

  /** A config entry that names an anchor. */
  name(index, { sight, size, hash }) {
    if (this.trust === null) return;
    const file = `anchors/${String(size).padStart(20, '0')}.${ENDING[sight]}`;
    if (size > index) {
      this.findings.add('ANCHOR_MISMATCH', 'an anchor is named that reaches beyond its own entry', index);
    } else {
      this.named.set(file, { index, hash });
    }
  }

  /** After the walk: `marks` hold root and time at each size; `trust` as rolls moved it. */
  async judge({ origin, trust, marks, entries, times }) {
    for (const [name, { index, hash }] of this.named) {
      const file = this.folder.get(name);
      if (!file) this.findings.add('ANCHOR_MISSING', `${name} is named and not there`, index);
      else if (hex(await sha256(await file.read())) !== hash) {
        this.findings.add('ANCHOR_MISMATCH', `${name} is not the file that the log names`, index);
      }
    }
    for (const [name, size, ending] of this.files) {
      const mark = marks.get(Number(size));
      try {
        const at = { name, size: BigInt(size), origin, trust, entries, mark };
        const found = ending === 'note' ? await this.#note(at) : await this.#stamp(at);
        this.#bound(found, at, times);
        this.held.push({ size, stamped: ending === 'tsr', time: found.to });
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        const fails = error.code === 'ROLLED_BACK' || error.code === 'INCONSISTENT';
        this.findings.add(fails ? error.code : 'ANCHOR_UNVERIFIED', `${name}: ${error.message}`);
      }
    }
  }

  async #note({ name, size, origin, trust, entries, mark }) {
    const lax = Object.assign(Object.create(Object.getPrototypeOf(trust)), trust, { quorum: 'none' });
    const opened = await openCheckpoint(lax, parseNote(await this.folder.get(name).read()));
    if (opened.origin !== origin || opened.size !== size) throw new Refusal('MALFORMED', 'not a checkpoint of this log at this size');
    if (opened.witnesses.size === 0) throw new Refusal('QUORUM_MISSING', 'no pinned witness signed it');
    if (size > BigInt(entries)) throw new Refusal('ROLLED_BACK', `${size} entries were anchored, the log holds ${entries}`);
    if (size > 0n && !equal(mark.root, opened.root)) throw new Refusal('INCONSISTENT', 'the log is no extension of the anchored checkpoint');
    const seconds = [...opened.witnesses.values()].reduce((least, one) => (one < least ? one : least));
    return { from: seconds * 1_000_000_000n, to: seconds * 1_000_000_000n };
  }

  async #stamp({ name, size, origin, trust, entries, mark }) {
    const known = size <= BigInt(entries) && mark.root;
    const imprint = known ? await sha256(concat(utf8(`${origin}\n${size}\n${toBase64(mark.root)}\n`))) : null;
    const query = this.folder.get(name.replace(/tsr$/, 'tsq'));
    const nonce = query ? readQuery(await query.read()).nonce : null;
    const pinned = [...trust.authorities.values()];
    const found = await verifyTimestamp(await this.folder.get(name).read(), { nonce, pinned });
    if (!known) throw new Refusal('ROLLED_BACK', `${size} entries were time-stamped, the log holds ${entries}`);
    if (!equal(found.imprint, imprint)) throw new Refusal('INCONSISTENT', 'the time-stamp is of another checkpoint');
    return found;
  }

  // Entries below the size are not after its later instant, those from the naming one on not
  // before its earlier one; both with five minutes to spare. Log time never falls.
  #bound({ from, to }, { name, size, mark }, times) {
    if (size > 0n && mark.time > to + BRACKET) {
      this.findings.add('TIME_BRACKET', `log time ${timeText(mark.time)} is after ${name} was signed`, Number(size) - 1);
    }
    const named = this.named.get(name);
    const time = named && times.get(named.index);
    if (time !== undefined && time + BRACKET < from) {
      this.findings.add('TIME_BRACKET', `log time ${timeText(time)} is before ${name} was signed`, named.index);
    }
  }

  /** What outsiders said of when, and what of it was not asked: sentences. */
  speak(said, open) {
    const stamped = this.held.filter((one) => one.stamped);
    for (const [list, what] of [
      [stamped, 'A time-stamp that leads to a pinned certificate says'],
      [this.held.filter((one) => !one.stamped), 'An anchored checkpoint that a pinned witness cosigned says'],
    ]) {
      const last = list.reduce((most, one) => (most === null || one.size > most.size ? one : most), null);
      if (last === null) continue;
      const more = list.length > 1 ? ` ${list.length - 1} earlier of this kind hold as well.` : '';
      said.push(`${what} that the first ${BigInt(last.size)} entries were there at ${timeText(last.time)} at the latest.${more}`);
    }
    if (stamped.length > 0) open.push('Whether the certificate of a time-stamp had been revoked was not asked.');
    if (this.unread > 0) open.push(`${this.unread} anchors lie beside the log; without a trust file they are not read.`);
    if (this.held.length === 0 && this.unread === 0) open.push('Nobody outside says when: log times are the word of the vault.');
  }
}
