// Bytes of a file from front to end, a window at a time. Never holds more than it must; a file
// that ends early is MALFORMED.

import { Reader } from './wire.mjs';
import { malformed } from './verdict.mjs';

const WINDOW = 1_048_576;

export class Stream {
  constructor(file) {
    this.file = file;
    this.at = 0;
    this.window = new Uint8Array(0);
    this.start = 0;
  }

  async take(length) {
    if (this.at + length > this.file.size) malformed('the file is cut short');
    const end = this.start + this.window.length;
    if (this.at + length > end) {
      this.start = this.at;
      this.window = await this.file.read(this.at, Math.min(this.file.size, this.at + Math.max(length, WINDOW)));
    }
    const from = this.at - this.start;
    this.at += length;
    return this.window.subarray(from, from + length);
  }

  /** A Reader over the next `length` bytes. */
  async fields(length) {
    return new Reader(await this.take(length));
  }

  async lp16() {
    return this.take((await this.fields(2)).u16());
  }

  end() {
    if (this.at !== this.file.size) malformed(`${this.file.size - this.at} bytes too many`);
  }
}
