//! Completeness from the shell: the vault writes a file, somebody with a trust file and that file
//! alone, in another directory, checks it.

use crate::cli::binary::{Home, Ran};
use std::path::Path;
use std::process::Command;

const TO_COURT: [&str; 6] =
    ["--recipient", "district court", "--purpose", "order 4 C 118/26", "--by", "dana"];

/// A directory with nothing in it but what was handed out.
struct Outsider {
    dir: tempfile::TempDir,
}

impl Outsider {
    fn given(home: &Home, files: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::copy(home.path().join(file), dir.path().join(file)).unwrap();
        }
        Outsider { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn verify(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chancery"));
        command.current_dir(self.path()).arg("verify").args(args);
        for name in ["CHANCERY_HOME", "CHANCERY_TENANT", "NO_COLOR"] {
            command.env_remove(name);
        }
        Ran::of(command.output().unwrap())
    }
}

#[test]
fn what_is_handed_out_is_complete_and_an_outsider_sees_it() {
    let home = Home::filled();
    home.ok(&["keys", "trust", "--out", "trust"]);
    let all = ["prove", "--range", "0..5", "--out", "all.range"];
    assert!(home.ok(&all).out.starts_with("PROVED 5 of entries 0 to 5"));
    home.ok(&["prove", "--code", "data.read", "--out", "reads.answer"]);
    home.ok(&["prove", "--code", "key.rotate", "--out", "none.answer"]);
    home.ok(&["prove", "--source", "ehr", "--out", "ehr.answer"]);
    home.ok(&["prove", "--from", "2026-01-01", "--out", "year.range"]);
    home.ok(&["prove", "--from", "2020-01-01", "--to", "2020-02-01", "--out", "before.range"]);
    home.write("who", "patient_id:P1\n");
    let about = ["prove", "--subject", "@who", "--out", "p1.answer"];
    let made = home.ok(&[&about[..], &TO_COURT].concat());
    assert!(made.out.contains("PROVED 1 of entries") && made.out.contains("Recorded by entry"));
    assert!(!made.out.contains("P1"), "{}", made.out);
    let files = [
        "all.range",
        "reads.answer",
        "none.answer",
        "ehr.answer",
        "year.range",
        "before.range",
        "p1.answer",
    ];
    let out = Outsider::given(&home, &[&files[..], &["trust"]].concat());
    for (file, says) in [
        ("all.range", "every entry from 0 to 5 (5), none left out"),
        ("reads.answer", "1 entry with code data.read, complete for entries 0 to"),
        ("none.answer", "no entry with code key.rotate in entries 0 to"),
        ("ehr.answer", "3 entries with source ehr, complete for entries"),
        ("year.range", "both cuts are shown"),
        ("before.range", "no entry has a log time in the window"),
        ("p1.answer", "all that patient_id:P1 has in this log is one tag"),
    ] {
        let ran = out.verify(&[file, "--trust", "trust"]);
        assert_eq!(ran.code, 0, "{file}: {}{}", ran.out, ran.err);
        assert!(ran.out.starts_with("VERIFIED") && ran.out.contains(says), "{file}: {}", ran.out);
        let alone = out.verify(&[file]);
        assert_eq!(alone.code, 4, "{file}: {}", alone.out);
        assert!(alone.out.contains("signer unknown"), "{}", alone.out);
        let json = out.verify(&["--json", file, "--trust", "trust"]);
        assert_eq!(json.json()["verdict"], "verified", "{file}");
        // One byte of an entry.
        let mut bytes = std::fs::read(out.path().join(file)).unwrap();
        let at = bytes.len() - 100;
        bytes[at] ^= 1;
        std::fs::write(out.path().join("bad"), &bytes).unwrap();
        let ran = out.verify(&["bad", "--trust", "trust"]);
        assert_eq!(ran.code, 1, "{file}: {}", ran.out);
        std::fs::write(out.path().join("bad"), &bytes[..at]).unwrap();
        let ran = out.verify(&["bad", "--trust", "trust"]);
        assert!(ran.code == 1 && ran.out.starts_with("MALFORMED"), "{file}: {}", ran.out);
    }
    // The person's file was recorded, and by whom is sealed.
    let log = home.ok(&["query", "kind=disclose", "--count"]);
    assert!(log.out.starts_with("1 "), "{}", log.out);
    std::fs::write(out.path().join("new"), "chancery/range/v2\nmore").unwrap();
    let ran = out.verify(&["new", "--trust", "trust"]);
    assert!(ran.code == 4 && ran.out.starts_with("STORE_TOO_NEW"), "{}", ran.out);
    let ran = out.verify(&["all.range", "--trust", "trust", "--replay-seals", "all"]);
    assert_eq!(ran.code, 4, "no epoch is whole: nothing was replayed: {}", ran.out);
    // What was asked for and cannot be done is not passed over.
    for file in ["p1.answer", "trust"] {
        let ran = out.verify(&[file, "--trust", "trust", "--replay-seals", "all"]);
        assert_eq!(ran.code, 2, "{file}: {}{}", ran.out, ran.err);
    }
    let ran = out.verify(&["all.range", "--trust", "trust", "--since", "trust"]);
    assert!(ran.code == 0 && ran.err.contains("SINCE_IGNORED"), "{}{}", ran.out, ran.err);
}

#[test]
fn what_cannot_be_proved_is_refused_and_leaves_no_file() {
    let home = Home::filled();
    let gone = |name: &str| assert!(!home.path().join(name).exists(), "{name} was left");
    home.fails(&["prove", "--range", "0..900", "--out", "x"], 1, "ENTRY_UNKNOWN");
    home.fails(&["prove", "--epoch", "0", "--out", "x"], 1, "EPOCH_UNSEALED");
    home.fails(&["prove", "--code", "data.read", "--sealed", "--out", "x"], 1, "EPOCH_UNSEALED");
    home.fails(&["prove", "--source", "nobody", "--out", "x"], 1, "FILTER_SOURCE_UNKNOWN");
    let stranger = ["prove", "--subject", "patient_id:nobody", "--out", "x"];
    home.fails(&[&stranger[..], &TO_COURT].concat(), 1, "SUBJECT_UNKNOWN");
    gone("x");
    for args in [
        &["prove"][..],
        &["prove", "--out", "x"],
        &["prove", "--range", "5..5", "--out", "x"],
        &["prove", "--range", "0..2"],
        &["prove", "--subject", "patient_id:P1", "--out", "x"],
        &["prove", "--code", "data.nothing", "--out", "x"],
        &["prove", "--code", "data.read", "--source", "ehr", "--out", "x"],
        &["prove", "--range", "0..2", "--from", "2026-01-01", "--out", "x"],
        &["prove", "--epoch", "0", "--code", "data.read", "--out", "x"],
        &["verify", "x", "--replay-seals", "0%"],
        &["verify", "x", "--seed", "dice"],
    ] {
        assert_eq!(home.run(args).code, 2, "{args:?}");
    }
    gone("x");
    home.write("x", "mine");
    home.fails(&["prove", "--range", "0..2", "--out", "x"], 2, "FILE_EXISTS");
    // A window that is not over says so, and is closed by its own record.
    let window = ["prove", "--from", "2026-01-01", "--to", "2500-01-01", "--out", "open.range"];
    let made = home.ok(&window);
    assert!(made.out.contains("RANGE_OPEN_END"), "{}", made.out);
    home.ok(&["keys", "trust", "--out", "trust"]);
    let ran = home.run(&["verify", "open.range", "--trust", "trust"]);
    assert!(ran.code == 4 && ran.out.starts_with("RANGE_OPEN_END"), "{}", ran.out);
}

#[test]
fn an_export_is_checked_by_its_manifest_and_the_files_beside_it() {
    let home = Home::filled();
    home.ok(&["keys", "trust", "--out", "trust"]);
    home.ok(&["export", "cef", "--out", "day.cef"]);
    let verify = ["--json", "verify", "day.cef.manifest.note", "--trust", "trust"];
    let found = home.ok(&verify).json();
    assert_eq!(
        (&found["kind"], &found["verdict"]),
        (&"export manifest".into(), &"verified".into())
    );
    assert_eq!(home.run(&["verify", "day.cef.manifest.note"]).code, 4, "nobody is pinned");
    let expect = |exit: i32, verdict: &str| {
        let ran = home.run(&verify);
        assert_eq!((ran.code, &ran.json()["verdict"]), (exit, &verdict.into()));
    };
    for name in ["day.cef", "day.cef.manifest.jsonl"] {
        let text = home.read(name);
        home.write(name, &format!("{text}x"));
        expect(1, "EXPORT_FILE_CHANGED");
        std::fs::remove_file(home.path().join(name)).unwrap();
        expect(1, "EXPORT_FILE_MISSING");
        home.write(name, &text);
    }
    let note = home.read("day.cef.manifest.note");
    home.write(
        "day.cef.manifest.note",
        &note.replace("\"preset\":\"tokens\"", "\"preset\":\"named\""),
    );
    expect(1, "BAD_SIGNATURE");
    home.write("day.cef.manifest.note", &note);
    home.ok(&["export", "cef", "kind=conflict", "--out", "none.cef"]);
    let none = home.run(&["--json", "verify", "none.cef.manifest.note", "--trust", "trust"]);
    assert_eq!((none.code, &none.json()["verdict"]), (4, &"INCONCLUSIVE".into()));
}

/// `chancery verify ... | head -1` says no less than without `head`.
#[test]
fn a_verdict_stands_though_its_reader_has_gone() {
    let home = Home::filled();
    home.ok(&["keys", "trust", "--out", "trust"]);
    let unread = |args: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        home.command(args).stdout(writer).status().unwrap().code()
    };
    assert_eq!(unread(&["verify", "--trust", "trust"]), Some(0));
    assert_eq!(unread(&["verify", "--no-bodies"]), Some(4));
    assert_eq!(unread(&["verify", "events", "--trust", "trust"]), Some(1));
    home.ok(&["prove", "inclusion", "0", "--out", "proof"]);
    home.write("proof", &home.read("proof").replacen("index 0", "index 1", 1));
    assert_eq!(unread(&["verify", "proof", "--trust", "trust"]), Some(1));
    assert_eq!(unread(&["query"]), Some(0));
}
