//! `chancery hold`: what a case covers stays. Setting one only keeps, so one person may; ending
//! one needs two. It says what waits because of each case.

use crate::base::id::CaseId;
use crate::base::unit::Day;
use crate::cli::args::govern::{Approval, HoldCommand};
use crate::cli::args::values::IdentifierArg;
use crate::cli::cmd::{cases, class, done, identifiers, one, order, ordered};
use crate::cli::error::Failure;
use crate::cli::output::{Align, Table, Tone};
use crate::cli::run::Context;
use crate::format::control::Scope;
use crate::policy::order::act::Act;
use crate::vault::Vault;
use anyhow::Result;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, command: &HoldCommand) -> Result<ExitCode> {
    match command {
        HoldCommand::Set { case, subjects, class, from, to, requested_by } => {
            let range = (class.as_deref(), *from, *to);
            set(context, case, subjects, range, requested_by)
        }
        HoldCommand::Release { case, approval } => release(context, case, approval),
        HoldCommand::List { all } => list(context, *all),
    }
}

fn find(vault: &Vault, name: &str) -> Result<Option<CaseId>> {
    let given = CaseId::parse(name);
    let mut known = cases(vault)?.into_iter();
    Ok(known.find_map(|(case, known)| (known == name || Some(case) == given).then_some(case)))
}

fn set(
    context: &mut Context,
    name: &str,
    subjects: &[IdentifierArg],
    (class_text, from, to): (Option<&str>, Option<Day>, Option<Day>),
    requested_by: &str,
) -> Result<ExitCode> {
    if name.trim().is_empty() || name.len() > 200 {
        let message = "--case: 1 to 200 bytes; nothing was done";
        return Err(Failure::usage("USAGE", message).into());
    }
    let vault = context.open()?;
    let order = one(requested_by);
    let mut scopes = Vec::new();
    if let Some(text) = class_text {
        let class = class(&vault.policies(), text)?;
        let from = from.unwrap_or(Day(0));
        let to = to.unwrap_or(Day::LAST);
        if from > to {
            let message = "--from lies after --to; nothing was done";
            return Err(Failure::usage("USAGE", message).into());
        }
        scopes.push(Scope::ClassDays { class, from, to });
    }
    // Every identifier is looked up before the first hold is set: all or nothing.
    for given in subjects {
        let named = identifiers(&vault, std::slice::from_ref(given))?;
        let persons = vault.persons_to_hold(&named)?;
        scopes.extend(persons.into_iter().map(|person| Scope::Person { person }));
    }
    let mut case = find(&vault, name)?;
    let widened = case.is_some();
    let mut entries = Vec::new();
    for scope in scopes {
        let (set, index) = vault.set_hold(case, name, scope, &order)?;
        case = Some(set);
        entries.push(index.0);
    }
    vault.checkpoint()?;
    let case = case.map(|case| case.to_string());
    context.out.object(&json!({
        "case": case, "name": name, "entries": entries, "widened": widened,
    }))?;
    let what = if widened { "widened" } else { "set" };
    let text = format!("{name}: {what}, {} parts; erasure and expiry wait for it", entries.len());
    context.out.status(Tone::Good, "HELD", &text)?;
    done()
}

fn release(context: &mut Context, name: &str, approval: &Approval) -> Result<ExitCode> {
    let config = context.config()?;
    let order = order(approval, &config)?;
    let vault = context.open_with(&config)?;
    let Some(case) = find(&vault, name)? else {
        let message = "no active hold of that case; nothing was changed; `chancery hold list`";
        return Err(Failure::refused("HOLD_UNKNOWN", message).into());
    };
    if ordered::instead(context, &config, &vault, approval, Act::ReleaseHold { case })? {
        return done();
    }
    let index = vault.release_hold(case, &order)?;
    vault.checkpoint()?;
    context.out.object(&json!({"case": case.to_string(), "entry": index.0}))?;
    context.out.status(Tone::Good, "RELEASED", &format!("by entry {index}"))?;
    context.out.say("What it deferred goes with the next `chancery retain run`.")?;
    done()
}

fn list(context: &mut Context, all: bool) -> Result<ExitCode> {
    let vault = context.open()?;
    let facts = vault.facts_now();
    let names = cases(&vault)?;
    let plan = vault.retention_plan()?;
    let now = vault.clock().now();
    let mut table = Table::new(&[
        ("case", Align::Left),
        ("state", Align::Left),
        ("covers", Align::Left),
        ("since entry", Align::Right),
        ("class-days overdue because of it", Align::Right),
    ]);
    for (case, scopes) in &facts.holds {
        let name = names.get(case).cloned().unwrap_or_default();
        let overdue = plan
            .iter()
            .filter(|p| p.held.contains(case) && p.due.is_some_and(|due| due <= now))
            .count();
        let covers: Vec<String> = scopes.iter().map(|(_, s)| scope_text(&vault, s)).collect();
        let first = scopes.first().map_or(0, |(index, _)| index.0);
        let parts: Vec<Value> = scopes.iter().map(|(i, s)| scope_json(&vault, i.0, s)).collect();
        context.out.object(&json!({
            "case": case.to_string(), "name": name, "state": "active", "covers": parts,
            "overdue_class_days": overdue,
        }))?;
        let (first, overdue) = (first.to_string(), overdue.to_string());
        table.row(&[name, "active".into(), covers.join("; "), first, overdue]);
    }
    for (case, index) in
        facts.released.iter().filter(|(case, _)| all && !facts.holds.contains_key(case))
    {
        context.out.object(&json!({
            "case": case.to_string(), "name": Value::Null, "state": "released", "entry": index.0,
        }))?;
        let state = format!("released by entry {index}");
        table.row(&[case.to_string(), state, String::new(), String::new(), String::new()]);
    }
    match table.is_empty() {
        true => context.out.say("No hold is active.")?,
        false => context.out.table(&table)?,
    }
    done()
}

fn scope_text(vault: &Vault, scope: &Scope) -> String {
    match scope {
        Scope::Person { person } => {
            let short: String = person.to_string().chars().take(8).collect();
            format!("person {short}..")
        }
        Scope::ClassDays { class, from, to: Day::LAST } => {
            format!("class {} {from} on, without end", vault.class_name(*class))
        }
        Scope::ClassDays { class, from, to } => {
            format!("class {} {from} to {to}", vault.class_name(*class))
        }
    }
}

fn scope_json(vault: &Vault, entry: u64, scope: &Scope) -> Value {
    match scope {
        Scope::Person { person } => json!({"entry": entry, "person": person.to_string()}),
        Scope::ClassDays { class, from, to } => json!({
            "entry": entry,
            "class": vault.class_name(*class),
            "from": from.to_string(),
            "to": to.to_string(),
        }),
    }
}
