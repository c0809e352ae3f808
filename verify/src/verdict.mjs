// What a check ends with: a code, an exit code and a sentence.
// Never holds evidence; never decides. Codes are those of docs/errors.md, exits those of
// docs/format.md section 12.

export const EXIT = { VERIFIED: 0, FAILED: 1, USAGE: 2, UNREADABLE: 3, INCONCLUSIVE: 4 };

const EXIT_OF = new Map([
  ['VERIFIED', EXIT.VERIFIED],
  ['USAGE', EXIT.USAGE],
  ['TRUST_POLICY', EXIT.USAGE],
  ['FILE_IO', EXIT.UNREADABLE],
  ['TOO_LARGE', EXIT.UNREADABLE],
  ['STORE_CORRUPT', EXIT.UNREADABLE],
  ['STORE_TOO_NEW', EXIT.INCONCLUSIVE],
  ['INCONCLUSIVE', EXIT.INCONCLUSIVE],
  ['UNTRUSTED_KEY', EXIT.INCONCLUSIVE],
  ['QUORUM_MISSING', EXIT.INCONCLUSIVE],
  ['RANGE_OPEN_END', EXIT.INCONCLUSIVE],
]);

/** A check that did not pass. `code` is stable, `message` is for people. */
export class Refusal extends Error {
  constructor(code, message, where = {}) {
    super(message);
    this.name = 'Refusal';
    this.code = code;
    this.where = where;
  }
}

export function refuse(code, message, where) {
  throw new Refusal(code, message, where);
}

export function malformed(message, where) {
  throw new Refusal('MALFORMED', message, where);
}

export function exitOf(code) {
  return EXIT_OF.get(code) ?? EXIT.FAILED;
}
