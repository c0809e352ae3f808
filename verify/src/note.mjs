// Signed notes (C2SP signed-note, tlog-cosignature). docs/format.md section 9.
// Never ignores a bad line of a known key, never takes a key from the note.

import { concat, utf8 } from './wire.mjs';
import { decodeUtf8, fromBase64, hex, SIZE_MAX } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { verifyEd25519 } from './ed25519.mjs';
import { isKeyName, LOG_TYPE } from './vkey.mjs';

export const NOTE_BYTES_MAX = 1_048_576;
const LINES_MAX = 100;

/** `{ text, lines: [{ name, idHex, blob }] }` of a note's bytes; MALFORMED otherwise. */
export function parseNote(bytes) {
  if (bytes.length > NOTE_BYTES_MAX) malformed(`a note has at most ${NOTE_BYTES_MAX} bytes`);
  const whole = decodeUtf8(bytes);
  if (whole === null) malformed('a note is UTF-8');
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0009\u000b-\u001f]/.test(whole)) malformed('a note holds a control character');
  const split = whole.lastIndexOf('\n\n');
  if (split < 0) malformed('a note has an empty line between text and signatures');
  const text = whole.slice(0, split + 1);
  const rest = whole.slice(split + 2);
  if (rest === '' || !rest.endsWith('\n')) malformed('a note ends with a signature line');
  const rows = rest.slice(0, -1).split('\n');
  if (rows.length > LINES_MAX) malformed(`a note has at most ${LINES_MAX} signature lines`);
  return { text, lines: rows.map(parseLine) };
}

function parseLine(row) {
  const words = row.split(' ');
  if (words.length !== 3 || words[0] !== '\u2014' || !isKeyName(words[1])) {
    malformed('a signature line is an em dash, a name and base64');
  }
  const blob = fromBase64(words[2]);
  if (blob === null || blob.length < 5) malformed('a signature is base64 of a key id and bytes');
  return { name: words[1], idHex: hex(blob.subarray(0, 4)), blob: blob.subarray(4) };
}

/**
 * The signatures of known keys: `[{ key, seconds }]`, `seconds` null for plain signatures.
 * BAD_SIGNATURE when a line of a known key fails, UNTRUSTED_KEY when there is none.
 */
export async function openNote(note, keys) {
  const signed = [];
  for (const line of note.lines) {
    const key = keys.find((known) => known.name === line.name && known.idHex === line.idHex);
    if (!key) continue;
    const seconds = await verifyLine(note.text, line, key);
    if (seconds === false) {
      refuse('BAD_SIGNATURE', `the signature of ${key.name} (${key.idHex}) does not verify`);
    }
    signed.push({ key, seconds });
  }
  if (signed.length === 0) refuse('UNTRUSTED_KEY', 'no signature is by a key of the trust file');
  return signed;
}

// null for a good plain signature, the time of a good cosignature, false for a bad one.
async function verifyLine(text, { blob }, { type, key }) {
  if (type === LOG_TYPE) {
    return (await verifyEd25519(key, utf8(text), blob)) ? null : false;
  }
  if (blob.length !== 72) return false;
  const seconds = new DataView(blob.buffer, blob.byteOffset, 8).getBigUint64(0);
  if (seconds > SIZE_MAX) return false;
  const message = concat(utf8(`cosignature/v1\ntime ${seconds}\n`), utf8(text));
  return (await verifyEd25519(key, message, blob.subarray(8))) ? seconds : false;
}
