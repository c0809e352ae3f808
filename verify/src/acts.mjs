// The vault's own acts as its log tells them: genesis, intents and dones, the chain of key-tree
// roots, which class-days expired. docs/format.md sections 10, 12, 14.
// Never looks at keys: it holds the log to its own words.

import { hex } from './text.mjs';
import { decodePayload } from './payload.mjs';
import { Refusal } from './verdict.mjs';

export class Acts {
  constructor(findings, seals) {
    this.findings = findings;
    this.seals = seals;
    this.genesis = null;
    this.generation = null;
    this.root = null;
    this.intents = new Map();
    this.expired = new Set();
    this.erasures = 0;
    this.acts = 0;
  }

  /** Reads the payload of a believed entry and takes in what it says. */
  entry(index, entry) {
    if ((index === 0) !== (entry.kindName === 'genesis')) {
      this.findings.add('MALFORMED', 'entry 0, and no other, is genesis', index);
    }
    if (entry.kindName === 'event') return;
    this.acts++;
    let payload;
    try {
      payload = decodePayload(entry);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.findings.add(error.code, `payload of ${entry.kindName}: ${error.message}`, index);
      return;
    }
    if (payload !== null) this.#take(index, entry, payload);
  }

  #take(index, entry, payload) {
    switch (entry.kindName) {
      case 'genesis':
        return this.#genesis(index, entry, payload);
      case 'erase-intent':
      case 'prune-intent':
        this.intents.set(index, { kind: entry.kindName, job: payload.job, done: false, payload });
        return undefined;
      case 'erase-done':
        this.erasures++;
        return this.#done(index, payload, 'erase-intent');
      case 'prune-done':
        for (const { class: cls, day } of payload.class_days) this.expired.add(`${cls}/${day}`);
        return this.#done(index, payload, 'prune-intent');
      case 'key-roll':
        return payload.root ? this.#change(index, payload.root) : undefined;
      case 'seal':
        return this.seals.seal(index, payload);
      case 'day-seal':
        return this.seals.daySeal(index, payload);
      default:
        return undefined;
    }
  }

  #genesis(index, entry, payload) {
    if (index !== 0) return;
    this.genesis = payload;
    this.generation = payload.generation;
    this.root = payload.root;
    if (payload.tenant !== hex(entry.tenant)) {
      this.findings.add('TENANT_MISMATCH', 'genesis names another tenant than its own', index);
    }
  }

  #done(index, payload, kind) {
    const intent = this.intents.get(payload.intent);
    if (!intent || intent.kind !== kind || intent.job !== payload.job) {
      this.findings.add('INTENT_MISSING', `an act was completed without the ${kind} it names`, index);
    } else {
      intent.done = true;
    }
    this.#change(index, payload.root);
  }

  #change(index, { from, to, old_root: before, new_root: after }) {
    const known = this.generation !== null;
    if ((known && (from !== this.generation || before !== this.root)) || to !== from + 1) {
      this.findings.add('ROOT_HASH_MISMATCH', 'the change of root does not continue the one before', index);
    }
    this.generation = to;
    this.root = after;
  }

  finish() {
    const open = [...this.intents.values()].filter((one) => one.kind === 'erase-intent' && !one.done);
    if (open.length > 0) {
      this.findings.add('ERASURE_OPEN', `${open.length} erasures have an intent and no done entry`);
    }
  }
}
