// The judge: one piece of evidence, perhaps a trust file, perhaps a checkpoint kept from before;
// one verdict. Never throws for what the evidence says, never passes without pinned trust.
//
// The order of checks is docs/format.md section 12, "Order": form, then signatures against the
// trust file, then what the signed words say. Without a trust file the second part is left out,
// and what would have passed is INCONCLUSIVE.

import { exitOf, Refusal, refuse } from './verdict.mjs';
import { hex, timeText } from './text.mjs';
import { openCheckpoint, parseTrust } from './trust.mjs';
import { openNote, parseNote } from './note.mjs';
import { parseConsistency, parseProof, verifyConsistency, verifyProof } from './proof.mjs';
import { parseDisclosure, verifyFields } from './disclosure.mjs';
import { isReceipt, parseStatement, readLedger, readReceipt } from './receipt.mjs';
import { MANIFEST, readManifest, verifyFiles } from './manifest.mjs';
import { readExport, verifyExported } from './exported.mjs';
import { describe } from './entry.mjs';
import { binaryKindOf, KIND, kindOf } from './kind.mjs';
import { Stream } from './stream.mjs';
import { judgeRange } from './range.mjs';
import { judgeAnswer } from './answer.mjs';
import { equal } from './wire.mjs';

export const EVIDENCE_BYTES_MAX = 16_777_216;

/**
 * Judges one file (files.mjs); `beside(name)` gives another of its directory, or nothing. `trustBytes` and `sinceBytes` may be null. The verdict:
 * `{ kind, code, exit, message, said: [sentence], open: [sentence], facts }`.
 */
export async function judgeFile(file, options = {}, beside = undefined) {
  return judge(options, async (context) => {
    context.beside = beside;
    const binary = binaryKindOf(await file.read(0, Math.min(64, file.size)));
    if (binary !== null) {
      context.kind = binary;
      await shownEntries(file, context);
      return;
    }
    if (file.size > EVIDENCE_BYTES_MAX) {
      refuse('TOO_LARGE', `evidence files of more than ${EVIDENCE_BYTES_MAX} bytes are not read`);
    }
    const bytes = await file.read();
    context.kind = kindOf(bytes);
    await FILES[context.kind](bytes, context);
  });
}

/** Judges a report folder (files.mjs). */
export async function judgeReport(folder, options = {}) {
  return judge(options, async (context) => {
    context.kind = KIND.REPORT;
    await report(folder, context);
  });
}

/** Runs `check` with the trust file read first, and turns its end into a verdict. */
export async function judge({ trustBytes = null, sinceBytes = null, replay }, check) {
  const context = { replay, kind: null, said: [], open: [], facts: {}, trust: null, sinceBytes, failures: [] };
  const verdict = (code, message, where = {}) => ({
    kind: context.kind,
    code,
    exit: exitOf(code),
    message,
    where,
    said: context.said,
    open: context.open,
    facts: context.facts,
    failures: context.failures,
    trusted: context.trust !== null,
  });
  try {
    if (trustBytes !== null) context.trust = await parseTrust(trustBytes);
    await check(context);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return verdict(error.code, error.message, error.where);
  }
  if (context.trust === null) {
    return verdict('INCONCLUSIVE', 'consistent with itself; signer unknown');
  }
  return verdict('VERIFIED', 'verified');
}

const FILES = {
  [KIND.CHECKPOINT]: checkpoint,
  [KIND.INCLUSION]: inclusion,
  [KIND.CONSISTENCY]: consistency,
  [KIND.DISCLOSURE]: disclosure,
  [KIND.RECEIPT]: statement,
  [KIND.LEDGER]: statement,
  [KIND.EXPORT]: exported,
};

/** Opens a checkpoint as far as there is a trust file; says by whom it is signed. */
export async function signedBy(context, note) {
  const checkpoint = await openCheckpoint(context.trust, note);
  const { origin, size, root, signer, witnesses } = checkpoint;
  Object.assign(context.facts, { origin, size, root: hex(root) });
  if (signer === null) return checkpoint;
  context.facts.signer = signer.text;
  context.said.push(`Signed by the pinned log key ${signer.idHex} of ${signer.name}.`);
  for (const [name, seconds] of witnesses) {
    context.said.push(`Cosigned by the witness ${name} at ${timeText(seconds * 1_000_000_000n)}.`);
  }
  if (witnesses.size === 0) {
    context.open.push('No witness cosigned it: the log could have shown others another history.');
  }
  return checkpoint;
}

/** The checkpoint kept from before, opened like any other. */
export async function olderCheckpoint({ trust, sinceBytes }) {
  return openCheckpoint(trust, parseNote(sinceBytes));
}

function aboutLog(context, { origin, size }) {
  context.said.push(`The log is ${origin}, with ${size} entries.`);
}

function notEmpty({ size }) {
  if (size === 0n) refuse('INCONCLUSIVE', 'a log of no entries: there is nothing to verify');
}

async function checkpoint(bytes, context) {
  const parsed = await signedBy(context, parseNote(bytes));
  if (context.sinceBytes !== null) await sinceOfCheckpoint(parsed, context);
  notEmpty(parsed);
  aboutLog(context, parsed);
  context.open.push('A checkpoint alone shows no entry: it is what proofs are checked against.');
}

// Without hashes between them two checkpoints can only contradict each other.
async function sinceOfCheckpoint(parsed, context) {
  const older = await olderCheckpoint(context);
  if (older.origin !== parsed.origin) {
    refuse('TENANT_MISMATCH', 'the checkpoint kept from before is of another log');
  }
  if (older.size > parsed.size) {
    refuse('ROLLED_BACK', `the log had ${older.size} entries before and has ${parsed.size} now`);
  }
  if (older.size === parsed.size && !equal(older.root, parsed.root)) {
    refuse('EQUIVOCATION', `two roots of one log at size ${parsed.size}: keep both checkpoints`);
  }
  context.open.push('That the log grew from the older checkpoint needs a consistency proof.');
}

async function inclusion(bytes, context) {
  const proof = parseProof(bytes);
  const signed = await signedBy(context, proof.note);
  const entry = await verifyProof(proof, signed);
  aboutEntry(context, entry);
  if (entry.fields.length > 0) context.open.push(`Its ${entry.fields.length} sealed fields stay sealed.`);
  aboutLog(context, signed);
  noSince(context);
}

function noSince(context) {
  if (context.sinceBytes !== null) context.open.push('The older checkpoint was not used.');
}

function aboutEntry(context, entry) {
  Object.assign(context.facts, { index: entry.index, time: timeText(entry.logTime) });
  context.said.push(
    `Entry ${entry.index} is in it, of log time ${timeText(entry.logTime)}: ${describe(entry)}.`,
  );
  context.open.push('What stands in clear in the entry was not interpreted.');
}

async function consistency(bytes, context) {
  const proof = parseConsistency(bytes);
  if (context.sinceBytes === null) {
    if (context.trust !== null) {
      refuse('USAGE', 'a consistency proof needs the checkpoint kept from before (--since)');
    }
    await signedBy(context, proof.note);
    context.open.push('The checkpoint kept from before is missing: nothing could be compared.');
    return;
  }
  const older = await olderCheckpoint(context);
  const newer = await signedBy(context, proof.note);
  await verifyConsistency(proof, older, newer);
  notEmpty(newer);
  context.said.push(
    `The log of ${newer.size} entries begins with the ${older.size} of before, unchanged.`,
  );
  aboutLog(context, newer);
}

async function disclosure(bytes, context) {
  const { fields, proof } = parseDisclosure(bytes);
  const signed = await signedBy(context, proof.note);
  const entry = await verifyProof(proof, signed);
  await verifyFields(fields, entry);
  aboutEntry(context, entry);
  context.facts.fields = fields.map(({ name, value }) => [name, value]);
  for (const { name, value } of fields) {
    context.said.push(`Disclosed as it was sealed: ${name} = ${value}`);
  }
  const left = entry.fields.length - fields.length;
  if (left > 0) context.open.push(`${left} other sealed fields of the entry were not disclosed.`);
  aboutLog(context, signed);
  noSince(context);
}

async function statement(bytes, context) {
  const parsed = parseStatement(bytes);
  if (context.trust !== null) {
    const signed = await openNote(parsed.note, context.trust.reports);
    const own = signed.find(({ key }) => key.name === parsed.signer);
    if (!own) refuse('UNTRUSTED_KEY', `the pinned key that signed is not named ${parsed.signer}`);
    context.facts.signer = own.key.text;
    context.said.push(`Signed by the pinned report key ${own.key.idHex} of ${own.key.name}.`);
  }
  if (isReceipt(parsed)) aboutReceipt(context, readReceipt(parsed));
  else aboutLedger(context, readLedger(parsed));
  noSince(context);
}

function aboutReceipt(context, facts) {
  context.facts.job = facts.job;
  context.said.push(
    `Erasure ${facts.job} on the basis ${facts.basis}, ${facts.mode}, was requested at ` +
      `${facts.requested.when} (entry ${facts.requested.index}) and completed at ` +
      `${facts.completed.when} (entry ${facts.completed.index}).`,
    `Classes erased: ${facts.classes}. Records: ${facts.records}. Replicas: ${facts.replicas}.`,
  );
  if (facts.final) {
    const { when, index } = facts.final;
    context.said.push(`A copy of the keys that was away at the erasure was scrubbed by ${when} (entry ${index}).`);
  }
  if (facts.replicas.endsWith(' E2-partial')) {
    context.open.push('PARTIAL: a copy of the keys had not been reached when this was signed. What it holds may still open what was erased.');
  }
  for (const { name, why, due, law } of facts.deferred) {
    context.said.push(`Deferred: class ${name}, ${why} (${law}), until ${due}.`);
  }
  context.open.push(
    `The receipt's own limit: ${facts.limits}.`,
    'That the two entries are in the log needs their inclusion proofs or the log itself.',
  );
}

function aboutLedger(context, facts) {
  context.facts.size = facts.log;
  context.said.push(
    `The ledger lists ${facts.erased.length} erasures of a log of ${facts.log} entries, ` +
      `key generation ${facts.generation}.`,
  );
  if (facts.log === 0n) refuse('INCONCLUSIVE', 'a log of no entries: there is nothing to verify');
}

async function shownEntries(file, context) {
  const stream = new Stream(file);
  await stream.take(context.kind.startsWith('range') ? 18 : 19);
  noSince(context);
  if (context.kind === KIND.RANGE) await judgeRange(stream, context, openLog);
  else await judgeAnswer(stream, context, openLog, openClaim);
}

async function openLog(context, note) {
  const checkpoint = await signedBy(context, note);
  aboutLog(context, checkpoint);
  return checkpoint;
}

// Opens the note; what it gives requires that a key of the name in its first line signed.
async function openClaim(context, note) {
  if (context.trust === null) return () => {};
  const signed = await openNote(note, context.trust.reports);
  return (name) => {
    if (!signed.some(({ key }) => key.name === name)) {
      refuse('UNTRUSTED_KEY', `the pinned key that signed the claim is not named ${name}`);
    }
  };
}

async function exported(bytes, context) {
  const note = parseNote(bytes);
  if (context.trust !== null) {
    const [{ key }] = await openNote(note, context.trust.reports);
    context.facts.signer = key.text;
    context.said.push(`Signed by the pinned report key ${key.idHex} of ${key.name}.`);
  }
  const manifest = readExport(note.text);
  await verifyExported(manifest, context.beside);
  const { file, format, preset, count, first, last } = manifest;
  Object.assign(context.facts, { file, lines: count, first, last });
  context.said.push(
    `${file} has ${count} lines as ${format}, preset ${preset}, of entries ${first} to ${last}.`,
    'It and the list of its lines are as they were signed.',
  );
  context.open.push('What a line says is the vault\'s word when it was exported: verify the log itself to check it.');
  noSince(context);
}

async function report(folder, context) {
  const note = parseNote(await folder.get(MANIFEST).read());
  let signer = null;
  if (context.trust !== null) {
    [{ key: signer }] = await openNote(note, context.trust.reports);
    context.facts.signer = signer.text;
    context.said.push(`Signed by the pinned report key ${signer.idHex} of ${signer.name}.`);
  }
  const manifest = readManifest(note);
  if (signer !== null) requireOrigin(context.trust, signer, manifest.origin);
  await verifyFiles(manifest, folder);
  if (manifest.entries === 0n) {
    refuse('INCONCLUSIVE', 'a report over no entries: there is nothing to verify');
  }
  aboutReport(context, manifest);
  noSince(context);
}

function requireOrigin(trust, signer, origin) {
  const own = origin.replace(/\/t\/([0-9a-f]{32})$/, '/r/$1');
  if (!trust.logs.some((log) => log.name === origin) || signer.name !== own) {
    refuse('REPORT_ORIGIN', `the trust file pins no log and report key for ${origin}`);
  }
}

function aboutReport(context, manifest) {
  const { framework, version, origin, period, files, entries, size } = manifest;
  Object.assign(context.facts, { id: manifest.id, origin, files: files.length, entries });
  context.said.push(
    `Report ${manifest.id} (${framework}, catalogue version ${version}) about ${origin}.`,
    `Period ${period[0]} to ${period[1]}, made of ${entries} entries` +
      `${size === undefined ? '' : ` under a checkpoint of ${size}`}.`,
    `All ${files.length} files are as they were signed, and no other lies beside them.`,
    `Controls: ${manifest.status.map(([word, count]) => `${count} ${word}`).join(', ')}.`,
  );
  context.open.push(
    'What the report says is the vault\'s word: verify the log itself to check its numbers.',
  );
}
