//! ENTRY: the preimage of a leaf, without the 0x00 prefix. It never holds plaintext or ciphertext.
//!
//! ```text
//! off size field
//!   0   4  "CHE1"
//!   4   1  kind
//!   5   1  flags: bit 0 sealed fields present, bit 1 source_seq present; others 0
//!   6   2  class
//!   8   8  time the source claims, ns since 1970, 0 = none
//!  16  16  tenant
//!  32  16  record id (random)
//!  48  16  event id tag (HMAC), zero = none
//!  64  16  source handle, zero for the vault's own acts
//!  80   8  source_seq, 0 unless flag bit 1
//!  88   2  event code: category, verb
//!  90   1  outcome
//!  91   1  severity 0-10
//!  92   1  n_tags      93  1  n_groups      94  2  n_fields
//!  96      n_tags   x subject tag[16], ascending, unique
//!          n_groups x policy u8 | class u16 | bucket u32 (days)
//!                   | n u8 | n x tag position u8, ascending
//!          n_fields x lp8 name | group u8 | commitment[32], ascending by name, unique
//!          lp16 clear (RFC 8785 JSON object, or empty)
//!          0x00 x p, p the least number with (1 + head + p) mod 64 = 0
//!     48   tail: index u64 | log time u64, ns | leaf hash of index - 1 [32], zero at 0
//! ```
//!
//! `clear` is not parsed here: the leaf covers its bytes, and `format/control` reads the vault's.
//! Hence `len mod 64 = 47`: with the leaf prefix 0x00 all but the tail fills whole SHA-256
//! blocks, so workers hash the head before the place in the log is known.

use crate::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use crate::base::event::{EventCode, Outcome, Severity};
use crate::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, SubjectTag, TenantId};
use crate::base::limits;
use crate::base::unit::{ClassId, Day, EntryIndex, UtcNanos};
use crate::format::wire::{Malformed, Reader, Result, Write, len_of};
use std::sync::Arc;

/// First bytes of an entry, version included.
pub const MAGIC: [u8; 4] = *b"CHE1";
/// Bytes after the padded head: index, log time, previous leaf hash.
pub const TAIL_BYTES: usize = 48;
const FLAG_SEALED: u8 = 1;
pub(crate) const FLAG_SEQ: u8 = 2;

/// A group as a head shows it, its tag positions borrowed.
#[derive(Clone, Copy)]
pub struct GroupView<'h> {
    /// Whose keys.
    pub policy: GroupPolicy,
    /// Retention class of the group.
    pub class: ClassId,
    /// Day it was sealed.
    pub bucket: Day,
    /// Positions in the head's tags, ascending.
    pub tags: &'h [u8],
}

/// A sealed field as a head shows it, borrowed.
#[derive(Clone, Copy)]
pub struct FieldView<'h> {
    /// Registry name.
    pub name: &'h str,
    /// Position of its group.
    pub group: u8,
    /// Salted commitment to the value.
    pub commitment: &'h Hash32,
}

/// A head whose parts lie elsewhere: what a batch encodes from without copying names and tags.
#[derive(Clone, Copy)]
pub struct HeadView<'h, G, F> {
    /// What it is.
    pub kind: Kind,
    /// Retention class of the record.
    pub class: ClassId,
    /// Time the source claims; 0 = none.
    pub time: UtcNanos,
    /// Whose log.
    pub tenant: &'h TenantId,
    /// Random name.
    pub record: &'h RecordId,
    /// Keyed hash of the event id; zero = none.
    pub event_id: &'h EventIdTag,
    /// Which source; zero for the vault's own acts.
    pub source: &'h SourceHandle,
    /// The source's own number.
    pub source_seq: Option<u64>,
    /// What happened.
    pub code: EventCode,
    /// How it ended.
    pub outcome: Outcome,
    /// How grave.
    pub severity: Severity,
    /// Subject tags, ascending, unique.
    pub tags: &'h [SubjectTag],
    /// Sealed groups.
    pub groups: G,
    /// Sealed fields, ascending by name, unique.
    pub fields: F,
    /// RFC 8785 JSON object; empty = none.
    pub clear: &'h [u8],
}

/// Encodes a head and its padding: all of an entry but the 48-byte tail.
///
/// # Errors
/// `Malformed` when the entry would be longer than `limits::ENTRY_BYTES_MAX`, a count does not
/// fit, or `decode` would refuse it: what is written can be read. Nothing is truncated.
pub fn encode_head(head: &Head) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(512);
    encode_view(&mut out, &view(head))?;
    Ok(out)
}

/// As `encode_head`, appended to `out`. After an error `out` holds part of the entry.
///
/// # Errors
/// As `encode_head`.
pub fn encode_view<'h>(
    out: &mut Vec<u8>,
    head: &HeadView<'h, impl Groups<'h>, impl Fields<'h>>,
) -> Result<()> {
    check_limits(head)?;
    check_view(head)?;
    let start = out.len();
    out.raw(&MAGIC);
    out.put_u8(head.kind.value());
    let sealed = if head.fields.len() == 0 { 0 } else { FLAG_SEALED };
    let seq = if head.source_seq.is_some() { FLAG_SEQ } else { 0 };
    out.put_u8(sealed | seq);
    out.put_u16(head.class.0);
    out.put_u64(head.time.0);
    out.raw(&head.tenant.0);
    out.raw(&head.record.0);
    out.raw(&head.event_id.0);
    out.raw(&head.source.0);
    out.put_u64(head.source_seq.unwrap_or(0));
    out.put_u16(head.code.value());
    out.put_u8(head.outcome.value());
    out.put_u8(head.severity.value());
    out.put_u8(len_of(head.tags.len()));
    out.put_u8(len_of(head.groups.len()));
    out.put_u16(len_of(head.fields.len()));
    for tag in head.tags {
        out.raw(&tag.0);
    }
    for group in head.groups.clone() {
        out.put_u8(group.policy.value());
        out.put_u16(group.class.0);
        out.put_u32(group.bucket.0);
        out.put_lp8(group.tags);
    }
    for field in head.fields.clone() {
        out.put_lp8(field.name.as_bytes());
        out.put_u8(field.group);
        out.raw(&field.commitment.0);
    }
    out.put_lp16(head.clear);
    let len = (1 + out.len() - start).next_multiple_of(64) - 1;
    out.resize(start + len, 0);
    match len + TAIL_BYTES <= limits::ENTRY_BYTES_MAX {
        true => Ok(()),
        false => Err(Malformed { offset: len, what: "entry longer than 16 KiB" }),
    }
}

/// The groups of a view.
pub trait Groups<'h>: ExactSizeIterator<Item = GroupView<'h>> + Clone {}
impl<'h, T: ExactSizeIterator<Item = GroupView<'h>> + Clone> Groups<'h> for T {}

/// The fields of a view.
pub trait Fields<'h>: ExactSizeIterator<Item = FieldView<'h>> + Clone {}
impl<'h, T: ExactSizeIterator<Item = FieldView<'h>> + Clone> Fields<'h> for T {}

fn view(head: &Head) -> HeadView<'_, impl Groups<'_>, impl Fields<'_>> {
    HeadView {
        kind: head.kind,
        class: head.class,
        time: head.time,
        tenant: &head.tenant,
        record: &head.record,
        event_id: &head.event_id,
        source: &head.source,
        source_seq: head.source_seq,
        code: head.code,
        outcome: head.outcome,
        severity: head.severity,
        tags: &head.tags,
        groups: head.groups.iter().map(|g| GroupView {
            policy: g.policy,
            class: g.class,
            bucket: g.bucket,
            tags: &g.tags,
        }),
        fields: head.fields.iter().map(|f| FieldView {
            name: &f.name,
            group: f.group,
            commitment: &f.commitment,
        }),
        clear: &head.clear,
    }
}

fn check_limits<'h>(head: &HeadView<'h, impl Groups<'h>, impl Fields<'h>>) -> Result<()> {
    let counts = [
        (head.tags.len(), limits::ENTRY_TAGS_MAX, "more than 255 subject tags"),
        (head.groups.len(), limits::ENTRY_GROUPS_MAX, "more than 16 groups"),
        (head.fields.len(), limits::ENTRY_FIELDS_MAX, "more than 256 sealed fields"),
        (head.clear.len(), limits::CLEAR_BYTES_MAX, "clear part longer than 8 KiB"),
    ];
    for (count, max, what) in counts {
        if count > max {
            return Err(Malformed { offset: 0, what });
        }
    }
    Ok(())
}

/// Refuses a head whose parts do not fit together, by the same conditions as `decode`.
///
/// # Errors
/// `Malformed` at offset 0.
pub fn check_shape(head: &Head) -> Result<()> {
    check_view(&view(head))
}

/// As `check_shape`.
///
/// # Errors
/// As `check_shape`.
pub fn check_view<'h>(head: &HeadView<'h, impl Groups<'h>, impl Fields<'h>>) -> Result<()> {
    let malformed = |what| Malformed { offset: 0, what };
    let (n_tags, n_groups) = (head.tags.len(), head.groups.len());
    if !head.tags.is_sorted_by(|a, b| a < b) {
        return Err(malformed("subject tags not ascending"));
    }
    for group in head.groups.clone() {
        group_fault(group.policy, group.tags, n_tags).map_or(Ok(()), |w| Err(malformed(w)))?;
    }
    let (mut last, mut used) = ("", [false; 256]);
    for field in head.fields.clone() {
        let fault = field_fault(last, field.name, usize::from(field.group) < n_groups);
        fault.map_or(Ok(()), |what| Err(malformed(what)))?;
        if let Some(used) = used.get_mut(usize::from(field.group)) {
            *used = true;
        }
        last = field.name;
    }
    match used.iter().take(n_groups).all(|used| *used) {
        true => Ok(()),
        false => Err(malformed("a group without fields")),
    }
}

fn group_fault(policy: GroupPolicy, tags: &[u8], n_tags: usize) -> Option<&'static str> {
    if tags.len() > limits::GROUP_SUBJECTS_MAX
        || tags.iter().any(|t| usize::from(*t) >= n_tags)
        || !tags.is_sorted_by(|a, b| a < b)
    {
        return Some("group tags not ascending positions");
    }
    let fits = (policy == GroupPolicy::Tenant) == tags.is_empty();
    (!fits).then_some("group policy does not match its tags")
}

/// `last` is the name before, or empty.
fn field_fault(last: &str, name: &str, group_is_there: bool) -> Option<&'static str> {
    if name.is_empty() || name.len() > limits::FIELD_NAME_BYTES_MAX {
        return Some("field name empty or longer than 64 bytes");
    }
    if last >= name {
        return Some("field names not ascending");
    }
    (!group_is_there).then_some("field names a group that is not there")
}

/// The end of an entry, known only when it gets its place.
pub fn tail(index: EntryIndex, time_log: UtcNanos, prev: &Hash32) -> [u8; TAIL_BYTES] {
    let mut out = [0; TAIL_BYTES];
    let (place, chain) = out.split_at_mut(16);
    let (first, second) = place.split_at_mut(8);
    first.copy_from_slice(&index.0.to_be_bytes());
    second.copy_from_slice(&time_log.0.to_be_bytes());
    chain.copy_from_slice(&prev.0);
    out
}

/// Appends the tail to an encoded head, in place.
pub fn append_tail(head: &mut Vec<u8>, index: EntryIndex, time_log: UtcNanos, prev: &Hash32) {
    head.raw(&tail(index, time_log, prev));
}

/// Encodes a whole entry.
///
/// # Errors
/// As `encode_head`.
pub fn encode(entry: &Entry) -> Result<Vec<u8>> {
    let mut bytes = encode_head(&entry.head)?;
    append_tail(&mut bytes, entry.index, entry.time_log, &entry.prev);
    Ok(bytes)
}

/// Decodes an entry; anything but the one encoding of a value is `Malformed`.
///
/// # Errors
/// `Malformed` with the byte offset, before any meaning is taken from the bytes.
pub fn decode(bytes: &[u8]) -> Result<Entry> {
    if bytes.len() > limits::ENTRY_BYTES_MAX {
        return Err(Malformed { offset: 0, what: "entry longer than 16 KiB" });
    }
    let mut reader = Reader::new(bytes);
    let head = read_head(&mut reader)?;
    let padded = (1 + reader.offset()).next_multiple_of(64) - 1;
    let padding = reader.take(padded - reader.offset(), "padding")?;
    if padding.iter().any(|b| *b != 0) {
        return Err(reader.malformed("padding is not zero"));
    }
    let index = EntryIndex(reader.u64("index")?);
    let time_log = UtcNanos(reader.u64("log time")?);
    let prev = Hash32(reader.array("previous leaf hash")?);
    reader.done()?;
    if (index.0 == 0) != prev.is_zero() {
        return Err(reader.malformed("previous leaf hash is zero exactly at index 0"));
    }
    Ok(Entry { head, index, time_log, prev })
}

fn read_head(reader: &mut Reader<'_>) -> Result<Head> {
    reader.magic(&MAGIC, "entry magic")?;
    let kind = reader.u8("kind")?;
    let kind = Kind::from_value(kind).ok_or(reader.malformed("unknown kind"))?;
    let flags = reader.u8("flags")?;
    if flags & !(FLAG_SEALED | FLAG_SEQ) != 0 {
        return Err(reader.malformed("unknown flags"));
    }
    let class = ClassId(reader.u16("class")?);
    let time = UtcNanos(reader.u64("time")?);
    let tenant = TenantId(reader.array("tenant")?);
    let record = RecordId(reader.array("record id")?);
    let event_id = EventIdTag(reader.array("event id tag")?);
    let source = SourceHandle(reader.array("source")?);
    let seq = reader.u64("source_seq")?;
    if flags & FLAG_SEQ == 0 && seq != 0 {
        return Err(reader.malformed("source_seq without its flag"));
    }
    let code =
        EventCode::from_value(reader.u16("code")?).ok_or(reader.malformed("unknown code"))?;
    let outcome =
        Outcome::from_value(reader.u8("outcome")?).ok_or(reader.malformed("unknown outcome"))?;
    let severity =
        Severity::new(reader.u8("severity")?).ok_or(reader.malformed("severity > 10"))?;
    let n_tags = reader.u8("n_tags")?;
    let n_groups = reader.u8("n_groups")?;
    let n_fields = reader.u16("n_fields")?;
    let tags = read_tags(reader, n_tags)?;
    let groups = read_groups(reader, n_groups, n_tags)?;
    let fields = read_fields(reader, n_fields, n_groups)?;
    if (flags & FLAG_SEALED != 0) == fields.is_empty() {
        return Err(reader.malformed("sealed flag does not match the fields"));
    }
    let clear = reader.lp16("clear")?;
    if clear.len() > limits::CLEAR_BYTES_MAX {
        return Err(reader.malformed("clear part longer than 8 KiB"));
    }
    Ok(Head {
        kind,
        class,
        time,
        tenant,
        record,
        event_id,
        source,
        source_seq: (flags & FLAG_SEQ != 0).then_some(seq),
        code,
        outcome,
        severity,
        tags,
        groups,
        fields,
        clear: clear.to_vec(),
    })
}

fn read_tags(reader: &mut Reader<'_>, count: u8) -> Result<Vec<SubjectTag>> {
    let mut tags: Vec<SubjectTag> = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let tag = SubjectTag(reader.array("subject tag")?);
        if tags.last().is_some_and(|last| *last >= tag) {
            return Err(reader.malformed("subject tags not ascending"));
        }
        tags.push(tag);
    }
    Ok(tags)
}

fn read_groups(reader: &mut Reader<'_>, count: u8, n_tags: u8) -> Result<Vec<GroupHead>> {
    if usize::from(count) > limits::ENTRY_GROUPS_MAX {
        return Err(reader.malformed("more than 16 groups"));
    }
    let mut groups = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let policy = GroupPolicy::from_value(reader.u8("policy")?)
            .ok_or(reader.malformed("unknown group policy"))?;
        let class = ClassId(reader.u16("group class")?);
        let bucket = Day(reader.u32("bucket")?);
        let tags = reader.lp8("group tags")?;
        if let Some(what) = group_fault(policy, tags, usize::from(n_tags)) {
            return Err(reader.malformed(what));
        }
        groups.push(GroupHead { policy, class, bucket, tags: tags.to_vec() });
    }
    Ok(groups)
}

fn read_fields(reader: &mut Reader<'_>, count: u16, n_groups: u8) -> Result<Vec<FieldHead>> {
    if usize::from(count) > limits::ENTRY_FIELDS_MAX {
        return Err(reader.malformed("more than 256 sealed fields"));
    }
    let mut fields: Vec<FieldHead> = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let name = std::str::from_utf8(reader.lp8("field name")?)
            .map_err(|_| reader.malformed("field name is not UTF-8"))?;
        let group = reader.u8("field group")?;
        let last = fields.last().map_or("", |last| &*last.name);
        if let Some(what) = field_fault(last, name, group < n_groups) {
            return Err(reader.malformed(what));
        }
        let commitment = Hash32(reader.array("commitment")?);
        fields.push(FieldHead { name: Arc::from(name), group, commitment });
    }
    let used = |g: u8| fields.iter().any(|f| f.group == g);
    match (0..n_groups).all(used) {
        true => Ok(fields),
        false => Err(reader.malformed("a group without fields")),
    }
}
