// Which kind of evidence a file is, read from the file itself. docs/format.md section 12.
// Never judges: what it cannot place is MALFORMED.

import { decodeUtf8 } from './text.mjs';
import { malformed } from './verdict.mjs';
import { DISCLOSURE_FORMAT } from './disclosure.mjs';

export const KIND = {
  CHECKPOINT: 'checkpoint',
  INCLUSION: 'inclusion proof',
  CONSISTENCY: 'consistency proof',
  DISCLOSURE: 'disclosure',
  RECEIPT: 'erasure receipt',
  LEDGER: 'erasure ledger',
  REPORT: 'report',
  VAULT: 'vault',
};

export function kindOf(bytes) {
  const text = decodeUtf8(bytes);
  if (text === null) malformed('not UTF-8: no proof, disclosure, receipt, ledger or checkpoint');
  const [first, second] = text.split('\n', 2);
  if (first.startsWith('c2sp.org/tlog-proof@')) return KIND.INCLUSION;
  if (/^old [0-9]+$/.test(first)) return KIND.CONSISTENCY;
  if (text.startsWith('{') && text.includes(`"${DISCLOSURE_FORMAT}"`)) return KIND.DISCLOSURE;
  if (first.endsWith('/erasure-receipt/v1')) return KIND.RECEIPT;
  if (first.endsWith('/erasure-ledger/v1')) return KIND.LEDGER;
  if (/^[0-9]+$/.test(second ?? '') && text.includes('\n\u2014 ')) return KIND.CHECKPOINT;
  malformed('no proof, disclosure, receipt, ledger, checkpoint, report or vault of a known version');
}
