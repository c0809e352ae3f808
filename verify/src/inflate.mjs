// Raw DEFLATE (RFC 1951), as zip members and packed segments use it, by what Node and browsers have.
// Never gives more than was announced: it stops as soon as more comes out.

/** The `size` bytes that `packed` expands to, or null when it is anything else. */
export async function inflate(packed, size) {
  const out = new Uint8Array(size);
  let at = 0;
  try {
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > size) {
        await reader.cancel();
        return null;
      }
      out.set(value, at);
      at += value.length;
    }
  } catch {
    return null;
  }
  return at === size ? out : null;
}
