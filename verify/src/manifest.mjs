// Report manifests: a folder of files under one signed note. docs/format.md section 15.
// Never reads a report's contents: it checks who signed which bytes, and that nothing was added.

import { decimal, fromHex, hex, SIZE_MAX, time, U64_MAX } from './text.mjs';
import { refuse } from './verdict.mjs';
import { sha256 } from './hash.mjs';
import { tenantOf } from './checkpoint.mjs';

export const MANIFEST = 'manifest.note';
const STATUS = ['supported', 'exception', 'attention', 'insufficient_data', 'manual', 'n_a'];
const FILE_BYTES_MAX = 1n << 32n;

function wrong(line, why) {
  refuse('REPORT_MALFORMED', `manifest.note, line ${line}: ${why}`);
}

/** The facts of a manifest's text; REPORT_MALFORMED. */
export function readManifest(note) {
  const lines = note.text.slice(0, -1).split('\n');
  const words = (i, keyword, count) => {
    const parts = (lines[i] ?? '').split(' ');
    if (parts[0] !== keyword || parts.length !== count + 1 || parts.includes('')) {
      wrong(i + 1, `"${keyword}" and ${count} words are expected`);
    }
    return parts.slice(1);
  };
  const need = (i, value, why) => (value === null || value === false ? wrong(i + 1, why) : value);

  const facts = { origin: /^(.+)\/report\/v1$/.exec(lines[0])?.[1] ?? null };
  need(0, facts.origin, 'not a report manifest of version 1');
  [facts.id] = words(1, 'id', 1);
  need(1, fromHex(facts.id, 16), 'not 32 hex digits');
  const [framework, version, catalogue] = words(2, 'kind', 3);
  need(2, fromHex(catalogue, 32), 'no hash of a catalogue');
  Object.assign(facts, { framework, version });
  const [tenant] = words(3, 'tenant', 1);
  need(3, fromHex(tenant, 16) && tenantOf(facts.origin) === tenant, 'not the tenant of line 1');
  facts.period = words(4, 'period', 2);
  const [from, to] = facts.period.map(time);
  need(4, from !== null && to !== null && from < to, 'no period that ends after it begins');
  [facts.cutOff] = words(5, 'cut-off', 1);
  need(5, time(facts.cutOff), 'not a time');
  if (lines[6] !== 'checkpoint none') {
    const [size, root] = words(6, 'checkpoint', 2);
    facts.size = need(6, decimal(size, SIZE_MAX), 'not a tree size');
    need(6, fromHex(root, 32), 'not a root');
  }
  need(7, decimal(words(7, 'generation', 1)[0], U64_MAX), 'not a number');
  facts.entries = need(8, decimal(words(8, 'entries', 1)[0], U64_MAX), 'not a number');
  need(8, facts.size === undefined || facts.entries <= facts.size, 'more entries than the checkpoint');
  facts.status = STATUS.map((word, i) => {
    const [name, count] = words(9 + i, 'status', 2);
    need(9 + i, name === word, `the word ${word} is expected`);
    return [word, need(9 + i, decimal(count, U64_MAX), 'not a number')];
  });
  facts.files = lines.slice(15).map((_, i) => readFile(words(15 + i, 'file', 3), 15 + i));
  need(15, facts.files.length > 0, 'a report has at least one file');
  for (let i = 1; i < facts.files.length; i++) {
    need(15 + i, facts.files[i - 1].name < facts.files[i].name, 'files ascend by name');
  }
  return facts;
}

function readFile([hash, lengthText, name], i) {
  const length = decimal(lengthText, FILE_BYTES_MAX);
  if (fromHex(hash, 32) === null || length === null) wrong(i + 1, 'no hash, or no length');
  if (!isFileName(name)) wrong(i + 1, 'not a plain relative name');
  return { hash, length: Number(length), name };
}

// One or two parts of letters, digits, '.', '_', '-', none of them only dots.
function isFileName(name) {
  const parts = name.split('/');
  const plain = parts.every((part) => /^[A-Za-z0-9._-]+$/.test(part) && !/^\.+$/.test(part));
  return plain && parts.length <= 2 && name !== MANIFEST;
}

/** Requires that the folder holds exactly the manifest's files; `folder` as files.mjs has it. */
export async function verifyFiles(manifest, folder) {
  for (const file of manifest.files) {
    const there = folder.get(file.name);
    if (!there) refuse('REPORT_FILE_MISSING', `${file.name} is not there`, { file: file.name });
    const same = there.size === file.length && hex(await sha256(await there.read())) === file.hash;
    if (!same) refuse('REPORT_FILE_CHANGED', `${file.name} is not what was signed`, { file: file.name });
  }
  const listed = new Set([MANIFEST, ...manifest.files.map((file) => file.name)]);
  for (const name of folder.names()) {
    if (!listed.has(name)) {
      refuse('REPORT_FILE_UNLISTED', `${JSON.stringify(name)} lies there and was not signed`, { file: name });
    }
  }
}
