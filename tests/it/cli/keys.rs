//! The key commands from the shell: a second copy of the keys, made, missed, brought back, given up
//! and restored from; the log key handed over; and what one person alone cannot do.

use crate::cli::binary::{BY_TWO, Home, with};
use std::os::unix::fs::PermissionsExt;

/// A vault with three events and a mirror beside it.
fn mirrored() -> Home {
    let home = Home::filled();
    std::fs::create_dir(home.path().join("second")).unwrap();
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(home.path().join("second"), private).unwrap();
    name_mirror(&home, "second");
    let made = home.ok(&["keys", "mirror"]);
    assert!(made.out.starts_with("Both key directories hold every key"), "{}", made.out);
    home
}

fn name_mirror(home: &Home, dir: &str) {
    let file = home.read("chancery.toml");
    let kept: Vec<&str> = file.lines().filter(|line| !line.contains("mirror")).collect();
    home.write(
        "chancery.toml",
        &kept.join("\n").replace("[keys]", &format!("[keys]\nmirror = \"{dir}\"")),
    );
}

fn erase(home: &Home, who: &str, receipt: &str) -> String {
    let args = ["--json", "subject", "erase", who, "--basis", "gdpr-17-1", "--receipt", receipt];
    home.ok(&with(&args, &BY_TWO)).json()["job"].as_str().unwrap().to_owned()
}

fn rename(home: &Home, from: &str, to: &str) {
    std::fs::rename(home.path().join(from), home.path().join(to)).unwrap();
}

/// Codes that the doctor gives with this state.
fn doctor(home: &Home, state: &str) -> Vec<String> {
    let ran = home.run(&["-q", "doctor"]);
    let lines = ran.out.lines().filter_map(|line| line.strip_prefix(state)?.strip_prefix(' '));
    lines.map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

fn has(codes: &[String], code: &str) -> bool {
    codes.iter().any(|found| found == code)
}

#[test]
fn a_mirror_is_made_missed_and_brought_back() {
    let home = Home::filled();
    assert!(has(&doctor(&home, "weak"), "KEYS_SINGLE_COPY"));
    assert!(home.ok(&["keys", "show"]).out.contains("KEYS_SINGLE_COPY"));
    home.fails(&["keys", "mirror"], 1, "KEYS_MIRROR_NOT_NAMED");
    // A directory that holds something else is not taken.
    let other = Home::filled();
    name_mirror(&home, other.path().join("keys").to_str().unwrap());
    home.fails(&["-q", "keys", "mirror"], 3, "KEYS_MIRROR_IN_USE");
    let home = mirrored();
    assert!(has(&doctor(&home, "good"), "KEYS_REPLICAS"));
    let shown = home.ok(&["--json", "keys", "show"]).json();
    assert_eq!((&shown["copies"], &shown["replicas"]), (&2.into(), &"2/2".into()));
    // Its disk is away: said by everything, and by the receipt.
    rename(&home, "second", "unplugged");
    let note = home.ok(&["checkpoint"]).err;
    assert!(note.contains("KEYS_MIRROR_AWAY"), "{note}");
    assert!(has(&doctor(&home, "weak"), "KEYS_MIRROR_AWAY"));
    let job = erase(&home, "patient_id:P1", "partial.receipt");
    assert!(home.read("partial.receipt").contains("replicas 1/2 E2-partial\n"));
    let away = home.fails(&["-q", "keys", "mirror"], 3, "KEYS_MIRROR_PAIRED");
    assert!(away.contains("mount its disk"), "{away}");
    home.fails(&with(&["-q", "keys", "roll-log"], &BY_TWO), 1, "KEYS_MIRROR_AWAY");
    assert!(!home.path().join("second").exists(), "nothing is written where no mirror is");
    home.ok(&["keys", "trust", "--out", "trust"]);
    let checked = home.ok(&["-q", "verify", "--trust", "trust"]);
    assert!(checked.out.contains("ERASURE_PARTIAL"), "{}", checked.out);
    home.ok(&["verify", "partial.receipt", "--trust", "trust"]);
    rename(&home, "unplugged", "second");
    let back = home.ok(&["keys", "mirror"]);
    assert!(back.out.contains("replicas 2/2"), "{}", back.out);
    home.ok(&["subject", "receipt", &job, "--out", "whole.receipt"]);
    let whole = home.read("whole.receipt");
    assert!(whole.contains("replicas 2/2\n") && whole.contains("\nfinal "), "{whole}");
    assert_eq!(home.ok(&["verify", "whole.receipt", "--trust", "trust"]).code, 0);
    assert!(!home.ok(&["verify", "--trust", "trust"]).out.contains("ERASURE_PARTIAL"));
}

#[test]
fn giving_a_mirror_up_takes_two_people_and_leaves_an_entry() {
    let home = mirrored();
    let size = |home: &Home| home.ok(&["--json", "checkpoint"]).json()["size"].as_u64().unwrap();
    let before = size(&home);
    let forget = ["-q", "keys", "mirror", "--forget"];
    assert_eq!(home.run(&forget).code, 2);
    assert_eq!(home.run(&with(&forget, &["--requested-by", "dana"])).code, 2);
    assert_eq!(home.run(&with(&forget, &["--approved-by", "omar"])).code, 2);
    assert_eq!(home.run(&with(&["-q", "keys", "mirror"], &BY_TWO)).code, 2, "only with --forget");
    let same = ["--requested-by", "dana", "--approved-by", "DANA"];
    home.fails(&with(&forget, &same), 1, "TWO_PEOPLE");
    let alone = ["--requested-by", "dana", "--single-operator"];
    home.fails(&with(&forget, &alone), 1, "TWO_PEOPLE");
    assert_eq!(size(&home), before, "a refusal leaves nothing");
    let gone = home.ok(&with(&["--json", "keys", "mirror", "--forget"], &BY_TWO)).json();
    assert_eq!((&gone["forgotten"], &gone["index"]), (&true.into(), &before.into()));
    let entry = home.ok(&["--json", "show", &before.to_string()]).json();
    assert_eq!(entry["clear"]["what"], "mirror-forgotten");
    assert_eq!(entry["clear"]["mode"], "two-person");
    let fields = entry["fields"].as_array().unwrap();
    let names: Vec<&str> = fields.iter().filter_map(|field| field["name"].as_str()).collect();
    assert_eq!(names, ["order.approved_by", "order.requested_by"]);
    assert!(has(&doctor(&home, "weak"), "KEYS_SINGLE_COPY"));
    let again = home.ok(&with(&["--json", "keys", "mirror", "--forget"], &BY_TWO)).json();
    assert_eq!((&again["forgotten"], &again["index"]), (&false.into(), &().into()));
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["verify", "--trust", "trust"]);
    // What it lacks from here on nobody restores unasked, and it is not taken again as it is.
    home.write("more", MORE);
    home.ok(&["append", "more", "--source", "ehr"]);
    home.fails(&["-q", "keys", "mirror"], 3, "KEYS_MIRROR_IN_USE");
    rename(&home, "keys", "lost");
    home.fails(&["-q", "keys", "restore", "--from-mirror"], 1, "KEYS_MIRROR_STALE");
}

const MORE: &str = r#"{"id":"e7","time":"2026-11-21T05:00:07Z","source_seq":7,"actor":{"id":"n7","type":"user"},"action":"user.login","outcome":"denied","severity":5}
"#;

#[test]
fn a_lost_key_disk_is_restored_from_its_mirror_and_the_erased_stay_erased() {
    let home = mirrored();
    home.ok(&["keys", "trust", "--out", "trust"]);
    erase(&home, "patient_id:P1", "receipt");
    home.ok(&["keys", "export-ledger", "--out", "ledger"]);
    home.fails(&["-q", "keys", "restore", "--from-mirror"], 1, "KEYS_PRIMARY_WHOLE");
    assert_eq!(home.run(&["keys", "restore"]).code, 2);
    std::fs::remove_dir_all(home.path().join("keys")).unwrap();
    home.fails(&["-q", "doctor"], 3, "KEYS_PRIMARY_LOST");
    let back = home.ok(&["-q", "--json", "keys", "restore", "--from-mirror"]).json();
    assert_eq!(back["generation"], 2);
    let open = ["--ledger", "ledger", "query", "kind=event", "--open", "--purpose", "drill"];
    let read = home.ok(&with(&open, &["--by", "dana"])).out;
    assert!(read.contains("n2") && !read.contains("Quellmalz"), "{read}");
    let checked = home.ok(&["--json", "--ledger", "ledger", "verify", "--trust", "trust"]).json();
    assert_eq!(checked["verdict"], "verified");
    assert_eq!(checked["bodies"]["fates"]["erased"], 1, "{checked}");
    assert!(has(&doctor(&home, "good"), "KEYS_REPLICAS"));
    // The mirror from before the erasure is no way back.
    let home = mirrored();
    let args = ["-a", "second", "second.old"];
    let copied = std::process::Command::new("cp").current_dir(home.path()).args(args).status();
    assert!(copied.unwrap().success());
    erase(&home, "patient_id:P1", "receipt");
    std::fs::remove_dir_all(home.path().join("keys")).unwrap();
    std::fs::remove_dir_all(home.path().join("second")).unwrap();
    rename(&home, "second.old", "second");
    for accept in [&[][..], &["--accept-loss"]] {
        let args = with(&["-q", "keys", "restore", "--from-mirror"], accept);
        home.fails(&args, 1, "ROOT_GEN_ROLLBACK");
    }
}

#[test]
fn the_log_key_is_handed_over_by_two_and_old_trust_follows_it() {
    let home = Home::filled();
    home.ok(&["keys", "trust", "--out", "old.trust"]);
    home.ok(&["checkpoint", "--out", "old.note"]);
    let roll = ["keys", "roll-log"];
    assert_eq!(home.run(&roll).code, 2);
    assert_eq!(home.run(&with(&roll, &["--requested-by", "dana"])).code, 2);
    let same = ["--requested-by", "dana", "--approved-by", "dana"];
    home.fails(&with(&roll, &same), 1, "TWO_PEOPLE");
    let rolled = home.ok(&with(&["--json", "keys", "roll-log"], &BY_TWO)).json();
    let shown = home.ok(&["--json", "keys", "show"]).json();
    assert_eq!(shown["log_key"], rolled["new"]);
    assert_ne!(rolled["new"], rolled["old"]);
    // Both keys signed the checkpoint of that size; the next one is the new key's alone.
    home.ok(&["verify", "--trust", "old.trust"]);
    home.write("more", MORE);
    home.ok(&["append", "more", "--source", "ehr"]);
    let unknown = home.run(&["verify", "--trust", "old.trust"]);
    assert_eq!(unknown.code, 4, "{}", unknown.out);
    assert!(unknown.out.contains("UNTRUSTED_KEY checkpoint: no pinned key"), "{}", unknown.out);
    assert!(unknown.out.contains("INCONCLUSIVE"), "{}", unknown.out);
    home.ok(&["keys", "trust", "--follow", "old.trust", "--out", "new.trust"]);
    home.ok(&["verify", "--trust", "new.trust", "--since", "old.note"]);
    home.ok(&["verify", "chancery-data", "--trust", "new.trust"]);
    home.ok(&["prove", "inclusion", "1", "--out", "new.proof"]);
    home.ok(&["verify", "new.proof", "--trust", "new.trust"]);
    assert_eq!(home.run(&["verify", "new.proof", "--trust", "old.trust"]).code, 4);
    // A policy of another log follows nothing of this one.
    let other = Home::filled();
    let theirs = other.ok(&["keys", "trust"]).out;
    home.write("their.trust", &theirs);
    let follow = ["keys", "trust", "--follow", "their.trust", "--out", "x"];
    home.fails(&follow, 1, "UNTRUSTED_KEY");
    assert!(!home.path().join("x").exists());
}

#[test]
fn the_key_tree_is_rewritten_and_nothing_else_changes() {
    let home = Home::filled();
    erase(&home, "patient_id:P1", "receipt");
    let shown = home.ok(&["--json", "keys", "show"]).json();
    let done = home.ok(&["--json", "keys", "compact"]).json();
    let (before, after) = (&done["bytes_before"], &done["bytes_after"]);
    assert!(before.as_u64() > after.as_u64(), "{done}");
    let now = home.ok(&["--json", "keys", "show"]).json();
    for key in ["generation", "root_hash", "cells", "log_key"] {
        assert_eq!(shown[key], now[key], "{key}");
    }
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["verify", "--trust", "trust"]);
}
