//! Export manifests judged: who signed which bytes, and that the files beside the note are these.
//! It never reads what a line says: that is the vault's word.

use crate::base::id::Hash32;
use crate::cli::cmd::evidence::Judged;
use crate::cli::error::{EXIT_INCONCLUSIVE, Failure};
use crate::cli::output::units::count;
use crate::format::bundle;
use crate::format::export::{self, Export};
use crate::format::note::{NOTE_BYTES_MAX, Note};
use crate::format::trust::Trust;
use anyhow::Result;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// What this evidence is called.
pub(crate) const KIND: &str = "export manifest";

/// Judges the manifest of an export; nothing for a file of another kind.
pub(crate) fn judge(path: &Path, trust: Option<&Trust>) -> Result<Option<(&'static str, Judged)>> {
    if path.is_dir() {
        return Ok(None);
    }
    let failed = |e: std::io::Error| Failure::file(path, &e);
    let mut bytes = Vec::new();
    let limit = NOTE_BYTES_MAX as u64 + 1;
    File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    let named = format!("\"{}\"", export::FORMAT);
    match std::str::from_utf8(&bytes) {
        Ok(text) if is_manifest(text, &named) => {
            let dir = path.parent().unwrap_or(Path::new("."));
            Ok(Some((KIND, judged(text, dir, trust)?)))
        }
        _ => Ok(None),
    }
}

fn is_manifest(text: &str, named: &str) -> bool {
    text.starts_with('{') && text.contains(named) && !text.contains(bundle::FORMAT)
}

fn judged(text: &str, dir: &Path, trust: Option<&Trust>) -> Result<Judged> {
    let malformed = |why: String| Ok(Judged::failed("MALFORMED", why));
    let (signed, by) = match trust {
        Some(trust) => match trust.open_report(text.as_bytes()) {
            Ok(opened) => {
                let by: Vec<String> = opened.by.iter().map(|by| by.name.clone()).collect();
                (opened.text, Some(by.join(", ")))
            }
            Err(error) => return Ok(Judged::failed(error.verdict(), error.to_string())),
        },
        None => match Note::parse(text.as_bytes()) {
            Ok(note) => (note.text, None),
            Err(error) => return malformed(error.to_string()),
        },
    };
    let export = match Export::parse(&signed) {
        Ok(export) => export,
        Err(error) => return malformed(format!("the export manifest: {error}")),
    };
    for (name, hash) in [(&export.file, export.sha256), (&export.events, export.events_sha256)] {
        if let Some(judged) = beside(&dir.join(name), name, hash)? {
            return Ok(judged);
        }
    }
    Ok(conclude(&export, by))
}

/// Why a file is not the one that was signed, if it is not.
fn beside(path: &Path, name: &str, hash: Hash32) -> Result<Option<Judged>> {
    let is_file = std::fs::symlink_metadata(path).map(|meta| meta.is_file());
    let missing = match &is_file {
        Ok(is_file) => !is_file,
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if missing {
        let what = format!("{name} does not lie beside the manifest");
        return Ok(Some(Judged::failed("EXPORT_FILE_MISSING", what)));
    }
    let failed = |e: std::io::Error| Failure::file(path, &e);
    let mut file = File::open(path).map_err(failed)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    let same = hasher.finalize().as_slice() == hash.0;
    let what = format!("{name} is not what was signed");
    Ok((!same).then(|| Judged::failed("EXPORT_FILE_CHANGED", what)))
}

fn conclude(export: &Export, by: Option<String>) -> Judged {
    let Export { file, format, preset, count: number, first, last, .. } = export;
    let facts = json!({
        "file": file, "format": format, "preset": preset, "lines": number,
        "first": first.map(|index| index.0), "last": last.map(|index| index.0),
        "sha256": export.sha256.to_string(),
    });
    let (Some(first), Some(last)) = (first, last) else {
        let lines = vec!["an export of no lines: there is nothing to verify".to_owned()];
        let verdict = "INCONCLUSIVE".to_owned();
        return Judged { verdict, exit: EXIT_INCONCLUSIVE, lines, facts: Value::Null };
    };
    let mut lines = vec![
        format!("{file}: {} lines as {format}, preset {preset}", count(*number)),
        format!("of entries {first} to {last}; both files are as they were signed"),
    ];
    match by {
        Some(by) => {
            lines.push(format!("signed by {by}"));
            lines.push("what a line says is the vault's word when it was exported".to_owned());
            Judged::verified(lines, facts)
        }
        None => {
            let mut judged = Judged::unpinned(facts);
            judged.lines.extend(lines);
            judged
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disclosure_that_speaks_of_an_export_is_a_disclosure() {
        let named = format!("\"{}\"", export::FORMAT);
        assert!(is_manifest("{\"type\":\"chancery/export/v1\"}\n", &named));
        let both = "{\"format\":\"chancery/disclosure/v1\",\"x\":\"chancery/export/v1\"}";
        assert!(!is_manifest(both, &named));
    }
}
