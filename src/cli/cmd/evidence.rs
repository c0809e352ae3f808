//! Evidence in one file or folder, judged with pinned trust and nothing else: inclusion proof,
//! consistency proof, disclosure, receipt, ledger, checkpoint, report. The kind is read from the
//! file itself. Without pinned trust the best answer is that it is consistent with itself.

use crate::base::entry::Entry;
use crate::cli::cmd::{complete, exported};
use crate::cli::error::{EXIT_DONE, EXIT_INCONCLUSIVE, EXIT_REFUSED, Failure};
use crate::cli::output::Tone;
use crate::cli::run::Context;
use crate::crypto::hash::leaf_hash;
use crate::format::bundle::{self, Disclosure};
use crate::format::checkpoint::Checkpoint;
use crate::format::note::Note;
use crate::format::proof::TlogProof;
use crate::format::seal::sample::Sample;
use crate::format::statement;
use crate::format::trust::{Trust, Trusted};
use crate::report::manifest;
use crate::vault::disclose::verify_disclosure;
use crate::vault::error::Error;
use crate::vault::prove::{growth_form, verify_growth, verify_proof};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// No evidence of ours is larger; a report's PDF of ten thousand pages fits.
const BYTES_MAX: u64 = 256 << 20;
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
    print(context, kind, &judged)
}

/// What kind of evidence it is, and what was found out.
pub(crate) fn judged(
    path: &Path,
    trust: Option<&Trust>,
    since: Option<&Path>,
    sample: Option<&Sample>,
) -> Result<(&'static str, Judged)> {
    if let Some(found) = complete::judge(path, trust, sample)? {
        return Ok(found);
    }
    if let Some(found) = exported::judge(path, trust)? {
        return Ok(found);
    }
    if sample.is_some() {
        return Err(complete::unreplayable().into());
    }
    if path.is_dir() {
        return Ok(("report", folder(path, trust)?));
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
    let judged = match trust {
        Some(trust) => with_trust(kind, &text, trust, since)?,
        None => alone(kind, &text),
    };
    Ok((kind.name(), judged))
}

fn print(context: &mut Context, kind: &str, judged: &Judged) -> Result<ExitCode> {
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
        context.out.say(&format!("  {line}"))?;
    }
    Ok(ExitCode::from(judged.exit))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |e: std::io::Error| Failure::file(path, &e);
    if std::fs::metadata(path).map_err(failed)?.len() > BYTES_MAX {
        let message = format!("{} is over 256 MiB: no evidence of ours", path.display());
        return Err(Failure::refused("MALFORMED", message).into());
    }
    Ok(std::fs::read(path).map_err(failed)?)
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

fn with_trust(kind: Kind, text: &str, trust: &Trust, since: Option<&Path>) -> Result<Judged> {
    let judged = match kind {
        Kind::Proof => verify_proof(text, trust).map(|proved| {
            let mut lines = entry_lines(&proved.entry);
            lines.push(checkpoint_line(&proved.checkpoint));
            lines.push(format!(
                "signed by {}, {} witnesses",
                proved.signed_by,
                proved.witnesses.len()
            ));
            Judged::verified(lines, entry_facts(&proved.entry, &proved.checkpoint))
        }),
        Kind::Disclosure => verify_disclosure(text, trust).map(|disclosed| {
            let mut lines = entry_lines(&disclosed.entry);
            let fields = disclosed.fields.iter();
            lines.extend(fields.map(|(name, value)| format!("{name} = {value}")));
            lines.push(checkpoint_line(&disclosed.checkpoint));
            lines.push(format!("signed by {}", disclosed.signed_by));
            let mut facts = entry_facts(&disclosed.entry, &disclosed.checkpoint);
            let pairs = disclosed.fields.iter().map(|(name, value)| {
                let value = serde_json::from_str(value).unwrap_or(Value::Null);
                (name.clone(), value)
            });
            if let Value::Object(facts) = &mut facts {
                facts.insert("fields".to_owned(), Value::Object(pairs.collect()));
            }
            Judged::verified(lines, facts)
        }),
        Kind::Growth => return grown(text, trust, since),
        Kind::Receipt | Kind::Ledger => return Ok(report_note(text, trust)),
        Kind::Checkpoint => match trust.open_checkpoint(text.as_bytes()) {
            Ok(trusted) => {
                let old = since.map(read).transpose()?;
                if let Some(failed) = old.and_then(|old| beside(&trusted, &old, trust)) {
                    return Ok(failed);
                }
                if trusted.checkpoint.size.0 == 0 {
                    return Ok(Judged::nothing());
                }
                let lines = vec![
                    checkpoint_line(&trusted.checkpoint),
                    format!("signed by {}, {} witnesses", trusted.key, trusted.witnesses.len()),
                ];
                let size = trusted.checkpoint.size.0;
                let root = trusted.checkpoint.root.to_string();
                return Ok(Judged::verified(lines, json!({"size": size, "root": root})));
            }
            Err(error) => return Ok(Judged::failed(error.verdict(), error.to_string())),
        },
    };
    Ok(judged.unwrap_or_else(|error| Judged::of(&error)))
}

/// A consistency proof, which needs the checkpoint kept from before.
fn grown(text: &str, trust: &Trust, since: Option<&Path>) -> Result<Judged> {
    let Some(old) = since else {
        let form = alone(Kind::Growth, text);
        if form.exit == EXIT_REFUSED {
            return Ok(form);
        }
        let message = "name the checkpoint kept from before with --since; nothing was verified";
        return Err(Failure::usage("USAGE", message).into());
    };
    let judged = verify_growth(&read(old)?, text, trust).map(|grown| {
        if grown.new.size.0 == 0 {
            return Judged::nothing();
        }
        let lines = vec![
            format!(
                "the log of {} entries begins with the {} of before",
                grown.new.size, grown.old.size
            ),
            checkpoint_line(&grown.new),
            format!("signed by {}", grown.signed_by),
        ];
        let facts = json!({"old_size": grown.old.size.0, "new_size": grown.new.size.0});
        Judged::verified(lines, facts)
    });
    Ok(judged.unwrap_or_else(|error| Judged::of(&error)))
}

/// Why a checkpoint does not go with an older one, if it does not.
fn beside(new: &Trusted, old: &[u8], trust: &Trust) -> Option<Judged> {
    let old = match trust.open_checkpoint(old) {
        Ok(old) => old.checkpoint,
        Err(error) => {
            let detail = format!("the older checkpoint: {error}");
            return Some(Judged::failed(error.verdict(), detail));
        }
    };
    let new = &new.checkpoint;
    let (name, what) = if old.origin != new.origin {
        ("TENANT_MISMATCH", "the older checkpoint is of another log")
    } else if old.size > new.size {
        ("ROLLED_BACK", "the older checkpoint is the larger one")
    } else if old.contradicts(new) {
        ("EQUIVOCATION", "two checkpoints of one size have different roots")
    } else {
        return None;
    };
    Some(Judged::failed(name, what.to_owned()))
}

/// A note signed by a report key: what it says is shown line by line. It must be signed by the
/// key its first line names: one vault's report key says nothing about another's erasures.
fn report_note(text: &str, trust: &Trust) -> Judged {
    let opened = match trust.open_report(text.as_bytes()) {
        Ok(opened) => opened,
        Err(error) => return Judged::failed(error.verdict(), error.to_string()),
    };
    let first = opened.text.lines().next().unwrap_or_default();
    let ends = [statement::RECEIPT, statement::LEDGER];
    let Some(name) = ends.iter().find_map(|end| first.strip_suffix(end)) else {
        return Judged::failed("MALFORMED", "the first line names no receipt and no ledger".into());
    };
    if !opened.by.iter().any(|by| by.name == name) {
        let what = format!("the pinned key that signed is not named {name}");
        return Judged::failed("UNTRUSTED_KEY", what);
    }
    if let Some(judged) = statement_form(&opened.text) {
        return judged;
    }
    let lines: Vec<String> = opened.text.lines().map(str::to_owned).collect();
    Judged::verified(lines, json!({"text": opened.text}))
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

/// What can be said without trust.
fn alone(kind: Kind, text: &str) -> Judged {
    let consistent = match kind {
        Kind::Proof => proof_alone(text),
        Kind::Disclosure => serde_json::from_str::<Disclosure>(text)
            .map_err(|_| "not a disclosure".to_owned())
            .and_then(|disclosure| proof_alone(&disclosure.proof)),
        Kind::Growth => growth_form(text).map_err(|e| e.to_string()),
        Kind::Receipt | Kind::Ledger => match Note::parse(text.as_bytes()) {
            Ok(note) => match statement_form(&note.text) {
                Some(judged) => return judged,
                None => Ok(()),
            },
            Err(e) => Err(e.to_string()),
        },
        Kind::Checkpoint => {
            let note = Note::parse(text.as_bytes()).map_err(|e| e.to_string());
            note.and_then(|n| Checkpoint::parse(&n.text).map(drop).map_err(|e| e.to_string()))
        }
    };
    match consistent {
        Ok(()) => Judged::unpinned(Value::Null),
        Err(detail) => Judged::failed("MALFORMED", detail),
    }
}

fn proof_alone(text: &str) -> std::result::Result<(), String> {
    let proof = TlogProof::parse(text.as_bytes()).map_err(|e| e.to_string())?;
    let note = Note::parse(proof.checkpoint.as_bytes()).map_err(|e| e.to_string())?;
    let checkpoint = Checkpoint::parse(&note.text).map_err(|e| e.to_string())?;
    let entry = proof.extra.as_deref().ok_or("it carries no entry")?;
    proof.verify(&leaf_hash(entry), &checkpoint).map_err(|e| e.to_string())
}

fn folder(path: &Path, trust: Option<&Trust>) -> Result<Judged> {
    let manifest = path.join(manifest::MANIFEST);
    if !manifest.exists() {
        let message = format!(
            "{} holds neither vault.toml nor {}: no vault and no report",
            path.display(),
            manifest::MANIFEST
        );
        return Err(Failure::refused("MALFORMED", message).into());
    }
    let signed = read(&manifest)?;
    let Some(trust) = trust else {
        return Ok(match Note::parse(&signed) {
            Ok(_) => Judged::unpinned(Value::Null),
            Err(error) => Judged::failed("MALFORMED", error.to_string()),
        });
    };
    let mut files = Vec::new();
    // A report has one level of directories below it: its tables.
    let mut places = vec![(path.to_owned(), String::new())];
    while let Some((place, prefix)) = places.pop() {
        for entry in std::fs::read_dir(&place).map_err(|e| Failure::file(&place, &e))? {
            let entry = entry.map_err(|e| Failure::file(&place, &e))?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let is_dir = entry.file_type().map_err(|e| Failure::file(&place, &e))?.is_dir();
            if is_dir && prefix.is_empty() {
                places.push((entry.path(), format!("{name}/")));
            } else if name != manifest::MANIFEST {
                files.push((name, read(&entry.path())?));
            }
        }
    }
    let given: Vec<(&str, &[u8])> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    Ok(match manifest::verify(&signed, trust, &given) {
        Ok(found) if found.entries == 0 => Judged::nothing(),
        Ok(found) => {
            let lines = vec![
                format!("{} report of {}", found.kind, found.origin),
                format!("period {} to {}", found.period.0, found.period.1),
                format!("{} files unchanged, {} entries", found.files.len(), found.entries),
            ];
            Judged::verified(lines, json!({"id": found.id, "files": found.files.len()}))
        }
        Err(manifest::ManifestError::Signature(error)) => {
            Judged::failed(error.verdict(), error.to_string())
        }
        Err(error) => Judged::failed(error.verdict(), error.to_string()),
    })
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
            let judged = report_note(&note::sign(&text, &[key]).unwrap(), &trust);
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
        let judged = with_trust(Kind::Checkpoint, &note, &trust, None).unwrap();
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
