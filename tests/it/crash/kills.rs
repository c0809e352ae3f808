//! Every operation is killed at some of its instants and the vault opened again while the system
//! goes on: what was pending still is. It takes more events; then the power fails. What came after
//! the kill is as durable as what came before it: no name or byte that an opening found in the
//! system's memory may be all that holds it.

use super::check::{Depth, check, goes_on, reopen};
use super::matrix::{play, seed};
use super::scenes::{Scene, all};
use super::told::Teller;
use super::upkeep::upkeep;
use crate::support::clinic::read_all;
use crate::support::sim::{Rng, Still, Survivors};
use chancery::base::record::Fate;

/// Instants of one operation: those with a name that is not durable yet, and others.
fn instants(stills: &[Still], rng: &mut Rng) -> Vec<usize> {
    let full = std::env::var("CHANCERY_CRASH").is_ok_and(|size| size == "full");
    let dirty = (0..stills.len()).filter(|at| !stills[*at].is_clean());
    let (names, others): (Vec<usize>, Vec<usize>) =
        dirty.partition(|at| stills[*at].next.starts_with("sync_dir"));
    let mut chosen = Vec::new();
    for (mut from, most) in [(names, 24), (others, 32)] {
        while !from.is_empty() && (full || chosen.len() < most) {
            chosen.push(from.swap_remove(rng.below(from.len())));
        }
    }
    chosen
}

fn kill(told: &mut Teller, still: &Still, survivors: Survivors, context: &str) {
    let instant = still.operation;
    let disk = still.kill();
    let Some(vault) = reopen(told, instant, &disk, context) else { return };
    check(told, instant, &vault, &disk, Depth::Inside, context);
    goes_on(told, instant, &vault, context);
    let fates = |vault: &chancery::vault::Vault| -> Vec<Vec<Fate>> {
        read_all(vault).into_iter().map(|record| record.groups).collect()
    };
    let before = fates(&vault);
    drop(vault);
    let context = format!("{context}, then {survivors:?}");
    let disk = disk.still().crash(survivors);
    let vault = reopen(told, instant, &disk, &context).expect("it was there");
    check(told, instant, &vault, &disk, Depth::Inside, &context);
    let after = fates(&vault);
    assert!(after.starts_with(&before), "{context}: what came after the kill");
}

fn part(scenes: &[Scene]) {
    let seed = seed();
    for scene in scenes {
        let mut rng = Rng::new(seed);
        let (mut told, stills) = play(scene, seed, None);
        let chosen = instants(&stills, &mut rng);
        for (number, at) in chosen.iter().enumerate() {
            let still = &stills[*at];
            let all = [Survivors::Nothing, Survivors::Random(rng.next())];
            let context = format!("{}, killed before {}", scene.name, still.next);
            let context = format!("{context} (operation {})", still.operation);
            kill(&mut told, still, all[number % 2], &context);
        }
        println!("{}: {} of {} instants", scene.name, chosen.len(), stills.len());
    }
}

#[test]
fn what_follows_a_kill_of_any_upkeep_survives_a_power_loss() {
    part(&upkeep());
}

#[test]
fn what_follows_a_kill_of_any_operation_survives_a_power_loss() {
    let upkeep: Vec<&str> = upkeep().iter().map(|scene| scene.name).collect();
    let rest = all().into_iter().filter(|scene| !upkeep.contains(&scene.name));
    part(&rest.collect::<Vec<_>>());
}
