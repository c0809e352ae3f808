//! The scheduler's thread, on real waits: it does what it is asked, and stops when told.

use crate::scheduler::house::{House, plan};
use chancery::base::unit::NANOS_PER_SECOND;
use chancery::server::scheduler::Progress;
use chancery::server::scheduler::job::Outcome;
use chancery::server::scheduler::run::Runner;
use chancery::server::scheduler::task::Task;
use std::sync::mpsc::{Receiver, channel};

type Told = Result<Progress, &'static str>;

fn start(house: &House) -> (Runner, Receiver<Told>) {
    let (told, heard) = channel();
    let tell = Box::new(move |progress: &Told| drop(told.send(progress.clone())));
    (Runner::start(house.scheduler(), tell).unwrap(), heard)
}

/// Waits for a tick of which this is so.
fn hear(heard: &Receiver<Told>, wanted: impl Fn(&Progress) -> bool) {
    while !wanted(&heard.recv().unwrap().unwrap()) {}
}

#[test]
fn the_thread_runs_what_is_asked_for_and_stops_when_told() {
    let house = House::new("2026-11-21T08:00:00Z");
    let make = |plan| house.book().make(plan, "tests", house.now()).unwrap();
    make(plan("check", Task::Checkpoint, "0 6 * * *"));
    let (mut runner, heard) = start(&house);
    hear(&heard, |tick| tick.began.is_empty() && tick.wake.is_some());
    assert_eq!(runner.run_now("main", "none", "x").unwrap_err().code(), "SCHEDULE_UNKNOWN");
    runner.run_now("main", "check", "somebody").unwrap();
    hear(&heard, |tick| tick.ended == [(house.id("check"), Outcome::Done)]);
    assert_eq!(house.runs("check")[0].asked_by.as_deref(), Some("somebody"));
    // A job made meanwhile is known once that is said, and runs when time has come.
    make(plan("scrub", Task::Scrub, "0 3 * * *"));
    house.until("2026-11-22T03:00:00Z");
    runner.book_changed();
    hear(&heard, |tick| tick.began == [house.id("scrub")]);
    assert_eq!(runner.run_now("main", "scrub", "x").unwrap_err().code(), "SCHEDULE_RUNNING");
    assert_eq!(runner.trouble(), None);
    runner.stop();
    runner.stop();
    assert_eq!(house.runs("scrub")[0].outcome, Outcome::Stopped);
    drop(runner);
    // The thread is gone, and holds no vault.
    let house = house.again();
    house.clock.pass(NANOS_PER_SECOND);
    let (runner, heard) = start(&house);
    hear(&heard, |tick| tick.began.contains(&house.id("scrub")));
    drop(runner);
}

#[test]
fn a_history_that_cannot_be_written_is_said_and_nothing_runs() {
    let house = House::new("2026-11-21T08:00:00Z");
    house.book().make(plan("check", Task::Checkpoint, "0 6 * * *"), "tests", house.now()).unwrap();
    house.until("2026-11-22T06:00:00Z");
    house.disk.fail_at(1);
    let size = house.main.size();
    let (runner, heard) = start(&house);
    let code = heard.recv().unwrap().unwrap_err();
    assert!(code.starts_with("STORE_"), "{code}");
    while runner.trouble() != Some(code) {
        std::thread::yield_now();
    }
    assert_eq!(house.main.size(), size);
}
