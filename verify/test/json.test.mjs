// The JSON scanner and RFC 8785.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { parseJson } from '../src/json.mjs';
import { canonical } from '../src/jcs.mjs';
import { bytes, needsShared, SHARED, shared } from './support/signer.mjs';

const refused = (text) => assert.throws(() => parseJson(bytes(text)), { code: 'MALFORMED' }, text);

test('RFC 8785 pairs', needsShared, () => {
  const names = readdirSync(`${SHARED}/jcs/testdata/input`);
  for (const name of names) {
    const value = parseJson(new Uint8Array(shared(`jcs/testdata/input/${name}`)));
    const expected = shared(`jcs/testdata/output/${name}`).toString('utf8').trimEnd();
    // The suite holds integers that this format refuses: section 4 says which.
    if (/[0-9]{17}/.test(expected)) assert.equal(canonical(value), null, name);
    else assert.equal(canonical(value), expected, name);
  }
  assert.ok(names.length >= 6);
});

test('what no JSON reader here accepts', () => {
  for (const text of [
    '', ' ', '{', '[1,]', '{"a":1,}', '{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '[{"x":{"k":1,"k":1}}]', '01', '1.', '.5',
    '+1', '1e', '1e400', '-1e400', 'NaN', 'Infinity', 'nul', 'true1', '"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', '"\\x"',
    '"\\u12"', '"\n"', '"\t"', '"', '[1 2]', '{"a" 1}', '{a:1}', "{'a':1}", '1 2', '\ufeff1', '/**/1', '[1]x',
    '['.repeat(65) + ']'.repeat(65),
  ]) refused(text);
  assert.throws(() => parseJson(new Uint8Array([0x22, 0xff, 0x22])), { code: 'MALFORMED' });
  assert.throws(() => parseJson(new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22])), { code: 'MALFORMED' });
  refused(`"${'x'.repeat(1_048_576)}"`);
});

test('what it accepts, and how it is spelled canonically', () => {
  for (const [text, expected] of [
    ['{"b":1,"a":[true,false,null]}', '{"a":[true,false,null],"b":1}'],
    ['"\\ud83d\\ude00"', '"\u{1f600}"'], ['"\\u007f\\u2028"', '"\u007f\u2028"'], ['"\\u000f\\b"', '"\\u000f\\b"'],
    ['-0', '0'], ['1e21', '1e+21'], ['1E2', '100'], ['9007199254740991', '9007199254740991'], ['0.000001', '0.000001'],
    ['1e-7', '1e-7'], ['9007199254740992', null], ['1e20', null], ['-9007199254740993', null],
    ['{"\u20ac":1,"\\ud83d\\ude00":2,"\ufb33":3}', '{"\u20ac":1,"\u{1f600}":2,"\ufb33":3}'],
    ['['.repeat(64) + ']'.repeat(64), '['.repeat(64) + ']'.repeat(64)],
    ['{"__proto__":1}', '{"__proto__":1}'],
  ]) assert.equal(canonical(parseJson(bytes(text))), expected, text);
});
