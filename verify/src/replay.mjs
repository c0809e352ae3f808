// Seals computed anew from the entries that a range file shows. docs/format.md section 11.
// Never counts an epoch as replayed whose seal is not shown.

import { hex } from './text.mjs';
import { refuse } from './verdict.mjs';
import { decodePayload, EPOCH } from './payload.mjs';
import { rootOf } from './merkle.mjs';
import { sealedTables, Tables } from './tables.mjs';
import { drawOf, isTaken, wrongMembers } from './seals.mjs';

const WIDTH = BigInt(EPOCH);

export class Replay {
  /** `asked` is `{ percent, seed, asked }` or undefined; nothing is replayed unless asked for. */
  constructor(asked, root, { first, end }) {
    this.asked = asked?.asked ? { percent: asked.percent, seed: asked.seed, root } : null;
    this.from = (first + WIDTH - 1n) / WIDTH;
    this.to = end / WIDTH;
    this.taken = null;
    this.epochs = new Map();
    this.seals = new Map();
    this.malformed = [];
  }

  // Which whole epochs of the material are taken; the least draw when none is.
  async #choose() {
    const taken = new Set();
    let least = null;
    for (let epoch = this.from; epoch < this.to; epoch++) {
      const number = Number(epoch);
      if (await isTaken(number, this.asked)) taken.add(number);
      const draw = await drawOf(number, this.asked.root, this.asked.seed);
      if (least === null || draw < least.draw) least = { draw, number };
    }
    if (taken.size === 0 && least !== null && this.asked.percent > 0) taken.add(least.number);
    return taken;
  }

  async take(place, leaf, entry) {
    if (this.asked === null) return;
    this.taken ??= await this.#choose();
    if (entry.kindName === 'seal') this.#seal(place, entry);
    const epoch = Number(place / WIDTH);
    if (!this.taken.has(epoch)) return;
    let work = this.epochs.get(epoch);
    if (!work) {
      work = { leaves: [], tables: new Tables(), first: entry.logTime };
      this.epochs.set(epoch, work);
    }
    work.leaves.push(leaf);
    work.tables.add(entry);
    work.last = entry.logTime;
    if (work.leaves.length === EPOCH) {
      const facts = { root: hex(await rootOf(work.leaves)), t_first: work.first, t_last: work.last };
      this.epochs.set(epoch, { facts: { ...facts, ...(await sealedTables(work.tables)) } });
    }
  }

  #seal(place, entry) {
    let payload = null;
    try {
      payload = decodePayload(entry);
    } catch (error) {
      this.malformed.push(error);
      return;
    }
    const epoch = payload.first / EPOCH;
    this.seals.set(epoch, [...(this.seals.get(epoch) ?? []), { place, payload }]);
  }

  async finish(context) {
    if (this.asked === null) return;
    if (this.malformed.length > 0) throw this.malformed[0];
    let replayed = 0;
    for (const epoch of [...(this.taken ?? [])].sort((a, b) => a - b)) {
      if (this.#judge(epoch, context)) replayed++;
    }
    context.facts.replayed = replayed;
    if (replayed === 0) refuse('INCONCLUSIVE', 'no whole epoch with its seal lies in the file: none was replayed');
    context.said.push(`${replayed} seals were computed anew from the entries and are true.`);
  }

  #judge(epoch, context) {
    const seals = this.seals.get(epoch) ?? [];
    if (seals.length > 1) refuse('SEAL_DUPLICATE', `epoch ${epoch} has a second seal`);
    if (seals.length === 0) {
      context.open.push(`The seal of epoch ${epoch} is not shown: that epoch was not replayed.`);
      return false;
    }
    const [{ place, payload }] = seals;
    const wrong = wrongMembers(this.epochs.get(epoch).facts, payload);
    if (wrong.length > 0 || place < BigInt(payload.end)) {
      refuse('SEAL_MISMATCH', `the seal of epoch ${epoch} is wrong about ${wrong.join(', ') || 'its place'}`);
    }
    return true;
  }
}
