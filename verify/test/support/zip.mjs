// Writes zip files, honest and dishonest ones.

import { deflateRawSync } from 'node:zlib';
import { crc32 } from '../../src/crc32.mjs';

/** A zip file; each member may override any of its header fields. */
export function zipOf(members, end = {}) {
  const parts = [];
  const directory = [];
  let at = 0;
  for (const { name, data = '', method = 8, ...over } of members) {
    const plain = Buffer.from(data);
    const packed = over.packed ?? (method === 8 ? deflateRawSync(plain) : plain);
    const crc = over.crc ?? crc32(plain);
    const size = over.size ?? plain.length;
    const common = (localName) => {
      const head = Buffer.alloc(26);
      head.writeUInt16LE(over.flags ?? 0, 2);
      head.writeUInt16LE(method, 4);
      head.writeUInt32LE(crc, 10);
      head.writeUInt32LE(over.packedSize ?? packed.length, 14);
      head.writeUInt32LE(size, 18);
      head.writeUInt16LE(Buffer.byteLength(localName), 22);
      return head;
    };
    const local = over.localName ?? name;
    const front = Buffer.concat([Buffer.from('PK\x03\x04'), common(local), Buffer.from(local)]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(over.offset ?? at, 10);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x00'), common(name), rest, Buffer.from(name)]));
    parts.push(front, packed);
    at += front.length + packed.length;
  }
  const all = Buffer.concat(directory);
  const tail = Buffer.alloc(22);
  tail.write('PK\x05\x06', 'latin1');
  tail.writeUInt16LE(end.count ?? members.length, 8);
  tail.writeUInt16LE(end.count ?? members.length, 10);
  tail.writeUInt32LE(all.length, 12);
  tail.writeUInt32LE(end.start ?? at, 16);
  return new Uint8Array(Buffer.concat([...parts, all, tail]));
}
