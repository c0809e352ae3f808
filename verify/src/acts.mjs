// The vault's own acts as its log tells them: genesis, intents and dones, the chain of key-tree
// roots, which class-days expired. docs/format.md sections 10, 12, 14.
// Never looks at keys: it holds the log to its own words.

import { hex } from './text.mjs';
import { decodePayload } from './payload.mjs';
import { malformed, refuse, Refusal } from './verdict.mjs';
import { readRoll } from './roll.mjs';

const classDay = ({ class: cls, day }) => `${cls}/${day}`;

// All persons as they were named, and no class that was not.
function sameErasure(intent, done) {
  const persons = intent.persons.length === done.persons.length && done.persons.every((one, i) => one === intent.persons[i]);
  return persons && done.classes.every((one) => intent.classes.includes(one));
}

function sameExpiry(intent, done) {
  const named = new Set(intent.class_days.map(classDay));
  return done.class_days.every((one) => named.has(classDay(one)));
}

export class Acts {
  constructor(findings, seals, logKeys, anchors) {
    this.findings = findings;
    this.logKeys = logKeys;
    this.anchors = anchors;
    this.namedAt = new Map();
    this.seals = seals;
    this.genesis = null;
    this.generation = null;
    this.root = null;
    this.intents = new Map();
    this.expired = new Set();
    this.partial = new Map();
    this.erasures = 0;
    this.acts = 0;
  }

  /** Reads the payload of a believed entry and takes in what it says. */
  async entry(index, entry) {
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
    if (payload !== null) await this.#take(index, entry, payload);
  }

  async #take(index, entry, payload) {
    switch (entry.kindName) {
      case 'genesis':
        return this.#genesis(index, entry, payload);
      case 'erase-intent':
      case 'prune-intent':
        this.intents.set(index, { kind: entry.kindName, job: payload.job, done: false, payload });
        return undefined;
      case 'erase-done':
        if (this.#done(index, payload, 'erase-intent', sameErasure)) this.erasures++;
        return undefined;
      case 'prune-done':
        // A class-day that no intent names stays unjustified.
        if (this.#done(index, payload, 'prune-intent', sameExpiry)) {
          for (const one of payload.class_days) this.expired.add(classDay(one));
        }
        return undefined;
      case 'erase-final':
        return this.#final(index, payload);
      case 'key-roll':
        if (payload.what === 'log-key') return this.#roll(index, payload.note);
        return payload.root ? this.#change(index, payload.root) : undefined;
      case 'config':
        if (payload.what !== 'anchor') return undefined;
        this.namedAt.set(index, entry.logTime);
        return this.anchors.name(index, payload);
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

  /** Whether the intent it names is open, of the same job, and says all that was done. */
  #done(index, payload, kind, says) {
    this.#change(index, payload.root);
    const intent = this.intents.get(payload.intent);
    const same = intent && !intent.done && intent.kind === kind && intent.job === payload.job;
    if (!same || !says(intent.payload, payload)) {
      this.findings.add('INTENT_MISSING', `an act was completed without an open ${kind} that says the same`, index);
      return false;
    }
    intent.done = true;
    if (payload.missed !== undefined) this.partial.set(index, payload.job);
    return true;
  }

  // The replica that a done entry could not reach has been scrubbed since.
  #final(index, { done, job }) {
    if (this.partial.get(done) !== job) {
      this.findings.add('INTENT_MISSING', 'a replica is said to be scrubbed that no done entry missed', index);
    }
    this.partial.delete(done);
  }

  // A roll that does not hold is evidence against the log, whoever is pinned.
  async #roll(index, text) {
    try {
      const roll = await readRoll(text);
      if (roll.until !== BigInt(index) + 1n) malformed('a roll holds up to and with its own entry');
      if (!this.logKeys.follow(roll)) refuse('UNTRUSTED_KEY', 'the key that hands over is not the one in force');
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.findings.add(error.code, `the roll of the log key: ${error.message}`, index);
    }
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
    if (this.partial.size > 0) {
      this.findings.add('ERASURE_PARTIAL', `${this.partial.size} acts have not reached a replica of the keys yet`);
    }
  }
}
