//! Same inputs give same bytes; the PDF and the CSV say what the model says.

use crate::report::fixture::{report, sound, sound_with, troubled};
use chancery::crypto::hash::sha256;
use chancery::report::model::{Block, Column, Report, Style, Table};
use chancery::report::{csv, files, pdf};
use lopdf::{Document, Object};
use std::collections::BTreeMap;

#[test]
fn same_inputs_give_same_bytes() {
    for world in [sound(), troubled()] {
        let first = files(&report(&world)).unwrap();
        let again = files(&report(&world)).unwrap();
        assert_eq!(first.len(), again.len());
        for ((name, bytes), (_, other)) in first.iter().zip(&again) {
            assert!(bytes == other, "{name} differs");
        }
    }
    let mut other = sound();
    other.facts.nonce = [1; 16];
    assert_ne!(report(&other).id, report(&sound()).id);
}

fn golden(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path.join(name), found).unwrap();
    }
    let expected = std::fs::read_to_string(path.join(name)).unwrap();
    assert!(expected == found, "{name} changed: run with UPDATE=1 and look at the difference");
}

/// Catches a change of any byte, here or in a library, in another process or on another machine.
#[test]
fn bytes_equal_the_golden_ones() {
    let report = report(&troubled());
    let files = files(&report).unwrap();
    let mut hashes = String::new();
    for (name, bytes) in &files {
        let hash = sha256(&[bytes]);
        hashes.push_str(&format!("{hash} {} {name}\n", bytes.len()));
    }
    let json = files.iter().find(|(name, _)| name == "report.json").unwrap();
    golden("report.json", std::str::from_utf8(&json.1).unwrap());
    golden("files.txt", &hashes);
}

/// Text of each page, by the fonts' own maps back to characters.
fn pages(bytes: &[u8]) -> Vec<String> {
    let doc = Document::load_mem(bytes).unwrap();
    doc.get_pages().keys().map(|n| doc.extract_text(&[*n]).unwrap()).collect()
}

/// Text without its spaces and line ends: lines break anywhere.
fn squeeze(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn pdf_of(report: &Report) -> Vec<u8> {
    pdf::write(report, &report.json()).unwrap()
}

#[test]
fn the_pdf_says_what_the_model_says() {
    let report = report(&troubled());
    let pages = pages(&pdf_of(&report));
    let text = squeeze(&pages.concat());
    for control in &report.controls {
        assert!(text.contains(&squeeze(&control.title)), "{}", control.id);
        for reason in &control.reasons {
            assert!(text.contains(&squeeze(&reason.text)), "{}", reason.text);
        }
    }
    for table in report.tables() {
        assert!(text.contains(&squeeze(&table.title)));
        for (key, value) in &table.ipe {
            assert!(text.contains(&squeeze(value)), "{} {key}", table.id);
        }
    }
    let total = pages.len();
    for (n, page) in pages.iter().enumerate() {
        let squeezed = squeeze(page);
        assert!(squeezed.contains(&format!("page{}of{total}", n + 1)));
        assert!(squeezed.contains(&format!("report{}", report.id)));
        assert!(!page.contains('\u{fffd}'));
    }
    assert!(!text.to_lowercase().contains("compliant"));
}

#[test]
fn the_pdf_is_put_right_after_printpdf() {
    let report = report(&sound());
    let json = report.json();
    let bytes = pdf::write(&report, &json).unwrap();
    assert!(bytes.starts_with(b"%PDF-1.7"));
    let doc = Document::load_mem(&bytes).unwrap();
    let catalog = doc.catalog().unwrap();
    assert_eq!(catalog.get(b"PageMode").unwrap().as_name().unwrap(), b"UseOutlines");
    assert_eq!(catalog.get(b"Lang").unwrap().as_str().unwrap(), b"en");
    assert!(catalog.get(b"OutputIntents").is_err());
    let info = doc.trailer.get(b"Info").unwrap().as_reference().unwrap();
    let info = doc.get_dictionary(info).unwrap();
    let mut keys: Vec<&[u8]> = info.iter().map(|(key, _)| key.as_slice()).collect();
    keys.sort();
    assert_eq!(keys, [&b"CreationDate"[..], b"ModDate", b"Producer", b"Title"]);
    assert_eq!(info.get(b"CreationDate").unwrap().as_str().unwrap(), b"D:20261031060000Z");
    let metadata = catalog.get(b"Metadata").unwrap().as_reference().unwrap();
    let xmp = doc.get_object(metadata).unwrap().as_stream().unwrap();
    assert!(xmp.dict.get(b"Filter").is_err());
    assert!(std::str::from_utf8(&xmp.content).unwrap().contains(&report.id));
    assert_eq!(embedded(&doc), json);
}

/// The file that the catalogue's AF entry names.
fn embedded(doc: &Document) -> Vec<u8> {
    let af = doc.catalog().unwrap().get(b"AF").unwrap().as_array().unwrap();
    let spec = doc.get_dictionary(af[0].as_reference().unwrap()).unwrap();
    assert_eq!(spec.get(b"AFRelationship").unwrap().as_name().unwrap(), b"Data");
    let file = spec.get(b"EF").unwrap().as_dict().unwrap().get(b"F").unwrap();
    let Object::Stream(stream) = doc.get_object(file.as_reference().unwrap()).unwrap() else {
        panic!("no stream")
    };
    stream.decompressed_content().unwrap()
}

/// A report with one table of these rows.
fn with_rows(rows: Vec<Vec<String>>) -> Report {
    let mut report = report(&sound());
    let columns = vec![
        Column::new("position", 20, Style::Number),
        Column::new("words of a heading", 50, Style::Text),
        Column::new("handle", 30, Style::Mono),
    ];
    let ipe = vec![("rows SHA-256", Table::rows_sha256(&rows).to_string())];
    let table = Table { id: "x-rows".into(), title: "Rows".into(), columns, rows, ipe };
    report.controls.clear();
    report.sections.truncate(1);
    report.sections[0].blocks = vec![Block::Table(table)];
    report
}

#[test]
fn a_long_table_repeats_its_head() {
    let row = |n: usize| vec![n.to_string(), format!("row {n}"), format!("h{n:06}")];
    let pages = pages(&pdf_of(&with_rows((0..500).map(row).collect())));
    let with: Vec<&String> = pages.iter().filter(|p| squeeze(p).contains("row")).collect();
    let data: Vec<&&String> =
        with.iter().filter(|p| p.contains("h000") || p.contains("h0002")).collect();
    assert!(data.len() >= 8, "{} pages", data.len());
    for page in &data {
        assert!(squeeze(page).contains("wordsofaheading"), "head missing: {page}");
    }
    let all = pages.concat();
    for n in 0..500 {
        assert_eq!(all.matches(&format!("h{n:06}")).count(), 1, "row {n}");
    }
    let long = with_rows((0..501).map(row).collect());
    let text = squeeze(&self::pages(&pdf_of(&long)).concat());
    assert!(text.contains("500of501rowsareprinted") && !text.contains("h000500"));
    assert!(
        String::from_utf8(csv::write(long.tables().next().unwrap())).unwrap().contains("h000500")
    );
}

#[test]
fn nothing_is_cut_and_nothing_is_a_blank_box() {
    let word = "verylongword".repeat(120);
    let report = with_rows(vec![vec![
        "1".into(),
        word.clone(),
        "\u{4e2d}\u{6587} \u{1f600} \u{5e9}\u{202e}\0".into(),
    ]]);
    let text = squeeze(&pages(&pdf_of(&report)).concat());
    assert!(text.contains(&word));
    for escape in ["[U+4E2D]", "[U+6587]", "[U+1F600]", "[U+05E9]", "[U+202E]", "[U+0000]"] {
        assert!(text.contains(escape), "{escape}");
    }
    assert!(text.contains("6charactersonthesepages"));
}

/// Every show operator stays on the page, so no column runs over the edge.
#[test]
fn text_stays_inside_the_margins() {
    let doc = Document::load_mem(&pdf_of(&report(&troubled()))).unwrap();
    let mut seen = 0;
    for page in doc.page_iter() {
        let content = doc.get_page_content(page);
        let content = lopdf::content::Content::decode(&content).unwrap();
        for operation in content.operations.iter().filter(|o| o.operator == "Td") {
            let x = operation.operands[0].as_float().unwrap();
            let y = operation.operands[1].as_float().unwrap();
            assert!((50.0..545.0).contains(&x) && (25.0..805.0).contains(&y), "{x} {y}");
            seen += 1;
        }
    }
    assert!(seen > 500);
}

#[test]
fn csv_quotes_and_guards() {
    let cell = |text: &str| {
        let table = Table {
            id: "x".into(),
            title: "x".into(),
            columns: vec![Column::new("a", 1, Style::Text)],
            rows: vec![vec![text.to_owned()]],
            ipe: Vec::new(),
        };
        let text = String::from_utf8(csv::write(&table)).unwrap();
        text.strip_prefix("\"a\"\r\n").unwrap().strip_suffix("\r\n").unwrap().to_owned()
    };
    for (text, expect) in [
        ("plain", "\"plain\""),
        ("a,b \"c\"", "\"a,b \"\"c\"\"\""),
        ("=1+1", "\"'=1+1\""),
        ("+1", "\"'+1\""),
        ("-1", "\"'-1\""),
        ("@SUM(A1)", "\"'@SUM(A1)\""),
        ("\t=1", "\"'\t=1\""),
        ("\r=1", "\"'\r=1\""),
        ("\0x", "\"'\0x\""),
        ("\u{ff1d}1", "\"'\u{ff1d}1\""),
        ("", "\"\""),
        ("a=1", "\"a=1\""),
    ] {
        assert_eq!(cell(text), expect);
    }
}

#[test]
fn rows_can_be_hashed_by_hand() {
    let rows = vec![vec!["a\"b".to_owned(), "1".to_owned()], vec!["\u{e9}".to_owned()]];
    let expect = sha256(&["[\"a\\\"b\",\"1\"]\n[\"\u{e9}\"]\n".as_bytes()]);
    assert_eq!(Table::rows_sha256(&rows), expect);
}

/// Sources choose their numbers: no choice may stop a report.
#[test]
fn the_largest_numbers_stop_nothing() {
    let world = sound_with(|entries| {
        for entry in entries.iter_mut().filter(|e| (1_430..1_436).contains(&e.index.0)) {
            entry.head.source_seq = Some(u64::MAX);
        }
    });
    assert_eq!(world.inputs.numbers_missing(), u64::MAX);
    assert!(pdf_of(&report(&world)).starts_with(b"%PDF-1.7"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]

    /// Whatever text a log brings: a file is written, every character is drawn or spelled out,
    /// and the JSON inside equals the one beside it.
    #[test]
    fn any_text_makes_a_document(cells in proptest::collection::vec("\\PC{0,90}|.{0,40}", 3..30)) {
        let rows = cells.chunks_exact(3).map(<[String]>::to_vec).collect();
        let report = with_rows(rows);
        let bytes = pdf_of(&report);
        let doc = Document::load_mem(&bytes).unwrap();
        proptest::prop_assert_eq!(embedded(&doc), report.json());
        let blank = pages(&bytes).concat().contains('\u{fffd}');
        proptest::prop_assert!(!blank);
    }
}

/// Writes the files for a person to look at, and asks poppler whether they hold.
#[test]
#[ignore = "needs poppler-utils"]
fn poppler_reads_what_was_written() {
    let dir = match std::env::var_os("REPORT_DIR") {
        Some(path) => std::path::PathBuf::from(path),
        None => tempfile::tempdir().unwrap().keep(),
    };
    let report = report(&troubled());
    for (name, bytes) in files(&report).unwrap() {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        let out = command.args(arguments).arg(dir.join("report.pdf")).arg("-").output().unwrap();
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let text = squeeze(&run("pdftotext", &["-raw"]));
    for table in report.tables() {
        for cell in table.rows.iter().flatten().filter(|cell| cell.len() < 12) {
            assert!(text.contains(&squeeze(cell)), "{cell}");
        }
    }
    let mut command = std::process::Command::new("pdfinfo");
    let info = command.arg(dir.join("report.pdf")).output().unwrap();
    let info = String::from_utf8(info.stdout).unwrap();
    let lines: BTreeMap<&str, &str> =
        info.lines().filter_map(|l| l.split_once(':')).map(|(k, v)| (k, v.trim())).collect();
    assert_eq!(lines.get("PDF version"), Some(&"1.7"));
    assert_eq!(lines.get("Title"), Some(&"GDPR evidence report"));
    assert!(!info.contains("PDF/X") && !info.contains("PDF/A"));
}
