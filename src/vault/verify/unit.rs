//! One unit taken apart, as far as that needs no other: entries decoded, leaves hashed in lanes,
//! bodies looked up in their frames. Workers run this in parallel; `chain` joins the results in
//! order. It never needs a key.

use crate::base::entry::{Entry, Kind};
use crate::base::id::{EventIdTag, Hash32, RecordId, SourceHandle, TenantId};
use crate::base::unit::{ClassDay, EntryIndex, UtcNanos};
use crate::crypto::lanes::Lanes;
use crate::format::unit::{SIGNATURE_BYTES, TRAILER_BYTES};
use crate::format::{entry, unit::UnitHead};
use crate::store::bodies::{Bodies, Frames, Stored};
use crate::store::disk::Disk;
use crate::store::error::{ErrorKind, Result};
use crate::vault::verify::report::Verdict;
use crate::vault::verify::walk::{Found, Reading};
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What the chain needs of an entry.
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) index: EntryIndex,
    pub(crate) time: UtcNanos,
    pub(crate) prev: Hash32,
    pub(crate) tenant: TenantId,
    pub(crate) record: RecordId,
    pub(crate) event_id: EventIdTag,
    pub(crate) source: SourceHandle,
    pub(crate) source_seq: Option<u64>,
    /// The whole entry, of the vault's own acts and when seals are replayed.
    pub(crate) entry: Option<Box<Entry>>,
}

/// Groups of one class-day in one unit.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) groups: u64,
    pub(crate) bodies: u64,
    pub(crate) missing: u64,
}

/// A unit taken apart.
pub(crate) struct Checked {
    /// Leaf hashes of the entries that could be told apart, in order.
    pub(crate) leaves: Vec<Hash32>,
    /// Its entries; `None` where malformed.
    pub(crate) entries: Vec<Option<Seen>>,
    /// It has as many entries as its head says, and they fill it.
    pub(crate) whole: bool,
    /// What it ends with.
    pub(crate) signature: [u8; SIGNATURE_BYTES],
    pub(crate) findings: Vec<Verdict>,
    /// Findings that count only when every entry is believed.
    pub(crate) extra: Vec<Verdict>,
    pub(crate) tallies: BTreeMap<ClassDay, Tally>,
    /// Groups whose body is not there, to be justified by a later entry.
    pub(crate) missing: Vec<(ClassDay, EntryIndex)>,
}

/// One worker's hands.
pub(crate) struct Worker<'a> {
    pub(crate) disk: &'a Arc<dyn Disk>,
    pub(crate) bodies: &'a Bodies,
    pub(crate) lanes: Lanes,
    /// Keep every entry.
    pub(crate) keep: bool,
    segment: Reading,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(disk: &'a Arc<dyn Disk>, bodies: &'a Bodies, keep: bool) -> Self {
        Worker { disk, bodies, lanes: Lanes::detect(), keep, segment: Reading::default() }
    }

    /// Reads and takes apart one unit.
    pub(crate) fn check(&mut self, found: &Found) -> Result<Checked> {
        let mut bytes = self.read(found)?;
        let mut checked = Checked {
            leaves: Vec::new(),
            entries: Vec::new(),
            whole: false,
            signature: bytes.last_chunk().copied().unwrap_or([0; SIGNATURE_BYTES]),
            findings: Vec::new(),
            extra: Vec::new(),
            tallies: BTreeMap::new(),
            missing: Vec::new(),
        };
        let places = places(&bytes, &found.head, &mut checked.findings);
        checked.whole = checked.findings.is_empty();
        // The byte before an entry is the low byte of its length, read above: as 0x00 it makes
        // the entry a leaf preimage in place.
        for (start, _) in &places {
            if let Some(slot) = bytes.get_mut(start - 1) {
                *slot = 0;
            }
        }
        let messages: Vec<&[u8]> =
            places.iter().map(|(s, e)| bytes.get(s - 1..*e).unwrap_or_default()).collect();
        checked.leaves = vec![Hash32::ZERO; messages.len()];
        self.lanes.digest_many(&messages, &mut checked.leaves);
        let mut spans: HashMap<ClassDay, Stored<Frames>> = HashMap::new();
        for (at, message) in messages.iter().enumerate() {
            let index = EntryIndex(found.head.first.0 + at as u64);
            let seen = match entry::decode(message.get(1..).unwrap_or_default()) {
                Ok(entry) => {
                    Some(self.take(entry, index, &found.head, &mut spans, &mut checked)?)
                }
                Err(e) => {
                    checked.findings.push(fails("MALFORMED", index, e.to_string()));
                    None
                }
            };
            checked.entries.push(seen);
        }
        extra_frames(&spans, &mut checked, found.head.first);
        Ok(checked)
    }

    fn read(&mut self, found: &Found) -> Result<Vec<u8>> {
        let file = self.segment.of(&**self.disk, found)?;
        let mut bytes = vec![0; usize::try_from(found.head.len).unwrap_or(usize::MAX)];
        file.read_exact_at(found.offset, &mut bytes)?;
        Ok(bytes)
    }

    fn take(
        &self,
        entry: Entry,
        index: EntryIndex,
        unit: &UnitHead,
        spans: &mut HashMap<ClassDay, Stored<Frames>>,
        checked: &mut Checked,
    ) -> Result<Seen> {
        for (position, group) in entry.head.groups.iter().enumerate() {
            let class_day = ClassDay { class: group.class, day: group.bucket };
            let frames = match spans.entry(class_day) {
                Occupied(read) => read.into_mut(),
                Vacant(vacant) => vacant.insert(self.span(unit, class_day)?),
            };
            let stored = match frames {
                Stored::Body(f) => f.find(index, position as u8, &entry.head.record),
                Stored::Damaged => Stored::Damaged,
                Stored::Missing => Stored::Missing,
            };
            let tally = checked.tallies.entry(class_day).or_default();
            tally.groups += 1;
            match stored {
                Stored::Body(_) => tally.bodies += 1,
                Stored::Missing => {
                    tally.missing += 1;
                    checked.missing.push((class_day, index));
                }
                Stored::Damaged => {
                    let what = format!("body of group {position} in {class_day} is damaged");
                    checked.findings.push(fails("BODY_AUTH_FAIL", index, what));
                }
            }
        }
        let keep = self.keep || entry.head.kind != Kind::Event;
        let head = &entry.head;
        Ok(Seen {
            kind: head.kind,
            index: entry.index,
            time: entry.time_log,
            prev: entry.prev,
            tenant: head.tenant,
            record: head.record,
            event_id: head.event_id,
            source: head.source,
            source_seq: head.source_seq,
            entry: keep.then(|| Box::new(entry)),
        })
    }

    fn span(&self, unit: &UnitHead, class_day: ClassDay) -> Result<Stored<Frames>> {
        let Some(span) = unit.spans.iter().find(|s| s.class_day == class_day) else {
            return Ok(Stored::Missing);
        };
        match self.bodies.read(*span) {
            Ok(frames) => Ok(Stored::Body(frames)),
            Err(e) if e.kind == ErrorKind::Missing => Ok(Stored::Missing),
            Err(e) if e.kind == ErrorKind::Corrupt => Ok(Stored::Damaged),
            Err(e) => Err(e),
        }
    }
}

/// A finding that makes the verification fail.
fn fails(name: &'static str, index: EntryIndex, detail: String) -> Verdict {
    Verdict { name, index: Some(index), fails: true, detail }
}

/// Where the entries of a unit start and end, as far as their lengths make sense.
fn places(bytes: &[u8], head: &UnitHead, findings: &mut Vec<Verdict>) -> Vec<(usize, usize)> {
    let end = bytes.len().saturating_sub(TRAILER_BYTES);
    let mut at = head.head_len();
    let mut places = Vec::new();
    for index in head.first.0..head.end.0 {
        let len = bytes.get(at..).and_then(<[u8]>::first_chunk).map(|l| u16::from_be_bytes(*l));
        let next = len.map(|len| at + 2 + usize::from(len)).filter(|next| *next <= end);
        let Some(next) = next else {
            let what = "the unit ends before this entry does".to_owned();
            findings.push(fails("MALFORMED", EntryIndex(index), what));
            return places;
        };
        places.push((at + 2, next));
        at = next;
    }
    if at != end {
        let what = "bytes after the unit's last entry".to_owned();
        let last = EntryIndex(head.end.0.saturating_sub(1));
        findings.push(fails("MALFORMED", last, what));
    }
    places
}

/// What lies in a unit's spans and no entry of it names. Beside a damaged body it is not looked
/// for: where that one ends is not known.
fn extra_frames(
    spans: &HashMap<ClassDay, Stored<Frames>>,
    checked: &mut Checked,
    first: EntryIndex,
) {
    let damaged = checked.findings.iter().any(|finding| finding.fails);
    for (class_day, frames) in spans {
        let Stored::Body(frames) = frames else { continue };
        let named = checked.tallies.get(class_day).map_or(0, |t| t.groups);
        if frames.count() as u64 > named || !frames.is_sound() && !damaged {
            let found = frames.count();
            let what = format!("{found} bodies and perhaps more in {class_day}, {named} are named");
            checked.extra.push(fails("BODY_EXTRA", first, what));
        }
    }
}
