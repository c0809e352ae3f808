// Erasure receipts and ledgers: notes of the report key. docs/format.md section 15.
// Never says that a key is gone: it checks who said so, and that the words are whole.

import { utf8 } from './wire.mjs';
import { decimal, fromBase64, fromHex, SIZE_MAX, time, U64_MAX } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { parseNote } from './note.mjs';

const RECEIPT_END = '/erasure-receipt/v1';
const LEDGER_END = '/erasure-ledger/v1';

/** `{ note, signer, tenant, lines }`; signer is the name the first line gives to the report key. */
export function parseStatement(bytes) {
  const note = parseNote(bytes);
  const lines = note.text.slice(0, -1).split('\n');
  const end = [RECEIPT_END, LEDGER_END].find((one) => lines[0].endsWith(one));
  if (!end) malformed('the first line names no receipt and no ledger of version 1');
  return { note, kind: end, signer: lines[0].slice(0, -end.length), lines };
}

// Each line has one keyword; `each(words)` says whether the rest of it is right.
class Lines {
  constructor(lines) {
    this.lines = lines;
    this.at = 1;
  }

  peek(keyword) {
    return this.lines[this.at]?.startsWith(`${keyword} `) ?? false;
  }

  text(keyword) {
    if (!this.peek(keyword)) malformed(`line ${this.at + 1}: "${keyword} ..." is expected`);
    return this.lines[this.at++].slice(keyword.length + 1);
  }

  words(keyword, count) {
    const words = this.text(keyword).split(' ');
    if (words.length !== count || words.includes('')) this.wrong(keyword);
    return words;
  }

  wrong(keyword) {
    malformed(`line ${this.at}: the words behind "${keyword}" are wrong`);
  }

  need(keyword, value) {
    if (value === null || value === false) this.wrong(keyword);
    return value;
  }

  end() {
    if (this.at !== this.lines.length) malformed(`line ${this.at + 1}: nothing is expected here`);
  }
}

function tenantLine(reader, statement) {
  const tenant = fromHex(reader.text('tenant'), 16);
  reader.need('tenant', tenant);
  const named = /\/r\/([0-9a-f]{32})$/.exec(statement.signer);
  if (!named) malformed('the first line does not begin with <vault>/r/<tenant>');
  if (statement.lines[1] !== `tenant ${named[1]}`) {
    refuse('TENANT_MISMATCH', 'the first two lines name different tenants');
  }
  return named[1];
}

/** The facts of a receipt; MALFORMED or TENANT_MISMATCH. */
export function readReceipt(statement) {
  const reader = new Lines(statement.lines);
  const facts = { tenant: tenantLine(reader, statement) };
  facts.job = reader.text('erasure');
  reader.need('erasure', fromHex(facts.job, 16));
  facts.basis = reader.text('basis');
  reader.need('basis', /^[A-Za-z0-9._:-]{1,64}$/.test(facts.basis));
  facts.mode = reader.text('mode');
  reader.need('mode', ['two-person', 'single-operator', 'scheduled'].includes(facts.mode));
  facts.requested = act(reader, 'requested');
  facts.completed = act(reader, 'completed');
  reader.need('completed', facts.requested.index < facts.completed.index);
  if (reader.peek('final')) {
    facts.final = act(reader, 'final');
    reader.need('final', facts.completed.index < facts.final.index);
  }
  facts.root = change(reader);
  facts.store = reader.text('store');
  reader.need('store', facts.store === 'D');
  facts.replicas = reader.text('replicas');
  reader.need('replicas', /^(0|[1-9][0-9]{0,2})\/(0|[1-9][0-9]{0,2})( E2-partial)?$/.test(facts.replicas));
  reader.need('replicas', !(facts.final && facts.replicas.endsWith('partial')));
  facts.classes = reader.text('classes');
  reader.need('classes', facts.classes === '-' || facts.classes.split(' ').every(isName));
  facts.records = reader.text('records');
  reader.need('records', facts.records === '-' ? true : decimal(facts.records, U64_MAX));
  facts.deferred = [];
  while (reader.peek('deferred')) facts.deferred.push(deferred(reader));
  facts.limits = reader.text('limits');
  reader.need('limits', facts.limits !== '');
  reader.end();
  return facts;
}

function isName(word) {
  return /^[^\s\p{Cc}]+$/u.test(word);
}

function act(reader, keyword) {
  const [index, leaf, when] = reader.words(keyword, 3);
  reader.need(keyword, fromBase64(leaf)?.length === 32);
  reader.need(keyword, time(when));
  return { index: reader.need(keyword, decimal(index, SIZE_MAX)), leaf, when };
}

function change(reader) {
  const [from, arrow, to, before, after] = reader.words('root', 5);
  const [older, newer] = [decimal(from, U64_MAX), decimal(to, U64_MAX)];
  reader.need('root', arrow === '->' && older !== null && newer !== null && newer === older + 1n);
  reader.need('root', fromBase64(before)?.length === 32 && fromBase64(after)?.length === 32);
  return { from: older, to: newer, before, after };
}

function deferred(reader) {
  const words = reader.text('deferred').split(' ');
  const [name, why, due] = words;
  const law = words.slice(3).join(' ');
  reader.need('deferred', isName(name ?? '') && (why === 'floor' || why === 'hold') && law !== '');
  reader.need('deferred', due === '-' || time(due));
  return { name, why, due, law };
}

/** The facts of a ledger; MALFORMED or TENANT_MISMATCH. */
export function readLedger(statement) {
  const reader = new Lines(statement.lines);
  const facts = { tenant: tenantLine(reader, statement), erased: [] };
  const [generation, birth] = reader.words('generation', 2);
  facts.generation = reader.need('generation', decimal(generation, U64_MAX));
  reader.need('generation', fromHex(birth, 32));
  facts.log = reader.need('log', decimal(reader.text('log'), SIZE_MAX));
  let last = '';
  while (reader.peek('erased') || reader.peek('erased-in-part')) {
    const line = erased(reader, facts.log);
    if (line.job <= last) malformed(`line ${reader.at}: erasures ascend by job`);
    last = line.job;
    facts.erased.push(line);
  }
  reader.end();
  return facts;
}

function erased(reader, log) {
  const keyword = reader.peek('erased') ? 'erased' : 'erased-in-part';
  const [job, indexText, ...persons] = reader.text(keyword).split(' ');
  const index = decimal(indexText ?? '', SIZE_MAX);
  reader.need(keyword, fromHex(job, 16) !== null && index !== null && index < log);
  reader.need(keyword, persons.length > 0 && persons.every((one) => fromHex(one, 16) !== null));
  return { part: keyword === 'erased-in-part', job, index, persons };
}

export function isReceipt(statement) {
  return statement.kind === RECEIPT_END;
}

export function textOf(statement) {
  return utf8(statement.note.text);
}
