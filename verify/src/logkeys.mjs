// Which key may sign a log, entry by entry: pinned keys, or where none are, genesis' own and those
// that the log's rolls name. docs/format.md sections 8, 9 and 12. A roll in the log retires a key;
// it never pins one: whoever follows it moves his own trust file.

import { SIZE_MAX } from './text.mjs';
import { sameKey } from './vkey.mjs';
import { signatureHolds } from './unit.mjs';
import { Trust } from './trust.mjs';

export class LogKeys {
  constructor(origin, trust) {
    this.origin = origin;
    this.trust = trust;
    this.pinned = (trust?.logs ?? []).filter((key) => key.name === origin);
    this.chain = [];
  }

  get some() {
    return this.pinned.length > 0 || this.chain.length > 0;
  }

  isPinned(key) {
    return this.pinned.some((one) => sameKey(one, key));
  }

  /** Genesis' own key, with which the chain of rolls begins. */
  begin(key) {
    this.chain.push({ key, until: SIZE_MAX });
  }

  /** Goes on by a roll; false when its old key is not the one in force. */
  follow({ origin, old, next, until }) {
    const last = this.chain.at(-1);
    if (origin !== this.origin || last === undefined || !sameKey(last.key, old)) return false;
    last.until = until;
    this.chain.push({ key: next, until: SIZE_MAX });
    return true;
  }

  // Keys that may sign, each with the largest size: what a trust file says, and the log's own rolls.
  #inForce() {
    if (this.trust === null) return this.chain;
    return this.pinned.map((key) => {
      const said = this.trust.until.get(key.idHex) ?? SIZE_MAX;
      const rolled = this.chain.find((one) => sameKey(one.key, key))?.until ?? SIZE_MAX;
      return { key, until: said < rolled ? said : rolled };
    });
  }

  async signed(unit) {
    for (const { key, until } of this.#inForce()) {
      if (unit.end <= until && (await signatureHolds(unit, key.key))) return true;
    }
    return false;
  }

  /** The trust to open this log's checkpoints with; `quorum` in the place of the pinned one. */
  moved(quorum) {
    const moved = Object.assign(new Trust(), { quorum: quorum ?? this.trust?.quorum ?? 'none' });
    if (this.trust) {
      const { witnesses, groups, authorities, logs } = this.trust;
      Object.assign(moved, { witnesses, groups, authorities });
      moved.logs.push(...logs.filter((key) => key.name !== this.origin));
      for (const [id, until] of this.trust.until) moved.until.set(id, until);
    }
    for (const { key, until } of this.#inForce()) {
      moved.logs.push(key);
      if (until !== SIZE_MAX) moved.until.set(key.idHex, until);
    }
    return moved;
  }
}
