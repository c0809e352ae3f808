//! Reading: entries by index, records with what of them can be opened today. Every body that is
//! opened has its tag checked and every commitment recomputed. It never writes; whoever hands
//! opened values to a person records a disclosure first (`vault::disclose`).

use crate::base::entry::{Entry, Head};
use crate::base::id::{Hash32, PersonId, RecordId, SubjectTag};
use crate::base::limits::EVIDENCE_CLASS;
use crate::base::record::{Fate, Record, RecordField, SubjectToken};
use crate::base::secret::Key;
use crate::base::unit::{ClassDay, ClassId, EntryIndex, TreeSize};
use crate::crypto::hash::{leaf_hash, sha256};
use crate::crypto::kdf::{HmacKey, tag};
use crate::crypto::{aead, merkle::Nodes};
use crate::format::body::{Frame, Plain};
use crate::format::packed::plain;
use crate::format::unit::BodySpan;
use crate::format::{body, entry, unit};
use crate::store::bodies::{Frames, Stored};
use crate::store::error::ErrorKind;
use crate::vault::Vault;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::keys::{Cache, Keyring};
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

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
}

/// Tags whose owner was erased, from the evidence in erase-done entries.
pub(crate) type Erased = Arc<ErasedTags>;

/// What the evidence of erasures says, and which evidence has itself expired.
#[derive(Default)]
pub(crate) struct ErasedTags {
    tags: HashSet<SubjectTag>,
    /// Erasures whose evidence expired: intent and classes. Nobody can tell any more which
    /// records they reached, only that they reached none after the intent.
    lapsed: Vec<(EntryIndex, Vec<ClassId>)>,
}

/// Of which state of the log a list of erased tags is: it grows by an erasure, and shrinks when
/// a class-day of evidence expires.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct ErasedAt {
    done: usize,
    lapsed: usize,
}

impl ErasedAt {
    fn of(facts: &Facts) -> Self {
        let done = facts.erasures.values().filter(|erasure| erasure.done.is_some()).count();
        let lapsed = facts.expired.keys().filter(|day| day.class.0 == EVIDENCE_CLASS).count();
        ErasedAt { done, lapsed }
    }
}

impl ErasedTags {
    /// Whether the evidence names this tag.
    pub(crate) fn contains(&self, tag: &SubjectTag) -> bool {
        self.tags.contains(tag)
    }

    fn covers(&self, index: EntryIndex, class: ClassId, tags: &[SubjectTag]) -> bool {
        let lapsed = |(intent, classes): &(EntryIndex, Vec<ClassId>)| {
            index < *intent && classes.contains(&class)
        };
        tags.iter().any(|tag| self.tags.contains(tag))
            || (!tags.is_empty() && self.lapsed.iter().any(lapsed))
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
                    each(self.named(record)?)?;
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
        self.record_of(entry, leaf_hash(&bytes), reading, &mut frames, &erased)
    }

    /// One of the vault's own records, opened without asking what erasures took: who needs what it
    /// says cannot wait for the evidence of every erasure to be readable.
    pub(crate) fn own_record(&self, index: EntryIndex) -> Result<Record> {
        let unit =
            self.inner.log.unit_of(index)?.ok_or(Error::NotFound { code: "ENTRY_UNKNOWN" })?;
        let bytes = self.entry_bytes(index)?;
        let (entry, mut frames) = (entry::decode(&bytes)?, Spans::new(&unit.head.spans));
        let reading = Reading { open: true, destination: None };
        self.record_of(entry, leaf_hash(&bytes), reading, &mut frames, &Erased::default())
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
                *fate = self.open_group(&entry, position, stored, erased, &mut fields)?;
            }
        }
        let tokens = reading.destination.map_or(Vec::new(), |name| self.tokens(head, name));
        Ok(Record { leaf, source: None, groups, fields, tokens, entry })
    }

    fn tokens(&self, head: &Head, destination: &[u8]) -> Vec<SubjectToken> {
        let Ok(cache) = self.owners() else { return Vec::new() };
        let token = |(at, tag): (usize, &SubjectTag)| {
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
        stored: Stored<Frame<'_>>,
        erased: &Erased,
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

    /// Tags of erased persons, as far as their evidence can still be opened.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn erased_tags(&self) -> Result<Erased> {
        let (at, done): (ErasedAt, Vec<(EntryIndex, EntryIndex, Vec<ClassId>)>) = {
            let facts = self.facts();
            let done = facts.erasures.values().filter_map(|e| Some((e, e.done.as_ref()?)));
            let done = done.map(|(e, (at, _, done))| (*at, e.intent, done.classes.clone()));
            (ErasedAt::of(&facts), done.collect())
        };
        let mut known = self.inner.erased.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 == at {
            return Ok(known.1.clone());
        }
        let mut found = ErasedTags::default();
        for (index, intent, classes) in done {
            let unit = self.inner.log.unit_of(index)?;
            let unit = unit.ok_or(Error::NotFound { code: "ENTRY_UNKNOWN" })?;
            let bytes = self.entry_bytes(index)?;
            let entry = entry::decode(&bytes)?;
            let mut frames = Spans::new(&unit.head.spans);
            let reading = Reading { open: true, destination: None };
            let none = Erased::default();
            let record = self.record_of(entry, leaf_hash(&bytes), reading, &mut frames, &none)?;
            if record.groups.contains(&Fate::Expired) {
                found.lapsed.push((intent, classes));
            }
            let list = record.value("erasure.tags").and_then(|v| serde_json::from_slice(v).ok());
            let list: Vec<SubjectTag> = list.unwrap_or_default();
            found.tags.extend(list);
        }
        *known = (at, Arc::new(found));
        Ok(known.1.clone())
    }

    /// Forgets what the evidence of erasures said: some of it has expired.
    pub(crate) fn forget_erased(&self) {
        *self.inner.erased.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
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

/// The body spans of one unit, read when first asked for.
pub(crate) struct Spans<'u> {
    spans: &'u [BodySpan],
    read: HashMap<ClassDay, Stored<Frames>>,
}

impl<'u> Spans<'u> {
    pub(crate) fn new(spans: &'u [BodySpan]) -> Self {
        Spans { spans, read: HashMap::new() }
    }

    fn find(
        &mut self,
        vault: &Vault,
        head: &Head,
        index: EntryIndex,
        position: u8,
    ) -> Result<Stored<Frame<'_>>> {
        let Some(group) = head.groups.get(usize::from(position)) else {
            return Ok(Stored::Missing);
        };
        let class_day = ClassDay { class: group.class, day: group.bucket };
        let Some(span) = self.spans.iter().find(|s| s.class_day == class_day) else {
            return Ok(Stored::Missing);
        };
        let frames = match self.read.entry(class_day) {
            Occupied(read) => read.into_mut(),
            Vacant(vacant) => vacant.insert(match vault.inner.bodies.read(*span) {
                Ok(frames) => Stored::Body(frames),
                Err(e) if e.kind == ErrorKind::Missing => Stored::Missing,
                Err(e) if e.kind == ErrorKind::Corrupt => Stored::Damaged,
                Err(e) => return Err(e.into()),
            }),
        };
        Ok(match frames {
            Stored::Body(frames) => frames.find(index, position, &head.record),
            Stored::Missing => Stored::Missing,
            Stored::Damaged => Stored::Damaged,
        })
    }
}

/// Digest of a group's commitments, in the entry's order.
pub(crate) fn commits_digest(head: &Head, position: u8) -> Hash32 {
    let mut preimage = tag::COMMITS.to_vec();
    for field in head.fields.iter().filter(|f| f.group == position) {
        preimage.extend_from_slice(&field.commitment.0);
    }
    sha256(&[&preimage])
}

/// The key that seals a group by an algorithm.
pub(crate) fn sealing_key(
    base: &HmacKey,
    alg: u8,
    record: &RecordId,
    position: u8,
    digest: &Hash32,
) -> Key {
    Key::new(match alg {
        body::ALG_AES256GCM => base.mac(&body::group_key_preimage(record, position, digest)).0,
        alg => base.mac(&body::other_key_preimage(alg, record, position, digest)).0,
    })
}

/// The plaintext of a body, whose commitments are not checked yet.
fn unseal(
    head: &Head,
    position: u8,
    base: &HmacKey,
    stored: &Frame<'_>,
) -> std::result::Result<Plain, Fate> {
    let digest = commits_digest(head, position);
    let key = sealing_key(base, stored.alg, &head.record, position, &digest);
    let aad = body::aad(head, position, &digest);
    let plain = aead::open(&key, &stored.nonce, &aad, stored.sealed);
    let plain = plain.map_err(|_| Fate::AuthFailed)?;
    let plain = match stored.alg {
        body::ALG_COMPRESSED => plain::expand(&plain),
        _ => body::decode_plain(&plain),
    };
    plain.map_err(|_| Fate::CommitmentMismatch)
}

/// Opens a body and requires exactly the fields the entry commits to.
pub(crate) fn open_body(
    head: &Head,
    position: u8,
    base: &HmacKey,
    stored: &Frame<'_>,
    out: &mut [RecordField],
) -> Fate {
    let plain = match unseal(head, position, base, stored) {
        Ok(plain) => plain,
        Err(fate) => return fate,
    };
    let expected = head.fields.iter().enumerate().filter(|(_, f)| f.group == position);
    let mut opened = Vec::with_capacity(plain.fields.len());
    let mut values = plain.fields.iter();
    for (number, field) in expected {
        let Some((name, value)) = values.next().filter(|(name, _)| **name == *field.name) else {
            return Fate::CommitmentMismatch;
        };
        let salt = sha256(&[&body::salt_preimage(&plain.seed, number as u16)]);
        let mut preimage = Vec::with_capacity(64 + value.len());
        body::commit_preimage(&mut preimage, &head.record, position, &salt.0, name, value);
        if sha256(&[&preimage]) != field.commitment {
            return Fate::CommitmentMismatch;
        }
        opened.push((number, salt.0, value.to_vec()));
    }
    if values.next().is_some() {
        return Fate::CommitmentMismatch;
    }
    for (number, salt, value) in opened {
        if let Some(field) = out.get_mut(number) {
            (field.salt, field.value) = (Some(salt), Some(value));
        }
    }
    Fate::Open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::unit::Day;

    #[test]
    fn a_list_of_erased_tags_is_old_once_evidence_has_expired() {
        let mut facts = Facts::default();
        let mut expire = |class: u16, day: u32| {
            let class_day = ClassDay { class: ClassId(class), day: Day(day) };
            facts.expired.insert(class_day, EntryIndex(7));
            ErasedAt::of(&facts)
        };
        let before = expire(4, 1);
        assert_eq!(expire(4, 2), before);
        let after = expire(EVIDENCE_CLASS, 1);
        assert_ne!(after, before);
        assert_ne!(expire(EVIDENCE_CLASS, 2), after);
    }
}
