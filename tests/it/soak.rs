//! One linear log, under many writers, kills and restarts. The long forms are commands of the
//! program (`chancery bench soak`); here run their small sizes, and what needs hands inside the
//! process: callers that vanish, windows of chosen size.

use crate::support::clinic::{append_json, patient};
use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, SeedEntropy, config, open_patiently, two_people};
use chancery::base::entry::Kind;
use chancery::base::unit::EntryIndex;
use chancery::base::world::Entropy;
use chancery::store::disk::OsDisk;
use chancery::vault::append::Receipt;
use chancery::vault::config::Config;
use chancery::vault::dedupe::Bounds;
use chancery::vault::error::{Error, Result};
use chancery::vault::{Vault, World};
use serde_json::Value;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs the program's soak and returns its numbers.
fn soak(args: &[&str]) -> BTreeMap<String, f64> {
    let dir = tempfile::tempdir().unwrap();
    let dir_name = dir.path().to_str().unwrap().to_owned();
    let output = Command::new(env!("CARGO_BIN_EXE_chancery"))
        .args(["--json", "bench", "soak", "--dir", &dir_name])
        .args(args)
        .output()
        .unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        println!("kept: {}", dir.keep().display());
        panic!("{out}{err}");
    }
    println!("{out}");
    let numbers: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    let number = |(name, value): (&String, &Value)| Some((name.clone(), value.as_f64()?));
    numbers.as_object().unwrap().iter().filter_map(number).collect()
}

#[test]
fn sixty_four_writers_are_killed_and_lose_nothing() {
    let numbers = soak(&["--lives", "14", "--receipts", "600", "--people", "60", "--seed", "5"]);
    let at_least = |name: &str, least: f64| {
        let found = numbers[&format!("soak.{name}")];
        assert!(found >= least, "{name}: {found}, {numbers:?}");
    };
    at_least("writers", 64.0);
    at_least("kills", 6.0);
    at_least("events", 500.0);
    at_least("duplicates_recognised", 64.0);
    at_least("receipts_checked", numbers["soak.events"]);
    at_least("proofs_verified", 100.0);
    at_least("erasures", 1.0);
    at_least("class_days_expired", 1.0);
}

#[test]
fn sixty_four_writers_make_one_linear_log() {
    let numbers = soak(&["--linear", "100", "--people", "200"]);
    assert_eq!(numbers["soak.events"], 6_400.0);
    assert_eq!(numbers["soak.receipts_checked"], 6_400.0);
    assert_eq!(numbers["soak.events_without_receipt"], 0.0);
}

thread_local! {
    /// Draws of randomness after which this thread vanishes.
    static VANISH: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Randomness that takes its caller away in the middle of what it does.
struct Vanishing(Arc<SeedEntropy>);

impl Entropy for Vanishing {
    fn fill(&self, bytes: &mut [u8]) {
        VANISH.with(|left| match left.get() {
            Some(0) => std::panic::panic_any("vanished"),
            Some(n) => left.set(Some(n - 1)),
            None => {}
        });
        self.0.fill(bytes);
    }
}

fn event(seq: u64, person: &str, note: &str) -> String {
    format!(
        "{{\"source_seq\":{seq},\"action\":\"x.read\",\"subjects\":[{{\"role\":\"target\",\
         \"identifiers\":[{{\"kind\":\"patient_id\",\"value\":\"{person}\"}}]}}],\
         \"data\":{{\"note\":\"{note}\"}}}}"
    )
}

fn named(id: &str, note: &str) -> String {
    format!("{{\"id\":\"{id}\",\"action\":\"x.read\",\"data\":{{\"note\":\"{note}\"}}}}")
}

/// Callers vanish while they seal, make keys, or hold the key tree: their batches are in the log
/// whole or not at all, and everybody else goes on.
#[test]
fn a_caller_that_vanishes_in_the_middle_commits_all_or_nothing() {
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let entropy = Arc::new(Vanishing(SeedEntropy::new(9)));
    let world = World { disk: Arc::new(SimDisk::new()), clock, entropy };
    let vault = Vault::init(world, &config(Path::new("/sim")), "vault.example").unwrap();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"vanished") {
            usual(info);
        }
    }));
    let vanished = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for caller in 0..16_u64 {
            let (vault, vanished) = (&vault, &vanished);
            scope.spawn(move || {
                let source = format!("caller-{caller}");
                for batch in 0..6_u64 {
                    let texts: Vec<String> = (0..3)
                        .map(|n| event(batch * 3 + n, &format!("P{caller}-{batch}-{n}"), "x"))
                        .collect();
                    let last = caller % 2 == 1 && batch == 5;
                    if !last {
                        append_json(vault, &source, &texts).unwrap();
                        continue;
                    }
                    VANISH.with(|left| left.set(Some(caller)));
                    let call = std::panic::AssertUnwindSafe(|| append_json(vault, &source, &texts));
                    vanished.fetch_add(
                        u64::from(std::panic::catch_unwind(call).is_err()),
                        Ordering::SeqCst,
                    );
                    VANISH.with(|left| left.set(None));
                }
            });
        }
    });
    let mut by_source: BTreeMap<_, BTreeSet<u64>> = BTreeMap::new();
    let all = EntryIndex(0)..EntryIndex(vault.size().0);
    vault
        .for_each_entry(all, &mut |entry, _| {
            if entry.head.kind == Kind::Event {
                let seq = entry.head.source_seq.unwrap();
                assert!(by_source.entry(entry.head.source).or_default().insert(seq), "twice");
            }
            Ok(())
        })
        .unwrap();
    println!("{} callers vanished", vanished.load(Ordering::SeqCst));
    assert!(vanished.load(Ordering::SeqCst) >= 4);
    assert_eq!(by_source.len(), 16);
    for seqs in by_source.values() {
        assert!(seqs.len() == 15 || seqs.len() == 18, "half a batch: {seqs:?}");
    }
    // Nothing they held is still held: all of it can be done again.
    for caller in 0..16_u64 {
        let texts: Vec<String> =
            (15..18).map(|n| event(n, &format!("P{caller}-5-{}", n - 15), "x")).collect();
        append_json(&vault, &format!("caller-{caller}"), &texts).unwrap();
    }
    vault.erase(&[patient("P3-5-0")], "gdpr-17-1", &two_people()).unwrap();
    assert_eq!(vault.verify_bodies(&mut |_, _| {}).unwrap().failures, 0);
}

/// A vault that is opened anew before each step, on a real disk.
struct Again {
    dir: tempfile::TempDir,
    clock: Arc<HandClock>,
    bounds: Bounds,
}

impl Again {
    fn new(bounds: Bounds) -> Self {
        let again = Again {
            dir: tempfile::tempdir().unwrap(),
            clock: HandClock::at("2026-11-21T08:00:00Z"),
            bounds,
        };
        drop(Vault::init(again.world(), &again.config(), "vault.example").unwrap());
        again
    }

    fn world(&self) -> World {
        let entropy = Arc::new(chancery::cli::world::OsEntropy::new());
        World { disk: Arc::new(OsDisk), clock: self.clock.clone(), entropy }
    }

    fn config(&self) -> Config {
        let mut config = config(self.dir.path());
        config.tuning.dedupe = self.bounds;
        // A window that restarts from state on disk now and then, not from the log alone.
        config.tuning.snapshot_entries = 40;
        config
    }

    fn with<T>(&self, act: impl FnOnce(&Vault) -> T) -> T {
        let mut config = self.config();
        config.accept_time = true;
        act(&open_patiently(&self.world(), &config).unwrap())
    }

    fn send(&self, text: &str) -> Result<Receipt> {
        let texts = [text.to_owned()];
        self.with(|vault| append_json(vault, "meter", &texts).map(|mut r| r.remove(0)))
    }
}

fn conflict(result: Result<Receipt>) -> (&'static str, Option<EntryIndex>) {
    match result {
        Err(Error::Conflict { code, first, .. }) => (code, first),
        other => panic!("{other:?}"),
    }
}

#[test]
fn numbers_out_of_order_close_their_gaps_across_restarts() {
    let again = Again::new(Bounds::default());
    let mut first: BTreeMap<u64, Receipt> = BTreeMap::new();
    // A late number, a long gap, and its closing from both ends, each after a restart.
    for seq in [5, 1, 9, 40, 8, 7, 3, 0, 39, 10, 38, 2, 4, 6] {
        let receipt = again.send(&event(seq, &format!("P{seq}"), "reading")).unwrap();
        assert!(!receipt.duplicate, "{seq}");
        first.insert(seq, receipt);
    }
    let indexes: BTreeSet<u64> = first.values().map(|r| r.index.0).collect();
    assert_eq!(indexes.len(), first.len());
    for (seq, original) in &first {
        let same = again.send(&event(*seq, &format!("P{seq}"), "reading")).unwrap();
        assert!(same.duplicate);
        assert_eq!(
            (same.index, same.leaf, same.time),
            (original.index, original.leaf, original.time)
        );
    }
    let before = again.with(|vault| vault.size().0);
    let other = conflict(again.send(&event(9, "P9", "another reading")));
    assert_eq!(other, ("DUPLICATE_DIFFERS", Some(first[&9].index)));
    again.with(|vault| {
        let kind = vault.entry(EntryIndex(before)).unwrap().head.kind;
        assert_eq!((kind, vault.size().0), (Kind::Conflict, before + 1), "it is on the record");
        vault.erase(&[patient("P9")], "gdpr-17-1", &two_people()).unwrap();
    });
    let erased = conflict(again.send(&event(9, "P9", "reading")));
    assert_eq!(erased, ("DUPLICATE_OF_ERASED", Some(first[&9].index)));
    // A number in what is left of the long gap is still new, once.
    assert!(!again.send(&event(20, "P20", "reading")).unwrap().duplicate);
    assert!(again.send(&event(20, "P20", "reading")).unwrap().duplicate);
}

#[test]
fn event_ids_are_remembered_by_number_and_by_time_across_restarts() {
    const HOUR: u64 = 3_600_000_000_000;
    let again = Again::new(Bounds { ids: 64, nanos: HOUR });
    let fill = |from: u64, count: u64| {
        let texts: Vec<String> =
            (from..from + count).map(|n| named(&format!("f{n}"), "x")).collect();
        again.with(|vault| append_json(vault, "meter", &texts)).unwrap();
    };
    let first = again.send(&named("a", "1")).unwrap();
    // Many more ids than are kept, but within the hour: it is known.
    fill(0, 200);
    let same = again.send(&named("a", "1")).unwrap();
    assert_eq!((same.duplicate, same.index, same.leaf), (true, first.index, first.leaf));
    assert_eq!(conflict(again.send(&named("a", "2"))), ("DUPLICATE_DIFFERS", Some(first.index)));
    // Past the hour, with few ids since: it is known by their number.
    let late = again.send(&named("b", "1")).unwrap();
    again.clock.pass(2 * HOUR);
    fill(200, 10);
    assert_eq!(again.send(&named("b", "1")).unwrap().index, late.index);
    // Past both it may be forgotten: it is then a new event, and never a wrong receipt.
    fill(300, 200);
    again.clock.pass(2 * HOUR);
    fill(600, 200);
    let new = again.send(&named("b", "1")).unwrap();
    assert!(new.duplicate == (new.index == late.index), "{new:?}");
}
