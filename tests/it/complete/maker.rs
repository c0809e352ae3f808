//! Range and answer files made from docs/format.md alone, and logs to make them of. It may lie at
//! every step, which the crate's own writer cannot.

use crate::golden::by_the_page::{h, lp16, lp32};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chancery::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use chancery::base::event::{Category, EventCode, Outcome, Severity, Verb};
use chancery::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, SubjectTag, TenantId};
use chancery::base::secret::Key;
use chancery::base::unit::{ClassId, Day, EntryIndex, TreeSize, UtcNanos};
use chancery::crypto::sign::SigningKey;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::complete::answer::{Question, encode_head};
use chancery::format::complete::scope::Scope;
use chancery::format::entry;
use chancery::format::note;
use chancery::format::seal::payload::SealPayload;
use chancery::format::seal::row::RowKind;
use chancery::format::trust::Trust;
use chancery::format::vkey::{Algorithm, Signer};
use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) type Hash = [u8; 32];
/// Row kind and key, as rows begin.
pub(crate) type RowKey = [u8; 17];
pub(crate) type Row = [u8; 25];
pub(crate) const EPOCH: u64 = 65_536;
pub(crate) const TENANT: TenantId = TenantId([7; 16]);
const LEAF_ROWS: usize = 163;
pub(crate) const OPEN: u64 = u64::MAX;

/// SplitMix64: the same log for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.below(u64::MAX).to_be_bytes());
        bytes[8..].copy_from_slice(&self.below(u64::MAX).to_be_bytes());
        bytes
    }
}

/// A signer under a name.
pub(crate) fn signer(name: &str, seed: u8) -> Signer {
    let key = SigningKey::new(&Key::new([seed; 32]));
    Signer::new(name, Algorithm::Ed25519, key).unwrap()
}

/// Who signs the logs here.
pub(crate) fn log_key() -> Signer {
    signer(&format!("vault.example/t/{TENANT}"), 0x51)
}

/// Who signs the claims.
pub(crate) fn report_key() -> Signer {
    signer(&format!("vault.example/r/{TENANT}"), 0x52)
}

/// What an outsider pins.
pub(crate) fn trust() -> Trust {
    Trust::of(&[log_key().verifier().clone()], &[report_key().verifier().clone()]).unwrap()
}

/// A head with few distinct values, so that keys meet.
pub(crate) fn head(random: &mut Random) -> Head {
    let own = random.below(40) == 0;
    let source =
        if own { SourceHandle::ZERO } else { SourceHandle([random.below(5) as u8 + 1; 16]) };
    let mut tags: Vec<SubjectTag> =
        (0..random.below(3)).map(|_| SubjectTag([2 * random.below(100) as u8; 16])).collect();
    tags.sort();
    tags.dedup();
    let groups: Vec<GroupHead> = (0..random.below(3))
        .map(|_| GroupHead {
            policy: GroupPolicy::Tenant,
            class: ClassId(random.below(3) as u16),
            bucket: Day(20_000 + random.below(2) as u32),
            tags: Vec::new(),
        })
        .collect();
    let field = |group: usize| FieldHead {
        name: format!("f{group}").into(),
        group: group as u8,
        commitment: Hash32([group as u8; 32]),
    };
    Head {
        kind: if own { Kind::Conflict } else { Kind::Event },
        class: ClassId(random.below(3) as u16),
        time: UtcNanos(0),
        tenant: TENANT,
        record: RecordId(random.bytes()),
        event_id: EventIdTag(if random.below(2) == 0 { [0; 16] } else { random.bytes() }),
        source,
        source_seq: (random.below(3) == 0).then(|| random.below(1 << 40)),
        code: EventCode {
            category: Category::ALL[random.below(4) as usize],
            verb: Verb::ALL[random.below(3) as usize],
        },
        outcome: Outcome::ALL[random.below(3) as usize],
        severity: Severity::default(),
        tags,
        fields: (0..groups.len()).map(field).collect(),
        groups,
        clear: Vec::new(),
    }
}

/// Rows of an entry in the index table, as section 11 lists them.
pub(crate) fn rows_of(entry: &Entry) -> Vec<Row> {
    let head = &entry.head;
    let mut rows = Vec::new();
    let mut put = |kind: u8, key: &[u8]| {
        let mut row = [0; 25];
        row[0] = kind;
        row[1..1 + key.len()].copy_from_slice(key);
        row[17..].copy_from_slice(&entry.index.0.to_be_bytes());
        rows.push(row);
    };
    head.tags.iter().for_each(|tag| put(1, &tag.0));
    put(2, &[head.code.category.value(), head.code.verb.value()]);
    put(3, &head.source.0);
    for group in &head.groups {
        put(4, &[&group.class.0.to_be_bytes()[..], &group.bucket.0.to_be_bytes()].concat());
    }
    if head.event_id.0 != [0; 16] {
        put(5, &head.event_id.0);
    }
    put(6, &[head.outcome.value()]);
    if let Some(number) = head.source_seq {
        put(7, &[&head.source.0[..8], &number.to_be_bytes()].concat());
    }
    put(8, &head.record.0);
    if head.kind != Kind::Event {
        put(9, &[head.kind.value()]);
    }
    rows.sort();
    rows.dedup();
    rows
}

/// A log: entries and the hashes of their leaves.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) leaves: Vec<Hash>,
}

impl Log {
    /// Appends an entry of this head at this time.
    pub(crate) fn push(&mut self, head: Head, time: u64) {
        let prev = Hash32(self.leaves.last().copied().unwrap_or_default());
        let index = EntryIndex(self.entries.len() as u64);
        let entry = Entry { head, index, time_log: UtcNanos(time), prev };
        self.push_bytes(entry::encode(&entry).unwrap());
    }

    /// Appends the bytes of an entry.
    pub(crate) fn push_bytes(&mut self, bytes: Vec<u8>) {
        self.leaves.push(h(&[&[0], &bytes]));
        self.entries.push(bytes);
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn entry(&self, index: u64) -> Entry {
        entry::decode(&self.entries[index as usize]).unwrap()
    }

    pub(crate) fn time(&self, index: u64) -> u64 {
        self.entry(index).time_log.0
    }

    pub(crate) fn root(&self, size: u64) -> Hash {
        mth(&self.leaves[..size as usize])
    }

    /// The signed checkpoint of the first `size` entries.
    pub(crate) fn checkpoint(&self, size: u64) -> String {
        let key = log_key();
        let root = STANDARD.encode(self.root(size));
        let text = format!("{}\n{size}\n{root}\n", key.verifier().name());
        note::sign(&text, &[&key]).unwrap()
    }

    /// All index rows of an epoch, sorted.
    pub(crate) fn rows(&self, epoch: u64) -> Vec<Row> {
        let range = epoch * EPOCH..(epoch + 1) * EPOCH;
        let mut rows: Vec<Row> = range.flat_map(|at| rows_of(&self.entry(at))).collect();
        rows.sort();
        rows
    }
}

/// A log whose whole epochs have seals.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) log: Log,
    /// Where the seal of each epoch stands.
    pub(crate) seals: BTreeMap<u64, u64>,
    pub(crate) rows: BTreeMap<u64, Vec<Row>>,
}

impl Sealed {
    /// The seals and rows of a log, read from it.
    pub(crate) fn of(log: Log) -> Self {
        let mut seals = BTreeMap::new();
        for at in 0..log.len() {
            let head = log.entry(at).head;
            if head.kind == Kind::Seal {
                let seal = SealPayload::decode(&head.clear).unwrap();
                seals.entry(seal.epoch()).or_insert(at);
            }
        }
        let rows = seals.keys().map(|epoch| (*epoch, log.rows(*epoch))).collect();
        Sealed { log, seals, rows }
    }
}

/// RFC 6962 section 2.1 over hashes of leaves.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => h(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            h(&[&[1], &mth(left), &mth(right)])
        }
    }
}

/// The nodes of a gap, read literally.
fn gap(leaves: &[Hash], start: u64, end: u64, height_max: u32, out: &mut Vec<u8>) {
    let mut at = start;
    while at < end {
        let mut height = 0;
        let fits = |height: u32| at.is_multiple_of(1 << height) && at + (1 << height) <= end;
        while height < height_max && fits(height + 1) {
            height += 1;
        }
        out.extend(mth(&leaves[at as usize..(at + (1 << height)) as usize]));
        at += 1 << height;
    }
}

/// A part of a tree.
pub(crate) fn part(
    leaves: &[Hash],
    runs: &[Range<u64>],
    height_max: u32,
    leaf: &dyn Fn(u64) -> Vec<u8>,
) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    for run in runs {
        gap(leaves, at, run.start, height_max, &mut out);
        run.clone().for_each(|at| out.extend(leaf(at)));
        at = run.end;
    }
    gap(leaves, at, leaves.len() as u64, height_max, &mut out);
    out
}

pub(crate) fn runs(places: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
    let mut places: Vec<u64> = places.into_iter().collect();
    places.sort_unstable();
    places.dedup();
    let mut runs: Vec<Range<u64>> = Vec::new();
    for place in places {
        match runs.last_mut() {
            Some(run) if run.end == place => run.end += 1,
            _ => runs.push(place..place + 1),
        }
    }
    runs
}

/// A scope: a window or none, and the entries.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) window: Option<(u64, u64)>,
    pub(crate) entries: Range<u64>,
}

impl Asked {
    pub(crate) fn indexes(entries: Range<u64>) -> Self {
        Asked { window: None, entries }
    }

    fn bytes(&self) -> Vec<u8> {
        let (from, to) = self.window.unwrap_or_default();
        let mut out = vec![u8::from(self.window.is_some())];
        for number in [from, to, self.entries.start, self.entries.end] {
            out.extend(number.to_be_bytes());
        }
        out
    }
}

/// A range file.
pub(crate) fn range(log: &Log, size: u64, asked: &Asked) -> Vec<u8> {
    let Range { start, end } = asked.entries;
    let run = start.saturating_sub(1)..(end + 1).min(size);
    range_with(log, size, asked, run)
}

/// As `range`, showing this run whatever is asked.
pub(crate) fn range_with(log: &Log, size: u64, asked: &Asked, run: Range<u64>) -> Vec<u8> {
    let mut out = b"chancery/range/v1\n".to_vec();
    out.extend(asked.bytes());
    out.extend(lp32(log.checkpoint(size).as_bytes()));
    let leaf = |at: u64| lp16(&log.entries[at as usize]);
    out.extend(part(&log.leaves[..size as usize], &[run], 63, &leaf));
    out
}

/// A table of one epoch as an answer shows it.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
    /// Leaves shown.
    pub(crate) runs: Vec<Range<u64>>,
}

impl Table {
    /// The leaves that these keys need, found row by row.
    pub(crate) fn around(rows: Vec<Row>, keys: &[RowKey]) -> Self {
        let leaves = rows.len().div_ceil(LEAF_ROWS) as u64;
        let mut places = Vec::new();
        for key in keys {
            let before = rows.iter().rposition(|row| row[..17] < key[..]);
            let after = rows.iter().position(|row| row[..17] > key[..]);
            let first = before.map_or(0, |at| at / LEAF_ROWS) as u64;
            let last = after.map_or(leaves - 1, |at| (at / LEAF_ROWS) as u64);
            places.extend(first..=last);
        }
        Table { rows, runs: runs(places) }
    }

    pub(crate) fn leaves(&self) -> Vec<Hash> {
        self.rows.chunks(LEAF_ROWS).map(|rows| h(&[&[0], &rows.concat()])).collect()
    }

    pub(crate) fn root(&self) -> Hash {
        mth(&self.leaves())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = (self.rows.len() as u32).to_be_bytes().to_vec();
        out.extend((self.runs.len() as u16).to_be_bytes());
        for run in &self.runs {
            out.extend((run.start as u32).to_be_bytes());
            out.extend((run.end as u32).to_be_bytes());
        }
        let leaf = |at: u64| {
            let first = at as usize * LEAF_ROWS;
            self.rows[first..(first + LEAF_ROWS).min(self.rows.len())].concat()
        };
        out.extend(part(&self.leaves(), &self.runs, 63, &leaf));
        out
    }
}

/// An answer, step by step; every field may be made to lie.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) size: u64,
    pub(crate) asked: Asked,
    pub(crate) kind: u8,
    pub(crate) keys: Vec<[u8; 16]>,
    pub(crate) open_from: u64,
    pub(crate) claim: String,
    pub(crate) tables: Vec<Table>,
    pub(crate) shown: Vec<u64>,
}

impl Answer {
    /// The honest answer.
    pub(crate) fn honest(
        Sealed { seals, rows, .. }: &Sealed,
        size: u64,
        asked: &Asked,
        (kind, keys): (u8, &[[u8; 16]]),
    ) -> Self {
        let Range { start, end } = asked.entries;
        let first = start / EPOCH;
        let most = if start == end { first } else { end.div_ceil(EPOCH).min(size / EPOCH) };
        let open_from =
            (first..most).find(|epoch| !seals.contains_key(epoch)).unwrap_or(most.max(first));
        let full: Vec<RowKey> = keys.iter().map(|key| row_key(kind, key)).collect();
        let tables: Vec<Table> =
            (first..open_from).map(|epoch| Table::around(rows[&epoch].clone(), &full)).collect();
        let mut shown: Vec<u64> = (first..open_from).map(|epoch| seals[&epoch]).collect();
        for row in tables.iter().flat_map(|table| &table.rows) {
            let index = u64::from_be_bytes(row[17..].try_into().unwrap());
            let wanted = full.iter().any(|key| row[..17] == key[..]);
            shown.extend((wanted && asked.entries.contains(&index)).then_some(index));
        }
        shown.extend((open_from * EPOCH).max(start)..end.max(start));
        if asked.window.is_some() {
            let around = |cut: u64| [cut.checked_sub(1), (cut < size).then_some(cut)];
            shown.extend(around(start).into_iter().chain(around(end)).flatten());
        }
        shown.sort_unstable();
        shown.dedup();
        let (asked, keys, claim) = (asked.clone(), keys.to_vec(), String::new());
        Answer { size, asked, kind, keys, open_from, claim, tables, shown }
    }

    pub(crate) fn bytes(&self, log: &Log) -> Vec<u8> {
        let mut out = b"chancery/answer/v1\n".to_vec();
        out.extend(self.asked.bytes());
        out.push(self.kind);
        out.extend((self.keys.len() as u16).to_be_bytes());
        out.extend(self.keys.concat());
        out.extend(self.open_from.to_be_bytes());
        out.extend(lp32(self.claim.as_bytes()));
        out.extend(lp32(log.checkpoint(self.size).as_bytes()));
        self.tables.iter().for_each(|table| out.extend(table.bytes()));
        let runs = runs(self.shown.iter().copied());
        out.extend((runs.len() as u32).to_be_bytes());
        for run in &runs {
            out.extend(run.start.to_be_bytes());
            out.extend(run.end.to_be_bytes());
        }
        let leaf = |at: u64| lp16(&log.entries[at as usize]);
        out.extend(part(&log.leaves[..self.size as usize], &runs, 16, &leaf));
        out
    }
}

pub(crate) fn row_key(kind: u8, key: &[u8; 16]) -> RowKey {
    let mut full = [kind; 17];
    full[1..].copy_from_slice(key);
    full
}

/// A claim about the keys of an answer, signed.
pub(crate) fn claim(log: &Log, answer: &Answer, by: &Signer) -> String {
    let root: String = log.root(answer.size).iter().map(|b| format!("{b:02x}")).collect();
    let hex = |key: &[u8; 16]| key.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut text =
        format!("{}/answer-claim/v1\ncheckpoint {} {root}\n", by.verifier().name(), answer.size);
    match answer.kind {
        1 => {
            text += "subject \"email:anna@mail.example\"\n";
            for key in &answer.keys {
                text += &format!("key {} 4 2026-11\n", hex(key));
            }
        }
        _ => {
            for key in &answer.keys {
                text += &format!("source {} \"ehr\"\n", hex(key));
            }
        }
    }
    text += "limits what nobody linked\n";
    note::sign(&text, &[by]).unwrap()
}

/// An answer whose scope has 2^62 entries, all of them behind the sealed epochs, and which shows
/// one: a claim that costs nothing to make.
pub(crate) fn endless_tail() -> Vec<u8> {
    let size = TreeSize(1 << 62);
    let note = Checkpoint { origin: log_key().verifier().name().to_owned(), size, root: ROOT };
    let note = note.sign(&[&log_key()]).unwrap();
    let scope = Scope { window: None, first: EntryIndex(0), end: EntryIndex(size.0) };
    let question = Question { scope, kind: RowKind::Code, keys: vec![[1; 16]], open_from: 0 };
    let mut file = encode_head(&question, "", &note);
    file.extend(1_u32.to_be_bytes());
    file.extend([0_u64, 1].map(u64::to_be_bytes).concat());
    file
}

const ROOT: Hash32 = Hash32([3; 32]);
