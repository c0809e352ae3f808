// Proof files: inclusion (C2SP tlog-proof) and consistency. docs/format.md section 9.
// Never passes without an ENTRY to speak of, never reads the entry before its leaf is proven.

import { equal, utf8 } from './wire.mjs';
import { decimal, decodeUtf8, fromBase64, U64_MAX } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { tenantOf } from './checkpoint.mjs';
import { parseNote } from './note.mjs';
import { consistencyHolds, leafHash, verifyInclusion } from './merkle.mjs';
import { decodeEntry, tenantHex } from './entry.mjs';

export const PROOF_LINE = 'c2sp.org/tlog-proof@v1';
const HASHES_MAX = 63;
const EXTRA_BYTES_MAX = 131_072;

function extraOf(text) {
  const extra = fromBase64(text);
  if (extra === null || extra.length === 0 || extra.length > EXTRA_BYTES_MAX) {
    malformed(`extra is base64 of 1 to ${EXTRA_BYTES_MAX} bytes`);
  }
  return extra;
}

// The lines up to the empty one, and the bytes of the note behind it.
function splitProof(bytes) {
  const text = decodeUtf8(bytes);
  if (text === null) malformed('a proof is UTF-8');
  const split = text.indexOf('\n\n');
  if (split < 0) malformed('a proof has an empty line before its checkpoint');
  return { lines: text.slice(0, split).split('\n'), noteBytes: utf8(text.slice(split + 2)) };
}

function hashesOf(lines) {
  if (lines.length > HASHES_MAX) malformed(`a proof has at most ${HASHES_MAX} hashes`);
  return lines.map((line) => {
    const hash = fromBase64(line);
    if (hash === null || hash.length !== 32) malformed('a hash of the proof is 32 bytes in base64');
    return hash;
  });
}

/** `{ extra, index, hashes, note }`; extra is null when the line is missing. */
export function parseProof(bytes) {
  const { lines, noteBytes } = splitProof(bytes);
  if (lines.shift() !== PROOF_LINE) malformed(`the first line is not ${PROOF_LINE}`);
  const extra = lines[0]?.startsWith('extra ') ? extraOf(lines.shift().slice(6)) : null;
  const indexLine = lines.shift() ?? '';
  const index = indexLine.startsWith('index ') ? decimal(indexLine.slice(6), U64_MAX) : null;
  if (index === null) malformed('the line `index <index>` is missing or wrong');
  const hashes = hashesOf(lines);
  return { extra, index, hashes, note: parseNote(noteBytes) };
}

/** Verifies a parsed proof against its opened checkpoint; gives the entry. */
export async function verifyProof({ extra, index, hashes }, checkpoint) {
  if (extra === null) malformed('the proof carries no entry: there is nothing to believe');
  const leaf = await leafHash(extra);
  const { size, root, origin } = checkpoint;
  await verifyInclusion({ leaf, index, size, proof: hashes, root });
  const entry = decodeEntry(extra);
  if (entry.index !== index) {
    refuse('INDEX_OR_PREV_MISMATCH', `the entry says index ${entry.index}, the proof ${index}`);
  }
  if (tenantOf(origin) !== tenantHex(entry)) {
    refuse('TENANT_MISMATCH', 'the entry belongs to another tenant than the log');
  }
  return entry;
}

/** `{ oldSize, hashes, note }` of a consistency proof file. */
export function parseConsistency(bytes) {
  const { lines, noteBytes } = splitProof(bytes);
  const first = lines.shift();
  const oldSize = first.startsWith('old ') ? decimal(first.slice(4), U64_MAX) : null;
  if (oldSize === null) malformed('the first line is not `old <size>`');
  return { oldSize, hashes: hashesOf(lines), note: parseNote(noteBytes) };
}

/** Requires that `proof` joins the checkpoint kept from before to the newer one. */
export async function verifyConsistency(proof, older, newer) {
  if (older.origin !== newer.origin) {
    refuse('TENANT_MISMATCH', 'the two checkpoints are of different logs');
  }
  if (older.size === newer.size && !equal(older.root, newer.root)) {
    refuse('EQUIVOCATION', `two roots of one log at size ${newer.size}: keep both checkpoints`);
  }
  if (newer.size < older.size) {
    refuse('ROLLED_BACK', `the log had ${older.size} entries before and has ${newer.size} now`);
  }
  const holds =
    proof.oldSize === older.size &&
    (await consistencyHolds({
      oldSize: older.size,
      oldRoot: older.root,
      size: newer.size,
      root: newer.root,
      proof: proof.hashes,
    }));
  if (!holds) {
    refuse('INCONSISTENT', 'the proof does not join the two checkpoints: keep both');
  }
}
