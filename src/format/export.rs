//! EXPORT: what is signed of an export file. One RFC 8785 object and LF, the text of a note that a
//! report key signs; the file of lines and the list of their hashes lie beside it. It says which
//! bytes the vault wrote, never that they say what the log says.
//!
//! ```text
//! {"count":N,"events":"<file>.manifest.jsonl","events_sha256":H,"file":"<file>","first":N,
//!  "format":"cef","last":N,"mapping_sha256":H,"preset":"tokens","sha256":H,
//!  "type":"chancery/export/v1"}
//! ```

use crate::base::id::Hash32;
use crate::base::unit::EntryIndex;
use crate::format::control;
use crate::format::wire::Malformed;
use serde::{Deserialize, Serialize};

/// Value of `type`.
pub const FORMAT: &str = "chancery/export/v1";
/// Ending of the manifest's file name, behind the name of the file of lines.
pub const NOTE_ENDING: &str = ".manifest.note";
/// Ending of the list of lines.
pub const EVENTS_ENDING: &str = ".manifest.jsonl";
/// Longest name: room for the endings within the 255 bytes that file systems allow.
const NAME_BYTES_MAX: usize = 200;
/// Endings of the files that accompany an export: as names of exports they could replace them.
const ENDINGS: [&str; 4] = [".part", ".sha256", EVENTS_ENDING, NOTE_ENDING];
/// Integers of JSON payloads stay below 2^53.
const INTEGER_END: u64 = 1 << 53;

/// A manifest, its members in their order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// Lines.
    pub count: u64,
    /// Name of the list of lines: `file` with its ending.
    pub events: String,
    /// SHA-256 of that list.
    pub events_sha256: Hash32,
    /// Name of the file of lines.
    pub file: String,
    /// Index of the first line's entry; none without lines.
    pub first: Option<EntryIndex>,
    /// `cef` or `leef`.
    pub format: String,
    /// Index of the last line's entry.
    pub last: Option<EntryIndex>,
    /// SHA-256 of the mapping's text.
    pub mapping_sha256: Hash32,
    /// How much of a person a line may show: `tokens`, `siem` or `named`.
    pub preset: String,
    /// SHA-256 of the file of lines.
    pub sha256: Hash32,
    /// `FORMAT`.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Export {
    /// The text that is signed.
    ///
    /// # Errors
    /// `Malformed` if it cannot be written: our bug.
    pub fn text(&self) -> Result<String, Malformed> {
        let text = String::from_utf8(control::encode(self)?);
        let text = text.map_err(|_| Malformed { offset: 0, what: "export manifest" })?;
        Ok(text + "\n")
    }

    /// Reads the text of a note.
    ///
    /// # Errors
    /// `Malformed` for anything but what `text` gives for an export that can be.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong = |what| Malformed { offset: 0, what };
        let line = text.strip_suffix('\n').ok_or(wrong("an export manifest ends with LF"))?;
        let export: Export = control::decode(line.as_bytes())?;
        if export.kind != FORMAT {
            return Err(wrong("not an export manifest of version 1"));
        }
        if !is_export_name(&export.file)
            || export.events != format!("{}{EVENTS_ENDING}", export.file)
        {
            return Err(wrong("a name that no export has"));
        }
        if !["cef", "leef"].contains(&&*export.format)
            || !["tokens", "siem", "named"].contains(&&*export.preset)
        {
            return Err(wrong("an unknown format or preset"));
        }
        let holds = match (export.count, export.first, export.last) {
            (0, None, None) => true,
            (count, Some(first), Some(last)) => {
                let room = last.0.checked_sub(first.0).map(|more| more + 1);
                count > 0 && last.0 < INTEGER_END && room.is_some_and(|room| count <= room)
            }
            _ => false,
        };
        match holds && (export.count != 1 || export.first == export.last) {
            true => Ok(export),
            false => Err(wrong("a number of lines that does not go with their indexes")),
        }
    }
}

/// Whether an export may have this name: of letters, digits, `.`, `_` and `-`, and not like one of
/// a file that belongs to another export. Some file systems do not tell upper case from lower.
pub fn is_export_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let lower = name.to_ascii_lowercase();
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(is_plain)
        && !ENDINGS.iter().any(|ending| lower.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(count: u64, span: Option<(u64, u64)>) -> Export {
        Export {
            count,
            events: "day.cef.manifest.jsonl".into(),
            events_sha256: Hash32([1; 32]),
            file: "day.cef".into(),
            first: span.map(|(first, _)| EntryIndex(first)),
            format: "cef".into(),
            last: span.map(|(_, last)| EntryIndex(last)),
            mapping_sha256: Hash32([2; 32]),
            preset: "tokens".into(),
            sha256: Hash32([3; 32]),
            kind: FORMAT.into(),
        }
    }

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        let check = |export: Export, taken: bool| {
            let text = export.text().unwrap();
            assert_eq!(Export::parse(&text).is_ok_and(|read| read == export), taken, "{text}");
        };
        check(export(0, None), true);
        check(export(1, Some((7, 7))), true);
        check(export(3, Some((7, 9))), true);
        check(export(2, Some((7, 9))), true);
        check(export(4, Some((7, 9))), false);
        check(export(1, Some((7, 9))), false);
        check(export(1, Some((9, 7))), false);
        check(export(0, Some((7, 9))), false);
        check(export(1, None), false);
        check(Export { kind: "chancery/export/v2".into(), ..export(0, None) }, false);
        check(Export { format: "csv".into(), ..export(0, None) }, false);
        check(Export { preset: "all".into(), ..export(0, None) }, false);
        check(Export { events: "other.manifest.jsonl".into(), ..export(0, None) }, false);
        for name in ["", "../day.cef", "a/b", ".hidden", "day.cef.PART", "x.manifest.note"] {
            let events = format!("{name}{EVENTS_ENDING}");
            check(Export { file: name.into(), events, ..export(0, None) }, false);
        }
        let text = export(0, None).text().unwrap();
        for bad in [text.trim_end(), &format!("{text}\n"), &text.replace(",\"file", ", \"file")] {
            assert!(Export::parse(bad).is_err(), "{bad:?}");
        }
    }
}
