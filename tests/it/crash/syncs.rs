//! Every single sync of an operation fails once, and the disk goes on as if nothing had been:
//! what it covered is lost, kept or torn. The process lives on for a moment, as it would; then it
//! dies or the power goes, and the vault is opened. Nothing acknowledged may be gone.

use super::check::{Depth, check, goes_on, reopen};
use super::matrix::{prepare, seed};
use super::scenes::{Scene, all, calm};
use super::told::{NOW, Teller};
use super::upkeep::upkeep;
use crate::support::sim::{FailedSync, Rng, Survivors};
use chancery::vault::Vault;
use chancery::vault::error::{Error, Result};

/// The operation, as the matrix plays it.
fn run(scene: &Scene, told: &mut Teller, vault: Vault) -> Result<()> {
    (scene.act)(told, &vault)?;
    let vault = (scene.then)(told, vault)?;
    calm(&vault)
}

/// Syncs of the operation when none fails.
fn syncs(scene: &Scene, before: &Teller) -> u64 {
    let mut told = before.fork();
    let vault = told.open().unwrap();
    calm(&vault).unwrap();
    let start = told.disk.syncs();
    run(scene, &mut told, vault).unwrap_or_else(|e| panic!("{}: {e}", scene.name));
    told.disk.syncs() - start
}

/// Fails sync `n`; false when the operation has no such sync.
fn fail(scene: &Scene, before: &Teller, n: u64, kind: FailedSync, rng: &mut Rng) {
    let context = format!("{}, sync {n} fails, {kind:?}", scene.name);
    let mut told = before.fork();
    let vault = told.open().unwrap_or_else(|e| panic!("{context}: {e}"));
    calm(&vault).unwrap();
    told.disk.fail_sync(n, kind);
    if let Err(error) = run(scene, &mut told, vault) {
        // A mirror whose sync failed is away from then on, and a roll waits for it.
        let away = told.config.mirror.is_some() && error.code() == "KEYS_MIRROR_AWAY";
        assert!(away || matches!(error, Error::Unavailable(_)), "{context}: {error}");
    }
    told.away = false;
    let all = [Survivors::Everything, Survivors::Nothing, Survivors::Random(rng.next())];
    let survivors = all[rng.below(3)];
    let context = format!("{context}, {survivors:?}");
    let disk = told.disk.still().crash(survivors);
    // What was answered must stand; what was not may.
    let now = NOW;
    let vault = reopen(&mut told, now, &disk, &context).expect("it was made");
    let depth = if n.is_multiple_of(5) { Depth::Whole } else { Depth::Inside };
    check(&told, now, &vault, &disk, depth, &context);
    goes_on(&told, now, &vault, &context);
}

fn part(scenes: &[Scene]) {
    let seed = seed();
    let full = std::env::var("CHANCERY_CRASH").is_ok_and(|size| size == "full");
    for scene in scenes {
        let (before, mut rng) = (prepare(scene, seed), Rng::new(seed));
        let count = syncs(scene, &before);
        let mut tries = 0;
        for n in 1..=count {
            let kinds = [FailedSync::Lost, FailedSync::Kept, FailedSync::Torn(rng.next())];
            let at = rng.below(3);
            for kind in if full { &kinds[..] } else { &kinds[at..=at] } {
                fail(scene, &before, n, *kind, &mut rng);
                tries += 1;
            }
        }
        println!("{}: {count} syncs, {tries} failed", scene.name);
        assert!(count > 2 || scene.name == "open and close", "{}", scene.name);
    }
}

#[test]
fn no_failed_sync_in_any_upkeep_breaks_a_promise() {
    part(&upkeep());
}

#[test]
fn no_failed_sync_in_any_operation_breaks_a_promise() {
    let upkeep: Vec<&str> = upkeep().iter().map(|scene| scene.name).collect();
    let rest = all().into_iter().filter(|scene| !upkeep.contains(&scene.name));
    part(&rest.collect::<Vec<_>>());
}

/// The sync of the mirror fails, the mirror is away, and comes back in the same life of the
/// system: its last commits are in the cache and not on the medium.
#[test]
fn a_mirror_whose_sync_failed_is_not_believed_from_the_cache() {
    let scenes = upkeep();
    let scene = scenes.iter().find(|s| s.name == "the mirror breaks in an erasure");
    let scene = scene.expect("a scene");
    let before = prepare(scene, seed());
    for n in 1..=10 {
        for round in 0..9 {
            let mut rng = Rng::new(n * 9 + round);
            let kinds = [FailedSync::Lost, FailedSync::Kept, FailedSync::Torn(rng.next())];
            fail(scene, &before, n, kinds[round as usize % 3], &mut rng);
        }
    }
}
