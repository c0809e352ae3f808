//! Catalogues and manifests refuse what they must.

use crate::report::fixture::{CATALOGUE, report, sound};
use chancery::base::id::PersonId;
use chancery::base::secret::Key;
use chancery::crypto::sign::SigningKey;
use chancery::format::checkpoint::Checkpoint;
use chancery::format::note;
use chancery::format::trust::Trust;
use chancery::format::vkey::{Algorithm, Signer};
use chancery::report::catalogue::parse;
use chancery::report::evidence::pseudonym;
use chancery::report::files;
use chancery::report::manifest::{Manifest, ManifestError, verify};

#[test]
fn catalogues_are_refused_with_their_line() {
    let check = |from: &str, to: &str, code: &str, line: usize| {
        let text = CATALOGUE.replacen(from, to, 1);
        assert_ne!(text, CATALOGUE, "{from}");
        let error = parse(&text).unwrap_err();
        assert_eq!((error.code, error.line), (code, line), "{error}");
    };
    check("rule = \"retention_overdue\"", "rule = \"guess\"", "CATALOGUE_RULE", 18);
    check("late_days = 1", "late_hours = 1", "CATALOGUE_THRESHOLD", 19);
    check("thresholds = { late_days = 1 }", "", "CATALOGUE_THRESHOLD", 18);
    check("late_days = 1", "late_days = -1", "CATALOGUE_SYNTAX", 19);
    check("\"class-day\", \"class\"", "\"class\"", "CATALOGUE_EVIDENCE", 20);
    check("id = \"GDPR-17\"", "id = \"GDPR-5.1.e\"", "CATALOGUE_ID_TWICE", 25);
    check("id = \"GDPR-17\"", "id = \"../x\"", "CATALOGUE_ID", 25);
    check("effective = \"2018-05-25\"", "effective = \"2018-02-30\"", "CATALOGUE_DATE", 8);
    check("framework = \"gdpr\"", "framework = \"GD PR\"", "CATALOGUE_FRAMEWORK", 5);
    check("version = \"1\"", "version = \"1 x\"", "CATALOGUE_VERSION", 7);
    check("title = \"GDPR evidence report\"", "titel = \"x\"", "CATALOGUE_SYNTAX", 6);
    check(
        "[[control]]",
        "[[control]]\nnot_applicable = { reason = \" \", approver = \"x\" }",
        "CATALOGUE_NOT_APPLICABLE",
        12,
    );
    check("[[control]]", "[[control]]\nuntil = \"2018-05-25\"", "CATALOGUE_DATE", 12);
    let empty = CATALOGUE
        .split("[[control]]")
        .next()
        .unwrap()
        .replace("[catalogue]", "control = []\n[catalogue]");
    assert_eq!(parse(&empty).unwrap_err().code, "CATALOGUE_EMPTY");
}

fn signer(name: &str, seed: u8) -> Signer {
    Signer::new(name, Algorithm::Ed25519, SigningKey::new(&Key::new([seed; 32]))).unwrap()
}

struct Signed {
    note: String,
    files: Vec<(String, Vec<u8>)>,
    trust: Trust,
}

fn signed() -> Signed {
    let report = report(&sound());
    let files = files(&report).unwrap();
    let log = signer("vault.example/t/07070707070707070707070707070707", 1);
    let key = signer("vault.example/r/07070707070707070707070707070707", 2);
    let note = Manifest::of(&report, &files).sign(&key).unwrap();
    let trust = Trust::of(&[log.verifier().clone()], &[key.verifier().clone()]).unwrap();
    Signed { note, files, trust }
}

fn verdict(s: &Signed) -> &'static str {
    let files: Vec<(&str, &[u8])> =
        s.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    match verify(s.note.as_bytes(), &s.trust, &files) {
        Ok(_) => "ok",
        Err(error) => error.verdict(),
    }
}

#[test]
fn manifests_tell_what_was_changed() {
    let check = |expect: &str, bend: &dyn Fn(&mut Signed)| {
        let mut s = signed();
        bend(&mut s);
        assert_eq!(verdict(&s), expect);
    };
    check("ok", &|_| ());
    check("ok", &|s| s.files.reverse());
    check("REPORT_FILE_CHANGED", &|s| s.files[0].1[9] ^= 1);
    check("REPORT_FILE_CHANGED", &|s| s.files[0].1.push(0));
    check("REPORT_FILE_MISSING", &|s| drop(s.files.pop()));
    check("REPORT_FILE_UNLISTED", &|s| s.files.push(("tables/more.csv".into(), vec![1])));
    check("REPORT_FILE_UNLISTED", &|s| s.files.push(s.files[0].clone()));
    check("REPORT_SIGNATURE", &|s| s.note = s.note.replace("generation 41", "generation 42"));
    check("REPORT_SIGNATURE", &|s| s.note = s.note.replace("exception 0", "exception 1"));
    check("REPORT_SIGNATURE", &|s| s.note.push('x'));
    check("REPORT_SIGNATURE", &|s| {
        s.trust = Trust::of(
            &[],
            &[signer("vault.example/r/07070707070707070707070707070707", 3).verifier().clone()],
        )
        .unwrap();
    });
    // A log key may not sign reports.
    check("REPORT_SIGNATURE", &|s| {
        let log = signer("vault.example/t/07070707070707070707070707070707", 1);
        let manifest = Manifest::of(&report(&sound()), &s.files);
        s.note = manifest.sign(&log).unwrap();
    });
    check("REPORT_ORIGIN", &|s| {
        let (log, key) = (
            signer("other.example/log", 1),
            signer("vault.example/r/07070707070707070707070707070707", 2),
        );
        s.trust = Trust::of(&[log.verifier().clone()], &[key.verifier().clone()]).unwrap();
    });
    // Another vault's report key is pinned too: it may not sign for this one.
    check("REPORT_ORIGIN", &|s| {
        let logs = [
            signer("vault.example/t/07070707070707070707070707070707", 1).verifier().clone(),
            signer("other.example/t/08080808080808080808080808080808", 4).verifier().clone(),
        ];
        let ours = signer("vault.example/r/07070707070707070707070707070707", 2);
        let other = signer("other.example/r/08080808080808080808080808080808", 3);
        s.trust = Trust::of(&logs, &[ours.verifier().clone(), other.verifier().clone()]).unwrap();
        s.note = Manifest::of(&report(&sound()), &s.files).sign(&other).unwrap();
    });
    // A report key alone says nothing about which log is meant.
    check("REPORT_ORIGIN", &|s| {
        let key = signer("vault.example/r/07070707070707070707070707070707", 2);
        s.trust = Trust::of(&[], &[key.verifier().clone()]).unwrap();
    });
    // Signed by the right key, but not a manifest.
    check("REPORT_MALFORMED", &|s| {
        let key = signer("vault.example/r/07070707070707070707070707070707", 2);
        let text = "vault.example/t/07070707070707070707070707070707/report/v1\nid 00\n";
        s.note = note::sign(text, &[&key]).unwrap();
    });
}

#[test]
fn manifests_are_read_strictly() {
    let text = Manifest::of(&report(&sound()), &signed().files).text();
    let manifest = Manifest::parse(&text).unwrap();
    assert_eq!(manifest.text(), text);
    assert_eq!(manifest.files.len(), signed().files.len());
    let check = |from: &str, to: &str| {
        let bent = text.replacen(from, to, 1);
        assert_ne!(bent, text, "{from}");
        assert!(matches!(Manifest::parse(&bent), Err(ManifestError::Malformed { .. })), "{to}");
    };
    check("generation 41", "generation 041");
    check("status supported 5", "status supported +5");
    check("/report/v1", "/report/v2");
    check("entries ", "extra 1\nentries ");
    check("report.json", "../report.json");
    check("report.json", "/report.json");
    check("tables/", "tables/./");
    check("kind gdpr 1 ", "kind gdpr 1  ");
    assert!(Manifest::parse(&format!("{text}\n")).is_err());
    assert!(Manifest::parse(text.trim_end()).is_err());
    assert!(Manifest::parse("").is_err());
    let lines: Vec<&str> = text.lines().collect();
    for n in 0..lines.len() {
        let cut: Vec<&str> =
            lines.iter().enumerate().filter(|(i, _)| *i != n).map(|(_, l)| *l).collect();
        let cut = cut.join("\n") + "\n";
        let file = lines[n].starts_with("file ");
        assert_eq!(Manifest::parse(&cut).is_ok(), file, "without line {n}");
    }
}

#[test]
fn a_manifest_that_nobody_could_read_is_not_signed() {
    let mut report = report(&sound());
    report.naming.origin = "vault.example\nid x".into();
    let manifest = Manifest::of(&report, &[("report.pdf".into(), vec![1])]);
    assert!(manifest.sign(&signer("vault.example/r/07070707070707070707070707070707", 2)).is_err());
}

#[test]
fn a_manifest_is_never_a_checkpoint() {
    let s = signed();
    let key = signer("vault.example/r/07070707070707070707070707070707", 2);
    assert!(Checkpoint::open(s.note.as_bytes(), key.verifier()).is_err());
    let text = s.note.split("\n\n").next().unwrap();
    assert!(Checkpoint::parse(&format!("{text}\n")).is_err());
    assert!(Checkpoint::parse_foreign(&format!("{text}\n")).is_err());
    assert!(s.trust.open_checkpoint(s.note.as_bytes()).is_err());
}

#[test]
fn pseudonyms_hold_in_one_report_only() {
    let person = PersonId([3; 16]);
    assert_eq!(pseudonym(&[1; 16], &person), pseudonym(&[1; 16], &person));
    assert_ne!(pseudonym(&[1; 16], &person), pseudonym(&[2; 16], &person));
    assert_ne!(pseudonym(&[1; 16], &person), pseudonym(&[1; 16], &PersonId([4; 16])));
    assert_eq!(pseudonym(&[1; 16], &person).len(), 14);
}
