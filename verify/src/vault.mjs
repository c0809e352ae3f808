// A vault's data directory without keys: the whole of docs/format.md section 12.
// Never writes, never opens a body, never takes a key from the directory when trust is pinned.

import { equal } from './wire.mjs';
import { hex, timeText } from './text.mjs';
import { Refusal, refuse } from './verdict.mjs';
import { LOG_TYPE, parseVkey } from './vkey.mjs';
import { Frontier, leafHashes } from './merkle.mjs';
import { entriesOf } from './unit.mjs';
import { walkUnits } from './walk.mjs';
import { readHome } from './home.mjs';
import { Notes } from './notes.mjs';
import { LogKeys } from './logkeys.mjs';
import { Findings } from './findings.mjs';
import { Sequence } from './sequence.mjs';
import { SealChecker } from './seals.mjs';
import { Acts } from './acts.mjs';
import { Anchors } from './anchors.mjs';
import { Bodies } from './bodies.mjs';
import { Tiles } from './tiles.mjs';
import { judge } from './evidence.mjs';
import { count } from './sentences.mjs';
import { KIND } from './kind.mjs';
import { decodeEntry } from './entry.mjs';
import { decodePayload, EPOCH } from './payload.mjs';

const BRACKET = 300n;

/** Judges a data directory; `options.replay` is `{ percent, seed }`. */
export async function judgeVault(folder, options = {}) {
  return judge(options, async (context) => {
    context.kind = KIND.VAULT;
    const home = await readHome(folder);
    const check = new VaultCheck(context, folder.below(`tenants/${home.tenantHex}`), home, options);
    await check.run();
  });
}

class VaultCheck {
  constructor(context, folder, home, options) {
    this.context = context;
    this.folder = folder;
    this.home = home;
    this.options = options;
    this.findings = new Findings();
    this.epochRoots = [];
    this.frontier = new Frontier({ width: EPOCH, roots: this.epochRoots });
    this.entries = 0;
    this.units = 0;
    this.unsigned = 0;
    this.later = [];
    this.chain = { number: 0n, hash: new Uint8Array(32), broken: false };
  }

  async run() {
    const { trust, sinceBytes } = this.context;
    this.notes = new Notes(this.findings, { origin: this.home.origin, trust });
    await this.notes.load(this.folder, sinceBytes);
    this.anchors = new Anchors(this.findings, this.folder, trust);
    this.marks = new Map([...this.notes.sizes(), ...this.anchors.sizes()].map((size) => [size, {}]));
    this.logKeys = new LogKeys(this.home.origin, trust);
    const { checkpoint } = this.notes;
    const root = checkpoint?.root ?? new Uint8Array(32);
    const { percent = 100, seed = new Uint8Array(0) } = this.options.replay ?? {};
    this.tiles = new Tiles(this.findings, this.folder, checkpoint);
    this.sequence = new Sequence(this.findings, this.home.tenant);
    this.seals = new SealChecker(this.findings, { percent, root, seed }, this.epochRoots);
    this.acts = new Acts(this.findings, this.seals, this.logKeys, this.anchors);
    this.bodies = new Bodies(this.findings, this.folder, this.home.tenant);
    for await (const step of walkUnits(this.folder, this.home.tenant)) {
      if (!(await this.#step(step))) break;
      this.options.progress?.(this.entries);
    }
    await this.#finish();
    this.#report();
  }

  // One step of the walk; false ends it.
  async #step(step) {
    if (step.unit) return this.#unit(step);
    if (step.tooNew) {
      this.findings.doubt('STORE_TOO_NEW', step.why);
      return false;
    }
    const { size } = this.notes;
    const torn = step.tail && !step.lost && this.entries >= size;
    this.findings.add(torn ? 'TAIL_TORN' : 'UNIT_DAMAGED', `${step.gap} bytes are no unit: ${step.why}`, this.entries);
    return true;
  }

  async #unit({ unit, hashed, last }) {
    const first = this.entries;
    const { entries, whole } = entriesOf(unit);
    const count = Math.min(Number(unit.end - unit.first), 1 << 24);
    const { size } = this.notes;
    if (this.units === 0) await this.#useGenesis(entries[0]);
    const own = await leafHashes(entries);
    while (own.length < count && whole) own.push(null);
    const leaves = (await this.tiles.standing(first, own)).map((leaf) => leaf ?? new Uint8Array(32));
    const after = this.frontier.fork();
    await after.add(leaves);
    const rootHolds = equal(await after.root(), unit.root);
    const beyond = first + leaves.length > size;
    const signed = !beyond || (await this.logKeys.signed(unit));
    if (last && first >= size && !(hashed && signed && rootHolds && whole)) {
      this.findings.add('TAIL_TORN', 'the last unit, beyond the checkpoint, is not whole', first);
      return false;
    }
    this.#chainOf(unit, hashed, first);
    if (!whole) this.findings.add('MALFORMED', 'the entries do not fill their unit', first);
    if (!signed) this.#forged(first);
    else if (beyond) this.later.push({ first, end: unit.end, hash: unit.hash.slice(), signature: unit.signature.slice() });
    if (!rootHolds && !this.chain.broken) {
      this.chain.broken = true;
      this.findings.add('ROOT_MISMATCH', `the entries of unit ${unit.number} do not hash to its root`, first);
    }
    if (beyond) this.unsigned += leaves.length - Math.max(0, size - first);
    await this.#entries({ unit, hashed }, entries, own, leaves);
    await this.#marksWithin(first, leaves);
    this.frontier = after;
    this.units++;
    return true;
  }

  // The genesis entry's own key: where rolls begin, and without pinned trust what a log can agree with.
  async #useGenesis(bytes) {
    let key;
    try {
      const entry = decodeEntry(bytes ?? new Uint8Array(0));
      if (entry.kindName !== 'genesis') return;
      const genesis = decodePayload(entry);
      key = await parseVkey(genesis.log_key);
      if (key.type !== LOG_TYPE || key.name !== genesis.origin) return;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return;
    }
    if (this.context.trust !== null && !this.logKeys.isPinned(key)) {
      this.findings.doubt('UNTRUSTED_KEY', 'the log key that genesis names is not pinned');
    }
    this.logKeys.begin(key);
  }

  #forged(first) {
    this.findings.add('FORGED_TAIL', 'a unit beyond the checkpoint is not signed by the log key', first);
  }

  // Which key holds for a unit depends on rolls within it and behind it, too.
  async #judgeSigners() {
    for (const unit of this.later) {
      if (!(await this.logKeys.signed(unit))) this.#forged(unit.first);
    }
  }

  #chainOf(unit, hashed, first) {
    if (!hashed) this.findings.add('UNIT_HASH', `the head of unit ${unit.number} is not what its hash covers`, first);
    const { number, hash } = this.chain;
    if (unit.number !== number || unit.first !== BigInt(first) || !equal(unit.prevHash, hash)) {
      this.findings.add('UNIT_CHAIN', `unit ${unit.number} with entries from ${unit.first} does not follow`, first);
    }
    this.chain.number = unit.number + 1n;
    this.chain.hash = unit.hash.slice();
  }

  async #entries({ unit, hashed }, entries, own, leaves) {
    const first = this.entries;
    const decoded = [];
    for (let i = 0; i < leaves.length; i++) {
      const index = first + i;
      const bytes = entries[i]?.slice();
      const believed = own[i] !== null && equal(own[i], leaves[i]);
      const entry = bytes ? this.sequence.take(index, bytes, leaves[i], believed) : null;
      decoded.push({ index, entry, believed });
      await this.seals.entry(index, believed ? entry : null);
      if (believed && entry) await this.acts.entry(index, entry);
      if (this.marks.has(index + 1)) this.marks.get(index + 1).time = this.sequence.time;
    }
    this.entries += leaves.length;
    await this.bodies.unit(unit.spans, decoded, hashed);
  }

  // Root and time at the sizes that are asked for, wherever in a unit they fall.
  async #marksWithin(first, leaves) {
    for (const [size, mark] of this.marks) {
      if (size <= first || size > first + leaves.length) continue;
      const fork = this.frontier.fork();
      await fork.add(leaves.slice(0, size - first));
      mark.root = await fork.root();
    }
  }

  async #finish() {
    const holds = await this.notes.judge(this.logKeys, this.marks, this.entries);
    await this.tiles.finish(this.entries, holds);
    await this.#judgeSigners();
    this.#judgeGenesis();
    this.#judgeTimes();
    await this.anchors.judge({
      origin: this.home.origin, trust: this.notes.moved, marks: this.marks, entries: this.entries, times: this.acts.namedAt,
    });
    this.gaps = this.sequence.finish();
    this.seals.finish(this.entries);
    this.acts.finish();
    this.bodies.finish(this.acts.expired);
  }

  #judgeGenesis() {
    const { genesis } = this.acts;
    if (genesis === null) {
      const known = this.findings.list.some((one) => one.index === 0 && one.fails);
      if (this.entries > 0 && !known) this.findings.add('MALFORMED', 'the log has no readable genesis', 0);
      return;
    }
    if (genesis.origin !== this.home.origin) {
      this.findings.add('TENANT_MISMATCH', `genesis is of the log ${genesis.origin}`, 0);
    }
  }

  // A witness saw the log at its time: nothing below that size can be from after it.
  #judgeTimes() {
    const { seen } = this.notes;
    const last = seen === null ? undefined : this.marks.get(Number(seen.size))?.time;
    if (last === undefined) return;
    for (const [name, seconds] of seen.witnesses) {
      if (last > (seconds + BRACKET) * 1_000_000_000n) {
        this.findings.add('TIME_BRACKET', `log time ${timeText(last)} is after the witness ${name} saw it`);
      }
    }
  }

  #report() {
    const { context, findings } = this;
    context.failures = findings.list;
    context.facts = {
      origin: this.home.origin,
      entries: this.entries,
      units: this.units,
      codes: findings.codes(),
      generation: this.acts.generation,
      groups: this.bodies.groups,
      bodies: this.bodies.present,
      expired: this.bodies.expired,
      seals: this.seals.sealed.size,
      replayed: this.seals.replayed,
      daySeals: this.seals.daySeals.size,
      gaps: this.gaps,
      unsigned: this.unsigned,
      ...(this.notes.checkpoint ? { size: this.notes.checkpoint.size, root: hex(this.notes.checkpoint.root) } : {}),
      ...(this.notes.checkpoint?.signer ? { signer: this.notes.checkpoint.signer.text } : {}),
    };
    this.#sentences();
    if (findings.failed > 0) refuse('FAILED', `${count(findings.failed, 'finding')}, ${findings.codes().join(', ')}`);
    if (this.entries === 0) refuse('INCONCLUSIVE', 'a log of no entries: there is nothing to verify');
    if (findings.inconclusive.length > 0) {
      refuse('INCONCLUSIVE', findings.inconclusive.map((one) => `${one.code}: ${one.message}`).join('; '));
    }
  }

  #sentences() {
    const { said, open } = this.context;
    const { seals, bodies, notes } = this;
    const { checkpoint, seen } = notes;
    if (checkpoint?.signer) {
      const { signer } = checkpoint;
      said.push(`The first ${checkpoint.size} entries are signed by the pinned log key ${signer.idHex} of ${signer.name}.`);
      for (const [name, seconds] of seen?.witnesses ?? []) {
        said.push(`The first ${seen.size} entries are cosigned by the witness ${name} at ${timeText(seconds * 1_000_000_000n)}.`);
      }
      if (seen === null) {
        open.push('No witness cosigned it: the log could have shown others another history.');
      }
    }
    const first = this.sequence.firstTime;
    const times = first === null ? '' : `, of log times ${timeText(first)} to ${timeText(this.sequence.time)}`;
    said.push(`${count(this.entries, 'entry', 'entries')} in ${count(this.units, 'unit')} of ${this.home.origin} were read${times}.`);
    said.push(
      'Checked for each: form, place, chain, tenant, time, no record and no number twice; roots; acts and their intents.',
      `${count(seals.sealed.size, 'epoch')} sealed, ${count(seals.replayed, 'seal')} computed anew; ${count(seals.daySeals.size, 'day-seal')}.`,
      `${count(bodies.groups, 'sealed group')}: ${count(bodies.present, 'body', 'bodies')} there and undamaged, ${bodies.expired} expired by an entry.`,
      `${count(this.acts.erasures, 'erasure')}; ${count(this.gaps, 'number')} that a source skipped.`,
    );
    this.anchors.speak(said, open);
    const left = seals.sealed.size - seals.replayed;
    if (left > 0) open.push(`${left} of ${count(seals.sealed.size, 'seal')} not computed again.`);
    if (this.unsigned > 0) open.push(`${this.unsigned} entries lie beyond the signed checkpoint.`);
    open.push(
      'Whether a body opens, and is what its entry commits to, needs the keys of the vault.',
      'Which bodies an erasure reached cannot be seen without keys.',
      'Events that were never submitted leave no trace here.',
    );
  }
}
