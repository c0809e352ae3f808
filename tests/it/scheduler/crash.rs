//! A scheduled run cut before every operation that changes the disk, with nothing, everything and
//! a random part of what was pending surviving, and its recovery cut again. At the next start the
//! job is in one of two states, its newest run says in which, and the vault agrees: it did not end
//! (it is not there, or interrupted, and runs now), or it ended (and runs no more).

use crate::scheduler::house::{House, at, plan};
use crate::support::clinic::{Visit, append, assert_sound};
use crate::support::sim::{Still, Survivors};
use crate::support::world::HandClock;
use chancery::server::scheduler::job::{Outcome, Run};
use chancery::server::scheduler::task::Task;
use std::collections::BTreeMap;
use std::sync::Arc;

const DUE: &str = "2027-03-05T02:30:00Z";

/// A house in which a class-day is due, just before the run that takes it.
fn eve() -> House {
    let house = House::new("2026-11-21T08:00:00Z");
    append(&house.main, &[Visit::new(1, "n1", "p1").class("90d")]).unwrap();
    house.until("2027-03-05T02:29:00Z");
    append(&house.main, &[Visit::new(2, "n1", "p2")]).unwrap();
    let mut scheduler = house.scheduler();
    house.make(&mut scheduler, plan("retain", Task::Retention, "30 2 * * *"));
    drop(scheduler);
    house.main.settle();
    house.main.checkpoint().unwrap();
    house.system.checkpoint().unwrap();
    house.until(DUE);
    house
}

fn settled(run: &Run) -> bool {
    run.outcome == Outcome::Done && run.ended.is_some() && run.due == at(DUE)
}

/// What the first look after a cut finds; the job has run once after it, whatever it was.
fn recover(disk: crate::support::sim::SimDisk, clock: Arc<HandClock>, context: &str) -> String {
    let house = House::open(disk, clock).unwrap_or_else(|e| panic!("{context}: {e}"));
    let expired = house.main.facts_now().expired.len();
    let mut scheduler = house.try_scheduler().unwrap_or_else(|e| panic!("{context}: {e}"));
    let runs = house.runs("retain");
    let ended = runs.first().is_some_and(settled);
    let state = match runs.as_slice() {
        [] => "not begun",
        [first, ..] if first.outcome == Outcome::Interrupted => "interrupted",
        [first, ..] if settled(first) => "done",
        other => panic!("{context}: {other:?}"),
    };
    // The vault agrees: what is called done is gone; what did not begin is there.
    match state {
        "done" => assert_eq!(expired, 1, "{context}"),
        "not begun" => assert_eq!(expired, 0, "{context}"),
        _ => {}
    }
    let first = scheduler.tick(house.now()).unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(first.began.len(), usize::from(!ended), "{context}: {runs:?}");
    let second = scheduler.tick(house.now()).unwrap();
    assert_eq!(second.began.len(), 0, "{context}");
    let after = house.runs("retain");
    let done: Vec<_> = after.iter().filter(|run| run.outcome == Outcome::Done).collect();
    assert_eq!(done.len(), 1, "{context}: {after:?}");
    assert!(settled(done[0]) && done[0].missed == 0, "{context}: {after:?}");
    let others = after.iter().all(|run| settled(run) || run.outcome == Outcome::Interrupted);
    assert!(others, "{context}: {after:?}");
    // It happened once, whoever finished it.
    let facts = house.main.facts_now();
    let went = facts.prunes.values().filter(|prune| !prune.plan.class_days.is_empty());
    assert_eq!((went.count(), facts.expired.len()), (1, 1), "{context}");
    assert_sound(&house.main, context);
    assert_sound(&house.system, context);
    state.to_owned()
}

fn choose(still: &Still, seed: u64) -> Vec<Survivors> {
    match still.is_clean() {
        true => vec![Survivors::Nothing],
        false => vec![Survivors::Nothing, Survivors::Everything, Survivors::Random(seed)],
    }
}

#[test]
fn a_scheduled_run_cut_at_any_write_did_end_or_did_not_and_says_so() {
    let seed = 5;
    println!("seed {seed}");
    let house = eve();
    let clock = house.clock.clone();
    let mut scheduler = house.scheduler();
    house.disk.film();
    let ran = scheduler.tick(house.now()).unwrap();
    assert_eq!(ran.ended, [(house.id("retain"), Outcome::Done)]);
    let stills = house.disk.cut();
    assert!(stills.len() > 30, "{}", stills.len());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (number, still) in stills.iter().enumerate() {
        for survivors in choose(still, seed + number as u64) {
            let context = format!("before {} ({number}), {survivors:?}", still.next);
            let state = recover(still.crash(survivors), clock.fork(), &context);
            *seen.entry(state).or_default() += 1;
        }
    }
    println!("{seen:?}");
    for state in ["not begun", "interrupted", "done"] {
        assert!(seen.get(state).is_some_and(|times| *times > 0), "{state}: {seen:?}");
    }
}

#[test]
fn a_recovery_cut_at_any_write_is_recovered() {
    let seed = 6;
    println!("seed {seed}");
    let house = eve();
    let clock = house.clock.clone();
    let mut scheduler = house.scheduler();
    house.disk.film();
    scheduler.tick(house.now()).unwrap();
    let stills = house.disk.cut();
    // In the middle: the run has begun, the task is under way.
    let mut cuts = 0;
    for part in [3, 5, 7] {
        let middle = stills[stills.len() * part / 10].crash(Survivors::Nothing);
        let house = House::open(middle, clock.fork()).unwrap();
        house.disk.film();
        house.scheduler().tick(house.now()).unwrap();
        let again = house.disk.cut();
        for (number, still) in again.iter().enumerate() {
            let context = format!("{part}/10, then before {} ({number})", still.next);
            let survivors = choose(still, seed + number as u64);
            recover(still.crash(survivors[number % survivors.len()]), clock.fork(), &context);
            cuts += 1;
        }
    }
    assert!(cuts > 60, "{cuts}");
}

#[test]
fn a_disk_that_fails_in_a_run_leaves_one_of_the_two_states_too() {
    let (disk, clock) = {
        let House { disk, clock, main, system } = eve();
        drop((main, system));
        (disk, clock)
    };
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for n in 1.. {
        let house = House::open(disk.fork(), clock.fork()).unwrap();
        let mut scheduler = house.scheduler();
        house.main.settle();
        house.disk.fail_at(n);
        // The tick says so: an end that is not written down is not claimed.
        let told = scheduler.tick(house.now());
        let House { disk, clock, main, system } = house;
        drop((scheduler, main, system));
        disk.heal();
        let context = format!("operation {n} fails, {told:?}");
        let state = recover(disk, clock, &context);
        *seen.entry(state.clone()).or_default() += 1;
        if told.is_ok() {
            assert_eq!(state, "done", "{context}");
            break;
        }
    }
    println!("{seen:?}");
    assert!(seen.len() == 3 && seen.values().sum::<usize>() > 20, "{seen:?}");
}
