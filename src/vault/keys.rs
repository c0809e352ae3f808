//! Keys in use: who is meant by an identifier, which key seals a group, which tag marks it.
//! One mutex guards the key tree, so inserts, splits, erasures and expiries happen one at a time;
//! a cache in front of it serves the append path. Nothing is handed out before the tree has
//! synced it. The cache's write lock is the barrier an erasure passes: once it was held, no
//! reader still works with an evicted key. A batch in the middle of being sealed may hold a
//! derived group key a little longer; the fence keeps what it seals out of the log.

mod cells;
mod lookup;
mod people;
#[cfg(test)]
mod tests;

pub(crate) use crate::vault::keys::cells::{
    persons_in, read_cell, read_person, same_human, tenant_cell,
};
pub(crate) use crate::vault::keys::lookup::{BatchKeys, EventKeys};

use crate::base::event::{Identifier, Subject};
use crate::base::id::{ById, EventIdTag, PersonId, SourceHandle, SubjectTag, TenantId};
use crate::base::limits;
use crate::base::secret::Key;
use crate::base::unit::{ClassDay, ClassId, Day, Month};
use crate::crypto::kdf::{self, HmacKey, label, tag};
use crate::format::cell::{self, Cell, PersonCell};
use crate::store::keytree::KeyTree;
use crate::vault::clock::LogClock;
use crate::vault::error::{Error, Result};
use crate::vault::keys::lookup::GroupName;
use crate::vault::keys::people::People;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Memory of an identifier in the cache, its text beside: its row and hash twice over, as vectors
/// that just grew have them, its place twice over, as a hash table of half load has it, and the
/// text's allocation.
const IDENTIFIER_BYTES: usize = 2 * (56 + 8) + 2 * 5 + 32;
/// Memory of a person without class keys: keys and place twice over, and two allocations.
const PERSON_BYTES: usize = 2 * 128 + 2 * 21 + 64;
/// Memory of a class key: the key's states, and the row of its tag twice over.
const CLASS_KEY_BYTES: usize = 216 + 2 * 40;

/// A person's keys, ready to use.
pub(crate) struct PersonKeys {
    /// Other handles of the same person.
    pub(crate) peers: Vec<PersonId>,
    classes: Vec<SubjectKeys>,
    /// None once the person is erased in part: pseudonyms die first.
    token: Option<HmacKey>,
}

/// What a lookup of a known person reads lies together, in front.
#[repr(C)]
struct SubjectKeys {
    class: ClassId,
    created: Day,
    /// The tag computed last: that of this month but for the first event of a month.
    tag: Option<(Month, SubjectTag)>,
    /// Base key computed last of groups with this one subject.
    base: Option<(Day, HmacKey)>,
    seal: Key,
    tags: HmacKey,
}

impl PersonKeys {
    fn of(cell: &PersonCell) -> Self {
        let keys = cell.keys.iter().map(|k| SubjectKeys {
            class: k.class,
            created: k.created,
            seal: kdf::expand(&k.key, label::SEAL),
            tags: HmacKey::new(&kdf::expand(&k.key, label::TAG)),
            tag: None,
            base: None,
        });
        PersonKeys {
            peers: cell.peers.clone(),
            classes: keys.collect(),
            token: (!cell.retired).then(|| HmacKey::new(&cell.token)),
        }
    }

    fn class(&self, class: ClassId) -> Option<&SubjectKeys> {
        self.classes.iter().find(|k| k.class == class)
    }

    fn class_mut(&mut self, class: ClassId) -> Option<&mut SubjectKeys> {
        self.classes.iter_mut().find(|k| k.class == class)
    }
}

impl SubjectKeys {
    /// The tag of a month, if it was computed last.
    #[inline]
    fn known_tag(&self, month: Month) -> Option<SubjectTag> {
        self.tag.filter(|(known, _)| *known == month).map(|(_, tag)| tag)
    }

    fn tag(&self, month: Month) -> SubjectTag {
        if let Some(tag) = self.known_tag(month) {
            return tag;
        }
        let [a, b, c, d] = month.0.to_be_bytes();
        let [x, y] = tag::SUBJECT;
        SubjectTag(self.tags.mac16(&[x, y, a, b, c, d]))
    }
}

/// What is cached.
#[derive(Default)]
pub(crate) struct Cache {
    people: People,
    class_days: HashMap<ClassDay, Key>,
    groups: HashMap<GroupName, HmacKey>,
    owners: ById<SubjectTag, (PersonId, ClassId)>,
    /// Last month up to which `owners` knows every living person's tags.
    owners_until: Option<Month>,
    /// Memory of what was taken in; what is taken in twice counts twice, which only evicts early.
    bytes: usize,
    /// Raised by each eviction: what was computed before it is not kept after it.
    evictions: u64,
}

/// What must be made before a batch can be sealed.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) subjects: Vec<(Subject, ClassId)>,
    pub(crate) class_days: Vec<ClassDay>,
}

/// The keys of one tenant.
pub struct Keyring {
    tenant: TenantId,
    directory: HmacKey,
    dedupe: HmacKey,
    source: HmacKey,
    tree: Mutex<KeyTree>,
    cache: RwLock<Cache>,
}

impl Keyring {
    /// Takes the tree over.
    ///
    /// # Errors
    /// `Evidence` when the tenant's own cell is not there.
    pub(crate) fn new(tenant: TenantId, tree: KeyTree) -> Result<Self> {
        let directory = HmacKey::new(tree.directory_key());
        let bytes = tree.get(&cell::tenant_key(&directory))?;
        let Some(Ok(Cell::Tenant(own))) = bytes.map(|b| Cell::decode(&b)) else {
            return Err(Error::evidence(
                "KEY_LOST",
                "the tenant's own keys are not in the key tree",
            ));
        };
        Ok(Keyring {
            tenant,
            directory,
            dedupe: HmacKey::new(&own.dedupe),
            source: HmacKey::new(&own.source),
            tree: Mutex::new(tree),
            cache: RwLock::default(),
        })
    }

    /// The key tree: whoever holds it is the only one who changes keys.
    pub(crate) fn tree(&self) -> MutexGuard<'_, KeyTree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cache, for reading; keys taken from it may be used while the guard lives.
    pub(crate) fn cache(&self) -> RwLockReadGuard<'_, Cache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties the cache and waits for every reader that still held a key.
    pub(crate) fn evict(&self) {
        self.cache.write().unwrap_or_else(PoisonError::into_inner).empty();
    }

    /// HMAC key of the tree's directory.
    pub(crate) fn directory(&self) -> &HmacKey {
        &self.directory
    }

    /// Handle of a source.
    pub fn source_handle(&self, name: &str) -> SourceHandle {
        SourceHandle(self.source.mac16(&[&tag::SOURCE, name.as_bytes()].concat()))
    }

    /// Tag of an event id of a source.
    pub(crate) fn event_id_tag(&self, source: &SourceHandle, id: &[u8]) -> EventIdTag {
        EventIdTag(self.dedupe.mac16(&[&tag::EVENT_ID[..], &source.0, id].concat()))
    }

    /// Key for one use of the service, named by its whole label.
    pub(crate) fn service_key(&self, label: &str) -> Key {
        self.dedupe.expand(&[label.as_bytes(), &[0]].concat())
    }

    /// Takes persons and class-days that the tree has synced into the cache.
    pub(crate) fn admit(
        &self,
        identifiers: Vec<(Identifier, PersonId)>,
        persons: &[(PersonId, PersonCell)],
        class_days: Vec<(ClassDay, Key)>,
    ) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        // Who reads needs everybody at once; without readers the working set is enough.
        let limit = match cache.owners_until {
            Some(_) => limits::KEY_CACHE_READ_BYTES_MAX,
            None => limits::KEY_CACHE_BYTES_MAX,
        };
        cache.take(limit, identifiers, persons, class_days);
    }

    /// Persons an identifier names, the current one and those erased in part, with all peers.
    ///
    /// # Errors
    /// Those of the store.
    pub fn persons_of(&self, identifier: &Identifier) -> Result<Vec<PersonId>> {
        persons_in(&self.tree(), &self.directory, identifier)
    }

    /// Cell of a person.
    ///
    /// # Errors
    /// Those of the store.
    pub fn person(&self, person: &PersonId) -> Result<Option<PersonCell>> {
        read_person(&self.tree(), &self.directory, person)
    }

    /// Every identifier linked to these persons.
    ///
    /// # Errors
    /// Those of the store.
    pub fn identifiers_of(&self, persons: &[PersonId]) -> Result<Vec<Identifier>> {
        let tree = self.tree();
        let mut found = Vec::new();
        for person in persons {
            let Some(person) = read_person(&tree, &self.directory, person)? else { continue };
            for link in &person.links {
                if let Some(Cell::Identifier(cell)) = read_cell(&tree, link)? {
                    found.push(cell.identifier);
                }
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// All tags a person's records can bear, from the first month of each key to `until`.
    pub(crate) fn tags_of(
        cell: &PersonCell,
        classes: &[ClassId],
        until: Month,
    ) -> Vec<(ClassId, SubjectTag)> {
        let tags = Keyring::monthly_tags_of(cell, classes, until).into_iter();
        tags.map(|(class, _, tag)| (class, tag)).collect()
    }

    /// As `tags_of`, each with the month in which it counts.
    pub(crate) fn monthly_tags_of(
        cell: &PersonCell,
        classes: &[ClassId],
        until: Month,
    ) -> Vec<(ClassId, Month, SubjectTag)> {
        let keys = PersonKeys::of(cell);
        let chosen = keys.classes.iter().filter(|k| classes.contains(&k.class));
        chosen
            .flat_map(|key| {
                let months = (first_day(key.created).month().0..=until.0).map(Month);
                months.map(|m| (key.class, m, key.tag(m))).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Makes sure that the owner of every living tag up to `until` is known.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn learn_owners(&self, until: Month) -> Result<()> {
        if self.cache().knows_owners(until) {
            return Ok(());
        }
        let (mut persons, mut class_days) = (Vec::new(), Vec::new());
        let tree = self.tree();
        let mut malformed = None;
        tree.for_each(&mut |_, bytes| match Cell::decode(bytes) {
            Ok(Cell::Person(cell)) => persons.push(cell),
            Ok(Cell::ClassDay(class_day, key)) => class_days.push((class_day, key)),
            Ok(_) => {}
            Err(e) => malformed = Some(e),
        })?;
        if let Some(e) = malformed {
            return Err(e.into());
        }
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        for cell in persons {
            let keys = PersonKeys::of(&cell);
            if cache.people.person(&cell.id).is_none() {
                cache.bytes += PERSON_BYTES + cell.keys.len() * CLASS_KEY_BYTES;
            }
            for key in &keys.classes {
                for month in first_day(key.created).month().0..=until.0 {
                    cache.owners.insert(key.tag(Month(month)), (cell.id, key.class));
                }
            }
            cache.people.add(cell.id, keys);
        }
        cache.class_days.extend(class_days);
        cache.owners_until = Some(until);
        Ok(())
    }

    /// The cache, with the owner of every living tag in it.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn owners(&self, clock: &LogClock) -> Result<RwLockReadGuard<'_, Cache>> {
        loop {
            let month = clock.now().day().month();
            let cache = self.cache();
            if cache.knows_owners(month) {
                return Ok(cache);
            }
            // An eviction came between: whoever evicts holds the key tree until it is done.
            drop(cache);
            self.learn_owners(month)?;
        }
    }

    /// Base key of a stored group, if every key it needs lives. The guard keeps it alive.
    pub(crate) fn base_key_of(
        &self,
        cache: &Cache,
        class_day: ClassDay,
        tags: &[SubjectTag],
    ) -> Option<HmacKey> {
        let day_key = cache.class_days.get(&class_day)?;
        let seals: Option<Vec<&Key>> = tags
            .iter()
            .map(|tag| {
                let (person, class) = cache.owners.get(tag)?;
                Some(&cache.people.person(person)?.class(*class)?.seal)
            })
            .collect();
        Some(base_key(&self.tenant, class_day, day_key, &seals?))
    }

    /// Pseudonym of the owner of a tag for a destination, if the person lives.
    pub(crate) fn token_of(
        cache: &Cache,
        tag: &SubjectTag,
        destination: &[u8],
    ) -> Option<[u8; 16]> {
        let (person, _) = cache.owners.get(tag)?;
        let keys = cache.people.person(person)?;
        Some(keys.token.as_ref()?.mac16(&[&tag::TOKEN[..], destination].concat()))
    }
}

impl Cache {
    /// Takes in what a batch needs, after forgetting everything when there is more than `limit`:
    /// never more than that and one batch is kept.
    fn take(
        &mut self,
        limit: usize,
        identifiers: Vec<(Identifier, PersonId)>,
        persons: &[(PersonId, PersonCell)],
        class_days: Vec<(ClassDay, Key)>,
    ) {
        if self.bytes > limit {
            self.empty();
        }
        let texts = identifiers.iter().map(|(i, _)| IDENTIFIER_BYTES + i.value.len());
        let cells = persons.iter().map(|(_, p)| PERSON_BYTES + p.keys.len() * CLASS_KEY_BYTES);
        self.bytes += texts.chain(cells).sum::<usize>();
        for (person, cell) in persons {
            self.people.add(*person, PersonKeys::of(cell));
        }
        for (identifier, person) in identifiers {
            self.people.name(identifier, person);
        }
        self.class_days.extend(class_days);
    }

    /// Whether the owner of every living tag up to this month is known.
    pub(crate) fn knows_owners(&self, until: Month) -> bool {
        self.owners_until.is_some_and(|known| known >= until)
    }

    /// Who bears a tag, if that person has keys.
    pub(crate) fn owner(&self, tag: &SubjectTag) -> Option<PersonId> {
        self.owners.get(tag).map(|(person, _)| *person)
    }

    /// The least handle of whoever bears a tag: one for each person.
    pub(crate) fn least(&self, tag: &SubjectTag) -> Option<PersonId> {
        let person = self.owner(tag)?;
        let peers = self.people.person(&person).into_iter().flat_map(|keys| &keys.peers);
        Some(peers.fold(person, |least, peer| least.min(*peer)))
    }

    /// Whether a tag is of a person, by any handle, of whom `is` says so.
    pub(crate) fn bears(&self, tag: &SubjectTag, is: &dyn Fn(&PersonId) -> bool) -> bool {
        let Some(person) = self.owner(tag) else { return false };
        let peers = || self.people.person(&person).into_iter().flat_map(|keys| &keys.peers);
        is(&person) || peers().any(is)
    }

    /// The person behind each known tag; handles of one person give the least of them.
    pub(crate) fn owners(&self) -> HashMap<SubjectTag, PersonId> {
        let least = |person: &PersonId| {
            let peers = self.people.person(person).map(|keys| keys.peers.as_slice());
            peers.unwrap_or_default().iter().fold(*person, |least, peer| least.min(*peer))
        };
        self.owners.iter().map(|(tag, (person, _))| (*tag, least(person))).collect()
    }

    /// Forgets everything.
    fn empty(&mut self) {
        *self = Cache { evictions: self.evictions + 1, ..Cache::default() };
    }
}

/// The first day of which a record can bear a tag of a key made on this day. A batch may be sealed
/// for the day before that of its commit, with a key that another batch made after midnight; and
/// the commit may have begun before that midnight.
pub(crate) fn first_day(created: Day) -> Day {
    Day(created.0.saturating_sub(2))
}

/// Base key of groups: destroying the class-day key or any subject's key destroys it.
fn base_key(tenant: &TenantId, class_day: ClassDay, day_key: &Key, seals: &[&Key]) -> HmacKey {
    use crate::format::wire::Write;
    let mut input = zeroize::Zeroizing::new(Vec::with_capacity(32 * seals.len().max(1)));
    seals.iter().for_each(|key| input.extend_from_slice(key.expose()));
    if seals.is_empty() {
        input.extend_from_slice(label::NO_SUBJECT);
    }
    let mut info = label::GROUP.to_vec();
    info.raw(&tenant.0);
    info.put_u8(u8::from(!seals.is_empty()));
    info.put_u16(class_day.class.0);
    info.put_u32(class_day.day.0);
    HmacKey::new(&kdf::derive(day_key, &input, &info))
}
