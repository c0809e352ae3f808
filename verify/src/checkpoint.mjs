// Checkpoints (C2SP tlog-checkpoint): origin, size, root. docs/format.md section 9.
// Never says whether one is trusted: trust.mjs does.

import { equal } from './wire.mjs';
import { decimal, fromBase64, SIZE_MAX } from './text.mjs';
import { malformed } from './verdict.mjs';
import { isKeyName } from './vkey.mjs';
import { emptyRoot } from './merkle.mjs';

/** `{ origin, size, root }` of an opened note; the text is exactly three lines. */
export async function readCheckpoint(note) {
  const lines = note.text.split('\n');
  if (lines.length !== 4) malformed('a checkpoint has exactly three lines');
  const [origin, sizeText, rootText] = lines;
  if (!isKeyName(origin)) malformed('the origin of a checkpoint is the name of a key');
  const size = decimal(sizeText, SIZE_MAX);
  if (size === null) malformed('the size of a checkpoint is a decimal number below 2^63');
  const root = fromBase64(rootText);
  if (root === null || root.length !== 32) malformed('the root of a checkpoint is 32 bytes in base64');
  if (size === 0n && !equal(root, await emptyRoot())) malformed('a log of size 0 has the empty root');
  return { origin, size, root };
}

/** The tenant of an origin `<vault name>/t/<tenant hex>`, or null. */
export function tenantOf(origin) {
  const parts = /\/t\/([0-9a-f]{32})$/.exec(origin);
  return parts ? parts[1] : null;
}
