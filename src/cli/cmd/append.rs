//! `chancery append`: events from a file or a pipe, in batches, each all or nothing. Memory stays
//! bounded by one batch and a short queue, whatever the file's size; a slow pipe is committed
//! after a short wait, so that nothing hangs back. Every event is counted: accepted, duplicate,
//! or refused with its line and a code.

use crate::base::event::{Draft, Event};
use crate::base::refusal::Refusal;
use crate::cli::args::record::Append;
use crate::cli::cmd::lines::{Piece, Pieces};
use crate::cli::error::{EXIT_DONE, EXIT_INTERRUPTED, EXIT_REFUSED, Failure};
use crate::cli::output::Progress;
use crate::cli::output::escape::{escape, json_line};
use crate::cli::output::units::{count, rate};
use crate::cli::run::Context;
use crate::policy::classify::{Policies, Scratch};
use crate::vault::Vault;
use crate::vault::append::Receipt;
use crate::vault::error::Error as VaultError;
use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Events read ahead of the batch being committed.
const AHEAD: usize = 256;
/// A batch is closed at this many bytes although it could take more events.
const BATCH_BYTES: usize = 16 << 20;
/// How long a batch waits for company on a slow pipe.
const LINGER: Duration = Duration::from_millis(200);
/// Refusals listed one by one; beyond it they are counted.
const LISTED_MAX: u64 = 1_000;

/// What became of the events so far.
#[derive(Default)]
struct Tally {
    accepted: u64,
    duplicate: u64,
    refused: BTreeMap<String, u64>,
    listed: u64,
}

impl Tally {
    fn refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

/// One run.
struct Run<'r> {
    vault: &'r Vault,
    policies: &'r Policies,
    source: &'r str,
    partial: bool,
    json: bool,
    tally: Tally,
    receipts: Option<(&'r Path, BufWriter<File>)>,
    last: Option<Receipt>,
}

/// Runs the command.
pub(crate) fn run(context: &mut Context, args: &Append) -> Result<ExitCode> {
    let (input, length) = open_input(&args.file)?;
    let receipts = match &args.receipts {
        Some(path) => {
            let file = File::create(path).map_err(|e| Failure::file(path, &e))?;
            Some((path.as_path(), BufWriter::new(file)))
        }
        None => None,
    };
    let config = context.config()?;
    let vault = context.open_with(&config)?;
    let policies = vault.policies();
    let source = source_name(&policies, args)?;
    // A pipe may stay open for months: what it fills is packed meanwhile. At the end it stops
    // where it is.
    vault.pack_in_background(config.pack_background);
    let mut run = Run {
        vault: &vault,
        policies: &policies,
        source: &source,
        partial: args.partial,
        json: context.global.json,
        tally: Tally::default(),
        receipts,
        last: None,
    };
    let progress = Progress::new(&context.out.style, "appending", length);
    let started = Instant::now();
    let pieces = read_ahead(input)?;
    let size = usize::try_from(args.batch).unwrap_or(1);
    let mut ended = None;
    loop {
        let (batch, more) = next_batch(&pieces, size, context)?;
        let bytes: usize = batch.iter().map(|piece| piece.json.len() + 1).sum();
        if !batch.is_empty() && !run.batch(&batch)? {
            ended = Some("stopped at the first batch with a refused event");
            break;
        }
        progress.add(bytes as u64);
        if context.stopped() {
            ended = Some("interrupted");
            break;
        }
        if !more {
            break;
        }
    }
    progress.done();
    if let Some((path, receipts)) = &mut run.receipts {
        receipts.flush().map_err(|e| unwritten(path, &e))?;
    }
    let Run { tally, last, .. } = run;
    vault.checkpoint()?;
    if let Some(why) = vault.packing().failed {
        context.note("PACK_FAILED", &why);
    }
    drop(vault);
    conclude(context, &tally, last.as_ref(), ended, started.elapsed())
}

/// The events are durable, their receipts are not written.
fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!(
        "{}: {error}; what the vault acknowledged is safe; send the same events again, and their \
         receipts come again",
        path.display()
    );
    Failure::failed("OUTPUT_IO", message)
}

fn open_input(path: &Path) -> Result<(Box<dyn Read + Send>, u64)> {
    if path == Path::new("-") {
        return Ok((Box::new(std::io::stdin()), 0));
    }
    let file = File::open(path).map_err(|e| Failure::file(path, &e))?;
    let meta = file.metadata().map_err(|e| Failure::file(path, &e))?;
    if meta.is_dir() {
        let message = format!("{} is a directory; name a file of events", path.display());
        return Err(Failure::usage("FILE_IO", message).into());
    }
    Ok((Box::new(file), meta.len()))
}

/// Name under which the events are stored: it selects the mapping.
fn source_name(policies: &Policies, args: &Append) -> Result<String> {
    let mapping = args.mapping.as_deref();
    if let Some(mapping) = mapping
        && policies.source(mapping).is_none_or(|found| *found.name != *mapping)
    {
        let message = "no mapping of that name in policies/sources; nothing was appended";
        return Err(Failure::usage("SOURCE_UNKNOWN", message).into());
    }
    let plain = |name: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        !name.is_empty() && name.len() <= 128 && name.chars().all(good)
    };
    if args.source.as_deref().is_some_and(|source| !plain(source)) {
        let message = "--source: 1 to 128 characters of letters, digits, `.` `_` `-` `/`";
        return Err(Failure::usage("SOURCE_NAME", message).into());
    }
    Ok(match (mapping, args.source.as_deref()) {
        (None, None) => "canonical".to_owned(),
        (None, Some(source)) => source.to_owned(),
        (Some(mapping), None) => mapping.to_owned(),
        (Some(mapping), Some(source)) => {
            let own = policies.source(source).is_some_and(|found| *found.name == *mapping);
            if own { source.to_owned() } else { format!("{mapping}/{source}") }
        }
    })
}

/// A thread that cuts the stream: it ends with the stream, or with the process.
fn read_ahead(input: Box<dyn Read + Send>) -> Result<Receiver<std::io::Result<Piece>>> {
    let (send, receive) = sync_channel(AHEAD);
    let work = move || {
        let mut pieces = Pieces::new(BufReader::with_capacity(256 << 10, input));
        loop {
            match pieces.next() {
                Ok(Some(piece)) => {
                    if send.send(Ok(piece)).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    let _ = send.send(Err(error));
                    return;
                }
            }
        }
    };
    let started = std::thread::Builder::new().name("reader".to_owned()).spawn(work);
    started.map_err(|e| Failure::failed("NO_THREAD", format!("{e}; nothing was appended")))?;
    Ok(receive)
}

/// Up to `size` events, and whether more may come.
fn next_batch(
    pieces: &Receiver<std::io::Result<Piece>>,
    size: usize,
    context: &Context,
) -> Result<(Vec<Piece>, bool)> {
    let (mut batch, mut bytes) = (Vec::with_capacity(size), 0);
    while batch.len() < size && bytes < BATCH_BYTES {
        match pieces.recv_timeout(LINGER) {
            Ok(piece) => {
                let piece = piece?;
                bytes += piece.json.len();
                batch.push(piece);
            }
            Err(RecvTimeoutError::Timeout) if batch.is_empty() && !context.stopped() => {}
            Err(RecvTimeoutError::Timeout) => return Ok((batch, true)),
            Err(RecvTimeoutError::Disconnected) => return Ok((batch, false)),
        }
    }
    Ok((batch, true))
}

impl<'r> Run<'r> {
    /// Appends a batch. False when something was refused and the run must stop.
    fn batch(&mut self, pieces: &[Piece]) -> Result<bool> {
        let mut scratch = Scratch::default();
        let (mut good, mut events) = (Vec::with_capacity(pieces.len()), Vec::new());
        let mut bad = Vec::new();
        for piece in pieces {
            match self.parse(piece, &mut scratch) {
                Ok(event) => {
                    good.push(piece.line);
                    events.push(event);
                }
                Err(refusal) => bad.push((piece.line, refusal)),
            }
        }
        for (line, refusal) in &bad {
            let code = refusal.code;
            self.refuse(*line, code, &refusal.to_string())?;
        }
        if !bad.is_empty() && !self.partial {
            for line in good {
                let text = "another event of its batch was refused; send it again";
                self.refuse(line, "BATCH_REFUSED", text)?;
            }
            return Ok(false);
        }
        self.commit(&good, events)
    }

    fn parse<'p>(
        &self,
        piece: &'p Piece,
        scratch: &mut Scratch,
    ) -> std::result::Result<Event<'p>, Refusal>
    where
        'r: 'p,
    {
        if piece.too_large {
            let limit = crate::base::limits::EVENT_BYTES_MAX as u64;
            return Err(Refusal::new("EVENT_TOO_LARGE", "send documents elsewhere").limit(limit));
        }
        self.policies.event(Draft { source: self.source, json: &piece.json }, scratch)
    }

    /// Commits classified events; halves what is refused until the bad ones stand alone.
    fn commit(&mut self, lines: &[u64], events: Vec<Event<'_>>) -> Result<bool> {
        if events.is_empty() {
            return Ok(true);
        }
        let retry = (events.len() > 1).then(|| events.clone());
        let error = match self.append(events) {
            Ok(receipts) => {
                self.accept(lines, receipts)?;
                return Ok(true);
            }
            Err(error @ (VaultError::Invalid { .. } | VaultError::Conflict { .. })) => error,
            Err(error) => return Err(error.into()),
        };
        match retry {
            None => {
                let line = lines.first().copied().unwrap_or(0);
                self.refuse(line, error.code(), &error.to_string())?;
                Ok(self.partial)
            }
            Some(_) if !self.partial => {
                let from = lines.first().copied().unwrap_or(0);
                self.refuse(from, error.code(), &format!("batch from this line: {error}"))?;
                let rest = lines.len() as u64 - 1;
                *self.tally.refused.entry("BATCH_REFUSED".to_owned()).or_default() += rest;
                Ok(false)
            }
            Some(mut left) => {
                let right = left.split_off(left.len() / 2);
                let (first, second) = lines.split_at(left.len());
                self.commit(first, left)?;
                self.commit(second, right)
            }
        }
    }

    /// Waits out a full pool: nothing is dropped because the vault is busy.
    fn append(&self, events: Vec<Event<'_>>) -> std::result::Result<Vec<Receipt>, VaultError> {
        for _ in 0..50 {
            match self.vault.append_events(events.clone()) {
                Err(VaultError::Overloaded) => std::thread::sleep(Duration::from_millis(100)),
                other => return other,
            }
        }
        self.vault.append_events(events)
    }

    fn accept(&mut self, lines: &[u64], receipts: Vec<Receipt>) -> Result<()> {
        for (line, receipt) in lines.iter().zip(&receipts) {
            match receipt.duplicate {
                true => self.tally.duplicate += 1,
                false => self.tally.accepted += 1,
            }
            if let Some((path, file)) = &mut self.receipts {
                let value = json!({
                    "line": line,
                    "index": receipt.index.0,
                    "time": receipt.time.to_string(),
                    "leaf": receipt.leaf.to_string(),
                    "duplicate": receipt.duplicate,
                    "checkpoint": &*receipt.checkpoint,
                });
                writeln!(file, "{}", json_line(&value)).map_err(|e| unwritten(path, &e))?;
            }
        }
        self.last = receipts.into_iter().next_back().or(self.last.take());
        Ok(())
    }

    /// Lists a refusal on standard error.
    fn refuse(&mut self, line: u64, code: &'static str, text: &str) -> Result<()> {
        *self.tally.refused.entry(code.to_owned()).or_default() += 1;
        self.tally.listed += 1;
        if self.tally.listed > LISTED_MAX || code == "BATCH_REFUSED" {
            return Ok(());
        }
        let reason = text.strip_prefix(code).unwrap_or(text).trim_start_matches([':', ' ']);
        let mut sink = std::io::stderr().lock();
        let _ = match self.json {
            true => {
                let refused = json!({"line": line, "code": code, "reason": reason});
                writeln!(sink, "{}", json_line(&json!({"refused": refused})))
            }
            false => writeln!(sink, "chancery: line {line}: {code}: {}", escape(reason)),
        };
        Ok(())
    }
}

fn conclude(
    context: &mut Context,
    tally: &Tally,
    last: Option<&Receipt>,
    ended: Option<&'static str>,
    time: Duration,
) -> Result<ExitCode> {
    let refused = tally.refused();
    context.out.object(&json!({
        "accepted": tally.accepted,
        "duplicate": tally.duplicate,
        "refused": refused,
        "refused_by_code": tally.refused,
        "complete": ended.is_none(),
        "ended": ended.unwrap_or("end of input"),
        "last_index": last.map(|receipt| receipt.index.0),
        "seconds": time.as_secs_f64(),
    }))?;
    let total = tally.accepted + tally.duplicate;
    context.out.say(&format!(
        "accepted {}, duplicate {}, refused {} ({})",
        count(tally.accepted),
        count(tally.duplicate),
        count(refused),
        rate(total, time),
    ))?;
    for (code, number) in &tally.refused {
        context.out.say(&format!("  {code}: {}", count(*number)))?;
    }
    if let Some(ended) = ended {
        context.out.say(&format!(
            "{ended}: what is counted as accepted is durable; send the rest again"
        ))?;
    }
    Ok(ExitCode::from(match (ended, refused) {
        (Some("interrupted"), _) => EXIT_INTERRUPTED,
        (_, 0) => EXIT_DONE,
        _ => EXIT_REFUSED,
    }))
}
