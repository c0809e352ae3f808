// Claims: what a vault says the keys of an answer stand for. docs/format.md section 11, Claim.
// Never believes one: the report key says it, and is held to it.

import { decimal, hex } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { parseJson } from './json.mjs';
import { canonical } from './jcs.mjs';
import { utf8 } from './wire.mjs';

const END = '/answer-claim/v1';

function jsonText(text) {
  const value = parseJson(utf8(text));
  if (typeof value !== 'string' || canonical(value) !== text) malformed('a name in a claim is one JSON string');
  return value;
}

/** `{ signer, checkpoint, keys: [hex], names: [text], limits }` of a claim's note. */
export function readClaim(note, rowKind) {
  const lines = note.text.slice(0, -1).split('\n');
  if (!lines[0].endsWith(END)) malformed('no answer claim of version 1');
  const claim = { signer: lines[0].slice(0, -END.length), checkpoint: lines[1] ?? '', keys: [], names: [] };
  if (!/\/r\/[0-9a-f]{32}$/.test(claim.signer)) malformed('a claim begins with <vault>/r/<tenant>');
  const [, size, root] = /^checkpoint ([0-9]+) ([0-9a-f]{64})$/.exec(claim.checkpoint) ?? malformed('a claim names its checkpoint');
  Object.assign(claim, { size: decimal(size, (1n << 63n) - 1n) ?? malformed('a claim names a tree size'), root });
  let at = 2;
  at = rowKind === 1 ? readSubjects(lines, at, claim) : readSources(lines, at, claim);
  const limits = /^limits (.+)$/.exec(lines[at] ?? '');
  if (!limits || at + 1 !== lines.length) malformed('a claim ends with its limits');
  return { ...claim, limits: limits[1] };
}

function readSubjects(lines, from, claim) {
  let at = from;
  while (lines[at]?.startsWith('subject ')) claim.names.push(jsonText(lines[at++].slice(8)));
  while (lines[at]?.startsWith('key ')) {
    const parts = /^key ([0-9a-f]{32}) ([0-9]+) ([0-9]{4})-(0[1-9]|1[0-2])$/.exec(lines[at++]);
    if (!parts || decimal(parts[2], 65_535n) === null || Number(parts[3]) < 1970) malformed('a key line of a claim is wrong');
    claim.keys.push(parts[1]);
  }
  if (claim.names.length === 0 || !claim.names.every((name) => name.includes(':'))) malformed('a claim names its subject');
  return at;
}

function readSources(lines, from, claim) {
  let at = from;
  while (lines[at]?.startsWith('source ')) {
    const parts = /^source ([0-9a-f]{32}) (.+)$/.exec(lines[at++]);
    if (!parts) malformed('a source line of a claim is wrong');
    claim.keys.push(parts[1]);
    claim.names.push(jsonText(parts[2]));
  }
  return at;
}

/** Requires that the claim is about this log, this checkpoint and these keys. */
export function requireClaim(claim, { origin, size, root }, keys) {
  if (claim.signer.replace(/\/r\/([0-9a-f]{32})$/, '/t/$1') !== origin) {
    refuse('TENANT_MISMATCH', 'the claim is of another log');
  }
  const same = claim.keys.length === keys.length && claim.keys.every((key, i) => key === hex(keys[i]));
  if (claim.size !== size || claim.root !== hex(root) || !same) {
    refuse('QUERY_CLAIM', 'the claim is about another checkpoint, or about other keys');
  }
}

