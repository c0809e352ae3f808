// Many pieces of evidence, one a line: NDJSON in, NDJSON out. For tests that compare verifiers.
// In:  {"id","name","files":{"path":"<base64>"},"trust":"<text>"|null,"since":"<base64>"|null}
// Out: {"id","exit","verdict"}; with --explain also "message". Never stops at a bad line of
// evidence; a line that is no such object ends it with exit 2.

import { createInterface } from 'node:readline';
import { judgeAny } from './src/any.mjs';
import { Folder, memoryFile } from './src/files.mjs';
import { utf8 } from './src/wire.mjs';

process.removeAllListeners('warning');

const explain = process.argv.includes('--explain');

function bytesOf(base64) {
  return new Uint8Array(Buffer.from(base64, 'base64'));
}

async function answer(line) {
  const { id, name, files, trust, since } = JSON.parse(line);
  const entries = Object.entries(files).map(([path, data]) => [path, memoryFile(bytesOf(data))]);
  const single = entries.length === 1 && !entries[0][0].includes('/');
  const all = new Map(entries);
  // Of several files the one that is named is the evidence, and the others lie beside it.
  const evidence = single
    ? { name: name ?? entries[0][0], file: entries[0][1] }
    : all.has(name)
      ? { name, file: all.get(name), beside: (other) => all.get(other) }
      : { name, folder: new Folder(entries) };
  const verdict = await judgeAny(evidence, {
    trustBytes: trust === null || trust === undefined ? null : utf8(trust),
    sinceBytes: since === null || since === undefined ? null : bytesOf(since),
  });
  const line2 = { id, exit: verdict.exit, verdict: verdict.code };
  return JSON.stringify(explain ? { ...line2, message: verdict.message } : line2);
}

const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
for await (const line of lines) {
  if (line.trim() === '') continue;
  process.stdout.write(`${await answer(line)}\n`);
}
