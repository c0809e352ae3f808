// SHA-256 by WebCrypto, one at a time or many side by side. Never an own implementation.

const subtle = globalThis.crypto.subtle;

export async function sha256(bytes) {
  return new Uint8Array(await subtle.digest('SHA-256', bytes));
}

// Enough to keep the engine's threads busy, few enough to stay small.
const SIDE_BY_SIDE = 1024;

/** Hashes of `count` messages; `message(i)` is asked for each just before it is hashed. */
export async function sha256Many(count, message) {
  const hashes = new Array(count);
  for (let from = 0; from < count; from += SIDE_BY_SIDE) {
    const to = Math.min(from + SIDE_BY_SIDE, count);
    const running = [];
    for (let i = from; i < to; i++) running.push(subtle.digest('SHA-256', message(i)));
    const done = await Promise.all(running);
    for (let i = from; i < to; i++) hashes[i] = new Uint8Array(done[i - from]);
  }
  return hashes;
}
