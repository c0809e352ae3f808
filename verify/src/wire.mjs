// Bytes: reading big-endian fields, joining, comparing. docs/format.md section 1.
// Never reads past the end: a short or long input is MALFORMED. u64 is a BigInt, always.

import { malformed } from './verdict.mjs';

/** Reads fields from the front of `bytes`; every method throws MALFORMED when they run out. */
export class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }

  get left() {
    return this.bytes.length - this.at;
  }

  take(n) {
    if (n > this.left) malformed(`cut short: ${n} bytes expected, ${this.left} left`);
    const part = this.bytes.subarray(this.at, this.at + n);
    this.at += n;
    return part;
  }

  u8() {
    return this.take(1)[0];
  }

  u16() {
    this.take(2);
    return this.view.getUint16(this.at - 2);
  }

  u32() {
    this.take(4);
    return this.view.getUint32(this.at - 4);
  }

  u64() {
    this.take(8);
    return this.view.getBigUint64(this.at - 8);
  }

  lp8() {
    return this.take(this.u8());
  }

  lp16() {
    return this.take(this.u16());
  }

  lp32() {
    return this.take(this.u32());
  }

  /** Unsigned LEB128 in its shortest form, at most 64 bits: a BigInt. */
  varint() {
    const low = this.u8();
    if (low < 0x80) return BigInt(low);
    let value = BigInt(low & 0x7f);
    for (let shift = 7n; ; shift += 7n) {
      const byte = this.u8();
      if (shift === 63n && byte > 1) malformed('a varint of more than 64 bits');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      if (byte === 0) malformed('a varint that is not in its shortest form');
      return value;
    }
  }

  /** A varint that is at most `most`, as a number. */
  small(most) {
    const value = this.varint();
    if (value > BigInt(most)) malformed(`a number above ${most}`);
    return Number(value);
  }

  /** A wrapping 64-bit difference added to `base`: a BigInt of 64 bits. */
  near(base) {
    const folded = this.varint();
    const difference = (folded >> 1n) ^ -(folded & 1n);
    return BigInt.asUintN(64, base + difference);
  }

  end() {
    if (this.left !== 0) malformed(`${this.left} bytes too many`);
  }
}

export function concat(...parts) {
  let length = 0;
  for (const part of parts) length += part.length;
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function u16(n) {
  return Uint8Array.of(n >> 8, n & 0xff);
}

export function u32(n) {
  return Uint8Array.of(n >>> 24, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff);
}

export function u64(n) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(n));
  return bytes;
}

export function lp8(bytes) {
  return concat(Uint8Array.of(bytes.length), bytes);
}

export function lp32(bytes) {
  return concat(u32(bytes.length), bytes);
}

export function equal(a, b) {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Bytewise order, a prefix before what it begins. */
export function compare(a, b) {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return a.length - b.length;
}

export function allZero(bytes) {
  for (const byte of bytes) if (byte !== 0) return false;
  return true;
}

const encoder = new TextEncoder();

/** The UTF-8 bytes of a text. */
export function utf8(text) {
  return encoder.encode(text);
}

/** A label of docs/format.md section 1: ASCII, then a zero byte. */
export function label(name) {
  return concat(encoder.encode(`chancery/v1/${name}`), Uint8Array.of(0));
}
