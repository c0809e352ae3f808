//! A batch laid out for sealing: events, fields, tags and groups side by side, each record knowing
//! its ranges, and the randomness drawn for all of them. It never hashes and never seals.

use crate::base::entry::{GroupPolicy, Kind};
use crate::base::event::{Dedupe, Event, Field};
use crate::base::id::{Hash32, RecordId, SourceHandle, SubjectTag};
use crate::base::refusal::Refusal;
use crate::base::secret::Wiped;
use crate::base::world::Entropy;
use crate::format::entry::{self, FieldView, GroupView, HeadView};
use crate::vault::error::{Error, Result};
use crate::vault::keys::{BatchKeys, EventKeys};
use crate::vault::seal::Sealer;
use std::ops::Range;

/// Random bytes drawn per record and per group: record id; seed and nonce.
const RECORD_RANDOM: usize = 16;
const GROUP_RANDOM: usize = 44;

/// Events or an act with their keys, laid out for sealing: everything of a kind side by side.
pub(crate) struct Layout<'e> {
    pub(crate) records: Vec<Record<'e>>,
    /// Fields of each record, ascending by name, with their group.
    pub(crate) fields: Vec<(&'e Field<'e>, u8)>,
    /// Tags of each record, ascending, unique.
    pub(crate) tags: Vec<SubjectTag>,
    /// Groups of each record: their tags, as a range of `positions`.
    pub(crate) groups: Vec<Range<usize>>,
    pub(crate) positions: Vec<u8>,
    /// Bytes of all names and values.
    pub(crate) bytes: usize,
    /// Record ids, of each record one.
    pub(crate) ids: &'e [u8],
    /// Seed and nonce of each group.
    pub(crate) drawn: &'e [u8],
}

/// A batch to be sealed, and the randomness drawn for it.
pub(crate) struct Batch<'e> {
    pub(crate) events: &'e [Event<'e>],
    pub(crate) keys: &'e BatchKeys,
    /// Record id of each record, then seed and nonce of each group.
    pub(crate) random: Wiped<u8>,
}

/// One record of a layout.
pub(crate) struct Record<'e> {
    pub(crate) event: &'e Event<'e>,
    pub(crate) keys: &'e EventKeys,
    pub(crate) kind: Kind,
    pub(crate) clear: &'e [u8],
    pub(crate) fields: Range<usize>,
    pub(crate) tags: Range<usize>,
    pub(crate) groups: Range<usize>,
}

impl<'e> Batch<'e> {
    pub(crate) fn draw(
        events: &'e [Event<'e>],
        keys: &'e BatchKeys,
        entropy: &dyn Entropy,
    ) -> Result<Self> {
        for (position, (event, own)) in events.iter().zip(&keys.events).enumerate() {
            let there = own.subjects.len();
            if !event.groups.iter().all(|group| group.subjects.within(there)) {
                let refusal = misshapen("a group of a subject that is not there");
                return Err(Error::Invalid { position, refusal });
            }
        }
        let groups: usize = events.iter().map(|event| event.groups.len()).sum();
        let len = events.len() * RECORD_RANDOM + groups * GROUP_RANDOM;
        let mut random = Wiped(vec![0; len]);
        entropy.fill(&mut random.0);
        Ok(Batch { events, keys, random })
    }
}

impl<'e> Layout<'e> {
    /// Lays a part of a batch out.
    pub(crate) fn of(
        batch: &'e Batch<'e>,
        part: Range<usize>,
        kind: impl Fn(&'e Event<'e>) -> (Kind, &'e [u8]),
    ) -> Self {
        let (before, events) = batch.events.split_at(part.start.min(batch.events.len()));
        let count = part.len();
        let groups = |events: &[Event<'_>]| events.iter().map(|e| e.groups.len()).sum::<usize>();
        let drawn = batch.events.len() * RECORD_RANDOM + groups(before) * GROUP_RANDOM;
        let mut layout = Layout {
            records: Vec::with_capacity(count),
            fields: Vec::with_capacity(count * 6),
            tags: Vec::with_capacity(count),
            groups: Vec::with_capacity(count),
            positions: Vec::with_capacity(count),
            bytes: 0,
            ids: batch.random.get(part.start * RECORD_RANDOM..).unwrap_or_default(),
            drawn: batch.random.get(drawn..).unwrap_or_default(),
        };
        let own = batch.keys.events.get(part).unwrap_or_default();
        for (event, own) in events.iter().zip(own) {
            layout.add(event, (own, batch.keys), kind(event));
        }
        layout
    }

    fn add(
        &mut self,
        event: &'e Event<'e>,
        (own, keys): (&'e EventKeys, &'e BatchKeys),
        (kind, clear): (Kind, &'e [u8]),
    ) {
        let subjects = keys.subjects.get(own.subjects.clone()).unwrap_or_default();
        let from = self.tags.len();
        self.tags.extend(subjects.iter().map(|(_, tag)| *tag));
        if subjects.len() > 1 {
            let mut own = self.tags.split_off(from);
            own.sort_unstable();
            own.dedup();
            self.tags.append(&mut own);
        }
        let tags = from..self.tags.len();
        let groups = self.groups.len();
        let fields = self.fields.len();
        for (at, group) in event.groups.iter().enumerate() {
            let start = self.positions.len();
            let sorted = self.tags.get(tags.clone()).unwrap_or_default();
            let tag_of = |at: usize| subjects.get(at).map(|(_, tag)| tag);
            let place = |tag: &SubjectTag| sorted.binary_search(tag).map_or(0, |at| at as u8);
            self.positions.extend(group.subjects.iter().filter_map(tag_of).map(place));
            if group.subjects.len() > 1 {
                let mut own = self.positions.split_off(start);
                own.sort_unstable();
                own.dedup();
                self.positions.append(&mut own);
            }
            self.groups.push(start..self.positions.len());
            self.fields.extend(group.fields.iter().map(|field| (field, at as u8)));
            let bytes = group.fields.iter().map(|field| field.name.len() + field.value.len());
            self.bytes += bytes.sum::<usize>();
        }
        if let Some(own) = self.fields.get_mut(fields..)
            && !own.is_sorted_by(|a, b| a.0.name <= b.0.name)
        {
            own.sort_unstable_by_key(|(field, _)| field.name);
        }
        let (fields, groups) = (fields..self.fields.len(), groups..self.groups.len());
        self.records.push(Record { event, keys: own, kind, clear, fields, tags, groups });
    }

    pub(crate) fn record_id(&self, record: usize) -> RecordId {
        match self.ids.get(record * RECORD_RANDOM..).and_then(<[u8]>::first_chunk) {
            Some(id) => RecordId(*id),
            None => unreachable!("random bytes were drawn for every record"),
        }
    }

    fn drawn<const N: usize>(&self, group: usize, at: usize) -> &[u8; N] {
        let at = group * GROUP_RANDOM + at;
        match self.drawn.get(at..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => bytes,
            None => unreachable!("random bytes were drawn for every group"),
        }
    }

    pub(crate) fn seed(&self, group: usize) -> &[u8; 32] {
        self.drawn(group, 0)
    }

    pub(crate) fn nonce(&self, group: usize) -> &[u8; 12] {
        self.drawn(group, 32)
    }

    pub(crate) fn fields_of(&self, record: &Record<'e>) -> &[(&'e Field<'e>, u8)] {
        self.fields.get(record.fields.clone()).unwrap_or_default()
    }

    pub(crate) fn tags_of(&self, record: &Record<'e>) -> &[SubjectTag] {
        self.tags.get(record.tags.clone()).unwrap_or_default()
    }

    pub(crate) fn group(
        &self,
        sealer: &Sealer<'_>,
        record: &Record<'e>,
        group: usize,
    ) -> GroupView<'_> {
        let tags = self.groups.get(group).and_then(|tags| self.positions.get(tags.clone()));
        let tags = tags.unwrap_or_default();
        let policy = match tags.is_empty() {
            true => GroupPolicy::Tenant,
            false => GroupPolicy::AnySubject,
        };
        GroupView { policy, class: record.event.class, bucket: sealer.day, tags }
    }

    pub(crate) fn view<'s>(
        &'s self,
        sealer: &'s Sealer<'_>,
        record: &'s Record<'e>,
        id: &'s RecordId,
        commitments: &'s [Hash32],
    ) -> HeadView<'s, impl entry::Groups<'s>, impl entry::Fields<'s>> {
        let event = record.event;
        let own = record.kind != Kind::Event;
        let commitments = commitments.get(record.fields.clone()).unwrap_or_default();
        let fields = self.fields_of(record).iter().zip(commitments);
        HeadView {
            kind: record.kind,
            class: event.class,
            time: event.time,
            tenant: &sealer.tenant,
            record: id,
            event_id: &record.keys.event_id,
            source: if own { &SourceHandle::ZERO } else { &record.keys.source },
            source_seq: match event.dedupe {
                Dedupe::Sequence(seq) => Some(seq),
                _ => None,
            },
            code: event.code,
            outcome: event.outcome,
            severity: event.severity,
            tags: self.tags_of(record),
            groups: record.groups.clone().map(move |group| self.group(sealer, record, group)),
            fields: fields.map(|((field, group), commitment)| FieldView {
                name: &field.name,
                group: *group,
                commitment,
            }),
            clear: record.clear,
        }
    }
}

pub(crate) fn misshapen(what: &'static str) -> Refusal {
    let fix = "give every group a field, every field one name, and every subject its place";
    Refusal::new("EVENT_MISSHAPEN", fix).field(what)
}
