//! Attack 45 from the shell: whatever the program writes or says about somebody, searched for
//! them. Exports and the report's directory are searched on their own, pages of the PDF unpacked.

use crate::cli::binary::{BY_TWO, Home, with};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What stands for the person: identifiers, a name in free text.
const WORDS: [&str; 3] = ["canary-xq7", "Quellmalz", "4711-08-15"];

const EVENTS: &str = r#"{"id":"e1","source_seq":1,"actor":{"id":"n1","type":"user"},"action":"record.open","category":"data","verb":"read","outcome":"success","severity":3,"subjects":[{"role":"target","identifiers":[{"kind":"patient_id","value":"4711-08-15"},{"kind":"email","value":"canary-xq7@mail.example"}]}],"message":"Frau Quellmalz, bed 4","data":{"note":"Quellmalz asked for canary-xq7"}}
{"id":"e2","source_seq":2,"actor":{"id":"n2","type":"user"},"action":"user.login","outcome":"denied","severity":5}
"#;
/// The same number again with other words, no JSON, a wrong field, a wrong kind of identifier.
const WRONG: [&str; 4] = [
    r#"{"id":"e1","source_seq":1,"actor":{"id":"n1","type":"user"},"action":"record.open","data":{"note":"Quellmalz"}}"#,
    r#"{"id":"e3","source_seq":3,"note": Quellmalz canary-xq7}"#,
    r#"{"id":"e4","source_seq":4,"actor":{"id":"n1","type":"canary-xq7"},"action":"Quellmalz","outcome":"Quellmalz","time":"canary-xq7"}"#,
    r#"{"id":"e5","source_seq":5,"actor":{"id":"n1","type":"user"},"action":"user.login","subjects":[{"role":"target","identifiers":[{"kind":"canary-xq7","value":"Quellmalz"}]}]}"#,
];

/// Every form of the words that a file could hold them in.
fn needles() -> Vec<(&'static str, Vec<u8>)> {
    let mut needles = Vec::new();
    for word in WORDS {
        let hex: String = word.bytes().map(|byte| format!("{byte:02x}")).collect();
        let wide: Vec<u8> = word.encode_utf16().flat_map(u16::to_be_bytes).collect();
        // Base64 of the word wherever it begins within three bytes; the edges depend on neighbours.
        for lead in 0..3 {
            let text = STANDARD.encode([&b"abc"[..lead], word.as_bytes()].concat());
            let from = if lead == 0 { 0 } else { 4 };
            let inner = &text[from..text.trim_end_matches('=').len() - 2];
            needles.push((word, inner.as_bytes().to_vec()));
        }
        needles.extend([word.as_bytes().to_vec(), hex.into_bytes(), wide].map(|n| (word, n)));
    }
    needles
}

fn found(bytes: &[u8]) -> Option<&'static str> {
    let lower = bytes.to_ascii_lowercase();
    let has = |hay: &[u8], needle: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
    let hit = |(_, needle): &&(&str, Vec<u8>)| {
        has(bytes, needle) || has(&lower, &needle.to_ascii_lowercase())
    };
    needles().iter().find(hit).map(|(word, _)| *word)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let (mut todo, mut files) = (vec![dir.to_owned()], Vec::new());
    while let Some(path) = todo.pop() {
        match path.is_dir() {
            true => todo.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path())),
            false => files.push(path),
        }
    }
    files
}

/// The streams of a PDF, unpacked, one behind the other.
fn pages(pdf: &[u8]) -> Vec<u8> {
    let (mut text, mut at, mut unpacked) = (Vec::new(), 0, 0);
    let find = |needle: &[u8], from: usize| {
        pdf[from..].windows(needle.len()).position(|w| w == needle).map(|found| from + found)
    };
    while let Some(start) = find(b"stream\n", at) {
        let end = find(b"endstream", start).unwrap();
        let mut page = Vec::new();
        let mut packed = flate2::read::ZlibDecoder::new(&pdf[start + 7..end]);
        unpacked += usize::from(packed.read_to_end(&mut page).is_ok());
        text.extend(page);
        at = end + 9;
    }
    assert!(unpacked > 3, "{unpacked} streams could be unpacked");
    text
}

/// Searches a file or a directory; gives how many files there were.
fn search(path: &Path) -> usize {
    let files = files(path);
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        assert_eq!(found(&bytes), None, "{}", file.display());
        if file.extension().is_some_and(|e| e == "pdf") {
            assert_eq!(found(&pages(&bytes)), None, "pages of {}", file.display());
        }
    }
    files.len()
}

/// Runs it, whatever comes of it: nothing that it says names the person.
fn says_nothing(home: &Home, args: &[&str]) {
    let ran = home.run(args);
    for text in [&ran.out, &ran.err] {
        assert_eq!(found(text.as_bytes()), None, "{args:?} said: {text}");
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let encoded = STANDARD.encode("xx canary-xq7 yy");
    for text in ["a Canary-XQ7", "63616e6172792d787137", &encoded] {
        assert_eq!(found(text.as_bytes()), Some("canary-xq7"), "{text}");
    }
    assert_eq!(found(b"a canary"), None);
}

#[test]
fn attack_45_nothing_written_or_said_names_the_person() {
    let home = Home::new();
    home.ok(&["init", "--name", "vault.example"]);
    let inputs = tempfile::tempdir().unwrap();
    let events = inputs.path().join("events");
    std::fs::write(&events, EVENTS).unwrap();
    home.ok(&["append", events.to_str().unwrap(), "--source", "ehr"]);
    for (number, wrong) in WRONG.iter().enumerate() {
        let file = inputs.path().join(format!("wrong{number}"));
        std::fs::write(&file, wrong).unwrap();
        for more in [&[][..], &["--partial"], &["--json"]] {
            says_nothing(
                &home,
                &with(&["append", file.to_str().unwrap(), "--source", "ehr"], more),
            );
        }
    }
    for format in ["cef", "leef"] {
        let out = format!("before.{format}");
        home.ok(&["export", format, "--destination", "soc", "--out", &out]);
        search(&home.path().join(out));
    }
    home.ok(&["report", "gdpr", "--by", "dpo", "--out", "report-before"]);
    assert!(search(&home.path().join("report-before")) > 5);
    let who = inputs.path().join("who");
    std::fs::write(&who, "patient_id:4711-08-15\n").unwrap();
    let who = format!("@{}", who.display());
    home.ok(&["prove", "--code", "data.read", "--out", "reads.answer"]);
    let erase = ["subject", "erase", &who, "--basis", "gdpr-17-1", "--receipt", "receipt"];
    says_nothing(&home, &with(&erase, &BY_TWO));
    says_nothing(&home, &with(&["subject", "erase", &who, "--basis", "b"], &BY_TWO));
    for args in [
        &["subject", "preview", &who][..],
        &["hold", "set", "--case", "c", "--subject", &who, "--requested-by", "a"],
        &["subject", "preview", "email:canary-xq7@mail.example"],
        &["query", "actor.email=canary-xq7"],
        &["query", "--subject", "email:canary-xq7@mail.example"],
        &["query", "severity=Quellmalz"],
        &["show", "canary-xq7"],
        &["query", "--open", "--purpose", "p", "--by", "b"],
        &["query", "--json"],
        &["doctor"],
        &["verify"],
        &["scrub"],
        &["keys", "show"],
        &["keys", "export-ledger"],
        &["subject", "status", "--all"],
    ] {
        says_nothing(&home, args);
    }
    for format in ["cef", "leef"] {
        let out = format!("after.{format}");
        home.ok(&["export", format, "--destination", "soc", "--out", &out]);
        search(&home.path().join(out));
    }
    home.ok(&["report", "gdpr", "--by", "dpo", "--out", "report-after"]);
    assert!(search(&home.path().join("report-after")) > 5);
    // And everything at once: data, keys, index, receipt, answers, exports, reports.
    assert!(search(home.path()) > 30);
}
