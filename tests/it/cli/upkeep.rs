//! Upkeep from the shell: restoring an old copy and going on after it, reading everything again,
//! packing, time-stamps, measurements; what is refused, and what an interruption leaves.

use crate::cli::binary::{BY_TWO, Home, with};
use std::process::Stdio;

fn copy(home: &Home, from: &str, to: &str) {
    let args = ["-a", from, to];
    let status = std::process::Command::new("cp").current_dir(home.path()).args(args).status();
    assert!(status.unwrap().success());
}

fn lose(home: &Home, dir: &str) {
    std::fs::remove_dir_all(home.path().join(dir)).unwrap();
}

const OPEN: [&str; 6] = ["kind=event", "--open", "--purpose", "restore drill", "--by", "dana"];

/// The backup of yesterday beside the keys of today: everybody else opens, the erased do not.
#[test]
fn an_old_backup_beside_the_newest_keys_opens_but_for_the_erased() {
    let home = Home::filled();
    home.ok(&["keys", "trust", "--out", "trust"]);
    copy(&home, "chancery-data", "backup");
    let erase = ["subject", "erase", "patient_id:P1", "--basis", "gdpr-17-1"];
    home.ok(&with(&erase, &BY_TWO));
    home.ok(&["keys", "export-ledger", "--out", "ledger"]);
    lose(&home, "chancery-data");
    home.fails(&["doctor"], 3, "STORE_MISSING");
    copy(&home, "backup", "chancery-data");
    let sick = home.run(&["-q", "--ledger", "ledger", "doctor"]);
    assert_eq!(sick.code, 1, "{}", sick.out);
    assert!(sick.out.contains("bad LOG_BEHIND_KEYS"), "{}", sick.out);
    // The log that says why is gone with the disk: verify can only say that a key is.
    let checked = home.run(&["-q", "--ledger", "ledger", "verify", "--trust", "trust"]);
    assert!(checked.code == 1 && checked.out.contains("KEY_LOST"), "{}", checked.out);
    home.ok(&["-q", "verify", "--no-bodies", "--trust", "trust"]);
    // Nothing may be recorded in it, so nothing is opened unless somebody says so.
    home.fails(&with(&["-q", "query"], &OPEN), 1, "LOG_BEHIND_KEYS");
    let read = home.ok(&with(&with(&["query"], &OPEN), &["--unrecorded"]));
    assert!(read.out.contains("n2") && !read.out.contains("Quellmalz"), "{}", read.out);
    assert!(read.err.contains("READING_UNRECORDED"), "{}", read.err);
    assert_eq!(home.run(&["query", "--unrecorded"]).code, 2, "only with --open");
    home.fails(&["-q", "append", "events", "--source", "ehr"], 1, "LOG_BEHIND_KEYS");
    // On from here in a vault that names it.
    home.ok(&["-q", "checkpoint", "--out", "old.note"]);
    home.ok(&["-q", "keys", "trust", "--out", "old.policy"]);
    std::fs::create_dir(home.path().join("next")).unwrap();
    let next = ["--home", "next", "init", "--continue-from", "old.note", "--old-trust"];
    home.fails(&with(&next, &["nothing"]), 3, "FILE_IO");
    let other = Home::filled();
    home.write("other.policy", &other.ok(&["keys", "trust"]).out);
    home.fails(&with(&next, &["other.policy"]), 1, "UNTRUSTED_KEY");
    let alone = ["--home", "next", "init", "--continue-from", "old.note"];
    assert_eq!(home.run(&alone).code, 2, "the old log is not believed without its trust");
    assert!(!home.path().join("next/chancery-data").exists());
    home.ok(&with(&next, &["old.policy"]));
    let genesis = home.ok(&["--json", "--home", "next", "show", "0"]).json();
    let note = home.read("old.note");
    let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
    assert_eq!(genesis["clear"]["continues"]["size"], size);
    assert_eq!(genesis["clear"]["continues"]["origin"], note.lines().next().unwrap());
    home.ok(&["--home", "next", "append", "events", "--source", "ehr"]);
    home.ok(&["--home", "next", "keys", "trust", "--out", "next.policy"]);
    home.ok(&["--home", "next", "verify", "--trust", "next.policy"]);
    // In a vault whose log can record it, it is recorded whatever was said.
    let before = home.ok(&["--home", "next", "query", "kind=disclose", "--count"]).out;
    let read = home.ok(&with(&with(&["--home", "next", "query"], &OPEN), &["--unrecorded"]));
    assert!(!read.err.contains("READING_UNRECORDED"), "{}", read.err);
    let after = home.ok(&["--home", "next", "query", "kind=disclose", "--count"]).out;
    assert_ne!(before, after);
}

#[test]
fn everything_is_read_again_and_what_is_rotten_is_named() {
    let home = Home::filled();
    let sick = home.run(&["doctor"]);
    assert!(sick.out.contains("SCRUB_NEVER"), "{}", sick.out);
    let done = home.ok(&["--json", "scrub"]).json();
    assert_eq!(
        (done["complete"].as_bool(), done["found"].as_array().unwrap().len()),
        (Some(true), 0)
    );
    home.ok(&["scrub", "--full"]);
    let well = home.run(&["doctor"]).out;
    assert!(well.contains("good SCRUB: ") && !well.contains("SCRUB_NEVER"), "{well}");
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["verify", "--trust", "trust"]);
    // One byte of a body rots.
    let bodies = std::fs::read_dir(home.path().join("chancery-data/tenants")).unwrap();
    let mut dirs: Vec<std::path::PathBuf> = bodies.map(|entry| entry.unwrap().path()).collect();
    let mut rotten = None;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let text = path.display().to_string();
            match path.is_dir() {
                true => dirs.push(path),
                false if text.contains("/bodies/") => rotten = Some(path),
                false => {}
            }
        }
    }
    let rotten = rotten.expect("a body file");
    let mut bytes = std::fs::read(&rotten).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    std::fs::write(&rotten, &bytes).unwrap();
    let found = home.run(&["--json", "scrub"]);
    assert_eq!(found.code, 1, "{}{}", found.out, found.err);
    assert_eq!(found.json()["found"][0]["part"], "body", "{}", found.out);
    let sick = home.run(&["doctor"]);
    assert!(sick.code == 1 && sick.out.contains("bad SCRUB_FINDINGS"), "{}", sick.out);
    let scans = home.ok(&["query", "kind=scan", "--count"]).out;
    assert!(scans.trim_end().split(' ').next().unwrap().parse::<u64>().unwrap() >= 4, "{scans}");
}

#[test]
fn packing_leaves_what_is_young_and_refuses_what_is_not_asked_for() {
    let home = Home::filled();
    let done = home.ok(&["--json", "pack"]).json();
    assert_eq!(done["files"], 0, "nothing is old enough: {done}");
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["verify", "--trust", "trust"]);
    assert_eq!(home.run(&["pack", "--no-such"]).code, 2);
}

#[test]
fn a_time_stamp_question_is_written_and_a_wrong_answer_is_kept_nowhere() {
    let home = Home::filled();
    home.fails(&["timestamp"], 1, "TIMESTAMP_NO_AUTHORITY");
    home.ok(&["timestamp", "--request", "q.tsq"]);
    assert_eq!(std::fs::read(home.path().join("q.tsq")).unwrap().len(), 69);
    home.write("a.tsr", "nonsense");
    home.fails(&["timestamp", "--response", "a.tsr"], 1, "TIMESTAMP_MALFORMED");
    home.fails(&["timestamp", "--response", "none.tsr"], 3, "FILE_IO");
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["verify", "--trust", "trust"]);
}

#[test]
fn a_measurement_that_is_none_is_refused() {
    let home = Home::new();
    let none = home.run(&["bench", "--only", "nothing", "--dir", "."]);
    assert!(none.code == 2 && none.err.contains("BENCH_PART_UNKNOWN"), "{}", none.err);
    assert_eq!(home.run(&["bench", "nothing"]).code, 2);
    assert_eq!(home.run(&["bench", "open", "--no-such"]).code, 2);
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "nothing is left");
}

/// Ctrl-C while events come in: what was acknowledged is there, the lock is free.
#[test]
fn an_interrupted_append_leaves_a_whole_vault() {
    use std::io::Write;
    let home = Home::filled();
    let mut child = home
        .command(&["append", "-", "--source", "app", "--as", "canonical"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let event = |n: u32| {
        format!(
            r#"{{"id":"x{n}","source_seq":{n},"actor":{{"id":"n1","type":"user"}},"action":"user.login","outcome":"success","severity":3}}"#
        )
    };
    for n in 1..=500 {
        writeln!(pipe, "{}", event(n)).unwrap();
    }
    pipe.flush().unwrap();
    // It is at work once the log holds some of them; the lock tells that from outside.
    let seen = |home: &Home| {
        let ran = home.run(&["--json", "verify", "--no-bodies"]);
        ran.json()["data"]["entries"].as_u64().unwrap_or(0)
    };
    while seen(&home) < 8 {
        std::thread::yield_now();
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    // It does not wait for a sender that says nothing more: the pipe stays open until it is over.
    child.wait().unwrap();
    drop(pipe);
    let ended = crate::cli::binary::Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}{}", ended.out, ended.err);
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["verify", "--trust", "trust"]);
    let more = event(501).replace("x501", "after");
    home.write("after", &more);
    home.ok(&["append", "after", "--source", "app", "--as", "canonical"]);
}

/// A disk that is full in the middle of a file: the sender learns how far it came, what was counted
/// is there, and the same file sent again stores the rest.
#[test]
fn a_failed_append_says_how_far_it_came() {
    let home = Home::filled();
    let event = |n: u32| {
        format!(
            r#"{{"id":"f{n}","source_seq":{n},"actor":{{"id":"n1","type":"user"}},"action":"user.login","outcome":"success","severity":3}}"#
        ) + "\n"
    };
    home.write("many", &(1..=4_000).map(event).collect::<String>());
    let append = ["--json", "append", "many", "--source", "app", "--batch", "50"];
    // The shell's limit on file sizes stands for the disk; the log is far below it before.
    let ran = home.run_limited(400, &append);
    let counts = ran.json();
    let accepted = counts["accepted"].as_u64().unwrap();
    assert_eq!((ran.code, &counts["complete"]), (3, &false.into()), "{}{}", ran.out, ran.err);
    assert!(accepted > 0 && accepted < 4_000, "{counts}");
    let error: serde_json::Value = serde_json::from_str(ran.err.lines().last().unwrap()).unwrap();
    assert_eq!(counts["ended"], error["error"]["code"], "{}", ran.err);
    let said = error["error"]["message"].as_str().unwrap();
    assert_eq!(said.matches("run it again").count() + said.matches("check the path").count(), 1);
    assert_eq!(said.matches("what was acknowledged is safe").count(), 1, "{said}");
    // In words too, and a run that stores nothing counts nothing.
    let ran = home.run_limited(1, &append[1..]);
    assert!(ran.code == 3 && ran.err.contains("STORE_"), "{}{}", ran.out, ran.err);
    let again = home.ok(&append).json();
    let known = again["duplicate"].as_u64().unwrap();
    assert!(known >= accepted, "{known} of {accepted}");
    assert_eq!(again["accepted"].as_u64().unwrap() + known, 4_000);
}

/// Ctrl-C in the middle of a soak ends it with its writing process and removes what both made; what
/// follows from that is no finding.
#[test]
fn an_interrupted_soak_ends_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new();
    let place = dir.path().to_str().unwrap();
    let arguments = ["bench", "soak", "--lives", "100000", "--writers", "4", "--dir", place];
    let mut command = home.command(&arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let inside = || std::fs::read_dir(dir.path()).unwrap().next();
    let begun = || inside().is_some_and(|made| made.unwrap().path().join("receipts").exists());
    while !begun() {
        std::thread::yield_now();
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let ended = crate::cli::binary::Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{}{}", ended.out, ended.err);
    assert!(!ended.err.contains("SOAK_FAILED"), "{}", ended.err);
    assert!(inside().is_none(), "{:?}", inside());
}
