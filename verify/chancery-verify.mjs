#!/usr/bin/env node
// chancery-verify PATH [--trust FILE] [--since FILE] [--replay-seals all|none|N%] [--seed TEXT] [--json]
// The second verifier, on the command line. Never writes a file, never uses the network.
// Exit: 0 verified, 1 evidence failed, 2 usage, 3 could not check, 4 inconclusive.

import { parseArgs } from 'node:util';
import { judgeAny } from './src/any.mjs';
import { bytesAt, evidenceAt } from './src/disk.mjs';
import { EXIT, exitOf, Refusal, refuse } from './src/verdict.mjs';
import { asJson, asText } from './src/sentences.mjs';
import { plain } from './src/text.mjs';
import { utf8 } from './src/wire.mjs';

process.removeAllListeners('warning');

const HELP = `Usage: node chancery-verify.mjs PATH [options]

  PATH                  checkpoint, proof, disclosure, receipt, ledger, range or answer file,
                        report folder (or the same as .zip), or a vault's data directory
  --trust FILE          pinned keys, obtained by another way than the evidence
  --since FILE          checkpoint kept from before: the log must extend it
  --replay-seals N      compute the seals of all epochs anew ("all", the default), of N%, or "none"
  --seed TEXT           makes a sample of N% one that the vault could not foresee
  --json                one JSON object instead of sentences

Exit codes: 0 verified, 1 evidence failed, 2 usage, 3 could not check, 4 inconclusive.
`;

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        trust: { type: 'string' },
        since: { type: 'string' },
        'replay-seals': { type: 'string' },
        seed: { type: 'string', default: '' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    return refuse('USAGE', error.message);
  }
}

function replayOf(values) {
  const word = values['replay-seals'] ?? 'all';
  const words = { all: 100, none: 0 };
  const percent = Object.hasOwn(words, word) ? words[word] : Number(/^([0-9]{1,3})%$/.exec(word)?.[1] ?? NaN);
  if (!(percent >= 0 && percent <= 100)) refuse('USAGE', '--replay-seals takes all, none or 0% to 100%');
  return { percent, seed: utf8(values.seed), asked: values['replay-seals'] !== undefined };
}

async function main() {
  const { values, positionals } = readArguments();
  if (values.help) {
    process.stdout.write(HELP);
    return EXIT.VERIFIED;
  }
  if (positionals.length !== 1) refuse('USAGE', 'name one file or directory; --help shows how');
  const options = {
    trustBytes: values.trust === undefined ? null : await bytesAt(values.trust),
    sinceBytes: values.since === undefined ? null : await bytesAt(values.since),
    replay: replayOf(values),
  };
  const verdict = await judgeAny(await evidenceAt(positionals[0]), options);
  process.stdout.write(values.json ? `${asJson(verdict)}\n` : asText(verdict));
  return verdict.exit;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  process.stderr.write(`chancery-verify: ${error.code}: ${plain(error.message)}\n`);
  process.exitCode = exitOf(error.code);
}
