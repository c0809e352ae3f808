//! The scheduler: what is due runs once, what was missed runs once for all of it, nothing runs
//! twice at a time, and the history says what happened, whatever was cut.

mod crash;
mod house;
mod thread;

use crate::scheduler::house::{House, at, plan, zones};
use crate::support::clinic::{Visit, append};
use chancery::base::id::DocumentId;
use chancery::base::unit::{NANOS_PER_SECOND, UtcNanos};
use chancery::format::control::DocumentKind;
use chancery::server::scheduler::Progress;
use chancery::server::scheduler::job::{Job, Outcome, Plan, RUNS_KEPT, Run};
use chancery::server::scheduler::task::Task;
use chancery::vault::error::Error;
use chancery::vault::registry::Put;

const HOUR: u64 = 3_600 * NANOS_PER_SECOND;

fn dues(runs: &[Run]) -> Vec<(String, Outcome, u64)> {
    runs.iter().map(|run| (run.due.to_string(), run.outcome, run.missed)).collect()
}

fn one(due: &str, outcome: Outcome, missed: u64) -> (String, Outcome, u64) {
    (due.to_owned(), outcome, missed)
}

#[test]
fn a_daily_job_runs_once_a_day_and_its_history_says_so() {
    let house = House::new("2026-11-21T08:00:00Z");
    append(&house.main, &[Visit::new(1, "n1", "p1").class("90d")]).unwrap();
    let mut scheduler = house.scheduler();
    house.make(&mut scheduler, plan("retain", Task::Retention, "30 2 * * *"));
    let quiet = scheduler.tick(house.now()).unwrap();
    assert_eq!(quiet.wake, Some(at("2026-11-22T02:30:00Z")));
    assert_eq!((quiet.began.len(), house.runs("retain").len()), (0, 0));
    house.until("2026-11-22T02:29:59Z");
    assert_eq!(scheduler.tick(house.now()).unwrap().began, []);
    house.until("2026-11-22T02:30:00.5Z");
    let ran = scheduler.tick(house.now()).unwrap();
    let id = house.id("retain");
    assert_eq!((ran.began, ran.ended), (vec![id], vec![(id, Outcome::Done)]));
    assert_eq!(ran.wake, Some(at("2026-11-23T02:30:00Z")));
    for _ in 0..3 {
        let again = scheduler.tick(house.now()).unwrap();
        assert_eq!((again.began.len(), again.ended.len()), (0, 0), "twice at one instant");
    }
    let runs = house.runs("retain");
    assert_eq!(dues(&runs), [one("2026-11-22T02:30:00Z", Outcome::Done, 0)]);
    assert_eq!(runs[0].started, at("2026-11-22T02:30:00.5Z"));
    assert_eq!(runs[0].summary["class_days"], 0);
    // When something is due, the number is what went.
    for day in 1..=95 {
        house.clock.pass(24 * HOUR);
        append(&house.main, &[Visit::new(1 + day, "n1", "p1")]).unwrap();
        scheduler.tick(house.now()).unwrap();
    }
    let runs = house.runs("retain");
    assert_eq!(runs.len(), RUNS_KEPT);
    let gone: Vec<_> = runs.iter().filter(|run| run.summary["class_days"] == 1).collect();
    assert_eq!(gone.len(), 1, "{runs:?}");
    assert!(runs.iter().all(|run| run.outcome == Outcome::Done && run.missed == 0));
    assert_eq!(house.main.facts_now().expired.len(), 1);
}

#[test]
fn what_was_missed_runs_once_and_says_how_much_it_was() {
    let house = House::new("2026-11-21T08:00:00Z");
    let mut scheduler = house.scheduler();
    house.make(&mut scheduler, plan("check", Task::Checkpoint, "0 6 * * *"));
    house.until("2026-11-26T09:00:00Z");
    drop(scheduler);
    let house = house.again();
    let mut scheduler = house.scheduler();
    assert_eq!(scheduler.tick(house.now()).unwrap().began.len(), 1);
    assert_eq!(scheduler.tick(house.now()).unwrap().began.len(), 0);
    assert_eq!(dues(&house.runs("check")), [one("2026-11-26T06:00:00Z", Outcome::Done, 4)]);
    // A firing a minute for years is counted up to a number that says "or more".
    house.make(&mut scheduler, plan("often", Task::Checkpoint, "* * * * *"));
    house.until("2026-11-28T09:00:30Z");
    scheduler.tick(house.now()).unwrap();
    assert_eq!(dues(&house.runs("often")), [one("2026-11-28T09:00:00Z", Outcome::Done, 1_000)]);
}

#[test]
fn clocks_that_move_neither_drop_nor_double_a_run() {
    for (start, days, due) in [
        ("2026-03-27T12:00:00Z", 3, ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"]),
        ("2026-10-23T12:00:00Z", 3, ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"]),
    ] {
        let house = House::new(start);
        let mut scheduler = house.scheduler();
        let nightly = plan("night", Task::Checkpoint, "30 2 * * *");
        house.make(&mut scheduler, Plan { zone: "Europe/Berlin".to_owned(), ..nightly });
        for _ in 0..days * 24 * 4 {
            house.clock.pass(HOUR / 4);
            scheduler.tick(house.now()).unwrap();
        }
        let mut runs = house.runs("night");
        runs.reverse();
        assert_eq!(runs.len(), 3, "{:?}", dues(&runs));
        let found: Vec<String> = runs[..2].iter().map(|run| run.due.to_string()).collect();
        assert_eq!(found, due);
        assert!(runs.iter().all(|run| run.missed == 0 && run.started == run.due), "{runs:?}");
    }
}

#[test]
fn a_run_is_put_off_by_what_its_firing_says_and_no_further_than_the_next() {
    let house = House::new("2026-11-21T08:00:00Z");
    let mut scheduler = house.scheduler();
    let nightly = plan("late", Task::Checkpoint, "0 2 * * *");
    house.make(&mut scheduler, Plan { jitter_seconds: 3_600, ..nightly });
    let listed = house.book().job("main", "late").unwrap();
    let schedule = listed.job.plan.schedule(&zones()).unwrap();
    let mut seen = Vec::new();
    for day in 22..29 {
        let due = at(&format!("2026-11-{day}T02:00:00Z"));
        let begins = listed.job.begins(listed.id, &schedule, due);
        assert!(begins >= due && begins.0 <= due.0 + HOUR);
        assert_eq!(begins, listed.job.begins(listed.id, &schedule, due));
        assert_ne!(begins, listed.job.begins(DocumentId([7; 16]), &schedule, due));
        seen.push((begins.0 - due.0) / NANOS_PER_SECOND);
        let asleep = UtcNanos(begins.0 - 1);
        house.clock.pass(asleep.0 - house.now().0);
        let quiet = scheduler.tick(house.now()).unwrap();
        assert_eq!((quiet.began.len(), quiet.wake), (0, Some(begins)));
        house.clock.pass(1);
        assert_eq!(scheduler.tick(house.now()).unwrap().began, [listed.id]);
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 4, "{seen:?}");
    // A job that fires every minute is put off within the minute, so no firing is lost.
    let minutely = plan("minute", Task::Checkpoint, "* * * * *");
    let job = Job::new(Plan { jitter_seconds: 3_600, ..minutely }, "x", house.now());
    let schedule = job.plan.schedule(&zones()).unwrap();
    for minute in 0..200 {
        let due = UtcNanos(at("2026-11-30T00:00:00Z").0 + minute * 60 * NANOS_PER_SECOND);
        let begins = job.begins(listed.id, &schedule, due);
        assert!(begins.0 - due.0 < 60 * NANOS_PER_SECOND);
    }
}

/// Makes a scrub that is under way after the tick that began it: no time has passed for it yet.
fn begin_scrub(house: &House, scheduler: &mut chancery::server::scheduler::Scheduler) {
    house.make(scheduler, plan("scrub", Task::Scrub, "0 3 * * *"));
    house.until("2026-11-22T03:00:00Z");
    let began = scheduler.tick(house.now()).unwrap();
    assert_eq!((began.began.len(), began.ended.len()), (1, 0));
    assert_eq!(began.wake, Some(UtcNanos(house.now().0 + NANOS_PER_SECOND)));
    assert_eq!(scheduler.under_way(), [house.id("scrub")]);
}

#[test]
fn one_run_at_a_time_and_what_came_meanwhile_is_one_run_after() {
    let house = House::new("2026-11-21T08:00:00Z");
    let mut scheduler = house.scheduler();
    begin_scrub(&house, &mut scheduler);
    let refused = scheduler.run_now("main", "scrub", "somebody").unwrap_err();
    assert_eq!(refused.code(), "SCHEDULE_RUNNING");
    // Three firings pass in one go while it is under way.
    house.until("2026-11-25T03:00:00Z");
    let done = scheduler.tick(house.now()).unwrap();
    assert_eq!(done.ended, [(house.id("scrub"), Outcome::Done)]);
    assert_eq!(done.began, [house.id("scrub")], "the next run begins when the first has ended");
    house.clock.pass(NANOS_PER_SECOND);
    scheduler.tick(house.now()).unwrap();
    let expected = [
        one("2026-11-25T03:00:00Z", Outcome::Done, 2),
        one("2026-11-22T03:00:00Z", Outcome::Done, 0),
    ];
    assert_eq!(dues(&house.runs("scrub")), expected);
    assert!(house.runs("scrub")[0].summary["bytes"] > 1_000);
    assert_eq!(house.runs("scrub")[0].summary["findings"], 0);
}

#[test]
fn somebody_may_ask_for_a_run() {
    let house = House::new("2026-11-21T08:00:00Z");
    let mut scheduler = house.scheduler();
    let off = plan("check", Task::Checkpoint, "0 6 * * *");
    house.make(&mut scheduler, Plan { enabled: false, ..off });
    house.until("2026-11-23T09:00:00Z");
    let idle = scheduler.tick(house.now()).unwrap();
    assert_eq!((idle.began.len(), idle.wake), (0, None), "it is switched off");
    let unknown = scheduler.run_now("main", "nothing", "somebody").unwrap_err();
    assert_eq!(unknown.code(), "SCHEDULE_UNKNOWN");
    assert_eq!(scheduler.run_now("other", "check", "x").unwrap_err().code(), "SCHEDULE_UNKNOWN");
    scheduler.run_now("main", "check", "somebody").unwrap();
    let twice = scheduler.run_now("main", "check", "else").unwrap_err();
    assert_eq!(twice.code(), "SCHEDULE_RUNNING");
    scheduler.tick(house.now()).unwrap();
    scheduler.tick(house.now()).unwrap();
    let runs = house.runs("check");
    assert_eq!(dues(&runs), [one("2026-11-23T09:00:00Z", Outcome::Done, 0)]);
    assert_eq!(runs[0].asked_by.as_deref(), Some("somebody"));
    // What was asked for settles nothing: switched on, the job is due at its own time.
    let listed = house.book().job("main", "check").unwrap();
    let on = Plan { enabled: true, ..listed.job.plan };
    house.book().amend(on, listed.version, "somebody", house.now()).unwrap();
    scheduler.book_changed();
    let on = scheduler.tick(house.now()).unwrap();
    assert_eq!((on.began.len(), on.wake), (0, Some(at("2026-11-24T06:00:00Z"))));
    scheduler.run_now("main", "check", "somebody").unwrap();
    house.until("2026-11-24T06:00:00Z");
    scheduler.tick(house.now()).unwrap();
    scheduler.tick(house.now()).unwrap();
    let asked: Vec<bool> = house.runs("check").iter().map(|run| run.asked_by.is_some()).collect();
    assert_eq!(asked, [false, true, true]);
}

#[test]
fn every_task_runs_or_says_why_not() {
    let house = House::new("2026-11-21T08:00:00Z");
    append(&house.main, &[Visit::new(1, "n1", "p1")]).unwrap();
    let mut scheduler = house.scheduler();
    for task in Task::ALL {
        house.make(&mut scheduler, plan(task.name(), task, "0 0 1 1 *"));
        scheduler.run_now("main", task.name(), "somebody").unwrap();
        for _ in 0..3 {
            house.clock.pass(NANOS_PER_SECOND);
            scheduler.tick(house.now()).unwrap();
        }
        let run = house.runs(task.name()).remove(0);
        match task {
            Task::Timestamp => {
                assert_eq!(run.outcome, Outcome::Failed);
                assert_eq!(run.code.as_deref(), Some("TIMESTAMP_NO_AUTHORITY"));
            }
            _ => assert_eq!((run.outcome, run.code), (Outcome::Done, None), "{task:?}"),
        }
    }
    assert!(house.main.last_scrub().unwrap().0.is_some());
}

#[test]
fn a_failed_run_says_its_code_and_the_next_firing_is_the_next_try() {
    let house = House::new("2026-11-21T08:00:00Z");
    let mut scheduler = house.scheduler();
    let lost = Plan { tenant: "nobody".to_owned(), ..plan("lost", Task::Pack, "0 6 * * *") };
    house.book().make(lost, "chancery", house.now()).unwrap();
    scheduler.book_changed();
    for day in [22, 23] {
        house.until(&format!("2026-11-{day}T06:00:00Z"));
        for _ in 0..3 {
            scheduler.tick(house.now()).unwrap();
        }
    }
    let runs = house.book().job("nobody", "lost").unwrap().job.runs;
    let expected = [
        one("2026-11-23T06:00:00Z", Outcome::Failed, 0),
        one("2026-11-22T06:00:00Z", Outcome::Failed, 0),
    ];
    assert_eq!(dues(&runs), expected);
    assert_eq!(runs[0].code.as_deref(), Some("SCHEDULE_TENANT"));
    // Expiry after a jump of the clock waits for a person, and the history says so.
    house.make(&mut scheduler, plan("retain", Task::Retention, "0 7 * * *"));
    house.clock.pass_days(40);
    drop(scheduler);
    let house = house.again();
    house.scheduler().tick(house.now()).unwrap();
    let run = house.runs("retain").remove(0);
    assert_eq!((run.outcome, run.missed), (Outcome::Failed, 39));
    assert_eq!(run.code.as_deref(), Some("EXPIRY_SUSPENDED"));
}

#[test]
fn a_job_changed_or_given_up_while_it_runs() {
    let house = House::new("2026-11-21T08:00:00Z");
    let mut scheduler = house.scheduler();
    begin_scrub(&house, &mut scheduler);
    let book = house.book();
    let listed = book.job("main", "scrub").unwrap();
    assert_eq!(dues(&listed.job.runs), [one("2026-11-22T03:00:00Z", Outcome::Running, 0)]);
    let old = listed.job.plan.clone();
    let later = Plan { cron: "0 4 * * *".to_owned(), ..old.clone() };
    let stale = book.amend(later.clone(), listed.version - 1, "x", house.now()).unwrap_err();
    assert_eq!(stale.code(), "VERSION_CONFLICT");
    book.amend(later, listed.version, "somebody", house.now()).unwrap();
    scheduler.book_changed();
    house.clock.pass(NANOS_PER_SECOND);
    scheduler.tick(house.now()).unwrap();
    let after = book.job("main", "scrub").unwrap();
    assert_eq!(dues(&after.job.runs), [one("2026-11-22T03:00:00Z", Outcome::Done, 0)]);
    assert_eq!((after.job.plan.cron.as_str(), &*after.job.made_by), ("0 4 * * *", "somebody"));
    // Times before the change are not due, however the new plan would have it.
    assert_eq!(scheduler.tick(house.now()).unwrap().wake, Some(at("2026-11-22T04:00:00Z")));
    house.until("2026-11-22T04:00:00Z");
    scheduler.tick(house.now()).unwrap();
    let listed = book.job("main", "scrub").unwrap();
    book.give_up("main", "scrub", listed.version, "somebody").unwrap();
    house.clock.pass(NANOS_PER_SECOND);
    let ended = scheduler.tick(house.now()).unwrap();
    assert_eq!(ended.ended, [(house.id("scrub"), Outcome::Done)]);
    assert_eq!(book.job("main", "scrub").unwrap_err().code(), "SCHEDULE_UNKNOWN");
    house.clock.pass_days(2);
    assert_eq!(scheduler.tick(house.now()).unwrap(), Progress::default());
    // A new job of that name begins anew.
    let made = book.make(old.clone(), "somebody", house.now()).unwrap();
    assert_eq!((made.job.runs.len(), made.version), (0, listed.version + 2));
    let twice = book.make(old, "somebody", house.now()).unwrap_err();
    assert!(matches!(twice, Error::Conflict { code: "SCHEDULE_EXISTS", first: Some(_), .. }));
}

#[test]
fn a_version_in_force_no_more_runs_nothing() {
    let house = House::new("2026-11-21T08:00:00Z");
    let mut scheduler = house.scheduler();
    house.make(&mut scheduler, plan("check", Task::Checkpoint, "0 6 * * *"));
    scheduler.tick(house.now()).unwrap();
    house.until("2026-11-22T05:59:00Z");
    let listed = house.book().job("main", "check").unwrap();
    let off = Plan { enabled: false, ..listed.job.plan };
    house.book().amend(off, listed.version, "somebody", house.now()).unwrap();
    // The scheduler has not been told.
    house.until("2026-11-22T06:00:00Z");
    let first = scheduler.tick(house.now()).unwrap();
    assert_eq!((first.began.len(), first.wake), (0, Some(house.now())));
    assert_eq!(scheduler.tick(house.now()).unwrap(), Progress::default());
    assert_eq!(house.runs("check"), []);
}

#[test]
fn a_run_that_is_always_cut_short_is_given_up_until_its_next_firing() {
    let mut house = House::new("2026-11-21T08:00:00Z");
    begin_scrub(&house, &mut house.scheduler());
    for cut in 1..=3 {
        house = house.again();
        let mut scheduler = house.scheduler();
        let runs = house.runs("scrub");
        assert_eq!(runs.len(), cut);
        assert!(runs.iter().all(|run| run.outcome == Outcome::Interrupted), "{runs:?}");
        let again = scheduler.tick(house.now()).unwrap();
        assert_eq!(again.began.len(), usize::from(cut < 3), "after {cut}");
    }
    let runs = house.runs("scrub");
    assert_eq!(runs[0].code.as_deref(), Some("SCHEDULE_GIVEN_UP"));
    assert_eq!((&runs[1].code, &runs[2].code), (&None, &None));
    house.until("2026-11-23T03:00:00Z");
    let mut scheduler = house.scheduler();
    assert_eq!(scheduler.tick(house.now()).unwrap().began.len(), 1);
    scheduler.stop(house.now()).unwrap();
    scheduler.stop(house.now()).unwrap();
    drop(scheduler);
    // Told to stop, it is left where it is: still due at the next start, and never given up.
    for _ in 0..4 {
        house = house.again();
        let mut scheduler = house.scheduler();
        assert_eq!(scheduler.tick(house.now()).unwrap().began.len(), 1);
        scheduler.stop(house.now()).unwrap();
        assert_eq!(house.runs("scrub")[0].outcome, Outcome::Stopped);
    }
    house.clock.pass(NANOS_PER_SECOND);
    let mut scheduler = house.scheduler();
    scheduler.tick(house.now()).unwrap();
    house.clock.pass(NANOS_PER_SECOND);
    scheduler.tick(house.now()).unwrap();
    assert_eq!(house.runs("scrub")[0].outcome, Outcome::Done);
}

#[test]
fn every_tenant_gets_its_defaults_once() {
    let house = House::new("2026-11-21T08:00:00Z");
    let book = house.book();
    assert_eq!(book.equip("main", house.now()).unwrap(), 4);
    assert_eq!(book.equip("main", house.now()).unwrap(), 0);
    assert_eq!(book.equip("system", house.now()).unwrap(), 4);
    let (jobs, strange) = book.jobs().unwrap();
    let said: Vec<String> = jobs
        .iter()
        .map(|listed| &listed.job.plan)
        .map(|plan| format!("{} {} {} {}", plan.tenant, plan.task.name(), plan.cron, plan.zone))
        .collect();
    let of = |tenant: &str| {
        [
            format!("{tenant} checkpoint 5 0 * * * UTC"),
            format!("{tenant} key-hygiene 30 5 * * Sun UTC"),
            format!("{tenant} retention 30 2 * * * UTC"),
            format!("{tenant} scrub 15 3 * * * UTC"),
        ]
    };
    assert_eq!((said, strange), ([of("main"), of("system")].concat(), vec![]));
    for listed in jobs {
        listed.job.plan.check(&zones(), house.now()).unwrap();
    }
    let listed = book.job("main", "scrub").unwrap();
    book.give_up("main", "scrub", listed.version, "somebody").unwrap();
    assert_eq!(book.equip("main", house.now()).unwrap(), 0, "what was given up stays away");
    // Two days of them: each has run by itself, in both vaults.
    let mut scheduler = house.scheduler();
    for _ in 0..8 * 24 * 2 {
        house.clock.pass(HOUR / 2);
        scheduler.tick(house.now()).unwrap();
    }
    for (tenant, name, times) in [
        ("main", "retention", 8),
        ("main", "checkpoint", 8),
        ("main", "key-hygiene", 2),
        ("system", "scrub", 8),
        ("system", "retention", 8),
    ] {
        let runs = book.job(tenant, name).unwrap().job.runs;
        let done = runs.iter().filter(|run| run.outcome == Outcome::Done).count();
        assert_eq!(done, times, "{tenant} {name}: {runs:?}");
    }
}

#[test]
fn a_plan_that_cannot_be_meant_is_refused_by_field() {
    let house = House::new("2026-11-21T08:00:00Z");
    let good = plan("check", Task::Checkpoint, "0 6 * * *");
    let refused = |plan: Plan| match house.book().make(plan, "x", house.now()).unwrap_err() {
        Error::Invalid { refusal, .. } => (refusal.code, refusal.field),
        other => panic!("{other}"),
    };
    let named = |name: &str| refused(Plan { name: name.to_owned(), ..good.clone() });
    for name in ["", "Check", "9lives", "a b", "a/b", "-a", "\u{e9}", &"a".repeat(33)] {
        assert_eq!(named(name), ("SCHEDULE_NAME", "name".to_owned()), "{name}");
    }
    let tenant = refused(Plan { tenant: "../x".to_owned(), ..good.clone() });
    assert_eq!(tenant, ("SCHEDULE_NAME", "tenant".to_owned()));
    let cron = |cron: &str| refused(Plan { cron: cron.to_owned(), ..good.clone() });
    assert_eq!(cron("* * * * * *"), ("SCHEDULE_OFTEN", "cron.second".to_owned()));
    assert_eq!(cron("0 0 31 2 *"), ("SCHEDULE_NEVER", "cron".to_owned()));
    assert_eq!(cron("0 0 6 * * * 2025"), ("SCHEDULE_NEVER", "cron".to_owned()));
    assert_eq!(cron("0 6 * * 1"), ("SCHEDULE_WEEKDAY", "cron.weekday".to_owned()));
    let zone = refused(Plan { zone: "CET".to_owned(), ..good.clone() });
    assert_eq!(zone, ("SCHEDULE_ZONE", "zone".to_owned()));
    let late = refused(Plan { jitter_seconds: 21_601, ..good.clone() });
    assert_eq!(late, ("SCHEDULE_JITTER", "jitter_seconds".to_owned()));
    house.book().make(good, "x", house.now()).unwrap();
}

#[test]
fn a_document_says_what_it_says_and_a_strange_one_troubles_nobody_else() {
    let house = House::new("2026-11-21T08:00:00Z");
    let mut scheduler = house.scheduler();
    house.make(&mut scheduler, plan("check", Task::Checkpoint, "0 6 * * *"));
    house.until("2026-11-23T06:00:01Z");
    scheduler.tick(house.now()).unwrap();
    let document = house.system.document(DocumentKind::Schedule, house.id("check"));
    let body = document.unwrap().unwrap().body.unwrap();
    let entries = house.runs("check")[0].summary["entries"];
    let expected = format!(
        concat!(
            r#"{{"name":"check","tenant":"main","task":"checkpoint","cron":"0 6 * * *","#,
            r#""zone":"UTC","enabled":true,"jitter_seconds":0,"made_by":"tests","#,
            r#""settled":"2026-11-23T06:00:00Z","runs":[{{"due":"2026-11-23T06:00:00Z","#,
            r#""started":"2026-11-23T06:00:01Z","ended":"2026-11-23T06:00:01Z","#,
            r#""outcome":"done","missed":1,"summary":{{"entries":{}}}}}]}}"#
        ),
        entries
    );
    assert_eq!(String::from_utf8(body.to_vec()).unwrap(), expected);
    let strange = DocumentId([9; 16]);
    let unknown = expected.replace(r#""enabled""#, r#""colour":1,"enabled""#);
    let put = Put {
        kind: DocumentKind::Schedule,
        id: strange,
        expect: 0,
        gone: false,
        body: unknown.as_bytes(),
        subjects: &[],
    };
    house.system.put_document(&put).unwrap();
    scheduler.book_changed();
    house.until("2026-11-24T06:00:00Z");
    let ticked = scheduler.tick(house.now()).unwrap();
    assert_eq!(ticked.troubled, [(strange, "MALFORMED")]);
    assert_eq!(ticked.ended, [(house.id("check"), Outcome::Done)]);
}
