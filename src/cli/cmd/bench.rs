//! `chancery bench`: runs the measurements and prints one table, or one JSON object with stable
//! dotted keys.

use crate::cli::args::make::{AttackBench, Bench, BenchPart, OpenBench, Soak};
use crate::cli::bench::attacks::{self, Outcome};
use crate::cli::bench::opening::{self, Way};
use crate::cli::bench::{self, Numbers, Plan, soak};
use crate::cli::cmd::done;
use crate::cli::error::{EXIT_INTERRUPTED, EXIT_REFUSED, Failure};
use crate::cli::output::{Align, Table, Tone};
use crate::cli::run::Context;
use crate::cli::world::world;
use crate::vault::error::Error as VaultError;
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often it is looked whether somebody pressed Ctrl-C.
const PAUSE: Duration = Duration::from_millis(50);
/// Tries to remove what a stopped measurement made.
const TRIES: u32 = 100;

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Bench) -> Result<ExitCode> {
    match &args.part {
        Some(BenchPart::Attacks(args)) => return attack(context, args),
        Some(BenchPart::Open(args)) => return opened(context, args),
        Some(BenchPart::OpenChild(args)) => return opening::child_main(args),
        Some(BenchPart::Soak(args)) => return soaked(context, args),
        Some(BenchPart::SoakWriter(args)) => return soak::child::run(args),
        None => {}
    }
    let dir = place(args.dir.as_deref())?;
    let plan = Plan { dir: &dir, seconds: args.seconds, subjects: args.subjects, only: &args.only };
    leave_when_stopped(context, &dir);
    let mut said = Vec::new();
    let result = bench::run(&world(), &plan, &mut |what| said.push(what.to_owned()));
    let _ = std::fs::remove_dir_all(&dir);
    let numbers = result.map_err(|error| match error {
        VaultError::Invalid { refusal, .. } => Failure::usage(refusal.code, refusal.fix).into(),
        other => anyhow::Error::from(other),
    })?;
    for line in &said {
        context.out.say(line)?;
    }
    tell(context, numbers)
}

/// A directory of this process's own.
fn place(base: Option<&Path>) -> Result<PathBuf> {
    let own = format!("chancery-bench-{}", std::process::id());
    let dir = base.map_or_else(std::env::temp_dir, Path::to_owned).join(own);
    std::fs::create_dir_all(&dir).map_err(|e| {
        Failure::failed("STORE_IO", format!("cannot make {}: {e}; name --dir", dir.display()))
    })?;
    Ok(dir)
}

/// A measurement has no place to stop at: Ctrl-C removes what it made and ends the process.
fn leave_when_stopped(context: &Context, dir: &Path) {
    let (stop, dir) = (context.stop.clone(), dir.to_owned());
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(PAUSE);
        }
        soak::leash::end();
        // The measurement goes on meanwhile and may make a file where one was just removed.
        for _ in 0..TRIES {
            let _ = std::fs::remove_dir_all(&dir);
            if !dir.exists() {
                break;
            }
        }
        std::process::exit(i32::from(EXIT_INTERRUPTED));
    });
}

fn soaked(context: &mut Context, args: &Soak) -> Result<ExitCode> {
    let dir = place(args.dir.as_deref())?;
    leave_when_stopped(context, &dir);
    let quiet = context.global.quiet || context.global.json;
    let result = soak::run(&dir, args, &mut |line| {
        if !quiet {
            context.note("SOAK", line);
        }
    });
    // Who stops a soak takes its directory away under it: what that leads to is no finding.
    while context.stopped() {
        std::thread::park();
    }
    let numbers = result.map_err(|error| {
        let found = format!("{error:#}; everything is kept in {}", dir.display());
        Failure::refused("SOAK_FAILED", found)
    })?;
    let _ = std::fs::remove_dir_all(&dir);
    tell(context, numbers)
}

fn tell(context: &mut Context, numbers: Numbers) -> Result<ExitCode> {
    let mut object = Map::new();
    let mut table = Table::new(&[("measurement", Align::Left), ("value", Align::Right)]);
    table.row(&["cpu.features".to_owned(), bench::cpu_features()]);
    object.insert("cpu.features".to_owned(), Value::String(bench::cpu_features()));
    for (key, value) in numbers {
        table.row(&[key.clone(), format!("{value:.2}")]);
        object.insert(key, Value::from(value));
    }
    context.out.object(&Value::Object(object))?;
    if !context.out.style.json {
        context.out.table(&table)?;
    }
    done()
}

/// Makes the attacks and prints number, attack, required and found verdict.
fn attack(context: &mut Context, args: &AttackBench) -> Result<ExitCode> {
    let dir = place(args.dir.as_deref())?;
    leave_when_stopped(context, &dir);
    let outcomes = attacks::run(&dir, &args.only, &mut |_| {});
    let _ = std::fs::remove_dir_all(&dir);
    if outcomes.is_empty() {
        let fix = "--only takes numbers of attacks; nothing was done";
        return Err(Failure::usage("BENCH_PART_UNKNOWN", fix).into());
    }
    let columns = [
        ("no", Align::Right),
        ("attack", Align::Left),
        ("required", Align::Left),
        ("found", Align::Left),
        ("", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for outcome in &outcomes {
        let Outcome { number, what, required, found } = outcome;
        let word = if outcome.passed() { "pass" } else { "FAIL" };
        table.row(&[number.to_string().as_str(), *what, *required, found.as_str(), word]);
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let rows: Vec<Value> = outcomes
        .iter()
        .map(|o| {
            json!({"number": o.number, "attack": o.what, "required": o.required,
                "found": o.found, "pass": o.passed()})
        })
        .collect();
    context.out.object(&json!({"attacks": rows, "failed": failed}))?;
    context.out.table(&table)?;
    let text = format!("{} attacks, {failed} with another verdict than required", outcomes.len());
    match failed {
        0 => context.out.status(Tone::Good, "PASSED", &text)?,
        _ => context.out.status(Tone::Bad, "FAILED", &text)?,
    }
    Ok(ExitCode::from(if failed == 0 { 0 } else { EXIT_REFUSED }))
}

fn opened(context: &mut Context, args: &OpenBench) -> Result<ExitCode> {
    let dir = place(args.dir.as_deref())?;
    let quiet = context.global.quiet || context.global.json;
    leave_when_stopped(context, &dir);
    let result = opening::run(&dir, args, &mut |line| {
        if !quiet {
            context.note("BENCH", line);
        }
    });
    let _ = std::fs::remove_dir_all(&dir);
    let measured = result?;
    let right = Align::Right;
    let mut table = Table::new(&[
        ("entries", right),
        ("opened", Align::Left),
        ("seconds", right),
        ("entries read", right),
        ("MiB read", right),
        ("peak MiB", right),
    ]);
    let mut object = Map::new();
    for one in &measured {
        let mib = one.read as f64 / f64::from(1 << 20);
        table.row(&[
            one.entries.to_string(),
            one.way.name().to_owned(),
            format!("{:.3}", one.seconds),
            one.replayed.to_string(),
            format!("{mib:.1}"),
            format!("{:.0}", one.memory),
        ]);
        let mut put = |what: &str, value: f64| {
            let key = format!("open.{}.{}.{what}", one.entries, one.way.name());
            object.insert(key, Value::from(value));
        };
        put("seconds", one.seconds);
        put("entries_read", one.replayed as f64);
        put("bytes_read", one.read as f64);
        put("peak_mib", one.memory);
    }
    let mut lines = Vec::new();
    for way in Way::ALL {
        let Some((far, million)) = opening::slope(&measured, way) else { continue };
        let name = way.name();
        lines.push(format!(
            "{name}: {:.3} ms more for every million entries; {far:.2} s at 100,000,000",
            million * 1e3
        ));
        object.insert(format!("open.{name}.seconds_per_million"), Value::from(million));
        object.insert(format!("open.{name}.seconds_at_1e8"), Value::from(far));
    }
    context.out.object(&Value::Object(object))?;
    if !context.out.style.json {
        context.out.table(&table)?;
        lines.iter().try_for_each(|line| context.out.say(line))?;
    }
    done()
}
