//! The process that is killed: it opens the vault, runs its writers, and says each receipt once
//! it is durable. It reads where its writers begin, then orders, from standard input; at its end
//! it closes. It never checks anything.

use crate::base::event::{Draft, Identifier};
use crate::base::id::CaseId;
use crate::base::unit::{NANOS_PER_DAY, UtcNanos};
use crate::base::world::Clock;
use crate::cli::args::make::SoakWriter;
use crate::cli::bench::soak::script::Script;
use crate::cli::bench::soak::wire::{Order, Said, Told};
use crate::cli::error::Failure;
use crate::cli::world::{OsClock, world};
use crate::format::control::Scope;
use crate::policy::default_files;
use crate::vault::config::{Config, Tuning};
use crate::vault::error::Error;
use crate::vault::hold::Order as Consent;
use crate::vault::{Vault, World};
use anyhow::Result;
use std::io::{BufRead, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Stack of a writer: it seals small batches only.
const STACK_BYTES: usize = 1 << 20;

/// The system's clock, some days ahead: a soak sees days pass.
struct Ahead {
    clock: OsClock,
    nanos: u64,
}

impl Clock for Ahead {
    fn wall(&self) -> UtcNanos {
        UtcNanos(self.clock.wall().0.saturating_add(self.nanos))
    }

    fn monotonic(&self) -> u64 {
        self.clock.monotonic()
    }
}

/// The real world, some days ahead.
pub(crate) fn world_ahead(days: u64) -> World {
    let nanos = days.saturating_mul(NANOS_PER_DAY);
    World { clock: Arc::new(Ahead { clock: OsClock::start(), nanos }), ..world() }
}

/// How a soak's vault is opened: events are kept for seven days, so that some expire.
pub(crate) fn config(dir: &Path) -> Config {
    let mut policies = default_files();
    if let Some(classes) = policies.get_mut("classes.toml") {
        *classes = classes.replace("default = \"1y\"", "default = \"7d\"");
    }
    Config {
        data: dir.join("data"),
        keys: dir.join("keys"),
        mirror: None,
        passphrase: None,
        accept_time: false,
        ledger: None,
        policies,
        index_on_disk: true,
        outside: Default::default(),
        tuning: Tuning::default(),
    }
}

/// How the vault knows a person of the script.
pub(crate) fn identifier(person: u64) -> Identifier {
    Identifier { kind: "user_id".into(), value: format!("p{person}").into() }
}

/// Says a line, whole.
fn say(told: &Told) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{told}\n").as_bytes())?;
    out.flush()
}

/// Runs the process.
pub(crate) fn run(args: &SoakWriter) -> Result<ExitCode> {
    say(&Told::Opening)?;
    let started = Instant::now();
    let vault = Vault::open(world_ahead(args.ahead), &config(&args.dir))?;
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    say(&Told::Open { size: vault.size().0, millis, space_kib: status_kib("self", "VmPeak:") })?;
    let script = Script { seed: args.seed, people: args.people, batch: args.batch };
    let mut lines = std::io::stdin().lock().lines();
    let mut starts = Vec::new();
    for line in lines.by_ref() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["start", writer, from, until] => {
                starts.push((writer.parse()?, from.parse()?, until.parse()?));
            }
            _ => break,
        }
    }
    let stop = AtomicBool::new(false);
    let (vault_ref, stop_ref) = (&vault, &stop);
    std::thread::scope(|scope| -> Result<()> {
        for (writer, from, until) in starts {
            let work = move || write(vault_ref, script, writer, from..until, stop_ref);
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            if let Err(error) = thread.spawn_scoped(scope, work) {
                stop.store(true, Ordering::SeqCst);
                return Err(Failure::failed("NO_THREAD", error.to_string()).into());
            }
        }
        for line in lines {
            let line = line?;
            let words: Vec<&str> = line.split(' ').collect();
            match words.split_first() {
                Some((number, order)) if *number != "stop" => obey(&vault, number, order)?,
                _ => break,
            }
        }
        stop.store(true, Ordering::SeqCst);
        Ok(())
    })?;
    drop(vault);
    say(&Told::Bye)?;
    Ok(ExitCode::SUCCESS)
}

/// Sends batches until it is told to stop, or something fails.
fn write(
    vault: &Vault,
    script: Script,
    writer: u64,
    batches: std::ops::Range<u64>,
    stop: &AtomicBool,
) {
    let source = Script::source(writer);
    for batch in batches {
        let texts = script.events(writer, batch);
        let drafts: Vec<Draft<'_>> =
            texts.iter().map(|text| Draft { source: &source, json: text.as_bytes() }).collect();
        let outcome = loop {
            match vault.append(&drafts) {
                Err(Error::Overloaded) if !stop.load(Ordering::Relaxed) => std::thread::yield_now(),
                other => break other,
            }
        };
        let (told, on) = match outcome {
            Ok(receipts) => {
                let said = receipts.iter().map(|r| Said {
                    index: r.index.0,
                    duplicate: r.duplicate,
                    leaf: r.leaf,
                });
                (Told::Acked { writer, batch, receipts: said.collect() }, true)
            }
            Err(error) => {
                let on = matches!(error, Error::Conflict { .. });
                (Told::Refused { writer, batch, code: error.code().to_owned() }, on)
            }
        };
        // A reader that has gone is the end of everything.
        if say(&told).is_err() || !on || stop.load(Ordering::Relaxed) {
            return;
        }
    }
    let _ = say(&Told::Done { writer });
}

fn obey(vault: &Vault, number: &str, words: &[&str]) -> Result<()> {
    let bad = || Failure::usage("USAGE", "no order of a soak");
    let number: u64 = number.parse()?;
    let order = Order::parse(words).ok_or_else(bad)?;
    let told = match act(vault, &order) {
        Ok(words) => Told::Obeyed { order: number, words },
        Err(error) => Told::Disobeyed { order: number, code: error.code().to_owned() },
    };
    Ok(say(&told)?)
}

/// Does what is ordered; what a receipt of it would say.
fn act(vault: &Vault, order: &Order) -> crate::vault::error::Result<Vec<String>> {
    let consent = Consent {
        requested_by: "soak".to_owned(),
        approved_by: Some("checker".to_owned()),
        single_operator: false,
    };
    Ok(match order {
        Order::Erase(person) => {
            let erased = vault.erase(&[identifier(*person)], "gdpr-17-1", &consent)?;
            vec![erased.intent.to_string(), erased.done.to_string()]
        }
        Order::Link(a, b) => {
            vault.link(&[identifier(*a), identifier(*b)], &consent)?;
            Vec::new()
        }
        Order::Hold(person) => {
            let persons = vault.persons_named(&[identifier(*person)])?;
            let mut case = None;
            for person in persons {
                let scope = Scope::Person { person };
                case = Some(vault.set_hold(case, "soak", scope, &consent)?.0);
            }
            case.map(|case| case.to_string()).into_iter().collect()
        }
        Order::Release(case) => {
            let case = CaseId::parse(case).ok_or(Error::NotFound { code: "HOLD_UNKNOWN" })?;
            vec![vault.release_hold(case, &consent)?.to_string()]
        }
        Order::Free => {
            let cases: Vec<CaseId> = vault.facts_now().holds.keys().copied().collect();
            cases.iter().try_for_each(|case| vault.release_hold(*case, &consent).map(drop))?;
            Vec::new()
        }
        Order::Expire => {
            let expired = vault.expire(None)?;
            vec![expired.class_days.len().to_string()]
        }
    })
}

/// A line of the kernel's status of a process, in KiB; 0 where it does not say.
pub(crate) fn status_kib(process: &str, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let found = status.lines().find_map(|l| l.strip_prefix(line));
    found.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
