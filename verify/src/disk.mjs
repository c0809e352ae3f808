// Files and folders of a disk, for the command line only. Never writes; follows no link.

import { lstat, open, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Folder } from './files.mjs';
import { refuse } from './verdict.mjs';

/** `{ name, file }` or `{ name, folder }` of a path; FILE_IO when it cannot be read. */
export async function evidenceAt(path) {
  const stat = await statOf(path);
  if (stat.isFile()) return { name: path, file: diskFile(path, stat.size), beside: (name) => besideOf(path, name) };
  if (!stat.isDirectory()) refuse('FILE_IO', `${path} is neither a file nor a directory`);
  const files = [];
  await collect(path, '', files);
  return { name: path, folder: new Folder(files) };
}

// A file of the same directory, or null.
async function besideOf(path, name) {
  const other = join(dirname(path), name);
  try {
    const stat = await lstat(other);
    return stat.isFile() ? diskFile(other, stat.size) : null;
  } catch (error) {
    if (error.code === 'ENOENT') return null;
    return refuse('FILE_IO', `${other}: ${error.message}`);
  }
}

async function statOf(path) {
  try {
    return await lstat(path);
  } catch (error) {
    return refuse('FILE_IO', `${path}: ${error.message}`);
  }
}

async function collect(root, prefix, files) {
  for (const item of await readdir(join(root, prefix), { withFileTypes: true })) {
    const name = prefix === '' ? item.name : `${prefix}/${item.name}`;
    const path = join(root, name);
    if (item.isDirectory()) await collect(root, name, files);
    else files.push([name, diskFile(path, item.isFile() ? (await lstat(path)).size : 0)]);
  }
}

function diskFile(path, size) {
  return { size, read: (from = 0, to = size) => readPart(path, from, to) };
}

async function readPart(path, from, to) {
  // What has no bytes need not be a file: a pipe would wait for somebody who writes.
  if (to <= from) return new Uint8Array(0);
  const bytes = new Uint8Array(Math.max(0, to - from));
  let handle;
  try {
    handle = await open(path, 'r');
    let at = 0;
    while (at < bytes.length) {
      const { bytesRead } = await handle.read(bytes, at, bytes.length - at, from + at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return bytes.subarray(0, at);
  } catch (error) {
    return refuse('FILE_IO', `${path}: ${error.message}`);
  } finally {
    await handle?.close();
  }
}

export async function bytesAt(path) {
  const { file } = await evidenceAt(path);
  if (!file) refuse('FILE_IO', `${path} is a directory`);
  return file.read();
}
