// Text forms, each with exactly one spelling: UTF-8, hex, base64, decimal, day, time.
// docs/format.md section 1. Never repairs: what is spelled otherwise comes back as null.

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// What steers a terminal, reorders what is read, or takes no space: C0, DEL and C1, line and
// paragraph separators, marks of direction, characters without width, annotation and tags.
// eslint-disable-next-line no-control-regex
const UNSAFE =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}\ud800-\udfff]|\\(?=u\{)/gu;

/** The text with each such character as `\u{..}`; one that imitates this is told from it. */
export function plain(text) {
  return text.replace(UNSAFE, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
}

/** JSON text with the same characters as escapes of JSON: outside strings it has none of them. */
export function plainJson(text) {
  const units = (one) => [...Array(one.length).keys()].map((i) => `\\u${one.charCodeAt(i).toString(16).padStart(4, '0')}`);
  return text.replace(UNSAFE, (one) => (one === '\\' ? one : units(one).join('')));
}

/** The text, or null when the bytes are not UTF-8. A byte order mark stays a character. */
export function decodeUtf8(bytes) {
  try {
    return strictUtf8.decode(bytes);
  } catch {
    return null;
  }
}

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));

export function hex(bytes) {
  let text = '';
  for (const byte of bytes) text += HEX[byte];
  return text;
}

/** Lower-case hex of exactly `length` bytes. */
export function fromHex(text, length) {
  if (typeof text !== 'string' || text.length !== 2 * length || !/^[0-9a-f]*$/.test(text)) {
    return null;
  }
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const DIGIT = new Int8Array(128).fill(-1);
for (let i = 0; i < 64; i++) DIGIT[ALPHABET.charCodeAt(i)] = i;

/** Standard base64 with its padding and without stray bits (RFC 4648 section 4), or null. */
export function fromBase64(text) {
  if (text.length % 4 !== 0) return null;
  let padding = 0;
  if (text.endsWith('==')) padding = 2;
  else if (text.endsWith('=')) padding = 1;
  const digits = text.length - padding;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < digits; i++) {
    const code = text.charCodeAt(i);
    const digit = code < 128 ? DIGIT[code] : -1;
    if (digit < 0) return null;
    held = ((held << 6) | digit) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = (held >> bits) & 0xff;
    }
  }
  return (held & ((1 << bits) - 1)) === 0 ? bytes : null;
}

export function toBase64(bytes) {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const three = (bytes[i] << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    text += ALPHABET[three >> 18] + ALPHABET[(three >> 12) & 63];
    text += left > 1 ? ALPHABET[(three >> 6) & 63] : '=';
    text += left > 2 ? ALPHABET[three & 63] : '=';
  }
  return text;
}

/** Digits without a leading zero but `0` itself, at most `max`; a BigInt or null. */
export function decimal(text, max) {
  if (!/^(0|[1-9][0-9]{0,19})$/.test(text)) return null;
  const value = BigInt(text);
  return value <= max ? value : null;
}

export const U64_MAX = (1n << 64n) - 1n;
export const SIZE_MAX = (1n << 63n) - 1n;
export const SAFE_MAX = (1n << 53n) - 1n;
export const DAY_NS = 86_400_000_000_000n;

/** The last day whose first instant is a time: 2554-07-21. */
const DAY_LAST = 213_503;

/** `YYYY-MM-DD` as days since 1970-01-01, or null. */
export function day(text) {
  const parts = /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/.exec(text);
  if (!parts) return null;
  const ms = Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]));
  if (Number(parts[1]) < 1970 || new Date(ms).toISOString().slice(0, 10) !== text) return null;
  return ms / 86_400_000 <= DAY_LAST ? ms / 86_400_000 : null;
}

/** A day beyond the year 9999 has no text form; it is shown by its number. */
export function dayText(days) {
  if (days > 2_932_896) return `day ${days}`;
  return new Date(days * 86_400_000).toISOString().slice(0, 10);
}

/** RFC 3339 in UTC in its one form, as nanoseconds (BigInt), or null. */
export function time(text) {
  const parts =
    /^([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{0,8}[1-9]))?Z$/.exec(text);
  if (!parts) return null;
  const days = day(parts[1]);
  const [hours, minutes, seconds] = [2, 3, 4].map((i) => Number(parts[i]));
  if (days === null || hours > 23 || minutes > 59 || seconds > 59) return null;
  const whole = BigInt(days) * 86_400n + BigInt(hours * 3600 + minutes * 60 + seconds);
  const value = whole * 1_000_000_000n + BigInt((parts[5] ?? '').padEnd(9, '0'));
  return value <= U64_MAX ? value : null;
}

// The last second of the year 9999.
const SECONDS_MAX = 253_402_300_799n;

/** A time as RFC 3339; one beyond the year 9999 has no such form and is shown by its second. */
export function timeText(ns) {
  if (ns / 1_000_000_000n > SECONDS_MAX) return `second ${ns / 1_000_000_000n}`;
  const seconds = Number(ns / 1_000_000_000n);
  const fraction = String(ns % 1_000_000_000n).padStart(9, '0').replace(/0+$/, '');
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  return `${whole}${fraction ? `.${fraction}` : ''}Z`;
}
