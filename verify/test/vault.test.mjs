// A vault's data directory without keys: one properly signed attack for each finding.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { judgeAny } from '../src/any.mjs';
import { concat, u64 } from '../src/wire.mjs';
import { Folder, memoryFile } from '../src/files.mjs';
import { Findings } from '../src/findings.mjs';
import { SealChecker } from '../src/seals.mjs';
import { decodeEntry } from '../src/entry.mjs';
import { rootOf } from '../src/merkle.mjs';
import { Maker, NOON } from './support/maker.mjs';
import { bytes, checkpoint, cosignature, LOG, NEXT, note, ORIGIN, repo, sha, signer, STRANGER, TENANT, TRUST, unhex } from './support/signer.mjs';

const LOGFILE = 'T/log/00000000.seg';
const BODY = 'T/bodies/4/2026-11-21.seg';
const SOURCE = new Uint8Array(16).fill(0x77);
const DAY_NS = 86_400_000_000_000n;

async function judged(folder, { trust = TRUST, since = null, replay } = {}) {
  return judgeAny({ folder }, {
    trustBytes: trust === null ? null : bytes(trust),
    sinceBytes: since === null ? null : bytes(since),
    replay,
  });
}

async function expectFailed(folder, codes, options) {
  const verdict = await judged(folder, options);
  assert.deepEqual([verdict.exit, verdict.facts.codes], [1, codes], JSON.stringify(verdict.failures));
  return verdict;
}

async function expectPassed(folder, attention = [], options) {
  const verdict = await judged(folder, options);
  assert.deepEqual([verdict.exit, verdict.failures.map((one) => one.code)], [0, attention], verdict.message);
  return verdict;
}

/** Genesis and a few events in three units; `middle(maker)` makes the second one. */
async function made(middle = () => {}, last = () => {}) {
  const maker = new Maker();
  maker.genesis();
  await maker.commit();
  for (let i = 0; i < 3; i++) maker.add({ fields: ['action', 'data'], source: SOURCE, sequence: 1 + i });
  await middle(maker);
  await maker.commit();
  maker.add({ fields: ['action'], source: SOURCE, sequence: 4 });
  await last(maker);
  await maker.commit();
  return maker;
}

test('a whole vault passes with pinned trust only', async () => {
  const maker = await made();
  const verdict = await expectPassed(await maker.folder());
  assert.deepEqual([verdict.facts.entries, verdict.facts.bodies, verdict.facts.units], [5, 4, 3]);
  const alone = await judged(await maker.folder(), { trust: null });
  assert.deepEqual([alone.exit, alone.code, alone.failures], [4, 'INCONCLUSIVE', []]);
  const stranger = await judged(await maker.folder(), { trust: `log ${STRANGER.vkey}\nquorum none\n` });
  assert.equal(stranger.exit, 4);
  const unpinned = await judged(await maker.folder(), { trust: `log ${signer('x', 9).vkey}\nquorum none\n` });
  assert.deepEqual([unpinned.exit, unpinned.code], [4, 'INCONCLUSIVE']);
});

test('the golden vault: everything but its bodies, which are not part of the vectors', async () => {
  const stored = JSON.parse(readFileSync(repo('tests/golden/format/vault.json'), 'utf8'));
  const files = Object.entries(stored).map(([name, data]) => [name.replace('data/', ''), unhex(data)]);
  const tenant = files[0][0].split('/')[1];
  files.push(['vault.toml', bytes(`format = 1\nname = "vault.example"\ntenant = "${tenant}"\n`)]);
  const folder = new Folder(files.map(([name, data]) => [name, memoryFile(data)]));
  const verdict = await judged(folder, { trust: null });
  assert.deepEqual(verdict.facts.codes, ['BODY_MISSING_UNJUSTIFIED']);
  assert.deepEqual([verdict.facts.entries, verdict.facts.expired > 0, verdict.facts.daySeals > 0], [20, true, true]);
});

test('the chain of entries', async () => {
  const event = { source: SOURCE };
  const cases = [
    [(m) => m.add(event, { index: 9 }), ['INDEX_OR_PREV_MISMATCH']],
    [(m) => m.add(event, { prev: sha(bytes('x')) }), ['INDEX_OR_PREV_MISMATCH']],
    [(m) => m.add({ tenant: '12'.repeat(16) }), ['TENANT_MISMATCH']],
    [(m) => m.add(event, { time: NOON - 1n }), ['TIME_REGRESSION']],
    [(m) => m.add({ recordId: concat(u64(0xabcdef), u64(2)) }), ['DUP_RID']],
    [(m) => m.add({ source: SOURCE, sequence: 2 }), ['DUP_SOURCE_SEQ']],
    [(m) => { for (const _ of [1, 2]) m.add({ source: SOURCE, eventId: new Uint8Array(16).fill(5) }); }, ['DUP_EVENT_ID']],
    [(m) => m.add({ kind: 16 }), ['MALFORMED']],
    [(m) => m.genesis(), ['MALFORMED']],
    [(m) => m.add({ kind: 'key-roll', payload: { what: 'nonsense' } }), ['MALFORMED']],
  ];
  for (const [middle, codes] of cases) await expectFailed(await (await made(middle)).folder(), codes);
});

test('what asks for attention only', async () => {
  const gap = await made(() => {}, (m) => m.add({ source: SOURCE, sequence: 9 }));
  await expectPassed(await gap.folder(), ['SOURCE_GAP']);
  const late = await made((m) => {
    m.add({ eventId: new Uint8Array(16).fill(5) });
    m.add({ eventId: new Uint8Array(16).fill(5) }, { time: m.time + DAY_NS });
  });
  await expectPassed(await late.folder(), ['DUP_EVENT_ID']);
  const open = await made((m) => m.add({ kind: 'erase-intent', cls: 9, payload: intent() }));
  await expectPassed(await open.folder(), ['ERASURE_OPEN']);
  const whole = await made();
  await expectPassed(await whole.folder({ files: { 'T/tile/0': null } }), ['TILE_MISSING']);
  await expectPassed(await whole.folder({ files: { 'T/bodies/7/2026-11-21.seg': bytes('x') } }), ['BODY_UNCOMMITTED']);
  await expectPassed(await whole.folder({ segments: [...whole.units, bytes('CHU1garbage')] }), ['TAIL_TORN']);
});

const JOB = '31'.repeat(16);
const hash = (n) => n.toString(16).padStart(2, '0').repeat(32);
const change = (from, more = {}) => ({ from, to: from + 1, old_root: hash(4 + from), new_root: hash(5 + from), ...more });

function intent(more = {}) {
  return { basis: 'gdpr-17-1', classes: [4], deferred: [], generation: 1, job: JOB, mode: 'two-person', persons: ['41'.repeat(16)], ...more };
}

function done(at, more = {}) {
  return { classes: [4], deferred: [], intent: at, job: JOB, persons: ['41'.repeat(16)], replicas: '1/1', root: change(1), store: 'D', ...more };
}

test('acts: intents, dones and the chain of roots', async () => {
  const erase = (at, more) => async (m) => {
    m.add({ kind: 'erase-intent', cls: 9, payload: intent() });
    m.add({ kind: 'erase-done', cls: 9, payload: done(at, more) });
  };
  await expectPassed(await (await made(erase(4))).folder());
  await expectFailed(await (await made(erase(3))).folder(), ['INTENT_MISSING']);
  await expectFailed(await (await made(erase(4, { job: '32'.repeat(16) }))).folder(), ['INTENT_MISSING']);
  await expectFailed(await (await made(erase(4, { root: change(1, { to: 3 }) }))).folder(), ['ROOT_HASH_MISMATCH']);
  await expectFailed(await (await made(erase(4, { root: change(1, { old_root: hash(9) }) }))).folder(), ['ROOT_HASH_MISMATCH']);
  await expectFailed(await (await made(erase(4, { root: change(0) }))).folder(), ['ROOT_HASH_MISMATCH']);
});

test('a done says no more than its open intent, and only once', async () => {
  const acts = (asked, said, times = 1) => async (m) => {
    const at = m.add({ kind: 'erase-intent', cls: 9, payload: intent(asked) });
    for (let i = 0; i < times; i++) m.add({ kind: 'erase-done', cls: 9, payload: done(at, { ...said, root: change(1 + i) }) });
  };
  const [p, q] = ['41'.repeat(16), '42'.repeat(16)];
  const fails = async (...args) => expectFailed(await (await made(acts(...args))).folder(), ['INTENT_MISSING']);
  await expectPassed(await (await made(acts({ classes: [4, 5] }, { classes: [4] }))).folder());
  await expectPassed(await (await made(acts({ persons: [p, q] }, { persons: [p, q] }))).folder());
  await fails({}, { classes: [4, 5] });
  await fails({}, { persons: [q] });
  await fails({}, { persons: [p, q] });
  await fails({ persons: [p, q] }, { persons: [p] });
  await fails({ persons: [p, q] }, { persons: [q, p] });
  await fails({}, {}, 2);
});

test('an expiry reaches the class-days that were asked for, and no other', async () => {
  const day = (more) => ({ class: 4, day: '2026-11-21', ...more });
  const pruned = (asked, gone, times = 1) => made(() => {}, (m) => {
    const class_days = asked.map((one) => ({ ...one, due: '2027-02-21T00:00:00Z', groups: 4 }));
    const at = m.add({ kind: 'prune-intent', cls: 10, payload: { class_days, generation: 1, job: JOB, policy: hash(1) } });
    for (let i = 0; i < times; i++) m.add({ kind: 'prune-done', cls: 10, payload: { class_days: gone, intent: at, job: JOB, root: change(1 + i) } });
  });
  const without = async (maker) => maker.folder({ files: { [BODY]: null } });
  await expectPassed(await without(await pruned([day(), day({ class: 5 })], [day()])));
  for (const asked of [[], [day({ class: 5 })], [day({ day: '2026-11-20' })]]) {
    await expectFailed(await without(await pruned(asked, [day()])), ['BODY_MISSING_UNJUSTIFIED', 'INTENT_MISSING']);
  }
  await expectFailed(await without(await pruned([day()], [day(), day({ class: 5 })])), ['BODY_MISSING_UNJUSTIFIED', 'INTENT_MISSING']);
  await expectFailed(await without(await pruned([day()], [day()], 2)), ['INTENT_MISSING']);
});

test('replicas that an act missed, and reached later', async () => {
  const acts = (final) => async (m) => {
    m.add({ kind: 'erase-intent', cls: 9, payload: intent() });
    m.add({ kind: 'erase-done', cls: 9, payload: done(4, { missed: '51'.repeat(16), replicas: '1/2' }) });
    for (const payload of final) m.add({ kind: 3, cls: 10, payload: { done: 5, job: JOB, replicas: '2/2', ...payload } });
  };
  await expectPassed(await (await made(acts([]))).folder(), ['ERASURE_PARTIAL']);
  await expectPassed(await (await made(acts([{}]))).folder());
  await expectFailed(await (await made(acts([{}, {}]))).folder(), ['INTENT_MISSING']);
  await expectFailed(await (await made(acts([{ done: 4 }]))).folder(), ['INTENT_MISSING']);
  await expectFailed(await (await made(acts([{ job: '32'.repeat(16) }]))).folder(), ['INTENT_MISSING']);
  await expectFailed(await (await made(acts([{ replicas: 'two' }]))).folder(), ['MALFORMED']);
});

test('a quorum that only an older checkpoint has', async () => {
  const maker = await made();
  const witness = signer('w1.example', 0x61, 4);
  const trust = `log ${LOG.vkey}\nwitness w1 ${witness.vkey}\nquorum w1\n`;
  const seconds = NOON / 1_000_000_000n + 1n;
  const cosigned = (plain) => bytes(plain + cosignature(`${plain.split('\n\n')[0]}\n`, witness, seconds));
  const folder = async (plain) => maker.folder({ files: { 'T/checkpoint.witnessed': cosigned(plain) } });
  await expectPassed(await folder(await maker.checkpoint(3)), ['UNWITNESSED_TAIL'], { trust });
  await expectPassed(await folder(await maker.checkpoint(5)), [], { trust });
  await expectFailed(await folder(checkpoint(3, sha(bytes('x')))), ['INCONSISTENT'], { trust });
  await expectFailed(await folder(checkpoint(6, sha(bytes('x')))), ['ROLLED_BACK'], { trust });
  const plain = await maker.folder({ files: { 'T/checkpoint.witnessed': bytes(await maker.checkpoint(3)) } });
  assert.deepEqual([(await judged(plain, { trust })).exit, (await judged(plain, { trust })).code], [4, 'INCONCLUSIVE']);
});

const PINNED = [
  ['the old key', `log ${LOG.vkey}\nquorum none\n`],
  ['both keys', `log ${LOG.vkey}\nlog ${NEXT.vkey}\nuntil ${LOG.vkey.split('+')[1]} 4\nquorum none\n`],
  ['both, neither retired', `log ${LOG.vkey}\nlog ${NEXT.vkey}\nquorum none\n`],
];

async function rolled({ keys = [LOG, NEXT], until = 4, old = LOG, origin = ORIGIN, last = NEXT } = {}) {
  const maker = new Maker();
  maker.genesis();
  await maker.commit();
  for (let i = 0; i < 2; i++) maker.add();
  await maker.commit();
  const text = `${origin}\nchancery/key-roll/v1\nold ${old.vkey}\nnew ${NEXT.vkey}\nuntil ${until}\n`;
  maker.add({ kind: 'key-roll', cls: 10, payload: { mode: 'two-person', note: note(text, ...keys), what: 'log-key' } });
  await maker.commit();
  maker.add();
  await maker.commit({ key: last });
  return maker;
}
const by = (maker, key, size = 5, files = {}) => maker.folder({ files: { 'T/checkpoint': null, ...files } }).then(async (folder) => {
  const all = [...folder.files, [`tenants/${TENANT}/checkpoint`, memoryFile(bytes(await maker.checkpoint(size, key)))]];
  return new Folder(all);
});

test('who may sign a unit depends on a roll within it and behind it', async () => {
  const [, [, both]] = PINNED;
  const text = `${ORIGIN}\nchancery/key-roll/v1\nold ${LOG.vkey}\nnew ${NEXT.vkey}\nuntil 4\n`;
  const roll = { kind: 'key-roll', cls: 10, payload: { mode: 'two-person', note: note(text, LOG, NEXT), what: 'log-key' } };
  const trust = `log ${LOG.vkey}\nlog ${NEXT.vkey}\nquorum none\n`;
  const log = async (second, inside) => {
    const maker = new Maker();
    maker.genesis();
    await maker.commit();
    for (let i = 0; i < 2; i++) maker.add();
    await maker.commit({ key: second });
    maker.add(roll);
    if (inside) maker.add();
    await maker.commit();
    maker.add();
    await maker.commit({ key: NEXT });
    return by(maker, LOG, 1);
  };
  for (const policy of [both, trust]) {
    await expectPassed(await log(LOG, false), [], { trust: policy });
    await expectFailed(await log(NEXT, false), ['FORGED_TAIL'], { trust: policy });
  }
  await expectFailed(await log(LOG, true), ['FORGED_TAIL'], { trust });
});

test('a roll in the log retires a key and pins none', async () => {
  const good = await rolled();
  const [[, one], [, both], [, open]] = PINNED;
  await expectPassed(await by(good, NEXT), [], { trust: both });
  await expectPassed(await by(good, NEXT, 4), [], { trust: both, since: await good.checkpoint(3) });
  await expectPassed(await by(good, LOG, 4), [], { trust: both });
  await expectPassed(await by(good, LOG, 4), ['TAIL_TORN'], { trust: one });
  await expectPassed(await by(await rolled({ last: LOG }), LOG, 4), ['TAIL_TORN'], { trust: both });
  assert.equal((await judged(await by(good, NEXT), { trust: null })).code, 'INCONCLUSIVE');
  const unpinned = await judged(await by(good, NEXT), { trust: one });
  assert.deepEqual([unpinned.exit, unpinned.code], [4, 'INCONCLUSIVE']);
  assert.match(unpinned.message, /UNTRUSTED_KEY/);
  const thief = await by(good, LOG);
  for (const trust of [one, both, open]) await expectFailed(thief, ['KEY_RETIRED'], { trust });
  await expectFailed(thief, ['CHECKPOINT_SIGNATURE'], { trust: null });
  for (const [, trust] of [...PINNED, [null, null]]) {
    const wrong = async (options, code) => {
      const verdict = await judged(await by(await rolled(options), NEXT), { trust });
      assert.ok(verdict.exit === 1 && verdict.facts.codes.includes(code), `${JSON.stringify(options.until)} ${verdict.facts.codes}`);
      assert.equal(verdict.failures.find((found) => found.code === code).index, 3);
    };
    await wrong({ keys: [NEXT] }, 'UNTRUSTED_KEY');
    await wrong({ keys: [LOG] }, 'UNTRUSTED_KEY');
    await wrong({ old: STRANGER, keys: [STRANGER, NEXT] }, 'UNTRUSTED_KEY');
    await wrong({ until: 5 }, 'MALFORMED');
    await wrong({ origin: 'other.example/t/11' }, 'MALFORMED');
  }
});

test('witnesses over a roll: cosignatures hold for the key that was in force at their size', async () => {
  const witness = signer('w1.example', 0x61, 4);
  const trust = `${PINNED[1][1].replace('quorum none\n', '')}witness w1 ${witness.vkey}\nquorum w1\n`;
  const good = await rolled();
  const seconds = NOON / 1_000_000_000n + 1n;
  const cosigned = async (size, key) => {
    const plain = await good.checkpoint(size, key);
    return bytes(plain + cosignature(`${plain.split('\n\n')[0]}\n`, witness, seconds));
  };
  const under = async (size, key) => by(good, NEXT, 5, { 'T/checkpoint.witnessed': await cosigned(size, key) });
  await expectPassed(await under(3, LOG), ['UNWITNESSED_TAIL'], { trust });
  await expectPassed(await under(4, LOG), ['UNWITNESSED_TAIL'], { trust });
  await expectPassed(await under(5, NEXT), [], { trust });
  await expectFailed(await under(5, LOG), ['KEY_RETIRED'], { trust });
  const files = { 'T/checkpoint': await cosigned(5, LOG) };
  await expectFailed(await good.folder({ files }), ['KEY_RETIRED'], { trust });
  const anchored = async (size, key) => by(good, NEXT, 5, {
    [`T/anchors/${String(size).padStart(20, '0')}.note`]: await cosigned(size, key), 'T/checkpoint.witnessed': await cosigned(5, NEXT),
  });
  await expectPassed(await anchored(3, LOG), [], { trust });
  await expectPassed(await anchored(5, LOG), ['ANCHOR_UNVERIFIED'], { trust });
});

test('bodies: there, damaged, gone, and gone with a reason', async () => {
  const maker = await made();
  const file = concat(...maker.bodies.get('4/20778'));
  const flip = (at) => {
    const changed = file.slice();
    changed[at] ^= 1;
    return maker.folder({ files: { [BODY]: changed } });
  };
  for (let at = 0; at < file.length; at++) await expectFailed(await flip(at), ['BODY_AUTH_FAIL']);
  await expectFailed(await maker.folder({ files: { [BODY]: file.subarray(0, -1) } }), ['BODY_AUTH_FAIL']);
  await expectFailed(await maker.folder({ files: { [BODY]: null } }), ['BODY_MISSING_UNJUSTIFIED']);
  const pruned = await made(() => {}, (m) => {
    const at = m.add({ kind: 'prune-intent', cls: 10, payload: { class_days: [{ class: 4, day: '2026-11-21', due: '2027-02-21T00:00:00Z', groups: 4 }], generation: 1, job: JOB, policy: hash(1) } });
    m.add({ kind: 'prune-done', cls: 10, payload: { class_days: [{ class: 4, day: '2026-11-21' }], intent: at, job: JOB, root: change(1) } });
  });
  const verdict = await expectPassed(await pruned.folder({ files: { [BODY]: null } }));
  assert.equal(verdict.facts.expired, 4);
});

test('units: every damage has a name', async () => {
  const maker = await made();
  const whole = concat(...maker.units);
  const second = maker.units[0].length;
  const last = second + maker.units[1].length;
  const flip = (at, more) => {
    const changed = whole.slice();
    changed[at] ^= 1;
    return maker.folder({ files: { [LOGFILE]: changed }, ...more });
  };
  await expectFailed(await flip(second + 27), ['UNIT_HASH']);
  await expectFailed(await flip(second + 250), ['LEAF_MISMATCH']);
  const damaged = await judged(await flip(second));
  assert.ok(damaged.exit === 1 && damaged.facts.codes.includes('UNIT_DAMAGED') && damaged.facts.codes.includes('UNIT_CHAIN'));
  await expectPassed(await flip(second + maker.units[1].length - 1), []);
  await expectPassed(await flip(whole.length - 1, { size: 4 }), ['TAIL_TORN', 'BODY_UNCOMMITTED']);
  await expectFailed(await flip(second + maker.units[1].length - 1, { size: 1 }), ['FORGED_TAIL']);
  const short = await maker.folder({ files: { [LOGFILE]: whole.subarray(0, last) } });
  await expectFailed(short, ['ROLLED_BACK']);
  const newer = whole.slice();
  newer[last + 3] = 0x32;
  assert.notEqual((await judged(await maker.folder({ files: { [LOGFILE]: newer } }))).exit, 0);
  const split = await maker.folder({ files: { [LOGFILE]: whole.subarray(0, last), 'T/log/00000001.seg': whole.subarray(last) } });
  await expectPassed(split);
});

test('a unit signed by another key is forged, unless it is the torn end', async () => {
  const maker = await made();
  maker.add();
  await maker.commit({ key: NEXT });
  await expectPassed(await maker.folder({ size: 5 }), ['TAIL_TORN']);
  maker.add();
  await maker.commit();
  await expectFailed(await maker.folder({ size: 5 }), ['FORGED_TAIL']);
});

test('roots, checkpoints, and checkpoints kept from before', async () => {
  const maker = await made();
  const wrong = checkpoint(5, sha(bytes('another history')));
  await expectFailed(await maker.folder({ files: { 'T/checkpoint': bytes(wrong) } }), ['ROOT_MISMATCH']);
  await expectFailed(await maker.folder({ files: { 'T/checkpoint': null } }), ['CHECKPOINT_MISSING']);
  await expectFailed(await maker.folder({ files: { 'T/checkpoint': bytes('x') } }), ['MALFORMED']);
  const text = (await maker.checkpoint()).split('\n\n')[0];
  await expectFailed(await maker.folder({ files: { 'T/checkpoint': bytes(note(`${text}\n`, LOG).replace('\n5\n', '\n4\n')) } }), ['BAD_SIGNATURE', 'ROOT_MISMATCH']);
  const unknown = await judged(await maker.folder({ files: { 'T/checkpoint': bytes(await maker.checkpoint(5, STRANGER)) } }));
  assert.deepEqual([unknown.exit, unknown.code], [4, 'INCONCLUSIVE']);
  await expectFailed(await maker.folder({ files: { 'T/checkpoint': bytes(await maker.checkpoint(5, STRANGER)) } }), ['CHECKPOINT_SIGNATURE'], { trust: null });
  await expectPassed(await maker.folder(), [], { since: await maker.checkpoint(3) });
  await expectFailed(await maker.folder(), ['INCONSISTENT'], { since: checkpoint(3, sha(bytes('x'))) });
  await expectFailed(await maker.folder(), ['EQUIVOCATION'], { since: checkpoint(5, sha(bytes('x'))) });
  await expectFailed(await maker.folder(), ['ROLLED_BACK'], { since: checkpoint(6, sha(bytes('x'))) });
  const changed = concat(...maker.leaves);
  changed[40] ^= 1;
  await expectFailed(await maker.folder({ files: { 'T/tile/0': changed } }), ['TILE_MISMATCH']);
});

test('a wrong unit root, and an entry changed together with its stored hash', async () => {
  const maker = new Maker();
  maker.genesis();
  await maker.commit();
  maker.add();
  await maker.commit({ root: sha(bytes('x')) });
  maker.add();
  await maker.commit();
  await expectFailed(await maker.folder(), ['ROOT_MISMATCH']);
  const good = await made();
  const log = concat(...good.units);
  const tile = concat(...good.leaves);
  log[good.units[0].length + 250] ^= 1;
  tile[32] ^= 1;
  const verdict = await judged(await good.folder({ files: { [LOGFILE]: log, 'T/tile/0': tile } }));
  assert.ok(verdict.exit === 1 && verdict.facts.codes.includes('ROOT_MISMATCH'), String(verdict.facts.codes));
});

test('times that a witness contradicts', async () => {
  const maker = await made();
  const witness = signer('w1.example', 0x61, 4);
  const trust = `log ${LOG.vkey}\nwitness w1 ${witness.vkey}\nquorum w1\n`;
  const plain = await maker.checkpoint();
  const text = `${plain.split('\n\n')[0]}\n`;
  const at = (seconds) => maker.folder({ files: { 'T/checkpoint': bytes(plain + cosignature(text, witness, seconds)) } });
  const now = NOON / 1_000_000_000n;
  await expectPassed(await at(now - 299n), [], { trust });
  await expectFailed(await at(now - 301n), ['TIME_BRACKET'], { trust });
  const missing = await judged(await maker.folder(), { trust });
  assert.deepEqual([missing.exit, missing.code], [4, 'INCONCLUSIVE']);
});

test('vault.toml, foreign vaults, and no entries', async () => {
  const maker = await made();
  const toml = (text) => maker.folder({ files: { 'vault.toml': bytes(text) } });
  const good = `format = 1\nname = "vault.example"\ntenant = "${TENANT}"\n`;
  const expectExit = async (folder, exit, code) => {
    const verdict = await judged(folder);
    assert.deepEqual([verdict.exit, verdict.code], [exit, code]);
  };
  await expectExit(await toml(good.replace('1', '2')), 4, 'STORE_TOO_NEW');
  for (const text of ['', 'x', `${good}x = 1\n`, good.replace('format', '#'), `${good}# \u0001\n`]) {
    await expectExit(await toml(text), 3, 'STORE_CORRUPT');
  }
  const before = ['[continues]', 'origin = "old.example/t/ab"', 'size = 77', `root = "${'09'.repeat(32)}"`];
  const after = (lines) => toml(`${good}\n${lines.join('\n')}\n`);
  await expectPassed(await after(before));
  for (let i = 1; i < before.length; i++) await expectExit(await after(before.filter((_, n) => n !== i)), 3, 'STORE_CORRUPT');
  for (const line of ['x = 1', 'size = "77"', 'size = 07', 'root = "09"', '[other]', '[continues]']) {
    await expectExit(await after([...before.filter((one) => !one.startsWith(line.split(' ')[0]) || line[0] === '['), line]), 3, 'STORE_CORRUPT');
  }
  const foreign = await judged(await toml(good.replace('vault.example', 'other.example')));
  assert.ok(foreign.exit === 1 && foreign.facts.codes.includes('TENANT_MISMATCH'));
  const none = new Folder([['vault.toml', memoryFile(bytes(good))]]);
  await expectExit(none, 4, 'INCONCLUSIVE');
});

test('no changed byte of log or checkpoint passes unnoticed', async () => {
  const maker = await made();
  const log = concat(...maker.units);
  const ends = [];
  for (const unit of maker.units) ends.push((ends.at(-1) ?? 0) + unit.length);
  const signature = (at) => ends.some((end) => at >= end - 64 && at < end);
  for (let at = 0; at < log.length; at++) {
    if (signature(at)) continue;
    const changed = log.slice();
    changed[at] ^= 1 << (at % 8);
    const verdict = await judged(await maker.folder({ files: { [LOGFILE]: changed } }));
    assert.notEqual(verdict.exit, 0, `byte ${at} of the log`);
  }
  const text = bytes(await maker.checkpoint());
  for (let at = 0; at < text.length; at++) {
    const changed = text.slice();
    changed[at] ^= 1;
    const verdict = await judged(await maker.folder({ files: { 'T/checkpoint': changed } }));
    assert.notEqual(verdict.exit, 0, `byte ${at} of the checkpoint`);
  }
});

test('seals of whole epochs are computed anew', async () => {
  const base = new Maker();
  base.genesis();
  for (let i = 1; i < 65_536; i++) base.add({ fields: i % 4096 === 0 ? ['action'] : [], source: SOURCE, sequence: i });
  await base.commit();
  const good = await base.sealOf(0);
  const variant = async (change, replay, sealed = 1) => {
    const maker = base.copy();
    for (let i = 0; i < sealed; i++) maker.add({ kind: 'seal', cls: 10, payload: { ...good, ...change } });
    await maker.commit();
    return judged(await maker.folder(), { replay });
  };
  const passed = await variant({}, undefined, 1);
  assert.deepEqual([passed.exit, passed.facts.replayed], [0, 1], JSON.stringify(passed.failures));
  const none = await variant({ index_root: hash(1) }, { percent: 0, seed: new Uint8Array(0) }, 2);
  assert.deepEqual([none.facts.codes, none.facts.replayed], [['SEAL_DUPLICATE'], 0]);

  // The same epoch once more, then one wrong member after the other.
  const findings = new Findings();
  const seals = new SealChecker(findings, { percent: 100 }, [await rootOf(base.leaves)]);
  for (const [i, entry] of base.entries.entries()) await seals.entry(i, decodeEntry(entry));
  const { first, end, entries, ...members } = good;
  const payload = (change) => ({ first, end, ...members, t_first: BigInt(good.t_first), t_last: BigInt(good.t_last), ...change });
  seals.seal(end, payload({}));
  assert.deepEqual([findings.codes(), seals.replayed, entries], [[], 1, end]);
  for (const name of Object.keys(members)) {
    seals.sealed.clear();
    findings.list = [];
    const wrong = { number: 12345, bigint: NOON + 1n, string: hash(1) }[typeof payload({})[name]];
    seals.seal(end, payload({ [name]: wrong }));
    assert.deepEqual(findings.codes(), ['SEAL_MISMATCH'], name);
    assert.ok(findings.list[0].message.includes(name));
  }
  seals.sealed.clear();
  findings.list = [];
  seals.seal(end - 1, payload({}));
  assert.deepEqual(findings.codes(), ['SEAL_MISMATCH']);
  seals.finish(2 * 65_536);
  assert.deepEqual(findings.codes(), ['SEAL_MISMATCH']);
  seals.sealed.clear();
  seals.finish(2 * 65_536);
  assert.deepEqual(findings.codes(), ['SEAL_MISMATCH', 'SEAL_MISSING']);
});

test('day-seals tile the log', async () => {
  const sealed = (payload) => made(() => {}, async (m) => {
    m.add({}, { time: NOON + DAY_NS });
    m.add({ kind: 'day-seal', cls: 10, payload: { day: '2026-11-21', first: 0, end: 5, ...payload } });
  });
  const good = await expectPassed(await (await sealed({})).folder());
  assert.equal(good.facts.daySeals, 1);
  for (const payload of [{ first: 1 }, { end: 6 }, { end: 4 }, { day: '2026-11-22' }]) {
    await expectFailed(await (await sealed(payload)).folder(), ['SEAL_MISMATCH']);
  }
});
