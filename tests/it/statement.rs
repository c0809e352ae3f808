//! Receipts and ledgers line by line: what the page asks of each, and that nothing else passes.

use chancery::format::statement::{Ledger, Receipt};

fn receipt() -> Vec<String> {
    let (tenant, hash) = ("11".repeat(16), "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY=");
    let time = "2026-11-21T08:00:00.5Z";
    [
        format!("v.example/r/{tenant}/erasure-receipt/v1"),
        format!("tenant {tenant}"),
        format!("erasure {}", "31".repeat(16)),
        "basis gdpr-17-1".to_owned(),
        "mode two-person".to_owned(),
        format!("requested 8 {hash} {time}"),
        format!("completed 9 {hash} {time}"),
        format!("root 6 -> 7 {hash} {hash}"),
        "store D".to_owned(),
        "replicas 1/2 E2-partial".to_owned(),
        "classes 1y 6y".to_owned(),
        "records 12".to_owned(),
        format!("deferred 6y floor {time} 45 CFR 164.316(b)(2)(i)"),
        format!("deferred 1y hold - {}", "ca".repeat(16)),
        "limits a copy made before is outside it".to_owned(),
    ]
    .to_vec()
}

fn ledger() -> Vec<String> {
    let tenant = "11".repeat(16);
    [
        format!("v.example/r/{tenant}/erasure-ledger/v1"),
        format!("tenant {tenant}"),
        format!("generation 7 {}", "06".repeat(32)),
        "log 40".to_owned(),
        format!("erased {} 9 {}", "31".repeat(16), "41".repeat(16)),
        format!("erased-in-part {} 12 {} {}", "32".repeat(16), "42".repeat(16), "43".repeat(16)),
    ]
    .to_vec()
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The line that begins with the first word of `line`, replaced by it.
fn with(lines: &[String], line: &str) -> String {
    let word = line.split(' ').next().unwrap();
    let mut lines = lines.to_vec();
    let at = lines.iter().position(|l| l.split(' ').next() == Some(word)).expect(line);
    lines[at] = line.to_owned();
    text(&lines)
}

fn judged(text: &str) -> &'static str {
    let of_receipt = Receipt::parse(text).map(drop);
    let found =
        if text.contains("erasure-ledger") { Ledger::parse(text).map(drop) } else { of_receipt };
    found.map_or_else(|error| error.verdict(), |()| "whole")
}

#[test]
fn whole_ones_are_read() {
    let found = Receipt::parse(&text(&receipt())).unwrap();
    assert_eq!((found.requested.index.0, found.completed.index.0), (8, 9));
    assert_eq!((found.generation.0, found.last), (7, None));
    let found = Ledger::parse(&text(&ledger())).unwrap();
    let erased: Vec<(u64, bool, usize)> =
        found.erased.iter().map(|e| (e.done.0, e.in_part, e.persons.len())).collect();
    assert_eq!((found.log.0, erased), (40, vec![(9, false, 1), (12, true, 2)]));
    // With a final entry no replica is said to have missed it.
    let mut last = receipt();
    last.insert(7, last[6].replace("completed 9", "final 10"));
    assert_eq!(judged(&text(&last)), "MALFORMED", "partial beside a final entry");
    assert_eq!(judged(&with(&last, "replicas 2/2")), "whole");
    for line in ["classes -", "records -", "replicas 1/1", "mode scheduled", "mode single-operator"]
    {
        assert_eq!(judged(&with(&receipt(), line)), "whole", "{line}");
    }
}

#[test]
fn every_line_must_be_there_once_in_its_place() {
    for lines in [receipt(), ledger()] {
        for at in 1..lines.len() {
            let optional = lines[at].starts_with("deferred") || lines[at].starts_with("erased");
            let (mut without, mut twice, mut swapped) =
                (lines.clone(), lines.clone(), lines.clone());
            without.remove(at);
            twice.insert(at, lines[at].clone());
            swapped.swap(at - 1, at);
            let expect = if optional { "whole" } else { "MALFORMED" };
            assert_eq!(judged(&text(&without)), expect, "without {}", lines[at]);
            let expect = if lines[at].starts_with("deferred") { "whole" } else { "MALFORMED" };
            assert_eq!(judged(&text(&twice)), expect, "twice {}", lines[at]);
            let both = lines[at].starts_with("deferred") && lines[at - 1].starts_with("deferred");
            if at > 1 {
                let expect = if both { "whole" } else { "MALFORMED" };
                assert_eq!(judged(&text(&swapped)), expect, "swapped {}", lines[at]);
            }
        }
        let mut more = lines.clone();
        more.push("note a line nobody knows".to_owned());
        assert_eq!(judged(&text(&more)), "MALFORMED");
        let mut blank = lines.clone();
        blank.push(String::new());
        assert_eq!(judged(&text(&blank)), "MALFORMED");
    }
}

#[test]
fn every_field_has_one_form() {
    let hash = "BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY=";
    let (time, id) = ("2026-11-21T08:00:00.5Z", "31".repeat(16));
    let stray = hash.replace("gY=", "gZ=");
    for line in [
        format!("erasure {}", "3A".repeat(16)),
        format!("erasure {}", "31".repeat(15)),
        "basis gdpr 17".to_owned(),
        format!("basis {}", "g".repeat(65)),
        "mode alone".to_owned(),
        format!("requested 08 {hash} {time}"),
        format!("requested 9 {hash} {time}"),
        format!("requested 9223372036854775808 {hash} {time}"),
        format!("requested 8 {hash}  {time}"),
        format!("requested 8 {stray} {time}"),
        format!("requested 8 {} {time}", hash.trim_end_matches('=')),
        format!("requested 8 {hash} 2026-11-21T08:00:00.50Z"),
        format!("requested 8 {hash} 2026-11-21T08:00:00.5+00:00"),
        format!("requested 8 {hash} 2026-13-21T08:00:00Z"),
        format!("requested 8 {hash} {time} more"),
        format!("root 6 -> 8 {hash} {hash}"),
        format!("root 6 => 7 {hash} {hash}"),
        format!("root 18446744073709551615 -> 0 {hash} {hash}"),
        format!("root 6 -> 7 {hash}"),
        "store C".to_owned(),
        "replicas one".to_owned(),
        "replicas 01/2".to_owned(),
        "replicas 1/1000".to_owned(),
        "replicas 1/2 E2".to_owned(),
        "replicas 1/2  E2-partial".to_owned(),
        "classes ".to_owned(),
        "classes 1y  6y".to_owned(),
        "records 012".to_owned(),
        "records -1".to_owned(),
        "records 18446744073709551616".to_owned(),
        format!("deferred 6y law {time} a"),
        "deferred 6y floor - a".to_owned(),
        format!("deferred 6y floor {time} "),
        format!("deferred 6y floor {time}"),
        format!("deferred 6y floor {time} {}", "a".repeat(101)),
        format!("deferred 6y floor {time} a\u{7f}"),
        format!("deferred 6y hold {time} {id}"),
        "deferred 6y hold - a case".to_owned(),
        "limits ".to_owned(),
    ] {
        assert_eq!(judged(&with(&receipt(), &line)), "MALFORMED", "{line}");
    }
}

#[test]
fn every_field_of_a_ledger_has_one_form_and_both_name_their_tenant() {
    let person = "41".repeat(16);
    for line in [
        "generation 7 06".to_owned(),
        format!("generation 07 {}", "06".repeat(32)),
        "log 9223372036854775808".to_owned(),
        "log 9".to_owned(),
        format!("erased {} 40 {person}", "31".repeat(16)),
        format!("erased {} 9", "31".repeat(16)),
        format!("erased {} 9 ", "31".repeat(16)),
        format!("erased {} 9 {person}x", "31".repeat(16)),
        format!("erased {} 9 {person}", "33".repeat(16)),
        format!("erased {} 9 {person}", "32".repeat(16)),
    ] {
        assert_eq!(judged(&with(&ledger(), &line)), "MALFORMED", "{line}");
    }
    for lines in [receipt(), ledger()] {
        let other = with(&lines, &format!("tenant {}", "12".repeat(16)));
        assert_eq!(judged(&other), "TENANT_MISMATCH");
        assert_eq!(judged(&with(&lines, "tenant x")), "MALFORMED");
        let mut unnamed = lines.clone();
        unnamed[0] = unnamed[0].replace("/r/", "/t/");
        assert_eq!(judged(&text(&unnamed)), "MALFORMED");
    }
}
