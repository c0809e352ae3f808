//! The registry against a naive map: random versions, right and wrong, people erased, days that
//! pass, openings with and without snapshot and index. It prints its seed.

use super::{body, id};
use crate::support::clinic::{append_json, patient};
use crate::support::sim::{Rng, SimDisk};
use crate::support::world::{self, HandClock, open_patiently, two_people, world};
use chancery::base::event::Identifier;
use chancery::base::id::DocumentId;
use chancery::base::limits::IDEMPOTENCY_NANOS;
use chancery::base::unit::{EntryIndex, UtcNanos};
use chancery::format::control::DocumentKind;
use chancery::store::disk::{Disk, OsDisk};
use chancery::vault::Vault;
use chancery::vault::config::{Config, Tuning};
use chancery::vault::registry::{Document, Put};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const KINDS: [DocumentKind; 4] =
    [DocumentKind::Human, DocumentKind::Order, DocumentKind::Idempotency, DocumentKind::Setting];

type Key = (DocumentKind, DocumentId);

/// One version as it must be.
#[derive(Clone, Debug)]
struct Version {
    version: u64,
    index: EntryIndex,
    time: UtcNanos,
    gone: bool,
    body: String,
    about: Vec<String>,
    erased: bool,
}

/// What was put, by the simplest means.
#[derive(Default)]
struct Naive {
    all: BTreeMap<Key, Vec<Version>>,
    /// The version in force, where the document is known.
    known: BTreeMap<Key, u64>,
}

impl Naive {
    fn passed(&mut self, now: UtcNanos) {
        let all = &self.all;
        self.known.retain(|key, _| {
            let newest = all[key].last().unwrap();
            key.0 != DocumentKind::Idempotency || newest.time.0 + IDEMPOTENCY_NANOS > now.0
        });
    }

    fn erase(&mut self, whom: &str) {
        let all = self.all.values_mut().flatten();
        all.filter(|v| v.about.iter().any(|a| a == whom)).for_each(|v| v.erased = true);
    }

    fn check(&self, vault: &Vault, context: &str) {
        for kind in KINDS {
            let found = vault.documents(kind).unwrap_or_else(|e| panic!("{context}: {e}"));
            let expect = self.known.keys().filter(|key| key.0 == kind);
            let expect: Vec<Key> = expect.copied().collect();
            let keys: Vec<Key> = found.iter().map(|d| (d.kind, d.id)).collect();
            assert_eq!(keys, expect, "{context}: {kind}");
            for document in &found {
                let newest = self.all[&(kind, document.id)].last().unwrap();
                same(document, newest, context);
            }
            for byte in 0..6 {
                let key = (kind, id(byte));
                let history = vault.document_history(kind, id(byte));
                let history = history.unwrap_or_else(|e| panic!("{context}: {e}"));
                let expect = self.all.get(&key).cloned().unwrap_or_default();
                assert_eq!(history.len(), expect.len(), "{context}: {key:?}");
                history.iter().zip(&expect).for_each(|(d, v)| same(d, v, context));
                let one = vault.document(kind, id(byte)).unwrap();
                assert_eq!(one.map(|d| d.version), self.known.get(&key).copied(), "{context}");
            }
        }
    }
}

fn same(document: &Document, expect: &Version, context: &str) {
    let Version { version, index, time, gone, body: text, erased, .. } = expect;
    let text = if *erased { "-" } else { text };
    let found = (document.version, document.index, document.time, document.gone);
    assert_eq!(found, (*version, *index, *time, *gone), "{context}: {expect:?}");
    assert_eq!(body(document), text, "{context}: {expect:?}");
}

/// A vault under test: where it lies and what closes and opens it.
struct Bench {
    world: chancery::vault::World,
    disk: Arc<dyn Disk>,
    config: Config,
    clock: Arc<HandClock>,
    rng: Rng,
    naive: Naive,
    context: String,
    counts: [u64; 5],
}

impl Bench {
    fn calm(vault: &Vault) {
        vault.settle();
        vault.checkpoint().unwrap();
        vault.settle();
    }

    fn step(&mut self, vault: Vault, files: &dyn Fn() -> Vec<PathBuf>) -> Vault {
        match self.rng.below(20) {
            0..=13 => self.put(&vault),
            14 | 15 => {
                // What is owed for the days so far has the time of before.
                Bench::calm(&vault);
                self.clock.pass(self.rng.below(30) as u64 * 3_600 * 1_000_000_000);
            }
            16 => self.erase(&vault),
            17 => self.naive.check(&vault, &self.context),
            _ => return self.reopen(vault, files),
        }
        vault
    }

    fn put(&mut self, vault: &Vault) {
        let kind = KINDS[self.rng.below(KINDS.len())];
        let key = (kind, id(self.rng.below(5) as u8));
        let force = self.naive.known.get(&key).copied().unwrap_or(0);
        let expect = match self.rng.below(5) {
            0 => self.rng.below(4) as u64,
            _ => force,
        };
        let about: Vec<String> =
            (0..self.rng.below(4).saturating_sub(1)).map(|_| self.someone()).collect();
        let subjects: Vec<Identifier> = about.iter().map(|name| patient(name)).collect();
        let gone = self.rng.below(6) == 0;
        let text = format!(r#"{{"n":{},"fill":"{}"}}"#, self.rng.next(), "y".repeat(40));
        let put = Put { kind, id: key.1, expect, gone, body: text.as_bytes(), subjects: &subjects };
        match vault.put_document(&put) {
            Ok((index, time)) => {
                assert_eq!(expect, force, "{}: {key:?}", self.context);
                let version = expect + 1;
                let body = text.clone();
                let put = Version { version, index, time, gone, body, about, erased: false };
                self.naive.all.entry(key).or_default().push(put);
                self.naive.known.insert(key, version);
                self.naive.passed(time);
                self.counts[0] += 1;
            }
            Err(error) => {
                assert_eq!(error.code(), "VERSION_CONFLICT", "{}: {error}", self.context);
                assert_ne!(expect, force, "{}: {key:?}", self.context);
                self.counts[1] += 1;
            }
        }
    }

    fn someone(&mut self) -> String {
        format!("p{}", self.rng.below(4))
    }

    fn erase(&mut self, vault: &Vault) {
        let whom = self.someone();
        match vault.erase(&[patient(&whom)], "gdpr-17-1", &two_people()) {
            Ok(done) => {
                self.naive.erase(&whom);
                let time = vault.entry(done.done).unwrap().time_log;
                self.naive.passed(time);
                self.counts[2] += 1;
            }
            Err(error) => {
                assert_eq!(error.code(), "SUBJECT_UNKNOWN", "{}: {error}", self.context);
                let all = self.naive.all.values().flatten();
                let living = all.filter(|v| v.about.contains(&whom) && !v.erased).count();
                assert_eq!(living, 0, "{}: {whom}", self.context);
            }
        }
    }

    fn reopen(&mut self, vault: Vault, files: &dyn Fn() -> Vec<PathBuf>) -> Vault {
        Bench::calm(&vault);
        drop(vault);
        let snapshots = self.rng.below(2) == 0;
        let index = self.rng.below(2) == 0;
        for path in files() {
            let within = |dir: &str| path.parent().is_some_and(|parent| parent.ends_with(dir));
            let under = path.iter().any(|part| part == "index");
            if snapshots && within("snapshot") || index && under {
                self.disk.remove(&path).unwrap();
                self.counts[3] += 1;
            }
        }
        let vault = open_patiently(&self.world, &self.config)
            .unwrap_or_else(|e| panic!("{}: {e}", self.context));
        self.naive.check(&vault, &format!("{}, opened", self.context));
        self.counts[4] += 1;
        vault
    }
}

fn bench(disk: Arc<dyn Disk>, home: &Path, on_disk: bool, seed: u64) -> Bench {
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let tuning = Tuning {
        segment_bytes: 20_000,
        snapshot_entries: 1,
        snapshot_pause: 0,
        pack: false,
        ..Tuning::default()
    };
    let config =
        Config { accept_time: true, index_on_disk: on_disk, tuning, ..world::config(home) };
    Bench {
        world: world(disk.clone(), &clock, seed),
        disk,
        config,
        clock,
        rng: Rng::new(seed),
        naive: Naive::default(),
        context: format!("seed {seed}"),
        counts: [0; 5],
    }
}

fn seed() -> u64 {
    let seed = std::env::var("CHANCERY_SEED").ok().and_then(|text| text.parse().ok());
    seed.unwrap_or(20_261_127)
}

#[test]
fn the_registry_is_a_map_of_versions_whatever_is_deleted_between_openings() {
    let first = seed();
    println!("seed {first}");
    let mut counts = [0; 5];
    for seed in first..first + 3 {
        let disk = SimDisk::new();
        let files = || disk.files();
        let mut bench = bench(Arc::new(disk.clone()), Path::new("/sim"), false, seed);
        let mut vault = Vault::init(bench.world.clone(), &bench.config, "vault.example").unwrap();
        for step in 0..160 {
            bench.context = format!("seed {seed}, step {step}");
            vault = bench.step(vault, &files);
        }
        vault = bench.reopen(vault, &files);
        crate::support::clinic::assert_sound(&vault, &bench.context);
        counts.iter_mut().zip(bench.counts).for_each(|(all, own)| *all += own);
    }
    assert!(counts.iter().all(|count| *count > 5), "{counts:?}");
}

/// The same on the real disk with the index there, with a written part of it between old and new
/// versions.
#[test]
fn a_history_is_whole_with_and_without_the_index_that_finds_it() {
    let (seed, dir) = (seed(), tempfile::tempdir().unwrap());
    println!("seed {seed}");
    let home = dir.path().to_owned();
    let files = || below(&home);
    let mut bench = bench(Arc::new(OsDisk), &home, true, seed);
    // Segments of the usual size, since there is much to write.
    bench.config.tuning.segment_bytes = Tuning::default().segment_bytes;
    let mut vault = Vault::init(bench.world.clone(), &bench.config, "vault.example").unwrap();
    (0..20).for_each(|_| bench.put(&vault));
    let mut sent = 0;
    for _ in 0..7 {
        let texts: Vec<String> = (sent..sent + 10_000).map(event).collect();
        sent += append_json(&vault, "ehr", &texts).unwrap().len();
    }
    (0..20).for_each(|_| bench.put(&vault));
    Bench::calm(&vault);
    assert!(vault.size().0 > 65_536 + 40);
    bench.naive.check(&vault, "before it is closed");
    for round in 0..6 {
        bench.context = format!("seed {seed}, round {round}");
        vault = bench.reopen(vault, &files);
        (0..3).for_each(|_| bench.put(&vault));
        bench.naive.check(&vault, &bench.context);
    }
    assert!(bench.counts[0] > 30 && bench.counts[3] > 0, "{:?}", bench.counts);
}

fn event(number: usize) -> String {
    format!(
        r#"{{"id":"e{number}","source_seq":{number},"action":"user.login","outcome":"success"}}"#
    )
}

/// Every file below a directory.
fn below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(below(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
