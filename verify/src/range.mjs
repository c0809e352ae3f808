// Range files: every entry of a range or a window, none left out. docs/format.md section 11.
// Never holds more than a chunk of entries, but for the tables of an epoch that is replayed.

import { equal } from './wire.mjs';
import { malformed, refuse } from './verdict.mjs';
import { parseNote } from './note.mjs';
import { readPart } from './part.mjs';
import { edgesOf, ENTRIES_MAX, readScope, requireBoundary, scopeText, Shown } from './scope.mjs';
import { Replay } from './replay.mjs';

const NOTE_MAX = 1_048_576;

/** A note behind its length, 1 byte to 1 MiB. */
export async function readNote(stream) {
  const length = (await stream.fields(4)).u32();
  if (length < 1 || length > NOTE_MAX) malformed('a checkpoint of 1 byte to 1 MiB is expected');
  return parseNote((await stream.take(length)).slice());
}

/** Judges what follows the first line of a range file; `open` opens its checkpoint. */
export async function judgeRange(stream, context, open) {
  const scope = readScope(await stream.fields(33));
  const note = await readNote(stream);
  const { origin, size, root } = await open(context, note);
  if (size === 0n || scope.b > size) refuse('PROOF_RANGE', `the range ends beyond the ${size} entries of the log`);
  const first = scope.a === 0n ? 0n : scope.a - 1n;
  const end = scope.b === size ? size : scope.b + 1n;
  if (end - first > ENTRIES_MAX) malformed(`more than ${ENTRIES_MAX} entries in one file`);
  const shown = new Shown(origin);
  const edges = edgesOf(scope, size);
  const replay = new Replay(context.replay, root, { first, end });
  const part = await readPart(stream, {
    size, most: 63, runs: [{ start: first, end }],
    readLeaf: () => stream.lp16(),
    take: async (place, bytes, leaf) => {
      const entry = shown.take(place, bytes, leaf, edges);
      await replay.take(place, leaf, entry);
    },
  });
  stream.end();
  if (!equal(part.root, root)) refuse('PROOF_ROOT', 'the entries shown do not lead to the signed root');
  say(context, scope);
  requireBoundary(scope, shown.times, size);
  await replay.finish(context);
}

function say(context, scope) {
  const count = scope.b - scope.a;
  Object.assign(context.facts, { first: scope.a, end: scope.b });
  context.said.push(
    count === 0n
      ? `There is no entry for ${scopeText(scope)} in this log.`
      : `These are all ${count} entries for ${scopeText(scope)}: ${scope.a} to ${scope.b - 1n}, none left out.`,
  );
  context.open.push('Events that were never submitted leave no trace here.');
}

