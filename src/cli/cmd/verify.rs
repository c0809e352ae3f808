//! `chancery verify`: as an outsider over a data directory, as an insider over every body, or one
//! file of evidence. It writes nothing. The exit code is the worst of what was found.

use crate::cli::args::record::Verify;
use crate::cli::cmd::{evidence, must_be_new, write_stream};
use crate::cli::error::{
    EXIT_DONE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED, EXIT_REFUSED, Failure, of_verdict,
};
use crate::cli::output::units::count;
use crate::cli::output::{Align, Progress, Table, Tone};
use crate::cli::run::Context;
use crate::format::control::Sight;
use crate::format::seal::sample::Sample;
use crate::format::trust::Trust;
use crate::store::disk::{Disk, OsDisk};
use crate::store::error::ErrorKind;
use crate::vault::error::Error as VaultError;
use crate::vault::verify::{BodyReport, Options, Report, Verdict};
use crate::vault::verify::{exit_code_of, seal_evidence, verify_data};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Findings printed one by one; the counts say the rest.
const PRINTED_MAX: usize = 50;
/// Why bodies were not opened although they should have been.
const LOCKED: &str = "not opened: another process has this vault open";

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Verify) -> Result<ExitCode> {
    let trust = match &args.trust {
        Some(path) => Some(read_trust(path)?),
        None => None,
    };
    must_be_new(args.evidence.as_deref())?;
    match &args.path {
        Some(path) if path.is_dir() && path.join("vault.toml").exists() => {
            let report = data(context, path, trust.as_ref(), args)?;
            write_evidence(context, path, args.evidence.as_deref(), &report)?;
            conclude(context, &report, None, None)
        }
        Some(path) => {
            of_data_only(args)?;
            let sample = asked(args);
            evidence::run(context, path, trust.as_ref(), args.since.as_deref(), sample.as_ref())
        }
        None => whole(context, trust.as_ref(), args),
    }
}

/// Refuses what one file of evidence cannot answer: nobody shall believe that it was looked at.
fn of_data_only(args: &Verify) -> Result<()> {
    for (given, name, why) in [
        (args.strict, "--strict", "judges the numbers of sources"),
        (args.evidence.is_some(), "--evidence", "takes a wrong seal"),
    ] {
        if given {
            let message =
                format!("{name} {why} in a whole log: name a data directory; nothing was verified");
            return Err(Failure::usage("USAGE", message).into());
        }
    }
    Ok(())
}

/// The share of seals to compute again, if the reader asked for one; of a data directory all,
/// if he asked for nothing.
fn asked(args: &Verify) -> Option<Sample> {
    let seed = args.seed.as_deref().unwrap_or_default();
    args.replay_seals.and_then(|percent| Sample::new(percent, seed.as_bytes()))
}

fn sample(args: &Verify) -> Option<Sample> {
    match args.replay_seals {
        None => Some(Sample::all()),
        Some(_) => asked(args),
    }
}

/// A wrong seal, with its epoch, for people who are not here.
fn write_evidence(
    context: &mut Context,
    data: &Path,
    out: Option<&Path>,
    report: &Report,
) -> Result<()> {
    let wrong = report.verdicts.iter().find(|v| v.name == "SEAL_MISMATCH");
    let (Some(out), Some(index)) = (out, wrong.and_then(|v| v.index)) else { return Ok(()) };
    let scope = write_stream(out, &mut |file| seal_evidence(&OsDisk, data, index, file))?;
    let (first, out) = (scope.first, out.display());
    context.out.say(&format!(
        "The seal at {index} with the entries from {first} on: {out}\n\
         Anybody comes to the same verdict: chancery verify {out} --trust FILE --replay-seals all"
    ))?;
    Ok(())
}

/// Reads a trust file.
pub(crate) fn read_trust(path: &Path) -> Result<Trust> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, &e))?;
    let refused = |why: String| {
        let message = format!("{}: {why}; nothing was verified", path.display());
        Failure::usage("TRUST_POLICY", message)
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| refused("it is not UTF-8".to_owned()))?;
    Ok(Trust::parse(text).map_err(|e| refused(e.to_string()))?)
}

/// This vault: first its data as an outsider would, then every body with its keys.
fn whole(context: &mut Context, trust: Option<&Trust>, args: &Verify) -> Result<ExitCode> {
    let config = context.config()?;
    // Of the tenant that was named: never one log with another's bodies.
    let report = data(context, &config.data, trust, args)?;
    write_evidence(context, &config.data, args.evidence.as_deref(), &report)?;
    if args.no_bodies || report.exit_code() == EXIT_REFUSED {
        // A vault whose evidence fails may not open; what failed is said first.
        let why = if args.no_bodies { "not asked for" } else { "evidence failed before" };
        return conclude(context, &report, None, Some(why));
    }
    let vault = match context.open_with(&config) {
        Err(error) if is_locked(&error) => {
            return conclude(context, &report, None, Some(LOCKED));
        }
        opened => opened?,
    };
    let progress = Progress::new(&context.out.style, "opening bodies", vault.size().0);
    let mut told = 0;
    let stop = context.stop.clone();
    let bodies = vault.verify_bodies(&mut |done, _| {
        progress.add(done.saturating_sub(told));
        told = done;
        if stop.load(Ordering::Relaxed) {
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
    })?;
    progress.done();
    conclude(context, &report, Some(&bodies), None)
}

/// Whether another process works with the vault: its data can be verified, its bodies not.
fn is_locked(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<VaultError>() {
        Some(VaultError::Unavailable(error)) => error.kind == ErrorKind::Locked,
        _ => false,
    }
}

fn data(context: &Context, data: &Path, trust: Option<&Trust>, args: &Verify) -> Result<Report> {
    let retained = retained(args.since.as_deref())?;
    let options = Options { strict: args.strict, replay_seals: sample(args), retained };
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let mut progress: Option<Progress> = None;
    let (style, stop) = (context.out.style, context.stop.clone());
    let mut told = 0;
    let report = verify_data(&disk, data, trust, &options, &mut |done, total| {
        let bar = progress.get_or_insert_with(|| Progress::new(&style, "verifying log", total));
        bar.add(done.saturating_sub(told));
        told = done;
        if stop.load(Ordering::Relaxed) {
            // Nothing was written: there is nothing to close.
            std::process::exit(i32::from(EXIT_INTERRUPTED));
        }
    });
    report.map_err(|error| {
        let code = exit_code_of(&error);
        crate::cli::error::with_exit(&error.into(), code)
    })
}

/// A checkpoint kept from before. Bytes that are no text are judged, not refused.
pub(crate) fn retained(since: Option<&Path>) -> Result<Vec<String>> {
    let Some(path) = since else { return Ok(Vec::new()) };
    Ok(vec![String::from_utf8_lossy(&evidence::read_note(path)?).into_owned()])
}

pub(crate) fn word(exit: u8) -> (Tone, &'static str) {
    match exit {
        EXIT_DONE => (Tone::Good, "VERIFIED"),
        EXIT_INCONCLUSIVE => (Tone::Warn, "INCONCLUSIVE"),
        _ => (Tone::Bad, "FAILED"),
    }
}

fn worst(report: u8, bodies: Option<u8>) -> u8 {
    match (report, bodies) {
        (EXIT_REFUSED, _) | (_, Some(EXIT_REFUSED)) => EXIT_REFUSED,
        (code, _) => code,
    }
}

fn conclude(
    context: &mut Context,
    report: &Report,
    bodies: Option<&BodyReport>,
    unopened: Option<&str>,
) -> Result<ExitCode> {
    let exit = match worst(report.exit_code(), bodies.map(BodyReport::exit_code)) {
        EXIT_DONE if unopened == Some(LOCKED) => EXIT_INCONCLUSIVE,
        exit => exit,
    };
    of_verdict(print(context, report, (bodies, unopened), exit), exit)
}

fn print(
    context: &mut Context,
    report: &Report,
    (bodies, unopened): (Option<&BodyReport>, Option<&str>),
    exit: u8,
) -> Result<()> {
    let (tone, word) = word(exit);
    context.out.object(&json!({
        "verdict": word.to_lowercase(),
        "exit": exit,
        "data": serde_json::to_value(report).unwrap_or(Value::Null),
        "unopened": unopened,
        "bodies": bodies.and_then(|b| serde_json::to_value(b).ok()),
    }))?;
    let mut table = Table::new(&[("checked", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, value: String| table.row(&[name, value.as_str()]);
    row("log", report.origin.clone());
    let entries = format!("{} in {} units", count(report.entries), count(report.units));
    row("entries", entries);
    row("log time", format!("{} to {}", report.first_time, report.last_time));
    if let Some(signed) = &report.signed_by {
        let pinned = if signed.pinned { "by a pinned key" } else { "by the log's own key" };
        row("checkpoint", format!("{} entries, signed {pinned}", count(signed.size.0)));
        row("witnesses", witnesses(report));
        row("time from outside", seen(report));
    }
    row("seals", format!("{}, {} computed again", report.seals, report.seals_replayed));
    let groups = format!(
        "{}: {} bodies in place, {} expired, {} erasures",
        count(report.groups),
        count(report.bodies),
        count(report.expired),
        count(report.erasures)
    );
    row("sealed groups", groups);
    if let Some(bodies) = bodies {
        let fates: Vec<String> =
            bodies.fates.iter().map(|(fate, n)| format!("{fate} {}", count(*n))).collect();
        row("opened with keys", fates.join(", "));
    } else if let Some(why) = unopened {
        row("opened with keys", why.to_owned());
    }
    context.out.table(&table)?;
    let found: Vec<&Verdict> =
        report.verdicts.iter().chain(bodies.iter().flat_map(|b| &b.verdicts)).collect();
    print_verdicts(context, &found)?;
    context.out.status(tone, word, &said_beside(report))?;
    if exit == EXIT_INCONCLUSIVE && report.signed_by.as_ref().is_none_or(|s| !s.pinned) {
        context.out.say("Pin the signer with --trust FILE, obtained from outside.")?;
    }
    Ok(())
}

/// What stands beside the verdict: why it is no better, and what was not computed.
fn said_beside(report: &Report) -> String {
    let mut said: Vec<String> = report.inconclusive.iter().map(|why| (*why).to_owned()).collect();
    let left = report.seals.saturating_sub(report.seals_replayed);
    if left > 0 {
        said.push(format!("{} of {} seals not computed again", count(left), count(report.seals)));
    }
    said.join("; ")
}

/// What time-stamps and kept cosignatures bound. Log time itself is the vault's own word.
fn seen(report: &Report) -> String {
    let Some(seen) = &report.seen else {
        return "nobody pinned says when".to_owned();
    };
    let who = match seen.by {
        Sight::Cosigned => "a witness",
        Sight::Timestamp => "a time-stamp authority",
    };
    let (verified, all) = (report.anchors_verified, report.anchors);
    format!(
        "{} entries existed by {}, says {who}; {verified} of {all} anchors verified",
        count(seen.size.0),
        seen.not_after,
    )
}

/// Who cosigned, how far, and when the first one did: the log time of nothing below lies later.
fn witnesses(report: &Report) -> String {
    let by = report.signed_by.iter().flat_map(|signed| &signed.witnesses);
    let names: Vec<&str> = by.clone().map(|(name, _)| name.as_str()).collect();
    match (report.witnessed, by.map(|(_, time)| *time).min()) {
        (Some(size), Some(time)) => format!(
            "WITNESSED by {}, {} entries, the first at {time}",
            names.join(", "),
            count(size.0)
        ),
        _ => "UNWITNESSED".to_owned(),
    }
}

fn print_verdicts(context: &mut Context, found: &[&Verdict]) -> Result<()> {
    for verdict in found.iter().take(PRINTED_MAX) {
        let tone = if verdict.fails { Tone::Bad } else { Tone::Warn };
        let place = verdict.index.map_or_else(String::new, |index| format!("entry {index}: "));
        context.out.status(tone, verdict.name, &format!("{place}{}", verdict.detail))?;
    }
    if found.len() > PRINTED_MAX {
        let more = found.len() - PRINTED_MAX;
        context.out.say(&format!("and {more} more; --json lists them"))?;
    }
    Ok(())
}
