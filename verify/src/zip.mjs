// A folder that comes as a zip file. docs/format.md section 12.
// Never unpacks more than it announces, never to a disk; whatever two readers could see
// differently is MALFORMED: names twice, paths that climb, members that overlap, zip64, encryption.

import { Reader } from './wire.mjs';
import { decodeUtf8 } from './text.mjs';
import { malformed } from './verdict.mjs';
import { crc32 } from './crc32.mjs';
import { inflate } from './inflate.mjs';
import { Folder } from './files.mjs';

const MEMBERS_MAX = 10_000;
const UNPACKED_MAX = 1_073_741_824;
const END_SIZE = 22;
const COMMENT_MAX = 65_535;
const NAME_MAX = 1_024;
const KEPT = 4;

const [STORED, DEFLATED] = [0, 8];

export function isZip(front) {
  return front.length >= 4 && front[0] === 0x50 && front[1] === 0x4b && front[2] === 3 && front[3] === 4;
}

/** A Folder of the members of a zip file `{ size, read }`. */
export async function openZip(file) {
  const end = await readEnd(file);
  const directory = little(await file.read(end.start, end.start + end.size));
  const members = [];
  for (let i = 0; i < end.count; i++) members.push(readMember(directory));
  if (directory.left !== 0) malformed('zip: bytes behind the directory');
  await placeData(file, members, end.start);
  requireNames(members);
  const kept = new Map();
  const files = members
    .filter((member) => !member.name.endsWith('/'))
    .map((member) => [member.name, memberFile(file, member, kept)]);
  return new Folder(files).unwrapped();
}

// A Reader of little-endian fields.
function little(bytes) {
  const reader = new Reader(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  reader.l16 = () => {
    reader.take(2);
    return view.getUint16(reader.at - 2, true);
  };
  reader.l32 = () => {
    reader.take(4);
    return view.getUint32(reader.at - 4, true);
  };
  return reader;
}

async function readEnd(file) {
  const from = Math.max(0, file.size - END_SIZE - COMMENT_MAX);
  const tail = await file.read(from, file.size);
  for (let at = tail.length - END_SIZE; at >= 0; at--) {
    const reader = little(tail.subarray(at));
    if (reader.l32() !== 0x06054b50) continue;
    const [disk, first, here, count] = [reader.l16(), reader.l16(), reader.l16(), reader.l16()];
    const [size, start, comment] = [reader.l32(), reader.l32(), reader.l16()];
    if (comment !== reader.left) continue;
    if (disk !== 0 || first !== 0 || here !== count) malformed('zip: more than one disk');
    if (count === 0xffff || size === 0xffffffff || start === 0xffffffff) malformed('zip: zip64');
    if (count > MEMBERS_MAX) malformed(`zip: more than ${MEMBERS_MAX} members`);
    if (start + size !== from + at) malformed('zip: the directory is not where it should be');
    return { count, size, start };
  }
  return malformed('zip: no end of directory');
}

function readMember(reader) {
  if (reader.l32() !== 0x02014b50) malformed('zip: a directory entry is expected');
  reader.take(4);
  const [flags, method] = [reader.l16(), reader.l16()];
  reader.take(4);
  const [crc, packed, size] = [reader.l32(), reader.l32(), reader.l32()];
  const [nameLength, extraLength, commentLength] = [reader.l16(), reader.l16(), reader.l16()];
  reader.take(8);
  const offset = reader.l32();
  const nameBytes = reader.take(nameLength);
  reader.take(extraLength + commentLength);
  const name = decodeUtf8(nameBytes);
  if ((flags & 0x2041) !== 0) malformed('zip: encrypted');
  if (method !== STORED && method !== DEFLATED) malformed(`zip: method ${method} is not read`);
  if (method === STORED && packed !== size) malformed('zip: a stored member of two sizes');
  if ([packed, size, offset].includes(0xffffffff)) malformed('zip: zip64');
  if (name === null || nameLength > NAME_MAX || !isPlain(name)) malformed('zip: a name that is no plain relative path');
  if (name.endsWith('/') && size !== 0) malformed('zip: a directory with contents');
  return { name, nameBytes, method, crc, packed, size, offset };
}

function isPlain(name) {
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f\\:]/.test(name)) return false;
  const parts = name.replace(/\/$/, '').split('/');
  return parts.every((part) => part !== '' && part !== '.' && part !== '..');
}

// Where each member's bytes begin; members may not overlap each other nor the directory.
async function placeData(file, members, directory) {
  let unpacked = 0;
  for (const member of members) {
    const reader = little(await file.read(member.offset, member.offset + 30));
    if (reader.l32() !== 0x04034b50) malformed('zip: a member is not where it should be');
    reader.take(22);
    const [nameLength, extraLength] = [reader.l16(), reader.l16()];
    const name = await file.read(member.offset + 30, member.offset + 30 + nameLength);
    if (decodeUtf8(name) !== member.name) malformed('zip: a member with two names');
    member.start = member.offset + 30 + nameLength + extraLength;
    unpacked += member.size;
  }
  if (unpacked > UNPACKED_MAX) malformed(`zip: more than ${UNPACKED_MAX} bytes unpacked`);
  const ordered = [...members].sort((a, b) => a.offset - b.offset);
  for (const [i, member] of ordered.entries()) {
    const limit = ordered[i + 1]?.offset ?? directory;
    if (member.start + member.packed > limit) malformed('zip: members overlap');
  }
}

// No name twice, and no name that is a directory of another.
function requireNames(members) {
  const names = new Set();
  for (const { name } of members) {
    if (names.has(name.replace(/\/$/, ''))) malformed('zip: a name stands twice');
    names.add(name.replace(/\/$/, ''));
  }
  const files = new Set(members.filter(({ name }) => !name.endsWith('/')).map(({ name }) => name));
  for (const name of names) {
    const parts = name.split('/');
    for (let i = 1; i < parts.length; i++) {
      if (files.has(parts.slice(0, i).join('/'))) malformed('zip: a file that is a directory too');
    }
  }
}

// Reads a member as a file; the few last ones stay unpacked in memory.
function memberFile(file, member, kept) {
  return {
    size: member.size,
    read: async (from = 0, to = member.size) => {
      let bytes = kept.get(member.name);
      if (!bytes) {
        bytes = await unpack(file, member);
        kept.set(member.name, bytes);
        if (kept.size > KEPT) kept.delete(kept.keys().next().value);
      }
      return bytes.subarray(from, to);
    },
  };
}

async function unpack(file, member) {
  const packed = await file.read(member.start, member.start + member.packed);
  const bytes = member.method === STORED ? packed : await inflate(packed, member.size);
  if (bytes === null || bytes.length !== member.size || crc32(bytes) !== member.crc) {
    malformed(`zip: ${JSON.stringify(member.name)} is damaged`);
  }
  return bytes;
}
