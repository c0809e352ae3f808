//! Evidence in one file or folder, judged with pinned trust and nothing else: inclusion proof,
//! consistency proof, disclosure, receipt, ledger, checkpoint, report. The kind is read from the
//! file itself. Without pinned trust the best answer is that it is consistent with itself.

use crate::base::entry::Entry;
use crate::cli::cmd::{complete, exported};
use crate::cli::error::{EXIT_DONE, EXIT_INCONCLUSIVE, EXIT_REFUSED, Failure, of_verdict};
use crate::cli::output::Tone;
use crate::cli::run::Context;
use crate::format::bundle;
use crate::format::checkpoint::Checkpoint;
use crate::format::note::{NOTE_BYTES_MAX, Note};
use crate::format::seal::sample::Sample;
use crate::format::statement;
use crate::format::trust::{Signed, Trust, TrustError};
use crate::vault::disclose::{Disclosed, verify_disclosure};
use crate::vault::error::Error;
use crate::vault::prove::{Proved, comparable, growth_proof, verify_growth, verify_proof};
use anyhow::Result;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

mod folder;

/// No evidence in one file is larger, but range and answer files, which are read as a stream.
const BYTES_MAX: u64 = 16 << 20;
/// How zip files begin.
const ZIP: &[u8] = b"PK\x03\x04";
/// Verdicts that prove nothing either way: a key or a witness is not pinned, or a window is not
/// over yet.
const OPEN_VERDICTS: [&str; 3] = ["UNTRUSTED_KEY", "QUORUM_MISSING", "RANGE_OPEN_END"];

/// What a file turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Proof,
    Growth,
    Disclosure,
    Receipt,
    Ledger,
    Checkpoint,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Proof => "inclusion proof",
            Kind::Growth => "consistency proof",
            Kind::Disclosure => "disclosure",
            Kind::Receipt => "erasure receipt",
            Kind::Ledger => "erasure ledger",
            Kind::Checkpoint => "checkpoint",
        }
    }
}

/// What was found out.
pub(crate) struct Judged {
    pub(crate) verdict: String,
    pub(crate) exit: u8,
    pub(crate) lines: Vec<String>,
    pub(crate) facts: Value,
}

impl Judged {
    pub(crate) fn verified(lines: Vec<String>, facts: Value) -> Self {
        Judged { verdict: "VERIFIED".to_owned(), exit: EXIT_DONE, lines, facts }
    }

    pub(crate) fn failed(verdict: &str, detail: String) -> Self {
        let open = OPEN_VERDICTS.contains(&verdict);
        let exit = if open { EXIT_INCONCLUSIVE } else { EXIT_REFUSED };
        Judged { verdict: verdict.to_owned(), exit, lines: vec![detail], facts: Value::Null }
    }

    /// What is right about a log of no entries: that proves nothing.
    fn nothing() -> Self {
        let lines = vec!["a log of no entries: there is nothing to verify".to_owned()];
        let (verdict, facts) = ("INCONCLUSIVE".to_owned(), Value::Null);
        Judged { verdict, exit: EXIT_INCONCLUSIVE, lines, facts }
    }

    /// What could be found without pinned trust.
    pub(crate) fn unpinned(facts: Value) -> Self {
        Judged {
            verdict: "INCONCLUSIVE".to_owned(),
            exit: EXIT_INCONCLUSIVE,
            lines: vec![
                "consistent with itself; signer unknown".to_owned(),
                "pin the signer with --trust FILE, obtained from outside".to_owned(),
            ],
            facts,
        }
    }

    /// What is right about a part of a log: signed by somebody pinned, or not.
    pub(crate) fn of_log(mut lines: Vec<String>, facts: Value, signed: &Signed) -> Self {
        lines.push(checkpoint_line(&signed.checkpoint));
        match &signed.trusted {
            Some(trusted) => {
                let witnesses = trusted.witnesses.len();
                lines.push(format!("signed by {}, {witnesses} witnesses", trusted.key));
                Judged::verified(lines, facts)
            }
            None => Judged::unpinned(facts).with(lines),
        }
    }

    fn with(mut self, lines: Vec<String>) -> Self {
        self.lines.extend(lines);
        self
    }

    fn of(error: &Error) -> Self {
        let text = error.to_string();
        let detail = text.strip_prefix(error.code()).unwrap_or(&text);
        Judged::failed(error.code(), detail.trim_start_matches([':', ' ']).to_owned())
    }
}

/// Judges a file or a report's folder.
pub(crate) fn run(
    context: &mut Context,
    path: &Path,
    trust: Option<&Trust>,
    since: Option<&Path>,
    sample: Option<&Sample>,
) -> Result<ExitCode> {
    let (kind, judged) = judged(path, trust, since, sample)?;
    if since.is_some() && ![Kind::Growth.name(), Kind::Checkpoint.name()].contains(&kind) {
        let what = "it compares checkpoints and data directories; ask for a consistency proof \
                    beside this evidence";
        context.note("SINCE_IGNORED", what);
    }
    of_verdict(print(context, kind, &judged), judged.exit)
}

/// What kind of evidence it is, and what was found out.
pub(crate) fn judged(
    path: &Path,
    trust: Option<&Trust>,
    since: Option<&Path>,
    sample: Option<&Sample>,
) -> Result<(&'static str, Judged)> {
    let there = std::fs::metadata(path).map_err(|e| Failure::file(path, &e))?;
    if !there.is_dir() && !there.is_file() {
        let message = format!("{} is neither a file nor a directory", path.display());
        return Err(Failure::failed("FILE_IO", message).into());
    }
    if let Some(found) = complete::judge(path, trust, sample)? {
        return Ok(found);
    }
    if let Some(found) = exported::judge(path, trust)? {
        return Ok(found);
    }
    if sample.is_some() {
        return Err(complete::unreplayable().into());
    }
    if there.is_dir() {
        return Ok(("report", folder::judge(path, trust)?));
    }
    let bytes = read(path)?;
    let Some(kind) = kind_of(&bytes) else {
        let message = format!(
            "{} is no proof, range, answer, disclosure, receipt, ledger, checkpoint, report or \
             vault",
            path.display()
        );
        return Err(Failure::refused("MALFORMED", message).into());
    };
    let text = String::from_utf8_lossy(&bytes);
    Ok((kind.name(), of_kind(kind, &text, trust, since)?))
}

fn print(context: &mut Context, kind: &str, judged: &Judged) -> Result<()> {
    context.out.object(&json!({
        "kind": kind,
        "verdict": if judged.exit == EXIT_DONE { "verified" } else { judged.verdict.as_str() },
        "exit": judged.exit,
        "facts": judged.facts,
        "detail": judged.lines,
    }))?;
    let tone = match judged.exit {
        EXIT_DONE => Tone::Good,
        EXIT_INCONCLUSIVE => Tone::Warn,
        _ => Tone::Bad,
    };
    context.out.status(tone, &judged.verdict, kind)?;
    for line in &judged.lines {
        context.out.line(&format!("  {line}"))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = front(path, BYTES_MAX + 1)?;
    if bytes.starts_with(ZIP) {
        let message = format!("{} is a zip file: unpack it and name the folder", path.display());
        return Err(Failure::failed("EVIDENCE_ZIPPED", message).into());
    }
    if bytes.len() as u64 > BYTES_MAX {
        let message = format!("{} is over 16 MiB: no evidence of ours", path.display());
        return Err(Failure::failed("TOO_LARGE", message).into());
    }
    Ok(bytes)
}

/// A note's bytes, as far as a note can be long; the form tells if there is more.
pub(crate) fn read_note(path: &Path) -> Result<Vec<u8>> {
    front(path, NOTE_BYTES_MAX as u64 + 1)
}

/// The first bytes of a regular file.
fn front(path: &Path, most: u64) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| Failure::file(path, &e);
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        let message = format!("{} is not a file", path.display());
        return Err(Failure::failed("FILE_IO", message).into());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let second = rest.lines().next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if first.starts_with("c2sp.org/tlog-proof@") {
        Some(Kind::Proof)
    } else if first.strip_prefix("old ").is_some_and(digits) {
        Some(Kind::Growth)
    } else if first.starts_with('{') && text.contains(bundle::FORMAT) {
        Some(Kind::Disclosure)
    } else if first.ends_with(statement::RECEIPT) {
        Some(Kind::Receipt)
    } else if first.ends_with(statement::LEDGER) {
        Some(Kind::Ledger)
    } else {
        (digits(second) && text.contains("\n\u{2014} ")).then_some(Kind::Checkpoint)
    }
}

fn of_kind(kind: Kind, text: &str, trust: Option<&Trust>, since: Option<&Path>) -> Result<Judged> {
    let judged = match kind {
        Kind::Proof => verify_proof(text, trust).map(|Proved { entry, checkpoint, trusted }| {
            let facts = entry_facts(&entry, &checkpoint);
            Judged::of_log(entry_lines(&entry), facts, &Signed { checkpoint, trusted })
        }),
        Kind::Disclosure => verify_disclosure(text, trust).map(disclosed),
        Kind::Growth => return grown(text, trust, since),
        Kind::Receipt | Kind::Ledger => return Ok(report_note(text, trust)),
        Kind::Checkpoint => return checkpoint(text, trust, since),
    };
    Ok(judged.unwrap_or_else(|error| Judged::of(&error)))
}

fn disclosed(found: Disclosed) -> Judged {
    let Disclosed { entry, fields, checkpoint, trusted } = found;
    let mut lines = entry_lines(&entry);
    lines.extend(fields.iter().map(|(name, value)| format!("{name} = {value}")));
    let mut facts = entry_facts(&entry, &checkpoint);
    if let Value::Object(facts) = &mut facts {
        // The very text that was sealed: read as a number it might be shown as another.
        let pairs = fields.into_iter().map(|(name, value)| (name, Value::String(value)));
        facts.insert("fields".to_owned(), Value::Object(pairs.collect()));
    }
    Judged::of_log(lines, facts, &Signed { checkpoint, trusted })
}

fn checkpoint(text: &str, trust: Option<&Trust>, since: Option<&Path>) -> Result<Judged> {
    let signed = match Signed::open(text.as_bytes(), trust) {
        Ok(signed) => signed,
        Err(error) => return Ok(Judged::failed(error.verdict(), error.to_string())),
    };
    let mut lines = Vec::new();
    if let Some(since) = since {
        if let Some(failed) = beside(&signed.checkpoint, &read_note(since)?, trust) {
            return Ok(failed);
        }
        lines.push("that it grew out of the older checkpoint needs a consistency proof".to_owned());
    }
    if signed.checkpoint.size.0 == 0 {
        return Ok(Judged::nothing());
    }
    let (size, root) = (signed.checkpoint.size.0, signed.checkpoint.root.to_string());
    Ok(Judged::of_log(lines, json!({"size": size, "root": root}), &signed))
}

/// A consistency proof, which needs the checkpoint kept from before.
fn grown(text: &str, trust: Option<&Trust>, since: Option<&Path>) -> Result<Judged> {
    let Some(old) = since else { return unmeasured(text, trust) };
    let judged = verify_growth(&read_note(old)?, text, trust).map(|grown| {
        if grown.new.size.0 == 0 {
            return Judged::nothing();
        }
        let (old, new) = (grown.old.size.0, grown.new.size.0);
        let line = format!("the log of {new} entries begins with the {old} of before");
        let signed = Signed { checkpoint: grown.new, trusted: grown.trusted };
        Judged::of_log(vec![line], json!({"old_size": old, "new_size": new}), &signed)
    });
    Ok(judged.unwrap_or_else(|error| Judged::of(&error)))
}

/// A consistency proof alone: with trust somebody forgot what it is compared with.
fn unmeasured(text: &str, trust: Option<&Trust>) -> Result<Judged> {
    let proof = match growth_proof(text) {
        Ok(proof) => proof,
        Err(error) => return Ok(Judged::of(&error)),
    };
    if trust.is_some() {
        let message = "name the checkpoint kept from before with --since; nothing was verified";
        return Err(Failure::usage("USAGE", message).into());
    }
    Ok(match Signed::open(proof.new.as_bytes(), None) {
        Err(error) => Judged::failed(error.verdict(), error.to_string()),
        Ok(_) => {
            let line = "the checkpoint kept from before is missing: nothing was compared";
            Judged::unpinned(Value::Null).with(vec![line.to_owned()])
        }
    })
}

/// Why a checkpoint does not go with an older one, if it does not.
fn beside(new: &Checkpoint, old: &[u8], trust: Option<&Trust>) -> Option<Judged> {
    match Signed::open(old, trust) {
        Ok(old) => comparable(&old.checkpoint, new).err().map(|error| Judged::of(&error)),
        Err(error) => {
            let detail = format!("the older checkpoint: {error}");
            Some(Judged::failed(error.verdict(), detail))
        }
    }
}

/// A note signed by a report key: what it says is shown line by line. It must be signed by the
/// key its first line names: one vault's report key says nothing about another's erasures.
fn report_note(text: &str, trust: Option<&Trust>) -> Judged {
    let opened = match trust {
        Some(trust) => trust.open_report(text.as_bytes()).map(|o| (o.text, Some(o.by))),
        None => Note::parse(text.as_bytes()).map(|n| (n.text, None)).map_err(TrustError::from),
    };
    let (text, by) = match opened {
        Ok(opened) => opened,
        Err(error) => return Judged::failed(error.verdict(), error.to_string()),
    };
    let first = text.lines().next().unwrap_or_default();
    let ends = [statement::RECEIPT, statement::LEDGER];
    let Some(name) = ends.iter().find_map(|end| first.strip_suffix(end)) else {
        return Judged::failed("MALFORMED", "the first line names no receipt and no ledger".into());
    };
    if by.as_ref().is_some_and(|by| !by.iter().any(|by| by.name == name)) {
        let what = format!("the pinned key that signed is not named {name}");
        return Judged::failed("UNTRUSTED_KEY", what);
    }
    if let Some(judged) = statement_form(&text) {
        return judged;
    }
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match by {
        Some(_) => Judged::verified(lines, json!({"text": text})),
        None => Judged::unpinned(json!({"text": text})).with(lines),
    }
}

/// Why the words of a receipt or a ledger cannot pass, if so.
fn statement_form(text: &str) -> Option<Judged> {
    let first = text.lines().next().unwrap_or_default();
    let ledger = first.ends_with(statement::LEDGER);
    let log = match ledger {
        true => statement::Ledger::parse(text).map(|ledger| ledger.log.0),
        false => statement::Receipt::parse(text).map(|receipt| receipt.completed.index.0),
    };
    match log {
        Err(error) => Some(Judged::failed(error.verdict(), error.to_string())),
        Ok(0) if ledger => Some(Judged::nothing()),
        Ok(_) => None,
    }
}

fn entry_lines(entry: &Entry) -> Vec<String> {
    let head = &entry.head;
    vec![
        format!("entry {} of log time {}", entry.index, entry.time_log),
        format!("{} {} severity {}", head.code, head.outcome, head.severity.value()),
    ]
}

fn entry_facts(entry: &Entry, checkpoint: &Checkpoint) -> Value {
    json!({
        "index": entry.index.0,
        "time": entry.time_log.to_string(),
        "code": entry.head.code.to_string(),
        "outcome": entry.head.outcome.name(),
        "origin": checkpoint.origin,
        "size": checkpoint.size.0,
        "root": checkpoint.root.to_string(),
    })
}

pub(crate) fn checkpoint_line(checkpoint: &Checkpoint) -> String {
    format!("in the log {} of {} entries", checkpoint.origin, checkpoint.size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Key;
    use crate::crypto::sign::SigningKey;
    use crate::format::note;
    use crate::format::vkey::{Algorithm, Signer};

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::new(name, Algorithm::Ed25519, SigningKey::new(&Key::new([seed; 32]))).unwrap()
    }

    #[test]
    fn a_receipt_is_believed_of_the_key_it_names_and_nothing_of_an_empty_log() {
        let (ours, other) = ("07".repeat(16), "08".repeat(16));
        let log = signer(&format!("v.example/t/{ours}"), 1);
        let own = signer(&format!("v.example/r/{ours}"), 2);
        let foreign = signer(&format!("o.example/r/{other}"), 3);
        let pinned = [own.verifier().clone(), foreign.verifier().clone()];
        let trust = Trust::of(&[log.verifier().clone()], &pinned).unwrap();
        let receipt = |tenant: &str, log: u64, key: &Signer| {
            let first = format!("v.example/r/{ours}/erasure-ledger/v1");
            let birth = "06".repeat(32);
            let text = format!("{first}\ntenant {tenant}\ngeneration 1 {birth}\nlog {log}\n");
            let judged = report_note(&note::sign(&text, &[key]).unwrap(), Some(&trust));
            (judged.verdict, judged.exit)
        };
        let verdict = |word: &str, exit: u8| (word.to_owned(), exit);
        assert_eq!(receipt(&ours, 9, &own), verdict("VERIFIED", 0));
        assert_eq!(receipt(&ours, 9, &foreign), verdict("UNTRUSTED_KEY", 4));
        assert_eq!(receipt(&other, 9, &own), verdict("TENANT_MISMATCH", 1));
        assert_eq!(receipt("x", 9, &own), verdict("MALFORMED", 1));
        assert_eq!(receipt(&ours, 0, &own), verdict("INCONCLUSIVE", 4));
        let empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let text = format!("v.example/t/{ours}\n0\n{empty}\n");
        let note = note::sign(&text, &[&log]).unwrap();
        let judged = of_kind(Kind::Checkpoint, &note, Some(&trust), None).unwrap();
        assert_eq!((judged.verdict, judged.exit), verdict("INCONCLUSIVE", 4));
    }

    #[test]
    fn a_file_says_what_it_is() {
        for (text, kind) in [
            ("c2sp.org/tlog-proof@v1\nindex 1\n", Some(Kind::Proof)),
            ("old 7\nabc\n\nx\n", Some(Kind::Growth)),
            ("{\"format\":\"chancery/disclosure/v1\"}", Some(Kind::Disclosure)),
            ("v/r/t/erasure-receipt/v1\ntenant x\n", Some(Kind::Receipt)),
            ("v/r/t/erasure-ledger/v1\ntenant x\n", Some(Kind::Ledger)),
            ("v/t/x\n12\nroot\n\n\u{2014} v/t/x sig\n", Some(Kind::Checkpoint)),
            ("v/t/x\n12\nroot\n", None),
            ("", None),
            ("{\"a\":1}", None),
        ] {
            assert_eq!(kind_of(text.as_bytes()), kind, "{text}");
        }
        assert_eq!(kind_of(b"\xff\xfe"), None);
    }
}
