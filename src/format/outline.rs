//! The outline of an entry: what index and seals need of it, read without allocating. For entries
//! that are already believed, such as those of a committed unit: it finds every part by the lengths
//! the entry states and checks nothing beyond. `format/entry` is the decoder that refuses.

use crate::base::entry::{Entry, Kind};
use crate::base::event::{EventCode, Outcome};
use crate::base::id::{EventIdTag, RecordId, SourceHandle};
use crate::base::unit::{ClassDay, ClassId, Day, EntryIndex, UtcNanos};
use crate::format::entry::{FLAG_SEQ, MAGIC, TAIL_BYTES};
use crate::format::wire::{Reader, Result};

/// The fixed parts of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outline {
    /// Place in the log.
    pub index: EntryIndex,
    /// The vault's clock.
    pub time_log: UtcNanos,
    /// What it is.
    pub kind: Kind,
    /// Retention class of the record.
    pub class: ClassId,
    /// What happened.
    pub code: EventCode,
    /// How it ended.
    pub outcome: Outcome,
    /// Which source.
    pub source: SourceHandle,
    /// The source's own number.
    pub source_seq: Option<u64>,
    /// Keyed hash of the event id.
    pub event_id: EventIdTag,
    /// Random name.
    pub record: RecordId,
}

impl From<&Entry> for Outline {
    fn from(entry: &Entry) -> Self {
        let head = &entry.head;
        Outline {
            index: entry.index,
            time_log: entry.time_log,
            kind: head.kind,
            class: head.class,
            code: head.code,
            outcome: head.outcome,
            source: head.source,
            source_seq: head.source_seq,
            event_id: head.event_id,
            record: head.record,
        }
    }
}

/// Reads an entry's outline. `groups` gets the class-day of each group and `tags` each tag, in
/// the entry's order.
///
/// # Errors
/// `Malformed` when the bytes end too early or a word is unknown.
pub fn read(bytes: &[u8], groups: &mut Vec<ClassDay>, tags: &mut Vec<[u8; 16]>) -> Result<Outline> {
    let mut reader = Reader::new(bytes);
    reader.magic(&MAGIC, "entry magic")?;
    let kind = reader.u8("kind")?;
    let kind = Kind::from_value(kind).ok_or(reader.malformed("unknown kind"))?;
    let flags = reader.u8("flags")?;
    let class = ClassId(reader.u16("class")?);
    reader.take(8 + 16, "time and tenant")?;
    let record = RecordId(reader.array("record id")?);
    let event_id = EventIdTag(reader.array("event id tag")?);
    let source = SourceHandle(reader.array("source")?);
    let seq = reader.u64("source_seq")?;
    let code = reader.u16("code")?;
    let code = EventCode::from_value(code).ok_or(reader.malformed("unknown code"))?;
    let outcome = reader.u8("outcome")?;
    let outcome = Outcome::from_value(outcome).ok_or(reader.malformed("unknown outcome"))?;
    reader.u8("severity")?;
    let (n_tags, n_groups) = (reader.u8("n_tags")?, reader.u8("n_groups")?);
    reader.u16("n_fields")?;
    tags.clear();
    for _ in 0..n_tags {
        tags.push(reader.array("subject tag")?);
    }
    groups.clear();
    for _ in 0..n_groups {
        reader.u8("policy")?;
        let class = ClassId(reader.u16("group class")?);
        groups.push(ClassDay { class, day: Day(reader.u32("bucket")?) });
        reader.lp8("group tags")?;
    }
    let rest = reader.rest().len();
    reader.take(rest.saturating_sub(TAIL_BYTES), "fields")?;
    let index = EntryIndex(reader.u64("index")?);
    let time_log = UtcNanos(reader.u64("log time")?);
    let source_seq = (flags & FLAG_SEQ != 0).then_some(seq);
    Ok(Outline {
        index,
        time_log,
        kind,
        class,
        code,
        outcome,
        source,
        source_seq,
        event_id,
        record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::entry::{FieldHead, GroupHead, GroupPolicy, Head};
    use crate::base::event::{Category, Severity, Verb};
    use crate::base::id::{Hash32, SubjectTag, TenantId};
    use crate::format::entry;

    fn entry(tags: u8, groups: u8, clear: usize, seq: Option<u64>) -> Entry {
        let group = |at: u8| GroupHead {
            policy: if at < tags { GroupPolicy::AnySubject } else { GroupPolicy::Tenant },
            class: ClassId(7 + u16::from(at)),
            bucket: Day(20_000 + u32::from(at)),
            tags: if at < tags { vec![at] } else { Vec::new() },
        };
        let field = |at: u8| FieldHead {
            name: format!("f{at:03}").into(),
            group: at,
            commitment: Hash32([at; 32]),
        };
        let head = Head {
            kind: Kind::Event,
            class: ClassId(7),
            time: UtcNanos(3),
            tenant: TenantId([1; 16]),
            record: RecordId([2; 16]),
            event_id: EventIdTag([4; 16]),
            source: SourceHandle([5; 16]),
            source_seq: seq,
            code: EventCode { category: Category::Data, verb: Verb::Read },
            outcome: Outcome::Denied,
            severity: Severity::default(),
            tags: (0..tags).map(|tag| SubjectTag([tag; 16])).collect(),
            groups: (0..groups).map(group).collect(),
            fields: (0..groups).map(field).collect(),
            clear: vec![b' '; clear],
        };
        Entry { head, index: EntryIndex(9), time_log: UtcNanos(11), prev: Hash32([6; 32]) }
    }

    #[test]
    fn an_outline_says_what_the_decoder_says() {
        let (mut groups, mut tags) = (Vec::new(), Vec::new());
        for (n_tags, n_groups, clear, seq) in
            [(0, 0, 0, None), (1, 1, 40, Some(0)), (3, 5, 0, Some(7)), (16, 16, 300, None)]
        {
            let entry = entry(n_tags, n_groups, clear, seq);
            let bytes = entry::encode(&entry).expect("encodes");
            let outline = read(&bytes, &mut groups, &mut tags).expect("reads");
            let decoded = entry::decode(&bytes).expect("decodes");
            assert_eq!(outline, Outline::from(&decoded));
            let of = |g: &GroupHead| ClassDay { class: g.class, day: g.bucket };
            assert_eq!(groups, decoded.head.groups.iter().map(of).collect::<Vec<_>>());
            assert_eq!(tags, decoded.head.tags.iter().map(|tag| tag.0).collect::<Vec<_>>());
            for cut in 0..bytes.len().min(200) {
                let _ = read(bytes.get(..cut).unwrap_or_default(), &mut groups, &mut tags);
            }
        }
    }
}
