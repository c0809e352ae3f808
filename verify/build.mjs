// Makes verify.html of src/ and page/: one file, no network, its script and style bound by hash.
// The same sources give the same bytes. Usage: node verify/build.mjs [--check]

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { dirname, join, relative } from 'node:path';

const HERE = dirname(fileURLToPath(import.meta.url));
const IMPORT = /^import \{([^}]*)\} from '(\.[^']+)';\n/gm;
const EXPORT = /^export (?=(?:async )?function|class|const)/gm;
const NAMES = /^export (?:async )?(?:function\*?|class|const) ([A-Za-z0-9_]+)/gm;
const LISTED = /^export \{ ([A-Za-z0-9_, ]+) \};\n/gm;

/** Modules in the order in which they may run: each after those it imports. */
function ordered(path, seen = new Map(), above = []) {
  if (above.includes(path)) throw new Error(`a circle of imports at ${path}`);
  if (seen.has(path)) return seen;
  const text = readFileSync(path, 'utf8');
  const needs = [...text.matchAll(IMPORT)].map(([, names, from]) => [names, join(dirname(path), from)]);
  for (const [, need] of needs) ordered(need, seen, [...above, path]);
  seen.set(path, { text, needs });
  return seen;
}

const nameOf = (path) => `m_${relative(HERE, path).replace(/[^a-z0-9]/gi, '_')}`;

// Each module becomes a function that runs once and gives what it exports.
function wrapped(path, { text, needs }) {
  const names = [...text.matchAll(NAMES)].map(([, name]) => name);
  for (const [, list] of text.matchAll(LISTED)) names.push(...list.split(',').map((one) => one.trim()));
  const takes = needs.map(([list, from]) => `const {${list.replace(/\s+/g, ' ').replace(/ as /g, ': ')}} = ${nameOf(from)};\n`);
  const body = text.replace(IMPORT, '').replace(LISTED, '').replace(EXPORT, '');
  if (/^(import|export)\b/m.test(body)) throw new Error(`${path}: an import or export this builder does not know`);
  return `const ${nameOf(path)} = (() => {\n${takes.join('')}${body.trim()}\nreturn { ${names.join(', ')} };\n})();\n`;
}

function page() {
  const modules = ordered(join(HERE, 'page/page.mjs'));
  const script = `\n'use strict';\n${[...modules].map(([path, module]) => wrapped(path, module)).join('\n')}`;
  if (/<\/script|<!--/i.test(script)) throw new Error('the script would end its own element');
  const style = `\n${readFileSync(join(HERE, 'page/page.css'), 'utf8')}`;
  const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  const csp = `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; base-uri 'none'; form-action 'none'`;
  const parts = { csp, style, script };
  const template = readFileSync(join(HERE, 'page/page.html'), 'utf8');
  return template.replace(/\{\{(csp|style|script)\}\}/g, (_, name) => parts[name]);
}

const target = join(HERE, 'verify.html');
const html = page();
if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== html) {
    console.error('verify.html is not what its sources make: run node verify/build.mjs');
    process.exitCode = 1;
  }
} else {
  writeFileSync(target, html);
  console.log(`verify.html: ${html.length} characters`);
}
