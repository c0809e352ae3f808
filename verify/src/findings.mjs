// What a whole log shows: findings that fail it, and findings that only ask for attention.
// docs/format.md sections 8 and 12. Never decides which evidence is looked at.

const ATTENTION = new Set([
  'TAIL_TORN', 'ERASURE_OPEN', 'ERASURE_PARTIAL', 'UNWITNESSED_TAIL', 'SEAL_LATE', 'SOURCE_GAP',
  'BODY_UNCOMMITTED', 'TILE_MISSING',
  'DAY_SEAL_MISSING', 'ANCHOR_MISSING', 'ANCHOR_UNVERIFIED', 'DUP_EVENT_ID_LATE',
]);
const KEPT = 1_000;

export class Findings {
  constructor() {
    this.list = [];
    this.counts = new Map();
    this.failed = 0;
    this.inconclusive = [];
  }

  add(code, message, index = null) {
    const fails = !ATTENTION.has(code);
    const name = code.replace('_LATE', code === 'SEAL_LATE' ? '_LATE' : '');
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    if (fails) this.failed++;
    if (this.list.length < KEPT) this.list.push({ code: name, message, index, fails });
  }

  /** Something could not be judged: the best verdict is now INCONCLUSIVE. */
  doubt(code, message) {
    this.inconclusive.push({ code, message });
  }

  /** Codes that fail, sorted, each once. */
  codes() {
    return [...new Set(this.list.filter((one) => one.fails).map((one) => one.code))].sort();
  }
}
