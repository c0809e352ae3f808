//! `chancery query`: records by time range and equality, or by person. It reads entries only;
//! sealed values need `--open`, which is recorded first.

use crate::base::entry::Entry;
use crate::base::unit::{EntryIndex, UtcNanos};
use crate::cli::args::record::Query;
use crate::cli::cmd::show::{access, as_json};
use crate::cli::cmd::{class, done, identifiers};
use crate::cli::error::{EXIT_INTERRUPTED, Failure};
use crate::cli::output::{Align, Table};
use crate::cli::run::Context;
use crate::query::filter::{Filter, Names};
use crate::vault::Vault;
use crate::vault::read::Reading;
use anyhow::Result;
use serde_json::json;
use std::ops::ControlFlow;
use std::process::ExitCode;

/// Records that are opened at once at most: their values are held until the access is recorded.
const OPEN_MAX: u64 = 100_000;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Query) -> Result<ExitCode> {
    if args.opening.open && args.limit > OPEN_MAX {
        let message = "--limit: at most 100000 with --open";
        return Err(Failure::usage("USAGE", message).into());
    }
    let vault = context.open()?;
    let filter = filter(&vault, args)?;
    let limit = if args.count { u64::MAX } else { args.limit };
    let mut found = Vec::new();
    let mut total = 0_u64;
    let stop = context.stop.clone();
    let stopped = || stop.load(std::sync::atomic::Ordering::Relaxed);
    let mut each = |entry: &Entry| {
        if total == limit {
            return ControlFlow::Break(true);
        }
        total += 1;
        if !args.count {
            found.push(entry.index);
        }
        if stopped() { ControlFlow::Break(false) } else { ControlFlow::Continue(()) }
    };
    let mut more = false;
    match &args.subject {
        None => vault.search(&filter, &mut |entry| match each(&entry) {
            ControlFlow::Break(limited) => {
                more = limited;
                ControlFlow::Break(())
            }
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
        })?,
        Some(person) => {
            let named = identifiers(&vault, std::slice::from_ref(person))?;
            let persons = vault.persons_named(&named)?;
            let hits = vault.entries_of_persons(&persons, None)?;
            let mut hits: Vec<EntryIndex> = hits.into_iter().map(|(_, index)| index).collect();
            hits.sort_unstable();
            hits.dedup();
            for index in hits {
                let entry = vault.entry(index)?;
                if filter.matches(&entry)
                    && let ControlFlow::Break(limited) = each(&entry)
                {
                    more = limited;
                    break;
                }
            }
        }
    }
    if context.stopped() {
        context.out.say("interrupted")?;
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    }
    if args.count {
        context.out.object(&json!({"count": total}))?;
        context.out.status(crate::cli::output::Tone::Plain, &total.to_string(), "records")?;
        return done();
    }
    print(context, &vault, args, &found, more)
}

fn filter(vault: &Vault, args: &Query) -> Result<Filter> {
    let policies = vault.policies();
    let mut terms = Vec::with_capacity(args.terms.len() + 2);
    for term in &args.terms {
        match term.split_once('=').filter(|(field, _)| field.trim() == "class") {
            Some((_, name)) => terms.push(format!("class={}", class(&policies, name.trim())?)),
            None => terms.push(term.clone()),
        }
    }
    terms.extend(args.from.map(|from| format!("time>={from}")));
    terms.extend(args.to.filter(|to| *to < UtcNanos(u64::MAX)).map(|to| format!("time<{to}")));
    let facts = vault.facts_now();
    let names = Names {
        source: &|name| {
            let handle = vault.keys().source_handle(name);
            facts.sources.contains_key(&handle).then_some(handle)
        },
        is_registered: &|name| policies.registry().field_named(name).is_some(),
    };
    let words: Vec<&str> = terms.iter().map(String::as_str).collect();
    Ok(Filter::parse(&words, &names)?)
}

fn print(
    context: &mut Context,
    vault: &Vault,
    args: &Query,
    found: &[EntryIndex],
    more: bool,
) -> Result<ExitCode> {
    let open = args.opening.open;
    access(context, vault, &args.opening, found)?;
    let mut table = Table::new(&[
        ("index", Align::Right),
        ("log time", Align::Left),
        ("source", Align::Left),
        ("what", Align::Left),
        ("outcome", Align::Left),
        ("sev", Align::Right),
        ("class", Align::Left),
        ("people", Align::Right),
        (if open { "fields" } else { "sealed fields" }, Align::Left),
    ]);
    for index in found {
        let record = vault.record(*index, Reading { open, ..Reading::default() })?;
        if context.out.style.json {
            context.out.object(&as_json(vault, &record, open))?;
            continue;
        }
        let head = &record.entry.head;
        let fields: Vec<String> = record
            .fields
            .iter()
            .filter_map(|field| match (&field.value, open) {
                (Some(value), true) => {
                    Some(format!("{}={}", field.name, String::from_utf8_lossy(value)))
                }
                (None, true) if record.is_private(&field.name) => {
                    Some(format!("{}=(private)", field.name))
                }
                (None, true) => None,
                (_, false) => Some(field.name.to_string()),
            })
            .collect();
        let source = match record.source.as_deref() {
            Some(source) => source.to_owned(),
            None => format!("({})", head.kind),
        };
        table.row(&[
            record.entry.index.to_string(),
            record.entry.time_log.to_string(),
            source,
            head.code.to_string(),
            head.outcome.to_string(),
            head.severity.value().to_string(),
            vault.class_name(head.class),
            head.tags.len().to_string(),
            fields.join(" "),
        ]);
    }
    context.out.table(&table)?;
    if more {
        context.note("MORE", &format!("only the first {}; raise --limit", args.limit));
    }
    done()
}
