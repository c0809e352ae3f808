// RFC 8785: the one canonical spelling of a JSON value, stricter about integers as
// docs/format.md section 4 says. Never reads text: json.mjs does.

import { Spelled } from './json.mjs';

/** The canonical text, or null when a number has none here. */
export function canonical(value) {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (value instanceof Spelled) return number(value.value);
  if (Array.isArray(value)) return joined(value.map(canonical), '[', ']');
  const keys = [...value.keys()].sort(byCodeUnit);
  const members = keys.map((key) => {
    const text = canonical(value.get(key));
    return text === null ? null : `${JSON.stringify(key)}:${text}`;
  });
  return joined(members, '{', '}');
}

function joined(parts, open, close) {
  return parts.includes(null) ? null : `${open}${parts.join(',')}${close}`;
}

function byCodeUnit(a, b) {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

// Integers that a double cannot tell from their neighbours are refused; from 10^21 on a number
// is printed with an exponent and is no integer to its reader.
function number(value) {
  if (Math.abs(value) > Number.MAX_SAFE_INTEGER && Math.abs(value) < 1e21) return null;
  return String(value);
}
