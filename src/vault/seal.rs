//! Sealing a batch: salts, commitments, group keys and bodies for many events at once, so that
//! every hash of a kind runs in lanes. What comes out has no place in the log yet.
//! It never keeps a seed or a key, and it never talks to the store.

use crate::base::entry::{FieldHead, GroupHead, GroupPolicy, Head, Kind};
use crate::base::event::{Dedupe, Event, EventCode, Field, Outcome, Severity};
use crate::base::id::{EventIdTag, Hash32, PersonId, RecordId, SourceHandle, SubjectTag, TenantId};
use crate::base::refusal::Refusal;
use crate::base::secret::Key;
use crate::base::unit::{ClassDay, ClassId, Day, UtcNanos};
use crate::base::world::Entropy;
use crate::crypto::aead;
use crate::crypto::hash::State;
use crate::crypto::kdf::{HmacKey, tag};
use crate::crypto::lanes::Lanes;
use crate::format::{body, entry};
use crate::vault::error::{Error, Result};
use crate::vault::keys::EventKeys;
use crate::vault::meter::{Lap, Meter, Stage};
use std::ops::Range;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Random bytes drawn per record and per group: record id; seed and nonce.
const RECORD_RANDOM: usize = 16;
const GROUP_RANDOM: usize = 44;

/// One sealed record, its bytes in the batch's arenas.
pub(crate) struct SealedRecord {
    pub(crate) kind: Kind,
    /// Padded head in `Sealed::heads`, the 0x00 leaf prefix in front.
    pub(crate) head: Range<usize>,
    /// SHA-256 after prefix and head.
    pub(crate) midstate: State,
    pub(crate) source: SourceHandle,
    pub(crate) source_seq: Option<u64>,
    pub(crate) event_id: EventIdTag,
    pub(crate) persons: Vec<PersonId>,
    pub(crate) group_days: Vec<(ClassId, Day)>,
    /// Frames: which file of `Sealed::files`, and where in it.
    pub(crate) frames: Vec<(usize, Range<usize>)>,
    /// Payload of a control entry, for the facts.
    pub(crate) clear: Vec<u8>,
}

/// A sealed batch.
pub(crate) struct Sealed {
    pub(crate) day: Day,
    pub(crate) heads: Vec<u8>,
    pub(crate) files: Vec<(ClassDay, Vec<u8>)>,
    pub(crate) records: Vec<SealedRecord>,
}

/// What the sealer needs beside events and keys.
pub(crate) struct Sealer<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) lanes: Lanes,
    pub(crate) entropy: &'a dyn Entropy,
    pub(crate) day: Day,
    pub(crate) meter: &'a Meter,
}

/// An event or act with its keys, laid out for sealing.
struct Layout<'e> {
    head: Head,
    /// Fields in the entry's order, with their group.
    fields: Vec<(&'e Field<'e>, u8)>,
    group_keys: &'e [Arc<HmacKey>],
    persons: &'e [PersonId],
    /// Where this record's fields and groups start in the batch.
    first_field: usize,
    first_group: usize,
}

/// Facts of an act of the vault itself.
pub(crate) struct Act {
    pub(crate) kind: Kind,
    pub(crate) clear: Vec<u8>,
}

impl Sealer<'_> {
    /// Seals events with their keys.
    ///
    /// # Errors
    /// `Invalid` naming the event whose entry would be too long.
    pub(crate) fn events(&self, events: &[Event<'_>], keys: &[EventKeys]) -> Result<Sealed> {
        self.seal(events, keys, |event| (Kind::Event, event.clear.as_slice()))
    }

    /// Seals one act of the vault; `event` holds its sealed fields and code.
    ///
    /// # Errors
    /// As `events`.
    pub(crate) fn act(&self, act: &Act, event: &Event<'_>, keys: EventKeys) -> Result<Sealed> {
        self.seal(std::slice::from_ref(event), &[keys], |_| (act.kind, act.clear.as_slice()))
    }

    fn seal<'e>(
        &self,
        events: &'e [Event<'e>],
        keys: &'e [EventKeys],
        kind: impl Fn(&'e Event<'e>) -> (Kind, &'e [u8]),
    ) -> Result<Sealed> {
        let mut lap = self.meter.start();
        for (position, (event, keys)) in events.iter().zip(keys).enumerate() {
            let there = |at: &u8| usize::from(*at) < keys.tags.len();
            if !event.groups.iter().all(|group| group.subjects.iter().all(there)) {
                let refusal = misshapen("a group of a subject that is not there");
                return Err(Error::Invalid { position, refusal });
            }
        }
        let groups: usize = events.iter().map(|e| e.groups.len()).sum();
        let len = events.len() * RECORD_RANDOM + groups * GROUP_RANDOM;
        let mut random = Zeroizing::new(vec![0; len]);
        self.entropy.fill(&mut random);
        let (records, seeds) = random.split_at(events.len() * RECORD_RANDOM);
        let mut layouts = Vec::with_capacity(events.len());
        let (mut first_field, mut first_group) = (0, 0);
        for ((event, keys), record) in events.iter().zip(keys).zip(records.chunks_exact(16)) {
            let record = RecordId(record.try_into().unwrap_or_default());
            let mut layout = self.layout(event, keys, record, kind(event));
            (layout.first_field, layout.first_group) = (first_field, first_group);
            first_field += layout.fields.len();
            first_group += layout.head.groups.len();
            layouts.push(layout);
        }
        lap.end(Stage::Layout);
        let salts = self.salts(&layouts, seeds);
        lap.end(Stage::Salts);
        let commitments = self.commitments(&layouts, &salts);
        for layout in &mut layouts {
            let own = commitments.iter().skip(layout.first_field);
            for (field, commitment) in layout.head.fields.iter_mut().zip(own) {
                field.commitment = *commitment;
            }
        }
        lap.end(Stage::Commitments);
        let digests = self.digests(&layouts);
        let group_keys = self.group_keys(&layouts, &digests);
        lap.end(Stage::GroupKeys);
        let mut sealed = self.heads(&layouts, &mut lap)?;
        for (layout, record) in layouts.iter().zip(&mut sealed.records) {
            frames(layout, seeds, &digests, &group_keys, &mut sealed.files, &mut record.frames);
        }
        lap.end(Stage::Bodies);
        Ok(sealed)
    }

    fn layout<'e>(
        &self,
        event: &'e Event<'e>,
        keys: &'e EventKeys,
        record: RecordId,
        (kind, clear): (Kind, &'e [u8]),
    ) -> Layout<'e> {
        let mut tags = keys.tags.clone();
        tags.sort_unstable();
        tags.dedup();
        let position = |tag: &SubjectTag| tags.binary_search(tag).map_or(0, |at| at as u8);
        let groups: Vec<GroupHead> = event
            .groups
            .iter()
            .map(|group| {
                let of = group.subjects.iter().filter_map(|at| keys.tags.get(usize::from(*at)));
                let mut at: Vec<u8> = of.map(position).collect();
                at.sort_unstable();
                at.dedup();
                let any = !at.is_empty();
                let policy = if any { GroupPolicy::AnySubject } else { GroupPolicy::Tenant };
                GroupHead { policy, class: event.class, bucket: self.day, tags: at }
            })
            .collect();
        let mut fields: Vec<(&Field<'_>, u8)> = Vec::new();
        for (at, group) in event.groups.iter().enumerate() {
            fields.extend(group.fields.iter().map(|f| (f, at as u8)));
        }
        fields.sort_unstable_by(|a, b| a.0.name.cmp(&b.0.name));
        let heads = fields.iter().map(|(field, group)| FieldHead {
            name: field.name.clone(),
            group: *group,
            commitment: Hash32::ZERO,
        });
        let own = kind != Kind::Event;
        let head = Head {
            kind,
            class: event.class,
            time: event.time,
            tenant: self.tenant,
            record,
            event_id: keys.event_id,
            source: if own { SourceHandle::ZERO } else { keys.source },
            source_seq: match event.dedupe {
                Dedupe::Sequence(seq) => Some(seq),
                _ => None,
            },
            code: event.code,
            outcome: event.outcome,
            severity: event.severity,
            tags,
            groups,
            fields: heads.collect(),
            clear: clear.to_vec(),
        };
        let (group_keys, persons) = (keys.groups.as_slice(), keys.persons.as_slice());
        Layout { head, fields, group_keys, persons, first_field: 0, first_group: 0 }
    }

    fn salts(&self, layouts: &[Layout<'_>], seeds: &[u8]) -> Zeroizing<Vec<[u8; 32]>> {
        let mut preimages = Zeroizing::new(Vec::new());
        for layout in layouts {
            for (number, (_, group)) in layout.fields.iter().enumerate() {
                let seed = seed_of(seeds, layout.first_group + usize::from(*group));
                preimages.push(body::salt_preimage(seed, number as u16));
            }
        }
        let messages: Vec<&[u8]> = preimages.iter().map(|p| p.as_slice()).collect();
        let mut out = vec![Hash32::ZERO; messages.len()];
        self.lanes.digest_many(&messages, &mut out);
        Zeroizing::new(out.into_iter().map(|h| h.0).collect())
    }

    fn commitments(&self, layouts: &[Layout<'_>], salts: &[[u8; 32]]) -> Vec<Hash32> {
        let mut arena = Zeroizing::new(Vec::with_capacity(salts.len() * 160));
        let mut ends = Vec::with_capacity(salts.len());
        for layout in layouts {
            let own = salts.iter().skip(layout.first_field);
            for ((field, group), salt) in layout.fields.iter().zip(own) {
                let record = &layout.head.record;
                body::commit_preimage(&mut arena, record, *group, salt, &field.name, &field.value);
                ends.push(arena.len());
            }
        }
        let mut out = vec![Hash32::ZERO; ends.len()];
        self.lanes.digest_many(&slices(&arena, &ends), &mut out);
        out
    }

    /// Digest of each group's commitments, in the batch's group order.
    fn digests(&self, layouts: &[Layout<'_>]) -> Vec<Hash32> {
        let (mut arena, mut ends) = (Vec::new(), Vec::new());
        for layout in layouts {
            for group in 0..layout.head.groups.len() {
                arena.extend_from_slice(&tag::COMMITS);
                for field in &layout.head.fields {
                    if usize::from(field.group) == group {
                        arena.extend_from_slice(&field.commitment.0);
                    }
                }
                ends.push(arena.len());
            }
        }
        let mut out = vec![Hash32::ZERO; ends.len()];
        self.lanes.digest_many(&slices(&arena, &ends), &mut out);
        out
    }

    fn group_keys(&self, layouts: &[Layout<'_>], digests: &[Hash32]) -> Vec<Key> {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        let mut preimages = Vec::with_capacity(digests.len());
        for layout in layouts {
            let own = digests.iter().skip(layout.first_group);
            for (at, (key, digest)) in layout.group_keys.iter().zip(own).enumerate() {
                inner.push(*key.inner());
                outer.push(*key.outer());
                preimages.push(body::group_key_preimage(&layout.head.record, at as u8, digest));
            }
        }
        let messages: Vec<&[u8]> = preimages.iter().map(|p| p.as_slice()).collect();
        let mut middle = vec![Hash32::ZERO; messages.len()];
        self.lanes.finish_many(&inner, 64, &messages, &mut middle);
        let messages: Vec<&[u8]> = middle.iter().map(|h| h.0.as_slice()).collect();
        let mut out = vec![Hash32::ZERO; messages.len()];
        self.lanes.finish_many(&outer, 64, &messages, &mut out);
        out.into_iter().map(|h| Key::new(h.0)).collect()
    }

    /// Encodes the heads and hashes them up to the last block.
    fn heads(&self, layouts: &[Layout<'_>], lap: &mut Lap<'_>) -> Result<Sealed> {
        let mut heads = Vec::with_capacity(layouts.len() * 512);
        let mut records = Vec::with_capacity(layouts.len());
        for (position, layout) in layouts.iter().enumerate() {
            let start = heads.len();
            heads.push(0);
            let head = entry::encode_head(&layout.head)
                .map_err(|e| Error::Invalid { position, refusal: unfit(&layout.head, e.what) })?;
            heads.extend_from_slice(&head);
            let control = layout.head.kind != Kind::Event;
            records.push(SealedRecord {
                kind: layout.head.kind,
                head: start..heads.len(),
                midstate: State::IV,
                source: layout.head.source,
                source_seq: layout.head.source_seq,
                event_id: layout.head.event_id,
                persons: layout.persons.to_vec(),
                group_days: layout.head.groups.iter().map(|g| (g.class, g.bucket)).collect(),
                frames: Vec::with_capacity(layout.head.groups.len()),
                clear: if control { layout.head.clear.clone() } else { Vec::new() },
            });
        }
        lap.end(Stage::Heads);
        let blocks: Vec<&[u8]> =
            records.iter().map(|r| heads.get(r.head.clone()).unwrap_or_default()).collect();
        let mut states = vec![State::IV; blocks.len()];
        self.lanes.absorb_many(&mut states, &blocks);
        for (record, state) in records.iter_mut().zip(states) {
            record.midstate = state;
        }
        lap.end(Stage::Midstates);
        Ok(Sealed { day: self.day, heads, files: Vec::new(), records })
    }
}

/// Why a head was not encoded.
fn unfit(head: &Head, what: &'static str) -> Refusal {
    match entry::check_shape(head) {
        Ok(()) => too_long(what),
        Err(e) => misshapen(e.what),
    }
}

fn misshapen(what: &'static str) -> Refusal {
    let fix = "give every group a field, every field one name, and every subject its place";
    Refusal::new("EVENT_MISSHAPEN", fix).field(what)
}

fn too_long(what: &'static str) -> Refusal {
    let fix = "send fewer or shorter registered fields, subjects or clear values";
    let limit = crate::base::limits::ENTRY_BYTES_MAX as u64;
    Refusal::new("ENTRY_TOO_LARGE", fix).field(what).limit(limit)
}

fn seed_of(seeds: &[u8], group: usize) -> &[u8; 32] {
    match seeds.get(group * GROUP_RANDOM..).and_then(<[u8]>::first_chunk) {
        Some(seed) => seed,
        None => unreachable!("random bytes were drawn for every group"),
    }
}

fn nonce_of(seeds: &[u8], group: usize) -> &[u8; 12] {
    match seeds.get(group * GROUP_RANDOM + 32..).and_then(<[u8]>::first_chunk) {
        Some(nonce) => nonce,
        None => unreachable!("random bytes were drawn for every group"),
    }
}

fn slices<'a>(arena: &'a [u8], ends: &[usize]) -> Vec<&'a [u8]> {
    let mut start = 0;
    ends.iter()
        .map(|end| {
            let slice = arena.get(start..*end).unwrap_or_default();
            start = *end;
            slice
        })
        .collect()
}

/// Seals the bodies of one record into the files of their class-days.
fn frames(
    layout: &Layout<'_>,
    seeds: &[u8],
    digests: &[Hash32],
    keys: &[Key],
    files: &mut Vec<(ClassDay, Vec<u8>)>,
    out: &mut Vec<(usize, Range<usize>)>,
) {
    let own = digests.iter().zip(keys).skip(layout.first_group);
    for ((at, group), (digest, key)) in layout.head.groups.iter().enumerate().zip(own) {
        let class_day = ClassDay { class: group.class, day: group.bucket };
        let file = match files.iter().position(|(c, _)| *c == class_day) {
            Some(file) => file,
            None => {
                files.push((class_day, Vec::with_capacity(64 * 1024)));
                files.len() - 1
            }
        };
        let Some((_, bytes)) = files.get_mut(file) else { continue };
        let (position, global) = (at as u8, layout.first_group + at);
        let start = bytes.len();
        let nonce = nonce_of(seeds, global);
        let sealed_at = body::start_frame(bytes, position, &layout.head.record, nonce);
        let fields: Vec<(&str, &[u8])> = layout
            .fields
            .iter()
            .filter(|(_, group)| *group == position)
            .map(|(field, _)| (&*field.name, &*field.value))
            .collect();
        body::encode_plain(bytes, seed_of(seeds, global), fields.into_iter());
        let aad = body::aad(&layout.head, position, digest);
        aead::seal_in_place(key, nonce, &aad, bytes, sealed_at);
        body::finish_frame(bytes, sealed_at);
        out.push((file, start..bytes.len()));
    }
}

/// An act without sealed fields, persons or keys.
pub(crate) fn bare(class: ClassId, code: EventCode, time: UtcNanos) -> (Event<'static>, EventKeys) {
    let event = Event {
        time,
        source: Arc::from(""),
        dedupe: Dedupe::None,
        code,
        outcome: Outcome::Success,
        severity: Severity::default(),
        class,
        clear: Vec::new(),
        subjects: Vec::new(),
        groups: Vec::new(),
    };
    let keys = EventKeys {
        source: SourceHandle::ZERO,
        event_id: EventIdTag::ZERO,
        persons: Vec::new(),
        tags: Vec::new(),
        groups: Vec::new(),
    };
    (event, keys)
}
