//! `chancery retain`: what would go, what goes, what went. Log time decides what is due, never
//! the schedule: a schedule only says when to look.

use crate::base::unit::{Day, UtcNanos};
use crate::base::world::Clock;
use crate::cli::args::govern::RetainCommand;
use crate::cli::cmd::subject::held;
use crate::cli::cmd::{case_names, cases, done};
use crate::cli::error::{EXIT_INTERRUPTED, Failure};
use crate::cli::output::units::{bytes, count};
use crate::cli::output::{Align, Table, Tone};
use crate::cli::run::Context;
use crate::cli::world::{OsClock, zones};
use crate::policy::schedule::Schedule;
use crate::vault::Vault;
use crate::vault::retain::Planned;
use anyhow::Result;
use serde_json::json;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(context: &mut Context, command: &RetainCommand) -> Result<ExitCode> {
    match command {
        RetainCommand::Plan { at } => plan(context, *at),
        RetainCommand::Run { schedule: None, confirm_date, .. } => {
            let vault = context.open()?;
            expire(context, &vault, *confirm_date)?;
            done()
        }
        RetainCommand::Run { schedule: Some(schedule), zone, .. } => stay(context, schedule, zone),
        RetainCommand::History { from } => history(context, *from),
    }
}

fn state(planned: &Planned, now: UtcNanos) -> &'static str {
    match planned.due {
        None => "kept for ever",
        Some(due) if due > now => "not due",
        Some(_) if !planned.held.is_empty() => "held",
        Some(_) => "due",
    }
}

fn plan(context: &mut Context, at: Option<UtcNanos>) -> Result<ExitCode> {
    let vault = context.open()?;
    let now = at.unwrap_or_else(|| vault.clock().now());
    let names = cases(&vault)?;
    let plan = vault.retention_plan()?;
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("day", Align::Left),
        ("groups", Align::Right),
        ("bytes", Align::Right),
        ("due", Align::Left),
        ("state", Align::Left),
        ("rule", Align::Left),
        ("held by", Align::Left),
    ]);
    let (mut days, mut groups, mut freed, mut waiting) = (0_u64, 0_u64, 0_u64, 0_u64);
    for planned in &plan {
        let state = state(planned, now);
        let held = case_names(&names, &planned.held);
        if state == "due" {
            days += 1;
            groups += planned.groups;
            freed += planned.bytes;
        }
        waiting += u64::from(state == "held");
        context.out.object(&json!({
            "class": planned.class_name,
            "day": planned.class_day.day.to_string(),
            "groups": planned.groups,
            "bytes": planned.bytes,
            "due": planned.due.map(|due| due.to_string()),
            "state": state,
            "rule": planned.rule,
            "held_by": held,
        }))?;
        table.row(&[
            planned.class_name.clone(),
            planned.class_day.day.to_string(),
            count(planned.groups),
            bytes(planned.bytes),
            planned.due.map_or_else(|| "never".to_owned(), |due| due.to_string()),
            state.to_owned(),
            planned.rule.clone(),
            held.join(", "),
        ]);
    }
    context.out.table(&table)?;
    context.out.say(&format!(
        "As of {now}: {} class-days are due ({} groups, {}), {} more are due and held. Nothing \
         was changed.",
        count(days),
        count(groups),
        bytes(freed),
        count(waiting),
    ))?;
    done()
}

fn expire(context: &mut Context, vault: &Vault, confirm: Option<Day>) -> Result<()> {
    let done = vault.expire(confirm).map_err(|e| held(vault, e))?;
    let names = cases(vault)?;
    let runs: Vec<_> = done
        .runs
        .iter()
        .map(|(job, intent, done)| {
            json!({"job": job.to_string(), "intent": intent.0, "done": done.0})
        })
        .collect();
    let waiting: Vec<_> = done
        .held
        .iter()
        .map(|(day, held)| {
            json!({
                "class": vault.class_name(day.class),
                "day": day.day.to_string(),
                "held_by": case_names(&names, held),
            })
        })
        .collect();
    context.out.object(&json!({
        "class_days": done.class_days.len(),
        "groups": done.groups,
        "bytes_freed": done.bytes_freed,
        "runs": runs,
        "held": waiting,
        "erasures_completed": done.erasures.len(),
    }))?;
    if done.class_days.is_empty() && done.held.is_empty() && done.erasures.is_empty() {
        context.out.say("Nothing is due; nothing was destroyed.")?;
        return Ok(());
    }
    let text = format!(
        "{} class-days, {} groups, {} freed",
        count(done.class_days.len() as u64),
        count(done.groups),
        bytes(done.bytes_freed)
    );
    context.out.status(Tone::Good, "EXPIRED", &text)?;
    for (day, held) in &done.held {
        let names = case_names(&names, held).join(", ");
        let text = format!("class {} of {}: case {names}", vault.class_name(day.class), day.day);
        context.out.status(Tone::Warn, "HELD", &text)?;
    }
    if !done.erasures.is_empty() {
        let text = format!("{} erasures that had to wait are complete", done.erasures.len());
        context.out.say(&text)?;
    }
    Ok(())
}

/// Opens the vault at each time of the schedule, so that appends may run in between.
fn stay(context: &mut Context, schedule: &str, zone: &str) -> Result<ExitCode> {
    let schedule = Schedule::parse(schedule, zone, &zones()).map_err(|refusal| {
        let (option, fix) =
            (if refusal.field == "zone" { "zone" } else { "schedule" }, refusal.fix);
        Failure::usage(refusal.code, format!("--{option} ({}): {fix}", refusal.field))
    })?;
    let clock = OsClock::start();
    loop {
        let Some(next) = schedule.next(clock.wall()) else {
            context.out.say("The schedule never comes again.")?;
            return done();
        };
        context.out.say(&format!("Next look at {next}"))?;
        while clock.wall() < next {
            if context.stopped() {
                return Ok(ExitCode::from(EXIT_INTERRUPTED));
            }
            std::thread::sleep(std::time::Duration::from_millis(250));
        }
        let looked = context.open().and_then(|vault| expire(context, &vault, None));
        // A look that fails is said and the next one still comes: the reason may pass by itself.
        match looked.map_err(|e| crate::cli::error::of(&e)) {
            Err(Some(failure)) => failure.print(context.global.json),
            Err(None) => return done(),
            Ok(()) => {}
        }
    }
}

fn history(context: &mut Context, from: Option<UtcNanos>) -> Result<ExitCode> {
    let vault = context.open()?;
    let facts = vault.facts_now();
    let mut prunes: Vec<_> =
        facts.prunes.values().filter(|p| from.is_none_or(|from| p.asked >= from)).collect();
    prunes.sort_by_key(|p| p.intent);
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("day", Align::Left),
        ("was due", Align::Left),
        ("groups", Align::Right),
        ("went", Align::Left),
        ("intent", Align::Right),
        ("done", Align::Right),
    ]);
    for prune in prunes {
        for due in &prune.plan.class_days {
            let done = prune.done.as_ref();
            let (went, entry) = (done.map(|d| d.1.to_string()), done.map(|d| d.0.0));
            context.out.object(&json!({
                "class": vault.class_name(due.class),
                "day": due.day.to_string(),
                "due": due.due.to_string(),
                "groups": due.groups,
                "went": went,
                "intent": prune.intent.0,
                "done": entry,
                "job": prune.plan.job.to_string(),
            }))?;
            table.row(&[
                vault.class_name(due.class),
                due.day.to_string(),
                due.due.to_string(),
                count(due.groups),
                went.unwrap_or_else(|| "open".to_owned()),
                prune.intent.to_string(),
                entry.map_or_else(String::new, |index| index.to_string()),
            ]);
        }
    }
    match table.is_empty() {
        true => context.out.say("Nothing has expired in this vault.")?,
        false => context.out.table(&table)?,
    }
    done()
}
