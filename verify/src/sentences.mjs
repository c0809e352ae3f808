// A verdict in words, for people and as JSON. Never softens one, never adds to it. What evidence
// says may hold anything: on its way to a reader each sentence is made plain.

import { plain, plainJson } from './text.mjs';
import { EXIT } from './verdict.mjs';

const HEADLINES = new Map([
  [EXIT.VERIFIED, 'VERIFIED'],
  [EXIT.FAILED, 'FAILED'],
  [EXIT.USAGE, 'NOT CHECKED'],
  [EXIT.UNREADABLE, 'NOT CHECKED'],
  [EXIT.INCONCLUSIVE, 'INCONCLUSIVE'],
]);

export const NO_TRUST =
  'No trust file was given: consistent with itself; signer unknown. Anybody could have made this. ' +
  'Get the trust file, or the fingerprints of its keys, by another way than the evidence.';

function isUnsigned({ trusted, code, message }) {
  return !trusted && code === 'INCONCLUSIVE' && message.startsWith('consistent');
}

export function headline(verdict) {
  const word = HEADLINES.get(verdict.exit);
  return isUnsigned(verdict) ? `${word}: signer unknown` : word;
}

/** The title over what was checked: without trust it only agrees with itself. */
export function checkedTitle(verdict) {
  return verdict.trusted ? 'What was checked' : 'What agrees with itself';
}

/** The one sentence under the headline. */
export function summary(verdict) {
  const what = verdict.kind === null ? 'This' : `This ${verdict.kind}`;
  switch (verdict.exit) {
    case EXIT.VERIFIED:
      return `${what} is what the pinned keys signed, and everything below was checked.`;
    case EXIT.FAILED:
      if (verdict.code === 'FAILED') return `${what} does not hold: ${verdict.message}.`;
      return `${what} does not hold: ${verdict.code}. ${sentence(verdict.message)}`;
    case EXIT.INCONCLUSIVE:
      if (isUnsigned(verdict)) return NO_TRUST;
      return `${what} could not be judged: ${verdict.code}. ${sentence(verdict.message)}`;
    default:
      return `${what} was not checked: ${verdict.code}. ${sentence(verdict.message)}`;
  }
}

/** `1 unit`, `2 units`. */
export function count(number, one, many = `${one}s`) {
  return `${number} ${BigInt(number) === 1n ? one : many}`;
}

function sentence(text) {
  const whole = /[.!?]$/.test(text) ? text : `${text}.`;
  return whole[0].toUpperCase() + whole.slice(1);
}

/** `Entry 7: CODE: words` of one finding. */
export function findingText({ code, message, index, fails }) {
  const where = index === null ? '' : `entry ${index}: `;
  return `${fails ? '' : 'attention, '}${where}${code}: ${message}`;
}

const SHOWN = 50;

export function asText(verdict) {
  const lines = [`${headline(verdict)}  ${summary(verdict)}`];
  const passed = verdict.exit === EXIT.VERIFIED || verdict.exit === EXIT.INCONCLUSIVE || verdict.failures.length > 0;
  if (verdict.failures.length > 0) {
    lines.push('', 'Found:', ...verdict.failures.slice(0, SHOWN).map((one) => `  - ${findingText(one)}`));
    if (verdict.failures.length > SHOWN) lines.push(`  - and ${verdict.failures.length - SHOWN} more`);
  }
  if (passed && verdict.said.length > 0) lines.push('', `${checkedTitle(verdict)}:`, ...verdict.said.map((one) => `  - ${one}`));
  if (passed && verdict.open.length > 0) lines.push('', 'What this does not show:', ...verdict.open.map((one) => `  - ${one}`));
  return `${lines.map(plain).join('\n')}\n`;
}

export function asJson(verdict) {
  const text = (_, value) => (typeof value === 'bigint' ? String(value) : value);
  const { kind, code, exit, message, said, open, facts, failures } = verdict;
  return plainJson(JSON.stringify({ verdict: code, exit, kind, message, checked: said, open, facts, findings: failures }, text));
}
