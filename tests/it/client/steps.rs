//! The sender's steps: what each answer makes of a batch. No clock, no thread, no network.

use crate::client::{Bench, all, event, ledger};
use crate::support::receiver::{Act, Script};
use crate::support::sim::{FailedSync, SimDisk};
use chancery::client::Config;
use chancery::client::sender::Step;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn bench(acts: &[Act], events: &[(&str, bool)]) -> (SimDisk, Script, Bench) {
    let (disk, script) = (SimDisk::new(), Script::of(acts));
    let config = Config { batch_events: 8, ..Config::new("app", crate::client::DIR) };
    let mut bench = Bench::with(&disk, Arc::new(script.clone()), &config).unwrap();
    let texts: Vec<String> = events.iter().map(|(id, bad)| event(id, *bad)).collect();
    bench.emit(&texts).unwrap();
    (disk, script, bench)
}

fn requests(script: &Script) -> Vec<String> {
    script.book().requests.iter().map(|ids| ids.concat()).collect()
}

fn problem(status: u16, code: &str) -> Value {
    json!({"status": status, "code": code, "detail": "d"})
}

const FIVE: [(&str, bool); 5] =
    [("a", false), ("b", false), ("c", true), ("d", false), ("e", false)];

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_ids() {
    let once = ["abcde", "a", "bcde"].as_slice();
    let error = Act::Say(500, None, json!("<html>"));
    for (act, asked) in
        [(Act::Reset, once), (Act::TakeAndReset, once), (error, &["abcde", "abcde"])]
    {
        let (disk, script, mut bench) = bench(&[act], &FIVE);
        let Step::Wait(time, why) = bench.sender.step().unwrap() else { panic!() };
        assert!((50..=100).contains(&time.as_millis()), "{time:?} {why:?}");
        bench.drain();
        assert_eq!(requests(&script), asked);
        let receipts = ledger(&disk, "receipts.ndjson");
        assert_eq!(all(&receipts, "id").concat(), "abcde");
        assert!(all(&receipts, "checkpoint").iter().all(|note| note == "note"));
        assert_eq!(script.book().order.concat(), "abcde");
    }
}

#[test]
fn waits_grow_to_half_a_minute_and_the_vault_may_ask_for_more() {
    let down = Act::Say(503, None, problem(503, "OVERLOADED"));
    let busy = Act::Say(429, Some(7), problem(429, "RATE_LIMITED"));
    let acts: Vec<Act> = std::iter::repeat_n(down, 12).chain([busy]).collect();
    let (_, script, mut bench) = bench(&acts, &FIVE);
    let mut waits = Vec::new();
    while let Step::Wait(time, _) = bench.sender.step().unwrap() {
        waits.push(time);
    }
    for (n, time) in waits.iter().take(12).enumerate() {
        let most = Duration::from_millis((100 << n).min(30_000));
        assert!(*time <= most && *time >= most / 2, "{n}: {time:?}");
    }
    let asked = Duration::from_secs(7);
    assert!(waits[12] >= asked && waits[12] <= asked + asked / 10, "{:?}", waits[12]);
    assert_eq!((waits.len(), script.book().order.concat().as_str()), (13, "abcde"));
}

#[test]
fn one_bad_event_stands_aside_whether_the_vault_names_it_or_not() {
    for (act, n) in [
        (Act::Partial(problem(422, "FIELD_REQUIRED")), 1),
        (Act::Whole(problem(422, "FIELD_REQUIRED")), 20),
    ] {
        let acts: Vec<Act> = std::iter::repeat_n(act, n).collect();
        let (disk, script, mut bench) = bench(&acts, &FIVE);
        bench.drain();
        assert_eq!(all(&ledger(&disk, "receipts.ndjson"), "id").concat(), "abde");
        let dead = ledger(&disk, "dead.ndjson");
        assert_eq!(
            (all(&dead, "id"), all(&dead, "code")),
            (vec!["c".to_owned()], vec!["FIELD_REQUIRED".to_owned()],)
        );
        assert_eq!(dead[0]["event"], json!(event("c", true)));
        assert_eq!(bench.sender.counts().dead, 1);
        assert_eq!(script.book().order.concat(), "abde");
    }
}

#[test]
fn of_an_event_that_was_erased_no_copy_stays() {
    let act = Act::Partial(problem(409, "DUPLICATE_OF_ERASED"));
    let (disk, _, mut bench) = bench(&[act], &FIVE);
    bench.drain();
    let dead = ledger(&disk, "dead.ndjson");
    assert_eq!((dead[0]["id"].as_str(), &dead[0]["event"]), (Some("c"), &Value::Null));
}

#[test]
fn what_is_refused_for_the_moment_is_sent_again_alone() {
    for code in ["OVERLOADED", "CLASS_DAY_EXPIRED", "STORE_FULL"] {
        let (disk, script, mut bench) = bench(&[Act::Partial(problem(409, code))], &FIVE);
        assert!(matches!(bench.sender.step().unwrap(), Step::Wait(_, why) if why.code == code));
        bench.drain();
        assert_eq!(requests(&script), ["abcde", "c"]);
        assert_eq!(all(&ledger(&disk, "receipts.ndjson"), "id").concat(), "abcde");
        assert!(ledger(&disk, "dead.ndjson").is_empty());
    }
}

#[test]
fn a_refusal_of_the_sender_moves_nothing() {
    for (status, code) in [(401, "TOKEN_UNKNOWN"), (403, "DENIED"), (422, "SOURCE_UNKNOWN")] {
        let acts = vec![Act::Say(status, None, problem(status, code)); 2];
        let (disk, script, mut bench) = bench(&acts, &FIVE);
        for _ in 0..2 {
            assert!(matches!(bench.sender.step().unwrap(), Step::Park(why) if why.code == code));
        }
        assert_eq!(bench.shared.board().settled, 0);
        assert!(ledger(&disk, "dead.ndjson").is_empty());
        bench.drain();
        assert_eq!(script.book().order.concat(), "abcde");
    }
}

#[test]
fn an_answer_that_says_too_little_is_no_receipt() {
    for body in [json!({}), json!({"receipts": []}), json!({"results": [{"receipt": {}}]})] {
        let (disk, _, mut bench) = bench(&[Act::Say(200, None, body)], &FIVE);
        assert!(matches!(bench.sender.step().unwrap(), Step::Wait(..)));
        assert!(ledger(&disk, "receipts.ndjson").is_empty());
        bench.drain();
        assert_eq!(all(&ledger(&disk, "receipts.ndjson"), "id").concat(), "abcde");
    }
}

#[test]
fn a_full_spool_refuses_and_settled_bytes_make_room() {
    let disk = SimDisk::new();
    let script = Script::default();
    let config = Config { spool_bytes: 500, segment_bytes: 200, ..crate::client::config() };
    let mut bench = Bench::with(&disk, Arc::new(script.clone()), &config).unwrap();
    let mut taken = 0;
    while bench.emit(&[event(&format!("e{taken}"), false)]).is_ok() {
        taken += 1;
    }
    assert!((5..12).contains(&taken), "{taken}");
    let error = bench.emit(&[event("x", false)]).unwrap_err();
    assert_eq!(error.code(), "SPOOL_FULL");
    bench.drain();
    bench.emit(&[event("y", false)]).unwrap();
    bench.drain();
    assert_eq!(script.book().order.len(), taken + 1);
    // What is settled goes, but for the file at hand.
    let left = disk.files().into_iter().filter(|p| p.to_string_lossy().contains("spool-v1-"));
    assert_eq!(left.count(), 1);
}

#[test]
fn a_spool_is_of_one_process_one_source_and_one_version() {
    let disk = SimDisk::new();
    let script = Arc::new(Script::default());
    let open = |config: &Config| Bench::with(&disk, script.clone(), config).err();
    let config = Config::new("app", crate::client::DIR);
    let held = Bench::with(&disk, script.clone(), &config).unwrap();
    assert_eq!(open(&config).map(|e| e.code()), Some("SPOOL_LOCKED"));
    drop(held);
    let other = open(&Config::new("crm", crate::client::DIR)).unwrap();
    assert!(other.code() == "SPOOL_SOURCE" && other.to_string().contains("app"), "{other}");
    use chancery::store::disk::Disk as _;
    disk.replace(std::path::Path::new("/spool/spool-v2-0"), b"x").unwrap();
    assert_eq!(open(&config).map(|e| e.code()), Some("SPOOL_TOO_NEW"));
}

/// `emit` said that it was not taken: where the disk lets go of it, the next opening finds nothing.
#[test]
fn what_a_failed_sync_left_is_taken_away_again() {
    let (disk, script, mut bench) = bench(&[], &FIVE);
    bench.drain();
    disk.fail_sync(1, FailedSync::Kept);
    bench.emit(&[event("x", false)]).unwrap_err();
    assert!(bench.tail.is_failed());
    drop(bench);
    let mut bench = Bench::open(&disk, Arc::new(script.clone())).unwrap();
    bench.drain();
    assert_eq!(script.book().order.concat(), "abcde");
}

/// A damaged cursor sends again what lies there, and the ledgers keep every line they had.
#[test]
fn a_lost_cursor_sends_again() {
    use chancery::store::disk::Disk as _;
    let (disk, script, mut bench) = bench(&[], &FIVE);
    bench.drain();
    drop(bench);
    disk.replace(std::path::Path::new("/spool/cursor"), b"rubbish").unwrap();
    let mut bench = Bench::open(&disk, Arc::new(script.clone())).unwrap();
    assert!(bench.found.cursor_lost);
    bench.drain();
    assert_eq!(all(&ledger(&disk, "receipts.ndjson"), "id").concat(), "abcdeabcde");
    let book = script.book();
    assert_eq!((book.order.concat().as_str(), book.clashes.len()), ("abcde", 0));
}
