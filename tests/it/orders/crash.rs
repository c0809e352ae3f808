//! Power losses while an order is filed, approved and executed: cut before every operation that
//! changes the disk, and once more within the recovery. Whatever survives, the order is in a state
//! that it could have been in, says which, and goes on from there to one erasure, or one change of
//! policies, under its one handle. At most one intent of a handle is ever written; that a handle's
//! erasure is done is known by the log alone.

use super::{HOUR, erase, human, party, settings, two};
use crate::support::clinic::{Visit, append, assert_sound, patient};
use crate::support::sim::{Rng, SimDisk, Still, Survivors};
use crate::support::world::{HandClock, SeedEntropy, world};
use chancery::base::entry::Kind;
use chancery::base::unit::{EntryIndex, NANOS_PER_SECOND};
use chancery::policy::order::act::Act;
use chancery::policy::order::{Order, State};
use chancery::server::orders::book::{Application, Book};
use chancery::server::orders::{Hands, Held};
use chancery::vault::Vault;
use chancery::vault::policies::policies_hash;
use std::sync::Arc;

/// A story: what is ordered, and what must be in the log at its end.
struct Story {
    name: &'static str,
    act: fn() -> Act,
    /// Entries of the act in the log, beyond those before the order.
    done: fn(&Vault) -> usize,
}

const ERASURE: Story = Story { name: "erasure", act: || erase("p1"), done: erasures };
const POLICIES: Story = Story { name: "policies", act: shorter, done: changes };

fn erasures(vault: &Vault) -> usize {
    let all = (0..vault.size().0).map(|at| vault.entry(EntryIndex(at)).unwrap().head.kind);
    all.filter(|kind| *kind == Kind::EraseIntent).count()
}

fn changes(vault: &Vault) -> usize {
    usize::try_from(vault.facts_now().policies.unwrap().1).unwrap() - 1
}

fn shorter() -> Act {
    let mut files = settings().policies;
    let base_hash = policies_hash(&files).unwrap().1;
    let classes = files.get_mut("classes.toml").unwrap();
    *classes = classes.replace(r#"keep = "90d""#, r#"keep = "80d""#);
    Act::ApplyPolicies { files, base_hash }
}

/// How far an order is: it never goes back.
fn rank(state: &State) -> usize {
    match state {
        State::Filed => 1,
        State::Approved { .. } => 2,
        State::Executing => 3,
        State::Executed { .. } => 4,
        other => panic!("{other:?}"),
    }
}

struct Run {
    clock: Arc<HandClock>,
    entropy: Arc<SeedEntropy>,
    seed: u64,
}

impl Run {
    fn new(clock: Arc<HandClock>, seed: u64) -> Run {
        Run { clock, entropy: SeedEntropy::new(seed), seed: seed + 1_000_000 }
    }

    /// Another world that goes on from here.
    fn fork(&self, seed: u64) -> Run {
        Run::new(self.clock.fork(), seed)
    }

    fn open(&self, disk: &SimDisk, seed: u64, context: &str) -> Vault {
        let world = world(Arc::new(disk.clone()), &self.clock, seed);
        Vault::open(world, &settings()).unwrap_or_else(|e| panic!("{context}: {e}"))
    }

    fn file(&self, vault: &Vault, book: &Book, story: &Story) -> Held {
        let now = vault.clock().now();
        let by = party(human(1), now);
        let application = Application { act: (story.act)(), by: &by, rule: two(1, HOUR) };
        book.file(vault, &*self.entropy, &Hands::Tenant, application, now).unwrap()
    }

    /// Takes the order to its end, from wherever it is. `told` hears each step that is durable.
    fn go(&self, vault: &Vault, book: &Book, held: &Held, told: &mut dyn FnMut(&State)) -> Held {
        for _ in 0..8 {
            let held = book.order(vault, held.id).unwrap();
            let (state, now) = (held.order.state(), vault.clock().now());
            told(&state);
            match state {
                State::Filed => {
                    let who = party(human(2), now);
                    book.approve(vault, held.id, &who, held.order.hash, now).unwrap();
                }
                State::Approved { .. } | State::Executing => {
                    self.clock.pass(HOUR * NANOS_PER_SECOND);
                    let (rule, now) = (|_: &Order| Ok(two(1, HOUR)), vault.clock().now());
                    book.tick(vault, &Hands::Tenant, &rule, now).unwrap();
                }
                State::Executed { .. } => return held,
                other => panic!("{other:?}"),
            }
        }
        panic!("no end");
    }

    /// What a crash left: opened, judged against what had been told, taken to its end.
    fn recover(&self, story: &Story, disk: &SimDisk, told: usize, context: &str) -> usize {
        let vault = self.open(disk, self.seed, context);
        let book = Book::open(&vault).unwrap_or_else(|e| panic!("{context}: {e}"));
        let all = book.all_orders(&vault).unwrap();
        assert!(all.len() <= 1, "{context}: {all:?}");
        let found = all.first().map_or(0, |held| rank(&held.order.state()));
        assert!(found >= told, "{context}: was told {told}, found {found}");
        let done = (story.done)(&vault);
        // What is not begun is not done, and what is said to be done is.
        assert!(if found < 3 { done == 0 } else { done <= 1 }, "{context}: {found}, {done} done");
        assert!(found < 4 || done == 1, "{context}: executed, {done} done");
        let held = match all.first() {
            Some(held) => held.clone(),
            None => self.file(&vault, &book, story),
        };
        let end = self.go(&vault, &book, &held, &mut |_| {});
        assert_eq!((story.done)(&vault), 1, "{context}");
        self.says_which(story, &vault, &end, context);
        assert!(book.open_orders().is_empty(), "{context}");
        assert_sound(&vault, context);
        found
    }

    fn says_which(&self, story: &Story, vault: &Vault, end: &Held, context: &str) {
        let State::Executed { entry } = end.order.state() else { panic!("{context}: {end:?}") };
        let facts = vault.facts_now();
        match story.name {
            "erasure" => {
                let erasure = &facts.erasures[&end.order.job];
                assert_eq!(entry, erasure.done.as_ref().map(|done| done.0), "{context}");
                let gone = vault.persons_named(&[patient("p1")]).unwrap_err();
                assert_eq!(gone.code(), "SUBJECT_UNKNOWN", "{context}");
            }
            _ => assert_eq!(entry, facts.policies.map(|policies| policies.0), "{context}"),
        }
    }
}

/// Plays a story on film; with each still, how far the order had been said to be.
fn film(story: &Story, run: &Run) -> Vec<(Still, usize)> {
    let disk = SimDisk::new();
    let first = world(Arc::new(disk.clone()), &run.clock, 1);
    let vault = Vault::init(first, &settings(), "vault.example").unwrap();
    let visits: Vec<Visit> = (1..4).map(|n| Visit::new(n, "n1", &format!("p{n}"))).collect();
    append(&vault, &visits).unwrap();
    vault.settle();
    vault.checkpoint().unwrap();
    drop(vault);
    let vault = run.open(&disk, 2, story.name);
    let book = Book::open(&vault).unwrap();
    vault.settle();
    disk.film();
    let held = run.file(&vault, &book, story);
    let mut told = Vec::new();
    run.go(&vault, &book, &held, &mut |state| told.push((disk.operations(), rank(state))));
    assert_eq!((story.done)(&vault), 1);
    drop((book, vault));
    let known = |at: u64| told.iter().filter(|(when, _)| *when <= at).map(|(_, rank)| *rank).max();
    let stills = disk.cut().into_iter();
    stills.map(|still| (known(still.operation).unwrap_or(0), still)).map(|(k, s)| (s, k)).collect()
}

fn cut(story: &Story) {
    let seed = 5;
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let run = Run::new(clock, seed);
    let stills = film(story, &run);
    let mut seen = std::collections::BTreeMap::<usize, usize>::new();
    for (at, (still, told)) in stills.iter().enumerate() {
        let mut all = vec![Survivors::Nothing];
        if !still.is_clean() {
            let other =
                if at % 3 == 0 { Survivors::Everything } else { Survivors::Random(rng.next()) };
            all.push(other);
        }
        for survivors in all {
            let context = format!("{}, before {}, {survivors:?}", story.name, still.next);
            let context = format!("{context} (operation {})", still.operation);
            let disk = still.crash(survivors);
            disk.film();
            let found = run.fork(rng.next() >> 8).recover(story, &disk, *told, &context);
            *seen.entry(found).or_default() += 1;
            // Once more, somewhere within the recovery.
            let within = disk.cut();
            if at % 3 == 0 {
                let nested = &within[rng.below(within.len())];
                let context = format!("{context}, then before {}", nested.next);
                let disk = nested.crash(Survivors::Random(rng.next()));
                run.fork(rng.next() >> 8).recover(story, &disk, *told, &context);
            }
        }
    }
    println!("{}: {} instants, found by state {seen:?}", story.name, stills.len());
    let expect: Vec<usize> = (0..5).collect();
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), expect, "every state must be met");
}

#[test]
fn an_erasure_is_one_erasure_wherever_the_power_fails() {
    cut(&ERASURE);
}

#[test]
fn a_change_of_policies_is_one_wherever_the_power_fails() {
    cut(&POLICIES);
}
