// What is judged, wherever it lies: one file, or a folder of files under relative names.
// Never touches a disk or the network: the caller brings `{ size, read(from, to) }`.

/** A file held in memory. */
export function memoryFile(bytes) {
  return {
    size: bytes.length,
    read: async (from = 0, to = bytes.length) => bytes.subarray(from, to),
  };
}

/** Files by relative name, "/" between parts, in ascending order. */
export class Folder {
  constructor(files) {
    this.files = new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  get(name) {
    return this.files.get(name);
  }

  names() {
    return [...this.files.keys()];
  }

  /** The files below `prefix/`, under names without it. */
  below(prefix) {
    const start = `${prefix}/`;
    const inside = [...this.files].filter(([name]) => name.startsWith(start));
    return new Folder(inside.map(([name, file]) => [name.slice(start.length), file]));
  }

  /** The folder itself, or its only directory when a zip or an upload wrapped it in one. */
  unwrapped() {
    const tops = new Set(this.names().map((name) => name.split('/')[0]));
    if (tops.size !== 1 || this.files.has([...tops][0])) return this;
    return this.below([...tops][0]).unwrapped();
  }
}
