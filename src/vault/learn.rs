//! Learning: persons named for the first time, identifiers found to belong together, keys of new
//! classes and days. All cells one batch needs are changed together and synced once. It never
//! takes a key away: that is `erase` and `retain`.

use crate::base::entry::Kind;
use crate::base::event::{Identifier, Subject, Verb};
use crate::base::id::PersonId;
use crate::base::limits;
use crate::base::refusal::Refusal;
use crate::base::secret::Key;
use crate::base::unit::{ClassDay, ClassId, Day};
use crate::base::world::{Entropy, random};
use crate::crypto::kdf::HmacKey;
use crate::format::cell::{self, Cell, CellKey, ClassKey, IdentifierCell, PersonCell};
use crate::format::control;
use crate::store::keytree::KeyTree;
use crate::vault::Vault;
use crate::vault::append::unique;
use crate::vault::error::{Error, Result};
use crate::vault::facts::Facts;
use crate::vault::hold::Order;
use crate::vault::keys::{self, Wanted};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use zeroize::Zeroizing;

/// What one batch changes in the tree, before it is written.
pub(crate) struct Lesson<'a> {
    tree: &'a KeyTree,
    directory: &'a HmacKey,
    facts: &'a Facts,
    entropy: &'a dyn Entropy,
    day: Day,
    cells: HashMap<CellKey, Cell>,
    touched: BTreeSet<CellKey>,
    /// Identifiers resolved, for the cache.
    pub(crate) identifiers: Vec<(Identifier, PersonId)>,
    persons: BTreeSet<PersonId>,
    /// Class-day keys resolved, for the cache.
    pub(crate) class_days: BTreeMap<ClassDay, Key>,
}

impl Vault {
    /// Links identifiers: from now on they are one person, and are found, held and erased
    /// together. An entry says so before it is done; it names handles, never an identifier, so
    /// that an erasure leaves nothing of the link to read.
    ///
    /// # Errors
    /// `Denied` without two people; `Invalid` when a limit is passed.
    pub fn link(&self, identifiers: &[Identifier], order: &Order) -> Result<PersonId> {
        self.writable()?;
        let mode = order.mode()?;
        let act = self.prepare_act(Verb::Update, ClassId(limits::VAULT_CLASS), order.fields())?;
        let keys = &self.inner.keys;
        let mut tree = keys.tree();
        let day = self.inner.clock.now().day();
        let (changes, person, persons) = {
            let facts = self.facts();
            let entropy = &*self.inner.world.entropy;
            let mut lesson = Lesson::new(&tree, keys.directory(), &facts, entropy, day);
            let person = lesson.subject(&Subject { identifiers: identifiers.to_vec() })?;
            let mut persons = lesson.person(person)?.peers;
            persons.push(person);
            (lesson.changes(), person, unique(persons))
        };
        let clear = control::encode(&control::Config::Link { mode, persons })?;
        self.commit_act(Kind::Config, clear, act, None)?;
        self.put(&mut tree, changes)?;
        keys.evict();
        Ok(person)
    }

    /// Whether these identifiers name one person by now, so that nothing is left to link.
    ///
    /// # Errors
    /// Those of the store.
    pub fn are_one_person(&self, identifiers: &[Identifier]) -> Result<bool> {
        let tree = self.inner.keys.tree();
        let mut all: Option<Vec<PersonId>> = None;
        for identifier in identifiers {
            let found = keys::persons_in(&tree, self.inner.keys.directory(), identifier)?;
            let found = unique(found);
            if found.is_empty() || all.as_ref().is_some_and(|all| *all != found) {
                return Ok(false);
            }
            all = Some(found);
        }
        Ok(all.is_some())
    }
}

impl<'a> Lesson<'a> {
    /// Starts with nothing changed.
    pub(crate) fn new(
        tree: &'a KeyTree,
        directory: &'a HmacKey,
        facts: &'a Facts,
        entropy: &'a dyn Entropy,
        day: Day,
    ) -> Self {
        Lesson {
            tree,
            directory,
            facts,
            entropy,
            day,
            cells: HashMap::new(),
            touched: BTreeSet::new(),
            identifiers: Vec::new(),
            persons: BTreeSet::new(),
            class_days: BTreeMap::new(),
        }
    }

    /// Refuses a batch about somebody who is not known, or not any more.
    ///
    /// # Errors
    /// `NotFound` `SUBJECT_UNKNOWN`.
    pub(crate) fn knows(&mut self, wanted: &Wanted) -> Result<()> {
        for identifier in wanted.subjects.iter().flat_map(|(subject, _)| &subject.identifiers) {
            let cell = match self.get(cell::identifier_key(self.directory, identifier))? {
                Some(Cell::Identifier(cell)) => Some(cell),
                _ => None,
            };
            let current = cell.and_then(|c| c.persons.get(usize::from(c.current?)).copied());
            if current.is_none_or(|person| self.facts.fenced.contains(&person)) {
                return Err(Error::NotFound { code: "SUBJECT_UNKNOWN" });
            }
        }
        Ok(())
    }

    /// Takes in all a batch wants.
    ///
    /// # Errors
    /// `Invalid` when a person would have too many identifiers or classes.
    pub(crate) fn take(&mut self, wanted: &Wanted) -> Result<()> {
        for class_day in &wanted.class_days {
            self.class_day(*class_day)?;
        }
        for (subject, class) in &wanted.subjects {
            let person = self.subject(subject)?;
            self.class_key(person, *class)?;
        }
        Ok(())
    }

    /// The cells to write.
    pub(crate) fn changes(&self) -> Vec<(CellKey, Zeroizing<Vec<u8>>)> {
        let changed = self.touched.iter().filter_map(|key| Some((*key, self.cells.get(key)?)));
        changed.map(|(key, cell)| (key, cell.encode())).collect()
    }

    /// Cells of the persons met, for the cache.
    pub(crate) fn persons(&self) -> Vec<(PersonId, PersonCell)> {
        let cell = |p: &PersonId| match self.cells.get(&cell::person_key(self.directory, p)) {
            Some(Cell::Person(cell)) => Some((*p, cell.clone())),
            _ => None,
        };
        self.persons.iter().filter_map(cell).collect()
    }

    fn get(&mut self, key: CellKey) -> Result<Option<Cell>> {
        if let Some(cell) = self.cells.get(&key) {
            return Ok(Some(cell.clone()));
        }
        let cell = keys::read_cell(self.tree, &key)?;
        if let Some(cell) = &cell {
            self.cells.insert(key, cell.clone());
        }
        Ok(cell)
    }

    fn put(&mut self, key: CellKey, cell: Cell) {
        self.cells.insert(key, cell);
        self.touched.insert(key);
    }

    fn person(&mut self, person: PersonId) -> Result<PersonCell> {
        self.persons.insert(person);
        match self.get(cell::person_key(self.directory, &person))? {
            Some(Cell::Person(cell)) => Ok(cell),
            _ => Err(Error::evidence("KEY_LOST", format!("person {person} has no cell"))),
        }
    }

    fn put_person(&mut self, cell: PersonCell) {
        self.persons.insert(cell.id);
        self.put(cell::person_key(self.directory, &cell.id), Cell::Person(cell));
    }

    fn class_day(&mut self, class_day: ClassDay) -> Result<()> {
        let key = cell::class_day_key(self.directory, class_day);
        let found = match self.get(key)? {
            Some(Cell::ClassDay(_, key)) => key,
            _ if self.facts.fenced_days.contains(&class_day) => {
                let fix = "its key was destroyed and is never made again; check the clock";
                return Err(Error::denied("CLASS_DAY_EXPIRED", fix));
            }
            _ => {
                let fresh = Key::new(random(self.entropy));
                self.put(key, Cell::ClassDay(class_day, fresh.clone()));
                fresh
            }
        };
        self.class_days.insert(class_day, found);
        Ok(())
    }

    fn class_key(&mut self, person: PersonId, class: ClassId) -> Result<()> {
        let mut cell = self.person(person)?;
        let Err(at) = cell.keys.binary_search_by_key(&class, |k| k.class) else { return Ok(()) };
        if cell.keys.len() >= limits::PERSON_CLASSES_MAX {
            let fix = "use fewer retention classes for one person";
            let refusal = Refusal::new("SUBJECT_TOO_MANY_CLASSES", fix);
            return Err(refusal.limit(limits::PERSON_CLASSES_MAX as u64).into());
        }
        let key = Key::new(random(self.entropy));
        cell.keys.insert(at, ClassKey { class, created: self.day, key });
        self.put_person(cell);
        Ok(())
    }

    /// The person a subject means: found, or made, or found to be several that are one.
    pub(crate) fn subject(&mut self, subject: &Subject) -> Result<PersonId> {
        let mut found = Vec::new();
        for identifier in &subject.identifiers {
            let key = cell::identifier_key(self.directory, identifier);
            let cell = match self.get(key)? {
                Some(Cell::Identifier(cell)) => Some(cell),
                _ => None,
            };
            let current = cell
                .as_ref()
                .and_then(|c| c.persons.get(usize::from(c.current?)))
                .filter(|person| !self.facts.fenced.contains(person))
                .copied();
            found.push((identifier, key, cell, current));
        }
        let person = match found.iter().find_map(|(_, _, _, current)| *current) {
            Some(person) => person,
            None => self.new_person(),
        };
        for (identifier, key, cell, current) in found {
            match current {
                Some(other) if other == person => {}
                Some(other) => self.join(person, other)?,
                None => self.link(person, identifier, key, cell)?,
            }
            self.identifiers.push((identifier.clone(), current.unwrap_or(person)));
        }
        Ok(person)
    }

    fn new_person(&mut self) -> PersonId {
        let id = PersonId(random(self.entropy));
        let token = Key::new(random(self.entropy));
        self.put_person(PersonCell {
            id,
            retired: false,
            created: self.day,
            token,
            keys: Vec::new(),
            links: Vec::new(),
            peers: Vec::new(),
        });
        id
    }

    fn link(
        &mut self,
        person: PersonId,
        identifier: &Identifier,
        key: CellKey,
        cell: Option<IdentifierCell>,
    ) -> Result<()> {
        let mut owner = self.person(person)?;
        if let Err(at) = owner.links.binary_search(&key) {
            if owner.links.len() >= limits::PERSON_LINKS_MAX {
                let fix = "map fewer identifiers to one person, or check the source's mapping";
                let refusal = Refusal::new("SUBJECT_TOO_MANY_IDENTIFIERS", fix);
                return Err(refusal.limit(limits::PERSON_LINKS_MAX as u64).into());
            }
            owner.links.insert(at, key);
            self.put_person(owner);
        }
        let mut cell = cell.unwrap_or_else(|| IdentifierCell {
            current: None,
            persons: Vec::new(),
            identifier: identifier.clone(),
        });
        if cell.persons.len() >= limits::IDENTIFIER_PERSONS_MAX {
            let fix = "erasures had to leave too many earlier handles of this identifier: let \
                       their floors and holds end, or send it under another identifier";
            let refusal = Refusal::new("IDENTIFIER_TOO_MANY_PERSONS", fix);
            return Err(refusal.limit(limits::IDENTIFIER_PERSONS_MAX as u64).into());
        }
        cell.persons.push(person);
        cell.current = u8::try_from(cell.persons.len() - 1).ok();
        self.put(key, Cell::Identifier(cell));
        Ok(())
    }

    /// Two handles are one person: each comes to know all handles of the other.
    fn join(&mut self, one: PersonId, other: PersonId) -> Result<()> {
        let mut all = BTreeSet::from([one, other]);
        all.extend(self.person(one)?.peers);
        all.extend(self.person(other)?.peers);
        if all.len() > limits::PERSON_PEERS_MAX {
            let fix = "too many known persons would become one: check which identifiers the \
                       source's mapping links";
            let refusal = Refusal::new("SUBJECT_TOO_MANY_LINKS", fix);
            return Err(refusal.limit(limits::PERSON_PEERS_MAX as u64).into());
        }
        for person in &all {
            let mut cell = self.person(*person)?;
            let peers: Vec<PersonId> = all.iter().filter(|p| *p != person).copied().collect();
            if cell.peers != peers {
                cell.peers = peers;
                self.put_person(cell);
            }
        }
        Ok(())
    }
}
