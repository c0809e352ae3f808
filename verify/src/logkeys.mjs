// Which key may sign a log, entry by entry: pinned keys, or genesis' own, and the rolls that follow.
// docs/format.md sections 8 and 9. Never follows a roll whose old key it does not hold.

import { SIZE_MAX } from './text.mjs';
import { sameKey } from './vkey.mjs';
import { signatureHolds } from './unit.mjs';
import { Trust } from './trust.mjs';

export class LogKeys {
  constructor(origin, trust) {
    this.origin = origin;
    this.trust = trust;
    this.keys = (trust?.logs ?? [])
      .filter((key) => key.name === origin)
      .map((key) => ({ key, until: trust.until.get(key.idHex) ?? SIZE_MAX }));
    this.rolled = false;
  }

  get some() {
    return this.keys.length > 0;
  }

  holds(key) {
    return this.keys.some((one) => sameKey(one.key, key));
  }

  /** Genesis' own key, where none is pinned. */
  adopt(key) {
    this.keys.push({ key, until: SIZE_MAX });
  }

  /** Moves on by a roll at `until`; false when its old key is not held or has retired before. */
  follow({ origin, old, next, until }) {
    const held = this.keys.find((one) => sameKey(one.key, old));
    if (origin !== this.origin || !held || held.until < until) return false;
    held.until = until;
    if (!this.holds(next)) this.keys.push({ key: next, until: SIZE_MAX });
    this.rolled = true;
    return true;
  }

  async signed(unit) {
    for (const { key, until } of this.keys) {
      if (unit.end <= until && (await signatureHolds(unit, key.key))) return true;
    }
    return false;
  }

  /** The trust file as the rolls of the log have moved it; quorum and witnesses stay. */
  moved(quorum) {
    const moved = Object.assign(new Trust(), { quorum: quorum ?? this.trust?.quorum ?? 'none' });
    if (this.trust) {
      const { witnesses, groups, authorities } = this.trust;
      Object.assign(moved, { witnesses, groups, authorities });
    }
    for (const { key, until } of this.keys) {
      moved.logs.push(key);
      if (until !== SIZE_MAX) moved.until.set(key.idHex, until);
    }
    return moved;
  }
}
