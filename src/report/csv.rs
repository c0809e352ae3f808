//! CSV of a table's rows: UTF-8, RFC 4180, head row, every field quoted. A field that a
//! spreadsheet would run as a formula gets a leading apostrophe, so the CSV is for reading;
//! `report.json` is canonical and has the text as it is.

use crate::report::model::Table;

/// The rows of a table as CSV.
pub fn write(table: &Table) -> Vec<u8> {
    let mut out = String::new();
    line(&mut out, table.columns.iter().map(|c| c.name));
    for row in &table.rows {
        line(&mut out, row.iter().map(String::as_str));
    }
    out.into_bytes()
}

fn line<'a>(out: &mut String, fields: impl Iterator<Item = &'a str>) {
    for (n, field) in fields.enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push('"');
        if is_formula(field) {
            out.push('\'');
        }
        out.push_str(&field.replace('"', "\"\""));
        out.push('"');
    }
    out.push_str("\r\n");
}

/// True for what OWASP ASVS 5.0 1.2.10 lists, and the wide forms some locales run as well.
fn is_formula(field: &str) -> bool {
    let first = field.chars().next();
    first.is_some_and(|c| {
        matches!(
            c,
            '=' | '+'
                | '-'
                | '@'
                | '\t'
                | '\r'
                | '\n'
                | '\0'
                | '\u{ff1d}'
                | '\u{ff0b}'
                | '\u{ff0d}'
                | '\u{ff20}'
        )
    })
}
