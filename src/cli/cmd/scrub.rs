//! `chancery scrub`: reads every byte again in the foreground, and stops where Ctrl-C finds it. It
//! mends nothing.

use crate::base::unit::UtcNanos;
use crate::base::world::Clock;
use crate::cli::args::make::Scrub as Args;
use crate::cli::error::{EXIT_DONE, EXIT_INTERRUPTED, EXIT_REFUSED};
use crate::cli::output::Tone;
use crate::cli::output::units::{bytes, count};
use crate::cli::run::Context;
use crate::cli::world::OsClock;
use crate::vault::scrub::Scrub;
use anyhow::Result;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Pause between two ticks of a paced scrub.
const PAUSE: Duration = Duration::from_millis(250);

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Args) -> Result<ExitCode> {
    let config = context.config()?;
    let vault = context.open_with(&config)?;
    vault.settle();
    let clock = OsClock::start();
    let start = vault.clock().now().0;
    // Log time names the pass; the monotonic clock paces it.
    let now = || UtcNanos(start.saturating_add(clock.monotonic()));
    let pace = args.paced.then_some(config.scrub_bytes);
    let mut scrub = Scrub::resume(&vault, args.full, pace);
    let mut found: Vec<Value> = Vec::new();
    loop {
        let progress = scrub.tick(&vault, now())?;
        for finding in &progress.findings {
            let index = finding.index.map(|index| index.0);
            let at = index.map_or_else(String::new, |index| format!(" at entry {index}"));
            let text = format!("{} in {}{at}", finding.verdict, finding.part);
            context.out.status(Tone::Bad, "found", &text)?;
            found.push(json!({
                "part": finding.part, "verdict": finding.verdict, "index": index,
            }));
        }
        if let Some(index) = progress.finished {
            vault.checkpoint()?;
            context.out.object(&json!({
                "complete": true, "entry": index.0, "bytes": progress.pass_bytes, "found": found,
            }))?;
            let text = format!(
                "{} read, {} found; entry {index} says so",
                bytes(progress.pass_bytes),
                count(found.len() as u64)
            );
            context.out.say(&text)?;
            let clean = found.is_empty();
            return Ok(ExitCode::from(if clean { EXIT_DONE } else { EXIT_REFUSED }));
        }
        if context.stopped() {
            context.out.object(&json!({
                "complete": false, "bytes": progress.pass_bytes, "found": found,
            }))?;
            context.out.say("stopped; the next scrub goes on here")?;
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        if args.paced {
            std::thread::sleep(PAUSE);
        }
    }
}
