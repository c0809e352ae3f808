// verify.html: what its sources make, and what people see in a real browser.

import test from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Browser, needsBrowser } from './support/browser.mjs';
import { Maker } from './support/maker.mjs';
import { b64, checkpoint, GOLDEN, note, repo, REPORT, TENANT, treeRoot, TRUST, unhex } from './support/signer.mjs';
import { zipOf } from './support/zip.mjs';

const PAGE = repo('verify/verify.html');

test('verify.html is what its sources make', () => {
  const { status, stderr } = spawnSync(process.execPath, [repo('verify/build.mjs'), '--check'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});

test('verify.html is one file, and its policy allows its own script and style only', () => {
  const html = readFileSync(PAGE, 'utf8');
  const csp = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(html)[1];
  const hash = (tag) => {
    const text = html.slice(html.indexOf(`<${tag}>`) + tag.length + 2, html.indexOf(`</${tag}>`));
    return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  };
  assert.equal(csp, `default-src 'none'; script-src ${hash('script')}; style-src ${hash('style')}; base-uri 'none'; form-action 'none'`);
  assert.equal(html.match(/<script/g).length, 1);
  assert.doesNotMatch(html, /\b(?:src|href)=|url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|innerHTML|\beval\(|document\.write/);
});

const DONE = 'return document.querySelectorAll(".verdict").length === arguments[0] && document.getElementById("progress").textContent.startsWith("Done")';
const SEEN = `return [...document.querySelectorAll('.verdict')].map((one) => ({
  code: one.dataset.code, exit: one.dataset.exit, look: one.className, title: one.querySelector('h3').textContent, text: one.innerText }))`;

test('a good, a tampered and an untrusted proof, several files, a folder, a zip, an older checkpoint', needsBrowser, async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'verify-page-'));
  const shots = process.env.VERIFY_SCREENSHOTS;
  const put = (name, data) => {
    mkdirSync(dirname(join(home, name)), { recursive: true });
    writeFileSync(join(home, name), data);
    return join(home, name);
  };
  const browser = await Browser.open();
  t.after(async () => {
    await browser.close();
    rmSync(home, { recursive: true, force: true });
  });
  const shot = async (name) => shots && browser.screenshot(join(shots, `${name}.png`));
  const seen = async (count) => {
    await browser.until(DONE, count);
    return browser.run(SEEN);
  };
  const good = put('entry.tlog-proof', GOLDEN.proof);
  const bad = put('tampered.tlog-proof', GOLDEN.proof.replace('extra Q0hF', 'extra Q0hG'));
  const trust = put('trust.policy', TRUST);

  await browser.goto(pathToFileURL(PAGE).href);
  assert.match(await browser.run('return document.getElementById("keys").innerText'), /No trust file/);
  await shot('empty');

  await browser.choose('#evidence', good);
  let [verdict] = await seen(1);
  assert.deepEqual([verdict.exit, verdict.look, verdict.title], ['4', 'verdict warn', 'INCONCLUSIVE: signer unknown']);
  assert.match(verdict.text, /consistent with itself; signer unknown/);
  assert.match(verdict.text, /by another way than the evidence/);
  await shot('untrusted');

  await browser.choose('#trust', trust);
  await browser.until('return document.querySelector(".verdict.good") !== null');
  [verdict] = await seen(1);
  assert.deepEqual([verdict.exit, verdict.code, verdict.title], ['0', 'VERIFIED', 'VERIFIED']);
  assert.match(verdict.text, /pinned log key 0d98b094/);
  assert.match(await browser.run('return document.getElementById("keys").innerText'), /0d98b094\+AcBQxWN6RPqGKf/);
  await shot('good');

  await browser.choose('#evidence', bad);
  await browser.until('return document.querySelector(".verdict.bad") !== null');
  [verdict] = await seen(1);
  assert.deepEqual([verdict.exit, verdict.code, verdict.title], ['1', 'PROOF_ROOT', 'FAILED']);
  await shot('tampered');

  await browser.choose('#evidence', good, bad, put('disclosure.json', GOLDEN.disclosure), put('<img src=x onerror=alert(1)>.txt', 'x'));
  const several = await seen(4);
  assert.deepEqual(several.map((one) => one.code), ['VERIFIED', 'PROOF_ROOT', 'VERIFIED', 'MALFORMED']);
  assert.equal(await browser.run('return document.images.length'), 0);
  await browser.size(900, 3200);
  await shot('several');
  await browser.size(900, 1400);

  const maker = new Maker();
  maker.genesis();
  maker.add({ fields: ['action'] });
  await maker.commit();
  const folder = await maker.folder();
  for (const name of folder.names()) put(`data/${name}`, await folder.get(name).read());
  await browser.choose('#directory', join(home, 'data'));
  [verdict] = await seen(1);
  assert.deepEqual([verdict.code, verdict.exit], ['VERIFIED', '0'], verdict.text);
  assert.match(verdict.text, /2 entries in 1 unit /);
  await shot('vault');

  const members = [];
  for (const name of folder.names()) members.push({ name: `data/${name}`, data: await folder.get(name).read() });
  await browser.choose('#evidence', put('data.zip', zipOf(members)));
  await browser.until('return document.querySelector(".verdict .subject")?.textContent.startsWith("data.zip")');
  [verdict] = await seen(1);
  assert.deepEqual([verdict.code, verdict.exit], ['VERIFIED', '0'], verdict.text);
  const spoiled = members.map((one) => (one.name.endsWith('.seg') && one.name.includes('log') ? { ...one, data: one.data.map((byte, i) => (i === 300 ? byte ^ 1 : byte)) } : one));
  await browser.choose('#evidence', put('spoiled.zip', zipOf(spoiled)));
  await browser.until('return document.querySelector(".verdict.bad") !== null');
  [verdict] = await seen(1);
  assert.match(verdict.text, /LEAF_MISMATCH/);
  await shot('spoiled');

  const leaves = [0, 1, 2].map((i) => unhex(GOLDEN[`leaf.${i}`]));
  const [older, newer] = [checkpoint(2, treeRoot(leaves.slice(0, 2))), checkpoint(3, treeRoot(leaves))];
  const growth = put('growth.proof', `old 2\n${b64(leaves[2])}\n\n${newer}`);
  await browser.choose('#evidence', growth);
  await browser.until('return document.querySelector(".verdict.grey") !== null');
  await browser.choose('#since', put('monday.checkpoint', older));
  await browser.until('return document.querySelector(".verdict.good") !== null');
  [verdict] = await seen(1);
  assert.match(verdict.text, /begins with the 2 of before/);
  await browser.size(400, 900);
  await shot('narrow');
  await browser.size(900, 1400);

  await browser.choose('#trust', bad);
  await browser.until('return document.querySelector(".verdict.grey") !== null');
  [verdict] = await seen(1);
  assert.equal(verdict.code, 'TRUST_POLICY');
  await shot('bad-trust');
  await browser.click('#no-trust');
  await browser.until('return document.querySelector(".verdict.warn") !== null');

  const reached = await browser.run(`return fetch('data:text/plain,x').then(() => 'reached', () => 'refused')`);
  assert.equal(reached, 'refused');
  assert.equal(await browser.run('return performance.getEntriesByType("resource").length'), 0);
});

const HASH = b64(unhex(GOLDEN['leaf.0']));
const RECEIPT = `vault.example/r/${TENANT}/erasure-receipt/v1
tenant ${TENANT}
erasure ${'31'.repeat(16)}
basis gdpr-17-1
mode two-person
requested 5 ${HASH} 2026-11-21T00:00:01Z
completed 6 ${HASH} 2026-11-21T00:00:02Z
root 3 -> 4 ${HASH} ${HASH}
store D
replicas 1/1
classes 1y
records 17
limits what a copy made before holds
`;

test('a packed vault, whole and damaged, and a receipt that is partial', needsBrowser, async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'verify-page-'));
  const shots = process.env.VERIFY_SCREENSHOTS;
  const put = (name, data) => {
    writeFileSync(join(home, name), data);
    return join(home, name);
  };
  const browser = await Browser.open();
  t.after(async () => {
    await browser.close();
    rmSync(home, { recursive: true, force: true });
  });
  const seen = async (name, look) => {
    await browser.until(`return document.querySelector(".verdict.${look} .subject")?.textContent.startsWith("${name}")`);
    const [verdict] = await browser.run(SEEN);
    await browser.size(900, 2000);
    if (shots) await browser.screenshot(join(shots, `${name}.png`));
    return verdict;
  };
  const { files, trust } = JSON.parse(readFileSync(repo('tests/golden/format/packed.json'), 'utf8'));
  const members = Object.entries(files).map(([name, data]) => ({ name: `data/${name}`, data: unhex(data) }));
  await browser.goto(pathToFileURL(PAGE).href);
  await browser.choose('#trust', put('trust.policy', trust));
  await browser.choose('#evidence', put('packed.zip', zipOf(members)));
  const whole = await seen('packed.zip', 'good');
  assert.deepEqual([whole.code, whole.exit], ['VERIFIED', '0'], whole.text);
  assert.match(whole.text, /Whether a body opens, and is what its entry commits to, needs the keys of the vault/);
  assert.match(whole.text, /Nobody outside says when/);
  const spoil = (end) => members.map((one) => (one.name.endsWith(end) ? { ...one, data: one.data.map((byte, i) => (i === 200 ? byte ^ 1 : byte)) } : one));
  await browser.choose('#evidence', put('damaged.zip', zipOf(spoil('/00000001.pak'))));
  const damaged = await seen('damaged.zip', 'bad');
  assert.match(damaged.text, /UNIT_DAMAGED: .*log\/00000001\.pak/);

  await browser.choose('#trust', put('clinic.policy', TRUST));
  const receipt = RECEIPT.replace('1/1', '1/2 E2-partial');
  await browser.choose('#evidence', put('receipt.note', note(receipt, REPORT)));
  const partial = await seen('receipt.note', 'good');
  assert.match(partial.text, /PARTIAL: a copy of the keys had not been reached/);
});
