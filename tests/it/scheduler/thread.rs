//! The scheduler's thread, on real waits: it does what it is asked, and stops when told.

use crate::scheduler::house::{House, plan};
use crate::support::clinic::{Visit, append};
use chancery::base::id::DocumentId;
use chancery::base::unit::NANOS_PER_SECOND;
use chancery::format::control::DocumentKind;
use chancery::server::metrics::Metrics;
use chancery::server::scheduler::Progress;
use chancery::server::scheduler::job::Outcome;
use chancery::server::scheduler::run::Runner;
use chancery::server::scheduler::task::Task;
use chancery::server::scheduler::tell::teller;
use chancery::vault::registry::Put;
use std::sync::Arc;
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

#[test]
fn operators_hear_of_missed_runs_findings_and_jobs_that_cannot_run() {
    let house = House::new("2026-11-21T08:00:00Z");
    let now = house.now();
    house.book().make(plan("check", Task::Checkpoint, "0 6 * * *"), "tests", now).unwrap();
    house.book().make(plan("soon", Task::KeyHygiene, "59 8 23 * *"), "tests", now).unwrap();
    append(&house.main, &[Visit::new(1, "n1", "p1")]).unwrap();
    let put = Put {
        kind: DocumentKind::Schedule,
        id: DocumentId([7; 16]),
        expect: 0,
        gone: false,
        body: br#"{"a":1}"#,
        subjects: &[],
    };
    house.system.put_document(&put).unwrap();
    // Nobody served at 06:00 twice, nor half a minute ago.
    house.until("2026-11-23T08:59:30Z");
    let house = house.again();
    let is_body = |path: &std::path::PathBuf| {
        let path = path.to_string_lossy();
        path.contains("/bodies/") && !path.contains("/others/")
    };
    let body = house.disk.files().into_iter().find(is_body).unwrap();
    house.disk.flip(&body, house.disk.bytes(&body).unwrap().len() - 20, 1);
    let metrics = Arc::new(Metrics::new(false));
    let sample = |name: &str| {
        let text = metrics.encode();
        let line = text.lines().find(|l| l.strip_prefix(name).is_some_and(|l| l.starts_with(' ')));
        line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().to_owned()
    };
    let missed = |job: &str| sample(&format!("chancery_scheduler_missed_total{{job=\"{job}\"}}"));
    assert_eq!((missed("checkpoint"), missed("scrub")), ("0".to_owned(), "0".to_owned()));
    let (line, lines) = channel();
    let say = Box::new(move |text: &str| drop(line.send(text.to_owned())));
    let (told, heard) = channel();
    let tell = teller(metrics.clone(), say);
    let tell = Box::new(move |progress: &Told| {
        tell(progress);
        drop(told.send(progress.clone()));
    });
    let mut runner = Runner::start(house.scheduler(), tell).unwrap();
    hear(&heard, |tick| tick.began.contains(&house.id("check")));
    // Yesterday's firing, and today's three hours ago; half a minute is not late.
    assert_eq!((missed("checkpoint"), missed("key-hygiene")), ("2".to_owned(), "0".to_owned()));
    assert!(lines.recv().unwrap().contains("MALFORMED"));
    house.book().make(plan("scrub", Task::Scrub, "0 3 * * *"), "tests", house.now()).unwrap();
    runner.book_changed();
    runner.run_now("main", "scrub", "somebody").unwrap();
    assert_eq!(sample("chancery_verify_failures_total"), "0");
    // It reads at a pace by the log's clock.
    hear(&heard, |tick| {
        house.clock.pass(NANOS_PER_SECOND);
        assert!(!tick.ended.contains(&(house.id("scrub"), Outcome::Done)) || tick.findings > 0);
        tick.findings > 0
    });
    assert_ne!(sample("chancery_verify_failures_total"), "0");
    assert_eq!(missed("scrub"), "0", "what somebody asks for is not late");
    runner.stop();
    assert!(lines.try_recv().is_err(), "said once");
}
