// ENTRY: one leaf of the log. docs/format.md section 3.
// Never reads `clear`, never hashes; an entry that is not spelled in the one way is MALFORMED.

import { allZero, compare, Reader } from './wire.mjs';
import { decodeUtf8, hex } from './text.mjs';
import { malformed } from './verdict.mjs';

export const ENTRY_BYTES_MAX = 16_384;
const CLEAR_BYTES_MAX = 8_192;
const TAIL = 48;

export const KINDS = [
  'event', 'erase-intent', 'erase-done', 'erase-final', 'prune-intent', 'prune-done', 'seal',
  'day-seal', 'key-roll', 'hold-set', 'hold-release', 'disclose', 'config', 'scan', 'genesis',
  'conflict',
];

export const CATEGORIES = [
  'other', 'authentication', 'authorization', 'identity', 'access', 'data', 'configuration',
  'process', 'network', 'file', 'session', 'key', 'database', 'application', 'system',
  'detection', 'vault',
];

export const VERBS = [
  'other', 'create', 'read', 'update', 'delete', 'list', 'login', 'logout', 'grant', 'revoke',
  'execute', 'start', 'stop', 'connect', 'disconnect', 'export', 'import', 'disclose', 'approve',
  'deny', 'enable', 'disable', 'encrypt', 'decrypt', 'rotate', 'verify', 'print', 'erase',
  'retain', 'hold', 'release', 'alert',
];

export const OUTCOMES = ['unknown', 'success', 'failure', 'denied', 'error'];

const MAGIC = [0x43, 0x48, 0x45, 0x31];

export function decodeEntry(bytes) {
  if (bytes.length > ENTRY_BYTES_MAX) malformed(`an entry has at most ${ENTRY_BYTES_MAX} bytes`);
  const reader = new Reader(bytes);
  if (compare(reader.take(4), MAGIC) !== 0) malformed('an entry begins with CHE1');
  const entry = { bytes, ...readFront(reader) };
  const [tags, groups, fields] = [reader.u8(), reader.u8(), reader.u16()];
  if (groups > 16) malformed('an entry has at most 16 groups');
  if (fields > 256) malformed('an entry has at most 256 sealed fields');
  entry.tags = readTags(reader, tags);
  entry.groups = Array.from({ length: groups }, () => readGroup(reader, tags));
  entry.fields = readFields(reader, fields, groups);
  if ((fields > 0) !== ((entry.flags & 1) === 1)) malformed('the flag for sealed fields lies');
  entry.clear = reader.lp16();
  if (entry.clear.length > CLEAR_BYTES_MAX) malformed(`clear has at most ${CLEAR_BYTES_MAX} bytes`);
  entry.headLength = reader.at;
  readTail(reader, entry);
  return entry;
}

function within(list, number, what) {
  if (number >= list.length) malformed(`an unknown ${what}: ${number}`);
  return number;
}

function readFront(reader) {
  const kind = within(KINDS, reader.u8(), 'kind');
  const flags = reader.u8();
  if (flags > 3) malformed('an unknown flag');
  const front = {
    kind,
    kindName: KINDS[kind],
    flags,
    cls: reader.u16(),
    eventTime: reader.u64(),
    tenant: reader.take(16),
    recordId: reader.take(16),
    eventIdTag: reader.take(16),
    source: reader.take(16),
    sequence: reader.u64(),
    category: within(CATEGORIES, reader.u8(), 'category'),
    verb: within(VERBS, reader.u8(), 'verb'),
    outcome: within(OUTCOMES, reader.u8(), 'outcome'),
    severity: reader.u8(),
  };
  if (front.severity > 10) malformed('a severity above 10');
  front.hasSequence = (flags & 2) === 2;
  if (!front.hasSequence && front.sequence !== 0n) malformed('a source sequence without its flag');
  return front;
}

function readTags(reader, count) {
  const tags = [];
  for (let i = 0; i < count; i++) {
    const tag = reader.take(16);
    if (i > 0 && compare(tags[i - 1], tag) >= 0) malformed('subject tags out of order');
    tags.push(tag);
  }
  return tags;
}

function readGroup(reader, tags) {
  const policy = reader.u8();
  if (policy > 1) malformed('an unknown group policy');
  const group = { policy, cls: reader.u16(), bucket: reader.u32(), positions: reader.lp8() };
  const { positions } = group;
  if (positions.length > 32) malformed('a group of more than 32 subjects');
  if ((policy === 1) !== positions.length > 0) malformed('policy and subjects of a group disagree');
  for (let i = 0; i < positions.length; i++) {
    if (positions[i] >= tags) malformed('a group names a subject that is not there');
    if (i > 0 && positions[i] <= positions[i - 1]) malformed('subjects of a group out of order');
  }
  return group;
}

function readFields(reader, count, groups) {
  const fields = [];
  const used = new Set();
  for (let i = 0; i < count; i++) {
    const nameBytes = reader.lp8();
    const name = decodeUtf8(nameBytes);
    if (nameBytes.length === 0 || nameBytes.length > 64 || name === null) {
      malformed('a field name is 1 to 64 bytes of UTF-8');
    }
    if (i > 0 && compare(fields[i - 1].nameBytes, nameBytes) >= 0) malformed('field names out of order');
    const group = reader.u8();
    if (group >= groups) malformed('a field of a group that is not there');
    used.add(group);
    fields.push({ nameBytes, name, group, commitment: reader.take(32) });
  }
  if (used.size !== groups) malformed('a group without a field');
  return fields;
}

// Padding, index, log time, prev: everything behind the head, to the last byte.
function readTail(reader, entry) {
  const padding = (64 - ((1 + entry.headLength) % 64)) % 64;
  if (!allZero(reader.take(padding))) malformed('padding that is not zero');
  if (reader.left !== TAIL) malformed('an entry of the wrong length');
  entry.index = reader.u64();
  entry.logTime = reader.u64();
  entry.prev = reader.take(32);
  if ((entry.index === 0n) !== allZero(entry.prev)) malformed('prev is zero at index 0 and only there');
}

/** `data.read success severity 6` for people. */
export function describe(entry) {
  const code = `${CATEGORIES[entry.category]}.${VERBS[entry.verb]}`;
  return `${code} ${OUTCOMES[entry.outcome]} severity ${entry.severity}`;
}

export function tenantHex(entry) {
  return hex(entry.tenant);
}
