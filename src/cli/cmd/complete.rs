//! Range and answer files judged, and what they say in plain sentences. Read as a stream; nothing
//! of a file is printed before all of it verified.

use crate::base::event::{EventCode, Outcome};
use crate::base::id::hex;
use crate::base::limits::EPOCH_ENTRIES;
use crate::cli::cmd::evidence::Judged;
use crate::cli::error::{EXIT_INCONCLUSIVE, Failure};
use crate::cli::output::units::count;
use crate::format::complete::answer::{self, AnswerFound, Question};
use crate::format::complete::claim::{Claim, Stands};
use crate::format::complete::range::{self, RangeFound};
use crate::format::complete::scope::{OPEN_END, Scope};
use crate::format::complete::{Fault, Signed};
use crate::format::seal::row::RowKind;
use crate::format::seal::sample::Sample;
use crate::format::trust::Trust;
use anyhow::Result;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

/// Found entries that are listed as lines.
const LISTED: usize = 20;
/// First lines of all versions begin so.
const RANGE: &[u8] = b"chancery/range/";
const ANSWER: &[u8] = b"chancery/answer/";

/// Judges a range or answer file; nothing for a file of another kind. What was asked for and
/// cannot be done is refused: nobody shall believe that it was.
pub(crate) fn judge(
    path: &Path,
    trust: Option<&Trust>,
    sample: Option<&Sample>,
) -> Result<Option<(&'static str, Judged)>> {
    if path.is_dir() {
        return Ok(None);
    }
    let failed = |e: std::io::Error| Failure::file(path, &e);
    let mut file = File::open(path).map_err(failed)?;
    let mut first = Vec::new();
    file.by_ref().take(answer::MAGIC.len() as u64).read_to_end(&mut first).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (is_range, is_answer) = (first.starts_with(RANGE), first.starts_with(ANSWER));
    if !is_range && !is_answer {
        return Ok(None);
    }
    if is_answer && sample.is_some() {
        return Err(unreplayable().into());
    }
    let judged = if first.starts_with(range::MAGIC) {
        range::verify(&mut reader, trust, sample).map(of_range)
    } else if first.starts_with(answer::MAGIC) {
        answer::verify(&mut reader, trust).map(of_answer)
    } else {
        Ok(too_new(&first))
    };
    let kind = if is_range { "range" } else { "answer" };
    Ok(Some((kind, judged.or_else(|fault| of_fault(fault, path))?)))
}

/// Seals cannot be replayed from a file without the entries of their epochs.
pub(crate) fn unreplayable() -> Failure {
    let message = "seals are replayed from a data directory or from a range file that holds the \
                   whole epoch; nothing was verified; `chancery prove --epoch K` writes one";
    Failure::usage("USAGE", message)
}

/// A first line of this form and another version, whole or as far as it was read.
fn too_new(first: &[u8]) -> Judged {
    let line = String::from_utf8_lossy(first);
    let line = line.split('\n').next().unwrap_or_default();
    let mut judged = Judged::failed("STORE_TOO_NEW", format!("{line:?} is of another version"));
    judged.exit = EXIT_INCONCLUSIVE;
    judged
}

fn of_fault(fault: Fault, path: &Path) -> Result<Judged> {
    match fault {
        Fault::Refused { verdict, detail } => Ok(Judged::failed(verdict, detail)),
        Fault::Read(error) => Err(Failure::file(path, &error).into()),
    }
}

fn of_range(found: RangeFound) -> Judged {
    let mut lines = vec![scope_line(&found.scope, found.entries())];
    if found.entries() > 0 {
        let kinds: Vec<String> =
            found.kinds.iter().map(|(kind, n)| format!("{} {kind}", count(*n))).collect();
        lines.push(format!("of them {}", kinds.join(", ")));
    }
    lines.extend(ends(&found.scope, &found.signed));
    let mut facts = facts(&found.scope, &found.signed, found.entries());
    let mut inconclusive = false;
    if let Some(replayed) = &found.replayed {
        for (epoch, seal) in &replayed.agree {
            lines.push(format!("epoch {epoch}: its seal, entry {seal}, says what its entries say"));
        }
        for epoch in &replayed.unsealed {
            lines.push(format!("epoch {epoch}: computed, but its seal is not in this file"));
        }
        inconclusive = replayed.agree.is_empty();
        if inconclusive {
            lines.push("no seal was replayed: no whole epoch with its seal is here".to_owned());
        }
        if let Value::Object(facts) = &mut facts {
            facts.insert("replayed".to_owned(), json!(replayed.agree.len()));
        }
    }
    let mut judged = Judged::of_log(lines, facts, &found.signed);
    if inconclusive {
        judged.exit = EXIT_INCONCLUSIVE;
        judged.verdict = "INCONCLUSIVE".to_owned();
    }
    judged
}

fn of_answer(found: AnswerFound) -> Judged {
    let question = &found.question;
    let (first, end) = (question.scope.first, question.scope.end);
    let what = what(question, found.claim.as_ref());
    let mut lines = Vec::new();
    let number = found.found.len() as u64;
    lines.push(match number {
        0 => format!("no entry with {what} in entries {first} to {end}: absence is proved"),
        _ => format!(
            "{} {} with {what}, complete for entries {first} to {end}",
            count(number),
            if number == 1 { "entry" } else { "entries" }
        ),
    });
    lines.extend(found.listed.iter().take(LISTED).map(|one| {
        let head = &one.entry.head;
        let (index, time) = (one.entry.index, one.entry.time_log);
        format!("  entry {index} of {time}: {} {}", head.code, head.outcome)
    }));
    if found.found.len() > LISTED {
        lines.push(format!("  and {} more", count((found.found.len() - LISTED) as u64)));
    }
    if question.scope.window.is_some() {
        lines.push(scope_line(&question.scope, end.0.saturating_sub(first.0)));
    }
    lines.extend(ends(&question.scope, &found.signed));
    lines.extend(basis(&found));
    lines.extend(found.claim.iter().flat_map(claim_lines));
    let mut facts = facts(&question.scope, &found.signed, number);
    if let Value::Object(facts) = &mut facts {
        let seals: Vec<Value> = found
            .seals
            .iter()
            .map(|(epoch, index)| json!({"epoch": epoch, "seal": index.0}))
            .collect();
        let indexes: Vec<u64> = found.found.iter().map(|index| index.0).collect();
        facts.insert("kind".to_owned(), json!(question.kind.name()));
        facts.insert(
            "keys".to_owned(),
            json!(question.keys.iter().map(|k| hex(k)).collect::<Vec<_>>()),
        );
        facts.insert("indexes".to_owned(), json!(indexes));
        facts.insert("seals".to_owned(), json!(seals));
    }
    Judged::of_log(lines, facts, &found.signed)
}

/// What the answer rests on.
fn basis(found: &AnswerFound) -> Vec<String> {
    let mut lines = Vec::new();
    let claims = "the vault's claim, until a replay of the epoch tests it";
    match (found.seals.as_slice(), found.seals.last()) {
        ([(epoch, seal)], _) => {
            lines.push(format!("epoch {epoch} rests on its seal, entry {seal}: {claims}"));
        }
        ([(epoch, _), .., (last, _)], Some((_, seal))) => lines.push(format!(
            "epochs {epoch} to {last} rest on a seal each, the last of them entry {seal}: {claims}"
        )),
        _ => {}
    }
    let tail = found.question.tail();
    if !tail.is_empty() {
        lines.push(format!(
            "entries {} to {} are all shown and rest on no seal",
            tail.start, tail.end
        ));
    }
    lines
}

fn claim_lines(claim: &Claim) -> Vec<String> {
    match &claim.stands {
        Stands::Person { identifiers, tags } => vec![
            format!(
                "the vault states, signed by {}: all that {} has in this log is {}",
                claim.signer,
                identifiers.join(", "),
                if tags.len() == 1 { "one tag".to_owned() } else { format!("{} tags", tags.len()) }
            ),
            "whether that is all nobody outside can compute; of entries with it none is left out"
                .to_owned(),
        ],
        Stands::Sources(sources) => sources
            .iter()
            .map(|(handle, name)| {
                let name = if name.is_empty() { "the vault itself" } else { name };
                format!("the vault states, signed by {}: {handle} is {name}", claim.signer)
            })
            .collect(),
    }
}

/// The keys in words.
fn what(question: &Question, claim: Option<&Claim>) -> String {
    let first = question.keys.first().copied().unwrap_or_default();
    let [a, b, ..] = first;
    let one = match (question.kind, claim.map(|claim| &claim.stands)) {
        (RowKind::Subject, Some(Stands::Person { identifiers, .. })) => {
            return format!("a tag of {}", identifiers.join(", "));
        }
        (RowKind::Source, Some(Stands::Sources(sources))) => {
            let names: Vec<&str> = sources.iter().map(|(_, name)| name.as_str()).collect();
            return format!("source {}", names.join(", "));
        }
        (RowKind::Code, _) => {
            EventCode::from_value(u16::from_be_bytes([a, b])).map(|code| format!("code {code}"))
        }
        (RowKind::Outcome, _) => Outcome::from_value(a).map(|outcome| format!("outcome {outcome}")),
        _ => None,
    };
    match (one, question.keys.len()) {
        (Some(one), 1) => one,
        (_, 1) => format!("{} {}", question.kind.name(), hex(&first)),
        (_, more) => format!("one of {more} keys of kind {}", question.kind.name()),
    }
}

fn scope_line(scope: &Scope, entries: u64) -> String {
    let (first, end) = (scope.first, scope.end);
    match scope.window {
        None => format!("every entry from {first} to {end} ({}), none left out", count(entries)),
        Some(_) if first == end => {
            format!("no entry has a log time in the window: {first} is the first after it")
        }
        Some(window) => {
            let to = match window.to {
                OPEN_END => "the end of the signed log".to_owned(),
                to => to.to_string(),
            };
            format!(
                "the window of log time from {} to {to} is entries {first} to {end} ({}); both \
                 cuts are shown",
                window.from,
                count(scope.end.0.saturating_sub(scope.first.0))
            )
        }
    }
}

/// What an end at the checkpoint means.
fn ends(scope: &Scope, signed: &Signed) -> Option<String> {
    let size = signed.checkpoint.size.0;
    let text = "it ends where the signed log ends: later entries are not covered";
    (scope.end.0 == size).then(|| text.to_owned())
}

fn facts(scope: &Scope, signed: &Signed, found: u64) -> Value {
    let window = scope.window.map(|w| json!({"from": w.from.to_string(), "to": w.to.to_string()}));
    json!({
        "first": scope.first.0,
        "end": scope.end.0,
        "window": window,
        "found": found,
        "epochs": scope.end.0.div_ceil(EPOCH_ENTRIES) - scope.first.0 / EPOCH_ENTRIES,
        "origin": signed.checkpoint.origin,
        "size": signed.checkpoint.size.0,
        "root": signed.checkpoint.root.to_string(),
    })
}
