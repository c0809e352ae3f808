//! `chancery prove`: that entries are complete or absent, that one is in the log, or that the log
//! only grew. What is about a person is recorded before the file exists.

use crate::base::unit::TreeSize;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::cli::args::prove::{Prove, ProveCommand};
use crate::cli::cmd::{done, identifiers, must_be_new, write_out, write_stream};
use crate::cli::error::Failure;
use crate::cli::output::Tone;
use crate::cli::output::units::{self, count};
use crate::cli::run::Context;
use crate::cli::world::read_text;
use crate::format::checkpoint::Checkpoint;
use crate::format::complete::scope::{OPEN_END, Window};
use crate::vault::complete::{About, Asked, Handover, Made};
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Prove) -> Result<ExitCode> {
    match &args.command {
        Some(command) => single(context, command),
        None => complete(context, args),
    }
}

/// Everything of what is asked, or that there is none.
fn complete(context: &mut Context, args: &Prove) -> Result<ExitCode> {
    let Some(out) = args.out.as_deref() else {
        let message = "name the file to write with --out; nothing was done";
        return Err(Failure::usage("USAGE", message).into());
    };
    must_be_new(Some(out))?;
    let vault = context.open()?;
    let about = match (&args.subject, &args.code, &args.source) {
        (Some(person), ..) => {
            Some(About::Person(identifiers(&vault, std::slice::from_ref(person))?))
        }
        (_, Some(code), _) => Some(About::Code(*code)),
        (.., Some(source)) => Some(About::Source(source.clone())),
        _ => None,
    };
    let asked = asked(args);
    let handover = match (&args.recipient, &args.purpose, &args.by) {
        (Some(recipient), Some(purpose), Some(by)) => Some(Handover {
            purpose: purpose.clone(),
            who: format!("{recipient}; handed out by {by}"),
        }),
        _ => None,
    };
    let made = write_stream(out, &mut |file| match (&about, args.epoch) {
        (_, Some(epoch)) => vault.prove_epoch(epoch, file),
        (Some(about), _) => vault.prove_answer(about, &asked, handover.as_ref(), file),
        (None, _) => vault.prove_range(&asked, handover.as_ref(), file),
    })?;
    say(context, out, &made)
}

fn asked(args: &Prove) -> Asked {
    let whole = || EntryIndex(0)..EntryIndex(u64::MAX);
    match (&args.range, args.from, args.to) {
        (Some(range), ..) if args.sealed => Asked::Sealed(range.clone()),
        (Some(range), ..) => Asked::Indexes(range.clone()),
        (None, None, None) if args.sealed => Asked::Sealed(whole()),
        (None, None, None) => Asked::Everything,
        (None, from, to) => {
            Asked::Window(Window { from: from.unwrap_or(UtcNanos(0)), to: to.unwrap_or(OPEN_END) })
        }
    }
}

fn say(context: &mut Context, out: &Path, made: &Made) -> Result<ExitCode> {
    let bytes = std::fs::metadata(out).map_err(|e| Failure::file(out, &e))?.len();
    let (first, end) = (made.scope.first.0, made.scope.end.0);
    context.out.object(&json!({
        "out": out.display().to_string(), "bytes": bytes, "found": made.found,
        "first": first, "end": end, "size": made.size.0,
        "sealed_epochs": made.sealed_epochs, "recorded": made.recorded.map(|index| index.0),
        "open_end": made.is_open(),
    }))?;
    let found = match made.found {
        0 => "none".to_owned(),
        found => count(found),
    };
    let text = format!("{found} of entries {first} to {end}, in {}", units::bytes(bytes));
    context.out.status(Tone::Good, "PROVED", &text)?;
    if let Some(index) = made.recorded {
        context
            .out
            .say(&format!("Recorded by entry {index}. No erasure can call this file back."))?;
    }
    if made.is_open() {
        context.out.say(
            "The window has no end yet: no entry of its end or later is in the log, so a verifier \
             says RANGE_OPEN_END. Ask again later, or say --recipient, --purpose and --by: the \
             entry that records it closes the window.",
        )?;
    }
    let out = out.display();
    context.out.say(&format!("The receiver checks it with: chancery verify {out} --trust FILE"))?;
    done()
}

fn single(context: &mut Context, command: &ProveCommand) -> Result<ExitCode> {
    match command {
        ProveCommand::Inclusion { index, newest, out } => {
            let vault = context.open()?;
            let proof = match newest {
                true => vault.prove_newest(*index)?,
                false => vault.prove(*index)?,
            };
            finish(context, out.as_deref(), &proof, &format!("entry {index} is in the log"))
        }
        ProveCommand::Consistency { since, size, out } => {
            let vault = context.open()?;
            let old = match (since, size) {
                (Some(path), _) => {
                    let text = read_text(path)?;
                    let old = Checkpoint::open(text.as_bytes(), vault.log_key());
                    old.map_err(|e| Failure::refused("MALFORMED", e.to_string()))?.size
                }
                (None, Some(size)) => TreeSize(*size),
                (None, None) => TreeSize(0),
            };
            let proof = vault.prove_growth(old)?;
            let what = format!("the log of today begins with its first {old} entries");
            finish(context, out.as_deref(), &proof, &what)
        }
    }
}

fn finish(context: &mut Context, out: Option<&Path>, proof: &str, what: &str) -> Result<ExitCode> {
    if out.is_some() || !context.out.style.json {
        write_out(out, proof.as_bytes())?;
    }
    context.out.object(&json!({
        "out": out.map(|path| path.display().to_string()), "proof": proof,
    }))?;
    if let Some(out) = out {
        let out = out.display();
        let since = if proof.starts_with("old ") { " --since CHECKPOINT" } else { "" };
        context.out.say(&format!(
            "Proof that {what}: {out}\nCheck it anywhere: chancery verify {out}{since} --trust FILE"
        ))?;
    }
    done()
}
