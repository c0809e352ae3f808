//! Attacks through what is sent in, and through values on their way out to a SIEM.

use crate::base::event::Draft;
use crate::cli::bench::attacks::Found;
use crate::cli::bench::attacks::ground::{Ground, visit};
use crate::format::siem::{Pipe, Substitutions, cef, leef};
use anyhow::{Result, ensure};
use std::path::Path;

/// 40: JSON that two readers would read in two ways, or that exhausts one.
pub(crate) fn json(dir: &Path) -> Result<Found> {
    let ground = Ground::new(dir, 1)?;
    let vault = ground.open()?;
    let size = vault.size();
    let good = visit(900, "n1", "p1");
    let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    let deep = format!(r#""x":{}{}"#, "[".repeat(10_000), "]".repeat(10_000));
    let cases = [
        (with(r#""x":1,"x":2"#), "JSON_DUPLICATE_KEY"),
        (with(r#""x":{"y":{"z":1,"\u007a":2}}"#), "JSON_DUPLICATE_KEY"),
        (with(r#""x":1e400"#), "JSON_NUMBER"),
        (with(r#""x":NaN"#), "JSON_SYNTAX"),
        (with(r#""x":"\ud800""#), "JSON_SURROGATE"),
        (with(&deep), "JSON_DEPTH"),
        (good.replacen(":900,", ":9007199254740993,", 1), ""),
    ];
    let mut refused = 0;
    for (text, expect) in &cases {
        let drafts = [Draft { source: "ehr", json: text.as_bytes() }];
        let found = vault.append(&drafts).map_or_else(|e| e.code(), |_| "accepted");
        // A number beyond 2^53 is refused by its field's own code.
        let ok = found == *expect || (expect.is_empty() && found != "accepted");
        ensure!(ok, "{expect}: {found}");
        refused += 1;
    }
    ensure!(vault.size() == size, "nothing was logged");
    Ok(Found(if refused == cases.len() { "refused" } else { "accepted" }.to_owned()))
}

/// 44: a value that would end its field, or its line, in CEF or LEEF.
pub(crate) fn siem(dir: &Path) -> Result<Found> {
    let _ = dir;
    let evil = "x|y=z\\ \n<13>CEF:0|forged|\r\tcat=9";
    let mut count = Substitutions::default();
    let (mut header, mut value) = (String::new(), String::new());
    cef::escape_header(evil, 512, &mut header, &mut count);
    cef::escape_value(evil, 512, Pipe::Keep, &mut value, &mut count);
    let leef = leef::value(evil, 512, '\t', &mut count);
    for text in [&header, &value, &leef] {
        ensure!(!text.contains(['\n', '\r']), "one event, one line: {text:?}");
    }
    ensure!(!leef.contains('\t'), "a value ends early: {leef:?}");
    let bare = |text: &str, sign: char| {
        let mut before = ' ';
        text.chars().any(|c| {
            let bare = c == sign && before != '\\';
            before = if before == '\\' && c == '\\' { ' ' } else { c };
            bare
        })
    };
    ensure!(!bare(&header, '|'), "a header ends early: {header:?}");
    ensure!(!bare(&value, '='), "a value ends early: {value:?}");
    Ok(Found("escaped".to_owned()))
}
