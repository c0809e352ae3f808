//! Reading: entries by index, records with what of them can be opened today. Every body that is
//! opened has its tag checked and every commitment recomputed. It never writes, and never hands
//! out the body of a document in the registry; whoever hands opened values to a person records a
//! disclosure first (`vault::disclose`).

mod erased;
mod sealed;

pub(crate) use crate::vault::read::erased::{Erased, ErasedAt};
pub(crate) use crate::vault::read::sealed::{Spans, commits_digest, open_body, sealing_key};

use crate::base::entry::{Entry, Head, Kind};
use crate::base::id::{Hash32, PersonId, SubjectTag};
use crate::base::record::{Fate, Record, RecordField, SubjectToken};
use crate::base::unit::{ClassDay, EntryIndex, TreeSize};
use crate::crypto::hash::leaf_hash;
use crate::crypto::merkle::Nodes;
use crate::format::body::Frame;
use crate::format::{control, entry, unit};
use crate::store::bodies::Stored;
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::keys::{Cache, Keyring};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Condvar, Mutex, PoisonError};

/// How far the housekeeper has come, and a way to wait for it.
#[derive(Default)]
pub(crate) struct Gate {
    passed: Mutex<(TreeSize, bool)>,
    changed: Condvar,
}

impl Gate {
    /// The index now covers this many entries, and will cover more.
    pub(crate) fn passed(&self, size: TreeSize) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) = (size, false);
        self.changed.notify_all();
    }

    /// The housekeeper has stopped or failed: nobody need wait for it.
    pub(crate) fn stopped(&self) {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.changed.notify_all();
    }

    /// Waits until the index covers `size`, or will not. Returns what it covers.
    pub(crate) fn wait(&self, size: TreeSize) -> TreeSize {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        while passed.0 < size && !passed.1 {
            passed = self.changed.wait(passed).unwrap_or_else(PoisonError::into_inner);
        }
        passed.0
    }
}

/// The entries of a unit's bytes, decoded one by one.
///
/// # Errors
/// `Evidence` when the bytes are no unit; each entry may fail on its own.
pub(crate) fn entries_of(bytes: &[u8]) -> Result<impl Iterator<Item = Result<Entry>> + '_> {
    let unit = unit::decode(bytes)?;
    Ok(unit.entries.into_iter().map(|bytes| Ok(entry::decode(bytes)?)))
}

/// What a reader asks for.
#[derive(Clone, Copy, Default)]
pub struct Reading<'a> {
    /// Open sealed fields.
    pub open: bool,
    /// Destination to make pseudonyms for.
    pub destination: Option<&'a [u8]>,
    /// What becomes of fields of restricted persons.
    pub restricted: Restricted,
}

impl Reading<'_> {
    /// Opens sealed fields, but for those of restricted persons.
    pub const OPEN: Reading<'static> =
        Reading { open: true, destination: None, restricted: Restricted(Access::Closed) };
    /// Opens all there is, to compare or count it: no value of it leaves the vault.
    pub(in crate::vault) const WITHIN: Reading<'static> =
        Reading { open: true, destination: None, restricted: Restricted(Access::Within) };
}

/// Whether fields of restricted persons are opened (GDPR Art. 18). They stay closed unless a
/// disclose entry of the log names a ground: `Vault::reading_of` makes such a reading from the
/// entry, and nothing else outside the vault does.
#[derive(Clone, Copy, Default, Debug)]
pub struct Restricted(Access);

#[derive(Clone, Copy, Default, Debug)]
enum Access {
    #[default]
    Closed,
    /// Whose values stay within the vault.
    Within,
    /// Of entries from the first to the last: a disclose entry says so.
    Between(EntryIndex, EntryIndex),
}

impl Restricted {
    fn opens(self, index: EntryIndex) -> bool {
        match self.0 {
            Access::Closed => false,
            Access::Within => true,
            Access::Between(first, last) => (first..=last).contains(&index),
        }
    }
}

impl Vault {
    /// The bytes of an entry.
    ///
    /// # Errors
    /// `NotFound` beyond the end of the log.
    pub fn entry_bytes(&self, index: EntryIndex) -> Result<Vec<u8>> {
        let unit =
            self.inner.log.unit_of(index)?.ok_or(Error::NotFound { code: "ENTRY_UNKNOWN" })?;
        let bytes = self.inner.proven.read(&unit)?;
        let decoded = unit::decode(&bytes)?;
        let at = usize::try_from(index.0 - unit.head.first.0).unwrap_or(usize::MAX);
        let entry = decoded.entries.get(at).ok_or(Error::NotFound { code: "ENTRY_UNKNOWN" })?;
        Ok(entry.to_vec())
    }

    /// An entry.
    ///
    /// # Errors
    /// As `entry_bytes`; `Evidence` when it is malformed.
    pub fn entry(&self, index: EntryIndex) -> Result<Entry> {
        Ok(entry::decode(&self.entry_bytes(index)?)?)
    }

    /// Calls `each` with the entries at these indexes, which must ascend; a unit that holds
    /// several of them is read once.
    ///
    /// # Errors
    /// As `entry`, and those of `each`.
    pub(crate) fn for_entries_at(
        &self,
        ascending: &[EntryIndex],
        each: &mut dyn FnMut(Entry) -> Result<()>,
    ) -> Result<()> {
        self.inner.proven.for_entries_at(ascending, each)
    }

    /// Calls `each` with every entry of a range, in order, with its leaf hash.
    ///
    /// # Errors
    /// Those of the store, of decoding and of `each`.
    pub fn for_each_entry(
        &self,
        range: Range<EntryIndex>,
        each: &mut dyn FnMut(Entry, Hash32) -> Result<()>,
    ) -> Result<()> {
        let mut next = range.start;
        while next < range.end {
            let Some(unit) = self.inner.log.unit_of(next)? else { return Ok(()) };
            let bytes = self.inner.proven.read(&unit)?;
            let decoded = unit::decode(&bytes)?;
            for bytes in decoded.entries {
                let entry = entry::decode(bytes)?;
                if range.contains(&entry.index) {
                    next = EntryIndex(entry.index.0 + 1);
                    each(entry, leaf_hash(bytes))?;
                }
            }
            next = next.max(EntryIndex(unit.head.end.0));
        }
        Ok(())
    }

    /// Calls `each` with the stored bytes of every entry of a range, in order.
    ///
    /// # Errors
    /// As `for_each_entry`.
    pub fn for_each_entry_bytes(
        &self,
        range: Range<EntryIndex>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut next = range.start;
        while next < range.end {
            let Some(unit) = self.inner.log.unit_of(next)? else { return Ok(()) };
            let bytes = self.inner.proven.read(&unit)?;
            let wanted = (unit.head.first.0..).zip(unit::decode(&bytes)?.entries);
            for (index, entry) in wanted {
                if range.contains(&EntryIndex(index)) {
                    each(entry)?;
                }
            }
            next = EntryIndex(unit.head.end.0);
        }
        Ok(())
    }

    /// Calls `each` with every record of a range, in order.
    ///
    /// # Errors
    /// Those of the store and of `each`. A body that cannot be opened is a `Fate`, not an error.
    pub fn for_each_record(
        &self,
        range: Range<EntryIndex>,
        reading: Reading<'_>,
        each: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<()> {
        let erased = self.prepare(reading)?;
        let mut next = range.start;
        while next < range.end {
            let Some(unit) = self.inner.log.unit_of(next)? else { return Ok(()) };
            let bytes = self.inner.proven.read(&unit)?;
            let decoded = unit::decode(&bytes)?;
            let mut frames = Spans::new(&unit.head.spans);
            for bytes in decoded.entries {
                let entry = entry::decode(bytes)?;
                if range.contains(&entry.index) {
                    next = EntryIndex(entry.index.0 + 1);
                    let leaf = leaf_hash(bytes);
                    let record = self.record_of(entry, leaf, reading, &mut frames, &erased)?;
                    each(self.named(record.without_private())?)?;
                }
            }
            next = next.max(EntryIndex(unit.head.end.0));
        }
        Ok(())
    }

    /// One record.
    ///
    /// # Errors
    /// As `entry`, also of the entry that names the record's source.
    pub fn record(&self, index: EntryIndex, reading: Reading<'_>) -> Result<Record> {
        self.named(self.unnamed(index, reading)?)
    }

    /// A reading of what a disclose entry is about: with fields of restricted persons, if it names
    /// the ground on which they are opened.
    ///
    /// # Errors
    /// As `entry`; `Evidence` when it is no disclose entry.
    pub fn reading_of(&self, recorded: EntryIndex) -> Result<Reading<'static>> {
        let entry = self.entry(recorded)?;
        if entry.head.kind != Kind::Disclose {
            return Err(Error::evidence(
                "MALFORMED",
                format!("entry {recorded} discloses nothing"),
            ));
        }
        let said: control::Disclose = control::decode(&entry.head.clear)?;
        let access = match said.ground {
            Some(_) => Access::Between(said.first, said.last),
            None => Access::Closed,
        };
        Ok(Reading { restricted: Restricted(access), ..Reading::OPEN })
    }

    fn named(&self, record: Record) -> Result<Record> {
        let source = self.source_name(&record.entry.head.source)?;
        Ok(Record { source, ..record })
    }

    /// One record without the name of its source, which another entry holds.
    pub(crate) fn unnamed(&self, index: EntryIndex, reading: Reading<'_>) -> Result<Record> {
        let erased = self.prepare(reading)?;
        let unit =
            self.inner.log.unit_of(index)?.ok_or(Error::NotFound { code: "ENTRY_UNKNOWN" })?;
        let bytes = self.entry_bytes(index)?;
        let mut frames = Spans::new(&unit.head.spans);
        let entry = entry::decode(&bytes)?;
        let record = self.record_of(entry, leaf_hash(&bytes), reading, &mut frames, &erased)?;
        Ok(record.without_private())
    }

    /// One of the vault's own records, opened without asking what erasures took: who needs what it
    /// says cannot wait for the evidence of every erasure to be readable. Private fields are in
    /// it: nobody but the registry may hand it on.
    pub(crate) fn own_record(&self, index: EntryIndex) -> Result<Record> {
        let unit =
            self.inner.log.unit_of(index)?.ok_or(Error::NotFound { code: "ENTRY_UNKNOWN" })?;
        let bytes = self.entry_bytes(index)?;
        let (entry, mut frames) = (entry::decode(&bytes)?, Spans::new(&unit.head.spans));
        self.record_of(entry, leaf_hash(&bytes), Reading::WITHIN, &mut frames, &Erased::default())
    }

    fn prepare(&self, reading: Reading<'_>) -> Result<Erased> {
        if !reading.open && reading.destination.is_none() {
            return Ok(Erased::default());
        }
        self.inner.keys.learn_owners(self.inner.clock.now().day().month())?;
        self.erased_tags()
    }

    fn record_of(
        &self,
        entry: Entry,
        leaf: Hash32,
        reading: Reading<'_>,
        frames: &mut Spans<'_>,
        erased: &Erased,
    ) -> Result<Record> {
        let head = &entry.head;
        let mut fields: Vec<RecordField> = head
            .fields
            .iter()
            .map(|f| RecordField { name: f.name.clone(), group: f.group, value: None, salt: None })
            .collect();
        let mut groups = vec![Fate::Sealed; head.groups.len()];
        if reading.open {
            for (position, fate) in groups.iter_mut().enumerate() {
                let position = position as u8;
                let stored = frames.find(self, head, entry.index, position)?;
                let found = (stored, reading.restricted, erased);
                *fate = self.open_group(&entry, position, found, &mut fields)?;
            }
        }
        let tokens = reading.destination.map_or(Vec::new(), |name| {
            self.tokens(head, name, reading.restricted.opens(entry.index))
        });
        Ok(Record { leaf, source: None, groups, fields, tokens, entry })
    }

    /// Whether somebody among these had the use of the data restricted; the guard is that of the
    /// cache, which comes before facts.
    fn is_restricted(&self, cache: &Cache, tags: &[SubjectTag]) -> bool {
        let facts = self.facts();
        let restricted = |person: &PersonId| facts.restricted.contains_key(person);
        !facts.restricted.is_empty() && tags.iter().any(|tag| cache.bears(tag, &restricted))
    }

    fn tokens(&self, head: &Head, destination: &[u8], restricted_too: bool) -> Vec<SubjectToken> {
        let Ok(cache) = self.owners() else { return Vec::new() };
        let token = |(at, tag): (usize, &SubjectTag)| {
            if !restricted_too && self.is_restricted(&cache, std::slice::from_ref(tag)) {
                return None;
            }
            let token = Keyring::token_of(&cache, tag, destination)?;
            Some(SubjectToken { tag: at as u8, token: crate::base::id::hex(&token) })
        };
        head.tags.iter().enumerate().filter_map(token).collect()
    }

    /// Opens one group into its fields, or says why not.
    fn open_group(
        &self,
        entry: &Entry,
        position: u8,
        (stored, restricted, erased): (Stored<Frame<'_>>, Restricted, &Erased),
        fields: &mut [RecordField],
    ) -> Result<Fate> {
        let head = &entry.head;
        let Some(group) = head.groups.get(usize::from(position)) else {
            return Ok(Fate::BodyMissing);
        };
        let class_day = ClassDay { class: group.class, day: group.bucket };
        let of = |at: &u8| head.tags.get(usize::from(*at)).copied();
        let tags: Vec<SubjectTag> = group.tags.iter().filter_map(of).collect();
        let fate = {
            let cache = self.owners()?;
            let base = self.inner.keys.base_key_of(&cache, class_day, &tags);
            match (base, stored) {
                (Some(_), Stored::Body(_))
                    if !restricted.opens(entry.index) && self.is_restricted(&cache, &tags) =>
                {
                    return Ok(Fate::Restricted);
                }
                (Some(base), Stored::Body(body)) => open_body(head, position, &base, &body, fields),
                (None, Stored::Body(_)) => Fate::KeyLost,
                (_, Stored::Missing) => Fate::BodyMissing,
                (_, Stored::Damaged) => Fate::AuthFailed,
            }
        };
        if fate == Fate::Open {
            return Ok(fate);
        }
        // Asked last, so that an expiry or erasure that passed meanwhile is seen.
        if self.facts().expired.contains_key(&class_day) {
            return Ok(Fate::Expired);
        }
        let covered = |erased: &Erased| erased.covers(entry.index, group.class, &tags);
        let lost = fate == Fate::KeyLost && !tags.is_empty();
        let justified = lost && (covered(erased) || covered(&self.erased_tags()?));
        Ok(if justified { Fate::Erased } else { fate })
    }

    /// The cache, with the owner of every living tag in it.
    pub(crate) fn owners(&self) -> Result<std::sync::RwLockReadGuard<'_, Cache>> {
        self.inner.keys.owners(&self.inner.clock)
    }

    /// Who bears each living tag up to this month; handles of one person give the least of them.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn tag_owners(&self) -> Result<HashMap<SubjectTag, PersonId>> {
        self.inner.keys.learn_owners(self.inner.clock.now().day().month())?;
        Ok(self.inner.keys.cache().owners())
    }

    /// Facts of the log, for reading.
    pub(crate) fn facts(&self) -> std::sync::RwLockReadGuard<'_, Facts> {
        self.inner.facts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hash of a leaf, from the tiles.
    pub fn leaf(&self, index: EntryIndex) -> Option<Hash32> {
        self.inner.tiles.node(0, index.0)
    }
}
