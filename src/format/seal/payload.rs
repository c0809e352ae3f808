//! What seal and day-seal entries say in their `clear`: RFC 8785 JSON, one spelling each.
//!
//! Seal: `{"class_root":H,"class_rows":N,"count_root":H,"count_rows":N,"end":N,"entries":N,
//! "first":N,"index_root":H,"index_rows":N,"root":H,"source_root":H,"source_rows":N,
//! "t_first":T,"t_last":T}` without spaces. H is 64 lower-case hex digits in quotes, N an integer
//! of at most 2^53 - 1, T nanoseconds since 1970 as decimal digits in quotes (they pass 2^53).
//! Day-seal: `{"day":"YYYY-MM-DD","end":N,"first":N}`; an empty day has `end` = `first`.
//!
//! Any other spelling is `MALFORMED`. It never says who was active: the tables do not hold it.

use crate::base::id::Hash32;
use crate::base::limits::EPOCH_ENTRIES;
use crate::base::refusal::Refusal;
use crate::base::unit::{Day, EntryIndex, UtcNanos};
use serde::Deserialize;
use std::fmt;

/// Integers beyond this are not the same in every JSON reader.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Totals and roots of one whole epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealPayload {
    /// First entry of the epoch: a multiple of 65,536.
    pub first: EntryIndex,
    /// First entry after it.
    pub end: EntryIndex,
    /// Log time of the first entry.
    pub t_first: UtcNanos,
    /// Log time of the last entry.
    pub t_last: UtcNanos,
    /// RFC 6962 root of the leaf hashes of the epoch's entries.
    pub root: Hash32,
    /// Rows of the count table.
    pub count_rows: u64,
    /// Root of the count table.
    pub count_root: Hash32,
    /// Rows of the source table.
    pub source_rows: u64,
    /// Root of the source table.
    pub source_root: Hash32,
    /// Rows of the class table.
    pub class_rows: u64,
    /// Root of the class table.
    pub class_root: Hash32,
    /// Rows of the index table.
    pub index_rows: u64,
    /// Root of the index table.
    pub index_root: Hash32,
}

/// The entries of one UTC day, by log time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DaySealPayload {
    /// The day.
    pub day: Day,
    /// First entry of the day.
    pub first: EntryIndex,
    /// First entry after the day.
    pub end: EntryIndex,
}

/// A seal says other than its entries do: `SEAL_MISMATCH`, transferable evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealMismatch {
    /// Name of the first member that differs.
    pub member: &'static str,
}

impl fmt::Display for SealMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SEAL_MISMATCH in {}: the entries say other than the seal", self.member)
    }
}

impl std::error::Error for SealMismatch {}

/// The JSON object; its member order is the canonical one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSeal {
    class_root: String,
    class_rows: u64,
    count_root: String,
    count_rows: u64,
    end: u64,
    entries: u64,
    first: u64,
    index_root: String,
    index_rows: u64,
    root: String,
    source_root: String,
    source_rows: u64,
    t_first: String,
    t_last: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDaySeal {
    day: String,
    end: u64,
    first: u64,
}

impl SealPayload {
    /// Number of the epoch.
    pub fn epoch(&self) -> u64 {
        self.first.0 / EPOCH_ENTRIES
    }

    /// The canonical JSON object.
    pub fn encode(&self) -> Vec<u8> {
        let entries = self.end.0.saturating_sub(self.first.0);
        let table = |name: &str, root: Hash32, rows: u64| {
            format!("\"{name}_root\":\"{root}\",\"{name}_rows\":{rows}")
        };
        let members = [
            table("class", self.class_root, self.class_rows),
            table("count", self.count_root, self.count_rows),
            format!("\"end\":{},\"entries\":{entries},\"first\":{}", self.end, self.first),
            table("index", self.index_root, self.index_rows),
            format!("\"root\":\"{}\"", self.root),
            table("source", self.source_root, self.source_rows),
            format!("\"t_first\":\"{}\",\"t_last\":\"{}\"", self.t_first.0, self.t_last.0),
        ];
        format!("{{{}}}", members.join(",")).into_bytes()
    }

    /// Reads what `encode` wrote; anything else, down to one byte, is `MALFORMED`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let raw: RawSeal = serde_json::from_slice(bytes).map_err(|e| malformed("object", &e))?;
        let seal = SealPayload {
            first: EntryIndex(raw.first),
            end: EntryIndex(raw.end),
            t_first: nanos(&raw.t_first, "t_first")?,
            t_last: nanos(&raw.t_last, "t_last")?,
            root: hash(&raw.root, "root")?,
            count_rows: raw.count_rows,
            count_root: hash(&raw.count_root, "count_root")?,
            source_rows: raw.source_rows,
            source_root: hash(&raw.source_root, "source_root")?,
            class_rows: raw.class_rows,
            class_root: hash(&raw.class_root, "class_root")?,
            index_rows: raw.index_rows,
            index_root: hash(&raw.index_root, "index_root")?,
        };
        let counts = [raw.count_rows, raw.source_rows, raw.class_rows, raw.index_rows, raw.end];
        if counts.iter().any(|n| *n > INTEGER_MAX) {
            return Err(refuse("rows", "state integers of at most 2^53"));
        }
        let is_epoch = raw.first.is_multiple_of(EPOCH_ENTRIES)
            && raw.first.checked_add(EPOCH_ENTRIES) == Some(raw.end)
            && raw.entries == EPOCH_ENTRIES;
        if !is_epoch {
            return Err(refuse("first", "state one whole epoch"));
        }
        if seal.t_first > seal.t_last {
            return Err(refuse("t_last", "state times that do not fall"));
        }
        same_bytes(seal, &seal.encode(), bytes)
    }

    /// Compares a seal from the log with the one replayed from the entries.
    pub fn check(&self, replayed: &SealPayload) -> Result<(), SealMismatch> {
        let (a, b) = (self, replayed);
        let members = [
            ("first", a.first == b.first),
            ("end", a.end == b.end),
            ("t_first", a.t_first == b.t_first),
            ("t_last", a.t_last == b.t_last),
            ("root", a.root == b.root),
            ("count_rows", a.count_rows == b.count_rows),
            ("count_root", a.count_root == b.count_root),
            ("source_rows", a.source_rows == b.source_rows),
            ("source_root", a.source_root == b.source_root),
            ("class_rows", a.class_rows == b.class_rows),
            ("class_root", a.class_root == b.class_root),
            ("index_rows", a.index_rows == b.index_rows),
            ("index_root", a.index_root == b.index_root),
        ];
        match members.iter().find(|(_, same)| !same) {
            Some((member, _)) => Err(SealMismatch { member }),
            None => Ok(()),
        }
    }
}

impl DaySealPayload {
    /// The canonical JSON object.
    pub fn encode(&self) -> Vec<u8> {
        let DaySealPayload { day, first, end } = self;
        format!("{{\"day\":\"{day}\",\"end\":{end},\"first\":{first}}}").into_bytes()
    }

    /// Reads what `encode` wrote; anything else, down to one byte, is `MALFORMED`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let raw: RawDaySeal = serde_json::from_slice(bytes).map_err(|e| malformed("object", &e))?;
        let day = Day::parse(&raw.day).ok_or_else(|| refuse("day", "state YYYY-MM-DD"))?;
        if raw.first > raw.end || raw.end > INTEGER_MAX {
            return Err(refuse("end", "state an index range of at most 2^53"));
        }
        let seal = DaySealPayload { day, first: EntryIndex(raw.first), end: EntryIndex(raw.end) };
        same_bytes(seal, &seal.encode(), bytes)
    }
}

fn refuse(field: &str, fix: &'static str) -> Refusal {
    Refusal::new("MALFORMED", fix).field(field)
}

fn malformed(field: &str, error: &serde_json::Error) -> Refusal {
    refuse(field, "write the members of docs/format.md, each once").at(error.column())
}

fn same_bytes<T>(value: T, canonical: &[u8], found: &[u8]) -> Result<T, Refusal> {
    if canonical == found { Ok(value) } else { Err(refuse("object", "write RFC 8785 JSON")) }
}

fn hash(text: &str, field: &str) -> Result<Hash32, Refusal> {
    Hash32::parse(text).ok_or_else(|| refuse(field, "write 64 lower-case hex digits"))
}

fn nanos(text: &str, field: &str) -> Result<UtcNanos, Refusal> {
    let value = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    value.map(UtcNanos).ok_or_else(|| refuse(field, "write nanoseconds as decimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> SealPayload {
        SealPayload {
            first: EntryIndex(65_536),
            end: EntryIndex(131_072),
            t_first: UtcNanos(1_795_000_000_000_000_000),
            t_last: UtcNanos(1_795_000_000_000_000_001),
            root: Hash32([1; 32]),
            count_rows: 2,
            count_root: Hash32([2; 32]),
            source_rows: 3,
            source_root: Hash32([3; 32]),
            class_rows: 4,
            class_root: Hash32([4; 32]),
            index_rows: 5,
            index_root: Hash32([5; 32]),
        }
    }

    #[test]
    fn a_seal_is_canonical_json_and_reads_back() {
        let bytes = seal().encode();
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let canonical = serde_json_canonicalizer::to_vec(&value).unwrap_or_default();
        assert_eq!(String::from_utf8(bytes.clone()), String::from_utf8(canonical));
        assert_eq!(SealPayload::decode(&bytes), Ok(seal()));
        assert_eq!(seal().epoch(), 1);
    }

    #[test]
    fn every_other_spelling_of_a_seal_is_refused() {
        let good = String::from_utf8(seal().encode()).unwrap_or_default();
        let edits = [
            ("{\"class_root", "{ \"class_root"),
            ("\"end\":131072", "\"end\":131073"),
            ("\"entries\":65536", "\"entries\":65535"),
            ("\"first\":65536", "\"first\":65537"),
            ("\"first\":65536", "\"first\":65536.0"),
            ("0404", "040A"),
            ("\"0404", "\"04"),
            ("\"t_first\":\"17", "\"t_first\":\"+17"),
            ("\"t_first\":\"17", "\"t_first\":\"017"),
            ("\"t_first\":\"17", "\"t_first\":\"27"),
            ("\"index_rows\":5", "\"index_rows\":9007199254740993"),
            ("\"index_rows\":5", "\"index_rows\":5,\"index_rows\":5"),
            ("\"index_rows\":5", "\"index_rows\":-5"),
            ("\"t_last\"", "\"extra\":1,\"t_last\""),
        ];
        for (from, to) in edits {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let refusal = SealPayload::decode(bad.as_bytes());
            assert_eq!(refusal.map_err(|r| r.code), Err("MALFORMED"), "{to}");
        }
        for cut in 0..good.len() {
            assert!(SealPayload::decode(good.as_bytes().split_at(cut).0).is_err());
        }
    }

    #[test]
    fn a_wrong_seal_is_named() {
        let mut wrong = seal();
        assert_eq!(wrong.check(&seal()), Ok(()));
        wrong.index_root = Hash32([6; 32]);
        assert_eq!(wrong.check(&seal()), Err(SealMismatch { member: "index_root" }));
        wrong.count_root = Hash32([6; 32]);
        let said = wrong.check(&seal()).map_err(|e| e.to_string()).err().unwrap_or_default();
        assert!(said.starts_with("SEAL_MISMATCH in count_root"), "{said}");
    }

    #[test]
    fn day_seals_read_back_and_empty_days_exist() {
        let seal = DaySealPayload { day: Day(20_778), first: EntryIndex(7), end: EntryIndex(7) };
        let bytes = seal.encode();
        assert_eq!(bytes, br#"{"day":"2026-11-21","end":7,"first":7}"#);
        assert_eq!(DaySealPayload::decode(&bytes), Ok(seal));
        for bad in [
            &br#"{"day":"2026-11-21","end":6,"first":7}"#[..],
            br#"{"day":"2026-11-31","end":7,"first":7}"#,
            br#"{"end":7,"first":7,"day":"2026-11-21"}"#,
            br#"{"day":"2026-11-21","end":7}"#,
            br#"{"day":"2026-11-21","end":7,"first":7} "#,
        ] {
            assert_eq!(DaySealPayload::decode(bad).map_err(|r| r.code), Err("MALFORMED"));
        }
    }
}
