//! One table: the vault beside SQLite, sled, redb and a naive hash chain, all durable, on the same
//! events in the same run; then the ways of hashing, and what reading, proving and erasing cost.
//! Every run is a process of its own, so that memory is counted by system and nothing lingers; the
//! systems take turns, so that the ratios hold whatever else the machine does. It never judges
//! its own numbers. Called as `bench ...` or `serve ...` it is that command of `chancery`, of this
//! build.

mod args;
mod cell;
mod engine;
mod machine;
mod part;
mod plan;
mod table;
mod twin;

use anyhow::{Context, Result};
use args::{Args, Child};
use clap::Parser;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// As the vault's own program has it; its baselines allocate with it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<ExitCode> {
    if std::env::args().nth(1).is_some_and(|act| act == "bench" || act == "serve") {
        return Ok(chancery::cli::main());
    }
    run(&Args::parse())?;
    Ok(ExitCode::SUCCESS)
}

fn run(args: &Args) -> Result<()> {
    match &args.child {
        Some(Child::Cell(spec)) => say(&cell::run(&serde_json::from_str(&spec.spec)?)?),
        Some(Child::Part(spec)) => say(&part::run(&serde_json::from_str(&spec.spec)?)?),
        Some(Child::Hashing) => say(&json!({ "sha2_mib_per_s": machine::sha2_rate() })),
        None => measure(args),
    }
}

/// A child's answer: one line.
#[allow(clippy::print_stdout)]
fn say(answer: &Value) -> Result<()> {
    println!("{answer}");
    Ok(())
}

#[allow(clippy::print_stdout)]
fn measure(args: &Args) -> Result<()> {
    let base = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = base.join(format!("chancery-benches-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let found = all(args, &dir);
    let _ = std::fs::remove_dir_all(&dir);
    let found = found?;
    let json = serde_json::to_string_pretty(&found)?;
    std::fs::write(&args.json, json + "\n")
        .with_context(|| format!("cannot write {}", args.json.display()))?;
    print!("{}", table::print(&found));
    println!("written to {}", args.json.display());
    Ok(())
}

fn all(args: &Args, dir: &PathBuf) -> Result<Value> {
    let twin = twin::find(args)?;
    let mut machine = machine::describe(dir)?;
    if let (Some(twin), Some(machine)) = (&twin, machine.as_object_mut()) {
        let rate = plan::child(twin, "hashing", None)?;
        machine.insert("sha2_masked".to_owned(), rate);
    }
    let cells = plan::cells(args, dir)?;
    let hashing = plan::hashing(args, dir, twin.as_deref())?;
    let http = plan::http(args, dir)?;
    let parts = plan::parts(args, dir)?;
    Ok(json!({
        "machine": machine,
        "seed": args.seed,
        "baseline": args.baseline,
        "seconds": args.seconds,
        "runs": args.runs,
        "event_bytes": chancery::cli::demo::corpus::EVENT_BYTES,
        "cells": cells,
        "hashing": hashing,
        "http": http,
        "parts": parts,
    }))
}
