//! Random histories against a naive model: who can be read, and what has expired, after each step.

use super::{House, code, patient};
use crate::support::clinic::{Visit, append, assert_sound, data_fate, read_all, text};
use crate::support::sim::Rng;
use crate::support::world::two_people;
use chancery::base::id::CaseId;
use chancery::base::record::Fate;
use chancery::base::unit::{Day, EntryIndex, NANOS_PER_DAY, UtcNanos};
use chancery::format::control::Scope;
use chancery::vault::Vault;
use std::collections::{BTreeMap, BTreeSet};

const PATIENTS: usize = 5;
const FLOOR_DAYS: u64 = 2192;

/// A person as the model knows it: a number that never comes again.
type Handle = usize;

struct Record {
    visit: Visit,
    patient: Handle,
    nurse: Handle,
    day: Day,
}

#[derive(Default)]
struct Model {
    handles: usize,
    current: BTreeMap<String, Handle>,
    /// Handles that are one person.
    same: Vec<BTreeSet<Handle>>,
    /// Every name and handle that ever were together.
    names: BTreeSet<(String, Handle)>,
    erased: BTreeSet<Handle>,
    records: Vec<Record>,
    /// (handle, class) whose key is gone.
    dead: BTreeSet<(Handle, &'static str)>,
    /// Handles whose floor class waits.
    waiting: BTreeSet<Handle>,
    holds: BTreeMap<CaseId, Handle>,
    expired: BTreeSet<(&'static str, Day)>,
}

impl Model {
    fn handle(&mut self, name: &str) -> Handle {
        if let Some(handle) = self.current.get(name) {
            return *handle;
        }
        self.handles += 1;
        self.current.insert(name.into(), self.handles);
        self.names.insert((name.into(), self.handles));
        self.same.push(BTreeSet::from([self.handles]));
        self.handles
    }

    fn all_of(&self, handle: Handle) -> BTreeSet<Handle> {
        self.same.iter().find(|s| s.contains(&handle)).unwrap().clone()
    }

    fn join(&mut self, one: Handle, other: Handle) {
        let both: BTreeSet<Handle> = self.all_of(one).union(&self.all_of(other)).copied().collect();
        self.same.retain(|s| s.is_disjoint(&both));
        self.same.push(both);
    }

    fn record(&mut self, visit: &Visit, day: Day) {
        let (nurse, patient) = (self.handle(&visit.nurse), self.handle(&visit.patient));
        self.records.push(Record { visit: visit.clone(), patient, nurse, day });
    }

    /// Whether anything is left of a handle.
    fn is_left(&self, handle: Handle) -> bool {
        let floor =
            |r: &Record| r.visit.class == "6y" && (r.patient == handle || r.nurse == handle);
        !self.erased.contains(&handle)
            || self.waiting.contains(&handle) && self.records.iter().any(floor)
    }

    /// A hold is on the human: on all handles of which something is left, as far as linked
    /// handles and common names lead.
    fn held(&self, persons: &BTreeSet<Handle>) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), Vec::from_iter(persons.iter().copied()));
        while let Some(handle) = next.pop() {
            if !self.is_left(handle) || !seen.insert(handle) {
                continue;
            }
            next.extend(self.all_of(handle));
            let own = self.names.iter().filter(|(_, of)| *of == handle);
            for (name, _) in own {
                next.extend(self.names.iter().filter(|(n, _)| n == name).map(|(_, of)| *of));
            }
        }
        self.holds.values().any(|h| seen.contains(h))
    }

    /// When the floor of a handle's class `6y` ends, if it has such records at all.
    fn floor(&self, persons: &BTreeSet<Handle>) -> Option<UtcNanos> {
        let of = |r: &&Record| {
            r.visit.class == "6y" && (persons.contains(&r.patient) || persons.contains(&r.nurse))
        };
        let last = self.records.iter().filter(of).map(|r| r.day).max()?;
        Some(UtcNanos(last.end().0 + FLOOR_DAYS * NANOS_PER_DAY))
    }

    fn erase(&mut self, persons: &BTreeSet<Handle>, now: UtcNanos) {
        let deferred = self.floor(persons).is_some_and(|due| due > now);
        self.erased.extend(persons);
        for person in persons {
            self.dead.extend([(*person, "90d"), (*person, "1y")]);
            match deferred {
                true => self.waiting.insert(*person),
                false => self.dead.insert((*person, "6y")),
            };
        }
        self.current.retain(|_, handle| !persons.contains(handle));
    }

    fn expire(&mut self, now: UtcNanos) {
        let held: BTreeSet<(&str, Day)> = self
            .records
            .iter()
            .filter(|r| {
                // A hold keeps what its person has keys for.
                let of = |h: &Handle| {
                    !self.dead.contains(&(*h, r.visit.class)) && self.held(&self.all_of(*h))
                };
                of(&r.patient) || of(&r.nurse)
            })
            .map(|r| (r.visit.class, r.day))
            .collect();
        for record in &self.records {
            let (class, day) = (record.visit.class, record.day);
            let keep = match class {
                "90d" => 90,
                "1y" => 365,
                _ => 2192,
            };
            let due = Day(day.0 + keep).end();
            if due <= now && !held.contains(&(class, day)) {
                self.expired.insert((class, day));
            }
        }
        for handle in self.waiting.clone() {
            let persons = self.all_of(handle);
            let due = self.floor(&persons).is_none_or(|due| due <= now);
            if due && !self.held(&persons) {
                self.dead.insert((handle, "6y"));
                self.waiting.remove(&handle);
            }
        }
    }

    fn check(&self, vault: &Vault, context: &str) {
        let records = read_all(vault);
        let found: BTreeMap<u64, _> =
            records.iter().filter_map(|r| Some((r.entry.head.source_seq?, r))).collect();
        assert_eq!(found.len(), self.records.len(), "{context}");
        for record in &self.records {
            let Visit { seq, class, secret, .. } = &record.visit;
            let dead = |h: Handle| self.dead.contains(&(h, *class));
            let expect = match () {
                () if self.expired.contains(&(*class, record.day)) => Fate::Expired,
                () if dead(record.patient) || dead(record.nurse) => Fate::Erased,
                () => Fate::Open,
            };
            let stored = found[seq];
            assert_eq!(data_fate(stored), expect, "{context}: {:?}", record.visit);
            assert_eq!(text(stored).contains(secret), expect == Fate::Open, "{context}");
        }
    }
}

/// By which instant floors are judged: after a jump that nobody confirmed, the one before it.
fn judged(vault: &Vault) -> UtcNanos {
    let (facts, now) = (vault.facts_now(), vault.clock().now());
    let apart = now.0 - facts.last_time.0 > 7 * NANOS_PER_DAY;
    match facts.time_jump {
        Some(first) => vault.entry(EntryIndex(first.0 - 1)).unwrap().time_log,
        None if facts.opening && apart => facts.last_time,
        None => now,
    }
}

struct Run {
    house: House,
    model: Model,
    rng: Rng,
    seq: u64,
}

impl Run {
    fn name(&mut self) -> String {
        format!("p{}", self.rng.below(PATIENTS))
    }

    fn visit(&mut self) -> Visit {
        self.seq += 1;
        let class = ["90d", "1y", "1y", "6y"][self.rng.below(4)];
        let nurse = format!("n{}", self.rng.below(3));
        Visit::new(self.seq, &nurse, &self.name()).class(class)
    }

    fn step(&mut self, vault: Vault, context: &str) -> Vault {
        let now = vault.clock().now();
        match self.rng.below(12) {
            0..=3 => {
                let visits: Vec<Visit> = (0..=self.rng.below(3)).map(|_| self.visit()).collect();
                append(&vault, &visits).unwrap_or_else(|e| panic!("{context}: {e}"));
                visits.iter().for_each(|v| self.model.record(v, now.day()));
            }
            4 if !self.model.records.is_empty() => {
                let at = self.rng.below(self.model.records.len());
                let again = append(&vault, &[self.model.records[at].visit.clone()]);
                match again {
                    Ok(receipts) => assert!(receipts[0].duplicate, "{context}"),
                    Err(error) => assert_eq!(error.code(), "DUPLICATE_OF_ERASED", "{context}"),
                }
            }
            5 => {
                let names = [self.name(), self.name()];
                let pair = [patient(&names[0]), patient(&names[1])];
                vault.link(&pair, &two_people()).unwrap();
                // A name met first in a link becomes another name of the other's person.
                let known = names.iter().find_map(|n| self.model.current.get(n).copied());
                let known = known.unwrap_or_else(|| self.model.handle(&names[0]));
                for name in names {
                    let other = *self.model.current.entry(name.clone()).or_insert(known);
                    self.model.names.insert((name, other));
                    self.model.join(known, other);
                }
            }
            6 | 7 => self.erase(&vault, context),
            8 => {
                let name = self.name();
                if let Some(handle) = self.model.current.get(&name).copied() {
                    let person = vault.persons_named(&[patient(&name)]).unwrap()[0];
                    let scope = Scope::Person { person };
                    let (case, _) = vault.set_hold(None, "c", scope, &two_people()).unwrap();
                    self.model.holds.insert(case, handle);
                } else if let Some((case, _)) = self.model.holds.pop_first() {
                    vault.release_hold(case, &two_people()).unwrap();
                }
            }
            9 => {
                let days = [1, 20, 100, 400, 2300][self.rng.below(5)];
                self.house.clock.pass_days(days);
                if let Some((case, _)) = self.model.holds.pop_first() {
                    vault.release_hold(case, &two_people()).unwrap();
                }
            }
            10 => {
                vault.expire(Some(now.day())).unwrap_or_else(|e| panic!("{context}: {e}"));
                self.model.expire(now);
            }
            _ => {
                drop(vault);
                return self.house.open().unwrap_or_else(|e| panic!("{context}: {e}"));
            }
        }
        vault
    }

    fn erase(&mut self, vault: &Vault, context: &str) {
        let name = self.name();
        vault.settle();
        let now = judged(vault);
        let result = vault.erase(&[patient(&name)], "gdpr-17-1", &two_people());
        let Some(handle) = self.model.current.get(&name).copied() else {
            return assert_eq!(code(result), "SUBJECT_UNKNOWN", "{context}");
        };
        let persons = self.model.all_of(handle);
        if self.model.held(&persons) {
            return assert_eq!(code(result), "HOLD_BLOCKED", "{context}");
        }
        result.unwrap_or_else(|e| panic!("{context}: {e}"));
        self.model.erase(&persons, now);
    }
}

#[test]
fn random_histories_agree_with_the_model() {
    for seed in 1..=24 {
        let (mut house, _) = House::sim();
        house.config.accept_time = true;
        let mut vault = house.init();
        let mut run = Run { house, model: Model::default(), rng: Rng::new(seed), seq: 0 };
        for step in 0..45 {
            let context = format!("seed {seed}, step {step}");
            vault = run.step(vault, &context);
            run.model.check(&vault, &context);
        }
        assert_sound(&vault, &format!("seed {seed}"));
    }
}
