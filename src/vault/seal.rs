//! Sealing a batch: salts, commitments, group keys and bodies for many events at once, so that
//! every hash of a kind runs in lanes. What comes out has no place in the log yet.
//! It never keeps a seed or a key, and it never talks to the store.

mod layout;

use crate::base::entry::Kind;
use crate::base::event::{Dedupe, Event, EventCode, Outcome, Severity};
use crate::base::id::{EventIdTag, Hash32, PersonId, SourceHandle, TenantId};
use crate::base::refusal::Refusal;
use crate::base::secret::{Key, Wiped};
use crate::base::unit::{ClassDay, ClassId, Day, UtcNanos};
use crate::base::world::Entropy;
use crate::crypto::aead;
use crate::crypto::hash::{PADDING_ROOM, State, pad_onto};
use crate::crypto::kdf::tag;
use crate::crypto::lanes::Lanes;
use crate::format::entry::TAIL_BYTES;
use crate::format::{body, entry, wire};
use crate::vault::crew::{Crew, ranges, side_by_side};
use crate::vault::error::{Error, Result};
use crate::vault::keys::{BatchKeys, EventKeys};
use crate::vault::meter::{Lap, Meter, Stage};
use crate::vault::seal::layout::{Batch, Layout, misshapen};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a commitment's preimage beside name and value.
const COMMIT_BYTES: usize = 2 + 16 + 1 + 32 + 1 + 4;
/// Bytes of an entry's length in a unit.
const LEN_BYTES: usize = 2;

/// One sealed record, its bytes in the batch's arenas.
pub(crate) struct SealedRecord {
    pub(crate) kind: Kind,
    /// Its entry in `Sealed::entries`, the tail not yet written.
    pub(crate) entry: Range<usize>,
    /// SHA-256 after the 0x00 leaf prefix and all of the entry but the tail.
    pub(crate) midstate: State,
    pub(crate) source: SourceHandle,
    pub(crate) source_seq: Option<u64>,
    pub(crate) event_id: EventIdTag,
    /// Class of its groups, sealed on `Sealed::day`.
    pub(crate) class: ClassId,
    /// Places in `Sealed::frames`: one a group.
    pub(crate) frames: Range<usize>,
    /// Payload of a control entry, for the facts.
    pub(crate) clear: Vec<u8>,
}

/// A sealed batch, or a part of one.
pub(crate) struct Sealed {
    pub(crate) day: Day,
    /// Entries as a unit holds them: each with its length in front.
    pub(crate) entries: Vec<u8>,
    pub(crate) files: Vec<(ClassDay, Vec<u8>)>,
    pub(crate) records: Vec<SealedRecord>,
    /// Everybody its records are about.
    pub(crate) persons: Vec<PersonId>,
    /// Where each frame starts: which of `files`, and the byte.
    pub(crate) frames: Vec<(usize, usize)>,
}

/// What the sealer needs beside events and keys.
pub(crate) struct Sealer<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) lanes: Lanes,
    pub(crate) entropy: &'a dyn Entropy,
    pub(crate) day: Day,
    pub(crate) meter: &'a Meter,
}

/// Facts of an act of the vault itself.
pub(crate) struct Act {
    pub(crate) kind: Kind,
    pub(crate) clear: Vec<u8>,
}

impl Sealer<'_> {
    /// Seals events with their keys: the parts of one batch, in order.
    ///
    /// # Errors
    /// `Invalid` naming the event whose entry would be too long.
    pub(crate) fn events(
        &self,
        events: &[Event<'_>],
        keys: &BatchKeys,
        crew: &Crew,
    ) -> Result<Vec<Sealed>> {
        let batch = Batch::draw(events, keys, self.entropy)?;
        let shift = crew.shift(events.len());
        let parts: Vec<Range<usize>> = ranges(events.len(), shift.parts).collect();
        let sealed = side_by_side(&parts, |part| {
            self.seal(&batch, part.clone(), |event| (Kind::Event, event.clear.as_slice()))
        });
        sealed.into_iter().collect()
    }

    /// Seals one act of the vault; `event` holds its sealed fields and code.
    ///
    /// # Errors
    /// As `events`.
    pub(crate) fn act(&self, act: &Act, event: &Event<'_>, keys: &BatchKeys) -> Result<Sealed> {
        let batch = Batch::draw(std::slice::from_ref(event), keys, self.entropy)?;
        self.seal(&batch, 0..1, |_| (act.kind, act.clear.as_slice()))
    }

    fn seal<'e>(
        &self,
        batch: &'e Batch<'e>,
        part: Range<usize>,
        kind: impl Fn(&'e Event<'e>) -> (Kind, &'e [u8]),
    ) -> Result<Sealed> {
        let mut lap = self.meter.start();
        let keys = batch.keys;
        let layout = Layout::of(batch, part.clone(), kind);
        lap.end(Stage::Layout);
        let salts = self.salts(&layout);
        lap.end(Stage::Salts);
        let commitments = self.commitments(&layout, &salts);
        lap.end(Stage::Commitments);
        let digests = self.digests(&layout, &commitments);
        let group_keys = self.group_keys(&layout, keys, &digests);
        lap.end(Stage::GroupKeys);
        let mut sealed =
            self.heads(&layout, keys, &commitments, &mut lap).map_err(|e| match e {
                Error::Invalid { position, refusal } => {
                    Error::Invalid { position: part.start + position, refusal }
                }
                other => other,
            })?;
        self.bodies(&layout, &digests, &group_keys, &mut sealed);
        lap.end(Stage::Bodies);
        Ok(sealed)
    }

    fn salts(&self, layout: &Layout<'_>) -> Wiped<Hash32> {
        let mut out = Wiped(vec![Hash32::ZERO; layout.fields.len()]);
        let preimages = layout.records.iter().flat_map(|record| {
            layout.fields_of(record).iter().enumerate().map(|(number, (_, group))| {
                let seed = layout.seed(record.groups.start + usize::from(*group));
                (State::IV, body::salt_preimage(seed, number as u16))
            })
        });
        self.lanes.finish_short(0, preimages, &mut out.0);
        out
    }

    fn commitments(&self, layout: &Layout<'_>, salts: &[Hash32]) -> Vec<Hash32> {
        let capacity = layout.bytes + salts.len() * (COMMIT_BYTES + PADDING_ROOM) + PADDING_ROOM;
        let mut arena = Wiped(Vec::with_capacity(capacity));
        let mut ends = Vec::with_capacity(salts.len());
        for (at, record) in layout.records.iter().enumerate() {
            let own = salts.get(record.fields.clone()).unwrap_or_default();
            for ((field, group), salt) in layout.fields_of(record).iter().zip(own) {
                let (id, out) = (layout.record_id(at), &mut arena.0);
                let start = out.len();
                body::commit_preimage(out, &id, *group, &salt.0, &field.name, &field.value);
                pad_onto(out, start);
                ends.push(out.len());
            }
        }
        debug_assert!(arena.len() <= capacity, "an arena of secrets grew");
        let mut out = vec![Hash32::ZERO; ends.len()];
        self.lanes.digest_padded(&slices(&arena, &ends), &mut out);
        out
    }

    /// Digest of each group's commitments, in the batch's group order.
    fn digests(&self, layout: &Layout<'_>, commitments: &[Hash32]) -> Vec<Hash32> {
        let mut arena =
            Vec::with_capacity(commitments.len() * 32 + layout.groups.len() * (2 + PADDING_ROOM));
        let mut ends = Vec::with_capacity(layout.groups.len());
        for record in &layout.records {
            let own = commitments.get(record.fields.clone()).unwrap_or_default();
            for group in 0..record.groups.len() {
                let start = arena.len();
                arena.extend_from_slice(&tag::COMMITS);
                for ((_, of), commitment) in layout.fields_of(record).iter().zip(own) {
                    if usize::from(*of) == group {
                        arena.extend_from_slice(&commitment.0);
                    }
                }
                pad_onto(&mut arena, start);
                ends.push(arena.len());
            }
        }
        let mut out = vec![Hash32::ZERO; ends.len()];
        self.lanes.digest_padded(&slices(&arena, &ends), &mut out);
        out
    }

    /// The key of each group: a keyed hash under its base key, whose halves come with one block
    /// absorbed.
    fn group_keys(&self, layout: &Layout<'_>, keys: &BatchKeys, digests: &[Hash32]) -> Vec<Key> {
        let groups = layout.records.iter().enumerate().flat_map(|(at, record)| {
            let bases = keys.groups.get(record.keys.groups.clone()).unwrap_or_default();
            let own = digests.get(record.groups.clone()).unwrap_or_default();
            bases.iter().zip(own).enumerate().map(move |(group, of)| (at, group, of))
        });
        let preimages = groups.clone().map(|(at, group, (base, digest))| {
            (*base.inner(), body::group_key_preimage(&layout.record_id(at), group as u8, digest))
        });
        let mut middle = Wiped(vec![Hash32::ZERO; digests.len()]);
        self.lanes.finish_short(64, preimages, &mut middle.0);
        let outer =
            groups.zip(middle.iter()).map(|((.., (base, _)), hash)| (*base.outer(), hash.0));
        let mut out = Wiped(vec![Hash32::ZERO; digests.len()]);
        self.lanes.finish_short(64, outer, &mut out.0);
        out.iter().map(|hash| Key::new(hash.0)).collect()
    }

    /// Encodes the heads where a unit will hold them and hashes them up to the last block.
    fn heads(
        &self,
        layout: &Layout<'_>,
        keys: &BatchKeys,
        commitments: &[Hash32],
        lap: &mut Lap<'_>,
    ) -> Result<Sealed> {
        let mut entries = Vec::with_capacity(layout.records.len() * 576);
        let mut records: Vec<SealedRecord> = Vec::with_capacity(layout.records.len());
        let mut persons = Vec::with_capacity(keys.subjects.len());
        for (position, record) in layout.records.iter().enumerate() {
            entries.extend_from_slice(&[0; LEN_BYTES]);
            let start = entries.len();
            let id = layout.record_id(position);
            let view = layout.view(self, record, &id, commitments);
            entry::encode_view(&mut entries, &view).map_err(|e| {
                let refusal = match entry::check_view(&view) {
                    Ok(()) => too_long(e.what),
                    Err(e) => misshapen(e.what),
                };
                Error::Invalid { position, refusal }
            })?;
            entries.resize(entries.len() + TAIL_BYTES, 0);
            let own = keys.subjects.get(record.keys.subjects.clone()).unwrap_or_default();
            persons.extend(own.iter().map(|(person, _)| *person));
            let control = record.kind != Kind::Event;
            records.push(SealedRecord {
                kind: record.kind,
                entry: start..entries.len(),
                midstate: State::IV,
                source: *view.source,
                source_seq: view.source_seq,
                event_id: record.keys.event_id,
                class: record.event.class,
                frames: record.groups.clone(),
                clear: if control { record.clear.to_vec() } else { Vec::new() },
            });
        }
        lap.end(Stage::Heads);
        self.midstates(&mut entries, &mut records);
        lap.end(Stage::Midstates);
        let frames = Vec::with_capacity(layout.groups.len());
        Ok(Sealed { day: self.day, entries, files: Vec::new(), records, persons, frames })
    }

    /// Hashes each head behind the leaf prefix, which stands where the lower byte of the entry's
    /// length comes afterwards.
    fn midstates(&self, entries: &mut [u8], records: &mut [SealedRecord]) {
        let hashed = |r: &SealedRecord| r.entry.start - 1..r.entry.end - TAIL_BYTES;
        let blocks: Vec<&[u8]> =
            records.iter().map(|r| entries.get(hashed(r)).unwrap_or_default()).collect();
        let mut states = vec![State::IV; blocks.len()];
        self.lanes.absorb_all(&blocks, |number, state| {
            states.get_mut(number).into_iter().for_each(|slot| *slot = *state);
        });
        for (record, state) in records.iter_mut().zip(states) {
            record.midstate = state;
            let len: u16 = wire::len_of(record.entry.len());
            let at = record.entry.start - LEN_BYTES..record.entry.start;
            entries.get_mut(at).into_iter().for_each(|to| to.copy_from_slice(&len.to_be_bytes()));
        }
    }

    /// Seals the bodies into the files of their class-days.
    fn bodies(&self, layout: &Layout<'_>, digests: &[Hash32], keys: &[Key], sealed: &mut Sealed) {
        // A frame's head, its seed, padding and tag, and the lengths of five fields.
        let each = body::FRAME_HEAD_BYTES + 32 + body::PAD_BYTES + aead::TAG_BYTES + 27;
        let room = layout.bytes + layout.groups.len() * each;
        let mut aad = Vec::with_capacity(128);
        let mut fields: Vec<(&str, &[u8])> = Vec::new();
        for (at, record) in layout.records.iter().enumerate() {
            let class_day = ClassDay { class: record.event.class, day: self.day };
            for (position, global) in record.groups.clone().enumerate() {
                let (Some(digest), Some(key)) = (digests.get(global), keys.get(global)) else {
                    continue;
                };
                let file = file_of(&mut sealed.files, class_day, room);
                let Some((_, bytes)) = sealed.files.get_mut(file) else { continue };
                let (id, nonce, position) =
                    (layout.record_id(at), layout.nonce(global), position as u8);
                sealed.frames.push((file, bytes.len()));
                let sealed_at = body::start_frame(bytes, position, &id, nonce);
                fields.clear();
                let own = layout.fields_of(record).iter().filter(|(_, group)| *group == position);
                fields.extend(own.map(|(field, _)| (&*field.name, &*field.value)));
                body::encode_plain(bytes, layout.seed(global), fields.iter().copied());
                aad.clear();
                let (group, tags) = (layout.group(self, record, global), layout.tags_of(record));
                body::put_aad(&mut aad, (&self.tenant, &id), position, Some(group), tags, digest);
                aead::seal_in_place(key, nonce, &aad, bytes, sealed_at);
                body::finish_frame(bytes, sealed_at);
            }
        }
    }
}

/// Number of a class-day's file in a batch, made when it is not there.
fn file_of(files: &mut Vec<(ClassDay, Vec<u8>)>, class_day: ClassDay, room: usize) -> usize {
    files.iter().position(|(known, _)| *known == class_day).unwrap_or_else(|| {
        // Most batches have one class-day; others grow as they must.
        let room = if files.is_empty() { room } else { 64 * 1024 };
        files.push((class_day, Vec::with_capacity(room)));
        files.len() - 1
    })
}

fn too_long(what: &'static str) -> Refusal {
    let fix = "send fewer or shorter registered fields, subjects or clear values";
    let limit = crate::base::limits::ENTRY_BYTES_MAX as u64;
    Refusal::new("ENTRY_TOO_LARGE", fix).field(what).limit(limit)
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

/// An act without sealed fields, persons or keys.
pub(crate) fn bare(class: ClassId, code: EventCode, time: UtcNanos) -> (Event<'static>, BatchKeys) {
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
    let own = EventKeys {
        source: SourceHandle::ZERO,
        event_id: EventIdTag::ZERO,
        subjects: 0..0,
        groups: 0..0,
    };
    (event, BatchKeys { events: vec![own], ..BatchKeys::default() })
}
