// Export manifests: who signed which bytes of an export, and that the files beside are these.
// docs/format.md section 15. Never reads what a line says: that is the vault's word.

import { decodeUtf8, fromHex, hex } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { parseJson, Spelled } from './json.mjs';
import { canonical } from './jcs.mjs';
import { sha256 } from './hash.mjs';
import { utf8 } from './wire.mjs';

export const EXPORT_TYPE = 'chancery/export/v1';
const NOTE = '.manifest.note';
const EVENTS = '.manifest.jsonl';
const ENDINGS = ['.part', '.sha256', EVENTS, NOTE];
const MEMBERS = ['count', 'events', 'events_sha256', 'file', 'first', 'format', 'last', 'mapping_sha256', 'preset', 'sha256', 'type'];
// WebCrypto hashes a file as a whole.
const FILE_BYTES_MAX = 1_073_741_824;

/** Names among `names` that only accompany an export whose manifest is there too. */
export function companionsOf(names) {
  const exports = names.filter((name) => name.endsWith(NOTE)).map((name) => name.slice(0, -NOTE.length));
  const beside = new Set(exports.flatMap((name) => [name, name + EVENTS, `${name}.sha256`]));
  return names.filter((name) => beside.has(name));
}

/** The members of a manifest's text; MALFORMED. */
export function readExport(text) {
  if (!text.endsWith('\n')) malformed('an export manifest ends with a line feed');
  const line = utf8(text.slice(0, -1));
  const value = parseJson(line);
  if (!(value instanceof Map) || canonical(value) !== decodeUtf8(line)) {
    malformed('an export manifest is one JSON object in RFC 8785 form');
  }
  if (value.size !== MEMBERS.length || !MEMBERS.every((name) => value.has(name))) {
    malformed(`exactly these members are expected: ${MEMBERS.join(', ')}`);
  }
  if (value.get('type') !== EXPORT_TYPE) malformed(`the type is not ${EXPORT_TYPE}`);
  const out = { file: value.get('file'), events: value.get('events'), format: value.get('format'), preset: value.get('preset') };
  if (!isName(out.file) || out.events !== out.file + EVENTS) malformed('a name that no export has');
  if (!['cef', 'leef'].includes(out.format)) malformed('an unknown format');
  if (!['tokens', 'siem', 'named'].includes(out.preset)) malformed('an unknown preset');
  for (const name of ['sha256', 'events_sha256', 'mapping_sha256']) {
    out[name] = value.get(name);
    if (fromHex(out[name], 32) === null) malformed(`${name} is 64 hex digits`);
  }
  for (const name of ['count', 'first', 'last']) out[name] = number(value.get(name), name !== 'count');
  requireSpan(out);
  return out;
}

function number(value, optional) {
  if (optional && value === null) return null;
  if (!(value instanceof Spelled) || !Number.isSafeInteger(value.value) || value.value < 0) {
    malformed('an integer below 2^53 is expected');
  }
  return value.value;
}

function requireSpan({ count, first, last }) {
  const none = count === 0 && first === null && last === null;
  const some = count > 0 && first !== null && last !== null && first <= last && count <= last - first + 1;
  if (!none && !(some && (count > 1 || first === last))) malformed('a number of lines that does not go with their indexes');
}

function isName(name) {
  return typeof name === 'string' && name.length <= 200 && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name) &&
    !ENDINGS.some((ending) => name.toLowerCase().endsWith(ending));
}

/** Requires that both files lie beside the manifest as they were signed; `beside(name)` gives one. */
export async function verifyExported(manifest, beside) {
  const { file, events } = manifest;
  for (const [name, hash] of [[file, manifest.sha256], [events, manifest.events_sha256]]) {
    const there = await beside?.(name);
    if (!there) refuse('EXPORT_FILE_MISSING', `${name} does not lie beside the manifest`, { file: name });
    if (there.size > FILE_BYTES_MAX) refuse('TOO_LARGE', `${name}: files of more than ${FILE_BYTES_MAX} bytes are not read here`);
    if (hex(await sha256(await there.read())) !== hash) {
      refuse('EXPORT_FILE_CHANGED', `${name} is not what was signed`, { file: name });
    }
  }
  if (manifest.count === 0) refuse('INCONCLUSIVE', 'an export of no lines: there is nothing to verify');
}
