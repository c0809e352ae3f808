// vault.toml: the format, the name and the tenant of a data directory. docs/format.md section 8.
// Never read as anything but the few lines that a vault writes.

import { decodeUtf8, fromHex } from './text.mjs';
import { refuse } from './verdict.mjs';

export const VAULT_FILE = 'vault.toml';

/** `{ name, tenant, tenantHex, origin }`; STORE_CORRUPT or STORE_TOO_NEW. */
export async function readHome(folder) {
  const text = decodeUtf8(await folder.get(VAULT_FILE).read());
  // eslint-disable-next-line no-control-regex
  if (text === null || /[\u0000-\u0008\u000b-\u001f\u007f]/.test(text)) refuse('STORE_CORRUPT', 'vault.toml is no text');
  const tables = readTables(text);
  const values = tables.get('');
  const format = values.get('format');
  if (Number.isInteger(format) && format > 1) {
    refuse('STORE_TOO_NEW', `vault.toml: format ${format} is newer than this verifier`);
  }
  const [name, tenantHex] = [values.get('name'), values.get('tenant')];
  const tenant = fromHex(tenantHex, 16);
  const known = values.size === 3 && [...tables.keys()].every((table) => table === '' || table === 'continues');
  if (!known || !isBefore(tables.get('continues')) || format !== 1 || tenant === null || typeof name !== 'string') {
    refuse('STORE_CORRUPT', 'vault.toml does not hold format, name and tenant');
  }
  return { name, tenant, tenantHex, origin: `${name}/t/${tenantHex}` };
}

// What a log takes up after; the genesis entry says the same, signed, and counts.
function isBefore(values) {
  if (values === undefined) return true;
  const [origin, size, root] = ['origin', 'size', 'root'].map((name) => values.get(name));
  return values.size === 3 && typeof origin === 'string' && typeof size === 'number' && fromHex(root, 32) !== null;
}

const TABLE = /^\s*\[[ \t]*([a-z]+)[ \t]*\]\s*(?:#.*)?$/;
const VALUE = /^\s*([a-z_]+)\s*=\s*(?:"([^"\\]*)"|'([^']*)'|\+?(0|[1-9][0-9]*(?:_[0-9]+)*))\s*(?:#.*)?$/;

// Table names to their values: `name = "text"` or a number, one a line; comments are allowed.
function readTables(text) {
  const tables = new Map([['', new Map()]]);
  let values = tables.get('');
  for (const line of text.split('\n')) {
    if (/^\s*(#.*)?$/.test(line)) continue;
    const table = TABLE.exec(line)?.[1];
    const parts = VALUE.exec(line);
    if (table !== undefined && !tables.has(table)) {
      values = new Map();
      tables.set(table, values);
    } else if (parts && !values.has(parts[1])) {
      values.set(parts[1], parts[2] ?? parts[3] ?? Number(parts[4].replaceAll('_', '')));
    } else {
      refuse('STORE_CORRUPT', 'vault.toml cannot be read');
    }
  }
  return tables;
}
