//! `chancery emit`: events from a file or a pipe, through a spool, to a vault elsewhere. It waits
//! where the spool is full, says which lines are no events, and ends well only when everything has
//! a receipt. It never shows an event or the token.

use crate::cli::args::emit::Emit;
use crate::cli::cmd::append::feed::{Fed, Feed};
use crate::cli::cmd::append::open_input;
use crate::cli::cmd::done;
use crate::cli::cmd::lines::Piece;
use crate::cli::error::{EXIT_INTERRUPTED, Failure};
use crate::cli::run::Context;
use crate::cli::world::{read_text, roots, world};
use crate::client::emitter::{Emitter, State, Stats};
use crate::client::event::Ready;
use crate::client::{Config, Error, Surroundings};
use crate::forward::events::{HttpVault, SECONDS};
use crate::vault::World;
use anyhow::Result;
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// How often Ctrl-C is looked for while something is waited for.
const LOOK: Duration = Duration::from_millis(200);

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Emit) -> Result<ExitCode> {
    let World { disk, clock, entropy } = world();
    let (input, _) = open_input(&args.file)?;
    let token = token(args)?;
    let roots = roots(&args.url, args.ca.as_deref())?;
    let patience = Duration::from_secs(SECONDS);
    let vault = HttpVault::new(&args.url, &args.source, &token, &roots, patience)
        .map_err(|why| Failure::usage("EMIT_ADDRESS", format!("{}; nothing was sent", why.0)))?;
    let mut config = Config::new(&args.source, &args.spool);
    config.spool_bytes = args.spool_bytes;
    config.batch_events = usize::try_from(args.batch).unwrap_or(1);
    let around = Surroundings { disk, clock, entropy };
    let emitter = Emitter::open(around, &config, Arc::new(vault)).map_err(|e| failure(&e))?;
    let found = emitter.stats().found;
    if found.cursor_lost {
        context.note("SPOOL_CURSOR_LOST", "what lies in the spool is sent again");
    }
    let mut feed = Feed::start(input)?;
    let mut refused = 0;
    loop {
        let (pieces, more) = match feed.next(config.batch_events)? {
            Fed::Batch(pieces, more) => (pieces, more),
            Fed::Nothing => (Vec::new(), true),
        };
        refused += take(context, &emitter, &pieces)?;
        if context.stopped() {
            return interrupted(context, &emitter.close());
        }
        if !more {
            break;
        }
    }
    let until = args.patience.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    while !emitter.flush(Some(LOOK)) {
        let stats = emitter.stats();
        must_go_on(&stats)?;
        if context.stopped() {
            return interrupted(context, &emitter.close());
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Err(unsent(&stats).into());
        }
    }
    conclude(context, &emitter.close(), refused)
}

fn token(args: &Emit) -> Result<Zeroizing<String>> {
    if let Some(name) = &args.token_env {
        let message = format!("{name} is not set; nothing was sent");
        let value = std::env::var(name).map_err(|_| Failure::usage("EMIT_TOKEN", message))?;
        return Ok(Zeroizing::new(value));
    }
    let path = args.token_file.as_deref().unwrap_or(std::path::Path::new(""));
    let text = Zeroizing::new(read_text(path)?);
    if !world().disk.is_private(path)? {
        let message = format!("{}: others may read it; chmod 600 it", path.display());
        return Err(Failure::usage("EMIT_TOKEN", message).into());
    }
    Ok(text)
}

/// Takes pieces into the spool, waiting for room; how many are no events.
fn take(context: &Context, emitter: &Emitter, pieces: &[Piece]) -> Result<u64> {
    let (mut ready, mut refused): (Vec<Ready>, u64) = (Vec::with_capacity(pieces.len()), 0);
    for piece in pieces {
        match emitter.prepare(&piece.json) {
            Ok(event) => ready.push(event),
            Err(error) => {
                refused += 1;
                context.note(error.code(), &format!("line {}: {error}", piece.line));
            }
        }
    }
    let mut most = ready.len();
    let mut left = ready.as_slice();
    while !left.is_empty() && !context.stopped() {
        let (now, later) = left.split_at(most.clamp(1, left.len()));
        match emitter.put(now) {
            Ok(()) => left = later,
            Err(error) if error.code() == "SPOOL_FULL" => {
                must_go_on(&emitter.stats())?;
                let is_idle = emitter.stats().waiting_bytes == 0;
                if now.len() == 1 && is_idle {
                    return Err(failure(&error).into());
                }
                most = now.len().div_ceil(2);
                emitter.wait_for_room(LOOK);
            }
            Err(error) => return Err(failure(&error).into()),
        }
    }
    Ok(refused)
}

/// A sender that cannot go on ends the run: what was taken stays where it is.
fn must_go_on(stats: &Stats) -> Result<()> {
    let why = stats.why.clone().unwrap_or_default();
    let what = format!("status {} {}", why.status, why.code);
    match stats.state {
        State::Parked => {
            let message = format!(
                "the vault refuses: {what}; {} bytes wait in the spool; mend the token, source or \
                 address and run it again",
                stats.waiting_bytes
            );
            Err(Failure::failed("EMIT_PARKED", message).into())
        }
        State::Failed | State::Closed => Err(Failure::failed("SPOOL_FAILED", why.detail).into()),
        State::Running | State::Waiting => Ok(()),
    }
}

fn unsent(stats: &Stats) -> Failure {
    let last = stats.why.as_ref().map_or_else(String::new, |why| {
        format!(" (status {} {} {})", why.status, why.code, why.detail)
    });
    let bytes = stats.waiting_bytes;
    let message = format!("{bytes} bytes wait in the spool{last}; run it again to send them");
    Failure::failed("EMIT_UNSENT", message)
}

fn interrupted(context: &Context, stats: &Stats) -> Result<ExitCode> {
    context.note("EMIT_UNSENT", &format!("{} bytes wait in the spool", stats.waiting_bytes));
    Ok(ExitCode::from(EXIT_INTERRUPTED))
}

fn failure(error: &Error) -> Failure {
    let text = error.to_string();
    let text = text.strip_prefix(error.code()).unwrap_or(&text);
    Failure::failed(error.code(), text.trim_start_matches([':', ' ']))
}

fn conclude(context: &mut Context, stats: &Stats, refused: u64) -> Result<ExitCode> {
    let counts = &stats.counts;
    context.out.object(&json!({
        "emitted": stats.emitted, "refused": refused, "receipts": counts.receipts,
        "duplicates": counts.duplicates, "dead": counts.dead, "damaged": counts.damaged,
    }))?;
    context.out.say(&format!(
        "{} events have receipts ({} the vault had before), {} refused here, {} refused there, {} \
         damaged",
        counts.receipts, counts.duplicates, refused, counts.dead, counts.damaged
    ))?;
    if refused + counts.dead + counts.damaged > 0 {
        let message = format!(
            "{refused} lines were no events and {} events were refused for good; the others have \
             receipts; see dead.ndjson in the spool",
            counts.dead + counts.damaged
        );
        return Err(Failure::refused("EMIT_REFUSED", message).into());
    }
    done()
}
