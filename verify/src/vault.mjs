// A vault's data directory without keys: the whole of docs/format.md section 12.
// Never writes, never opens a body, never takes a key from the directory when trust is pinned.

import { equal } from './wire.mjs';
import { decodeUtf8, fromHex, hex, timeText } from './text.mjs';
import { Refusal, refuse } from './verdict.mjs';
import { openCheckpoint } from './trust.mjs';
import { parseNote } from './note.mjs';
import { LOG_TYPE, parseVkey, sameKey } from './vkey.mjs';
import { Frontier, leafHashes } from './merkle.mjs';
import { entriesOf, signatureHolds } from './unit.mjs';
import { walkUnits } from './walk.mjs';
import { Findings } from './findings.mjs';
import { Sequence } from './sequence.mjs';
import { SealChecker } from './seals.mjs';
import { Acts } from './acts.mjs';
import { Bodies } from './bodies.mjs';
import { Tiles } from './tiles.mjs';
import { judge } from './evidence.mjs';
import { count } from './sentences.mjs';
import { KIND } from './kind.mjs';
import { decodeEntry } from './entry.mjs';
import { decodePayload, EPOCH } from './payload.mjs';

export const VAULT_FILE = 'vault.toml';
const CHECKPOINT_FREE = 2;
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

// `format`, `name` and `tenant`, one a line; comments and empty lines are allowed.
async function readHome(folder) {
  const text = decodeUtf8(await folder.get(VAULT_FILE).read());
  // eslint-disable-next-line no-control-regex
  if (text === null || /[\u0000-\u0008\u000b-\u001f\u007f]/.test(text)) {
    refuse('STORE_CORRUPT', 'vault.toml is no text');
  }
  const values = new Map();
  for (const line of text.split('\n')) {
    if (/^\s*(#.*)?$/.test(line)) continue;
    const parts = /^\s*([a-z]+)\s*=\s*(?:"([^"\\]*)"|([0-9]+))\s*(?:#.*)?$/.exec(line);
    if (!parts || values.has(parts[1])) refuse('STORE_CORRUPT', 'vault.toml cannot be read');
    values.set(parts[1], parts[2] ?? Number(parts[3]));
  }
  if (Number.isInteger(values.get('format')) && values.get('format') > 1) {
    refuse('STORE_TOO_NEW', `vault.toml: format ${values.get('format')} is newer than this verifier`);
  }
  const tenantHex = values.get('tenant');
  const tenant = fromHex(tenantHex, 16);
  const name = values.get('name');
  if (values.size !== 3 || values.get('format') !== 1 || tenant === null || typeof name !== 'string') {
    refuse('STORE_CORRUPT', 'vault.toml does not hold format, name and tenant');
  }
  return { name, tenant, tenantHex, origin: `${name}/t/${tenantHex}` };
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
    this.chain = { number: 0n, hash: new Uint8Array(32), broken: false };
    this.roots = new Map();
  }

  async run() {
    this.checkpoint = await this.#readCheckpoint();
    this.older = await this.#readOlder();
    const root = this.checkpoint?.root ?? new Uint8Array(32);
    const { percent = 100, seed = new Uint8Array(0) } = this.options.replay ?? {};
    this.tiles = new Tiles(this.findings, this.folder, this.checkpoint);
    this.sequence = new Sequence(this.findings, this.home.tenant, Number(this.checkpoint?.size ?? 0n));
    this.seals = new SealChecker(this.findings, { percent, root, seed }, this.epochRoots);
    this.acts = new Acts(this.findings, this.seals);
    this.bodies = new Bodies(this.findings, this.folder, this.home.tenant);
    for await (const step of walkUnits(this.folder)) {
      if (!(await this.#step(step))) break;
      this.options.progress?.(this.entries);
    }
    await this.#finish();
    this.#report();
  }

  // The checkpoint as far as it can be read: `{ origin, size, root, signer, witnesses }` or null.
  async #readCheckpoint() {
    const file = this.folder.get('checkpoint');
    if (!file) return null;
    const opened = await this.#open(await file.read(), 'the checkpoint');
    if (opened && opened.origin !== this.home.origin) {
      this.findings.add('TENANT_MISMATCH', `the checkpoint is not of the log ${this.home.origin}`);
    }
    return opened;
  }

  async #readOlder() {
    const { sinceBytes } = this.context;
    if (sinceBytes === null) return null;
    const opened = await this.#open(sinceBytes, 'the older checkpoint');
    if (opened && opened.origin !== this.home.origin) {
      this.findings.add('TENANT_MISMATCH', 'the older checkpoint is of another log');
      return null;
    }
    return opened;
  }

  async #open(bytes, what) {
    let note;
    try {
      note = parseNote(bytes);
      return { note, ...(await openCheckpoint(this.context.trust, note)) };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const doubt = error.code === 'UNTRUSTED_KEY' || error.code === 'QUORUM_MISSING';
      if (doubt) this.findings.doubt(error.code, `${what}: ${error.message}`);
      else this.findings.add(error.code, `${what}: ${error.message}`);
    }
    if (!note) return null;
    try {
      return { note, ...(await openCheckpoint(null, note)) };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return null;
    }
  }

  // One step of the walk; false ends it.
  async #step(step) {
    if (step.unit) return this.#unit(step);
    if (step.tooNew) {
      this.findings.doubt('STORE_TOO_NEW', step.why);
      return false;
    }
    const size = Number(this.checkpoint?.size ?? 0n);
    const torn = step.tail && this.entries >= size;
    this.findings.add(torn ? 'TAIL_TORN' : 'UNIT_DAMAGED', `${step.gap} bytes are no unit: ${step.why}`, this.entries);
    return true;
  }

  async #unit({ unit, hashed, last }) {
    const first = this.entries;
    const { entries, whole } = entriesOf(unit);
    const count = Math.min(Number(unit.end - unit.first), 1 << 24);
    const size = Number(this.checkpoint?.size ?? 0n);
    if (this.units === 0) await this.#useGenesis(entries[0]);
    const own = await leafHashes(entries);
    while (own.length < count && whole) own.push(null);
    const leaves = (await this.tiles.standing(first, own)).map((leaf) => leaf ?? new Uint8Array(32));
    const after = this.frontier.fork();
    await after.add(leaves);
    const rootHolds = equal(await after.root(), unit.root);
    const beyond = first + leaves.length > size;
    const signed = !beyond || (await this.#signed(unit));
    if (last && first >= size && !(hashed && signed && rootHolds && whole)) {
      this.findings.add('TAIL_TORN', 'the last unit, beyond the checkpoint, is not whole', first);
      return false;
    }
    this.#chainOf(unit, hashed, first);
    if (!whole) this.findings.add('MALFORMED', 'the entries do not fill their unit', first);
    if (!signed) this.findings.add('FORGED_TAIL', 'a unit beyond the checkpoint is not signed by the log key', first);
    if (!rootHolds && !this.chain.broken) {
      this.chain.broken = true;
      this.findings.add('ROOT_MISMATCH', `the entries of unit ${unit.number} do not hash to its root`, first);
    }
    if (beyond) this.unsigned += leaves.length - Math.max(0, size - first);
    await this.#entries({ unit, hashed }, entries, own, leaves);
    await this.#rootsWithin(first, leaves);
    this.frontier = after;
    this.units++;
    return true;
  }

  // Without pinned trust the genesis entry's own key is what the log can be consistent with.
  async #useGenesis(bytes) {
    const pinned = (this.context.trust?.logs ?? []).filter((key) => key.name === this.home.origin);
    this.logKeys = pinned;
    let genesis = null;
    try {
      const entry = decodeEntry(bytes ?? new Uint8Array(0));
      if (entry.kindName === 'genesis') genesis = decodePayload(entry);
      if (genesis === null) return;
      const key = await parseVkey(genesis.log_key);
      if (key.type !== LOG_TYPE || key.name !== genesis.origin) return;
      if (pinned.length === 0) this.logKeys = [key];
      if (this.context.trust === null) await this.#ownSignature(key);
      else if (!pinned.some((own) => sameKey(own, key))) {
        this.findings.doubt('UNTRUSTED_KEY', 'the log key that genesis names is not pinned');
      }
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }

  async #ownSignature(key) {
    if (this.checkpoint === null) return;
    try {
      await openCheckpoint({ logs: [key], witnesses: new Map(), checkpointKeys: [key], until: new Map(), quorum: 'none' }, this.checkpoint.note);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.findings.add('CHECKPOINT_SIGNATURE', `the checkpoint is not signed by the key that genesis names: ${error.message}`);
    }
  }

  async #signed(unit) {
    for (const { key } of this.logKeys ?? []) if (await signatureHolds(unit, key)) return true;
    return false;
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
      if (believed && entry) this.acts.entry(index, entry);
    }
    this.entries += leaves.length;
    await this.bodies.unit(unit.spans, decoded, hashed);
  }

  // Roots at the sizes of the checkpoints, wherever in a unit they fall.
  async #rootsWithin(first, leaves) {
    for (const checkpoint of [this.checkpoint, this.older]) {
      if (checkpoint === null) continue;
      const size = Number(checkpoint.size);
      if (size <= first || size > first + leaves.length) continue;
      const fork = this.frontier.fork();
      await fork.add(leaves.slice(0, size - first));
      this.roots.set(size, await fork.root());
    }
  }

  async #finish() {
    const holds = this.#judgeCheckpoint();
    this.#judgeOlder();
    await this.tiles.finish(this.entries, holds);
    this.#judgeGenesis();
    this.#judgeTimes();
    this.gaps = this.sequence.finish();
    this.seals.finish(this.entries);
    this.acts.finish();
    this.bodies.finish(this.acts.expired);
  }

  #judgeCheckpoint() {
    const { checkpoint } = this;
    if (checkpoint === null) {
      const there = this.folder.get('checkpoint') !== undefined;
      if (!there && this.entries > CHECKPOINT_FREE) {
        this.findings.add('CHECKPOINT_MISSING', 'the log has entries and no signed checkpoint');
      } else if (!there) {
        this.findings.doubt('CHECKPOINT_MISSING', 'there is no signed checkpoint yet');
      }
      return false;
    }
    if (BigInt(this.entries) < checkpoint.size) {
      this.findings.add('ROLLED_BACK', `${checkpoint.size} entries were signed, the log holds ${this.entries}`, this.entries);
      return false;
    }
    const root = this.roots.get(Number(checkpoint.size));
    const holds = checkpoint.size === 0n || equal(root, checkpoint.root);
    if (!holds) {
      this.findings.add('ROOT_MISMATCH', `the first ${checkpoint.size} entries do not hash to the signed root`);
    }
    return holds;
  }

  #judgeOlder() {
    const { older, checkpoint } = this;
    if (older === null) return;
    if (older.size > BigInt(this.entries)) {
      this.findings.add('ROLLED_BACK', `${older.size} entries were signed before, the log holds ${this.entries}`);
    } else if (checkpoint && older.size === checkpoint.size && !equal(older.root, checkpoint.root)) {
      this.findings.add('EQUIVOCATION', `two roots of one log at size ${older.size}: keep both checkpoints`);
    } else if (older.size > 0n && !equal(this.roots.get(Number(older.size)), older.root)) {
      this.findings.add('INCONSISTENT', 'the log is no extension of the older checkpoint');
    }
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
    const { checkpoint } = this;
    const last = this.sequence.signedTime;
    if (!checkpoint || checkpoint.witnesses.size === 0 || last === null) return;
    for (const [name, seconds] of checkpoint.witnesses) {
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
      ...(this.checkpoint ? { size: this.checkpoint.size, root: hex(this.checkpoint.root) } : {}),
      ...(this.checkpoint?.signer ? { signer: this.checkpoint.signer.text } : {}),
    };
    this.#sentences();
    if (findings.failed > 0) refuse('FAILED', `${findings.failed} findings: ${findings.codes().join(', ')}`);
    if (this.entries === 0) refuse('INCONCLUSIVE', 'a log of no entries: there is nothing to verify');
    if (findings.inconclusive.length > 0) {
      refuse('INCONCLUSIVE', findings.inconclusive.map((one) => `${one.code}: ${one.message}`).join('; '));
    }
  }

  #sentences() {
    const { said, open } = this.context;
    const { checkpoint, seals, bodies } = this;
    if (checkpoint?.signer) {
      const { signer } = checkpoint;
      said.push(`The first ${checkpoint.size} entries are signed by the pinned log key ${signer.idHex} of ${signer.name}.`);
      for (const [name, seconds] of checkpoint.witnesses) {
        said.push(`Cosigned by the witness ${name} at ${timeText(seconds * 1_000_000_000n)}.`);
      }
      if (checkpoint.witnesses.size === 0) {
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
    if (this.unsigned > 0) open.push(`${this.unsigned} entries lie beyond the signed checkpoint.`);
    open.push(
      'Whether a body opens, and is what its entry commits to, needs the keys of the vault.',
      'Which bodies an erasure reached cannot be seen without keys.',
      'Events that were never submitted leave no trace here.',
    );
  }
}
