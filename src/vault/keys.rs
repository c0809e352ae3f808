//! Keys in use: who is meant by an identifier, which key seals a group, which tag marks it.
//! One mutex guards the key tree, so inserts, splits, erasures and expiries happen one at a time;
//! a cache in front of it serves the append path. Nothing is handed out before the tree has
//! synced it. The cache's write lock is the barrier an erasure passes: once it was held, no
//! reader still works with an evicted key. A batch in the middle of being sealed may hold a
//! derived group key a little longer; the fence keeps what it seals out of the log.

use crate::base::event::{Event, Identifier, Subject};
use crate::base::id::{EventIdTag, PersonId, SourceHandle, SubjectTag, TenantId};
use crate::base::secret::Key;
use crate::base::unit::{ClassDay, ClassId, Day, Month};
use crate::base::world::Entropy;
use crate::crypto::kdf::{self, HmacKey, label, tag};
use crate::format::cell::{self, Cell, CellKey, PersonCell};
use crate::store::keytree::KeyTree;
use crate::vault::error::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Persons whose keys are cached at most; beyond it the cache starts anew.
const CACHED_PERSONS_MAX: usize = 1_000_000;
/// Group base keys cached at most.
const CACHED_GROUPS_MAX: usize = 1_000_000;

/// A person's keys, ready to use.
pub(crate) struct PersonKeys {
    /// Other handles of the same person.
    pub(crate) peers: Vec<PersonId>,
    classes: Vec<SubjectKeys>,
    /// None once the person is erased in part: pseudonyms die first.
    token: Option<HmacKey>,
}

struct SubjectKeys {
    class: ClassId,
    created: Day,
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
}

impl SubjectKeys {
    fn tag(&self, month: Month) -> SubjectTag {
        let [a, b, c, d] = month.0.to_be_bytes();
        let [x, y] = tag::SUBJECT;
        SubjectTag(self.tags.mac16(&[x, y, a, b, c, d]))
    }
}

/// Base keys are looked up by what they bind: class, day and the subjects' tags in order.
type GroupName = (ClassDay, Vec<SubjectTag>);

/// What is cached.
#[derive(Default)]
pub(crate) struct Cache {
    identifiers: HashMap<Identifier, PersonId>,
    pub(crate) persons: HashMap<PersonId, PersonKeys>,
    class_days: HashMap<ClassDay, Key>,
    groups: HashMap<GroupName, Arc<HmacKey>>,
    tags: HashMap<(PersonId, ClassId, Month), SubjectTag>,
    owners: HashMap<SubjectTag, (PersonId, ClassId)>,
    /// Last month up to which `owners` knows every living person's tags.
    owners_until: Option<Month>,
}

/// Keys of one event, in the event's own order.
pub(crate) struct EventKeys {
    pub(crate) source: SourceHandle,
    pub(crate) event_id: EventIdTag,
    pub(crate) persons: Vec<PersonId>,
    pub(crate) tags: Vec<SubjectTag>,
    pub(crate) groups: Vec<Arc<HmacKey>>,
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
        *self.cache.write().unwrap_or_else(PoisonError::into_inner) = Cache::default();
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

    /// Keys for every event of a batch sealed on `day`, or what must be made first.
    pub(crate) fn lookup(
        &self,
        events: &[Event<'_>],
        day: Day,
    ) -> std::result::Result<Vec<EventKeys>, Wanted> {
        let mut wanted = Wanted::default();
        let mut fresh = Fresh::default();
        let found = {
            let cache = self.cache();
            let mut found = Vec::with_capacity(events.len());
            for event in events {
                self.lookup_event(&cache, event, day, &mut fresh, &mut wanted, &mut found);
            }
            found
        };
        if !fresh.is_empty() {
            self.remember(fresh);
        }
        match wanted.subjects.is_empty() && wanted.class_days.is_empty() {
            true => Ok(found),
            false => Err(wanted),
        }
    }

    fn lookup_event(
        &self,
        cache: &Cache,
        event: &Event<'_>,
        day: Day,
        fresh: &mut Fresh,
        wanted: &mut Wanted,
        found: &mut Vec<EventKeys>,
    ) {
        let class_day = ClassDay { class: event.class, day };
        if !event.groups.is_empty() && !cache.class_days.contains_key(&class_day) {
            wanted.class_days.push(class_day);
        }
        let month = day.month();
        let (mut persons, mut tags) = (Vec::new(), Vec::new());
        for subject in &event.subjects {
            let known = cache.person_of(subject).filter(|p| cache.has_class(p, event.class));
            let Some(person) = known else {
                wanted.subjects.push((subject.clone(), event.class));
                continue;
            };
            persons.push(person);
            tags.push(cache.tag(person, event.class, month, fresh));
        }
        if !wanted.subjects.is_empty() || !wanted.class_days.is_empty() {
            return;
        }
        let source = self.source_handle(&event.source);
        let event_id = match &event.dedupe {
            crate::base::event::Dedupe::EventId(id) => self.event_id_tag(&source, id),
            _ => EventIdTag::ZERO,
        };
        let groups = event.groups.iter().map(|group| {
            let members = group.subjects.iter().filter_map(|at| {
                Some((*tags.get(usize::from(*at))?, *persons.get(usize::from(*at))?))
            });
            self.group_key(cache, class_day, members.collect(), fresh)
        });
        let groups = groups.collect();
        found.push(EventKeys { source, event_id, persons, tags, groups });
    }

    fn group_key(
        &self,
        cache: &Cache,
        class_day: ClassDay,
        mut members: Vec<(SubjectTag, PersonId)>,
        fresh: &mut Fresh,
    ) -> Arc<HmacKey> {
        members.sort_unstable();
        members.dedup();
        let name: GroupName = (class_day, members.iter().map(|(tag, _)| *tag).collect());
        if let Some(key) = cache.groups.get(&name).or_else(|| fresh.groups.get(&name)) {
            return key.clone();
        }
        let seals: Vec<&Key> = members
            .iter()
            .filter_map(|(_, person)| cache.persons.get(person)?.class(class_day.class))
            .map(|keys| &keys.seal)
            .collect();
        let Some(day_key) = cache.class_days.get(&class_day) else {
            unreachable!("lookup_event asked for the class-day key first")
        };
        let key = Arc::new(base_key(&self.tenant, class_day, day_key, &seals));
        fresh.groups.insert(name, key.clone());
        key
    }

    fn remember(&self, fresh: Fresh) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.groups.len() > CACHED_GROUPS_MAX {
            cache.groups.clear();
        }
        // A person may have been evicted since: then nothing of this may be kept.
        for ((person, class, month), tag) in fresh.tags {
            if cache.has_class(&person, class) {
                cache.tags.insert((person, class, month), tag);
                cache.owners.insert(tag, (person, class));
            }
        }
        for (name, key) in fresh.groups {
            let owned = name.1.iter().all(|tag| cache.owners.contains_key(tag));
            if owned && cache.class_days.contains_key(&name.0) {
                cache.groups.insert(name, key);
            }
        }
    }

    /// Takes persons and class-days that the tree has synced into the cache.
    pub(crate) fn admit(
        &self,
        identifiers: Vec<(Identifier, PersonId)>,
        persons: &[(PersonId, PersonCell)],
        class_days: Vec<(ClassDay, Key)>,
    ) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if cache.persons.len() > CACHED_PERSONS_MAX {
            *cache = Cache::default();
        }
        for (person, cell) in persons {
            cache.persons.insert(*person, PersonKeys::of(cell));
        }
        cache.identifiers.extend(identifiers);
        cache.class_days.extend(class_days);
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

    /// All tags a person's records can bear, from the keys' first month to `until`.
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
                let months = (key.created.month().0..=until.0).map(Month);
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
            for key in &keys.classes {
                for month in key.created.month().0..=until.0 {
                    cache.owners.insert(key.tag(Month(month)), (cell.id, key.class));
                }
            }
            cache.persons.insert(cell.id, keys);
        }
        cache.class_days.extend(class_days);
        cache.owners_until = Some(until);
        Ok(())
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
                Some(&cache.persons.get(person)?.class(*class)?.seal)
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
        let keys = cache.persons.get(person)?;
        Some(keys.token.as_ref()?.mac16(&[&tag::TOKEN[..], destination].concat()))
    }
}

/// Tags and base keys computed while the cache was only read.
#[derive(Default)]
struct Fresh {
    tags: HashMap<(PersonId, ClassId, Month), SubjectTag>,
    groups: HashMap<GroupName, Arc<HmacKey>>,
}

impl Fresh {
    fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.groups.is_empty()
    }
}

impl Cache {
    /// The one person all identifiers of a subject are known to name.
    fn person_of(&self, subject: &Subject) -> Option<PersonId> {
        let (first, others) = subject.identifiers.split_first()?;
        let person = *self.identifiers.get(first)?;
        let same = |other: &Identifier| {
            self.identifiers.get(other).is_some_and(|p| {
                *p == person || self.persons.get(&person).is_some_and(|k| k.peers.contains(p))
            })
        };
        others.iter().all(same).then_some(person)
    }

    /// Whether the owner of every living tag up to this month is known.
    pub(crate) fn knows_owners(&self, until: Month) -> bool {
        self.owners_until.is_some_and(|known| known >= until)
    }

    /// The person behind each known tag; handles of one person give the least of them.
    pub(crate) fn owners(&self) -> HashMap<SubjectTag, PersonId> {
        let least = |person: &PersonId| {
            let peers = self.persons.get(person).map(|keys| keys.peers.as_slice());
            peers.unwrap_or_default().iter().fold(*person, |least, peer| least.min(*peer))
        };
        self.owners.iter().map(|(tag, (person, _))| (*tag, least(person))).collect()
    }

    fn has_class(&self, person: &PersonId, class: ClassId) -> bool {
        self.persons.get(person).is_some_and(|keys| keys.class(class).is_some())
    }

    fn tag(&self, person: PersonId, class: ClassId, month: Month, fresh: &mut Fresh) -> SubjectTag {
        let name = (person, class, month);
        if let Some(tag) = self.tags.get(&name).or_else(|| fresh.tags.get(&name)) {
            return *tag;
        }
        let Some(keys) = self.persons.get(&person).and_then(|keys| keys.class(class)) else {
            unreachable!("has_class was asked first")
        };
        let tag = keys.tag(month);
        fresh.tags.insert(name, tag);
        tag
    }
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

/// Reads a cell.
///
/// # Errors
/// Those of the store; `Evidence` when its bytes are no cell.
pub(crate) fn read_cell(tree: &KeyTree, key: &CellKey) -> Result<Option<Cell>> {
    match tree.get(key)? {
        Some(bytes) => Ok(Some(Cell::decode(&bytes)?)),
        None => Ok(None),
    }
}

/// Reads the cell of a person.
///
/// # Errors
/// As `read_cell`.
pub(crate) fn read_person(
    tree: &KeyTree,
    directory: &HmacKey,
    person: &PersonId,
) -> Result<Option<PersonCell>> {
    match read_cell(tree, &cell::person_key(directory, person))? {
        Some(Cell::Person(cell)) => Ok(Some(cell)),
        _ => Ok(None),
    }
}

/// Persons an identifier names in this tree, with all peers.
///
/// # Errors
/// As `read_cell`.
pub(crate) fn persons_in(
    tree: &KeyTree,
    directory: &HmacKey,
    identifier: &Identifier,
) -> Result<Vec<PersonId>> {
    let found = read_identifier(tree, directory, identifier)?;
    let mut persons = found.map_or_else(Vec::new, |found| found.persons);
    let mut at = 0;
    while let Some(person) = persons.get(at).copied() {
        let peers = read_person(tree, directory, &person)?.map_or_else(Vec::new, |p| p.peers);
        for peer in peers {
            if !persons.contains(&peer) {
                persons.push(peer);
            }
        }
        at += 1;
    }
    Ok(persons)
}

fn read_identifier(
    tree: &KeyTree,
    directory: &HmacKey,
    identifier: &Identifier,
) -> Result<Option<cell::IdentifierCell>> {
    match read_cell(tree, &cell::identifier_key(directory, identifier))? {
        Some(Cell::Identifier(cell)) => Ok(Some(cell)),
        _ => Ok(None),
    }
}

/// The tenant's own keys, made once.
pub(crate) fn tenant_cell(entropy: &dyn Entropy) -> Cell {
    let fresh = || Key::new(crate::base::world::random(entropy));
    Cell::Tenant(cell::TenantCell { dedupe: fresh(), source: fresh() })
}
