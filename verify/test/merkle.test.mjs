// Trees and their proofs: RFC 6962's values, and 196 accept-or-reject cases.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { Frontier, consistencyHolds, leafHashes, rootOf, verifyInclusion } from '../src/merkle.mjs';
import { hex } from '../src/text.mjs';
import { needsShared, SHARED, shared, unhex } from './support/signer.mjs';

const decode = (text) => new Uint8Array(Buffer.from(text ?? '', 'base64'));

function cases(kind) {
  const folder = `${SHARED}/merkle/testdata/${kind}`;
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.json'))
    .map((name) => [name, exact(shared(`merkle/testdata/${kind}/${name}`).toString())]);
}

// Sizes reach 2^64 - 1, which JSON.parse would round.
function exact(text) {
  return JSON.parse(text.replace(/: *([0-9]{16,})/g, ': "$1"'));
}

async function holds(check) {
  try {
    return (await check()) !== false;
  } catch (error) {
    assert.match(error.code ?? '', /^PROOF_/, error.stack);
    return false;
  }
}

test('roots of RFC 6962, at once and grown in any pieces', needsShared, async () => {
  const { leaf_inputs_hex: inputs, root_hashes_by_size: roots } = JSON.parse(shared('rfc6962/constants.json'));
  const leaves = await leafHashes(inputs.map(unhex));
  for (const [size, root] of roots.entries()) {
    assert.equal(hex(await rootOf(leaves.slice(0, size))), root);
    for (let first = 0; first <= size; first++) {
      const frontier = new Frontier();
      await frontier.add(leaves.slice(0, first));
      const fork = frontier.fork();
      await fork.add(leaves.slice(first, size));
      assert.equal(hex(await fork.root()), root, `${first} of ${size}`);
    }
  }
});

test('a frontier equals the whole tree at every size up to 200', async () => {
  const leaves = await leafHashes(Array.from({ length: 200 }, (_, i) => Uint8Array.of(i)));
  const frontier = new Frontier();
  for (let size = 1; size <= leaves.length; size++) {
    await frontier.add([leaves[size - 1]]);
    assert.deepEqual(await frontier.root(), await rootOf(leaves.slice(0, size)));
  }
});

test('inclusion proofs of transparency-dev', needsShared, async () => {
  const all = cases('inclusion');
  for (const [name, one] of all) {
    const found = await holds(() => verifyInclusion({
      leaf: decode(one.leafHash),
      index: BigInt.asUintN(64, BigInt(one.leafIdx)),
      size: BigInt.asUintN(64, BigInt(one.treeSize)),
      proof: (one.proof ?? []).map(decode),
      root: decode(one.root),
    }));
    assert.equal(found, !one.wantErr, name);
  }
  assert.equal(all.length, 98);
});

test('consistency proofs of transparency-dev, but for size 0, which we allow', needsShared, async () => {
  const all = cases('consistency');
  let zero = 0;
  for (const [name, one] of all) {
    const found = await consistencyHolds({
      oldSize: BigInt.asUintN(64, BigInt(one.size1)),
      oldRoot: decode(one.root1),
      size: BigInt.asUintN(64, BigInt(one.size2)),
      root: decode(one.root2),
      proof: (one.proof ?? []).map(decode),
    });
    if (found !== !one.wantErr && one.size1 === 0) zero++;
    else assert.equal(found, !one.wantErr, name);
  }
  assert.equal(all.length, 98);
  assert.ok(zero <= 3, `${zero} cases of size 0`);
});
