// JSON as docs/format.md section 4 scans it: RFC 8259, no key twice at any depth, no half
// surrogate pair, no number beyond a double. Never uses JSON.parse, which would accept more.
//
// Values: null, true, false, string, Number token { number: '1e3' }, Array, Map.

import { decodeUtf8 } from './text.mjs';
import { malformed } from './verdict.mjs';

export const JSON_BYTES_MAX = 1_048_576;
const DEPTH_MAX = 64;

/** A number as it was spelled. */
export class Spelled {
  constructor(text) {
    this.text = text;
    this.value = Number(text);
  }
}

export function parseJson(bytes, bytesMax = JSON_BYTES_MAX) {
  if (bytes.length > bytesMax) malformed(`JSON of more than ${bytesMax} bytes`);
  const text = decodeUtf8(bytes);
  if (text === null) malformed('JSON is UTF-8');
  const scanner = new Scanner(text);
  const value = scanner.value(0);
  scanner.blanks();
  if (scanner.at !== text.length) malformed('something follows the JSON value');
  return value;
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// Everything that may stand in a string as it is.
// eslint-disable-next-line no-control-regex
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const ESCAPES = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };

class Scanner {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  blanks() {
    while (' \t\n\r'.includes(this.text[this.at] ?? 'x')) this.at++;
  }

  fail(why) {
    malformed(`JSON, character ${this.at}: ${why}`);
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  value(depth) {
    this.blanks();
    switch (this.text[this.at]) {
      case '{':
        return this.object(depth + 1);
      case '[':
        return this.array(depth + 1);
      case '"':
        return this.string();
      case 't':
        return this.word('true', true);
      case 'f':
        return this.word('false', false);
      case 'n':
        return this.word('null', null);
      default:
        return this.number();
    }
  }

  word(word, value) {
    if (!this.text.startsWith(word, this.at)) this.fail('no JSON value');
    this.at += word.length;
    return value;
  }

  number() {
    const text = this.match(NUMBER);
    if (text === undefined) this.fail('no JSON value');
    const spelled = new Spelled(text);
    if (!Number.isFinite(spelled.value)) this.fail('a number beyond a double');
    return spelled;
  }

  string() {
    this.at++;
    let text = '';
    for (;;) {
      text += this.match(PLAIN);
      const stop = this.text[this.at];
      if (stop === '"') break;
      if (stop !== '\\') this.fail('a string without end, or a control character in it');
      text += this.escape();
    }
    this.at++;
    if (!isWellFormed(text)) this.fail('half a surrogate pair');
    return text;
  }

  escape() {
    const letter = this.text[this.at + 1];
    if (letter === 'u') {
      const digits = this.text.slice(this.at + 2, this.at + 6);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail('an escape without four hex digits');
      this.at += 6;
      return String.fromCharCode(parseInt(digits, 16));
    }
    if (letter === undefined || !Object.hasOwn(ESCAPES, letter)) this.fail('an unknown escape');
    this.at += 2;
    return ESCAPES[letter];
  }

  array(depth) {
    this.open(depth);
    const items = [];
    if (this.closes(']')) return items;
    for (;;) {
      items.push(this.value(depth));
      if (!this.goesOn(']')) return items;
    }
  }

  object(depth) {
    this.open(depth);
    const members = new Map();
    if (this.closes('}')) return members;
    for (;;) {
      this.blanks();
      if (this.text[this.at] !== '"') this.fail('a member begins with a string');
      const key = this.string();
      if (members.has(key)) this.fail('a key stands twice in one object');
      this.blanks();
      if (this.text[this.at] !== ':') this.fail('a colon is missing');
      this.at++;
      members.set(key, this.value(depth));
      if (!this.goesOn('}')) return members;
    }
  }

  open(depth) {
    if (depth > DEPTH_MAX) this.fail(`nested over ${DEPTH_MAX} levels`);
    this.at++;
  }

  closes(mark) {
    this.blanks();
    if (this.text[this.at] !== mark) return false;
    this.at++;
    return true;
  }

  goesOn(mark) {
    this.blanks();
    const next = this.text[this.at];
    if (next !== ',' && next !== mark) this.fail('a comma or the end is missing');
    this.at++;
    return next === ',';
  }
}

// Half a pair: a high half without a low one behind it, or a low one without a high one before.
const HALF = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

function isWellFormed(text) {
  return !HALF.test(text);
}
