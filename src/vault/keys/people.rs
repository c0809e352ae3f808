//! Persons in the cache and the identifiers that name them, found for a whole batch at once. Every
//! step of that is a loop of its own, short enough that the processor fetches the rows of many
//! events at a time instead of waiting for one after the other. It never makes anybody known, and
//! it forgets everybody at once or nobody.

use crate::base::event::{Event, Identifier, Subject};
use crate::base::id::{ById, PersonId};
use crate::base::unit::ClassId;
use crate::vault::keys::{PersonKeys, SubjectKeys};
use hashbrown::HashTable;
use std::hash::{BuildHasher as _, RandomState};

/// Place of what is not there.
const NOWHERE: u32 = u32::MAX;

/// An identifier and whom it names.
struct Name {
    identifier: Identifier,
    person: PersonId,
    /// Place of the person's keys, if they were there when the name came.
    keys: u32,
}

/// Everybody who is known.
#[derive(Default)]
pub(crate) struct People {
    /// Keyed at random: whoever sends identifiers cannot choose where they fall.
    hasher: RandomState,
    /// Places of names, by their hash.
    places: HashTable<u32>,
    /// Hash of each name: tells names apart without touching them.
    hashes: Vec<u64>,
    names: Vec<Name>,
    /// Places of keys.
    by_id: ById<PersonId, u32>,
    keys: Vec<PersonKeys>,
}

impl People {
    /// Takes a person's keys in, in place of what was known.
    pub(crate) fn add(&mut self, id: PersonId, keys: PersonKeys) {
        match self.by_id.get(&id).and_then(|at| self.keys.get_mut(*at as usize)) {
            Some(known) => *known = keys,
            None => {
                self.by_id.insert(id, place(self.keys.len()));
                self.keys.push(keys);
            }
        }
    }

    /// Says whom an identifier names; the person's keys come first where they come at all.
    pub(crate) fn name(&mut self, identifier: Identifier, person: PersonId) {
        let keys = self.by_id.get(&person).copied().unwrap_or(NOWHERE);
        let hash = self.hasher.hash_one(&identifier);
        let known = self.find(hash, &identifier);
        let name = Name { identifier, person, keys };
        if let Some(slot) = self.names.get_mut(known as usize) {
            *slot = name;
            return;
        }
        let (hashes, at) = (&mut self.hashes, place(self.names.len()));
        hashes.push(hash);
        self.names.push(name);
        let rehash = |at: &u32| hashes.get(*at as usize).copied().unwrap_or_default();
        self.places.insert_unique(hash, at, rehash);
    }

    /// How many persons and how many names.
    #[cfg(test)]
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.keys.len(), self.names.len())
    }

    /// Whom an identifier names.
    pub(crate) fn named(&self, identifier: &Identifier) -> Option<PersonId> {
        let at = self.find(self.hasher.hash_one(identifier), identifier);
        self.names.get(at as usize).map(|name| name.person)
    }

    /// A person's keys.
    pub(crate) fn person(&self, id: &PersonId) -> Option<&PersonKeys> {
        self.keys.get(*self.by_id.get(id)? as usize)
    }

    /// A person's keys, to remember more in them.
    pub(crate) fn person_mut(&mut self, id: &PersonId) -> Option<&mut PersonKeys> {
        self.keys.get_mut(*self.by_id.get(id)? as usize)
    }

    /// The person whom each subject of a batch means and the person's keys of the event's class,
    /// in the order of events and their subjects; `None` where something is not here.
    pub(crate) fn of_batch(&self, events: &[Event<'_>]) -> Vec<Option<(PersonId, &SubjectKeys)>> {
        let subjects = || events.iter().flat_map(|e| e.subjects.iter().map(|s| (s, e.class)));
        let first = |(subject, _): (&'_ Subject, ClassId)| match subject.identifiers.first() {
            Some(identifier) => self.hasher.hash_one(identifier),
            None => 0,
        };
        let hashes: Vec<u64> = subjects().map(first).collect();
        let mut places: Vec<u32> = hashes.iter().map(|hash| self.candidate(*hash)).collect();
        for (place, ((subject, _), hash)) in places.iter_mut().zip(subjects().zip(hashes)) {
            let name = self.names.get(*place as usize);
            if let (Some(name), Some(first)) = (name, subject.identifiers.first())
                && !same(&name.identifier, first)
            {
                // Two names of one hash: all but impossible, so it may take its time.
                *place = self.find(hash, first);
            }
        }
        let known = places.into_iter().zip(subjects()).map(|(place, (subject, class))| {
            let (_, others) = subject.identifiers.split_first()?;
            let name = self.names.get(place as usize)?;
            let keys = match self.keys.get(name.keys as usize) {
                Some(keys) => Some(keys),
                None => self.person(&name.person),
            };
            if !others.is_empty() && !self.all_name(others, name.person, keys) {
                return None;
            }
            Some((name.person, keys?.class(class)?))
        });
        known.collect()
    }

    /// Whether identifiers name this person, by any of the person's handles.
    fn all_name(&self, others: &[Identifier], id: PersonId, keys: Option<&PersonKeys>) -> bool {
        let same = |other: &Identifier| {
            self.named(other)
                .is_some_and(|p| p == id || keys.is_some_and(|keys| keys.peers.contains(&p)))
        };
        others.iter().all(same)
    }

    /// Place of a name with this hash.
    #[inline]
    fn candidate(&self, hash: u64) -> u32 {
        let found = self.places.find(hash, |at| self.hashes.get(*at as usize) == Some(&hash));
        found.copied().unwrap_or(NOWHERE)
    }

    /// Place of the name of an identifier.
    fn find(&self, hash: u64, identifier: &Identifier) -> u32 {
        let it = |at: &u32| {
            let name = self.names.get(*at as usize);
            name.is_some_and(|name| same(&name.identifier, identifier))
        };
        self.places.find(hash, it).copied().unwrap_or(NOWHERE)
    }
}

/// As `==`; values first, since kinds are few.
#[inline]
fn same(one: &Identifier, other: &Identifier) -> bool {
    one.value == other.value && one.kind == other.kind
}

/// Memory for 2^32 names is out of reach of every limit of the cache.
fn place(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(NOWHERE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::event::EventCode;
    use crate::base::secret::Key;
    use crate::base::unit::{Day, UtcNanos};
    use crate::format::cell::{ClassKey, PersonCell};
    use crate::vault::housekeeper::SEAL_CODE;
    use crate::vault::seal::bare;
    use std::collections::HashMap;

    /// Numbers from a seed (xorshift).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }
    }

    fn id(number: u64) -> PersonId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        id[15] = number as u8;
        PersonId(id)
    }

    fn identifier(number: u64) -> Identifier {
        let kind = if number.is_multiple_of(3) { "email" } else { "user_id" };
        Identifier { kind: kind.into(), value: format!("n{}", number / 2).into() }
    }

    fn cell(person: u64, classes: &[u16], peers: Vec<PersonId>) -> PersonCell {
        let created = Day(20_000);
        let key =
            |class: &u16| ClassKey { class: ClassId(*class), created, key: Key::new([1; 32]) };
        let keys = classes.iter().map(key).collect();
        let token = Key::new([2; 32]);
        PersonCell { id: id(person), retired: false, created, token, keys, links: vec![], peers }
    }

    fn event(class: u16, subjects: Vec<Subject>) -> Event<'static> {
        let code: EventCode = SEAL_CODE;
        let (event, _) = bare(ClassId(class), code, UtcNanos(0));
        Event { subjects, ..event }
    }

    #[test]
    fn a_row_takes_what_the_arithmetic_says() {
        assert!(size_of::<Name>() <= 56);
    }

    /// Whoever is found is found as in plain maps, one identifier after the other.
    #[test]
    fn random_batches_find_whom_plain_maps_find() {
        for seed in 1..=40 {
            let mut dice = Dice(0x2545_F491_4F6C_DD1D ^ seed);
            let mut people = People::default();
            let mut names: HashMap<Identifier, PersonId> = HashMap::new();
            let mut persons: HashMap<PersonId, (Vec<PersonId>, Vec<u16>)> = HashMap::new();
            for _ in 0..60 {
                let (person, peer) = (dice.below(30), dice.below(30));
                let classes: Vec<u16> = (0..3).filter(|_| dice.below(2) == 0).collect();
                let peers = if dice.below(3) == 0 { vec![id(peer)] } else { Vec::new() };
                // Now and then a name comes before the person's keys, or without them.
                if dice.below(4) > 0 {
                    let cell = cell(person, &classes, peers.clone());
                    people.add(id(person), PersonKeys::of(&cell));
                    persons.insert(id(person), (peers, classes));
                }
                let name = identifier(dice.below(80));
                people.name(name.clone(), id(person));
                names.insert(name, id(person));
                let mut subject = |_| Subject {
                    identifiers: (0..dice.below(4)).map(|_| identifier(dice.below(90))).collect(),
                };
                let batch: Vec<_> =
                    (0..5).map(|n| event(n % 3, (0..n).map(&mut subject).collect())).collect();
                let expect = batch.iter().flat_map(|e| e.subjects.iter().map(|s| (s, e.class)));
                let expect = expect.map(|(subject, class)| {
                    let (first, others) = subject.identifiers.split_first()?;
                    let person = names.get(first)?;
                    let there = persons.get(person);
                    let peers = there.map_or(&[][..], |(peers, _)| peers);
                    let same = |p: &PersonId| p == person || peers.contains(p);
                    let all = others.iter().all(|other| names.get(other).is_some_and(same));
                    let (_, classes) = there.filter(|_| all)?;
                    classes.contains(&class.0).then_some((*person, class))
                });
                let found = people.of_batch(&batch).into_iter();
                let found = found.map(|found| found.map(|(person, keys)| (person, keys.class)));
                assert!(found.eq(expect), "seed {seed}");
            }
            assert_eq!(people.len(), (persons.len(), names.len()), "seed {seed}");
            for (name, person) in &names {
                assert_eq!(people.named(name), Some(*person));
                assert_eq!(people.person(person).is_some(), persons.contains_key(person));
            }
        }
    }
}
