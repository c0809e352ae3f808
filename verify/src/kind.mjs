// Which kind of evidence a file is, read from the file itself. docs/format.md section 12.
// Never judges: what it cannot place is MALFORMED.

import { decodeUtf8 } from './text.mjs';
import { malformed, refuse } from './verdict.mjs';
import { DISCLOSURE_FORMAT } from './disclosure.mjs';
import { EXPORT_TYPE } from './exported.mjs';

export const KIND = {
  CHECKPOINT: 'checkpoint',
  INCLUSION: 'inclusion proof',
  CONSISTENCY: 'consistency proof',
  DISCLOSURE: 'disclosure',
  EXPORT: 'export manifest',
  RECEIPT: 'erasure receipt',
  LEDGER: 'erasure ledger',
  REPORT: 'report',
  RANGE: 'range file',
  ANSWER: 'answer file',
  VAULT: "vault's data",
};

const FRONT = 64;

/** Range or answer by the first line of a file's front, or null; STORE_TOO_NEW for other versions. */
export function binaryKindOf(front) {
  const [line, rest] = String.fromCharCode(...front.subarray(0, FRONT)).split('\n');
  const parts = /^chancery\/(range|answer)\/(.*)$/s.exec(line);
  if (!parts) return null;
  if (parts[2] !== 'v1' || rest === undefined) {
    refuse('STORE_TOO_NEW', 'a range or answer file of another version');
  }
  return parts[1] === 'range' ? KIND.RANGE : KIND.ANSWER;
}

export function kindOf(bytes) {
  const text = decodeUtf8(bytes);
  if (text === null) malformed('not UTF-8: no proof, disclosure, receipt, ledger or checkpoint');
  const [first, second] = text.split('\n', 2);
  if (first.startsWith('c2sp.org/tlog-proof@')) return KIND.INCLUSION;
  if (/^old [0-9]+$/.test(first)) return KIND.CONSISTENCY;
  if (text.startsWith('{') && text.includes(`"${DISCLOSURE_FORMAT}"`)) return KIND.DISCLOSURE;
  if (text.startsWith('{') && text.includes(`"${EXPORT_TYPE}"`)) return KIND.EXPORT;
  if (first.endsWith('/erasure-receipt/v1')) return KIND.RECEIPT;
  if (first.endsWith('/erasure-ledger/v1')) return KIND.LEDGER;
  if (/^[0-9]+$/.test(second ?? '') && text.includes('\n\u2014 ')) return KIND.CHECKPOINT;
  malformed('no proof, disclosure, receipt, ledger, checkpoint, report or vault of a known version');
}
