// Control payloads: `clear` of every kind but event. docs/format.md sections 10 and 11.
// Never reads an event's; any other spelling than the canonical is MALFORMED.

import { utf8 } from './wire.mjs';
import { day, decimal, decodeUtf8, fromHex, time, U64_MAX } from './text.mjs';
import { malformed } from './verdict.mjs';
import { parseJson, Spelled } from './json.mjs';
import { canonical } from './jcs.mjs';
import { KINDS } from './entry.mjs';

// A reader takes a JSON value and gives what it means, or throws MALFORMED.

const hexOf = (bytes) => (value) => {
  if (fromHex(value, bytes) === null) malformed(`${2 * bytes} hex digits are expected`);
  return value;
};
const H = hexOf(32);
const ID = hexOf(16);

function N(value) {
  if (!(value instanceof Spelled) || !Number.isSafeInteger(value.value) || value.value < 0) {
    malformed('an integer below 2^53 is expected');
  }
  return value.value;
}

function text(value) {
  if (typeof value !== 'string') malformed('a string is expected');
  return value;
}

const word = (...words) => (value) => {
  if (!words.includes(value)) malformed(`one of ${words.join(', ')} is expected`);
  return value;
};
const MODE = word('two-person', 'single-operator', 'scheduled');

function DAY(value) {
  const days = day(text(value));
  if (days === null) malformed('a day is expected');
  return days;
}

function TIME(value) {
  const ns = time(text(value));
  if (ns === null) malformed('a time is expected');
  return ns;
}

const list = (item, most = Infinity) => (value) => {
  if (!Array.isArray(value) || value.length > most) malformed('a list is expected, or it is too long');
  return value.map(item);
};

const ascending = (item) => (value) => {
  const items = list(item)(value);
  for (let i = 1; i < items.length; i++) {
    if (!(items[i - 1] < items[i])) malformed('the list is not ascending');
  }
  return items;
};

// Exactly `members`, and of `optional` those that are there.
const object = (members, optional = {}) => (value) => {
  const names = Object.keys(members);
  if (!(value instanceof Map)) malformed('an object is expected');
  const extra = Object.keys(optional).filter((name) => value.has(name));
  if (value.size !== names.length + extra.length) malformed('other members are expected');
  const out = {};
  for (const name of extra) out[name] = optional[name](value.get(name));
  for (const name of names) {
    if (!value.has(name)) malformed(`the member ${name} is missing`);
    out[name] = members[name](value.get(name));
  }
  return out;
};

// The object whose member `tag` has the value that names it.
const either = (tag, shapes) => (value) => {
  const shape = value instanceof Map ? shapes[value.get(tag)] : undefined;
  if (!shape || !Object.hasOwn(shapes, value.get(tag))) malformed(`the member ${tag} is unknown`);
  return object({ [tag]: text, ...shape })(value);
};

function basis(value) {
  if (!/^[A-Za-z0-9._:-]{1,64}$/.test(text(value))) malformed('a basis is a code of 1 to 64 characters');
  return value;
}

function law(value) {
  if (utf8(text(value)).length > 100 || /\p{Cc}/u.test(value)) malformed('a law of at most 100 bytes');
  return value;
}

function deferred(value) {
  const due = (one) => (one === null ? null : TIME(one));
  const out = object({ class: N, due, law, why: word('floor', 'hold') })(value);
  if ((out.why === 'hold') !== (out.due === null)) malformed('a hold has no due time, a floor has one');
  return out;
}

function change(value) {
  const out = object({ from: N, new_root: H, old_root: H, to: N })(value);
  return out;
}

function replicas(value) {
  if (!/^(0|[1-9][0-9]{0,2})\/(0|[1-9][0-9]{0,2})$/.test(text(value))) malformed('replicas are written 1/1');
  return value;
}

function digits(value) {
  const ns = decimal(text(value), U64_MAX);
  if (ns === null) malformed('nanoseconds in digits are expected');
  return ns;
}

const PERSONS = list(ID, 64);
const PARTS = ['log', 'body', 'tile', 'keys', 'mirror', 'checkpoint'];
const DOCUMENTS = ['human', 'token', 'tenant', 'source', 'order', 'rule', 'schedule', 'idempotency', 'setting'];

function truth(value) {
  if (typeof value !== 'boolean') malformed('true or false is expected');
  return value;
}

const SHAPES = {
  genesis: object({
    format: (value) => (N(value) === 1 ? 1 : malformed('an unknown format')),
    generation: N, log_key: text, origin: text, report_key: text, root: H, tenant: ID,
  }, { continues: object({ origin: text, root: H, size: N }) }),
  'erase-intent': object({
    basis, classes: list(N), deferred: list(deferred), generation: N, job: ID, mode: MODE,
    persons: PERSONS,
  }),
  'erase-done': object({
    classes: list(N), deferred: list(deferred), intent: N, job: ID, persons: PERSONS,
    replicas, root: change, store: word('D'),
  }, { missed: ID }),
  'erase-final': object({ done: N, job: ID, replicas }),
  'prune-intent': object({
    class_days: list(object({ class: N, day: DAY, due: TIME, groups: N }), 64),
    generation: N, job: ID, policy: H,
  }),
  'prune-done': object({
    class_days: list(object({ class: N, day: DAY }), 64), intent: N, job: ID, root: change,
  }, { missed: ID }),
  'key-roll': either('what', {
    'growth-intent': { generation: N },
    'growth-done': { root: change },
    'log-key': { mode: MODE, note: text },
  }),
  'hold-set': object({
    case: ID,
    mode: MODE,
    scope: either('over', { person: { person: ID }, 'class-days': { class: N, from: DAY, to: DAY } }),
  }),
  'hold-release': object({ case: ID, mode: MODE }),
  disclose: object({
    act: word('read', 'report', 'export', 'disclosure', 'answer'),
    fields: ascending(text), first: N, last: N, records: N,
  }, { ground: word('legal-claims', 'consent', 'rights-of-others', 'public-interest'), mode: MODE }),
  config: either('what', {
    policies: { mode: MODE, policies: H, version: N },
    link: { mode: MODE, persons: ascending(ID) },
    source: { source: ID },
    document: { gone: truth, id: ID, kind: word(...DOCUMENTS), version: N },
    anchor: { hash: H, sight: word('cosigned', 'timestamp'), size: N, time: TIME },
    'mirror-forgotten': { mode: MODE, replica: ID },
    unwitnessed: { size: N, witnesses: N },
    restriction: { begins: truth, person: ID },
    correction: { corrects: N },
  }),
  conflict: object({ first: N }),
  scan: either('what', {
    finding: { index: (value) => (value === null ? null : N(value)), part: word(...PARTS), verdict: text },
    pass: {
      bytes: N, end: N, findings: N, full: truth, groups: N, opened: N, replicas: text, started: TIME, units: N,
    },
  }),
  seal: object({
    class_root: H, class_rows: N, count_root: H, count_rows: N, end: N, entries: N, first: N,
    index_root: H, index_rows: N, root: H, source_root: H, source_rows: N,
    t_first: digits, t_last: digits,
  }),
  'day-seal': object({ day: DAY, end: N, first: N }),
};

export const EPOCH = 65_536;

/** What a control entry says; null for events. */
export function decodePayload(entry) {
  const shape = SHAPES[KINDS[entry.kind]];
  if (!shape) return null;
  const value = parseJson(entry.clear);
  if (canonical(value) !== decodeUtf8(entry.clear)) malformed('the payload is not in its canonical form');
  const payload = shape(value);
  if (entry.kindName === 'seal') checkSeal(payload);
  if (entry.kindName === 'day-seal' && payload.end < payload.first) malformed('a day-seal ends before it begins');
  return payload;
}

function checkSeal({ first, end, entries, t_first: from, t_last: to }) {
  if (entries !== EPOCH || end !== first + EPOCH || first % EPOCH !== 0) malformed('a seal of no epoch');
  if (from > to) malformed('a seal whose last time lies before its first');
}
