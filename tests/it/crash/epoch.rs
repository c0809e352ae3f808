//! The seal of a whole epoch, cut at every operation from the commit that fills it: 65,536 entries
//! are made once, and every crash goes on from there. The seal comes by itself at the next opening
//! if it was not in the log, never twice, and replays to the same roots.

use super::matrix::{seed, size};
use super::scenes::calm;
use crate::support::clinic::append_json;
use crate::support::sim::{Rng, SimDisk, Survivors};
use crate::support::world::{self, HandClock, SeedEntropy};
use chancery::base::entry::Kind;
use chancery::base::id::Hash32;
use chancery::base::limits::EPOCH_ENTRIES;
use chancery::base::unit::EntryIndex;
use chancery::format::seal::sample::Sample;
use chancery::store::disk::Disk;
use chancery::vault::config::Config;
use chancery::vault::verify::{Options, verify_data};
use chancery::vault::{Vault, World};
use std::path::Path;
use std::sync::Arc;

const HOME: &str = "/sim";
/// Entries of one batch.
const BATCH: u64 = 2_000;

fn config() -> Config {
    let mut config = world::config(Path::new(HOME));
    config.tuning.segment_bytes = 1 << 20;
    config.tuning.snapshot_entries = 8_000;
    config
}

fn open(disk: &SimDisk, clock: &Arc<HandClock>, seed: u64) -> Vault {
    let (disk, clock) = (Arc::new(disk.clone()), clock.clone());
    let world = World { disk, clock, entropy: SeedEntropy::new(seed) };
    Vault::open(world, &config()).unwrap()
}

fn texts(from: u64, count: u64) -> Vec<String> {
    (from..from + count).map(|n| format!("{{\"source_seq\":{n},\"action\":\"x.read\"}}")).collect()
}

/// A log that lacks ten entries to an epoch.
fn filled(clock: &Arc<HandClock>) -> (SimDisk, u64) {
    let disk = SimDisk::new();
    let world =
        World { disk: Arc::new(disk.clone()), clock: clock.clone(), entropy: SeedEntropy::new(1) };
    let vault = Vault::init(world, &config(), "vault.example").unwrap();
    append_json(&vault, "app", &texts(1, 1)).unwrap();
    let mut seq = 2;
    while vault.size().0 < EPOCH_ENTRIES - 10 {
        let count = BATCH.min(EPOCH_ENTRIES - 10 - vault.size().0);
        append_json(&vault, "app", &texts(seq, count)).unwrap();
        seq += count;
    }
    calm(&vault).unwrap();
    disk.rewind_tape();
    (disk, seq)
}

/// Index of the epoch's seal, if the log has one; there must never be two.
fn seal_of(vault: &Vault, context: &str) -> Option<EntryIndex> {
    let all = EntryIndex(EPOCH_ENTRIES - 20)..EntryIndex(vault.size().0);
    let mut seals = Vec::new();
    vault
        .for_each_entry(all, &mut |entry, _| {
            seals.extend((entry.head.kind == Kind::Seal).then_some(entry.index));
            Ok(())
        })
        .unwrap();
    assert!(seals.len() < 2, "{context}: sealed twice, {seals:?}");
    seals.pop()
}

#[test]
fn no_crash_in_the_seal_of_an_epoch_loses_or_repeats_it() {
    let (seed, clock) = (seed(), HandClock::at("2026-11-21T08:00:00Z"));
    let (disk, seq) = filled(&clock);
    let vault = open(&disk, &clock, 2);
    calm(&vault).unwrap();
    disk.film();
    let receipts = append_json(&vault, "app", &texts(seq, 20)).unwrap();
    let answered = disk.operations();
    calm(&vault).unwrap();
    let sealed = seal_of(&vault, "no crash").expect("the epoch is sealed");
    drop(vault);
    let stills = disk.cut();
    let told: Vec<(EntryIndex, Hash32)> = receipts.iter().map(|r| (r.index, r.leaf)).collect();
    let (mut rng, mut crashes, every) = (Rng::new(seed), 0, size().whole);
    for (number, still) in stills.iter().enumerate() {
        let random = Survivors::Random(rng.next());
        let all = [Survivors::Nothing, Survivors::Everything, random];
        let some = if every == 1 { &all[..] } else { &all[number % 3..=number % 3] };
        for survivors in some {
            let context = format!("before {}, {survivors:?}", still.next);
            let after = still.crash(*survivors);
            let vault = open(&after, &clock, 3 + crashes);
            calm(&vault).unwrap();
            if still.operation >= answered {
                for (index, leaf) in &told {
                    assert_eq!(vault.leaf(*index), Some(*leaf), "{context}: entry {index}");
                }
            }
            append_json(&vault, "app", &texts(seq, 20)).unwrap();
            calm(&vault).unwrap();
            let found = seal_of(&vault, &context);
            assert!(
                found.is_some_and(|at| at >= EntryIndex(EPOCH_ENTRIES)),
                "{context}: {found:?}"
            );
            drop(vault);
            let outside: Arc<dyn Disk> = Arc::new(after);
            let options = Options { replay_seals: Some(Sample::all()), ..Options::default() };
            let data = Path::new(HOME).join("data");
            let report = verify_data(&outside, &data, None, &options, &mut |_, _| {}).unwrap();
            assert_eq!(report.failures, 0, "{context}: {report:?}");
            crashes += 1;
        }
    }
    println!("{} instants, {crashes} crashes around the seal at {sealed}", stills.len());
    assert!(crashes > 8);
}
