//! `chancery subject`: what belongs to a person, and forgetting it. Nothing is destroyed without
//! two people, or one who says so; a receipt says what went, what stays and why.

use crate::base::id::JobId;
use crate::cli::args::govern::{Approval, SubjectCommand};
use crate::cli::args::values::IdentifierArg;
use crate::cli::cmd::write_new;
use crate::cli::cmd::{case_names, cases, done, identifiers, must_be_new, order, ordered};
use crate::cli::error::Failure;
use crate::cli::output::{Align, Table, Tone};
use crate::cli::run::Context;
use crate::format::control::Deferred;
use crate::policy::order::act::{Act, Named};
use crate::vault::Vault;
use crate::vault::beside::{Beside, Likely};
use crate::vault::error::Error;
use crate::vault::facts::Erasure;
use anyhow::Result;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, command: &SubjectCommand) -> Result<ExitCode> {
    match command {
        SubjectCommand::Link { identifiers, approval } => link(context, identifiers, approval),
        SubjectCommand::Preview { identifier } => preview(context, identifier),
        SubjectCommand::Erase { .. } => erase(context, command),
        SubjectCommand::Status { job, all } => status(context, job.as_deref(), *all),
        SubjectCommand::Receipt { job, out } => {
            must_be_new(out.as_deref())?;
            let vault = context.open()?;
            let receipt = vault.erasure_receipt(job_id(job)?)?;
            if out.is_some() || !context.out.style.json {
                write_new(out.as_deref(), receipt.as_bytes())?;
            }
            context.out.object(&json!({"job": job, "receipt": receipt}))?;
            done()
        }
    }
}

fn job_id(text: &str) -> Result<JobId> {
    let message = "JOB: expected 32 hex digits; `chancery subject status --all` lists them";
    JobId::parse(text).ok_or_else(|| Failure::usage("USAGE", message).into())
}

fn link(context: &mut Context, given: &[IdentifierArg], approval: &Approval) -> Result<ExitCode> {
    let config = context.config()?;
    let order = order(approval, &config)?;
    let vault = context.open_with(&config)?;
    let named = identifiers(&vault, given)?;
    if named.len() < 2 {
        let message = "name at least two identifiers of one person; nothing was done";
        return Err(Failure::usage("SUBJECT_EMPTY", message).into());
    }
    let act = Act::Link { identifiers: named.iter().map(Named::from).collect() };
    if ordered::instead(context, &config, &vault, approval, act)? {
        return done();
    }
    let person = vault.link(&named, &order)?;
    let count = named.len();
    context.out.object(&json!({"person": person.to_string(), "identifiers": count}))?;
    context.out.status(Tone::Good, "LINKED", &format!("{count} identifiers are one person now"))?;
    context.out.say("They are found, held and erased together from here on.")?;
    done()
}

fn deferred_json(vault: &Vault, list: &[Deferred]) -> Vec<Value> {
    let one = |left: &Deferred| {
        json!({
            "class": vault.class_name(left.class),
            "why": left.why,
            "law": left.law,
            "due": left.due.map(|due| due.to_string()),
        })
    };
    list.iter().map(one).collect()
}

fn deferred_text(vault: &Vault, left: &Deferred) -> String {
    let until =
        left.due.map_or_else(|| "while the hold lasts".to_owned(), |d| format!("until {d}"));
    format!("  class {} stays {until}: {} {}", vault.class_name(left.class), left.why, left.law)
}

fn preview(context: &mut Context, given: &IdentifierArg) -> Result<ExitCode> {
    let vault = context.open()?;
    let named = identifiers(&vault, std::slice::from_ref(given))?;
    let preview = vault.preview_erasure(&named)?;
    let held = case_names(&cases(&vault)?, &preview.held);
    let classes: Vec<Value> = preview
        .records
        .iter()
        .map(|(class, records)| json!({"class": vault.class_name(*class), "records": records}))
        .collect();
    let known: Vec<String> =
        preview.identifiers.iter().map(|i| format!("{}:{}", i.kind, i.value)).collect();
    let beside = vault.beside(&preview.persons)?;
    context.out.object(&json!({
        "persons": preview.persons.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "identifiers": known,
        "records": classes,
        "now": preview.classes.iter().map(|c| vault.class_name(*c)).collect::<Vec<_>>(),
        "deferred": deferred_json(&vault, &preview.deferred),
        "held_by": held,
        "possible": held.is_empty(),
        "likely_unlinked": likely_json(&beside),
        "tenant_sealed": tenant_json(&beside),
        "looked_at": beside.looked_at,
        "complete": beside.complete,
    }))?;
    context.out.say(&format!("Identifiers of this person ({}):", known.len()))?;
    for identifier in &known {
        context.out.say(&format!("  {identifier}"))?;
    }
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("records", Align::Right),
        ("an erasure today", Align::Left),
    ]);
    for (class, records) in &preview.records {
        let goes = preview.classes.contains(class);
        let what = if goes { "destroys its keys" } else { "leaves it" };
        table.row(&[vault.class_name(*class), records.to_string(), what.to_owned()]);
    }
    context.out.table(&table)?;
    for left in &preview.deferred {
        context.out.say(&deferred_text(&vault, left))?;
    }
    if !held.is_empty() {
        let text = format!("case {}; release it before an erasure", held.join(", "));
        context.out.status(Tone::Bad, "HELD", &text)?;
    }
    say_beside(context, &beside)?;
    context.out.say("Nothing was changed.")?;
    done()
}

fn likely_json(beside: &Beside) -> Vec<Value> {
    let one = |likely: &Likely| {
        let kinds = likely.kinds.iter().map(|(kind, n)| (kind.to_string(), json!(n)));
        json!({
            "persons": likely.persons.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "identifiers": kinds.collect::<serde_json::Map<_, _>>(),
            "shared": likely.shared,
            "records": likely.own,
        })
    };
    beside.likely.iter().map(one).collect()
}

fn tenant_json(beside: &Beside) -> Vec<Value> {
    let all = beside.tenant_sealed.iter();
    all.map(|(source, bodies)| json!({"source": source.as_deref(), "bodies": bodies})).collect()
}

fn say_beside(context: &mut Context, beside: &Beside) -> Result<()> {
    for likely in &beside.likely {
        let kinds: Vec<String> =
            likely.kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        let person = likely.persons.first().map(ToString::to_string).unwrap_or_default();
        context.out.say(&format!(
            "Perhaps the same person, and not linked: {person} ({}), in {} of its {} records",
            kinds.join(", "),
            likely.shared,
            likely.own
        ))?;
    }
    for (source, bodies) in &beside.tenant_sealed {
        let source = source
            .as_deref()
            .map_or("acts of the vault".to_owned(), |name| format!("source {name}"));
        let what = "bodies in these records are sealed under the tenant; no erasure reaches them";
        context.out.say(&format!("  {source}: {bodies} {what}"))?;
    }
    if !beside.complete {
        let what = "not all was looked at";
        context
            .out
            .say(&format!("Counted over the newest {} records; {what}.", beside.looked_at))?;
    }
    Ok(())
}

fn erase(context: &mut Context, command: &SubjectCommand) -> Result<ExitCode> {
    let SubjectCommand::Erase { identifier, basis, receipt, approval } = command else {
        return done();
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if basis.is_empty() || basis.len() > 64 || !basis.chars().all(plain) {
        let message = "--basis: 1 to 64 letters, digits, `.` `-` `_`, as in gdpr-17-1; it stands \
                       in clear in the log; nothing was done";
        return Err(Failure::usage("USAGE", message).into());
    }
    must_be_new(receipt.as_deref())?;
    let config = context.config()?;
    let order = order(approval, &config)?;
    let vault = context.open_with(&config)?;
    let named = identifiers(&vault, std::slice::from_ref(identifier))?;
    let identifiers = named.iter().map(Named::from).collect();
    let act = Act::Erase { identifiers, basis: basis.clone() };
    if ordered::instead(context, &config, &vault, approval, act)? {
        return done();
    }
    let done_now = vault.erase(&named, basis, &order).map_err(|e| held(&vault, e))?;
    let text = vault.erasure_receipt(done_now.job)?;
    let stored = write_receipt(context, receipt.as_deref(), &text);
    context.out.object(&json!({
        "job": done_now.job.to_string(),
        "intent": done_now.intent.0,
        "done": done_now.done.0,
        "persons": done_now.persons.len(),
        "records": done_now.records,
        "deferred": deferred_json(&vault, &done_now.deferred),
        "bytes_written": done_now.bytes_written,
        "receipt": text,
    }))?;
    let records = done_now.records.map_or_else(
        || "an unknown number of records (`chancery verify` says what is damaged)".to_owned(),
        |records| format!("{records} records"),
    );
    let what = format!(
        "{records} cannot be read any more; entries {} and {} say so (job {})",
        done_now.intent, done_now.done, done_now.job
    );
    context.out.status(Tone::Good, "ERASED", &what)?;
    for left in &done_now.deferred {
        context.out.say(&deferred_text(&vault, left))?;
    }
    context.out.say(
        "Outside this promise: copies of keys and data made together before it, exports, and \
         what people remember.",
    )?;
    stored?;
    done()
}

/// The erasure has happened: a receipt that cannot be written is a failure of its own.
fn write_receipt(context: &Context, out: Option<&std::path::Path>, text: &str) -> Result<()> {
    match out {
        None if context.out.style.json => Ok(()),
        None => write_new(None, format!("{text}\n").as_bytes()),
        Some(path) => write_new(Some(path), text.as_bytes()).map_err(|e| {
            let message = format!(
                "the erasure is done, its receipt is not written ({e}); \
                 `chancery subject receipt JOB` prints it again"
            );
            Failure::failed("RECEIPT_UNWRITTEN", message).into()
        }),
    }
}

/// A hold's refusal with the names of its cases.
pub(crate) fn held(vault: &Vault, error: Error) -> anyhow::Error {
    let Error::Held { cases: found } = &error else { return error.into() };
    let names = match cases(vault) {
        Ok(names) => case_names(&names, found).join(", "),
        Err(error) => return error,
    };
    let message = format!("under legal hold: {names}; nothing was changed; release the hold first");
    Failure::refused("HOLD_BLOCKED", message).into()
}

fn status(context: &mut Context, job: Option<&str>, all: bool) -> Result<ExitCode> {
    let vault = context.open()?;
    let wanted = job.map(job_id).transpose()?;
    let facts = vault.facts_now();
    if let Some(job) = wanted.filter(|job| !facts.erasures.contains_key(job)) {
        let message = format!("no erasure {job} in this log; `chancery subject status --all`");
        return Err(Failure::refused("ERASURE_UNKNOWN", message).into());
    }
    let is_final = |e: &Erasure| e.done.as_ref().is_some_and(|(_, _, d)| d.deferred.is_empty());
    let mut table = Table::new(&[
        ("job", Align::Left),
        ("asked", Align::Left),
        ("basis", Align::Left),
        ("state", Align::Left),
        ("stays", Align::Left),
    ]);
    let mut shown: Vec<&Erasure> = facts
        .erasures
        .values()
        .filter(|e| match wanted {
            Some(job) => e.plan.job == job,
            None => all || !is_final(e),
        })
        .collect();
    shown.sort_by_key(|e| e.intent);
    for erasure in shown {
        let left = erasure.done.as_ref().map_or(&[][..], |(_, _, done)| &done.deferred);
        let state = match (&erasure.done, left.is_empty()) {
            (None, _) => "open",
            (Some(_), true) => "done",
            (Some(_), false) => "done in part",
        };
        context.out.object(&json!({
            "job": erasure.plan.job.to_string(),
            "asked": erasure.asked.to_string(),
            "basis": erasure.plan.basis,
            "state": state,
            "intent": erasure.intent.0,
            "done": erasure.done.as_ref().map(|(index, _, _)| index.0),
            "deferred": deferred_json(&vault, left),
        }))?;
        let stays: Vec<String> = left.iter().map(|l| deferred_text(&vault, l)).collect();
        let stays = stays.join(";").trim().to_owned();
        table.row(&[
            erasure.plan.job.to_string(),
            erasure.asked.to_string(),
            erasure.plan.basis.clone(),
            state.to_owned(),
            stays,
        ]);
    }
    match table.is_empty() {
        true if all => context.out.say("No erasure has been asked of this vault.")?,
        true => context.out.say("Nothing is open or deferred; --all lists what is done.")?,
        false => context.out.table(&table)?,
    }
    done()
}
