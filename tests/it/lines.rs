//! Lines of batches: many on the way at once, each behind the one before it whatever happens to
//! that one; and batches sealed by several threads, which are the same bytes as by one.

use crate::support::sim::SimDisk;
use crate::support::world::{HandClock, config, world};
use chancery::base::event::{Draft, Event};
use chancery::policy::classify::{Policies, Scratch};
use chancery::store::disk::Disk;
use chancery::vault::Vault;
use chancery::vault::append::Receipt;
use chancery::vault::config::Config;
use chancery::vault::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn text(seq: u64, note: &str) -> String {
    let actor = format!(r#"{{"id":"u-{}","email":"u{}@example.org"}}"#, seq % 40, seq % 40);
    format!(
        r#"{{"time":"2026-11-21T08:00:00Z","source_seq":{seq},"actor":{actor},"action":"a.b","category":"data","verb":"read","outcome":"success","severity":1,"origin":{{"ip":"192.0.2.7"}},"data":{{"note":"{note}"}}}}"#
    )
}

fn texts(seqs: impl Iterator<Item = u64>) -> Vec<String> {
    seqs.map(|seq| text(seq, "plain")).collect()
}

fn events<'t>(policies: &Policies, texts: &'t [String]) -> Vec<Event<'t>> {
    let mut scratch = Scratch::default();
    let draft = |text: &'t String| Draft { source: "app", json: text.as_bytes() };
    texts.iter().map(|text| policies.event(draft(text), &mut scratch).unwrap()).collect()
}

fn vault(clock: &Arc<HandClock>) -> Vault {
    let disk = Arc::new(SimDisk::new());
    Vault::init(world(disk, clock, 1), &config(Path::new("/sim")), "vault.example").unwrap()
}

/// Sends every batch off, then waits for each in order.
fn through_a_line(vault: &Vault, batches: &[Vec<String>]) -> Vec<Result<Vec<Receipt>>> {
    let (policies, mut line) = (vault.policies(), vault.begin_line());
    let sent: Vec<_> =
        batches.iter().map(|batch| line.submit(&events(&policies, batch)).unwrap()).collect();
    let waited = sent.into_iter().zip(batches);
    waited.map(|(sent, batch)| sent.wait(|| Ok(events(&policies, batch)))).collect()
}

fn new_indexes(receipts: &[Receipt]) -> impl Iterator<Item = u64> {
    receipts.iter().filter(|receipt| !receipt.duplicate).map(|receipt| receipt.index.0)
}

#[test]
fn a_batch_stays_behind_one_that_had_to_be_sealed_again() {
    let vault = vault(&HandClock::at("2026-11-21T08:00:00Z"));
    let first = vault.append_events(events(&vault.policies(), &texts(1..=5))).unwrap();
    // The second batch holds duplicates, so it is turned away once; a third is ready behind it.
    let batches = [texts(6..=9), texts(4..=14), texts(15..=30), texts(31..=33)];
    let receipts: Vec<Vec<Receipt>> =
        through_a_line(&vault, &batches).into_iter().map(|r| r.unwrap()).collect();
    let order: Vec<u64> = receipts.iter().flat_map(|receipts| new_indexes(receipts)).collect();
    assert_eq!(order.len(), 4 + 5 + 16 + 3);
    assert!(order.is_sorted(), "{order:?}");
    let again: Vec<_> = receipts[1].iter().filter(|receipt| receipt.duplicate).collect();
    assert_eq!(again.len(), 6);
    assert_eq!((again[0].index, again[1].index), (first[3].index, first[4].index));
}

#[test]
fn a_batch_of_duplicates_only_holds_nobody_up() {
    let vault = vault(&HandClock::at("2026-11-21T08:00:00Z"));
    let batches = [texts(1..=4), texts(1..=4), texts(5..=8), texts(5..=8), texts(9..=9)];
    let receipts: Vec<Vec<Receipt>> =
        through_a_line(&vault, &batches).into_iter().map(|r| r.unwrap()).collect();
    let counts: Vec<usize> = receipts.iter().map(|r| new_indexes(r).count()).collect();
    assert_eq!(counts, [4, 0, 4, 0, 1]);
    assert_eq!(receipts[1][2].index, receipts[0][2].index);
}

#[test]
fn nothing_behind_a_refused_batch_is_in_the_log() {
    let vault = vault(&HandClock::at("2026-11-21T08:00:00Z"));
    let mut other = texts(6..=9);
    other.push(text(2, "another event under a used number"));
    let batches = [texts(1..=5), other, texts(10..=12), texts(13..=13)];
    let outcomes = through_a_line(&vault, &batches);
    let codes: Vec<&str> =
        outcomes.iter().map(|o| o.as_ref().map_or_else(Error::code, |_| "")).collect();
    assert_eq!(codes, ["", "DUPLICATE_DIFFERS", "BATCH_BEHIND_REFUSED", "BATCH_BEHIND_REFUSED"]);
    // None of what was refused is known: all of it is accepted now, as if never sent.
    let receipts = vault.append_events(events(&vault.policies(), &texts(6..=13))).unwrap();
    assert!(receipts.iter().all(|receipt| !receipt.duplicate));
}

/// Every file of a vault that appended one large batch.
fn files_sealed_by(sealers: usize) -> BTreeMap<String, Vec<u8>> {
    let disk = SimDisk::new();
    let clock = HandClock::at("2026-11-21T08:00:00Z");
    let mut config: Config = config(Path::new("/sim"));
    config.tuning.sealers = Some(sealers);
    let vault =
        Vault::init(world(Arc::new(disk.clone()), &clock, 3), &config, "vault.example").unwrap();
    let texts = texts(1..=1_777);
    let receipts = vault.append_events(events(&vault.policies(), &texts)).unwrap();
    assert!(receipts.windows(2).all(|pair| pair[0].index.0 + 1 == pair[1].index.0));
    vault.checkpoint().unwrap();
    vault.settle();
    drop(vault);
    let mut files = BTreeMap::new();
    for dir in ["/sim/data", "/sim/keys"] {
        read_below(&disk, Path::new(dir), &mut files);
    }
    files
}

fn read_below(disk: &SimDisk, dir: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in disk.list(dir).unwrap() {
        let path = dir.join(&entry.name);
        match entry.is_dir {
            true => read_below(disk, &path, files),
            false => drop(files.insert(path.display().to_string(), disk.read(&path).unwrap())),
        }
    }
}

#[test]
fn a_batch_sealed_by_many_threads_is_the_same_bytes() {
    let alone = files_sealed_by(1);
    assert!(alone.len() > 5, "{:?}", alone.keys());
    for sealers in [2, 3, 5] {
        let together = files_sealed_by(sealers);
        assert!(alone.keys().eq(together.keys()));
        for (path, bytes) in &alone {
            assert!(together[path] == *bytes, "{path} differs with {sealers} sealers");
        }
    }
}
