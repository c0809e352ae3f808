// The page around the judge: files in, verdicts out. Runs in verify.html only.
// Never uses the network, never writes HTML from data: text nodes only.

import { judgeAny } from '../src/any.mjs';
import { companionsOf } from '../src/exported.mjs';
import { Folder } from '../src/files.mjs';
import { parseTrust } from '../src/trust.mjs';
import { checkedTitle, findingText, headline, summary } from '../src/sentences.mjs';
import { EXIT, Refusal } from '../src/verdict.mjs';
import { decodeUtf8, plain } from '../src/text.mjs';

const find = (id) => document.getElementById(id);

const state = { evidence: [], trust: null, since: null, run: 0 };

function make(tag, text = '', className = '') {
  const element = document.createElement(tag);
  element.textContent = plain(text);
  if (className) element.className = className;
  return element;
}

/** A File of the browser as files.mjs wants it. */
function fileOf(file) {
  return {
    size: file.size,
    read: async (from = 0, to = file.size) => new Uint8Array(await file.slice(from, to).arrayBuffer()),
  };
}

async function bytesOf(file) {
  return file === null ? null : fileOf(file).read();
}

// Roles of files dropped together: a trust file says so itself. Files inside a folder or a zip
// are evidence, whatever they are called: trust never comes from there.
async function looksLikeTrust(file) {
  if (file.size > 262_144) return false;
  const text = decodeUtf8(await bytesOf(file));
  return text !== null && /^[ \t]*quorum[ \t]/m.test(text) && /^[ \t]*(log|report)[ \t]/m.test(text);
}

async function takeFiles(files) {
  for (const file of files) {
    if (await looksLikeTrust(file)) state.trust = file;
    else state.evidence.push({ name: file.name, file: fileOf(file) });
  }
  await changed();
}

async function takeFolder(name, files) {
  state.evidence.push({ name, folder: new Folder(files.map(([path, file]) => [path, fileOf(file)])).unwrapped() });
  await changed();
}

// Files below a dropped directory, by relative path.
async function filesBelow(entry, prefix = '') {
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [[prefix + entry.name, file]];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const batch = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (batch.length === 0) return found;
    for (const one of batch) found.push(...(await filesBelow(one, `${prefix}${entry.name}/`)));
  }
}

async function dropped(event) {
  event.preventDefault();
  find('drop').classList.remove('over');
  state.evidence = [];
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  const files = [];
  for (const entry of entries) {
    if (entry.isDirectory) await takeFolder(entry.name, await filesBelow(entry));
    else files.push(await new Promise((done, failed) => entry.file(done, failed)));
  }
  await takeFiles(files);
}

function listen() {
  find('evidence').addEventListener('change', ({ target }) => {
    const files = [...target.files];
    target.value = '';
    state.evidence = [];
    takeFiles(files);
  });
  find('directory').addEventListener('change', ({ target }) => {
    state.evidence = [];
    const files = [...target.files].map((file) => [file.webkitRelativePath, file]);
    target.value = '';
    if (files.length > 0) takeFolder(files[0][0].split('/')[0], files);
  });
  for (const role of ['trust', 'since']) {
    find(role).addEventListener('change', ({ target }) => {
      state[role] = target.files[0] ?? null;
      target.value = '';
      changed();
    });
    find(`no-${role}`).addEventListener('click', () => {
      state[role] = null;
      changed();
    });
  }
  const drop = find('drop');
  drop.addEventListener('dragover', (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
  drop.addEventListener('dragleave', () => drop.classList.remove('over'));
  drop.addEventListener('drop', dropped);
  // A file dropped beside the box must not replace this page.
  for (const name of ['dragover', 'drop']) window.addEventListener(name, (event) => event.preventDefault());
}

async function changed() {
  state.run++;
  find('chosen').replaceChildren(...state.evidence.map(({ name }) => make('li', name)));
  find('no-trust').hidden = state.trust === null;
  find('no-since').hidden = state.since === null;
  find('since-name').textContent = state.since?.name ?? '';
  await showKeys(state.run);
  await judgeAll(state.run);
}

async function showKeys(run) {
  const box = find('keys');
  if (state.trust === null) {
    box.replaceChildren(loud('No trust file.', ' Without one the best verdict is "consistent with itself; signer unknown".'));
    return;
  }
  const parts = [make('p', `Keys pinned by ${state.trust.name}:`)];
  try {
    const trust = await parseTrust(await bytesOf(state.trust));
    const pins = make('dl', '', 'pins');
    const groups = [
      ['Log key (signs checkpoints)', trust.logs],
      ['Report key (signs reports and receipts)', trust.reports],
      ...[...trust.witnesses].map(([name, key]) => [`Witness ${name}`, [key]]),
    ];
    for (const [role, keys] of groups) {
      for (const key of keys) {
        const line = make('dd');
        line.append(make('code', key.text, 'key'));
        pins.append(make('dt', `${role}, id ${key.idHex}`), line);
      }
    }
    parts.push(pins, make('p', `Quorum of witnesses: ${trust.quorum}.`));
    parts.push(loud('Is it the right trust file?', ' Compare these lines with what the vault\'s operator published elsewhere, or have them read to you.'));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    parts.push(loud('This trust file cannot be used.', ` ${error.message}`));
  }
  if (run === state.run) box.replaceChildren(...parts);
}

function loud(strong, rest) {
  const box = make('p', '', 'loud');
  box.append(make('strong', strong), plain(rest));
  return box;
}

async function judgeAll(run) {
  const progress = find('progress');
  find('verdicts').replaceChildren();
  if (state.evidence.length === 0) {
    progress.textContent = 'No evidence was chosen yet.';
    return;
  }
  const [trustBytes, sinceBytes] = [await bytesOf(state.trust), await bytesOf(state.since)];
  const beside = (name) => state.evidence.find((one) => one.name === name && one.file)?.file;
  // The files of an export are judged with its manifest.
  const companions = new Set(companionsOf(state.evidence.filter((one) => one.file).map((one) => one.name)));
  for (const piece of state.evidence.filter((one) => !(one.file && companions.has(one.name)))) {
    progress.textContent = `Checking ${piece.name} ...`;
    const verdict = await judgeOne({ ...piece, beside }, {
      trustBytes,
      sinceBytes,
      progress: (entries) => {
        if (run === state.run) progress.textContent = `Checking ${piece.name}: ${entries} entries so far ...`;
      },
    });
    if (run !== state.run) return;
    find('verdicts').append(card(piece.name, verdict));
  }
  const exits = [...document.querySelectorAll('.verdict')].map((one) => Number(one.dataset.exit));
  progress.textContent = `Done. ${tally(exits)}`;
  find('h-verdict').scrollIntoView();
}

// `2 verified, 1 FAILED.`
function tally(exits) {
  const words = [[[0], 'verified'], [[1], 'FAILED'], [[4], 'inconclusive'], [[2, 3], 'not checked']];
  return `${words
    .map(([codes, word]) => [exits.filter((exit) => codes.includes(exit)).length, word])
    .filter(([count]) => count > 0)
    .map(([count, word]) => `${count} ${word}`)
    .join(', ')}.`;
}

async function judgeOne(piece, options) {
  try {
    return await judgeAny(piece, options);
  } catch (error) {
    return {
      kind: null, code: 'FILE_IO', exit: EXIT.UNREADABLE, message: `it could not be read: ${error.message}`,
      said: [], open: [], failures: [], facts: {}, trusted: options.trustBytes !== null,
    };
  }
}

const LOOKS = new Map([
  [EXIT.VERIFIED, ['good', 'M4 13l5 5L20 6']],
  [EXIT.FAILED, ['bad', 'M5 5l14 14M19 5L5 19']],
  [EXIT.INCONCLUSIVE, ['warn', 'M12 4v10M12 18v2']],
]);

function sign(path) {
  const NS = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(NS, 'svg');
  const line = document.createElementNS(NS, 'path');
  for (const [name, value] of [['viewBox', '0 0 24 24'], ['aria-hidden', 'true'], ['fill', 'none'], ['stroke', 'currentColor'], ['stroke-width', '3'], ['stroke-linecap', 'round']]) {
    svg.setAttribute(name, value);
  }
  line.setAttribute('d', path);
  svg.append(line);
  return svg;
}

function list(title, sentences) {
  if (sentences.length === 0) return [];
  const items = make('ul');
  items.append(...sentences.map((one) => make('li', one)));
  return [make('h4', title), items];
}

const SHOWN = 100;

function card(name, verdict) {
  const [look, path] = LOOKS.get(verdict.exit) ?? ['grey', 'M5 12h14'];
  const box = make('article', '', `verdict ${look}`);
  box.dataset.exit = verdict.exit;
  box.dataset.code = verdict.code;
  const title = make('h3');
  title.append(sign(path), headline(verdict));
  const body = make('div', '', 'body');
  body.append(make('p', verdict.kind ? `${name}: ${verdict.kind}` : name, 'subject'), make('p', summary(verdict)));
  const judged = verdict.exit === EXIT.VERIFIED || verdict.exit === EXIT.INCONCLUSIVE || verdict.failures.length > 0;
  const found = verdict.failures.slice(0, SHOWN).map(findingText);
  if (verdict.failures.length > SHOWN) found.push(`and ${verdict.failures.length - SHOWN} more`);
  body.append(...list('Found', found));
  if (judged) body.append(...list(checkedTitle(verdict), verdict.said), ...list('What this does not show', verdict.open));
  const details = make('details');
  details.append(make('summary', 'Codes'), make('p', `Verdict ${verdict.code}, exit code ${verdict.exit}.`));
  if (verdict.facts.signer) details.append(make('code', verdict.facts.signer, 'key'));
  if (verdict.facts.root) details.append(make('p', `Root of ${verdict.facts.size} entries: ${verdict.facts.root}`));
  body.append(details);
  box.append(title, body);
  return box;
}

listen();
changed();
