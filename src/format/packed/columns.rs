//! The entries of a block as columns. What follows from the rest is left out: magic, flags,
//! tenant, padding, index, `prev`. What is random (record ids, tags, commitments) stands apart,
//! because no compressor shortens it. Decoding gives the entries back to the byte, or nothing.
//!
//! ```text
//! compressible, one after another, each lp32:
//!   kind u8 | marks u8 (1 source sequence, 2 event id tag, 4 source) | class varint
//!   | code u16 | outcome u8 | severity u8 | number of tags u8 | shape varint
//!   claimed time: varint 0 = none, else 1 + zigzag difference to the last one in the block
//!   log time: zigzag difference to the entry before (first: to 0)
//!   source: varint, position in the list of sources
//!   sequence: zigzag difference to the last one of the same source (first: to 0)
//!   clear: varint length, bytes
//!   sources: 16 bytes each, in order of first use
//!   shapes, in order of first use: varint groups x ( policy u8 | class u16
//!     | zigzag days from the day of log time to the bucket | lp8 tag positions )
//!     | varint fields x ( lp8 name | group u8 )
//! random, entry by entry: record[16] | event id tag[16] if marked | tags | commitments
//! ```

use crate::base::entry::{Entry, FieldHead, GroupHead, GroupPolicy, Head, Kind};
use crate::base::event::{EventCode, Outcome, Severity};
use crate::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, SubjectTag, TenantId};
use crate::base::unit::{ClassId, Day, EntryIndex, UtcNanos};
use crate::format::wire::{Reader, Result, Write, len_of};
use std::collections::HashMap;
use std::sync::Arc;

const MARK_SEQ: u8 = 1;
const MARK_ID: u8 = 2;
const MARK_SOURCE: u8 = 4;
/// Columns that compress: plain, time, log time, source, sequence, clear, sources, shapes.
const COLUMNS: usize = 8;

/// Columns being filled.
#[derive(Default)]
pub(crate) struct Columns {
    column: [Vec<u8>; COLUMNS],
    random: Vec<u8>,
    shapes: HashMap<Vec<u8>, u64>,
    /// Position and last sequence of each source.
    sources: HashMap<SourceHandle, (u64, u64)>,
    /// Last sequence without a source: the grammar allows it, nobody writes it.
    sourceless: u64,
    time: u64,
    time_log: u64,
}

impl Columns {
    /// Takes in the next entry.
    pub(crate) fn push(&mut self, entry: &Entry) {
        let head = &entry.head;
        let shape = self.shape(head, entry.time_log);
        let source = self.source(head);
        let [plain, time, time_log, sources, sequence, clear, ..] = &mut self.column;
        let mark = |is: bool, mark: u8| if is { mark } else { 0 };
        plain.put_u8(head.kind.value());
        plain.put_u8(
            mark(head.source_seq.is_some(), MARK_SEQ)
                | mark(!head.event_id.is_zero(), MARK_ID)
                | mark(source.is_some(), MARK_SOURCE),
        );
        plain.put_varint(u64::from(head.class.0));
        plain.put_u16(head.code.value());
        plain.put_u8(head.outcome.value());
        plain.put_u8(head.severity.value());
        plain.put_u8(len_of(head.tags.len()));
        plain.put_varint(shape);
        if head.time.0 == 0 {
            time.put_varint(0);
        } else {
            // Differences wrap: any two times are a difference apart, and none is lost.
            let by = head.time.0.wrapping_sub(self.time).cast_signed();
            time.put_varint(1);
            time.put_zigzag(by);
            self.time = head.time.0;
        }
        time_log.put_zigzag(entry.time_log.0.wrapping_sub(self.time_log).cast_signed());
        self.time_log = entry.time_log.0;
        if let Some(source) = source {
            sources.put_varint(source);
        }
        if let Some(seq) = head.source_seq {
            let known = self.sources.get_mut(&head.source);
            let last = known.map_or(&mut self.sourceless, |(_, last)| last);
            sequence.put_zigzag(seq.wrapping_sub(*last).cast_signed());
            *last = seq;
        }
        clear.put_varint(head.clear.len() as u64);
        clear.raw(&head.clear);
        self.random.raw(&head.record.0);
        if !head.event_id.is_zero() {
            self.random.raw(&head.event_id.0);
        }
        head.tags.iter().for_each(|tag| self.random.raw(&tag.0));
        head.fields.iter().for_each(|field| self.random.raw(&field.commitment.0));
    }

    fn shape(&mut self, head: &Head, time_log: UtcNanos) -> u64 {
        let mut shape = Vec::new();
        let today = i64::from(time_log.day().0);
        shape.put_varint(head.groups.len() as u64);
        for group in &head.groups {
            shape.put_u8(group.policy.value());
            shape.put_u16(group.class.0);
            shape.put_zigzag(i64::from(group.bucket.0) - today);
            shape.put_lp8(&group.tags);
        }
        shape.put_varint(head.fields.len() as u64);
        for field in &head.fields {
            shape.put_lp8(field.name.as_bytes());
            shape.put_u8(field.group);
        }
        let next = self.shapes.len() as u64;
        if let Some(known) = self.shapes.get(&shape) {
            return *known;
        }
        let [.., shapes] = &mut self.column;
        shapes.raw(&shape);
        self.shapes.insert(shape, next);
        next
    }

    fn source(&mut self, head: &Head) -> Option<u64> {
        if head.source.is_zero() {
            return None;
        }
        let next = self.sources.len() as u64;
        let [.., sources, _] = &mut self.column;
        let known = self.sources.entry(head.source).or_insert_with(|| {
            sources.raw(&head.source.0);
            (next, 0)
        });
        Some(known.0)
    }

    /// The compressible part and the random part.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<u8>) {
        let mut out = Vec::new();
        self.column.iter().for_each(|column| out.put_lp32(column));
        (out, self.random)
    }
}

/// Entries being read back.
pub(crate) struct Rows<'a> {
    tenant: TenantId,
    column: [Reader<'a>; COLUMNS - 2],
    random: Reader<'a>,
    shapes: Vec<Shape>,
    sources: Vec<(SourceHandle, u64)>,
    sourceless: u64,
    time: u64,
    time_log: u64,
}

/// Groups (bucket as days from today) and fields of an entry.
struct Shape {
    groups: Vec<(GroupPolicy, ClassId, i64, Vec<u8>)>,
    fields: Vec<(Arc<str>, u8)>,
}

impl Shape {
    /// The groups of an entry of this log time.
    fn groups(&self, time_log: UtcNanos) -> Option<Vec<GroupHead>> {
        let today = i64::from(time_log.day().0);
        let group = |(policy, class, by, tags): &(GroupPolicy, ClassId, i64, Vec<u8>)| {
            let bucket = today.checked_add(*by).and_then(|day| u32::try_from(day).ok())?;
            let (policy, class, tags) = (*policy, *class, tags.clone());
            Some(GroupHead { policy, class, bucket: Day(bucket), tags })
        };
        self.groups.iter().map(group).collect()
    }
}

/// The first column's part of an entry.
struct Plain {
    kind: Kind,
    marks: u8,
    class: ClassId,
    code: EventCode,
    outcome: Outcome,
    severity: Severity,
    tags: u8,
    shape: u64,
}

impl Plain {
    fn read(column: &mut Reader<'_>) -> Result<Plain> {
        let unknown = column.malformed("unknown value");
        Ok(Plain {
            kind: Kind::from_value(column.u8("kind")?).ok_or(unknown.clone())?,
            marks: column.u8("marks")?,
            class: ClassId(u16::try_from(column.varint("class")?).map_err(|_| unknown.clone())?),
            code: EventCode::from_value(column.u16("code")?).ok_or(unknown.clone())?,
            outcome: Outcome::from_value(column.u8("outcome")?).ok_or(unknown.clone())?,
            severity: Severity::new(column.u8("severity")?).ok_or(unknown)?,
            tags: column.u8("tags")?,
            shape: column.varint("shape")?,
        })
    }
}

impl<'a> Rows<'a> {
    /// Takes the two parts apart.
    ///
    /// # Errors
    /// `Malformed`, as every function here.
    pub(crate) fn new(tenant: TenantId, compressible: &'a [u8], random: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(compressible);
        let mut next = || Ok(Reader::new(reader.lp32("column")?));
        let column = [next()?, next()?, next()?, next()?, next()?, next()?];
        let (mut handles, mut shapes) = (next()?, next()?);
        reader.done()?;
        let mut rows = Rows {
            tenant,
            column,
            random: Reader::new(random),
            shapes: Vec::new(),
            sources: Vec::new(),
            sourceless: 0,
            time: 0,
            time_log: 0,
        };
        while !handles.rest().is_empty() {
            rows.sources.push((SourceHandle(handles.array("source")?), 0));
        }
        while !shapes.rest().is_empty() {
            rows.shapes.push(shape(&mut shapes)?);
        }
        Ok(rows)
    }

    /// The next entry.
    pub(crate) fn next(&mut self, index: EntryIndex, prev: Hash32) -> Result<Entry> {
        let [plain, times, log_times, source_at, sequence, clears] = &mut self.column;
        let plain = Plain::read(plain)?;
        let shape = usize::try_from(plain.shape).ok().and_then(|at| self.shapes.get(at));
        let shape = shape.ok_or(times.malformed("shape"))?;
        let time = match times.varint("time")? {
            0 => 0,
            1 => {
                self.time = self.time.wrapping_add(times.zigzag("time")?.cast_unsigned());
                self.time
            }
            _ => return Err(times.malformed("time")),
        };
        let by = log_times.zigzag("log time")?;
        self.time_log = self.time_log.wrapping_add(by.cast_unsigned());
        let time_log = UtcNanos(self.time_log);
        let (source, source_seq) = match plain.marks & MARK_SOURCE != 0 {
            true => {
                let at = usize::try_from(source_at.varint("source")?).ok();
                let known = at.and_then(|at| self.sources.get_mut(at));
                let (handle, last) = known.ok_or(source_at.malformed("source"))?;
                (*handle, seq(plain.marks, sequence, last)?)
            }
            false => (SourceHandle::ZERO, seq(plain.marks, sequence, &mut self.sourceless)?),
        };
        let len = usize::try_from(clears.varint("clear")?).unwrap_or(usize::MAX);
        let clear = clears.take(len, "clear")?.to_vec();
        let record = RecordId(self.random.array("record id")?);
        let event_id = match plain.marks & MARK_ID != 0 {
            true => EventIdTag(self.random.array("event id tag")?),
            false => EventIdTag::ZERO,
        };
        let mut tags = Vec::with_capacity(usize::from(plain.tags));
        for _ in 0..plain.tags {
            tags.push(SubjectTag(self.random.array("subject tag")?));
        }
        let groups = shape.groups(time_log).ok_or(self.random.malformed("bucket"))?;
        let mut fields = Vec::with_capacity(shape.fields.len());
        for (name, group) in &shape.fields {
            let commitment = Hash32(self.random.array("commitment")?);
            fields.push(FieldHead { name: name.clone(), group: *group, commitment });
        }
        let head = Head {
            kind: plain.kind,
            class: plain.class,
            time: UtcNanos(time),
            tenant: self.tenant,
            record,
            event_id,
            source,
            source_seq,
            code: plain.code,
            outcome: plain.outcome,
            severity: plain.severity,
            tags,
            groups,
            fields,
            clear,
        };
        Ok(Entry { head, index, time_log, prev })
    }

    /// Requires that every column is used up.
    pub(crate) fn done(&self) -> Result<()> {
        self.column.iter().try_for_each(Reader::done)?;
        self.random.done()
    }
}

fn seq(marks: u8, column: &mut Reader<'_>, last: &mut u64) -> Result<Option<u64>> {
    if marks & MARK_SEQ == 0 {
        return Ok(None);
    }
    *last = last.wrapping_add(column.zigzag("sequence")?.cast_unsigned());
    Ok(Some(*last))
}

fn shape(reader: &mut Reader<'_>) -> Result<Shape> {
    let mut groups = Vec::new();
    for _ in 0..reader.varint("groups")? {
        let policy = GroupPolicy::from_value(reader.u8("policy")?);
        let policy = policy.ok_or(reader.malformed("unknown group policy"))?;
        let class = ClassId(reader.u16("group class")?);
        let by = reader.zigzag("bucket")?;
        groups.push((policy, class, by, reader.lp8("group tags")?.to_vec()));
    }
    let mut fields = Vec::new();
    for _ in 0..reader.varint("fields")? {
        let name = std::str::from_utf8(reader.lp8("field name")?)
            .map_err(|_| reader.malformed("field name is not UTF-8"))?;
        fields.push((Arc::from(name), reader.u8("field group")?));
    }
    Ok(Shape { groups, fields })
}
