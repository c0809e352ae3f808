// Disclosures: chosen fields of one record, checked against the commitments of its entry.
// docs/format.md sections 5 and 9. Never accepts some of the fields.

import { compare, concat, equal, lp32, lp8, utf8 } from './wire.mjs';
import { decodeUtf8, fromHex } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { parseJson, Spelled } from './json.mjs';
import { canonical } from './jcs.mjs';
import { parseProof } from './proof.mjs';
import { sha256 } from './hash.mjs';

export const DISCLOSURE_FORMAT = 'chancery/disclosure/v1';
export const DISCLOSURE_BYTES_MAX = 16_777_216;

/** `{ fields: [{ group, name, salt, value }], proof }` with the proof parsed. */
export function parseDisclosure(bytes) {
  const body = bytes[bytes.length - 1] === 0x0a ? bytes.subarray(0, -1) : bytes;
  const value = parseJson(body, DISCLOSURE_BYTES_MAX);
  if (!(value instanceof Map) || canonical(value) !== decodeUtf8(body)) {
    malformed('a disclosure is one JSON object in RFC 8785 form');
  }
  members(value, ['fields', 'format', 'proof']);
  if (value.get('format') !== DISCLOSURE_FORMAT) malformed(`the format is not ${DISCLOSURE_FORMAT}`);
  const proof = value.get('proof');
  if (typeof proof !== 'string') malformed('the proof is a string');
  return { fields: parseFields(value.get('fields')), proof: parseProof(utf8(proof)) };
}

function members(value, names) {
  if (!(value instanceof Map)) malformed('an object is expected');
  if (value.size !== names.length || !names.every((name) => value.has(name))) {
    malformed(`exactly these members are expected: ${names.join(', ')}`);
  }
}

function parseFields(list) {
  if (!Array.isArray(list) || list.length === 0) malformed('a disclosure has at least one field');
  return list.map(parseField);
}

function parseField(item) {
  members(item, ['group', 'name', 'salt', 'value']);
  const number = item.get('group');
  const group = number instanceof Spelled ? number.value : -1;
  if (!Number.isInteger(group) || group < 0 || group > 255) malformed('a group is 0 to 255');
  const name = item.get('name');
  const value = item.get('value');
  if (typeof name !== 'string' || typeof value !== 'string') malformed('name and value are strings');
  parseJson(utf8(value));
  const nameBytes = utf8(name);
  const salt = fromHex(item.get('salt'), 32);
  if (salt === null) malformed('a salt is 64 hex digits');
  return { group, name, nameBytes, salt, value };
}

/** commit of docs/format.md section 5. */
export function commitment(recordId, { group, salt, nameBytes, value }) {
  const message = concat(
    Uint8Array.of(0x10, 0x02), recordId, Uint8Array.of(group), salt, lp8(nameBytes), lp32(utf8(value)),
  );
  return sha256(message);
}

/** Requires fields in ascending order, each the one its entry commits to. */
export async function verifyFields(fields, entry) {
  for (const [i, field] of fields.entries()) {
    if (i > 0 && compare(fields[i - 1].nameBytes, field.nameBytes) >= 0) {
      refuse('DISCLOSURE_FIELD_MISMATCH', 'the disclosed fields are not in ascending order');
    }
    const sealed = entry.fields.find((one) => one.name === field.name);
    const same =
      sealed !== undefined &&
      sealed.group === field.group &&
      equal(await commitment(entry.recordId, field), sealed.commitment);
    if (!same) {
      refuse('DISCLOSURE_FIELD_MISMATCH', `the field ${JSON.stringify(field.name)} is not what entry ${entry.index} commits to`);
    }
  }
}
