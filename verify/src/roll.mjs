// Rolls of the log key: a note that both keys signed. docs/format.md section 9, Key roll.
// Never moves trust by anything else.

import { decimal, SIZE_MAX } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { utf8 } from './wire.mjs';
import { openNote, parseNote } from './note.mjs';
import { LOG_TYPE, parseVkey, sameKey } from './vkey.mjs';

/** `{ origin, old, next, until }` of a roll that both its keys signed; MALFORMED, BAD_SIGNATURE, UNTRUSTED_KEY. */
export async function readRoll(text) {
  const note = parseNote(utf8(text));
  const lines = note.text.split('\n');
  if (lines.length !== 6 || lines[1] !== 'chancery/key-roll/v1') malformed('a roll has five lines');
  const [origin, , oldLine, newLine, untilLine] = lines;
  const word = (line, name) => (line.startsWith(`${name} `) ? line.slice(name.length + 1) : malformed(`a roll names ${name}`));
  const old = await parseVkey(word(oldLine, 'old'));
  const next = await parseVkey(word(newLine, 'new'));
  const until = decimal(word(untilLine, 'until'), SIZE_MAX);
  const named = [old, next].every((key) => key.type === LOG_TYPE && key.name === origin);
  if (until === null || !named || sameKey(old, next)) malformed('the keys of a roll are two log keys of its origin');
  const signed = await openNote(note, [old, next]);
  for (const key of [old, next]) {
    if (!signed.some((one) => sameKey(one.key, key))) refuse('UNTRUSTED_KEY', 'a roll is signed by both its keys');
  }
  return { origin, old, next, until };
}
