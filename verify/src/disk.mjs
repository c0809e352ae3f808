// Files and folders of a disk, for the command line only. Never writes; follows no link.

import { lstat, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Folder } from './files.mjs';
import { refuse } from './verdict.mjs';

/** `{ name, file }` or `{ name, folder }` of a path; FILE_IO when it cannot be read. */
export async function evidenceAt(path) {
  const stat = await statOf(path);
  if (stat.isFile()) return { name: path, file: diskFile(path, stat.size) };
  if (!stat.isDirectory()) refuse('FILE_IO', `${path} is neither a file nor a directory`);
  const files = [];
  await collect(path, '', files);
  return { name: path, folder: new Folder(files) };
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
