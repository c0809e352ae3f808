// The trust file: keys pinned from outside, and what a trusted checkpoint is.
// docs/format.md section 9. Never takes a key from the evidence; never repairs a line.

import { decimal, decodeUtf8, fromBase64, hex, SIZE_MAX } from './text.mjs';
import { refuse, Refusal } from './verdict.mjs';
import { LOG_TYPE, parseVkey, sameKey, WITNESS_TYPE } from './vkey.mjs';
import { openNote } from './note.mjs';
import { parseCertificate } from './x509.mjs';
import { readCheckpoint } from './checkpoint.mjs';

const BYTES_MAX = 262_144;
const ITEMS_MAX = 256;

export class Trust {
  constructor() {
    this.logs = [];
    this.witnesses = new Map();
    this.groups = new Map();
    this.reports = [];
    this.authorities = new Map();
    this.until = new Map();
    this.quorum = null;
    this.grouped = new Set();
  }

  /** Keys that sign checkpoints. */
  get checkpointKeys() {
    return [...this.logs, ...this.witnesses.values()];
  }

  get allKeys() {
    return [...this.checkpointKeys, ...this.reports];
  }
}

function bad(line, why) {
  refuse('TRUST_POLICY', `trust file${line ? `, line ${line}` : ''}: ${why}`);
}

/** A Trust from the file's bytes; TRUST_POLICY names the line that is wrong. */
export async function parseTrust(bytes) {
  if (bytes.length > BYTES_MAX) bad(0, `longer than ${BYTES_MAX} bytes`);
  const text = decodeUtf8(bytes);
  if (text === null) bad(0, 'not UTF-8');
  if (!text.endsWith('\n')) bad(0, 'empty, or the last line does not end with a line feed');
  const trust = new Trust();
  const lines = text.slice(0, -1).split('\n');
  for (const [i, line] of lines.entries()) await readLine(trust, line, i + 1);
  if (trust.quorum === null) bad(0, 'there is no quorum line');
  return trust;
}

async function readLine(trust, line, number) {
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(line)) bad(number, 'a control character');
  const words = line.split(/[ \t]+/).filter((word) => word !== '');
  if (words.length === 0 || words[0].startsWith('#')) return;
  const read = LINES[words[0]];
  if (!read) bad(number, 'an unknown first word');
  await read(trust, words.slice(1), number);
}

const LINES = {
  async log(trust, words, line) {
    if (words.length < 1 || words.length > 2) bad(line, 'log <vkey> [url]');
    room(trust.logs.length, line);
    trust.logs.push(await pin(trust, words[0], LOG_TYPE, line));
  },

  async witness(trust, words, line) {
    if (words.length < 2 || words.length > 3) bad(line, 'witness <name> <vkey> [url]');
    room(trust.witnesses.size, line);
    free(trust, words[0], line);
    trust.witnesses.set(words[0], await pin(trust, words[1], WITNESS_TYPE, line));
  },

  tsa(trust, words, line) {
    if (words.length !== 2) bad(line, 'tsa <name> <base64 of DER>');
    room(trust.authorities.size, line);
    free(trust, words[0], line);
    const der = fromBase64(words[1]);
    if (der === null) bad(line, 'a certificate is base64 of DER');
    try {
      trust.authorities.set(words[0], parseCertificate(der));
    } catch (error) {
      if (error instanceof Refusal) bad(line, error.message);
      throw error;
    }
  },

  group(trust, [name, threshold, ...members], line) {
    room(trust.groups.size, line);
    if (members.length === 0) bad(line, 'group <name> <k|any|all> <member>...');
    free(trust, name, line);
    for (const member of members) {
      if (!trust.witnesses.has(member) && !trust.groups.has(member)) {
        bad(line, 'a member is not defined above');
      }
      if (trust.grouped.has(member)) bad(line, 'a member is in a group already');
      trust.grouped.add(member);
    }
    const word = { any: '1', all: String(members.length) }[threshold] ?? threshold;
    const needed = decimal(word, BigInt(members.length));
    if (needed === null || needed === 0n) bad(line, 'the threshold is any, all, or 1 to the number of members');
    trust.groups.set(name, { needed: Number(needed), members });
  },

  quorum(trust, words, line) {
    if (words.length !== 1) bad(line, 'quorum <name|none>');
    if (trust.quorum !== null) bad(line, 'a second quorum line');
    const [name] = words;
    if (name !== 'none' && !trust.witnesses.has(name) && !trust.groups.has(name)) {
      bad(line, 'the quorum is not defined above');
    }
    trust.quorum = name;
  },

  async report(trust, words, line) {
    if (words.length !== 1) bad(line, 'report <vkey>');
    room(trust.reports.length, line);
    trust.reports.push(await pin(trust, words[0], LOG_TYPE, line));
  },

  until(trust, words, line) {
    if (words.length !== 2) bad(line, 'until <id> <size>');
    if (!trust.logs.some((key) => key.idHex === words[0])) bad(line, 'no log key above has this id');
    const size = decimal(words[1], SIZE_MAX);
    if (size === null || trust.until.has(words[0])) bad(line, 'no tree size, or a second one for this key');
    trust.until.set(words[0], size);
  },
};

function room(count, line) {
  if (count >= ITEMS_MAX) bad(line, `more than ${ITEMS_MAX} items of a kind`);
}

function free(trust, name, line) {
  if (name === 'none' || [trust.witnesses, trust.groups, trust.authorities].some((map) => map.has(name))) {
    bad(line, 'the name is taken');
  }
}

async function pin(trust, text, type, line) {
  let key;
  try {
    key = await parseVkey(text);
  } catch (error) {
    if (error instanceof Refusal) bad(line, error.message);
    throw error;
  }
  if (key.type !== type) bad(line, `a key of type ${key.type} cannot stand here`);
  for (const other of trust.allKeys) {
    if (other.idHex === key.idHex || hex(other.key) === hex(key.key)) {
      bad(line, 'the key, or one with the same id, stands above');
    }
  }
  return key;
}

/**
 * Opens a checkpoint's note; gives `{ origin, size, root, signer, witnesses }`. Order: every
 * signature of a known key (BAD_SIGNATURE, UNTRUSTED_KEY when there is none), the three lines
 * (MALFORMED), a log key of the origin (UNTRUSTED_KEY), its end (KEY_RETIRED), the quorum
 * (QUORUM_MISSING). Without trust only the lines are read, and signer is null.
 */
export async function openCheckpoint(trust, note) {
  if (trust === null) return { ...(await readCheckpoint(note)), signer: null, witnesses: new Map() };
  const signed = await openNote(note, trust.checkpointKeys);
  const checkpoint = await readCheckpoint(note);
  const logs = trust.logs.filter(
    (log) => log.name === checkpoint.origin && signed.some(({ key }) => sameKey(key, log)),
  );
  if (logs.length === 0) {
    refuse('UNTRUSTED_KEY', `no pinned log key of ${checkpoint.origin} signed the checkpoint`);
  }
  const signer = logs.find((key) => checkpoint.size <= (trust.until.get(key.idHex) ?? SIZE_MAX));
  if (!signer) {
    refuse('KEY_RETIRED', `the log key signs no checkpoint of size ${checkpoint.size}`);
  }
  const witnesses = witnessesOf(trust, signed);
  if (trust.quorum !== 'none' && !isMet(trust, trust.quorum, witnesses)) {
    refuse('QUORUM_MISSING', `${witnesses.size} pinned witnesses signed; quorum ${trust.quorum} is not met`);
  }
  return { ...checkpoint, signer, witnesses };
}

// Local name to the time of the cosignature, in seconds; of several by one witness the earliest.
function witnessesOf(trust, signed) {
  const seen = new Map();
  for (const [name, key] of trust.witnesses) {
    const times = signed.filter((one) => sameKey(one.key, key)).map((one) => one.seconds);
    if (times.length > 0) seen.set(name, times.reduce((least, one) => (one < least ? one : least)));
  }
  return seen;
}

function isMet(trust, name, witnesses) {
  const group = trust.groups.get(name);
  if (!group) return witnesses.has(name);
  return group.members.filter((member) => isMet(trust, member, witnesses)).length >= group.needed;
}
